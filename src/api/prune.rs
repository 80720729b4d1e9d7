//! What a file of people no longer names: found once the whole file was applied, withdrawn within what the guard lets
//! through (contract.md sections 4 and 5).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::apply::made_by_a_row;
use super::problem::Problem;
use super::{Api, Call};
use crate::config::MassChangeGuard;
use crate::core::identity::{Identity, Parent};
use crate::core::ids::{IdentityId, ParentId};
use crate::core::index::{Kind, Row};
use crate::core::wish::Wish;
use crate::emit;
use crate::store::{Grant, ListQuery, Slot, Window};
use crate::telemetry::GUARD_HELD;

/// Credentials that are looked at together.
const PAGE: u32 = 500;

/// Withdraws every credential that was made by a row and is in none of the file's; `dry`: only counts.
pub(super) async fn prune(api: &Api, call: &Call, file: Uuid, dry: bool) -> Result<Value, Problem> {
    let Some(known) = api.engine.store().load_file(file).await? else {
        let message = "nothing is known of this file: apply all of it, then prune";
        return Err(Problem::conflict("unknown_file", message));
    };
    api.engine.store().forget_file(file).await?;
    let batches = i64::try_from(known.batches).unwrap_or(i64::MAX);
    if call
        .params
        .number("batches")
        .is_some_and(|sent| batches < sent)
    {
        let message = "nothing is pruned: some of the file is not known any more; apply all of it again, then prune";
        return Err(Problem::conflict("incomplete_file", message));
    }
    if known.refused > 0 {
        let message =
            "nothing is pruned: rows of the file are refused, and who is meant by them is unknown";
        return Err(Problem::conflict("rows_refused", message));
    }
    let victims = victims(api, call, &known.kept).await?;
    let credentials: usize = victims.values().map(|(parents, _)| parents.len()).sum();
    let revokes: u32 = victims.values().map(|(_, keys)| keys).sum();
    let guard = call.settings.guard;
    let held = guard.revokes.is_some_and(|_| revokes > 0)
        && !room(api, guard, "revokes", guard.revokes, revokes, dry).await?;
    if !dry {
        for (id, (parents, _)) in &victims {
            let prune = |identity: Option<&Identity>| {
                let wish = Wish::Prune {
                    parents: parents.clone(),
                    held,
                };
                Ok(identity.map(|_| wish).into_iter().collect())
            };
            api.wish(*id, call, prune).await?;
        }
        if held {
            told(victims.len(), revokes);
        }
    }
    Ok(json!({ "credentials": credentials, "keys": revokes, "held": held }))
}

fn told(people: usize, revokes: u32) {
    emit!(GUARD_HELD, people = people, revokes = revokes;
        "{revokes} keys of {people} people would be revoked at once: held until somebody releases them");
}

/// By person: the parents that no row names any more, and how many keys hang on them.
type Victims = BTreeMap<IdentityId, (Vec<ParentId>, u32)>;

async fn victims(api: &Api, call: &Call, kept: &BTreeSet<ParentId>) -> Result<Victims, Problem> {
    let mut victims = Victims::new();
    let mut query = ListQuery {
        kinds: vec![Kind::Parent],
        limit: PAGE,
        ..ListQuery::default()
    };
    loop {
        let page = api.rows(query.clone()).await?;
        for (row, loaded) in &page {
            let (Ok(id), identity) = (row.id.parse().map(ParentId), &loaded.identity) else {
                continue;
            };
            let Some(parent) = identity.parents.get(&id) else {
                continue;
            };
            let stays = kept.contains(&id) || parent.deleting_since.is_some();
            if !stays && made_by_a_row(call, identity.id, id, parent) {
                let victim = victims.entry(identity.id).or_default();
                victim.0.push(id);
                victim.1 += keys(identity, parent);
            }
        }
        let Some((Row { created_at, id, .. }, _)) = page.last() else {
            return Ok(victims);
        };
        query.after = Some((*created_at, id.clone()));
    }
}

/// What HID holds, or may hold, for a parent.
fn keys(identity: &Identity, parent: &Parent) -> u32 {
    let phones = parent.children.keys().filter_map(|id| identity.phone(*id));
    let live = phones.filter(|(_, phone)| {
        let key = phone.keys.get(&parent.part_number);
        key.is_some_and(|key| key.current.is_some() || key.doubt.unattributed > 0)
    });
    u32::try_from(live.count()).unwrap_or(u32::MAX)
}

/// The guard lets so many changes more through; they count from now on unless `dry`.
pub(super) async fn room(
    api: &Api,
    guard: MassChangeGuard,
    kind: &str,
    limit: Option<u32>,
    wanted: u32,
    dry: bool,
) -> Result<bool, Problem> {
    let Some(limit) = limit else {
        return Ok(true);
    };
    let (store, at) = (api.engine.store(), api.engine.window_now().await?);
    let key = format!("guard/{kind}");
    let used = store.slots(key.clone(), at).await?.len();
    let used = u32::try_from(used).unwrap_or(u32::MAX);
    if used.saturating_add(wanted) > limit {
        return Ok(false);
    }
    for _ in 0..if dry { 0 } else { wanted } {
        let slot = Slot {
            token: Uuid::new_v4(),
            windows: vec![Window {
                key: key.clone(),
                limit,
            }],
            at,
            frees_at: at.plus(guard.per),
        };
        if let Grant::NotBefore(_) = store.take_slots(vec![slot], Vec::new()).await? {
            return Ok(false);
        }
    }
    Ok(true)
}
