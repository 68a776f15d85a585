//! RRULE, through the rrule crate, always with a cap.
//!
//! The crate is given local times as if they were UTC: what repeats is the time on the clock, also across
//! a clock change and in zones that only the calendar knows. Whoever asks turns them into instants.

use chrono::{NaiveDateTime, NaiveTime, TimeDelta};
use rrule::{RRule, RRuleSet, Tz, Unvalidated};

use super::time::{self, WrittenTime};

/// Dates of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// Local times, rising.
    pub dates: Vec<NaiveDateTime>,
    /// True where the cap ended them.
    pub capped: bool,
}

/// What the rules of one calendar may cost that may miss.
const BUDGET: u8 = 100;

/// A search in vain costs the rrule crate up to 100,000 steps, half a second without optimisation.
const IN_VAIN: u8 = 50;

/// One that finds something finds the next thing within 400 years, when the calendar repeats.
const SPARSE: u8 = 2;

/// Dates of a rule that may miss lie within so many days of its start: no talk repeats for longer.
const HORIZON_DAYS: i64 = 5 * 366;

/// What the rules of one calendar may still cost.
#[derive(Clone, Debug)]
pub struct Budget(u8);

impl Default for Budget {
    fn default() -> Self {
        Self(BUDGET)
    }
}

/// True where each step of a rule gives a date, so that `max` dates take `max` steps: no parts but those that name
/// a day which every step has.
fn always_hits(parts: &[(String, String)]) -> bool {
    let of = |key: &str| parts.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
    let known =
        parts.iter().all(|(key, _)| ["FREQ", "INTERVAL", "COUNT", "WKST", "BYDAY", "BYMONTH"].contains(&key.as_str()));
    // Which of the month's MO there always is: the first to the fourth, from either end.
    let day = |n: &str, wanted: bool| match n.trim_start_matches(['+', '-']) {
        "" => !wanted,
        n => wanted && matches!(n, "1" | "2" | "3" | "4"),
    };
    let days = |numbered| {
        of("BYDAY").is_none_or(|days| {
            days.split(',')
                .all(|d| d.trim().len() >= 2 && d.is_ascii() && day(&d.trim()[..d.trim().len() - 2], numbered))
        })
    };
    known
        && match (of("FREQ"), of("BYMONTH")) {
            (Some("YEARLY"), Some(_)) => days(true) || days(false),
            (Some("YEARLY"), None) => of("BYDAY").is_none(),
            (Some("MONTHLY"), None) => of("BYDAY").is_some() && (days(true) || days(false)),
            (Some("WEEKLY"), None) => days(false),
            (Some("DAILY" | "HOURLY" | "MINUTELY" | "SECONDLY"), None) => of("BYDAY").is_none(),
            _ => false,
        }
}

/// The first `max` dates of a rule that begins at `start`. `local` turns UTC into the zone of `start`,
/// for an UNTIL in UTC.
///
/// # Errors
/// When the rule cannot be read, or `budget` does not allow to search for its dates.
pub fn expand(
    start: NaiveDateTime,
    rule: &str,
    local: impl Fn(NaiveDateTime) -> NaiveDateTime,
    max: u16,
    budget: &mut Budget,
) -> Result<Expanded, String> {
    // The crate slices its text by bytes and panics inside a character (found by the fuzz test).
    if !rule.is_ascii() {
        return Err("it has characters that no rule has".to_owned());
    }
    let mut until = None;
    let mut rest = Vec::new();
    for part in rule.trim().split(';').map(str::trim).filter(|p| !p.is_empty()) {
        match part.split_once('=') {
            Some((key, value)) if key.trim().eq_ignore_ascii_case("UNTIL") => {
                until = Some(match time::parse(value)?.0 {
                    WrittenTime::Utc(at) => local(at),
                    WrittenTime::Local(at) => at,
                    // A day includes its last second.
                    WrittenTime::Date(day) => day.and_hms_opt(23, 59, 59).unwrap_or(day.and_time(NaiveTime::MIN)),
                });
            }
            _ => rest.push(part),
        }
    }
    if until.is_some_and(|until| until < start) {
        return Ok(Expanded { dates: Vec::new(), capped: false });
    }
    let pairs = |part: &&str| part.split_once('=').map(|(k, v)| (k.trim().to_uppercase(), v.trim().to_uppercase()));
    let parts: Vec<(String, String)> = rest.iter().filter_map(pairs).collect();
    let may_miss = !always_hits(&parts);
    if may_miss {
        let is_fine = |(key, value): &(String, String)| {
            key == "FREQ" && ["HOURLY", "MINUTELY", "SECONDLY"].contains(&value.as_str())
        };
        if parts.iter().any(is_fine) {
            return Err("a rule of hours, minutes or seconds is followed only without further parts".to_owned());
        }
        if budget.0 == 0 {
            return Err("too many rules of this calendar have few dates or none".to_owned());
        }
        let horizon = start.checked_add_signed(TimeDelta::days(HORIZON_DAYS)).unwrap_or(NaiveDateTime::MAX);
        until = Some(until.map_or(horizon, |until| until.min(horizon)));
    }
    let utc = |at: NaiveDateTime| at.and_utc().with_timezone(&Tz::UTC);
    let mut read: RRule<Unvalidated> = rest.join(";").parse().map_err(|e: rrule::RRuleError| e.to_string())?;
    if let Some(until) = until {
        read = read.until(utc(until));
    }
    let valid = read.validate(utc(start)).map_err(|e| e.to_string())?;
    let found = RRuleSet::new(utc(start)).rrule(valid).all(max);
    if may_miss {
        let in_vain = found.dates.is_empty() || (found.limited && found.dates.len() < usize::from(max));
        budget.0 = budget.0.saturating_sub(if in_vain { IN_VAIN } else { SPARSE });
    }
    Ok(Expanded { dates: found.dates.into_iter().map(|at| at.naive_utc()).collect(), capped: found.limited })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").expect("time")
    }

    fn days(rule: &str) -> Result<Vec<String>, String> {
        let later = |utc: NaiveDateTime| utc + chrono::TimeDelta::hours(1);
        let found = expand(at("2010-12-27 00:30"), rule, later, 10, &mut Budget::default())?;
        Ok(found.dates.iter().map(|d| d.format("%d %H:%M").to_string()).collect())
    }

    #[test]
    fn rules_and_their_ends() {
        assert_eq!(days("FREQ=DAILY;COUNT=3"), Ok(vec!["27 00:30".into(), "28 00:30".into(), "29 00:30".into()]));
        assert_eq!(days("freq=daily;until=20101228").map(|d| d.len()), Ok(2));
        // 23:30 UTC on the 27th is 00:30 on the 28th where the talk is.
        assert_eq!(days("FREQ=DAILY;UNTIL=20101227T233000Z").map(|d| d.len()), Ok(2));
        assert_eq!(days("FREQ=DAILY;UNTIL=20101227T232959Z").map(|d| d.len()), Ok(1));
        assert_eq!(days("FREQ=DAILY;UNTIL=20001227T232959Z").map(|d| d.len()), Ok(0));
        assert_eq!(days("FREQ=SECONDLY").map(|d| d.len()), Ok(10));
        for bad in
            ["", "FREQ=SOMETIMES", "COUNT=3", "FREQ=DAILY;BYMONTH=99", "FREQ=DAILY;UNTIL=soon", "FREQ=DAILY;BYDAY=MÜ"]
        {
            assert!(days(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rules_that_have_no_date_are_searched_a_few_times_only() {
        let mut budget = Budget::default();
        let mut dates =
            |rule: &str| expand(at("2010-12-27 00:30"), rule, |utc| utc, 100, &mut budget).map(|f| f.dates.len());
        let never = "FREQ=YEARLY;BYDAY=5MO;BYMONTHDAY=30;BYMONTH=2";
        for _ in 0..BUDGET / IN_VAIN {
            assert_eq!(dates(never), Ok(0));
        }
        assert!(dates(never).expect_err("enough").contains("too many"));
        assert!(dates("FREQ=MONTHLY;BYMONTHDAY=31").is_err());
        // What calendars really have is not held back by that.
        for (rule, count) in [
            ("FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU", 100),
            ("FREQ=WEEKLY;BYDAY=MO,WE;COUNT=7", 7),
            ("FREQ=MONTHLY;BYDAY=2TU", 100),
            ("FREQ=DAILY", 100),
            ("FREQ=MINUTELY;INTERVAL=5", 100),
        ] {
            assert_eq!(dates(rule), Ok(count), "{rule}");
        }
        assert!(dates("FREQ=SECONDLY;BYHOUR=1;BYMINUTE=1").is_err());
    }

    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

        /// Rules of right form and wild numbers, from wild dates on.
        #[test]
        fn any_rule_is_followed_or_refused(
            freq in "(YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY|MINUTELY|SECONDLY)",
            parts in "(;(BYDAY=-?[0-9]{0,5}(MO|SU)|BYMONTHDAY=-?[0-9]{1,3}|BYMONTH=[0-9]{1,3}|BYSETPOS=-?[0-9]{1,10}|BYYEARDAY=-?[0-9]{1,5}|BYWEEKNO=-?[0-9]{1,3}|BYHOUR=[0-9]{1,3}|BYMINUTE=[0-9]{1,2}|INTERVAL=[0-9]{1,6}|COUNT=[0-9]{1,10}|WKST=SU|UNTIL=[0-9]{8})){0,4}",
            year in 1_i32..9999,
        ) {
            let start = chrono::NaiveDate::from_ymd_opt(year, 12, 31).and_then(|d| d.and_hms_opt(23, 59, 59)).expect("time");
            if let Ok(found) = expand(start, &format!("FREQ={freq}{parts}"), |utc| utc, 20, &mut Budget::default()) {
                prop_assert!(found.dates.len() <= 20);
            }
        }
    }
}
