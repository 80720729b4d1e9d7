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

/// A call of each route that is answered with 200, so that its answer passes the check above.
#[expect(clippy::too_many_lines, reason = "one list, a call a route")]
#[tokio::test]
async fn every_route_answers_as_documented() {
    let world = World::new();
    let ada = world.person("ada").await;
    let user = world.acs_user(&ada).await;
    let parent = world.parent(&user).await;
    let phone = world.enroll(&ada, "72001", iphone()).await;
    world.issue(&ada, &phone, "900").await;
    let launched = json!({"user_identity_id": ada, "credential_manager_acs_system_id": HQ});
    let automation = world.ok("/enrollment_automations/launch", launched.clone());
    let automation = id_of(&automation.await, "enrollment_automation_id");
    let of = json!({"enrollment_automation_id": automation});
    let credential = json!({"acs_credential_id": parent});
    let identity = json!({"user_identity_id": ada});
    let system = json!({"acs_system_id": DOORS});

    let mut calls = vec![
        (
            "/user_identities/create",
            json!({"user_identity_key": "grace"}),
        ),
        ("/user_identities/get", identity.clone()),
        ("/user_identities/list", json!({"limit": 1})),
        (
            "/user_identities/enrollment_automations/launch",
            launched.clone(),
        ),
        ("/user_identities/enrollment_automations/get", of.clone()),
        (
            "/user_identities/enrollment_automations/list",
            identity.clone(),
        ),
        ("/enrollment_automations/launch", launched),
        ("/enrollment_automations/get", of.clone()),
        ("/enrollment_automations/list", identity.clone()),
        (
            "/enrollment_automations/invitations/get_or_create",
            of.clone(),
        ),
        ("/enrollment_automations/invitations/resend", of.clone()),
        (
            "/acs/users/create",
            json!({"acs_system_id": DOORS, "full_name": "Grace Example", "email_address": "g@example.com"}),
        ),
        ("/acs/users/get", json!({"acs_user_id": user})),
        ("/acs/users/list", json!({})),
        ("/acs/systems/get", system.clone()),
        ("/acs/systems/list", json!({})),
        (
            "/acs/systems/list_compatible_credential_manager_acs_systems",
            system,
        ),
        ("/acs/credentials/create", seed_credential(&user)),
        ("/acs/credentials/get", credential.clone()),
        ("/acs/credentials/list", json!({})),
        ("/phones/list", identity.clone()),
        ("/phones/get", json!({"device_id": phone})),
        (
            "/events/list",
            json!({"event_type": "acs_credential.issued"}),
        ),
        (
            "/events/get",
            json!({"event_type": "acs_credential.issued"}),
        ),
        ("/workspaces/get", json!({})),
    ];
    // Last: what takes things away.
    calls.extend([
        ("/acs/credentials/delete", credential),
        ("/user_identities/enrollment_automations/delete", of.clone()),
    ]);
    let mut asked = BTreeSet::new();
    for (path, body) in calls {
        world.ok(path, body).await;
        asked.insert(path);
    }
    let again = json!({"user_identity_id": ada, "credential_manager_acs_system_id": HQ});
    let again = world.ok("/enrollment_automations/launch", again).await;
    let of = json!({"enrollment_automation_id": id_of(&again, "enrollment_automation_id")});
    for (path, body) in [
        ("/enrollment_automations/delete", of),
        ("/user_identities/delete", identity),
    ] {
        world.ok(path, body).await;
        asked.insert(path);
    }
    let grace = world.person("grace_hopper").await;
    let hook = json!({"url": "https://hooks.example.com/seam"});
    let hook = world.ok("/webhooks/create", hook).await;
    let hook = json!({"webhook_id": hook["webhook_id"], "event_types": ["acs_user.deleted"]});
    asked.insert("/webhooks/create");
    for path in [
        "/webhooks/get",
        "/webhooks/update",
        "/webhooks/list",
        "/webhooks/delete",
    ] {
        world.ok(path, hook.clone()).await;
        asked.insert(path);
    }
    let session = world.ok("/client_sessions/create", json!({})).await;
    asked.insert("/client_sessions/create");
    let session =
        json!({"client_session_id": session["client_session_id"], "user_identity_id": grace});
    for path in [
        "/client_sessions/get_or_create",
        "/client_sessions/get",
        "/client_sessions/list",
        "/client_sessions/grant_access",
        "/client_sessions/revoke",
        "/client_sessions/delete",
    ] {
        world.ok(path, session.clone()).await;
        asked.insert(path);
    }
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(world.get(path).await.status, 200, "{path}");
        asked.insert(path);
    }

    let documented = DOCUMENT["paths"].as_object().unwrap();
    let documented: BTreeSet<_> = documented.keys().map(String::as_str).collect();
    assert_eq!(asked, documented);
}
