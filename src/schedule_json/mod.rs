//! schedule.json of frab, pretalx and the C3 hub: the bytes of the file -> [`Programme`].
//!
//! Read entry by entry and without a tree of the whole file, so that it takes no multiple of its length. A field of
//! another type than usual is a field that says nothing.

mod loose;

#[cfg(test)]
mod tests;

use serde::Deserialize;
use thiserror::Error;

use crate::domain::programme::{Day, Entry, Programme, clock, code_of_page, duration_ms, instant, says_something};
use crate::domain::schedule::{TalkDetails, TalkLink};
use crate::domain::text::{one_line, paragraphs, shortened};
use loose::{Fields, List, Loose, Rooms};

/// Largest schedule.json, in bytes.
pub const MAX_BYTES: usize = 50_000_000;
/// Most talks: as many as a calendar may have.
pub const MAX_TALKS: usize = 100_000;

/// Why a schedule.json is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ScheduleJsonError {
    /// More than [`MAX_BYTES`].
    #[error("it is larger than 50 MB")]
    TooLarge,
    /// More than [`MAX_TALKS`].
    #[error("it has more than 100,000 talks")]
    TooManyTalks,
    /// Not JSON, or cut off.
    #[error("line {line}, column {column}: {what}")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// The parser's words.
        what: String,
    },
    /// JSON of another sort.
    #[error("it has no schedule with a conference and its days")]
    NotASchedule,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    schedule: Option<Fields<Schedule>>,
    /// Some write the schedule without its frame.
    conference: Option<Fields<Conference>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Schedule {
    conference: Option<Fields<Conference>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Conference {
    title: Loose,
    acronym: Loose,
    time_zone_name: Loose,
    day_change: Loose,
    rooms: List<Fields<Room>>,
    days: List<Fields<JsonDay>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Room {
    name: Loose,
    guid: Loose,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct JsonDay {
    date: Loose,
    day_start: Loose,
    rooms: Rooms,
}

/// One entry as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    guid: Loose,
    code: Loose,
    id: Loose,
    url: Loose,
    origin_url: Loose,
    title: Loose,
    subtitle: Loose,
    room: Loose,
    date: Loose,
    start: Loose,
    duration: Loose,
    #[serde(rename = "abstract")]
    summary: Loose,
    description: Loose,
    language: Loose,
    track: Loose,
    #[serde(rename = "type")]
    session_type: Loose,
    recording_license: Loose,
    do_not_record: Loose,
    recording: Option<Fields<Recording>>,
    persons: List<Fields<Person>>,
    links: List<Fields<Link>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Recording {
    license: Loose,
    optout: Loose,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Person {
    public_name: Loose,
    full_public_name: Loose,
    name: Loose,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Link {
    url: Loose,
    title: Loose,
}

/// True where bytes look like JSON and not like a calendar or XML.
#[must_use]
pub fn looks_like(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{')
}

/// Reads a schedule.json.
///
/// # Errors
/// When it is not JSON, no schedule, or too large.
pub fn read(bytes: &[u8]) -> Result<Programme, ScheduleJsonError> {
    if bytes.len() > MAX_BYTES {
        return Err(ScheduleJsonError::TooLarge);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let file: File = serde_json::from_slice(bytes).map_err(|e| ScheduleJsonError::NotJson {
        line: e.line(),
        column: e.column(),
        what: shortened(&e.to_string(), 120),
    })?;
    let conference = file.schedule.and_then(|s| s.0.conference).or(file.conference);
    let Some(Fields(conference)) = conference else { return Err(ScheduleJsonError::NotASchedule) };
    let mut programme = Programme {
        title: line_of(conference.title),
        acronym: line_of(conference.acronym),
        time_zone: line_of(conference.time_zone_name),
        entries: Vec::new(),
    };
    let change = line_of(conference.day_change).and_then(|text| clock(&text));
    let rooms: Vec<(String, String)> = conference
        .rooms
        .0
        .into_iter()
        .filter_map(|room| Some((line_of(room.0.name)?, line_of(room.0.guid)?)))
        .collect();
    for Fields(day) in conference.days.0 {
        let date = line_of(day.date);
        let frame = Day {
            date: date.and_then(|d| chrono::NaiveDate::parse_from_str(d.get(..10)?, "%Y-%m-%d").ok()),
            start: line_of(day.day_start).and_then(|text| instant(&text)),
            change,
        };
        for (room, event) in day.rooms.events {
            let room = day.rooms.names.get(room).map(|name| one_line(name));
            programme.entries.push(entry(event, room, &frame, &rooms));
            if programme.entries.len() > MAX_TALKS {
                return Err(ScheduleJsonError::TooManyTalks);
            }
        }
    }
    Ok(programme)
}

fn line_of(text: Loose) -> Option<String> {
    text.0.map(|text| one_line(&text)).filter(|text| says_something(text))
}

fn entry(event: Event, around: Option<String>, day: &Day, rooms: &[(String, String)]) -> Entry {
    let yes =
        |text: Loose| matches!(line_of(text).unwrap_or_default().to_ascii_lowercase().as_str(), "true" | "1" | "yes");
    let long = |text: Loose| text.0.map(|text| paragraphs(&text)).filter(|text| says_something(text));
    let address = |text: Loose| line_of(text).filter(|url| is_page(url));
    let (url, origin_url) = (address(event.url), address(event.origin_url));
    let of_page = |url: &Option<String>| url.as_deref().and_then(code_of_page).map(str::to_owned);
    let code = line_of(event.code).or_else(|| of_page(&url)).or_else(|| of_page(&origin_url));
    let mut names: Vec<String> =
        line_of(event.room).into_iter().chain(around.filter(|name| !name.is_empty())).collect();
    names.dedup();
    let room_guid =
        names.first().and_then(|name| rooms.iter().find(|(known, _)| known == name)).map(|(_, guid)| guid.clone());
    let recording = event.recording.map(|r| r.0).unwrap_or_default();
    let opted_out = yes(recording.optout) | yes(event.do_not_record);
    let name = |person: Person| {
        line_of(person.public_name).or_else(|| line_of(person.full_public_name)).or_else(|| line_of(person.name))
    };
    let link = |link: Link| {
        let url = line_of(link.url).filter(|url| is_page(url))?;
        Some(TalkLink { url, title: line_of(link.title) })
    };
    Entry {
        title: line_of(event.title).unwrap_or_default(),
        rooms: names,
        start: day.start_of(line_of(event.date).as_deref(), line_of(event.start).as_deref()),
        duration_ms: line_of(event.duration).as_deref().and_then(duration_ms),
        speakers: event.persons.0.into_iter().filter_map(|person| name(person.0)).collect(),
        opted_out,
        url,
        origin_url,
        details: TalkDetails {
            guid: line_of(event.guid),
            code,
            id: line_of(event.id),
            room_guid,
            subtitle: line_of(event.subtitle),
            summary: long(event.summary),
            description: long(event.description),
            language: line_of(event.language),
            track: line_of(event.track),
            session_type: line_of(event.session_type),
            licence: line_of(event.recording_license).or_else(|| line_of(recording.license)),
            links: event.links.0.into_iter().filter_map(|l| link(l.0)).collect(),
        },
        line: 0,
    }
}

/// An address that may become a link.
fn is_page(url: &str) -> bool {
    url.len() <= 2000
        && url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}
