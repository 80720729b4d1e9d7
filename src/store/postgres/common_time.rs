//! The time that the daemons of a database have in common, whatever their hosts' clocks say.
//!
//! The wall clock that counts is the database's, as each daemon measures it now and then. Windows and leases are counted by
//! a time that no clock that is set moves: each daemon adds a fixed number to its own time since boot. A daemon that
//! comes in takes that of the others; who falls behind the others by drift catches up slowly, and at once where the host
//! itself stood still. The database's clock is only where they compare. What was measured badly moves nobody: each tells
//! the least, and takes the most for its own, that its measure leaves open.

use std::time::Duration;

use sqlx::PgPool;

use super::cells::Cells;
use super::{LONGEST, Postgres, late};
use crate::core::ids::Timestamp;
use crate::store::Error;

const DATABASE_NOW: &str = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const FOREMOST: &str = "\
    SELECT max(ahead) FROM members WHERE daemon <> $1 AND heard_at > $3
    AND heard_at BETWEEN $2 - 60000 AND $2 + 60000";
// Nobody else is there: as it was when somebody was.
const LAST: &str = "SELECT ahead FROM members ORDER BY heard_at DESC LIMIT 1";
const TELL: &str = "\
    INSERT INTO members (daemon, heard_at, ahead) VALUES ($1, $2, $3)
    ON CONFLICT (daemon) DO UPDATE SET heard_at = $2, ahead = $3";
const FORGET: &str = "DELETE FROM members WHERE heard_at < $1 - 86400000";
/// An answer that took longer says too little about when it was given; so often it is asked for a better one.
const QUICK: Duration = Duration::from_millis(20);
const TRIES: usize = 5;
/// The best of several that took longer says nothing.
const SLOW: Duration = Duration::from_millis(250);
/// What may lie between the times of two daemons: beyond, the one behind catches up, a millisecond each second.
const NEAR_MS: i64 = 100;
const CATCHING_UP: i64 = 1000;
/// No clock drifts as far between two compares: who is so far behind twice in a row, by what was told in between, stood
/// still, as a virtual machine may, and catches up at once. Once is not enough: then it may be the database's clock that
/// was set. [`APART`] has room for it.
const FAR_MS: i64 = 300;
/// So much longer than HID's own a window is where several daemons count in it.
pub const APART: Duration = Duration::from_millis(400);

/// What a host's clocks say.
#[derive(Clone, Copy, Debug)]
pub struct HostTime {
    /// The wall clock.
    pub now: Timestamp,
    /// The time since boot.
    pub boottime: Duration,
}

/// What is to be added to a host's time since boot, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// To have the wall clock's: it may jump, as the database's does.
    pub wall: i64,
    /// To have the time that windows and leases are counted by: it only grows.
    pub boot: i64,
    /// How far the host's own wall clock is behind.
    pub behind: i64,
}

/// One daemon's view of the common time.
pub struct CommonTime {
    store: Postgres,
    offsets: Option<Offsets>,
    agreed_at: Duration,
    /// The same by the database's clock.
    compared_at: i64,
    /// It was far behind then.
    was_far: bool,
}

/// When an answer of the database's clock was given, in the middle of the time that it took.
struct Measured {
    host_now: i64,
    host_boot: i64,
    database: i64,
    took: Duration,
}

impl Measured {
    /// What the answer's moment may be off by, either way, in milliseconds.
    fn half(&self) -> i64 {
        i64::try_from(self.took.as_millis()).unwrap_or(i64::MAX) / 2
    }
}

impl CommonTime {
    /// Knows nothing yet.
    #[must_use]
    pub fn of(store: &Postgres) -> Self {
        Self {
            store: store.clone(),
            offsets: None,
            agreed_at: Duration::ZERO,
            compared_at: i64::MIN,
            was_far: false,
        }
    }

    /// The database by which it is agreed on.
    #[must_use]
    pub fn store(&self) -> &Postgres {
        &self.store
    }

    /// Compares with the database and the other daemons, and tells them.
    pub async fn agree(&mut self, host: impl Fn() -> HostTime + Send) -> Result<Offsets, Error> {
        self.store.look().await?;
        let agreed = tokio::time::timeout(LONGEST, self.compare(host));
        agreed.await.unwrap_or_else(late)
    }

    async fn compare(&mut self, host: impl Fn() -> HostTime + Send) -> Result<Offsets, Error> {
        let pool = self.store.pool();
        let measured = measure(&pool, &host).await?;
        let wall = measured.database - measured.host_boot;
        let behind = measured.database - measured.host_now;
        let boot = match self.offsets {
            None => {
                let ahead = match self.foremost(&pool, measured.database).await? {
                    Some(ahead) => ahead - measured.half(),
                    None => last(&pool).await?,
                };
                measured.database + ahead - measured.host_boot
            }
            Some(known) => {
                let ahead = measured.host_boot + known.boot - measured.database;
                let foremost = self.foremost(&pool, measured.database).await?;
                let behind = foremost.map_or(0, |foremost| foremost - ahead - measured.half());
                let since = host().boottime.saturating_sub(self.agreed_at);
                let most = i64::try_from(since.as_millis()).unwrap_or(i64::MAX) / CATCHING_UP;
                let is_sure = behind > NEAR_MS && measured.took <= SLOW;
                let was_far = std::mem::replace(&mut self.was_far, is_sure && behind > FAR_MS);
                let step = if was_far && self.was_far {
                    behind
                } else {
                    behind.min(most)
                };
                known.boot + if is_sure { step } else { 0 }
            }
        };
        self.agreed_at = host().boottime;
        self.compared_at = measured.database;
        let ahead = measured.host_boot + boot - measured.database - measured.half();
        self.tell(&pool, measured.database, ahead).await?;
        let offsets = Offsets { wall, boot, behind };
        self.offsets = Some(offsets);
        Ok(offsets)
    }

    async fn foremost(&self, pool: &PgPool, database: i64) -> Result<Option<i64>, Error> {
        let query = sqlx::query(FOREMOST)
            .bind(self.store.0.daemon)
            .bind(database)
            .bind(self.compared_at);
        Cells::new(&query.fetch_one(pool).await?, "members", "?").get(0)
    }

    async fn tell(&self, pool: &PgPool, database: i64, ahead: i64) -> Result<(), Error> {
        sqlx::query(TELL)
            .bind(self.store.0.daemon)
            .bind(database)
            .bind(ahead)
            .execute(pool)
            .await?;
        sqlx::query(FORGET).bind(database).execute(pool).await?;
        Ok(())
    }
}

async fn last(pool: &PgPool) -> Result<i64, Error> {
    let row = sqlx::query(LAST).fetch_optional(pool).await?;
    row.map_or(Ok(0), |row| Cells::new(&row, "members", "?").get(0))
}

/// The quickest of a few answers.
async fn measure(pool: &PgPool, host: &impl Fn() -> HostTime) -> Result<Measured, Error> {
    let mut best: Option<Measured> = None;
    for _ in 0..TRIES {
        let before = host();
        let row = sqlx::query(DATABASE_NOW).fetch_one(pool).await?;
        let took = host().boottime.saturating_sub(before.boottime);
        let half = i64::try_from(took.as_millis()).unwrap_or(i64::MAX) / 2;
        let measured = Measured {
            host_now: before.now.0 + half,
            host_boot: i64::try_from(before.boottime.as_millis()).unwrap_or(i64::MAX) + half,
            database: Cells::new(&row, "clock", "?").get(0)?,
            took,
        };
        if best.as_ref().is_none_or(|best| took < best.took) {
            best = Some(measured);
        }
        if took <= QUICK {
            break;
        }
    }
    best.ok_or_else(|| Error::Database("the database's clock was not asked".into()))
}
