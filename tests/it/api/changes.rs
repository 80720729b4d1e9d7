//! What is there already is changed, linked, suspended, deactivated and searched for (seam-api.md 3, 5.1).

use serde_json::{Value, json};

use super::support::*;

async fn error(world: &World, path: &str, body: Value) -> (u16, String) {
    world.post(path, body).await.error()
}

#[tokio::test]
async fn null_unsets_and_absent_leaves() {
    let world = World::new();
    let ada = world.person("ada").await;
    let path = "/user_identities/update";
    let body = json!({"user_identity_id": ada, "full_name": "Ada Lovelace", "phone_number": "+15551234567"});
    assert_eq!(world.ok(path, body).await, Value::Null);
    let body = json!({"user_identity_id": ada, "phone_number": null}).to_string();
    let patched = world.call("PATCH", path, "application/json", &body).await;
    assert_eq!(patched.status, 200);
    let get = json!({"user_identity_id": ada});
    let shown = world.ok("/user_identities/get", get).await;
    assert_eq!(shown["full_name"], "Ada Lovelace");
    assert_eq!(shown["email_address"], "ada@example.com");
    assert_eq!(shown["phone_number"], Value::Null);

    world.person("bob").await;
    let taken = json!({"user_identity_id": ada, "email_address": "bob@example.com"});
    let conflict = (409, "user_identity_email_or_phone_conflict".into());
    assert_eq!(error(&world, path, taken).await, conflict);
    let taken = json!({"user_identity_id": ada, "user_identity_key": "bob"});
    let conflict = (409, "user_identity_key_conflict".into());
    assert_eq!(error(&world, path, taken).await, conflict);
    let bad = json!({"user_identity_id": ada, "email_address": "no"});
    assert_eq!(error(&world, path, bad).await.0, 400);
    let unknown = json!({"user_identity_id": NOBODY});
    assert_eq!(error(&world, path, unknown).await.0, 404);

    let renamed = json!({"user_identity_id": ada, "user_identity_key": "ada-2"});
    world.ok(path, renamed).await;
    let again = json!({"user_identity_key": "ada"});
    let again = world.ok("/user_identities/create", again).await;
    assert_ne!(
        again["user_identity_id"],
        json!(ada),
        "the key is free again"
    );
}

#[tokio::test]
async fn only_the_dates_of_a_credential_move() {
    let world = World::new();
    let ada = world.person("ada").await;
    let parent = world.parent(&world.acs_user(&ada).await).await;
    let path = "/acs/credentials/update";
    let body = |name: &str, value: Value| json!({"acs_credential_id": parent, name: value});
    let shown = world
        .ok(path, body("ends_at", json!("2030-01-01T00:00:00Z")))
        .await;
    assert_eq!(shown["ends_at"], "2030-01-01T00:00:00.000Z");
    let shown = world.ok(path, body("ends_at", Value::Null)).await;
    assert_eq!(shown.get("ends_at"), None);
    let shown = world
        .ok(path, body("starts_at", json!("2029-01-01T00:00:00Z")))
        .await;
    assert_eq!(shown["starts_at"], "2029-01-01T00:00:00.000Z");
    for (name, value) in [
        ("ends_at", json!("2028-01-01T00:00:00Z")),
        ("code", json!("1234")),
        ("ends_at", json!("2020-01-01T00:00:00Z")),
    ] {
        let refused = error(&world, path, body(name, value)).await;
        assert_eq!(refused, (400, "invalid_input".into()));
    }
    world.enroll(&ada, "72001", iphone()).await;
    let children = json!({"is_multi_phone_sync_credential": false});
    let child = world.ok("/acs/credentials/list", children).await[0]["acs_credential_id"].clone();
    let body = json!({"acs_credential_id": child, "ends_at": null});
    assert_eq!(
        error(&world, path, body).await,
        (400, "acs_credential_is_child".into())
    );
}

#[tokio::test]
async fn an_acs_user_is_changed_suspended_and_deleted() {
    let world = World::new();
    let ada = world.person("ada").await;
    let user = world.acs_user(&ada).await;
    world.parent(&user).await;
    let phone = world.enroll(&ada, "72001", iphone()).await;
    world.issue(&ada, &phone, "900").await;
    let id = json!({"acs_user_id": user});
    let pair = json!({"user_identity_id": ada, "acs_system_id": DOORS, "full_name": "A. Okafor", "hid_acs_system_id": HQ});
    world.ok("/acs/users/update", pair).await;
    let schedule =
        json!({"acs_user_id": user, "access_schedule": {"starts_at": "2030-01-01T00:00:00Z"}});
    assert_eq!(error(&world, "/acs/users/update", schedule).await.0, 400);
    let cleared = json!({"acs_user_id": user, "access_schedule": null});
    world.ok("/acs/users/update", cleared).await;
    world.ok("/acs/users/suspend", id.clone()).await;
    let shown = world.ok("/acs/users/get", id.clone()).await;
    assert_eq!(shown["full_name"], "A. Okafor");
    assert_eq!(shown["hid_acs_system_id"], json!(HQ));
    assert_eq!(shown["is_suspended"], true);
    world.ok("/acs/users/unsuspend", id.clone()).await;
    world.ok("/acs/users/delete", id.clone()).await;
    world.ok("/acs/users/delete", id.clone()).await;
    let shown = world.ok("/acs/users/get", id).await;
    assert_eq!(shown["warnings"][0]["warning_code"], "being_deleted");
    let cm_user = json!({"user_identity_id": ada, "acs_system_id": HQ});
    let in_use = error(&world, "/acs/users/delete", cm_user).await;
    assert_eq!(in_use, (409, "acs_user_in_use".into()));
}

#[tokio::test]
async fn a_deactivated_phone_is_out_of_sight() {
    let world = World::new();
    let ada = world.person("ada").await;
    world.parent(&world.acs_user(&ada).await).await;
    let phone = world.enroll(&ada, "72001", iphone()).await;
    let id = json!({"device_id": phone});
    let query = format!("/phones/deactivate?device_id={phone}&_strict=true");
    assert_eq!(world.call("DELETE", &query, "", "").await.status, 200);
    for path in ["/phones/get", "/phones/deactivate"] {
        let gone = error(&world, path, id.clone()).await;
        assert_eq!(gone, (404, "device_not_found".into()));
    }
    assert_eq!(world.ok("/phones/list", json!({})).await, json!([]));
    let listed = world
        .ok(
            "/enrollment_automations/list",
            json!({"user_identity_id": ada}),
        )
        .await;
    assert_eq!(listed[0]["adapter"]["phones"][0]["state"], "removing");
    let automation = json!({"enrollment_automation_id": listed[0]["enrollment_automation_id"]});
    let path = "/enrollment_automations/invitations/get_or_create";
    let body = automation.to_string();
    let asked = world
        .call_as(INVITE, "POST", path, "application/json", &body)
        .await;
    assert_eq!(asked.error(), (403, "insufficient_scope".into()));
    let asked = world.ok(path, automation).await;
    assert_eq!(asked["status"], "preparing");
}

async fn unlinked(world: &World, email: &str) -> String {
    let body = json!({"acs_system_id": DOORS, "full_name": "Zoe Zed", "email_address": email});
    id_of(&world.ok("/acs/users/create", body).await, "acs_user_id")
}

#[tokio::test]
async fn an_acs_user_joins_an_identity_and_leaves_it() {
    let world = World::new();
    let user = unlinked(&world, "zoe@example.com").await;
    let parent = world.parent(&user).await;
    let ada = world.person("ada").await;
    let both = json!({"user_identity_id": ada, "acs_user_id": user});
    let (add, remove) = (
        "/user_identities/add_acs_user",
        "/user_identities/remove_acs_user",
    );
    for _ in 0..2 {
        world.ok(add, both.clone()).await;
    }
    let of_ada = json!({"user_identity_id": ada});
    let automations = world
        .ok("/enrollment_automations/list", of_ada.clone())
        .await;
    assert_eq!(
        automations.as_array().unwrap().len(),
        1,
        "the credential implies it"
    );
    let users = world
        .ok("/user_identities/list_acs_users", of_ada.clone())
        .await;
    assert_eq!(users.as_array().unwrap().len(), 2);
    let systems = world
        .ok("/user_identities/list_acs_systems", of_ada.clone())
        .await;
    assert_eq!(systems.as_array().unwrap().len(), 2);
    for path in ["list_accessible_entrances", "list_accessible_devices"] {
        let path = format!("/user_identities/{path}");
        assert_eq!(world.ok(&path, of_ada.clone()).await, json!([]));
    }
    let second = unlinked(&world, "second@example.com").await;
    let second = json!({"user_identity_key": "ada", "acs_user_id": second});
    assert_eq!(
        error(&world, add, second).await,
        (409, "acs_user_already_exists".into())
    );
    let bob = json!({"user_identity_id": world.person("bob").await, "acs_user_id": user});
    assert_eq!(
        error(&world, add, bob).await,
        (409, "acs_user_already_linked".into())
    );

    let phone = world.enroll(&ada, "72001", iphone()).await;
    world.issue(&ada, &phone, "900").await;
    world.ok(remove, both.clone()).await;
    assert_eq!(error(&world, remove, both).await.0, 404);
    let shown = world
        .ok("/acs/credentials/get", json!({"acs_credential_id": parent}))
        .await;
    assert_eq!(shown.get("user_identity_id"), None);
    assert_eq!(shown["warnings"][0]["warning_code"], "waiting_to_be_issued");
    let listed = world.ok("/enrollment_automations/list", of_ada).await;
    assert_eq!(
        listed[0]["adapter"]["phones"][0]["keys"][0]["state"],
        "revoking"
    );
}

#[tokio::test]
async fn the_same_person_is_linked_by_creating() {
    let world = World::new();
    let zoe = unlinked(&world, "zoe@example.com").await;
    let body = json!({"full_name": "Zoe Zed", "email_address": "zoe@example.com", "acs_system_ids": [DOORS, HQ]});
    let identity = world.ok("/user_identities/create", body).await;
    let users = identity["acs_user_ids"].as_array().unwrap();
    assert!(
        users.len() == 2 && users.contains(&json!(zoe)),
        "{identity}"
    );

    let eve = unlinked(&world, "eve@example.com").await;
    let body = json!({"full_name": "Eve Ever", "email_address": "eve@example.com"});
    let identity = world.ok("/user_identities/create", body).await;
    let mut body = seed_credential(&eve);
    body.as_object_mut().unwrap().remove("acs_user_id");
    body["user_identity_id"] = identity["user_identity_id"].clone();
    body["acs_system_id"] = json!(DOORS);
    let shown = world.ok("/acs/credentials/create", body).await;
    assert_eq!(shown["acs_user_id"], json!(eve));
}

#[tokio::test]
async fn a_credential_changes_hands() {
    let world = World::new();
    let ada = world.person("ada").await;
    let user = world.acs_user(&ada).await;
    let parent = world.parent(&user).await;
    let of = |user: &str| json!({"acs_credential_id": parent, "acs_user_id": user});
    let shown = world.ok("/acs/credentials/unassign", of(&user)).await;
    assert_eq!(shown.get("acs_user_id"), None);
    let again = error(&world, "/acs/credentials/unassign", of(&user)).await;
    assert_eq!(again, (400, "acs_credential_not_assigned".into()));
    let shown = world.ok("/acs/credentials/assign", of(&user)).await;
    assert_eq!(shown["acs_user_id"], json!(user));
    let bob = world.person("bob").await;
    let bobs = world.acs_user(&bob).await;
    let shown = world.ok("/acs/credentials/assign", of(&bobs)).await;
    assert_eq!(
        (&shown["acs_user_id"], &shown["user_identity_id"]),
        (&json!(bobs), &json!(bob))
    );
    let id = json!({"acs_credential_id": parent});
    let doors = world
        .ok("/acs/credentials/list_accessible_entrances", id)
        .await;
    assert_eq!(doors, json!([]));
}

#[tokio::test]
async fn pools_and_the_old_name_of_launch() {
    let world = World::new();
    let ada = world.person("ada").await;
    let pools = world
        .ok("/acs/credential_pools/list", json!({"acs_system_id": HQ}))
        .await;
    assert_eq!(pools[0]["acs_credential_pool_id"], json!(POOL));
    assert_eq!(pools[0]["external_type"], "hid_part_number");
    let pools = json!({"acs_system_id": DOORS});
    assert_eq!(
        world.ok("/acs/credential_pools/list", pools).await,
        json!([])
    );
    let launch = json!({"user_identity_id": ada, "credential_manager_acs_system_id": HQ});
    let path = "/acs/credential_provisioning_automations/launch";
    let answer = world.post(path, launch).await.json();
    let shown = &answer["acs_credential_provisioning_automation"];
    assert!(shown["acs_credential_provisioning_automation_id"].is_string());
}

#[tokio::test]
async fn lists_are_searched_whatever_the_case() {
    let world = World::new();
    let ada = world.person("ada").await;
    world.person("bob").await;
    let user = world.acs_user(&ada).await;
    let parent = world.parent(&user).await;
    let part = &parent[..8];
    for (path, search, found) in [
        ("/user_identities/list", "ADA@", 1),
        ("/user_identities/list", "okafor", 2),
        ("/user_identities/list", "nobody", 0),
        ("/acs/users/list", "OKAFOR", 2),
        ("/acs/credentials/list", "multi phone", 1),
        ("/acs/credentials/list", part, 1),
        ("/acs/credentials/list", "zzz", 0),
    ] {
        let rows = world.ok(path, json!({"search": search})).await;
        assert_eq!(rows.as_array().unwrap().len(), found, "{path} {search}");
    }
}
