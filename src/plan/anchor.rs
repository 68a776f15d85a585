//! Media time to wall time.
//!
//! A packet cannot arrive before it was made, but it may arrive late: a server sends a backlog on connect, a network
//! pauses. So of all pairs (arrival, media time) of one clock the one with the smallest difference says best when media time
//! 0 was on the wall. The estimate is late by the smallest delay among the pairs, and never early.

use crate::domain::time::{MINUTE, Ms, SECOND};

/// A server has sent the backlog of a usual size this long after a segment's first byte: the wall time of its first packet
/// is decided then. Milliseconds.
pub const DECIDE_MS: i64 = 3 * SECOND;

/// A backlog that is still being sent this long after the first byte is waited for no longer. Milliseconds.
pub const BACKLOG_LIMIT_MS: i64 = MINUTE;

/// What a server sends a second time after a reconnect has arrived this long after the first byte. Milliseconds.
pub const REPEAT_ARRIVAL_MS: i64 = 4 * SECOND;

/// A step between two packets of one clock that is larger than this, in either direction, is another clock, not a pause.
/// Milliseconds.
pub const CLOCK_JUMP_MS: i64 = 10 * SECOND;

/// When media time 0 of one clock was, estimated from pairs of arrival and media time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    zero: Option<Ms>,
}

impl Anchor {
    /// Takes in that media up to `media_ms` had arrived at `arrival`.
    pub fn observe(&mut self, arrival: Ms, media_ms: i64) {
        let zero = arrival.minus(media_ms);
        self.zero = Some(self.zero.map_or(zero, |known| known.min(zero)));
    }

    /// Wall time of media time 0; `None` before the first pair.
    #[must_use]
    pub fn zero(self) -> Option<Ms> {
        self.zero
    }
}

/// Wall time of a segment's first packet. `opened`: when the segment's first byte arrived, which its first packet is not
/// younger than. `arrived`: pairs of an instant, and how much media (milliseconds from the first packet) had arrived by
/// then.
#[must_use]
pub fn first_packet(opened: Ms, arrived: impl IntoIterator<Item = (Ms, i64)>) -> Ms {
    let mut anchor = Anchor { zero: Some(opened) };
    for (at, media_ms) in arrived {
        anchor.observe(at, media_ms);
    }
    anchor.zero.unwrap_or(opened)
}

/// A clock that may be set: steps between packets, where a jump (see [`CLOCK_JUMP_MS`]) counts as no time, since what comes
/// after it follows right on what was before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketSteps {
    last_ms: Option<i64>,
}

impl PacketSteps {
    /// Milliseconds from the packet before to this one, whose timestamp is `pts_ms`; 0 for the first and after a jump.
    pub fn step(&mut self, pts_ms: i64) -> i64 {
        let step = pts_ms.saturating_sub(self.last_ms.unwrap_or(pts_ms));
        self.last_ms = Some(pts_ms);
        if is_jump(step) { 0 } else { step }
    }
}

/// True where two packets of one track this far apart (milliseconds) are of two clocks.
#[must_use]
pub fn is_jump(step_ms: i64) -> bool {
    step_ms.unsigned_abs() > CLOCK_JUMP_MS.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_backlog_moves_the_first_packet_before_its_arrival() {
        // A minute is sent within a second, then each second as it is made.
        let arrived = [(Ms(101_000), 60_000), (Ms(102_000), 61_000), (Ms(110_000), 62_000)];
        assert_eq!(first_packet(Ms(100_000), arrived), Ms(41_000));
        assert_eq!(first_packet(Ms(100_000), []), Ms(100_000));
    }

    #[test]
    fn a_jump_takes_no_time() {
        let mut steps = PacketSteps::default();
        let all: Vec<i64> = [1000, 1040, 1000 + 90_000, 91_040, 0, -40].map(|pts| steps.step(pts)).to_vec();
        assert_eq!(all, [0, 40, 0, 40, 0, -40]);
        assert_eq!(PacketSteps { last_ms: Some(i64::MIN) }.step(i64::MAX), 0);
    }

    proptest! {
        /// Packets of a clock that was 0 at `zero` arrive late by some delay: the estimate is late by the smallest of the
        /// delays, whatever their order and number.
        #[test]
        fn the_estimate_is_late_by_the_smallest_delay(
            zero in 0_i64..1 << 41,
            packets in prop::collection::vec((0_i64..1 << 32, 0_i64..1 << 20), 1..50),
        ) {
            let mut anchor = Anchor::default();
            prop_assert_eq!(anchor.zero(), None);
            for (media, delay) in &packets {
                anchor.observe(Ms(zero + media + delay), *media);
            }
            let smallest = packets.iter().map(|(_, delay)| *delay).min().unwrap_or_default();
            prop_assert_eq!(anchor.zero(), Some(Ms(zero + smallest)));
        }

        /// Nothing makes the first packet younger than its arrival, and more pairs make it only older.
        #[test]
        fn the_first_packet_is_never_younger_than_its_arrival(
            opened in 0_i64..1 << 41,
            arrived in prop::collection::vec((0_i64..1 << 41, 0_i64..1 << 32), 0..50),
        ) {
            let pairs = || arrived.iter().map(|(at, media)| (Ms(*at), *media));
            let all = first_packet(Ms(opened), pairs());
            prop_assert!(all <= Ms(opened));
            for n in 0..arrived.len() {
                prop_assert!(first_packet(Ms(opened), pairs().take(n)) >= all);
            }
        }

        /// Steps add up to the media's length where the clock is never set.
        #[test]
        fn steps_of_one_clock_add_up(deltas in prop::collection::vec(-CLOCK_JUMP_MS..=CLOCK_JUMP_MS, 1..50)) {
            let (mut steps, mut at, mut sum) = (PacketSteps::default(), 0, 0);
            steps.step(at);
            for delta in deltas {
                at += delta;
                sum += steps.step(at);
            }
            prop_assert_eq!(sum, at);
        }
    }
}
