//! Tests of schedule.xml.

use super::*;
use crate::domain::programme::EntryStart;
use crate::domain::time::Ms;

fn xml(events: &str) -> String {
    format!(
        "<?xml version='1.0' encoding='utf-8' ?>\n<schedule><day index='1' date='2021-04-02'><room name='Saal 1' guid='r1'>{events}</room></day></schedule>"
    )
}

fn one(event: &str) -> Entry {
    let read = read(xml(event).as_bytes()).expect("read");
    assert_eq!(read.entries.len(), 1, "{event}");
    read.entries.into_iter().next().expect("one")
}

#[test]
fn all_that_an_entry_tells_is_read() {
    let entry = one(
        "\n<event guid='g1' id='33' code='ABC'><room>Saal 1</room><title>Compost &amp; you</title><subtitle>An introduction</subtitle>\
         <type>Workshop</type><date>2021-04-02T10:00:00+02:00</date><start>10:00</start><duration>01:30</duration>\
         <abstract>Short.</abstract><description>First line.\nSecond line.</description><track>Soil</track><language>de</language>\
         <persons><person id='1'>Ann</person><person>Bob &amp; Co</person></persons>\
         <recording><license>CC BY 4.0</license><optout>true</optout></recording>\
         <links><link href='https://h/slides'>Slides</link><link href='javascript:x'>no</link></links>\
         <url>https://h/e/talk/ABC/</url></event>",
    );
    assert_eq!((entry.title.as_str(), entry.line), ("Compost & you", 3));
    assert_eq!(entry.speakers, ["Ann", "Bob & Co"]);
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
        &d.subtitle,
        &d.session_type,
        &d.summary,
        &d.description,
        &d.track,
        &d.language,
        &d.licence,
    ];
    let want = [
        "g1",
        "33",
        "ABC",
        "r1",
        "An introduction",
        "Workshop",
        "Short.",
        "First line.\nSecond line.",
        "Soil",
        "de",
        "CC BY 4.0",
    ];
    assert_eq!(texts.map(|t| t.as_deref().unwrap_or("")), want);
    assert_eq!(d.links, [TalkLink { url: "https://h/slides".to_owned(), title: Some("Slides".to_owned()) }]);
}

/// Older exports write the code only into the page's address, the C3 hub that of where the talk comes from; rooms and
/// templates differ.
#[test]
fn entries_of_other_exporters() {
    let code = |inside: &str| one(&format!("<event id='1'><title>T</title>{inside}</event>")).details.code;
    assert_eq!(code("<url>https://h/e/talk/38PPT7/</url>").as_deref(), Some("38PPT7"));
    assert_eq!(code("<origin_url>https://h/e/talk/38PPT7/</origin_url>").as_deref(), Some("38PPT7"));
    assert_eq!(code("<code>XY</code>").as_deref(), Some("XY"));
    assert_eq!(code("<url>https://h/events/7.en.html</url>"), None);
    let other =
        one("<event id='1'><title>T</title><room>Saal Eins</room><abstract>None</abstract><track></track></event>");
    assert_eq!(other.rooms, ["Saal Eins", "Saal 1"]);
    // The guid is that of the room around it, which may be another one.
    assert_eq!((other.details.room_guid, other.details.summary, other.details.track), (None, None, None));
    assert_eq!(one("<event id='1'><title>T</title></event>").rooms, ["Saal 1"]);
    let person = one("<event id='1'><persons><person name='Ann'/></persons></event>");
    assert_eq!(person.speakers, ["Ann"]);
}

#[test]
fn what_names_nothing_is_no_entry() {
    assert!(read(xml("<event/><event><room>x</room></event>").as_bytes()).expect("read").entries.is_empty());
}

#[test]
fn only_a_clear_word_opts_out() {
    for (word, out) in [("true", true), (" True\n", true), ("1", true), ("false", false), ("", false), ("maybe", false)]
    {
        let entry = format!("<event id='1'><recording><optout>{word}</optout></recording></event>");
        assert_eq!(read(xml(&entry).as_bytes()).expect("read").entries[0].opted_out, out, "{word:?}");
    }
    assert!(!read(xml("<event id='1'/>").as_bytes()).expect("read").entries[0].opted_out);
}

#[test]
fn what_is_no_schedule_is_named() {
    for (text, want) in [
        ("", "empty"),
        ("<!DOCTYPE html><html><body>404<br></body></html>", "<html>"),
        ("<rss></rss>", "<rss>"),
        ("<schedule><day></schedule>", "line 1, column"),
        ("not xml", "line 1, column"),
        ("<!DOCTYPE x [<!ENTITY a \"b\">]><schedule>&a;</schedule>", "line 1"),
    ] {
        let refused = read(text.as_bytes()).expect_err("refused").to_string();
        assert!(refused.contains(want), "{want}: {refused}");
    }
    assert!(matches!(read(b"<schedule>\xff</schedule>"), Err(ScheduleXmlError::NotUtf8(10))));
}

#[test]
fn deep_nesting_is_read_or_refused() {
    let _ = read(format!("<schedule>{}", "<a>".repeat(200_000)).as_bytes());
    let _ = read(format!("<schedule>{}{}</schedule>", "<a>".repeat(200_000), "</a>".repeat(200_000)).as_bytes());
}
