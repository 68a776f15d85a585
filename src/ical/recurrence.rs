//! Dates of a recurrence rule.
//!
//! Own code and not the rrule crate, which the tests compare it with: the crate has to walk through a series from
//! its first date on, goes on for 100,000 steps where nothing fits, and counts hours on the clock of the wall,
//! so that an hourly series misses an hour, or has one twice, in the nights of a clock change.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

use super::rule::{Frequency, Rule, Until};

/// A clock on a wall: times on it, and instants in UTC.
pub trait WallClock {
    /// The instant of a time on it.
    fn utc(&self, local: NaiveDateTime) -> NaiveDateTime;
    /// What it shows at an instant.
    fn local(&self, utc: NaiveDateTime) -> NaiveDateTime;
}

/// Dates of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// Instants in UTC, rising.
    pub dates: Vec<NaiveDateTime>,
    /// True where `max` dates or the budget ended the search, and not the rule or the window.
    pub capped: bool,
}

/// What is wanted of a rule: dates from `from` on and before `until`, UTC, at most `max`.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// First instant, inclusive.
    pub from: NaiveDateTime,
    /// Last instant, exclusive.
    pub until: NaiveDateTime,
    /// Most dates to give.
    pub max: usize,
}

/// What the rules of one calendar may still cost, in days or times that are looked at. Six thousand daily series of
/// two years fit.
#[derive(Clone, Debug)]
pub struct Budget(u64);

impl Default for Budget {
    fn default() -> Self {
        Self(5_000_000)
    }
}

impl Budget {
    /// Takes `steps`; false where they are not there any more.
    fn take(&mut self, steps: u64) -> bool {
        let enough = self.0 >= steps;
        self.0 = self.0.saturating_sub(steps);
        enough
    }
}

/// Looks for the dates of `rule` for a series that begins at `start`, a time on the clock of `zone`.
///
/// What repeats is the time on the clock, also across a clock change; hours, minutes and seconds pass as they do.
#[must_use]
pub fn expand(
    start: NaiveDateTime,
    rule: &Rule,
    zone: &dyn WallClock,
    wanted: Wanted,
    budget: &mut Budget,
) -> Expanded {
    let utc = |local: NaiveDateTime| zone.utc(local);
    let mut end = wanted.until;
    match rule.until {
        Some(Until::Utc(at)) => end = end.min(at.checked_add_signed(TimeDelta::milliseconds(1)).unwrap_or(at)),
        Some(Until::Local(at)) => {
            let at = utc(at);
            end = end.min(at.checked_add_signed(TimeDelta::milliseconds(1)).unwrap_or(at));
        }
        None => {}
    }
    let mut found = Found { out: Expanded::default(), first: utc(start), wanted, end, left: rule.count, last: None };
    if rule.frequency >= Frequency::Hourly {
        fine(rule, zone, &mut found, budget);
    } else {
        coarse(start, rule, zone, &mut found, budget);
    }
    found.out
}

struct Found {
    out: Expanded,
    /// The series' start, UTC.
    first: NaiveDateTime,
    wanted: Wanted,
    end: NaiveDateTime,
    /// Dates that COUNT still allows.
    left: Option<u64>,
    last: Option<NaiveDateTime>,
}

impl Found {
    /// Takes a date; false where there can be no further one.
    fn push(&mut self, at: NaiveDateTime) -> bool {
        if at < self.first || self.last.is_some_and(|last| at <= last) {
            return true;
        }
        if at >= self.end {
            return false;
        }
        self.last = Some(at);
        if let Some(left) = &mut self.left {
            if *left == 0 {
                return false;
            }
            *left -= 1;
        }
        if at >= self.wanted.from {
            if self.out.dates.len() >= self.wanted.max {
                self.out.capped = true;
                return false;
            }
            self.out.dates.push(at);
        }
        self.left != Some(0)
    }
}

/// Rules of years, months, weeks and days: each period is a set of days, each day a set of times.
fn coarse(start: NaiveDateTime, rule: &Rule, zone: &dyn WallClock, found: &mut Found, budget: &mut Budget) {
    let rule = &completed(rule, start.date());
    let times = times(start.time(), rule);
    let interval = i64::from(rule.interval);
    let first = period_of(start.date(), rule);
    let local_from = zone.local(found.wanted.from);
    // Without COUNT nothing before the window matters.
    let skipped = match rule.count {
        None if local_from > start => ((period_of(local_from.date(), rule) - first) / interval - 1).max(0),
        _ => 0,
    };
    let last_day = zone.local(found.end).date().checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX);
    let mut index = first.saturating_add(skipped.saturating_mul(interval));
    loop {
        let Some(days) = period(index, rule) else { return };
        if days.first > last_day {
            return;
        }
        let mut set = Vec::new();
        for (from, count) in days.runs {
            if !budget.take(u64::from(count)) {
                found.out.capped = true;
                return;
            }
            let fitting = from.iter_days().take(usize::try_from(count).unwrap_or(0)).filter(|day| fits(*day, rule));
            set.extend(fitting.flat_map(|day| times.iter().map(move |time| day.and_time(*time))));
        }
        // A period without any day costs something too.
        if !budget.take(1) {
            found.out.capped = true;
            return;
        }
        for local in chosen(&rule.positions, &set) {
            if !found.push(zone.utc(local)) {
                return;
            }
        }
        let Some(next) = index.checked_add(interval) else { return };
        index = next;
    }
}

/// The rule with what it takes from the day that the series starts on.
fn completed(rule: &Rule, start: NaiveDate) -> Rule {
    let mut rule = rule.clone();
    let names_days = [&rule.weeks, &rule.year_days, &rule.month_days].iter().any(|list| !list.is_empty());
    if !names_days && rule.days.is_empty() {
        match rule.frequency {
            Frequency::Yearly => {
                if rule.months.is_empty() {
                    rule.months.push(number(start.month()));
                }
                rule.month_days.push(number(start.day()));
            }
            Frequency::Monthly => rule.month_days.push(number(start.day())),
            Frequency::Weekly => rule.days.push((0, start.weekday())),
            _ => {}
        }
    }
    rule.months.sort_unstable();
    rule.months.dedup();
    rule
}

/// The number of the year, month, week or day that a day is in.
fn period_of(day: NaiveDate, rule: &Rule) -> i64 {
    match rule.frequency {
        Frequency::Yearly => i64::from(day.year()),
        Frequency::Monthly => i64::from(day.year()) * 12 + i64::from(day.month0()),
        Frequency::Weekly => i64::from(week_begin(day, rule).num_days_from_ce()).div_euclid(7),
        _ => i64::from(day.num_days_from_ce()),
    }
}

/// The first day of the week that a day is in.
fn week_begin(day: NaiveDate, rule: &Rule) -> NaiveDate {
    let after = day.weekday().days_since(rule.week_start);
    day.checked_sub_days(Days::new(u64::from(after))).unwrap_or(day)
}

/// A period's days that may fit, as runs: first day and number of days.
struct PeriodDays {
    /// The period's first day, whether it may fit or not.
    first: NaiveDate,
    runs: Vec<(NaiveDate, u32)>,
}

/// The days of a period by its number; `None` where the calendar ends.
fn period(index: i64, rule: &Rule) -> Option<PeriodDays> {
    let month = |year: i32, month: u32| {
        let first = NaiveDate::from_ymd_opt(year, month, 1)?;
        let next = if month == 12 { (year.checked_add(1)?, 1) } else { (year, month + 1) };
        let next = NaiveDate::from_ymd_opt(next.0, next.1, 1)?;
        Some((first, u32::try_from(next.signed_duration_since(first).num_days()).ok()?))
    };
    let from_ce = |days: i64| NaiveDate::from_num_days_from_ce_opt(i32::try_from(days).ok()?);
    Some(match rule.frequency {
        Frequency::Yearly => {
            let year = i32::try_from(index).ok()?;
            let first = NaiveDate::from_ymd_opt(year, 1, 1)?;
            let runs = if rule.months.is_empty() {
                vec![(first, if first.leap_year() { 366 } else { 365 })]
            } else {
                rule.months.iter().filter_map(|m| month(year, u32::try_from(*m).ok()?)).collect()
            };
            PeriodDays { first, runs }
        }
        Frequency::Monthly => {
            let (year, number) = (i32::try_from(index.div_euclid(12)).ok()?, index.rem_euclid(12) + 1);
            let (first, days) = month(year, u32::try_from(number).ok()?)?;
            let fits = rule.months.is_empty() || rule.months.iter().any(|m| i64::from(*m) == number);
            PeriodDays { first, runs: if fits { vec![(first, days)] } else { Vec::new() } }
        }
        Frequency::Weekly => {
            // Any day of that week, then its first one.
            let first = week_begin(from_ce(index.checked_mul(7)?.checked_add(6)?)?, rule);
            let first = if period_of(first, rule) == index { first } else { first.checked_sub_days(Days::new(7))? };
            PeriodDays { first, runs: vec![(first, 7)] }
        }
        _ => {
            let first = from_ce(index)?;
            PeriodDays { first, runs: vec![(first, 1)] }
        }
    })
}

/// True where a day has all that the rule's parts ask of it.
fn fits(day: NaiveDate, rule: &Rule) -> bool {
    let (of_year, year_len) = (number(day.ordinal()), if day.leap_year() { 366 } else { 365 });
    let (of_month, month_len) = (number(day.day()), month_len(day));
    let either =
        |list: &[i32], at: i32, len: i32| list.is_empty() || list.contains(&at) || list.contains(&(at - len - 1));
    let weekday = |(nth, weekday): &(i32, chrono::Weekday)| {
        let (at, len) = match rule.frequency {
            Frequency::Yearly if rule.months.is_empty() => (of_year, year_len),
            Frequency::Yearly | Frequency::Monthly => (of_month, month_len),
            _ => return day.weekday() == *weekday,
        };
        day.weekday() == *weekday && (*nth == 0 || *nth == (at - 1) / 7 + 1 || *nth == -((len - at) / 7 + 1))
    };
    (rule.months.is_empty() || rule.months.contains(&number(day.month())))
        && either(&rule.year_days, of_year, year_len)
        && either(&rule.month_days, of_month, month_len)
        && (rule.days.is_empty() || rule.days.iter().any(weekday))
        && (rule.weeks.is_empty() || {
            let (week, weeks) = week_of(day, rule);
            either(&rule.weeks, week, weeks)
        })
}

fn month_len(day: NaiveDate) -> i32 {
    let next = if day.month() == 12 { (day.year() + 1, 1) } else { (day.year(), day.month() + 1) };
    NaiveDate::from_ymd_opt(next.0, next.1, 1).and_then(|d| d.pred_opt()).map_or(31, |last| number(last.day()))
}

/// The number of a day's week, and how many weeks the year has that this week belongs to. The first week is the one
/// with at least four days of the year.
fn week_of(day: NaiveDate, rule: &Rule) -> (i32, i32) {
    let begin = week_begin(day, rule);
    // The year that has most of the week.
    let year = begin.checked_add_days(Days::new(3)).unwrap_or(begin).year();
    let first = |year: i32| NaiveDate::from_ymd_opt(year, 1, 4).map(|d| week_begin(d, rule));
    let (Some(one), Some(next)) = (first(year), first(year + 1)) else { return (0, 52) };
    let weeks =
        |from: NaiveDate, to: NaiveDate| i32::try_from(to.signed_duration_since(from).num_days() / 7).unwrap_or(0);
    (weeks(one, begin) + 1, weeks(one, next))
}

/// The times of a day, rising.
fn times(start: NaiveTime, rule: &Rule) -> Vec<NaiveTime> {
    let or = |list: &[i32], one: u32| if list.is_empty() { vec![number(one)] } else { list.to_vec() };
    let (hours, minutes) = (or(&rule.hours, start.hour()), or(&rule.minutes, start.minute()));
    let seconds = or(&rule.seconds, start.second());
    let mut out = Vec::new();
    for hour in &hours {
        for minute in &minutes {
            for second in &seconds {
                let seconds = hour * 3600 + minute * 60 + second;
                let at = u32::try_from(seconds).ok().and_then(|s| NaiveTime::from_num_seconds_from_midnight_opt(s, 0));
                // A day of every minute is still 1,440 times.
                if out.len() < MAX_TIMES {
                    out.extend(at);
                }
            }
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// Times of one day of one rule.
const MAX_TIMES: usize = 1440;

/// Those of a period's dates that BYSETPOS names, rising; all where it names none.
fn chosen(positions: &[i32], set: &[NaiveDateTime]) -> Vec<NaiveDateTime> {
    if positions.is_empty() {
        return set.to_vec();
    }
    let len = i64::try_from(set.len()).unwrap_or(i64::MAX);
    let at = |position: i32| match i64::from(position) {
        p if p > 0 => usize::try_from(p - 1).ok(),
        p => usize::try_from(len + p).ok(),
    };
    let mut out: Vec<_> = positions.iter().filter_map(|p| set.get(at(*p)?).copied()).collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// Rules of hours, minutes and seconds: steps of equal length in real time, at which the clock is looked at.
fn fine(rule: &Rule, zone: &dyn WallClock, found: &mut Found, budget: &mut Budget) {
    let unit: i64 = match rule.frequency {
        Frequency::Hourly => 3600,
        Frequency::Minutely => 60,
        _ => 1,
    };
    let step = unit * i64::from(rule.interval);
    let first = found.first;
    let begin = zone.local(first).time();
    let at = |k: i64| first.checked_add_signed(TimeDelta::try_seconds(k.checked_mul(step)?)?);
    let before = found.wanted.from.signed_duration_since(first).num_seconds() / step - 1;
    let mut k = if rule.count.is_none() { before.max(0) } else { 0 };
    while let Some(utc) = at(k) {
        if utc >= found.end.checked_add_signed(TimeDelta::seconds(unit)).unwrap_or(found.end) {
            return;
        }
        if !budget.take(1) {
            found.out.capped = true;
            return;
        }
        let local = zone.local(utc);
        let of_hour = i64::from(local.minute() * 60 + local.second());
        let of_day = i64::from(local.num_seconds_from_midnight());
        let misses = |list: &[i32], value: u32| !list.is_empty() && !list.contains(&number(value));
        // How long nothing can fit; on the safe side of clock changes.
        let idle = if !fits(local.date(), rule) {
            Some((86_400 - of_day - 2 * 3600).max(3600 - of_hour))
        } else if misses(&rule.hours, local.hour()) {
            Some(3600 - of_hour)
        } else if rule.frequency > Frequency::Hourly && misses(&rule.minutes, local.minute()) {
            Some(60 - i64::from(local.second()))
        } else {
            (rule.frequency > Frequency::Minutely && misses(&rule.seconds, local.second())).then_some(1)
        };
        if let Some(idle) = idle {
            k += ((idle + step - 1) / step).max(1);
            continue;
        }
        let within = times_within(local, begin, rule);
        let set: Vec<_> = within.iter().filter_map(|s| utc.checked_add_signed(TimeDelta::seconds(*s))).collect();
        for date in chosen(&rule.positions, &set) {
            if !found.push(date) {
                return;
            }
        }
        k += 1;
    }
}

/// Seconds from a step to each date inside its hour or minute, rising.
fn times_within(local: NaiveDateTime, begin: NaiveTime, rule: &Rule) -> Vec<i64> {
    let or = |list: &[i32], one: u32| if list.is_empty() { vec![number(one)] } else { list.to_vec() };
    let now = i64::from(local.minute() * 60 + local.second());
    let mut out = match rule.frequency {
        Frequency::Hourly => {
            let seconds = or(&rule.seconds, begin.second());
            let minutes = or(&rule.minutes, begin.minute());
            let all = minutes.iter().flat_map(|m| seconds.iter().map(move |s| i64::from(m * 60 + s) - now));
            all.take(MAX_TIMES).collect()
        }
        Frequency::Minutely => {
            let seconds = or(&rule.seconds, begin.second());
            seconds.iter().map(|s| i64::from(*s) - i64::from(local.second())).collect()
        }
        _ => vec![0],
    };
    out.sort_unstable();
    out.dedup();
    out
}

/// Parts of dates are small.
fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

#[cfg(test)]
#[path = "recurrence_tests.rs"]
mod tests;
