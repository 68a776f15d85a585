//! The clock of MPEG timestamps (ISO/IEC 13818-1, 2.4.3.7): 90 kHz, 33 bits, so that it begins anew after 26.5 hours.

/// Ticks of the clock in a second.
pub const PTS_HZ: i64 = 90_000;

/// The number of values of a timestamp of 33 bits, ticks.
pub const PTS_WRAP: i64 = 1 << 33;

/// The instant nearest to `near` at which a clock of 33 bits shows `raw`. Both in ticks; the result counts on over the
/// wrap, and is less than half a wrap away from `near`.
#[must_use]
pub fn nearest(raw: i64, near: i64) -> i64 {
    let ahead = (raw.wrapping_sub(near)).rem_euclid(PTS_WRAP);
    let step = if ahead > PTS_WRAP / 2 { ahead - PTS_WRAP } else { ahead };
    near.saturating_add(step)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clock_that_begins_anew_counts_on() {
        assert_eq!(nearest(5, PTS_WRAP - 5), PTS_WRAP + 5);
        assert_eq!(nearest(PTS_WRAP - 5, 5), -5);
        assert_eq!(nearest(7, 3 * PTS_WRAP), 3 * PTS_WRAP + 7);
    }

    proptest! {
        #[test]
        fn it_shows_the_same_and_lies_near(at in -(1_i64 << 40)..1 << 40, by in -(PTS_WRAP / 2 - 1)..PTS_WRAP / 2) {
            let there = at + by;
            prop_assert_eq!(nearest(there.rem_euclid(PTS_WRAP), at), there);
        }
    }
}
