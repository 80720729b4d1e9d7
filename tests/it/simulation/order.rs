//! Earliest due first (contract.md section 8): who came first goes first, whatever their ids.

use origo_adapter::core::ids::{IdentityId, ParentId, PartNumber};
use origo_adapter::simulator::{Device, Settings};
use origo_adapter::worker::{self, Next};
use uuid::Uuid;

use super::rules::Rules;
use super::wishes::{asked_of, identity};
use super::world::{Daemon, World};

struct Site {
    world: World,
    daemon: Daemon,
}

impl Site {
    async fn new() -> Self {
        let rules = Rules {
            clean: true,
            ..Rules::default()
        };
        let mut world = World::new(1, &rules, Settings::default());
        let daemon = world.start().await;
        Self { world, daemon }
    }

    async fn launch(&self, who: usize) {
        let parent = ParentId(Uuid::from_u128(0xbeef_0000 + who as u128));
        let part = PartNumber("MID-SUB-EXAMPLE_1".to_owned());
        let wishes = asked_of(who, 0, parent, part);
        let wish = |_: Option<&_>| Ok::<_, ()>(wishes.clone());
        let done = self.daemon.engine.wish(identity(who), "app", wish).await;
        done.unwrap();
    }

    /// Whose call goes next; it is made.
    async fn call(&mut self) -> Option<IdentityId> {
        let Next::Job(job) = self.daemon.worker.next().await.unwrap() else {
            return None;
        };
        let whose = job.identity;
        let (engine, manager) = (&self.daemon.engine, &self.daemon.manager);
        let mut ended = worker::perform(engine, manager, job).await;
        ended.settle(engine, manager).await.unwrap();
        Some(whose)
    }

    async fn calls(&mut self) -> Vec<IdentityId> {
        let mut whose = Vec::new();
        while let Some(next) = self.call().await {
            whose.push(next);
        }
        whose
    }

    fn redeem(&self, who: usize) {
        let now = self.world.clock.truth();
        let mut hid = self.world.hid.lock().unwrap();
        let name = identity(who).to_string();
        let pending = hid.pending_invitations();
        let mut theirs = pending.iter().filter(|item| item.user_external_id == name);
        let code = &theirs.next().unwrap().code;
        hid.redeem(now, code, Device::default()).unwrap();
    }

    /// A phone of theirs registers, and the feed tells of it.
    async fn register(&mut self, who: usize) {
        self.redeem(who);
        self.world.clock.advance(5_000);
        self.daemon.poller.turn().await.unwrap();
    }
}

#[tokio::test]
async fn people_are_invited_in_the_order_in_which_they_came() {
    let mut site = Site::new().await;
    for who in [2, 1, 0] {
        site.launch(who).await;
        site.world.clock.advance(60_000);
    }
    assert_eq!(site.calls().await, [2, 1, 0].map(identity));
}

#[tokio::test]
async fn phones_are_issued_to_in_the_order_in_which_they_came() {
    let mut site = Site::new().await;
    for who in [0, 1, 2] {
        site.launch(who).await;
    }
    site.calls().await;
    for who in [2, 1, 0] {
        site.register(who).await;
        site.world.clock.advance(60_000);
    }
    assert_eq!(site.calls().await, [2, 1, 0].map(identity));
}

/// What the sweep borrows of the windows must not be missing where a phone registers.
#[tokio::test]
async fn a_phone_does_not_wait_for_the_sweep() {
    let mut site = Site::new().await;
    for who in 0..320 {
        site.launch(who).await;
    }
    for _ in 0..2 {
        site.calls().await;
        site.daemon.poller.turn().await.unwrap();
        site.world.clock.advance(310_000);
    }
    site.world.clock.advance(25 * 3_600_000);
    site.daemon.poller.turn().await.unwrap();
    let swept = site.calls().await.len();
    assert!(swept > 0, "nobody was swept");
    site.register(7).await;
    assert_eq!(site.call().await, Some(identity(7)), "{swept} were swept");
}
