//! Seams of two mirrors that were taped at the same time.

use super::{Method, Seam, SeamCut, SeamKind, whole_packets};
use crate::domain::media::{MediaIndex, Track, TrackKind};
use crate::plan::cut::{CutEnd, CutStart};

/// Two encoders' streams share no packets. Going over from one to the other falls on a keyframe of the
/// second that is no older than this.
const OLD_KEY_MS: i64 = 30_000;

/// Two mirrors that share no packets, as of two encoders: the times of arrival say what lies beside what.
/// Going over falls on the last keyframe of the second before the first ends, so that nothing is missing.
/// `None` where the second does not have that time.
pub(super) fn beside(
    pairs: &[(&Track, &Track)],
    first: &MediaIndex,
    second: &MediaIndex,
    shift: i64,
    seam: &Seam,
) -> Option<Seam> {
    let a_end = first.spans.last().map(|s| s.media_end_ms)?;
    let a_start = first.spans.last().map(|s| s.media_start_ms)?;
    let end = a_end - shift;
    let b_start = second.spans.first().map(|s| s.media_start_ms)?;
    let b_end = second.spans.last().map(|s| s.media_end_ms)?;
    let stays = |at: i64| second.spans.iter().any(|s| s.media_start_ms <= at && at <= s.media_end_ms);
    if b_end > end && !stays(end) {
        return None;
    }
    let contained = b_end <= end;
    let video = second.tracks.first().is_some_and(|t| t.kind == TrackKind::Video);
    let key = second.keys_ms.iter().copied().rfind(|k| *k <= end).filter(|_| video);
    let key = key.filter(|k| end - k <= OLD_KEY_MS && k + shift > a_start && stays(*k));
    let cuts = pairs
        .iter()
        .filter(|_| !contained)
        .map(|(a, b)| SeamCut {
            first_track: a.number,
            second_track: b.number,
            to: key.map_or_else(|| whole_packets(first, a), |k| CutEnd::Time(k + shift)),
            from: match (key, b.kind) {
                (Some(key), TrackKind::Video) => CutStart::Keyframe(key),
                (None, TrackKind::Video) => CutStart::Keyframe(end),
                (key, _) => CutStart::Time(key.unwrap_or(end)),
            },
        })
        .collect();
    Some(Seam {
        kind: SeamKind::Overlap,
        contained,
        cuts,
        shared_ms: (a_end.min(b_end + shift) - b_start - shift).max(0),
        method: Method::Arrival,
        shift_ms: shift,
        ..seam.clone()
    })
}
