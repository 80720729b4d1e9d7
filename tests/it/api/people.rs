//! Identities, ACS users and invitations: how they come and go (seam-api.md 5.1, contract.md section 6).

use origo_adapter::core::ids::{AcsSystemId, InvitationId};
use origo_adapter::core::observation::{Event, Happening, InvitationStatus, Observation};
use serde_json::json;

use super::support::*;

#[tokio::test]
async fn an_acs_user_without_an_identity_keeps_its_credential_waiting() {
    let world = World::new();
    let body = json!({"acs_system_id": DOORS, "full_name": "Zoe", "email": "Zoe@Example.com"});
    let user = world.ok("/acs/users/create", body).await;
    assert_eq!(user.get("user_identity_id"), None);
    assert_eq!(user["email_address"], "zoe@example.com");
    let shown = world
        .ok(
            "/acs/credentials/create",
            seed_credential(&id_of(&user, "acs_user_id")),
        )
        .await;
    assert_eq!(shown.get("user_identity_id"), None);
    assert_eq!(shown["warnings"][0]["warning_code"], "waiting_to_be_issued");
    assert_eq!(
        world.ok("/user_identities/list", json!({})).await,
        json!([])
    );
}

#[tokio::test]
async fn invitations_wait_for_hid_and_stay_one() {
    let world = World::new();
    let ada = world.person("ada").await;
    let launch = json!({"user_identity_id": ada, "credential_manager_acs_system_id": HQ});
    let automation = world.ok("/enrollment_automations/launch", launch).await;
    let id =
        json!({"enrollment_automation_id": automation["enrollment_automation_id"]}).to_string();
    let path = "/enrollment_automations/invitations/get_or_create";
    let ask = async || {
        let answer = world
            .call_as(INVITE, "POST", path, "application/json", &id)
            .await;
        answer.json()["invitation"].clone()
    };
    assert_eq!(
        ask().await,
        json!({"invitation_code": null, "status": "preparing", "expires_at": null})
    );
    world.make_hid_user(&ada).await;
    assert_eq!(
        ask().await,
        json!({
            "invitation_code": "AAAA-BBBB-CCCC-DDDD",
            "status": "pending",
            "expires_at": "2024-01-16T05:45:33.068Z",
        })
    );
    let rows = async || {
        let loaded = world.engine.store().load(identity_id(&ada)).await;
        loaded.unwrap().unwrap()
    };
    let wanted = async || {
        let identity = rows().await.identity;
        identity.enrollments.into_values().any(|e| e.invite.wanted)
    };
    let used = Observation::Event(Event {
        manager: AcsSystemId(HQ),
        time: world.engine.now(),
        what: Happening::Invitation {
            invitation: InvitationId::parse("inv-1").unwrap(),
            status: InvitationStatus::Acknowledged,
        },
    });
    let observed = world.engine.observe(identity_id(&ada), &used, "test").await;
    observed.unwrap();
    assert!(!wanted().await);
    // A phone used the first one up; a further one is asked for once.
    ask().await;
    assert!(wanted().await);
    let revision = rows().await.revision;
    ask().await;
    assert_eq!(rows().await.revision, revision);
}

#[tokio::test]
async fn identities_come_with_acs_users_and_go_with_a_warning() {
    let world = World::new();
    let body = json!({
        "user_identity_key": "ada", "full_name": "Ada Okafor", "email_address": "Ada@Example.com",
        "phone_number": "+15551234567", "acs_system_ids": [DOORS, DOORS],
    });
    let identity = world.ok("/user_identities/create", body).await;
    let id = id_of(&identity, "user_identity_id");
    assert_eq!(
        id,
        uuid::Uuid::new_v5(&WORKSPACE, b"ada").to_string(),
        "the id follows from the key"
    );
    assert_eq!(identity["acs_user_ids"].as_array().unwrap().len(), 1);
    let by_key = world
        .ok("/user_identities/get", json!({"user_identity_key": "ada"}))
        .await;
    assert_eq!(by_key, identity);
    let user = world
        .ok(
            "/acs/users/get",
            json!({"user_identity_id": id, "acs_system_id": DOORS}),
        )
        .await;
    assert_eq!(user["acs_user_id"], identity["acs_user_ids"][0]);
    world.parent(&id_of(&user, "acs_user_id")).await;
    let enrolled = json!({"credential_manager_acs_system_id": HQ});
    assert_eq!(
        world
            .ok("/user_identities/list", enrolled)
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let enrolled = json!({"credential_manager_acs_system_id": LAB});
    assert_eq!(world.ok("/user_identities/list", enrolled).await, json!([]));
    world.enroll(&id, "72001", iphone()).await;
    world
        .ok("/user_identities/delete", json!({"user_identity_id": id}))
        .await;
    let shown = world
        .ok("/user_identities/get", json!({"user_identity_id": id}))
        .await;
    assert_eq!(shown["warnings"][0]["warning_code"], "being_deleted");
    let launch = json!({"user_identity_id": id, "credential_manager_acs_system_id": LAB});
    let late = world.post("/enrollment_automations/launch", launch).await;
    assert_eq!(late.error(), (409, "user_identity_being_deleted".into()));
}

#[tokio::test]
async fn every_wish_bears_the_keys_name() {
    let world = World::new();
    let ada = world.person("ada").await;
    let journal = world
        .engine
        .store()
        .journal(identity_id(&ada))
        .await
        .unwrap();
    assert!(!journal.is_empty());
    assert!(journal.iter().all(|row| row.cause == "ops"));
}
