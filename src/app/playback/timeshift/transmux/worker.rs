//! Makes one segment anew, in a thread of its own.

use std::fs::{File, OpenOptions, remove_file};
use std::io::{self, Read as _, Write as _};
use std::process::ChildStdin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::{All, Media, Remake, Remakes, State};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::tail_reader::Growing;
use crate::catalog::{marks, open_reader, segments};
use crate::domain::ids::SegmentId;
use crate::domain::segment::{Container, Segment};
use crate::domain::time::Ms;
use crate::media::CancellationToken;
use crate::media::demux::Demux;
use crate::media::remake::{Form, Opening, Webm, opening, to_mpegts};

use super::super::timeline::DECIDE_MS;

/// Bytes read at once.
const BLOCK: usize = 64 << 10;

/// Room is asked for again after so many bytes.
const STEP: u64 = 8 << 20;

/// Marks are looked for, and room is, this often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Begins to make a segment anew.
pub(super) fn start(env: &Env, segment: &Segment, share: Weak<Mutex<All>>) -> io::Result<Arc<Remake>> {
    let file = nameless(env, segment.id)?;
    let writer = file.try_clone()?;
    let state = State { form: None, clock: None, media: Media::MpegTs(Box::default()), file, done: false, broke: None };
    let remake = Arc::new(Remake {
        stop: Arc::default(),
        fed: AtomicBool::new(false),
        written: AtomicU64::new(0),
        state: state.into(),
    });
    let maker = Maker { env: env.clone(), segment: segment.clone(), remake: Arc::clone(&remake), share, file: writer };
    Builder::new().name("remake".to_owned()).spawn(move || maker.run())?;
    Ok(remake)
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

struct Done(Arc<Remake>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.state().done = true;
    }
}

struct Maker {
    env: Env,
    segment: Segment,
    remake: Arc<Remake>,
    /// Does not keep them: when they go, this one ends.
    share: Weak<Mutex<All>>,
    file: File,
}

impl Maker {
    fn run(mut self) {
        // Also where this thread fails.
        let _done = Done(Arc::clone(&self.remake));
        if let Err(e) = self.make()
            && !self.is_unwanted()
        {
            tracing::warn!("{} is not made ready for the page as a whole: {e}", self.segment.path.display());
            self.remake.state().broke = Some(Instant::now());
        }
    }

    fn make(&mut self) -> Result<()> {
        let Some((opening, wall)) = self.opening()? else { return Ok(()) };
        let form = opening.form.clone();
        {
            let mut state = self.remake.state();
            let first = self.segment.opened.min(wall.minus(opening.end_ms - opening.first_ms));
            state.clock = Some((opening.first_ms, first));
            if matches!(form, Ok(Form::WebM(_))) {
                state.media = Media::WebM(Webm::default());
            }
            state.form = Some(form.clone());
        }
        match form {
            Ok(Form::MpegTs) => self.mpegts(),
            Ok(Form::WebM(_)) => self.webm(),
            Err(_) => Ok(()),
        }
    }

    fn is_unwanted(&self) -> bool {
        self.remake.stop.load(Ordering::Relaxed)
    }

    /// What the first seconds say, and by when they had come: a server that sends the last minute at once has sent it by
    /// then, and bytes come late but never early. That stays so, and with it the list of what can be watched.
    fn opening(&self) -> Result<Option<(Opening, Ms)>> {
        let cannot = |e| Failure::new(Kind::Failed, "a segment cannot be looked into").because(e);
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
                    std::thread::sleep(LOOK_AGAIN);
                    continue;
                }
            };
            match opening(&path, adts, bytes, &CancellationToken::new()).map_err(cannot)? {
                Some(opening) => return Ok(Some((opening, at))),
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
                    if let Media::MpegTs(scan) = &mut self.remake.state().media {
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
                Err(e) => break Err(Failure::new(Kind::Failed, "a segment cannot be taken apart").because(e)),
            }
        };
        stop.store(true, Ordering::Relaxed);
        drop(demux);
        whole(made, feeder)
    }

    fn packet(&mut self, demux: &Demux, packet: crate::media::demux::Demuxed, room: &mut u64) -> Result<()> {
        // A list never names what is not in the file yet: a piece is listed when the next one has begun, or all is done.
        let bytes = match &mut self.remake.state().media {
            Media::WebM(webm) => webm.take(demux, packet),
            Media::MpegTs(_) => Ok(Vec::new()),
        };
        let failed = |e: io::Error| Failure::new(Kind::Failed, "a stream cannot be written").because(e);
        self.write(&bytes.map_err(failed)?, room)
    }

    /// Writes, and waits where there is no room.
    fn write(&mut self, bytes: &[u8], room: &mut u64) -> Result<()> {
        let stopped = || Failure::new(Kind::Failed, "nobody watches it any more");
        while *room < bytes.len() as u64 {
            let Some(all) = self.share.upgrade() else { return Err(stopped()) };
            if Remakes(all).has_room(&self.env, STEP) {
                *room += STEP;
                // A heap of what is still to be written would make the tapes wait for the disk.
                let _ = self.file.sync_data();
            } else {
                // Room comes when others are let go or files are deleted, which nobody tells; a thread of its own waits.
                std::thread::sleep(LOOK_AGAIN);
            }
            if self.is_unwanted() {
                return Err(stopped());
            }
        }
        if self.is_unwanted() {
            return Err(stopped());
        }
        *room -= bytes.len() as u64;
        self.remake.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.write_all(bytes).map_err(|e| Failure::new(Kind::Failed, "the disk does not take it").because(e))
    }

    /// Has a thread write the recording into a pipe as it grows.
    fn feed(&self, mut pipe: ChildStdin) -> Result<(Arc<AtomicBool>, JoinHandle<bool>)> {
        // The recorder and this page are one process: a segment that it does not close is still being recorded.
        let mut file = Growing::open(&self.env, &self.segment, Ms(i64::MAX))?;
        file.stop = Arc::clone(&self.remake.stop);
        let (stop, remake) = (Arc::clone(&self.remake.stop), Arc::clone(&self.remake));
        let feeder = Builder::new().name("feeder".to_owned()).spawn(move || {
            while let Ok(Some(block)) = file.next() {
                remake.fed.fetch_or(file.waited, Ordering::Relaxed);
                // A pipe that is closed: ffmpeg has ended, or is not wanted any more.
                if pipe.write_all(&block).is_err() {
                    break;
                }
            }
            file.is_whole()
        });
        let feeder = feeder.map_err(|e| Failure::new(Kind::Failed, "there is no thread to be had").because(e))?;
        Ok((stop, feeder))
    }
}

/// `made`, or that not all went in: the feeder says whether it did.
fn whole(made: Result<()>, feeder: JoinHandle<bool>) -> Result<()> {
    let all_went_in = feeder.join().unwrap_or(false);
    made?;
    if all_went_in { Ok(()) } else { Err(Failure::new(Kind::Failed, "ffmpeg ended before the recording did")) }
}

fn cannot_start(e: crate::media::MediaError) -> Failure {
    Failure::new(Kind::Failed, "a segment cannot be taken apart").because(e)
}
