//! What is owed for phones and their keys: reads, issues, revokes.

use std::time::Duration;

use super::{GONE_DUE, Planner, is_key_wanted, regressed, step_of};
use crate::core::effect::{Class, Effect, Lane};
use crate::core::identity::{DoubtStage, Held, Key, Phone};
use crate::core::ids::{CredentialId, PartNumber, PhoneId, Timestamp};
use crate::core::observation::{ContainerStatus, CredentialStatus};
use crate::core::policy::Policy;
use crate::core::record;
use crate::core::seen::REPEAT_CHECKS_MS;

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

impl Planner<'_> {
    pub(super) fn phone(&mut self, id: PhoneId, phone: &Phone) {
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
        // Else the read of its user shows it.
        if let Some(at) = regressed::phone_due(self.policy, phone)
            && self.enrollment.user_id().is_none()
        {
            let whose = (self.manager, self.enrollment);
            let class = regressed::class(self.identity, whose, self.now);
            read(self, class, at);
        }
        let awaited = phone.enrolled || phone.knocked_at.is_some();
        if awaited && phone.status != ContainerStatus::Active {
            let last = phone.read_at.unwrap_or(phone.created_at);
            read(
                self,
                Class::Confirm,
                last.plus(step_of(&GONE_DUE, phone.dull_reads)),
            );
        }
        if let Some(at) = removal_due(phone) {
            read(self, Class::Confirm, at);
        }
        if record::awaits_number(self.policy, self.identity, id, phone, self.now) {
            let last = phone.read_at.unwrap_or(phone.created_at);
            let at = last.plus(step_of(&GONE_DUE, phone.dull_reads));
            read(self, Class::Confirm, at);
        }
        for key in phone.keys.values() {
            if let Some(at) = doubt_due(self.policy, key) {
                read(self, Class::Issue, at);
            }
            for held in key
                .held
                .values()
                .filter(|held| wanted || held.ours || held.doomed || key.current.is_some())
            {
                if let Some(at) = self.held_due(phone, held, wanted) {
                    read(self, Class::Confirm, at);
                }
            }
        }
    }

    /// A deactivated phone is deleted at HID, and what it holds with it.
    pub(super) fn removal(&mut self, id: PhoneId, phone: &Phone) {
        let removal = phone.removal.as_ref();
        if let Some(removal) = removal.filter(|r| r.accepted_at.is_none()) {
            let effect = Effect::DeletePhone {
                container: phone.container.clone(),
            };
            let not_before = removal.trouble.not_before;
            self.owe(Lane::Removal(id), Class::Withdrawal, not_before, effect);
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

    pub(super) fn key(&mut self, id: PhoneId, phone: &Phone, part_number: &PartNumber, key: &Key) {
        let lane = Lane::Key(id, part_number.clone());
        let wanted = is_key_wanted(
            self.identity,
            self.manager,
            (id, phone),
            part_number,
            self.now,
        );
        // They go with their phone.
        let goes_at_once = phone.removal.as_ref().is_some_and(|r| !r.refused);
        if let Some((credential, held)) = to_revoke(key, wanted).filter(|_| !goes_at_once) {
            let effect = Effect::Revoke {
                credential: credential.clone(),
            };
            self.owe(lane, Class::Withdrawal, held.trouble.not_before, effect);
        } else if wanted
            && may_issue(phone, key)
            && regressed::phone_due(self.policy, phone).is_none()
        {
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

/// When a phone whose deletion HID accepted is looked at again.
fn removal_due(phone: &Phone) -> Option<Timestamp> {
    let accepted_at = phone.removal.as_ref()?.accepted_at?;
    let last = phone.read_at.unwrap_or(accepted_at).max(accepted_at);
    Some(last.plus(step_of(&GONE_DUE, phone.dull_reads)))
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
                .max(gave_up_at.plus(policy.shows_after())),
        ),
        DoubtStage::Repeated { at, checks } => REPEAT_CHECKS_MS
            .get(usize::from(*checks))
            .map(|ms| Timestamp(at.0 + ms)),
    }
}
