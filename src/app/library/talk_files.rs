//! Which talks a segment belongs to, and which files of theirs may stand in for it.

use rusqlite::Connection;

use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::catalog::assemblies::{self, Assembly};
use crate::catalog::assembly_queue;
use crate::catalog::schedule::{self, TalkFilter};
use crate::domain::ids::TalkId;
use crate::domain::interval::Interval;
use crate::domain::segment::Segment;
use crate::domain::talk::Talk;
use crate::domain::time::HOUR;

/// The talks of a segment's hall around it, also those that are off.
pub(super) fn talks_near(db: &Connection, segment: &Segment) -> Result<Vec<Talk>> {
    let within = Some(segment.at.padded(24 * HOUR, 24 * HOUR));
    Ok(schedule::talks(db, TalkFilter { hall: Some(segment.hall), within, event: None })?)
}

/// True where a talk's window has a part of a segment.
pub(super) fn touches(window: Interval, segment: &Segment) -> bool {
    window.overlaps(segment.at) || window.contains(segment.at.start)
}

/// The file of a talk, where it is there and nothing changed since it was made that may have made it wrong about a
/// segment. (A file that is not there, or not whole, is no copy of anything.)
pub(super) fn newest_file(db: &Connection, env: &Env, talk: TalkId) -> Result<Option<Assembly>> {
    let there = |a: &Assembly| std::fs::metadata(env.data_dir.join(&a.path)).is_ok_and(|file| file.len() == a.bytes);
    let Some(file) = assemblies::current(db, talk)?.filter(there) else { return Ok(None) };
    Ok(assembly_queue::stamp(db, talk)?.is_none().then_some(file))
}
