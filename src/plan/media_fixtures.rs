//! Made-up streams and dumps of them, for the tests of seams and assemblies.

use proptest::prelude::*;

use crate::domain::media::{EDGE_MS, MediaIndex, MediaSpan, Packet, Track, TrackKind};

/// An encoder's own packets in the order of its stream: pictures of 40 ms, sound of 23.2 ms.
pub(crate) fn original(seconds: i64, content: Content, video: bool) -> Vec<Packet> {
    let mut out = Vec::new();
    if video {
        for n in 0..seconds * 25 {
            // I P B B: decoded in another order than shown.
            let pts_ms = 40 * (n + [0, 2, -1, -1][(n % 4) as usize]) + 80;
            let hash = content.hash(1, n, n * 40);
            out.push((n * 40, Packet { track: 1, pts_ms, duration_ms: 40, key: n % 48 == 0, size: 100, hash }));
        }
    }
    let sound = if video { 2 } else { 1 };
    for n in 0..seconds * 1000 * 441 / 10_240 {
        let pts_ms = n * 10_240 / 441;
        let hash = content.hash(2, n, pts_ms);
        // Sound runs 300 ms ahead in the multiplex.
        out.push((pts_ms - 300, Packet { track: sound, pts_ms, duration_ms: 23, key: true, size: 20, hash }));
    }
    out.sort_by_key(|(at, _)| *at);
    out.into_iter().map(|(_, p)| p).collect()
}

/// Where packets repeat.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// Every packet is unique.
    Unique,
    /// Everywhere between these times.
    Still(i64, i64),
    /// All the time, with this many packets to a round.
    Loop(i64),
}

impl Content {
    fn hash(self, track: u64, n: i64, at: i64) -> u64 {
        let n = match self {
            Self::Still(from, to) if (from..to).contains(&at) => n % (1 + from % 3),
            Self::Loop(round) => n % round,
            _ => n + 10,
        };
        track << 40 | n.cast_unsigned()
    }
}

/// A dump of `packets[from..to]`, begun at `wall` ms before the first of them is live.
pub(crate) struct Dump {
    pub(crate) index: MediaIndex,
    /// For each track, packets of the original before the first.
    pub(crate) from: Vec<u64>,
    /// In its own clock.
    pub(crate) packets: Vec<Packet>,
}

pub(crate) fn dump(all: &[Packet], from: usize, to: usize, own_clock: bool, late_ms: i64, torn: bool) -> Dump {
    let mut packets = all[from..to].to_vec();
    let zero = if own_clock { packets.iter().map(|p| p.pts_ms).min().expect("some") } else { 0 };
    if torn {
        // The last packet of each track is cut in the middle.
        for track in [1, 2] {
            if let Some(p) = packets.iter_mut().rfind(|p| p.track == track) {
                (p.size, p.hash) = (p.size / 2, p.hash ^ 0xdead);
            }
        }
    }
    for p in &mut packets {
        p.pts_ms -= zero;
    }
    let start = packets.iter().map(|p| p.pts_ms).min().expect("some");
    let end = packets.iter().map(|p| p.pts_ms + p.duration_ms).max().expect("some");
    let count = |track, packets: &[Packet]| packets.iter().filter(|p| p.track == track).count() as u64;
    let tracks = [TrackKind::Video, TrackKind::Audio].map(|kind| Track {
        number: 1 + u32::from(kind == TrackKind::Audio),
        kind,
        codec: String::new(),
        format_hash: 7,
        stream: 0,
        adts: false,
        whole_end: false,
        packet_ms: if kind == TrackKind::Video { 40 } else { 23 },
        packets: count(1 + u32::from(kind == TrackKind::Audio), &packets),
        pid: 0,
        language: String::new(),
        entry: Vec::new(),
        keys_ms: Vec::new(),
    });
    let video = all.iter().any(|p| p.track == 2);
    let tracks: Vec<_> = if video {
        tracks.into()
    } else {
        vec![Track { number: 1, packets: packets.len() as u64, ..tracks[1].clone() }]
    };
    let index = MediaIndex {
        spans: vec![MediaSpan { media_start_ms: start, media_end_ms: end, offset_ms: 1_000_000 + zero + late_ms }],
        head: packets.iter().filter(|p| p.pts_ms < start + EDGE_MS).copied().collect(),
        tail: packets.iter().filter(|p| p.pts_ms >= end - EDGE_MS).copied().collect(),
        keys_ms: packets.iter().filter(|p| video && p.key && p.track == 1).map(|p| p.pts_ms).collect(),
        format: if own_clock { "mp3" } else { "mpegts" }.to_owned(),
        ragged_end: torn,
        tracks,
        ..MediaIndex::default()
    };
    let before = |track| count(track, &all[..from]);
    Dump { index, from: vec![before(1), before(2)], packets }
}

pub(crate) fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        3 => Just(Content::Unique),
        2 => (0_i64..100_000, 1_000_i64..90_000).prop_map(|(at, len)| Content::Still(at, at + len)),
        1 => (30_i64..400).prop_map(Content::Loop),
    ]
}
