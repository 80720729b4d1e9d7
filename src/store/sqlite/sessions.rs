//! Client sessions. Tokens go in and out of rows; what is searched by is their hash.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::cells::Cells;
use super::outbox;
use crate::core::ids::{IdentityId, Timestamp};
use crate::store::common::{ends_sessions, sessions_gone, token_hash};
use crate::store::{ClientSession, Commit, Error, SessionChange, SessionQuery};

const SESSION: &str =
    "id, token, user_identity, identifier_key, created_at, expires_at, revoked_at";
// Of one name one session holds at a time.
const CREATE: &str = "\
    INSERT INTO client_sessions
        (id, token, token_hash, user_identity, identifier_key, created_at, expires_at)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS
        (SELECT 1 FROM client_sessions
        WHERE identifier_key = ?5 AND revoked_at IS NULL AND expires_at > ?6)";
const GRANT: &str = "\
    UPDATE client_sessions SET user_identity = ?2 WHERE id = ?1 AND user_identity IS NULL";
const REVOKE: &str =
    "UPDATE client_sessions SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
const DELETE: &str = "DELETE FROM client_sessions WHERE id = ?1 RETURNING id, user_identity";
const END: &str =
    "DELETE FROM client_sessions WHERE user_identity = ?1 RETURNING id, user_identity";
// A batch, so that others get their turn in between.
const PRUNE: &str = "\
    DELETE FROM client_sessions WHERE id IN
        (SELECT id FROM client_sessions WHERE expires_at < ?1 ORDER BY expires_at LIMIT 5000)";

/// Makes the session, unless one of its name holds.
pub(super) fn create(conn: &Connection, session: &ClientSession) -> Result<(), Error> {
    conn.prepare_cached(CREATE)?.execute(params![
        session.id,
        session.token.expose_secret(),
        token_hash(&session.token),
        session.user_identity.map(|id| id.0),
        session.key,
        session.created_at.0,
        session.expires_at.0,
    ])?;
    Ok(())
}

/// Newest first, ties by id.
pub(super) fn sessions(
    conn: &Connection,
    query: &SessionQuery,
) -> Result<Vec<ClientSession>, Error> {
    let hash = query.token.as_ref().map(token_hash);
    let filters: [(&str, Option<Value>); 4] = [
        ("id", query.id.map(blob)),
        ("token_hash", hash.map(Value::Blob)),
        ("identifier_key", query.key.clone().map(Value::Text)),
        ("user_identity", query.user_identity.map(|id| blob(id.0))),
    ];
    let mut conditions = vec!["TRUE".to_owned()];
    let mut values = Vec::new();
    for (column, value) in filters {
        if let Some(value) = value {
            values.push(value);
            conditions.push(format!("{column} = ?{}", values.len()));
        }
    }
    let conditions = conditions.join(" AND ");
    let sql = format!(
        "SELECT {SESSION} FROM client_sessions WHERE {conditions} ORDER BY created_at DESC, id DESC"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next()? {
        sessions.push(session(&Cells::new(row, "client_sessions", "?"))?);
    }
    Ok(sessions)
}

pub(super) fn change(conn: &Connection, id: Uuid, change: SessionChange) -> Result<(), Error> {
    match change {
        SessionChange::Grant(identity) => {
            conn.prepare_cached(GRANT)?
                .execute(params![id, identity.0])?;
        }
        SessionChange::Revoke(at) => {
            conn.prepare_cached(REVOKE)?.execute(params![id, at.0])?;
        }
    }
    Ok(())
}

/// Forgets one, and tells of it.
pub(super) fn delete(conn: &Connection, id: Uuid, now: Timestamp) -> Result<(), Error> {
    let gone = conn
        .prepare_cached(DELETE)?
        .query_row(params![id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    outbox::append(conn, &sessions_gone(gone, now), now)
}

/// Who is gone or on the way out has no sessions.
pub(super) fn end(conn: &Connection, commit: &Commit) -> Result<(), Error> {
    if !ends_sessions(commit) {
        return Ok(());
    }
    let mut statement = conn.prepare_cached(END)?;
    let gone = statement.query_map(params![commit.id.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let gone: Vec<_> = gone.collect::<Result<_, _>>()?;
    outbox::append(conn, &sessions_gone(gone, commit.now), commit.now)
}

/// Forgets those that expired before then.
pub(super) fn prune(conn: &Connection, before: Timestamp) -> Result<(), Error> {
    conn.prepare_cached(PRUNE)?.execute(params![before.0])?;
    Ok(())
}

fn blob(id: Uuid) -> Value {
    Value::Blob(id.as_bytes().to_vec())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::open;

    #[test]
    fn a_token_is_found_by_the_index_of_its_hash() {
        let conn = open::in_memory().unwrap();
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT {SESSION} FROM client_sessions WHERE token_hash = ?1"
        );
        let plan: String = conn
            .query_row(&sql, params![[0_u8; 32]], |row| row.get(3))
            .unwrap();
        assert!(plan.contains("(token_hash=?)"), "{plan}");
    }
}
