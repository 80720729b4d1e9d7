//! HID in the smallest form that can go wrong: what a call does, and what HID does by itself when it pleases.
//! No time in it, and nothing of the product's simulator or of the property tests' HID.

use origo_adapter::core::effect::{Effect, SearchBy};
use origo_adapter::core::ids::{ContainerId, CredentialId, HidUserId, InvitationId, PartNumber};
use origo_adapter::core::observation::{CredentialStatus, InvitationStatus};
use serde::{Deserialize, Serialize};

use super::wire::{No, Reply, Told, What};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Hid {
    /// A second key for a pair is refused; else it is drawn.
    pub(super) refuses_duplicates: bool,
    /// Licences not drawn, one number for all part numbers.
    pub(super) stock: u8,
    pub(super) users: Vec<User>,
    users_made: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) id: HidUserId,
    pub(super) external_id: String,
    pub(super) email: String,
    pub(super) deleting: bool,
    /// Never forgotten while the user is there.
    pub(super) invitations: Vec<Invitation>,
    pub(super) phones: Vec<Phone>,
    pub(super) phones_made: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Invitation {
    pub(super) id: InvitationId,
    pub(super) status: InvitationStatus,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Phone {
    pub(super) id: ContainerId,
    pub(super) leaving: bool,
    pub(super) keys: Vec<Key>,
}

/// Live as long as it is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) id: CredentialId,
    pub(super) part: PartNumber,
    pub(super) status: CredentialStatus,
}

/// What HID and the phones do by themselves, each as soon as it can or as late as it likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// The phone gets the key.
    Deliver(CredentialId),
    /// The phone gives the key up.
    Remove(CredentialId),
    /// A deleted phone that holds nothing is forgotten.
    ForgetPhone(ContainerId),
    /// A deleted user without phones is forgotten.
    ForgetUser(HidUserId),
}

impl Hid {
    pub(super) fn new(refuses_duplicates: bool, stock: u8) -> Self {
        Self {
            refuses_duplicates,
            stock,
            ..Self::default()
        }
    }

    /// Does what a call asks for; what the feed will tell of it goes to `feed`. A key's id is given again once it
    /// `is_free`: nobody remembers it.
    pub(super) fn perform(
        &mut self,
        effect: &Effect,
        feed: &mut Vec<Told>,
        is_free: &dyn Fn(&str) -> bool,
    ) -> Reply {
        let reply = self.try_perform(effect, feed, is_free);
        reply.unwrap_or_else(Reply::No)
    }

    fn try_perform(
        &mut self,
        effect: &Effect,
        feed: &mut Vec<Told>,
        is_free: &dyn Fn(&str) -> bool,
    ) -> Result<Reply, No> {
        match effect {
            Effect::CreateUser { user, invite } => {
                let email = &user.email.0;
                self.create_user(user.external_id.to_string(), email, invite.is_some())
            }
            Effect::SearchUser { by } => {
                let hit = |user: &&User| match by {
                    SearchBy::ExternalId(id) => user.external_id == id.to_string(),
                    SearchBy::Email(email) => user.email == email.0,
                };
                let found = self.users.iter().find(hit);
                Ok(Reply::Found(found.map(|user| user.id.clone())))
            }
            Effect::ReadUser { user } => Ok(Reply::User(self.user(user)?.clone())),
            Effect::UpdateUser { user, data } => {
                let other = |known: &User| known.id != *user && known.email == data.email.0;
                if self.users.iter().any(other) {
                    return Err(No::Conflict);
                }
                self.live_user(user)?.email.clone_from(&data.email.0);
                Ok(Reply::Done)
            }
            Effect::DeleteUser { user } => {
                let user = self.user(user)?;
                if user.deleting {
                    return Err(No::Already);
                }
                user.delete(feed);
                Ok(Reply::Done)
            }
            Effect::CreateInvitation { user, .. } => {
                Ok(Reply::Invitation(self.live_user(user)?.invite()))
            }
            Effect::EmailInvitation { invitation } => {
                let (_, invitation) = self.invitation(invitation)?;
                let open = invitation.status == InvitationStatus::Pending;
                open.then_some(Reply::Done).ok_or(No::WrongState)
            }
            Effect::CancelInvitation { invitation } => {
                let (user, invitation) = self.invitation(invitation)?;
                if invitation.status != InvitationStatus::Pending {
                    return Err(No::WrongState);
                }
                invitation.cancel(user, feed);
                Ok(Reply::Done)
            }
            Effect::ReadPhone { container } => Ok(Reply::Phone(self.phone(container)?.clone())),
            Effect::DeletePhone { container } => {
                let phone = self.phone(container)?;
                if phone.leaving {
                    return Err(No::Already);
                }
                phone.leave();
                Ok(Reply::Done)
            }
            Effect::Issue {
                container,
                part_number,
            } => self.issue(container, part_number, is_free),
            Effect::Revoke { credential } => {
                let key = self.key(credential)?;
                if key.status.is_revoke() {
                    return Err(No::Already);
                }
                key.status = CredentialStatus::RevokeInitiated;
                Ok(Reply::Done)
            }
            Effect::Wake => Ok(Reply::Done),
        }
    }

    fn create_user(
        &mut self,
        external_id: String,
        email: &str,
        invited: bool,
    ) -> Result<Reply, No> {
        if self.users.iter().any(|user| user.email == email) {
            return Err(No::Conflict);
        }
        self.users_made += 1;
        let mut user = User {
            id: HidUserId::parse(&format!("u{}", self.users_made)).expect("an id"),
            external_id,
            email: email.to_owned(),
            deleting: false,
            invitations: vec![],
            phones: vec![],
            phones_made: 0,
        };
        if invited {
            user.invite();
        }
        self.users.push(user.clone());
        Ok(Reply::Created(user))
    }

    fn issue(
        &mut self,
        container: &ContainerId,
        part: &PartNumber,
        is_free: &dyn Fn(&str) -> bool,
    ) -> Result<Reply, No> {
        let owner = |user: &&User| user.phones.iter().any(|phone| phone.id == *container);
        let leaving = self.users.iter().find(owner).ok_or(No::Gone)?.deleting;
        let (refuses, stock) = (self.refuses_duplicates, self.stock);
        let phone = self.phone(container)?;
        if leaving || phone.leaving {
            return Err(No::WrongState);
        }
        if refuses && phone.keys.iter().any(|key| key.part == *part) {
            return Err(No::Already);
        }
        if stock == 0 {
            return Err(No::OutOfStock);
        }
        let kind = part.0.trim_start_matches("MID-");
        let ids = (1..10).map(|n| format!("{}k{kind}n{n}", phone.id));
        let id = ids.into_iter().find(|id| is_free(id)).expect("a free id");
        let key = Key {
            id: CredentialId::parse(&id).expect("an id"),
            part: part.clone(),
            status: CredentialStatus::IssueInitiated,
        };
        phone.keys.push(key.clone());
        phone.keys.sort_by(|a, b| a.id.cmp(&b.id));
        self.stock -= 1;
        Ok(Reply::Key(key))
    }

    fn user(&mut self, id: &HidUserId) -> Result<&mut User, No> {
        let mut users = self.users.iter_mut();
        users.find(|user| user.id == *id).ok_or(No::Gone)
    }

    fn live_user(&mut self, id: &HidUserId) -> Result<&mut User, No> {
        let user = self.user(id)?;
        if user.deleting {
            Err(No::WrongState)
        } else {
            Ok(user)
        }
    }

    fn invitation(&mut self, id: &InvitationId) -> Result<(&HidUserId, &mut Invitation), No> {
        let invitations = self.users.iter_mut().flat_map(|user| {
            let id = &user.id;
            user.invitations.iter_mut().map(move |known| (id, known))
        });
        let mut invitations = invitations.filter(|(_, known)| known.id == *id);
        invitations.next().ok_or(No::Gone)
    }

    fn phone(&mut self, id: &ContainerId) -> Result<&mut Phone, No> {
        let mut phones = self.users.iter_mut().flat_map(|user| &mut user.phones);
        phones.find(|phone| phone.id == *id).ok_or(No::Gone)
    }

    fn key(&mut self, id: &CredentialId) -> Result<&mut Key, No> {
        let phones = self.users.iter_mut().flat_map(|user| &mut user.phones);
        let mut keys = phones.flat_map(|phone| &mut phone.keys);
        keys.find(|key| key.id == *id).ok_or(No::Gone)
    }

    /// On which phone a key is.
    pub(super) fn phone_of(&self, key: &CredentialId) -> &Phone {
        let mut phones = self.phones().map(|(_, phone)| phone);
        let holds = |phone: &&Phone| phone.keys.iter().any(|known| known.id == *key);
        phones.find(holds).expect("a key that is there")
    }

    /// Every phone, with whose it is.
    pub(super) fn phones(&self) -> impl Iterator<Item = (&User, &Phone)> {
        self.users
            .iter()
            .flat_map(|user| user.phones.iter().map(move |phone| (user, phone)))
    }

    /// All that could happen by itself now.
    pub(super) fn deeds(&self) -> Vec<Deed> {
        let mut deeds = vec![];
        for user in &self.users {
            for phone in &user.phones {
                for key in &phone.keys {
                    if key.status == CredentialStatus::IssueInitiated {
                        deeds.push(Deed::Deliver(key.id.clone()));
                    } else if key.status.is_revoke() {
                        deeds.push(Deed::Remove(key.id.clone()));
                    }
                }
                if phone.leaving && phone.keys.is_empty() {
                    deeds.push(Deed::ForgetPhone(phone.id.clone()));
                }
            }
            if user.deleting && user.phones.is_empty() {
                deeds.push(Deed::ForgetUser(user.id.clone()));
            }
        }
        deeds
    }

    pub(super) fn happens(&mut self, deed: &Deed, feed: &mut Vec<Told>) {
        for user in &mut self.users {
            for phone in &mut user.phones {
                for key in &mut phone.keys {
                    if *deed == Deed::Deliver(key.id.clone()) {
                        key.status = CredentialStatus::Issued;
                        let what = What::KeyIssued(phone.id.clone(), key.id.clone());
                        feed.push(Told {
                            user: user.id.clone(),
                            what,
                        });
                    }
                }
                let held = phone.keys.len();
                phone
                    .keys
                    .retain(|key| *deed != Deed::Remove(key.id.clone()));
                self.stock += u8::try_from(held - phone.keys.len()).expect("few");
            }
            let forgotten = |phone: &Phone| *deed == Deed::ForgetPhone(phone.id.clone());
            user.phones.retain(|phone| !forgotten(phone));
        }
        let forgotten = |user: &User| *deed == Deed::ForgetUser(user.id.clone());
        self.users.retain(|user| !forgotten(user));
    }

    /// An app redeems an open invitation: one phone more.
    pub(super) fn redeem(&mut self, id: &InvitationId, feed: &mut Vec<Told>) {
        let owner = |user: &&mut User| user.invitations.iter().any(|known| known.id == *id);
        let user = self.users.iter_mut().find(owner).expect("a known one");
        for known in user.invitations.iter_mut().filter(|known| known.id == *id) {
            known.status = InvitationStatus::Acknowledged;
        }
        user.phones_made += 1;
        let phone = ContainerId::parse(&format!("{}p{}", user.id, user.phones_made));
        let phone = phone.expect("an id");
        user.phones.push(Phone {
            id: phone.clone(),
            leaving: false,
            keys: vec![],
        });
        let told = |what| Told {
            user: user.id.clone(),
            what,
        };
        feed.push(told(What::Redeemed(id.clone())));
        feed.push(told(What::PhoneActive(phone, id.clone())));
    }

    /// The app is removed from a phone, and everything goes with it.
    pub(super) fn lose_phone(&mut self, id: &ContainerId, feed: &mut Vec<Told>) {
        for user in &mut self.users {
            let lost = |phone: &Phone| phone.id == *id;
            let keys = user.phones.iter().filter(|phone| lost(phone));
            let keys: usize = keys.map(|phone| phone.keys.len()).sum();
            self.stock += u8::try_from(keys).expect("few");
            if user.phones.iter().any(lost) {
                let what = What::PhoneOther(id.clone());
                feed.push(Told {
                    user: user.id.clone(),
                    what,
                });
            }
            user.phones.retain(|phone| !lost(phone));
        }
    }
}

impl User {
    fn invite(&mut self) -> Invitation {
        let id = format!("{}i{}", self.id, self.invitations.len() + 1);
        let invitation = Invitation {
            id: InvitationId::parse(&id).expect("an id"),
            status: InvitationStatus::Pending,
        };
        self.invitations.push(invitation.clone());
        invitation
    }

    /// The deletion is accepted: all below goes, in its own time.
    fn delete(&mut self, feed: &mut Vec<Told>) {
        self.deleting = true;
        for phone in &mut self.phones {
            phone.leave();
        }
        let invitations = self.invitations.iter_mut();
        for invitation in invitations.filter(|known| known.status == InvitationStatus::Pending) {
            invitation.cancel(&self.id, feed);
        }
    }
}

impl Invitation {
    fn cancel(&mut self, user: &HidUserId, feed: &mut Vec<Told>) {
        self.status = InvitationStatus::Cancelled;
        feed.push(Told {
            user: user.clone(),
            what: What::Cancelled(self.id.clone()),
        });
    }
}

impl Phone {
    fn leave(&mut self) {
        self.leaving = true;
        for key in self.keys.iter_mut().filter(|key| !key.status.is_revoke()) {
            key.status = CredentialStatus::RevokeInitiated;
        }
    }
}
