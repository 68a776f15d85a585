//! The halls file: TOML -> [`HallsFile`]. Every fault is named with its line and column.

use std::collections::HashMap;
use std::ops::Range;

use chrono_tz::Tz;
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::halls_keys::{FILE_KEYS, HALL_KEYS, STREAM_KEYS, names as names_of};
use super::settings::{position, suggest};
use crate::domain::hall::{MAX_REDUNDANCY, Recorder, fold_name};
use crate::domain::halls_file::{DEFAULT_MAX_CONNECTIONS, HallEntry, HallsFile};
use crate::domain::hls::Quality;
use crate::domain::stream_request::StreamRequest;
use crate::domain::stream_url::{StreamUrl, redact_text};
use crate::domain::text::one_line;

/// What is wrong with a halls file, and where.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}, column {column}: {message}")]
pub struct HallsFileError {
    /// Line number, counted from 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// A padding longer than this is a slip of the pen. Milliseconds.
const MAX_PADDING_MS: u128 = 24 * 3600 * 1000;
/// More connections than any server allows one viewer.
const MAX_CONNECTIONS: u32 = 64;

/// Reads a halls file.
///
/// # Errors
/// The first fault, with its place.
pub fn read(text: &str) -> Result<HallsFile, HallsFileError> {
    let text = text.trim_start_matches('\u{feff}');
    let reader = Reader { text };
    let document = DeTable::parse(text)
        .map_err(|e| reader.error(&e.span().unwrap_or(0..0), redact_text(&one_line(e.message()))))?;
    reader.document(document.get_ref())
}

type Value<'i> = Spanned<DeValue<'i>>;

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn error(&self, at: &Range<usize>, message: impl Into<String>) -> HallsFileError {
        let (line, column) = position(self.text, at.start);
        HallsFileError { line, column, message: message.into() }
    }

    fn document(&self, table: &DeTable<'_>) -> Result<HallsFile, HallsFileError> {
        let mut file = HallsFile::default();
        // Folded name -> the hall's own name.
        let mut names: HashMap<String, String> = HashMap::new();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "time_zone" => file.time_zone = Some(self.zone(value)?),
                "pre_padding" => file.pre_padding_ms = Some(self.padding(value)?),
                "post_padding" => file.post_padding_ms = Some(self.padding(value)?),
                "allow_private_streams" => {
                    let wrong = || self.error(&value.span(), "allow_private_streams must be true or false");
                    file.allow_private_streams = value.get_ref().as_bool().ok_or_else(wrong)?;
                }
                "hall_from" => {
                    let read = self.text_of(value, "hall_from")?.parse();
                    file.hall_from = Some(read.map_err(|why: String| self.error(&value.span(), why))?);
                }
                "hall" => {
                    let wrong =
                        || self.error(&value.span(), "each hall begins with a line [[hall]], in double brackets");
                    for hall in value.get_ref().as_array().ok_or_else(wrong)? {
                        let table = hall.get_ref().as_table().ok_or_else(wrong)?;
                        file.halls.push(self.hall(table, &hall.span(), &mut names)?);
                    }
                }
                other => return Err(self.error(&key.span(), suggest(other, names_of(&FILE_KEYS), "key"))),
            }
        }
        Ok(file)
    }

    fn hall(
        &self,
        table: &DeTable<'_>,
        place: &Range<usize>,
        names: &mut HashMap<String, String>,
    ) -> Result<HallEntry, HallsFileError> {
        let mut hall = HallEntry {
            name: String::new(),
            aliases: Vec::new(),
            streams: Vec::new(),
            recorder: None,
            quality: None,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            redundancy: None,
        };
        let mut called: Vec<(String, Range<usize>)> = Vec::new();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => {
                    hall.name = self.name(value)?;
                    called.insert(0, (hall.name.clone(), value.span()));
                }
                "aliases" => {
                    for alias in self.list(value, "aliases")? {
                        let name = self.name(alias)?;
                        called.push((name.clone(), alias.span()));
                        hall.aliases.push(name);
                    }
                }
                "streams" => {
                    for stream in self.list(value, "streams")? {
                        hall.streams.push(self.stream(stream, &hall.streams)?);
                    }
                }
                "recorder" => {
                    let word = self.text_of(value, "recorder")?;
                    hall.recorder = Some(word.parse::<Recorder>().map_err(|e| self.error(&value.span(), e))?);
                }
                "quality" => {
                    let word = self.text_of(value, "quality")?;
                    hall.quality = Some(word.parse::<Quality>().map_err(|e| self.error(&value.span(), e))?);
                }
                "max_connections" => {
                    let number = value.get_ref().as_integer().and_then(|n| n.as_str().parse::<u32>().ok());
                    hall.max_connections = number.filter(|n| (1..=MAX_CONNECTIONS).contains(n)).ok_or_else(|| {
                        let message = format!("max_connections must be a number from 1 to {MAX_CONNECTIONS}");
                        self.error(&value.span(), message)
                    })?;
                }
                "redundancy" => {
                    let number = value.get_ref().as_integer().and_then(|n| n.as_str().parse::<u32>().ok());
                    let number = number.filter(|n| (1..=MAX_REDUNDANCY).contains(n)).ok_or_else(|| {
                        let message = format!("redundancy must be a number from 1 to {MAX_REDUNDANCY}");
                        self.error(&value.span(), message)
                    })?;
                    hall.redundancy = Some(number);
                }
                other => return Err(self.error(&key.span(), suggest(other, names_of(&HALL_KEYS), "key"))),
            }
        }
        if hall.name.is_empty() {
            return Err(self.error(place, "this hall has no name: add a line such as name = \"Saal 1\""));
        }
        for (name, at) in &called {
            if let Some(other) = names.get(&fold_name(name)) {
                return Err(self.error(at, format!("{name:?} is a name of hall {other:?} already")));
            }
        }
        // Within one hall the same name may stand twice: "Saal1" and "saal1" are one when folded.
        names.extend(called.iter().map(|(name, _)| (fold_name(name), hall.name.clone())));
        Ok(hall)
    }

    fn list<'v, 'i>(&self, value: &'v Value<'i>, key: &str) -> Result<&'v [Value<'i>], HallsFileError> {
        let wrong = || self.error(&value.span(), format!("{key} must be a list, as in {key} = [\"...\"]"));
        value.get_ref().as_array().map(|a| &**a).ok_or_else(wrong)
    }

    fn text_of<'v>(&self, value: &'v Value<'_>, what: &str) -> Result<&'v str, HallsFileError> {
        value.get_ref().as_str().ok_or_else(|| self.error(&value.span(), format!("{what} must be a text in quotes")))
    }

    fn name(&self, value: &Value<'_>) -> Result<String, HallsFileError> {
        let name = one_line(self.text_of(value, "a hall's name")?);
        if fold_name(&name).is_empty() {
            return Err(self.error(&value.span(), "a hall's name must not be empty"));
        }
        Ok(name)
    }

    fn stream(&self, value: &Value<'_>, before: &[StreamUrl]) -> Result<StreamUrl, HallsFileError> {
        let url = match value.get_ref().as_table() {
            Some(table) => self.stream_table(table, &value.span())?,
            None => self.address(value)?,
        };
        if before.iter().any(|other| other.secret() == url.secret()) {
            return Err(self.error(&value.span(), format!("{url} is in this list twice")));
        }
        Ok(url)
    }

    fn address(&self, value: &Value<'_>) -> Result<StreamUrl, HallsFileError> {
        StreamUrl::parse(self.text_of(value, "a stream")?).map_err(|e| self.error(&value.span(), e.to_string()))
    }

    /// `{ url = "...", user_agent = "...", headers = { name = "..." } }`. No value is in a message.
    fn stream_table(&self, table: &DeTable<'_>, place: &Range<usize>) -> Result<StreamUrl, HallsFileError> {
        let mut url = None;
        let mut request = StreamRequest::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "url" => url = Some(self.address(value)?),
                "user_agent" => request
                    .set_user_agent(self.text_of(value, "user_agent")?)
                    .map_err(|e| self.error(&value.span(), e))?,
                "headers" => {
                    let wrong = || self.error(&value.span(), "headers must be as in headers = { X-Key = \"...\" }");
                    for (name, value) in value.get_ref().as_table().ok_or_else(wrong)? {
                        request
                            .add_header(name.get_ref(), self.text_of(value, "the value of a header")?)
                            .map_err(|e| self.error(&name.span(), e))?;
                    }
                }
                other => return Err(self.error(&key.span(), suggest(other, names_of(&STREAM_KEYS), "key"))),
            }
        }
        let missing = || self.error(place, "this stream has no address: add url = \"...\"");
        url.map(|url| url.asked_with(request)).ok_or_else(missing)
    }

    fn zone(&self, value: &Value<'_>) -> Result<Tz, HallsFileError> {
        let name = self.text_of(value, "time_zone")?;
        Tz::from_str_insensitive(name.trim()).map_err(|_| {
            let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            let mut message = suggest(name, names, "time zone");
            if message.len() > 200 {
                message = format!("unknown time zone {name:?}: names look like \"Europe/Berlin\"");
            }
            self.error(&value.span(), message)
        })
    }

    /// Milliseconds.
    fn padding(&self, value: &Value<'_>) -> Result<i64, HallsFileError> {
        let text = self.text_of(value, "a padding")?;
        let read = humantime::parse_duration(text.trim())
            .map_err(|e| self.error(&value.span(), format!("{text:?} is not a length of time such as \"5m\": {e}")))?;
        if read.as_millis() > MAX_PADDING_MS {
            return Err(self.error(&value.span(), "a padding can be 24h at most"));
        }
        Ok(i64::try_from(read.as_millis()).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{MINUTE, SECOND};

    #[test]
    fn the_shape_of_the_readme() {
        let text = r#"
time_zone    = "Europe/Berlin"
pre_padding  = "5m"
post_padding = "1h 30s"
[[hall]]
name     = "Saal 1"
aliases  = ["Saal1", "saal1"]
streams  = ["http://wmv.27c3.fem-net.de/saal1", "rtsp://user:pw@h/x", { url = "http://h/y", user_agent = "me", headers = { X-Key = "k" } }]
recorder = "ffmpeg"
quality = "audio"
max_connections = 1
redundancy = 2
[[hall]]
name = "Saal 2"
"#;
        let file = read(text).expect("read");
        assert_eq!(file.time_zone, Some(Tz::Europe__Berlin));
        assert_eq!((file.pre_padding_ms, file.post_padding_ms), (Some(5 * MINUTE), Some(60 * MINUTE + 30 * SECOND)));
        assert_eq!(file.halls.len(), 2);
        let hall = &file.halls[0];
        assert_eq!((hall.name.as_str(), hall.recorder, hall.max_connections), ("Saal 1", Some(Recorder::Ffmpeg), 1));
        assert_eq!((hall.redundancy, file.halls[1].redundancy), (Some(2), None));
        assert_eq!((hall.quality, file.halls[1].quality), (Some(Quality::Audio), None));
        assert_eq!(hall.streams[1].to_string(), "rtsp://user:***@h/x");
        let request = hall.streams[2].request();
        assert_eq!(
            (request.user_agent(), request.headers()),
            (Some("me"), &[("x-key".to_owned(), "k".to_owned())][..])
        );
        assert_eq!((file.halls[1].max_connections, file.halls[1].recorder), (2, None));
        assert_eq!(read(""), Ok(HallsFile::default()));
    }

    #[test]
    fn every_fault_has_its_place_and_its_fix() {
        for (text, place, want) in [
            ("time_zone = Berlin", (1, 13), ""),
            ("\ntime_zone = \"Europe/Berln\"", (2, 13), "\"Europe/Berlin\""),
            ("timezone = \"Europe/Berlin\"", (1, 1), "time_zone"),
            ("pre_padding = 5", (1, 15), "quotes"),
            ("pre_padding = \"soon\"", (1, 15), "5m"),
            ("post_padding = \"300 days\"", (1, 16), "24h"),
            ("[hall]\nname = \"x\"", (1, 1), "[[hall]]"),
            ("[[hall]]\nnam = \"x\"", (2, 1), "name"),
            ("[[hall]]\nstreams = []", (1, 1), "name"),
            ("[[hall]]\nname = \" \"", (2, 8), "empty"),
            ("[[hall]]\nname = \"x\"\nstreams = \"http://h/\"", (3, 11), "list"),
            ("[[hall]]\nname = \"ü\"\nstreams = [\"http://h/\", \"file:///etc/passwd\"]", (3, 25), "file"),
            ("[[hall]]\nname = \"x\"\nstreams = [\"-dumpfile\"]", (3, 12), "not a stream address"),
            ("[[hall]]\nname = \"x\"\nstreams = [\"http://h/\", \"http://h/\"]", (3, 25), "twice"),
            ("[[hall]]\nname = \"x\"\nstreams = [{ user_agent = \"x\" }]", (3, 12), "url"),
            ("[[hall]]\nname = \"x\"\nstreams = [{ url = \"http://h/\", agent = \"x\" }]", (3, 33), "user_agent"),
            (
                "[[hall]]\nname = \"x\"\nstreams = [{ url = \"http://h/\", headers = { Host = \"x\" } }]",
                (3, 45),
                "host",
            ),
            ("[[hall]]\nname = \"x\"\nrecorder = \"vlc\"", (3, 12), "mplayer"),
            ("[[hall]]\nname = \"x\"\nquality = \"hd\"", (3, 11), "1080p"),
            ("[[hall]]\nname = \"x\"\nmax_connections = 0", (3, 19), "from 1"),
            ("[[hall]]\nname = \"x\"\nredundancy = 3", (3, 14), "from 1 to 2"),
            ("[[hall]]\nname = \"Saal 1\"\n[[hall]]\nname = \"y\"\naliases = [\"SAAL1\"]", (5, 12), "Saal 1"),
            ("[[hall]]\nname = \"Saal 1\"\n[[hall]]\nname = \"saal 1\"", (4, 8), "Saal 1"),
        ] {
            let fault = read(text).expect_err(text);
            assert_eq!((fault.line, fault.column), place, "{text}: {fault}");
            assert!(fault.message.contains(want), "{text}: {fault}");
        }
        let secret = read("[[hall]]\nname = \"x\"\nstreams = [\"gopher://u:s3cret@h/\"]").expect_err("scheme");
        assert!(!secret.to_string().contains("s3cret"));
    }
}
