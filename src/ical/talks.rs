//! VEVENTs as written -> talks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{NaiveDateTime, TimeDelta};
use chrono_tz::Tz;

use super::component::{RawCalendar, RawEvent};
use super::property::Property;
use super::recurrence::Budget;
use super::time::{self, WrittenTime};
use super::vtimezone::CustomZone;
use super::zone::{self, Resolved, Zone};
use super::{CalendarError, MAX_TALKS, ReadOptions, recurrence};
use crate::domain::interval::Interval;
use crate::domain::schedule::{Schedule, ScheduledTalk, TalkDetails, Warning, WarningKind};
use crate::domain::text::shortened;
use crate::domain::time::{HOUR, Ms, SECOND};

/// Dates of one recurring VEVENT.
const MAX_DATES: u16 = 1000;
/// Length of a talk that has no end.
const ASSUMED_LENGTH: i64 = HOUR;

/// Turns the calendars of a file into its schedule.
///
/// # Errors
/// When a time zone does not exist, or there are too many talks.
pub fn schedule(calendars: &[RawCalendar], options: &ReadOptions) -> Result<Schedule, CalendarError> {
    let mut reader =
        Reader { options, schedule: Schedule::default(), floating: Vec::new(), assumed_zone: options.default_zone };
    let mut zones: Vec<Zones<'_>> = calendars.iter().map(|calendar| Zones::new(calendar, options)).collect();
    reader.choose_zones(&mut zones);
    for zones in &mut zones {
        reader.calendar(zones)?;
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
}

/// One calendar's zones, each looked up once.
struct Zones<'a> {
    calendar: &'a RawCalendar,
    options: &'a ReadOptions,
    found: HashMap<String, Zone>,
    /// For rules of zones and talks together.
    budget: Budget,
    /// Where it is used and is a guess.
    warnings: Vec<Warning>,
}

/// Where a talk's time stands, for messages.
struct Place<'a> {
    talk: &'a str,
    line: usize,
}

impl<'a> Zones<'a> {
    fn new(calendar: &'a RawCalendar, options: &'a ReadOptions) -> Self {
        Self { calendar, options, found: HashMap::new(), budget: Budget::default(), warnings: Vec::new() }
    }

    fn zone(&mut self, name: &str, place: &Place<'_>) -> Result<Zone, CalendarError> {
        if let Some(zone) = self.found.get(name) {
            return Ok(zone.clone());
        }
        let custom = self.calendar.zones.get(name.trim().trim_matches('"')).map(|raw| {
            let mut custom = CustomZone::new(raw.location.clone());
            raw.observances.iter().for_each(|o| custom.add(o, &mut self.budget));
            Arc::new(custom)
        });
        let zone = match (zone::resolve(name, custom.as_ref()), self.options.zone) {
            (Resolved::Known(zone), _) => zone,
            (Resolved::Guessed(zone), _) | (Resolved::Unknown(_), Some(zone)) => {
                self.warnings.push(Warning {
                    kind: WarningKind::UnknownTimeZone,
                    talk: Some(place.talk.to_owned()),
                    message: format!(
                        "line {}: time zone {:?} does not exist; {zone} is taken for it",
                        place.line,
                        shortened(name, 60)
                    ),
                });
                Zone::Named(zone)
            }
            (Resolved::Unknown(similar), None) => {
                let example = similar.unwrap_or("Europe/Berlin");
                return Err(CalendarError::UnknownZone {
                    zone: shortened(name, 60),
                    talk: place.talk.to_owned(),
                    line: place.line,
                    fix: match similar {
                        Some(_) => format!("if {example} is meant, import with --tz {example}"),
                        None => format!("name the right one with --tz, as in --tz {example}"),
                    },
                });
            }
        };
        self.found.insert(name.to_owned(), zone.clone());
        Ok(zone)
    }
}

/// A moment with the zone it was written in.
struct Moment {
    written: WrittenTime,
    zone: Zone,
    /// Nobody named its zone.
    assumed: bool,
}

impl Moment {
    fn instant(&self) -> Ms {
        self.zone.instant(self.written.naive())
    }
}

impl Reader<'_> {
    /// Chooses the zone of the schedule and that of times without one.
    ///
    /// Most talks decide, by numbers that the default zone has no part in. For the event's zone is the default of
    /// the next import: times read in the default, while the event gets the zone of the others, would then move.
    fn choose_zones(&mut self, calendars: &mut [Zones<'_>]) {
        // X-WR-TIMEZONE, for a calendar in UTC.
        let mut of_calendar: Option<Tz> = None;
        let mut named: BTreeMap<&'static str, (usize, Tz)> = BTreeMap::new();
        let mut assumed = 0_usize;
        for zones in calendars {
            let calendar = zones.calendar;
            if let Some(Resolved::Known(Zone::Named(zone))) = calendar.zone.as_deref().map(|n| zone::resolve(n, None)) {
                of_calendar = of_calendar.or(Some(zone));
            }
            for event in &calendar.events {
                let Some(start) = &event.start else { continue };
                let talk = label(event);
                match self.moment(event, start, zones, &Place { talk: &talk, line: start.line }) {
                    Ok(Ok(Moment { assumed: true, .. })) => assumed += 1,
                    Ok(Ok(Moment { written: WrittenTime::Utc(_), .. })) => {}
                    Ok(Ok(Moment { zone: Zone::Named(zone), .. })) => {
                        named.entry(zone.name()).or_insert((0, zone)).0 += 1;
                    }
                    _ => {}
                }
            }
            // What is wrong with a talk is told when it is read; a zone is looked up only once.
            zones.warnings.retain(|w| w.kind == WarningKind::UnknownTimeZone);
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
        self.schedule.time_zone = chosen.map(|zone| zone.name().to_owned());
    }

    fn calendar(&mut self, zones: &mut Zones<'_>) -> Result<(), CalendarError> {
        let calendar = zones.calendar;
        // (UID, date) of instances that stand as VEVENTs of their own.
        let mut own: HashSet<(&str, Ms)> = HashSet::new();
        for event in &calendar.events {
            if let (Some(uid), Some(id)) = (event.uid.as_deref(), &event.recurrence_id) {
                let (label, line) = (label(event), id.line);
                if let Ok(Ok(moment)) = self.moment(event, id, zones, &Place { talk: &label, line }) {
                    own.insert((uid, moment.instant()));
                }
            }
        }
        // The second reading of these values says the rest again.
        zones.warnings.retain(|w| w.kind == WarningKind::UnknownTimeZone);
        for event in &calendar.events {
            self.event(event, zones, &own)?;
            self.schedule.warnings.append(&mut zones.warnings);
            if self.schedule.talks.len() > MAX_TALKS {
                return Err(CalendarError::TooManyTalks { line: event.line });
            }
        }
        Ok(())
    }

    fn warn(&mut self, kind: WarningKind, event: &RawEvent, message: &str) {
        let message = format!("line {}: {message}", event.line);
        self.schedule.warnings.push(Warning { kind, talk: Some(label(event)), message });
    }

    /// Reads one time. The outer error refuses the calendar, the inner one this VEVENT.
    fn moment(
        &self,
        event: &RawEvent,
        property: &Property,
        zones: &mut Zones<'_>,
        place: &Place<'_>,
    ) -> Result<Result<Moment, String>, CalendarError> {
        let (written, mended) = match time::parse(&property.value) {
            Ok(read) => read,
            Err(why) => return Ok(Err(format!("{} in line {}: {why}", property.name, property.line))),
        };
        if mended {
            zones.warnings.push(Warning {
                kind: WarningKind::BadEvent,
                talk: Some(place.talk.to_owned()),
                message: format!(
                    "line {}: {} lacks a digit; it is read as {}",
                    property.line,
                    shortened(&property.value, 40),
                    written.naive().format("%Y-%m-%d %H:%M:%S")
                ),
            });
        }
        if let WrittenTime::Utc(_) = written {
            return Ok(Ok(Moment { written, zone: Zone::Named(Tz::UTC), assumed: false }));
        }
        let named = property.param("TZID").filter(|z| !z.trim().is_empty());
        let named = named.or_else(|| event.zone.clone().filter(|z| !z.is_empty()));
        let (zone, assumed) = match (named, self.options) {
            (Some(name), _) => (zones.zone(&name, place)?, false),
            (None, ReadOptions { zone: Some(zone), .. }) => (Zone::Named(*zone), false),
            (None, options) => match (&zones.calendar.zone, options.halls_zone) {
                (Some(name), _) if !name.is_empty() => (zones.zone(&name.clone(), place)?, false),
                (_, Some(zone)) => (Zone::Named(zone), false),
                _ => (Zone::Named(self.assumed_zone), true),
            },
        };
        Ok(Ok(Moment { written, zone, assumed }))
    }

    fn event(
        &mut self,
        event: &RawEvent,
        zones: &mut Zones<'_>,
        own: &HashSet<(&str, Ms)>,
    ) -> Result<(), CalendarError> {
        let talk = label(event);
        for note in &event.notes {
            self.warn(WarningKind::BadEvent, event, note);
        }
        let Some(start) = &event.start else {
            self.warn(WarningKind::BadEvent, event, "it has no DTSTART and was left out");
            return Ok(());
        };
        let start = match self.moment(event, start, zones, &Place { talk: &talk, line: start.line })? {
            Ok(read) => read,
            Err(why) => {
                self.warn(WarningKind::BadEvent, event, &format!("it was left out: {why}"));
                return Ok(());
            }
        };
        // A day is the same day for everyone.
        if start.assumed && !matches!(start.written, WrittenTime::Date(_)) {
            self.floating.push(talk.clone());
        }
        let length = self.length(event, &start, zones, &talk)?;
        let recurrence_id = match &event.recurrence_id {
            None => None,
            Some(id) => match self.moment(event, id, zones, &Place { talk: &talk, line: id.line })? {
                Ok(moment) => Some(date_id(moment.instant())),
                Err(why) => {
                    self.warn(WarningKind::BadEvent, event, &why);
                    Some(shortened(&id.value, 40))
                }
            },
        };
        let recurring = recurrence_id.is_none() && !(event.rules.is_empty() && event.dates.is_empty());
        if !recurring {
            self.push(event, start.written.naive(), &start.zone, length, recurrence_id);
            return Ok(());
        }
        let dates = self.dates(event, &start, zones, &talk)?;
        for date in dates {
            let id = start.zone.instant(date);
            let replaced = event.uid.as_deref().is_some_and(|uid| own.contains(&(uid, id)));
            if !replaced && self.schedule.talks.len() <= MAX_TALKS {
                self.push(event, date, &start.zone, length, Some(date_id(id)));
            }
        }
        Ok(())
    }

    /// Local times of a recurring VEVENT, rising, without its exceptions.
    fn dates(
        &mut self,
        event: &RawEvent,
        start: &Moment,
        zones: &mut Zones<'_>,
        talk: &str,
    ) -> Result<Vec<NaiveDateTime>, CalendarError> {
        let first = start.written.naive();
        let mut dates = vec![first];
        for rule in &event.rules {
            match recurrence::expand(first, rule, |utc| start.zone.local(utc), MAX_DATES, &mut zones.budget) {
                Ok(found) => {
                    let capped = found.capped && found.dates.len() == usize::from(MAX_DATES);
                    dates.extend(found.dates);
                    if capped {
                        self.warn(
                            WarningKind::BadEvent,
                            event,
                            &format!("it repeats without end; its first {MAX_DATES} dates are taken"),
                        );
                    }
                }
                Err(why) => {
                    let why = shortened(&crate::domain::text::one_line(&why), 120);
                    self.warn(WarningKind::BadEvent, event, &format!("only its first date is taken: RRULE: {why}"));
                }
            }
        }
        let mut except = HashSet::new();
        let mut except_days = HashSet::new();
        for (list, is_exception) in [(&event.dates, false), (&event.except, true)] {
            for property in list {
                for value in property.value.split(',').take(usize::from(MAX_DATES)) {
                    // A PERIOD begins with its start.
                    let value = value.split_once('/').map_or(value, |(from, _)| from);
                    let one = Property { value: value.to_owned(), ..property.clone() };
                    let place = Place { talk, line: property.line };
                    match self.moment(event, &one, zones, &place)? {
                        Ok(Moment { written: WrittenTime::Date(day), .. }) if is_exception => {
                            except_days.insert(day);
                        }
                        Ok(Moment { written: WrittenTime::Date(day), .. }) => {
                            dates.push(day.and_time(first.time()));
                        }
                        Ok(moment) => {
                            let utc = moment.instant().to_utc().naive_utc();
                            let local = start.zone.local(utc);
                            if is_exception {
                                except.insert(local);
                            } else {
                                dates.push(local);
                            }
                        }
                        Err(why) => self.warn(WarningKind::BadEvent, event, &why),
                    }
                }
            }
        }
        dates.sort_unstable();
        dates.dedup();
        dates.retain(|d| !except.contains(d) && !except_days.contains(&d.date()));
        Ok(dates)
    }

    fn length(
        &mut self,
        event: &RawEvent,
        start: &Moment,
        zones: &mut Zones<'_>,
        talk: &str,
    ) -> Result<Length, CalendarError> {
        let begin = start.instant();
        let assumed = Length { days: 0, ms: ASSUMED_LENGTH };
        if let Some(end) = &event.end {
            match self.moment(event, end, zones, &Place { talk, line: end.line })? {
                Ok(end) => {
                    let ms = end.instant().since(begin);
                    if ms < 0 {
                        self.warn(WarningKind::NoEnd, event, "it ends before it starts; one hour is assumed");
                        return Ok(assumed);
                    }
                    if ms == 0 {
                        self.warn(WarningKind::ZeroLength, event, "it ends when it starts");
                    }
                    return Ok(Length { days: 0, ms });
                }
                Err(why) => self.warn(WarningKind::BadEvent, event, &why),
            }
        }
        if let Some(duration) = &event.duration {
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

    fn push(
        &mut self,
        event: &RawEvent,
        local: NaiveDateTime,
        zone: &Zone,
        length: Length,
        recurrence_id: Option<String>,
    ) {
        let start = zone.instant(local);
        let end = match length.days {
            0 => start,
            days => local.checked_add_signed(TimeDelta::days(days)).map_or(start, |end| zone.instant(end)),
        };
        let mut streams: Vec<_> = event.streams.iter().filter(|(_, url)| !url.is_empty()).collect();
        streams.sort_by_key(|(preference, _)| *preference);
        let mut stream_urls: Vec<String> = Vec::new();
        for (_, url) in streams {
            if !stream_urls.contains(url) && stream_urls.len() < 16 {
                stream_urls.push(url.clone());
            }
        }
        self.schedule.talks.push(ScheduledTalk {
            uid: event.uid.clone(),
            recurrence_id,
            title: event.summary.clone().unwrap_or_else(|| "(no title)".to_owned()),
            speakers: event.attendees.clone(),
            hall: event.location.clone(),
            slot: Interval::new(start, end.plus(length.ms).max(start)),
            cancelled: event.status.as_deref().is_some_and(|s| matches!(s, "CANCELLED" | "CANCELED")),
            opted_out: false,
            in_schedule_xml: false,
            stream_urls,
            page_url: event.url.as_deref().and_then(page),
            line: event.line,
            details: TalkDetails::default(),
        });
    }

    fn finish(mut self) -> Schedule {
        if let Some(first) = self.floating.first() {
            let count = self.floating.len();
            self.schedule.warnings.push(Warning {
                kind: WarningKind::FloatingTime,
                talk: (count == 1).then(|| first.clone()),
                message: format!(
                    "{count} talk{} without time zone read as {}: name the right one with --tz if that is wrong",
                    if count == 1 { "" } else { "s" },
                    self.assumed_zone
                ),
            });
        }
        self.schedule
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
    let text = event.uid.as_deref().or(event.summary.as_deref()).unwrap_or("(no title)");
    shortened(text, 100)
}

/// The date of a recurrence, as RECURRENCE-ID writes it in UTC.
fn date_id(at: Ms) -> String {
    at.to_utc().format("%Y%m%dT%H%M%SZ").to_string()
}

/// A talk's page: http(s) only, since it may become a link.
fn page(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && text.len() <= 2000).then(|| url.to_string())
}
