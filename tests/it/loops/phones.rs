//! Limits of phones, with every call of HID's simulator.

use std::time::Duration;

use origo_adapter::core::phones;
use origo_adapter::core::policy::{OverLimit, PhonePolicy};
use origo_adapter::core::wish::{Target, Wish};

use super::calls::{Life, phone};
use super::person;
use crate::support::scene;

/// With a limit of one phone, which is there with its key; HID's id of it.
async fn one_at_most(over_limit: OverLimit) -> (Life, u64) {
    let mut policy = scene::policy();
    let hq = policy.managers.get_mut(&scene::manager()).unwrap();
    hq.phones = PhonePolicy {
        max_per_identity: 1,
        over_limit,
        ..PhonePolicy::default()
    };
    let mut life = Life::by(policy).await;
    let first = life.enroll().await;
    (life, first)
}

/// The containers that hold a key.
fn holders(life: &Life) -> Vec<u64> {
    let hid = life.rig.wire.hid.lock().unwrap();
    let keys = hid.live_credentials().into_iter();
    keys.filter_map(|key| key.container).collect()
}

/// A further phone; HID's id of it.
async fn another(life: &mut Life) -> u64 {
    life.wish(scene::wish_invite(false)).await;
    assert_eq!(life.minutes(1).await, ["create_invitation"]);
    life.redeem()
}

#[tokio::test]
async fn a_phone_too_many_costs_nothing_until_there_is_room() {
    let (mut life, first) = one_at_most(OverLimit::Refuse).await;
    let second = another(&mut life).await;
    assert_eq!(life.minutes(30).await, [""; 0], "no key and no read");
    assert_eq!(life.keys(), 1);
    let loaded = life.rig.store().load(person(1)).await.unwrap().unwrap();
    let known = loaded.identity.phone(phone(second));
    assert!(known.is_some_and(|(_, phone)| phones::is_over_limit(phone)));
    let now = life.rig.now().0;
    let removed = life.rig.wire.hid.lock().unwrap().remove_phone(now, first);
    assert!(removed);
    life.wish(Wish::Resync(Target::default())).await;
    let calls = life.live(Duration::from_mins(5)).await;
    let issues = calls.iter().filter(|call| **call == "issue");
    assert_eq!(issues.count(), 1, "{calls:?}");
    assert_eq!(holders(&life), [second]);
}

#[tokio::test]
async fn the_oldest_phone_goes_and_the_new_one_gets_its_key() {
    let (mut life, _) = one_at_most(OverLimit::RetireOldest).await;
    let second = another(&mut life).await;
    let calls = life.minutes(10).await;
    assert_eq!(calls[..2], ["delete_phone", "issue"], "{calls:?}");
    assert_eq!(holders(&life), [second]);
}
