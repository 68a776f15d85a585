use proptest::prelude::*;

use super::*;

const BEGIN: i64 = 1_000_000_000;

fn wall(second: i64) -> Ms {
    Ms(BEGIN).plus(second * SECOND)
}

/// A segment with a key picture each second from `from` to `to`; the clock of its media is the wall's plus
/// `clock` seconds. Byte 1000 is its first second's.
fn strip(id: i64, from: i64, to: i64, closed: Option<i64>, clock: i64) -> Strip {
    Strip {
        segment: SegmentId(id),
        opened: wall(from),
        closed: closed.map(wall),
        bytes: u64::try_from(to - from).expect("rising") * 1000,
        keys: (from..to)
            .map(|s| KeyPoint {
                byte: u64::try_from(s - from).expect("rising") * 1000,
                media_us: (s + clock) * 1_000_000,
                wall: wall(s),
                jump: false,
                hash: (s + clock).unsigned_abs(),
            })
            .collect(),
        end_us: (to + clock) * 1_000_000,
    }
}

fn within(from: i64, to: i64) -> Interval {
    Interval::new(wall(from), wall(to))
}

/// Segment, first and last second as the wall knows them, and whether it breaks.
fn shown(strips: &[Strip], window: Interval, now: i64) -> Vec<(i64, i64, i64, bool)> {
    chunks(strips, window, &IntervalSet::new(), wall(now))
        .iter()
        .map(|c| {
            let from = c.wall.since(wall(0)) / SECOND;
            (c.segment.0, from, from + c.length_us / 1_000_000, c.breaks)
        })
        .collect()
}

#[test]
fn a_growing_segment_is_shown_in_whole_chunks() {
    assert_eq!(shown(&[strip(1, 0, 10, None, 0)], within(0, 100), 10), [(1, 0, 4, false), (1, 4, 8, false)]);
    assert_eq!(shown(&[strip(1, 0, 3, None, 0)], within(0, 100), 3), []);
    assert_eq!(shown(&[], within(0, 100), 3), []);
}

#[test]
fn what_is_left_of_a_closed_one_waits_for_the_next() {
    let closed = strip(1, 0, 10, Some(10), 0);
    assert_eq!(shown(std::slice::from_ref(&closed), within(0, 100), 15).len(), 2, "the next may bring it again");
    assert_eq!(shown(std::slice::from_ref(&closed), within(0, 100), 31)[2], (1, 8, 10, false));
    assert_eq!(shown(std::slice::from_ref(&closed), within(0, 9), 10)[2], (1, 8, 10, false), "its time is past");
    // The next one has just been opened.
    let opened = Strip { keys: vec![], ..strip(2, 11, 11, None, 0) };
    assert_eq!(shown(&[closed.clone(), opened], within(0, 100), 12).len(), 2);
    // It reaches back with a burst: the picture at 8 s is there again.
    let burst = Strip { opened: wall(11), ..strip(2, 7, 20, None, 0) };
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
    let later = strip(2, 13, 22, None, 0);
    assert_eq!(shown(&[closed, later], within(0, 100), 22)[2..4], [(1, 8, 10, false), (2, 13, 17, true)]);
}

#[test]
fn another_clock_goes_on_by_the_wall() {
    let first = strip(1, 0, 10, Some(10), 0);
    let second = Strip { opened: wall(11), ..strip(2, 8, 20, None, 5000) };
    assert_eq!(
        shown(&[first, second], within(0, 100), 20)[2..],
        [(1, 8, 10, false), (2, 9, 13, true), (2, 13, 17, false)],
        "a second twice rather than one lost"
    );
}

#[test]
fn an_encoder_that_begins_anew_with_the_same_times_shows_other_pictures() {
    let first = strip(1, 0, 10, Some(10), 0);
    let mut second = Strip { opened: wall(11), ..strip(2, 11, 21, None, -11) };
    second.keys.iter_mut().for_each(|k| k.hash += 1000);
    assert_eq!(
        shown(&[first, second], within(0, 100), 21)[2..],
        [(1, 8, 10, false), (2, 11, 15, true), (2, 15, 19, false)]
    );
}

#[test]
fn it_begins_with_the_picture_at_or_before_the_window_and_ends_after_it() {
    let all = shown(&[strip(1, 0, 100, Some(100), 0)], within(50, 60), 200);
    assert_eq!(all, [(1, 50, 54, false), (1, 54, 58, false), (1, 58, 62, false)]);
}

#[test]
fn an_opted_out_slot_is_not_shown_and_nothing_is_shown_twice_after_it() {
    let forbidden: IntervalSet = within(8, 12).into();
    let all = chunks(&[strip(1, 0, 20, Some(20), 0)], within(0, 100), &forbidden, wall(90));
    let walls: Vec<_> = all.iter().map(|c| (c.wall.since(wall(0)) / SECOND, c.breaks)).collect();
    assert_eq!(walls, [(0, false), (4, false), (12, true), (16, false)]);
}

#[test]
fn a_clock_that_is_set_breaks() {
    let mut one = strip(1, 0, 12, Some(12), 0);
    for key in &mut one.keys[6..] {
        key.media_us += 900_000_000;
    }
    one.keys[6].jump = true;
    one.end_us += 900_000_000;
    let all = shown(&[one], within(0, 100), 90);
    assert_eq!(all, [(1, 0, 4, false), (1, 4, 5, false), (1, 6, 10, true), (1, 10, 12, false)]);
}

proptest! {
    /// Whatever was listed once stays, in its place, as segments grow, close and follow each other.
    #[test]
    fn the_list_only_grows(lengths in prop::collection::vec((1_i64..40, -6_i64..40, any::<bool>()), 1..5)) {
        // The end state: segments with overlaps and gaps between them.
        let (mut at, mut before_from, mut all) = (0, 0, Vec::new());
        for (nth, (length, step, other_clock)) in (0_i64..).zip(&lengths) {
            // A burst reaches back into the segment before it; what lies before that was decided long ago.
            let from = (at + step).max(before_from);
            let opened = at.max(from);
            let clock = if *other_clock { 5000 * (nth + 1) } else { 0 };
            let end = opened + length;
            all.push((nth + 1, from, end, opened, clock));
            (at, before_from) = (end, from);
        }
        let mut before: Vec<Chunk> = Vec::new();
        for now in 0..at + 60 {
            let strips: Vec<Strip> = all
                .iter()
                .filter(|(_, _, _, opened, _)| *opened <= now)
                .map(|(id, from, end, opened, clock)| {
                    let closed = (*end <= now).then_some(*end);
                    Strip { opened: wall(*opened), ..strip(*id, *from, (*end).min(now).max(*from), closed, *clock) }
                })
                .collect();
            let list = chunks(&strips, within(0, 10_000), &IntervalSet::new(), wall(now));
            prop_assert!(list.len() >= before.len(), "at {now}: {before:?} became {list:?}");
            prop_assert_eq!(&list[..before.len()], &before[..], "at {}", now);
            before = list;
        }
        // And all of it is shown: each second that a segment has.
        for (_, from, end, ..) in &all {
            for second in *from..*end {
                let there = before.iter().any(|c| {
                    let start = c.wall.since(wall(0));
                    (start..start + c.length_us / 1000).contains(&(second * SECOND))
                });
                prop_assert!(there, "second {} is not shown: {:?}", second, before);
            }
        }
    }
}
