//! `/adapter/hold` and `/adapter/release`: nothing new for one person, at one manager, or at all, for a while
//! (contract.md sections 3 and 7); and what of it other answers show.

use serde_json::{Value, json};

use super::problem::Problem;
use super::{Api, Call, Reply, about, identities, show};
use crate::core::hold::{Hold, HoldReason, HoldScope};
use crate::core::identity::Identity;
use crate::core::ids::{AcsSystemId, IdentityId, PartNumber, Timestamp};
use crate::core::index::Kind;
use crate::core::policy::Policy;
use crate::core::state::{self, AutomationState};
use crate::core::wish::Wish;
use crate::store::{ListQuery, StandingHold};

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
            api.engine.hold(scope.clone(), reason, &call.caller).await?;
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
            api.engine.release(scope.clone(), &call.caller).await?;
            release_guarded(api, call, &scope).await?;
            standing(api, scope).await
        }
    }
}

/// Everybody whom the guard holds there.
async fn release_guarded(api: &Api, call: &Call, scope: &HoldScope) -> Result<(), Problem> {
    let mut query = ListQuery {
        kinds: vec![Kind::Guarded],
        limit: 500,
        ..ListQuery::default()
    };
    loop {
        let page = api.rows(query.clone()).await?;
        for (_, loaded) in &page {
            let mut managers = loaded.identity.enrollments.keys();
            if *scope != HoldScope::All && !managers.any(|manager| scope.covers(*manager)) {
                continue;
            }
            let decide = |identity: Option<&Identity>| {
                let held = identity.and_then(|identity| identity.held);
                let guarded = held.filter(|hold| hold.reason == HoldReason::Guard);
                Ok(guarded.map(|_| Wish::Release).into_iter().collect())
            };
            api.wish(loaded.identity.id, call, decide).await?;
        }
        let Some((row, _)) = page.last() else {
            return Ok(());
        };
        query.after = Some((row.created_at, row.id.clone()));
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
            let found = about::find(api, id).await?;
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
            "part_number": null,
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
    let (scope, manager, part) = match &hold.scope {
        HoldScope::All => ("all", None, None),
        HoldScope::Manager(id) => ("credential_manager", Some(name(api, *id)), None),
        HoldScope::Part(id, part) => ("part_number", Some(name(api, *id)), Some(part)),
    };
    json!({
        "scope": scope,
        "credential_manager": manager,
        "part_number": part,
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

/// Why new calls for a person at a manager are not made at present.
pub(super) async fn at(
    api: &Api,
    identity: &Identity,
    manager: AcsSystemId,
) -> Result<Option<(HoldReason, Timestamp)>, Problem> {
    let holds = all(api).await?;
    let concerns = |scope: &HoldScope| match scope {
        HoldScope::Part(held, part) => *held == manager && is_awaited(identity, manager, part),
        HoldScope::All | HoldScope::Manager(_) => scope.covers(manager),
    };
    let stops = |hold: &&StandingHold| concerns(&hold.scope) && hold.reason.stops_claims();
    // Reasons are in the order in which they are shown.
    let first = holds.iter().filter(stops).min_by_key(|hold| hold.reason);
    Ok(first.map(|hold| (hold.reason, hold.since)))
}

/// Why all new calls at a manager are kept back.
pub(super) fn whole(holds: &[StandingHold], manager: AcsSystemId) -> Option<HoldReason> {
    let holds = holds.iter().filter(|hold| hold.scope.covers(manager));
    let reasons = holds
        .map(|hold| hold.reason)
        .filter(|reason| reason.stops_claims());
    reasons.min()
}

/// A phone of the person waits for its key of this part number.
fn is_awaited(identity: &Identity, manager: AcsSystemId, part: &PartNumber) -> bool {
    let enrollment = identity.enrollments.get(&manager);
    let mut phones = enrollment.into_iter().flat_map(|e| e.phones.values());
    phones.any(|phone| {
        let key = phone.keys.get(part);
        key.is_some_and(|key| phone.enrolled && phone.is_active() && key.current.is_none())
    })
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
