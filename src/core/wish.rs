//! What the operator's software asks for.

use serde::{Deserialize, Serialize};

use super::identity::Profile;
use super::ids::{
    AcsSystemId, AcsUserId, AutomationId, ChildId, ParentId, PartNumber, Personal, Timestamp,
};

/// One wish about one identity. Checked by the API before it gets here; in the core an odd one changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// There is a user identity.
    Identity(Profile),
    /// It has a record in a system. Also the first wish of an ACS user without an identity.
    AcsUser {
        /// Ours.
        id: AcsUserId,
        /// In which system.
        acs_system: AcsSystemId,
        /// As given.
        full_name: Option<Personal>,
        /// Lower-cased.
        email_address: Option<Personal>,
        /// E.164.
        phone_number: Option<Personal>,
    },
    /// Phones are to be enrolled with a manager.
    Launch {
        /// The id of a new automation; an existing one keeps its own.
        id: AutomationId,
        /// With whom.
        manager: AcsSystemId,
        /// The pool's part number.
        part_number: Option<PartNumber>,
    },
    /// No more phones are to be enrolled; issued keys stay.
    DeleteAutomation(AutomationId),
    /// Every phone is to hold a key.
    Parent {
        /// Ours.
        id: ParentId,
        /// Who gets it.
        acs_user: AcsUserId,
        /// Who issues it.
        manager: AcsSystemId,
        /// The id of the automation that it implies where none is running.
        automation: AutomationId,
        /// What is issued.
        part_number: PartNumber,
        /// As given.
        card_format: Option<String>,
        /// As given.
        facility_code: Option<String>,
        /// Stored, not interpreted.
        allowed_acs_entrance_ids: Vec<uuid::Uuid>,
        /// Keys are issued from then.
        starts_at: Option<Timestamp>,
        /// Keys are revoked then.
        ends_at: Option<Timestamp>,
    },
    /// No phone is to hold this parent's keys.
    DeleteParent(ParentId),
    /// One phone is not to hold it.
    DeleteChild(ChildId),
    /// The person is to have an open invitation.
    Invite {
        /// With whom.
        manager: AcsSystemId,
        /// For which installation of the app.
        installation: Option<String>,
        /// Mail it (again).
        resend: bool,
    },
    /// Nothing is wanted for this identity any more.
    DeleteIdentity,
}
