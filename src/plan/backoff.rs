//! When to connect again after a connection ended, and to which mirror.

/// Media that flowed for so long makes everything before it forgotten. Milliseconds.
pub const GOOD_MS: i64 = 60_000;

/// The longest delay, milliseconds.
pub const MAX_DELAY_MS: i64 = 30_000;

/// The delay of the first tries that are not at once. An outage of some seconds, as of a server that is started
/// again, shall cost no more than it lasts; two requests a second for [`QUICK_TRIES`] tries hurt nobody.
/// Milliseconds.
const QUICK_MS: i64 = 500;

/// So many tries come after [`QUICK_MS`] each; then the delay grows.
const QUICK_TRIES: u32 = 8;

/// The first of the delays that double, milliseconds.
const FIRST_DELAY_MS: i64 = 1000;

/// A connection that gave media and was cut is followed by the next so long after its own first byte. Where
/// every connection is cut after half a second, none of that may be lost, and a server that cuts each at once
/// is asked four times a second. Milliseconds.
const CUT_MS: i64 = 250;

/// So many cuts in a row are a bad network. More are a server that will have it so, and a file each: the
/// delay grows.
const CUTS: u32 = 40;

/// Media that flowed for so long ends a row of cuts. Milliseconds.
const CUT_GOOD_MS: i64 = 10_000;

/// What was tried in vain so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// Connections in a row that gave no media.
    failures: u32,
    /// Connections in a row that gave media, though not for long.
    cuts: u32,
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
    /// `media_ms`: how long it gave recognised media, `None` where it gave none (refused, a status, a page,
    /// nothing). Only those are failures. The first retry is at once, then come some after half a second
    /// each, then after 1 s, twice that, and so on up to 30 s. With several mirrors the next one is tried at
    /// once, and the delay applies after each full round.
    ///
    /// After media the retry is at once, too, unless connections are cut in their first quarter of a second.
    /// Where that goes on for dozens of connections, the delay grows as for failures; the time of media is
    /// taken off, since what is to be limited is how often a server is asked.
    ///
    /// `jitter`: from 0 to 1; up to a quarter of the delay is taken off, so that the halls of one server do not
    /// come back at the same instant.
    #[must_use]
    pub fn ended(&mut self, mirror: usize, mirrors: usize, media_ms: Option<i64>, jitter: f64) -> Retry {
        let delay = match media_ms {
            Some(media_ms) => self.cut(media_ms),
            None => self.failed(mirrors),
        };
        let shaken = (delay as f64 * 0.25 * jitter.clamp(0.0, 1.0)) as i64;
        let delay_ms = (delay - shaken - media_ms.unwrap_or(0).max(0)).max(0);
        Retry { mirror: if mirrors == 0 { 0 } else { (mirror + 1) % mirrors }, delay_ms }
    }

    fn cut(&mut self, media_ms: i64) -> i64 {
        self.failures = 0;
        if media_ms >= CUT_GOOD_MS {
            self.cuts = 0;
        }
        self.cuts = self.cuts.saturating_add(1);
        match self.cuts {
            1 => 0,
            n if n <= CUTS => CUT_MS,
            n => doubled(n - CUTS - 1),
        }
    }

    fn failed(&mut self, mirrors: usize) -> i64 {
        self.failures = self.failures.saturating_add(1);
        let round = u32::try_from(mirrors.max(1)).unwrap_or(u32::MAX);
        let step = match self.failures {
            1 => return 0,
            n if round == 1 => n - 2,
            n if n % round == 0 => n / round - 1,
            _ => return 0,
        };
        step.checked_sub(QUICK_TRIES).map_or(QUICK_MS, doubled)
    }
}

/// 1 s, 2 s, 4 s ... 30 s. Milliseconds.
pub(super) fn doubled(step: u32) -> i64 {
    FIRST_DELAY_MS.saturating_mul(1 << step.min(20)).min(MAX_DELAY_MS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delays(mirrors: usize, ends: impl IntoIterator<Item = Option<i64>>) -> Vec<(usize, i64)> {
        let mut backoff = Backoff::default();
        let mut mirror = 0;
        ends.into_iter()
            .map(|media| {
                let retry = backoff.ended(mirror, mirrors, media, 0.0);
                mirror = retry.mirror;
                (retry.mirror, retry.delay_ms)
            })
            .collect()
    }

    fn of_one(ends: impl IntoIterator<Item = Option<i64>>) -> Vec<i64> {
        delays(1, ends).into_iter().map(|(_, delay)| delay).collect()
    }

    #[test]
    fn one_stream_is_tried_at_once_then_ever_more_slowly() {
        let got = of_one([None; 16]);
        let quick = [500; 8];
        let slow = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
        assert_eq!(got, [&[0], &quick[..], &slow].concat());
    }

    #[test]
    fn mirrors_are_tried_at_once_and_the_delay_comes_after_a_round() {
        assert_eq!(delays(3, [None; 7]), [(1, 0), (2, 0), (0, 500), (1, 0), (2, 0), (0, 500), (1, 0)]);
        assert_eq!(delays(2, [None; 4]), [(1, 0), (0, 500), (1, 0), (0, 500)]);
    }

    #[test]
    fn what_gave_media_is_no_failure() {
        // Cut after half a second, for five seconds.
        assert_eq!(of_one([Some(500); 10]), [0; 10]);
        // Cut at once: four times a second, and not for ever.
        let got = of_one([Some(0); 43]);
        assert_eq!((got[0], got[1], got[39]), (0, 250, 250));
        assert_eq!(got[40..], [1000, 2000, 4000]);
        // Ten seconds of media end the row.
        let cuts = [Some(0); 50].into_iter().chain([Some(10_000), Some(0)]);
        assert_eq!(of_one(cuts)[50..], [0, 250]);
        // Between refusals it forgives them.
        assert_eq!(of_one([None, None, None, Some(3000), None, None]), [0, 500, 500, 0, 0, 500]);
        // Drops every 20 s cost nothing, however many.
        assert_eq!(of_one([Some(20_000); 100]), [0; 100]);
    }

    #[test]
    fn a_page_or_an_empty_answer_is_one() {
        assert_eq!(of_one([None, None]), [0, 500]);
    }

    #[test]
    fn a_drop_after_some_media_is_followed_at_once_however_long_the_outage_before_it() {
        let outage = [None; 20].into_iter();
        assert_eq!(of_one(outage.chain([Some(9000), None, None, Some(100)]))[20..], [0, 0, 500, 150]);
    }

    proptest! {
        #[test]
        fn no_delay_is_longer_than_the_longest_and_jitter_is_a_quarter(
            mirrors in 0_usize..5,
            ends in proptest::collection::vec(proptest::option::of(0_i64..70_000), 1..60),
            jitter in 0.0_f64..=1.0
        ) {
            let (mut plain, mut shaken, mut mirror) = (Backoff::default(), Backoff::default(), 0);
            for media in ends {
                let a = plain.ended(mirror, mirrors, media, 0.0);
                let b = shaken.ended(mirror, mirrors, media, jitter);
                prop_assert!(a.mirror < mirrors.max(1) && (0..=MAX_DELAY_MS).contains(&a.delay_ms));
                prop_assert!(b.delay_ms <= a.delay_ms && a.delay_ms - b.delay_ms <= MAX_DELAY_MS / 4);
                mirror = a.mirror;
            }
        }

        #[test]
        fn whatever_happens_a_server_is_not_asked_more_than_ten_times_a_second_for_long(
            ends in proptest::collection::vec(proptest::option::of(0_i64..200), 100..200)
        ) {
            let mut backoff = Backoff::default();
            let asked: i64 = ends.iter().map(|media| {
                backoff.ended(0, 1, *media, 0.0).delay_ms + media.unwrap_or(0)
            }).sum();
            prop_assert!(asked >= 200 * (ends.len() as i64 - 60) / 2, "{asked} ms for {} tries", ends.len());
        }
    }
}
