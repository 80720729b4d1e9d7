//! `/acs/credentials`: reading and withdrawing; [`super::issue`] makes them (seam-api.md 3.3).

use serde_json::Value;
use uuid::Uuid;

use super::problem::Problem;
use super::{Api, Call, Reply, page, show_credential};
use crate::core::identity::Identity;
use crate::core::ids::{ChildId, IdentityId, ParentId, Timestamp};
use crate::core::index::{Kind, Row};
use crate::core::wish::Wish;
use crate::store::ListQuery;

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
        visible
            .then(|| show(call, identity, id, call.now))
            .flatten()
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
