//! What hints make of the polling: a feed that is read once an hour, in virtual time.

use std::time::Duration;

use origo_adapter::daemon;
use origo_adapter::lifecycle::Lifecycle;
use origo_adapter::simulator::{Class, Fault};

use super::Rig;

const HOUR: Duration = Duration::from_hours(1);
const STEP: Duration = Duration::from_millis(100);

/// A manager's loops at work.
struct AtWork {
    rig: Rig,
    lifecycle: Lifecycle,
}

impl AtWork {
    async fn start() -> Self {
        let rig = Rig::new(|manager| {
            let polling = manager.polling.as_mut().unwrap();
            polling.interval = HOUR;
            manager.sweep_share = 0.0;
        });
        let lifecycle = Lifecycle::new(Duration::from_secs(1));
        let poller = daemon::poller(&rig.engine, &rig.manager).await.unwrap();
        daemon::spawn_manager(&lifecycle, &rig.engine, &rig.manager, poller);
        let at_work = Self { rig, lifecycle };
        at_work.pass(Duration::from_secs(3), || {}).await;
        assert_eq!(at_work.polls(), 1, "at the start");
        at_work
    }

    /// Both clocks go on, and `act` at each step.
    async fn pass(&self, time: Duration, mut act: impl FnMut()) {
        for _ in 0..time.as_millis() / STEP.as_millis() {
            act();
            tokio::time::sleep(STEP).await;
            self.rig.pass(STEP);
        }
    }

    fn hint(&self) {
        self.rig.manager.hint.notify_one();
    }

    fn polls(&self) -> usize {
        let hid = self.rig.wire.hid.lock().unwrap();
        usize::try_from(hid.ledger().count(Class::EventsRead)).unwrap()
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_hints_costs_one_poll_in_two_seconds() {
    let at_work = AtWork::start().await;
    at_work
        .pass(Duration::from_mins(2), || at_work.hint())
        .await;
    let polls = at_work.polls() - 1;
    assert!((59..=61).contains(&polls), "{polls} polls in two minutes");
}

#[tokio::test(start_paused = true)]
async fn a_hint_is_heeded_at_once_and_once_more_where_nothing_was_found() {
    let at_work = AtWork::start().await;
    at_work.hint();
    at_work.pass(STEP, || {}).await;
    assert_eq!(at_work.polls(), 2);
    at_work.pass(Duration::from_secs(2), || {}).await;
    assert_eq!(at_work.polls(), 3, "what it is about may be readable now");
    at_work.pass(Duration::from_mins(20), || {}).await;
    assert_eq!(at_work.polls(), 3, "the next is in an hour");

    at_work.rig.launch(1).await;
    at_work.pass(Duration::from_secs(2), || {}).await;
    assert_eq!(
        at_work.polls(),
        3,
        "a user of ours is there, and nobody said so"
    );
    at_work.hint();
    at_work.pass(Duration::from_mins(20), || {}).await;
    assert_eq!(at_work.polls(), 4, "it was found");
    at_work.pass(HOUR, || {}).await;
    assert_eq!(at_work.polls(), 5, "the interval counts from the last poll");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_fails_does_not_wait_for_a_long_interval() {
    let at_work = AtWork::start().await;
    {
        let mut hid = at_work.rig.wire.hid.lock().unwrap();
        hid.faults_mut().next(Class::EventsRead, Fault::Http503);
    }
    at_work.hint();
    at_work.pass(Duration::from_secs(20), || {}).await;
    assert_eq!(at_work.polls(), 3, "one that failed, one that did not");
}
