//! The state of a daemon, and the one operation on it: `reconcile`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex as SyncMutex};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::support::env::Env;
use crate::catalog::schedule::{Snapshot, TalkFilter, schedule_version, snapshot};
use crate::domain::event::Event;
use crate::domain::hall::{Hall, Recorder};
use crate::domain::ids::{EventId, HallId, TalkId};
use crate::domain::interval::Interval;
use crate::domain::segment::EndReason;
use crate::domain::talk::Talk;
use crate::domain::time::{HOUR, Ms};
use crate::plan::reconcile::{RunningTape, Step, reconcile};
use crate::plan::wanted::{Wanted, forbidden_slots, reach_back, wanted};
use crate::tape::events::TapeEvent;
use crate::tape::{Lanes, TapeDeps, TapeOrder, TapeStatus};

/// A boundary nearer than this gets a timer of its own, for ticks come late by up to half a second.
const LOOK_AHEAD_MS: i64 = 2000;

/// A timer sleeps no longer than this before it reads the wall clock again, which may have been stepped.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The plan is computed anew this often even where nothing changed, so that past talks leave it.
const REPLAN_INTERVAL: Duration = Duration::from_secs(60);

/// Talks that ended so long ago are not read: no padding is longer.
const KEEP_PAST_MS: i64 = 24 * HOUR;

/// A tape that runs, and what it was told.
#[derive(Debug)]
struct Taping {
    handle: Lanes,
    order: TapeOrder,
    redundancy: u32,
    talks: Vec<TalkId>,
}

#[derive(Debug, Default)]
struct State {
    schedule: Arc<Snapshot>,
    wanted: Wanted,
    planned_at: Option<Instant>,
    tapes: BTreeMap<HallId, Taping>,
    timers: BTreeSet<Ms>,
    stopping: bool,
    read_failed: bool,
}

/// What a tape is doing, for people.
#[derive(Clone, Debug)]
pub struct TapeView {
    /// Hall that is recorded.
    pub hall: Hall,
    /// Of which event.
    pub event: Option<Event>,
    /// End of the recording (wall clock).
    pub until: Ms,
    /// Talks that are recorded.
    pub talks: Vec<TalkId>,
    /// What it says of itself.
    pub status: TapeStatus,
    /// What each of its lanes says, where several mirrors are taped at the same time; else empty.
    pub lanes: Vec<TapeStatus>,
}

/// A daemon without its clockwork: tests drive [`Core::reconcile`] themselves.
#[derive(Debug)]
pub struct Core {
    env: Env,
    reader: Arc<SyncMutex<Connection>>,
    deps: TapeDeps,
    scope: Option<EventId>,
    state: Mutex<State>,
    reconciled: watch::Sender<Instant>,
    /// Ends the timers that wait for a start.
    timers_stop: CancellationToken,
}

impl Core {
    /// A daemon that reads its schedule from `reader`; `scope` limits it to one event.
    #[must_use]
    pub fn new(env: Env, reader: Connection, deps: TapeDeps, scope: Option<EventId>) -> Arc<Self> {
        Arc::new(Self {
            env,
            reader: Arc::new(SyncMutex::new(reader)),
            deps,
            scope,
            state: Mutex::default(),
            reconciled: watch::Sender::new(Instant::now()),
            timers_stop: CancellationToken::new(),
        })
    }

    /// What it reads its schedule with.
    pub(super) fn reader(&self) -> Arc<SyncMutex<Connection>> {
        Arc::clone(&self.reader)
    }

    /// When the last reconciliation was finished, on the monotonic clock.
    #[must_use]
    pub fn last_reconciled(&self) -> Instant {
        *self.reconciled.borrow()
    }

    /// Receiver of the instant of each reconciliation, for observers that must not keep the daemon's core alive.
    #[must_use]
    pub fn reconciliations(&self) -> watch::Receiver<Instant> {
        self.reconciled.subscribe()
    }

    /// Brings what runs in line with what is wanted. Idempotent; a call that finds another one at work
    /// returns at once.
    pub async fn reconcile(self: &Arc<Self>) {
        let Ok(state) = self.state.try_lock() else { return };
        self.reconcile_locked(state).await;
    }

    async fn reconcile_locked(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.stopping {
            return;
        }
        self.reread(&mut state).await;
        let now = self.env.clock.now();
        state.tapes.retain(|hall, taping| {
            let over = taping.handle.is_finished();
            if over && taping.handle.status().disk_full {
                // Nobody is left who could say that writing works again.
                drop(self.deps.sink.send(TapeEvent::DiskFull { hall: *hall, full: false, at: now }));
            }
            !over
        });
        let running = state
            .tapes
            .iter()
            .map(|(hall, t)| (*hall, RunningTape { until: t.order.until, boundaries: t.order.boundaries.clone() }))
            .collect();
        for step in reconcile(now, &state.wanted, &running) {
            tracing::debug!("{step}");
            self.act(&mut state, step);
        }
        self.follow_halls(&mut state);
        self.look_ahead(&mut state, now);
        self.reconciled.send_replace(Instant::now());
    }

    /// Reads the schedule again where it changed, and plans anew where that or the time asks for it.
    async fn reread(&self, state: &mut State) {
        let known = state.schedule.version;
        let first = state.planned_at.is_none();
        let reader = Arc::clone(&self.reader);
        let now = self.env.clock.now();
        let read = tokio::task::spawn_blocking(move || {
            let db = reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !first && schedule_version(&db)? == known {
                return Ok(None);
            }
            let within = Some(Interval::new(now.minus(KEEP_PAST_MS), Ms(i64::MAX)));
            snapshot(&db, TalkFilter { within, ..TalkFilter::default() }).map(Some)
        })
        .await;
        let changed = match read {
            Ok(Ok(fresh)) => {
                state.read_failed = false;
                fresh
            }
            // What is known stays in force: a catalog that cannot be read must not stop a tape.
            Ok(Err(e)) => {
                if !std::mem::replace(&mut state.read_failed, true) {
                    tracing::error!("cannot read the schedule, the previous plan stays in force: {e}");
                }
                None
            }
            Err(e) => {
                tracing::error!("reading the schedule failed: {e}");
                None
            }
        };
        let due = state.planned_at.is_none_or(|at| at.elapsed() >= REPLAN_INTERVAL);
        if let Some(fresh) = changed {
            let fresh = self.in_scope(fresh);
            if !first && plans_alike(&state.schedule, &fresh) {
                tracing::debug!("the schedule's version changed, and nothing of what is taped");
            } else if !first {
                tracing::info!("the schedule changed: recordings replanned");
            }
            state.schedule = Arc::new(fresh);
        } else if !due {
            return;
        }
        let s = &state.schedule;
        state.wanted = wanted(now, &s.events, &s.halls, &s.talks, &self.env.settings.record);
        state.planned_at = Some(Instant::now());
    }

    fn in_scope(&self, mut schedule: Snapshot) -> Snapshot {
        if let Some(scope) = self.scope {
            schedule.talks.retain(|t| t.event == scope);
            schedule.halls.retain(|h| h.event == scope);
        }
        schedule
    }

    fn act(&self, state: &mut State, step: Step) {
        match step {
            Step::Start(tape) => {
                let Some(order) = self.order(&state.schedule, tape.hall, tape.window, tape.boundaries) else {
                    return;
                };
                tracing::info!(
                    "{}: recording until {}",
                    order.hall_name,
                    clock_time(order.until, self.env.clock.now(), &order)
                );
                let redundancy = self.redundancy(&state.schedule, tape.hall);
                let handle = Lanes::start(order.clone(), redundancy, self.deps.clone());
                state.tapes.insert(tape.hall, Taping { handle, order, redundancy, talks: tape.talks });
            }
            Step::Retarget { hall, until, boundaries } => {
                let talks = state.wanted.tapes.iter().find(|t| t.hall == hall).map(|t| t.talks.clone());
                let Some(taping) = state.tapes.get_mut(&hall) else { return };
                if until != taping.order.until {
                    tracing::info!(
                        "{}: recording now until {}",
                        taping.order.hall_name,
                        clock_time(until, self.env.clock.now(), &taping.order)
                    );
                }
                taping.order.until = until;
                taping.order.boundaries = boundaries;
                taping.talks = talks.unwrap_or_else(|| taping.talks.clone());
                taping.handle.retarget(taping.order.clone(), taping.redundancy);
            }
            Step::Stop { hall, reason } => {
                let Some(taping) = state.tapes.get(&hall) else { return };
                let why = match reason {
                    EndReason::Unwanted => "no talk is to be recorded there any more".to_owned(),
                    other => other.to_string(),
                };
                tracing::info!("{}: recording stopped: {why}", taping.order.hall_name);
                taping.handle.stop(reason);
            }
        }
    }

    /// A changed list of streams, or another recorder, reaches tapes that run.
    fn follow_halls(&self, state: &mut State) {
        let schedule = Arc::clone(&state.schedule);
        for (hall, taping) in &mut state.tapes {
            let window = Interval::new(taping.order.from, taping.order.until);
            let Some(mut order) = self.order(&schedule, *hall, window, taping.order.boundaries.clone()) else {
                continue;
            };
            order.from = taping.order.from;
            // A hall that lost its streams keeps the ones that work.
            if order.streams.is_empty() {
                order.streams.clone_from(&taping.order.streams);
            }
            let redundancy = self.redundancy(&schedule, *hall);
            if order != taping.order || redundancy != taping.redundancy {
                tracing::info!("{}: its list of streams changed", order.hall_name);
                (taping.order, taping.redundancy) = (order, redundancy);
                taping.handle.retarget(taping.order.clone(), redundancy);
            }
        }
    }

    /// How many mirrors of a hall are to be taped at the same time.
    fn redundancy(&self, schedule: &Snapshot, hall: HallId) -> u32 {
        let hall = schedule.halls.iter().find(|h| h.id == hall);
        hall.and_then(|h| h.redundancy).unwrap_or(self.env.settings.record.redundancy)
    }

    fn order(&self, schedule: &Snapshot, hall: HallId, window: Interval, boundaries: Vec<Ms>) -> Option<TapeOrder> {
        let place = schedule.halls.iter().position(|h| h.id == hall)?;
        let hall = &schedule.halls[place];
        let event = schedule.events.iter().find(|e| e.id == hall.event)?;
        let record = &self.env.settings.record;
        let talks: Vec<Talk> = schedule.talks.iter().filter(|t| t.hall == hall.id).cloned().collect();
        // Halls take their turns; ten of them, then the first turn again.
        let turn = i64::try_from(place % 10).unwrap_or_default();
        Some(TapeOrder {
            hall: hall.id,
            hall_name: hall.name.clone(),
            event_slug: event.slug.clone(),
            hall_slug: hall.slug.clone(),
            zone: event.zone,
            streams: hall.streams.clone(),
            recorder: match hall.recorder.unwrap_or(record.recorder) {
                Recorder::Auto => record.recorder,
                chosen => chosen,
            },
            max_connections: hall.max_connections,
            quality: hall.quality.unwrap_or(record.quality),
            from: reach_back(window.start, &forbidden_slots(&talks)),
            until: window.end,
            boundaries,
            handover_lead_ms: HANDOVER_LEAD_MS + turn * record.handover_spread_ms,
        })
    }

    /// For an instant within the next two ticks at which something must change, a timer that reconciles on time.
    fn look_ahead(self: &Arc<Self>, state: &mut State, now: Ms) {
        let soon = now.plus(LOOK_AHEAD_MS);
        // Starts of tapes, and starts of slots in which none may run.
        let tapes = state.wanted.tapes.iter().map(|t| t.window.start);
        let forbidden = state.wanted.forbidden.values().flat_map(|slots| slots.iter().map(|slot| slot.start));
        let starts: Vec<Ms> = tapes.chain(forbidden).filter(|at| now < *at && *at <= soon).collect();
        for at in starts {
            if !state.timers.insert(at) {
                continue;
            }
            let (core, stop) = (Arc::clone(self), self.timers_stop.clone());
            let timer = async move {
                while let Some(left) = positive(at.since(core.env.clock.now())) {
                    tokio::time::sleep(left.min(POLL_INTERVAL)).await;
                }
                // Waits its turn, where a tick may be skipped: whoever holds the state does so for milliseconds.
                let mut state = core.state.lock().await;
                state.timers.remove(&at);
                core.reconcile_locked(state).await;
            };
            tokio::spawn(async move { stop.run_until_cancelled(timer).await });
        }
    }

    /// What each tape is doing.
    pub async fn tapes(&self) -> Vec<TapeView> {
        let state = self.state.lock().await;
        let view = |(hall, taping): (&HallId, &Taping)| {
            let hall = state.schedule.halls.iter().find(|h| h.id == *hall)?.clone();
            let event = state.schedule.events.iter().find(|e| e.id == hall.event).cloned();
            let (until, talks, status) = (taping.order.until, taping.talks.clone(), taping.handle.status());
            let lanes = taping.handle.lanes();
            let lanes = if lanes.len() > 1 { lanes } else { Vec::new() };
            Some(TapeView { hall, event, until, talks, status, lanes })
        };
        state.tapes.iter().filter(|(_, t)| !t.handle.is_finished()).filter_map(view).collect()
    }

    /// The schedule in force.
    pub async fn schedule(&self) -> Arc<Snapshot> {
        Arc::clone(&self.state.lock().await.schedule)
    }

    /// What the plan wants.
    pub async fn wanted(&self) -> Wanted {
        self.state.lock().await.wanted.clone()
    }

    /// Stops all tapes and waits until their files are closed and their rows written. No tape starts
    /// afterwards.
    pub async fn stop(&self, reason: EndReason) {
        self.timers_stop.cancel();
        let tapes = {
            let mut state = self.state.lock().await;
            state.stopping = true;
            std::mem::take(&mut state.tapes)
        };
        for taping in tapes.values() {
            taping.handle.stop(reason);
        }
        for (_, mut taping) in tapes {
            taping.handle.finished().await;
        }
    }
}

/// A handover begins so long before its window, so that the new connection has proven itself by then.
const HANDOVER_LEAD_MS: i64 = 3000;

/// True where two schedules say the same of what is to be taped: they may differ in whether a refresh failed.
fn plans_alike(a: &Snapshot, b: &Snapshot) -> bool {
    let events = |s: &Snapshot| -> Vec<Event> {
        s.events.iter().map(|e| Event { refresh_problem: None, ..e.clone() }).collect()
    };
    a.halls == b.halls && a.talks == b.talks && events(a) == events(b)
}

fn positive(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}

/// A time of day; with its day where that is not soon.
fn clock_time(at: Ms, now: Ms, order: &TapeOrder) -> impl std::fmt::Display + use<> {
    at.in_zone(order.zone).format(if at.since(now) < 20 * HOUR { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" })
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
