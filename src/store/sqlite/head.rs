//! Which database this is, how many transactions wrote to it, and whether it is older than what was done.

use rusqlite::{Connection, params};

use super::cells::Cells;
use super::holds;
use crate::core::hold::{HoldReason, HoldScope};
use crate::core::ids::Timestamp;
use crate::store::{Error, Head, StandingHold};

const GET: &str = "SELECT database, commits, regressed_at FROM head";
const COUNT: &str = "UPDATE head SET commits = commits + 1";
const REGRESS: &str = "UPDATE head SET regressed_at = ?1";

pub(super) fn get(conn: &Connection) -> Result<Head, Error> {
    let mut statement = conn.prepare_cached(GET)?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else {
        return Err(Error::Database("the database does not know its id".into()));
    };
    let cells = Cells::new(row, "head", 1);
    Ok(Head {
        database: cells.get(0)?,
        commits: cells.get_u64(1)?,
        regressed_at: cells.get::<Option<i64>>(2)?.map(Timestamp),
    })
}

/// Part of each transaction that writes: one more page in it, and no sync of its own.
pub(super) fn count(conn: &Connection) -> Result<(), Error> {
    conn.prepare_cached(COUNT)?.execute([])?;
    Ok(())
}

/// The mark and the hold that shows it, together.
pub(super) fn regress(conn: &Connection, at: Option<Timestamp>, cause: &str) -> Result<(), Error> {
    let reason = HoldReason::StateRegressed;
    conn.prepare_cached(REGRESS)?
        .execute(params![at.map(|at| at.0)])?;
    holds::remove(conn, &HoldScope::All, &[reason])?;
    let Some(since) = at else { return Ok(()) };
    let hold = StandingHold {
        scope: HoldScope::All,
        reason,
        since,
        cause: cause.to_owned(),
    };
    holds::put(conn, &hold)
}
