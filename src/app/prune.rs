//! Deleting fragments and what is no media, once the assemblies that could use them are made.

use std::collections::HashMap;
use std::path::PathBuf;

use rusqlite::Connection;

use super::env::Env;
use super::failure::Result;
use super::index::{Reader, read};
use crate::catalog::schedule::{self, TalkFilter};
use crate::catalog::writer::Writer;
use crate::catalog::{assemblies, segments};
use crate::domain::event::Event;
use crate::domain::ids::SegmentId;
use crate::domain::segment::{Segment, Verdict};
use crate::domain::talk::Talk;
use crate::domain::time::HOUR;
use crate::plan::prune::{TouchedTalk, Use, judge};
use crate::plan::wanted::window_of;

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// The segment.
    pub segment: SegmentId,
    /// Its file, relative to the data directory.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// True: deleted, or would be on a dry run.
    pub goes: bool,
    /// Why, or why not.
    pub reason: String,
}

/// Deletes what may go. The row stays as a tombstone with sha256, size and reason. `dry`: only says what
/// it would do.
///
/// # Errors
/// When the catalog cannot be used. A file that cannot be deleted is told in the log, and its row says
/// that it is of no more use.
pub async fn prune(env: &Env, reader: &Reader, writer: &Writer, dry: bool) -> Result<Vec<Looked>> {
    let all = {
        let env = env.clone();
        read(reader, move |db| look(db, &env)).await?
    };
    if dry {
        return Ok(all);
    }
    for looked in all.iter().filter(|l| l.goes) {
        let (id, reason, now) = (looked.segment, looked.reason.clone(), env.clock.now());
        // The row first: a crash in between leaves a file that is known to be of no use.
        writer.call(move |db| segments::set_verdict(db, id, Verdict::Pruned, &reason, now)).await?;
        match std::fs::remove_file(env.data_dir.join(&looked.path)) {
            Ok(()) => tracing::info!("pruned segment {}: {}", looked.segment, looked.reason),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => tracing::warn!("{} cannot be deleted: {e}", looked.path.display()),
        }
    }
    Ok(all)
}

/// Judges every fragment and every file without media.
///
/// # Errors
/// When the catalog cannot be read.
pub fn look(db: &Connection, env: &Env) -> Result<Vec<Looked>> {
    let min = env.settings.prune.min_segment_bytes;
    let candidates = segments::prunable(db, min)?;
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let events = schedule::events(db)?;
    let mut assembled = Assembled { db, env, known: HashMap::new() };
    let mut out = Vec::new();
    for segment in &candidates {
        // The longest padding that makes sense, so that no window is overlooked.
        let near = segment.at.padded(2 * HOUR, 2 * HOUR);
        let talks = schedule::talks(db, TalkFilter { hall: Some(segment.hall), event: None, within: Some(near) })?;
        let mut touched = Vec::new();
        for talk in talks.iter().filter(|t| t.is_on()) {
            touched.extend(assembled.touch(segment, talk, &events)?);
        }
        if let Some(judged) = judge(segment, &touched, min) {
            out.push(Looked {
                segment: segment.id,
                path: segment.path.clone(),
                bytes: segment.bytes,
                goes: judged.may_go,
                reason: judged.reason,
            });
        }
    }
    Ok(out)
}

/// What each talk's assembly did with which segment; asked once for each talk.
struct Assembled<'a> {
    db: &'a Connection,
    env: &'a Env,
    known: HashMap<i64, HashMap<SegmentId, Use>>,
}

impl Assembled<'_> {
    fn touch(&mut self, segment: &Segment, talk: &Talk, events: &[Event]) -> Result<Option<TouchedTalk>> {
        let event = events.iter().find(|e| e.id == talk.event);
        let window = window_of(talk, event, &self.env.settings.record);
        if !window.overlaps(segment.at) && !window.contains(segment.at.start) {
            return Ok(None);
        }
        if !self.known.contains_key(&talk.id.0) {
            let uses = self.uses(talk)?;
            self.known.insert(talk.id.0, uses);
        }
        let assembled = self.known.get(&talk.id.0).and_then(|uses| uses.get(&segment.id)).copied();
        Ok(Some(TouchedTalk { talk: talk.id, window, assembled }))
    }

    fn uses(&self, talk: &Talk) -> Result<HashMap<SegmentId, Use>> {
        let mut out = HashMap::new();
        let Some(assembly) = assemblies::current(self.db, talk.id)? else { return Ok(out) };
        // A file that is not there, or not whole, is no copy of anything.
        let there = std::fs::metadata(self.env.data_dir.join(&assembly.path));
        if there.is_ok_and(|file| file.len() == assembly.bytes) {
            for part in assemblies::parts(self.db, assembly.id)? {
                let this = match (part.out_ms, part.redundant) {
                    (Some(_), _) => Use::Used,
                    (None, true) => Use::Redundant,
                    (None, false) => Use::LeftOut,
                };
                // A segment with holes has several parts.
                out.entry(part.segment)
                    .and_modify(|known| {
                        if this == Use::Used {
                            *known = this;
                        }
                    })
                    .or_insert(this);
            }
        }
        Ok(out)
    }
}
