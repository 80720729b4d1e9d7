//! A child's record in its access system, on the stage.

use std::collections::BTreeSet;
use std::time::Duration;

use origo_adapter::core::effect::Lane;
use origo_adapter::core::identity::Child;
use origo_adapter::core::ids::{CallNo, ChildId, Personal};
use origo_adapter::core::observation::{Answer, CredentialStatus, Fault, Observation};
use origo_adapter::core::record::{Act, Contents, Field, Outcome, Record};
use origo_adapter::core::wish::Wish;
use origo_adapter::template::Template;
use uuid::Uuid;

use crate::support::lanes::{invitation_lane, phone_lane, phone_other, user_lane};
use crate::support::scene::{
    Scene, acs_user, container, doors, key_lane, key_seen, parent_id, phone_id, phone_seen, secs,
    wish_suspend,
};

const FIELDS: [Field; 3] = [Field::ChildId, Field::CardNumber, Field::EndsAt];

/// The doors take records.
fn scene(make: fn() -> Scene) -> Scene {
    let mut scene = make();
    scene.policy.imports.insert(doors(), FIELDS.into());
    scene.wake();
    scene
}

fn child(scene: &Scene) -> &Child {
    scene.is().child(id()).expect("a child").2
}

fn record(scene: &Scene) -> &Record {
    &child(scene).record
}

fn id() -> ChildId {
    ChildId::of(parent_id(1), phone_id("900"))
}

/// As the stage tells it: class and seconds until then.
fn owes(scene: &Scene) -> String {
    scene.owes(&Lane::Record(id()))
}

/// Makes the mark of what is owed, waiting until it is due; `put` or `remove`, the card number, and the call's number.
fn start(scene: &mut Scene) -> (String, CallNo) {
    scene.now = scene.now.max(scene.owed[&Lane::Record(id())].not_before);
    let until = scene.now.plus(secs(60));
    let token = Uuid::from_u128(7);
    scene.see(&Observation::RecordStarted {
        child: id(),
        until,
        token,
    });
    let call = record(scene).call.clone().expect("a call under way");
    let (act, contents) = match &call.act {
        Act::Put(contents) => ("put", contents),
        Act::Remove(contents) => ("remove", contents),
    };
    let number = contents.get(Field::CardNumber).unwrap_or("-");
    (format!("{act} {number}"), call.number)
}

fn end(scene: &mut Scene, number: CallNo, outcome: Outcome) {
    scene.see(&Observation::RecordEnded(id(), number, outcome));
}

fn does(scene: &mut Scene, outcome: Outcome) -> String {
    let (act, number) = start(scene);
    end(scene, number, outcome);
    act
}

fn imported() -> Scene {
    let mut scene = scene(Scene::issued);
    assert_eq!(does(&mut scene, Outcome::Done), "put card-1000");
    scene
}

/// All states of the record in turn.
fn told(scene: &Scene) -> Vec<String> {
    let entity = format!("record/{}", id());
    let changes = scene.changes.iter().map(|(_, change)| change);
    let states = changes.filter(|change| change.entity == entity);
    states
        .map(|change| change.to.clone().unwrap_or("none".to_owned()))
        .collect()
}

#[test]
fn a_record_is_owed_once_the_key_is_accepted_and_only_once() {
    let mut scene = scene(Scene::with_parent);
    assert_eq!(owes(&scene), "-");
    let seen = key_seen("1000", 1, CredentialStatus::IssueInitiated);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    assert_eq!(owes(&scene), "import wake +0");
    assert_eq!(does(&mut scene, Outcome::Done), "put card-1000");
    assert_eq!(owes(&scene), "-");
    assert_eq!(told(&scene), ["importing", "imported"]);
}

#[test]
fn without_a_connector_nothing_is_owed_and_nothing_waited_for() {
    let mut scene = Scene::issued();
    assert_eq!(owes(&scene), "-");
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.does(&key_lane("900", 1), Answer::Revoked);
    scene.pass(60);
    scene.reads_phone(vec![]);
    assert!(scene.is().parents.is_empty());
}

#[test]
fn a_number_that_hid_did_not_tell_is_read_first() {
    let mut scene = scene(Scene::with_parent);
    let mut seen = key_seen("1000", 1, CredentialStatus::Issued);
    seen.card_number = None;
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    assert_eq!(owes(&scene), "-");
    scene.reads_phone(vec![key_seen("1000", 1, CredentialStatus::Issued)]);
    assert_eq!(does(&mut scene, Outcome::Done), "put card-1000");
}

#[test]
fn a_withdrawal_removes_the_record_and_the_key_and_waits_for_both() {
    for record_first in [true, false] {
        let mut scene = imported();
        scene.wish(Wish::DeleteParent(parent_id(1)));
        assert_eq!(owes(&scene), "removal wake +0");
        assert_eq!(scene.owes_key(), "withdrawal revoke +0");
        let revoke = |scene: &mut Scene| {
            scene.does(&key_lane("900", 1), Answer::Revoked);
            scene.pass(60);
            scene.reads_phone(vec![]);
        };
        if record_first {
            assert_eq!(does(&mut scene, Outcome::Done), "remove card-1000");
            assert!(!scene.is().parents.is_empty(), "the key is still there");
            revoke(&mut scene);
        } else {
            revoke(&mut scene);
            assert_eq!(scene.child_state("900", 1), Some("revoking"));
            assert_eq!(does(&mut scene, Outcome::Done), "remove card-1000");
        }
        assert!(scene.is().parents.is_empty());
    }
}

#[test]
fn a_suspended_user_loses_the_record_and_gets_it_back() {
    let mut scene = imported();
    scene.wish(wish_suspend(true));
    assert_eq!(does(&mut scene, Outcome::Done), "remove card-1000");
    assert_eq!(told(&scene), ["imported", "removing", "none"]);
    scene.does(&key_lane("900", 1), Answer::Revoked);
    scene.pass(60);
    scene.reads_phone(vec![]);
    scene.wish(wish_suspend(false));
    assert_eq!(owes(&scene), "-", "there is no key yet");
    let seen = key_seen("1001", 1, CredentialStatus::Issued);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    assert_eq!(does(&mut scene, Outcome::Done), "put card-1001");
}

#[test]
fn another_end_is_told() {
    let mut scene = imported();
    let ends_at = scene.now.plus(Duration::from_hours(1));
    let dates = Wish::SetDates {
        id: parent_id(1),
        starts_at: None,
        ends_at: Some(ends_at),
    };
    scene.wish(dates);
    assert_eq!(does(&mut scene, Outcome::Done), "put card-1000");
    let sent = record(&scene).sent.clone().unwrap();
    assert_eq!(
        sent.get(Field::EndsAt),
        Some(ends_at.0.to_string().as_str())
    );
    scene.now = ends_at;
    scene.wake();
    assert_eq!(does(&mut scene, Outcome::Done), "remove card-1000");
}

#[test]
fn an_unanswered_put_is_repeated_and_said_again_after_the_bound() {
    let mut scene = scene(Scene::issued);
    assert_eq!(does(&mut scene, Outcome::Unanswered), "put card-1000");
    let gave_up = scene.now;
    assert_eq!(does(&mut scene, Outcome::Done), "put card-1000");
    assert_eq!(told(&scene).last().unwrap(), "imported");
    assert_eq!(
        scene.owed[&Lane::Record(id())].not_before,
        gave_up.plus(secs(120))
    );
    assert_eq!(does(&mut scene, Outcome::Done), "put card-1000");
    assert_eq!(owes(&scene), "-");
}

#[test]
fn a_record_is_removed_again_once_no_put_can_come_late() {
    let mut scene = scene(Scene::issued);
    does(&mut scene, Outcome::Unanswered);
    let gave_up = scene.now;
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.pass(10);
    assert_eq!(
        does(&mut scene, Outcome::Done),
        "remove card-1000",
        "at once"
    );
    scene.does(&key_lane("900", 1), Answer::Revoked);
    scene.pass(60);
    scene.reads_phone(vec![]);
    assert!(!scene.is().parents.is_empty(), "the put may still come");
    assert_eq!(
        scene.owed[&Lane::Record(id())].not_before,
        gave_up.plus(secs(120))
    );
    assert_eq!(does(&mut scene, Outcome::Done), "remove -");
    assert!(scene.is().parents.is_empty());
}

#[test]
fn a_system_that_refuses_everybody_moves_no_schedule_a_refused_record_does() {
    let mut scene = scene(Scene::issued);
    does(&mut scene, Outcome::Refused);
    assert_eq!(record(&scene).trouble.failures, 0);
    assert_eq!(owes(&scene), "import wake +5");
    does(&mut scene, Outcome::Rejected);
    assert_eq!(record(&scene).trouble.failures, 1);
    does(&mut scene, Outcome::Rejected);
    assert_eq!(record(&scene).trouble.failures, 2);
    does(&mut scene, Outcome::Done);
    assert_eq!(record(&scene).trouble.failures, 0);
}

#[test]
fn a_mark_whose_owner_is_gone_is_an_unknown_outcome() {
    let mut scene = scene(Scene::issued);
    let (_, number) = start(&mut scene);
    let until = record(&scene).call.clone().unwrap().until;
    assert_eq!(scene.owed[&Lane::Record(id())].not_before, until);
    scene.wish(Wish::DeleteParent(parent_id(1)));
    assert_eq!(
        scene.owed[&Lane::Record(id())].not_before,
        until,
        "one call at a time"
    );
    let (act, _) = start(&mut scene);
    assert_eq!(act, "remove card-1000", "it may be there");
    end(&mut scene, number, Outcome::Done);
    assert!(
        record(&scene).call.is_some(),
        "a late answer settles nothing"
    );
}

#[test]
fn a_key_that_somebody_revoked_leaves_no_record() {
    let mut scene = imported();
    scene.event(origo_adapter::core::observation::Happening::KeyOther {
        credential: crate::support::scene::credential("1000"),
        container: Some(container("900")),
    });
    scene.reads_phone(vec![key_seen("1000", 1, CredentialStatus::Revoked)]);
    assert_eq!(does(&mut scene, Outcome::Done), "remove card-1000");
    assert_eq!(owes(&scene), "-");
}

#[test]
fn a_phone_that_is_gone_takes_its_record_along() {
    let mut scene = imported();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    assert_eq!(owes(&scene), "removal wake +0");
    let mut seen = phone_seen("900", vec![]);
    seen.status = origo_adapter::core::observation::ContainerStatus::Deleting;
    scene.does(&Lane::Removal(phone_id("900")), Answer::PhoneDeleted);
    scene.does(&Lane::Phone(phone_id("900")), Answer::Phone(seen));
    assert_eq!(does(&mut scene, Outcome::Done), "remove card-1000");
    assert!(scene.is().parents[&parent_id(1)].children.is_empty());
}

#[test]
fn a_put_that_nobody_saw_end_is_removed_by_its_number_and_again_once_it_cannot_come_late() {
    let mut scene = scene(Scene::issued);
    start(&mut scene);
    let until = record(&scene).call.clone().unwrap().until;
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.does(&key_lane("900", 1), Answer::Revoked);
    assert_eq!(does(&mut scene, Outcome::Done), "remove card-1000");
    assert_eq!(
        scene.owed[&Lane::Record(id())].not_before,
        until.plus(secs(120))
    );
    assert_eq!(does(&mut scene, Outcome::Done), "remove -");
    assert_eq!(owes(&scene), "-");
}

#[test]
fn after_a_removal_that_failed_or_nobody_saw_end_a_wanted_record_is_told_again() {
    for outcome in [Some(Outcome::Rejected), Some(Outcome::Unanswered), None] {
        let mut scene = imported();
        scene.wish(wish_suspend(true));
        let (_, number) = start(&mut scene);
        if let Some(outcome) = outcome {
            end(&mut scene, number, outcome);
        }
        scene.wish(wish_suspend(false));
        assert_eq!(start(&mut scene).0, "put card-1000", "{outcome:?}");
        assert_eq!(told(&scene).last().unwrap(), "importing", "{outcome:?}");
    }
}

#[test]
fn only_what_was_taken_and_is_still_wanted_is_imported() {
    let mut scene = scene(Scene::with_parent);
    let seen = key_seen("1000", 1, CredentialStatus::Issued);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    does(&mut scene, Outcome::Unanswered);
    assert_eq!(told(&scene), ["importing"]);
    does(&mut scene, Outcome::Done);
    assert_eq!(told(&scene), ["importing", "imported"]);
    let ends_at = Some(scene.now.plus(Duration::from_hours(1)));
    scene.wish(Wish::SetDates {
        id: parent_id(1),
        starts_at: None,
        ends_at,
    });
    assert_eq!(told(&scene), ["importing", "imported", "importing"]);
}

#[test]
fn a_key_on_its_way_out_has_no_record_though_one_is_wanted() {
    let mut ours = imported();
    ours.wish(wish_suspend(true));
    ours.fails(&key_lane("900", 1), Fault::Unanswered);
    ours.wish(wish_suspend(false));
    let mut somebodys = imported();
    somebodys.event(phone_other());
    somebodys.reads_phone(vec![key_seen("1000", 1, CredentialStatus::Revoking)]);
    for scene in [ours, somebodys] {
        assert_eq!(owes(&scene), "removal wake +0");
    }
}

/// With a parent, at doors that take these fields.
fn with_parent_of(fields: BTreeSet<Field>) -> Scene {
    let mut scene = Scene::with_parent();
    scene.policy.imports.insert(doors(), fields);
    scene.wake();
    scene
}

#[test]
fn a_record_without_a_number_waits_for_the_key_all_the_same() {
    let mut scene = with_parent_of([Field::ChildId].into());
    assert_eq!(owes(&scene), "-");
    let seen = key_seen("1000", 1, CredentialStatus::IssueInitiated);
    scene.does(&key_lane("900", 1), Answer::Issued(seen));
    assert_eq!(does(&mut scene, Outcome::Done), "put -");
}

#[test]
fn a_phone_is_read_for_a_number_only_where_one_is_to_be_told_and_missing() {
    for (fields, number, owed) in [
        (FIELDS.into(), None, "confirm read_phone +30"),
        (FIELDS.into(), Some("4711"), "-"),
        ([Field::ChildId].into(), None, "-"),
    ] {
        let mut scene = with_parent_of(fields);
        let mut seen = key_seen("1000", 1, CredentialStatus::Issued);
        seen.card_number = number.map(str::to_owned);
        scene.does(&key_lane("900", 1), Answer::Issued(seen));
        assert_eq!(scene.owes_phone_read(), owed, "{number:?}");
    }
}

#[test]
fn a_number_is_told_as_it_is_and_a_moment_as_such() {
    let fields = [
        (Field::CardNumber, "4711"),
        (Field::EndsAt, "1800000000000"),
    ];
    let fields = fields.map(|(field, text)| (field, Personal(text.to_owned())));
    let template = Template::parse("{key.card_number} until {child.ends_at}").unwrap();
    assert_eq!(
        template.fill(&Contents(fields.into())),
        "4711 until 2027-01-15T08:00:00.000Z"
    );
}

/// Somebody else has the credential from then on; whoever had it before has no record left.
#[test]
fn a_credential_that_changes_hands_leaves_no_record_behind() {
    for wish in [
        Wish::ReleaseParent(parent_id(1)),
        Wish::ReleaseAcsUser(acs_user()),
    ] {
        let mut scene = imported();
        scene.wish(wish);
        assert!(scene.is().parents.is_empty());
        assert_eq!(owes(&scene), "removal wake +0");
        assert_eq!(does(&mut scene, Outcome::Unanswered), "remove card-1000");
        assert_eq!(does(&mut scene, Outcome::Done), "remove card-1000");
        // It may have come late; asked once more after the bound, nothing is left.
        assert_eq!(does(&mut scene, Outcome::Done), "remove card-1000");
        assert!(scene.is().released.is_empty());
        assert_eq!(owes(&scene), "-");
        assert_eq!(told(&scene), ["imported", "removing", "none"]);
    }
}

#[test]
fn what_is_on_its_way_when_a_credential_changes_hands_is_removed_after_it() {
    for outcome in [Outcome::Done, Outcome::Unanswered] {
        let mut scene = scene(Scene::issued);
        let (_, number) = start(&mut scene);
        scene.wish(Wish::ReleaseParent(parent_id(1)));
        end(&mut scene, number, outcome);
        assert_eq!(
            does(&mut scene, Outcome::Done),
            "remove card-1000",
            "{outcome:?}"
        );
    }
}

#[test]
fn a_credential_that_comes_back_has_its_record_once() {
    let mut scene = imported();
    let parent = scene.is().parents[&parent_id(1)].clone();
    scene.wish(Wish::ReleaseParent(parent_id(1)));
    scene.wish(Wish::TakeIn {
        users: vec![],
        parents: vec![(parent_id(1), parent)],
    });
    assert!(scene.is().released.is_empty());
    assert_eq!(owes(&scene), "-", "it is as it was");
    assert_eq!(
        scene.is().child(id()).map(|(_, phone, _)| phone),
        Some(phone_id("900"))
    );
}

/// Whoever the credential belongs to by now.
#[test]
fn a_person_stays_until_their_last_record_is_removed() {
    for is_released in [false, true] {
        let mut scene = imported();
        if is_released {
            scene.wish(Wish::ReleaseParent(parent_id(1)));
        }
        scene.wish(Wish::DeleteIdentity);
        scene.does(&key_lane("900", 1), Answer::Revoked);
        scene.does(&invitation_lane(), Answer::InvitationCancelled);
        scene.pass(30);
        scene.reads_phone(vec![]);
        scene.does(&user_lane(), Answer::UserDeleted);
        scene.fails(&user_lane(), Fault::Gone);
        while scene.owed.contains_key(&phone_lane()) {
            scene.fails(&phone_lane(), Fault::Gone);
        }
        assert_eq!(scene.user_state(), "gone");
        assert_eq!(does(&mut scene, Outcome::Done), "remove card-1000");
        assert_eq!(scene.identity, None);
    }
}

#[test]
fn where_no_records_are_kept_nothing_of_a_released_credential_is() {
    let mut scene = Scene::issued();
    scene.wish(Wish::ReleaseParent(parent_id(1)));
    assert!(scene.is().released.is_empty());
}
