//! Another recorder's segments in our gaps: which ones, copied, verified, and the talks joined anew.
//!
//! Nothing of the other data directory is written to. A file is copied under a temporary name beside its
//! final one and verified; then, while nobody joins, the rows are written and the file gets its name. A kill
//! in between leaves a row whose file has its temporary name yet: [`finish`] gives it the final one.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection as Db;
use sha2::{Digest, Sha256};

use crate::app::library::assemble::{self, AssembleOutcome, no_progress};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::{free_space, symlink_guard};
use crate::catalog::merge_origins::{self, CopiedSegment, Foreign};
use crate::catalog::schedule::{self, TalkFilter};
use crate::catalog::writer::Writer;
use crate::catalog::{self, media_index, segments};
use crate::domain::event::Event;
use crate::domain::hall::Hall;
use crate::domain::ids::{HallId, TalkId};
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::media::MediaIndex;
use crate::domain::name::slug;
use crate::domain::segment::Segment;
use crate::domain::time::HOUR;
use crate::plan::merge::{AirTimes, agreed, take};
use crate::plan::same_hall::{self, HallFacts, SameHall};
use crate::plan::wanted::{forbidden_slots, window_of};
use crate::tape::disk::make_dirs;

/// End of the name of a file that is being copied.
pub const TEMP_SUFFIX: &str = ".merging";

/// Held while a merge is at work.
const LOCK: &str = "merge.lock";

/// Our segments so near to a gap are listened to, to tell the clocks apart. Milliseconds.
const NEAR_MS: i64 = 2 * HOUR;

/// A segment of the other recorder that fills a gap of ours.
#[derive(Clone, Debug)]
pub struct Filling {
    /// Name of our event.
    pub event: String,
    /// Name of our hall.
    pub hall: String,
    /// What the other knows of it.
    pub foreign: Foreign,
    /// So much of our gaps it fills, milliseconds.
    pub fills_ms: i64,
    /// What part of wall time it holds, by our clock.
    pub wall: Interval,
    /// How it is taken over.
    pub taken: CopiedSegment,
}

/// What a merge would do, or did.
#[derive(Clone, Debug, Default)]
pub struct Merge {
    /// Segments to take, by hall and time.
    pub fillings: Vec<Filling>,
    /// What to know: halls that do not match, clocks that had to be trusted, segments left alone.
    pub notes: Vec<String>,
    /// Talks whose windows they touch, with their titles.
    pub talks: Vec<(TalkId, String)>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct MergeReport {
    /// How many segments were taken over.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Segments that could not be taken, and why.
    pub refused: Vec<String>,
    /// What became of each talk.
    pub talks: Vec<(TalkId, String, Result<AssembleOutcome>)>,
}

/// Compares the catalogs: what of the other's would fill our gaps?
///
/// # Errors
/// When one of the catalogs cannot be read, or they have no event in common.
pub fn plan(env: &Env, ours: &Db, other_dir: &Path) -> Result<Merge> {
    let same = |a: &Path, b: &Path| a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b);
    if same(&env.data_dir, other_dir) {
        return Err(Failure::new(Kind::Usage, "this is our own data directory: there is nothing to merge"));
    }
    let other = catalog::open_foreign(other_dir)?;
    let (events, other_events) = (schedule::events(ours)?, schedule::events(&other)?);
    let (halls, other_halls) = (schedule::halls(ours)?, schedule::halls(&other)?);
    let mut merge = Merge::default();
    let (mut common, mut matched) = (0, 0);
    let mut doubtful: Vec<String> = Vec::new();
    for event in &events {
        let Some(theirs) = other_events.iter().find(|e| e.name == event.name || e.slug == event.slug) else { continue };
        common += 1;
        for hall in halls.iter().filter(|h| h.event == event.id) {
            let of_event: Vec<&Hall> = other_halls.iter().filter(|h| h.event == theirs.id).collect();
            let known = of_event.iter().map(|h| hall_facts(&other, h)).collect::<Result<Vec<_>>>()?;
            match same_hall::find(&hall_facts(ours, hall)?, &known) {
                SameHall::Found(n) => {
                    matched += 1;
                    hall_plan(env, ours, &other, (event, hall), of_event[n].id, &mut merge)?;
                }
                SameHall::None => {
                    merge.notes.push(format!("{}: the other recorder has no hall {:?}", event.name, hall.name));
                }
                SameHall::Doubtful(why) => {
                    doubtful.push(format!("{}, hall {:?}: nothing is taken: {why}", event.name, hall.name));
                }
            }
        }
    }
    if matched == 0 && !doubtful.is_empty() {
        return Err(Failure::new(Kind::NotFound, doubtful.join("; "))
            .hint("import the same calendar on both machines, or give the hall the same stream address on both"));
    }
    merge.notes.extend(doubtful);
    if common == 0 {
        let names = |events: &[Event]| events.iter().map(|e| e.name.clone()).collect::<Vec<_>>().join(", ");
        let message =
            format!("the two have no event in common: ours {}, theirs {}", names(&events), names(&other_events));
        return Err(
            Failure::new(Kind::NotFound, message).hint("give the same --event NAME when importing on both machines")
        );
    }
    Ok(merge)
}

/// What tells a hall from others on another machine.
fn hall_facts(db: &Db, hall: &Hall) -> Result<HallFacts> {
    let talks = schedule::talks(db, TalkFilter { hall: Some(hall.id), ..TalkFilter::default() })?;
    Ok(HallFacts {
        names: std::iter::once(&hall.name).chain(&hall.aliases).cloned().collect(),
        streams: schedule::stream_urls(db, hall.id)?.into_values().collect(),
        uids: talks.into_iter().filter(|t| t.uid.is_some()).map(|t| t.match_key).collect(),
    })
}

/// What fills the gaps of one hall.
fn hall_plan(
    env: &Env,
    ours: &Db,
    other: &Db,
    (event, hall): (&Event, &Hall),
    other_hall: HallId,
    merge: &mut Merge,
) -> Result<()> {
    let now = env.clock.now();
    let talks = schedule::talks(ours, TalkFilter { hall: Some(hall.id), ..TalkFilter::default() })?;
    let forbidden = forbidden_slots(&talks);
    // What is being recorded is not over yet, and may be had from our own mirrors still.
    let over: Vec<_> = talks
        .iter()
        .filter(|t| t.is_on())
        .map(|t| (t, window_of(t, Some(event), &env.settings.record)))
        .filter(|(_, window)| window.end <= now)
        .collect();
    let windows: IntervalSet = over.iter().map(|(_, window)| *window).collect();
    let windows = windows.subtract(&forbidden);
    let mut missing = windows.clone();
    let mut near: Vec<Segment> = Vec::new();
    for window in windows.iter() {
        for segment in segments::segments_of_hall(ours, hall.id, window.padded(NEAR_MS, NEAR_MS))? {
            missing = missing.subtract(&segment.covered());
            if !near.iter().any(|known| known.id == segment.id) {
                near.push(segment);
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let (candidates, not_ready) = merge_origins::of_hall(other, other_hall)?;
    if not_ready > 0 {
        merge.notes.push(format!(
            "{}: {not_ready} segment(s) of the other recorder are open, or not looked at yet: merge again later",
            hall.name
        ));
    }
    let mut unknown = Vec::new();
    for (segment, index) in candidates {
        if !merge_origins::is_known(ours, segment.uuid)? {
            unknown.push((segment, index));
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let clocks = clocks(ours, &near, &missing, &unknown)?;
    let covered: Vec<IntervalSet> = unknown
        .iter()
        .zip(&clocks)
        .map(|((segment, _), (clock, _))| {
            segment.covered().iter().map(|i| Interval::new(i.start.plus(*clock), i.end.plus(*clock))).collect()
        })
        .collect();
    let mut allowed = covered.clone();
    for (n, covered) in covered.iter().enumerate() {
        if !forbidden.subtract(&forbidden.subtract(covered)).is_empty() {
            let path = unknown[n].0.path.display();
            merge.notes.push(format!("{}: {path} holds a talk that must not be recorded: not taken", hall.name));
            allowed[n] = IntervalSet::new();
        }
    }
    let mut trusted = 0;
    for (n, fills_ms) in take(&missing, &allowed) {
        let (segment, index) = &unknown[n];
        let (clock_ms, shared_packets) = clocks[n];
        trusted += usize::from(shared_packets == 0);
        let walls = covered[n].as_slice();
        let wall = Interval::new(walls[0].start, walls[walls.len() - 1].end);
        let taken = CopiedSegment {
            merge: 0,
            hall: hall.id,
            path: path_of(event, hall, segment, wall),
            clock_ms,
            shared_packets,
        };
        let foreign = merge_origins::read(other, segment.clone(), index.clone())?;
        for (talk, window) in &over {
            if window.overlaps(wall) && !merge.talks.iter().any(|(id, _)| *id == talk.id) {
                merge.talks.push((talk.id, talk.title.clone()));
            }
        }
        let (event, hall) = (event.name.clone(), hall.name.clone());
        merge.fillings.push(Filling { event, hall, foreign, fills_ms, wall, taken });
    }
    if trusted > 0 {
        merge.notes.push(format!(
            "{}: {trusted} segment(s) share no packets with ours: the two clocks are taken to agree",
            hall.name
        ));
    }
    Ok(())
}

/// For each of the other's segments our clock less theirs, and how many packets say so: its own, where it
/// shares enough; else what all of the hall say together; else none.
fn clocks(
    ours: &Db,
    near: &[Segment],
    missing: &IntervalSet,
    unknown: &[(Segment, MediaIndex)],
) -> Result<Vec<(i64, usize)>> {
    let mut heard = AirTimes::default();
    let around: IntervalSet = missing.iter().map(|gap| gap.padded(NEAR_MS, NEAR_MS)).collect();
    for segment in near.iter().filter(|s| !around.clip(s.at).is_empty()) {
        if let Some(index) = media_index::of_segment(ours, segment.id)? {
            heard.add(&index);
        }
    }
    let each: Vec<Vec<i64>> = unknown.iter().map(|(_, index)| heard.differences(index)).collect();
    let all = agreed(each.iter().flatten().copied().collect());
    Ok(each.into_iter().map(|own| agreed(own).or(all).unwrap_or((0, 0))).collect())
}

/// Where its file goes: as a tape of ours would have called it, and marked with its UUID.
fn path_of(event: &Event, hall: &Hall, segment: &Segment, wall: Interval) -> PathBuf {
    let local = wall.start.in_zone(event.zone);
    let hall = slug(&hall.slug, 80);
    let uuid = segment.uuid.simple().to_string();
    let name = format!(
        "{hall}_{}_m{}.{}",
        local.format("%Y-%m-%d_%H-%M-%S%.3f"),
        uuid.get(..12).unwrap_or(&uuid),
        segment.container.extension()
    );
    ["segments", &slug(&event.slug, 80), &hall, &local.format("%Y-%m-%d").to_string(), &name].iter().collect()
}

/// Told how far it is: bytes copied, bytes to copy.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Takes over what a plan says, and joins the talks anew. Each segment by itself: what is copied stays,
/// whatever becomes of the next.
///
/// # Errors
/// When another merge is at work, the disk or our catalog fails.
pub async fn merge(env: &Env, other_dir: &Path, plan: Merge, progress: Progress) -> Result<MergeReport> {
    symlink_guard::check(&env.data_dir)?;
    let _lock = lock(&env.data_dir)?;
    let (reader, writer) = assemble::open(env)?;
    let total: u64 = plan.fillings.iter().map(|f| f.foreign.segment.bytes).sum();
    let free = free_space::free_bytes(&env.data_dir).unwrap_or(u64::MAX);
    if free < total.saturating_add(env.settings.disk.reserve_bytes) {
        let message = format!("{total} bytes are to be copied and {free} are free, of which some are kept in reserve");
        return Err(Failure::new(Kind::Failed, message).hint("make space, or lower disk.reserve in streamrip.toml"));
    }
    let mut done = MergeReport::default();
    let (mut copied, mut merge_row) = (0, None);
    for filling in plan.fillings {
        let label = filling.foreign.segment.path.display().to_string();
        let from = other_dir.join(&filling.foreign.segment.path);
        let bytes = filling.foreign.segment.bytes;
        let wanted = (bytes, filling.foreign.segment.sha256);
        let job = {
            let (data_dir, path, progress) = (env.data_dir.clone(), filling.taken.path.clone(), progress.clone());
            move || copy(&data_dir, &from, &path, wanted, &|n| progress(copied + n, total))
        };
        let result = tokio::task::spawn_blocking(job)
            .await
            .unwrap_or_else(|e| Err(Failure::new(Kind::Failed, "a task ended").because(e)));
        copied += bytes;
        match result {
            Ok(()) => {
                place(env, &writer, other_dir, filling, &mut merge_row).await?;
                done.segments += 1;
                done.bytes += bytes;
            }
            Err(failure) => done.refused.push(format!("{label}: {failure}")),
        }
    }
    let talks = if done.segments > 0 { plan.talks } else { Vec::new() };
    for (talk, title) in talks {
        let outcome = assemble::assemble_talk(env, &reader, &writer, talk, false, no_progress()).await;
        done.talks.push((talk, title, outcome));
    }
    Ok(done)
}

/// Writes the rows and gives the file its name, while nobody joins: a join that met the row without the
/// file would take it for lost.
async fn place(
    env: &Env,
    writer: &Writer,
    other_dir: &Path,
    filling: Filling,
    merge_row: &mut Option<i64>,
) -> Result<()> {
    let _turn = assemble::turn(env).await?;
    let now = env.clock.now();
    let other_dir = std::path::absolute(other_dir).unwrap_or_else(|_| other_dir.to_owned());
    let (known, path) = (*merge_row, filling.taken.path.clone());
    let row = writer
        .call(move |db| {
            let merge = match known {
                Some(merge) => merge,
                None => merge_origins::begin(db, &other_dir, now)?,
            };
            merge_origins::insert(db, &filling.foreign, &CopiedSegment { merge, ..filling.taken.clone() }, now)?;
            Ok(merge)
        })
        .await?;
    *merge_row = Some(row);
    name(&env.data_dir, &path)
        .map_err(|e| Failure::new(Kind::Failed, format!("cannot rename {}", path.display())).because(e))
}

fn temp(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMP_SUFFIX);
    name.into()
}

fn name(data_dir: &Path, path: &Path) -> std::io::Result<()> {
    crate::durable::rename(&data_dir.join(temp(path)), &data_dir.join(path))
}

/// Copies a file under a temporary name, syncs it, and makes sure that it is what its row says.
fn copy(
    data_dir: &Path,
    from: &Path,
    to: &Path,
    (bytes, sha256): (u64, Option<[u8; 32]>),
    progress: &dyn Fn(u64),
) -> Result<()> {
    let failed = |what: &str, e: std::io::Error| Failure::new(Kind::Failed, what.to_owned()).because(e);
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut source =
        OpenOptions::new().read(true).custom_flags(no_link).open(from).map_err(|e| failed("cannot read it", e))?;
    let folder = to.parent().unwrap_or(Path::new("segments"));
    make_dirs(data_dir, folder).map_err(|e| failed("cannot make its folder", e))?;
    let temp = data_dir.join(temp(to));
    let _ = std::fs::remove_file(&temp);
    let mut write = || -> Result<()> {
        let mut target = OpenOptions::new().create_new(true).write(true).custom_flags(no_link).open(&temp);
        let target = target.as_mut().map_err(|e| failed("cannot write it", std::io::Error::from(e.kind())))?;
        let (mut hash, mut copied, mut buffer) = (Sha256::new(), 0_u64, vec![0; 1 << 20]);
        loop {
            let n = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(failed("cannot read it", e)),
            };
            hash.update(&buffer[..n]);
            target.write_all(&buffer[..n]).map_err(|e| failed("cannot write it", e))?;
            copied += n as u64;
            progress(copied);
        }
        target.sync_all().map_err(|e| failed("cannot write it", e))?;
        let found: [u8; 32] = hash.finalize().into();
        if copied != bytes || Some(found) != sha256 {
            return Err(Failure::new(Kind::Failed, "the file differs from its row in the other catalog; not copied"));
        }
        Ok(())
    };
    let written = write();
    if written.is_err() {
        let _ = std::fs::remove_file(&temp);
    }
    written
}

/// True while some process merges into this data directory.
pub(super) fn is_at_work(data_dir: &Path) -> bool {
    File::open(data_dir.join(LOCK))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

fn lock_file(data_dir: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(data_dir.join(LOCK))
}

/// One merge at a time.
fn lock(data_dir: &Path) -> Result<File> {
    let file = lock_file(data_dir).map_err(|e| Failure::new(Kind::Failed, format!("cannot use {LOCK}")).because(e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Failure::new(Kind::Busy, "another merge is running on this data directory"))
        }
        Err(std::fs::TryLockError::Error(e)) => {
            Err(Failure::new(Kind::Failed, format!("cannot lock {LOCK}")).because(e))
        }
    }
}

/// Ends what a merge that was killed left behind (paths of files in the data directory): a file whose rows
/// are written gets its name, a copy without a row goes; the original is where it was. Nothing is done while
/// a merge is at work. Says how many were ended.
///
/// # Errors
/// When the catalog cannot be read.
pub(super) fn finish(db: &Db, data_dir: &Path, files: &[String]) -> Result<usize> {
    let left: Vec<(&String, &str)> = files.iter().filter_map(|f| Some((f, f.strip_suffix(TEMP_SUFFIX)?))).collect();
    if left.is_empty() {
        return Ok(0);
    }
    let Ok(_lock) = lock(data_dir) else { return Ok(0) };
    for (file, path) in &left {
        let ended = if merge_origins::is_named(db, path)? && !data_dir.join(path).exists() {
            name(data_dir, Path::new(path))
        } else {
            std::fs::remove_file(data_dir.join(file))
        };
        if let Err(e) = ended {
            tracing::error!("{file}, left by a merge, stays: {e}");
        }
    }
    Ok(left.len())
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
