//! Model check: the core's own `step` in every order of everything that can happen to it, within bounds.
//!
//! Small models in CI; `MODEL=whole cargo test --release model -- --nocapture` explores the whole ones. `stateright` was not
//! taken: its queue holds whole states, here some 40 KiB each, and it has no word for how long settling takes.

mod acts;
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

use origo_adapter::core::identity::{Doubt, Identity, Key};
use origo_adapter::core::observation::Observation;
use origo_adapter::core::policy::Policy;
use origo_adapter::core::wish::Wish;

use self::hid::Hid;
use self::search::{Found, explore};
use self::state::{Left, Log, State, World};
use self::ways::Action;
use crate::support::scene::{ada, wish_acs_user, wish_invite, wish_launch, wish_parent};

/// More steps no scheduler may need from any state to a settled one.
const SETTLED_WITHIN: u32 = 100;

/// All waiting is a multiple of [`same::UNIT`], so that ages can be counted in it.
fn policy() -> Policy {
    let unit = Duration::from_millis(same::UNIT.unsigned_abs());
    Policy {
        retry_schedule: vec![Duration::from_secs(5), Duration::from_hours(1)],
        settle_delay: unit,
        late_effect_bound: unit * 2,
        ..crate::support::scene::policy()
    }
}

fn world(acts: fn(&World, &State, usize) -> Vec<Wish>, parts: &'static [u8]) -> World {
    World {
        policy: policy(),
        acts,
        phones: 1,
        picks: false,
        late: usize::MAX,
        twins: if num("TWINS",1)>0 {same::twins(parts)} else {vec![sum::Names::default()]},
        parts,
        mistake: None,
    }
}

fn no_acts(_: &World, _: &State, _: usize) -> Vec<Wish> {
    vec![]
}

/// What can go wrong or be asked for: calls astray and crashes, events, stale reads, acts.
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

/// Ada with so many phones, and parents of these part numbers just asked for.
fn with_phones(world: &World, hid: Hid, left: Left, parts: &[u8]) -> State {
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
    with_parents(world, state, parts)
}

fn with_parents(world: &World, mut state: State, parts: &[u8]) -> State {
    for (n, part) in (1..).zip(parts) {
        wish(world, &mut state, 0, wish_parent(n, *part));
    }
    state
}

/// Explores, tells what was found, and fails with the shortest story of what must not be.
fn holds(name: &str, world: &World, start: &State) -> Found {
    let found = explore(world, start);
    println!("{name}: {found}");
    assert!(
        found.wrong.is_none(),
        "{name}:\n{}",
        found.wrong.unwrap_or_default()
    );
    assert!(found.longest <= SETTLED_WITHIN, "{name}: {found}");
    found
}

fn is_whole() -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "how much is explored is a matter of the test run, not of the product"
    )]
    std::env::var("MODEL").is_ok_and(|model| model == "whole")
}

fn num(name: &str, default: u8) -> u8 {
    std::env::var(name).ok().map_or(default, |n| n.parse().unwrap())
}

pub fn dev() {
    let parts: &'static [u8] = match (num("PARENTS", 1), num("SECOND", 1)) { (1, _) => &[1], (_, 1) => &[1, 1], _ => &[1, 2] };
    let acts = match num("KIND", 0) { 0 => acts::of_keys, 1 => acts::of_enrolments, _ => acts::of_two };
    let world = World { phones: num("PHONES", 1), picks: num("PICKS", 0) > 0, late: num("LATE", 99).into(), ..world(acts, parts) };
    let mut left = left([num("ASTRAY", 1), num("EVENTS", 0), num("STALE", 0), num("ACTS", 0)]);
    left.invites = num("INVITES", 0);
    let hid = Hid::new(num("REFUSES", 0) > 0, num("STOCK", 9));
    let start = match num("KIND", 0) {
        0 => with_phones(&world, hid, left, parts),
        1 => { let s = launched(&world, hid, left); with_parents(&world, s, parts) }
        _ => acts::two(&world, left),
    };
    holds("dev", &world, &start);
}
