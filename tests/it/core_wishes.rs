//! Wishes about what is there already: changed data, suspended users, deactivated phones, other dates,
//! and records that change hands. Scenes as in `core_table`.

use origo_adapter::core::effect::{Effect, Lane};
use origo_adapter::core::identity::{AcsUser, Parent};
use origo_adapter::core::ids::{AcsUserId, ParentId, Timestamp};
use origo_adapter::core::observation::{
    Answer, ContainerStatus, CredentialStatus as Cs, Fault, Happening, InvitationStatus as Is,
    Rejection,
};
use origo_adapter::core::wish::Wish;
use uuid::Uuid;

use crate::support::lanes::{invitation_lane, phone_lane, removal_lane, user_lane};
use crate::support::scene::{
    Scene, acs_user, ada_as, container, hid_user, invitation_seen, key_lane, key_seen, manager,
    parent_id, phone_id, phone_seen, secs, wish_acs_user, wish_invite, wish_launch, wish_parent,
    wish_suspend,
};

fn on_phone() -> Vec<origo_adapter::core::observation::CredentialSeen> {
    vec![key_seen("1000", 1, Cs::Issued)]
}

// ---- HID's copy of the person's data ----

#[test]
fn changed_data_owe_exactly_one_update() {
    let mut scene = Scene::issued();
    assert_eq!(scene.owes(&user_lane()), "-", "nothing changed");
    scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
    assert_eq!(scene.owes(&user_lane()), "enroll update_user +0");
    let owed = &scene.owed[&user_lane()].effect;
    let Effect::UpdateUser { user, data } = owed else {
        panic!("{owed:?}")
    };
    assert_eq!(
        (user, data.family_name.0.as_str()),
        (&hid_user("700"), "Lovelace")
    );
    scene.does(&user_lane(), Answer::UserUpdated);
    assert_eq!(scene.owes(&user_lane()), "-");
    scene.wish(ada_as("Ada Lovelace", "ADA@example.com"));
    assert_eq!(scene.owes(&user_lane()), "-", "HID knows it lower-cased");
    assert_eq!(scene.automation(), "enrolled");
}

#[test]
fn data_that_change_back_before_the_call_owe_nothing() {
    let mut scene = Scene::issued();
    scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
    scene.wish(ada_as("Ada Okafor", "ada@example.com"));
    assert_eq!(scene.owes(&user_lane()), "-");
}

#[test]
fn data_that_change_while_the_user_is_made_are_told_after() {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    let call = scene.start(&user_lane());
    scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
    let user = scene.user_seen(vec![], vec![]);
    scene.answer(call, Answer::UserCreated(user));
    assert_eq!(scene.owes(&user_lane()), "enroll update_user +0");
}

#[test]
fn a_refused_update_waits_for_other_data_and_says_why() {
    let rows = [
        (Fault::Conflict, "user_conflict"),
        (Fault::Rejected(Rejection::UserData), "user_data_incomplete"),
    ];
    for (fault, reason) in rows {
        let mut scene = Scene::issued();
        scene.wish(ada_as("Ada Okafor", "taken@example.com"));
        scene.fails(&user_lane(), fault);
        assert_eq!(scene.owes(&user_lane()), "-");
        assert_eq!(scene.automation(), format!("enrolled: {reason}"));
        assert_eq!(scene.key_state("900", 1), "issued", "the key stays");
        scene.wish(ada_as("Ada Okafor", "free@example.com"));
        assert_eq!(scene.owes(&user_lane()), "enroll update_user +0");
        scene.does(&user_lane(), Answer::UserUpdated);
        assert_eq!(scene.automation(), "enrolled");
    }
}

#[test]
fn a_lost_update_is_repeated_after_the_bound() {
    let mut scene = Scene::issued();
    scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
    scene.fails(&user_lane(), Fault::Unanswered);
    assert_eq!(scene.owes(&user_lane()), "enroll update_user +120");
    scene.wish(ada_as("Ada Okafor", "ada@example.com"));
    assert_eq!(
        scene.owes(&user_lane()),
        "enroll update_user +120",
        "what HID has is unknown, even if the old data are wanted again"
    );
}

#[test]
fn an_update_of_a_vanished_user_is_followed_by_the_read_that_settles_it() {
    let mut scene = Scene::issued();
    scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
    scene.fails(&user_lane(), Fault::Gone);
    assert_eq!(scene.user_state(), "present");
    assert_eq!(scene.owes(&user_lane()), "-");
    assert_eq!(scene.owes(&Lane::Read(manager())), "confirm read_user +30");
    scene.pass(30);
    scene.fails(&Lane::Read(manager()), Fault::Gone);
    assert_eq!(scene.user_state(), "gone");
}

#[test]
fn an_update_of_a_user_on_its_way_out_is_followed_by_a_read() {
    let mut scene = Scene::issued();
    scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
    scene.fails(&user_lane(), Fault::WrongState);
    assert_eq!(scene.owes(&Lane::Read(manager())), "confirm read_user +0");
}

#[test]
fn a_user_that_was_taken_over_is_not_ours_to_change() {
    let mut scene = Scene::new();
    let policy = scene.policy.managers.get_mut(&manager()).unwrap();
    policy.adopt_by_email = true;
    scene.wish(wish_launch(1));
    scene.fails(&user_lane(), Fault::Conflict);
    scene.does(&user_lane(), Answer::UserFound(Some(hid_user("700"))));
    let mut seen = scene.user_seen(vec![], vec![]);
    seen.external_id = None;
    scene.does(&user_lane(), Answer::User(seen));
    scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
    assert_eq!(scene.owes(&user_lane()), "-");
}

#[test]
fn incomplete_data_proceed_once_they_are_complete() {
    let mut scene = Scene::new();
    scene.wish(ada_as("A", "ada@example.com"));
    scene.wish(wish_launch(1));
    assert_eq!(scene.automation(), "held: user_data_incomplete");
    scene.wish(ada_as("Ada Okafor", "ada@example.com"));
    assert_eq!(scene.owes(&user_lane()), "enroll create_user +0");
    scene.fails(&user_lane(), Fault::Rejected(Rejection::UserData));
    assert_eq!(scene.owes(&user_lane()), "-");
    scene.wish(ada_as("Ada Lovelace", "ada@example.com"));
    assert_eq!(scene.owes(&user_lane()), "enroll create_user +0");
}

// ---- Suspended and deleted ACS users ----

#[test]
fn a_suspended_user_holds_no_key_until_it_may_again() {
    let mut scene = Scene::issued();
    scene.wish(wish_suspend(true));
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
    scene.does(&key_lane("900", 1), Answer::Revoked);
    scene.pass(60);
    scene.reads_phone(vec![]);
    assert_eq!(scene.key_state("900", 1), "revoked");
    assert_eq!(scene.owes_key(), "-");
    scene.wish(wish_suspend(false));
    assert_eq!(scene.owes_key(), "issue issue +0");
}

#[test]
fn a_deleted_user_goes_after_its_keys() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeleteAcsUser(acs_user()));
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
    assert!(scene.is().acs_users[&acs_user()].deleting_since.is_some());
    scene.wish(wish_parent(2, 1));
    assert_eq!(scene.is().parents.len(), 1, "it gets nothing more");
    scene.does(&key_lane("900", 1), Answer::Revoked);
    scene.pass(60);
    scene.reads_phone(vec![]);
    assert!(scene.is().acs_users.is_empty() && scene.is().parents.is_empty());
}

#[test]
fn a_deleted_user_without_an_identity_leaves_nothing() {
    let mut scene = Scene::empty();
    scene.wish(wish_acs_user());
    scene.wish(wish_parent(1, 1));
    scene.wish(Wish::DeleteAcsUser(acs_user()));
    assert_eq!(scene.identity, None);
}

// ---- Deactivated phones ----

#[test]
fn a_deactivated_phone_goes_with_its_keys() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    assert_eq!(scene.owes(&removal_lane()), "withdrawal delete_phone +0");
    assert_eq!(scene.owes_key(), "-", "its keys go with it");
    assert_eq!(scene.key_state("900", 1), "revoking");
    assert_eq!(scene.child_state("900", 1), Some("revoking"));
    scene.does(&removal_lane(), Answer::PhoneDeleted);
    assert_eq!(scene.owes(&removal_lane()), "-");
    assert_eq!(scene.owes_phone_read(), "confirm read_phone +30");
    let mut seen = phone_seen("900", vec![key_seen("1000", 1, Cs::Revoking)]);
    seen.status = ContainerStatus::Deleting;
    scene.does(&phone_lane(), Answer::Phone(seen.clone()));
    assert!(scene.phone("900").removed_at.is_none());
    seen.credentials = vec![key_seen("1000", 1, Cs::Revoked)];
    scene.does(&phone_lane(), Answer::Phone(seen));
    assert!(
        scene.phone("900").removed_at.is_some(),
        "empty, and on its way out"
    );
    assert_eq!(scene.is().parents[&parent_id(1)].children.len(), 0);
    assert_eq!(scene.automation(), "waiting_for_phone");
}

#[test]
fn a_deactivated_phone_never_comes_back_by_itself() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    scene.wish(Wish::DeleteAutomation(
        crate::support::scene::automation_id(1),
    ));
    scene.wish(wish_launch(2));
    scene.wish(wish_parent(2, 2));
    scene.phone_active("900", "800");
    assert_eq!(scene.owes(&removal_lane()), "withdrawal delete_phone +0");
    assert_eq!(scene.owes(&key_lane("900", 2)), "-");
}

#[test]
fn a_deletion_that_was_never_begun_is_repeated() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    scene.fails(&removal_lane(), Fault::Unanswered);
    assert_eq!(scene.owes_phone_read(), "issue read_phone +0");
    scene.reads_phone(on_phone());
    assert_eq!(scene.owes(&removal_lane()), "withdrawal delete_phone +5");
    scene.does(&removal_lane(), Answer::PhoneDeleted);
    scene.reads_phone(on_phone());
    assert_eq!(scene.owes(&removal_lane()), "withdrawal delete_phone +0");
}

#[test]
fn a_lost_answer_is_made_up_for_by_a_read() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    scene.fails(&removal_lane(), Fault::Unanswered);
    let mut seen = phone_seen("900", on_phone());
    seen.status = ContainerStatus::Deleting;
    scene.does(&phone_lane(), Answer::Phone(seen));
    assert_eq!(scene.owes(&removal_lane()), "-");
    assert_eq!(scene.owes_phone_read(), "confirm read_phone +30");
}

#[test]
fn a_phone_that_hid_does_not_know_is_removed_after_two_reads() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    scene.fails(&removal_lane(), Fault::Gone);
    scene.fails(&phone_lane(), Fault::Gone);
    scene.fails(&phone_lane(), Fault::Gone);
    assert!(scene.phone("900").removed_at.is_some());
    assert_eq!(scene.owes(&removal_lane()), "-");
}

#[test]
fn a_refused_deletion_revokes_each_key_meanwhile() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    scene.fails(&removal_lane(), Fault::Rejected(Rejection::Other));
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
    assert_eq!(scene.owes(&removal_lane()), "withdrawal delete_phone +5");
}

#[test]
fn a_refusing_service_only_puts_the_deletion_off() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    scene.fails(&removal_lane(), Fault::Refused);
    assert_eq!(scene.owes(&removal_lane()), "withdrawal delete_phone +5");
    assert_eq!(scene.owes_key(), "-");
}

#[test]
fn an_issue_in_doubt_ends_with_its_phone() {
    let mut scene = Scene::in_doubt();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    scene.does(&removal_lane(), Answer::PhoneDeleted);
    let mut seen = phone_seen("900", on_phone());
    seen.status = ContainerStatus::Deleting;
    scene.does(&phone_lane(), Answer::Phone(seen.clone()));
    assert_eq!(scene.key_state("900", 1), "revoking");
    seen.credentials.clear();
    scene.does(&phone_lane(), Answer::Phone(seen));
    assert_eq!(scene.phone("900").removed_at, Some(scene.now));
}

#[test]
fn after_a_deactivation_no_invitation_is_made_until_one_is_asked_for() {
    let mut scene = Scene::with_phone();
    scene.invitation_event("800", Is::Acknowledged);
    scene.wish(wish_invite(false));
    let seen = invitation_seen("801", Is::Pending);
    scene.does(&invitation_lane(), Answer::InvitationCreated(seen));
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    assert_eq!(
        scene.owes(&invitation_lane()),
        "withdrawal cancel_invitation +0"
    );
    scene.does(&invitation_lane(), Answer::InvitationCancelled);
    scene.invitation_event("801", Is::Cancelled);
    scene.wish(wish_parent(1, 1));
    assert_eq!(scene.owes(&invitation_lane()), "-");
    scene.wish(wish_invite(false));
    assert_eq!(
        scene.owes(&invitation_lane()),
        "enroll create_invitation +0"
    );
}

#[test]
fn an_invitation_made_meanwhile_is_cancelled() {
    let mut scene = Scene::with_phone();
    scene.invitation_event("800", Is::Acknowledged);
    scene.wish(wish_invite(false));
    let call = scene.start(&invitation_lane());
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    let seen = invitation_seen("801", Is::Pending);
    scene.answer(call, Answer::InvitationCreated(seen));
    assert_eq!(
        scene.owes(&invitation_lane()),
        "withdrawal cancel_invitation +0"
    );
}

#[test]
fn an_event_of_a_deactivated_phone_has_it_read() {
    let mut scene = Scene::issued();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    scene.does(&removal_lane(), Answer::PhoneDeleted);
    scene.event(Happening::PhoneOther {
        container: container("900"),
    });
    assert_eq!(scene.owes_phone_read(), "issue read_phone +0");
}

// ---- Other dates ----

fn between(starts_at: Option<Timestamp>, ends_at: Option<Timestamp>) -> Wish {
    let id = parent_id(1);
    Wish::SetDates {
        id,
        starts_at,
        ends_at,
    }
}

#[test]
fn a_start_that_is_put_off_takes_the_key_back_until_then() {
    let mut scene = Scene::issued();
    let start = scene.now.plus(secs(1000));
    scene.wish(between(Some(start), None));
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
    scene.does(&key_lane("900", 1), Answer::Revoked);
    scene.pass(60);
    scene.reads_phone(vec![]);
    assert_eq!(scene.owes_key(), "-");
    scene.now = start;
    scene.wake();
    assert_eq!(scene.owes_key(), "issue issue +0");
    scene.wish(between(Some(start), Some(start)));
    assert_eq!(scene.owes_key(), "-", "never in its dates");
}

#[test]
fn an_end_can_be_moved_both_ways() {
    let mut scene = Scene::issued();
    let end = scene.now.plus(secs(100));
    scene.wish(between(None, Some(end)));
    assert_eq!(scene.owes(&Lane::Timer), "timer wake +100");
    scene.wish(between(None, None));
    assert_eq!(scene.owes(&Lane::Timer), "-");
    scene.wish(between(None, Some(end)));
    scene.now = end;
    scene.wake();
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
    scene.wish(between(None, Some(end.plus(secs(100)))));
    assert_eq!(
        scene.key_state("900", 1),
        "issued",
        "before the revoke was sent"
    );
}

// ---- Records that change hands ----

type Users = Vec<(AcsUserId, AcsUser)>;
type Parents = Vec<(ParentId, Parent)>;

fn release(scene: &Scene) -> (Users, Parents) {
    let of = scene.is();
    let users = of.acs_users.iter().map(|(id, user)| (*id, user.clone()));
    let parents = of.parents.iter().map(|(id, parent)| (*id, parent.clone()));
    (users.collect(), parents.collect())
}

#[test]
fn what_a_user_brings_along_is_issued() {
    let mut home = Scene::empty();
    home.wish(wish_acs_user());
    home.wish(wish_parent(1, 1));
    let (users, parents) = release(&home);
    home.wish(Wish::ReleaseAcsUser(acs_user()));
    assert_eq!(home.identity, None, "nothing is left there");

    let mut scene = Scene::empty();
    scene.wish(ada_as("Ada Okafor", "ada@example.com"));
    scene.wish(wish_launch(1));
    let user = scene.user_seen(vec![invitation_seen("800", Is::Pending)], vec![]);
    scene.does(&user_lane(), Answer::UserCreated(user));
    scene.phone_active("900", "800");
    scene.wish(Wish::TakeIn { users, parents });
    assert_eq!(scene.owes_key(), "issue issue +0");
}

#[test]
fn what_leaves_is_withdrawn_from_the_phones() {
    let mut scene = Scene::issued();
    let (users, parents) = release(&scene);
    scene.wish(Wish::ReleaseAcsUser(acs_user()));
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
    let mut home = Scene::empty();
    home.wish(Wish::TakeIn { users, parents });
    assert!(home.is().parents[&parent_id(1)].children.is_empty());
    assert!(home.owed.is_empty());
    let mut other = Scene::issued();
    other.wish(Wish::ReleaseParent(parent_id(1)));
    assert_eq!(other.owes_key(), "withdrawal revoke +0");
}

#[test]
fn nobodys_credential_is_on_no_phone() {
    let mut scene = Scene::issued();
    scene.wish(Wish::Assign(parent_id(1), None));
    assert_eq!(scene.owes_key(), "withdrawal revoke +0");
    scene.wish(Wish::Assign(parent_id(1), Some(acs_user())));
    assert_eq!(scene.owes_key(), "-");
    scene.wish(Wish::Assign(parent_id(1), Some(AcsUserId(Uuid::nil()))));
    assert_eq!(scene.is().parents[&parent_id(1)].acs_user, acs_user());
}

#[test]
fn a_person_stays_as_long_as_it_is_listed_or_has_a_record() {
    let second = AcsUserId(Uuid::from_u128(0xAD));
    let another = || Wish::AcsUser {
        id: second,
        acs_system: manager(),
        full_name: None,
        email_address: None,
        phone_number: None,
    };
    for end in [Wish::DeleteAcsUser, Wish::ReleaseAcsUser] {
        let mut listed = Scene::new();
        listed.wish(end(acs_user()));
        assert_eq!(listed.is().deleting_since, None);
        let mut unlisted = Scene::empty();
        unlisted.wish(wish_acs_user());
        unlisted.wish(another());
        unlisted.wish(end(acs_user()));
        assert_eq!(unlisted.is().deleting_since, None);
        unlisted.wish(end(second));
        assert_eq!(unlisted.identity, None);
    }
}
