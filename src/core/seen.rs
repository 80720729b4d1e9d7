//! What a read or an answer shows of HID's side is noted here, and nowhere else.
//!
//! A read proves what was there when it *began*; `began` is that instant, `now` the one of its answer.
//! One read that misses something proves little (reads after writes can be stale): two at least
//! `settle_delay` apart settle it.

use super::identity::{
    CmUserState, DoubtStage, Enrollment, Held, Identity, Invitation, Key, Phone, Trouble,
};
use super::ids::{AcsSystemId, CredentialId, InvitationId, PartNumber, PhoneId, Timestamp};
use super::observation::{
    ContainerSeen, ContainerStatus, CredentialSeen, CredentialStatus, InvitationSeen,
    InvitationStatus, Rejection, UserSeen,
};
use super::plan;
use super::policy::Policy;

/// After a repeated issue a surplus is looked for by reads 1, 10 and 60 minutes later (contract.md G1).
pub const REPEAT_CHECKS_MS: [i64; 3] = [60_000, 600_000, 3_600_000];

/// When a read began and when it was answered.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// What it shows was so no earlier than this.
    pub began: Timestamp,
    /// When we learned it.
    pub now: Timestamp,
}

/// Notes a user with all that hangs below it.
pub fn note_user(
    policy: &Policy,
    identity: &mut Identity,
    manager: AcsSystemId,
    seen: &UserSeen,
    at: Reading,
) {
    let external_id = identity.id.to_string();
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    let ours = seen.external_id.as_deref() == Some(external_id.as_str());
    let by_email = policy
        .managers
        .get(&manager)
        .is_some_and(|m| m.adopt_by_email);
    enrollment.user.state = match &enrollment.user.state {
        CmUserState::Present { id, adopted } => CmUserState::Present {
            id: id.clone(),
            adopted: *adopted,
        },
        // The deletion was never begun: once more.
        CmUserState::Deleting { id, since }
            if !seen.deleting && at.began >= since.plus(policy.settle_delay) =>
        {
            CmUserState::Present {
                id: id.clone(),
                adopted: false,
            }
        }
        CmUserState::Deleting { id, since } => CmUserState::Deleting {
            id: id.clone(),
            since: *since,
        },
        CmUserState::Absent
        | CmUserState::Unsure { .. }
        | CmUserState::Taken
        | CmUserState::Found { .. }
        | CmUserState::Conflict { .. }
        | CmUserState::Refused(_)
        | CmUserState::Gone => {
            if seen.deleting {
                // Somebody deletes it: wait until the address is free again.
                CmUserState::Taken
            } else if ours || by_email {
                CmUserState::Present {
                    id: seen.id.clone(),
                    adopted: !ours,
                }
            } else {
                CmUserState::Conflict {
                    id: seen.id.clone(),
                }
            }
        }
    };
    enrollment.read_at = Some(at.now);
    if enrollment.user.state == CmUserState::Taken {
        enrollment
            .user
            .trouble
            .fail(&policy.retry_schedule, (identity.id, "user"), at.now);
    }
    if enrollment.user_id().is_none() {
        return;
    }
    enrollment.user.trouble.clear();
    enrollment.look = enrollment.look.filter(|asked| *asked > at.began);
    for invitation in &seen.invitations {
        note_invitation(enrollment, invitation, at.now);
    }
    if plan::invitation_told_at(policy, enrollment).is_some_and(|told_at| at.began >= told_at) {
        enrollment.invite.unsure_since = None;
    }
    for container in &seen.containers {
        note_phone(policy, enrollment, manager, container, at);
    }
    let unseen = enrollment.phones.iter_mut().filter(|(_, phone)| {
        phone.removed_at.is_none()
            && !seen
                .containers
                .iter()
                .any(|container| container.id == phone.container)
    });
    for (_, phone) in unseen {
        note_phone_missing(policy, phone, at);
    }
}

/// Notes an invitation as shown. One that is new while a create call is unaccounted for is that call's.
pub fn note_invitation(enrollment: &mut Enrollment, seen: &InvitationSeen, now: Timestamp) {
    if enrollment.invitations.contains_key(&seen.id) {
        update_invitation(enrollment, seen, now);
    } else if enrollment.invite.unattributed > 0 {
        enrollment.invite.account_for_one();
        note_invitation_created(enrollment, seen, now);
    } else {
        let invitation = new_invitation(seen, now);
        enrollment.invitations.insert(seen.id.clone(), invitation);
        update_invitation(enrollment, seen, now);
    }
}

fn new_invitation(seen: &InvitationSeen, now: Timestamp) -> Invitation {
    Invitation {
        code: None,
        status: seen.status.clone(),
        ours: false,
        created_at: now,
        expires_at: None,
        installation: None,
        acknowledged_at: None,
        cancel: false,
        closed: false,
        trouble: Trouble::default(),
    }
}

fn update_invitation(enrollment: &mut Enrollment, seen: &InvitationSeen, now: Timestamp) {
    if let Some(invitation) = enrollment.invitations.get_mut(&seen.id) {
        invitation.code = seen.code.clone().or(invitation.code.take());
        invitation.expires_at = seen.expires_at.or(invitation.expires_at);
        note_invitation_status(invitation, &seen.status, now);
    }
}

/// Notes how an invitation stands. A final status never goes back to an open one: events come late and twice.
pub fn note_invitation_status(
    invitation: &mut Invitation,
    seen: &InvitationStatus,
    now: Timestamp,
) {
    let open = matches!(
        invitation.status,
        InvitationStatus::Pending | InvitationStatus::Unknown(_)
    );
    let cancelled = invitation.status == InvitationStatus::Cancelled;
    if (*seen == InvitationStatus::Pending && !open)
        || (*seen == InvitationStatus::CancelInitiated && cancelled)
    {
        return;
    }
    if *seen == InvitationStatus::Acknowledged {
        invitation.acknowledged_at.get_or_insert(now);
    }
    invitation.status = seen.clone();
}

/// A create call made it: it is ours, and the wish for it is met. Its event may have come first.
pub fn note_invitation_created(enrollment: &mut Enrollment, seen: &InvitationSeen, now: Timestamp) {
    let installation = enrollment.invite.installation.take();
    let invitation = enrollment
        .invitations
        .entry(seen.id.clone())
        .or_insert_with(|| new_invitation(seen, now));
    invitation.ours = true;
    invitation.installation = installation;
    update_invitation(enrollment, seen, now);
    enrollment.invite.wanted = false;
    enrollment.invite.resend = false;
    enrollment.invite.trouble.clear();
}

/// A create call made it that had been given up. Where none is unaccounted for, a read tells more.
pub fn note_invitation_created_late(
    enrollment: &mut Enrollment,
    seen: &InvitationSeen,
    now: Timestamp,
) {
    let known = enrollment.invitations.get(&seen.id);
    if known.is_some_and(|invitation| invitation.ours) {
        return;
    }
    if enrollment.invite.unattributed > 0 {
        enrollment.invite.account_for_one();
        note_invitation_created(enrollment, seen, now);
    } else {
        enrollment.look = Some(now);
    }
}

/// A phone came of the invitation; where nobody says of which, of all that were redeemed.
pub fn close_invitations(enrollment: &mut Enrollment, of: Option<&InvitationId>) {
    for (id, invitation) in &mut enrollment.invitations {
        let meant = of.map_or(invitation.status == InvitationStatus::Acknowledged, |of| {
            of == id
        });
        invitation.closed |= meant;
    }
}

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
    let gone = seen.status == ContainerStatus::Deleting && seen.credentials.is_empty();
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
pub fn new_phone(seen: &ContainerSeen, enrolled: bool, now: Timestamp) -> Phone {
    Phone {
        container: seen.id.clone(),
        status: seen.status.clone(),
        device: seen.device.clone(),
        created_at: now,
        enrolled,
        read_first: false,
        missing_since: None,
        removed_at: None,
        look: None,
        read_at: None,
        trouble: Trouble::default(),
        dull_reads: 0,
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
        drop_credential(key, &seen.id);
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
        key.trouble.fail(
            &policy.retry_schedule,
            (super::ids::IdentityId(uuid::Uuid::nil()), seen.id.as_str()),
            at.now,
        );
    }
    if !(stale && seen.status.is_issue()) {
        if seen.status.is_issue() {
            held.revoked_at = None;
        }
        held.status = seen.status.clone();
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
        drop_credential(key, id);
    } else {
        held.missing_since.get_or_insert(at.began);
    }
}

/// The credential is gone. Where nobody of ours revoked it, it is not issued again by itself.
pub fn drop_credential(key: &mut Key, id: &CredentialId) {
    let Some(held) = key.held.remove(id) else {
        return;
    };
    if key.current.as_ref() == Some(id) {
        key.current = None;
        if !held.doomed && held.status != CredentialStatus::IssueFailed {
            key.failed = Some(Rejection::RevokedElsewhere);
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
            let late_enough = at.began >= gave_up_at.plus(policy.late_effect_bound);
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
