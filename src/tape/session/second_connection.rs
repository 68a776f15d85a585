//! The second connection of a tape: a handover, or a hedge against silence. There is one place for it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::super::connection::{Connection, ConnectionEnd, stall_ms};
use super::{Session, source_of};
use crate::domain::hall::{Recorder, Stream};
use crate::domain::segment::EndReason;
use crate::domain::time::Ms;

/// A new connection must have given recognised media for so long before the old one stops.
const HANDOVER_MIN_MEDIA: Duration = Duration::from_secs(2);

/// After this time a handover is given up.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(20);

/// A handover whose boundary is past by more than this (the order came late) is not made up for.
const HANDOVER_LATE_MS: i64 = 10_000;

/// Between two tries to leave a stream that is no longer the hall's.
const LEAVE_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// One that was silent and delivers again beside its successor is kept for so long, for the seam.
const LATE_MIN_MEDIA: Duration = Duration::from_secs(2);

/// A second connection beside the current one. There is never more than one.
pub(super) struct SecondConnection {
    pub(super) connection: Connection,
    pub(super) since: Instant,
    pub(super) purpose: Purpose,
    /// Streams to try if this one fails.
    pub(super) others: VecDeque<Stream>,
    /// When a late one delivered again.
    pub(super) resumed: Option<Instant>,
}

/// What a second connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To take over: at a boundary, or from a stream that is no longer the hall's.
    Handover,
    /// Opened because the current one is silent: whichever delivers first goes on.
    Hedge,
    /// The one that was silent, after a hedge took over. What waits for it in the network may still come, and
    /// then nothing is missing.
    Late,
}

impl Session {
    /// Begins a handover at a boundary, or away from a stream that is no longer the hall's.
    pub(super) fn hand_over_if_due(&mut self, now: Ms) {
        let lead = self.order.handover_lead_ms;
        let due: Vec<Ms> = self.order.boundaries.iter().copied().filter(|b| b.minus(lead) <= now).collect();
        for boundary in due {
            if self.handled.insert(boundary) {
                self.at_boundary |= now.since(boundary) <= HANDOVER_LATE_MS;
            }
        }
        let alone = self.order.max_connections < 2;
        let leave = self.leave_at.is_some_and(|at| at <= Instant::now()) && !self.order.streams.is_empty();
        let busy = self.second.as_ref().is_some_and(|s| s.purpose != Purpose::Late);
        // Where nothing flows there is nothing to hand over: the next connection begins a segment anyway.
        let flows = self.current.as_ref().filter(|c| c.live().first_byte.is_some());
        self.at_boundary &= !alone && !busy && flows.is_some();
        let Some(current) = flows.filter(|_| (self.at_boundary || leave) && !busy) else { return };
        // Back to the preferred one, if we are on another; else (or if that fails) the same again.
        let same = self.place(&current.stream).map(|at| self.order.streams[at].clone());
        let preferred = self.order.streams.first().cloned();
        let targets: VecDeque<Stream> = match same {
            Some(same) => preferred.into_iter().filter(|s| s.url != same.url).chain([same.clone()]).collect(),
            None => self.order.streams.iter().cloned().collect(),
        };
        if alone && targets.iter().any(|s| s.url.host() == current.stream.url.host()) {
            return self.leave_without_another();
        }
        if let Some(late) = self.second.take() {
            self.end(late.connection, EndReason::Stalled);
        }
        if self.ending.load(Ordering::Relaxed) > 0 {
            // Its place is not free yet.
            return;
        }
        self.at_boundary = false;
        if leave {
            self.leave_at = Some(Instant::now() + LEAVE_RETRY_INTERVAL);
        }
        self.open_second(targets, Purpose::Handover);
    }

    /// Ends the connection before there is another, since its server allows no second one.
    fn leave_without_another(&mut self) {
        if let Some(current) = self.current.take() {
            self.end(current, EndReason::Handover);
        }
        (self.leave_at, self.mirror, self.retry_at) = (None, 0, Some(Instant::now()));
    }

    fn open_second(&mut self, mut targets: VecDeque<Stream>, purpose: Purpose) {
        if let Some(first) = targets.pop_front() {
            let connection = self.open(first);
            self.second =
                Some(SecondConnection { connection, since: Instant::now(), purpose, others: targets, resumed: None });
        }
    }

    /// When the silence of the current connection becomes, or became, unusual.
    pub(super) fn hedge_due_at(&self) -> Option<Instant> {
        let current = self.current.as_ref()?;
        let live = current.live();
        let last = live.last_media.filter(|_| live.media_since.is_some())?.max(self.awake_since);
        let hls = self.is_hls(&current.stream);
        let patience = live.arrivals.patience_ms(stall_ms(&self.deps.record, hls));
        Some(last + Duration::from_millis(u64::try_from(patience).unwrap_or(0)))
    }

    fn is_hls(&self, stream: &Stream) -> bool {
        stream.url.is_hls() || source_of(&self.order, stream) == Recorder::Hls
    }

    fn is_silent(&self) -> bool {
        self.hedge_due_at().is_some_and(|at| at <= Instant::now())
    }

    /// Opens a second connection beside one that is silent for longer than usual.
    pub(super) fn hedge_if_due(&mut self) {
        if self.order.max_connections < 2 || !self.is_silent() || !self.hedges.allows(self.elapsed_ms()) {
            return;
        }
        match &self.second {
            None if self.ending.load(Ordering::Relaxed) == 0 => {}
            // The place of one that has ended is free.
            Some(second) if second.purpose == Purpose::Late => {
                if let Some(late) = self.second.take() {
                    self.end(late.connection, EndReason::Stalled);
                }
                return;
            }
            _ => return,
        }
        let Some(current) = &self.current else { return };
        if self.order.streams.len() < 2 && self.is_hls(&current.stream) {
            // The same playlist has no more to give to another connection.
            return;
        }
        // The next mirrors first, the same one last.
        let place = self.place(&current.stream);
        let mut targets: VecDeque<Stream> = self.order.streams.iter().cloned().collect();
        targets.rotate_left(place.map_or(0, |place| (place + 1) % targets.len().max(1)));
        self.open_second(targets, Purpose::Hedge);
    }

    /// Milliseconds since this tape began, which no clock step changes.
    fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Decides which of two connections goes on.
    pub(super) fn judge_second(&mut self) {
        let Some(second) = self.second.take() else { return };
        let live = second.connection.live();
        let last = self.current.as_ref().and_then(|c| c.live().last_media);
        match second.purpose {
            Purpose::Handover if live.good() >= HANDOVER_MIN_MEDIA => {
                if let Some(old) = self.current.take() {
                    self.end(old, EndReason::Handover);
                }
                self.promote(second.connection);
            }
            Purpose::Handover if second.since.elapsed() >= HANDOVER_TIMEOUT => {
                self.handover_failed(second.connection.id);
                self.end(second.connection, EndReason::HandoverFailed);
            }
            // No proof is needed against one that says nothing.
            Purpose::Handover if live.media_since.is_some() && self.is_silent() => self.replace_silent(second),
            Purpose::Hedge if last.is_some_and(|last| last > second.since) => {
                self.hedges.failed(self.elapsed_ms());
                self.end(second.connection, EndReason::HedgeLost);
            }
            Purpose::Hedge if live.media_since.is_some() => {
                self.replace_silent(second);
            }
            // It has given what was held back, and the seam between the two can be found.
            Purpose::Late if second.resumed.is_some_and(|at| at.elapsed() >= LATE_MIN_MEDIA) => {
                self.end(second.connection, EndReason::Stalled);
            }
            Purpose::Late => {
                let resumed = live.last_media.filter(|last| *last > second.since);
                if resumed.is_some() && second.resumed.is_none() {
                    // It would have come back by itself. A new connection that begins with a burst always wins: a
                    // stream of bursts must not be connected to again for each of its silences.
                    self.hedges.failed(self.elapsed_ms());
                }
                self.second = Some(SecondConnection { resumed: second.resumed.or(resumed), ..second });
            }
            _ => self.second = Some(second),
        }
    }

    /// The second connection delivers and the current one does not: they change places.
    fn replace_silent(&mut self, second: SecondConnection) {
        if let Some(old) = self.current.take() {
            let silent = old.live().last_media.map_or(Duration::ZERO, |last| last.elapsed());
            let detail = format!("no media for {:.1} s", silent.as_secs_f64());
            self.note(old.id, EndReason::Stalled, Some(&detail), "another connection goes on");
            self.second = Some(SecondConnection {
                connection: old,
                since: Instant::now(),
                purpose: Purpose::Late,
                others: VecDeque::new(),
                resumed: None,
            });
        }
        self.promote(second.connection);
    }

    fn handover_failed(&self, connection: Uuid) {
        let hall = self.order.hall_name.as_str();
        tracing::warn!(hall, %connection, "{hall}: the handover failed; the old connection goes on");
    }

    /// The second connection ended by itself.
    pub(super) fn second_over(&mut self, over: &ConnectionEnd) {
        let Some(SecondConnection { connection, since, purpose, mut others, .. }) = self.second.take() else { return };
        let id = connection.id;
        self.close(connection);
        match purpose {
            // Said when it was replaced. It never came back: the hedge was right.
            Purpose::Late => self.hedges.won(),
            Purpose::Handover => {
                let next = others.pop_front().filter(|_| since.elapsed() < HANDOVER_TIMEOUT - HANDOVER_MIN_MEDIA);
                let follows = if next.is_some() {
                    "the handover tries the next stream"
                } else {
                    "the handover failed, and the old connection goes on"
                };
                self.note(id, over.reason, over.detail.as_deref(), follows);
                if let Some(stream) = next {
                    let connection = self.open(stream);
                    self.second = Some(SecondConnection { connection, since, purpose, others, resumed: None });
                }
            }
            Purpose::Hedge => {
                let hall = self.order.hall_name.as_str();
                tracing::debug!(hall, connection = %id, "{hall}: a second connection was of no use: {}", over.reason);
                if others.is_empty() || !self.is_silent() {
                    self.hedges.failed(self.elapsed_ms());
                } else {
                    self.open_second(others, Purpose::Hedge);
                }
            }
        }
    }
}
