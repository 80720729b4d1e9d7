//! Which daemon reads a credential manager's feed and stock.

use sqlx::PgPool;
use uuid::Uuid;

use super::cells::Cells;
use crate::core::ids::{AcsSystemId, Timestamp};
use crate::store::Error;

// Who has it keeps it; another one has it once its time is over.
const CLAIM: &str = "\
    INSERT INTO readers (manager, daemon, lease_until) VALUES ($1, $2, $4)
    ON CONFLICT (manager) DO UPDATE SET daemon = $2, lease_until = $4
        WHERE readers.daemon = $2 OR readers.lease_until <= $3
    RETURNING TRUE";

pub(super) async fn claim(
    pool: PgPool,
    manager: AcsSystemId,
    daemon: Uuid,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<bool, Error> {
    let claimed = sqlx::query(CLAIM)
        .bind(manager.0)
        .bind(daemon)
        .bind(now.0)
        .bind(lease_until.0)
        .fetch_optional(&pool)
        .await?;
    claimed.map_or(Ok(false), |row| Cells::new(&row, "readers", manager).get(0))
}
