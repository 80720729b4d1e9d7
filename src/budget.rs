//! HID's windows for one service of one manager: what a call takes, and how much of them is ours just now.
//!
//! Imports core, store, origo, engine. Promises: the keys, limits and times of a slot are contract.md section 8's.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::core::window::{WITHDRAWAL_SHARE, places};
use crate::core::{Class, Timestamp};
use crate::engine::Engine;
use crate::origo::{Places, Service};
use crate::store::{Error, Grant, Slot, Window};

/// For so long a share stays lowered, and to this part of what it was (contract.md section 8).
const LOWERED: (Duration, f64) = (Duration::from_hours(1), 0.9);
/// However often it is lowered: probes must fit.
const LEAST_SHARE: f64 = 0.05;
/// A place could not be written down: the store may be able to soon.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// One service's windows.
#[derive(Debug)]
pub struct Budget {
    /// Keys in which each call counts: by organization, by host, or both.
    pub keys: Vec<String>,
    terms: Mutex<Terms>,
    /// Classes that may not fill the window however idle it is, and what part of our share they may.
    caps: BTreeMap<Class, f64>,
    /// When each lowering ends, by the time of windows.
    lowered: Mutex<Vec<Timestamp>>,
}

/// What is configured of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// HID's limit.
    pub requests: u32,
    /// The window's length.
    pub per: Duration,
    /// What part of the window is ours while HID does not say otherwise.
    pub share: f64,
    /// A call without an answer counts so much longer than the window.
    pub unanswered: Duration,
}

impl Budget {
    /// A budget that counts in each of `keys`.
    #[must_use]
    pub fn new(keys: Vec<String>, terms: Terms) -> Self {
        Self {
            keys,
            terms: Mutex::new(terms),
            caps: BTreeMap::new(),
            lowered: Mutex::default(),
        }
    }

    /// Counts by other terms from now on; places that are taken stay taken as long as they were to.
    pub fn renew(&self, terms: Terms) {
        *self.terms.lock().unwrap_or_else(PoisonError::into_inner) = terms;
    }

    fn terms(&self) -> Terms {
        *self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The window's length.
    #[must_use]
    pub fn per(&self) -> Duration {
        self.terms().per
    }

    /// Calls of `class` may use so much of our share, and no more.
    #[must_use]
    pub fn capped(mut self, class: Class, share: f64) -> Self {
        self.caps.insert(class, share);
        self
    }

    /// What part of the window is ours at `now`.
    #[must_use]
    pub fn share(&self, now: Timestamp) -> f64 {
        let mut lowered = self.lowered.lock().unwrap_or_else(PoisonError::into_inner);
        lowered.retain(|until| *until > now);
        let times = i32::try_from(lowered.len()).unwrap_or(i32::MAX);
        let share = self.terms().share;
        (share * LOWERED.1.powi(times)).max(LEAST_SHARE.min(share))
    }

    /// HID says that the window is full and we did not fill it: somebody else uses it too. Returns what part is ours now.
    pub fn lower(&self, now: Timestamp) -> f64 {
        let mut lowered = self.lowered.lock().unwrap_or_else(PoisonError::into_inner);
        lowered.push(now.plus(LOWERED.0));
        drop(lowered);
        self.share(now)
    }

    /// How many calls fit into the window; withdrawals may use the reserve.
    #[must_use]
    pub fn limit(&self, withdrawal: bool, now: Timestamp) -> u32 {
        let share = if withdrawal {
            WITHDRAWAL_SHARE.max(self.terms().share)
        } else {
            self.share(now)
        };
        places(self.terms().requests, share)
    }

    /// The window that calls of `class` have to themselves inside of the others, and how many fit; `None`: it has none.
    #[must_use]
    pub fn cap(&self, class: Class, now: Timestamp) -> Option<Window> {
        let share = self.caps.get(&class)?;
        Some(Window {
            key: format!("{}/{}", self.keys.first()?, class.name()),
            limit: places(self.limit(false, now), *share),
        })
    }

    /// A place for a call that starts at `at`; it counts as unanswered until it is known to be answered. A call of no class is
    /// like one that has no part in the reserve.
    #[must_use]
    pub fn slot(&self, token: Uuid, class: Option<Class>, at: Timestamp) -> Slot {
        let limit = self.limit(class == Some(Class::Withdrawal), at);
        let window = |key: &String| Window {
            key: key.clone(),
            limit,
        };
        let cap = class.and_then(|class| self.cap(class, at));
        let terms = self.terms();
        Slot {
            token,
            windows: self.keys.iter().map(window).chain(cap).collect(),
            at,
            frees_at: at.plus(terms.unanswered).plus(terms.per),
        }
    }
}

/// Gives the client places for requests that nobody else has counted: logins, and replays after a 401.
pub struct Ledger {
    /// Whose store keeps them.
    pub engine: Arc<Engine>,
    /// Logins.
    pub token: Arc<Budget>,
    /// Mobile Identities calls.
    pub mobile_identities: Arc<Budget>,
    /// Events calls.
    pub events: Arc<Budget>,
}

impl Ledger {
    async fn try_take(&self, service: Service) -> Result<Option<Duration>, Error> {
        let budget = match service {
            Service::Token => &self.token,
            Service::MobileIdentities => &self.mobile_identities,
            Service::Events => &self.events,
        };
        let now = self.engine.window_now().await?;
        let slot = budget.slot(Uuid::new_v4(), None, now);
        Ok(
            match self
                .engine
                .store()
                .take_slots(vec![slot], Vec::new())
                .await?
            {
                Grant::Taken => None,
                Grant::NotBefore(at) => Some(at.since(now)),
            },
        )
    }
}

impl Places for Ledger {
    fn take(
        &self,
        service: Service,
    ) -> Pin<Box<dyn Future<Output = Option<Duration>> + Send + '_>> {
        Box::pin(async move { self.try_take(service).await.unwrap_or(Some(STORE_PAUSE)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        let per = Duration::from_mins(5);
        let terms = Terms {
            requests: 300,
            per,
            share: 0.95,
            unanswered: Duration::from_secs(140),
        };
        Budget::new(vec!["w".to_owned()], terms)
    }

    #[test]
    fn each_lowering_takes_a_tenth_for_an_hour() {
        let budget = budget();
        assert_eq!(budget.limit(false, Timestamp(0)), 285);
        budget.lower(Timestamp(0));
        assert_eq!(budget.limit(false, Timestamp(0)), 256);
        budget.lower(Timestamp(600_000));
        assert_eq!(budget.limit(false, Timestamp(600_000)), 230);
        assert_eq!(budget.limit(false, Timestamp(3_600_000)), 256);
        assert_eq!(budget.limit(false, Timestamp(4_200_000)), 285);
    }

    #[test]
    fn withdrawals_keep_their_reserve_and_a_probe_always_fits() {
        let budget = budget();
        for _ in 0..100 {
            budget.lower(Timestamp(0));
        }
        assert_eq!(budget.limit(true, Timestamp(0)), 297);
        assert_eq!(budget.limit(false, Timestamp(0)), 15);
    }

    #[test]
    fn a_place_counts_as_unanswered_at_first() {
        let slot = budget().slot(Uuid::nil(), None, Timestamp(1_000));
        assert_eq!(slot.frees_at, Timestamp(1_000 + 140_000 + 300_000));
        assert_eq!(slot.windows[0].limit, 285);
    }

    #[test]
    fn a_capped_class_has_a_window_inside_of_the_others() {
        let budget = budget().capped(Class::Sweep, 0.1);
        for (class, limits) in [
            (Class::Sweep, vec![285, 28]),
            (Class::Issue, vec![285]),
            (Class::Withdrawal, vec![297]),
        ] {
            let slot = budget.slot(Uuid::nil(), Some(class), Timestamp(0));
            let found: Vec<u32> = slot.windows.iter().map(|window| window.limit).collect();
            assert_eq!(found, limits, "{class:?}");
        }
    }
}
