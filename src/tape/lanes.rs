//! Several mirrors of a hall, taped at the same time: a lane each, under one handle.
//!
//! A lane is an ordinary tape that knows only some of the hall's mirrors. Which ones is decided anew while
//! they run ([`crate::plan::lanes`]): what one lane is connected to is not offered to the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::handle::{TapeDeps, TapeHandle, TapeOrder, TapeState, TapeStatus};
use super::session;
use crate::domain::segment::EndReason;
use crate::domain::time::{Ms, SECOND};
use crate::plan::lanes::{lanes, share_out};

/// Who is connected to what is looked at this often: as often as a tape says it.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The second lane hands over so much earlier than the first: one of them is always in the middle of a
/// connection that has proven itself. Milliseconds.
const LANE_LEAD_MS: i64 = 5 * SECOND;

/// Each lane has so many numbers for its files.
const LANE_NUMBERS: u32 = 5000;

/// The tapes of one hall. Dropping them stops them as a shutdown does.
#[derive(Debug)]
pub struct Lanes {
    shared: Arc<Mutex<Shared>>,
    deps: TapeDeps,
    watching: Option<AbortHandle>,
}

#[derive(Debug)]
struct Shared {
    order: TapeOrder,
    tapes: Vec<Lane>,
    /// Lanes that are not wanted any more and close their files.
    leaving: Vec<Lane>,
    stopped: Option<EndReason>,
}

/// One tape of them. Its place in the list changes when one before it leaves.
#[derive(Debug)]
struct Lane {
    tape: TapeHandle,
    /// Which numbers its files have: no other one has them.
    block: u32,
}

impl Lanes {
    /// Starts as many lanes as mirrors are wanted and there. With one it is a tape like any other.
    #[must_use]
    pub fn start(order: TapeOrder, redundancy: u32, deps: TapeDeps) -> Self {
        let shared = Shared { order, tapes: Vec::new(), leaving: Vec::new(), stopped: None };
        let mut all = Self { shared: Arc::new(Mutex::new(shared)), deps, watching: None };
        all.grow(redundancy);
        all
    }

    /// As [`TapeHandle::retarget`], for all lanes. One that is not wanted any more is left as at a handover, and it
    /// is never the one that flows while another does not; with more mirrors than before there may be more lanes.
    pub fn retarget(&mut self, order: TapeOrder, redundancy: u32) {
        let wanted = lanes(redundancy, order.streams.len());
        {
            let mut shared = self.lock();
            shared.order = order;
            while shared.tapes.len() > wanted {
                let lane = shared.least();
                let lane = shared.tapes.remove(lane);
                lane.tape.stop(EndReason::Handover);
                shared.leaving.push(lane);
            }
            shared.share();
        }
        self.grow(redundancy);
    }

    /// Starts lanes that are missing, and whoever watches over them.
    fn grow(&mut self, redundancy: u32) {
        let mut shared = self.lock();
        if shared.stopped.is_some() {
            return;
        }
        shared.leaving.retain(|lane| !lane.tape.is_finished());
        let wanted = lanes(redundancy, shared.order.streams.len());
        // The end may be put off when one lane has met it already and the other has not.
        let goes_on = shared.tapes.iter().any(|lane| !lane.tape.is_finished());
        for lane in 0..wanted {
            match shared.tapes.get(lane) {
                Some(known) if !(known.tape.is_finished() && goes_on) => continue,
                _ => {}
            }
            let mut using = shared.using();
            using.resize(wanted, None);
            let block = shared.free_block();
            let mut deps = self.deps.clone();
            deps.first_number = block * LANE_NUMBERS;
            let new = Lane { tape: session::start(of_lane(&shared.order, lane, &using), deps), block };
            match shared.tapes.get_mut(lane) {
                Some(place) => *place = new,
                None => shared.tapes.push(new),
            }
        }
        shared.share();
        let several = shared.tapes.len() > 1;
        drop(shared);
        if several && self.watching.is_none() {
            let shared = Arc::downgrade(&self.shared);
            let task = tokio::spawn(async move {
                loop {
                    tokio::time::sleep(POLL_INTERVAL).await;
                    let Some(shared) = shared.upgrade() else { return };
                    shared.lock().unwrap_or_else(PoisonError::into_inner).share();
                }
            });
            self.watching = Some(task.abort_handle());
        }
    }

    /// As [`TapeHandle::stop`].
    pub fn stop(&self, reason: EndReason) {
        let mut shared = self.lock();
        shared.stopped.get_or_insert(reason);
        shared.tapes.iter().for_each(|lane| lane.tape.stop(reason));
    }

    /// What all of them are doing, as one tape.
    #[must_use]
    pub fn status(&self) -> TapeStatus {
        together(&self.lanes())
    }

    /// What each of them is doing.
    #[must_use]
    pub fn lanes(&self) -> Vec<TapeStatus> {
        self.lock().tapes.iter().map(|lane| lane.tape.status()).collect()
    }

    /// True when all of them are over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let shared = self.lock();
        shared.tapes.iter().chain(&shared.leaving).all(|lane| lane.tape.is_finished())
    }

    /// Waits until all connections and files are closed; at most 6 s after they were told to stop.
    pub async fn finished(&mut self) {
        let (mut tapes, mut leaving) = {
            let mut shared = self.lock();
            (std::mem::take(&mut shared.tapes), std::mem::take(&mut shared.leaving))
        };
        for lane in tapes.iter_mut().chain(&mut leaving) {
            lane.tape.finished().await;
        }
        self.lock().tapes = tapes;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        if let Some(watching) = &self.watching {
            watching.abort();
        }
    }
}

impl Shared {
    /// Which mirror each lane is connected to, or asking for.
    fn using(&self) -> Vec<Option<usize>> {
        let place = |lane: &Lane| {
            let url = lane.tape.status().stream?;
            self.order.streams.iter().position(|s| s.url == url)
        };
        self.tapes.iter().map(place).collect()
    }

    /// Which lane is missed least: one that does not flow, else one whose mirror is not listed any more, else the
    /// last.
    fn least(&self) -> usize {
        let using = self.using();
        let worth = |lane: &usize| {
            let status = self.tapes[*lane].tape.status();
            let flows = status.state == TapeState::Taping;
            (flows, flows && status.bytes_per_second > 0.0, using[*lane].is_some(), std::cmp::Reverse(*lane))
        };
        (0..self.tapes.len()).min_by_key(worth).unwrap_or(0)
    }

    /// The first numbers that no lane's files have.
    fn free_block(&self) -> u32 {
        let taken: Vec<u32> = self.tapes.iter().chain(&self.leaving).map(|lane| lane.block).collect();
        (0..).find(|block| !taken.contains(block)).unwrap_or_default()
    }

    /// Tells each lane which mirrors it may use; one that knows takes no notice.
    fn share(&mut self) {
        let using = self.using();
        for (place, lane) in self.tapes.iter().enumerate() {
            lane.tape.retarget(of_lane(&self.order, place, &using));
        }
    }
}

/// The order of one lane.
fn of_lane(order: &TapeOrder, lane: usize, using: &[Option<usize>]) -> TapeOrder {
    let mut own = order.clone();
    if using.len() > 1
        && let Some(mirrors) = share_out(order.streams.len(), using).get(lane)
    {
        own.streams = mirrors.iter().filter_map(|m| order.streams.get(*m).cloned()).collect();
    }
    own.handover_lead_ms += i64::try_from(lane).unwrap_or_default() * LANE_LEAD_MS;
    own
}

/// One status of several: what flows adds up, and the best one says how the hall stands.
fn together(lanes: &[TapeStatus]) -> TapeStatus {
    let rank = |status: &&TapeStatus| match status.state {
        TapeState::Taping => 0,
        TapeState::Connecting => 1,
        TapeState::Waiting(_) => 2,
        TapeState::Stopping => 3,
        TapeState::NoStream => 4,
        TapeState::Ended => 5,
    };
    let mut all = lanes.iter().min_by_key(rank).cloned().unwrap_or_else(|| TapeStatus::new(Ms(0), TapeState::Ended));
    all.since = lanes.iter().map(|l| l.since).min().unwrap_or(all.since);
    all.bytes = lanes.iter().map(|l| l.bytes).sum();
    all.bytes_per_second = lanes.iter().map(|l| l.bytes_per_second).sum();
    all.connections = lanes.iter().map(|l| l.connections).sum();
    all.last_trouble = lanes.iter().filter_map(|l| l.last_trouble.clone()).max_by_key(|(at, ..)| *at);
    all.last_media = lanes.iter().filter_map(|l| l.last_media).max();
    all.disk_full = lanes.iter().any(|l| l.disk_full);
    all.handover = lanes.iter().any(|l| l.handover);
    all
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
