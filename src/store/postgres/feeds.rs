//! Where the reading of feeds stands, and what stock was read.

use std::collections::BTreeSet;

use sqlx::{PgConnection, PgPool};

use super::cells::Cells;
use crate::core::ids::{AcsSystemId, Timestamp};
use crate::core::stock::Stock;
use crate::store::common::json;
use crate::store::{Error, Feed};

const FEED: &str = "SELECT feed FROM feeds WHERE manager = $1";
const PUT: &str = "\
    INSERT INTO feeds (manager, feed) VALUES ($1, $2)
    ON CONFLICT (manager) DO UPDATE SET feed = excluded.feed";
const SEEN: &str = "SELECT id FROM seen_events WHERE manager = $1 AND id = ANY($2)";
const SEE: &str = "\
    INSERT INTO seen_events (manager, id, time)
    SELECT $1, id, max(time) FROM unnest($2::text[], $3::bigint[]) AS seen (id, time) GROUP BY id
    ON CONFLICT (manager, id) DO UPDATE SET time = greatest(seen_events.time, excluded.time)";
const FORGET: &str = "DELETE FROM seen_events WHERE manager = $1 AND time < $2";
const STOCK: &str = "SELECT stock FROM stock WHERE manager = $1";
const PUT_STOCK: &str = "\
    INSERT INTO stock (manager, stock) VALUES ($1, $2)
    ON CONFLICT (manager) DO UPDATE SET stock = excluded.stock";

pub(super) async fn load_stock(pool: PgPool, manager: AcsSystemId) -> Result<Option<Stock>, Error> {
    let row = sqlx::query(STOCK)
        .bind(manager.0)
        .fetch_optional(&pool)
        .await?;
    row.map(|row| Cells::new(&row, "stock", manager).get_json(0))
        .transpose()
}

pub(super) async fn save_stock(
    conn: &mut PgConnection,
    manager: AcsSystemId,
    stock: &Stock,
) -> Result<(), Error> {
    sqlx::query(PUT_STOCK)
        .bind(manager.0)
        .bind(json(stock)?)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn load(pool: PgPool, manager: AcsSystemId) -> Result<Option<Feed>, Error> {
    let row = sqlx::query(FEED)
        .bind(manager.0)
        .fetch_optional(&pool)
        .await?;
    row.map(|row| Cells::new(&row, "feeds", manager).get_json(0))
        .transpose()
}

pub(super) async fn save(
    conn: &mut PgConnection,
    manager: AcsSystemId,
    feed: &Feed,
    seen: &[(String, Timestamp)],
    kept_since: Timestamp,
) -> Result<(), Error> {
    sqlx::query(PUT)
        .bind(manager.0)
        .bind(json(feed)?)
        .execute(&mut *conn)
        .await?;
    if !seen.is_empty() {
        let (ids, times): (Vec<&str>, Vec<i64>) =
            seen.iter().map(|(id, time)| (id.as_str(), time.0)).unzip();
        sqlx::query(SEE)
            .bind(manager.0)
            .bind(ids)
            .bind(times)
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query(FORGET)
        .bind(manager.0)
        .bind(kept_since.0)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn seen(
    pool: PgPool,
    manager: AcsSystemId,
    ids: Vec<String>,
) -> Result<BTreeSet<String>, Error> {
    let query = sqlx::query(SEEN).bind(manager.0).bind(ids);
    let rows = query.fetch_all(&pool).await?;
    rows.iter()
        .map(|row| Cells::new(row, "seen_events", manager).get(0))
        .collect()
}
