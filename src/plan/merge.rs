//! Two recorders' catalogs side by side: how far their clocks are apart, and which of the other's segments
//! fill our gaps.

use std::collections::HashMap;

use crate::domain::interval::IntervalSet;
use crate::domain::media::{MediaIndex, Packet};

/// So many equal packets, of about the same difference, are needed to believe in it: some seconds of sound.
pub const ENOUGH: usize = 20;

/// Differences of packets of one pair of clocks lie this close together: anchors are exact to some tenths of
/// a second. Milliseconds.
const NEAR_MS: i64 = 750;

/// A segment that fills less than this of our gaps is not worth a copy, milliseconds: edges of the same
/// media differ by as much.
pub const WORTH_MS: i64 = 1000;

/// When packets that stand once were on the air, by our clock.
#[derive(Debug, Default)]
pub struct AirTimes {
    /// `None`: more than once, so it says nothing.
    at: HashMap<(u64, u32), Option<i64>>,
}

impl AirTimes {
    /// Adds the packets that are known of one of our segments.
    pub fn add(&mut self, index: &MediaIndex) {
        for (packet, wall) in known(index) {
            self.at
                .entry((packet.hash, packet.size))
                .and_modify(|at| {
                    // Two connections that overlap have it at the same time: that is one packet.
                    *at = at.filter(|known| (known - wall).abs() < NEAR_MS);
                })
                .or_insert(Some(wall));
        }
    }

    /// Our clock less the other's, milliseconds, each with a packet that stands once on either side.
    #[must_use]
    pub fn differences(&self, other: &MediaIndex) -> Vec<i64> {
        let mut theirs: HashMap<(u64, u32), Option<i64>> = HashMap::new();
        for (packet, wall) in known(other) {
            let seen = theirs.entry((packet.hash, packet.size)).or_insert(Some(wall));
            // Head and tail of a short segment hold the same packets.
            *seen = seen.filter(|known| *known == wall);
        }
        theirs.into_iter().filter_map(|(packet, wall)| Some(self.at.get(&packet).copied().flatten()? - wall?)).collect()
    }
}

/// Packets whose content is known, and when they were on the air.
fn known(index: &MediaIndex) -> impl Iterator<Item = (&Packet, i64)> {
    let windows = index.packet_windows.iter().flat_map(|w| &w.packets);
    index.head.iter().chain(&index.tail).chain(windows).filter_map(|p| {
        let span = index.spans.iter().find(|s| s.media_start_ms <= p.pts_ms && p.pts_ms <= s.media_end_ms)?;
        Some((p, p.pts_ms + span.offset_ms))
    })
}

/// What most of the differences say, and how many do; `None` where these are too few.
#[must_use]
pub fn agreed(mut differences: Vec<i64>) -> Option<(i64, usize)> {
    differences.sort_unstable();
    let mut best: Option<(usize, usize)> = None;
    let mut from = 0;
    for to in 0..differences.len() {
        while differences[to] - differences[from] > NEAR_MS {
            from += 1;
        }
        if best.is_none_or(|(a, b)| to - from > b - a) {
            best = Some((from, to));
        }
    }
    let (from, to) = best?;
    let packets = to - from + 1;
    (packets >= ENOUGH).then(|| (differences[from + (to - from) / 2], packets))
}

/// Which of the other's segments to take, by their place in `theirs`: those that fill most, until nothing
/// worth a copy is left. With each the milliseconds that it fills. `missing` and `theirs` are in one clock.
#[must_use]
pub fn take(missing: &IntervalSet, theirs: &[IntervalSet]) -> Vec<(usize, i64)> {
    let mut left = missing.clone();
    let mut out = Vec::new();
    loop {
        let fills = |covered: &IntervalSet| left.total_ms() - left.subtract(covered).total_ms();
        let Some((best, gain)) = theirs
            .iter()
            .enumerate()
            .map(|(n, covered)| (n, fills(covered)))
            // The first of equals.
            .max_by_key(|(n, gain)| (*gain, std::cmp::Reverse(*n)))
            .filter(|(_, gain)| *gain >= WORTH_MS)
        else {
            break;
        };
        left = left.subtract(&theirs[best]);
        out.push((best, gain));
    }
    out.sort_unstable();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::interval::Interval;
    use crate::domain::time::Ms;
    use crate::plan::media_fixtures::{Content, dump, original};

    fn set(parts: &[(i64, i64)]) -> IntervalSet {
        parts.iter().map(|(a, b)| Interval::new(Ms(a * 1000), Ms(b * 1000))).collect()
    }

    #[test]
    fn only_what_fills_gaps_is_taken_and_nothing_twice() {
        let missing = set(&[(10, 20), (50, 53), (80, 81)]);
        for (theirs, want) in [
            (vec![], vec![]),
            (vec![set(&[(0, 10)])], vec![]),
            (vec![set(&[(0, 100)])], vec![(0, 14_000)]),
            // The second has all that the first and third have.
            (vec![set(&[(0, 18)]), set(&[(5, 60)]), set(&[(49, 55)])], vec![(1, 13_000)]),
            (vec![set(&[(0, 18)]), set(&[(18, 60)])], vec![(0, 8_000), (1, 5_000)]),
            // Half a second is an edge, not a gap.
            (
                vec![set(&[(19, 20), (50, 51)]), IntervalSet::from(Interval::new(Ms(10_000), Ms(10_500)))],
                vec![(0, 2000)],
            ),
        ] {
            assert_eq!(take(&missing, &theirs), want);
        }
    }

    #[test]
    fn shared_packets_say_how_far_two_clocks_are_apart() {
        let all = original(300, Content::Unique, true);
        for apart in [0, 1_234, -7_200_000] {
            let mut heard = AirTimes::default();
            heard.add(&dump(&all, 0, 6000, false, 120, false).index);
            heard.add(&dump(&all, 5900, 9000, false, 80, false).index);
            let mut theirs = dump(&all, 4000, 12_000, false, 300, false).index;
            theirs.spans[0].offset_ms -= apart;
            let (found, packets) = agreed(heard.differences(&theirs)).expect("shared");
            assert!((found - apart).abs() <= 220, "{found} of {apart}");
            assert!(packets > 500, "{packets}");
        }
    }

    #[test]
    fn where_nothing_or_only_silence_is_shared_nothing_is_said() {
        let all = original(300, Content::Unique, true);
        let mut heard = AirTimes::default();
        heard.add(&dump(&all, 0, 3000, false, 0, false).index);
        assert_eq!(agreed(heard.differences(&dump(&all, 9000, 12_000, false, 0, false).index)), None);
        let still = original(300, Content::Still(0, 300_000), true);
        let mut heard = AirTimes::default();
        heard.add(&dump(&still, 0, 3000, false, 0, false).index);
        assert_eq!(agreed(heard.differences(&dump(&still, 0, 3000, false, 0, false).index)), None);
        assert_eq!(agreed(vec![0, 5000, 10_000]), None);
        // A jingle that is played twice does not outvote what was on the air once.
        let differences = (0..100).map(|n| n % 7).chain((0..30).map(|_| 600_000)).collect();
        assert_eq!(agreed(differences).map(|(_, packets)| packets), Some(100));
    }
}
