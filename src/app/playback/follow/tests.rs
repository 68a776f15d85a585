use super::*;
use crate::domain::ids::SegmentId;
use crate::domain::interval::Interval;
use crate::domain::time::SECOND;

fn wall(second: i64) -> Ms {
    Ms(1_000_000_000).plus(second * SECOND)
}

#[test]
fn a_time_of_day_is_found_in_a_joined_file_that_begins_late_and_has_a_gap() {
    let part = |place: Option<(i64, i64)>, from: i64, to: i64| Part {
        segment: SegmentId(1),
        place: place.map(|(a, b)| (a * SECOND, b * SECOND)),
        wall: place.map(|_| Interval::new(wall(from), wall(to))),
        redundant: true,
        note: String::new(),
    };
    // Recorded from 300 to 400 and from 500 to 600.
    let parts = [part(None, 0, 0), part(Some((100, 200)), 500, 600), part(Some((0, 100)), 300, 400)];
    for (at, seconds) in [(0, 0), (300, 0), (310, 10), (400, 100), (450, 100), (500, 100), (550, 150), (9000, 200)] {
        assert_eq!(place(&parts, wall(at)), seconds * SECOND, "{at}");
    }
    assert_eq!(place(&[], wall(7)), 0);
}

fn chunk(segment: i64, from: u64, second: i64) -> PlaylistEntry {
    let length_us = 4_000_000;
    let wall = wall(second);
    PlaylistEntry { segment: SegmentId(segment), from, to: from + 10, media_us: 0, length_us, wall, breaks: false }
}

#[test]
fn what_was_given_last_is_found_again_also_in_another_list() {
    let list = [chunk(1, 0, 0), chunk(1, 10, 4), chunk(2, 0, 9), chunk(2, 10, 13)];
    assert_eq!(after(&list, &list[1]), 2);
    assert_eq!(after(&list, &list[3]), 4);
    // The talk's window was moved: the pieces have other edges.
    assert_eq!(after(&list, &chunk(1, 5, 2)), 2, "what begins where it ended, or after that");
    assert_eq!(after(&list[2..], &list[0]), 0);
}
