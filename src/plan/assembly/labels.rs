//! What an assembly says of itself: tags and chapters.

use super::{AssemblyInputs, Chapter, Clip, MissingMedia};
use crate::domain::interval::Interval;
use crate::domain::schedule::TalkDetails;
use crate::domain::time::{Ms, SECOND};

/// Media missing for less than this is not worth a chapter, milliseconds.
const CHAPTER_GAP_MS: i64 = 200;

/// The chapter of a gap that is closed lasts this long, so that players show it, milliseconds.
const GAP_CHAPTER_MS: i64 = SECOND;

/// Title, speakers, hall, start and event.
pub(super) fn tags(inputs: &AssemblyInputs<'_>) -> Vec<(String, String)> {
    let mut tags = vec![("TITLE".to_owned(), inputs.talk.title.clone())];
    tags.extend(inputs.talk.speakers.iter().map(|s| ("ARTIST".to_owned(), s.clone())));
    tags.push(("RECORDING_LOCATION".to_owned(), inputs.hall.to_owned()));
    tags.push(("DATE_RECORDED".to_owned(), inputs.talk.slot.start.rfc3339(inputs.zone)));
    tags.push(("EVENT".to_owned(), inputs.event.to_owned()));
    tags
}

/// What the schedule tells of a talk, as tags of Matroska (of which `LICENSE`, `SUBTITLE`, `SUMMARY`, `DESCRIPTION`,
/// `SUBJECT` and `LANGUAGE` are in its list). `url`: the talk's page.
#[must_use]
pub fn about(details: &TalkDetails, url: Option<&str>) -> Vec<(String, String)> {
    let texts = [
        ("SUBTITLE", details.subtitle.as_deref()),
        ("SUMMARY", details.summary.as_deref()),
        ("DESCRIPTION", details.description.as_deref()),
        ("SUBJECT", details.track.as_deref()),
        ("CONTENT_TYPE", details.session_type.as_deref()),
        ("LANGUAGE", details.language.as_deref()),
        ("LICENSE", details.licence.as_deref()),
        ("URL", url),
    ];
    texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.to_owned()))).collect()
}

/// Slot and gaps, in order.
pub(super) fn chapters(clips: &[Clip], inputs: &AssemblyInputs<'_>) -> Vec<Chapter> {
    let Some(first) = clips.first() else { return Vec::new() };
    let slot = inputs.talk.slot;
    let mut out = Vec::new();
    let place = |at: Ms| {
        let clip = clips.iter().find(|p| p.wall().end > at)?;
        Some((at.0 - clip.offset_ms + clip.shift_ms).clamp(clip.out_start_ms, clip.out_end_ms))
    };
    let start = place(slot.start).unwrap_or(0);
    if start > SECOND {
        out.push(Chapter { at_ms: 0, title: "before the talk".to_owned() });
        out.push(Chapter { at_ms: start, title: inputs.talk.title.clone() });
    } else {
        out.push(Chapter { at_ms: 0, title: inputs.talk.title.clone() });
    }
    if first.wall().start > slot.start.plus(CHAPTER_GAP_MS) {
        // The beginning is missing; the first chapter says so.
        let missing = Interval::new(slot.start, first.wall().start);
        let cause = inputs.gaps.iter().find(|g| g.at.overlaps(missing)).map(|g| g.cause.to_string());
        out.push(Chapter { at_ms: 0, title: MissingMedia { ms: missing.len_ms(), cause }.to_string() });
    }
    let end = place(slot.end);
    if let Some(end) = end {
        out.push(Chapter { at_ms: end, title: "after the talk".to_owned() });
    }
    let mut back = Vec::new();
    for clip in clips {
        if let Some(missing) = clip.before.as_ref().filter(|m| m.ms >= CHAPTER_GAP_MS) {
            out.push(Chapter { at_ms: clip.out_start_ms, title: missing.to_string() });
            back.push((clip.out_start_ms, clip.complete_from_ms.max(clip.out_start_ms + GAP_CHAPTER_MS)));
        }
    }
    // A gap's chapter ends where all tracks are there again: what it interrupted goes on in a chapter of its own.
    let length = clips.iter().map(|c| c.out_end_ms).max().unwrap_or_default();
    for (gap, at_ms) in back {
        let is_cut_short = out.iter().any(|c| gap < c.at_ms && c.at_ms <= at_ms) || at_ms >= length;
        if !is_cut_short {
            let title = match end {
                Some(end) if at_ms >= end => "after the talk".to_owned(),
                _ if at_ms < start && start > SECOND => "before the talk".to_owned(),
                _ => inputs.talk.title.clone(),
            };
            out.push(Chapter { at_ms, title });
        }
    }
    out.sort_by_key(|c| c.at_ms);
    out
}
