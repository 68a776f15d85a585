//! Tests of schedule.xml.

use super::*;
use crate::domain::interval::Interval;
use crate::domain::schedule::{Schedule, ScheduledTalk};
use crate::domain::time::HOUR;

fn xml(events: &str) -> String {
    format!(
        "<?xml version='1.0' encoding='utf-8' ?>\n<schedule><day index='1'><room name='Saal 1'>{events}</room></day></schedule>"
    )
}

fn talk(uid: &str) -> ScheduledTalk {
    let start = Ms(1_617_350_400_000); // 2021-04-02T10:00:00+02:00
    ScheduledTalk {
        uid: (!uid.is_empty()).then(|| uid.to_owned()),
        speakers: vec!["from the calendar".to_owned()],
        hall: Some("saal 1".to_owned()),
        ..ScheduledTalk::new("Opening - hexchen, NicKira", Interval::new(start, start.plus(HOUR)))
    }
}

const OUT: &str = "<recording><license></license><optout>true</optout></recording>";

#[test]
fn entries_find_their_talks() {
    for (entry, uid, found) in [
        // frab, Pentabarf, older and newer pretalx.
        (
            "guid='2aba641b-114d-4dac-866e-533314a3c108' id='8412'>",
            "2aba641b-114d-4dac-866e-533314a3c108@frab.cccv.de",
            true,
        ),
        ("guid='2aba641b-114d-4dac-866e-533314a3c108'>", "x-2ABA641B-114d-4dac-866e-533314a3c108-y", true),
        ("id='4253'>", "4253@27C3@pentabarf.org", true),
        ("id='33'><url>https://p/x/talk/38PPT7/</url>", "pretalx-divoc-2021-38PPT7@p", true),
        ("id='33' code='38PPT7'>", "pretalx-divoc-2021-38PPT7@p", true),
        // A number somewhere in the UID is not the id.
        ("id='2021'>", "pretalx-divoc-2021-38PPT7@p", false),
        ("id='27'>", "4253@27C3@pentabarf.org", false),
        // By room, time and title.
        ("id='9'><date>2021-04-02T10:00:00+02:00</date><title>Opening</title>", "other@x", true),
        ("id='9'><date>2021-04-02T10:00:00+02:00</date><title>Opening</title>", "", true),
        ("id='9'><date>2021-04-02T11:00:00+02:00</date><title>Opening</title>", "", false),
        ("id='9'><date>2021-04-02T10:00:00+02:00</date><title>Closing</title>", "", false),
    ] {
        let entry = format!(
            "<event {entry}{OUT}<persons><person id='1'>Ann</person><person>Bob &amp; Co</person></persons></event>"
        );
        let read = read(xml(&entry).as_bytes()).expect("read");
        let mut schedule = Schedule { talks: vec![talk(uid)], ..Schedule::default() };
        join(&mut schedule, &read);
        let got = &schedule.talks[0];
        assert_eq!((got.in_schedule_xml, got.opted_out), (found, found), "{entry} {uid}");
        assert_eq!(got.speakers == ["Ann", "Bob & Co"], found, "{entry}");
    }
}

#[test]
fn only_a_clear_word_opts_out() {
    for (word, out) in [("true", true), (" True\n", true), ("1", true), ("false", false), ("", false), ("maybe", false)]
    {
        let entry = format!("<event id='1'><recording><optout>{word}</optout></recording></event>");
        assert_eq!(read(xml(&entry).as_bytes()).expect("read").talks[0].opted_out, out, "{word:?}");
    }
    assert!(!read(xml("<event id='1'/>").as_bytes()).expect("read").talks[0].opted_out);
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
