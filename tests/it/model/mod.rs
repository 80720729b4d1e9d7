//! Model check: the core's own `step` in every order of all that can happen to it, within bounds.
//!
//! The identities, what they are owed and every change of them are the product's ([`step`], `plan::owed`); HID, the
//! feed, the phones and the operators are a model made for this ([`hid`], [`ways`]), and share nothing with the
//! simulator. The search ([`search`]) is breadth first and exhaustive. In every state [`laws::always`] must hold; and from
//! every state, once nothing goes wrong any more, a fixed scheduler must come to [`laws::settled`] and stay there, within
//! [`SETTLED_WITHIN`] steps: liveness, looked for as safety.
//!
//! A **crash** needs no way of its own: all but the call under way is durable, and a restart says of that one what a
//! time-out says ([`Fault::Unanswered`]). So crashes with a call under way and lost or late replies share one budget,
//! `astray`: "2 crashes and 2 lost replies" is within `astray: 4`. A crash with no call under way changes nothing.
//!
//! **What makes it small enough**, without leaving anything out:
//! - States are one where they differ in nothing that a decision depends on ([`same`]), in which phone or which parent
//!   has which name, or in the number of a key.
//! - One state covers another that is the same and has no more left that may go wrong.
//! - What a phone does by itself waits while all that may come before is about other phones ([`ways`]).
//! - States with a single way on are looked at, but not kept.
//!
//! **What is left out by choice**, where a model says so: calls of one class start in the order of their age, as
//! the store claims them (`in_order`); when time passes, HID owes at most so many deeds (`late`); operators act so often
//! (`acts`).
//!
//! **What the abstraction hides** everywhere: which of two deadlines comes first when they are within 30 s of each
//! other, and how far ahead one is, beyond ten minutes, but for its order of magnitude; expiry of invitations; dates of
//! parents; deliveries that fail on the phone (`ISSUE_FAILED`); services that refuse everything, windows of HID's and
//! `Refused` in general; a feed that is off or deaf for long; adoption by e-mail and whatever others do in HID's
//! portal; how often something failed before (the schedule has two entries). Those are the simulation's.
//!
//! Small models run with all tests. `MODEL=whole cargo test --profile scale --test it model:: -- --nocapture --test-threads=1`
//! explores larger ones and prints what it counted. `MODEL=beyond` has what takes longer yet: two part numbers with 4 calls
//! astray and an act, kind by kind of act; together they are all stories with one. The largest of these took 9 minutes 24 seconds on two cores and 1.2 GiB:
//!
//! | model | in order | late deeds | astray | acts | states | settled within |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | 2 phones, 2 equal parents | no | any | 4 | 0 | 34,296 | 52 steps |
//! | 2 phones, 2 equal parents | yes | 1 | 4 | 1 | 15,006,304 | 52 steps |
//! | 2 phones, 2 part numbers | yes | any | 2 | 0 | 74,606 | 58 steps |
//! | 2 phones, 2 part numbers | yes | 1 | 4 | 0 | 528,614 | 64 steps |
//! | 2 phones, 2 part numbers | yes | 1 | 1 | 1 | 468,703 | 50 steps |
//! | 2 people, 1 address, 1 licence | no | any | 2 | 2 | 3,093,240 | 87 steps |
//! | 2 people, 2 addresses, 1 licence | no | any | 2 | 0 | 953,393 | 87 steps |
//!
//! `stateright` was not taken: its queue holds whole states, here some 40 KiB each, and it has no word for how long
//! settling takes.
//!
//! [`step`]: origo_adapter::core::step()
//! [`Fault::Unanswered`]: origo_adapter::core::observation::Fault::Unanswered

mod acts;
mod bites;
mod hid;
mod laws;
mod same;
mod search;
mod state;
mod story;
mod sum;
mod ways;
mod wire;

use std::time::Duration;

use origo_adapter::core::observation::Observation;
use origo_adapter::core::policy::Policy;
use origo_adapter::core::wish::Wish;

use self::hid::Hid;
use self::search::explore;
use self::state::{Left, Log, State, World};
use self::sum::Names;
use self::ways::Action;
use crate::support::machine::is_set;
use crate::support::scene::{ada, wish_acs_user, wish_invite, wish_launch, wish_parent};

/// More steps no scheduler may need from any state to a settled one.
const SETTLED_WITHIN: u32 = 100;

/// All waiting is a multiple of [`same::UNIT`], so that ages can be counted in it; and no pause after a failure is so long
/// that it would be told coarsely ([`same`]): beside something that is tried again and again it would never end.
fn policy() -> Policy {
    let unit = Duration::from_millis(same::UNIT.unsigned_abs());
    Policy {
        retry_schedule: vec![Duration::from_secs(5), Duration::from_mins(5)],
        settle_delay: unit,
        late_effect_bound: unit * 2,
        ..crate::support::scene::policy()
    }
}

/// One identity with one phone, and nothing kept back.
fn world(parts: &'static [u8]) -> World {
    World {
        policy: policy(),
        acts: acts::of_keys,
        only: None,
        phones: 1,
        parts,
        in_order: false,
        late: usize::MAX,
        twins: same::twins(parts),
        mistake: None,
    }
}

fn two_phones(parts: &'static [u8]) -> World {
    World {
        phones: 2,
        ..world(parts)
    }
}

/// What can go wrong or be asked for: calls astray and crashes, events lost or twice or late, stale reads, acts.
fn left([astray, events, stale, acts]: [u8; 4]) -> Left {
    Left {
        astray,
        events,
        stale,
        acts,
        invites: 0,
    }
}

fn wish(world: &World, state: &mut State, person: usize, wish: Wish) {
    let seen = Observation::Wish(wish);
    state.see(world, person, &seen, &mut Log::default());
}

/// All that comes by itself before time passes.
fn hush(world: &World, mut state: State) -> State {
    loop {
        let (actions, scheduled) = state.actions(world);
        match scheduled.map(|n| &actions[n]) {
            None | Some(Action::Pass) => return state,
            Some(action) => state = state.takes(world, action).expect("no harm").0,
        }
    }
}

/// Ada, listed and launched; nothing of her at HID.
fn launched(world: &World, hid: Hid, left: Left) -> State {
    let mut state = State::new(1, hid, left);
    for asked in [Wish::Identity(ada()), wish_acs_user(), wish_launch(1)] {
        wish(world, &mut state, 0, asked);
    }
    state
}

/// Ada with her phones, and her parents just asked for.
fn with_phones(world: &World, hid: Hid, left: Left) -> State {
    let mut state = hush(world, launched(world, hid, left));
    for phone in 0..world.phones {
        if phone > 0 {
            wish(world, &mut state, 0, wish_invite(false));
            state = hush(world, state);
        }
        let open = state.hid.users[0].invitations.last().expect("an open one");
        let redeem = Action::Redeem(open.id.clone());
        state = state.takes(world, &redeem).expect("no harm").0;
        state = hush(world, state);
    }
    with_parents(world, state)
}

fn with_parents(world: &World, mut state: State) -> State {
    for (n, part) in (1..).zip(world.parts) {
        wish(world, &mut state, 0, wish_parent(n, *part));
    }
    state
}

/// Explores, tells what was found, and fails with the shortest story of what must not be.
fn holds(name: &str, world: &World, start: &State) {
    let found = explore(world, start);
    println!("{name}, {}: {found}", start.left);
    assert!(
        found.wrong.is_none(),
        "{name}:\n{}",
        found.wrong.unwrap_or_default()
    );
    assert!(found.longest <= SETTLED_WITHIN, "{name}: {found}");
}

/// Model A, with the kind of HID that draws a second key of a pair where it is asked to. One that refuses can make a
/// difference only after such a call, and where one comes to a live key the search fails.
fn keys(world: &World, left: Left) {
    let start = with_phones(world, Hid::new(false, 9), left);
    holds(&named(world, "draws"), world, &start);
}

fn named(world: &World, kind: &str) -> String {
    let (phones, parts) = (world.phones, world.parts);
    format!("phones {phones}, parts {parts:?}, HID {kind} a second key")
}

/// Model A from where it begins: user, invitation and phone.
fn enrolment(left: Left) {
    let world = World {
        acts: acts::of_enrolments,
        ..world(&[1])
    };
    let start = with_parents(&world, launched(&world, Hid::new(false, 9), left));
    holds("enrolment", &world, &start);
}

/// Model B: two identities, one address, one last licence.
fn two_people(left: Left) {
    two_with(None, left);
}

fn two_with(address: Option<&str>, left: Left) {
    let world = World {
        acts: acts::of_two,
        twins: Names::default(),
        ..world(&[1])
    };
    holds("two people", &world, &acts::two(&world, address, left));
}

#[test]
fn two_equal_parents_share_one_key_a_phone() {
    keys(&two_phones(&[1, 1]), left([2, 0, 0, 0]));
    keys(&world(&[1, 1]), left([1, 0, 0, 1]));
}

#[test]
fn parents_of_two_part_numbers_have_one_key_each() {
    keys(&world(&[1, 2]), left([2, 0, 0, 0]));
    keys(&world(&[1, 2]), left([0, 0, 0, 1]));
}

#[test]
fn keys_survive_what_is_late_lost_or_stale() {
    keys(&world(&[1]), left([4, 1, 1, 0]));
}

#[test]
fn a_second_key_is_never_so_much_as_refused() {
    let world = world(&[1]);
    let start = with_phones(&world, Hid::new(true, 9), left([1, 0, 0, 1]));
    holds(&named(&world, "refuses"), &world, &start);
}

#[test]
fn enrolments_settle() {
    let invites = 1;
    enrolment(Left {
        invites,
        ..left([1, 1, 0, 0])
    });
}

#[test]
fn one_address_and_one_licence_serve_two_in_turn() {
    two_people(left([1, 0, 0, 1]));
}

fn is_asked_for(size: &str) -> bool {
    is_set("MODEL", size)
}

/// As [`keys`], with what is left out by choice.
fn in_order(world: World, late: usize, left: Left) {
    println!("calls of one class in order, at most {late} deeds of HID late:");
    let world = World {
        in_order: true,
        late,
        ..world
    };
    keys(&world, left);
}

#[test]
fn whole_model_a_with_equal_parents() {
    if is_asked_for("whole") {
        keys(&two_phones(&[1, 1]), left([4, 0, 0, 0]));
        in_order(two_phones(&[1, 1]), 1, left([4, 0, 0, 1]));
    }
}

#[test]
fn whole_model_a_with_two_part_numbers() {
    if is_asked_for("whole") {
        in_order(two_phones(&[1, 2]), usize::MAX, left([2, 0, 0, 0]));
        in_order(two_phones(&[1, 2]), 1, left([4, 0, 0, 0]));
        in_order(two_phones(&[1, 2]), 1, left([1, 0, 0, 1]));
        in_order(world(&[1, 2]), 1, left([4, 0, 0, 1]));
    }
}

#[test]
fn whole_model_b() {
    if is_asked_for("whole") {
        two_people(left([2, 0, 0, 2]));
        two_with(Some(acts::SPARE), left([2, 0, 0, 0]));
    }
}

#[test]
fn whole_model_a_with_two_part_numbers_act_by_act() {
    if is_asked_for("whole") {
        for kind in acts::Kind::FIRST {
            with_one_act(kind, left([2, 0, 0, 1]));
        }
    }
}

/// Those of [`acts::Kind::FIRST`] are together all stories with one act.
fn with_one_act(kind: acts::Kind, left: Left) {
    println!("only {kind:?}:");
    let world = World {
        only: Some(kind),
        ..two_phones(&[1, 2])
    };
    in_order(world, 1, left);
}

/// Each by itself, for they are long.
macro_rules! beyond {
    ($($name:ident: $kind:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            if is_asked_for("beyond") {
                with_one_act(acts::Kind::$kind, left([4, 0, 0, 1]));
            }
        })*
    };
}

beyond! {
    beyond_two_part_numbers_where_a_parent_is_deleted: DeleteParent,
    beyond_two_part_numbers_where_a_child_is_deleted: DeleteChild,
    beyond_two_part_numbers_where_the_user_is_suspended: Suspend,
    beyond_two_part_numbers_where_the_person_is_deleted: DeletePerson,
    beyond_two_part_numbers_where_a_phone_is_deactivated: DeactivatePhone,
    beyond_two_part_numbers_where_the_automation_is_deleted: DeleteAutomation,
    beyond_two_part_numbers_where_a_phone_is_lost: LosePhone,
}
