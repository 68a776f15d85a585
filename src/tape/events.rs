//! What a tape tells the rest of the program while it works. The app turns these into catalog rows.

use std::path::PathBuf;

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::domain::ids::{HallId, StreamId};
use crate::domain::segment::{Container, EndReason, Mark};
use crate::domain::time::Ms;
use crate::source::ProcessId;

/// One thing that happened on a tape. Connections and segments are named by UUIDs that the tape makes,
/// so that it need not wait for the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapeEvent {
    /// A source was started (or could not be: then `ConnectionClosed` follows at once).
    ConnectionOpened {
        /// The connection.
        connection: Uuid,
        /// Hall that is recorded.
        hall: HallId,
        /// To which stream.
        stream: StreamId,
        /// Name of the source.
        source: &'static str,
        /// When it was asked for.
        at: Ms,
        /// Its process.
        process: Option<ProcessId>,
    },
    /// Its first byte came.
    FirstByte {
        /// The connection.
        connection: Uuid,
        /// Time of the event (wall clock).
        at: Ms,
    },
    /// A file is about to be made: the row first, then the file.
    SegmentOpened {
        /// The segment.
        segment: Uuid,
        /// From which connection.
        connection: Uuid,
        /// Hall that is recorded.
        hall: HallId,
        /// Relative to the data directory.
        path: PathBuf,
        /// As far as the first bytes tell.
        container: Container,
        /// Arrival of the first byte.
        at: Ms,
    },
    /// More was written: new marks since the last such event, oldest first.
    Progress {
        /// The segment.
        segment: Uuid,
        /// Marks that were added since the last event.
        marks: Vec<Mark>,
        /// Bytes in the file by now.
        bytes: u64,
        /// Time of the event (wall clock).
        at: Ms,
    },
    /// The file is complete and synced.
    SegmentClosed {
        /// The segment.
        segment: Uuid,
        /// Marks since the last `Progress`; the last one is the arrival of the last byte.
        marks: Vec<Mark>,
        /// Bytes in the file.
        bytes: u64,
        /// Bytes that came and could not be written.
        lost_bytes: u64,
        /// Of the bytes in the file.
        sha256: [u8; 32],
        /// What the content is.
        container: Container,
        /// True where it is no media: a page, a playlist.
        not_media: bool,
        /// Why it ended.
        reason: EndReason,
        /// Time of the event (wall clock).
        at: Ms,
    },
    /// The connection is over and its process was waited for.
    ConnectionClosed {
        /// The connection.
        connection: Uuid,
        /// Bytes it delivered.
        bytes: u64,
        /// Why it ended.
        reason: EndReason,
        /// The source's own words, without passwords.
        detail: Option<String>,
        /// Time of the event (wall clock).
        at: Ms,
    },
    /// Somebody deleted, moved or cut a file that is being written.
    FileDamaged {
        /// Whose tape writes it.
        hall: HallId,
        /// What was found and done, for people.
        message: String,
        /// When it was found.
        at: Ms,
    },
    /// Trouble with the machine rather than with a stream: the disk is full, or works again.
    DiskFull {
        /// Whose tape met it.
        hall: HallId,
        /// True when it begins, false when writing works again.
        full: bool,
        /// Time of the event (wall clock).
        at: Ms,
    },
}

/// Takes the events of tapes, in order.
pub trait TapeSink: Send + Sync + std::fmt::Debug {
    /// Takes one event at once, without waiting. The answer comes when the catalog has it; a tape waits
    /// for that only before it makes a file, and not for long.
    fn send(&self, event: TapeEvent) -> oneshot::Receiver<()>;
}
