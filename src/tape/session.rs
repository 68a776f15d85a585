//! The tape of one hall: keeps a connection running until its time is over, whatever happens.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use super::connection::{Connection, Over, Plan};
use super::handle::{Control, TapeDeps, TapeHandle, TapeOrder, TapeState, TapeStatus, lock};
use super::narrate::Narrator;
use super::segment_file::{Owner, Shelf};
use crate::domain::hall::{Recorder, Stream};
use crate::domain::segment::EndReason;
use crate::domain::time::Ms;
use crate::plan::backoff::Backoff;
use crate::plan::wanted::REACH_BACK_MS;

/// A new connection must have given recognised media for so long before the old one stops.
const HANDOVER_PROOF: Duration = Duration::from_secs(2);

/// After this time a handover is given up.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(20);

/// A handover whose boundary is past by more than this (the order came late) is not made up for.
const HANDOVER_LATE_MS: i64 = 10_000;

/// Between two tries to leave a stream that is no longer the hall's.
const LEAVE_AGAIN: Duration = Duration::from_secs(60);

/// The wall clock is looked at this often: it can be stepped.
const TICK: Duration = Duration::from_millis(500);

/// While a handover is under way.
const HANDOVER_TICK: Duration = Duration::from_millis(100);

/// The longest delay before HLS is asked again.
const HLS_DELAY: Duration = Duration::from_secs(5);

/// A stop takes no longer than this: 5 s from TERM to KILL, and closing the files.
const STOP_PATIENCE: Duration = Duration::from_millis(5800);

/// The rate is measured over so long.
const RATE_OVER: Duration = Duration::from_secs(5);

/// Starts a tape. It ends by itself when its `until` is reached.
#[must_use]
pub fn start(order: TapeOrder, deps: TapeDeps) -> TapeHandle {
    let now = deps.clock.now();
    let status = Arc::new(Mutex::new(TapeStatus {
        since: now,
        state: TapeState::Connecting,
        stream: None,
        bytes: 0,
        bytes_per_second: 0.0,
        connections: 0,
        last_trouble: None,
        last_byte_at: None,
        disk_full: false,
        handover: false,
    }));
    let (control, orders) = watch::channel(Control { order: order.clone(), stop: None });
    let shelf = Arc::new(Shelf {
        clock: deps.clock.clone(),
        sink: deps.sink.clone(),
        disk: deps.disk.clone(),
        data_dir: deps.data_dir.clone(),
        buffer_bytes: deps.buffer_bytes,
        count: AtomicU32::new(0),
        full: AtomicBool::new(false),
    });
    let session = Session {
        handled: order.boundaries.iter().copied().filter(|b| b.minus(order.handover_lead_ms) <= now).collect(),
        until: order.until,
        order,
        deps,
        shelf,
        status: status.clone(),
        orders,
        current: None,
        handover: None,
        closing: JoinSet::new(),
        backoff: Backoff::default(),
        retry_at: Some(Instant::now()),
        mirror: 0,
        leave_at: None,
        connections: 0,
        bytes_before: 0,
        samples: VecDeque::new(),
        narrator: Narrator::default(),
    };
    TapeHandle::new(control, status, tokio::spawn(session.run()))
}

struct Session {
    order: TapeOrder,
    deps: TapeDeps,
    shelf: Arc<Shelf>,
    status: Arc<Mutex<TapeStatus>>,
    orders: watch::Receiver<Control>,
    /// End of this tape, as far as known.
    until: Ms,
    /// Boundaries that were attended to.
    handled: HashSet<Ms>,
    current: Option<Connection>,
    handover: Option<Handover>,
    /// Files being closed.
    closing: JoinSet<()>,
    backoff: Backoff,
    /// When to connect, where there is no connection.
    retry_at: Option<Instant>,
    /// Which stream is next.
    mirror: usize,
    /// When to leave a stream that is no longer the hall's.
    leave_at: Option<Instant>,
    connections: u32,
    /// Bytes of connections that are over.
    bytes_before: u64,
    /// Bytes of the current connection, now and then.
    samples: VecDeque<(Uuid, Instant, u64)>,
    narrator: Narrator,
}

/// A change from one connection to another under way.
struct Handover {
    next: Connection,
    since: Instant,
    /// Streams to try if this one fails.
    others: VecDeque<Stream>,
}

impl Session {
    async fn run(mut self) {
        loop {
            let now = self.deps.clock.now();
            if now >= self.until {
                return self.finish(EndReason::WindowEnd).await;
            }
            self.connect_if_due();
            self.hand_over_if_due(now);
            self.judge_handover();
            while self.closing.try_join_next().is_some() {}
            self.publish(None);
            let wake = self.next_wake(now);
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    let control = self.orders.borrow_and_update().clone();
                    if let Some(reason) = control.stop.or(changed.err().map(|_| EndReason::Shutdown)) {
                        return self.finish(reason).await;
                    }
                    self.retarget(control.order);
                }
                over = over(self.current.as_mut()) => self.current_over(&over),
                over = over(self.handover.as_mut().map(|h| &mut h.next)) => self.next_over(&over),
                () = sleep_until(wake) => {}
            }
        }
    }

    /// The next instant at which something may be due.
    fn next_wake(&self, now: Ms) -> Instant {
        let tick = if self.handover.is_some() { HANDOVER_TICK } else { TICK };
        let instant = Instant::now();
        let mut wake = instant + tick;
        let in_ms = |at: Ms| instant + Duration::from_millis(u64::try_from(at.since(now)).unwrap_or(0).max(1));
        wake = wake.min(in_ms(self.until));
        for boundary in self.order.boundaries.iter().filter(|b| !self.handled.contains(b)) {
            wake = wake.min(in_ms(boundary.minus(self.order.handover_lead_ms)));
        }
        if let (None, Some(at)) = (&self.current, self.retry_at) {
            wake = wake.min(at.max(instant + Duration::from_millis(1)));
        }
        wake
    }

    fn connect_if_due(&mut self) {
        if self.current.is_some() || self.order.streams.is_empty() {
            return;
        }
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.retry_at = None;
            let stream = self.order.streams[self.mirror.min(self.order.streams.len() - 1)].clone();
            self.current = Some(self.open(stream));
        }
    }

    fn open(&mut self, stream: Stream) -> Connection {
        self.connections += 1;
        let id = Uuid::new_v4();
        let order = &self.order;
        let source = self.deps.sources.for_stream(order.recorder, &stream.url).cloned();
        Connection::open(Plan {
            id,
            source_name: order.recorder.for_url(&stream.url).as_str(),
            source,
            label: format!("{}/{} #{}", order.event_slug, order.hall_slug, self.connections),
            owner: Owner {
                hall: order.hall,
                event_slug: order.event_slug.clone(),
                hall_slug: order.hall_slug.clone(),
                zone: order.zone,
                connection: id,
            },
            shelf: self.shelf.clone(),
            record: self.deps.record.clone(),
            from: self.reach_back(),
            quality: self.order.quality,
            alone: self.order.streams.len() < 2,
            stream,
        })
    }

    /// Since when media is wanted: from a little before the window that is on. (A tape may run all day, and a
    /// server may hold all of that.)
    fn reach_back(&self) -> Ms {
        let now = self.deps.clock.now();
        let begun = self.order.boundaries.iter().filter(|b| **b <= now).max();
        begun.map_or(self.order.from, |begun| self.order.from.max(begun.minus(REACH_BACK_MS)))
    }

    /// Where in the list a stream is, by address: its row may have been made anew.
    fn place(&self, stream: &Stream) -> Option<usize> {
        self.order.streams.iter().position(|s| s.url == stream.url)
    }

    fn retarget(&mut self, order: TapeOrder) {
        let flows = self.current.as_ref().is_some_and(|c| c.live().first_byte.is_some());
        self.until = if flows { self.until.max(order.until) } else { order.until };
        let other_streams = !self.order.streams.iter().map(|s| &s.url).eq(order.streams.iter().map(|s| &s.url));
        self.order = order;
        if !other_streams {
            return;
        }
        match &self.current {
            None => {
                // News: what failed before says nothing about them.
                self.backoff = Backoff::default();
                self.mirror = 0;
                self.retry_at = Some(Instant::now());
            }
            Some(current) => self.leave_at = self.place(&current.stream).is_none().then(Instant::now),
        }
    }

    /// Begins a handover at a boundary, or away from a stream that is no longer the hall's.
    fn hand_over_if_due(&mut self, now: Ms) {
        let lead = self.order.handover_lead_ms;
        let due: Vec<Ms> = self.order.boundaries.iter().copied().filter(|b| b.minus(lead) <= now).collect();
        let mut wanted = false;
        for boundary in due {
            if self.handled.insert(boundary) {
                wanted |= now.since(boundary) <= HANDOVER_LATE_MS;
            }
        }
        if self.leave_at.is_some_and(|at| at <= Instant::now()) {
            self.leave_at = Some(Instant::now() + LEAVE_AGAIN);
            wanted = true;
        }
        // Where nothing flows there is nothing to hand over: the next connection begins a segment anyway.
        let Some(current) = self.current.as_ref().filter(|c| c.live().first_byte.is_some()) else { return };
        if !wanted || self.handover.is_some() || self.order.max_connections < 2 {
            return;
        }
        // Back to the preferred one, if we are on another; else (or if that fails) the same again.
        let same = self.place(&current.stream).map(|at| self.order.streams[at].clone());
        let preferred = self.order.streams.first().cloned();
        let mut targets: VecDeque<Stream> = match same {
            Some(same) => preferred.into_iter().filter(|s| s.url != same.url).chain([same.clone()]).collect(),
            None => self.order.streams.iter().cloned().collect(),
        };
        if let Some(first) = targets.pop_front() {
            let next = self.open(first);
            self.handover = Some(Handover { next, since: Instant::now(), others: targets });
        }
    }

    fn judge_handover(&mut self) {
        let Some(handover) = self.handover.take() else { return };
        if handover.next.live().good() >= HANDOVER_PROOF {
            if let Some(old) = self.current.take() {
                old.stop(EndReason::Handover);
                self.close(old);
            }
            self.promote(handover.next);
        } else if handover.since.elapsed() >= HANDOVER_PATIENCE {
            handover.next.stop(EndReason::HandoverFailed);
            tracing::warn!("{}: the handover failed; the old connection goes on", self.order.hall_name);
            self.close(handover.next);
        } else {
            self.handover = Some(handover);
        }
    }

    fn promote(&mut self, connection: Connection) {
        self.mirror = self.place(&connection.stream).unwrap_or(0);
        if self.place(&connection.stream).is_some() {
            self.leave_at = None;
        }
        self.current = Some(connection);
    }

    /// The running connection ended by itself.
    fn current_over(&mut self, over: &Over) {
        let Some(old) = self.current.take() else { return };
        self.note(over);
        let (place, old_stream) = (self.place(&old.stream), old.stream.clone());
        self.close(old);
        if let Some(handover) = self.handover.take() {
            // It is on its way already, so it takes over as it is.
            return self.promote(handover.next);
        }
        self.leave_at = None;
        let mut delay = Duration::ZERO;
        match place {
            // No fault of the stream.
            Some(place) if over.reason == EndReason::DiskFull => self.mirror = place,
            Some(place) => {
                let good = i64::try_from(over.good.as_millis()).unwrap_or(i64::MAX);
                let retry = self.backoff.failed(place, self.order.streams.len(), good, fastrand::f64());
                self.mirror = retry.mirror;
                delay = Duration::from_millis(u64::try_from(retry.delay_ms).unwrap_or(0));
                // A window that passes while we wait cannot be had again, and a playlist is soon asked for.
                if source_of(&self.order, &old_stream) == Recorder::Hls {
                    delay = delay.min(HLS_DELAY);
                }
            }
            None => {
                self.backoff = Backoff::default();
                self.mirror = 0;
            }
        }
        self.retry_at = Some(Instant::now() + delay);
    }

    /// The connection that was to take over ended by itself.
    fn next_over(&mut self, over: &Over) {
        let Some(handover) = self.handover.take() else { return };
        self.note(over);
        let Handover { next, since, mut others } = handover;
        self.close(next);
        match others.pop_front() {
            Some(stream) if since.elapsed() < HANDOVER_PATIENCE - HANDOVER_PROOF => {
                let next = self.open(stream);
                self.handover = Some(Handover { next, since, others });
            }
            _ => tracing::warn!("{}: the handover failed; the old connection goes on", self.order.hall_name),
        }
    }

    fn note(&mut self, over: &Over) {
        if !over.reason.is_wanted() {
            let now = self.deps.clock.now();
            lock(&self.status).last_trouble = Some((now, over.reason, over.detail.clone()));
            self.narrator.trouble(&self.order.hall_name, over.reason, over.detail.as_deref());
        }
    }

    /// Lets a connection finish in the background.
    fn close(&mut self, connection: Connection) {
        self.bytes_before += connection.live().bytes;
        let task = connection.into_task();
        self.closing.spawn(async move {
            if let Err(e) = task.await {
                tracing::error!("a connection failed: {e}");
            }
        });
    }

    async fn finish(mut self, reason: EndReason) {
        let deadline = Instant::now() + STOP_PATIENCE;
        self.publish(Some(TapeState::Stopping));
        let mut open: Vec<Connection> = self.current.take().into_iter().collect();
        open.extend(self.handover.take().map(|h| h.next));
        for connection in open {
            connection.stop(reason);
            self.close(connection);
        }
        while let Ok(Some(_)) = timeout_at(deadline, self.closing.join_next()).await {}
        if !self.closing.is_empty() {
            tracing::error!("{}: a file could not be closed in time; it will be recovered", self.order.hall_name);
        }
        self.publish(Some(TapeState::Ended));
    }

    fn publish(&mut self, state: Option<TapeState>) {
        let now = Instant::now();
        let live = self.current.as_ref().map(|c| (c.id, c.live()));
        if let Some((id, live)) = live {
            self.samples.retain(|(of, at, _)| *of == id && now.duration_since(*at) <= RATE_OVER);
            self.samples.push_back((id, now, live.bytes));
            if let Some(current) = self.current.as_ref().filter(|_| live.good() > Duration::ZERO) {
                self.narrator.recording(&self.order.hall_name, id, &current.stream.url);
            }
        } else {
            self.samples.clear();
        }
        let rate = match (self.samples.front(), self.samples.back()) {
            (Some((_, from, before)), Some((_, to, after))) if to > from => {
                (after - before) as f64 / to.duration_since(*from).as_secs_f64()
            }
            _ => 0.0,
        };
        let state = state.unwrap_or(match (&live, self.retry_at) {
            (Some((_, live)), _) if live.first_byte.is_some() => TapeState::Taping,
            (Some(_), _) => TapeState::Connecting,
            (None, _) if self.order.streams.is_empty() => TapeState::NoStream,
            (None, Some(at)) => {
                let wait = at.saturating_duration_since(now).as_millis();
                TapeState::Waiting(self.deps.clock.now().plus(i64::try_from(wait).unwrap_or(i64::MAX)))
            }
            (None, None) => TapeState::Connecting,
        });
        let next = self.handover.as_ref().map_or(0, |h| h.next.live().bytes);
        let mut status = lock(&self.status);
        status.state = state;
        status.stream = self.current.as_ref().map(|c| c.stream.url.clone());
        status.bytes = self.bytes_before + live.map_or(0, |(_, live)| live.bytes) + next;
        status.bytes_per_second = rate;
        status.connections = self.connections;
        status.last_byte_at = live.and_then(|(_, live)| live.last_byte_at).or(status.last_byte_at);
        status.disk_full = self.shelf.full.load(Ordering::Relaxed);
        status.handover = self.handover.is_some();
    }
}

fn source_of(order: &TapeOrder, stream: &Stream) -> Recorder {
    order.recorder.for_url(&stream.url)
}

/// The end of a connection, or never.
async fn over(connection: Option<&mut Connection>) -> Over {
    match connection {
        Some(connection) => connection.over().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
