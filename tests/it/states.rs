//! `docs/states.md` against the code: every transition that happens is there, and every one that is
//! there happens. Chance finds the common ones; what it rarely meets is led to step by step.

mod strangers;

use std::collections::BTreeSet;
use std::path::Path;

use origo_adapter::core::change::Change;
use origo_adapter::core::effect::Lane;
use origo_adapter::core::hold::HoldReason;
use origo_adapter::core::identity::Profile;
use origo_adapter::core::ids::Personal;
use origo_adapter::core::observation::{
    Answer, ContainerStatus, CredentialSeen, CredentialStatus, Fault, Happening, InvitationStatus,
    Rejection,
};
use origo_adapter::core::wish::Wish;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::core_props::{deeds, deliveries, fates, play};
use crate::support::scene::{
    Scene, acs_user, ada, automation_id, container, hid_user, invitation_seen, key_lane, key_seen,
    manager, parent_id, phone_id, phone_seen, secs, wish_invite, wish_launch, wish_parent,
    wish_parent_between, wish_suspend,
};
use crate::support::world::World;

/// Kind, from, to; `·` is nothing.
type Transition = (String, String, String);

const KINDS: [&str; 7] = [
    "automation",
    "cm_user",
    "invitation",
    "phone",
    "key",
    "child",
    "orphan",
];
const SEQUENCES: usize = 1500;

fn transition(change: &Change) -> Option<Transition> {
    let kind = change.entity.split('/').next().unwrap_or_default();
    let name = |state: &Option<String>| {
        let state = state.as_deref().unwrap_or("·");
        state.split(':').next().unwrap_or_default().to_owned()
    };
    let (from, to) = (name(&change.from), name(&change.to));
    (KINDS.contains(&kind) && from != to).then(|| (kind.to_owned(), from, to))
}

fn note(seen: &mut BTreeSet<Transition>, scene: &Scene) {
    seen.extend(scene.changes.iter().filter_map(|(_, c)| transition(c)));
}

fn by_chance() -> BTreeSet<Transition> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = (deeds(), fates(), deliveries(), any::<bool>());
    let mut seen = BTreeSet::new();
    for _ in 0..SEQUENCES {
        let tree = strategy.new_tree(&mut runner).expect("a sequence");
        let (deeds, fates, deliveries, refuses) = tree.current();
        let mut world = World::new(refuses);
        (world.fates, world.deliveries) = (fates, deliveries);
        play(&mut world, &deeds);
        world.heal();
        world.run(secs(7200));
        note(&mut seen, &world.scene);
    }
    seen
}

/// What chance rarely or never meets.
fn by_hand() -> BTreeSet<Transition> {
    let mut seen = BTreeSet::new();
    let rare = users().into_iter().chain(phones()).chain(keys());
    let rare = rare.chain(launches()).chain(shares()).chain(holds());
    for scene in rare.chain(strangers::scenes()) {
        note(&mut seen, &scene);
    }
    for status in [
        InvitationStatus::Expired,
        InvitationStatus::NotSupported,
        InvitationStatus::NotEligible,
        InvitationStatus::Unknown("ODD".into()),
        InvitationStatus::Cancelled,
    ] {
        let mut scene = Scene::invited();
        scene.invitation_event("800", status.clone());
        note(&mut seen, &scene);
        scene.invitation_event("800", InvitationStatus::Pending);
        scene.invitation_event("800", InvitationStatus::Acknowledged);
        note(&mut seen, &scene);
    }
    seen
}

fn created(scene: &mut Scene) {
    let seen = vec![invitation_seen("800", InvitationStatus::Pending)];
    let user = scene.user_seen(seen, vec![]);
    scene.does(&Lane::CmUser(manager()), Answer::UserCreated(user));
}

/// Held, stuck and gone users.
fn users() -> Vec<Scene> {
    let lane = Lane::CmUser(manager());
    let launched = || {
        let mut scene = Scene::new();
        scene.wish(wish_launch(1));
        scene
    };
    let taken = || {
        let mut scene = launched();
        scene.fails(&lane, Fault::Conflict);
        scene
    };
    let mut conflict = taken();
    conflict.does(&lane, Answer::UserFound(Some(hid_user("700"))));
    let mut seen = conflict.user_seen(vec![], vec![]);
    seen.external_id = None;
    conflict.does(&lane, Answer::User(seen));
    conflict.wish(wish_launch(1));

    let mut freed = taken();
    freed.does(&lane, Answer::UserFound(None));

    let mut vanished = taken();
    vanished.does(&lane, Answer::UserFound(Some(hid_user("700"))));
    vanished.fails(&lane, Fault::Gone);

    let mut leaving = taken();
    leaving.does(&lane, Answer::UserFound(Some(hid_user("700"))));
    let mut seen = leaving.user_seen(vec![], vec![]);
    seen.deleting = true;
    leaving.does(&lane, Answer::User(seen));

    let mut refused = launched();
    refused.fails(&lane, Fault::Rejected(Rejection::UserData));
    let mut better = ada();
    better.full_name = Some(Personal("Ada Lovelace".into()));
    refused.wish(Wish::Identity(better));
    created(&mut refused);

    let mut incomplete = Scene::new();
    incomplete.wish(Wish::Identity(Profile::default()));
    incomplete.wish(wish_launch(1));
    incomplete.wish(Wish::DeleteAutomation(automation_id(1)));
    incomplete.wish(wish_launch(2));
    incomplete.wish(Wish::Identity(ada()));

    let mut stuck = launched();
    for _ in 0..40 {
        stuck.fails(&lane, Fault::Busy);
    }
    created(&mut stuck);

    let mut gone = Scene::invited();
    gone.event(Happening::UserOther);
    gone.fails(&Lane::Read(manager()), Fault::Gone);
    gone.fails(&Lane::Read(manager()), Fault::Gone);
    gone.wish(wish_launch(2));

    let mut refused_for_good = launched();
    refused_for_good.fails(&lane, Fault::Rejected(Rejection::UserData));
    refused_for_good.wish(Wish::DeleteIdentity);

    let mut slow = launched();
    let call = slow.start(&lane);
    slow.fail(call.clone(), Fault::Unanswered);
    let user = slow.user_seen(vec![], vec![]);
    slow.answer(call, Answer::UserCreated(user));

    let mut uninvited = Scene::invited();
    uninvited.invitation_event("800", InvitationStatus::Expired);
    for _ in 0..40 {
        uninvited.fails(&Lane::Invitation(manager()), Fault::Busy);
    }
    uninvited.phone_active("900", "800");
    vec![
        conflict,
        freed,
        vanished,
        leaving,
        refused,
        incomplete,
        stuck,
        gone,
        refused_for_good,
        slow,
        uninvited,
    ]
}

/// Automations that find something there, and identities that end early.
fn launches() -> Vec<Scene> {
    let user_lane = Lane::CmUser(manager());
    let mut again = Scene::with_phone();
    again.invitation_event("800", InvitationStatus::Acknowledged);
    again.wish(Wish::DeleteAutomation(automation_id(1)));
    let mut keyed = again.clone();
    again.wish(wish_launch(2));
    keyed.wish(wish_parent(1, 1));

    let mut uninvited = Scene::invited();
    uninvited.wish(Wish::DeleteAutomation(automation_id(1)));
    uninvited.does(&Lane::Invitation(manager()), Answer::InvitationCancelled);
    uninvited.wish(wish_launch(2));

    let mut asked = Scene::with_phone();
    asked.invitation_event("800", InvitationStatus::Acknowledged);
    asked.wish(wish_invite(false));
    for _ in 0..2 {
        asked.event(Happening::PhoneOther {
            container: container("900"),
        });
        asked.fails(&Lane::Phone(phone_id("900")), Fault::Gone);
        asked.pass(60);
    }

    let mut unsure = Scene::new();
    unsure.wish(wish_launch(1));
    unsure.fails(&user_lane, Fault::Unanswered);
    unsure.wish(Wish::DeleteIdentity);
    unsure.pass(200);
    unsure.does(&user_lane, Answer::UserFound(None));

    let mut gone = Scene::invited();
    gone.event(Happening::UserOther);
    gone.fails(&Lane::Read(manager()), Fault::Gone);
    gone.pass(60);
    gone.fails(&Lane::Read(manager()), Fault::Gone);
    gone.wish(Wish::DeleteIdentity);

    let mut relaunched = Scene::invited();
    relaunched.wish(Wish::DeleteAutomation(automation_id(1)));
    relaunched.wish(wish_launch(2));

    let mut cancelled = Scene::invited();
    cancelled.invitation_event("800", InvitationStatus::CancelInitiated);
    for _ in 0..2 {
        cancelled.event(Happening::UserOther);
        cancelled.fails(&Lane::Read(manager()), Fault::Gone);
        cancelled.pass(60);
    }
    cancelled.wish(Wish::DeleteIdentity);

    let mut midway = Scene::with_parent();
    midway.invitation_event("800", InvitationStatus::Acknowledged);
    midway.wish(Wish::DeleteAutomation(automation_id(1)));
    vec![
        again, keyed, uninvited, asked, unsure, gone, relaunched, cancelled, midway,
    ]
}

/// Every state held and released again.
fn holds() -> Vec<Scene> {
    let mut launched = Scene::new();
    launched.wish(wish_launch(1));
    let mut inviting = Scene::invited();
    inviting.invitation_event("800", InvitationStatus::Expired);
    let mut stuck = Scene::with_parent();
    stuck.fails(&key_lane("900", 1), Fault::Rejected(Rejection::PhoneFull));
    let scenes = [
        launched,
        inviting,
        Scene::invited(),
        Scene::with_parent(),
        Scene::issued(),
        stuck,
    ];
    let held = |mut scene: Scene| {
        scene.wish(Wish::Hold(HoldReason::Operator));
        scene.wish(Wish::Release);
        scene
    };
    scenes.map(held).into()
}

/// Children that meet a key halfway, and such as lose their parent.
fn shares() -> Vec<Scene> {
    let lane = key_lane("900", 1);
    let mut doubted = Scene::in_doubt();
    doubted.wish(Wish::DeleteParent(parent_id(1)));
    let mut second = Scene::with_parent();
    let call = second.start(&lane);
    let mut left = second.clone();
    left.wish(Wish::ReleaseAcsUser(acs_user()));
    second.wish(wish_parent(2, 1));
    let seen = key_seen("1000", 1, CredentialStatus::IssueInitiated);
    second.answer(call, Answer::Issued(seen));
    second.wish(wish_parent(3, 1));
    let mut suspended = Scene::with_parent();
    suspended.wish(wish_suspend(true));
    suspended.wish(Wish::ReleaseAcsUser(acs_user()));
    let mut leaving = Scene::issued();
    leaving.wish(wish_suspend(true));
    leaving.does(&lane, Answer::Revoked);
    leaving.wish(wish_parent(2, 1));
    vec![doubted, second, left, suspended, leaving]
}

fn reads_as(scene: &mut Scene, status: ContainerStatus, keys: Vec<CredentialSeen>) {
    scene.event(Happening::PhoneOther {
        container: container("900"),
    });
    let mut seen = phone_seen("900", keys);
    seen.status = status;
    scene.does(&Lane::Phone(phone_id("900")), Answer::Phone(seen));
}

/// Phones that are not ready yet, and phones on their way out.
fn phones() -> Vec<Scene> {
    let mut scenes = vec![];
    for status in [
        ContainerStatus::Initialized,
        ContainerStatus::Unknown("ODD".into()),
    ] {
        for next in [
            ContainerStatus::Active,
            ContainerStatus::Deleting,
            ContainerStatus::Initialized,
        ] {
            let mut scene = Scene::issued();
            reads_as(&mut scene, status.clone(), vec![]);
            reads_as(&mut scene, next, vec![]);
            scenes.push(scene);
        }
    }
    let on_it = || vec![key_seen("1000", 1, CredentialStatus::Issued)];
    let mut removing = Scene::issued();
    reads_as(&mut removing, ContainerStatus::Deleting, on_it());
    let mut spared = removing.clone();
    reads_as(&mut removing, ContainerStatus::Deleting, vec![]);
    reads_as(&mut spared, ContainerStatus::Active, on_it());

    let mut early = Scene::invited();
    let mut seen = phone_seen("900", vec![]);
    seen.status = ContainerStatus::Initialized;
    early.event(Happening::UserOther);
    let user = early.user_seen(vec![], vec![seen.clone()]);
    early.does(&Lane::Read(manager()), Answer::User(user));
    let mut lost = early.clone();
    early.phone_active("900", "800");
    for _ in 0..2 {
        lost.fails(&Lane::Phone(phone_id("900")), Fault::Gone);
    }
    let mut unready = Scene::invited();
    unready.event(Happening::UserOther);
    seen.status = ContainerStatus::Deleting;
    seen.credentials = on_it();
    let user = unready.user_seen(vec![], vec![seen]);
    unready.does(&Lane::Read(manager()), Answer::User(user));
    scenes.extend([removing, spared, early, lost, unready]);
    scenes
}

/// Keys that fail, are revoked by others, are held back, or wait for dates.
fn keys() -> Vec<Scene> {
    let lane = key_lane("900", 1);
    let mut scenes = vec![];
    for fault in [
        Fault::OutOfStock,
        Fault::Rejected(Rejection::PhoneFull),
        Fault::Already,
    ] {
        let mut scene = Scene::with_parent();
        scene.fails(&lane, fault);
        for end in [
            Wish::DeleteParent(parent_id(1)),
            Wish::DeleteAutomation(automation_id(1)),
            wish_parent(2, 1),
        ] {
            let mut scene = scene.clone();
            scene.wish(end);
            scenes.push(scene);
        }
        if fault == Fault::OutOfStock {
            let seen = key_seen("1000", 1, CredentialStatus::Issued);
            scene.does(&lane, Answer::Issued(seen));
        } else if fault == Fault::Already {
            scene.reads_phone(vec![key_seen("1000", 1, CredentialStatus::IssueFailed)]);
            scene.does(&lane, Answer::Revoked);
            scene.pass(60);
            scene.reads_phone(vec![]);
        }
        scenes.push(scene);
    }
    let mut found = Scene::in_doubt();
    found.reads_phone(vec![key_seen("1000", 1, CredentialStatus::IssueInitiated)]);
    scenes.push(found);
    let mut stuck = Scene::with_parent();
    for _ in 0..40 {
        stuck.fails(&lane, Fault::Busy);
    }
    let seen = key_seen("1000", 1, CredentialStatus::IssueInitiated);
    stuck.does(&lane, Answer::Issued(seen));
    reads_key(&mut stuck, CredentialStatus::IssueFailed);
    scenes.push(stuck);

    let mut elsewhere = Scene::issued();
    reads_key(&mut elsewhere, CredentialStatus::Revoking);
    reads_as(&mut elsewhere, ContainerStatus::Active, vec![]);
    elsewhere.pass(60);
    reads_as(&mut elsewhere, ContainerStatus::Active, vec![]);
    scenes.push(elsewhere);
    let mut at_once = Scene::issued();
    reads_key(&mut at_once, CredentialStatus::Revoked);
    at_once.wish(wish_parent(2, 1));
    scenes.push(at_once);

    let mut suspended = Scene::issued();
    let suspend = |scene: &mut Scene, held: bool| {
        scene.change(|identity| {
            for user in identity.acs_users.values_mut() {
                user.suspended = held;
            }
        });
    };
    suspend(&mut suspended, true);
    let mut back = suspended.clone();
    suspend(&mut back, false);
    suspended.does(&lane, Answer::Revoked);
    suspended.pass(60);
    suspended.reads_phone(vec![]);
    suspend(&mut suspended, false);
    suspend(&mut suspended, true);
    scenes.extend([suspended, back]);
    for mut scene in [Scene::in_doubt(), Scene::with_parent()] {
        suspend(&mut scene, true);
        scenes.push(scene.clone());
        suspend(&mut scene, false);
        scenes.push(scene);
    }

    let mut tombstone = Scene::issued();
    let child = tombstone.is().parents[&parent_id(1)].children[&phone_id("900")].id;
    tombstone.wish(Wish::DeleteChild(child));
    tombstone.does(&lane, Answer::Revoked);
    tombstone.pass(60);
    tombstone.reads_phone(vec![]);
    scenes.push(tombstone);

    let mut dated = Scene::with_phone();
    let (from, to) = (dated.now.plus(secs(100)), dated.now.plus(secs(200)));
    dated.wish(wish_parent_between(1, 1, Some(from), Some(to)));
    dated.now = from;
    dated.wake();
    dated.now = to;
    dated.wake();
    scenes.push(dated);
    scenes
}

fn reads_key(scene: &mut Scene, status: CredentialStatus) {
    let keys = vec![key_seen("1000", 1, status)];
    reads_as(scene, ContainerStatus::Active, keys);
}

fn documented() -> BTreeSet<Transition> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/states.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let mut found = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let kind = cells[0].trim_matches('`');
        if !KINDS.contains(&kind) {
            continue;
        }
        for from in cells[1].split(", ") {
            for to in cells[2].split(", ") {
                let name = |cell: &str| cell.trim_matches('`').to_owned();
                let row = (kind.to_owned(), name(from), name(to));
                assert!(found.insert(row.clone()), "twice in the document: {row:?}");
            }
        }
    }
    found
}

/// The arrows of the diagrams, each below the heading of its kind.
fn drawn() -> BTreeSet<Transition> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/states.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let (mut kind, mut found) = (String::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            kind = heading.to_lowercase().replace(' ', "_");
        } else if let Some((from, to)) = line.trim().split_once(" --> ") {
            let name = |end: &str| end.replace("[*]", "·");
            found.insert((kind.clone(), name(from), name(to)));
        }
    }
    found
}

#[test]
fn the_diagrams_show_nothing_that_the_tables_lack() {
    let (drawn, documented) = (drawn(), documented());
    assert!(drawn.len() > 40);
    let lacking: Vec<&Transition> = drawn.difference(&documented).collect();
    assert!(lacking.is_empty(), "{lacking:?}");
}

#[test]
fn the_document_and_the_code_agree() {
    let mut seen = by_chance();
    seen.extend(by_hand());
    let documented = documented();
    let list = |set: BTreeSet<&Transition>| {
        let rows = set.iter();
        let rows = rows.map(|(kind, from, to)| format!("| {kind} | {from} | {to} |\n"));
        rows.collect::<Vec<_>>().concat()
    };
    let unknown = list(seen.difference(&documented).collect());
    let unseen = list(documented.difference(&seen).collect());
    assert!(
        unknown.is_empty() && unseen.is_empty(),
        "not in docs/states.md:\n{unknown}in docs/states.md, but never seen:\n{unseen}"
    );
}
