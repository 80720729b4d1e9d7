//! Every answer that these tests see is read against `/openapi.json`; and every route is asked at least once.
//! Stricter than the document: a field that it does not name is a failure, though clients must take any.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use origo_adapter::api::openapi_document;
use serde_json::{Value, json};

use super::support::*;

static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi_document);

/// Panics where an answer is not what the document says. Paths and verbs that are no route have no say.
pub(crate) fn check(verb: &str, path: &str, answer: &Answer) {
    let operation = &DOCUMENT["paths"][path][verb.to_lowercase()];
    if operation.is_null() {
        return;
    }
    let status = answer.status.as_u16();
    // A mistake of ours is nothing to document, and nothing that a test may pass over in silence.
    let documented = &operation["responses"][status.to_string()];
    let schema = if status == 500 {
        json!({ "$ref": "#/components/schemas/error_envelope" })
    } else {
        documented["content"]["application/json"]["schema"].clone()
    };
    if !documented["content"]["text/plain"].is_null() {
        let kind = answer.headers["content-type"].to_str().unwrap();
        assert!(kind.starts_with("text/plain"), "{kind}");
        return;
    }
    let place = format!("{verb} {path} {status}");
    assert!(
        !schema.is_null(),
        "{place} is not documented: {}",
        answer.text
    );
    let body = answer.json();
    let mut complaints = Vec::new();
    validate(&schema, &body, &place, &mut complaints);
    assert!(complaints.is_empty(), "{complaints:#?} in {body:#}");
}

fn validate(schema: &Value, value: &Value, place: &str, complaints: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = DOCUMENT.pointer(reference.trim_start_matches('#'));
        return validate(target.unwrap(), value, place, complaints);
    }
    let mut complain = |what: String| complaints.push(format!("{place}: {what}"));
    if let Some(wanted) = schema.get("const")
        && wanted != value
    {
        complain(format!("{value} is not {wanted}"));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let wanted = &schema["type"];
    let fits = match wanted.as_array() {
        Some(kinds) => kinds.contains(&json!(kind)),
        None => wanted.is_null() || wanted == kind,
    };
    if !fits {
        complain(format!("{value} is no {}", schema["type"]));
    }
    if let (Some(words), false) = (schema["enum"].as_array(), value.is_null())
        && !words.contains(value)
    {
        complain(format!("{value} is none of {words:?}"));
    }
    if let (Some(text), Some(format)) = (value.as_str(), schema["format"].as_str()) {
        let fits = match format {
            "uuid" => text.len() == 36 && text.parse::<uuid::Uuid>().is_ok(),
            "date-time" => {
                text.len() == 24
                    && text.ends_with('Z')
                    && origo_adapter::clock::parse_rfc3339(text).is_some()
            }
            other => panic!("{other} in the document"),
        };
        if !fits {
            complain(format!("{text} is no {format}"));
        }
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        for (at, item) in items.iter().enumerate() {
            validate(schema, item, &format!("{place}[{at}]"), complaints);
        }
    }
    let (Some(fields), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap()) {
            complaints.push(format!("{place}: no {name}"));
        }
    }
    for (name, value) in fields {
        match properties.get(name) {
            Some(schema) => validate(schema, value, &format!("{place}.{name}"), complaints),
            None => complaints.push(format!("{place}: {name} is not documented")),
        }
    }
}

#[test]
fn the_check_sees_what_is_wrong() {
    let schema = json!({
        "type": "object",
        "properties": {
            "id": { "type": "string", "format": "uuid" },
            "word": { "type": ["string", "null"], "enum": ["a"] },
            "list": { "type": "array", "items": { "type": "boolean" } },
        },
        "required": ["id"],
    });
    for (value, wrong) in [
        (json!({ "id": NOBODY, "word": null, "list": [true] }), 0),
        (json!({ "id": NOBODY, "word": "a" }), 0),
        (json!({}), 1),
        (json!({ "id": 1 }), 1),
        (json!({ "id": "no uuid" }), 1),
        (json!({ "id": NOBODY, "word": "b" }), 1),
        (json!({ "id": NOBODY, "list": [1, 2] }), 2),
        (json!({ "id": NOBODY, "more": 1 }), 1),
        (json!([]), 1),
    ] {
        let mut complaints = Vec::new();
        validate(&schema, &value, "here", &mut complaints);
        assert_eq!(complaints.len(), wrong, "{value}: {complaints:?}");
    }
}

#[tokio::test]
async fn the_document_is_served_to_everybody() {
    let world = World::new();
    let request = http::Request::get("/openapi.json");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let answer = world.send(request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), *DOCUMENT);
}

// One row a line.
#[rustfmt::skip]
/// The calls below, as they are made: path and body, what takes things away last.
fn calls(ids: &Ids) -> Vec<(&'static str, Value)> {
    let Ids {
        ada,
        user,
        parent,
        phone,
        automation,
        spare_user,
    } = ids;
    let launch = json!({"user_identity_id": ada, "credential_manager_acs_system_id": HQ});
    let automation = json!({"enrollment_automation_id": automation});
    let credential = json!({"acs_credential_id": parent});
    let identity = json!({"user_identity_id": ada});
    let acs_user = json!({"acs_user_id": user});
    let spare = json!({"user_identity_id": ada, "acs_user_id": spare_user});
    let owned = json!({"acs_credential_id": parent, "acs_user_id": user});
    let system = json!({"acs_system_id": DOORS});
    let manager = json!({"acs_system_id": HQ});
    let device = json!({"device_id": phone});
    let installed = json!({"user_identity_id": ada, "custom_sdk_installation_id": "one"});
    let issued = json!({"event_type": "acs_credential.issued"});
    let grace = json!({"user_identity_key": "grace"});
    let new_user =
        json!({"acs_system_id": DOORS, "full_name": "G.", "email_address": "g@example.com"});
    let renamed = json!({"user_identity_id": ada, "full_name": "Ada Lovelace"});
    let renamed_user = json!({"acs_user_id": user, "full_name": "Ada Lovelace"});
    let ended = json!({"acs_credential_id": parent, "ends_at": "2030-01-01T00:00:00Z"});
    vec![
        ("/user_identities/create", grace),
        ("/user_identities/get", identity.clone()),
        ("/user_identities/list", json!({"limit": 1})),
        ("/user_identities/update", renamed),
        ("/user_identities/add_acs_user", spare.clone()),
        ("/user_identities/remove_acs_user", spare),
        ("/user_identities/list_acs_users", identity.clone()),
        ("/user_identities/list_acs_systems", identity.clone()),
        ("/user_identities/list_accessible_entrances", identity.clone()),
        ("/user_identities/list_accessible_devices", identity.clone()),
        ("/user_identities/enrollment_automations/launch", launch.clone()),
        ("/user_identities/enrollment_automations/get", automation.clone()),
        ("/user_identities/enrollment_automations/list", identity.clone()),
        ("/enrollment_automations/launch", launch.clone()),
        ("/enrollment_automations/get", automation.clone()),
        ("/enrollment_automations/list", identity.clone()),
        ("/enrollment_automations/invitations/get_or_create", automation.clone()),
        ("/enrollment_automations/invitations/resend", automation.clone()),
        ("/acs/credential_provisioning_automations/launch", launch.clone()),
        ("/acs/credential_pools/list", manager),
        ("/acs/users/create", new_user),
        ("/acs/users/get", acs_user.clone()),
        ("/acs/users/list", json!({})),
        ("/acs/users/update", renamed_user),
        ("/acs/users/suspend", acs_user.clone()),
        ("/acs/users/unsuspend", acs_user.clone()),
        ("/acs/users/list_accessible_entrances", acs_user.clone()),
        ("/acs/systems/get", system.clone()),
        ("/acs/systems/list", json!({})),
        ("/acs/systems/list_compatible_credential_manager_acs_systems", system),
        ("/acs/credentials/create", seed_credential(user)),
        ("/acs/credentials/get", credential.clone()),
        ("/acs/credentials/list", json!({})),
        ("/acs/credentials/update", ended),
        ("/acs/credentials/unassign", owned.clone()),
        ("/acs/credentials/assign", owned),
        ("/acs/credentials/list_accessible_entrances", credential.clone()),
        ("/phones/list", identity.clone()),
        ("/phones/get", device.clone()),
        ("/phones/simulate/create_sandbox_phone", installed),
        ("/events/list", issued.clone()),
        ("/events/get", issued),
        ("/workspaces/get", json!({})),
        ("/adapter/status", json!({})),
        ("/adapter/apply", json!({"rows": []})),
        ("/adapter/hold", json!({"id": ids.ada})),
        ("/adapter/release", json!({"id": ids.ada})),
        ("/adapter/list", json!({"kind": "credentials"})),
        ("/adapter/show", json!({"id": ids.ada})),
        ("/adapter/history", json!({"id": ids.ada})),
        ("/adapter/invite", json!({"id": ids.ada})),
        ("/adapter/why", json!({"id": ids.ada})),
        ("/adapter/retry", json!({"id": ids.ada})),
        ("/adapter/resync", json!({"id": ids.phone})),
        ("/adapter/orphans", json!({"limit": 1})),
        ("/phones/deactivate", device),
        ("/acs/credentials/delete", credential),
        ("/acs/users/delete", acs_user),
        ("/user_identities/enrollment_automations/delete", automation),
        ("/user_identities/enrollment_automations/launch", launch),
    ]
}

/// What the calls name.
struct Ids {
    ada: String,
    user: String,
    parent: String,
    phone: String,
    automation: String,
    spare_user: String,
}

/// Every route is called with an answer of 200, which passes the check above.
#[tokio::test]
async fn every_route_answers_as_documented() {
    let control = super::sandbox::control(72001).await;
    let world = World::sandbox(&control.uri());
    let ada = world.person("ada").await;
    let user = world.acs_user(&ada).await;
    let parent = world.parent(&user).await;
    let phone = world.enroll(&ada, "72001", iphone()).await;
    world.issue(&ada, &phone, "900").await;
    let launch = json!({"user_identity_id": ada, "credential_manager_acs_system_id": HQ});
    let path = "/enrollment_automations/launch";
    let launched = world.ok(path, launch.clone()).await;
    let spare =
        json!({"acs_system_id": LAB, "full_name": "Ada Okafor", "email_address": "a@example.com"});
    let spare = world.ok("/acs/users/create", spare).await;
    let ids = Ids {
        automation: id_of(&launched, "enrollment_automation_id"),
        spare_user: id_of(&spare, "acs_user_id"),
        ada,
        user,
        parent,
        phone,
    };
    let mut asked = BTreeSet::new();
    for (path, body) in calls(&ids) {
        world.ok(path, body).await;
        asked.insert(path);
    }
    let again = world.ok(path, launch).await;
    let again = json!({"enrollment_automation_id": again["enrollment_automation_id"]});
    let hook = json!({"url": "https://hooks.example.com/seam"});
    let hook = world.ok("/webhooks/create", hook).await;
    asked.insert("/webhooks/create");
    let session = world.ok("/client_sessions/create", json!({})).await;
    asked.insert("/client_sessions/create");
    let session = json!({"client_session_id": session["client_session_id"]});
    let grace = world.person("hopper").await;
    let granted =
        json!({"client_session_id": session["client_session_id"], "user_identity_id": grace});
    let hook = json!({"webhook_id": hook["webhook_id"], "event_types": ["acs_user.deleted"]});
    for (path, body) in [
        ("/enrollment_automations/delete", again),
        (
            "/user_identities/delete",
            json!({"user_identity_id": ids.ada}),
        ),
        ("/webhooks/get", hook.clone()),
        ("/webhooks/update", hook.clone()),
        ("/webhooks/list", hook.clone()),
        ("/webhooks/delete", hook),
        ("/client_sessions/get_or_create", json!({})),
        ("/client_sessions/get", session.clone()),
        ("/client_sessions/list", json!({})),
        ("/client_sessions/grant_access", granted),
        ("/client_sessions/revoke", session.clone()),
        ("/client_sessions/delete", session),
    ] {
        world.ok(path, body).await;
        asked.insert(path);
    }
    super::operate::stranger(&world, &grace).await;
    let orphans = world.ok("/adapter/orphans", json!({})).await;
    let orphan = json!({"orphan_id": orphans[0]["orphan_id"]});
    world.ok("/adapter/orphans/remove", orphan).await;
    asked.insert("/adapter/orphans/remove");
    let lovelace = world.person("lovelace").await;
    super::operate::conflict(&world, &lovelace).await;
    let lovelace = json!({"id": lovelace});
    world.ok("/adapter/adopt_user", lovelace).await;
    asked.insert("/adapter/adopt_user");
    for (path, body) in [
        ("/adapter/plan", json!({"rows": []})),
        ("/adapter/adopt", json!({})),
    ] {
        world.ok(path, body).await;
        asked.insert(path);
    }
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(world.get(path).await.status, 200, "{path}");
        asked.insert(path);
    }

    let documented = DOCUMENT["paths"].as_object().unwrap();
    let documented: BTreeSet<_> = documented.keys().map(String::as_str).collect();
    assert_eq!(asked, documented);
}
