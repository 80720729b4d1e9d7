//! `/user_identities`: the persons (seam-api.md 3.1, 5.1).

use uuid::Uuid;

use super::params::Params;
use super::problem::{Faults, Problem};
use super::{Api, Call, Reply, acs_systems, link, page, show, users};
use crate::core::identity::{Identity, Profile};
use crate::core::ids::{AcsSystemId, AcsUserId, IdentityId, Personal};
use crate::core::index::Kind;
use crate::core::wish::Wish;
use crate::store::ListQuery;

/// What `search` looks at.
const SEARCHED: &[&str] = &[
    "full_name",
    "email_address",
    "phone_number",
    "user_identity_key",
];

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
    let id = new_id(api, call, profile.key.as_deref()).await?;
    let mut systems: Vec<Uuid> = params.ids("acs_system_ids").unwrap_or_default().to_vec();
    systems.sort_unstable();
    systems.dedup();
    let mut homes = Vec::new();
    for system in systems.into_iter().map(AcsSystemId) {
        acs_systems::known(call, system)?;
        let home = link::home_of_twin(api, &profile, system).await?;
        let once = home.filter(|home| homes.iter().all(|(_, known)| *known != Some(*home)));
        homes.push((system, once));
    }
    // What is released first can be taken in after.
    let mut ids: Vec<IdentityId> = homes.iter().filter_map(|(_, home)| *home).collect();
    ids.push(id);
    let decide = |known: &[Option<&Identity>]| {
        let there = known.last().copied().flatten();
        if there.is_some_and(|identity| identity.listed) {
            return Err(Problem::conflict(
                "user_identity_key_conflict",
                "another user identity has this user_identity_key",
            ));
        }
        let mut person = there
            .cloned()
            .unwrap_or_else(|| Identity::new(id, call.now));
        person.listed = true;
        person.profile = profile.clone();
        let mut released: Vec<Vec<Wish>> = Vec::new();
        let mut wishes = vec![Wish::Identity(profile.clone())];
        let mut loaded = known.iter();
        for (system, home) in &homes {
            let at_home = home.and_then(|_| loaded.next().copied().flatten());
            let found = at_home.zip(link::twin(at_home, &profile, *system));
            if home.is_some() {
                let release = found.map(|(_, (id, _))| Wish::ReleaseAcsUser(id));
                released.push(release.into_iter().collect());
            }
            match found {
                Some((home, twin)) => wishes.extend(link::taking_in(&person, home, twin)),
                None => {
                    let user = AcsUserId(Uuid::new_v4());
                    wishes.push(users::wish_of(&profile, user, *system));
                }
            }
        }
        released.push(wishes);
        Ok(released)
    };
    let identity = api.wish_all(&ids, call, decide).await?.pop().flatten();
    let identity = identity.ok_or_else(|| Problem::ours("a new identity was gone at once"))?;
    Ok(Reply::one(show::user_identity(&call.settings, &identity)))
}

/// The key's own id, unless an identity has it that has another key by now.
pub(super) async fn new_id(
    api: &Api,
    call: &Call,
    key: Option<&str>,
) -> Result<IdentityId, Problem> {
    let Some(key) = key else {
        return Ok(IdentityId(Uuid::new_v4()));
    };
    let id = IdentityId::of_key(call.systems().workspace(), key);
    let known = api.load(id).await?;
    // One that was only adopted has no key yet.
    let renamed =
        known.is_some_and(|known| known.listed && known.profile.key.as_deref() != Some(key));
    Ok(if renamed {
        IdentityId(Uuid::new_v4())
    } else {
        id
    })
}

/// Null unsets, absent leaves.
pub(super) fn changed(params: &Params, name: &str, known: Option<&Personal>) -> Option<Personal> {
    if params.is_null(name) {
        return None;
    }
    let given = params.text(name).map(|text| Personal(text.to_owned()));
    given.or_else(|| known.cloned())
}

/// HID's user follows by itself where it is there.
pub(super) async fn update(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let params = &call.params;
    let id = IdentityId(params.need_id("user_identity_id")?);
    let decide = |identity: Option<&Identity>| {
        let known = &present(identity)?.profile;
        let key = params.text("user_identity_key").map(str::to_owned);
        let profile = Profile {
            key: if params.is_null("user_identity_key") {
                None
            } else {
                key.or_else(|| known.key.clone())
            },
            full_name: changed(params, "full_name", known.full_name.as_ref()),
            email_address: changed(params, "email_address", known.email_address.as_ref()),
            phone_number: changed(params, "phone_number", known.phone_number.as_ref()),
        };
        let differs = profile != *known;
        Ok(differs
            .then_some(Wish::Identity(profile))
            .into_iter()
            .collect())
    };
    api.wish(id, call, decide).await?;
    Ok(Reply::void())
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
        let shown = shown.then(|| show::user_identity(&call.settings, identity))?;
        page::finds(call, &shown, SEARCHED).then_some(shown)
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
