//! What happens to a person → what the outside is told (seam-api.md 6.1).

use origo_adapter::core::announce::{Announcement, EventType, announcements};
use origo_adapter::core::effect::Lane;
use origo_adapter::core::ids::ChildId;
use origo_adapter::core::observation::{
    Answer, CredentialStatus as Cs, Fault, Happening, Rejection,
};
use origo_adapter::core::wish::Wish;
use uuid::Uuid;

use crate::support::scene::{
    Scene, acs_user, automation_id, container, credential, doors, key_lane, key_seen, parent_id,
    phone_id, wish_launch, wish_parent,
};

/// What `act` makes told, as `type of what`.
fn told(scene: &mut Scene, act: impl FnOnce(&mut Scene)) -> Vec<String> {
    let before = scene.identity.clone();
    act(scene);
    let told = announcements(before.as_ref(), scene.identity.as_ref(), scene.now);
    told.iter().map(shown).collect()
}

fn shown(told: &Announcement) -> String {
    let credential = |id: Uuid| {
        for n in 1..=2 {
            if id == parent_id(n).0 {
                return format!("parent {n}");
            }
            for phone in ["900", "901"] {
                if id == ChildId::of(parent_id(n), phone_id(phone)).0 {
                    return format!("child {n} {phone}");
                }
            }
        }
        panic!("whose is {id}?")
    };
    let what = [
        told.acs_credential.map(credential),
        told.enrollment_automation
            .map(|id| format!("automation {}", id.0.as_u128() % 16)),
        told.device.map(|id| {
            let known = ["900", "901"].iter().find(|known| phone_id(known) == id);
            format!("phone {}", known.unwrap_or(&"?"))
        }),
        told.acs_user.map(|_| "user".to_owned()),
    ];
    let what = what.into_iter().flatten().next().unwrap_or_default();
    format!("{} {what}", told.event_type.name())
}

fn key_is_issued(scene: &mut Scene, phone: &str, id: &str) {
    scene.event(Happening::KeyIssued {
        credential: credential(id),
        container: Some(container(phone)),
    });
}

fn issue(scene: &mut Scene, phone: &str, id: &str) {
    let seen = key_seen(id, 1, Cs::IssueInitiated);
    scene.does(&key_lane(phone, 1), Answer::Issued(seen));
    scene.pass(10);
    key_is_issued(scene, phone, id);
}

/// Key 1000 is revoked, and is gone with the reads that follow.
fn withdraw(scene: &mut Scene) {
    scene.does(&key_lane("900", 1), Answer::Revoked);
    while !scene.key("900", 1).held.is_empty() {
        scene.reads_phone(vec![]);
    }
}

#[test]
fn a_new_identity_with_all_it_has() {
    let scene = Scene::new();
    let told = announcements(None, scene.identity.as_ref(), scene.now);
    assert_eq!(told.len(), 1);
    let told = &told[0];
    assert_eq!(told.event_type, EventType::AcsUserCreated);
    assert_eq!(told.acs_user, Some(acs_user()));
    assert_eq!(told.acs_system, Some(doors()));
    assert_eq!(told.user_identity, Some(scene.is().id));
    assert_eq!(told.occurred_at, scene.now);
    assert_eq!((told.acs_credential, told.device), (None, None));
}

#[test]
fn what_changes_nothing_tells_nothing() {
    let mut scene = Scene::issued();
    assert_eq!(told(&mut scene, |_| {}), [""; 0]);
    assert_eq!(told(&mut scene, Scene::wake), [""; 0]);
    let again = told(&mut scene, |scene| key_is_issued(scene, "900", "1000"));
    assert_eq!(again, [""; 0]);
}

#[test]
fn a_parent_is_issued_with_its_first_child_alone() {
    let mut scene = Scene::with_parent();
    let accepted = told(&mut scene, |scene| {
        let seen = key_seen("1000", 1, Cs::IssueInitiated);
        scene.does(&key_lane("900", 1), Answer::Issued(seen));
    });
    assert_eq!(accepted, [""; 0], "HID has it, the phone does not");
    scene.pass(10);
    let first = told(&mut scene, |scene| key_is_issued(scene, "900", "1000"));
    assert_eq!(
        first,
        [
            "acs_credential.issued child 1 900",
            "acs_credential.issued parent 1"
        ]
    );
    let second = told(&mut scene, |scene| {
        scene.phone_active("901", "800");
        issue(scene, "901", "1001");
    });
    assert_eq!(second, ["acs_credential.issued child 1 901"]);
}

#[test]
fn a_second_parent_of_the_same_part_number_is_issued_at_once() {
    let mut scene = Scene::issued();
    let second = told(&mut scene, |scene| scene.wish(wish_parent(2, 1)));
    assert_eq!(
        second,
        [
            "acs_credential.issued child 2 900",
            "acs_credential.issued parent 2"
        ]
    );
}

#[test]
fn a_key_revoked_elsewhere_is_invalidated_and_its_successor_reissued() {
    let mut scene = Scene::issued();
    let revoked = told(&mut scene, |scene| {
        scene.event(Happening::KeyOther {
            credential: credential("1000"),
            container: None,
        });
        scene.reads_phone(vec![key_seen("1000", 1, Cs::Revoking)]);
        scene.reads_phone(vec![]);
    });
    assert_eq!(revoked, ["acs_credential.invalidated child 1 900"]);
    // A wish for the same part number clears the refusal.
    scene.wish(wish_parent(2, 1));
    let mut again = told(&mut scene, |scene| issue(scene, "900", "1001"));
    again.sort();
    assert_eq!(
        again,
        [
            "acs_credential.issued child 2 900",
            "acs_credential.issued parent 2",
            "acs_credential.reissued child 1 900",
        ]
    );
}

#[test]
fn what_goes_anyway_is_not_invalidated() {
    let mut scene = Scene::in_doubt();
    scene.reads_phone(vec![]);
    scene.reads_phone(vec![]);
    let seen = key_seen("1001", 1, Cs::IssueInitiated);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    let late = || key_seen("1000", 1, Cs::Issued);
    scene.reads_phone(vec![late(), key_seen("1001", 1, Cs::Issued)]);
    scene.wish(Wish::DeleteParent(parent_id(1)));
    let revoked = told(&mut scene, |scene| {
        scene.event(Happening::KeyOther {
            credential: credential("1001"),
            container: None,
        });
        scene.reads_phone(vec![late(), key_seen("1001", 1, Cs::Revoked)]);
    });
    assert_eq!(revoked, [""; 0]);
    assert_eq!(
        scene.key("900", 1).failed,
        Some(Rejection::RevokedElsewhere)
    );
}

#[test]
fn a_parent_without_a_phone_is_gone_at_once() {
    let mut scene = Scene::invited();
    scene.wish(wish_parent(1, 1));
    let gone = told(&mut scene, |scene| {
        scene.wish(Wish::DeleteParent(parent_id(1)));
    });
    assert_eq!(gone, ["acs_credential.deleted parent 1"]);
}

#[test]
fn a_parent_is_gone_with_its_last_child() {
    let mut scene = Scene::issued();
    let asked = told(&mut scene, |scene| {
        scene.wish(Wish::DeleteParent(parent_id(1)));
    });
    assert_eq!(asked, [""; 0], "its key is still there");
    let gone = told(&mut scene, withdraw);
    assert_eq!(
        gone,
        [
            "acs_credential.deleted child 1 900",
            "acs_credential.deleted parent 1"
        ]
    );
}

#[test]
fn a_child_deleted_by_itself_is_gone_once() {
    let mut scene = Scene::issued();
    scene.wish(wish_parent(2, 1));
    let child = ChildId::of(parent_id(1), phone_id("900"));
    let gone = told(&mut scene, |scene| scene.wish(Wish::DeleteChild(child)));
    assert_eq!(
        gone,
        ["acs_credential.deleted child 1 900"],
        "the other parent keeps the key"
    );
    let gone = told(&mut scene, |scene| {
        scene.wish(Wish::DeleteParent(parent_id(2)));
        withdraw(scene);
    });
    assert_eq!(
        gone,
        [
            "acs_credential.deleted child 2 900",
            "acs_credential.deleted parent 2"
        ]
    );
    let gone = told(&mut scene, |scene| {
        scene.wish(Wish::DeleteParent(parent_id(1)));
    });
    assert_eq!(gone, ["acs_credential.deleted parent 1"]);
}

#[test]
fn a_phone_that_is_gone_takes_its_children_along() {
    let mut scene = Scene::issued();
    let gone = told(&mut scene, |scene| {
        scene.event(Happening::PhoneOther {
            container: container("900"),
        });
        for _ in 0..2 {
            scene.fails(&Lane::Phone(phone_id("900")), Fault::Gone);
        }
    });
    assert_eq!(
        gone,
        [
            "acs_credential.deleted child 1 900",
            "phone.deactivated phone 900"
        ]
    );
}

#[test]
fn an_automation_is_gone_once_its_invitations_are() {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    let gone = told(&mut scene, |scene| {
        scene.wish(Wish::DeleteAutomation(automation_id(1)));
    });
    assert_eq!(gone, ["enrollment_automation.deleted automation 1"]);
}

#[test]
fn an_identity_tells_of_all_it_had() {
    let mut scene = Scene::new();
    scene.wish(wish_parent(1, 1));
    let id = scene.is().id;
    let before = scene.identity.clone();
    scene.wish(Wish::DeleteIdentity);
    assert_eq!(scene.identity, None);
    let told = announcements(before.as_ref(), None, scene.now);
    assert!(told.iter().all(|told| told.user_identity == Some(id)));
    let user = |told: &Announcement| (told.acs_user, told.acs_system);
    assert_eq!(user(&told[1]), (Some(acs_user()), Some(doors())));
    let told: Vec<_> = told.iter().map(|told| told.event_type.name()).collect();
    assert_eq!(
        told,
        [
            "acs_credential.deleted",
            "acs_user.deleted",
            "enrollment_automation.deleted"
        ]
    );
}

#[test]
fn types_are_known_by_seams_names() {
    for known in EventType::ALL {
        assert_eq!(EventType::parse(known.name()), Some(*known));
    }
    for invented in ["acs_credential.created", "phone.activated", "*", ""] {
        assert_eq!(EventType::parse(invented), None);
    }
}
