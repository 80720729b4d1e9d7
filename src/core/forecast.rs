//! When a call that waits will be made: its place in the queue, and when HID's windows have room for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::effect::Class;
use super::ids::Timestamp;
use super::window::weight;

/// A manager's queue and windows at one moment.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// When all that waits was due, earliest first, by class.
    pub queue: BTreeMap<Class, Vec<Timestamp>>,
    /// The windows that each call counts in.
    pub windows: Vec<Room>,
    /// What some classes may use of them at most, in calls of their own.
    pub capped: BTreeMap<Class, Room>,
    /// HID is not called before so much time has passed.
    pub closed_for: Duration,
    /// What part of the calls the sweep may use.
    pub sweep_share: f64,
}

/// One window.
#[derive(Clone, Debug)]
pub struct Room {
    /// How many calls fit, withdrawals aside.
    pub limit: u32,
    /// And withdrawals with them.
    pub reserve: u32,
    /// Its length.
    pub per: Duration,
    /// After how long each place that counts now is free, soonest first.
    pub frees: Vec<Duration>,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// So many calls are made before.
    pub ahead: u64,
    /// How long it waits.
    pub wait: Duration,
}

impl Forecast {
    /// Of a call of `class` that has been due since `not_before`, or is due then. Calls that become due later and go
    /// first, and answers that are slow to come, are not foreseen.
    #[must_use]
    pub fn place(&self, class: Class, not_before: Timestamp, now: Timestamp) -> Place {
        let waiting = self.queue.get(&class).map_or(&[][..], Vec::as_slice);
        let before = waiting.partition_point(|due| *due < not_before);
        let ahead = self.ahead(class, count(before));
        let wait = self
            .wait(class, count(before), ahead)
            .max(not_before.since(now));
        Place { ahead, wait }
    }

    /// How long it takes until all that waits in `class` has been sent.
    #[must_use]
    pub fn drained(&self, class: Class) -> Duration {
        let waiting = self.queue.get(&class).map_or(0, |due| count(due.len()));
        match waiting.checked_sub(1) {
            Some(before) => self.wait(class, before, self.ahead(class, before)),
            None => Duration::ZERO,
        }
    }

    /// Withdrawals go first. The others advance in step, each by its weight, until they have nothing left: when this
    /// class has made `n` calls, another has made `n` times the ratio of their weights, or all that it had.
    fn ahead(&self, class: Class, before: u64) -> u64 {
        let withdrawals = |class: &Class| *class == Class::Withdrawal;
        let Some(own) = weight(class, self.sweep_share).filter(|_| !withdrawals(&class)) else {
            return before;
        };
        let others = self.queue.iter().filter(|(other, _)| **other != class);
        let others = others.map(|(other, due)| {
            let waiting = count(due.len());
            if withdrawals(other) {
                return waiting;
            }
            let weight = weight(*other, self.sweep_share).unwrap_or_default();
            waiting.min(whole(as_float(before) * weight / own))
        });
        before + others.sum::<u64>()
    }

    /// `before`: so many of its own class go before; `ahead`: so many of all.
    fn wait(&self, class: Class, before: u64, ahead: u64) -> Duration {
        let shared = self.windows.iter().map(|room| room.wait(class, ahead));
        let own = self.capped.get(&class).map(|room| room.wait(class, before));
        shared
            .chain(own)
            .max()
            .unwrap_or_default()
            .max(self.closed_for)
    }
}

impl Room {
    /// A window without a reserve.
    #[must_use]
    pub fn of(limit: u32, per: Duration, frees: Vec<Duration>) -> Self {
        Self {
            limit,
            reserve: limit,
            per,
            frees,
        }
    }

    /// Each place is taken again when it is free.
    fn wait(&self, class: Class, ahead: u64) -> Duration {
        let limit = if class == Class::Withdrawal {
            self.reserve
        } else {
            self.limit
        };
        let places = u64::from(limit).max(1);
        let taken = count(self.frees.len());
        // Where more is taken than fits by now, the surplus ends without making room.
        let frees = &self.frees[index(taken.saturating_sub(places))..];
        let free = places.saturating_sub(taken);
        let (rounds, place) = (ahead / places, ahead % places);
        let first = match place.checked_sub(free) {
            None => Duration::ZERO,
            Some(place) => frees.get(index(place)).copied().unwrap_or_default(),
        };
        first + self.per * u32::try_from(rounds).unwrap_or(u32::MAX)
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "queues are far below 2^52")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative, and far below 2^52"
)]
fn whole(calls: f64) -> u64 {
    calls as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER: Duration = Duration::from_mins(5);

    fn forecast(queue: &[(Class, usize)], taken: &[u64]) -> Forecast {
        let due = |count: usize| (0..count).map(|at| Timestamp(i64::try_from(at).unwrap_or(0)));
        Forecast {
            queue: queue
                .iter()
                .map(|(class, count)| (*class, due(*count).collect()))
                .collect(),
            windows: vec![Room {
                limit: 285,
                reserve: 297,
                per: PER,
                frees: taken.iter().map(|at| Duration::from_secs(*at)).collect(),
            }],
            capped: BTreeMap::from([(Class::Sweep, Room::of(28, PER, Vec::new()))]),
            closed_for: Duration::ZERO,
            sweep_share: 0.1,
        }
    }

    fn place(forecast: &Forecast, class: Class, at: i64) -> (u64, u64) {
        let place = forecast.place(class, Timestamp(at), Timestamp(1_000_000));
        (place.ahead, place.wait.as_secs())
    }

    #[test]
    fn an_empty_window_takes_its_limit_at_once_and_again_each_time_it_has_passed() {
        let forecast = forecast(&[(Class::Issue, 1000)], &[]);
        for (at, wait) in [
            (0, 0),
            (284, 0),
            (285, 300),
            (569, 300),
            (570, 600),
            (999, 900),
        ] {
            assert_eq!(
                place(&forecast, Class::Issue, at),
                (at.unsigned_abs(), wait)
            );
        }
        assert_eq!(forecast.drained(Class::Issue), 3 * PER);
        assert_eq!(forecast.drained(Class::Enroll), Duration::ZERO);
    }

    #[test]
    fn a_place_that_is_taken_is_waited_for() {
        let taken: Vec<u64> = (1..=285).collect();
        let full = forecast(&[(Class::Issue, 600), (Class::Withdrawal, 0)], &taken);
        for (at, wait) in [(0, 1), (9, 10), (284, 285), (285, 301), (570, 601)] {
            assert_eq!(place(&full, Class::Issue, at), (at.unsigned_abs(), wait));
        }
        assert_eq!(place(&full, Class::Withdrawal, 0), (0, 0), "the reserve");
        let surplus: Vec<u64> = (1..=290).collect();
        let surplus = forecast(&[(Class::Issue, 3)], &surplus);
        assert_eq!(place(&surplus, Class::Issue, 0), (0, 6), "five end before");
    }

    #[test]
    fn others_go_ahead_by_their_weight_as_long_as_they_have_something() {
        let queue = [
            (Class::Withdrawal, 3),
            (Class::Issue, 600),
            (Class::Enroll, 50),
            (Class::Sweep, 1000),
        ];
        let forecast = forecast(&queue, &[]);
        assert_eq!(place(&forecast, Class::Issue, 0).0, 3);
        assert_eq!(place(&forecast, Class::Issue, 60).0, 3 + 60 + 20 + 10);
        assert_eq!(place(&forecast, Class::Issue, 599).0, 3 + 599 + 50 + 99);
        assert_eq!(place(&forecast, Class::Enroll, 40).0, 3 + 40 + 120 + 20);
        assert_eq!(place(&forecast, Class::Withdrawal, 2).0, 2);
    }

    #[test]
    fn a_class_with_a_cap_waits_for_its_own_window() {
        let forecast = forecast(&[(Class::Sweep, 100)], &[]);
        for (at, wait) in [(27, 0), (28, 300), (56, 600)] {
            assert_eq!(place(&forecast, Class::Sweep, at).1, wait);
        }
    }

    #[test]
    fn what_is_not_due_yet_waits_until_then_and_nobody_goes_while_hid_is_paused() {
        let mut forecast = forecast(&[(Class::Issue, 5)], &[]);
        assert_eq!(place(&forecast, Class::Issue, 1_060_000), (5, 60));
        forecast.closed_for = Duration::from_mins(2);
        assert_eq!(place(&forecast, Class::Issue, 0), (0, 120));
    }
}
