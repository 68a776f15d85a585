//! Several entries with one UID: which of them a later one replaces.

use std::collections::{HashMap, HashSet};

use super::component::{Key, RawCalendar, RawEvent};
use crate::domain::hall::fold_name;

/// An entry by its calendar and its place in it.
pub type At = (usize, usize);

/// Entries that another one of the same UID and date replaces: the one with the greatest SEQUENCE stays, and of those
/// the one that was changed last (LAST-MODIFIED), wherever in the file they stand. Each comes with the line of the
/// one that stays.
///
/// Real calendars have one UID on dozens of different talks. So entries of more than two titles are compared only within
/// one title, and LAST-MODIFIED alone decides only between entries that share their title or their start.
#[must_use]
pub fn replaced(calendars: &[RawCalendar]) -> HashMap<At, usize> {
    let mut first: HashMap<(&str, &str), At> = HashMap::new();
    let mut groups: HashMap<At, Vec<At>> = HashMap::new();
    let mut order = Vec::new();
    for (c, calendar) in calendars.iter().enumerate() {
        for (e, event) in calendar.events.iter().enumerate() {
            let Some(uid) = event.text(Key::Uid) else { continue };
            let id = (uid, event.text(Key::RecurrenceId).unwrap_or(""));
            match first.get(&id) {
                None => {
                    first.insert(id, (c, e));
                }
                Some(known) => {
                    let group = groups.entry(*known).or_insert_with(|| {
                        order.push(*known);
                        vec![*known]
                    });
                    group.push((c, e));
                }
            }
        }
    }
    let mut out = HashMap::new();
    for group in order.iter().filter_map(|at| groups.get(at)) {
        let of = |at: &At| &calendars[at.0].events[at.1];
        let titles: HashSet<String> = group.iter().map(|at| title(of(at))).collect();
        if titles.len() <= 2 {
            compare(group, &of, &mut out);
            continue;
        }
        let mut by_title: HashMap<String, Vec<At>> = HashMap::new();
        for at in group {
            by_title.entry(title(of(at))).or_default().push(*at);
        }
        for same in by_title.values() {
            compare(same, &of, &mut out);
        }
    }
    out
}

fn compare<'a>(group: &[At], of: &impl Fn(&At) -> &'a RawEvent, out: &mut HashMap<At, usize>) {
    let Some(best) = group.iter().max_by_key(|at| version(of(at))) else { return };
    let (stays, newest) = (of(best), version(of(best)));
    for at in group {
        let event = of(at);
        let own = version(event);
        let alike = || title(event) == title(stays) || start(event) == start(stays);
        if own.0 < newest.0 || (own < newest && alike()) {
            out.insert(*at, stays.line);
        }
    }
}

/// SEQUENCE (0 where there is none) and LAST-MODIFIED.
fn version(event: &RawEvent) -> (i64, Option<&str>) {
    (event.text(Key::Sequence).and_then(|s| s.parse().ok()).unwrap_or(0), event.text(Key::Modified))
}

fn title(event: &RawEvent) -> String {
    fold_name(event.text(Key::Summary).unwrap_or(""))
}

fn start(event: &RawEvent) -> Option<(&str, Option<&str>)> {
    event.first(Key::Start).map(|start| (&*start.value, start.zone.as_deref()))
}
