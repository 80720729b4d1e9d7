//! Growing waits for what is safe to repeat and not durable, such as logging in.
//!
//! Never around a call that the store must know about: those follow the durable schedule. The one
//! place that names the `backoff` crate, which is unmaintained (RUSTSEC-2025-0012), so that
//! replacing it stays an hour's work.

use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// Waits that double from a first one up to a longest one, for ever, without chance in them.
#[derive(Debug)]
pub struct Waits(ExponentialBackoff);

impl Waits {
    /// Waits from `first` to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self(
            ExponentialBackoffBuilder::new()
                .with_initial_interval(first)
                .with_multiplier(2.0)
                .with_randomization_factor(0.0)
                .with_max_interval(longest)
                .with_max_elapsed_time(None)
                .build(),
        )
    }

    /// The next wait, to the millisecond.
    pub fn grow(&mut self) -> Duration {
        let wait = self.0.next_backoff().unwrap_or(self.0.max_interval);
        Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
    }

    /// Starts again with the first wait.
    pub fn restart(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut waits = Waits::new(Duration::from_secs(5), Duration::from_mins(1));
        let seen: Vec<u64> = (0..6).map(|_| waits.grow().as_secs()).collect();
        assert_eq!(seen, [5, 10, 20, 40, 60, 60]);
        waits.restart();
        assert_eq!(waits.grow(), Duration::from_secs(5));
    }
}
