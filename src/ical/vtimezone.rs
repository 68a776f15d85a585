//! Zones as a calendar's VTIMEZONE defines them.

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta};
use chrono_tz::Tz;

use super::recurrence::{self, Budget, WallClock, Wanted};
use super::rule::{Rule, Until};
use super::time::WrittenTime;

/// One change of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    /// When it happens, UTC.
    at: NaiveDateTime,
    /// Seconds east of UTC before.
    from: i32,
    /// Seconds east of UTC after.
    to: i32,
}

impl Change {
    /// When it happens, on the clock before.
    fn local(&self) -> NaiveDateTime {
        self.at.checked_add_signed(TimeDelta::seconds(i64::from(self.from))).unwrap_or(self.at)
    }
}

/// A VTIMEZONE, with its changes written out for the years that are wanted of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomZone {
    /// X-LIC-LOCATION: the IANA name it stands for.
    pub location: Option<String>,
    /// A zone with the same clock in these years, for what is shown; it decides nothing.
    pub alike: Option<Tz>,
    changes: Vec<Change>,
}

/// A clock so many seconds east of UTC.
struct Offset(i32);

impl WallClock for Offset {
    fn utc(&self, local: NaiveDateTime) -> NaiveDateTime {
        local.checked_sub_signed(TimeDelta::seconds(i64::from(self.0))).unwrap_or(local)
    }

    fn local(&self, utc: NaiveDateTime) -> NaiveDateTime {
        utc.checked_add_signed(TimeDelta::seconds(i64::from(self.0))).unwrap_or(utc)
    }
}

/// STANDARD or DAYLIGHT, as written.
#[derive(Clone, Debug, Default)]
pub struct Observance {
    /// DTSTART of the observance, local time.
    pub start: Option<NaiveDateTime>,
    /// TZOFFSETFROM, seconds.
    pub from: Option<i32>,
    /// TZOFFSETTO, seconds.
    pub to: Option<i32>,
    /// Property RRULE of the observance.
    pub rules: Vec<String>,
    /// Property RDATE of the observance.
    pub dates: Vec<WrittenTime>,
}

/// Years of a calendar's times, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Years {
    /// The first year.
    pub first: i32,
    /// The last year.
    pub last: i32,
}

/// A rule of a zone changes the clock at least once in so many years.
const SPARSE_YEARS: i32 = 10;
/// Most changes of one rule.
const MAX_CHANGES: usize = 1200;

impl CustomZone {
    /// A zone without rules yet, with its X-LIC-LOCATION.
    #[must_use]
    pub fn new(location: Option<String>) -> Self {
        Self { location, alike: None, changes: Vec::new() }
    }

    /// Takes one observance in, as far as it matters for `years`. One without start or offset says nothing; of a rule
    /// that `budget` does not allow, or that cannot be read, only its start counts.
    pub fn add(&mut self, observance: &Observance, years: Years, budget: &mut Budget) {
        let (Some(start), Some(to)) = (observance.start, observance.to) else { return };
        let from = observance.from.unwrap_or(to);
        let before = Offset(from);
        let mut onsets = vec![before.utc(start)];
        onsets.extend(observance.dates.iter().map(|date| match date {
            WrittenTime::Utc(at) => *at,
            // A day is the day at the time of the start.
            WrittenTime::Date(day) => before.utc(day.and_time(start.time())),
            WrittenTime::Local(at) => before.utc(*at),
        }));
        for rule in &observance.rules {
            let Ok((rule, _)) = Rule::parse(rule) else { continue };
            // What a rule that has ended left behind still holds.
            let ended = match rule.until {
                Some(Until::Utc(at) | Until::Local(at)) => at.year(),
                None => years.first,
            };
            let first =
                if rule.count.is_some() { i32::MIN } else { years.first.min(ended).saturating_sub(SPARSE_YEARS) };
            let january =
                |year: i32| NaiveDate::from_ymd_opt(year, 1, 1).map(|day| day.and_time(chrono::NaiveTime::MIN));
            let wanted = Wanted {
                from: january(first).unwrap_or(NaiveDateTime::MIN),
                until: january(years.last.saturating_add(2)).unwrap_or(NaiveDateTime::MAX),
                max: MAX_CHANGES,
            };
            onsets.extend(recurrence::expand(start, &rule, &before, wanted, budget).dates);
        }
        self.changes.extend(onsets.into_iter().map(|at| Change { at, from, to }));
        self.changes.sort_by_key(|c| c.at);
        self.changes.dedup();
    }

    /// True where it says anything of its own.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Seconds east of UTC at a local time; the first one where there are two, and the one before
    /// where there is none.
    #[must_use]
    pub fn offset_at_local(&self, local: NaiveDateTime) -> i32 {
        let after = self.changes.partition_point(|c| c.local() <= local);
        let Some(change) = after.checked_sub(1).map(|at| self.changes[at]) else { return self.before_all() };
        let hole = TimeDelta::seconds(i64::from((change.to - change.from).max(0)));
        if local - change.local() < hole { change.from } else { change.to }
    }

    /// Seconds east of UTC at an instant.
    #[must_use]
    pub fn offset_at_utc(&self, utc: NaiveDateTime) -> i32 {
        let after = self.changes.partition_point(|c| c.at <= utc);
        after.checked_sub(1).map_or_else(|| self.before_all(), |at| self.changes[at].to)
    }

    fn before_all(&self) -> i32 {
        self.changes.first().map_or(0, |c| c.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").expect("time")
    }

    #[test]
    fn a_zone_of_its_own_rules() {
        let mut zone = CustomZone::default();
        zone.add(
            &Observance {
                start: Some(at("1601-01-01 03:00")),
                from: Some(7200),
                to: Some(3600),
                rules: vec!["FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10".to_owned()],
                dates: vec![],
            },
            Years { first: 2010, last: 2011 },
            &mut Budget::default(),
        );
        zone.add(
            &Observance {
                start: Some(at("1601-01-01 02:00")),
                from: Some(3600),
                to: Some(7200),
                rules: vec!["FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3".to_owned()],
                dates: vec![],
            },
            Years { first: 2010, last: 2011 },
            &mut Budget::default(),
        );
        for (local, hours) in [
            ("2010-12-27 11:30", 1),
            ("2011-07-01 12:00", 2),
            ("2011-03-27 02:30", 1),
            ("2011-03-27 03:00", 2),
            ("2010-10-31 02:30", 2),
            ("2010-10-31 03:00", 1),
        ] {
            assert_eq!(zone.offset_at_local(at(local)), hours * 3600, "{local}");
        }
        assert_eq!(zone.offset_at_utc(at("2010-10-31 00:59")), 7200);
        assert_eq!(zone.offset_at_utc(at("2010-10-31 01:00")), 3600);
        assert_eq!(CustomZone::default().offset_at_local(at("2010-10-31 01:00")), 0);
    }

    const YEARS: Years = Years { first: 2024, last: 2027 };

    fn with(observances: &[(&str, i32, i32, &str)]) -> CustomZone {
        let mut zone = CustomZone::default();
        for (start, from, to, rule) in observances {
            let observance = Observance {
                start: Some(at(start)),
                from: Some(from * 3600),
                to: Some(to * 3600),
                rules: if rule.is_empty() { vec![] } else { vec![(*rule).to_owned()] },
                dates: vec![],
            };
            zone.add(&observance, YEARS, &mut Budget::default());
        }
        zone
    }

    /// An UNTIL in UTC is UTC: read on the clock, the last summer of a rule is lost east of Greenwich.
    #[test]
    fn the_last_summer_of_a_rule_is_part_of_it() {
        let zone = with(&[
            ("2000-03-26 02:00", 1, 2, "FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU;UNTIL=20260329T010000Z"),
            ("2000-10-29 03:00", 2, 1, "FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU;UNTIL=20261025T010000Z"),
        ]);
        assert_eq!(zone.offset_at_local(at("2026-07-01 12:00")), 7200);
        assert_eq!(zone.offset_at_local(at("2026-12-01 12:00")), 3600);
        assert_eq!(zone.offset_at_local(at("2027-07-01 12:00")), 3600);
    }

    /// The clock of a rule that ended long ago still goes as that rule left it.
    #[test]
    fn a_rule_that_has_ended_leaves_its_offset() {
        let zone = with(&[
            ("1970-03-29 02:00", 2, 3, "FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU;UNTIL=19960331T000000Z"),
            ("1970-10-25 03:00", 3, 2, "FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU;UNTIL=19951029T000000Z"),
            ("1960-01-01 00:00", 1, 2, ""),
        ]);
        assert_eq!(zone.offset_at_local(at("2026-01-01 12:00")), 3 * 3600);
    }

    /// The forms in which exporters write the last Sunday in March or the second one in October, long after DTSTART.
    #[test]
    fn rules_hold_for_all_years_in_all_forms() {
        for march in [
            "FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU",
            "FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=25,26,27,28,29,30,31;BYDAY=SU",
            "FREQ=YEARLY;BYMONTH=3;BYDAY=SU;BYSETPOS=-1",
            "FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU;BYHOUR=2;BYMINUTE=0",
            "FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3;BYHOUR=2;BYMINUTE=0;BYSECOND=0;WKST=SU",
            "FREQ=MONTHLY;INTERVAL=12;BYDAY=-1SU",
        ] {
            let october = march.replace("MONTH=3", "MONTH=10").replace("BYHOUR=2", "BYHOUR=3");
            let zone = with(&[("1981-03-29 02:00", 1, 2, march), ("1981-10-25 03:00", 2, 1, &october)]);
            for (local, hours) in [
                ("2024-03-31 01:59", 1),
                ("2024-03-31 03:00", 2),
                ("2027-03-28 01:59", 1),
                ("2027-03-28 03:00", 2),
                ("2027-10-31 02:59", 2),
                ("2027-10-31 03:00", 1),
            ] {
                assert_eq!(zone.offset_at_local(at(local)), hours * 3600, "{march} {local}");
            }
        }
    }

    #[test]
    fn dates_of_a_zone_may_be_in_utc() {
        let mut zone = with(&[("2000-01-01 00:00", 1, 1, "")]);
        let utc = WrittenTime::Utc(at("2026-03-29 01:00"));
        let observance = Observance {
            start: Some(at("2025-03-30 02:00")),
            from: Some(3600),
            to: Some(7200),
            rules: vec![],
            dates: vec![utc],
        };
        zone.add(&observance, YEARS, &mut Budget::default());
        assert_eq!(zone.changes.last().map(|c| c.at), Some(at("2026-03-29 01:00")));
    }
}
