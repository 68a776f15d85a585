//! Waiting for what a tape writes.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};

/// Wakes who waits for a change in a folder. It watches also between two waits: what is written while somebody looks is not
/// missed.
#[derive(Debug, Default)]
pub(in crate::app) struct DirWatch {
    folder: Option<PathBuf>,
    watch: Option<OwnedFd>,
}

impl DirWatch {
    /// Waits until a file of the folder was written to, begun or closed since the last time; at most this long. Where there
    /// is no folder yet, or its file system tells of no changes, there is nothing to wait for but the time. True: look
    /// again, also where it is the first time, since nobody watched before.
    pub fn wait(&mut self, folder: Option<&Path>, most: Duration) -> bool {
        if self.folder.as_deref() != folder {
            *self = Self { folder: folder.map(Path::to_owned), watch: None };
        }
        if let (None, Some(folder)) = (&self.watch, folder) {
            self.watch = watch(folder).ok();
            if self.watch.is_some() {
                return true;
            }
        }
        let changed = self.watch.as_ref().map(|watch| changed(watch, most));
        match changed {
            Some(Ok(changed)) => changed,
            Some(Err(_)) | None => {
                // There is nothing to wait for but the time.
                std::thread::sleep(most);
                false
            }
        }
    }
}

fn watch(folder: &Path) -> io::Result<OwnedFd> {
    let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    add_watch(&watch, folder, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::CLOSE_WRITE)?;
    Ok(watch)
}

fn changed(watch: &OwnedFd, most: Duration) -> io::Result<bool> {
    let most = Timespec::try_from(most).map_err(io::Error::other)?;
    let changed = poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&most))? > 0;
    // What is told up to here is seen by the look that follows.
    let mut told = [0; 4096];
    while rustix::io::read(watch, &mut told).is_ok_and(|bytes| bytes > 0) {}
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_between_two_waits_wakes() {
        let (dir, mut wake) = (tempfile::tempdir().expect("dir"), DirWatch::default());
        assert!(!wake.wait(None, Duration::ZERO));
        assert!(!wake.wait(Some(&dir.path().join("not there")), Duration::ZERO));
        assert!(wake.wait(Some(dir.path()), Duration::ZERO), "nobody watched before");
        assert!(!wake.wait(Some(dir.path()), Duration::ZERO));
        std::fs::write(dir.path().join("a"), b"1").expect("written");
        assert!(wake.wait(Some(dir.path()), Duration::ZERO));
        assert!(!wake.wait(Some(dir.path()), Duration::ZERO), "it was told");
    }
}
