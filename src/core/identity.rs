//! The aggregate: one person with everything that is wanted for them and believed of them.
//!
//! It holds facts, not queues. What is owed follows from the facts ([`super::plan`]), and so do the
//! states that the outside sees ([`super::state`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Lane, NewUser};
use super::hold::Hold;
use super::ids::{
    AcsSystemId, AcsUserId, AutomationId, CallNo, ChildId, CredentialId, HidUserId, IdentityId,
    InvitationCode, InvitationId, ParentId, PartNumber, Personal, PhoneId, Timestamp,
};
use super::observation::{InvitationStatus, Rejection};
use super::record::Record;

mod phone;

pub use phone::{Doubt, DoubtStage, Held, Key, Phone, Removal};

/// One identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Ours; HID's `externalId`.
    pub id: IdentityId,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// `false`: no user identity, only the home of an ACS user that has none.
    pub listed: bool,
    /// Who it is.
    pub profile: Profile,
    /// At most one a system.
    pub acs_users: BTreeMap<AcsUserId, AcsUser>,
    /// What keys are wanted.
    pub parents: BTreeMap<ParentId, Parent>,
    /// Somebody else's now, as long as access systems have records of the keys that were here.
    #[serde(default)]
    pub released: BTreeMap<ParentId, Parent>,
    /// One a credential manager.
    pub enrollments: BTreeMap<AcsSystemId, Enrollment>,
    /// Everything is being withdrawn since then.
    pub deleting_since: Option<Timestamp>,
    /// Nothing new is made or issued for it; withdrawals and reads go on.
    #[serde(default)]
    pub held: Option<Hold>,
    /// The one call under way: HID sees one at a time of each identity (contract.md section 8).
    pub in_flight: Option<InFlight>,
    /// Number of the last call.
    pub calls: CallNo,
    /// What an operator last asked for by hand.
    #[serde(default)]
    pub request: Option<Request>,
    /// When it last changed: the states seen then are those that a later change starts from.
    pub changed_at: Timestamp,
}

/// An operator's request, for the journal: nothing follows from it but what it was taken for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// `retry`, `resync` or `adopt_user`.
    pub what: String,
    /// When.
    pub at: Timestamp,
}

/// Who a person is, as the operator's software told us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Seam's `user_identity_key`: the operator's own, stable.
    pub key: Option<String>,
    /// As given.
    pub full_name: Option<Personal>,
    /// Lower-cased.
    pub email_address: Option<Personal>,
    /// E.164.
    pub phone_number: Option<Personal>,
}

/// A person's record in one system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcsUser {
    /// In which.
    pub acs_system: AcsSystemId,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// As given.
    pub full_name: Option<Personal>,
    /// Lower-cased.
    pub email_address: Option<Personal>,
    /// E.164.
    pub phone_number: Option<Personal>,
    /// Suspended users hold no keys.
    pub suspended: bool,
    /// Seam's `hid_acs_system_id`, as given: stored, not interpreted.
    #[serde(default)]
    pub hid_acs_system_id: Option<uuid::Uuid>,
    /// It is being deleted since then; it goes with its last parent.
    #[serde(default)]
    pub deleting_since: Option<Timestamp>,
}

/// A multi-phone sync credential: one child for every phone of the identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Who gets it.
    pub acs_user: AcsUserId,
    /// It was taken from its ACS user and is nobody's, so no phone is to hold it.
    #[serde(default)]
    pub unassigned: bool,
    /// In which access system.
    pub acs_system: AcsSystemId,
    /// Who issues it.
    pub manager: AcsSystemId,
    /// What is issued.
    pub part_number: PartNumber,
    /// As given.
    pub card_format: Option<String>,
    /// As given.
    pub facility_code: Option<String>,
    /// Stored, not interpreted (seam-api.md 10, row 16).
    pub allowed_acs_entrance_ids: Vec<uuid::Uuid>,
    /// Keys are issued from then.
    pub starts_at: Option<Timestamp>,
    /// Keys are revoked then.
    pub ends_at: Option<Timestamp>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// It is being withdrawn since then.
    pub deleting_since: Option<Timestamp>,
    /// Its file no longer names it since then, and the guard keeps it until a person says so.
    #[serde(default)]
    pub prune_held_since: Option<Timestamp>,
    /// One a phone.
    pub children: BTreeMap<PhoneId, Child>,
}

/// One phone's share in a parent; points to the key (phone, the parent's part number).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// UUIDv5(parent, phone).
    pub id: ChildId,
    /// When the phone and the parent met.
    pub created_at: Timestamp,
    /// When its key was first seen on the phone.
    pub issued_at: Option<Timestamp>,
    /// Which credential of HID's was last seen on the phone for it.
    #[serde(default)]
    pub issued_as: Option<CredentialId>,
    /// Withdrawn by itself, the phone and the parent staying.
    pub deleting_since: Option<Timestamp>,
    /// That withdrawal came to its end; the child stays as the memory of the wish.
    #[serde(default)]
    pub gone_at: Option<Timestamp>,
    /// What its access system was told of it.
    #[serde(default)]
    pub record: Record,
}

/// All that concerns one identity at one credential manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    /// The wish to enroll phones.
    pub automation: Option<Automation>,
    /// HID's user.
    pub user: CmUser,
    /// The wish for a (further) invitation.
    pub invite: Invite,
    /// Those we know of.
    pub invitations: BTreeMap<InvitationId, Invitation>,
    /// Those we know of, gone ones included.
    pub phones: BTreeMap<PhoneId, Phone>,
    /// When the user was last read.
    pub read_at: Option<Timestamp>,
    /// An event told of a change that only a read can explain.
    pub look: Option<Timestamp>,
}

/// An enrollment automation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Automation {
    /// Ours.
    pub id: AutomationId,
    /// When it was launched.
    pub created_at: Timestamp,
    /// The launch's pool: the part number where a parent names no card.
    pub part_number: Option<PartNumber>,
    /// It takes in no more phones since then; open invitations are being cancelled.
    pub stopping_since: Option<Timestamp>,
}

/// HID's user, and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CmUser {
    /// What is believed.
    pub state: CmUserState,
    /// A create call that was given up then may still take effect.
    pub unanswered_at: Option<Timestamp>,
    /// A read did not find it; the second in a row settles it.
    pub missing_since: Option<Timestamp>,
    /// Its own failures.
    pub trouble: Trouble,
    /// What HID was told of the person.
    #[serde(default)]
    pub told: Told,
    /// Somebody else deleted it.
    #[serde(default)]
    pub drift: Drift,
    /// An operator said that this one is the person's, whoever made it.
    #[serde(default)]
    pub take_over: Option<HidUserId>,
}

impl CmUser {
    /// Another is to be made: of this one only that counts which may still come of a create without an answer.
    pub(super) fn start_over(self) -> Self {
        let told = self.unanswered_at.map(|_| self.told);
        Self {
            unanswered_at: self.unanswered_at,
            told: told.unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// When somebody else took something of ours away at HID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// When we last noticed it.
    pub noticed_at: Option<Timestamp>,
    /// When we last began to make it again by ourselves.
    pub repaired_at: Option<Timestamp>,
}

/// HID's copy of a person's data, as far as we know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What HID was last told; `None`: nobody knows.
    pub data: Option<NewUser>,
    /// What HID refuses to be told, and why; other data are tried at once.
    pub refused: Option<(NewUser, Refusal)>,
    /// Failures of updates.
    pub trouble: Trouble,
}

/// Why HID does not take an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The e-mail address is another user's.
    Conflict,
    /// For good.
    Rejected(Rejection),
}

/// What is believed of HID's user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CmUserState {
    /// None yet.
    #[default]
    Absent,
    /// A create call had no answer: look for our `externalId`.
    Unsure {
        /// When we gave up on it.
        since: Timestamp,
    },
    /// HID says that the e-mail address is in use: look by whom.
    Taken,
    /// A search found this one: read it before it counts.
    Found {
        /// HID's id.
        id: HidUserId,
    },
    /// It is there and ours to use.
    Present {
        /// HID's id.
        id: HidUserId,
        /// Not made by this identity; never deleted by us.
        adopted: bool,
    },
    /// The e-mail address belongs to a user that is not ours.
    Conflict {
        /// HID's id.
        id: HidUserId,
    },
    /// HID refuses the person's data, or they are incomplete.
    Refused(Rejection),
    /// A deletion is accepted; read until it is gone.
    Deleting {
        /// HID's id.
        id: HidUserId,
        /// Since when.
        since: Timestamp,
    },
    /// It was there and is no more.
    Gone,
}

/// The wish for an invitation, and what is unknown of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// One is to be made.
    pub wanted: bool,
    /// The open one is to be mailed again.
    pub resend: bool,
    /// A phone was deactivated: none is made, and none stays open, until one is asked for.
    #[serde(default)]
    pub barred: bool,
    /// For which installation of the app, where the app says so.
    pub installation: Option<String>,
    /// How often an expired one was renewed.
    pub renewals: u32,
    /// Create calls without an answer, whose invitation was not seen.
    pub unattributed: u32,
    /// When we gave up on the last of them, until a read has looked.
    pub unsure_since: Option<Timestamp>,
    /// Its own failures.
    pub trouble: Trouble,
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Known where we made it or a read showed it.
    pub code: Option<InvitationCode>,
    /// As HID last said.
    pub status: InvitationStatus,
    /// Made by us.
    pub ours: bool,
    /// When we first knew of it.
    pub created_at: Timestamp,
    /// After that HID refuses it.
    pub expires_at: Option<Timestamp>,
    /// For which installation of the app.
    pub installation: Option<String>,
    /// When we learned that it was redeemed.
    pub acknowledged_at: Option<Timestamp>,
    /// It is to be cancelled.
    pub cancel: bool,
    /// A phone came of it, or one will not.
    pub closed: bool,
    /// Its own failures.
    pub trouble: Trouble,
}

/// The failures of one object, all its own; a service's refusals never count (contract.md G2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// In a row.
    pub failures: u32,
    /// The first of them.
    pub since: Option<Timestamp>,
    /// Not tried before.
    pub not_before: Timestamp,
}

/// The one call under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Its number.
    pub call: CallNo,
    /// Whose.
    pub lane: Lane,
    /// What.
    pub effect: Effect,
    /// When its `sent` mark was made.
    pub started_at: Timestamp,
}

impl Identity {
    /// An identity of which nothing is known or wanted yet.
    #[must_use]
    pub fn new(id: IdentityId, created_at: Timestamp) -> Self {
        Self {
            id,
            created_at,
            listed: false,
            profile: Profile::default(),
            acs_users: BTreeMap::new(),
            parents: BTreeMap::new(),
            released: BTreeMap::new(),
            enrollments: BTreeMap::new(),
            deleting_since: None,
            held: None,
            in_flight: None,
            calls: CallNo(0),
            request: None,
            changed_at: created_at,
        }
    }

    /// The manager and record of a phone.
    #[must_use]
    pub fn phone(&self, id: PhoneId) -> Option<(AcsSystemId, &Phone)> {
        self.enrollments
            .iter()
            .find_map(|(manager, e)| e.phones.get(&id).map(|phone| (*manager, phone)))
    }

    /// The manager and record of an automation.
    #[must_use]
    pub fn automation(&self, id: AutomationId) -> Option<(AcsSystemId, &Automation)> {
        self.enrollments.iter().find_map(|(manager, e)| {
            e.automation
                .as_ref()
                .filter(|automation| automation.id == id)
                .map(|automation| (*manager, automation))
        })
    }

    /// The parent, the phone and the record of a child, that of a released parent included.
    #[must_use]
    pub fn child(&self, id: ChildId) -> Option<(ParentId, PhoneId, &Child)> {
        self.parents
            .iter()
            .chain(&self.released)
            .find_map(|(parent, p)| {
                p.children
                    .iter()
                    .find(|(_, child)| child.id == id)
                    .map(|(phone, child)| (*parent, *phone, child))
            })
    }

    /// The manager whose enrollment a lane belongs to.
    #[must_use]
    pub fn manager_of(&self, lane: &Lane) -> Option<AcsSystemId> {
        match lane {
            Lane::CmUser(manager)
            | Lane::Invitation(manager)
            | Lane::Read(manager)
            | Lane::Wait(manager)
            | Lane::Sweep(manager) => Some(*manager),
            Lane::Phone(phone) | Lane::Removal(phone) | Lane::Key(phone, _) => {
                self.phone(*phone).map(|(manager, _)| manager)
            }
            Lane::Record(_) | Lane::Timer => None,
        }
    }

    /// The identity's ACS user in a system.
    #[must_use]
    pub fn acs_user_in(&self, system: AcsSystemId) -> Option<(AcsUserId, &AcsUser)> {
        self.acs_users
            .iter()
            .find(|(_, user)| user.acs_system == system)
            .map(|(id, user)| (*id, user))
    }
}

impl Enrollment {
    /// HID's id of the user, where it is there for us to use.
    #[must_use]
    pub fn user_id(&self) -> Option<&HidUserId> {
        match &self.user.state {
            CmUserState::Present { id, .. } => Some(id),
            CmUserState::Absent
            | CmUserState::Unsure { .. }
            | CmUserState::Taken
            | CmUserState::Found { .. }
            | CmUserState::Conflict { .. }
            | CmUserState::Refused(_)
            | CmUserState::Deleting { .. }
            | CmUserState::Gone => None,
        }
    }

    /// The user is known by now, and is not this one: what was asked about this one is about somebody else.
    #[must_use]
    pub fn is_not(&self, id: &HidUserId) -> bool {
        matches!(
            &self.user.state,
            CmUserState::Present { id: known, .. } | CmUserState::Deleting { id: known, .. }
                if known != id
        )
    }

    /// The automation takes in phones.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.automation
            .as_ref()
            .is_some_and(|automation| automation.stopping_since.is_none())
    }

    /// The open invitation that we made, newest first. One of which a phone came is spent, even where nobody told
    /// of its redemption.
    #[must_use]
    pub fn open_invitation(&self) -> Option<(&InvitationId, &Invitation)> {
        let pending = |i: &Invitation| i.status == InvitationStatus::Pending && !i.closed;
        self.invitations
            .iter()
            .filter(|(_, i)| i.ours && pending(i) && !i.cancel)
            .max_by_key(|(_, i)| i.created_at)
    }

    /// At least one phone is registered and not gone.
    #[must_use]
    pub fn has_phone(&self) -> bool {
        self.phones.values().any(Phone::is_active)
    }
}

impl Invite {
    /// One call's effect was seen; with the last one nothing is left to look for.
    pub fn account_for_one(&mut self) {
        self.unattributed = self.unattributed.saturating_sub(1);
        if self.unattributed == 0 {
            self.unsure_since = None;
        }
    }
}
