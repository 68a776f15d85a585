//! Which files may be deleted: fragments whose media stands in assemblies, and what is no media. Pure;
//! nothing is deleted here.

use crate::domain::ids::{SegmentId, TalkId};
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::segment::{Segment, Verdict};
use crate::domain::time::SECOND;

/// A talk whose window a segment touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchedTalk {
    /// Which.
    pub talk: TalkId,
    /// Its slot with padding.
    pub window: Interval,
    /// What its assembly did with the segment; `None`: there is no assembly, its file is not there, or
    /// it did not look at the segment.
    pub assembled: Option<Use>,
}

/// What an assembly did with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Its media stands in it.
    Used,
    /// Left out for good: its media stands in other segments, or it has none.
    Redundant,
    /// Left out, and its media stands nowhere else.
    LeftOut,
}

/// A verdict on one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Which.
    pub segment: SegmentId,
    /// True: it may be deleted.
    pub may_go: bool,
    /// Why, or why not.
    pub reason: String,
}

/// Media outside all windows may be so long where anchors are a little late, milliseconds.
const OUTSIDE_MS: i64 = 2 * SECOND;

/// Judges one segment. `talks` are those of its hall that are on and whose window it touches.
/// `None` where it is neither a fragment nor without media, or not for pruning at all (open, not looked
/// at, quarantined, gone already).
#[must_use]
pub fn judge(segment: &Segment, talks: &[TouchedTalk], min_bytes: u64) -> Option<Judged> {
    let fragment = segment.verdict == Verdict::Media && segment.bytes < min_bytes;
    let not_media = segment.verdict == Verdict::NotMedia;
    if !fragment && !not_media {
        return None;
    }
    let verdict = |may_go, reason: String| Some(Judged { segment: segment.id, may_go, reason });
    if talks.is_empty() {
        return verdict(false, "it belongs to no talk that is assembled".to_owned());
    }
    if let Some(waiting) = talks.iter().find(|t| t.assembled.is_none()) {
        return verdict(false, format!("talk {} is not assembled with it yet", waiting.talk));
    }
    let names = talks.iter().map(|t| t.talk.to_string()).collect::<Vec<_>>().join(", ");
    if not_media {
        let why = segment.verdict_reason.as_deref().unwrap_or("no media in it");
        return verdict(true, format!("not media ({why}), and talk {names} is assembled"));
    }
    if let Some(other) = talks.iter().find(|t| t.assembled == Some(Use::LeftOut)) {
        return verdict(false, format!("talk {} is made without it, so it is the only copy of its media", other.talk));
    }
    // One assembly that holds other segments with the same media is as good as one that holds this one.
    let kept: IntervalSet = talks.iter().map(|t| t.window).collect();
    if segment.covered().subtract(&kept).total_ms() > OUTSIDE_MS {
        return verdict(false, "part of its media lies outside every talk's window".to_owned());
    }
    let how = if talks.iter().any(|t| t.assembled == Some(Use::Used)) {
        "its media stands in the file of"
    } else {
        "its media stands in other segments of"
    };
    verdict(true, format!("a fragment of {} bytes; {how} talk {names}", segment.bytes))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::domain::ids::HallId;
    use crate::domain::media::MediaSpan;
    use crate::domain::segment::Container;
    use crate::plan::fixtures::{at, slot};

    fn segment(verdict: Verdict, bytes: u64) -> Segment {
        let wall = slot(10, 11);
        Segment {
            id: SegmentId(7),
            uuid: uuid::Uuid::nil(),
            hall: HallId(1),
            connection: None,
            stream: None,
            path: PathBuf::new(),
            container: Container::MpegTs,
            at: wall,
            opened: wall.start,
            closed: Some(wall.end),
            bytes,
            lost_bytes: 0,
            sha256: None,
            media_ms: Some(60_000),
            verdict,
            verdict_reason: None,
            end_reason: None,
            spans: vec![MediaSpan { media_start_ms: 0, media_end_ms: 60_000, offset_ms: wall.start.0 }],
        }
    }

    fn touched(id: i64, assembled: Option<Use>) -> TouchedTalk {
        TouchedTalk { talk: TalkId(id), window: slot(0, 60), assembled }
    }

    #[test]
    fn only_what_was_looked_at_and_stands_elsewhere_may_go() {
        use Use::{LeftOut, Redundant, Used};
        use Verdict::{Media, NotMedia};
        let none: Option<bool> = None;
        for (verdict, bytes, talks, want) in [
            (Media, 100, vec![Some(Used)], Some(true)),
            (Media, 100, vec![Some(Redundant)], Some(true)),
            (Media, 100, vec![Some(Used), Some(Redundant)], Some(true)),
            (Media, 100, vec![Some(LeftOut)], Some(false)),
            (Media, 100, vec![Some(Used), Some(LeftOut)], Some(false)),
            (Media, 100, vec![Some(Used), None], Some(false)),
            (Media, 100, vec![], Some(false)),
            (Media, 1000, vec![Some(Used)], none),
            (NotMedia, 5000, vec![Some(Redundant)], Some(true)),
            (NotMedia, 5000, vec![None], Some(false)),
            (NotMedia, 5000, vec![], Some(false)),
            (Verdict::Open, 1, vec![Some(Used)], none),
            (Verdict::Unchecked, 1, vec![Some(Used)], none),
            (Verdict::Quarantined, 1, vec![Some(Used)], none),
            (Verdict::Pruned, 1, vec![Some(Used)], none),
        ] {
            let talks: Vec<_> = (1..).zip(&talks).map(|(id, used)| touched(id, *used)).collect();
            let judged = judge(&segment(verdict, bytes), &talks, 1000);
            assert_eq!(judged.as_ref().map(|j| j.may_go), want, "{verdict:?} {bytes} {talks:?}: {judged:?}");
        }
    }

    #[test]
    fn media_outside_every_window_keeps_its_file() {
        let mut talk = touched(1, Some(Use::Used));
        talk.window = Interval::new(at(0), at(10).plus(30_000));
        assert_eq!(judge(&segment(Verdict::Media, 1), &[talk.clone()], 1000).map(|j| j.may_go), Some(false));
        let next = TouchedTalk { talk: TalkId(2), window: Interval::new(talk.window.end, at(60)), ..talk.clone() };
        assert_eq!(judge(&segment(Verdict::Media, 1), &[talk, next], 1000).map(|j| j.may_go), Some(true));
    }
}
