//! Gaps and their causes.

use std::fmt;

use super::interval::Interval;
use super::segment::EndReason;

/// Why a part of a slot was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapCause {
    /// The talk is opted out of recording, or another one of its hall is at that time.
    OptedOut,
    /// The schedule named the talk only after that time.
    ImportedLate,
    /// The schedule named another hall or slot for the talk until then: what was recorded there is another recording.
    Rescheduled,
    /// No daemon ran on this data directory.
    DaemonNotRunning,
    /// The machine slept.
    HostAsleep,
    /// The wall clock was set forward over it: that time never was.
    ClockSet,
    /// The hall had no stream.
    NoStream,
    /// A connection was being opened, and none had failed before.
    Connecting,
    /// A connection ended, or could not be opened, for this reason.
    Connection(EndReason),
    /// The file was there once and is gone, or was pruned.
    FileLost,
    /// Connected and bytes came, yet no media that could be recognised.
    NoMedia,
    /// Video was received, but nothing of it can be decoded before its next keyframe.
    WaitsForKeyframe,
    /// It was received in a format that the talk's file cannot hold beside the rest.
    FormatChanged,
    /// It was received and no reader could make packets of it; its segment stays.
    Unreadable,
    /// It was received and does not stand in the talk's file; its segment stays.
    NotJoined,
    /// The talk was cancelled, or taken out of the schedule: its time was not asked for.
    Cancelled,
    /// Nothing in the catalog explains it.
    Unknown,
}

impl GapCause {
    /// Every cause that is not the end of a connection, in the order of the declaration.
    pub const OF_ITS_OWN: [Self; 16] = [
        Self::OptedOut,
        Self::ImportedLate,
        Self::Rescheduled,
        Self::DaemonNotRunning,
        Self::HostAsleep,
        Self::ClockSet,
        Self::NoStream,
        Self::Connecting,
        Self::FileLost,
        Self::NoMedia,
        Self::WaitsForKeyframe,
        Self::FormatChanged,
        Self::Unreadable,
        Self::NotJoined,
        Self::Cancelled,
        Self::Unknown,
    ];
}

impl fmt::Display for GapCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OptedOut => "opted-out",
            Self::ImportedLate => "imported-late",
            Self::Rescheduled => "rescheduled",
            Self::DaemonNotRunning => "daemon-not-running",
            Self::HostAsleep => "host-asleep",
            Self::ClockSet => "clock-set",
            Self::NoStream => "no-stream",
            Self::Connecting => "connecting",
            Self::Connection(reason) => return reason.fmt(f),
            Self::FileLost => "file-lost",
            Self::NoMedia => "no-media",
            Self::WaitsForKeyframe => "waits-for-keyframe",
            Self::FormatChanged => "format-changed",
            Self::Unreadable => "unreadable",
            Self::NotJoined => "not-joined",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        })
    }
}

/// Which tracks a gap lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lacks {
    /// Everything that the talk has at other times.
    #[default]
    All,
    /// Only the video: its audio is there.
    Video,
    /// Only the audio: its video is there.
    Audio,
}

impl Lacks {
    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }
}

/// A part of a slot that no recorded media covers, or not with all of its tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Interval of wall time that is missing.
    pub at: Interval,
    /// Cause of the gap.
    pub cause: GapCause,
    /// What is not there.
    pub lacks: Lacks,
}

impl Gap {
    /// A gap in which everything is missing.
    #[must_use]
    pub fn of_all(at: Interval, cause: GapCause) -> Self {
        Self { at, cause, lacks: Lacks::All }
    }

    /// The cause, and where not everything is missing, what is.
    #[must_use]
    pub fn words(&self) -> String {
        match self.lacks {
            Lacks::All => self.cause.to_string(),
            Lacks::Video => format!("{} (only the video)", self.cause),
            Lacks::Audio => format!("{} (only the audio)", self.cause),
        }
    }
}
