//! Small schedules for the planner's tests. Times are minutes after an arbitrary midnight.

use chrono_tz::Tz;

use crate::domain::event::Event;
use crate::domain::hall::{Hall, Recorder, Stream};
use crate::domain::ids::{EventId, HallId, SegmentId, StreamId, TalkId};
use crate::domain::interval::Interval;
use crate::domain::media::MediaSpan;
use crate::domain::segment::{Container, Segment, Verdict};
use crate::domain::stream_url::StreamUrl;
use crate::domain::talk::{Talk, TalkStatus};
use crate::domain::time::{MINUTE, Ms};

pub(crate) fn at(minutes: i64) -> Ms {
    Ms(1_293_404_400_000).plus(minutes * MINUTE)
}

pub(crate) fn slot(from: i64, to: i64) -> Interval {
    Interval::new(at(from), at(to))
}

/// Padding: 5 min before, 15 min after.
pub(crate) fn event() -> Event {
    Event {
        id: EventId(1),
        name: "27c3".into(),
        slug: "27c3".into(),
        zone: Tz::Europe__Berlin,
        source: None,
        halls_file: None,
        schedule_xml: None,
        zone_option: None,
        pre_padding_ms: Some(5 * MINUTE),
        post_padding_ms: Some(15 * MINUTE),
        refresh_problem: None,
    }
}

pub(crate) fn hall(id: i64) -> Hall {
    let url = StreamUrl::parse(&format!("http://stream.example/saal{id}")).expect("valid");
    Hall {
        id: HallId(id),
        event: EventId(1),
        name: format!("Saal {id}"),
        slug: format!("saal-{id}"),
        aliases: vec![],
        streams: vec![Stream { id: StreamId(id), url }],
        recorder: Some(Recorder::Auto),
        quality: None,
        max_connections: 2,
        redundancy: None,
    }
}

pub(crate) fn talk(id: i64, hall: i64, from: i64, to: i64) -> Talk {
    Talk {
        id: TalkId(id),
        event: EventId(1),
        hall: HallId(hall),
        match_key: format!("uid:{id}"),
        uid: Some(id.to_string()),
        title: format!("Talk {id}"),
        speakers: vec![],
        slot: slot(from, to),
        status: TalkStatus::Scheduled,
        opted_out: false,
        known_since: at(-10_000),
        follows: None,
    }
}

/// A closed segment with this media, each span with its own place in wall time.
pub(crate) fn segment(id: i64, spans: Vec<MediaSpan>) -> Segment {
    let start = spans.iter().map(|s| s.wall().start).min().unwrap_or_default();
    let end = spans.iter().map(|s| s.wall().end).max().unwrap_or(start);
    Segment {
        id: SegmentId(id),
        uuid: uuid::Uuid::nil(),
        hall: HallId(1),
        connection: None,
        stream: None,
        path: "x".into(),
        container: Container::MpegTs,
        at: Interval::new(start, end),
        opened: start,
        closed: Some(end),
        bytes: 1,
        lost_bytes: 0,
        sha256: None,
        media_ms: Some(spans.iter().map(|s| s.wall().len_ms()).sum()),
        verdict: Verdict::Media,
        verdict_reason: None,
        end_reason: None,
        spans,
        tracks: Vec::new(),
    }
}
