//! Which stretch of the feed is asked for, and whether an answer has all of it.
//!
//! HID says nothing of pages or of a largest answer (origo-api.md 9.2): an answer whose size looks like a limit is not
//! believed, and its stretch is read again in halves.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::core::Timestamp;

/// The longest stretch that is asked for at once. Nobody knows how much HID gives, and an answer must fit into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach(Duration);

impl Reach {
    pub(super) const FIRST: Self = Self(Duration::from_mins(10));
    const LEAST: Duration = Duration::from_secs(10);
    const MOST: Duration = Duration::from_hours(24);
    /// With fewer entries in an answer the next stretch is longer, with more it is shorter.
    const ENOUGH: std::ops::RangeInclusive<usize> = 250..=1000;

    pub(super) fn length(self) -> Duration {
        self.0
    }

    /// After an answer with so many entries.
    pub(super) fn after(self, count: usize) -> Self {
        if Self::ENOUGH.contains(&count) {
            self
        } else if count < *Self::ENOUGH.start() {
            Self((self.0 * 2).min(Self::MOST))
        } else {
            self.halved()
        }
    }

    /// After an answer that was too much, or never came.
    pub(super) fn halved(self) -> Self {
        Self((self.0 / 2).max(Self::LEAST))
    }
}

/// One request's worth of the feed, in HID's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    /// Where the cursor stands once this and all before it was read.
    pub(super) cursor: Timestamp,
    /// It reaches up to now.
    pub(super) is_last: bool,
}

/// Shorter stretches are not halved: the ends may or may not belong to an answer, so halves must overlap.
const SHORTEST: i64 = 4;

impl Piece {
    /// Whether less of it may be answered in time.
    pub(super) fn may_be_too_much(self) -> bool {
        self.until.since(self.from) > Reach::LEAST
    }

    /// Both halves, the older one last; `None` where it is too short.
    pub(super) fn halves(self) -> Option<[Self; 2]> {
        let length = self.until.0 - self.from.0;
        let middle = self.from.0 + length / 2;
        let newer = Self {
            from: Timestamp(middle),
            ..self
        };
        let older = Self {
            until: Timestamp(middle + 1),
            cursor: Timestamp(middle),
            is_last: false,
            ..self
        };
        (length >= SHORTEST).then_some([newer, older])
    }
}

/// An answer that may be cut: what its stretch holds when it is read in smaller pieces tells.
#[derive(Debug)]
pub(super) struct Suspect {
    count: usize,
    until: Timestamp,
    found: BTreeSet<String>,
}

impl Suspect {
    pub(super) fn new(count: usize, piece: Piece) -> Self {
        Self {
            count,
            until: piece.until,
            found: BTreeSet::new(),
        }
    }

    /// A smaller piece was read in whole.
    pub(super) fn found<'a>(&mut self, ids: impl Iterator<Item = &'a str>) {
        self.found.extend(ids.map(ToOwned::to_owned));
    }

    /// With this piece its whole stretch was read: it is known now whether the answer was cut.
    pub(super) fn is_over(&self, piece: Piece) -> bool {
        piece.until == self.until
    }

    /// How many entries a cut answer has, if this was one.
    pub(super) fn page(&self) -> Option<usize> {
        (self.found.len() > self.count).then_some(self.count)
    }
}

/// An answer with so many entries may lack some; `page` is the size of a cut one, where one was seen.
pub(super) fn may_be_cut(count: usize, page: Option<usize>) -> bool {
    match page {
        Some(page) => count >= page,
        None => matches!(count, 20 | 25) || (count > 0 && count.is_multiple_of(50)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(from: i64, until: i64) -> Piece {
        Piece {
            from: Timestamp(from),
            until: Timestamp(until),
            cursor: Timestamp(until - 1),
            is_last: true,
        }
    }

    #[test]
    fn halves_leave_no_moment_out_whichever_ends_belong_to_an_answer() {
        for length in SHORTEST..40 {
            let whole = piece(100, 100 + length);
            let [newer, older] = whole.halves().unwrap();
            assert!(newer.is_last && !older.is_last);
            assert_eq!((older.from, newer.until), (whole.from, whole.until));
            assert_eq!(newer.cursor, whole.cursor);
            for at in 101..100 + length {
                let inside = |piece: Piece| piece.from.0 < at && at < piece.until.0;
                assert!(inside(newer) || inside(older), "{at} of {length}");
            }
            for half in [newer, older] {
                assert!(half.until.0 - half.from.0 < length, "it ends");
            }
            assert!(older.cursor.0 < older.until.0, "all before it was read");
        }
        assert_eq!(piece(0, 3).halves(), None);
    }

    #[test]
    fn what_smaller_pieces_hold_tells_whether_an_answer_was_cut() {
        let whole = piece(0, 100);
        let [newer, older] = whole.halves().unwrap();
        for (more, expected) in [(["a", "b"], None), (["b", "c"], Some(2))] {
            let mut suspect = Suspect::new(2, whole);
            suspect.found(["a", "b"].into_iter());
            assert!(!suspect.is_over(older));
            suspect.found(more.into_iter());
            assert!(suspect.is_over(newer));
            assert_eq!(suspect.page(), expected);
        }
    }

    #[test]
    fn a_stretch_is_as_long_as_answers_are_short() {
        let reach = |seconds| Reach(Duration::from_secs(seconds));
        for (before, count, after) in [
            (600, 0, 1200),
            (600, 249, 1200),
            (600, 250, 600),
            (600, 1000, 600),
            (600, 1001, 300),
            (50_000, 0, 86_400),
            (86_400, 0, 86_400),
            (15, 2000, 10),
            (10, 2000, 10),
        ] {
            assert_eq!(
                reach(before).after(count),
                reach(after),
                "{before}, {count}"
            );
        }
        assert_eq!(Reach::FIRST.halved().length(), Duration::from_mins(5));
        assert_eq!(reach(11).halved(), reach(10));
        assert!(!piece(0, 10_000).may_be_too_much());
        assert!(piece(0, 10_001).may_be_too_much());
    }

    #[test]
    fn sizes_that_limits_have_are_not_believed() {
        let suspicious = [20, 25, 50, 100, 250, 500, 1000];
        assert!(suspicious.iter().all(|count| may_be_cut(*count, None)));
        let fine = [0, 1, 19, 21, 30, 49, 51, 999];
        assert!(!fine.iter().any(|count| may_be_cut(*count, None)));
        assert!(may_be_cut(7, Some(7)) && may_be_cut(8, Some(7)));
        assert!(!may_be_cut(50, Some(70)));
    }
}
