//! The shapes of `--json` and of the page's API, documented in the README.

use rusqlite::Connection as Db;
use serde_json::{Value, json};

use crate::app::library::report::{self, Foreign, TalkView};
use crate::app::support::failure::Result;
use crate::catalog::assemblies::Part;
use crate::catalog::seams::{self, SeamRow};
use crate::domain::time::Ms;

/// One talk as JSON: the shape that the README documents.
#[must_use]
pub fn talk(view: &TalkView) -> Value {
    let zone = view.event.zone;
    let time = |at: Ms| at.rfc3339(zone);
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let segments: Vec<_> = view
        .segments
        .iter()
        .map(|s| {
            json!({
                "id": s.id.0,
                "path": s.path.to_string_lossy(),
                "started_at": time(s.at.start),
                "ended_at": (s.closed.is_some()).then(|| time(s.at.end)),
                "bytes": s.bytes,
                "sha256": s.sha256.map(|h| hex(&h)),
                "container": s.container.as_str(),
                "media_seconds": s.media_ms.map(seconds),
                "verdict": s.verdict.as_str(),
                "end_reason": s.end_reason.map(|r| r.to_string()),
                "stream": s.stream.and_then(|id| view.streams.get(&id)),
            })
        })
        .collect();
    let gaps: Vec<_> = view
        .report
        .gaps
        .iter()
        .map(|g| {
            json!({
                "start": time(g.at.start),
                "end": time(g.at.end),
                "seconds": seconds(g.at.len_ms()),
                "cause": g.cause.to_string(),
                "lacks": g.lacks.as_str(),
            })
        })
        .collect();
    let assembly = view.assembly.as_ref().map(|a| {
        json!({
            "path": a.path.to_string_lossy(),
            "bytes": a.bytes,
            "sha256": hex(&a.sha256),
            "seconds": seconds(a.duration_ms),
        })
    });
    let earlier: Vec<_> = view
        .earlier
        .iter()
        .map(|e| {
            json!({
                "path": e.file.path.to_string_lossy(),
                "bytes": e.file.bytes,
                "sha256": hex(&e.file.sha256),
                "seconds": seconds(e.file.duration_ms),
                "reason": e.reason,
            })
        })
        .collect();
    let rescheduled = view.rescheduled.as_ref().map(|said| {
        json!({
            "since": time(said.since),
            "status": said.status.as_str(),
            "hall": view.scheduled_hall.as_ref().map(|hall| &hall.name),
            "start": time(said.slot.start),
            "end": time(said.slot.end),
            "talk": said.talk.map(|talk| talk.0),
        })
    });
    let (details, page) = view.details.clone().unwrap_or_default();
    let links: Vec<_> = details.links.iter().map(|link| json!({"url": link.url, "title": link.title})).collect();
    json!({
        "id": view.talk.id.0,
        "uid": view.talk.uid,
        "event": view.event.name,
        "hall": view.hall.name,
        "title": view.talk.title,
        "speakers": view.talk.speakers,
        "subtitle": details.subtitle,
        "abstract": details.summary,
        "description": details.description,
        "language": details.language,
        "track": details.track,
        "type": details.session_type,
        "licence": details.licence,
        "url": page,
        "links": links,
        "guid": details.guid,
        "code": details.code,
        "start": time(view.talk.slot.start),
        "end": time(view.talk.slot.end),
        "state": view.report.state.as_str(),
        "coverage": (view.report.coverage * 10_000.0).floor() / 10_000.0,
        "recorded_seconds": seconds(view.report.recorded_ms),
        "video_seconds": view.report.presence.video.as_ref().map(|walls| seconds(walls.total_ms())),
        "audio_seconds": view.report.presence.audio.as_ref().map(|walls| seconds(walls.total_ms())),
        "segments": segments,
        "gaps": gaps,
        "assembly": assembly,
        "assembly_pruned_at": view.pruned.as_ref().map(|p| time(p.at)),
        "earlier_files": earlier,
        "earlier_talk": view.talk.follows.map(|talk| talk.0),
        "rescheduled": rescheduled,
    })
}

/// One talk with all that `show` tells of it: also its seams, and what its file was made of.
///
/// # Errors
/// When the catalog cannot be read.
pub fn shown(db: &Db, view: &TalkView) -> Result<Value> {
    let mut all = talk(view);
    all["seams"] = seams::between(db, &view.segments)?.iter().map(seam).collect();
    let (parts, foreign) = (report::parts(db, view)?, report::foreign(db, view)?);
    all["parts"] = parts.iter().filter_map(|one| part(view, one, &foreign)).collect();
    Ok(all)
}

/// One piece of a talk's file; `None`: it was left out of it.
fn part(view: &TalkView, part: &Part, foreign: &Foreign) -> Option<Value> {
    let (from, to) = part.place?;
    Some(json!({
        "segment": part.segment.0,
        "stream": view.stream_of(part.segment),
        "merged_from": foreign.get(&part.segment).map(|origin| &origin.data_dir),
        "from_seconds": from as f64 / 1000.0,
        "to_seconds": to as f64 / 1000.0,
        "start": part.wall.map(|w| w.start.rfc3339(view.event.zone)),
        "end": part.wall.map(|w| w.end.rfc3339(view.event.zone)),
    }))
}

/// What is known of one seam.
#[must_use]
pub fn seam(seam: &SeamRow) -> Value {
    json!({
        "first": seam.first.0,
        "second": seam.second.0,
        "kind": seam.kind,
        "method": seam.method,
        "shared_seconds": seam.shared_ms as f64 / 1000.0,
        "missing_seconds": seam.missing_ms as f64 / 1000.0,
        "matched_packets": seam.matched_packets,
    })
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    // By hand, since a day's list has thousands of hashes and formatting each byte took a third of its time.
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_has_two_digits_for_each_byte() {
        assert_eq!(hex(&[0, 0x0f, 0xa5, 0xff]), "000fa5ff");
    }
}
