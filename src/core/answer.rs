//! What an answer or a failure of our own call says about the identity.

use super::effect::{Effect, Lane};
use super::identity::{CmUserState, DoubtStage, Enrollment, Identity, InFlight, Key, Phone};
use super::ids::{AcsSystemId, PartNumber, PhoneId, Timestamp};
use super::observation::{
    Answer, CredentialSeen, CredentialStatus, Fault, InvitationStatus, Rejection,
};
use super::policy::Policy;
use super::seen::{self, Reading};

/// HID answered `call`.
pub(super) fn answered(
    policy: &Policy,
    identity: &mut Identity,
    call: &InFlight,
    answer: &Answer,
    now: Timestamp,
) {
    let at = Reading {
        began: call.started_at,
        now,
    };
    let Some(manager) = manager_of(identity, &call.lane) else {
        return;
    };
    match answer {
        Answer::UserCreated(user) => user_created(policy, identity, manager, user, at),
        Answer::UserFound(found) => {
            user_found(policy, identity, manager, &call.effect, found.as_ref(), now);
        }
        Answer::User(user) => seen::note_user(policy, identity, manager, user, at),
        Answer::UserDeleted => user_deleted(identity, manager, now),
        Answer::InvitationCreated(invitation) => {
            if let Some(enrollment) = identity.enrollments.get_mut(&manager) {
                seen::note_invitation_created(enrollment, invitation, now);
            }
        }
        Answer::InvitationEmailed => {
            if let Some(enrollment) = identity.enrollments.get_mut(&manager) {
                enrollment.invite.resend = false;
                enrollment.invite.trouble.clear();
            }
        }
        Answer::InvitationCancelled => cancelled(
            identity,
            manager,
            &call.effect,
            InvitationStatus::CancelInitiated,
        ),
        Answer::Phone(container) => {
            if let Some(enrollment) = identity.enrollments.get_mut(&manager) {
                seen::note_phone(policy, enrollment, manager, container, at);
            }
        }
        Answer::Issued(credential) => {
            if let Some(((phone, _), key)) = key_mut(identity, &call.lane) {
                issued(key, credential, now);
                if let Some(phone) = phone_mut(identity, phone) {
                    phone.dull_reads = 0;
                }
            }
        }
        Answer::Revoked => revoke_accepted(identity, call, now),
    }
}

/// HID answered a call that had been given up, or answered twice. What the call made is a fact;
/// what it read is old by now, and is read again.
pub(super) fn answered_late(
    identity: &mut Identity,
    call: &InFlight,
    answer: &Answer,
    now: Timestamp,
) {
    let Some(manager) = manager_of(identity, &call.lane) else {
        return;
    };
    match answer {
        Answer::UserCreated(user) => user_created_late(identity, manager, user, now),
        Answer::InvitationCreated(invitation) => {
            if let Some(enrollment) = identity.enrollments.get_mut(&manager) {
                seen::note_invitation_created_late(enrollment, invitation, now);
            }
        }
        Answer::Issued(credential) => issued_late(identity, &call.lane, credential, now),
        Answer::Revoked => revoke_accepted(identity, call, now),
        Answer::UserDeleted => user_deleted(identity, manager, now),
        Answer::InvitationCancelled => cancelled(
            identity,
            manager,
            &call.effect,
            InvitationStatus::CancelInitiated,
        ),
        Answer::UserFound(_) | Answer::User(_) | Answer::Phone(_) | Answer::InvitationEmailed => {}
    }
}

/// `call` ended without a usable answer.
pub(super) fn failed(
    policy: &Policy,
    identity: &mut Identity,
    call: &InFlight,
    fault: Fault,
    now: Timestamp,
) {
    match &call.effect {
        Effect::Issue { .. } => issue_failed(policy, identity, call, fault, now),
        Effect::Revoke { .. } => revoke_failed(policy, identity, call, fault, now),
        Effect::ReadPhone { .. } => read_phone_failed(policy, identity, call, fault, now),
        Effect::CreateUser { .. }
        | Effect::SearchUser { .. }
        | Effect::ReadUser { .. }
        | Effect::DeleteUser { .. } => user_failed(policy, identity, call, fault, now),
        Effect::CreateInvitation { .. }
        | Effect::EmailInvitation { .. }
        | Effect::CancelInvitation { .. } => {
            invitation_failed(policy, identity, call, fault, now);
        }
        Effect::Wake => {}
    }
}

/// The manager whose enrollment a lane belongs to.
fn manager_of(identity: &Identity, lane: &Lane) -> Option<AcsSystemId> {
    match lane {
        Lane::CmUser(manager)
        | Lane::Invitation(manager)
        | Lane::Read(manager)
        | Lane::Wait(manager)
        | Lane::Sweep(manager) => Some(*manager),
        Lane::Phone(phone) | Lane::Key(phone, _) => {
            identity.phone(*phone).map(|(manager, _)| manager)
        }
        Lane::Timer => None,
    }
}

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

fn user_created(
    policy: &Policy,
    identity: &mut Identity,
    manager: AcsSystemId,
    user: &super::observation::UserSeen,
    at: Reading,
) {
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    enrollment.user.state = CmUserState::Present {
        id: user.id.clone(),
        adopted: false,
    };
    for invitation in &user.invitations {
        seen::note_invitation_created(enrollment, invitation, at.now);
    }
    seen::note_user(policy, identity, manager, user, at);
}

fn user_created_late(
    identity: &mut Identity,
    manager: AcsSystemId,
    user: &super::observation::UserSeen,
    now: Timestamp,
) {
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    match &enrollment.user.state {
        CmUserState::Absent
        | CmUserState::Unsure { .. }
        | CmUserState::Taken
        | CmUserState::Found { .. } => {
            enrollment.user.state = CmUserState::Present {
                id: user.id.clone(),
                adopted: false,
            };
            enrollment.user.trouble.clear();
        }
        CmUserState::Present { .. }
        | CmUserState::Conflict { .. }
        | CmUserState::Refused(_)
        | CmUserState::Deleting { .. }
        | CmUserState::Gone => {}
    }
    for invitation in &user.invitations {
        seen::note_invitation_created_late(enrollment, invitation, now);
    }
}

fn user_found(
    policy: &Policy,
    identity: &mut Identity,
    manager: AcsSystemId,
    effect: &Effect,
    found: Option<&super::ids::HidUserId>,
    now: Timestamp,
) {
    let (id, deleting) = (identity.id, identity.deleting_since.is_some());
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    let user = &mut enrollment.user;
    user.state = match (&user.state, found) {
        (CmUserState::Unsure { .. } | CmUserState::Taken, Some(found)) => {
            user.trouble.not_before = now;
            CmUserState::Found { id: found.clone() }
        }
        // A late create could still land: HID's uniqueness guards a second one, but a deletion must wait.
        (CmUserState::Unsure { since }, None)
            if deleting && now.since(*since) < policy.late_effect_bound =>
        {
            user.trouble
                .fail(&policy.retry_schedule, (id, effect.name()), now);
            CmUserState::Unsure { since: *since }
        }
        (CmUserState::Unsure { .. }, None) => CmUserState::Absent,
        (CmUserState::Taken, None) => {
            user.trouble
                .fail(&policy.retry_schedule, (id, effect.name()), now);
            CmUserState::Absent
        }
        (other, _) => other.clone(),
    };
}

fn user_deleted(identity: &mut Identity, manager: AcsSystemId, now: Timestamp) {
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    if let CmUserState::Present { id, .. } = &enrollment.user.state {
        enrollment.user.state = CmUserState::Deleting {
            id: id.clone(),
            since: now,
        };
    }
}

fn user_failed(
    policy: &Policy,
    identity: &mut Identity,
    call: &InFlight,
    fault: Fault,
    now: Timestamp,
) {
    let id = identity.id;
    let Some(enrollment) =
        manager_of(identity, &call.lane).and_then(|m| identity.enrollments.get_mut(&m))
    else {
        return;
    };
    let creating = match &call.effect {
        Effect::CreateUser { invite, .. } => Some(invite.is_some()),
        Effect::SearchUser { .. }
        | Effect::ReadUser { .. }
        | Effect::DeleteUser { .. }
        | Effect::CreateInvitation { .. }
        | Effect::EmailInvitation { .. }
        | Effect::CancelInvitation { .. }
        | Effect::ReadPhone { .. }
        | Effect::Issue { .. }
        | Effect::Revoke { .. }
        | Effect::Wake => None,
    };
    let deleting = matches!(call.effect, Effect::DeleteUser { .. });
    let searching = matches!(call.effect, Effect::SearchUser { .. });
    match (fault, creating) {
        (Fault::Refused, _) => enrollment.user.trouble.defer(now),
        (Fault::Unanswered, Some(with_invitation)) => {
            if with_invitation {
                enrollment.invite.unattributed += 1;
            }
            if enrollment.user_id().is_none() {
                enrollment.user.state = CmUserState::Unsure { since: now };
            }
            let seed = (id, call.effect.name());
            enrollment
                .user
                .trouble
                .fail(&policy.retry_schedule, seed, now);
        }
        (Fault::Conflict, Some(_)) => {
            enrollment.user.state = CmUserState::Taken;
        }
        (Fault::Rejected(Rejection::UserData), Some(_)) => {
            enrollment.user.state = CmUserState::Refused(Rejection::UserData);
        }
        (Fault::Gone, None) if !searching => user_gone(enrollment, policy, call, now),
        // Deleting already, or nothing told: a read shows it.
        (Fault::Already | Fault::Unanswered, None) if deleting => {
            user_deleted_maybe(enrollment, now);
        }
        (
            Fault::Unanswered
            | Fault::Conflict
            | Fault::Already
            | Fault::WrongState
            | Fault::OutOfStock
            | Fault::Busy
            | Fault::Rejected(_)
            | Fault::Gone,
            _,
        ) => enrollment
            .user
            .trouble
            .fail(&policy.retry_schedule, (id, call.effect.name()), now),
    }
}

fn user_deleted_maybe(enrollment: &mut Enrollment, now: Timestamp) {
    if let CmUserState::Present { id, .. } = &enrollment.user.state {
        enrollment.user.state = CmUserState::Deleting {
            id: id.clone(),
            since: now,
        };
    }
}

/// HID does not know the user: what we deleted is deleted; one that was there is gone with all its phones.
fn user_gone(enrollment: &mut Enrollment, policy: &Policy, call: &InFlight, now: Timestamp) {
    enrollment.user.state = match &enrollment.user.state {
        CmUserState::Present { .. } | CmUserState::Deleting { .. } => CmUserState::Gone,
        CmUserState::Found { .. } => CmUserState::Absent,
        CmUserState::Absent
        | CmUserState::Unsure { .. }
        | CmUserState::Taken
        | CmUserState::Conflict { .. }
        | CmUserState::Refused(_)
        | CmUserState::Gone => enrollment.user.state.clone(),
    };
    enrollment.look = None;
    let at = Reading {
        began: call.started_at,
        now,
    };
    for phone in enrollment
        .phones
        .values_mut()
        .filter(|phone| phone.removed_at.is_none())
    {
        seen::note_phone_missing(policy, phone, at);
    }
}

fn invitation_failed(
    policy: &Policy,
    identity: &mut Identity,
    call: &InFlight,
    fault: Fault,
    now: Timestamp,
) {
    let id = identity.id;
    let Some(manager) = manager_of(identity, &call.lane) else {
        return;
    };
    let Effect::CancelInvitation { invitation } = &call.effect else {
        let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
            return;
        };
        let invite = &mut enrollment.invite;
        let creating = matches!(call.effect, Effect::CreateInvitation { .. });
        match fault {
            Fault::Refused => invite.trouble.defer(now),
            Fault::Unanswered if creating => {
                invite.unattributed += 1;
                invite.unsure_since = Some(now);
                invite
                    .trouble
                    .fail(&policy.retry_schedule, (id, call.effect.name()), now);
            }
            Fault::Gone | Fault::Already | Fault::WrongState if !creating => {
                invite.resend = false;
                enrollment.look = Some(now);
            }
            Fault::Unanswered
            | Fault::Gone
            | Fault::Conflict
            | Fault::Already
            | Fault::WrongState
            | Fault::OutOfStock
            | Fault::Busy
            | Fault::Rejected(_) => {
                invite
                    .trouble
                    .fail(&policy.retry_schedule, (id, call.effect.name()), now);
                enrollment.look = Some(now);
            }
        }
        return;
    };
    match fault {
        Fault::Gone => cancelled(identity, manager, &call.effect, InvitationStatus::Cancelled),
        Fault::Refused
        | Fault::Unanswered
        | Fault::Conflict
        | Fault::Already
        | Fault::WrongState
        | Fault::OutOfStock
        | Fault::Busy
        | Fault::Rejected(_) => {
            let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
                return;
            };
            let Some(known) = enrollment.invitations.get_mut(invitation) else {
                return;
            };
            if fault == Fault::Refused {
                known.trouble.defer(now);
            } else {
                // Redeemed meanwhile, or cancelled by the call whose answer was lost: a read shows which.
                known
                    .trouble
                    .fail(&policy.retry_schedule, (id, "cancel"), now);
                enrollment.look = Some(now);
            }
        }
    }
}

fn cancelled(
    identity: &mut Identity,
    manager: AcsSystemId,
    effect: &Effect,
    status: InvitationStatus,
) {
    let Effect::CancelInvitation { invitation } = effect else {
        return;
    };
    let known = identity
        .enrollments
        .get_mut(&manager)
        .and_then(|e| e.invitations.get_mut(invitation));
    if let Some(known) = known.filter(|known| known.status == InvitationStatus::Pending) {
        known.status = status;
        known.closed = true;
        known.trouble.clear();
    }
}

/// HID accepted an issue after we had given up on it: one doubt less. Where no call is unaccounted
/// for, a read tells what the answer is worth.
fn issued_late(identity: &mut Identity, lane: &Lane, credential: &CredentialSeen, now: Timestamp) {
    let Some(((phone, _), key)) = key_mut(identity, lane) else {
        return;
    };
    if key.held.get(&credential.id).is_some_and(|held| held.ours) {
        return;
    }
    if key.doubt.unattributed > 0 {
        key.doubt.account_for_one();
        issued(key, credential, now);
    } else if let Some(phone) = phone_mut(identity, phone) {
        phone.look = Some(now);
    }
}

/// HID accepted an issue.
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

fn issue_failed(
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
            key.doubt.unattributed += 1;
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
            key.out_of_stock_since.get_or_insert(now);
            false
        }
        Fault::Busy => false,
        Fault::Already | Fault::WrongState | Fault::Gone | Fault::Conflict => true,
    };
    key.trouble.fail(&policy.retry_schedule, (id, &seed), now);
    if look && let Some(phone) = phone_mut(identity, phone) {
        phone.look = Some(now);
    }
}

fn revoke_accepted(identity: &mut Identity, call: &InFlight, now: Timestamp) {
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

fn revoke_failed(
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
            seen::drop_credential(key, credential);
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

fn read_phone_failed(
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
