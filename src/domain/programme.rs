//! What a schedule.xml or schedule.json says, before it meets a calendar or the catalog.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime};
use chrono_tz::Tz;

use super::schedule::TalkDetails;
use super::time::Ms;

/// A schedule.xml or schedule.json (frab, pretalx, Pentabarf, C3 hub).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programme {
    /// The conference's title.
    pub title: Option<String>,
    /// The conference's acronym (`38c3`).
    pub acronym: Option<String>,
    /// `time_zone_name`.
    pub time_zone: Option<String>,
    /// In the order of the file.
    pub entries: Vec<Entry>,
}

/// One `<event>`, which is a talk. Every text is trimmed; an empty one is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Title, in one line; empty where there is none.
    pub title: String,
    /// Its own room, then the one that it stands in, where that has another name.
    pub rooms: Vec<String>,
    /// When it begins.
    pub start: EntryStart,
    /// How long it is, milliseconds.
    pub duration_ms: Option<i64>,
    /// Who holds it.
    pub speakers: Vec<String>,
    /// It must not be recorded.
    pub opted_out: bool,
    /// Address of its page.
    pub url: Option<String>,
    /// Its page where it comes from (C3 hub).
    pub origin_url: Option<String>,
    /// Guid, code and id, and what else is told of it.
    pub details: TalkDetails,
    /// Its line in the file, from 1; 0 where that is not known.
    pub line: usize,
}

/// When an entry begins, as far as its file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntryStart {
    /// It does not say.
    #[default]
    Unknown,
    /// On that day.
    Day(NaiveDate),
    /// At that time on the clock there.
    Local(NaiveDateTime),
    /// At that instant.
    Instant(Ms),
}

impl EntryStart {
    /// The instant, with local times read in `zone`; `None` where only the day is known, or nothing.
    #[must_use]
    pub fn instant(self, zone: Tz) -> Option<Ms> {
        match self {
            Self::Instant(at) => Some(at),
            Self::Local(local) => {
                let read = local.and_local_timezone(zone);
                // In the hour that a spring night lacks: the offset before it.
                let before = || (local - chrono::TimeDelta::hours(3)).and_local_timezone(zone).earliest();
                let at = read.earliest().or_else(|| before().map(|at| at + chrono::TimeDelta::hours(3)))?;
                Some(at.to_utc().into())
            }
            Self::Day(_) | Self::Unknown => None,
        }
    }

    /// The day on the clock of `zone`.
    #[must_use]
    pub fn day(self, zone: Tz) -> Option<NaiveDate> {
        match self {
            Self::Unknown => None,
            Self::Day(day) => Some(day),
            Self::Local(local) => Some(local.date()),
            Self::Instant(at) => Some(at.in_zone(zone).date_naive()),
        }
    }
}

/// A `<day>`, as far as it tells when its entries begin.
#[derive(Clone, Debug, Default)]
pub struct Day {
    /// Attribute `date`.
    pub date: Option<NaiveDate>,
    /// `start`, where it has an offset.
    pub start: Option<DateTime<chrono::FixedOffset>>,
    /// `day_change` of the conference: entries before it belong to the next day of the calendar.
    pub change: Option<NaiveTime>,
}

/// Where neither the conference nor the day says when a day begins.
const USUAL_CHANGE: (u32, u32) = (4, 0);

impl Day {
    /// When an entry of this day begins: `date` and `start` are its own, as written, where it has them.
    #[must_use]
    pub fn start_of(&self, date: Option<&str>, start: Option<&str>) -> EntryStart {
        let time = start.and_then(clock);
        if let Some(date) = date {
            if let Some(at) = instant(date) {
                return EntryStart::Instant(at.to_utc().into());
            }
            if let Some(local) = local(date) {
                return EntryStart::Local(local);
            }
        }
        let own = date.and_then(|date| NaiveDate::parse_from_str(date.trim().get(..10)?, "%Y-%m-%d").ok());
        let (day, next) = match (own, self.date) {
            // A date of its own that is not the day's is the date on the calendar.
            (Some(own), Some(day)) if own != day => (own, false),
            (own, day) => match own.or(day) {
                Some(day) => (day, true),
                None => return EntryStart::Unknown,
            },
        };
        let Some(time) = time else { return EntryStart::Day(day) };
        let at = day.and_time(time);
        if next && time < self.change() {
            return EntryStart::Local(at.checked_add_days(Days::new(1)).unwrap_or(at));
        }
        EntryStart::Local(at)
    }

    fn change(&self) -> NaiveTime {
        let usual = NaiveTime::from_hms_opt(USUAL_CHANGE.0, USUAL_CHANGE.1, 0).unwrap_or(NaiveTime::MIN);
        // A day that is said to begin in the evening is none that changes then.
        let noon = NaiveTime::from_hms_opt(12, 0, 0).unwrap_or(NaiveTime::MIN);
        self.change.or(self.start.map(|at| at.time()).filter(|at| *at <= noon)).unwrap_or(usual)
    }
}

/// Reads a full instant: RFC 3339, also with an offset without colon.
#[must_use]
pub fn instant(text: &str) -> Option<DateTime<chrono::FixedOffset>> {
    let text = text.trim();
    let forms = ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M%z", "%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z"];
    DateTime::parse_from_rfc3339(text)
        .ok()
        .or_else(|| forms.iter().find_map(|form| DateTime::parse_from_str(text, form).ok()))
}

fn local(text: &str) -> Option<NaiveDateTime> {
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"];
    forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text.trim(), form).ok())
}

/// Reads a time on the clock: `10:00`, `9:00`, `10:00:00`.
#[must_use]
pub fn clock(text: &str) -> Option<NaiveTime> {
    ["%H:%M:%S", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(text.trim(), form).ok())
}

/// Longest entry that is believed: ten days, milliseconds.
const MAX_DURATION_MS: i64 = 10 * 24 * 3_600_000;

/// Reads a duration in milliseconds: `00:30`, `1:30:00`, or minutes (`45`).
#[must_use]
pub fn duration_ms(text: &str) -> Option<i64> {
    let mut parts =
        text.trim().split(':').map(|part| part.trim().parse::<i64>().ok().filter(|n| (0..100_000).contains(n)));
    let seconds = match (parts.next()?, parts.next(), parts.next(), parts.next()) {
        (Some(minutes), None, None, None) => minutes * 60,
        (Some(hours), Some(Some(minutes)), None, None) => hours * 3600 + minutes * 60,
        (Some(hours), Some(Some(minutes)), Some(Some(seconds)), None) => hours * 3600 + minutes * 60 + seconds,
        _ => return None,
    };
    (seconds > 0 && seconds * 1000 <= MAX_DURATION_MS).then_some(seconds * 1000)
}

/// The code of a talk in the address of its page at pretalx: `38PPT7` of `https://h/event/talk/38PPT7/`.
#[must_use]
pub fn code_of_page(url: &str) -> Option<&str> {
    let (_, code) = url.trim_end_matches('/').rsplit_once("/talk/")?;
    (!code.is_empty() && code.chars().all(|c| c.is_ascii_alphanumeric())).then_some(code)
}

/// A value that says nothing: templates write `None` where a field is empty.
#[must_use]
pub fn says_something(text: &str) -> bool {
    !text.is_empty() && text != "None" && text != "null"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").expect("time")
    }

    #[test]
    fn starts_in_all_forms() {
        let day = |change: &str, start: &str| Day {
            date: NaiveDate::from_ymd_opt(2027, 2, 6),
            start: instant(start),
            change: clock(change),
        };
        let plain = day("09:00:00", "");
        let instant = EntryStart::Instant(Ms(1_801_904_400_000));
        for (day, date, start, want) in [
            (&plain, Some("2027-02-06T10:00:00+01:00"), None, instant),
            (&plain, Some("2027-02-06T10:00:00+0100"), Some("11:00"), instant),
            (&plain, Some("2027-02-06T09:00:00Z"), None, instant),
            (&plain, Some("2027-02-06T10:00:00"), Some("10:00"), EntryStart::Local(at("2027-02-06 10:00"))),
            (&plain, Some("2027-02-06"), Some("10:00"), EntryStart::Local(at("2027-02-06 10:00"))),
            // The day's date, of an entry after midnight.
            (&plain, Some("2027-02-06"), Some("00:30"), EntryStart::Local(at("2027-02-07 00:30"))),
            // Its own date.
            (&plain, Some("2027-02-07"), Some("00:30"), EntryStart::Local(at("2027-02-07 00:30"))),
            (&plain, None, Some("10:00"), EntryStart::Local(at("2027-02-06 10:00"))),
            (&plain, None, Some("8:59"), EntryStart::Local(at("2027-02-07 08:59"))),
            (&plain, None, None, EntryStart::Day(at("2027-02-06 00:00").date())),
            (&day("", "2027-02-06T06:00:00+01:00"), None, Some("05:30"), EntryStart::Local(at("2027-02-07 05:30"))),
            (&day("", ""), None, Some("05:30"), EntryStart::Local(at("2027-02-06 05:30"))),
            (&day("", ""), None, Some("03:30"), EntryStart::Local(at("2027-02-07 03:30"))),
            (&Day::default(), None, Some("10:00"), EntryStart::Unknown),
        ] {
            assert_eq!(day.start_of(date, start), want, "{date:?} {start:?}");
        }
        let berlin = Tz::Europe__Berlin;
        assert_eq!(EntryStart::Local(at("2027-02-06 10:00")).instant(berlin), Some(Ms(1_801_904_400_000)));
        // 02:30 in the night that lacks it is 03:30.
        assert_eq!(
            EntryStart::Local(at("2027-03-28 02:30")).instant(berlin),
            EntryStart::Local(at("2027-03-28 03:30")).instant(berlin)
        );
    }

    #[test]
    fn durations_and_codes() {
        for (text, minutes) in [
            ("00:30", Some(30)),
            ("1:30", Some(90)),
            ("01:30:00", Some(90)),
            ("45", Some(45)),
            ("", None),
            ("00:00", None),
            ("-1:00", None),
            ("x", None),
            ("9999:00", None),
        ] {
            assert_eq!(duration_ms(text), minutes.map(|m: i64| m * 60_000), "{text}");
        }
        assert_eq!(code_of_page("https://h/e/talk/38PPT7/"), Some("38PPT7"));
        assert_eq!(code_of_page("https://h/e/talk/a-b/"), None);
        assert_eq!(code_of_page("https://h/e/events/7"), None);
    }
}
