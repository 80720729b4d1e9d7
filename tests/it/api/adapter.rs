//! How things stand: status, metrics, and why something waits.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{HQ, NOBODY, READ, World};

const ROUTE: &str = "/adapter/why";
const LAUNCH: &str = "/user_identities/enrollment_automations/launch";

async fn launch(world: &World, key: &str) -> (String, Value) {
    let person = world.person(key).await;
    let asked = json!({
        "user_identity_id": person,
        "credential_manager_acs_system_id": HQ,
        "create_credential_manager_user": true,
    });
    (person, world.ok(LAUNCH, asked).await)
}

async fn why(world: &World, id: &str) -> Value {
    world.ok(ROUTE, json!({ "id": id })).await
}

#[tokio::test]
async fn an_automation_knows_its_place_and_when_its_turn_comes() {
    let world = World::new();
    let (_, first) = launch(&world, "first").await;
    assert_eq!(first["adapter"]["state"], "preparing_user");
    assert_eq!(first["adapter"]["queue_position"], 1);
    assert_eq!(first["adapter"]["eta"], "2024-01-09T05:45:33.068Z");
    // The window takes 285: the 300th person waits for the next.
    for n in 0..298 {
        launch(&world, &format!("person-{n}")).await;
    }
    world.advance(Duration::from_secs(2));
    let (person, last) = launch(&world, "last").await;
    assert_eq!(last["adapter"]["queue_position"], 300);
    assert_eq!(last["adapter"]["eta"], "2024-01-09T05:50:35.068Z");
    let id = last["enrollment_automation_id"].as_str().unwrap();
    for asked in [id, &person] {
        let why = why(&world, asked).await;
        assert_eq!(why["effect"], "create_user");
        assert_eq!(why["queue_position"], 300);
        assert_eq!(why["eta"], "2024-01-09T05:50:35.068Z");
        let text = why["text"].as_str().unwrap();
        let told = "The enrollment automation with hq is preparing_user since 2024-01-09T05:45:35.068Z. \
             The call create_user (cm_user/6737e186-8d54-48ce-a7da-a0be4d252172) is expected at \
             2024-01-09T05:50:35.068Z, in 300 s; 299 calls of hq go first.";
        assert_eq!(text, told);
    }
}

#[tokio::test]
async fn who_waits_for_nothing_is_told_so_and_a_stranger_is_not_found() {
    let world = World::new();
    let person = world.person("idle").await;
    let told = why(&world, &person).await;
    assert_eq!(told["text"], "Nothing is owed to HID.");
    assert_eq!(told["eta"], Value::Null);
    let answer = world.post(ROUTE, json!({ "id": NOBODY })).await;
    assert_eq!(answer.error().0, 404);
    let answer = world.post(ROUTE, json!({ "id": "nonsense" })).await;
    assert_eq!(answer.error().0, 400);
}

#[tokio::test]
async fn a_key_that_waits_is_named_with_its_state() {
    let world = World::new();
    let (person, _) = launch(&world, "ada").await;
    world.make_hid_user(&person).await;
    let user = world.acs_user(&person).await;
    let parent = world.parent(&user).await;
    let phone = world
        .enroll(&person, "61001", super::support::iphone())
        .await;
    for asked in [&person, &parent, &phone] {
        let why = why(&world, asked).await;
        assert_eq!(why["effect"], "issue", "{why}");
        assert_eq!(why["queue_position"], 1);
        let text = why["text"].as_str().unwrap();
        let key = format!("of phone {phone} is wanted since 2024-01-09T05:45:33.068Z.");
        assert!(text.contains(&key), "{text}");
    }
    world.issue(&person, &phone, "72001").await;
    let text = why(&world, &phone).await["text"].take();
    assert!(!text.as_str().unwrap().contains("wanted"), "{text}");
}

#[tokio::test]
async fn the_status_tells_of_windows_queue_and_feed() {
    let world = World::new();
    launch(&world, "ada").await;
    world.advance(Duration::from_secs(7));
    let status = world.ok("/adapter/status", json!({})).await;
    assert_eq!(status["identities"], 1);
    let hq = &status["credential_managers"][0];
    assert_eq!(hq["name"], "hq");
    let window = json!({"used": 0, "limit": 285, "share": 0.95, "condition": "ok"});
    assert_eq!(hq["windows"]["mobile_identities"], window);
    assert_eq!(hq["queue"]["enroll"]["due"], 1);
    assert_eq!(
        hq["queue"]["issue"],
        Value::Null,
        "what is empty is left out"
    );
    assert_eq!(hq["detection"]["by"], "events");
    assert_eq!(hq["detection"]["expected_latency"], "5 s");
    assert_eq!(hq["detection"]["feed"]["gaps"], 0);
}

#[tokio::test]
async fn metrics_have_the_same_figures_as_text() {
    let world = World::new();
    launch(&world, "ada").await;
    let answer = world.call_as(READ, "GET", "/metrics", "", "").await;
    assert_eq!(answer.status, 200);
    let text = answer.text;
    for line in [
        "# TYPE origo_adapter_queue_due gauge",
        "origo_adapter_identities 1",
        "origo_adapter_queue_due{manager=\"hq\",class=\"enroll\"} 1",
        "origo_adapter_window_limit{manager=\"hq\",service=\"events\"} 285",
        "origo_adapter_feed_gaps_total{manager=\"hq\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    let refused = world
        .call_as("seam_stranger", "GET", "/metrics", "", "")
        .await;
    assert_eq!(refused.status, 401);
}
