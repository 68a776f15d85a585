//! A schedule that changes while talks are held, or after they are over: what was recorded stays under the hall and slot
//! that it was recorded under.

use streamrip::app::library::report::{self, Selection, TalkView};
use streamrip::app::schedule::refresh::{apply_fetched, fetch, remembered};
use streamrip::catalog::import::opt_out;
use streamrip::domain::clock::Clock;
use streamrip::domain::ids::TalkId;
use streamrip::domain::time::MINUTE;

use crate::support::{MORNING, World, calendar, changes, counts, event, wrap};

const TALKS: &str = "
    a|Saal 1|27 11:00|60|A
    b|Saal 1|27 16:00|60|B
    c|Saal 2|27 11:00|60|C
    d|Saal 2|27 16:00|60|D";

const HALLS: &str = "
    [[hall]]\nname = \"Saal 1\"\nstreams = [\"http://h/1\"]
    [[hall]]\nname = \"Saal 2\"\nstreams = [\"http://h/2\"]\n";

/// The four talks are imported; `minutes` after 11:00, Saal 1 has been recorded from 10:55 to then or to 12:15.
async fn recorded(minutes: i64) -> World {
    let mut world = World::new();
    world.file("congress.toml", HALLS);
    world.import(calendar(TALKS)).await;
    world.clock.step((120 + minutes) * MINUTE);
    let at = |minutes: i64| MORNING.plus((120 + minutes) * MINUTE).0;
    let (end, verdict) = if minutes < 75 { (at(minutes), "open") } else { (at(75), "unchecked") };
    world
        .db
        .execute(
            "INSERT INTO segment (uuid, hall_id, path, container, start_ms, end_ms, opened_ms, verdict)
             VALUES ('00000000-0000-7000-8000-000000000001', (SELECT id FROM hall WHERE name = 'Saal 1'), 'segments/1', 'mpegts', ?1, ?2, ?1, ?3)",
            (at(-5), end, verdict),
        )
        .expect("a segment");
    world
        .db
        .execute(
            "INSERT INTO daemon_run (uuid, version, pid, started_ms, heartbeat_ms, stopped_ms) VALUES ('r', '0', 1, ?1, ?2, ?2)",
            (at(-60), at(600)),
        )
        .expect("a daemon");
    world
}

fn views(world: &World) -> Vec<TalkView> {
    report::select(&world.db, &world.env, &Selection::default()).expect("views")
}

fn view(world: &World, id: i64) -> TalkView {
    report::by_id(&world.db, &world.env, id).expect("a talk")
}

fn state(world: &World, id: i64) -> (String, String, f64) {
    let view = view(world, id);
    (view.hall.name.clone(), view.report.state.to_string(), (view.report.coverage * 100.0).round())
}

fn is(state: &(String, String, f64), hall: &str, word: &str, percent: f64) {
    assert_eq!(*state, (hall.to_owned(), word.to_owned(), percent));
}

#[tokio::test]
async fn a_talk_that_leaves_the_schedule_while_it_is_held_keeps_its_recording() {
    for cancelled in [false, true] {
        let mut world = recorded(30).await;
        let without: String = TALKS.lines().filter(|line| !line.contains("a|")).collect::<Vec<_>>().join("\n");
        let text = if cancelled {
            let rest: String = without.lines().map(str::trim).filter(|l| !l.is_empty()).map(|l| event(l, "")).collect();
            wrap(&format!("{}{rest}", event("a|Saal 1|27 11:00|60|A", "STATUS:CANCELLED\n")))
        } else {
            calendar(&without)
        };
        world.request(&text);
        let now = world.clock.now();
        let of = remembered(&world.db, now).expect("events").remove(0);
        let done = apply_fetched(&world.db, &fetch(of, &std::sync::Arc::default()).await, now).expect("applied");
        let told = changes(&done.report.expect("applied"));
        let word = if cancelled { "cancelled" } else { "removed" };
        assert!(told[0].starts_with(word) || told[1].starts_with(word), "{told:?}");
        assert!(
            told.iter().any(|c| c.contains("kept A:  -> its recording stays under Saal 1, 2026-12-27 11:00-12:00")),
            "{told:?}"
        );
        is(&state(&world, 1), "Saal 1", "recording", 100.0);
        let note = view(&world, 1).schedule_note().expect("the schedule's word is beside it");
        assert!(note.contains(if cancelled { "cancelled" } else { "no longer" }), "{note}");
        // The same schedule again is no news.
        let again = world.import(&text).await;
        assert!(changes(&again).is_empty(), "{:?}", changes(&again));
        // Later it is what was recorded, and it stays so.
        world.clock.step(60 * MINUTE);
        world.db.execute("UPDATE segment SET verdict = 'unchecked', end_ms = end_ms + 45 * 60000", []).expect("closed");
        assert!(changes(&world.import(&text).await).is_empty());
        is(&state(&world, 1), "Saal 1", "complete", 100.0);
        // It is back.
        let back = world.import(calendar(TALKS)).await;
        assert_eq!(counts(&back), [0, 1, 0, 3]);
        assert_eq!(view(&world, 1).schedule_note(), None);
    }
}

#[tokio::test]
async fn a_talk_of_which_nothing_was_recorded_follows_the_schedule() {
    let mut world = recorded(30).await;
    let report = world.import(calendar(&TALKS.replace("c|Saal 2|27 11:00", "c|Saal 1|27 11:00"))).await;
    assert_eq!(counts(&report), [0, 1, 0, 3]);
    assert_eq!((views(&world).len(), view(&world, 3).hall.name.as_str()), (4, "Saal 1"));
    let removed = world.import(calendar(&TALKS.replace("c|Saal 2|27 11:00|60|C", ""))).await;
    assert_eq!(counts(&removed), [0, 0, 1, 3]);
    // It was in Saal 1, where something was recorded: that stays.
    is(&state(&world, 3), "Saal 1", "recording", 100.0);
    let removed = world.import(calendar(&TALKS.replace("d|Saal 2|27 16:00|60|D", ""))).await;
    assert_eq!(counts(&removed), [0, 1, 1, 2]);
    assert_eq!(view(&world, 4).report.state.as_str(), "removed");
}

#[tokio::test]
async fn a_room_that_is_corrected_after_the_end_is_shown_beside_the_recording() {
    let mut world = recorded(180).await;
    let corrected = calendar(&TALKS.replace("a|Saal 1", "a|Saal 2"));
    let report = world.import(&corrected).await;
    assert_eq!(counts(&report), [0, 1, 0, 3]);
    assert_eq!(views(&world).len(), 4);
    is(&state(&world, 1), "Saal 1", "complete", 100.0);
    assert!(view(&world, 1).schedule_note().is_some_and(|note| note.contains("Saal 2, 2026-12-27 11:00-12:00")));
    assert!(changes(&world.import(&corrected).await).is_empty());
    // Another title is a better one for the same recording.
    world.import(calendar(&TALKS.replace("a|Saal 1|27 11:00|60|A", "a|Saal 2|27 11:00|60|A and more"))).await;
    assert_eq!(view(&world, 1).talk.title, "A and more");
    is(&state(&world, 1), "Saal 1", "complete", 100.0);
    // Another time of the past is not followed either.
    world.import(calendar(&TALKS.replace("a|Saal 1|27 11:00", "a|Saal 1|27 11:10"))).await;
    is(&state(&world, 1), "Saal 1", "complete", 100.0);
    assert_eq!(view(&world, 1).talk.slot.start, MORNING.plus(120 * MINUTE));
}

#[tokio::test]
async fn a_talk_that_is_held_again_is_recorded_again_and_keeps_what_it_had() {
    let mut world = recorded(180).await;
    let moved = calendar(&TALKS.replace("a|Saal 1|27 11:00", "a|Saal 1|28 11:00"));
    let report = world.import(&moved).await;
    assert_eq!(counts(&report), [0, 1, 0, 3]);
    is(&state(&world, 1), "Saal 1", "complete", 100.0);
    is(&state(&world, 5), "Saal 1", "scheduled", 0.0);
    assert_eq!(view(&world, 5).talk.follows, Some(TalkId(1)));
    assert_eq!(view(&world, 5).talk.uid.as_deref(), Some("a"));
    let note = view(&world, 1).schedule_note().expect("a note");
    assert!(note.contains("Saal 1, 2026-12-28 11:00-12:00 (talk 5)"), "{note}");
    assert!(changes(&world.import(&moved).await).is_empty());
    // The next change is one of the second date.
    let later = calendar(&TALKS.replace("a|Saal 1|27 11:00", "a|Saal 1|28 12:00"));
    assert_eq!(counts(&world.import(&later).await), [0, 1, 0, 3]);
    assert_eq!((views(&world).len(), view(&world, 5).talk.slot.start), (5, MORNING.plus((3 * 60 + 24 * 60) * MINUTE)));
    // Whoever opts out of the one opts out of the other.
    opt_out(&world.db, &[TalkId(5)]).expect("written");
    assert!(view(&world, 1).talk.opted_out);
    world.db.execute("UPDATE talk SET opted_out = 0", []).expect("written");
    // It is not held again after all: one talk, as it was.
    let back = world.import(calendar(TALKS)).await;
    assert_eq!(counts(&back), [0, 1, 1, 3]);
    is(&state(&world, 1), "Saal 1", "complete", 100.0);
    assert_eq!((view(&world, 1).schedule_note(), view(&world, 5).report.state.as_str()), (None, "removed"));
    assert_eq!(view(&world, 5).talk.follows, None);
    assert!(changes(&world.import(calendar(TALKS)).await).is_empty());
}

#[tokio::test]
async fn a_room_that_changes_in_the_middle_of_a_slot_makes_two_recordings() {
    let mut world = recorded(30).await;
    let changed = calendar(&TALKS.replace("a|Saal 1", "a|Saal 2"));
    world.import(&changed).await;
    // Both halls are recorded: the one that was begun until its end, the other one from now on.
    let (first, second) = (view(&world, 1), view(&world, 5));
    assert_eq!((first.hall.name.as_str(), second.hall.name.as_str()), ("Saal 1", "Saal 2"));
    assert!(first.talk.is_on() && second.talk.is_on());
    is(&state(&world, 1), "Saal 1", "recording", 100.0);
    let causes: Vec<_> = second.report.gaps.iter().map(|gap| gap.cause.to_string()).collect();
    assert_eq!(causes, ["rescheduled"]);
    assert!(changes(&world.import(&changed).await).is_empty());
}

#[tokio::test]
async fn a_talk_that_is_delayed_or_prolonged_while_it_is_held_takes_its_recording_along() {
    for (minutes, slot) in [(30, "27 11:10|60"), (30, "27 11:00|45"), (30, "27 11:00|90"), (65, "27 11:00|90")] {
        let mut world = recorded(minutes).await;
        world.import(calendar(&TALKS.replace("a|Saal 1|27 11:00|60", &format!("a|Saal 1|{slot}")))).await;
        assert_eq!((views(&world).len(), view(&world, 1).schedule_note()), (4, None), "{minutes} {slot}");
        let start = if slot.contains("11:10") { 130 } else { 120 };
        assert_eq!(view(&world, 1).talk.slot.start, MORNING.plus(start * MINUTE), "{minutes} {slot}");
    }
}

#[tokio::test]
async fn slots_that_change_their_uids_stay_what_they_are() {
    let two = "x-1|Saal 1|27 11:00|60|A\nx-2|Saal 1|27 16:00|60|A\nc|Saal 2|27 16:00|60|C";
    let mut world = World::new();
    world.file("congress.toml", HALLS);
    world.import(calendar(two)).await;
    world.clock.step(5 * 60 * MINUTE);
    let place = |world: &World| -> Vec<_> { views(world).iter().map(|v| (v.talk.id.0, v.talk.slot.start)).collect() };
    let before = place(&world);
    // They are swapped; then the first one is over and no longer counted.
    let swapped = two.replace("x-1", "x-3").replace("x-2", "x-1").replace("x-3", "x-2");
    world.import(calendar(&swapped)).await;
    assert_eq!(place(&world), before);
    let counted_anew = "x-1|Saal 1|27 16:00|60|A\nc|Saal 2|27 16:00|60|C";
    let mut world = World::new();
    world.file("congress.toml", HALLS);
    world.import(calendar(two)).await;
    world.clock.step(5 * 60 * MINUTE);
    let report = world.import(calendar(counted_anew)).await;
    assert_eq!(report.removed, 1, "{:?}", changes(&report));
    assert_eq!(place(&world), before);
    // What is to come is known by its UID: these two change places.
    let mut world = World::new();
    world.file("congress.toml", HALLS);
    world.import(calendar(two)).await;
    assert_eq!(world.import(calendar(&swapped)).await.changed, 2);
    assert_ne!(place(&world), before);
}
