//! `/phones`: HID's credential containers as Seam's phones (seam-api.md 3.7).

use std::collections::BTreeSet;

use super::problem::Problem;
use super::{Api, Call, Reply, page, show};
use crate::core::identity::{Identity, Phone};
use crate::core::ids::{ChildId, IdentityId, ParentId, PhoneId};
use crate::core::index::Kind;
use crate::core::state;
use crate::core::wish::Wish;
use crate::store::ListQuery;

fn missing() -> Problem {
    Problem::missing("device_not_found", "phone")
}

/// A deactivated phone is out of sight at once (seam-api.md 10, row 13).
pub(super) fn is_shown(phone: &Phone) -> bool {
    phone.removed_at.is_none() && phone.removal.is_none()
}

/// The phone goes with all that it holds, and is never enrolled again by itself.
pub(super) async fn deactivate(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let id = PhoneId(call.params.need_id("device_id")?);
    let owner = api.find(Kind::Phone, id).await?.ok_or_else(missing)?;
    let decide = |identity: Option<&Identity>| {
        let phone = identity.and_then(|identity| identity.phone(id));
        phone
            .filter(|(_, phone)| is_shown(phone))
            .ok_or_else(missing)?;
        Ok(vec![Wish::DeactivatePhone(id)])
    };
    api.wish(owner, call, decide).await?;
    Ok(Reply::void())
}

pub(super) async fn get(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let id = PhoneId(call.params.need_id("device_id")?);
    let identity = api.owner(Kind::Phone, id).await?.ok_or_else(missing)?;
    let (_, phone) = identity
        .phone(id)
        .filter(|(_, phone)| is_shown(phone))
        .ok_or_else(missing)?;
    Ok(Reply::one(show::phone(&call.settings, id, phone)))
}

pub(super) async fn list(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let holders = match call.params.id("acs_credential_id") {
        Some(id) => Some(holders(api, call, id).await?),
        None => None,
    };
    let ids = holders.map(|phones| phones.iter().map(ToString::to_string).collect());
    let owner = call.params.id("owner_user_identity_id").map(IdentityId);
    let query = ListQuery {
        kinds: vec![Kind::Phone],
        ids,
        identity: owner,
        ..ListQuery::default()
    };
    page::all(api, query, |row, identity| {
        let id = PhoneId(row.id.parse().ok()?);
        let (_, phone) = identity.phone(id).filter(|(_, phone)| is_shown(phone))?;
        Some(show::phone(&call.settings, id, phone))
    })
    .await
}

/// A child's phone, or all phones that hold a child of a parent; none for an unknown credential.
async fn holders(api: &Api, call: &Call, id: uuid::Uuid) -> Result<BTreeSet<PhoneId>, Problem> {
    if let Some(identity) = api.owner(Kind::Parent, id).await? {
        let holders = identity.parents.get(&ParentId(id)).map(|parent| {
            let phones = parent.children.keys().copied();
            phones.filter(|phone| state::child(&identity, parent, *phone, call.now).is_some())
        });
        return Ok(holders.into_iter().flatten().collect());
    }
    let identity = api.owner(Kind::Child, id).await?;
    let phone = identity.and_then(|identity| {
        let (parent, phone, _) = identity.child(ChildId(id))?;
        state::child(&identity, identity.parents.get(&parent)?, phone, call.now)?;
        Some(phone)
    });
    Ok(phone.into_iter().collect())
}
