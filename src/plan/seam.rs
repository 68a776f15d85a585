//! Where two neighbouring segments meet: what both have, or what is missing between them.
//!
//! Two connections to one stream carry the same coded packets. So the packets at the end of the first
//! and at the start of the second are laid side by side, and a constant difference of their numbers is
//! looked for at which they are equal. Silence, black and loops repeat packets and would fit at many
//! differences: what fits must then also agree with the clocks.

mod clock;
mod fit;
mod mirror;
mod pairing;
mod touch;

use std::fmt;

use self::fit::{Fit, best, fits};
pub use self::pairing::pair_tracks;
pub(crate) use self::pairing::{TrackOf, pair};
use super::cut::{CutEnd, CutStart};
use crate::domain::media::{EDGE_MS, MediaIndex, Packet, Track, TrackKind};

/// How two segments meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeamKind {
    /// The second begins before the first ends.
    Overlap,
    /// Something is missing between them.
    Gap,
    /// They have no track in common.
    Format,
}

impl fmt::Display for SeamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlap => "overlap",
            Self::Gap => "gap",
            Self::Format => "format",
        })
    }
}

/// How it was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// By equal packets.
    Packets,
    /// By timestamps: the two share a clock.
    Clock,
    /// By the times of arrival.
    Arrival,
    /// Nothing showed how the segments meet.
    None,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packets => "packets",
            Self::Clock => "clock",
            Self::Arrival => "arrival",
            Self::None => "none",
        })
    }
}

/// Where one track goes over from the first segment to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeamCut {
    /// Number of the track in the first segment.
    pub first_track: u32,
    /// Number of the same track in the second.
    pub second_track: u32,
    /// End of the first one's use.
    pub to: CutEnd,
    /// Begin of the second one's.
    pub from: CutStart,
}

/// Where two segments meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seam {
    /// How they meet.
    pub kind: SeamKind,
    /// All of the second's media stands in the first: it gives nothing, and there are no cuts.
    pub contained: bool,
    /// The second reaches so far back before the first's begin, milliseconds; then they should be
    /// looked at the other way round.
    pub reaches_back_ms: i64,
    /// Added to the second's clock to get the first's, milliseconds.
    pub shift_ms: i64,
    /// For each track they have in common.
    pub cuts: Vec<SeamCut>,
    /// How many packets are equal.
    pub matched_packets: u64,
    /// Media that stands in both, milliseconds.
    pub shared_ms: i64,
    /// Media that stands in neither, milliseconds.
    pub missing_ms: i64,
    /// How it was found out.
    pub method: Method,
}

/// Clocks of arrival that differ by less than this may be equal clocks.
const CLOCK_MS: i64 = 2000;
/// Clock offsets of two segments may differ by less than this, milliseconds, where the second one's timestamps continue
/// the first one's: an encoder that is too slow drifts from the wall clock.
const DRIFT_MS: i64 = 30_000;
/// Equal clocks differ by at most this: Matroska's rounding, and guesses at the start of a dump.
const SAME_CLOCK_MS: i64 = 50;

/// Where the first ends so far inside the second, its end and the second's start may show nothing of the
/// same time: then packets from the second's middle are wanted, which begin so long before...
const WINDOW_BEFORE_MS: i64 = 75_000;
/// ... and end so long after. Together with what is kept of the first's end, two mirrors of which one is
/// this late show their common packets.
const WINDOW_AFTER_MS: i64 = 45_000;
/// With less than this in sight, more is wanted.
const SIGHT_MS: i64 = 10_000;
/// False for containers without timestamps, of which each recording counts from zero.
fn has_timestamps(index: &MediaIndex) -> bool {
    !["mp3", "aac", "flac", "ac3", "eac3", "h264", "hevc", "mpegvideo", "m4v", "wav"].contains(&index.format.as_str())
}

/// Packets of one track at one end of a segment.
struct TrackEdge {
    /// Packets of the track before the first.
    before: u64,
    packets: Vec<Packet>,
    /// Of them, so many are surely whole.
    whole: usize,
    /// All packets of the track in the segment.
    total: u64,
}

impl TrackEdge {
    fn tail(index: &MediaIndex, track: &Track) -> Self {
        let packets: Vec<_> = index.tail.iter().filter(|p| p.track == track.number).copied().collect();
        let whole = packets.len().saturating_sub(usize::from(last_may_be_torn(index, track)));
        Self { before: track.packets.saturating_sub(packets.len() as u64), packets, whole, total: track.packets }
    }

    fn head(index: &MediaIndex, track: &Track) -> Self {
        let packets: Vec<_> = index.head.iter().filter(|p| p.track == track.number).copied().collect();
        let torn = last_may_be_torn(index, track) && packets.len() as u64 == track.packets;
        let whole = packets.len().saturating_sub(usize::from(torn));
        Self { before: 0, packets, whole, total: track.packets }
    }

    /// What is known of a track around an instant inside the segment, and whether that shows it.
    fn around(index: &MediaIndex, track: &Track, at: i64) -> (Self, bool) {
        let in_sight = |packets: &[Packet]| {
            let times = || packets.iter().filter(|p| p.track == track.number).map(|p| p.pts_ms);
            let shown = times().min().zip(times().max());
            shown.is_some_and(|(from, to)| to.min(at) - from.max(at - EDGE_MS) >= SIGHT_MS)
        };
        let head = Self::head(index, track);
        if in_sight(&head.packets) || head.packets.len() as u64 == track.packets {
            return (head, true);
        }
        let n = track.number as usize - 1;
        let window = index.packet_windows.iter().filter(|w| w.from_ms < at && at <= w.to_ms).max_by_key(|w| w.to_ms);
        if let Some((window, before)) = window.and_then(|w| Some((w, *w.before.get(n)?))) {
            let packets: Vec<_> = window.packets.iter().filter(|p| p.track == track.number).copied().collect();
            let ends = before + packets.len() as u64 >= track.packets;
            let whole = packets.len().saturating_sub(usize::from(ends && last_may_be_torn(index, track)));
            // One without packets of this track shows that there are none.
            return (Self { before, packets, whole, total: track.packets }, true);
        }
        if in_sight(&index.tail) {
            return (Self::tail(index, track), true);
        }
        (head, false)
    }

    fn end_ms(&self) -> Option<i64> {
        self.packets[..self.whole].iter().map(|p| p.pts_ms + p.duration_ms).max()
    }
}

/// True where the last packet of a track may be cut in the middle. ADTS frames say their own length, and
/// some containers show the end of a packet.
#[must_use]
pub fn last_may_be_torn(index: &MediaIndex, track: &Track) -> bool {
    index.ragged_end && !track.adts && !track.whole_end
}

/// The number of packets of a track that are surely whole.
#[must_use]
pub fn whole_packets(index: &MediaIndex, track: &Track) -> CutEnd {
    if last_may_be_torn(index, track) { CutEnd::Packet(track.packets.saturating_sub(1)) } else { CutEnd::End }
}

/// A seam, and what would show it better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeamSearch {
    /// How the two meet, as far as that can be seen.
    pub seam: Seam,
    /// Packets of the second segment's middle that are not known: from, to, in its own clock. With these as
    /// a [`crate::domain::media::PacketWindow`] it should be looked for again.
    pub wanted: Option<(i64, i64)>,
}

/// Looks where the second segment continues the first. `first` is the one whose media begins earlier.
#[must_use]
pub fn find(first: &MediaIndex, second: &MediaIndex) -> Seam {
    find_seam(first, second, RecordingOrder::InTurn).seam
}

/// How two segments were taped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordingOrder {
    /// From one stream, one after the other, or beside each other while one handed over.
    InTurn,
    /// The second from another stream, after the first. Its video frames may be another encoder's.
    FromAnother,
    /// At the same time from two mirrors: where their packets cannot tell, the clock on the wall does, and
    /// nothing has to stand twice.
    Beside,
}

/// As [`find`], for segments that were taped in this way.
#[must_use]
pub fn find_seam(first: &MediaIndex, second: &MediaIndex, taped: RecordingOrder) -> SeamSearch {
    let pairs = pair_tracks(first, second);
    let none = Seam {
        kind: SeamKind::Format,
        contained: false,
        reaches_back_ms: 0,
        shift_ms: 0,
        cuts: Vec::new(),
        matched_packets: 0,
        shared_ms: 0,
        missing_ms: 0,
        method: Method::None,
    };
    let unseen = |seam| SeamSearch { seam, wanted: None };
    let (Some(a_span), Some(b_span)) = (first.spans.last(), second.spans.first()) else { return unseen(none) };
    if pairs.is_empty() {
        return unseen(none);
    }
    // The first may end far inside the second, where timestamps may have begun anew.
    let ends = a_span.wall().end;
    let deep = ends.since(b_span.wall().start) > EDGE_MS;
    let b_span = second.spans.iter().rfind(|s| deep && s.wall().start <= ends).unwrap_or(b_span);
    let expected = b_span.offset_ms.saturating_sub(a_span.offset_ms);
    // An encoder that cannot keep up drifts from the wall clock: if the second goes on after the first by
    // its own times, and not long after, these are right.
    let a_end = first.spans.iter().map(|s| s.media_end_ms).max().unwrap_or_default();
    let goes_on = b_span.media_start_ms >= a_end && expected.abs() <= DRIFT_MS;
    let same_clock = has_timestamps(first) && has_timestamps(second) && (expected.abs() <= CLOCK_MS || goes_on);
    let place = a_end - if same_clock { 0 } else { expected };
    let mut wanted = None;
    let edges: Vec<(TrackEdge, TrackEdge)> = pairs
        .iter()
        .map(|(a, b)| {
            let tail = TrackEdge::tail(first, a);
            if !deep {
                return (tail, TrackEdge::head(second, b));
            }
            let (edge, seen) = TrackEdge::around(second, b, place);
            if !seen {
                wanted = Some((place - WINDOW_BEFORE_MS, place + WINDOW_AFTER_MS));
            }
            (tail, edge)
        })
        .collect();
    let fits: Vec<Vec<Fit>> = edges.iter().map(|(a, b)| fits(a, b, expected)).collect();
    let seam = Seam { shift_ms: expected, ..none };
    let shift = if same_clock { 0 } else { expected };
    // Black and silence repeat: equal packets at other times are no proof where the times of all follow each other.
    let touching = (taped == RecordingOrder::InTurn && same_clock && !deep && expected.abs() <= CLOCK_MS)
        .then(|| touch::touching(&pairs, &edges, first, second, &seam))
        .flatten();
    let by_clock = || clock::by_clock(&pairs, &edges, first, second, shift, same_clock, &seam);
    let seam = match (touching, best(&fits, expected, same_clock)) {
        (Some(touching), _) => touching,
        (None, Some(best)) => by_packets(&pairs, &edges, &fits, best, second, &seam),
        (None, None) if taped == RecordingOrder::Beside => {
            mirror::beside(&pairs, first, second, expected, &seam).unwrap_or_else(by_clock)
        }
        (None, None) => by_clock(),
    };
    // What gives nothing need not be looked at more closely.
    SeamSearch { wanted: wanted.filter(|_| seam.kind == SeamKind::Overlap && !seam.contained), seam }
}

fn by_packets(
    pairs: &[(&Track, &Track)],
    edges: &[(TrackEdge, TrackEdge)],
    fits: &[Vec<Fit>],
    best: Fit,
    second: &MediaIndex,
    seam: &Seam,
) -> Seam {
    let shift = best.shift_ms;
    let mut cuts = Vec::with_capacity(pairs.len());
    let mut matched = 0;
    let (mut a_end, mut b_end) = (i64::MIN, i64::MIN);
    let (mut gives, mut reaches_back) = (false, 0);
    for (((track, other), (a, b)), fits) in pairs.iter().zip(edges).zip(fits) {
        let near = track.packet_ms.max(other.packet_ms) * 6 / 10 + 2;
        let fit = fits.iter().filter(|f| (f.shift_ms - shift).abs() <= near).max_by_key(|f| {
            // A packet lost on one connection splits the run in two: the later one counts.
            (f.last, f.matched)
        });
        let b_last_ms = TrackEdge::tail(second, other).end_ms();
        if let Some(end) = a.end_ms() {
            a_end = a_end.max(end);
        }
        if let Some(end) = b_last_ms {
            b_end = b_end.max(end + shift);
        }
        // Where the packet numbers say nothing, the time does: half a packet is the border.
        let half = track.packet_ms / 2;
        let (keep, begin) = match fit {
            Some(fit) => {
                matched += fit.matched as u64;
                let j = usize::try_from(fit.last as i64 - fit.difference).unwrap_or_default();
                (fit.last + 1, j + 1)
            }
            None => {
                let last = a.packets[..a.whole].iter().map(|p| p.pts_ms).max();
                let begin = last.map_or(0, |last| {
                    b.packets.iter().position(|p| p.pts_ms + shift > last + half).unwrap_or(b.packets.len())
                });
                (a.whole, begin)
            }
        };
        if a.before == 0
            && b.before == 0
            && let (Some(p), Some(q)) = (a.packets.first(), b.packets.first())
        {
            reaches_back = reaches_back.max(p.pts_ms - (q.pts_ms + shift));
        }
        let ends = b.before + b.packets.len() as u64 == b.total;
        let b_rest = if ends { b.whole.saturating_sub(begin) } else { 1 };
        let (to, from) = if b_rest == 0 && (a.whole >= keep || fit.is_none()) {
            (CutEnd::Packet(a.before + a.whole as u64), CutStart::Nothing)
        } else {
            gives |= b_rest > 0;
            (CutEnd::Packet(a.before + keep as u64), CutStart::Packet(b.before + begin as u64))
        };
        cuts.push(SeamCut { first_track: track.number, second_track: other.number, to, from });
    }
    let b_start = second.spans.first().map_or(0, |s| s.media_start_ms + shift);
    let contained = !gives || b_end <= a_end;
    let shared_ms = (a_end.min(b_end) - b_start).max(0);
    if contained {
        cuts.clear();
    }
    Seam {
        kind: SeamKind::Overlap,
        contained,
        reaches_back_ms: reaches_back.max(0),
        shift_ms: shift,
        cuts,
        matched_packets: matched,
        shared_ms,
        method: Method::Packets,
        ..seam.clone()
    }
}

/// After a gap, and at the start, video frames begin with a keyframe; audio is kept.
#[must_use]
pub fn begin_after_gap(track: &Track) -> CutStart {
    if track.kind == TrackKind::Video { CutStart::Keyframe(i64::MIN) } else { CutStart::Start }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod touch_tests;
