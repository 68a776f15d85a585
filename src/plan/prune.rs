//! What may be deleted: fragments and files that are no media, once their talks are joined.

use std::fmt;

use crate::domain::ids::TalkId;
use crate::domain::interval::Interval;
use crate::domain::segment::{Container, Segment, Verdict};
use crate::domain::time::SECOND;

/// A segment, and what is known of each talk that it belongs to.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The segment.
    pub segment: &'a Segment,
    /// The talks that take place and whose windows it touches.
    pub talks: Vec<TalkUse>,
}

/// What a talk's assembly did with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TalkUse {
    /// Talk that the segment belongs to.
    pub talk: TalkId,
    /// Its slot with padding: what lies outside all of them is in no assembly.
    pub window: Interval,
    /// `None`: the talk has no assembly, or it was made before it could see the segment.
    pub seen: Option<JoinOutcome>,
}

/// How an assembly saw a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinOutcome {
    /// Its media is in the assembly.
    pub used: bool,
    /// Nothing would be missed without the segment.
    pub redundant: bool,
}

/// Why a segment may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is small, and its media is in an assembly.
    Joined,
    /// It is small, and all of it stands in other segments.
    Redundant,
    /// There is no media in it.
    NotMedia,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Joined => "a fragment, joined",
            Self::Redundant => "a fragment, all of it stands in others",
            Self::NotMedia => "no media",
        })
    }
}

/// Media outside all windows that does not count, milliseconds: anchors are some tenths of a second late. More
/// may lie in a window once a talk is moved.
const OUTSIDE_MS: i64 = SECOND / 2;

/// Says whether a segment may be deleted, and why. `min_bytes`: what is smaller is a fragment.
///
/// Never before the assembly of every talk it belongs to has looked at it, and never where something in it
/// exists nowhere else. A segment of no talk stays.
#[must_use]
pub fn may_go(candidate: &Candidate<'_>, min_bytes: u64) -> Option<Reason> {
    let Candidate { segment, talks } = candidate;
    let small = segment.bytes < min_bytes;
    let reason = match segment.verdict {
        // What began as media and then gave none may be the fault of whoever looked: if it is large it stays.
        Verdict::NotMedia if small || segment.container == Container::Unknown => Reason::NotMedia,
        Verdict::Media if small => Reason::Redundant,
        _ => return None,
    };
    if talks.is_empty() {
        return None;
    }
    let mut used = false;
    for talk in talks {
        let seen = talk.seen?;
        if !seen.redundant {
            return None;
        }
        used |= seen.used;
    }
    // What has media is covered; of a file without media this is nothing.
    let windows = talks.iter().map(|t| t.window).collect();
    if segment.covered().subtract(&windows).total_ms() > OUTSIDE_MS {
        return None;
    }
    Some(if used && reason == Reason::Redundant { Reason::Joined } else { reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::media::MediaSpan;
    use crate::domain::time::Ms;
    use crate::plan::fixtures;

    const MIN: u64 = 1000;
    const USED: Option<JoinOutcome> = Some(JoinOutcome { used: true, redundant: true });
    const IN_OTHERS: Option<JoinOutcome> = Some(JoinOutcome { used: false, redundant: true });
    const ONLY_COPY: Option<JoinOutcome> = Some(JoinOutcome { used: false, redundant: false });

    fn verdict(
        verdict: Verdict,
        container: Container,
        bytes: u64,
        seen: &[Option<JoinOutcome>],
        media_ms: i64,
    ) -> Option<Reason> {
        let segment = Segment {
            container,
            bytes,
            verdict,
            ..fixtures::segment(1, vec![MediaSpan { media_start_ms: 0, media_end_ms: media_ms, offset_ms: 0 }])
        };
        let window = Interval::new(Ms(0), Ms(60_000));
        let talks = (1..).zip(seen).map(|(id, seen)| TalkUse { talk: TalkId(id), window, seen: *seen }).collect();
        may_go(&Candidate { segment: &segment, talks }, MIN)
    }

    #[test]
    fn only_fragments_and_not_media_go_and_only_after_every_assembly_saw_them() {
        use Container::{MpegTs, Unknown};
        for (what, container, bytes, seen, want) in [
            (Verdict::Media, MpegTs, 999, &[USED][..], Some(Reason::Joined)),
            (Verdict::Media, MpegTs, 999, &[IN_OTHERS], Some(Reason::Redundant)),
            (Verdict::Media, MpegTs, 999, &[USED, IN_OTHERS], Some(Reason::Joined)),
            (Verdict::Media, MpegTs, 999, &[USED, None], None),
            (Verdict::Media, MpegTs, 999, &[ONLY_COPY], None),
            (Verdict::Media, MpegTs, 999, &[USED, ONLY_COPY], None),
            (Verdict::Media, MpegTs, 999, &[], None),
            (Verdict::Media, MpegTs, 1000, &[USED], None),
            (Verdict::NotMedia, Unknown, 1_000_000, &[IN_OTHERS], Some(Reason::NotMedia)),
            (Verdict::NotMedia, Unknown, 10, &[None], None),
            (Verdict::NotMedia, MpegTs, 999, &[IN_OTHERS], Some(Reason::NotMedia)),
            (Verdict::NotMedia, MpegTs, 1000, &[IN_OTHERS], None),
            (Verdict::Open, MpegTs, 10, &[USED], None),
            (Verdict::Unchecked, MpegTs, 10, &[USED], None),
            (Verdict::Lost, MpegTs, 10, &[USED], None),
            (Verdict::Quarantined, MpegTs, 10, &[USED], None),
            (Verdict::Pruned, MpegTs, 10, &[USED], None),
        ] {
            assert_eq!(verdict(what, container, bytes, seen, 1000), want, "{what:?} {container:?} {bytes} {seen:?}");
        }
    }

    #[test]
    fn media_that_is_in_no_window_is_the_only_copy() {
        assert_eq!(verdict(Verdict::Media, Container::MpegTs, 10, &[USED], 60_500), Some(Reason::Joined));
        assert_eq!(verdict(Verdict::Media, Container::MpegTs, 10, &[USED], 70_000), None);
    }
}
