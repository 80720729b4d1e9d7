//! The verbs that only read.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use uuid::Uuid;

use super::cells::Cells;
use super::holds;
use crate::core::change::Change;
use crate::core::effect::{Class, Lane};
use crate::core::identity::Identity;
use crate::core::ids::{AcsSystemId, IdentityId, Timestamp};
use crate::core::index::{Kind, Row};
use crate::store::common::{Stops, json};
use crate::store::{Claim, Counts, Due, DueQuery, Error, JournalRow, ListQuery, Loaded};

const LOAD: &str =
    "SELECT id, revision, state, claim_token, lease_until FROM identities WHERE id = ?1";
// `IS` finds NULL as well, and uses the index as `=` would. Whoever stands in line by now is due, and nobody else is, unless
// a clock was set back: then `DUE_AHEAD` has more. So what is not due yet, however much it is, is not walked through.
const DUE: &str = "\
    SELECT e.identity, e.lane, e.line, e.owed_since
    FROM effects AS e INDEXED BY effects_line JOIN identities AS i ON i.id = e.identity
    WHERE e.manager IS ?1 AND e.class = ?2 AND e.line <= ?3
        AND (i.claim_token IS NULL OR e.class IN ('removal', 'import'))
    ORDER BY e.line, e.identity, e.lane LIMIT ?4";
const DUE_AHEAD: &str = "\
    SELECT e.identity, e.lane, e.line, e.owed_since
    FROM effects AS e INDEXED BY effects_due JOIN identities AS i ON i.id = e.identity
    WHERE e.manager IS ?1 AND e.class = ?2 AND e.not_before <= ?3 AND e.line > ?3
        AND (i.claim_token IS NULL OR e.class IN ('removal', 'import'))
    ORDER BY e.line, e.identity, e.lane LIMIT ?4";
const NEXT_DUE: &str = "\
    SELECT e.not_before FROM effects AS e JOIN identities AS i ON i.id = e.identity
    WHERE e.manager IS ?1 AND e.class = ?2
        AND (i.claim_token IS NULL OR e.class IN ('removal', 'import'))
    ORDER BY e.not_before LIMIT 1";
// The same where the issues of some part numbers are held.
const DUE_PARTS: &str = "\
    SELECT e.identity, e.lane, e.line, e.owed_since
    FROM effects AS e INDEXED BY effects_line JOIN identities AS i ON i.id = e.identity
    WHERE e.manager IS ?1 AND e.class = ?2 AND e.line <= ?3 AND i.claim_token IS NULL
        AND NOT EXISTS (SELECT 1 FROM holds AS h
            WHERE h.scope = ?1 AND h.part_number = json_extract(e.lane, '$.Key[1]'))
    ORDER BY e.line, e.identity, e.lane LIMIT ?4";
const DUE_PARTS_AHEAD: &str = "\
    SELECT e.identity, e.lane, e.line, e.owed_since
    FROM effects AS e INDEXED BY effects_due JOIN identities AS i ON i.id = e.identity
    WHERE e.manager IS ?1 AND e.class = ?2 AND e.not_before <= ?3 AND e.line > ?3 AND i.claim_token IS NULL
        AND NOT EXISTS (SELECT 1 FROM holds AS h
            WHERE h.scope = ?1 AND h.part_number = json_extract(e.lane, '$.Key[1]'))
    ORDER BY e.line, e.identity, e.lane LIMIT ?4";
const NEXT_PARTS: &str = "\
    SELECT e.not_before FROM effects AS e JOIN identities AS i ON i.id = e.identity
    WHERE e.manager IS ?1 AND e.class = ?2 AND i.claim_token IS NULL
        AND NOT EXISTS (SELECT 1 FROM holds AS h
            WHERE h.scope = ?1 AND h.part_number = json_extract(e.lane, '$.Key[1]'))
    ORDER BY e.not_before LIMIT 1";
// The same where new calls are held: of the class only what is unknown is read.
const DUE_HELD: &str = "\
    SELECT e.identity, e.lane, e.line, e.owed_since
    FROM effects AS e INDEXED BY effects_unknown JOIN identities AS i ON i.id = e.identity
    WHERE e.manager IS ?1 AND e.class = 'issue' AND substr(e.lane, 1, 6) <> '{\"Key\"'
        AND e.not_before <= ?2 AND i.claim_token IS NULL
    ORDER BY e.line, e.identity, e.lane LIMIT ?3";
const NEXT_HELD: &str = "\
    SELECT e.not_before
    FROM effects AS e INDEXED BY effects_unknown JOIN identities AS i ON i.id = e.identity
    WHERE e.manager IS ?1 AND e.class = 'issue' AND substr(e.lane, 1, 6) <> '{\"Key\"'
        AND i.claim_token IS NULL
    ORDER BY e.not_before LIMIT 1";
const FIND: &str = "SELECT identity FROM entities WHERE kind = ?1 AND id = ?2";
// What it is joined to is large: first the page, then its identities.
const LIST: &str = "\
    SELECT i.id, i.revision, i.state, i.claim_token, i.lease_until,
        e.kind, e.id, e.created_at, e.acs_system, e.acs_user, e.parent
    FROM (";
const LISTED: &str = "\
    ) AS e JOIN identities AS i ON i.id = e.identity
    ORDER BY e.created_at DESC, e.id DESC, e.kind";
const ABANDONED: &str = "\
    SELECT id, claim_token FROM identities
    WHERE claim_token IS NOT NULL AND (claim_opening <> ?1 OR lease_until <= ?2) ORDER BY id";
const OWED: &str = "SELECT lane, line FROM effects WHERE identity = ?1";
const QUEUE: &str = "\
    SELECT e.line FROM effects AS e INDEXED BY effects_due JOIN identities AS i ON i.id = e.identity
    WHERE e.manager IS ?1 AND e.class = ?2 AND e.not_before <= ?3
        AND (i.claim_token IS NULL OR e.class IN ('removal', 'import'))
    ORDER BY e.line";
const OLDEST: &str = "\
    SELECT identity, lane, line, owed_since FROM effects INDEXED BY effects_oldest
    WHERE manager IS ?1 AND class = ?2 AND class IN ('withdrawal', 'removal', 'import')
    ORDER BY owed_since LIMIT 1";
const JOURNAL: &str = "\
    SELECT seq, at, cause, entity, from_state, to_state, hash FROM journal
    WHERE identity = ?1 ORDER BY seq";
// One statement, so that the counts are of one moment.
const COUNTS: &str = "\
    SELECT 0, '', count(*) FROM entities WHERE kind = ?1
    UNION ALL SELECT 1, '', count(*) FROM identities WHERE claim_token IS NOT NULL
    UNION ALL SELECT 2, class, count(*) FROM effects GROUP BY class
    UNION ALL SELECT 3, '', count(*) FROM deliveries";

pub(super) fn load(conn: &Connection, id: IdentityId) -> Result<Option<Loaded>, Error> {
    let mut statement = conn.prepare_cached(LOAD)?;
    let mut rows = statement.query(params![id.0])?;
    match rows.next()? {
        Some(row) => Ok(Some(loaded(&Cells::new(row, "identities", id), id)?)),
        None => Ok(None),
    }
}

pub(super) fn due(conn: &Connection, query: DueQuery) -> Result<Vec<Due>, Error> {
    let in_turn = match holds::stops(conn, query.manager, query.class)? {
        Stops::Nothing => [DUE, DUE_AHEAD],
        Stops::Parts => [DUE_PARTS, DUE_PARTS_AHEAD],
        Stops::Issues => return due_held(conn, query),
        Stops::All => return Ok(Vec::new()),
    };
    let (manager, class) = (query.manager.map(|manager| manager.0), query.class.name());
    let mut due = Vec::new();
    for sql in in_turn {
        let found = u32::try_from(due.len()).unwrap_or(u32::MAX);
        let left = query.limit.saturating_sub(found);
        if left > 0 {
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query(params![manager, class, query.now.0, left])?;
            while let Some(row) = rows.next()? {
                due.push(due_of(row)?);
            }
        }
    }
    Ok(due)
}

fn due_held(conn: &Connection, query: DueQuery) -> Result<Vec<Due>, Error> {
    let manager = query.manager.map(|manager| manager.0);
    let mut statement = conn.prepare_cached(DUE_HELD)?;
    let mut rows = statement.query(params![manager, query.now.0, query.limit])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        due.push(due_of(row)?);
    }
    Ok(due)
}

/// Expects `identity, lane, line, owed_since`.
fn due_of(row: &rusqlite::Row<'_>) -> Result<Due, Error> {
    let identity = IdentityId(Cells::new(row, "effects", "?").get(0)?);
    let cells = Cells::new(row, "effects", identity);
    Ok(Due {
        identity,
        lane: cells.get_json(1)?,
        since: Timestamp(cells.get(2)?),
        owed_since: Timestamp(cells.get(3)?),
    })
}

pub(super) fn oldest_owed(
    conn: &Connection,
    system: AcsSystemId,
    class: Class,
) -> Result<Option<Due>, Error> {
    let mut statement = conn.prepare_cached(OLDEST)?;
    let mut rows = statement.query(params![system.0, class.name()])?;
    rows.next()?.map(due_of).transpose()
}

pub(super) fn agenda(
    conn: &Connection,
    manager: Option<AcsSystemId>,
) -> Result<BTreeMap<Class, Timestamp>, Error> {
    let mut next_due = conn.prepare_cached(NEXT_DUE)?;
    let mut next_held = conn.prepare_cached(NEXT_HELD)?;
    let mut next_parts = conn.prepare_cached(NEXT_PARTS)?;
    let mut agenda = BTreeMap::new();
    for class in Class::ALL {
        let id = manager.map(|manager| manager.0);
        let next = match holds::stops(conn, manager, class)? {
            Stops::Nothing => next_due.query_row(params![id, class.name()], |row| row.get(0)),
            Stops::Parts => next_parts.query_row(params![id, class.name()], |row| row.get(0)),
            Stops::Issues => next_held.query_row(params![id], |row| row.get(0)),
            Stops::All => continue,
        };
        if let Some(next) = next.optional()? {
            agenda.insert(class, Timestamp(next));
        }
    }
    Ok(agenda)
}

pub(super) fn find(conn: &Connection, kind: Kind, id: &str) -> Result<Option<IdentityId>, Error> {
    let mut statement = conn.prepare_cached(FIND)?;
    let mut rows = statement.query(params![kind.name(), id])?;
    match rows.next()? {
        Some(row) => Ok(Some(IdentityId(
            Cells::new(row, "entities", kind.name()).get(0)?,
        ))),
        None => Ok(None),
    }
}

pub(super) fn list(conn: &Connection, query: &ListQuery) -> Result<Vec<(Row, Loaded)>, Error> {
    if query.kinds.is_empty() {
        return Ok(Vec::new());
    }
    let (sql, values) = list_sql(query)?;
    let mut identities: BTreeMap<IdentityId, Loaded> = BTreeMap::new();
    let mut page = Vec::new();
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
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
        let kind: String = cells.get(5)?;
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

pub(super) fn abandoned(
    conn: &Connection,
    opening: i64,
    now: Timestamp,
) -> Result<Vec<(IdentityId, Uuid)>, Error> {
    let mut abandoned = Vec::new();
    let mut statement = conn.prepare_cached(ABANDONED)?;
    let mut rows = statement.query(params![opening, now.0])?;
    while let Some(row) = rows.next()? {
        let cells = Cells::new(row, "identities", "?");
        abandoned.push((IdentityId(cells.get(0)?), cells.get(1)?));
    }
    Ok(abandoned)
}

pub(super) fn owed(conn: &Connection, id: IdentityId) -> Result<BTreeMap<Lane, Timestamp>, Error> {
    let mut owed = BTreeMap::new();
    let mut statement = conn.prepare_cached(OWED)?;
    let mut rows = statement.query(params![id.0])?;
    while let Some(row) = rows.next()? {
        let cells = Cells::new(row, "effects", id);
        owed.insert(cells.get_json(0)?, Timestamp(cells.get(1)?));
    }
    Ok(owed)
}

pub(super) fn queue(
    conn: &Connection,
    manager: AcsSystemId,
    now: Timestamp,
) -> Result<BTreeMap<Class, Vec<Timestamp>>, Error> {
    let mut statement = conn.prepare_cached(QUEUE)?;
    let mut queue = BTreeMap::new();
    for class in Class::ALL {
        let times =
            statement.query_map(params![manager.0, class.name(), now.0], |row| row.get(0))?;
        let times = times.map(|time| time.map(Timestamp));
        queue.insert(class, times.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(queue)
}

pub(super) fn journal(conn: &Connection, id: IdentityId) -> Result<Vec<JournalRow>, Error> {
    let mut journal = Vec::new();
    let mut statement = conn.prepare_cached(JOURNAL)?;
    let mut rows = statement.query(params![id.0])?;
    while let Some(row) = rows.next()? {
        let cells = Cells::new(row, "journal", id);
        journal.push(JournalRow {
            seq: cells.get_u64(0)?,
            at: Timestamp(cells.get(1)?),
            cause: cells.get(2)?,
            change: Change {
                entity: cells.get(3)?,
                from: cells.get(4)?,
                to: cells.get(5)?,
            },
            hash: cells.get(6)?,
        });
    }
    Ok(journal)
}

pub(super) fn counts(conn: &Connection) -> Result<Counts, Error> {
    let mut counts = Counts::default();
    let mut statement = conn.prepare_cached(COUNTS)?;
    let mut rows = statement.query(params![Kind::Identity.name()])?;
    while let Some(row) = rows.next()? {
        let cells = Cells::new(row, "effects", "?");
        let count = cells.get_u64(2)?;
        match cells.get::<i64>(0)? {
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
pub(super) fn ping(conn: &Connection) -> Result<(), Error> {
    conn.prepare_cached("SELECT number FROM openings")?
        .query_row([], |row| row.get::<_, i64>(0))?;
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

/// Only the filters that are set, so that each set has its own plan; and each kind by itself, because
/// the index has the newest of one kind together.
fn list_sql(query: &ListQuery) -> Result<(String, Vec<Value>), Error> {
    let mut values = Vec::new();
    let mut bind = |value: Value| {
        values.push(value);
        format!("?{}", values.len())
    };
    let mut conditions = Vec::new();
    let has_few = query.ids.is_some()
        || query.identity.is_some()
        || query.acs_user.is_some()
        || query.parent.is_some();
    // The plus keeps the planner from walking through the whole kind in order of age.
    let order = if has_few {
        "+created_at DESC, id DESC"
    } else {
        "created_at DESC, id DESC"
    };
    if let Some(ids) = &query.ids {
        let ids = bind(json(ids)?.into());
        conditions.push(format!("id IN (SELECT value FROM json_each({ids}))"));
    }
    if let Some(id) = query.identity {
        let id = bind(id.0.as_bytes().to_vec().into());
        conditions.push(format!("identity = {id}"));
    }
    let texts = [
        ("acs_system", &query.acs_system),
        ("acs_user", &query.acs_user),
        ("parent", &query.parent),
    ];
    for (column, text) in texts {
        if let Some(text) = text {
            let text = bind(text.clone().into());
            conditions.push(format!("{column} = {text}"));
        }
    }
    if let Some(before) = query.created_before {
        let before = bind(before.0.into());
        conditions.push(format!("created_at < {before}"));
    }
    if let Some((created_at, id)) = &query.after {
        let (created_at, id) = (bind(created_at.0.into()), bind(id.clone().into()));
        conditions.push(format!("(created_at, id) < ({created_at}, {id})"));
    }
    let limit = bind(i64::from(query.limit).into());
    let pages: Vec<_> = query
        .kinds
        .iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|kind| {
            let mut conditions = conditions.clone();
            conditions.push(format!("kind = {}", bind(kind.name().to_owned().into())));
            let conditions = conditions.join(" AND ");
            format!(
                "SELECT * FROM (SELECT * FROM entities WHERE {conditions} ORDER BY {order} LIMIT {limit})"
            )
        })
        .collect();
    let pages = pages.join(" UNION ALL ");
    Ok((format!("{LIST}{pages}{LISTED} LIMIT {limit}"), values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::open;

    fn plan(sql: &str, values: Vec<Value>) -> String {
        let conn = open::in_memory().unwrap();
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = statement
            .query_map(params_from_iter(values), |row| row.get::<_, String>(3))
            .unwrap();
        lines.map(|line| line.unwrap() + "\n").collect()
    }

    #[test]
    fn no_list_walks_through_a_whole_kind() {
        let some = || Some("x".to_owned());
        let any = ListQuery {
            limit: 9,
            ..ListQuery::default()
        };
        let identity = Some(IdentityId(Uuid::nil()));
        let after = Some((Timestamp(5), "x".to_owned()));
        let cases = [
            ("entities_newest (kind=?)", any.clone()),
            (
                "entities_newest (kind=? AND (created_at,id)<",
                ListQuery {
                    after,
                    ..any.clone()
                },
            ),
            (
                "entities_id (kind=? AND id=?)",
                ListQuery {
                    ids: Some(Vec::new()),
                    ..any.clone()
                },
            ),
            (
                "entities_of_identity (",
                ListQuery {
                    identity,
                    ..any.clone()
                },
            ),
            (
                "entities_of_system (",
                ListQuery {
                    acs_system: some(),
                    ..any.clone()
                },
            ),
            (
                "entities_of_acs_user (",
                ListQuery {
                    acs_user: some(),
                    ..any.clone()
                },
            ),
            (
                "entities_of_parent (",
                ListQuery {
                    parent: some(),
                    ..any.clone()
                },
            ),
        ];
        for (expected, query) in cases {
            for kinds in [vec![Kind::Parent], vec![Kind::Parent, Kind::Child]] {
                let count = kinds.len();
                let (sql, values) = list_sql(&ListQuery {
                    kinds,
                    ..query.clone()
                })
                .unwrap();
                let plan = plan(&sql, values);
                assert_eq!(plan.matches(expected).count(), count, "{plan}");
                assert!(!plan.contains("SCAN entities"), "{plan}");
            }
        }
    }

    #[test]
    fn the_queue_is_read_in_order_as_far_as_it_is_due() {
        for sql in [DUE, DUE_PARTS] {
            let plan = plan(sql, vec![Value::Null; 4]);
            let seek = "effects_line (manager=? AND class=? AND line<?)";
            assert!(plan.contains(seek), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
        for sql in [DUE_AHEAD, DUE_PARTS_AHEAD, QUEUE] {
            let count = if sql == QUEUE { 3 } else { 4 };
            let plan = plan(sql, vec![Value::Null; count]);
            let seek = "effects_due (manager=? AND class=? AND not_before<?)";
            assert!(plan.contains(seek), "{plan}");
        }
    }
}
