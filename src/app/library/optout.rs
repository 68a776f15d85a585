//! Talks that must not be recorded: what was taped of them before that was known is kept aside, where
//! nobody is shown it, until `prune --opted-out` deletes it.

use std::path::{Path, PathBuf};

use crate::app::library::{report, sidecar};
use crate::app::support::blocking::{Reader, read};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog::assemblies::Assembly;
use crate::catalog::schedule::{TalkFilter, talks};
use crate::catalog::writer::Writer;
use crate::catalog::{assemblies, assembly_queue, segments};
use crate::domain::ids::{SegmentId, TalkId};
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::name::MAX_FILE_NAME;
use crate::domain::segment::{Segment, Verdict};
use crate::domain::talk::Talk;
use crate::domain::time::{HOUR, SECOND};
use crate::durable;
use crate::plan::wanted::{forbidden_slots, window_of};
use crate::tape::disk::make_dirs;

/// The folder for assemblies of opted-out talks in the data directory.
pub const QUARANTINE: &str = "quarantine";

/// A file that holds less than this of a slot was cut at its edge: media is cut at keyframes, and times have their
/// tolerance. Milliseconds.
const CUT_TOLERANCE_MS: i64 = SECOND;

/// Why, in the catalog.
const REASON: &str = "opted out of recording";

/// Puts aside what there is of an opted-out talk: segments that no other talk needs, and every file that was ever
/// made of it, also those that were kept when the talk was moved or joined anew. Talks beside it whose file holds some of
/// its slot, in their padding, come into the assembly queue.
///
/// # Errors
/// When the catalog cannot be used, or a file cannot be moved: then the others are.
pub async fn quarantine(env: &Env, reader: &Reader, writer: &Writer, talk: TalkId) -> Result<()> {
    let env_for = env.clone();
    let (ids, mut files, beside) = read(reader, move |db| {
        let view = report::by_id(db, &env_for, talk.0)?;
        let within = Some(view.window.padded(HOUR, HOUR));
        let neighbours = talks(db, TalkFilter { hall: Some(view.hall.id), within, event: None })?;
        let forbidden = forbidden_slots(&neighbours);
        let needed: IntervalSet = neighbours
            .iter()
            // Also what was taped of one that is cancelled or removed: it may be back tomorrow.
            .filter(|t| !t.opted_out)
            .map(|t| window_of(t, Some(&view.event), &env_for.settings.record))
            .collect::<IntervalSet>()
            .subtract(&forbidden);
        let found = segments::segments_of_hall(db, view.hall.id, view.talk.slot)?;
        let mut beside = Vec::new();
        for neighbour in neighbours.iter().filter(|t| !t.opted_out) {
            let file = assemblies::current(db, neighbour.id)?;
            if file.is_some_and(|file| holds_any(db, &file, &forbidden).unwrap_or(true)) {
                beside.push(neighbour.id);
            }
        }
        Ok((unneeded(&found, &needed), assemblies::paths(db, talk)?, beside))
    })
    .await?;
    files.retain(|path| !path.starts_with(QUARANTINE));
    let now = env.clock.now();
    if !ids.is_empty() {
        tracing::info!("talk {talk} is opted out: {} segment(s) moved to quarantine", ids.len());
        writer
            .call(move |db| {
                ids.iter().try_for_each(|id| segments::set_verdict(db, *id, Verdict::Quarantined, REASON, now))
            })
            .await?;
    }
    if !beside.is_empty() {
        tracing::info!(
            "talk {talk} is opted out: {} file(s) of talks beside it are made anew without it",
            beside.len()
        );
        writer.call(move |db| beside.iter().try_for_each(|id| assembly_queue::add(db, *id))).await?;
    }
    let mut result = Ok(());
    for path in files {
        match put_aside(env, &path, talk) {
            Ok(aside) => {
                sidecar::remove(env, &path);
                writer
                    .call(move |db| {
                        // First: two talks' files may have one name there, but for a moment only one is shown.
                        if assemblies::current(db, talk)?.is_some_and(|current| current.path == path) {
                            assemblies::gone(db, talk, REASON, now)?;
                        }
                        assemblies::moved(db, talk, &path, &aside)
                    })
                    .await?;
            }
            Err(e) => {
                let what = format!("{} of an opted-out talk cannot be moved to quarantine/", path.display());
                result = Err(Failure::new(Kind::Failed, what).because(e));
            }
        }
    }
    result
}

/// Moves a file out of where files are shown. Its path then; one that is gone already has the path that it would have.
fn put_aside(env: &Env, path: &Path, talk: TalkId) -> std::io::Result<PathBuf> {
    let name = path.file_name().map_or_else(|| PathBuf::from(talk.to_string()), PathBuf::from);
    let mut aside = Path::new(QUARANTINE).join(&name);
    match env.data_dir.join(path).symlink_metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(aside),
        found => found?,
    };
    make_dirs(&env.data_dir, Path::new(QUARANTINE))?;
    // Another event's file of this name, or one from the last time that this talk was opted out.
    let taken = |aside: &Path| env.data_dir.join(aside).symlink_metadata().is_ok();
    for n in 2_u32.. {
        if !taken(&aside) {
            break;
        }
        let stem = name.file_stem().unwrap_or_default().to_string_lossy();
        let extension = name.extension().unwrap_or_default().to_string_lossy();
        let room = MAX_FILE_NAME.saturating_sub(extension.len() + 14);
        let short: String = stem.chars().take(room).collect();
        aside = Path::new(QUARANTINE).join(format!("{short}-{n}.{extension}"));
    }
    durable::rename(&env.data_dir.join(path), &env.data_dir.join(&aside))?;
    Ok(aside)
}

/// True where a joined file holds media of slots that must not be recorded: more than a cut at the nearest keyframe
/// leaves. Where the catalog does not know what it holds, it may.
///
/// # Errors
/// When the catalog cannot be read.
pub(super) fn holds_any(db: &rusqlite::Connection, file: &Assembly, forbidden: &IntervalSet) -> Result<bool> {
    let parts = assemblies::parts(db, file.id)?;
    let walls = parts.iter().filter(|part| part.place.is_some()).filter_map(|part| part.wall);
    Ok(walls.into_iter().any(|wall| forbidden.clip(wall).total_ms() > CUT_TOLERANCE_MS))
}

fn unneeded(found: &[Segment], needed: &IntervalSet) -> Vec<SegmentId> {
    found
        .iter()
        .filter(|s| matches!(s.verdict, Verdict::Media | Verdict::Unchecked | Verdict::NotMedia))
        .filter(|s| needed.clip(s.at).is_empty())
        .map(|s| s.id)
        .collect()
}

/// Takes segments back that were put aside and hold something that `talk` needs: a talk that was opted out
/// no longer is, or another one was moved to their time. It is the counterpart of [`quarantine`], which leaves
/// alone what some talk needs a part of.
///
/// # Errors
/// When the catalog cannot be written.
pub async fn release(
    env: &Env,
    writer: &Writer,
    found: &[Segment],
    talk: &Talk,
    window: Interval,
    forbidden: &IntervalSet,
) -> Result<()> {
    if talk.opted_out {
        return Ok(());
    }
    let needed = IntervalSet::from(window).subtract(forbidden);
    let free: Vec<SegmentId> = found
        .iter()
        .filter(|s| s.verdict == Verdict::Quarantined && !needed.clip(s.at).is_empty())
        .map(|s| s.id)
        .collect();
    if free.is_empty() {
        return Ok(());
    }
    let now = env.clock.now();
    Ok(writer
        .call(move |db| {
            free.iter()
                .try_for_each(|id| segments::set_verdict(db, *id, Verdict::Unchecked, "no longer opted out", now))
        })
        .await?)
}

#[cfg(test)]
#[path = "optout_tests.rs"]
mod tests;
