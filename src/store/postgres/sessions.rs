//! Client sessions. Tokens go in and out of rows; what is searched by is their hash.

use secrecy::ExposeSecret as _;
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::cells::Cells;
use super::locks;
use crate::core::ids::{IdentityId, Timestamp};
use crate::store::common::{ends_sessions, sessions_gone, token_hash};
use crate::store::{ClientSession, Commit, Error, NewEvent, SessionChange, SessionQuery};

// Of one name one session holds at a time.
const CREATE: &str = "\
    INSERT INTO client_sessions
        (id, token, token_hash, user_identity, identifier_key, created_at, expires_at)
    SELECT $1, $2, $3, $4, $5, $6, $7 WHERE NOT EXISTS
        (SELECT 1 FROM client_sessions
        WHERE identifier_key = $5 AND revoked_at IS NULL AND expires_at > $6)";
const GRANT: &str =
    "UPDATE client_sessions SET user_identity = $2 WHERE id = $1 AND user_identity IS NULL";
const REVOKE: &str =
    "UPDATE client_sessions SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
const DELETE: &str = "DELETE FROM client_sessions WHERE id = $1 RETURNING id, user_identity";
const END: &str =
    "DELETE FROM client_sessions WHERE user_identity = $1 RETURNING id, user_identity";
// A batch, so that others get their turn in between.
const PRUNE: &str = "\
    DELETE FROM client_sessions WHERE id IN
        (SELECT id FROM client_sessions WHERE expires_at < $1 ORDER BY expires_at LIMIT 5000)";

/// Makes the session, unless one of its name holds.
pub(super) async fn create(conn: &mut PgConnection, session: &ClientSession) -> Result<(), Error> {
    if let Some(key) = &session.key {
        locks::take_one(conn, &format!("client session {key}")).await?;
    }
    sqlx::query(CREATE)
        .bind(session.id)
        .bind(session.token.expose_secret())
        .bind(token_hash(&session.token))
        .bind(session.user_identity.map(|id| id.0))
        .bind(&session.key)
        .bind(session.created_at.0)
        .bind(session.expires_at.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Newest first, ties by id.
pub(super) async fn sessions(
    pool: PgPool,
    query: SessionQuery,
) -> Result<Vec<ClientSession>, Error> {
    let mut sql: QueryBuilder<Postgres> = QueryBuilder::new(
        "SELECT id, token, user_identity, identifier_key, created_at, expires_at, revoked_at
        FROM client_sessions WHERE TRUE",
    );
    if let Some(id) = query.id {
        sql.push(" AND id = ").push_bind(id);
    }
    if let Some(token) = &query.token {
        sql.push(" AND token_hash = ").push_bind(token_hash(token));
    }
    if let Some(key) = query.key {
        sql.push(" AND identifier_key = ").push_bind(key);
    }
    if let Some(identity) = query.user_identity {
        sql.push(" AND user_identity = ").push_bind(identity.0);
    }
    sql.push(" ORDER BY created_at DESC, id DESC");
    let rows = sql.build().fetch_all(&pool).await?;
    let sessions = rows
        .iter()
        .map(|row| session(&Cells::new(row, "client_sessions", "?")));
    sessions.collect()
}

pub(super) async fn change(
    conn: &mut PgConnection,
    id: Uuid,
    change: SessionChange,
) -> Result<(), Error> {
    let query = match change {
        SessionChange::Grant(identity) => sqlx::query(GRANT).bind(id).bind(identity.0),
        SessionChange::Revoke(at) => sqlx::query(REVOKE).bind(id).bind(at.0),
    };
    query.execute(conn).await?;
    Ok(())
}

/// Forgets one, and says what is to be told of it.
pub(super) async fn delete(
    conn: &mut PgConnection,
    id: Uuid,
    now: Timestamp,
) -> Result<Vec<NewEvent>, Error> {
    gone(conn, DELETE, id, now).await
}

/// Who is gone or on the way out has no sessions.
pub(super) async fn end(conn: &mut PgConnection, commit: &Commit) -> Result<Vec<NewEvent>, Error> {
    if !ends_sessions(commit) {
        return Ok(Vec::new());
    }
    gone(conn, END, commit.id.0, commit.now).await
}

async fn gone(
    conn: &mut PgConnection,
    sql: &'static str,
    id: Uuid,
    now: Timestamp,
) -> Result<Vec<NewEvent>, Error> {
    let rows = sqlx::query(sql).bind(id).fetch_all(conn).await?;
    let gone = rows.iter().map(|row| {
        let cells = Cells::new(row, "client_sessions", "?");
        Ok((cells.get(0)?, cells.get(1)?))
    });
    Ok(sessions_gone(gone.collect::<Result<Vec<_>, Error>>()?, now))
}

/// Forgets those that expired before then.
pub(super) async fn prune(conn: &mut PgConnection, before: Timestamp) -> Result<(), Error> {
    sqlx::query(PRUNE).bind(before.0).execute(conn).await?;
    Ok(())
}

fn session<K: std::fmt::Display>(cells: &Cells<'_, K>) -> Result<ClientSession, Error> {
    Ok(ClientSession {
        id: cells.get(0)?,
        token: cells.get::<String>(1)?.into(),
        user_identity: cells.get::<Option<Uuid>>(2)?.map(IdentityId),
        key: cells.get(3)?,
        created_at: Timestamp(cells.get(4)?),
        expires_at: Timestamp(cells.get(5)?),
        revoked_at: cells.get::<Option<i64>>(6)?.map(Timestamp),
    })
}
