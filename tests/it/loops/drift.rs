//! What somebody else takes away at HID's simulator, with every call of ours.

use std::time::Duration;

use origo_adapter::core::policy::DriftPolicy;
use origo_adapter::core::wish::{Target, Wish};

use super::calls::Life;
use crate::support::scene;

async fn life(drift: DriftPolicy) -> Life {
    let mut policy = scene::policy();
    let hq = policy.managers.get_mut(&scene::manager()).unwrap();
    hq.drift = drift;
    let mut life = Life::by(policy).await;
    life.enroll().await;
    life
}

/// Somebody revokes the only key, and an operator has us look.
async fn revoked(life: &mut Life) -> Vec<&'static str> {
    {
        let mut hid = life.rig.wire.hid.lock().unwrap();
        let key = hid.live_credentials()[0].credential;
        hid.portal_revoke(life.rig.now().0, key).unwrap();
    }
    life.minutes(5).await;
    life.wish(Wish::Resync(Target::default())).await;
    life.minutes(30).await
}

fn issues(calls: &[&str]) -> usize {
    calls.iter().filter(|call| **call == "issue").count()
}

#[tokio::test]
async fn a_key_is_issued_again_once_where_that_is_wanted() {
    let mut reported = life(DriftPolicy::Report).await;
    let calls = revoked(&mut reported).await;
    assert_eq!((issues(&calls), reported.keys()), (0, 0), "{calls:?}");

    let mut repaired = life(DriftPolicy::Repair).await;
    let calls = revoked(&mut repaired).await;
    assert_eq!((issues(&calls), repaired.keys()), (1, 1), "{calls:?}");
    let calls = revoked(&mut repaired).await;
    assert_eq!(
        (issues(&calls), repaired.keys()),
        (0, 0),
        "no fight: {calls:?}"
    );
    repaired.wish(Wish::Retry(Target::default())).await;
    let calls = repaired.minutes(5).await;
    assert_eq!((issues(&calls), repaired.keys()), (1, 1), "{calls:?}");
}

#[tokio::test]
async fn what_the_guard_does_not_let_through_waits_for_a_person() {
    for limit in [0, 1] {
        let mut policy = scene::policy();
        policy.repairs_guard = Some((limit, Duration::from_hours(1)));
        let hq = policy.managers.get_mut(&scene::manager()).unwrap();
        hq.drift = DriftPolicy::Repair;
        let mut life = Life::by(policy).await;
        life.enroll().await;
        let calls = revoked(&mut life).await;
        let repaired = usize::try_from(limit).unwrap();
        assert_eq!(
            (issues(&calls), life.keys()),
            (repaired, repaired),
            "{calls:?}"
        );
        life.wish(Wish::Release).await;
        let calls = life.minutes(5).await;
        assert_eq!(issues(&calls), 1 - repaired, "{calls:?}");
        assert_eq!(life.keys(), 1);
    }
}

#[tokio::test]
async fn a_user_is_made_again_and_the_person_enrolls_anew() {
    let mut life = life(DriftPolicy::Repair).await;
    {
        let mut hid = life.rig.wire.hid.lock().unwrap();
        let user = hid.user_by_external_id(&super::person(1).to_string());
        hid.portal_delete_user(life.rig.now().0, user.unwrap())
            .unwrap();
    }
    life.wish(Wish::Resync(Target::default())).await;
    let calls = life.minutes(60).await;
    let created = calls.iter().filter(|call| **call == "create_user");
    assert_eq!(created.count(), 1, "{calls:?}");
    assert_eq!(life.keys(), 0);
    life.redeem();
    assert_eq!(life.minutes(1).await, ["issue"]);
    assert_eq!(life.keys(), 1);
}
