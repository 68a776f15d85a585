//! How far before its connection media may be dated. A live server sends a backlog when it is asked, so media is older than
//! its arrival; but a server that sends a finished recording sends hours at once, and these are of no time at all.

use crate::domain::media::MediaSpan;
use crate::domain::time::{MINUTE, Ms, SECOND};

/// No live server that streams over one connection holds more than this (Icecast's burst, a relay's buffer). Playlists of
/// HLS may; they date their segments.
const BACKLOG_MS: i64 = 3 * MINUTE;

/// Spans whose anchors differ by less than this lie on one timeline, milliseconds.
const SAME_TIMELINE_MS: i64 = 2 * SECOND;

/// Places media that seems to be older than any live server's backlog at the begin of its connection instead.
#[must_use]
pub fn bounded(mut spans: Vec<MediaSpan>, opened: Ms) -> Vec<MediaSpan> {
    let Some(first) = spans.iter().copied().min_by_key(|s| s.wall().start) else { return spans };
    let early = opened.since(first.wall().start);
    if early > BACKLOG_MS {
        for span in spans.iter_mut().filter(|s| (s.offset_ms - first.offset_ms).abs() < SAME_TIMELINE_MS) {
            span.offset_ms += early;
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_dated_back_and_a_finished_recording_is_not() {
        let opened = Ms(10_000_000);
        let span = |from, to, start: i64| MediaSpan { media_start_ms: from, media_end_ms: to, offset_ms: start - from };
        let burst = vec![span(0, 60_000, opened.0 - 20_000)];
        assert_eq!(bounded(burst.clone(), opened), burst);
        // An hour within some seconds, with a hole in it.
        let hour = vec![span(0, 1_000_000, opened.0 - 3_590_000), span(1_010_000, 3_600_000, opened.0 - 2_580_000)];
        let placed = bounded(hour, opened);
        assert_eq!(placed.iter().map(|s| s.wall().start.since(opened)).collect::<Vec<_>>(), [0, 1_010_000]);
        assert_eq!(bounded(Vec::new(), opened), []);
    }
}
