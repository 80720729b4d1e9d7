//! `commit`, inside a transaction that somebody else opened.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::cells::Cells;
use super::{holds, outbox, sessions, slots};
use crate::core::effect::{Effect, Lane, Owed};
use crate::core::hold::held_back_at;
use crate::core::identity::Identity;
use crate::core::ids::{IdentityId, Timestamp};
use crate::core::index::Row;
use crate::store::common::{Order, Reordered, chained, json, reordered, signed};
use crate::store::journal::{Hash, ROOT};
use crate::store::{ClaimChange, Commit, Error};

const STORED: &str =
    "SELECT revision, claim_token, claim_opening, lease_until FROM identities WHERE id = ?1";
const PUT: &str = "\
    INSERT INTO identities (id, revision, state, claim_token, claim_opening, lease_until)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, state = excluded.state,
        claim_token = excluded.claim_token, claim_opening = excluded.claim_opening,
        lease_until = excluded.lease_until";
// Effects and index rows go with it, by foreign key.
const REMOVE: &str = "DELETE FROM identities WHERE id = ?1";
const OWED: &str = "SELECT lane, manager, class, not_before, effect, line, owed_since FROM effects WHERE identity = ?1";
const PUT_OWED: &str = "\
    INSERT INTO effects (identity, lane, manager, class, not_before, effect, line, owed_since)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (identity, lane) DO UPDATE SET manager = excluded.manager, class = excluded.class,
        not_before = excluded.not_before, effect = excluded.effect, line = excluded.line,
        owed_since = excluded.owed_since";
const REMOVE_OWED: &str = "DELETE FROM effects WHERE identity = ?1 AND lane = ?2";
const PUT_ROW: &str = "\
    INSERT INTO entities (kind, id, identity, created_at, acs_system, acs_user, parent)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (kind, id) DO UPDATE SET created_at = excluded.created_at,
        acs_system = excluded.acs_system, acs_user = excluded.acs_user, parent = excluded.parent
        WHERE entities.identity = excluded.identity";
const REMOVE_ROW: &str = "DELETE FROM entities WHERE kind = ?1 AND id = ?2 AND identity = ?3";
const HEAD: &str = "SELECT seq, hash FROM journal WHERE identity = ?1 ORDER BY seq DESC LIMIT 1";
const APPEND: &str = "\
    INSERT INTO journal (identity, seq, at, cause, entity, from_state, to_state, hash)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// A claim as stored.
struct Held {
    token: Uuid,
    /// The opening of the database that made it.
    opening: i64,
    lease_until: i64,
}

/// Does all that `commit` says, or fails and leaves it to the caller to undo what was done so far.
pub(super) fn commit(conn: &Connection, commit: &Commit, opening: i64) -> Result<(), Error> {
    let (revision, held) = stored(conn, commit.id)?;
    if revision != commit.expected {
        return Err(Error::Conflict(commit.id));
    }
    let held = change_claim(conn, commit, held, opening)?;
    sessions::end(conn, commit)?;
    match &commit.identity {
        Some(identity) => put(conn, commit, identity, held.as_ref())?,
        None => {
            conn.prepare_cached(REMOVE)?.execute(params![commit.id.0])?;
        }
    }
    append(conn, commit)?;
    outbox::append(conn, &commit.events, commit.now)
}

/// Revision 0: there is none.
fn stored(conn: &Connection, id: IdentityId) -> Result<(u64, Option<Held>), Error> {
    let mut statement = conn.prepare_cached(STORED)?;
    let mut rows = statement.query(params![id.0])?;
    let Some(row) = rows.next()? else {
        return Ok((0, None));
    };
    let cells = Cells::new(row, "identities", id);
    let held = match cells.get::<Option<Uuid>>(1)? {
        None => None,
        Some(token) => Some(Held {
            token,
            opening: cells.get(2)?,
            lease_until: cells.get(3)?,
        }),
    };
    Ok((cells.get_u64(0)?, held))
}

fn change_claim(
    conn: &Connection,
    commit: &Commit,
    held: Option<Held>,
    opening: i64,
) -> Result<Option<Held>, Error> {
    match &commit.claim {
        ClaimChange::Keep => Ok(held),
        ClaimChange::Abandon => Ok(None),
        ClaimChange::Take { claim, slot } => {
            debug_assert_eq!(claim.token, slot.token, "the claim names its slots");
            if held.is_some() {
                return Err(Error::Claimed(commit.id));
            }
            refuse_held(conn, commit)?;
            slots::take(conn, slot)?;
            Ok(Some(Held {
                token: claim.token,
                opening,
                lease_until: claim.lease_until.0,
            }))
        }
        ClaimChange::Release { token, frees_at } => {
            if held.is_none_or(|held| held.token != *token) {
                return Err(Error::ClaimLost(commit.id));
            }
            match frees_at {
                Some(frees_at) => slots::answer(conn, *token, *frees_at)?,
                None => slots::give_back(conn, *token)?,
            }
            Ok(None)
        }
    }
}

/// What was due when it was looked for may be held by now.
fn refuse_held(conn: &Connection, commit: &Commit) -> Result<(), Error> {
    let Some(identity) = commit.identity.as_ref() else {
        return Ok(());
    };
    let Some(manager) = held_back_at(identity) else {
        return Ok(());
    };
    let part = match identity.in_flight.as_ref().map(|call| &call.effect) {
        Some(Effect::Issue { part_number, .. }) => holds::stop_part(conn, manager, part_number)?,
        Some(_) | None => false,
    };
    if part || holds::stop(conn, manager)? {
        return Err(Error::Held(commit.id));
    }
    Ok(())
}

fn put(
    conn: &Connection,
    commit: &Commit,
    identity: &Identity,
    held: Option<&Held>,
) -> Result<(), Error> {
    debug_assert_eq!(identity.id, commit.id, "the commit is about this identity");
    conn.prepare_cached(PUT)?.execute(params![
        commit.id.0,
        signed(commit.expected + 1)?,
        json(identity)?,
        held.map(|held| held.token),
        held.map(|held| held.opening),
        held.map(|held| held.lease_until),
    ])?;
    if let Some(owed) = &commit.owed {
        replace_owed(conn, commit.id, owed, commit.now)?;
    }
    // A changed row is one removed and one added.
    for row in &commit.rows_removed {
        conn.prepare_cached(REMOVE_ROW)?
            .execute(params![row.kind.name(), row.id, commit.id.0])?;
    }
    for row in &commit.rows_added {
        add_row(conn, commit.id, row)?;
    }
    Ok(())
}

fn replace_owed(
    conn: &Connection,
    id: IdentityId,
    owed: &BTreeMap<Lane, Owed>,
    now: Timestamp,
) -> Result<(), Error> {
    let Reordered { changed, gone } = reordered(orders(conn, id)?, owed, now)?;
    for (lane, order) in changed {
        conn.prepare_cached(PUT_OWED)?.execute(params![
            id.0,
            lane,
            order.manager,
            order.class,
            order.not_before,
            order.effect,
            order.line,
            order.owed_since,
        ])?;
    }
    for lane in gone {
        conn.prepare_cached(REMOVE_OWED)?
            .execute(params![id.0, lane])?;
    }
    Ok(())
}

fn orders(conn: &Connection, id: IdentityId) -> Result<BTreeMap<String, Order>, Error> {
    let mut orders = BTreeMap::new();
    let mut statement = conn.prepare_cached(OWED)?;
    let mut rows = statement.query(params![id.0])?;
    while let Some(row) = rows.next()? {
        let cells = Cells::new(row, "effects", id);
        let order = Order {
            manager: cells.get(1)?,
            class: cells.get(2)?,
            not_before: cells.get(3)?,
            effect: cells.get(4)?,
            line: cells.get(5)?,
            owed_since: cells.get(6)?,
        };
        orders.insert(cells.get(0)?, order);
    }
    Ok(orders)
}

fn add_row(conn: &Connection, id: IdentityId, row: &Row) -> Result<(), Error> {
    let written = conn.prepare_cached(PUT_ROW)?.execute(params![
        row.kind.name(),
        row.id,
        id.0,
        row.created_at.0,
        row.acs_system,
        row.acs_user,
        row.parent,
    ])?;
    if written == 0 && row.kind.is_exclusive() {
        return Err(Error::Taken(row.kind));
    }
    Ok(())
}

fn append(conn: &Connection, commit: &Commit) -> Result<(), Error> {
    if commit.changes.is_empty() {
        return Ok(());
    }
    let rows = chained(head(conn, commit.id)?, commit);
    for (change, (seq, hash)) in commit.changes.iter().zip(rows) {
        conn.prepare_cached(APPEND)?.execute(params![
            commit.id.0,
            signed(seq)?,
            commit.now.0,
            commit.cause,
            change.entity,
            change.from,
            change.to,
            hash,
        ])?;
    }
    Ok(())
}

fn head(conn: &Connection, id: IdentityId) -> Result<(u64, Hash), Error> {
    let mut statement = conn.prepare_cached(HEAD)?;
    let mut rows = statement.query(params![id.0])?;
    let Some(row) = rows.next()? else {
        return Ok((0, ROOT));
    };
    let cells = Cells::new(row, "journal", id);
    Ok((cells.get_u64(0)?, cells.get(1)?))
}
