use super::segment_stats::EdgePackets;
use super::*;
use crate::domain::media::Packet;
use crate::domain::time::Ms;

fn span(start: i64, end: i64) -> MediaSpan {
    MediaSpan { media_start_ms: start, media_end_ms: end, offset_ms: 0 }
}

fn marks(pairs: &[(i64, u64)]) -> Vec<Mark> {
    pairs.iter().map(|(at, offset)| Mark { at: Ms(*at), offset: *offset }).collect()
}

const WHOLE: [ClockRange; 1] = [ClockRange { from_byte: 0, to_byte: None, shift_ms: 0, start_ms: 0 }];

/// Packets of 100 ms and 10 bytes from 5000 ms on.
fn steady(packets: u64) -> Vec<(u64, i64)> {
    (1..=packets).map(|n| (n * 10, 5000 + 100 * i64::try_from(n).expect("small"))).collect()
}

#[test]
fn a_burst_does_not_move_the_anchor() {
    // Connected at 1_000_000 when 10 s of media were waiting; they came within a second, the rest live.
    let all = marks(&[(1_000_000, 1), (1_000_500, 500), (1_001_000, 1010), (1_002_000, 1110), (1_003_000, 1200)]);
    let mut spans = [span(5000, 17000)];
    anchor(&mut spans, &steady(120), &WHOLE, &all, 1200);
    // Live: by 1_001_000 media up to 5000 + 10_100 had arrived.
    assert_eq!(spans[0].offset_ms, 1_001_000 - 15_100);
}

#[test]
fn one_mark_or_none() {
    let mut spans = [span(5000, 17000)];
    anchor(&mut spans, &steady(120), &WHOLE, &marks(&[(2_000_000, 1200)]), 1200);
    assert_eq!(spans[0].wall().end, Ms(2_000_000));
    anchor(&mut spans, &steady(120), &WHOLE, &[], 1200);
    assert_eq!(spans[0].wall().start, Ms(0));
    // No positions at all: the end of the file is the only thing known.
    let no_positions: Vec<_> = steady(120).into_iter().map(|(_, end)| (1200, end)).collect();
    anchor(&mut spans, &no_positions, &WHOLE, &marks(&[(1_000_000, 1), (1_012_000, 1200)]), 1200);
    assert_eq!(spans[0].wall().end, Ms(1_012_000));
}

#[test]
fn a_hole_keeps_the_timeline_and_a_jump_begins_another() {
    // 1 s of media, nothing for 10 s, then 1 s: once with the clock going on, once with it jumping by an hour.
    for (jump, want_hole) in [(10_000, 10_000), (3_600_000, 10_000)] {
        let mut spans = [span(0, 1000), span(1000 + jump, 2000 + jump)];
        let arrivals: Vec<_> = (1..=10_u64)
            .map(|n| (n * 10, 100 * n.cast_signed()))
            .chain((11..=20_u64).map(|n| (n * 10, jump + 100 * n.cast_signed())))
            .collect();
        let all = marks(&[(50_100, 10), (51_000, 100), (61_100, 110), (62_000, 200)]);
        anchor(&mut spans, &arrivals, &WHOLE, &all, 200);
        assert_eq!(spans[0].offset_ms, 50_000);
        let hole = spans[1].wall().start.since(spans[0].wall().end);
        assert_eq!(hole, want_hole, "jump of {jump}");
    }
}

#[test]
fn a_span_without_a_mark_lies_beside_its_neighbour() {
    let clock_ranges = [WHOLE[0], ClockRange { from_byte: 500, to_byte: None, shift_ms: 2000, start_ms: 3000 }];
    let mut spans = [span(0, 1000), span(3000, 4000)];
    anchor(&mut spans, &[(500, 1000), (1000, 4000)], &clock_ranges, &marks(&[(90_000, 1000)]), 1000);
    assert_eq!(spans[1].wall().end, Ms(90_000));
    assert_eq!(spans[0].wall().end, spans[1].wall().start, "another clock: directly before");
}

#[test]
fn resets_cut_the_file_into_parts_that_rise() {
    let place = |stream, dts: i64, pos| PacketPlace {
        stream,
        pts_ms: Some(dts),
        dts_ms: Some(dts),
        duration_ms: 40,
        pos: Some(pos),
    };
    let stream = |index, kind| ProbedStream {
        index,
        kind,
        codec: "x".into(),
        has_extradata: true,
        has_format: true,
        cover: false,
        language: String::new(),
        title: String::new(),
    };
    let found = Probe {
        streams: vec![stream(0, TrackKind::Video), stream(1, TrackKind::Audio)],
        places: vec![
            place(0, 9_000, 0),
            place(1, 9_000, 10),
            place(0, 10_000, 20),
            place(1, 9_900, 30),
            // The audio shows it first.
            place(1, 50, 40),
            place(0, 100, 50),
            place(0, 1_000, 60),
            place(1, 1_000, 70),
        ],
        ..Probe::default()
    };
    let clock_ranges = clock_ranges(Path::new("/nonexistent"), &found, &wanted(&found), &[]);
    assert_eq!(clock_ranges.len(), 2);
    assert_eq!((clock_ranges[0].from_byte, clock_ranges[0].to_byte, clock_ranges[0].shift_ms), (0, Some(40), 0));
    assert_eq!((clock_ranges[1].from_byte, clock_ranges[1].to_byte), (40, None));
    assert_eq!(50 + clock_ranges[1].shift_ms, 10_040 + 2 * HOLE_MS);
    assert_eq!(clock_ranges[1].start_ms, 50 + clock_ranges[1].shift_ms);
}

#[test]
fn edges_hold_the_first_and_last_minute_without_holes_in_a_track() {
    let mut edges = EdgePackets::default();
    for n in 0..6000_i64 {
        // Video frames out of order, as with B frames.
        let pts_ms = 40 * (n + [2, 0, -1, -1][(n % 4) as usize]);
        edges.take(Packet { track: 1, pts_ms, duration_ms: 0, key: n % 50 == 0, size: n as u32, hash: n as u64 });
    }
    let track = Track {
        number: 1,
        kind: TrackKind::Video,
        codec: String::new(),
        format_hash: 0,
        stream: 0,
        adts: false,
        whole_end: false,
        packet_ms: 40,
        packets: 6000,
        pid: 0,
        language: String::new(),
        entry: Vec::new(),
        keys_ms: Vec::new(),
    };
    let (head, tail) = edges.finish(&[track]);
    assert!(head.windows(2).all(|w| w[0].hash + 1 == w[1].hash), "a hole in the head");
    assert!(tail.windows(2).all(|w| w[0].hash + 1 == w[1].hash), "a hole in the tail");
    assert_eq!(tail.last().map(|p| p.hash), Some(5999));
    for edge in [&head, &tail] {
        assert!((1490..=1510).contains(&edge.len()), "{}", edge.len());
        assert!(edge.iter().all(|p| p.duration_ms == 40));
    }
}
