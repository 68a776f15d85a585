//! Tests of what exporters write: zones by letters, versions, series and their changes, halls in other fields.

use chrono_tz::Tz;

use super::*;
use crate::domain::halls_file::HallField;
use crate::domain::interval::Interval;
use crate::domain::schedule::WarningKind;
use crate::domain::time::{HOUR, Ms};

fn calendar(body: &str) -> Vec<u8> {
    format!("BEGIN:VCALENDAR\nVERSION:2.0\n{body}\nEND:VCALENDAR\n").replace('\n', "\r\n").into_bytes()
}

fn event(body: &str) -> String {
    format!("BEGIN:VEVENT\nLOCATION:Saal 1\nDURATION:PT1H\n{body}\nEND:VEVENT")
}

fn read_in(body: &str, options: &ReadOptions) -> Schedule {
    read(&calendar(body), options).unwrap_or_else(|e| panic!("{e}: {body}"))
}

fn starts(schedule: &Schedule) -> Vec<String> {
    schedule.talks.iter().map(|t| t.slot.start.rfc3339(Tz::UTC)).collect()
}

/// STANDARD and DAYLIGHT of pretalx: the zone's name is the letters of its standard time.
fn zone(name: &str, standard: (&str, &str, &str), daylight: (&str, &str, &str)) -> String {
    let part = |kind: &str, (start, rule, to): (&str, &str, &str), from: &str| {
        format!("BEGIN:{kind}\nDTSTART:{start}\nRRULE:{rule}\nTZOFFSETFROM:{from}\nTZOFFSETTO:{to}\nEND:{kind}")
    };
    format!(
        "BEGIN:VTIMEZONE\nTZID:{name}\n{}\n{}\nEND:VTIMEZONE",
        part("STANDARD", standard, daylight.2),
        part("DAYLIGHT", daylight, standard.2)
    )
}

#[test]
fn letters_mean_the_zone_of_that_name_in_the_file() {
    let (autumn, spring) = ("FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10", "FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3");
    for (name, own, winter, summer, shown) in [
        (
            "GMT",
            zone("GMT", ("20001029T030000", autumn, "+0000"), ("20000326T020000", spring, "+0100")),
            10,
            9,
            "Europe/London",
        ),
        (
            "CET",
            zone("CET", ("20001029T040000", autumn, "+0100"), ("20000326T030000", spring, "+0200")),
            9,
            8,
            "Europe/Berlin",
        ),
        (
            "EST",
            zone(
                "EST",
                ("20071104T020000", "FREQ=YEARLY;BYDAY=1SU;BYMONTH=11", "-0500"),
                ("20070311T030000", "FREQ=YEARLY;BYDAY=2SU;BYMONTH=3", "-0400"),
            ),
            15,
            14,
            "America/New_York",
        ),
        // Rules that ended, and others after them.
        (
            "-04",
            zone(
                "-04",
                ("20190407T010000", "FREQ=YEARLY;BYDAY=1SU;BYMONTH=4;UNTIL=20280402T040000Z", "-0400"),
                ("20190908T010000", "FREQ=YEARLY;BYDAY=1SU;BYMONTH=9", "-0300"),
            ),
            13,
            14,
            "America/Santiago",
        ),
    ] {
        let talks = format!(
            "{}\n{}",
            event(&format!("UID:w\nDTSTART;TZID={name}:20270111T100000")),
            event(&format!("UID:s\nDTSTART;TZID={name}:20270710T100000"))
        );
        let found = read_in(&format!("{own}\n{talks}"), &ReadOptions::new(Tz::UTC));
        assert_eq!(
            starts(&found),
            [format!("2027-01-11T{winter:02}:00:00Z"), format!("2027-07-10T{summer:02}:00:00Z")],
            "{name}"
        );
        assert_eq!(found.time_zone.as_deref(), Some(shown));
        // The zone may also stand after the talks.
        let after = read_in(&format!("{talks}\n{own}"), &ReadOptions::new(Tz::UTC));
        assert_eq!(starts(&after), starts(&found));
    }
}

#[test]
fn names_that_exchange_shows_go_by_the_calendar_or_the_table() {
    let name = "(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna";
    let july = |zone: &str| event(&format!("UID:e\nDTSTART;TZID={zone}:20270715T100000"));
    let own = zone(
        "(UTC+01:00) Amsterdam\\, Berlin\\, Bern\\, Rome\\, Stockholm\\, Vienna",
        ("16010101T030000", "FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10", "+0100"),
        ("16010101T020000", "FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3", "+0200"),
    );
    for body in [format!("{own}\n{}", july(&format!("\"{name}\""))), july(&format!("\"{name}\"")), july(name)] {
        let found = read_in(&body, &ReadOptions::new(Tz::UTC));
        assert_eq!(starts(&found), ["2027-07-15T08:00:00Z"], "{body}");
        // Without quotes it is read all the same, and that is said.
        assert_eq!(found.warnings.len(), usize::from(body.contains(&format!("TZID={name}"))), "{:?}", found.warnings);
    }
    let unknown = read(&calendar(&july("\"(UTC+01:00) Nowhere\"")), &ReadOptions::new(Tz::UTC));
    assert!(matches!(unknown, Err(CalendarError::UnknownZone { .. })), "never by the offset in the name");
}

#[test]
fn the_newest_version_of_an_entry_stays() {
    let version =
        |lines: &str, hour: u8| event(&format!("UID:re\nSUMMARY:Talk\nDTSTART:20261227T{hour}0000Z\n{lines}"));
    let old = version("SEQUENCE:1\nSTATUS:CANCELLED", 10);
    let new = version("SEQUENCE:2\nSTATUS:CONFIRMED", 12);
    let modified = |day: u8, hour: u8| version(&format!("LAST-MODIFIED:202611{day:02}T000000Z"), hour);
    for (a, b) in [(&old, &new), (&new, &old), (&modified(1, 10), &modified(2, 12))] {
        let found = read_in(&format!("{a}\n{b}"), &ReadOptions::new(Tz::UTC));
        assert_eq!(starts(&found), ["2026-12-27T12:00:00Z"]);
        assert!(!found.talks[0].cancelled);
        assert_eq!(found.warnings.iter().map(|w| w.kind).collect::<Vec<_>>(), [WarningKind::Superseded]);
    }
    // One UID on talks that are none of each other's versions.
    let many: Vec<_> = (0..5)
        .map(|n| {
            event(&format!(
                "UID:same\nSUMMARY:Talk {n}\nSEQUENCE:{n}\nLAST-MODIFIED:2026110{}T000000Z\nDTSTART:20261227T1{n}0000Z",
                n + 1
            ))
        })
        .collect();
    assert_eq!(read_in(&many.join("\n"), &ReadOptions::new(Tz::UTC)).talks.len(), 5);
    let two = [
        event("UID:x\nSUMMARY:A\nDTSTART:20261227T100000Z\nLAST-MODIFIED:20261101T000000Z"),
        event("UID:x\nSUMMARY:B\nDTSTART:20261227T120000Z\nLAST-MODIFIED:20261102T000000Z"),
    ];
    assert_eq!(read_in(&two.join("\n"), &ReadOptions::new(Tz::UTC)).talks.len(), 2);
}

const DAILY: &str = "UID:d\nSUMMARY:Series\nDTSTART;TZID=Europe/Berlin:20270503T100000\nRRULE:FREQ=DAILY;COUNT=3";

/// A RECURRENCE-ID that names its date in another way than DTSTART does.
#[test]
fn a_change_meets_its_day() {
    for id in [
        "RECURRENCE-ID;TZID=Europe/Berlin:20270504T100000",
        "RECURRENCE-ID:20270504T080000Z",
        "RECURRENCE-ID;VALUE=DATE:20270504",
        "RECURRENCE-ID;TZID=Europe/Berlin:20270504T000000",
        "RECURRENCE-ID:20270504T000000Z",
        "RECURRENCE-ID:20270504T100000Z",
        "RECURRENCE-ID;TZID=America/New_York:20270504T100000",
        "RECURRENCE-ID;TZID=Europe/Berlin:20270504T093000",
    ] {
        let change = event(&format!(
            "UID:d\nSUMMARY:Series\n{id}\nDTSTART;TZID=Europe/Berlin:20270504T120000\nSTATUS:CANCELLED"
        ));
        let found = read_in(&format!("{}\n{change}", event(DAILY)), &ReadOptions::new(Tz::UTC));
        let got: Vec<_> = found.talks.iter().map(|t| (t.slot.start.rfc3339(Tz::UTC), t.cancelled)).collect();
        let want = [("2027-05-03T08:00:00Z", false), ("2027-05-05T08:00:00Z", false), ("2027-05-04T10:00:00Z", true)];
        assert_eq!(got, want.map(|(at, off)| (at.to_owned(), off)), "{id}");
        assert_eq!(
            found.talks[2].recurrence_id.as_deref(),
            Some("20270504T080000Z"),
            "{id}: one key, however it is written"
        );
        assert!(found.warnings.is_empty(), "{id}: {:?}", found.warnings);
    }
    let none = event("UID:d\nSUMMARY:Series\nRECURRENCE-ID:20270520T080000Z\nDTSTART:20270520T080000Z");
    let found = read_in(&format!("{}\n{none}", event(DAILY)), &ReadOptions::new(Tz::UTC));
    assert_eq!(found.talks.len(), 4);
    assert!(found.warnings[0].message.contains("meets no date"), "{:?}", found.warnings);
}

#[test]
fn a_change_of_this_and_all_later_dates() {
    let change = "BEGIN:VEVENT\nUID:d\nSUMMARY:Moved\nLOCATION:Saal 2\nRECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Europe/Berlin:20270504T100000\nDTSTART;TZID=Europe/Berlin:20270504T140000\nDURATION:PT90M\nEND:VEVENT";
    let found = read_in(&format!("{}\n{change}", event(DAILY)), &ReadOptions::new(Tz::UTC));
    let got: Vec<_> = found
        .talks
        .iter()
        .map(|t| (t.slot.start.rfc3339(Tz::UTC), t.slot.len_ms() / 60_000, t.hall.as_deref().unwrap_or("")))
        .collect();
    let want = [
        ("2027-05-03T08:00:00Z", 60, "Saal 1"),
        ("2027-05-04T12:00:00Z", 90, "Saal 2"),
        ("2027-05-05T12:00:00Z", 90, "Saal 2"),
    ];
    assert_eq!(got, want.map(|(at, len, hall)| (at.to_owned(), len, hall)));
}

#[test]
fn lists_of_dates() {
    let options = ReadOptions::new(Tz::UTC);
    let periods =
        "UID:p\nDTSTART:20270104T100000Z\nRDATE;VALUE=PERIOD:20270105T100000Z/20270105T123000Z,20270106T090000Z/PT15M";
    let found = read_in(&event(periods), &options);
    let got: Vec<_> = found.talks.iter().map(|t| (t.slot.start.rfc3339(Tz::UTC), t.slot.len_ms() / 60_000)).collect();
    let want = [("2027-01-04T10:00:00Z", 60), ("2027-01-05T10:00:00Z", 150), ("2027-01-06T09:00:00Z", 15)];
    assert_eq!(got, want.map(|(at, len)| (at.to_owned(), len)));
    // More than a thousand, in several lines.
    let lines: Vec<_> = (0..30)
        .map(|day| {
            let dates: Vec<_> = (0..50)
                .map(|n| format!("202702{:02}T{:02}{:02}00Z", day % 28 + 1, n % 24, day / 28 * 30 + n / 24))
                .collect();
            format!("RDATE:{}", dates.join(","))
        })
        .collect();
    let found = read_in(&event(&format!("UID:l\nDTSTART:20270104T100000Z\n{}", lines.join("\n"))), &options);
    assert_eq!(found.talks.len(), 1501);
}

#[test]
fn what_cannot_be_followed_is_said_and_the_rest_is_kept() {
    for (rule, dates) in [
        ("RRULE:FREQ=DAILY;X-EXTRA=1;COUNT=3", 3),
        ("RRULE:FREQ=DAILY;COUNT=3\nEXRULE:FREQ=DAILY;INTERVAL=2;COUNT=2", 3),
        ("RRULE:RSCALE=HEBREW;FREQ=DAILY;COUNT=3", 3),
        ("RRULE:FREQ=WEEKLY;BYDAY=0MO,MO;COUNT=3", 3),
        ("RRULE:FREQ=SOMETIMES", 1),
    ] {
        let found = read_in(&event(&format!("UID:x\nDTSTART:20270503T100000Z\n{rule}")), &ReadOptions::new(Tz::UTC));
        assert_eq!((found.talks.len(), found.warnings.len()), (dates, 1), "{rule}: {:?}", found.warnings);
    }
}

/// 2026-12-01T00:00:00Z and two years from then.
fn window() -> Interval {
    let now = Ms(1_796_083_200_000);
    Interval::new(now, now.plus(731 * 24 * HOUR))
}

#[test]
fn long_series_give_the_dates_of_the_window() {
    let options = ReadOptions { window: Some(window()), ..ReadOptions::new(Tz::UTC) };
    let count = |body: &str| read_in(&event(body), &options).talks.len();
    assert_eq!(count("UID:a\nDTSTART;TZID=Europe/Berlin:20200106T190000\nRRULE:FREQ=DAILY"), 731);
    assert_eq!(count("UID:b\nDTSTART;TZID=Europe/Berlin:20150106T210000\nRRULE:FREQ=MONTHLY;BYDAY=TU;BYSETPOS=1"), 24);
    assert_eq!(count("UID:c\nDTSTART:20000227T210000Z\nRRULE:FREQ=YEARLY"), 2);
    assert_eq!(count("UID:d\nDTSTART:20200106T190000Z\nRRULE:FREQ=DAILY;COUNT=2600"), 79);
    // A conference's own days stay, long ago too.
    assert_eq!(count("UID:e\nDTSTART:20101227T100000Z\nRRULE:FREQ=DAILY;COUNT=4"), 4);
    assert_eq!(count("UID:f\nDTSTART:20101227T100000Z\nRDATE:20101228T100000Z,20101229T100000Z"), 3);
    // The past date of a series that goes on, changed then.
    let change =
        event("UID:a\nRECURRENCE-ID;TZID=Europe/Berlin:20210106T190000\nDTSTART;TZID=Europe/Berlin:20210106T200000");
    let series = event("UID:a\nDTSTART;TZID=Europe/Berlin:20200106T190000\nRRULE:FREQ=DAILY");
    let found = read_in(&format!("{series}\n{change}"), &options);
    assert_eq!((found.talks.len(), found.warnings.len()), (731, 0), "{:?}", found.warnings);
    let over = read_in(&event("UID:g\nDTSTART:20100106T190000Z\nRRULE:FREQ=WEEKLY;UNTIL=20200101T000000Z"), &options);
    assert_eq!((over.talks.len(), over.warnings[0].kind), (0, WarningKind::SeriesOutside));
}

#[test]
fn the_hall_of_talks_without_location() {
    let talk = |lines: &str| {
        format!("BEGIN:VEVENT\nUID:{}\nDTSTART:20270110T100000Z\nDURATION:PT1H\n{lines}\nEND:VEVENT", lines.len())
    };
    let names = || vec!["Saal 1".to_owned(), "Saal 12".to_owned()];
    let hall = |lines: &str, rule| {
        let options = ReadOptions { hall_from: Some(rule), hall_names: names(), ..ReadOptions::new(Tz::UTC) };
        read_in(&talk(lines), &options).talks[0].hall.clone()
    };
    assert_eq!(hall("SUMMARY:T\nCATEGORIES:Talk,saal 1", HallField::Categories).as_deref(), Some("Saal 1"));
    assert_eq!(hall("SUMMARY:T\nCATEGORIES:Track A", HallField::Categories).as_deref(), Some("Track A"));
    assert_eq!(hall("SUMMARY:[Saal 12] T", HallField::Summary).as_deref(), Some("Saal 12"));
    assert_eq!(hall("SUMMARY:Saal 123", HallField::Summary), None);
    assert_eq!(
        hall("SUMMARY:T\nX-ALT-DESC;FMTTYPE=text/html:<p>in <b>Saal 1</b></p>", HallField::AltDescription).as_deref(),
        Some("Saal 1")
    );
    assert_eq!(
        hall("SUMMARY:T\nLOCATION:Saal 12\nCATEGORIES:Saal 1", HallField::Categories).as_deref(),
        Some("Saal 12")
    );
    for (lines, names, want) in [
        ("SUMMARY:T (Saal 1)", names(), "hall_from = \"SUMMARY\""),
        ("SUMMARY:T\nCATEGORIES:Track A", Vec::new(), "hall_from = \"CATEGORIES\""),
    ] {
        let options = ReadOptions { hall_names: names, ..ReadOptions::new(Tz::UTC) };
        let found = read_in(&talk(lines), &options);
        assert!(found.warnings[0].message.contains(want), "{:?}", found.warnings);
    }
}

#[test]
fn pages_of_meetings_are_no_streams() {
    let found = read_in(
        &event(
            "UID:z\nDTSTART:20270110T100000Z\nCONFERENCE;FEATURE=VIDEO:https://us02web.zoom.us/j/1\nCONFERENCE;FEATURE=VIDEO:https://h/a.m3u8",
        ),
        &ReadOptions::new(Tz::UTC),
    );
    assert_eq!(found.talks[0].stream_urls, ["https://h/a.m3u8"]);
    assert_eq!(found.warnings[0].kind, WarningKind::BadStream);
}
