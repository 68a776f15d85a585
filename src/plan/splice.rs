//! Recordings of one stream, packet after packet, as one stream that only goes on: for watching what cannot be joined
//! by bytes while it is recorded.
//!
//! Unlike [`super::seam`] it cannot look at the end of what it joins, since that is being written. A connection that
//! reaches back brings packets that were given already: these are known by their time and hash and left out. After a
//! gap, or where an encoder began anew, it goes on at a keyframe, right after what was given last.

use std::collections::{HashSet, VecDeque};

use crate::domain::media::Packet;
use crate::domain::time::SECOND;
use crate::plan::anchor::{CLOCK_JUMP_MS, is_jump};

/// Packets of this time are remembered, milliseconds: so far a server reaches back.
const REMEMBERED_MS: i64 = 90 * SECOND;

/// A connection may begin so long before all that is remembered, where that is little. Milliseconds.
const BEFORE_MS: i64 = 20 * SECOND;

/// A packet that begins so soon after the last one is its next one. Milliseconds.
const NEXT_MS: i64 = 300;

/// What is being done with the packets that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// A segment has begun: is it known where it goes on?
    Fresh,
    /// Packets that were given already.
    Again,
    /// Whatever comes before a keyframe cannot be shown.
    Key,
    /// All of it, but nothing before this time of the segment's clock.
    Flow { from_ms: i64 },
}

/// Joins segments.
#[derive(Clone, Debug)]
pub struct Splice {
    mode: Mode,
    known: HashSet<(u32, i64, u64)>,
    order: VecDeque<(u32, i64, u64)>,
    /// Latest presentation time given, in the segment's clock.
    last_ms: Option<i64>,
    /// Added to it to get what is given.
    shift_ms: i64,
    /// End of what was given, in the clock in which it is given.
    end_ms: i64,
}

impl Default for Splice {
    fn default() -> Self {
        Self { mode: Mode::Key, known: HashSet::new(), order: VecDeque::new(), last_ms: None, shift_ms: 0, end_ms: 0 }
    }
}

impl Splice {
    /// The packets of another segment follow.
    pub fn segment(&mut self) {
        self.mode = if self.last_ms.is_some() { Mode::Fresh } else { Mode::Key };
    }

    /// Packets are left out: what follows begins anew at a keyframe.
    pub fn skip(&mut self) {
        self.mode = Mode::Key;
    }

    /// When the packet is to be shown, milliseconds from the start of what is given; `None`: it is left out. `leads`: it
    /// is of the track at whose key packets the stream may begin. `again`: by the wall, what was made at its time was
    /// given already, so that another connection of the same time does not begin there.
    pub fn take(&mut self, packet: &Packet, leads: bool, again: bool) -> Option<i64> {
        let at = packet.pts_ms;
        let id = (packet.track, at, packet.hash);
        if let (Mode::Flow { .. }, Some(last)) = (self.mode, self.last_ms)
            && is_jump(at - last)
        {
            self.mode = Mode::Key;
        }
        if let (Mode::Fresh, Some(last)) = (self.mode, self.last_ms) {
            let oldest = self.order.front().map_or(last, |(_, at, _)| *at);
            if self.known.contains(&id) {
                self.mode = Mode::Again;
            } else if (0..=NEXT_MS).contains(&(at - last)) {
                // Not a packet is missing.
                self.mode = Mode::Flow { from_ms: i64::MIN };
            } else if at < oldest && oldest - at <= BEFORE_MS && last - oldest < REMEMBERED_MS / 2 {
                // It reaches back before all that is known: what is known may follow.
                return None;
            } else if again {
                return None;
            } else {
                self.mode = Mode::Key;
            }
        }
        if let (Mode::Again, Some(last)) = (self.mode, self.last_ms) {
            // Tracks lie askew: one may come to its new packets before the other.
            if self.known.contains(&id) || at <= last - NEXT_MS * 10 {
                return None;
            }
            self.mode = if at - last <= CLOCK_JUMP_MS { Mode::Flow { from_ms: i64::MIN } } else { Mode::Key };
        }
        if self.mode == Mode::Key {
            if again || !(leads && packet.key) {
                return None;
            }
            self.shift_ms = self.end_ms - at;
            self.mode = Mode::Flow { from_ms: at };
        }
        let Mode::Flow { from_ms } = self.mode else { return None };
        // Also in the middle of a flow: a track that lags behind still brings what was given.
        if at < from_ms || !self.known.insert(id) {
            return None;
        }
        self.order.push_back(id);
        self.last_ms =
            Some(if self.shift_ms + at >= self.end_ms { at } else { self.last_ms.map_or(at, |l| l.max(at)) });
        while self.order.front().is_some_and(|(_, old, _)| (at - old).abs() > REMEMBERED_MS) {
            if let Some(old) = self.order.pop_front() {
                self.known.remove(&old);
            }
        }
        self.end_ms = self.end_ms.max(at + self.shift_ms + packet.duration_ms.max(1));
        Some((at + self.shift_ms).max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Video frames 40 ms apart, a key each second, and audio 20 ms apart, 100 ms behind.
    fn media(from_ms: i64, to_ms: i64, encoder: u64) -> Vec<Packet> {
        let mut out = Vec::new();
        for at in (from_ms..to_ms).step_by(20) {
            let hash = at.unsigned_abs() + 1_000_000 * encoder;
            if at % 40 == 0 {
                let key = at % 1000 == 0;
                out.push(Packet { track: 1, pts_ms: at, duration_ms: 40, key, size: 1, hash });
            }
            out.push(Packet { track: 2, pts_ms: at - 100, duration_ms: 20, key: true, size: 1, hash });
        }
        out
    }

    /// Times at which video frames and sounds are shown.
    fn shown(segments: &[Vec<Packet>]) -> [Vec<i64>; 2] {
        let (mut splice, mut out) = (Splice::default(), [Vec::new(), Vec::new()]);
        for segment in segments {
            splice.segment();
            for packet in segment {
                if let Some(at) = splice.take(packet, packet.track == 1, false) {
                    out[packet.track as usize - 1].push(at);
                }
            }
        }
        out
    }

    fn all(to_ms: i64, step: usize) -> Vec<i64> {
        (0..to_ms).step_by(step).collect()
    }

    #[test]
    fn what_comes_again_is_left_out() {
        // From the middle of a second; the second connection brings three seconds again, the third all.
        let segments = [media(5240, 20_000, 0), media(17_000, 30_000, 0), media(2000, 40_000, 0)];
        let [pictures, sounds] = shown(&segments);
        assert_eq!(pictures, all(34_000, 40));
        assert_eq!(sounds, all(34_000 - 100, 20));
    }

    #[test]
    fn a_connection_that_goes_on_with_the_next_packet_goes_on() {
        let [pictures, _] = shown(&[media(1000, 5200, 0), media(5200, 8000, 0)]);
        assert_eq!(pictures, all(7000, 40));
    }

    #[test]
    fn after_a_gap_and_with_another_encoder_it_goes_on_at_a_key_picture() {
        // 5200 to 9500 are missing; then an encoder that counts from 0, whose times were there before.
        let [pictures, sounds] = shown(&[media(1000, 5200, 0), media(9520, 12_000, 0), media(0, 3000, 1)]);
        // It might be the first second of the first one; at the second second it is known not to be.
        assert_eq!(pictures.len(), (4200 + 2000 + 2000) / 40);
        for track in [pictures, sounds] {
            assert!(track.windows(2).all(|w| w[0] < w[1] && w[1] - w[0] <= 200), "{track:?}");
        }
    }

    #[test]
    fn another_encoder_of_the_same_time_begins_where_the_first_one_ended() {
        let (mut splice, mut pictures) = (Splice::default(), Vec::new());
        // The second counts from elsewhere; it was opened with the first and lived longer.
        for (encoder, from, to) in [(0, 0, 20_000), (1, 100_000, 130_000)] {
            splice.segment();
            for packet in media(from, to, encoder) {
                let again = encoder == 1 && packet.pts_ms < 120_000;
                let at = splice.take(&packet, packet.track == 1, again);
                pictures.extend(at.filter(|_| packet.track == 1));
            }
        }
        assert_eq!(pictures, all(30_000, 40));
    }

    #[test]
    fn a_clock_that_is_set_inside_a_segment_goes_on() {
        let segment = [media(50_000, 55_000, 0), media(1000, 4000, 1)].concat();
        let [pictures, _] = shown(&[segment]);
        assert_eq!(pictures.len(), 8000 / 40);
        assert!(pictures.windows(2).all(|w| w[0] < w[1]), "{pictures:?}");
    }

    #[test]
    fn after_what_must_not_be_shown_it_begins_at_a_key_picture() {
        let mut splice = Splice::default();
        let given = |splice: &mut Splice, packets: &[Packet]| {
            packets.iter().filter_map(|p| splice.take(p, p.track == 1, false).map(|_| p.pts_ms)).collect::<Vec<_>>()
        };
        assert!(!given(&mut splice, &media(0, 2000, 0)).is_empty());
        splice.skip();
        assert_eq!(given(&mut splice, &media(3500, 5000, 0)).first(), Some(&4000));
    }
}
