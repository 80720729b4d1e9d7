//! Identities to begin with, from the tests' own scene, in the order in which a letter picks them.

use origo_adapter::core::Fault;
use origo_adapter::core::effect::Lane;
use origo_adapter::core::wish::Wish;

use crate::support::scene::{
    Scene, ada_as, automation_id, is_wanted, key_lane, manager, parent_id, phone_id, wish_invite,
    wish_launch, wish_parent, wish_suspend,
};

/// Each is one situation in which HID's word counts.
pub(crate) const STAGES: [fn() -> Scene; 14] = [
    launched,
    Scene::invited,
    Scene::with_phone,
    Scene::with_parent,
    Scene::issued,
    Scene::in_doubt,
    two_part_numbers,
    suspended,
    leaving,
    renamed,
    user_in_doubt,
    invitation_in_doubt,
    phone_leaving,
    unanswered_revoke,
];

fn launched() -> Scene {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    scene
}

fn two_part_numbers() -> Scene {
    let mut scene = Scene::issued();
    scene.wish(wish_parent(2, 2));
    scene
}

fn suspended() -> Scene {
    let mut scene = Scene::issued();
    scene.wish(wish_suspend(true));
    scene
}

fn leaving() -> Scene {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteIdentity);
    scene
}

fn renamed() -> Scene {
    let mut scene = Scene::issued();
    scene.wish(ada_as("Ada Lovelace", "ada@example.org"));
    scene
}

fn user_in_doubt() -> Scene {
    let mut scene = launched();
    scene.fails(&Lane::CmUser(manager()), Fault::Unanswered);
    scene
}

fn invitation_in_doubt() -> Scene {
    let mut scene = Scene::with_parent();
    scene.wish(wish_invite(false));
    scene.fails(&Lane::Invitation(manager()), Fault::Unanswered);
    scene.wish(Wish::DeleteAutomation(automation_id(1)));
    scene
}

fn phone_leaving() -> Scene {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    scene
}

fn unanswered_revoke() -> Scene {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.fails(&key_lane("900", 1), Fault::Unanswered);
    scene
}

/// No key is lost: where one is wanted and none is there, something is owed that leads to it, or HID refused it.
pub(crate) fn check_nothing_lost(scene: &Scene) {
    let Some(identity) = &scene.identity else {
        return;
    };
    for (manager, enrollment) in &identity.enrollments {
        for (id, phone) in &enrollment.phones {
            for (part_number, key) in &phone.keys {
                let wanted = is_wanted(identity, *manager, *id, part_number, scene.now);
                let lanes = [
                    Lane::Key(*id, part_number.clone()),
                    Lane::Phone(*id),
                    Lane::Read(*manager),
                ];
                let owed = lanes.iter().any(|lane| scene.owed.contains_key(lane));
                let there = key.current.is_some() || key.failed.is_some();
                assert!(
                    !wanted || there || owed,
                    "{part_number} on {phone:#?} is lost"
                );
            }
        }
    }
}
