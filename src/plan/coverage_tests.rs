use proptest::prelude::*;

use super::*;
use crate::domain::ids::{ConnectionId, HallId};
use crate::domain::media::{MediaSpan, TrackKind};
use crate::domain::presence::TrackSpan;
use crate::domain::time::MINUTE;
use crate::plan::fixtures::{at, segment, slot, talk};

/// Media from `from` to `to`, seconds after 10:00.
fn media(from: i64, to: i64) -> Segment {
    let at = secs(from, to);
    let span = MediaSpan { media_start_ms: 0, media_end_ms: at.len_ms(), offset_ms: at.start.0 };
    segment(from, vec![span])
}

fn second(s: i64) -> Ms {
    at(600).plus(s * SECOND)
}

fn secs(from: i64, to: i64) -> Interval {
    Interval::new(second(from), second(to))
}

fn connection(opened: i64, first_byte: Option<i64>, closed: i64, end: EndReason) -> ConnectionRecord {
    ConnectionRecord {
        id: ConnectionId(opened),
        hall: HallId(1),
        stream: None,
        opened: second(opened),
        first_byte: first_byte.map(second),
        closed: Some(second(closed)),
        bytes: 1,
        end: Some(end),
        detail: None,
    }
}

struct Case {
    segments: Vec<Segment>,
    connections: Vec<ConnectionRecord>,
    alive: IntervalSet,
    streams: IntervalSet,
    known: i64,
    opted_out: bool,
    cancelled: bool,
    skipped: Vec<Gap>,
    forbidden: IntervalSet,
    file: Option<FilePresence>,
}

impl Case {
    fn new(segments: Vec<Segment>, connections: Vec<ConnectionRecord>) -> Self {
        let always: IntervalSet = Interval::new(at(0), at(2000)).into();
        Self {
            segments,
            connections,
            alive: always.clone(),
            streams: always,
            known: -10_000,
            opted_out: false,
            cancelled: false,
            skipped: Vec::new(),
            forbidden: IntervalSet::new(),
            file: None,
        }
    }

    /// The report of a talk from 10:00 to 11:00, at `now` minutes.
    fn report(&self, now: Ms) -> TalkReport {
        let mut talk = talk(1, 1, 600, 660);
        talk.known_since = at(self.known);
        talk.opted_out = self.opted_out;
        if self.cancelled {
            talk.status = TalkStatus::Cancelled;
        }
        let facts = TalkFacts {
            talk: &talk,
            window: slot(595, 675),
            segments: &self.segments,
            connections: &self.connections,
            alive: &self.alive,
            streams: &self.streams,
            bridges: &IntervalSet::new(),
            disk_full: &IntervalSet::new(),
            skipped: &self.skipped,
            forbidden: &self.forbidden,
            file: self.file.as_ref(),
        };
        report(&facts, now, 5 * SECOND)
    }

    fn gaps(&self) -> Vec<(i64, i64, String)> {
        let seconds = |at: Ms| at.since(second(0)) / SECOND;
        self.report(at(700))
            .gaps
            .iter()
            .map(|g| (seconds(g.at.start), seconds(g.at.end), g.cause.to_string()))
            .collect()
    }
}

fn gap(from: i64, to: i64, cause: &str) -> (i64, i64, String) {
    (from, to, cause.to_owned())
}

#[test]
fn a_talk_that_is_whole_is_complete() {
    let report = Case::new(vec![media(-300, 4500)], vec![]).report(at(700));
    assert_eq!((report.state, report.gaps.len(), report.recorded_ms), (TalkState::Complete, 0, 60 * MINUTE));
}

#[test]
fn what_a_neighbour_that_is_opted_out_took_says_so() {
    // The hall was double-booked from 10:20 to 10:30.
    let mut case = Case::new(vec![media(-300, 1200), media(1800, 4500)], vec![]);
    case.forbidden = slot(620, 630).into();
    assert_eq!(case.gaps(), [gap(1200, 1800, "opted-out")]);
    // More than that is missing.
    case.segments = vec![media(-300, 1200), media(1900, 4500)];
    assert_eq!(case.gaps(), [gap(1200, 1800, "opted-out"), gap(1800, 1900, "unknown")]);
}

#[test]
fn what_was_tried_beside_a_silent_connection_is_no_cause() {
    // Silent from 600 on; hedges at 601 and 604, a third takes over at 608. The old one is given up at 610.
    let connections = vec![
        connection(-300, Some(-300), 610, EndReason::Stalled),
        connection(601, None, 602, EndReason::Refused),
        connection(604, Some(605), 606, EndReason::HedgeLost),
        connection(607, Some(608), 4500, EndReason::WindowEnd),
    ];
    let case = Case::new(vec![media(-300, 600), media(608, 4500)], connections);
    assert_eq!(case.gaps(), [gap(600, 608, "stalled")]);
}

#[test]
fn states_follow_the_clock_and_the_media() {
    let nothing = Case::new(vec![], vec![]);
    assert_eq!(nothing.report(at(594)).state, TalkState::Scheduled);
    assert_eq!(nothing.report(at(595)).state, TalkState::Recording);
    assert_eq!(nothing.report(at(675)).state, TalkState::Missed);
    let state = |to| Case::new(vec![media(0, to)], vec![]).report(at(675)).state;
    assert_eq!(state(3595), TalkState::Complete, "5 s may be missing");
    assert_eq!(state(3594), TalkState::Partial);
}

#[test]
fn the_cause_of_a_reconnect_is_the_end_before_it() {
    let case = Case::new(
        vec![media(0, 100), media(110, 3600)],
        vec![
            connection(-300, Some(-299), 101, EndReason::Stalled),
            connection(101, Some(110), 4500, EndReason::WindowEnd),
        ],
    );
    assert_eq!(case.gaps(), [gap(100, 110, "stalled")]);
}

#[test]
fn what_became_of_a_connection_later_is_not_why_it_took_time_to_open() {
    let case = Case::new(
        vec![media(2, 100), media(100, 3600)],
        vec![connection(0, Some(2), 100, EndReason::Eof), connection(100, Some(100), 4500, EndReason::WindowEnd)],
    );
    assert_eq!(case.gaps(), [gap(0, 2, "connecting")]);
    let refused = Case::new(
        vec![media(2, 3600)],
        vec![connection(0, None, 2, EndReason::Refused), connection(2, Some(2), 4500, EndReason::WindowEnd)],
    );
    assert_eq!(refused.gaps(), [gap(0, 2, "refused")]);
}

#[test]
fn many_refusals_are_one_gap() {
    let mut connections = vec![connection(-300, Some(-299), 100, EndReason::Eof)];
    connections.extend((0..10).map(|i| connection(100 + 10 * i, None, 100 + 10 * i, EndReason::Refused)));
    connections.push(connection(200, Some(201), 4500, EndReason::WindowEnd));
    let case = Case::new(vec![media(0, 100), media(201, 3600)], connections);
    assert_eq!(case.gaps(), [gap(100, 201, "refused")]);
}

#[test]
fn a_change_of_cause_cuts_the_gap() {
    let case = Case::new(
        vec![media(0, 100), media(400, 3600)],
        vec![
            connection(-300, Some(-299), 100, EndReason::Eof),
            connection(110, None, 111, EndReason::Http(503)),
            connection(200, None, 215, EndReason::Http(404)),
            connection(399, Some(400), 4500, EndReason::WindowEnd),
        ],
    );
    assert_eq!(case.gaps(), [gap(100, 111, "eof"), gap(111, 215, "http-503"), gap(215, 400, "http-404")]);
}

#[test]
fn what_stopped_us_altogether_comes_before_what_failed() {
    let mut case = Case::new(vec![media(600, 3600)], vec![connection(-300, None, -290, EndReason::Refused)]);
    case.alive = Interval::new(at(605), at(700)).into();
    assert_eq!(case.gaps(), [gap(0, 300, "daemon-not-running"), gap(300, 600, "refused")]);
    case.known = 606;
    assert_eq!(case.gaps(), [gap(0, 360, "imported-late"), gap(360, 600, "refused")]);
    case.known = -1;
    case.alive = Interval::new(at(0), at(700)).into();
    case.streams = Interval::new(at(609), at(700)).into();
    assert_eq!(case.gaps(), [gap(0, 540, "no-stream"), gap(540, 600, "refused")]);
    case.opted_out = true;
    assert_eq!(case.gaps(), [gap(0, 600, "opted-out")]);
}

#[test]
fn a_start_without_trouble_is_connecting() {
    let case = Case::new(vec![media(2, 3600)], vec![connection(0, Some(2), 4500, EndReason::WindowEnd)]);
    assert_eq!(case.gaps(), [gap(0, 2, "connecting")]);
}

#[test]
fn pages_instead_of_media_are_named() {
    let case = Case::new(
        vec![media(50, 3600)],
        vec![connection(0, Some(1), 40, EndReason::NotMedia), connection(40, Some(50), 4500, EndReason::WindowEnd)],
    );
    assert_eq!(case.gaps(), [gap(0, 50, "not-media")]);
}

#[test]
fn a_lost_file_is_a_gap_and_its_jitter_is_none() {
    let mut lost = media(100, 200);
    lost.verdict = Verdict::Lost;
    let mut late = media(300, 3600);
    late.spans[0].offset_ms += ANCHOR_JITTER_MS - 1;
    let case = Case::new(vec![media(0, 100), lost, media(200, 300), late], vec![]);
    assert_eq!(case.gaps(), [gap(100, 200, "file-lost")]);
}

#[test]
fn an_open_segment_reaches_now_while_its_progress_is_fresh() {
    let mut open = media(0, 600);
    open.verdict = Verdict::Open;
    open.media_ms = None;
    open.spans.clear();
    let case = Case::new(
        vec![open],
        vec![ConnectionRecord { closed: None, end: None, ..connection(0, Some(0), 0, EndReason::Eof) }],
    );
    assert_eq!(case.report(second(605)).gaps, []);
    let stalled = case.report(second(630));
    assert_eq!(stalled.gaps.len(), 1);
    assert_eq!(stalled.gaps[0].at, secs(600, 630));
}

proptest! {
    /// DESIGN 8.6, on random histories.
    #[test]
    fn every_second_of_the_past_is_covered_or_a_gap(
        pieces in prop::collection::vec((-400_i64..3700, 1_i64..900), 0..8),
        connections in prop::collection::vec((-400_i64..3700, prop::option::of(0_i64..20), 0_i64..900, 0_usize..4), 0..8),
        alive in prop::collection::vec((0_i64..60, 1_i64..60), 0..4),
        now in 0_i64..4000,
    ) {
        let mut segments: Vec<_> = pieces.into_iter().map(|(from, len)| media(from, from + len)).collect();
        segments.sort_by_key(|s| s.at.start);
        let ends = [EndReason::Eof, EndReason::Refused, EndReason::WindowEnd, EndReason::Stalled];
        let mut connections: Vec<_> = connections
            .into_iter()
            .map(|(at, first, len, end)| connection(at, first.map(|f| at + f.min(len)), at + len, ends[end]))
            .collect();
        connections.sort_by_key(|c| c.opened);
        let mut case = Case::new(segments, connections);
        case.alive = alive.into_iter().map(|(from, len)| slot(600 + from, 600 + from + len)).collect();
        let report = case.report(second(now));
        let past = Interval::new(second(0), second(now.min(3600)));
        let missing: IntervalSet = report.gaps.iter().map(|g| g.at).collect();
        prop_assert_eq!(missing.total_ms(), report.gaps.iter().map(|g| g.at.len_ms()).sum::<i64>(), "gaps overlap");
        prop_assert!(missing.intersect(&report.covered).is_empty());
        prop_assert_eq!(missing.union(&report.covered), past.into());
        prop_assert_eq!(report.recorded_ms + missing.total_ms(), past.len_ms());
        prop_assert!(report.gaps.iter().all(|g| !g.at.is_empty()));
    }
}

#[test]
fn time_that_was_slept_through_or_set_over_says_so() {
    let over = |from, to, cause| Gap::of_all(Interval::new(second(from), second(to)), cause);
    let mut case = Case::new(
        vec![media(0, 100), media(1400, 3600)],
        vec![
            connection(-300, Some(-299), 1301, EndReason::Stalled),
            connection(1301, Some(1400), 4500, EndReason::WindowEnd),
        ],
    );
    case.skipped = vec![over(100, 700, GapCause::HostAsleep), over(700, 1300, GapCause::ClockSet)];
    assert_eq!(case.gaps(), [gap(100, 700, "host-asleep"), gap(700, 1300, "clock-set"), gap(1300, 1400, "stalled")]);
}

#[test]
fn a_talk_that_was_cancelled_before_it_began_is_missing_for_that() {
    let mut case = Case::new(vec![], vec![]);
    case.cancelled = true;
    assert_eq!(case.gaps(), [gap(0, 3600, "cancelled")]);
}

/// A segment whose tracks have media from, to (seconds); video with its first keyframe.
fn tracks(video: Option<(i64, i64, i64)>, audio: Option<(i64, i64)>) -> Segment {
    let from = video.map(|v| v.0).into_iter().chain(audio.map(|a| a.0)).min().unwrap_or_default();
    let to = video.map(|v| v.1).into_iter().chain(audio.map(|a| a.1)).max().unwrap_or_default();
    let mut segment = media(from, to);
    segment.tracks.extend(video.map(|(from, to, keyframe)| TrackSpan {
        track: 1,
        kind: TrackKind::Video,
        wall: secs(from, to),
        keyframe: Some(second(keyframe)),
    }));
    segment.tracks.extend(audio.map(|(from, to)| TrackSpan {
        track: 2,
        kind: TrackKind::Audio,
        wall: secs(from, to),
        keyframe: None,
    }));
    segment
}

/// From, to, cause and what is missing of each gap.
fn lacking(case: &Case) -> Vec<(i64, i64, String, &'static str)> {
    let seconds = |at: Ms| at.since(second(0)) / SECOND;
    let gaps = case.report(at(700)).gaps;
    gaps.iter().map(|g| (seconds(g.at.start), seconds(g.at.end), g.cause.to_string(), g.lacks.as_str())).collect()
}

fn lacks_of(from: i64, to: i64, cause: &str, lacks: &'static str) -> (i64, i64, String, &'static str) {
    (from, to, cause.to_owned(), lacks)
}

#[test]
fn video_that_waits_for_its_keyframe_is_missing_while_audio_is_there() {
    // Two seconds are lost; the next keyframe comes eight seconds later.
    let connections =
        vec![connection(-300, Some(-300), 100, EndReason::Eof), connection(101, Some(102), 4500, EndReason::WindowEnd)];
    let segments =
        vec![tracks(Some((-300, 100, -300)), Some((-300, 100))), tracks(Some((102, 4500, 110)), Some((102, 4500)))];
    let case = Case::new(segments, connections);
    let want = [lacks_of(100, 102, "eof", "all"), lacks_of(102, 110, "waits-for-keyframe", "video")];
    assert_eq!(lacking(&case), want);
    let report = case.report(at(700));
    assert_eq!(report.recorded_ms, 3590 * SECOND);
    assert_eq!(report.presence.audio.expect("audio").total_ms(), 3598 * SECOND);
    assert_eq!(report.state, TalkState::Partial);
}

#[test]
fn video_that_goes_on_where_the_last_segment_ends_waits_for_nothing() {
    let segments =
        vec![tracks(Some((-300, 100, -300)), Some((-300, 98))), tracks(Some((100, 4500, 110)), Some((98, 4500)))];
    assert_eq!(lacking(&Case::new(segments, vec![])), []);
}

#[test]
fn tracks_that_lie_askew_are_missing_each_in_its_own_place() {
    // Audio lies 2.5 s behind the video in the mux: each lost three seconds of its own.
    let segments =
        vec![tracks(Some((-300, 103, -300)), Some((-300, 100))), tracks(Some((106, 4500, 106)), Some((103, 4500)))];
    let connections =
        vec![connection(-300, Some(-300), 103, EndReason::Eof), connection(106, Some(106), 4500, EndReason::WindowEnd)];
    let case = Case::new(segments, connections);
    let report = case.report(at(700));
    assert_eq!(report.recorded_ms, 3594 * SECOND, "the talk has neither whole: {:?}", report.gaps);
    assert_eq!(report.gaps.iter().map(|g| g.lacks).collect::<Vec<_>>(), [Lacks::Audio, Lacks::Video]);
    assert_eq!(report.gaps[0].at, secs(100, 103));
}

#[test]
fn a_track_that_begins_late_is_missing_until_then_and_one_that_no_segment_has_never_is() {
    let case = Case::new(vec![tracks(Some((-300, 4500, -300)), Some((22, 4500)))], vec![]);
    assert_eq!(
        case.report(at(700)).gaps.iter().map(|g| (g.at, g.lacks)).collect::<Vec<_>>(),
        [(secs(0, 22), Lacks::Audio)]
    );
    assert_eq!(lacking(&Case::new(vec![tracks(None, Some((-300, 4500)))], vec![])), []);
}

#[test]
fn what_the_checked_file_lacks_is_missing_whatever_the_segments_have() {
    let mut case = Case::new(vec![tracks(Some((-300, 4500, -300)), Some((-300, 4500)))], vec![]);
    assert_eq!(lacking(&case), []);
    let mut presence = Presence::default();
    presence.add(TrackKind::Video, &secs(-300, 4500).into());
    presence.add(TrackKind::Audio, &secs(-300, 1000).into());
    case.file = Some(FilePresence { presence, is_settled: true, left_out: Vec::new() });
    assert_eq!(lacking(&case), [lacks_of(1000, 3600, "not-joined", "audio")]);
    let id = case.segments[0].id;
    case.file.as_mut().expect("a file").left_out = vec![(id, GapCause::FormatChanged)];
    assert_eq!(lacking(&case), [lacks_of(1000, 3600, "format-changed", "audio")]);
    // About to be made anew: what would be joined counts too.
    case.file.as_mut().expect("a file").is_settled = false;
    assert_eq!(lacking(&case), []);
    // The file has no audio at all, and the segments have.
    let video_only = Presence { audio: None, ..case.file.as_ref().expect("a file").presence.clone() };
    case.file = Some(FilePresence { presence: video_only, is_settled: true, left_out: Vec::new() });
    assert_eq!(lacking(&case), [lacks_of(0, 3600, "not-joined", "audio")]);
}

#[test]
fn a_small_hole_is_bridged_only_between_media_that_is_longer() {
    let bits = |len_ms: i64| {
        let mut segments: Vec<Segment> = (0..45).map(|_| media(0, 1)).collect();
        for (n, segment) in (0..).zip(&mut segments) {
            let start = second(0).plus(n * (len_ms + 200));
            segment.spans = vec![MediaSpan { media_start_ms: 0, media_end_ms: len_ms, offset_ms: start.0 }];
            segment.closed = Some(start.plus(len_ms));
        }
        Case::new(segments, vec![]).report(at(700)).recorded_ms
    };
    assert_eq!(bits(1000), 45 * 1000 + 44 * 200);
    assert_eq!(bits(10), 45 * 10, "connections that bring next to nothing record nothing");
}
