//! Every required field of every resource, and the bodies as a whole (seam-api.md 2, 7.1).

use serde_json::{Value, json};

use super::support::*;

/// Marks ids that differ from run to run.
fn masked(value: &Value, ids: &[(&str, &str)]) -> Value {
    let mut text = value.to_string();
    for (id, name) in ids {
        text = text.replace(id, name);
    }
    serde_json::from_str(&text).unwrap()
}

struct Scene {
    world: World,
    identity: Value,
    automation: Value,
    acs_user: Value,
    cm_user: Value,
    parent: Value,
    child: Value,
    phone: Value,
}

async fn scene() -> Scene {
    let world = World::new();
    let ada = world.person("ada").await;
    let user = world.acs_user(&ada).await;
    let parent = world.parent(&user).await;
    let phone = world.enroll(&ada, "72001", iphone()).await;
    world.issue(&ada, &phone, "900").await;
    let child = json!({"user_identity_id": ada, "is_multi_phone_sync_credential": false});
    let child = world.ok("/acs/credentials/list", child).await[0].clone();
    let cm_user = json!({"user_identity_id": ada, "acs_system_id": HQ});
    Scene {
        identity: world
            .ok("/user_identities/get", json!({"user_identity_id": ada}))
            .await,
        automation: world
            .ok(
                "/enrollment_automations/list",
                json!({"user_identity_id": ada}),
            )
            .await[0]
            .clone(),
        acs_user: world
            .ok("/acs/users/get", json!({"acs_user_id": user}))
            .await,
        cm_user: world.ok("/acs/users/get", cm_user).await,
        parent: world
            .ok("/acs/credentials/get", json!({"acs_credential_id": parent}))
            .await,
        phone: world.ok("/phones/get", json!({"device_id": phone})).await,
        child,
        world,
    }
}

#[tokio::test]
async fn every_required_field_is_there() {
    let scene = scene().await;
    let system = |id| {
        scene
            .world
            .ok("/acs/systems/get", json!({"acs_system_id": id}))
    };
    let (manager, access) = (system(HQ).await, system(DOORS).await);
    let workspace = scene.world.ok("/workspaces/get", json!({})).await;
    let user = "acs_user_id acs_system_id connected_account_id workspace_id created_at display_name \
                errors warnings is_managed last_successful_sync_at is_suspended";
    let system = "acs_system_id connected_account_id connected_account_ids workspace_id created_at name \
                  is_credential_manager image_url image_alt_text location errors warnings";
    let credential = "acs_credential_id acs_system_id connected_account_id workspace_id access_method \
                      display_name created_at errors warnings is_managed";
    for (name, shown, required) in [
        (
            "enrollment_automation",
            &scene.automation,
            "enrollment_automation_id user_identity_id credential_manager_acs_system_id workspace_id \
          created_at acs_credential_provisioning_automation_id is_running",
        ),
        (
            "user_identity",
            &scene.identity,
            "user_identity_id user_identity_key email_address phone_number full_name display_name created_at \
          workspace_id acs_user_ids errors warnings merged_user_identity_ids merged_user_identity_keys",
        ),
        ("acs_user", &scene.acs_user, user),
        ("cm_user", &scene.cm_user, user),
        ("manager", &manager, system),
        ("access system", &access, system),
        ("parent", &scene.parent, credential),
        ("child", &scene.child, credential),
        (
            "phone",
            &scene.phone,
            "device_id device_type display_name workspace_id created_at custom_metadata errors warnings properties",
        ),
        (
            "workspace",
            &workspace,
            "workspace_id name company_name connect_partner_name is_sandbox is_suspended \
          is_publishable_key_auth_enabled organization_id connect_webview_customization",
        ),
    ] {
        for field in required.split_whitespace() {
            assert!(shown.get(field).is_some(), "{name} has no {field}: {shown}");
        }
        assert_eq!(shown["workspace_id"], json!(WORKSPACE), "{name}");
    }
    assert_eq!(
        manager["external_type"],
        "hid_credential_manager_organization"
    );
    assert_eq!(manager["external_type_display_name"], "HID org");
    assert_eq!(access.get("external_type"), None);
    assert_eq!(
        access["default_credential_manager_acs_system_id"],
        json!(HQ)
    );
    let account = uuid::Uuid::new_v5(&WORKSPACE, b"connected_account/hq");
    assert_eq!(manager["connected_account_id"], json!(account));
}

#[tokio::test]
async fn golden_bodies() {
    let scene = scene().await;
    let id = |value: &Value, name: &str| id_of(value, name);
    let known = [
        (id(&scene.identity, "user_identity_id"), "‹identity›"),
        (
            id(&scene.automation, "enrollment_automation_id"),
            "‹automation›",
        ),
        (id(&scene.acs_user, "acs_user_id"), "‹acs user›"),
        (id(&scene.cm_user, "acs_user_id"), "‹cm user›"),
        (id(&scene.parent, "acs_credential_id"), "‹parent›"),
        (id(&scene.child, "acs_credential_id"), "‹child›"),
        (id(&scene.phone, "device_id"), "‹phone›"),
        (WORKSPACE.to_string(), "‹workspace›"),
        (HQ.to_string(), "‹hq›"),
        (DOORS.to_string(), "‹doors›"),
    ];
    let known: Vec<(&str, &str)> = known
        .iter()
        .map(|(id, name)| (id.as_str(), *name))
        .collect();
    let mut identity = masked(&scene.identity, &known);
    // Two ids in the order of their own.
    identity["acs_user_ids"] = json!(identity["acs_user_ids"].as_array().unwrap().len());
    insta::assert_json_snapshot!("user_identity", identity);
    insta::assert_json_snapshot!("enrollment_automation", masked(&scene.automation, &known));
    insta::assert_json_snapshot!("acs_user", masked(&scene.acs_user, &known));
    insta::assert_json_snapshot!("credential_manager_user", masked(&scene.cm_user, &known));
    insta::assert_json_snapshot!("parent", masked(&scene.parent, &known));
    insta::assert_json_snapshot!("child", masked(&scene.child, &known));
    insta::assert_json_snapshot!("phone", masked(&scene.phone, &known));
    let systems = scene.world.ok("/acs/systems/list", json!({})).await;
    insta::assert_json_snapshot!("acs_systems", masked(&systems, &known));
    let workspace = scene.world.ok("/workspaces/get", json!({})).await;
    insta::assert_json_snapshot!("workspace", masked(&workspace, &known));
}

#[tokio::test]
async fn phones_say_what_they_are() {
    let world = World::new();
    let ada = world.person("ada").await;
    world.acs_user(&ada).await;
    let launch = json!({"user_identity_id": ada, "credential_manager_acs_system_id": HQ});
    world.ok("/enrollment_automations/launch", launch).await;
    let device = |manufacturer: Option<&str>, model: Option<&str>, os: Option<&str>| {
        origo_adapter::core::observation::Device {
            manufacturer: manufacturer.map(str::to_owned),
            model: model.map(str::to_owned),
            os_version: os.map(str::to_owned),
            application_version: None,
        }
    };
    for (container, device, kind, name) in [
        ("1", device(None, None, None), "android_phone", "Phone"),
        (
            "2",
            device(Some("samsung"), Some("SM-G991B"), Some("Android 14")),
            "android_phone",
            "samsung SM-G991B",
        ),
        (
            "3",
            device(None, Some("iPhone15,2"), None),
            "ios_phone",
            "iPhone15,2",
        ),
        (
            "4",
            device(None, None, Some("iOS 17")),
            "ios_phone",
            "Phone",
        ),
        ("5", device(Some("Apple"), None, None), "ios_phone", "Apple"),
    ] {
        let phone = world.enroll(&ada, container, device).await;
        let shown = world.ok("/phones/get", json!({"device_id": phone})).await;
        assert_eq!(
            (&shown["device_type"], &shown["display_name"]),
            (&json!(kind), &json!(name))
        );
    }
}

#[tokio::test]
async fn compatible_managers_are_the_configured_one() {
    let world = World::new();
    let path = "/acs/systems/list_compatible_credential_manager_acs_systems";
    let found = world.ok(path, json!({"acs_system_id": DOORS})).await;
    assert_eq!(
        (found.as_array().unwrap().len(), &found[0]["acs_system_id"]),
        (1, &json!(HQ))
    );
    assert_eq!(
        world.ok(path, json!({"acs_system_id": HQ})).await,
        json!([])
    );
    for (filter, found) in [
        (json!({}), 3),
        (json!({"search": "DOOR"}), 1),
        (json!({"connected_account_id": NOBODY}), 0),
    ] {
        let systems = world.ok("/acs/systems/list", filter).await;
        assert_eq!(systems.as_array().unwrap().len(), found);
    }
}
