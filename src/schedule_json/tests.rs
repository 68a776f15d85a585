//! Tests of schedule.json.

use super::*;
use crate::domain::programme::EntryStart;
use crate::domain::time::Ms;

fn json(events: &str) -> String {
    format!(
        r#"{{"schedule": {{"version": "1", "conference": {{"acronym": "gc", "title": "Garden", "time_zone_name": "Europe/Berlin",
        "rooms": [{{"name": "Saal 1", "guid": "r1"}}], "days": [{{"index": 1, "date": "2021-04-02",
        "day_start": "2021-04-02T06:00:00+02:00", "rooms": {{"Saal 1": [{events}]}}}}]}}}}}}"#
    )
}

fn one(event: &str) -> Entry {
    let read = read(json(event).as_bytes()).expect(event);
    assert_eq!(read.entries.len(), 1, "{event}");
    read.entries.into_iter().next().expect("one")
}

#[test]
fn all_that_an_entry_tells_is_read() {
    let entry = one(
        r#"{"guid": "g1", "id": 33, "code": "ABC", "date": "2021-04-02T10:00:00+02:00", "start": "10:00", "duration": "01:30",
        "room": "Saal 1", "url": "https://h/e/talk/ABC/", "title": "Compost & you", "subtitle": "", "track": "Soil",
        "type": "Workshop", "language": "de", "abstract": "Short.", "description": "First line.\nSecond line.",
        "recording_license": "CC BY 4.0", "do_not_record": true, "persons": [{"code": "X", "public_name": "Ann"},
        {"name": "Bob"}], "links": [{"url": "https://h/slides", "title": "Slides"}, {"url": "javascript:x"}],
        "answers": [{"a": [1]}]}"#,
    );
    assert_eq!(entry.title, "Compost & you");
    assert_eq!(entry.speakers, ["Ann", "Bob"]);
    assert_eq!(entry.start, EntryStart::Instant(Ms(1_617_350_400_000)));
    assert_eq!(
        (entry.duration_ms, entry.opted_out, entry.rooms.as_slice()),
        (Some(5_400_000), true, &["Saal 1".to_owned()][..])
    );
    let d = &entry.details;
    let texts = [
        &d.guid,
        &d.id,
        &d.code,
        &d.room_guid,
        &d.session_type,
        &d.summary,
        &d.description,
        &d.track,
        &d.language,
        &d.licence,
    ];
    let want = ["g1", "33", "ABC", "r1", "Workshop", "Short.", "First line.\nSecond line.", "Soil", "de", "CC BY 4.0"];
    assert_eq!(texts.map(|t| t.as_deref().unwrap_or("")), want);
    assert_eq!(d.links, [TalkLink { url: "https://h/slides".to_owned(), title: Some("Slides".to_owned()) }]);
}

#[test]
fn fields_of_other_types_say_nothing_and_lose_nothing_else() {
    for (fields, title) in [
        (r#""title": {"de": "Erde", "en": "Soil"}"#, "Erde"),
        (r#""title": "T", "persons": null, "links": {}, "track": ["x"], "recording": "none", "language": false"#, "T"),
        (r#""title": 7, "duration": 90, "start": null"#, "7"),
    ] {
        assert_eq!(one(&format!("{{{fields}}}")).title, title, "{fields}");
    }
    let hub =
        one(r#"{"title": "T", "recording": {"license": "CC0", "optout": true}, "origin_url": "https://h/e/talk/XY/"}"#);
    assert_eq!(
        (hub.opted_out, hub.details.licence.as_deref(), hub.details.code.as_deref()),
        (true, Some("CC0"), Some("XY"))
    );
    assert_eq!(
        one(r#"{"title": "T", "start": "03:00"}"#).start,
        EntryStart::Local(
            chrono::NaiveDate::from_ymd_opt(2021, 4, 3).and_then(|d| d.and_hms_opt(3, 0, 0)).expect("time")
        )
    );
}

#[test]
fn what_is_no_schedule_is_named() {
    for (text, want) in [
        ("{", "line 1, column"),
        ("{}", "no schedule"),
        ("{\"schedule\": 7}", "no schedule"),
        (&json("{\"title\": \"T\"}")[..200], "line"),
    ] {
        let refused = read(text.as_bytes()).expect_err(text).to_string();
        assert!(refused.contains(want), "{want}: {refused}");
    }
    assert!(read(json("{}, {}, []").as_bytes()).expect("read").entries.is_empty());
    assert!(looks_like(b" \n{\"a\"") && !looks_like(b"BEGIN:VCALENDAR") && !looks_like(b"<schedule>"));
}
