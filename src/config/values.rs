//! How each kind of value of the settings is written and read.

use std::time::Duration;

use toml::de::DeValue;

/// Reads a length of time such as `90s`, `5m` or `1h 30m`, in milliseconds; a hundred years at most.
///
/// # Errors
/// When it is none.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|e| format!("{text:?} is not a length of time ({e}); write it like \"10s\", \"5m\" or \"1h 30m\""))?;
    i64::try_from(duration.as_millis())
        .ok()
        .filter(|ms| *ms <= 100 * 366 * 24 * crate::domain::time::HOUR)
        .ok_or_else(|| format!("{text:?} is too long"))
}

pub(super) mod duration {
    use super::{DeValue, Duration};

    pub(in crate::config) fn write(ms: &i64) -> String {
        let text = humantime::format_duration(Duration::from_millis(ms.unsigned_abs())).to_string();
        format!("{text:?}")
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<i64, String> {
        let text = value.as_str().ok_or("a length of time in quotes is wanted, such as \"10s\" or \"5m\"")?;
        super::parse_duration(text)
    }
}

/// A length of time; empty: none.
pub(super) mod age {
    use super::DeValue;

    pub(in crate::config) fn write(ms: &Option<i64>) -> String {
        ms.as_ref().map_or_else(|| "\"\"".to_owned(), super::duration::write)
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<Option<i64>, String> {
        if value.as_str().is_some_and(|text| text.trim().is_empty()) {
            return Ok(None);
        }
        super::duration::read(value).map(Some)
    }
}

/// A length of time or a size, which never look alike; empty: none.
pub(super) mod age_or_total {
    use super::DeValue;
    use crate::domain::settings::KeepAssemblies;

    pub(in crate::config) fn write(keep: &Option<KeepAssemblies>) -> String {
        match keep {
            None => "\"\"".to_owned(),
            Some(KeepAssemblies::Age(ms)) => super::duration::write(ms),
            Some(KeepAssemblies::Total(bytes)) => super::size::write(bytes),
        }
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<Option<KeepAssemblies>, String> {
        if let Some(ms) = super::age::read(value).ok().map(|age| age.map(KeepAssemblies::Age)) {
            return Ok(ms);
        }
        let wanted = "a length of time or a size in quotes is wanted, such as \"30d\" or \"200GB\"";
        // A number without a unit could be either.
        match value.as_str() {
            Some(text) if text.trim().ends_with(|c: char| c.is_ascii_alphabetic()) => {
                super::size::read(value).map(|bytes| Some(KeepAssemblies::Total(bytes))).map_err(|_| wanted.to_owned())
            }
            _ => Err(wanted.to_owned()),
        }
    }
}

pub(super) mod size {
    use super::DeValue;

    const UNITS: [(&str, u64); 8] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("TB", 1_000_000_000_000),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("MB", 1_000_000),
        ("kB", 1000),
    ];

    pub(in crate::config) fn write(bytes: &u64) -> String {
        match UNITS.into_iter().find(|(_, unit)| *bytes > 0 && bytes.is_multiple_of(*unit)) {
            Some((name, unit)) => format!("\"{}{name}\"", bytes / unit),
            None => format!("\"{bytes}B\""),
        }
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<u64, String> {
        let wanted = "a size in quotes is wanted, such as \"512KiB\" or \"5GiB\"";
        let text = value.as_str().ok_or(wanted)?.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let number: u64 = digits.trim().parse().map_err(|_| wanted)?;
        let unit = match text[digits.len()..].trim() {
            "" | "B" => 1,
            name => UNITS.into_iter().find(|(unit, _)| unit.eq_ignore_ascii_case(name)).ok_or(wanted)?.1,
        };
        number
            .checked_mul(unit)
            .filter(|b| i64::try_from(*b).is_ok())
            .ok_or_else(|| "this size is too large".to_owned())
    }
}

pub(super) mod mirrors {
    use super::DeValue;
    use crate::domain::hall::MAX_REDUNDANCY;

    pub(in crate::config) fn write(number: &u32) -> String {
        number.to_string()
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<u32, String> {
        let number = value.as_integer().and_then(|n| n.as_str().parse().ok());
        number
            .filter(|n| (1..=MAX_REDUNDANCY).contains(n))
            .ok_or_else(|| format!("a number from 1 to {MAX_REDUNDANCY} is wanted"))
    }
}

pub(super) mod time_of_day {
    use super::DeValue;

    pub(in crate::config) fn write(minutes: &u32) -> String {
        format!("\"{:02}:{:02}\"", minutes / 60, minutes % 60)
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<u32, String> {
        let wanted = "a time of day in quotes is wanted, such as \"06:00\"";
        let (hours, minutes) = value.as_str().and_then(|t| t.split_once(':')).ok_or(wanted)?;
        match (hours.parse::<u32>(), minutes.parse::<u32>()) {
            (Ok(h), Ok(m)) if h < 24 && m < 60 => Ok(h * 60 + m),
            _ => Err(wanted.to_owned()),
        }
    }
}

pub(super) mod boolean {
    use super::DeValue;

    pub(in crate::config) fn write(value: &bool) -> String {
        value.to_string()
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<bool, String> {
        value.as_bool().ok_or_else(|| "true or false is wanted".to_owned())
    }
}

pub(super) mod text {
    use super::DeValue;

    pub(in crate::config) fn write(value: &str) -> String {
        format!("{value:?}")
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<String, String> {
        value.as_str().map(str::to_owned).ok_or_else(|| "text in quotes is wanted".to_owned())
    }
}

pub(super) mod address {
    use std::net::SocketAddr;

    use super::DeValue;

    pub(in crate::config) fn write(value: &Option<SocketAddr>) -> String {
        format!("\"{}\"", value.map(|a| a.to_string()).unwrap_or_default())
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<Option<SocketAddr>, String> {
        let wanted = "an address and a port in quotes are wanted, such as \"127.0.0.1:8273\"";
        match value.as_str().ok_or(wanted)? {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| wanted.to_owned()),
        }
    }
}

pub(super) mod secret {
    use super::DeValue;
    use crate::domain::settings::Secret;

    pub(in crate::config) fn write(value: &Option<Secret>) -> String {
        if value.is_some() { "\"***\"".to_owned() } else { "\"\"".to_owned() }
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<Option<Secret>, String> {
        let text = value.as_str().ok_or("text in quotes is wanted")?;
        Ok((!text.is_empty()).then(|| Secret(text.to_owned())))
    }
}

pub(super) mod web {
    use url::Url;

    use super::DeValue;
    use crate::domain::settings::Secret;

    pub(in crate::config) fn write(value: &Option<Secret>) -> String {
        super::secret::write(value)
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<Option<Secret>, String> {
        let wanted = "an address in quotes is wanted that begins with http:// or https://";
        let text = value.as_str().ok_or(wanted)?.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.map(|url| Some(Secret(url.into()))).ok_or_else(|| wanted.to_owned())
    }
}

/// A program and its arguments. No shell takes them apart, so there is nothing to quote.
pub(super) mod program {
    use super::DeValue;

    pub(in crate::config) fn write(value: &[String]) -> String {
        format!("{value:?}")
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<Vec<String>, String> {
        let wanted =
            "a program is wanted, such as \"/usr/local/bin/tell\" or [\"mail\", \"-s\", \"from the recorder\", \"me\"]";
        let words: Vec<String> = match (value.as_str(), value.as_array()) {
            (Some(text), _) => text.split_whitespace().map(str::to_owned).collect(),
            (None, Some(words)) => {
                let word = |value: &toml::Spanned<DeValue<'_>>| value.get_ref().as_str().map(str::to_owned);
                words.iter().map(word).collect::<Option<_>>().ok_or(wanted)?
            }
            (None, None) => return Err(wanted.to_owned()),
        };
        match words.first() {
            Some(first) if first.is_empty() => Err("the program's name is empty".to_owned()),
            _ if words.iter().any(|word| word.contains('\0')) => Err("there is a NUL in it".to_owned()),
            _ => Ok(words),
        }
    }
}

pub(super) mod sidecars {
    use super::DeValue;
    use crate::domain::settings::SidecarFormat;

    pub(in crate::config) fn write(value: &[SidecarFormat]) -> String {
        format!("{:?}", value.iter().map(|format| format.as_str()).collect::<Vec<_>>())
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<Vec<SidecarFormat>, String> {
        let wanted = "a list is wanted of what is to be written: [\"json\", \"nfo\"]";
        let words = value.as_array().ok_or(wanted)?;
        let mut out: Vec<SidecarFormat> = Vec::new();
        for word in words {
            let known = SidecarFormat::ALL.into_iter().find(|f| word.get_ref().as_str() == Some(f.as_str()));
            out.push(known.filter(|format| !out.contains(format)).ok_or(wanted)?);
        }
        Ok(out)
    }
}

pub(super) mod names {
    use super::DeValue;

    pub(in crate::config) fn write(value: &[String]) -> String {
        format!("{:?}", value.join(" "))
    }

    pub(in crate::config) fn read(value: &DeValue<'_>) -> Result<Vec<String>, String> {
        let text = value.as_str().ok_or("names in quotes are wanted, separated by spaces")?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }
}

pub(super) mod word {
    use std::fmt::Display;
    use std::str::FromStr;

    use super::DeValue;

    pub(in crate::config) fn write(value: &impl Display) -> String {
        format!("\"{value}\"")
    }

    pub(in crate::config) fn read<T: FromStr<Err = String>>(value: &DeValue<'_>) -> Result<T, String> {
        value.as_str().ok_or("a word in quotes is wanted")?.parse()
    }
}
