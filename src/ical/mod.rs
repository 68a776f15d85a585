//! Calendars: the bytes of an .ics file -> [`Schedule`].
//!
//! Real calendars are odd, and a congress must not be lost to one bad line: what cannot be read is left
//! out with a warning that names its line. Refused is only what is no calendar, what ends in the middle,
//! and a time zone that nobody can know, since all its talks would be taped at the wrong time.
//!
//! The way: [`unfold`] (bytes -> logical lines), [`property`] (one line, by the `ical` crate),
//! [`component`] (VEVENT, VTIMEZONE), then [`talks`]: [`versions`] (which entry of one UID holds), [`calendar_zones`] with
//! [`zone`] and [`vtimezone`] (times), [`series`] with [`rule`] and [`recurrence`] (dates), [`hall_rule`] (halls without
//! LOCATION).

pub mod calendar_zones;
pub mod component;
pub mod display_zones;
pub mod hall_rule;
pub mod meeting;
pub mod property;
pub mod recurrence;
pub mod rule;
pub mod series;
pub mod talks;
pub mod time;
pub mod unfold;
pub mod versions;
pub mod vtimezone;
pub mod windows_zones;
pub mod zone;

#[cfg(test)]
mod export_tests;
#[cfg(test)]
mod tests;

use chrono_tz::Tz;
use thiserror::Error;

use crate::domain::halls_file::HallField;
use crate::domain::interval::Interval;
use crate::domain::schedule::Schedule;
use crate::domain::stream_url::redact_text;
use crate::domain::text::one_line;

/// Largest calendar, in bytes. The largest real one seen has 3 MB.
pub const MAX_BYTES: usize = 50_000_000;
/// Most talks, dates of recurring ones included.
pub const MAX_TALKS: usize = 100_000;

/// How to read times that name no zone, which dates of series are wanted, and where halls stand.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// `--tz`: before all others, and also in place of a zone that does not exist.
    pub zone: Option<Tz>,
    /// `time_zone` of the halls file: where the calendar names none.
    pub halls_zone: Option<Tz>,
    /// Where nobody says anything, and more talks start so than in any one zone (else they are read in the zone of
    /// most talks); its use is a warning.
    pub default_zone: Tz,
    /// Dates of a series are read as far as they lie in it; a series of at most a year is always read as a whole.
    /// `None`: the first 1,000 dates of each rule.
    pub window: Option<Interval>,
    /// `hall_from` of the halls file: where the hall stands of a talk that has no LOCATION.
    pub hall_from: Option<HallField>,
    /// Names and aliases of the halls file.
    pub hall_names: Vec<String>,
}

impl ReadOptions {
    /// Nothing is asked for; times without a zone are read in `default_zone`.
    #[must_use]
    pub const fn new(default_zone: Tz) -> Self {
        Self { zone: None, halls_zone: None, default_zone, window: None, hall_from: None, hall_names: Vec::new() }
    }
}

/// Why a calendar is refused as a whole.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CalendarError {
    /// No bytes, or nothing but white space.
    #[error("it is empty")]
    Empty,
    /// An HTML page: an error page, a login.
    #[error("it is a web page (HTML), not a calendar: {0:?}")]
    WebPage(String),
    /// Anything else.
    #[error("it is not a calendar: there is no BEGIN:VCALENDAR in it (it begins with {0:?})")]
    NotACalendar(String),
    /// A download that was cut off.
    #[error("it is cut off: END:VCALENDAR is missing after line {line}")]
    Truncated {
        /// Its last line.
        line: usize,
    },
    /// More than [`MAX_BYTES`].
    #[error("it is larger than 50 MB")]
    TooLarge,
    /// More than [`MAX_TALKS`].
    #[error("it has more than 100,000 talks (the last one that fits ends before line {line})")]
    TooManyTalks {
        /// Line of the first one too many.
        line: usize,
    },
    /// A time zone that does not exist.
    #[error("line {line}: time zone {zone:?} of talk {talk:?} does not exist; {fix}")]
    UnknownZone {
        /// Its name, as written.
        zone: String,
        /// UID or title.
        talk: String,
        /// Where it stands.
        line: usize,
        /// What the user can do about it.
        fix: String,
    },
}

/// Reads a calendar.
///
/// # Errors
/// When it is none, ends in the middle, is too large, or names a time zone that does not exist.
pub fn read(bytes: &[u8], options: &ReadOptions) -> Result<Schedule, CalendarError> {
    if bytes.len() > MAX_BYTES {
        return Err(CalendarError::TooLarge);
    }
    let utf8;
    let bytes = match from_utf16(bytes) {
        Some(text) => {
            utf8 = text;
            utf8.as_bytes()
        }
        None => bytes,
    };
    let calendars = component::read(bytes)?;
    if calendars.is_empty() {
        return Err(no_calendar(bytes));
    }
    talks::schedule(&calendars, options)
}

/// UTF-16 has a byte order mark, or it is not recognised.
fn from_utf16(bytes: &[u8]) -> Option<String> {
    let read: fn([u8; 2]) -> u16 = match bytes.get(..2)? {
        [0xff, 0xfe] => u16::from_le_bytes,
        [0xfe, 0xff] => u16::from_be_bytes,
        _ => return None,
    };
    let units = bytes[2..].chunks_exact(2).map(|pair| read([pair[0], pair[1]]));
    Some(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

/// Says what it is instead.
fn no_calendar(bytes: &[u8]) -> CalendarError {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
    // A page may show the address it was asked for.
    let start = redact_text(&one_line(start.trim_start_matches('\u{feff}')));
    if start.is_empty() {
        return CalendarError::Empty;
    }
    let lower = start.to_ascii_lowercase();
    if lower.starts_with("<!doctype html") || lower.contains("<html") || lower.contains("<head") {
        let title = lower.find("<title>").and_then(|at| {
            let inside = start.get(at + 7..)?;
            inside.get(..inside.find("</").unwrap_or(inside.len()))
        });
        return CalendarError::WebPage(crate::domain::text::shortened(title.unwrap_or(&start).trim(), 60));
    }
    CalendarError::NotACalendar(crate::domain::text::shortened(&start, 40))
}
