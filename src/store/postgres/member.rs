//! The daemons of a database: each has a lock that a connection of its own holds as long as it lives. They share it;
//! who changes the database as a whole has it alone, and so while no daemon runs.
//!
//! Claims, revisions and leases are what keeps several daemons apart: losing the lock harms none of that. The only place
//! that knows of it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::task::JoinHandle;

use super::history::History;
use super::locks::{self, number};
use super::open::{self, Settings};
use crate::store::Error;

const SHARE: &str = "SELECT pg_try_advisory_lock_shared($1)";
const KEEP_OFF: &str = "SELECT pg_try_advisory_xact_lock($1)";
/// The database needs a moment to notice that somebody was killed.
const TRIES: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(250);
/// How often it is looked whether the connection lives, and how long that may take.
const LOOK: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(5);
/// Longer than it takes to work on a server that took over.
const SETTLED: Duration = Duration::from_mins(1);

/// The lock; dropped, it is free.
pub(super) struct Member {
    held: Arc<AtomicBool>,
    keeper: JoinHandle<()>,
}

/// Verbs are refused until it is taken again.
#[derive(Debug, thiserror::Error)]
#[error("the connection that says that this daemon works on the database is lost")]
pub(super) struct Lost;

impl Member {
    /// Becomes one of the daemons of a database whose schema is up to date then. Refused with [`Error::InUse`] where
    /// somebody has it alone.
    pub(super) async fn join(settings: &Settings, history: &Arc<History>) -> Result<Self, Error> {
        let mut conn = open::connect(settings).await?;
        let mut tries = 1;
        while !share(&mut conn).await? {
            if tries == TRIES {
                return Err(Error::InUse);
            }
            tries += 1;
            tokio::time::sleep(BETWEEN).await;
        }
        if !answered(SETTLED, open::is_current(&mut conn)).await? {
            open::migrate(&mut conn).await?;
        }
        answered(SETTLED, async { Ok(history.settle(&mut conn).await?) }).await?;
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
        Err(Error::Database(Box::new(Lost)))
    }
}

/// Refused with [`Error::InUse`] where a daemon has the database; to the end of the transaction none gets it.
pub(super) async fn keep_off(transaction: &mut PgConnection) -> Result<(), Error> {
    for tried in 1..=TRIES {
        let query = sqlx::query(KEEP_OFF).bind(number(locks::DAEMON));
        if query.fetch_one(&mut *transaction).await?.try_get(0)? {
            return Ok(());
        }
        if tried < TRIES {
            tokio::time::sleep(BETWEEN).await;
        }
    }
    Err(Error::InUse)
}

impl Drop for Member {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// A server that is lost without a word never answers.
async fn answered<T>(
    within: Duration,
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let answer = tokio::time::timeout(within, asked).await;
    answer.unwrap_or_else(|late| Err(Error::Database(Box::new(late))))
}

async fn share(conn: &mut PgConnection) -> Result<bool, Error> {
    let query = sqlx::query(SHARE).bind(number(locks::DAEMON));
    let row = answered(ANSWER, async { Ok(query.fetch_one(conn).await?) }).await?;
    Ok(row.try_get(0)?)
}

/// Looks after it, and takes it again where it was lost; refuses verbs only where that does not work at once.
async fn keep(mut conn: PgConnection, again: Again, held: Arc<AtomicBool>) {
    loop {
        while matches!(tokio::time::timeout(ANSWER, conn.ping()).await, Ok(Ok(()))) {
            tokio::time::sleep(LOOK).await;
        }
        conn = match again.once().await {
            Ok(Some(conn)) => conn,
            Ok(None) | Err(_) => {
                held.store(false, Ordering::Release);
                let conn = again.connection().await;
                held.store(true, Ordering::Release);
                conn
            }
        };
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

    /// Other connections are of no use before this one has settled.
    async fn once(&self) -> Result<Option<PgConnection>, Error> {
        let mut conn = open::connect(&self.settings).await?;
        self.history.settle(&mut conn).await?;
        Ok(share(&mut conn).await?.then_some(conn))
    }
}
