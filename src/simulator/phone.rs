//! The phone's side: redeeming a code, leaving, being offline. A test acts as the mailbox too.

use serde::Serialize;

use super::{
    clockwork::Work,
    hid::Hid,
    ledger::{Cause, Effect},
    model::{Container, ContainerStatus, Device, InvitationStatus, Refused, UserStatus},
    settings::PhoneRemoval,
};

/// Why an app could not redeem a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedeemError {
    #[error("no such invitation code")]
    Unknown,
    #[error("the invitation is not pending")]
    NotPending(InvitationStatus),
    #[error("the user is being deleted")]
    UserDeleting,
    /// The code is spent.
    #[error("the device or app is refused")]
    Refused(Refused),
}

/// A code that waits to be redeemed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PendingInvitation {
    pub organization: String,
    pub user: u64,
    pub user_external_id: String,
    pub email: String,
    pub invitation: u64,
    pub code: String,
    /// HID mailed the code, so its owner has it without anybody's help.
    pub mailed: bool,
    pub expires: i64,
}

impl Hid {
    /// An app redeems a code; gives the id of the new container, which becomes `ACTIVE` in a while.
    pub fn redeem(
        &mut self,
        now: i64,
        invitation_code: &str,
        device: Device,
    ) -> Result<u64, RedeemError> {
        self.advance(now);
        let now = now.max(self.now());
        let invitation = *self
            .world
            .codes
            .get(invitation_code)
            .ok_or(RedeemError::Unknown)?;
        let owner = *self
            .world
            .owner_of_invitation
            .get(&invitation)
            .ok_or(RedeemError::Unknown)?;
        let user = self.world.users.get(&owner).ok_or(RedeemError::Unknown)?;
        let status = user
            .invitation(invitation)
            .ok_or(RedeemError::Unknown)?
            .status;
        if status != InvitationStatus::Pending {
            return Err(RedeemError::NotPending(status));
        }
        if user.status != UserStatus::Active {
            return Err(RedeemError::UserDeleting);
        }
        if let Some(refused) = device.refused {
            let end = match refused {
                Refused::NotSupported => InvitationStatus::NotSupported,
                Refused::NotEligible => InvitationStatus::NotEligible,
            };
            self.move_invitation(now, invitation, InvitationStatus::Pending, end);
            self.ledger
                .note(now, Cause::Phone, Effect::InvitationRefused { invitation });
            self.release_reserved(now, invitation);
            return Err(RedeemError::Refused(refused));
        }
        self.world.remember(now, self.faults.stale_within_ms, owner);
        self.move_invitation(
            now,
            invitation,
            InvitationStatus::Pending,
            InvitationStatus::Acknowledged,
        );
        self.ledger.note(
            now,
            Cause::Phone,
            Effect::InvitationAcknowledged { invitation },
        );
        self.invitation_event(now, invitation, "INVITATION_ACKNOWLEDGED");
        Ok(self.add_container(now, owner, invitation, device))
    }

    fn add_container(&mut self, now: i64, owner: u64, invitation: u64, device: Device) -> u64 {
        self.ids.container += 1;
        let id = self.ids.container;
        self.world.owner_of_container.insert(id, owner);
        let touches = self.settings.registration_touches_user;
        if let Some(user) = self.world.users.get_mut(&owner) {
            user.containers.push(Container {
                id,
                invitation,
                installation: None,
                device,
                status: ContainerStatus::Initialized,
                was_active: false,
                modified: now,
            });
            if touches {
                user.modified = now;
            }
        }
        self.ledger.note(
            now,
            Cause::Phone,
            Effect::ContainerCreated {
                container: id,
                user: owner,
            },
        );
        let ready = now.saturating_add_unsigned(self.settings.container_ready_ms);
        self.due.add(ready, Work::ContainerReady(id));
        self.advance(now);
        id
    }

    /// The container that an installation of the app has with the person whose code this is, spent or not.
    pub fn installed(&self, invitation_code: &str, installation: &str) -> Option<u64> {
        let invitation = self.world.codes.get(invitation_code)?;
        let owner = self.world.owner_of_invitation.get(invitation)?;
        let mut containers = self.world.users.get(owner)?.containers.iter();
        let found = containers.find(|item| {
            let stays = match item.status {
                ContainerStatus::Initialized | ContainerStatus::Active => true,
                ContainerStatus::DeleteInitiated | ContainerStatus::Deleted => false,
            };
            stays && item.installation.as_deref() == Some(installation)
        })?;
        Some(found.id)
    }

    /// Remembers whose container it is.
    pub fn set_installation(&mut self, container: u64, installation: Option<&str>) {
        if let Some(item) = self.world.container_mut(container) {
            item.installation = installation.map(str::to_owned);
        }
    }

    /// The app leaves a phone. Whether HID learns of it is a setting; false: no such phone is there.
    pub fn remove_phone(&mut self, now: i64, container: u64) -> bool {
        self.advance(now);
        let now = now.max(self.now());
        let Some(status) = self.world.container_mut(container).map(|item| item.status) else {
            return false;
        };
        if status == ContainerStatus::Deleted {
            return false;
        }
        match self.settings.phone_removal {
            PhoneRemoval::Unnoticed => self.due.go_offline(container),
            PhoneRemoval::Noticed => {
                self.container_gone(now, Cause::Phone, container);
                for credential in self.credentials_of_container(container) {
                    self.credential_gone(now, Cause::Phone, credential);
                }
                if let Some(owner) = self.world.owner_of_container.get(&container).copied() {
                    self.finish_user(now, owner);
                }
            }
        }
        true
    }

    /// While a phone is offline nothing is confirmed: ISSUING and REVOKING do not end.
    pub fn set_phone_offline(&mut self, now: i64, container: u64, offline: bool) {
        self.advance(now);
        if offline {
            self.due.go_offline(container);
        } else {
            let now = self.now();
            self.due.come_back(now, container);
            self.advance(now);
        }
    }

    /// Every code that waits to be redeemed, oldest first.
    pub fn pending_invitations(&self) -> Vec<PendingInvitation> {
        let mut pending = Vec::new();
        for user in self
            .world
            .users
            .values()
            .filter(|user| user.status == UserStatus::Active)
        {
            for invitation in user
                .invitations
                .iter()
                .filter(|item| item.status == InvitationStatus::Pending)
            {
                pending.push(PendingInvitation {
                    organization: user.organization.clone(),
                    user: user.id,
                    user_external_id: user.external_id.clone(),
                    email: user.emails.first().cloned().unwrap_or_default(),
                    invitation: invitation.id,
                    code: invitation.code.clone(),
                    mailed: invitation.mailed,
                    expires: invitation.expires,
                });
            }
        }
        pending.sort_by_key(|item| item.invitation);
        pending
    }

    /// Codes beyond the first of a user that wait to be redeemed: left over where a lost answer was not cleaned up.
    pub fn surplus_invitations(&self) -> Vec<PendingInvitation> {
        let mut seen = std::collections::BTreeSet::new();
        self.pending_invitations()
            .into_iter()
            .filter(|item| !seen.insert(item.user))
            .collect()
    }
}
