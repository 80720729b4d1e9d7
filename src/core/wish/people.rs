//! Wishes about ACS users and whose a parent is.

use std::collections::BTreeMap;

use super::{Wish, delete};
use crate::core::identity::{AcsUser, Identity, Parent};
use crate::core::ids::{AcsUserId, ParentId, PartNumber, Timestamp};

pub(super) fn take(identity: &mut Identity, wish: &Wish, now: Timestamp) {
    match wish {
        Wish::ChangeAcsUser {
            id,
            full_name,
            email_address,
            phone_number,
            hid_acs_system_id,
        } => {
            if let Some(user) = identity.acs_users.get_mut(id) {
                user.full_name.clone_from(full_name);
                user.email_address.clone_from(email_address);
                user.phone_number.clone_from(phone_number);
                user.hid_acs_system_id = *hid_acs_system_id;
            }
        }
        Wish::Suspend { id, suspended } => {
            if let Some(user) = identity.acs_users.get_mut(id) {
                user.suspended = *suspended;
            }
        }
        Wish::DeleteAcsUser(id) => delete_user(identity, *id, now),
        Wish::ReleaseAcsUser(id) => {
            identity.acs_users.remove(id);
            release(identity, now, |_, parent| parent.acs_user == *id);
            end_if_empty(identity, now);
        }
        Wish::ReleaseParent(id) => release(identity, now, |parent, _| parent == id),
        Wish::TakeIn { users, parents } => take_in(identity, users, parents),
        Wish::SetDates {
            id,
            starts_at,
            ends_at,
        } => {
            let Some(parent) = identity.parents.get_mut(id) else {
                return;
            };
            parent.prune_held_since = None;
            if (parent.starts_at, parent.ends_at) != (*starts_at, *ends_at) {
                (parent.starts_at, parent.ends_at) = (*starts_at, *ends_at);
                let part_number = parent.part_number.clone();
                try_keys_again(identity, &part_number);
            }
        }
        Wish::Assign(id, user) => {
            let known = user.is_none_or(|user| identity.acs_users.contains_key(&user));
            if let Some(parent) = identity.parents.get_mut(id).filter(|_| known) {
                parent.unassigned = user.is_none();
                parent.acs_user = user.unwrap_or(parent.acs_user);
            }
        }
        Wish::Identity(_)
        | Wish::AcsUser { .. }
        | Wish::Launch { .. }
        | Wish::DeleteAutomation(_)
        | Wish::Parent { .. }
        | Wish::DeleteParent(_)
        | Wish::DeleteChild(_)
        | Wish::Invite { .. }
        | Wish::DeactivatePhone(_)
        | Wish::Hold(_)
        | Wish::Release
        | Wish::Prune { .. }
        | Wish::Retry(_)
        | Wish::Resync(_)
        | Wish::AdoptUser(_)
        | Wish::RemoveOrphan(_)
        | Wish::DeleteIdentity => {}
    }
}

fn delete_user(identity: &mut Identity, id: AcsUserId, now: Timestamp) {
    let Some(user) = identity.acs_users.get_mut(&id) else {
        return;
    };
    user.deleting_since.get_or_insert(now);
    let mut parents = identity.parents.values_mut();
    for parent in parents.by_ref().filter(|parent| parent.acs_user == id) {
        parent.deleting_since.get_or_insert(now);
    }
    let mut users = identity.acs_users.values();
    if !identity.listed && users.all(|user| user.deleting_since.is_some()) {
        delete(identity, now);
    }
}

/// They are somebody else's from now on; what access systems were told of their keys here is removed there all the same.
fn release(identity: &mut Identity, now: Timestamp, leaves: impl Fn(&ParentId, &Parent) -> bool) {
    let parents = &mut identity.parents;
    for (id, mut parent) in parents.extract_if(.., |id, parent| leaves(id, parent)) {
        parent.deleting_since.get_or_insert(now);
        identity.released.insert(id, parent);
    }
}

/// Where only an ACS user lived, nothing is left without it.
fn end_if_empty(identity: &mut Identity, now: Timestamp) {
    if !identity.listed && identity.acs_users.is_empty() {
        delete(identity, now);
    }
}

fn take_in(
    identity: &mut Identity,
    users: &[(AcsUserId, AcsUser)],
    parents: &[(ParentId, Parent)],
) {
    if identity.deleting_since.is_some() {
        return;
    }
    for (id, user) in users {
        identity
            .acs_users
            .entry(*id)
            .or_insert_with(|| user.clone());
    }
    for (id, parent) in parents {
        if !identity.acs_users.contains_key(&parent.acs_user) {
            continue;
        }
        try_keys_again(identity, &parent.part_number);
        // Its children belong to the phones of whom it comes from; what it has here it had before.
        let before = identity.released.remove(id);
        let children = before.map_or_else(BTreeMap::new, |before| before.children);
        let parent = Parent {
            children,
            ..parent.clone()
        };
        identity.parents.entry(*id).or_insert(parent);
    }
}

/// A new wish is a new try.
pub(super) fn try_keys_again(identity: &mut Identity, part_number: &PartNumber) {
    let enrollments = identity.enrollments.values_mut();
    for phone in enrollments.flat_map(|e| e.phones.values_mut()) {
        if let Some(key) = phone.keys.get_mut(part_number) {
            key.failed = None;
            key.trouble.clear();
        }
    }
}
