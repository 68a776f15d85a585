//! A segment's file, read to its end while it is recorded.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection as Db;

use super::env::Env;
use super::failure::{Failure, Kind, Result};
use crate::catalog::{open_reader, segments};
use crate::domain::ids::SegmentId;
use crate::domain::segment::Segment;
use crate::domain::time::Ms;

/// Bytes read at once: little, so that what is new is shown soon, and a time belongs to it.
const BLOCK: usize = 8 << 10;

/// A change that nobody tells of is noticed after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A file that is being written, to its end.
#[derive(Debug)]
pub(super) struct Growing {
    db: Db,
    segment: SegmentId,
    pub path: PathBuf,
    file: File,
    /// Nothing more is wanted.
    pub stop: Arc<AtomicBool>,
    /// It has given all that was there once.
    pub waited: bool,
    closed: bool,
    /// Nothing more is waited for then: a recorder that died closes no segment.
    env: Env,
    until: Ms,
}

impl Growing {
    /// Opens a segment's file. After `until` nothing more is waited for: a recorder that died closes no segment.
    ///
    /// # Errors
    /// When the file or the catalog cannot be opened.
    pub fn open(env: &Env, segment: &Segment, until: Ms) -> Result<Self> {
        let path = env.data_dir.join(&segment.path);
        let gone = |e| Failure::new(Kind::Failed, "a segment cannot be read").because(e);
        let file = File::open(&path).map_err(gone)?;
        let db = open_reader(&env.data_dir)?;
        let stop = Arc::default();
        Ok(Self { db, segment: segment.id, path, file, stop, waited: false, closed: false, env: env.clone(), until })
    }

    /// The next bytes; `None` when it is closed and all of it was given, or nothing more is wanted.
    ///
    /// # Errors
    /// When the file or the catalog cannot be read.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let mut block = vec![0; BLOCK];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let failed = |e| Failure::new(Kind::Failed, "a segment cannot be read").because(e);
            match self.file.read(&mut block).map_err(failed)? {
                0 if self.closed => return Ok(None),
                0 => {
                    self.waited = true;
                    // What was written before it was closed is read once more.
                    self.closed = self.env.clock.now() > self.until
                        || segments::segment(&self.db, self.segment)?.is_none_or(|s| s.closed.is_some());
                    if !self.closed {
                        wait_for_change(self.path.parent(), LOOK_AGAIN);
                    }
                }
                read => {
                    block.truncate(read);
                    return Ok(Some(block));
                }
            }
        }
    }
}

/// Waits until a file of the folder was written to, begun or closed; at most this long. Where there is no folder yet, or its
/// file system tells of no changes, there is nothing to wait for but the time.
pub(super) fn wait_for_change(folder: Option<&Path>, most: Duration) {
    if folder.is_none_or(|folder| changed(folder, most).is_err()) {
        std::thread::sleep(most);
    }
}

fn changed(folder: &Path, most: Duration) -> std::io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    add_watch(&watch, folder, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::CLOSE_WRITE)?;
    let most = rustix::event::Timespec::try_from(most).map_err(std::io::Error::other)?;
    poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&most))?;
    Ok(())
}
