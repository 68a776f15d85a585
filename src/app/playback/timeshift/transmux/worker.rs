//! Makes one segment anew, in a thread of its own.

use std::fs::{File, OpenOptions, remove_file};
use std::io::{self, Read as _, Write as _};
use std::process::ChildStdin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::{Entries, State, Transmux, TransmuxCache, TransmuxedMedia};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::tail_reader::TailReader;
use crate::catalog::{marks, open_reader, segments};
use crate::domain::ids::SegmentId;
use crate::domain::segment::{Container, Segment};
use crate::domain::time::Ms;
use crate::media::CancellationToken;
use crate::media::demux::Demux;
use crate::media::transmux::{ProbedHead, TargetFormat, Webm, probe_head, to_mpegts};
use crate::plan::anchor::{DECIDE_MS, first_packet};

/// Bytes read at once.
const BLOCK: usize = 64 << 10;

/// Room is asked for again after so many bytes.
const STEP: u64 = 8 << 20;

/// Marks are looked for, and room is, this often.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Begins to make a segment anew.
pub(super) fn start(env: &Env, segment: &Segment, share: Weak<Mutex<Entries>>) -> io::Result<Arc<Transmux>> {
    let file = nameless(env, segment.id)?;
    let writer = file.try_clone()?;
    let state = State {
        form: None,
        clock: None,
        media: TransmuxedMedia::MpegTs(Box::default()),
        file,
        done: false,
        broke: None,
    };
    let transmux_job = Arc::new(Transmux {
        stop: Arc::default(),
        fed: AtomicBool::new(false),
        written: AtomicU64::new(0),
        state: state.into(),
    });
    let maker = TransmuxWorker {
        env: env.clone(),
        segment: segment.clone(),
        transmux_job: Arc::clone(&transmux_job),
        share,
        file: writer,
    };
    Builder::new().name("remake".to_owned()).spawn(move || maker.run())?;
    Ok(transmux_job)
}

/// A file on the disk of the recordings that nobody finds, and that is gone when it is closed, however the process ends.
fn nameless(env: &Env, segment: SegmentId) -> io::Result<File> {
    let path = env.data_dir.join(format!(".player-{}-{segment}", std::process::id()));
    // One of a process that was killed between these two lines.
    let _ = remove_file(&path);
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    remove_file(&path)?;
    Ok(file)
}

struct WorkerGuard(Arc<Transmux>);

impl Drop for WorkerGuard {
    fn drop(&mut self) {
        self.0.state().done = true;
    }
}

struct TransmuxWorker {
    env: Env,
    segment: Segment,
    transmux_job: Arc<Transmux>,
    /// Does not keep them: when they go, this one ends.
    share: Weak<Mutex<Entries>>,
    file: File,
}

impl TransmuxWorker {
    fn run(mut self) {
        // Also where this thread fails.
        let _done = WorkerGuard(Arc::clone(&self.transmux_job));
        if let Err(e) = self.make()
            && !self.is_unwanted()
        {
            tracing::warn!("{} is only partly converted for the web page: {e}", self.segment.path.display());
            self.transmux_job.state().broke = Some(Instant::now());
        }
    }

    fn make(&mut self) -> Result<()> {
        let Some((probed, wall)) = self.probe_head()? else { return Ok(()) };
        let form = probed.target_format.clone();
        {
            let mut state = self.transmux_job.state();
            let first = first_packet(self.segment.opened, [(wall, probed.end_ms - probed.first_ms)]);
            state.clock = Some((probed.first_ms, first));
            if matches!(form, Ok(TargetFormat::WebM(_))) {
                state.media = TransmuxedMedia::WebM(Webm::default());
            }
            state.form = Some(form.clone());
        }
        match form {
            Ok(TargetFormat::MpegTs) => self.mpegts(),
            Ok(TargetFormat::WebM(_)) => self.webm(),
            Err(_) => Ok(()),
        }
    }

    fn is_unwanted(&self) -> bool {
        self.transmux_job.stop.load(Ordering::Relaxed)
    }

    /// What the first seconds say, and by when they had come: a server that sends the last minute at once has sent it by
    /// then, and bytes come late but never early. That stays so, and with it the list of what can be watched.
    fn probe_head(&self) -> Result<Option<(ProbedHead, Ms)>> {
        let cannot = |e| Failure::new(Kind::Failed, "cannot read the beginning of a segment").because(e);
        let db = open_reader(&self.env.data_dir)?;
        let path = self.env.data_dir.join(&self.segment.path);
        let adts = self.segment.container == Container::Adts;
        let mut looked = 0;
        while !self.is_unwanted() {
            let closed = segments::segment(&db, self.segment.id)?.map_or(Some(self.segment.opened), |s| s.closed);
            let marks = marks::of_segment(&db, self.segment.id)?;
            // Where the first were not enough, twice as much.
            let enough = marks.iter().find(|m| m.at.since(self.segment.opened) > DECIDE_MS && m.offset >= 2 * looked);
            let (at, bytes) = match (enough, closed) {
                (Some(mark), _) => (mark.at, mark.offset),
                (None, Some(closed)) => (marks.last().map_or(closed, |m| m.at.min(closed)), u64::MAX),
                (None, None) => {
                    // The recorder writes marks every few seconds, and tells nobody but the catalog.
                    std::thread::sleep(POLL_INTERVAL);
                    continue;
                }
            };
            match probe_head(&path, adts, bytes, &CancellationToken::new()).map_err(cannot)? {
                Some(probe_head) => return Ok(Some((probe_head, at))),
                None if bytes == u64::MAX => return Ok(None),
                None => looked = bytes.max(1),
            }
        }
        Ok(None)
    }

    fn mpegts(&mut self) -> Result<()> {
        let (child, pipe, mut out) = to_mpegts().map_err(cannot_start)?;
        let (stop, feeder) = self.feed(pipe)?;
        let mut block = vec![0; BLOCK];
        let mut room = 0;
        let made = loop {
            match out.read(&mut block) {
                Ok(0) => break Ok(()),
                Ok(read) => {
                    if let Err(e) = self.write(&block[..read], &mut room) {
                        break Err(e);
                    }
                    if let TransmuxedMedia::MpegTs(scan) = &mut self.transmux_job.state().media {
                        scan.feed(&block[..read]);
                    }
                }
                Err(e) => break Err(Failure::new(Kind::Failed, "ffmpeg cannot be read").because(e)),
            }
        };
        stop.store(true, Ordering::Relaxed);
        drop((out, child));
        whole(made, feeder)
    }

    fn webm(&mut self) -> Result<()> {
        let path = self.env.data_dir.join(&self.segment.path);
        let (mut demux, pipe) = Demux::fed(&path, &CancellationToken::new()).map_err(cannot_start)?;
        let (stop, feeder) = self.feed(pipe)?;
        let mut room = 0;
        let made = loop {
            match demux.next_packet() {
                Ok(Some(packet)) => {
                    if let Err(e) = self.packet(&demux, packet, &mut room) {
                        break Err(e);
                    }
                }
                Ok(None) => break Ok(()),
                // What can be seen of a torn or odd file has been seen.
                Err(e) => break Err(Failure::new(Kind::Failed, "ffmpeg cannot demultiplex a segment").because(e)),
            }
        };
        stop.store(true, Ordering::Relaxed);
        drop(demux);
        whole(made, feeder)
    }

    fn packet(&mut self, demux: &Demux, packet: crate::media::demux::Demuxed, room: &mut u64) -> Result<()> {
        // A list never names what is not in the file yet: a piece is listed when the next one has begun, or all is done.
        let bytes = match &mut self.transmux_job.state().media {
            TransmuxedMedia::WebM(webm) => webm.take(demux, packet),
            TransmuxedMedia::MpegTs(_) => Ok(Vec::new()),
        };
        let failed = |e: io::Error| Failure::new(Kind::Failed, "a stream cannot be written").because(e);
        self.write(&bytes.map_err(failed)?, room)
    }

    /// Writes, and waits where there is no room.
    fn write(&mut self, bytes: &[u8], room: &mut u64) -> Result<()> {
        let stopped = || Failure::new(Kind::Failed, "the viewer has disconnected");
        while *room < bytes.len() as u64 {
            let Some(all) = self.share.upgrade() else { return Err(stopped()) };
            if TransmuxCache(all).has_room(&self.env, STEP) {
                *room += STEP;
                // A heap of what is still to be written would make the tapes wait for the disk.
                let _ = self.file.sync_data();
            } else {
                // Room comes when others are let go or files are deleted, which nobody tells; a thread of its own waits.
                std::thread::sleep(POLL_INTERVAL);
            }
            if self.is_unwanted() {
                return Err(stopped());
            }
        }
        if self.is_unwanted() {
            return Err(stopped());
        }
        *room -= bytes.len() as u64;
        self.transmux_job.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.write_all(bytes).map_err(|e| Failure::new(Kind::Failed, "cannot write to the disk").because(e))
    }

    /// Has a thread write the recording into a pipe as it grows.
    fn feed(&self, mut pipe: ChildStdin) -> Result<(Arc<AtomicBool>, JoinHandle<bool>)> {
        // The recorder and this page are one process: a segment that it does not close is still being recorded.
        let mut file = TailReader::open(&self.env, &self.segment, Ms(i64::MAX))?;
        file.stop = Arc::clone(&self.transmux_job.stop);
        let (stop, transmux_job) = (Arc::clone(&self.transmux_job.stop), Arc::clone(&self.transmux_job));
        let feeder = Builder::new().name("feeder".to_owned()).spawn(move || {
            while let Ok(Some(block)) = file.next() {
                transmux_job.fed.fetch_or(file.waited, Ordering::Relaxed);
                // A pipe that is closed: ffmpeg has ended, or is not wanted any more.
                if pipe.write_all(&block).is_err() {
                    break;
                }
            }
            file.is_whole()
        });
        let feeder = feeder.map_err(|e| Failure::new(Kind::Failed, "cannot start a thread").because(e))?;
        Ok((stop, feeder))
    }
}

/// `made`, or that not all went in: the feeder says whether it did.
fn whole(made: Result<()>, feeder: JoinHandle<bool>) -> Result<()> {
    let all_went_in = feeder.join().unwrap_or(false);
    made?;
    if all_went_in { Ok(()) } else { Err(Failure::new(Kind::Failed, "ffmpeg ended before the end of the recording")) }
}

fn cannot_start(e: crate::media::MediaError) -> Failure {
    Failure::new(Kind::Failed, "ffmpeg cannot demultiplex a segment").because(e)
}
