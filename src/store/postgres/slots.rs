//! Places in windows (contract.md section 8).

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::cells::Cells;
use super::locks;
use crate::core::ids::Timestamp;
use crate::store::common::{fullest, refused, surplus};
use crate::store::{Error, Slot};

const PURGE: &str = "DELETE FROM slots WHERE key = ANY($1::text[]) AND frees_at <= $2";
// How many count in each window, and when it has room for one more.
const ROOMS: &str = "\
    SELECT counted.number, (
        SELECT frees_at FROM slots WHERE key = asked.key AND frees_at > $3 ORDER BY frees_at
        LIMIT 1 OFFSET greatest(counted.number - asked.most, 0))
    FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS asked (key, most, place)
    CROSS JOIN LATERAL (
        SELECT count(*) AS number FROM slots WHERE key = asked.key AND frees_at > $3) AS counted
    ORDER BY asked.place";
const COUNTING: &str =
    "SELECT frees_at FROM slots WHERE key = $1 AND frees_at > $2 ORDER BY frees_at";
const TAKE: &str = "\
    INSERT INTO slots (key, token, taken_at, frees_at) SELECT key, $2, $3, $4 FROM unnest($1::text[]) AS key";
const ANSWER: &str = "UPDATE slots SET frees_at = $2 WHERE token = $1";
const BEGIN: &str =
    "INSERT INTO window_epochs (boot, epoch) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const EPOCH: &str = "SELECT epoch FROM window_epochs WHERE boot = $1";
const FROM_THE_FUTURE: &str =
    "UPDATE slots SET taken_at = $1, frees_at = frees_at - taken_at + $1 WHERE taken_at > $1";
const GIVE_BACK: &str = "DELETE FROM slots WHERE token = $1";

/// Takes earlier slots' answers, and then places as [`take`] does. In this order the one who waits for the windows
/// holds nothing that the one who has them needs.
pub(super) async fn take_after(
    conn: &mut PgConnection,
    slots: &[Slot],
    answered: &[(Uuid, Timestamp)],
) -> Result<(), Error> {
    lock(conn, slots).await?;
    for (token, frees_at) in answered {
        answer(conn, *token, *frees_at).await?;
    }
    for slot in slots {
        take_locked(conn, slot).await?;
    }
    Ok(())
}

/// Takes a place in every window, or none and says which has room last and when. Who takes one in the same window waits.
pub(super) async fn take(conn: &mut PgConnection, slot: &Slot) -> Result<(), Error> {
    lock(conn, std::slice::from_ref(slot)).await?;
    take_locked(conn, slot).await
}

async fn lock(conn: &mut PgConnection, slots: &[Slot]) -> Result<(), Error> {
    let windows = slots.iter().flat_map(|slot| &slot.windows);
    let names = windows.map(|window| format!("window {}", window.key));
    locks::take(conn, names).await
}

async fn take_locked(conn: &mut PgConnection, slot: &Slot) -> Result<(), Error> {
    if slot.windows.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = slot.windows.iter().map(|window| &*window.key).collect();
    // First what no longer counts goes for good: an answer that came too late for it finds nothing to move.
    sqlx::query(PURGE)
        .bind(&keys)
        .bind(slot.at.0)
        .execute(&mut *conn)
        .await?;
    refuse_full(conn, slot, &keys).await?;
    sqlx::query(TAKE)
        .bind(&keys)
        .bind(slot.token)
        .bind(slot.at.0)
        .bind(slot.frees_at.0)
        .execute(conn)
        .await?;
    Ok(())
}

async fn refuse_full(conn: &mut PgConnection, slot: &Slot, keys: &[&str]) -> Result<(), Error> {
    let limits = slot.windows.iter().map(|window| i64::from(window.limit));
    let rooms = sqlx::query(ROOMS)
        .bind(keys)
        .bind(limits.collect::<Vec<_>>())
        .bind(slot.at.0)
        .fetch_all(conn)
        .await?;
    let mut full = None;
    for (window, row) in slot.windows.iter().zip(&rooms) {
        let cells = Cells::new(row, "slots", &window.key);
        let not_before = match surplus(window, cells.get(0)?) {
            None => None,
            Some(_) if window.limit == 0 => Some(Timestamp(i64::MAX)),
            Some(_) => Some(Timestamp(cells.get(1)?)),
        };
        full = fullest(full, window, not_before);
    }
    refused(full)
}

/// Time goes on as before within a boot. After another one the wall clock alone tells how long the machine was off:
/// where it went back, what was taken later than now counts anew.
pub(super) async fn begin(
    conn: &mut PgConnection,
    boot: Uuid,
    epoch: i64,
    now: Timestamp,
) -> Result<(), Error> {
    let begun = sqlx::query(BEGIN)
        .bind(boot)
        .bind(epoch)
        .execute(&mut *conn)
        .await?;
    if begun.rows_affected() > 0 {
        sqlx::query(FROM_THE_FUTURE)
            .bind(now.0)
            .execute(conn)
            .await?;
    }
    Ok(())
}

pub(super) async fn epoch(pool: PgPool, boot: Uuid) -> Result<i64, Error> {
    let row = sqlx::query(EPOCH).bind(boot).fetch_one(&pool).await?;
    Cells::new(&row, "window_epochs", boot).get(0)
}

pub(super) async fn counting(
    pool: PgPool,
    key: String,
    now: Timestamp,
) -> Result<Vec<Timestamp>, Error> {
    let query = sqlx::query(COUNTING).bind(&key).bind(now.0);
    let rows = query.fetch_all(&pool).await?;
    let times = rows
        .iter()
        .map(|row| Cells::new(row, "slots", &key).get(0).map(Timestamp));
    times.collect()
}

/// A slot that is gone already stays gone.
pub(super) async fn answer(
    conn: &mut PgConnection,
    token: Uuid,
    frees_at: Timestamp,
) -> Result<(), Error> {
    sqlx::query(ANSWER)
        .bind(token)
        .bind(frees_at.0)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn give_back(conn: &mut PgConnection, token: Uuid) -> Result<(), Error> {
    sqlx::query(GIVE_BACK).bind(token).execute(conn).await?;
    Ok(())
}
