//! What somebody else changes at HID (contract.md section 4, `drift`). Where nothing else is said, phone 900 of
//! invitation 800 belongs to user 700 and holds key 1000 of part number 1.

use origo_adapter::core::drift::{Found, found};
use origo_adapter::core::effect::Lane;
use origo_adapter::core::identity::Identity;
use origo_adapter::core::observation::{
    Answer, ContainerSeen, ContainerStatus, CredentialStatus as Cs, Fault, Happening,
    InvitationStatus as Is, Rejection,
};
use origo_adapter::core::policy::DriftPolicy;
use origo_adapter::core::wish::Wish;

use crate::support::lanes::{invitation_lane, phone_lane, phone_other, read_lane, user_lane};
use crate::support::scene::{
    Scene, automation_id, container, doors, invitation, invitation_seen, key_lane, key_seen,
    manager, parent_id, phone_id, phone_seen, wish_invite, wish_launch,
};

fn repairing(mut scene: Scene) -> Scene {
    let hq = scene.policy.managers.get_mut(&manager());
    hq.expect("the manager").drift = DriftPolicy::Repair;
    scene
}

/// Somebody revokes key `id`: HID shows it on its way out, then no more.
fn revoke_by_hand(scene: &mut Scene, id: &str) {
    for status in [Cs::Revoking, Cs::Revoked] {
        scene.pass(30);
        scene.event(phone_other());
        scene.reads_phone(vec![key_seen(id, 1, status)]);
    }
}

/// Somebody deletes the user: two reads do not find it.
fn delete_by_hand(scene: &mut Scene) {
    scene.event(Happening::UserOther);
    for _ in 0..2 {
        scene.fails(&read_lane(), Fault::Gone);
    }
}

fn phone_goes(scene: &mut Scene) {
    scene.fails(&phone_lane(), Fault::Gone);
}

/// What this does to the scene is noticed so; a second look notices nothing.
fn finds(scene: &mut Scene, act: impl FnOnce(&mut Scene)) -> Vec<Found> {
    let before: Identity = scene.is().clone();
    act(scene);
    assert_eq!(found(scene.is(), scene.is(), scene.now), []);
    found(&before, scene.is(), scene.now)
}

fn one(what: &'static str, entity: String, repaired: bool) -> Vec<Found> {
    vec![Found {
        what,
        entity,
        repaired,
    }]
}

fn key_entity() -> String {
    format!("key/{}/MID-1", phone_id("900"))
}

// ---- keys ----

#[test]
fn a_key_that_was_revoked_by_hand_is_reported_and_left_so() {
    let mut scene = Scene::issued();
    let found = finds(&mut scene, |scene| revoke_by_hand(scene, "1000"));
    assert_eq!(found, one("key_revoked", key_entity(), false));
    scene.pass(86_400 * 3);
    scene.wake();
    assert_eq!(scene.key_state("900", 1), "failed");
    assert_eq!(scene.owes_key(), "-");
}

#[test]
fn where_it_is_to_be_repaired_it_is_issued_again() {
    let mut scene = repairing(Scene::issued());
    let found = finds(&mut scene, |scene| revoke_by_hand(scene, "1000"));
    assert_eq!(found, one("key_revoked", key_entity(), true));
    assert_eq!(scene.key_state("900", 1), "wanted");
    let seen = key_seen("1001", 1, Cs::IssueInitiated);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    assert_eq!(scene.key_state("900", 1), "accepted");
}

#[test]
fn nothing_is_issued_while_the_old_key_is_live_or_a_call_is_in_doubt() {
    let mut scene = repairing(Scene::issued());
    scene.event(phone_other());
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Revoking)]);
    assert_eq!(scene.owes_key(), "-", "still there");
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Revoked)]);
    scene.fails(&key_lane("900", 1), Fault::Unanswered);
    assert_eq!(scene.key_state("900", 1), "unconfirmed");
    assert_eq!(scene.owes_key(), "-");
    assert_eq!(scene.owes_phone_read(), "issue read_phone +30");
}

#[test]
fn one_repair_a_day_and_then_it_stays_as_it_is() {
    let mut scene = repairing(Scene::issued());
    revoke_by_hand(&mut scene, "1000");
    let seen = key_seen("1001", 1, Cs::Issued);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    scene.pass(3600);
    let found = finds(&mut scene, |scene| revoke_by_hand(scene, "1001"));
    assert_eq!(found, one("key_revoked", key_entity(), false));
    scene.pass(86_400 * 3);
    scene.wake();
    assert_eq!(scene.key_state("900", 1), "failed");
    let key = scene.key("900", 1);
    assert_eq!(key.failed, Some(Rejection::RevokedElsewhere));
}

#[test]
fn a_day_later_it_is_repaired_once_more() {
    let mut scene = repairing(Scene::issued());
    revoke_by_hand(&mut scene, "1000");
    let seen = key_seen("1001", 1, Cs::Issued);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    scene.pass(86_400);
    revoke_by_hand(&mut scene, "1001");
    assert_eq!(scene.key_state("900", 1), "wanted");
}

#[test]
fn failures_of_before_do_not_count_for_the_key_that_is_made_again() {
    let mut scene = repairing(Scene::with_parent());
    scene.fails(&key_lane("900", 1), Fault::Busy);
    let seen = key_seen("1000", 1, Cs::IssueInitiated);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    revoke_by_hand(&mut scene, "1000");
    scene.fails(&key_lane("900", 1), Fault::Busy);
    assert_eq!(scene.owes_key(), "issue issue +5");
}

#[test]
fn what_was_reported_before_is_repaired_when_the_policy_says_so() {
    let mut scene = Scene::issued();
    revoke_by_hand(&mut scene, "1000");
    let mut scene = repairing(scene);
    scene.wake();
    assert_eq!(scene.key_state("900", 1), "wanted");
}

#[test]
fn a_key_that_nobody_wants_any_more_is_no_loss() {
    let mut scene = repairing(Scene::issued());
    scene.event(phone_other());
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Revoking)]);
    scene.wish(Wish::DeleteParent(parent_id(1)));
    let found = finds(&mut scene, |scene| revoke_by_hand(scene, "1000"));
    assert_eq!(found, []);
    assert_eq!(scene.owes_key(), "-");
}

// ---- users ----

#[test]
fn a_user_that_was_deleted_by_hand_is_reported_and_left_so() {
    let mut scene = Scene::issued();
    let found = finds(&mut scene, delete_by_hand);
    let entity = format!("cm_user/{}", manager());
    assert_eq!(found, one("user_deleted", entity, false));
    phone_goes(&mut scene);
    assert_eq!(scene.automation(), "stuck: user_gone");
    assert_eq!(scene.owes(&user_lane()), "-");
}

#[test]
fn where_it_is_to_be_repaired_it_is_made_again_with_an_invitation() {
    let mut scene = repairing(Scene::issued());
    delete_by_hand(&mut scene);
    assert_eq!(scene.user_state(), "gone", "its phone may still be there");
    phone_goes(&mut scene);
    assert_eq!(scene.user_state(), "absent");
    assert_eq!(scene.invitation_state("800"), "cancelled");
    let call = scene.start(&user_lane());
    assert_eq!(call.effect.name(), "create_user");
    assert!(format!("{:?}", call.effect).contains("invite: Some"));
    let open = vec![invitation_seen("801", Is::Pending)];
    let mut user = scene.user_seen(open, vec![]);
    user.id = crate::support::scene::hid_user("701");
    scene.answer(call, Answer::UserCreated(user));
    assert_eq!(scene.automation(), "waiting_for_phone");
    scene.phone_active("901", "801");
    assert_eq!(scene.owes(&key_lane("901", 1)), "issue issue +0");
}

#[test]
fn what_is_repaired_at_once_is_reported_all_the_same() {
    let mut scene = repairing(Scene::invited());
    let found = finds(&mut scene, delete_by_hand);
    let entity = format!("cm_user/{}", manager());
    assert_eq!(found, one("user_deleted", entity, true));
}

#[test]
fn nobody_waits_for_a_phone_of_the_old_users_invitation() {
    let mut scene = repairing(Scene::invited());
    scene.invitation_event("800", Is::Acknowledged);
    delete_by_hand(&mut scene);
    let user = scene.user_seen(vec![], vec![]);
    scene.does(&user_lane(), Answer::UserCreated(user));
    assert_eq!(scene.owes(&read_lane()), "-");
}

#[test]
fn the_new_users_invitation_has_all_renewals() {
    let mut scene = repairing(Scene::invited());
    let hq = scene.policy.managers.get_mut(&manager());
    hq.expect("the manager").max_renewals = 1;
    scene.invitation_event("800", Is::Expired);
    let seen = invitation_seen("801", Is::Pending);
    scene.does(&invitation_lane(), Answer::InvitationCreated(seen));
    scene.invitation_event("801", Is::Expired);
    assert_eq!(scene.owes(&invitation_lane()), "-", "used up");
    delete_by_hand(&mut scene);
    let user = scene.user_seen(vec![invitation_seen("802", Is::Pending)], vec![]);
    scene.does(&user_lane(), Answer::UserCreated(user));
    scene.invitation_event("802", Is::Expired);
    let owed = scene.owes(&invitation_lane());
    assert_eq!(owed, "enroll create_invitation +0");
}

#[test]
fn what_was_unknown_of_the_old_users_invitations_says_nothing_of_the_new_ones() {
    let mut scene = repairing(Scene::invited());
    scene.invitation_event("800", Is::Expired);
    scene.event(Happening::UserOther);
    scene.fails(&read_lane(), Fault::Gone);
    scene.pass(20);
    scene.fails(&invitation_lane(), Fault::Unanswered);
    scene.fails(&read_lane(), Fault::Gone);
    let user = scene.user_seen(vec![invitation_seen("801", Is::Pending)], vec![]);
    scene.does(&user_lane(), Answer::UserCreated(user));
    assert_eq!(scene.automation(), "waiting_for_phone");
    scene.invitation_event("666", Is::Pending);
    assert!(!scene.enrollment().invitations[&invitation("666")].ours);
}

#[test]
fn who_has_no_phone_left_is_invited() {
    let mut scene = repairing(Scene::with_phone());
    scene.event(phone_other());
    let deleted = ContainerSeen {
        status: ContainerStatus::Deleting,
        ..phone_seen("900", vec![])
    };
    scene.does(&phone_lane(), Answer::Phone(deleted));
    delete_by_hand(&mut scene);
    let call = scene.start(&user_lane());
    assert!(format!("{:?}", call.effect).contains("invite: Some"));
}

#[test]
fn a_phone_that_stays_needs_no_invitation() {
    let mut scene = repairing(Scene::issued());
    delete_by_hand(&mut scene);
    let seen = phone_seen("900", vec![key_seen("1000", 1, Cs::Issued)]);
    scene.does(&phone_lane(), Answer::Phone(seen));
    assert_eq!(scene.user_state(), "absent");
    let call = scene.start(&user_lane());
    assert!(format!("{:?}", call.effect).contains("invite: None"));
}

#[test]
fn a_user_is_made_again_once_a_day() {
    let mut scene = repairing(Scene::issued());
    delete_by_hand(&mut scene);
    phone_goes(&mut scene);
    for (pause, state) in [(3600, "gone"), (86_400, "gone")] {
        if scene.user_state() == "absent" {
            let user = scene.user_seen(vec![], vec![]);
            scene.does(&user_lane(), Answer::UserCreated(user));
        }
        scene.pass(pause);
        if scene.user_state() == "present" {
            delete_by_hand(&mut scene);
        }
        scene.wake();
        assert_eq!(scene.user_state(), state);
    }
    // A wish is another matter; and after a day the next repair is due.
    scene.wish(wish_launch(1));
    let user = scene.user_seen(vec![], vec![]);
    scene.does(&user_lane(), Answer::UserCreated(user));
    delete_by_hand(&mut scene);
    assert_eq!(scene.user_state(), "absent");
}

#[test]
fn who_is_not_enrolled_any_more_gets_no_user_back() {
    let mut stopped = repairing(Scene::issued());
    stopped.wish(Wish::DeleteAutomation(automation_id(1)));
    stopped.does(&invitation_lane(), Answer::InvitationCancelled);
    delete_by_hand(&mut stopped);
    phone_goes(&mut stopped);
    assert_eq!(stopped.user_state(), "gone");
}

#[test]
fn a_launch_after_the_user_was_deleted_invites_again() {
    let mut scene = Scene::invited();
    delete_by_hand(&mut scene);
    scene.wish(wish_launch(1));
    let call = scene.start(&user_lane());
    assert!(format!("{:?}", call.effect).contains("invite: Some"));
    assert_eq!(scene.enrollment().open_invitation(), None);
}

#[test]
fn our_own_deletion_is_no_loss() {
    let mut scene = Scene::invited();
    // At another manager something is left of the person, so that the user can be seen gone.
    let hq = scene.policy.managers[&manager()].clone();
    scene.policy.managers.insert(doors(), hq);
    scene.wish(Wish::Launch {
        id: automation_id(2),
        manager: doors(),
        part_number: None,
    });
    scene.fails(&Lane::CmUser(doors()), Fault::Unanswered);
    scene.wish(Wish::DeleteIdentity);
    scene.does(&invitation_lane(), Answer::InvitationCancelled);
    scene.does(&user_lane(), Answer::UserDeleted);
    let before = scene.is().clone();
    scene.fails(&user_lane(), Fault::Gone);
    assert_eq!(scene.user_state(), "gone");
    assert_eq!(found(&before, scene.is(), scene.now), []);
}

// ---- phones ----

#[test]
fn a_phone_that_goes_by_hand_leaves_nothing_and_makes_room_for_the_next() {
    let mut scene = Scene::issued();
    let found = finds(&mut scene, |scene| {
        for _ in 0..2 {
            scene.event(phone_other());
            phone_goes(scene);
        }
    });
    assert_eq!(found, [], "its owner may have removed the app");
    assert!(scene.phone("900").removed_at.is_some());
    assert_eq!(scene.child_state("900", 1), None);
    assert_eq!(scene.automation(), "waiting_for_phone");
    scene.phone_active("901", "800");
    assert_eq!(scene.owes(&key_lane("901", 1)), "issue issue +0");
}

#[test]
fn a_phone_of_somebody_elses_invitation_is_reported_read_and_enrolled() {
    let mut scene = Scene::issued();
    scene.invitation_event("666", Is::Pending);
    let found = finds(&mut scene, |scene| {
        scene.event(Happening::PhoneActive {
            container: container("901"),
            invitation: Some(invitation("666")),
            device: origo_adapter::core::observation::Device::default(),
        });
    });
    let entity = format!("phone/{}", phone_id("901"));
    assert_eq!(found, one("phone_added", entity, false));
    assert!(scene.phone("901").enrolled);
    let lane = Lane::Phone(phone_id("901"));
    assert_eq!(
        scene.owes(&lane),
        "issue read_phone +0",
        "before its first key"
    );
}

#[test]
fn a_phone_that_only_a_read_shows_is_reported_where_no_invitation_was_open() {
    let phones = || vec![phone_seen("900", vec![]), phone_seen("901", vec![])];
    let mut scene = Scene::with_phone();
    let found = finds(&mut scene, |scene| {
        scene.event(Happening::UserOther);
        let seen = scene.user_seen(vec![], phones());
        scene.does(&read_lane(), Answer::User(seen));
    });
    let entity = format!("phone/{}", phone_id("901"));
    assert_eq!(found, one("phone_added", entity, false));
    let mut expected = Scene::invited();
    let found = finds(&mut expected, |scene| {
        scene.event(Happening::UserOther);
        let seen = scene.user_seen(vec![], vec![phone_seen("901", vec![])]);
        scene.does(&read_lane(), Answer::User(seen));
    });
    assert_eq!(found, [], "it may have come of ours");
    let mut unanswered = Scene::with_phone();
    unanswered.wish(wish_invite(false));
    unanswered.fails(&invitation_lane(), Fault::Unanswered);
    let found = finds(&mut unanswered, |scene| {
        scene.event(Happening::UserOther);
        let seen = scene.user_seen(vec![], phones());
        scene.does(&read_lane(), Answer::User(seen));
    });
    assert_eq!(found, [], "or of one that we never saw");
}

#[test]
fn what_hangs_below_a_user_that_is_found_is_no_news() {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    scene.fails(&user_lane(), Fault::Conflict);
    let id = crate::support::scene::hid_user("700");
    scene.does(&user_lane(), Answer::UserFound(Some(id)));
    let found = finds(&mut scene, |scene| {
        let seen = scene.user_seen(vec![], vec![phone_seen("900", vec![])]);
        scene.does(&user_lane(), Answer::User(seen));
    });
    assert_eq!(found, []);
    assert!(scene.phone("900").enrolled);
}
