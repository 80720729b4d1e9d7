//! Ways between states that begin with what somebody else did at HID.

use origo_adapter::core::effect::Lane;
use origo_adapter::core::observation::{Answer, CredentialStatus, Fault, Happening};
use origo_adapter::core::orphans;
use origo_adapter::core::policy::DriftPolicy;
use origo_adapter::core::wish::{Target, Wish};

use crate::support::lanes::phone_other;
use crate::support::scene::{
    Scene, hid_user, key_lane, key_seen, manager, wish_launch, wish_parent,
};

/// What is not ours: asked to go, or gone by itself; and a user that is taken over.
pub(super) fn scenes() -> Vec<Scene> {
    let mut found = Scene::issued();
    found.event(phone_other());
    found.reads_phone(vec![
        key_seen("1000", 1, CredentialStatus::Issued),
        key_seen("2000", 2, CredentialStatus::Issued),
    ]);
    let id = orphans::of(found.is()).next().expect("an orphan").id;
    let mut removed = found.clone();
    removed.wish(Wish::RemoveOrphan(id));
    removed.does(&key_lane("900", 2), Answer::Revoked);
    removed.reads_phone(vec![key_seen("1000", 1, CredentialStatus::Issued)]);
    found.wish(wish_parent(2, 2));
    let lane = Lane::CmUser(manager());
    let mut adopted = Scene::new();
    adopted.wish(wish_launch(1));
    adopted.fails(&lane, Fault::Conflict);
    adopted.does(&lane, Answer::UserFound(Some(hid_user("700"))));
    for _ in 0..2 {
        let mut seen = adopted.user_seen(vec![], vec![]);
        seen.external_id = None;
        adopted.does(&lane, Answer::User(seen));
        adopted.wish(Wish::AdoptUser(Target::default()));
    }
    vec![found, removed, adopted, repaired(), made_again()]
}

fn repairing(mut scene: Scene) -> Scene {
    let hq = scene.policy.managers.get_mut(&manager());
    hq.expect("the manager").drift = DriftPolicy::Repair;
    scene
}

fn repaired() -> Scene {
    let mut scene = repairing(Scene::issued());
    scene.pass(60);
    scene.event(phone_other());
    scene.reads_phone(vec![key_seen("1000", 1, CredentialStatus::Revoked)]);
    scene
}

fn made_again() -> Scene {
    let mut scene = repairing(Scene::invited());
    scene.event(Happening::UserOther);
    for _ in 0..2 {
        scene.fails(&Lane::Read(manager()), Fault::Gone);
    }
    scene
}
