//! Half-open intervals and sets of them.

use super::time::Ms;

/// A half-open stretch of time, `[start, end)`. Empty where `end <= start`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    /// First instant inside.
    pub start: Ms,
    /// First instant after.
    pub end: Ms,
}

impl Interval {
    /// `[start, end)`.
    #[must_use]
    pub fn new(start: Ms, end: Ms) -> Self {
        Self { start, end }
    }

    /// True where no instant lies inside.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Length in milliseconds, 0 where empty.
    #[must_use]
    pub fn len_ms(self) -> i64 {
        self.end.since(self.start).max(0)
    }

    /// True where `at` lies inside.
    #[must_use]
    pub fn contains(self, at: Ms) -> bool {
        self.start <= at && at < self.end
    }

    /// True where the two share an instant.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        !self.intersect(other).is_empty()
    }

    /// What the two share; may be empty.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    /// The shortest interval that holds both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Longer by `before_ms` and `after_ms`: a slot with its padding is the window.
    #[must_use]
    pub fn padded(self, before_ms: i64, after_ms: i64) -> Self {
        Self { start: self.start.minus(before_ms), end: self.end.plus(after_ms) }
    }
}

/// A set of instants as sorted, disjoint, non-empty, non-touching intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntervalSet(Vec<Interval>);

impl IntervalSet {
    /// No instant at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The intervals, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Interval] {
        &self.0
    }

    /// The intervals, in order.
    pub fn iter(&self) -> impl Iterator<Item = Interval> + '_ {
        self.0.iter().copied()
    }

    /// True where no instant is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Milliseconds in the set.
    #[must_use]
    pub fn total_ms(&self) -> i64 {
        self.iter().map(Interval::len_ms).sum()
    }

    /// True where `at` is in the set.
    #[must_use]
    pub fn contains(&self, at: Ms) -> bool {
        let after = self.0.partition_point(|i| i.start <= at);
        after > 0 && self.0[after - 1].contains(at)
    }

    /// Everything in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }

    /// Everything in `self` and not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut out = Vec::with_capacity(self.0.len());
        let mut holes = other.0.as_slice();
        for piece in self.iter() {
            // A hole that ends before this piece ends before all later ones too.
            while holes.first().is_some_and(|h| h.end <= piece.start) {
                holes = &holes[1..];
            }
            let mut start = piece.start;
            for hole in holes.iter().take_while(|h| h.start < piece.end) {
                if hole.start > start {
                    out.push(Interval::new(start, hole.start));
                }
                start = start.max(hole.end);
            }
            if start < piece.end {
                out.push(Interval::new(start, piece.end));
            }
        }
        Self(out)
    }

    /// Everything in both sets.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let mut out = Vec::new();
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            let both = x.intersect(**y);
            if !both.is_empty() {
                out.push(both);
            }
            if x.end <= y.end {
                a.next();
            } else {
                b.next();
            }
        }
        Self(out)
    }

    /// The part of the set inside `window`.
    #[must_use]
    pub fn clip(&self, window: Interval) -> Self {
        // A set of a whole event is clipped to each of its talks: the first interval is searched, not walked to.
        let from = self.0.partition_point(|i| i.end <= window.start);
        let rest = self.0.get(from..).unwrap_or_default().iter();
        Self(rest.take_while(|i| i.start < window.end).map(|i| i.intersect(window)).filter(|i| !i.is_empty()).collect())
    }
}

impl From<Interval> for IntervalSet {
    fn from(interval: Interval) -> Self {
        std::iter::once(interval).collect()
    }
}

impl FromIterator<Interval> for IntervalSet {
    fn from_iter<I: IntoIterator<Item = Interval>>(iter: I) -> Self {
        let mut all: Vec<_> = iter.into_iter().filter(|i| !i.is_empty()).collect();
        all.sort_unstable();
        let mut out: Vec<Interval> = Vec::with_capacity(all.len());
        for next in all {
            match out.last_mut() {
                Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
                _ => out.push(next),
            }
        }
        Self(out)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set() -> impl Strategy<Value = IntervalSet> {
        prop::collection::vec((0_i64..60, 0_i64..12), 0..8)
            .prop_map(|pieces| pieces.into_iter().map(|(at, len)| Interval::new(Ms(at), Ms(at + len))).collect())
    }

    /// The model: every instant of the set, one by one.
    fn instants(set: &IntervalSet) -> BTreeSet<i64> {
        (-5..100).filter(|at| set.contains(Ms(*at))).collect()
    }

    fn is_normal(set: &IntervalSet) -> bool {
        set.iter().all(|i| !i.is_empty()) && set.as_slice().windows(2).all(|w| w[0].end < w[1].start)
    }

    proptest! {
        #[test]
        fn operations_agree_with_sets_of_instants(a in set(), b in set()) {
            let (x, y) = (instants(&a), instants(&b));
            let (both, either, left) = (a.intersect(&b), a.union(&b), a.subtract(&b));
            prop_assert!(is_normal(&either) && is_normal(&left));
            prop_assert_eq!(instants(&both), &x & &y);
            prop_assert_eq!(instants(&either), &x | &y);
            prop_assert_eq!(instants(&left), &x - &y);
            prop_assert_eq!(a.total_ms(), i64::try_from(x.len()).expect("small"));
            prop_assert_eq!(left.total_ms() + both.total_ms(), a.total_ms());
            for window in b.iter().chain([Interval::new(Ms(7), Ms(3))]) {
                prop_assert_eq!(a.clip(window), a.intersect(&window.into()));
            }
        }
    }
}
