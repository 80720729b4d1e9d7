//! A store that went back knows less than was done: what HID has of a person is read before anything new is done
//! (contract.md section 2, State that went back).

use super::is_key_wanted;
use crate::core::effect::Class;
use crate::core::identity::{Enrollment, Identity, Phone};
use crate::core::ids::{AcsSystemId, Timestamp};
use crate::core::policy::Policy;

/// From when on a read shows all that was done before the state was lost: a call sent just before may take effect late.
fn counts_from(policy: &Policy) -> Option<Timestamp> {
    Some(policy.regressed_at?.plus(policy.shows_after()))
}

fn is_before(read_at: Option<Timestamp>, from: Timestamp) -> bool {
    read_at.is_none_or(|at| at < from)
}

/// When the read is due that this phone waits for since the state went back; `None`: it waits for none.
#[must_use]
pub fn phone_due(policy: &Policy, phone: &Phone) -> Option<Timestamp> {
    let from = counts_from(policy)?;
    (phone.removed_at.is_none() && is_before(phone.read_at, from)).then_some(from)
}

/// The same of the user.
#[must_use]
pub fn user_due(policy: &Policy, enrollment: &Enrollment) -> Option<Timestamp> {
    let from = counts_from(policy)?;
    let is_unread = enrollment.user_id().is_some() && is_before(enrollment.read_at, from);
    is_unread.then_some(from)
}

/// What HID has of this person at this manager was not read since the state went back.
#[must_use]
pub fn is_unread(policy: &Policy, enrollment: &Enrollment) -> bool {
    let mut phones = enrollment.phones.values();
    user_due(policy, enrollment).is_some() || phones.any(|phone| phone_due(policy, phone).is_some())
}

/// Who waits for something is read before all others.
pub(super) fn class(
    identity: &Identity,
    (manager, enrollment): (AcsSystemId, &Enrollment),
    now: Timestamp,
) -> Class {
    let waits = |(id, phone): (_, &Phone)| {
        let mut keys = phone.keys.iter();
        keys.any(|(part_number, key)| {
            key.current.is_none() && is_key_wanted(identity, manager, (id, phone), part_number, now)
        })
    };
    let mut phones = enrollment.phones.iter();
    if enrollment.invite.wanted || phones.any(|(id, phone)| waits((*id, phone))) {
        Class::Issue
    } else {
        Class::Confirm
    }
}
