//! When to connect again after a connection ended, and to which mirror.

/// Data that flowed for so long makes everything before it forgotten. Milliseconds.
pub const GOOD_MS: i64 = 60_000;

/// The longest delay, milliseconds.
pub const MAX_DELAY_MS: i64 = 30_000;

/// The first delay that is not zero, milliseconds.
const FIRST_DELAY_MS: i64 = 1000;

/// After so much good data the first retry is at once, whatever failed before it: a server that is asked no
/// more often than this is not bothered. Milliseconds.
const AT_ONCE_MS: i64 = 5000;

/// What was tried in vain so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    /// Good data since the count began that no delay was shortened by yet. Milliseconds.
    credit_ms: i64,
}

/// The next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Index of the stream.
    pub mirror: usize,
    /// Milliseconds from now.
    pub delay_ms: i64,
}

impl Backoff {
    /// After a connection to stream number `mirror` of `mirrors` ended without our wish.
    ///
    /// The first retry is at once, then after 1 s, twice that, and so on up to 30 s. With several mirrors
    /// the next one is tried at once, and the delay applies after each full round. A connection that gave
    /// good data for 60 s makes its end the first failure again.
    ///
    /// `good_ms`: how long the connection gave recognised media. That time is taken off this delay and the ones
    /// after it: what is to be limited is how often a server is asked, and a stream that drops every 20 s would
    /// otherwise lose 30 s of every 50. After 5 s of it the first retry is at once. `jitter`: from 0 to 1; up to a
    /// quarter of the delay is taken off, so that the halls of one server do not come back at the same instant.
    #[must_use]
    pub fn failed(&mut self, mirror: usize, mirrors: usize, good_ms: i64, jitter: f64) -> Retry {
        if good_ms >= GOOD_MS {
            *self = Self::default();
        } else {
            self.credit_ms = (self.credit_ms + good_ms.max(0)).min(GOOD_MS);
        }
        self.failures = self.failures.saturating_add(1);
        let round = u32::try_from(mirrors.max(1)).unwrap_or(u32::MAX);
        let step = match self.failures {
            1 => None,
            n if round == 1 => Some(n - 2),
            n if n % round == 0 => Some(n / round - 1),
            _ => None,
        };
        let delay = step.map_or(0, |n| FIRST_DELAY_MS.saturating_mul(1 << n.min(20)).min(MAX_DELAY_MS));
        let taken = if good_ms >= AT_ONCE_MS { delay } else { delay.min(self.credit_ms) };
        self.credit_ms = (self.credit_ms - taken).max(0);
        let delay = delay - taken;
        let jitter = (delay as f64 * 0.25 * jitter.clamp(0.0, 1.0)) as i64;
        Retry { mirror: if mirrors == 0 { 0 } else { (mirror + 1) % mirrors }, delay_ms: delay - jitter }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delays(mirrors: usize, good_ms: i64, times: usize) -> Vec<(usize, i64)> {
        let mut backoff = Backoff::default();
        let mut mirror = 0;
        (0..times)
            .map(|_| {
                let retry = backoff.failed(mirror, mirrors, good_ms, 0.0);
                mirror = retry.mirror;
                (retry.mirror, retry.delay_ms)
            })
            .collect()
    }

    #[test]
    fn one_stream_is_tried_at_once_then_ever_more_slowly() {
        let got: Vec<_> = delays(1, 0, 9).into_iter().map(|(_, d)| d).collect();
        assert_eq!(got, [0, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn mirrors_are_tried_at_once_and_the_delay_comes_after_a_round() {
        assert_eq!(delays(3, 0, 7), [(1, 0), (2, 0), (0, 1000), (1, 0), (2, 0), (0, 2000), (1, 0)]);
        assert_eq!(delays(2, 0, 4), [(1, 0), (0, 1000), (1, 0), (0, 2000)]);
    }

    #[test]
    fn good_data_is_taken_off_and_a_minute_of_it_forgets_all() {
        let got: Vec<_> = delays(1, 3000, 6).into_iter().map(|(_, d)| d).collect();
        assert_eq!(got, [0, 0, 0, 0, 0, 13_000]);
        let mut backoff = Backoff::default();
        for _ in 0..9 {
            let _ = backoff.failed(0, 1, 0, 0.0);
        }
        assert_eq!(backoff.failed(0, 1, GOOD_MS, 0.0).delay_ms, 0);
        assert_eq!(backoff.failed(0, 1, 0, 0.0).delay_ms, 1000);
    }

    #[test]
    fn a_drop_after_some_good_data_is_followed_at_once_and_the_rest_of_it_counts_for_the_next() {
        let mut backoff = Backoff::default();
        for _ in 0..9 {
            let _ = backoff.failed(0, 1, 0, 0.0);
        }
        let mut failed = |good_ms| backoff.failed(0, 1, good_ms, 0.0).delay_ms;
        assert_eq!([failed(9000), failed(0), failed(0)], [0, 30_000, 30_000]);
        assert_eq!([failed(45_000), failed(0), failed(0)], [0, 15_000, 30_000]);
        assert_eq!(failed(2000), 28_000);
    }

    proptest! {
        #[test]
        fn no_delay_is_longer_than_the_longest_and_jitter_is_a_quarter(
            mirrors in 0_usize..5, good in proptest::collection::vec(0_i64..70_000, 1..60), jitter in 0.0_f64..=1.0
        ) {
            let (mut plain, mut shaken, mut mirror) = (Backoff::default(), Backoff::default(), 0);
            for good in good {
                let a = plain.failed(mirror, mirrors, good, 0.0);
                let b = shaken.failed(mirror, mirrors, good, jitter);
                prop_assert!(a.mirror < mirrors.max(1) && (0..=MAX_DELAY_MS).contains(&a.delay_ms));
                prop_assert!(b.delay_ms <= a.delay_ms && a.delay_ms - b.delay_ms <= MAX_DELAY_MS / 4);
                mirror = a.mirror;
            }
        }
    }
}
