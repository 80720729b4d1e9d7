//! `/acs/systems`: what the configuration says, as Seam shows it (seam-api.md 3.5).

use super::problem::Problem;
use super::systems::{Role, System};
use super::{Api, Call, Reply, show};
use crate::core::ids::AcsSystemId;

/// The system of this id, or 404.
pub(super) fn known(call: &Call, id: AcsSystemId) -> Result<&System, Problem> {
    let missing = || Problem::missing("acs_system_not_found", "ACS system");
    call.systems().get(id).ok_or_else(missing)
}

pub(super) fn get(call: &Call) -> Result<Reply, Problem> {
    let id = AcsSystemId(call.params.need_id("acs_system_id")?);
    Ok(Reply::one(show::acs_system(
        &call.settings,
        known(call, id)?,
    )))
}

/// All that are configured; to a client session those in which its person has a record.
pub(super) async fn list(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let seen = api.systems_in_sight().await?;
    let account = call.params.id("connected_account_id");
    let search = call.params.text("search").map(str::to_lowercase);
    let workspace = call.systems().workspace();
    let systems = call.systems().all().into_iter().filter(|system| {
        account.is_none_or(|account| system.connected_account(workspace) == account)
            && search
                .as_ref()
                .is_none_or(|text| system.name.contains(text))
            && seen.as_ref().is_none_or(|seen| seen.contains(&system.id))
    });
    let shown = systems.map(|system| show::acs_system(&call.settings, system));
    Ok(Reply::list(shown.collect()))
}

/// The credential manager that an access system is configured with; none for a credential manager.
pub(super) fn list_compatible(call: &Call) -> Result<Reply, Problem> {
    let id = AcsSystemId(call.params.need_id("acs_system_id")?);
    let compatible = match &known(call, id)?.role {
        Role::Access { manager } => call.systems().get(*manager),
        Role::Manager(_) => None,
    };
    let shown = compatible.map(|system| show::acs_system(&call.settings, system));
    Ok(Reply::list(shown.into_iter().collect()))
}

/// A credential manager's part numbers as configured; an access system has none.
pub(super) fn list_pools(call: &Call) -> Result<Reply, Problem> {
    let system = known(call, AcsSystemId(call.params.need_id("acs_system_id")?))?;
    let shown = match &system.role {
        Role::Manager(manager) => manager
            .pools
            .iter()
            .map(|(id, part)| show::credential_pool(&call.settings, system.id, (*id, part)))
            .collect(),
        Role::Access { .. } => Vec::new(),
    };
    Ok(Reply::list(shown))
}
