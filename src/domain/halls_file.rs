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
    /// In the order of the file. Names and aliases are unique when folded.
    pub halls: Vec<HallEntry>,
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
