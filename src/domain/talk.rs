//! Talks.

use std::fmt;

use super::ids::{EventId, HallId, TalkId};
use super::interval::Interval;
use super::time::Ms;

/// One entry of the schedule, as the catalog knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talk {
    /// Row id: what the user types.
    pub id: TalkId,
    /// Event that the talk belongs to.
    pub event: EventId,
    /// Hall in which it takes place.
    pub hall: HallId,
    /// What makes it the same talk at the next import: UID and recurrence id, or hall, start and title.
    pub match_key: String,
    /// UID of the calendar, where it has one.
    pub uid: Option<String>,
    /// Title of the talk.
    pub title: String,
    /// Speakers, in order.
    pub speakers: Vec<String>,
    /// Scheduled time with the user's extension, without padding.
    pub slot: Interval,
    /// What the schedule says of it.
    pub status: TalkStatus,
    /// Must not be recorded.
    pub opted_out: bool,
    /// When this slot in this hall became known to the catalog: a gap before it was imported late.
    pub known_since: Ms,
    /// The talk that holds what was recorded of it under another hall or slot before.
    pub follows: Option<TalkId>,
}

impl Talk {
    /// True where it is to be recorded at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.status == TalkStatus::Scheduled && !self.opted_out
    }
}

/// A hall and a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Hall in which it takes place.
    pub hall: HallId,
    /// When, without padding.
    pub slot: Interval,
}

/// What the schedule says by now of a talk whose hall and slot are those of its recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescheduled {
    /// When that was imported.
    pub since: Ms,
    /// `Scheduled`: it has another hall or slot.
    pub status: TalkStatus,
    /// The hall that the schedule names, or named last.
    pub hall: HallId,
    /// The slot that the schedule names, or named last.
    pub slot: Interval,
    /// The talk that is to be recorded there; `None`: there was nothing left to record.
    pub talk: Option<TalkId>,
}

/// What the schedule says of a talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TalkStatus {
    /// It takes place.
    Scheduled,
    /// STATUS:CANCELLED.
    Cancelled,
    /// No longer in the schedule.
    Removed,
}

impl TalkStatus {
    /// The word in the catalog.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Cancelled => "cancelled",
            Self::Removed => "removed",
        }
    }
}

impl std::str::FromStr for TalkStatus {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Scheduled, Self::Cancelled, Self::Removed]
            .into_iter()
            .find(|s| s.as_str() == word)
            .ok_or_else(|| format!("unknown talk status {word:?}"))
    }
}

/// Where a talk stands: derived from slot, segments and `now`, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TalkState {
    /// Its window has not begun.
    Scheduled,
    /// Its window is open.
    Recording,
    /// At most the tolerance is missing.
    Complete,
    /// Something was recorded and more than the tolerance is missing.
    Partial,
    /// Nothing was recorded.
    Missed,
    /// The schedule cancelled it.
    Cancelled,
    /// The schedule no longer has it.
    Removed,
    /// It must not be recorded.
    OptedOut,
}

impl TalkState {
    /// All states, in the order of a talk's life.
    pub const ALL: [Self; 8] = [
        Self::Scheduled,
        Self::Recording,
        Self::Complete,
        Self::Partial,
        Self::Missed,
        Self::Cancelled,
        Self::Removed,
        Self::OptedOut,
    ];

    /// The word in tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Recording => "recording",
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Missed => "missed",
            Self::Cancelled => "cancelled",
            Self::Removed => "removed",
            Self::OptedOut => "opted-out",
        }
    }
}

impl fmt::Display for TalkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for TalkState {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|s| s.as_str() == word).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|s| s.as_str()).collect();
            format!("unknown state {word:?}: use one of {}", words.join(", "))
        })
    }
}
