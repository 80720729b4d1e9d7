//! Requests that come twice, byte for byte, because the first answer was lost: nothing is made twice.

use serde_json::{Value, json};

use super::support::*;

/// How many rows each list has.
async fn counts(world: &World, ada: &str) -> Vec<(&'static str, usize)> {
    let of_ada = json!({"user_identity_id": ada});
    let mut counts = Vec::new();
    for (path, body) in [
        ("/user_identities/list", json!({})),
        ("/acs/users/list", json!({})),
        ("/acs/credentials/list", json!({})),
        ("/user_identities/enrollment_automations/list", of_ada),
        ("/webhooks/list", json!({})),
    ] {
        let rows = world.ok(path, body).await;
        counts.push((path, rows.as_array().unwrap().len()));
    }
    counts
}

// One row a line.
#[rustfmt::skip]
/// Every creating route, with bodies that say who or what is meant.
fn creating(ada: &str, automation: &str) -> Vec<(&'static str, Value)> {
    let launch = json!({"user_identity_id": ada, "credential_manager_acs_system_id": HQ});
    let automation = json!({"enrollment_automation_id": automation});
    vec![
        (
            "/user_identities/create",
            json!({"user_identity_key": "grace", "acs_system_ids": [DOORS]}),
        ),
        (
            "/user_identities/create",
            json!({"email_address": "only@example.com"}),
        ),
        (
            "/user_identities/create",
            json!({"phone_number": "+15551234567"}),
        ),
        (
            "/acs/users/create",
            json!({"acs_system_id": DOORS, "full_name": "Ada", "user_identity_id": ada}),
        ),
        (
            "/acs/users/create",
            json!({"acs_system_id": DOORS, "full_name": "Eve", "email_address": "eve@example.com"}),
        ),
        (
            "/acs/users/create",
            json!({"acs_system_id": DOORS, "full_name": "Bo", "phone_number": "+15557654321"}),
        ),
        ("/enrollment_automations/launch", launch.clone()),
        (
            "/user_identities/enrollment_automations/launch",
            launch.clone(),
        ),
        ("/acs/credential_provisioning_automations/launch", launch),
        (
            "/acs/credentials/create",
            json!({"user_identity_id": ada, "acs_system_id": DOORS, "is_multi_phone_sync_credential": true, "access_method": "mobile_key"}),
        ),
        (
            "/enrollment_automations/invitations/get_or_create",
            automation,
        ),
        (
            "/webhooks/create",
            json!({"url": "https://hooks.example.com/seam"}),
        ),
    ]
}

#[tokio::test]
async fn the_same_request_twice_makes_nothing_twice() {
    let world = World::new();
    let ada = world.person("ada").await;
    let launch = json!({"user_identity_id": ada, "credential_manager_acs_system_id": HQ});
    let launched = world.ok("/enrollment_automations/launch", launch).await;
    let automation = id_of(&launched, "enrollment_automation_id");
    for (path, body) in creating(&ada, &automation) {
        let first = world.post(path, body.clone()).await;
        assert_eq!(first.status, 200, "{path}: {}", first.text);
        let made = counts(&world, &ada).await;
        let second = world.post(path, body.clone()).await;
        assert_eq!(counts(&world, &ada).await, made, "{path} {body}");
        if second.status == 200 {
            assert_eq!(second.json(), first.json(), "{path} {body}");
        } else {
            let (status, kind) = second.error();
            assert_eq!(status, 409, "{path} {body}: {kind}");
        }
    }
}

#[tokio::test]
async fn who_is_meant_must_be_said_for_it() {
    let world = World::new();
    let user = |name: &str| json!({"acs_system_id": DOORS, "full_name": name, "email_address": "eve@example.com"});
    let first = world.ok("/acs/users/create", user("Eve")).await;
    let again = world.ok("/acs/users/create", user("Eve")).await;
    assert_eq!(again, first);
    let other = world.ok("/acs/users/create", user("Eva")).await;
    assert_ne!(other["acs_user_id"], first["acs_user_id"], "another name");
    world.advance(std::time::Duration::from_hours(25));
    let late = world.ok("/acs/users/create", user("Eve")).await;
    assert_ne!(late["acs_user_id"], first["acs_user_id"], "a day later");
    let nameless = json!({"full_name": "Nobody"});
    let one = world.ok("/user_identities/create", nameless.clone()).await;
    let two = world.ok("/user_identities/create", nameless).await;
    assert_ne!(
        one["user_identity_id"], two["user_identity_id"],
        "two people may be of one name"
    );
}
