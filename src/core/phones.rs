//! Which phones an automation takes in, and which go for it (contract.md section 4, `phones`).
//!
//! A phone that turns up knocks. Once it is active it is let in, its keys follow, and nothing here lets it
//! out again: a limit that is lowered later takes no key away.

use super::identity::{Enrollment, Phone};
use super::ids::{PhoneId, Timestamp};
use super::observation::ContainerStatus;
use super::policy::{OverLimit, PhonePolicy, SameDevice};

/// The phone is ready, but more are enrolled than may be.
#[must_use]
pub fn is_over_limit(phone: &Phone) -> bool {
    phone.is_active() && phone.knocked_at.is_some()
}

/// So many phones have a place.
#[must_use]
pub fn enrolled(enrollment: &Enrollment) -> usize {
    let phones = enrollment.phones.values();
    phones.filter(|phone| has_place(phone)).count()
}

/// Lets in who knocks, oldest first, and lets those go who make room for them.
pub(super) fn settle(policy: PhonePolicy, enrollment: &mut Enrollment, now: Timestamp) {
    if !enrollment.is_running() {
        for phone in enrollment.phones.values_mut() {
            phone.knocked_at = None;
        }
        return;
    }
    for id in knocking(enrollment) {
        if policy.same_device == SameDevice::KeepNewest {
            retire_twins(enrollment, id, now);
        }
        let room = usize::try_from(policy.max_per_identity).unwrap_or(usize::MAX);
        while policy.over_limit == OverLimit::RetireOldest && enrolled(enrollment) >= room {
            let Some(oldest) = oldest(enrollment) else {
                break;
            };
            retire(oldest, now);
        }
        if enrolled(enrollment) >= room {
            continue;
        }
        if let Some(phone) = enrollment.phones.get_mut(&id) {
            phone.enrolled = true;
            phone.knocked_at = None;
        }
    }
}

/// The phone is to be deleted at HID, with all that it holds, and is never enrolled again.
pub(super) fn retire(phone: &mut Phone, now: Timestamp) {
    phone.enrolled = false;
    phone.knocked_at = None;
    phone.dull_reads = 0;
    phone.removal = Some(super::identity::Removal {
        since: now,
        accepted_at: None,
        refused: false,
        trouble: super::identity::Trouble::default(),
    });
}

fn has_place(phone: &Phone) -> bool {
    let leaves = phone.removal.is_some() || phone.status == ContainerStatus::Deleting;
    phone.enrolled && phone.removed_at.is_none() && !leaves
}

/// Active ones, in the order in which we learned of them.
fn knocking(enrollment: &Enrollment) -> Vec<PhoneId> {
    let phones = enrollment.phones.iter();
    let mut knocking: Vec<_> = phones
        .filter(|(_, phone)| is_over_limit(phone))
        .map(|(id, phone)| (phone.created_at, *id))
        .collect();
    knocking.sort_unstable();
    knocking.into_iter().map(|(_, id)| id).collect()
}

fn oldest(enrollment: &mut Enrollment) -> Option<&mut Phone> {
    let phones = enrollment.phones.iter_mut();
    let oldest = phones
        .filter(|(_, phone)| has_place(phone))
        .min_by_key(|(id, phone)| (phone.created_at, **id));
    oldest.map(|(_, phone)| phone)
}

/// Older phones of the newcomer's make and model go. Of two that turned up together nobody knows which is the older.
fn retire_twins(enrollment: &mut Enrollment, newcomer: PhoneId, now: Timestamp) {
    let Some(newest) = enrollment.phones.get(&newcomer) else {
        return;
    };
    let Some(model) = model(newest) else { return };
    let since = newest.created_at;
    let twins = enrollment.phones.values_mut().filter(|phone| {
        let older = phone.created_at < since && phone.is_active();
        older && self::model(phone).as_ref() == Some(&model)
    });
    for phone in twins {
        retire(phone, now);
    }
}

/// Maker and model, where both are known.
fn model(phone: &Phone) -> Option<(String, String)> {
    let known = |text: &Option<String>| {
        let text = text.as_ref()?.trim().to_lowercase();
        (!text.is_empty()).then_some(text)
    };
    Some((
        known(&phone.device.manufacturer)?,
        known(&phone.device.model)?,
    ))
}
