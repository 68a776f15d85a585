//! Making the one file of a talk.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::env::Env;
use super::failure::{Failure, Kind, Result};
use super::index::{Reader, index_file, index_segment, media, media_failure, read};
use super::report::{self, TalkView};
use crate::catalog::assemblies::{self, AssemblyPart, NewAssembly};
use crate::catalog::writer::Writer;
use crate::catalog::{self, marks, media_index, seams, segments};
use crate::domain::ids::{SegmentId, TalkId};
use crate::domain::media::MediaIndex;
use crate::domain::name::{MAX_FILE_NAME, slug};
use crate::domain::segment::Verdict;
use crate::domain::time::SECOND;
use crate::media::MediaError;
use crate::media::join::{self, Job, Joined};
use crate::plan::assembly::{AssemblyPlan, Inputs, plan};

/// What became of a talk's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssembleOutcome {
    /// It was made.
    Made {
        /// Relative to the data directory.
        path: PathBuf,
        /// Size.
        bytes: u64,
        /// Length of its media, milliseconds.
        duration_ms: i64,
    },
    /// It is there and made of just this.
    UpToDate {
        /// Relative to the data directory.
        path: PathBuf,
    },
    /// There is an older one that must not be replaced; where the talk has a new title, it has a new name.
    Kept {
        /// Relative to the data directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is nothing to make it of, or it must not be made.
    Nothing {
        /// Why.
        reason: String,
    },
}

/// A talk's plan, ready to be carried out.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The talk, and what became of it.
    pub view: TalkView,
    /// What to make.
    pub plan: AssemblyPlan,
    /// Where, relative to the data directory.
    pub path: PathBuf,
    /// What must be done: `None` to carry out the plan, else the outcome that is certain already.
    pub settled: Option<AssembleOutcome>,
    indexes: HashMap<SegmentId, MediaIndex>,
    /// The current file is to be given the new name.
    rename: bool,
}

/// File name of the lock that keeps two processes from making files at once.
const LOCK: &str = "assemble.lock";

/// A plan that is shorter than the file there is by no more than this is not shorter: the file's length
/// was measured, the plan's is expected.
const SHORTER_MS: i64 = SECOND;

/// Makes the file of a talk, where that is to be done. `progress` is told the milliseconds of it that are
/// written. `force`: also where it is up to date.
///
/// # Errors
/// When a segment cannot be read, ffmpeg is missing, the disk is full, or the catalog cannot be used. A
/// file that was there stays as it was.
pub async fn assemble_talk(
    env: &Env,
    reader: &Reader,
    writer: &Writer,
    talk: TalkId,
    force: bool,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<AssembleOutcome> {
    let _lock = lock(env).await?;
    let prepared = prepare(env, reader, writer, talk, force).await?;
    carry_out(env, reader, writer, &prepared, progress).await
}

/// As [`assemble_talk`], with a reader and a writer of its own: for commands.
///
/// # Errors
/// As [`assemble_talk`].
pub async fn assemble_now(env: &Env, talk: TalkId) -> Result<AssembleOutcome> {
    with_catalog(env, async |reader, writer| assemble_talk(env, reader, writer, talk, false, &mut |_| ()).await).await
}

/// Gives a command a reader and a writer, and sees that everything is written before it goes on.
///
/// # Errors
/// What `work` returns, or when the catalog cannot be opened.
pub async fn with_catalog<T>(env: &Env, work: impl AsyncFnOnce(&Reader, &Writer) -> Result<T>) -> Result<T> {
    let db = catalog::open_writer(&env.data_dir)?;
    let reader: Reader = Arc::new(Mutex::new(catalog::open_reader(&env.data_dir)?));
    let (writer, thread) =
        Writer::start(db).map_err(|e| Failure::new(Kind::Failed, "cannot start the catalog's writer").because(e))?;
    let result = work(&reader, &writer).await;
    drop(writer);
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    result
}

/// Removes half-made files that a crash left behind. Does nothing while another process makes files.
pub fn remove_half_made(data_dir: &Path) {
    let talks = data_dir.join("talks");
    if !talks.exists() {
        return;
    }
    let Ok(file) = File::create(data_dir.join(LOCK)) else { return };
    if file.try_lock().is_ok() {
        for path in join::remove_half_made(&talks) {
            tracing::info!("removed the half-made {}", path.display());
        }
    }
}

/// Waits until no other process makes files here.
pub(crate) async fn lock(env: &Env) -> Result<File> {
    let path = env.data_dir.join(LOCK);
    let taken = tokio::task::spawn_blocking(move || {
        let file = File::create(&path)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    });
    let fail = |e: String| Failure::new(Kind::Failed, format!("cannot use {LOCK} in the data directory")).because(e);
    taken.await.map_err(|e| fail(e.to_string()))?.map_err(|e| fail(e.to_string()))
}

/// Plans the file of a talk and says whether it must be made. Segments that were not looked at yet are
/// indexed first.
///
/// # Errors
/// When there is no such talk, ffmpeg is missing, a file cannot be read, or the catalog cannot be used.
pub async fn prepare(env: &Env, reader: &Reader, writer: &Writer, talk: TalkId, force: bool) -> Result<Prepared> {
    let look = async || {
        let env = env.clone();
        read(reader, move |db| report::one(db, &env, &talk.to_string())).await
    };
    let mut view = look().await?;
    let unchecked: Vec<_> = view.segments.iter().filter(|s| s.verdict == Verdict::Unchecked).map(|s| s.id).collect();
    if !unchecked.is_empty() {
        for segment in unchecked {
            index_segment(env, reader, writer, segment).await?;
        }
        view = look().await?;
    }
    plan_view(env, reader, writer, view, force).await
}

async fn plan_view(env: &Env, reader: &Reader, writer: &Writer, view: TalkView, force: bool) -> Result<Prepared> {
    let indexes = indexes(env, reader, writer, &view).await?;
    let plan = plan(&Inputs {
        talk: &view.talk,
        event: &view.event.name,
        hall: &view.hall.name,
        zone: view.event.zone,
        window: view.window,
        segments: view.segments.iter().map(|s| (s, indexes.get(&s.id))).collect(),
        gaps: &view.report.gaps,
        chapters: env.settings.assemble.chapters,
    });
    let mut path = file_path(&view, &plan, None);
    let (talk, wanted, current) = (view.talk.id, path.clone(), view.assembly.clone());
    let (taken, parts) = read(reader, move |db| {
        let parts = current.map(|c| assemblies::parts(db, c.id)).transpose()?.unwrap_or_default();
        Ok((assemblies::is_taken(db, &wanted, talk)?, parts))
    })
    .await?;
    if taken {
        path = file_path(&view, &plan, Some(talk));
    }
    let mut prepared = Prepared { view, plan, path, settled: None, indexes, rename: false };
    (prepared.settled, prepared.rename) = settle(env, &prepared, &parts, force);
    Ok(prepared)
}

/// The indexes of the talk's media, made anew where another version wrote them.
async fn indexes(
    env: &Env,
    reader: &Reader,
    writer: &Writer,
    view: &TalkView,
) -> Result<HashMap<SegmentId, MediaIndex>> {
    let mut out = HashMap::new();
    for segment in view.segments.iter().filter(|s| s.verdict == Verdict::Media) {
        let id = segment.id;
        let (known, marks) = read(reader, move |db| {
            let known = media_index::of_segment(db, id)?;
            let marks = if known.is_none() { marks::of_segment(db, id)? } else { Vec::new() };
            Ok((known, marks))
        })
        .await?;
        let index = match known {
            Some(index) => index,
            None => {
                let index = match index_file(env, segment, marks).await {
                    Ok(index) => index,
                    Err(MediaError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                        mark_lost(env, writer, id).await?;
                        continue;
                    }
                    Err(e) => return Err(media_failure(&e)),
                };
                let (kept, now) = (index.clone(), env.clock.now());
                writer.call(move |db| media_index::store(db, id, &kept, now)).await?;
                index
            }
        };
        out.insert(id, index);
    }
    Ok(out)
}

async fn mark_lost(env: &Env, writer: &Writer, segment: SegmentId) -> Result<()> {
    let now = env.clock.now();
    Ok(writer.call(move |db| segments::set_verdict(db, segment, Verdict::Lost, "the file is gone", now)).await?)
}

/// What is certain before any work, and whether the current file needs the new name.
fn settle(env: &Env, prepared: &Prepared, parts: &[AssemblyPart], force: bool) -> (Option<AssembleOutcome>, bool) {
    let Prepared { view, plan, path, .. } = prepared;
    let nothing = |reason: &str| (Some(AssembleOutcome::Nothing { reason: reason.to_owned() }), false);
    if view.talk.opted_out {
        return nothing("opted out of recording");
    }
    if !view.talk.is_on() {
        return nothing(&format!("{} in the schedule", view.talk.status.as_str()));
    }
    if env.clock.now() < view.window.end && !force {
        return nothing("its time is not over");
    }
    let there = view
        .assembly
        .as_ref()
        .filter(|a| std::fs::metadata(env.data_dir.join(&a.path)).is_ok_and(|file| file.len() == a.bytes));
    let Some(current) = there else {
        return if plan.pieces.is_empty() { nothing("nothing was recorded") } else { (None, false) };
    };
    let rename = current.path != *path && current.path.extension() == path.extension();
    let kept = |reason: String| {
        let path = if rename { path.clone() } else { current.path.clone() };
        (Some(AssembleOutcome::Kept { path, reason }), rename)
    };
    if plan.pieces.is_empty() {
        return kept("what it was made of is no longer there".to_owned());
    }
    let used: Vec<SegmentId> = plan.pieces.iter().map(|p| p.segment).collect();
    let went = parts.iter().filter(|p| p.out_ms.is_some() && !used.contains(&p.segment)).any(|part| {
        let segment = view.segments.iter().find(|s| s.id == part.segment);
        segment.is_none_or(|s| s.verdict != Verdict::Media)
    });
    // Of what went, the file there is the only copy: another one must have more than it.
    if went && plan.duration_ms <= current.duration_ms || plan.duration_ms + SHORTER_MS < current.duration_ms {
        return kept(format!(
            "it has {:.1} s of media, a new one would have {:.1} s",
            current.duration_ms as f64 / 1000.0,
            plan.duration_ms as f64 / 1000.0
        ));
    }
    if current.inputs == plan.digest() && current.path == *path && !force {
        return (Some(AssembleOutcome::UpToDate { path: current.path.clone() }), false);
    }
    (None, false)
}

/// `talks/27c3/2010-12-27_2030_saal-1_we-come-in-peace.mkv`, at most 200 bytes of name.
fn file_path(view: &TalkView, plan: &AssemblyPlan, distinct: Option<TalkId>) -> PathBuf {
    let start = view.talk.slot.start.in_zone(view.event.zone).format("%Y-%m-%d_%H%M");
    let extension = if plan.has_video() || plan.pieces.is_empty() { "mkv" } else { "mka" };
    let before = format!("{start}_{}_", slug(&view.hall.slug, 60));
    let after = distinct.map_or(format!(".{extension}"), |id| format!("-{id}.{extension}"));
    let title = slug(&view.talk.title, MAX_FILE_NAME - before.len() - after.len());
    Path::new("talks").join(&view.event.slug).join(format!("{before}{title}{after}"))
}

/// Does what was prepared.
///
/// # Errors
/// As [`assemble_talk`].
pub async fn carry_out(
    env: &Env,
    reader: &Reader,
    writer: &Writer,
    prepared: &Prepared,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<AssembleOutcome> {
    if let Some(outcome) = &prepared.settled {
        if prepared.rename {
            rename(env, writer, prepared).await?;
        }
        return Ok(outcome.clone());
    }
    let sources = prepared
        .plan
        .pieces
        .iter()
        .filter_map(|piece| {
            let segment = prepared.view.segments.iter().find(|s| s.id == piece.segment)?;
            Some((piece.segment, (env.data_dir.join(&segment.path), prepared.indexes.get(&piece.segment)?.clone())))
        })
        .collect();
    let job = Job { plan: prepared.plan.clone(), sources, target: env.data_dir.join(&prepared.path) };
    let joined = match run(job, progress).await {
        Ok(joined) => joined,
        Err(e) => {
            forget(env, reader, writer, prepared, &e).await?;
            return Err(media_failure(&e));
        }
    };
    if joined.dropped > 0 {
        tracing::warn!("{}: {} packets with falling times were left out", prepared.path.display(), joined.dropped);
    }
    record(env, writer, prepared, &joined).await?;
    if let Some(old) = prepared.view.assembly.as_ref().filter(|a| a.path != prepared.path) {
        let _ = std::fs::remove_file(env.data_dir.join(&old.path));
    }
    let (bytes, duration_ms) = (joined.bytes, joined.duration_ms);
    Ok(AssembleOutcome::Made { path: prepared.path.clone(), bytes, duration_ms })
}

/// Joins on a blocking thread and hands its progress over.
async fn run(job: Job, progress: &mut (dyn FnMut(u64) + Send)) -> crate::media::Result<Joined> {
    /// The progress of packets would be told some hundred times a second of media.
    const STEP_MS: u64 = 500;
    let (tell, mut told) = tokio::sync::watch::channel(0_u64);
    let work = media(move |cancel| {
        let mut last = 0;
        let mut progress = |ms: u64| {
            if ms >= last + STEP_MS {
                last = ms;
                tell.send_replace(ms);
            }
        };
        join::join(&job, &mut progress, cancel)
    });
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Ok(()) = told.changed() => progress(*told.borrow_and_update()),
        }
    }
}

/// A segment whose file is gone or another one: what is known of it is no longer true, so that the next
/// attempt goes without it or indexes it anew.
async fn forget(env: &Env, reader: &Reader, writer: &Writer, prepared: &Prepared, e: &MediaError) -> Result<()> {
    let (MediaError::File { path, .. } | MediaError::Stale { path, .. }) = e else { return Ok(()) };
    let Some(segment) = prepared.view.segments.iter().find(|s| env.data_dir.join(&s.path) == *path) else {
        return Ok(());
    };
    let id = segment.id;
    match e {
        MediaError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            mark_lost(env, writer, id).await
        }
        MediaError::Stale { .. } => {
            let marks = read(reader, move |db| Ok(marks::of_segment(db, id)?)).await?;
            let (index, now) = (index_file(env, segment, marks).await.map_err(|e| media_failure(&e))?, env.clock.now());
            Ok(writer.call(move |db| media_index::store(db, id, &index, now)).await?)
        }
        _ => Ok(()),
    }
}

async fn rename(env: &Env, writer: &Writer, prepared: &Prepared) -> Result<()> {
    let Some(current) = prepared.view.assembly.clone() else { return Ok(()) };
    let (from, to) = (env.data_dir.join(&current.path), env.data_dir.join(&prepared.path));
    let moved =
        std::fs::create_dir_all(to.parent().unwrap_or(&env.data_dir)).and_then(|()| std::fs::rename(&from, &to));
    moved.map_err(|e| Failure::new(Kind::Failed, format!("cannot rename {}", from.display())).because(e))?;
    let path = prepared.path.clone();
    Ok(writer.call(move |db| assemblies::rename(db, current.id, &path)).await?)
}

async fn record(env: &Env, writer: &Writer, prepared: &Prepared, joined: &Joined) -> Result<()> {
    let plan = &prepared.plan;
    let used = plan.pieces.iter().map(|piece| AssemblyPart {
        segment: piece.segment,
        out_ms: Some((piece.out_start_ms, piece.out_end_ms)),
        redundant: false,
        note: piece
            .tracks
            .iter()
            .map(|t| format!("track {}: {} to {}", t.out_track, t.from, t.to))
            .collect::<Vec<_>>()
            .join("; "),
    });
    let left_out = plan.rejected.iter().map(|r| AssemblyPart {
        segment: r.segment,
        out_ms: None,
        redundant: r.redundant,
        note: r.reason.clone(),
    });
    let new = NewAssembly {
        path: prepared.path.clone(),
        bytes: joined.bytes,
        sha256: joined.sha256,
        duration_ms: joined.duration_ms,
        inputs: plan.digest(),
        parts: used.chain(left_out).collect(),
    };
    let (talk, now, found) = (prepared.view.talk.id, env.clock.now(), plan.seams.clone());
    writer
        .call(move |db| {
            for (first, second, seam) in &found {
                seams::store(db, *first, *second, seam)?;
            }
            assemblies::store(db, talk, &new, now)
        })
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
