//! Under what an identity is found, and what lists are filtered by.

use origo_adapter::core::hold::HoldReason;
use origo_adapter::core::observation::{Answer, CredentialStatus, InvitationStatus};
use origo_adapter::core::seen::held_as;
use origo_adapter::core::wish::Wish;
use origo_adapter::core::{Lane, index};

use crate::support::lanes::phone_other;
use crate::support::scene::{
    START, Scene, acs_user, ada, doors, invitation_seen, key_seen, manager, parent_id, phone_id,
    wish_launch, wish_parent,
};

/// `kind:id`, with age, and filters.
fn shown(scene: &Scene) -> Vec<String> {
    let short = |id: &String| id.trim_start_matches(['0', '-']).to_owned();
    let rows = index::rows(scene.is());
    let rows = rows.iter().map(|row| {
        let filters = [&row.acs_system, &row.acs_user, &row.parent];
        let filters = filters.map(|filter| filter.as_ref().map_or("-".to_owned(), short));
        let age = row.created_at.since(START).as_secs();
        format!("{} +{age} {}", row.kind.name(), filters.join(" "))
    });
    rows.collect()
}

#[test]
fn everything_is_found_with_its_age_and_its_filters() {
    let mut scene = Scene::new();
    scene.pass(10);
    scene.wish(wish_launch(1));
    let call = scene.start(&Lane::CmUser(manager()));
    let seen = invitation_seen("800", InvitationStatus::Pending);
    let user = scene.user_seen(vec![seen], vec![]);
    scene.answer(call, Answer::UserCreated(user));
    scene.pass(10);
    scene.wish(wish_parent(1, 1));
    scene.pass(10);
    scene.phone_active("900", "800");
    scene.change(|identity| {
        let enrollment = identity.enrollments.get_mut(&manager()).unwrap();
        let phone = enrollment.phones.get_mut(&phone_id("900")).unwrap();
        let seen = key_seen("1000", 1, CredentialStatus::Issued);
        let held = held_as(&seen, true, START);
        let key = phone.keys.values_mut().next().unwrap();
        key.held.insert(seen.id, held);
    });
    assert_eq!(
        shown(&scene),
        [
            "identity +0 - - -",
            "identity_key +0 - - -",
            "identity_email +0 - - -",
            "acs_user +0 d0 - -",
            "automation +10 c0 - -",
            "parent +20 d0 ac -",
            "child +30 d0 ac f001",
            "phone +30 c0 - -",
            "hid_user +0 - - -",
            "hid_invitation +0 - - -",
            "hid_container +0 - - -",
            "hid_credential +0 - - -",
        ]
    );
}

#[test]
fn a_row_shows_its_id_and_nothing_personal() {
    let scene = Scene::with_parent();
    let rows = format!("{:?}", index::rows(scene.is()));
    assert!(rows.contains(&format!("parent:{}", parent_id(1))), "{rows}");
    assert!(rows.contains(&format!("acs_user:{}", acs_user())), "{rows}");
    assert!(rows.contains("identity_email:‹personal›"), "{rows}");
    assert!(!rows.contains("ada@"), "{rows}");
}

#[test]
fn an_unlisted_person_is_found_by_what_its_record_says() {
    let mut scene = Scene::empty();
    scene.wish(Wish::AcsUser {
        id: acs_user(),
        acs_system: doors(),
        full_name: None,
        email_address: ada().email_address,
        phone_number: None,
    });
    let rows = index::rows(scene.is());
    let found = index::in_system(doors(), "ada@example.com");
    assert!(rows.iter().any(|row| row.id == found));
    scene.wish(Wish::Identity(ada()));
    let rows = index::rows(scene.is());
    assert!(!rows.iter().any(|row| row.id == found));
}

/// Those of one kind.
fn shown_of(scene: &Scene, kind: &str) -> Vec<String> {
    let rows = shown(scene).into_iter();
    rows.filter(|row| row.starts_with(kind)).collect()
}

#[test]
fn whom_the_guard_holds_is_listed_since_then_and_whom_a_person_holds_is_not() {
    let listed = |reason| {
        let mut scene = Scene::new();
        scene.pass(10);
        scene.wish(Wish::Hold(reason));
        shown_of(&scene, "guarded")
    };
    assert_eq!(listed(HoldReason::Guard), ["guarded +10 - - -"]);
    assert_eq!(listed(HoldReason::Operator), [""; 0]);
}

#[test]
fn what_is_not_ours_is_found_with_its_manager() {
    let mut scene = Scene::issued();
    scene.pass(10);
    scene.event(phone_other());
    let keys = ["1000", "2000"];
    scene.reads_phone(
        keys.map(|id| key_seen(id, 1, CredentialStatus::Issued))
            .to_vec(),
    );
    assert_eq!(shown_of(&scene, "orphan"), ["orphan +20 c0 - -"]);
}
