//! The settings in force, as plain values. The `config` adapter reads them; their defaults and the
//! reason for each are here. Lengths of time in milliseconds, sizes in bytes.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::file_name::FileNameTemplate;
use super::hall::Recorder;
use super::hls::Quality;
use super::time::{HOUR, MINUTE, SECOND};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Settings {
    /// Section `[record]`
    pub record: Record,
    /// `[assemble]`
    pub assemble: Assemble,
    /// Section `[prune]`
    pub prune: Prune,
    /// Section `[list]`
    pub list: List,
    /// Section `[disk]`
    pub disk: Disk,
    /// Section `[refresh]`
    pub refresh: Refresh,
    /// Section `[web]`
    pub web: Web,
    /// Section `[notify]`
    pub notify: Notify,
}

/// Settings of recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The source of halls that name none.
    pub recorder: Recorder,
    /// The rendition, where streams have several, of halls that name none.
    pub quality: Quality,
    /// Recorded before a slot, where the halls file says nothing.
    pub pre_padding_ms: i64,
    /// Recorded after a slot, where the halls file says nothing: talks overrun daily.
    pub post_padding_ms: i64,
    /// No bytes for so long is a stall.
    pub stall_timeout_ms: i64,
    /// The first byte must come within this time; mplayer makes up to three requests of its own.
    pub first_byte_timeout_ms: i64,
    /// Handovers of several halls begin this far apart, so that they do not all open a connection at once.
    pub handover_spread_ms: i64,
    /// How many mirrors of a hall are taped at the same time, where the halls file says nothing.
    pub redundancy: u32,
    /// While something is to be recorded, the machine is asked not to sleep.
    pub keep_awake: bool,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            recorder: Recorder::Auto,
            quality: Quality::Best,
            pre_padding_ms: 5 * MINUTE,
            post_padding_ms: 15 * MINUTE,
            stall_timeout_ms: 10 * SECOND,
            first_byte_timeout_ms: 15 * SECOND,
            handover_spread_ms: 2 * SECOND,
            redundancy: 1,
            keep_awake: true,
        }
    }
}

/// Containers that assemblies can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AssemblyContainer {
    /// Matroska carries every codec that the sources deliver.
    #[default]
    Matroska,
}

impl fmt::Display for AssemblyContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("matroska")
    }
}

impl FromStr for AssemblyContainer {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "matroska" => Ok(Self::Matroska),
            other => Err(format!("unknown container {other:?}: only matroska is written")),
        }
    }
}

/// Settings of joining.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assemble {
    /// What joined files are.
    pub container: AssemblyContainer,
    /// How long after a window's end the talk is assembled.
    pub settle_ms: i64,
    /// Mark gaps (and the edges of the slot) with chapters.
    pub chapters: bool,
    /// Files beside each joined file that tell of it.
    pub sidecar: Vec<SidecarFormat>,
    /// How the joined files are called, below the folder of the talks.
    pub file_name: FileNameTemplate,
}

/// How a file beside a joined one tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SidecarFormat {
    /// For programs: what `show --json` prints.
    Json,
    /// For media centres: Kodi's XML.
    Nfo,
}

impl SidecarFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Json, Self::Nfo];

    /// The word in the settings, and the end of the file's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Nfo => "nfo",
        }
    }
}

impl Default for Assemble {
    fn default() -> Self {
        Self {
            container: AssemblyContainer::Matroska,
            settle_ms: 30 * SECOND,
            chapters: true,
            sidecar: Vec::new(),
            file_name: FileNameTemplate::default(),
        }
    }
}

/// Deleting fragments, and what is old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Segments smaller than this may be deleted once the assembly used or rejected them.
    pub min_segment_bytes: u64,
    /// Segments of any size may be deleted so long after all of their talks were joined; `None`: never.
    pub keep_segments_ms: Option<i64>,
    /// Which joined files stay; `None`: all of them.
    pub keep_assemblies: Option<KeepAssemblies>,
}

/// Which joined files stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAssemblies {
    /// Those that were made within so many milliseconds.
    Age(i64),
    /// The newest, of so many bytes together, and the very newest whatever its size.
    Total(u64),
}

impl Default for Prune {
    fn default() -> Self {
        // Two seconds of a 2 Mbit/s stream.
        Self { min_segment_bytes: 512 * 1024, keep_segments_ms: None, keep_assemblies: None }
    }
}

/// What `list` calls complete, and where a day begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// So much of a slot may be missing in a complete talk.
    pub complete_tolerance_ms: i64,
    /// A congress day begins at this many minutes after midnight: talks at 00:15 belong to the evening.
    pub day_starts_at_min: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { complete_tolerance_ms: 5 * SECOND, day_starts_at_min: 6 * 60 }
    }
}

/// Settings of free disk space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Kept free: below it assembly pauses and what may be pruned is pruned.
    pub reserve_bytes: u64,
    /// A person is told when less than this is free; 0: never.
    pub warn_bytes: u64,
}

impl Default for Disk {
    fn default() -> Self {
        // An evening of five halls at 2 Mbit/s, with their joined files.
        Self { reserve_bytes: 5 << 30, warn_bytes: 20 << 30 }
    }
}

/// Fetching the schedule again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// When: a cron expression with seconds, UTC. Empty: never.
    pub cron: String,
    /// Dates of long series are read so far ahead. Milliseconds.
    pub series_ahead_ms: i64,
}

impl Default for Refresh {
    fn default() -> Self {
        Self { cron: "0 */5 * * * *".to_owned(), series_ahead_ms: 2 * 366 * 24 * HOUR }
    }
}

/// Settings of the web page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// Where it listens; `None`: there is none.
    pub listen: Option<SocketAddr>,
    /// What a browser must show; needed where others than this machine can reach it.
    pub token: Option<Secret>,
    /// Names by which browsers call it, besides addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// Calling a person, or a program of theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// A program and its arguments, run for each message; empty: none.
    pub command: Vec<String>,
    /// Gets each message by POST, as JSON. An http or https address; may hold a secret in its path.
    pub webhook: Option<Secret>,
    /// Fetched each minute while the daemon works, so that its silence is noticed elsewhere. As `webhook`.
    pub heartbeat: Option<Secret>,
    /// A program and its arguments, run for each joined file; empty: none.
    pub on_talk_done: Vec<String>,
}

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
