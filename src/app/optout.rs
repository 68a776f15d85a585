//! Talks that must not be recorded: what was taped of them before that was known is kept aside, where
//! nobody is shown it, until `prune --opted-out` deletes it.

use std::path::{Path, PathBuf};

use super::env::Env;
use super::failure::Result;
use super::index::{Reader, read};
use super::{report, sidecar};
use crate::catalog::schedule::{TalkFilter, talks};
use crate::catalog::writer::Writer;
use crate::catalog::{assemblies, segments};
use crate::domain::ids::{SegmentId, TalkId};
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::segment::{Segment, Verdict};
use crate::domain::talk::Talk;
use crate::domain::time::HOUR;
use crate::plan::wanted::{forbidden_slots, window_of};
use crate::tape::disk::{make_dirs, rename};

/// The folder for assemblies of opted-out talks in the data directory.
pub const QUARANTINE: &str = "quarantine";

/// Why, in the catalog.
const REASON: &str = "opted out of recording";

/// Puts aside what there is of an opted-out talk: segments that no other talk needs, and its assembly.
///
/// # Errors
/// When the catalog cannot be used, or the file cannot be moved.
pub async fn quarantine(env: &Env, reader: &Reader, writer: &Writer, talk: TalkId) -> Result<()> {
    let env_for = env.clone();
    let (ids, old) = read(reader, move |db| {
        let view = report::one(db, &env_for, &talk.to_string())?;
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
        Ok((unneeded(&found, &needed), view.assembly))
    })
    .await?;
    let now = env.clock.now();
    if !ids.is_empty() {
        tracing::info!("talk {talk} is opted out: {} segment(s) put aside", ids.len());
        writer
            .call(move |db| {
                ids.iter().try_for_each(|id| segments::set_verdict(db, *id, Verdict::Quarantined, REASON, now))
            })
            .await?;
    }
    if let Some(old) = old {
        let name = old.path.file_name().map_or_else(|| PathBuf::from(talk.to_string()), PathBuf::from);
        let aside = Path::new(QUARANTINE).join(name);
        let moved =
            make_dirs(&env.data_dir, Path::new(QUARANTINE)).and_then(|_| rename(&env.data_dir, &old.path, &aside));
        match moved {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                tracing::error!("{} cannot be put aside: {e}", old.path.display());
                return Ok(());
            }
            _ => {}
        }
        sidecar::remove(env, &old.path);
        writer
            .call(move |db| {
                assemblies::keep(db, old.id, &aside, old.inputs)?;
                assemblies::gone(db, talk, REASON, now)
            })
            .await?;
    }
    Ok(())
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
