//! The dates of a recurring VEVENT, and the VEVENTs that change some of them.

use std::collections::{HashMap, HashSet};

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

use super::calendar_zones::{CalendarZones, Moment};
use super::component::{Field, Key, RawEvent};
use super::recurrence::{Budget, Expanded, WallClock, Wanted, expand};
use super::rule::Rule;
use super::time::{self, WrittenTime};
use super::zone::Zone;
use super::{CalendarError, ReadOptions};
use crate::domain::text::{one_line, shortened};
use crate::domain::time::{Ms, SECOND};

/// Most dates of one rule in a window: a date each half hour for a year.
const MAX_DATES: usize = 20_000;
/// Most dates of one rule where no window is given.
const MAX_DATES_WITHOUT_WINDOW: usize = 1000;
/// A series whose dates lie within so many days is a conference's own, and read as a whole.
const WHOLE_DAYS: i64 = 366;
/// Where no window is given, an endless series is looked through for so long: then the calendar repeats.
const ENDLESS_DAYS: i64 = 400 * 366;

/// One date of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// As the rule or the list has it, UTC; what a RECURRENCE-ID names.
    pub id: NaiveDateTime,
    /// End of a PERIOD, UTC.
    pub end: Option<NaiveDateTime>,
    /// What changes it.
    pub changed: Change,
}

/// Whether a VEVENT of its own changes a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// No VEVENT changes it.
    None,
    /// A VEVENT of its own stands for it: its place in the calendar.
    By(usize),
    /// One with RANGE=THISANDFUTURE moves it by so many seconds on the clock, and gives it all else.
    Range(usize, i64),
}

/// A series as it was read.
#[derive(Debug, Default)]
pub struct Series {
    /// Dates in rising order.
    pub dates: Vec<Date>,
    /// For people, without line.
    pub notes: Vec<String>,
    /// It has dates, and none of them lies in the window.
    pub outside: bool,
}

/// All that the dates of a VEVENT depend on.
#[derive(Debug)]
pub struct SeriesReader<'r, 'z, 'a> {
    /// The VEVENT that recurs.
    pub event: &'r RawEvent,
    /// Its DTSTART.
    pub start: &'r Moment,
    /// UID or title.
    pub talk: &'r str,
    /// The calendar's zones.
    pub zones: &'z mut CalendarZones<'a>,
    /// The window, and the rest.
    pub options: &'a ReadOptions,
}

impl<'r> SeriesReader<'r, '_, '_> {
    fn zone(&self) -> &'r Zone {
        &self.start.zone
    }

    /// Reads the dates. `changes`: VEVENTs of the same UID that have a RECURRENCE-ID, by their place in the calendar.
    ///
    /// # Errors
    /// When a time zone does not exist.
    pub fn read(mut self, changes: &[(usize, &RawEvent)]) -> Result<Series, CalendarError> {
        let mut series = Series::default();
        let first = self.zone().utc(self.start.written.naive());
        let mut dates: HashMap<NaiveDateTime, Option<NaiveDateTime>> = HashMap::new();
        let mut whole = self.rules(&mut dates, &mut series);
        dates.insert(first, None);
        let listed = self.list(Key::Date, &mut series)?;
        let late = first + TimeDelta::days(WHOLE_DAYS);
        whole &= listed.iter().all(|(at, _)| at.utc(self.start) <= late);
        for (at, end) in listed {
            let at = at.utc(self.start);
            let known = dates.entry(at).or_insert(end);
            *known = known.or(end);
        }
        let all = dates.len();
        let from = self.options.window.filter(|_| !whole).map(|window| window.start.to_utc().naive_utc());
        dates.retain(|at, _| from.is_none_or(|from| *at >= from));
        series.outside = dates.is_empty() && all > 0;
        let (except, except_days) = self.exceptions(&mut series)?;
        let mut excepted = Vec::new();
        let mut out: Vec<Date> = Vec::with_capacity(dates.len());
        for (id, end) in dates {
            let date = Date { id, end, changed: Change::None };
            if except.contains(&id) || except_days.contains(&self.zone().local(id).date()) {
                excepted.push(date);
            } else {
                out.push(date);
            }
        }
        out.sort_unstable_by_key(|date| date.id);
        excepted.sort_unstable_by_key(|date| date.id);
        series.dates = out;
        self.change(changes, &excepted, from, &mut series)?;
        Ok(series)
    }

    /// Takes the dates of the rules; true where they are all dates that the series has, and not those of a window.
    fn rules(&mut self, dates: &mut HashMap<NaiveDateTime, Option<NaiveDateTime>>, series: &mut Series) -> bool {
        if self.event.has(Key::ExceptRule) {
            series.notes.push("EXRULE is not followed: its dates are recorded".to_owned());
        }
        let mut rules = Vec::new();
        for field in self.event.all(Key::Rule) {
            match Rule::parse(&field.value) {
                Ok((rule, notes)) => {
                    series.notes.extend(notes);
                    rules.push(rule);
                }
                Err(why) => {
                    let why = shortened(&one_line(&why), 120);
                    series.notes.push(format!("only its first date is taken: RRULE: {why}"));
                }
            }
        }
        let local = self.start.written.naive();
        let first = self.zone().utc(local);
        let late = first + TimeDelta::days(WHOLE_DAYS);
        let window = self.options.window.map(|w| (w.start.to_utc().naive_utc(), w.end.to_utc().naive_utc()));
        let zone = self.zone().clone();
        let find = |rule: &Rule, from, until, max, budget: &mut Budget| -> Expanded {
            expand(local, rule, &zone, Wanted { from, until, max }, budget)
        };
        let budget = &mut self.zones.budget;
        let Some((from, until)) = window else {
            for rule in &rules {
                let end = first.checked_add_signed(TimeDelta::days(ENDLESS_DAYS)).unwrap_or(NaiveDateTime::MAX);
                let found = find(rule, first, end, MAX_DATES_WITHOUT_WINDOW, budget);
                if found.capped {
                    series
                        .notes
                        .push(format!("it repeats for long; its first {MAX_DATES_WITHOUT_WINDOW} dates are taken"));
                }
                dates.extend(found.dates.into_iter().map(|at| (at, None)));
            }
            return true;
        };
        // A rule that is over within a year of its start.
        let ends = |rule: &Rule, budget: &mut Budget| {
            (rule.count.is_some() || rule.until.is_some())
                && until.max(late) > late
                && find(rule, late, until.max(late), 1, budget).dates.is_empty()
        };
        let whole = rules.iter().all(|rule| late >= until || ends(rule, budget));
        for rule in &rules {
            let (from, until) = if whole { (first, until.max(late)) } else { (from, until) };
            let found = find(rule, from, until, MAX_DATES, budget);
            if found.capped {
                series.notes.push(match found.dates.len() {
                    MAX_DATES => format!("it has more than {MAX_DATES} dates; the first ones are taken"),
                    n => format!(
                        "{n} dates of its rule were found; the rules of this calendar are too many to look for more"
                    ),
                });
            }
            dates.extend(found.dates.into_iter().map(|at| (at, None)));
        }
        whole
    }

    /// The times of RDATE or EXDATE, with the end of a PERIOD (UTC).
    fn list(&mut self, key: Key, series: &mut Series) -> Result<Vec<(Listed, Option<NaiveDateTime>)>, CalendarError> {
        let mut out = Vec::new();
        let event = self.event;
        for field in event.all(key) {
            for value in field.value.split(',').filter(|v| !v.trim().is_empty()) {
                let (from, to) = value.split_once('/').map_or((value, None), |(from, to)| (from, Some(to)));
                let moment = match self.zones.moment(event, field, from, self.talk)? {
                    Ok(moment) => moment,
                    Err(why) => {
                        series.notes.push(why);
                        continue;
                    }
                };
                let end = match to {
                    Some(to) => self.period_end(field, &moment, to, series)?,
                    None => None,
                };
                out.push((Listed(moment), end));
            }
        }
        Ok(out)
    }

    fn period_end(
        &mut self,
        field: &Field,
        from: &Moment,
        to: &str,
        series: &mut Series,
    ) -> Result<Option<NaiveDateTime>, CalendarError> {
        let begin = from.zone.utc(from.written.naive());
        let end = if to.trim_start().starts_with(['P', 'p', '+', '-']) {
            time::parse_duration(to).map(|d| {
                let days = from.written.naive().checked_add_signed(TimeDelta::days(d.days));
                days.map_or(begin, |local| from.zone.utc(local)) + TimeDelta::seconds(d.seconds)
            })
        } else {
            let end = self.zones.moment(self.event, field, to, self.talk)?;
            end.map(|end| end.zone.utc(end.written.naive()))
        };
        match end {
            Ok(end) if end > begin => Ok(Some(end)),
            Ok(_) => {
                series.notes.push(format!("line {}: a period ends before it starts", field.line));
                Ok(None)
            }
            Err(why) => {
                series.notes.push(why);
                Ok(None)
            }
        }
    }

    fn exceptions(
        &mut self,
        series: &mut Series,
    ) -> Result<(HashSet<NaiveDateTime>, HashSet<NaiveDate>), CalendarError> {
        let (mut instants, mut days) = (HashSet::new(), HashSet::new());
        for (Listed(moment), _) in self.list(Key::Except, series)? {
            match moment.written {
                WrittenTime::Date(day) => {
                    days.insert(day);
                }
                _ => {
                    instants.insert(moment.zone.utc(moment.written.naive()));
                }
            }
        }
        Ok((instants, days))
    }

    /// Puts each change where it belongs; says which ones meet no date.
    fn change(
        &mut self,
        changes: &[(usize, &RawEvent)],
        excepted: &[Date],
        from: Option<NaiveDateTime>,
        series: &mut Series,
    ) -> Result<(), CalendarError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut ranges: Vec<(NaiveDateTime, usize, i64)> = Vec::new();
        let known = series.dates.clone();
        let (known, gone) = (ByDay::new(&known, self.zone()), ByDay::new(excepted, self.zone()));
        for (place, event) in changes {
            let Some(field) = event.first(Key::RecurrenceId) else { continue };
            let Ok(id) = self.zones.moment(event, field, &field.value, self.talk)? else { continue };
            let found = known.find(&id);
            if field.flag {
                let at = found.map_or_else(|| id.zone.utc(id.written.naive()), |at| series.dates[at].id);
                let moved = match event.first(Key::Start) {
                    None => None,
                    Some(start) => self.zones.moment(event, start, &start.value, self.talk)?.ok(),
                };
                // On the clock of the series, so that it is the same after a clock change.
                let moved = moved.map(|m| self.zone().local(m.zone.utc(m.written.naive())) - self.zone().local(at));
                ranges.push((at, *place, moved.map_or(0, |m| m.num_seconds())));
                continue;
            }
            match found {
                Some(at) => series.dates[at].changed = Change::By(*place),
                None if gone.find(&id).is_some() => {}
                None => {
                    let utc = id.zone.utc(id.written.naive());
                    let in_window = from.is_none_or(|from| utc >= from)
                        && self.options.window.is_none_or(|w| Ms::from(utc.and_utc()) < w.end);
                    if in_window {
                        series.notes.push(format!(
                            "line {}: RECURRENCE-ID {} meets no date of this series",
                            field.line,
                            shortened(&field.value, 40)
                        ));
                    }
                }
            }
        }
        ranges.sort_unstable();
        for date in series.dates.iter_mut().filter(|date| date.changed == Change::None) {
            if let Some((_, place, moved)) = ranges.iter().rfind(|(at, _, _)| *at <= date.id) {
                date.changed = Change::Range(*place, *moved);
            }
        }
        Ok(())
    }
}

/// A time of a list.
struct Listed(Moment);

impl Listed {
    /// The instant in UTC; a day is that day at the time of the series.
    fn utc(&self, start: &Moment) -> NaiveDateTime {
        match self.0.written {
            WrittenTime::Date(day) => start.zone.utc(day.and_time(start.written.naive().time())),
            _ => self.0.zone.utc(self.0.written.naive()),
        }
    }
}

/// Dates by the day they are on, on the clock of their series.
struct ByDay<'a> {
    dates: &'a [Date],
    zone: &'a Zone,
    days: HashMap<NaiveDate, Vec<usize>>,
}

impl<'a> ByDay<'a> {
    fn new(dates: &'a [Date], zone: &'a Zone) -> Self {
        let mut days: HashMap<NaiveDate, Vec<usize>> = HashMap::new();
        for (at, date) in dates.iter().enumerate() {
            days.entry(zone.local(date.id).date()).or_default().push(at);
        }
        Self { dates, zone, days }
    }

    fn of(&self, day: NaiveDate) -> &[usize] {
        self.days.get(&day).map_or(&[], Vec::as_slice)
    }

    /// The date that a RECURRENCE-ID means. Exporters write the instant, a day, midnight, the time on the clock in
    /// another zone, or the time of a series that was moved since: then it is the only date of that day.
    fn find(&self, id: &Moment) -> Option<usize> {
        let (utc, clock) = (id.zone.utc(id.written.naive()), id.written.naive());
        let names_day = matches!(id.written, WrittenTime::Date(_));
        if !names_day && let Ok(at) = self.dates.binary_search_by_key(&utc, |date| date.id) {
            return Some(at);
        }
        if let Some(at) = self.of(clock.date()).iter().find(|at| self.zone.local(self.dates[**at].id) == clock) {
            return Some(*at);
        }
        // A day names its first date, a time only the one date that it can mean.
        if names_day || clock.time() == NaiveTime::MIN {
            return self.of(clock.date()).first().copied();
        }
        match self.of(self.zone.local(utc).date()) {
            [one] => Some(*one),
            _ => None,
        }
    }
}

/// The instant of a time in UTC.
#[must_use]
pub fn instant(utc: NaiveDateTime) -> Ms {
    Ms(utc.and_utc().timestamp_millis())
}

/// Milliseconds of a period.
#[must_use]
pub fn length(from: NaiveDateTime, to: NaiveDateTime) -> i64 {
    to.signed_duration_since(from).num_seconds() * SECOND
}
