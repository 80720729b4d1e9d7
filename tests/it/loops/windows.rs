//! A window that is full, a part number that is held, a service that refuses: who waits, and in what order all go on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use origo_adapter::core::Effect;
use origo_adapter::core::hold::{HoldReason, HoldScope};
use origo_adapter::core::ids::{IdentityId, PartNumber};
use origo_adapter::gate::Condition;
use origo_adapter::simulator::Fault;
use origo_adapter::worker::Next;

use super::{Line, Rig, WINDOW, person};
use crate::support::lines::Lines;
use crate::support::manager::budget;
use crate::support::scene;

/// With so many places in a window, all ours; the sweep may use a tenth of them.
fn with_places(places: u32) -> Rig {
    Rig::new(|manager| manager.mobile_identities = budget("mobile_identities", places, 1.0))
}

/// So many users at HID, and none of them was read for a day.
async fn unread(users: u8) -> Rig {
    let mut rig = with_places(10);
    for n in 1..=users {
        rig.launch(n).await;
        assert_eq!(rig.works().await, "create_user");
        rig.pass(Duration::from_secs(1));
    }
    rig.pass(Duration::from_hours(24));
    rig
}

/// Performs what is due next; whose it was.
async fn serves(rig: &mut Rig) -> IdentityId {
    let job = rig.job().await;
    let whose = job.identity;
    rig.perform(job).await;
    whose
}

#[tokio::test]
async fn who_finds_the_window_full_is_still_the_first_in_line() {
    let mut rig = with_places(1);
    for n in 1..=3 {
        rig.launch(n).await;
        rig.pass(Duration::from_secs(1));
    }
    for n in 1..=3 {
        assert_eq!(serves(&mut rig).await, person(n));
        rig.waits().await;
        rig.pass(WINDOW);
    }
}

#[tokio::test]
async fn the_sweep_goes_on_in_its_order_as_soon_as_its_part_of_the_window_is_free() {
    let mut rig = unread(4).await;
    for n in 1..=3 {
        assert_eq!(serves(&mut rig).await, person(n));
        let free_at = rig.now().plus(WINDOW);
        assert_eq!(rig.waits().await, Some(free_at));
        rig.pass(WINDOW);
    }
}

#[tokio::test]
async fn a_sweep_that_used_its_part_of_the_window_holds_nobody_else_up() {
    let mut rig = unread(3).await;
    for n in 11..=16 {
        rig.launch(n).await;
    }
    let mut done = Vec::new();
    while let Next::Job(job) = rig.worker.next().await.unwrap() {
        done.push(Effect::name(job.effect()));
        rig.perform(job).await;
    }
    let reads = done.iter().filter(|effect| **effect == "read_user").count();
    let users = done.iter().filter(|effect| **effect == "create_user");
    assert_eq!((reads, users.count()), (1, 6), "{done:?}");
}

/// HID has counted the call, whatever becomes of the replay.
#[tokio::test]
async fn a_call_and_its_replay_that_is_refused_keep_a_place_each() {
    let mut rig = with_places(2);
    rig.launch(1).await;
    rig.launch(2).await;
    let kept = rig.now().plus(Duration::from_secs(20 + 120) + WINDOW);
    let job = rig.job().await;
    rig.breaks_next(Fault::Token401);
    rig.line(Line::GoodOnce);
    rig.perform(job).await;
    rig.line(Line::Good);
    assert_eq!(rig.requests(), 2);
    assert_eq!(rig.waits().await, Some(kept));
}

#[tokio::test]
async fn a_service_that_fails_takes_nothing_of_our_share() {
    for (name, fault, line) in [
        ("500", Some(Fault::Http500), Line::Good),
        ("down", None, Line::Down),
    ] {
        let mut rig = Rig::new(|_| {});
        rig.launch(1).await;
        rig.launch(2).await;
        rig.line(line);
        for _ in 0..2 {
            if let Some(fault) = fault {
                rig.breaks_next(fault);
            }
            assert_eq!(rig.works().await, "create_user");
        }
        assert_eq!(rig.manager.gate.condition(), Condition::Unreachable);
        let limit = rig.manager.mobile_identities.limit(false, rig.now());
        assert_eq!(limit, 285, "{name}");
    }
}

#[tokio::test]
async fn a_part_number_that_is_let_go_has_its_keys_issued_in_their_order() {
    let mut rig = Rig::new(|_| {});
    let mut poller = super::poller::poller(&rig).await;
    for (n, part_number) in [(1, 1), (2, 2), (3, 1), (4, 2)] {
        rig.launch(n).await;
        rig.parent(n, n, part_number).await;
        assert_eq!(rig.works().await, "create_user");
        rig.redeem();
    }
    rig.pass(Duration::from_secs(20));
    super::poller::read_on(&mut poller).await;
    let mut issued = vec![serves(&mut rig).await];
    // The others were looked up with the first.
    let part_number = PartNumber("MID-SUB-EXAMPLE_2".to_owned());
    let scope = HoldScope::Part(scene::manager(), part_number);
    let reason = HoldReason::OutOfStock;
    rig.engine.hold(scope.clone(), reason, "HID").await.unwrap();
    issued.push(serves(&mut rig).await);
    rig.engine.let_go(scope, &[reason], "HID").await.unwrap();
    issued.push(serves(&mut rig).await);
    issued.push(serves(&mut rig).await);
    assert_eq!(issued, [1, 3, 2, 4].map(person));
}

/// Calls may take a minute here, so that a probe may be longer under way than its lease allows it to begin.
#[tokio::test]
async fn a_probe_whose_lease_is_over_leaves_its_turn_to_the_next_call() {
    let mut rig = Rig::new(|manager| manager.request_timeout = Duration::from_mins(1));
    for n in 1..=3 {
        rig.launch(n).await;
    }
    rig.line(Line::Down);
    rig.works().await;
    rig.works().await;
    rig.line(Line::Good);
    rig.pass(Duration::from_secs(5));
    let probe = rig.job().await;
    rig.pass(Duration::from_secs(91));
    let before = rig.requests();
    rig.perform(probe).await;
    assert_eq!(rig.requests(), before, "it is not sent");
    assert_eq!(rig.works().await, "create_user");
    assert_eq!(rig.requests(), before + 1);
}

#[tokio::test]
async fn a_person_is_told_once_that_both_services_refuse_us_and_one_success_ends_it_for_both() {
    let lines = Lines::listen();
    let told = |event| lines.told(event).len();
    let mut rig = Rig::new(|_| {});
    let mut poller = super::poller::poller(&rig).await;
    rig.launch(1).await;
    rig.line(Line::Locked);
    for _ in 0..40 {
        if let Next::Job(job) = rig.worker.next().await.unwrap() {
            rig.perform(job).await;
        }
        poller.turn().await.unwrap();
        rig.pass(Duration::from_mins(1));
    }
    for gate in [&rig.manager.gate, &rig.manager.feed_gate] {
        assert!(gate.quarantined_at().is_some());
    }
    assert_eq!(told("manager.quarantined"), 1);

    rig.line(Line::Good);
    rig.manager.probe().await;
    assert_eq!(rig.works().await, "create_user");
    assert_eq!(rig.manager.quarantined_at(), None);
    poller.turn().await.unwrap();
    assert_eq!(rig.manager.feed_gate.condition(), Condition::Ok);
    assert_eq!(told("manager.taken_back"), 1);
}

/// While it looks at what is due the window becomes free: it waits for that moment and no longer.
#[tokio::test]
async fn a_window_that_becomes_free_meanwhile_is_not_slept_through() {
    for before in 0..8 {
        let mut rig = with_places(1);
        rig.launch(1).await;
        rig.launch(2).await;
        assert_eq!(rig.works().await, "create_user");
        let free_at = rig.waits().await.expect("a full window");
        let until_then = free_at.since(rig.now());
        rig.pass(until_then.saturating_sub(Duration::from_millis(before)));
        rig.clock.creeps.store(1, Ordering::SeqCst);
        let next = rig.worker.next().await.unwrap();
        let is_in_time = match next {
            Next::Job(_) => true,
            Next::Wait(until) => until.is_some_and(|until| until <= free_at),
        };
        assert!(is_in_time, "{before} ms before");
    }
}
