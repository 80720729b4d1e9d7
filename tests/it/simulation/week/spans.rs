//! Stretches of time, as sets.

/// Disjoint stretches in order, each from its start up to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans {
    spans: Vec<(i64, i64)>,
    /// How long all before each are together.
    before: Vec<i64>,
}

impl Spans {
    pub(super) fn of(mut spans: Vec<(i64, i64)>) -> Self {
        spans.retain(|(from, to)| from < to);
        spans.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::new();
        for (from, to) in spans {
            match joined.last_mut() {
                Some(last) if last.1 >= from => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        let mut sum = 0;
        let before = joined.iter().map(|(from, to)| {
            sum += to - from;
            sum - (to - from)
        });
        Self {
            before: before.collect(),
            spans: joined,
        }
    }

    /// Where at least `many` of the stretches given overlap.
    pub(super) fn where_overlap(stretches: impl Iterator<Item = (i64, i64)>, many: usize) -> Self {
        let mut steps: Vec<(i64, i64)> = stretches
            .flat_map(|(from, to)| [(from, 1), (to, -1)])
            .collect();
        steps.sort_unstable();
        let many = i64::try_from(many).unwrap();
        let (mut depth, mut since, mut spans) = (0, 0, Vec::new());
        for (at, step) in steps {
            if step == 1 && depth + 1 == many {
                since = at;
            } else if step == -1 && depth == many {
                spans.push((since, at));
            }
            depth += step;
        }
        Self::of(spans)
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        let both = self.spans.iter().chain(&other.spans).copied();
        Self::of(both.collect())
    }

    pub(super) fn only_in(&self, other: &Self) -> Self {
        let both = self.spans.iter().chain(&other.spans).copied();
        Self::where_overlap(both, 2)
    }

    /// How long of the time before `at` is in it.
    fn up_to(&self, at: i64) -> i64 {
        let begun = self.spans.partition_point(|(from, _)| *from < at);
        begun.checked_sub(1).map_or(0, |last| {
            let (from, to) = self.spans[last];
            self.before[last] + to.min(at) - from
        })
    }

    /// How long of that time is in it.
    pub(super) fn within(&self, from: i64, to: i64) -> i64 {
        self.up_to(to.max(from)) - self.up_to(from)
    }

    pub(super) fn contains(&self, at: i64) -> bool {
        self.within(at, at + 1) > 0
    }

    /// The end of the stretch that `at` is in, or `at`.
    pub(super) fn end_of(&self, at: i64) -> i64 {
        let begun = self.spans.partition_point(|(from, _)| *from <= at);
        let last = begun.checked_sub(1).map(|last| self.spans[last].1);
        last.map_or(at, |to| to.max(at))
    }

    pub(super) fn total(&self) -> i64 {
        self.up_to(i64::MAX)
    }
}

#[test]
fn spans_are_sets_of_time() {
    let spans = Spans::of(vec![(10, 20), (15, 30), (40, 50), (7, 7)]);
    assert_eq!(spans.total(), 30);
    assert_eq!(spans.within(12, 45), 23);
    assert_eq!(spans.within(30, 40), 0);
    assert!(spans.contains(10) && !spans.contains(30));
    assert_eq!(
        [spans.end_of(12), spans.end_of(30), spans.end_of(5)],
        [30, 30, 5]
    );
    let deep = Spans::where_overlap([(0, 10), (5, 15), (8, 20)].into_iter(), 2);
    assert_eq!((deep.total(), deep.within(5, 15)), (10, 10));
    let both = deep.only_in(&spans);
    assert_eq!((both.total(), both.within(10, 15)), (5, 5));
    assert_eq!(deep.and(&spans).total(), 35);
}
