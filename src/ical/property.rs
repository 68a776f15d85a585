//! A logical line -> name, parameters and value. The `ical` crate splits the line; what it leaves
//! undone (case, escapes, doubled colons) is done here.

use crate::domain::text::{one_line, shortened};

/// A line with more parameters than this is junk: the `ical` crate needs quadratic time for them.
const MAX_PARAMS: usize = 64;

/// One property of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Property {
    /// Name in capitals.
    pub name: String,
    /// Parameters, their names in capitals, their values without quotes.
    pub params: Vec<(String, Vec<String>)>,
    /// Value as written: escapes are still in it.
    pub value: String,
    /// Number of its line, from 1.
    pub line: usize,
}

impl Property {
    /// First value of a parameter, with RFC 6868's escapes undone.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<String> {
        self.param_values(name).next().map(caret_unescaped)
    }

    /// All values of a parameter, as written.
    pub fn param_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.params.iter().filter(move |(n, _)| n == name).flat_map(|(_, values)| values).map(String::as_str)
    }

    /// The value as text of one line: escapes undone, line breaks and control characters as spaces.
    #[must_use]
    pub fn text(&self) -> String {
        one_line(&unescaped(&self.value))
    }
}

/// The name a logical line begins with, without reading the rest.
#[must_use]
pub fn name_of(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|b| matches!(b, b':' | b';')).unwrap_or(0);
    line[..end].trim_ascii()
}

/// Properties whose value is a time, or several.
const TIMES: [&str; 5] = ["DTSTART", "DTEND", "RECURRENCE-ID", "RDATE", "EXDATE"];

/// Reads one logical line. The second value says what had to be mended in it, for people.
///
/// # Errors
/// What is wrong with it, for people.
pub fn parse(line: &str, number: usize) -> Result<(Property, Option<String>), String> {
    let line = line.trim();
    if let Some(mended) = unquoted(line, number) {
        let zone = mended.param("TZID").unwrap_or_default();
        let said = format!("line {number}: the time zone {:?} should stand in quotes", shortened(&zone, 80));
        return Ok((mended, Some(said)));
    }
    split(line, number).map(|read| (read, None))
}

/// A time whose TZID has a colon or a comma and no quotes: `DTSTART;TZID=(UTC+01:00) Berlin, Rome:20270115T100000`.
/// What the line must mean is plain, since a time has no colon in it; `None`: the line is as it should be.
fn unquoted(line: &str, number: usize) -> Option<Property> {
    let name = line.split([';', ':']).next()?.trim().to_ascii_uppercase();
    if !TIMES.contains(&name.as_str()) || line.contains('"') {
        return None;
    }
    let (before, value) = line.rsplit_once(':')?;
    let is_time = |text: &str| {
        let text = text.trim();
        text.len() >= 8 && text.bytes().take(8).all(|b| b.is_ascii_digit())
    };
    let (_, rest) = before.split_once(';')?;
    if !(before.contains(':') || before.contains(',')) || !value.split(',').all(is_time) {
        return None;
    }
    let mut params: Vec<(String, Vec<String>)> = Vec::new();
    for part in rest.split(';').take(MAX_PARAMS) {
        match part.split_once('=') {
            Some((key, value)) => params.push((key.trim().to_ascii_uppercase(), vec![value.trim().to_owned()])),
            // A semicolon inside the name.
            None => params.last_mut()?.1.first_mut()?.push_str(&format!(";{part}")),
        }
    }
    params.iter().any(|(key, _)| key == "TZID").then(|| Property {
        name,
        params,
        value: value.to_owned(),
        line: number,
    })
}

/// The items of a list, at commas that are not escaped; escapes stay.
pub fn list(value: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    value.split(move |c: char| {
        let splits = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        splits
    })
}

fn split(line: &str, number: usize) -> Result<Property, String> {
    let params = count_params(line);
    if params > MAX_PARAMS {
        return Err(format!("{params} parameters"));
    }
    let read = ical::PropertyParser::from_reader(line.as_bytes()).next().ok_or("it is empty")?;
    let read = read.map_err(|e| {
        // The crate counts lines of what it was given, which is one.
        let text = e.to_string();
        text.strip_prefix("Line 1: ").unwrap_or(&text).trim_end_matches('.').to_lowercase()
    })?;
    let value = read.value.unwrap_or_default();
    // The crate takes all colons off the front of a value that begins with some.
    let before = line.strip_suffix(value.as_str()).unwrap_or_default();
    let colons = before.len() - before.trim_end_matches(':').len();
    let value = if value.is_empty() { value } else { ":".repeat(colons.saturating_sub(1)) + &value };
    Ok(Property {
        name: read.name.trim().to_ascii_uppercase(),
        params: read
            .params
            .unwrap_or_default()
            .into_iter()
            .map(|(name, values)| (name.trim().to_ascii_uppercase(), values))
            .collect(),
        value,
        line: number,
    })
}

/// Semicolons outside quotes, before the first colon outside quotes.
fn count_params(line: &str) -> usize {
    let (mut quoted, mut count) = (false, 0);
    for b in line.bytes() {
        match b {
            b'"' => quoted = !quoted,
            b':' if !quoted => break,
            b';' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}

/// Undoes the escapes of a TEXT value (RFC 5545, 3.3.11). An unknown escape stands for its character,
/// an unescaped comma or semicolon for itself.
#[must_use]
pub fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n' | 'N') => out.push('\n'),
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}

fn caret_unescaped(text: &str) -> String {
    if !text.contains('^') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let plain = match (c, chars.peek()) {
            ('^', Some('n')) => '\n',
            ('^', Some('^')) => '^',
            ('^', Some('\'')) => '"',
            _ => {
                out.push(c);
                continue;
            }
        };
        chars.next();
        out.push(plain);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str, number: usize) -> Result<Property, String> {
        super::parse(line, number).map(|(read, _)| read)
    }

    #[test]
    fn a_zone_without_quotes_is_read_as_it_must_be_meant() {
        for (line, zone, value) in [
            (
                "DTSTART;TZID=(UTC+01:00) Amsterdam, Berlin, Bern:20270115T100000",
                "(UTC+01:00) Amsterdam, Berlin, Bern",
                "20270115T100000",
            ),
            (
                "EXDATE;VALUE=DATE-TIME;TZID=GMT +01:00:20270115T100000,20270116T100000",
                "GMT +01:00",
                "20270115T100000,20270116T100000",
            ),
            ("dtend;tzid=Rome, Berlin;VALUE=DATE-TIME:20270115T100000", "Rome, Berlin", "20270115T100000"),
            ("DTSTART;TZID=Bosnia; Rome, Paris:20270115T100000", "Bosnia; Rome, Paris", "20270115T100000"),
        ] {
            let (read, mended) = super::parse(line, 7).expect(line);
            assert_eq!((read.param("TZID").as_deref(), read.value.as_str()), (Some(zone), value), "{line}");
            assert!(mended.is_some_and(|m| m.contains("line 7")), "{line}");
        }
        for right in [
            "DTSTART;TZID=Europe/Berlin:20270115T100000",
            "DTSTART;TZID=\"(UTC+01:00) Amsterdam, Berlin\":20270115T100000",
            "EXDATE:20270115T100000,20270116T100000",
            "SUMMARY;X=a:b: c",
        ] {
            assert_eq!(super::parse(right, 1).expect(right).1, None, "{right}");
        }
        assert_eq!(list("a\\, b,c,,d\\\\,e").collect::<Vec<_>>(), ["a\\, b", "c", "", "d\\\\", "e"]);
    }

    #[test]
    fn lines_are_split() {
        let p = parse("dtstart;tzid=\"Europe/Berlin\";VALUE=DATE-TIME:20101227T113000", 7).expect("read");
        assert_eq!((p.name.as_str(), p.value.as_str(), p.line), ("DTSTART", "20101227T113000", 7));
        assert_eq!(p.param("TZID").as_deref(), Some("Europe/Berlin"));
        let p =
            parse("CONFERENCE;VALUE=URI;FEATURE=AUDIO,VIDEO;LABEL=\"a;b:c, d\":http://h:80/x?a=b;c", 1).expect("read");
        assert_eq!(p.param_values("FEATURE").collect::<Vec<_>>(), ["AUDIO", "VIDEO"]);
        assert_eq!(p.param("LABEL").as_deref(), Some("a;b:c, d"));
        assert_eq!(p.value, "http://h:80/x?a=b;c");
        let p = parse("TZID;X-RICAL-TZSOURCE=TZINFO:Europe/Berlin", 1).expect("read");
        assert_eq!((p.name.as_str(), p.value.as_str()), ("TZID", "Europe/Berlin"));
        let p = parse("ATTENDEE;CN=\"J^'x^^y\":invalid:nomail", 1).expect("read");
        assert_eq!(p.param("CN").as_deref(), Some("J\"x^y"));
        assert_eq!(parse("SUMMARY:::a: b", 1).expect("read").value, "::a: b");
        assert_eq!(parse("SUMMARY;LANGUAGE=de:::x", 1).expect("read").value, "::x");
        assert_eq!(parse("SUMMARY:", 1).expect("read").value, "");
    }

    #[test]
    fn junk_is_an_error_and_never_slow() {
        for junk in ["---", "", ":", "A;B", "A;B:c", "A;B=\"c:d"] {
            assert!(parse(junk, 1).is_err(), "{junk:?}");
        }
        assert!(parse(&format!("A{}:x", ";b=c".repeat(10_000)), 1).is_err());
        assert!(parse(&format!("A;q=\":\"{}:x", ";b=c".repeat(10_000)), 1).is_err());
    }

    #[test]
    fn text_is_unescaped() {
        for (raw, want) in [
            (r"a\, b\; c\\n", r"a, b; c\n"),
            (r"a\nb\Nc", "a b c"),
            ("a, b; c", "a, b; c"),
            (r"end\", r"end\"),
            (r"\q", "q"),
            (" From Server Farm ", "From Server Farm"),
        ] {
            assert_eq!(Property { value: raw.to_owned(), ..Property::default() }.text(), want);
        }
    }
}
