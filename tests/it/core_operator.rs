//! What an operator asks for by hand, and what hangs at HID that is not ours. Where nothing else is said, phone 900 of
//! invitation 800 belongs to user 700 and part number 1 is wanted.

use origo_adapter::core::effect::Lane;
use origo_adapter::core::index::{self, Kind};
use origo_adapter::core::observation::{
    Answer, CredentialStatus as Cs, Fault, Happening, InvitationStatus as Is, Rejection,
};
use origo_adapter::core::orphans;
use origo_adapter::core::wish::{Target, Wish};

use crate::support::lanes::{
    invitation_lane, launched, phone_lane, phone_other, read_lane, removal_lane, user_lane,
};
use crate::support::scene::{
    Scene, ada_as, automation_id, container, hid_user, invitation_seen, key_lane, key_seen,
    manager, parent_id, part, phone_id, phone_seen, wish_invite, wish_parent,
};

fn everything() -> Target {
    Target::default()
}

fn retry(scene: &mut Scene, target: Target) {
    scene.wish(Wish::Retry(target));
}

fn only_key(phone: &str, n: u8) -> Target {
    Target {
        manager: Some(manager()),
        phone: Some(phone_id(phone)),
        part_number: Some(part(n)),
    }
}

/// Somebody else's user has Ada's address.
fn in_conflict() -> Scene {
    let mut scene = launched();
    scene.fails(&user_lane(), Fault::Conflict);
    scene.does(&user_lane(), Answer::UserFound(Some(hid_user("700"))));
    theirs(&mut scene);
    assert_eq!(scene.automation(), "held: user_conflict");
    scene
}

/// Reads user 700, which somebody else made.
fn theirs(scene: &mut Scene) {
    let mut seen = scene.user_seen(vec![], vec![phone_seen("900", vec![])]);
    seen.external_id = Some("theirs".into());
    scene.does(&user_lane(), Answer::User(seen));
}

// ---- retry ----

#[test]
fn what_waits_for_its_own_schedule_is_due_at_once() {
    let mut user = launched();
    user.fails(&user_lane(), Fault::Busy);
    let mut key = Scene::with_parent();
    key.fails(&key_lane("900", 1), Fault::OutOfStock);
    let mut invitation = Scene::invited();
    invitation.invitation_event("800", Is::Expired);
    invitation.fails(&invitation_lane(), Fault::Busy);
    invitation.does(
        &read_lane(),
        Answer::User(invitation.user_seen(vec![], vec![])),
    );
    let mut phone = Scene::with_phone();
    phone.wish(Wish::DeactivatePhone(phone_id("900")));
    phone.fails(&removal_lane(), Fault::Unanswered);
    let mut update = Scene::issued();
    update.wish(ada_as("Ada Lovelace", "ada@example.com"));
    update.fails(&user_lane(), Fault::Busy);
    let mut read = Scene::with_phone();
    read.event(phone_other());
    read.fails(&phone_lane(), Fault::Busy);
    let mut revoke = Scene::issued();
    revoke.wish(Wish::DeleteParent(parent_id(1)));
    revoke.fails(&key_lane("900", 1), Fault::Busy);
    let mut cancel = Scene::invited();
    cancel.wish(Wish::DeleteAutomation(automation_id(1)));
    cancel.fails(&invitation_lane(), Fault::Busy);
    for (mut scene, lane) in [
        (user, user_lane()),
        (key, key_lane("900", 1)),
        (invitation, invitation_lane()),
        (phone, removal_lane()),
        (update, user_lane()),
        (read, phone_lane()),
        (revoke, key_lane("900", 1)),
        (cancel, invitation_lane()),
    ] {
        let waits = scene.owes(&lane);
        assert!(!waits.ends_with(" +0"), "{waits}");
        retry(&mut scene, everything());
        let due = scene.owes(&lane);
        assert!(due.ends_with(" +0"), "{due}");
        assert_eq!(waits.split(" +").next(), due.split(" +").next());
    }
}

#[test]
fn what_was_refused_for_good_is_tried_once_more() {
    let mut key = Scene::with_parent();
    key.fails(&key_lane("900", 1), Fault::Rejected(Rejection::PhoneFull));
    assert_eq!(key.owes_key(), "-");
    retry(&mut key, everything());
    assert_eq!(key.owes_key(), "issue issue +0");

    let mut user = launched();
    user.fails(&user_lane(), Fault::Rejected(Rejection::UserData));
    retry(&mut user, everything());
    assert_eq!(user.owes(&user_lane()), "enroll create_user +0");

    let mut conflict = in_conflict();
    retry(&mut conflict, everything());
    assert_eq!(conflict.owes(&user_lane()), "enroll create_user +0");

    let mut update = Scene::issued();
    update.wish(ada_as("Ada Lovelace", "ada@example.com"));
    update.fails(&user_lane(), Fault::Rejected(Rejection::UserData));
    assert_eq!(update.owes(&user_lane()), "-");
    retry(&mut update, everything());
    assert_eq!(update.owes(&user_lane()), "enroll update_user +0");
}

#[test]
fn what_is_not_owed_again_counts_as_refused_for_good_and_nothing_else() {
    let mut update = Scene::issued();
    update.wish(ada_as("Ada Lovelace", "ada@example.com"));
    let mut invitation = Scene::invited();
    invitation.invitation_event("800", Is::Expired);
    let mut revoke = Scene::issued();
    revoke.wish(Wish::DeleteParent(parent_id(1)));
    for (before, lane) in [
        (launched(), user_lane()),
        (update, user_lane()),
        (Scene::with_parent(), key_lane("900", 1)),
        (revoke, key_lane("900", 1)),
        (invitation, invitation_lane()),
    ] {
        for fault in [
            Fault::Busy,
            Fault::Rejected(Rejection::UserData),
            Fault::Rejected(Rejection::Other),
        ] {
            let mut scene = before.clone();
            let call = scene.start(&lane);
            scene.fail(call.clone(), fault);
            let owed = scene.owed.get(&lane);
            let again = owed.is_some_and(|owed| owed.effect == call.effect);
            let for_good = call.effect.is_refused_for_good(fault);
            assert_eq!(for_good, !again, "{} {fault:?}", call.effect.name());
        }
    }
}

#[test]
fn what_was_out_of_stock_is_held_for_it_no_more() {
    let mut scene = Scene::with_parent();
    scene.fails(&key_lane("900", 1), Fault::OutOfStock);
    assert_eq!(scene.automation(), "held: out_of_stock");
    retry(&mut scene, everything());
    assert_eq!(scene.automation(), "issuing");
}

#[test]
fn a_user_that_somebody_deleted_is_made_again_and_invited() {
    let mut scene = Scene::invited();
    scene.event(Happening::UserOther);
    scene.fails(&read_lane(), Fault::Gone);
    scene.fails(&read_lane(), Fault::Gone);
    retry(&mut scene, everything());
    let call = scene.start(&user_lane());
    assert!(format!("{:?}", call.effect).contains("invite: Some"));
}

#[test]
fn an_unknown_outcome_is_looked_for_all_the_same() {
    let mut key = Scene::in_doubt();
    let looked_for = key.owes_phone_read();
    retry(&mut key, everything());
    assert_eq!(key.key_state("900", 1), "unconfirmed");
    assert_eq!(
        (key.owes_key(), key.owes_phone_read()),
        ("-".into(), looked_for)
    );

    let mut user = launched();
    user.fails(&user_lane(), Fault::Unanswered);
    retry(&mut user, everything());
    assert_eq!(user.owes(&user_lane()), "issue search_user +0");

    let mut update = Scene::issued();
    update.wish(ada_as("Ada Lovelace", "ada@example.com"));
    update.fails(&user_lane(), Fault::Unanswered);
    let waits = update.owes(&user_lane());
    retry(&mut update, everything());
    assert_eq!(update.owes(&user_lane()), waits, "the first may still land");
}

#[test]
fn what_is_not_meant_stays_as_it_is() {
    let mut scene = Scene::with_parent();
    scene.wish(wish_parent(2, 2));
    for n in [1, 2] {
        let refused = Fault::Rejected(Rejection::Other);
        scene.fails(&key_lane("900", n), refused);
    }
    retry(&mut scene, only_key("900", 2));
    assert_eq!(scene.owes(&key_lane("900", 1)), "-");
    assert_eq!(scene.owes(&key_lane("900", 2)), "issue issue +0");
    let elsewhere = Target {
        manager: Some(crate::support::scene::doors()),
        ..Target::default()
    };
    retry(&mut scene, elsewhere);
    assert_eq!(scene.owes(&key_lane("900", 1)), "-");
}

#[test]
fn where_one_phone_is_meant_nothing_else_is_tried() {
    let phone = Lane::Phone(phone_id("901"));
    let mut scene = Scene::with_phone();
    scene.phone_active("901", "800");
    scene.event(Happening::PhoneOther {
        container: container("901"),
    });
    scene.wish(wish_invite(false));
    scene.fails(&phone, Fault::Busy);
    scene.fails(&invitation_lane(), Fault::Busy);
    for (meant, owed) in [
        ("900", "issue read_phone +5"),
        ("901", "issue read_phone +0"),
    ] {
        let target = Target {
            phone: Some(phone_id(meant)),
            ..Target::default()
        };
        retry(&mut scene, target);
        assert_eq!(scene.owes(&phone), owed, "{meant}");
        let invitation = scene.owes(&invitation_lane());
        assert_eq!(invitation, "enroll create_invitation +5");
    }
}

#[test]
fn a_request_is_a_row_of_the_journal() {
    for (mut scene, wish, what) in [
        (Scene::issued(), Wish::Retry(everything()), "retry"),
        (Scene::issued(), Wish::Resync(everything()), "resync"),
        (in_conflict(), Wish::AdoptUser(everything()), "adopt_user"),
    ] {
        scene.pass(1);
        scene.wish(wish);
        let (_, change) = scene.changes.last().expect("a change");
        assert_eq!(change.entity, format!("request/{}", scene.is().id));
        assert_eq!(change.to, Some(format!("{what} {}", scene.now.0)));
    }
}

// ---- resync ----

#[test]
fn the_user_is_read_now_with_all_that_hangs_below() {
    let mut scene = Scene::issued();
    scene.wish(Wish::Resync(everything()));
    assert_eq!(scene.owes(&read_lane()), "confirm read_user +0");
    assert_eq!(scene.owes_phone_read(), "-", "the user's read shows it");
    let phone = phone_seen("900", vec![key_seen("1000", 1, Cs::Issued)]);
    let seen = scene.user_seen(vec![], vec![phone]);
    scene.does(&read_lane(), Answer::User(seen));
    assert_eq!(scene.owes(&read_lane()), "-");
}

#[test]
fn of_one_phone_that_phone_is_read() {
    let mut scene = Scene::issued();
    scene.event(phone_other());
    scene.fails(&phone_lane(), Fault::Busy);
    assert_eq!(scene.owes_phone_read(), "issue read_phone +5");
    scene.wish(Wish::Resync(only_key("900", 1)));
    assert_eq!(scene.owes_phone_read(), "issue read_phone +0");
    assert_eq!(scene.owes(&read_lane()), "-");
}

#[test]
fn a_read_of_the_user_that_waits_for_its_schedule_is_due_at_once() {
    let mut scene = Scene::issued();
    scene.event(Happening::UserOther);
    scene.fails(&read_lane(), Fault::Busy);
    assert_eq!(scene.owes(&read_lane()), "confirm read_user +5");
    scene.wish(Wish::Resync(everything()));
    assert_eq!(scene.owes(&read_lane()), "confirm read_user +0");
}

#[test]
fn a_conflict_is_looked_at_again() {
    let mut scene = in_conflict();
    scene.wish(Wish::Resync(everything()));
    assert_eq!(scene.user_state(), "found");
    theirs(&mut scene);
    assert_eq!(scene.user_state(), "conflict");
}

// ---- adopt_user ----

#[test]
fn a_user_in_the_way_is_read_and_then_used_but_never_deleted() {
    let mut scene = in_conflict();
    scene.wish(Wish::AdoptUser(everything()));
    assert_eq!(scene.owes(&user_lane()), "issue read_user +0");
    theirs(&mut scene);
    assert_eq!(scene.user_state(), "present");
    scene.wish(wish_parent(1, 1));
    assert_eq!(
        scene.owes_key(),
        "issue issue +0",
        "the read showed what is on its phone"
    );
    scene.wish(Wish::DeleteIdentity);
    assert_eq!(scene.owes(&user_lane()), "-");
}

#[test]
fn failures_of_before_do_not_count_for_a_user_that_is_taken_over() {
    let mut scene = launched();
    scene.fails(&user_lane(), Fault::Conflict);
    scene.does(&user_lane(), Answer::UserFound(Some(hid_user("700"))));
    scene.fails(&user_lane(), Fault::Busy);
    theirs(&mut scene);
    scene.wish(Wish::AdoptUser(everything()));
    scene.fails(&user_lane(), Fault::Busy);
    assert_eq!(scene.owes(&user_lane()), "issue read_user +5");
}

#[test]
fn nobody_is_adopted_who_is_not_in_the_way() {
    let mut scene = Scene::issued();
    let before = scene.is().clone();
    scene.wish(Wish::AdoptUser(everything()));
    assert_eq!(*scene.is(), before);
    let mut another = in_conflict();
    another.wish(Wish::AdoptUser(everything()));
    let mut seen = another.user_seen(vec![], vec![]);
    (seen.id, seen.external_id) = (hid_user("701"), Some("theirs".into()));
    another.does(&user_lane(), Answer::User(seen));
    assert_eq!(another.user_state(), "conflict", "700 was meant");
}

// ---- orphans ----

/// Key 1000 is ours; somebody else issued 2000 beside it, and 3000 of part number 3, which nobody wants.
fn with_strangers() -> Scene {
    let mut scene = Scene::issued();
    scene.event(phone_other());
    scene.reads_phone(vec![
        key_seen("1000", 1, Cs::Issued),
        key_seen("2000", 1, Cs::Issued),
        key_seen("3000", 3, Cs::Issued),
    ]);
    scene
}

/// HID's ids of them.
fn listed(scene: &Scene) -> Vec<String> {
    let orphans = orphans::of(scene.is());
    let mut listed: Vec<_> = orphans
        .map(|orphan| match orphan.what {
            orphans::What::Credential { credential, .. } => credential.to_string(),
            orphans::What::Invitation { invitation, .. } => invitation.to_string(),
        })
        .collect();
    let rows = index::rows(scene.is());
    let rows = rows.iter().filter(|row| row.kind == Kind::Orphan);
    assert_eq!(rows.count(), listed.len());
    listed.sort_unstable();
    listed
}

fn remove(scene: &mut Scene, hid_id: &str) {
    let found = orphans::of(scene.is()).find(|orphan| match orphan.what {
        orphans::What::Credential { credential, .. } => credential.as_str() == hid_id,
        orphans::What::Invitation { invitation, .. } => invitation.as_str() == hid_id,
    });
    let id = found.expect("an orphan").id;
    scene.wish(Wish::RemoveOrphan(id));
}

#[test]
fn what_is_not_ours_is_listed_and_left_alone() {
    let mut scene = with_strangers();
    assert_eq!(listed(&scene), ["2000", "3000"]);
    scene.pass(86_400);
    scene.wake();
    assert_eq!(scene.owes(&key_lane("900", 1)), "-");
    assert_eq!(scene.owes(&key_lane("900", 3)), "-");
    scene.event(phone_other());
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
    scene.pass(30);
    scene.event(phone_other());
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
    assert_eq!(listed(&scene), [""; 0], "somebody took them away");
}

#[test]
fn what_a_wanted_key_adopts_or_a_lost_call_made_is_no_orphan() {
    let mut adopted = with_strangers();
    adopted.wish(wish_parent(3, 3));
    assert_eq!(listed(&adopted), ["2000"]);
    let mut lost = Scene::in_doubt();
    lost.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
    assert_eq!(listed(&lost), [""; 0], "the call's");
    let mut surplus = Scene::in_doubt();
    let keys = ["1000", "1001", "1002"];
    surplus.reads_phone(keys.map(|id| key_seen(id, 1, Cs::Issued)).to_vec());
    assert_eq!(listed(&surplus).len(), 2, "one call can have made one");
}

#[test]
fn on_request_it_is_revoked_and_followed_to_its_end() {
    let mut scene = with_strangers();
    for (id, lane) in [("3000", key_lane("900", 3)), ("2000", key_lane("900", 1))] {
        remove(&mut scene, id);
        assert_eq!(scene.owes(&lane), "withdrawal revoke +0");
        scene.does(&lane, Answer::Revoked);
        assert_eq!(scene.owes(&lane), "-");
        assert!(listed(&scene).contains(&id.to_owned()), "until it is gone");
        assert_eq!(scene.owes_phone_read(), "confirm read_phone +30");
    }
    scene.reads_phone(vec![key_seen("1000", 1, Cs::Issued)]);
    assert_eq!(listed(&scene), [""; 0]);
    assert_eq!(scene.key_state("900", 1), "issued");
}

#[test]
fn what_became_ours_meanwhile_is_not_removed() {
    let mut scene = with_strangers();
    let id = orphans::of(scene.is())
        .find(|orphan| matches!(orphan.what, orphans::What::Credential { part_number, .. } if *part_number == part(3)))
        .expect("3000")
        .id;
    scene.wish(wish_parent(3, 3));
    scene.wish(Wish::RemoveOrphan(id));
    assert_eq!(scene.owes(&key_lane("900", 3)), "-");
    assert_eq!(scene.key_state("900", 3), "issued");
}

#[test]
fn a_foreign_invitation_is_cancelled_on_request() {
    let mut scene = Scene::issued();
    scene.event(Happening::UserOther);
    let phone = phone_seen("900", vec![key_seen("1000", 1, Cs::Issued)]);
    let seen = scene.user_seen(vec![invitation_seen("666", Is::Pending)], vec![phone]);
    scene.does(&read_lane(), Answer::User(seen));
    assert_eq!(listed(&scene), ["666"]);
    assert_eq!(scene.owes(&invitation_lane()), "-");
    remove(&mut scene, "666");
    assert_eq!(
        scene.owes(&invitation_lane()),
        "withdrawal cancel_invitation +0"
    );
    scene.does(&invitation_lane(), Answer::InvitationCancelled);
    assert_eq!(listed(&scene), [""; 0]);
}

#[test]
fn what_goes_with_its_phone_is_no_orphan() {
    let mut scene = with_strangers();
    scene.wish(Wish::DeactivatePhone(phone_id("900")));
    assert_eq!(listed(&scene), [""; 0]);
    let mut parent_gone = with_strangers();
    parent_gone.wish(Wish::DeleteParent(parent_id(1)));
    assert_eq!(
        listed(&parent_gone),
        ["2000", "3000"],
        "what is theirs stays"
    );
    assert_eq!(
        parent_gone.owes(&key_lane("900", 1)),
        "withdrawal revoke +0"
    );
    assert_eq!(parent_gone.owed.get(&Lane::Removal(phone_id("900"))), None);
}
