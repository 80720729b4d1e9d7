//! Files of people: what a file no longer names is withdrawn, or held back for somebody to decide.

use origo_adapter::core::wish::Wish;

use crate::support::scene::{Scene, check_round_trip, key_lane, parent_id, wish_parent};

/// Their file no longer names these parents.
fn prune(parents: &[u8], held: bool) -> Wish {
    let parents = parents.iter().map(|n| parent_id(*n)).collect();
    Wish::Prune { parents, held }
}

/// All states of parent 1 in turn.
fn told(scene: &Scene) -> Vec<&str> {
    let entity = format!("parent/{}", parent_id(1));
    let changes = scene.changes.iter().map(|(_, change)| change);
    let states = changes.filter(|change| change.entity == entity);
    states
        .map(|change| change.to.as_deref().unwrap_or("none"))
        .collect()
}

#[test]
fn what_no_file_names_is_withdrawn_and_the_last_ends_the_enrollment() {
    let mut scene = Scene::issued();
    scene.wish(wish_parent(2, 2));
    scene.wish(prune(&[1], false));
    assert_eq!(told(&scene), ["present", "deleting"]);
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
    assert_eq!(scene.owes(&key_lane("900", 2)), "issue issue +0");
    assert_eq!(scene.automation(), "issuing");
    scene.wish(prune(&[2], false));
    assert_eq!(scene.owes(&key_lane("900", 2)), "-");
    assert_eq!(scene.automation(), "stopping");
}

#[test]
fn what_the_guard_keeps_back_stays_until_a_person_releases_it() {
    let mut scene = Scene::issued();
    scene.wish(prune(&[1], true));
    assert_eq!(told(&scene), ["present", "held: guard"]);
    assert_eq!(scene.automation(), "held: guard");
    assert_eq!(scene.key_state("900", 1), "issued");
    assert_eq!(scene.owes_key(), "-");
    check_round_trip(scene.is());
    scene.wish(Wish::Release);
    assert_eq!(told(&scene), ["present", "held: guard", "deleting"]);
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
    assert_eq!(scene.automation(), "stopping");
}

#[test]
fn what_a_file_names_again_outlives_the_release() {
    let mut scene = Scene::issued();
    scene.wish(prune(&[1], true));
    scene.wish(Wish::SetDates {
        id: parent_id(1),
        starts_at: None,
        ends_at: None,
    });
    assert_eq!(told(&scene), ["present", "held: guard", "present"]);
    scene.wish(Wish::Release);
    assert_eq!(scene.key_state("900", 1), "issued");
    assert_eq!(scene.owes_key(), "-");
    assert_eq!(scene.automation(), "enrolled");
}

#[test]
fn nobody_is_held_for_what_is_not_there_or_leaves_already() {
    let mut scene = Scene::issued();
    scene.wish(prune(&[7], true));
    assert_eq!(scene.automation(), "enrolled");
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.wish(prune(&[1], true));
    assert_eq!(told(&scene), ["present", "deleting"]);
    assert_eq!(scene.is().held, None);
}
