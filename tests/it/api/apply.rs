//! Rows of a desired-state file.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::World;

const APPLY: &str = "/adapter/apply";

fn ada() -> Value {
    json!({
        "user_identity_key": "ada",
        "full_name": "Ada Okafor",
        "email_address": "Ada@Tenant.example",
        "access_system": "hq_doors",
        "card_format": "rfid48",
        "facility_code": 9,
    })
}

async fn apply(world: &World, rows: &[Value]) -> Value {
    world.ok(APPLY, json!({ "rows": rows })).await
}

async fn credentials(world: &World) -> Vec<Value> {
    let listed = world.ok("/acs/credentials/list", json!({})).await;
    listed.as_array().unwrap().clone()
}

#[tokio::test]
async fn a_row_is_a_person_with_an_automation_and_a_parent() {
    let world = World::new();
    let applied = apply(&world, &[ada()]).await;
    assert_eq!(
        applied,
        json!({"changed": 1, "unchanged": 0, "held": 0, "refused": [], "pruned": null})
    );
    let person = json!({"user_identity_key": "ada"});
    let person = world.ok("/user_identities/get", person).await;
    assert_eq!(person["email_address"], "ada@tenant.example");
    assert_eq!(person["acs_user_ids"].as_array().unwrap().len(), 2);
    let id = json!({"user_identity_id": person["user_identity_id"]});
    let automations = world.ok("/enrollment_automations/list", id).await;
    assert_eq!(automations[0]["adapter"]["state"], "preparing_user");
    let parents = credentials(&world).await;
    assert_eq!(parents.len(), 1);
    assert_eq!(parents[0]["is_multi_phone_sync_credential"], true);
}

#[tokio::test]
async fn the_same_file_again_changes_nothing_and_a_new_database_gets_the_same_ids() {
    let world = World::new();
    let mut dated = ada();
    dated["ends_at"] = json!("2025-01-01T00:00:00Z");
    let ids = |parents: Vec<Value>| parents[0]["acs_credential_id"].clone();
    apply(&world, &[ada()]).await;
    let first = ids(credentials(&world).await);
    let again = apply(&world, &[ada()]).await;
    let unchanged = json!({"changed": 0, "unchanged": 1, "held": 0, "refused": [], "pruned": null});
    assert_eq!(again, unchanged);
    let changed = apply(&world, &[dated.clone()]).await;
    assert_eq!(changed["changed"], 1);
    let parents = credentials(&world).await;
    assert_eq!(parents[0]["ends_at"], "2025-01-01T00:00:00.000Z");
    assert_eq!(ids(parents), first, "its dates may change");
    assert_eq!(apply(&world, &[dated]).await["unchanged"], 1);
    let other = World::new();
    other.advance(Duration::from_hours(1));
    apply(&other, &[ada()]).await;
    assert_eq!(ids(credentials(&other).await), first);
}

#[tokio::test]
async fn what_a_row_leaves_open_stays_and_what_it_says_is_changed() {
    let world = World::new();
    apply(&world, &[ada()]).await;
    let mut row = ada();
    row["full_name"] = json!("Ada Lovelace");
    row.as_object_mut().unwrap().remove("email_address");
    assert_eq!(apply(&world, &[row]).await["changed"], 1);
    let person = world
        .ok("/user_identities/get", json!({"user_identity_key": "ada"}))
        .await;
    assert_eq!(person["full_name"], "Ada Lovelace");
    assert_eq!(person["email_address"], "ada@tenant.example");
    assert_eq!(credentials(&world).await.len(), 1);
}

#[tokio::test]
async fn each_row_that_is_wrong_is_told_and_keeps_no_other_back() {
    let world = World::new();
    let with = |name: &str, value: Value| {
        let mut row = ada();
        row[name] = value;
        row
    };
    let rows = [
        (
            with("access_system", json!("nowhere")),
            "No access system is configured by this name for \"access_system\"",
        ),
        (
            with("credential_manager", json!("hq_doors")),
            "No credential manager is configured by this name for \"credential_manager\"",
        ),
        (
            with("email_address", json!("nobody")),
            "email_address: Invalid email",
        ),
        (
            with("ends_at", json!("2020-01-01T00:00:00Z")),
            "Must be in the future for \"ends_at\"",
        ),
        (
            with("facility_code", json!("77")),
            "no configured card profile has this card_format and facility_code",
        ),
        (
            with("emial", json!("x")),
            "there is a field that is not known here",
        ),
        (
            with("user_identity_key", Value::Null),
            "user_identity_key: Required",
        ),
        (json!(7), "Expected object, received number"),
    ];
    let mut asked: Vec<Value> = rows.iter().map(|(row, _)| row.clone()).collect();
    asked.push(ada());
    let applied = apply(&world, &asked).await;
    assert_eq!(applied["changed"], 1);
    let refused = applied["refused"].as_array().unwrap();
    assert_eq!(refused.len(), rows.len());
    for (number, (refused, (_, message))) in refused.iter().zip(&rows).enumerate() {
        assert_eq!(refused["row"], number);
        assert_eq!(refused["message"], *message);
    }
}

#[tokio::test]
async fn a_person_on_the_way_out_is_given_nothing() {
    let world = World::new();
    apply(&world, &[ada()]).await;
    let person = world
        .ok("/user_identities/get", json!({"user_identity_key": "ada"}))
        .await;
    let id = json!({"user_identity_id": person["user_identity_id"]});
    world
        .make_hid_user(person["user_identity_id"].as_str().unwrap())
        .await;
    world.ok("/user_identities/delete", id).await;
    let applied = apply(&world, &[ada()]).await;
    assert_eq!(
        applied["refused"][0]["message"],
        "this user identity is being deleted"
    );
}

/// A record that the access system's own software made is the person's, with the credential that waits on it.
#[tokio::test]
async fn a_twin_in_the_access_system_is_linked() {
    let world = World::new();
    let doors = super::support::DOORS;
    let twin =
        json!({"acs_system_id": doors, "full_name": "Ada", "email_address": "ada@tenant.example"});
    let twin = world.ok("/acs/users/create", twin).await;
    apply(&world, &[ada()]).await;
    let person = world
        .ok("/user_identities/get", json!({"user_identity_key": "ada"}))
        .await;
    let users = person["acs_user_ids"].as_array().unwrap();
    assert!(users.contains(&twin["acs_user_id"]), "{users:?}");
    assert_eq!(
        credentials(&world).await[0]["acs_user_id"],
        twin["acs_user_id"]
    );
}

/// The id that follows from the key is taken by who had the key before.
#[tokio::test]
async fn a_key_that_somebody_else_had_before_is_known_by_its_owner() {
    let world = World::new();
    apply(&world, &[ada()]).await;
    let key = json!({"user_identity_key": "ada"});
    let before = world.ok("/user_identities/get", key.clone()).await;
    let renamed = json!({
        "user_identity_id": before["user_identity_id"],
        "user_identity_key": "countess",
        "email_address": "countess@tenant.example",
    });
    world.ok("/user_identities/update", renamed).await;
    assert_eq!(apply(&world, &[ada()]).await["changed"], 1);
    let after = world.ok("/user_identities/get", key).await;
    assert_ne!(after["user_identity_id"], before["user_identity_id"]);
    let again = apply(&world, &[ada()]).await;
    let unchanged = json!({"changed": 0, "unchanged": 1, "held": 0, "refused": [], "pruned": null});
    assert_eq!(again, unchanged);
}

/// Part of a file says nothing of who is in the rest of it.
#[tokio::test]
async fn a_file_of_which_something_is_not_known_prunes_nobody() {
    let world = World::new();
    let file = "6f9619ff-8b86-4d11-b42d-00c04fc964ff";
    let mut bea = ada();
    bea["user_identity_key"] = json!("bea");
    bea["email_address"] = json!("bea@tenant.example");
    apply(&world, &[ada(), bea]).await;
    let of_file = json!({ "rows": [ada()], "file": file });
    let rest = json!({ "rows": [], "file": file, "prune": true, "batches": 3 });
    world.ok(APPLY, of_file.clone()).await;
    let refused = world.post(APPLY, rest.clone()).await;
    assert_eq!(refused.error(), (409, "incomplete_file".into()));
    assert_eq!(credentials(&world).await.len(), 2);
    for _ in 0..2 {
        world.ok(APPLY, of_file.clone()).await;
    }
    let pruned = world.ok(APPLY, rest).await;
    assert_eq!(pruned["pruned"]["credentials"], 1);
}
