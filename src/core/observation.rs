//! Whatever reaches us about one identity, in our own words. Wire words stay in `origo::wire`.

use serde::{Deserialize, Serialize};

use super::effect::Lane;
use super::identity::InFlight;
use super::ids::{
    AcsSystemId, CallNo, ChildId, ContainerId, CredentialId, HidUserId, InvitationCode,
    InvitationId, PartNumber, Timestamp,
};
use super::record::Outcome;
use super::wish::Wish;

/// One thing that was seen. Any may arrive in any state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// What the operator's software asks for.
    Wish(Wish),
    /// A worker wants to carry out what this lane owes: the `sent` mark. Commits before the call's first byte.
    Started(Lane),
    /// HID answered a call.
    Answered(InFlight, Answer),
    /// A call ended without a usable answer.
    Failed(InFlight, Fault),
    /// The events feed told something.
    Event(Event),
    /// A call of a child's access system is to go out: its mark.
    RecordStarted {
        /// Whose record.
        child: ChildId,
        /// Whoever makes the call has given up by then.
        until: Timestamp,
        /// Of whoever makes the call; several that go out together share one.
        token: uuid::Uuid,
    },
    /// Such a call ended.
    RecordEnded(ChildId, CallNo, Outcome),
    /// A user of ours that HID has, read for an identity that may not know of it.
    Adopted {
        /// Where.
        manager: AcsSystemId,
        /// As read.
        user: UserSeen,
        /// When the read began.
        began: Timestamp,
    },
    /// Time has passed.
    Woken,
}

/// What HID answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The user as created, with its invitation where one was asked for.
    UserCreated(UserSeen),
    /// A search's first hit.
    UserFound(Option<HidUserId>),
    /// A user as read.
    User(UserSeen),
    /// The person's data are taken in.
    UserUpdated,
    /// A deletion is accepted.
    UserDeleted,
    /// An invitation as created.
    InvitationCreated(InvitationSeen),
    /// The mail is on its way.
    InvitationEmailed,
    /// The cancellation is accepted.
    InvitationCancelled,
    /// A phone as read.
    Phone(ContainerSeen),
    /// A phone's deletion is accepted.
    PhoneDeleted,
    /// The issue is accepted.
    Issued(CredentialSeen),
    /// The revoke is accepted.
    Revoked,
}

/// A user with all that hangs below it (origo-api.md 3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSeen {
    /// HID's id.
    pub id: HidUserId,
    /// Who made it: ours is the identity's id.
    pub external_id: Option<String>,
    /// `true` while HID deletes it.
    pub deleting: bool,
    /// All of them, any status.
    pub invitations: Vec<InvitationSeen>,
    /// All of them, any status.
    pub containers: Vec<ContainerSeen>,
}

/// An invitation as HID shows it (origo-api.md 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationSeen {
    /// HID's id.
    pub id: InvitationId,
    /// Absent in some answers.
    pub code: Option<InvitationCode>,
    /// As HID says.
    pub status: InvitationStatus,
    /// `expirationDate`.
    pub expires_at: Option<Timestamp>,
}

/// A phone as HID shows it (origo-api.md 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSeen {
    /// HID's id.
    pub id: ContainerId,
    /// As HID says.
    pub status: ContainerStatus,
    /// What it is.
    pub device: Device,
    /// Every key on it, any status.
    pub credentials: Vec<CredentialSeen>,
}

/// A key as HID shows it (origo-api.md 6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSeen {
    /// HID's id.
    pub id: CredentialId,
    /// Absent where HID omits it.
    pub part_number: Option<PartNumber>,
    /// Text or number on the wire.
    pub card_number: Option<String>,
    /// As HID says.
    pub status: CredentialStatus,
}

/// What a phone says of itself. Every field may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Maker.
    pub manufacturer: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Operating system's version, probably with its name.
    pub os_version: Option<String>,
    /// Version of the app.
    pub application_version: Option<String>,
}

/// origo-api.md 4.3. An unknown word is never final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvitationStatus {
    /// Created, not used.
    Pending,
    /// Redeemed in an app.
    Acknowledged,
    /// Time ran out.
    Expired,
    /// A cancellation is under way.
    CancelInitiated,
    /// Cancelled.
    Cancelled,
    /// The phone or app can't.
    NotSupported,
    /// The phone or app may not.
    NotEligible,
    /// A word we do not know.
    Unknown(String),
}

/// origo-api.md 5: only `ACTIVE` is known for certain, and only it can be issued to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerStatus {
    /// Registered.
    Active,
    /// Not ready yet (`INITIALIZED`).
    Initialized,
    /// Being deleted, or deleted.
    Deleting,
    /// A word we do not know.
    Unknown(String),
}

/// origo-api.md 6.4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CredentialStatus {
    /// Accepted.
    IssueInitiated,
    /// Being delivered.
    Issuing,
    /// On the phone.
    Issued,
    /// Delivery failed.
    IssueFailed,
    /// A revoke is accepted.
    RevokeInitiated,
    /// Being removed.
    Revoking,
    /// Gone.
    Revoked,
    /// A word we do not know.
    Unknown(String),
}

impl CredentialStatus {
    /// HID makes it, and the phone does not have it yet.
    #[must_use]
    pub fn is_on_its_way(&self) -> bool {
        matches!(self, Self::IssueInitiated | Self::Issuing)
    }

    /// HID has it or is about to: adopt, don't issue again (contract.md section 2, Adoption).
    #[must_use]
    pub fn is_issue(&self) -> bool {
        match self {
            Self::IssueInitiated | Self::Issuing | Self::Issued => true,
            Self::IssueFailed
            | Self::RevokeInitiated
            | Self::Revoking
            | Self::Revoked
            | Self::Unknown(_) => false,
        }
    }

    /// On its way out.
    #[must_use]
    pub fn is_revoke(&self) -> bool {
        match self {
            Self::RevokeInitiated | Self::Revoking => true,
            Self::IssueInitiated
            | Self::Issuing
            | Self::Issued
            | Self::IssueFailed
            | Self::Revoked
            | Self::Unknown(_) => false,
        }
    }
}

/// Why a call has no usable answer. Made in one place, `origo::fault`, from what the wire showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The service refuses or can't be reached, and the call had no effect. Says nothing about the object.
    Refused,
    /// The call may or may not take effect, now or later.
    Unanswered,
    /// HID does not know the object (404).
    Gone,
    /// Something unique is taken (409).
    Conflict,
    /// What was asked for is so already (412 «already delivered»; a revoke or cancel that came too late).
    Already,
    /// The object is in the wrong state for this (412 with `state`).
    WrongState,
    /// None left of this part number.
    OutOfStock,
    /// Lost a race at HID, or is forbidden there; no effect, and the object tries again by its own schedule.
    Busy,
    /// Refused for good.
    Rejected(Rejection),
}

/// Why something is refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rejection {
    /// HID does not accept the person's name or e-mail address.
    UserData,
    /// The phone holds as many keys as it can.
    PhoneFull,
    /// The phone can't hold this kind of key.
    Incompatible,
    /// The part number is not the organization's.
    PartNumber,
    /// It was there and somebody else revoked it; not issued again by itself (`drift.policy = "report"`).
    RevokedElsewhere,
    /// Anything else; the text is in the log.
    Other,
}

impl Rejection {
    /// Stable name, shown as a reason.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UserData => "user_data_incomplete",
            Self::PhoneFull => "phone_full",
            Self::Incompatible => "phone_incompatible",
            Self::PartNumber => "part_number_refused",
            Self::RevokedElsewhere => "revoked_elsewhere",
            Self::Other => "refused",
        }
    }
}

/// One entry of the events feed, already resolved to an identity and a manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose feed.
    pub manager: AcsSystemId,
    /// `CloudEvents` `time`.
    pub time: Timestamp,
    /// What happened.
    pub what: Happening,
}

/// What an event says. Field names differ from REST (origo-api.md 9.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A phone is ready.
    PhoneActive {
        /// Which.
        container: ContainerId,
        /// By which invitation, where it says so.
        invitation: Option<InvitationId>,
        /// What it is.
        device: Device,
    },
    /// A phone changed in a way we have no word for: read it.
    PhoneOther {
        /// Which.
        container: ContainerId,
    },
    /// An invitation changed.
    Invitation {
        /// Which.
        invitation: InvitationId,
        /// To what.
        status: InvitationStatus,
    },
    /// HID has begun to make a key.
    KeyBegun {
        /// Which.
        credential: CredentialId,
        /// For which phone, where it says so.
        container: Option<ContainerId>,
    },
    /// A key reached the phone.
    KeyIssued {
        /// Which.
        credential: CredentialId,
        /// On which phone, where it says so.
        container: Option<ContainerId>,
    },
    /// A key changed in a way we have no word for: read its phone.
    KeyOther {
        /// Which.
        credential: CredentialId,
        /// On which phone, where it says so.
        container: Option<ContainerId>,
    },
    /// The user changed other than by being created.
    UserOther,
}
