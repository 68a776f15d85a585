//! Logical lines -> VEVENTs and VTIMEZONEs as written, one calendar after another.
//!
//! A stack of its own instead of the `ical` crate's: that one loses a whole calendar to one bad line.
//! What is odd here becomes a note on the VEVENT it stands in.

use std::collections::HashMap;

use super::CalendarError;
use super::property::{self, Property, unescaped};
use super::time;
use super::unfold::{LogicalLine, lines};
use super::vtimezone::Observance;
use crate::domain::text::{one_line, paragraphs, shortened};

/// What a property of a VEVENT is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Property UID.
    Uid,
    /// SUMMARY, as text of one line.
    Summary,
    /// LOCATION, as text of one line.
    Location,
    /// DESCRIPTION, as text with its line breaks.
    Description,
    /// CATEGORIES: one field for each category.
    Category,
    /// X-ALT-DESC without its mark-up.
    AltDescription,
    /// STATUS, in capitals.
    Status,
    /// Property URL.
    Url,
    /// TZID as a property of its own.
    Zone,
    /// Property DTSTART.
    Start,
    /// Property DTEND.
    End,
    /// Property DURATION.
    Duration,
    /// RECURRENCE-ID; `flag`: RANGE=THISANDFUTURE.
    RecurrenceId,
    /// Property RRULE.
    Rule,
    /// Property RDATE.
    Date,
    /// Property EXDATE.
    Except,
    /// Property EXRULE.
    ExceptRule,
    /// Property SEQUENCE.
    Sequence,
    /// LAST-MODIFIED.
    Modified,
    /// Name of an ATTENDEE who is a person; in calendars of conferences these are the speakers.
    Attendee,
    /// X-STREAM-URL.
    StreamUrl,
    /// CONFERENCE that one can watch or hear.
    Conference,
    /// ATTACH that is a stream.
    Attach,
    /// What was odd, for people.
    Note,
}

impl Key {
    /// The property's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "DTSTART",
            Self::End => "DTEND",
            Self::RecurrenceId => "RECURRENCE-ID",
            Self::Date => "RDATE",
            Self::Except => "EXDATE",
            _ => "the property",
        }
    }
}

/// One property of a VEVENT. Kept small: a calendar of empty entries must not cost a multiple of its length.
#[derive(Clone, Debug)]
pub struct Field {
    /// Which property it is.
    pub key: Key,
    /// See [`Key::RecurrenceId`].
    pub flag: bool,
    /// Its line, from 1.
    pub line: u32,
    /// TZID, of a time.
    pub zone: Option<Box<str>>,
    /// Its value: text is unescaped, all else is as written.
    pub value: Box<str>,
}

/// A VEVENT as written.
#[derive(Clone, Debug, Default)]
pub struct RawEvent {
    /// Line of its BEGIN, from 1.
    pub line: usize,
    /// In the order of the file.
    fields: Vec<Field>,
}

impl RawEvent {
    /// The first property of a sort: of one that may stand only once, that one counts.
    #[must_use]
    pub fn first(&self, key: Key) -> Option<&Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// The value of the first property of a sort.
    #[must_use]
    pub fn text(&self, key: Key) -> Option<&str> {
        self.first(key).map(|field| &*field.value)
    }

    /// All properties of a sort.
    pub fn all(&self, key: Key) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(move |field| field.key == key)
    }

    /// True where it has such a property.
    #[must_use]
    pub fn has(&self, key: Key) -> bool {
        self.first(key).is_some()
    }
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
    /// First and last year of the times in its VEVENTs.
    pub years: Option<(i32, i32)>,
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
/// Categories kept of one VEVENT.
const MAX_CATEGORIES: usize = 20;
/// Streams kept of one VEVENT.
const MAX_STREAMS: usize = 50;
/// Characters kept of an X-ALT-DESC: a hall is looked for in it.
const MAX_ALT_DESCRIPTION: usize = 2000;
/// VTIMEZONEs kept of one calendar: there are 600 zones in the world.
const MAX_ZONES: usize = 600;
/// Observances kept of one VTIMEZONE.
const MAX_OBSERVANCES: usize = 200;
/// Rules kept of one observance.
const MAX_RULES: usize = 4;
/// Components open at once.
const MAX_DEPTH: usize = 32;

/// Properties that anything here looks at; all others are not even split.
const WANTED: [&str; 30] = [
    "BEGIN",
    "END",
    "DTSTART",
    "DTEND",
    "DURATION",
    "SUMMARY",
    "LOCATION",
    "DESCRIPTION",
    "CATEGORIES",
    "X-ALT-DESC",
    "UID",
    "STATUS",
    "SEQUENCE",
    "LAST-MODIFIED",
    "URL",
    "TZID",
    "RECURRENCE-ID",
    "RRULE",
    "RDATE",
    "EXDATE",
    "EXRULE",
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
                let text = shortened(line.text().trim(), 40);
                self.note(format!("line {} was skipped: {text:?} is no property", line.number));
            }
            return Ok(());
        }
        let text = line.text();
        let read = match property::parse(&text, line.number) {
            Ok((read, mended)) => {
                if let Some(mended) = mended {
                    self.note(mended);
                }
                read
            }
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
        if let Some(event) = self.event.as_mut().filter(|e| e.all(Key::Note).count() < MAX_NOTES) {
            event.push(Key::Note, 0, note);
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
                Some(Kind::Event) => {
                    if let Some(mut event) = self.event.take() {
                        event.fields.shrink_to_fit();
                        self.calendar.events.push(event);
                    }
                }
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
                    if let Some((first, last)) = years_of(&read) {
                        let (a, b) = self.calendar.years.unwrap_or((first, last));
                        self.calendar.years = Some((a.min(first), b.max(last)));
                    }
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
        "RRULE" if observance.rules.len() < MAX_RULES => observance.rules.push(read.value.clone()),
        "RDATE" => {
            let dates = read.value.split(',').map(|d| d.split_once('/').map_or(d, |(from, _)| from));
            let dates = dates.filter_map(|d| time::parse(d).ok()).map(|(at, _)| at);
            observance.dates.extend(dates.take(MAX_OBSERVANCES));
        }
        _ => {}
    }
}

/// First and last year of a property's times.
fn years_of(read: &Property) -> Option<(i32, i32)> {
    if !matches!(read.name.as_str(), "DTSTART" | "DTEND" | "RECURRENCE-ID" | "RDATE" | "EXDATE") {
        return None;
    }
    let years = read.value.split([',', '/']).filter_map(|time| time.trim().get(..4)?.parse::<i32>().ok());
    years.fold(None, |known: Option<(i32, i32)>, year| {
        Some(known.map_or((year, year), |(first, last)| (first.min(year), last.max(year))))
    })
}

impl RawEvent {
    fn push(&mut self, key: Key, line: usize, value: impl Into<Box<str>>) {
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        self.fields.push(Field { key, flag: false, line, zone: None, value: value.into() });
    }

    fn take(&mut self, read: Property) {
        let line = read.line;
        match read.name.as_str() {
            "UID" => self.once(Key::Uid, line, read.text()),
            "SUMMARY" => self.once(Key::Summary, line, read.text()),
            "LOCATION" => self.once(Key::Location, line, read.text()),
            "DESCRIPTION" => self.once(Key::Description, line, paragraphs(&unescaped(&read.value))),
            "X-ALT-DESC" => self.once(Key::AltDescription, line, without_tags(&unescaped(&read.value))),
            "CATEGORIES" => {
                for category in property::list(&read.value) {
                    let category = one_line(&unescaped(category));
                    if !category.is_empty() && self.all(Key::Category).count() < MAX_CATEGORIES {
                        self.push(Key::Category, line, category);
                    }
                }
            }
            "STATUS" => self.once(Key::Status, line, read.value.trim().to_ascii_uppercase()),
            "SEQUENCE" => self.once(Key::Sequence, line, read.value.trim().to_owned()),
            "LAST-MODIFIED" => self.once(Key::Modified, line, read.value.trim().to_owned()),
            "URL" => self.once(Key::Url, line, read.value.trim().to_owned()),
            "TZID" => self.once(Key::Zone, line, read.text()),
            "DURATION" => self.once(Key::Duration, line, read.value.trim().to_owned()),
            "DTSTART" => self.time(Key::Start, &read),
            "DTEND" => self.time(Key::End, &read),
            "RECURRENCE-ID" => self.time(Key::RecurrenceId, &read),
            "RDATE" => self.time(Key::Date, &read),
            "EXDATE" => self.time(Key::Except, &read),
            "RRULE" => self.push(Key::Rule, line, read.value),
            "EXRULE" => self.push(Key::ExceptRule, line, read.value),
            "ATTENDEE" if self.all(Key::Attendee).count() < MAX_ATTENDEES => {
                if let Some(name) = speaker(&read) {
                    self.push(Key::Attendee, line, name);
                }
            }
            "X-STREAM-URL" => self.stream(Key::StreamUrl, &read),
            "CONFERENCE" if has_feature(&read) => self.stream(Key::Conference, &read),
            "ATTACH" if is_media(&read) => self.stream(Key::Attach, &read),
            _ => {}
        }
    }

    /// A property of which the first one with a value counts.
    fn once(&mut self, key: Key, line: usize, value: String) {
        if !value.is_empty() && !self.has(key) {
            self.push(key, line, value);
        }
    }

    fn time(&mut self, key: Key, read: &Property) {
        let one = matches!(key, Key::Start | Key::End | Key::RecurrenceId);
        if one && self.has(key) {
            return;
        }
        self.push(key, read.line, read.value.as_str());
        if let Some(field) = self.fields.last_mut() {
            field.zone = read.param("TZID").filter(|zone| !zone.trim().is_empty()).map(String::into_boxed_str);
            field.flag = read.param("RANGE").is_some_and(|range| range.eq_ignore_ascii_case("THISANDFUTURE"));
        }
    }

    fn stream(&mut self, key: Key, read: &Property) {
        let streams = [Key::StreamUrl, Key::Conference, Key::Attach];
        if self.fields.iter().filter(|field| streams.contains(&field.key)).count() < MAX_STREAMS {
            self.push(key, read.line, read.value.trim());
        }
    }
}

/// The text of an HTML fragment: tags become spaces, entities stay.
fn without_tags(html: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => {
                inside = true;
                out.push(' ');
            }
            '>' if inside => inside = false,
            _ if !inside => out.push(c),
            _ => {}
        }
        if out.len() > 4 * MAX_ALT_DESCRIPTION {
            break;
        }
    }
    shortened(&one_line(&out), MAX_ALT_DESCRIPTION)
}

/// The name of an ATTENDEE who is a person and was not asked whether he comes: invitations have a
/// PARTSTAT, programmes have not.
fn speaker(read: &Property) -> Option<String> {
    if read.param("PARTSTAT").is_some() {
        return None;
    }
    let person = read.param("CUTYPE").is_none_or(|t| t.eq_ignore_ascii_case("INDIVIDUAL"));
    let name = one_line(&read.param("CN")?);
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
