//! The states that the outside sees (contract.md section 7), derived from the facts. (being written)

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::ids::{ParentId, PhoneId};

/// One state change, for the journal: ids and state names only, no personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `automation/<uuid>`, `cm_user/<manager>`, `invitation/<hid id>`, `phone/<uuid>`, `key/<uuid>/<part number>`, `parent/<uuid>`, `identity/<uuid>`.
    pub entity: String,
    /// `None`: it is new.
    pub from: Option<String>,
    /// `None`: it is gone.
    pub to: Option<String>,
}

/// A child is shown until its key is gone from the phone.
#[must_use]
pub fn is_child_shown(_identity: &Identity, _parent: ParentId, _phone: PhoneId) -> bool {
    true
}
