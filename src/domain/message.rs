//! What the recorder tells a person who is not looking: something went wrong, it is over, something is done.

use std::path::PathBuf;

use super::ids::{AssemblyId, TalkId};
use super::time::Ms;

/// Whether a message begins something, ends it, or is news by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Something goes wrong since [`Message::since`].
    Raised,
    /// What was raised is over.
    Over,
    /// News that need no end.
    News,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Raised, Self::Over, Self::News];

    /// The word in JSON and in the environment of a command.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Over => "over",
            Self::News => "news",
        }
    }
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A hall that is to be taped delivers nothing.
    HallSilent,
    /// Less than `disk.warn` is free.
    DiskWarn,
    /// Less than `disk.reserve` is free, or a tape cannot write.
    DiskReserve,
    /// The schedule cannot be read again, or what was read is not believed.
    RefreshFailing,
    /// The schedule was changed by an import or a refresh.
    ScheduleChanged,
    /// A talk's file was made, or nothing was recorded of it.
    TalkDone,
    /// The daemon was started again.
    DaemonRestarted,
    /// The catalog's file is damaged, or was gone; or what was done about that.
    CatalogDamaged,
    /// Somebody deleted, moved or cut a file while it was recorded.
    FileDamaged,
    /// Asked for by a person, to see whether messages arrive.
    Test,
    /// Several messages that waited because there were too many.
    Several,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::HallSilent,
        Self::DiskWarn,
        Self::DiskReserve,
        Self::RefreshFailing,
        Self::ScheduleChanged,
        Self::TalkDone,
        Self::DaemonRestarted,
        Self::CatalogDamaged,
        Self::FileDamaged,
        Self::Test,
        Self::Several,
    ];

    /// The word in JSON and in the environment of a command.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HallSilent => "hall-silent",
            Self::DiskWarn => "disk-warn",
            Self::DiskReserve => "disk-reserve",
            Self::RefreshFailing => "refresh-failing",
            Self::ScheduleChanged => "schedule-changed",
            Self::TalkDone => "talk-done",
            Self::DaemonRestarted => "daemon-restarted",
            Self::CatalogDamaged => "catalog-damaged",
            Self::FileDamaged => "file-damaged",
            Self::Test => "test",
            Self::Several => "several",
        }
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What the message is about.
    pub topic: Topic,
    /// Beginning, end, or news.
    pub phase: Phase,
    /// For people, one line without passwords.
    pub text: String,
    /// When it was decided.
    pub at: Ms,
    /// When what it tells of began.
    pub since: Ms,
    /// Name of the event, where it is about one.
    pub event: Option<String>,
    /// Name of the hall, where it is about one.
    pub hall: Option<String>,
    /// The talk, where it is about one.
    pub talk: Option<TalkNews>,
}

impl Message {
    /// A message about no event, hall or talk that tells of this moment.
    #[must_use]
    pub fn new(topic: Topic, phase: Phase, text: impl Into<String>, at: Ms) -> Self {
        Self { topic, phase, text: text.into(), at, since: at, event: None, hall: None, talk: None }
    }
}

/// What became of a talk.
#[derive(Clone, Debug, PartialEq)]
pub struct TalkNews {
    /// Primary key of the talk.
    pub id: TalkId,
    /// Its title, as the schedule has it.
    pub title: String,
    /// complete, partial, missed, ...
    pub state: String,
    /// Recorded share of its slot, 0 to 1.
    pub coverage: f64,
    /// Its file, absolute; `None`: there is none.
    pub path: Option<PathBuf>,
    /// The row of that file; not told.
    pub assembly: Option<AssemblyId>,
}
