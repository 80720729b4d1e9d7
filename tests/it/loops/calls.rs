//! What each story costs in calls to Mobile Identities: exactly so many, in this order, and no read that nothing asks for.

use std::time::Duration;

use origo_adapter::core::Policy;
use origo_adapter::core::effect::Effect;
use origo_adapter::core::ids::PhoneId;
use origo_adapter::core::wish::Wish;
use origo_adapter::poller::{Polled, Poller};
use origo_adapter::simulator::{Class, Fault, Settings};
use origo_adapter::worker::{Next, wake};

use super::{Rig, person};
use crate::support::scene;

/// Between two polls.
const INTERVAL: Duration = Duration::from_secs(5);

/// A daemon that lives: it polls, works and wakes, and every call is written down.
pub(super) struct Life {
    pub(super) rig: Rig,
    poller: Poller,
    calls: Vec<&'static str>,
}

impl Life {
    async fn new() -> Self {
        Self::by(scene::policy()).await
    }

    /// By another policy.
    pub(super) async fn by(policy: Policy) -> Self {
        let rig = Rig::by(policy, Settings::default(), |manager| {
            manager.sweep_share = 0.0;
        });
        let poller = super::poller::poller(&rig).await;
        Self {
            rig,
            poller,
            calls: Vec::new(),
        }
    }

    /// The calls of this time, and no others since the last.
    pub(super) async fn live(&mut self, time: Duration) -> Vec<&'static str> {
        let ends = self.rig.now().plus(time);
        while self.rig.now() < ends {
            wake(&self.rig.engine).await.unwrap();
            while let Next::Job(job) = self.rig.worker.next().await.unwrap() {
                self.calls.push(Effect::name(job.effect()));
                self.rig.perform(job).await;
            }
            self.rig.pass(INTERVAL);
            while let Polled::More(_) = self.poller.turn().await.unwrap() {}
        }
        std::mem::take(&mut self.calls)
    }

    pub(super) async fn minutes(&mut self, minutes: u64) -> Vec<&'static str> {
        self.live(Duration::from_mins(minutes)).await
    }

    pub(super) async fn wish(&self, wish: Wish) {
        self.rig.wish(1, &[wish]).await;
    }

    pub(super) async fn parent(&self, n: u8, part_number: u8) {
        self.rig.parent(1, n, part_number).await;
    }

    /// The person's next phone; HID's id of it.
    pub(super) fn redeem(&self) -> u64 {
        self.rig.redeem()
    }

    /// What HID holds for them.
    pub(super) fn keys(&self) -> usize {
        let hid = self.rig.wire.hid.lock().unwrap();
        hid.live_credentials().len()
    }

    fn breaks_next(&self, class: Class, fault: Fault) {
        let mut hid = self.rig.wire.hid.lock().unwrap();
        hid.faults_mut().next(class, fault);
    }

    /// Launched, with one parent and one phone.
    async fn enrolled() -> (Self, PhoneId) {
        let mut life = Self::new().await;
        let container = life.enroll().await;
        (life, phone(container))
    }

    /// Launches, with one parent and one phone; HID's id of it.
    pub(super) async fn enroll(&mut self) -> u64 {
        let life = self;
        life.rig.launch(1).await;
        life.parent(1, 1).await;
        assert_eq!(life.minutes(1).await, ["create_user"], "with an invitation");
        let container = life.redeem();
        assert_eq!(life.minutes(1).await, ["issue"], "and no read");
        assert_eq!(life.minutes(30).await, [""; 0], "the feed tells the rest");
        assert_eq!(life.keys(), 1);
        container
    }
}

pub(super) fn phone(container: u64) -> PhoneId {
    let container = scene::container(&container.to_string());
    PhoneId::of(scene::manager(), &container)
}

#[tokio::test]
async fn each_phone_costs_two_calls() {
    let (mut life, _) = Life::enrolled().await;
    for _ in 0..3 {
        life.wish(scene::wish_invite(false)).await;
        assert_eq!(life.minutes(1).await, ["create_invitation"]);
        life.redeem();
        assert_eq!(life.minutes(30).await, ["issue"]);
    }
}

#[tokio::test]
async fn who_has_everything_costs_nothing() {
    let (mut life, _) = Life::enrolled().await;
    assert_eq!(life.live(Duration::from_hours(48)).await, [""; 0]);
}

#[tokio::test]
async fn a_further_key_costs_a_call_and_a_shared_one_none() {
    let (mut life, _) = Life::enrolled().await;
    life.parent(2, 1).await;
    assert_eq!(life.minutes(30).await, [""; 0], "the same part number");
    life.parent(3, 2).await;
    assert_eq!(life.minutes(30).await, ["issue"]);
    life.wish(Wish::DeleteParent(scene::parent_id(1))).await;
    assert_eq!(life.minutes(30).await, [""; 0], "another wants the same");
}

#[tokio::test]
async fn a_withdrawal_is_confirmed_by_one_read() {
    let (mut life, _) = Life::enrolled().await;
    life.wish(Wish::DeleteParent(scene::parent_id(1))).await;
    assert_eq!(life.minutes(30).await, ["revoke", "read_phone"]);
    let (mut life, phone) = Life::enrolled().await;
    life.wish(Wish::DeactivatePhone(phone)).await;
    assert_eq!(life.minutes(30).await, ["delete_phone", "read_phone"]);
}

#[tokio::test]
async fn a_person_who_goes_costs_what_is_left_of_them() {
    let (mut life, _) = Life::enrolled().await;
    life.wish(Wish::DeleteIdentity).await;
    let calls = life.minutes(60).await;
    assert_eq!(calls, ["revoke", "read_phone", "delete_user", "read_user"]);
    let loaded = life.rig.store().load(person(1)).await.unwrap();
    assert_eq!(loaded, None);
}

/// The invitation that came with the lost answer is found by reading the user.
#[tokio::test]
async fn a_lost_answer_costs_the_reads_that_end_the_doubt() {
    let mut life = Life::new().await;
    life.rig.launch(1).await;
    life.parent(1, 1).await;
    life.breaks_next(Class::UserCreate, Fault::LostReply);
    let calls = life.minutes(30).await;
    assert_eq!(calls, ["create_user", "search_user", "read_user"]);
    let (mut life, _) = Life::enrolled().await;
    life.parent(2, 2).await;
    life.breaks_next(Class::Issue, Fault::LostReply);
    let calls = life.minutes(90).await;
    assert_eq!(calls, ["issue", "read_phone"], "it is there");
}

#[tokio::test]
async fn an_issue_without_effect_is_repeated_once_and_watched_after() {
    let (mut life, _) = Life::enrolled().await;
    life.parent(2, 2).await;
    life.breaks_next(Class::Issue, Fault::LostRequest);
    let calls = life.minutes(90).await;
    let reads = calls.iter().filter(|call| **call == "read_phone").count();
    let issues = calls.iter().filter(|call| **call == "issue").count();
    assert_eq!((issues, calls.len()), (2, 2 + reads), "{calls:?}");
    // Two to end the doubt, and 1, 10 and 60 minutes after the repeat.
    assert_eq!(reads, 5, "{calls:?}");
}
