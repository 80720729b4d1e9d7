//! What the engine commits, and what it leaves alone.

use origo_adapter::core::ids::CallNo;
use origo_adapter::core::observation::{Answer, Observation, UserSeen};
use origo_adapter::core::wish::{Target, Wish};
use origo_adapter::core::{Lane, Policy, identity::InFlight};
use origo_adapter::engine::WishError;
use origo_adapter::store::{Claim, Slot, Window};
use uuid::Uuid;

use super::calls::Life;
use super::{Rig, automation, person};
use crate::support::lines::Lines;
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

fn claim(rig: &Rig, n: u128) -> (Claim, Slot) {
    let claim = Claim {
        token: Uuid::from_u128(n),
        lease_until: rig.now(),
    };
    let slot = Slot {
        token: claim.token,
        windows: vec![Window {
            key: "w".into(),
            limit: 1,
        }],
        at: rig.now(),
        frees_at: rig.now(),
    };
    (claim, slot)
}

/// Person 1, whose user is being made.
async fn under_way() -> (Rig, Claim, Slot) {
    let rig = Rig::new(|_| {});
    rig.launch(1).await;
    let (claim, slot) = claim(&rig, 7);
    let lane = Lane::CmUser(scene::manager());
    let started = rig.engine.start(person(1), &lane, &claim, &slot).await;
    assert!(started.unwrap().is_some());
    (rig, claim, slot)
}

/// Two look for claims of the dead at once: the slower one finds one that is alive in the place of that.
#[tokio::test]
async fn only_the_claim_that_was_found_abandoned_is_taken_over() {
    let (rig, claim, _) = under_way().await;
    let dead = Uuid::from_u128(6);
    assert!(!rig.engine.recover(person(1), dead).await.unwrap());
    let loaded = rig.store().load(person(1)).await.unwrap().unwrap();
    assert_eq!(loaded.claim.as_ref(), Some(&claim));
    assert!(loaded.identity.in_flight.is_some());
    assert!(rig.engine.recover(person(1), claim.token).await.unwrap());
    assert!(!rig.engine.recover(person(1), claim.token).await.unwrap());
}

#[tokio::test]
async fn a_claim_is_given_back_even_if_nothing_changes() {
    let (rig, claim, slot) = under_way().await;
    let lane = Lane::CmUser(scene::manager());
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

#[tokio::test]
async fn another_policy_is_in_force_at_once_and_a_store_that_went_back_stays_one() {
    let rig = Rig::new(|_| {});
    let went_back = Some(rig.now());
    rig.engine.read_again(rig.now());
    let policy = Policy {
        give_up_after: scene::secs(7),
        ..scene::policy()
    };
    rig.engine.renew(policy.clone());
    let expected = Policy {
        regressed_at: went_back,
        ..policy
    };
    assert_eq!(*rig.engine.policy(), expected);
}

#[tokio::test]
async fn whom_hid_knows_and_nobody_here_is_taken_over_once() {
    let rig = Rig::new(|_| {});
    let user = scene::hid_user("700");
    let seen = Observation::Adopted {
        manager: scene::manager(),
        user: UserSeen {
            id: user.clone(),
            external_id: Some(person(1).to_string()),
            deleting: false,
            invitations: vec![],
            containers: vec![],
        },
        began: rig.now(),
    };
    for _ in 0..2 {
        rig.engine.meet(person(1), &seen, "adopt").await.unwrap();
        let loaded = rig.store().load(person(1)).await.unwrap().unwrap();
        let enrollment = &loaded.identity.enrollments[&scene::manager()];
        assert_eq!(enrollment.user_id(), Some(&user));
    }
}

#[tokio::test]
async fn what_somebody_else_takes_away_is_told_once() {
    let lines = Lines::listen();
    let mut life = Life::by(scene::policy()).await;
    life.enroll().await;
    {
        let mut hid = life.rig.wire.hid.lock().unwrap();
        let key = hid.live_credentials()[0].credential;
        hid.portal_revoke(life.rig.now().0, key).unwrap();
    }
    life.minutes(5).await;
    life.wish(Wish::Resync(Target::default())).await;
    life.minutes(30).await;
    let told = lines.told("drift.found");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["identity.id"], person(1).to_string());
    assert_eq!(told[0]["drift.what"], "key_revoked");
    assert_eq!(told[0]["drift.repaired"], false);
}
