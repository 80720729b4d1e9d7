//! What an operator asks for by hand: retry, resync, adopt-user, orphans.

use origo_adapter::core::Answer;
use origo_adapter::core::effect::Lane;
use origo_adapter::core::ids::*;
use origo_adapter::core::observation::*;
use serde_json::json;

use super::support::*;

const LAUNCH: &str = "/user_identities/enrollment_automations/launch";
const RETRY: &str = "/adapter/retry";
const RESYNC: &str = "/adapter/resync";
const ADOPT: &str = "/adapter/adopt_user";
const ORPHANS: &str = "/adapter/orphans";
const REMOVE: &str = "/adapter/orphans/remove";

async fn launch(world: &World, person: &str) -> String {
    let asked = json!({
        "user_identity_id": person,
        "credential_manager_acs_system_id": HQ,
        "create_credential_manager_user": true,
    });
    id_of(&world.ok(LAUNCH, asked).await, "enrollment_automation_id")
}

fn user_lane() -> Lane {
    Lane::CmUser(AcsSystemId(HQ))
}

/// HID's user, as somebody else made it.
fn theirs() -> UserSeen {
    UserSeen {
        id: HidUserId::parse("700").unwrap(),
        external_id: Some("theirs".into()),
        deleting: false,
        invitations: vec![],
        containers: vec![],
    }
}

/// The person's e-mail address is another user's at HID.
pub(crate) async fn conflict(world: &World, person: &str) {
    launch(world, person).await;
    world.fails(person, user_lane(), Fault::Conflict).await;
    let found = |_: &_| Answer::UserFound(HidUserId::parse("700"));
    world.perform(person, user_lane(), Box::new(found)).await;
    let read = |_: &_| Answer::User(theirs());
    world.perform(person, user_lane(), Box::new(read)).await;
}

/// The person has a phone on which somebody else put a key.
pub(crate) async fn stranger(world: &World, person: &str) -> String {
    launch(world, person).await;
    world.enroll(person, "72999", iphone()).await;
    world.ok(RESYNC, json!({ "id": person })).await;
    let read = |identity: &origo_adapter::core::Identity| {
        let enrollment = &identity.enrollments[&AcsSystemId(HQ)];
        let key = CredentialSeen {
            id: CredentialId::parse("2000").unwrap(),
            part_number: Some(PartNumber("MID-SUB-EXAMPLE_2".into())),
            card_number: None,
            status: CredentialStatus::Issued,
        };
        let phone = ContainerSeen {
            id: ContainerId::parse("72999").unwrap(),
            status: ContainerStatus::Active,
            device: iphone(),
            credentials: vec![key],
        };
        Answer::User(UserSeen {
            id: enrollment.user_id().unwrap().clone(),
            external_id: Some(identity.id.to_string()),
            containers: vec![phone],
            ..theirs()
        })
    };
    let lane = Lane::Read(AcsSystemId(HQ));
    world.perform(person, lane, Box::new(read)).await;
    PhoneId::of(AcsSystemId(HQ), &ContainerId::parse("72999").unwrap()).to_string()
}

/// What the person's journal holds of this entity, and by whom it came.
async fn journal(world: &World, person: &str, entity: &str) -> Vec<(String, Option<String>)> {
    let rows = world.engine.store().journal(identity_id(person)).await;
    let rows = rows.unwrap().into_iter();
    let rows = rows.filter(|row| row.change.entity.starts_with(entity));
    rows.map(|row| (row.cause, row.change.to)).collect()
}

#[tokio::test]
async fn what_failed_is_tried_at_once_by_any_of_its_ids() {
    let world = World::new();
    let person = world.person("ada").await;
    let automation = launch(&world, &person).await;
    let user = world.acs_user(&person).await;
    world.make_hid_user(&person).await;
    let parent = world.parent(&user).await;
    let phone = world.enroll(&person, "61001", iphone()).await;
    let device = PhoneId(phone.parse().unwrap());
    let key = Lane::Key(device, PartNumber("MID-SUB-EXAMPLE_1".into()));
    for id in [&person, &automation, &user, &parent, &phone] {
        let refused = Fault::Rejected(Rejection::PhoneFull);
        world.fails(&person, key.clone(), refused).await;
        let told = world.ok(RETRY, json!({ "id": id })).await;
        assert_eq!(told["effect"], "issue", "{told}");
        assert_eq!(told["eta"], "2024-01-09T05:45:33.068Z");
        assert_eq!(told["id"], json!(id));
    }
    let asked = journal(&world, &person, "request/").await;
    assert_eq!(asked, [("ops".to_owned(), Some(format!("retry {NOW}")))]);
    let refused = world
        .call_as(INVITE, "POST", RETRY, "application/json", "{}")
        .await;
    assert_eq!(refused.error().0, 403);
    let unknown = world.post(RETRY, json!({ "id": NOBODY })).await;
    assert_eq!(unknown.error(), (404, "not_found".into()));
}

#[tokio::test]
async fn hid_is_read_when_it_is_asked_for() {
    let world = World::new();
    let person = world.person("ada").await;
    launch(&world, &person).await;
    world.make_hid_user(&person).await;
    let phone = world.enroll(&person, "61001", iphone()).await;
    let told = world.ok(RESYNC, json!({ "id": phone })).await;
    assert_eq!(told["effect"], "read_phone", "{told}");
    let told = world.ok(RESYNC, json!({ "id": person })).await;
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("The call read_user ("), "{text}");
}

#[tokio::test]
async fn a_user_in_the_way_is_taken_over_when_it_is_asked_for() {
    let world = World::new();
    let person = world.person("ada").await;
    let nothing = world.post(ADOPT, json!({ "id": person })).await;
    assert_eq!(nothing.error(), (400, "no_user_conflict".into()));
    conflict(&world, &person).await;
    let told = world.ok(ADOPT, json!({ "id": person })).await;
    assert_eq!(told["effect"], "read_user", "{told}");
    let read = |_: &_| Answer::User(theirs());
    world.perform(&person, user_lane(), Box::new(read)).await;
    let states = journal(&world, &person, "cm_user/").await;
    let states: Vec<_> = states.iter().filter_map(|(_, to)| to.as_deref()).collect();
    assert_eq!(states.last(), Some(&"present"), "{states:?}");
    let again = world.post(ADOPT, json!({ "id": person })).await;
    assert_eq!(again.error().0, 400);
}

#[tokio::test]
async fn orphans_are_listed_in_pages_and_go_on_request_alone() {
    let world = World::new();
    assert_eq!(world.ok(ORPHANS, json!({})).await, json!([]));
    let person = world.person("ada").await;
    let phone = stranger(&world, &person).await;
    let listed = world.ok(ORPHANS, json!({ "limit": 1 })).await;
    let orphan = &listed[0];
    let expected = json!({
        "orphan_id": orphan["orphan_id"],
        "object_type": "credential",
        "hid_id": "2000",
        "status": "issued",
        "credential_manager": "hq",
        "credential_manager_acs_system_id": HQ,
        "user_identity_id": person,
        "device_id": phone,
        "part_number": "MID-SUB-EXAMPLE_2",
        "found_at": "2024-01-09T05:45:33.068Z",
        "is_being_removed": false,
    });
    assert_eq!(*orphan, expected);
    let id = json!({ "orphan_id": orphan["orphan_id"] });
    let body = id.to_string();
    let refused = world
        .call_as(READ, "POST", REMOVE, "application/json", &body)
        .await;
    assert_eq!(refused.error().0, 403);
    let removed = world.ok(REMOVE, id.clone()).await;
    assert_eq!(removed["is_being_removed"], true);
    let part = PartNumber("MID-SUB-EXAMPLE_2".into());
    let lane = Lane::Key(PhoneId(phone.parse().unwrap()), part);
    let revoked = |_: &_| Answer::Revoked;
    world.perform(&person, lane, Box::new(revoked)).await;
    let orphans = journal(&world, &person, "orphan/").await;
    let found = ("test".to_owned(), Some("found".to_owned()));
    let leaving = ("ops".to_owned(), Some("leaving".to_owned()));
    assert_eq!(orphans, [found, leaving]);
    let unknown = json!({ "orphan_id": NOBODY });
    let unknown = world.post(REMOVE, unknown).await;
    assert_eq!(unknown.error(), (404, "orphan_not_found".into()));
    world.ok(REMOVE, id).await;
}
