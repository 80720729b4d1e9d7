//! Events, webhooks and deliveries. All about one webhook's deliveries happens under the lock of its row.

use std::collections::BTreeSet;

use secrecy::ExposeSecret as _;
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::cells::Cells;
use super::locks;
use crate::core::announce::{Announcement, EventType};
use crate::core::ids::{AcsSystemId, AcsUserId, AutomationId, IdentityId, PhoneId, Timestamp};
use crate::store::common::{type_names, types};
use crate::store::{
    Delivery, DeliveryClaim, Error, Event, EventQuery, NewEvent, Outcome, Settled, Webhook,
};

const NEWEST: &str = "SELECT coalesce(max(created_at), 0) FROM events";
const APPEND: &str = "\
    INSERT INTO events (id, event_type, created_at, occurred_at, acs_credential, acs_user,
        acs_system, user_identity, device, automation, client_session)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::uuid[], $6::uuid[],
        $7::uuid[], $8::uuid[], $9::uuid[], $10::uuid[], $11::uuid[])";
const OWE: &str = "\
    INSERT INTO deliveries (webhook, event, failures, not_before)
    SELECT w.id, e.seq, 0, new.now
    FROM unnest($1::uuid[], $2::bigint[]) AS new (id, now) JOIN events AS e ON e.id = new.id
    JOIN webhooks AS w ON w.enabled AND w.event_types && ARRAY[e.event_type, '*']";
const EVENT: &str = "\
    e.id, e.event_type, e.created_at, e.occurred_at, e.acs_credential, e.acs_user, e.acs_system,
    e.user_identity, e.device, e.automation, e.client_session";
const EVENT_COLUMNS: usize = 11;
// A batch, so that others get their turn in between.
const PRUNE: &str = "\
    DELETE FROM events WHERE seq IN
        (SELECT seq FROM events WHERE created_at < $1 ORDER BY created_at LIMIT 5000)";
const WEBHOOK_COLUMNS: usize = 6;
const WEBHOOKS: &str = "\
    SELECT w.id, w.url, w.event_types, w.secret, w.created_at, w.enabled FROM webhooks AS w
    ORDER BY w.created_at, w.id";
// A repeated wish makes no second one.
const CREATE: &str = "\
    INSERT INTO webhooks (id, url, event_types, secret, created_at, enabled)
    SELECT $1, $2, $3, $4, $5, TRUE WHERE NOT EXISTS
        (SELECT 1 FROM webhooks
        WHERE url = $2 AND event_types = $3 AND enabled AND created_at >= $6)";
const UPDATE: &str = "\
    UPDATE webhooks SET event_types = $2, enabled = TRUE,
        failing_since = CASE WHEN enabled THEN failing_since END
    WHERE id = $1";
const DELETE: &str = "DELETE FROM webhooks WHERE id = $1";
// Whoever is at one already, another claims for it or settles.
const FREE: &str = "SELECT id FROM webhooks WHERE enabled FOR NO KEY UPDATE SKIP LOCKED";
// One at a time for each webhook keeps the order of events; the first due goes first, so that one
// that fails again and again holds back none that is new.
const CLAIM: &str = "\
    UPDATE deliveries AS claimed SET claim_token = $1, lease_until = $2
    FROM unnest($4::uuid[]) AS w (id) CROSS JOIN LATERAL (
        SELECT d.event FROM deliveries AS d
        WHERE d.webhook = w.id AND d.not_before <= $3
        ORDER BY d.not_before, d.event LIMIT 1) AS first
    WHERE claimed.webhook = w.id AND claimed.event = first.event AND NOT EXISTS (
        SELECT 1 FROM deliveries AS c
        WHERE c.webhook = w.id AND c.claim_token IS NOT NULL AND c.lease_until > $3)";
const CLAIMED: &str = "\
    SELECT e.id, e.event_type, e.created_at, e.occurred_at, e.acs_credential, e.acs_user,
        e.acs_system, e.user_identity, e.device, e.automation, e.client_session,
        w.id, w.url, w.event_types, w.secret, w.created_at, w.enabled, d.failures, w.failing_since
    FROM deliveries AS d JOIN events AS e ON e.seq = d.event JOIN webhooks AS w ON w.id = d.webhook
    WHERE d.claim_token = $1 ORDER BY d.event";
const NEXT: &str = "\
    SELECT min((SELECT min(d.not_before) FROM deliveries AS d WHERE d.webhook = w.id))
    FROM webhooks AS w
    WHERE w.enabled AND NOT EXISTS (
        SELECT 1 FROM deliveries AS c
        WHERE c.webhook = w.id AND c.claim_token IS NOT NULL AND c.lease_until > $1)";
const LOCK: &str = "SELECT 1 FROM webhooks WHERE id = $1 FOR NO KEY UPDATE";
const HELD: &str = "\
    SELECT d.event FROM deliveries AS d JOIN events AS e ON e.seq = d.event
    WHERE d.webhook = $1 AND e.id = $2 AND d.claim_token = $3";
const DONE: &str = "DELETE FROM deliveries WHERE webhook = $1 AND event = $2";
const AGAIN: &str = "\
    UPDATE deliveries SET failures = failures + 1, not_before = $3, claim_token = NULL,
        lease_until = NULL
    WHERE webhook = $1 AND event = $2";
const HEALTHY: &str =
    "UPDATE webhooks SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL";
const FAILING: &str =
    "UPDATE webhooks SET failing_since = $2 WHERE id = $1 AND failing_since IS NULL";
const DISABLE: &str = "UPDATE webhooks SET enabled = FALSE WHERE id = $1";
const DROP_ALL: &str = "DELETE FROM deliveries WHERE webhook = $1";

/// Keeps events, each as of its own moment, and what they owe to webhooks. Until the end of the transaction nobody else
/// does, so it comes last.
pub(super) async fn append(
    conn: &mut PgConnection,
    events: &[(NewEvent, Timestamp)],
) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    locks::take_one(conn, locks::EVENTS).await?;
    let newest = sqlx::query(NEWEST).fetch_one(&mut *conn).await?;
    let mut newest: i64 = Cells::new(&newest, "events", "?").get(0)?;
    let times = events.iter().map(|(_, now)| {
        newest = now.0.max(newest + 1);
        newest
    });
    let times: Vec<i64> = times.collect();
    let told = || events.iter().map(|(event, _)| &event.announcement);
    let ids: Vec<Uuid> = events.iter().map(|(event, _)| event.id).collect();
    let column = |id: fn(&Announcement) -> Option<Uuid>| told().map(id).collect::<Vec<_>>();
    let names = told().map(|told| told.event_type.name());
    let occurred = told().map(|told| told.occurred_at.0);
    sqlx::query(APPEND)
        .bind(&ids)
        .bind(names.collect::<Vec<_>>())
        .bind(times)
        .bind(occurred.collect::<Vec<_>>())
        .bind(column(|told| told.acs_credential))
        .bind(column(|told| told.acs_user.map(|id| id.0)))
        .bind(column(|told| told.acs_system.map(|id| id.0)))
        .bind(column(|told| told.user_identity.map(|id| id.0)))
        .bind(column(|told| told.device.map(|id| id.0)))
        .bind(column(|told| told.enrollment_automation.map(|id| id.0)))
        .bind(column(|told| told.client_session))
        .execute(&mut *conn)
        .await?;
    let due: Vec<i64> = events.iter().map(|(_, now)| now.0).collect();
    sqlx::query(OWE).bind(ids).bind(due).execute(conn).await?;
    Ok(())
}

/// Only the filters that are set, so that each set has its own plan.
pub(super) async fn events(pool: PgPool, query: EventQuery) -> Result<Vec<Event>, Error> {
    let mut sql: QueryBuilder<Postgres> =
        QueryBuilder::new(format!("SELECT {EVENT} FROM events AS e WHERE TRUE"));
    let one = [
        (" AND e.acs_credential = ", query.acs_credential),
        (" AND e.acs_user = ", query.acs_user),
        (" AND e.user_identity = ", query.user_identity),
    ];
    for (condition, id) in one {
        if let Some(id) = id {
            sql.push(condition).push_bind(id);
        }
    }
    let several = [
        (" AND e.id = ANY(", query.ids),
        (" AND e.acs_system = ANY(", query.acs_systems),
        (" AND e.device = ANY(", query.devices),
    ];
    for (condition, ids) in several {
        if let Some(ids) = ids {
            let ids: Vec<Uuid> = ids.into_iter().collect();
            sql.push(condition).push_bind(ids).push(")");
        }
    }
    if let Some(types) = &query.types {
        let names: Vec<&'static str> = types.iter().map(|known| known.name()).collect();
        sql.push(" AND e.event_type = ANY(")
            .push_bind(names)
            .push(")");
    }
    if let Some(after) = query.after {
        sql.push(" AND e.created_at > ").push_bind(after.0);
    }
    if let Some(before) = query.before {
        sql.push(" AND e.created_at < ").push_bind(before.0);
    }
    let order = if query.oldest_first { "ASC" } else { "DESC" };
    sql.push(format!(" ORDER BY e.created_at {order} LIMIT "))
        .push_bind(i64::from(query.limit))
        .push(" OFFSET ")
        .push_bind(i64::from(query.offset));
    let rows = sql.build().fetch_all(&pool).await?;
    let events = rows
        .iter()
        .map(|row| event(&Cells::new(row, "events", "?"), 0));
    events.collect()
}

pub(super) async fn prune(conn: &mut PgConnection, before: Timestamp) -> Result<(), Error> {
    sqlx::query(PRUNE).bind(before.0).execute(conn).await?;
    Ok(())
}

/// Makes the webhook, unless one was made for the same since `since`.
pub(super) async fn create(
    conn: &mut PgConnection,
    webhook: &Webhook,
    since: Timestamp,
) -> Result<(), Error> {
    locks::take_one(conn, locks::WEBHOOKS).await?;
    sqlx::query(CREATE)
        .bind(webhook.id)
        .bind(&webhook.url)
        .bind(type_names(webhook.event_types.as_ref()))
        .bind(webhook.secret.expose_secret())
        .bind(webhook.created_at.0)
        .bind(since.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Every webhook, oldest first.
pub(super) async fn webhooks(pool: PgPool) -> Result<Vec<Webhook>, Error> {
    let rows = sqlx::query(WEBHOOKS).fetch_all(&pool).await?;
    let webhooks = rows
        .iter()
        .map(|row| webhook(&Cells::new(row, "webhooks", "?"), 0));
    webhooks.collect()
}

pub(super) async fn update(
    conn: &mut PgConnection,
    id: Uuid,
    event_types: Option<&BTreeSet<EventType>>,
) -> Result<(), Error> {
    sqlx::query(UPDATE)
        .bind(id)
        .bind(type_names(event_types))
        .execute(conn)
        .await?;
    Ok(())
}

/// Its deliveries go with it, by foreign key.
pub(super) async fn delete(conn: &mut PgConnection, id: Uuid) -> Result<(), Error> {
    sqlx::query(DELETE).bind(id).execute(conn).await?;
    Ok(())
}

pub(super) async fn claim(conn: &mut PgConnection, claim: DeliveryClaim) -> Result<(), Error> {
    let free = sqlx::query(FREE).fetch_all(&mut *conn).await?;
    let free = free
        .iter()
        .map(|row| Cells::new(row, "webhooks", "?").get(0));
    sqlx::query(CLAIM)
        .bind(claim.token)
        .bind(claim.lease_until.0)
        .bind(claim.now.0)
        .bind(free.collect::<Result<Vec<Uuid>, Error>>()?)
        .execute(conn)
        .await?;
    Ok(())
}

/// What a claim took, in the order of events.
pub(super) async fn claimed(pool: PgPool, token: Uuid) -> Result<Vec<Delivery>, Error> {
    let rows = sqlx::query(CLAIMED).bind(token).fetch_all(&pool).await?;
    let claimed = rows.iter().map(|row| {
        let cells = Cells::new(row, "deliveries", token);
        let own = EVENT_COLUMNS + WEBHOOK_COLUMNS;
        let failures = u32::try_from(cells.get::<i64>(own)?);
        Ok(Delivery {
            token,
            event: event(&cells, 0)?,
            webhook: webhook(&cells, EVENT_COLUMNS)?,
            failures: failures.map_err(|error| cells.corrupt(error))?,
            failing_since: cells.get::<Option<i64>>(own + 1)?.map(Timestamp),
        })
    });
    claimed.collect()
}

/// When something can be claimed next.
pub(super) async fn next(pool: PgPool, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let row = sqlx::query(NEXT).bind(now.0).fetch_one(&pool).await?;
    let next: Option<i64> = Cells::new(&row, "deliveries", "?").get(0)?;
    Ok(next.map(Timestamp))
}

pub(super) async fn settle(conn: &mut PgConnection, settled: Settled) -> Result<(), Error> {
    let webhook = settled.webhook;
    sqlx::query(LOCK).bind(webhook).execute(&mut *conn).await?;
    let held = sqlx::query(HELD)
        .bind(webhook)
        .bind(settled.event)
        .bind(settled.token)
        .fetch_optional(&mut *conn)
        .await?;
    let Some(held) = held else { return Ok(()) };
    let event: i64 = Cells::new(&held, "deliveries", settled.token).get(0)?;
    let health = if settled.outcome == Outcome::Delivered {
        sqlx::query(HEALTHY).bind(webhook)
    } else {
        sqlx::query(FAILING).bind(webhook).bind(settled.now.0)
    };
    health.execute(&mut *conn).await?;
    let query = match settled.outcome {
        Outcome::Delivered | Outcome::GivenUp => sqlx::query(DONE).bind(webhook).bind(event),
        Outcome::Again(not_before) => sqlx::query(AGAIN)
            .bind(webhook)
            .bind(event)
            .bind(not_before.0),
        Outcome::Disabled => {
            // Who appends an event meanwhile owes it nothing, or has owed it already.
            locks::take_one(conn, locks::EVENTS).await?;
            sqlx::query(DISABLE)
                .bind(webhook)
                .execute(&mut *conn)
                .await?;
            sqlx::query(DROP_ALL).bind(webhook)
        }
    };
    query.execute(conn).await?;
    Ok(())
}

fn event<K: std::fmt::Display>(cells: &Cells<'_, K>, first: usize) -> Result<Event, Error> {
    let id = |column: usize| cells.get::<Option<Uuid>>(first + column);
    let event_type = EventType::parse(cells.get(first + 1)?)
        .ok_or_else(|| cells.corrupt("an unknown event type"))?;
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
    let names: Vec<String> = cells.get(first + 2)?;
    Ok(Webhook {
        id: cells.get(first)?,
        url: cells.get(first + 1)?,
        event_types: types(&names).map_err(|error| cells.corrupt(error))?,
        secret: cells.get::<String>(first + 3)?.into(),
        created_at: Timestamp(cells.get(first + 4)?),
        enabled: cells.get(first + 5)?,
    })
}
