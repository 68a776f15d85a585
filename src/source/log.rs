//! Where the lines of source programs go: a log file, each line marked with hall and connection.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use chrono_tz::Tz;

use crate::domain::clock::Clock;
use crate::domain::time::Ms;

/// Takes lines of source programs. They come without passwords, control characters and line ends.
pub trait LineLog: Send + Sync + std::fmt::Debug {
    /// Takes one line at once, without waiting. `label` says whose it is: hall, connection, program.
    fn line(&self, label: &str, line: &str);
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoLog;

impl LineLog for NoLog {
    fn line(&self, _label: &str, _line: &str) {}
}

/// So many lines may wait for the disk; more are dropped, since a tape never waits for its log.
const QUEUE: usize = 4096;

/// A log of this many bytes becomes `.old` and a new one is begun, so that the two never fill a disk.
const MAX_BYTES: u64 = 64 << 20;

/// A log file, written by a thread of its own: `2010-12-27T20:04:47.132Z [label] line`.
#[derive(Debug)]
pub struct FileLog {
    queue: SyncSender<(Ms, String)>,
    clock: Arc<dyn Clock>,
}

impl FileLog {
    /// Appends to `path`; makes the file (mode 0600) and its directory where they are missing.
    ///
    /// # Errors
    /// When it cannot be opened, or the system has no thread to give.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = append(path)?;
        let (queue, lines) = sync_channel(QUEUE);
        let path = path.to_owned();
        std::thread::Builder::new().name("source-log".to_owned()).spawn(move || write_all(file, &path, &lines))?;
        Ok(Self { queue, clock })
    }
}

impl LineLog for FileLog {
    fn line(&self, label: &str, line: &str) {
        match self.queue.try_send((self.clock.now(), format!("[{label}] {line}\n"))) {
            // A full disk must not turn into a full terminal: one lost line of a log is no news.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn write_all(mut file: File, path: &Path, lines: &Receiver<(Ms, String)>) {
    let mut bytes = file.metadata().map_or(0, |m| m.len());
    while let Ok(first) = lines.recv() {
        let mut text = String::new();
        for (at, line) in std::iter::once(first).chain(lines.try_iter().take(QUEUE)) {
            text.push_str(&at.rfc3339(Tz::UTC));
            text.push(' ');
            text.push_str(&line);
        }
        if bytes > MAX_BYTES {
            let mut old = path.as_os_str().to_owned();
            old.push(".old");
            if std::fs::rename(path, PathBuf::from(old)).is_ok()
                && let Ok(new) = append(path)
            {
                (file, bytes) = (new, 0);
            }
        }
        match file.write_all(text.as_bytes()) {
            Ok(()) => bytes += text.len() as u64,
            Err(e) => tracing::debug!("source log: {e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct At(i64);

    impl Clock for At {
        fn now(&self) -> Ms {
            Ms(self.0)
        }
    }

    #[test]
    fn lines_are_appended_with_time_and_label_to_a_private_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log/sources.log");
        for n in 0..2 {
            let log = FileLog::open(&path, Arc::new(At(n * 1000))).expect("opened");
            log.line("27c3/saal-1 #1 mplayer", "Playing");
            drop(log);
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
            while std::fs::read_to_string(&path).expect("there").lines().count() < n as usize + 1 {
                assert!(std::time::Instant::now() < deadline, "not written");
                std::thread::yield_now();
            }
        }
        let text = std::fs::read_to_string(&path).expect("there");
        assert_eq!(
            text,
            "1970-01-01T00:00:00Z [27c3/saal-1 #1 mplayer] Playing\n\
             1970-01-01T00:00:01Z [27c3/saal-1 #1 mplayer] Playing\n"
        );
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
