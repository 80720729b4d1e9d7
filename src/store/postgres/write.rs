//! `commit`, inside a transaction that somebody else opened.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::cells::Cells;
use super::{holds, locks, outbox, sessions, slots};
use crate::core::effect::{Effect, Lane, Owed};
use crate::core::hold::held_back_at;
use crate::core::identity::Identity;
use crate::core::ids::{IdentityId, Timestamp};
use crate::core::index::Row;
use crate::store::common::{Order, Reordered, chained, json, reordered, signed};
use crate::store::journal::{Hash, ROOT};
use crate::store::{ClaimChange, Commit, Error, NewEvent};

const LOCK: &str = "SELECT 1 FROM identities WHERE id = ANY($1) ORDER BY id FOR UPDATE";
const STORED: &str =
    "SELECT revision, claim_token, lease_until FROM identities WHERE id = $1 FOR UPDATE";
const ADD: &str = "\
    INSERT INTO identities (id, revision, state, claim_token, lease_until)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
const CHANGE: &str = "\
    UPDATE identities SET revision = $2, state = $3, claim_token = $4, lease_until = $5
    WHERE id = $1";
// Effects and index rows go with it, by foreign key.
const REMOVE: &str = "DELETE FROM identities WHERE id = $1";
const OWED: &str = "\
    SELECT lane, manager, class, not_before, effect, line, owed_since FROM effects
    WHERE identity = $1";
const PUT_OWED: &str = "\
    INSERT INTO effects (identity, lane, manager, class, not_before, effect, line, owed_since)
    SELECT $1, * FROM unnest($2::text[], $3::uuid[], $4::text[], $5::bigint[], $6::text[],
        $7::bigint[], $8::bigint[])
    ON CONFLICT (identity, lane) DO UPDATE SET manager = excluded.manager, class = excluded.class,
        not_before = excluded.not_before, effect = excluded.effect, line = excluded.line,
        owed_since = excluded.owed_since";
const REMOVE_OWED: &str = "DELETE FROM effects WHERE identity = $1 AND lane = ANY($2)";
const PUT_ROWS: &str = "\
    INSERT INTO entities (identity, kind, id, created_at, acs_system, acs_user, parent)
    SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[])
    ON CONFLICT (kind, id) DO UPDATE SET created_at = excluded.created_at,
        acs_system = excluded.acs_system, acs_user = excluded.acs_user, parent = excluded.parent
        WHERE entities.identity = excluded.identity
    RETURNING kind, id";
const REMOVE_ROWS: &str = "\
    DELETE FROM entities
    WHERE identity = $1 AND (kind, id) IN (SELECT * FROM unnest($2::text[], $3::text[]))";
const HEAD: &str = "SELECT seq, hash FROM journal WHERE identity = $1 ORDER BY seq DESC LIMIT 1";
const APPEND: &str = "\
    INSERT INTO journal (identity, at, cause, seq, entity, from_state, to_state, hash)
    SELECT $1, $2, $3, * FROM unnest($4::bigint[], $5::text[], $6::text[], $7::text[], $8::bytea[])";

/// A claim as stored.
struct Held {
    token: Uuid,
    lease_until: i64,
}

/// Does all that these commits say, in their order, or fails and leaves it to the caller to undo what was done so far.
pub(super) async fn commit_all(conn: &mut PgConnection, commits: &[Commit]) -> Result<(), Error> {
    if commits.len() > 1 {
        let ids: Vec<Uuid> = commits.iter().map(|commit| commit.id.0).collect();
        sqlx::query(LOCK).bind(ids).execute(&mut *conn).await?;
    }
    let mut told = Vec::new();
    for commit in commits {
        for event in one(conn, commit).await? {
            told.push((event, commit.now));
        }
    }
    outbox::append(conn, &told).await
}

/// Returns what is to be told.
async fn one(conn: &mut PgConnection, commit: &Commit) -> Result<Vec<NewEvent>, Error> {
    let (revision, held) = stored(conn, commit.id).await?;
    if revision != commit.expected {
        return Err(Error::Conflict(commit.id));
    }
    let held = change_claim(conn, commit, held).await?;
    let mut told = sessions::end(conn, commit).await?;
    told.extend_from_slice(&commit.events);
    match &commit.identity {
        Some(identity) => put(conn, commit, identity, held).await?,
        None => {
            sqlx::query(REMOVE)
                .bind(commit.id.0)
                .execute(&mut *conn)
                .await?;
        }
    }
    append(conn, commit).await?;
    Ok(told)
}

/// Revision 0: there is none.
async fn stored(conn: &mut PgConnection, id: IdentityId) -> Result<(u64, Option<Held>), Error> {
    let row = sqlx::query(STORED).bind(id.0).fetch_optional(conn).await?;
    let Some(row) = row else {
        return Ok((0, None));
    };
    let cells = Cells::new(&row, "identities", id);
    let held = match cells.get::<Option<Uuid>>(1)? {
        None => None,
        Some(token) => Some(Held {
            token,
            lease_until: cells.get(2)?,
        }),
    };
    Ok((cells.get_u64(0)?, held))
}

async fn change_claim(
    conn: &mut PgConnection,
    commit: &Commit,
    held: Option<Held>,
) -> Result<Option<Held>, Error> {
    match &commit.claim {
        ClaimChange::Keep => Ok(held),
        ClaimChange::Abandon => Ok(None),
        ClaimChange::Take { claim, slot } => {
            debug_assert_eq!(claim.token, slot.token, "the claim names its slots");
            if held.is_some() {
                return Err(Error::Claimed(commit.id));
            }
            refuse_held(conn, commit).await?;
            slots::take(conn, slot).await?;
            Ok(Some(Held {
                token: claim.token,
                lease_until: claim.lease_until.0,
            }))
        }
        ClaimChange::Release { token, frees_at } => {
            if held.is_none_or(|held| held.token != *token) {
                return Err(Error::ClaimLost(commit.id));
            }
            match frees_at {
                Some(frees_at) => slots::answer(conn, *token, *frees_at).await?,
                None => slots::give_back(conn, *token).await?,
            }
            Ok(None)
        }
    }
}

/// What was due when it was looked for may be held by now; from here to the end of the transaction nothing more will be.
async fn refuse_held(conn: &mut PgConnection, commit: &Commit) -> Result<(), Error> {
    let Some(identity) = commit.identity.as_ref() else {
        return Ok(());
    };
    let Some(manager) = held_back_at(identity) else {
        return Ok(());
    };
    locks::share(conn, locks::HOLDS).await?;
    let held = holds::at(&mut *conn, manager).await?;
    let part = match identity.in_flight.as_ref().map(|call| &call.effect) {
        Some(Effect::Issue { part_number, .. }) => held.parts.contains(part_number),
        Some(_) | None => false,
    };
    if part || held.all {
        return Err(Error::Held(commit.id));
    }
    Ok(())
}

async fn put(
    conn: &mut PgConnection,
    commit: &Commit,
    identity: &Identity,
    held: Option<Held>,
) -> Result<(), Error> {
    debug_assert_eq!(identity.id, commit.id, "the commit is about this identity");
    let is_new = commit.expected == 0;
    let written = sqlx::query(if is_new { ADD } else { CHANGE })
        .bind(commit.id.0)
        .bind(signed(commit.expected + 1)?)
        .bind(json(identity)?)
        .bind(held.as_ref().map(|held| held.token))
        .bind(held.as_ref().map(|held| held.lease_until))
        .execute(&mut *conn)
        .await?;
    // Somebody else made it since it was looked for.
    if written.rows_affected() == 0 {
        return Err(Error::Conflict(commit.id));
    }
    if let Some(owed) = &commit.owed {
        replace_owed(conn, commit.id, owed, commit.now).await?;
    }
    // A changed row is one removed and one added.
    remove_rows(conn, commit).await?;
    add_rows(conn, commit).await
}

async fn replace_owed(
    conn: &mut PgConnection,
    id: IdentityId,
    owed: &BTreeMap<Lane, Owed>,
    now: Timestamp,
) -> Result<(), Error> {
    let Reordered { changed, gone } = reordered(orders(conn, id).await?, owed, now)?;
    if !changed.is_empty() {
        let (lanes, orders): (Vec<String>, Vec<Order>) = changed.into_iter().unzip();
        let numbers = |number: fn(&Order) -> i64| orders.iter().map(number).collect::<Vec<_>>();
        let texts = |text: fn(&Order) -> &str| orders.iter().map(text).collect::<Vec<_>>();
        let managers: Vec<_> = orders.iter().map(|order| order.manager).collect();
        sqlx::query(PUT_OWED)
            .bind(id.0)
            .bind(lanes)
            .bind(managers)
            .bind(texts(|order| &order.class))
            .bind(numbers(|order| order.not_before))
            .bind(texts(|order| &order.effect))
            .bind(numbers(|order| order.line))
            .bind(numbers(|order| order.owed_since))
            .execute(&mut *conn)
            .await?;
    }
    if !gone.is_empty() {
        sqlx::query(REMOVE_OWED)
            .bind(id.0)
            .bind(gone)
            .execute(conn)
            .await?;
    }
    Ok(())
}

async fn orders(conn: &mut PgConnection, id: IdentityId) -> Result<BTreeMap<String, Order>, Error> {
    let rows = sqlx::query(OWED).bind(id.0).fetch_all(conn).await?;
    let orders = rows.iter().map(|row| {
        let cells = Cells::new(row, "effects", id);
        let order = Order {
            manager: cells.get(1)?,
            class: cells.get(2)?,
            not_before: cells.get(3)?,
            effect: cells.get(4)?,
            line: cells.get(5)?,
            owed_since: cells.get(6)?,
        };
        Ok((cells.get(0)?, order))
    });
    orders.collect()
}

async fn remove_rows(conn: &mut PgConnection, commit: &Commit) -> Result<(), Error> {
    if commit.rows_removed.is_empty() {
        return Ok(());
    }
    let rows = commit.rows_removed.iter();
    let (kinds, ids): (Vec<_>, Vec<_>) = rows.map(|row| (row.kind.name(), &*row.id)).unzip();
    sqlx::query(REMOVE_ROWS)
        .bind(commit.id.0)
        .bind(kinds)
        .bind(ids)
        .execute(conn)
        .await?;
    Ok(())
}

async fn add_rows(conn: &mut PgConnection, commit: &Commit) -> Result<(), Error> {
    if commit.rows_added.is_empty() {
        return Ok(());
    }
    // One statement writes no row twice: of several of one kind and id the last is what stays.
    let rows = commit.rows_added.iter();
    let rows: BTreeMap<_, &Row> = rows.map(|row| ((row.kind.name(), &*row.id), row)).collect();
    let (kinds, ids): (Vec<&str>, Vec<&str>) = rows.keys().copied().unzip();
    let texts =
        |text: fn(&Row) -> Option<&str>| rows.values().map(|row| text(row)).collect::<Vec<_>>();
    let created: Vec<i64> = rows.values().map(|row| row.created_at.0).collect();
    let written = sqlx::query(PUT_ROWS)
        .bind(commit.id.0)
        .bind(kinds)
        .bind(ids)
        .bind(created)
        .bind(texts(|row| row.acs_system.as_deref()))
        .bind(texts(|row| row.acs_user.as_deref()))
        .bind(texts(|row| row.parent.as_deref()))
        .fetch_all(conn)
        .await?;
    let written = written.iter().map(|row| {
        let cells = Cells::new(row, "entities", commit.id);
        Ok((cells.get(0)?, cells.get(1)?))
    });
    let written: BTreeSet<(&str, &str)> = written.collect::<Result<_, Error>>()?;
    let is_taken = |row: &&Row| {
        row.kind.is_exclusive() && !written.contains(&(row.kind.name(), row.id.as_str()))
    };
    match commit.rows_added.iter().find(is_taken) {
        Some(row) => Err(Error::Taken(row.kind)),
        None => Ok(()),
    }
}

async fn append(conn: &mut PgConnection, commit: &Commit) -> Result<(), Error> {
    if commit.changes.is_empty() {
        return Ok(());
    }
    let rows = chained(head(conn, commit.id).await?, commit);
    let (seqs, hashes): (Vec<u64>, Vec<Hash>) = rows.into_iter().unzip();
    let seqs: Vec<i64> = seqs.into_iter().map(signed).collect::<Result<_, _>>()?;
    let entities: Vec<&str> = commit
        .changes
        .iter()
        .map(|change| &*change.entity)
        .collect();
    let from = commit.changes.iter().map(|change| change.from.as_deref());
    let to = commit.changes.iter().map(|change| change.to.as_deref());
    sqlx::query(APPEND)
        .bind(commit.id.0)
        .bind(commit.now.0)
        .bind(&commit.cause)
        .bind(seqs)
        .bind(entities)
        .bind(from.collect::<Vec<_>>())
        .bind(to.collect::<Vec<_>>())
        .bind(hashes)
        .execute(conn)
        .await?;
    Ok(())
}

async fn head(conn: &mut PgConnection, id: IdentityId) -> Result<(u64, Hash), Error> {
    let row = sqlx::query(HEAD).bind(id.0).fetch_optional(conn).await?;
    let Some(row) = row else {
        return Ok((0, ROOT));
    };
    let cells = Cells::new(&row, "journal", id);
    Ok((cells.get_u64(0)?, cells.get(1)?))
}
