//! VEVENTs as written -> talks.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use chrono::{NaiveDateTime, TimeDelta};
use chrono_tz::Tz;

use super::calendar_zones::{CalendarZones, Moment};
use super::component::{Key, RawCalendar, RawEvent};
use super::hall_rule::HallFinder;
use super::recurrence::WallClock;
use super::series::{self, Change, Date, Series, SeriesReader};
use super::time::{self, WrittenTime};
use super::versions::{self, At};
use super::zone::{self, Resolved, Zone};
use super::{CalendarError, MAX_TALKS, ReadOptions};
use crate::domain::interval::Interval;
use crate::domain::schedule::{Schedule, ScheduledTalk, TalkDetails, Warning, WarningKind};
use crate::domain::text::shortened;
use crate::domain::time::{HOUR, Ms, SECOND};

/// Length of a talk that has no end.
const ASSUMED_LENGTH: i64 = HOUR;
/// Warnings kept of each kind: more of them are counted and not told.
const MAX_WARNINGS: usize = 500;
/// Streams of one talk.
const MAX_STREAMS: usize = 16;

/// Turns the calendars of a file into its schedule.
///
/// # Errors
/// When a time zone does not exist, or there are too many talks.
pub fn schedule(calendars: &[RawCalendar], options: &ReadOptions) -> Result<Schedule, CalendarError> {
    let mut reader = Reader {
        options,
        schedule: Schedule::default(),
        floating: Vec::new(),
        assumed_zone: options.default_zone,
        told: HashMap::new(),
        outside: Vec::new(),
        halls: HallFinder::new(options),
    };
    let mut zones: Vec<CalendarZones<'_>> = calendars.iter().map(|c| CalendarZones::new(c, options)).collect();
    reader.choose_zones(&mut zones);
    let replaced = versions::replaced(calendars);
    for (number, zones) in zones.iter_mut().enumerate() {
        reader.calendar(number, zones, &replaced)?;
    }
    Ok(reader.finish())
}

struct Reader<'a> {
    options: &'a ReadOptions,
    schedule: Schedule,
    /// Talks whose zone nobody named.
    floating: Vec<String>,
    /// What times are read in whose zone nobody named.
    assumed_zone: Tz,
    /// How many warnings of a kind there were.
    told: HashMap<WarningKind, usize>,
    /// Series that have no date in the window.
    outside: Vec<String>,
    halls: HallFinder<'a>,
}

impl<'a> Reader<'a> {
    /// Chooses the zone of the schedule and that of times without one.
    ///
    /// Most talks decide, by numbers that the default zone has no part in. For the event's zone is the default of
    /// the next import: times read in the default, while the event gets the zone of the others, would then move.
    fn choose_zones(&mut self, calendars: &mut [CalendarZones<'_>]) {
        // X-WR-TIMEZONE, for a calendar in UTC.
        let mut of_calendar: Option<Tz> = None;
        let mut named: BTreeMap<&'static str, (usize, Tz)> = BTreeMap::new();
        let mut assumed = 0_usize;
        for zones in &mut *calendars {
            let calendar = zones.calendar;
            if let Some(Resolved::Known(Zone::Named(zone))) = calendar.zone.as_deref().map(|n| zone::resolve(n, None)) {
                of_calendar = of_calendar.or(Some(zone));
            }
            for event in &calendar.events {
                let Some(start) = event.first(Key::Start) else { continue };
                match zones.moment(event, start, &start.value, &label(event)) {
                    Ok(Ok(Moment { assumed: true, .. })) => assumed += 1,
                    Ok(Ok(Moment { written: WrittenTime::Utc(_), .. })) => {}
                    Ok(Ok(Moment { zone, .. })) => {
                        if let Some(zone) = zone.shown() {
                            named.entry(zone.name()).or_insert((0, zone)).0 += 1;
                        }
                    }
                    _ => {}
                }
                // What is wrong with a talk is told when it is read; a zone is looked up only once.
                zones.warnings.retain(|w| w.kind == WarningKind::UnknownTimeZone);
            }
        }
        // The zone of most talks; of two with as many, the first by name, so that it is always the same.
        let most = named.into_values().max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.name().cmp(a.1.name())));
        let chosen = match most {
            Some((count, zone)) if count >= assumed => Some(zone),
            _ if assumed > 0 => Some(self.assumed_zone),
            _ => of_calendar,
        };
        // Without a start there may still be an end, or an exception, that names no zone.
        self.assumed_zone = chosen.unwrap_or(self.assumed_zone);
        for zones in calendars {
            zones.assumed_zone = self.assumed_zone;
        }
        self.schedule.time_zone = chosen.map(|zone| zone.name().to_owned());
    }

    fn calendar(
        &mut self,
        number: usize,
        zones: &mut CalendarZones<'a>,
        replaced: &HashMap<At, usize>,
    ) -> Result<(), CalendarError> {
        let calendar = zones.calendar;
        let stays = |place: &usize| !replaced.contains_key(&(number, *place));
        let mut changes: HashMap<&str, Vec<(usize, &RawEvent)>> = HashMap::new();
        for (place, event) in calendar.events.iter().enumerate().filter(|(place, _)| stays(place)) {
            if let (Some(uid), true) = (event.text(Key::Uid), event.has(Key::RecurrenceId)) {
                changes.entry(uid).or_default().push((place, event));
            }
        }
        let mut all_series = self.all_series(number, zones, replaced, &changes)?;
        // Dates that stand as VEVENTs of their own, by the place of those.
        let mut own: HashMap<usize, NaiveDateTime> = HashMap::new();
        let mut by_uid: HashMap<&str, bool> = HashMap::new();
        for (place, read) in &all_series {
            for date in &read.dates {
                if let Change::By(by) = date.changed {
                    own.insert(by, date.id);
                }
            }
            if let Some(uid) = calendar.events[*place].text(Key::Uid) {
                by_uid.insert(uid, true);
            }
        }
        for (place, event) in calendar.events.iter().enumerate() {
            if let Some(line) = replaced.get(&(number, place)) {
                let message = format!("the entry in line {line} replaces it (SEQUENCE, LAST-MODIFIED)");
                self.warn(WarningKind::Superseded, event, &message);
                continue;
            }
            let of_series = event.text(Key::Uid).is_some_and(|uid| by_uid.contains_key(uid));
            self.event(event, zones, all_series.remove(&place), own.get(&place).copied(), of_series)?;
            for warning in std::mem::take(&mut zones.warnings) {
                self.tell(warning);
            }
            if self.schedule.talks.len() > MAX_TALKS {
                return Err(CalendarError::TooManyTalks { line: event.line });
            }
        }
        Ok(())
    }

    /// The series of a calendar by the place of their VEVENT.
    fn all_series(
        &mut self,
        number: usize,
        zones: &mut CalendarZones<'a>,
        replaced: &HashMap<At, usize>,
        changes: &HashMap<&str, Vec<(usize, &RawEvent)>>,
    ) -> Result<HashMap<usize, Series>, CalendarError> {
        let mut out = HashMap::new();
        let mut dates = 0;
        for (place, event) in zones.calendar.events.iter().enumerate() {
            let repeats = [Key::Rule, Key::Date, Key::ExceptRule].into_iter().any(|key| event.has(key));
            if !repeats || event.has(Key::RecurrenceId) || replaced.contains_key(&(number, place)) {
                continue;
            }
            let talk = label(event);
            let Some(start) = event.first(Key::Start) else { continue };
            let Ok(start) = zones.moment(event, start, &start.value, &talk)? else { continue };
            let changes = event.text(Key::Uid).and_then(|uid| changes.get(uid)).map_or(&[][..], Vec::as_slice);
            let reader = SeriesReader { event, start: &start, talk: &talk, zones, options: self.options };
            let read = reader.read(changes)?;
            dates += read.dates.len();
            if dates > MAX_TALKS {
                return Err(CalendarError::TooManyTalks { line: event.line });
            }
            out.insert(place, read);
            // The second reading of these values says the rest again.
            zones.warnings.retain(|w| w.kind == WarningKind::UnknownTimeZone);
        }
        Ok(out)
    }

    fn warn(&mut self, kind: WarningKind, event: &RawEvent, message: &str) {
        let message = format!("line {}: {message}", event.line);
        self.tell(Warning { kind, talk: Some(label(event)), message });
    }

    fn tell(&mut self, warning: Warning) {
        let told = self.told.entry(warning.kind).or_default();
        *told += 1;
        if *told <= MAX_WARNINGS {
            self.schedule.warnings.push(warning);
        }
    }

    fn event(
        &mut self,
        event: &RawEvent,
        zones: &mut CalendarZones<'a>,
        read: Option<Series>,
        own: Option<NaiveDateTime>,
        of_series: bool,
    ) -> Result<(), CalendarError> {
        for note in event.all(Key::Note) {
            self.warn(WarningKind::BadEvent, event, &note.value);
        }
        let Some(timed) = self.timed(event, zones)? else { return Ok(()) };
        if let Some(mut read) = read {
            for note in std::mem::take(&mut read.notes) {
                self.warn(WarningKind::BadEvent, event, &note);
            }
            if read.outside {
                self.outside.push(label(event));
            }
            return self.series(event, &timed, &read, zones);
        }
        let Some(field) = event.first(Key::RecurrenceId) else {
            self.push(event, &timed, timed.start, None);
            return Ok(());
        };
        if field.flag && of_series {
            // Its dates are those of the series from that one on.
            return Ok(());
        }
        let id = match (own, zones.moment(event, field, &field.value, &label(event))?) {
            (Some(id), _) => Some(date_id(series::instant(id))),
            (None, Ok(moment)) => Some(date_id(moment.instant())),
            (None, Err(why)) => {
                self.warn(WarningKind::BadEvent, event, &why);
                Some(shortened(&field.value, 40))
            }
        };
        let past = self.options.window.is_some_and(|w| series::instant(timed.start) < w.start);
        if own.is_none() && of_series && past {
            // A date of a series that is over, as all the others before the window.
            return Ok(());
        }
        self.push(event, &timed, timed.start, id);
        Ok(())
    }

    /// Start and length of a VEVENT; `None` where it has no start that can be read, which is said.
    fn timed(&mut self, event: &RawEvent, zones: &mut CalendarZones<'a>) -> Result<Option<Timed>, CalendarError> {
        let Some(start) = event.first(Key::Start) else {
            self.warn(WarningKind::BadEvent, event, "it has no DTSTART and was left out");
            return Ok(None);
        };
        let talk = label(event);
        let moment = match zones.moment(event, start, &start.value, &talk)? {
            Ok(read) => read,
            Err(why) => {
                self.warn(WarningKind::BadEvent, event, &format!("it was left out: {why}"));
                return Ok(None);
            }
        };
        // A day is the same day for everyone.
        if moment.assumed && !matches!(moment.written, WrittenTime::Date(_)) {
            self.floating.push(talk);
        }
        let length = self.length(event, &moment, zones)?;
        let start = moment.zone.utc(moment.written.naive());
        let in_utc = matches!(moment.written, WrittenTime::Utc(_));
        Ok(Some(Timed { start, zone: moment.zone, length, in_utc }))
    }

    /// The talks of a series.
    fn series(
        &mut self,
        event: &RawEvent,
        timed: &Timed,
        read: &Series,
        zones: &mut CalendarZones<'a>,
    ) -> Result<(), CalendarError> {
        let calendar = zones.calendar;
        // VEVENTs that change all dates from one on, each read once.
        let mut ranges: HashMap<usize, Option<Timed>> = HashMap::new();
        for date in &read.dates {
            if self.schedule.talks.len() > MAX_TALKS {
                return Ok(());
            }
            let id = Some(date_id(series::instant(date.id)));
            match date.changed {
                // It is read where it stands.
                Change::By(_) => {}
                Change::None => self.push(event, &timed.of(date), date.id, id),
                Change::Range(by, moved) => {
                    let range = &calendar.events[by];
                    if let Entry::Vacant(first) = ranges.entry(by) {
                        first.insert(self.timed(range, zones)?);
                    }
                    let other = ranges.get(&by).and_then(Option::as_ref).unwrap_or(timed);
                    let at = timed.zone.utc(timed.zone.local(date.id) + TimeDelta::seconds(moved));
                    self.push(range, other, at, id);
                }
            }
        }
        Ok(())
    }

    fn length(
        &mut self,
        event: &RawEvent,
        start: &Moment,
        zones: &mut CalendarZones<'a>,
    ) -> Result<Length, CalendarError> {
        let begin = start.instant();
        let assumed = Length { days: 0, ms: ASSUMED_LENGTH };
        if let Some(end) = event.first(Key::End) {
            match zones.moment(event, end, &end.value, &label(event))? {
                Ok(end) => {
                    let ms = end.instant().since(begin);
                    if ms < 0 {
                        self.warn(WarningKind::NoEnd, event, "it ends before it starts; one hour is assumed");
                        return Ok(assumed);
                    }
                    if ms == 0 {
                        self.warn(WarningKind::ZeroLength, event, "it ends when it starts");
                    }
                    if let (WrittenTime::Date(from), WrittenTime::Date(to)) = (start.written, end.written) {
                        // A day of a series may have 23 hours, or 25.
                        return Ok(Length { days: to.signed_duration_since(from).num_days(), ms: 0 });
                    }
                    return Ok(Length { days: 0, ms });
                }
                Err(why) => self.warn(WarningKind::BadEvent, event, &why),
            }
        }
        if let Some(duration) = event.text(Key::Duration) {
            match time::parse_duration(duration) {
                Ok(read) => {
                    if read.days == 0 && read.seconds == 0 {
                        self.warn(WarningKind::ZeroLength, event, "its duration is zero");
                    }
                    return Ok(Length { days: read.days, ms: read.seconds * SECOND });
                }
                Err(why) => self.warn(WarningKind::BadEvent, event, &why),
            }
        }
        if matches!(start.written, WrittenTime::Date(_)) {
            return Ok(Length { days: 1, ms: 0 });
        }
        self.warn(WarningKind::NoEnd, event, "it has neither end nor duration; one hour is assumed");
        Ok(assumed)
    }

    fn push(&mut self, event: &RawEvent, timed: &Timed, start: NaiveDateTime, recurrence_id: Option<String>) {
        let slot = timed.slot(start);
        let stream_urls = self.streams(event);
        let hall = event.text(Key::Location).map(str::to_owned).or_else(|| self.halls.find(event));
        let text = |key| event.text(key).map(str::to_owned);
        self.schedule.talks.push(ScheduledTalk {
            uid: text(Key::Uid),
            recurrence_id,
            title: text(Key::Summary).unwrap_or_else(|| "(no title)".to_owned()),
            speakers: event.all(Key::Attendee).map(|name| name.value.to_string()).collect(),
            hall,
            slot,
            cancelled: event.text(Key::Status).is_some_and(|s| matches!(s, "CANCELLED" | "CANCELED")),
            opted_out: false,
            in_schedule_xml: false,
            offset_known: timed.in_utc,
            stream_urls,
            page_url: event.text(Key::Url).and_then(page),
            line: event.line,
            details: TalkDetails {
                summary: text(Key::Description),
                track: text(Key::Category),
                ..TalkDetails::default()
            },
        });
    }

    /// The streams that a VEVENT names, without pages that are none, which is said.
    fn streams(&mut self, event: &RawEvent) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        let mut pages = Vec::new();
        for key in [Key::StreamUrl, Key::Conference, Key::Attach] {
            for field in event.all(key).filter(|field| !field.value.is_empty()) {
                if key != Key::StreamUrl && super::meeting::is_meeting_page(&field.value) {
                    pages.push((field.line, host(&field.value)));
                } else if out.len() < MAX_STREAMS && !out.iter().any(|url| **url == *field.value) {
                    out.push(field.value.to_string());
                }
            }
        }
        for (line, host) in pages {
            let message = format!(
                "line {line}: a page of {host} is no stream that can be recorded; name the stream of its hall in the halls file"
            );
            self.warn(WarningKind::BadStream, event, &message);
        }
        out
    }

    fn finish(mut self) -> Schedule {
        if let Some(first) = self.floating.first() {
            let count = self.floating.len();
            let warning = Warning {
                kind: WarningKind::FloatingTime,
                talk: (count == 1).then(|| first.clone()),
                message: format!(
                    "{count} talk{} without time zone read as {}: name the right one with --tz if that is wrong",
                    if count == 1 { "" } else { "s" },
                    self.assumed_zone
                ),
            };
            self.tell(warning);
        }
        if let (Some(first), Some(window)) = (self.outside.first(), self.options.window) {
            let count = self.outside.len();
            let day = |at: Ms| at.in_zone(self.assumed_zone).format("%Y-%m-%d").to_string();
            let warning = Warning {
                kind: WarningKind::SeriesOutside,
                talk: (count == 1).then(|| first.clone()),
                message: format!(
                    "{count} series with dates, but none from {} to {} (the first is {:?})",
                    day(window.start),
                    day(window.end),
                    shortened(first, 60)
                ),
            };
            self.tell(warning);
        }
        if let Some(warning) = self.halls.warning() {
            self.tell(warning);
        }
        let mut more: Vec<_> = self.told.iter().filter(|(_, count)| **count > MAX_WARNINGS).collect();
        more.sort_unstable();
        for (kind, count) in more {
            self.schedule.warnings.push(Warning {
                kind: *kind,
                talk: None,
                message: format!("{} more warnings of this kind", count - MAX_WARNINGS),
            });
        }
        self.schedule
    }
}

/// When a VEVENT is.
#[derive(Clone)]
struct Timed {
    /// The start, in UTC.
    start: NaiveDateTime,
    zone: Zone,
    length: Length,
    /// It was written in UTC, so that no zone can be wrong.
    in_utc: bool,
}

impl Timed {
    /// With the length that one date of a series has.
    fn of(&self, date: &Date) -> Self {
        let length = match date.end {
            Some(end) => Length { days: 0, ms: series::length(date.id, end) },
            None => self.length,
        };
        Self { length, ..self.clone() }
    }

    /// The slot of a date, given in UTC.
    fn slot(&self, start: NaiveDateTime) -> Interval {
        let days = match self.length.days {
            0 => None,
            days => self.zone.local(start).checked_add_signed(TimeDelta::days(days)),
        };
        let end = days.map_or(start, |local| self.zone.utc(local));
        let (start, end) = (series::instant(start), series::instant(end));
        Interval::new(start, end.plus(self.length.ms).max(start))
    }
}

/// How long a talk is.
#[derive(Clone, Copy)]
struct Length {
    /// Days of the calendar.
    days: i64,
    /// Exact milliseconds beside them.
    ms: i64,
}

/// UID or title, for messages.
fn label(event: &RawEvent) -> String {
    let text = event.text(Key::Uid).or_else(|| event.text(Key::Summary)).unwrap_or("(no title)");
    shortened(text, 100)
}

/// The date of a recurrence, as RECURRENCE-ID writes it in UTC.
fn date_id(at: Ms) -> String {
    at.to_utc().format("%Y%m%dT%H%M%SZ").to_string()
}

/// The host of an address, for messages.
fn host(text: &str) -> String {
    url::Url::parse(text).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}

/// A talk's page: http(s) only, since it may become a link.
fn page(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && text.len() <= 2000).then(|| url.to_string())
}
