//! `/acs/credentials`: reading and withdrawing; [`super::issue`] makes them (seam-api.md 3.3).

use serde_json::Value;
use uuid::Uuid;

use super::problem::Problem;
use super::{Api, Call, Reply, identities, issue, link, page, show_credential, users};
use crate::core::identity::{Identity, Parent};
use crate::core::ids::{AcsUserId, AutomationId, ChildId, IdentityId, ParentId, Timestamp};
use crate::core::index::{Kind, Row};
use crate::core::wish::Wish;
use crate::store::ListQuery;

/// What `search` looks at (seam-api.md 3.3).
const SEARCHED: &[&str] = &[
    "display_name",
    "code",
    "card_number",
    "acs_user_id",
    "acs_credential_id",
];

fn missing() -> Problem {
    Problem::missing("acs_credential_not_found", "credential")
}

/// A parent or child of an identity; `None` where nobody should see it.
fn show(call: &Call, identity: &Identity, id: Uuid, now: Timestamp) -> Option<Value> {
    show_credential::parent(&call.settings, identity, ParentId(id), now).or_else(|| {
        let (parent, phone, child) = identity.child(ChildId(id))?;
        if child.deleting_since.is_some() {
            return None;
        }
        show_credential::child(&call.settings, identity, (parent, phone), now)
    })
}

/// The identity that has a parent or child of this id.
async fn owner(api: &Api, id: Uuid) -> Result<Option<IdentityId>, Problem> {
    match api.find(Kind::Parent, id).await? {
        Some(owner) => Ok(Some(owner)),
        None => api.find(Kind::Child, id).await,
    }
}

pub(super) async fn get(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let id = call.params.need_id("acs_credential_id")?;
    let owner = owner(api, id).await?.ok_or_else(missing)?;
    let identity = api.load(owner).await?.ok_or_else(missing)?;
    let shown = show(call, &identity, id, call.now).ok_or_else(missing)?;
    Ok(Reply::one(shown))
}

pub(super) async fn list(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let params = &call.params;
    let kinds = match params.flag("is_multi_phone_sync_credential") {
        Some(true) => vec![Kind::Parent],
        Some(false) => vec![Kind::Child],
        None => vec![Kind::Parent, Kind::Child],
    };
    let query = ListQuery {
        kinds,
        identity: params.id("user_identity_id").map(IdentityId),
        acs_system: params.id("acs_system_id").map(|id| id.to_string()),
        acs_user: params.id("acs_user_id").map(|id| id.to_string()),
        created_before: params.instant("created_before"),
        ..ListQuery::default()
    };
    let of_identity = query.identity.is_some();
    page::page(api, call, query, |row: &Row, identity: &Identity| {
        let id = row.id.parse().ok()?;
        let visible = identity.listed || !of_identity;
        let shown = visible
            .then(|| show(call, identity, id, call.now))
            .flatten()?;
        page::finds(call, &shown, SEARCHED).then_some(shown)
    })
    .await
}

/// Withdraws a parent with all its children, or one child. Again is fine, until it is gone.
pub(super) async fn delete(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let id = call.params.need_id("acs_credential_id")?;
    let owner = owner(api, id).await?.ok_or_else(missing)?;
    let decide = |identity: Option<&Identity>| {
        let identity = identity.ok_or_else(missing)?;
        if let Some(parent) = identity.parents.get(&ParentId(id)) {
            let wish = Wish::DeleteParent(ParentId(id));
            return Ok(parent
                .deleting_since
                .is_none()
                .then_some(wish)
                .into_iter()
                .collect());
        }
        let (_, _, child) = identity.child(ChildId(id)).ok_or_else(missing)?;
        let wish = Wish::DeleteChild(ChildId(id));
        Ok(child
            .deleting_since
            .is_none()
            .then_some(wish)
            .into_iter()
            .collect())
    };
    api.wish(owner, call, decide).await?;
    Ok(Reply::void())
}

/// Moves a parent's end, or takes it away. Nothing else of a mobile key can be changed.
pub(super) async fn update(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let params = &call.params;
    let id = params.need_id("acs_credential_id")?;
    if params.has("code") {
        return Err(Problem::param("code", "Mobile keys have no code"));
    }
    let owner = owner(api, id).await?.ok_or_else(missing)?;
    if params.instant("ends_at").is_some_and(|at| at <= call.now) {
        return Err(Problem::param("ends_at", "Must be in the future"));
    }
    let decide = |identity: Option<&Identity>| {
        let (identity, parent) = parent(identity, id)?;
        let wanted = Parent {
            starts_at: params.instant_or("starts_at", parent.starts_at),
            ends_at: params.instant_or("ends_at", parent.ends_at),
            ..parent.clone()
        };
        if wanted == *parent {
            return Ok(Vec::new());
        }
        let dates = wanted.starts_at.zip(wanted.ends_at);
        if dates.is_some_and(|(from, to)| to <= from) {
            return Err(Problem::param("ends_at", "Must be after starts_at"));
        }
        issue::refuse_conflict(identity, Some(ParentId(id)), &wanted, call.now)?;
        Ok(vec![Wish::SetDates {
            id: ParentId(id),
            starts_at: wanted.starts_at,
            ends_at: wanted.ends_at,
        }])
    };
    let identity = api.wish(owner, call, decide).await?;
    reply(call, identity.as_ref(), id)
}

fn reply(call: &Call, identity: Option<&Identity>, id: Uuid) -> Result<Reply, Problem> {
    let shown = identity.and_then(|identity| show(call, identity, id, call.now));
    Ok(Reply::one(shown.ok_or_else(missing)?))
}

/// A parent that can still be changed; its children can't, but follow it.
fn parent(identity: Option<&Identity>, id: Uuid) -> Result<(&Identity, &Parent), Problem> {
    let identity = identity.ok_or_else(missing)?;
    let Some(parent) = identity.parents.get(&ParentId(id)) else {
        identity.child(ChildId(id)).ok_or_else(missing)?;
        return Err(Problem::bad(
            "acs_credential_is_child",
            "this credential follows its parent_acs_credential_id; change that",
        ));
    };
    if parent.deleting_since.is_some() {
        return Err(Problem::conflict(
            "acs_credential_being_deleted",
            "this credential is being deleted",
        ));
    }
    Ok((identity, parent))
}

/// Takes a parent from its ACS user: no phone holds it until it is assigned again.
pub(super) async fn unassign(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let id = call.params.need_id("acs_credential_id")?;
    let (_, user) = whom(api, call, id).await?;
    let owner = owner(api, id).await?.ok_or_else(missing)?;
    let decide = |identity: Option<&Identity>| {
        let (_, parent) = parent(identity, id)?;
        if parent.unassigned || parent.acs_user != user {
            return Err(Problem::bad(
                "acs_credential_not_assigned",
                "this credential is not assigned to this ACS user",
            ));
        }
        Ok(vec![Wish::Assign(ParentId(id), None)])
    };
    let identity = api.wish(owner, call, decide).await?;
    reply(call, identity.as_ref(), id)
}

/// Gives a parent to an ACS user of its own system.
pub(super) async fn assign(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let id = call.params.need_id("acs_credential_id")?;
    let (to, user) = whom(api, call, id).await?;
    let from = owner(api, id).await?.ok_or_else(missing)?;
    let decide = |known: &[Option<&Identity>]| {
        let at = |n: usize| known.get(n).copied().flatten();
        let (_, parent) = parent(at(0), id)?;
        let target = at(known.len() - 1).ok_or_else(users::missing)?;
        let holder = target.acs_users.get(&user).ok_or_else(users::missing)?;
        if holder.acs_system != parent.acs_system {
            return Err(Problem::param("acs_user_id", "Belongs to another system"));
        }
        if from == to {
            let same = parent.acs_user == user && !parent.unassigned;
            let wish = (!same).then_some(Wish::Assign(ParentId(id), Some(user)));
            return Ok(vec![wish.into_iter().collect()]);
        }
        let taken = Parent {
            acs_user: user,
            unassigned: false,
            ..parent.clone()
        };
        issue::refuse_conflict(target, None, &taken, call.now)?;
        let launch = Wish::Launch {
            id: AutomationId(Uuid::new_v4()),
            manager: parent.manager,
            part_number: None,
        };
        let take_in = Wish::TakeIn {
            users: Vec::new(),
            parents: vec![(ParentId(id), taken)],
        };
        Ok(vec![
            vec![Wish::ReleaseParent(ParentId(id))],
            vec![take_in, launch],
        ])
    };
    let ids = if from == to { vec![to] } else { vec![from, to] };
    let identity = api.wish_all(&ids, call, decide).await?.pop().flatten();
    reply(call, identity.as_ref(), id)
}

/// The ACS user that a credential is given to or taken from, and whose it is.
async fn whom(api: &Api, call: &Call, id: Uuid) -> Result<(IdentityId, AcsUserId), Problem> {
    let params = &call.params;
    if let Some(user) = params.id("acs_user_id") {
        let owner = api.find(Kind::AcsUser, user).await?;
        return Ok((owner.ok_or_else(users::missing)?, AcsUserId(user)));
    }
    let Some(person) = params.id("user_identity_id") else {
        return Err(Problem::input(
            "acs_user_id or user_identity_id is required",
        ));
    };
    let holder = owner(api, id).await?.ok_or_else(missing)?;
    let holder = api.load(holder).await?;
    let (_, parent) = parent(holder.as_ref(), id)?;
    let system = parent.acs_system;
    let person = api.load(IdentityId(person)).await?;
    let person = identities::present(person.as_ref())?;
    link::adopt_twin(api, call, person, system).await?;
    let person = api.load(person.id).await?.ok_or_else(identities::missing)?;
    let (user, _) = person.acs_user_in(system).ok_or_else(users::missing)?;
    Ok((person.id, user))
}

/// Which doors open is the access system's business; we know of none.
pub(super) async fn list_accessible_entrances(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let id = call.params.need_id("acs_credential_id")?;
    owner(api, id).await?.ok_or_else(missing)?;
    Ok(Reply::list(Vec::new()))
}
