//! What is owed to the outside. One effect is exactly one call of HID, so calls can be counted.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{
    AcsSystemId, ChildId, ContainerId, CredentialId, HidUserId, IdentityId, InvitationId,
    PartNumber, Personal, PhoneId, Timestamp,
};
use super::observation::{Fault, Rejection};

/// A standing order: do `effect` once `not_before` has come. Replaced as a whole whenever the wish changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// The call.
    pub effect: Effect,
    /// Earliest time; what is earliest due goes first within a class.
    pub not_before: Timestamp,
    /// Which share of the window it uses.
    pub class: Class,
    /// The credential manager or access system that it is owed to; `None` for the timer.
    pub manager: Option<AcsSystemId>,
}

/// A place for at most one owed effect of an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// The CM user: create, find, update, delete.
    CmUser(AcsSystemId),
    /// Invitations: create, e-mail, cancel.
    Invitation(AcsSystemId),
    /// Reading the user because something is unknown or overdue.
    Read(AcsSystemId),
    /// Reading the user because a phone is awaited and the feed can't tell.
    Wait(AcsSystemId),
    /// Reading the user because it was not read for long.
    Sweep(AcsSystemId),
    /// Reading one phone with its keys.
    Phone(PhoneId),
    /// Deleting one phone.
    Removal(PhoneId),
    /// One key: issue, revoke.
    Key(PhoneId, PartNumber),
    /// A child's record in its access system.
    Record(ChildId),
    /// The next moment at which time alone changes a wish.
    Timer,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CmUser(manager) => write!(f, "cm_user/{manager}"),
            Self::Invitation(manager) => write!(f, "invitation/{manager}"),
            Self::Read(manager) => write!(f, "read/{manager}"),
            Self::Wait(manager) => write!(f, "wait/{manager}"),
            Self::Sweep(manager) => write!(f, "sweep/{manager}"),
            Self::Phone(phone) => write!(f, "phone/{phone}"),
            Self::Removal(phone) => write!(f, "removal/{phone}"),
            Self::Key(phone, part_number) => write!(f, "key/{phone}/{part_number}"),
            Self::Record(child) => write!(f, "record/{child}"),
            Self::Timer => f.write_str("timer"),
        }
    }
}

/// Who goes first when calls are scarce (contract.md section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Revokes, deleted phones and cancelled invitations: always first, and the only class that may use the reserve.
    Withdrawal,
    /// Issues and unknown outcomes.
    Issue,
    /// Users and invitations.
    Enroll,
    /// Reads that confirm what is believed.
    Confirm,
    /// Reading waiting users; performed only while the feed is off or deaf.
    Wait,
    /// Reading everybody, slowly.
    Sweep,
    /// Removing records from an access system; no call of HID.
    Removal,
    /// Telling an access system of keys; no call of HID.
    Import,
    /// No call at all.
    Timer,
}

impl Class {
    /// Every class that calls HID, most urgent first.
    pub const CALLING: [Self; 6] = [
        Self::Withdrawal,
        Self::Issue,
        Self::Enroll,
        Self::Confirm,
        Self::Wait,
        Self::Sweep,
    ];

    /// Every class.
    pub const ALL: [Self; 9] = [
        Self::Withdrawal,
        Self::Issue,
        Self::Enroll,
        Self::Confirm,
        Self::Wait,
        Self::Sweep,
        Self::Removal,
        Self::Import,
        Self::Timer,
    ];

    /// Stable name, used in the store and in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Withdrawal => "withdrawal",
            Self::Issue => "issue",
            Self::Enroll => "enroll",
            Self::Confirm => "confirm",
            Self::Wait => "wait",
            Self::Sweep => "sweep",
            Self::Removal => "removal",
            Self::Import => "import",
            Self::Timer => "timer",
        }
    }
}

/// One call of HID, or the timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// `POST /users`, with an invitation in the same call where one is due.
    CreateUser {
        /// Whom.
        user: NewUser,
        /// The invitation that goes with it, and how its code travels.
        invite: Option<Delivery>,
    },
    /// `POST /users/.search`, by what only we know or by what HID keeps unique.
    SearchUser {
        /// The filter.
        by: SearchBy,
    },
    /// `GET /users/{id}`: user, invitations, phones, keys.
    ReadUser {
        /// Whom.
        user: HidUserId,
    },
    /// `PUT /users/{id}`: the whole of the person's data anew.
    UpdateUser {
        /// Whom.
        user: HidUserId,
        /// The data.
        data: Box<NewUser>,
    },
    /// `DELETE /users/{id}`.
    DeleteUser {
        /// Whom.
        user: HidUserId,
    },
    /// `POST /users/{id}/invitation`.
    CreateInvitation {
        /// For whom.
        user: HidUserId,
        /// How its code travels.
        delivery: Delivery,
    },
    /// `POST /invitation/{id}/email`.
    EmailInvitation {
        /// Which.
        invitation: InvitationId,
    },
    /// `DELETE /invitation/{id}`.
    CancelInvitation {
        /// Which.
        invitation: InvitationId,
    },
    /// `GET /credential-container/{id}`.
    ReadPhone {
        /// Which.
        container: ContainerId,
    },
    /// `DELETE /credential-container/{id}`: the phone with all that it holds.
    DeletePhone {
        /// Which.
        container: ContainerId,
    },
    /// `POST /credential-container/{id}/credential`. The one call that must never be repeated in doubt.
    Issue {
        /// To which phone.
        container: ContainerId,
        /// Which kind of key.
        part_number: PartNumber,
    },
    /// `DELETE /credential/{id}`.
    Revoke {
        /// Which.
        credential: CredentialId,
    },
    /// No call of HID: look again, because time has passed or an access system is owed something.
    Wake,
}

impl Effect {
    /// Stable name, used in logs and counts.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateUser { .. } => "create_user",
            Self::SearchUser { .. } => "search_user",
            Self::ReadUser { .. } => "read_user",
            Self::UpdateUser { .. } => "update_user",
            Self::DeleteUser { .. } => "delete_user",
            Self::CreateInvitation { .. } => "create_invitation",
            Self::EmailInvitation { .. } => "email_invitation",
            Self::CancelInvitation { .. } => "cancel_invitation",
            Self::ReadPhone { .. } => "read_phone",
            Self::DeletePhone { .. } => "delete_phone",
            Self::Issue { .. } => "issue",
            Self::Revoke { .. } => "revoke",
            Self::Wake => "wake",
        }
    }

    /// Whether HID will not do it however often it is asked, so that it is not owed again by itself.
    #[must_use]
    pub fn is_refused_for_good(&self, fault: Fault) -> bool {
        let Fault::Rejected(why) = fault else {
            return false;
        };
        match self {
            Self::Issue { .. } | Self::UpdateUser { .. } => true,
            Self::CreateUser { .. } => why == Rejection::UserData,
            Self::SearchUser { .. }
            | Self::ReadUser { .. }
            | Self::DeleteUser { .. }
            | Self::CreateInvitation { .. }
            | Self::EmailInvitation { .. }
            | Self::CancelInvitation { .. }
            | Self::ReadPhone { .. }
            | Self::DeletePhone { .. }
            | Self::Revoke { .. }
            | Self::Wake => false,
        }
    }
}

/// A user as HID wants it (origo-api.md 3.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    /// `externalId`: our identity's id, by which we know our own users again.
    pub external_id: IdentityId,
    /// First name, 2 to 100 characters.
    pub given_name: Personal,
    /// Last name, 2 to 100 characters.
    pub family_name: Personal,
    /// Lower-cased: HID's comparison is probably case-sensitive.
    pub email: Personal,
}

/// How an invitation code reaches the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// HID mails it.
    Email,
    /// The operator's app fetches it from our API.
    Api,
}

/// What a user is looked for by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SearchBy {
    /// Our own mark.
    ExternalId(IdentityId),
    /// What HID keeps unique.
    Email(Personal),
}
