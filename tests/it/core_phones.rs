//! Which phones an automation takes in (contract.md section 4, `phones`). Where nothing else is said, phone 900 of
//! invitation 800 belongs to user 700 and part number 1 is wanted.

use origo_adapter::core::effect::Lane;
use origo_adapter::core::observation::{
    Answer, ContainerSeen, ContainerStatus, CredentialStatus as Cs, Device, Fault, Happening,
};
use origo_adapter::core::phones;
use origo_adapter::core::policy::{OverLimit, PhonePolicy, SameDevice};
use origo_adapter::core::state;
use origo_adapter::core::wish::Wish;

use crate::support::lanes::read_lane;
use crate::support::scene::{
    Scene, automation_id, container, invitation, key_lane, key_seen, manager, phone_id, phone_seen,
    wish_launch, wish_parent,
};

fn limit(scene: &mut Scene, most: u32, over_limit: OverLimit, same_device: SameDevice) {
    let hq = scene.policy.managers.get_mut(&manager());
    hq.expect("the manager").phones = PhonePolicy {
        max_per_identity: most,
        over_limit,
        same_device,
    };
}

/// Invited, with a parent, and so many phones may be.
fn limited(most: u32, over_limit: OverLimit) -> Scene {
    let mut scene = Scene::invited();
    limit(&mut scene, most, over_limit, SameDevice::KeepAll);
    scene.wish(wish_parent(1, 1));
    scene
}

fn at_most(most: u32) -> Scene {
    limited(most, OverLimit::Refuse)
}

/// One a second.
fn register(scene: &mut Scene, phones: &[&str]) {
    for phone in phones {
        scene.pass(1);
        scene.phone_active(phone, "800");
    }
}

fn model(scene: &mut Scene, phone: &str, maker: Option<&str>, model: Option<&str>) {
    scene.pass(1);
    scene.event(Happening::PhoneActive {
        container: container(phone),
        invitation: Some(invitation("800")),
        device: Device {
            manufacturer: maker.map(str::to_owned),
            model: model.map(str::to_owned),
            ..Device::default()
        },
    });
}

fn enrolled(scene: &Scene) -> Vec<&str> {
    let phones = scene.enrollment().phones.values();
    let enrolled = phones.filter(|phone| phone.enrolled && phone.removed_at.is_none());
    let mut enrolled: Vec<_> = enrolled.map(|phone| phone.container.as_str()).collect();
    enrolled.sort_unstable();
    enrolled
}

fn over_limit(scene: &Scene, phone: &str) -> bool {
    phones::is_over_limit(scene.phone(phone))
}

/// A read shows the phone while its registration goes on.
fn begins_to_register(scene: &mut Scene, phone: &str) {
    let registering = ContainerSeen {
        status: ContainerStatus::Initialized,
        ..phone_seen(phone, vec![])
    };
    scene.event(Happening::UserOther);
    let seen = scene.user_seen(vec![], vec![registering]);
    scene.does(&read_lane(), Answer::User(seen));
}

fn gone(scene: &mut Scene, phone: &str) {
    for _ in 0..2 {
        scene.event(Happening::PhoneOther {
            container: container(phone),
        });
        scene.fails(&Lane::Phone(phone_id(phone)), Fault::Gone);
    }
    assert_eq!(state::phone(scene.phone(phone)), "removed");
}

#[test]
fn a_phone_beyond_the_limit_gets_no_key_and_says_so() {
    let mut scene = at_most(2);
    register(&mut scene, &["900", "901", "902"]);
    assert_eq!(enrolled(&scene), ["900", "901"]);
    assert!(over_limit(&scene, "902"));
    assert_eq!(state::phone(scene.phone("902")), "active");
    assert_eq!(scene.owes(&key_lane("900", 1)), "issue issue +0");
    assert_eq!(scene.owes(&key_lane("902", 1)), "-");
    assert_eq!(scene.child_state("902", 1), None);
    let entity = format!("phone/{}", phone_id("902"));
    let (_, told) = scene.changes.last().expect("a change");
    assert_eq!(told.entity, entity);
    assert_eq!(told.to.as_deref(), Some("active: over_limit"));
}

#[test]
fn who_waits_longest_is_taken_in_when_there_is_room() {
    for (longer, shorter) in [("902", "903"), ("903", "902")] {
        let mut scene = at_most(2);
        register(&mut scene, &["900", "901", longer, shorter]);
        gone(&mut scene, "900");
        assert_eq!(enrolled(&scene), ["901", longer]);
        assert_eq!(scene.owes(&key_lane(longer, 1)), "issue issue +0");
        assert!(over_limit(&scene, shorter));
        scene.wish(Wish::DeactivatePhone(phone_id(longer)));
        assert_eq!(
            enrolled(&scene),
            ["901", shorter],
            "a lost phone frees its place at once"
        );
    }
}

#[test]
fn a_phone_that_somebody_deletes_frees_its_place_at_once() {
    let mut scene = at_most(1);
    register(&mut scene, &["900", "901"]);
    scene.event(Happening::PhoneOther {
        container: container("900"),
    });
    let leaving = ContainerSeen {
        status: ContainerStatus::Deleting,
        ..phone_seen("900", vec![key_seen("1000", 1, Cs::Issued)])
    };
    scene.does(&Lane::Phone(phone_id("900")), Answer::Phone(leaving));
    assert!(!over_limit(&scene, "901"));
    assert_eq!(scene.owes(&key_lane("901", 1)), "issue issue +0");
}

#[test]
fn one_that_was_deactivated_is_never_taken_in_again() {
    let mut scene = at_most(1);
    register(&mut scene, &["900", "901"]);
    scene.wish(Wish::DeactivatePhone(phone_id("901")));
    assert!(!over_limit(&scene, "901"));
    gone(&mut scene, "900");
    scene.phone_active("901", "800");
    assert_eq!(enrolled(&scene), [""; 0]);
    scene.wish(Wish::DeleteAutomation(automation_id(1)));
    scene.wish(wish_launch(2));
    assert_eq!(enrolled(&scene), [""; 0]);
    assert_eq!(scene.owes(&key_lane("901", 1)), "-");
}

#[test]
fn a_lower_limit_takes_nothing_away_and_a_higher_one_lets_in() {
    let mut scene = at_most(3);
    register(&mut scene, &["900", "901", "902", "903"]);
    limit(&mut scene, 1, OverLimit::Refuse, SameDevice::KeepAll);
    scene.wake();
    assert_eq!(enrolled(&scene), ["900", "901", "902"]);
    gone(&mut scene, "900");
    assert!(over_limit(&scene, "903"), "two are more than one");
    limit(&mut scene, 3, OverLimit::Refuse, SameDevice::KeepAll);
    scene.wake();
    assert_eq!(enrolled(&scene), ["901", "902", "903"]);
}

#[test]
fn a_phone_that_is_not_ready_takes_no_place_and_is_followed() {
    let mut scene = at_most(1);
    begins_to_register(&mut scene, "901");
    assert!(!over_limit(&scene, "901"));
    assert_eq!(
        scene.owes(&Lane::Phone(phone_id("901"))),
        "confirm read_phone +30"
    );
    register(&mut scene, &["900"]);
    assert_eq!(enrolled(&scene), ["900"]);
    scene.phone_active("901", "800");
    assert!(over_limit(&scene, "901"));
}

#[test]
fn one_that_is_deactivated_before_it_is_ready_is_followed_no_more() {
    let mut scene = at_most(1);
    begins_to_register(&mut scene, "901");
    scene.wish(Wish::DeactivatePhone(phone_id("901")));
    assert_eq!(scene.owes(&Lane::Phone(phone_id("901"))), "-");
    assert_eq!(
        scene.owes(&Lane::Removal(phone_id("901"))),
        "withdrawal delete_phone +0"
    );
}

#[test]
fn a_stop_ends_the_waiting_and_a_launch_begins_it_anew() {
    let mut scene = at_most(1);
    register(&mut scene, &["900", "901"]);
    scene.wish(Wish::DeleteAutomation(automation_id(1)));
    assert!(!over_limit(&scene, "901"));
    gone(&mut scene, "900");
    assert_eq!(enrolled(&scene), [""; 0]);
    scene.wish(wish_launch(2));
    assert_eq!(enrolled(&scene), ["901"]);
}

#[test]
fn who_has_a_place_keeps_it_through_a_stop_and_a_launch() {
    for beyond in [OverLimit::Refuse, OverLimit::RetireOldest] {
        let mut scene = limited(1, beyond);
        register(&mut scene, &["900"]);
        scene.wish(Wish::DeleteAutomation(automation_id(1)));
        scene.wish(wish_launch(2));
        assert!(!over_limit(&scene, "900"), "{beyond:?}");
        assert_eq!(state::phone(scene.phone("900")), "active", "{beyond:?}");
        assert_eq!(scene.owes(&key_lane("900", 1)), "issue issue +0");
    }
}

#[test]
fn the_oldest_makes_room_and_no_invitation_is_taken_back() {
    let mut scene = limited(2, OverLimit::RetireOldest);
    register(&mut scene, &["902", "901", "900"]);
    assert_eq!(enrolled(&scene), ["900", "901"]);
    assert_eq!(state::phone(scene.phone("902")), "removing");
    assert_eq!(
        scene.owes(&Lane::Removal(phone_id("902"))),
        "withdrawal delete_phone +0"
    );
    assert_eq!(scene.owes(&key_lane("900", 1)), "issue issue +0");
    assert!(!scene.enrollment().invite.barred);
    scene.phone_active("902", "800");
    assert_eq!(enrolled(&scene), ["900", "901"], "it does not come back");
}

#[test]
fn of_many_found_at_once_as_many_stay_as_may() {
    let mut scene = limited(2, OverLimit::RetireOldest);
    scene.event(Happening::UserOther);
    let phones = ["900", "901", "902", "903"];
    let found = phones.map(|id| phone_seen(id, vec![key_seen(&format!("1{id}"), 1, Cs::Issued)]));
    let seen = scene.user_seen(vec![], found.to_vec());
    scene.does(&read_lane(), Answer::User(seen));
    assert_eq!(enrolled(&scene).len(), 2);
    let leaving = phones.iter().filter(|id| scene.phone(id).removal.is_some());
    assert_eq!(leaving.count(), 2);
}

#[test]
fn a_newer_phone_of_the_same_model_replaces_the_older_one() {
    let mut scene = at_most(5);
    limit(&mut scene, 2, OverLimit::Refuse, SameDevice::KeepNewest);
    model(&mut scene, "900", Some("Apple"), Some("iPhone15,2"));
    model(&mut scene, "901", Some("Samsung"), Some("S10"));
    model(&mut scene, "902", Some("apple "), Some("IPHONE15,2"));
    assert_eq!(enrolled(&scene), ["901", "902"], "and its place is free");
    assert_eq!(scene.owes(&key_lane("902", 1)), "issue issue +0");
    assert_eq!(state::phone(scene.phone("900")), "removing");
    assert!(!scene.enrollment().invite.barred);
}

#[test]
fn what_is_not_known_to_be_the_same_stays() {
    let phone = (Some("Apple"), Some("iPhone15,2"));
    for other in [
        (Some("Apple"), Some("iPhone15,3")),
        (Some("Samsung"), Some("iPhone15,2")),
        (Some("Apple"), Some(" ")),
        (Some("Apple"), None),
        (None, Some("iPhone15,2")),
    ] {
        for pair in [[phone, other], [other, other]] {
            let mut scene = at_most(5);
            limit(&mut scene, 5, OverLimit::Refuse, SameDevice::KeepNewest);
            model(&mut scene, "900", pair[0].0, pair[0].1);
            model(&mut scene, "901", pair[1].0, pair[1].1);
            let known =
                pair[0] == pair[1] && other.0.is_some() && other.1.is_some_and(|m| m != " ");
            let stay = if known {
                vec!["901"]
            } else {
                vec!["900", "901"]
            };
            assert_eq!(enrolled(&scene), stay, "{pair:?}");
        }
    }
    let mut both = at_most(5);
    model(&mut both, "900", Some("Apple"), Some("iPhone15,2"));
    model(&mut both, "901", Some("Apple"), Some("iPhone15,2"));
    assert_eq!(enrolled(&both), ["900", "901"], "unless asked otherwise");
    limit(&mut both, 5, OverLimit::Refuse, SameDevice::KeepNewest);
    both.pass(60);
    both.wake();
    assert_eq!(enrolled(&both), ["900", "901"], "nobody came");
}

#[test]
fn of_two_that_turned_up_together_both_stay() {
    let mut scene = at_most(5);
    limit(&mut scene, 5, OverLimit::Refuse, SameDevice::KeepNewest);
    let device = Device {
        manufacturer: Some("Apple".into()),
        model: Some("iPhone15,2".into()),
        ..Device::default()
    };
    let found = ["900", "901"].map(|id| ContainerSeen {
        device: device.clone(),
        ..phone_seen(id, vec![])
    });
    scene.event(Happening::UserOther);
    let seen = scene.user_seen(vec![], found.to_vec());
    scene.does(&read_lane(), Answer::User(seen));
    assert_eq!(enrolled(&scene), ["900", "901"]);
}

#[test]
fn a_manager_that_is_configured_no_more_lets_nobody_in() {
    let mut scene = at_most(5);
    scene.policy.managers.clear();
    register(&mut scene, &["900"]);
    assert_eq!(enrolled(&scene), [""; 0]);
    assert_eq!(scene.owed.get(&Lane::Phone(phone_id("900"))), None);
}
