//! What the outside is told: Seam's events (seam-api.md 6.1), from an identity as it was and as it is.
//!
//! Promises: ids only, no personal data; the same pair of identities always tells the same, in the
//! same order; what does not change tells nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::identity::{Child, Identity, Key, Parent, Phone};
use super::ids::{
    AcsSystemId, AcsUserId, AutomationId, ChildId, IdentityId, PartNumber, PhoneId, Timestamp,
};
use super::observation::Rejection;

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)+) => {
        /// The event types that exist here; Seam's names, and no others.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum EventType {
            $($(#[$doc])* $variant,)+
        }

        impl EventType {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Seam's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

event_types! {
    /// A child's key is on its phone for the first time; a parent has its first such child.
    CredentialIssued = "acs_credential.issued";
    /// A child has another key than before.
    CredentialReissued = "acs_credential.reissued";
    /// A child's key was revoked by somebody else.
    CredentialInvalidated = "acs_credential.invalidated";
    /// A child or a parent is gone.
    CredentialDeleted = "acs_credential.deleted";
    /// A person has a record in a system.
    AcsUserCreated = "acs_user.created";
    /// And has it no more.
    AcsUserDeleted = "acs_user.deleted";
    /// Known, never told: systems are configured.
    AcsSystemConnected = "acs_system.connected";
    /// Known, never told.
    AcsSystemAdded = "acs_system.added";
    /// Known, never told.
    AcsSystemDisconnected = "acs_system.disconnected";
    /// A phone is gone.
    PhoneDeactivated = "phone.deactivated";
    /// An automation is gone.
    AutomationDeleted = "enrollment_automation.deleted";
    /// A client session is gone.
    ClientSessionDeleted = "client_session.deleted";
}

impl EventType {
    /// By Seam's name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }
}

/// One thing to tell, with all ids by which it may be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// What happened.
    pub event_type: EventType,
    /// When.
    pub occurred_at: Timestamp,
    /// A parent's or a child's id.
    pub acs_credential: Option<Uuid>,
    /// Whose it is.
    pub acs_user: Option<AcsUserId>,
    /// Where.
    pub acs_system: Option<AcsSystemId>,
    /// The listed identity behind it.
    pub user_identity: Option<IdentityId>,
    /// The phone.
    pub device: Option<PhoneId>,
    /// The automation.
    pub enrollment_automation: Option<AutomationId>,
    /// The client session.
    pub client_session: Option<Uuid>,
}

impl Announcement {
    /// Something that happened to a listed identity, or to nobody in particular.
    #[must_use]
    pub fn new(
        event_type: EventType,
        user_identity: Option<IdentityId>,
        occurred_at: Timestamp,
    ) -> Self {
        Self {
            event_type,
            occurred_at,
            acs_credential: None,
            acs_user: None,
            acs_system: None,
            user_identity,
            device: None,
            enrollment_automation: None,
            client_session: None,
        }
    }

    /// A client session is gone.
    #[must_use]
    pub fn client_session_deleted(
        session: Uuid,
        user_identity: Option<IdentityId>,
        now: Timestamp,
    ) -> Self {
        Self {
            client_session: Some(session),
            ..Self::new(EventType::ClientSessionDeleted, user_identity, now)
        }
    }
}

/// All that is to be told of the way from `before` to `after`; `None` on either side: there was, or is, none.
#[must_use]
pub fn announcements(
    before: Option<&Identity>,
    after: Option<&Identity>,
    now: Timestamp,
) -> Vec<Announcement> {
    let mut teller = Teller {
        before,
        after,
        now,
        told: Vec::new(),
    };
    teller.new_acs_users();
    teller.keys();
    teller.gone_credentials();
    teller.gone_acs_users();
    teller.gone_phones();
    teller.gone_automations();
    teller.told
}

/// A child where it stands.
struct Share<'a> {
    parent: &'a Parent,
    phone: PhoneId,
    child: &'a Child,
}

struct Teller<'a> {
    before: Option<&'a Identity>,
    after: Option<&'a Identity>,
    now: Timestamp,
    told: Vec<Announcement>,
}

impl<'a> Teller<'a> {
    fn announcement(&self, event_type: EventType) -> Announcement {
        // Once it is deleted it is told of as what it was.
        let listed = self.before.filter(|identity| identity.listed);
        let listed = listed.or(self.after.filter(|identity| identity.listed));
        Announcement::new(event_type, listed.map(|identity| identity.id), self.now)
    }

    fn credential(&mut self, event_type: EventType, id: Uuid, parent: &Parent) {
        let announcement = Announcement {
            acs_credential: Some(id),
            acs_user: Some(parent.acs_user),
            acs_system: Some(parent.acs_system),
            ..self.announcement(event_type)
        };
        self.told.push(announcement);
    }

    fn new_acs_users(&mut self) {
        for (id, user) in self.after.into_iter().flat_map(|after| &after.acs_users) {
            if self
                .before
                .is_none_or(|before| !before.acs_users.contains_key(id))
            {
                let announcement = Announcement {
                    acs_user: Some(*id),
                    acs_system: Some(user.acs_system),
                    ..self.announcement(EventType::AcsUserCreated)
                };
                self.told.push(announcement);
            }
        }
    }

    fn gone_acs_users(&mut self) {
        for (id, user) in self.before.into_iter().flat_map(|before| &before.acs_users) {
            if self
                .after
                .is_none_or(|after| !after.acs_users.contains_key(id))
            {
                let announcement = Announcement {
                    acs_user: Some(*id),
                    acs_system: Some(user.acs_system),
                    ..self.announcement(EventType::AcsUserDeleted)
                };
                self.told.push(announcement);
            }
        }
    }

    /// Keys that came onto phones, and keys that somebody else took away.
    fn keys(&mut self) {
        let Some(after) = self.after else { return };
        let before = self.before.map(shares).unwrap_or_default();
        for (id, share) in shares(after) {
            let was = before.get(&id).map(|share| share.child);
            let child = share.child;
            let is_new = was.is_none_or(|was| was.issued_at.is_none());
            if child.issued_at.is_some() && is_new {
                self.credential(EventType::CredentialIssued, id.0, share.parent);
            } else if let (Some(is), Some(was)) =
                (&child.issued_as, was.and_then(|was| was.issued_as.as_ref()))
                && is != was
            {
                self.credential(EventType::CredentialReissued, id.0, share.parent);
            }
            let stays = child.deleting_since.is_none() && share.parent.deleting_since.is_none();
            let (phone, part_number) = (share.phone, &share.parent.part_number);
            if stays
                && was.is_some()
                && is_revoked_elsewhere(after, phone, part_number)
                && self
                    .before
                    .is_some_and(|before| !is_revoked_elsewhere(before, phone, part_number))
            {
                self.credential(EventType::CredentialInvalidated, id.0, share.parent);
            }
        }
        for (id, parent) in &after.parents {
            let was = self.before.and_then(|before| before.parents.get(id));
            if has_issued(parent) && !was.is_some_and(has_issued) {
                self.credential(EventType::CredentialIssued, id.0, parent);
            }
        }
    }

    fn gone_credentials(&mut self) {
        let Some(before) = self.before else { return };
        let after = self.after.map(shares).unwrap_or_default();
        for (id, share) in shares(before) {
            if !after.contains_key(&id) {
                self.credential(EventType::CredentialDeleted, id.0, share.parent);
            }
        }
        for (id, parent) in &before.parents {
            if self
                .after
                .is_none_or(|after| !after.parents.contains_key(id))
            {
                self.credential(EventType::CredentialDeleted, id.0, parent);
            }
        }
    }

    fn gone_phones(&mut self) {
        let is_there = |phone: &&'a Phone| phone.removed_at.is_none();
        let before = self.before.into_iter();
        for (id, _) in before
            .flat_map(|before| before.enrollments.values())
            .flat_map(|enrollment| &enrollment.phones)
            .filter(|(_, phone)| is_there(phone))
        {
            let now = self.after.and_then(|after| after.phone(*id));
            if now.is_none_or(|(_, phone)| phone.removed_at.is_some()) {
                let announcement = Announcement {
                    device: Some(*id),
                    ..self.announcement(EventType::PhoneDeactivated)
                };
                self.told.push(announcement);
            }
        }
    }

    fn gone_automations(&mut self) {
        let before = self.before.into_iter();
        for automation in before
            .flat_map(|before| before.enrollments.values())
            .filter_map(|enrollment| enrollment.automation.as_ref())
        {
            if self
                .after
                .is_none_or(|after| after.automation(automation.id).is_none())
            {
                let announcement = Announcement {
                    enrollment_automation: Some(automation.id),
                    ..self.announcement(EventType::AutomationDeleted)
                };
                self.told.push(announcement);
            }
        }
    }
}

/// Every child that is not gone.
fn shares(identity: &Identity) -> BTreeMap<ChildId, Share<'_>> {
    let children = identity.parents.values().flat_map(|parent| {
        let children = parent.children.iter();
        children.map(move |(phone, child)| (parent, *phone, child))
    });
    children
        .filter(|(_, _, child)| child.gone_at.is_none())
        .map(|(parent, phone, child)| {
            let share = Share {
                parent,
                phone,
                child,
            };
            (child.id, share)
        })
        .collect()
}

fn has_issued(parent: &Parent) -> bool {
    let mut children = parent.children.values();
    children.any(|child| child.gone_at.is_none() && child.issued_at.is_some())
}

fn is_revoked_elsewhere(identity: &Identity, phone: PhoneId, part_number: &PartNumber) -> bool {
    let key: Option<&Key> = identity
        .phone(phone)
        .and_then(|(_, phone)| phone.keys.get(part_number));
    key.is_some_and(|key| key.failed == Some(Rejection::RevokedElsewhere))
}
