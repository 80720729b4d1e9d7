//! Whose an ACS user is: `/user_identities/{add,remove}_acs_user` and the linking that creating implies
//! (seam-api.md 3.1, 5.1).
//!
//! An ACS user without an identity lives by itself, its credentials waiting. Linking moves it and them
//! into the identity; both are committed together. Unlinking withdraws its keys from the phones and
//! moves it back to a home of its own.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::problem::{Faults, Problem};
use super::{Api, Call, Reply, identities, show, users, users_change};
use crate::core::identity::{AcsUser, Identity, Parent, Profile};
use crate::core::ids::{AcsSystemId, AcsUserId, AutomationId, IdentityId, ParentId, Personal};
use crate::core::index::{self, Kind};
use crate::core::wish::Wish;

/// The home of the ACS user in `system` that has no identity and is the person of `profile`.
pub(super) async fn home_of_twin(
    api: &Api,
    profile: &Profile,
    system: AcsSystemId,
) -> Result<Option<IdentityId>, Problem> {
    let found_by = [&profile.email_address, &profile.phone_number];
    for text in found_by.into_iter().flatten() {
        let id = index::in_system(system, &text.0);
        if let Some(home) = api.find(Kind::UnlinkedAcsUser, id).await? {
            return Ok(Some(home));
        }
    }
    Ok(None)
}

/// The ACS user that [`home_of_twin`] meant, if it is still so.
pub(super) fn twin<'a>(
    home: Option<&'a Identity>,
    profile: &Profile,
    system: AcsSystemId,
) -> Option<(AcsUserId, &'a AcsUser)> {
    let home = home.filter(|home| !home.listed)?;
    let (id, user) = home.acs_user_in(system)?;
    let same = |a: &Option<Personal>, b: &Option<Personal>| a.is_some() && a == b;
    let is_twin = same(&user.email_address, &profile.email_address)
        || same(&user.phone_number, &profile.phone_number);
    (is_twin && user.deleting_since.is_none()).then_some((id, user))
}

/// The credentials that an ACS user brings along.
fn parents_of(home: &Identity, id: AcsUserId) -> Vec<(ParentId, Parent)> {
    let parents = home.parents.iter();
    let staying =
        parents.filter(|(_, parent)| parent.acs_user == id && parent.deleting_since.is_none());
    staying.map(|(id, parent)| (*id, parent.clone())).collect()
}

/// What an identity wishes that takes an ACS user in: it, its credentials, and the automations that
/// they imply.
pub(super) fn taking_in(
    identity: &Identity,
    home: &Identity,
    (id, user): (AcsUserId, &AcsUser),
) -> Vec<Wish> {
    let parents = parents_of(home, id);
    let managers = parents.iter().map(|(_, parent)| parent.manager);
    let managers: BTreeSet<AcsSystemId> = managers.collect();
    let mut wishes = vec![Wish::TakeIn {
        users: vec![(id, user.clone())],
        parents,
    }];
    for manager in managers {
        if manager != user.acs_system {
            let new_user = AcsUserId(Uuid::new_v4());
            wishes.extend(users::wish_of_cm_user(identity, new_user, manager));
        }
        wishes.push(Wish::Launch {
            id: AutomationId(Uuid::new_v4()),
            manager,
            part_number: None,
        });
    }
    wishes
}

/// Links the person's unlinked ACS user in `system`, where there is one and the identity has none.
pub(super) async fn adopt_twin(
    api: &Api,
    call: &Call,
    owner: &Identity,
    system: AcsSystemId,
) -> Result<(), Problem> {
    if !owner.listed || owner.acs_user_in(system).is_some() {
        return Ok(());
    }
    let Some(home) = home_of_twin(api, &owner.profile, system).await? else {
        return Ok(());
    };
    let decide = |known: &[Option<&Identity>]| {
        let (home, owner) = pair(known);
        let owner = identities::present(owner)?;
        let free = owner.acs_user_in(system).is_none();
        let found = home.zip(twin(home, &owner.profile, system).filter(|_| free));
        Ok(match found {
            Some((home, twin)) => vec![
                vec![Wish::ReleaseAcsUser(twin.0)],
                taking_in(owner, home, twin),
            ],
            None => Vec::new(),
        })
    };
    api.wish_all(&[home, owner.id], call, decide).await?;
    Ok(())
}

fn pair<'a>(known: &[Option<&'a Identity>]) -> (Option<&'a Identity>, Option<&'a Identity>) {
    let at = |n: usize| known.get(n).copied().flatten();
    (at(0), at(1))
}

/// By id or by key.
async fn person(api: &Api, call: &Call) -> Result<IdentityId, Problem> {
    let params = &call.params;
    match (
        params.id("user_identity_id"),
        params.text("user_identity_key"),
    ) {
        (Some(id), None) => Ok(IdentityId(id)),
        (None, Some(key)) => {
            let found = api.find(Kind::IdentityKey, key).await?;
            found.ok_or_else(identities::missing)
        }
        (Some(_), Some(_)) | (None, None) => {
            let mut faults = Faults::default();
            faults.add_form("Exactly one of user_identity_id and user_identity_key is required");
            Err(faults.into_problem())
        }
    }
}

pub(super) async fn add(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let id = AcsUserId(call.params.need_id("acs_user_id")?);
    let owner = person(api, call).await?;
    let home = api
        .find(Kind::AcsUser, id)
        .await?
        .ok_or_else(users::missing)?;
    if home == owner {
        return Ok(Reply::void());
    }
    let decide = |known: &[Option<&Identity>]| {
        let (home, owner) = pair(known);
        let home = home.ok_or_else(users::missing)?;
        let user = home.acs_users.get(&id).ok_or_else(users::missing)?;
        let owner = identities::present(owner)?;
        if home.listed {
            return Err(Problem::conflict(
                "acs_user_already_linked",
                "this ACS user belongs to another user identity",
            ));
        }
        if user.deleting_since.is_some() {
            return Err(Problem::conflict(
                "acs_user_being_deleted",
                "this ACS user is being deleted",
            ));
        }
        if owner.acs_user_in(user.acs_system).is_some() {
            return Err(users::second());
        }
        Ok(vec![
            vec![Wish::ReleaseAcsUser(id)],
            taking_in(owner, home, (id, user)),
        ])
    };
    api.wish_all(&[home, owner], call, decide).await?;
    Ok(Reply::void())
}

/// Its keys are withdrawn from the phones; it and its credentials wait for another identity.
pub(super) async fn remove(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let id = AcsUserId(call.params.need_id("acs_user_id")?);
    let owner = IdentityId(call.params.need_id("user_identity_id")?);
    let home = IdentityId(Uuid::new_v4());
    let decide = |known: &[Option<&Identity>]| {
        let (owner, _) = pair(known);
        let owner = identities::present(owner)?;
        let user = owner.acs_users.get(&id).ok_or_else(users::missing)?;
        users_change::refuse_in_use(owner, user)?;
        let users = vec![(id, user.clone())];
        let parents = parents_of(owner, id);
        Ok(vec![
            vec![Wish::ReleaseAcsUser(id)],
            vec![Wish::TakeIn { users, parents }],
        ])
    };
    api.wish_all(&[owner, home], call, decide).await?;
    Ok(Reply::void())
}

async fn known(api: &Api, call: &Call) -> Result<Identity, Problem> {
    let owner = IdentityId(call.params.need_id("user_identity_id")?);
    let identity = api.load(owner).await?;
    let identity = identity.filter(|identity| identity.listed);
    identity.ok_or_else(identities::missing)
}

pub(super) async fn list_acs_users(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let identity = known(api, call).await?;
    let users = identity.acs_users.iter();
    let shown = users.map(|(id, user)| show::acs_user(&call.settings, &identity, *id, user));
    Ok(Reply::list(shown.collect()))
}

pub(super) async fn list_acs_systems(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let identity = known(api, call).await?;
    let systems = call.systems().all().into_iter();
    let linked = systems.filter(|system| identity.acs_user_in(system.id).is_some());
    let shown = linked.map(|system| show::acs_system(&call.settings, system));
    Ok(Reply::list(shown.collect()))
}

/// Entrances and devices are the access system's business; we know of none.
pub(super) async fn list_nothing(api: &Api, call: &Call) -> Result<Reply, Problem> {
    known(api, call).await?;
    Ok(Reply::list(Vec::new()))
}
