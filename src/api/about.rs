//! What an id stands for, of whatever kind: whose it is, and what of that person is meant.

use uuid::Uuid;

use super::problem::Problem;
use super::{Api, Call};
use crate::core::Lane;
use crate::core::identity::Identity;
use crate::core::ids::{IdentityId, PhoneId};
use crate::core::index::Kind;
use crate::core::wish::Target;

/// What may be asked about: by any of its ids one comes to a person.
const KINDS: [Kind; 6] = [
    Kind::Identity,
    Kind::Automation,
    Kind::Phone,
    Kind::Parent,
    Kind::Child,
    Kind::AcsUser,
];

/// What an id stands for.
pub(super) struct Subject {
    pub(super) id: Uuid,
    pub(super) kind: Kind,
    pub(super) owner: IdentityId,
}

pub(super) fn missing() -> Problem {
    Problem::missing("not_found", "object with this id")
}

/// Whose this is, and what.
pub(super) async fn find(api: &Api, id: Uuid) -> Result<Option<(Kind, IdentityId)>, Problem> {
    for kind in KINDS {
        if let Some(owner) = api.find(kind, id).await? {
            return Ok(Some((kind, owner)));
        }
    }
    Ok(None)
}

impl Subject {
    /// What the parameter `id` stands for.
    pub(super) async fn of(api: &Api, call: &Call) -> Result<Self, Problem> {
        let id = call.params.need_id("id")?;
        let (kind, owner) = find(api, id).await?.ok_or_else(missing)?;
        Ok(Self { id, kind, owner })
    }

    /// What of the person is meant.
    pub(super) fn target(&self, identity: &Identity) -> Target {
        let id = self.id;
        let mut target = Target::default();
        if self.kind == Kind::Phone {
            target.phone = Some(PhoneId(id));
            target.manager = identity.phone(PhoneId(id)).map(|(manager, _)| manager);
        }
        for (manager, enrollment) in &identity.enrollments {
            let automation = enrollment.automation.as_ref();
            if automation.is_some_and(|automation| automation.id.0 == id) {
                target.manager = Some(*manager);
            }
        }
        for (parent_id, parent) in &identity.parents {
            let child = parent.children.iter().find(|(_, child)| child.id.0 == id);
            if parent_id.0 == id || child.is_some() {
                target.manager = Some(parent.manager);
                target.part_number = Some(parent.part_number.clone());
                target.phone = child.map(|(phone, _)| *phone);
            }
        }
        target
    }
}

/// What is owed in this lane has to do with it.
pub(super) fn has_lane(target: &Target, lane: &Lane) -> bool {
    match lane {
        Lane::Key(phone, part_number) => target.has_key(*phone, part_number),
        Lane::Phone(phone) | Lane::Removal(phone) => target.has_phone(*phone),
        Lane::CmUser(_)
        | Lane::Invitation(_)
        | Lane::Read(_)
        | Lane::Wait(_)
        | Lane::Sweep(_)
        | Lane::Record(_)
        | Lane::Timer => true,
    }
}
