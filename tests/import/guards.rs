//! Schedules that are not believed, refreshes, and opt-outs.

use streamrip::app::schedule::import::ImportRequest;
use streamrip::app::schedule::refresh::{Refreshed, apply_fetched, fetch, remembered};
use streamrip::app::support::failure::Kind;
use streamrip::domain::clock::Clock;

use crate::support::{World, calendar, changes, counts, warned};

const TALKS: &str = "
    a|Saal 1|27 11:00|60|A
    b|Saal 1|27 12:00|60|B
    c|Saal 2|27 11:00|60|C
    d|Saal 2|27 12:00|60|D";

const HALLS: &str = "[[hall]]\nname = \"Saal 1\"\nstreams = [\"http://h/1\"]\n[[hall]]\nname = \"Saal 2\"\nstreams = [\"http://h/2\"]\n";

async fn refresh(world: &mut World) -> Refreshed {
    let now = world.clock.now();
    let events = remembered(&world.db, now).expect("events");
    assert_eq!(events.len(), 1);
    let fetched = fetch(events.into_iter().next().expect("one"), &std::sync::Arc::default()).await;
    apply_fetched(&world.db, &fetched, now).expect("catalog")
}

/// A world with the four talks imported with their halls.
async fn imported() -> World {
    let mut world = World::new();
    world.file("congress.toml", HALLS);
    world.import(calendar(TALKS)).await;
    world
}

fn problem(world: &World) -> Option<String> {
    world.db.query_row("SELECT refresh_problem FROM event", [], |r| r.get(0)).expect("event")
}

#[tokio::test]
async fn what_is_no_calendar_changes_nothing() {
    let mut world = imported().await;
    let whole = calendar(TALKS);
    for (text, want) in [
        ("<html><head><title>404 Not Found</title></head></html>", "404 Not Found"),
        ("", "empty"),
        (&whole[..whole.len() - 30], "END:VCALENDAR"),
        ("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", "no talks"),
        (&whole.replace("Europe/Berlin", "Middle/Earth"), "Middle/Earth"),
    ] {
        let refused = world.bad_input(text).await;
        assert!(refused.contains(want), "{want}: {refused}");
        // The same by a refresh: the last good schedule stays, and the reason is kept.
        let talks = world.talks();
        let done = refresh(&mut world).await;
        assert!(done.problem.as_ref().is_some_and(|p| p.contains(want)), "{want}: {:?}", done.problem);
        assert_eq!((problem(&world), world.talks()), (done.problem, talks));
    }
    // A good one again clears it.
    world.request(&whole);
    assert!(refresh(&mut world).await.report.is_some());
    assert_eq!(problem(&world), None);
}

#[tokio::test]
async fn a_missing_file_and_a_missing_halls_file_are_problems_of_a_refresh() {
    let mut world = imported().await;
    let path = world.dir.path().join("congress.toml");
    std::fs::remove_file(&path).expect("removed");
    assert!(refresh(&mut world).await.problem.is_some_and(|p| p.contains("congress.toml")));
    world.file("congress.toml", HALLS);
    std::fs::remove_file(world.dir.path().join("congress.ics")).expect("removed");
    let first = refresh(&mut world).await;
    assert!(first.is_news && first.problem.is_some_and(|p| p.contains("congress.ics")));
    let writes = world.db.total_changes();
    assert!(!refresh(&mut world).await.is_news, "the same problem is told once");
    assert_eq!(world.db.total_changes(), writes);
}

#[tokio::test]
async fn more_than_half_of_what_is_to_come_removed() {
    let mut world = imported().await;
    let half = calendar("a|Saal 1|27 11:00|60|A\nb|Saal 1|27 12:00|60|B");
    let less = calendar("a|Saal 1|27 11:00|60|A");
    assert!(world.bad_input(&less).await.contains("removes 3 of 4 talks to come"));
    let forced = ImportRequest { force: true, ..world.request(&less) };
    assert_eq!(counts(&world.try_import(forced).await.expect("forced")), [0, 0, 3, 1]);
    assert_eq!(counts(&world.import(calendar(TALKS)).await), [0, 3, 0, 1]);
    assert_eq!(counts(&world.import(&half).await), [0, 0, 2, 2]);
    // What is past may vanish.
    world.import(calendar(TALKS)).await;
    world.clock.step(9 * 3_600_000);
    assert_eq!(counts(&world.import(&less).await), [0, 0, 3, 1]);
}

#[tokio::test]
async fn all_rooms_renamed() {
    let mut world = imported().await;
    let renamed = TALKS.replace("Saal 1", "Halle A").replace("Saal 2", "Halle B");
    let report = world.import(calendar(&renamed)).await;
    assert_eq!(counts(&report), [0, 0, 0, 4], "no talk moves");
    let said: Vec<_> =
        report.warnings.iter().filter(|w| w.kind.as_str() == "renamed-hall").map(|w| w.message.as_str()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("\"Halle A\" of the schedule is taken for \"Saal 1\""), "{said:?}");
    assert_eq!(world.number("SELECT count(*) FROM hall"), 2);
    // The next schedule has both names, and a talk that is new: the new name stays known.
    let both = format!("{}\n    e|Halle B|27 14:00|60|E", renamed.replacen("Halle A", "Saal 1", 1));
    world.request(calendar(&both));
    let done = refresh(&mut world).await;
    assert_eq!(done.report.map(|r| counts(&r)), Some([1, 0, 0, 4]));
    assert_eq!(world.number("SELECT count(*) FROM hall"), 2);
    // Most talks of a hall go elsewhere, but not all: that is no other name.
    let moved = TALKS.replacen("Saal 1", "Halle C", 1);
    let refused = world.bad_input(calendar(&moved)).await;
    assert!(refused.contains("\"Saal 1\" to \"Halle C\"") && refused.contains("aliases"), "{refused}");
    // As the message says: an alias mends it.
    world.file("congress.toml", HALLS.replace("name = \"Saal 1\"", "name = \"Saal 1\"\naliases = [\"halle c\"]"));
    assert_eq!(counts(&world.import(calendar(&moved)).await), [0, 0, 1, 4]);
    // Streams taken away in the halls file are a reason too.
    world.file("congress.toml", HALLS.replace("\"http://h/2\"", ""));
    let refused = world.bad_input(calendar(TALKS)).await;
    assert!(refused.contains("2 talks to come in \"Saal 2\""), "{refused}");
}

#[tokio::test]
async fn a_known_event_under_another_name() {
    let mut world = imported().await;
    let again = |world: &World, name: &str, lines: &str| ImportRequest {
        source: world.file(name, calendar(lines)).to_string_lossy().into_owned(),
        ..ImportRequest::default()
    };
    let other_uids = TALKS.replace("    ", "    x-");
    for lines in [TALKS, &other_uids] {
        let request = again(&world, "congress-v2.ics", lines);
        let failure = world.refused(request).await;
        assert_eq!(failure.kind, Kind::BadInput);
        assert!(failure.hint.as_ref().is_some_and(|h| h.contains("--event congress;")), "{failure:?}");
    }
    let request = again(&world, "other.ics", "z|Saal 1|28 11:00|60|Z\na|Saal 1|27 11:00|60|A");
    assert!(world.try_import(request).await.expect("another event").is_new);
    let forced = ImportRequest { force: true, ..again(&world, "congress-v2.ics", TALKS) };
    assert!(world.try_import(forced).await.expect("forced").is_new);
}

fn xml(world: &World, out: &[&str]) -> String {
    let events: String = ["a", "b", "c", "d"]
        .map(|id| {
            let optout = out.contains(&id);
            format!("<event id='{id}'><recording><optout>{optout}</optout></recording><persons><person>Ann {id}</person></persons></event>")
        })
        .concat();
    let path = world.file("schedule.xml", format!("<schedule><day><room>{events}</room></day></schedule>"));
    path.to_string_lossy().into_owned()
}

#[tokio::test]
async fn opt_outs_come_from_schedule_xml_and_stay() {
    let mut world = imported().await;
    let place = xml(&world, &["b"]);
    let request = ImportRequest { schedule_xml: Some(place.clone()), ..world.request(calendar(TALKS)) };
    let report = world.try_import(request).await.expect("imported");
    assert!(changes(&report).contains(&"opted-out B:  -> ".to_owned()), "{:?}", changes(&report));
    assert!(warned(&report).contains(&"opted-out"));
    assert_eq!(world.number("SELECT count(*) FROM talk WHERE speakers = '[\"Ann a\"]'"), 1);
    // Remembered, and read again.
    xml(&world, &["b", "c"]);
    assert_eq!(changes(&world.import(calendar(TALKS)).await), ["opted-out C:  -> "]);
    // It cannot be read: what it said stays, with a warning.
    world.file("schedule.xml", "<html>504</html>");
    let report = world.import(calendar(TALKS)).await;
    assert_eq!((counts(&report), warned(&report)), ([0, 0, 0, 4], vec!["schedule-xml"]));
    let opted_out = "SELECT group_concat(uid, '') FROM (SELECT uid FROM talk WHERE opted_out ORDER BY uid)";
    let who = |world: &World| world.db.query_row(opted_out, [], |r| r.get::<_, String>(0)).expect("who");
    assert_eq!(who(&world), "bc");
    // A schedule that is refused does not hold back an opt-out.
    xml(&world, &["b", "c", "d"]);
    world.request("<html>");
    let done = refresh(&mut world).await;
    assert!(done.problem.is_some() && done.opted_out.len() == 1);
    assert_eq!(who(&world), "bcd");
    // A talk that schedule.xml no longer has keeps what was said of it.
    world.file("schedule.xml", "<schedule/>");
    world.import(calendar(TALKS)).await;
    assert_eq!(who(&world), "bcd");
    xml(&world, &["b"]);
    let back: Vec<_> = changes(&world.import(calendar(TALKS)).await);
    let back: Vec<_> = back.iter().filter(|c| !c.starts_with("speakers")).collect();
    assert_eq!(back, ["opted-in C:  -> ", "opted-in D:  -> "]);
    // One that the user names now must be readable.
    let bad = world.file("bad.xml", "<rss/>");
    let request =
        ImportRequest { schedule_xml: Some(bad.to_string_lossy().into_owned()), ..world.request(calendar(TALKS)) };
    assert!(world.refused(request).await.to_string().contains("<rss>"));
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_writes_nothing() {
    let mut world = imported().await;
    let changed = calendar(&TALKS.replace("|B", "|Bee"));
    let (dump, writes) = (world.dump(), world.db.total_changes());
    let dry = ImportRequest { dry_run: true, ..world.request(&changed) };
    let would = world.try_import(dry).await.expect("dry");
    assert_eq!((world.dump(), world.db.total_changes()), (dump, writes));
    let did = world.import(&changed).await;
    assert_eq!(changes(&would), changes(&did));
    assert!(would.dry_run && !did.dry_run);
}

#[tokio::test]
async fn events_that_are_over_and_piped_ones_are_not_refreshed() {
    let world = imported().await;
    let soon = world.clock.now();
    assert_eq!(remembered(&world.db, soon).expect("events").len(), 1);
    assert_eq!(remembered(&world.db, soon.plus(3 * 86_400_000)).expect("events").len(), 0);
    world.db.execute("UPDATE event SET source = NULL", []).expect("set");
    assert_eq!(remembered(&world.db, soon).expect("events").len(), 0);
}

#[tokio::test]
async fn an_import_from_elsewhere_meanwhile_wins_over_a_refresh() {
    let mut world = imported().await;
    let now = world.clock.now();
    let events = remembered(&world.db, now).expect("events");
    let fetched = fetch(events.into_iter().next().expect("one"), &std::sync::Arc::default()).await;
    let other = world.file("other.ics", calendar(&TALKS.replace("|B", "|Bee")));
    let request = ImportRequest {
        source: other.to_string_lossy().into_owned(),
        event: Some("congress".to_owned()),
        ..ImportRequest::default()
    };
    world.try_import(request).await.expect("imported");
    let talks = world.talks();
    let done = apply_fetched(&world.db, &fetched, now).expect("catalog");
    assert!(done.report.is_none() && done.problem.is_none());
    assert_eq!(world.talks(), talks);
}
