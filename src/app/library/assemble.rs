//! One file per talk: facts from the catalog, a plan, a join, and what came of it back into the catalog.

mod facts;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use self::facts::{TalkInputs, gather, look_closer, look_into_open};
use crate::app::library::report::TalkView;
use crate::app::library::{optout, sidecar};
use crate::app::support::blocking::{Reader, media, media_failure};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::symlink_guard;
use crate::catalog::assemblies::{self, Assembly, NewAssembly, Part, PrunedAssembly};
use crate::catalog::writer::Writer;
use crate::catalog::{self, assembly_queue, seams};
use crate::domain::event::Event;
use crate::domain::file_name::{FileNameTemplate, TalkName};
use crate::domain::hall::Hall;
use crate::domain::ids::{SegmentId, TalkId};
use crate::domain::interval::Interval;
use crate::domain::name::{MAX_FILE_NAME, slug};
use crate::domain::schedule::TalkDetails;
use crate::domain::talk::{Talk, TalkStatus};
use crate::durable;
use crate::media::{MediaError, join};
use crate::plan::assembly::EditList;
use crate::tape::disk::make_dirs;

/// The folder of the assemblies in the data directory.
pub const TALKS: &str = "talks";

/// Assembling is done by one process at a time; whoever holds this file does it.
const LOCK: &str = "assemble.lock";

/// A new plan with less media than the old file by more than this does not replace it. (The lengths of
/// two joins of the same media differ by some packets at most.)
const LESS_MS: i64 = 500;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssembleOutcome {
    /// The file was made.
    Made {
        /// Relative to the data directory.
        path: PathBuf,
        /// Length of its media, milliseconds.
        duration_ms: i64,
        /// How many gaps were closed.
        gaps: usize,
    },
    /// It is there, and made of just this.
    UpToDate(PathBuf),
    /// It is there and has more than could be made now.
    Kept(PathBuf),
    /// It was deleted by `prune.keep_assemblies`, and nothing was recorded since: it is not made again.
    Pruned(PrunedAssembly),
    /// There is nothing to make a file of, and why.
    Nothing(String),
}

/// Plans a talk's assembly without making it. Segments that are not indexed yet are told as such.
///
/// # Errors
/// When the catalog cannot be read.
pub fn plan_talk(db: &Connection, env: &Env, talk: TalkId) -> Result<(TalkView, EditList)> {
    let facts = TalkInputs::read(db, env, talk)?;
    let plan = facts.plan(env);
    Ok((facts.view, plan))
}

/// Makes, or makes anew, the file of a talk, where that is needed (or `force`d). `progress` is told the
/// milliseconds written and the milliseconds to write.
///
/// # Errors
/// When a segment or the disk fails; then what was there is as it was.
pub async fn assemble_talk(
    env: &Env,
    reader: &Reader,
    writer: &Writer,
    talk: TalkId,
    force: bool,
    progress: Progress,
) -> Result<AssembleOutcome> {
    assemble(env, reader, writer, talk, (false, force), progress).await
}

/// As [`assemble_talk`], for a person who asks for this talk: also one that the schedule has cancelled or no longer has
/// is joined, if something was recorded in its window. Only what is opted out is not.
///
/// # Errors
/// As [`assemble_talk`].
pub async fn assemble_by_hand(
    env: &Env,
    reader: &Reader,
    writer: &Writer,
    talk: TalkId,
    force: bool,
    progress: Progress,
) -> Result<AssembleOutcome> {
    assemble(env, reader, writer, talk, (true, force), progress).await
}

async fn assemble(
    env: &Env,
    reader: &Reader,
    writer: &Writer,
    talk: TalkId,
    (by_hand, force): (bool, bool),
    progress: Progress,
) -> Result<AssembleOutcome> {
    let _turn = turn(env).await?;
    let mut facts = gather(env, reader, writer, talk).await?;
    look_into_open(env, reader, &mut facts).await?;
    let talk_row = &facts.view.talk;
    if talk_row.opted_out {
        optout::quarantine(env, reader, writer, talk).await?;
        return done(writer, &facts, AssembleOutcome::Nothing("opted out of recording".to_owned())).await;
    }
    if talk_row.status != TalkStatus::Scheduled && !by_hand {
        // What was made before stays until the user removes it.
        let why = talk_row.status.as_str().to_owned();
        return done(writer, &facts, AssembleOutcome::Nothing(why)).await;
    }
    if let Some(pruned) = facts.view.pruned.clone().filter(|p| !force && !facts.recorded_since(p.at)) {
        return done(writer, &facts, AssembleOutcome::Pruned(pruned)).await;
    }
    for attempt in 0.. {
        let plan = match look_closer(env, writer, &mut facts).await {
            Ok(plan) => plan,
            Err(MediaError::Stale { path, .. }) if attempt == 0 => {
                facts.reindex(env, reader, writer, &path).await?;
                facts = gather(env, reader, writer, talk).await?;
                look_into_open(env, reader, &mut facts).await?;
                continue;
            }
            Err(e) => return Err(media_failure(&e)),
        };
        match make(env, reader, writer, &facts, plan, force, progress.clone()).await {
            Ok(outcome) => {
                let outcome = done(writer, &facts, outcome).await;
                sidecar::refresh(env, reader, talk).await;
                return outcome;
            }
            // The file is another one than the index says: what it holds counts, not what it held.
            Err(JoinStop::Stale(path)) if attempt == 0 => {
                tracing::warn!("{} is not as it was recorded: looking at it anew", path.display());
                facts.reindex(env, reader, writer, &path).await?;
                facts = gather(env, reader, writer, talk).await?;
                look_into_open(env, reader, &mut facts).await?;
            }
            Err(JoinStop::Stale(path)) => {
                return Err(Failure::new(Kind::Failed, format!("{} changes while it is read", path.display())));
            }
            Err(JoinStop::Failed(failure)) => return Err(failure),
        }
    }
    Err(Failure::new(Kind::Failed, "not reached"))
}

/// As [`assemble_talk`], with a reader and a writer of its own: for commands.
///
/// # Errors
/// As [`assemble_talk`].
pub async fn assemble_now(env: &Env, talk: TalkId) -> Result<AssembleOutcome> {
    let (reader, writer) = open(env)?;
    assemble_by_hand(env, &reader, &writer, talk, false, no_progress()).await
}

/// A reader and a writer for commands that work beside, or without, a daemon.
///
/// # Errors
/// When the catalog cannot be opened.
pub fn open(env: &Env) -> Result<(Reader, Writer)> {
    symlink_guard::check(&env.data_dir)?;
    let reader = catalog::open_reader(&env.data_dir)?;
    let (writer, _) = Writer::start(catalog::open_writer(&env.data_dir)?)
        .map_err(|e| Failure::new(Kind::Failed, "cannot start the catalog's writer").because(e))?;
    Ok((Arc::new(Mutex::new(reader)), writer))
}

/// Told how far a join is: milliseconds written, milliseconds to write.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Nobody wants to know.
#[must_use]
pub fn no_progress() -> Progress {
    Arc::new(|_, _| ())
}

/// Removes what a join that was killed left behind, unless another process is at work.
pub fn remove_half_made(data_dir: &Path) {
    let Ok(lock) = lock_file(data_dir) else { return };
    if lock.try_lock().is_ok() {
        for path in join::remove_half_made(&data_dir.join(TALKS)) {
            tracing::info!("removed the half-made {}; it is made again", path.display());
        }
    }
}

/// True while some process joins a talk in this data directory.
pub(super) fn is_at_work(data_dir: &Path) -> bool {
    File::open(data_dir.join(LOCK))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

fn lock_file(data_dir: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(data_dir.join(LOCK))
}

/// Waits until no other process assembles.
pub(crate) async fn turn(env: &Env) -> Result<File> {
    let data_dir = env.data_dir.clone();
    let locked = tokio::task::spawn_blocking(move || lock_file(&data_dir).and_then(|file| file.lock().map(|()| file)));
    match locked.await {
        Ok(Ok(file)) => Ok(file),
        Ok(Err(e)) => Err(Failure::new(Kind::Failed, format!("cannot lock {LOCK}")).because(e)),
        Err(e) => Err(Failure::new(Kind::Failed, "a task ended").because(e)),
    }
}

async fn done(writer: &Writer, facts: &TalkInputs, outcome: AssembleOutcome) -> Result<AssembleOutcome> {
    let (talk, stamp) = (facts.view.talk.id, facts.stamp);
    writer.call(move |db| assembly_queue::done(db, talk, stamp)).await?;
    Ok(outcome)
}

/// The path of a talk's file below [`TALKS`], without extension; an id may be added to tell talks apart. `details`: what
/// the schedule tells of it, and its page.
pub(super) fn name_of(
    template: &FileNameTemplate,
    talk: &Talk,
    event: &Event,
    hall: &Hall,
    details: Option<&(TalkDetails, Option<String>)>,
) -> PathBuf {
    let start = talk.slot.start.in_zone(event.zone);
    let (date, time) = (start.format("%Y-%m-%d").to_string(), start.format("%H%M").to_string());
    let details = details.map(|(details, _)| details);
    let name = TalkName {
        event: &event.slug,
        date: &date,
        time: &time,
        hall: &hall.slug,
        title: &talk.title,
        id: talk.id.0,
        language: details.and_then(|d| d.language.as_deref()),
        track: details.and_then(|d| d.track.as_deref()),
        code: details.and_then(|d| d.code.as_deref()),
    };
    template.path(&name, format!("-{}.mkv", talk.id).len())
}

/// What the name of a talk's file begins with: `2010-12-27_2030_saal-1_`.
pub(super) fn file_prefix(talk: &Talk, event: &Event, hall: &Hall) -> String {
    // A slug already, unless someone wrote into the catalog.
    format!("{}_{}_", talk.slot.start.in_zone(event.zone).format("%Y-%m-%d_%H%M"), slug(&hall.slug, 80))
}

enum JoinStop {
    Stale(PathBuf),
    Failed(Failure),
}

impl From<Failure> for JoinStop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<catalog::CatalogError> for JoinStop {
    fn from(e: catalog::CatalogError) -> Self {
        Self::Failed(e.into())
    }
}

async fn make(
    env: &Env,
    reader: &Reader,
    writer: &Writer,
    facts: &TalkInputs,
    plan: EditList,
    force: bool,
    progress: Progress,
) -> std::result::Result<AssembleOutcome, JoinStop> {
    let talk = facts.view.talk.id;
    let mut old = facts.view.assembly.clone();
    let found = plan.seams.clone();
    writer.call(move |db| seams::store(db, &found)).await?;
    // A file may hold the slot of a talk that was opted out since.
    let is_forbidden = match &old {
        Some(old) => optout::holds_any(&lock_reader(reader), old, &facts.forbidden)?,
        None => false,
    };
    if plan.clips.is_empty() {
        if let Some(old) = old.as_ref().filter(|_| is_forbidden) {
            let now = env.clock.now();
            writer.call(move |db| assemblies::gone(db, talk, "held a slot that was opted out", now)).await?;
            let _ = std::fs::remove_file(env.data_dir.join(&old.path));
            sidecar::remove(env, &old.path);
            return Ok(AssembleOutcome::Nothing("all that was recorded is of a talk that was opted out".to_owned()));
        }
        return Ok(match old {
            Some(old) => AssembleOutcome::Kept(old.path),
            None => AssembleOutcome::Nothing("nothing was recorded".to_owned()),
        });
    }
    let path = {
        let db = lock_reader(reader);
        facts.path(&plan, |path| Ok(assemblies::is_path_of_another(&db, path, talk)?))?
    };
    let inputs = plan.digest();
    // A file of another size is not what was made: no reason to keep it.
    let there = |old: &&Assembly| {
        std::fs::metadata(env.data_dir.join(&old.path)).is_ok_and(|file| file.is_file() && file.len() == old.bytes)
    };
    let has_lost = match old.as_ref().filter(there) {
        Some(old) => facts.lost_any(&assemblies::parts(&lock_reader(reader), old.id)?, &plan),
        None => false,
    };
    if let Some(old) = old.as_ref().filter(there).filter(|_| !force) {
        if old.inputs == inputs && old.path == path {
            return Ok(AssembleOutcome::UpToDate(path));
        }
        // Of segments that went since, pruned fragments for instance, it is the only copy: then a new file
        // must have more.
        let less =
            if has_lost { plan.duration_ms <= old.duration_ms } else { plan.duration_ms + LESS_MS < old.duration_ms };
        if facts.same_place(old, &path) && less && !is_forbidden {
            return keep_better(env, writer, old, &path, inputs).await;
        }
    }
    if let Some(old) = old.as_mut().filter(|old| has_lost && !is_forbidden && facts.same_place(old, &path)) {
        put_aside(env, writer, old).await?;
    }
    let gaps = plan.clips.iter().filter(|p| p.before.is_some()).count();
    let parts = parts(&plan);
    let used: Vec<SegmentId> = plan.clips.iter().map(|p| p.segment).collect();
    let sources = facts
        .view
        .segments
        .iter()
        .filter(|s| used.contains(&s.id))
        .filter_map(|s| Some((s.id, (env.data_dir.join(&s.path), facts.indexes.get(&s.id)?.clone()))))
        .collect();
    let total = u64::try_from(plan.duration_ms).unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new(TALKS));
    make_dirs(&env.data_dir, folder)
        .map_err(|e| Failure::new(Kind::Failed, format!("cannot make the folder {}", folder.display())).because(e))?;
    let job = join::JoinJob { plan, sources, target: env.data_dir.join(&path) };
    let engine = Arc::clone(&env.engine);
    let joined = media(move |cancel| engine.join(&job, &mut |ms| progress(ms, total), cancel)).await;
    let joined = joined.map_err(|e| match e {
        MediaError::Stale { path, .. } => JoinStop::Stale(path),
        MediaError::File { path, source } if source.kind() == std::io::ErrorKind::NotFound => JoinStop::Stale(path),
        e => JoinStop::Failed(media_failure(&e)),
    })?;
    for bad in &joined.undecodable {
        let (from, to) = (bad.from_ms as f64 / 1000.0, bad.to_ms as f64 / 1000.0);
        tracing::error!(
            "{}: nothing of track {} can be decoded from {from:.1} to {to:.1} s; the segments it was made of stay",
            path.display(),
            bad.track
        );
    }
    if joined.dropped > 0 {
        tracing::warn!("{}: {} packets with damaged times were left out", path.display(), joined.dropped);
    }
    let new = NewAssembly {
        talk,
        path: path.clone(),
        bytes: joined.bytes,
        sha256: joined.sha256,
        duration_ms: joined.duration_ms,
        inputs,
        parts,
        told: env.settings.notify.on_talk_done.is_empty(),
        presented: joined.presented,
        checked: joined.undecodable.is_empty(),
    };
    let moved = old.as_ref().is_some_and(|old| !facts.same_place(old, &path));
    let reason = match (moved, has_lost) {
        _ if is_forbidden => "replaced; it held a slot that was opted out",
        (true, _) => assemblies::STAYS_MOVED,
        (false, true) => assemblies::STAYS_ONLY_COPY,
        (false, false) => "replaced",
    };
    let now = env.clock.now();
    writer.call(move |db| assemblies::replace(db, &new, reason, now)).await?;
    // The old name goes last: until here the catalog named a file that was there.
    if let Some(old) = old.filter(|old| (is_forbidden || (!moved && !has_lost)) && old.path != path) {
        let _ = std::fs::remove_file(env.data_dir.join(&old.path));
        sidecar::remove(env, &old.path);
    }
    Ok(AssembleOutcome::Made { path, duration_ms: joined.duration_ms, gaps })
}

/// A file that is the only copy of something, and is about to be replaced by one that has more: it gets
/// another name, and stays.
async fn put_aside(env: &Env, writer: &Writer, old: &mut Assembly) -> std::result::Result<(), JoinStop> {
    let mark = format!("-before-{}", old.id);
    let stem = old.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if stem.ends_with(&mark) {
        return Ok(());
    }
    let extension = old.path.extension().unwrap_or_default().to_string_lossy();
    let room = MAX_FILE_NAME.saturating_sub(mark.len() + 1 + extension.len());
    let short: String = stem.chars().take(room).collect();
    let aside = old.path.with_file_name(format!("{short}{mark}.{extension}"));
    take_name(env, writer, old, &aside, old.inputs).await?;
    old.path = aside;
    Ok(())
}

/// Gives an assembly another name. Two names until the row has the new one: whenever the machine stops, the
/// row names the file. A row that named nothing would be taken for a file that is gone, and a lesser one put
/// in its place.
async fn take_name(
    env: &Env,
    writer: &Writer,
    old: &Assembly,
    path: &Path,
    inputs: [u8; 32],
) -> std::result::Result<(), JoinStop> {
    if old.path != path {
        let (from, to) = (env.data_dir.join(&old.path), env.data_dir.join(path));
        durable::hard_link(&from, &to)
            // File systems without second names have no better way.
            .or_else(|_| durable::rename(&from, &to))
            .map_err(|e| Failure::new(Kind::Failed, format!("cannot rename {}", old.path.display())).because(e))?;
    }
    let (id, named) = (old.id, path.to_owned());
    writer.call(move |db| assemblies::keep(db, id, &named, inputs)).await?;
    if old.path != path {
        let _ = std::fs::remove_file(env.data_dir.join(&old.path));
        sidecar::follow(env, &old.path, path);
    }
    Ok(())
}

/// The old file has more than could be made now (segments are gone): it stays, under the talk's name.
async fn keep_better(
    env: &Env,
    writer: &Writer,
    old: &Assembly,
    path: &Path,
    inputs: [u8; 32],
) -> std::result::Result<AssembleOutcome, JoinStop> {
    // With the old one's extension: it is the old one's content.
    let path = path.with_extension(old.path.extension().unwrap_or_default());
    take_name(env, writer, old, &path, inputs).await?;
    Ok(AssembleOutcome::Kept(path))
}

fn lock_reader(reader: &Reader) -> std::sync::MutexGuard<'_, Connection> {
    reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What the catalog keeps of a plan that was carried out: which segments it used, and which it left out.
#[must_use]
pub fn parts(plan: &EditList) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for clip in &plan.clips {
        // One segment may give several stretches in a row: their places as one. With a mirror or a gap between
        // them they are two: what is missing is not held.
        let (place, wall) = ((clip.out_start_ms, clip.out_end_ms), clip.wall());
        match parts.last_mut().filter(|p| p.segment == clip.segment && clip.before.is_none()) {
            Some(known) => {
                known.place = known.place.map(|(from, _)| (from, place.1));
                known.wall = known.wall.map(|known| Interval::new(known.start, wall.end.max(known.start)));
            }
            None => parts.push(Part {
                segment: clip.segment,
                place: Some(place),
                wall: Some(wall),
                redundant: true,
                note: clip.before.as_ref().map(ToString::to_string).unwrap_or_default(),
            }),
        }
    }
    // What has something that no track of the file holds stays.
    for (segment, why) in &plan.kept {
        for part in parts.iter_mut().filter(|p| p.segment == *segment) {
            part.redundant = false;
            part.note = if part.note.is_empty() { why.clone() } else { format!("{}; {why}", part.note) };
        }
    }
    for rejected in &plan.rejected {
        if parts.iter().all(|p| p.segment != rejected.segment) {
            parts.push(Part {
                segment: rejected.segment,
                place: None,
                wall: None,
                redundant: rejected.redundant,
                note: rejected.reason.clone(),
            });
        }
    }
    parts
}

#[cfg(test)]
pub(in crate::app) mod tests;
