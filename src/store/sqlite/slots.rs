//! Places in windows (contract.md section 8).

use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::core::ids::Timestamp;
use crate::store::common::{fullest, refused, surplus};
use crate::store::{Error, Slot, Window};

const PURGE: &str = "DELETE FROM slots WHERE key = ?1 AND frees_at <= ?2";
const COUNT: &str = "SELECT count(*) FROM slots WHERE key = ?1 AND frees_at > ?2";
const NTH: &str = "SELECT frees_at FROM slots WHERE key = ?1 AND frees_at > ?2 ORDER BY frees_at LIMIT 1 OFFSET ?3";
const COUNTING: &str =
    "SELECT frees_at FROM slots WHERE key = ?1 AND frees_at > ?2 ORDER BY frees_at";
const TAKE: &str = "INSERT INTO slots (key, token, taken_at, frees_at) VALUES (?1, ?2, ?3, ?4)";
const ANSWER: &str = "UPDATE slots SET frees_at = ?2 WHERE token = ?1";
const BEGIN: &str =
    "INSERT INTO window_epochs (boot, epoch) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const EPOCH: &str = "SELECT epoch FROM window_epochs WHERE boot = ?1";
const FROM_THE_FUTURE: &str =
    "UPDATE slots SET taken_at = ?1, frees_at = frees_at - taken_at + ?1 WHERE taken_at > ?1";
const GIVE_BACK: &str = "DELETE FROM slots WHERE token = ?1";

/// Takes a place in every window, or none and says which has room last and when.
pub(super) fn take(conn: &Connection, slot: &Slot) -> Result<(), Error> {
    let now = slot.at;
    let mut full = None;
    for window in &slot.windows {
        full = fullest(full, window, has_room_at(conn, window, now)?);
    }
    refused(full)?;
    for window in &slot.windows {
        conn.prepare_cached(PURGE)?
            .execute(params![window.key, now.0])?;
        conn.prepare_cached(TAKE)?.execute(params![
            window.key,
            slot.token,
            slot.at.0,
            slot.frees_at.0
        ])?;
    }
    Ok(())
}

/// Time goes on as before within a boot. After another one the wall clock alone tells how long the machine was off:
/// where it went back, what was taken later than now counts anew.
pub(super) fn begin(
    conn: &Connection,
    boot: Uuid,
    epoch: i64,
    now: Timestamp,
) -> Result<(), Error> {
    let is_new = conn.prepare_cached(BEGIN)?.execute(params![boot, epoch])? > 0;
    if is_new {
        conn.prepare_cached(FROM_THE_FUTURE)?
            .execute(params![now.0])?;
    }
    Ok(())
}

pub(super) fn epoch(conn: &Connection, boot: Uuid) -> Result<i64, Error> {
    let mut statement = conn.prepare_cached(EPOCH)?;
    Ok(statement.query_row(params![boot], |row| row.get(0))?)
}

pub(super) fn counting(
    conn: &Connection,
    key: &str,
    now: Timestamp,
) -> Result<Vec<Timestamp>, Error> {
    let mut statement = conn.prepare_cached(COUNTING)?;
    let times = statement.query_map(params![key, now.0], |row| row.get(0))?;
    Ok(times
        .map(|time| time.map(Timestamp))
        .collect::<Result<_, _>>()?)
}

/// A slot that is gone already stays gone.
pub(super) fn answer(conn: &Connection, token: Uuid, frees_at: Timestamp) -> Result<(), Error> {
    conn.prepare_cached(ANSWER)?
        .execute(params![token, frees_at.0])?;
    Ok(())
}

pub(super) fn give_back(conn: &Connection, token: Uuid) -> Result<(), Error> {
    conn.prepare_cached(GIVE_BACK)?.execute(params![token])?;
    Ok(())
}

/// `None`: now.
fn has_room_at(
    conn: &Connection,
    window: &Window,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let counting: i64 = conn
        .prepare_cached(COUNT)?
        .query_row(params![window.key, now.0], |row| row.get(0))?;
    let Some(surplus) = surplus(window, counting) else {
        return Ok(None);
    };
    if window.limit == 0 {
        return Ok(Some(Timestamp(i64::MAX)));
    }
    let frees_at = conn
        .prepare_cached(NTH)?
        .query_row(params![window.key, now.0, surplus], |row| row.get(0))?;
    Ok(Some(Timestamp(frees_at)))
}
