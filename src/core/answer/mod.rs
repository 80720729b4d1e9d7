//! What an answer or a failure of our own call says about the identity.

mod enroll;
mod phone;

use super::effect::Effect;
use super::identity::{Identity, InFlight};
use super::ids::Timestamp;
use super::observation::{Answer, Fault, InvitationStatus};
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
    let Some(manager) = identity.manager_of(&call.lane) else {
        return;
    };
    match answer {
        Answer::UserCreated(user) => {
            enroll::user_created(policy, identity, manager, (call, user), at);
        }
        Answer::UserUpdated => enroll::user_updated(identity, manager, &call.effect),
        Answer::UserFound(found) => {
            enroll::user_found(policy, identity, manager, &call.effect, found.as_ref(), at);
        }
        Answer::User(user) => seen::note_user(policy, identity, manager, user, at),
        Answer::UserDeleted => {
            if let Some(enrollment) = identity.enrollments.get_mut(&manager) {
                enroll::user_deleted(enrollment, now);
            }
        }
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
        Answer::InvitationCancelled => enroll::cancelled(
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
            phone::issue_accepted(identity, &call.lane, credential, now);
        }
        Answer::PhoneDeleted => phone::deletion_accepted(identity, &call.lane, now),
        Answer::Revoked => phone::revoke_accepted(identity, call, now),
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
    let Some(manager) = identity.manager_of(&call.lane) else {
        return;
    };
    match answer {
        Answer::UserCreated(user) => {
            enroll::user_created_late(identity, manager, (call, user), now);
        }
        Answer::InvitationCreated(invitation) => {
            if let Some(enrollment) = identity.enrollments.get_mut(&manager) {
                seen::note_invitation_created_late(enrollment, invitation, now);
            }
        }
        Answer::Issued(credential) => phone::issued_late(identity, &call.lane, credential, now),
        Answer::Revoked => phone::revoke_accepted(identity, call, now),
        Answer::PhoneDeleted => phone::deletion_accepted(identity, &call.lane, now),
        Answer::UserDeleted => {
            if let Some(enrollment) = identity.enrollments.get_mut(&manager) {
                enroll::user_deleted(enrollment, now);
            }
        }
        Answer::InvitationCancelled => enroll::cancelled(
            identity,
            manager,
            &call.effect,
            InvitationStatus::CancelInitiated,
        ),
        // An update was or will be repeated: only its last one counts.
        Answer::UserUpdated
        | Answer::UserFound(_)
        | Answer::User(_)
        | Answer::Phone(_)
        | Answer::InvitationEmailed => {}
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
        Effect::Issue { .. } => phone::issue_failed(policy, identity, call, fault, now),
        Effect::Revoke { .. } => phone::revoke_failed(policy, identity, call, fault, now),
        Effect::ReadPhone { .. } => phone::read_phone_failed(policy, identity, call, fault, now),
        Effect::DeletePhone { .. } => {
            phone::delete_phone_failed(policy, identity, call, fault, now);
        }
        Effect::UpdateUser { data, .. } => {
            enroll::update_failed(policy, identity, (call, data), fault, now);
        }
        Effect::CreateUser { .. }
        | Effect::SearchUser { .. }
        | Effect::ReadUser { .. }
        | Effect::DeleteUser { .. } => enroll::user_failed(policy, identity, call, fault, now),
        Effect::CreateInvitation { .. }
        | Effect::EmailInvitation { .. }
        | Effect::CancelInvitation { .. } => {
            enroll::invitation_failed(policy, identity, call, fault, now);
        }
        Effect::Wake => {}
    }
}
