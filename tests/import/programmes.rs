//! Calendars with a schedule.xml, and schedules that are one: the exports of an invented garden conference.

use streamrip::app::schedule::import::ImportRequest;
use streamrip::app::schedule::refresh::{apply_fetched, fetch, remembered};
use streamrip::domain::clock::Clock;

use crate::support::{World, warned};

/// UID of the calendar, start on 27 December 2026 in Berlin, hall, title, speaker, whether it may be recorded, and
/// whether schedule.xml has it.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, bool, bool);

const TALKS: [Row; 6] = [
    ("SEED01", "10:00", "Greenhouse", "Opening", "Ada", true, true),
    ("SEED02", "11:00", "Greenhouse", "Worms, unrecorded", "Ben", false, true),
    ("SEED03-0", "12:00", "Shed", "Pruning twice", "Cleo", false, true),
    ("SEED03-1", "16:00", "Shed", "Pruning twice", "Cleo", false, true),
    ("SEED04", "14:00", "Greenhouse", "Bees", "Dora", true, true),
    ("SEED05", "20:00", "Shed", "After the end", "Emil", true, false),
];

/// The calendar as pretalx writes it: letters for the zone, speakers after the title.
fn ics(change: impl Fn(&str) -> String) -> String {
    let zone = "BEGIN:VTIMEZONE\r\nTZID:CET\r\nBEGIN:STANDARD\r\nDTSTART:20001029T040000\r\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nBEGIN:DAYLIGHT\r\nDTSTART:20000326T030000\r\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n";
    let talks: String = TALKS
        .iter()
        .map(|(code, time, hall, title, speaker, _, _)| {
            let at = time.replace(':', "");
            let title = title.replace(',', "\\,");
            format!("BEGIN:VEVENT\r\nUID:pretalx-garden-{code}@pretalx.example.org\r\nDTSTART;TZID=CET:20261227T{at}00\r\nDURATION:PT45M\r\nLOCATION:{hall}\r\nSUMMARY:{title} - {speaker}\r\nURL:https://pretalx.example.org/garden/talk/{}/\r\nEND:VEVENT\r\n", &code[..6])
        })
        .collect();
    change(&format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{zone}{talks}END:VCALENDAR\r\n"))
}

fn of_programme(all: bool) -> impl Iterator<Item = (usize, &'static Row)> {
    TALKS.iter().enumerate().filter(move |(_, row)| all || row.6)
}

fn xml(all: bool, change: impl Fn(&str) -> String) -> String {
    let events: String = of_programme(all)
        .map(|(n, (code, time, hall, title, speaker, may, _))| {
            format!("<event guid='00000000-0000-5000-8000-00000000000{n}' id='{n}' code='{}'><room>{hall}</room><title>{title}</title><date>2026-12-27T{time}:00+01:00</date><start>{time}</start><duration>00:45</duration><language>en</language><persons><person id='{n}'>{speaker}</person></persons><recording><license/><optout>{}</optout></recording><url>https://pretalx.example.org/garden/talk/{0}/</url></event>", &code[..6], !may)
        })
        .collect();
    change(&format!(
        "<?xml version='1.0' encoding='utf-8'?>\n<schedule><conference><acronym>garden</acronym><time_zone_name>Europe/Berlin</time_zone_name></conference><day index='1' date='2026-12-27'><room name='Garden'>{events}</room></day></schedule>"
    ))
}

fn json() -> String {
    let events: Vec<_> = of_programme(true)
        .map(|(n, (code, time, hall, title, speaker, may, _))| {
            format!(r#"{{"guid": "00000000-0000-5000-8000-00000000000{n}", "id": {n}, "code": "{}", "room": "{hall}", "title": "{title}", "date": "2026-12-27T{time}:00+01:00", "start": "{time}", "duration": "00:45", "language": "en", "persons": [{{"public_name": "{speaker}"}}], "do_not_record": {}, "url": "https://pretalx.example.org/garden/talk/{0}/"}}"#, &code[..6], !may)
        })
        .collect();
    format!(
        r#"{{"schedule": {{"conference": {{"acronym": "garden", "time_zone_name": "Europe/Berlin", "days": [{{"date": "2026-12-27", "rooms": {{"Garden": [{}]}}}}]}}}}}}"#,
        events.join(",")
    )
}

const HALLS: &str = "[[hall]]\nname = \"Greenhouse\"\nstreams = [\"http://h.example/1\"]\n[[hall]]\nname = \"Shed\"\nstreams = [\"http://h.example/2\"]\n";

fn request(world: &World, ics: &str, xml: Option<&str>) -> ImportRequest {
    world.file("congress.toml", HALLS);
    let xml = xml.map(|xml| world.file("schedule.xml", xml).to_string_lossy().into_owned());
    ImportRequest { schedule_xml: xml, ..world.request(ics) }
}

fn as_is(text: &str) -> String {
    text.to_owned()
}

/// `start hall title speakers opted_out` of all talks.
fn told(world: &World) -> Vec<String> {
    let sql = "SELECT start_ms || ' ' || hall.name || ' ' || title || ' ' || speakers || ' ' || opted_out FROM talk JOIN hall ON hall.id = hall_id ORDER BY 1";
    let mut query = world.db.prepare(sql).expect("a query");
    let rows = query.query_map([], |r| r.get(0)).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

#[tokio::test]
async fn calendar_xml_and_json_of_one_event_give_the_same_talks() {
    let mut by = Vec::new();
    for source in 0..3 {
        let mut world = World::new();
        let request = match source {
            0 => request(&world, &ics(as_is), Some(&xml(true, as_is))),
            1 => request(&world, &xml(true, as_is), None),
            _ => request(&world, &json(), None),
        };
        let report = world.try_import(request).await.expect("imported");
        assert_eq!((report.talks, report.zone), (6, chrono_tz::Tz::Europe__Berlin));
        by.push(told(&world));
    }
    assert_eq!(by[0], by[1]);
    assert_eq!(by[1], by[2]);
    assert!(by[0][0].starts_with("1798362000000 Greenhouse Opening [\"Ada\"] 0"), "{:?}", by[0]);
}

#[tokio::test]
async fn what_schedule_xml_lacks_is_a_warning_and_its_opt_outs_are_for_all_slots() {
    let mut world = World::new();
    // The encore is outside the event's days: only the calendar has it.
    let without_encore = |text: &str| text.replace("T16:00:00+01:00", "T12:00:00+01:00");
    let request = request(&world, &ics(as_is), Some(&xml(false, without_encore)));
    let report = world.try_import(request).await.expect("imported");
    assert_eq!(world.number("SELECT count(*) FROM talk WHERE opted_out"), 3);
    assert_eq!(
        warned(&report).iter().filter(|kind| **kind == "not-in-schedule-xml").count(),
        1,
        "{:?}",
        report.warnings
    );
    assert!(report.joined.is_some_and(|joined| joined.contains("by code")));
}

#[tokio::test]
async fn an_opt_out_that_meets_no_talk_and_a_file_of_another_event_are_refused() {
    let lost = |text: &str| {
        text.replace("</room></day>", "<event id='99' code='OTHER9'><title>Nobody knows</title><date>2026-12-27T18:00:00+01:00</date><recording><optout>true</optout></recording></event></room></day>")
    };
    let other = |text: &str| text.replace("SEED", "WEED").replace("<title>", "<title>No ");
    for (xml, want) in [(xml(true, lost), "Nobody knows"), (xml(true, other), "another event")] {
        let mut world = World::new();
        let mut request = request(&world, &ics(as_is), Some(&xml));
        let refused = world.refused(request.clone()).await.to_string();
        assert!(refused.contains(want), "{refused}");
        request.force = true;
        world.try_import(request).await.expect("forced");
    }
}

/// A room that is renamed refuses an import; an opt-out that comes with it does not wait for the person who mends that.
#[tokio::test]
async fn opt_outs_are_applied_though_the_rest_is_refused() {
    let late = |text: &str| text.replacen("<optout>false</optout>", "<optout>true</optout>", 1);
    let mut world = World::new();
    let first = request(&world, &ics(as_is), Some(&xml(true, as_is)));
    world.try_import(first).await.expect("imported");
    assert_eq!(world.number("SELECT count(*) FROM talk WHERE opted_out"), 3);
    for broken in ["no calendar at all", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n"] {
        let second = request(&world, broken, Some(&xml(true, late)));
        let refused = world.try_import(second).await.expect_err("refused").to_string();
        if broken.starts_with("no") {
            assert!(refused.contains("1 talk is opted out of recording all the same"), "{refused}");
        }
        assert_eq!(world.number("SELECT count(*) FROM talk WHERE opted_out"), 4);
    }
    // A refresh that cannot read the calendar does it too.
    let all = |text: &str| text.replace("<optout>false</optout>", "<optout>true</optout>");
    request(&world, "no calendar", Some(&xml(true, all)));
    let event = remembered(&world.db, world.clock.now()).expect("events").remove(0);
    let fetched = fetch(event, &std::sync::Arc::default()).await;
    let done = apply_fetched(&world.db, &fetched, world.clock.now()).expect("applied");
    assert!(done.problem.is_some() && done.opted_out.len() == 2, "{done:?}");
}

/// Dates of a series that are over stay as they are known; a series that is moved is moved.
#[tokio::test]
async fn a_series_goes_on_and_is_moved() {
    let series = |hour: u8, more: &str| {
        format!(
            "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:evening\r\nDTSTART;TZID=Europe/Berlin:20200106T{hour}0000\r\nDURATION:PT1H\r\nLOCATION:Shed\r\nSUMMARY:Evening show\r\nRRULE:FREQ=WEEKLY{more}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
        )
    };
    let mut world = World::new();
    let first = request(&world, &series(19, ""), None);
    let report = world.try_import(first).await.expect("imported");
    assert!((100..=107).contains(&report.talks), "{}", report.talks);
    // Two weeks later the first dates are over.
    let later = world.clock.now().plus(15 * 24 * 3_600_000);
    world.clock.step(later.since(world.clock.now()));
    let again = request(&world, &series(19, ""), None);
    let report = world.try_import(again).await.expect("imported");
    assert_eq!((report.removed, report.added), (0, 2), "{:?}", report.changes.iter().take(5).collect::<Vec<_>>());
    let moved = request(&world, &series(20, ""), None);
    let report = world.try_import(moved).await.expect("a change and no removal");
    assert_eq!((report.removed, report.added), (0, 0), "{:?}", report.changes.iter().take(5).collect::<Vec<_>>());
    assert!(report.changed > 100);
}
