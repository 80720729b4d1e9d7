//! A part number that runs out: who waits, in what order they go on, and what it costs.

use std::sync::Arc;
use std::time::Duration;

use origo_adapter::core::Effect;
use origo_adapter::core::hold::{HoldReason, HoldScope};
use origo_adapter::core::ids::{AcsUserId, PartNumber, Timestamp};
use origo_adapter::core::stock::{Part, Stock};
use origo_adapter::core::wish::Wish;
use origo_adapter::poller::{Polled, Poller};
use origo_adapter::simulator::Device;
use origo_adapter::stock::Keeper;
use origo_adapter::worker::Next;
use uuid::Uuid;

use super::Rig;
use crate::support::scene;

const PART: &str = "MID-SUB-EXAMPLE_1";

struct Shop {
    rig: Rig,
    poller: Poller,
    keeper: Keeper,
    /// When it next asks for stock.
    keeper_at: Timestamp,
    calls: Vec<&'static str>,
    /// Made while customers came.
    issues: usize,
}

impl Shop {
    async fn open(stock: u32) -> Self {
        let rig = Rig::new(|manager| manager.sweep_share = 0.0);
        let poller = super::poller::poller(&rig).await;
        let keeper = Keeper::open(Arc::clone(&rig.engine), Arc::clone(&rig.manager));
        let mut shop = Self {
            keeper: keeper.await.unwrap(),
            keeper_at: Timestamp(0),
            rig,
            poller,
            calls: Vec::new(),
            issues: 0,
        };
        shop.stock(stock);
        shop
    }

    fn stock(&mut self, left: u32) {
        let now = self.rig.clock.truth();
        let mut hid = self.rig.wire.hid.lock().unwrap();
        assert!(hid.set_stock(now, PART, Some(left)));
    }

    /// Person `n` with a phone that waits for a key of a part number.
    async fn customer(&mut self, n: u8, part_number: &str) {
        self.rig.launch(n).await;
        let mut wish = scene::wish_parent(n, 1);
        if let Wish::Parent {
            acs_user,
            part_number: asked,
            ..
        } = &mut wish
        {
            *acs_user = AcsUserId(Uuid::from_u128(0xAC00 + u128::from(n)));
            *asked = PartNumber(part_number.to_owned());
        }
        self.rig.wish(n, &[wish]).await;
        let calls = self.live(Duration::from_secs(5)).await;
        assert!(calls.contains(&"create_user"), "{calls:?}");
        self.issues += issues(&calls);
        let now = self.rig.clock.truth();
        let mut hid = self.rig.wire.hid.lock().unwrap();
        let code = hid.pending_invitations()[0].code.clone();
        hid.redeem(now, &code, Device::default()).unwrap();
    }

    /// The worker's calls of this time.
    async fn live(&mut self, time: Duration) -> Vec<&'static str> {
        let ends = self.rig.now().plus(time);
        while self.rig.now() < ends {
            self.keeper_at = self.keeper.turn().await.unwrap();
            while let Next::Job(job) = self.rig.worker.next().await.unwrap() {
                self.calls.push(Effect::name(job.effect()));
                self.rig.perform(job).await;
            }
            self.rig.pass(Duration::from_secs(5));
            while let Polled::More(_) = self.poller.turn().await.unwrap() {}
        }
        std::mem::take(&mut self.calls)
    }

    fn keys(&self) -> usize {
        self.rig.wire.hid.lock().unwrap().live_credentials().len()
    }

    async fn is_held(&self) -> bool {
        self.is_held_for(PART, HoldReason::OutOfStock).await
    }

    async fn is_held_for(&self, part: &str, reason: HoldReason) -> bool {
        let holds = self.rig.store().holds().await.unwrap();
        let scope = HoldScope::Part(scene::manager(), PartNumber(part.to_owned()));
        holds
            .iter()
            .any(|hold| hold.scope == scope && hold.reason == reason)
    }
}

fn issues(calls: &[&str]) -> usize {
    calls.iter().filter(|call| **call == "issue").count()
}

#[tokio::test]
async fn one_refusal_holds_all_and_new_stock_lets_them_go_in_order() {
    let mut shop = Shop::open(1).await;
    for n in 1..=4 {
        shop.customer(n, PART).await;
    }
    let calls = shop.live(Duration::from_mins(20)).await;
    assert_eq!(shop.keys(), 1);
    assert!(shop.is_held().await);
    // One drew the last, one learned that it was: nobody else asked.
    assert_eq!(shop.issues + issues(&calls), 2, "{calls:?}");
    // Keys of another part number go on.
    shop.customer(5, "MID-SUB-EXAMPLE_2").await;
    shop.live(Duration::from_mins(1)).await;
    assert_eq!(shop.keys(), 2);

    shop.stock(10);
    let calls = shop.live(Duration::from_hours(3)).await;
    assert_eq!(issues(&calls), 3, "{calls:?}");
    assert_eq!(shop.keys(), 5);
    assert!(!shop.is_held().await);
}

#[tokio::test]
async fn a_day_costs_at_most_48_calls_even_while_nothing_is_left() {
    let mut shop = Shop::open(0).await;
    shop.customer(1, PART).await;
    shop.live(Duration::from_hours(1)).await;
    let before = shop.rig.requests();
    let worker = shop.live(Duration::from_hours(24)).await;
    let polls = 24 * 3600 / 5;
    let stock = shop.rig.requests() - before - worker.len() - polls;
    assert!(stock <= 48, "{stock} calls for stock");
    assert_eq!(issues(&worker), 0, "HID says that nothing is left");
}

#[tokio::test]
async fn a_restart_asks_no_sooner() {
    let mut shop = Shop::open(5).await;
    shop.live(Duration::from_secs(5)).await;
    let due = shop.keeper_at;
    assert!(due > shop.rig.now());
    let keeper = Keeper::open(Arc::clone(&shop.rig.engine), Arc::clone(&shop.rig.manager));
    let before = shop.rig.requests();
    assert_eq!(keeper.await.unwrap().turn().await.unwrap(), due);
    assert_eq!(shop.rig.requests(), before);
    let stock = shop.rig.manager.stock.get();
    assert_eq!(
        stock.parts[&PartNumber(PART.to_owned())].available(),
        Some(5)
    );
    assert!(stock.parts[&PartNumber(PART.to_owned())].told_low);
}

#[tokio::test]
async fn a_part_number_that_is_not_ours_stops_its_own_keys_only() {
    let mut shop = Shop::open(9).await;
    let wrong = "MID-SUB-NOBODY";
    for n in 1..=3 {
        shop.customer(n, wrong).await;
    }
    shop.customer(4, PART).await;
    let calls = shop.live(Duration::from_hours(2)).await;
    assert!(shop.is_held_for(wrong, HoldReason::PartNumberRefused).await);
    assert_eq!(shop.keys(), 1, "another part number goes on");
    assert_eq!(
        shop.issues + issues(&calls),
        2,
        "one is refused, and nobody else asks"
    );
}

fn minute(n: u64) -> Timestamp {
    Timestamp(0).plus(Duration::from_mins(n))
}

/// So many were left at these minutes.
fn read(readings: impl IntoIterator<Item = (u64, i64)>) -> Part {
    let number = PartNumber(PART.to_owned());
    let mut stock = Stock::default();
    for (at, left) in readings {
        stock.note(&[(number.clone(), Some(left))], 1, minute(at));
    }
    stock.parts[&number].clone()
}

#[test]
fn a_part_number_that_hid_no_longer_names_is_forgotten() {
    let [kept, gone] = ["MID-1", "MID-2"].map(|number| PartNumber(number.to_owned()));
    let mut stock = Stock::default();
    stock.note(&[(kept.clone(), Some(5)), (gone, Some(5))], 2, minute(0));
    stock.note(&[(kept.clone(), Some(5))], 2, minute(60));
    assert_eq!(stock.parts.into_keys().collect::<Vec<_>>(), [kept]);
}

#[test]
fn of_many_readings_so_many_are_kept_the_first_and_the_last_among_them() {
    for (times, kept) in [(339, 339), (340, 340), (341, 340), (500, 340)] {
        let readings = read((0..times).map(|at| (at, 100))).readings;
        assert_eq!(readings.len(), kept, "of {times}");
        let ends = [&readings[0], &readings[kept - 1]].map(|(at, _)| *at);
        assert_eq!(ends, [minute(0), minute(times - 1)], "of {times}");
    }
}

#[test]
fn an_hour_is_the_least_that_tells_of_use() {
    assert_eq!(read([(0, 100), (59, 50)]).ends_at(), None);
    let end = Some(minute(100 * 60));
    assert_eq!(read([(0, 100), (60, 99)]).ends_at(), end);
}

#[test]
fn what_lasts_for_two_weeks_is_enough() {
    for (hours, low) in [(335, true), (336, false)] {
        // One an hour.
        let part = read([(0, hours + 10), (600, hours)]);
        assert_eq!(part.is_low(), low, "{hours}");
    }
}
