//! Recordings that a browser cannot play as they are, in a form that it plays: made while somebody watches, kept for a
//! moment in files without a name, which end with the process.

mod worker;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::slice_bytes::SliceBytes;
use super::timeline::{self, ScanProgress};
use crate::app::support::env::Env;
use crate::app::support::free_space::free_bytes;
use crate::domain::ids::SegmentId;
use crate::domain::pts::nearest;
use crate::domain::segment::{Container, Segment};
use crate::domain::time::Ms;
use crate::media::mpegts::{Scan, TICKS};
use crate::media::transmux::{TargetFormat, Webm};
use crate::plan::timeshift::SegmentTimeline;

/// So many are made at the same time, each by an ffmpeg of low priority. One of a segment that is being recorded is made
/// for as long as somebody watches.
const MAX_WORKERS: usize = 6;

/// Cache limit (each entry holds a file descriptor); the least recently used entry is evicted.
const MAX_ENTRIES: usize = 128;

/// All of them together take no more than this on the disk, bytes: about two days of a talk's usual half Mbit a second.
const MAX_CACHE_BYTES: u64 = 4 << 30;

/// Nothing is made where so much more than the reserve is not free, bytes: what is made here must not be what brings the
/// recorder to its reserve.
const MIN_FREE_BYTES: u64 = 1 << 30;

/// One that nobody has asked for in so long goes.
pub(super) const MAX_IDLE: Duration = Duration::from_secs(300);

/// One that somebody has asked for within this time does not make way for another: a player asks every few seconds.
const KEEP_IN_USE: Duration = Duration::from_secs(30);

/// The remade segments.
#[derive(Clone, Debug, Default)]
pub(super) struct TransmuxCache(Arc<Mutex<Entries>>);

type Entries = HashMap<SegmentId, CacheEntry>;

/// One whose making broke off is begun again after this time, once: the segment may go on for hours.
const RETRY_DELAY: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct CacheEntry {
    asked: Instant,
    /// It was begun for the second time.
    again: bool,
    transmux_job: Arc<Transmux>,
}

impl Drop for CacheEntry {
    fn drop(&mut self) {
        self.transmux_job.stop.store(true, Ordering::Relaxed);
    }
}

/// One segment in its new form.
#[derive(Debug)]
struct Transmux {
    /// Nobody wants it any more.
    stop: Arc<AtomicBool>,
    /// All that was recorded went in, once.
    fed: AtomicBool,
    written: AtomicU64,
    state: Mutex<State>,
}

/// How far it has come.
#[derive(Debug)]
struct State {
    /// What it becomes, or why browsers do not play it; `None` while that is not known.
    form: Option<Result<TargetFormat, String>>,
    /// A time of the segment's clock, milliseconds, and when that was.
    clock: Option<(i64, Ms)>,
    media: TransmuxedMedia,
    file: File,
    /// Nothing more comes.
    done: bool,
    /// Nothing more comes, though more was or will be recorded, since then.
    broke: Option<Instant>,
}

#[derive(Debug)]
enum TransmuxedMedia {
    MpegTs(Box<Scan>),
    WebM(Webm),
}

impl State {
    fn seen(&self) -> ScanProgress<'_> {
        match &self.media {
            TransmuxedMedia::MpegTs(scan) => (&**scan).into(),
            TransmuxedMedia::WebM(webm) => {
                ScanProgress { cuts: webm.cuts(), end_ticks: webm.end_ticks(), bytes: webm.written() }
            }
        }
    }

    /// Wall time of the first cut.
    fn begin(&self) -> Option<Ms> {
        let ((media_ms, wall), first) = self.clock.zip(self.seen().cuts.first())?;
        // ffmpeg gives the first cut a timestamp of 33 bits.
        let known = media_ms * (TICKS / 1000);
        Some(wall.plus((nearest(first.ticks, known) - known) * 1000 / TICKS))
    }
}

/// What can be said of a segment.
#[derive(Debug)]
pub(super) enum Playable {
    /// Nothing yet.
    Unknown,
    /// Why browsers do not play it.
    Obstacle(String),
    /// Nothing, and nothing will come.
    Nothing,
    /// What of it can be played, and as what.
    As {
        /// What it becomes.
        form: TargetFormat,
        /// Where it can be cut; closed when all of it is there.
        timeline: SegmentTimeline,
        /// As much of it is there as was recorded.
        is_ready: bool,
    },
}

impl TransmuxCache {
    /// How far a segment has come; asking for it has it made.
    pub fn look(&self, env: &Env, segment: &Segment) -> Playable {
        let Some(transmux_job) = self.of(env, segment) else { return Playable::Unknown };
        let state = transmux_job.state();
        match (&state.form, state.done) {
            (None, false) => Playable::Unknown,
            (None, true) => Playable::Nothing,
            (Some(Err(obstacle)), _) => Playable::Obstacle(obstacle.clone()),
            (Some(Ok(form)), done) => {
                let mut timeline = timeline::of_segment(segment, state.seen(), state.begin());
                timeline.closed = timeline.closed.filter(|_| done);
                if matches!(segment.container, Container::Mp3 | Container::Adts) {
                    by_the_wall(&mut timeline);
                }
                let is_ready = done || (segment.closed.is_none() && transmux_job.fed.load(Ordering::Relaxed));
                Playable::As { form: form.clone(), timeline, is_ready }
            }
        }
    }

    /// The bytes between two cuts. `None`: it is not there (any more).
    ///
    /// # Errors
    /// When its file cannot be opened again.
    pub fn open(&self, env: &Env, segment: &Segment, from: u64, to: u64) -> io::Result<Option<SliceBytes>> {
        let Some(transmux_job) = self.of(env, segment) else { return Ok(None) };
        let state = transmux_job.state();
        if state.seen().bytes < to {
            return Ok(None);
        }
        let file = state.file.try_clone()?;
        Ok(Some(match &state.media {
            TransmuxedMedia::MpegTs(scan) => SliceBytes::of_mpegts(file, scan, from, to),
            TransmuxedMedia::WebM(webm) => SliceBytes::of_bytes(file, webm.head().to_vec(), from, to),
        }))
    }

    /// Lets go what nobody has asked for in `idle`; all of it where the disk is short of space, which the tapes need.
    pub fn tidy(&self, env: &Env, idle: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_short(env, 0) {
            all.clear();
        }
        all.retain(|_, kept| kept.asked.elapsed() < idle);
    }

    fn of(&self, env: &Env, segment: &Segment) -> Option<Arc<Transmux>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut again = false;
        if let Some(kept) = all.get_mut(&segment.id) {
            kept.asked = Instant::now();
            let broke = kept.transmux_job.state().broke;
            again = segment.closed.is_none() && !kept.again && broke.is_some_and(|at| at.elapsed() > RETRY_DELAY);
            if !again {
                return Some(Arc::clone(&kept.transmux_job));
            }
            all.remove(&segment.id);
        }
        let making = |kept: &CacheEntry| !kept.transmux_job.state().done;
        let full = all.len() >= MAX_ENTRIES;
        if full || all.values().filter(|kept| making(kept)).count() >= MAX_WORKERS {
            make_way(&mut all, |kept| full || making(kept)).then_some(())?;
        }
        if is_short(env, MIN_FREE_BYTES) {
            return None;
        }
        match worker::start(env, segment, Arc::downgrade(&self.0)) {
            Ok(transmux_job) => {
                all.insert(
                    segment.id,
                    CacheEntry { asked: Instant::now(), again, transmux_job: Arc::clone(&transmux_job) },
                );
                Some(transmux_job)
            }
            Err(e) => {
                tracing::warn!("{} cannot be converted for the web page: {e}", segment.path.display());
                None
            }
        }
    }

    /// True where so many bytes more may be written now.
    fn has_room(&self, env: &Env, bytes: u64) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let taken: u64 = all.values().map(|kept| kept.transmux_job.written.load(Ordering::Relaxed)).sum();
            if taken + bytes <= MAX_CACHE_BYTES {
                return !is_short(env, MIN_FREE_BYTES);
            }
            if !make_way(&mut all, |_| true) {
                return false;
            }
        }
    }
}

/// Lets go the one of these that was asked for longest ago, if that is long enough.
fn make_way(all: &mut HashMap<SegmentId, CacheEntry>, which: impl Fn(&CacheEntry) -> bool) -> bool {
    let oldest = all.iter().filter(|(_, kept)| which(kept)).min_by_key(|(_, kept)| kept.asked);
    let Some(id) = oldest.filter(|(_, kept)| kept.asked.elapsed() > KEEP_IN_USE).map(|(id, _)| *id) else {
        return false;
    };
    all.remove(&id).is_some()
}

/// Gives a strip the wall's clock: without a container each connection counts from 0, and two silences at the same place
/// in two of them are not one.
fn by_the_wall(timeline: &mut SegmentTimeline) {
    let Some(by_us) = timeline.keys.first().map(|key| key.wall.0 * 1000 - key.media_us) else { return };
    timeline.end_us += by_us;
    for key in &mut timeline.keys {
        key.media_us += by_us;
        key.jump = key.jump.map(|end| end + by_us);
    }
}

fn is_short(env: &Env, margin: u64) -> bool {
    free_bytes(&env.data_dir).is_some_and(|free| free < env.settings.disk.reserve_bytes.saturating_add(margin))
}

impl Transmux {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
