//! What clients do, in their order; and what happens when they do it twice (seam-api.md 5, 10).

use std::time::Duration;

use serde_json::{Value, json};

use super::support::*;

#[tokio::test]
async fn the_seeds_two_calls() {
    let world = World::new();
    let identity = world.person("ada").await;
    let user = world.acs_user(&identity).await;
    let launch = format!(
        r#"{{
  "user_identity_id": "{identity}",
  "credential_manager_acs_system_id": "6737e186-8d54-48ce-a7da-a0be4d252172",
  "acs_credential_pool_id": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
  "create_credential_manager_user": true
}}"#
    );
    let path = "/user_identities/enrollment_automations/launch";
    let answer = world.call("POST", path, "application/json", &launch).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let mut body = answer.json();
    let automation = body["enrollment_automation"]["enrollment_automation_id"].clone();
    body["enrollment_automation"]
        .as_object_mut()
        .unwrap()
        .remove("adapter");
    assert_eq!(
        body,
        json!({
            "enrollment_automation": {
                "user_identity_id": identity,
                "enrollment_automation_id": automation,
                "acs_credential_provisioning_automation_id": automation,
                "credential_manager_acs_system_id": HQ,
                "is_running": true,
                "workspace_id": WORKSPACE,
                "created_at": "2024-01-09T05:45:33.068Z",
            },
            "ok": true,
        })
    );

    let create = format!(
        r#"{{
  "acs_user_id": "{user}",
  "is_multi_phone_sync_credential": true,
  "card_format": "rfid48",
  "facility_code": "9",
  "access_method": "mobile_key"
}}"#
    );
    let answer = world
        .call(
            "POST",
            "/acs/credentials/create",
            "application/json",
            &create,
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let shown = answer.json()["acs_credential"].clone();
    for (name, value) in [
        ("acs_user_id", json!(user)),
        ("display_name", json!("Multi Phone Sync Credential")),
        ("code", Value::Null),
        ("acs_system_id", json!(DOORS)),
        ("access_method", json!("mobile_key")),
        ("workspace_id", json!(WORKSPACE)),
        ("created_at", json!("2024-01-09T05:45:33.068Z")),
        ("is_multi_phone_sync_credential", json!(true)),
    ] {
        assert_eq!(shown.get(name), Some(&value), "{name}");
    }
}

#[tokio::test]
async fn a_key_reaches_a_phone_and_is_withdrawn() {
    let world = World::new();
    let ada = world.person("ada").await;
    let user = world.acs_user(&ada).await;
    let parent = world.parent(&user).await;
    let listed = world
        .ok(
            "/enrollment_automations/list",
            json!({"user_identity_id": ada}),
        )
        .await;
    assert_eq!(
        listed[0]["adapter"]["state"], "preparing_user",
        "launch is implied"
    );
    let phone = world.enroll(&ada, "72001", iphone()).await;
    let get = |id: String| json!({"acs_credential_id": id});
    let shown = world.ok("/acs/credentials/get", get(parent.clone())).await;
    assert_eq!(shown["is_issued"], false);
    assert_eq!(shown["warnings"][0]["warning_code"], "waiting_to_be_issued");
    assert_eq!(
        shown["is_latest_desired_state_synced_with_provider"],
        Value::Null
    );
    world.issue(&ada, &phone, "900").await;

    let shown = world.ok("/acs/credentials/get", get(parent.clone())).await;
    assert_eq!(shown["is_issued"], true);
    assert_eq!(shown["warnings"], json!([]));
    assert_eq!(shown["is_latest_desired_state_synced_with_provider"], true);
    let children = json!({"user_identity_id": ada, "is_multi_phone_sync_credential": false});
    let children = world.ok("/acs/credentials/list", children).await;
    assert_eq!(children.as_array().unwrap().len(), 1);
    assert_eq!(children[0]["parent_acs_credential_id"], json!(parent));
    assert_eq!(children[0]["card_number"], "4711");
    assert_eq!(children[0]["is_issued"], true);
    let child = id_of(&children[0], "acs_credential_id");
    let automations = world
        .ok(
            "/enrollment_automations/list",
            json!({"user_identity_id": ada}),
        )
        .await;
    assert_eq!(automations[0]["adapter"]["state"], "enrolled");
    assert_eq!(
        automations[0]["adapter"]["phones"][0]["keys"][0]["state"],
        "issued"
    );
    for filter in [
        json!({"owner_user_identity_id": ada}),
        json!({"acs_credential_id": parent}),
        json!({"acs_credential_id": child}),
        json!({"owner_user_identity_id": ada, "acs_credential_id": child}),
        json!({}),
    ] {
        let phones = world.ok("/phones/list", filter.clone()).await;
        assert_eq!(phones.as_array().unwrap().len(), 1, "{filter}");
        assert_eq!(phones[0]["device_id"], json!(phone));
    }
    for filter in [
        json!({"owner_user_identity_id": NOBODY}),
        json!({"acs_credential_id": NOBODY}),
    ] {
        assert_eq!(world.ok("/phones/list", filter).await, json!([]));
    }

    world
        .ok("/acs/credentials/delete", get(parent.clone()))
        .await;
    world
        .ok("/acs/credentials/delete", get(parent.clone()))
        .await;
    let shown = world.ok("/acs/credentials/get", get(parent.clone())).await;
    assert_eq!(shown["warnings"][0]["warning_code"], "being_deleted");
    let shown = world.ok("/acs/credentials/get", get(child.clone())).await;
    assert_eq!(shown["warnings"][0]["warning_code"], "being_deleted");
}

#[tokio::test]
async fn one_child_is_withdrawn_alone() {
    let world = World::new();
    let ada = world.person("ada").await;
    let user = world.acs_user(&ada).await;
    let parent = world.parent(&user).await;
    let phone = world.enroll(&ada, "72001", iphone()).await;
    world.issue(&ada, &phone, "900").await;
    let children = json!({"acs_user_id": user, "is_multi_phone_sync_credential": false});
    let listed = world.ok("/acs/credentials/list", children.clone()).await;
    let child = json!({"acs_credential_id": listed[0]["acs_credential_id"]});
    world.ok("/acs/credentials/delete", child.clone()).await;
    let again = world.post("/acs/credentials/delete", child).await;
    assert_eq!(again.error(), (404, "acs_credential_not_found".into()));
    assert_eq!(world.ok("/acs/credentials/list", children).await, json!([]));
    let parent = world
        .ok("/acs/credentials/get", json!({"acs_credential_id": parent}))
        .await;
    assert_eq!(
        parent["warnings"][0]["warning_code"],
        "waiting_to_be_issued"
    );
}

#[tokio::test]
async fn the_same_launch_again_changes_nothing() {
    let world = World::new();
    let ada = world.person("ada").await;
    let path = "/user_identities/enrollment_automations/launch";
    let body = json!({"user_identity_id": ada, "credential_manager_acs_system_id": HQ});
    let first = world.ok(path, body.clone()).await;
    let rows = world
        .engine
        .store()
        .journal(identity_id(&ada))
        .await
        .unwrap()
        .len();
    world.advance(Duration::from_mins(1));
    let second = world.ok(path, body).await;
    assert_eq!(
        first["enrollment_automation_id"],
        second["enrollment_automation_id"]
    );
    assert_eq!(first["created_at"], second["created_at"]);
    assert_eq!(
        world
            .engine
            .store()
            .journal(identity_id(&ada))
            .await
            .unwrap()
            .len(),
        rows
    );
    let users = world
        .ok("/acs/users/list", json!({"user_identity_id": ada}))
        .await;
    assert_eq!(users.as_array().unwrap().len(), 1);
    assert_eq!(users[0]["external_type"], "hid_credential_manager_user");

    let id = json!({"enrollment_automation_id": first["enrollment_automation_id"]});
    world.ok("/enrollment_automations/delete", id.clone()).await;
    for path in [
        "/enrollment_automations/get",
        "/enrollment_automations/delete",
    ] {
        let gone = world.post(path, id.clone()).await;
        assert_eq!(
            gone.error(),
            (404, "enrollment_automation_not_found".into())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_at_once_make_one_automation_and_one_parent() {
    let world = std::sync::Arc::new(World::new());
    let ada = world.person("ada").await;
    let launch = json!({"user_identity_id": ada, "credential_manager_acs_system_id": HQ});
    let create = json!({
        "user_identity_id": ada, "acs_system_id": DOORS, "access_method": "mobile_key",
        "is_multi_phone_sync_credential": true,
    });
    for (path, body, id) in [
        (
            "/user_identities/enrollment_automations/launch",
            launch,
            "enrollment_automation_id",
        ),
        ("/acs/credentials/create", create, "acs_credential_id"),
    ] {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (world, body) = (std::sync::Arc::clone(&world), body.clone());
            tasks.spawn(async move { id_of(&world.ok(path, body).await, id) });
        }
        let mut ids = tasks.join_all().await;
        ids.dedup();
        assert_eq!(ids.len(), 1, "{path}");
    }
    let users = world
        .ok("/acs/users/list", json!({"user_identity_id": ada}))
        .await;
    assert_eq!(
        users.as_array().unwrap().len(),
        2,
        "one at the doors, one at HID"
    );
}

#[tokio::test]
async fn twenty_at_once_make_one_identity() {
    let world = std::sync::Arc::new(World::new());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let world = std::sync::Arc::clone(&world);
        tasks.spawn(async move {
            let body = json!({"user_identity_key": "ada", "email_address": "ada@example.com"});
            world
                .post("/user_identities/create", body)
                .await
                .status
                .as_u16()
        });
    }
    let mut statuses = tasks.join_all().await;
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1]), (200, 409));
}

#[tokio::test]
async fn the_same_credential_again_is_the_same_for_a_day() {
    let world = World::new();
    let user = world.acs_user(&world.person("ada").await).await;
    let path = "/acs/credentials/create";
    let body = seed_credential(&user);
    let entrances = [NOBODY, HQ];
    let with = |name: &str, value: Value| {
        let mut body = body.clone();
        body[name] = value;
        body
    };
    let first = world.ok(path, body.clone()).await;
    world.advance(Duration::from_hours(23));
    assert_eq!(
        world.ok(path, body.clone()).await["acs_credential_id"],
        first["acs_credential_id"]
    );
    let other_doors = with("allowed_acs_entrance_ids", json!(entrances));
    let second = world.ok(path, other_doors.clone()).await;
    assert_ne!(second["acs_credential_id"], first["acs_credential_id"]);
    let reversed = with("allowed_acs_entrance_ids", json!([HQ, NOBODY]));
    assert_eq!(
        world.ok(path, reversed).await["acs_credential_id"],
        second["acs_credential_id"]
    );
    for (name, value) in [
        ("ends_at", json!("2030-01-01T00:00:00Z")),
        ("starts_at", json!("2024-02-01T00:00:00+01:00")),
    ] {
        let answer = world.post(path, with(name, value)).await;
        assert_eq!(
            answer.error(),
            (409, "acs_credential_conflict".into()),
            "{name}"
        );
    }
    let other_card = world.ok(path, with("facility_code", json!(10))).await;
    assert_eq!(other_card["facility_code"], "10");
    world.advance(Duration::from_hours(2));
    let third = world.ok(path, body).await;
    assert_ne!(third["acs_credential_id"], first["acs_credential_id"]);
}

#[tokio::test]
async fn which_part_number() {
    let world = World::new();
    let part_number = async |identity: &str| {
        let loaded = world
            .engine
            .store()
            .load(identity_id(identity))
            .await
            .unwrap()
            .unwrap();
        let parent = loaded.identity.parents.into_values().next().unwrap();
        parent.part_number.0
    };
    let create = |identity: &str, more: Value| {
        let mut body = json!({
            "user_identity_id": identity, "acs_system_id": DOORS, "access_method": "mobile_key",
            "is_multi_phone_sync_credential": true,
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let path = "/acs/credentials/create";
    let by_card = world.person("a").await;
    world
        .ok(path, create(&by_card, json!({"facility_code": "10"})))
        .await;
    assert_eq!(part_number(&by_card).await, "MID-SUB-EXAMPLE_2");
    let by_default = world.person("b").await;
    world.ok(path, create(&by_default, json!({}))).await;
    assert_eq!(part_number(&by_default).await, "MID-SUB-DEFAULT");
    let by_launch = world.person("c").await;
    let launch = json!({
        "user_identity_id": by_launch, "credential_manager_acs_system_id": HQ,
        "acs_credential_pool_id": POOL,
    });
    world.ok("/enrollment_automations/launch", launch).await;
    let shown = world.ok(path, create(&by_launch, json!({}))).await;
    assert_eq!(part_number(&by_launch).await, "MID-SUB-EXAMPLE_1");
    assert_eq!(shown["acs_credential_pool_id"], json!(POOL));
}
