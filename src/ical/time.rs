//! Values of DTSTART and its like, and of DURATION.

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

/// A moment as a calendar writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenTime {
    /// A date without a time (VALUE=DATE).
    Date(NaiveDate),
    /// A local time: its zone stands elsewhere.
    Local(NaiveDateTime),
    /// A time in UTC (suffix Z).
    Utc(NaiveDateTime),
}

impl WrittenTime {
    /// The local time it shows: a day at its first second.
    #[must_use]
    pub fn naive(self) -> NaiveDateTime {
        match self {
            Self::Date(day) => day.and_time(NaiveTime::MIN),
            Self::Local(at) | Self::Utc(at) => at,
        }
    }
}

/// Reads a DATE or DATE-TIME. `mended` is true where a digit was missing and the obvious one was taken
/// (`20190204T83000Z`, seen in a real calendar). Separators as in RFC 3339 are read too.
///
/// # Errors
/// When it is neither.
pub fn parse(text: &str) -> Result<(WrittenTime, bool), String> {
    let bad = || format!("{:?} is not a time", crate::domain::text::shortened(text, 40));
    let compact: String = text.trim().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    // RFC 3339's offset, before its `-` was dropped.
    let (compact, offset) = match text.trim().rsplit_once(['+', '-']) {
        Some((before, offset)) if before.contains(['T', 't']) => {
            (before.chars().filter(|c| !matches!(c, '-' | ':')).collect(), Some((text.trim(), offset)))
        }
        _ => (compact, None),
    };
    if !compact.is_ascii() {
        return Err(bad());
    }
    let (date, time) = match compact.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (compact.as_str(), None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if date.len() != 8 || !digits(date) {
        return Err(bad());
    }
    let day = NaiveDate::parse_from_str(date, "%Y%m%d").map_err(|_| bad())?;
    let Some(time) = time else { return Ok((WrittenTime::Date(day), false)) };
    let (time, utc) = match time.strip_suffix(['Z', 'z']) {
        Some(time) => (time, true),
        None => (time, false),
    };
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    if !digits(time) {
        return Err(bad());
    }
    let (padded, mended) = match time.len() {
        6 => (time.to_owned(), false),
        5 => (format!("0{time}"), true),
        4 => (format!("{time}00"), false),
        _ => return Err(bad()),
    };
    let field = |at: usize| padded[at..at + 2].parse::<u32>().map_err(|_| bad());
    let (hour, minute, second) = (field(0)?, field(2)?, field(4)?.min(59));
    let at = if (hour, minute, second) == (24, 0, 0) {
        day.checked_add_days(Days::new(1)).ok_or_else(bad)?.and_time(NaiveTime::MIN)
    } else {
        day.and_hms_opt(hour, minute, second).ok_or_else(bad)?
    };
    if let Some((whole, offset)) = offset {
        let sign = if whole[..whole.len() - offset.len()].ends_with('-') { -1 } else { 1 };
        let seconds = offset_seconds(offset).ok_or_else(bad)?;
        let at = at.checked_sub_signed(TimeDelta::seconds(i64::from(sign * seconds))).ok_or_else(bad)?;
        return Ok((WrittenTime::Utc(at), mended));
    }
    Ok((if utc { WrittenTime::Utc(at) } else { WrittenTime::Local(at) }, mended))
}

/// Seconds of `hh`, `hhmm`, `hh:mm` or `hhmmss`, less than a day.
#[must_use]
pub fn offset_seconds(text: &str) -> Option<i32> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let field = |range: std::ops::Range<usize>| digits.get(range).unwrap_or("0").parse::<i32>().ok();
    let (hours, minutes, seconds) = match digits.len() {
        1 => (field(0..1)?, 0, 0),
        2 | 4 | 6 => (field(0..2)?, field(2..4)?, field(4..6)?),
        _ => return None,
    };
    (hours < 24 && minutes < 60 && seconds < 60).then_some(hours * 3600 + minutes * 60 + seconds)
}

/// A DURATION: days are days of the calendar (23 or 25 hours on a DST night), the rest is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenDuration {
    /// Whole days, weeks included.
    pub days: i64,
    /// Seconds beside the days.
    pub seconds: i64,
}

/// Longest duration that is believed: ten years.
const MAX_DAYS: i64 = 3660;

/// Reads a DURATION (`PT1H30M`, `P1DT2H`, `P2W`).
///
/// # Errors
/// When it is none, is negative, or is longer than ten years.
pub fn parse_duration(text: &str) -> Result<WrittenDuration, String> {
    let bad = || format!("{:?} is not a duration", crate::domain::text::shortened(text, 40));
    let upper = text.trim().to_ascii_uppercase();
    if upper.starts_with('-') {
        return Err(format!("the duration {} is negative", crate::domain::text::shortened(text.trim(), 40)));
    }
    let rest = upper.trim_start_matches('+').strip_prefix('P').ok_or_else(bad)?;
    let (mut days, mut seconds) = (0_i64, 0_i64);
    let (mut in_time, mut number, mut any) = (false, String::new(), false);
    for c in rest.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        if c == 'T' && !in_time && number.is_empty() {
            in_time = true;
            continue;
        }
        let n: i64 = number.parse().map_err(|_| bad())?;
        number.clear();
        any = true;
        let (target, unit) = match (c, in_time) {
            ('W', false) => (&mut days, 7),
            ('D', false) => (&mut days, 1),
            ('H', true) => (&mut seconds, 3600),
            ('M', true) => (&mut seconds, 60),
            ('S', true) => (&mut seconds, 1),
            _ => return Err(bad()),
        };
        *target = n.checked_mul(unit).and_then(|n| target.checked_add(n)).ok_or_else(bad)?;
    }
    if !any || !number.is_empty() {
        return Err(bad());
    }
    if days > MAX_DAYS || seconds / 86_400 > MAX_DAYS {
        return Err(format!("the duration {} is longer than ten years", crate::domain::text::shortened(text, 40)));
    }
    Ok(WrittenDuration { days, seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let at = |h, m, s| NaiveDate::from_ymd_opt(2019, 2, 4).expect("day").and_hms_opt(h, m, s).expect("time");
        for (text, want, mended) in [
            ("20190204T083000", WrittenTime::Local(at(8, 30, 0)), false),
            ("20190204T083000Z", WrittenTime::Utc(at(8, 30, 0)), false),
            ("20190204T83000Z", WrittenTime::Utc(at(8, 30, 0)), true),
            ("20190204T0830", WrittenTime::Local(at(8, 30, 0)), false),
            ("2019-02-04T08:30:00", WrittenTime::Local(at(8, 30, 0)), false),
            ("2019-02-04T08:30:00+01:00", WrittenTime::Utc(at(7, 30, 0)), false),
            ("20190204T083000-0100", WrittenTime::Utc(at(9, 30, 0)), false),
            ("20190204T083060", WrittenTime::Local(at(8, 30, 59)), false),
            ("20190203T240000", WrittenTime::Local(at(0, 0, 0)), false),
            ("20190204", WrittenTime::Date(at(0, 0, 0).date()), false),
        ] {
            assert_eq!(parse(text), Ok((want, mended)), "{text}");
        }
        for bad in [
            "",
            "T",
            "2019",
            "20191304",
            "20190204T",
            "20190204T25",
            "20190204T2500",
            "20190204T250000",
            "x",
            "２０１９０２０４",
            "20190204T0830+9900",
            "20190204T08é000",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations_are_read() {
        for (text, days, seconds) in [
            ("PT1H00M", 0, 3600),
            ("PT1H30M", 0, 5400),
            ("P1DT2H", 1, 7200),
            ("P2W", 14, 0),
            ("+PT45S", 0, 45),
            ("pt5m", 0, 300),
            ("PT0S", 0, 0),
        ] {
            assert_eq!(parse_duration(text), Ok(WrittenDuration { days, seconds }), "{text}");
        }
        for bad in
            ["", "P", "PT", "1H", "PT1", "P1H", "PT1D", "-PT1H", "PT99999999999999999999H", "P99999W", "PTH", "P1D2"]
        {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }
}
