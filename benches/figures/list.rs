//! `list` of one day in a large catalog.

use std::time::Duration;

use streamrip_lab::Streamrip;

use crate::catalog::{self, SEGMENTS_PER_TALK, SOME_DAY, TALKS};
use crate::measure::{Figure, Reached, median, seconds};

const RUNS: usize = 7;

pub fn figures() -> Vec<Figure> {
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    catalog::make(&streamrip.data_dir());
    let day = ["list", "--day", SOME_DAY];
    let json = ["list", "--day", SOME_DAY, "--json"];
    let lines = streamrip.json(&json).as_array().map_or(0, Vec::len);
    let floor = floor(&streamrip);
    let figure = |what: &str, arguments: &[&str]| {
        let took = median(RUNS, || (), |()| drop(streamrip.ok(arguments)));
        Figure {
            what: format!(
                "{what}: {lines} talks of {TALKS}, {} segments of {}",
                lines as i64 * SEGMENTS_PER_TALK,
                TALKS * SEGMENTS_PER_TALK
            ),
            measured: seconds(took),
            compared_with: format!("{} for `sqlite3` to count and sum up the day's segments", seconds(floor)),
            limit: "0.15 s",
            reached: Reached::of(took <= Duration::from_millis(150)),
        }
    };
    vec![figure("list of one day", &day), figure("the same with --json", &json)]
}

/// The same question asked of the SQLite shell: a process start, an open, one query.
fn floor(streamrip: &Streamrip) -> Duration {
    let query = format!(
        "SELECT count(*), sum(segment.end_ms - segment.start_ms) FROM talk JOIN segment ON segment.hall_id = talk.hall_id
           AND segment.start_ms > talk.start_ms - 3600000 AND segment.start_ms < talk.end_ms AND segment.end_ms > talk.start_ms
         WHERE talk.start_ms BETWEEN unixepoch('{SOME_DAY} 06:00') * 1000 AND unixepoch('{SOME_DAY} 06:00', '+1 day') * 1000 - 1"
    );
    median(
        RUNS,
        || (),
        |()| {
            let output = std::process::Command::new("sqlite3")
                .arg("-readonly")
                .arg(streamrip.data_dir().join("catalog.db"))
                .arg(&query)
                .output();
            assert!(output.is_ok_and(|o| o.status.success()), "sqlite3 fails");
        },
    )
}
