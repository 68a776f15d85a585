//! Row ids of the catalog, one type each, so that a talk's id cannot stand where a hall's belongs.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

id! {
    /// A conference.
    EventId,
    /// A room with streams.
    HallId,
    /// One URL of a hall.
    StreamId,
    /// An entry of the schedule.
    TalkId,
    /// A file on disk.
    SegmentId,
    /// One life of a source.
    ConnectionId,
    /// The one file made for a talk.
    AssemblyId,
}
