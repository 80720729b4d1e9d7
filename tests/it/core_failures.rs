//! What failures leave behind, and what ends them. Where nothing else is said, phone 900 of invitation 800 belongs to
//! user 700 and part number 1 is wanted.

use origo_adapter::core::effect::Lane;
use origo_adapter::core::identity::{Told, Trouble};
use origo_adapter::core::observation::{
    Answer, ContainerSeen, ContainerStatus, CredentialStatus as Cs, Fault, Happening,
    InvitationStatus as Is, Rejection,
};
use origo_adapter::core::wish::Wish;

use crate::support::lanes::{
    invitation_lane, launched, phone_other, read_lane, removal_lane, user_lane,
};
use crate::support::scene::{
    Scene, ada_as, automation_id, credential, invitation, invitation_seen, key_lane, key_seen,
    parent_id, phone_id, phone_seen, secs, wish_invite, wish_parent, wish_parent_between,
};

/// Its user at HID is to go, and nothing else is left.
fn leaving() -> Scene {
    let mut scene = Scene::invited();
    scene.wish(Wish::DeleteIdentity);
    scene.does(&invitation_lane(), Answer::InvitationCancelled);
    scene
}

fn renamed() -> Scene {
    let mut scene = Scene::issued();
    scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
    scene
}

// ---- users ----

#[test]
fn a_user_is_known_by_its_creation_whatever_hid_repeats_of_it() {
    let mut scene = launched();
    let mut user = scene.user_seen(vec![], vec![]);
    user.external_id = None;
    scene.does(&user_lane(), Answer::UserCreated(user));
    assert_eq!(scene.user_state(), "present");
    assert_eq!(scene.enrollment().read_at, Some(scene.now));
    scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
    assert_eq!(scene.owes(&user_lane()), "enroll update_user +0", "ours");
}

#[test]
fn refusals_and_failures_put_a_create_off() {
    for (fault, failures) in [(Fault::Refused, 0), (Fault::Busy, 1)] {
        let mut scene = launched();
        scene.fails(&user_lane(), fault);
        assert_eq!(scene.owes(&user_lane()), "enroll create_user +5");
        assert_eq!(scene.enrollment().user.trouble.failures, failures);
    }
    let mut taken = launched();
    taken.fails(&user_lane(), Fault::Conflict);
    taken.does(&user_lane(), Answer::UserFound(None));
    assert_eq!(taken.owes(&user_lane()), "enroll create_user +5");
}

#[test]
fn refusals_and_failures_put_an_update_off() {
    for (fault, failures) in [(Fault::Refused, 0), (Fault::Busy, 1)] {
        let mut scene = renamed();
        scene.fails(&user_lane(), fault);
        assert_eq!(scene.owes(&user_lane()), "enroll update_user +5");
        assert_eq!(scene.enrollment().user.told.trouble.failures, failures);
    }
    let mut lost = renamed();
    lost.fails(&user_lane(), Fault::Unanswered);
    assert_eq!(lost.enrollment().user.told.trouble.failures, 1);
    lost.does(&user_lane(), Answer::UserUpdated);
    assert_eq!(lost.enrollment().user.told.trouble, Trouble::default());
}

#[test]
fn a_late_create_tells_which_data_hid_has() {
    let mut scene = launched();
    let first = scene.start(&user_lane());
    scene.fail(first.clone(), Fault::Unanswered);
    scene.does(&user_lane(), Answer::UserFound(None));
    scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
    scene.fails(&user_lane(), Fault::Unanswered);
    let user = scene.user_seen(vec![], vec![]);
    scene.answer(first, Answer::UserCreated(user));
    assert!(scene.owes(&user_lane()).starts_with("enroll update_user"));
}

#[test]
fn a_create_that_surely_had_no_effect_is_forgotten() {
    let mut scene = launched();
    scene.fails(&user_lane(), Fault::Unanswered);
    assert_ne!(scene.enrollment().user.told, Told::default());
    scene.wish(Wish::DeleteAutomation(automation_id(1)));
    assert_eq!(scene.owes(&user_lane()), "issue search_user +150");
    scene.does(&user_lane(), Answer::UserFound(None));
    assert_eq!(scene.user_state(), "absent");
    let user = &scene.enrollment().user;
    assert_eq!((user.unanswered_at, &user.told), (None, &Told::default()));
}

#[test]
fn one_read_that_shows_the_user_makes_up_for_those_that_did_not() {
    let mut scene = Scene::issued();
    let phone = || phone_seen("900", vec![key_seen("1000", 1, Cs::Issued)]);
    for _ in 0..2 {
        scene.event(Happening::UserOther);
        scene.fails(&read_lane(), Fault::Gone);
        assert_eq!(scene.user_state(), "present");
        let seen = scene.user_seen(vec![], vec![phone()]);
        scene.does(&read_lane(), Answer::User(seen));
        assert_eq!(scene.enrollment().user.missing_since, None);
    }
    scene.event(Happening::UserOther);
    scene.fails(&read_lane(), Fault::Busy);
    assert_eq!(scene.enrollment().user.trouble.failures, 1);
    let seen = scene.user_seen(vec![], vec![phone()]);
    scene.does(&read_lane(), Answer::User(seen));
    assert_eq!(scene.enrollment().user.trouble, Trouble::default());
}

#[test]
fn with_a_user_that_is_gone_its_phones_are_missing() {
    let mut scene = Scene::issued();
    scene.event(Happening::UserOther);
    for _ in 0..2 {
        assert_eq!(scene.phone("900").missing_since, None);
        scene.fails(&read_lane(), Fault::Gone);
    }
    assert_eq!(scene.user_state(), "gone");
    assert_eq!(scene.owes_phone_read(), "confirm read_phone +30");
    let enrollment = scene.enrollment();
    assert_eq!(
        (enrollment.look, enrollment.user.missing_since),
        (None, None)
    );
}

#[test]
fn a_late_deletion_of_the_user_is_under_way() {
    let mut scene = leaving();
    let call = scene.start(&user_lane());
    scene.fail(call.clone(), Fault::Busy);
    assert_eq!(scene.user_state(), "present");
    scene.answer(call, Answer::UserDeleted);
    assert_eq!(scene.user_state(), "deleting");
}

// ---- invitations ----

#[test]
fn refusals_and_failures_put_an_invitation_off() {
    let inviting = || {
        let mut scene = Scene::with_phone();
        scene.wish(wish_invite(false));
        scene
    };
    let mut refused = inviting();
    refused.fails(&invitation_lane(), Fault::Refused);
    let owed = refused.owes(&invitation_lane());
    assert_eq!(owed, "enroll create_invitation +5");
    assert_eq!(refused.enrollment().invite.trouble.failures, 0);
    let mut lost = inviting();
    lost.fails(&invitation_lane(), Fault::Unanswered);
    assert_eq!(lost.enrollment().invite.trouble.failures, 1);
}

#[test]
fn a_mail_that_goes_out_ends_its_failures() {
    let mut scene = Scene::invited();
    scene.wish(wish_invite(true));
    scene.fails(&invitation_lane(), Fault::Busy);
    scene.does(&invitation_lane(), Answer::InvitationEmailed);
    assert_eq!(scene.enrollment().invite.trouble, Trouble::default());
}

#[test]
fn a_cancellation_counts_however_late() {
    let mut scene = Scene::invited();
    scene.wish(Wish::DeleteAutomation(automation_id(1)));
    let call = scene.start(&invitation_lane());
    scene.fail(call.clone(), Fault::Unanswered);
    scene.answer(call, Answer::InvitationCancelled);
    assert_eq!(scene.invitation_state("800"), "cancel_initiated");
    let known = &scene.enrollment().invitations[&invitation("800")];
    assert_eq!(known.trouble, Trouble::default());
}

#[test]
fn a_phone_that_was_found_by_a_read_spends_its_invitation_when_told_of() {
    let mut scene = Scene::invited();
    let seen = scene.user_seen(
        vec![invitation_seen("800", Is::Pending)],
        vec![phone_seen("900", vec![])],
    );
    scene.event(Happening::UserOther);
    scene.does(&read_lane(), Answer::User(seen));
    assert!(!scene.enrollment().invitations[&invitation("800")].closed);
    scene.phone_active("900", "800");
    assert!(scene.enrollment().invitations[&invitation("800")].closed);
    scene.phone_active("900", "801");
    assert_eq!(scene.phone("900").invitation, Some(invitation("800")));
}

// ---- keys ----

#[test]
fn a_phone_that_was_not_ready_gets_its_key_with_the_event() {
    let mut scene = Scene::invited();
    let registering = ContainerSeen {
        status: ContainerStatus::Initialized,
        ..phone_seen("900", vec![])
    };
    let seen = scene.user_seen(vec![], vec![registering]);
    scene.event(Happening::UserOther);
    scene.does(&read_lane(), Answer::User(seen));
    scene.wish(wish_parent(1, 1));
    assert_eq!(scene.owes_key(), "-");
    scene.phone_active("900", "800");
    assert_eq!(scene.owes_key(), "issue issue +0");
}

#[test]
fn dull_reads_before_a_call_do_not_put_off_the_reads_after_it() {
    let mut scene = Scene::with_phone();
    for _ in 0..3 {
        scene.event(phone_other());
        scene.reads_phone(vec![]);
    }
    scene.wish(wish_parent(1, 1));
    let seen = key_seen("1000", 1, Cs::IssueInitiated);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    assert_eq!(scene.owes_phone_read(), "confirm read_phone +600");
    for _ in 0..3 {
        scene.event(phone_other());
        scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
    }
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.does(&key_lane("900", 1), Answer::Revoked);
    assert_eq!(scene.owes_phone_read(), "confirm read_phone +30");
    let mut scene = Scene::issued();
    for _ in 0..3 {
        scene.event(phone_other());
        scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
    }
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    assert_eq!(scene.phone("900").dull_reads, 0);
    for _ in 0..2 {
        scene.event(phone_other());
        scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
    }
    scene.does(&removal_lane(), Answer::PhoneDeleted);
    assert_eq!(scene.owes_phone_read(), "confirm read_phone +30");
}

#[test]
fn an_issue_that_is_accepted_when_nobody_wants_it_any_more_is_known_and_revoked() {
    let mut scene = Scene::with_parent();
    let call = scene.start(&key_lane("900", 1));
    scene.wish(Wish::DeleteParent(parent_id(1)));
    let seen = key_seen("1000", 1, Cs::IssueInitiated);
    scene.answer(call, Answer::Issued(seen));
    assert_eq!(scene.key("900", 1).current, Some(credential("1000")));
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
}

#[test]
fn a_revoke_ends_its_failures_and_counts_however_late() {
    let held = |scene: &Scene| scene.key("900", 1).held[&credential("1000")].clone();
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteParent(parent_id(1)));
    let call = scene.start(&key_lane("900", 1));
    scene.fail(call.clone(), Fault::Unanswered);
    assert_eq!(held(&scene).trouble.failures, 1);
    scene.answer(call, Answer::Revoked);
    assert_eq!(held(&scene).status, Cs::RevokeInitiated);
    assert_eq!(held(&scene).trouble, Trouble::default());
}

#[test]
fn a_key_that_is_gone_when_we_revoke_it_was_not_revoked_elsewhere() {
    let mut scene = Scene::issued();
    scene.wish(wish_parent(2, 2));
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.fails(&key_lane("900", 1), Fault::Gone);
    assert_eq!(scene.key("900", 1).failed, None);
    assert_eq!(scene.key_state("900", 1), "revoked");
}

#[test]
fn a_deletion_of_a_phone_that_is_accepted_ends_its_refusal_and_counts_however_late() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    let call = scene.start(&removal_lane());
    scene.fail(call.clone(), Fault::Rejected(Rejection::Other));
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
    scene.answer(call, Answer::PhoneDeleted);
    assert_eq!(scene.owes_key(), "-");
    assert_eq!(scene.owes(&removal_lane()), "-");
    let removal = scene.phone("900").removal.as_ref().unwrap();
    assert_eq!(removal.accepted_at, Some(scene.now));
    assert_eq!(removal.trouble, Trouble::default());
}

// ---- wishes ----

#[test]
fn a_phone_is_deactivated_once() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    scene.does(&removal_lane(), Answer::PhoneDeleted);
    scene.pass(1);
    let before = scene.identity.clone();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    assert_eq!(scene.identity, before);
    let mut gone = Scene::issued();
    gone.event(phone_other());
    for _ in 0..2 {
        gone.fails(&Lane::Phone(phone_id("900")), Fault::Gone);
    }
    let before = gone.identity.clone();
    gone.wish(Wish::DeactivatePhone(phone_id("900")));
    assert_eq!(gone.identity, before);
}

#[test]
fn a_parent_on_its_way_out_leaves_no_trace_on_a_new_phone() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.phone_active("901", "800");
    assert!(scene.phone("901").keys.is_empty());
}

#[test]
fn other_dates_are_a_new_try() {
    let mut scene = Scene::with_parent();
    scene.fails(&key_lane("900", 1), Fault::Rejected(Rejection::Other));
    assert_eq!(scene.owes_key(), "-");
    let ends_at = Some(scene.now.plus(secs(3600)));
    scene.wish(Wish::SetDates {
        id: parent_id(1),
        starts_at: None,
        ends_at,
    });
    assert_eq!(scene.owes_key(), "issue issue +0");
}

#[test]
fn a_child_that_leaves_is_gone_for_the_outside_as_soon_as_another_wants_its_key() {
    let mut scene = Scene::issued();
    let starts_at = Some(scene.now.plus(secs(100)));
    scene.wish(wish_parent_between(2, 1, starts_at, None));
    scene.wish(Wish::DeleteParent(parent_id(1)));
    assert_eq!(scene.child_state("900", 1), Some("revoking"));
    scene.pass(100);
    assert_eq!(scene.child_state("900", 1), None, "even before a step");
}
