//! The limits that are documented (50 MB a calendar, 100,000 talks), and inputs made to be expensive: twice
//! the input costs about twice the time.

use std::fmt::Write as _;
use std::time::Duration;

use streamrip::ical::{CalendarError, MAX_BYTES, MAX_TALKS, read};
use streamrip::schedule_xml::{self, ScheduleXmlError};

use crate::calendars::{A_TALK, OPTIONS};
use crate::harness::{alone, measured};

fn calendar(events: &str) -> Vec<u8> {
    format!("BEGIN:VCALENDAR\r\n{events}END:VCALENDAR\r\n").into_bytes()
}

fn events(n: usize, event: impl Fn(usize) -> String) -> String {
    let mut out = String::new();
    for n in 0..n {
        let _ = write!(out, "BEGIN:VEVENT\r\nDTSTART:20101227T100000Z\r\nDURATION:PT1H\r\n{}END:VEVENT\r\n", event(n));
    }
    out
}

#[test]
fn a_calendar_of_50_mb_is_read_and_one_byte_more_is_refused() {
    let _alone = alone();
    let mut bytes = calendar(&events(1, |_| "UID:1\r\n".to_owned()));
    // Ends in lines that nobody needs, as long descriptions do.
    bytes.resize(MAX_BYTES, b'\n');
    let (schedule, cost) = measured(|| read(&bytes, &OPTIONS));
    assert_eq!(schedule.expect("read").talks.len(), 1);
    cost.is_within_bounds(bytes.len());
    bytes.push(b'\n');
    assert_eq!(read(&bytes, &OPTIONS).expect_err("refused"), CalendarError::TooLarge);
    assert_eq!(schedule_xml::read(&vec![b' '; schedule_xml::MAX_BYTES + 1]), Err(ScheduleXmlError::TooLarge));
}

#[test]
fn a_hundred_thousand_talks_are_read_and_one_more_is_refused() {
    let _alone = alone();
    let bytes = calendar(&events(MAX_TALKS, |n| format!("UID:{n}\r\nSUMMARY:T\r\n")));
    let (schedule, cost) = measured(|| read(&bytes, &OPTIONS));
    assert_eq!(schedule.expect("read").talks.len(), MAX_TALKS);
    cost.is_within_bounds(bytes.len());
    let more = calendar(&events(MAX_TALKS + 1, |n| format!("UID:{n}\r\nSUMMARY:T\r\n")));
    assert!(matches!(read(&more, &OPTIONS), Err(CalendarError::TooManyTalks { .. })));
}

/// A short calendar that would be endless.
#[test]
fn dates_of_rules_count_as_talks() {
    let _alone = alone();
    let rules = |n| calendar(&events(n, |n| format!("UID:{n}\r\nRRULE:FREQ=MINUTELY\r\n")));
    assert_eq!(read(&rules(3), &OPTIONS).expect("read").talks.len(), 3000);
    let (refused, cost) = measured(|| read(&rules(200), &OPTIONS));
    assert!(matches!(refused, Err(CalendarError::TooManyTalks { .. })), "{:?}", refused.map(|s| s.talks.len()));
    // 100,000 talks, whoever wrote them.
    assert!(cost.memory < MAX_TALKS * A_TALK, "{cost:?}");
}

/// What may be expensive, made as long as asked for.
type Made = fn(usize) -> Vec<u8>;

const EXPENSIVE: [(&str, Made); 17] = [
    ("rules without dates", |n| {
        calendar(&events(n / 140, |n| format!("UID:{n}\r\nRRULE:FREQ=YEARLY;BYDAY=5MO;BYMONTHDAY=30;BYMONTH=2\r\n")))
    }),
    ("rules with few dates", |n| {
        calendar(&events(n / 140, |n| format!("UID:{n}\r\nRRULE:FREQ=DAILY;BYDAY=MO;BYMONTHDAY=29;BYMONTH=2\r\n")))
    }),
    ("rules of seconds", |n| {
        calendar(&events(n / 140, |n| format!("UID:{n}\r\nRRULE:FREQ=SECONDLY;BYHOUR=1;BYMINUTE=1;BYSECOND=1\r\n")))
    }),
    ("zones of such rules", |n| {
        let rule = "RRULE:FREQ=MONTHLY;BYDAY=5MO;BYMONTHDAY=30;BYMONTH=2\r\n";
        let one = format!("BEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETTO:+0100\r\n{rule}END:STANDARD\r\n");
        let zone = |z| format!("BEGIN:VTIMEZONE\r\nTZID:Z{z}\r\n{}END:VTIMEZONE\r\n", one.repeat(100));
        let zones: String = (0..n / one.len() / 100 + 1).map(zone).collect();
        let talk = |z| format!("BEGIN:VEVENT\r\nUID:{z}\r\nDTSTART;TZID=Z{z}:20101227T100000\r\nEND:VEVENT\r\n");
        calendar(&format!("{zones}{}", (0..n / one.len() / 100 + 1).map(talk).collect::<String>()))
    }),
    ("parameters", |n| calendar(&events(1, |_| format!("SUMMARY{}:x\r\n", ";A=b".repeat(n / 4))))),
    ("quotes", |n| calendar(&events(1, |_| format!("LOCATION;X={}:x\r\n", "\"a\",".repeat(n / 4))))),
    ("many lines of parameters", |n| {
        calendar(&events(n / 60_000 + 1, |_| format!("SUMMARY{}:x\r\n", ";A=b".repeat(15_000))))
    }),
    ("nested components", |n| {
        let n = n / 28;
        calendar(&format!("{}{}", "BEGIN:VEVENT\r\n".repeat(n), "END:VEVENT\r\n".repeat(n)))
    }),
    ("calendars", |n| calendar(&events(1, |_| String::new())).repeat(n / 100)),
    ("folds", |n| calendar(&events(1, |_| format!("SUMMARY:{}\r\n", "\r\n x".repeat(n / 4))))),
    ("one UID", |n| calendar(&events(n / 110, |n| format!("UID:same\r\nSUMMARY:{n}\r\nLOCATION:Saal\r\n")))),
    ("no UID", |n| calendar(&events(n / 100, |_| "SUMMARY:same\r\nLOCATION:Saal\r\n".to_owned()))),
    ("recurrence ids", |n| {
        calendar(&events(n / 120, |n| format!("UID:same\r\nRECURRENCE-ID:2010{:04}T100000Z\r\n", n % 10_000)))
    }),
    ("halls", |n| calendar(&events(n / 100, |n| format!("UID:{n}\r\nLOCATION:Saal {n}\r\n")))),
    ("dates", |n| calendar(&events(1, |_| format!("UID:1\r\n{}", "RDATE:20101228T100000Z\r\n".repeat(n / 24))))),
    ("rules", |n| {
        calendar(&events(n / 140, |n| format!("UID:{n}\r\nRRULE:FREQ=YEARLY;BYDAY=MO,TU;BYMONTH=2;COUNT=2\r\n")))
    }),
    ("junk", |n| calendar(&events(1, |_| "no property\r\n".repeat(n / 13)))),
];

#[test]
fn nothing_costs_more_than_its_length() {
    let _alone = alone();
    for (what, make) in EXPENSIVE {
        let (small, large) = (make(500_000), make(1_000_000));
        let (_, a) = measured(|| read(&small, &OPTIONS));
        let (read, mut b) = measured(|| read(&large, &OPTIONS));
        println!("{what}: {} bytes {a:?}, {} bytes {b:?}", small.len(), large.len());
        // A rule gives many talks, at most `ical::MAX_TALKS` altogether.
        let given = read.map_or(0, |schedule| schedule.talks.len());
        let talks = large.windows(12).filter(|w| w == b"BEGIN:VEVENT").count().max(given);
        b.memory = b.memory.saturating_sub(A_TALK * talks);
        b.is_within_bounds(large.len());
        // Quadratic would be four times as much.
        let fair = a.cpu * 3 + Duration::from_millis(200);
        assert!(b.cpu <= fair, "{what}: {:?} for twice the input of {:?}", b.cpu, a.cpu);
    }
}

const EXPENSIVE_XML: [(&str, Made); 9] = [
    ("nested elements", |n| xml(&format!("{}{}", "<a>".repeat(n / 7), "</a>".repeat(n / 7)))),
    ("empty elements", |n| xml(&"<a/>".repeat(n / 4))),
    ("events", |n| xml(&"<event/>x".repeat(n / 20))),
    ("events in titles", |n| {
        let n = n / 31;
        xml(&format!("{}{}", "<event><title>x".repeat(n), "</title></event>".repeat(n)))
    }),
    ("nested events", |n| {
        let n = n / 50;
        xml(&format!("{}{}", "<event id=\"1\"><title>x</title>".repeat(n), "</event>".repeat(n)))
    }),
    ("attributes", |n| xml(&format!("<a{}/>", (0..n / 12).map(|n| format!(" a{n:07}=''")).collect::<String>()))),
    ("attributes of many", |n| {
        let tag = format!("<a{}/>", (0..250).map(|n| format!(" a{n:03}=''")).collect::<String>());
        xml(&tag.repeat(n / tag.len()))
    }),
    ("nested name spaces", |n| xml(&(0..n / 25).map(|n| format!("<a xmlns:b{n:06}='{n:08}'>")).collect::<String>())),
    ("name spaces", |n| xml(&(0..n / 25).map(|n| format!("<a xmlns:b='{n:08}'/>")).collect::<String>())),
];

fn xml(inside: &str) -> Vec<u8> {
    format!("<schedule>{inside}</schedule>").into_bytes()
}

#[test]
fn an_xml_of_too_many_elements_or_talks_is_refused() {
    let _alone = alone();
    let (refused, cost) = measured(|| schedule_xml::read(&xml(&"<a/>".repeat(5_000_000))));
    assert!(matches!(refused, Err(ScheduleXmlError::NotXml { .. })));
    let events = |n| schedule_xml::read(&xml(&"<event id='1'/>".repeat(n))).map(|x| x.entries.len());
    assert_eq!(events(schedule_xml::MAX_TALKS), Ok(schedule_xml::MAX_TALKS));
    assert_eq!(events(schedule_xml::MAX_TALKS + 1), Err(ScheduleXmlError::TooManyTalks));
    assert!(cost.memory < 150 * schedule_xml::MAX_NODES as usize, "{cost:?}");
}

#[test]
fn nothing_in_an_xml_costs_more_than_its_length() {
    let _alone = alone();
    for (what, make) in EXPENSIVE_XML {
        let (small, large) = (make(500_000), make(1_000_000));
        let (_, a) = measured(|| schedule_xml::read(&small).map(|s| s.entries.len()));
        let (found, mut b) = measured(|| schedule_xml::read(&large).map(|s| s.entries.len()));
        println!("{what}: {} bytes {a:?}, {} bytes {b:?}, {found:?}", small.len(), large.len());
        // The tree of a document of nothing but tags is large; the number of both has a limit.
        let tree = 150 * large.iter().filter(|b| **b == b'<').count() + A_TALK * found.unwrap_or(0);
        b.memory = b.memory.saturating_sub(tree);
        b.is_within_bounds(large.len());
        let fair = a.cpu * 3 + Duration::from_millis(200);
        assert!(b.cpu <= fair, "{what}: {:?} for twice the input of {:?}", b.cpu, a.cpu);
    }
}
