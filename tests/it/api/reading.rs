//! What the operator reads over the API: pages, states, and what is refused.

use serde_json::{Value, json};

use super::support::{HQ, NOBODY, READ, World};

const LIST: &str = "/adapter/list";
const HISTORY: &str = "/adapter/history";
const INVITE: &str = "/adapter/invite";
const LAUNCH: &str = "/user_identities/enrollment_automations/launch";

#[tokio::test]
async fn lists_come_in_pages_and_by_state() {
    let world = World::new();
    for n in 0..5 {
        let person = world.person(&format!("p{n}")).await;
        let asked = json!({"user_identity_id": person, "credential_manager_acs_system_id": HQ});
        world.ok(LAUNCH, asked).await;
        if n == 3 {
            world.ok("/adapter/hold", json!({ "id": person })).await;
        }
    }
    let asked = json!({"kind": "automations", "limit": 2});
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let mut asked = asked.clone();
        asked["page_cursor"] = cursor;
        let page = world.post(LIST, asked).await.json();
        let objects = page["objects"].as_array().unwrap().clone();
        assert!(objects.len() <= 2);
        seen.extend(objects);
        cursor = page["pagination"]["next_page_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
    let held = world
        .ok(LIST, json!({"kind": "automations", "state": "held"}))
        .await;
    assert_eq!(held.as_array().unwrap().len(), 1);
    assert_eq!(held[0]["reason"], "operator");
    world.ok("/adapter/hold", json!({"all": true})).await;
    let held = world
        .ok(LIST, json!({"kind": "automations", "state": "held"}))
        .await;
    assert_eq!(held.as_array().unwrap().len(), 5);
    let people = world
        .ok(LIST, json!({"kind": "identities", "state": "held"}))
        .await;
    assert_eq!(
        people.as_array().unwrap().len(),
        1,
        "a hold of all is no person's"
    );
    for asked in [json!({}), json!({"kind": "doors"})] {
        assert_eq!(world.post(LIST, asked).await.error().0, 400);
    }
}

#[tokio::test]
async fn a_journal_comes_in_pages() {
    let world = World::new();
    let person = world.person("ada").await;
    for path in ["/adapter/hold", "/adapter/release"] {
        world.ok(path, json!({ "id": person })).await;
    }
    let whole = world.ok(HISTORY, json!({ "id": person })).await;
    let rows = whole.as_array().unwrap().clone();
    assert!(rows.len() >= 3, "{whole}");
    let first = world
        .post(HISTORY, json!({"id": person, "limit": 2}))
        .await
        .json();
    let cursor = first["pagination"]["next_page_cursor"].clone();
    let asked = json!({"id": person, "page_cursor": cursor});
    let second = world.ok(HISTORY, asked).await;
    let both = [
        first["history"].as_array().unwrap().clone(),
        second.as_array().unwrap().clone(),
    ];
    assert_eq!(both.concat(), rows);
    let asked = json!({"id": person, "page_cursor": "x"});
    assert_eq!(world.post(HISTORY, asked).await.error().0, 400);
    assert_eq!(
        world.post(HISTORY, json!({ "id": NOBODY })).await.error().0,
        404
    );
}

#[tokio::test]
async fn who_has_no_automation_is_not_invited_and_a_reader_invites_nobody() {
    let world = World::new();
    let person = world.person("ada").await;
    assert_eq!(
        world.post(INVITE, json!({ "id": person })).await.error().0,
        404
    );
    let asked = json!({"user_identity_id": person, "credential_manager_acs_system_id": HQ});
    world.ok(LAUNCH, asked).await;
    let invitation = world.ok(INVITE, json!({ "id": person })).await;
    assert_eq!(invitation["status"], "preparing");
    let body = json!({ "id": person }).to_string();
    let reader = world.call_as(READ, "POST", INVITE, "application/json", &body);
    assert_eq!(reader.await.status, 403);
}
