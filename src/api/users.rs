//! `/acs/users`: a person's record in one system (seam-api.md 3.4).

use uuid::Uuid;

use super::problem::{Faults, Problem};
use super::{Api, Call, REPEATS_WITHIN, Reply, acs_systems, identities, link, page, show};
use crate::core::identity::{Identity, Profile};
use crate::core::ids::{AcsSystemId, AcsUserId, IdentityId, Personal, Timestamp};
use crate::core::index::{self, Kind};
use crate::core::wish::Wish;
use crate::store::ListQuery;

/// What `search` looks at.
const SEARCHED: &[&str] = &["full_name", "email_address", "phone_number", "acs_user_id"];

/// 404.
pub(super) fn missing() -> Problem {
    Problem::missing("acs_user_not_found", "ACS user")
}

/// The wish for an ACS user made of a user identity.
pub(super) fn wish_of(profile: &Profile, id: AcsUserId, system: AcsSystemId) -> Wish {
    Wish::AcsUser {
        id,
        acs_system: system,
        full_name: profile.full_name.clone(),
        email_address: profile.email_address.clone(),
        phone_number: profile.phone_number.clone(),
    }
}

/// The wish for a person's record at a credential manager, where there is none yet.
pub(super) fn wish_of_cm_user(
    identity: &Identity,
    id: AcsUserId,
    system: AcsSystemId,
) -> Option<Wish> {
    let is_new = identity.listed && identity.acs_user_in(system).is_none();
    is_new.then(|| wish_of(&identity.profile, id, system))
}

/// 409: a person has one record a system.
pub(super) fn second() -> Problem {
    Problem::conflict(
        "acs_user_already_exists",
        "this user identity already has an ACS user in this system",
    )
}

/// A second record of one person would be worse than a clear word.
async fn refuse_unlinked(
    api: &Api,
    system: AcsSystemId,
    (email, phone): (Option<&Personal>, Option<&Personal>),
) -> Result<(), Problem> {
    for text in [email, phone].into_iter().flatten() {
        let id = index::in_system(system, &text.0);
        if api.find(Kind::UnlinkedAcsUser, id).await?.is_some() {
            return Err(Problem::bad(
                "acs_user_not_linked",
                "this system already has an ACS user with the same email_address or phone_number, \
                 and without a user identity; link it with /user_identities/add_acs_user",
            ));
        }
    }
    Ok(())
}

/// The ACS user that this very request made before, its answer lost on the way.
fn repeated(
    home: Option<&Identity>,
    person: &Profile,
    system: AcsSystemId,
    now: Timestamp,
) -> Option<AcsUserId> {
    let (id, user) = link::twin(home, person, system)?;
    let same = (&user.full_name, &user.email_address, &user.phone_number)
        == (
            &person.full_name,
            &person.email_address,
            &person.phone_number,
        );
    (same && now.since(user.created_at) < REPEATS_WITHIN).then_some(id)
}

pub(super) async fn create(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let params = &call.params;
    let personal = |name| params.text(name).map(|text| Personal(text.to_owned()));
    let system = AcsSystemId(params.need_id("acs_system_id")?);
    acs_systems::known(call, system)?;
    let email = personal("email_address").or_else(|| personal("email"));
    let phone = personal("phone_number");
    let owner = params.id("user_identity_id").map(IdentityId);
    let person = Profile {
        key: None,
        full_name: personal("full_name"),
        email_address: email,
        phone_number: phone,
    };
    if owner.is_some() {
        let found_by = (person.email_address.as_ref(), person.phone_number.as_ref());
        refuse_unlinked(api, system, found_by).await?;
    } else if let Some(home) = link::home_of_twin(api, &person, system).await? {
        let home = api.load(home).await?;
        if let Some(id) = repeated(home.as_ref(), &person, system, call.now) {
            return reply(call, home.as_ref(), id);
        }
    }
    let id = AcsUserId(Uuid::new_v4());
    let wish = wish_of(&person, id, system);
    let decide = |identity: Option<&Identity>| {
        if owner.is_some() && identities::present(identity)?.acs_user_in(system).is_some() {
            return Err(second());
        }
        Ok(vec![wish.clone()])
    };
    let home = owner.unwrap_or_else(|| IdentityId(Uuid::new_v4()));
    let identity = api.wish(home, call, decide).await?;
    reply(call, identity.as_ref(), id)
}

pub(super) async fn get(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let (owner, id) = named(api, call).await?;
    reply(call, api.load(owner).await?.as_ref(), id)
}

/// The ACS user that a request names in one of the two ways, and whose it is.
pub(super) async fn named(api: &Api, call: &Call) -> Result<(IdentityId, AcsUserId), Problem> {
    let params = &call.params;
    let pair = params
        .id("user_identity_id")
        .zip(params.id("acs_system_id"));
    match (params.id("acs_user_id"), pair) {
        (Some(id), _) => {
            let owner = api.find(Kind::AcsUser, id).await?;
            Ok((owner.ok_or_else(missing)?, AcsUserId(id)))
        }
        (None, Some((owner, system))) => {
            let identity = api.load(IdentityId(owner)).await?;
            let identity = identity
                .filter(|identity| identity.listed)
                .ok_or_else(identities::missing)?;
            let (id, _) = identity
                .acs_user_in(AcsSystemId(system))
                .ok_or_else(missing)?;
            Ok((identity.id, id))
        }
        (None, None) => {
            let mut faults = Faults::default();
            faults.add_form("acs_user_id, or user_identity_id and acs_system_id, is required");
            Err(faults.into_problem())
        }
    }
}

fn reply(call: &Call, identity: Option<&Identity>, id: AcsUserId) -> Result<Reply, Problem> {
    let identity = identity.ok_or_else(missing)?;
    let user = identity.acs_users.get(&id).ok_or_else(missing)?;
    Ok(Reply::one(show::acs_user(
        &call.settings,
        identity,
        id,
        user,
    )))
}

pub(super) async fn list(api: &Api, call: &Call) -> Result<Reply, Problem> {
    const EMAIL: &str = "user_identity_email_address";
    const PHONE: &str = "user_identity_phone_number";
    let params = &call.params;
    let query = ListQuery {
        kinds: vec![Kind::AcsUser],
        identity: params.id("user_identity_id").map(IdentityId),
        acs_system: params.id("acs_system_id").map(|id| id.to_string()),
        created_before: params.instant("created_before"),
        ..ListQuery::default()
    };
    let of_identity = params.has("user_identity_id") || params.has(EMAIL) || params.has(PHONE);
    page::page(api, call, query, |row, identity| {
        // Null asks for those without one, which is not the same as not asking (seam-api.md 3.4).
        let fits = |name, known: Option<&Personal>| {
            let known = known.filter(|_| identity.listed);
            match params.text(name) {
                Some(asked) => known.is_some_and(|known| known.0 == asked),
                None => !params.is_null(name) || known.is_none(),
            }
        };
        let shown = (identity.listed || !of_identity)
            && fits(EMAIL, identity.profile.email_address.as_ref())
            && fits(PHONE, identity.profile.phone_number.as_ref());
        let id = AcsUserId(row.id.parse().ok()?);
        let user = identity.acs_users.get(&id).filter(|_| shown)?;
        let shown = show::acs_user(&call.settings, identity, id, user);
        page::finds(call, &shown, SEARCHED).then_some(shown)
    })
    .await
}
