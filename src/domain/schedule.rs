//! A schedule as it was read, before it meets the catalog.

use super::interval::Interval;

/// What a calendar (with its schedule.xml, where there is one) says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// IANA name of the zone that its times were written in, where it names one: the event's zone.
    pub time_zone: Option<String>,
    /// In the order of the file.
    pub talks: Vec<ScheduledTalk>,
    /// What was odd in it, in the order of the file.
    pub warnings: Vec<Warning>,
}

/// One VEVENT, or one date of a recurring one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledTalk {
    /// UID, where there is one.
    pub uid: Option<String>,
    /// RECURRENCE-ID, or the date of a recurrence: tells talks of one UID apart.
    pub recurrence_id: Option<String>,
    /// SUMMARY, unescaped; never empty.
    pub title: String,
    /// Speakers, where schedule.xml or the calendar names them.
    pub speakers: Vec<String>,
    /// LOCATION, trimmed; `None` where there is none.
    pub hall: Option<String>,
    /// Scheduled time.
    pub slot: Interval,
    /// STATUS:CANCELLED.
    pub cancelled: bool,
    /// schedule.xml says that it must not be recorded.
    pub opted_out: bool,
    /// schedule.xml has this talk. Where it is false, `opted_out` says nothing: what was known stays.
    pub in_schedule_xml: bool,
    /// Streams named in the VEVENT itself, as written, not yet checked.
    pub stream_urls: Vec<String>,
    /// The talk's page.
    pub page_url: Option<String>,
    /// First line of its VEVENT, from 1.
    pub line: usize,
}

/// Something odd in a schedule that did not stop it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What sort.
    pub kind: WarningKind,
    /// The talk, by UID or title, where it is about one.
    pub talk: Option<String>,
    /// For people, with the line where it matters.
    pub message: String,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal),+ $(,)?) => {
        /// Sorts of warnings; the words are `kind` in JSON.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum WarningKind { $($(#[$doc])* $name),+ }

        impl WarningKind {
            /// The word in JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }
        }
    };
}

kinds! {
    /// A hall of the schedule has no stream.
    UnmappedHall = "unmapped-hall",
    /// Neither end nor duration.
    NoEnd = "no-end",
    /// Ends when it starts.
    ZeroLength = "zero-length",
    /// Two talks at once in one hall.
    Overlap = "overlap",
    /// A time without a zone.
    FloatingTime = "floating-time",
    /// A zone that does not exist; another one was taken.
    UnknownTimeZone = "unknown-time-zone",
    /// One UID on several talks.
    DuplicateUid = "duplicate-uid",
    /// Talks without UID, or UIDs that change at every export.
    NoUid = "no-uid",
    /// An entry that could not be read and was left out.
    BadEvent = "bad-event",
    /// "CANCELLED" in a title, and no STATUS that says so.
    CancelledInTitle = "cancelled-in-title",
    /// Two halls with one stream.
    SharedStream = "shared-stream",
    /// A hall whose `redundancy` asks for more mirrors than it has streams.
    FewMirrors = "few-mirrors",
    /// Must not be recorded.
    OptedOut = "opted-out",
    /// A stream address of the schedule that is not allowed.
    BadStream = "bad-stream",
    /// The event's schedule.xml could not be read this time; what it said before stays in force.
    ScheduleXml = "schedule-xml",
}
