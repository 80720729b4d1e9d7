//! One daemon on a database: a lock that a connection of its own holds as long as it lives.
//!
//! Losing it harms nothing that claims and revisions do not guard anyway; it keeps the second daemon from starting. The
//! only place that knows of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::task::JoinHandle;

use super::history::History;
use super::locks::{self, number};
use super::open::{self, Settings};
use crate::store::Error;

const TAKE: &str = "SELECT pg_try_advisory_lock($1)";
const KEEP_OFF: &str = "SELECT pg_try_advisory_xact_lock($1)";
/// The database needs a moment to notice that a daemon was killed.
const TRIES: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(250);
/// How often it is looked whether the connection lives, and how long that may take.
const LOOK: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(5);

/// The lock; dropped, it is free.
pub(super) struct Alone {
    held: Arc<AtomicBool>,
    keeper: JoinHandle<()>,
}

impl Alone {
    /// Refused with [`Error::InUse`] where another daemon has it.
    pub(super) async fn take(settings: &Settings, history: &Arc<History>) -> Result<Self, Error> {
        let mut conn = open::connect(settings).await?;
        let mut tries = 1;
        while !lock(&mut conn).await? {
            if tries == TRIES {
                return Err(Error::InUse);
            }
            tries += 1;
            tokio::time::sleep(BETWEEN).await;
        }
        let held = Arc::new(AtomicBool::new(true));
        let again = Again {
            settings: settings.clone(),
            history: Arc::clone(history),
        };
        let keeper = tokio::spawn(keep(conn, again, Arc::clone(&held)));
        Ok(Self { held, keeper })
    }

    /// Refuses while it is lost.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.held.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(Error::Database(
            "the connection that keeps other daemons off the database is lost".into(),
        ))
    }
}

/// Refused with [`Error::InUse`] where a daemon has the database; to the end of the transaction none gets it.
pub(super) async fn keep_off(transaction: &mut PgConnection) -> Result<(), Error> {
    let query = sqlx::query(KEEP_OFF).bind(number(locks::DAEMON));
    if query.fetch_one(transaction).await?.try_get(0)? {
        return Ok(());
    }
    Err(Error::InUse)
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn lock(conn: &mut PgConnection) -> Result<bool, Error> {
    let query = sqlx::query(TAKE).bind(number(locks::DAEMON));
    let row = tokio::time::timeout(ANSWER, query.fetch_one(conn)).await;
    let row = row.map_err(|late| Error::Database(Box::new(late)))??;
    Ok(row.try_get(0)?)
}

/// Looks after it, and takes it again where it was lost.
async fn keep(mut conn: PgConnection, again: Again, held: Arc<AtomicBool>) {
    loop {
        while matches!(tokio::time::timeout(ANSWER, conn.ping()).await, Ok(Ok(()))) {
            tokio::time::sleep(LOOK).await;
        }
        held.store(false, Ordering::Release);
        conn = again.connection().await;
        held.store(true, Ordering::Release);
    }
}

/// How it is taken again.
struct Again {
    settings: Settings,
    history: Arc<History>,
}

impl Again {
    async fn connection(&self) -> PgConnection {
        loop {
            if let Ok(Some(conn)) = self.once().await {
                return conn;
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    /// Compares first, whoever has the lock by now: nobody else may know what was lost.
    async fn once(&self) -> Result<Option<PgConnection>, Error> {
        let mut conn = open::connect(&self.settings).await?;
        let compared = tokio::time::timeout(ANSWER, self.history.compare(&mut conn)).await;
        compared.map_err(|late| Error::Database(Box::new(late)))??;
        Ok(lock(&mut conn).await?.then_some(conn))
    }
}
