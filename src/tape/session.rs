//! The tape of one hall: keeps a connection running until its time is over, whatever happens.

mod second_connection;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connection::{Connection, ConnectionEnd, ConnectionParams};
use super::handle::{Control, TapeDeps, TapeHandle, TapeOrder, TapeState, TapeStatus, lock};
use super::log_dedup::StatusLog;
use super::segment_file::{SegmentOwner, SegmentStore};
use crate::domain::hall::{Recorder, Stream};
use crate::domain::segment::EndReason;
use crate::domain::stream_url::StreamUrl;
use crate::domain::time::Ms;
use crate::plan::backoff::{Backoff, MAX_DELAY_MS};
use crate::plan::hedge::{Arrivals, HedgeRate};
use crate::plan::wanted::REACH_BACK_MS;
use second_connection::{Purpose, SecondConnection};

/// The wall clock is looked at this often: it can be stepped.
const TICK: Duration = Duration::from_millis(500);

/// While there are two connections.
const SECOND_TICK: Duration = Duration::from_millis(100);

/// A tape that was woken later than this did not see its bytes in time: their silence says nothing.
const MAX_WAKE_DELAY: Duration = Duration::from_millis(250);

/// The longest delay before HLS is asked again.
const HLS_DELAY: Duration = Duration::from_secs(5);

/// A stop takes no longer than this: 5 s from TERM to KILL, and closing the files.
const STOP_TIMEOUT: Duration = Duration::from_millis(5800);

/// The rate is measured over so long.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// Starts a tape. It ends by itself when its `until` is reached.
#[must_use]
pub fn start(order: TapeOrder, deps: TapeDeps) -> TapeHandle {
    let now = deps.clock.now();
    let status = Arc::new(Mutex::new(TapeStatus::new(now, TapeState::Connecting)));
    let (control, orders) = watch::channel(Control { order: order.clone(), stop: None });
    let store = Arc::new(SegmentStore {
        clock: deps.clock.clone(),
        sink: deps.sink.clone(),
        disk: deps.disk.clone(),
        data_dir: deps.data_dir.clone(),
        buffer_bytes: deps.buffer_bytes,
        memory: deps.memory.clone(),
        count: AtomicU32::new(deps.first_number),
        full: AtomicBool::new(false),
        hurry: CancellationToken::new(),
    });
    let session = Session {
        handled: order.boundaries.iter().copied().filter(|b| b.minus(order.handover_lead_ms) <= now).collect(),
        until: order.until,
        order,
        deps,
        store,
        status: status.clone(),
        orders,
        current: None,
        second: None,
        ending: Arc::default(),
        hedges: HedgeRate::default(),
        arrival_history: HashMap::new(),
        tried: HashMap::new(),
        origin: Instant::now(),
        awake_since: Instant::now(),
        closing: JoinSet::new(),
        backoff: Backoff::default(),
        retry_at: Some(Instant::now()),
        mirror: 0,
        at_boundary: false,
        leave_at: None,
        connections: 0,
        bytes_before: 0,
        samples: VecDeque::new(),
        status_log: StatusLog::default(),
    };
    TapeHandle::new(control, status, tokio::spawn(session.run()))
}

struct Session {
    order: TapeOrder,
    deps: TapeDeps,
    store: Arc<SegmentStore>,
    status: Arc<Mutex<TapeStatus>>,
    orders: watch::Receiver<Control>,
    /// End of this tape, as far as known.
    until: Ms,
    /// Boundaries that were attended to.
    handled: HashSet<Ms>,
    current: Option<Connection>,
    second: Option<SecondConnection>,
    /// Connections that were stopped and have not ended yet.
    ending: Arc<AtomicUsize>,
    hedges: HedgeRate,
    /// How the bytes of each stream come.
    arrival_history: HashMap<StreamUrl, Arrivals>,
    /// When each stream was connected to last.
    tried: HashMap<StreamUrl, Instant>,
    /// When this tape began.
    origin: Instant,
    /// Since when it was never late for its own work.
    awake_since: Instant,
    /// Files being closed.
    closing: JoinSet<()>,
    backoff: Backoff,
    /// When to connect, where there is no connection.
    retry_at: Option<Instant>,
    /// Which stream is next.
    mirror: usize,
    /// A boundary is here, and its handover has not begun yet.
    at_boundary: bool,
    /// When to leave a stream that is no longer the hall's.
    leave_at: Option<Instant>,
    connections: u32,
    /// Bytes of connections that are over.
    bytes_before: u64,
    /// Bytes of the current connection, now and then.
    samples: VecDeque<(Uuid, Instant, u64)>,
    status_log: StatusLog,
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
            self.judge_second();
            self.hedge_if_due();
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
                over = over(self.second.as_mut().map(|s| &mut s.connection)) => self.second_over(&over),
                () = sleep_until(wake) => {}
            }
            let woke = Instant::now();
            if woke.saturating_duration_since(wake) > MAX_WAKE_DELAY {
                // It is we who were away, not the server.
                self.awake_since = woke;
            }
        }
    }

    /// The next instant at which something may be due.
    fn next_wake(&self, now: Ms) -> Instant {
        let several = self.second.is_some() || self.ending.load(Ordering::Relaxed) > 0;
        let tick = if several { SECOND_TICK } else { TICK };
        let instant = Instant::now();
        let mut wake = instant + tick;
        let in_ms = |at: Ms| instant + Duration::from_millis(u64::try_from(at.since(now)).unwrap_or(0).max(1));
        wake = wake.min(in_ms(self.until));
        for boundary in self.order.boundaries.iter().filter(|b| !self.handled.contains(b)) {
            wake = wake.min(in_ms(boundary.minus(self.order.handover_lead_ms)));
        }
        if let (None, Some(at)) = (&self.current, self.retry_at)
            && !self.order.streams.is_empty()
            && self.has_place()
        {
            wake = wake.min(at.max(instant + Duration::from_millis(1)));
        }
        if let Some(at) = self.hedge_due_at().filter(|at| *at > instant) {
            wake = wake.min(at);
        }
        wake
    }

    fn connect_if_due(&mut self) {
        if self.current.is_some() || self.order.streams.is_empty() {
            return;
        }
        if self.retry_at.is_some_and(|at| at <= Instant::now()) && self.has_place() {
            self.retry_at = None;
            let stream = self.order.streams[self.mirror.min(self.order.streams.len() - 1)].clone();
            self.current = Some(self.open(stream));
        }
    }

    /// True where one more connection may be opened, beside those that were stopped and have not ended yet.
    fn has_place(&self) -> bool {
        let open = self.ending.load(Ordering::Relaxed) + usize::from(self.second.is_some());
        open < if self.order.max_connections < 2 { 1 } else { 2 }
    }

    fn open(&mut self, stream: Stream) -> Connection {
        self.connections += 1;
        self.tried.insert(stream.url.clone(), Instant::now());
        let id = Uuid::new_v4();
        let order = &self.order;
        let source = self.deps.sources.for_stream(order.recorder, &stream.url).cloned();
        Connection::open(ConnectionParams {
            id,
            source_name: source.as_ref().map_or(order.recorder.for_url(&stream.url).as_str(), |source| source.name()),
            source,
            label: format!("{}/{} #{}", order.event_slug, order.hall_slug, self.connections),
            owner: SegmentOwner {
                hall: order.hall,
                event_slug: order.event_slug.clone(),
                hall_slug: order.hall_slug.clone(),
                zone: order.zone,
                connection: id,
            },
            store: self.store.clone(),
            record: self.deps.record.clone(),
            arrivals: self.arrivals_of(&stream.url),
            origin: self.origin,
            from: self.reach_back(),
            quality: self.order.quality,
            alone: self.order.streams.len() < 2,
            stream,
        })
    }

    /// How the bytes of a stream come, as far as known.
    fn arrivals_of(&self, url: &StreamUrl) -> Arrivals {
        let current = self.current.as_ref().filter(|c| c.stream.url == *url).map(|c| c.live().arrivals);
        current.or_else(|| self.arrival_history.get(url).copied()).unwrap_or_default()
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
        let before = std::mem::replace(&mut self.order, order).streams;
        if before.iter().map(|s| &s.url).eq(self.order.streams.iter().map(|s| &s.url)) {
            return;
        }
        self.arrival_history.retain(|url, _| self.order.streams.iter().any(|s| s.url == *url));
        let listed = self.current.as_ref().is_none_or(|c| self.place(&c.stream).is_some());
        if !listed && !flows && !self.order.streams.is_empty() {
            // It has given nothing yet, so nothing is lost by leaving it.
            if let Some(connecting) = self.current.take() {
                self.end(connecting, EndReason::Handover);
            }
        }
        if self.current.is_some() {
            self.leave_at = (!listed).then(Instant::now);
            return;
        }
        let next = before.get(self.mirror).and_then(|next| self.place(next));
        self.mirror = next.unwrap_or(0);
        if !listed {
            self.retry_at = Some(Instant::now());
        }
        // What failed before says nothing about a stream that is new. But what one lane of a hall leaves to another
        // and takes again is none: its tries must not make the other's endless.
        let lately = Duration::from_millis(MAX_DELAY_MS.unsigned_abs());
        let is_news = |s: &Stream| {
            let gained = before.iter().all(|b| b.url != s.url);
            gained && self.tried.get(&s.url).is_none_or(|at| at.elapsed() >= lately)
        };
        if let Some(news) = self.order.streams.iter().position(is_news) {
            if !self.tried.contains_key(&self.order.streams[news].url) {
                self.backoff = Backoff::default();
            }
            (self.mirror, self.retry_at) = (news, Some(Instant::now()));
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
    fn current_over(&mut self, over: &ConnectionEnd) {
        let Some(old) = self.current.take() else { return };
        let id = old.id;
        let (place, old_stream) = (self.place(&old.stream), old.stream.clone());
        self.close(old);
        // Another is on its way already, so it takes over as it is; unless it is the one that says nothing.
        let helps = |s: &mut SecondConnection| {
            s.purpose != Purpose::Late || s.connection.live().last_media.is_some_and(|last| last > s.since)
        };
        let second = self.second.take_if(helps);
        let follows = if second.is_some() { "another connection goes on" } else { "connecting again" };
        self.note(id, over.reason, over.detail.as_deref(), follows);
        if let Some(second) = second {
            // What cut this one may have cut the next one too, whose own media is too short to count.
            if let Some(place) = place.filter(|_| over.reason != EndReason::DiskFull) {
                let media = over.good.map(|good| i64::try_from(good.as_millis()).unwrap_or(i64::MAX));
                let _ = self.backoff.ended(place, self.order.streams.len(), media, 0.0);
            }
            return self.promote(second.connection);
        }
        self.leave_at = None;
        let mut delay = Duration::ZERO;
        match place {
            // No fault of the stream.
            Some(place) if over.reason == EndReason::DiskFull => self.mirror = place,
            Some(place) => {
                let media = over.good.map(|good| i64::try_from(good.as_millis()).unwrap_or(i64::MAX));
                let retry = self.backoff.ended(place, self.order.streams.len(), media, fastrand::f64());
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

    /// Keeps and says what went wrong, and what `follows` from it.
    fn note(&mut self, connection: Uuid, reason: EndReason, detail: Option<&str>, follows: &str) {
        if !reason.is_wanted() {
            let now = self.deps.clock.now();
            lock(&self.status).last_trouble = Some((now, reason, detail.map(str::to_owned)));
            let hall = self.order.hall_name.as_str();
            if let Some(line) = self.status_log.trouble(hall, reason, detail, follows) {
                tracing::warn!(hall, %connection, %reason, "{line}");
            }
        }
    }

    /// Stops a connection and lets it finish in the background.
    fn end(&mut self, mut connection: Connection, reason: EndReason) {
        connection.stop(reason);
        self.forget(&connection);
        let ending = self.ending.clone();
        ending.fetch_add(1, Ordering::Relaxed);
        self.closing.spawn(async move {
            connection.over().await;
            ending.fetch_sub(1, Ordering::Relaxed);
            closed(connection).await;
        });
    }

    /// Lets a connection that has ended finish in the background.
    fn close(&mut self, connection: Connection) {
        self.forget(&connection);
        self.closing.spawn(closed(connection));
    }

    /// Keeps what is to be known of a connection after its end.
    fn forget(&mut self, connection: &Connection) {
        let live = connection.live();
        self.bytes_before += live.bytes;
        self.arrival_history.insert(connection.stream.url.clone(), live.arrivals);
    }

    async fn finish(mut self, reason: EndReason) {
        let deadline = Instant::now() + STOP_TIMEOUT;
        self.publish(Some(TapeState::Stopping));
        if reason == EndReason::Shutdown {
            self.store.hurry.cancel();
        }
        let mut open: Vec<Connection> = self.current.take().into_iter().collect();
        open.extend(self.second.take().map(|s| s.connection));
        for connection in open {
            self.end(connection, reason);
        }
        while let Ok(Some(_)) = timeout_at(deadline, self.closing.join_next()).await {}
        if !self.closing.is_empty() {
            let hall = self.order.hall_name.as_str();
            if self.store.full.load(Ordering::Relaxed) && reason != EndReason::Shutdown {
                tracing::warn!(hall, "{hall}: the disk is full; unwritten data is kept in memory for up to 5 minutes");
            } else {
                tracing::error!(hall, "{hall}: a file could not be closed in time; it will be recovered");
            }
        }
        self.publish(Some(TapeState::Ended));
    }

    fn publish(&mut self, state: Option<TapeState>) {
        let now = Instant::now();
        let live = self.current.as_ref().map(|c| (c.id, c.live()));
        if let Some((id, live)) = live {
            self.samples.retain(|(of, at, _)| *of == id && now.duration_since(*at) <= RATE_WINDOW);
            self.samples.push_back((id, now, live.bytes));
            if let Some(current) = self.current.as_ref().filter(|_| live.good() > Duration::ZERO)
                && let Some(line) = self.status_log.recording(&self.order.hall_name, id, &current.stream.url)
            {
                tracing::info!(hall = self.order.hall_name.as_str(), connection = %id, "{line}");
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
        let second = self.second.as_ref().map_or(0, |s| s.connection.live().bytes);
        let mut status = lock(&self.status);
        status.state = state;
        status.stream = self.current.as_ref().map(|c| c.stream.url.clone());
        status.bytes = self.bytes_before + live.map_or(0, |(_, live)| live.bytes) + second;
        status.bytes_per_second = rate;
        status.connections = self.connections;
        status.last_media = live.and_then(|(_, live)| live.last_media).or(status.last_media);
        status.disk_full = self.store.full.load(Ordering::Relaxed);
        status.handover = self.second.as_ref().is_some_and(|s| s.purpose == Purpose::Handover);
    }
}

/// Waits until a connection's file is closed and the catalog was told.
async fn closed(connection: Connection) {
    if let Err(e) = connection.into_task().await {
        tracing::error!("a connection failed: {e}");
    }
}

fn source_of(order: &TapeOrder, stream: &Stream) -> Recorder {
    order.recorder.for_url(&stream.url)
}

/// The end of a connection, or never.
async fn over(connection: Option<&mut Connection>) -> ConnectionEnd {
    match connection {
        Some(connection) => connection.over().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
