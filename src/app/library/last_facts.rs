//! What the catalog cannot take, since its disk is full or it is locked, is kept in a small file whose blocks are there
//! already: a daemon that is stopped or killed meanwhile leaves what it knew to the next start, which brings it in.
//!
//! The file has two slots of a fixed size that are written in turn, each with its length, a number that rises and a
//! checksum: whenever the machine stops, one of them is whole.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::catalog::segments::{self, NewConnection};
use crate::catalog::{self, daemon_runs, incidents};
use crate::domain::ids::{HallId, StreamId};
use crate::domain::segment::EndReason;
use crate::domain::time::{Ms, SECOND};

/// Its name in the data directory.
const FILE: &str = "last-facts";

/// Size of a slot, bytes: some hundred facts.
const SLOT: usize = 64 << 10;

/// Length, number and checksum before the text, bytes.
const HEAD: usize = 24;

/// A fact that the catalog has not taken for so long is written into the file, milliseconds.
const BEHIND_MS: i64 = 3 * SECOND;

/// One thing that happened, and that explains gaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Fact {
    /// A connection was opened.
    Opened {
        /// UUID of the row that the fact belongs to.
        #[serde(with = "uuid_text")]
        connection: Uuid,
        /// Of which hall, by its row.
        hall: i64,
        /// To which stream, by its row.
        stream: i64,
        /// Name of the source.
        source: String,
        /// Time of the event, milliseconds since the Unix epoch.
        at_ms: i64,
    },
    /// Its first byte came.
    FirstByte {
        /// UUID of the row that the fact belongs to.
        #[serde(with = "uuid_text")]
        connection: Uuid,
        /// Time of the event, milliseconds since the Unix epoch.
        at_ms: i64,
    },
    /// The connection or segment has ended.
    Closed {
        /// UUID of the row that the fact belongs to.
        #[serde(with = "uuid_text")]
        connection: Uuid,
        /// What it had brought.
        bytes: u64,
        /// Why, in the words of the catalog.
        reason: String,
        /// The source's own words.
        detail: Option<String>,
        /// Time of the event, milliseconds since the Unix epoch.
        at_ms: i64,
    },
    /// A hall's tape could not write, or can again.
    DiskFull {
        /// Of which hall, by its row.
        hall: i64,
        /// False: it can again.
        full: bool,
        /// Time of the event, milliseconds since the Unix epoch.
        at_ms: i64,
    },
}

/// A UUID as text.
mod uuid_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(uuid: &Uuid, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(uuid)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Uuid, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// All that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Row of the daemon's run.
    run: Option<i64>,
    /// Its last sign of life.
    alive_ms: i64,
    facts: Vec<Fact>,
}

/// Keeps the facts that the catalog has not taken yet. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LastFacts(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    file: Option<File>,
    run: Option<i64>,
    /// Number of the fact, since when it waits, what it is.
    waiting: VecDeque<(u64, Ms, Fact)>,
    next: u64,
    /// Number of the last slot that was written.
    slot: u64,
    /// What is in the file is still to be brought in or to be wiped out.
    is_filled: bool,
}

impl LastFacts {
    /// For the daemon run of this row. Where the file cannot be made, facts wait in memory only.
    #[must_use]
    pub fn open(data_dir: &Path, run: Option<i64>) -> Self {
        let file = prepare(data_dir);
        if let Err(e) = &file {
            tracing::warn!(
                "{FILE}: it cannot be made ({e}): what the catalog cannot take is lost when the daemon ends"
            );
        }
        let file = file.ok();
        let slot = file.as_ref().and_then(newest).map_or(0, |(slot, _)| slot);
        let state = State { file, run, waiting: VecDeque::new(), next: 0, slot, is_filled: false };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fact is on its way into the catalog. Gives the number under which it waits.
    pub fn note(&self, fact: Fact, now: Ms) -> u64 {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.waiting.push_back((number, now, fact));
        number
    }

    /// The catalog has taken, or refused, a fact.
    pub fn settle(&self, number: u64) {
        self.state().waiting.retain(|(n, ..)| *n != number);
    }

    /// How many facts wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// To be called every second or so: writes the file while the catalog is behind, and wipes it out afterwards.
    pub fn keep(&self, now: Ms) {
        let mut state = self.state();
        let is_behind = state.waiting.front().is_some_and(|(_, since, _)| now.since(*since) >= BEHIND_MS);
        if is_behind || state.is_filled {
            let written = state.write(now);
            if let Err(e) = written {
                tracing::debug!("{FILE}: {e}");
            }
        }
    }

    /// Writes what waits at once: the daemon ends.
    pub fn keep_all(&self, now: Ms) {
        let mut state = self.state();
        if (!state.waiting.is_empty() || state.is_filled)
            && let Err(e) = state.write(now)
        {
            tracing::error!("{FILE}: {e}: causes of gaps are lost");
        }
    }
}

impl State {
    fn write(&mut self, now: Ms) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let facts: Vec<Fact> = self.waiting.iter().map(|(_, _, fact)| fact.clone()).collect();
        let is_empty = facts.is_empty();
        let kept = Kept { run: self.run, alive_ms: now.0, facts };
        let number = self.slot + 1;
        file.write_all_at(&encode(kept, number)?, (number % 2) * SLOT as u64)?;
        file.sync_data()?;
        self.slot = number;
        self.is_filled = !is_empty;
        Ok(())
    }
}

/// Makes the file with all of its blocks.
fn prepare(data_dir: &Path) -> io::Result<File> {
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_link);
    let file = options.open(data_dir.join(FILE))?;
    if file.metadata()?.len() < 2 * SLOT as u64 {
        file.write_all_at(&vec![0; 2 * SLOT], 0)?;
        file.sync_all()?;
    }
    Ok(file)
}

/// A slot: what does not fit in is left out from the oldest on.
fn encode(mut kept: Kept, number: u64) -> io::Result<Vec<u8>> {
    let text = loop {
        let text = serde_json::to_vec(&kept)?;
        if text.len() <= SLOT - HEAD || kept.facts.is_empty() {
            break text;
        }
        let surplus = kept.facts.len().div_ceil(8);
        kept.facts.drain(..surplus);
    };
    let mut out = Vec::with_capacity(SLOT);
    out.extend_from_slice(&(text.len() as u64).to_be_bytes());
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&xxh3_64(&text).to_be_bytes());
    out.extend_from_slice(&text);
    out.resize(SLOT, 0);
    Ok(out)
}

/// The newest slot that is whole, and its number.
fn newest(file: &File) -> Option<(u64, Kept)> {
    let read = |at: u64| {
        let mut slot = vec![0; SLOT];
        file.read_exact_at(&mut slot, at * SLOT as u64).ok()?;
        let word = |n: usize| slot.get(n * 8..n * 8 + 8).and_then(|b| Some(u64::from_be_bytes(b.try_into().ok()?)));
        let length = usize::try_from(word(0)?).ok().filter(|n| *n > 0)?;
        let text = slot.get(HEAD..HEAD.checked_add(length)?)?;
        (word(2)? == xxh3_64(text)).then_some(())?;
        Some((word(1)?, serde_json::from_slice::<Kept>(text).ok()?))
    };
    [read(0), read(1)].into_iter().flatten().max_by_key(|(number, _)| *number)
}

/// Brings in what the last daemon could not write, and says how many facts. To be called before connections that were left
/// open are closed.
///
/// # Errors
/// When the catalog cannot be written; then the file stays as it is.
pub fn bring_in(db: &Connection, data_dir: &Path) -> catalog::Result<usize> {
    let Ok(file) = OpenOptions::new().read(true).write(true).open(data_dir.join(FILE)) else { return Ok(0) };
    let Some((number, kept)) = newest(&file).filter(|(_, kept)| !kept.facts.is_empty()) else { return Ok(0) };
    if let Some(run) = kept.run {
        daemon_runs::beat(db, run, Ms(kept.alive_ms))?;
    }
    let mut count = 0;
    for fact in &kept.facts {
        match bring(db, kept.run, fact) {
            Ok(()) => count += 1,
            Err(e) if e.is_transient() => return Err(e),
            // A hall that is gone, for instance: the others count.
            Err(e) => tracing::warn!("{FILE}: {fact:?} is left out: {e}"),
        }
    }
    let emptied = encode(Kept::default(), number + 1).and_then(|slot| {
        file.write_all_at(&slot, ((number + 1) % 2) * SLOT as u64)?;
        file.sync_data()
    });
    if let Err(e) = emptied {
        tracing::warn!("{FILE}: {e}");
    }
    Ok(count)
}

fn bring(db: &Connection, run: Option<i64>, fact: &Fact) -> catalog::Result<()> {
    match fact {
        Fact::Opened { connection, hall, stream, source, at_ms } => {
            let source = ["http", "hls", "ffmpeg", "mplayer"].into_iter().find(|known| *known == source);
            let new = NewConnection {
                uuid: *connection,
                hall: HallId(*hall),
                stream: StreamId(*stream),
                daemon_run: run,
                source: source.unwrap_or("unknown"),
                process: None,
                at: Ms(*at_ms),
            };
            segments::open_connection(db, &new)
        }
        Fact::FirstByte { connection, at_ms } => segments::first_byte(db, *connection, Ms(*at_ms)),
        Fact::Closed { connection, bytes, reason, detail, at_ms } => {
            let reason: EndReason = reason.parse().map_err(catalog::CatalogError::Value)?;
            segments::close_connection(db, *connection, *bytes, reason, detail.as_deref(), Ms(*at_ms))
        }
        Fact::DiskFull { hall, full, at_ms } => incidents::disk_full(db, run, HallId(*hall), *full, Ms(*at_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::open_writer;
    use crate::domain::interval::Interval;

    fn opened(connection: Uuid, at_ms: i64) -> Fact {
        Fact::Opened { connection, hall: 1, stream: 1, source: "http".to_owned(), at_ms }
    }

    #[test]
    fn what_a_full_disk_kept_out_of_the_catalog_is_brought_in_by_the_next_start() {
        let dir = tempfile::tempdir().expect("a folder");
        let db = open_writer(dir.path()).expect("a catalog");
        db.execute_batch(
            "INSERT INTO event (id, name, slug, time_zone) VALUES (1, '27c3', '27c3', 'Europe/Berlin');
             INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
             INSERT INTO stream (id, hall_id, url, priority, origin, added_ms) VALUES (1, 1, 'http://h/x', 0, 'command', 0);",
        )
        .expect("rows");
        let run = daemon_runs::begin(&db, Uuid::now_v7(), None, Ms(1000)).expect("begun");
        let facts = LastFacts::open(dir.path(), Some(run));
        let size = || std::fs::metadata(dir.path().join(FILE)).expect("there").len();
        assert_eq!(size(), 2 * SLOT as u64, "its blocks are there before they are needed");
        let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
        let number = facts.note(opened(first, 2000), Ms(2000));
        facts.keep(Ms(2500));
        assert_eq!(bring_in(&db, dir.path()).expect("read"), 0, "the catalog is hardly behind");
        facts.note(Fact::FirstByte { connection: first, at_ms: 2100 }, Ms(2100));
        let closed =
            Fact::Closed { connection: first, bytes: 7, reason: "stalled".to_owned(), detail: None, at_ms: 30_000 };
        facts.note(closed, Ms(30_000));
        facts.note(opened(second, 30_000), Ms(30_000));
        facts.note(Fact::DiskFull { hall: 1, full: true, at_ms: 10_000 }, Ms(30_000));
        facts.keep(Ms(35_000));
        assert_eq!(size(), 2 * SLOT as u64);
        // Killed here. The next start:
        assert_eq!(bring_in(&db, dir.path()).expect("brought in"), 5);
        assert_eq!(bring_in(&db, dir.path()).expect("brought in"), 0, "once");
        let connections =
            segments::connections_of_hall(&db, HallId(1), Interval::new(Ms(0), Ms(99_000))).expect("read");
        let known: Vec<_> = connections.iter().map(|c| (c.opened.0, c.first_byte.map(|at| at.0), c.end)).collect();
        assert_eq!(known, [(2000, Some(2100), Some(EndReason::Stalled)), (30_000, None, None)]);
        let newest = daemon_runs::newest(&db).expect("read").expect("a run");
        assert_eq!(newest.heartbeat, Ms(35_000), "it lived until then");
        // What the catalog takes in the end is wiped out of the file.
        facts.settle(number);
        while facts.waiting() > 0 {
            let next = facts.state().waiting.front().map(|w| w.0).expect("one");
            facts.settle(next);
        }
        facts.keep(Ms(40_000));
        assert_eq!(bring_in(&db, dir.path()).expect("read"), 0);
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before_and_too_much_leaves_out_the_oldest() {
        let dir = tempfile::tempdir().expect("a folder");
        let facts = LastFacts::open(dir.path(), None);
        for n in 0..2000 {
            facts.note(opened(Uuid::now_v7(), n), Ms(n));
        }
        facts.keep_all(Ms(9000));
        let file = File::open(dir.path().join(FILE)).expect("there");
        let (number, kept) = newest(&file).expect("whole");
        assert!((100..2000).contains(&kept.facts.len()));
        assert!(matches!(kept.facts.last(), Some(Fact::Opened { at_ms: 1999, .. })));
        facts.keep_all(Ms(9500));
        assert_eq!(newest(&file).expect("whole").0, number + 1);
        let torn = OpenOptions::new().write(true).open(dir.path().join(FILE)).expect("there");
        torn.write_all_at(&[0xff; 64], ((number + 1) % 2) * SLOT as u64 + 100).expect("torn");
        assert_eq!(newest(&file).expect("the other").0, number);
    }
}
