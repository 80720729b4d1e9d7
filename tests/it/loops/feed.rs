//! Which stretch of the feed is asked for, by whom, and how long its places count.

use std::sync::atomic::Ordering;
use std::time::Duration;

use origo_adapter::clock::parse_rfc3339;
use origo_adapter::core::Timestamp;
use origo_adapter::poller::Polled;
use origo_adapter::simulator::{Class, Fault, Settings};
use origo_adapter::store::Feed;

use super::poller::{poller, read_on};
use super::{Line, Rig, WINDOW};
use crate::support::manager::budget;
use crate::support::scene;

const OVERLAP: Duration = Duration::from_mins(2);
const FIRST_REACH: Duration = Duration::from_mins(10);
/// For so long places are taken at once.
const AHEAD: Duration = Duration::from_secs(30);
/// A call without an answer counts so much longer.
const UNANSWERED: Duration = Duration::from_secs(20 + 120);

/// The stretch that was asked for last: from when, and how long.
fn asked(rig: &Rig) -> (Timestamp, Duration) {
    let uri = rig.wire.asked.lock().unwrap().clone();
    let query = uri.query().unwrap().replace("%3A", ":");
    let value = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name));
        Timestamp(parse_rfc3339(found.unwrap()).unwrap())
    };
    let (from, until) = (value("dateFrom="), value("dateTo="));
    (from, until.since(from))
}

/// When each place of the feed's window is free again, as long after now.
async fn places(rig: &Rig) -> Vec<Duration> {
    let at = rig.engine.window_now().await.unwrap();
    let key = rig.manager.events.keys[0].clone();
    let places = rig.store().slots(key, at).await.unwrap();
    places.into_iter().map(|free| free.since(at)).collect()
}

#[tokio::test]
async fn whoever_reads_next_goes_on_where_the_last_one_was() {
    let mut rig = Rig::new(|_| {});
    let mut one = poller(&rig).await;
    rig.launch(1).await;
    assert_eq!(rig.works().await, "create_user");
    rig.pass(Duration::from_hours(24));
    assert_eq!(one.turn().await.unwrap(), Polled::More(2));
    let mut other = poller(&rig).await;
    read_on(&mut other).await;
    rig.pass(Duration::from_secs(50));
    one.go_on().await.unwrap();
    let before = rig.sqlite.transactions();
    assert_eq!(one.turn().await.unwrap(), Polled::Done(0));
    let since = Duration::from_secs(50);
    assert_eq!(asked(&rig).1, OVERLAP + since, "since the other one's last");
    assert_eq!(
        rig.sqlite.transactions() - before,
        1,
        "a place, and no cursor so soon"
    );
}

/// Of a stretch that looked cut halves were to be read; another one read all of it meanwhile.
#[tokio::test]
async fn whoever_reads_next_does_not_go_on_with_halves() {
    let mut rig = Rig::new(|_| {});
    let mut one = poller(&rig).await;
    for n in 1..=10 {
        rig.launch(n).await;
        assert_eq!(rig.works().await, "create_user");
        rig.pass(Duration::from_secs(1));
    }
    rig.pass(Duration::from_secs(20));
    assert_eq!(one.turn().await.unwrap(), Polled::More(0));
    rig.pass(Duration::from_secs(61));
    let mut other = poller(&rig).await;
    read_on(&mut other).await;
    one.go_on().await.unwrap();
    one.turn().await.unwrap();
    assert_eq!(asked(&rig).1, OVERLAP);
}

#[tokio::test]
async fn an_answer_of_any_kind_frees_a_place_after_a_window() {
    let unlimited = usize::MAX;
    for (fault, largest, kept) in [
        (None, unlimited, WINDOW),
        (Some(Fault::Http500), unlimited, WINDOW),
        (None, 1, WINDOW),
        (Some(Fault::LostReply), unlimited, UNANSWERED + WINDOW),
    ] {
        let rig = Rig::new(|manager| manager.events = budget("events", 1, 0.95));
        let mut poller = poller(&rig).await;
        if let Some(fault) = fault {
            let mut hid = rig.wire.hid.lock().unwrap();
            hid.faults_mut().next(Class::EventsRead, fault);
        }
        rig.wire.largest.store(largest, Ordering::SeqCst);
        let began = rig.now();
        poller.turn().await.unwrap();
        let waits = poller.turn().await.unwrap();
        assert_eq!(
            waits,
            Polled::NotBefore(began.plus(kept)),
            "{fault:?}, {largest}"
        );
    }
}

#[tokio::test]
async fn after_a_poll_without_an_answer_less_is_asked_for() {
    let mut stretches = Vec::new();
    for line in [Line::Good, Line::Down, Line::Silent] {
        let rig = Rig::new(|_| {});
        let mut poller = poller(&rig).await;
        rig.pass(Duration::from_hours(24));
        rig.line(line);
        poller.turn().await.unwrap();
        rig.line(Line::Good);
        for _ in 0..3 {
            poller.turn().await.unwrap();
            stretches.push(asked(&rig).1.as_secs());
        }
    }
    let (overlap, first) = (OVERLAP.as_secs(), FIRST_REACH.as_secs());
    let whole = overlap + first;
    let good = [2 * first, 4 * first, 8 * first].map(|reach| overlap + reach);
    // The stretch once more, and twice as much as half of it.
    let refused = [whole, whole, overlap + 2 * first];
    // Both halves, and four times half of the first.
    let silent = [whole / 2, whole / 2, overlap + 2 * first];
    assert_eq!(stretches, [good, refused, silent].concat());
}

#[tokio::test]
async fn of_what_is_too_large_half_is_asked_for_and_less_after_it() {
    let rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    rig.pass(Duration::from_hours(24));
    rig.wire.largest.store(1, Ordering::SeqCst);
    assert_eq!(poller.turn().await.unwrap(), Polled::More(0));
    rig.wire.largest.store(usize::MAX, Ordering::SeqCst);
    let mut stretches = Vec::new();
    for _ in 0..3 {
        poller.turn().await.unwrap();
        stretches.push(asked(&rig).1);
    }
    let half = (OVERLAP + FIRST_REACH) / 2;
    assert_eq!(stretches, [half, half, OVERLAP + 2 * FIRST_REACH]);
    assert_eq!(rig.manager.feed_gate.closed_until(rig.now()), None);
}

/// It may be used as long as the pause between its taking and the last poll that uses it.
#[tokio::test]
async fn a_place_that_is_taken_ahead_counts_for_as_long_as_it_may_be_used() {
    let rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    poller.turn().await.unwrap();
    assert_eq!(places(&rig).await, [WINDOW + UNANSWERED]);
    rig.pass(Duration::from_secs(5));
    poller.turn().await.unwrap();
    let mut expected = vec![WINDOW.saturating_sub(Duration::from_secs(5))];
    expected.extend([WINDOW + UNANSWERED + AHEAD; 6]);
    assert_eq!(places(&rig).await, expected, "polls of half a minute");
}

#[tokio::test]
async fn no_more_places_are_taken_ahead_than_a_part_of_the_window() {
    for (requests, ahead) in [(300, 6), (200, 4), (85, 2), (40, 1), (20, 1)] {
        let rig = Rig::new(|manager| manager.events = budget("events", requests, 0.95));
        let mut poller = poller(&rig).await;
        poller.turn().await.unwrap();
        poller.turn().await.unwrap();
        assert_eq!(places(&rig).await.len(), 1 + ahead, "of {requests}");
    }
}

#[tokio::test]
async fn a_place_is_not_used_once_it_may_have_been_given_away() {
    let rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    poller.turn().await.unwrap();
    poller.turn().await.unwrap();
    for (after, places_more) in [(AHEAD, 0), (Duration::from_millis(1), 6)] {
        rig.pass(after);
        let before = places(&rig).await.len();
        poller.turn().await.unwrap();
        assert_eq!(places(&rig).await.len() - before, places_more);
    }
}

#[tokio::test]
async fn a_limit_that_hid_has_no_more_is_forgotten() {
    let settings = Settings {
        event_page: Some(20),
        ..Settings::default()
    };
    let mut rig = Rig::with(settings, |_| {});
    let mut poller = poller(&rig).await;
    let mut found = 0;
    for (page, people, expected) in [
        (Some(20), 15, Some(20)),
        (Some(20), 30, Some(20)),
        (None, 46, None),
    ] {
        let settings = Settings {
            event_page: page,
            ..Settings::default()
        };
        rig.wire.hid.lock().unwrap().set_settings(settings);
        rig.pass(OVERLAP);
        for n in found + 1..=people {
            rig.launch(n).await;
            while rig.works().await != "create_user" {}
            rig.pass(Duration::from_secs(1));
        }
        rig.pass(Duration::from_secs(20));
        assert_eq!(
            read_on(&mut poller).await.1,
            2 * usize::from(people - found)
        );
        found = people;
        let feed = rig.store().load_feed(scene::manager()).await.unwrap();
        assert_eq!(feed.unwrap().page, expected, "{people} people");
    }
}

#[tokio::test]
async fn who_starts_again_knows_the_feed_as_it_was() {
    let rig = Rig::new(|_| {});
    let feed = Feed {
        cursor: rig.now(),
        deaf: true,
        gaps: 3,
        ..Feed::default()
    };
    let saved = rig
        .store()
        .save_feed(scene::manager(), feed.clone(), vec![], rig.now());
    saved.await.unwrap();
    rig.pass(Duration::from_mins(1));
    drop(poller(&rig).await);
    assert_eq!(rig.manager.progress.get(), (feed.cursor, 3));
    assert!(rig.manager.must_read_waiting());
}

#[tokio::test]
async fn that_a_feed_is_deaf_is_kept() {
    let mut rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    let mute = |rig: &Rig, probability| {
        let mut hid = rig.wire.hid.lock().unwrap();
        hid.faults_mut().set(Fault::FeedEmpty, probability);
    };
    for (probability, is_deaf) in [(1.0, true), (0.0, false)] {
        mute(&rig, probability);
        for n in 1..=3 {
            rig.launch(n + 3 * u8::from(is_deaf)).await;
            while rig.works().await != "create_user" {}
        }
        for _ in 0..2 {
            rig.pass(Duration::from_mins(5));
            read_on(&mut poller).await;
        }
        let feed = rig.store().load_feed(scene::manager()).await.unwrap();
        assert_eq!(feed.unwrap().deaf, is_deaf);
    }
}

/// A clock that is set back by less than that makes nothing new of what was observed.
#[tokio::test]
async fn what_was_observed_is_known_for_twice_as_long_as_polls_reach_back() {
    let mut rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    rig.launch(1).await;
    assert_eq!(rig.works().await, "create_user");
    rig.pass(Duration::from_secs(20));
    assert_ne!(poller.turn().await.unwrap(), Polled::Done(0));
    rig.pass(Duration::from_mins(3));
    rig.launch(2).await;
    while rig.works().await != "create_user" {}
    rig.pass(Duration::from_secs(20));
    assert_ne!(poller.turn().await.unwrap(), Polled::Done(0));
    rig.set_the_clock(-100_000);
    assert_eq!(poller.turn().await.unwrap(), Polled::Done(0));
}
