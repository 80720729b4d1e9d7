//! Index, feeds and journal.

use std::collections::BTreeSet;
use std::slice::from_ref;

use origo_adapter::core::effect::{Class, Lane};
use origo_adapter::core::ids::{AcsSystemId, ParentId, PartNumber, PhoneId};
use origo_adapter::core::index::{Kind, Row};
use origo_adapter::core::stock::Stock;
use origo_adapter::store::files::{Batch, File};
use origo_adapter::store::journal::{ROOT, verify_journal};
use origo_adapter::store::{Commit, Error, Feed, Grant, ListQuery, Store};
use uuid::Uuid;

use super::put;
use super::samples::{
    MANAGER, adding, at, change, commit, id, owing, read_user, row, slot, taken_at, taking, token,
};

pub(super) async fn ids_are_exclusive(store: &dyn Store) {
    let kinds = [
        Kind::Identity,
        Kind::IdentityKey,
        Kind::IdentityEmail,
        Kind::IdentityPhoneNumber,
        Kind::AcsUser,
        Kind::Automation,
        Kind::Parent,
        Kind::Child,
        Kind::Phone,
    ];
    put(
        store,
        adding(commit(1, 0), &kinds.map(|kind| row(kind, "x", at(0)))),
    )
    .await;
    for kind in kinds {
        let refused = store
            .commit(adding(commit(2, 0), &[row(kind, "x", at(0))]))
            .await;
        assert!(
            matches!(refused, Err(Error::Taken(what)) if what == kind),
            "{kind:?}"
        );
        assert_eq!(store.find(kind, "x".into()).await.unwrap(), Some(id(1)));
        assert_eq!(store.find(kind, "y".into()).await.unwrap(), None);
    }
    let mut freed = commit(1, 1);
    freed.rows_removed = BTreeSet::from([row(Kind::IdentityKey, "x", at(0))]);
    put(store, freed).await;
    put(
        store,
        adding(commit(2, 0), &[row(Kind::IdentityKey, "x", at(0))]),
    )
    .await;
    let owner = store.find(Kind::IdentityKey, "x".into()).await.unwrap();
    assert_eq!(owner, Some(id(2)));
}

pub(super) async fn hids_ids_refuse_nobody(store: &dyn Store) {
    let container = row(Kind::HidContainer, "m/1", at(0));
    put(store, adding(commit(1, 0), from_ref(&container))).await;
    put(store, adding(commit(2, 0), from_ref(&container))).await;
    let find = || store.find(Kind::HidContainer, "m/1".into());
    assert_eq!(find().await.unwrap(), Some(id(1)), "the first keeps it");

    let mut drop = commit(2, 1);
    drop.rows_removed = BTreeSet::from([container.clone()]);
    put(store, drop).await;
    assert_eq!(
        find().await.unwrap(),
        Some(id(1)),
        "another's is not touched"
    );
    let mut drop = commit(1, 1);
    drop.rows_removed = BTreeSet::from([container]);
    put(store, drop).await;
    assert_eq!(find().await.unwrap(), None);
}

pub(super) async fn a_changed_row_moves(store: &dyn Store) {
    let before = row(Kind::Parent, "p", at(0));
    let after = Row {
        acs_user: Some("u".into()),
        ..before.clone()
    };
    put(store, adding(commit(1, 0), from_ref(&before))).await;
    let mut moved = adding(commit(1, 1), from_ref(&after));
    moved.rows_removed = BTreeSet::from([before]);
    put(store, moved).await;
    assert_eq!(listed(store, &all(&[Kind::Parent])).await, [after]);
}

pub(super) fn all(kinds: &[Kind]) -> ListQuery {
    ListQuery {
        kinds: kinds.to_vec(),
        limit: 100,
        ..ListQuery::default()
    }
}

pub(super) async fn listed(store: &dyn Store, query: &ListQuery) -> Vec<Row> {
    let page = store.list(query.clone()).await.unwrap();
    page.into_iter().map(|(row, _)| row).collect()
}

pub(super) async fn pages_through_lists(store: &dyn Store) {
    let made_at = |n: i64| at(n / 3);
    for n in 0..10_i64 {
        let row = row(Kind::Identity, &format!("i{n}"), made_at(n));
        put(store, adding(commit(n.unsigned_abs().into(), 0), &[row])).await;
    }
    let mut query = all(&[Kind::Identity]);
    query.limit = 4;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let page = store.list(query.clone()).await.unwrap();
        for (row, loaded) in &page {
            assert_eq!(row.id, format!("i{}", loaded.identity.id.0.as_u128()));
            assert_eq!(loaded.revision, 1);
        }
        query.after = page.last().map(|(row, _)| (row.created_at, row.id.clone()));
        seen.extend(page.into_iter().map(|(row, _)| row.id));
        // Whatever is made meanwhile is newer than any page to come.
        let n = 100 + seen.len() as u128;
        let new = row(Kind::Identity, &format!("n{n}"), at(9));
        put(store, adding(commit(n, 0), &[new])).await;
    }
    let expected: Vec<_> = (0..10).rev().map(|n| format!("i{n}")).collect();
    assert_eq!(seen, expected, "newest first, ties by id, none twice");
    assert_eq!(listed(store, &query).await, []);
}

pub(super) async fn filters_lists(store: &dyn Store) {
    let parent = |id: &str, system: &str, user: &str, ms| Row {
        acs_system: Some(system.into()),
        acs_user: Some(user.into()),
        ..row(Kind::Parent, id, at(ms))
    };
    let child = Row {
        kind: Kind::Child,
        parent: Some("p1".into()),
        ..parent("c1", "s1", "u1", 5)
    };
    let one = [
        parent("p1", "s1", "u1", 1),
        child.clone(),
        row(Kind::Phone, "f1", at(2)),
    ];
    put(store, adding(commit(1, 0), &one)).await;
    let two = [parent("p2", "s2", "u2", 2), parent("p3", "s1", "u2", 3)];
    put(store, adding(commit(2, 0), &two)).await;

    let both = all(&[Kind::Parent, Kind::Child]);
    let some = |text: &str| Some(text.to_owned());
    let cases: [(ListQuery, &[&str]); 11] = [
        (both.clone(), &["c1", "p3", "p2", "p1"]),
        (all(&[Kind::Phone]), &["f1"]),
        (all(&[]), &[]),
        (
            ListQuery {
                ids: Some(vec!["p1".into(), "p3".into(), "zz".into()]),
                ..both.clone()
            },
            &["p3", "p1"],
        ),
        (
            ListQuery {
                ids: Some(Vec::new()),
                ..both.clone()
            },
            &[],
        ),
        (
            ListQuery {
                identity: Some(id(1)),
                ..both.clone()
            },
            &["c1", "p1"],
        ),
        (
            ListQuery {
                acs_system: some("s1"),
                ..both.clone()
            },
            &["c1", "p3", "p1"],
        ),
        (
            ListQuery {
                acs_user: some("u2"),
                ..both.clone()
            },
            &["p3", "p2"],
        ),
        (
            ListQuery {
                parent: some("p1"),
                ..both.clone()
            },
            &["c1"],
        ),
        (
            ListQuery {
                created_before: Some(at(3)),
                ..both.clone()
            },
            &["p2", "p1"],
        ),
        (
            ListQuery {
                acs_system: some("s1"),
                acs_user: some("u2"),
                ..both.clone()
            },
            &["p3"],
        ),
    ];
    for (query, expected) in cases {
        let rows = listed(store, &query).await;
        let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, expected, "{query:?}");
    }
    let rows = listed(store, &all(&[Kind::Child])).await;
    assert_eq!(rows, [child], "a row comes back whole");
}

pub(super) async fn remembers_batches_of_a_file_for_a_while(store: &dyn Store) {
    let file = token(7);
    assert_eq!(store.load_file(file).await.unwrap(), None);
    let batch = |ids: &[u128], refused, minute: i64| Batch {
        file,
        kept: ids
            .iter()
            .map(|id| ParentId(Uuid::from_u128(*id)))
            .collect(),
        refused,
        now: at(minute * 60_000),
    };
    store.note_batch(batch(&[], 0, 1)).await.unwrap();
    let first = File {
        batches: 1,
        ..File::default()
    };
    assert_eq!(store.load_file(file).await.unwrap(), Some(first));
    store.note_batch(batch(&[1, 2], 1, 2)).await.unwrap();
    store.note_batch(batch(&[2, 3], 2, 3)).await.unwrap();
    let whole = store.load_file(file).await.unwrap().unwrap();
    assert_eq!((whole.refused, whole.batches), (3, 3));
    let kept: Vec<u128> = whole.kept.iter().map(|id| id.0.as_u128()).collect();
    assert_eq!(kept, [1, 2, 3]);
    // Its own next batch finds all of it, however late: the clock may have been set.
    store.note_batch(batch(&[1], 0, 30)).await.unwrap();
    let whole = store.load_file(file).await.unwrap().unwrap();
    assert_eq!(whole.kept.len(), 3);
    store.forget_file(file).await.unwrap();
    store.note_batch(batch(&[1, 2], 1, 2)).await.unwrap();
    store.note_batch(batch(&[2, 3], 2, 3)).await.unwrap();
    let other = Batch {
        file: token(8),
        ..batch(&[4], 0, 12)
    };
    store.note_batch(other).await.unwrap();
    let left = store.load_file(file).await.unwrap().unwrap();
    assert_eq!(left.kept.len(), 3, "ten minutes are not over for all of it");
    let other = Batch {
        file: token(8),
        ..batch(&[5], 0, 14)
    };
    store.note_batch(other).await.unwrap();
    assert_eq!(store.load_file(file).await.unwrap(), None);
    store.forget_file(token(8)).await.unwrap();
    assert_eq!(store.load_file(token(8)).await.unwrap(), None);
}

/// In what a batch stands for; `spoil` leaves a byte of it.
pub(super) async fn half_an_id_makes_no_sense(store: &dyn Store, spoil: impl AsyncFnOnce()) {
    let batch = Batch {
        file: token(7),
        kept: Vec::new(),
        refused: 0,
        now: at(0),
    };
    store.note_batch(batch).await.unwrap();
    spoil().await;
    let error = store.load_file(token(7)).await.unwrap_err();
    let is_named = matches!(
        &error,
        Error::Corrupt {
            table: "file_batches",
            ..
        }
    );
    assert!(is_named, "{error:?}");
}

pub(super) async fn remembers_feeds(store: &dyn Store) {
    assert_eq!(store.load_feed(MANAGER).await.unwrap(), None);
    for cursor in [5, 6] {
        let feed = Feed {
            cursor: at(cursor),
            page: Some(7),
            gaps: 1,
            deaf: cursor == 6,
        };
        let seen = vec![(format!("e{cursor}"), at(cursor))];
        let saved = store.save_feed(MANAGER, feed.clone(), seen, at(5));
        saved.await.unwrap();
        let loaded = store.load_feed(MANAGER).await.unwrap();
        assert_eq!(loaded.as_ref(), Some(&feed));
    }
    let asked = || ["e4", "e5", "e6"].map(ToOwned::to_owned).to_vec();
    let seen = store.seen_events(MANAGER, asked()).await.unwrap();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["e5", "e6"]);
    let again = vec![("e6".to_owned(), at(5))];
    let saved = store.save_feed(MANAGER, Feed::default(), again, at(6));
    saved.await.unwrap();
    let seen = store.seen_events(MANAGER, asked()).await.unwrap();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["e6"], "e5 is old");
    let other = AcsSystemId(Uuid::from_u128(0xC1));
    assert_eq!(store.load_feed(other).await.unwrap(), None);
    assert!(store.seen_events(other, asked()).await.unwrap().is_empty());
}

pub(super) async fn remembers_stock(store: &dyn Store) {
    assert_eq!(store.load_stock(MANAGER).await.unwrap(), None);
    for calls in [1, 2] {
        let stock = Stock {
            read_at: Some(at(5)),
            calls,
            ..Stock::default()
        };
        store.save_stock(MANAGER, stock.clone()).await.unwrap();
        let loaded = store.load_stock(MANAGER).await.unwrap();
        assert_eq!(loaded, Some(stock));
    }
    let other = AcsSystemId(Uuid::from_u128(0xC1));
    assert_eq!(store.load_stock(other).await.unwrap(), None);
}

/// The clock that is set is not the one that windows are counted by.
pub(super) async fn keeps_the_time_of_windows(store: &dyn Store) {
    let boot = Uuid::from_u128;
    let epoch = store.window_epoch(boot(1), 1_000, at(1_000));
    assert_eq!(epoch.await.unwrap(), 1_000);
    let again = store.window_epoch(boot(1), 999_999, at(999_999));
    assert_eq!(again.await.unwrap(), 1_000, "within one boot it stays");
    for (n, taken) in [(1, 2_000), (2, 500)] {
        let slot = taken_at(taken, slot(n, &[("w", 9)], at(3_000)));
        assert_eq!(
            store.take_slots(vec![slot], Vec::new()).await.unwrap(),
            Grant::Taken
        );
    }
    let slots = || store.slots("w".to_owned(), at(600));
    let within = store.window_epoch(boot(1), 5, at(600));
    assert_eq!(within.await.unwrap(), 1_000);
    assert_eq!(slots().await.unwrap(), [at(3_000), at(3_000)]);
    let earlier = store.window_epoch(boot(2), 600, at(600));
    assert_eq!(earlier.await.unwrap(), 600);
    assert_eq!(
        slots().await.unwrap(),
        [at(1_600), at(3_000)],
        "what was taken later than now counts as long as before from now on"
    );
    assert_eq!(store.slots("v".to_owned(), at(0)).await.unwrap(), []);
    assert_eq!(store.slots("w".to_owned(), at(3_000)).await.unwrap(), []);
}

pub(super) async fn tells_the_queue(store: &dyn Store) {
    let lane = |n| Lane::Key(PhoneId(Uuid::from_u128(n)), PartNumber("p".into()));
    for (n, due) in [(1, 30), (2, 10), (3, 20), (4, 99)] {
        put(
            store,
            owing(commit(n, 0), &[(lane(n), read_user(Class::Issue, at(due)))]),
        )
        .await;
    }
    let queue = store.queue(MANAGER, at(50)).await.unwrap();
    assert_eq!(queue[&Class::Issue], [at(10), at(20), at(30)]);
    assert_eq!(queue[&Class::Withdrawal], []);
    put(store, taking(commit(2, 1), slot(1, &[], at(99)))).await;
    let queue = store.queue(MANAGER, at(50)).await.unwrap();
    assert_eq!(queue[&Class::Issue], [at(20), at(30)], "2 is claimed");
}

pub(super) async fn tells_what_is_owed_longest(store: &dyn Store) {
    let lane = Lane::Read(MANAGER);
    let owing_at = |n, revision, now, class, due| Commit {
        now: at(now),
        ..owing(
            commit(n, revision),
            &[(lane.clone(), read_user(class, at(due)))],
        )
    };
    let oldest = async |class| {
        let oldest = store.oldest_owed(MANAGER, class).await.unwrap();
        oldest.map(|owed| (owed.identity, owed.owed_since))
    };
    put(store, owing_at(1, 0, 5, Class::Import, 5)).await;
    assert_eq!(
        oldest(Class::Withdrawal).await,
        None,
        "nothing is withdrawn"
    );
    assert_eq!(oldest(Class::Import).await, Some((id(1), at(5))));
    put(store, owing_at(1, 1, 10, Class::Withdrawal, 10)).await;
    put(store, owing_at(2, 0, 20, Class::Withdrawal, 20)).await;
    assert_eq!(oldest(Class::Withdrawal).await, Some((id(1), at(10))));
    assert_eq!(oldest(Class::Import).await, None);
    // It is put off again and again, and under way.
    put(store, owing_at(1, 2, 30, Class::Withdrawal, 60)).await;
    put(store, owing_at(1, 3, 90, Class::Withdrawal, 990)).await;
    put(store, taking(commit(1, 4), slot(1, &[], at(99)))).await;
    assert_eq!(oldest(Class::Withdrawal).await, Some((id(1), at(10))));
    put(store, owing(commit(1, 5), &[])).await;
    assert_eq!(oldest(Class::Withdrawal).await, Some((id(2), at(20))));
    let elsewhere = AcsSystemId(Uuid::from_u128(0xE15E));
    let oldest = store.oldest_owed(elsewhere, Class::Withdrawal).await;
    assert_eq!(oldest.unwrap(), None);
}

pub(super) async fn what_is_owed_keeps_its_place_in_line(store: &dyn Store) {
    let lane = Lane::Read(MANAGER);
    let owing_at = |revision, now, class, due| Commit {
        now: at(now),
        ..owing(
            commit(1, revision),
            &[(lane.clone(), read_user(class, at(due)))],
        )
    };
    let steps = [
        (
            "owed since the commit, not since ever",
            10,
            Class::Issue,
            0,
            10,
        ),
        ("the same call stays where it is", 20, Class::Issue, 5, 10),
        ("in another class as well", 30, Class::Confirm, 5, 10),
        ("one that is put off waits", 40, Class::Confirm, 90, 90),
        (
            "and is back in line when it is put forward",
            50,
            Class::Confirm,
            0,
            50,
        ),
        ("a clock that goes back", 5, Class::Confirm, 0, 5),
    ];
    for (revision, (what, now, class, due, expected)) in (0..).zip(steps) {
        put(store, owing_at(revision, now, class, due)).await;
        let owed = store.owed(id(1)).await.unwrap();
        assert_eq!(owed[&lane], at(expected), "{what}");
    }
    put(
        store,
        Commit {
            now: at(60),
            ..owing(commit(1, 6), &[])
        },
    )
    .await;
    assert!(store.owed(id(1)).await.unwrap().is_empty());
    put(store, owing_at(7, 70, Class::Confirm, 0)).await;
    assert_eq!(store.owed(id(1)).await.unwrap()[&lane], at(70), "anew");
    // What was due stays so when the clock is set back.
    let due = store.due(super::samples::asking(Class::Confirm, at(20)));
    assert_eq!(due.await.unwrap().len(), 1);
}

pub(super) async fn finds_no_damage(store: &dyn Store) {
    put(store, commit(1, 0)).await;
    store.check().await.unwrap();
}

pub(super) async fn chains_the_journal(store: &dyn Store) {
    assert_eq!(verify_journal(id(1), &[]), Ok(ROOT));
    let mut first = commit(1, 0);
    first.changes = vec![
        change("phone/1", None, Some("active")),
        change("key/1/A", None, Some("wanted")),
    ];
    put(store, first).await;
    put(store, commit(1, 1)).await;
    let mut third = commit(1, 2);
    third.changes = vec![change("phone/1", Some("active"), None)];
    third.cause = "api key ops".into();
    third.now = at(7);
    put(store, third.clone()).await;
    third.id = id(2);
    put(
        store,
        Commit {
            expected: 0,
            identity: commit(2, 0).identity,
            ..third.clone()
        },
    )
    .await;

    let rows = store.journal(id(1)).await.unwrap();
    let seqs: Vec<_> = rows.iter().map(|row| row.seq).collect();
    assert_eq!(seqs, [1, 2, 3], "each identity counts for itself");
    assert_eq!((rows[2].at, rows[2].cause.as_str()), (at(7), "api key ops"));
    assert_eq!(rows[2].change, third.changes[0]);
    assert_eq!(verify_journal(id(1), &rows), Ok(rows[2].hash));

    let broken = |edit: &dyn Fn(&mut Vec<_>)| {
        let mut rows = rows.clone();
        edit(&mut rows);
        verify_journal(id(1), &rows).expect_err("noticed").seq
    };
    assert_eq!(broken(&|rows| rows[1].at = at(1)), 2);
    assert_eq!(broken(&|rows| rows[1].cause.push('x')), 2);
    assert_eq!(broken(&|rows| rows[2].change.to = Some("active".into())), 3);
    assert_eq!(broken(&|rows| rows[0].hash[31] ^= 1), 1);
    assert_eq!(broken(&|rows| drop(rows.remove(0))), 1);
    assert_eq!(broken(&|rows| rows.swap(1, 2)), 2);
    assert_eq!(
        verify_journal(id(2), &rows).unwrap_err().seq,
        1,
        "another's"
    );
}
