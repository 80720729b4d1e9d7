//! A new wish is a new try, and an end leaves nothing over for a new beginning. Where nothing else is said, phone 900 of
//! invitation 800 belongs to user 700 and part number 1 is wanted.

use origo_adapter::core::effect::Lane;
use origo_adapter::core::identity::{AcsUser, Parent};
use origo_adapter::core::ids::{AcsUserId, ParentId, Personal};
use origo_adapter::core::observation::{
    Answer, CredentialStatus as Cs, Fault, InvitationStatus as Is, Rejection,
};
use origo_adapter::core::wish::Wish;
use uuid::Uuid;

use crate::support::lanes::{invitation_lane, phone_other};
use crate::support::scene::{
    START, Scene, acs_user, ada_as, automation_id, credential, doors, invitation, invitation_seen,
    key_lane, key_seen, manager, parent_id, phone_id, wish_acs_user, wish_invite, wish_launch,
    wish_parent,
};

fn stop(scene: &mut Scene) {
    scene.wish(Wish::DeleteAutomation(automation_id(1)));
}

fn dates() -> Wish {
    Wish::SetDates {
        id: parent_id(1),
        starts_at: Some(START),
        ends_at: None,
    }
}

/// A parent of part number 1 that comes with a user of its own.
fn taken_in() -> Wish {
    let user = AcsUserId(Uuid::from_u128(0xAD));
    let mut home = Scene::empty();
    home.wish(Wish::AcsUser {
        id: user,
        acs_system: manager(),
        full_name: None,
        email_address: None,
        phone_number: None,
    });
    let mut wish = wish_parent(2, 1);
    if let Wish::Parent { acs_user, .. } = &mut wish {
        *acs_user = user;
    }
    home.wish(wish);
    let users: Vec<(AcsUserId, AcsUser)> = home.is().acs_users.clone().into_iter().collect();
    let parents: Vec<(ParentId, Parent)> = home.is().parents.clone().into_iter().collect();
    Wish::TakeIn { users, parents }
}

#[test]
fn a_refused_or_failing_key_is_tried_at_once_by_any_new_wish() {
    for fault in [Fault::Rejected(Rejection::Other), Fault::Busy] {
        for wish in [wish_parent(2, 1), dates(), taken_in()] {
            let mut scene = Scene::with_parent();
            scene.fails(&key_lane("900", 1), fault);
            assert_ne!(scene.owes_key(), "issue issue +0");
            scene.wish(wish.clone());
            assert_eq!(scene.owes_key(), "issue issue +0", "{fault:?} {wish:?}");
        }
    }
}

#[test]
fn a_refused_update_is_tried_again_by_a_new_wish() {
    for wish in [wish_launch(2), wish_parent(2, 1)] {
        let mut scene = Scene::issued();
        scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
        scene.fails(&Lane::CmUser(manager()), Fault::Conflict);
        assert_eq!(scene.owes(&Lane::CmUser(manager())), "-");
        scene.wish(wish);
        let owed = scene.owes(&Lane::CmUser(manager()));
        assert_eq!(owed, "enroll update_user +0");
    }
}

#[test]
fn a_key_that_turns_up_ends_what_stood_against_it() {
    for fault in [Fault::Rejected(Rejection::Other), Fault::OutOfStock] {
        let mut scene = Scene::with_parent();
        scene.fails(&key_lane("900", 1), fault);
        let key = scene.key("900", 1);
        assert!(key.failed.is_some() || key.out_of_stock_since.is_some());
        scene.event(phone_other());
        scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
        let key = scene.key("900", 1);
        assert_eq!(key.current, Some(credential("1000")));
        assert_eq!((key.failed, key.out_of_stock_since), (None, None));
    }
}

#[test]
fn a_deactivation_takes_back_an_invitation_that_was_not_made_yet() {
    let mut scene = Scene::with_phone();
    scene.invitation_event("800", Is::Acknowledged);
    scene.wish(wish_invite(false));
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    assert_eq!(scene.owes(&invitation_lane()), "-");
    assert!(!scene.phone("900").enrolled);
}

#[test]
fn a_stop_takes_back_a_mail_that_did_not_go_out_yet() {
    let mut scene = Scene::invited();
    scene.wish(wish_invite(true));
    stop(&mut scene);
    scene.wish(wish_launch(2));
    assert_eq!(scene.owes(&invitation_lane()), "-");
    assert!(!scene.enrollment().invitations[&invitation("800")].cancel);
}

#[test]
fn a_launch_after_a_deactivation_invites() {
    let mut scene = Scene::with_phone();
    scene.invitation_event("800", Is::Acknowledged);
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    stop(&mut scene);
    scene.wish(wish_launch(2));
    let owed = scene.owes(&invitation_lane());
    assert_eq!(owed, "enroll create_invitation +0");
}

/// All its renewals are used up.
fn worn_out() -> Scene {
    let mut scene = Scene::invited();
    for (before, next) in [("800", "801"), ("801", "802"), ("802", "803")] {
        scene.invitation_event(before, Is::Expired);
        let seen = invitation_seen(next, Is::Pending);
        scene.does(&invitation_lane(), Answer::InvitationCreated(seen));
    }
    scene.invitation_event("803", Is::Expired);
    assert_eq!(scene.owes(&invitation_lane()), "-");
    scene
}

#[test]
fn whoever_is_invited_anew_has_all_renewals() {
    for again in [
        vec![wish_invite(false)],
        vec![Wish::DeleteAutomation(automation_id(1)), wish_launch(2)],
    ] {
        let mut scene = worn_out();
        for wish in again {
            scene.wish(wish);
        }
        let seen = invitation_seen("804", Is::Pending);
        scene.does(&invitation_lane(), Answer::InvitationCreated(seen));
        scene.invitation_event("804", Is::Expired);
        let owed = scene.owes(&invitation_lane());
        assert_eq!(owed, "enroll create_invitation +0");
    }
}

#[test]
fn nobody_waits_for_a_phone_of_an_invitation_that_hid_refused() {
    for status in [
        Is::Cancelled,
        Is::CancelInitiated,
        Is::NotSupported,
        Is::NotEligible,
    ] {
        let mut scene = Scene::invited();
        scene.invitation_event("800", status);
        assert!(scene.enrollment().invitations[&invitation("800")].closed);
        assert_eq!(scene.owes(&Lane::Wait(manager())), "-");
    }
}

#[test]
fn a_record_is_changed_as_a_whole() {
    let mut scene = Scene::new();
    let text = |text: &str| Some(Personal(text.into()));
    let hid = Some(Uuid::from_u128(7));
    scene.wish(Wish::ChangeAcsUser {
        id: acs_user(),
        full_name: text("Ada"),
        email_address: text("ada@example.org"),
        phone_number: text("+15550100"),
        hid_acs_system_id: hid,
    });
    let user = &scene.is().acs_users[&acs_user()];
    assert_eq!(user.full_name, text("Ada"));
    assert_eq!(user.email_address, text("ada@example.org"));
    assert_eq!(user.phone_number, text("+15550100"));
    assert_eq!(user.hid_acs_system_id, hid);
    scene.wish(wish_acs_user());
    assert_eq!(scene.is().acs_users[&acs_user()].acs_system, doors());
}

#[test]
fn a_parent_can_be_given_to_another_user() {
    let mut scene = Scene::with_parent();
    let other = AcsUserId(Uuid::from_u128(0xAD));
    scene.wish(Wish::AcsUser {
        id: other,
        acs_system: manager(),
        full_name: None,
        email_address: None,
        phone_number: None,
    });
    scene.wish(Wish::Assign(parent_id(1), Some(other)));
    assert_eq!(scene.is().parents[&parent_id(1)].acs_user, other);
}
