//! Files of people that are being applied.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::cells::Cells;
use crate::core::ids::Timestamp;
use crate::store::Error;
use crate::store::files::{Batch, File};

const NOTE: &str =
    "INSERT INTO file_batches (file, kept, refused, heard_at) VALUES (?1, ?2, ?3, ?4)";
// All of a file or nothing: whoever prunes by a part of it withdraws what the other part stands for.
const FORGET_OLD: &str = "\
    DELETE FROM file_batches WHERE file <> ?2 AND file IN
        (SELECT file FROM file_batches GROUP BY file HAVING max(heard_at) < ?1)";
const FORGET: &str = "DELETE FROM file_batches WHERE file = ?1";
const BATCHES: &str = "SELECT kept, refused FROM file_batches WHERE file = ?1";

pub(super) fn note(conn: &Connection, batch: &Batch, old: Timestamp) -> Result<(), Error> {
    conn.prepare_cached(FORGET_OLD)?
        .execute(params![old.0, batch.file])?;
    let refused = i64::from(batch.refused);
    conn.prepare_cached(NOTE)?
        .execute(params![batch.file, batch.bytes(), refused, batch.now.0])?;
    Ok(())
}

pub(super) fn forget(conn: &Connection, file: Uuid) -> Result<(), Error> {
    conn.prepare_cached(FORGET)?.execute(params![file])?;
    Ok(())
}

pub(super) fn load(conn: &Connection, file: Uuid) -> Result<Option<File>, Error> {
    let mut statement = conn.prepare_cached(BATCHES)?;
    let mut rows = statement.query(params![file])?;
    let mut whole: Option<File> = None;
    while let Some(row) = rows.next()? {
        let cells = Cells::new(row, "file_batches", file);
        let (kept, refused): (Vec<u8>, u64) = (cells.get(0)?, cells.get_u64(1)?);
        let added = whole.get_or_insert_default().add(&kept, refused);
        added.map_err(|error| cells.corrupt(error))?;
    }
    Ok(whole)
}
