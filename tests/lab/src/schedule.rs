//! Calendars and halls files of a congress that begins in some seconds.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use crate::now_ms;

/// One talk of a made-up congress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talk {
    /// UID.
    pub uid: String,
    /// SUMMARY.
    pub title: String,
    /// LOCATION.
    pub hall: String,
    /// DTSTART, in ms since the epoch; written with whole seconds.
    pub start_ms: i64,
    /// Length in seconds.
    pub seconds: i64,
    /// Written as STATUS:CANCELLED.
    pub cancelled: bool,
}

impl Talk {
    /// A talk in `hall` that begins at `start_ms`. Its UID is made of its title.
    #[must_use]
    pub fn new(hall: &str, title: &str, start_ms: i64, seconds: i64) -> Self {
        let name: String = title.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        Self {
            uid: format!("{name}@lab.example"),
            title: title.to_owned(),
            hall: hall.to_owned(),
            start_ms,
            seconds,
            cancelled: false,
        }
    }

    /// Its end in ms since the epoch.
    #[must_use]
    pub fn end_ms(&self) -> i64 {
        self.start_ms + self.seconds * 1000
    }
}

/// The next whole second that is at least `seconds` away: calendars know no fractions.
#[must_use]
pub fn in_seconds(seconds: i64) -> i64 {
    (now_ms() + 999) / 1000 * 1000 + seconds * 1000
}

/// The talks as an iCalendar file with times in UTC.
#[must_use]
pub fn calendar(talks: &[Talk]) -> String {
    let mut out = String::from("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//streamrip//lab//EN\r\n");
    for talk in talks {
        let _ = write!(
            out,
            "BEGIN:VEVENT\r\nUID:{}\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:{}\r\nDTEND:{}\r\nSUMMARY:{}\r\n\
             LOCATION:{}\r\n",
            talk.uid,
            stamp(talk.start_ms),
            stamp(talk.end_ms()),
            escape(&talk.title),
            escape(&talk.hall),
        );
        if talk.cancelled {
            out.push_str("STATUS:CANCELLED\r\n");
        }
        out.push_str("END:VEVENT\r\n");
    }
    out.push_str("END:VCALENDAR\r\n");
    out
}

/// A halls file: paddings in seconds, and each hall with its streams and `max_connections`.
#[must_use]
pub fn halls_file(pre: i64, post: i64, halls: &[(&str, &[String], u32)]) -> String {
    let mut out = format!("time_zone    = \"UTC\"\npre_padding  = \"{pre}s\"\npost_padding = \"{post}s\"\n");
    for (name, streams, max_connections) in halls {
        let _ =
            write!(out, "\n[[hall]]\nname    = {name:?}\nstreams = {streams:?}\nmax_connections = {max_connections}\n");
    }
    out
}

fn stamp(ms: i64) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace(',', "\\,").replace(';', "\\;").replace('\n', "\\n")
}
