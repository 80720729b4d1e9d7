//! Pages (seam-api.md 1.8): everything once, ties included, and cursors that know where they belong.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::*;

async fn walk(world: &World, path: &str, key: &str, id: &str, limit: u32) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let mut query = format!("{path}?limit={limit}&_strict=true");
        if let Some(cursor) = cursor.as_str() {
            query = format!("{query}&page_cursor={cursor}");
        }
        let page = world.get(&query).await.json();
        let items = page[key].as_array().unwrap_or_else(|| panic!("{page}"));
        assert!(items.len() <= limit as usize);
        ids.extend(items.iter().map(|item| id_of(item, id)));
        let pagination = &page["pagination"];
        cursor = pagination["next_page_cursor"].clone();
        assert_eq!(pagination["has_next_page"], json!(cursor.is_string()));
        assert_eq!(pagination["next_page_url"].is_string(), cursor.is_string());
        if cursor.is_null() {
            return ids;
        }
    }
}

#[tokio::test]
async fn a_walk_shows_everything_once_with_ties() {
    let world = World::new();
    let mut users = Vec::new();
    for n in 0..11 {
        let person = world.person(&format!("p{n}")).await;
        users.push(world.acs_user(&person).await);
        if n % 4 == 3 {
            world.advance(Duration::from_millis(1));
        }
    }
    for user in &users {
        world.parent(user).await;
    }
    for (path, key, id, all) in [
        (
            "/user_identities/list",
            "user_identities",
            "user_identity_id",
            11,
        ),
        ("/acs/users/list", "acs_users", "acs_user_id", 22),
        (
            "/acs/credentials/list",
            "acs_credentials",
            "acs_credential_id",
            11,
        ),
    ] {
        let whole = walk(&world, path, key, id, 500).await;
        assert_eq!(whole.len(), all, "{path}");
        for limit in [1, 2, 3, 5, 11, 22] {
            assert_eq!(
                walk(&world, path, key, id, limit).await,
                whole,
                "{path} by {limit}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_hidden_leaves_no_holes() {
    let world = World::new();
    for n in 0..6 {
        let person = world.person(&format!("p{n}")).await;
        if n % 2 == 0 {
            let launch =
                json!({"user_identity_id": person, "credential_manager_acs_system_id": HQ});
            world.ok("/enrollment_automations/launch", launch).await;
        }
    }
    let path = format!("/user_identities/list?credential_manager_acs_system_id={HQ}&limit=2");
    let page = world.get(&path).await.json();
    assert_eq!(page["user_identities"].as_array().unwrap().len(), 2);
    let url = page["pagination"]["next_page_url"].as_str().unwrap();
    let page = world.get(url).await.json();
    assert_eq!(page["user_identities"].as_array().unwrap().len(), 1);
    assert_eq!(
        page["pagination"],
        json!({"has_next_page": false, "next_page_cursor": null, "next_page_url": null})
    );
}

#[tokio::test]
async fn a_cursor_holds_for_its_own_parameters() {
    let world = World::new();
    world.person("a").await;
    world.person("b").await;
    let list = "/user_identities/list";
    let first = world.ok_page(json!({"limit": 1})).await;
    let cursor = first["pagination"]["next_page_cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    for (body, error) in [
        (
            json!({"limit": 2, "page_cursor": cursor}),
            "mismatched_page_parameters",
        ),
        (json!({"page_cursor": cursor}), "mismatched_page_parameters"),
        (json!({"limit": 1, "page_cursor": "2"}), "invalid_input"),
        (json!({"limit": 1, "page_cursor": "e30"}), "invalid_input"),
        (
            json!({"limit": 1, "page_cursor": "\u{e9}"}),
            "invalid_input",
        ),
    ] {
        let answer = world.post(list, body.clone()).await;
        assert_eq!(answer.error(), (400, error.to_owned()), "{body}");
        if error == "invalid_input" {
            assert!(answer.json()["error"]["validation_errors"]["page_cursor"].is_object());
        }
    }
    // Whichever dialect the second page is asked for in.
    let query = format!("{list}?limit=1&page_cursor={cursor}&_strict=true");
    assert_eq!(world.get(&query).await.status, 200);
}

impl World {
    async fn ok_page(&self, body: Value) -> Value {
        self.post("/user_identities/list", body).await.json()
    }
}
