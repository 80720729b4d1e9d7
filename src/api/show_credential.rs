//! Credentials as Seam shows them: the parent, and one child a phone (seam-api.md 2, 5.3).

use serde_json::{Value, json};

use super::Settings;
use super::show::{being_deleted, connected_account, instant};
use crate::core::identity::{Child, Identity, Parent};
use crate::core::ids::{ParentId, PhoneId, Timestamp};
use crate::core::state::{self, KeyState};

/// What Seam calls the parent.
const PARENT_NAME: &str = "Multi Phone Sync Credential";
/// What it calls a child (seam-api.md 10, row 10).
const CHILD_NAME: &str = "HID credential";

/// One share in a parent, as far as anybody should see it.
struct Share<'a> {
    child: &'a Child,
    state: KeyState,
    /// When HID last took our wish in; `None` while it has not.
    accepted_at: Option<Timestamp>,
    card_number: Option<&'a str>,
    /// HID was asked for it at least once.
    tried: bool,
    /// Why it is refused for good.
    refused: Option<&'static str>,
}

fn share<'a>(
    identity: &'a Identity,
    parent: &'a Parent,
    phone_id: PhoneId,
    now: Timestamp,
) -> Option<Share<'a>> {
    let child = parent.children.get(&phone_id)?;
    let state = state::child(identity, parent, phone_id, now)?;
    let (_, phone) = identity.phone(phone_id)?;
    let key = phone.keys.get(&parent.part_number)?;
    let held = key.current.as_ref().and_then(|id| key.held.get(id));
    Some(Share {
        child,
        state,
        accepted_at: held.map(|held| held.seen_at),
        card_number: held.and_then(|held| held.card_number.as_deref()),
        tried: state != KeyState::Wanted || key.trouble.failures > 0,
        refused: key.failed.map(crate::core::observation::Rejection::name),
    })
}

impl Share<'_> {
    /// HID has what is wanted.
    fn is_synced(&self) -> bool {
        match self.state {
            KeyState::Accepted | KeyState::Issued | KeyState::Revoked => true,
            KeyState::Wanted
            | KeyState::Sent
            | KeyState::Unconfirmed
            | KeyState::Revoking
            | KeyState::Failed => false,
        }
    }
}

/// The parent `id` of an identity.
pub(super) fn parent(
    settings: &Settings,
    identity: &Identity,
    id: ParentId,
    now: Timestamp,
) -> Option<Value> {
    let parent = identity.parents.get(&id)?;
    let shares: Vec<Share> = parent
        .children
        .keys()
        .filter_map(|phone| share(identity, parent, *phone, now))
        .collect();
    let issued: Vec<Timestamp> = shares
        .iter()
        .filter(|share| share.state == KeyState::Issued)
        .map(|share| share.child.issued_at.unwrap_or(share.child.created_at))
        .collect();
    let deleting = parent.deleting_since.or(identity.deleting_since);
    let synced = if shares.iter().any(|share| share.tried) {
        Some(shares.iter().all(Share::is_synced) && deleting.is_none())
    } else {
        None
    };
    let synced_at = shares.iter().filter_map(|share| share.accepted_at).max();
    let mut shown = common(settings, identity, parent);
    shown["acs_credential_id"] = json!(id);
    shown["display_name"] = json!(PARENT_NAME);
    shown["created_at"] = instant(parent.created_at);
    shown["is_multi_phone_sync_credential"] = json!(true);
    shown["is_issued"] = json!(!issued.is_empty());
    shown["issued_at"] = json!(issued.iter().min().copied().map(instant));
    set_synced(&mut shown, synced, synced_at);
    shown["warnings"] = warnings(parent.created_at, deleting, !issued.is_empty());
    Some(shown)
}

/// The child of the parent `id` on a phone; `None` where nobody should see it.
pub(super) fn child(
    settings: &Settings,
    identity: &Identity,
    (id, phone): (ParentId, PhoneId),
    now: Timestamp,
) -> Option<Value> {
    let parent = identity.parents.get(&id)?;
    let share = share(identity, parent, phone, now)?;
    let child = share.child;
    let is_issued = share.state == KeyState::Issued;
    let deleting = child
        .deleting_since
        .or(parent.deleting_since)
        .or(identity.deleting_since);
    let mut shown = common(settings, identity, parent);
    shown["acs_credential_id"] = json!(child.id);
    shown["parent_acs_credential_id"] = json!(id);
    shown["display_name"] = json!(CHILD_NAME);
    shown["created_at"] = instant(child.created_at);
    shown["is_multi_phone_sync_credential"] = json!(false);
    shown["is_issued"] = json!(is_issued);
    shown["issued_at"] = json!(child.issued_at.filter(|_| is_issued).map(instant));
    shown["card_number"] = json!(share.card_number);
    let synced = share.tried.then(|| share.is_synced());
    set_synced(&mut shown, synced, share.accepted_at);
    shown["warnings"] = warnings(child.created_at, deleting, is_issued);
    if let (KeyState::Failed, Some(reason)) = (share.state, share.refused) {
        shown["errors"] = json!([{
            "error_code": reason,
            "message": "HID refuses to issue this key",
            "created_at": instant(child.created_at),
        }]);
    }
    Some(shown)
}

/// What a parent and its children have in common.
fn common(settings: &Settings, identity: &Identity, parent: &Parent) -> Value {
    let systems = &settings.systems;
    let mut shown = json!({
        "acs_system_id": parent.acs_system,
        "connected_account_id": connected_account(settings, parent.acs_system),
        "workspace_id": systems.workspace(),
        "access_method": "mobile_key",
        "code": null,
        "card_number": null,
        "errors": [],
        "is_managed": true,
        "is_one_time_use": false,
        "external_type": "hid_credential",
        "external_type_display_name": CHILD_NAME,
    });
    if identity.listed {
        shown["user_identity_id"] = json!(identity.id);
    }
    if !parent.unassigned {
        shown["acs_user_id"] = json!(parent.acs_user);
    }
    let pool = systems.pool_of(parent.manager, &parent.part_number);
    for (name, value) in [
        ("acs_credential_pool_id", json!(pool)),
        ("starts_at", json!(parent.starts_at.map(instant))),
        ("ends_at", json!(parent.ends_at.map(instant))),
        ("card_format", json!(parent.card_format)),
        ("facility_code", json!(parent.facility_code)),
    ] {
        if !value.is_null() {
            shown[name] = value;
        }
    }
    shown
}

fn set_synced(shown: &mut Value, synced: Option<bool>, at: Option<Timestamp>) {
    let at = at.filter(|_| synced == Some(true)).map(instant);
    shown["is_latest_desired_state_synced_with_provider"] = json!(synced);
    shown["latest_desired_state_synced_with_provider_at"] = json!(at);
}

fn warnings(created_at: Timestamp, deleting: Option<Timestamp>, is_issued: bool) -> Value {
    let mut warnings = being_deleted(deleting, "credential");
    if warnings.is_empty() && !is_issued {
        warnings.push(json!({
            "warning_code": "waiting_to_be_issued",
            "message": "this credential is not on a phone yet",
            "created_at": instant(created_at),
        }));
    }
    Value::Array(warnings)
}
