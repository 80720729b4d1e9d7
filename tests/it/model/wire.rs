//! What HID says in the model, on its way to the core's own words.

use origo_adapter::core::effect::Effect;
use origo_adapter::core::ids::{ContainerId, CredentialId, HidUserId, InvitationId};
use origo_adapter::core::observation::{
    Answer, ContainerSeen, ContainerStatus, CredentialSeen, Device, Fault, Happening,
    InvitationSeen, InvitationStatus, UserSeen,
};
use serde::{Deserialize, Serialize};

use super::hid::{Invitation, Key, Phone, User};

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

impl User {
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
