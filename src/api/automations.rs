//! `/user_identities/enrollment_automations` and their invitations (seam-api.md 3.2, 5.2).

use serde_json::{Value, json};
use uuid::Uuid;

use super::problem::Problem;
use super::{Api, Call, Reply, about, acs_systems, hold, identities, link, show, users};
use crate::config::Scope;
use crate::core::identity::{Automation, Identity};
use crate::core::ids::{AcsSystemId, AcsUserId, AutomationId, IdentityId};
use crate::core::index::Kind;
use crate::core::state;
use crate::core::wish::Wish;

fn missing() -> Problem {
    Problem::missing("enrollment_automation_not_found", "enrollment automation")
}

/// The automation that a person has with a manager; one that is stopping is already gone.
fn running(identity: &Identity, manager: AcsSystemId) -> Option<&Automation> {
    let enrollment = identity.enrollments.get(&manager)?;
    let automation = enrollment.automation.as_ref();
    automation.filter(|automation| automation.stopping_since.is_none())
}

fn running_by_id(identity: &Identity, id: AutomationId) -> Option<(AcsSystemId, &Automation)> {
    let found = identity.automation(id);
    found.filter(|(_, automation)| automation.stopping_since.is_none())
}

async fn reply(
    api: &Api,
    call: &Call,
    identity: &Identity,
    manager: AcsSystemId,
) -> Result<Option<Value>, Problem> {
    let Some(automation) = running(identity, manager) else {
        return Ok(None);
    };
    let policy = api.engine.policy();
    let held = hold::at(api, identity, manager)
        .await?
        .map(|(reason, _)| reason);
    let asked = (identity, manager, held.is_some());
    let next = api.schedule.next(api, asked, call.now).await?;
    Ok(Some(show::enrollment_automation(
        &call.settings,
        &policy,
        (identity, manager, automation),
        (held, next.as_ref()),
        call.now,
    )))
}

/// The same again returns the first one unchanged, so a request that is sent twice does no harm
/// (seam-api.md 10, row 1). With neither way of naming a CM user given, one is made where none is.
pub(super) async fn launch(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let params = &call.params;
    let owner = IdentityId(params.need_id("user_identity_id")?);
    let manager = AcsSystemId(params.need_id("credential_manager_acs_system_id")?);
    let cm_user = params.id("credential_manager_acs_user_id").map(AcsUserId);
    if params.flag("create_credential_manager_user") == Some(true) && cm_user.is_some() {
        return Err(Problem::input(
            "create_credential_manager_user and credential_manager_acs_user_id exclude each other",
        ));
    }
    acs_systems::known(call, manager)?;
    let settings = call.systems().manager(manager).ok_or_else(not_a_manager)?;
    let part_number =
        match params.id("acs_credential_pool_id") {
            Some(pool) => Some(settings.pools.get(&pool).cloned().ok_or_else(|| {
                Problem::missing("acs_credential_pool_not_found", "credential pool")
            })?),
            None => None,
        };
    let known = api.load(owner).await?;
    let known = identities::present(known.as_ref())?;
    match cm_user {
        Some(id) => check_cm_user(api, id, manager, owner).await?,
        None => link::adopt_twin(api, call, known, manager).await?,
    }
    let (id, new_user) = (AutomationId(Uuid::new_v4()), AcsUserId(Uuid::new_v4()));
    let decide = |identity: Option<&Identity>| {
        let identity = identities::present(identity)?;
        if running(identity, manager).is_some() {
            return Ok(Vec::new());
        }
        let user = users::wish_of_cm_user(identity, new_user, manager);
        let launch = Wish::Launch {
            id,
            manager,
            part_number: part_number.clone(),
        };
        Ok(user.into_iter().chain([launch]).collect())
    };
    let identity = api.wish(owner, call, decide).await?;
    let gone = || Problem::ours("a new automation was gone at once");
    let identity = identity.ok_or_else(gone)?;
    let shown = reply(api, call, &identity, manager).await?;
    let shown = shown.ok_or_else(gone)?;
    Ok(Reply::one(shown))
}

/// 400: an access system issues nothing.
pub(super) fn not_a_manager() -> Problem {
    Problem::bad(
        "acs_system_not_credential_manager",
        "credential_manager_acs_system_id names a system that is no credential manager",
    )
}

/// A named credential manager user must be this person's own.
async fn check_cm_user(
    api: &Api,
    id: AcsUserId,
    manager: AcsSystemId,
    owner: IdentityId,
) -> Result<(), Problem> {
    const NAME: &str = "credential_manager_acs_user_id";
    let identity = api.owner(Kind::AcsUser, id).await?;
    let identity = identity.ok_or_else(users::missing)?;
    let user = identity.acs_users.get(&id).ok_or_else(users::missing)?;
    if user.acs_system != manager {
        return Err(Problem::param(
            NAME,
            "Not a user of this credential manager",
        ));
    }
    if identity.id != owner {
        return Err(Problem::param(NAME, "Not linked to this user identity"));
    }
    Ok(())
}

pub(super) async fn get(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let (identity, id) = owner(api, call).await?;
    let (manager, _) = running_by_id(&identity, id).ok_or_else(missing)?;
    let shown = reply(api, call, &identity, manager).await?;
    Ok(Reply::one(shown.ok_or_else(missing)?))
}

async fn owner(api: &Api, call: &Call) -> Result<(Identity, AutomationId), Problem> {
    let id = AutomationId(call.params.need_id("enrollment_automation_id")?);
    let identity = api.owner(Kind::Automation, id).await?.ok_or_else(missing)?;
    Ok((identity, id))
}

pub(super) async fn list(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let owner = IdentityId(call.params.need_id("user_identity_id")?);
    let identity = api.load(owner).await?;
    let identity = identity
        .filter(|identity| identity.listed)
        .ok_or_else(identities::missing)?;
    let mut shown = Vec::new();
    for manager in identity.enrollments.keys() {
        shown.extend(reply(api, call, &identity, *manager).await?);
    }
    Ok(Reply::list(shown))
}

/// No more phones are taken in; phones and keys that are there stay (seam-api.md 10, row 6).
pub(super) async fn delete(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let (identity, id) = owner(api, call).await?;
    let decide = |identity: Option<&Identity>| {
        let found = identity.and_then(|identity| running_by_id(identity, id));
        found.ok_or_else(missing)?;
        Ok(vec![Wish::DeleteAutomation(id)])
    };
    api.wish(identity.id, call, decide).await?;
    Ok(Reply::void())
}

/// The open invitation, or the wish for one (contract.md section 6, Invitations).
pub(super) async fn get_or_create_invitation(api: &Api, call: &Call) -> Result<Reply, Problem> {
    invite(api, call, false).await
}

/// As above, and HID mails it (again).
pub(super) async fn resend_invitation(api: &Api, call: &Call) -> Result<Reply, Problem> {
    invite(api, call, true).await
}

async fn invite(api: &Api, call: &Call, resend: bool) -> Result<Reply, Problem> {
    let (identity, id) = owner(api, call).await?;
    invite_to(api, call, (&identity, id), resend).await
}

/// The same by any id of a person's, where it is clear with whom.
pub(super) async fn invite_by_id(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let id = call.params.need_id("id")?;
    let found = about::find(api, id).await?;
    let (_, owner) = found.ok_or_else(missing)?;
    let identity = api.load(owner).await?.ok_or_else(missing)?;
    let named = running_by_id(&identity, AutomationId(id)).map(|(_, automation)| automation.id);
    let mut all = identity.enrollments.keys();
    let mut all = all
        .by_ref()
        .filter_map(|manager| running(&identity, *manager));
    let automation = match (named, all.next(), all.next()) {
        (Some(named), _, _) => named,
        (None, Some(only), None) => only.id,
        (None, Some(_), Some(_)) => {
            let issue = "This person has several enrollment automations; name one of them";
            return Err(Problem::param("id", issue));
        }
        (None, None, _) => return Err(missing()),
    };
    let resend = call.params.flag("resend") == Some(true);
    invite_to(api, call, (&identity, automation), resend).await
}

async fn invite_to(
    api: &Api,
    call: &Call,
    (identity, id): (&Identity, AutomationId),
    resend: bool,
) -> Result<Reply, Problem> {
    let installation = call.params.text("custom_sdk_installation_id");
    let decide = |identity: Option<&Identity>| {
        let identity = identity.ok_or_else(missing)?;
        let (manager, _) = running_by_id(identity, id).ok_or_else(missing)?;
        let enrollment = identity.enrollments.get(&manager);
        // After a deactivation only a write key may let another phone in (contract.md section 6).
        if enrollment.is_some_and(|e| e.invite.barred) && call.scope < Some(Scope::Write) {
            return Err(Problem::forbidden("write"));
        }
        let under_way =
            enrollment.is_some_and(|e| e.invite.wanted || e.open_invitation().is_some());
        if under_way && !resend {
            return Ok(Vec::new());
        }
        Ok(vec![Wish::Invite {
            manager,
            installation: installation.map(str::to_owned),
            resend,
        }])
    };
    let identity = api.wish(identity.id, call, decide).await?;
    let identity = identity.ok_or_else(missing)?;
    let (manager, _) = running_by_id(&identity, id).ok_or_else(missing)?;
    let open = identity.enrollments.get(&manager);
    let open = open.and_then(|enrollment| enrollment.open_invitation());
    let shown = match open {
        Some((_, invitation)) => json!({
            "invitation_code": invitation.code,
            "status": state::invitation_name(&invitation.status),
            "expires_at": invitation.expires_at.map(show::instant),
        }),
        // HID has not made it yet: ask again.
        None => json!({ "invitation_code": null, "status": "preparing", "expires_at": null }),
    };
    Ok(Reply::one(shown))
}
