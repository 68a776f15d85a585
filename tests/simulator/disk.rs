//! A disk that can be full, and whose files have the times of the simulation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use streamrip::app::support::clock::{Clock, TestClock};
use streamrip::tape::disk::{Disk, DiskFile, RealDisk};

/// The real one, while it is not full.
#[derive(Clone, Debug)]
pub struct SimDisk {
    pub full: Arc<AtomicBool>,
    pub clock: TestClock,
}

impl SimDisk {
    fn has_room(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Disk for SimDisk {
    fn exists(&self, data_dir: &Path, path: &Path) -> bool {
        RealDisk.exists(data_dir, path)
    }

    fn create(&self, data_dir: &Path, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.has_room()?;
        let file = RealDisk.create(data_dir, path)?;
        Ok(Box::new(SimFile { file, path: data_dir.join(path), disk: self.clone() }))
    }
}

struct SimFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    disk: SimDisk,
}

impl DiskFile for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.has_room()?;
        let n = self.file.write(bytes)?;
        // Recovery looks at when a file was written to last.
        let now = u64::try_from(self.disk.clock.now().0).unwrap_or_default();
        let file = std::fs::OpenOptions::new().append(true).open(&self.path)?;
        file.set_modified(UNIX_EPOCH + Duration::from_millis(now))?;
        Ok(n)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.has_room()?;
        // In memory this costs nothing, and whoever looks at the operations wants to see it.
        self.file.sync()
    }
}
