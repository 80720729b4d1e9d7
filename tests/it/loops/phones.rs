//! Limits of phones, with every call of HID's simulator.

use std::time::Duration;

use origo_adapter::core::policy::{OverLimit, PhonePolicy};
use origo_adapter::core::phones;

use super::calls::{Life, phone};
use super::person;
use crate::support::scene;

/// With a limit of one phone, which is there with its key.
async fn one_at_most(over_limit: OverLimit) -> Life {
    let (life, _) = Life::enrolled().await;
    let mut policy = scene::policy();
    let hq = policy.managers.get_mut(&scene::manager()).unwrap();
    hq.phones = PhonePolicy {
        max_per_identity: 1,
        over_limit,
        ..PhonePolicy::default()
    };
    life.rig.engine.reload(policy);
    life
}

/// A further phone; HID's id of it.
async fn another(life: &mut Life) -> u64 {
    life.wish(scene::wish_invite(false)).await;
    assert_eq!(life.minutes(1).await, ["create_invitation"]);
    life.redeem()
}

#[tokio::test]
async fn a_phone_too_many_costs_nothing_until_there_is_room() {
    let mut life = one_at_most(OverLimit::Refuse).await;
    let second = another(&mut life).await;
    assert_eq!(life.minutes(30).await, [""; 0], "no key and no read");
    assert_eq!(life.keys(), 1);
    let loaded = life.rig.store().load(person(1)).await.unwrap().unwrap();
    let known = loaded.identity.phone(phone(second));
    assert!(known.is_some_and(|(_, phone)| phones::is_over_limit(phone)));
    life.remove_first();
    let calls = life.live(Duration::from_mins(5)).await;
    let issues = calls.iter().filter(|call| **call == "issue");
    assert_eq!(issues.count(), 1, "{calls:?}");
    assert_eq!(life.keys(), 1, "the second phone's");
}

#[tokio::test]
async fn the_oldest_phone_goes_and_the_new_one_gets_its_key() {
    let mut life = one_at_most(OverLimit::RetireOldest).await;
    let second = another(&mut life).await;
    let calls = life.minutes(10).await;
    assert_eq!(calls[..2], ["delete_phone", "issue"], "{calls:?}");
    assert_eq!(life.keys(), 1);
    assert_eq!(life.holders(), [second]);
}
