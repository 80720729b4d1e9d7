//! The whole journal: checked row by row, and its heads in one hash; and all tables read through.

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool};

use super::cells::Cells;
use super::open::{self, Settings};
use super::read::journal_row;
use crate::core::ids::IdentityId;
use crate::store::Error;
use crate::store::journal::{Audit, Hash, Heads, Summed, Walk};

const ROWS: &str = "\
    SELECT seq, at, cause, entity, from_state, to_state, hash, identity FROM journal
    ORDER BY identity, seq";
// One seek down the primary key for each identity, however long its journal is.
const HEADS: &str = "\
    WITH RECURSIVE ends AS (
        (SELECT identity, seq, hash FROM journal ORDER BY identity DESC, seq DESC LIMIT 1)
        UNION ALL
        SELECT next.* FROM ends CROSS JOIN LATERAL (
            SELECT identity, seq, hash FROM journal WHERE identity < ends.identity
            ORDER BY identity DESC, seq DESC LIMIT 1) AS next)
    SELECT identity, seq, hash FROM ends ORDER BY identity DESC";
const TABLES: [&str; 13] = [
    "head",
    "commits",
    "identities",
    "effects",
    "entities",
    "slots",
    "window_epochs",
    "feeds",
    "seen_events",
    "stock",
    "journal",
    "events",
    "holds",
];

/// Checks the journal of a database as of one moment, a row at a time; the daemon may run.
pub async fn verify(settings: &Settings) -> Result<Audit, Error> {
    let mut conn = open::connect(settings).await?;
    if open::version(&mut conn).await? == 0 {
        return Err(Error::Database("the database is empty".into()));
    }
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let mut moment = conn.begin_with(begin).await?;
    moment.execute(open::UNHURRIED).await?;
    let mut walk = Walk::default();
    let mut found = sqlx::query(ROWS).fetch(&mut *moment);
    while let Some(row) = found.try_next().await? {
        let identity = IdentityId(Cells::new(&row, "journal", "?").get(7)?);
        let key = format!("{identity}/{}", walk.next(identity));
        let row = journal_row(&Cells::new(&row, "journal", key))?;
        if let Err(broken) = walk.take(identity, &row) {
            return Ok(Audit::Broken(broken));
        }
    }
    drop(found);
    let heads = heads_of(&mut moment).await?;
    Ok(Audit::Whole {
        rows: walk.rows,
        heads,
    })
}

/// The heads of all journals as of one moment.
pub(super) async fn heads(pool: PgPool) -> Result<Summed, Error> {
    let mut moment = pool.begin().await?;
    moment.execute(open::UNHURRIED).await?;
    heads_of(&mut moment).await
}

pub(super) async fn heads_of(conn: &mut PgConnection) -> Result<Summed, Error> {
    let mut heads = Heads::default();
    let mut ends = sqlx::query(HEADS).fetch(conn);
    while let Some(row) = ends.try_next().await? {
        let identity = IdentityId(Cells::new(&row, "journal", "?").get(0)?);
        let cells = Cells::new(&row, "journal", identity);
        heads.add(identity, cells.get_u64(1)?, &cells.get::<Hash>(2)?);
    }
    Ok(heads.sum())
}

/// Has the database read every row to its end: what is damaged cannot be.
pub(super) async fn check(pool: PgPool) -> Result<(), Error> {
    let mut moment = pool.begin().await?;
    moment.execute(open::UNHURRIED).await?;
    for table in TABLES {
        let sql = format!("SELECT sum(length(whole::text)) FROM {table} AS whole");
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut *moment)
            .await?;
    }
    Ok(())
}
