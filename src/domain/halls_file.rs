//! What a halls file says.

use chrono_tz::Tz;

use super::hall::Recorder;
use super::hls::Quality;
use super::stream_url::StreamUrl;

/// How many connections a hall's server allows where nobody says: one that runs, one that takes over.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 2;

/// A halls file, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HallsFile {
    /// For talks whose calendar names no zone.
    pub time_zone: Option<Tz>,
    /// Recorded before a slot; `None`: the setting. Milliseconds.
    pub pre_padding_ms: Option<i64>,
    /// Recorded after a slot; `None`: the setting. Milliseconds.
    pub post_padding_ms: Option<i64>,
    /// The schedule itself may name streams on this machine and in private networks.
    pub allow_private_streams: bool,
    /// Where the hall stands of a talk whose calendar gives it no LOCATION.
    pub hall_from: Option<HallField>,
    /// In the order of the file. Names and aliases are unique when folded.
    pub halls: Vec<HallEntry>,
}

impl HallsFile {
    /// Names and aliases of all halls.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.halls.iter().flat_map(|hall| std::iter::once(&hall.name).chain(&hall.aliases)).cloned().collect()
    }
}

/// A field of a calendar's entry that may name its hall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HallField {
    /// CATEGORIES: the one that is a hall's name, else the first.
    Categories,
    /// SUMMARY: the name of a hall in it.
    Summary,
    /// DESCRIPTION: the name of a hall in it.
    Description,
    /// X-ALT-DESC: the name of a hall in it.
    AltDescription,
}

impl HallField {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Categories, Self::Summary, Self::Description, Self::AltDescription];

    /// The word in a halls file: the property's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Categories => "CATEGORIES",
            Self::Summary => "SUMMARY",
            Self::Description => "DESCRIPTION",
            Self::AltDescription => "X-ALT-DESC",
        }
    }
}

impl std::str::FromStr for HallField {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|field| field.as_str().eq_ignore_ascii_case(word.trim())).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|field| field.as_str()).collect();
            format!("unknown field {word:?}: use one of {}", words.join(", "))
        })
    }
}

/// One `[[hall]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HallEntry {
    /// Name of the hall.
    pub name: String,
    /// Other names, as schedules write them.
    pub aliases: Vec<String>,
    /// Mirrors, the preferred one first; may be empty.
    pub streams: Vec<StreamUrl>,
    /// `None`: the setting.
    pub recorder: Option<Recorder>,
    /// `None`: the setting.
    pub quality: Option<Quality>,
    /// Connections its server allows at once, at least 1.
    pub max_connections: u32,
    /// Mirrors to tape at the same time, from 1; `None`: the setting.
    pub redundancy: Option<u32>,
}
