//! One credential manager as worker and poller share it: client, windows, gates, and what is expected of the feed.
//!
//! Imports core, store, origo, engine, the gate and the budget.

pub mod histogram;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use self::histogram::Histogram;
use crate::budget::Budget;
use crate::core::forecast::{Forecast, Room};
use crate::core::ids::AcsSystemId;
use crate::core::stock::Stock;
use crate::core::{Class, Timestamp};
use crate::engine::Engine;
pub use crate::gate::Condition;
use crate::gate::{Forbidden, Gate};
use crate::origo::Client;
use crate::store::Error;

/// What we create must appear in the feed within this (contract.md G2).
const ECHO_BOUND: Duration = Duration::from_mins(5);
/// So many misses in a row make the feed deaf (contract.md G2).
const MISSES: u32 = 3;

/// One HID organization at run time.
pub struct Manager {
    /// Ours.
    pub id: AcsSystemId,
    /// As configured; for logs.
    pub name: String,
    /// Speaks to HID.
    pub client: Client,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// Logins.
    pub token: Arc<Budget>,
    /// Mobile Identities calls.
    pub mobile_identities: Arc<Budget>,
    /// Events calls.
    pub events: Arc<Budget>,
    /// How the feed is read; `None`: it is off.
    pub polling: Option<Polling>,
    /// What part of the calls the sweep may use.
    pub sweep_share: f64,
    /// Mobile Identities.
    pub gate: Gate,
    /// The feed.
    pub feed_gate: Gate,
    /// Which calls HID forbids, each by itself.
    pub forbidden: Forbidden,
    /// Whether this daemon reads the feed and the stock.
    pub reading: Reading,
    /// How far the feed was read.
    pub progress: Progress,
    /// What is left of its part numbers.
    pub stock: Shelf,
    /// What HID has is to be taken over.
    pub adopt: tokio::sync::Notify,
    /// Somebody says that the feed has something new.
    pub hint: tokio::sync::Notify,
    /// Proof that the feed tells of what happens.
    pub echo: Echo,
    /// How long keys were owed until HID took their issue.
    pub issue_waits: Histogram,
}

/// How the feed is read.
#[derive(Clone, Copy, Debug)]
pub struct Polling {
    /// Between two polls.
    pub interval: Duration,
    /// How far before the cursor each poll reaches.
    pub overlap: Duration,
}

impl Manager {
    /// The queue and the windows of Mobile Identities as they are now.
    pub async fn forecast(&self, engine: &Engine) -> Result<Forecast, Error> {
        let (store, now) = (engine.store(), engine.now());
        let mut queue = store.queue(self.id, now).await?;
        queue.retain(|class, _| Class::CALLING.contains(class));
        if !self.must_read_waiting() {
            queue.remove(&Class::Wait);
        }
        let at = engine.window_now().await?;
        let budget = &self.mobile_identities;
        let mut windows = Vec::new();
        for key in &budget.keys {
            let slots = store.slots(key.clone(), at).await?;
            windows.push(Room {
                limit: budget.limit(false, at),
                reserve: budget.limit(true, at),
                per: budget.per(),
                frees: slots.into_iter().map(|free| free.since(at)).collect(),
            });
        }
        let mut capped = BTreeMap::new();
        for class in [Class::Wait, Class::Sweep] {
            if let Some(window) = budget.cap(class, at) {
                let slots = store.slots(window.key, at).await?;
                let frees = slots.into_iter().map(|free| free.since(at)).collect();
                capped.insert(class, Room::of(window.limit, budget.per(), frees));
            }
        }
        let closed_until = self.gate.closed_until(at);
        Ok(Forecast {
            queue,
            windows,
            capped,
            closed_for: closed_until.map_or(Duration::ZERO, |until| until.since(at)),
            sweep_share: self.sweep_share,
        })
    }

    /// Since when it refuses us for so long that it is rarely asked, by the time of windows.
    #[must_use]
    pub fn quarantined_at(&self) -> Option<Timestamp> {
        let gates = [&self.gate, &self.feed_gate];
        gates.iter().filter_map(|gate| gate.quarantined_at()).min()
    }

    /// Asks it at once, whatever it said before.
    pub async fn probe(&self) {
        self.client.forgive().await;
        self.gate.probe();
        self.feed_gate.probe();
    }

    /// Waiting users must be read: there is no feed, or it does not tell.
    #[must_use]
    pub fn must_read_waiting(&self) -> bool {
        self.polling.is_none() || self.echo.is_deaf()
    }
}

/// Of several daemons one reads a manager's feed and stock: this one, while its claim on that holds.
#[derive(Debug)]
pub struct Reading(Mutex<Duration>);

impl Default for Reading {
    /// There is no other daemon.
    fn default() -> Self {
        Self(Mutex::new(Duration::MAX))
    }
}

impl Reading {
    /// It holds until then, in boot time.
    pub fn set(&self, until: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// For how long it still holds.
    #[must_use]
    pub fn left(&self, boottime: Duration) -> Duration {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.saturating_sub(boottime)
    }

    /// It holds.
    #[must_use]
    pub fn is_ours(&self, boottime: Duration) -> bool {
        !self.left(boottime).is_zero()
    }
}

/// What is left of part numbers, for whoever asks.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<Stock>);

impl Shelf {
    /// As just read.
    pub fn set(&self, stock: Stock) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stock;
    }

    /// As last read.
    #[must_use]
    pub fn get(&self) -> Stock {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// How far a feed was read, for whoever asks.
#[derive(Debug, Default)]
pub struct Progress(Mutex<(Timestamp, u64)>);

impl Progress {
    /// All up to `cursor` was observed; so many times, entries were lost for good.
    pub fn set(&self, cursor: Timestamp, gaps: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (cursor, gaps);
    }

    /// As last set.
    #[must_use]
    pub fn get(&self) -> (Timestamp, u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What we created and the feed has yet to tell of.
#[derive(Debug, Default)]
pub struct Echo(Mutex<Expected>);

#[derive(Debug, Default)]
struct Expected {
    waiting: VecDeque<(String, Timestamp)>,
    misses: u32,
    deaf: bool,
}

/// What became of the feed's hearing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// As before.
    Same,
    /// Three echoes in a row did not come.
    Deaf,
    /// It tells again.
    Heard,
}

impl Echo {
    /// `id` was created now: the feed should tell.
    pub fn expect(&self, id: String, now: Timestamp) {
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Ten minutes of the whole window; more would prove nothing more.
        if expected.waiting.len() < 600 {
            expected.waiting.push_back((id, now.plus(ECHO_BOUND)));
        }
    }

    /// Nothing is waited for any more; the feed was last found to be `deaf`, or not.
    pub fn start_over(&self, deaf: bool) {
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *expected = Expected {
            deaf,
            ..Expected::default()
        };
    }

    /// A poll that reached up to `now` told of these.
    pub fn told<'a>(&self, ids: impl Iterator<Item = &'a str>, now: Timestamp) -> Hearing {
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = expected.deaf;
        for id in ids {
            let waiting = expected.waiting.len();
            expected.waiting.retain(|(known, _)| known != id);
            if expected.waiting.len() < waiting {
                expected.misses = 0;
                expected.deaf = false;
            }
        }
        while expected.waiting.front().is_some_and(|(_, due)| *due <= now) {
            expected.waiting.pop_front();
            expected.misses += 1;
            expected.deaf |= expected.misses >= MISSES;
        }
        match (before, expected.deaf) {
            (false, true) => Hearing::Deaf,
            (true, false) => Hearing::Heard,
            (false, false) | (true, true) => Hearing::Same,
        }
    }

    /// The feed does not tell.
    pub fn is_deaf(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).deaf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_missed_echoes_make_the_feed_deaf_and_one_heard_heals_it() {
        let echo = Echo::default();
        for (n, expected) in [(1, Hearing::Same), (2, Hearing::Same), (3, Hearing::Deaf)] {
            let now = Timestamp(n * 1_000_000);
            echo.expect(format!("user/{n}"), now);
            assert_eq!(
                echo.told(std::iter::empty(), now.plus(ECHO_BOUND)),
                expected,
                "{n}"
            );
        }
        assert!(echo.is_deaf());
        echo.expect("user/4".into(), Timestamp(9_000_000));
        assert_eq!(
            echo.told(["user/4"].into_iter(), Timestamp(9_000_001)),
            Hearing::Heard
        );
        assert!(!echo.is_deaf());
    }

    #[test]
    fn an_echo_in_time_resets_the_count() {
        let echo = Echo::default();
        for n in 1..10 {
            let now = Timestamp(n * 1_000_000);
            echo.expect("lost".into(), now);
            echo.expect("heard".into(), now);
            echo.told(["heard"].into_iter(), now);
            assert_eq!(
                echo.told(std::iter::empty(), now.plus(ECHO_BOUND)),
                Hearing::Same
            );
        }
    }
}
