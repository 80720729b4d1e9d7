//! Answers and failures of calls about HID's user and its invitations.

use crate::core::effect::{Effect, NewUser};
use crate::core::identity::{CmUserState, Enrollment, Identity, InFlight, Refusal, Told};
use crate::core::ids::{AcsSystemId, HidUserId, Timestamp};
use crate::core::observation::{Fault, InvitationStatus, Rejection, UserSeen};
use crate::core::plan;
use crate::core::policy::Policy;
use crate::core::seen::{self, Reading};

pub(super) fn user_created(
    policy: &Policy,
    identity: &mut Identity,
    manager: AcsSystemId,
    (call, user): (&InFlight, &UserSeen),
    at: Reading,
) {
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    enrollment.user.state = CmUserState::Present {
        id: user.id.clone(),
        adopted: false,
    };
    enrollment.user.told = told_by(&call.effect);
    for invitation in &user.invitations {
        seen::note_invitation_created(enrollment, invitation, at.now);
    }
    seen::note_user(policy, identity, manager, user, at);
    if let Some(enrollment) = identity.enrollments.get_mut(&manager) {
        seen::look_after_slow_answer(enrollment, at);
    }
}

/// What HID knows of a person once a call has had its effect.
fn told_by(effect: &Effect) -> Told {
    let data = match effect {
        Effect::CreateUser { user, .. } => Some(user.clone()),
        Effect::UpdateUser { data, .. } => Some(data.as_ref().clone()),
        Effect::SearchUser { .. }
        | Effect::ReadUser { .. }
        | Effect::DeleteUser { .. }
        | Effect::CreateInvitation { .. }
        | Effect::EmailInvitation { .. }
        | Effect::CancelInvitation { .. }
        | Effect::ReadPhone { .. }
        | Effect::DeletePhone { .. }
        | Effect::Issue { .. }
        | Effect::Revoke { .. }
        | Effect::Wake => None,
    };
    Told {
        data,
        ..Told::default()
    }
}

/// HID took the person's data in.
pub(super) fn user_updated(identity: &mut Identity, manager: AcsSystemId, effect: &Effect) {
    if let Some(enrollment) = identity.enrollments.get_mut(&manager) {
        enrollment.user.told = told_by(effect);
    }
}

pub(super) fn update_failed(
    policy: &Policy,
    identity: &mut Identity,
    (call, data): (&InFlight, &NewUser),
    fault: Fault,
    now: Timestamp,
) {
    let id = identity.id;
    let Some(enrollment) = identity
        .manager_of(&call.lane)
        .and_then(|m| identity.enrollments.get_mut(&m))
    else {
        return;
    };
    let told = &mut enrollment.user.told;
    let schedule = &policy.retry_schedule;
    match fault {
        Fault::Refused => told.trouble.defer(now),
        Fault::Conflict => told.refused = Some((data.clone(), Refusal::Conflict)),
        Fault::Rejected(why) => told.refused = Some((data.clone(), Refusal::Rejected(why))),
        Fault::Gone => user_gone(enrollment, policy, call, now),
        Fault::Unanswered => {
            told.trouble.fail(schedule, (id, call.effect.name()), now);
            // A late effect must not undo what a later update says.
            let settled = now.plus(policy.late_effect_bound);
            told.trouble.not_before = told.trouble.not_before.max(settled);
            // Neither the old data nor the new ones are known to be there.
            told.data = None;
        }
        Fault::Already | Fault::WrongState | Fault::OutOfStock | Fault::Busy => {
            told.trouble.fail(schedule, (id, call.effect.name()), now);
            // It may be on its way out: a read shows it.
            enrollment.look = Some(now);
        }
    }
}

pub(super) fn user_created_late(
    identity: &mut Identity,
    manager: AcsSystemId,
    (call, user): (&InFlight, &UserSeen),
    now: Timestamp,
) {
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    match &enrollment.user.state {
        CmUserState::Absent
        | CmUserState::Unsure { .. }
        | CmUserState::Taken
        | CmUserState::Found { .. }
        | CmUserState::Conflict { .. }
        | CmUserState::Refused(_) => {
            enrollment.user.state = CmUserState::Present {
                id: user.id.clone(),
                adopted: false,
            };
            enrollment.user.told = told_by(&call.effect);
            enrollment.user.trouble.clear();
            enrollment.look = Some(now);
        }
        CmUserState::Present { .. } | CmUserState::Deleting { .. } | CmUserState::Gone => {}
    }
    for invitation in &user.invitations {
        seen::note_invitation_created_late(enrollment, invitation, now);
    }
}

pub(super) fn user_found(
    policy: &Policy,
    identity: &mut Identity,
    manager: AcsSystemId,
    effect: &Effect,
    found: Option<&HidUserId>,
    at: Reading,
) {
    let id = identity.id;
    let data = plan::new_user(identity);
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    let user = &mut enrollment.user;
    let moved = plan::is_moved(user, data.as_ref());
    let sure = |since: Timestamp| at.began >= since.plus(policy.shows_after());
    user.state = match (&user.state, found) {
        (
            CmUserState::Unsure { .. } | CmUserState::Taken | CmUserState::Conflict { .. },
            Some(found),
        ) => {
            user.trouble.not_before = at.now;
            CmUserState::Found { id: found.clone() }
        }
        // With another address HID would not refuse a second one while a late create could still land.
        (CmUserState::Unsure { since }, None) if moved && !sure(*since) => {
            user.trouble
                .fail(&policy.retry_schedule, (id, effect.name()), at.now);
            CmUserState::Unsure { since: *since }
        }
        (CmUserState::Unsure { since }, None) => {
            if sure(*since) {
                user.unanswered_at = None;
                user.told = Told::default();
            }
            CmUserState::Absent
        }
        (CmUserState::Taken, None) => {
            user.trouble
                .fail(&policy.retry_schedule, (id, effect.name()), at.now);
            CmUserState::Absent
        }
        (CmUserState::Conflict { id }, None) => {
            user.unanswered_at = user.unanswered_at.filter(|since| !sure(*since));
            CmUserState::Conflict { id: id.clone() }
        }
        (other, _) => other.clone(),
    };
}

/// A deletion is accepted, or may be: reads follow it.
pub(super) fn user_deleted(enrollment: &mut Enrollment, now: Timestamp) {
    if let CmUserState::Present { id, .. } = &enrollment.user.state {
        enrollment.user.state = CmUserState::Deleting {
            id: id.clone(),
            since: now,
        };
    }
}

pub(super) fn user_failed(
    policy: &Policy,
    identity: &mut Identity,
    call: &InFlight,
    fault: Fault,
    now: Timestamp,
) {
    let id = identity.id;
    let Some(enrollment) = identity
        .manager_of(&call.lane)
        .and_then(|m| identity.enrollments.get_mut(&m))
    else {
        return;
    };
    let creating = match &call.effect {
        Effect::CreateUser { invite, .. } => Some(invite.is_some()),
        Effect::SearchUser { .. }
        | Effect::ReadUser { .. }
        | Effect::UpdateUser { .. }
        | Effect::DeleteUser { .. }
        | Effect::CreateInvitation { .. }
        | Effect::EmailInvitation { .. }
        | Effect::CancelInvitation { .. }
        | Effect::ReadPhone { .. }
        | Effect::DeletePhone { .. }
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
                let calls = &mut enrollment.invite.unattributed;
                *calls = calls.saturating_add(1);
            }
            // Even where an earlier create was answered meanwhile: this one may make another user yet.
            enrollment.user.unanswered_at = Some(now);
            if enrollment.user_id().is_none() {
                enrollment.user.state = CmUserState::Unsure { since: now };
                enrollment.user.told = told_by(&call.effect);
            }
            let seed = (id, call.effect.name());
            enrollment
                .user
                .trouble
                .fail(&policy.retry_schedule, seed, now);
        }
        // An earlier create was answered meanwhile: this is about its user.
        (Fault::Conflict | Fault::Rejected(_), Some(_)) if enrollment.user_id().is_some() => {}
        (Fault::Conflict, Some(_)) => {
            enrollment.user.state = CmUserState::Taken;
        }
        (Fault::Rejected(Rejection::UserData), Some(_)) => {
            enrollment.user.state = CmUserState::Refused(Rejection::UserData);
        }
        (Fault::Gone, None) if is_of_another(enrollment, &call.effect) => {}
        (Fault::Gone, None) if !searching => user_gone(enrollment, policy, call, now),
        // Deleting already, or nothing told: a read shows it.
        (Fault::Already | Fault::Unanswered, None) if deleting => {
            user_deleted(enrollment, now);
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

fn is_of_another(enrollment: &Enrollment, read: &Effect) -> bool {
    matches!(read, Effect::ReadUser { user } if enrollment.is_not(user))
}

/// HID does not know the user. A deletion's 404 is the end of it, and so is a read's long after the
/// deletion; elsewhere the second read settles it. With the user all its phones are gone.
fn user_gone(enrollment: &mut Enrollment, policy: &Policy, call: &InFlight, now: Timestamp) {
    let at = Reading {
        began: call.started_at,
        now,
    };
    let known_since = match &enrollment.user.state {
        CmUserState::Present { .. } => enrollment.user.missing_since,
        CmUserState::Deleting { since, .. } => Some(*since),
        CmUserState::Absent
        | CmUserState::Unsure { .. }
        | CmUserState::Taken
        | CmUserState::Found { .. }
        | CmUserState::Conflict { .. }
        | CmUserState::Refused(_)
        | CmUserState::Gone => None,
    };
    let deleting = matches!(call.effect, Effect::DeleteUser { .. });
    let settled =
        deleting || known_since.is_some_and(|since| at.began.since(since) >= policy.settle_delay);
    let was_present = matches!(enrollment.user.state, CmUserState::Present { .. });
    enrollment.look = None;
    enrollment.user.state = match &enrollment.user.state {
        CmUserState::Present { .. } | CmUserState::Deleting { .. } if settled => CmUserState::Gone,
        CmUserState::Present { .. } | CmUserState::Deleting { .. } => {
            enrollment.user.missing_since.get_or_insert(at.began);
            return;
        }
        CmUserState::Found { .. } => CmUserState::Absent,
        CmUserState::Absent
        | CmUserState::Unsure { .. }
        | CmUserState::Taken
        | CmUserState::Conflict { .. }
        | CmUserState::Refused(_)
        | CmUserState::Gone => enrollment.user.state.clone(),
    };
    enrollment.user.missing_since = None;
    if was_present {
        enrollment.user.drift.noticed_at = Some(now);
    }
    for phone in enrollment
        .phones
        .values_mut()
        .filter(|phone| phone.removed_at.is_none())
    {
        seen::note_phone_missing(policy, phone, at);
    }
}

pub(super) fn invitation_failed(
    policy: &Policy,
    identity: &mut Identity,
    call: &InFlight,
    fault: Fault,
    now: Timestamp,
) {
    let id = identity.id;
    let Some(manager) = identity.manager_of(&call.lane) else {
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
                invite.unattributed = invite.unattributed.saturating_add(1);
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

pub(super) fn cancelled(
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
