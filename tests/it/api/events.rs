//! Events and webhooks over the API (seam-api.md 3.8, 6).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::support::*;

const HOOK: &str = "https://app.example.com/hook?key=s3cret";

async fn listed(world: &World, body: Value) -> Vec<String> {
    let events = world.ok("/events/list", body).await;
    let events = events.as_array().unwrap().iter();
    events.map(|event| id_of(event, "event_type")).collect()
}

#[tokio::test]
async fn a_life_in_events() {
    let world = World::new();
    let person = world.person("ada").await;
    let user = world.acs_user(&person).await;
    let parent = world.parent(&user).await;
    let phone = world.enroll(&person, "900", iphone()).await;
    world.advance(Duration::from_secs(1));
    world.issue(&person, &phone, "1000").await;

    let issued = world
        .ok(
            "/events/list",
            json!({"event_type": "acs_credential.issued"}),
        )
        .await;
    assert_eq!(issued.as_array().unwrap().len(), 2, "{issued}");
    // Newest first: the parent is told of after its child.
    let event = &issued[0];
    let expected = json!({
        "event_id": event["event_id"],
        "event_type": "acs_credential.issued",
        "workspace_id": WORKSPACE,
        "created_at": event["created_at"],
        "occurred_at": "2024-01-09T05:45:36.068Z",
        "acs_credential_id": parent,
        "acs_system_id": DOORS,
    });
    assert_eq!(*event, expected);

    let id = id_of(event, "event_id");
    let got = world.ok("/events/get", json!({"event_id": id})).await;
    assert_eq!(got, *event);
    let newest = world
        .ok(
            "/events/get",
            json!({"event_type": "acs_credential.issued"}),
        )
        .await;
    assert_eq!(newest, *event);
    let query = format!("/events/list?event_ids={id}&_strict=true");
    assert_eq!(world.get(&query).await.json()["events"][0], *event);

    let of_person = listed(&world, json!({"user_identity_id": person})).await;
    let created = of_person.iter().filter(|name| *name == "acs_user.created");
    assert_eq!(created.count(), of_person.len() - 2);
    for body in [
        json!({"acs_credential_id": parent}),
        json!({"acs_system_id": DOORS, "event_types": ["acs_credential.issued"], "limit": 1}),
        json!({"acs_system_ids": [DOORS, HQ], "event_types": ["acs_credential.issued"], "limit": "1"}),
        json!({"acs_user_id": user, "event_type": "acs_credential.issued", "unstable_offset": 1}),
    ] {
        assert_eq!(
            listed(&world, body.clone()).await,
            ["acs_credential.issued"],
            "{body}"
        );
    }
    for body in [
        json!({"device_id": phone}),
        json!({"event_type": "lock.locked"}),
        json!({"event_types": []}),
        json!({"connected_account_id": NOBODY}),
        json!({"event_type": "acs_user.created", "event_types": ["acs_user.deleted"]}),
    ] {
        assert_eq!(listed(&world, body.clone()).await, [""; 0], "{body}");
    }

    world
        .ok(
            "/user_identities/delete",
            json!({"user_identity_id": person}),
        )
        .await;
    let deleted = listed(
        &world,
        json!({"event_type": "enrollment_automation.deleted"}),
    )
    .await;
    assert_eq!(deleted, [""; 0], "its invitation is still open");
}

#[tokio::test]
async fn since_goes_on_where_the_last_list_ended() {
    let world = World::new();
    let start = "2024-01-09T05:45:33.067Z";
    for n in 0..5 {
        let person = world.person(&format!("p{n}")).await;
        world.acs_user(&person).await;
    }
    let mut since = start.to_owned();
    let mut seen = Vec::new();
    loop {
        let body = json!({"since": since, "limit": 2});
        let page = world.ok("/events/list", body).await;
        let page = page.as_array().unwrap();
        let Some(last) = page.last() else { break };
        since = id_of(last, "created_at");
        seen.extend(page.iter().map(|event| id_of(event, "event_id")));
    }
    assert_eq!(seen.len(), 5, "none missed, though all are of one instant");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5, "none twice");

    let second = world.ok("/events/list", json!({"since": start})).await;
    let (first, last) = (&second[0]["created_at"], &second[4]["created_at"]);
    let inner = listed(&world, json!({"between": [first, last]})).await;
    assert_eq!(inner.len(), 3, "both ends are out");
    for (body, all) in [
        (json!({"since": "2024-01-09"}), 5),
        (json!({"since": "2024-01-10"}), 0),
        (json!({"since": start, "between": [first, last]}), 3),
    ] {
        assert_eq!(listed(&world, body.clone()).await.len(), all, "{body}");
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused() {
    let world = World::new();
    for (path, body, error) in [
        ("/events/list", json!({}), (400, "invalid_input")),
        ("/events/list", json!({"limit": 5}), (400, "invalid_input")),
        (
            "/events/list",
            json!({"since": null}),
            (400, "invalid_input"),
        ),
        (
            "/events/list",
            json!({"since": "tomorrow"}),
            (400, "invalid_input"),
        ),
        (
            "/events/list",
            json!({"between": ["2024-01-01"]}),
            (400, "invalid_input"),
        ),
        (
            "/events/list",
            json!({"between": ["2024-01-01", "x"]}),
            (400, "invalid_input"),
        ),
        (
            "/events/list",
            json!({"event_type": "x", "limit": 501}),
            (400, "invalid_input"),
        ),
        (
            "/events/list",
            json!({"event_type": "x", "unstable_offset": -1}),
            (400, "invalid_input"),
        ),
        ("/events/get", json!({}), (400, "invalid_input")),
        (
            "/events/get",
            json!({"event_id": NOBODY}),
            (404, "event_not_found"),
        ),
        ("/webhooks/create", json!({}), (400, "invalid_input")),
        (
            "/webhooks/create",
            json!({"url": "http://example.com"}),
            (400, "invalid_input"),
        ),
        (
            "/webhooks/create",
            json!({"url": "https://127.0.0.1/x"}),
            (400, "invalid_input"),
        ),
        (
            "/webhooks/create",
            json!({"url": HOOK, "event_types": ["phone.created"]}),
            (400, "invalid_event_types"),
        ),
        (
            "/webhooks/create",
            json!({"url": HOOK, "event_types": []}),
            (400, "invalid_event_types"),
        ),
        (
            "/webhooks/get",
            json!({"webhook_id": "x"}),
            (404, "webhook_not_found"),
        ),
        (
            "/webhooks/update",
            json!({"webhook_id": NOBODY, "event_types": ["*"]}),
            (404, "webhook_not_found"),
        ),
        (
            "/webhooks/update",
            json!({"webhook_id": NOBODY}),
            (400, "invalid_input"),
        ),
        (
            "/webhooks/delete",
            json!({"webhook_id": NOBODY}),
            (404, "webhook_not_found"),
        ),
    ] {
        let answer = world.post(path, body.clone()).await;
        assert_eq!(
            answer.error(),
            (error.0, error.1.to_owned()),
            "{path} {body}"
        );
        assert!(!answer.text.contains("s3cret"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_webhook_from_its_making_to_its_end() {
    let world = World::new();
    let made = world.ok("/webhooks/create", json!({"url": HOOK})).await;
    assert_eq!(made["url"], HOOK);
    assert_eq!(made["event_types"], json!(["*"]));
    let secret = id_of(&made, "secret");
    let bytes = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    assert_eq!(bytes.len(), 24);
    let again = world
        .ok(
            "/webhooks/create",
            json!({"url": HOOK, "event_types": ["*"]}),
        )
        .await;
    assert_eq!(again, made, "a repeated request makes no second one");
    world.advance(Duration::from_hours(25));
    let later = world.ok("/webhooks/create", json!({"url": HOOK})).await;
    assert_ne!(later["webhook_id"], made["webhook_id"]);

    let id = made["webhook_id"].clone();
    assert_eq!(
        world.ok("/webhooks/get", json!({"webhook_id": id})).await,
        made
    );
    let list = world.get("/webhooks/list").await.json();
    assert_eq!(list["webhooks"], json!([made, later]));
    let body = json!({"webhook_id": id}).to_string();
    let read = world
        .call_as(READ, "POST", "/webhooks/get", "application/json", &body)
        .await;
    assert_eq!(read.status, 200);
    assert!(!read.text.contains("secret\":"), "{}", read.text);
    assert_eq!(read.json()["webhook"]["webhook_id"], id);

    let types = ["acs_user.deleted", "phone.deactivated"];
    let body = json!({"webhook_id": id, "event_types": types}).to_string();
    let put = world
        .call("PUT", "/webhooks/update", "application/json", &body)
        .await;
    assert_eq!(put.json(), json!({"ok": true}));
    let got = world.ok("/webhooks/get", json!({"webhook_id": id})).await;
    assert_eq!(got["event_types"], json!(types));
    assert_eq!(got["secret"], made["secret"]);

    let gone = world
        .call(
            "DELETE",
            "/webhooks/delete",
            "application/json",
            &json!({"webhook_id": id}).to_string(),
        )
        .await;
    assert_eq!(gone.json(), json!({"ok": true}));
    let gone = world
        .post("/webhooks/delete", json!({"webhook_id": id}))
        .await;
    assert_eq!(gone.error(), (404, "webhook_not_found".to_owned()));
    let left = world.ok("/webhooks/list", json!({})).await;
    assert_eq!(left, json!([later]));
}
