//! No statement of the `PostgreSQL` store reads more for what it answers because there is more of everything else: what the
//! server itself tells of each statement that it carried out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use origo_adapter::core::announce::EventType;
use origo_adapter::core::effect::{Class, Lane, Owed};
use origo_adapter::core::hold::{HoldReason, HoldScope};
use origo_adapter::core::ids::{
    AcsSystemId, AcsUserId, ChildId, IdentityId, PartNumber, PhoneId, Timestamp,
};
use origo_adapter::core::index::{Kind, Row};
use origo_adapter::store::{
    ClientSession, Commit, DeliveryClaim, EventQuery, Feed, ListQuery, NewEvent, Outcome,
    SessionQuery, Settled, StandingHold, Store, Threads,
};
use serde_json::Value;
use uuid::Uuid;

use super::outbox::{telling, webhook};
use super::samples::{
    MANAGER, adding, asking, at, change, commit, id, owing, read_user, releasing, removal, slot,
    taking, wake,
};
use crate::support::cluster::Database;

const PEOPLE: u128 = 3000;
const BATCH: usize = 500;
/// As many rows as a page or an identity has, a few times; every table has ten times as many.
const ROWS: u64 = 250;
const PAGE: u32 = 20;
/// Of one prepared statement the server makes a plan for whatever values it is asked with only after five.
const TIMES: i64 = 8;
/// When all that is put off is due.
const LATER: i64 = 1_000_000_000;

/// A statement that was carried out.
struct Told {
    statement: String,
    /// The rows of tables that were looked at for it.
    rows: u64,
    plan: Value,
}

/// Rows that a node and those below it looked at in tables.
fn looked_at(node: &Value) -> u64 {
    let number = |name: &str| node[name].as_u64().unwrap_or(0);
    let below = node["Plans"].as_array().into_iter().flatten();
    let below: u64 = below.map(looked_at).sum();
    // What a modification looks at is below it; of a bitmap, each part tells rows of its own.
    let is_read = node["Node Type"]
        .as_str()
        .is_some_and(|of| of.ends_with("Scan"))
        && (node["Relation Name"].is_string() || node["Index Name"].is_string());
    if !is_read {
        return below;
    }
    let rows = number("Actual Rows")
        + number("Rows Removed by Filter")
        + number("Rows Removed by Index Recheck");
    below + rows * number("Actual Loops")
}

/// What the server told of the statements on a database.
fn told(database: &Database) -> Vec<Told> {
    let log = fs::read_to_string(database.cluster().folder().join("log")).unwrap();
    let mine = format!("{} LOG:  duration: ", database.name);
    let entries = log.split('\n').collect::<Vec<_>>();
    let of_plan = |(n, line): (usize, &&str)| {
        let is_mine = line.starts_with(&mine) && line.ends_with("plan:");
        is_mine.then(|| {
            let lines = entries[n + 1..].iter();
            let json: String = lines
                .take_while(|line| line.starts_with('\t'))
                .copied()
                .collect();
            let plan: Value = serde_json::from_str(&json).unwrap();
            Told {
                statement: plan["Query Text"].as_str().unwrap().to_owned(),
                rows: looked_at(&plan["Plan"]),
                plan,
            }
        })
    };
    entries.iter().enumerate().filter_map(of_plan).collect()
}

fn lanes(n: u128, due: i64) -> Vec<(Lane, Owed)> {
    let phone = PhoneId(Uuid::from_u128(n));
    let read = |class, after: i64| read_user(class, at(due + after));
    vec![
        (
            Lane::Key(phone, PartNumber("p".into())),
            read(Class::Issue, 0),
        ),
        (Lane::Phone(phone), read(Class::Issue, 1)),
        (Lane::Removal(phone), read(Class::Withdrawal, 2)),
        (Lane::Read(MANAGER), read(Class::Confirm, 3)),
        (Lane::Sweep(MANAGER), read(Class::Sweep, 4)),
        (
            Lane::Record(ChildId(Uuid::from_u128(n))),
            read(Class::Import, 5),
        ),
        (Lane::Timer, wake(at(due + 6))),
    ]
}

/// What the index has of a person.
fn rows(n: u128) -> Vec<Row> {
    let row = |kind: Kind| Row {
        kind,
        id: format!("{}-{n}", kind.name()),
        created_at: at(i64::try_from(n).unwrap()),
        acs_system: Some(format!("system-{}", n % 200)),
        acs_user: Some(format!("user-{n}")),
        parent: Some(format!("parent-{}", n / 3)),
    };
    [
        Kind::Identity,
        Kind::AcsUser,
        Kind::Parent,
        Kind::Child,
        Kind::Phone,
    ]
    .map(row)
    .into()
}

fn event(n: u128, of: EventType) -> NewEvent {
    let mut event = super::outbox::event(n, of);
    let told = &mut event.announcement;
    told.acs_credential = Some(Uuid::from_u128(n));
    told.acs_user = Some(AcsUserId(Uuid::from_u128(n)));
    told.acs_system = Some(AcsSystemId(Uuid::from_u128(n % 200)));
    told.user_identity = Some(IdentityId(Uuid::from_u128(n)));
    told.device = Some(PhoneId(Uuid::from_u128(n)));
    event
}

fn person(n: u128) -> Commit {
    // A few have something to do at once; all have later.
    let due = if n < 10 { 0 } else { LATER };
    let changes = (0..3).map(|step| change(&format!("key {step}"), None, Some("issued")));
    let of = EventType::ALL[usize::try_from(n).unwrap() % EventType::ALL.len()];
    let at = at(i64::try_from(n).unwrap());
    let of_person = adding(owing(commit(n, 0), &lanes(n, due)), &rows(n));
    let of_person = Commit {
        changes: changes.collect(),
        ..of_person
    };
    telling(of_person, at, vec![event(n, of)])
}

fn session(n: u128) -> ClientSession {
    ClientSession {
        id: Uuid::from_u128(0xC5000 + n),
        token: format!("seam_cst{n}").into(),
        user_identity: Some(id(n)),
        key: Some(format!("session-{n}")),
        created_at: at(0),
        expires_at: at(LATER),
        revoked_at: None,
    }
}

async fn fill(store: &dyn Store) {
    store.create_webhook(webhook(1), at(0)).await.unwrap();
    let people: Vec<u128> = (1..=PEOPLE).collect();
    for batch in people.chunks(BATCH) {
        let commits = batch.iter().map(|n| person(*n)).collect();
        store.commit_all(commits).await.unwrap();
    }
    let seen = (0..PEOPLE).map(|n| (format!("e{n}"), at(LATER))).collect();
    store
        .save_feed(MANAGER, Feed::default(), seen, at(0))
        .await
        .unwrap();
    for n in 1..=PEOPLE {
        let window = format!("window {}", n % 100);
        let taken = slot(n, &[(&window, 1000)], at(LATER));
        store.take_slots(vec![taken], vec![]).await.unwrap();
        store.create_client_session(session(n)).await.unwrap();
    }
}

/// What is asked again and again while a daemon is at work, the `time`th time.
#[expect(clippy::too_many_lines, reason = "one list")]
async fn ask_all(store: &dyn Store, time: i64) {
    let n = u128::try_from(time).unwrap() + 100;
    let now = at(50);
    store.load(id(n)).await.unwrap();
    store.owed(id(n)).await.unwrap();
    store.journal(id(n)).await.unwrap();
    store
        .find(Kind::Parent, format!("parent-{n}"))
        .await
        .unwrap();
    store.abandoned(now).await.unwrap();
    store.queue(MANAGER, now).await.unwrap();
    for class in Class::ALL {
        store.due(asking(class, now)).await.unwrap();
        store.oldest_owed(MANAGER, class).await.unwrap();
    }
    for manager in [Some(MANAGER), None] {
        store.agenda(manager).await.unwrap();
    }
    let any = ListQuery {
        kinds: vec![Kind::Parent, Kind::Child],
        limit: PAGE,
        ..ListQuery::default()
    };
    let some = |what: &str, n: u128| Some(format!("{what}-{n}"));
    for query in [
        any.clone(),
        ListQuery {
            after: Some((at(1000), String::new())),
            ..any.clone()
        },
        ListQuery {
            created_before: Some(at(1500)),
            ..any.clone()
        },
        ListQuery {
            ids: Some(vec![format!("{}-{n}", Kind::Child.name())]),
            ..any.clone()
        },
        ListQuery {
            identity: Some(id(n)),
            ..any.clone()
        },
        ListQuery {
            acs_system: some("system", n % 200),
            ..any.clone()
        },
        ListQuery {
            acs_user: some("user", n),
            ..any.clone()
        },
        ListQuery {
            parent: some("parent", n),
            ..any.clone()
        },
    ] {
        store.list(query).await.unwrap();
    }
    let any = EventQuery {
        limit: PAGE,
        ..EventQuery::default()
    };
    let one = Some(Uuid::from_u128(n));
    for query in [
        any.clone(),
        EventQuery {
            oldest_first: true,
            ..any.clone()
        },
        EventQuery {
            after: Some(at(1500)),
            oldest_first: true,
            ..any.clone()
        },
        EventQuery {
            before: Some(at(1500)),
            ..any.clone()
        },
        EventQuery {
            ids: Some([Uuid::from_u128(0xE000 + n)].into()),
            ..any.clone()
        },
        EventQuery {
            acs_credential: one,
            ..any.clone()
        },
        EventQuery {
            acs_user: one,
            ..any.clone()
        },
        EventQuery {
            user_identity: one,
            ..any.clone()
        },
    ] {
        store.events(query).await.unwrap();
    }
    store.prune(at(0)).await.unwrap();
    let any = SessionQuery::default;
    for query in [
        SessionQuery {
            id: Some(session(n).id),
            ..any()
        },
        SessionQuery {
            token: Some(session(n).token),
            ..any()
        },
        SessionQuery {
            key: session(n).key,
            ..any()
        },
        SessionQuery {
            user_identity: session(n).user_identity,
            ..any()
        },
    ] {
        store.client_sessions(query).await.unwrap();
    }
    store
        .delete_client_session(session(n).id, now)
        .await
        .unwrap();
    let claim = DeliveryClaim {
        token: Uuid::from_u128(n),
        now: at(LATER),
        lease_until: at(LATER + 10),
    };
    let claimed = store.claim_deliveries(claim).await.unwrap();
    assert_eq!(claimed.len(), 1);
    store.next_delivery(now).await.unwrap();
    let settled = Settled {
        token: claim.token,
        webhook: claimed[0].webhook.id,
        event: claimed[0].event.id,
        outcome: if time % 2 == 0 {
            Outcome::Delivered
        } else {
            Outcome::Again(at(LATER))
        },
        now: at(LATER),
    };
    store.settle_delivery(settled).await.unwrap();
    let taken = slot(9_000_000 + n, &[("window 1", 1000)], at(LATER));
    store.slots("window 1".into(), now).await.unwrap();
    store
        .commit(taking(commit(n, 1), taken.clone()))
        .await
        .unwrap();
    let released = releasing(commit(n, 2), 9_000_000 + n, Some(at(LATER)));
    store.commit(owing(released, &lanes(n, 7))).await.unwrap();
    store
        .commit(owing(commit(n, 3), &lanes(n, LATER)))
        .await
        .unwrap();
    let other = slot(9_100_000 + n, &[("window 1", 1000)], at(LATER));
    let answered = vec![(taken.token, at(LATER + 5))];
    store.take_slots(vec![other], answered).await.unwrap();
    store.commit(removal(n, 4)).await.unwrap();
    let seen = vec![(format!("late {n}"), at(LATER))];
    store
        .save_feed(MANAGER, Feed::default(), seen, at(0))
        .await
        .unwrap();
    let asked = ["e5".to_owned(), format!("e{n}")];
    store.seen_events(MANAGER, asked.into()).await.unwrap();
}

fn holding(scope: HoldScope) -> StandingHold {
    StandingHold {
        scope,
        reason: HoldReason::Operator,
        since: Timestamp(0),
        cause: "ops".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_walked_through() {
    let Some(database) = Database::new() else {
        return;
    };
    fill(&database.open(Threads::Caller).await).await;
    database.raw("ANALYZE").await;
    for setting in [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_analyze = on",
        "auto_explain.log_timing = off",
        "auto_explain.log_nested_statements = on",
        "auto_explain.log_format = 'json'",
    ] {
        let name = &database.name;
        database
            .raw(&format!("ALTER DATABASE {name} SET {setting}"))
            .await;
    }
    // What it is that is looked for here is found.
    database
        .raw("SELECT id FROM identities WHERE revision = 77")
        .await;
    let found: Vec<u64> = told(&database).iter().map(|told| told.rows).collect();
    assert_eq!(found, [u64::try_from(PEOPLE).unwrap()]);

    let store = database.open(Threads::Caller).await;
    let opened = told(&database).len();
    for time in 0..TIMES {
        ask_all(&store, time).await;
    }
    let part = HoldScope::Part(MANAGER, PartNumber("p".into()));
    for scope in [part, HoldScope::Manager(MANAGER)] {
        store.hold(holding(scope)).await.unwrap();
        for class in [Class::Issue, Class::Enroll, Class::Withdrawal] {
            for _ in 0..TIMES {
                store.due(asking(class, at(50))).await.unwrap();
                store.agenda(Some(MANAGER)).await.unwrap();
            }
        }
    }
    store.ping().await.unwrap();
    drop(store);
    let told = &told(&database)[opened..];
    let statements: BTreeSet<&str> = told.iter().map(|told| told.statement.as_str()).collect();
    assert!(statements.len() > 80, "{}", statements.len());
    let mut wrong = String::new();
    for told in told.iter().filter(|told| told.rows > ROWS) {
        writeln!(wrong, "{} rows: {:#}", told.rows, told.plan).unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
}
