//! A disk that is soon full.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use crate::child::quiet;

/// A file system in memory of a fixed size. It is taken away on drop.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one on the directory `path`. `None` where this user may not mount: a test then says that it is
    /// skipped. No other way to the right is tried.
    #[must_use]
    pub fn mount(path: &Path, mebibytes: u32) -> Option<Self> {
        let options = format!("size={mebibytes}m,mode=0700");
        let mounted = quiet("mount").args(["-t", "tmpfs", "-o", &options, "streamrip-lab"]).arg(path).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self { path: path.to_owned() })
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Fills it to the last byte.
    ///
    /// # Panics
    /// Where the file that fills it cannot be made.
    pub fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).expect("a file that fills");
        let block = vec![0x55; 1 << 20];
        let mut piece = block.len();
        while piece > 0 {
            // A short write is followed by an error, and that by smaller pieces.
            while file.write(&block[..piece]).is_ok_and(|n| n > 0) {}
            piece /= 2;
        }
    }

    /// Fills it, but for so many bytes.
    ///
    /// # Panics
    /// As [`SmallDisk::fill`].
    pub fn fill_but(&self, bytes: u64) {
        let free = statvfs(&self.path).map_or(0, |disk| disk.f_bavail * disk.f_frsize);
        let mut file = File::options().create(true).append(true).open(self.filler()).expect("a file that fills");
        let length = usize::try_from(free.saturating_sub(bytes)).unwrap_or_default();
        file.write_all(&vec![0x55; length]).expect("there is room");
    }

    /// Gives the space back.
    ///
    /// # Panics
    /// Where the file that filled it cannot be removed.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("the file that fills");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a program that is just ending may still have a file open.
        let _ = quiet("umount").arg("-l").arg(&self.path).status();
    }
}
