//! Tapes tell, the catalog writes: each event of a tape becomes rows, in order.

use std::fmt;

use tokio::sync::{mpsc, oneshot};

use crate::app::library::last_facts::{Fact, LastFacts};
use crate::catalog::segments::{self, ClosedSegment, NewConnection};
use crate::catalog::writer::Writer;
use crate::domain::segment::Verdict;
use crate::domain::time::Ms;
use crate::tape::events::{TapeEvent, TapeSink};

/// Writes the events of all tapes.
#[derive(Clone)]
pub struct CatalogSink {
    writer: Writer,
    daemon_run: Option<i64>,
    closed: mpsc::UnboundedSender<uuid::Uuid>,
    /// Where causes wait that the catalog has not taken; `None`: only in memory.
    facts: Option<LastFacts>,
}

impl fmt::Debug for CatalogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Journal")
    }
}

impl CatalogSink {
    /// A journal for one daemon. Segments that were closed and written are told to `closed`, so that they
    /// are looked at soon.
    #[must_use]
    pub fn new(writer: Writer, daemon_run: Option<i64>, closed: mpsc::UnboundedSender<uuid::Uuid>) -> Self {
        Self { writer, daemon_run, closed, facts: None }
    }

    /// With a file that keeps what the catalog has not taken when the daemon ends.
    #[must_use]
    pub fn keeping(self, facts: LastFacts) -> Self {
        Self { facts: Some(facts), ..self }
    }
}

impl TapeSink for CatalogSink {
    fn send(&self, event: TapeEvent) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        let daemon_run = self.daemon_run;
        let closed_segment = match &event {
            TapeEvent::SegmentClosed { segment, .. } => Some(*segment),
            _ => None,
        };
        let closed = self.closed.clone();
        let waits = self.facts.clone().zip(fact_of(&event)).map(|(facts, (fact, at))| {
            let number = facts.note(fact, at);
            (facts, number)
        });
        let written = self.writer.send(move |db| write(db, &event, daemon_run));
        tokio::spawn(async move {
            match (written.await, closed_segment) {
                (Ok(()), Some(segment)) => drop(closed.send(segment)),
                (Ok(()), None) => {}
                (Err(e), _) => tracing::error!("cannot write a recording's progress to the catalog: {e}"),
            }
            if let Some((facts, number)) = waits {
                facts.settle(number);
            }
            // Also after a failure: a tape must not wait for a row that will never be.
            let _ = done.send(());
        });
        answer
    }
}

/// What of an event explains gaps, and when it happened. Segments are recovered from their files.
fn fact_of(event: &TapeEvent) -> Option<(Fact, Ms)> {
    Some(match event {
        TapeEvent::ConnectionOpened { connection, hall, stream, source, at, .. } => {
            let source = (*source).to_owned();
            (Fact::Opened { connection: *connection, hall: hall.0, stream: stream.0, source, at_ms: at.0 }, *at)
        }
        TapeEvent::FirstByte { connection, at } => (Fact::FirstByte { connection: *connection, at_ms: at.0 }, *at),
        TapeEvent::ConnectionClosed { connection, bytes, reason, detail, at } => {
            let (reason, detail) = (reason.to_string(), detail.clone());
            (Fact::Closed { connection: *connection, bytes: *bytes, reason, detail, at_ms: at.0 }, *at)
        }
        TapeEvent::DiskFull { hall, full, at } => (Fact::DiskFull { hall: hall.0, full: *full, at_ms: at.0 }, *at),
        TapeEvent::SegmentOpened { .. }
        | TapeEvent::Progress { .. }
        | TapeEvent::SegmentClosed { .. }
        | TapeEvent::FileDamaged { .. } => return None,
    })
}

fn write(db: &rusqlite::Connection, event: &TapeEvent, daemon_run: Option<i64>) -> crate::catalog::Result<()> {
    match event {
        TapeEvent::ConnectionOpened { connection, hall, stream, source, at, process } => segments::open_connection(
            db,
            &NewConnection {
                uuid: *connection,
                hall: *hall,
                stream: *stream,
                daemon_run,
                source,
                process: process.map(|p| (p.pid, p.start_ticks)),
                at: *at,
            },
        ),
        TapeEvent::FirstByte { connection, at } => segments::first_byte(db, *connection, *at),
        TapeEvent::SegmentOpened { segment, connection, hall, path, container, at } => {
            segments::open_segment(db, *segment, Some(*connection), *hall, path, *container, *at)
        }
        TapeEvent::Progress { segment, marks, bytes, .. } => segments::progress(db, *segment, marks, *bytes),
        TapeEvent::SegmentClosed { segment, marks, bytes, lost_bytes, sha256, container, not_media, reason, at } => {
            let closed = ClosedSegment {
                marks: marks.clone(),
                bytes: *bytes,
                lost_bytes: *lost_bytes,
                sha256: *sha256,
                container: *container,
                verdict: if *not_media { Verdict::NotMedia } else { Verdict::Unchecked },
                reason: *reason,
                at: *at,
            };
            segments::close_segment(db, *segment, &closed)
        }
        TapeEvent::ConnectionClosed { connection, bytes, reason, detail, at } => {
            segments::close_connection(db, *connection, *bytes, *reason, detail.as_deref(), *at)
        }
        TapeEvent::FileDamaged { message, at, .. } => {
            crate::catalog::incidents::note(db, daemon_run, crate::catalog::incidents::FILE_DAMAGED, message, *at)
        }
        TapeEvent::DiskFull { hall, full, at } => {
            crate::catalog::incidents::disk_full(db, daemon_run, *hall, *full, *at)
        }
    }
}
