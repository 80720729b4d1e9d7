//! Situation and observation → state, and what is owed: contract.md sections 2, 6 and 7, line by line.
//! Where nothing else is said, phone 900 of invitation 800 belongs to user 700 and part number 1 is wanted.

use std::time::Duration;

use origo_adapter::core::effect::{Effect, Lane, SearchBy};
use origo_adapter::core::ids::Personal;
use origo_adapter::core::observation::{
    Answer, ContainerStatus, CredentialStatus as Cs, Fault, Happening, InvitationStatus as Is,
    Rejection,
};
use origo_adapter::core::wish::Wish;

use crate::support::lanes::{invitation_lane, phone_lane, read_lane, user_lane};
use crate::support::scene::{
    START, Scene, automation_id, container, credential, hid_user, invitation_seen, key_lane,
    key_seen, manager, parent_id, phone_id, phone_seen, secs, wish_invite, wish_launch,
    wish_parent, wish_parent_between,
};

fn issued_as(id: &str, status: Cs) -> Answer {
    Answer::Issued(key_seen(id, 1, status))
}

fn delete_child(scene: &mut Scene) {
    let child = scene.is().parents[&parent_id(1)].children[&phone_id("900")].id;
    scene.wish(Wish::DeleteChild(child));
}

// ---- G1: at most one ----

#[test]
fn a_phone_and_a_parent_owe_one_issue_at_once() {
    let scene = Scene::with_parent();
    assert_eq!(scene.owes_key(), "issue issue +0");
    assert_eq!(scene.key_state("900", 1), "wanted");
    assert_eq!(scene.automation(), "issuing");
    assert_eq!(
        scene.owes_phone_read(),
        "-",
        "no read is spent on a clean phone"
    );
}

#[test]
fn a_call_under_way_shows_and_keeps_the_identity_busy() {
    let mut scene = Scene::with_parent();
    scene.start(&key_lane("900", 1));
    assert_eq!(scene.key_state("900", 1), "sent");
    let second = scene.see(&origo_adapter::core::Observation::Started(key_lane(
        "900", 1,
    )));
    assert_eq!(second, None);
}

#[test]
fn a_lost_reply_is_not_repeated_before_the_bound_and_two_blank_reads() {
    let mut scene = Scene::in_doubt();
    assert_eq!(scene.key_state("900", 1), "unconfirmed");
    assert_eq!(scene.owes_key(), "-");
    assert_eq!(scene.owes_phone_read(), "issue read_phone +30");
    scene.reads_phone(vec![]);
    assert_eq!(scene.owes_key(), "-");
    assert_eq!(
        scene.owes_phone_read(),
        "issue read_phone +120",
        "the bound and the delay after it: the read that counts must not be stale"
    );
    scene.reads_phone(vec![]);
    assert_eq!(scene.owes_key(), "issue issue +0");
    assert_eq!(scene.key_state("900", 1), "wanted");
}

#[test]
fn reads_too_close_together_count_as_one() {
    let mut scene = Scene::in_doubt();
    scene.pass(149);
    scene.event(Happening::PhoneOther {
        container: container("900"),
    });
    scene.reads_phone(vec![]);
    assert_eq!(scene.owes_phone_read(), "issue read_phone +30");
    scene.pass(5);
    scene.event(Happening::PhoneOther {
        container: container("900"),
    });
    scene.reads_phone(vec![]);
    assert_eq!(scene.owes_key(), "-");
    scene.reads_phone(vec![]);
    assert_eq!(scene.owes_key(), "issue issue +0");
}

#[test]
fn what_a_read_finds_is_adopted_as_ours() {
    let mut scene = Scene::in_doubt();
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Issuing)]);
    assert_eq!(scene.key_state("900", 1), "accepted");
    assert!(scene.key("900", 1).held[&credential("1000")].ours);
    assert_eq!(scene.key("900", 1).doubt.unattributed, 0);
    assert_eq!(scene.owes_key(), "-");
}

/// The second call, made after blank reads.
fn repeated() -> Scene {
    let mut scene = Scene::in_doubt();
    scene.reads_phone(vec![]);
    scene.reads_phone(vec![]);
    scene
}

#[test]
fn a_second_lost_reply_opens_the_doubt_again() {
    let mut scene = repeated();
    scene.fails(&key_lane("900", 1), Fault::Unanswered);
    assert_eq!(scene.key("900", 1).doubt.unattributed, 2);
    assert_eq!(scene.key_state("900", 1), "unconfirmed");
    assert_eq!(scene.owes_phone_read(), "issue read_phone +30");
}

#[test]
fn a_repeat_is_followed_by_reads_at_1_10_and_60_minutes() {
    let mut scene = repeated();
    scene.does(&key_lane("900", 1), issued_as("1001", Cs::IssueInitiated));
    let on_phone = || vec![key_seen("1001", 1, Cs::Issued)];
    assert_eq!(scene.owes_phone_read(), "issue read_phone +60");
    scene.reads_phone(on_phone());
    assert_eq!(scene.owes_phone_read(), "issue read_phone +540");
    scene.reads_phone(on_phone());
    assert_eq!(scene.owes_phone_read(), "issue read_phone +3000");
    scene.reads_phone(on_phone());
    assert_eq!(scene.owes_phone_read(), "-");
}

#[test]
fn surplus_goes_up_to_our_own_unanswered_calls_and_no_further() {
    let mut scene = repeated();
    scene.does(&key_lane("900", 1), issued_as("1001", Cs::IssueInitiated));
    scene.reads_phone(vec![
        key_seen("1000", 1, Cs::Issued),
        key_seen("1001", 1, Cs::Issued),
        key_seen("1002", 1, Cs::Issued),
    ]);
    let held = &scene.key("900", 1).held;
    assert!(held[&credential("1000")].ours, "one call was unanswered");
    assert!(
        !held[&credential("1002")].ours,
        "the other is somebody else's"
    );
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
    scene.does(&key_lane("900", 1), Answer::Revoked);
    assert_eq!(scene.owes_key(), "-", "the foreign one stays");
    assert_eq!(
        scene.key_state("900", 1),
        "issued",
        "and so does the current one"
    );
}

#[test]
fn a_late_answer_after_a_takeover_ends_the_doubt() {
    let mut scene = Scene::with_parent();
    let call = scene.start(&key_lane("900", 1));
    scene.fail(call.clone(), Fault::Unanswered);
    scene.pass(40);
    scene.answer(call, issued_as("1000", Cs::IssueInitiated));
    assert_eq!(scene.owes_phone_read(), "issue read_phone +0");
    scene.reads_phone(vec![key_seen("1000", 1, Cs::IssueInitiated)]);
    assert_eq!(scene.key_state("900", 1), "accepted");
    assert_eq!(scene.key("900", 1).doubt.unattributed, 0);
    assert_eq!(scene.owes_key(), "-");
}

#[test]
fn a_late_answer_after_a_repeat_is_the_surplus() {
    let mut scene = Scene::with_parent();
    let first = scene.start(&key_lane("900", 1));
    scene.fail(first.clone(), Fault::Unanswered);
    scene.reads_phone(vec![]);
    scene.reads_phone(vec![]);
    scene.does(&key_lane("900", 1), issued_as("1001", Cs::IssueInitiated));
    scene.answer(first, issued_as("1000", Cs::IssueInitiated));
    scene.reads_phone(vec![
        key_seen("1000", 1, Cs::IssueInitiated),
        key_seen("1001", 1, Cs::IssueInitiated),
    ]);
    let owed = &scene.owed[&key_lane("900", 1)].effect;
    assert_eq!(
        *owed,
        Effect::Revoke {
            credential: credential("1000")
        }
    );
}

#[test]
fn an_answer_that_comes_twice_does_not_bring_a_key_back() {
    let mut scene = Scene::with_parent();
    let call = scene.start(&key_lane("900", 1));
    let answer = issued_as("1000", Cs::IssueInitiated);
    scene.answer(call.clone(), answer.clone());
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.does(&key_lane("900", 1), Answer::Revoked);
    scene.pass(60);
    scene.reads_phone(vec![]);
    scene.answer(call, answer);
    assert_eq!(scene.key("900", 1).held.len(), 0);
    assert_eq!(
        scene.owes_phone_read(),
        "issue read_phone +0",
        "but it is looked for"
    );
}

// ---- Adoption ----

#[test]
fn what_is_found_on_a_phone_decides_whether_to_issue() {
    let rows = [
        (Cs::IssueInitiated, "accepted", "-", "adopted"),
        (Cs::Issuing, "accepted", "-", "adopted"),
        (Cs::Issued, "issued", "-", "adopted"),
        (
            Cs::RevokeInitiated,
            "revoking",
            "-",
            "waits until it is gone",
        ),
        (Cs::Revoking, "revoking", "-", "waits until it is gone"),
        (
            Cs::IssueFailed,
            "revoking",
            "withdrawal revoke +0",
            "revoked first",
        ),
        (Cs::Revoked, "wanted", "issue issue +0", "gone already"),
        (
            Cs::Unknown("ODD".into()),
            "revoking",
            "-",
            "read again, nothing done",
        ),
    ];
    for (status, state, owed, why) in rows {
        let mut scene = Scene::with_parent();
        scene.fails(&key_lane("900", 1), Fault::Already);
        assert_eq!(scene.owes_key(), "-", "412: read first");
        assert_eq!(scene.owes_phone_read(), "issue read_phone +0");
        scene.reads_phone(vec![key_seen("1000", 1, status.clone())]);
        scene.pass(10);
        assert_eq!(scene.key_state("900", 1), state, "{status:?}: {why}");
        assert_eq!(scene.owes_key(), owed, "{status:?}: {why}");
    }
}

#[test]
fn a_foreign_failed_key_is_revoked_then_issued() {
    let mut scene = Scene::with_parent();
    scene.fails(&key_lane("900", 1), Fault::Already);
    scene.reads_phone(vec![key_seen("1000", 1, Cs::IssueFailed)]);
    scene.does(&key_lane("900", 1), Answer::Revoked);
    scene.pass(30);
    scene.reads_phone(vec![]);
    assert_eq!(scene.owes_key(), "issue issue +0");
}

#[test]
fn an_unknown_status_is_read_again() {
    let mut scene = Scene::with_parent();
    scene.fails(&key_lane("900", 1), Fault::Already);
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Unknown("ODD".into()))]);
    assert_eq!(scene.owes_phone_read(), "confirm read_phone +30");
}

#[test]
fn a_phone_is_read_before_its_first_issue_in_three_cases_only() {
    let active = |scene: &mut Scene, by: &str, ago: u64| {
        scene.pass(1000);
        let time = origo_adapter::core::Timestamp(scene.now.0 - i64::try_from(ago).unwrap() * 1000);
        let what = Happening::PhoneActive {
            container: container("900"),
            invitation: Some(crate::support::scene::invitation(by)),
            device: origo_adapter::core::observation::Device::default(),
        };
        scene.event_at(time, what);
        scene.wish(wish_parent(1, 1));
    };
    let mut clean = Scene::invited();
    active(&mut clean, "800", 5);
    assert_eq!(
        (clean.owes_key().as_str(), clean.owes_phone_read().as_str()),
        ("issue issue +0", "-")
    );

    let mut foreign = Scene::invited();
    active(&mut foreign, "899", 5);
    let mut old = Scene::invited();
    active(&mut old, "800", 121);
    let mut adopted = Scene::invited();
    adopted.change(|identity| {
        let enrollment = identity.enrollments.get_mut(&manager()).unwrap();
        enrollment.user.state = origo_adapter::core::identity::CmUserState::Present {
            id: hid_user("700"),
            adopted: true,
        };
    });
    active(&mut adopted, "800", 5);
    for (case, scene) in [("invitation", &foreign), ("age", &old), ("user", &adopted)] {
        assert_eq!(scene.owes_key(), "-", "{case}");
        assert_eq!(scene.owes_phone_read(), "issue read_phone +0", "{case}");
    }
    old.reads_phone(vec![]);
    assert_eq!(old.owes_key(), "issue issue +0");
}

// ---- G2: none lost ----

#[test]
fn a_refusal_of_the_service_advances_nothing() {
    let mut scene = Scene::with_parent();
    for _ in 0..1000 {
        scene.fails(&key_lane("900", 1), Fault::Refused);
        scene.pass(200);
    }
    assert!(scene.now.since(START) > Duration::from_hours(24));
    assert_eq!(scene.automation(), "issuing", "neither held nor stuck");
    assert_eq!(scene.owes_key(), "issue issue +0");
    scene.fails(&key_lane("900", 1), Fault::Refused);
    assert_eq!(
        scene.owes_key(),
        "issue issue +5",
        "due again at the next probe but one"
    );
}

#[test]
fn a_refused_read_cancel_or_revoke_is_only_put_off() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.fails(&key_lane("900", 1), Fault::Refused);
    assert_eq!(scene.owes_key(), "withdrawal revoke +5");
    assert!(!scene.key("900", 1).held[&credential("1000")].doomed);
    let mut scene = Scene::in_doubt();
    scene.fails(&phone_lane(), Fault::Refused);
    assert_eq!(scene.owes_phone_read(), "issue read_phone +5");
    let mut scene = Scene::invited();
    scene.wish(Wish::DeleteAutomation(automation_id(1)));
    scene.fails(&invitation_lane(), Fault::Refused);
    assert_eq!(
        scene.owes(&invitation_lane()),
        "withdrawal cancel_invitation +5"
    );
}

#[test]
fn a_read_that_fails_by_itself_backs_off() {
    let mut scene = Scene::in_doubt();
    scene.fails(&phone_lane(), Fault::Rejected(Rejection::Other));
    scene.fails(&phone_lane(), Fault::Rejected(Rejection::Other));
    scene.fails(&phone_lane(), Fault::Rejected(Rejection::Other));
    let wait = scene.owed[&phone_lane()].not_before.since(scene.now);
    assert!(wait >= secs(120), "{wait:?}");
}

#[test]
fn a_phone_whose_event_is_missing_is_found_by_its_invitation() {
    let mut scene = Scene::invited();
    scene.invitation_event("800", Is::Acknowledged);
    assert_eq!(scene.owes(&read_lane()), "confirm read_user +120");
    let seen = scene.user_seen(
        vec![invitation_seen("800", Is::Acknowledged)],
        vec![phone_seen("900", vec![])],
    );
    scene.does(&read_lane(), Answer::User(seen));
    scene.wish(wish_parent(1, 1));
    assert_eq!(scene.owes_key(), "issue issue +0");
    assert_eq!(scene.owes(&read_lane()), "-");
}

#[test]
fn a_phone_spends_its_invitation_even_if_nobody_told_of_the_redemption() {
    let mut scene = Scene::invited();
    scene.phone_active("900", "800");
    assert!(scene.enrollment().open_invitation().is_none());
    scene.wish(wish_invite(false));
    assert_eq!(
        scene.owes(&invitation_lane()),
        "enroll create_invitation +0"
    );
}

#[test]
fn an_invitation_is_read_when_it_should_have_ended() {
    let scene = Scene::invited();
    assert_eq!(
        scene.owes(&read_lane()),
        format!("confirm read_user +{}", 7 * 86_400 + 30)
    );
}

#[test]
fn a_phone_told_before_it_is_ready_is_read_until_it_is() {
    let mut scene = Scene::invited();
    let mut seen = phone_seen("900", vec![]);
    seen.status = ContainerStatus::Initialized;
    scene.invitation_event("800", Is::Acknowledged);
    let user = scene.user_seen(vec![], vec![seen]);
    scene.does(&read_lane(), Answer::User(user));
    scene.wish(wish_parent(1, 1));
    assert_eq!(scene.owes_phone_read(), "confirm read_phone +30");
    scene.reads_phone(vec![]);
    assert_eq!(scene.owes_key(), "issue issue +0");
}

// ---- G3: withdrawn means gone ----

#[test]
fn every_way_to_withdraw_owes_a_revoke() {
    type Way = (&'static str, fn(&mut Scene));
    let ways: [Way; 5] = [
        ("parent", |scene| {
            scene.wish(Wish::DeleteParent(parent_id(1)));
        }),
        ("child", delete_child),
        ("identity", |scene| scene.wish(Wish::DeleteIdentity)),
        ("suspended", |scene| {
            scene.change(|identity| {
                identity
                    .acs_users
                    .values_mut()
                    .for_each(|user| user.suspended = true);
            });
        }),
        ("container", |scene| {
            scene.event(Happening::PhoneOther {
                container: container("900"),
            });
            let mut seen = phone_seen("900", vec![key_seen("1000", 1, Cs::Issued)]);
            seen.status = ContainerStatus::Deleting;
            scene.does(&phone_lane(), Answer::Phone(seen));
        }),
    ];
    for (what, withdraw) in ways {
        let mut scene = Scene::issued();
        withdraw(&mut scene);
        assert_eq!(scene.owes_key(), "withdrawal revoke +0", "{what}");
        assert_eq!(scene.key_state("900", 1), "revoking", "{what}");
    }
}

#[test]
fn a_revoke_is_confirmed_by_a_read() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.does(&key_lane("900", 1), Answer::Revoked);
    assert_eq!(scene.child_state("900", 1), Some("revoking"));
    assert_eq!(scene.owes_phone_read(), "confirm read_phone +30");
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Revoking)]);
    assert_eq!(scene.owes_phone_read(), "confirm read_phone +30");
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Revoking)]);
    assert_eq!(scene.owes_phone_read(), "confirm read_phone +120");
    scene.reads_phone(vec![]);
    assert_eq!(scene.key_state("900", 1), "revoked");
    assert!(scene.is().parents.is_empty());
}

#[test]
fn a_revoke_without_an_answer_is_looked_at_and_repeated() {
    for fault in [
        Fault::Unanswered,
        Fault::Already,
        Fault::Busy,
        Fault::WrongState,
    ] {
        let mut scene = Scene::issued();
        scene.wish(Wish::DeleteParent(parent_id(1)));
        scene.fails(&key_lane("900", 1), fault);
        assert_eq!(scene.owes_phone_read(), "issue read_phone +0", "{fault:?}");
        scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
        assert_eq!(
            scene.owed[&key_lane("900", 1)].effect.name(),
            "revoke",
            "{fault:?}"
        );
        scene.fails(&key_lane("900", 1), Fault::Gone);
        assert!(scene.is().parents.is_empty(), "{fault:?}: 404 is done");
    }
}

#[test]
fn a_key_of_unknown_outcome_is_withdrawn_at_every_point_of_the_doubt() {
    for (reads_before, found) in [(0, false), (1, false), (0, true), (1, true)] {
        let mut scene = Scene::in_doubt();
        for _ in 0..reads_before {
            scene.reads_phone(vec![]);
        }
        let gave_up = scene.key("900", 1).trouble.since.unwrap();
        scene.wish(Wish::DeleteParent(parent_id(1)));
        assert_eq!(scene.owes_key(), "-", "nothing is known to revoke yet");
        assert_eq!(scene.child_state("900", 1), Some("revoking"));
        if found {
            scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
            assert_eq!(scene.owes_key(), "withdrawal revoke +0");
            scene.does(&key_lane("900", 1), Answer::Revoked);
            scene.pass(60);
            scene.reads_phone(vec![]);
        } else {
            while !scene.is().parents.is_empty() {
                scene.reads_phone(vec![]);
            }
            assert!(scene.now >= gave_up.plus(secs(120)), "not before the bound");
        }
        assert!(scene.is().parents.is_empty());
        assert_eq!(scene.owes_key(), "-");
    }
}

#[test]
fn a_key_withdrawn_while_its_issue_is_under_way_is_revoked_after_the_answer() {
    let mut scene = Scene::with_parent();
    let call = scene.start(&key_lane("900", 1));
    scene.wish(Wish::DeleteParent(parent_id(1)));
    assert_eq!(scene.child_state("900", 1), Some("revoking"));
    scene.answer(call, issued_as("1000", Cs::IssueInitiated));
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
}

#[test]
fn a_new_wish_waits_until_none_is_live() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.does(&key_lane("900", 1), Answer::Revoked);
    scene.wish(wish_parent(2, 1));
    assert_eq!(scene.key_state("900", 1), "revoking", "doomed is finished");
    assert_eq!(scene.owes_key(), "-");
    scene.reads_phone(vec![]);
    assert_eq!(scene.owes_key(), "issue issue +0");
}

#[test]
fn a_new_wish_before_the_revoke_keeps_the_key() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.wish(wish_parent(2, 1));
    assert_eq!(scene.key_state("900", 1), "issued");
    assert_eq!(scene.owes_key(), "-");
}

#[test]
fn a_doomed_key_is_finished_even_if_its_revoke_was_lost() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.fails(&key_lane("900", 1), Fault::Unanswered);
    scene.wish(wish_parent(2, 1));
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
    assert_eq!(scene.owed[&key_lane("900", 1)].effect.name(), "revoke");
}

#[test]
fn an_identity_goes_with_its_user_last() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteIdentity);
    assert_eq!(scene.owes(&user_lane()), "-", "keys first");
    scene.does(&key_lane("900", 1), Answer::Revoked);
    scene.does(&invitation_lane(), Answer::InvitationCancelled);
    scene.pass(30);
    scene.reads_phone(vec![]);
    assert_eq!(scene.owes(&user_lane()), "withdrawal delete_user +0");
    scene.does(&user_lane(), Answer::UserDeleted);
    assert_eq!(scene.user_state(), "deleting");
    scene.fails(&user_lane(), Fault::Gone);
    for _ in 0..2 {
        if scene.identity.is_some() {
            scene.fails(&phone_lane(), Fault::Gone);
        }
    }
    assert_eq!(scene.identity, None);
}

#[test]
fn a_lost_deletion_is_begun_again() {
    let mut scene = Scene::invited();
    scene.wish(Wish::DeleteIdentity);
    scene.does(&invitation_lane(), Answer::InvitationCancelled);
    scene.fails(&user_lane(), Fault::Unanswered);
    let seen = scene.user_seen(vec![], vec![]);
    scene.does(&user_lane(), Answer::User(seen));
    assert_eq!(scene.owes(&user_lane()), "withdrawal delete_user +0");
}

#[test]
fn a_phone_is_gone_after_two_reads_or_one_word() {
    let mut scene = Scene::issued();
    scene.event(Happening::PhoneOther {
        container: container("900"),
    });
    scene.fails(&phone_lane(), Fault::Gone);
    assert_eq!(scene.owes_phone_read(), "confirm read_phone +30");
    assert_eq!(scene.child_state("900", 1), Some("issued"));
    scene.fails(&phone_lane(), Fault::Gone);
    assert!(scene.phone("900").removed_at.is_some());
    assert_eq!(scene.child_state("900", 1), None);
    assert_eq!(scene.owes_key(), "-");
}

// ---- shared keys ----

#[test]
fn parents_of_one_part_number_share_a_key() {
    let mut scene = Scene::issued();
    scene.wish(wish_parent(2, 1));
    assert_eq!(scene.owes_key(), "-");
    assert_eq!(scene.child_state("900", 2), Some("issued"));
    scene.wish(Wish::DeleteParent(parent_id(1)));
    assert_eq!(scene.owes_key(), "-", "the other keeps it");
    assert!(!scene.is().parents.contains_key(&parent_id(1)));
    scene.wish(Wish::DeleteParent(parent_id(2)));
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
}

#[test]
fn two_part_numbers_are_two_keys_and_a_second_phone_has_its_own() {
    let mut scene = Scene::issued();
    scene.wish(wish_parent(2, 2));
    assert_eq!(scene.owes(&key_lane("900", 2)), "issue issue +0");
    assert_eq!(scene.owes_key(), "-");
    scene.phone_active("901", "800");
    assert_eq!(scene.owes(&key_lane("901", 1)), "issue issue +0");
    assert_eq!(scene.owes(&key_lane("901", 2)), "issue issue +0");
}

// ---- an issue's own failures ----

#[test]
fn an_issue_that_fails_is_retried_held_or_given_up() {
    let rows = [
        (Fault::Busy, "issue issue", "issuing", "wanted"),
        (
            Fault::OutOfStock,
            "issue issue",
            "held: out_of_stock",
            "wanted",
        ),
        (
            Fault::Rejected(Rejection::PhoneFull),
            "-",
            "stuck: phone_full",
            "failed",
        ),
        (
            Fault::Rejected(Rejection::Incompatible),
            "-",
            "stuck: phone_incompatible",
            "failed",
        ),
        (
            Fault::Rejected(Rejection::PartNumber),
            "-",
            "stuck: part_number_refused",
            "failed",
        ),
        (Fault::Gone, "-", "issuing", "wanted"),
        (Fault::WrongState, "-", "issuing", "wanted"),
        (Fault::Conflict, "-", "issuing", "wanted"),
    ];
    for (fault, owed, automation, key) in rows {
        let mut scene = Scene::with_parent();
        scene.fails(&key_lane("900", 1), fault);
        assert!(
            scene.owes_key().starts_with(owed),
            "{fault:?}: {}",
            scene.owes_key()
        );
        assert_eq!(scene.automation(), automation, "{fault:?}");
        assert_eq!(scene.key_state("900", 1), key, "{fault:?}");
    }
}

#[test]
fn a_failure_of_its_own_follows_the_schedule_and_ends_stuck_but_retried() {
    let mut scene = Scene::with_parent();
    let mut waits = vec![];
    while scene.now.since(START) < Duration::from_hours(26) {
        scene.fails(&key_lane("900", 1), Fault::Busy);
        waits.push(
            scene.owed[&key_lane("900", 1)]
                .not_before
                .since(scene.now)
                .as_secs(),
        );
    }
    for (wait, base) in waits.iter().zip([5, 30, 120, 600, 3600, 3600]) {
        assert!((base..=base * 6 / 5).contains(wait), "{wait} for {base}");
    }
    assert_eq!(scene.automation(), "stuck: issue_fails");
    let told = scene
        .changes
        .iter()
        .any(|(_, c)| c.to.as_deref() == Some("stuck: issue_fails"));
    assert!(told, "time alone made it stuck, and the journal says so");
    scene.does(&key_lane("900", 1), issued_as("1000", Cs::IssueInitiated));
    assert_eq!(scene.automation(), "issuing");
}

#[test]
fn a_new_wish_tries_a_refused_key_again() {
    let mut scene = Scene::with_parent();
    scene.fails(&key_lane("900", 1), Fault::Rejected(Rejection::PhoneFull));
    scene.wish(wish_parent(2, 1));
    assert_eq!(scene.owes_key(), "issue issue +0");
}

#[test]
fn a_key_revoked_elsewhere_is_reported_not_repaired() {
    let mut scene = Scene::issued();
    let credential = credential("1000");
    scene.event(Happening::KeyOther {
        credential,
        container: None,
    });
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Revoking)]);
    assert_eq!(scene.key_state("900", 1), "revoking");
    scene.reads_phone(vec![]);
    assert_eq!(scene.key_state("900", 1), "failed");
    assert_eq!(scene.automation(), "stuck: revoked_elsewhere");
    assert_eq!(scene.owes_key(), "-");
}

// ---- dates ----

#[test]
fn dates_act_by_the_timer() {
    let mut scene = Scene::with_phone();
    let (from, to) = (START.plus(secs(1000)), START.plus(secs(2000)));
    scene.wish(wish_parent_between(1, 1, Some(from), Some(to)));
    assert_eq!(scene.owes_key(), "-");
    assert_eq!(scene.owes(&Lane::Timer), "timer wake +1000");
    scene.now = from;
    scene.wake();
    assert_eq!(scene.owes(&Lane::Timer), "timer wake +1000");
    scene.does(&key_lane("900", 1), issued_as("1000", Cs::Issued));
    scene.now = to;
    scene.wake();
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
    assert_eq!(scene.owes(&Lane::Timer), "-");
    let change = scene
        .changes
        .iter()
        .rev()
        .find(|(_, c)| c.entity.starts_with("key/"));
    assert_eq!(
        change.unwrap().1.to.as_deref(),
        Some("revoking"),
        "time's own change is told"
    );
}

// ---- invitations ----

#[test]
fn the_first_invitation_comes_with_the_user() {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    assert_eq!(scene.automation(), "preparing_user");
    assert_eq!(scene.owes(&user_lane()), "enroll create_user +0");
    let Effect::CreateUser { user, invite } = &scene.owed[&user_lane()].effect else {
        panic!("a create")
    };
    assert!(invite.is_some());
    assert_eq!(
        (user.given_name.0.as_str(), user.family_name.0.as_str()),
        ("Ada", "Okafor")
    );
    assert_eq!(scene.owed.len(), 1);
    let invited = Scene::invited();
    assert_eq!(invited.automation(), "waiting_for_phone");
    assert_eq!(invited.owes(&invitation_lane()), "-");
}

#[test]
fn an_expired_invitation_is_renewed_up_to_the_cap() {
    let mut scene = Scene::invited();
    for (renewal, id) in [(1, "800"), (2, "801"), (3, "802")] {
        scene.invitation_event(id, Is::Expired);
        assert_eq!(
            scene.owes(&invitation_lane()),
            "enroll create_invitation +0",
            "{renewal}"
        );
        assert_eq!(scene.automation(), "inviting");
        let next = invitation_seen(&format!("{}", 800 + renewal), Is::Pending);
        scene.does(&invitation_lane(), Answer::InvitationCreated(next));
    }
    scene.invitation_event("803", Is::Expired);
    assert_eq!(scene.owes(&invitation_lane()), "-");
    assert_eq!(scene.automation(), "waiting_for_phone: invitation_expired");
}

#[test]
fn no_renewal_once_a_phone_is_enrolled() {
    let mut scene = Scene::with_phone();
    scene.invitation_event("800", Is::Expired);
    assert_eq!(scene.owes(&invitation_lane()), "-");
}

#[test]
fn a_further_phone_is_invited_when_asked_and_one_open_is_enough() {
    let mut scene = Scene::with_phone();
    scene.invitation_event("800", Is::Acknowledged);
    assert_eq!(scene.owes(&invitation_lane()), "-");
    scene.wish(wish_invite(false));
    let next = invitation_seen("801", Is::Pending);
    scene.does(&invitation_lane(), Answer::InvitationCreated(next));
    scene.wish(wish_invite(false));
    assert_eq!(scene.owes(&invitation_lane()), "-", "the open one serves");
    scene.wish(wish_invite(true));
    assert_eq!(scene.owes(&invitation_lane()), "enroll email_invitation +0");
    scene.does(&invitation_lane(), Answer::InvitationEmailed);
    assert_eq!(scene.owes(&invitation_lane()), "-");
}

#[test]
fn of_two_invitations_after_an_unknown_outcome_one_is_cancelled() {
    let mut scene = Scene::with_phone();
    scene.invitation_event("800", Is::Acknowledged);
    scene.wish(wish_invite(false));
    scene.fails(&invitation_lane(), Fault::Unanswered);
    assert_eq!(scene.owes(&invitation_lane()), "-", "a read comes first");
    assert_eq!(scene.owes(&read_lane()), "issue read_user +30");
    let seen = scene.user_seen(vec![], vec![phone_seen("900", vec![])]);
    scene.does(&read_lane(), Answer::User(seen));
    let second = invitation_seen("802", Is::Pending);
    scene.does(&invitation_lane(), Answer::InvitationCreated(second));
    scene.pass(5);
    scene.invitation_event("801", Is::Pending);
    let owed = &scene.owed[&invitation_lane()].effect;
    assert_eq!(owed.name(), "cancel_invitation");
    assert!(scene.enrollment().invitations[&crate::support::scene::invitation("801")].ours);
}

#[test]
fn a_lost_invitation_that_shows_is_the_one_asked_for() {
    let mut scene = Scene::with_phone();
    scene.invitation_event("800", Is::Acknowledged);
    scene.wish(wish_invite(false));
    scene.fails(&invitation_lane(), Fault::Unanswered);
    let seen = scene.user_seen(
        vec![invitation_seen("801", Is::Pending)],
        vec![phone_seen("900", vec![])],
    );
    scene.does(&read_lane(), Answer::User(seen));
    assert_eq!(scene.owes(&invitation_lane()), "-");
    assert_eq!(scene.invitation_state("801"), "pending");
}

#[test]
fn a_stop_cancels_open_invitations_and_leaves_keys() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteAutomation(automation_id(1)));
    assert_eq!(scene.automation(), "stopping");
    assert_eq!(
        scene.owes(&invitation_lane()),
        "withdrawal cancel_invitation +0"
    );
    assert_eq!(scene.owes_key(), "-");
    scene.does(&invitation_lane(), Answer::InvitationCancelled);
    assert_eq!(scene.automation(), "none");
    assert_eq!(scene.key_state("900", 1), "issued");
    scene.phone_active("901", "800");
    assert_eq!(
        scene.owes(&key_lane("901", 1)),
        "-",
        "no more phones are taken in"
    );
    scene.wish(wish_invite(false));
    assert_eq!(scene.owes(&invitation_lane()), "-");
}

#[test]
fn a_stop_waits_for_an_invitation_of_unknown_outcome() {
    let mut scene = Scene::with_phone();
    scene.invitation_event("800", Is::Acknowledged);
    scene.wish(wish_invite(false));
    scene.fails(&invitation_lane(), Fault::Unanswered);
    scene.wish(Wish::DeleteAutomation(automation_id(1)));
    assert_eq!(scene.automation(), "stopping");
    assert_eq!(scene.owes(&read_lane()), "issue read_user +150");
    let seen = scene.user_seen(
        vec![invitation_seen("801", Is::Pending)],
        vec![phone_seen("900", vec![])],
    );
    scene.does(&read_lane(), Answer::User(seen));
    assert_eq!(
        scene.owes(&invitation_lane()),
        "withdrawal cancel_invitation +0"
    );
}

// ---- HID's user ----

#[test]
fn a_taken_address_is_searched_read_and_judged() {
    let rows = [
        (true, false, "present", "waiting_for_phone"),
        (false, false, "conflict", "held: user_conflict"),
        (false, true, "present", "waiting_for_phone"),
    ];
    for (ours, by_email, user, automation) in rows {
        let mut scene = Scene::new();
        let manager_policy = scene.policy.managers.get_mut(&manager()).unwrap();
        manager_policy.adopt_by_email = by_email;
        scene.wish(wish_launch(1));
        scene.fails(&user_lane(), Fault::Conflict);
        let by = SearchBy::Email(Personal("ada@example.com".into()));
        assert_eq!(scene.owed[&user_lane()].effect, Effect::SearchUser { by });
        scene.does(&user_lane(), Answer::UserFound(Some(hid_user("700"))));
        assert_eq!(scene.owes(&user_lane()), "issue read_user +0");
        let mut seen = scene.user_seen(vec![invitation_seen("800", Is::Pending)], vec![]);
        seen.external_id = seen.external_id.filter(|_| ours);
        scene.does(&user_lane(), Answer::User(seen));
        assert_eq!(scene.user_state(), user);
        if user == "present" {
            assert_eq!(scene.automation(), "inviting", "the one there is not ours");
            let made = invitation_seen("801", Is::Pending);
            scene.does(&invitation_lane(), Answer::InvitationCreated(made));
        }
        assert_eq!(scene.automation(), automation);
    }
}

#[test]
fn an_unanswered_create_is_searched_by_our_mark() {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    scene.fails(&user_lane(), Fault::Unanswered);
    let by = SearchBy::ExternalId(scene.is().id);
    assert_eq!(scene.owed[&user_lane()].effect, Effect::SearchUser { by });
    scene.does(&user_lane(), Answer::UserFound(None));
    assert_eq!(scene.owed[&user_lane()].effect.name(), "create_user");
    scene.fails(&user_lane(), Fault::Unanswered);
    scene.does(&user_lane(), Answer::UserFound(Some(hid_user("700"))));
    let seen = scene.user_seen(vec![invitation_seen("800", Is::Pending)], vec![]);
    scene.does(&user_lane(), Answer::User(seen));
    assert_eq!(
        scene.automation(),
        "waiting_for_phone",
        "and its invitation is ours"
    );
}

#[test]
fn a_deletion_waits_for_a_create_that_may_still_take_effect() {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    scene.fails(&user_lane(), Fault::Unanswered);
    scene.does(&user_lane(), Answer::UserFound(None));
    scene.wish(Wish::DeleteIdentity);
    assert_eq!(scene.owes(&user_lane()), "issue search_user +144");
    let mut late = scene.clone();
    scene.does(&user_lane(), Answer::UserFound(None));
    assert_eq!(scene.identity, None);
    late.does(&user_lane(), Answer::UserFound(Some(hid_user("700"))));
    let seen = late.user_seen(vec![], vec![]);
    late.does(&user_lane(), Answer::User(seen));
    assert_eq!(late.owes(&user_lane()), "withdrawal delete_user +0");
}

#[test]
fn a_user_being_deleted_by_others_is_waited_for() {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    scene.fails(&user_lane(), Fault::Conflict);
    scene.does(&user_lane(), Answer::UserFound(Some(hid_user("700"))));
    let mut seen = scene.user_seen(vec![], vec![]);
    seen.deleting = true;
    scene.does(&user_lane(), Answer::User(seen));
    assert_eq!(scene.user_state(), "taken");
    assert_eq!(scene.owes(&user_lane()), "issue search_user +5");
}

#[test]
fn incomplete_data_are_held_without_a_call() {
    let whole = crate::support::scene::ada();
    let with = |change: fn(&mut origo_adapter::core::identity::Profile)| {
        let mut profile = whole.clone();
        change(&mut profile);
        profile
    };
    let bad = [
        with(|p| p.full_name = None),
        with(|p| p.email_address = None),
        with(|p| p.full_name = Some(Personal("X".into()))),
        with(|p| p.email_address = Some(Personal("nobody".into()))),
    ];
    for profile in bad {
        let mut scene = Scene::new();
        scene.wish(Wish::Identity(profile));
        scene.wish(wish_launch(1));
        assert_eq!(scene.automation(), "held: user_data_incomplete");
        assert!(scene.owed.is_empty());
        scene.wish(Wish::Identity(whole.clone()));
        assert_eq!(scene.owes(&user_lane()), "enroll create_user +0");
    }
}

#[test]
fn refused_data_are_held_until_they_change() {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    scene.fails(&user_lane(), Fault::Rejected(Rejection::UserData));
    assert_eq!(scene.automation(), "held: user_data_incomplete");
    assert_eq!(scene.owes(&user_lane()), "-");
    let mut better = crate::support::scene::ada();
    better.full_name = Some(Personal("Ada".into()));
    scene.wish(Wish::Identity(better));
    let Effect::CreateUser { user, .. } = &scene.owed[&user_lane()].effect else {
        panic!("a create")
    };
    assert_eq!(user.given_name, user.family_name, "one word serves as both");
}

#[test]
fn a_user_that_can_not_be_made_or_is_gone_is_stuck() {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    while scene.now.since(START) < Duration::from_hours(26) {
        scene.fails(&user_lane(), Fault::Busy);
    }
    assert_eq!(scene.automation(), "stuck: user_not_created");
    let mut scene = Scene::invited();
    scene.event(Happening::UserOther);
    scene.fails(&read_lane(), Fault::Gone);
    assert_eq!(
        scene.automation(),
        "waiting_for_phone",
        "one read can be stale"
    );
    assert_eq!(scene.owes(&read_lane()), "confirm read_user +30");
    scene.fails(&read_lane(), Fault::Gone);
    assert_eq!(scene.automation(), "stuck: user_gone");
    scene.wish(wish_launch(2));
    assert_eq!(
        scene.owes(&user_lane()),
        "enroll create_user +0",
        "a new wish is a new try"
    );
}

#[test]
fn an_automation_goes_through_its_states() {
    let mut scene = Scene::new();
    let mut names = vec![scene.changes.len().to_string()];
    scene.wish(wish_parent(1, 1));
    names.push(scene.automation());
    let call = scene.start(&user_lane());
    let user = scene.user_seen(vec![invitation_seen("800", Is::Pending)], vec![]);
    scene.answer(call, Answer::UserCreated(user));
    names.push(scene.automation());
    scene.phone_active("900", "800");
    names.push(scene.automation());
    scene.does(&key_lane("900", 1), issued_as("1000", Cs::Issued));
    names.push(scene.automation());
    scene.wish(wish_parent(2, 2));
    names.push(scene.automation());
    let told = [
        "preparing_user",
        "waiting_for_phone",
        "issuing",
        "enrolled",
        "issuing",
    ];
    assert_eq!(names[1..], told);
}
