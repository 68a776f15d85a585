//! Keeps the machine awake: an inhibitor lock of systemd's logind, where there is one. `systemd-inhibit` holds it as long
//! as a `cat` of its own reads a pipe from us; the pipe ends with us, however we end.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::domain::text::{one_line, shortened};

/// What is asked for, in turn. A user without a session may not forbid that somebody sends the machine to sleep, but
/// may say that it is not idle.
const WHAT: [&str; 2] = ["sleep:idle", "idle"];

/// Where nothing was granted, or there is nobody to ask, it is asked again after this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(600);

/// A lock that was held for longer was granted; that it ended is no refusal.
const GRANT_TIMEOUT: Duration = Duration::from_secs(5);

/// So much of a complaint is read, bytes.
const COMPLAINT: u64 = 500;

/// The lock, or the wish for one.
#[derive(Debug)]
pub struct SleepInhibitor {
    /// The program, and what it is told first.
    words: Vec<OsString>,
    held: Option<(Child, Instant)>,
    /// Which of [`WHAT`] is asked for next.
    next: usize,
    not_before: Option<Instant>,
    told: bool,
}

impl Default for SleepInhibitor {
    fn default() -> Self {
        Self::asking(vec!["systemd-inhibit".into()])
    }
}

impl SleepInhibitor {
    fn asking(words: Vec<OsString>) -> Self {
        Self { words, held: None, next: 0, not_before: None, told: false }
    }

    /// Sees to it that the machine stays awake, or may sleep again. To be called every few seconds; it waits for
    /// nothing. Where it cannot be had, that is logged once.
    pub async fn keep(&mut self, wanted: bool) {
        if !wanted {
            self.held = None;
            return;
        }
        if let Some((child, since)) = &mut self.held {
            if matches!(child.try_wait(), Ok(None)) {
                return;
            }
            let granted = since.elapsed() >= GRANT_TIMEOUT;
            let why = complaint(child).await;
            self.held = None;
            self.next = if granted { 0 } else { self.next + 1 };
            if self.next == WHAT.len() {
                self.give_up(&why);
            }
        }
        if self.not_before.is_some_and(|at| at > Instant::now()) {
            return;
        }
        match self.ask(WHAT[self.next.min(WHAT.len() - 1)]) {
            Ok(child) => self.held = Some((child, Instant::now())),
            Err(e) => self.give_up(&format!("systemd-inhibit cannot be started: {e}")),
        }
    }

    fn ask(&self, what: &str) -> std::io::Result<Child> {
        let (program, first) = self.words.split_first().ok_or(std::io::ErrorKind::NotFound)?;
        Command::new(program)
            .args(first)
            .arg(format!("--what={what}"))
            .args(["--who=streamrip", "--why=talks are recorded, or will be within a day", "--mode=block", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C at a terminal is for us: files are closed first.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    fn give_up(&mut self, why: &str) {
        self.next = 0;
        self.not_before = Some(Instant::now() + RETRY_INTERVAL);
        if !std::mem::replace(&mut self.told, true) {
            tracing::info!("cannot prevent this machine from sleeping during recordings: {why}");
        }
    }
}

/// What it said before it ended.
async fn complaint(child: &mut Child) -> String {
    let mut heard = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // What is in its background may hold the pipe: not waited for.
        let _ = timeout(Duration::from_millis(200), stderr.take(COMPLAINT).read_to_end(&mut heard)).await;
    }
    shortened(&one_line(&String::from_utf8_lossy(&heard)), 200)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A stand-in that notes how it is called, holds nothing, and refuses what `refuses` is in.
    fn stand_in(dir: &Path, refuses: &str) -> Vec<OsString> {
        let path = dir.join("inhibit");
        let log = dir.join("log");
        let script = format!(
            "#!/bin/sh\necho \"$1 $2 $4 $$\" >>{}\ncase \"$1\" in {refuses}) echo 'Access denied' >&2; exit 1 ;; esac\n\
             shift 4\nexec \"$@\"\n",
            log.display()
        );
        std::fs::write(&path, script).expect("written");
        vec!["sh".into(), path.into()]
    }

    fn calls(dir: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn runs(call: &str) -> bool {
        let pid = call.rsplit_once(' ').expect("a number").1;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Keeps it awake until `calls` of them were made.
    async fn until(awake: &mut SleepInhibitor, dir: &Path, count: usize) {
        let deadline = Instant::now() + streamrip_lab::PATIENCE;
        while calls(dir).len() < count {
            assert!(Instant::now() < deadline, "called {:?}", calls(dir));
            awake.keep(true).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn the_lock_is_held_as_long_as_it_is_wanted() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut awake = SleepInhibitor::asking(stand_in(dir.path(), "nothing"));
        awake.keep(false).await;
        assert!(awake.held.is_none());
        until(&mut awake, dir.path(), 1).await;
        awake.keep(true).await;
        let call = calls(dir.path()).remove(0);
        assert!(call.starts_with("--what=sleep:idle --who=streamrip --mode=block "), "{call}");
        assert!(runs(&call), "{call}");
        awake.keep(false).await;
        streamrip_lab::eventually("it ended", streamrip_lab::PATIENCE, || !runs(&call)).await;
        assert_eq!(calls(dir.path()).len(), 1, "it was asked for once");
    }

    #[tokio::test]
    async fn where_sleep_may_not_be_forbidden_the_machine_is_at_least_not_idle() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut awake = SleepInhibitor::asking(stand_in(dir.path(), "--what=sleep*"));
        until(&mut awake, dir.path(), 2).await;
        let call = calls(dir.path()).remove(1);
        assert!(call.starts_with("--what=idle ") && runs(&call), "{call}");
        assert!(!awake.told);
    }

    #[tokio::test]
    async fn where_it_cannot_be_had_that_is_told_once_and_stops_nothing() {
        let mut awake = SleepInhibitor::asking(vec!["/nonexistent/systemd-inhibit".into()]);
        awake.keep(true).await;
        assert!(awake.told && awake.held.is_none() && awake.not_before.is_some());
        awake.keep(true).await;

        let dir = tempfile::tempdir().expect("a folder");
        let mut awake = SleepInhibitor::asking(stand_in(dir.path(), "*"));
        until(&mut awake, dir.path(), 2).await;
        let deadline = Instant::now() + streamrip_lab::PATIENCE;
        while !awake.told {
            assert!(Instant::now() < deadline, "{awake:?}");
            awake.keep(true).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        awake.keep(true).await;
        assert_eq!(calls(dir.path()).len(), 2, "not asked again at once");
    }
}
