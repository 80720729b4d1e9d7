//! A person who is held: nothing new, while withdrawals and reads go on.

use origo_adapter::core::effect::Lane;
use origo_adapter::core::hold::{HoldReason, HoldScope};
use origo_adapter::core::identity::Identity;
use origo_adapter::core::observation::{Answer, CredentialStatus, Happening, InvitationStatus};
use origo_adapter::core::wish::Wish;

use crate::support::scene::{
    Scene, check_round_trip, container, doors, key_lane, key_seen, manager, parent_id, part,
    wish_launch, wish_parent,
};

fn hold() -> Wish {
    Wish::Hold(HoldReason::Operator)
}

#[test]
fn nothing_new_is_owed_until_the_release() {
    let user = Lane::CmUser(manager());
    let mut launched = Scene::new();
    launched.wish(wish_launch(1));
    assert_eq!(launched.owes(&user), "enroll create_user +0");
    launched.wish(hold());
    assert_eq!(launched.owes(&user), "-");
    assert_eq!(launched.automation(), "held: operator");
    launched.wish(Wish::Release);
    assert_eq!(launched.owes(&user), "enroll create_user +0");

    let invitation = Lane::Invitation(manager());
    let mut expired = Scene::invited();
    expired.wish(hold());
    expired.invitation_event("800", InvitationStatus::Expired);
    assert_eq!(expired.owes(&invitation), "-");
    expired.wish(Wish::Release);
    assert_eq!(expired.owes(&invitation), "enroll create_invitation +0");

    let mut wanted = Scene::with_phone();
    wanted.wish(hold());
    wanted.wish(wish_parent(1, 1));
    assert_eq!(wanted.owes_key(), "-");
    assert_eq!(wanted.key_state("900", 1), "wanted");
    wanted.wish(Wish::Release);
    assert_eq!(wanted.owes_key(), "issue issue +0");
}

#[test]
fn what_is_unknown_is_still_read_and_what_is_unwanted_withdrawn() {
    let mut doubted = Scene::in_doubt();
    doubted.wish(hold());
    assert!(doubted.owes_phone_read().starts_with("issue read_phone"));
    doubted.reads_phone(vec![key_seen("1000", 1, CredentialStatus::Issued)]);
    assert_eq!(doubted.key_state("900", 1), "issued");

    let mut unwanted = Scene::issued();
    unwanted.wish(hold());
    unwanted.wish(Wish::DeleteParent(parent_id(1)));
    assert_eq!(unwanted.owes_key(), "withdrawal revoke +0");
    unwanted.does(&key_lane("900", 1), Answer::Revoked);
    unwanted.event(Happening::PhoneOther {
        container: container("900"),
    });
    assert!(unwanted.owes_phone_read().contains("read_phone"));
    unwanted.wish(Wish::DeleteIdentity);
    let cancel = unwanted.owes(&Lane::Invitation(manager()));
    assert_eq!(cancel, "withdrawal cancel_invitation +0");
}

#[test]
fn the_journal_tells_of_hold_and_release_even_without_an_automation() {
    let mut idle = Scene::new();
    idle.wish(hold());
    idle.wish(hold());
    idle.wish(Wish::Release);
    let rows = idle.changes.iter().map(|(_, change)| change);
    let held: Vec<_> = rows.filter_map(|row| row.to.as_deref()).collect();
    assert_eq!(held, ["held: operator", "present"], "once each");
}

#[test]
fn a_hold_is_kept_with_its_first_reason() {
    let mut scene = Scene::invited();
    let since = scene.now;
    scene.wish(Wish::Hold(HoldReason::Guard));
    scene.pass(60);
    scene.wish(hold());
    let held = scene.is().held.unwrap();
    assert_eq!((held.reason, held.since), (HoldReason::Guard, since));
    check_round_trip(scene.is());
    scene.wish(Wish::Release);
    let text = serde_json::to_string(scene.is()).unwrap();
    let back: Identity = serde_json::from_str(&text).unwrap();
    assert_eq!(back.held, None);
}

#[test]
fn nobody_can_release_what_waits_for_a_read_of_all_that_hid_has() {
    let reasons = HoldReason::ALL.into_iter();
    let staying: Vec<_> = reasons.filter(|reason| !reason.is_releasable()).collect();
    assert_eq!(staying, [HoldReason::StateRegressed, HoldReason::Adopting]);
}

#[test]
fn a_hold_covers_no_other_manager_and_of_a_part_number_none_as_a_whole() {
    for (scope, covered) in [
        (HoldScope::All, [true, true]),
        (HoldScope::Manager(manager()), [true, false]),
        (HoldScope::Part(manager(), part(1)), [false, false]),
    ] {
        let covers = [manager(), doors()].map(|id| scope.covers(id));
        assert_eq!(covers, covered, "{scope:?}");
    }
}
