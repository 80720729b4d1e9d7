//! What is held as a whole.

use origo_adapter::core::effect::{Class, Effect, Lane, Owed};
use origo_adapter::core::hold::{HoldReason, HoldScope};
use origo_adapter::core::identity::{Enrollment, InFlight};
use origo_adapter::core::ids::{
    AcsSystemId, CallNo, ContainerId, HidUserId, PartNumber, PhoneId, Timestamp,
};
use origo_adapter::store::{Commit, Error, StandingHold, Store};
use uuid::Uuid;

use super::put;
use super::samples::{
    MANAGER, asking, at, change, commit, id, owing, read_user, releasing, removal, slot, taking,
};

const OTHER: AcsSystemId = AcsSystemId(Uuid::from_u128(0xC1));

fn hold(scope: HoldScope, reason: HoldReason, since: i64) -> StandingHold {
    StandingHold {
        scope,
        reason,
        since: at(since),
        cause: "ops".into(),
    }
}

fn key_lane() -> Lane {
    Lane::Key(PhoneId(Uuid::from_u128(9)), PartNumber("p".into()))
}

fn issue(not_before: Timestamp) -> Owed {
    Owed {
        effect: Effect::Issue {
            container: ContainerId::parse("61001").unwrap(),
            part_number: PartNumber("p".into()),
        },
        class: Class::Issue,
        ..read_user(Class::Issue, not_before)
    }
}

/// Every class once, and a read among the issues, which waits behind the issue.
fn everything() -> Vec<(Lane, Owed)> {
    vec![
        (
            Lane::Removal(PhoneId(Uuid::nil())),
            read_user(Class::Withdrawal, at(1)),
        ),
        (key_lane(), issue(at(2))),
        (
            Lane::Phone(PhoneId(Uuid::nil())),
            read_user(Class::Issue, at(3)),
        ),
        (Lane::Invitation(MANAGER), read_user(Class::Enroll, at(4))),
        (Lane::Read(MANAGER), read_user(Class::Confirm, at(5))),
        (Lane::Wait(MANAGER), read_user(Class::Wait, at(6))),
        (Lane::Sweep(MANAGER), read_user(Class::Sweep, at(7))),
    ]
}

async fn lanes(store: &dyn Store, class: Class) -> Vec<Lane> {
    let due = store.due(asking(class, at(50))).await.unwrap();
    due.into_iter().map(|due| due.lane).collect()
}

pub(super) async fn what_is_held_is_not_due_and_keeps_its_place(store: &dyn Store) {
    put(store, owing(commit(1, 0), &everything())).await;
    let before = store.agenda(Some(MANAGER)).await.unwrap();
    for scope in [HoldScope::All, HoldScope::Manager(MANAGER)] {
        let standing = hold(scope.clone(), HoldReason::Operator, 8);
        store.hold(standing.clone()).await.unwrap();
        assert_eq!(store.holds().await.unwrap(), [standing]);
        let issues = lanes(store, Class::Issue).await;
        assert_eq!(issues, [Lane::Phone(PhoneId(Uuid::nil()))], "{scope:?}");
        assert_eq!(lanes(store, Class::Enroll).await, []);
        for class in [Class::Withdrawal, Class::Confirm, Class::Wait, Class::Sweep] {
            assert_eq!(lanes(store, class).await.len(), 1, "{class:?}");
        }
        let mut expected = before.clone();
        expected.remove(&Class::Enroll);
        expected.insert(Class::Issue, at(3));
        assert_eq!(store.agenda(Some(MANAGER)).await.unwrap(), expected);
        store
            .release(scope, vec![HoldReason::Operator])
            .await
            .unwrap();
        assert_eq!(store.agenda(Some(MANAGER)).await.unwrap(), before);
        assert_eq!(lanes(store, Class::Issue).await[0], key_lane());
    }
    let elsewhere = hold(HoldScope::Manager(OTHER), HoldReason::Operator, 8);
    store.hold(elsewhere).await.unwrap();
    assert_eq!(store.agenda(Some(MANAGER)).await.unwrap(), before);
}

/// Its issues wait; what else is owed, and keys of other part numbers, do not.
pub(super) async fn keys_of_a_held_part_number_are_not_due(store: &dyn Store) {
    put(store, owing(commit(1, 0), &everything())).await;
    let before = store.agenda(Some(MANAGER)).await.unwrap();
    let part = |name: &str| HoldScope::Part(MANAGER, PartNumber(name.into()));
    for (scope, is_held) in [(part("p"), true), (part("q"), false)] {
        let standing = hold(scope.clone(), HoldReason::Operator, 8);
        store.hold(standing).await.unwrap();
        let issues = lanes(store, Class::Issue).await;
        assert_eq!(issues.contains(&key_lane()), !is_held, "{scope:?}");
        assert!(issues.contains(&Lane::Phone(PhoneId(Uuid::nil()))));
        assert_eq!(lanes(store, Class::Enroll).await.len(), 1);
        let mut expected = before.clone();
        if is_held {
            expected.insert(Class::Issue, at(3));
        }
        assert_eq!(store.agenda(Some(MANAGER)).await.unwrap(), expected);
        let release = store.release(scope, vec![HoldReason::Operator]);
        release.await.unwrap();
    }
}

pub(super) async fn each_reason_holds_by_itself(store: &dyn Store) {
    put(store, owing(commit(1, 0), &everything())).await;
    let scope = HoldScope::Manager(MANAGER);
    for (reason, since) in [(HoldReason::Operator, 1), (HoldReason::Guard, 2)] {
        store
            .hold(hold(scope.clone(), reason, since))
            .await
            .unwrap();
        // A second one for the same reason leaves the first as it is.
        store.hold(hold(scope.clone(), reason, 9)).await.unwrap();
    }
    let since: Vec<_> = store
        .holds()
        .await
        .unwrap()
        .into_iter()
        .map(|hold| hold.since)
        .collect();
    assert_eq!(since, [at(2), at(1)], "by name of the reason");
    store
        .release(scope.clone(), vec![HoldReason::Guard])
        .await
        .unwrap();
    store
        .release(HoldScope::All, vec![HoldReason::Operator])
        .await
        .unwrap();
    assert_eq!(lanes(store, Class::Enroll).await, [], "one still holds");
    store
        .release(scope, vec![HoldReason::Operator])
        .await
        .unwrap();
    assert_eq!(lanes(store, Class::Enroll).await.len(), 1);
}

pub(super) async fn a_store_that_went_back_holds_nobody_as_a_whole(store: &dyn Store) {
    put(store, owing(commit(1, 0), &everything())).await;
    let regressed = hold(HoldScope::All, HoldReason::StateRegressed, 1);
    store.hold(regressed.clone()).await.unwrap();
    assert_eq!(store.holds().await.unwrap(), [regressed]);
    assert_eq!(lanes(store, Class::Issue).await.len(), 2);
}

/// Identity `n` with `effect` under way.
fn calling(n: u128, expected: u64, lane: Lane, effect: Effect) -> Commit {
    let mut commit = commit(n, expected);
    let identity = commit.identity.as_mut().unwrap();
    identity.enrollments.insert(MANAGER, Enrollment::default());
    identity.in_flight = Some(InFlight {
        call: CallNo(1),
        lane,
        effect,
        started_at: at(0),
    });
    taking(commit, slot(n, &[("w", 9)], at(50)))
}

/// Somebody new who is being invited.
pub(super) fn inviting(n: u128) -> Commit {
    let effect = Effect::CreateInvitation {
        user: HidUserId::parse("72001").unwrap(),
        delivery: origo_adapter::core::effect::Delivery::Email,
    };
    calling(n, 0, Lane::Invitation(MANAGER), effect)
}

pub(super) async fn a_claim_for_what_is_held_is_refused(store: &dyn Store) {
    let user = || HidUserId::parse("72001").unwrap();
    let read = || calling(1, 1, Lane::Read(MANAGER), Effect::ReadUser { user: user() });
    let invite = |n, expected| {
        let effect = Effect::CreateInvitation {
            user: user(),
            delivery: origo_adapter::core::effect::Delivery::Email,
        };
        calling(n, expected, Lane::Invitation(MANAGER), effect)
    };
    put(store, commit(1, 0)).await;
    put(store, commit(2, 0)).await;
    store
        .hold(hold(HoldScope::Manager(MANAGER), HoldReason::Operator, 1))
        .await
        .unwrap();
    let refused = store.commit(invite(2, 1)).await;
    assert!(matches!(refused, Err(Error::Held(whose)) if whose == id(2)));
    assert_eq!(store.load(id(2)).await.unwrap().unwrap().revision, 1);
    put(store, read()).await;
    put(store, releasing(commit(1, 2), 1, None)).await;
    store
        .release(HoldScope::Manager(MANAGER), vec![HoldReason::Operator])
        .await
        .unwrap();
    put(store, invite(2, 1)).await;
}

pub(super) async fn knows_how_far_it_came_and_whether_it_went_back(store: &dyn Store) {
    let first = store.head().await.unwrap();
    assert_eq!(first.regressed_at, None);
    put(store, commit(1, 0)).await;
    let second = store.head().await.unwrap();
    assert_eq!(second.database, first.database);
    assert!(second.commits > first.commits, "{second:?}");
    assert_eq!(store.head().await.unwrap(), second, "reading is no commit");
    for mark in [5, 7] {
        store
            .regress(Some(at(mark)), "restore".into())
            .await
            .unwrap();
        assert_eq!(store.head().await.unwrap().regressed_at, Some(at(mark)));
        let holds = store.holds().await.unwrap();
        assert_eq!(holds.len(), 1);
        let held = (holds[0].scope.clone(), holds[0].reason, holds[0].since);
        assert_eq!(held, (HoldScope::All, HoldReason::StateRegressed, at(mark)));
    }
    store.regress(None, "all was read".into()).await.unwrap();
    assert_eq!(store.head().await.unwrap().regressed_at, None);
    assert_eq!(store.holds().await.unwrap(), []);
}

pub(super) async fn the_heads_tell_of_every_row(store: &dyn Store) {
    let empty = store.heads().await.unwrap();
    assert_eq!(empty.identities, 0);
    let mut seen = std::collections::BTreeSet::from([empty.hash]);
    let changing = |n: u128, expected: u64| Commit {
        changes: vec![change("phone/1", None, Some("active"))],
        ..commit(n, expected)
    };
    for (n, expected, identities) in [(1, 0, 1), (2, 0, 2), (1, 1, 2), (u128::MAX, 0, 3)] {
        put(store, changing(n, expected)).await;
        let heads = store.heads().await.unwrap();
        assert_eq!(heads.identities, identities);
        assert!(seen.insert(heads.hash), "identity {n} makes no difference");
        assert_eq!(store.heads().await.unwrap(), heads, "twice the same");
    }
    let before = store.heads().await.unwrap();
    put(store, removal(2, 1)).await;
    assert_eq!(
        store.heads().await.unwrap(),
        before,
        "a journal outlives its identity"
    );
}
