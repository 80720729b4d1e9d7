//! What is owed, computed afresh from the facts each time: nothing is ever queued, cancelled or reordered.

use std::collections::BTreeMap;
use std::time::Duration;

use super::effect::{Class, Delivery, Effect, Lane, NewUser, Owed, SearchBy};
use super::identity::{
    CmUserState, DoubtStage, Enrollment, Held, Identity, Invitation, Key, Parent, Phone,
};
use super::ids::{AcsSystemId, CredentialId, HidUserId, PartNumber, Personal, PhoneId, Timestamp};
use super::observation::{ContainerStatus, CredentialStatus, InvitationStatus};
use super::policy::{ManagerPolicy, Policy};
use super::seen::REPEAT_CHECKS_MS;

/// An acknowledged invitation must show a phone within this (contract.md G2).
pub const PHONE_DUE_AFTER: Duration = Duration::from_mins(2);
/// After that an acknowledged invitation without a phone is no longer followed.
pub const PHONE_GIVEN_UP_AFTER: Duration = Duration::from_hours(24);
/// Nobody goes unread for longer, as far as the sweep's share allows.
pub const SWEEP_AFTER: Duration = Duration::from_hours(24);
/// HID's clock and ours may differ a little when an invitation ends.
const EXPIRY_SLACK: Duration = Duration::from_secs(30);
/// When a key that HID accepted should have been told as issued, by dull reads so far; a phone may be off for long.
const ISSUED_DUE: [Duration; 4] = [
    Duration::from_mins(10),
    Duration::from_hours(1),
    Duration::from_hours(6),
    Duration::from_hours(24),
];
/// The same where no feed tells.
const ISSUED_DUE_UNTOLD: [Duration; 4] = [
    Duration::from_mins(1),
    Duration::from_mins(10),
    Duration::from_hours(1),
    Duration::from_hours(6),
];
/// When a key on its way out is looked at again, by dull reads so far.
const GONE_DUE: [Duration; 5] = [
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_hours(1),
    Duration::from_hours(6),
];

/// All that is owed now, at most one effect a lane.
#[must_use]
pub fn owed(policy: &Policy, identity: &Identity, now: Timestamp) -> BTreeMap<Lane, Owed> {
    let mut owed = BTreeMap::new();
    for (manager, enrollment) in &identity.enrollments {
        let Some(manager_policy) = policy.managers.get(manager) else {
            continue;
        };
        let mut planner = Planner {
            policy,
            manager_policy,
            identity,
            manager: *manager,
            enrollment,
            now,
            owed: &mut owed,
        };
        planner.user();
        planner.invitation();
        planner.reads();
        for (id, phone) in enrollment
            .phones
            .iter()
            .filter(|(_, phone)| phone.removed_at.is_none())
        {
            planner.phone(*id, phone);
            for (part_number, key) in &phone.keys {
                planner.key(*id, phone, part_number, key);
            }
        }
    }
    if let Some(at) = next_boundary(identity, now) {
        owed.insert(
            Lane::Timer,
            Owed {
                effect: Effect::Wake,
                not_before: at,
                class: Class::Timer,
                manager: None,
            },
        );
    }
    owed
}

/// The child of `parent` on `phone` wants its key now.
#[must_use]
pub fn is_child_wanting(
    identity: &Identity,
    parent: &Parent,
    id: PhoneId,
    phone: &Phone,
    now: Timestamp,
) -> bool {
    let held_back = identity
        .acs_users
        .get(&parent.acs_user)
        .is_none_or(|user| user.suspended);
    let in_dates =
        parent.starts_at.is_none_or(|at| at <= now) && parent.ends_at.is_none_or(|at| now < at);
    let child_stays = parent
        .children
        .get(&id)
        .is_some_and(|child| child.deleting_since.is_none());
    identity.deleting_since.is_none()
        && parent.deleting_since.is_none()
        && !held_back
        && in_dates
        && child_stays
        && phone.enrolled
        && phone.is_active()
}

/// A key is wanted while any child wants it (contract.md section 1).
#[must_use]
pub fn is_key_wanted(
    identity: &Identity,
    manager: AcsSystemId,
    (id, phone): (PhoneId, &Phone),
    part_number: &PartNumber,
    now: Timestamp,
) -> bool {
    let same = |parent: &&Parent| parent.manager == manager && parent.part_number == *part_number;
    identity
        .parents
        .values()
        .filter(same)
        .any(|parent| is_child_wanting(identity, parent, id, phone, now))
}

/// HID's user for this identity; `None` where data that HID requires are missing (contract.md section 6, HID's user).
#[must_use]
pub fn new_user(identity: &Identity) -> Option<NewUser> {
    let name = identity.profile.full_name.as_ref()?.0.trim();
    let email = identity
        .profile
        .email_address
        .as_ref()?
        .0
        .trim()
        .to_lowercase();
    let (given, family) = name
        .rsplit_once(char::is_whitespace)
        .unwrap_or((name, name));
    let fits = |part: &str| (2..=100).contains(&part.chars().count());
    let (given, family) = (given.trim(), family.trim());
    let (local, domain) = email.split_once('@')?;
    (fits(given) && fits(family) && !local.is_empty() && domain.contains('.')).then(|| NewUser {
        external_id: identity.id,
        given_name: Personal(given.to_owned()),
        family_name: Personal(family.to_owned()),
        email: Personal(email.clone()),
    })
}

/// The next moment at which a date changes what is wanted.
fn next_boundary(identity: &Identity, now: Timestamp) -> Option<Timestamp> {
    let parents = identity
        .parents
        .values()
        .filter(|parent| parent.deleting_since.is_none());
    parents
        .flat_map(|parent| [parent.starts_at, parent.ends_at])
        .flatten()
        .filter(|at| *at > now)
        .min()
}

struct Planner<'a> {
    policy: &'a Policy,
    manager_policy: &'a ManagerPolicy,
    identity: &'a Identity,
    manager: AcsSystemId,
    enrollment: &'a Enrollment,
    now: Timestamp,
    owed: &'a mut BTreeMap<Lane, Owed>,
}

impl Planner<'_> {
    fn owe(&mut self, lane: Lane, class: Class, not_before: Timestamp, effect: Effect) {
        self.owed.insert(
            lane,
            Owed {
                effect,
                not_before,
                class,
                manager: Some(self.manager),
            },
        );
    }

    /// The earlier of what the lane owes and this.
    fn owe_earlier(&mut self, lane: Lane, class: Class, not_before: Timestamp, effect: Effect) {
        if self
            .owed
            .get(&lane)
            .is_none_or(|owed| not_before < owed.not_before)
        {
            self.owe(lane, class, not_before, effect);
        }
    }

    fn delivery(&self) -> Delivery {
        if self.manager_policy.email_invitations {
            Delivery::Email
        } else {
            Delivery::Api
        }
    }

    fn user(&mut self) {
        let lane = Lane::CmUser(self.manager);
        let not_before = self.enrollment.user.trouble.not_before;
        match &self.enrollment.user.state {
            CmUserState::Absent => {
                let Some(user) = new_user(self.identity).filter(|_| self.enrollment.is_running())
                else {
                    return;
                };
                let invite = self.enrollment.invite.wanted.then(|| self.delivery());
                self.owe(
                    lane,
                    Class::Enroll,
                    not_before,
                    Effect::CreateUser { user, invite },
                );
            }
            CmUserState::Unsure { since } => {
                let by = SearchBy::ExternalId(self.identity.id);
                self.owe(
                    lane,
                    Class::Issue,
                    not_before.max(*since),
                    Effect::SearchUser { by },
                );
            }
            CmUserState::Taken => {
                let ours = SearchBy::ExternalId(self.identity.id);
                let by = new_user(self.identity).map_or(ours, |user| SearchBy::Email(user.email));
                self.owe(lane, Class::Issue, not_before, Effect::SearchUser { by });
            }
            CmUserState::Found { id } => {
                self.owe(
                    lane,
                    Class::Issue,
                    not_before,
                    Effect::ReadUser { user: id.clone() },
                );
            }
            CmUserState::Present { id, adopted: false } if self.is_user_to_go() => {
                self.owe(
                    lane,
                    Class::Withdrawal,
                    not_before,
                    Effect::DeleteUser { user: id.clone() },
                );
            }
            CmUserState::Deleting { id, since } => {
                // Each time twice as late: a deletion waits for phones that may be off.
                let read_at = self.enrollment.read_at.unwrap_or(*since).max(*since);
                let due = read_at
                    .plus(read_at.since(*since).clamp(GONE_DUE[0], GONE_DUE[4]))
                    .max(not_before);
                self.owe(
                    lane,
                    Class::Confirm,
                    due,
                    Effect::ReadUser { user: id.clone() },
                );
            }
            CmUserState::Present { .. }
            | CmUserState::Conflict { .. }
            | CmUserState::Refused(_)
            | CmUserState::Gone => {}
        }
    }

    /// The identity is being deleted and nothing of it is left at HID but its user.
    fn is_user_to_go(&self) -> bool {
        self.identity.deleting_since.is_some() && is_withdrawn(self.enrollment)
    }

    fn invitation(&mut self) {
        let Some(user) = self.enrollment.user_id() else {
            return;
        };
        let invite = &self.enrollment.invite;
        let lane = Lane::Invitation(self.manager);
        let open = |i: &&Invitation| i.status == InvitationStatus::Pending && i.cancel;
        let to_cancel = self.enrollment.invitations.iter().filter(|(_, i)| open(i));
        if let Some((id, invitation)) = to_cancel.min_by_key(|(_, i)| i.trouble.not_before) {
            let effect = Effect::CancelInvitation {
                invitation: id.clone(),
            };
            self.owe(
                lane,
                Class::Withdrawal,
                invitation.trouble.not_before,
                effect,
            );
        } else if !self.enrollment.is_running() || invite.unsure_since.is_some() {
            // Nothing is made after a stop, nor while an earlier call's outcome is unknown.
        } else if invite.wanted {
            let effect = Effect::CreateInvitation {
                user: user.clone(),
                delivery: self.delivery(),
            };
            self.owe(lane, Class::Enroll, invite.trouble.not_before, effect);
        } else if let Some((id, _)) = self.enrollment.open_invitation().filter(|_| invite.resend) {
            let effect = Effect::EmailInvitation {
                invitation: id.clone(),
            };
            self.owe(lane, Class::Enroll, invite.trouble.not_before, effect);
        }
    }

    fn reads(&mut self) {
        let Some(user) = self.enrollment.user_id().cloned() else {
            return;
        };
        let refused = self.enrollment.user.trouble.not_before;
        let read = |planner: &mut Self, class: Class, at: Timestamp| {
            let effect = Effect::ReadUser { user: user.clone() };
            planner.owe_earlier(Lane::Read(planner.manager), class, at.max(refused), effect);
        };
        if let Some(at) = invitation_told_at(self.policy, self.enrollment) {
            read(self, Class::Issue, at);
        }
        if let Some(at) = self.enrollment.look {
            read(self, Class::Confirm, at);
        }
        for invitation in self
            .enrollment
            .invitations
            .values()
            .filter(|i| !i.closed && i.ours)
        {
            if let Some(at) = self.invitation_due(invitation) {
                read(self, Class::Confirm, at);
            }
        }
        self.standing_reads(&user, refused);
    }

    /// When an invitation of ours must be looked at because nobody told.
    fn invitation_due(&self, invitation: &Invitation) -> Option<Timestamp> {
        let read_at = self.enrollment.read_at.unwrap_or(Timestamp(0));
        match (&invitation.status, invitation.acknowledged_at) {
            (InvitationStatus::Acknowledged, Some(since))
                if self.now.since(since) < PHONE_GIVEN_UP_AFTER =>
            {
                let first = since.plus(PHONE_DUE_AFTER);
                // Then each time twice as late: read_at − since doubles.
                Some(if read_at < first {
                    first
                } else {
                    read_at.plus(read_at.since(since))
                })
            }
            (InvitationStatus::Pending | InvitationStatus::Unknown(_), _) => {
                let first = invitation.expires_at?.plus(EXPIRY_SLACK);
                Some(if read_at < first {
                    first
                } else {
                    read_at.plus(Duration::from_mins(10))
                })
            }
            (
                InvitationStatus::Acknowledged
                | InvitationStatus::Expired
                | InvitationStatus::CancelInitiated
                | InvitationStatus::Cancelled
                | InvitationStatus::NotSupported
                | InvitationStatus::NotEligible,
                _,
            ) => None,
        }
    }

    /// Reads that nothing asks for: of those who wait, and of everybody.
    fn standing_reads(&mut self, user: &HidUserId, refused: Timestamp) {
        let Some(automation) = self
            .enrollment
            .automation
            .as_ref()
            .filter(|_| self.enrollment.is_running())
        else {
            return;
        };
        let effect = || Effect::ReadUser { user: user.clone() };
        let known = self.enrollment.read_at.unwrap_or(automation.created_at);
        let open = self
            .enrollment
            .invitations
            .values()
            .filter(|i| !i.closed)
            .map(|i| i.created_at)
            .max();
        if let Some(waiting_since) = open {
            // Slower with age: a tenth of it, between 15 s and an hour.
            let last = known.max(waiting_since);
            let pause = (last.since(waiting_since) / 10)
                .clamp(Duration::from_secs(15), Duration::from_hours(1));
            self.owe(
                Lane::Wait(self.manager),
                Class::Wait,
                last.plus(pause).max(refused),
                effect(),
            );
        }
        self.owe(
            Lane::Sweep(self.manager),
            Class::Sweep,
            known.plus(SWEEP_AFTER).max(refused),
            effect(),
        );
    }

    fn phone(&mut self, id: PhoneId, phone: &Phone) {
        let wanted = phone
            .keys
            .keys()
            .any(|part| is_key_wanted(self.identity, self.manager, (id, phone), part, self.now));
        let again_at = phone
            .missing_since
            .map(|since| since.plus(self.policy.settle_delay));
        let earliest = again_at.unwrap_or_default().max(phone.trouble.not_before);
        let read = |planner: &mut Self, class: Class, at: Timestamp| {
            let effect = Effect::ReadPhone {
                container: phone.container.clone(),
            };
            planner.owe_earlier(Lane::Phone(id), class, at.max(earliest), effect);
        };
        if phone.read_first && wanted {
            read(self, Class::Issue, phone.created_at);
        }
        if let Some(at) = phone.look {
            read(self, Class::Issue, at);
        }
        if let Some(at) = again_at {
            read(self, Class::Confirm, at);
        }
        if phone.enrolled && phone.status != ContainerStatus::Active {
            let last = phone.read_at.unwrap_or(phone.created_at);
            read(
                self,
                Class::Confirm,
                last.plus(step_of(&GONE_DUE, phone.dull_reads)),
            );
        }
        for key in phone.keys.values() {
            if let Some(at) = doubt_due(self.policy, key) {
                read(self, Class::Issue, at);
            }
            for held in key
                .held
                .values()
                .filter(|held| wanted || held.ours || key.current.is_some())
            {
                if let Some(at) = self.held_due(phone, held, wanted) {
                    read(self, Class::Confirm, at);
                }
            }
        }
    }

    /// When a credential must be looked at because nobody told.
    fn held_due(&self, phone: &Phone, held: &Held, wanted: bool) -> Option<Timestamp> {
        let last = phone.read_at.unwrap_or(held.seen_at);
        if let Some(since) = held.missing_since {
            return Some(since.plus(self.policy.settle_delay));
        }
        let leaving = held.revoked_at.is_some() || held.status.is_revoke();
        if leaving || matches!(held.status, CredentialStatus::Unknown(_)) {
            let since = held.revoked_at.unwrap_or(held.seen_at);
            return Some(last.max(since).plus(step_of(&GONE_DUE, phone.dull_reads)));
        }
        match held.status {
            CredentialStatus::IssueInitiated | CredentialStatus::Issuing
                if wanted && !held.doomed =>
            {
                let due = if self.manager_policy.events {
                    &ISSUED_DUE
                } else {
                    &ISSUED_DUE_UNTOLD
                };
                Some(last.max(held.seen_at).plus(step_of(due, phone.dull_reads)))
            }
            CredentialStatus::IssueInitiated
            | CredentialStatus::Issuing
            | CredentialStatus::Issued
            | CredentialStatus::IssueFailed
            | CredentialStatus::RevokeInitiated
            | CredentialStatus::Revoking
            | CredentialStatus::Revoked
            | CredentialStatus::Unknown(_) => None,
        }
    }

    fn key(&mut self, id: PhoneId, phone: &Phone, part_number: &PartNumber, key: &Key) {
        let lane = Lane::Key(id, part_number.clone());
        let wanted = is_key_wanted(
            self.identity,
            self.manager,
            (id, phone),
            part_number,
            self.now,
        );
        if let Some((credential, held)) = to_revoke(key, wanted) {
            let effect = Effect::Revoke {
                credential: credential.clone(),
            };
            self.owe(lane, Class::Withdrawal, held.trouble.not_before, effect);
        } else if wanted && may_issue(phone, key) {
            let effect = Effect::Issue {
                container: phone.container.clone(),
                part_number: part_number.clone(),
            };
            self.owe(lane, Class::Issue, key.trouble.not_before, effect);
        }
    }
}

/// The next credential that must go: all of ours where nothing is wanted, surplus and failed ones where something is.
fn to_revoke(key: &Key, wanted: bool) -> Option<(&CredentialId, &Held)> {
    let leaves = |(id, held): &(&CredentialId, &Held)| {
        let current = key.current.as_ref() == Some(*id);
        let accepted = held.revoked_at.is_some() || held.status.is_revoke();
        let revocable = held.status.is_issue() || held.status == CredentialStatus::IssueFailed;
        let unwanted = !wanted && (held.ours || current);
        let surplus = wanted && held.ours && !current && key.current.is_some();
        let in_the_way = held.ours || current || key.current.is_none();
        let failed = wanted && held.status == CredentialStatus::IssueFailed && in_the_way;
        revocable && !accepted && (unwanted || surplus || failed || held.doomed)
    };
    key.held
        .iter()
        .filter(leaves)
        .min_by_key(|(_, held)| held.trouble.not_before)
}

/// Nothing of this pair is there or may be there, and nothing speaks against a call (contract.md G1).
fn may_issue(phone: &Phone, key: &Key) -> bool {
    let in_doubt = matches!(key.doubt.stage, DoubtStage::Open { .. });
    !phone.read_first
        && phone.look.is_none()
        && phone.missing_since.is_none()
        && !in_doubt
        && !key.is_live()
        && key.failed.is_none()
}

/// When the next read for unanswered calls is due (contract.md G1).
fn doubt_due(policy: &Policy, key: &Key) -> Option<Timestamp> {
    match &key.doubt.stage {
        DoubtStage::Settled => None,
        DoubtStage::Open {
            gave_up_at,
            blank_at: None,
        } => Some(gave_up_at.plus(policy.settle_delay)),
        DoubtStage::Open {
            gave_up_at,
            blank_at: Some(blank_at),
        } => Some(
            blank_at
                .plus(policy.settle_delay)
                .max(gave_up_at.plus(policy.late_effect_bound)),
        ),
        DoubtStage::Repeated { at, checks } => REPEAT_CHECKS_MS
            .get(usize::from(*checks))
            .map(|ms| Timestamp(at.0 + ms)),
    }
}

/// Nothing of ours is live or in doubt at HID, the user aside.
#[must_use]
pub fn is_withdrawn(enrollment: &Enrollment) -> bool {
    let phones = enrollment
        .phones
        .values()
        .filter(|phone| phone.removed_at.is_none());
    let mut keys = phones.flat_map(|phone| phone.keys.values());
    keys.all(is_key_withdrawn) && is_invitation_closed(enrollment)
}

/// Nothing of ours is live or in doubt for this pair.
#[must_use]
pub fn is_key_withdrawn(key: &Key) -> bool {
    let ours = key
        .held
        .iter()
        .any(|(id, held)| held.ours || key.current.as_ref() == Some(id));
    !ours && !matches!(key.doubt.stage, DoubtStage::Open { .. })
}

/// When a read tells what became of an unanswered create. While the automation runs, a second
/// invitation is cancelled as soon as it shows; after a stop a late one would stay.
#[must_use]
pub fn invitation_told_at(policy: &Policy, enrollment: &Enrollment) -> Option<Timestamp> {
    let wait = if enrollment.is_running() {
        policy.settle_delay
    } else {
        policy.late_effect_bound
    };
    Some(enrollment.invite.unsure_since?.plus(wait))
}

/// No invitation of ours is open or in doubt. None outlives its user.
#[must_use]
pub fn is_invitation_closed(enrollment: &Enrollment) -> bool {
    let open = enrollment
        .invitations
        .values()
        .any(|i| i.ours && i.status == InvitationStatus::Pending);
    let has_user = match &enrollment.user.state {
        CmUserState::Unsure { .. }
        | CmUserState::Taken
        | CmUserState::Found { .. }
        | CmUserState::Present { .. }
        | CmUserState::Deleting { .. } => true,
        CmUserState::Absent
        | CmUserState::Conflict { .. }
        | CmUserState::Refused(_)
        | CmUserState::Gone => false,
    };
    !has_user || (!open && enrollment.invite.unsure_since.is_none())
}

fn step_of(schedule: &[Duration], index: u32) -> Duration {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    schedule
        .get(index)
        .or(schedule.last())
        .copied()
        .unwrap_or(Duration::from_mins(1))
}
