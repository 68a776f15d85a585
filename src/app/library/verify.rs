//! Is everything there, and as it was recorded? Looks, and changes nothing, unless asked to repair: then
//! it first does what only adds knowledge (what recovery does, missing sums, assemblies that are gone),
//! and looks afterwards. It never deletes a file, and never replaces a sum.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::app::library::adopt::adopt_assemblies;
use crate::app::library::optout::QUARANTINE;
use crate::app::library::recover::{self, SEGMENTS};
use crate::app::library::{assemble, merge, sidecar};
use crate::app::support::contents::read_all;
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::lock;
use crate::app::support::walk::Tree;
use crate::catalog::files::{self, FileRow, Owner};
use crate::catalog::{self, assemblies, incidents};
use crate::domain::interval::Interval;
use crate::domain::media::TrackKind;
use crate::domain::time::Ms;
use crate::media::ebml::id;
use crate::media::inspect::inspect;
use crate::media::join::TEMP_SUFFIX;
use crate::media::{CancellationToken, MediaError, decode_check};
use crate::plan::presented::PresentedSpan;
use crate::plan::verify::{Expected, Fault, FileOnDisk, judge, worth_reading};

/// Options of one verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyRequest {
    /// Do not read the files, only look at their sizes.
    pub fast: bool,
    /// Write into the catalog what can be learnt from the disk.
    pub repair: bool,
    /// Decode the joined files at their begin, their end and their seams.
    pub deep: bool,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Kind of mismatch found.
    pub fault: Fault,
    /// Relative to the data directory; `None`: it is of the catalog itself.
    pub path: Option<PathBuf>,
    /// Row that names the file; `None` for a file without a row.
    pub owner: Option<Owner>,
    /// For people, with what to do where something can be done.
    pub message: String,
}

/// What was looked at, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Segments that should be there.
    pub segments: usize,
    /// Assemblies that should be there.
    pub assemblies: usize,
    /// Files of talks that should be there beside newer ones.
    pub earlier: usize,
    /// Bytes that were read and compared with their sums.
    pub bytes_read: u64,
    /// Segments that the catalog knows to be lost: a gap in `list`, no problem here.
    pub known_lost: usize,
    /// What a repair did, in words.
    pub repaired: Vec<String>,
    /// What is wrong now.
    pub problems: Vec<Problem>,
}

/// How far it is: bytes looked at, bytes to look at.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Verifies the data directory of `env`. Blocking.
///
/// # Errors
/// `Busy` when asked to repair while a daemon runs; when the catalog cannot be opened.
pub fn verify(env: &Env, request: VerifyRequest, progress: Progress<'_>) -> Result<Verified> {
    let mut done = Verified::default();
    // Made by no reader: without a catalog there is nothing to verify.
    let db = catalog::open_reader(&env.data_dir)?;
    let _lock = if request.repair {
        let lock = lock::take(&env.data_dir).map_err(|e| Failure { hint: Some(STOP_FIRST.to_owned()), ..e })?;
        repair(env, &mut done)?;
        Some(lock)
    } else {
        None
    };
    let is_live = !request.repair && lock::is_taken(&env.data_dir);
    let sound = database(&db, &mut done);
    if sound {
        known_files(env, &db, request, is_live, progress, &mut done)?;
        orphans(env, &db, &mut done)?;
    }
    Ok(done)
}

const STOP_FIRST: &str = "stop the daemon first; without --repair, verify works beside it";

/// The database itself. False where it is too damaged to go on.
fn database(db: &Connection, done: &mut Verified) -> bool {
    let mut add = |fault, message| done.problems.push(Problem { fault, path: None, owner: None, message });
    match files::integrity(db) {
        Ok(lines) => {
            let damaged = !lines.is_empty();
            lines.into_iter().for_each(|line| add(Fault::Database, line));
            if damaged {
                add(Fault::Database, "streamrip restore brings back the newest backup".to_owned());
                return false;
            }
        }
        Err(e) => {
            add(Fault::Database, format!("{e} (streamrip restore brings back the newest backup)"));
            return false;
        }
    }
    match files::foreign_keys(db) {
        Ok(lines) => lines.into_iter().for_each(|line| add(Fault::ForeignKey, line)),
        Err(e) => add(Fault::Database, e.to_string()),
    }
    true
}

/// Every file that a row names.
fn known_files(
    env: &Env,
    db: &Connection,
    request: VerifyRequest,
    is_live: bool,
    progress: Progress<'_>,
    done: &mut Verified,
) -> Result<()> {
    let mut rows = files::segments(db)?;
    let assemblies = files::assemblies(db)?;
    done.known_lost = rows.iter().filter(|r| r.claim.expected == Expected::Lost).count();
    done.segments = rows.iter().filter(|r| r.claim.expected == Expected::There).count();
    done.assemblies = assemblies.len();
    rows.extend(assemblies);
    let earlier = files::earlier(db)?;
    done.earlier = earlier.len();
    rows.extend(earlier);
    let total: u64 = rows.iter().filter(|r| r.claim.expected == Expected::There).map(|r| r.claim.bytes).sum();
    let mut seen = 0;
    progress(0, total);
    for row in rows {
        // A merge writes the row before its copy has that name; the copy is looked at below.
        if half_merged(env, &row.path) {
            continue;
        }
        let (fault, why) = match look(env, &row, request.fast, &mut done.bytes_read) {
            Ok(found) => match judge(&row.claim, found, is_live) {
                Some(fault) => (fault, describe(fault, &row, found)),
                None => {
                    seen += row.claim.bytes;
                    progress(seen.min(total), total);
                    match joined_file(env, db, &row, request)? {
                        Some(wrong) => wrong,
                        None => continue,
                    }
                }
            },
            Err(e) => (Fault::Unreadable, format!("it cannot be read: {e}")),
        };
        // A daemon may have closed, joined or pruned it since its row was read.
        if files::again(db, row.owner)?.is_none_or(|now| now != row) {
            continue;
        }
        done.problems.push(Problem { fault, path: Some(row.path), owner: Some(row.owner), message: why });
    }
    Ok(())
}

/// True where the file has yet, or still, the name that a merge copies under.
fn half_merged(env: &Env, path: &Path) -> bool {
    let mut temp = env.data_dir.join(path).into_os_string();
    temp.push(merge::TEMP_SUFFIX);
    Path::new(&temp).exists() && !env.data_dir.join(path).exists()
}

/// What a joined file lacks that is what was joined, by its sum: media (it may have been made by a version that did not
/// look), and with `deep` also places that cannot be decoded.
fn joined_file(env: &Env, db: &Connection, row: &FileRow, request: VerifyRequest) -> Result<Option<(Fault, String)>> {
    const ANEW: &str = "streamrip assemble --force makes it anew";
    let Owner::Assembly(id, _) = row.owner else { return Ok(None) };
    let path = env.data_dir.join(&row.path);
    if request.fast || !is_matroska(&path) {
        return Ok(None);
    }
    let cancel = CancellationToken::new();
    let found = match inspect(&path, &mut |_, _| (), &cancel) {
        Ok(found) => found,
        Err(MediaError::Unsound { detail, .. }) => return Ok(Some((Fault::NoMedia, format!("{detail}; {ANEW}")))),
        // It was read a moment ago.
        Err(e) => return Ok(Some((Fault::Unreadable, e.to_string()))),
    };
    if found.tracks.iter().all(|track| track.packets == 0) {
        return Ok(Some((Fault::NoMedia, format!("there is no media in it; {ANEW}"))));
    }
    let presented = assemblies::presented(db, id)?;
    let is_there = |span: &PresentedSpan| {
        let track = found.tracks.iter().find(|t| t.number == u64::from(span.track));
        track.is_some_and(|t| t.packets > 0 && span.out_start_ms <= t.last_ms)
    };
    if let Some(span) = presented.iter().find(|span| !is_there(span)) {
        let at = span.out_start_ms as f64 / 1000.0;
        let why = format!("track {} should have media from {at:.1} s on and has none; {ANEW}", span.track);
        return Ok(Some((Fault::Unsound, why)));
    }
    if !request.deep {
        return Ok(None);
    }
    // One that nobody placed on the wall clock is looked at as a whole.
    let whole = found.tracks.iter().filter(|t| t.kind != TrackKind::Other && t.packets > 0).map(|t| PresentedSpan {
        track: u32::try_from(t.number).unwrap_or_default(),
        kind: t.kind,
        out_start_ms: t.first_ms,
        out_end_ms: t.last_ms,
        wall: Interval::new(Ms(0), Ms(0)),
    });
    let presented = if presented.is_empty() { whole.collect() } else { presented };
    let seams: Vec<i64> = presented.iter().map(|span| span.out_start_ms).collect();
    let places = decode_check::places(&presented, &seams);
    Ok(match decode_check::undecodable(&path, &presented, &places, &cancel) {
        Ok(bad) => bad.first().map(|bad| {
            let (from, to) = (bad.from_ms as f64 / 1000.0, bad.to_ms as f64 / 1000.0);
            let why = format!("nothing of track {} can be decoded from {from:.1} to {to:.1} s", bad.track);
            (Fault::Unsound, why)
        }),
        Err(e) => Some((Fault::Unreadable, format!("it cannot be decoded now: {e}"))),
    })
}

/// True where a file begins as a Matroska file does.
fn is_matroska(path: &Path) -> bool {
    let mut head = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && u32::from_be_bytes(head) == id::EBML
}

/// A look at a row's file; reads it only where that says more.
fn look(env: &Env, row: &FileRow, fast: bool, bytes_read: &mut u64) -> std::io::Result<Option<FileOnDisk>> {
    let path = env.data_dir.join(&row.path);
    let meta = match std::fs::symlink_metadata(&path) {
        Ok(meta) => meta,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    // A link, or a folder of that name, is not the file that was recorded.
    if !meta.is_file() {
        return Ok(None);
    }
    let sha256 = if !fast && worth_reading(&row.claim, meta.len()) {
        let content = read_all(&path)?;
        *bytes_read += content.bytes;
        Some(content.sha256)
    } else {
        None
    };
    Ok(Some(FileOnDisk { bytes: meta.len(), sha256 }))
}

fn describe(fault: Fault, row: &FileRow, found: Option<FileOnDisk>) -> String {
    let is_segment = matches!(row.owner, Owner::Segment(_));
    if let Owner::Earlier(_, talk) = row.owner {
        return match fault {
            Fault::Missing => format!("this earlier file of talk {talk} is not there; --repair forgets it"),
            Fault::Content => format!("this earlier file of talk {talk} is not what was joined (sha256)"),
            Fault::Size => {
                format!(
                    "{} bytes, this earlier file of talk {talk} had {}",
                    found.map_or(0, |f| f.bytes),
                    row.claim.bytes
                )
            }
            _ => fault.to_string(),
        };
    }
    match fault {
        Fault::Missing if is_segment => "the file is not there; --repair notes that it is lost".to_owned(),
        Fault::Missing => "the file is not there; --repair puts its talk on the list to be joined again".to_owned(),
        Fault::Size => {
            format!("{} bytes, recorded were {}", found.map_or(0, |f| f.bytes), row.claim.bytes)
        }
        Fault::Content if is_segment => "its content is not what was recorded (sha256)".to_owned(),
        Fault::Content => {
            "its content is not what was joined (sha256); streamrip assemble --force makes it anew".to_owned()
        }
        Fault::NoSha256 => "the catalog has no sum of it; --repair takes one".to_owned(),
        Fault::LeftOpen => "a daemon died while it was written; the next run, or --repair, closes it".to_owned(),
        Fault::Returned => "it was lost and is there again; --repair takes it in".to_owned(),
        Fault::Undeleted => "it should be deleted and is there; streamrip prune deletes it".to_owned(),
        Fault::NoMedia | Fault::Unsound => fault.to_string(),
        Fault::Unknown | Fault::HalfMade | Fault::Unreadable | Fault::Database | Fault::ForeignKey => fault.to_string(),
    }
}

/// Files that no row names.
fn orphans(env: &Env, db: &Connection, done: &mut Verified) -> Result<()> {
    let (joins, merges) = (assemble::is_at_work(&env.data_dir), merge::is_at_work(&env.data_dir));
    for folder in [SEGMENTS, assemble::TALKS, QUARANTINE] {
        let tree = Tree::read(&env.data_dir, folder);
        let add = |fault, path: PathBuf, message: &str| Problem {
            fault,
            path: Some(path),
            owner: None,
            message: message.to_owned(),
        };
        done.problems
            .extend(tree.unread.iter().map(|dir| add(Fault::Unreadable, dir.clone(), "the folder cannot be read")));
        done.problems.extend(tree.odd.iter().map(|path| add(Fault::Unknown, path.clone(), "its name is no text")));
        for path in tree.files.iter().collect::<BTreeSet<_>>() {
            if folder != SEGMENTS && path.ends_with(TEMP_SUFFIX) {
                if !joins {
                    let why = "what a join that was killed left behind; the next run removes it";
                    done.problems.push(add(Fault::HalfMade, path.into(), why));
                }
            } else if folder == SEGMENTS && path.ends_with(merge::TEMP_SUFFIX) {
                // It may have got its name since the folder was read.
                if !merges && Path::new(&env.data_dir).join(path).exists() {
                    let why = "what a merge that was killed left behind; the next run, or --repair, ends it";
                    done.problems.push(add(Fault::HalfMade, path.into(), why));
                }
            } else if folder == assemble::TALKS && sidecar::is_one(path) {
                if !sidecar::has_film(path, &tree.files) {
                    done.problems.push(add(Fault::Unknown, path.into(), "it tells of a joined file that is not there"));
                }
            } else if !files::is_named(db, path)? && Path::new(&env.data_dir).join(path).exists() {
                let why = if folder == SEGMENTS {
                    "no row names it; --repair, or the next run, takes it in if its folder and name say hall and time"
                } else {
                    "no row names it"
                };
                done.problems.push(add(Fault::Unknown, path.into(), why));
            }
        }
    }
    Ok(())
}

/// Brings the catalog in line with the disk, where that loses nothing.
fn repair(env: &Env, done: &mut Verified) -> Result<()> {
    let mut db = catalog::open_writer(&env.data_dir)?;
    // A damaged database would only get worse by writing.
    if !files::integrity(&db).is_ok_and(|lines| lines.is_empty()) {
        return Ok(());
    }
    done.repaired.extend(recover::recover(env, &mut db, &CancellationToken::new())?.describe());
    let (mut sums, mut gone, mut forgotten) = (0, 0, 0);
    for row in files::segments(&db)? {
        if let Owner::Segment(id) = row.owner
            && row.claim.expected == Expected::There
            && row.claim.sha256.is_none()
            && let Ok(content) = read_all(&env.data_dir.join(&row.path))
        {
            files::fill_sha256(&db, id, content.sha256, content.bytes)?;
            sums += 1;
        }
    }
    let tree = Tree::read(&env.data_dir, assemble::TALKS);
    for row in files::assemblies(&db)? {
        let path = row.path.to_string_lossy();
        if let Owner::Assembly(id, talk) = row.owner
            && !tree.files.contains(path.as_ref())
            && tree.knows(&path)
        {
            files::assembly_is_gone(&db, id, talk, env.clock.now())?;
            gone += 1;
        }
    }
    for row in files::earlier(&db)? {
        let path = row.path.to_string_lossy();
        if let Owner::Earlier(id, _) = row.owner
            && !env.data_dir.join(&row.path).exists()
            && (!row.path.starts_with(assemble::TALKS) || tree.knows(&path))
        {
            files::earlier_is_gone(&db, id)?;
            forgotten += 1;
        }
    }
    // After the ones that are gone were noted: a file that was renamed by hand is then its talk's again.
    let joined = adopt_assemblies(&mut db, env, &CancellationToken::new())?;
    let more: Vec<String> = [
        (joined, "unknown joined file(s) taken in"),
        (sums, "missing sum(s) taken"),
        (gone, "joined file(s) that are gone noted, to be made again"),
        (forgotten, "earlier file(s) that are gone forgotten"),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, what)| format!("{n} {what}"))
    .collect();
    if !more.is_empty() {
        incidents::note(&db, None, "repaired", &more.join(", "), env.clock.now())?;
        done.repaired.extend(more);
    }
    Ok(())
}

impl Verified {
    /// True where nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// What a script can do about it: the exit code where something is wrong.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        if self.problems.iter().any(|p| p.fault == Fault::Database) {
            Some(Kind::Catalog)
        } else {
            (!self.is_sound()).then_some(Kind::Incomplete)
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
