//! `streamrip.toml`: every key has a default, an unknown one is an error.

use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::de::{DeTable, DeValue};

use super::values::{
    address, age, age_or_total, boolean, duration, mirrors, names, program, secret, sidecars, size, text, time_of_day,
    web, word,
};
use crate::domain::settings::Settings;

/// File name of the settings in the data directory.
pub const FILE_NAME: &str = "streamrip.toml";

/// Why settings cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Path of the settings file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{path}:{line}:{column}: {message}")]
    Wrong {
        /// Path of the settings file.
        path: PathBuf,
        /// Line number, counted from 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong in the line, and what is allowed.
        message: String,
    },
}

/// Settings with the place each came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Settings in force: the file's values over the defaults.
    pub settings: Settings,
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
    /// `section.key`s that the file sets.
    pub set: Vec<&'static str>,
}

/// One key, for `streamrip config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `section.key`.
    pub name: &'static str,
    /// As it would be written in the file.
    pub value: String,
    /// What it does.
    pub help: &'static str,
}

type Set = fn(&mut Settings, &DeValue<'_>) -> Result<(), String>;

struct Key {
    name: &'static str,
    help: &'static str,
    get: fn(&Settings) -> String,
    set: Set,
}

macro_rules! key {
    ($section:ident . $key:ident $field:ident : $kind:ident, $help:literal) => {
        Key {
            name: concat!(stringify!($section), ".", stringify!($key)),
            help: $help,
            get: |s| $kind::write(&s.$section.$field),
            set: |s, v| {
                s.$section.$field = $kind::read(v)?;
                Ok(())
            },
        }
    };
}

const KEYS: [Key; 30] = [
    key!(record.recorder recorder: word, "source of halls that name none: auto, mplayer, ffmpeg, http or hls"),
    key!(record.quality quality: word, "rendition of HLS streams of halls that name none: best, worst, audio or a height such as 1080p"),
    key!(record.pre_padding pre_padding_ms: duration, "recorded before each talk, where the halls file says nothing"),
    key!(record.post_padding post_padding_ms: duration, "recorded after each talk, where the halls file says nothing"),
    key!(record.stall_timeout stall_timeout_ms: duration, "no media for so long is a stall: reconnect"),
    key!(record.first_byte_timeout first_byte_timeout_ms: duration, "the first byte of a connection must come within this time"),
    key!(record.handover_spread handover_spread_ms: duration, "handovers of several halls are this far apart"),
    key!(record.redundancy redundancy: mirrors, "mirrors of a hall taped at the same time (1 or 2), where the halls file says nothing"),
    key!(record.keep_awake keep_awake: boolean, "keep the machine from sleeping while talks are recorded or will be within a day (systemd)"),
    key!(assemble.container container: word, "container of the joined files: matroska"),
    key!(assemble.settle settle_ms: duration, "how long after a talk's padding it is joined"),
    key!(assemble.chapters chapters: boolean, "mark the slot and its gaps with chapters"),
    key!(assemble.sidecar sidecar: sidecars, "files beside each joined file that tell of it: [\"json\", \"nfo\"]"),
    key!(assemble.file_name file_name: word, "how joined files are called below talks/: {event}, {date}, {time}, {hall}, {title}, {id}, {lang}, {track}, {code}"),
    key!(prune.min_segment min_segment_bytes: size, "smaller segments may be deleted once they were joined"),
    key!(prune.keep_segments keep_segments_ms: age, "any segment may be deleted so long after its talks were joined, such as 7d; empty: never"),
    key!(prune.keep_assemblies keep_assemblies: age_or_total, "joined files are deleted when older (30d), or the oldest, but for the newest one, when all are larger (200GB); empty: never"),
    key!(list.complete_tolerance complete_tolerance_ms: duration, "so much may be missing in a complete talk"),
    key!(list.day_starts_at day_starts_at_min: time_of_day, "when a congress day begins"),
    key!(disk.reserve reserve_bytes: size, "kept free: below it joining pauses"),
    key!(disk.warn warn_bytes: size, "a person is told when less than this is free; \"0B\": never"),
    key!(refresh.cron cron: text, "when schedules are fetched again: cron with seconds, UTC; empty: never"),
    key!(refresh.series_ahead series_ahead_ms: duration, "dates of long series are read so far ahead"),
    key!(web.listen listen: address, "where run shows its page, such as 127.0.0.1:8273; empty: nowhere"),
    key!(web.token token: secret, "what a browser must show; needed where others can reach the page"),
    key!(web.hosts hosts: names, "names of the page besides addresses and localhost, separated by spaces"),
    key!(notify.command command: program, "run for each message, which it gets as JSON: [\"program\", \"argument\"]"),
    key!(notify.webhook webhook: web, "gets each message by POST, as JSON"),
    key!(notify.heartbeat heartbeat: web, "fetched each minute while the daemon works"),
    key!(notify.on_talk_done on_talk_done: program, "run for each joined file, which it gets as JSON"),
];

/// Reads the settings: `file`, where the user names one; else `streamrip.toml` in the data directory,
/// where there is one; else the defaults.
///
/// # Errors
/// When the file cannot be read, or something in it is wrong: then nothing of it is used.
pub fn load(file: Option<&Path>, data_dir: &Path) -> Result<Loaded, SettingsError> {
    let path = file.map_or_else(|| data_dir.join(FILE_NAME), Path::to_owned);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text, &path),
        // A data directory that cannot be is for those to report who need one.
        Err(e)
            if file.is_none()
                && matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            Ok(Loaded { settings: Settings::default(), file: None, set: Vec::new() })
        }
        Err(source) => Err(SettingsError::Read { path, source }),
    }
}

/// Reads settings from the text of a file.
///
/// # Errors
/// When something in it is wrong.
pub fn parse(text: &str, path: &Path) -> Result<Loaded, SettingsError> {
    let wrong = |span: Option<Range<usize>>, message: String| {
        let (line, column) = position(text, span.map_or(0, |s| s.start));
        SettingsError::Wrong { path: path.to_owned(), line, column, message }
    };
    let table = DeTable::parse(text).map_err(|e| wrong(e.span(), e.message().to_owned()))?;
    let mut settings = Settings::default();
    let mut set = Vec::new();
    for (section, inner) in table.get_ref() {
        let Some(keys) = inner.get_ref().as_table() else {
            let message = suggest(section.get_ref(), sections(), "section");
            return Err(wrong(Some(section.span()), message));
        };
        if !sections().any(|s| s == section.get_ref()) {
            return Err(wrong(Some(section.span()), suggest(section.get_ref(), sections(), "section")));
        }
        for (key, value) in keys {
            let name = format!("{}.{}", section.get_ref(), key.get_ref());
            let Some(known) = KEYS.iter().find(|k| k.name == name) else {
                let prefix = format!("{}.", section.get_ref());
                let known = KEYS.iter().filter_map(|k| k.name.strip_prefix(prefix.as_str()));
                return Err(wrong(Some(key.span()), suggest(key.get_ref(), known, "key")));
            };
            (known.set)(&mut settings, value.get_ref())
                .map_err(|e| wrong(Some(value.span()), format!("{name}: {e}")))?;
            set.push(known.name);
        }
    }
    Ok(Loaded { settings, file: Some(path.to_owned()), set })
}

/// Every key with its value in force, in the order of the documentation.
#[must_use]
pub fn entries(settings: &Settings) -> Vec<Entry> {
    KEYS.iter().map(|k| Entry { name: k.name, value: (k.get)(settings), help: k.help }).collect()
}

fn sections() -> impl Iterator<Item = &'static str> {
    let mut seen = Vec::new();
    KEYS.iter().filter_map(|k| k.name.split_once('.')).map(|(section, _)| section).filter(move |section| {
        let new = !seen.contains(section);
        seen.push(*section);
        new
    })
}

/// "unknown key `x`: did you mean `y`?"
pub(crate) fn suggest<'a>(found: &str, known: impl Iterator<Item = &'a str>, what: &str) -> String {
    let known: Vec<_> = known.collect();
    let near = known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(found, k), *k))
        .filter(|(distance, k)| *distance <= 1 + k.len() / 3)
        .min();
    match near {
        Some((_, near)) => format!("unknown {what} {found:?}: did you mean {near:?}?"),
        None => format!("unknown {what} {found:?} (known: {})", known.join(", ")),
    }
}

/// Line and column, from 1, of a byte offset.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hall::Recorder;
    use crate::domain::hls::Quality;
    use crate::domain::time::{MINUTE, SECOND};

    fn wrong(text: &str) -> String {
        parse(text, Path::new("s.toml")).expect_err("refused").to_string()
    }

    #[test]
    fn what_config_prints_reads_back_as_itself() {
        let mut text = String::new();
        for section in sections() {
            text += &format!("[{section}]\n");
            for entry in entries(&Settings::default()) {
                if let Some(key) = entry.name.strip_prefix(&format!("{section}.")) {
                    text += &format!("{key} = {}\n", entry.value);
                }
            }
        }
        let loaded = parse(&text, Path::new("s.toml")).expect(&text);
        assert_eq!(loaded.settings, Settings::default());
        assert_eq!(loaded.set.len(), KEYS.len());
    }

    #[test]
    fn values_are_read() {
        let text = "[record]\nrecorder = \"ffmpeg\"\nquality = \"720p\"\npre_padding = \"2m 30s\"\n[disk]\nreserve = \"100MiB\"\n[list]\nday_starts_at = \"04:30\"\n[assemble]\nchapters = false\n";
        let settings = parse(text, Path::new("s.toml")).expect("good").settings;
        assert_eq!(settings.record.recorder, Recorder::Ffmpeg);
        assert_eq!(settings.record.quality, Quality::Lines(720));
        assert_eq!(settings.record.pre_padding_ms, 2 * MINUTE + 30 * SECOND);
        assert_eq!(settings.disk.reserve_bytes, 100 << 20);
        assert_eq!(settings.list.day_starts_at_min, 270);
        assert!(!settings.assemble.chapters);
    }

    #[test]
    fn what_is_kept_is_an_age_or_a_total_and_off_by_default() {
        use crate::domain::settings::KeepAssemblies::{Age, Total};
        let kept = |value: &str| {
            let text = format!("[prune]\nkeep_assemblies = {value}\nkeep_segments = \"7d\"\n");
            let settings = parse(&text, Path::new("s.toml")).expect(value).settings;
            assert_eq!(settings.prune.keep_segments_ms, Some(7 * 24 * 60 * MINUTE));
            let printed = entries(&settings).into_iter().find(|e| e.name == "prune.keep_assemblies").expect("it").value;
            let again = parse(&format!("[prune]\nkeep_assemblies = {printed}\n"), Path::new("s.toml")).expect(&printed);
            assert_eq!(again.settings.prune.keep_assemblies, settings.prune.keep_assemblies, "{printed}");
            settings.prune.keep_assemblies
        };
        assert_eq!(kept("\"30d\""), Some(Age(30 * 24 * 60 * MINUTE)));
        assert_eq!(kept("\"200 GB\""), Some(Total(200_000_000_000)));
        assert_eq!(kept("\"1TiB\""), Some(Total(1 << 40)));
        assert_eq!(kept("\"\""), None);
        assert_eq!(Settings::default().prune.keep_segments_ms, None);
        for bad in
            ["keep_assemblies = 5", "keep_assemblies = \"200\"", "keep_assemblies = \"x\"", "keep_segments = \"5GB\""]
        {
            wrong(&format!("[prune]\n{bad}\n"));
        }
    }

    #[test]
    fn what_tells_of_a_file_is_a_list_of_known_words() {
        use crate::domain::settings::SidecarFormat::{Json, Nfo};
        let read = |text: &str| parse(text, Path::new("s.toml")).expect(text).settings.assemble.sidecar;
        assert_eq!(read("[assemble]\nsidecar = [\"nfo\", \"json\"]\n"), [Nfo, Json]);
        assert_eq!(read("[assemble]\nsidecar = []\n"), []);
        for bad in ["\"nfo\"", "[\"xml\"]", "[5]", "[\"nfo\", \"nfo\"]"] {
            wrong(&format!("[assemble]\nsidecar = {bad}\n"));
        }
    }

    #[test]
    fn programs_are_words_and_addresses_are_secrets() {
        let text = "[notify]\ncommand = \"tell  -x 'a b'\"\non_talk_done = [\"copy\", \"a b\", \"\"]\nwebhook = \"https://h.example/s3cret\"\n";
        let settings = parse(text, Path::new("s.toml")).expect("good").settings;
        assert_eq!(settings.notify.command, ["tell", "-x", "'a", "b'"]);
        assert_eq!(settings.notify.on_talk_done, ["copy", "a b", ""]);
        let printed: Vec<_> = entries(&settings).into_iter().map(|e| e.value).collect();
        assert!(!printed.join("\n").contains("s3cret") && !format!("{settings:?}").contains("s3cret"));
        assert!(printed.contains(&"[\"copy\", \"a b\", \"\"]".to_owned()));
        for bad in [
            "command = 5",
            "command = [5]",
            "command = [\"\", \"x\"]",
            "webhook = \"ftp://h/x\"",
            "heartbeat = \"h.example\"",
        ] {
            wrong(&format!("[notify]\n{bad}\n"));
        }
    }

    #[test]
    fn errors_name_the_place_and_the_fix() {
        assert_eq!(
            wrong("[record]\nstall_timout = \"3s\"\n"),
            "s.toml:2:1: unknown key \"stall_timout\": did you mean \"stall_timeout\"?"
        );
        assert_eq!(wrong("[recrod]\n"), "s.toml:1:2: unknown section \"recrod\": did you mean \"record\"?");
        assert!(
            wrong("[record]\npre_padding = 5\n")
                .starts_with("s.toml:2:15: record.pre_padding: a length of time in quotes")
        );
        assert!(wrong("[record]\npre_padding = \"5 apples\"\n").contains("5 apples"));
        assert!(wrong("[record]\nrecorder = \"vlc\"\n").contains("use auto, mplayer, ffmpeg, http or hls"));
        assert!(wrong("[record]\nredundancy = 3\n").contains("from 1 to 2"));
        assert!(wrong("[disk]\nreserve = \"99999999TiB\"\n").contains("too large"));
        assert!(wrong("[list]\nday_starts_at = \"25:00\"\n").contains("06:00"));
        assert!(wrong("a = \n").starts_with("s.toml:1:"));
        assert!(
            wrong("record = 5\n").starts_with("s.toml:1:1: unknown section")
                || wrong("record = 5\n").contains("record")
        );
    }
}
