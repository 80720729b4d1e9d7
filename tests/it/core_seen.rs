//! What is kept of a read or an answer, field by field. Where nothing else is said, phone 900 of invitation 800 belongs
//! to user 700 and part number 1 is wanted.

use origo_adapter::core::effect::Lane;
use origo_adapter::core::identity::{DoubtStage, Trouble};
use origo_adapter::core::ids::Timestamp;
use origo_adapter::core::observation::{
    Answer, ContainerSeen, ContainerStatus, CredentialStatus as Cs, Device, Fault, Happening,
    InvitationStatus as Is, Observation, Rejection, UserSeen,
};
use origo_adapter::core::step;
use origo_adapter::core::wish::Wish;

use crate::support::lanes::{invitation_lane, phone_lane, phone_other, read_lane, user_lane};
use crate::support::scene::{
    START, Scene, credential, hid_user, invitation, invitation_seen, key_lane, key_seen, manager,
    phone_id, phone_seen, wish_invite, wish_launch, wish_parent,
};

fn on_phone() -> ContainerSeen {
    phone_seen("900", vec![key_seen("1000", 1, Cs::Issued)])
}

fn reads(scene: &mut Scene, seen: ContainerSeen) {
    scene.event(phone_other());
    scene.does(&phone_lane(), Answer::Phone(seen));
}

#[test]
fn an_invitation_is_for_the_installation_that_asked() {
    let mut scene = Scene::with_phone();
    scene.wish(Wish::Invite {
        manager: manager(),
        installation: Some("app-1".into()),
        resend: false,
    });
    scene.fails(&invitation_lane(), Fault::Busy);
    let seen = || invitation_seen("801", Is::Pending);
    scene.does(&invitation_lane(), Answer::InvitationCreated(seen()));
    let made = &scene.enrollment().invitations[&invitation("801")];
    assert_eq!(made.installation.as_deref(), Some("app-1"));
    let invite = &scene.enrollment().invite;
    assert_eq!(invite.installation, None, "the next may be another's");
    assert_eq!(invite.trouble, Trouble::default());
}

#[test]
fn a_new_invitation_is_not_mailed_again_for_the_one_before() {
    let mut scene = Scene::invited();
    scene.wish(wish_invite(true));
    scene.invitation_event("800", Is::Expired);
    let seen = invitation_seen("801", Is::Pending);
    scene.does(&invitation_lane(), Answer::InvitationCreated(seen));
    assert_eq!(scene.owes(&invitation_lane()), "-");
}

#[test]
fn a_code_once_shown_is_kept() {
    let code = || Some(origo_adapter::core::ids::InvitationCode("AAAA".into()));
    let mut scene = Scene::invited();
    for shown in [code(), None] {
        scene.event(Happening::UserOther);
        let mut seen = invitation_seen("800", Is::Pending);
        seen.code = shown;
        seen.expires_at = None;
        let user = scene.user_seen(vec![seen], vec![]);
        scene.does(&Lane::Read(manager()), Answer::User(user));
        let known = &scene.enrollment().invitations[&invitation("800")];
        assert_eq!(known.code, code());
        assert!(known.expires_at.is_some());
    }
}

#[test]
fn a_phone_is_what_the_last_read_says() {
    let mut scene = Scene::issued();
    let device = Device {
        model: Some("Pixel".into()),
        ..Device::default()
    };
    let seen = ContainerSeen {
        device: device.clone(),
        ..on_phone()
    };
    reads(&mut scene, seen);
    assert_eq!(scene.phone("900").device, device);
    assert_eq!(scene.phone("900").read_at, Some(scene.now));
}

#[test]
fn one_read_that_shows_the_phone_makes_up_for_those_that_did_not() {
    let mut scene = Scene::issued();
    for _ in 0..2 {
        scene.event(phone_other());
        scene.fails(&phone_lane(), Fault::Gone);
        assert_eq!(scene.phone("900").read_at, Some(scene.now));
        assert!(scene.phone("900").missing_since.is_some());
        scene.does(&phone_lane(), Answer::Phone(on_phone()));
        assert_eq!(scene.phone("900").missing_since, None);
    }
    scene.event(phone_other());
    scene.fails(&phone_lane(), Fault::Busy);
    assert_eq!(scene.phone("900").trouble.failures, 1);
    scene.does(&phone_lane(), Answer::Phone(on_phone()));
    assert_eq!(scene.phone("900").trouble, Trouble::default());
}

#[test]
fn one_read_that_shows_the_key_makes_up_for_those_that_did_not() {
    let mut scene = Scene::issued();
    for _ in 0..2 {
        reads(&mut scene, phone_seen("900", vec![]));
        reads(&mut scene, on_phone());
        let held = &scene.key("900", 1).held[&credential("1000")];
        assert_eq!(held.missing_since, None);
        scene.pass(60);
    }
}

#[test]
fn a_card_number_once_shown_is_kept() {
    let mut scene = Scene::with_parent();
    let shown = |number: Option<&str>| {
        let mut seen = key_seen("1000", 1, Cs::Issued);
        seen.card_number = number.map(str::to_owned);
        seen
    };
    scene.does(&key_lane("900", 1), Answer::Issued(shown(None)));
    for (number, known) in [(Some("7"), "7"), (None, "7"), (Some("8"), "8")] {
        reads(&mut scene, phone_seen("900", vec![shown(number)]));
        let held = &scene.key("900", 1).held[&credential("1000")];
        assert_eq!(held.card_number.as_deref(), Some(known));
    }
}

#[test]
fn a_deletion_that_shows_was_not_refused() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    let lane = Lane::Removal(phone_id("900"));
    scene.fails(&lane, Fault::Rejected(Rejection::Other));
    let seen = ContainerSeen {
        status: ContainerStatus::Deleting,
        ..on_phone()
    };
    scene.does(&phone_lane(), Answer::Phone(seen));
    assert_eq!(scene.owes_key(), "-", "its keys go with it");
    assert_eq!(scene.owes(&lane), "-");
}

#[test]
fn nothing_of_a_phone_outlives_it() {
    let mut scene = Scene::in_doubt();
    for _ in 0..2 {
        scene.event(phone_other());
        scene.fails(&phone_lane(), Fault::Gone);
    }
    assert_eq!(scene.key("900", 1).doubt.stage, DoubtStage::Settled);
    assert_eq!(scene.key_state("900", 1), "revoked");
    let mut scene = Scene::issued();
    for _ in 0..2 {
        scene.event(phone_other());
        let call = scene.start(&phone_lane());
        scene.pass(1);
        scene.event(phone_other());
        scene.fail(call, Fault::Gone);
    }
    assert!(scene.phone("900").removed_at.is_some());
    assert_eq!(scene.phone("900").look, None);
    let key = scene.key("900", 1);
    assert_eq!((&key.current, key.held.len()), (&None, 0));
}

// ---- what the store forgot ----

/// The takeover reads a user of HID's that bears the person's id.
fn adopts(scene: &mut Scene, user: UserSeen, began: Timestamp) {
    let adopted = Observation::Adopted {
        manager: manager(),
        user,
        began,
    };
    let after = step(&scene.policy, scene.is(), &adopted, scene.now).identity;
    scene.change(|identity| *identity = after.expect("the identity is there"));
}

#[test]
fn a_forgotten_user_is_ours_with_all_that_hangs_below() {
    let mut scene = Scene::new();
    let pending = vec![invitation_seen("800", Is::Pending)];
    let user = scene.user_seen(pending, vec![on_phone()]);
    adopts(&mut scene, user, START);
    assert_eq!(scene.user_state(), "present");
    let owed = scene.owes(&invitation_lane());
    assert_eq!(owed, "withdrawal cancel_invitation +0", "none is wanted");
    scene.wish(wish_launch(1));
    scene.wish(wish_parent(1, 1));
    let open = scene.enrollment().open_invitation();
    assert_eq!(open.map(|(id, _)| id), Some(&invitation("800")));
    assert_eq!(scene.key_state("900", 1), "issued", "and not once more");
    let owed = scene.owes(&user_lane());
    assert_eq!(owed, "enroll update_user +0", "HID may know older data");
}

#[test]
fn of_two_users_with_the_same_mark_the_known_one_stays() {
    let mut scene = Scene::invited();
    let other = UserSeen {
        id: hid_user("701"),
        ..scene.user_seen(vec![], vec![])
    };
    adopts(&mut scene, other, START);
    assert_eq!(scene.enrollment().user_id(), Some(&hid_user("700")));
}

#[test]
fn a_forgotten_user_on_its_way_out_is_waited_for() {
    let mut scene = Scene::new();
    let leaving = UserSeen {
        deleting: true,
        ..scene.user_seen(vec![], vec![])
    };
    adopts(&mut scene, leaving, START);
    assert_eq!(scene.user_state(), "taken");
}

#[test]
fn a_phone_that_registers_while_a_forgotten_user_is_read_is_looked_for() {
    for (seconds, owed) in [(1, "-"), (2, "confirm read_user +0")] {
        let mut scene = Scene::new();
        scene.pass(seconds);
        let user = scene.user_seen(vec![], vec![]);
        adopts(&mut scene, user, START);
        assert_eq!(scene.owes(&read_lane()), owed);
    }
}
