//! Seams of segments without equal packets, by what their clocks say.

use super::{Method, SAME_CLOCK_MS, Seam, SeamCut, SeamKind, TrackEdge, begin_after_gap, whole_packets};
use crate::domain::media::{MediaIndex, Packet, Track, TrackKind};
use crate::plan::cut::CutStart;

/// No equal packets: what the clocks say.
pub(super) fn by_clock(
    pairs: &[(&Track, &Track)],
    edges: &[(TrackEdge, TrackEdge)],
    first: &MediaIndex,
    second: &MediaIndex,
    shift: i64,
    same_clock: bool,
    seam: &Seam,
) -> Seam {
    let method = if same_clock { Method::Clock } else { Method::Arrival };
    let a_end = first.spans.iter().map(|s| s.media_end_ms).max().unwrap_or_default();
    let b_start = second.spans.first().map_or(0, |s| s.media_start_ms) + shift;
    // Later spans of the second may have another offset to wall time.
    let b_end = second
        .spans
        .iter()
        .map(|s| s.media_end_ms + s.offset_ms)
        .max()
        .zip(second.spans.first())
        .map_or(b_start, |(end, span)| end - span.offset_ms + shift);
    let overlap = a_end - b_start;
    // Where the overlap lies in packets that were looked at and none is equal, there is none: the clocks
    // are wrong, or it is another encoder's. What arrival times alone show is believed only of a
    // connection far inside a long one. In doubt nothing is left out.
    let unseen = overlap > SAME_CLOCK_MS && !edges.iter().any(|(a, b)| is_visible(a, b, shift));
    let contained = unseen && b_end <= a_end;
    let believed = contained || (unseen && same_clock);
    if !believed {
        let cuts = pairs
            .iter()
            .map(|(a, b)| SeamCut {
                first_track: a.number,
                second_track: b.number,
                to: whole_packets(first, a),
                from: begin_after_gap(b),
            })
            .collect();
        return Seam {
            kind: SeamKind::Gap,
            cuts,
            missing_ms: (-overlap).max(0),
            method: if overlap < 0 { method } else { Method::None },
            shift_ms: shift,
            ..seam.clone()
        };
    }
    let cuts = pairs
        .iter()
        .zip(edges)
        .filter(|_| !contained)
        .map(|((a, b), (tail, _))| {
            let end = tail.end_ms().unwrap_or(a_end) - shift;
            SeamCut {
                first_track: a.number,
                second_track: b.number,
                to: whole_packets(first, a),
                from: if b.kind == TrackKind::Video { CutStart::Keyframe(end) } else { CutStart::Time(end) },
            }
        })
        .collect();
    Seam {
        kind: SeamKind::Overlap,
        contained,
        cuts,
        shared_ms: (a_end.min(b_end) - b_start).max(0),
        method,
        shift_ms: shift,
        ..seam.clone()
    }
}

/// True where packets of the same time are known of both.
fn is_visible(a: &TrackEdge, b: &TrackEdge, shift: i64) -> bool {
    let extent = |packets: &[Packet]| {
        let times = packets.iter().map(|p| p.pts_ms);
        times.clone().min().zip(times.max())
    };
    match (extent(&a.packets), extent(&b.packets)) {
        (Some(a), Some(b)) => a.0 <= b.1 + shift && b.0 + shift <= a.1,
        _ => false,
    }
}
