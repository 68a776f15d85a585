//! The last look before a segment is deleted: each packet of it stands in a joined file. Whatever the catalog and the plans
//! say of a segment, media that is in no file is not deleted.

use std::sync::Arc;

use rusqlite::Connection;

use crate::app::library::talk_files::{newest_file, talks_near, touches};
use crate::app::support::blocking::{Reader, media, read};
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::catalog::assemblies::{self, Assembly};
use crate::catalog::{media_index, schedule};
use crate::domain::ids::TalkId;
use crate::domain::interval::IntervalSet;
use crate::domain::media::{MediaIndex, Packet};
use crate::domain::segment::Segment;
use crate::domain::talk::Talk;
use crate::domain::time::{Ms, SECOND};
use crate::media::MediaError;
use crate::plan::wanted::window_of;

/// A tape ends a little after the last window of its hall: so much media that no talk asked for may go, milliseconds.
const OVERSHOOT_MS: i64 = 5 * SECOND;

/// The anchors of segments are known to some tenths of a second, so a packet this close to a window's edge is outside of it,
/// milliseconds.
const EDGE_MS: i64 = 300;

/// True where each packet of a segment stands in one of these files of talks, and the files are what was joined. What is
/// wrong otherwise is told to the log.
///
/// # Errors
/// When the catalog cannot be used.
pub(super) async fn all_stands_in(
    env: &Env,
    reader: &Reader,
    segment: &Segment,
    files: &[(TalkId, Assembly)],
) -> Result<bool> {
    let (of, env_for) = (segment.clone(), env.clone());
    let known: Vec<_> = files.iter().map(|(_, file)| file.id).collect();
    let (index, windows, doubtful) = read(reader, move |db| {
        let events = schedule::events(db)?;
        let talks = talks_near(db, &of)?.into_iter().filter(Talk::is_on);
        let window =
            |talk: &Talk| window_of(talk, events.iter().find(|e| e.id == talk.event), &env_for.settings.record);
        let windows: IntervalSet = talks.map(|talk| window(&talk)).collect();
        let mut doubtful = false;
        for file in known {
            doubtful |= assemblies::is_doubtful(db, file)?;
        }
        Ok((media_index::of_segment(db, of.id)?, windows, doubtful))
    })
    .await?;
    let name = segment.path.display();
    let Some(index) = index.filter(|_| !doubtful) else {
        tracing::debug!("{name} stays: it has no index, or not all of its talk's file can be decoded");
        return Ok(false);
    };
    let path = env.data_dir.join(&segment.path);
    let paths: Vec<_> = files.iter().map(|(_, file)| env.data_dir.join(&file.path)).collect();
    let (engine, look) = (Arc::clone(&env.engine), index.clone());
    let found = match media(move |cancel| engine.unheld(&path, &look, &paths, cancel)).await {
        Ok(found) => found,
        Err(MediaError::Cancelled) => return Err(Failure::new(Kind::Failed, "a task ended")),
        Err(e) => {
            tracing::error!("{name} stays: {e}");
            return Ok(false);
        }
    };
    if let Some((_, file)) =
        files.iter().zip(&found.files).find(|((_, file), sha256)| file.sha256 != **sha256).map(|f| f.0)
    {
        let file = file.path.display();
        tracing::error!(
            "{file}: it is not what was joined (sha256); the segments it was made of stay (streamrip assemble --force makes \
             it anew)"
        );
        return Ok(false);
    }
    let (missing, overshoot_ms) = missing(&found.packets, &index, &windows);
    if missing > 0 || overshoot_ms > OVERSHOOT_MS {
        tracing::warn!("{name} stays: {missing} packets of it are in no file, and {overshoot_ms} ms outside all talks");
        return Ok(false);
    }
    Ok(true)
}

/// The files of the talks that a segment belongs to, as far as they are there and up to date.
///
/// # Errors
/// When the catalog cannot be read.
pub(super) fn files_around(db: &Connection, env: &Env, segment: &Segment) -> Result<Vec<(TalkId, Assembly)>> {
    let events = schedule::events(db)?;
    let mut files = Vec::new();
    for talk in talks_near(db, segment)?.into_iter().filter(Talk::is_on) {
        let window = window_of(&talk, events.iter().find(|e| e.id == talk.event), &env.settings.record);
        if touches(window, segment) {
            files.extend(newest_file(db, env, talk.id)?.map(|file| (talk.id, file)));
        }
    }
    Ok(files)
}

/// How many packets lie in a window, and how many milliseconds of media outside all windows.
fn missing(packets: &[Packet], index: &MediaIndex, windows: &IntervalSet) -> (usize, i64) {
    let offset = |at: i64| {
        let span = index.spans.iter().rfind(|s| s.media_start_ms <= at).or(index.spans.first());
        span.map_or(0, |s| s.offset_ms)
    };
    let (mut inside, mut overshoot) = (0, vec![0_i64; index.tracks.len()]);
    for packet in packets {
        let at = Ms(packet.pts_ms).plus(offset(packet.pts_ms));
        let is_outside = !windows.contains(at.plus(EDGE_MS)) || !windows.contains(at.minus(EDGE_MS));
        if !is_outside {
            inside += 1;
            continue;
        }
        let n = packet.track as usize - 1;
        if let Some(total) = overshoot.get_mut(n) {
            *total += index.tracks[n].packet_ms.max(packet.duration_ms);
        }
    }
    (inside, overshoot.into_iter().max().unwrap_or_default())
}
