//! Locks by name, held to the end of the transaction that took them: what must happen one after the other, and has no
//! row of its own to be locked.

use aws_lc_rs::digest::{SHA256, digest};
use sqlx::PgConnection;

use crate::store::Error;

/// Schema changes.
pub(super) const SCHEMA: &str = "schema";
/// Holds against claims: a claim shares it, a hold has it alone.
pub(super) const HOLDS: &str = "holds";
/// Events become visible in the order of their times.
pub(super) const EVENTS: &str = "events";
/// The making of webhooks.
pub(super) const WEBHOOKS: &str = "webhooks";
/// The daemons that work on the database; each holds it by a session, and shares it.
pub(super) const DAEMON: &str = "daemon";

const SHARED: &str = "SELECT pg_advisory_xact_lock_shared($1)";
const ALONE: &str = "SELECT pg_advisory_xact_lock(id) FROM unnest($1::bigint[]) AS id";

/// The number of a name. Two names of one number wait for each other without need, and do no harm.
pub(super) fn number(name: &str) -> i64 {
    let hash = digest(&SHA256, format!("origo-adapter {name}").as_bytes());
    let first = hash.as_ref().first_chunk().copied();
    i64::from_be_bytes(first.unwrap_or_default())
}

/// Takes it together with others that share it.
pub(super) async fn share(conn: &mut PgConnection, name: &str) -> Result<(), Error> {
    sqlx::query(SHARED).bind(number(name)).execute(conn).await?;
    Ok(())
}

/// Takes them alone, each after the ones of lower number: whoever takes several takes them in one order.
pub(super) async fn take(
    conn: &mut PgConnection,
    names: impl Iterator<Item = String>,
) -> Result<(), Error> {
    let mut numbers: Vec<i64> = names.map(|name| number(&name)).collect();
    numbers.sort_unstable();
    if numbers.is_empty() {
        return Ok(());
    }
    sqlx::query(ALONE).bind(numbers).execute(conn).await?;
    Ok(())
}

/// Takes one alone.
pub(super) async fn take_one(conn: &mut PgConnection, name: &str) -> Result<(), Error> {
    take(conn, std::iter::once(name.to_owned())).await
}
