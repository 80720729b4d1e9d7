//! Calls whose effects and answers cross, each story as short as it gets. A search through all orders of events found them.

use origo_adapter::core::Timestamp;
use origo_adapter::core::identity::InFlight;
use origo_adapter::core::observation::{
    Answer, CredentialStatus as Cs, Fault, InvitationStatus as Is, Rejection, UserSeen,
};
use origo_adapter::core::wish::Wish;

use crate::support::lanes::{invitation_lane, read_lane, user_lane};
use crate::support::scene::{
    Scene, ada_as, automation_id, hid_user, invitation_seen, key_lane, key_seen, parent_id,
    phone_seen, secs, wish_invite, wish_launch, wish_parent,
};

/// A create had no answer and may have been refused, a search by address found somebody else's user, whose read is under
/// way when the late answer comes: ours is another one.
fn ours_turns_up_while_another_is_read() -> (Scene, InFlight) {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    scene.wish(wish_parent(1, 1));
    let first = scene.start(&user_lane());
    scene.fail(first.clone(), Fault::Unanswered);
    scene.does(&user_lane(), Answer::UserFound(None));
    scene.pass(30);
    scene.fails(&user_lane(), Fault::Conflict);
    scene.does(&user_lane(), Answer::UserFound(Some(hid_user("999"))));
    assert_eq!(scene.user_state(), "found");
    let read = scene.start(&user_lane());
    assert_eq!(read.effect.name(), "read_user");
    let seen = scene.user_seen(vec![invitation_seen("800", Is::Pending)], vec![]);
    scene.answer(first, Answer::UserCreated(seen));
    assert_eq!(scene.user_state(), "present");
    (scene, read)
}

/// The model check found it: their phone was taken for ours, and a key was issued to it.
#[test]
fn a_read_of_somebody_elses_user_gives_nobody_their_phones() {
    let (mut scene, read) = ours_turns_up_while_another_is_read();
    let theirs = UserSeen {
        id: hid_user("999"),
        external_id: Some("somebody else".to_owned()),
        ..scene.user_seen(vec![], vec![phone_seen("900", vec![])])
    };
    scene.answer(read, Answer::User(theirs));
    assert!(scene.enrollment().phones.is_empty());
    assert_eq!(scene.enrollment().user_id(), Some(&hid_user("700")));
    assert!(!scene.owed.contains_key(&key_lane("900", 1)));
}

#[test]
fn somebody_elses_user_that_is_gone_is_not_ours() {
    let (mut scene, read) = ours_turns_up_while_another_is_read();
    scene.fail(read, Fault::Gone);
    assert_eq!(scene.enrollment().user.missing_since, None);
    assert_eq!(scene.user_state(), "present");
}

/// Rounds of three daemons found it: one stood still with the answer in its hands, and the phone's events, which another one
/// read, named a user that nobody knew.
#[test]
fn a_phone_that_registers_before_the_users_answer_is_taken_in_is_looked_for() {
    let created = |seconds| {
        let mut scene = Scene::new();
        scene.wish(wish_launch(1));
        let call = scene.start(&user_lane());
        scene.pass(seconds);
        let seen = scene.user_seen(vec![invitation_seen("800", Is::Pending)], vec![]);
        scene.answer(call, Answer::UserCreated(seen));
        scene
    };
    assert_eq!(created(1).enrollment().look, None);
    let mut slow = created(2);
    assert_eq!(slow.owes(&read_lane()), "confirm read_user +0");
    let seen = slow.user_seen(vec![], vec![phone_seen("900", vec![])]);
    slow.does(&read_lane(), Answer::User(seen));
    assert!(slow.enrollment().has_phone());
    assert_eq!(slow.enrollment().look, None);
}

#[test]
fn a_phone_that_registers_while_a_found_user_is_read_is_looked_for() {
    let read = |seconds| {
        let mut scene = Scene::new();
        scene.wish(wish_launch(1));
        scene.fails(&user_lane(), Fault::Conflict);
        scene.does(&user_lane(), Answer::UserFound(Some(hid_user("700"))));
        let call = scene.start(&user_lane());
        scene.pass(seconds);
        let seen = scene.user_seen(vec![], vec![]);
        scene.answer(call, Answer::User(seen));
        scene
    };
    assert_eq!(read(1).enrollment().look, None);
    let mut slow = read(2);
    assert_eq!(slow.owes(&read_lane()), "confirm read_user +0");
    let call = slow.start(&read_lane());
    slow.pass(2);
    let seen = slow.user_seen(vec![], vec![]);
    slow.answer(call, Answer::User(seen));
    assert_eq!(slow.enrollment().look, None, "once is enough");
}

#[test]
fn a_phone_that_registers_before_a_late_answer_is_looked_for() {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    let first = scene.start(&user_lane());
    scene.fail(first.clone(), Fault::Unanswered);
    let seen = scene.user_seen(vec![invitation_seen("800", Is::Pending)], vec![]);
    scene.answer(first, Answer::UserCreated(seen));
    assert_eq!(scene.owes(&read_lane()), "confirm read_user +0");
}

/// What refuses a second create is the first one's user.
#[test]
fn a_refused_create_does_not_undo_the_late_answer_of_an_earlier_one() {
    for fault in [Fault::Conflict, Fault::Rejected(Rejection::UserData)] {
        let mut scene = Scene::new();
        scene.wish(wish_launch(1));
        let first = scene.start(&user_lane());
        scene.fail(first.clone(), Fault::Unanswered);
        scene.does(&user_lane(), Answer::UserFound(None));
        scene.pass(30);
        let second = scene.start(&user_lane());
        let seen = scene.user_seen(vec![invitation_seen("800", Is::Pending)], vec![]);
        scene.answer(first, Answer::UserCreated(seen));
        scene.fail(second, fault);
        assert_eq!(scene.user_state(), "present");
    }
}

/// The first create had no answer, a search found nothing, the second was answered; with the time of the first.
fn created_after_a_doubt() -> (Scene, Timestamp) {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    scene.fails(&user_lane(), Fault::Unanswered);
    let gave_up_at = scene.now;
    scene.does(&user_lane(), Answer::UserFound(None));
    let seen = scene.user_seen(vec![invitation_seen("800", Is::Pending)], vec![]);
    scene.does(&user_lane(), Answer::UserCreated(seen));
    (scene, gave_up_at)
}

#[test]
fn a_user_is_not_deleted_while_an_earlier_create_may_still_make_another() {
    let (mut scene, gave_up_at) = created_after_a_doubt();
    scene.wish(Wish::DeleteIdentity);
    scene.does(&invitation_lane(), Answer::InvitationCancelled);
    let owed = &scene.owed[&user_lane()];
    assert_eq!(owed.effect.name(), "delete_user");
    assert_eq!(owed.not_before, gave_up_at.plus(secs(120)));
}

#[test]
fn an_address_is_not_given_up_while_an_earlier_create_may_still_take_it() {
    let (mut scene, gave_up_at) = created_after_a_doubt();
    scene.wish(ada_as("Ada Okafor", "ada@example.org"));
    let owed = &scene.owed[&user_lane()];
    assert_eq!(owed.effect.name(), "update_user");
    assert_eq!(owed.not_before, gave_up_at.plus(secs(120)));
}

/// The model check found it: the late answer to the first create came while the second one was under way.
#[test]
fn an_address_is_not_given_up_while_a_second_create_may_still_take_it() {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    let first = scene.start(&user_lane());
    scene.fail(first.clone(), Fault::Unanswered);
    scene.does(&user_lane(), Answer::UserFound(None));
    scene.pass(30);
    let second = scene.start(&user_lane());
    let seen = scene.user_seen(vec![invitation_seen("800", Is::Pending)], vec![]);
    scene.answer(first, Answer::UserCreated(seen));
    assert_eq!(scene.user_state(), "present");
    scene.fail(second, Fault::Unanswered);
    let gave_up_at = scene.now;
    scene.wish(ada_as("Ada Okafor", "ada@example.org"));
    let owed = &scene.owed[&user_lane()];
    assert_eq!(owed.effect.name(), "update_user");
    assert_eq!(owed.not_before, gave_up_at.plus(secs(120)));
}

/// The first create had no answer, the second met somebody else's user with the address; with the time of the first.
fn in_conflict_after_a_doubt() -> (Scene, Timestamp) {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    scene.fails(&user_lane(), Fault::Unanswered);
    let gave_up_at = scene.now;
    scene.does(&user_lane(), Answer::UserFound(None));
    scene.fails(&user_lane(), Fault::Conflict);
    scene.does(&user_lane(), Answer::UserFound(Some(hid_user("701"))));
    let mut theirs = scene.user_seen(vec![], vec![]);
    (theirs.id, theirs.external_id) = (hid_user("701"), Some("theirs".into()));
    scene.does(&user_lane(), Answer::User(theirs));
    assert_eq!(scene.user_state(), "conflict");
    (scene, gave_up_at)
}

/// The model check found it: whoever had the address gave it up, and then the stray create made a user.
#[test]
fn a_conflict_does_not_end_the_doubt_about_an_earlier_create() {
    let (mut scene, gave_up_at) = in_conflict_after_a_doubt();
    let owed = scene.owed[&user_lane()].clone();
    assert_eq!(owed.effect.name(), "search_user");
    assert_eq!(owed.not_before, gave_up_at.plus(secs(150)));
    let mut nothing = scene.clone();
    nothing.does(&user_lane(), Answer::UserFound(None));
    assert_eq!(nothing.user_state(), "conflict");
    assert_eq!(nothing.owes(&user_lane()), "-", "one look is enough");
    scene.does(&user_lane(), Answer::UserFound(Some(hid_user("700"))));
    let seen = scene.user_seen(vec![], vec![]);
    scene.does(&user_lane(), Answer::User(seen));
    assert_eq!(scene.user_state(), "present");
}

#[test]
fn a_late_answer_ends_a_conflict() {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    let first = scene.start(&user_lane());
    scene.fail(first.clone(), Fault::Unanswered);
    scene.does(&user_lane(), Answer::UserFound(None));
    scene.fails(&user_lane(), Fault::Rejected(Rejection::UserData));
    let seen = scene.user_seen(vec![], vec![]);
    scene.answer(first, Answer::UserCreated(seen));
    assert_eq!(scene.user_state(), "present");
}

/// Neither another address nor a new automation nor the end forgets the stray create.
#[test]
fn after_a_conflict_a_stray_create_is_waited_for() {
    for wish in [
        ada_as("Ada Okafor", "ada@example.org"),
        Wish::DeleteAutomation(automation_id(1)),
        Wish::DeleteIdentity,
    ] {
        let (mut scene, gave_up_at) = in_conflict_after_a_doubt();
        scene.wish(wish);
        while scene.identity.is_some() && scene.user_state() == "unsure" {
            scene.does(&user_lane(), Answer::UserFound(None));
        }
        assert!(scene.now >= gave_up_at.plus(secs(150)), "{:?}", scene.now);
    }
}

#[test]
fn an_invitation_redeemed_before_its_call_is_answered_is_spent() {
    let mut scene = Scene::with_phone();
    scene.wish(wish_invite(false));
    let call = scene.start(&invitation_lane());
    scene.phone_active("901", "801");
    let seen = invitation_seen("801", Is::Pending);
    scene.answer(call, Answer::InvitationCreated(seen));
    assert!(scene.enrollment().open_invitation().is_none());
    scene.wish(wish_invite(false));
    assert_eq!(
        scene.owes(&invitation_lane()),
        "enroll create_invitation +0"
    );
}

#[test]
fn a_late_answer_of_an_earlier_call_does_not_end_a_later_doubt() {
    let lane = key_lane("900", 1);
    let mut scene = Scene::with_parent();
    let first = scene.start(&lane);
    scene.fail(first.clone(), Fault::Unanswered);
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
    scene.wish(Wish::DeleteParent(parent_id(1)));
    scene.does(&lane, Answer::Revoked);
    scene.reads_phone(vec![]);
    scene.wish(wish_parent(2, 1));
    scene.fails(&lane, Fault::Unanswered);
    let stray = key_seen("1000", 1, Cs::IssueInitiated);
    scene.answer(first, Answer::Issued(stray));
    assert_eq!(scene.key_state("900", 1), "unconfirmed");
    assert_eq!(scene.owes_phone_read(), "issue read_phone +0");
}

#[test]
fn a_create_that_may_still_take_effect_keeps_back_one_with_another_address() {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    scene.fails(&user_lane(), Fault::Unanswered);
    let gave_up_at = scene.now;
    scene.does(&user_lane(), Answer::UserFound(None));
    assert_eq!(scene.owes(&user_lane()), "enroll create_user +0");
    scene.wish(ada_as("Ada Okafor", "ada@example.org"));
    while scene.user_state() == "unsure" {
        scene.does(&user_lane(), Answer::UserFound(None));
    }
    assert!(scene.now >= gave_up_at.plus(secs(150)), "{:?}", scene.now);
    assert_eq!(scene.owes(&user_lane()), "enroll create_user +0");
}
