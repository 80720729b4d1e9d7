//! What every store promises: one suite, run on each of them.

mod holds;
mod outbox;
mod records;
mod samples;
mod sessions;

use std::future::{Ready, ready};

use origo_adapter::core::effect::{Class, Lane};
use origo_adapter::core::ids::{AcsSystemId, PartNumber, PhoneId, Timestamp};
use origo_adapter::core::index::Kind;
use origo_adapter::store::journal::verify_journal;
use origo_adapter::store::{ClaimChange, Commit, Counts, Error, Grant, Slot, Store};
use uuid::Uuid;

use holds::{
    a_claim_for_what_is_held_is_refused, a_store_that_went_back_holds_nobody_as_a_whole,
    each_reason_holds_by_itself, keys_of_a_held_part_number_are_not_due,
    knows_how_far_it_came_and_whether_it_went_back, the_heads_tell_of_every_row,
    what_is_held_is_not_due_and_keeps_its_place,
};
use outbox::{
    a_disabled_webhook_is_owed_nothing, a_failing_delivery_holds_nobody_back,
    a_refused_commit_tells_nothing, filters_events, forgets_old_events, keeps_events_in_order,
    makes_changes_and_forgets_webhooks, owes_events_to_who_asked_for_them,
    the_same_webhook_is_made_once_and_another_is_not_mixed_up,
};
use records::{
    a_changed_row_moves, all, chains_the_journal, filters_lists, finds_no_damage,
    hids_ids_refuse_nobody, ids_are_exclusive, keeps_the_time_of_windows, listed,
    pages_through_lists, remembers_batches_of_a_file_for_a_while, remembers_feeds, remembers_stock,
    tells_the_queue, tells_what_is_owed_longest, what_is_owed_keeps_its_place_in_line,
};
use samples::{
    MANAGER, adding, asking, at, change, commit, id, owing, read_user, releasing, removal, row,
    slot, taken_at, taking, token, wake,
};
use sessions::{
    a_named_client_session_is_found_among_others, client_sessions_end_with_their_identity,
    finds_client_sessions, forgets_expired_client_sessions, one_client_session_of_a_name_holds,
    what_becomes_of_a_client_session_stays,
};

/// Runs the whole suite on what `$make` makes: something with a `store` in it, which keeps the place of that alive; `None`
/// where this machine cannot have it. `$then` is done with it after each story.
macro_rules! suite {
    ($name:ident, $make:expr) => {
        suite!($name, $make, super::super::nothing_more);
    };
    ($name:ident, $make:expr, $then:path) => {
        suite!($name, $make, $then, [
            commits_and_loads, refuses_a_stale_revision, takes_and_releases_a_claim, abandons_late_claims,
            a_refused_commit_changes_nothing, commits_all_or_none, lists_what_is_due, replaces_what_is_owed, fills_windows,
            takes_all_windows_or_none, answers_move_slots, calls_without_identity_count_as_well,
            ids_are_exclusive, hids_ids_refuse_nobody, a_changed_row_moves, pages_through_lists,
            filters_lists, remembers_feeds, remembers_stock, remembers_batches_of_a_file_for_a_while, keeps_the_time_of_windows, tells_what_is_owed_longest, tells_the_queue, what_is_owed_keeps_its_place_in_line, finds_no_damage, chains_the_journal, removes_identities, counts, answers_ping,
            keeps_events_in_order, filters_events, a_refused_commit_tells_nothing, makes_changes_and_forgets_webhooks,
            owes_events_to_who_asked_for_them, a_failing_delivery_holds_nobody_back,
            a_disabled_webhook_is_owed_nothing, forgets_old_events,
            finds_client_sessions, one_client_session_of_a_name_holds, what_becomes_of_a_client_session_stays,
            client_sessions_end_with_their_identity, forgets_expired_client_sessions,
            a_named_client_session_is_found_among_others,
            the_same_webhook_is_made_once_and_another_is_not_mixed_up,
            what_is_held_is_not_due_and_keeps_its_place, each_reason_holds_by_itself, keys_of_a_held_part_number_are_not_due,
            knows_how_far_it_came_and_whether_it_went_back, the_heads_tell_of_every_row,
            a_store_that_went_back_holds_nobody_as_a_whole, a_claim_for_what_is_held_is_refused,
        ]);
    };
    ($name:ident, $make:expr, $then:path, [$($test:ident),* $(,)?]) => {
        mod $name {
            $(#[tokio::test]
            async fn $test() {
                let Some(bed) = $make else { return };
                super::super::$test(&bed.store).await;
                $then(bed).await;
            })*
        }
    };
}
// Below the macro that they use.
mod contended;
mod copied;
mod copies;
mod edges;
mod plans;
mod postgres;
mod several;
mod sqlite;
mod tls;

fn nothing_more<T>(_bed: T) -> Ready<()> {
    ready(())
}

async fn put(store: &dyn Store, commit: Commit) {
    store.commit(commit).await.expect("the commit is accepted");
}

async fn commits_and_loads(store: &dyn Store) {
    assert_eq!(store.load(id(1)).await.unwrap(), None);
    let first = commit(1, 0);
    put(store, first.clone()).await;
    let loaded = store.load(id(1)).await.unwrap().unwrap();
    assert_eq!(Some(loaded.identity), first.identity);
    assert_eq!((loaded.revision, loaded.claim), (1, None));

    let second = commit(1, 1);
    put(store, second.clone()).await;
    let loaded = store.load(id(1)).await.unwrap().unwrap();
    assert_eq!(Some(loaded.identity), second.identity);
    assert_eq!(loaded.revision, 2);
}

async fn refuses_a_stale_revision(store: &dyn Store) {
    let conflict = |result| matches!(result, Err(Error::Conflict(whose)) if whose == id(1));
    assert!(conflict(store.commit(commit(1, 3)).await), "there is none");
    put(store, commit(1, 0)).await;
    put(store, commit(1, 1)).await;
    for stale in [0, 1, 3] {
        assert!(conflict(store.commit(commit(1, stale)).await), "{stale}");
        assert!(conflict(store.commit(removal(1, stale)).await), "{stale}");
    }
    assert_eq!(store.load(id(1)).await.unwrap().unwrap().revision, 2);
}

async fn takes_and_releases_a_claim(store: &dyn Store) {
    let call = |n, expected| taking(commit(1, expected), slot(n, &[("w", 9)], at(50)));
    put(store, commit(1, 0)).await;
    put(store, call(1, 1)).await;
    let claim = store.load(id(1)).await.unwrap().unwrap().claim.unwrap();
    assert_eq!((claim.token, claim.lease_until), (token(1), at(100)));

    let second = store.commit(call(2, 2)).await;
    assert!(matches!(second, Err(Error::Claimed(whose)) if whose == id(1)));
    put(store, commit(1, 2)).await;
    let kept = store.load(id(1)).await.unwrap().unwrap().claim;
    assert_eq!(kept, Some(claim), "other commits keep it");

    let wrong = store.commit(releasing(commit(1, 3), 2, None)).await;
    assert!(matches!(wrong, Err(Error::ClaimLost(whose)) if whose == id(1)));
    put(store, releasing(commit(1, 3), 1, Some(at(60)))).await;
    assert_eq!(store.load(id(1)).await.unwrap().unwrap().claim, None);
    let again = store.commit(releasing(commit(1, 4), 1, None)).await;
    assert!(matches!(again, Err(Error::ClaimLost(_))));
    put(store, call(3, 4)).await;
}

async fn abandons_late_claims(store: &dyn Store) {
    put(store, taking(commit(1, 0), slot(1, &[("w", 1)], at(500)))).await;
    assert_eq!(store.abandoned(at(99)).await.unwrap(), [], "still ours");
    let abandoned = store.abandoned(at(100)).await.unwrap();
    assert_eq!(abandoned, [(id(1), token(1))]);
    let abandon = Commit {
        claim: ClaimChange::Abandon,
        ..commit(1, 1)
    };
    put(store, abandon).await;
    assert_eq!(store.abandoned(at(100)).await.unwrap(), []);
    assert_eq!(store.load(id(1)).await.unwrap().unwrap().claim, None);

    let lost = store.commit(releasing(commit(1, 2), 1, None)).await;
    assert!(matches!(lost, Err(Error::ClaimLost(_))));
    let grant = store.take_slots(
        vec![taken_at(200, slot(2, &[("w", 1)], at(900)))],
        Vec::new(),
    );
    let grant = grant.await.unwrap();
    assert_eq!(
        grant,
        Grant::NotBefore(at(500)),
        "its call may have been sent"
    );
}

async fn a_refused_commit_changes_nothing(store: &dyn Store) {
    put(store, adding(commit(1, 0), &[row(Kind::Phone, "p", at(0))])).await;
    let mut refused = adding(
        owing(commit(2, 0), &[(Lane::Timer, wake(at(0)))]),
        &[row(Kind::Parent, "q", at(0)), row(Kind::Phone, "p", at(0))],
    );
    refused.changes = vec![change("phone/p", None, Some("active"))];
    refused = taking(refused, slot(1, &[("w", 1)], at(500)));
    let taken = store.commit(refused).await;
    assert!(matches!(taken, Err(Error::Taken(Kind::Phone))));

    assert_eq!(store.load(id(2)).await.unwrap(), None);
    assert_eq!(store.find(Kind::Parent, "q".into()).await.unwrap(), None);
    assert_eq!(store.agenda(None).await.unwrap(), [].into());
    assert_eq!(store.journal(id(2)).await.unwrap(), []);
    let grant = store
        .take_slots(vec![taken_at(0, slot(1, &[("w", 1)], at(500)))], Vec::new())
        .await;
    assert_eq!(grant.unwrap(), Grant::Taken);
}

async fn commits_all_or_none(store: &dyn Store) {
    let user = [row(Kind::AcsUser, "u", at(0))];
    put(store, adding(commit(1, 0), &user)).await;
    put(store, commit(2, 0)).await;
    let both = |expected| vec![removal(1, 1), adding(commit(2, expected), &user)];
    let stale = store.commit_all(both(7)).await;
    assert!(matches!(stale, Err(Error::Conflict(whose)) if whose == id(2)));
    assert_eq!(store.load(id(1)).await.unwrap().unwrap().revision, 1);
    let backwards = both(1).into_iter().rev().collect();
    let taken = store.commit_all(backwards).await;
    assert!(
        matches!(taken, Err(Error::Taken(Kind::AcsUser))),
        "in order"
    );
    store.commit_all(both(1)).await.expect("accepted");
    assert_eq!(store.load(id(1)).await.unwrap(), None);
    let owner = store.find(Kind::AcsUser, "u".into()).await.unwrap();
    assert_eq!(owner, Some(id(2)));
    store.commit_all(Vec::new()).await.expect("nothing is fine");
}

async fn lists_what_is_due(store: &dyn Store) {
    let other = AcsSystemId(Uuid::from_u128(0xC1));
    let foreign = |mut owed: origo_adapter::core::Owed| {
        owed.manager = Some(other);
        owed
    };
    let first = [
        (Lane::Read(MANAGER), read_user(Class::Confirm, at(30))),
        (Lane::CmUser(MANAGER), read_user(Class::Issue, at(5))),
        (Lane::Read(other), foreign(read_user(Class::Confirm, at(1)))),
        (Lane::Timer, wake(at(7))),
    ];
    put(store, owing(commit(1, 0), &first)).await;
    let second = [(Lane::Read(MANAGER), read_user(Class::Confirm, at(20)))];
    put(store, owing(commit(2, 0), &second)).await;
    let third = owing(commit(3, 0), &second);
    put(store, taking(third, slot(1, &[], at(500)))).await;

    let due = |now| async move {
        let due = store.due(asking(Class::Confirm, now)).await.unwrap();
        let due = due.into_iter();
        due.map(|due| (due.identity, due.lane, due.since))
            .collect::<Vec<_>>()
    };
    let one = (id(1), Lane::Read(MANAGER), at(30));
    let two = (id(2), Lane::Read(MANAGER), at(20));
    assert_eq!(due(at(19)).await, []);
    assert_eq!(due(at(29)).await, std::slice::from_ref(&two));
    assert_eq!(
        due(at(30)).await,
        [two.clone(), one],
        "earliest first; three has a claim"
    );
    let mut limited = asking(Class::Confirm, at(99));
    limited.limit = 1;
    assert_eq!(store.due(limited).await.unwrap().len(), 1);

    let next =
        |manager, class| async move { store.agenda(manager).await.unwrap().get(&class).copied() };
    assert_eq!(next(Some(MANAGER), Class::Confirm).await, Some(at(20)));
    assert_eq!(next(Some(MANAGER), Class::Issue).await, Some(at(5)));
    assert_eq!(next(Some(other), Class::Confirm).await, Some(at(1)));
    assert_eq!(next(None, Class::Timer).await, Some(at(7)));
    assert_eq!(next(Some(MANAGER), Class::Withdrawal).await, None);

    put(store, releasing(commit(3, 1), 1, None)).await;
    let three = (id(3), Lane::Read(MANAGER), at(20));
    assert_eq!(
        due(at(20)).await,
        [two, three],
        "free again, ties by identity"
    );
}

async fn replaces_what_is_owed(store: &dyn Store) {
    let key = Lane::Key(PhoneId(Uuid::from_u128(9)), PartNumber("A/\"B\" é".into()));
    let before = [
        (Lane::Timer, wake(at(1))),
        (Lane::Read(MANAGER), read_user(Class::Confirm, at(1))),
        (key.clone(), read_user(Class::Issue, at(1))),
    ];
    put(store, owing(commit(1, 0), &before)).await;
    put(store, commit(1, 1)).await;
    let timer = store.agenda(None).await.unwrap();
    assert_eq!(
        timer,
        [(Class::Timer, at(1))].into(),
        "`None` changes nothing"
    );

    let after = [
        (Lane::Read(MANAGER), read_user(Class::Wait, at(2))),
        (key.clone(), read_user(Class::Issue, at(1))),
    ];
    put(store, owing(commit(1, 2), &after)).await;
    assert_eq!(store.agenda(None).await.unwrap(), [].into());
    assert_eq!(store.due(asking(Class::Confirm, at(9))).await.unwrap(), []);
    let waiting = store.due(asking(Class::Wait, at(9))).await.unwrap();
    assert_eq!(waiting[0].since, at(2));
    let issues = store.due(asking(Class::Issue, at(9))).await.unwrap();
    assert_eq!(issues[0].lane, key, "any lane comes back as it went in");

    put(store, owing(commit(1, 3), &[])).await;
    assert_eq!(store.counts().await.unwrap().owed.len(), 0);
}

async fn fills_windows(store: &dyn Store) {
    for (n, frees_at) in [(1, 70), (2, 50), (3, 60)] {
        let slot = slot(n, &[("w", 3)], at(frees_at));
        put(store, taking(commit(n, 0), slot)).await;
    }
    let full = |n, limit, now| {
        let slot = taken_at(now, slot(n, &[("w", limit)], at(500)));
        let next = taking(commit(n, 0), slot);
        async move {
            match store.commit(next).await {
                Ok(()) => None,
                Err(Error::WindowFull { key, not_before }) => {
                    assert_eq!(key, "w");
                    Some(not_before)
                }
                Err(other) => panic!("{other}"),
            }
        }
    };
    assert_eq!(full(4, 3, 0).await, Some(at(50)));
    assert_eq!(full(4, 2, 0).await, Some(at(60)), "two must end");
    assert_eq!(full(4, 1, 0).await, Some(at(70)), "all must end");
    assert_eq!(full(4, 0, 0).await, Some(Timestamp(i64::MAX)), "never");
    assert_eq!(
        full(4, 3, 49).await,
        Some(at(50)),
        "unanswered, it counts to the end"
    );
    assert_eq!(full(4, 3, 50).await, None);
    assert_eq!(full(5, 3, 50).await, Some(at(60)));
    assert_eq!(full(5, 4, 50).await, None, "a reserve for who may use it");
}

async fn takes_all_windows_or_none(store: &dyn Store) {
    let mut grants = Vec::new();
    let asked = [
        slot(1, &[("a", 1), ("b", 3)], at(80)),
        slot(2, &[("b", 3), ("c", 1)], at(40)),
        slot(3, &[("c", 1), ("b", 9), ("a", 1)], at(99)),
        slot(4, &[("b", 3)], at(99)),
        slot(5, &[("b", 3)], at(99)),
    ];
    for slot in asked {
        let grant = store.take_slots(vec![slot], Vec::new()).await;
        grants.push(grant.unwrap());
    }
    let last = Grant::NotBefore(at(80));
    assert_eq!(
        grants[..3],
        [Grant::Taken, Grant::Taken, last],
        "when all have room"
    );
    assert_eq!(
        grants[3..],
        [Grant::Taken, Grant::NotBefore(at(40))],
        "the refused one took no place in b"
    );
    let both = vec![slot(6, &[("d", 2)], at(70)), slot(7, &[("d", 1)], at(70))];
    let grant = store.take_slots(both, Vec::new()).await.unwrap();
    assert_eq!(grant, Grant::NotBefore(at(70)));
    assert_eq!(store.slots("d".to_owned(), at(0)).await.unwrap(), []);
    let both = vec![slot(6, &[("d", 2)], at(70)), slot(7, &[("d", 2)], at(70))];
    let grant = store.take_slots(both, Vec::new()).await.unwrap();
    assert_eq!(grant, Grant::Taken);
}

async fn answers_move_slots(store: &dyn Store) {
    let next = |n, now| async move {
        let slot = slot(n, &[("w", 1)], at(1000));
        store
            .take_slots(vec![taken_at(now, slot)], Vec::new())
            .await
            .unwrap()
    };
    put(store, taking(commit(1, 0), slot(1, &[("w", 1)], at(1000)))).await;
    put(store, releasing(commit(1, 1), 1, Some(at(30)))).await;
    assert_eq!(next(2, 29).await, Grant::NotBefore(at(30)));
    assert_eq!(next(2, 30).await, Grant::Taken);

    let answered = |n, frees_at, now| async move {
        let slot = taken_at(now, slot(3, &[("w", 1)], at(1000)));
        let grant = store.take_slots(vec![slot], vec![(token(n), at(frees_at))]);
        grant.await.unwrap()
    };
    assert_eq!(answered(2, 90, 89).await, Grant::NotBefore(at(90)));
    assert_eq!(next(3, 89).await, Grant::NotBefore(at(1000)), "refused");
    assert_eq!(answered(99, 9, 89).await, Grant::NotBefore(at(1000)));
    assert_eq!(answered(2, 90, 90).await, Grant::Taken);

    put(store, taking(commit(2, 0), slot(4, &[("v", 1)], at(1000)))).await;
    put(store, releasing(commit(2, 1), 4, None)).await;
    let grant = store
        .take_slots(vec![taken_at(0, slot(5, &[("v", 1)], at(50)))], Vec::new())
        .await;
    assert_eq!(grant.unwrap(), Grant::Taken, "not sent, given back");
}

async fn calls_without_identity_count_as_well(store: &dyn Store) {
    let grant = store
        .take_slots(vec![taken_at(0, slot(1, &[("w", 1)], at(50)))], Vec::new())
        .await;
    assert_eq!(grant.unwrap(), Grant::Taken);
    let next = taking(commit(1, 0), slot(2, &[("w", 1)], at(99)));
    let refused = store.commit(next).await;
    assert!(matches!(refused, Err(Error::WindowFull { not_before, .. }) if not_before == at(50)));
    put(
        store,
        taking(commit(1, 0), taken_at(50, slot(2, &[("w", 1)], at(99)))),
    )
    .await;
    let windowless = Slot {
        windows: Vec::new(),
        ..slot(3, &[], at(99))
    };
    let grant = store
        .take_slots(vec![windowless], Vec::new())
        .await
        .unwrap();
    assert_eq!(grant, Grant::Taken);
}

async fn removes_identities(store: &dyn Store) {
    let mut first = owing(commit(1, 0), &[(Lane::Timer, wake(at(0)))]);
    first = adding(
        first,
        &[
            row(Kind::Identity, "i", at(0)),
            row(Kind::HidUser, "m/1", at(0)),
        ],
    );
    first.changes = vec![change("identity/i", None, Some("listed"))];
    put(store, taking(first, slot(1, &[("w", 1)], at(50)))).await;
    let mut last = releasing(removal(1, 1), 1, Some(at(40)));
    last.changes = vec![change("identity/i", Some("listed"), None)];
    put(store, last).await;

    assert_eq!(store.load(id(1)).await.unwrap(), None);
    assert_eq!(store.counts().await.unwrap(), Counts::default());
    assert_eq!(store.find(Kind::HidUser, "m/1".into()).await.unwrap(), None);
    assert_eq!(
        listed(store, &all(&[Kind::Identity, Kind::HidUser])).await,
        []
    );
    let grant = store
        .take_slots(vec![taken_at(0, slot(2, &[("w", 1)], at(99)))], Vec::new())
        .await;
    assert_eq!(
        grant.unwrap(),
        Grant::NotBefore(at(40)),
        "its call was sent"
    );
    put(store, removal(1, 0)).await;

    let mut again = commit(1, 0);
    again.changes = vec![change("identity/i", None, Some("listed"))];
    put(store, again).await;
    let rows = store.journal(id(1)).await.unwrap();
    assert_eq!(rows.len(), 3, "the journal stays, and goes on");
    assert!(verify_journal(id(1), &rows).is_ok());
}

async fn counts(store: &dyn Store) {
    assert_eq!(store.counts().await.unwrap(), Counts::default());
    let owed = [
        (Lane::Read(MANAGER), read_user(Class::Confirm, at(1))),
        (Lane::Timer, wake(at(1))),
    ];
    for n in 1..=3 {
        let identity = row(Kind::Identity, &n.to_string(), at(0));
        put(store, adding(owing(commit(n, 0), &owed), &[identity])).await;
    }
    put(
        store,
        taking(owing(commit(4, 0), &owed[1..]), slot(1, &[], at(9))),
    )
    .await;
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.identities, counts.claims), (3, 1));
    let owed: Vec<_> = counts
        .owed
        .iter()
        .map(|(class, n)| (class.as_str(), *n))
        .collect();
    assert_eq!(owed, [("confirm", 3), ("timer", 4)]);
}

async fn answers_ping(store: &dyn Store) {
    store.ping().await.unwrap();
}
