//! Over real calendars, where the environment variable STREAMRIP_TEST_DATA names the folder they are in.

use std::path::{Path, PathBuf};

use chrono_tz::Tz;
use streamrip::app::schedule::import::ImportRequest;
use streamrip::ical::{ReadOptions, read};

use crate::support::{World, counts};

fn data() -> Option<PathBuf> {
    std::env::var_os("STREAMRIP_TEST_DATA").map(PathBuf::from)
}

const OPTIONS: ReadOptions = ReadOptions::new(Tz::Europe__Berlin);

fn calendars(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            calendars(&path, out);
        } else if path.extension().is_some_and(|e| e == "ics") {
            out.push(path);
        }
    }
}

#[test]
fn every_calendar_is_read_or_refused() {
    let Some(data) = data() else { return };
    let mut all = Vec::new();
    calendars(&data, &mut all);
    assert!(all.len() > 130);
    for path in all {
        let bytes = std::fs::read(&path).expect("bytes");
        if let Err(e) = read(&bytes, &OPTIONS) {
            assert!(!e.to_string().is_empty(), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn real_schedules() {
    let Some(data) = data() else { return };
    let mut world = World::new();
    let path = |name: &str| data.join("schedules").join(name).to_string_lossy().into_owned();
    let request = |name: &str, event: &str| ImportRequest {
        source: path(name),
        event: Some(event.to_owned()),
        ..ImportRequest::default()
    };
    let first = world.try_import(request("33c3-before.ics", "33c3")).await.expect("before");
    assert_eq!((first.talks, first.added), (151, 151));
    let second = world.try_import(request("33c3-after.ics", "33c3")).await.expect("after");
    assert_eq!(counts(&second), [0, 3, 2, 146]);
    let divoc = ImportRequest { schedule_xml: Some(path("divoc-r2r.xml")), ..request("divoc-r2r.ics", "divoc") };
    world.try_import(divoc).await.expect("divoc");
    assert_eq!(world.number("SELECT count(*) FROM talk WHERE opted_out"), 10);
    assert_eq!(
        world.number(
            "SELECT count(*) FROM talk JOIN event ON event.id = event_id WHERE name = 'divoc' AND speakers <> '[]'"
        ),
        // One of the 45 has no speakers there.
        44
    );
    world.try_import(request("kielux-2020.ics", "kielux")).await.expect("kielux");
    // What ships with the project says the same as the public schedule.
    world.try_import(request("27c3-derived.ics", "27c3")).await.expect("27c3");
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/schedules/27c3.ics").to_owned();
    let ours = ImportRequest { source: ours, event: Some("27c3".to_owned()), ..ImportRequest::default() };
    let report = world.try_import(ours).await.expect("ours");
    assert!(report.changes.iter().all(|c| c.kind.as_str() == "page"), "{:?}", report.changes);
}
