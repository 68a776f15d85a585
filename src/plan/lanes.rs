//! Which mirrors each lane of a tape may use, where several are taped at the same time.

/// So many lanes a tape has: one for each mirror that is wanted, as far as there are mirrors.
#[must_use]
pub fn lanes(redundancy: u32, streams: usize) -> usize {
    (redundancy as usize).min(streams).max(1)
}

/// The mirrors of each lane, the preferred one first, as numbers in the hall's list.
///
/// Each lane has a mirror of its own, which no other lane takes: one that does not answer is asked again and
/// again, while the other lane keeps taping another. The mirrors left over are for whoever needs them first:
/// `using` says which one each lane is connected to, and what one lane uses is not offered to the others.
/// So two lanes never ask for the same stream, unless they went for it in the same moment; then the first
/// of them keeps it.
#[must_use]
pub fn share_out(streams: usize, using: &[Option<usize>]) -> Vec<Vec<usize>> {
    let lanes = using.len();
    (0..lanes)
        .map(|lane| {
            let spare = streams.saturating_sub(lanes);
            // Each begins with another spare one, so that they seldom meet.
            let spares = (0..spare).map(|n| lanes + (n + lane) % spare);
            let free = |mirror: &usize| {
                let takes = |(other, used): (usize, &Option<usize>)| {
                    other != lane && *used == Some(*mirror) && (other < lane || using[lane] != Some(*mirror))
                };
                !using.iter().enumerate().any(takes)
            };
            std::iter::once(lane).filter(|own| *own < streams).chain(spares.filter(free)).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn there_are_no_more_lanes_than_mirrors() {
        for (redundancy, streams, want) in [(1, 3, 1), (2, 3, 2), (2, 2, 2), (2, 1, 1), (2, 0, 1), (0, 2, 1)] {
            assert_eq!(lanes(redundancy, streams), want, "{redundancy} of {streams}");
        }
    }

    #[test]
    fn each_lane_has_its_own_mirror_and_the_rest_is_for_whoever_needs_it() {
        for (streams, using, want) in [
            (0, vec![None], vec![vec![]]),
            (1, vec![None], vec![vec![0]]),
            (3, vec![Some(2)], vec![vec![0, 1, 2]]),
            (2, vec![Some(0), Some(1)], vec![vec![0], vec![1]]),
            (2, vec![None, None], vec![vec![0], vec![1]]),
            (4, vec![Some(0), Some(1)], vec![vec![0, 2, 3], vec![1, 3, 2]]),
            (3, vec![Some(0), Some(2)], vec![vec![0], vec![1, 2]]),
            // Both went there: the first keeps it.
            (3, vec![Some(2), Some(2)], vec![vec![0, 2], vec![1]]),
        ] {
            assert_eq!(share_out(streams, &using), want, "{streams} {using:?}");
        }
    }

    proptest! {
        #[test]
        fn no_lane_is_offered_what_another_one_uses(streams in 2..6_usize, a in 0..6_usize, b in 0..6_usize) {
            let using = [Some(a).filter(|m| *m < streams), Some(b).filter(|m| *m < streams)];
            let lists = share_out(streams, &using);
            prop_assert!(lists.iter().all(|l| !l.is_empty()));
            for mirror in 0..streams {
                let offered = lists.iter().filter(|l| l.contains(&mirror)).count();
                let used = using.contains(&Some(mirror));
                prop_assert!(offered <= if used || mirror < 2 { 1 } else { 2 }, "{:?}", lists);
            }
        }
    }
}
