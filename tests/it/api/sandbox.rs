//! Sandbox phones, with somebody who answers as the simulator's control API does (seam-api.md 3.7).
//! `tests/it/sandbox.rs` has the real one.

use origo_adapter::core::effect::Lane;
use origo_adapter::core::ids::AcsSystemId;
use origo_adapter::core::observation::Rejection;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::support::*;

const PATH: &str = "/phones/simulate/create_sandbox_phone";

/// Lets every code be redeemed for this container.
pub(crate) async fn control(container: u64) -> MockServer {
    let server = MockServer::start().await;
    let redeemed = ResponseTemplate::new(200).set_body_json(json!({ "container_id": container }));
    Mock::given(method("POST"))
        .and(path("/control/redeem"))
        .respond_with(redeemed)
        .mount(&server)
        .await;
    server
}

async fn launch(world: &World, identity: &str) {
    let body = json!({ "user_identity_id": identity, "credential_manager_acs_system_id": HQ });
    world.ok("/enrollment_automations/launch", body).await;
}

/// What the simulator was sent.
async fn sent(control: &MockServer) -> Vec<Value> {
    let requests = control.received_requests().await.unwrap();
    requests
        .iter()
        .map(|request| request.body_json().unwrap())
        .collect()
}

#[tokio::test]
async fn it_is_answered_once_the_phone_is_known() {
    let control = control(72001).await;
    let world = World::sandbox(&control.uri());
    let ada = world.person("ada").await;
    launch(&world, &ada).await;
    let body = json!({ "user_identity_id": ada, "custom_sdk_installation_id": "one" });
    // HID makes the invitation, and the phone shows, while the request waits.
    let (phone, made) = tokio::join!(world.ok(PATH, body), async {
        world.make_hid_user(&ada).await;
        while sent(&control).await.is_empty() {
            tokio::task::yield_now().await;
        }
        world.enroll(&ada, "72001", iphone()).await
    });
    assert_eq!(phone["device_id"], *made);
    let asked = json!({ "device_id": made });
    assert_eq!(world.ok("/phones/get", asked).await, phone);
    let expected = json!({
        "code": "AAAA-BBBB-CCCC-DDDD",
        "installation": "one",
        "device": { "manufacturer": "Samsung", "model": "Galaxy S10", "os_version": "Android 10" },
    });
    assert_eq!(sent(&control).await, [expected]);
}

#[tokio::test]
async fn it_is_the_phone_that_was_asked_for() {
    let control = control(72001).await;
    let world = World::sandbox(&format!("{}/", control.uri()));
    let ada = world.person("ada").await;
    launch(&world, &ada).await;
    world.enroll(&ada, "72001", iphone()).await;
    for metadata in [
        json!({ "operating_system": "ios" }),
        json!({ "operating_system": "ios", "os_version": "16.1", "device_model": null }),
        json!({ "device_manufacturer": "Example", "device_model": "Phone 1", "unknown": 1 }),
        json!(null),
    ] {
        let body = json!({
            "user_identity_id": ada,
            "custom_sdk_installation_id": "one",
            "phone_metadata": metadata,
        });
        world.ok(PATH, body).await;
    }
    let device = |manufacturer, model, os_version| json!({ "manufacturer": manufacturer, "model": model, "os_version": os_version });
    let sent = sent(&control).await;
    let sent: Vec<_> = sent.iter().map(|body| body["device"].clone()).collect();
    let expected = [
        device("Apple", "iPhone 15", "iOS 17.0"),
        device("Apple", "iPhone 15", "iOS 16.1"),
        device("Example", "Phone 1", "Android 10"),
        device("Samsung", "Galaxy S10", "Android 10"),
    ];
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn what_is_asked_for_must_make_sense() {
    let world = World::sandbox("http://127.0.0.1:9");
    let ada = world.person("ada").await;
    for metadata in [
        json!("ios"),
        json!({ "operating_system": "windows" }),
        json!({ "os_version": 17 }),
        json!({ "device_model": "" }),
    ] {
        let body = json!({ "user_identity_id": ada, "phone_metadata": metadata });
        let answer = world.post(PATH, body).await;
        assert_eq!(answer.error(), (400, "invalid_input".into()), "{metadata}");
        let error = answer.json();
        assert!(error["error"]["validation_errors"]["phone_metadata"]["_errors"].is_array());
    }
    let query = format!("{PATH}?user_identity_id={ada}&phone_metadata.operating_system=windows");
    let answer = world.call("POST", &query, "", "").await;
    assert_eq!(answer.error(), (400, "invalid_input".into()));
    let nobody = world
        .post(PATH, json!({ "user_identity_id": NOBODY }))
        .await;
    assert_eq!(nobody.error(), (404, "user_identity_not_found".into()));
}

#[tokio::test]
async fn only_the_simulators_people_have_sandbox_phones() {
    let production = World::new();
    let ada = production.person("ada").await;
    launch(&production, &ada).await;
    let body = json!({ "user_identity_id": ada });
    let answer = production.post(PATH, body.clone()).await;
    assert_eq!(answer.error(), (400, "workspace_not_sandbox".into()));

    let world = World::sandbox("http://127.0.0.1:9");
    world.person("ada").await;
    let answer = world.post(PATH, body.clone()).await;
    assert_eq!(answer.error(), (400, "user_identity_not_enrolled".into()));
    // The other manager is a real one.
    let lab = json!({ "user_identity_id": ada, "credential_manager_acs_system_id": LAB });
    world.ok("/enrollment_automations/launch", lab).await;
    let answer = world.post(PATH, body.clone()).await;
    assert_eq!(answer.error(), (400, "workspace_not_sandbox".into()));
    let text = body.to_string();
    let read = world.call_as(INVITE, "POST", PATH, "application/json", &text);
    assert_eq!(read.await.error(), (403, "insufficient_scope".into()));
}

#[tokio::test]
async fn a_simulator_that_is_not_there_is_a_clear_error() {
    let elsewhere = MockServer::start().await;
    for url in ["http://127.0.0.1:9", &elsewhere.uri()] {
        let world = World::sandbox(url);
        let ada = world.person("ada").await;
        launch(&world, &ada).await;
        world.make_hid_user(&ada).await;
        let answer = world.post(PATH, json!({ "user_identity_id": ada })).await;
        assert_eq!(answer.error(), (503, "service_unavailable".into()), "{url}");
        assert!(answer.text.contains("control_url"), "{}", answer.text);
        assert!(!answer.text.contains("AAAA"), "{}", answer.text);
    }
}

#[tokio::test(start_paused = true)]
async fn an_invitation_that_does_not_come_is_not_waited_for_for_ever() {
    let world = World::sandbox("http://127.0.0.1:9");
    let ada = world.person("ada").await;
    launch(&world, &ada).await;
    let answer = world.post(PATH, json!({ "user_identity_id": ada })).await;
    assert_eq!(answer.error(), (503, "service_unavailable".into()));
    assert!(answer.text.contains("invitation"), "{}", answer.text);
}

#[tokio::test]
async fn a_held_automation_is_not_waited_for() {
    let world = World::sandbox("http://127.0.0.1:9");
    let body = json!({ "user_identity_key": "nameless" });
    let nameless = id_of(
        &world.ok("/user_identities/create", body).await,
        "user_identity_id",
    );
    launch(&world, &nameless).await;
    let body = json!({ "user_identity_id": nameless });
    let answer = world.post(PATH, body).await;
    assert_eq!(answer.error(), (400, "enrollment_automation_held".into()));
    assert!(
        answer.text.contains(Rejection::UserData.name()),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_further_phone_is_invited_first() {
    let control = control(72001).await;
    let world = World::sandbox(&control.uri());
    let ada = world.person("ada").await;
    launch(&world, &ada).await;
    world.enroll(&ada, "72001", iphone()).await;
    let call = world.post(PATH, json!({ "user_identity_id": ada }));
    let look = async {
        let id = identity_id(&ada);
        loop {
            let loaded = world.engine.store().load(id).await.unwrap().unwrap();
            let enrollment = &loaded.identity.enrollments[&AcsSystemId(HQ)];
            if enrollment.invite.wanted {
                return Lane::Invitation(AcsSystemId(HQ));
            }
            tokio::task::yield_now().await;
        }
    };
    // HID is asked for another invitation; no spent code is tried for a phone without a name.
    tokio::select! {
        answer = call => panic!("answered before: {}", answer.text),
        lane = look => assert_eq!(lane, Lane::Invitation(AcsSystemId(HQ))),
    }
    assert_eq!(sent(&control).await, Vec::<Value>::new());
}
