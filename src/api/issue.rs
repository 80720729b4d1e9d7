//! `/acs/credentials/create`: who gets which key from whom (contract.md section 4, seam-api.md 3.3).
//!
//! What counts as the same request again: ACS user, credential manager, part number, card details,
//! dates and entrances of a parent that was created in the last 24 hours and is not being deleted.
//! It is answered with that parent, so a request that is sent twice makes no second one.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::params::Params;
use super::problem::{Faults, Problem};
use super::systems::{Manager, Role};
use super::{
    Api, Call, REPEATS_WITHIN, Reply, acs_systems, automations, identities, link, show_credential,
    users,
};
use crate::core::identity::{Identity, Parent};
use crate::core::ids::{
    AcsSystemId, AcsUserId, AutomationId, IdentityId, ParentId, PartNumber, Timestamp,
};
use crate::core::index::Kind;
use crate::core::wish::Wish;

/// What is asked for, with the ids that it would get.
struct Ask<'a> {
    call: &'a Call,
    holder: Holder,
    parent: ParentId,
    automation: AutomationId,
    new_user: AcsUserId,
    new_cm_user: AcsUserId,
}

/// Who is to hold the keys.
#[derive(Clone, Copy)]
enum Holder {
    User(AcsUserId),
    /// The person's ACS user in this system, made where there is none.
    InSystem(AcsSystemId),
}

pub(super) async fn create(api: &Api, call: &Call) -> Result<Reply, Problem> {
    check(call)?;
    let (owner, holder) = holder(api, call).await?;
    let ask = Ask {
        call,
        holder,
        parent: ParentId(Uuid::new_v4()),
        automation: AutomationId(Uuid::new_v4()),
        new_user: AcsUserId(Uuid::new_v4()),
        new_cm_user: AcsUserId(Uuid::new_v4()),
    };
    if let Some(identity) = api.load(owner).await? {
        // Nobody is linked for a request that would be refused.
        ask.decide(Some(&identity))?;
        if let Holder::InSystem(system) = holder {
            link::adopt_twin(api, call, &identity, system).await?;
        }
        let (_, system) = ask.user_in(&identity)?;
        let manager = manager(call, system)?;
        link::adopt_twin(api, call, &identity, manager).await?;
    }
    let identity = api
        .wish(owner, call, |identity| ask.decide(identity))
        .await?;
    let shown = identity.and_then(|identity| {
        let id = if identity.parents.contains_key(&ask.parent) {
            ask.parent
        } else {
            ask.repeated(&identity)?
        };
        show_credential::parent(&call.settings, &identity, id, call.now)
    });
    let shown = shown.ok_or_else(|| Problem::ours("a new parent was gone at once"))?;
    Ok(Reply::one(shown))
}

/// What can be said of the request alone.
fn check(call: &Call) -> Result<(), Problem> {
    let params = &call.params;
    let mut faults = Faults::default();
    if params.text("access_method") != Some("mobile_key") {
        faults.add(
            "access_method",
            "Only mobile_key credentials can be issued here",
        );
    }
    if params.flag("is_multi_phone_sync_credential") != Some(true) {
        faults.add(
            "is_multi_phone_sync_credential",
            "Must be true for mobile keys",
        );
    }
    check_dates(params, call.now, &mut faults);
    let by_user = params.has("acs_user_id");
    let by_identity = params.has("user_identity_id") && params.has("acs_system_id");
    let mixed = by_user && (params.has("user_identity_id") || params.has("acs_system_id"));
    if !by_user && !by_identity {
        faults.add_form("acs_user_id, or user_identity_id and acs_system_id, is required");
    } else if mixed {
        faults.add_form("acs_user_id excludes user_identity_id and acs_system_id");
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.into_problem())
    }
}

/// When keys are issued, and when they go.
pub(super) fn check_dates(params: &Params, now: Timestamp, faults: &mut Faults) {
    let (starts_at, ends_at) = (params.instant("starts_at"), params.instant("ends_at"));
    if ends_at.is_some_and(|ends_at| ends_at <= now) {
        faults.add("ends_at", "Must be in the future");
    }
    if let (Some(starts_at), Some(ends_at)) = (starts_at, ends_at)
        && ends_at <= starts_at
    {
        faults.add("ends_at", "Must be after starts_at");
    }
}

async fn holder(api: &Api, call: &Call) -> Result<(IdentityId, Holder), Problem> {
    if let Some(id) = call.params.id("acs_user_id") {
        let owner = api.find(Kind::AcsUser, id).await?;
        let owner = owner.ok_or_else(users::missing)?;
        return Ok((owner, Holder::User(AcsUserId(id))));
    }
    let owner = IdentityId(call.params.need_id("user_identity_id")?);
    let system = AcsSystemId(call.params.need_id("acs_system_id")?);
    acs_systems::known(call, system)?;
    Ok((owner, Holder::InSystem(system)))
}

/// The credential manager that is to issue: the ACS user's own system where it is one, else the
/// named one, else the one that the access system is configured with.
fn manager(call: &Call, system: AcsSystemId) -> Result<AcsSystemId, Problem> {
    const NAME: &str = "credential_manager_acs_system_id";
    let named = call.params.id(NAME).map(AcsSystemId);
    if let Some(named) = named {
        acs_systems::known(call, named)?;
        call.systems()
            .manager(named)
            .ok_or_else(automations::not_a_manager)?;
    }
    match (&acs_systems::known(call, system)?.role, named) {
        (Role::Manager(_), Some(named)) if named != system => Err(Problem::param(
            NAME,
            "The ACS user belongs to another credential manager",
        )),
        (Role::Manager(_), _) => Ok(system),
        (Role::Access { .. }, Some(named)) => Ok(named),
        (Role::Access { manager }, None) => Ok(*manager),
    }
}

/// contract.md section 4, "Which part number?".
pub(super) fn part_number(
    params: &Params,
    manager: &Manager,
    launched: Option<&PartNumber>,
) -> Result<PartNumber, Problem> {
    let card_format = params.text("card_format");
    let facility_code = params.text("facility_code");
    if card_format.is_none() && facility_code.is_none() {
        let known = launched.or(manager.default_part_number.as_ref());
        return known.cloned().ok_or_else(|| {
            Problem::bad(
                "part_number_unknown",
                "nothing names a part number: give card_format and facility_code, launch with \
                 acs_credential_pool_id, or configure default_part_number",
            )
        });
    }
    let fits = |given: Option<&str>, profile: &str| given.is_none_or(|given| given == profile);
    let mut matching = manager.card_profiles.iter().filter(|profile| {
        fits(card_format, &profile.card_format) && fits(facility_code, &profile.facility_code)
    });
    match (matching.next(), matching.next()) {
        (Some(profile), None) => Ok(PartNumber(profile.part_number.clone())),
        (None, _) => Err(Problem::bad(
            "card_profile_not_found",
            "no configured card profile has this card_format and facility_code",
        )),
        (Some(_), Some(_)) => Err(Problem::bad(
            "card_profile_ambiguous",
            "several configured card profiles match; give card_format and facility_code",
        )),
    }
}

impl Ask<'_> {
    /// The ACS user that gets the keys, and its system.
    fn user_in(&self, identity: &Identity) -> Result<(AcsUserId, AcsSystemId), Problem> {
        match self.holder {
            Holder::User(id) => {
                let user = identity.acs_users.get(&id).ok_or_else(users::missing)?;
                Ok((id, user.acs_system))
            }
            Holder::InSystem(system) => {
                let known = identity.acs_user_in(system).map(|(id, _)| id);
                Ok((known.unwrap_or(self.new_user), system))
            }
        }
    }

    fn decide(&self, identity: Option<&Identity>) -> Result<Vec<Wish>, Problem> {
        let identity = match self.holder {
            Holder::User(_) => identity.ok_or_else(users::missing)?,
            Holder::InSystem(_) => identities::present(identity)?,
        };
        identities::not_leaving(identity)?;
        let wanted = self.wanted(identity)?;
        if self.repeated(identity).is_some() {
            return Ok(Vec::new());
        }
        refuse_conflict(identity, None, &wanted, self.call.now)?;
        let mut wishes = Vec::new();
        if !identity.acs_users.contains_key(&wanted.acs_user) {
            let user = (wanted.acs_user, wanted.acs_system);
            wishes.push(users::wish_of(&identity.profile, user.0, user.1));
        }
        if wanted.manager != wanted.acs_system {
            let cm_user = users::wish_of_cm_user(identity, self.new_cm_user, wanted.manager);
            wishes.extend(cm_user);
        }
        wishes.push(Wish::Parent {
            id: self.parent,
            acs_user: wanted.acs_user,
            manager: wanted.manager,
            automation: self.automation,
            part_number: wanted.part_number,
            card_format: wanted.card_format,
            facility_code: wanted.facility_code,
            allowed_acs_entrance_ids: wanted.allowed_acs_entrance_ids,
            starts_at: wanted.starts_at,
            ends_at: wanted.ends_at,
        });
        Ok(wishes)
    }

    /// The parent that the request asks for.
    fn wanted(&self, identity: &Identity) -> Result<Parent, Problem> {
        let params = &self.call.params;
        let (acs_user, acs_system) = self.user_in(identity)?;
        let manager = manager(self.call, acs_system)?;
        let enrollment = identity.enrollments.get(&manager);
        let launched = enrollment
            .filter(|enrollment| enrollment.is_running())
            .and_then(|enrollment| enrollment.automation.as_ref()?.part_number.as_ref());
        let settings = self.call.systems().manager(manager);
        let settings = settings.ok_or_else(automations::not_a_manager)?;
        let entrances = params.ids("allowed_acs_entrance_ids").unwrap_or_default();
        Ok(Parent {
            acs_user,
            unassigned: false,
            acs_system,
            manager,
            part_number: part_number(params, settings, launched)?,
            card_format: params.text("card_format").map(str::to_owned),
            facility_code: params.text("facility_code").map(str::to_owned),
            allowed_acs_entrance_ids: entrances.to_vec(),
            starts_at: params.instant("starts_at"),
            ends_at: params.instant("ends_at"),
            created_at: self.call.now,
            deleting_since: None,
            prune_held_since: None,
            children: BTreeMap::new(),
        })
    }

    /// The parent that this very request already made.
    fn repeated(&self, identity: &Identity) -> Option<ParentId> {
        let wanted = self.wanted(identity).ok()?;
        let entrances = |parent: &Parent| -> BTreeSet<Uuid> {
            parent.allowed_acs_entrance_ids.iter().copied().collect()
        };
        let same = identity.parents.iter().filter(|(_, parent)| {
            parent.deleting_since.is_none()
                && self.call.now.since(parent.created_at) < REPEATS_WITHIN
                && place(parent) == place(&wanted)
                && contents(parent) == contents(&wanted)
                && entrances(parent) == entrances(&wanted)
        });
        let newest = same.max_by_key(|(id, parent)| (parent.created_at, **id));
        newest.map(|(id, _)| *id)
    }
}

/// Two children would write one record of the access system with different contents
/// (contract.md section 1). `own` is the parent that is changed, where it is there already.
pub(super) fn refuse_conflict(
    identity: &Identity,
    own: Option<ParentId>,
    wanted: &Parent,
    now: Timestamp,
) -> Result<(), Problem> {
    let clash = identity.parents.iter().any(|(id, parent)| {
        let over = parent.deleting_since.is_some() || parent.ends_at.is_some_and(|at| at <= now);
        let other = Some(*id) != own && !over;
        other && place(parent) == place(wanted) && contents(parent) != contents(wanted)
    });
    if clash {
        return Err(Problem::conflict(
            "acs_credential_conflict",
            "this ACS user already has a credential of this part number with other card \
             details or dates",
        ));
    }
    Ok(())
}

/// Which record of the access system a parent's children write.
fn place(parent: &Parent) -> (AcsUserId, AcsSystemId, &PartNumber) {
    (parent.acs_user, parent.manager, &parent.part_number)
}

/// What they write there.
fn contents(
    parent: &Parent,
) -> (
    Option<&String>,
    Option<&String>,
    Option<Timestamp>,
    Option<Timestamp>,
) {
    (
        parent.card_format.as_ref(),
        parent.facility_code.as_ref(),
        parent.starts_at,
        parent.ends_at,
    )
}
