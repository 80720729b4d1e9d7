//! HID in the smallest form that can go wrong: what a call does, and what HID does by itself when it pleases.
//! No time in it, and nothing of the product's simulator or of the property tests' HID.

use origo_adapter::core::effect::{Effect, SearchBy};
use origo_adapter::core::ids::{ContainerId, CredentialId, HidUserId, InvitationId, PartNumber};
use origo_adapter::core::observation::{
    Answer, ContainerSeen, ContainerStatus, CredentialSeen, CredentialStatus, Device, Fault,
    Happening, InvitationSeen, InvitationStatus, UserSeen,
};
use serde::{Deserialize, Serialize};

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

/// What HID answers, as it goes over the wire and may be lost there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    No(No),
    Created(User),
    Found(Option<HidUserId>),
    User(User),
    Invitation(Invitation),
    Phone(Phone),
    Key(Key),
    Done,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum No {
    Gone,
    Conflict,
    Already,
    WrongState,
    OutOfStock,
}

/// One entry of the feed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) user: HidUserId,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum What {
    PhoneActive(ContainerId, InvitationId),
    PhoneOther(ContainerId),
    Redeemed(InvitationId),
    Cancelled(InvitationId),
    KeyIssued(ContainerId, CredentialId),
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
        let ids = (1..10).map(|n| format!("{}k{n}", phone.id));
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

    fn seen(&self) -> UserSeen {
        UserSeen {
            id: self.id.clone(),
            external_id: Some(self.external_id.clone()),
            deleting: self.deleting,
            invitations: self.invitations.iter().map(Invitation::seen).collect(),
            containers: self.phones.iter().map(Phone::seen).collect(),
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

    fn seen(&self) -> InvitationSeen {
        InvitationSeen {
            id: self.id.clone(),
            code: None,
            status: self.status.clone(),
            expires_at: None,
        }
    }
}

impl Phone {
    fn leave(&mut self) {
        self.leaving = true;
        for key in self.keys.iter_mut().filter(|key| !key.status.is_revoke()) {
            key.status = CredentialStatus::RevokeInitiated;
        }
    }

    fn seen(&self) -> ContainerSeen {
        let status = if self.leaving {
            ContainerStatus::Deleting
        } else {
            ContainerStatus::Active
        };
        ContainerSeen {
            id: self.id.clone(),
            status,
            device: Device::default(),
            credentials: self.keys.iter().map(Key::seen).collect(),
        }
    }
}

impl Key {
    fn seen(&self) -> CredentialSeen {
        CredentialSeen {
            id: self.id.clone(),
            part_number: Some(self.part.clone()),
            card_number: None,
            status: self.status.clone(),
        }
    }
}

impl Reply {
    /// As our client hands it on.
    pub(super) fn read(&self, effect: &Effect) -> Result<Answer, Fault> {
        Ok(match self {
            Self::No(No::Gone) => return Err(Fault::Gone),
            Self::No(No::Conflict) => return Err(Fault::Conflict),
            Self::No(No::Already) => return Err(Fault::Already),
            Self::No(No::WrongState) => return Err(Fault::WrongState),
            Self::No(No::OutOfStock) => return Err(Fault::OutOfStock),
            Self::Created(user) => Answer::UserCreated(user.seen()),
            Self::Found(id) => Answer::UserFound(id.clone()),
            Self::User(user) => Answer::User(user.seen()),
            Self::Invitation(invitation) => Answer::InvitationCreated(invitation.seen()),
            Self::Phone(phone) => Answer::Phone(phone.seen()),
            Self::Key(key) => Answer::Issued(key.seen()),
            Self::Done => match effect {
                Effect::UpdateUser { .. } => Answer::UserUpdated,
                Effect::DeleteUser { .. } => Answer::UserDeleted,
                Effect::EmailInvitation { .. } => Answer::InvitationEmailed,
                Effect::CancelInvitation { .. } => Answer::InvitationCancelled,
                Effect::DeletePhone { .. } => Answer::PhoneDeleted,
                Effect::Revoke { .. } => Answer::Revoked,
                Effect::CreateUser { .. }
                | Effect::SearchUser { .. }
                | Effect::ReadUser { .. }
                | Effect::CreateInvitation { .. }
                | Effect::ReadPhone { .. }
                | Effect::Issue { .. }
                | Effect::Wake => return Err(Fault::Refused),
            },
        })
    }
}

impl Told {
    /// HID's ids in it.
    pub(super) fn names(&self) -> Vec<&str> {
        let user = self.user.as_str();
        match &self.what {
            What::PhoneActive(phone, invitation) => vec![user, phone.as_str(), invitation.as_str()],
            What::PhoneOther(phone) => vec![user, phone.as_str()],
            What::Redeemed(id) | What::Cancelled(id) => vec![user, id.as_str()],
            What::KeyIssued(phone, key) => vec![user, phone.as_str(), key.as_str()],
        }
    }
}

impl What {
    pub(super) fn happening(&self) -> Happening {
        match self {
            Self::PhoneActive(container, invitation) => Happening::PhoneActive {
                container: container.clone(),
                invitation: Some(invitation.clone()),
                device: Device::default(),
            },
            Self::PhoneOther(container) => Happening::PhoneOther {
                container: container.clone(),
            },
            Self::Redeemed(invitation) => Happening::Invitation {
                invitation: invitation.clone(),
                status: InvitationStatus::Acknowledged,
            },
            Self::Cancelled(invitation) => Happening::Invitation {
                invitation: invitation.clone(),
                status: InvitationStatus::Cancelled,
            },
            Self::KeyIssued(container, credential) => Happening::KeyIssued {
                credential: credential.clone(),
                container: Some(container.clone()),
            },
        }
    }
}
