//! `/user_identities`: the persons (seam-api.md 3.1, 5.1).

use uuid::Uuid;

use super::problem::{Faults, Problem};
use super::{Api, Call, Reply, acs_systems, page, show, users};
use crate::core::identity::{Identity, Profile};
use crate::core::ids::{AcsSystemId, AcsUserId, IdentityId, Personal};
use crate::core::index::Kind;
use crate::core::wish::Wish;
use crate::store::ListQuery;

/// 404.
pub(super) fn missing() -> Problem {
    Problem::missing("user_identity_not_found", "user identity")
}

/// A user identity that is to be given something: there, listed, and not on its way out.
pub(super) fn present(identity: Option<&Identity>) -> Result<&Identity, Problem> {
    let identity = identity
        .filter(|identity| identity.listed)
        .ok_or_else(missing)?;
    not_leaving(identity)?;
    Ok(identity)
}

/// Nothing new is given to who is on the way out.
pub(super) fn not_leaving(identity: &Identity) -> Result<(), Problem> {
    if identity.deleting_since.is_some() {
        return Err(Problem::conflict(
            "user_identity_being_deleted",
            "this user identity is being deleted",
        ));
    }
    Ok(())
}

/// With a key the id follows from it, so that it comes back after a rebuild (contract.md G6).
pub(super) async fn create(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let params = &call.params;
    let personal = |name| params.text(name).map(|text| Personal(text.to_owned()));
    let profile = Profile {
        key: params.text("user_identity_key").map(str::to_owned),
        full_name: personal("full_name"),
        email_address: personal("email_address"),
        phone_number: personal("phone_number"),
    };
    let id = match &profile.key {
        Some(key) => IdentityId::of_key(call.systems().workspace(), key),
        None => IdentityId(Uuid::new_v4()),
    };
    let mut wishes = vec![Wish::Identity(profile.clone())];
    let mut systems: Vec<Uuid> = params.ids("acs_system_ids").unwrap_or_default().to_vec();
    systems.sort_unstable();
    systems.dedup();
    for system in systems.into_iter().map(AcsSystemId) {
        acs_systems::known(call, system)?;
        let person = (
            profile.email_address.as_ref(),
            profile.phone_number.as_ref(),
        );
        users::refuse_unlinked(api, system, person).await?;
        wishes.push(users::wish_of(&profile, AcsUserId(Uuid::new_v4()), system));
    }
    let decide = |known: Option<&Identity>| match known {
        None => Ok(wishes.clone()),
        Some(_) => Err(Problem::conflict(
            "user_identity_key_conflict",
            "another user identity has this user_identity_key",
        )),
    };
    let identity = api.wish(id, call, decide).await?;
    let identity = identity.ok_or_else(|| Problem::ours("a new identity was gone at once"))?;
    Ok(Reply::one(show::user_identity(&call.settings, &identity)))
}

pub(super) async fn get(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let params = &call.params;
    let identity = match (
        params.id("user_identity_id"),
        params.text("user_identity_key"),
    ) {
        (Some(id), None) => api.load(IdentityId(id)).await?,
        (None, Some(key)) => api.owner(Kind::IdentityKey, key).await?,
        (Some(_), Some(_)) | (None, None) => {
            let mut faults = Faults::default();
            faults.add_form("Exactly one of user_identity_id and user_identity_key is required");
            return Err(faults.into_problem());
        }
    };
    let identity = identity
        .filter(|identity| identity.listed)
        .ok_or_else(missing)?;
    Ok(Reply::one(show::user_identity(&call.settings, &identity)))
}

pub(super) async fn list(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let params = &call.params;
    let ids = params.ids("user_identity_ids");
    let enrolled_with = params
        .id("credential_manager_acs_system_id")
        .map(AcsSystemId);
    let query = ListQuery {
        kinds: vec![Kind::Identity],
        ids: ids.map(|ids| ids.iter().map(ToString::to_string).collect()),
        created_before: params.instant("created_before"),
        ..ListQuery::default()
    };
    page::page(api, call, query, |_, identity| {
        let shown = enrolled_with.is_none_or(|manager| {
            let enrollment = identity.enrollments.get(&manager);
            enrollment.is_some_and(crate::core::Enrollment::is_running)
        });
        shown.then(|| show::user_identity(&call.settings, identity))
    })
    .await
}

/// Withdraws everything; the identity stays, with a warning, until nothing of it is left at HID.
pub(super) async fn delete(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let id = IdentityId(call.params.need_id("user_identity_id")?);
    let decide = |identity: Option<&Identity>| {
        let identity = identity
            .filter(|identity| identity.listed)
            .ok_or_else(missing)?;
        let first = identity.deleting_since.is_none();
        Ok(first.then_some(Wish::DeleteIdentity).into_iter().collect())
    };
    api.wish(id, call, decide).await?;
    Ok(Reply::void())
}
