//! Which stretch of the feed is asked for, by whom, and how long its places count.

use std::sync::atomic::Ordering;
use std::time::Duration;

use origo_adapter::clock::parse_rfc3339;
use origo_adapter::core::Timestamp;
use origo_adapter::poller::{Polled, Poller};
use origo_adapter::simulator::{Class, Fault, Settings};
use origo_adapter::store::sqlite::Sqlite;
use origo_adapter::store::{Feed, Options, Threads};
use origo_adapter::worker::{Ended, perform};

use super::poller::{OVERLAP, mute, poller, read_on, saved};
use super::{Line, Rig, WINDOW};
use crate::support::manager::budget;
use crate::support::scene;

const FIRST_REACH: Duration = Duration::from_mins(10);
/// For so long places are taken at once.
const AHEAD: Duration = Duration::from_secs(30);
/// So long after it was redeemed a phone is there.
const READY_IN: Duration = Duration::from_secs(1);
const SHORTLY: Duration = Duration::from_millis(500);
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
        stretches.push(asked(&rig).1.as_secs());
    }
    let half = (OVERLAP + FIRST_REACH) / 2;
    let expected = [half, half, OVERLAP + 2 * FIRST_REACH];
    assert_eq!(stretches, expected.map(|stretch| stretch.as_secs()));
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

/// At a HID that gives so much at most.
fn pages(page: Option<usize>) -> Settings {
    Settings {
        event_page: page,
        ..Settings::default()
    }
}

/// Further people, one a second, whose users and invitations the feed tells of; how many entries were new.
async fn read_of(
    rig: &mut Rig,
    poller: &mut Poller,
    people: std::ops::RangeInclusive<u8>,
) -> usize {
    launch(rig, people).await;
    read_on(poller).await.1
}

async fn launch(rig: &mut Rig, people: std::ops::RangeInclusive<u8>) {
    rig.pass(OVERLAP);
    for n in people {
        rig.launch(n).await;
        while rig.works().await != "create_user" {}
        rig.pass(Duration::from_secs(1));
    }
    rig.pass(Duration::from_secs(20));
}

async fn page(rig: &Rig) -> Option<usize> {
    saved(rig).await.page
}

#[tokio::test]
async fn a_limit_stays_known_until_an_answer_has_more() {
    let mut rig = Rig::with(pages(Some(20)), |_| {});
    let mut poller = poller(&rig).await;
    assert_eq!(read_of(&mut rig, &mut poller, 1..=15).await, 30);
    assert_eq!(page(&rig).await, Some(20));
    for calls_at_most in [30, 1] {
        rig.pass(OVERLAP);
        let (calls, found) = read_on(&mut poller).await;
        assert!(calls <= calls_at_most && found == 0, "{calls}, {found}");
    }
    assert_eq!(page(&rig).await, Some(20), "nothing is less than a limit");
    assert_eq!(read_of(&mut rig, &mut poller, 16..=25).await, 20);
    assert_eq!(page(&rig).await, Some(20), "as many as it allows");
    rig.wire.hid.lock().unwrap().set_settings(pages(None));
    assert_eq!(read_of(&mut rig, &mut poller, 26..=41).await, 32);
    assert_eq!(page(&rig).await, None);
}

/// One answer that looked cut was none; what is learnt of the next does not depend on it.
#[tokio::test]
async fn a_limit_is_learnt_whatever_looked_like_one_before() {
    for another_reads in [false, true] {
        let mut rig = Rig::with(pages(None), |_| {});
        let mut poller = poller(&rig).await;
        launch(&mut rig, 1..=10).await;
        if another_reads {
            assert_eq!(poller.turn().await.unwrap(), Polled::More(0));
            rig.pass(Duration::from_mins(1));
            read_on(&mut super::poller::poller(&rig).await).await;
            poller.go_on().await.unwrap();
        } else {
            assert_eq!(read_on(&mut poller).await.1, 20);
        }
        assert_eq!(page(&rig).await, None);
        rig.wire.hid.lock().unwrap().set_settings(pages(Some(20)));
        assert_eq!(read_of(&mut rig, &mut poller, 11..=25).await, 30);
        assert_eq!(page(&rig).await, Some(20), "another one: {another_reads}");
    }
}

/// The database is away in the middle of a stretch that is read in parts.
#[tokio::test]
async fn what_could_not_be_observed_is_read_again() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("state.db");
    let options = Options {
        threads: Threads::Caller,
    };
    let sqlite = Sqlite::open(&file, options).unwrap();
    let mut rig = Rig::on(sqlite, scene::policy(), pages(Some(20)), |_| {});
    let mut poller = poller(&rig).await;
    // The first are too old for the poll after the one that has the others.
    launch(&mut rig, 1..=8).await;
    launch(&mut rig, 9..=15).await;
    for what in ["all", "nothing yet", "the rest"] {
        assert_eq!(poller.turn().await.unwrap(), Polled::More(0), "{what}");
    }
    let aside = rusqlite::Connection::open(&file).unwrap();
    let rename = |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        aside.execute_batch(&sql).unwrap();
    };
    rename("seen_events", "elsewhere");
    poller.turn().await.unwrap_err();
    rename("elsewhere", "seen_events");
    assert_eq!(read_on(&mut poller).await.1, 30);
}

/// Person 1 and their phone are at HID, and the answer that tells of it is not written down: by a slow disk, or by another
/// daemon.
async fn unknown_yet(rig: &mut Rig) -> Ended {
    rig.launch(1).await;
    rig.parent(1, 1, 1).await;
    let job = rig.job().await;
    let created = perform(&rig.engine, &rig.manager, job).await;
    rig.redeem();
    rig.pass(READY_IN + SHORTLY);
    created
}

#[tokio::test]
async fn what_names_nobody_yet_is_looked_at_once_more() {
    let mut rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    let created = unknown_yet(&mut rig).await;
    read_on(&mut poller).await;
    created.settle(&rig.engine).await.unwrap();
    rig.pass((OVERLAP / 2).saturating_sub(2 * SHORTLY));
    read_on(&mut poller).await;
    rig.waits().await;
    rig.pass(SHORTLY);
    read_on(&mut poller).await;
    assert_eq!(rig.works().await, "issue");
}

/// Longer than polls reach back, it may be.
#[tokio::test]
async fn a_user_whose_answer_took_long_to_be_written_down_is_read() {
    let mut rig = Rig::new(|_| {});
    let created = unknown_yet(&mut rig).await;
    let slowly = Duration::from_secs(10);
    rig.pass(slowly);
    rig.set_the_clock(-10_000);
    created.settle(&rig.engine).await.unwrap();
    assert_eq!(rig.works().await, "read_user");
    assert_eq!(rig.works().await, "issue");
}

#[tokio::test]
async fn what_names_nobody_in_the_end_is_not_looked_at_any_more() {
    let mut rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    let _created = unknown_yet(&mut rig).await;
    let mut found = Vec::new();
    for _ in 0..4 {
        found.push(read_on(&mut poller).await.1);
        rig.pass(OVERLAP / 4);
    }
    assert_eq!(
        found,
        [1, 0, 3, 0],
        "who creates is told; of whom nobody knows in the end"
    );
}

#[tokio::test]
async fn a_feed_that_failed_and_then_says_too_much_is_there_again() {
    let rig = Rig::new(|_| {});
    let mut poller = poller(&rig).await;
    rig.line(Line::Down);
    for _ in 0..2 {
        assert_eq!(poller.turn().await.unwrap(), Polled::Failed);
    }
    assert!(rig.manager.feed_gate.closed_until(rig.now()).is_some());
    rig.pass(Duration::from_secs(5));
    rig.line(Line::Good);
    rig.wire.largest.store(1, Ordering::SeqCst);
    assert_eq!(poller.turn().await.unwrap(), Polled::More(0));
    assert_eq!(rig.manager.feed_gate.closed_until(rig.now()), None);
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
        assert_eq!(saved(&rig).await.deaf, is_deaf);
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
