use super::*;
use crate::domain::ids::SegmentId;
use crate::domain::time::SECOND;

fn wall(second: i64) -> Ms {
    Ms(1_000_000_000).plus(second * SECOND)
}

fn chunk(segment: i64, from: u64, second: i64) -> Chunk {
    let length_us = 4_000_000;
    Chunk { segment: SegmentId(segment), from, to: from + 10, length_us, wall: wall(second), breaks: false }
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
