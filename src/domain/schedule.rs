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

/// One talk of a schedule: a VEVENT, one date of a recurring VEVENT, or an entry of a schedule.xml or schedule.json.
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
    /// Its start was written with its offset from UTC, so that no zone can have been mistaken.
    pub offset_known: bool,
    /// Streams named in the VEVENT itself, as written, not yet checked.
    pub stream_urls: Vec<String>,
    /// The talk's page.
    pub page_url: Option<String>,
    /// First line of its VEVENT or entry, from 1.
    pub line: usize,
    /// What the schedule tells of it beside time and place.
    pub details: TalkDetails,
}

impl ScheduledTalk {
    /// A talk of which only title and slot are known.
    #[must_use]
    pub fn new(title: impl Into<String>, slot: Interval) -> Self {
        Self {
            uid: None,
            recurrence_id: None,
            title: title.into(),
            speakers: Vec::new(),
            hall: None,
            slot,
            cancelled: false,
            opted_out: false,
            in_schedule_xml: false,
            offset_known: false,
            stream_urls: Vec::new(),
            page_url: None,
            line: 0,
            details: TalkDetails::default(),
        }
    }
}

/// What a schedule tells of a talk beside its time and place. Every field is as the schedule has it, trimmed; an empty
/// value is `None`, and texts of several lines keep their line breaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TalkDetails {
    /// `guid` of schedule.xml and schedule.json: it stays when the talk is moved.
    pub guid: Option<String>,
    /// `code` of pretalx (`38PPT7`); talks with several slots share it.
    pub code: Option<String>,
    /// `id` of schedule.xml and schedule.json.
    pub id: Option<String>,
    /// `guid` of the room it is in: it stays when the room is renamed.
    pub room_guid: Option<String>,
    /// Second line of the title.
    pub subtitle: Option<String>,
    /// Short summary: `<abstract>`, or DESCRIPTION of a calendar.
    pub summary: Option<String>,
    /// Long text: `<description>`.
    pub description: Option<String>,
    /// Language the talk is held in, as written (`de`, `en`, `English`).
    pub language: Option<String>,
    /// Track: `<track>`, or the first of CATEGORIES of a calendar.
    pub track: Option<String>,
    /// Sort of session: `<type>` (`Talk`, `Workshop`).
    pub session_type: Option<String>,
    /// Licence of its recording: `<recording><license>`.
    pub licence: Option<String>,
    /// Pages about it, in the order of the schedule.
    pub links: Vec<TalkLink>,
}

impl TalkDetails {
    /// Takes from `known` what is missing here.
    pub fn keep_from(&mut self, known: &Self) {
        let keep = |mine: &mut Option<String>, known: &Option<String>| {
            if mine.is_none() {
                mine.clone_from(known);
            }
        };
        keep(&mut self.guid, &known.guid);
        keep(&mut self.code, &known.code);
        keep(&mut self.id, &known.id);
        keep(&mut self.room_guid, &known.room_guid);
        keep(&mut self.subtitle, &known.subtitle);
        keep(&mut self.summary, &known.summary);
        keep(&mut self.description, &known.description);
        keep(&mut self.language, &known.language);
        keep(&mut self.track, &known.track);
        keep(&mut self.session_type, &known.session_type);
        keep(&mut self.licence, &known.licence);
        if self.links.is_empty() {
            self.links.clone_from(&known.links);
        }
    }
}

/// A page about a talk. The address is http or https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TalkLink {
    /// Its address.
    pub url: String,
    /// What it is called; `None`: only the address is known.
    pub title: Option<String>,
}

/// Something odd in a schedule that did not stop it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Kind of warning.
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
    /// A name of the schedule that is taken for a new name of a hall that is known.
    RenamedHall = "renamed-hall",
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
    /// An entry that another one of its UID replaces.
    Superseded = "superseded",
    /// A series without dates in the time that is looked at.
    SeriesOutside = "series-outside",
    /// Talks whose calendar names no hall.
    NoLocation = "no-location",
    /// A slot of a day or longer.
    LongSlot = "long-slot",
    /// A talk of the calendar that schedule.xml lacks: whether it may be recorded is not known.
    NotInScheduleXml = "not-in-schedule-xml",
    /// The calendar and schedule.xml give different times.
    OtherTime = "other-time",
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
