//! What the daemon is doing, for `streamrip status`: a small file that is written anew every second.

use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::core::Core;
use crate::app::schedule::refresh::is_current;
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::humanize::size;
use crate::app::support::{free_space, lock};
use crate::domain::clock::Clock;
use crate::domain::stream_url::redact_text;
use crate::domain::talk::Talk;
use crate::domain::time::{Ms, SECOND};
use crate::plan::wanted::window_of;
use crate::tape::{TapeState, TapeStatus};

/// File name of the status in the data directory.
pub const FILE_NAME: &str = "status.json";

/// A status older than this was not written by a daemon that works: it writes one every second.
const STALE_MS: i64 = 10 * SECOND;

/// So many coming boundaries are told.
const NEXT: usize = 6;

/// What a daemon is doing. Instants are RFC 3339 in the zone of their event.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// True where a daemon holds the data directory and writes its status.
    pub alive: bool,
    /// Its process.
    pub pid: Option<u32>,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: Option<String>,
    /// When this was written.
    pub written_at: Option<String>,
    /// Time of writing in milliseconds since the Unix epoch.
    pub written_ms: i64,
    /// The tapes that run.
    pub tapes: Vec<Tape>,
    /// Talks that begin next.
    pub next: Vec<Next>,
    /// What is being indexed or joined just now.
    pub working_on: Option<String>,
    /// Talks that wait to be joined.
    pub waiting: i64,
    /// Free bytes on the disk of the recordings, and how many of them are reserved.
    pub disk_free: Option<u64>,
    /// See `disk_free`.
    pub disk_reserve: u64,
    /// What a person should look at.
    pub problems: Vec<String>,
}

/// State of one running tape.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tape {
    /// Name of the event.
    pub event: String,
    /// Name of the hall.
    pub hall: String,
    /// Ids of the talks that are on now.
    pub talks: Vec<i64>,
    /// Their titles.
    pub titles: Vec<String>,
    /// Since when the tape runs.
    pub since: String,
    /// End of the recording, RFC 3339.
    pub until: String,
    /// What comes: of all its lanes together.
    #[serde(flatten)]
    pub flow: Flow,
    /// Where several mirrors are taped at the same time: each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<Flow>,
}

/// What comes from the stream of a tape, or of one of its lanes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flow {
    /// connecting, recording, stalled, waiting, ...
    pub state: String,
    /// The stream, without password.
    pub stream: Option<String>,
    /// Bytes so far, over all connections.
    pub bytes: u64,
    /// Over the last seconds.
    pub bytes_per_second: u64,
    /// Connections so far.
    pub connections: u32,
    /// The last trouble, and when.
    pub last_trouble: Option<String>,
    /// See `last_trouble`.
    pub last_trouble_at: Option<String>,
    /// Seconds since the last byte of media.
    pub silent_seconds: Option<f64>,
}

impl Status {
    /// Warnings of the status file plus those that follow from its age: a daemon that hangs, or that never started its
    /// loop, writes none itself.
    #[must_use]
    pub fn seen_at(mut self, now: Ms) -> Self {
        let age = now.since(Ms(self.written_ms));
        if age > STALE_MS && !self.is_starting() {
            self.problems.insert(0, format!("the daemon has written no status for {} s", age / SECOND));
        }
        self
    }

    /// True where no daemon has written it yet: it begins with a look at what the last one left.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.written_ms == 0
    }
}

impl Flow {
    fn of(status: &TapeStatus, zone: chrono_tz::Tz) -> Self {
        Self {
            state: state_word(status.state, zone),
            stream: status.stream.as_ref().map(ToString::to_string),
            bytes: status.bytes,
            bytes_per_second: status.bytes_per_second.max(0.0) as u64,
            connections: status.connections,
            last_trouble: trouble(status),
            last_trouble_at: status.last_trouble.as_ref().map(|(at, ..)| at.rfc3339(zone)),
            silent_seconds: status.silence().map(|silent| silent.as_secs_f64()),
        }
    }
}

/// A window that opens soon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Next {
    /// When taping begins.
    pub at: String,
    /// Name of the event.
    pub event: String,
    /// Name of the hall.
    pub hall: String,
    /// Id of the talk.
    pub talk: i64,
    /// Title of the talk.
    pub title: String,
}

/// Collects what the core knows.
pub(super) async fn of_core(core: &Core, env: &Env, started: Ms) -> Status {
    let now = env.clock.now();
    let schedule = core.schedule().await;
    let mut status = Status {
        alive: true,
        pid: Some(std::process::id()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: Some(started.rfc3339(chrono_tz::Tz::UTC)),
        written_at: Some(now.rfc3339(chrono_tz::Tz::UTC)),
        written_ms: now.0,
        disk_free: free_space::free_bytes(&env.data_dir),
        disk_reserve: env.settings.disk.reserve_bytes,
        ..Status::default()
    };
    let mut disk_full = false;
    for view in core.tapes().await {
        disk_full |= view.status.disk_full;
        let zone = view.event.as_ref().map_or(chrono_tz::Tz::UTC, |e| e.zone);
        let talks: Vec<_> = schedule
            .talks
            .iter()
            .filter(|t| view.talks.contains(&t.id))
            .filter(|t| window_of(t, view.event.as_ref(), &env.settings.record).contains(now))
            .collect();
        status.tapes.push(Tape {
            event: view.event.as_ref().map(|e| e.name.clone()).unwrap_or_default(),
            hall: view.hall.name.clone(),
            talks: talks.iter().map(|t| t.id.0).collect(),
            titles: talks.iter().map(|t| t.title.clone()).collect(),
            since: view.status.since.rfc3339(zone),
            until: view.until.rfc3339(zone),
            flow: Flow::of(&view.status, zone),
            lanes: view.lanes.iter().map(|lane| Flow::of(lane, zone)).collect(),
        });
    }
    let mut coming: Vec<_> = schedule
        .talks
        .iter()
        .filter(|t| t.is_on())
        .filter_map(|t| {
            let event = schedule.events.iter().find(|e| e.id == t.event)?;
            let hall = schedule.halls.iter().find(|h| h.id == t.hall)?;
            Some((window_of(t, Some(event), &env.settings.record).start, t, event, hall))
        })
        .filter(|(at, ..)| *at > now)
        .collect();
    coming.sort_by_key(|(at, talk, ..)| (*at, talk.id));
    status.next = coming
        .iter()
        .take(NEXT)
        .map(|(at, talk, event, hall)| Next {
            at: at.rfc3339(event.zone),
            event: event.name.clone(),
            hall: hall.name.clone(),
            talk: talk.id.0,
            title: talk.title.clone(),
        })
        .collect();
    status.problems.extend(
        schedule
            .events
            .iter()
            .filter(|e| is_current(e.id, &schedule.talks, now))
            .filter_map(|e| e.refresh_problem.as_ref().map(|p| format!("{}: {}", e.name, redact_text(p)))),
    );
    if disk_full {
        status
            .problems
            .push("disk-full: a recording cannot be written; it goes on by itself when there is space".to_owned());
    }
    if let Some(free) = status.disk_free.filter(|free| *free < status.disk_reserve) {
        status.problems.push(format!(
            "disk-full: {} free, less than disk.reserve ({}); joining is paused until there is space",
            size(free),
            size(status.disk_reserve)
        ));
    }
    // Without a stream there is no tape that could say so.
    for hall in schedule.halls.iter().filter(|h| h.streams.is_empty()) {
        let event = schedule.events.iter().find(|e| e.id == hall.event);
        let is_on =
            |t: &&Talk| t.hall == hall.id && t.is_on() && window_of(t, event, &env.settings.record).contains(now);
        if let Some(talk) = schedule.talks.iter().find(is_on) {
            status.problems.push(format!("{}: no stream: nothing is recorded of {:?}", hall.name, talk.title));
        }
    }
    for tape in &status.tapes {
        let flow = &tape.flow;
        if let (Some(silent), Some(trouble)) = (flow.silent_seconds, &flow.last_trouble)
            && silent > 30.0
        {
            status.problems.push(format!("{}: no media for {silent:.0} s ({trouble})", tape.hall));
        } else if let (None, Some(trouble)) = (flow.silent_seconds, &flow.last_trouble) {
            status.problems.push(format!("{}: nothing received yet ({trouble})", tape.hall));
        }
        // One mirror of two that is silent costs nothing yet.
        for lane in tape.lanes.iter().filter(|_| flow.silent_seconds.is_some_and(|s| s <= 30.0)) {
            if let (true, Some(trouble)) = (lane.silent_seconds.is_none_or(|s| s > 30.0), &lane.last_trouble) {
                status.problems.push(format!("{}: one mirror delivers nothing ({trouble})", tape.hall));
            }
        }
    }
    status
}

/// The last trouble of a tape, in words without passwords.
pub(super) fn trouble(status: &TapeStatus) -> Option<String> {
    status.last_trouble.as_ref().map(|(_, why, detail)| match detail {
        Some(detail) => redact_text(&format!("{why}: {detail}")),
        None => why.to_string(),
    })
}

fn state_word(state: TapeState, zone: chrono_tz::Tz) -> String {
    match state {
        TapeState::NoStream => "no stream".to_owned(),
        TapeState::Connecting => "connecting".to_owned(),
        TapeState::Taping => "recording".to_owned(),
        TapeState::Waiting(until) => format!("next try at {}", until.in_zone(zone).format("%H:%M:%S")),
        TapeState::Stopping => "stopping".to_owned(),
        TapeState::Ended => "ended".to_owned(),
    }
}

/// The file's length is a multiple of this, filled up with blanks: a status that grows a little finds room in it
/// on a full disk too. Bytes.
const BLOCK_BYTES: usize = 16 * 1024;

/// Writes the status where [`read`] finds it. A reader sees the old or the new one, never half; but on a
/// full disk, where there is no room for a new file, the old one is written over.
///
/// # Errors
/// When it cannot be written: of no consequence for taping.
pub(super) fn write(data_dir: &Path, status: &Status) -> std::io::Result<()> {
    let path = data_dir.join(FILE_NAME);
    let new = data_dir.join("status.json.new");
    let mut text = serde_json::to_vec(status).map_err(std::io::Error::other)?;
    text.resize(text.len().next_multiple_of(BLOCK_BYTES), b' ');
    std::fs::write(&new, &text).and_then(|()| std::fs::rename(&new, &path)).or_else(|e| {
        // What there is of it takes space that others need.
        let _ = std::fs::remove_file(&new);
        write_over(&path, &text).map_err(|_| e)
    })
}

/// Puts `text` in the place of a file's content, which may not be shorter.
fn write_over(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::options().write(true).open(path)?;
    if file.metadata()?.len() < text.len() as u64 {
        return Err(std::io::ErrorKind::StorageFull.into());
    }
    file.write_all(text)?;
    file.set_len(text.len() as u64)
}

/// The status in a file; `None` where there is none.
fn read_file(path: &Path) -> Result<Option<Status>> {
    let failed = || Failure::new(Kind::Failed, format!("cannot read {}", path.display()));
    let mut tries = 0;
    loop {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed().because(e)),
        };
        match serde_json::from_slice(&text) {
            Ok(status) => return Ok(Some(status)),
            // It may just be written over, which takes milliseconds.
            Err(_) if tries < MAX_READ_ATTEMPTS => std::thread::sleep(READ_RETRY_DELAY),
            Err(e) => return Err(failed().because(e)),
        }
        tries += 1;
    }
}

/// So often a status that seems damaged is read again, and this long after.
const MAX_READ_ATTEMPTS: u32 = 5;
const READ_RETRY_DELAY: std::time::Duration = std::time::Duration::from_millis(20);

/// What the daemon on this data directory does; `alive` is false where there is none.
///
/// # Errors
/// When there is no data directory, or the status cannot be read.
pub fn read(data_dir: &Path, clock: &dyn Clock) -> Result<Status> {
    let path = data_dir.join(FILE_NAME);
    let locked = lock::is_taken(data_dir);
    let mut status = read_file(&path)?.unwrap_or_default();
    if locked {
        status = status.seen_at(clock.now());
    } else {
        status = Status { written_at: status.written_at, written_ms: status.written_ms, ..Status::default() };
    }
    // A daemon that begins on a full disk cannot write its status at all.
    if locked && free_space::is_full(data_dir) && !status.problems.iter().any(|p| p.starts_with("disk-full")) {
        status.problems.push("disk-full: nothing can be written".to_owned());
    }
    status.alive = locked;
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_over_where_there_is_no_room_for_a_new_one() {
        let dir = tempfile::tempdir().expect("dir");
        let status = |problems: usize| Status { problems: vec!["disk-full".to_owned(); problems], ..Status::default() };
        let seen = || read_file(&dir.path().join(FILE_NAME)).expect("read").map(|s| s.problems.len());
        write(dir.path(), &status(1000)).expect("written");
        assert_eq!(seen(), Some(1000));
        write(dir.path(), &status(0)).expect("written");
        assert_eq!(std::fs::metadata(dir.path().join(FILE_NAME)).expect("there").len(), BLOCK_BYTES as u64);
        // In the way of the new file.
        std::fs::create_dir(dir.path().join("status.json.new")).expect("made");
        write(dir.path(), &status(100)).expect("written over");
        assert_eq!(seen(), Some(100));
        write(dir.path(), &status(2)).expect("written over");
        assert_eq!(seen(), Some(2));
        // No room for it: the old one stays whole.
        write(dir.path(), &status(2000)).expect_err("too long");
        assert_eq!(seen(), Some(2));
    }
}
