//! Answers and failures of calls about phones and their keys.

use crate::core::effect::{Effect, Lane};
use crate::core::identity::{DoubtStage, Identity, InFlight, Key, Phone, Removal};
use crate::core::ids::{PartNumber, PhoneId, Timestamp};
use crate::core::observation::{CredentialSeen, CredentialStatus, Fault};
use crate::core::policy::Policy;
use crate::core::seen::{self, Reading};

/// The phone, unless it is gone.
fn phone_mut(identity: &mut Identity, id: PhoneId) -> Option<&mut Phone> {
    identity
        .enrollments
        .values_mut()
        .find_map(|enrollment| enrollment.phones.get_mut(&id))
        .filter(|phone| phone.removed_at.is_none())
}

fn key_mut<'a>(
    identity: &'a mut Identity,
    lane: &Lane,
) -> Option<((PhoneId, PartNumber), &'a mut Key)> {
    let Lane::Key(phone, part_number) = lane else {
        return None;
    };
    let key = phone_mut(identity, *phone)?.keys.get_mut(part_number)?;
    Some(((*phone, part_number.clone()), key))
}

/// HID accepted an issue after we had given up on it. The key may be known and gone again by now, and another call in
/// doubt: a read tells what the answer is worth.
pub(super) fn issued_late(
    identity: &mut Identity,
    lane: &Lane,
    credential: &CredentialSeen,
    now: Timestamp,
) {
    let Some(((phone, _), key)) = key_mut(identity, lane) else {
        return;
    };
    if key.held.get(&credential.id).is_some_and(|held| held.ours) {
        return;
    }
    if let Some(phone) = phone_mut(identity, phone) {
        phone.look = Some(now);
    }
}

/// HID accepted an issue.
pub(super) fn issue_accepted(
    identity: &mut Identity,
    lane: &Lane,
    credential: &CredentialSeen,
    now: Timestamp,
) {
    let Some(((phone, _), key)) = key_mut(identity, lane) else {
        return;
    };
    issued(key, credential, now);
    if let Some(phone) = phone_mut(identity, phone) {
        phone.dull_reads = 0;
    }
}

fn issued(key: &mut Key, credential: &CredentialSeen, now: Timestamp) {
    let repeated = key.doubt.unattributed > 0;
    key.held
        .entry(credential.id.clone())
        .or_insert_with(|| seen::held_as(credential, true, now))
        .ours = true;
    if key.current.is_none() && credential.status.is_issue() {
        key.current = Some(credential.id.clone());
    }
    if repeated && key.doubt.stage == DoubtStage::Settled {
        key.doubt.stage = DoubtStage::Repeated { at: now, checks: 0 };
    }
}

pub(super) fn issue_failed(
    policy: &Policy,
    identity: &mut Identity,
    call: &InFlight,
    fault: Fault,
    now: Timestamp,
) {
    let id = identity.id;
    let Some(((phone, part_number), key)) = key_mut(identity, &call.lane) else {
        return;
    };
    let seed = format!("{phone}/{part_number}");
    let look = match fault {
        Fault::Refused => {
            key.trouble.defer(now);
            return;
        }
        Fault::Unanswered => {
            key.doubt.unattributed = key.doubt.unattributed.saturating_add(1);
            key.doubt.stage = DoubtStage::Open {
                gave_up_at: now,
                blank_at: None,
            };
            false
        }
        Fault::Rejected(rejection) => {
            key.failed = Some(rejection);
            return;
        }
        Fault::OutOfStock => {
            // All keys of the part number are held by then, and none of them is worse than the others.
            key.out_of_stock_since.get_or_insert(now);
            key.trouble.defer(now);
            return;
        }
        Fault::Busy => false,
        Fault::Already | Fault::WrongState | Fault::Gone | Fault::Conflict => true,
    };
    key.trouble.fail(&policy.retry_schedule, (id, &seed), now);
    if look && let Some(phone) = phone_mut(identity, phone) {
        phone.look = Some(now);
    }
}

pub(super) fn revoke_accepted(identity: &mut Identity, call: &InFlight, now: Timestamp) {
    let Effect::Revoke { credential } = &call.effect else {
        return;
    };
    let Some(((phone, _), key)) = key_mut(identity, &call.lane) else {
        return;
    };
    let Some(held) = key.held.get_mut(credential) else {
        return;
    };
    held.doomed = true;
    held.revoked_at = Some(now);
    held.trouble.clear();
    if !held.status.is_revoke() {
        held.status = CredentialStatus::RevokeInitiated;
    }
    if let Some(phone) = phone_mut(identity, phone) {
        phone.dull_reads = 0;
    }
}

pub(super) fn revoke_failed(
    policy: &Policy,
    identity: &mut Identity,
    call: &InFlight,
    fault: Fault,
    now: Timestamp,
) {
    let id = identity.id;
    let Effect::Revoke { credential } = &call.effect else {
        return;
    };
    let Some(((phone, _), key)) = key_mut(identity, &call.lane) else {
        return;
    };
    let Some(held) = key.held.get_mut(credential) else {
        return;
    };
    match fault {
        Fault::Refused => held.trouble.defer(now),
        Fault::Gone => {
            held.doomed = true;
            seen::drop_credential(key, credential, now);
        }
        Fault::Unanswered
        | Fault::Already
        | Fault::WrongState
        | Fault::Conflict
        | Fault::OutOfStock
        | Fault::Busy
        | Fault::Rejected(_) => {
            held.doomed = true;
            held.trouble
                .fail(&policy.retry_schedule, (id, credential.as_str()), now);
            if let Some(phone) = phone_mut(identity, phone) {
                phone.look = Some(now);
            }
        }
    }
}

pub(super) fn read_phone_failed(
    policy: &Policy,
    identity: &mut Identity,
    call: &InFlight,
    fault: Fault,
    now: Timestamp,
) {
    let identity_id = identity.id;
    let Lane::Phone(id) = call.lane else { return };
    let Some(phone) = phone_mut(identity, id) else {
        return;
    };
    match fault {
        Fault::Gone => seen::note_phone_missing(
            policy,
            phone,
            Reading {
                began: call.started_at,
                now,
            },
        ),
        Fault::Refused => phone.trouble.defer(now),
        Fault::Unanswered
        | Fault::Conflict
        | Fault::Already
        | Fault::WrongState
        | Fault::OutOfStock
        | Fault::Busy
        | Fault::Rejected(_) => {
            phone
                .trouble
                .fail(&policy.retry_schedule, (identity_id, "read"), now);
        }
    }
}

fn removal_mut<'a>(identity: &'a mut Identity, lane: &Lane) -> Option<&'a mut Removal> {
    let Lane::Removal(id) = lane else { return None };
    phone_mut(identity, *id)?.removal.as_mut()
}

/// HID deletes the phone: reads follow it to its end.
pub(super) fn deletion_accepted(identity: &mut Identity, lane: &Lane, now: Timestamp) {
    let Some(removal) = removal_mut(identity, lane) else {
        return;
    };
    removal.accepted_at = Some(now);
    removal.refused = false;
    removal.trouble.clear();
    let Lane::Removal(id) = lane else { return };
    if let Some(phone) = phone_mut(identity, *id) {
        phone.dull_reads = 0;
    }
}

pub(super) fn delete_phone_failed(
    policy: &Policy,
    identity: &mut Identity,
    call: &InFlight,
    fault: Fault,
    now: Timestamp,
) {
    let identity_id = identity.id;
    let Lane::Removal(id) = call.lane else { return };
    let Some(phone) = phone_mut(identity, id) else {
        return;
    };
    let Some(removal) = phone.removal.as_mut() else {
        return;
    };
    match fault {
        Fault::Refused => removal.trouble.defer(now),
        Fault::Gone
        | Fault::Unanswered
        | Fault::Already
        | Fault::WrongState
        | Fault::Conflict
        | Fault::OutOfStock
        | Fault::Busy
        | Fault::Rejected(_) => {
            // Gone, on its way out, not ready to go or not deleted for another reason: a read shows which.
            let told_nothing = matches!(fault, Fault::Gone | Fault::Unanswered | Fault::Already);
            removal.refused |= !told_nothing;
            let seed = format!("{id}/delete");
            removal
                .trouble
                .fail(&policy.retry_schedule, (identity_id, &seed), now);
            phone.look = Some(now);
        }
    }
}
