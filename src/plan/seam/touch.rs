//! Segments that share no packet though nothing is missing between them: the server cut the connection and
//! the next one began with the very next packet.

use super::{Method, Seam, SeamCut, SeamKind, TrackEdge, whole_packets};
use crate::domain::media::{MediaIndex, Packet, Track, TrackKind};
use crate::plan::cut::CutStart;

/// How two segments of one clock meet whose packets follow each other without a hole. `None` where video frames
/// are missing, or, without video frames, audio: then the clocks say how much.
///
/// Where the video frames follow each other and audio alone is missing, that is a gap, but the video frames go on
/// without waiting for a keyframe.
pub(super) fn touching(
    pairs: &[(&Track, &Track)],
    edges: &[(TrackEdge, TrackEdge)],
    first: &MediaIndex,
    second: &MediaIndex,
    seam: &Seam,
) -> Option<Seam> {
    let holes: Vec<(TrackKind, Option<i64>)> = pairs
        .iter()
        .zip(edges)
        .map(|((track, other), (a, b))| {
            let shorter = [track.packet_ms, other.packet_ms].into_iter().filter(|ms| *ms > 0).min();
            (track.kind, shorter.and_then(|packet_ms| hole(a, b, packet_ms)))
        })
        .collect();
    let goes_on = |kind| {
        let mut of_kind = holes.iter().filter(|(k, _)| *k == kind).peekable();
        of_kind.peek().is_some() && of_kind.all(|(_, hole)| *hole == Some(0))
    };
    let all_go_on = holes.iter().all(|(_, hole)| *hole == Some(0))
        && pairs.len() == first.tracks.len()
        && pairs.len() == second.tracks.len();
    // What is not known of audio must not end in audio that stands twice.
    let pictures_go_on = goes_on(TrackKind::Video) && holes.iter().all(|(_, hole)| hole.is_some());
    if !all_go_on && !pictures_go_on {
        return None;
    }
    let cuts = pairs.iter().map(|(a, b)| SeamCut {
        first_track: a.number,
        second_track: b.number,
        to: whole_packets(first, a),
        from: CutStart::Start,
    });
    Some(Seam {
        kind: if all_go_on { SeamKind::Overlap } else { SeamKind::Gap },
        cuts: cuts.collect(),
        missing_ms: holes.iter().filter_map(|(_, hole)| *hole).max().unwrap_or_default(),
        method: Method::Clock,
        shift_ms: 0,
        ..seam.clone()
    })
}

/// How much is missing between the whole packets of the first and those of the second, milliseconds: 0 where the
/// times of both together rise evenly. `None` where that cannot be told, or where they have the same time.
fn hole(a: &TrackEdge, b: &TrackEdge, packet_ms: i64) -> Option<i64> {
    let kept = &a.packets[..a.whole];
    let times = || kept.iter().chain(&b.packets).map(|p| p.pts_ms);
    let last = kept.iter().map(|p| p.pts_ms).max()?;
    let first = b.packets.iter().map(|p| p.pts_ms).min().filter(|_| b.before == 0)?;
    // A video frame that is decoded later may be shown before the last one of the first segment, so the times are
    // looked at as far around as video frames of this stream change their order.
    let reach = late_ms(kept).max(late_ms(&b.packets)) + 2 * packet_ms;
    let near = last.min(first) - reach..=last.max(first) + reach;
    let mut times: Vec<i64> = times().filter(|at| near.contains(at)).collect();
    times.sort_unstable();
    let steps = || times.windows(2).map(|w| w[1] - w[0]);
    if steps().any(|step| step * 2 < packet_ms) {
        return None;
    }
    // Half a packet and rounding are no hole.
    let missing = steps().filter(|step| step * 2 > packet_ms * 3 + 2).map(|step| step - packet_ms).sum();
    Some(missing)
}

/// How long before a video frame another one is shown that is decoded after it, at most; milliseconds.
fn late_ms(packets: &[Packet]) -> i64 {
    let (mut latest, mut most) = (i64::MIN, 0);
    for p in packets {
        latest = latest.max(p.pts_ms);
        most = most.max(latest - p.pts_ms);
    }
    most
}
