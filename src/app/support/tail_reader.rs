//! A segment's file, read to its end while it is recorded.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection as Db;

use crate::app::support::dir_watch::DirWatch;
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog::{open_reader, segments};
use crate::domain::ids::SegmentId;
use crate::domain::segment::Segment;
use crate::domain::time::Ms;

/// Bytes read at once: little, so that what is new is shown soon, and a time belongs to it.
const BLOCK: usize = 8 << 10;

/// A change that nobody tells of is noticed after this time.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A file that is being written, to its end.
#[derive(Debug)]
pub(in crate::app) struct TailReader {
    db: Db,
    segment: SegmentId,
    pub path: PathBuf,
    /// `None` while it is not there: the catalog knows a segment before its file is made, on a full disk long before.
    file: Option<File>,
    /// Nothing more is wanted.
    pub stop: Arc<AtomicBool>,
    /// It has given all that was there once.
    pub waited: bool,
    closed: bool,
    wake: DirWatch,
    env: Env,
    until: Ms,
}

impl TailReader {
    /// A segment's file, which need not be there yet. After `until` nothing more is waited for: a recorder that died closes
    /// no segment.
    ///
    /// # Errors
    /// When the catalog cannot be opened.
    pub fn open(env: &Env, segment: &Segment, until: Ms) -> Result<Self> {
        Ok(Self {
            db: open_reader(&env.data_dir)?,
            segment: segment.id,
            path: env.data_dir.join(&segment.path),
            file: None,
            stop: Arc::default(),
            waited: false,
            closed: false,
            wake: DirWatch::default(),
            env: env.clone(),
            until,
        })
    }

    /// The next bytes; `None` when it is closed and all of it was given, or nothing more is wanted. A file that is gone
    /// gives nothing: the gap is told elsewhere.
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
            match self.read(&mut block).map_err(failed)? {
                0 if self.closed => return Ok(None),
                0 => {
                    self.waited = true;
                    // What was written before it was closed is read once more.
                    self.closed = self.env.clock.now() > self.until
                        || segments::segment(&self.db, self.segment)?.is_none_or(|s| s.closed.is_some());
                    if !self.closed {
                        self.wake.wait(self.path.parent(), POLL_INTERVAL);
                    }
                }
                read => {
                    block.truncate(read);
                    return Ok(Some(block));
                }
            }
        }
    }

    /// True when it is closed and all of it was given.
    pub fn is_whole(&self) -> bool {
        self.closed
    }

    fn read(&mut self, block: &mut [u8]) -> std::io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            None => match File::open(&self.path) {
                Ok(file) => self.file.insert(file),
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    if self.closed {
                        tracing::warn!("{} is not there and cannot be shown", self.path.display());
                    }
                    return Ok(0);
                }
                Err(e) => return Err(e),
            },
        };
        file.read(block)
    }
}
