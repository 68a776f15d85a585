//! Tests of whole calendars.

use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;
use crate::domain::schedule::{ScheduledTalk, WarningKind};
use crate::domain::time::{HOUR, MINUTE, Ms};

const OPTIONS: ReadOptions = ReadOptions::new(Tz::Europe__Berlin);

fn calendar(body: &str) -> Vec<u8> {
    format!("BEGIN:VCALENDAR\nVERSION:2.0\n{body}\nEND:VCALENDAR\n").replace('\n', "\r\n").into_bytes()
}

fn event(body: &str) -> String {
    format!("BEGIN:VEVENT\n{body}\nEND:VEVENT")
}

fn one(body: &str) -> ScheduledTalk {
    let read = read(&calendar(&event(body)), &OPTIONS).expect("read");
    assert_eq!(read.talks.len(), 1, "{body}: {:?}", read.warnings);
    read.talks.into_iter().next().expect("one")
}

fn kinds(schedule: &Schedule) -> Vec<&'static str> {
    schedule.warnings.iter().map(|w| w.kind.as_str()).collect()
}

fn start(talk: &ScheduledTalk) -> String {
    talk.slot.start.rfc3339(Tz::UTC)
}

#[test]
fn a_talk_of_27c3() {
    let talk = one(
        "DURATION:PT1H00M\nLOCATION: Saal 1\nURL:http://events.ccc.de/congress/2010/Fahrplan/events/4302.en.html\n\
         DTSTART;TZID=Europe/Berlin:20101227T113000\nUID:4302@27C3@pentabarf.org\nSUMMARY:27C3 Keynote - We come\n  in Peace\\, again\nSTATUS:CONFIRMED",
    );
    assert_eq!(start(&talk), "2010-12-27T10:30:00Z");
    assert_eq!(talk.slot.len_ms(), HOUR);
    assert_eq!(talk.hall.as_deref(), Some("Saal 1"));
    assert_eq!(talk.title, "27C3 Keynote - We come in Peace, again");
    assert_eq!(talk.uid.as_deref(), Some("4302@27C3@pentabarf.org"));
    assert!(!talk.cancelled && talk.stream_urls.is_empty());
    assert_eq!(talk.page_url.as_deref(), Some("http://events.ccc.de/congress/2010/Fahrplan/events/4302.en.html"));
    assert_eq!(talk.line, 3);
}

#[test]
fn starts_and_ends() {
    for (body, want_start, want_ms) in [
        ("DTSTART:20101227T103000Z\nDTEND:20101227T113000Z", "2010-12-27T10:30:00Z", HOUR),
        (
            "DTSTART;TZID=Europe/Berlin:20101228T001500\nDTEND;TZID=Europe/Berlin:20101228T011500",
            "2010-12-27T23:15:00Z",
            HOUR,
        ),
        // The end in another zone.
        ("DTSTART;TZID=Europe/Berlin:20101227T113000\nDTEND:20101227T113000Z", "2010-12-27T10:30:00Z", HOUR),
        ("TZID:Europe/Lisbon\nDTSTART:20101227T113000\nDURATION:PT30M", "2010-12-27T11:30:00Z", 30 * MINUTE),
        ("DTSTART;VALUE=DATE:20101227", "2010-12-26T23:00:00Z", 24 * HOUR),
        // A day of 25 hours.
        ("DTSTART;TZID=Europe/Berlin:20101030T120000\nDURATION:P1D", "2010-10-30T10:00:00Z", 25 * HOUR),
        ("DTSTART;TZID=Europe/Berlin:20101030T120000\nDURATION:PT24H", "2010-10-30T10:00:00Z", 24 * HOUR),
        // Over both clock changes.
        (
            "DTSTART;TZID=Europe/Berlin:20101031T013000\nDTEND;TZID=Europe/Berlin:20101031T033000",
            "2010-10-30T23:30:00Z",
            3 * HOUR,
        ),
        (
            "DTSTART;TZID=Europe/Berlin:20110327T013000\nDTEND;TZID=Europe/Berlin:20110327T033000",
            "2011-03-27T00:30:00Z",
            HOUR,
        ),
        ("DTSTART;TZID=Europe/Berlin:20110327T023000\nDURATION:PT1H", "2011-03-27T01:30:00Z", HOUR),
        ("DTSTART:20190204T83000Z\nDURATION:PT1H", "2019-02-04T08:30:00Z", HOUR),
        ("DTSTART:20101227T103000Z\nDTEND:garbage\nDURATION:PT20M", "2010-12-27T10:30:00Z", 20 * MINUTE),
    ] {
        let talk = one(body);
        assert_eq!((start(&talk).as_str(), talk.slot.len_ms()), (want_start, want_ms), "{body}");
    }
}

#[test]
fn what_is_odd_is_a_warning_and_loses_nothing_else() {
    let good = event("UID:good\nDTSTART:20101227T103000Z\nDURATION:PT1H\nSUMMARY:ok");
    for (odd, talks, want) in [
        (event("UID:a\nDTSTART:20101227T103000Z"), 2, vec!["no-end"]),
        (event("UID:a\nDTSTART:20101227T103000Z\nDTEND:20101227T093000Z"), 2, vec!["no-end"]),
        (event("UID:a\nDTSTART:20101227T103000Z\nDTEND:20101227T103000Z"), 2, vec!["zero-length"]),
        (event("UID:a\nDTSTART:20101227T103000Z\nDURATION:PT0S"), 2, vec!["zero-length"]),
        (event("UID:a\nDTSTART:20101227T103000Z\nDURATION:-PT1H"), 2, vec!["bad-event", "no-end"]),
        (event("UID:a\nDTSTART:20101327T103000Z\nDURATION:PT1H"), 1, vec!["bad-event"]),
        (event("UID:a\nSUMMARY:no time"), 1, vec!["bad-event"]),
        (event("UID:a\nDTSTART:20101227T83000Z\nDURATION:PT1H"), 2, vec!["bad-event"]),
        (event("UID:a\n---\nDTSTART:20101227T103000Z\nDURATION:PT1H"), 2, vec!["bad-event"]),
        (event("UID:a\nDTSTART;TZID=\"x:20101227T103000Z\nDURATION:PT1H"), 1, vec!["bad-event", "bad-event"]),
        ("BEGIN:VEVENT\nUID:a\nDTSTART:20101227T103000Z\nDURATION:PT1H".to_owned(), 2, vec!["bad-event"]),
        ("-- junk --\nEND:VEVENT\nEND:NOTHING\nBEGIN:VTODO\nDTSTART:1\nEND:VTODO".to_owned(), 1, vec![]),
        (event("UID:a\nDTSTART:20101227T113000\nDURATION:PT1H"), 2, vec!["floating-time"]),
        (event("UID:a\nDTSTART;TZID=Europe-Brussels:20101227T113000\nDURATION:PT1H"), 2, vec!["unknown-time-zone"]),
    ] {
        let read = read(&calendar(&format!("{odd}\n{good}")), &OPTIONS).expect("read");
        assert_eq!((read.talks.len(), kinds(&read)), (talks, want), "{odd}: {:?}", read.warnings);
        assert!(read.talks.iter().any(|t| t.uid.as_deref() == Some("good")), "{odd}");
    }
    let odd = read(&calendar(&event("UID:a\nDTSTART:nonsense")), &OPTIONS).expect("read");
    assert_eq!(odd.warnings[0].message, "line 3: it was left out: DTSTART in line 5: \"nonsense\" is not a time");
    assert_eq!(odd.warnings[0].talk.as_deref(), Some("a"));
}

#[test]
fn an_alarm_inside_a_talk_is_not_the_talk() {
    let talk = one(
        "BEGIN:VALARM\nTRIGGER:-PT5M\nDURATION:PT1M\nSUMMARY:ring\nATTACH;FMTTYPE=audio/basic:http://h/bell.au\nEND:VALARM\n\
         DTSTART:20101227T103000Z\nDURATION:PT1H\nSUMMARY:talk",
    );
    assert_eq!((talk.title.as_str(), talk.slot.len_ms()), ("talk", HOUR));
    assert!(talk.stream_urls.is_empty());
}

#[test]
fn who_names_the_zone() {
    let floating = event("UID:a\nDTSTART:20101227T120000\nDURATION:PT1H");
    let named = event("UID:a\nDTSTART;TZID=Europe/Berlin:20101227T120000\nDURATION:PT1H");
    let wr = format!("X-WR-TIMEZONE:America/New_York\n{floating}");
    let tokyo = Some(Tz::Asia__Tokyo);
    let lisbon = Some(Tz::Europe__Lisbon);
    for (body, zone, halls_zone, want, warnings) in [
        (&floating, None, None, "2010-12-27T11:00:00Z", 1),
        (&floating, None, lisbon, "2010-12-27T12:00:00Z", 0),
        (&wr, None, lisbon, "2010-12-27T17:00:00Z", 0),
        (&wr, tokyo, lisbon, "2010-12-27T03:00:00Z", 0),
        (&named, tokyo, lisbon, "2010-12-27T11:00:00Z", 0),
    ] {
        let options = ReadOptions { zone, halls_zone, ..OPTIONS };
        let read = read(&calendar(body), &options).expect("read");
        assert_eq!((start(&read.talks[0]).as_str(), read.warnings.len()), (want, warnings), "{body} {zone:?}");
        assert!(read.time_zone.is_some());
    }
    let utc = event("UID:a\nDTSTART:20101227T120000Z\nDURATION:PT1H");
    assert_eq!(read(&calendar(&utc), &OPTIONS).expect("read").time_zone, None);
    let told = format!("X-WR-TIMEZONE:Europe/Berlin\n{utc}");
    assert_eq!(read(&calendar(&told), &OPTIONS).expect("read").time_zone.as_deref(), Some("Europe/Berlin"));
}

/// Reads as a first import does on a machine in Tokyo, then as the next one, for which the default is the zone
/// that the event got.
fn twice(bytes: &[u8]) -> Option<(Schedule, Schedule)> {
    let mut options = ReadOptions { default_zone: Tz::Asia__Tokyo, ..OPTIONS };
    let first = read(bytes, &options).ok()?;
    if let Some(zone) = &first.time_zone {
        options.default_zone = zone.parse().expect("a zone");
    }
    Some((first, read(bytes, &options).expect("read again")))
}

#[test]
fn times_without_zone_do_not_move_when_the_event_has_got_its_zone() {
    let floating = event("UID:f\nDTSTART:20101227T120000\nDURATION:PT1H");
    let day = event("UID:d\nDTSTART;VALUE=DATE:20101227");
    let named = event("UID:n\nDTSTART;TZID=Europe/Berlin:20101227T120000\nDURATION:PT1H");
    let lisbon = named.replace("Berlin", "Lisbon");
    let end = event("UID:e\nDTSTART;TZID=Europe/Berlin:20101227T120000\nDTEND:20101227T130000");
    let utc_and_end = event("UID:u\nDTSTART:20101227T110000Z\nDTEND:20101227T130000");
    let daily = event(
        "UID:r\nDTSTART;TZID=Europe/Berlin:20101227T120000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20101228T120000",
    );
    let instance = event("UID:r\nRECURRENCE-ID:20101227T120000\nDTSTART:20101227T130000\nDURATION:PT1H");
    let with_zone = "END:VCALENDAR\nBEGIN:VCALENDAR\nX-WR-TIMEZONE:Europe/Berlin";
    // 2010-12-27 in UTC.
    let midnight = Ms(1_293_408_000_000);
    let (berlin, tokyo) = (Some("Europe/Berlin"), Some("Asia/Tokyo"));
    for (events, zone, starts, minutes) in [
        (vec![&floating], tokyo, vec![3], 60),
        (vec![&floating, &named], berlin, vec![11, 11], 60),
        (vec![&named, &floating, &named], berlin, vec![11, 11, 11], 60),
        // One talk does not draw the others with it.
        (vec![&floating, &floating, &named], tokyo, vec![3, 3, 11], 60),
        (vec![&named, &lisbon, &lisbon, &floating], Some("Europe/Lisbon"), vec![11, 12, 12, 12], 60),
        (vec![&named, &lisbon], berlin, vec![11, 12], 60),
        (vec![&day, &named], berlin, vec![-1, 11], 24 * 60),
        (vec![&day], tokyo, vec![-9], 24 * 60),
        (vec![&end], berlin, vec![11], 60),
        (vec![&daily, &instance], berlin, vec![2 * 24 + 11, 12], 60),
        // The zone that the one calendar names is also that of ends in the other.
        (vec![&utc_and_end, &with_zone.to_owned()], berlin, vec![11], 60),
    ] {
        let body = events.into_iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        let (first, second) = twice(&calendar(&body)).expect("read");
        assert_eq!(first, second, "{body}");
        let hour = |t: &ScheduledTalk| t.slot.start.since(midnight) / HOUR;
        assert_eq!(first.talks.iter().map(hour).collect::<Vec<_>>(), starts, "{body}");
        assert_eq!((first.time_zone.as_deref(), first.talks[0].slot.len_ms() / MINUTE), (zone, minutes), "{body}");
        assert!(first.warnings.iter().all(|w| w.message.contains(zone.unwrap_or_default())), "{:?}", first.warnings);
    }
}

#[test]
fn a_zone_nobody_knows_is_refused_with_the_fix() {
    let body = event("UID:4711\nDTSTART;TZID=Nowhere/Middle:20101227T120000\nDURATION:PT1H");
    let refused = read(&calendar(&body), &OPTIONS).expect_err("refused").to_string();
    for part in ["line 5", "Nowhere/Middle", "4711", "--tz"] {
        assert!(refused.contains(part), "{refused}");
    }
    let named = ReadOptions { zone: Some(Tz::Europe__Berlin), ..OPTIONS };
    let read_with = read(&calendar(&body), &named).expect("read");
    assert_eq!(kinds(&read_with), ["unknown-time-zone"]);
    let zone = "BEGIN:VTIMEZONE\nTZID:Nowhere/Middle\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0530\nTZOFFSETTO:+0530\nEND:STANDARD\nEND:VTIMEZONE";
    let own = read(&calendar(&format!("{body}\n{zone}")), &OPTIONS).expect("read");
    assert_eq!(start(&own.talks[0]), "2010-12-27T06:30:00Z");
    // The calendar's own VTIMEZONE wins over an IANA name that contradicts it.
    let body = body.replace("Nowhere/Middle", "Europe/Berlin");
    let zone = zone.replace("Nowhere/Middle", "Europe/Berlin");
    let iana = read(&calendar(&format!("{zone}\n{body}")), &OPTIONS).expect("read");
    assert_eq!(start(&iana.talks[0]), "2010-12-27T06:30:00Z");
}

#[test]
fn recurrences() {
    let weekly =
        "UID:w\nDTSTART;TZID=Europe/Berlin:20110320T200000\nDURATION:PT1H\nSUMMARY:w\nRRULE:FREQ=WEEKLY;COUNT=4";
    let body = format!(
        "{}\n{}",
        event(&format!("{weekly}\nEXDATE;TZID=Europe/Berlin:20110403T200000")),
        event(
            "UID:w\nRECURRENCE-ID;TZID=Europe/Berlin:20110327T200000\nDTSTART;TZID=Europe/Berlin:20110327T213000\nDURATION:PT2H\nSUMMARY:later"
        ),
    );
    let found = read(&calendar(&body), &OPTIONS).expect("read");
    let got: Vec<_> =
        found.talks.iter().map(|t| (start(t), t.title.clone(), t.recurrence_id.clone().unwrap_or_default())).collect();
    let want = [
        ("2011-03-20T19:00:00Z", "w", "20110320T190000Z"),
        // The same time on the clock after the change.
        ("2011-04-10T18:00:00Z", "w", "20110410T180000Z"),
        ("2011-03-27T19:30:00Z", "later", "20110327T180000Z"),
    ];
    assert_eq!(got, want.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    let endless = read(&calendar(&event(&weekly.replace(";COUNT=4", ""))), &OPTIONS).expect("read");
    assert_eq!((endless.talks.len(), kinds(&endless)), (1000, vec!["bad-event"]));
    let broken = read(&calendar(&event(&weekly.replace("WEEKLY", "SOMETIMES"))), &OPTIONS).expect("read");
    assert_eq!((broken.talks.len(), kinds(&broken)), (1, vec!["bad-event"]));
    let dates = "UID:d\nDTSTART;VALUE=DATE-TIME:20101227T103000Z\nDURATION:PT1H\nRDATE:20101228T103000Z,20101229T103000Z/PT2H\nEXDATE;VALUE=DATE:20101228";
    let dates = read(&calendar(&event(dates)), &OPTIONS).expect("read");
    assert_eq!(dates.talks.len(), 2, "{:?}", dates.warnings);
}

#[test]
fn streams_of_a_talk() {
    let talk = one("DTSTART:20101227T103000Z\nDURATION:PT1H\nURL:http://page/\n\
         ATTACH;FMTTYPE=application/pdf:http://h/slides.pdf\nATTACH;FMTTYPE=video/mp4:http://h/c.mp4\n\
         ATTACH;FMTTYPE=application/vnd.apple.mpegurl:http://h/c.m3u8\nATTACH;FMTTYPE=audio/ogg;ENCODING=BASE64;VALUE=BINARY:AAAA\n\
         CONFERENCE;VALUE=URI;FEATURE=CHAT:xmpp:room@h\nCONFERENCE;VALUE=URI;FEATURE=AUDIO,VIDEO:https://h/b\n\
         CONFERENCE;FEATURE=FEED;LABEL=\"x, y\":rtmp://h/f\nX-STREAM-URL:http://h/a\nX-STREAM-URL:http://h/a");
    assert_eq!(talk.stream_urls, ["http://h/a", "https://h/b", "rtmp://h/f", "http://h/c.mp4", "http://h/c.m3u8"]);
    assert_eq!(talk.page_url.as_deref(), Some("http://page/"));
}

#[test]
fn states_and_people() {
    let talk = one(
        "DTSTART:20101227T103000Z\nDURATION:PT1H\nSTATUS:cancelled\nATTENDEE;CN=\"Jane Doe\";CUTYPE=INDIVIDUAL;ROLE=REQ-PARTICIPANT:invalid:nomail\n\
         ATTENDEE;CN=Room 5;CUTYPE=ROOM:invalid:nomail\nATTENDEE;CN=Guest;PARTSTAT=ACCEPTED:mailto:x@y",
    );
    assert!(talk.cancelled);
    assert_eq!(talk.speakers, ["Jane Doe"]);
    assert_eq!(talk.title, "(no title)");
    assert!(talk.hall.is_none() && talk.uid.is_none());
}

#[test]
fn what_is_no_calendar_is_named() {
    let talk = event("UID:a\nDTSTART:20101227T103000Z\nDURATION:PT1H");
    let cut = |bytes: &[u8], at| bytes[..at].to_vec();
    let whole = calendar(&talk);
    for (bytes, want) in [
        (Vec::new(), "empty"),
        (b"\r\n \n".to_vec(), "empty"),
        (b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>".to_vec(), "404 Not Found"),
        (b"{\"error\": 1}".to_vec(), "not a calendar"),
        (talk.clone().into_bytes(), "not a calendar"),
        (cut(&whole, whole.len() - 20), "END:VCALENDAR is missing"),
        (cut(&whole, 40), "END:VCALENDAR is missing"),
        ([whole.clone(), b"BEGIN:VCALENDAR\r\n".to_vec()].concat(), "END:VCALENDAR is missing"),
        (vec![b'x'; MAX_BYTES + 1], "larger than 50 MB"),
    ] {
        let refused = read(&bytes, &OPTIONS).expect_err("refused").to_string();
        assert!(refused.contains(want), "{want}: {refused}");
    }
}

#[test]
fn bytes_of_all_sorts() {
    let body = calendar(&event("UID:a\nDTSTART:20101227T103000Z\nDURATION:PT1H\nSUMMARY:Grüße \u{202e}🎉 a\\,b; c"));
    let text = String::from_utf8(body.clone()).expect("text");
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    // Folded after every single byte of each line's rest.
    let folded: Vec<u8> = text
        .lines()
        .flat_map(|l| {
            let bytes = l.as_bytes();
            let (head, tail) = bytes.split_at(bytes.len().min(8));
            let tail: Vec<u8> = tail.iter().flat_map(|b| [b'\r', b'\n', b' ', *b]).collect();
            [head, &tail, b"\r\n"].concat()
        })
        .collect();
    for (name, bytes) in [
        ("plain", body.clone()),
        ("LF", text.replace("\r\n", "\n").into_bytes()),
        ("CRCRLF", text.replace("\r\n", "\r\r\n").into_bytes()),
        ("CR", text.replace("\r\n", "\r").into_bytes()),
        ("BOM", [b"\xef\xbb\xbf".to_vec(), body.clone()].concat()),
        ("junk before", [b"---\n---\n".to_vec(), body.clone()].concat()),
        ("UTF-16", utf16),
        ("folded", folded),
        (
            "lower case",
            text.replace("BEGIN:VEVENT", "begin:vevent").replace("SUMMARY", "Summary;CHARSET=UTF-8").into_bytes(),
        ),
    ] {
        let got = read(&bytes, &OPTIONS).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(got.talks.len(), 1, "{name}");
        assert_eq!(got.talks[0].title, "Grüße \u{202e}🎉 a,b; c", "{name}");
    }
    let latin1: Vec<u8> =
        text.chars().filter(|c| u32::from(*c) < 256).map(|c| u8::try_from(u32::from(c)).expect("byte")).collect();
    assert_eq!(read(&latin1, &OPTIONS).expect("read").talks[0].title, "Grüße a,b; c");
    let two = [body.clone(), body.clone()].concat();
    assert_eq!(read(&two, &OPTIONS).expect("read").talks.len(), 2);
}

#[test]
fn too_many_talks_are_refused() {
    let many = "BEGIN:VEVENT\nDTSTART:20101227T103000Z\nDURATION:PT1H\nEND:VEVENT\n".repeat(MAX_TALKS + 1);
    assert!(matches!(read(&calendar(&many), &OPTIONS), Err(CalendarError::TooManyTalks { .. })));
    // Dates of rules count too.
    let rules = format!("{}\n", event("UID:w\nDTSTART:20110320T200000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY")).repeat(150);
    assert!(matches!(read(&calendar(&rules), &OPTIONS), Err(CalendarError::TooManyTalks { .. })));
}

/// Pieces that a mutated calendar is made of.
fn seed() -> String {
    let body = [
        "X-WR-TIMEZONE:Europe/Berlin",
        "BEGIN:VTIMEZONE\nTZID:Own\nBEGIN:STANDARD\nDTSTART:16010101T030000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\nEND:STANDARD\nEND:VTIMEZONE",
        &event("UID:1@x\nDTSTART;TZID=Own:20101227T113000\nDTEND;TZID=\"Europe/Berlin\":20101227T123000\nSUMMARY:Grüße\\, Leute\nLOCATION:Saal 1"),
        &event("UID:2@x\nDTSTART:20101227T113000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3;BYDAY=MO,TU\nEXDATE:20101228T113000Z\nSUMMARY:daily"),
        &event("UID:2@x\nRECURRENCE-ID:20101229T113000Z\nDTSTART:20101229T120000\nDURATION:P1DT1H\nX-STREAM-URL:http://h/x\nCONFERENCE;FEATURE=AUDIO,VIDEO;LABEL=\"a:b\":https://h/y"),
    ]
    .join("\n");
    String::from_utf8(calendar(&body)).expect("text")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever is done to a calendar, it is read or refused, and read alike the next time: no panic, no hang.
    #[test]
    fn mutated_calendars_are_read_or_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..6, any::<u8>(), any::<prop::sample::Index>()), 1..12)
    ) {
        let mut bytes = seed().into_bytes();
        for (at, what, byte, other) in edits {
            if bytes.is_empty() {
                break;
            }
            let (at, other) = (at.index(bytes.len()), other.index(bytes.len()));
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => { bytes.remove(at); }
                3 => bytes.truncate(at.max(20)),
                4 => {
                    let piece = bytes[at.min(other)..at.max(other)].to_vec();
                    bytes.extend(piece);
                }
                _ => {
                    let special = b";:=\"\\,\r\n T9Z"[usize::from(byte) % 12];
                    bytes[at] = special;
                }
            }
        }
        if let Some((first, second)) = twice(&bytes) {
            prop_assert_eq!(first, second);
        }
        if let Ok(schedule) = read(&bytes, &OPTIONS) {
            for talk in &schedule.talks {
                prop_assert!(talk.slot.end >= talk.slot.start);
                prop_assert!(!talk.title.is_empty());
                prop_assert!(!talk.title.chars().any(char::is_control));
                prop_assert!(talk.hall.as_ref().is_none_or(|h| !h.is_empty() && h.trim() == h));
            }
        }
    }

    /// Any bytes at all.
    #[test]
    fn any_bytes_inside_a_talk(junk in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a\nDTSTART:20101227T113000Z\n".to_vec();
        bytes.extend(junk);
        bytes.extend(b"\nEND:VEVENT\nBEGIN:VEVENT\nUID:b\nDTSTART:20101227T113000Z\nDURATION:PT1H\nEND:VEVENT\nEND:VCALENDAR\n");
        // Random bytes do not spell END:VCALENDAR: the talk after them is always found.
        let schedule = read(&bytes, &OPTIONS).expect("a calendar");
        prop_assert!(schedule.talks.iter().any(|t| t.uid.as_deref() == Some("b")));
    }
}

/// A line longer than the cap, deep nesting, thousands of zones and rules: read or refused, and this
/// test ends.
#[test]
fn large_and_deep_inputs_end() {
    let deep = "BEGIN:X\n".repeat(100_000);
    let zones: String = (0..5000)
        .map(|n| format!("BEGIN:VTIMEZONE\nTZID:Z{n}\nBEGIN:STANDARD\nDTSTART:16010101T030000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nRRULE:FREQ=DAILY\nEND:STANDARD\nEND:VTIMEZONE\n"))
        .collect();
    let rules = format!(
        "{}\n",
        event("UID:a\nDTSTART:20101227T113000Z\nDURATION:PT1H\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=31")
    )
    .repeat(300);
    for body in [
        deep,
        zones,
        rules,
        event(&format!("DTSTART:20101227T113000Z\nSUMMARY:{}", "x".repeat(3_000_000))),
        event(&format!("DTSTART:20101227T113000Z\nSUMMARY{}:x", ";A=\"b\"".repeat(100_000))),
        event(&format!("DTSTART:20101227T113000Z\n{}", "EXDATE:20101227T113000Z\n".repeat(20_000))),
    ] {
        let _ = read(&calendar(&body), &OPTIONS);
    }
    let kind = WarningKind::BadEvent;
    let cut = read(
        &calendar(&event(&format!("DTSTART:20101227T113000Z\nDURATION:PT1H\nSUMMARY:{}", "ü".repeat(50_000)))),
        &OPTIONS,
    );
    let cut = cut.expect("read");
    assert!(cut.talks[0].title.starts_with('ü') && cut.warnings.iter().all(|w| w.kind == kind));
}
