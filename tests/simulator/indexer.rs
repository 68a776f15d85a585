//! Stands in for ffmpeg: what is in a segment, read from the packets themselves.

use streamrip::domain::media::{EDGE_MS, MediaIndex, MediaSpan, Packet, Track, TrackKind, TrackStretch};
use streamrip::domain::segment::Mark;
use streamrip::domain::time::Ms;

use crate::server::PACKET;

/// Frames further apart than so many periods are a hole.
const HOLE: i64 = 2;

/// The frames in a file, with the offset at which each ends.
pub fn frames(bytes: &[u8]) -> Vec<(i64, usize)> {
    let whole = bytes.chunks_exact(PACKET).enumerate();
    whole
        .filter(|(_, p)| p.starts_with(&[0x47, 0x40]) || p.starts_with(b"fLaC"))
        .map(|(n, p)| (i64::from_be_bytes(p[12..20].try_into().expect("8 bytes")), (n + 1) * PACKET))
        .filter(|(frame, _)| *frame >= 0)
        .collect()
}

/// The frames of a file as packets.
pub fn packets(bytes: &[u8], period_ms: i64) -> Vec<Packet> {
    let format = u64::from(bytes.starts_with(b"fLaC"));
    let packet = |frame: i64| Packet {
        track: 1,
        pts_ms: frame * period_ms,
        duration_ms: period_ms,
        key: true,
        size: u32::try_from(PACKET).expect("fits"),
        hash: (format << 60) ^ frame.cast_unsigned(),
    };
    frames(bytes).into_iter().map(|(frame, _)| packet(frame)).collect()
}

pub fn index(bytes: &[u8], marks: &[Mark], opened: Ms, period_ms: i64) -> MediaIndex {
    let frames = frames(bytes);
    if frames.is_empty() {
        return MediaIndex { problem: Some("no frame in it".to_owned()), ..MediaIndex::default() };
    }
    // Of what came after the last mark nobody knows when: an open segment's marks are written later than it is.
    let last_mark = marks.last().map_or(opened, |m| m.at);
    let arrival = |end: usize| {
        let at = marks.partition_point(|m| m.offset < end as u64);
        marks.get(at).map(|m| m.at)
    };
    let offset = |frame: i64, end: usize| {
        arrival(end).map_or(last_mark.0.saturating_sub(frames[0].0 * period_ms), |at| at.0 - frame * period_ms)
    };
    let offsets: Vec<i64> = frames.iter().map(|(frame, end)| offset(*frame, *end)).collect();
    let mut spans: Vec<MediaSpan> = Vec::new();
    let mut last = i64::MIN;
    for (n, (frame, _)) in frames.iter().enumerate() {
        let media_start_ms = frame * period_ms;
        match spans.last_mut() {
            Some(span) if frame - last <= HOLE => {
                span.offset_ms = span.offset_ms.min(offsets[n]);
                span.media_end_ms = media_start_ms + period_ms;
            }
            _ => spans.push(MediaSpan {
                media_start_ms,
                media_end_ms: media_start_ms + period_ms,
                offset_ms: offsets[n],
            }),
        }
        last = *frame;
    }
    let format = u8::from(bytes.starts_with(b"fLaC"));
    let packets = packets(bytes, period_ms);
    let (first, end) = (packets[0].pts_ms, packets[packets.len() - 1].pts_ms + period_ms);
    let track_stretches = spans
        .iter()
        .map(|span| TrackStretch {
            track: 1,
            kind: TrackKind::Audio,
            start_ms: span.media_start_ms,
            end_ms: span.media_end_ms,
            keyframe_ms: None,
        })
        .collect();
    MediaIndex {
        track_stretches,
        tracks: vec![Track {
            number: 1,
            kind: TrackKind::Audio,
            codec: "A_SIM".to_owned(),
            format_hash: u64::from(format) + 1,
            stream: 0,
            adts: false,
            whole_end: false,
            packet_ms: period_ms,
            packets: packets.len() as u64,
            pid: 0,
            language: String::new(),
            entry: Vec::new(),
            keys_ms: Vec::new(),
        }],
        spans,
        head: packets.iter().filter(|p| p.pts_ms < first + EDGE_MS).copied().collect(),
        tail: packets.iter().filter(|p| p.pts_ms >= end - EDGE_MS).copied().collect(),
        format: if format == 0 { "mpegts" } else { "flac" }.to_owned(),
        ..MediaIndex::default()
    }
}
