//! Things that last for a while, sorted so that those that touch a stretch of time are found quickly.

use super::interval::Interval;
use super::time::Ms;

/// Things with an interval each, by start. Looking up those that touch a stretch of time takes a binary search and as
/// many steps as there are things between the earliest of them and the stretch's end.
#[derive(Clone, Debug)]
pub struct Timeline<T> {
    items: Vec<(Interval, T)>,
    /// For each item the latest end among it and those before it.
    reach: Vec<Ms>,
}

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self { items: Vec::new(), reach: Vec::new() }
    }
}

impl<T> Timeline<T> {
    /// True where there is nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What begins before the end of `within` and does not end before its start, by start. What ends just when
    /// `within` begins is among it.
    pub fn touching(&self, within: Interval) -> impl Iterator<Item = &T> {
        // `reach` never falls, so everything before this place ended too early.
        let from = self.reach.partition_point(|end| *end < within.start);
        self.items
            .get(from..)
            .unwrap_or_default()
            .iter()
            .take_while(move |(at, _)| at.start < within.end)
            .filter(move |(at, _)| at.end >= within.start)
            .map(|(_, item)| item)
    }
}

impl<T> FromIterator<(Interval, T)> for Timeline<T> {
    fn from_iter<I: IntoIterator<Item = (Interval, T)>>(iter: I) -> Self {
        let mut items: Vec<_> = iter.into_iter().collect();
        // Stable: what begins at the same instant keeps its order.
        items.sort_by_key(|(at, _)| at.start);
        let mut latest = Ms(i64::MIN);
        let reach = items
            .iter()
            .map(|(at, _)| {
                latest = latest.max(at.end);
                latest
            })
            .collect();
        Self { items, reach }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_touches_is_what_a_look_at_each_finds(
            items in prop::collection::vec((0_i64..60, 0_i64..40), 0..12),
            from in -5_i64..110,
            len in 0_i64..30,
        ) {
            let all: Vec<_> = items.iter().map(|(at, len)| Interval::new(Ms(*at), Ms(at + len))).collect();
            let timeline: Timeline<usize> = all.iter().copied().enumerate().map(|(n, at)| (at, n)).collect();
            let within = Interval::new(Ms(from), Ms(from + len));
            let mut found: Vec<usize> = timeline.touching(within).copied().collect();
            prop_assert!(found.windows(2).all(|pair| all[pair[0]].start <= all[pair[1]].start), "by start");
            found.sort_unstable();
            let one_by_one = all.iter().enumerate().filter(|(_, at)| at.start < within.end && at.end >= within.start);
            prop_assert_eq!(found, one_by_one.map(|(n, _)| n).collect::<Vec<_>>());
        }
    }
}
