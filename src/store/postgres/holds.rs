//! What is held as a whole.

use sqlx::{PgConnection, PgExecutor, PgPool};

use super::cells::Cells;
use super::locks;
use crate::core::hold::{HoldReason, HoldScope};
use crate::core::ids::{AcsSystemId, PartNumber, Timestamp};
use crate::store::common::{self, scope_columns};
use crate::store::{Error, StandingHold};

const PUT: &str = "\
    INSERT INTO holds (scope, part_number, reason, since, cause) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING";
const REMOVE: &str =
    "DELETE FROM holds WHERE scope = $1 AND part_number = $2 AND reason = ANY($3::text[])";
const ALL: &str = "\
    SELECT scope, reason, since, cause, part_number FROM holds ORDER BY scope, part_number, reason";
const ON: &str = "SELECT part_number, reason FROM holds WHERE scope = '' OR scope = $1";

/// What is held at one manager.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// All new calls.
    pub(super) all: bool,
    /// The keys of these.
    pub(super) parts: Vec<PartNumber>,
}

/// Waits until no claim is being taken: whoever takes one after this sees the hold.
pub(super) async fn hold(conn: &mut PgConnection, hold: &StandingHold) -> Result<(), Error> {
    locks::take_one(conn, locks::HOLDS).await?;
    put(conn, hold).await
}

pub(super) async fn put(conn: &mut PgConnection, hold: &StandingHold) -> Result<(), Error> {
    let (scope, part) = scope_columns(&hold.scope);
    sqlx::query(PUT)
        .bind(scope)
        .bind(part)
        .bind(hold.reason.name())
        .bind(hold.since.0)
        .bind(&hold.cause)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn remove(
    conn: &mut PgConnection,
    scope: &HoldScope,
    reasons: &[HoldReason],
) -> Result<(), Error> {
    let (scope, part) = scope_columns(scope);
    let names: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
    sqlx::query(REMOVE)
        .bind(scope)
        .bind(part)
        .bind(names)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn all(pool: PgPool) -> Result<Vec<StandingHold>, Error> {
    let rows = sqlx::query(ALL).fetch_all(&pool).await?;
    let holds = rows.iter().map(|row| {
        let cells = Cells::new(row, "holds", "?");
        let scope = common::scope(cells.get(0)?, cells.get(4)?);
        Ok(StandingHold {
            scope: scope.map_err(|error| cells.corrupt(error))?,
            reason: reason(&cells, 1)?,
            since: Timestamp(cells.get(2)?),
            cause: cells.get(3)?,
        })
    });
    holds.collect()
}

/// What is held of a manager's new calls.
pub(super) async fn at(executor: impl PgExecutor<'_>, manager: AcsSystemId) -> Result<Held, Error> {
    let query = sqlx::query(ON).bind(manager.0.as_bytes().as_slice());
    let mut held = Held::default();
    for row in query.fetch_all(executor).await? {
        let cells = Cells::new(&row, "holds", manager);
        let part: String = cells.get(0)?;
        if part.is_empty() {
            held.all |= reason(&cells, 1)?.stops_claims();
        } else {
            held.parts.push(PartNumber(part));
        }
    }
    Ok(held)
}

fn reason<K: std::fmt::Display>(cells: &Cells<'_, K>, index: usize) -> Result<HoldReason, Error> {
    common::reason(cells.get(index)?).map_err(|error| cells.corrupt(error))
}
