//! Where the reading of feeds stands, and what stock was read.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::cells::Cells;
use crate::core::ids::{AcsSystemId, Timestamp};
use crate::core::stock::Stock;
use crate::store::common::json;
use crate::store::{Error, Feed};

const FEED: &str = "SELECT feed FROM feeds WHERE manager = ?1";
const PUT: &str = "\
    INSERT INTO feeds (manager, feed) VALUES (?1, ?2)
    ON CONFLICT (manager) DO UPDATE SET feed = excluded.feed";
const SEEN: &str = "\
    SELECT id FROM seen_events WHERE manager = ?1 AND id IN (SELECT value FROM json_each(?2))";
const SEE: &str = "\
    INSERT INTO seen_events (manager, id, time) VALUES (?1, ?2, ?3)
    ON CONFLICT (manager, id) DO UPDATE SET time = max(time, excluded.time)";
const FORGET: &str = "DELETE FROM seen_events WHERE manager = ?1 AND time < ?2";

const STOCK: &str = "SELECT stock FROM stock WHERE manager = ?1";
const PUT_STOCK: &str = "\
    INSERT INTO stock (manager, stock) VALUES (?1, ?2)
    ON CONFLICT (manager) DO UPDATE SET stock = excluded.stock";

pub(super) fn load_stock(conn: &Connection, manager: AcsSystemId) -> Result<Option<Stock>, Error> {
    let mut statement = conn.prepare_cached(STOCK)?;
    let mut rows = statement.query(params![manager.0])?;
    match rows.next()? {
        Some(row) => Ok(Some(Cells::new(row, "stock", manager).get_json(0)?)),
        None => Ok(None),
    }
}

pub(super) fn save_stock(
    conn: &Connection,
    manager: AcsSystemId,
    stock: &Stock,
) -> Result<(), Error> {
    let stock = json(stock)?;
    conn.prepare_cached(PUT_STOCK)?
        .execute(params![manager.0, stock])?;
    Ok(())
}

pub(super) fn load(conn: &Connection, manager: AcsSystemId) -> Result<Option<Feed>, Error> {
    let mut statement = conn.prepare_cached(FEED)?;
    let mut rows = statement.query(params![manager.0])?;
    match rows.next()? {
        Some(row) => Ok(Some(Cells::new(row, "feeds", manager).get_json(0)?)),
        None => Ok(None),
    }
}

pub(super) fn save(
    conn: &Connection,
    manager: AcsSystemId,
    feed: &Feed,
    seen: &[(String, Timestamp)],
    kept_since: Timestamp,
) -> Result<(), Error> {
    conn.prepare_cached(PUT)?
        .execute(params![manager.0, json(feed)?])?;
    let mut see = conn.prepare_cached(SEE)?;
    for (id, time) in seen {
        see.execute(params![manager.0, id, time.0])?;
    }
    conn.prepare_cached(FORGET)?
        .execute(params![manager.0, kept_since.0])?;
    Ok(())
}

pub(super) fn seen(
    conn: &Connection,
    manager: AcsSystemId,
    ids: &[String],
) -> Result<BTreeSet<String>, Error> {
    let mut statement = conn.prepare_cached(SEEN)?;
    let seen = statement.query_map(params![manager.0, json(&ids)?], |row| row.get(0))?;
    Ok(seen.collect::<Result<_, _>>()?)
}
