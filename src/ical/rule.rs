//! RRULE as written -> [`Rule`]. What cannot be followed is left out and said; the rest of the rule is kept.

use chrono::{NaiveDateTime, NaiveTime, Weekday};

use super::time::{self, WrittenTime};
use crate::domain::text::shortened;

/// FREQ, from the coarsest to the finest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Frequency {
    /// Once each year.
    Yearly,
    /// Once each month.
    Monthly,
    /// Once each week.
    Weekly,
    /// Once each day.
    Daily,
    /// Once each hour.
    Hourly,
    /// Each minute.
    Minutely,
    /// Each second.
    Secondly,
}

/// Part UNTIL of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// An instant in UTC.
    Utc(NaiveDateTime),
    /// A time on the clock of the series.
    Local(NaiveDateTime),
}

/// A recurrence rule (RFC 5545, 3.3.10). Lists are empty where the rule has no such part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Part FREQ of a rule.
    pub frequency: Frequency,
    /// INTERVAL, at least 1.
    pub interval: u32,
    /// COUNT, at least 1.
    pub count: Option<u64>,
    /// UNTIL, inclusive.
    pub until: Option<Until>,
    /// First day of the week.
    pub week_start: Weekday,
    /// BYMONTH, 1 to 12.
    pub months: Vec<i32>,
    /// BYWEEKNO, 1 to 53 or -53 to -1.
    pub weeks: Vec<i32>,
    /// BYYEARDAY, 1 to 366 or -366 to -1.
    pub year_days: Vec<i32>,
    /// BYMONTHDAY, 1 to 31 or -31 to -1.
    pub month_days: Vec<i32>,
    /// BYDAY: the number (0: every one) and the weekday.
    pub days: Vec<(i32, Weekday)>,
    /// Part BYHOUR of a rule.
    pub hours: Vec<i32>,
    /// Part BYMINUTE of a rule.
    pub minutes: Vec<i32>,
    /// Part BYSECOND of a rule.
    pub seconds: Vec<i32>,
    /// BYSETPOS, 1 to 366 or -366 to -1.
    pub positions: Vec<i32>,
}

impl Rule {
    /// Reads a rule; the second value says what was left out of it, for people.
    ///
    /// # Errors
    /// When it has no FREQ that is known, or its UNTIL cannot be read: then nothing of it can be followed.
    pub fn parse(text: &str) -> Result<(Self, Vec<String>), String> {
        let mut notes = Vec::new();
        let parts: Vec<(String, &str)> = text
            .trim()
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .filter_map(|part| match part.split_once('=') {
                Some((key, value)) => Some((key.trim().to_ascii_uppercase(), value.trim())),
                None => {
                    notes.push(format!("{:?} is no part of a rule and was left out", shortened(part, 40)));
                    None
                }
            })
            .collect();
        let frequency = parts.iter().find(|(key, _)| key == "FREQ").map(|(_, value)| value.to_ascii_uppercase());
        let frequency = match frequency.as_deref() {
            Some("YEARLY") => Frequency::Yearly,
            Some("MONTHLY") => Frequency::Monthly,
            Some("WEEKLY") => Frequency::Weekly,
            Some("DAILY") => Frequency::Daily,
            Some("HOURLY") => Frequency::Hourly,
            Some("MINUTELY") => Frequency::Minutely,
            Some("SECONDLY") => Frequency::Secondly,
            Some(other) => return Err(format!("FREQ={} is not known", shortened(other, 40))),
            None => return Err("it has no FREQ".to_owned()),
        };
        let mut rule = Self {
            frequency,
            interval: 1,
            count: None,
            until: None,
            week_start: Weekday::Mon,
            months: Vec::new(),
            weeks: Vec::new(),
            year_days: Vec::new(),
            month_days: Vec::new(),
            days: Vec::new(),
            hours: Vec::new(),
            minutes: Vec::new(),
            seconds: Vec::new(),
            positions: Vec::new(),
        };
        for (key, value) in &parts {
            rule.part(key, value, &mut notes)?;
        }
        Ok((rule, notes))
    }

    fn part(&mut self, key: &str, value: &str, notes: &mut Vec<String>) -> Result<(), String> {
        let left_out = |notes: &mut Vec<String>| {
            notes.push(format!("{}={} was left out of its rule", shortened(key, 30), shortened(value, 40)));
        };
        let mut numbers = |most: i32, negative: bool, zero: bool| {
            let mut out = Vec::new();
            for item in value.split(',').map(str::trim) {
                let number = item.trim_start_matches('+').parse::<i32>().ok();
                match number.filter(|n| n.abs() <= most && (*n > 0 || (*n == 0 && zero) || (*n < 0 && negative))) {
                    Some(number) if out.len() < MAX_ITEMS => out.push(number),
                    _ => notes.push(format!("{}={} was left out of its rule", key, shortened(item, 20))),
                }
            }
            out
        };
        match key {
            "FREQ" => {}
            "INTERVAL" => match value.parse() {
                Ok(interval) if interval > 0 => self.interval = interval,
                _ => left_out(notes),
            },
            "COUNT" => match value.parse() {
                Ok(count) if count > 0 => self.count = Some(count),
                _ => left_out(notes),
            },
            "UNTIL" => {
                self.until = Some(match time::parse(value)?.0 {
                    WrittenTime::Utc(at) => Until::Utc(at),
                    WrittenTime::Local(at) => Until::Local(at),
                    // A day includes its last second.
                    WrittenTime::Date(day) => {
                        Until::Local(day.and_hms_opt(23, 59, 59).unwrap_or(day.and_time(NaiveTime::MIN)))
                    }
                });
            }
            "WKST" => match weekday(value) {
                Some(day) => self.week_start = day,
                None => left_out(notes),
            },
            "BYMONTH" => self.months = numbers(12, false, false),
            "BYWEEKNO" => self.weeks = numbers(53, true, false),
            "BYYEARDAY" => self.year_days = numbers(366, true, false),
            "BYMONTHDAY" => self.month_days = numbers(31, true, false),
            "BYHOUR" => self.hours = numbers(23, false, true),
            "BYMINUTE" => self.minutes = numbers(59, false, true),
            // A leap second is read as the second before it.
            "BYSECOND" => self.seconds = numbers(60, false, true).into_iter().map(|s| s.min(59)).collect(),
            "BYSETPOS" => self.positions = numbers(366, true, false),
            "BYDAY" => {
                for item in value.split(',').map(str::trim) {
                    match numbered_day(item) {
                        Some(day) if self.days.len() < MAX_ITEMS => self.days.push(day),
                        _ => notes.push(format!("BYDAY={} was left out of its rule", shortened(item, 20))),
                    }
                }
            }
            // Gregorian is what everybody has.
            "RSCALE" if value.eq_ignore_ascii_case("GREGORIAN") => {}
            "SKIP" if value.eq_ignore_ascii_case("OMIT") => {}
            _ => left_out(notes),
        }
        Ok(())
    }
}

/// Numbers kept of one part of a rule: a year has 366 days.
const MAX_ITEMS: usize = 366;

fn weekday(text: &str) -> Option<Weekday> {
    Some(match text.trim().to_ascii_uppercase().as_str() {
        "MO" => Weekday::Mon,
        "TU" => Weekday::Tue,
        "WE" => Weekday::Wed,
        "TH" => Weekday::Thu,
        "FR" => Weekday::Fri,
        "SA" => Weekday::Sat,
        "SU" => Weekday::Sun,
        _ => return None,
    })
}

/// `MO`, `+1MO`, `-2FR`.
fn numbered_day(text: &str) -> Option<(i32, Weekday)> {
    let at = text.len().checked_sub(2)?;
    let (number, day) = (text.get(..at)?, weekday(text.get(at..)?)?);
    if number.is_empty() {
        return Some((0, day));
    }
    let number = number.trim_start_matches('+').parse::<i32>().ok()?;
    (number != 0 && number.abs() <= 53).then_some((number, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_followed_is_said_and_the_rest_is_kept() {
        for (text, kept, notes) in [
            ("FREQ=WEEKLY;BYDAY=MO,WE;COUNT=4", "FREQ=WEEKLY;BYDAY=MO,WE;COUNT=4", 0),
            ("freq=daily;x-name=1;COUNT=3", "FREQ=DAILY;COUNT=3", 1),
            ("FREQ=DAILY;COUNT=-1", "FREQ=DAILY", 1),
            ("FREQ=WEEKLY;BYDAY=0MO,TU", "FREQ=WEEKLY;BYDAY=TU", 1),
            ("FREQ=MONTHLY;BYMONTHDAY=0,32,5", "FREQ=MONTHLY;BYMONTHDAY=5", 2),
            ("RSCALE=HEBREW;FREQ=YEARLY;SKIP=FORWARD", "FREQ=YEARLY", 2),
            ("RSCALE=GREGORIAN;FREQ=YEARLY", "FREQ=YEARLY", 0),
            ("FREQ=DAILY;INTERVAL=0;junk", "FREQ=DAILY", 2),
            ("FREQ=DAILY;COUNT=é", "FREQ=DAILY", 1),
        ] {
            let (rule, said) = Rule::parse(text).expect(text);
            assert_eq!((&rule, said.len()), (&Rule::parse(kept).expect(kept).0, notes), "{text}: {said:?}");
        }
        for bad in ["", "COUNT=3", "FREQ=SOMETIMES", "FREQ=DAILY;UNTIL=tomorrow"] {
            assert!(Rule::parse(bad).is_err(), "{bad}");
        }
    }
}
