//! When packets of a segment are shown, as far as its index knows.

use super::{Clip, TrackClip};
use crate::domain::media::{MediaIndex, MediaSpan, Packet, PacketWindow};
use crate::plan::cut::{CutEnd, CutStart};

pub(super) fn middle(before: MediaSpan, after: MediaSpan) -> i64 {
    before.media_end_ms + (after.media_start_ms - before.media_end_ms) / 2
}

pub(super) fn keys_in(index: &MediaIndex, span: MediaSpan) -> Vec<i64> {
    index.keys_ms.iter().copied().filter(|k| (span.media_start_ms..=span.media_end_ms).contains(k)).collect()
}

/// When the first used packet of a track is shown, in the segment's clock.
pub(super) fn begin_ms(index: &MediaIndex, t: &TrackClip, span: MediaSpan) -> Option<i64> {
    let mut head = index.head.iter().filter(|p| p.track == t.track);
    match t.from {
        CutStart::Start => head.next().map(|p| p.pts_ms),
        CutStart::Packet(n) => packet_ms(index, t.track, n).or(Some(span.media_start_ms)),
        CutStart::Keyframe(at) => {
            let first_track = index.tracks.first().is_some_and(|first| first.number == t.track);
            let key = index.keys_ms.iter().copied().find(|k| *k >= at).filter(|_| first_track);
            key.or_else(|| head.find(|p| p.key && p.pts_ms >= at).map(|p| p.pts_ms))
        }
        // The track may begin later than that, and after a hole in the media the span does: the cut itself
        // lies in the middle of the hole.
        CutStart::Time(at) => {
            let at = at.max(span.media_start_ms);
            head.next().map(|p| p.pts_ms.max(at)).or(Some(at))
        }
        CutStart::Nothing => None,
    }
}

/// Where video frames begin that were to go on there, but have nothing to go on from.
pub(super) fn from_key(index: &MediaIndex, track: u32, from: CutStart) -> CutStart {
    match from {
        CutStart::Start => CutStart::Keyframe(i64::MIN),
        CutStart::Packet(n) => CutStart::Keyframe(packet_ms(index, track, n).unwrap_or(i64::MIN)),
        CutStart::Time(at) => CutStart::Keyframe(at),
        CutStart::Keyframe(_) | CutStart::Nothing => from,
    }
}

/// When a packet is shown, by its number among those of its track; `None` where it is not known.
pub(super) fn packet_ms(index: &MediaIndex, track: u32, n: u64) -> Option<i64> {
    let of = |packets: &[Packet], n: u64| {
        packets.iter().filter(|p| p.track == track).nth(usize::try_from(n).ok()?).map(|p| p.pts_ms)
    };
    let in_window = |w: &PacketWindow| of(&w.packets, n.checked_sub(*w.before.get(track as usize - 1)?)?);
    let known = index.tracks.iter().find(|t| t.number == track)?;
    let in_tail = || {
        let tail = index.tail.iter().filter(|p| p.track == track).count() as u64;
        of(&index.tail, n.checked_sub(known.packets.saturating_sub(tail))?)
    };
    let shown = of(&index.head, n).or_else(|| index.packet_windows.iter().find_map(in_window)).or_else(in_tail);
    // A cut behind the last packet that is known: it follows that one.
    let before = |w: &PacketWindow| w.before.get(track as usize - 1).copied();
    let known =
        std::iter::once((Some(0), &index.head)).chain(index.packet_windows.iter().map(|w| (before(w), &w.packets)));
    shown.or_else(|| known.filter_map(|(before, packets)| end_before(packets, track, n.checked_sub(before?)?)).next())
}

/// Where the first `n` packets of a track end, where there are just so many.
fn end_before(packets: &[Packet], track: u32, n: u64) -> Option<i64> {
    let of_track = || packets.iter().filter(|p| p.track == track);
    (of_track().count() as u64 == n).then(|| of_track().map(|p| p.pts_ms + p.duration_ms).max()).flatten()
}

/// Sets where the tracks of a piece, and with them the piece, end in the assembly's clock.
pub(super) fn settle(clip: &mut Clip, index: &MediaIndex, span: MediaSpan) {
    for t in &mut clip.tracks {
        t.out_end_ms =
            if t.from == CutStart::Nothing { None } else { track_end(index, t, span).map(|end| end + clip.shift_ms) };
    }
    clip.out_end_ms = clip.tracks.iter().filter_map(|t| t.out_end_ms).max().unwrap_or(clip.out_start_ms);
}

fn track_end(index: &MediaIndex, t: &TrackClip, span: MediaSpan) -> Option<i64> {
    let known = index.tracks.iter().find(|k| k.number == t.track)?;
    let tail: Vec<_> = index.tail.iter().filter(|p| p.track == t.track).collect();
    let before = known.packets.saturating_sub(tail.len() as u64);
    let used = match t.to {
        CutEnd::End => tail.len(),
        CutEnd::Packet(n) => usize::try_from(n.saturating_sub(before)).unwrap_or(usize::MAX).min(tail.len()),
        CutEnd::Time(at) => return Some(at.min(span.media_end_ms)),
    };
    tail[..used].iter().map(|p| p.pts_ms + p.duration_ms).max().or(Some(span.media_end_ms).filter(|_| used > 0))
}
