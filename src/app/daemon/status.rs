//! What the daemon is doing, for `streamrip status`: a small file that is written anew every second.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::core::Core;
use crate::app::env::Env;
use crate::app::failure::{Failure, Kind, Result};
use crate::app::lock;
use crate::domain::clock::Clock;
use crate::domain::stream_url::redact_text;
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
    /// Likewise, milliseconds since the epoch.
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

/// One tape.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tape {
    /// Event.
    pub event: String,
    /// Hall.
    pub hall: String,
    /// Ids of the talks that are on now.
    pub talks: Vec<i64>,
    /// Their titles.
    pub titles: Vec<String>,
    /// connecting, recording, stalled, waiting, ...
    pub state: String,
    /// Since when the tape runs.
    pub since: String,
    /// Until when.
    pub until: String,
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
    /// Seconds since the last byte.
    pub silent_seconds: Option<f64>,
    /// Where several mirrors are taped at the same time: each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<Lane>,
}

/// One of several mirrors of a hall that are taped at the same time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lane {
    /// As of a tape.
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
    /// Seconds since the last byte.
    pub silent_seconds: Option<f64>,
}

/// A window that opens soon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Next {
    /// When taping begins.
    pub at: String,
    /// Event.
    pub event: String,
    /// Hall.
    pub hall: String,
    /// Id of the talk.
    pub talk: i64,
    /// Its title.
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
        disk_free: crate::app::disk::free_bytes(&env.data_dir),
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
            state: state_word(view.status.state, zone),
            since: view.status.since.rfc3339(zone),
            until: view.until.rfc3339(zone),
            stream: view.status.stream.as_ref().map(ToString::to_string),
            bytes: view.status.bytes,
            bytes_per_second: view.status.bytes_per_second.max(0.0) as u64,
            connections: view.status.connections,
            last_trouble: trouble(&view.status),
            last_trouble_at: view.status.last_trouble.as_ref().map(|(at, ..)| at.rfc3339(zone)),
            silent_seconds: silence(&view.status, now),
            lanes: view
                .lanes
                .iter()
                .map(|lane| Lane {
                    state: state_word(lane.state, zone),
                    stream: lane.stream.as_ref().map(ToString::to_string),
                    bytes: lane.bytes,
                    bytes_per_second: lane.bytes_per_second.max(0.0) as u64,
                    connections: lane.connections,
                    last_trouble: trouble(lane),
                    last_trouble_at: lane.last_trouble.as_ref().map(|(at, ..)| at.rfc3339(zone)),
                    silent_seconds: silence(lane, now),
                })
                .collect(),
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
            .filter_map(|e| e.refresh_problem.as_ref().map(|p| format!("{}: {}", e.name, redact_text(p)))),
    );
    if disk_full {
        status
            .problems
            .push("disk-full: a recording cannot be written; it goes on by itself when there is space".to_owned());
    }
    if status.disk_free.is_some_and(|free| free < status.disk_reserve) {
        status
            .problems
            .push("disk-full: less than the reserve is free; joining pauses until there is space".to_owned());
    }
    for tape in &status.tapes {
        if let (Some(silent), Some(trouble)) = (tape.silent_seconds, &tape.last_trouble)
            && silent > 30.0
        {
            status.problems.push(format!("{}: no bytes for {silent:.0} s ({trouble})", tape.hall));
        } else if let (None, Some(trouble)) = (tape.silent_seconds, &tape.last_trouble) {
            status.problems.push(format!("{}: nothing received yet ({trouble})", tape.hall));
        }
        // One mirror of two that is silent costs nothing yet.
        for lane in tape.lanes.iter().filter(|_| tape.silent_seconds.is_some_and(|s| s <= 30.0)) {
            if let (true, Some(trouble)) = (lane.silent_seconds.is_none_or(|s| s > 30.0), &lane.last_trouble) {
                status.problems.push(format!("{}: one mirror delivers nothing ({trouble})", tape.hall));
            }
        }
    }
    status
}

fn trouble(status: &TapeStatus) -> Option<String> {
    status.last_trouble.as_ref().map(|(_, why, detail)| match detail {
        Some(detail) => redact_text(&format!("{why}: {detail}")),
        None => why.to_string(),
    })
}

fn silence(status: &TapeStatus, now: Ms) -> Option<f64> {
    status.last_byte_at.map(|at| (now.since(at).max(0)) as f64 / 1000.0)
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

/// Writes the status where [`read`] finds it. A reader sees the old or the new one, never half.
///
/// # Errors
/// When it cannot be written: of no consequence for taping.
pub(super) fn write(data_dir: &Path, status: &Status) -> std::io::Result<()> {
    let path = data_dir.join(FILE_NAME);
    let new = data_dir.join("status.json.new");
    std::fs::write(&new, serde_json::to_vec(status).map_err(std::io::Error::other)?)?;
    std::fs::rename(new, path)
}

/// What the daemon on this data directory does; `alive` is false where there is none.
///
/// # Errors
/// When there is no data directory, or the status cannot be read.
pub fn read(data_dir: &Path, clock: &dyn Clock) -> Result<Status> {
    let path = data_dir.join(FILE_NAME);
    let locked = lock::is_taken(data_dir);
    let mut status = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice::<Status>(&text)
            .map_err(|e| Failure::new(Kind::Failed, format!("cannot read {}", path.display())).because(e))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Status::default(),
        Err(e) => return Err(Failure::new(Kind::Failed, format!("cannot read {}", path.display())).because(e)),
    };
    let age = clock.now().since(Ms(status.written_ms));
    if !locked {
        status = Status { written_at: status.written_at, written_ms: status.written_ms, ..Status::default() };
    } else if age > STALE_MS && status.written_ms != 0 {
        status.problems.insert(0, format!("the daemon has written no status for {} s", age / 1000));
    }
    status.alive = locked;
    Ok(status)
}
