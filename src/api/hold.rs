//! `/adapter/hold` and `/adapter/release`: nothing new for one person, at one manager, or at all, for a while
//! (contract.md sections 3 and 7); and what of it other answers show.

use serde_json::{Value, json};

use super::problem::Problem;
use super::{Api, Call, Reply, identities, show, why};
use crate::core::hold::{Hold, HoldReason, HoldScope};
use crate::core::identity::Identity;
use crate::core::ids::{AcsSystemId, IdentityId, Timestamp};
use crate::core::policy::Policy;
use crate::core::state::{self, AutomationState};
use crate::core::wish::Wish;
use crate::store::StandingHold;

/// What is to be held.
enum Target {
    Person(IdentityId),
    Scope(HoldScope),
}

/// Answers with what holds it from now on.
pub(super) async fn hold(api: &Api, call: &Call) -> Result<Reply, Problem> {
    match target(api, call).await? {
        Target::Person(id) => {
            let decide = |identity: Option<&Identity>| {
                let identity = identity.ok_or_else(identities::missing)?;
                let hold = Wish::Hold(HoldReason::Operator);
                Ok(if identity.held.is_none() {
                    vec![hold]
                } else {
                    vec![]
                })
            };
            person(api.wish(id, call, decide).await?)
        }
        Target::Scope(scope) => {
            let reason = HoldReason::Operator;
            api.engine.hold(scope, reason, &call.caller).await?;
            standing(api, scope).await
        }
    }
}

/// Answers with what still holds it.
pub(super) async fn release(api: &Api, call: &Call) -> Result<Reply, Problem> {
    match target(api, call).await? {
        Target::Person(id) => {
            let decide = |identity: Option<&Identity>| {
                let identity = identity.ok_or_else(identities::missing)?;
                let held = identity
                    .held
                    .filter(|hold: &Hold| hold.reason.is_releasable());
                Ok(held.map(|_| Wish::Release).into_iter().collect())
            };
            person(api.wish(id, call, decide).await?)
        }
        Target::Scope(scope) => {
            for manager in &api.schedule.managers {
                if scope.covers(manager.id) && manager.quarantined_at().is_some() {
                    manager.probe().await;
                }
            }
            api.engine.release(scope, &call.caller).await?;
            standing(api, scope).await
        }
    }
}

/// Exactly one of the three ways to name it.
async fn target(api: &Api, call: &Call) -> Result<Target, Problem> {
    let params = &call.params;
    let (id, name) = (params.id("id"), params.text("credential_manager"));
    let all = params.flag("all") == Some(true);
    let managers = &api.schedule.managers;
    match (id, name, all) {
        (None, None, true) => Ok(Target::Scope(HoldScope::All)),
        (None, Some(name), false) => {
            let named = managers.iter().find(|manager| manager.name == name);
            let missing = || Problem::missing("not_found", "credential manager");
            let manager = named.ok_or_else(missing)?;
            Ok(Target::Scope(HoldScope::Manager(manager.id)))
        }
        (Some(id), None, false) => {
            let manager = managers.iter().find(|manager| manager.id.0 == id);
            if let Some(manager) = manager {
                return Ok(Target::Scope(HoldScope::Manager(manager.id)));
            }
            let found = why::find(api, id).await?;
            let missing = || Problem::missing("not_found", "object with this id");
            found
                .map(|(_, owner)| Target::Person(owner))
                .ok_or_else(missing)
        }
        _ => Err(Problem::input("name one: id, credential_manager or all")),
    }
}

fn person(identity: Option<Identity>) -> Result<Reply, Problem> {
    let identity = identity.ok_or_else(identities::missing)?;
    let shown = identity.held.map(|hold| {
        json!({
            "scope": "user_identity",
            "credential_manager": null,
            "user_identity_id": identity.id,
            "reason": hold.reason.name(),
            "since": show::instant(hold.since),
            "by": null,
        })
    });
    Ok(Reply::list(shown.into_iter().collect()))
}

async fn standing(api: &Api, scope: HoldScope) -> Result<Reply, Problem> {
    let mut holds = all(api).await?;
    holds.retain(|hold| hold.scope == scope);
    Ok(Reply::list(
        holds.iter().map(|hold| shown(api, hold)).collect(),
    ))
}

/// Everything that is held as a whole, managers that refuse us for long among them.
pub(super) async fn all(api: &Api) -> Result<Vec<StandingHold>, Problem> {
    let mut holds = api.engine.store().holds().await?;
    for manager in &api.schedule.managers {
        if let Some(at) = manager.quarantined_at() {
            let ago = api.engine.window_time().0.saturating_sub(at.0);
            holds.push(StandingHold {
                scope: HoldScope::Manager(manager.id),
                reason: HoldReason::Quarantine,
                since: Timestamp(api.engine.now().0.saturating_sub(ago)),
                cause: manager.gate.condition().name().to_owned(),
            });
        }
    }
    Ok(holds)
}

/// A hold as answers show it.
pub(super) fn shown(api: &Api, hold: &StandingHold) -> Value {
    let (scope, manager) = match hold.scope {
        HoldScope::All => ("all", None),
        HoldScope::Manager(id) => ("credential_manager", Some(name(api, id))),
    };
    json!({
        "scope": scope,
        "credential_manager": manager,
        "user_identity_id": null,
        "reason": hold.reason.name(),
        "since": show::instant(hold.since),
        "by": hold.cause,
    })
}

/// As configured; its id where it no longer is.
pub(super) fn name(api: &Api, id: AcsSystemId) -> String {
    let known = api.schedule.managers.iter().find(|known| known.id == id);
    known.map_or_else(|| id.to_string(), |known| known.name.clone())
}

/// Why a manager's new calls are not made at present, whomever they are for.
pub(super) async fn at(
    api: &Api,
    manager: AcsSystemId,
) -> Result<Option<(HoldReason, Timestamp)>, Problem> {
    let holds = all(api).await?;
    let stops = |hold: &&StandingHold| hold.scope.covers(manager) && hold.reason.stops_claims();
    // Reasons are in the order in which they are shown.
    let first = holds.iter().filter(stops).min_by_key(|hold| hold.reason);
    Ok(first.map(|hold| (hold.reason, hold.since)))
}

/// How an automation stands, what is held as a whole included.
pub(super) fn automation(
    policy: &Policy,
    (identity, manager): (&Identity, AcsSystemId),
    held: Option<HoldReason>,
    now: Timestamp,
) -> Option<AutomationState> {
    let state = state::automation(policy, identity, manager, now)?;
    let is_over = matches!(state.name, "held" | "stopping");
    Some(match held.filter(|_| !is_over) {
        Some(reason) => AutomationState {
            name: "held",
            reason: Some(reason.name()),
        },
        None => state,
    })
}
