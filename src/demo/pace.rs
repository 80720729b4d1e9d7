//! How much faster than life the demonstration runs, and what follows from it for HID and for the daemon.

use std::time::Duration;

use crate::simulator;

/// HID counts its windows over this long.
const WINDOW: Duration = Duration::from_mins(5);
/// How long anything may take beyond what the scaled times add up to: a slow machine is no failure.
const PATIENCE: Duration = Duration::from_mins(1);
/// The daemon itself looks for a phone nobody told of no earlier, at any speed (contract.md G2).
const UNTOLD: Duration = Duration::from_mins(5);

/// Times of life, shrunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    speed: f64,
    faults: bool,
}

impl Pace {
    /// `speed` times faster than life.
    pub(super) fn new(speed: f64, faults: bool) -> Self {
        Self { speed, faults }
    }

    /// A time of life at this speed; never below `least`, never so long that it means nothing.
    fn scaled(self, life: Duration, least: Duration) -> Duration {
        let seconds = (life.as_secs_f64() / self.speed).min(86_400.0);
        Duration::from_secs_f64(seconds).max(least)
    }

    /// Between two polls of the feed.
    pub(super) fn interval(self) -> Duration {
        // The configuration allows no shorter one.
        self.scaled(Duration::from_secs(5), Duration::from_secs(1))
    }

    /// `issuance.settle_delay`.
    pub(super) fn settle_delay(self) -> Duration {
        self.scaled(Duration::from_secs(30), Duration::from_millis(300))
    }

    /// `issuance.late_effect_bound`.
    pub(super) fn late_effect_bound(self) -> Duration {
        self.scaled(Duration::from_mins(2), Duration::from_millis(1500))
    }

    /// `issuance.retry_schedule`.
    pub(super) fn retry_schedule(self) -> [Duration; 3] {
        [5, 30, 120]
            .map(|seconds| self.scaled(Duration::from_secs(seconds), Duration::from_millis(200)))
    }

    /// Length of HID's windows; whole seconds.
    pub(super) fn window(self) -> Duration {
        let window = self.scaled(WINDOW, Duration::from_secs(2));
        Duration::from_secs(window.as_secs())
    }

    /// How long HID takes to answer.
    pub(super) fn latency(self) -> Duration {
        self.scaled(Duration::from_millis(250), Duration::ZERO)
    }

    /// The longest wait for one step of the story.
    pub(super) fn bound(self) -> Duration {
        let untold = if self.faults { UNTOLD } else { Duration::ZERO };
        PATIENCE + untold + (self.late_effect_bound() + self.settle_delay()) * 10
    }

    /// HID at this speed: what its phones and its background work take, and how its windows are counted.
    pub(super) fn settings(self) -> simulator::Settings {
        let mut settings = simulator::Settings::default();
        for delay in [
            &mut settings.cancel_delay_ms,
            &mut settings.container_ready_ms,
            &mut settings.issuing_delay_ms,
            &mut settings.issue_confirm_ms,
            &mut settings.revoking_delay_ms,
            &mut settings.revoke_confirm_ms,
            &mut settings.container_delete_ms,
            &mut settings.user_delete_ms,
        ] {
            *delay = ms(self.scaled(Duration::from_millis(*delay), Duration::from_millis(1)));
        }
        let windows = &mut settings.windows;
        for window in [
            &mut windows.mobile_identities,
            &mut windows.events,
            &mut windows.token,
        ] {
            window.per_s = self.window().as_secs();
        }
        settings
    }

    /// The faults at this speed: what is late comes within the bound that the daemon is told.
    pub(super) fn faults(self) -> simulator::Faults {
        let mut faults = if self.faults {
            simulator::Faults::standard()
        } else {
            simulator::Faults::none()
        };
        faults.late_by_max_ms = ms(self.late_effect_bound()) / 2;
        faults.stale_within_ms = ms(self.settle_delay()) / 2;
        faults
    }
}

/// Whole milliseconds.
pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
