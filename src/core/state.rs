//! The states that the outside sees (contract.md section 7), derived from the facts.
//! `docs/states.md` lists every transition; a test holds it against this code.

use super::effect::Lane;
use super::hold::HoldReason;
use super::identity::{
    CmUserState, DoubtStage, Enrollment, Identity, Key, Parent, Phone, Refusal, Trouble,
};
use super::ids::{AcsSystemId, PartNumber, PhoneId, Timestamp};
use super::observation::{ContainerStatus, CredentialStatus, InvitationStatus, Rejection};
use super::plan;
use super::policy::Policy;

/// How a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    /// To be issued.
    Wanted,
    /// An issue call is under way.
    Sent,
    /// An issue call had no answer.
    Unconfirmed,
    /// HID has it.
    Accepted,
    /// The phone has it.
    Issued,
    /// On its way out.
    Revoking,
    /// Gone, or never there.
    Revoked,
    /// Refused for good.
    Failed,
}

impl KeyState {
    /// Stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Sent => "sent",
            Self::Unconfirmed => "unconfirmed",
            Self::Accepted => "accepted",
            Self::Issued => "issued",
            Self::Revoking => "revoking",
            Self::Revoked => "revoked",
            Self::Failed => "failed",
        }
    }
}

/// How the key of `part_number` on a phone stands.
#[must_use]
pub fn key(
    identity: &Identity,
    manager: AcsSystemId,
    (id, phone): (PhoneId, &Phone),
    part_number: &PartNumber,
    now: Timestamp,
) -> KeyState {
    let Some(key) = phone.keys.get(part_number) else {
        return KeyState::Revoked;
    };
    let lane = Lane::Key(id, part_number.clone());
    let wanted = plan::is_key_wanted(identity, manager, (id, phone), part_number, now);
    let calling = identity
        .in_flight
        .as_ref()
        .is_some_and(|call| call.lane == lane);
    let current = key
        .current
        .as_ref()
        .and_then(|id| key.held.get(id))
        .filter(|held| !held.doomed);
    let in_doubt = matches!(key.doubt.stage, DoubtStage::Open { .. });
    match current.map(|held| &held.status) {
        Some(CredentialStatus::Issued) if wanted => KeyState::Issued,
        Some(status)
            if wanted && !status.is_revoke() && *status != CredentialStatus::IssueFailed =>
        {
            KeyState::Accepted
        }
        Some(_) => KeyState::Revoking,
        None if calling && !key.is_live() => KeyState::Sent,
        None if in_doubt => KeyState::Unconfirmed,
        None if !plan::is_key_withdrawn(key) || (wanted && key.is_live()) => KeyState::Revoking,
        None if wanted && key.failed.is_some() => KeyState::Failed,
        None if wanted => KeyState::Wanted,
        None => KeyState::Revoked,
    }
}

/// How a phone stands.
#[must_use]
pub fn phone(phone: &Phone) -> &'static str {
    match (&phone.removed_at, &phone.status) {
        (Some(_), _) => "removed",
        (None, _) if phone.removal.is_some() => "removing",
        (None, ContainerStatus::Active) => "active",
        (None, ContainerStatus::Initialized | ContainerStatus::Unknown(_)) => "registering",
        (None, ContainerStatus::Deleting) => "removing",
    }
}

/// How an automation stands, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutomationState {
    /// `preparing_user`, `inviting`, `waiting_for_phone`, `issuing`, `enrolled`, `held`, `stuck`, `stopping`.
    pub name: &'static str,
    /// Why it is held or stuck, or what it waits for.
    pub reason: Option<&'static str>,
}

/// How the automation of `manager` stands; `None` where there is none.
#[must_use]
pub fn automation(
    policy: &Policy,
    identity: &Identity,
    manager: AcsSystemId,
    now: Timestamp,
) -> Option<AutomationState> {
    let enrollment = identity.enrollments.get(&manager)?;
    let automation = enrollment.automation.as_ref()?;
    let state = |name, reason| Some(AutomationState { name, reason });
    if automation.stopping_since.is_some() {
        return state("stopping", None);
    }
    if let Some(hold) = identity.held {
        return state("held", Some(hold.reason.name()));
    }
    if plan::regressed::is_unread(policy, enrollment) {
        return state("held", Some(HoldReason::StateRegressed.name()));
    }
    let stuck = |trouble: &Trouble| trouble.is_stuck(policy.give_up_after, now);
    match &enrollment.user.state {
        CmUserState::Conflict { .. } => state("held", Some("user_conflict")),
        CmUserState::Refused(rejection) => state("held", Some(rejection.name())),
        CmUserState::Gone => state("stuck", Some("user_gone")),
        CmUserState::Absent if plan::new_user(identity).is_none() => {
            state("held", Some("user_data_incomplete"))
        }
        CmUserState::Absent
        | CmUserState::Unsure { .. }
        | CmUserState::Taken
        | CmUserState::Found { .. }
        | CmUserState::Deleting { .. } => {
            let name = if stuck(&enrollment.user.trouble) {
                "stuck"
            } else {
                "preparing_user"
            };
            state(name, (name == "stuck").then_some("user_not_created"))
        }
        CmUserState::Present { .. } => {
            let state = keys_state(policy, identity, manager, enrollment, now)
                .unwrap_or_else(|| state_without_keys(policy, enrollment, now));
            let reason = state.reason.or(update_refused(identity, enrollment));
            Some(AutomationState { reason, ..state })
        }
    }
}

/// Why HID's copy of the person's data is not up to date, where a person must act; keys go on all the same.
#[must_use]
pub fn update_refused(identity: &Identity, enrollment: &Enrollment) -> Option<&'static str> {
    match (plan::new_user(identity), &enrollment.user.told.refused) {
        (None, _) => Some(Rejection::UserData.name()),
        (Some(data), Some((refused, why))) if data == *refused => Some(match why {
            Refusal::Conflict => "user_conflict",
            Refusal::Rejected(why) => why.name(),
        }),
        (Some(_), _) => None,
    }
}

/// The state that the phones' keys give; `None` where no phone is there.
fn keys_state(
    policy: &Policy,
    identity: &Identity,
    manager: AcsSystemId,
    enrollment: &Enrollment,
    now: Timestamp,
) -> Option<AutomationState> {
    let mut states = Vec::new();
    for (id, phone) in enrollment
        .phones
        .iter()
        .filter(|(_, phone)| phone.enrolled && phone.is_active())
    {
        states.push((KeyState::Issued, None));
        for (part_number, key) in &phone.keys {
            if plan::is_key_wanted(identity, manager, (*id, phone), part_number, now) {
                states.push((
                    self::key(identity, manager, (*id, phone), part_number, now),
                    reason_of(policy, key, now),
                ));
            }
        }
    }
    if states.is_empty() {
        return None;
    }
    let reason = states.iter().find_map(|(_, reason)| *reason);
    let settled = states.iter().all(|(state, _)| *state == KeyState::Issued);
    let name = match reason {
        _ if settled => "enrolled",
        Some("out_of_stock") => "held",
        Some(_) => "stuck",
        None => "issuing",
    };
    Some(AutomationState { name, reason })
}

fn reason_of(policy: &Policy, key: &Key, now: Timestamp) -> Option<&'static str> {
    if key.current.is_some() {
        return None;
    }
    let failing = key.trouble.is_stuck(policy.give_up_after, now);
    key.failed
        .map(Rejection::name)
        .or(key.out_of_stock_since.map(|_| "out_of_stock"))
        .or(failing.then_some("issue_fails"))
}

fn state_without_keys(policy: &Policy, enrollment: &Enrollment, now: Timestamp) -> AutomationState {
    let invite = &enrollment.invite;
    let refused = enrollment
        .invitations
        .values()
        .filter(|i| i.ours)
        .max_by_key(|i| i.created_at)
        .map(|i| &i.status);
    let (name, reason) = match refused {
        _ if invite.trouble.is_stuck(policy.give_up_after, now) => {
            ("stuck", Some("invitation_not_created"))
        }
        _ if invite.wanted || invite.unsure_since.is_some() => ("inviting", None),
        Some(InvitationStatus::NotSupported) => {
            ("waiting_for_phone", Some("invitation_not_supported"))
        }
        Some(InvitationStatus::NotEligible) => {
            ("waiting_for_phone", Some("invitation_not_eligible"))
        }
        Some(InvitationStatus::Expired) => ("waiting_for_phone", Some("invitation_expired")),
        Some(InvitationStatus::Cancelled | InvitationStatus::CancelInitiated) => {
            ("waiting_for_phone", Some("invitation_cancelled"))
        }
        Some(
            InvitationStatus::Pending
            | InvitationStatus::Acknowledged
            | InvitationStatus::Unknown(_),
        )
        | None => ("waiting_for_phone", None),
    };
    AutomationState { name, reason }
}

/// How a child stands: its key's state. `None` where nobody should see it.
#[must_use]
pub fn child(
    identity: &Identity,
    parent: &Parent,
    id: PhoneId,
    now: Timestamp,
) -> Option<KeyState> {
    let child = parent
        .children
        .get(&id)
        .filter(|child| child.gone_at.is_none())?;
    let (manager, phone) = identity.phone(id)?;
    let leaving = child.deleting_since.is_some()
        || parent.deleting_since.is_some()
        || phone.removal.is_some();
    let state = key(identity, manager, (id, phone), &parent.part_number, now);
    if !leaving {
        return Some(state);
    }
    let others_keep_it =
        plan::is_key_wanted(identity, manager, (id, phone), &parent.part_number, now);
    let gone = (others_keep_it || state == KeyState::Revoked) && child.record.is_gone();
    (!gone).then_some(KeyState::Revoking)
}

/// Stable name of a CM user's state.
#[must_use]
pub fn cm_user(state: &CmUserState) -> &'static str {
    match state {
        CmUserState::Absent => "absent",
        CmUserState::Unsure { .. } => "unsure",
        CmUserState::Taken => "taken",
        CmUserState::Found { .. } => "found",
        CmUserState::Present { .. } => "present",
        CmUserState::Conflict { .. } => "conflict",
        CmUserState::Refused(_) => "refused",
        CmUserState::Deleting { .. } => "deleting",
        CmUserState::Gone => "gone",
    }
}

/// Stable name of a credential's status at HID.
#[must_use]
pub fn credential_name(status: &CredentialStatus) -> &'static str {
    match status {
        CredentialStatus::IssueInitiated => "issue_initiated",
        CredentialStatus::Issuing => "issuing",
        CredentialStatus::Issued => "issued",
        CredentialStatus::IssueFailed => "issue_failed",
        CredentialStatus::RevokeInitiated => "revoke_initiated",
        CredentialStatus::Revoking => "revoking",
        CredentialStatus::Revoked => "revoked",
        CredentialStatus::Unknown(_) => "unknown",
    }
}

/// Stable name of an invitation's status.
#[must_use]
pub fn invitation_name(status: &InvitationStatus) -> &'static str {
    match status {
        InvitationStatus::Pending => "pending",
        InvitationStatus::Acknowledged => "acknowledged",
        InvitationStatus::Expired => "expired",
        InvitationStatus::CancelInitiated => "cancel_initiated",
        InvitationStatus::Cancelled => "cancelled",
        InvitationStatus::NotSupported => "not_supported",
        InvitationStatus::NotEligible => "not_eligible",
        InvitationStatus::Unknown(_) => "unknown",
    }
}
