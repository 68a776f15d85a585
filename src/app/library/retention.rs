//! Deletes what is older than the user wants to keep it: segments that stand in the files of their talks, and
//! these files. `plan::retention` says what is old enough; here each file that stands in for a segment is read
//! whole first, and its SHA-256 compared.

use std::time::Duration;

use rusqlite::Connection;

use crate::app::library::assemble;
use crate::app::library::prune::{Pruned, is_the_file, pruned, remove};
use crate::app::library::sidecar;
use crate::app::library::talk_files::{newest_file, talks_near, touches};
use crate::app::library::unheld;
use crate::app::support::blocking::{Reader, media, media_failure, read};
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::app::support::humanize::size;
use crate::catalog::assemblies::{self, Assembly};
use crate::catalog::schedule;
use crate::catalog::writer::Writer;
use crate::catalog::{assembly_queue, incidents, segments};
use crate::domain::ids::{AssemblyId, TalkId};
use crate::domain::interval::Interval;
use crate::domain::segment::{Segment, Verdict};
use crate::domain::settings::KeepAssemblies;
use crate::domain::talk::Talk;
use crate::domain::time::SECOND;
use crate::media::MediaError;
use crate::plan::retention::{OldFile, OldSegment, TalkFile, files_to_go, segment_may_go};
use crate::plan::wanted::window_of;

/// True where the settings let anything go by age or size.
#[must_use]
pub fn is_on(env: &Env) -> bool {
    env.settings.prune.keep_segments_ms.is_some() || env.settings.prune.keep_assemblies.is_some()
}

/// Deletes what is old enough, or (`dry_run`) only says what would go: segments first, then the files of talks.
///
/// # Errors
/// When the catalog cannot be used, or a file cannot be deleted: those before it are gone and known as such. A file
/// that is not what was joined is told to the log, and its segments stay.
pub async fn retain(env: &Env, reader: &Reader, writer: &Writer, dry_run: bool) -> Result<Vec<Pruned>> {
    if !is_on(env) {
        return Ok(Vec::new());
    }
    // Nobody makes a file anew while it is read, and while what it holds is deleted.
    let _turn = if dry_run { None } else { Some(assemble::turn(env).await?) };
    let old = sound_segments(env, reader).await?;
    let env_for = env.clone();
    // Both are asked for before anything goes: a segment that went puts its talks on the list to be looked at.
    let (still, old_files) =
        read(reader, move |db| Ok((old_segments(db, &env_for)?, old_files(db, &env_for)?))).await?;
    let files = to_go(env, old_files).await?;
    let old: Vec<Pruned> = old.into_iter().filter(|p| still.iter().any(|(s, _)| Some(s.id) == p.segment)).collect();
    let now = env.clock.now();
    if !dry_run {
        // As with fragments, the row first: what a crash leaves is deleted by the next prune.
        for gone in &old {
            if let Some(id) = gone.segment {
                let reason = gone.reason.clone();
                writer.call(move |db| segments::set_verdict(db, id, Verdict::Pruned, &reason, now)).await?;
            }
            remove(env, gone)?;
        }
        for (id, gone) in &files {
            let (id, reason) = (*id, gone.reason.clone());
            writer.call(move |db| assemblies::prune(db, id, &reason, now)).await?;
            remove(env, gone)?;
            sidecar::remove(env, &gone.path);
        }
    }
    Ok(old.into_iter().chain(files.into_iter().map(|(_, gone)| gone)).collect())
}

/// Segments that may go, each with the files that hold it, by the catalog's word.
type Held = (Segment, Vec<(TalkId, Assembly)>);

fn old_segments(db: &Connection, env: &Env) -> Result<Vec<Held>> {
    let Some(keep_ms) = env.settings.prune.keep_segments_ms else { return Ok(Vec::new()) };
    let (events, now) = (schedule::events(db)?, env.clock.now());
    let mut out = Vec::new();
    for segment in segments::media_closed_by(db, now.minus(keep_ms))? {
        let (mut uses, mut files) = (Vec::new(), Vec::new());
        for talk in talks_near(db, &segment)?.into_iter().filter(Talk::is_on) {
            let window = window_of(&talk, events.iter().find(|e| e.id == talk.event), &env.settings.record);
            if touches(window, &segment) {
                let file = newest_file(db, env, talk.id)?;
                uses.push(file.as_ref().map(|file| seen_by(db, talk.id, file, &segment)).transpose()?.flatten());
                files.extend(file.map(|file| (talk.id, file)));
            }
        }
        let taped = Interval::new(segment.opened.min(segment.at.start), segment.at.end.max(segment.opened));
        let twice = incidents::clock_steps(db, taped.padded(SECOND, SECOND))?.iter().any(|step| step.by_ms() < 0);
        let old = OldSegment { segment: &segment, files: uses, twice };
        if segment_may_go(&old, keep_ms, now) {
            out.push((segment, files));
        }
    }
    Ok(out)
}

/// What a talk's file has of a segment; `None`: it was made before it could see the segment.
fn seen_by(db: &Connection, talk: TalkId, file: &Assembly, segment: &Segment) -> Result<Option<TalkFile>> {
    if assemblies::seen(db, talk, segment.id)?.is_none() {
        return Ok(None);
    }
    let parts = assemblies::parts(db, file.id)?;
    let is_whole = parts.iter().all(|part| part.redundant);
    let holds = parts.iter().filter_map(|part| part.wall).collect();
    Ok(Some(TalkFile { assembly: file.id, made: file.made, is_whole, holds }))
}

/// Segments that may go, after each file that holds them was read, is what was joined, and has each of their packets.
async fn sound_segments(env: &Env, reader: &Reader) -> Result<Vec<Pruned>> {
    let env_for = env.clone();
    let held = read(reader, move |db| old_segments(db, &env_for)).await?;
    let mut out = Vec::new();
    for (segment, files) in held {
        if unheld::all_stands_in(env, reader, &segment, &files).await? {
            let talks: Vec<String> = files.iter().map(|(talk, _)| talk.to_string()).collect();
            let kept = words(env.settings.prune.keep_segments_ms.unwrap_or_default());
            out.push(pruned(&segment, format!("older than {kept}, in the file of talk {}", talks.join(" and "))));
        }
    }
    Ok(out)
}

/// Files of talks.
#[derive(Default)]
struct OldFiles {
    /// Those that are to go.
    go: Vec<(AssemblyId, Pruned)>,
    /// Those that went, by the catalog's word, with their SHA-256: a crash may have left some.
    went: Vec<(AssemblyId, Pruned, [u8; 32])>,
}

/// Files of talks that are to go, and what a crash left of those that went. These are read whole, and so not while the
/// catalog is held. Another file of that name, a release copy for instance, was put there by somebody else.
async fn to_go(env: &Env, files: OldFiles) -> Result<Vec<(AssemblyId, Pruned)>> {
    let OldFiles { mut go, went } = files;
    let dir = env.data_dir.clone();
    let left = media(move |cancel| {
        let mut left = Vec::new();
        for (id, gone, sha256) in went {
            if cancel.is_cancelled() {
                return Err(MediaError::Cancelled);
            }
            if is_the_file(&dir.join(&gone.path), gone.bytes, sha256) {
                left.push((id, gone));
            }
        }
        Ok(left)
    });
    go.extend(left.await.map_err(|e| media_failure(&e))?);
    Ok(go)
}

fn old_files(db: &Connection, env: &Env) -> Result<OldFiles> {
    let Some(keep) = env.settings.prune.keep_assemblies else { return Ok(OldFiles::default()) };
    let reason = match keep {
        KeepAssemblies::Age(ms) => format!("older than {}", words(ms)),
        KeepAssemblies::Total(bytes) => format!("the oldest of more than {} of joined files", size(bytes)),
    };
    let gone = |assembly: &Assembly| {
        let gone = Pruned { segment: None, path: assembly.path.clone(), bytes: assembly.bytes, reason: reason.clone() };
        (assembly.id, gone)
    };
    let all = assemblies::all(db)?;
    // What the user's hook has not taken yet, an upload for instance, is not deleted under it.
    let has_hook = !env.settings.notify.on_talk_done.is_empty();
    let untold = if has_hook { assemblies::untold(db)? } else { Vec::new() };
    let mut files = Vec::new();
    for (talk, assembly) in &all {
        let changes = assembly_queue::stamp(db, *talk)?.is_some() || untold.iter().any(|(_, id)| *id == assembly.id);
        files.push(OldFile { assembly: assembly.id, made: assembly.made, bytes: assembly.bytes, changes });
    }
    let go = files_to_go(&files, keep, env.clock.now());
    let go = go.iter().filter_map(|id| all.iter().find(|(_, a)| a.id == *id)).map(|(_, assembly)| gone(assembly));
    let went = assemblies::all_pruned(db)?;
    // (What was put aside since has a name that another talk's file may have.)
    let went = went.iter().filter(|(_, a)| a.path.starts_with(assemble::TALKS));
    let went = went.map(|(_, assembly)| {
        let (id, gone) = gone(assembly);
        (id, gone, assembly.sha256)
    });
    Ok(OldFiles { go: go.collect(), went: went.collect() })
}

/// A length of time as one writes it in the settings.
fn words(ms: i64) -> String {
    humantime::format_duration(Duration::from_millis(ms.unsigned_abs())).to_string()
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
