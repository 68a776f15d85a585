use super::*;
use crate::domain::hall::Hall;
use crate::plan::fixtures::{at, event, hall, slot, talk};

fn plan(now: i64, halls: &[Hall], talks: &[Talk]) -> Wanted {
    wanted(at(now), &[event()], halls, talks, &Record::default())
}

fn windows(wanted: &Wanted, hall: i64) -> Vec<Interval> {
    wanted.tapes.iter().filter(|t| t.hall == HallId(hall)).map(|t| t.window).collect()
}

#[test]
fn windows_that_touch_are_one_tape_with_a_handover_at_each_window_start() {
    // 10:00-11:00 and 11:15-12:15 have windows 9:55-11:15 and 11:10-12:30; 14:00 stands alone.
    let talks = [talk(1, 1, 600, 660), talk(2, 1, 675, 735), talk(3, 1, 840, 900)];
    let plan = plan(0, &[hall(1)], &talks);
    assert_eq!(windows(&plan, 1), [slot(595, 750), slot(835, 915)]);
    assert_eq!(plan.tapes[0].boundaries, [at(670)]);
    assert_eq!(plan.tapes[0].talks, [TalkId(1), TalkId(2)]);
    assert_eq!(plan.next_start(at(0)), Some(at(595)));
    assert_eq!(plan.next_start(at(595)), Some(at(835)));
    assert_eq!(plan.running_at(at(595)).count(), 1);
    assert_eq!(plan.running_at(at(750)).count(), 0);
}

#[test]
fn exactly_touching_windows_are_one_tape() {
    let talks = [talk(1, 1, 600, 660), talk(2, 1, 680, 700)];
    let plan = plan(0, &[hall(1)], &talks);
    assert_eq!(windows(&plan, 1), [slot(595, 715)]);
    assert_eq!(plan.tapes[0].boundaries, [at(675)]);
}

#[test]
fn two_talks_at_once_share_the_hall() {
    let plan = plan(0, &[hall(1)], &[talk(1, 1, 600, 660), talk(2, 1, 600, 630)]);
    assert_eq!(windows(&plan, 1), [slot(595, 675)]);
    assert_eq!(plan.tapes[0].boundaries, [], "both begin where the tape begins");
    assert_eq!(plan.tapes[0].talks.len(), 2);
}

#[test]
fn an_opted_out_slot_is_cut_out_of_its_neighbours_padding() {
    let mut private = talk(2, 1, 660, 690);
    private.opted_out = true;
    let plan = plan(0, &[hall(1)], &[talk(1, 1, 600, 660), private, talk(3, 1, 690, 720)]);
    assert_eq!(windows(&plan, 1), [slot(595, 660), slot(690, 735)]);
    assert!(plan.forbidden[&HallId(1)].contains(at(660)));
}

#[test]
fn a_cancelled_opt_out_forbids_nothing_and_what_is_off_wants_nothing() {
    for (status, opted_out) in
        [(TalkStatus::Cancelled, true), (TalkStatus::Removed, false), (TalkStatus::Cancelled, false)]
    {
        let mut off = talk(1, 1, 600, 660);
        off.status = status;
        off.opted_out = opted_out;
        assert_eq!(plan(0, &[hall(1)], &[off]), Wanted::default());
    }
}

#[test]
fn the_past_and_halls_without_streams_want_nothing() {
    let mut dark = hall(2);
    dark.streams.clear();
    let plan = plan(900, &[hall(1), dark], &[talk(1, 1, 600, 660), talk(2, 2, 890, 950)]);
    assert_eq!(plan.tapes, []);
}

#[test]
fn a_talk_past_midnight_is_like_any_other() {
    let plan = plan(1440, &[hall(1)], &[talk(1, 1, 1430, 1500)]);
    assert_eq!(windows(&plan, 1), [slot(1425, 1515)]);
    assert_eq!(plan.running_at(at(1440)).count(), 1);
}

#[test]
fn what_a_server_still_holds_is_wanted_from_a_minute_before_but_not_of_a_forbidden_slot() {
    let at = |minute: i64| Ms(minute * 60_000);
    let none = IntervalSet::new();
    assert_eq!(reach_back(at(100), &none), at(99));
    for (end, want) in [(100, at(100)), (98, at(99)), (130, at(99))] {
        let forbidden = Interval::new(at(90), at(end)).into();
        assert_eq!(reach_back(at(100), &forbidden), want, "{end}");
    }
    let half = Interval::new(at(90), at(100).minus(30_000)).into();
    assert_eq!(reach_back(at(100), &half), at(100).minus(30_000));
}
