//! The zones of one calendar, each looked up once, and its times read in them.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime};
use chrono_tz::Tz;

use super::component::{Field, Key, RawCalendar, RawEvent};
use super::recurrence::Budget;
use super::time::{self, WrittenTime};
use super::vtimezone::{CustomZone, Years};
use super::zone::{self, Resolved, Zone};
use super::{CalendarError, ReadOptions};
use crate::domain::schedule::{Warning, WarningKind};
use crate::domain::text::shortened;
use crate::domain::time::Ms;

/// Where no window is given, dates of endless series are wanted for so many years.
const YEARS_OF_A_SERIES: i32 = 60;
/// Longest span of years for which the changes of a zone are written out.
const MAX_YEARS: i32 = 1000;

/// One calendar with its zones.
#[derive(Debug)]
pub struct CalendarZones<'a> {
    /// The calendar.
    pub calendar: &'a RawCalendar,
    options: &'a ReadOptions,
    found: HashMap<String, Zone>,
    /// For rules of zones and talks together.
    pub budget: Budget,
    /// What was odd in the times that were read, since it was last taken.
    pub warnings: Vec<Warning>,
    /// What times are read in whose zone nobody names.
    pub assumed_zone: Tz,
}

/// Where a talk's time stands, for messages.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// UID or title.
    pub talk: &'a str,
    /// Line of the file, from 1.
    pub line: usize,
}

/// A moment with the zone it was written in.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The time as written.
    pub written: WrittenTime,
    /// UTC for one in UTC.
    pub zone: Zone,
    /// Nobody named its zone.
    pub assumed: bool,
}

impl Moment {
    /// The instant.
    #[must_use]
    pub fn instant(&self) -> Ms {
        self.zone.instant(self.written.naive())
    }
}

impl<'a> CalendarZones<'a> {
    /// A calendar of which nothing is looked up yet.
    #[must_use]
    pub fn new(calendar: &'a RawCalendar, options: &'a ReadOptions) -> Self {
        Self {
            calendar,
            options,
            found: HashMap::new(),
            budget: Budget::default(),
            warnings: Vec::new(),
            assumed_zone: options.default_zone,
        }
    }

    /// Years in which zones must be right.
    fn years(&self) -> Years {
        let (first, last) = self.calendar.years.unwrap_or((2000, 2000));
        let series = self.calendar.events.iter().any(|event| event.has(Key::Rule));
        let last = match self.options.window {
            Some(window) => last.max(window.end.in_zone(Tz::UTC).format("%Y").to_string().parse().unwrap_or(last)),
            None if series => last.saturating_add(YEARS_OF_A_SERIES),
            None => last,
        };
        Years { first: first.max(last.saturating_sub(MAX_YEARS)), last }
    }

    fn own(&mut self, name: &str) -> Option<Arc<CustomZone>> {
        let name = name.trim().trim_matches('"').trim();
        let raw = self.calendar.zones.get(name)?;
        let years = self.years();
        let mut custom = CustomZone::new(raw.location.clone());
        raw.observances.iter().for_each(|o| custom.add(o, years, &mut self.budget));
        let january = |year: i32| NaiveDate::from_ymd_opt(year, 1, 1).map(|day| day.and_time(NaiveTime::MIN));
        if let (true, Some(from), Some(until)) =
            (custom.has_rules(), january(years.first), january(years.last.saturating_add(1)))
        {
            custom.alike = zone::alike(name, &custom, self.options.default_zone, from, until);
        }
        Some(Arc::new(custom))
    }

    fn zone(&mut self, name: &str, place: Place<'_>) -> Result<Zone, CalendarError> {
        if let Some(zone) = self.found.get(name) {
            return Ok(zone.clone());
        }
        let custom = self.own(name);
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

    /// Reads the time `value` of a property. The outer error refuses the calendar, the inner one this VEVENT.
    ///
    /// # Errors
    /// When its zone does not exist; see above for the inner one.
    pub fn moment(
        &mut self,
        event: &RawEvent,
        field: &Field,
        value: &str,
        talk: &str,
    ) -> Result<Result<Moment, String>, CalendarError> {
        let place = Place { talk, line: usize::try_from(field.line).unwrap_or(0) };
        let (written, mended) = match time::parse(value) {
            Ok(read) => read,
            Err(why) => return Ok(Err(format!("{} in line {}: {why}", field.key.as_str(), place.line))),
        };
        if mended {
            self.warnings.push(Warning {
                kind: WarningKind::BadEvent,
                talk: Some(talk.to_owned()),
                message: format!(
                    "line {}: {} lacks a digit; it is read as {}",
                    place.line,
                    shortened(value, 40),
                    written.naive().format("%Y-%m-%d %H:%M:%S")
                ),
            });
        }
        if let WrittenTime::Utc(_) = written {
            return Ok(Ok(Moment { written, zone: Zone::Named(Tz::UTC), assumed: false }));
        }
        let options = self.options;
        let named = field.zone.as_deref().or_else(|| event.text(Key::Zone));
        let (zone, assumed) = match (named, options.zone) {
            (Some(name), _) => (self.zone(name, place)?, false),
            (None, Some(zone)) => (Zone::Named(zone), false),
            (None, None) => match (&self.calendar.zone, options.halls_zone) {
                (Some(name), _) if !name.is_empty() => (self.zone(name, place)?, false),
                (_, Some(zone)) => (Zone::Named(zone), false),
                _ => (Zone::Named(self.assumed_zone), true),
            },
        };
        Ok(Ok(Moment { written, zone, assumed }))
    }
}
