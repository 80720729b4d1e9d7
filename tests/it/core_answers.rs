//! What becomes of each call's answer, late answer or failure. Where nothing else is said, phone 900 of invitation 800
//! belongs to user 700 and part number 1 is wanted.

use std::time::Duration;

use origo_adapter::core::Observation;
use origo_adapter::core::effect::Effect;
use origo_adapter::core::identity::{InFlight, Trouble};
use origo_adapter::core::observation::{
    Answer, CredentialStatus as Cs, Fault, Happening, InvitationStatus as Is, UserSeen,
};
use origo_adapter::core::wish::Wish;

use crate::support::lanes::{invitation_lane, launched, phone_other, read_lane, user_lane};
use crate::support::scene::{
    START, Scene, ada_as, automation_id, credential, hid_user, invitation, invitation_seen,
    key_lane, key_seen, parent_id, wish_acs_user, wish_invite, wish_launch, wish_parent,
};

// ---- calls ----

#[test]
fn an_answer_that_comes_again_does_not_end_the_next_call() {
    let mut scene = Scene::with_parent();
    let seen = || Answer::Issued(key_seen("1000", 1, Cs::IssueInitiated));
    let first = scene.start(&key_lane("900", 1));
    scene.answer(first.clone(), seen());
    scene.wish(Wish::DeleteParent(parent_id(1)));
    let second = scene.start(&key_lane("900", 1));
    assert_eq!(second.call.0, first.call.0 + 1);
    scene.answer(first, seen());
    assert_eq!(scene.is().in_flight, Some(second));
}

#[test]
fn nothing_starts_before_its_time() {
    let mut scene = Scene::with_parent();
    scene.fails(&key_lane("900", 1), Fault::Busy);
    let due = scene.owed[&key_lane("900", 1)].not_before;
    let start = Observation::Started(key_lane("900", 1));
    scene.now.0 = due.0 - 1;
    assert_eq!(scene.see(&start), None);
    scene.now = due;
    assert!(scene.see(&start).is_some());
}

#[test]
fn a_success_forgets_the_failures_before_it() {
    let mut scene = Scene::with_parent();
    for _ in 0..2 {
        scene.fails(&key_lane("900", 1), Fault::Busy);
    }
    assert_eq!(scene.key("900", 1).trouble.failures, 2);
    let seen = key_seen("1000", 1, Cs::IssueInitiated);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    scene.event(Happening::KeyIssued {
        credential: credential("1000"),
        container: None,
    });
    assert_eq!(scene.key("900", 1).trouble, Trouble::default());
}

// ---- users ----

#[test]
fn a_late_create_is_the_user() {
    let mut scene = launched();
    let call = scene.start(&user_lane());
    scene.fail(call.clone(), Fault::Unanswered);
    assert_eq!(scene.user_state(), "unsure");
    assert!(scene.enrollment().user.trouble.failures > 0);
    let seen = invitation_seen("800", Is::Pending);
    let user = scene.user_seen(vec![seen], vec![]);
    scene.answer(call.clone(), Answer::UserCreated(user.clone()));
    assert_eq!(scene.user_state(), "present");
    assert_eq!(scene.enrollment().user.trouble, Trouble::default());
    assert!(scene.enrollment().user.told.data.is_some());
    assert_eq!(scene.invitation_state("800"), "pending");
    assert_eq!(scene.enrollment().invite.unattributed, 0);
    // The same call's answer for another id, when one is there already: the known one stays.
    let other = UserSeen {
        id: hid_user("701"),
        ..user
    };
    scene.answer(call, Answer::UserCreated(other));
    assert_eq!(scene.enrollment().user_id(), Some(&hid_user("700")));
}

#[test]
fn a_search_that_is_not_known_is_tried_again() {
    let mut scene = launched();
    scene.fails(&user_lane(), Fault::Unanswered);
    let failures = scene.enrollment().user.trouble.failures;
    scene.fails(&user_lane(), Fault::Gone);
    assert_eq!(scene.user_state(), "unsure");
    assert_eq!(scene.enrollment().user.trouble.failures, failures + 1);
}

#[test]
fn a_lost_read_of_the_user_changes_nothing_and_a_lost_deletion_may_have_begun() {
    let mut scene = Scene::invited();
    for fault in [Fault::Unanswered, Fault::Already] {
        scene.event(Happening::UserOther);
        scene.fails(&read_lane(), fault);
        assert_eq!(scene.user_state(), "present", "{fault:?}");
        assert_ne!(scene.owes(&read_lane()), "confirm read_user +0");
    }
    for fault in [Fault::Unanswered, Fault::Already] {
        let mut scene = Scene::invited();
        scene.wish(Wish::DeleteIdentity);
        scene.does(&invitation_lane(), Answer::InvitationCancelled);
        scene.fails(&user_lane(), fault);
        assert_eq!(scene.user_state(), "deleting", "{fault:?}");
    }
}

#[test]
fn a_refusal_of_data_that_are_no_more_says_nothing() {
    let mut scene = Scene::issued();
    scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
    let call = scene.start(&user_lane());
    scene.wish(ada_as("Ada King", "ada@example.com"));
    scene.fail(call, Fault::Conflict);
    assert_eq!(scene.automation(), "enrolled");
    assert_eq!(scene.owes(&user_lane()), "enroll update_user +0");
    scene.fails(&user_lane(), Fault::Conflict);
    assert_eq!(scene.automation(), "enrolled: user_conflict");
}

#[test]
fn every_part_of_a_name_and_an_address_must_be_there() {
    for (name, address) in [
        ("A Okafor", "ada@example.com"),
        ("Ada O", "ada@example.com"),
        ("Ada Okafor", "@example.com"),
        ("Ada Okafor", "ada@example"),
    ] {
        let mut scene = Scene::empty();
        scene.wish(ada_as(name, address));
        scene.wish(wish_launch(1));
        let state = scene.automation();
        assert_eq!(state, "held: user_data_incomplete", "{name} {address}");
    }
}

// ---- invitations ----

#[test]
fn a_late_invitation_is_the_one_asked_for() {
    let mut scene = Scene::with_phone();
    scene.wish(wish_invite(false));
    let call = scene.start(&invitation_lane());
    scene.fail(call.clone(), Fault::Unanswered);
    let seen = |id| Answer::InvitationCreated(invitation_seen(id, Is::Pending));
    scene.answer(call.clone(), seen("801"));
    assert!(scene.enrollment().invitations[&invitation("801")].ours);
    let invite = &scene.enrollment().invite;
    assert_eq!((invite.unattributed, invite.wanted), (0, false));
    let before = scene.identity.clone();
    scene.answer(call.clone(), seen("801"));
    assert_eq!(scene.identity, before, "known already");
    // None is unaccounted for: what this one is a read must tell.
    scene.answer(call, seen("802"));
    let invitations = &scene.enrollment().invitations;
    assert!(!invitations.contains_key(&invitation("802")));
    assert_eq!(scene.owes(&read_lane()), "confirm read_user +0");
}

/// An open invitation that is to be mailed again.
fn resending() -> Scene {
    let mut scene = Scene::invited();
    scene.wish(wish_invite(true));
    assert_eq!(scene.owes(&invitation_lane()), "enroll email_invitation +0");
    scene
}

#[test]
fn a_mail_that_fails_makes_no_invitation_doubtful() {
    for fault in [Fault::Gone, Fault::Already, Fault::WrongState] {
        let mut scene = resending();
        scene.fails(&invitation_lane(), fault);
        assert_eq!(scene.owes(&invitation_lane()), "-", "{fault:?}");
        assert_eq!(scene.owes(&read_lane()), "confirm read_user +0");
    }
    for fault in [Fault::Unanswered, Fault::Busy] {
        let mut scene = resending();
        scene.fails(&invitation_lane(), fault);
        let owed = scene.owes(&invitation_lane());
        assert_eq!(owed, "enroll email_invitation +5", "{fault:?}");
        assert_eq!(scene.enrollment().invite.unattributed, 0);
        assert_eq!(scene.owes(&read_lane()), "confirm read_user +0");
    }
}

#[test]
fn an_invitation_that_can_not_be_made_is_tried_again_after_a_read() {
    for fault in [
        Fault::Gone,
        Fault::Already,
        Fault::WrongState,
        Fault::Conflict,
    ] {
        let mut scene = Scene::with_phone();
        scene.wish(wish_invite(false));
        scene.fails(&invitation_lane(), fault);
        let owed = scene.owes(&invitation_lane());
        assert_eq!(owed, "enroll create_invitation +5", "{fault:?}");
        assert_eq!(scene.enrollment().invite.trouble.failures, 1);
        assert_eq!(scene.owes(&read_lane()), "confirm read_user +0");
    }
}

#[test]
fn an_invitation_that_can_not_be_made_for_a_day_is_stuck() {
    let mut scene = launched();
    let user = scene.user_seen(vec![], vec![]);
    scene.does(&user_lane(), Answer::UserCreated(user));
    assert_eq!(scene.automation(), "inviting");
    while scene.now.since(START) < Duration::from_hours(26) {
        scene.fails(&invitation_lane(), Fault::Busy);
    }
    assert_eq!(scene.automation(), "stuck: invitation_not_created");
}

#[test]
fn a_cancellation_that_fails_is_looked_at_and_repeated() {
    let cancelling = || {
        let mut scene = Scene::invited();
        scene.wish(Wish::DeleteAutomation(automation_id(1)));
        scene
    };
    let mut gone = cancelling();
    gone.fails(&invitation_lane(), Fault::Gone);
    assert_eq!(gone.invitation_state("800"), "cancelled");
    assert_eq!(gone.automation(), "none");
    for (fault, failures) in [(Fault::Refused, 0), (Fault::WrongState, 1)] {
        let mut scene = cancelling();
        scene.fails(&invitation_lane(), fault);
        let known = &scene.enrollment().invitations[&invitation("800")];
        assert_eq!(known.trouble.failures, failures, "{fault:?}");
        let owed = scene.owes(&invitation_lane());
        assert_eq!(owed, "withdrawal cancel_invitation +5", "{fault:?}");
        assert_eq!(scene.enrollment().look.is_some(), failures > 0);
    }
}

#[test]
fn an_expired_further_invitation_is_not_renewed_beside_a_phone() {
    let mut scene = Scene::with_phone();
    scene.wish(wish_invite(false));
    let seen = invitation_seen("801", Is::Pending);
    scene.does(&invitation_lane(), Answer::InvitationCreated(seen));
    scene.invitation_event("801", Is::Expired);
    assert_eq!(scene.owes(&invitation_lane()), "-");
    assert_eq!(scene.enrollment().invite.renewals, 0);
}

#[test]
fn a_launch_invites_only_who_has_neither_phone_nor_invitation() {
    let mut with_phone = Scene::with_phone();
    with_phone.wish(Wish::DeleteAutomation(automation_id(1)));
    with_phone.does(&invitation_lane(), Answer::InvitationCancelled);
    assert_eq!(with_phone.automation(), "none");
    with_phone.wish(wish_launch(2));
    assert!(!with_phone.enrollment().invite.wanted);
    let mut open = Scene::invited();
    open.wish(Wish::DeleteAutomation(automation_id(1)));
    open.wish(wish_launch(2));
    assert!(!open.enrollment().invite.wanted);
    assert_eq!(open.owes(&invitation_lane()), "-", "it stays open");
    let mut neither = Scene::invited();
    neither.wish(Wish::DeleteAutomation(automation_id(1)));
    neither.does(&invitation_lane(), Answer::InvitationCancelled);
    neither.wish(wish_launch(2));
    assert!(neither.enrollment().invite.wanted);
}

#[test]
fn nothing_is_launched_for_who_is_not_listed_or_leaves() {
    let mut unlisted = Scene::empty();
    unlisted.wish(wish_acs_user());
    unlisted.wish(wish_launch(1));
    assert!(unlisted.is().enrollments.is_empty());
    let mut leaving = Scene::issued();
    leaving.wish(Wish::DeleteIdentity);
    leaving.wish(wish_launch(2));
    let automation = leaving.enrollment().automation.as_ref();
    assert!(automation.is_none_or(|a| a.id == automation_id(1)));
    assert!(!leaving.enrollment().is_running());
}

// ---- keys ----

#[test]
fn an_issue_that_failed_at_once_is_nobodys_current_key() {
    let mut scene = Scene::with_parent();
    let seen = key_seen("1000", 1, Cs::IssueFailed);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    assert_eq!(scene.key("900", 1).current, None);
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
}

#[test]
fn a_revoke_that_is_accepted_shows_and_is_not_repeated() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.does(&key_lane("900", 1), Answer::Revoked);
    let status = |scene: &Scene| {
        let held = &scene.key("900", 1).held[&credential("1000")];
        held.status.clone()
    };
    assert_eq!(status(&scene), Cs::RevokeInitiated);
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Revoking)]);
    let call = scene.is().calls;
    assert_eq!(status(&scene), Cs::Revoking);
    // Its answer, once more.
    let again = InFlight {
        call,
        lane: key_lane("900", 1),
        effect: Effect::Revoke {
            credential: credential("1000"),
        },
        started_at: scene.now,
    };
    scene.answer(again, Answer::Revoked);
    assert_eq!(status(&scene), Cs::Revoking);
    assert_eq!(scene.owes_key(), "-");
}

#[test]
fn a_failed_key_is_revoked_once_whoever_made_it() {
    let mut ours = Scene::issued();
    ours.event(phone_other());
    ours.reads_phone(vec![key_seen("1000", 1, Cs::IssueFailed)]);
    assert!(ours.owes_key().starts_with("withdrawal revoke"));
    ours.does(&key_lane("900", 1), Answer::Revoked);
    ours.event(phone_other());
    ours.reads_phone(vec![key_seen("1000", 1, Cs::IssueFailed)]);
    assert_eq!(ours.owes_key(), "-");
    let mut foreign = Scene::with_phone();
    foreign.event(phone_other());
    foreign.reads_phone(vec![key_seen("1000", 1, Cs::Issuing)]);
    foreign.wish(wish_parent(1, 1));
    assert_eq!(foreign.key("900", 1).current, Some(credential("1000")));
    foreign.event(phone_other());
    foreign.reads_phone(vec![key_seen("1000", 1, Cs::IssueFailed)]);
    assert!(foreign.owes_key().starts_with("withdrawal revoke"));
}

#[test]
fn a_key_of_unknown_status_is_not_touched() {
    let mut scene = Scene::issued();
    scene.event(phone_other());
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Unknown("NEW".into()))]);
    scene.wish(Wish::DeleteParent(parent_id(1)));
    assert_eq!(scene.owes_key(), "-");
    assert!(scene.owes_phone_read().starts_with("confirm read_phone"));
}

#[test]
fn a_parent_on_its_way_out_takes_in_no_phone() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.phone_active("901", "800");
    assert_eq!(scene.child_state("901", 1), None);
    assert_eq!(scene.child_state("900", 1), Some("revoking"));
}

#[test]
fn a_phone_that_no_automation_took_in_gets_no_child() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteAutomation(automation_id(1)));
    scene.phone_active("901", "800");
    assert_eq!(scene.child_state("901", 1), None);
    assert_eq!(scene.child_state("900", 1), Some("issued"));
}

#[test]
fn a_child_of_a_shared_key_is_gone_at_once_and_the_last_one_with_its_key() {
    let mut scene = Scene::issued();
    scene.wish(wish_parent(2, 1));
    scene.wish(Wish::DeleteParent(parent_id(1)));
    assert_eq!(scene.child_state("900", 1), None);
    scene.wish(Wish::DeleteParent(parent_id(2)));
    assert_eq!(scene.child_state("900", 2), Some("revoking"));
}
