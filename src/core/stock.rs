//! How many keys HID has left of each part number, and for how long that lasts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::{PartNumber, Timestamp};

/// A call for stock every half an hour is what it may cost: 48 a day.
const PAUSE: Duration = Duration::from_mins(30);
/// Recent use is that of a week.
const RECENT: Duration = Duration::from_hours(7 * 24);
/// Two readings closer than this say nothing of use.
const SHORTEST: Duration = Duration::from_hours(1);
/// Who must buy needs so long for it.
const LOW_BEFORE: Duration = Duration::from_hours(14 * 24);
/// So few are low, however slowly they go.
const FEW: i64 = 10;
/// Kept of each part number; older ones are thinned out by time.
const READINGS: usize = 340;

/// The stock of one credential manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// When it was last asked for.
    pub read_at: Option<Timestamp>,
    /// So many calls the last reading took.
    pub calls: u32,
    /// By part number.
    pub parts: BTreeMap<PartNumber, Part>,
    /// Licences that HID says are short, by name, with its word for how.
    pub licenses: BTreeMap<String, String>,
}

/// One part number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// As HID said, in the order of time.
    pub readings: Vec<(Timestamp, i64)>,
    /// It was told that there are few.
    pub told_low: bool,
}

impl Stock {
    /// When it may be read again.
    #[must_use]
    pub fn due(&self) -> Timestamp {
        let pause = PAUSE * self.calls.max(1);
        self.read_at.map_or(Timestamp(0), |at| at.plus(pause))
    }

    /// HID was asked with so many calls, and said this of each part number.
    pub fn note(&mut self, seen: &[(PartNumber, Option<i64>)], calls: u32, now: Timestamp) {
        self.read_at = Some(now);
        self.calls = calls;
        self.parts
            .retain(|part, _| seen.iter().any(|(known, _)| known == part));
        for (part, available) in seen {
            let part = self.parts.entry(part.clone()).or_default();
            if let Some(available) = available {
                part.readings.retain(|(at, _)| now.since(*at) <= RECENT);
                part.readings.push((now, *available));
                if part.readings.len() > READINGS {
                    part.readings.remove(1);
                }
            }
        }
    }
}

impl Part {
    /// How many are left, as last said.
    #[must_use]
    pub fn available(&self) -> Option<i64> {
        self.readings.last().map(|(_, available)| *available)
    }

    /// When the last one is used, if it goes on as in the last days; `None`: nothing was used, or it is unknown.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        let (first, last) = (self.readings.first()?, self.readings.last()?);
        let span = last.0.since(first.0);
        let steps = self.readings.windows(2);
        // What is bought between is no negative use.
        let used: i64 = steps.map(|pair| (pair[0].1 - pair[1].1).max(0)).sum();
        if used <= 0 || span < SHORTEST {
            return None;
        }
        let left = i128::from(last.1.max(0)) * i128::try_from(span.as_millis()).ok()?;
        let left = i64::try_from(left / i128::from(used)).unwrap_or(i64::MAX);
        Some(Timestamp(last.0.0.saturating_add(left)))
    }

    /// Somebody has to buy.
    #[must_use]
    pub fn is_low(&self) -> bool {
        let Some((at, available)) = self.readings.last() else {
            return false;
        };
        let soon = self
            .ends_at()
            .is_some_and(|end| end.since(*at) < LOW_BEFORE);
        *available <= FEW || soon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> PartNumber {
        PartNumber("MID-1".into())
    }

    fn hours(n: u64) -> Timestamp {
        Timestamp(0).plus(Duration::from_hours(n))
    }

    fn read(readings: &[(u64, i64)]) -> Part {
        let mut stock = Stock::default();
        for (at, available) in readings {
            stock.note(&[(part(), Some(*available))], 1, hours(*at));
        }
        stock.parts[&part()].clone()
    }

    #[test]
    fn it_costs_at_most_48_calls_a_day() {
        for calls in [1, 2, 5, 26] {
            let mut stock = Stock::default();
            let mut made = 0;
            let mut now = hours(1000);
            while now < hours(1024) {
                assert!(now >= stock.due());
                stock.note(&[(part(), None)], calls, now);
                made += calls;
                now = stock.due();
            }
            assert!(made <= 48 + calls, "{made} with {calls} a time");
        }
    }

    #[test]
    fn the_end_follows_from_recent_use() {
        assert_eq!(read(&[(0, 100), (10, 90)]).ends_at(), Some(hours(100)));
        assert_eq!(read(&[(0, 100), (10, 100)]).ends_at(), None);
        assert_eq!(read(&[(0, 100)]).ends_at(), None);
        // 40 were bought at 5.
        assert_eq!(
            read(&[(0, 100), (5, 140), (10, 135)]).ends_at(),
            Some(hours(280))
        );
        // What is older than a week does not count.
        let old = read(&[(0, 1000), (200, 100), (210, 90)]);
        assert_eq!(old.ends_at(), Some(hours(300)));
    }

    #[test]
    fn low_is_what_ends_within_two_weeks_or_is_nearly_gone() {
        assert!(!read(&[(0, 1000), (10, 999)]).is_low());
        assert!(read(&[(0, 1000), (10, 900)]).is_low());
        assert!(read(&[(0, 10)]).is_low());
        assert!(!read(&[(0, 11)]).is_low());
        assert!(!Part::default().is_low());
    }
}
