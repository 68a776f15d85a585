//! When a connection has been silent for longer than it usually is, and when a second one may be opened
//! beside it.

use super::backoff::doubled;

/// A stream is known by what it did in the last minute: so many pieces of time ...
const PIECES: usize = 12;

/// ... of so many milliseconds.
const PIECE_MS: i64 = 5000;

/// Silence is never called unusual before this time, milliseconds: a lost packet costs a few hundred.
pub const LEAST_MS: i64 = 1000;

/// A silence this many times the longest of the last minute is unusual.
const FACTOR: i64 = 2;

/// Only a stream whose bytes were seen to come for so long is known, milliseconds. Up to then its segments may
/// be of any length.
const KNOWN_AFTER_MS: i64 = 5000;

/// Of a stream that is not known, a silence of this part of the stall timeout is unusual.
const UNKNOWN_PART: i64 = 3;

/// Failed hedges older than this are forgotten, milliseconds.
const FORGET_MS: i64 = 60_000;

/// How the bytes of a stream come: the longest silences between two arrivals of the last minute. Times are
/// milliseconds of any clock that is never set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Longest silence that ended within each piece of time; the newest at `newest % PIECES`.
    longest: [u32; PIECES],
    /// Number of the newest piece.
    newest: i64,
    last: Option<i64>,
    /// How long its bytes were seen to come, over all connections.
    seen_ms: i64,
}

impl Arrivals {
    /// Records that bytes arrived at `now`, milliseconds of the monotonic clock.
    pub fn arrived(&mut self, now: i64) {
        let silence = self.last.map_or(0, |last| (now - last).max(0));
        self.last = Some(now);
        self.seen_ms = self.seen_ms.saturating_add(silence);
        let piece = now.div_euclid(PIECE_MS);
        let passed = (piece - self.newest).clamp(0, PIECES as i64);
        for n in 0..passed {
            self.longest[place(piece - n)] = 0;
        }
        self.newest = self.newest.max(piece);
        let longest = &mut self.longest[place(self.newest)];
        *longest = (*longest).max(u32::try_from(silence).unwrap_or(u32::MAX));
    }

    /// State for a new connection to the same stream: the pause between the two connections is not counted as silence.
    #[must_use]
    pub fn reconnected(mut self) -> Self {
        self.last = None;
        self
    }

    /// From so many milliseconds on, silence is unusual: twice the longest of the last minute, at least a
    /// second and at most `stall_ms`, where the connection ends anyway. HLS, of which ten seconds come at
    /// once, is so known by its own gaps.
    #[must_use]
    pub fn patience_ms(&self, stall_ms: i64) -> i64 {
        let usual = FACTOR * self.longest_ms();
        let least = if self.seen_ms >= KNOWN_AFTER_MS { LEAST_MS } else { LEAST_MS.max(stall_ms / UNKNOWN_PART) };
        usual.max(least).min(stall_ms)
    }

    /// The longest silence of the last minute that ended, milliseconds.
    #[must_use]
    pub fn longest_ms(&self) -> i64 {
        self.longest.iter().copied().max().map_or(0, i64::from)
    }
}

fn place(piece: i64) -> usize {
    usize::try_from(piece.rem_euclid(PIECES as i64)).unwrap_or(0)
}

/// How often a second connection may be opened because of silence. One that won costs nothing; after one that
/// was refused or not needed the next waits 1 s, then 2 s, and so on up to 30 s, for a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HedgeRate {
    failures: u32,
    failed_at: i64,
}

impl HedgeRate {
    /// May one be opened now? Milliseconds of the clock of [`HedgeRate::failed`].
    #[must_use]
    pub fn allows(&self, now: i64) -> bool {
        now >= self.next_at()
    }

    /// From when on one may be opened.
    #[must_use]
    pub fn next_at(&self) -> i64 {
        match self.failures {
            0 => i64::MIN,
            n => self.failed_at.saturating_add(doubled(n - 1)),
        }
    }

    /// One ended without having been of use.
    pub fn failed(&mut self, now: i64) {
        if now - self.failed_at > FORGET_MS {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.failed_at = now;
    }

    /// One took over.
    pub fn won(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Arrivals so many milliseconds apart, again and again for so long.
    fn every(gaps: &[i64], for_ms: i64) -> Arrivals {
        let mut arrivals = Arrivals::default();
        let mut now = 1_000_000;
        arrivals.arrived(now);
        for gap in gaps.iter().cycle() {
            now += gap;
            if now > 1_000_000 + for_ms {
                return arrivals;
            }
            arrivals.arrived(now);
        }
        arrivals
    }

    #[test]
    fn patience_follows_the_streams_own_habit() {
        for (gaps, for_ms, stall, want, why) in [
            (&[100][..], 60_000, 10_000, 1000, "a steady stream"),
            (&[100], 6_000, 10_000, 1000, "known after five seconds"),
            (&[100], 3_000, 10_000, 3333, "not known yet"),
            (&[100], 3_000, 1_500, 1000, "not known, and the stall timeout is short"),
            (&[700, 50, 50], 60_000, 10_000, 1400, "a low bitrate in large blocks"),
            (&[10, 10, 6000], 60_000, 30_000, 12_000, "segments of six seconds"),
            (&[10, 10, 6000], 60_000, 10_000, 10_000, "never longer than the stall timeout"),
            (&[10; 30], 200, 30_000, 10_000, "a burst is no knowledge"),
        ] {
            assert_eq!(every(gaps, for_ms).patience_ms(stall), want, "{why}");
        }
        assert_eq!(Arrivals::default().patience_ms(10_000), 3333);
    }

    #[test]
    fn a_single_silence_counts_for_a_minute() {
        let mut arrivals = every(&[100], 20_000);
        let mut now = 1_000_000 + 20_000 + 3000;
        arrivals.arrived(now);
        assert_eq!(arrivals.patience_ms(10_000), 6000);
        for _ in 0..540 {
            now += 100;
            arrivals.arrived(now);
        }
        assert_eq!(arrivals.patience_ms(10_000), 6000);
        for _ in 0..100 {
            now += 100;
            arrivals.arrived(now);
        }
        assert_eq!(arrivals.patience_ms(10_000), 1000);
    }

    #[test]
    fn the_time_between_two_connections_is_no_silence_and_what_was_learnt_stays() {
        let mut arrivals = every(&[100], 20_000).reconnected();
        arrivals.arrived(1_000_000 + 50_000);
        assert_eq!(arrivals.longest_ms(), 100);
        assert_eq!(arrivals.patience_ms(10_000), 1000);
    }

    #[test]
    fn hedges_that_are_of_no_use_become_rare() {
        let mut rate = HedgeRate::default();
        assert!(rate.allows(0) && rate.allows(-5));
        let mut now = 5000;
        for wait in [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            rate.failed(now);
            assert!(!rate.allows(now + wait - 1) && rate.allows(now + wait), "{wait}");
            now += wait;
        }
        rate.failed(now + FORGET_MS + 1);
        assert!(rate.allows(now + FORGET_MS + 1001));
        rate.won();
        assert!(rate.allows(now));
    }

    proptest! {
        #[test]
        fn patience_is_within_its_bounds_whatever_comes(
            gaps in prop::collection::vec(-500_i64..100_000, 0..200), stall in 1_i64..60_000
        ) {
            let mut arrivals = Arrivals::default();
            let mut now = 0;
            for gap in &gaps {
                now += gap;
                arrivals.arrived(now);
            }
            let patience = arrivals.patience_ms(stall);
            prop_assert!(patience <= stall && patience >= LEAST_MS.min(stall));
            let newest: i64 = gaps.last().copied().unwrap_or(0);
            if gaps.len() > 1 {
                prop_assert!(arrivals.longest_ms() >= newest.max(0) || newest > 60_000);
            }
        }
    }
}
