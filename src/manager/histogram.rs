//! How long something took, as Prometheus counts it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds, in seconds.
pub const BOUNDS: [u64; 11] = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

/// Counts of times, each in the first bound that holds it.
#[derive(Debug, Default)]
pub struct Histogram {
    within: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    sum_ms: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How many took at most the bound of the same place.
    pub within: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// Of all of them.
    pub sum: Duration,
}

impl Histogram {
    /// One more.
    pub fn note(&self, took: Duration) {
        let bound = BOUNDS
            .iter()
            .position(|bound| took <= Duration::from_secs(*bound));
        let counter = bound.map_or(&self.beyond, |bound| &self.within[bound]);
        counter.fetch_add(1, Ordering::Relaxed);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.sum_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// As it stands.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let mut count = 0;
        let within = self.within.each_ref().map(|counter| {
            count += counter.load(Ordering::Relaxed);
            count
        });
        Counted {
            within,
            count: count + self.beyond.load(Ordering::Relaxed),
            sum: Duration::from_millis(self.sum_ms.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_every_bound_that_holds_it() {
        let histogram = Histogram::default();
        for ms in [0, 1000, 1001, 3_600_000, 3_600_001] {
            histogram.note(Duration::from_millis(ms));
        }
        let counted = histogram.counted();
        assert_eq!(counted.within, [2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!(counted.count, 5);
        assert_eq!(counted.sum, Duration::from_millis(7_202_002));
    }
}
