//! Looks at the processes of this machine while the day goes on: none may stay that nobody owns.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A daemon waits for its children at once.
const ZOMBIE_PATIENCE: Duration = Duration::from_secs(8);

/// Before a daemon starts a child, it ends those of the one before it.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(2);

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: u32,
    /// Clock ticks since boot.
    start: u64,
    parent: u32,
    zombie: bool,
    command: String,
}

/// A watch over the processes whose command lines hold one of some words.
pub struct Watch {
    daemon: Arc<AtomicU32>,
    over: Arc<AtomicBool>,
    wrong: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
    words: Vec<(String, usize)>,
}

impl Watch {
    /// `words`: parts of the command lines of what a daemon starts, and how many of each may be at once: `usize::MAX` for
    /// what may also outlive its daemon for a while (a reader of a file ends with the file, or with its pipe).
    pub fn start(words: Vec<(String, usize)>) -> Self {
        let (daemon, over, wrong) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)), Arc::default());
        let watch = Self { daemon, over, wrong, thread: None, words };
        let (daemon, over, wrong) = (watch.daemon.clone(), watch.over.clone(), watch.wrong.clone());
        let words = watch.words.clone();
        let thread = std::thread::spawn(move || {
            // Since when something is wrong.
            let mut since: BTreeMap<String, Instant> = BTreeMap::new();
            while !over.load(Ordering::SeqCst) {
                let found = look(&words, daemon.load(Ordering::SeqCst));
                since.retain(|what, _| found.contains(what));
                for what in found {
                    let at = *since.entry(what.clone()).or_insert_with(Instant::now);
                    let mut wrong: std::sync::MutexGuard<'_, Vec<String>> =
                        wrong.lock().unwrap_or_else(PoisonError::into_inner);
                    let patience = if what.starts_with("orphan") { ORPHAN_PATIENCE } else { ZOMBIE_PATIENCE };
                    if at.elapsed() > patience && !wrong.contains(&what) {
                        wrong.push(what);
                    }
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        Self { thread: Some(thread), ..watch }
    }

    /// The daemon that owns them from now on; 0: there is none.
    pub fn daemon(&self, pid: u32) {
        self.daemon.store(pid, Ordering::SeqCst);
    }

    /// What is still there.
    pub fn left(&self) -> Vec<String> {
        processes().into_iter().filter(|p| is_ours(p, &self.words)).map(|p| p.command).collect()
    }

    /// Ends it; what was wrong.
    pub fn end(mut self) -> Vec<String> {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the watch went on");
        }
        std::mem::take(&mut *self.wrong.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_ours(process: &Process, words: &[(String, usize)]) -> bool {
    words.iter().any(|(word, _)| process.command.contains(word))
}

fn look(words: &[(String, usize)], daemon: u32) -> Vec<String> {
    let words: Vec<_> = words.iter().filter(|(_, most)| *most < usize::MAX).cloned().collect();
    let all = processes();
    let mut wrong = Vec::new();
    let has_begun = all.iter().any(|p| is_ours(p, &words) && p.parent == daemon);
    for process in &all {
        if is_ours(process, &words) && process.parent != daemon && has_begun {
            wrong.push(format!("orphan {} {}", process.pid, process.command));
        }
        if daemon != 0 && process.parent == daemon && process.zombie {
            wrong.push(format!("zombie {} {}", process.pid, process.start));
        }
    }
    for (word, most) in &words {
        let count = all.iter().filter(|p| p.command.contains(word)).count();
        if count > *most {
            wrong.push(format!("more than {most} processes for {word}"));
        }
    }
    wrong
}

fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// `None` where it has ended meanwhile.
fn process(pid: u32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and brackets: what counts begins behind its last bracket.
    let rest: Vec<&str> = stat.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(Process {
        pid,
        start: rest.get(19)?.parse().ok()?,
        parent: rest.get(1)?.parse().ok()?,
        zombie: rest.first() == Some(&"Z"),
        command: String::from_utf8_lossy(&command).replace('\0', " "),
    })
}
