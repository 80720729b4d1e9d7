//! How far the database was seen to come: one that has not come so far is not used.
//!
//! A standby that takes over may lack the last transactions that were acknowledged. What was done on the strength of them
//! is not known there any more, so nothing may be asked of such a database, or done, before it is marked. Which daemon
//! saw the last ones is chance, so all of them keep still for a while where another server took over: [`GRACE`].

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::{PgConnection, Row as _};
use tokio::sync::watch;

use crate::store::Error;

/// So long nothing is done after another server took over: whoever knows of something that was lost has marked it by then.
pub(super) const GRACE: Duration = Duration::from_secs(20);

const PARTS: &str = "SELECT part, number FROM commits";
// The timeline is another one after each failover; the database is another one where one was put in its place.
const STANDING: &str = "\
    SELECT head.regressed_at, head.lineage,
        left(pg_walfile_name(pg_current_wal_lsn()), 8) || '/' || pg_database.oid
    FROM head, pg_database WHERE pg_database.datname = current_database()";
const RECORD: &str = "UPDATE head SET lineage = $1";
const ANOTHER: &str = "another server took over; all daemons keep still for a while";

/// What this process knows of a database's history.
pub(super) struct History {
    known: Mutex<Known>,
    over: watch::Sender<Option<Over>>,
    /// Whether other daemons may know more.
    pub(super) is_shared: bool,
}

#[derive(Clone, Default)]
struct Known {
    /// The last number of each part that was seen, or whose commit was acknowledged.
    parts: BTreeMap<i32, i64>,
    /// How it was marked when it was last asked.
    mark: Mark,
}

/// Whether a database was marked as older than what was done.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mark {
    #[default]
    NotAsked,
    Absent,
    Since(i64),
}

impl Mark {
    fn of(regressed_at: Option<i64>) -> Self {
        regressed_at.map_or(Self::Absent, Self::Since)
    }
}

/// Why a database is not used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// It has lost what was acknowledged.
    WentBack,
    /// Somebody else found that, and marked it.
    Marked,
}

impl Over {
    fn message(self) -> &'static str {
        match self {
            Self::WentBack => "the database has lost transactions that it had acknowledged",
            Self::Marked => {
                "another daemon found that the database has lost acknowledged transactions"
            }
        }
    }
}

/// Where a database stands.
struct Standing {
    parts: BTreeMap<i32, i64>,
    regressed_at: Option<i64>,
    /// That daemons agreed on.
    recorded: Option<String>,
    lineage: String,
}

impl Standing {
    async fn of(conn: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let mut parts = BTreeMap::new();
        for row in sqlx::query(PARTS).fetch_all(&mut *conn).await? {
            parts.insert(row.try_get(0)?, row.try_get(1)?);
        }
        let row = sqlx::query(STANDING).fetch_one(conn).await?;
        Ok(Self {
            parts,
            regressed_at: row.try_get(0)?,
            recorded: row.try_get(1)?,
            lineage: row.try_get(2)?,
        })
    }
}

impl History {
    /// `is_shared`: other daemons work on the database as well.
    pub(super) fn new(is_shared: bool) -> Self {
        Self {
            known: Mutex::default(),
            over: watch::Sender::new(None),
            is_shared,
        }
    }

    /// A commit was acknowledged.
    pub(super) fn note(&self, (part, number): (i32, i64)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.parts.entry(part).or_default();
        *known = number.max(*known);
    }

    /// It is marked, by ourselves.
    pub(super) fn note_mark(&self, regressed_at: Option<i64>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.mark = Mark::of(regressed_at);
    }

    /// Before the first use of a connection: does the database behind it know all that was acknowledged, and do all
    /// daemons know that it took over?
    pub(super) async fn compare(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let standing = self.learn(conn).await?;
        let is_another = standing
            .recorded
            .is_some_and(|recorded| recorded != standing.lineage);
        if self.is_shared && is_another {
            return Err(io::Error::new(io::ErrorKind::HostUnreachable, ANOTHER).into());
        }
        Ok(())
    }

    /// Waits where another server took over, and agrees to work on it.
    pub(super) async fn settle(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let standing = self.learn(conn).await?;
        if standing.recorded.as_ref() == Some(&standing.lineage) {
            return Ok(());
        }
        if standing.recorded.is_some() {
            tokio::time::sleep(GRACE).await;
            self.learn(conn).await?;
        }
        let record = sqlx::query(RECORD).bind(standing.lineage);
        record.execute(conn).await?;
        Ok(())
    }

    /// Compares with what is known, and knows it from then on.
    async fn learn(&self, conn: &mut PgConnection) -> Result<Standing, sqlx::Error> {
        // What is acknowledged from now on may not be in the answer.
        let known = self.known();
        let standing = Standing::of(conn).await?;
        let found = &standing.parts;
        let is_whole = |(part, number): (&i32, &i64)| found.get(part) >= Some(number);
        if !known.parts.iter().all(is_whole) {
            return self.end(Over::WentBack);
        }
        let mark = Mark::of(standing.regressed_at);
        // One of our own, made meanwhile, is known by now.
        let is_news = known.mark != mark && self.known().mark == known.mark;
        if is_news && known.mark != Mark::NotAsked && mark != Mark::Absent {
            return self.end(Over::Marked);
        }
        for (part, number) in found {
            self.note((*part, *number));
        }
        if known.mark == Mark::NotAsked {
            self.note_mark(standing.regressed_at);
        }
        Ok(standing)
    }

    fn end<T>(&self, over: Over) -> Result<T, sqlx::Error> {
        self.over.send_replace(Some(over));
        Err(sqlx::Error::Protocol(over.message().to_owned()))
    }

    fn known(&self) -> Known {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Refuses everything once it was found to have gone back.
    pub(super) fn check(&self) -> Result<(), Error> {
        match *self.over.borrow() {
            Some(over) => Err(Error::Database(over.message().into())),
            None => Ok(()),
        }
    }

    /// Waits until it is not to be used any more.
    pub(super) async fn over(&self) -> Over {
        let mut over = self.over.subscribe();
        // The sender is here, so there is no other end of it.
        over.wait_for(Option::is_some).await.ok();
        over.borrow().unwrap_or(Over::WentBack)
    }
}
