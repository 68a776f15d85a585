//! Which talk is which: the same import twice, changed ones, calendars with bad UIDs.

use crate::support::{World, calendar, changes, counts, event, warned, wrap};

const BEFORE: &str = "
    a|Saal 1|27 11:30|60|Opening
    b|Saal 1|27 12:45|60|Copyright
    c|Saal 2|27 12:45|60|Console Hacking
    d|Saal 2|28 00:15|60|Pentanews
    e|Saal 3|28 14:00|30|Back to 16 bit
    f|Saal 3|28 15:00|60|Lightning";

#[tokio::test]
async fn the_same_import_twice_writes_nothing() {
    let mut world = World::new();
    let first = world.import(calendar(BEFORE)).await;
    assert_eq!(counts(&first), [6, 0, 0, 0]);
    assert!(first.is_new && first.changes.iter().all(|c| c.talk.is_some()));
    let (dump, writes) = (world.dump(), world.db.total_changes());
    world.clock.step(3_600_000);
    let second = world.import(calendar(BEFORE)).await;
    assert_eq!((counts(&second), second.is_new), ([0, 0, 0, 6], false));
    assert_eq!(world.db.total_changes(), writes);
    assert_eq!(world.dump(), dump);
    // The order of the file does not matter either.
    let mut lines: Vec<_> = BEFORE.lines().collect();
    lines.reverse();
    assert_eq!(counts(&world.import(calendar(&lines.join("\n"))).await), [0, 0, 0, 6]);
    assert_eq!(world.db.total_changes(), writes);
}

#[tokio::test]
async fn what_an_export_changed_is_told_and_kept() {
    let mut world = World::new();
    world.import(calendar(BEFORE)).await;
    let known_since = world.number("SELECT known_since_ms FROM talk WHERE uid = 'a'");
    world.clock.step(1000);
    let events = [
        event("a|Saal 1|27 11:30|90|Opening", ""),
        event("b|Saal 1|27 13:45|60|Copyright", ""),
        event("c|Saal 3|27 12:45|60|Console Hacking 2010", ""),
        event("d|Saal 2|28 00:15|60|Pentanews", "STATUS:CANCELLED\n"),
        event("f|Saal 3|28 15:00|60|Lightning", ""),
        event("g|Saal 1|27 16:00|60|New one", ""),
    ];
    let report = world.import(wrap(&events.concat())).await;
    assert_eq!(counts(&report), [1, 4, 1, 1]);
    assert_eq!(
        changes(&report),
        [
            "moved Opening: 2026-12-27 11:30-12:30 -> 2026-12-27 11:30-13:00",
            "moved Copyright: 2026-12-27 12:45-13:45 -> 2026-12-27 13:45-14:45",
            "hall Console Hacking 2010: Saal 2 -> Saal 3",
            "retitled Console Hacking 2010: Console Hacking -> Console Hacking 2010",
            "cancelled Pentanews: 2026-12-28 00:15-01:15 -> ",
            "added New one:  -> 2026-12-27 16:00-17:00",
            "removed Back to 16 bit: 2026-12-28 14:00-14:30 -> ",
        ]
    );
    assert_eq!(
        world.talks(),
        [
            "1 Saal 1 27 10:30-12:00 scheduled Opening",
            "3 Saal 3 27 11:45-12:45 scheduled Console Hacking 2010",
            "2 Saal 1 27 12:45-13:45 scheduled Copyright",
            "7 Saal 1 27 15:00-16:00 scheduled New one",
            "4 Saal 2 27 23:15-00:15 cancelled Pentanews",
            "5 Saal 3 28 13:00-13:30 removed Back to 16 bit",
            "6 Saal 3 28 14:00-15:00 scheduled Lightning",
        ]
    );
    assert_eq!(world.number("SELECT count(*) FROM talk_change WHERE import_id = 2"), 7);
    // A talk that only ends later was known all the time; one that moved was not.
    assert_eq!(world.number("SELECT known_since_ms FROM talk WHERE uid = 'a'"), known_since);
    assert!(world.number("SELECT known_since_ms FROM talk WHERE uid = 'b'") >= known_since + 1000);
    // And all the way back: the same talks, by the same ids.
    let back = world.import(calendar(BEFORE)).await;
    assert_eq!(counts(&back), [0, 5, 1, 1]);
    let kinds: Vec<_> = back.changes.iter().map(|c| c.kind.as_str()).collect();
    assert_eq!(kinds, ["moved", "moved", "hall", "retitled", "uncancelled", "returned", "removed"]);
    assert_eq!(world.number("SELECT count(*) FROM talk WHERE status = 'scheduled'"), 6);
}

#[tokio::test]
async fn every_uid_new_at_the_next_export() {
    let mut world = World::new();
    world.import(calendar(BEFORE)).await;
    let talks = world.talks();
    let renewed = BEFORE.replace("    ", "    new-");
    let report = world.import(calendar(&renewed)).await;
    assert_eq!(counts(&report), [0, 6, 0, 0]);
    assert!(changes(&report).iter().all(|c| c.starts_with("uid ")), "{:?}", changes(&report));
    assert!(report.warnings.iter().any(|w| w.message.contains("every UID of this calendar is new")));
    assert_eq!(world.talks(), talks);
    assert_eq!(counts(&world.import(calendar(&renewed)).await), [0, 0, 0, 6]);
}

#[tokio::test]
async fn no_uids_and_uids_that_many_talks_share() {
    for uids in [0, 4] {
        let mut world = World::new();
        let lines: Vec<_> = (0..87)
            .map(|n| {
                let uid = if uids == 0 { String::new() } else { format!("shared-{}", n % uids) };
                format!(
                    "{uid}|Saal {}|{} {:02}:{:02}|25|Talk {}",
                    n % 3,
                    27 + n / 40,
                    8 + n / 6 % 12,
                    n % 2 * 30,
                    n / 2
                )
            })
            .collect();
        let whole = lines.join("\n");
        let first = world.import(calendar(&whole)).await;
        assert_eq!(counts(&first), [87, 0, 0, 0], "{uids}");
        let kind = if uids == 0 { "no-uid" } else { "duplicate-uid" };
        assert!(warned(&first).contains(&kind), "{:?}", warned(&first));
        let writes = world.db.total_changes();
        assert_eq!(counts(&world.import(calendar(&whole)).await), [0, 0, 0, 87]);
        assert_eq!(world.db.total_changes(), writes);
        // One fewer, one other: the rest stay who they are.
        let mut fewer = lines.clone();
        fewer.remove(40);
        fewer[10] = fewer[10].replace("Talk", "Other talk");
        assert_eq!(counts(&world.import(calendar(&fewer.join("\n"))).await), [1, 0, 2, 85]);
        assert_eq!(counts(&world.import(calendar(&whole)).await), [0, 2, 1, 85]);
    }
}

#[tokio::test]
async fn a_uid_that_stops_and_begins_to_be_unique() {
    let mut world = World::new();
    world.import(calendar("x|Saal 1|27 11:00|60|A\nx|Saal 1|27 12:00|60|B\ny|Saal 1|27 13:00|60|C")).await;
    let now_unique = "x|Saal 1|27 11:00|60|A\nz|Saal 1|27 12:00|60|B\ny|Saal 1|27 13:00|60|C";
    let report = world.import(calendar(now_unique)).await;
    assert_eq!(counts(&report), [0, 1, 0, 2]);
    assert_eq!(counts(&world.import(calendar(now_unique)).await), [0, 0, 0, 3]);
    // Keys change places: what was A's UID is C's and the other way round.
    let swapped = "y|Saal 1|27 11:00|60|A\nz|Saal 1|27 12:00|60|B\nx|Saal 1|27 13:00|60|C";
    let report = world.import(calendar(swapped)).await;
    assert_eq!(counts(&report), [0, 2, 0, 1]);
    assert_eq!(world.number("SELECT count(*) FROM talk"), 3);
    assert_eq!(counts(&world.import(calendar(swapped)).await), [0, 0, 0, 3]);
}

#[tokio::test]
async fn copies_of_one_talk_are_one_and_two_talks_alike_are_two() {
    let mut world = World::new();
    let twice = "a|Saal 1|27 11:00|60|A\na|Saal 1|27 11:00|60|A\n|Saal 1|27 13:00|60|B\n|Saal 1|27 13:00|60|B";
    let report = world.import(calendar(twice)).await;
    assert_eq!(counts(&report), [3, 0, 0, 0]);
    let writes = world.db.total_changes();
    assert_eq!(counts(&world.import(calendar(twice)).await), [0, 0, 0, 3]);
    assert_eq!(world.db.total_changes(), writes);
}

#[tokio::test]
async fn talks_of_the_user_are_left_alone() {
    let mut world = World::new();
    world.import(calendar(BEFORE)).await;
    world
        .db
        .execute_batch(
            "INSERT INTO talk (event_id, hall_id, match_key, title, start_ms, end_ms, origin, known_since_ms)
             VALUES (1, 1, 'manual:1', 'By hand', 1798371000000, 1798371600000, 'manual', 0);
             UPDATE talk SET extended_ms = 600000 WHERE uid = 'a'",
        )
        .expect("added");
    let report = world.import(calendar(&BEFORE.replace("Lightning", "Lightning 2"))).await;
    assert_eq!(counts(&report), [0, 1, 0, 5]);
    assert_eq!(world.number("SELECT count(*) FROM talk WHERE origin = 'manual' AND status = 'scheduled'"), 1);
    assert_eq!(world.number("SELECT extended_ms FROM talk WHERE uid = 'a'"), 600_000);
}

#[tokio::test]
async fn instances_of_a_recurring_talk_are_talks_of_their_own() {
    let mut world = World::new();
    let daily = event("d|Saal 1|27 10:00|30|Morning", "RRULE:FREQ=DAILY;COUNT=4\n");
    let moved = event("d|Saal 2|28 10:30|30|Morning later", "RECURRENCE-ID;TZID=Europe/Berlin:20261228T100000\n");
    assert_eq!(counts(&world.import(wrap(&daily)).await), [4, 0, 0, 0]);
    let report = world.import(wrap(&format!("{daily}{moved}"))).await;
    assert_eq!(counts(&report), [0, 1, 0, 3]);
    let kinds: Vec<_> = report.changes.iter().map(|c| c.kind.as_str()).collect();
    assert_eq!(kinds, ["moved", "hall", "retitled"]);
}

/// Imports schedules one after the other, each of them twice: the second time nothing is written.
async fn each_twice(schedules: &[&[&str]]) {
    let mut world = World::new();
    for lines in schedules {
        let mut request = world.request(calendar(&lines.join("\n")));
        request.force = true;
        world.try_import(request.clone()).await.expect("imported");
        let writes = world.db.total_changes();
        let again = world.try_import(request).await.expect("again");
        assert_eq!((again.unchanged, changes(&again)), (again.talks, vec![]), "{lines:?}");
        assert_eq!(world.db.total_changes(), writes, "{lines:?}");
    }
}

#[tokio::test]
async fn a_talk_that_moved_beside_its_twin_stays_which_it_is() {
    each_twice(&[
        &["|Saal 1|28 10:00|45|Title 2", "|Saal 1|28 11:00|45|Title 2"],
        &["u1|Saal 0|28 10:00|45|Title 0", "|Saal 1|28 11:00|45|Title 2", "|Saal 1|28 11:00|45|Title 2"],
    ])
    .await;
}

#[tokio::test]
async fn twins_of_which_one_has_a_uid_keep_it() {
    // The UID is shared, so it identifies neither.
    let twins = ["u1|Saal 0|28 10:00|45|Title 0", "|Saal 1|28 11:00|45|Title 2", "u1|Saal 1|28 11:00|45|Title 2"];
    let swapped = [twins[0], twins[2], twins[1]];
    let before = ["u1|Saal 1|28 10:00|45|Title 2", "|Saal 1|28 11:00|45|Title 2"];
    each_twice(&[&before, &twins, &swapped, &twins]).await;
    each_twice(&[&before, &swapped]).await;
    let mut world = World::new();
    world.import(calendar(&twins.join("\n"))).await;
    assert_eq!(changes(&world.import(calendar(&swapped.join("\n"))).await), Vec::<String>::new());
}
