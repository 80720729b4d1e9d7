//! Events, webhooks and deliveries.

use std::collections::BTreeSet;

use origo_adapter::core::announce::{Announcement, EventType};
use origo_adapter::core::ids::{AcsSystemId, AcsUserId, IdentityId, PhoneId, Timestamp};
use origo_adapter::store::{
    Commit, Delivery, DeliveryClaim, Error, Event, EventQuery, NewEvent, Outcome, Settled, Store,
    Webhook,
};
use uuid::Uuid;

use super::put;
use super::samples::{adding, at, commit, id, row, token};

pub(super) fn event(n: u128, event_type: EventType) -> NewEvent {
    NewEvent {
        id: Uuid::from_u128(0xE000 + n),
        announcement: Announcement::new(event_type, None, at(0)),
    }
}

pub(super) fn telling(commit: Commit, now: Timestamp, events: Vec<NewEvent>) -> Commit {
    Commit {
        events,
        now,
        ..commit
    }
}

pub(super) fn webhook(n: u128) -> Webhook {
    Webhook {
        id: Uuid::from_u128(0xB000 + n),
        url: format!("https://example.com/{n}"),
        event_types: None,
        secret: format!("whsec_{n}").into(),
        created_at: at(i64::try_from(n).unwrap()),
        enabled: true,
    }
}

async fn ids(store: &dyn Store, query: EventQuery) -> Vec<u128> {
    let query = EventQuery {
        limit: if query.limit == 0 { 100 } else { query.limit },
        ..query
    };
    let found = store.events(query).await.unwrap();
    found
        .iter()
        .map(|event| event.id.as_u128() - 0xE000)
        .collect()
}

async fn claim(store: &dyn Store, n: u128, now: i64) -> Vec<Delivery> {
    let claim = DeliveryClaim {
        token: token(n),
        now: at(now),
        lease_until: at(now + 100),
    };
    store.claim_deliveries(claim).await.unwrap()
}

async fn settle(store: &dyn Store, delivery: &Delivery, outcome: Outcome, now: i64) {
    let settled = Settled {
        token: delivery.token,
        webhook: delivery.webhook.id,
        event: delivery.event.id,
        outcome,
        now: at(now),
    };
    store.settle_delivery(settled).await.unwrap();
}

pub(super) async fn keeps_events_in_order(store: &dyn Store) {
    let types = [EventType::CredentialIssued, EventType::CredentialDeleted];
    let two = types.map(|known| event(1, known));
    let [one, mut two] = two;
    two.id = Uuid::from_u128(0xE002);
    put(store, telling(commit(1, 0), at(50), vec![one, two])).await;
    let three = event(3, EventType::PhoneDeactivated);
    put(store, telling(commit(1, 1), at(20), vec![three])).await;

    assert_eq!(ids(store, EventQuery::default()).await, [3, 2, 1]);
    let query = EventQuery {
        oldest_first: true,
        limit: 9,
        ..EventQuery::default()
    };
    let found: Vec<Event> = store.events(query).await.unwrap();
    let times: Vec<_> = found.iter().map(|event| event.created_at).collect();
    assert_eq!(times, [at(50), at(51), at(52)], "whatever the clock did");
    assert_eq!(found[0].announcement.occurred_at, at(0));
    for (after, rest) in [(49, vec![3, 2, 1]), (50, vec![3, 2]), (52, vec![])] {
        let query = EventQuery {
            after: Some(at(after)),
            ..EventQuery::default()
        };
        assert_eq!(ids(store, query).await, rest, "after {after}");
    }
    let between = EventQuery {
        after: Some(at(50)),
        before: Some(at(52)),
        ..EventQuery::default()
    };
    assert_eq!(ids(store, between).await, [2], "both ends excluded");
    let page = EventQuery {
        limit: 1,
        offset: 1,
        ..EventQuery::default()
    };
    assert_eq!(ids(store, page).await, [2]);
}

#[expect(clippy::too_many_lines, reason = "one list, a filter a row")]
pub(super) async fn filters_events(store: &dyn Store) {
    let with = |n: u128, change: fn(&mut Announcement, Uuid)| {
        let mut event = event(n, EventType::ALL[usize::try_from(n).unwrap()]);
        change(&mut event.announcement, Uuid::from_u128(n));
        event
    };
    let events = vec![
        with(1, |told, id| told.acs_credential = Some(id)),
        with(2, |told, id| told.acs_user = Some(AcsUserId(id))),
        with(3, |told, id| told.acs_system = Some(AcsSystemId(id))),
        with(4, |told, id| told.user_identity = Some(IdentityId(id))),
        with(5, |told, id| told.device = Some(PhoneId(id))),
        with(6, |told, id| told.client_session = Some(id)),
    ];
    put(store, telling(commit(1, 0), at(0), events.clone())).await;
    let any = EventQuery::default();
    let one = |n: u128| Some(Uuid::from_u128(n));
    let set = |of: &[u128]| Some(of.iter().map(|n| Uuid::from_u128(*n)).collect());
    let types = |of: &[usize]| Some(of.iter().map(|n| EventType::ALL[*n]).collect());
    for (query, expected) in [
        (
            EventQuery {
                acs_credential: one(1),
                ..any.clone()
            },
            vec![1],
        ),
        (
            EventQuery {
                acs_credential: one(2),
                ..any.clone()
            },
            vec![],
        ),
        (
            EventQuery {
                acs_user: one(2),
                ..any.clone()
            },
            vec![2],
        ),
        (
            EventQuery {
                acs_systems: set(&[1, 3]),
                ..any.clone()
            },
            vec![3],
        ),
        (
            EventQuery {
                user_identity: one(4),
                ..any.clone()
            },
            vec![4],
        ),
        (
            EventQuery {
                devices: set(&[5, 6]),
                ..any.clone()
            },
            vec![5],
        ),
        (
            EventQuery {
                devices: set(&[]),
                ..any.clone()
            },
            vec![],
        ),
        (
            EventQuery {
                ids: set(&[0xE002, 0xE006]),
                ..any.clone()
            },
            vec![6, 2],
        ),
        (
            EventQuery {
                types: types(&[1, 4]),
                ..any.clone()
            },
            vec![4, 1],
        ),
        (
            EventQuery {
                types: types(&[]),
                ..any.clone()
            },
            vec![],
        ),
        (
            EventQuery {
                types: types(&[1, 2]),
                acs_user: one(2),
                ..any.clone()
            },
            vec![2],
        ),
    ] {
        assert_eq!(ids(store, query.clone()).await, expected, "{query:?}");
    }
    let all = store
        .events(EventQuery {
            limit: 9,
            oldest_first: true,
            ..any
        })
        .await
        .unwrap();
    let kept: Vec<_> = all.into_iter().map(|event| event.announcement).collect();
    let given: Vec<_> = events.into_iter().map(|event| event.announcement).collect();
    assert_eq!(kept, given, "every id comes back");
}

pub(super) async fn a_refused_commit_tells_nothing(store: &dyn Store) {
    store.create_webhook(webhook(1), at(0)).await.unwrap();
    let stale = telling(
        commit(1, 3),
        at(0),
        vec![event(1, EventType::AcsUserCreated)],
    );
    let refused = store.commit(stale).await;
    assert!(matches!(refused, Err(Error::Conflict(whose)) if whose == id(1)));
    let taken = origo_adapter::core::index::Kind::Phone;
    put(store, adding(commit(1, 0), &[row(taken, "p", at(0))])).await;
    let late = adding(commit(2, 0), &[row(taken, "p", at(0))]);
    let late = telling(late, at(0), vec![event(2, EventType::AcsUserCreated)]);
    assert!(store.commit(late).await.is_err());
    assert_eq!(ids(store, EventQuery::default()).await, [0; 0]);
    assert_eq!(store.next_delivery(at(9)).await.unwrap(), None);
}

pub(super) async fn makes_changes_and_forgets_webhooks(store: &dyn Store) {
    let made = store.create_webhook(webhook(1), at(-9)).await.unwrap();
    assert_eq!(
        (made.id, made.url.as_str()),
        (webhook(1).id, "https://example.com/1")
    );
    let again = Webhook {
        url: webhook(1).url,
        ..webhook(2)
    };
    let found = store.create_webhook(again.clone(), at(0)).await.unwrap();
    assert_eq!(found.id, made.id, "the same wish again");
    let some = Webhook {
        event_types: Some([EventType::AcsUserCreated].into()),
        ..again.clone()
    };
    let other = store.create_webhook(some.clone(), at(0)).await.unwrap();
    assert_eq!(other.id, some.id, "other types");
    let later = store
        .create_webhook(
            Webhook {
                id: Uuid::from_u128(7),
                ..again
            },
            at(5),
        )
        .await
        .unwrap();
    assert_eq!(later.id, Uuid::from_u128(7), "long after");

    let types: BTreeSet<_> = [EventType::PhoneDeactivated].into();
    store
        .update_webhook(made.id, Some(types.clone()))
        .await
        .unwrap();
    store
        .update_webhook(Uuid::from_u128(99), None)
        .await
        .unwrap();
    store.delete_webhook(later.id).await.unwrap();
    store.delete_webhook(later.id).await.unwrap();
    let left = store.webhooks().await.unwrap();
    let left: Vec<_> = left
        .into_iter()
        .map(|w| (w.id, w.event_types, w.enabled))
        .collect();
    let expected = [
        (made.id, Some(types), true),
        (some.id, some.event_types, true),
    ];
    assert_eq!(left, expected);
}

pub(super) async fn owes_events_to_who_asked_for_them(store: &dyn Store) {
    let issued = Webhook {
        event_types: Some([EventType::CredentialIssued].into()),
        ..webhook(2)
    };
    for webhook in [webhook(1), issued] {
        store.create_webhook(webhook, at(0)).await.unwrap();
    }
    let events = vec![
        event(1, EventType::CredentialIssued),
        event(2, EventType::CredentialDeleted),
    ];
    put(store, telling(commit(1, 0), at(10), events)).await;
    store.create_webhook(webhook(3), at(0)).await.unwrap();

    assert_eq!(store.next_delivery(at(0)).await.unwrap(), Some(at(10)));
    assert!(claim(store, 1, 9).await.is_empty(), "not yet");
    let claimed = claim(store, 2, 10).await;
    let pairs: Vec<_> = claimed
        .iter()
        .map(|d| {
            (
                d.webhook.id.as_u128() - 0xB000,
                d.event.id.as_u128() - 0xE000,
                d.failures,
            )
        })
        .collect();
    assert_eq!(pairs, [(1, 1, 0), (2, 1, 0)], "one each, the first first");
    assert!(
        claim(store, 3, 10).await.is_empty(),
        "both have one under way"
    );
    assert_eq!(store.next_delivery(at(10)).await.unwrap(), None);

    settle(store, &claimed[0], Outcome::Delivered, 11).await;
    let second = claim(store, 4, 11).await;
    assert_eq!(second[0].event.id, Uuid::from_u128(0xE002));
    settle(store, &claimed[1], Outcome::GivenUp, 11).await;
    settle(store, &second[0], Outcome::Delivered, 11).await;
    assert_eq!(store.next_delivery(at(99)).await.unwrap(), None);
}

pub(super) async fn a_failing_delivery_holds_nobody_back(store: &dyn Store) {
    store.create_webhook(webhook(1), at(0)).await.unwrap();
    let events = vec![
        event(1, EventType::AcsUserCreated),
        event(2, EventType::AcsUserDeleted),
    ];
    put(store, telling(commit(1, 0), at(0), events)).await;
    let first = claim(store, 1, 0).await;
    settle(store, &first[0], Outcome::Again(at(50)), 5).await;
    let next = claim(store, 2, 5).await;
    assert_eq!(next[0].event.id, Uuid::from_u128(0xE002));
    assert_eq!(next[0].failing_since, Some(at(5)));
    settle(store, &next[0], Outcome::Delivered, 6).await;
    assert_eq!(store.next_delivery(at(6)).await.unwrap(), Some(at(50)));
    let again = claim(store, 3, 50).await;
    assert_eq!((again[0].failures, again[0].failing_since), (1, None));

    // Its lease runs out, another takes it, and the late answer settles nothing.
    let taken = claim(store, 4, 150).await;
    settle(store, &again[0], Outcome::Delivered, 151).await;
    assert_eq!(taken[0].event.id, again[0].event.id);
    settle(store, &taken[0], Outcome::Again(at(160)), 152).await;
    assert_eq!(store.next_delivery(at(152)).await.unwrap(), Some(at(160)));
}

pub(super) async fn a_disabled_webhook_is_owed_nothing(store: &dyn Store) {
    store.create_webhook(webhook(1), at(0)).await.unwrap();
    let two = |n| {
        vec![
            event(n, EventType::AcsUserCreated),
            event(n + 1, EventType::AcsUserDeleted),
        ]
    };
    put(store, telling(commit(1, 0), at(0), two(1))).await;
    let claimed = claim(store, 1, 0).await;
    settle(store, &claimed[0], Outcome::Disabled, 1).await;
    assert!(!store.webhooks().await.unwrap()[0].enabled);
    put(store, telling(commit(1, 1), at(2), two(3))).await;
    assert_eq!(store.next_delivery(at(9)).await.unwrap(), None);

    store.update_webhook(webhook(1).id, None).await.unwrap();
    assert!(store.webhooks().await.unwrap()[0].enabled);
    put(store, telling(commit(1, 2), at(20), two(5))).await;
    let claimed = claim(store, 2, 20).await;
    assert_eq!(claimed[0].event.id, Uuid::from_u128(0xE005));
    assert_eq!(claimed[0].failing_since, None, "it begins anew");
    store.delete_webhook(webhook(1).id).await.unwrap();
    settle(store, &claimed[0], Outcome::Again(at(30)), 21).await;
    assert_eq!(store.next_delivery(at(99)).await.unwrap(), None);
}

pub(super) async fn forgets_old_events(store: &dyn Store) {
    store.create_webhook(webhook(1), at(0)).await.unwrap();
    for (n, revision) in [(1, 0), (2, 1), (3, 2)] {
        let now = at(i64::try_from(n).unwrap() * 10);
        let events = vec![event(n, EventType::AcsUserCreated)];
        put(store, telling(commit(1, revision), now, events)).await;
    }
    store.prune(at(30)).await.unwrap();
    assert_eq!(ids(store, EventQuery::default()).await, [3]);
    let claimed = claim(store, 1, 99).await;
    assert_eq!(
        claimed[0].event.id,
        Uuid::from_u128(0xE003),
        "what it owed went with it"
    );
}

pub(super) async fn the_same_webhook_is_made_once_and_another_is_not_mixed_up(store: &dyn Store) {
    let some = Webhook {
        url: webhook(1).url,
        event_types: Some([EventType::AcsUserCreated].into()),
        ..webhook(2)
    };
    // The one that is meant is the oldest: the newer ones share one of its two marks each.
    for made in [&webhook(1), &some, &webhook(3)] {
        let made_id = store.create_webhook(made.clone(), at(-9)).await.unwrap().id;
        assert_eq!(made_id, made.id);
    }
    let again = Webhook {
        url: webhook(1).url,
        ..webhook(4)
    };
    let found = store.create_webhook(again, at(-9)).await.unwrap();
    assert_eq!(found.id, webhook(1).id);
}
