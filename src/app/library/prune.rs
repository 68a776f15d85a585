//! Deletes what the plan says may go, and leaves a tombstone for each: its row, with sha256, size and reason.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::app::library::optout::QUARANTINE;
use crate::app::library::talk_files::{newest_file, talks_near, touches};
use crate::app::library::unheld;
use crate::app::support::blocking::{Reader, read};
use crate::app::support::contents::read_all;
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog::schedule;
use crate::catalog::writer::Writer;
use crate::catalog::{assemblies, segments};
use crate::domain::event::Event;
use crate::domain::ids::SegmentId;
use crate::domain::segment::{Segment, Verdict};
use crate::domain::talk::Talk;
use crate::plan::prune::{Candidate, TalkUse, may_go};
use crate::plan::wanted::window_of;

/// One file that may go, or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Its segment; `None`: it is an assembly.
    pub segment: Option<SegmentId>,
    /// Relative to the data directory.
    pub path: PathBuf,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Why it may be deleted.
    pub reason: String,
}

/// What to prune.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Say it, do not do it.
    pub dry_run: bool,
    /// Instead of fragments, what was put aside of opted-out talks.
    pub opted_out: bool,
}

/// Deletes what may go, or only says what would.
///
/// # Errors
/// When the catalog cannot be used, or a file cannot be deleted: those before it are gone and known as such.
pub async fn prune(env: &Env, reader: &Reader, writer: &Writer, request: PruneRequest) -> Result<Vec<Pruned>> {
    let env_for = env.clone();
    let list =
        read(reader, move |db| if request.opted_out { quarantined(db, &env_for) } else { fragments(db, &env_for) })
            .await?;
    let list = held(env, reader, list).await?;
    if request.dry_run {
        return Ok(list);
    }
    let now = env.clock.now();
    for gone in &list {
        // The row first: a crash in between leaves a file that the catalog calls pruned, and that the
        // next prune deletes; the other way round a crash would leave a segment that seems lost.
        if let Some(id) = gone.segment {
            let reason = gone.reason.clone();
            writer.call(move |db| segments::set_verdict(db, id, Verdict::Pruned, &reason, now)).await?;
        }
        remove(env, gone)?;
    }
    Ok(list)
}

/// Without the fragments of media that has packets which stand in no file.
async fn held(env: &Env, reader: &Reader, list: Vec<Pruned>) -> Result<Vec<Pruned>> {
    let mut out = Vec::with_capacity(list.len());
    for gone in list {
        let Some(id) = gone.segment else {
            out.push(gone);
            continue;
        };
        let env_for = env.clone();
        let media = read(reader, move |db| {
            let media = segments::segment(db, id)?.filter(|s| s.verdict == Verdict::Media);
            media.map(|segment| Ok((unheld::files_around(db, &env_for, &segment)?, segment))).transpose()
        });
        if let Some((files, segment)) = media.await?
            && !unheld::all_stands_in(env, reader, &segment, &files).await?
        {
            continue;
        }
        out.push(gone);
    }
    Ok(out)
}

/// Deletes a file whose row says by now that it is pruned.
///
/// # Errors
/// When it is there and cannot be deleted.
pub(super) fn remove(env: &Env, gone: &Pruned) -> Result<()> {
    match std::fs::remove_file(env.data_dir.join(&gone.path)) {
        Ok(()) => {
            tracing::info!("pruned {} ({})", gone.path.display(), gone.reason);
            Ok(())
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Failure::new(Kind::Failed, format!("cannot delete {}", gone.path.display())).because(e)),
    }
}

fn fragments(db: &Connection, env: &Env) -> Result<Vec<Pruned>> {
    let min_bytes = env.settings.prune.min_segment_bytes;
    let events = schedule::events(db)?;
    let mut out = Vec::new();
    for segment in segments::prunable(db, min_bytes)? {
        let talks = uses(db, env, &events, &segment)?;
        if let Some(reason) = may_go(&Candidate { segment: &segment, talks }, min_bytes) {
            out.push(pruned(&segment, reason.to_string()));
        }
    }
    // What a crash left between row and file.
    for segment in segments::with_verdict(db, Verdict::Pruned)? {
        if segment.sha256.is_some_and(|sha256| is_the_file(&env.data_dir.join(&segment.path), segment.bytes, sha256)) {
            let reason = segment.verdict_reason.clone().unwrap_or_default();
            out.push(pruned(&segment, reason));
        }
    }
    Ok(out)
}

/// True where there is a file, and it is what the row tells of, by size and SHA-256. Anything else under that name is
/// somebody's recording.
pub(super) fn is_the_file(path: &Path, bytes: u64, sha256: [u8; 32]) -> bool {
    let same_size = std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == bytes);
    same_size && read_all(path).is_ok_and(|file| file.sha256 == sha256)
}

pub(super) fn pruned(segment: &Segment, reason: String) -> Pruned {
    Pruned { segment: Some(segment.id), path: segment.path.clone(), bytes: segment.bytes, reason }
}

/// What the talks whose windows a segment touches have made of it.
fn uses(db: &Connection, env: &Env, events: &[Event], segment: &Segment) -> Result<Vec<TalkUse>> {
    let mut out = Vec::new();
    for talk in talks_near(db, segment)?.into_iter().filter(Talk::is_on) {
        let window = window_of(&talk, events.iter().find(|e| e.id == talk.event), &env.settings.record);
        if touches(window, segment) {
            let is_newest = newest_file(db, env, talk.id)?.is_some();
            let seen = if is_newest { assemblies::seen(db, talk.id, segment.id)? } else { None };
            out.push(TalkUse { talk: talk.id, window, seen });
        }
    }
    Ok(out)
}

/// What was put aside of opted-out talks.
fn quarantined(db: &Connection, env: &Env) -> Result<Vec<Pruned>> {
    let mut out: Vec<Pruned> = segments::with_verdict(db, Verdict::Quarantined)?
        .iter()
        .map(|s| pruned(s, "opted out of recording".to_owned()))
        .collect();
    for entry in std::fs::read_dir(env.data_dir.join(QUARANTINE)).into_iter().flatten().flatten() {
        let path = std::path::Path::new(QUARANTINE).join(entry.file_name());
        let bytes = entry.metadata().map_or(0, |m| m.len());
        out.push(Pruned { segment: None, path, bytes, reason: "opted out of recording".to_owned() });
    }
    Ok(out)
}
