//! Taking in segment files that no row knows: their folders name event and hall, their name and content
//! the time. So a catalog that was restored from a backup, or begun anew, learns what was taped since.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::NaiveDateTime;
use rusqlite::{Connection as Db, TransactionBehavior};

use crate::app::library::assemble::{TALKS, file_prefix, name_of};
use crate::app::library::sidecar;
use crate::app::support::contents::{Content, read_for_good};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::walk::Tree;
use crate::catalog::assemblies::{self, NewAssembly};
use crate::catalog::recovery::{self, AdoptedSegment};
use crate::catalog::schedule::{self, TalkFilter};
use crate::catalog::{files, talk_details};
use crate::domain::hall::Hall;
use crate::domain::ids::HallId;
use crate::domain::segment::{Container, Mark};
use crate::domain::sniff::{self, Sniff};
use crate::domain::time::{HOUR, Ms};
use crate::media::join::TEMP_SUFFIX;
use crate::media::{CancellationToken, probe};

/// So many bytes at most are taken to have come with the first one: enough to hold a packet whose time can
/// be read.
const FIRST_BYTES: u64 = 64 << 10;

/// Limit in milliseconds for the first bytes of a file. Of a slow stream the byte limit alone would be minutes, and of
/// a short file all of it, which would then appear to have arrived before the connection was opened.
const FIRST_MS: u64 = 300;

/// No segment is longer than this: a file that was written to later was copied, or touched.
const LONGEST_MS: i64 = 24 * HOUR;

/// Takes in what it can of these files (paths relative to the data directory), each in a transaction of
/// its own, so that a kill in the middle of many gigabytes loses no work. Says how many. `cancel` ends it.
///
/// # Errors
/// When the catalog cannot be used, or it was cancelled. A file that cannot be read is left for the next time.
pub(super) fn adopt(db: &mut Db, env: &Env, unknown: &[String], cancel: &CancellationToken) -> Result<usize> {
    if unknown.is_empty() {
        return Ok(0);
    }
    let (events, halls) = (schedule::events(db)?, schedule::halls(db)?);
    let places: BTreeMap<(&str, &str), (&Hall, chrono_tz::Tz)> = halls
        .iter()
        .filter_map(|hall| {
            let event = events.iter().find(|e| e.id == hall.event)?;
            Some(((event.slug.as_str(), hall.slug.as_str()), (hall, event.zone)))
        })
        .collect();
    let (mut adopted, mut strangers) = (0, Vec::new());
    for path in unknown {
        let parts: Vec<&str> = path.split('/').collect();
        let (place, time) = match parts.as_slice() {
            [_, event, hall, _, name] => (places.get(&(*event, *hall)), time_in_name(name)),
            _ => (None, None),
        };
        let (Some((hall, zone)), Some(local)) = (place, time) else {
            strangers.push(path);
            continue;
        };
        let file = match read_for_good(&env.data_dir.join(path), cancel) {
            Ok(file) => file,
            Err(_) if cancel.is_cancelled() => return Err(stopped()),
            Err(e) => {
                tracing::warn!("{path} cannot be read, it is looked at again at the next start: {e}");
                continue;
            }
        };
        // Where the clock went back an hour, the name may mean two instants: the file's time decides.
        let zoned = local.and_local_timezone(*zone);
        let candidates = [zoned.earliest(), zoned.latest()].into_iter().flatten().map(|t| Ms(t.timestamp_millis()));
        let start = candidates
            .clone()
            .filter(|at| file.modified.is_none_or(|m| *at <= m))
            .max()
            .or_else(|| candidates.min())
            .unwrap_or(Ms(local.and_utc().timestamp_millis()));
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        insert(&tx, hall.id, path, &file, start)?;
        tx.commit()?;
        tracing::debug!("adopted {path}");
        adopted += 1;
    }
    if let Some(first) = strangers.first() {
        let n = strangers.len();
        tracing::warn!(
            "{n} file(s) that no row names and that the catalog cannot take in, since folder and name say no known \
             hall and time: {first}{}",
            if n > 1 { ", …" } else { "" }
        );
    }
    Ok(adopted)
}

/// The failure of a recovery that was cancelled.
pub(super) fn stopped() -> Failure {
    Failure::new(Kind::Failed, "recovery was cancelled before it was complete; the next start continues it")
}

fn insert(db: &Db, hall: HallId, path: &str, file: &Content, start: Ms) -> Result<()> {
    let container = match sniff::sniff(&file.head, true) {
        Sniff::Media(container) => container,
        _ => Container::Unknown,
    };
    let end = file.modified.filter(|m| *m > start && m.since(start) <= LONGEST_MS);
    // The name says when the first bytes came. When the last came only an untouched file says, and a wrong
    // mark would place all of its media wrongly.
    let length = end.map(|end| end.since(start).unsigned_abs().max(1));
    let at_once = length.map_or(FIRST_BYTES, |ms| (file.bytes.saturating_mul(FIRST_MS) / ms).clamp(1, FIRST_BYTES));
    let first = Mark { at: start, offset: file.bytes.min(at_once) };
    let last = end.map(|at| Mark { at, offset: file.bytes });
    let marks: Vec<Mark> = [Some(first), last].into_iter().flatten().collect();
    let path = Path::new(path);
    let (bytes, sha256) = (file.bytes, file.sha256);
    recovery::adopt(db, &AdoptedSegment { hall, path, container, start, end, bytes, sha256, marks: &marks })?;
    Ok(())
}

/// Takes in joined talks that no row knows, where place and time in their name are those of one talk
/// that has none: so that a join after a restore does not replace a file that may hold more than the
/// segments still do. Says how many. `cancel` ends it between two files, and while one is looked into.
///
/// # Errors
/// When the catalog cannot be used. A file that cannot be read, or is nobody's, is left alone.
pub(crate) fn adopt_assemblies(db: &mut Db, env: &Env, cancel: &CancellationToken) -> Result<usize> {
    let (events, halls) = (schedule::events(db)?, schedule::halls(db)?);
    let (talks, details) = (schedule::talks(db, TalkFilter::default())?, talk_details::of_talks(db, None)?);
    let mut adopted = 0;
    let mut files: Vec<String> = Tree::read(&env.data_dir, TALKS).files.into_iter().collect();
    files.sort_unstable();
    for path in files {
        if cancel.is_cancelled() {
            break;
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        if name.ends_with(TEMP_SUFFIX) || sidecar::is_one(name) || files::is_named(db, &path)? {
            continue;
        }
        let template = &env.settings.assemble.file_name;
        let mut fits = Vec::new();
        for talk in &talks {
            let Some(hall) = halls.iter().find(|h| h.id == talk.hall) else { continue };
            let Some(event) = events.iter().find(|e| e.id == talk.event) else { continue };
            // With the template that is used unless another is set, a talk that has another title by now is found too.
            let fits_it = if template.is_default() {
                let folder = format!("{TALKS}/{}/", event.slug);
                path.strip_prefix(&folder).is_some_and(|name| name.starts_with(&file_prefix(talk, event, hall)))
            } else {
                let wanted = Path::new(TALKS).join(name_of(template, talk, event, hall, details.get(&talk.id)));
                let with_id = format!("{}-{}", wanted.display(), talk.id);
                let stem = Path::new(&path).with_extension("");
                stem == wanted || stem == Path::new(&with_id)
            };
            if fits_it && assemblies::current(db, talk.id)?.is_none() {
                fits.push(talk.clone());
            }
        }
        let [talk] = fits.as_slice() else { continue };
        let full = env.data_dir.join(&path);
        let measured = read_for_good(&full, cancel).ok().zip(probe::probe(&full, &[], cancel).ok());
        let Some((file, probed)) = measured else {
            if cancel.is_cancelled() {
                break;
            }
            tracing::warn!("{path} cannot be read: it is not taken in");
            continue;
        };
        let ends = probed.places.iter().filter_map(|p| Some(p.pts_ms? + p.duration_ms));
        let new = NewAssembly {
            talk: talk.id,
            path: path.clone().into(),
            bytes: file.bytes,
            sha256: file.sha256,
            // Files that streamrip made begin at 0.
            duration_ms: ends.max().unwrap_or(0),
            // Of no plan: the next look makes it anew, or keeps it where it has more.
            inputs: [0; 32],
            parts: Vec::new(),
            // Whoever waited for it was told when it was made.
            told: true,
            // Nobody knows which time it shows.
            presented: Vec::new(),
            checked: false,
        };
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        assemblies::replace(&tx, &new, "replaced", env.clock.now())?;
        tx.commit()?;
        adopted += 1;
    }
    Ok(adopted)
}

/// The local time in `saal-1_2010-12-27_20-04-47.132_0001.ts`.
fn time_in_name(name: &str) -> Option<NaiveDateTime> {
    let (rest, _) = name.rsplit_once('_')?;
    let (rest, time) = rest.rsplit_once('_')?;
    let (_, day) = rest.rsplit_once('_')?;
    NaiveDateTime::parse_from_str(&format!("{day} {time}"), "%Y-%m-%d %H-%M-%S%.3f").ok()
}
