//! Does the net bite? Mistakes that a core could make, each made on purpose after every step, and what becomes of them.

use origo_adapter::core::identity::{Doubt, DoubtStage, Identity, Key};
use origo_adapter::core::observation::{Answer, Fault, Observation};

use super::hid::Hid;
use super::search::explore;
use super::state::{Left, World};
use super::{left, with_phones, world};

fn keys_of(identity: &mut Identity) -> impl Iterator<Item = &mut Key> {
    let enrollments = identity.enrollments.values_mut();
    let phones = enrollments.flat_map(|e| e.phones.values_mut());
    phones.flat_map(|phone| phone.keys.values_mut())
}

/// A mistake must lead to what is feared of it.
fn caught(mistake: fn(&Observation, &mut Identity), left: Left, feared: &str) {
    let world = World {
        mistake: Some(mistake),
        ..world(&[1])
    };
    let start = with_phones(&world, Hid::new(false, 9), left);
    let wrong = explore(&world, &start).wrong.unwrap_or_default();
    assert!(wrong.contains(feared), "{feared:?} was not found: {wrong}");
}

/// As if the `sent` mark were written after the call, and lost with the process.
#[test]
fn an_intent_forgotten_in_a_crash_is_caught() {
    caught(
        |seen, identity| {
            if matches!(seen, Observation::Failed(_, Fault::Unanswered)) {
                keys_of(identity).for_each(|key| key.doubt = Doubt::default());
            }
        },
        left([1, 0, 0, 0]),
        "a second key of MID-1 on u1p1 may come",
    );
}

#[test]
fn a_doubt_ended_by_the_first_read_is_caught() {
    caught(
        |seen, identity| {
            if matches!(seen, Observation::Answered(_, Answer::Phone(_))) {
                keys_of(identity).for_each(|key| key.doubt.stage = DoubtStage::Settled);
            }
        },
        left([1, 0, 0, 0]),
        "a second key of MID-1 on u1p1 may come",
    );
}

#[test]
fn a_revoke_believed_done_once_accepted_is_caught() {
    caught(
        |_, identity| {
            keys_of(identity).for_each(|key| key.held.retain(|_, held| held.revoked_at.is_none()));
        },
        left([0, 0, 0, 2]),
        "two keys of MID-1 on u1p1",
    );
}

#[test]
fn a_key_forgotten_with_its_parents_is_caught() {
    caught(
        |_, identity| {
            let mut parents = identity.parents.values();
            if parents.all(|parent| parent.deleting_since.is_some()) {
                keys_of(identity).for_each(|key| key.held.clear());
            }
        },
        left([0, 0, 0, 1]),
        "wanted false",
    );
}
