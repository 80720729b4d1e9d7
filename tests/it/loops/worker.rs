//! What the worker claims, what it waits for, and how long a call keeps its place in HID's window.

use std::sync::Arc;
use std::time::Duration;

use origo_adapter::clock::Clock;
use origo_adapter::core::Class;
use origo_adapter::core::wish::Wish;
use origo_adapter::engine::Engine;
use origo_adapter::simulator::Fault;
use origo_adapter::worker::{Next, recover, wake};

use super::{Line, Rig, WINDOW, automation};
use crate::support::manager::budget;
use crate::support::scene;

/// One place for all but withdrawals, which have `withdrawals`.
fn narrow(withdrawals: u32) -> Rig {
    Rig::new(|manager| {
        manager.mobile_identities = budget("mobile_identities", withdrawals + 1, 0.0);
    })
}

#[tokio::test]
async fn a_full_window_lets_withdrawals_alone_through() {
    let mut rig = narrow(99);
    rig.launch(1).await;
    rig.launch(2).await;
    assert_eq!(rig.works().await, "create_user");
    let free_at = rig.now().plus(WINDOW);
    assert_eq!(rig.waits().await, Some(free_at));
    rig.wish(1, &[Wish::DeleteAutomation(automation(1))]).await;
    assert_eq!(rig.works().await, "cancel_invitation");
    assert_eq!(rig.waits().await, Some(free_at));
    rig.pass(WINDOW.saturating_sub(Duration::from_millis(1)));
    assert_eq!(rig.waits().await, Some(free_at));
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.works().await, "create_user");
}

#[tokio::test]
async fn a_withdrawal_waits_for_its_reserve() {
    let mut rig = narrow(0);
    rig.launch(1).await;
    rig.launch(2).await;
    assert_eq!(rig.works().await, "create_user");
    let free_at = rig.now().plus(WINDOW);
    rig.pass(Duration::from_mins(1));
    rig.wish(1, &[Wish::DeleteAutomation(automation(1))]).await;
    assert_eq!(rig.waits().await, Some(free_at));
    rig.pass(Duration::from_mins(4));
    assert_eq!(rig.works().await, "cancel_invitation");
}

#[tokio::test]
async fn a_call_keeps_its_place_as_long_as_it_may_count() {
    for (line, kept) in [
        (Line::Good, Some(WINDOW)),
        (Line::Down, None),
        (Line::Silent, Some(Duration::from_secs(20 + 120) + WINDOW)),
    ] {
        let mut rig = narrow(0);
        rig.launch(1).await;
        rig.launch(2).await;
        let began = rig.now();
        let job = rig.job().await;
        rig.line(line);
        rig.perform(job).await;
        rig.line(Line::Good);
        match kept {
            Some(kept) => assert_eq!(rig.waits().await, Some(began.plus(kept))),
            None => assert_eq!(rig.works().await, "create_user"),
        }
    }
}

#[tokio::test]
async fn a_call_whose_lease_is_over_is_not_sent() {
    let mut rig = narrow(0);
    rig.launch(1).await;
    rig.launch(2).await;
    let job = rig.job().await;
    rig.pass(Duration::from_mins(1));
    rig.perform(job).await;
    assert_eq!(rig.requests(), 0);
    assert_eq!(rig.works().await, "create_user", "its place is free again");
    assert_eq!(rig.requests(), 1);
    let mut rig = Rig::new(|_| {});
    rig.launch(1).await;
    let job = rig.job().await;
    rig.pass(Duration::from_secs(50));
    rig.perform(job).await;
    assert_eq!(rig.requests(), 1, "20 s for the call and 5 s are left");
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_probed_by_one_call_at_a_time() {
    let mut rig = Rig::new(|_| {});
    for n in 1..5 {
        rig.launch(n).await;
    }
    rig.line(Line::Down);
    rig.works().await;
    rig.works().await;
    let probe_at = rig.now().plus(Duration::from_secs(5));
    assert_eq!(rig.waits().await, Some(probe_at));
    rig.pass(Duration::from_secs(5));
    let probe = rig.job().await;
    let bound = rig.now().plus(Duration::from_secs(40));
    assert_eq!(rig.waits().await, Some(bound), "until its outcome is told");
    rig.line(Line::Good);
    rig.perform(probe).await;
    rig.job().await;
}

#[tokio::test]
async fn an_answer_that_refuses_its_object_alone_ends_the_pause() {
    let mut rig = Rig::new(|_| {});
    rig.launch(1).await;
    assert_eq!(rig.works().await, "create_user");
    for n in [2, 3] {
        rig.launch(n).await;
        rig.line(Line::Down);
        rig.works().await;
    }
    rig.line(Line::Good);
    rig.launch_at(4, "ADA1@example.com").await;
    rig.pass(Duration::from_secs(5));
    let probe = rig.job().await;
    assert_eq!(probe.identity, super::person(4));
    rig.perform(probe).await;
    rig.job().await;
}

#[tokio::test]
async fn whoever_waits_is_read_only_where_no_feed_tells() {
    for feed in [true, false] {
        let mut rig = Rig::new(|manager| {
            if !feed {
                manager.polling = None;
            }
        });
        rig.launch(1).await;
        assert_eq!(rig.works().await, "create_user");
        rig.pass(Duration::from_secs(15));
        if feed {
            rig.waits().await;
        } else {
            assert_eq!(rig.works().await, "read_user");
        }
    }
}

#[tokio::test]
async fn nobody_is_swept_where_the_sweep_has_no_share() {
    for share in [0.0, 0.1] {
        let mut rig = Rig::new(|manager| manager.sweep_share = share);
        rig.launch(1).await;
        assert_eq!(rig.works().await, "create_user");
        rig.pass(Duration::from_hours(24));
        if share > 0.0 {
            assert_eq!(rig.works().await, "read_user");
        } else {
            let until = rig.waits().await;
            assert!(until.is_none_or(|until| until > rig.now()), "{until:?}");
        }
    }
}

#[tokio::test]
async fn an_error_that_hid_answers_counts_like_any_answer() {
    let mut rig = narrow(0);
    rig.launch(1).await;
    rig.launch(2).await;
    rig.breaks_next(Fault::Http500);
    assert_eq!(rig.works().await, "create_user");
    let free_at = rig.now().plus(WINDOW);
    assert_eq!(rig.waits().await, Some(free_at));
}

#[tokio::test]
async fn a_replay_after_a_refused_token_counts_beside_its_call() {
    for (fault, calls) in [(None, 3), (Some(Fault::Token401), 2)] {
        let mut rig = Rig::new(|manager| {
            manager.mobile_identities = budget("mobile_identities", 3, 1.0);
        });
        for n in 1..5 {
            rig.launch(n).await;
        }
        if let Some(fault) = fault {
            rig.breaks_next(fault);
        }
        for _ in 0..calls {
            assert_eq!(rig.works().await, "create_user");
        }
        assert_eq!(rig.requests(), 3);
        rig.waits().await;
    }
}

#[tokio::test]
async fn a_claim_is_taken_over_when_its_lease_is_over_and_no_sooner() {
    let mut rig = Rig::new(|_| {});
    rig.launch(1).await;
    drop(rig.job().await);
    let lease = Duration::from_secs(2 * 20 + 5 + 30);
    let ends = rig.now().plus(lease);
    let before = origo_adapter::core::Timestamp(ends.0 - 1);
    assert_eq!(recover(&rig.engine, before).await.unwrap(), 0);
    assert_eq!(recover(&rig.engine, ends).await.unwrap(), 1);
    assert_eq!(recover(&rig.engine, ends).await.unwrap(), 0);
    let loaded = rig.store().load(super::person(1)).await.unwrap().unwrap();
    assert_eq!(loaded.identity.in_flight, None);
    assert_eq!(loaded.claim, None);
}

#[tokio::test]
async fn dates_are_kept_by_the_timer() {
    let rig = Rig::new(|_| {});
    assert_eq!(wake(&rig.engine).await.unwrap(), None);
    rig.launch(1).await;
    let starts_at = rig.now().plus(Duration::from_mins(1));
    let mut parent = scene::wish_parent_between(1, 1, Some(starts_at), None);
    if let Wish::Parent { acs_user, .. } = &mut parent {
        *acs_user = origo_adapter::core::ids::AcsUserId(uuid::Uuid::from_u128(0xAC01));
    }
    rig.wish(1, &[parent]).await;
    assert_eq!(wake(&rig.engine).await.unwrap(), Some(starts_at));
    rig.pass(Duration::from_mins(1));
    assert_eq!(wake(&rig.engine).await.unwrap(), None);
}

#[tokio::test]
async fn setting_the_clock_moves_no_window() {
    let hour = 3_600_000;
    for wrong in [hour, -hour] {
        let mut rig = narrow(0);
        rig.launch(1).await;
        rig.launch(2).await;
        assert_eq!(rig.works().await, "create_user");
        rig.set_the_clock(wrong);
        rig.pass(Duration::from_mins(1));
        if wrong > 0 {
            let left = Duration::from_mins(4);
            assert_eq!(rig.waits().await, Some(rig.now().plus(left)));
        }
        // The next process finds the same window.
        let engine = Engine::new(
            Arc::new(rig.sqlite.clone()),
            Arc::clone(&rig.clock) as Arc<dyn Clock>,
            scene::policy(),
        );
        let at = engine.window_now().await.unwrap();
        let slots = rig
            .store()
            .slots("mobile_identities/organization/7001234".into(), at);
        let left = slots.await.unwrap()[0].since(at);
        assert_eq!(left, Duration::from_mins(4));
        rig.set_the_clock(0);
        rig.pass(Duration::from_mins(4));
        assert_eq!(rig.works().await, "create_user");
    }
}

#[tokio::test]
async fn a_full_window_that_we_did_not_fill_leaves_us_less_for_an_hour() {
    let mut rig = Rig::new(|_| {});
    let limit = |rig: &Rig| rig.manager.mobile_identities.limit(false, rig.now());
    rig.launch(1).await;
    assert_eq!(limit(&rig), 285);
    rig.breaks_next(Fault::Window403);
    assert_eq!(rig.works().await, "create_user");
    assert_eq!(limit(&rig), 256);
    let probe_at = rig.now().plus(Duration::from_secs(5));
    assert_eq!(rig.waits().await, Some(probe_at));
    rig.pass(Duration::from_secs(5));
    rig.breaks_next(Fault::Window403);
    assert_eq!(rig.works().await, "create_user");
    assert_eq!(limit(&rig), 256, "a probe is one and the same pause");
    rig.pass(Duration::from_hours(1));
    assert_eq!(limit(&rig), 285);
    assert_eq!(rig.works().await, "create_user");
}

/// What HID forbids to one call must not hold up the others for ever.
#[tokio::test]
async fn a_call_that_is_forbidden_waits_by_itself() {
    let mut rig = Rig::new(|_| {});
    let forbidden = super::person(1);
    let mut done = 0;
    let mut refused = 0;
    for n in 1..60 {
        rig.launch(n).await;
        rig.pass(Duration::from_secs(1));
        let Next::Job(job) = rig.worker.next().await.unwrap() else {
            continue;
        };
        if job.identity == forbidden {
            rig.breaks_next(Fault::Permission403);
            refused += 1;
        } else {
            done += 1;
        }
        rig.perform(job).await;
    }
    assert!(done > 30, "{done}");
    assert!((3..9).contains(&refused), "{refused}");
    let loaded = rig.store().load(forbidden).await.unwrap().unwrap();
    let trouble = &loaded.identity.enrollments[&scene::manager()].user.trouble;
    assert!(trouble.failures > 0, "it is its own concern");
}

/// Contract.md section 8: issues weigh 60, enrollments 20.
#[tokio::test]
async fn who_waits_for_a_user_has_a_turn_beside_those_who_wait_for_a_key() {
    let mut rig = Rig::new(|_| {});
    let mut poller = super::poller::poller(&rig).await;
    for n in 1..=8 {
        rig.register(n).await;
    }
    rig.pass(Duration::from_secs(20));
    super::poller::read_on(&mut poller).await;
    for n in 11..=18 {
        rig.launch(n).await;
    }
    let mut done = Vec::new();
    for _ in 0..8 {
        done.push(rig.works().await);
    }
    let issues = done.iter().filter(|effect| **effect == "issue").count();
    let users = done.iter().filter(|effect| **effect == "create_user");
    assert_eq!((issues, users.count()), (6, 2), "{done:?}");
}

/// What the forecast says of each in a long queue, against when it was called.
#[tokio::test]
async fn the_forecast_of_a_queue_comes_true() {
    let mut rig = Rig::new(|manager| {
        manager.mobile_identities = budget("mobile_identities", 30, 0.9);
    });
    for n in 1..=120 {
        rig.launch(n).await;
        rig.pass(Duration::from_millis(10));
    }
    // Half of the window is taken already, at several moments.
    for _ in 0..15 {
        rig.works().await;
        rig.pass(Duration::from_secs(3));
    }
    let began = rig.now();
    let forecast = rig.manager.forecast(&rig.engine).await.unwrap();
    let queue = forecast.queue[&Class::Enroll].clone();
    assert_eq!(queue.len(), 105);
    let expected: Vec<_> = queue
        .iter()
        .map(|due| forecast.place(Class::Enroll, *due, began))
        .collect();
    assert_eq!(expected[104].ahead, 104);
    assert_eq!(expected[104].wait, forecast.drained(Class::Enroll));
    for (n, place) in expected.iter().enumerate() {
        let job = loop {
            match rig.worker.next().await.unwrap() {
                Next::Job(job) => break job,
                Next::Wait(until) => rig.pass(until.unwrap().since(rig.now())),
            }
        };
        let waited = rig.now().since(began);
        rig.perform(job).await;
        let off = waited.abs_diff(place.wait);
        assert!(off <= waited / 10, "{n}: {waited:?}, said {:?}", place.wait);
    }
    assert!(rig.now().since(began) > 3 * WINDOW, "it was a long queue");
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_nothing_up() {
    let hour = 3_600_000;
    let mut rig = Rig::new(|_| {});
    for n in 1..4 {
        rig.launch(n).await;
    }
    rig.set_the_clock(-hour);
    assert_eq!(rig.works().await, "create_user", "it was due before");
    rig.line(Line::Down);
    rig.works().await;
    rig.works().await;
    rig.line(Line::Good);
    rig.set_the_clock(-2 * hour);
    rig.launch(4).await;
    let probe_at = rig.now().plus(Duration::from_secs(5));
    assert_eq!(rig.waits().await, Some(probe_at), "HID was not reached");
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.job().await.identity, super::person(4));
}

/// A phone that is lost needs another invitation, and no other user.
#[tokio::test]
async fn a_feed_that_does_not_tell_of_invitations_is_deaf_as_well() {
    let mut rig = Rig::new(|_| {});
    let mut poller = super::poller::poller(&rig).await;
    for n in 1..=3 {
        rig.launch(n).await;
        assert_eq!(rig.works().await, "create_user");
        rig.redeem();
    }
    rig.pass(Duration::from_secs(20));
    super::poller::read_on(&mut poller).await;
    {
        let mut hid = rig.wire.hid.lock().unwrap();
        hid.faults_mut().set(Fault::FeedEmpty, 1.0);
    }
    for n in 1..=3 {
        rig.wish(n, &[scene::wish_invite(false)]).await;
        assert_eq!(rig.works().await, "create_invitation");
    }
    assert!(!rig.manager.must_read_waiting());
    rig.pass(Duration::from_mins(5));
    super::poller::read_on(&mut poller).await;
    assert!(rig.manager.must_read_waiting());
}
