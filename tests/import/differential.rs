//! Compares the dates of calendars with what Python's icalendar and recurring-ical-events read (`make diff-calendars`).
//! Does nothing where STREAMRIP_DIFF_DATES does not name the file that differential/dates.py has written.
#![allow(clippy::print_stdout, reason = "the comparison is what it prints")]

use std::collections::BTreeMap;

use chrono_tz::Tz;
use serde_json::Value;
use streamrip::domain::interval::Interval;
use streamrip::domain::time::Ms;
use streamrip::ical::{ReadOptions, read};

/// Start and length (`None`: it has none), milliseconds; how often.
type Dates = BTreeMap<(i64, Option<i64>), usize>;

#[test]
fn calendars_agree_with_icalendar_and_recurring_ical_events() {
    let Some(path) = std::env::var_os("STREAMRIP_DIFF_DATES") else { return };
    let text = std::fs::read_to_string(path).expect("the file of dates.py");
    let (mut agree, mut differ, mut dates, mut refused_here, mut refused_there) = (0, 0, 0, 0, 0);
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let number = |key: &str| record[key].as_i64().expect("a number");
        let window = Interval::new(Ms(number("from")), Ms(number("until")));
        let file = record["file"].as_str().expect("a path");
        let options = ReadOptions { zone: Some(Tz::Europe__Berlin), window: Some(window), ..ReadOptions::new(Tz::UTC) };
        let ours = read(&std::fs::read(file).expect("a calendar"), &options);
        let (ours, theirs) = match (ours, record["dates"].as_array()) {
            (Ok(ours), Some(theirs)) => (ours, theirs),
            (Err(e), Some(theirs)) => {
                refused_here += 1;
                if !theirs.is_empty() {
                    println!("only refused here: {file}: {e}");
                }
                continue;
            }
            (_, None) => {
                refused_there += 1;
                continue;
            }
        };
        let mut counted = Dates::new();
        for talk in ours.talks.iter().filter(|t| window.start <= t.slot.start && t.slot.start < window.end) {
            *counted.entry((talk.slot.start.0, Some(talk.slot.len_ms()))).or_default() += 1;
        }
        let mut missing = Vec::new();
        for date in theirs {
            let (start, len) = (date[0].as_i64().expect("a start"), date[1].as_i64());
            let found = counted
                .iter()
                .find(|((s, l), n)| *s == start && **n > 0 && (len.is_none() || *l == len.map(|l| l.max(0))));
            match found.map(|(key, _)| *key) {
                Some(key) => *counted.entry(key).or_default() -= 1,
                None => missing.push((start, len)),
            }
        }
        counted.retain(|_, n| *n > 0);
        dates += theirs.len();
        if missing.is_empty() && counted.is_empty() {
            agree += 1;
            continue;
        }
        differ += 1;
        let shown = |(start, len): (i64, Option<i64>)| {
            format!("{} {:?} min", Ms(start).rfc3339(Tz::UTC), len.map(|l| l / 60_000))
        };
        let some = |list: Vec<(i64, Option<i64>)>| list.into_iter().take(3).map(shown).collect::<Vec<_>>();
        println!(
            "differs: {file} ({} missing here: {:?}; {} only here: {:?}) {:?}",
            missing.len(),
            some(missing.clone()),
            counted.len(),
            some(counted.keys().copied().collect()),
            ours.warnings.iter().take(2).map(|w| w.message.as_str()).collect::<Vec<_>>()
        );
    }
    println!(
        "{agree} of {} calendars in their windows agree, {dates} dates; refused: {refused_here} only here, {refused_there} there",
        agree + differ
    );
}
