//! `/adapter/orphans`: what hangs below our people at HID and is not ours; removed on request alone.

use serde_json::{Value, json};

use super::problem::Problem;
use super::{Api, Call, Reply, page, show};
use crate::core::identity::Identity;
use crate::core::ids::OrphanId;
use crate::core::index::Kind;
use crate::core::orphans::{self, Orphan, What};
use crate::core::state;
use crate::core::wish::Wish;
use crate::store::ListQuery;

fn missing() -> Problem {
    Problem::missing("orphan_not_found", "orphan")
}

pub(super) async fn list(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let query = ListQuery {
        kinds: vec![Kind::Orphan],
        ..ListQuery::default()
    };
    page::page(api, call, query, |row, identity| {
        let id = OrphanId(row.id.parse().ok()?);
        let orphan = orphans::find(identity, id)?;
        Some(shown(call, identity, &orphan))
    })
    .await
}

/// It goes with the next call that HID's window has room for; where it became ours meanwhile, nothing goes.
pub(super) async fn remove(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let id = OrphanId(call.params.need_id("orphan_id")?);
    let owner = api.find(Kind::Orphan, id).await?.ok_or_else(missing)?;
    let decide = |identity: Option<&Identity>| {
        let orphan = identity.and_then(|identity| orphans::find(identity, id));
        orphan.ok_or_else(missing)?;
        Ok(vec![Wish::RemoveOrphan(id)])
    };
    let identity = api.wish(owner, call, decide).await?;
    let orphan = identity.as_ref().and_then(|identity| {
        let orphan = orphans::find(identity, id)?;
        Some(shown(call, identity, &orphan))
    });
    Ok(Reply::one(orphan.ok_or_else(missing)?))
}

fn shown(call: &Call, identity: &Identity, orphan: &Orphan<'_>) -> Value {
    let systems = call.systems();
    let manager = systems.get(orphan.manager);
    let mut shown = json!({
        "orphan_id": orphan.id,
        "object_type": Value::Null,
        "hid_id": Value::Null,
        "status": Value::Null,
        "credential_manager": manager.map(|manager| manager.name.as_str()),
        "credential_manager_acs_system_id": orphan.manager,
        "user_identity_id": identity.id,
        "device_id": Value::Null,
        "part_number": Value::Null,
        "found_at": show::instant(orphan.found_at()),
        "is_being_removed": orphan.is_leaving(),
    });
    match orphan.what {
        What::Credential {
            phone,
            part_number,
            credential,
            held,
        } => {
            shown["object_type"] = json!("credential");
            shown["hid_id"] = json!(credential);
            shown["status"] = json!(state::credential_name(&held.status));
            shown["device_id"] = json!(phone);
            shown["part_number"] = json!(part_number);
        }
        What::Invitation { invitation, known } => {
            shown["object_type"] = json!("invitation");
            shown["hid_id"] = json!(invitation);
            shown["status"] = json!(state::invitation_name(&known.status));
        }
    }
    shown
}
