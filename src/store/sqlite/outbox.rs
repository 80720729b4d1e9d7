//! Events, webhooks and deliveries: `append` inside a commit's transaction, the rest by itself.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::cells::Cells;
use crate::core::announce::{Announcement, EventType};
use crate::core::ids::{AcsSystemId, AcsUserId, AutomationId, IdentityId, PhoneId, Timestamp};
use crate::store::common::{json, type_names, types};
use crate::store::{
    Delivery, DeliveryClaim, Error, Event, EventQuery, NewEvent, Outcome, Settled, Webhook,
};

const APPEND: &str = "\
    INSERT INTO events (id, event_type, created_at, occurred_at, acs_credential, acs_user,
        acs_system, user_identity, device, automation, client_session)
    VALUES (?1, ?2, max(?3, (SELECT coalesce(max(created_at), 0) + 1 FROM events)), ?4, ?5, ?6, ?7,
        ?8, ?9, ?10, ?11)";
const OWE: &str = "\
    INSERT INTO deliveries (webhook, event, failures, not_before)
    SELECT id, ?1, 0, ?2 FROM webhooks
    WHERE enabled = 1 AND EXISTS
        (SELECT 1 FROM json_each(event_types) WHERE value = ?3 OR value = '*')";
const EVENT: &str = "\
    e.id, e.event_type, e.created_at, e.occurred_at, e.acs_credential, e.acs_user, e.acs_system,
    e.user_identity, e.device, e.automation, e.client_session";
const EVENT_COLUMNS: usize = 11;
// A batch, so that others get their turn in between.
const PRUNE: &str = "\
    DELETE FROM events WHERE seq IN
        (SELECT seq FROM events WHERE created_at < ?1 ORDER BY created_at LIMIT 5000)";
const WEBHOOK: &str = "w.id, w.url, w.event_types, w.secret, w.created_at, w.enabled";
const WEBHOOK_COLUMNS: usize = 6;
// A repeated wish makes no second one.
const CREATE: &str = "\
    INSERT INTO webhooks (id, url, event_types, secret, created_at, enabled)
    SELECT ?1, ?2, ?3, ?4, ?5, 1 WHERE NOT EXISTS
        (SELECT 1 FROM webhooks
        WHERE url = ?2 AND event_types = ?3 AND enabled = 1 AND created_at >= ?6)";
const UPDATE: &str = "\
    UPDATE webhooks SET event_types = ?2, enabled = 1,
        failing_since = CASE WHEN enabled = 1 THEN failing_since END
    WHERE id = ?1";
const DELETE: &str = "DELETE FROM webhooks WHERE id = ?1";
// One at a time for each webhook keeps the order of events; the first due goes first, so that one
// that fails again and again holds back none that is new.
const CLAIM: &str = "\
    UPDATE deliveries SET claim_token = ?1, claim_opening = ?2, lease_until = ?3
    WHERE (webhook, event) IN (
        SELECT w.id, (
            SELECT d.event FROM deliveries AS d
            WHERE d.webhook = w.id AND d.not_before <= ?4
            ORDER BY d.not_before, d.event LIMIT 1)
        FROM webhooks AS w
        WHERE w.enabled = 1 AND NOT EXISTS (
            SELECT 1 FROM deliveries AS c
            WHERE c.webhook = w.id AND c.claim_token IS NOT NULL
                AND c.claim_opening = ?2 AND c.lease_until > ?4))";
const NEXT: &str = "\
    SELECT min((SELECT min(d.not_before) FROM deliveries AS d WHERE d.webhook = w.id))
    FROM webhooks AS w
    WHERE w.enabled = 1 AND NOT EXISTS (
        SELECT 1 FROM deliveries AS c
        WHERE c.webhook = w.id AND c.claim_token IS NOT NULL
            AND c.claim_opening = ?1 AND c.lease_until > ?2)";
const HELD: &str = "\
    SELECT d.event FROM deliveries AS d JOIN events AS e ON e.seq = d.event
    WHERE d.webhook = ?1 AND e.id = ?2 AND d.claim_token = ?3";
const DONE: &str = "DELETE FROM deliveries WHERE webhook = ?1 AND event = ?2";
const AGAIN: &str = "\
    UPDATE deliveries SET failures = failures + 1, not_before = ?3,
        claim_token = NULL, claim_opening = NULL, lease_until = NULL
    WHERE webhook = ?1 AND event = ?2";
const HEALTHY: &str =
    "UPDATE webhooks SET failing_since = NULL WHERE id = ?1 AND failing_since IS NOT NULL";
const FAILING: &str =
    "UPDATE webhooks SET failing_since = ?2 WHERE id = ?1 AND failing_since IS NULL";
const DISABLE: &str = "UPDATE webhooks SET enabled = 0 WHERE id = ?1";
const DROP_ALL: &str = "DELETE FROM deliveries WHERE webhook = ?1";

/// Keeps events, and what they owe to webhooks.
pub(super) fn append(conn: &Connection, events: &[NewEvent], now: Timestamp) -> Result<(), Error> {
    for event in events {
        let told = &event.announcement;
        conn.prepare_cached(APPEND)?.execute(params![
            event.id,
            told.event_type.name(),
            now.0,
            told.occurred_at.0,
            told.acs_credential,
            told.acs_user.map(|id| id.0),
            told.acs_system.map(|id| id.0),
            told.user_identity.map(|id| id.0),
            told.device.map(|id| id.0),
            told.enrollment_automation.map(|id| id.0),
            told.client_session,
        ])?;
        let seq = conn.last_insert_rowid();
        conn.prepare_cached(OWE)?
            .execute(params![seq, now.0, told.event_type.name()])?;
    }
    Ok(())
}

pub(super) fn events(conn: &Connection, query: &EventQuery) -> Result<Vec<Event>, Error> {
    let (sql, values) = events_sql(query)?;
    let mut events = Vec::new();
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        events.push(event(&Cells::new(row, "events", "?"), 0)?);
    }
    Ok(events)
}

pub(super) fn prune(conn: &Connection, before: Timestamp) -> Result<(), Error> {
    conn.prepare_cached(PRUNE)?.execute(params![before.0])?;
    Ok(())
}

/// Makes the webhook, unless one was made for the same since `since`.
pub(super) fn create(conn: &Connection, webhook: &Webhook, since: Timestamp) -> Result<(), Error> {
    conn.prepare_cached(CREATE)?.execute(params![
        webhook.id,
        webhook.url,
        types_json(webhook.event_types.as_ref())?,
        webhook.secret.expose_secret(),
        webhook.created_at.0,
        since.0,
    ])?;
    Ok(())
}

/// Every webhook, oldest first.
pub(super) fn webhooks(conn: &Connection) -> Result<Vec<Webhook>, Error> {
    let sql = format!("SELECT {WEBHOOK} FROM webhooks AS w ORDER BY w.created_at, w.id");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut webhooks = Vec::new();
    while let Some(row) = rows.next()? {
        webhooks.push(webhook(&Cells::new(row, "webhooks", "?"), 0)?);
    }
    Ok(webhooks)
}

pub(super) fn update(
    conn: &Connection,
    id: Uuid,
    event_types: Option<&BTreeSet<EventType>>,
) -> Result<(), Error> {
    conn.prepare_cached(UPDATE)?
        .execute(params![id, types_json(event_types)?])?;
    Ok(())
}

/// Its deliveries go with it, by foreign key.
pub(super) fn delete(conn: &Connection, id: Uuid) -> Result<(), Error> {
    conn.prepare_cached(DELETE)?.execute(params![id])?;
    Ok(())
}

pub(super) fn claim(conn: &Connection, claim: DeliveryClaim, opening: i64) -> Result<(), Error> {
    conn.prepare_cached(CLAIM)?.execute(params![
        claim.token,
        opening,
        claim.lease_until.0,
        claim.now.0,
    ])?;
    Ok(())
}

/// What a claim took, in the order of events.
pub(super) fn claimed(conn: &Connection, token: Uuid) -> Result<Vec<Delivery>, Error> {
    let sql = format!(
        "SELECT {EVENT}, {WEBHOOK}, d.failures, w.failing_since
        FROM deliveries AS d INDEXED BY deliveries_claimed
        JOIN events AS e ON e.seq = d.event JOIN webhooks AS w ON w.id = d.webhook
        WHERE d.claim_token = ?1 ORDER BY d.event"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![token])?;
    let mut claimed = Vec::new();
    while let Some(row) = rows.next()? {
        let cells = Cells::new(row, "deliveries", token);
        let own = EVENT_COLUMNS + WEBHOOK_COLUMNS;
        claimed.push(Delivery {
            token,
            event: event(&cells, 0)?,
            webhook: webhook(&cells, EVENT_COLUMNS)?,
            failures: cells.get(own)?,
            failing_since: cells.get::<Option<i64>>(own + 1)?.map(Timestamp),
        });
    }
    Ok(claimed)
}

/// When something can be claimed next.
pub(super) fn next(
    conn: &Connection,
    opening: i64,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let next: Option<i64> = conn
        .prepare_cached(NEXT)?
        .query_row(params![opening, now.0], |row| row.get(0))?;
    Ok(next.map(Timestamp))
}

pub(super) fn settle(conn: &Connection, settled: Settled) -> Result<(), Error> {
    let held: Option<i64> = conn
        .prepare_cached(HELD)?
        .query_row(
            params![settled.webhook, settled.event, settled.token],
            |row| row.get(0),
        )
        .optional()?;
    let Some(event) = held else { return Ok(()) };
    let webhook = settled.webhook;
    if settled.outcome == Outcome::Delivered {
        conn.prepare_cached(HEALTHY)?.execute(params![webhook])?;
    } else {
        conn.prepare_cached(FAILING)?
            .execute(params![webhook, settled.now.0])?;
    }
    match settled.outcome {
        Outcome::Delivered | Outcome::GivenUp => {
            conn.prepare_cached(DONE)?
                .execute(params![webhook, event])?;
        }
        Outcome::Again(not_before) => {
            conn.prepare_cached(AGAIN)?
                .execute(params![webhook, event, not_before.0])?;
        }
        Outcome::Disabled => {
            conn.prepare_cached(DISABLE)?.execute(params![webhook])?;
            conn.prepare_cached(DROP_ALL)?.execute(params![webhook])?;
        }
    }
    Ok(())
}

fn types_json(types: Option<&BTreeSet<EventType>>) -> Result<String, Error> {
    json(&type_names(types))
}

fn event<K: std::fmt::Display>(cells: &Cells<'_, K>, first: usize) -> Result<Event, Error> {
    let id = |column: usize| cells.get::<Option<Uuid>>(first + column);
    let name: String = cells.get(first + 1)?;
    let event_type =
        EventType::parse(&name).ok_or_else(|| cells.corrupt("an unknown event type"))?;
    Ok(Event {
        id: cells.get(first)?,
        created_at: Timestamp(cells.get(first + 2)?),
        announcement: Announcement {
            event_type,
            occurred_at: Timestamp(cells.get(first + 3)?),
            acs_credential: id(4)?,
            acs_user: id(5)?.map(AcsUserId),
            acs_system: id(6)?.map(AcsSystemId),
            user_identity: id(7)?.map(IdentityId),
            device: id(8)?.map(PhoneId),
            enrollment_automation: id(9)?.map(AutomationId),
            client_session: id(10)?,
        },
    })
}

fn webhook<K: std::fmt::Display>(cells: &Cells<'_, K>, first: usize) -> Result<Webhook, Error> {
    let names: Vec<String> = cells.get_json(first + 2)?;
    let event_types = types(&names).map_err(|error| cells.corrupt(error))?;
    Ok(Webhook {
        id: cells.get(first)?,
        url: cells.get(first + 1)?,
        event_types,
        secret: cells.get::<String>(first + 3)?.into(),
        created_at: Timestamp(cells.get(first + 4)?),
        enabled: cells.get(first + 5)?,
    })
}

/// Only the filters that are set, so that each set has its own plan.
fn events_sql(query: &EventQuery) -> Result<(String, Vec<Value>), Error> {
    let mut values = Vec::new();
    let mut bind = |value: Value| {
        values.push(value);
        format!("?{}", values.len())
    };
    let mut conditions = vec!["TRUE".to_owned()];
    let one = [
        ("acs_credential", query.acs_credential),
        ("acs_user", query.acs_user),
        ("user_identity", query.user_identity),
    ];
    for (column, id) in one {
        if let Some(id) = id {
            let id = bind(id.as_bytes().to_vec().into());
            conditions.push(format!("e.{column} = {id}"));
        }
    }
    let several = [
        ("id", &query.ids),
        ("acs_system", &query.acs_systems),
        ("device", &query.devices),
    ];
    for (column, ids) in several {
        if let Some(ids) = ids {
            let ids: Vec<String> = ids.iter().map(|id| id.simple().to_string()).collect();
            let ids = bind(json(&ids)?.into());
            conditions.push(format!(
                "e.{column} IN (SELECT unhex(value) FROM json_each({ids}))"
            ));
        }
    }
    if let Some(types) = &query.types {
        let names: Vec<&str> = types.iter().map(|known| known.name()).collect();
        let names = bind(json(&names)?.into());
        conditions.push(format!(
            "e.event_type IN (SELECT value FROM json_each({names}))"
        ));
    }
    if let Some(after) = query.after {
        let after = bind(after.0.into());
        conditions.push(format!("e.created_at > {after}"));
    }
    if let Some(before) = query.before {
        let before = bind(before.0.into());
        conditions.push(format!("e.created_at < {before}"));
    }
    let order = if query.oldest_first { "ASC" } else { "DESC" };
    let conditions = conditions.join(" AND ");
    let limit = bind(i64::from(query.limit).into());
    let offset = bind(i64::from(query.offset).into());
    let sql = format!(
        "SELECT {EVENT} FROM events AS e WHERE {conditions}
        ORDER BY e.created_at {order} LIMIT {limit} OFFSET {offset}"
    );
    Ok((sql, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::open;

    #[test]
    fn no_page_of_events_of_one_thing_walks_through_others() {
        let any = EventQuery::default();
        let one = Some(Uuid::nil());
        let some = || Some(BTreeSet::from([Uuid::nil()]));
        let cases = [
            (
                "events_of_credential (acs_credential=?)",
                EventQuery {
                    acs_credential: one,
                    ..any.clone()
                },
            ),
            (
                "events_of_acs_user (acs_user=?)",
                EventQuery {
                    acs_user: one,
                    ..any.clone()
                },
            ),
            (
                "events_of_identity (user_identity=?)",
                EventQuery {
                    user_identity: one,
                    ..any.clone()
                },
            ),
            (
                "events_of_device (device=?)",
                EventQuery {
                    devices: some(),
                    ..any.clone()
                },
            ),
            (
                "(id=?)",
                EventQuery {
                    ids: some(),
                    ..any.clone()
                },
            ),
        ];
        let conn = open::in_memory().unwrap();
        for (seek, query) in cases {
            let (sql, values) = events_sql(&query).unwrap();
            let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let lines = plan
                .query_map(params_from_iter(values), |row| row.get::<_, String>(3))
                .unwrap();
            let plan: Vec<String> = lines.map(Result::unwrap).collect();
            let is_sought = |line: &String| line.starts_with("SEARCH e ") && line.contains(seek);
            assert!(plan.iter().any(is_sought), "{plan:?}");
        }
    }
}
