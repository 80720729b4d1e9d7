//! What a read or an answer shows of HID's side is noted here, and nowhere else.
//!
//! A read proves what was there when it *began*; `began` is that instant, `now` the one of its answer.
//! One read that misses something proves little (reads after writes can be stale): two at least
//! `settle_delay` apart settle it.

mod phone;

use std::time::Duration;

pub use phone::{drop_credential, held_as, new_phone, note_phone, note_phone_missing};

use super::identity::{CmUserState, Enrollment, Identity, Invitation, Trouble};
use super::ids::{AcsSystemId, InvitationId, Timestamp};
use super::observation::{InvitationSeen, InvitationStatus, UserSeen};
use super::plan;
use super::policy::Policy;

/// After a repeated issue a surplus is looked for by reads 1, 10 and 60 minutes later (contract.md G1).
pub const REPEAT_CHECKS_MS: [i64; 3] = [60_000, 600_000, 3_600_000];

/// So soon nobody redeems the invitation of a user that HID was just making.
const NOTHING_HAPPENS_WITHIN: Duration = Duration::from_secs(2);

/// When a read began and when it was answered.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// What it shows was so no earlier than this.
    pub began: Timestamp,
    /// When we learned it.
    pub now: Timestamp,
}

/// What the feed told of a user before its id was known here was nobody's: a phone may have registered while the answer
/// that tells of the user was on its way. Then it is read once more.
pub fn look_after_slow_answer(enrollment: &mut Enrollment, at: Reading) {
    if at.now.since(at.began) >= NOTHING_HAPPENS_WITHIN {
        enrollment.look = Some(at.now);
    }
}

/// Notes a user with all that hangs below it; nothing where another one turned out to be the identity's meanwhile.
pub fn note_user(
    policy: &Policy,
    identity: &mut Identity,
    manager: AcsSystemId,
    seen: &UserSeen,
    at: Reading,
) {
    let external_id = identity.id.to_string();
    let data = plan::new_user(identity);
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    if enrollment.is_not(&seen.id) {
        return;
    }
    let was_there = enrollment.user_id().is_some();
    let ours = seen.external_id.as_deref() == Some(external_id.as_str());
    let taken_over = enrollment.user.take_over.as_ref() == Some(&seen.id);
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
            } else if ours || by_email || taken_over {
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
    if !was_there && enrollment.user.told.data.is_none() {
        // One of ours that nobody remembers making; a read does not show its data.
        enrollment.user.told.data = data;
    }
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
    enrollment.user.missing_since = None;
    enrollment.user.trouble.clear();
    enrollment.look = enrollment.look.filter(|asked| *asked > at.began);
    if !was_there {
        look_after_slow_answer(enrollment, at);
    }
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

/// Notes a user that bears this identity's id, where the store may have forgotten it: it and its open invitation are
/// ours, and its keys are whoever's they turn out to be.
pub fn adopt_user(
    policy: &Policy,
    identity: &mut Identity,
    manager: AcsSystemId,
    seen: &UserSeen,
    at: Reading,
) {
    let enrollment = identity.enrollments.entry(manager).or_default();
    if enrollment.user_id().is_none() && !seen.deleting {
        enrollment.user.state = CmUserState::Present {
            id: seen.id.clone(),
            adopted: false,
        };
    }
    note_user(policy, identity, manager, seen, at);
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    for invitation in &seen.invitations {
        if let Some(known) = enrollment.invitations.get_mut(&invitation.id) {
            known.ours = true;
        }
    }
    look_after_slow_answer(enrollment, at);
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
