//! At which wall time a recording has media, track by track.

use super::interval::{Interval, IntervalSet};
use super::media::{MediaSpan, TrackKind, TrackStretch};
use super::time::Ms;

/// A stretch of one track without a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackSpan {
    /// Number of the track in its file, from 1.
    pub track: u32,
    /// What the track carries.
    pub kind: TrackKind,
    /// From the presentation of its first packet to the end of its last one, wall time.
    pub wall: Interval,
    /// Wall time of its first keyframe; `None` where it has none, and for audio, which needs none.
    pub keyframe: Option<Ms>,
}

/// Places the stretches of a segment's tracks on the wall clock. A stretch that reaches over several spans (a wall clock
/// that was set in its middle) is cut where they meet; what lies in none of them lies where the nearest one before says.
#[must_use]
pub fn on_wall(stretches: &[TrackStretch], spans: &[MediaSpan]) -> Vec<TrackSpan> {
    let mut out = Vec::new();
    for stretch in stretches {
        for (n, span) in spans.iter().enumerate() {
            let from = if n == 0 { i64::MIN } else { span.media_start_ms };
            let to = spans.get(n + 1).map_or(i64::MAX, |next| next.media_start_ms);
            let (start, end) = (stretch.start_ms.max(from), stretch.end_ms.min(to));
            if start < end {
                let wall = |at: i64| Ms(at).plus(span.offset_ms);
                let keyframe = stretch.keyframe_ms.map(|at| at.max(start)).filter(|at| *at < end);
                out.push(TrackSpan {
                    track: stretch.track,
                    kind: stretch.kind,
                    wall: Interval::new(wall(start), wall(end)),
                    keyframe: keyframe.map(wall),
                });
            }
        }
    }
    out
}

/// Wall time at which there is media, by kind of track. `None`: there is no track of that kind at all, so nothing of
/// it can be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Where there is video.
    pub video: Option<IntervalSet>,
    /// Where any of the audio tracks is.
    pub audio: Option<IntervalSet>,
}

impl Presence {
    /// Where everything is there: the intersection of the kinds.
    #[must_use]
    pub fn complete(&self) -> IntervalSet {
        match (&self.video, &self.audio) {
            (Some(video), Some(audio)) => video.intersect(audio),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => IntervalSet::new(),
        }
    }

    /// Where anything is there: the union of the kinds.
    #[must_use]
    pub fn any(&self) -> IntervalSet {
        self.video.iter().chain(&self.audio).flat_map(IntervalSet::iter).collect()
    }

    /// What one kind of track has.
    #[must_use]
    pub fn of(&self, kind: TrackKind) -> Option<&IntervalSet> {
        match kind {
            TrackKind::Video => self.video.as_ref(),
            TrackKind::Audio => self.audio.as_ref(),
            TrackKind::Other => None,
        }
    }

    /// Adds where a track of this kind has media.
    pub fn add(&mut self, kind: TrackKind, walls: &IntervalSet) {
        let known = match kind {
            TrackKind::Video => &mut self.video,
            TrackKind::Audio => &mut self.audio,
            TrackKind::Other => return,
        };
        *known = Some(known.take().unwrap_or_default().union(walls));
    }

    /// Forgets a kind of track: it is not expected any more.
    pub fn remove(&mut self, kind: TrackKind) {
        match kind {
            TrackKind::Video => self.video = None,
            TrackKind::Audio => self.audio = None,
            TrackKind::Other => {}
        }
    }

    /// The part inside a stretch of time. A kind that has nothing there is kept as one that is missing there.
    #[must_use]
    pub fn clip(&self, within: Interval) -> Self {
        let clip = |kind: &Option<IntervalSet>| kind.as_ref().map(|known| known.clip(within));
        Self { video: clip(&self.video), audio: clip(&self.audio) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(from: i64, to: i64) -> IntervalSet {
        Interval::new(Ms(from), Ms(to)).into()
    }

    #[test]
    fn a_stretch_lies_where_its_span_lies() {
        let span = |from, to, offset_ms| MediaSpan { media_start_ms: from, media_end_ms: to, offset_ms };
        let spans = [span(0, 1000, 5000), span(1000, 3000, 9000)];
        let video = |from, to, keyframe_ms| TrackStretch {
            track: 1,
            kind: TrackKind::Video,
            start_ms: from,
            end_ms: to,
            keyframe_ms,
        };
        let walls = |stretch| -> Vec<(i64, i64, Option<i64>)> {
            on_wall(&[stretch], &spans)
                .iter()
                .map(|t| (t.wall.start.0, t.wall.end.0, t.keyframe.map(|k| k.0)))
                .collect()
        };
        assert_eq!(walls(video(100, 900, Some(200))), [(5100, 5900, Some(5200))]);
        assert_eq!(walls(video(500, 2000, Some(1200))), [(5500, 6000, None), (10_000, 11_000, Some(10_200))]);
        assert_eq!(walls(video(2500, 3200, None)), [(11_500, 12_200, None)]);
    }

    #[test]
    fn a_kind_that_no_track_has_is_not_missed() {
        let mut presence = Presence::default();
        assert!(presence.complete().is_empty());
        presence.add(TrackKind::Audio, &set(0, 10));
        assert_eq!(presence.complete(), set(0, 10));
        presence.add(TrackKind::Video, &set(5, 20));
        assert_eq!((presence.complete(), presence.any()), (set(5, 10), set(0, 20)));
        presence.add(TrackKind::Other, &set(0, 99));
        assert_eq!(presence.clip(Interval::new(Ms(15), Ms(30))).complete(), IntervalSet::new());
    }
}
