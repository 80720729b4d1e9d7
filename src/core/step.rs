//! One observation, one step: the next identity and all that is owed from now on.

use std::collections::BTreeMap;

use super::change::{self, Change};
use super::effect::{Lane, NewUser, Owed};
use super::identity::{Child, CmUserState, Enrollment, Identity, InFlight};
use super::ids::{AcsSystemId, CallNo, ChildId, CredentialId, PartNumber, PhoneId, Timestamp};
use super::observation::{CredentialStatus, InvitationStatus, Observation};
use super::plan;
use super::policy::{DriftPolicy, Policy};
use super::record::{self, Record};
use super::seen::{self, Reading};
use super::{answer, drift, event, phones, wish};

/// What follows from an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The identity from now on; `None`: nothing is left of it.
    pub identity: Option<Identity>,
    /// All that is owed from now on.
    pub owed: BTreeMap<Lane, Owed>,
    /// What changed, as the outside sees it.
    pub changes: Vec<Change>,
    /// The call that may go out now: only after [`Observation::Started`], and not always then.
    pub started: Option<InFlight>,
}

/// Total, pure and idempotent: any observation in any state; the same one twice changes nothing the
/// second time. An observation that makes no sense leaves the identity as it is.
#[must_use]
pub fn step(policy: &Policy, before: &Identity, seen: &Observation, now: Timestamp) -> Step {
    let mut identity = before.clone();
    let mut started = None;
    match seen {
        Observation::Wish(wish) => wish::take(&mut identity, wish, now),
        Observation::Started(lane) => started = start(policy, &mut identity, lane, now),
        Observation::Answered(call, answer) => {
            if finish(&mut identity, call) {
                answer::answered(policy, &mut identity, call, answer, now);
            } else {
                answer::answered_late(&mut identity, call, answer, now);
            }
        }
        Observation::Failed(call, fault) => {
            // A call that was given up already has been counted already.
            if finish(&mut identity, call) {
                answer::failed(policy, &mut identity, call, *fault, now);
            }
        }
        Observation::Event(event) => event::told(policy, &mut identity, event, now),
        Observation::RecordStarted {
            child,
            until,
            token,
        } => record::start(policy, &mut identity, *child, *until, *token, now),
        Observation::RecordEnded(child, number, outcome) => {
            record::end(policy, &mut identity, *child, *number, *outcome, now);
        }
        Observation::Adopted {
            manager,
            user,
            began,
        } => {
            let at = Reading { began: *began, now };
            seen::adopt_user(policy, &mut identity, *manager, user, at);
        }
        Observation::Woken => {}
    }
    let mut identity = settle(policy, identity, now);
    let owed = identity
        .as_ref()
        .map_or_else(BTreeMap::new, |identity| plan::owed(policy, identity, now));
    let changes = change::changes(policy, before, identity.as_ref(), now);
    if let Some(identity) = identity
        .as_mut()
        .filter(|identity| **identity != *before || !changes.is_empty())
    {
        identity.changed_at = now;
    }
    Step {
        identity,
        owed,
        changes,
        started,
    }
}

/// Makes the `sent` mark, where the lane owes something that is due and no call is under way.
fn start(
    policy: &Policy,
    identity: &mut Identity,
    lane: &Lane,
    now: Timestamp,
) -> Option<InFlight> {
    if identity.in_flight.is_some() {
        return None;
    }
    let owed = plan::owed(policy, identity, now)
        .remove(lane)
        .filter(|owed| owed.not_before <= now)?;
    identity.calls = CallNo(identity.calls.0.checked_add(1)?);
    let call = InFlight {
        call: identity.calls,
        lane: lane.clone(),
        effect: owed.effect,
        started_at: now,
    };
    identity.in_flight = Some(call.clone());
    Some(call)
}

/// Takes the `sent` mark away; `false` where it is another call's, or none.
fn finish(identity: &mut Identity, call: &InFlight) -> bool {
    let current = identity
        .in_flight
        .as_ref()
        .is_some_and(|known| known.call == call.call);
    if current {
        identity.in_flight = None;
    }
    current
}

/// Draws the conclusions that need no call: children, current credentials, renewals, ends.
fn settle(policy: &Policy, mut identity: Identity, now: Timestamp) -> Option<Identity> {
    let data = plan::new_user(&identity);
    let managers: Vec<AcsSystemId> = identity.enrollments.keys().copied().collect();
    for manager in managers {
        if let (Some(policy), Some(enrollment)) = (
            policy.managers.get(&manager),
            identity.enrollments.get_mut(&manager),
        ) {
            phones::settle(policy.phones, enrollment, now);
        }
        settle_children(&mut identity, manager, now);
        let drift = policy.managers.get(&manager).map(|m| m.drift);
        if drift == Some(DriftPolicy::Repair) {
            drift::settle(&mut identity, manager, now);
        }
        settle_keys(&mut identity, manager, now);
        let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
            continue;
        };
        settle_user(enrollment, data.as_ref());
        settle_invitations(policy, manager, enrollment);
        let stopped = enrollment
            .automation
            .as_ref()
            .is_some_and(|a| a.stopping_since.is_some());
        if stopped && plan::is_invitation_closed(enrollment) {
            enrollment.automation = None;
        }
    }
    drop_withdrawn(policy, &mut identity, now);
    drop_users(&mut identity);
    let over =
        identity.deleting_since.is_some() && identity.in_flight.is_none() && is_over(&identity);
    (!over).then_some(identity)
}

/// Every enrolled phone gets its child of every parent, and its key.
fn settle_children(identity: &mut Identity, manager: AcsSystemId, now: Timestamp) {
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    let deleting = identity.deleting_since.is_some();
    let parents = identity
        .parents
        .iter_mut()
        .filter(|(_, p)| p.manager == manager && p.deleting_since.is_none());
    for (parent_id, parent) in parents.filter(|_| !deleting) {
        for (phone_id, phone) in enrollment
            .phones
            .iter_mut()
            .filter(|(_, p)| p.enrolled && p.is_active())
        {
            phone
                .keys
                .entry(parent.part_number.clone())
                .or_default()
                .used = true;
            parent.children.entry(*phone_id).or_insert_with(|| Child {
                id: ChildId::of(*parent_id, *phone_id),
                created_at: now,
                issued_at: None,
                issued_as: None,
                deleting_since: None,
                gone_at: None,
                record: Record::default(),
            });
        }
    }
}

/// A wanted key without a current credential takes the best one that is there.
fn settle_keys(identity: &mut Identity, manager: AcsSystemId, now: Timestamp) {
    let view = identity.clone();
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    for (phone_id, phone) in &mut enrollment.phones {
        let Some((_, seen)) = view.phone(*phone_id) else {
            continue;
        };
        for (part_number, key) in &mut phone.keys {
            let wanted = plan::is_key_wanted(&view, manager, (*phone_id, seen), part_number, now);
            if wanted && key.current.is_none() {
                let usable = key
                    .held
                    .iter()
                    .filter(|(_, held)| !held.doomed && held.status.is_issue());
                key.current = usable
                    .min_by_key(|(_, held)| (!held.ours, held.seen_at))
                    .map(|(id, _)| id.clone());
            }
            if key.current.is_some() {
                key.failed = None;
                key.out_of_stock_since = None;
            }
            let on_phone = key.current.as_ref().filter(|id| {
                let held = key.held.get(id);
                held.is_some_and(|held| held.status == CredentialStatus::Issued)
            });
            if let Some(credential) = on_phone {
                key.trouble.clear();
                let pair = (*phone_id, part_number);
                mark_issued(&mut identity.parents, pair, credential, now);
            }
        }
    }
}

fn mark_issued(
    parents: &mut BTreeMap<super::ids::ParentId, super::identity::Parent>,
    (phone, part_number): (PhoneId, &PartNumber),
    credential: &CredentialId,
    now: Timestamp,
) {
    for parent in parents
        .values_mut()
        .filter(|parent| parent.part_number == *part_number)
    {
        if let Some(child) = parent.children.get_mut(&phone) {
            child.issued_at.get_or_insert(now);
            if child.issued_as.as_ref() != Some(credential) {
                child.issued_as = Some(credential.clone());
            }
        }
    }
}

/// HID's uniqueness guards against a second user, unless its address is another by now; and a stop must not miss a late
/// one and its invitation.
fn settle_user(enrollment: &mut Enrollment, data: Option<&NewUser>) {
    let none = matches!(
        enrollment.user.state,
        CmUserState::Absent | CmUserState::Refused(_) | CmUserState::Conflict { .. }
    );
    let unguarded = !enrollment.is_running() || plan::is_moved(&enrollment.user, data);
    let unanswered_at = enrollment.user.unanswered_at;
    if let Some(since) = unanswered_at.filter(|_| unguarded && none) {
        enrollment.user.state = CmUserState::Unsure { since };
    }
}

fn settle_invitations(policy: &Policy, manager: AcsSystemId, enrollment: &mut Enrollment) {
    // A phone's event may come before the answer that tells of its invitation.
    for spent in (enrollment.phones.values()).filter_map(|phone| phone.invitation.as_ref()) {
        if let Some(invitation) = enrollment.invitations.get_mut(spent) {
            invitation.closed = true;
        }
    }
    if !enrollment.is_running() || enrollment.invite.barred {
        enrollment.invite.wanted = false;
        enrollment.invite.resend = false;
        for invitation in enrollment
            .invitations
            .values_mut()
            .filter(|invitation| invitation.ours)
        {
            invitation.cancel = true;
        }
        return;
    }
    // One open at a time: of several that turned up after unknown outcomes, the newest stays.
    let newest = enrollment.open_invitation().map(|(id, _)| id.clone());
    for (id, invitation) in &mut enrollment.invitations {
        let surplus = invitation.ours
            && invitation.status == InvitationStatus::Pending
            && !invitation.closed
            && Some(id) != newest.as_ref();
        invitation.cancel |= surplus;
    }
    let max_renewals = policy.managers.get(&manager).map_or(0, |m| m.max_renewals);
    let has_phone = enrollment.has_phone();
    let invite = &mut enrollment.invite;
    let mut expired = false;
    for invitation in enrollment.invitations.values_mut().filter(|i| i.ours) {
        let ends = !invitation.closed && invitation.status == InvitationStatus::Expired;
        invitation.closed |= ends;
        expired |= ends;
    }
    let renewable = newest.is_none() && !has_phone && invite.renewals < max_renewals;
    if expired && renewable && !invite.wanted {
        invite.renewals += 1;
        invite.wanted = true;
    }
    for invitation in enrollment.invitations.values_mut() {
        invitation.closed |= matches!(
            invitation.status,
            InvitationStatus::Cancelled
                | InvitationStatus::CancelInitiated
                | InvitationStatus::NotSupported
                | InvitationStatus::NotEligible
        );
    }
}

/// Children without a wish or a key go, then parents without children.
fn drop_withdrawn(policy: &Policy, identity: &mut Identity, now: Timestamp) {
    let view = identity.clone();
    for parent in identity.parents.values_mut() {
        let (manager, system) = (parent.manager, parent.acs_system);
        let part_number = parent.part_number.clone();
        let leaving = parent.deleting_since.is_some();
        parent.children.retain(|phone_id, child| {
            let Some((_, phone)) = view.phone(*phone_id) else {
                return false;
            };
            let unwanted = leaving || child.deleting_since.is_some() || phone.removed_at.is_some();
            let others_keep_it =
                plan::is_key_wanted(&view, manager, (*phone_id, phone), &part_number, now);
            let lane = Lane::Key(*phone_id, part_number.clone());
            let calling = view
                .in_flight
                .as_ref()
                .is_some_and(|call| call.lane == lane);
            let gone = !calling
                && phone
                    .keys
                    .get(&part_number)
                    .is_none_or(plan::is_key_withdrawn);
            let forgotten = leaving || phone.removed_at.is_some();
            let withdrawn =
                unwanted && (gone || others_keep_it) && record::is_gone(policy, system, child);
            if withdrawn {
                child.gone_at.get_or_insert(now);
            }
            !(withdrawn && (forgotten || child.deleting_since.is_none()))
        });
    }
    identity
        .parents
        .retain(|_, parent| parent.deleting_since.is_none() || !parent.children.is_empty());
    record::forget_released(policy, identity);
}

/// A deleted ACS user goes with its last parent.
fn drop_users(identity: &mut Identity) {
    let parents = &identity.parents;
    identity.acs_users.retain(|id, user| {
        user.deleting_since.is_none() || parents.values().any(|parent| parent.acs_user == *id)
    });
}

/// Nothing of ours is left at HID.
fn is_over(identity: &Identity) -> bool {
    let user_left = |enrollment: &Enrollment| match &enrollment.user.state {
        CmUserState::Unsure { .. }
        | CmUserState::Found { .. }
        | CmUserState::Taken
        | CmUserState::Present { adopted: false, .. }
        | CmUserState::Deleting { .. } => true,
        CmUserState::Absent
        | CmUserState::Present { adopted: true, .. }
        | CmUserState::Conflict { .. }
        | CmUserState::Refused(_)
        | CmUserState::Gone => false,
    };
    identity.parents.is_empty()
        && identity.released.is_empty()
        && identity
            .enrollments
            .values()
            .all(|e| plan::is_withdrawn(e) && !user_left(e))
}
