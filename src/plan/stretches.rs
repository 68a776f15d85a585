//! Where one track has media, as its packets say.

use crate::domain::media::{Packet, TrackKind, TrackStretch};

/// A hole shorter than this between two packets is none: encoders jitter, and containers round.
const HOLE_MS: i64 = 250;

/// A video frame stands until the next one, so a pause of up to so many usual distances is a slow stream, not a hole.
const SLOW_FRAMES: i64 = 3;

/// Gathers the packets of one track, in file order. Video packets come in decoding order, which is not the order of their
/// times.
#[derive(Clone, Debug, Default)]
pub struct TrackStretches {
    /// Stretches that no packet is known to lie between: start, end, first keyframe.
    found: Vec<(i64, i64, Option<i64>)>,
    /// Presentation times of its first packets.
    times: Vec<i64>,
}

/// So many packets tell how far apart they usually are.
const SAMPLE: usize = 500;

impl TrackStretches {
    /// Adds a packet.
    pub fn add(&mut self, packet: Packet) {
        let (start, end) = (packet.pts_ms, packet.pts_ms.saturating_add(packet.duration_ms.max(0)));
        let keyframe = packet.key.then_some(start);
        if self.times.len() < SAMPLE {
            self.times.push(start);
        }
        match self.found.last_mut() {
            Some(last) if start <= last.1.saturating_add(HOLE_MS) && end >= last.0.saturating_sub(HOLE_MS) => {
                last.0 = last.0.min(start);
                last.1 = last.1.max(end);
                last.2 = earliest(last.2, keyframe);
            }
            _ => self.found.push((start, end, keyframe)),
        }
    }

    /// So much of each hundred distances between packets is no longer than this, milliseconds; 0 where there are not two.
    fn step_ms(&self, percent: usize) -> i64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        let mut steps: Vec<i64> = times.windows(2).map(|w| w[1] - w[0]).filter(|step| *step > 0).collect();
        steps.sort_unstable();
        steps.get(steps.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    }

    /// The stretches, by time.
    #[must_use]
    pub fn finish(&self, track: u32, kind: TrackKind) -> Vec<TrackStretch> {
        let packet_ms = self.step_ms(50);
        // Of a screen that is shown, frames come when something changes: long pauses are usual there.
        let hole_ms = if kind == TrackKind::Video { HOLE_MS.max(SLOW_FRAMES * self.step_ms(95)) } else { HOLE_MS };
        let mut sorted = self.found.clone();
        sorted.sort_unstable();
        let mut out: Vec<TrackStretch> = Vec::new();
        for (start, end, keyframe) in sorted {
            // Where packets state no length, the last one lasts as long as usual.
            let end_ms = if end == start { end.saturating_add(packet_ms) } else { end };
            let keyframe_ms = keyframe.filter(|_| kind == TrackKind::Video);
            match out.last_mut() {
                Some(last) if start <= last.end_ms.saturating_add(hole_ms) => {
                    last.end_ms = last.end_ms.max(end_ms);
                    last.keyframe_ms = earliest(last.keyframe_ms, keyframe_ms);
                }
                _ => out.push(TrackStretch { track, kind, start_ms: start, end_ms, keyframe_ms }),
            }
        }
        out
    }
}

fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretches(kind: TrackKind, packets: &[(i64, i64, bool)]) -> Vec<(i64, i64, Option<i64>)> {
        let mut gathered = TrackStretches::default();
        for (pts_ms, duration_ms, key) in packets {
            gathered.add(Packet { track: 1, pts_ms: *pts_ms, duration_ms: *duration_ms, key: *key, size: 1, hash: 0 });
        }
        gathered.finish(1, kind).iter().map(|t| (t.start_ms, t.end_ms, t.keyframe_ms)).collect()
    }

    #[test]
    fn frames_in_decoding_order_are_one_stretch() {
        let group = [(0, 100, true), (400, 100, false), (200, 100, false), (100, 100, false), (300, 100, false)];
        assert_eq!(stretches(TrackKind::Video, &group), [(0, 500, Some(0))]);
    }

    #[test]
    fn a_hole_is_one_and_the_keyframe_behind_it_is_known() {
        let packets = [(0, 40, true), (40, 40, false), (500, 40, false), (540, 40, true), (580, 40, true)];
        assert_eq!(stretches(TrackKind::Video, &packets), [(0, 80, Some(0)), (500, 620, Some(540))]);
        assert_eq!(stretches(TrackKind::Audio, &packets), [(0, 80, None), (500, 620, None)]);
    }

    #[test]
    fn slow_video_has_no_holes() {
        let slides: Vec<_> = (0..10).map(|n| (n * 2000, 0, true)).collect();
        assert_eq!(stretches(TrackKind::Video, &slides), [(0, 20_000, Some(0))]);
        let audio = [(0, 20, true), (2000, 20, true)];
        assert_eq!(stretches(TrackKind::Audio, &audio), [(0, 20, None), (2000, 2020, None)]);
    }
}
