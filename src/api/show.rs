//! Resources as Seam shows them (seam-api.md 2, 7.1): every required field, and HID's constants.

use serde_json::{Value, json};

use super::schedule::NextCall;
use super::systems::{Role, System};
use super::{Settings, hold};
use crate::clock::rfc3339;
use crate::core::hold::{HoldReason, is_held_back};
use crate::core::identity::{AcsUser, Automation, CmUserState, Enrollment, Identity, Phone};
use crate::core::ids::{AcsSystemId, AcsUserId, PartNumber, Personal, PhoneId, Timestamp};
use crate::core::policy::Policy;
use crate::core::{phones, plan, state};

/// A configured system has no date of birth; any constant serves, and this one can't be mistaken for one.
const CONFIGURED_AT: Timestamp = Timestamp(0);
/// Seam's schema asks for a picture of each system; ours is an empty one.
const NO_IMAGE: &str = "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'/%3E";

/// A timestamp as the API writes it.
pub(super) fn instant(at: Timestamp) -> Value {
    Value::String(rfc3339(at.0))
}

fn text(personal: Option<&Personal>) -> Option<&str> {
    personal.map(|personal| personal.0.as_str())
}

/// A user identity.
pub(super) fn user_identity(settings: &Settings, identity: &Identity) -> Value {
    let profile = &identity.profile;
    let names = [
        text(profile.full_name.as_ref()),
        text(profile.email_address.as_ref()),
        text(profile.phone_number.as_ref()),
        profile.key.as_deref(),
    ];
    let id = identity.id.to_string();
    let errors: Vec<Value> = identity
        .acs_users
        .iter()
        .filter_map(|(user_id, user)| {
            let enrollment = identity.enrollments.get(&user.acs_system)?;
            let message =
                hid_refusal(enrollment).or_else(|| update_refusal(identity, enrollment))?;
            Some(json!({
                "error_code": "issue_with_acs_user",
                "message": message,
                "created_at": instant(user.created_at),
                "acs_user_id": user_id,
                "acs_system_id": user.acs_system,
            }))
        })
        .collect();
    json!({
        "user_identity_id": id,
        "user_identity_key": profile.key,
        "email_address": profile.email_address,
        "phone_number": profile.phone_number,
        "full_name": profile.full_name,
        "display_name": first_of(&names, &id),
        "created_at": instant(identity.created_at),
        "workspace_id": settings.systems.workspace(),
        "acs_user_ids": identity.acs_users.keys().collect::<Vec<_>>(),
        "errors": errors,
        "warnings": being_deleted(identity.deleting_since, "user identity"),
        "merged_user_identity_ids": [],
        "merged_user_identity_keys": [],
    })
}

fn first_of<'a>(names: &[Option<&'a str>], id: &'a str) -> &'a str {
    let mut given = names
        .iter()
        .flatten()
        .filter(|name| !name.trim().is_empty());
    given.next().copied().unwrap_or(id)
}

/// The warning that Seam gives while something is on its way out.
pub(super) fn being_deleted(since: Option<Timestamp>, what: &str) -> Vec<Value> {
    let warning = since.map(|since| {
        json!({
            "warning_code": "being_deleted",
            "message": format!("this {what} is being deleted"),
            "created_at": instant(since),
        })
    });
    warning.into_iter().collect()
}

/// Why HID has no user for this person, where a person must act.
fn hid_refusal(enrollment: &Enrollment) -> Option<&'static str> {
    match &enrollment.user.state {
        CmUserState::Conflict { .. } => {
            Some("HID already has a user with this e-mail address that is not ours")
        }
        CmUserState::Refused(_) => Some("HID refuses the name or e-mail address of this person"),
        CmUserState::Gone => Some("HID's user was deleted by somebody else"),
        CmUserState::Absent
        | CmUserState::Unsure { .. }
        | CmUserState::Taken
        | CmUserState::Found { .. }
        | CmUserState::Present { .. }
        | CmUserState::Deleting { .. } => None,
    }
}

/// Why HID's user does not follow this person, where a person must act.
fn update_refusal(identity: &Identity, enrollment: &Enrollment) -> Option<&'static str> {
    enrollment.user_id()?;
    Some(match state::update_refused(identity, enrollment)? {
        "user_conflict" => "HID keeps the old data: another user has this e-mail address",
        _ => "HID keeps the old data: the new name or e-mail address is incomplete or refused",
    })
}

/// An ACS user, of an access system or of a credential manager.
pub(super) fn acs_user(
    settings: &Settings,
    identity: &Identity,
    id: AcsUserId,
    user: &AcsUser,
) -> Value {
    let system = settings.systems.get(user.acs_system);
    let names = [
        text(user.full_name.as_ref()),
        text(user.email_address.as_ref()),
        text(user.phone_number.as_ref()),
    ];
    let shown_id = id.to_string();
    let mut shown = json!({
        "acs_user_id": shown_id,
        "acs_system_id": user.acs_system,
        "connected_account_id": connected_account(settings, user.acs_system),
        "workspace_id": settings.systems.workspace(),
        "created_at": instant(user.created_at),
        "display_name": first_of(&names, &shown_id),
        "errors": [],
        "warnings": being_deleted(user.deleting_since.or(identity.deleting_since), "ACS user"),
        "is_managed": true,
        "last_successful_sync_at": null,
        "is_suspended": user.suspended,
        "pending_mutations": [],
    });
    let mut given = vec![
        ("full_name", json!(user.full_name)),
        ("email_address", json!(user.email_address)),
        ("email", json!(user.email_address)),
        ("phone_number", json!(user.phone_number)),
    ];
    let manager = system
        .filter(|system| system.is_manager())
        .map(|system| system.id.0);
    given.push((
        "hid_acs_system_id",
        json!(user.hid_acs_system_id.or(manager)),
    ));
    if identity.listed {
        shown["user_identity_id"] = json!(identity.id);
        shown["user_identity_full_name"] = json!(identity.profile.full_name);
        shown["user_identity_email_address"] = json!(identity.profile.email_address);
        shown["user_identity_phone_number"] = json!(identity.profile.phone_number);
    }
    if system.is_some_and(System::is_manager) {
        given.push(("external_type", json!("hid_credential_manager_user")));
        given.push(("external_type_display_name", json!("HID user")));
        cm_user_health(identity, user, &mut shown);
    }
    for (name, value) in given.into_iter().filter(|(_, value)| !value.is_null()) {
        shown[name] = value;
    }
    shown
}

/// How far the credential manager's user is, in Seam's words.
fn cm_user_health(identity: &Identity, user: &AcsUser, shown: &mut Value) {
    let Some(enrollment) = identity.enrollments.get(&user.acs_system) else {
        return;
    };
    let at = instant(user.created_at);
    if let Some(message) = hid_refusal(enrollment) {
        shown["errors"] = json!([{
            "error_code": "failed_to_create_on_acs_system",
            "message": message,
            "created_at": at,
        }]);
    } else if let Some(message) = update_refusal(identity, enrollment) {
        shown["errors"] = json!([{
            "error_code": "failed_to_update_on_acs_system",
            "message": message,
            "created_at": at,
        }]);
    } else if enrollment.user_id().is_none() {
        shown["pending_mutations"] = json!([{
            "mutation_code": "creating",
            "message": "HID's user is being created",
            "created_at": at,
        }]);
    }
}

/// The account behind a system; a system that is configured no more keeps a stable stand-in.
pub(super) fn connected_account(settings: &Settings, id: AcsSystemId) -> uuid::Uuid {
    let workspace = settings.systems.workspace();
    settings.systems.get(id).map_or_else(
        || uuid::Uuid::new_v5(&workspace, id.0.as_bytes()),
        |system| system.connected_account(workspace),
    )
}

/// A configured system.
pub(super) fn acs_system(settings: &Settings, system: &System) -> Value {
    let workspace = settings.systems.workspace();
    let account = system.connected_account(workspace);
    let mut shown = json!({
        "acs_system_id": system.id,
        "connected_account_id": account,
        "connected_account_ids": [account],
        "workspace_id": workspace,
        "created_at": instant(CONFIGURED_AT),
        "name": system.name,
        "is_credential_manager": system.is_manager(),
        "image_url": NO_IMAGE,
        "image_alt_text": system.name,
        "location": { "time_zone": null },
        "errors": [],
        "warnings": [],
        "default_credential_manager_acs_system_id": null,
    });
    match &system.role {
        Role::Manager(_) => {
            for (name, value) in [
                ("external_type", "hid_credential_manager_organization"),
                ("external_type_display_name", "HID org"),
                ("system_type", "hid_credential_manager_organization"),
                ("system_type_display_name", "HID org"),
            ] {
                shown[name] = json!(value);
            }
        }
        // Whose product it is we don't know, so it has no `external_type`.
        Role::Access { manager } => {
            shown["default_credential_manager_acs_system_id"] = json!(manager);
        }
    }
    shown
}

/// A pool, which is a part number.
pub(super) fn credential_pool(
    settings: &Settings,
    system: AcsSystemId,
    (id, part_number): (uuid::Uuid, &PartNumber),
) -> Value {
    json!({
        "acs_credential_pool_id": id,
        "acs_system_id": system,
        "display_name": part_number,
        "external_type": "hid_part_number",
        "external_type_display_name": "HID part number",
        "workspace_id": settings.systems.workspace(),
        "created_at": instant(CONFIGURED_AT),
    })
}

/// An enrollment automation, with what stands behind `is_running` below `adapter`.
pub(super) fn enrollment_automation(
    settings: &Settings,
    policy: &Policy,
    (identity, manager, automation): (&Identity, AcsSystemId, &Automation),
    (held, next): (Option<HoldReason>, Option<&NextCall>),
    now: Timestamp,
) -> Value {
    let state = hold::automation(policy, (identity, manager), held, now);
    // What is still owed then is only looking again.
    let settled = state.as_ref().is_some_and(|state| state.name == "enrolled");
    let next_try_at = plan::owed(policy, identity, now)
        .into_values()
        .filter(|owed| owed.manager == Some(manager) && !settled)
        .filter(|owed| held.is_none() || !is_held_back(&owed.effect))
        .map(|owed| owed.not_before.max(now))
        .min();
    let phones = identity
        .enrollments
        .get(&manager)
        .into_iter()
        .flat_map(|e| {
            e.phones
                .iter()
                .filter(|(_, phone)| phone.removed_at.is_none())
                .map(|(id, phone)| adapter_phone(identity, manager, (*id, phone), now))
        });
    json!({
        "enrollment_automation_id": automation.id,
        "acs_credential_provisioning_automation_id": automation.id,
        "user_identity_id": identity.id,
        "credential_manager_acs_system_id": manager,
        "workspace_id": settings.systems.workspace(),
        "is_running": true,
        "created_at": instant(automation.created_at),
        "adapter": {
            "state": state.as_ref().map(|state| state.name),
            "reason": state.as_ref().and_then(|state| state.reason),
            "next_try_at": next_try_at.map(instant),
            "queue_position": next.map(|next| next.place.ahead + 1),
            "eta": next.map(|next| instant(next.at)),
            "phones": phones.collect::<Vec<_>>(),
        },
    })
}

fn adapter_phone(
    identity: &Identity,
    manager: AcsSystemId,
    (id, phone): (PhoneId, &Phone),
    now: Timestamp,
) -> Value {
    let keys = phone
        .keys
        .iter()
        .filter(|(_, key)| key.used || key.is_live());
    let keys = keys.map(|(part_number, _)| {
        let state = state::key(identity, manager, (id, phone), part_number, now);
        json!({ "part_number": part_number, "state": state.name() })
    });
    json!({
        "device_id": id,
        "state": state::phone(phone),
        "enrolled": phone.enrolled,
        "reason": phones::is_over_limit(phone).then_some("over_limit"),
        "keys": keys.collect::<Vec<_>>(),
    })
}

/// The warning of a phone that gets no key because there are too many.
fn over_limit(phone: &Phone) -> Vec<Value> {
    let since = phone.knocked_at.filter(|_| phones::is_over_limit(phone));
    let warning = since.map(|since| {
        json!({
            "warning_code": "over_phone_limit",
            "message": "this phone gets no keys: its owner has as many phones with keys as may be",
            "created_at": instant(since),
        })
    });
    warning.into_iter().collect()
}

/// A phone. Seam's has no owner and no HID block.
pub(super) fn phone(settings: &Settings, id: PhoneId, phone: &Phone) -> Value {
    let device = &phone.device;
    let parts = [device.manufacturer.as_deref(), device.model.as_deref()];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    let name = parts.join(" ");
    let is_apple = [
        device.manufacturer.as_deref(),
        device.model.as_deref(),
        device.os_version.as_deref(),
    ]
    .into_iter()
    .flatten()
    .map(str::to_lowercase)
    .any(|text| {
        let words = ["apple", "iphone", "ipad", "ios"];
        words.iter().any(|word| text.starts_with(word))
    });
    json!({
        "device_id": id,
        "device_type": if is_apple { "ios_phone" } else { "android_phone" },
        "display_name": if name.trim().is_empty() { "Phone" } else { name.trim() },
        "workspace_id": settings.systems.workspace(),
        "created_at": instant(phone.created_at),
        "custom_metadata": {},
        "properties": {},
        "errors": [],
        "warnings": over_limit(phone),
    })
}
