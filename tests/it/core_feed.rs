//! What the feed tells, and what it must not: contract.md section 6, events. Where nothing else is said, phone 900 of
//! invitation 800 belongs to user 700 and part number 1 is wanted.

use origo_adapter::core::effect::Lane;
use origo_adapter::core::observation::{
    Answer, ContainerSeen, ContainerStatus, CredentialStatus as Cs, Device, Fault, Happening,
    InvitationStatus as Is,
};
use origo_adapter::core::wish::Wish;

use crate::support::lanes::{invitation_lane, read_lane};
use crate::support::scene::{
    Scene, automation_id, container, credential, invitation, invitation_seen, key_lane, key_seen,
    manager, phone_id, phone_seen, wish_invite, wish_launch,
};

fn phone_lane(id: &str) -> Lane {
    Lane::Phone(phone_id(id))
}

fn key_issued(id: &str, phone: Option<&str>) -> Happening {
    Happening::KeyIssued {
        credential: credential(id),
        container: phone.map(container),
    }
}

fn key_begun(id: &str, phone: Option<&str>) -> Happening {
    Happening::KeyBegun {
        credential: credential(id),
        container: phone.map(container),
    }
}

fn key_other(id: &str, phone: Option<&str>) -> Happening {
    Happening::KeyOther {
        credential: credential(id),
        container: phone.map(container),
    }
}

fn phone_other(id: &str) -> Happening {
    Happening::PhoneOther {
        container: container(id),
    }
}

/// Phone 900 and its key 1000 are gone for good.
fn gone() -> Scene {
    let mut scene = Scene::issued();
    scene.event(phone_other("900"));
    for _ in 0..2 {
        scene.fails(&phone_lane("900"), Fault::Gone);
    }
    assert!(scene.phone("900").removed_at.is_some());
    scene
}

#[test]
fn a_phone_that_is_gone_is_not_looked_at_again() {
    for what in [phone_other("900"), key_other("1000", Some("900"))] {
        let mut scene = gone();
        let before = scene.identity.clone();
        scene.event(what);
        assert_eq!(scene.identity, before);
    }
}

#[test]
fn a_key_that_is_known_needs_no_read_and_any_other_does() {
    let mut scene = Scene::issued();
    scene.event(key_issued("1000", Some("900")));
    assert_eq!(scene.owes_phone_read(), "-");
    scene.event(key_issued("1777", Some("900")));
    assert_eq!(scene.owes_phone_read(), "issue read_phone +0");
}

#[test]
fn a_revoked_key_that_is_told_as_issued_stays_revoked() {
    let mut scene = Scene::issued();
    scene.event(key_other("1000", None));
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Revoking)]);
    scene.event(key_issued("1000", Some("900")));
    let held = &scene.key("900", 1).held[&credential("1000")];
    assert_eq!(held.status, Cs::Revoking);
}

#[test]
fn the_phone_that_is_named_is_read_or_else_the_one_that_holds_the_key_or_else_the_user() {
    let mut scene = Scene::issued();
    scene.phone_active("901", "800");
    let mut named = scene.clone();
    named.event(key_other("1777", Some("901")));
    assert_eq!(named.phone("900").look, None);
    assert_eq!(named.phone("901").look, Some(named.now));
    let mut holding = scene.clone();
    holding.event(key_other("1000", None));
    assert_eq!(holding.phone("900").look, Some(holding.now));
    assert_eq!(holding.phone("901").look, None);
    for what in [
        key_other("1777", None),
        phone_other("999"),
        Happening::UserOther,
    ] {
        let mut scene = scene.clone();
        scene.event(what);
        assert_eq!(scene.owes(&read_lane()), "confirm read_user +0");
        assert_eq!(scene.phone("900").look, None);
        assert_eq!(scene.phone("901").look, None);
    }
}

#[test]
fn the_echo_of_a_call_under_way_tells_nothing() {
    let mut issuing = Scene::with_parent();
    let call = issuing.start(&key_lane("900", 1));
    issuing.event(key_begun("1000", Some("900")));
    assert_eq!(issuing.phone("900").look, None);
    let accepted = key_seen("1000", 1, Cs::IssueInitiated);
    issuing.answer(call, Answer::Issued(accepted));
    issuing.event(key_begun("1000", None));
    assert_eq!(issuing.phone("900").look, None);
    let mut creating = Scene::new();
    creating.wish(wish_launch(1));
    creating.start(&Lane::CmUser(manager()));
    creating.invitation_event("800", Is::Pending);
    assert!(creating.enrollment().invitations.is_empty());
    let mut inviting = Scene::with_phone();
    inviting.wish(wish_invite(false));
    inviting.start(&invitation_lane());
    inviting.invitation_event("801", Is::Pending);
    assert_eq!(inviting.enrollment().invitations.len(), 1);
    inviting.invitation_event("800", Is::Cancelled);
    assert_eq!(
        inviting.invitation_state("800"),
        "cancelled",
        "one that is known is not its echo"
    );
}

/// Whoever writes its answer down may take long, and another daemon may read the feed meanwhile.
#[test]
fn what_becomes_of_a_key_before_its_answer_is_written_down_is_looked_at() {
    for what in [key_issued, key_other] {
        let mut scene = Scene::with_parent();
        let call = scene.start(&key_lane("900", 1));
        scene.event(what("1000", Some("900")));
        assert_eq!(scene.phone("900").look, Some(scene.now));
        let accepted = key_seen("1000", 1, Cs::IssueInitiated);
        scene.answer(call, Answer::Issued(accepted));
        assert_eq!(scene.owes_phone_read(), "issue read_phone +0");
    }
    let mut other = Scene::issued();
    other.phone_active("901", "800");
    other.start(&key_lane("901", 1));
    for what in [key_begun("1001", Some("900")), key_other("1000", None)] {
        other.change(|identity| {
            let enrollment = identity.enrollments.get_mut(&manager()).unwrap();
            enrollment.phones.get_mut(&phone_id("900")).unwrap().look = None;
        });
        other.event(what);
        assert_eq!(other.phone("900").look, Some(other.now), "another phone's");
    }
}

#[test]
fn a_key_that_is_issued_is_not_on_its_way_again() {
    let mut scene = Scene::with_parent();
    let accepted = key_seen("1000", 1, Cs::IssueInitiated);
    scene.does(&key_lane("900", 1), Answer::Issued(accepted));
    scene.pass(10);
    scene.event(key_other("1000", None));
    let call = scene.start(&phone_lane("900"));
    scene.event(key_issued("1000", None));
    for status in [Cs::Issuing, Cs::IssueInitiated] {
        let seen = phone_seen("900", vec![key_seen("1000", 1, status)]);
        scene.answer(call.clone(), Answer::Phone(seen));
        assert_eq!(scene.key_state("900", 1), "issued");
    }
}

#[test]
fn an_echo_of_another_call_is_looked_at() {
    let mut scene = Scene::with_parent();
    scene.wish(wish_invite(false));
    scene.start(&invitation_lane());
    scene.event(key_issued("1777", Some("900")));
    assert_eq!(scene.phone("900").look, Some(scene.now));
    let mut scene = Scene::with_parent();
    scene.start(&key_lane("900", 1));
    scene.invitation_event("801", Is::Pending);
    assert_eq!(scene.enrollment().invitations.len(), 2);
}

#[test]
fn a_phone_of_nobodys_invitation_may_be_that_of_the_open_one() {
    let mut open = Scene::invited();
    open.phone_active("900", "999");
    assert_eq!(open.owes(&read_lane()), "confirm read_user +0");
    assert_eq!(open.invitation_state("800"), "pending");
    let mut known = Scene::invited();
    known.phone_active("900", "800");
    assert_eq!(known.enrollment().look, None);
    let mut none = Scene::with_phone();
    none.phone_active("901", "999");
    assert_eq!(none.enrollment().look, None);
    // Ours, while another of ours is open.
    let mut other = Scene::with_phone();
    other.wish(wish_invite(false));
    let seen = invitation_seen("801", Is::Pending);
    other.does(&invitation_lane(), Answer::InvitationCreated(seen));
    other.phone_active("901", "800");
    assert_eq!(other.enrollment().look, None);
}

#[test]
fn an_event_as_old_as_the_overlap_is_still_news() {
    for (age, read_first) in [(120, false), (121, true)] {
        let mut scene = Scene::invited();
        let then = scene.now;
        scene.pass(age);
        scene.event_at(
            then,
            Happening::PhoneActive {
                container: container("900"),
                invitation: Some(invitation("800")),
                device: Device::default(),
            },
        );
        assert_eq!(scene.phone("900").read_first, read_first, "{age}");
    }
}

#[test]
fn an_awaited_invitation_is_read_for_its_code() {
    let mut scene = Scene::with_phone();
    scene.invitation_event("801", Is::Pending);
    assert_eq!(scene.enrollment().look, None, "nobody asked for it");
    scene.wish(wish_invite(false));
    scene.fails(&invitation_lane(), Fault::Unanswered);
    scene.invitation_event("802", Is::Pending);
    assert_eq!(scene.owes(&read_lane()), "confirm read_user +0");
    let invite = &scene.enrollment().invite;
    assert_eq!((invite.unattributed, invite.unsure_since), (0, None));
    assert!(!invite.wanted);
}

#[test]
fn a_second_lost_invitation_is_awaited_when_the_first_has_shown() {
    let mut scene = Scene::with_phone();
    scene.wish(wish_invite(false));
    scene.fails(&invitation_lane(), Fault::Unanswered);
    scene.change(|identity| {
        let enrollment = identity.enrollments.get_mut(&manager()).unwrap();
        enrollment.invite.unattributed = 2;
    });
    scene.invitation_event("801", Is::Pending);
    let invite = &scene.enrollment().invite;
    assert_eq!(invite.unattributed, 1);
    assert!(invite.unsure_since.is_some());
}

#[test]
fn a_phone_on_its_way_out_that_is_told_as_active_is_read() {
    let mut scene = Scene::with_phone();
    scene.event(phone_other("900"));
    let deleting = ContainerSeen {
        status: ContainerStatus::Deleting,
        ..phone_seen("900", vec![key_seen("1000", 1, Cs::Issued)])
    };
    scene.does(&phone_lane("900"), Answer::Phone(deleting));
    assert_eq!(scene.phone("900").status, ContainerStatus::Deleting);
    scene.phone_active("900", "800");
    assert_eq!(scene.phone("900").look, Some(scene.now));
    assert_eq!(scene.phone("900").status, ContainerStatus::Deleting);
}

#[test]
fn what_no_automation_takes_in_gets_no_key() {
    let mut scene = Scene::with_phone();
    scene.wish(Wish::DeleteAutomation(automation_id(1)));
    scene.phone_active("901", "800");
    assert!(!scene.phone("901").enrolled);
    scene.wish(wish_launch(2));
    assert!(scene.phone("901").enrolled);
}
