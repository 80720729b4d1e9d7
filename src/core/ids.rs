//! Every id has its own type, so that no two kinds can be mixed up; and the one unit of time.

use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

uuid_ids! {
    /// A user identity: one person in the operator's software (Seam's `user_identity_id`), or, unlisted, the home of an ACS user that has none.
    IdentityId;
    /// An enrollment automation (Seam's `enrollment_automation_id`).
    AutomationId;
    /// A phone (Seam's `device_id`): HID's credential container.
    PhoneId;
    /// A parent: a multi-phone sync credential (Seam's `acs_credential_id`).
    ParentId;
    /// A child: one phone's credential below a parent (Seam's `acs_credential_id`).
    ChildId;
    /// A person's record in one access system or credential manager (Seam's `acs_user_id`).
    AcsUserId;
    /// An access system or a credential manager (Seam's `acs_system_id`).
    AcsSystemId;
    /// Something below our people at HID that is not ours.
    OrphanId;
}

impl IdentityId {
    /// Same workspace and key, same id (contract.md G6).
    #[must_use]
    pub fn of_key(workspace: Uuid, user_identity_key: &str) -> Self {
        Self(Uuid::new_v5(&workspace, user_identity_key.as_bytes()))
    }
}

impl PhoneId {
    /// Same manager and container, same id (contract.md G6).
    #[must_use]
    pub fn of(manager: AcsSystemId, container: &ContainerId) -> Self {
        Self(Uuid::new_v5(&manager.0, container.as_str().as_bytes()))
    }
}

impl OrphanId {
    /// Same manager and credential, same id.
    #[must_use]
    pub fn of_credential(manager: AcsSystemId, id: &CredentialId) -> Self {
        Self::of(manager, "credential", id.as_str())
    }

    /// Same manager and invitation, same id.
    #[must_use]
    pub fn of_invitation(manager: AcsSystemId, id: &InvitationId) -> Self {
        Self::of(manager, "invitation", id.as_str())
    }

    fn of(manager: AcsSystemId, kind: &str, id: &str) -> Self {
        let name = format!("orphan/{kind}/{id}");
        Self(Uuid::new_v5(&manager.0, name.as_bytes()))
    }
}

impl ChildId {
    /// Same parent and phone, same id (contract.md G6).
    #[must_use]
    pub fn of(parent: ParentId, phone: PhoneId) -> Self {
        Self(Uuid::new_v5(&parent.0, phone.0.as_bytes()))
    }
}

macro_rules! hid_ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        /// What is stored is read as strictly as what comes over the wire.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                if is_hid_id(&text) {
                    Ok(Self(text))
                } else {
                    Err(D::Error::custom("no id of HID's"))
                }
            }
        }

        impl $name {
            /// Takes an id as HID spells it; `None` where it can't be one (empty, too long, unsafe in a path, or the literal `undefined` of origo-api.md 9.3).
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                is_hid_id(text).then(|| Self(text.to_owned()))
            }

            /// HID's spelling.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

hid_ids! {
    /// HID's id of a CM user. An integer on the wire, text in events (origo-api.md 3.2).
    HidUserId;
    /// HID's id of an invitation.
    InvitationId;
    /// HID's id of a credential container, that is, of a phone.
    ContainerId;
    /// HID's id of a credential, that is, of a key.
    CredentialId;
}

fn is_hid_id(text: &str) -> bool {
    let sane = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !text.is_empty()
        && text.len() <= 64
        && text.chars().all(sane)
        && text != "undefined"
        && text != "null"
}

/// HID's part number: which kind of Mobile ID is drawn (`MID-SUB-…`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartNumber(pub String);

impl fmt::Display for PartNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text about a person. Stored and sent, never shown by `Debug` (contract.md G7).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Personal(pub String);

/// The code that a phone redeems. As secret as the key it leads to (contract.md G7).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InvitationCode(pub String);

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("‹personal›")
    }
}

impl fmt::Debug for InvitationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("‹code›")
    }
}

/// The number of a call within its identity; grows by one with each claim.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallNo(pub u64);

/// Milliseconds since the epoch.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The instant `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long ago `earlier` was; zero where it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hid_id_is_safe_in_a_path() {
        for good in ["880123", "72001", "a1b2-c3_d4"] {
            assert!(HidUserId::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "undefined",
            "null",
            "1/2",
            "..",
            "1?x",
            "é",
            &"9".repeat(65),
        ] {
            assert!(HidUserId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn debug_shows_nothing_personal() {
        let shown = format!(
            "{:?} {:?}",
            Personal("Ada Okafor".into()),
            InvitationCode("AAAA-BBBB".into())
        );
        assert_eq!(shown, "‹personal› ‹code›");
    }

    #[test]
    fn time_saturates() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(
            Timestamp(i64::MAX).plus(Duration::from_secs(1)),
            Timestamp(i64::MAX)
        );
    }
}
