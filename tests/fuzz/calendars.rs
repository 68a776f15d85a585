//! Calendars and schedule.xml.

use chrono_tz::Tz;
use streamrip::ical::{ReadOptions, read};
use streamrip::schedule_xml;

use crate::harness::{fuzz, measured};
use crate::mutation::Samples;

pub const OPTIONS: ReadOptions = ReadOptions::new(Tz::Europe__Berlin);

const WORDS: &[&[u8]] = &[
    b"BEGIN:VEVENT\r\n",
    b"END:VEVENT\r\n",
    b"BEGIN:VCALENDAR\r\n",
    b"END:VCALENDAR\r\n",
    b"BEGIN:VTIMEZONE\r\nTZID:X\r\n",
    b"RRULE:FREQ=SECONDLY\r\n",
    b"RRULE:FREQ=YEARLY;BYDAY=5MO;BYMONTHDAY=30;BYMONTH=2\r\n",
    b"RDATE:20101227T100000Z,20101228T100000Z\r\n",
    b"EXDATE;TZID=Europe/Berlin:20101227T100000\r\n",
    b"RECURRENCE-ID:20101227T100000Z\r\n",
    b"DURATION:-P999999999999W\r\n",
    b"DTSTART:99991231T235960Z\r\n",
    b"DTEND:00010101T000000\r\n",
    b"TZOFFSETTO:+9999\r\n",
    b"UID:4000@frab.example.org@pentabarf.org\r\n",
    b"\r\n ",
    b"\r\r\n",
    b"\"",
    b";TZID=",
    b";X=\"a\";Y=",
    b"\\",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xc3",
    b"\0",
    "\u{202e}".as_bytes(),
    b"T24",
    b"Europe-Brussels",
    b"99999999999999999999",
];

/// What a talk may take beyond its share of the input, bytes: an empty one has 26, and a rule of a few words
/// makes a thousand. 100,000 are the most, so a calendar takes 200 MB beside twenty times its length.
pub const A_TALK: usize = 2048;

#[test]
fn calendars_are_read_or_refused() {
    let samples = Samples::of(&["ics"], WORDS);
    fuzz(&samples.mutated(), |input| {
        let bytes = input.0;
        let (read, mut cost) = measured(|| read(&bytes, &OPTIONS));
        match read {
            Ok(schedule) => {
                cost.memory = cost.memory.saturating_sub(A_TALK * schedule.talks.len());
                for talk in &schedule.talks {
                    assert!(talk.slot.start <= talk.slot.end);
                    for text in talk.hall.iter().chain([&talk.title]) {
                        assert!(!text.contains(char::is_control), "{text:?}");
                    }
                }
            }
            Err(e) => assert!(!e.to_string().is_empty()),
        }
        cost.is_within_bounds(bytes.len());
    });
}

#[test]
fn schedule_xml_is_read_or_refused() {
    const WORDS: &[&[u8]] = &[
        b"<event id=\"1\">",
        b"</event>",
        b"<!DOCTYPE a [<!ENTITY b \"bbbbbbbb\"><!ENTITY c \"&b;&b;&b;\">]>",
        b"<![CDATA[",
        b"]]>",
        b"&c;",
        b"&#x110000;",
        b"<!--",
        b" xmlns:a=\"b\"",
        b"<schedule>",
        b"<day><room>",
        b"<optout>true</optout>",
    ];
    let samples = Samples::of(&["xml"], WORDS);
    fuzz(&samples.mutated(), |input| {
        let bytes = input.0;
        let (_, cost) = measured(|| schedule_xml::read(&bytes));
        cost.is_within_bounds(bytes.len());
    });
}
