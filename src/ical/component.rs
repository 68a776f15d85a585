//! Logical lines -> VEVENTs and VTIMEZONEs as written, one calendar after another.
//!
//! A stack of its own instead of the `ical` crate's: that one loses a whole calendar to one bad line.
//! What is odd here becomes a note on the VEVENT it stands in.

use std::collections::HashMap;

use super::CalendarError;
use super::property::{self, Property};
use super::time;
use super::unfold::{LogicalLine, lines};
use super::vtimezone::Observance;

/// A VEVENT as written. Of a property that may stand only once, the first one counts.
#[derive(Clone, Debug, Default)]
pub struct RawEvent {
    /// Line of its BEGIN, from 1.
    pub line: usize,
    /// What was odd, for people.
    pub notes: Vec<String>,
    /// UID property (RFC 5545, 3.8.4.7).
    pub uid: Option<String>,
    /// SUMMARY property: the title.
    pub summary: Option<String>,
    /// LOCATION property: the hall.
    pub location: Option<String>,
    /// STATUS property.
    pub status: Option<String>,
    /// URL property: the talk's web page.
    pub url: Option<String>,
    /// TZID as a property of its own.
    pub zone: Option<String>,
    /// DTSTART property.
    pub start: Option<Property>,
    /// DTEND property.
    pub end: Option<Property>,
    /// DURATION property, as written.
    pub duration: Option<String>,
    /// RECURRENCE-ID.
    pub recurrence_id: Option<Property>,
    /// RRULE properties, as written.
    pub rules: Vec<String>,
    /// RDATE properties.
    pub dates: Vec<Property>,
    /// EXDATE properties.
    pub except: Vec<Property>,
    /// Names of ATTENDEEs who are persons; in calendars of conferences these are the speakers.
    pub attendees: Vec<String>,
    /// X-STREAM-URL, CONFERENCE and ATTACH that are streams, as written, with their preference.
    pub streams: Vec<(u8, String)>,
}

/// One VCALENDAR.
#[derive(Clone, Debug, Default)]
pub struct RawCalendar {
    /// X-WR-TIMEZONE, or TZID as a property of the calendar.
    pub zone: Option<String>,
    /// In the order of the file.
    pub events: Vec<RawEvent>,
    /// VTIMEZONE by TZID.
    pub zones: HashMap<String, RawZone>,
}

/// A VTIMEZONE as written.
#[derive(Clone, Debug, Default)]
pub struct RawZone {
    /// X-LIC-LOCATION.
    pub location: Option<String>,
    /// STANDARD and DAYLIGHT.
    pub observances: Vec<Observance>,
}

/// What an open component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Calendar,
    Event,
    Zone,
    Observance,
    Other,
}

/// Attendees kept of one VEVENT.
const MAX_ATTENDEES: usize = 50;
/// Notes kept of one VEVENT.
const MAX_NOTES: usize = 3;
/// VTIMEZONEs kept of one calendar: there are 600 zones in the world.
const MAX_ZONES: usize = 600;
/// Observances kept of one VTIMEZONE.
const MAX_OBSERVANCES: usize = 200;
/// Components open at once.
const MAX_DEPTH: usize = 32;

/// Properties that anything here looks at; all others (DESCRIPTION above all) are not even split.
const WANTED: [&str; 24] = [
    "BEGIN",
    "END",
    "DTSTART",
    "DTEND",
    "DURATION",
    "SUMMARY",
    "LOCATION",
    "UID",
    "STATUS",
    "URL",
    "TZID",
    "RECURRENCE-ID",
    "RRULE",
    "RDATE",
    "EXDATE",
    "ATTENDEE",
    "X-STREAM-URL",
    "CONFERENCE",
    "ATTACH",
    "X-WR-TIMEZONE",
    "X-LIC-LOCATION",
    "TZOFFSETFROM",
    "TZOFFSETTO",
    "TZNAME",
];

/// Reads the calendars of a file.
///
/// # Errors
/// When it holds no VCALENDAR, or the last one has no end.
pub fn read(bytes: &[u8]) -> Result<Vec<RawCalendar>, CalendarError> {
    let mut reader = Reader::default();
    for line in lines(bytes) {
        reader.line(&line)?;
    }
    reader.finish()
}

#[derive(Debug, Default)]
struct Reader {
    done: Vec<RawCalendar>,
    stack: Vec<(Kind, String)>,
    /// Components open beyond [`MAX_DEPTH`].
    too_deep: usize,
    calendar: RawCalendar,
    event: Option<RawEvent>,
    zone: Option<(Option<String>, RawZone)>,
    observance: Option<Observance>,
    events: usize,
    last_line: usize,
}

impl Reader {
    fn line(&mut self, line: &LogicalLine<'_>) -> Result<(), CalendarError> {
        self.last_line = line.number;
        let name = property::name_of(&line.bytes);
        let wanted = WANTED.iter().any(|w| name.eq_ignore_ascii_case(w.as_bytes()));
        if !wanted {
            if name.is_empty() && self.in_event() {
                let text = crate::domain::text::shortened(line.text().trim(), 40);
                self.note(format!("line {} was skipped: {text:?} is no property", line.number));
            }
            return Ok(());
        }
        let text = line.text();
        let read = match property::parse(&text, line.number) {
            Ok(read) => read,
            Err(why) => {
                let name = String::from_utf8_lossy(name).to_ascii_uppercase();
                self.note(format!("line {} was skipped: {name} cannot be read: {why}", line.number));
                return Ok(());
            }
        };
        match read.name.as_str() {
            "BEGIN" => self.begin(&read),
            "END" => {
                self.end(&read.value.trim().to_ascii_uppercase());
                Ok(())
            }
            _ => {
                self.property(read);
                Ok(())
            }
        }
    }

    fn top(&self) -> Option<Kind> {
        self.stack.last().map(|(kind, _)| *kind)
    }

    fn in_event(&self) -> bool {
        self.top() == Some(Kind::Event) && self.too_deep == 0
    }

    fn note(&mut self, note: String) {
        if let Some(event) = self.event.as_mut().filter(|e| e.notes.len() < MAX_NOTES) {
            event.notes.push(note);
        }
    }

    fn begin(&mut self, read: &Property) -> Result<(), CalendarError> {
        let name = read.value.trim().to_ascii_uppercase();
        let kind = match name.as_str() {
            "VCALENDAR" => Kind::Calendar,
            "VEVENT" => Kind::Event,
            "VTIMEZONE" => Kind::Zone,
            "STANDARD" | "DAYLIGHT" if self.top() == Some(Kind::Zone) => Kind::Observance,
            _ => Kind::Other,
        };
        match kind {
            // The one before it was not closed.
            Kind::Calendar => self.close_to(0),
            Kind::Event | Kind::Zone => {
                if let Some(at) = self.stack.iter().position(|(k, _)| matches!(k, Kind::Event | Kind::Zone)) {
                    self.note(format!("it has no END before line {}", read.line));
                    self.close_to(at);
                }
            }
            _ => {}
        }
        if self.stack.is_empty() && kind != Kind::Calendar {
            return Ok(()); // Outside of any calendar.
        }
        if self.stack.len() >= MAX_DEPTH {
            self.too_deep += 1;
            return Ok(());
        }
        match kind {
            Kind::Event => {
                self.events += 1;
                if self.events > super::MAX_TALKS {
                    return Err(CalendarError::TooManyTalks { line: read.line });
                }
                self.event = Some(RawEvent { line: read.line, ..RawEvent::default() });
            }
            Kind::Zone => self.zone = Some(Default::default()),
            Kind::Observance => self.observance = Some(Observance::default()),
            Kind::Calendar | Kind::Other => {}
        }
        self.stack.push((kind, name));
        Ok(())
    }

    fn end(&mut self, name: &str) {
        if self.too_deep > 0 && name != "VCALENDAR" && name != "VEVENT" {
            self.too_deep -= 1;
            return;
        }
        // An END that nothing began is junk.
        let Some(at) = self.stack.iter().rposition(|(_, open)| open == name) else { return };
        if self.event.is_some() && self.stack[at].0 == Kind::Calendar {
            self.note("it has no END".to_owned());
        }
        self.close_to(at);
    }

    /// Closes all components from depth `at` on.
    fn close_to(&mut self, at: usize) {
        self.too_deep = 0;
        while self.stack.len() > at {
            match self.stack.pop().map(|(kind, _)| kind) {
                Some(Kind::Event) => self.calendar.events.extend(self.event.take()),
                Some(Kind::Observance) => {
                    if let (Some(done), Some((_, zone))) = (self.observance.take(), &mut self.zone)
                        && zone.observances.len() < MAX_OBSERVANCES
                    {
                        zone.observances.push(done);
                    }
                }
                Some(Kind::Zone) => {
                    if let Some((Some(name), zone)) = self.zone.take()
                        && self.calendar.zones.len() < MAX_ZONES
                    {
                        self.calendar.zones.entry(name).or_insert(zone);
                    }
                }
                Some(Kind::Calendar) => self.done.push(std::mem::take(&mut self.calendar)),
                Some(Kind::Other) | None => {}
            }
        }
    }

    fn finish(self) -> Result<Vec<RawCalendar>, CalendarError> {
        if !self.stack.is_empty() {
            return Err(CalendarError::Truncated { line: self.last_line });
        }
        Ok(self.done)
    }

    fn property(&mut self, read: Property) {
        if self.too_deep > 0 {
            return;
        }
        match self.top() {
            Some(Kind::Event) => {
                if let Some(event) = &mut self.event {
                    event.take(read);
                }
            }
            Some(Kind::Calendar) => match read.name.as_str() {
                "X-WR-TIMEZONE" => self.calendar.zone = Some(read.text()),
                "TZID" if self.calendar.zone.is_none() => self.calendar.zone = Some(read.text()),
                _ => {}
            },
            Some(Kind::Zone) => {
                if let Some((name, zone)) = &mut self.zone {
                    match read.name.as_str() {
                        "TZID" => *name = Some(read.text()),
                        "X-LIC-LOCATION" => zone.location = Some(read.text()),
                        _ => {}
                    }
                }
            }
            Some(Kind::Observance) => {
                if let Some(observance) = &mut self.observance {
                    observe(observance, &read);
                }
            }
            Some(Kind::Other) | None => {}
        }
    }
}

fn observe(observance: &mut Observance, read: &Property) {
    let offset = || {
        let text = read.value.trim();
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text.trim_start_matches('+')),
        };
        time::offset_seconds(digits).map(|seconds| sign * seconds)
    };
    match read.name.as_str() {
        "DTSTART" => observance.start = time::parse(&read.value).ok().map(|(at, _)| at.naive()),
        "TZOFFSETFROM" => observance.from = offset(),
        "TZOFFSETTO" => observance.to = offset(),
        "RRULE" => observance.rule = Some(read.value.clone()),
        "RDATE" => {
            let dates = read.value.split(',').filter_map(|d| time::parse(d).ok()).map(|(at, _)| at.naive());
            observance.dates.extend(dates.take(MAX_OBSERVANCES));
        }
        _ => {}
    }
}

impl RawEvent {
    fn take(&mut self, read: Property) {
        fn first<T>(slot: &mut Option<T>, value: T) {
            slot.get_or_insert(value);
        }
        let text = |read: &Property| Some(read.text()).filter(|t| !t.is_empty());
        match read.name.as_str() {
            "UID" => self.uid = self.uid.take().or_else(|| text(&read)),
            "SUMMARY" => self.summary = self.summary.take().or_else(|| text(&read)),
            "LOCATION" => self.location = self.location.take().or_else(|| text(&read)),
            "STATUS" => first(&mut self.status, read.value.trim().to_ascii_uppercase()),
            "URL" => first(&mut self.url, read.value.trim().to_owned()),
            "TZID" => first(&mut self.zone, read.text()),
            "DTSTART" => first(&mut self.start, read),
            "DTEND" => first(&mut self.end, read),
            "DURATION" => first(&mut self.duration, read.value.trim().to_owned()),
            "RECURRENCE-ID" => first(&mut self.recurrence_id, read),
            "RRULE" => self.rules.push(read.value),
            "RDATE" => self.dates.push(read),
            "EXDATE" => self.except.push(read),
            "ATTENDEE" => self.attendees.extend(speaker(&read).filter(|_| self.attendees.len() < MAX_ATTENDEES)),
            "X-STREAM-URL" => self.streams.push((0, read.value.trim().to_owned())),
            "CONFERENCE" if has_feature(&read) => self.streams.push((1, read.value.trim().to_owned())),
            "ATTACH" if is_media(&read) => self.streams.push((2, read.value.trim().to_owned())),
            _ => {}
        }
    }
}

/// The name of an ATTENDEE who is a person and was not asked whether he comes: invitations have a
/// PARTSTAT, programmes have not.
fn speaker(read: &Property) -> Option<String> {
    if read.param("PARTSTAT").is_some() {
        return None;
    }
    let person = read.param("CUTYPE").is_none_or(|t| t.eq_ignore_ascii_case("INDIVIDUAL"));
    let name = crate::domain::text::one_line(&read.param("CN")?);
    (person && !name.is_empty()).then_some(name)
}

/// A CONFERENCE (RFC 7986) that one can watch or hear: chat and screen sharing are none.
fn has_feature(read: &Property) -> bool {
    let wanted = ["VIDEO", "AUDIO", "FEED"];
    read.param_values("FEATURE")
        .flat_map(|value| value.split(','))
        .any(|feature| wanted.iter().any(|w| feature.trim().eq_ignore_ascii_case(w)))
}

/// An ATTACH that is a stream by its type, and not a file inside the calendar.
fn is_media(read: &Property) -> bool {
    let inline =
        read.param("VALUE").is_some_and(|v| v.eq_ignore_ascii_case("BINARY")) || read.param("ENCODING").is_some();
    let media = read.param("FMTTYPE").is_some_and(|t| {
        let t = t.trim().to_ascii_lowercase();
        let hls = ["application/vnd.apple.mpegurl", "application/x-mpegurl", "application/mpegurl"];
        t.starts_with("video/") || t.starts_with("audio/") || hls.contains(&t.as_str())
    });
    media && !inline
}
