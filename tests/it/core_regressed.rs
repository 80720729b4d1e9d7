//! A store that went back: nothing new for who was not read since (contract.md section 2).

use origo_adapter::core::effect::Lane;
use origo_adapter::core::observation::{Answer, CredentialStatus, Fault, InvitationStatus};
use origo_adapter::core::plan::regressed::is_unread;
use origo_adapter::core::wish::Wish;

use crate::support::scene::{
    Scene, hid_user, invitation_seen, key_seen, manager, parent_id, phone_seen, wish_invite,
};

fn read_lane() -> Lane {
    Lane::Read(manager())
}

/// The state went back just now.
fn goes_back(mut scene: Scene) -> Scene {
    scene.policy.regressed_at = Some(scene.now);
    scene.wake();
    scene
}

fn unread(scene: &Scene) -> bool {
    is_unread(&scene.policy, scene.enrollment())
}

#[test]
fn a_phone_is_issued_nothing_before_a_read_that_shows_what_was_done_last() {
    let mut scene = goes_back(Scene::with_parent());
    assert_eq!(scene.owes_key(), "-");
    assert_eq!(scene.automation(), "held: state_regressed");
    // A call sent just before may take effect as late as the bound, and be seen a moment later.
    assert_eq!(scene.owes(&read_lane()), "issue read_user +150");
    let invited = || vec![invitation_seen("800", InvitationStatus::Acknowledged)];
    let key = key_seen("1000", 1, CredentialStatus::Issued);
    let mut done = scene.clone();
    let user = done.user_seen(invited(), vec![phone_seen("900", vec![key])]);
    done.does(&read_lane(), Answer::User(user));
    assert!(!unread(&done));
    assert_eq!(done.owes_key(), "-", "it has its key");
    assert_eq!(done.automation(), "enrolled");

    let user = scene.user_seen(invited(), vec![phone_seen("900", vec![])]);
    scene.does(&read_lane(), Answer::User(user));
    assert_eq!(scene.owes_key(), "issue issue +0");
    assert_eq!(scene.automation(), "issuing");
}

#[test]
fn an_earlier_read_does_not_count_and_nobody_waits_twice() {
    let mut scene = goes_back(Scene::with_parent());
    scene.pass(149);
    let call = scene.is().in_flight.clone();
    assert_eq!(call, None);
    // The wait of an invitation reads the user as well, but too early.
    let early = Lane::Wait(manager());
    if scene.owed.contains_key(&early) {
        let user = scene.user_seen(vec![], vec![phone_seen("900", vec![])]);
        scene.does(&early, Answer::User(user));
    }
    assert_eq!(scene.owes_key(), "-");
    assert!(unread(&scene));
    scene.pass(2);
    let user = scene.user_seen(vec![], vec![phone_seen("900", vec![])]);
    scene.does(&read_lane(), Answer::User(user));
    assert!(!unread(&scene));
    let owed = scene.owes(&read_lane());
    assert!(!owed.starts_with("issue"), "{owed}");
}

#[test]
fn no_second_invitation_is_made_before_the_user_was_read() {
    let lane = Lane::Invitation(manager());
    let mut expired = Scene::invited();
    expired.invitation_event("800", InvitationStatus::Expired);
    let mut expired = goes_back(expired);
    expired.wish(wish_invite(false));
    assert_eq!(expired.owes(&lane), "-");
    let user = expired.user_seen(vec![], vec![]);
    expired.does(&read_lane(), Answer::User(user));
    assert_eq!(expired.owes(&lane), "enroll create_invitation +0");
}

#[test]
fn withdrawals_go_on() {
    let mut scene = goes_back(Scene::issued());
    scene.wish(Wish::DeleteParent(parent_id(1)));
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
    scene.wish(Wish::DeleteIdentity);
    let cancel = scene.owes(&Lane::Invitation(manager()));
    assert_eq!(cancel, "withdrawal cancel_invitation +0");
}

#[test]
fn who_waits_is_read_before_who_does_not() {
    let idle = goes_back(Scene::issued());
    assert_eq!(idle.owes(&read_lane()), "confirm read_user +150");
    let waiting = goes_back(Scene::with_parent());
    assert!(waiting.owes(&read_lane()).starts_with("issue "));
}

#[test]
fn a_phone_whose_user_is_gone_is_read_by_itself_until_it_is_gone_too() {
    let mut scene = Scene::with_parent();
    scene.policy.regressed_at = Some(scene.now);
    scene.change(|identity| {
        let enrollment = identity.enrollments.get_mut(&manager()).unwrap();
        enrollment.user.state = origo_adapter::core::identity::CmUserState::Conflict {
            id: hid_user("701"),
        };
    });
    assert!(unread(&scene));
    assert_eq!(scene.owes_phone_read(), "issue read_phone +150");
    for _ in 0..2 {
        let lane = Lane::Phone(crate::support::scene::phone_id("900"));
        scene.fails(&lane, Fault::Gone);
    }
    assert!(!unread(&scene), "nothing is left to read");
}
