//! Every way in which SDKs and people say the same thing (seam-api.md 1.3, 1.4).

use serde_json::json;

use super::support::*;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn one_request_in_every_dialect() {
    let world = World::new();
    let (a, b) = (world.person("a").await, world.person("b").await);
    let list = "/user_identities/list";
    for (verb, query, kind, body, found) in [
        ("GET", "", "", "", 2),
        ("POST", "", "", "", 2),
        ("POST", "", FORM, "", 2),
        ("POST", "", JSON, "{}", 2),
        ("POST", "", "application/json;charset=utf-8", " \n", 2),
        ("GET", "?_strict=true", "", "", 2),
        (
            "GET",
            &format!("?user_identity_ids={a}&_strict=true"),
            "",
            "",
            1,
        ),
        (
            "GET",
            &format!("?user_identity_ids={a}&user_identity_ids={b}&_strict=true"),
            "",
            "",
            2,
        ),
        ("GET", &format!("?user_identity_ids={a},{b}"), "", "", 2),
        (
            "GET",
            &format!("?user_identity_ids%5B%5D={a}&user_identity_ids%5B%5D={b}"),
            "",
            "",
            2,
        ),
        ("GET", &format!("?user_identity_ids[]={a}"), "", "", 1),
        (
            "GET",
            &format!("?user_identity_ids[]={a}&_strict=true"),
            "",
            "",
            2,
        ),
        ("GET", "?user_identity_ids=&_strict=true", "", "", 0),
        ("POST", &format!("?user_identity_ids={a}"), "", "", 1),
        (
            "GET",
            "",
            JSON,
            &format!(r#"{{"user_identity_ids":["{a}"]}}"#),
            1,
        ),
        (
            "POST",
            &format!("?user_identity_ids={a}"),
            JSON,
            r#"{"user_identity_ids":[]}"#,
            0,
        ),
        (
            "POST",
            &format!("?user_identity_ids={a}"),
            JSON,
            r#"{"user_identity_ids":null}"#,
            2,
        ),
        ("POST", "?limit=1", JSON, r#"{"limit":"2"}"#, 2),
        ("POST", "", JSON, r#"{"limit":1}"#, 1),
        (
            "POST",
            "",
            JSON,
            r#"{"search":null,"colour":"red","created_before":null}"#,
            2,
        ),
        ("GET", "?colour=red&created_before=&_strict=true", "", "", 2),
        (
            "GET",
            "?created_before=2024-01-09T05%3A45%3A33.068Z&_strict=true",
            "",
            "",
            0,
        ),
    ] {
        let answer = world
            .call(verb, &format!("{list}{query}"), kind, body)
            .await;
        assert_eq!(answer.status, 200, "{verb} {query} {body}: {}", answer.text);
        let listed = answer.json()["user_identities"].as_array().unwrap().len();
        assert_eq!(listed, found, "{verb} {query} {body}");
    }
}

#[tokio::test]
async fn what_is_no_dialect_is_refused() {
    let world = World::new();
    let users = "/user_identities/list";
    let credentials = "/acs/credentials/list";
    for (path, query, kind, body, error) in [
        (users, "?limit=1&limit=2", "", "", "invalid_query_params"),
        (
            users,
            "?_strict=true&user_identity_ids=a,b",
            "",
            "",
            "invalid_input",
        ),
        (users, "", FORM, "limit=1", "invalid_content_type"),
        (users, "", "", "{}", "invalid_content_type"),
        (users, "", JSON, "{", "invalid_input"),
        (users, "", JSON, "[]", "invalid_input"),
        (users, "", JSON, r#"{"limit":0}"#, "invalid_input"),
        (users, "", JSON, r#"{"limit":501}"#, "invalid_input"),
        (users, "", JSON, r#"{"limit":1.5}"#, "invalid_input"),
        (
            users,
            "",
            JSON,
            r#"{"user_identity_ids":"x"}"#,
            "invalid_input",
        ),
        (users, "", JSON, r#"{"search":5}"#, "invalid_input"),
        (
            credentials,
            "?is_multi_phone_sync_credential=yes&_strict=true",
            "",
            "",
            "invalid_input",
        ),
        (
            credentials,
            "",
            JSON,
            r#"{"is_multi_phone_sync_credential":"true"}"#,
            "invalid_input",
        ),
        (
            credentials,
            "?created_before=tomorrow",
            "",
            "",
            "invalid_input",
        ),
    ] {
        let answer = world
            .call("POST", &format!("{path}{query}"), kind, body)
            .await;
        assert_eq!(answer.error(), (400, error.to_owned()), "{query} {body}");
        assert!(!answer.text.contains("Ada"), "{}", answer.text);
    }
}

#[tokio::test]
async fn flags_are_loose_unless_strict() {
    let world = World::new();
    let user = world.acs_user(&world.person("ada").await).await;
    world.parent(&user).await;
    for (value, parents) in [
        ("true", 1),
        ("True", 1),
        ("yes", 1),
        ("1", 1),
        ("no", 0),
        ("0", 0),
        ("", 1),
    ] {
        let path = format!("/acs/credentials/list?is_multi_phone_sync_credential={value}");
        let listed = world.get(&path).await.json();
        assert_eq!(
            listed["acs_credentials"].as_array().unwrap().len(),
            parents,
            "{value}"
        );
    }
}

#[tokio::test]
async fn null_is_not_absent() {
    let world = World::new();
    let ada = world.person("ada").await;
    world.acs_user(&ada).await;
    world
        .ok(
            "/acs/users/create",
            json!({"acs_system_id": DOORS, "full_name": "Zoe"}),
        )
        .await;
    for (query, found) in [
        ("", 2),
        ("?user_identity_email_address=&_strict=true", 1),
        (
            "?user_identity_email_address=ADA%40example.com&_strict=true",
            1,
        ),
        (
            "?user_identity_email_address=eve%40example.com&_strict=true",
            0,
        ),
    ] {
        let listed = world.get(&format!("/acs/users/list{query}")).await.json();
        assert_eq!(
            listed["acs_users"].as_array().unwrap().len(),
            found,
            "{query}"
        );
    }
}

#[tokio::test]
async fn deletes_take_a_query_or_a_body() {
    let world = World::new();
    let path = "/user_identities/delete";
    for (verb, by_query) in [
        ("DELETE", true),
        ("DELETE", false),
        ("POST", true),
        ("POST", false),
    ] {
        let id = world.person("ada").await;
        let body = json!({"user_identity_id": id}).to_string();
        let answer = if by_query {
            let query = format!("{path}?user_identity_id={id}&_strict=true");
            world.call(verb, &query, "", "").await
        } else {
            world.call(verb, path, JSON, &body).await
        };
        assert_eq!(answer.json(), json!({"ok": true}));
        let again = world.call(verb, path, JSON, &body).await;
        assert_eq!(again.error(), (404, "user_identity_not_found".into()));
    }
}
