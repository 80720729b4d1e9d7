//! Many at once on `PostgreSQL`: whoever is in another's way waits or is refused, and nothing is done twice or lost.

use std::collections::BTreeSet;
use std::time::Duration;

use origo_adapter::core::announce::EventType;
use origo_adapter::core::hold::{HoldReason, HoldScope};
use origo_adapter::core::index::Kind;
use origo_adapter::store::postgres::{Postgres, migrate};
use origo_adapter::store::{
    ClientSession, Commit, Delivery, DeliveryClaim, Error, EventQuery, Grant, Outcome,
    SessionQuery, Settled, StandingHold, Store, Threads, Webhook,
};
use sqlx::{Executor as _, PgConnection, Row as _};
use tokio::task::JoinSet;

use super::holds::inviting;
use super::outbox::{event, telling, webhook};
use super::postgres::{Bed, bed, until};
use super::samples::{adding, at, change, commit, id, row, slot, taken_at, taking, token};
use super::sessions::session;
use crate::support::cluster::Database;

/// Many at once, on as many connections as the store has.
async fn at_once<T, F>(count: u128, work: impl Fn(u128) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: JoinSet<T> = (1..=count).map(work).collect();
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_makes_an_identity() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    for n in 1..=20 {
        let made = at_once(8, |who| {
            let store = bed.store.clone();
            let mut first = adding(commit(n, 0), &[row(Kind::Phone, &n.to_string(), at(0))]);
            first.cause = who.to_string();
            first.changes = vec![change("phone/1", None, Some("active"))];
            async move { store.commit(first).await }
        });
        let made = made.await;
        let conflicts = made
            .iter()
            .filter(|made| matches!(made, Err(Error::Conflict(whose)) if *whose == id(n)));
        assert_eq!(conflicts.count(), 7, "{made:?}");
        assert_eq!(bed.store.journal(id(n)).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_committed_once() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    bed.store.commit(commit(1, 0)).await.unwrap();
    for revision in 1..=20 {
        let made = at_once(8, |_| {
            let store = bed.store.clone();
            async move { store.commit(commit(1, revision)).await.is_ok() }
        });
        assert_eq!(made.await.iter().filter(|made| **made).count(), 1);
    }
}

/// In whatever order each has them: the server never has to part two that wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn who_changes_the_same_people_together_waits_in_one_order() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    let people = [1, 2, 3, 4];
    let first = people.map(|n| commit(n, 0));
    bed.store.commit_all(first.into()).await.unwrap();
    for revision in 1..=20 {
        let made = at_once(8, |who| {
            let store = bed.store.clone();
            let mut changed = people.map(|n| commit(n, revision));
            if who % 2 == 0 {
                changed.reverse();
            }
            async move { store.commit_all(changed.into()).await.is_ok() }
        });
        assert_eq!(made.await.iter().filter(|made| **made).count(), 1);
    }
    let mut aside = bed.database.connect().await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let deadlocks: i64 = aside.fetch_one(deadlocks).await.unwrap().get(0);
    assert_eq!(deadlocks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_taken_by_one_of_many() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    for round in 0..10 {
        let made = at_once(8, |n| {
            let store = bed.store.clone();
            let key = format!("k{round}");
            let rows = [row(Kind::Phone, &key, at(0))];
            let made = adding(commit(1000 * (round + 1) + n, 0), &rows);
            async move { store.commit(made).await }
        });
        let made = made.await;
        let taken = made
            .iter()
            .filter(|made| matches!(made, Err(Error::Taken(Kind::Phone))));
        assert_eq!(taken.count(), 7, "{made:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_filled_exactly_by_many() {
    const LIMIT: u32 = 25;
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    let grants = at_once(80, |n| {
        let store = bed.store.clone();
        // Two windows, named in either order.
        let names = if n % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
        let windows = names.map(|name| (name, LIMIT));
        let taken = slot(n, &windows, at(900));
        async move {
            if n % 3 == 0 {
                let claimed = store.commit(taking(commit(n, 0), taken)).await;
                assert!(matches!(claimed, Ok(()) | Err(Error::WindowFull { .. })));
                return claimed.is_ok();
            }
            let grant = store.take_slots(vec![taken], Vec::new()).await;
            grant.unwrap() == Grant::Taken
        }
    });
    let grants = grants.await;
    let taken = grants.iter().filter(|is_taken| **is_taken);
    assert_eq!(taken.count(), LIMIT as usize);
    for key in ["a", "b"] {
        let counting = bed.store.slots(key.to_owned(), at(0)).await.unwrap();
        assert_eq!(counting.len(), LIMIT as usize);
    }
}

/// Slots whose time is over, and whose answer comes at that very moment: each counts or is gone, and none too many.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_never_makes_one_too_many() {
    const LIMIT: u32 = 10;
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    for round in 0..10_i64 {
        let (then, base) = (1000 * round, 1000 * u128::try_from(round).unwrap());
        for n in 1..=10 {
            let old = taken_at(then, slot(base + n, &[("w", LIMIT)], at(then + 100)));
            assert_eq!(
                bed.store.take_slots(vec![old], Vec::new()).await.unwrap(),
                Grant::Taken
            );
            let call = commit(base + n, 0);
            bed.store.commit(call).await.unwrap();
        }
        at_once(20, |n| {
            let store = bed.store.clone();
            let next = taken_at(
                then + 100,
                slot(base + 100 + n, &[("w", LIMIT)], at(then + 900)),
            );
            let answered = (n <= 10).then(|| (token(base + n), at(then + 900)));
            async move {
                store
                    .take_slots(vec![next], answered.into_iter().collect())
                    .await
                    .unwrap()
            }
        })
        .await;
        let counting = bed.store.slots("w".to_owned(), at(then + 100)).await;
        let counting = counting.unwrap().len();
        assert!(counting <= LIMIT as usize, "{counting}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_claim_is_taken_after_a_hold() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    for round in 0..10_u128 {
        let base = 1000 * (round + 1);
        let claims: JoinSet<_> = (1..=30)
            .map(|n| {
                let store = bed.store.clone();
                let call = taking(inviting(base + n), slot(base + n, &[], at(500)));
                async move { store.commit(call).await }
            })
            .collect();
        let hold = StandingHold {
            scope: HoldScope::All,
            reason: HoldReason::Operator,
            since: at(0),
            cause: "test".into(),
        };
        bed.store.hold(hold).await.unwrap();
        let claimed = bed.store.counts().await.unwrap().claims;
        for result in claims.join_all().await {
            assert!(matches!(result, Ok(()) | Err(Error::Held(_))), "{result:?}");
        }
        assert_eq!(bed.store.counts().await.unwrap().claims, claimed);
        let late = taking(inviting(base), slot(base, &[], at(500)));
        assert!(matches!(bed.store.commit(late).await, Err(Error::Held(_))));
        let released = bed
            .store
            .release(HoldScope::All, vec![HoldReason::Operator]);
        released.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_several_in_any_order_come_through() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    let names: Vec<u128> = (1..=6).collect();
    for n in &names {
        bed.store.commit(commit(*n, 0)).await.unwrap();
    }
    let done = at_once(40, |n| {
        let store = bed.store.clone();
        let mut names = names.clone();
        names.rotate_left(usize::try_from(n % 6).unwrap());
        if n % 2 == 0 {
            names.reverse();
        }
        async move {
            loop {
                let mut commits = Vec::new();
                for name in &names {
                    let revision = store.load(id(*name)).await.unwrap().unwrap().revision;
                    commits.push(commit(*name, revision));
                }
                match store.commit_all(commits).await {
                    Ok(()) => return,
                    Err(Error::Conflict(_)) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    });
    assert_eq!(done.await.len(), 40);
    for n in names {
        assert_eq!(bed.store.load(id(n)).await.unwrap().unwrap().revision, 41);
    }
}

/// Somebody new of whom something is told.
fn issued(n: u128) -> Commit {
    let told = event(n, EventType::CredentialIssued);
    telling(commit(n, 0), at(0), vec![told])
}

/// Who asks for what came after the last that was seen misses none.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_seen_in_their_order() {
    const MANY: usize = 60;
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    let reader = bed.store.clone();
    let reading = tokio::spawn(async move {
        let mut seen: Vec<_> = Vec::new();
        while seen.len() < MANY {
            let query = EventQuery {
                after: seen.last().map(|(time, _)| *time),
                oldest_first: true,
                limit: 5,
                ..EventQuery::default()
            };
            let events = reader.events(query).await.unwrap();
            seen.extend(events.into_iter().map(|event| (event.created_at, event.id)));
        }
        seen
    });
    at_once(MANY as u128, |n| {
        let store = bed.store.clone();
        async move { store.commit(issued(n)).await.unwrap() }
    })
    .await;
    let read = tokio::time::timeout(Duration::from_secs(30), reading).await;
    let seen = read.expect("none is missed").unwrap();
    let ids: BTreeSet<_> = seen.iter().map(|(_, id)| *id).collect();
    assert_eq!((ids.len(), seen.len()), (MANY, MANY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_told_by_one_at_a_time() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    let made = webhook(1);
    bed.store.create_webhook(made, at(0)).await.unwrap();
    for n in 1..=5 {
        bed.store.commit(issued(n)).await.unwrap();
    }
    let claimed = at_once(16, |n| {
        let store = bed.store.clone();
        let claim = DeliveryClaim {
            token: token(n),
            now: at(10),
            lease_until: at(20),
        };
        async move { store.claim_deliveries(claim).await.unwrap().len() }
    });
    assert_eq!(claimed.await.iter().sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_verb_goes_on_to_its_end() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    let store = &bed.store;
    for n in 1..=150 {
        let mut dropped = adding(commit(n, 0), &[row(Kind::Phone, &n.to_string(), at(0))]);
        dropped.changes = vec![change("phone/1", None, Some("active"))];
        let patience = Duration::from_micros(150 * u64::try_from(n).unwrap());
        let cut = tokio::time::timeout(patience, store.commit(dropped)).await;
        drop(cut);
    }
    // None of the connections is left in the middle of something.
    at_once(24, |n| {
        let store = bed.store.clone();
        async move { store.commit(commit(1000 + n, 0)).await.unwrap() }
    })
    .await;
    for n in 1..=150 {
        let mut looks = 0;
        while store.load(id(n)).await.unwrap().is_none() {
            looks += 1;
            assert!(looks < 1000, "{n} was begun");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let found = store.find(Kind::Phone, n.to_string()).await.unwrap();
        assert_eq!(found, Some(id(n)));
        assert_eq!(store.journal(id(n)).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_once_for_the_same_is_made_by_one_of_many() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    for round in 0..10 {
        at_once(8, |n| {
            let store = bed.store.clone();
            let same = Webhook {
                url: format!("https://example.com/{round}"),
                ..webhook(100 * round + n)
            };
            let named = ClientSession {
                key: Some(format!("{round}")),
                created_at: at(0),
                ..session(100 * round + n)
            };
            async move {
                store.create_webhook(same, at(0)).await.unwrap();
                store.create_client_session(named).await.unwrap();
            }
        })
        .await;
    }
    assert_eq!(bed.store.webhooks().await.unwrap().len(), 10);
    let sessions = bed.store.client_sessions(SessionQuery::default()).await;
    assert_eq!(sessions.unwrap().len(), 10);
}

/// The first delivery of one webhook, claimed.
async fn delivery(bed: &Bed) -> Delivery {
    let made = webhook(1);
    bed.store.create_webhook(made, at(0)).await.unwrap();
    bed.store.commit(issued(1)).await.unwrap();
    let claim = DeliveryClaim {
        token: token(1),
        now: at(10),
        lease_until: at(20),
    };
    let claimed = bed.store.claim_deliveries(claim).await;
    claimed.unwrap().remove(0)
}

fn settled(delivery: &Delivery, outcome: Outcome) -> Settled {
    Settled {
        token: delivery.token,
        webhook: delivery.webhook.id,
        event: delivery.event.id,
        outcome,
        now: at(30),
    }
}

/// What was told after the lease was over is not settled for the one who tells it now.
#[tokio::test(flavor = "multi_thread")]
async fn who_settles_waits_for_who_claims() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    let delivery = delivery(&bed).await;
    let mut another = bed.database.connect().await;
    let claims = format!(
        "BEGIN; SELECT 1 FROM webhooks FOR NO KEY UPDATE; UPDATE deliveries SET claim_token = '{}'",
        token(2)
    );
    run(&mut another, claims).await;
    let late = settled(&delivery, Outcome::Delivered);
    let store = bed.store.clone();
    let settling = tokio::spawn(async move { store.settle_delivery(late).await });
    let mut aside = bed.database.connect().await;
    until(async || waiting(&mut aside).await > 0).await;
    another.execute("COMMIT").await.unwrap();
    settling.await.unwrap().unwrap();
    assert_eq!(bed.store.counts().await.unwrap().deliveries, 1);
}

async fn run(conn: &mut PgConnection, sql: String) {
    let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
    conn.execute(statements).await.unwrap();
}

/// How many of the database's connections wait for another.
async fn waiting(conn: &mut PgConnection) -> i64 {
    const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    conn.fetch_one(WAITING).await.unwrap().get(0)
}

/// Whatever happens meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_disabled_is_owed_nothing_more() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    let delivery = delivery(&bed).await;
    // Somebody tells of something: it is owed to this webhook, and that is not to be seen yet.
    let mut another = bed.database.connect().await;
    let mut aside = bed.database.connect().await;
    run(
        &mut another,
        "BEGIN; SELECT 1 FROM head FOR UPDATE".to_owned(),
    )
    .await;
    bed.database.raw(STOPS_AT_HEAD).await;
    let store = bed.store.clone();
    let telling = tokio::spawn(async move { store.commit(issued(2)).await });
    until(async || waiting(&mut aside).await == 1).await;
    let store = bed.store.clone();
    let disabled = settled(&delivery, Outcome::Disabled);
    let disabling = tokio::spawn(async move { store.settle_delivery(disabled).await });
    until(async || waiting(&mut aside).await == 2 || disabling.is_finished()).await;
    another.execute("COMMIT").await.unwrap();
    telling.await.unwrap().unwrap();
    disabling.await.unwrap().unwrap();
    let webhooks = bed.store.webhooks().await.unwrap();
    assert!(!webhooks[0].enabled);
    assert_eq!(bed.store.counts().await.unwrap().deliveries, 0);
}

/// Whoever has owed something waits for the row of `head`, before its transaction ends.
const STOPS_AT_HEAD: &str = "\
    CREATE FUNCTION stops() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM 1 FROM head FOR UPDATE;
        RETURN NULL;
    END $$;
    CREATE TRIGGER stops AFTER INSERT ON deliveries EXECUTE FUNCTION stops()";

/// The server may need a moment until it notices that a daemon is gone.
#[tokio::test(flavor = "multi_thread")]
async fn who_needs_the_database_alone_and_who_shares_it_wait_a_moment_for_each_other() {
    let Some(database) = Database::new() else {
        return;
    };
    let settings = database.settings();
    let daemon = Postgres::join(&settings).await.unwrap();
    let mut other = database.connect().await;
    let held = "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks
        WHERE locktype = 'advisory' AND database =
        (SELECT oid FROM pg_database WHERE datname = current_database())";
    let lock: i64 = other.fetch_one(held).await.unwrap().get(0);
    drop(daemon);
    let alone = async |conn: &mut PgConnection| {
        let query = sqlx::query("SELECT pg_advisory_lock($1)").bind(lock);
        conn.execute(query).await.unwrap();
    };
    alone(&mut other).await;
    assert!(matches!(Postgres::join(&settings).await, Err(Error::InUse)));
    assert!(matches!(migrate(&settings).await, Err(Error::InUse)));
    for joins in [true, false] {
        let gone = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(other);
        };
        let comes = async {
            if joins {
                Postgres::join(&settings).await.map(drop)
            } else {
                migrate(&settings).await.map(drop)
            }
        };
        let (come, ()) = tokio::join!(comes, gone);
        come.unwrap();
        other = database.connect().await;
        alone(&mut other).await;
    }
}
