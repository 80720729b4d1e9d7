//! Parents that their file no longer names: withdrawn at once, or kept back until a person says so.

use std::collections::BTreeSet;

use crate::core::hold::{Hold, HoldReason};
use crate::core::identity::Identity;
use crate::core::ids::{ParentId, Timestamp};

/// With `held`, nothing but the wish is noted, and nothing new is done for the person until it is released.
pub(super) fn prune(identity: &mut Identity, ids: &[ParentId], held: bool, now: Timestamp) {
    let mut pruned = false;
    for id in ids {
        let parent = identity.parents.get_mut(id);
        let Some(parent) = parent.filter(|parent| parent.deleting_since.is_none()) else {
            continue;
        };
        parent.prune_held_since.get_or_insert(now);
        pruned = true;
    }
    if !pruned {
        return;
    }
    if held {
        identity.held.get_or_insert(Hold {
            reason: HoldReason::Guard,
            since: now,
        });
    } else {
        carry_out(identity, now);
    }
}

/// What was kept back is withdrawn; a manager that issues nothing more takes in no more phones.
pub(super) fn carry_out(identity: &mut Identity, now: Timestamp) {
    let mut managers = BTreeSet::new();
    for parent in identity.parents.values_mut() {
        if parent.prune_held_since.take().is_some() {
            parent.deleting_since.get_or_insert(now);
            managers.insert(parent.manager);
        }
    }
    for manager in managers {
        let mut parents = identity.parents.values();
        let used = parents.any(|p| p.manager == manager && p.deleting_since.is_none());
        let enrollment = identity.enrollments.get_mut(&manager);
        let automation = enrollment.and_then(|enrollment| enrollment.automation.as_mut());
        if let Some(automation) = automation.filter(|_| !used) {
            automation.stopping_since.get_or_insert(now);
        }
    }
}
