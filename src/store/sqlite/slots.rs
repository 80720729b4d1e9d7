//! Places in windows (contract.md section 8).

use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::core::ids::Timestamp;
use crate::store::{Error, Slot, Window};

const PURGE: &str = "DELETE FROM slots WHERE key = ?1 AND frees_at <= ?2";
const COUNT: &str = "SELECT count(*) FROM slots WHERE key = ?1 AND frees_at > ?2";
const NTH: &str = "SELECT frees_at FROM slots WHERE key = ?1 AND frees_at > ?2 ORDER BY frees_at LIMIT 1 OFFSET ?3";
const TAKE: &str = "INSERT INTO slots (key, token, frees_at) VALUES (?1, ?2, ?3)";
const ANSWER: &str = "UPDATE slots SET frees_at = ?2 WHERE token = ?1";
const GIVE_BACK: &str = "DELETE FROM slots WHERE token = ?1";

/// Takes a place in every window, or none and says which has room last and when.
pub(super) fn take(conn: &Connection, slot: &Slot, now: Timestamp) -> Result<(), Error> {
    let mut full: Option<(&Window, Timestamp)> = None;
    for window in &slot.windows {
        if let Some(not_before) = has_room_at(conn, window, now)?
            && full.is_none_or(|(_, latest)| latest < not_before)
        {
            full = Some((window, not_before));
        }
    }
    if let Some((window, not_before)) = full {
        return Err(Error::WindowFull {
            key: window.key.clone(),
            not_before,
        });
    }
    for window in &slot.windows {
        conn.prepare_cached(PURGE)?
            .execute(params![window.key, now.0])?;
        conn.prepare_cached(TAKE)?
            .execute(params![window.key, slot.token, slot.frees_at.0])?;
    }
    Ok(())
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
    let surplus = counting - i64::from(window.limit);
    if surplus < 0 {
        return Ok(None);
    }
    if window.limit == 0 {
        return Ok(Some(Timestamp(i64::MAX)));
    }
    let frees_at = conn
        .prepare_cached(NTH)?
        .query_row(params![window.key, now.0, surplus], |row| row.get(0))?;
    Ok(Some(Timestamp(frees_at)))
}
