//! `/adapter/adopt`: what HID has and the store does not know is taken over (contract.md G6).

use serde_json::json;

use super::problem::Problem;
use super::{Api, Call, Reply};
use crate::adopt;
use crate::core::hold::HoldReason;

/// Begins it at every credential manager, where nothing new is made until it is over; or only counts.
pub(super) async fn adopt(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let dry = call.params.flag("dry_run") == Some(true);
    let mut told = Vec::new();
    for manager in &api.schedule.managers {
        let name = &manager.name;
        if dry {
            let found = adopt::count(&api.engine, manager).await.map_err(|error| {
                Problem::unavailable(format!("HID does not tell the users of {name}: {error}"))
            })?;
            told.push(json!({
                "credential_manager": name,
                "begun": false,
                "users": found.users,
                "unknown": found.adopted,
            }));
        } else {
            let scope = adopt::scope(manager);
            api.engine
                .hold(scope, HoldReason::Adopting, &call.caller)
                .await?;
            manager.adopt.notify_one();
            told.push(json!({
                "credential_manager": name,
                "begun": true,
                "users": null,
                "unknown": null,
            }));
        }
    }
    Ok(Reply::list(told))
}
