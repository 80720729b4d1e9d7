//! A perfect HID in little: users, invitations, phones and keys, with the delays in between.
//! It shares nothing with the product's simulator.

use std::collections::BTreeMap;

use origo_adapter::core::effect::{Effect, SearchBy};
use origo_adapter::core::ids::{
    ContainerId, CredentialId, HidUserId, InvitationId, PartNumber, Timestamp,
};
use origo_adapter::core::observation::{
    Answer, ContainerSeen, ContainerStatus, CredentialSeen, CredentialStatus, Device, Fault,
    Happening, InvitationSeen, InvitationStatus, UserSeen,
};

use super::scene::secs;

const TO_DELIVER: u64 = 10;
const TO_REMOVE: u64 = 20;
const TO_LEAVE: u64 = 45;
const LIFETIME: u64 = 7 * 24 * 3600;

#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) external_id: String,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) deleting: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(crate) struct Invitation {
    pub(crate) user: HidUserId,
    pub(crate) status: InvitationStatus,
    pub(crate) since: Timestamp,
    pub(crate) expires_at: Timestamp,
}

#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) container: ContainerId,
    pub(crate) part: PartNumber,
    pub(crate) status: CredentialStatus,
    pub(crate) since: Timestamp,
}

/// HID, at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hid {
    pub(crate) users: BTreeMap<HidUserId, User>,
    pub(crate) invitations: BTreeMap<InvitationId, Invitation>,
    pub(crate) containers: BTreeMap<ContainerId, HidUserId>,
    /// Containers on their way out.
    pub(crate) leaving: BTreeMap<ContainerId, Timestamp>,
    pub(crate) credentials: BTreeMap<CredentialId, Credential>,
    pub(crate) events: Vec<(Timestamp, Happening)>,
    pub(crate) refuses_duplicates: bool,
    pub(crate) last_id: u32,
}

impl Hid {
    fn id(&mut self) -> String {
        self.last_id += 1;
        format!("{}", 1000 + self.last_id)
    }

    /// Does what a call asks for.
    pub(crate) fn perform(&mut self, effect: &Effect, now: Timestamp) -> Result<Answer, Fault> {
        match effect {
            Effect::CreateUser { user, invite } => {
                if self.users.values().any(|u| u.email == user.email.0) {
                    return Err(Fault::Conflict);
                }
                let id = HidUserId::parse(&self.id()).expect("an id");
                let created = User {
                    external_id: user.external_id.to_string(),
                    email: user.email.0.clone(),
                    name: user.family_name.0.clone(),
                    deleting: None,
                };
                self.users.insert(id.clone(), created);
                if invite.is_some() {
                    self.invite(&id, now);
                }
                Ok(Answer::UserCreated(self.show_user(&id).expect("just made")))
            }
            Effect::SearchUser { by } => {
                let hit = |user: &User| match by {
                    SearchBy::ExternalId(id) => user.external_id == id.to_string(),
                    SearchBy::Email(email) => user.email == email.0,
                };
                let found = self.users.iter().find(|(_, user)| hit(user));
                Ok(Answer::UserFound(found.map(|(id, _)| id.clone())))
            }
            Effect::ReadUser { user } => self.show_user(user).map(Answer::User).ok_or(Fault::Gone),
            Effect::UpdateUser { user, data } => {
                let taken = |(id, u): (&HidUserId, &User)| id != user && u.email == data.email.0;
                if self.users.iter().any(taken) {
                    return Err(Fault::Conflict);
                }
                let known = self.users.get_mut(user).ok_or(Fault::Gone)?;
                if known.deleting.is_some() {
                    return Err(Fault::WrongState);
                }
                known.email.clone_from(&data.email.0);
                known.name.clone_from(&data.family_name.0);
                self.events.push((now, Happening::UserOther));
                Ok(Answer::UserUpdated)
            }
            Effect::DeleteUser { user } => {
                let known = self.users.get_mut(user).ok_or(Fault::Gone)?;
                if known.deleting.is_some() {
                    return Err(Fault::Already);
                }
                known.deleting = Some(now);
                Ok(Answer::UserDeleted)
            }
            Effect::CreateInvitation { user, .. } => {
                let known = self.users.get(user).ok_or(Fault::Gone)?;
                if known.deleting.is_some() {
                    return Err(Fault::WrongState);
                }
                let id = self.invite(user, now);
                Ok(Answer::InvitationCreated(self.show_invitation(&id)))
            }
            Effect::EmailInvitation { invitation } => {
                let known = self.invitations.get(invitation).ok_or(Fault::Gone)?;
                if known.status == InvitationStatus::Pending {
                    Ok(Answer::InvitationEmailed)
                } else {
                    Err(Fault::WrongState)
                }
            }
            Effect::CancelInvitation { invitation } => {
                let known = self.invitations.get_mut(invitation).ok_or(Fault::Gone)?;
                if known.status != InvitationStatus::Pending {
                    return Err(Fault::WrongState);
                }
                (known.status, known.since) = (InvitationStatus::CancelInitiated, now);
                Ok(Answer::InvitationCancelled)
            }
            Effect::ReadPhone { container } => {
                if self.containers.contains_key(container) {
                    Ok(Answer::Phone(self.show_phone(container)))
                } else {
                    Err(Fault::Gone)
                }
            }
            Effect::DeletePhone { container } => self.delete_phone(container, now),
            Effect::Issue {
                container,
                part_number,
            } => self.issue(container, part_number, now),
            Effect::Revoke { credential } => {
                let known = self.credentials.get_mut(credential).ok_or(Fault::Gone)?;
                if known.status.is_revoke() {
                    return Err(Fault::Already);
                }
                (known.status, known.since) = (CredentialStatus::RevokeInitiated, now);
                Ok(Answer::Revoked)
            }
            Effect::Wake => Err(Fault::Refused),
        }
    }

    fn delete_phone(&mut self, container: &ContainerId, now: Timestamp) -> Result<Answer, Fault> {
        if !self.containers.contains_key(container) {
            return Err(Fault::Gone);
        }
        if self.leaving.contains_key(container) {
            return Err(Fault::Already);
        }
        self.leaving.insert(container.clone(), now);
        let on_it = self.credentials.values_mut();
        for key in on_it.filter(|c| c.container == *container && !c.status.is_revoke()) {
            (key.status, key.since) = (CredentialStatus::RevokeInitiated, now);
        }
        Ok(Answer::PhoneDeleted)
    }

    fn issue(
        &mut self,
        container: &ContainerId,
        part: &PartNumber,
        now: Timestamp,
    ) -> Result<Answer, Fault> {
        let user = self.containers.get(container).ok_or(Fault::Gone)?;
        if self.users[user].deleting.is_some() || self.leaving.contains_key(container) {
            return Err(Fault::WrongState);
        }
        if self.refuses_duplicates && !self.live(container, part).is_empty() {
            return Err(Fault::Already);
        }
        let id = CredentialId::parse(&self.id()).expect("an id");
        let credential = Credential {
            container: container.clone(),
            part: part.clone(),
            status: CredentialStatus::IssueInitiated,
            since: now,
        };
        self.credentials.insert(id.clone(), credential);
        Ok(Answer::Issued(self.show_credential(&id)))
    }

    fn invite(&mut self, user: &HidUserId, now: Timestamp) -> InvitationId {
        let id = InvitationId::parse(&self.id()).expect("an id");
        let invitation = Invitation {
            user: user.clone(),
            status: InvitationStatus::Pending,
            since: now,
            expires_at: now.plus(secs(LIFETIME)),
        };
        self.invitations.insert(id.clone(), invitation);
        self.tell_invitation(&id, now);
        id
    }

    fn tell_invitation(&mut self, id: &InvitationId, now: Timestamp) {
        let status = self.invitations[id].status.clone();
        let invitation = id.clone();
        self.events
            .push((now, Happening::Invitation { invitation, status }));
    }

    /// An app redeems the code.
    pub(crate) fn redeem(&mut self, id: &InvitationId, now: Timestamp) -> Option<ContainerId> {
        let known = self.invitations.get_mut(id)?;
        if known.status != InvitationStatus::Pending || self.users[&known.user].deleting.is_some() {
            return None;
        }
        (known.status, known.since) = (InvitationStatus::Acknowledged, now);
        let user = known.user.clone();
        let container = ContainerId::parse(&self.id()).expect("an id");
        self.containers.insert(container.clone(), user);
        self.tell_invitation(id, now);
        let told = Happening::PhoneActive {
            container: container.clone(),
            invitation: Some(id.clone()),
            device: Device::default(),
        };
        self.events.push((now, told));
        Some(container)
    }

    /// The app is removed from a phone: its container goes, and its keys with it.
    pub(crate) fn lose_phone(&mut self, id: &ContainerId, now: Timestamp) {
        self.containers.remove(id);
        self.leaving.remove(id);
        self.credentials.retain(|_, c| c.container != *id);
        let container = id.clone();
        self.events.push((now, Happening::PhoneOther { container }));
    }

    /// Somebody in HID's portal makes an invitation, or a key.
    pub(crate) fn invite_by_hand(&mut self, now: Timestamp) -> Option<InvitationId> {
        let user = self.users.iter().find(|(_, u)| u.deleting.is_none())?.0;
        Some(self.invite(&user.clone(), now))
    }

    /// Lets time do its work.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        let gone: Vec<HidUserId> = self
            .users
            .iter()
            .filter(|(_, u)| u.deleting.is_some_and(|at| at.plus(secs(60)) <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for user in gone {
            self.users.remove(&user);
            self.invitations.retain(|_, i| i.user != user);
            self.containers.retain(|_, u| *u != user);
        }
        let left = |at: &Timestamp| at.plus(secs(TO_LEAVE)) <= now;
        let gone = self.leaving.iter().filter(|(_, at)| left(at));
        let gone: Vec<ContainerId> = gone.map(|(id, _)| id.clone()).collect();
        for container in gone {
            self.leaving.remove(&container);
            self.containers.remove(&container);
        }
        let containers = &self.containers;
        self.credentials.retain(|_, c| {
            let removed = c.status.is_revoke() && c.since.plus(secs(TO_REMOVE)) <= now;
            !removed && containers.contains_key(&c.container)
        });
        for (id, credential) in &mut self.credentials {
            let on_phone = credential.since.plus(secs(TO_DELIVER));
            if credential.status == CredentialStatus::IssueInitiated && on_phone <= now {
                credential.status = CredentialStatus::Issued;
                let told = Happening::KeyIssued {
                    credential: id.clone(),
                    container: Some(credential.container.clone()),
                };
                self.events.push((now, told));
            }
        }
        let mut told = vec![];
        for (id, invitation) in &mut self.invitations {
            let cancelled = invitation.status == InvitationStatus::CancelInitiated
                && invitation.since.plus(secs(TO_REMOVE)) <= now;
            let expired =
                invitation.status == InvitationStatus::Pending && invitation.expires_at <= now;
            if cancelled {
                invitation.status = InvitationStatus::Cancelled;
            } else if expired {
                invitation.status = InvitationStatus::Expired;
            }
            if cancelled || expired {
                told.push(id.clone());
            }
        }
        for id in told {
            self.tell_invitation(&id, now);
        }
    }

    /// When time next does something.
    pub(crate) fn next_tick(&self) -> Option<Timestamp> {
        let users = self.users.values().filter_map(|u| u.deleting);
        let users = users.map(|at| at.plus(secs(60)));
        let leaving = self.leaving.values().map(|at| at.plus(secs(TO_LEAVE)));
        let credentials = self.credentials.values().filter_map(|c| {
            let wait = match c.status {
                CredentialStatus::IssueInitiated => secs(TO_DELIVER),
                CredentialStatus::RevokeInitiated => secs(TO_REMOVE),
                CredentialStatus::Issuing
                | CredentialStatus::Issued
                | CredentialStatus::IssueFailed
                | CredentialStatus::Revoking
                | CredentialStatus::Revoked
                | CredentialStatus::Unknown(_) => return None,
            };
            Some(c.since.plus(wait))
        });
        let invitations = self.invitations.values().filter_map(|i| match i.status {
            InvitationStatus::Pending => Some(i.expires_at),
            InvitationStatus::CancelInitiated => Some(i.since.plus(secs(TO_REMOVE))),
            InvitationStatus::Acknowledged
            | InvitationStatus::Expired
            | InvitationStatus::Cancelled
            | InvitationStatus::NotSupported
            | InvitationStatus::NotEligible
            | InvitationStatus::Unknown(_) => None,
        });
        let phones_and_users = users.chain(leaving);
        phones_and_users.chain(credentials).chain(invitations).min()
    }

    /// Live credentials of a pair; what is on its way out still is.
    pub(crate) fn live(&self, container: &ContainerId, part: &PartNumber) -> Vec<&CredentialId> {
        let of_pair = |c: &Credential| c.container == *container && c.part == *part;
        let live = self.credentials.iter().filter(|(_, c)| of_pair(c));
        live.map(|(id, _)| id).collect()
    }

    fn show_user(&self, id: &HidUserId) -> Option<UserSeen> {
        let user = self.users.get(id)?;
        let invitations = self.invitations.iter().filter(|(_, i)| i.user == *id);
        let containers = self.containers.iter().filter(|(_, u)| *u == id);
        Some(UserSeen {
            id: id.clone(),
            external_id: Some(user.external_id.clone()),
            deleting: user.deleting.is_some(),
            invitations: invitations
                .map(|(id, _)| self.show_invitation(id))
                .collect(),
            containers: containers.map(|(id, _)| self.show_phone(id)).collect(),
        })
    }

    fn show_invitation(&self, id: &InvitationId) -> InvitationSeen {
        let invitation = &self.invitations[id];
        InvitationSeen {
            id: id.clone(),
            code: None,
            status: invitation.status.clone(),
            expires_at: Some(invitation.expires_at),
        }
    }

    fn show_phone(&self, id: &ContainerId) -> ContainerSeen {
        let on_it = self.credentials.iter().filter(|(_, c)| c.container == *id);
        ContainerSeen {
            id: id.clone(),
            status: if self.leaving.contains_key(id) {
                ContainerStatus::Deleting
            } else {
                ContainerStatus::Active
            },
            device: Device::default(),
            credentials: on_it.map(|(id, _)| self.show_credential(id)).collect(),
        }
    }

    fn show_credential(&self, id: &CredentialId) -> CredentialSeen {
        let credential = &self.credentials[id];
        CredentialSeen {
            id: id.clone(),
            part_number: Some(credential.part.clone()),
            card_number: Some(format!("card-{id}")),
            status: credential.status.clone(),
        }
    }
}
