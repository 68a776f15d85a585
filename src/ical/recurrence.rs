//! RRULE, through the rrule crate, always with a cap.
//!
//! The crate is given local times as if they were UTC: what repeats is the time on the clock, also across
//! a clock change and in zones that only the calendar knows. Whoever asks turns them into instants.

use chrono::{NaiveDateTime, NaiveTime};
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

/// The first `max` dates of a rule that begins at `start`. `local` turns UTC into the zone of `start`,
/// for an UNTIL in UTC.
///
/// # Errors
/// When the rule cannot be read.
pub fn expand(
    start: NaiveDateTime,
    rule: &str,
    local: impl Fn(NaiveDateTime) -> NaiveDateTime,
    max: u16,
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
    let utc = |at: NaiveDateTime| at.and_utc().with_timezone(&Tz::UTC);
    let mut read: RRule<Unvalidated> = rest.join(";").parse().map_err(|e: rrule::RRuleError| e.to_string())?;
    if let Some(until) = until {
        read = read.until(utc(until));
    }
    let valid = read.validate(utc(start)).map_err(|e| e.to_string())?;
    let found = RRuleSet::new(utc(start)).rrule(valid).all(max);
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
        let found = expand(at("2010-12-27 00:30"), rule, later, 10)?;
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
            if let Ok(found) = expand(start, &format!("FREQ={freq}{parts}"), |utc| utc, 20) {
                prop_assert!(found.dates.len() <= 20);
            }
        }
    }
}
