//! Calendars as they come: odd times, odd text, odd bytes.

use crate::support::{World, calendar, counts, event, warned, wrap};

#[tokio::test]
async fn nights_of_the_clock_change() {
    let mut world = World::new();
    let talk = |uid: &str, start: &str, end: &str| {
        format!(
            "BEGIN:VEVENT\nUID:{uid}\nLOCATION:x\nSUMMARY:{uid}\nDTSTART;TZID=Europe/Berlin:{start}\nDTEND;TZID=Europe/Berlin:{end}\nEND:VEVENT\n"
        )
    };
    let events = [
        talk("autumn", "20271031T013000", "20271031T033000"),
        talk("spring", "20270328T013000", "20270328T033000"),
        talk("in the hole", "20270328T023000", "20270328T040000"),
    ];
    world.import(wrap(&events.concat())).await;
    let length = |uid: &str| world.number(&format!("SELECT (end_ms - start_ms) / 60000 FROM talk WHERE uid = '{uid}'"));
    assert_eq!((length("autumn"), length("spring"), length("in the hole")), (180, 60, 30));
}

#[tokio::test]
async fn hostile_titles_and_halls() {
    let mut world = World::new();
    let long = "x".repeat(300);
    let names = [
        "../../etc/passwd",
        "a/b",
        "..",
        "nul\0here",
        &long,
        "🎉",
        "\u{202e}txet\u{202c}",
        "-rf",
        "'; DROP TABLE talk;--",
        "$(reboot)",
    ];
    let events: String =
        names.iter().enumerate().map(|(n, name)| event(&format!("u{n}|{name}|27 1{n}:00|30|{name}"), "")).collect();
    let report = world.import(wrap(&events)).await;
    assert_eq!(counts(&report), [10, 0, 0, 0]);
    let mut query = world.db.prepare("SELECT slug FROM hall").expect("sql");
    let slugs: Vec<String> = query.query_map([], |r| r.get(0)).expect("rows").collect::<Result<_, _>>().expect("slugs");
    for slug in &slugs {
        assert!(slug.len() <= 70 && slug.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{slug}");
        assert!(!slug.starts_with('-'), "{slug}");
    }
    assert_eq!(slugs.len(), 10);
    let titles = "SELECT count(*) FROM talk WHERE length(title) = 300 OR title = 'nul here' OR title = '🎉'";
    assert_eq!(world.number(titles), 3);
    drop(query);
    let writes = world.db.total_changes();
    assert_eq!(counts(&world.import(wrap(&events)).await), [0, 0, 0, 10]);
    assert_eq!(world.db.total_changes(), writes);
}

#[tokio::test]
async fn one_bad_talk_does_not_lose_the_others() {
    let mut world = World::new();
    let good = "a|Saal 1|27 11:00|60|A";
    let events = [
        event(good, ""),
        "BEGIN:VEVENT\nUID:b\nDTSTART:when it is done\nEND:VEVENT\n".to_owned(),
        "BEGIN:VEVENT\nUID:c\nDTSTART;TZID=Europe/Berlin:20261227T120000\nLOCATION:Saal 1\nSUMMARY:no end\n".to_owned(),
        event("d|Saal 1|27 12:30|60|overlaps", ""),
        event("e|Saal 1|27 15:00|0|zero", ""),
        event("f|Saal 1|27 16:00|60|Talk -- CANCELLED", ""),
    ];
    let report = world.import(wrap(&events.concat())).await;
    assert_eq!(report.talks, 5);
    let mut kinds = warned(&report);
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, ["bad-event", "cancelled-in-title", "no-end", "overlap", "unmapped-hall", "zero-length"]);
    let bad = report.warnings.iter().find(|w| w.talk.as_deref() == Some("b")).expect("told");
    assert!(bad.message.contains("line 10"), "{}", bad.message);
}

#[tokio::test]
async fn zones_come_from_many_places() {
    let start = |world: &World| world.number("SELECT start_ms / 1000 FROM talk WHERE uid = 'a'");
    let whole = calendar("a|Saal 1|27 12:00|60|A");
    let floating = whole.replace(";TZID=Europe/Berlin", "");
    let noon = 1_798_369_200; // 12:00 in Berlin
    for (text, halls, zone, want, warning) in [
        (whole.clone(), "", None, noon, None),
        (whole.replace("Europe/Berlin", "Europe-Berlin"), "", None, noon, Some("unknown-time-zone")),
        (whole.replace("Europe/Berlin", "Middle/Earth"), "", Some("Europe/Berlin"), noon, Some("unknown-time-zone")),
        (floating.clone(), "time_zone = \"America/New_York\"", None, noon + 6 * 3600, None),
        (floating.clone(), "time_zone = \"America/New_York\"", Some("Asia/Tokyo"), noon - 8 * 3600, None),
        (floating.replace("VERSION:2.0", "X-WR-TIMEZONE:Europe/Lisbon"), "", None, noon + 3600, None),
        (floating.replace("UID:a", "UID:a\r\nTZID:Europe/Lisbon"), "", None, noon + 3600, None),
    ] {
        let mut world = World::new();
        world.file("congress.toml", halls);
        let mut request = world.request(&text);
        request.zone = zone.map(|z| z.parse().expect("zone"));
        let report = world.try_import(request).await.expect("imported");
        assert_eq!(start(&world), want, "{text}");
        let told: Vec<_> = warned(&report).into_iter().filter(|k| *k != "unmapped-hall").collect();
        assert_eq!(told, warning.into_iter().collect::<Vec<_>>(), "{text}");
        // --tz is remembered: the next import without it reads the same times.
        assert_eq!(counts(&world.import(&text).await), [0, 0, 0, 1], "{text}");
    }
    let mut world = World::new();
    assert!(warned(&world.import(&floating).await).contains(&"floating-time"));
}

/// A machine's zone reads a time that names none at the first import only: by the second one the event has its own.
#[tokio::test]
async fn times_without_zone_are_the_same_at_the_second_import() {
    // Surely not the zone of the machine that runs this.
    let talk = |uid: &str, end: &str| {
        format!(
            "BEGIN:VEVENT\nUID:{uid}\nLOCATION:x\nSUMMARY:{uid}\nDTSTART;TZID=Pacific/Chatham:20261227T114500\n{end}\nEND:VEVENT\n"
        )
    };
    let good = talk("a", "DTEND;TZID=Pacific/Chatham:20261227T124500");
    let bad = talk("a", "DTEND;TZ=D=Pacific/Chatham:20261227T124500");
    let floating = bad.replace("UID:a", "UID:b").replace(";TZID=Pacific/Chatham", "");
    for (events, talks) in [(vec![&good, &bad], 1), (vec![&good, &floating], 2), (vec![&floating], 1)] {
        let mut world = World::new();
        let text = wrap(&events.into_iter().map(String::as_str).collect::<String>());
        assert_eq!(counts(&world.import(&text).await), [talks, 0, 0, 0], "{text}");
        let writes = world.db.total_changes();
        assert_eq!(counts(&world.import(&text).await), [0, 0, 0, talks], "{text}");
        assert_eq!(world.db.total_changes(), writes, "{text}");
    }
}
