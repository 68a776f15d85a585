//! What a daemon does before it tapes: make the catalog true about the disk.
//!
//! In order: sources that outlived their daemon are ended; connections and segments that were open are
//! closed from what is on disk; files that the catalog does not know are adopted; rows whose file is gone
//! are marked lost. Nothing that reached the disk is deleted or forgotten, and a second run does nothing.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rusqlite::{Connection as Db, TransactionBehavior};

use crate::app::library::adopt::{adopt, stopped};
use crate::app::library::last_facts;
use crate::app::library::merge;
use crate::app::support::contents::read_for_good;
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::app::support::walk::Tree;
use crate::catalog::recovery::{self, OpenSegment};
use crate::catalog::{incidents, relative_path};
use crate::domain::segment::Verdict;
use crate::domain::time::{Ms, SECOND};
use crate::media::CancellationToken;
use crate::source::ProcessId;
use crate::source::child::is_running;

/// A source that was told to end has this long before it is killed. Short, since no hall is taped meanwhile and
/// nobody reads its pipe any more: mplayer on a silent connection does not end at TERM at all.
const TERM_GRACE: Duration = Duration::from_millis(300);

/// One that was killed is gone after this time, or it is in the kernel's hands for longer than we can wait.
const KILL_GRACE: Duration = Duration::from_secs(3);

/// The folder of the segments in the data directory.
pub const SEGMENTS: &str = "segments";

/// What recovery did, in lines for people; empty where there was nothing to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Sources that had outlived their daemon.
    pub ended: usize,
    /// Segments that were open.
    pub closed: usize,
    /// Files that the catalog did not know.
    pub adopted: usize,
    /// Rows whose file is gone.
    pub lost: usize,
    /// Rows whose file has come back.
    pub found: usize,
    /// Files that a merge left half-way.
    pub merged: usize,
}

impl Recovery {
    /// In words, `None` where nothing was done.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        let parts: Vec<String> = [
            (self.ended, "left-over recording program(s) ended"),
            (self.closed, "open segment(s) closed from disk"),
            (self.adopted, "unknown file(s) adopted"),
            (self.lost, "segment(s) whose file is gone marked lost"),
            (self.found, "lost segment(s) found again"),
            (self.merged, "file(s) of a merge that was killed ended"),
        ]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// Recovers the data directory of `env`. Blocking; to be called with the daemon's lock held until it returns, before
/// any tape runs. `cancel` ends it between two files, and while one is read; the next start goes on there.
///
/// # Errors
/// When the catalog cannot be read or written, or it was cancelled. A file that cannot be read is left for the next
/// time.
pub fn recover(env: &Env, db: &mut Db, cancel: &CancellationToken) -> Result<Recovery> {
    let now = env.clock.now();
    let mut done = Recovery { ended: end_survivors(db)?, ..Recovery::default() };
    let kept = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let brought = last_facts::bring_in(&kept, &env.data_dir)?;
    kept.commit()?;
    if brought > 0 {
        tracing::info!("{brought} fact(s) that the catalog could not take were brought in");
    }
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    recovery::close_after_crash(&tx, now)?;
    done.closed = close_open(&tx, env, now, cancel)?;
    // Whoever writes files waits for us, so what is read now stays so.
    let mut tree = Tree::read(&env.data_dir, SEGMENTS);
    let half: Vec<String> = tree.files.iter().filter(|f| f.ends_with(merge::TEMP_SUFFIX)).cloned().collect();
    if !half.is_empty() {
        done.merged = merge::finish(&tx, &env.data_dir, &half)?;
        tree = Tree::read(&env.data_dir, SEGMENTS);
        // A merge at work: its rows may be there before its files have their names.
        let under_way = |f: &String| f.strip_suffix(merge::TEMP_SUFFIX).map(str::to_owned);
        let names: Vec<String> = tree.files.iter().filter_map(under_way).collect();
        tree.files.retain(|f| under_way(f).is_none());
        for name in names {
            if crate::catalog::merge_origins::is_named(&tx, &name)? {
                tree.files.insert(name);
            }
        }
    }
    let (lost, found, unknown) = compare(&tx, &tree, now)?;
    done.lost = lost;
    done.found = found;
    tx.commit()?;
    for path in &tree.odd {
        tracing::warn!("{} has a name that is no text: it is left alone", path.display());
    }
    done.adopted = adopt(db, env, &unknown, cancel)?;
    if let Some(what) = done.describe() {
        incidents::note(db, None, "recovered", &what, now)?;
    }
    Ok(done)
}

/// Ends children of a daemon that was killed, where it is certain that they are ours.
fn end_survivors(db: &Db) -> Result<usize> {
    let open = recovery::open_processes(db)?;
    let mut survivors: Vec<_> = open.into_iter().map(|(pid, start_ticks)| ProcessId { pid, start_ticks }).collect();
    survivors.retain(|process| is_running(*process));
    let count = survivors.len();
    for (signal, grace) in [(rustix::process::Signal::TERM, TERM_GRACE), (rustix::process::Signal::KILL, KILL_GRACE)] {
        for process in &survivors {
            if let Some(group) = i32::try_from(process.pid).ok().and_then(rustix::process::Pid::from_raw) {
                // It leads its own group; it may be gone by now, which is what we want.
                let _ = rustix::process::kill_process_group(group, signal);
            }
        }
        let patience = Instant::now() + grace;
        survivors.retain(|process| !has_ended(*process, patience));
    }
    Ok(count)
}

/// Waits for the end of a process that is no child of ours. False where it still runs when `until` is reached.
fn has_ended(process: ProcessId, until: Instant) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    // The descriptor may be a later process's of this number; then ours has ended.
    if let Some(Ok(process_end)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty()))
        && is_running(process)
        && let Ok(left) = Timespec::try_from(until.saturating_duration_since(Instant::now()))
    {
        let _ = poll(&mut [PollFd::new(&process_end, PollFlags::IN)], Some(&left));
    }
    !is_running(process)
}

/// Closes segments that a crash left open, from what is on disk.
fn close_open(db: &Db, env: &Env, now: Ms, cancel: &CancellationToken) -> Result<usize> {
    let open = recovery::open_segments(db)?;
    for segment in &open {
        let OpenSegment { id, path, end, .. } = segment;
        let inside = relative_path(path.clone()).map_err(std::io::Error::other);
        match inside.and_then(|path| read_for_good(&env.data_dir.join(path), cancel)) {
            Ok(file) => {
                // The file was written to until its last byte came; a copied file's time means nothing.
                let end = file.modified.filter(|at| *at > *end && at.since(*end) < 60 * SECOND).unwrap_or(*end);
                recovery::close_from_disk(db, *id, file.bytes, file.sha256, end, now)?;
            }
            // The row is written first: a crash in between leaves a row without a file.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                recovery::never_made(db, segment, now)?;
            }
            Err(_) if cancel.is_cancelled() => return Err(stopped()),
            // Nobody writes to it any more. A row that stayed open would keep its talk from being joined, and
            // `--until-done` from ending; as one that waits to be looked at it is given up after a while, and had when
            // the file can be read again.
            Err(e) => {
                tracing::error!(
                    "{path} cannot be read now: its row is closed without a sum (verify --repair takes one): {e}"
                );
                recovery::close_unread(db, *id, now)?;
            }
        }
    }
    Ok(open.len())
}

/// Marks rows whose file is gone, and those whose file has come back. Gives back how many, and the files
/// that no row names, in order.
fn compare(db: &Db, tree: &Tree, now: Ms) -> Result<(usize, usize, Vec<String>)> {
    let rows = recovery::all_segments(db)?;
    let (mut lost, mut found) = (0, 0);
    let mut unknown: HashSet<&str> = tree.files.iter().map(String::as_str).collect();
    for (id, path, verdict) in &rows {
        let there = unknown.remove(path.as_str());
        match (verdict, there) {
            (Verdict::Unchecked | Verdict::Media | Verdict::NotMedia | Verdict::Quarantined, false)
                if tree.knows(path) =>
            {
                recovery::lose(db, *id, *verdict, now)?;
                lost += 1;
            }
            (Verdict::Lost, true) => {
                recovery::find_again(db, *id, now)?;
                found += 1;
            }
            _ => {}
        }
    }
    let mut unknown: Vec<String> = unknown.into_iter().map(str::to_owned).collect();
    // The oldest first: ids then rise with time, as they do where a tape made them.
    unknown.sort_unstable();
    Ok((lost, found, unknown))
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
