//! How the feed is read: places, the cursor, and each entry once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use origo_adapter::core::Timestamp;
use origo_adapter::core::announce::EventType;
use origo_adapter::poller::{Polled, Poller};
use origo_adapter::simulator::{EventOrder, Fault, Settings};
use origo_adapter::store::{EventQuery, Feed};

use super::{Line, Rig, WINDOW};
use crate::support::alerts::raises;
use crate::support::lines::Lines;
use crate::support::manager::budget;
use crate::support::scene;

pub(super) const OVERLAP: Duration = Duration::from_mins(2);

pub(super) async fn poller(rig: &Rig) -> Poller {
    let manager = Arc::clone(&rig.manager);
    let polling = manager.polling.unwrap();
    let opened = Poller::open(Arc::clone(&rig.engine), manager, polling);
    opened.await.unwrap()
}

/// So likely an answer of the feed is empty.
pub(super) fn mute(rig: &Rig, probability: f64) {
    let mut hid = rig.wire.hid.lock().unwrap();
    hid.faults_mut().set(Fault::FeedEmpty, probability);
}

pub(super) async fn saved(rig: &Rig) -> Feed {
    let feed = rig.store().load_feed(scene::manager()).await.unwrap();
    feed.unwrap()
}

/// One call of the events API in each window.
fn narrow() -> Rig {
    Rig::new(|manager| manager.events = budget("events", 1, 0.95))
}

#[tokio::test]
async fn an_entry_is_observed_once_and_remembered_as_long_as_polls_reach_back() {
    let mut rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    let opened_at = rig.now();
    assert_eq!(saved(&rig).await.cursor, opened_at);
    rig.pass(Duration::from_secs(1));
    assert_eq!(poller.turn().await.unwrap(), Polled::Done(0));
    assert_eq!(saved(&rig).await.cursor, opened_at, "nothing worth a write");
    rig.launch(1).await;
    assert_eq!(rig.works().await, "create_user");
    rig.pass(Duration::from_secs(20));
    let Polled::Done(fresh) = poller.turn().await.unwrap() else {
        panic!("not read")
    };
    assert!(fresh > 0);
    let feed = saved(&rig).await;
    assert_eq!(feed.cursor, rig.now());
    rig.pass(Duration::from_secs(5));
    assert_eq!(poller.turn().await.unwrap(), Polled::Done(0));
    assert_eq!(
        saved(&rig).await,
        feed,
        "an idle feed is saved once a minute"
    );
    rig.pass((2 * OVERLAP).saturating_sub(Duration::from_secs(5)));
    assert_eq!(poller.turn().await.unwrap(), Polled::Done(0));
    assert_eq!(saved(&rig).await.cursor, rig.now());
    rig.pass(Duration::from_secs(61));
    assert_eq!(poller.turn().await.unwrap(), Polled::Done(0));
}

#[tokio::test]
async fn a_poll_keeps_its_place_as_long_as_it_may_count() {
    for (line, kept) in [
        (Line::Good, WINDOW),
        (Line::Silent, Duration::from_secs(20 + 120) + WINDOW),
    ] {
        let rig = narrow();
        let mut poller = poller(&rig).await;
        let began = rig.now();
        rig.line(line);
        poller.turn().await.unwrap();
        rig.line(Line::Good);
        let waits = poller.turn().await.unwrap();
        assert_eq!(waits, Polled::NotBefore(began.plus(kept)));
    }
}

#[tokio::test]
async fn a_feed_that_does_not_answer_is_probed_by_one_poll_at_a_time() {
    let rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    rig.line(Line::Down);
    assert_eq!(poller.turn().await.unwrap(), Polled::Failed);
    assert_eq!(poller.turn().await.unwrap(), Polled::Failed);
    let probe_at = rig.now().plus(Duration::from_secs(5));
    assert_eq!(poller.turn().await.unwrap(), Polled::NotBefore(probe_at));
    rig.pass(Duration::from_secs(5));
    rig.line(Line::Hanging);
    let cut = tokio::time::timeout(Duration::from_millis(50), poller.turn()).await;
    assert!(cut.is_err());
    let bound = rig.now().plus(Duration::from_secs(40));
    assert_eq!(poller.turn().await.unwrap(), Polled::NotBefore(bound));
    rig.line(Line::Good);
    rig.pass(Duration::from_secs(40));
    assert_eq!(poller.turn().await.unwrap(), Polled::Done(0));
    assert_eq!(poller.turn().await.unwrap(), Polled::Done(0));
}

#[tokio::test]
async fn a_probe_without_a_place_leaves_the_gate_to_the_next() {
    let rig = narrow();
    let mut poller = poller(&rig).await;
    assert_eq!(poller.turn().await.unwrap(), Polled::Done(0));
    let free_at = rig.now().plus(WINDOW);
    for _ in 0..2 {
        let trouble = origo_adapter::origo::Trouble::TimedOut;
        rig.manager.feed_gate.refused(trouble, None, rig.now());
    }
    rig.pass(Duration::from_secs(5));
    for _ in 0..2 {
        let turn = poller.turn().await.unwrap();
        assert_eq!(turn, Polled::NotBefore(free_at));
    }
    assert!(rig.now() < free_at && free_at > Timestamp(0));
}

#[tokio::test]
async fn a_feed_that_does_not_tell_of_what_we_created_is_deaf_until_it_does() {
    let mut rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    mute(&rig, 1.0);
    for n in 1..4 {
        rig.launch(n).await;
        assert_eq!(rig.works().await, "create_user");
    }
    assert_eq!(poller.turn().await.unwrap(), Polled::Done(0));
    assert!(!rig.manager.must_read_waiting());
    rig.pass(Duration::from_mins(5));
    assert_eq!(poller.turn().await.unwrap(), Polled::Done(0));
    assert!(rig.manager.must_read_waiting());
    mute(&rig, 0.0);
    rig.launch(4).await;
    while rig.works().await != "create_user" {}
    rig.pass(Duration::from_secs(20));
    assert_ne!(poller.turn().await.unwrap(), Polled::Done(0));
    assert!(!rig.manager.must_read_waiting());
}

/// All that one stretch of the feed holds; how many calls that took, and how many entries it had.
pub(super) async fn read_on(poller: &mut Poller) -> (u32, usize) {
    let mut fresh = 0;
    for calls in 1..2000 {
        match poller.turn().await.unwrap() {
            Polled::More(more) => fresh += more,
            Polled::Done(more) => return (calls, fresh + more),
            other @ (Polled::NotBefore(_) | Polled::Failed) => panic!("{other:?}"),
        }
    }
    panic!("it does not end")
}

/// A HID that cuts answers without a word, and people whose users and invitations it tells of.
async fn busy(page: Option<usize>, people: u8, apart: Duration) -> (Rig, Poller) {
    let settings = origo_adapter::simulator::Settings {
        event_page: page,
        ..Default::default()
    };
    let mut rig = Rig::with(settings, |_| {});
    let poller = poller(&rig).await;
    for n in 1..=people {
        rig.launch(n).await;
        assert_eq!(rig.works().await, "create_user");
        rig.pass(apart);
    }
    rig.pass(Duration::from_secs(20));
    (rig, poller)
}

/// Two people whose keys reach their phones one after the other, and one poll for both.
#[tokio::test]
async fn what_hid_lists_with_the_newest_first_is_told_in_its_order() {
    let settings = Settings {
        event_order: EventOrder::NewestFirst,
        ..Settings::default()
    };
    let mut rig = Rig::with(settings, |_| {});
    let mut poller = poller(&rig).await;
    for n in 1..=2 {
        rig.register(n).await;
    }
    rig.pass(Duration::from_secs(20));
    read_on(&mut poller).await;
    for _ in 1..=2 {
        assert_eq!(rig.works().await, "issue");
        rig.pass(Duration::from_mins(1));
    }
    read_on(&mut poller).await;
    let query = EventQuery {
        types: Some([EventType::CredentialIssued].into()),
        oldest_first: true,
        limit: 10,
        ..EventQuery::default()
    };
    let told = rig.store().events(query).await.unwrap().into_iter();
    let mut whose: Vec<_> = told.map(|event| event.announcement.user_identity).collect();
    whose.dedup();
    assert_eq!(whose, [Some(super::person(1)), Some(super::person(2))]);
}

#[tokio::test]
async fn an_answer_that_looks_cut_is_read_again_in_halves() {
    let second = Duration::from_secs(1);
    let (_, mut whole) = busy(None, 60, second).await;
    let (calls, entries) = read_on(&mut whole).await;
    assert_eq!(calls, 1, "{entries} entries are a size like any other");
    for page in [20, 25, 50] {
        let (rig, mut poller) = busy(Some(page), 60, second).await;
        let (calls, found) = read_on(&mut poller).await;
        assert_eq!(found, entries, "nothing is left out at {page} a page");
        assert!(calls < 30, "{calls}");
        let feed = saved(&rig).await;
        assert_eq!((feed.page, feed.gaps), (Some(page), 0));
        assert_eq!(feed.cursor, rig.now());
        rig.pass(second);
        assert_eq!(read_on(&mut poller).await.1, 0);
    }
}

#[tokio::test]
async fn a_size_that_only_looks_like_a_limit_is_believed_after_a_second_look() {
    let (rig, mut poller) = busy(None, 10, Duration::from_secs(1)).await;
    let (calls, found) = read_on(&mut poller).await;
    assert_eq!(found, 20);
    assert!((3..15).contains(&calls), "{calls}");
    assert_eq!(saved(&rig).await.page, None);
}

#[tokio::test]
async fn a_moment_with_more_than_an_answer_holds_is_a_gap_and_reading_goes_on() {
    let lines = Lines::listen();
    let (mut rig, mut poller) = busy(Some(20), 30, Duration::ZERO).await;
    let (_, found) = read_on(&mut poller).await;
    assert_eq!(found, 20, "of 60");
    raises("OrigoFeedCut", &lines.told("feed.cut")[0]);
    assert!(saved(&rig).await.gaps > 0);
    assert_eq!(rig.manager.progress.get().1, saved(&rig).await.gaps);
    rig.pass(Duration::from_mins(5));
    rig.launch(99).await;
    while rig.works().await != "create_user" {}
    rig.pass(Duration::from_secs(20));
    assert_eq!(read_on(&mut poller).await.1, 2);
}

#[tokio::test]
async fn a_feed_that_was_not_read_for_long_is_read_stretch_by_stretch() {
    let mut rig = Rig::new(|_| {});
    drop(poller(&rig).await);
    for n in 1..20 {
        rig.launch(n).await;
        while rig.works().await != "create_user" {}
        rig.pass(Duration::from_hours(12));
    }
    let mut poller = poller(&rig).await;
    let before = rig.requests();
    let (calls, found) = read_on(&mut poller).await;
    assert!(found >= 38, "{found}");
    assert!((5..40).contains(&calls), "{calls} for nine days");
    assert_eq!(rig.requests() - before, usize::try_from(calls).unwrap());
    assert_eq!(rig.manager.progress.get().0, rig.now());
}

/// Places for half a minute, with the answers that came meanwhile, and the cursor once a minute.
#[tokio::test]
async fn an_idle_feed_writes_three_times_a_minute() {
    let rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    poller.turn().await.unwrap();
    let before = rig.sqlite.transactions();
    for _ in 0..120 {
        rig.pass(Duration::from_secs(5));
        assert_eq!(poller.turn().await.unwrap(), Polled::Done(0));
    }
    assert_eq!(rig.sqlite.transactions() - before, 10 * 3);
}

/// 60 calls in five minutes, and at most seven that were taken and are not used.
#[tokio::test]
async fn places_that_are_taken_ahead_leave_room() {
    let rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    for _ in 0..100 {
        poller.turn().await.unwrap();
        rig.pass(Duration::from_secs(5));
        let at = rig.engine.window_now().await.unwrap();
        let taken = rig
            .store()
            .slots(rig.manager.events.keys[0].clone(), at)
            .await
            .unwrap();
        assert!(taken.len() <= 60 + 7, "{}", taken.len());
    }
    // A pause of the service: what was taken ahead is not used long after.
    rig.pass(Duration::from_mins(1));
    let before = rig.sqlite.transactions();
    poller.turn().await.unwrap();
    assert!(rig.sqlite.transactions() > before);
}

#[tokio::test]
async fn where_there_is_no_room_for_several_one_is_taken() {
    let rig = Rig::new(|manager| manager.events = budget("events", 102, 0.95));
    let mut poller = poller(&rig).await;
    let mut read = 0;
    for _ in 0..200 {
        if let Polled::Done(_) = poller.turn().await.unwrap() {
            read += 1;
        }
        rig.pass(Duration::from_secs(1));
    }
    let at = rig.engine.window_now().await.unwrap();
    let taken = rig
        .store()
        .slots(rig.manager.events.keys[0].clone(), at)
        .await
        .unwrap();
    assert_eq!((read, taken.len()), (96, 96), "none is left, none in vain");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_asked_for_in_smaller_parts() {
    let second = Duration::from_secs(1);
    let (_, mut whole) = busy(None, 60, second).await;
    let entries = read_on(&mut whole).await.1;
    let (rig, mut poller) = busy(None, 60, second).await;
    rig.wire.largest.store(4_000, Ordering::SeqCst);
    let (calls, found) = read_on(&mut poller).await;
    assert_eq!(found, entries);
    assert!((10..100).contains(&calls), "{calls}");
    assert_eq!(saved(&rig).await.gaps, 0);
    assert_eq!(rig.manager.feed_gate.closed_until(rig.now()), None);
}

#[tokio::test]
async fn a_moment_that_is_too_large_is_left_out_and_told() {
    let (mut rig, mut poller) = busy(None, 30, Duration::ZERO).await;
    rig.wire.largest.store(4_000, Ordering::SeqCst);
    assert_eq!(read_on(&mut poller).await.1, 0);
    assert!(saved(&rig).await.gaps > 0);
    rig.pass(Duration::from_mins(5));
    rig.launch(99).await;
    while rig.works().await != "create_user" {}
    rig.pass(Duration::from_secs(20));
    assert_eq!(read_on(&mut poller).await.1, 2);
}

#[tokio::test]
async fn a_feed_that_does_not_tell_of_what_we_did_is_told_to_be_deaf_once() {
    let lines = Lines::listen();
    let mut rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    rig.wire
        .hid
        .lock()
        .unwrap()
        .faults_mut()
        .set(Fault::EventMissing, 1.0);
    for n in 1..=3 {
        rig.launch(n).await;
        while rig.works().await != "create_user" {}
        poller.turn().await.unwrap();
        assert!(lines.told("feed.deaf").is_empty(), "{n} may still be told");
        rig.pass(Duration::from_secs(301));
    }
    for _ in 0..3 {
        while let Polled::More(_) = poller.turn().await.unwrap() {}
        rig.pass(Duration::from_secs(5));
    }
    assert!(
        rig.manager.must_read_waiting(),
        "the reading plan takes over"
    );
    let told = lines.told("feed.deaf");
    assert_eq!(told.len(), 1);
    raises("OrigoFeedDeaf", &told[0]);

    rig.wire
        .hid
        .lock()
        .unwrap()
        .faults_mut()
        .set(Fault::EventMissing, 0.0);
    rig.launch(9).await;
    while rig.works().await != "create_user" {}
    rig.pass(Duration::from_secs(20));
    while let Polled::More(_) = poller.turn().await.unwrap() {}
    assert_eq!(lines.told("feed.heard").len(), 1);
    assert!(!rig.manager.must_read_waiting());
}
