//! The records of a HID. A user owns its invitations, containers and credentials, so that one user can be shown as
//! it was before its last write.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::ledger::Cause;

/// Wire names of the two states after ACTIVE are chosen here (`origo-api.md` 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UserStatus {
    Active,
    DeleteInitiated,
}

/// `origo-api.md` 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InvitationStatus {
    Pending,
    Acknowledged,
    Expired,
    CancelInitiated,
    Cancelled,
    NotSupported,
    NotEligible,
}

/// `origo-api.md` 5; all but `ACTIVE` are names chosen here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ContainerStatus {
    Initialized,
    Active,
    DeleteInitiated,
    Deleted,
}

/// `origo-api.md` 6.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CredentialStatus {
    IssueInitiated,
    Issuing,
    Issued,
    IssueFailed,
    RevokeInitiated,
    Revoking,
    Revoked,
}

/// A phone as it introduces itself when it redeems a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    pub manufacturer: String,
    pub model: String,
    pub os_version: String,
    pub application_version: String,
    /// HID refuses this phone; the code is spent.
    pub refused: Option<Refused>,
}

/// Why a redemption is refused (4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    NotSupported,
    NotEligible,
}

#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: u64,
    pub(super) organization: String,
    pub(super) external_id: String,
    pub(super) family_name: String,
    pub(super) given_name: String,
    pub(super) emails: Vec<String>,
    pub(super) status: UserStatus,
    pub(super) modified: i64,
    /// Set while deleting: not gone before then.
    pub(super) gone_from: Option<i64>,
    pub(super) invitations: Vec<Invitation>,
    pub(super) containers: Vec<Container>,
    pub(super) credentials: Vec<Credential>,
}

#[derive(Clone, Debug)]
pub(super) struct Invitation {
    pub(super) id: u64,
    pub(super) code: String,
    pub(super) status: InvitationStatus,
    pub(super) created: i64,
    pub(super) expires: i64,
    pub(super) modified: i64,
    pub(super) mailed: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) id: u64,
    pub(super) invitation: u64,
    /// Which installation of the app, where it says so. HID knows nothing of it.
    pub(super) installation: Option<String>,
    pub(super) device: Device,
    pub(super) status: ContainerStatus,
    pub(super) was_active: bool,
    pub(super) modified: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Credential {
    pub(super) id: u64,
    /// Absent while it is reserved with an invitation.
    pub(super) container: Option<u64>,
    pub(super) invitation: Option<u64>,
    pub(super) part_number: String,
    pub(super) friendly_name: String,
    pub(super) card_number: u64,
    pub(super) status: CredentialStatus,
    pub(super) modified: i64,
    pub(super) cause: Cause,
}

/// One organization's hold on a part number.
#[derive(Clone, Debug)]
pub(super) struct Stock {
    pub(super) id: String,
    pub(super) friendly_name: String,
    pub(super) available: Option<u32>,
    pub(super) used: u32,
    pub(super) next_card: u64,
    pub(super) modified: i64,
}

/// All records, with the way from each id to its user.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) users: BTreeMap<u64, User>,
    pub(super) owner_of_invitation: BTreeMap<u64, u64>,
    pub(super) owner_of_container: BTreeMap<u64, u64>,
    pub(super) owner_of_credential: BTreeMap<u64, u64>,
    pub(super) codes: BTreeMap<String, u64>,
    /// By organization and e-mail address.
    pub(super) emails: BTreeMap<(String, String), u64>,
    /// By organization and part number.
    pub(super) stock: BTreeMap<(String, String), Stock>,
    /// Each user as it was before its last write, newest last; absent: it did not exist.
    before: VecDeque<(i64, u64, Option<User>)>,
}

impl CredentialStatus {
    /// From acceptance until it is revoked, failed or gone.
    pub fn is_live(self) -> bool {
        match self {
            Self::IssueInitiated
            | Self::Issuing
            | Self::Issued
            | Self::RevokeInitiated
            | Self::Revoking => true,
            Self::IssueFailed | Self::Revoked => false,
        }
    }

    /// `origo-api.md` 6.4.
    pub(super) fn is_revocable(self) -> bool {
        match self {
            Self::IssueInitiated | Self::Issuing | Self::Issued | Self::IssueFailed => true,
            Self::RevokeInitiated | Self::Revoking | Self::Revoked => false,
        }
    }
}

impl Default for Device {
    fn default() -> Self {
        Self {
            manufacturer: "Example".to_owned(),
            model: "Phone 1".to_owned(),
            os_version: "Android 16".to_owned(),
            application_version: "1.0".to_owned(),
            refused: None,
        }
    }
}

impl User {
    pub(super) fn invitation(&self, id: u64) -> Option<&Invitation> {
        self.invitations
            .iter()
            .find(|invitation| invitation.id == id)
    }

    pub(super) fn container(&self, id: u64) -> Option<&Container> {
        self.containers.iter().find(|container| container.id == id)
    }

    pub(super) fn credential(&self, id: u64) -> Option<&Credential> {
        self.credentials
            .iter()
            .find(|credential| credential.id == id)
    }

    pub(super) fn credentials_on(&self, container: u64) -> impl Iterator<Item = &Credential> {
        self.credentials
            .iter()
            .filter(move |credential| credential.container == Some(container))
    }
}

impl World {
    pub(super) fn user_of(&self, organization: &str, id: u64) -> Option<&User> {
        self.users
            .get(&id)
            .filter(|user| user.organization == organization)
    }

    pub(super) fn owner(
        &self,
        owners: &BTreeMap<u64, u64>,
        organization: &str,
        id: u64,
    ) -> Option<&User> {
        self.user_of(organization, *owners.get(&id)?)
    }

    pub(super) fn user_with_invitation(
        &self,
        organization: &str,
        id: u64,
    ) -> Option<(&User, &Invitation)> {
        let user = self.owner(&self.owner_of_invitation, organization, id)?;
        Some((user, user.invitation(id)?))
    }

    pub(super) fn user_with_container(
        &self,
        organization: &str,
        id: u64,
    ) -> Option<(&User, &Container)> {
        let user = self.owner(&self.owner_of_container, organization, id)?;
        Some((user, user.container(id)?))
    }

    pub(super) fn user_with_credential(
        &self,
        organization: &str,
        id: u64,
    ) -> Option<(&User, &Credential)> {
        let user = self.owner(&self.owner_of_credential, organization, id)?;
        Some((user, user.credential(id)?))
    }

    pub(super) fn invitation_mut(&mut self, id: u64) -> Option<&mut Invitation> {
        let user = self.users.get_mut(self.owner_of_invitation.get(&id)?)?;
        user.invitations
            .iter_mut()
            .find(|invitation| invitation.id == id)
    }

    pub(super) fn container_mut(&mut self, id: u64) -> Option<&mut Container> {
        let user = self.users.get_mut(self.owner_of_container.get(&id)?)?;
        user.containers
            .iter_mut()
            .find(|container| container.id == id)
    }

    pub(super) fn credential_mut(&mut self, id: u64) -> Option<&mut Credential> {
        let user = self.users.get_mut(self.owner_of_credential.get(&id)?)?;
        user.credentials
            .iter_mut()
            .find(|credential| credential.id == id)
    }

    /// Remembers a user as it is, for stale reads; to be called before each write from outside.
    pub(super) fn remember(&mut self, now: i64, keep_ms: u64, id: u64) {
        let oldest = now.saturating_sub_unsigned(keep_ms);
        self.before
            .retain(|(written, user, _)| *written >= oldest && *user != id);
        self.before
            .push_back((now, id, self.users.get(&id).cloned()));
    }

    /// Exchanges the recently written users with their former selves; calling it again restores them.
    pub(super) fn swap_before(&mut self, now: i64, within_ms: u64) {
        let oldest = now.saturating_sub_unsigned(within_ms);
        for (written, id, before) in &mut self.before {
            if *written >= oldest {
                let current = match before.take() {
                    Some(former) => self.users.insert(*id, former),
                    None => self.users.remove(id),
                };
                *before = current;
            }
        }
    }
}
