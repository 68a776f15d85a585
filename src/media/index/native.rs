//! Indexing what this program takes apart itself, in one pass over the file and without a child process.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::segment_stats::SegmentStats;
use super::{donors, size};
use crate::domain::media::{ClockRange, MediaIndex, Packet, Track, TrackKind};
use crate::domain::segment::Mark;
use crate::media::mpegts::{TICKS, TsDemux, TsPacket, TsTrack};
use crate::media::native::{BEGIN, Native};
use crate::media::{CancellationToken, MediaError, Result};

/// Indexes the first `bytes` of a file. `None`: it is for ffmpeg, which reads containers and codecs that are not read here.
///
/// # Errors
/// When the file cannot be read, or when cancelled.
pub(super) fn index(
    path: &Path,
    marks: &[Mark],
    donors: &[PathBuf],
    bytes: u64,
    cancel: &CancellationToken,
) -> Result<Option<MediaIndex>> {
    let Some(mut scan) = Scan::of(path, &[], bytes, cancel)? else { return Ok(None) };
    let mut prefix = Vec::new();
    if scan.lacks_video_format() {
        prefix = donors::borrow(path, donors, cancel)?;
        if !prefix.is_empty() {
            match Scan::of(path, &prefix, bytes, cancel)?.filter(|with| !with.lacks_video_format()) {
                Some(with) => scan = with,
                None => prefix = Vec::new(),
            }
        }
    }
    let Scan { native, gathered, arrivals } = scan;
    let format = native.format().to_owned();
    if let Native::Ts(ts) = &native {
        if ts.is_encrypted() {
            let problem = Some("encrypted: its packets are scrambled, nobody can play them without the key".to_owned());
            return Ok(Some(MediaIndex { format, problem, ..MediaIndex::default() }));
        }
        if ts.unsupported().is_some() {
            return Ok(None);
        }
    }
    if gathered.tracks.is_empty() {
        return Ok(None);
    }
    // A file that is being written has grown since: the join shall see the same bytes.
    let to_byte = (size(path)? != bytes).then_some(bytes);
    let (ranges, left_out) = match &native {
        Native::Ts(ts) => (clock_ranges(ts, prefix.len() as u64, to_byte), ts.left_out()),
        Native::Audio(_) => (vec![ClockRange { from_byte: 0, to_byte, shift_ms: 0, start_ms: 0 }], Vec::new()),
    };
    let (tracks, renumbered) = tracks(native.tracks(), &gathered);
    let gathered = gathered.renumbered(&renumbered);
    let index = gathered.finish(tracks, ranges, &arrivals, marks, bytes);
    Ok(Some(MediaIndex { format, ragged_end: true, is_native: true, prefix, left_out, ..index }))
}

/// A file that was read.
struct Scan {
    native: Native,
    /// Tracks are numbered as the reader counts them, from 1.
    gathered: SegmentStats,
    arrivals: Vec<(u64, i64)>,
}

impl Scan {
    /// True where its pictures cannot be read for want of parameter sets, which an earlier file may have.
    fn lacks_video_format(&self) -> bool {
        matches!(&self.native, Native::Ts(ts) if ts.lacks_video_format() && ts.unsupported().is_none())
    }

    /// Reads the first `bytes` of a file behind a prefix. `None`: it is for ffmpeg.
    fn of(path: &Path, prefix: &[u8], bytes: u64, cancel: &CancellationToken) -> Result<Option<Self>> {
        let fail = |source| MediaError::File { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(fail)?.take(bytes);
        let mut block = Vec::with_capacity(BEGIN);
        file.by_ref().take(BEGIN as u64).read_to_end(&mut block).map_err(fail)?;
        let Some(mut native) = Native::of(&block) else { return Ok(None) };
        let mut gathered = SegmentStats::default();
        let mut arrivals = Arrivals::default();
        let behind = prefix.len() as u64;
        let mut take = |_: &[TsTrack], packet: TsPacket| {
            let Some(byte) = packet.byte.checked_sub(behind) else { return };
            let track = u32::try_from(packet.track + 1).unwrap_or(u32::MAX);
            arrivals.take(track, byte, packet.pts_ms.saturating_add(packet.duration_ms));
            gathered.take(Packet {
                track,
                pts_ms: packet.pts_ms,
                duration_ms: packet.duration_ms,
                key: packet.key,
                size: u32::try_from(packet.payload.len()).unwrap_or(u32::MAX),
                hash: xxh3_64(&packet.payload),
            });
        };
        native.feed(prefix, &mut take);
        while !block.is_empty() {
            if cancel.is_cancelled() {
                return Err(MediaError::Cancelled);
            }
            native.feed(&block, &mut take);
            block.clear();
            file.by_ref().take(BEGIN as u64).read_to_end(&mut block).map_err(fail)?;
        }
        native.finish(&mut take);
        Ok(Some(Self { native, gathered, arrivals: arrivals.finish(bytes) }))
    }
}

/// Media whose last byte had arrived when so many bytes had. A packet is surely there when the next one of its track
/// begins: in MPEG-TS others lie between.
#[derive(Debug, Default)]
struct Arrivals {
    /// Of each track: where the unit of its last packets begins, and how far these reach, milliseconds.
    open: Vec<Option<(u64, i64)>>,
    found: Vec<(u64, i64)>,
}

impl Arrivals {
    fn take(&mut self, track: u32, byte: u64, end_ms: i64) {
        let at = track as usize;
        if self.open.len() <= at {
            self.open.resize(at + 1, None);
        }
        match &mut self.open[at] {
            Some((begun, end)) if *begun == byte => *end = (*end).max(end_ms),
            open => {
                if let Some((_, end)) = open.replace((byte, end_ms)) {
                    self.found.push((byte, end));
                }
            }
        }
    }

    fn finish(mut self, bytes: u64) -> Vec<(u64, i64)> {
        self.found.extend(self.open.iter().flatten().map(|(_, end)| (bytes, *end)));
        self.found.sort_unstable();
        self.found
    }
}

fn clock_ranges(demux: &TsDemux, prefix: u64, to_byte: Option<u64>) -> Vec<ClockRange> {
    let ms = |ticks: i64| ticks.div_euclid(TICKS / 1000);
    let stretches = demux.stretches();
    let from = |n: usize| stretches.get(n).map(|s| if n == 0 { 0 } else { s.byte.saturating_sub(prefix) });
    let mut out: Vec<ClockRange> = stretches
        .iter()
        .enumerate()
        .map(|(n, s)| ClockRange {
            from_byte: from(n).unwrap_or_default(),
            to_byte: from(n + 1),
            shift_ms: ms(s.shift),
            start_ms: ms(s.start),
        })
        .collect();
    if let Some(last) = out.last_mut() {
        last.to_byte = to_byte;
    }
    out
}

/// The tracks that have packets, video first, numbered from 1; and for each number of the reader's, the one here.
fn tracks(found: &[TsTrack], gathered: &SegmentStats) -> (Vec<Track>, Vec<Option<u32>>) {
    let known = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    let mut order: Vec<usize> = (0..found.len()).filter(|n| gathered.tracks.contains_key(&known(*n))).collect();
    order.sort_by_key(|n| found[*n].entry.kind() != TrackKind::Video);
    let mut renumbered = vec![None; found.len() + 1];
    let tracks = (1..)
        .zip(order)
        .map(|(number, n)| {
            renumbered[n + 1] = Some(number);
            let of = &found[n];
            Track {
                number,
                stream: u32::try_from(n).unwrap_or(u32::MAX),
                whole_end: of.whole_end,
                pid: of.pid,
                format_hash: of.hash,
                ..gathered.track(known(n), &of.entry)
            }
        })
        .collect();
    (tracks, renumbered)
}
