//! What the engine commits, and what it leaves alone.

use origo_adapter::core::ids::CallNo;
use origo_adapter::core::observation::{Answer, Observation};
use origo_adapter::core::wish::Wish;
use origo_adapter::core::{Lane, identity::InFlight};
use origo_adapter::engine::WishError;
use origo_adapter::store::{Claim, Window};
use uuid::Uuid;

use super::{Rig, automation, person};
use crate::support::scene;

#[tokio::test]
async fn what_changes_nothing_is_not_written() {
    let rig = Rig::new(|_| {});
    rig.launch(1).await;
    let before = rig.store().load(person(1)).await.unwrap().unwrap();
    let seen = unknown_call();
    let told = rig.engine.observe(person(1), &seen, "test").await.unwrap();
    assert_eq!(told.as_ref(), Some(&before.identity));
    let after = rig.store().load(person(1)).await.unwrap().unwrap();
    assert_eq!(after.revision, before.revision);
    let nobody = rig.engine.observe(person(9), &seen, "test").await.unwrap();
    assert_eq!(nobody, None);
}

/// The answer of a call that the identity does not know.
fn unknown_call() -> Observation {
    let call = InFlight {
        call: CallNo(77),
        lane: Lane::CmUser(scene::manager()),
        effect: origo_adapter::core::Effect::Wake,
        started_at: scene::START,
    };
    Observation::Answered(call, Answer::UserUpdated)
}

#[tokio::test]
async fn a_claim_is_given_back_even_if_nothing_changes() {
    let rig = Rig::new(|_| {});
    rig.launch(1).await;
    let claim = Claim {
        token: Uuid::from_u128(7),
        lease_until: rig.now(),
    };
    let slot = origo_adapter::store::Slot {
        token: claim.token,
        windows: vec![Window {
            key: "w".into(),
            limit: 1,
        }],
        at: rig.now(),
        frees_at: rig.now(),
    };
    let lane = Lane::CmUser(scene::manager());
    let started = rig.engine.start(person(1), &lane, &claim, &slot).await;
    assert!(started.unwrap().is_some());
    let again = rig.engine.start(person(1), &lane, &claim, &slot).await;
    assert_eq!(again.unwrap(), None, "under way");
    let loaded = rig.store().load(person(1)).await.unwrap().unwrap();
    assert!(loaded.claim.is_some());
    let seen = unknown_call();
    let finished = rig.engine.finish(person(1), &seen, &claim, None).await;
    assert!(finished.unwrap().is_some());
    let loaded = rig.store().load(person(1)).await.unwrap().unwrap();
    assert_eq!(loaded.claim, None);
}

#[tokio::test]
async fn an_identity_begins_once_in_its_journal() {
    let rig = Rig::new(|_| {});
    rig.launch(1).await;
    rig.wish(1, &[Wish::DeleteAutomation(automation(1))]).await;
    let rows = rig.store().journal(person(1)).await.unwrap();
    let entity = format!("identity/{}", person(1));
    let begun: Vec<_> = rows
        .iter()
        .filter(|row| row.change.entity == entity)
        .map(|row| (row.change.from.as_deref(), row.change.to.as_deref()))
        .collect();
    assert_eq!(begun, [(None, Some("present"))]);
    assert!(rows.iter().all(|row| row.cause == "test"));
}

#[tokio::test]
async fn a_wish_that_is_refused_or_empty_writes_nothing_and_commits_are_told() {
    let rig = Rig::new(|_| {});
    let mut commits = rig.engine.commits();
    let refused = rig.engine.wish(person(1), "test", |known| {
        assert_eq!(known, None);
        Err("no")
    });
    assert!(matches!(refused.await, Err(WishError::Refused("no"))));
    let empty = rig.engine.wish(person(1), "test", |_| Ok::<_, ()>(vec![]));
    assert!(matches!(empty.await, Ok(None)));
    assert!(!commits.has_changed().unwrap());
    assert_eq!(rig.store().load(person(1)).await.unwrap(), None);
    rig.launch(1).await;
    assert!(commits.has_changed().unwrap());
    commits.mark_unchanged();
    rig.pass(std::time::Duration::from_secs(1));
    let known = rig.engine.wish(person(1), "test", |known| {
        assert!(known.is_some());
        Ok::<_, ()>(vec![])
    });
    assert!(known.await.unwrap().is_some());
    assert!(!commits.has_changed().unwrap());
}
