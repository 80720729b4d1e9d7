//! Time: the only place that reads a clock, and the text form of an instant.
//!
//! Imports nothing of ours. Everything else takes `now` as an argument or asks a
//! [`Clock`], so that a test can set the time. Instants are milliseconds since the epoch.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Returns the wall clock's milliseconds since the epoch; it may jump either way.
    fn now(&self) -> i64;

    /// Returns the time since boot; it never jumps and goes on while the machine is
    /// suspended or the process is stopped.
    fn boottime(&self) -> Duration;

    /// Returns what [`Clock::boottime`] counts from: another one each time that the machine boots.
    fn boot_id(&self) -> Uuid;
}

/// Tells the machine's own time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        Timestamp::now().as_millisecond()
    }

    fn boottime(&self) -> Duration {
        let spec = clock_gettime(ClockId::Boottime);
        // The kernel counts from zero and keeps the nanoseconds below a second.
        Duration::new(
            u64::try_from(spec.tv_sec).unwrap_or_default(),
            u32::try_from(spec.tv_nsec).unwrap_or_default(),
        )
    }

    fn boot_id(&self) -> Uuid {
        // Where the kernel does not tell, each process counts as a boot of its own.
        static BOOT: OnceLock<Uuid> = OnceLock::new();
        *BOOT.get_or_init(|| {
            let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
            let told = told.ok().and_then(|text| text.trim().parse().ok());
            told.unwrap_or_else(Uuid::new_v4)
        })
    }
}

/// A host's clock as moved to where several hosts agree; only whoever compares them moves it.
pub struct Agreed {
    host: Arc<dyn Clock>,
    boot_id: Uuid,
    wall: AtomicI64,
    boot: AtomicI64,
}

impl Agreed {
    /// With a host's own clock, and a name for what all count their time from.
    #[must_use]
    pub fn on(host: Arc<dyn Clock>, boot_id: Uuid) -> Self {
        Self {
            host,
            boot_id,
            wall: AtomicI64::new(0),
            boot: AtomicI64::new(0),
        }
    }

    /// What is added from now on to the host's time since boot, in milliseconds: to have the wall clock's, which so is not
    /// moved by whoever sets the host's, and the time that all count by.
    pub fn set(&self, wall: i64, boot: i64) {
        self.wall.store(wall, Ordering::Relaxed);
        self.boot.store(boot, Ordering::Relaxed);
    }
}

impl Clock for Agreed {
    fn now(&self) -> i64 {
        let boottime = i64::try_from(self.host.boottime().as_millis()).unwrap_or(i64::MAX);
        boottime.saturating_add(self.wall.load(Ordering::Relaxed))
    }

    fn boottime(&self) -> Duration {
        let boot = self.boot.load(Ordering::Relaxed);
        let moved = Duration::from_millis(boot.unsigned_abs());
        if boot < 0 {
            self.host.boottime().saturating_sub(moved)
        } else {
            self.host.boottime().saturating_add(moved)
        }
    }

    fn boot_id(&self) -> Uuid {
        self.boot_id
    }
}

/// The first instant that RFC 3339 has a text for, the beginning of the year 0.
const FIRST: i64 = -62_167_219_200_000;

/// Writes an instant as RFC 3339 in UTC with milliseconds: `2026-01-31T08:00:00.250Z`.
///
/// Instants before the year 0 or beyond the year 9999 are shown as the first or the last one that can be written.
pub fn rfc3339(ms: i64) -> String {
    let instant = Timestamp::from_millisecond(ms.max(FIRST)).unwrap_or(Timestamp::MAX);
    instant.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Reads RFC 3339 with any offset; `None` for anything else, and for years that it can't write.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let instant = text.parse::<Timestamp>().ok()?;
    Some(instant.as_millisecond()).filter(|ms| *ms >= FIRST)
}

/// Reads RFC 3339, or a date with or without a time, which is taken as UTC; `None` for anything else.
pub fn parse_date(text: &str) -> Option<i64> {
    parse_rfc3339(text).or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(zoned.timestamp().as_millisecond()).filter(|ms| *ms >= FIRST)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_with_milliseconds_in_utc() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_769_846_400_250, "2026-01-31T08:00:00.250Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-30T22:00:00.999Z"),
            (i64::MIN, "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn instants_are_read_with_any_offset() {
        for (text, ms) in [
            ("2026-01-31T08:00:00Z", Some(1_769_846_400_000)),
            ("2026-01-31T09:00:00.25+01:00", Some(1_769_846_400_250)),
            ("2026-01-31", None),
            ("-004999-01-01T00:00:00Z", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(parse_rfc3339(text), ms, "{text}");
        }
    }

    #[test]
    fn dates_are_read_as_utc() {
        for (text, ms) in [
            ("2026-01-31T09:00:00.25+01:00", Some(1_769_846_400_250)),
            ("2026-01-31T08:00:00", Some(1_769_846_400_000)),
            ("2026-01-31 08:00", Some(1_769_846_400_000)),
            ("2026-01-31", Some(1_769_817_600_000)),
            ("-004999-01-01T00:00:00Z", None),
            ("-000001-12-31", None),
            ("0000-01-01", Some(-62_167_219_200_000)),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(parse_date(text), ms, "{text}");
        }
    }

    struct Host(AtomicI64);

    impl Clock for Host {
        fn now(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }

        fn boottime(&self) -> Duration {
            Duration::from_millis(500)
        }

        fn boot_id(&self) -> Uuid {
            Uuid::nil()
        }
    }

    #[test]
    fn who_sets_a_hosts_clock_moves_nothing_that_was_agreed_on() {
        let host = Arc::new(Host(AtomicI64::new(7)));
        let agreed = Agreed::on(Arc::clone(&host) as Arc<dyn Clock>, Uuid::nil());
        agreed.set(1_000_000, 20);
        host.0.store(3_600_000, Ordering::Relaxed);
        assert_eq!(agreed.now(), 1_000_500);
        assert_eq!(agreed.boottime(), Duration::from_millis(520));
        agreed.set(1_000_000, -600);
        assert_eq!(agreed.boottime(), Duration::ZERO, "never below");
    }

    #[test]
    fn boottime_goes_forward() {
        let clock = SystemClock;
        let before = clock.boottime();
        assert!(before > Duration::ZERO);
        assert!(clock.boottime() >= before);
        assert!(clock.now() > 1_700_000_000_000);
    }

    #[test]
    fn a_boot_keeps_its_id() {
        assert_eq!(SystemClock.boot_id(), SystemClock.boot_id());
        assert!(!SystemClock.boot_id().is_nil());
    }
}
