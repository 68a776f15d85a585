//! Writes packets into one Matroska file.
//!
//! Layout: head (SeekHead, Info, Chapters, Tags, Tracks), clusters, Cues. The head is written again at
//! the end with what is known then; every number in it has a fixed width, so it fits.

use std::collections::VecDeque;
use std::io::{self, Seek, SeekFrom, Write};

use super::ebml::{self, id};
use super::track::TrackEntry;
use crate::domain::media::TrackKind;
use crate::domain::time::Ms;
use crate::plan::assembly::Chapter;

/// A cluster ends after this time, milliseconds: players seek by clusters.
const CLUSTER_MS: i64 = 5000;
/// With video frames it ends at the first keyframe after this, so that seeking finds one at its start.
const CLUSTER_KEY_MS: i64 = 1000;
/// Or when it has so many bytes.
const CLUSTER_BYTES: usize = 4 << 20;
/// Blocks name their time as 16 bits beside the cluster's.
const BLOCK_REACH_MS: i64 = 30_000;
/// Tracks are put in order of time within this, milliseconds: multiplexes are skewed by less.
const INTERLEAVE_MS: i64 = 3000;

/// What the head says beside the tracks.
#[derive(Clone, Debug, Default)]
pub struct FileInfo {
    /// Title of the file.
    pub title: String,
    /// Names and values.
    pub tags: Vec<(String, String)>,
    /// Chapter marks in order of time.
    pub chapters: Vec<Chapter>,
    /// Wall time of its start.
    pub starts: Option<Ms>,
}

/// A packet to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of its track.
    pub track: u32,
    /// Presentation time, milliseconds from the start.
    pub pts_ms: i64,
    /// Its length, milliseconds, 0 where unknown.
    pub duration_ms: i64,
    /// Decoding may begin here.
    pub key: bool,
    /// Samples to drop at its end, nanoseconds.
    pub discard_padding_ns: Option<i64>,
    /// Payload of the block.
    pub payload: Vec<u8>,
}

/// A file being written.
#[derive(Debug)]
pub struct Mux<W: Write + Seek> {
    out: W,
    head: FileInfo,
    tracks: Vec<MuxTrack>,
    /// Bytes written so far, from the start of the file.
    written: u64,
    head_bytes: usize,
    /// First byte of the Segment element's content.
    segment: u64,
    cluster: Vec<u8>,
    cluster_ms: Option<i64>,
    cues: Vec<(i64, u32, u64)>,
    end_ms: i64,
}

#[derive(Debug)]
struct MuxTrack {
    number: u32,
    entry: TrackEntry,
    video: bool,
    queue: VecDeque<(i64, Block)>,
    /// Largest time so far: the order in which tracks take turns, while each keeps its own.
    order: i64,
}

impl<W: Write + Seek> Mux<W> {
    /// Begins a file with these tracks, by number.
    ///
    /// # Errors
    /// What the writer says.
    pub fn new(mut out: W, head: FileInfo, tracks: Vec<(u32, TrackEntry)>) -> io::Result<Self> {
        let tracks: Vec<_> = tracks
            .into_iter()
            .map(|(number, entry)| MuxTrack {
                number,
                video: entry.kind() == TrackKind::Video,
                entry,
                queue: VecDeque::new(),
                order: i64::MIN,
            })
            .collect();
        let (bytes, segment) = head_bytes(&head, &tracks, 0, 0, 0);
        out.write_all(&bytes)?;
        Ok(Self {
            out,
            head,
            tracks,
            written: bytes.len() as u64,
            head_bytes: bytes.len(),
            segment,
            cluster: Vec::new(),
            cluster_ms: None,
            cues: Vec::new(),
            end_ms: 0,
        })
    }

    /// Takes the next packet of a track, in decoding order.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&mut self, block: Block) -> io::Result<()> {
        let Some(track) = self.tracks.iter_mut().find(|t| t.number == block.track) else { return Ok(()) };
        track.order = track.order.max(block.pts_ms);
        self.end_ms = self.end_ms.max(block.pts_ms.saturating_add(block.duration_ms));
        track.queue.push_back((track.order, block));
        let newest = self.tracks.iter().map(|t| t.order).max().unwrap_or_default();
        while let Some((order, block)) = self.next_block(newest) {
            debug_assert!(order <= newest);
            self.put(&block)?;
        }
        Ok(())
    }

    /// The block whose turn it is: the earliest, once every track has one waiting or has been silent for
    /// long enough.
    fn next_block(&mut self, newest: i64) -> Option<(i64, Block)> {
        let all_waiting = self.tracks.iter().all(|t| !t.queue.is_empty());
        let first =
            self.tracks.iter_mut().filter(|t| !t.queue.is_empty()).min_by_key(|t| t.queue.front().map(|f| f.0))?;
        let order = first.queue.front()?.0;
        (all_waiting || newest.saturating_sub(order) > INTERLEAVE_MS).then(|| first.queue.pop_front()).flatten()
    }

    fn put(&mut self, block: &Block) -> io::Result<()> {
        let has_video = self.tracks.iter().any(|t| t.video);
        let video = self.tracks.iter().any(|t| t.number == block.track && t.video);
        if let Some(start) = self.cluster_ms {
            let age = block.pts_ms - start;
            let full = age >= CLUSTER_MS && (!has_video || video || age >= 2 * CLUSTER_MS)
                || (video && block.key && age >= CLUSTER_KEY_MS)
                || self.cluster.len() >= CLUSTER_BYTES
                || age.abs() >= BLOCK_REACH_MS;
            if full {
                self.end_cluster()?;
            }
        }
        let start = *self.cluster_ms.get_or_insert_with(|| {
            let start = block.pts_ms.max(0);
            if (video && block.key) || !has_video {
                self.cues.push((start, block.track, self.written - self.segment));
            }
            start
        });
        let mut content = Vec::with_capacity(block.payload.len() + 8);
        ebml::put_size(&mut content, u64::from(block.track));
        let relative =
            i16::try_from(block.pts_ms - start).unwrap_or(if block.pts_ms < start { i16::MIN } else { i16::MAX });
        content.extend_from_slice(&relative.to_be_bytes());
        match block.discard_padding_ns {
            None => {
                content.push(if block.key { 0x80 } else { 0 });
                content.extend_from_slice(&block.payload);
                ebml::put(&mut self.cluster, id::SIMPLE_BLOCK, &content);
            }
            Some(padding) => {
                content.push(0);
                content.extend_from_slice(&block.payload);
                ebml::put_master(&mut self.cluster, id::BLOCK_GROUP, |out| {
                    ebml::put(out, id::BLOCK, &content);
                    ebml::put_small_uint(out, id::BLOCK_DURATION, block.duration_ms.max(0).cast_unsigned());
                    ebml::put(out, id::DISCARD_PADDING, &padding.to_be_bytes());
                });
            }
        }
        Ok(())
    }

    fn end_cluster(&mut self) -> io::Result<()> {
        let Some(start) = self.cluster_ms.take() else { return Ok(()) };
        let mut timestamp = Vec::new();
        ebml::put_small_uint(&mut timestamp, id::TIMESTAMP, start.cast_unsigned());
        let mut head = Vec::new();
        ebml::put_id(&mut head, id::CLUSTER);
        ebml::put_size(&mut head, (timestamp.len() + self.cluster.len()) as u64);
        head.extend_from_slice(&timestamp);
        self.out.write_all(&head)?;
        self.out.write_all(&self.cluster)?;
        self.written += (head.len() + self.cluster.len()) as u64;
        self.cluster.clear();
        Ok(())
    }

    /// Writes what is left and the final head. Gives back the writer, flushed, and the length of the
    /// media in milliseconds.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self) -> io::Result<(W, i64)> {
        while let Some((_, block)) = self.next_block(i64::MAX) {
            self.put(&block)?;
        }
        self.end_cluster()?;
        let cues_at = self.written - self.segment;
        let mut cues = Vec::new();
        ebml::put_master(&mut cues, id::CUES, |out| {
            for (time, track, cluster) in &self.cues {
                ebml::put_master(out, id::CUE_POINT, |out| {
                    ebml::put_small_uint(out, id::CUE_TIME, time.cast_unsigned());
                    ebml::put_master(out, id::CUE_TRACK_POSITIONS, |out| {
                        ebml::put_small_uint(out, id::CUE_TRACK, u64::from(*track));
                        ebml::put_small_uint(out, id::CUE_CLUSTER_POSITION, *cluster);
                    });
                });
            }
        });
        self.out.write_all(&cues)?;
        self.written += cues.len() as u64;
        let (head, _) = head_bytes(&self.head, &self.tracks, self.written - self.segment, self.end_ms, cues_at);
        // All numbers in it have a fixed width.
        if head.len() != self.head_bytes {
            return Err(io::Error::other("the head of the file changed its size"));
        }
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&head)?;
        self.out.flush()?;
        Ok((self.out, self.end_ms))
    }
}

/// What a file begins with.
pub(super) fn ebml_head() -> Vec<u8> {
    let mut out = Vec::new();
    ebml::put_master(&mut out, id::EBML, |out| {
        for (id, value) in [
            (id::EBML_VERSION, 1),
            (id::EBML_READ_VERSION, 1),
            (id::EBML_MAX_ID_LENGTH, 4),
            (id::EBML_MAX_SIZE_LENGTH, 8),
        ] {
            ebml::put_small_uint(out, id, value);
        }
        ebml::put(out, id::DOC_TYPE, b"matroska");
        ebml::put_small_uint(out, id::DOC_TYPE_VERSION, 4);
        ebml::put_small_uint(out, id::DOC_TYPE_READ_VERSION, 2);
    });
    out
}

/// Everything before the first cluster, and where the content of the Segment element begins.
fn head_bytes(head: &FileInfo, tracks: &[MuxTrack], segment_bytes: u64, end_ms: i64, cues_at: u64) -> (Vec<u8>, u64) {
    let mut out = ebml_head();
    ebml::put_id(&mut out, id::SEGMENT);
    ebml::put_wide_size(&mut out, segment_bytes);
    let segment = out.len() as u64;

    let parts = [
        (id::INFO, info(head, end_ms)),
        (id::CHAPTERS, chapters(&head.chapters)),
        (id::TAGS, tags(&head.tags)),
        (id::TRACKS, track_list(tracks)),
    ];
    // Positions are counted from the Segment's content; the SeekHead's own length is fixed.
    let seek_head = |positions: &[(u32, u64)]| {
        let mut out = Vec::new();
        ebml::put_master(&mut out, id::SEEK_HEAD, |out| {
            for (id, position) in positions {
                ebml::put_master(out, id::SEEK, |out| {
                    ebml::put(out, id::SEEK_ID, &id.to_be_bytes());
                    ebml::put_uint(out, id::SEEK_POSITION, *position);
                });
            }
        });
        out
    };
    let mut positions: Vec<(u32, u64)> = parts.iter().filter(|(_, p)| !p.is_empty()).map(|(id, _)| (*id, 0)).collect();
    positions.push((id::CUES, cues_at));
    let mut at = seek_head(&positions).len() as u64;
    let mut place = positions.iter_mut();
    for (_, part) in parts.iter().filter(|(_, p)| !p.is_empty()) {
        if let Some((_, position)) = place.next() {
            *position = at;
        }
        at += part.len() as u64;
    }
    out.extend(seek_head(&positions));
    for (_, part) in parts {
        out.extend(part);
    }
    (out, segment)
}

fn info(head: &FileInfo, end_ms: i64) -> Vec<u8> {
    let app = concat!("streamrip ", env!("CARGO_PKG_VERSION"));
    let mut out = Vec::new();
    ebml::put_master(&mut out, id::INFO, |out| {
        ebml::put_small_uint(out, id::TIMESTAMP_SCALE, 1_000_000);
        ebml::put_float(out, id::DURATION, end_ms as f64);
        if let Some(starts) = head.starts {
            // Nanoseconds since the start of 2001.
            let since_2001 = starts.0.saturating_sub(978_307_200_000).saturating_mul(1_000_000);
            ebml::put(out, id::DATE_UTC, &since_2001.to_be_bytes());
        }
        if !head.title.is_empty() {
            ebml::put(out, id::TITLE, head.title.as_bytes());
        }
        ebml::put(out, id::MUXING_APP, app.as_bytes());
        ebml::put(out, id::WRITING_APP, app.as_bytes());
    });
    out
}

fn chapters(chapters: &[Chapter]) -> Vec<u8> {
    let mut out = Vec::new();
    if chapters.is_empty() {
        return out;
    }
    ebml::put_master(&mut out, id::CHAPTERS, |out| {
        ebml::put_master(out, id::EDITION_ENTRY, |out| {
            for (uid, chapter) in (1..).zip(chapters) {
                ebml::put_master(out, id::CHAPTER_ATOM, |out| {
                    ebml::put_uint(out, id::CHAPTER_UID, uid);
                    let ns = chapter.at_ms.max(0).cast_unsigned().saturating_mul(1_000_000);
                    ebml::put_uint(out, id::CHAPTER_TIME_START, ns);
                    ebml::put_master(out, id::CHAPTER_DISPLAY, |out| {
                        ebml::put(out, id::CHAP_STRING, chapter.title.as_bytes());
                        ebml::put(out, id::CHAP_LANGUAGE, b"und");
                    });
                });
            }
        });
    });
    out
}

fn tags(tags: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    if tags.is_empty() {
        return out;
    }
    ebml::put_master(&mut out, id::TAGS, |out| {
        ebml::put_master(out, id::TAG, |out| {
            // Without a target: the whole file.
            ebml::put(out, id::TARGETS, &[]);
            for (name, value) in tags {
                ebml::put_master(out, id::SIMPLE_TAG, |out| {
                    ebml::put(out, id::TAG_NAME, name.as_bytes());
                    ebml::put(out, id::TAG_STRING, value.as_bytes());
                });
            }
        });
    });
    out
}

fn track_list(tracks: &[MuxTrack]) -> Vec<u8> {
    let mut out = Vec::new();
    ebml::put_master(&mut out, id::TRACKS, |out| {
        for track in tracks {
            track.entry.write(out, u64::from(track.number));
        }
    });
    out
}
