//! What somebody changed at HID behind our back: noticed, told, and repaired where the operator wants it
//! (contract.md section 4, `drift`).
//!
//! What is told of once is not fought over: of one key, or one user, there is one repair a day at most.

use std::time::Duration;

use super::identity::{CmUser, CmUserState, Drift, Enrollment, Identity, Invitation, Key, Phone};
use super::ids::{AcsSystemId, PartNumber, PhoneId, Timestamp};
use super::observation::{InvitationStatus, Rejection};
use super::plan;

/// Between two repairs of the same.
const REPAIR_EVERY: Duration = Duration::from_hours(24);

/// One change that was not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `key_revoked`, `user_deleted` or `phone_added`.
    pub what: &'static str,
    /// As in the journal.
    pub entity: String,
    /// It is being made good.
    pub repaired: bool,
}

/// Lets what was taken from us be made again.
pub(super) fn settle(identity: &mut Identity, manager: AcsSystemId, now: Timestamp) {
    let view = identity.clone();
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    for (id, phone) in &mut enrollment.phones {
        let Some((_, seen)) = view.phone(*id) else {
            continue;
        };
        for (part_number, key) in &mut phone.keys {
            let lost = key.failed == Some(Rejection::RevokedElsewhere) && may_repair(&key.drift);
            if lost && plan::is_key_wanted(&view, manager, (*id, seen), part_number, now) {
                key.failed = None;
                key.trouble.clear();
                key.drift.repaired_at = Some(now);
            }
        }
    }
    let wanted = identity.deleting_since.is_none() && enrollment.is_running();
    // What became of its phones shows whether it needs an invitation.
    let mut phones = enrollment.phones.values();
    let settled = phones.all(|phone| phone.removed_at.is_some() || phone.missing_since.is_none());
    let lost = enrollment.user.state == CmUserState::Gone && may_repair(&enrollment.user.drift);
    if lost && wanted && settled {
        make_user_again(enrollment);
        enrollment.user.drift.repaired_at = Some(now);
    }
}

fn may_repair(drift: &Drift) -> bool {
    drift.noticed_at.is_some_and(|noticed_at| {
        drift
            .repaired_at
            .is_none_or(|repaired_at| noticed_at.since(repaired_at) >= REPAIR_EVERY)
    })
}

/// HID's user is gone, and its invitations with it: another is to be made, invited where no phone is left.
pub(super) fn make_user_again(enrollment: &mut Enrollment) {
    for invitation in enrollment.invitations.values_mut() {
        if invitation.status == InvitationStatus::Pending {
            invitation.status = InvitationStatus::Cancelled;
        }
        invitation.closed = true;
    }
    let user = std::mem::take(&mut enrollment.user);
    enrollment.user = CmUser {
        drift: user.drift.clone(),
        ..user.start_over()
    };
    let stays = |phone: &Phone| phone.is_active() && phone.missing_since.is_none();
    enrollment.invite.wanted = !enrollment.phones.values().any(stays);
    enrollment.invite.renewals = 0;
    enrollment.invite.unattributed = 0;
    enrollment.invite.unsure_since = None;
}

/// What a step noticed first.
#[must_use]
pub fn found(before: &Identity, after: &Identity, now: Timestamp) -> Vec<Found> {
    let mut found = Vec::new();
    for (manager, enrollment) in &after.enrollments {
        let Some(known) = before.enrollments.get(manager) else {
            continue;
        };
        if is_new(&known.user.drift, &enrollment.user.drift) {
            found.push(Found {
                what: "user_deleted",
                entity: format!("cm_user/{manager}"),
                repaired: enrollment.user.state != CmUserState::Gone,
            });
        }
        for (id, phone) in &enrollment.phones {
            match known.phones.get(id) {
                Some(known) => {
                    found.extend(keys_found(after, *manager, (*id, known, phone), now));
                }
                None if is_added(known, enrollment, phone) => found.push(Found {
                    what: "phone_added",
                    entity: format!("phone/{id}"),
                    repaired: false,
                }),
                None => {}
            }
        }
    }
    found
}

fn is_new(before: &Drift, after: &Drift) -> bool {
    after.noticed_at.is_some() && after.noticed_at != before.noticed_at
}

fn keys_found(
    identity: &Identity,
    manager: AcsSystemId,
    (id, before, after): (PhoneId, &Phone, &Phone),
    now: Timestamp,
) -> Vec<Found> {
    let is_found = |(part_number, key): &(&PartNumber, &Key)| {
        let known = before.keys.get(*part_number);
        let known = known.map(|key| key.drift.clone()).unwrap_or_default();
        is_new(&known, &key.drift)
            && plan::is_key_wanted(identity, manager, (id, after), part_number, now)
    };
    let lost = after.keys.iter().filter(is_found);
    lost.map(|(part_number, key)| Found {
        what: "key_revoked",
        entity: format!("key/{id}/{part_number}"),
        repaired: key.failed.is_none(),
    })
    .collect()
}

/// The phone came of no invitation of ours. Whatever hangs below a user when it is first read is no news.
fn is_added(before: &Enrollment, after: &Enrollment, phone: &Phone) -> bool {
    let spent = phone.invitation.as_ref();
    if let Some(known) = spent.and_then(|id| after.invitations.get(id)) {
        return !known.ours;
    }
    // An event can come before the answer that tells of its invitation.
    let may_be_ours = |invitation: &Invitation| invitation.ours && !invitation.closed;
    let awaited = before.invite.unattributed > 0 || before.invitations.values().any(may_be_ours);
    before.read_at.is_some() && spent.is_none() && !awaited
}
