//! One daemon a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use crate::app::support::failure::{Failure, Kind, Result};

/// File name of the lock in the data directory. It stays; what counts is who holds it.
pub const FILE_NAME: &str = "daemon.lock";

/// So often, and this far apart, a lock is tried that somebody holds: those who only look let go of it at once.
const MAX_ATTEMPTS: u32 = 5;
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// Held while it lives; the system lets go of it however the process ends.
#[derive(Debug)]
pub struct DaemonLock {
    _file: File,
}

/// Takes the lock of a data directory.
///
/// # Errors
/// `Busy` when a daemon runs there.
pub fn take(data_dir: &Path) -> Result<DaemonLock> {
    // A moment, a few times over: nobody tells when the one that holds it lets go.
    take_waiting(data_dir, || std::thread::sleep(RETRY_DELAY))
}

/// As [`take`]; `wait` is what is done between two tries.
fn take_waiting(data_dir: &Path, wait: impl Fn()) -> Result<DaemonLock> {
    let path = data_dir.join(FILE_NAME);
    let io = |e: std::io::Error| {
        Failure::new(Kind::Failed, format!("cannot use {}", path.display()))
            .because(e)
            .hint("check the data directory's owner, or name another with --data-dir")
    };
    std::fs::create_dir_all(data_dir).map_err(io)?;
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(io)?;
    let mut tries = 0;
    let locked = loop {
        match file.try_lock() {
            // `status` and `list` hold it for an instant to see whether somebody does.
            Err(TryLockError::WouldBlock) if tries < MAX_ATTEMPTS => {
                tries += 1;
                wait();
            }
            result => break result,
        }
    };
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let who = if pid.trim().is_empty() { String::new() } else { format!(" (process {})", pid.trim()) };
            return Err(Failure::new(
                Kind::Busy,
                format!("a streamrip daemon{who} already runs on {}", data_dir.display()),
            )
            .hint("see what it does with: streamrip status; what you import or extend takes effect in it by itself"));
        }
        Err(TryLockError::Error(e)) => return Err(io(e)),
    }
    // Only for the message above, so a failure here is none.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(DaemonLock { _file: file })
}

/// True where a daemon holds the lock of this data directory.
#[must_use]
pub fn is_taken(data_dir: &Path) -> bool {
    File::open(data_dir.join(FILE_NAME))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_daemon_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(!is_taken(dir.path()));
        let first = take(dir.path()).expect("free");
        assert!(is_taken(dir.path()));
        let second = take(dir.path()).expect_err("taken");
        assert_eq!(second.kind, Kind::Busy);
        assert!(second.message.contains(&std::process::id().to_string()), "{second}");
        drop(first);
        assert!(take(dir.path()).is_ok());
    }

    #[test]
    fn who_only_looks_keeps_no_daemon_from_starting() {
        let dir = tempfile::tempdir().expect("dir");
        drop(take(dir.path()).expect("free"));
        let look = File::open(dir.path().join(FILE_NAME)).expect("there");
        look.try_lock_shared().expect("free");
        // While somebody looks it waits, and it has the lock as soon as he has looked.
        let tries = std::cell::Cell::new(0);
        let wait = || {
            tries.set(tries.get() + 1);
            if tries.get() == 2 {
                look.unlock().expect("ours");
            }
        };
        take_waiting(dir.path(), wait).expect("free again");
        assert_eq!(tries.get(), 2);
        // Who holds it for longer is no looker.
        look.try_lock_shared().expect("free");
        let busy = take_waiting(dir.path(), || tries.set(tries.get() + 1)).expect_err("held");
        assert_eq!((busy.kind, tries.get()), (Kind::Busy, 2 + MAX_ATTEMPTS));
    }
}
