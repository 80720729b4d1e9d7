//! What the operator reads: `/adapter/list`, `/adapter/show` and `/adapter/history`, each row with the state that journal
//! and log know it by (contract.md sections 3 and 7).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::problem::Problem;
use super::routes::PAGE;
use super::{Api, Call, Reply, about, hold, page, show};
use crate::core::hold::HoldReason;
use crate::core::identity::Identity;
use crate::core::ids::{AcsSystemId, AutomationId, ChildId, IdentityId, ParentId, PhoneId};
use crate::core::index::{Kind, Row};
use crate::core::policy::Policy;
use crate::core::state;
use crate::store::{JournalRow, ListQuery};

/// What can be listed.
pub(super) const KINDS: &[&str] = &["identities", "automations", "phones", "credentials"];

const CURSOR: &str = "page_cursor";

/// What rows are made from, besides their identities.
struct Reader<'a> {
    api: &'a Api,
    call: &'a Call,
    policy: std::sync::Arc<Policy>,
    held: BTreeMap<AcsSystemId, HoldReason>,
}

/// A row's state, and why.
struct Standing {
    name: String,
    reason: Option<&'static str>,
    manager: Option<AcsSystemId>,
}

impl<'a> Reader<'a> {
    async fn new(api: &'a Api, call: &'a Call) -> Result<Self, Problem> {
        let holds = hold::all(api).await?;
        let mut held = BTreeMap::new();
        for manager in &api.schedule.managers {
            if let Some(reason) = hold::whole(&holds, manager.id) {
                held.insert(manager.id, reason);
            }
        }
        Ok(Self {
            api,
            call,
            policy: api.engine.policy(),
            held,
        })
    }

    /// A row as shown; `None`: nobody should see it.
    fn row(&self, row: &Row, identity: &Identity) -> Option<Value> {
        let id: Uuid = row.id.parse().ok()?;
        let standing = match row.kind {
            Kind::Identity => Some(person(identity)),
            Kind::Automation => self.automation(identity, AutomationId(id)),
            Kind::Phone => phone(identity, PhoneId(id)),
            Kind::Parent => parent(identity, ParentId(id)),
            Kind::Child => self.child(identity, ChildId(id)),
            Kind::IdentityKey
            | Kind::IdentityEmail
            | Kind::IdentityPhoneNumber
            | Kind::AcsUser
            | Kind::UnlinkedAcsUser
            | Kind::Guarded
            | Kind::Orphan
            | Kind::HidUser
            | Kind::HidInvitation
            | Kind::HidContainer
            | Kind::HidCredential => None,
        }?;
        Some(json!({
            "object_type": row.kind.name(),
            "id": id,
            "user_identity_id": identity.id,
            "credential_manager": standing.manager.map(|manager| hold::name(self.api, manager)),
            "state": standing.name,
            "reason": standing.reason,
            "created_at": show::instant(row.created_at),
        }))
    }

    fn automation(&self, identity: &Identity, id: AutomationId) -> Option<Standing> {
        let (manager, _) = identity.automation(id)?;
        let held = self.held.get(&manager).copied();
        let whose = (identity, manager);
        let state = hold::automation(&self.policy, whose, held, self.call.now)?;
        Some(Standing {
            name: state.name.to_owned(),
            reason: state.reason,
            manager: Some(manager),
        })
    }

    fn child(&self, identity: &Identity, id: ChildId) -> Option<Standing> {
        let (parent, phone, _) = identity.child(id)?;
        let parent = identity.parents.get(&parent)?;
        let state = state::child(identity, parent, phone, self.call.now)?;
        Some(Standing {
            name: state.name().to_owned(),
            reason: None,
            manager: Some(parent.manager),
        })
    }
}

fn person(identity: &Identity) -> Standing {
    let name = match identity.held {
        _ if identity.deleting_since.is_some() => "deleting",
        Some(_) => "held",
        None => "present",
    };
    Standing {
        name: name.to_owned(),
        reason: identity.held.map(|hold| hold.reason.name()),
        manager: None,
    }
}

fn phone(identity: &Identity, id: PhoneId) -> Option<Standing> {
    let (manager, phone) = identity.phone(id)?;
    Some(Standing {
        name: state::phone(phone).to_owned(),
        reason: None,
        manager: Some(manager),
    })
}

fn parent(identity: &Identity, id: ParentId) -> Option<Standing> {
    let parent = identity.parents.get(&id)?;
    let leaving = parent.deleting_since.is_some();
    Some(Standing {
        name: if leaving { "deleting" } else { "present" }.to_owned(),
        reason: None,
        manager: Some(parent.manager),
    })
}

/// All of a kind, newest first.
pub(super) async fn list(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let kinds = match call.params.text("kind") {
        Some("automations") => vec![Kind::Automation],
        Some("phones") => vec![Kind::Phone],
        Some("credentials") => vec![Kind::Parent, Kind::Child],
        Some(_) | None => vec![Kind::Identity],
    };
    let wanted = call.params.text("state");
    let reader = Reader::new(api, call).await?;
    let query = ListQuery {
        kinds,
        ..ListQuery::default()
    };
    page::page(api, call, query, |row, identity| {
        let shown = reader.row(row, identity)?;
        let is_asked_for = wanted.is_none_or(|state| shown["state"] == state);
        is_asked_for.then_some(shown)
    })
    .await
}

/// The person behind an id, with all that is theirs.
pub(super) async fn object(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let missing = || Problem::missing("not_found", "object with this id");
    let id = call.params.need_id("id")?;
    let (kind, owner) = about::find(api, id).await?.ok_or_else(missing)?;
    let identity = api.load(owner).await?.ok_or_else(missing)?;
    let reader = Reader::new(api, call).await?;
    let query = ListQuery {
        kinds: vec![
            Kind::Identity,
            Kind::Automation,
            Kind::Phone,
            Kind::Parent,
            Kind::Child,
        ],
        identity: Some(owner),
        ..ListQuery::default()
    };
    let rows = page::all(api, query, |row, identity| reader.row(row, identity));
    let rows = rows.await?.value;
    Ok(Reply::one(json!({
        "object_type": kind.name(),
        "id": id,
        "user_identity": show::user_identity(&call.settings, &identity),
        "objects": rows,
    })))
}

/// The journal of the person behind an id, oldest first; also of one who is gone, by the identity's own id.
pub(super) async fn history(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let id = call.params.need_id("id")?;
    let owner = about::find(api, id).await?;
    let owner = owner.map_or(IdentityId(id), |(_, owner)| owner);
    let rows = api.engine.store().journal(owner).await?;
    if rows.is_empty() {
        return Err(Problem::missing("not_found", "object with this id"));
    }
    let after = match call.params.text(CURSOR) {
        Some(cursor) => {
            let seq = cursor.parse::<u64>();
            seq.map_err(|_| Problem::param(CURSOR, "Invalid page cursor"))?
        }
        None => 0,
    };
    let limit = call.params.number("limit").unwrap_or(PAGE);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut rest = rows.iter().filter(|row| row.seq > after);
    let page: Vec<&JournalRow> = rest.by_ref().take(limit).collect();
    let has_next_page = rest.next().is_some();
    let cursor = page.last().filter(|_| has_next_page);
    let values = page.iter().map(|row| shown(row)).collect();
    Ok(Reply {
        value: Value::Array(values),
        plain: None,
        pagination: Some(json!({
            "has_next_page": has_next_page,
            "next_page_cursor": cursor.map(|row| row.seq.to_string()),
            "next_page_url": null,
        })),
    })
}

fn shown(row: &JournalRow) -> Value {
    json!({
        "seq": row.seq,
        "at": show::instant(row.at),
        "cause": row.cause,
        "entity": row.change.entity,
        "from": row.change.from,
        "to": row.change.to,
    })
}
