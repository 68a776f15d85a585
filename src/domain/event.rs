//! Conferences.

use chrono_tz::Tz;

use super::ids::EventId;

/// A conference, as the catalog knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Primary key of the event.
    pub id: EventId,
    /// As in `--event`.
    pub name: String,
    /// Name of its folders.
    pub slug: String,
    /// What its times are printed in, and the zone of its congress days.
    pub zone: Tz,
    /// Where its schedule came from: absolute path or URL.
    pub source: Option<String>,
    /// Absolute path of its halls file.
    pub halls_file: Option<String>,
    /// Path or URL of its schedule.xml.
    pub schedule_xml: Option<String>,
    /// `--tz` of its import.
    pub zone_option: Option<Tz>,
    /// From its halls file; `None`: the setting. Milliseconds.
    pub pre_padding_ms: Option<i64>,
    /// Padding after each talk of this event, milliseconds; `None`: the setting applies.
    pub post_padding_ms: Option<i64>,
    /// Why the last refresh was not applied.
    pub refresh_problem: Option<String>,
}
