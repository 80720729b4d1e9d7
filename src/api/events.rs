//! `/events`: what happened, for 30 days (seam-api.md 3.8, 6.1).

use std::collections::BTreeSet;

use uuid::Uuid;

use super::problem::{Faults, Problem};
use super::routes::PAGE;
use super::{Api, Call, Reply};
use crate::clock;
use crate::core::announce::EventType;
use crate::core::ids::Timestamp;
use crate::store::EventQuery;
use crate::webhook;

/// Any one of these makes a list that is bounded.
const FILTERS: [&str; 13] = [
    "since",
    "between",
    "event_type",
    "event_types",
    "event_ids",
    "acs_credential_id",
    "acs_user_id",
    "acs_system_id",
    "acs_system_ids",
    "user_identity_id",
    "device_id",
    "device_ids",
    "connected_account_id",
];

/// By `event_id`, or the newest of an `event_type` or of a phone.
pub(super) async fn get(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let params = &call.params;
    let query = EventQuery {
        ids: params.id("event_id").map(|id| BTreeSet::from([id])),
        types: types(call),
        devices: params.id("device_id").map(|id| BTreeSet::from([id])),
        limit: 1,
        ..EventQuery::default()
    };
    if query.ids.is_none() && query.types.is_none() && query.devices.is_none() {
        return Err(Problem::input(
            "give one of event_id, event_type and device_id",
        ));
    }
    let found = api.events(query).await?;
    let event = found
        .first()
        .ok_or_else(|| Problem::missing("event_not_found", "event"))?;
    Ok(Reply::one(webhook::body(call.systems().workspace(), event)))
}

/// After `since` or within `between` the oldest first, so that the last one's `created_at` is where to
/// go on; else the newest first, so that a limit leaves out the old.
pub(super) async fn list(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let params = &call.params;
    if !FILTERS.iter().any(|name| params.has(name)) {
        return Err(Problem::input(format!(
            "give at least one of {}",
            FILTERS.join(", ")
        )));
    }
    let (after, before) = range(call)?;
    let query = EventQuery {
        ids: set(params.ids("event_ids")),
        types: types(call),
        after,
        before,
        acs_credential: params.id("acs_credential_id"),
        acs_user: params.id("acs_user_id"),
        acs_systems: systems(call),
        user_identity: params.id("user_identity_id"),
        devices: both(
            set(params.ids("device_ids")),
            params.id("device_id").map(|id| BTreeSet::from([id])),
        ),
        oldest_first: after.is_some() || before.is_some(),
        offset: offset(call)?,
        limit: u32::try_from(params.number("limit").unwrap_or(PAGE)).unwrap_or(u32::MAX),
    };
    let workspace = call.systems().workspace();
    let found = api.events(query).await?;
    let shown = found.iter().map(|event| webhook::body(workspace, event));
    Ok(Reply::list(shown.collect()))
}

/// An unknown type is no error: there are none of it.
fn types(call: &Call) -> Option<BTreeSet<EventType>> {
    let one = call.params.text("event_type").map(|name| {
        let known = EventType::parse(name);
        known.into_iter().collect::<BTreeSet<_>>()
    });
    let several = call.params.texts("event_types").map(|names| {
        let known = names.iter().filter_map(|name| EventType::parse(name));
        known.collect::<BTreeSet<_>>()
    });
    both(one, several)
}

/// Given by id, and given by their account.
fn systems(call: &Call) -> Option<BTreeSet<Uuid>> {
    let params = &call.params;
    let one = params.id("acs_system_id").map(|id| BTreeSet::from([id]));
    let by_id = both(one, set(params.ids("acs_system_ids")));
    let by_account = params.id("connected_account_id").map(|account| {
        let systems = call.systems();
        let all = systems.all().into_iter();
        all.filter(|system| system.connected_account(systems.workspace()) == account)
            .map(|system| system.id.0)
            .collect()
    });
    both(by_id, by_account)
}

/// Both ends are exclusive.
fn range(call: &Call) -> Result<(Option<Timestamp>, Option<Timestamp>), Problem> {
    let mut faults = Faults::default();
    let mut read = |name, text: &str| {
        let instant = clock::parse_date(text).map(Timestamp);
        if instant.is_none() {
            faults.add(name, "Invalid date");
        }
        instant
    };
    let mut after = call
        .params
        .text("since")
        .and_then(|text| read("since", text));
    let mut before = None;
    match call.params.texts("between") {
        None => {}
        Some([from, to]) => {
            after = after.max(read("between", from));
            before = read("between", to);
        }
        Some(_) => faults.add("between", "Expected two dates"),
    }
    if faults.is_empty() {
        Ok((after, before))
    } else {
        Err(faults.into_problem())
    }
}

fn offset(call: &Call) -> Result<u32, Problem> {
    match call.params.text("unstable_offset") {
        None => Ok(0),
        Some(text) => text
            .parse()
            .map_err(|_| Problem::param("unstable_offset", "Expected a whole number")),
    }
}

fn set(ids: Option<&[Uuid]>) -> Option<BTreeSet<Uuid>> {
    ids.map(|ids| ids.iter().copied().collect())
}

/// What passes both filters.
fn both<T: Ord + Copy>(
    one: Option<BTreeSet<T>>,
    other: Option<BTreeSet<T>>,
) -> Option<BTreeSet<T>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.intersection(&other).copied().collect()),
        (one, other) => one.or(other),
    }
}
