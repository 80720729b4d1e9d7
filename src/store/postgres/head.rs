//! Which database this is, how many transactions wrote to it, and whether it is older than what was done.

use sqlx::{PgConnection, PgPool, Row as _};

use super::cells::Cells;
use super::holds;
use crate::core::hold::{HoldReason, HoldScope};
use crate::core::ids::Timestamp;
use crate::store::{Error, Head, StandingHold};

const GET: &str = "\
    SELECT database, (SELECT sum(number)::bigint FROM commits), regressed_at FROM head";
// Each connection has a part of its own, most often: nobody waits for another's transaction to be on disk.
const COUNT: &str = "\
    UPDATE commits SET number = number + 1
    WHERE part = pg_backend_pid() % (SELECT count(*) FROM commits)
    RETURNING part, number";
const REGRESS: &str = "UPDATE head SET regressed_at = $1";

pub(super) async fn get(pool: PgPool) -> Result<Head, Error> {
    let row = sqlx::query(GET).fetch_optional(&pool).await?;
    let Some(row) = row else {
        return Err(Error::Database("the database does not know its id".into()));
    };
    let cells = Cells::new(&row, "head", 1);
    Ok(Head {
        database: cells.get(0)?,
        commits: cells.get_u64(1)?,
        regressed_at: cells.get::<Option<i64>>(2)?.map(Timestamp),
    })
}

/// Part of each transaction that writes, and its last statement: it keeps others from their part. Returns the part and
/// its new number.
pub(super) async fn count(conn: &mut PgConnection) -> Result<(i32, i64), Error> {
    let row = sqlx::query(COUNT).fetch_one(conn).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// The mark and the hold that shows it, together. Claims go on: it holds nobody as a whole.
pub(super) async fn regress(
    conn: &mut PgConnection,
    at: Option<Timestamp>,
    cause: &str,
) -> Result<(), Error> {
    let reason = HoldReason::StateRegressed;
    sqlx::query(REGRESS)
        .bind(at.map(|at| at.0))
        .execute(&mut *conn)
        .await?;
    holds::remove(conn, &HoldScope::All, &[reason]).await?;
    let Some(since) = at else { return Ok(()) };
    let hold = StandingHold {
        scope: HoldScope::All,
        reason,
        since,
        cause: cause.to_owned(),
    };
    holds::put(conn, &hold).await
}
