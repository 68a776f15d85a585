use proptest::prelude::*;

use super::*;

const BEGIN: i64 = 1_000_000_000;

fn wall(second: i64) -> Ms {
    Ms(BEGIN).plus(second * SECOND)
}

/// A segment with a keyframe each second from `from` to `to`; the clock of its media is the wall's plus
/// `clock` seconds. Byte 1000 is its first second's.
fn timeline(id: i64, from: i64, to: i64, closed: Option<i64>, clock: i64) -> SegmentTimeline {
    SegmentTimeline {
        segment: SegmentId(id),
        opened: wall(from),
        closed: closed.map(wall),
        bytes: u64::try_from(to - from).expect("rising") * 1000,
        keys: (from..to)
            .map(|s| SyncPoint {
                byte: u64::try_from(s - from).expect("rising") * 1000,
                media_us: (s + clock) * 1_000_000,
                wall: wall(s),
                jump: None,
                hash: (s + clock).unsigned_abs(),
            })
            .collect(),
        end_us: (to + clock) * 1_000_000,
        late_ms: 0,
    }
}

fn within(from: i64, to: i64) -> Interval {
    Interval::new(wall(from), wall(to))
}

/// Segment, first and last second as the wall knows them, and whether it breaks.
fn shown(timelines: &[SegmentTimeline], window: Interval, now: i64) -> Vec<(i64, i64, i64, bool)> {
    playlist_entries(timelines, window, &IntervalSet::new(), wall(now))
        .iter()
        .map(|c| {
            let from = c.wall.since(wall(0)) / SECOND;
            (c.segment.0, from, from + c.length_us / 1_000_000, c.breaks)
        })
        .collect()
}

#[test]
fn a_growing_segment_is_shown_in_whole_chunks() {
    assert_eq!(shown(&[timeline(1, 0, 10, None, 0)], within(0, 100), 10), [(1, 0, 4, false), (1, 4, 8, false)]);
    assert_eq!(shown(&[timeline(1, 0, 3, None, 0)], within(0, 100), 3), []);
    assert_eq!(shown(&[], within(0, 100), 3), []);
}

#[test]
fn what_is_left_of_a_closed_one_waits_for_the_next() {
    let closed = timeline(1, 0, 10, Some(10), 0);
    assert_eq!(shown(std::slice::from_ref(&closed), within(0, 100), 15).len(), 2, "the next may bring it again");
    assert_eq!(shown(std::slice::from_ref(&closed), within(0, 100), 31)[2], (1, 8, 10, false));
    assert_eq!(shown(std::slice::from_ref(&closed), within(0, 9), 10)[2], (1, 8, 10, false), "its time is past");
    // The next one has just been opened.
    let opened = SegmentTimeline { keys: vec![], ..timeline(2, 11, 11, None, 0) };
    assert_eq!(shown(&[closed.clone(), opened], within(0, 100), 12).len(), 2);
    // It reaches back with a burst: the video frame at 8 s is there again.
    let burst = SegmentTimeline { opened: wall(11), ..timeline(2, 7, 20, None, 0) };
    assert_eq!(
        shown(&[closed.clone(), burst], within(0, 100), 20),
        [(1, 0, 4, false), (1, 4, 8, false), (2, 8, 12, true), (2, 12, 16, true)].map(|(s, a, b, breaks)| (
            s,
            a,
            b,
            breaks && (s, a) == (2, 8)
        )),
    );
    // It does not: the rest is shown, and a break.
    let later = timeline(2, 13, 22, None, 0);
    assert_eq!(shown(&[closed, later], within(0, 100), 22)[2..4], [(1, 8, 10, false), (2, 13, 17, true)]);
}

#[test]
fn another_clock_goes_on_by_the_wall() {
    let first = timeline(1, 0, 10, Some(10), 0);
    let second = SegmentTimeline { opened: wall(11), ..timeline(2, 8, 20, None, 5000) };
    assert_eq!(
        shown(&[first, second], within(0, 100), 20)[2..],
        [(1, 8, 10, false), (2, 9, 13, true), (2, 13, 17, false)],
        "a second twice rather than one lost"
    );
}

#[test]
fn an_encoder_that_begins_anew_with_the_same_times_shows_other_pictures() {
    let first = timeline(1, 0, 10, Some(10), 0);
    let mut second = SegmentTimeline { opened: wall(11), ..timeline(2, 11, 21, None, -11) };
    second.keys.iter_mut().for_each(|k| k.hash += 1000);
    assert_eq!(
        shown(&[first, second], within(0, 100), 21)[2..],
        [(1, 8, 10, false), (2, 11, 15, true), (2, 15, 19, false)]
    );
}

#[test]
fn it_begins_with_the_picture_at_or_before_the_window_and_ends_after_it() {
    let all = shown(&[timeline(1, 0, 100, Some(100), 0)], within(50, 60), 200);
    assert_eq!(all, [(1, 50, 54, false), (1, 54, 58, false), (1, 58, 62, false)]);
}

#[test]
fn an_opted_out_slot_is_not_shown_and_nothing_is_shown_twice_after_it() {
    let forbidden: IntervalSet = within(8, 12).into();
    let all = playlist_entries(&[timeline(1, 0, 20, Some(20), 0)], within(0, 100), &forbidden, wall(90));
    let walls: Vec<_> = all.iter().map(|c| (c.wall.since(wall(0)) / SECOND, c.breaks)).collect();
    assert_eq!(walls, [(0, false), (4, false), (12, true), (16, false)]);
}

#[test]
fn a_clock_that_is_set_breaks() {
    let mut one = timeline(1, 0, 12, Some(12), 0);
    for key in &mut one.keys[6..] {
        key.media_us += 900_000_000;
    }
    one.keys[6].jump = Some(6_000_000);
    one.end_us += 900_000_000;
    let all = shown(std::slice::from_ref(&one), within(0, 100), 90);
    assert_eq!(all, [(1, 0, 4, false), (1, 4, 6, false), (1, 6, 10, true), (1, 10, 12, false)]);
    // Also right after the first video frame of a chunk, and back.
    one.keys[5].jump = Some(5_000_000);
    one.keys[5].media_us -= 4_000_000;
    one.keys[6].jump = Some(2_000_000);
    let all = shown(&[one], within(0, 100), 90);
    assert_eq!(all, [(1, 0, 4, false), (1, 4, 5, false), (1, 5, 6, true), (1, 6, 10, true), (1, 10, 12, false)]);
}

#[test]
fn after_a_clock_that_is_set_in_both_of_two_segments_the_second_goes_on() {
    // An encoder that began anew at 6 s, recorded by two connections; the second lived longer.
    let set = |mut timeline: SegmentTimeline| {
        for key in timeline.keys.iter_mut().filter(|k| k.wall >= wall(6)) {
            key.media_us -= 5_000_000_000;
        }
        let first = timeline.keys.iter_mut().find(|k| k.wall >= wall(6)).expect("there");
        first.jump = Some(6_000_000 + 5_000_000_000);
        timeline.end_us -= 5_000_000_000;
        timeline
    };
    let (first, second) = (set(timeline(1, 0, 12, Some(12), 5000)), set(timeline(2, 2, 24, Some(24), 5000)));
    assert_eq!(
        shown(&[first, second], within(0, 100), 90),
        [
            (1, 0, 4, false),
            (1, 4, 6, false),
            (1, 6, 10, true),
            (2, 10, 14, true),
            (2, 14, 18, false),
            (2, 18, 22, false),
            (2, 22, 24, false)
        ]
    );
}

#[test]
fn of_two_that_grow_at_the_same_time_the_first_is_shown() {
    let (first, second) = (timeline(1, 0, 10, None, 0), timeline(2, 1, 10, None, 0));
    assert_eq!(shown(&[first, second], within(0, 100), 10), [(1, 0, 4, false), (1, 4, 8, false)]);
    // It ends; the second has been there for long.
    let (first, second) = (timeline(1, 0, 10, Some(10), 0), timeline(2, 1, 14, None, 0));
    assert_eq!(shown(&[first, second], within(0, 100), 14)[2..], [(2, 8, 12, true)]);
    // A third is the one that goes on: the second ended before.
    let (first, second, third) =
        (timeline(1, 0, 10, Some(10), 0), timeline(2, 1, 5, Some(5), 0), timeline(3, 6, 14, None, 0));
    assert_eq!(shown(&[first, second, third], within(0, 100), 14)[2..], [(3, 8, 12, true)]);
}

#[test]
fn a_burst_is_waited_for_until_it_has_reached_the_rest() {
    let closed = timeline(1, 0, 10, Some(10), 0);
    // What has come of it so far are video frames of the fifth second; it goes on to the eighth.
    let slow = |to: i64| SegmentTimeline { opened: wall(11), closed: None, ..timeline(2, 5, to, None, 0) };
    assert_eq!(shown(&[closed.clone(), slow(7)], within(0, 100), 12).len(), 2);
    assert_eq!(shown(&[closed.clone(), slow(13)], within(0, 100), 13)[2..], [(2, 8, 12, true)]);
    // An encoder that counts from elsewhere is none of that.
    let other = SegmentTimeline { opened: wall(11), ..timeline(2, 11, 13, None, 5000) };
    assert_eq!(shown(&[closed, other], within(0, 100), 13)[2..], [(1, 8, 10, false)]);
}

#[test]
fn what_must_not_be_shown_is_not_shown_by_either_time() {
    let forbidden: IntervalSet = within(8, 12).into();
    let late = SegmentTimeline { late_ms: 4000, ..timeline(1, 0, 20, Some(20), 0) };
    let all = playlist_entries(&[late], within(0, 100), &forbidden, wall(90));
    let walls: Vec<_> = all.iter().map(|c| c.wall.since(wall(0)) / SECOND).collect();
    assert_eq!(walls, [0, 12, 16]);
}

/// A segment of the property below.
#[derive(Clone, Copy, Debug)]
struct Life {
    id: i64,
    /// First and end of what it has, seconds.
    from: i64,
    end: i64,
    opened: i64,
    clock: i64,
    /// Seconds of media that come in a second until it has caught up.
    pace: i64,
}

impl Life {
    fn at(&self, now: i64) -> Option<SegmentTimeline> {
        let has = self.end.min(now).min(self.from + self.pace * (now - self.opened)).max(self.from);
        // What a slow burst did not bring in time is never there.
        let closed = (self.end <= now).then_some(self.end);
        let to = if closed.is_some() { self.whole() } else { has.min(self.whole()) };
        (self.opened <= now).then(|| SegmentTimeline {
            opened: wall(self.opened),
            ..timeline(self.id, self.from, to, closed, self.clock)
        })
    }

    /// How far it has come when it is closed.
    fn whole(&self) -> i64 {
        self.end.min(self.from + self.pace * (self.end - self.opened)).max(self.from)
    }
}

proptest! {
    /// Whatever was listed once stays, in its place, as segments grow, close, follow each other and live at the same
    /// time; and all that was recorded is shown.
    #[test]
    fn the_list_only_grows(
        lives in prop::collection::vec((1_i64..40, -15_i64..40, 0_i64..20, any::<bool>(), 2_i64..30), 1..6)
    ) {
        let (mut opened, mut earliest, mut all) = (0, 0, Vec::<Life>::new());
        for (id, (length, step, back, other_clock, pace)) in (1_i64..).zip(lives) {
            // Opened before or after the end of the one before, but not before that one was.
            opened = all.last().map_or(0, |last| (last.end + step).max(last.opened));
            // A burst reaches back, but not before all that was recorded: what lies there was decided long ago.
            let from = (opened - back).max(earliest);
            earliest = from;
            let clock = if other_clock { 5000 * id } else { 0 };
            all.push(Life { id, from, end: opened + length, opened, clock, pace });
        }
        let end = all.iter().map(|l| l.end).max().unwrap_or(opened);
        let mut before: Vec<PlaylistEntry> = Vec::new();
        for now in 0..end + 60 {
            let timelines: Vec<SegmentTimeline> = all.iter().filter_map(|life| life.at(now)).collect();
            let list = playlist_entries(&timelines, within(-100, 10_000), &IntervalSet::new(), wall(now));
            prop_assert!(list.len() >= before.len(), "at {now}: {before:?} became {list:?}");
            prop_assert_eq!(&list[..before.len()], &before[..], "at {}", now);
            before = list;
        }
        for life in &all {
            for second in life.from..life.whole() {
                let there = before.iter().any(|c| {
                    let start = c.wall.since(wall(0));
                    (start..start + c.length_us / 1000).contains(&(second * SECOND))
                });
                prop_assert!(there, "second {} is not shown: {:?}", second, before);
            }
        }
    }
}
