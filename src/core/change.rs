//! What changed: each entity of an identity that has another state than before, for journal and log.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::ids::{
    AcsSystemId, AutomationId, ChildId, IdentityId, InvitationId, OrphanId, ParentId, PartNumber,
    PhoneId, Timestamp,
};
use super::orphans;
use super::phones;
use super::policy::Policy;
use super::record;
use super::state;

/// One state change, for the journal: ids and state names only, no personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `automation/<uuid>`, `cm_user/<manager>`, `invitation/<hid id>`, `phone/<uuid>`, `key/<uuid>/<part number>`, `parent/<uuid>`, `child/<uuid>`, `record/<child's uuid>`, `orphan/<uuid>`, `request/<uuid>`, `identity/<uuid>`.
    pub entity: String,
    /// `None`: it is new.
    pub from: Option<String>,
    /// `None`: it is gone.
    pub to: Option<String>,
}

/// What has a state; shown as [`Change::entity`] says.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Entity<'a> {
    Identity(IdentityId),
    Automation(AutomationId),
    CmUser(AcsSystemId),
    Invitation(&'a InvitationId),
    Phone(PhoneId),
    Key(PhoneId, &'a PartNumber),
    Orphan(OrphanId),
    Request(IdentityId),
    Parent(ParentId),
    Child(ChildId),
    Record(ChildId),
}

impl fmt::Display for Entity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(id) => write!(f, "identity/{id}"),
            Self::Automation(id) => write!(f, "automation/{id}"),
            Self::CmUser(manager) => write!(f, "cm_user/{manager}"),
            Self::Invitation(id) => write!(f, "invitation/{id}"),
            Self::Phone(id) => write!(f, "phone/{id}"),
            Self::Key(phone, part_number) => write!(f, "key/{phone}/{part_number}"),
            Self::Orphan(id) => write!(f, "orphan/{id}"),
            Self::Request(id) => write!(f, "request/{id}"),
            Self::Parent(id) => write!(f, "parent/{id}"),
            Self::Child(id) => write!(f, "child/{id}"),
            Self::Record(id) => write!(f, "record/{id}"),
        }
    }
}

type States<'a> = BTreeMap<Entity<'a>, Cow<'static, str>>;

/// Every entity of an identity with its state's name.
fn all<'a>(policy: &Policy, identity: &'a Identity, now: Timestamp) -> States<'a> {
    let mut all = States::new();
    let state = match identity.held {
        _ if identity.deleting_since.is_some() => "deleting".into(),
        Some(hold) => format!("held: {}", hold.reason.name()).into(),
        None => "present".into(),
    };
    all.insert(Entity::Identity(identity.id), state);
    for (manager, enrollment) in &identity.enrollments {
        if let (Some(automation), Some(state)) = (
            &enrollment.automation,
            state::automation(policy, identity, *manager, now),
        ) {
            let named = match state.reason {
                Some(reason) => format!("{}: {reason}", state.name).into(),
                None => state.name.into(),
            };
            all.insert(Entity::Automation(automation.id), named);
        }
        let state = state::cm_user(&enrollment.user.state);
        all.insert(Entity::CmUser(*manager), state.into());
        for (id, invitation) in enrollment
            .invitations
            .iter()
            .filter(|(_, invitation)| invitation.ours)
        {
            let state = state::invitation_name(&invitation.status);
            all.insert(Entity::Invitation(id), state.into());
        }
        for (id, phone) in &enrollment.phones {
            let state = state::phone(phone);
            let state = if phones::is_over_limit(phone) {
                format!("{state}: over_limit").into()
            } else {
                state.into()
            };
            all.insert(Entity::Phone(*id), state);
            for (part_number, _) in phone
                .keys
                .iter()
                .filter(|(_, key)| key.used || key.is_live())
            {
                let state = state::key(identity, *manager, (*id, phone), part_number, now);
                all.insert(Entity::Key(*id, part_number), state.name().into());
            }
        }
    }
    for orphan in orphans::of(identity) {
        let state = if orphan.is_leaving() {
            "leaving"
        } else {
            "found"
        };
        all.insert(Entity::Orphan(orphan.id), state.into());
    }
    if let Some(request) = &identity.request {
        let asked = format!("{} {}", request.what, request.at.0);
        all.insert(Entity::Request(identity.id), asked.into());
    }
    for (id, parent) in &identity.parents {
        let state = if parent.deleting_since.is_some() {
            "deleting"
        } else if parent.prune_held_since.is_some() {
            "held: guard"
        } else {
            "present"
        };
        all.insert(Entity::Parent(*id), state.into());
        for phone in parent.children.keys() {
            if let (Some(state), Some(child)) = (
                state::child(identity, parent, *phone, now),
                parent.children.get(phone),
            ) {
                all.insert(Entity::Child(child.id), state.name().into());
            }
        }
    }
    for (id, parent) in identity.parents.iter().chain(&identity.released) {
        for (phone, child) in &parent.children {
            if let Some(state) = record::state(policy, identity, (*id, parent), *phone, now) {
                all.insert(Entity::Record(child.id), state.name().into());
            }
        }
    }
    all
}

/// What changed since the last change, entity by entity: by the step, or by time alone.
#[must_use]
pub fn changes(
    policy: &Policy,
    before: &Identity,
    after: Option<&Identity>,
    now: Timestamp,
) -> Vec<Change> {
    let from = all(policy, before, before.changed_at);
    let to = after
        .map(|after| all(policy, after, now))
        .unwrap_or_default();
    let name = |state: Option<&Cow<'static, str>>| state.map(ToString::to_string);
    let gone = from.iter().filter(|(entity, _)| !to.contains_key(entity));
    let gone = gone.map(|(entity, state)| (entity, Some(state), None));
    let rest = to
        .iter()
        .map(|(entity, state)| (entity, from.get(entity), Some(state)));
    let others = gone.chain(rest).filter(|(_, from, to)| from != to);
    let mut changes: Vec<Change> = others
        .map(|(entity, from, to)| Change {
            entity: entity.to_string(),
            from: name(from),
            to: name(to),
        })
        .collect();
    changes.sort_unstable_by(|one, other| one.entity.cmp(&other.entity));
    changes
}
