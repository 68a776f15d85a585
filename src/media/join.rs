//! Carries out the plan of an assembly: reads the packets of its pieces, writes one file, verifies what
//! is on the disk, and only then gives it its final name.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::decode_check::{self, Undecodable};
use super::demux::{Demux, Demuxed};
use super::inspect::{Inspected, inspect};
use super::mux::{Block, FileInfo, Mux};
use super::track::TrackEntry;
use super::{CancellationToken, MediaError, Result};
use crate::domain::ids::SegmentId;
use crate::domain::interval::Interval;
use crate::domain::media::{MediaIndex, Packet, TrackKind};
use crate::plan::assembly::{Clip, EditList};
use crate::plan::edit_filter::EditFilter;
use crate::plan::presented::{PresentedSpan, Presenter};

/// End of the name of a file that is being made. One that is found when nothing is at work is
/// half-made, and may go.
pub const TEMP_SUFFIX: &str = ".part";

/// What a plan is carried out on.
#[derive(Clone, Debug)]
pub struct JoinJob {
    /// The edit list to carry out.
    pub plan: EditList,
    /// Where the segments of its pieces are, with what is known of them.
    pub sources: HashMap<SegmentId, (PathBuf, MediaIndex)>,
    /// The final name; its directory is made where it is missing. A file of this name is replaced.
    pub target: PathBuf,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file, as it was read back from the disk.
    pub sha256: [u8; 32],
    /// Length of its media, milliseconds.
    pub duration_ms: i64,
    /// Packets left out because their times fell back: damaged timestamps inside a segment.
    pub dropped: u64,
    /// What the finished file presents, by track and time, less what could not be decoded.
    pub presented: Vec<PresentedSpan>,
    /// Places at which a track has packets and no decoder makes anything of them. Segments of such a file must stay.
    pub undecodable: Vec<Undecodable>,
}

/// Makes the file. `progress` is told how many milliseconds of the assembly are written.
///
/// # Errors
/// When a segment cannot be read or is not the one that was indexed, when the disk is full, or on
/// cancellation. Then nothing of it is left, and a file of the final name is as it was.
pub fn join(job: &JoinJob, progress: &mut dyn FnMut(u64), cancel: &CancellationToken) -> Result<Joined> {
    let seams: Vec<i64> = job.plan.clips.iter().skip(1).map(|p| p.out_start_ms).collect();
    let mut undecodable = Vec::new();
    let (written, bytes, sha256) = publish_checked(
        &job.target,
        |file, temp| write(job, file, temp, progress, cancel),
        |temp, written| {
            let found = inspect(temp, &mut |_, _| (), cancel)?;
            written.agrees_with(&found, temp)?;
            let places = decode_check::places(&written.presented, &seams);
            undecodable = decode_check::undecodable(temp, &written.presented, &places, cancel)?;
            Ok((found.bytes, found.sha256))
        },
    )?;
    let Written { duration_ms, dropped, presented, .. } = written;
    let presented = less(presented, &undecodable);
    Ok(Joined { bytes, sha256, duration_ms, dropped, presented, undecodable })
}

/// What a file presents without the places that do not decode.
fn less(presented: Vec<PresentedSpan>, undecodable: &[Undecodable]) -> Vec<PresentedSpan> {
    let mut out = presented;
    for bad in undecodable {
        let cut = |span: PresentedSpan| {
            if span.track != bad.track || span.out_end_ms <= bad.from_ms || bad.to_ms <= span.out_start_ms {
                return vec![span];
            }
            let wall = |at: i64| span.wall.start.plus(at - span.out_start_ms);
            let before = PresentedSpan {
                out_end_ms: bad.from_ms,
                wall: Interval::new(span.wall.start, wall(bad.from_ms)),
                ..span
            };
            let after =
                PresentedSpan { out_start_ms: bad.to_ms, wall: Interval::new(wall(bad.to_ms), span.wall.end), ..span };
            [before, after].into_iter().filter(|s| s.out_start_ms < s.out_end_ms && !s.wall.is_empty()).collect()
        };
        out = out.into_iter().flat_map(cut).collect();
    }
    out
}

/// What was written into a file.
#[derive(Debug)]
struct Written {
    duration_ms: i64,
    dropped: u64,
    presented: Vec<PresentedSpan>,
    /// Packets by number of the track.
    packets: BTreeMap<u32, u64>,
}

impl Written {
    /// Compares what was written with what is in the file.
    ///
    /// # Errors
    /// `Unsound` where they differ, and where a file, or a track of it, has no media.
    fn agrees_with(&self, found: &Inspected, path: &Path) -> Result<()> {
        let unsound = |detail: String| Err(MediaError::Unsound { path: path.to_owned(), detail });
        if found.tracks.iter().all(|track| track.packets == 0) {
            return unsound("not one packet is in it".to_owned());
        }
        for track in &found.tracks {
            let written = u32::try_from(track.number).ok().and_then(|n| self.packets.get(&n)).copied().unwrap_or(0);
            if track.packets != written {
                let (number, has) = (track.number, track.packets);
                return unsound(format!("track {number} has {has} packets, and {written} were written"));
            }
        }
        // A track that is not in the head was found above: a block of an unknown track does not parse.
        if (found.duration_ms - self.duration_ms).abs() > LENGTHS_MS {
            let length = found.duration_ms;
            return unsound(format!("it states {length} ms, and {} ms were written", self.duration_ms));
        }
        Ok(())
    }
}

/// The length that a file states and the one that was written may differ by this, milliseconds.
const LENGTHS_MS: i64 = 1000;

/// Makes a file under another name, has it written, syncs it, reads it back, and only then gives it its
/// name, durably: under that name there is never a part of it. Gives back what `write` did, the size and the
/// SHA-256 of what is on the disk.
///
/// # Errors
/// Those of `write`, and of the disk. Then nothing of it is left, and a file of the final name is as it was.
pub fn publish<T>(
    target: &Path,
    cancel: &CancellationToken,
    write: impl FnOnce(File, &Path) -> Result<(File, T)>,
) -> Result<(T, u64, [u8; 32])> {
    publish_checked(target, write, |temp, _| hash(temp, cancel))
}

/// As [`publish`], with a look of one's own at what is on the disk: `check` gives its size and SHA-256, or refuses it.
///
/// # Errors
/// Those of `write` and `check`, and of the disk. Then nothing of it is left, and a file of the final name is as it was.
pub fn publish_checked<T>(
    target: &Path,
    write: impl FnOnce(File, &Path) -> Result<(File, T)>,
    check: impl FnOnce(&Path, &T) -> Result<(u64, [u8; 32])>,
) -> Result<(T, u64, [u8; 32])> {
    let temp = temp_name(target);
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| MediaError::File { path, source }
    };
    let dir = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(at(dir))?;
    // Made anew: what a link of that name points to is not written to.
    match std::fs::remove_file(&temp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(&temp)(e)),
        _ => {}
    }
    let file = File::create_new(&temp).map_err(at(&temp))?;
    // From here on the half-made file goes whatever happens, unless it gets its final name.
    let guard = TempFile(Some(temp.clone()));
    let (file, made) = write(file, &temp)?;
    file.sync_all().map_err(at(&temp))?;
    drop(file);
    let (bytes, sha256) = check(&temp, &made)?;
    std::fs::rename(&temp, target).map_err(at(target))?;
    guard.keep();
    crate::durable::sync_folder(dir).map_err(at(dir))?;
    Ok((made, bytes, sha256))
}

/// The name under which a file is made.
#[must_use]
pub fn temp_name(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(TEMP_SUFFIX);
    name.into()
}

struct TempFile(Option<PathBuf>);

impl TempFile {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn write(
    job: &JoinJob,
    file: File,
    temp: &Path,
    progress: &mut dyn FnMut(u64),
    cancel: &CancellationToken,
) -> Result<(File, Written)> {
    let io = |source| MediaError::File { path: temp.to_owned(), source };
    let plan = &job.plan;
    let head = FileInfo {
        title: plan.title.clone(),
        tags: plan.tags.iter().chain(&plan.about).cloned().collect(),
        chapters: plan.chapters.clone(),
        starts: plan.starts,
    };
    let mut mux = Mux::new(BufWriter::with_capacity(1 << 18, file), head, entries(job)).map_err(io)?;
    let mut rising = Rising::default();
    let mut presenter = Presenter::new(plan);
    let video: Vec<u32> = plan.tracks.iter().filter(|t| t.kind == TrackKind::Video).map(|t| t.number).collect();
    for run in plan.clips.chunk_by(|a, b| a.segment == b.segment) {
        let mut reader = Checked::open(job, run, cancel)?;
        let mut filter = EditFilter::new(run);
        while let Some(Demuxed { packet, ordinal, discard_padding_ns, payload }) = reader.next_packet()? {
            let Some((track, placed_ms)) = filter.apply(packet.track, ordinal, packet.pts_ms, packet.key) else {
                if filter.is_over() {
                    break;
                }
                continue;
            };
            let Some(pts_ms) = rising.place(track, placed_ms, video.contains(&track)) else { continue };
            let duration_ms = if packet.duration_ms > 0 { packet.duration_ms } else { reader.packet_ms(packet.track) };
            let shift_ms = placed_ms - packet.pts_ms;
            presenter.add(run[0].segment, shift_ms, Packet { track, pts_ms, duration_ms, ..packet });
            mux.write(Block { track, pts_ms, duration_ms, key: packet.key, discard_padding_ns, payload })
                .map_err(io)?;
            progress(u64::try_from(pts_ms).unwrap_or_default());
        }
    }
    let (out, duration_ms) = mux.finish().map_err(io)?;
    let file = out.into_inner().map_err(|e| io(e.into_error()))?;
    let (presented, packets) = (presenter.finish(), presenter.packets().clone());
    Ok((file, Written { duration_ms, dropped: rising.dropped, presented, packets }))
}

/// Heads of the file's tracks: of each, that of the first segment that has it.
fn entries(job: &JoinJob) -> Vec<(u32, TrackEntry)> {
    let plan = &job.plan;
    let of = |out: u32| {
        plan.clips.iter().find_map(|clip| {
            let known = clip.tracks.iter().find(|t| t.out_track == out)?;
            let index = &job.sources.get(&clip.segment)?.1;
            index.tracks.iter().find(|t| t.number == known.track).map(|t| TrackEntry::read(&t.entry))
        })
    };
    let mut out: Vec<_> = plan.tracks.iter().filter_map(|t| Some((t.number, of(t.number)?))).collect();
    out.sort_by_key(|(number, _)| *number);
    out
}

fn open(job: &JoinJob, segment: SegmentId, cancel: &CancellationToken) -> Result<Demux> {
    let Some((path, index)) = job.sources.get(&segment) else {
        let source = io::Error::new(io::ErrorKind::NotFound, "no file is known for it");
        return Err(MediaError::File { path: format!("segment {segment}").into(), source });
    };
    // ffmpeg's own words for a missing file are less clear.
    File::open(path).map_err(|source| MediaError::File { path: path.clone(), source })?;
    Demux::reopen(path, index, cancel)
}

/// Reads a segment and makes sure that its packets are those that the plan was made on.
struct Checked<'a> {
    demux: Demux,
    path: &'a Path,
    index: &'a MediaIndex,
    /// Per track: hashes of the packets at its start, number of the first in its tail, theirs.
    known: Vec<(Vec<u64>, u64, Vec<u64>)>,
    seen: Vec<u64>,
}

impl<'a> Checked<'a> {
    fn open(job: &'a JoinJob, run: &[Clip], cancel: &CancellationToken) -> Result<Self> {
        let segment = run[0].segment;
        let demux = open(job, segment, cancel)?;
        let (path, index) = &job.sources[&segment];
        let hashes: Vec<u64> = demux.entries().map(TrackEntry::format_hash).collect();
        // Tracks of further formats come with their packets.
        let known = index.tracks.iter().map(|t| t.format_hash).take(hashes.len());
        if !index.is_native && !known.eq(hashes.iter().copied()) {
            return Err(MediaError::Stale { path: path.clone(), detail: "its format is another one".to_owned() });
        }
        let known = index
            .tracks
            .iter()
            .map(|t| {
                let of = |edge: &[crate::domain::media::Packet]| -> Vec<u64> {
                    edge.iter().filter(|p| p.track == t.number).map(|p| p.hash).collect()
                };
                let tail = of(&index.tail);
                (of(&index.head), t.packets.saturating_sub(tail.len() as u64), tail)
            })
            .collect();
        Ok(Self { demux, path, index, known, seen: vec![0; index.tracks.len()] })
    }

    fn packet_ms(&self, track: u32) -> i64 {
        self.index.tracks.get(track as usize - 1).map_or(0, |t| t.packet_ms)
    }

    fn next_packet(&mut self) -> Result<Option<Demuxed>> {
        let stale = |detail: String| MediaError::Stale { path: self.path.to_owned(), detail };
        let Some(next) = self.demux.next_packet()? else {
            let expected: Vec<u64> = self.index.tracks.iter().map(|t| t.packets).collect();
            if self.seen != expected {
                return Err(stale(format!("it has {:?} packets instead of {expected:?}", self.seen)));
            }
            return Ok(None);
        };
        let track = next.packet.track as usize - 1;
        self.seen[track] += 1;
        let (head, first, tail) = &self.known[track];
        let in_head = usize::try_from(next.ordinal).ok().and_then(|n| head.get(n));
        let in_tail = next.ordinal.checked_sub(*first).and_then(|n| tail.get(usize::try_from(n).ok()?));
        if [in_head, in_tail].into_iter().flatten().any(|known| *known != next.packet.hash) {
            return Err(stale(format!("packet {} of track {} is another one", next.ordinal, track + 1)));
        }
        Ok(Some(next))
    }
}

/// Sees to it that the times of each track rise.
#[derive(Debug, Default)]
struct Rising {
    last: HashMap<u32, i64>,
    dropped: u64,
}

impl Rising {
    /// Times that fall back by up to this are put right; what falls back further is left out.
    const MEND_MS: i64 = 200;

    fn place(&mut self, track: u32, pts_ms: i64, video: bool) -> Option<i64> {
        // Video frames are decoded in another order than shown: their times fall as they should.
        if video {
            return Some(pts_ms);
        }
        let last = self.last.entry(track).or_insert(i64::MIN);
        if pts_ms <= *last && pts_ms < last.saturating_sub(Self::MEND_MS) {
            self.dropped += 1;
            return None;
        }
        *last = pts_ms.max(last.saturating_add(1));
        Some(*last)
    }
}

/// Reads a file back from the disk: its size and SHA-256.
///
/// # Errors
/// When it cannot be read, or on cancellation.
pub fn hash(path: &Path, cancel: &CancellationToken) -> Result<(u64, [u8; 32])> {
    let io = |source| MediaError::File { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        if cancel.is_cancelled() {
            return Err(MediaError::Cancelled);
        }
        match file.read(&mut buffer).map_err(io)? {
            0 => break,
            n => {
                hash.update(&buffer[..n]);
                bytes += n as u64;
            }
        }
    }
    Ok((bytes, hash.finalize().into()))
}

/// Removes half-made files below `dir` and says which. To be called while nothing is at work there.
#[must_use]
pub fn remove_half_made(dir: &Path) -> Vec<PathBuf> {
    let mut gone = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) {
                dirs.push(path);
            } else if path.to_string_lossy().ends_with(TEMP_SUFFIX) && std::fs::remove_file(&path).is_ok() {
                gone.push(path);
            }
        }
    }
    gone
}
