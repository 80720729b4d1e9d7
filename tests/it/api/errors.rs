//! What goes wrong is always JSON with a type that a program can use (seam-api.md 1.6).

use serde_json::{Value, json};

use super::support::*;

const JSON: &str = "application/json";

#[tokio::test]
async fn before_any_handler() {
    let world = World::new();
    let large = format!(r#"{{"x":"{}"}}"#, "y".repeat(1024 * 1024));
    let get = "/user_identities/get";
    for (key, verb, path, body, status, kind) in [
        (WRITE, "POST", "/user_identities/lst", "", 404, "not_found"),
        (WRITE, "GET", "/", "", 404, "not_found"),
        ("seam_x", "POST", "/nowhere", "", 404, "not_found"),
        (WRITE, "PATCH", get, "", 405, "method_not_allowed"),
        (
            WRITE,
            "GET",
            "/user_identities/create",
            "",
            405,
            "method_not_allowed",
        ),
        ("seam_x", "POST", get, "{", 401, "unauthorized"),
        ("", "POST", get, "", 401, "unauthorized"),
        (
            READ,
            "POST",
            "/user_identities/create",
            "{}",
            403,
            "insufficient_scope",
        ),
        (
            INVITE,
            "POST",
            "/user_identities/delete",
            "{}",
            403,
            "insufficient_scope",
        ),
        (
            READ,
            "POST",
            "/enrollment_automations/invitations/resend",
            "{}",
            403,
            "insufficient_scope",
        ),
        (WRITE, "POST", get, large.as_str(), 413, "payload_too_large"),
        (WRITE, "POST", get, "{\"a\":", 400, "invalid_input"),
    ] {
        let answer = world.call_as(key, verb, path, JSON, body).await;
        assert_eq!(answer.error(), (status, kind.to_owned()), "{verb} {path}");
    }
    let wrong = world.call("PUT", get, "", "").await;
    assert_eq!(wrong.headers["allow"], "GET, POST");
    assert!(
        wrong.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("GET, POST")
    );
    let bare = http::Request::post(get)
        .body(axum::body::Body::empty())
        .unwrap();
    assert_eq!(world.send(bare).await.error(), (401, "unauthorized".into()));
    assert_eq!(
        world
            .call_as(INVITE, "GET", "/phones/list", "", "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn validation_errors_are_a_tree() {
    let world = World::new();
    let launch = "/user_identities/enrollment_automations/launch";
    let one = world
        .post(launch, json!({"user_identity_id": NOBODY}))
        .await
        .json();
    let name = "credential_manager_acs_system_id";
    assert_eq!(
        one["error"],
        json!({
            "type": "invalid_input",
            "message": format!("{name} is required"),
            "validation_errors": {"_errors": [], name: {"_errors": ["Required"]}},
        })
    );
    let two = world
        .post(launch, json!({"user_identity_id": "x", name: 7}))
        .await
        .json();
    assert_eq!(
        two["error"],
        json!({
            "type": "invalid_input",
            "message": format!(
                "2 Input Errors: Expected string, received number for \"{name}\", Invalid uuid for \"user_identity_id\""
            ),
            "validation_errors": {
                "_errors": [],
                name: {"_errors": ["Expected string, received number"]},
                "user_identity_id": {"_errors": ["Invalid uuid"]},
            },
        })
    );
}

// One row a line.
#[rustfmt::skip]
#[tokio::test]
async fn what_a_handler_refuses() {
    let world = World::new();
    let ada = world.person("ada").await;
    let user = world.acs_user(&ada).await;
    let bob = world.person("bob").await;
    let twin =
        json!({"acs_system_id": DOORS, "full_name": "Eve", "email_address": "eve@example.com"});
    world.ok("/acs/users/create", twin).await;
    let lab_user = json!({"acs_system_id": LAB, "full_name": "Ada", "user_identity_id": ada});
    let lab_user = id_of(
        &world.ok("/acs/users/create", lab_user).await,
        "acs_user_id",
    );
    let credential = |change: Value| {
        let mut body = seed_credential(&user);
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let launch = |manager: uuid::Uuid, more: Value| {
        let mut body =
            json!({"user_identity_id": ada, "credential_manager_acs_system_id": manager});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let created = "/user_identities/create";
    let launched = "/user_identities/enrollment_automations/launch";
    let issued = "/acs/credentials/create";
    for (path, body, status, kind) in [
        (created, json!({"user_identity_key": "ada"}), 409, "user_identity_key_conflict"),
        (created, json!({"email_address": "ADA@example.com"}), 409, "user_identity_email_or_phone_conflict"),
        (created, json!({"email_address": "ada"}), 400, "invalid_input"),
        (created, json!({"email_address": "a@@b.c"}), 400, "invalid_input"),
        (created, json!({"phone_number": "555 1234"}), 400, "invalid_input"),
        (created, json!({"full_name": "Ada\u{0}"}), 400, "invalid_input"),
        (created, json!({"user_identity_key": " "}), 400, "invalid_input"),
        (created, json!({"acs_system_ids": [NOBODY]}), 404, "acs_system_not_found"),
        ("/user_identities/get", json!({}), 400, "invalid_input"),
        ("/user_identities/get", json!({"user_identity_id": ada, "user_identity_key": "ada"}), 400, "invalid_input"),
        ("/user_identities/get", json!({"user_identity_id": NOBODY}), 404, "user_identity_not_found"),
        (launched, launch(NOBODY, json!({})), 404, "acs_system_not_found"),
        (launched, launch(DOORS, json!({})), 400, "acs_system_not_credential_manager"),
        (launched, launch(HQ, json!({"acs_credential_pool_id": NOBODY})), 404, "acs_credential_pool_not_found"),
        (launched, launch(HQ, json!({"user_identity_id": NOBODY})), 404, "user_identity_not_found"),
        (launched, launch(HQ, json!({"credential_manager_acs_user_id": user, "create_credential_manager_user": true})), 400, "invalid_input"),
        (launched, launch(HQ, json!({"credential_manager_acs_user_id": user})), 400, "invalid_input"),
        (launched, launch(HQ, json!({"credential_manager_acs_user_id": NOBODY})), 404, "acs_user_not_found"),
        ("/enrollment_automations/get", json!({"enrollment_automation_id": NOBODY}), 404, "enrollment_automation_not_found"),
        ("/enrollment_automations/list", json!({"user_identity_id": NOBODY}), 404, "user_identity_not_found"),
        ("/enrollment_automations/delete", json!({"enrollment_automation_id": NOBODY}), 404, "enrollment_automation_not_found"),
        ("/enrollment_automations/invitations/resend", json!({"enrollment_automation_id": NOBODY}), 404, "enrollment_automation_not_found"),
        ("/acs/users/create", json!({"acs_system_id": DOORS}), 400, "invalid_input"),
        ("/acs/users/create", json!({"acs_system_id": DOORS, "full_name": "A", "user_identity_id": ada}), 409, "acs_user_already_exists"),
        ("/acs/users/create", json!({"acs_system_id": DOORS, "full_name": "A", "user_identity_id": bob, "email": "eve@example.com"}), 400, "acs_user_not_linked"),
        ("/acs/users/create", json!({"acs_system_id": DOORS, "full_name": "A", "access_schedule": {}}), 400, "invalid_input"),
        ("/acs/users/get", json!({"acs_system_id": DOORS}), 400, "invalid_input"),
        ("/acs/users/get", json!({"acs_system_id": LAB, "user_identity_id": bob}), 404, "acs_user_not_found"),
        ("/acs/systems/get", json!({"acs_system_id": NOBODY}), 404, "acs_system_not_found"),
        (issued, credential(json!({"access_method": "card"})), 400, "invalid_input"),
        (issued, credential(json!({"access_method": "magic"})), 400, "invalid_input"),
        (issued, credential(json!({"is_multi_phone_sync_credential": null})), 400, "invalid_input"),
        (issued, credential(json!({"acs_user_id": null})), 400, "invalid_input"),
        (issued, credential(json!({"acs_system_id": DOORS})), 400, "invalid_input"),
        (issued, credential(json!({"acs_user_id": NOBODY})), 404, "acs_user_not_found"),
        (issued, credential(json!({"facility_code": "11"})), 400, "card_profile_not_found"),
        (issued, credential(json!({"facility_code": null})), 400, "card_profile_ambiguous"),
        (issued, credential(json!({"ends_at": "2024-01-01T00:00:00Z"})), 400, "invalid_input"),
        (issued, credential(json!({"starts_at": "2025-01-02T00:00:00Z", "ends_at": "2025-01-01T00:00:00Z"})), 400, "invalid_input"),
        (issued, credential(json!({"credential_manager_acs_system_id": DOORS})), 400, "acs_system_not_credential_manager"),
        (issued, credential(json!({"credential_manager_acs_system_id": NOBODY})), 404, "acs_system_not_found"),
        (issued, credential(json!({"acs_user_id": lab_user, "credential_manager_acs_system_id": HQ})), 400, "invalid_input"),
        (issued, credential(json!({"acs_user_id": lab_user, "card_format": null, "facility_code": null})), 400, "part_number_unknown"),
        ("/acs/credentials/get", json!({"acs_credential_id": NOBODY}), 404, "acs_credential_not_found"),
        ("/acs/credentials/delete", json!({"acs_credential_id": NOBODY}), 404, "acs_credential_not_found"),
        ("/phones/get", json!({"device_id": NOBODY}), 404, "device_not_found"),
        ("/phones/get", json!({"device_id": "{6737e186-8d54-48ce-a7da-a0be4d252172}"}), 400, "invalid_input"),
    ] {
        let answer = world.post(path, body.clone()).await;
        assert_eq!(
            answer.error(),
            (status, kind.to_owned()),
            "{path} {body}: {}",
            answer.text
        );
        assert!(!answer.text.contains("example.com"), "{}", answer.text);
    }
}

#[tokio::test]
async fn probes_need_no_key() {
    let world = World::new();
    for path in ["/healthz", "/readyz"] {
        let request = http::Request::get(path)
            .body(axum::body::Body::empty())
            .unwrap();
        let answer = world.send(request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["ok"].clone()),
            (200, json!(true))
        );
    }
    world
        .turning
        .store(false, std::sync::atomic::Ordering::SeqCst);
    let answer = world.call_as("", "GET", "/readyz", "", "").await;
    assert_eq!(answer.error(), (503, "service_unavailable".into()));
    assert_eq!(world.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn without_a_store_everything_is_unavailable() {
    let lines = crate::support::lines::Lines::listen();
    let world = World::over(std::sync::Arc::new(super::broken::Broken));
    for (path, body) in [
        ("/user_identities/create", json!({})),
        ("/user_identities/get", json!({"user_identity_key": "ada"})),
        ("/acs/credentials/list", json!({})),
        ("/phones/get", json!({"device_id": NOBODY})),
    ] {
        let answer = world.post(path, body).await;
        assert_eq!(
            answer.error(),
            (503, "service_unavailable".into()),
            "{path}"
        );
        assert!(!answer.text.contains("disk"), "{}", answer.text);
        assert!(answer.headers.contains_key("retry-after"));
    }
    let failed = lines.told("api.failed");
    assert_eq!(failed.len(), 4);
    crate::support::alerts::raises("OrigoRequestFailed", &failed[0]);
    let ready = world.get("/readyz").await;
    assert_eq!(ready.error(), (503, "service_unavailable".into()));
    assert_eq!(world.get("/healthz").await.status, 200);
}
