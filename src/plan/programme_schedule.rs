//! A schedule.xml or schedule.json as a schedule of its own. Pure.

use chrono_tz::Tz;

use crate::domain::interval::Interval;
use crate::domain::programme::{Entry, Programme};
use crate::domain::schedule::{Schedule, ScheduledTalk, Warning, WarningKind};
use crate::domain::text::shortened;
use crate::domain::time::HOUR;

/// Length of a talk that has none.
const ASSUMED_LENGTH: i64 = HOUR;

/// Makes talks of all entries that have a start. Times without an offset are read in the programme's zone, or in `zone`
/// where it names none. The UID is the guid, which stays when a talk is moved.
#[must_use]
pub fn schedule(programme: &Programme, zone: Tz) -> Schedule {
    let named: Option<Tz> = programme.time_zone.as_deref().and_then(|name| Tz::from_str_insensitive(name).ok());
    let mut out = Schedule { time_zone: named.map(|zone| zone.name().to_owned()), ..Schedule::default() };
    if let (None, Some(name)) = (named, &programme.time_zone) {
        out.warnings.push(Warning {
            kind: WarningKind::UnknownTimeZone,
            talk: None,
            message: format!("time zone {:?} does not exist; {zone} is taken for it", shortened(name, 60)),
        });
    }
    let zone = named.unwrap_or(zone);
    for entry in &programme.entries {
        let place = if entry.line > 0 { format!("line {}: ", entry.line) } else { String::new() };
        let mut warn = |kind, what: &str| {
            let title = shortened(if entry.title.is_empty() { "(no title)" } else { &entry.title }, 60);
            let message = format!("{place}{title:?} {what}");
            out.warnings.push(Warning { kind, talk: Some(title), message });
        };
        let Some(start) = entry.start.instant(zone) else {
            warn(WarningKind::BadEvent, "has no start that can be read and was left out");
            continue;
        };
        let length = entry.duration_ms.unwrap_or_else(|| {
            warn(WarningKind::NoEnd, "has no duration; one hour is assumed");
            ASSUMED_LENGTH
        });
        out.talks.push(talk(entry, programme, Interval::new(start, start.plus(length))));
    }
    out
}

fn talk(entry: &Entry, programme: &Programme, slot: Interval) -> ScheduledTalk {
    let title = if entry.title.is_empty() { "(no title)" } else { &entry.title };
    let id = || {
        let id = entry.details.id.as_ref()?;
        Some(format!("{id}@{}", programme.acronym.as_deref().unwrap_or("schedule")))
    };
    ScheduledTalk {
        uid: entry.details.guid.clone().or_else(id),
        speakers: entry.speakers.clone(),
        hall: entry.rooms.first().cloned(),
        opted_out: entry.opted_out,
        in_schedule_xml: true,
        offset_known: matches!(entry.start, crate::domain::programme::EntryStart::Instant(_)),
        page_url: entry.url.clone().or_else(|| entry.origin_url.clone()),
        line: entry.line,
        details: entry.details.clone(),
        ..ScheduledTalk::new(title, slot)
    }
}
