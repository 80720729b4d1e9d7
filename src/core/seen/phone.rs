//! What a read shows of phones and their keys.

use super::{REPEAT_CHECKS_MS, Reading, close_invitations};
use crate::core::identity::{DoubtStage, Enrollment, Held, Key, Phone, Trouble};
use crate::core::ids::{AcsSystemId, CredentialId, IdentityId, PartNumber, PhoneId, Timestamp};
use crate::core::observation::{
    ContainerSeen, ContainerStatus, CredentialSeen, CredentialStatus, Rejection,
};
use crate::core::policy::Policy;

/// Notes a phone with its keys.
pub fn note_phone(
    policy: &Policy,
    enrollment: &mut Enrollment,
    manager: AcsSystemId,
    seen: &ContainerSeen,
    at: Reading,
) {
    let id = PhoneId::of(manager, &seen.id);
    let running = enrollment.is_running();
    let empty = (seen.credentials.iter()).all(|seen| seen.status == CredentialStatus::Revoked);
    let gone = seen.status == ContainerStatus::Deleting && empty;
    if !enrollment.phones.contains_key(&id) {
        if gone {
            return;
        }
        close_invitations(enrollment, None);
    }
    let before = enrollment.phones.get(&id).cloned();
    let phone = enrollment
        .phones
        .entry(id)
        .or_insert_with(|| new_phone(seen, running, at.now));
    if phone.removed_at.is_some() {
        return;
    }
    note_removal(policy, phone, seen, at);
    phone.status = seen.status.clone();
    phone.device = seen.device.clone();
    phone.missing_since = None;
    phone.read_first = false;
    phone.look = phone.look.filter(|asked| *asked > at.began);
    phone.read_at = Some(at.now);
    phone.trouble.clear();
    for credential in &seen.credentials {
        if let Some(part_number) = part_number_of(phone, credential) {
            phone.keys.entry(part_number).or_default();
        }
    }
    let owners: Vec<_> = seen
        .credentials
        .iter()
        .map(|credential| part_number_of(phone, credential))
        .collect();
    for (part_number, key) in &mut phone.keys {
        let shown = seen
            .credentials
            .iter()
            .zip(&owners)
            .filter(|(_, owner)| owner.as_ref() == Some(part_number));
        note_key(policy, key, shown.map(|(credential, _)| credential), at);
    }
    if gone {
        remove_phone(phone, at.now);
    }
    let told = before.as_ref().is_none_or(|before| {
        let unread = Phone {
            read_at: before.read_at,
            trouble: before.trouble.clone(),
            look: before.look,
            ..phone.clone()
        };
        unread != *before
    });
    phone.dull_reads = if told {
        0
    } else {
        phone.dull_reads.saturating_add(1)
    };
}

/// Notes how far HID is with deleting a deactivated phone.
fn note_removal(policy: &Policy, phone: &mut Phone, seen: &ContainerSeen, at: Reading) {
    let Some(removal) = phone.removal.as_mut() else {
        return;
    };
    if seen.status == ContainerStatus::Deleting {
        removal.accepted_at.get_or_insert(at.now);
        removal.refused = false;
    } else if removal
        .accepted_at
        .is_some_and(|accepted| at.began >= accepted.plus(policy.settle_delay))
    {
        // It was never begun: once more.
        removal.accepted_at = None;
    }
}

/// A read did not show the phone.
pub fn note_phone_missing(policy: &Policy, phone: &mut Phone, at: Reading) {
    if phone.created_at > at.began {
        return;
    }
    phone.read_at = Some(at.now);
    phone.look = phone.look.filter(|asked| *asked > at.began);
    match phone.missing_since {
        None => phone.missing_since = Some(at.began),
        Some(since) if at.began.since(since) >= policy.settle_delay => remove_phone(phone, at.now),
        Some(_) => {}
    }
}

/// A phone of which nothing else is known.
#[must_use]
pub fn new_phone(seen: &ContainerSeen, knocks: bool, now: Timestamp) -> Phone {
    Phone {
        container: seen.id.clone(),
        status: seen.status.clone(),
        device: seen.device.clone(),
        created_at: now,
        invitation: None,
        enrolled: false,
        knocked_at: knocks.then_some(now),
        read_first: false,
        missing_since: None,
        removed_at: None,
        look: None,
        read_at: None,
        trouble: Trouble::default(),
        dull_reads: 0,
        removal: None,
        keys: std::collections::BTreeMap::new(),
    }
}

/// The phone is gone for good, and with it all that it held.
fn remove_phone(phone: &mut Phone, now: Timestamp) {
    phone.removed_at = Some(now);
    phone.look = None;
    for key in phone.keys.values_mut() {
        key.current = None;
        key.held.clear();
        key.doubt.stage = DoubtStage::Settled;
    }
}

/// Which key a credential belongs to: as HID says; else where we know it; else the only one there is.
fn part_number_of(phone: &Phone, seen: &CredentialSeen) -> Option<PartNumber> {
    let known = || {
        phone
            .keys
            .iter()
            .find(|(_, key)| key.held.contains_key(&seen.id))
            .map(|(part, _)| part.clone())
    };
    let only = || {
        phone
            .keys
            .keys()
            .next()
            .filter(|_| phone.keys.len() == 1)
            .cloned()
    };
    seen.part_number.clone().or_else(known).or_else(only)
}

/// Notes everything that a read shows of one pair.
fn note_key<'a>(
    policy: &Policy,
    key: &mut Key,
    shown: impl Iterator<Item = &'a CredentialSeen>,
    at: Reading,
) {
    let mut present: Vec<&CredentialId> = Vec::new();
    let mut fresh = false;
    for credential in shown {
        present.push(&credential.id);
        fresh |= note_credential(policy, key, credential, at);
    }
    let missing: Vec<_> = key
        .held
        .keys()
        .filter(|id| !present.contains(id))
        .cloned()
        .collect();
    for id in missing {
        note_credential_missing(policy, key, &id, at);
    }
    note_doubt(policy, key, fresh, at);
}

/// Notes one credential as shown; `true` where it was not known before.
fn note_credential(policy: &Policy, key: &mut Key, seen: &CredentialSeen, at: Reading) -> bool {
    if seen.status == CredentialStatus::Revoked {
        drop_credential(key, &seen.id, at.now);
        return false;
    }
    let Some(held) = key.held.get_mut(&seen.id) else {
        let ours = key.doubt.unattributed > 0;
        if ours {
            key.doubt.account_for_one();
        }
        key.held
            .insert(seen.id.clone(), held_as(seen, ours, at.now));
        return true;
    };
    held.missing_since = None;
    held.card_number = seen.card_number.clone().or(held.card_number.take());
    let stale = held.seen_at > at.began
        || held
            .revoked_at
            .is_some_and(|r| at.began < r.plus(policy.settle_delay));
    if seen.status == CredentialStatus::IssueFailed && held.status != CredentialStatus::IssueFailed
    {
        // HID's id alone spreads the retries.
        let no_identity = IdentityId(uuid::Uuid::nil());
        key.trouble.fail(
            &policy.retry_schedule,
            (no_identity, seen.id.as_str()),
            at.now,
        );
    }
    if !(stale && seen.status.is_issue()) {
        if seen.status.is_issue() {
            held.revoked_at = None;
        }
        // A read may be older than what the feed told, and HID's life cycle has no way back.
        if !(held.status == CredentialStatus::Issued && seen.status.is_on_its_way()) {
            held.status = seen.status.clone();
        }
    }
    false
}

/// A credential as first seen.
#[must_use]
pub fn held_as(seen: &CredentialSeen, ours: bool, now: Timestamp) -> Held {
    Held {
        status: seen.status.clone(),
        ours,
        card_number: seen.card_number.clone(),
        seen_at: now,
        missing_since: None,
        doomed: false,
        revoked_at: None,
        trouble: Trouble::default(),
    }
}

fn note_credential_missing(policy: &Policy, key: &mut Key, id: &CredentialId, at: Reading) {
    let Some(held) = key.held.get_mut(id) else {
        return;
    };
    if held.seen_at > at.began {
        return;
    }
    // On its way out and known for long, a stale read can't be the reason.
    let expected = (held.doomed || held.status.is_revoke())
        && at.began >= held.seen_at.plus(policy.settle_delay);
    let settled = held
        .missing_since
        .is_some_and(|since| at.began.since(since) >= policy.settle_delay);
    if expected || settled {
        drop_credential(key, id, at.now);
    } else {
        held.missing_since.get_or_insert(at.began);
    }
}

/// The credential is gone. Where nobody of ours revoked it, it is issued again by policy alone.
pub fn drop_credential(key: &mut Key, id: &CredentialId, now: Timestamp) {
    let Some(held) = key.held.remove(id) else {
        return;
    };
    if key.current.as_ref() == Some(id) {
        key.current = None;
        if !held.doomed && held.status != CredentialStatus::IssueFailed {
            key.failed = Some(Rejection::RevokedElsewhere);
            key.drift.noticed_at = Some(now);
        }
    }
}

/// What a read says of calls without an answer (contract.md G1).
fn note_doubt(policy: &Policy, key: &mut Key, fresh: bool, at: Reading) {
    key.doubt.stage = match key.doubt.stage.clone() {
        DoubtStage::Settled => DoubtStage::Settled,
        DoubtStage::Open { gave_up_at, .. }
            if fresh || at.began < gave_up_at.plus(policy.settle_delay) =>
        {
            DoubtStage::Open {
                gave_up_at,
                blank_at: None,
            }
        }
        DoubtStage::Open {
            gave_up_at,
            blank_at: None,
        } => DoubtStage::Open {
            gave_up_at,
            blank_at: Some(at.began),
        },
        DoubtStage::Open {
            gave_up_at,
            blank_at: Some(blank_at),
        } => {
            let apart = at.began.since(blank_at) >= policy.settle_delay;
            let late_enough = at.began >= gave_up_at.plus(policy.shows_after());
            if apart && late_enough {
                DoubtStage::Settled
            } else {
                DoubtStage::Open {
                    gave_up_at,
                    blank_at: Some(blank_at),
                }
            }
        }
        DoubtStage::Repeated {
            at: repeated_at,
            checks,
        } => {
            let due = REPEAT_CHECKS_MS
                .iter()
                .filter(|ms| at.began.0 >= repeated_at.0 + **ms)
                .count();
            let checks = checks.max(u8::try_from(due).unwrap_or(u8::MAX));
            if usize::from(checks) >= REPEAT_CHECKS_MS.len() {
                DoubtStage::Settled
            } else {
                DoubtStage::Repeated {
                    at: repeated_at,
                    checks,
                }
            }
        }
    };
}
