//! When HID is read, and what a read that shows something, or nothing, is worth. Where nothing else is said, phone 900
//! of invitation 800 belongs to user 700 and part number 1 is wanted.

use std::time::Duration;

use origo_adapter::core::effect::Lane;
use origo_adapter::core::identity::DoubtStage;
use origo_adapter::core::observation::{
    Answer, ContainerSeen, ContainerStatus, CredentialStatus as Cs, Fault, Happening,
    InvitationStatus as Is,
};
use origo_adapter::core::wish::Wish;

use crate::support::lanes::{invitation_lane, phone_lane, phone_other, read_lane, user_lane};
use crate::support::scene::{
    Scene, ada_as, credential, invitation, invitation_seen, key_lane, key_seen, manager, parent_id,
    phone_seen, wish_invite, wish_parent,
};

/// User 700 with phone 900 and its key 1000.
fn all_of(scene: &Scene) -> Answer {
    let phone = phone_seen("900", vec![key_seen("1000", 1, Cs::Issued)]);
    Answer::User(scene.user_seen(vec![], vec![phone]))
}

// ---- when ----

#[test]
fn who_waits_is_read_slower_with_age_and_everybody_once_a_day() {
    let mut scene = Scene::invited();
    let (wait, sweep) = (Lane::Wait(manager()), Lane::Sweep(manager()));
    assert_eq!(scene.owes(&wait), "wait read_user +15");
    assert_eq!(scene.owes(&sweep), "sweep read_user +86400");
    scene.pass(1000);
    let pending = scene.user_seen(vec![invitation_seen("800", Is::Pending)], vec![]);
    scene.does(&wait, Answer::User(pending));
    assert_eq!(scene.owes(&wait), "wait read_user +100");
    assert_eq!(scene.owes(&sweep), "sweep read_user +86400");
    scene.phone_active("900", "800");
    assert_eq!(scene.owes(&wait), "-");
    assert_eq!(scene.owes(&sweep), "sweep read_user +86400");
}

#[test]
fn an_acknowledged_invitation_is_followed_twice_as_late_each_time_and_for_a_day() {
    let mut scene = Scene::invited();
    scene.invitation_event("800", Is::Acknowledged);
    assert_eq!(scene.owes(&read_lane()), "confirm read_user +120");
    for next in [120, 240, 480] {
        let seen = scene.user_seen(vec![invitation_seen("800", Is::Acknowledged)], vec![]);
        scene.does(&read_lane(), Answer::User(seen));
        let owed = format!("confirm read_user +{next}");
        assert_eq!(scene.owes(&read_lane()), owed);
    }
    let acknowledged_at = scene.enrollment().invitations[&invitation("800")].acknowledged_at;
    scene.now = acknowledged_at.unwrap().plus(Duration::from_hours(24));
    scene.now.0 -= 1;
    scene.wake();
    assert_eq!(scene.owes(&read_lane()), "confirm read_user +0");
    scene.now.0 += 1;
    scene.wake();
    assert_eq!(scene.owes(&read_lane()), "-");
}

#[test]
fn an_invitation_that_should_have_ended_is_read_every_ten_minutes() {
    let mut scene = Scene::invited();
    let known = &scene.enrollment().invitations[&invitation("800")];
    scene.now = known.expires_at.unwrap();
    scene.wake();
    assert_eq!(scene.owes(&read_lane()), "confirm read_user +30");
    for _ in 0..2 {
        let seen = scene.user_seen(vec![invitation_seen("800", Is::Pending)], vec![]);
        scene.does(&read_lane(), Answer::User(seen));
        assert_eq!(scene.owes(&read_lane()), "confirm read_user +600");
    }
}

#[test]
fn a_key_that_is_on_its_way_out_is_not_awaited_on_the_phone() {
    let mut accepted = Scene::with_parent();
    let seen = key_seen("1000", 1, Cs::IssueInitiated);
    accepted.does(&key_lane("900", 1), Answer::Issued(seen));
    assert_eq!(accepted.owes_phone_read(), "confirm read_phone +600");
    accepted.wish(Wish::DeleteParent(parent_id(1)));
    assert_eq!(accepted.owes_phone_read(), "-");
    accepted.fails(&key_lane("900", 1), Fault::Unanswered);
    accepted.wish(wish_parent(2, 1));
    let seen = vec![key_seen("1000", 1, Cs::Issuing)];
    accepted.reads_phone(seen);
    assert_eq!(accepted.owes_phone_read(), "-", "doomed");
    assert!(accepted.owes_key().starts_with("withdrawal revoke"));
}

#[test]
fn of_two_doubts_the_earlier_is_read_first() {
    let mut scene = Scene::with_parent();
    scene.wish(wish_parent(2, 2));
    scene.fails(&key_lane("900", 2), Fault::Unanswered);
    scene.pass(10);
    scene.fails(&key_lane("900", 1), Fault::Unanswered);
    assert_eq!(scene.owes_phone_read(), "issue read_phone +20");
}

#[test]
fn the_first_of_two_reasons_for_a_read_says_how_urgent_it_is() {
    let mut scene = Scene::issued();
    scene.event(phone_other());
    scene.fails(&phone_lane(), Fault::Gone);
    assert_eq!(scene.owes_phone_read(), "confirm read_phone +30");
    scene.event(phone_other());
    assert_eq!(scene.owes_phone_read(), "issue read_phone +30");
}

// ---- what it shows ----

#[test]
fn a_read_answers_what_was_asked_until_it_began_and_no_later() {
    let mut scene = Scene::issued();
    scene.event(Happening::UserOther);
    let answer = all_of(&scene);
    scene.does(&read_lane(), answer.clone());
    assert_eq!(scene.owes(&read_lane()), "-");
    scene.event(Happening::UserOther);
    let call = scene.start(&read_lane());
    scene.pass(1);
    scene.event(Happening::UserOther);
    scene.answer(call, answer);
    assert_eq!(scene.owes(&read_lane()), "confirm read_user +0");
}

#[test]
fn a_phones_read_answers_what_was_asked_until_it_began_and_no_later() {
    for gone in [false, true] {
        let mut scene = Scene::issued();
        scene.event(phone_other());
        let call = scene.start(&phone_lane());
        scene.pass(1);
        scene.event(phone_other());
        if gone {
            scene.fail(call, Fault::Gone);
        } else {
            let seen = phone_seen("900", vec![key_seen("1000", 1, Cs::Issued)]);
            scene.answer(call, Answer::Phone(seen));
        }
        assert_eq!(scene.phone("900").look, Some(scene.now));
        scene.does(
            &phone_lane(),
            Answer::Phone(phone_seen("900", vec![key_seen("1000", 1, Cs::Issued)])),
        );
        assert_eq!(scene.phone("900").look, None);
    }
}

#[test]
fn a_read_does_not_say_what_a_lost_update_did() {
    let mut scene = Scene::issued();
    scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
    scene.fails(&user_lane(), Fault::Unanswered);
    scene.event(Happening::UserOther);
    let answer = all_of(&scene);
    scene.does(&read_lane(), answer);
    assert_eq!(scene.owes(&user_lane()), "enroll update_user +120");
}

#[test]
fn a_deletion_is_begun_again_only_after_a_read_that_can_not_be_stale() {
    let mut scene = Scene::invited();
    scene.policy.settle_delay = Duration::from_mins(10);
    scene.wish(Wish::DeleteIdentity);
    scene.does(&invitation_lane(), Answer::InvitationCancelled);
    scene.does(&user_lane(), Answer::UserDeleted);
    assert_eq!(scene.user_state(), "deleting");
    assert_eq!(scene.owes(&user_lane()), "confirm read_user +30");
    let mut seen = scene.user_seen(vec![], vec![]);
    scene.does(&user_lane(), Answer::User(seen.clone()));
    assert_eq!(scene.user_state(), "deleting", "too early to be sure");
    scene.pass(600);
    seen.deleting = true;
    scene.does(&user_lane(), Answer::User(seen.clone()));
    assert_eq!(scene.user_state(), "deleting", "under way");
    seen.deleting = false;
    scene.does(&user_lane(), Answer::User(seen));
    assert_eq!(scene.user_state(), "present", "never begun");
}

#[test]
fn a_final_status_of_an_invitation_stays() {
    let unknown = || Is::Unknown("NEW".into());
    for (known, told, after) in [
        (Is::Pending, Is::Acknowledged, Is::Acknowledged),
        (Is::Pending, Is::CancelInitiated, Is::CancelInitiated),
        (unknown(), Is::Pending, Is::Pending),
        (unknown(), Is::Cancelled, Is::Cancelled),
        (Is::Acknowledged, Is::Pending, Is::Acknowledged),
        (Is::Acknowledged, Is::CancelInitiated, Is::CancelInitiated),
        (Is::CancelInitiated, Is::Cancelled, Is::Cancelled),
        (Is::CancelInitiated, Is::Pending, Is::CancelInitiated),
        (Is::Cancelled, Is::CancelInitiated, Is::Cancelled),
        (Is::Cancelled, Is::Acknowledged, Is::Acknowledged),
    ] {
        let mut scene = Scene::with_phone();
        scene.invitation_event("850", known.clone());
        scene.invitation_event("850", told.clone());
        let status = &scene.enrollment().invitations[&invitation("850")].status;
        assert_eq!(*status, after, "{known:?}, then {told:?}");
    }
}

#[test]
fn a_phone_closes_the_invitation_it_came_of_and_no_other() {
    let mut scene = Scene::invited();
    scene.invitation_event("850", Is::Pending);
    scene.phone_active("900", "800");
    let invitations = &scene.enrollment().invitations;
    assert!(invitations[&invitation("800")].closed);
    assert!(!invitations[&invitation("850")].closed);
}

#[test]
fn a_phone_of_an_unknown_invitation_closes_those_that_were_redeemed() {
    let mut scene = Scene::invited();
    scene.invitation_event("850", Is::Pending);
    scene.invitation_event("800", Is::Acknowledged);
    scene.phone_active("900", "999");
    let invitations = &scene.enrollment().invitations;
    assert!(invitations[&invitation("800")].closed);
    assert!(!invitations[&invitation("850")].closed);
}

#[test]
fn a_foreign_key_that_was_taken_over_is_revoked_before_its_parent_goes() {
    let mut scene = Scene::with_phone();
    scene.event(phone_other());
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
    scene.wish(wish_parent(1, 1));
    assert_eq!(scene.key_state("900", 1), "issued");
    assert!(!scene.key("900", 1).held[&credential("1000")].ours);
    scene.wish(Wish::DeleteParent(parent_id(1)));
    assert_eq!(scene.child_state("900", 1), Some("revoking"));
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
}

#[test]
fn a_foreign_key_that_was_never_used_holds_nobody_up() {
    let mut scene = Scene::issued();
    scene.event(phone_other());
    let foreign = || key_seen("1777", 1, Cs::Issued);
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued), foreign()]);
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.does(&key_lane("900", 1), Answer::Revoked);
    while scene.key("900", 1).held.len() > 1 {
        scene.reads_phone(vec![foreign()]);
    }
    assert!(scene.is().parents.is_empty());
    assert_eq!(scene.owes_key(), "-");
}

#[test]
fn of_two_usable_keys_ours_is_taken() {
    let mut scene = Scene::in_doubt();
    scene.reads_phone(vec![
        key_seen("1001", 1, Cs::Issued),
        key_seen("1000", 1, Cs::Issued),
    ]);
    let key = scene.key("900", 1);
    assert!(key.held[&credential("1001")].ours);
    assert!(!key.held[&credential("1000")].ours);
    assert_eq!(key.current, Some(credential("1001")));
}

#[test]
fn a_phone_on_its_way_out_neither_holds_keys_nor_enrols() {
    let mut scene = Scene::with_phone();
    scene.event(phone_other());
    let leaving = ContainerSeen {
        status: ContainerStatus::Deleting,
        ..phone_seen("900", vec![key_seen("1777", 2, Cs::Issued)])
    };
    scene.does(&phone_lane(), Answer::Phone(leaving));
    assert_eq!(scene.automation(), "waiting_for_phone");
    scene.wish(wish_parent(1, 1));
    assert_eq!(scene.child_state("900", 1), None);
    scene.wish(wish_invite(false));
    assert_eq!(scene.automation(), "inviting");
}

#[test]
fn reads_that_tell_nothing_new_are_dull_whatever_asked_for_them() {
    let mut scene = Scene::issued();
    let same = || vec![key_seen("1000", 1, Cs::Issued)];
    for dull in 1..4 {
        scene.event(phone_other());
        scene.reads_phone(same());
        assert_eq!(scene.phone("900").dull_reads, dull);
    }
    scene.event(phone_other());
    scene.fails(&phone_lane(), Fault::Unanswered);
    scene.reads_phone(same());
    assert_eq!(scene.phone("900").dull_reads, 4);
    scene.event(phone_other());
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Revoking)]);
    assert_eq!(scene.phone("900").dull_reads, 0);
}

#[test]
fn a_phone_is_missing_from_reads_that_began_when_it_was_known() {
    for (known_later, missing) in [(1, false), (0, true)] {
        let mut scene = Scene::invited();
        scene.event(Happening::UserOther);
        let call = scene.start(&read_lane());
        scene.pass(known_later);
        scene.phone_active("900", "800");
        let seen = scene.user_seen(vec![], vec![]);
        scene.answer(call, Answer::User(seen));
        assert_eq!(scene.phone("900").missing_since.is_some(), missing);
    }
}

#[test]
fn two_reads_close_together_do_not_remove_a_phone() {
    let mut scene = Scene::issued();
    for wait in [29, 1] {
        scene.event(Happening::UserOther);
        let seen = scene.user_seen(vec![], vec![]);
        scene.does(&read_lane(), Answer::User(seen));
        assert_eq!(scene.phone("900").removed_at, None);
        scene.pass(wait);
    }
    scene.event(Happening::UserOther);
    let seen = scene.user_seen(vec![], vec![]);
    scene.does(&read_lane(), Answer::User(seen));
    assert!(scene.phone("900").removed_at.is_some());
}

#[test]
fn a_key_without_a_part_number_is_the_only_one_there_can_be() {
    let nameless = || {
        let mut seen = key_seen("1000", 1, Cs::Issuing);
        seen.part_number = None;
        vec![seen]
    };
    let mut one = Scene::in_doubt();
    one.reads_phone(nameless());
    assert_eq!(one.key_state("900", 1), "accepted");
    let mut two = Scene::in_doubt();
    two.wish(wish_parent(2, 2));
    two.reads_phone(nameless());
    assert_eq!(two.key_state("900", 1), "unconfirmed");
    assert!(two.key("900", 2).held.is_empty());
    // Known by its id.
    one.wish(wish_parent(2, 2));
    one.event(phone_other());
    one.reads_phone(nameless());
    assert_eq!(one.key_state("900", 1), "accepted");
    assert_eq!(
        one.key("900", 1).held[&credential("1000")].missing_since,
        None
    );
}

#[test]
fn a_read_that_finds_one_of_two_lost_keys_is_not_blank() {
    let mut scene = Scene::in_doubt();
    scene.reads_phone(vec![]);
    scene.reads_phone(vec![]);
    scene.fails(&key_lane("900", 1), Fault::Unanswered);
    let gave_up_at = scene.now;
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Issuing)]);
    let doubt = &scene.key("900", 1).doubt;
    assert_eq!(doubt.unattributed, 1);
    let open = DoubtStage::Open {
        gave_up_at,
        blank_at: None,
    };
    assert_eq!(doubt.stage, open);
}

#[test]
fn a_read_in_the_same_instant_as_the_answer_counts() {
    let mut scene = Scene::with_parent();
    let seen = key_seen("1000", 1, Cs::IssueInitiated);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    scene.event(phone_other());
    scene.reads_phone(vec![]);
    let held = &scene.key("900", 1).held[&credential("1000")];
    assert_eq!(held.missing_since, Some(scene.now));
    let mut scene = Scene::with_parent();
    let seen = key_seen("1000", 1, Cs::IssueInitiated);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    scene.event(phone_other());
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
    assert_eq!(scene.key_state("900", 1), "issued");
}

#[test]
fn a_revoked_key_that_shows_is_stale_at_first_and_then_not_revoked() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.does(&key_lane("900", 1), Answer::Revoked);
    let there = || vec![key_seen("1000", 1, Cs::Issued)];
    for wait in [0, 29] {
        scene.pass(wait);
        scene.event(phone_other());
        scene.reads_phone(there());
        let held = &scene.key("900", 1).held[&credential("1000")];
        assert_eq!(held.status, Cs::RevokeInitiated, "{wait}");
        assert_eq!(scene.owes_key(), "-");
    }
    scene.pass(1);
    scene.event(phone_other());
    scene.reads_phone(there());
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
}

#[test]
fn a_failed_key_is_counted_once_however_often_it_is_read() {
    let mut scene = Scene::issued();
    for _ in 0..2 {
        scene.event(phone_other());
        scene.reads_phone(vec![key_seen("1000", 1, Cs::IssueFailed)]);
        assert_eq!(scene.key("900", 1).trouble.failures, 1);
    }
}

#[test]
fn a_key_is_gone_after_two_reads_far_enough_apart() {
    let mut scene = Scene::issued();
    scene.pass(60);
    for wait in [29, 1] {
        scene.event(phone_other());
        scene.reads_phone(vec![]);
        assert_eq!(scene.key_state("900", 1), "issued");
        scene.pass(wait);
    }
    scene.reads_phone(vec![]);
    assert_eq!(scene.key_state("900", 1), "failed", "revoked elsewhere");
}

#[test]
fn a_read_right_after_giving_up_proves_nothing() {
    let mut scene = Scene::in_doubt();
    scene.pass(29);
    scene.event(phone_other());
    scene.reads_phone(vec![]);
    assert_eq!(scene.owes_phone_read(), "issue read_phone +1");
}
