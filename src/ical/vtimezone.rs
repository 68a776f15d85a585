//! Zones that only a calendar's VTIMEZONE knows.

use chrono::{NaiveDateTime, TimeDelta};

use super::recurrence::{self, Budget};

/// One change of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    /// Local time at which it happens, on the clock before.
    local: NaiveDateTime,
    /// Seconds east of UTC before.
    from: i32,
    /// Seconds east of UTC after.
    to: i32,
}

/// A VTIMEZONE, with its changes written out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomZone {
    /// X-LIC-LOCATION: the IANA name it stands for.
    pub location: Option<String>,
    changes: Vec<Change>,
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
    /// RRULE of the observance, as written.
    pub rule: Option<String>,
    /// RDATE values of the observance, local time.
    pub dates: Vec<NaiveDateTime>,
}

/// So many changes of one rule are written out: a yearly rule from 1970 reaches 2100, Outlook's from
/// 1601 reaches 2201.
const MAX_CHANGES: u16 = 600;

impl CustomZone {
    /// A zone without rules yet, with its X-LIC-LOCATION.
    #[must_use]
    pub fn new(location: Option<String>) -> Self {
        Self { location, changes: Vec::new() }
    }

    /// Takes one observance in. One without start or offset says nothing; a rule that `budget` does not allow gives
    /// its start only.
    pub fn add(&mut self, observance: &Observance, budget: &mut Budget) {
        let (Some(start), Some(to)) = (observance.start, observance.to) else { return };
        let from = observance.from.unwrap_or(to);
        let mut onsets = vec![start];
        onsets.extend_from_slice(&observance.dates);
        if let Some(rule) = &observance.rule
            && let Ok(more) = recurrence::expand(start, rule, |utc| utc, MAX_CHANGES, budget)
        {
            onsets.extend(more.dates);
        }
        self.changes.extend(onsets.into_iter().map(|local| Change { local, from, to }));
        self.changes.sort_by_key(|c| c.local);
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
        let after = self.changes.partition_point(|c| c.local <= local);
        let Some(change) = after.checked_sub(1).map(|at| self.changes[at]) else { return self.before_all() };
        let hole = TimeDelta::seconds(i64::from((change.to - change.from).max(0)));
        if local - change.local < hole { change.from } else { change.to }
    }

    /// Seconds east of UTC at an instant.
    #[must_use]
    pub fn offset_at_utc(&self, utc: NaiveDateTime) -> i32 {
        let reached = |c: &Change| c.local - TimeDelta::seconds(i64::from(c.from)) <= utc;
        let after = self.changes.partition_point(reached);
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
                rule: Some("FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10".to_owned()),
                dates: vec![],
            },
            &mut Budget::default(),
        );
        zone.add(
            &Observance {
                start: Some(at("1601-01-01 02:00")),
                from: Some(3600),
                to: Some(7200),
                rule: Some("FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3".to_owned()),
                dates: vec![],
            },
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
}
