//! Holding and releasing, and what other answers show of it.

use std::time::Duration;

use origo_adapter::gate::{Condition, Verdict};
use origo_adapter::origo::Trouble;
use origo_adapter::store::JournalRow;
use serde_json::{Value, json};

use super::support::{HQ, NOBODY, READ, World, identity_id};

const HOLD: &str = "/adapter/hold";
const RELEASE: &str = "/adapter/release";
const LAUNCH: &str = "/user_identities/enrollment_automations/launch";

async fn launched(world: &World) -> (String, String) {
    let person = world.person("ada").await;
    let asked = json!({"user_identity_id": person, "credential_manager_acs_system_id": HQ});
    let automation = world.ok(LAUNCH, asked).await;
    let id = automation["enrollment_automation_id"].as_str().unwrap();
    (person, id.to_owned())
}

async fn journal(world: &World, person: &str) -> Vec<JournalRow> {
    let journal = world.engine.store().journal(identity_id(person));
    journal.await.unwrap()
}

async fn shown(world: &World, automation: &str) -> Value {
    let asked = json!({ "enrollment_automation_id": automation });
    world.ok("/enrollment_automations/get", asked).await["adapter"].take()
}

#[tokio::test]
async fn one_person_is_held_by_any_id_and_the_journal_names_the_key() {
    let world = World::new();
    let (person, automation) = launched(&world).await;
    for id in [&person, &automation] {
        let held = world.ok(HOLD, json!({ "id": id })).await;
        assert_eq!(held[0]["user_identity_id"], person.as_str());
        assert_eq!(held[0]["reason"], "operator");
        let adapter = shown(&world, &automation).await;
        assert_eq!(
            (&adapter["state"], &adapter["reason"]),
            (&json!("held"), &json!("operator"))
        );
        assert_eq!(adapter["queue_position"], Value::Null);
        let why = world.ok("/adapter/why", json!({ "id": person })).await;
        let text = why["text"].as_str().unwrap();
        assert!(text.contains("is held (operator) since "), "{text}");
        assert!(
            text.ends_with("what is held goes on when it is released."),
            "{text}"
        );
        assert_eq!(world.ok(RELEASE, json!({ "id": id })).await, json!([]));
        assert_eq!(shown(&world, &automation).await["state"], "preparing_user");
    }
    let journal = journal(&world, &person).await;
    let held: Vec<_> = journal
        .iter()
        .filter(|row| row.change.to.as_deref() == Some("held: operator"))
        .collect();
    assert_eq!(held.len(), 4, "identity and automation, twice");
    assert!(held.iter().all(|row| row.cause == "ops"), "{held:?}");
}

#[tokio::test]
async fn a_manager_or_everything_is_held_without_a_row_in_a_journal() {
    let world = World::new();
    let (person, automation) = launched(&world).await;
    let rows = journal(&world, &person).await.len();
    for (asked, scope) in [
        (json!({"credential_manager": "hq"}), "credential_manager"),
        (json!({ "id": HQ }), "credential_manager"),
        (json!({"all": true}), "all"),
    ] {
        let held = world.ok(HOLD, asked.clone()).await;
        assert_eq!(held[0]["scope"], scope);
        assert_eq!(held[0]["by"], "ops");
        let adapter = shown(&world, &automation).await;
        assert_eq!(
            (&adapter["state"], &adapter["reason"]),
            (&json!("held"), &json!("operator"))
        );
        assert_eq!(adapter["next_try_at"], Value::Null);
        assert_eq!(adapter["eta"], Value::Null);
        let status = world.ok("/adapter/status", json!({})).await;
        assert_eq!(status["holds"], held);
        let queue = &status["credential_managers"][0]["queue"]["enroll"];
        assert_eq!(
            (&queue["due"], &queue["sent_by"]),
            (&json!(1), &Value::Null)
        );
        let why = world.ok("/adapter/why", json!({ "id": automation })).await;
        let text = why["text"].as_str().unwrap();
        assert!(
            text.starts_with("Nothing new is asked of hq since "),
            "{text}"
        );
        assert_eq!(world.ok(RELEASE, asked).await, json!([]));
        assert_eq!(shown(&world, &automation).await["state"], "preparing_user");
        assert_eq!(shown(&world, &automation).await["queue_position"], 1);
    }
    assert_eq!(journal(&world, &person).await.len(), rows);
}

#[tokio::test]
async fn what_is_asked_for_is_one_thing_that_is_there_with_a_key_that_may() {
    let world = World::new();
    for path in [HOLD, RELEASE] {
        for (asked, status) in [
            (json!({}), 400),
            (json!({"all": false}), 400),
            (json!({"all": true, "credential_manager": "hq"}), 400),
            (json!({"id": HQ, "credential_manager": "hq"}), 400),
            (json!({"credential_manager": "nowhere"}), 404),
            (json!({ "id": NOBODY }), 404),
        ] {
            let answer = world.post(path, asked.clone()).await;
            assert_eq!(answer.error().0, status, "{path} {asked}");
        }
        let reader = world.call_as(READ, "POST", path, "application/json", r#"{"all": true}"#);
        assert_eq!(reader.await.status, 403);
    }
}

#[tokio::test]
async fn a_quarantined_manager_is_shown_as_such_and_released_to_a_probe() {
    let world = World::new();
    let (_, automation) = launched(&world).await;
    let refuse = || {
        let now = world.engine.window_time();
        world.manager.gate.refused(Trouble::Credentials, None, now)
    };
    assert_eq!(refuse(), Verdict::Paused(Condition::Refused));
    assert_eq!(
        shown(&world, &automation).await["state"],
        "preparing_user",
        "not yet"
    );
    world.advance(Duration::from_mins(30));
    assert_eq!(refuse(), Verdict::Quarantined);
    let adapter = shown(&world, &automation).await;
    assert_eq!(
        (&adapter["state"], &adapter["reason"]),
        (&json!("held"), &json!("quarantine"))
    );
    let status = world.ok("/adapter/status", json!({})).await;
    assert_eq!(status["holds"][0]["reason"], "quarantine");
    assert_eq!(status["holds"][0]["credential_manager"], "hq");
    let now = world.engine.window_time();
    let next = world.manager.gate.closed_until(now).unwrap();
    assert_eq!(next.since(now), Duration::from_mins(15));

    let still = world.ok(RELEASE, json!({"credential_manager": "hq"})).await;
    assert_eq!(still[0]["reason"], "quarantine", "until a call succeeds");
    assert_eq!(world.manager.gate.closed_until(now), None, "asked at once");
    world.manager.gate.succeeded();
    assert_eq!(shown(&world, &automation).await["state"], "preparing_user");
}
