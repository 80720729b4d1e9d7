//! Client sessions.

use origo_adapter::core::announce::EventType;
use origo_adapter::core::identity::Identity;
use origo_adapter::store::{
    ClientSession, Commit, Event, EventQuery, SessionChange, SessionQuery, Store,
};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::put;
use super::samples::{at, commit, id, removal};

pub(super) fn session(n: u128) -> ClientSession {
    ClientSession {
        id: Uuid::from_u128(0xC5000 + n),
        token: token(n),
        user_identity: None,
        key: None,
        created_at: at(i64::try_from(n).unwrap()),
        expires_at: at(100),
        revoked_at: None,
    }
}

fn token(n: u128) -> SecretString {
    format!("seam_cst{n}").into()
}

async fn make(store: &dyn Store, session: &ClientSession) -> u128 {
    let made = store.create_client_session(session.clone()).await.unwrap();
    number(&made)
}

fn number(session: &ClientSession) -> u128 {
    session.id.as_u128() - 0xC5000
}

async fn found(store: &dyn Store, query: SessionQuery) -> Vec<u128> {
    let found = store.client_sessions(query).await.unwrap();
    found.iter().map(number).collect()
}

async fn one(store: &dyn Store, n: u128) -> ClientSession {
    let query = SessionQuery {
        token: Some(token(n)),
        ..SessionQuery::default()
    };
    let found = store.client_sessions(query).await.unwrap();
    found.into_iter().next().unwrap()
}

async fn told(store: &dyn Store) -> Vec<Event> {
    let query = EventQuery {
        types: Some([EventType::ClientSessionDeleted].into()),
        oldest_first: true,
        limit: 100,
        ..EventQuery::default()
    };
    store.events(query).await.unwrap()
}

pub(super) async fn finds_client_sessions(store: &dyn Store) {
    put(store, commit(1, 0)).await;
    let ada = ClientSession {
        user_identity: Some(id(1)),
        key: Some("ada".into()),
        ..session(1)
    };
    for session in [&ada, &session(2), &session(3)] {
        make(store, session).await;
    }
    let any = SessionQuery::default;
    assert_eq!(found(store, any()).await, [3, 2, 1], "newest first");
    for (query, expected) in [
        (
            SessionQuery {
                id: Some(session(2).id),
                ..any()
            },
            vec![2],
        ),
        (
            SessionQuery {
                token: Some(token(3)),
                ..any()
            },
            vec![3],
        ),
        (
            SessionQuery {
                token: Some("seam_cst".to_owned().into()),
                ..any()
            },
            vec![],
        ),
        (
            SessionQuery {
                key: Some("ada".into()),
                ..any()
            },
            vec![1],
        ),
        (
            SessionQuery {
                user_identity: Some(id(1)),
                ..any()
            },
            vec![1],
        ),
        (
            SessionQuery {
                user_identity: Some(id(1)),
                token: Some(token(2)),
                ..any()
            },
            vec![],
        ),
    ] {
        assert_eq!(found(store, query.clone()).await, expected, "{query:?}");
    }
    let kept = one(store, 1).await;
    assert_eq!(kept.token.expose_secret(), "seam_cst1");
    assert_eq!((kept.created_at, kept.expires_at), (at(1), at(100)));
    assert_eq!((kept.key, kept.revoked_at), (ada.key, None));
    let shown = format!("{:?}", one(store, 1).await);
    assert!(!shown.contains("seam_cst1"), "{shown}");
}

pub(super) async fn one_client_session_of_a_name_holds(store: &dyn Store) {
    let named = |n, created_at| ClientSession {
        key: Some("ada".into()),
        created_at: at(created_at),
        expires_at: at(created_at + 100),
        ..session(n)
    };
    assert_eq!(make(store, &named(1, 0)).await, 1);
    assert_eq!(make(store, &named(2, 99)).await, 1, "it holds");
    assert_eq!(make(store, &named(3, 100)).await, 3, "it has expired");
    let revoked = SessionChange::Revoke(at(150));
    let three = session(3).id;
    store.change_client_session(three, revoked).await.unwrap();
    assert_eq!(make(store, &named(4, 151)).await, 4, "it was revoked");
    assert_eq!(make(store, &named(5, 152)).await, 4);
    let any = SessionQuery::default();
    assert_eq!(found(store, any).await, [4, 3, 1]);
}

pub(super) async fn a_named_client_session_is_found_among_others(store: &dyn Store) {
    let named = |n, name: &str| ClientSession {
        key: Some(name.to_owned()),
        ..session(n)
    };
    for (n, name) in [(1, "bob"), (2, "ada"), (3, "eve")] {
        assert_eq!(make(store, &named(n, name)).await, n);
    }
    assert_eq!(make(store, &named(4, "ada")).await, 2);
}

pub(super) async fn what_becomes_of_a_client_session_stays(store: &dyn Store) {
    put(store, commit(1, 0)).await;
    put(store, commit(2, 0)).await;
    make(store, &session(1)).await;
    for change in [
        SessionChange::Grant(id(1)),
        SessionChange::Revoke(at(10)),
        SessionChange::Grant(id(2)),
        SessionChange::Revoke(at(20)),
    ] {
        let changed = store.change_client_session(session(1).id, change).await;
        changed.unwrap();
    }
    let after = one(store, 1).await;
    assert_eq!(after.user_identity, Some(id(1)));
    assert_eq!(after.revoked_at, Some(at(10)));
    let unknown = store.change_client_session(Uuid::nil(), SessionChange::Revoke(at(0)));
    unknown.await.unwrap();

    for _ in 0..2 {
        let deleted = store.delete_client_session(session(1).id, at(30));
        deleted.await.unwrap();
    }
    assert_eq!(found(store, SessionQuery::default()).await, []);
    let told = told(store).await;
    assert_eq!(told.len(), 1, "once");
    assert_eq!(told[0].announcement.client_session, Some(session(1).id));
    assert_eq!(told[0].announcement.user_identity, Some(id(1)));
}

pub(super) async fn client_sessions_end_with_their_identity(store: &dyn Store) {
    for n in [1, 2, 3] {
        put(store, commit(n, 0)).await;
        let session = ClientSession {
            user_identity: Some(id(n)),
            ..session(n)
        };
        make(store, &session).await;
    }
    let leaving = Commit {
        identity: Some(Identity {
            deleting_since: Some(at(5)),
            ..commit(1, 1).identity.unwrap()
        }),
        ..commit(1, 1)
    };
    put(store, leaving).await;
    assert_eq!(found(store, SessionQuery::default()).await, [3, 2]);
    let stale = store.commit(removal(2, 7)).await;
    assert!(stale.is_err());
    assert_eq!(found(store, SessionQuery::default()).await, [3, 2]);
    put(store, removal(2, 1)).await;
    assert_eq!(found(store, SessionQuery::default()).await, [3]);
    let told = told(store).await;
    let whose: Vec<_> = told.iter().map(|e| e.announcement.user_identity).collect();
    assert_eq!(whose, [Some(id(1)), Some(id(2))]);
}

pub(super) async fn forgets_expired_client_sessions(store: &dyn Store) {
    make(store, &session(1)).await;
    store.prune(at(100)).await.unwrap();
    assert_eq!(found(store, SessionQuery::default()).await, [1]);
    store.prune(at(101)).await.unwrap();
    assert_eq!(found(store, SessionQuery::default()).await, []);
    assert_eq!(told(store).await, [], "it was worth nothing");
}
