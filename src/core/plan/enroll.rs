//! What is owed for HID's user and its invitations, and when the user is read.

use std::time::Duration;

use super::{GONE_DUE, Planner, invitation_told_at, is_withdrawn, new_user, regressed};
use crate::core::effect::{Class, Delivery, Effect, Lane, SearchBy};
use crate::core::identity::{CmUserState, Invitation};
use crate::core::ids::{HidUserId, Timestamp};
use crate::core::observation::InvitationStatus;

/// An acknowledged invitation must show a phone within this (contract.md G2).
pub const PHONE_DUE_AFTER: Duration = Duration::from_mins(2);
/// After that an acknowledged invitation without a phone is no longer followed.
pub const PHONE_GIVEN_UP_AFTER: Duration = Duration::from_hours(24);
/// Nobody goes unread for longer, as far as the sweep's share allows.
pub const SWEEP_AFTER: Duration = Duration::from_hours(24);
/// HID's clock and ours may differ a little when an invitation ends.
const EXPIRY_SLACK: Duration = Duration::from_secs(30);

impl Planner<'_> {
    fn delivery(&self) -> Delivery {
        if self.manager_policy.email_invitations {
            Delivery::Email
        } else {
            Delivery::Api
        }
    }

    pub(super) fn user(&mut self) {
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
                let wait = if self.enrollment.is_running() {
                    Duration::ZERO
                } else {
                    self.policy.shows_after()
                };
                let by = SearchBy::ExternalId(self.identity.id);
                self.owe(
                    lane,
                    Class::Issue,
                    not_before.max(since.plus(wait)),
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
                    not_before.max(self.address_needed_until()),
                    Effect::DeleteUser { user: id.clone() },
                );
            }
            CmUserState::Present { id, adopted: false } => self.update(id),
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
            CmUserState::Conflict { .. } => {
                // Whoever has the address may give it up, and then an earlier create without an answer makes ours.
                let shown_at = self.enrollment.user.unanswered_at;
                if let Some(shown_at) = shown_at.map(|at| at.plus(self.policy.shows_after())) {
                    let by = SearchBy::ExternalId(self.identity.id);
                    let effect = Effect::SearchUser { by };
                    self.owe(lane, Class::Issue, not_before.max(shown_at), effect);
                }
            }
            CmUserState::Present { .. } | CmUserState::Refused(_) | CmUserState::Gone => {}
        }
    }

    /// HID's copy of the person's data follows ours; a user that we took over is not ours to change.
    fn update(&mut self, user: &HidUserId) {
        let told = &self.enrollment.user.told;
        // Nobody is told anything of a user that may be gone.
        let stays =
            self.identity.deleting_since.is_none() && self.enrollment.user.missing_since.is_none();
        let Some(data) = new_user(self.identity).filter(|_| stays) else {
            return;
        };
        let refused = told
            .refused
            .as_ref()
            .is_some_and(|(known, _)| *known == data);
        if refused || told.data.as_ref() == Some(&data) {
            return;
        }
        let not_before = told
            .trouble
            .not_before
            .max(self.enrollment.user.trouble.not_before)
            .max(self.address_needed_until());
        let user = user.clone();
        let lane = Lane::CmUser(self.manager);
        self.owe(
            lane,
            Class::Enroll,
            not_before,
            Effect::UpdateUser {
                user,
                data: Box::new(data),
            },
        );
    }

    /// HID takes no second user with the address of one that is there: so an earlier create without an answer has no
    /// effect as long as the user stays, and with its address.
    fn address_needed_until(&self) -> Timestamp {
        let unanswered_at = self.enrollment.user.unanswered_at;
        unanswered_at.map_or(Timestamp(0), |at| at.plus(self.policy.late_effect_bound))
    }

    /// The identity is being deleted and nothing of it is left at HID but its user.
    fn is_user_to_go(&self) -> bool {
        self.identity.deleting_since.is_some() && is_withdrawn(self.enrollment)
    }

    pub(super) fn invitation(&mut self) {
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
        } else if !self.enrollment.is_running()
            || invite.unsure_since.is_some()
            || regressed::is_unread(self.policy, self.enrollment)
        {
            // Nothing is made after a stop, nor while an earlier call's outcome is unknown or what was done is forgotten.
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

    pub(super) fn reads(&mut self) {
        let Some(user) = self.enrollment.user_id().cloned() else {
            return;
        };
        let missing = self.enrollment.user.missing_since;
        let again_at = missing.map(|since| since.plus(self.policy.settle_delay));
        let not_before = self.enrollment.user.trouble.not_before;
        let earliest = again_at.unwrap_or_default().max(not_before);
        let read = |planner: &mut Self, class: Class, at: Timestamp| {
            let effect = Effect::ReadUser { user: user.clone() };
            planner.owe_earlier(Lane::Read(planner.manager), class, at.max(earliest), effect);
        };
        if let Some(at) = again_at {
            read(self, Class::Confirm, at);
        }
        if let Some(at) = invitation_told_at(self.policy, self.enrollment) {
            read(self, Class::Issue, at);
        }
        if let Some(at) = self.enrollment.look {
            read(self, Class::Confirm, at);
        }
        // It shows the phones with their keys as well.
        let mut phones = self.enrollment.phones.values();
        let phone_due = phones.find_map(|phone| regressed::phone_due(self.policy, phone));
        if let Some(at) = regressed::user_due(self.policy, self.enrollment).or(phone_due) {
            let whose = (self.manager, self.enrollment);
            let class = regressed::class(self.identity, whose, self.now);
            read(self, class, at);
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
        self.standing_reads(&user, earliest);
    }

    /// When an invitation of ours must be looked at because nobody told.
    fn invitation_due(&self, invitation: &Invitation) -> Option<Timestamp> {
        let read_at = self.enrollment.read_at.unwrap_or(Timestamp(0));
        match (&invitation.status, invitation.acknowledged_at) {
            (InvitationStatus::Acknowledged, Some(since))
                if self.now.since(since) < PHONE_GIVEN_UP_AFTER =>
            {
                // Sooner only where the operator made all waiting shorter, as the demo does.
                let due = PHONE_DUE_AFTER.min(self.policy.settle_delay * 4);
                let first = since.plus(due);
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
    fn standing_reads(&mut self, user: &HidUserId, earliest: Timestamp) {
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
                last.plus(pause).max(earliest),
                effect(),
            );
        }
        self.owe(
            Lane::Sweep(self.manager),
            Class::Sweep,
            known.plus(SWEEP_AFTER).max(earliest),
            effect(),
        );
    }
}
