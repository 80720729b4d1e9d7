//! The verbs that only read: each is one statement, or two of which the second is only narrower by the first.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::cells::Cells;
use super::holds::{self, Held};
use crate::core::change::Change;
use crate::core::effect::{Class, Lane};
use crate::core::identity::Identity;
use crate::core::ids::{AcsSystemId, IdentityId, Timestamp};
use crate::core::index::{Kind, Row};
use crate::store::common::Stops;
use crate::store::{Claim, Counts, Due, DueQuery, Error, JournalRow, ListQuery, Loaded};

const LOAD: &str =
    "SELECT id, revision, state, claim_token, lease_until FROM identities WHERE id = $1";
const FIND: &str = "SELECT identity FROM entities WHERE kind = $1 AND id = $2";
const ABANDONED: &str = "\
    SELECT id, claim_token FROM identities WHERE claim_token IS NOT NULL AND lease_until <= $1 ORDER BY id";
const OWED: &str = "SELECT lane, line FROM effects WHERE identity = $1";
const QUEUE: &str = "\
    SELECT e.class, e.line FROM effects AS e JOIN identities AS i ON i.id = e.identity
    WHERE e.manager = $1 AND e.class = ANY($2::text[]) AND e.not_before <= $3
        AND (i.claim_token IS NULL OR e.class IN ('removal', 'import'))
    ORDER BY e.line";
const OLDEST: &str = "\
    SELECT identity, lane, line, owed_since FROM effects
    WHERE manager = $1 AND class = $2 AND class IN ('withdrawal', 'removal', 'import')
    ORDER BY owed_since LIMIT 1";
const JOURNAL: &str = "\
    SELECT seq, at, cause, entity, from_state, to_state, hash FROM journal
    WHERE identity = $1 ORDER BY seq";
// One statement, so that the counts are of one moment.
const COUNTS: &str = "\
    SELECT 0, '', count(*) FROM entities WHERE kind = $1
    UNION ALL SELECT 1, '', count(*) FROM identities WHERE claim_token IS NOT NULL
    UNION ALL SELECT 2, class, count(*) FROM effects GROUP BY class
    UNION ALL SELECT 3, '', count(*) FROM deliveries";

/// Whoever stands in line by now is due, and nobody else is, unless a clock was set back: then there are more. So what is
/// not due yet, however much it is, is not walked through.
const IN_LINE: &str = "e.line <= $2";
const AHEAD: &str = "e.not_before <= $2 AND e.line > $2";

/// The order of the index, spelt out: that the timer's effects have no manager is not taken for its being the same.
const BY_LINE: &str = "e.manager, e.class, e.line, e.identity, e.lane";
const BY_DATE: &str = "e.manager, e.class, e.not_before";

/// What a lane of effects of a class (as the statement writes it) must be like to be claimed, given what is held.
fn claimable(manager: Option<AcsSystemId>, class: &str, stops: Stops) -> String {
    // `IS NOT DISTINCT FROM` would find the timer's as well, and use no index.
    let whose = match manager {
        Some(_) => "e.manager = $1",
        None => "e.manager IS NULL AND $1::uuid IS NULL",
    };
    let kept_back = match stops {
        Stops::Nothing => "",
        // Of the issues only what is unknown is read; the index of these knows the condition.
        Stops::Issues => " AND e.class = 'issue' AND left(e.lane, 6) <> '{\"Key\"'",
        Stops::Parts => {
            " AND NOT EXISTS (SELECT 1 FROM holds AS h
            WHERE h.scope = uuid_send($1) AND h.part_number = e.lane::json #>> '{Key,1}')"
        }
        Stops::All => " AND FALSE",
    };
    format!(
        "{whose} AND e.class = {class} AND (i.claim_token IS NULL OR e.class IN ('removal', 'import')){kept_back}"
    )
}

async fn held(pool: &PgPool, manager: Option<AcsSystemId>) -> Result<Held, Error> {
    match manager {
        Some(manager) => holds::at(pool, manager).await,
        None => Ok(Held::default()),
    }
}

fn stops(held: &Held, class: Class) -> Stops {
    Stops::of(class, held.all, !held.parts.is_empty())
}

pub(super) async fn load(pool: PgPool, id: IdentityId) -> Result<Option<Loaded>, Error> {
    let row = sqlx::query(LOAD).bind(id.0).fetch_optional(&pool).await?;
    row.map(|row| loaded(&Cells::new(&row, "identities", id), id))
        .transpose()
}

pub(super) async fn due(pool: PgPool, query: DueQuery) -> Result<Vec<Due>, Error> {
    let held = match Stops::most(query.class) {
        Stops::Nothing => Held::default(),
        Stops::Parts | Stops::Issues | Stops::All => held(&pool, query.manager).await?,
    };
    let condition = claimable(query.manager, "$4", stops(&held, query.class));
    let mut due = Vec::new();
    for by_now in [IN_LINE, AHEAD] {
        let found = i64::try_from(due.len()).unwrap_or(i64::MAX);
        let left = i64::from(query.limit).saturating_sub(found);
        if left > 0 {
            let sql = format!(
                "SELECT e.identity, e.lane, e.line, e.owed_since
                FROM effects AS e JOIN identities AS i ON i.id = e.identity
                WHERE {condition} AND {by_now}
                ORDER BY {BY_LINE} LIMIT $3"
            );
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(query.manager.map(|manager| manager.0))
                .bind(query.now.0)
                .bind(left)
                .bind(query.class.name())
                .fetch_all(&pool)
                .await?;
            for row in &rows {
                due.push(due_of(row)?);
            }
        }
    }
    Ok(due)
}

/// Expects `identity, lane, line, owed_since`.
fn due_of(row: &PgRow) -> Result<Due, Error> {
    let identity = IdentityId(Cells::new(row, "effects", "?").get(0)?);
    let cells = Cells::new(row, "effects", identity);
    Ok(Due {
        identity,
        lane: cells.get_json(1)?,
        since: Timestamp(cells.get(2)?),
        owed_since: Timestamp(cells.get(3)?),
    })
}

pub(super) async fn oldest_owed(
    pool: PgPool,
    system: AcsSystemId,
    class: Class,
) -> Result<Option<Due>, Error> {
    let query = sqlx::query(OLDEST).bind(system.0).bind(class.name());
    let row = query.fetch_optional(&pool).await?;
    row.as_ref().map(due_of).transpose()
}

pub(super) async fn agenda(
    pool: PgPool,
    manager: Option<AcsSystemId>,
) -> Result<BTreeMap<Class, Timestamp>, Error> {
    let held = held(&pool, manager).await?;
    // One statement, since it is asked before each call; each class has its own range of the index.
    let next = Class::ALL.map(|class| {
        let name = format!("'{}'", class.name());
        let condition = claimable(manager, &name, stops(&held, class));
        format!(
            "(SELECT e.class, e.not_before FROM effects AS e JOIN identities AS i ON i.id = e.identity
            WHERE {condition} ORDER BY {BY_DATE} LIMIT 1)"
        )
    });
    let rows = sqlx::query(AssertSqlSafe(next.join(" UNION ALL ")))
        .bind(manager.map(|manager| manager.0))
        .fetch_all(&pool)
        .await?;
    let mut agenda = BTreeMap::new();
    for row in &rows {
        let cells = Cells::new(row, "effects", "?");
        let name: &str = cells.get(0)?;
        if let Some(class) = class_named(name) {
            agenda.insert(class, Timestamp(cells.get(1)?));
        }
    }
    Ok(agenda)
}

fn class_named(name: &str) -> Option<Class> {
    Class::ALL.into_iter().find(|class| class.name() == name)
}

pub(super) async fn find(
    pool: PgPool,
    kind: Kind,
    id: String,
) -> Result<Option<IdentityId>, Error> {
    let query = sqlx::query(FIND).bind(kind.name()).bind(id);
    let row = query.fetch_optional(&pool).await?;
    row.map(|row| {
        Cells::new(&row, "entities", kind.name())
            .get(0)
            .map(IdentityId)
    })
    .transpose()
}

pub(super) async fn list(pool: PgPool, query: ListQuery) -> Result<Vec<(Row, Loaded)>, Error> {
    if query.kinds.is_empty() {
        return Ok(Vec::new());
    }
    let rows = list_sql(&query).build().fetch_all(&pool).await?;
    let mut identities: BTreeMap<IdentityId, Loaded> = BTreeMap::new();
    let mut page = Vec::new();
    for row in &rows {
        let id = IdentityId(Cells::new(row, "identities", "?").get(0)?);
        let loaded = match identities.get(&id) {
            Some(loaded) => loaded.clone(),
            None => {
                let loaded = loaded(&Cells::new(row, "identities", id), id)?;
                identities.insert(id, loaded.clone());
                loaded
            }
        };
        let cells = Cells::new(row, "entities", id);
        let kind: &str = cells.get(5)?;
        let kind = query
            .kinds
            .iter()
            .find(|asked| asked.name() == kind)
            .ok_or_else(|| cells.corrupt("a kind that was not asked for"))?;
        let row = Row {
            kind: *kind,
            id: cells.get(6)?,
            created_at: Timestamp(cells.get(7)?),
            acs_system: cells.get(8)?,
            acs_user: cells.get(9)?,
            parent: cells.get(10)?,
        };
        page.push((row, loaded));
    }
    Ok(page)
}

/// Only the filters that are set, so that each set has its own plan; and each kind by itself, because the index has the
/// newest of one kind together. What it is joined to is large: first the page, then its identities.
fn list_sql(query: &ListQuery) -> QueryBuilder<Postgres> {
    let limit = i64::from(query.limit);
    let mut sql = QueryBuilder::new(
        "SELECT i.id, i.revision, i.state, i.claim_token, i.lease_until,
            e.kind, e.id, e.created_at, e.acs_system, e.acs_user, e.parent FROM (",
    );
    for (n, kind) in query
        .kinds
        .iter()
        .collect::<BTreeSet<_>>()
        .iter()
        .enumerate()
    {
        if n > 0 {
            sql.push(" UNION ALL ");
        }
        sql.push("(SELECT * FROM entities WHERE kind = ")
            .push_bind(kind.name());
        if let Some(ids) = &query.ids {
            sql.push(" AND id = ANY(").push_bind(ids.clone()).push(")");
        }
        if let Some(id) = query.identity {
            sql.push(" AND identity = ").push_bind(id.0);
        }
        let texts = [
            (" AND acs_system = ", &query.acs_system),
            (" AND acs_user = ", &query.acs_user),
            (" AND parent = ", &query.parent),
        ];
        for (condition, text) in texts {
            if let Some(text) = text {
                sql.push(condition).push_bind(text.clone());
            }
        }
        if let Some(before) = query.created_before {
            sql.push(" AND created_at < ").push_bind(before.0);
        }
        if let Some((created_at, id)) = &query.after {
            sql.push(" AND (created_at, id) < (")
                .push_bind(created_at.0)
                .push(", ")
                .push_bind(id.clone())
                .push(")");
        }
        // The sum keeps the planner from walking through the whole kind in order of age.
        let created_at = match query.ids {
            Some(_) => "created_at + 0",
            None => "created_at",
        };
        sql.push(format!(" ORDER BY {created_at} DESC, id DESC LIMIT "))
            .push_bind(limit)
            .push(")");
    }
    sql.push(
        ") AS e JOIN identities AS i ON i.id = e.identity
        ORDER BY e.created_at DESC, e.id DESC, e.kind LIMIT ",
    )
    .push_bind(limit);
    sql
}

pub(super) async fn abandoned(
    pool: PgPool,
    now: Timestamp,
) -> Result<Vec<(IdentityId, Uuid)>, Error> {
    let rows = sqlx::query(ABANDONED).bind(now.0).fetch_all(&pool).await?;
    let claims = rows.iter().map(|row| {
        let cells = Cells::new(row, "identities", "?");
        Ok((IdentityId(cells.get(0)?), cells.get(1)?))
    });
    claims.collect()
}

pub(super) async fn owed(pool: PgPool, id: IdentityId) -> Result<BTreeMap<Lane, Timestamp>, Error> {
    let rows = sqlx::query(OWED).bind(id.0).fetch_all(&pool).await?;
    let owed = rows.iter().map(|row| {
        let cells = Cells::new(row, "effects", id);
        Ok((cells.get_json(0)?, Timestamp(cells.get(1)?)))
    });
    owed.collect()
}

pub(super) async fn queue(
    pool: PgPool,
    manager: AcsSystemId,
    now: Timestamp,
) -> Result<BTreeMap<Class, Vec<Timestamp>>, Error> {
    let names: Vec<&str> = Class::ALL.iter().map(|class| class.name()).collect();
    let query = sqlx::query(QUEUE).bind(manager.0).bind(names).bind(now.0);
    let mut queue: BTreeMap<Class, Vec<Timestamp>> = Class::ALL
        .into_iter()
        .map(|class| (class, Vec::new()))
        .collect();
    for row in query.fetch_all(&pool).await? {
        let cells = Cells::new(&row, "effects", manager);
        let class = class_named(cells.get(0)?);
        if let Some(times) = class.and_then(|class| queue.get_mut(&class)) {
            times.push(Timestamp(cells.get(1)?));
        }
    }
    Ok(queue)
}

pub(super) async fn journal(pool: PgPool, id: IdentityId) -> Result<Vec<JournalRow>, Error> {
    let rows = sqlx::query(JOURNAL).bind(id.0).fetch_all(&pool).await?;
    rows.iter()
        .map(|row| journal_row(&Cells::new(row, "journal", id)))
        .collect()
}

/// Expects `seq, at, cause, entity, from_state, to_state, hash` as the first columns.
pub(super) fn journal_row<K: std::fmt::Display>(cells: &Cells<'_, K>) -> Result<JournalRow, Error> {
    Ok(JournalRow {
        seq: cells.get_u64(0)?,
        at: Timestamp(cells.get(1)?),
        cause: cells.get(2)?,
        change: Change {
            entity: cells.get(3)?,
            from: cells.get(4)?,
            to: cells.get(5)?,
        },
        hash: cells.get(6)?,
    })
}

pub(super) async fn counts(pool: PgPool) -> Result<Counts, Error> {
    let mut counts = Counts::default();
    let query = sqlx::query(COUNTS).bind(Kind::Identity.name());
    for row in query.fetch_all(&pool).await? {
        let cells = Cells::new(&row, "effects", "?");
        let count = cells.get_u64(2)?;
        match cells.get::<i32>(0)? {
            0 => counts.identities = count,
            1 => counts.claims = count,
            3 => counts.deliveries = count,
            _ => {
                counts.owed.insert(cells.get(1)?, count);
            }
        }
    }
    Ok(counts)
}

/// Reads tables, not just the connection.
pub(super) async fn ping(pool: PgPool) -> Result<(), Error> {
    sqlx::query("SELECT database FROM head")
        .fetch_one(&pool)
        .await?;
    Ok(())
}

/// Expects `id, revision, state, claim_token, lease_until` as the first columns.
fn loaded(cells: &Cells<'_, IdentityId>, id: IdentityId) -> Result<Loaded, Error> {
    let identity: Identity = cells.get_json(2)?;
    if identity.id != id {
        return Err(cells.corrupt("the state is another identity's"));
    }
    let claim = match cells.get::<Option<Uuid>>(3)? {
        None => None,
        Some(token) => Some(Claim {
            token,
            lease_until: Timestamp(cells.get(4)?),
        }),
    };
    Ok(Loaded {
        identity,
        revision: cells.get_u64(1)?,
        claim,
    })
}
