//! Tests of the join of calendar and programme.

use super::*;
use crate::domain::interval::Interval;
use crate::domain::programme::EntryStart;
use crate::domain::time::HOUR;

/// 2027-01-10T10:00:00Z.
const TEN: Ms = Ms(1_799_575_200_000);

fn talk(uid: &str, title: &str, hours: i64) -> ScheduledTalk {
    let start = TEN.plus(hours * HOUR);
    ScheduledTalk {
        uid: (!uid.is_empty()).then(|| uid.to_owned()),
        hall: Some("Saal 1".to_owned()),
        offset_known: true,
        ..ScheduledTalk::new(title, Interval::new(start, start.plus(HOUR)))
    }
}

fn entry(title: &str, hours: i64, details: TalkDetails) -> Entry {
    Entry {
        title: title.to_owned(),
        rooms: vec!["Saal 1".to_owned()],
        start: EntryStart::Instant(TEN.plus(hours * HOUR)),
        details,
        ..Entry::default()
    }
}

fn code(id: &str, code: &str) -> TalkDetails {
    TalkDetails { id: Some(id.to_owned()), code: Some(code.to_owned()), ..TalkDetails::default() }
}

fn out(entry: Entry) -> Entry {
    Entry { opted_out: true, ..entry }
}

fn by(entry: Entry, speaker: &str) -> Entry {
    Entry { speakers: vec![speaker.to_owned()], ..entry }
}

fn joined(talks: Vec<ScheduledTalk>, entries: Vec<Entry>) -> (Schedule, Joined) {
    let mut schedule = Schedule { talks, ..Schedule::default() };
    let programme = Programme { entries, ..Programme::default() };
    let aliases = HashMap::from([(fold_name("Big Hall"), fold_name("Saal 1"))]);
    let joined = join(&mut schedule, &programme, &JoinOptions { zone: Tz::UTC, aliases });
    (schedule, joined)
}

fn outs(schedule: &Schedule) -> Vec<bool> {
    schedule.talks.iter().map(|t| t.opted_out).collect()
}

/// The number of a slot is no id of an entry: both slots are opted out, and each talk has its own speakers.
#[test]
fn code_and_slot_decide_and_not_a_number_that_looks_like_an_id() {
    let (schedule, result) = joined(
        vec![
            talk("pretalx-demo-AAAAAA@h", "One slot", 0),
            talk("pretalx-demo-BBBBBB-1@h", "Two slots", 1),
            talk("pretalx-demo-BBBBBB-2@h", "Two slots", 3),
        ],
        vec![
            by(entry("One slot", 0, code("1", "AAAAAA")), "Ann"),
            by(out(entry("Two slots", 1, code("2", "BBBBBB"))), "Ben"),
            by(out(entry("Two slots", 3, code("8", "BBBBBB"))), "Ben"),
        ],
    );
    assert_eq!(outs(&schedule), [false, true, true]);
    assert_eq!(schedule.talks.iter().map(|t| t.speakers.concat()).collect::<Vec<_>>(), ["Ann", "Ben", "Ben"]);
    assert_eq!(result.summary(), "3 by code");
    assert!(result.lost_opt_outs.is_empty() && schedule.warnings.is_empty());
}

/// Slots outside the event's days are in the calendar only; the code stands for all slots.
#[test]
fn an_encore_is_opted_out_by_its_code() {
    let (schedule, _) = joined(
        vec![talk("pretalx-demo-CCCCCC-0@h", "Encore", 0), talk("pretalx-demo-CCCCCC-1@h", "Encore", 30)],
        vec![out(entry("Encore", 0, code("5", "CCCCCC")))],
    );
    assert_eq!(outs(&schedule), [true, true]);
    assert_eq!(schedule.talks[1].slot.start, TEN.plus(30 * HOUR), "the other slot's time is not taken");
}

#[test]
fn talks_are_recognised_by_the_surest_sign() {
    let guid = "2aba641b-114d-4dac-866e-533314a3c108";
    let guided = || TalkDetails { guid: Some(guid.to_owned()), ..TalkDetails::default() };
    let id = |id: &str| TalkDetails { id: Some(id.to_owned()), ..TalkDetails::default() };
    let paged = |url: &str| Entry { url: Some(url.to_owned()), ..entry("Other title", 5, TalkDetails::default()) };
    let page = |url: &str| ScheduledTalk { page_url: Some(url.to_owned()), ..talk("x", "T", 0) };
    let room = |name: &str| Entry {
        rooms: vec!["Elsewhere".to_owned(), name.to_owned()],
        ..entry("T", 0, TalkDetails::default())
    };
    for (talk, entry, want) in [
        (talk(&format!("{guid}@frab.h"), "T", 0), entry("T", 0, guided()), Some(By::Guid)),
        (talk(&format!("x-{}-y", guid.to_uppercase()), "T", 0), entry("T", 0, guided()), Some(By::Guid)),
        (talk("pretalx-divoc-2021-38PPT7@h", "T", 0), entry("T", 0, code("2021", "38PPT7")), Some(By::Code)),
        (talk("pretalx-divoc-2021-38PPT7-2021@h", "T", 0), entry("U", 5, id("2021")), None),
        (talk("4253@27C3@pentabarf.org", "T", 0), entry("T", 0, id("4253")), Some(By::Id)),
        (talk("4253@27C3@pentabarf.org", "T", 0), entry("U", 9, id("27")), None),
        (page("https://h/e/talk/X/"), paged("http://h/e/talk/X"), Some(By::Page)),
        (talk("x", "T", 0), entry("T", 0, TalkDetails::default()), Some(By::Place)),
        (talk("x", "T - Ann", 0), room("saal 1"), Some(By::Place)),
        (talk("x", "T", 0), room("Big Hall"), Some(By::Place)),
        (talk("x", "T", 0), room("Nowhere"), Some(By::Title)),
        (talk("x", "Tea", 0), entry("T", 0, TalkDetails::default()), None),
        (talk("x", "T", 0), entry("T", 1, TalkDetails::default()), None),
    ] {
        let shown = format!("{:?} {:?}", talk.uid, entry);
        let (schedule, result) = joined(vec![talk], vec![out(entry)]);
        assert_eq!(result.by.keys().next().copied(), want, "{shown}");
        assert_eq!(schedule.talks[0].opted_out, want.is_some(), "{shown}");
        assert_eq!(result.lost_opt_outs.len(), usize::from(want.is_none()), "{shown}");
        assert_eq!(result.is_another_event(), want.is_none(), "{shown}");
    }
}

/// An optional field that is missing must not record anybody against his will.
#[test]
fn for_an_opt_out_title_and_start_are_enough() {
    let bare = |start| Entry { title: "T".to_owned(), start, opted_out: true, ..Entry::default() };
    let day = chrono::NaiveDate::from_ymd_opt(2027, 1, 10).expect("day");
    let local = day.and_hms_opt(10, 0, 0).expect("time");
    let other_day = EntryStart::Day(day.succ_opt().expect("day"));
    for (start, want) in [
        (EntryStart::Instant(TEN), true),
        (EntryStart::Local(local), true),
        (EntryStart::Day(day), true),
        (EntryStart::Unknown, true),
        (other_day, false),
        (EntryStart::Instant(TEN.plus(HOUR)), false),
    ] {
        // Two talks of one title at one time in two halls: all that fit.
        let second = ScheduledTalk { hall: Some("Saal 2".to_owned()), ..talk("b", "T", 0) };
        let (schedule, _) = joined(vec![talk("a", "T", 0), second], vec![bare(start)]);
        assert_eq!(outs(&schedule), [want, want], "{start:?}");
    }
}

#[test]
fn what_the_programme_lacks_is_a_warning_and_no_consent() {
    let (schedule, result) =
        joined(vec![talk("a", "T", 0), talk("b", "U", 2)], vec![entry("T", 0, TalkDetails::default())]);
    assert_eq!(
        schedule.warnings.iter().map(|w| (w.kind, w.talk.as_deref())).collect::<Vec<_>>(),
        [(WarningKind::NotInScheduleXml, Some("b"))]
    );
    assert!(!schedule.talks[1].in_schedule_xml && result.found() == 1);
}

/// Letters for a zone may mean another one; an instant with its offset cannot be mistaken.
#[test]
fn the_time_with_an_offset_is_taken_and_said() {
    let vague = ScheduledTalk { offset_known: false, ..talk("e-ABC@h", "T", 1) };
    let (schedule, _) = joined(vec![vague], vec![entry("T", 0, code("1", "ABC"))]);
    assert_eq!((schedule.talks[0].slot.start, schedule.talks[0].slot.len_ms()), (TEN, HOUR));
    assert_eq!(schedule.warnings[0].kind, WarningKind::OtherTime);
    let (schedule, _) = joined(vec![talk("e-ABC@h", "T", 1)], vec![entry("T", 0, code("1", "ABC"))]);
    assert_eq!(schedule.talks[0].slot.start, TEN.plus(HOUR), "the calendar's has an offset too");
    assert_eq!(schedule.warnings[0].kind, WarningKind::OtherTime);
}

#[test]
fn speakers_leave_the_title_and_all_else_is_taken_over() {
    for (title, speakers, want) in [
        ("Soil - Ann, Ben", vec!["Ann", "Ben"], "Soil"),
        ("Soil -", vec![], "Soil"),
        ("Soil - a history", vec!["Ann"], "Soil - a history"),
    ] {
        let speakers: Vec<String> = speakers.into_iter().map(str::to_owned).collect();
        let details = TalkDetails { track: Some("Earth".to_owned()), ..code("1", "ABC") };
        let entry = Entry { speakers: speakers.clone(), ..entry("Soil", 0, details) };
        let (schedule, _) = joined(vec![talk("e-ABC@h", title, 0)], vec![entry]);
        let talk = &schedule.talks[0];
        assert_eq!((talk.title.as_str(), &talk.speakers), (want, &speakers));
        assert_eq!(talk.details.track.as_deref(), Some("Earth"));
    }
}
