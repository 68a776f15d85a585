//! What real schedules were seen to do between two exports, while the congress runs: every room renamed, every
//! UID new, half of the talks gone. Made of our own 27C3; of more calendars where `STREAMRIP_TEST_DATA` names a
//! folder of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use streamrip::app::schedule::import::ImportRequest;
use streamrip::app::schedule::refresh::{Refreshed, apply_fetched, fetch, remembered};
use streamrip::catalog::schedule::{TalkFilter, snapshot};
use streamrip::domain::clock::Clock;
use streamrip::domain::time::Ms;
use streamrip::plan::wanted::{Wanted, wanted};

use crate::support::{World, counts};

/// A calendar in pieces: what stands before, each VEVENT, what stands behind.
struct Export {
    head: String,
    events: Vec<String>,
    tail: String,
}

impl Export {
    fn of(text: &str) -> Self {
        let text = text.replace("\r\n", "\n");
        let (head, rest) = text.split_once("BEGIN:VEVENT\n").expect("a talk");
        let mut events: Vec<String> = rest.split("BEGIN:VEVENT\n").map(|e| format!("BEGIN:VEVENT\n{e}")).collect();
        let last = events.pop().expect("a talk");
        let (event, tail) = last.split_once("END:VEVENT\n").expect("its end");
        events.push(format!("{event}END:VEVENT\n"));
        Self { head: head.to_owned(), tail: tail.to_owned(), events }
    }

    fn text(&self) -> String {
        format!("{}{}{}", self.head, self.events.concat(), self.tail)
    }

    fn halls(&self) -> BTreeSet<&str> {
        self.events.iter().flat_map(|e| e.lines()).filter_map(|l| l.strip_prefix("LOCATION:")).collect()
    }

    /// Each line that begins so gets this behind its beginning.
    fn with(&self, begins: &str, more: &str) -> String {
        let events = self.events.iter().map(|e| e.replace(&format!("\n{begins}"), &format!("\n{begins}{more}")));
        Self { head: self.head.clone(), events: events.collect(), tail: self.tail.clone() }.text()
    }

    /// Without the last `n` talks, in the order of their times.
    fn without(&self, n: usize) -> String {
        let start = |e: &String| e.lines().find(|l| l.starts_with("DTSTART")).map(|l| l[l.len() - 15..].to_owned());
        let mut events = self.events.clone();
        events.sort_by_key(start);
        events.truncate(events.len() - n);
        Self { head: self.head.clone(), events, tail: self.tail.clone() }.text()
    }
}

/// Calendars, and an instant within the congress.
fn exports() -> Vec<(Export, Ms)> {
    let mut files =
        vec![(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/schedules/27c3.ics")), 1_293_455_400_000)];
    if let Some(data) = std::env::var_os("STREAMRIP_TEST_DATA").map(|data| PathBuf::from(data).join("schedules")) {
        files.push((data.join("27c3-derived.ics"), 1_293_455_400_000));
        // 2016-12-27 14:10 in Berlin.
        files.push((data.join("33c3-after.ics"), 1_482_844_200_000));
    }
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    files.iter().map(|(path, now)| (Export::of(&read(path)), Ms(*now))).collect()
}

async fn refresh(world: &World) -> Refreshed {
    let now = world.clock.now();
    let event = remembered(&world.db, now).expect("events").into_iter().next().expect("one");
    let fetched = fetch(event, &std::sync::Arc::default()).await;
    apply_fetched(&world.db, &fetched, now).expect("catalog")
}

/// What a daemon would be taping, and will.
fn plan(world: &World) -> Wanted {
    let s = snapshot(&world.db, TalkFilter::default()).expect("a schedule");
    wanted(world.clock.now(), &s.events, &s.halls, &s.talks, &world.env.settings.record)
}

fn to_come(world: &World) -> usize {
    let sql = format!("SELECT count(*) FROM talk WHERE status = 'scheduled' AND end_ms > {}", world.clock.now().0);
    usize::try_from(world.number(&sql)).expect("a count")
}

#[tokio::test]
async fn real_re_exports_do_not_cost_the_day() {
    for (export, now) in exports() {
        let mut world = World::new();
        world.clock.step(now.since(world.clock.now()));
        let mut halls = String::new();
        for (n, hall) in export.halls().iter().enumerate() {
            let _ = write!(halls, "[[hall]]\nname = {hall:?}\nstreams = [\"http://h.example/{n}\"]\n");
        }
        world.file("congress.toml", halls);
        world.import(export.text()).await;
        let (talks, wanted) = (world.talks(), plan(&world));
        assert!(wanted.tapes.iter().any(|t| t.window.start <= now && now < t.window.end), "something is on");
        let unchanged = |world: &World, done: &Refreshed, why: &str| {
            let problem = done.problem.as_deref().unwrap_or_default();
            assert!(problem.contains(why) && done.report.is_none(), "{why}: {done:?}");
            assert_eq!((world.talks(), plan(world)), (talks.clone(), wanted.clone()), "{why}");
        };

        // All rooms are renamed: they are the halls that they were, and no talk moves.
        world.request(export.with("LOCATION:", "Neu "));
        let report = refresh(&world).await.report.expect("applied");
        assert!(report.warnings.iter().any(|w| w.kind.as_str() == "renamed-hall"), "{:?}", report.warnings);
        assert_eq!((world.talks(), plan(&world)), (talks.clone(), wanted.clone()));

        // The talks are found again by hall, start and title: the same rows, so nothing is taped twice.
        world.request(export.with("UID:", "9-"));
        let done = refresh(&world).await;
        let report = done.report.expect("applied");
        assert_eq!((report.added, report.removed), (0, 0), "{:?}", report.changes);
        assert_eq!((world.talks(), plan(&world)), (talks.clone(), wanted.clone()));

        let coming = to_come(&world);
        world.request(export.without(coming / 2 + 1));
        unchanged(&world, &refresh(&world).await, &format!("removes {} of {coming} talks to come", coming / 2 + 1));

        // Both at once, with other names: start and title tell which talk is which.
        let both = Export::of(&export.with("UID:", "8-"));
        world.request(both.with("LOCATION:", "Ganz neu "));
        let report = refresh(&world).await.report.expect("applied");
        assert_eq!((report.added, report.removed), (0, 0), "{:?}", report.changes);
        assert_eq!((world.talks(), plan(&world)), (talks.clone(), wanted.clone()));

        // One more is right again, and says so.
        world.request(export.text());
        let done = refresh(&world).await;
        assert!(done.problem.is_none() && done.report.is_some(), "{done:?}");
        assert_eq!(world.number("SELECT count(*) FROM event WHERE refresh_problem IS NOT NULL"), 0);
        assert_eq!((world.talks(), plan(&world)), (talks, wanted));

        // Half is believed; and whoever means it can say so.
        world.request(export.without(coming / 2));
        assert_eq!(refresh(&world).await.report.map(|r| r.removed), Some(coming / 2));
        let forced = ImportRequest { force: true, ..world.request(export.without(coming - 1)) };
        let report = world.try_import(forced).await.expect("forced");
        assert_eq!(counts(&report)[2], coming - 1 - coming / 2);
    }
}
