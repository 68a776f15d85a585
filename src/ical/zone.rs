//! Names of time zones -> zones, and local times -> instants.

use std::sync::Arc;

use chrono::{MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

use super::recurrence::WallClock;
use super::time::offset_seconds;
use super::vtimezone::CustomZone;
use super::windows_zones::{iana_of, iana_of_display};
use crate::domain::time::Ms;

/// A zone that times can be read in.
#[derive(Clone, Debug, PartialEq)]
pub enum Zone {
    /// Of the IANA database.
    Named(Tz),
    /// So many seconds east of UTC.
    Fixed(i32),
    /// Only the calendar's own VTIMEZONE knows it.
    Custom(Arc<CustomZone>),
}

impl Zone {
    /// The instant of a local time. In the doubled hour of an autumn night it is the first one, in the
    /// missing hour of a spring night it is read with the offset before it (RFC 5545, 3.3.5).
    #[must_use]
    pub fn instant(&self, local: NaiveDateTime) -> Ms {
        Ms(self.utc(local).and_utc().timestamp_millis())
    }

    /// The zone of the IANA database that its times are shown in, where there is one.
    #[must_use]
    pub fn shown(&self) -> Option<Tz> {
        match self {
            Self::Named(zone) => Some(*zone),
            Self::Custom(custom) => custom.alike,
            Self::Fixed(_) => None,
        }
    }
}

impl WallClock for Zone {
    fn utc(&self, local: NaiveDateTime) -> NaiveDateTime {
        let seconds = match self {
            Self::Named(zone) => i64::from(offset_at(*zone, local)),
            Self::Fixed(seconds) => i64::from(*seconds),
            Self::Custom(custom) => i64::from(custom.offset_at_local(local)),
        };
        local.checked_sub_signed(TimeDelta::seconds(seconds)).unwrap_or(local)
    }

    fn local(&self, utc: NaiveDateTime) -> NaiveDateTime {
        let seconds = match self {
            Self::Named(zone) => zone.offset_from_utc_datetime(&utc).fix().local_minus_utc(),
            Self::Fixed(seconds) => *seconds,
            Self::Custom(custom) => custom.offset_at_utc(utc),
        };
        utc.checked_add_signed(TimeDelta::seconds(i64::from(seconds))).unwrap_or(utc)
    }
}

/// Seconds east of UTC that hold for a local time.
fn offset_at(zone: Tz, local: NaiveDateTime) -> i32 {
    match zone.offset_from_local_datetime(&local) {
        MappedLocalTime::Single(offset) => offset.fix().local_minus_utc(),
        // The first of the two is the one with the greater offset.
        MappedLocalTime::Ambiguous(a, b) => a.fix().local_minus_utc().max(b.fix().local_minus_utc()),
        MappedLocalTime::None => {
            // The largest hole ever was Samoa's missing day.
            let before = (1..=25).filter_map(|h| local.checked_sub_signed(TimeDelta::hours(h)));
            before
                .filter_map(|at| zone.offset_from_local_datetime(&at).latest())
                .map(|offset| offset.fix().local_minus_utc())
                .next()
                .unwrap_or(0)
        }
    }
}

/// What a zone's name turned out to mean.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolved {
    /// This, without doubt.
    Known(Zone),
    /// There is no such zone; this one must be meant.
    Guessed(Tz),
    /// There is no such zone; this one has a similar name, if any.
    Unknown(Option<&'static str>),
}

/// Finds the zone of a name. A TZID means the VTIMEZONE of that name in the same calendar (RFC 5545, 3.8.3.1), whatever
/// the name is elsewhere: pretalx writes `GMT` for London and `-04` for Santiago, each with its summers. Without one
/// it is a name of the IANA database, of Windows, or a plain offset.
#[must_use]
pub fn resolve(name: &str, vtimezone: Option<&Arc<CustomZone>>) -> Resolved {
    let name = name.trim().trim_matches('"').trim();
    if let Some(custom) = vtimezone {
        if custom.has_rules() {
            return Resolved::Known(Zone::Custom(Arc::clone(custom)));
        }
        if let Some(zone) = custom.location.as_deref().and_then(exact) {
            return Resolved::Known(zone);
        }
    }
    if let Some(zone) = exact(name) {
        return Resolved::Known(zone);
    }
    match guess(name) {
        Some(zone) => Resolved::Guessed(zone),
        None => Resolved::Unknown(similar(name)),
    }
}

/// The IANA zone that shows a VTIMEZONE's times best: the one it is named after, or one with the same clock from
/// `from` to `until` (UTC); `first` is tried before all others.
#[must_use]
pub fn alike(name: &str, custom: &CustomZone, first: Tz, from: NaiveDateTime, until: NaiveDateTime) -> Option<Tz> {
    // Twice a month, for as many years as an event may have.
    let samples = (0..MAX_SAMPLES).map_while(|n| from.checked_add_signed(TimeDelta::days(15 * n)));
    let samples: Vec<_> = samples.take_while(|at| *at <= until).collect();
    let same = |zone: &Tz| {
        samples.iter().all(|at| zone.offset_from_utc_datetime(at).fix().local_minus_utc() == custom.offset_at_utc(*at))
    };
    let named = [custom.location.as_deref(), Some(name)]
        .into_iter()
        .flatten()
        .filter(|name| name.contains('/'))
        .filter_map(exact);
    let named = named.filter_map(|zone| zone.shown());
    let usual = [first, Tz::Europe__Berlin, Tz::Europe__London, Tz::America__New_York, Tz::UTC];
    let world = super::windows_zones::all().filter_map(iana);
    named.chain(usual).chain(world).find(same)
}

/// Instants at which two zones are compared.
const MAX_SAMPLES: i64 = 24 * 10;

/// The zone of a name that needs no guess.
fn exact(name: &str) -> Option<Zone> {
    if let Some(zone) = iana(name).or_else(|| iana_of(name).and_then(iana)) {
        return Some(Zone::Named(zone));
    }
    // Old exports put a prefix before the name: /mozilla.org/20050126_1/Europe/Berlin
    if name.starts_with('/') {
        let parts: Vec<_> = name.trim_start_matches('/').split('/').collect();
        for keep in [3, 2] {
            let tail = parts.len().checked_sub(keep).map(|from| parts[from..].join("/"));
            if let Some(zone) = tail.and_then(|t| iana(&t)) {
                return Some(Zone::Named(zone));
            }
        }
    }
    display_name(name).or_else(|| fixed(name).map(Zone::Fixed))
}

/// Exchange's display names: `(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna`. The offset in them is
/// that of the winter and never decides where a summer may differ.
fn display_name(name: &str) -> Option<Zone> {
    let (prefix, places) = name.strip_prefix('(')?.split_once(')')?;
    let places = places.trim();
    if places.is_empty() {
        return None;
    }
    if let Some(zone) = iana_of_display(places).and_then(iana) {
        return Some(Zone::Named(zone));
    }
    // A name that newer systems have: the first of its cities that is a zone, and has that offset in winter.
    let offset = fixed(prefix)?;
    let winter = NaiveDate::from_ymd_opt(2026, 1, 1)?.and_time(NaiveTime::MIN);
    let summer = NaiveDate::from_ymd_opt(2026, 7, 1)?.and_time(NaiveTime::MIN);
    let standard = |zone: &Tz| {
        let at = |when: &NaiveDateTime| zone.offset_from_utc_datetime(when).fix().local_minus_utc();
        at(&winter).min(at(&summer)) == offset
    };
    places.split(',').filter_map(|city| guess(city.trim())).find(standard).map(Zone::Named)
}

fn iana(name: &str) -> Option<Tz> {
    Tz::from_str_insensitive(name).ok()
}

/// `UTC+2`, `GMT +01:00`, `(GMT +01:00)`, `+0100`, `Z`.
fn fixed(name: &str) -> Option<i32> {
    let name = name.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(name).trim();
    let upper = name.to_ascii_uppercase();
    let rest = upper.strip_prefix("UTC").or_else(|| upper.strip_prefix("GMT")).unwrap_or(&upper).trim();
    if rest == "Z" || (rest.is_empty() && !upper.is_empty()) {
        return Some(0);
    }
    let (sign, digits) = match rest.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    offset_seconds(digits.trim()).map(|seconds| sign * seconds)
}

/// Letters of a name in lower case, to see through wrong separators.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The one zone that differs from the name only by separators (`Europe-Brussels`, `Europe Berlin`), or
/// whose last part is the name (`Berlin`).
fn guess(name: &str) -> Option<Tz> {
    let wanted = letters(name);
    if wanted.is_empty() {
        return None;
    }
    let mut found = chrono_tz::TZ_VARIANTS.iter().filter(|zone| {
        let zone = zone.name();
        // In Etc/GMT-1 the separator is the meaning.
        !zone.starts_with("Etc/")
            && zone.contains('/')
            && (letters(zone) == wanted || zone.rsplit('/').next().is_some_and(|city| letters(city) == wanted))
    });
    let first = found.next()?;
    found.next().is_none().then_some(*first)
}

/// The name that is most like it, for a hint.
fn similar(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    chrono_tz::TZ_VARIANTS
        .iter()
        .map(|zone| (strsim::jaro_winkler(&zone.name().to_ascii_lowercase(), &lower), zone.name()))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").expect("time")
    }

    #[test]
    fn names_are_resolved() {
        use chrono_tz::{America::Argentina::Buenos_Aires, Europe::Berlin, Europe::Brussels, Pacific::Auckland};
        let known = |zone| Resolved::Known(Zone::Named(zone));
        let fixed = |seconds| Resolved::Known(Zone::Fixed(seconds));
        for (name, want) in [
            ("Europe/Berlin", known(Berlin)),
            (" europe/BERLIN ", known(Berlin)),
            ("\"Europe/Berlin\"", known(Berlin)),
            ("W. Europe Standard Time", known(Berlin)),
            ("New Zealand Standard Time", known(Auckland)),
            ("/mozilla.org/20050126_1/Europe/Berlin", known(Berlin)),
            ("/x/America/Argentina/Buenos_Aires", known(Buenos_Aires)),
            ("Europe-Brussels", Resolved::Guessed(Brussels)),
            ("Europe Berlin", Resolved::Guessed(Berlin)),
            ("Berlin", Resolved::Guessed(Berlin)),
            ("(GMT +01:00)", fixed(3600)),
            ("UTC-3", fixed(-3 * 3600)),
            ("+0530", fixed(5 * 3600 + 1800)),
            ("(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna", known(Berlin)),
            ("(GMT+01:00) Amsterdam, Berlin, Bern, Rom, Stockholm, Wien", known(Berlin)),
            ("(UTC-05:00) Eastern Time (US & Canada)", known(chrono_tz::America::New_York)),
            ("(UTC+00:00) Dublin, Edinburgh, Lisbon, London", known(chrono_tz::Europe::London)),
            ("(UTC) Coordinated Universal Time", known(chrono_tz::UTC)),
            ("(UTC+12:00) Auckland, Wellington", known(Auckland)),
            ("(UTC+01:00) Nowhere, Nobody", Resolved::Unknown(None)),
            ("Europe/Berln", Resolved::Unknown(Some("Europe/Berlin"))),
            ("Nowhere", Resolved::Unknown(None)),
            ("", Resolved::Unknown(None)),
        ] {
            assert_eq!(resolve(name, None), want, "{name:?}");
        }
    }

    #[test]
    fn nights_of_the_clock_change() {
        let berlin = Zone::Named(chrono_tz::Europe::Berlin);
        for (local, utc) in [
            ("2010-12-27 11:30", "2010-12-27 10:30"),
            ("2011-07-01 12:00", "2011-07-01 10:00"),
            // Autumn: 02:30 happens twice, the first one is meant.
            ("2010-10-31 02:30", "2010-10-31 00:30"),
            ("2010-10-31 03:00", "2010-10-31 02:00"),
            // Spring: 02:30 does not exist and is read with the offset before.
            ("2011-03-27 02:30", "2011-03-27 01:30"),
            ("2011-03-27 03:00", "2011-03-27 01:00"),
        ] {
            assert_eq!(berlin.instant(at(local)), Ms(at(utc).and_utc().timestamp_millis()), "{local}");
        }
        assert_eq!(berlin.local(at("2010-12-27 10:30")), at("2010-12-27 11:30"));
        // A day that one zone never had.
        let apia = Zone::Named(chrono_tz::Pacific::Apia);
        assert_eq!(apia.instant(at("2011-12-30 12:00")), Ms(at("2011-12-30 22:00").and_utc().timestamp_millis()));
    }
}
