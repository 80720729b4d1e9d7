//! Files of people that are being applied.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::cells::Cells;
use crate::core::ids::Timestamp;
use crate::store::Error;
use crate::store::files::{Batch, File};

const NOTE: &str =
    "INSERT INTO file_batches (file, kept, refused, heard_at) VALUES ($1, $2, $3, $4)";
// All of a file or nothing: whoever prunes by a part of it withdraws what the other part stands for.
const FORGET_OLD: &str = "\
    DELETE FROM file_batches WHERE file <> $2 AND file IN
        (SELECT file FROM file_batches GROUP BY file HAVING max(heard_at) < $1)";
const FORGET: &str = "DELETE FROM file_batches WHERE file = $1";
const BATCHES: &str = "SELECT kept, refused FROM file_batches WHERE file = $1";

pub(super) async fn note(
    conn: &mut PgConnection,
    batch: &Batch,
    old: Timestamp,
) -> Result<(), Error> {
    sqlx::query(FORGET_OLD)
        .bind(old.0)
        .bind(batch.file)
        .execute(&mut *conn)
        .await?;
    sqlx::query(NOTE)
        .bind(batch.file)
        .bind(batch.bytes())
        .bind(i64::from(batch.refused))
        .bind(batch.now.0)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn forget(conn: &mut PgConnection, file: Uuid) -> Result<(), Error> {
    sqlx::query(FORGET).bind(file).execute(conn).await?;
    Ok(())
}

pub(super) async fn load(pool: PgPool, file: Uuid) -> Result<Option<File>, Error> {
    let rows = sqlx::query(BATCHES).bind(file).fetch_all(&pool).await?;
    let mut whole: Option<File> = None;
    for row in &rows {
        let cells = Cells::new(row, "file_batches", file);
        let (kept, refused): (Vec<u8>, u64) = (cells.get(0)?, cells.get_u64(1)?);
        let added = whole.get_or_insert_default().add(&kept, refused);
        added.map_err(|error| cells.corrupt(error))?;
    }
    Ok(whole)
}
