//! What is held as a whole.

use rusqlite::{Connection, params};

use super::cells::Cells;
use crate::core::effect::Class;
use crate::core::hold::{HoldReason, HoldScope};
use crate::core::ids::{AcsSystemId, PartNumber, Timestamp};
use crate::store::common::{self, Stops, scope_columns};
use crate::store::{Error, StandingHold};

const PUT: &str = "\
    INSERT INTO holds (scope, part_number, reason, since, cause) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT DO NOTHING";
const REMOVE: &str = "DELETE FROM holds WHERE scope = ?1 AND part_number = ?2 AND reason = ?3";
const ALL: &str = "\
    SELECT scope, reason, since, cause, part_number FROM holds ORDER BY scope, part_number, reason";
const ON: &str = "SELECT reason FROM holds WHERE part_number = '' AND (scope = x'' OR scope = ?1)";
const PART: &str = "SELECT 1 FROM holds WHERE scope = ?1 AND part_number = ?2";
const PARTS: &str = "SELECT 1 FROM holds WHERE scope = ?1 AND part_number <> '' LIMIT 1";

pub(super) fn put(conn: &Connection, hold: &StandingHold) -> Result<(), Error> {
    let (scope, part) = scope_columns(&hold.scope);
    conn.prepare_cached(PUT)?.execute(params![
        scope,
        part,
        hold.reason.name(),
        hold.since.0,
        hold.cause,
    ])?;
    Ok(())
}

pub(super) fn remove(
    conn: &Connection,
    scope: &HoldScope,
    reasons: &[HoldReason],
) -> Result<(), Error> {
    let mut remove = conn.prepare_cached(REMOVE)?;
    for reason in reasons {
        let (scope, part) = scope_columns(scope);
        remove.execute(params![scope, part, reason.name()])?;
    }
    Ok(())
}

pub(super) fn all(conn: &Connection) -> Result<Vec<StandingHold>, Error> {
    let mut holds = Vec::new();
    let mut statement = conn.prepare_cached(ALL)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let cells = Cells::new(row, "holds", "?");
        let scope: Vec<u8> = cells.get(0)?;
        let part: String = cells.get(4)?;
        let scope = common::scope(&scope, part).map_err(|error| cells.corrupt(error))?;
        holds.push(StandingHold {
            scope,
            reason: reason(&cells, 1)?,
            since: Timestamp(cells.get(2)?),
            cause: cells.get(3)?,
        });
    }
    Ok(holds)
}

/// New calls of this manager are not to be claimed.
pub(super) fn stop(conn: &Connection, manager: AcsSystemId) -> Result<bool, Error> {
    let mut statement = conn.prepare_cached(ON)?;
    let mut rows = statement.query(params![manager.0])?;
    while let Some(row) = rows.next()? {
        if reason(&Cells::new(row, "holds", manager), 0)?.stops_claims() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is kept back of a class of a manager's; of the timer's nothing is.
pub(super) fn stops(
    conn: &Connection,
    manager: Option<AcsSystemId>,
    class: Class,
) -> Result<Stops, Error> {
    if Stops::most(class) == Stops::Nothing {
        return Ok(Stops::Nothing);
    }
    let held = match manager {
        Some(manager) => stop(conn, manager)?,
        None => false,
    };
    let parts = match manager.filter(|_| !held) {
        Some(manager) => conn.prepare_cached(PARTS)?.exists(params![manager.0])?,
        None => false,
    };
    Ok(Stops::of(class, held, parts))
}

/// The keys of this part number are not to be issued.
pub(super) fn stop_part(
    conn: &Connection,
    manager: AcsSystemId,
    part: &PartNumber,
) -> Result<bool, Error> {
    let mut statement = conn.prepare_cached(PART)?;
    Ok(statement.exists(params![manager.0, part.0])?)
}

fn reason<K: std::fmt::Display>(cells: &Cells<'_, K>, index: usize) -> Result<HoldReason, Error> {
    let name: String = cells.get(index)?;
    common::reason(&name).map_err(|error| cells.corrupt(error))
}
