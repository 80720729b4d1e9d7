//! Under which ids an identity is found: the rows of the entity index that it asks for.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::hold::HoldReason;
use super::identity::Identity;
use super::ids::{AcsSystemId, IdentityId, Timestamp};
use super::orphans;

/// What an index row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A listed user identity.
    Identity,
    /// `user_identity_key`; unique in the workspace.
    IdentityKey,
    /// An identity's e-mail address; unique in the workspace.
    IdentityEmail,
    /// An identity's phone number; unique in the workspace.
    IdentityPhoneNumber,
    /// An ACS user.
    AcsUser,
    /// An ACS user without an identity, for linking; id `system/e-mail address` or `system/phone number`.
    UnlinkedAcsUser,
    /// An enrollment automation.
    Automation,
    /// A parent.
    Parent,
    /// A child.
    Child,
    /// A phone.
    Phone,
    /// A person whom the guard holds; the identity's id.
    Guarded,
    /// HID's user; id `manager/hid id`.
    HidUser,
    /// HID's invitation; id `manager/hid id`.
    HidInvitation,
    /// HID's container; id `manager/hid id`.
    HidContainer,
    /// HID's credential; id `manager/hid id`.
    HidCredential,
    /// Something below a person at HID that is not ours.
    Orphan,
}

impl Kind {
    /// Stable name, used in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::IdentityKey => "identity_key",
            Self::IdentityEmail => "identity_email",
            Self::IdentityPhoneNumber => "identity_phone_number",
            Self::AcsUser => "acs_user",
            Self::UnlinkedAcsUser => "unlinked_acs_user",
            Self::Automation => "automation",
            Self::Parent => "parent",
            Self::Child => "child",
            Self::Phone => "phone",
            Self::Guarded => "guarded",
            Self::HidUser => "hid_user",
            Self::HidInvitation => "hid_invitation",
            Self::HidContainer => "hid_container",
            Self::HidCredential => "hid_credential",
            Self::Orphan => "orphan",
        }
    }

    /// Two identities must not have the same one; a commit that tries is refused. HID's ids and what
    /// people are found by in a system are facts about elsewhere and refuse nothing: the first
    /// identity to name one keeps it.
    #[must_use]
    pub fn is_exclusive(self) -> bool {
        match self {
            Self::UnlinkedAcsUser
            | Self::HidUser
            | Self::HidInvitation
            | Self::HidContainer
            | Self::HidCredential
            | Self::Orphan => false,
            Self::Identity
            | Self::IdentityKey
            | Self::IdentityEmail
            | Self::IdentityPhoneNumber
            | Self::AcsUser
            | Self::Automation
            | Self::Parent
            | Self::Child
            | Self::Phone
            | Self::Guarded => true,
        }
    }
}

/// One row of the index. Rows are compared whole: a changed row is one removed and one added.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Row {
    /// What it stands for.
    pub kind: Kind,
    /// Its id, unique within the kind.
    pub id: String,
    /// For the order of lists.
    pub created_at: Timestamp,
    /// Filter: the access system or credential manager.
    pub acs_system: Option<String>,
    /// Filter: the ACS user.
    pub acs_user: Option<String>,
    /// Filter: the parent, for a child.
    pub parent: Option<String>,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = match self.kind {
            Kind::IdentityKey
            | Kind::IdentityEmail
            | Kind::IdentityPhoneNumber
            | Kind::UnlinkedAcsUser => "‹personal›",
            Kind::Identity
            | Kind::AcsUser
            | Kind::Automation
            | Kind::Parent
            | Kind::Child
            | Kind::Phone
            | Kind::Guarded
            | Kind::HidUser
            | Kind::HidInvitation
            | Kind::HidContainer
            | Kind::HidCredential
            | Kind::Orphan => &self.id,
        };
        write!(f, "{}:{id}", self.kind.name())
    }
}

/// How HID's ids are written in the index.
#[must_use]
pub fn remote(manager: AcsSystemId, id: &impl fmt::Display) -> String {
    format!("{manager}/{id}")
}

/// How an e-mail address or phone number is written in the index of one system.
#[must_use]
pub fn in_system(system: AcsSystemId, text: &str) -> String {
    format!("{system}/{text}")
}

/// Every row under which `identity` is found.
#[must_use]
pub fn rows(identity: &Identity) -> BTreeSet<Row> {
    let mut rows = Rows {
        owner: identity.id,
        created_at: identity.created_at,
        all: BTreeSet::new(),
    };
    if identity.listed {
        rows.add(Kind::Identity, &rows.owner.clone());
        let profile = &identity.profile;
        if let Some(key) = &profile.key {
            rows.add(Kind::IdentityKey, key);
        }
        if let Some(email) = &profile.email_address {
            rows.add(Kind::IdentityEmail, &email.0);
        }
        if let Some(number) = &profile.phone_number {
            rows.add(Kind::IdentityPhoneNumber, &number.0);
        }
    }
    let guarded = identity
        .held
        .filter(|hold| hold.reason == HoldReason::Guard);
    if let Some(hold) = guarded {
        rows.all
            .insert(row(Kind::Guarded, &identity.id, hold.since));
    }
    for (id, user) in &identity.acs_users {
        let row = row(Kind::AcsUser, id, user.created_at);
        rows.all.insert(Row {
            acs_system: Some(user.acs_system.to_string()),
            ..row
        });
        let found_by = [&user.email_address, &user.phone_number];
        for text in found_by.into_iter().flatten().filter(|_| !identity.listed) {
            rows.add(Kind::UnlinkedAcsUser, &in_system(user.acs_system, &text.0));
        }
    }
    for (id, parent) in &identity.parents {
        let row = Row {
            acs_system: Some(parent.acs_system.to_string()),
            acs_user: Some(parent.acs_user.to_string()),
            ..row(Kind::Parent, id, parent.created_at)
        };
        for child in parent
            .children
            .values()
            .filter(|c| c.deleting_since.is_none())
        {
            rows.all.insert(Row {
                kind: Kind::Child,
                id: child.id.to_string(),
                created_at: child.created_at,
                parent: Some(row.id.clone()),
                ..row.clone()
            });
        }
        rows.all.insert(row);
    }
    for (manager, enrollment) in &identity.enrollments {
        let system = Some(manager.to_string());
        if let Some(automation) = &enrollment.automation {
            let row = row(Kind::Automation, &automation.id, automation.created_at);
            rows.all.insert(Row {
                acs_system: system.clone(),
                ..row
            });
        }
        if let Some(user) = enrollment.user_id() {
            rows.add(Kind::HidUser, &remote(*manager, user));
        }
        for invitation in enrollment.invitations.keys() {
            rows.add(Kind::HidInvitation, &remote(*manager, invitation));
        }
        for (id, phone) in enrollment
            .phones
            .iter()
            .filter(|(_, phone)| phone.removed_at.is_none())
        {
            let row = row(Kind::Phone, id, phone.created_at);
            rows.all.insert(Row {
                acs_system: system.clone(),
                ..row
            });
            rows.add(Kind::HidContainer, &remote(*manager, &phone.container));
            for credential in phone.keys.values().flat_map(|key| key.held.keys()) {
                rows.add(Kind::HidCredential, &remote(*manager, credential));
            }
        }
    }
    for orphan in orphans::of(identity) {
        let row = row(Kind::Orphan, &orphan.id, orphan.found_at());
        rows.all.insert(Row {
            acs_system: Some(orphan.manager.to_string()),
            ..row
        });
    }
    rows.all
}

struct Rows {
    owner: IdentityId,
    created_at: Timestamp,
    all: BTreeSet<Row>,
}

impl Rows {
    fn add(&mut self, kind: Kind, id: &impl fmt::Display) {
        let row = row(kind, id, self.created_at);
        self.all.insert(row);
    }
}

fn row(kind: Kind, id: &impl fmt::Display, created_at: Timestamp) -> Row {
    Row {
        kind,
        id: id.to_string(),
        created_at,
        acs_system: None,
        acs_user: None,
        parent: None,
    }
}
