//! A congress in simulated time: one daemon after the other on one data directory, and what happens to them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use streamrip::app::daemon::catalog_sink::CatalogSink;
use streamrip::app::daemon::{Core, Heartbeat, Worker};
use streamrip::app::library::assemble::remove_half_made;
use streamrip::app::library::index::index_segment;
use streamrip::app::library::recover::{Recovery, recover};
use streamrip::app::schedule::import::{ImportRequest, import};
use streamrip::app::support::clock::{Clock, TestClock};
use streamrip::app::support::env::Env;
use streamrip::catalog::writer::Writer;
use streamrip::catalog::{daemon_runs, segments};
use streamrip::catalog::{open_reader, open_writer};
use streamrip::domain::segment::{EndReason, Verdict};
use streamrip::domain::settings::Settings;
use streamrip::domain::time::{MINUTE, Ms};
use streamrip::media::CancellationToken;
use streamrip::source::Sources;
use streamrip::tape::TapeDeps;
use streamrip::tape::events::{TapeEvent, TapeSink};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use crate::calendar::Calendar;
use crate::checks::{self, Watch};
use crate::disk::SimDisk;
use crate::engine::SimStudio;
use crate::plans;
use crate::script::{Act, Fault, Script};
use crate::server::{Streams, World};

/// Between two reconciliations.
const TICK_MS: i64 = 1000;

/// Between two rounds of the worker.
const WORK_EVERY: Duration = Duration::from_secs(15);

/// The day is given up when it lasts so long: clocks that are set back make it longer.
const TOO_LONG: i64 = 8 * 24 * 60 * MINUTE;

/// A congress.
pub struct Sim {
    _dir: Option<tempfile::TempDir>,
    inputs: PathBuf,
    pub env: Env,
    pub world: World,
    calendar: Calendar,
    script: Script,
    next_act: usize,
    /// What ends when, in simulated time.
    ends: Vec<(i64, End)>,
    /// Simulated time, milliseconds; follows no clock that is set.
    pub mono: i64,
    /// Wall time less simulated time.
    offset: i64,
    /// Reads and, as another program would, writes.
    pub db: Connection,
    locked: Option<Connection>,
    holds: Arc<AtomicBool>,
    full: Arc<AtomicBool>,
    /// When the disk was full, simulated time.
    pub full_times: Vec<(i64, i64)>,
    /// When the daemon was killed.
    pub deaths: Vec<i64>,
    pub watch: Watch,
    /// The wall clock was set back: an hour may stand for two.
    pub set_back: bool,
    /// What the worker complained of.
    pub worker_failed: Arc<Mutex<Vec<String>>>,
    /// Wall time at which it is over.
    until: Ms,
    report_every: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Fault(usize, Fault),
    Disk,
    Lock,
}

/// How one life of the daemon ended.
enum LifeEnd {
    Over,
    Down(i64),
}

/// Its parts, while it lives.
struct Daemon {
    core: Arc<Core>,
    writer: Writer,
    dead: Arc<AtomicBool>,
    run: i64,
    clock: TestClock,
    base: i64,
    began: Instant,
    heart: Heartbeat,
}

impl Sim {
    pub fn new(calendar: Calendar, script: Script, period_ms: i64, report_every: i64) -> Self {
        let memory = std::path::Path::new("/dev/shm");
        let mut builder = tempfile::Builder::new();
        let (dir, root) = match std::env::var_os(crate::cuts::ROOT) {
            Some(root) => (None, PathBuf::from(root)),
            None => {
                let dir = builder.prefix("streamrip-sim-").tempdir_in(memory).or_else(|_| tempfile::tempdir());
                let dir = dir.expect("a folder");
                let root = dir.path().to_owned();
                (Some(dir), root)
            }
        };
        let inputs = root.join("inputs");
        std::fs::create_dir(&inputs).expect("made");
        let extent = calendar.extent();
        let data_dir = root.join("data");
        let db = open_writer(&data_dir).expect("a catalog");
        let mut settings = Settings::default();
        // Ten frames or so are a fragment.
        settings.prune.min_segment_bytes = 4000;
        let start = extent.start.minus(MINUTE);
        // However small the disk of the simulation is.
        settings.disk.reserve_bytes = 0;
        let env = Env { data_dir, settings, clock: Arc::new(Fixed(start)), engine: Arc::new(SimStudio { period_ms }) };
        Self {
            _dir: dir,
            inputs,
            env,
            world: World::new(3, period_ms),
            calendar,
            script,
            next_act: 0,
            ends: Vec::new(),
            mono: 0,
            offset: start.0,
            db,
            locked: None,
            holds: Arc::new(AtomicBool::new(true)),
            full: Arc::default(),
            full_times: Vec::new(),
            deaths: Vec::new(),
            watch: Watch::new(3),
            set_back: false,
            worker_failed: Arc::default(),
            until: extent.end.plus(2 * MINUTE),
            report_every,
        }
    }

    /// Lives through it, and checks what must hold.
    pub fn run(mut self) {
        self.world.clock_is(self.mono, self.offset);
        loop {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .expect("a runtime");
            let (end, thread) = runtime.block_on(self.life());
            // Everything that ran is gone, as it stood.
            drop(runtime);
            self.world.all_dead(self.mono);
            self.end(End::Lock);
            thread.join().expect("the catalog's writer ended");
            match end {
                LifeEnd::Over => break,
                LifeEnd::Down(ms) => self.mono += ms,
            }
        }
        self.env.clock = Arc::new(Fixed(Ms(self.mono + self.offset)));
        self.recovered();
        self.index_all();
        checks::reports(&self);
        checks::bytes(&self);
        plans::plans(&self);
    }

    /// Looks at all segments that nobody has looked at.
    fn index_all(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (writer, thread) = Writer::start(open_writer(&self.env.data_dir).expect("a catalog")).expect("a thread");
        let reader = Arc::new(Mutex::new(open_reader(&self.env.data_dir).expect("a reader")));
        for id in segments::unfinished(&self.db, Verdict::Unchecked).expect("read") {
            runtime.block_on(index_segment(&self.env, &reader, &writer, id)).expect("indexed");
        }
        drop(writer);
        thread.join().expect("ended");
    }

    /// Recovers; a second recovery must find nothing to do.
    fn recovered(&mut self) {
        recover(&self.env, &mut self.db, &CancellationToken::new()).expect("recovered");
        checks::files(self, false);
        let again = recover(&self.env, &mut self.db, &CancellationToken::new()).expect("recovered");
        assert_eq!(again, Recovery::default(), "a second recovery found something to do");
    }

    async fn life(&mut self) -> (LifeEnd, JoinHandle<()>) {
        let clock = TestClock::starting_at(Ms(self.mono + self.offset));
        self.env.clock = Arc::new(clock.clone());
        if self.mono == 0 {
            self.import().await;
        }
        // What happened while no daemon ran.
        let mut now = self.mono;
        while let Some(act) = self.due(now) {
            if !matches!(act, Act::Kill(..) | Act::Restart(_) | Act::Lock(_)) {
                self.act(act, &clock).await;
            }
        }
        self.recovered();
        remove_half_made(&self.env.data_dir);
        let (mut daemon, thread) = self.start(clock);
        loop {
            while let Some(act) = self.due(now) {
                match act {
                    Act::Kill(lag, down) => {
                        daemon.dead.store(true, Ordering::SeqCst);
                        if lag > 0 {
                            (0..3).for_each(|hall| self.world.set(hall, Some(Fault::Eof)));
                        }
                        tokio::time::sleep(Duration::from_millis(lag.unsigned_abs())).await;
                        self.mono = daemon.mono();
                        self.deaths.push(self.mono);
                        return (LifeEnd::Down(down), thread);
                    }
                    Act::Restart(down) => {
                        self.end(End::Lock);
                        self.stop(&daemon).await;
                        return (LifeEnd::Down(down), thread);
                    }
                    act => {
                        self.act(act, &daemon.clock.clone()).await;
                    }
                }
            }
            daemon.core.reconcile().await;
            self.mono = daemon.mono();
            daemon.heart.beat();
            if self.mono - self.watch.reported >= self.report_every {
                self.settle(&daemon.writer);
            }
            let tapes = daemon.core.tapes().await;
            self.check(&tapes);
            let wall = daemon.clock.now();
            tracing::trace!("{} ms, {wall:?}, {} tapes", self.mono, tapes.len());
            if wall > self.until && tapes.is_empty() || self.mono > TOO_LONG {
                self.end(End::Lock);
                self.stop(&daemon).await;
                return (LifeEnd::Over, thread);
            }
            let next = self.next_tick(&daemon, wall, tapes.is_empty()).await;
            tokio::time::sleep_until(daemon.at(next)).await;
            now = daemon.mono();
            self.mono = now;
        }
    }

    /// A tick a second; at night, when nothing is to come for long, fewer.
    async fn next_tick(&self, daemon: &Daemon, wall: Ms, idle: bool) -> i64 {
        let tick = self.mono + TICK_MS;
        if !idle {
            return tick;
        }
        let start = daemon.core.wanted().await.next_start(wall).map_or(MINUTE, |at| at.since(wall));
        let act = self.script.acts.get(self.next_act).map_or(MINUTE, |(at, _)| at - self.mono);
        let quiet = [start - 10_000, act, 30_000].into_iter().min().unwrap_or_default();
        self.mono + quiet.max(TICK_MS)
    }

    fn start(&mut self, clock: TestClock) -> (Daemon, JoinHandle<()>) {
        let (base, began) = (self.mono, Instant::now());
        let run = daemon_runs::begin(&self.db, Uuid::now_v7(), None, clock.now()).expect("begun");
        let (writer, thread) = Writer::start(open_writer(&self.env.data_dir).expect("a catalog")).expect("a thread");
        let (tell, closed) = mpsc::unbounded_channel();
        let dead = Arc::new(AtomicBool::new(false));
        let sink = Sink {
            journal: CatalogSink::new(writer.clone(), Some(run), tell),
            writer: writer.clone(),
            dead: Arc::clone(&dead),
            holds: Arc::clone(&self.holds),
            unanswered: Mutex::default(),
        };
        let streams = Streams { world: self.world.clone(), clock: clock.clone(), base, began };
        let mut deps = TapeDeps::new(
            self.env.clock.clone(),
            Arc::new(sink),
            Sources::of(vec![Arc::new(streams)]),
            self.env.data_dir.clone(),
            self.env.settings.record.clone(),
        );
        deps.disk = Arc::new(SimDisk { full: Arc::clone(&self.full), clock: clock.clone() });
        let reader = open_reader(&self.env.data_dir).expect("a reader");
        let (mut worker, _) = Worker::new(self.env.clone(), reader, writer.clone(), None, closed);
        let troubles = Arc::clone(&self.worker_failed);
        tokio::spawn(async move {
            loop {
                // Its own loop looks each second, which is nothing but time here.
                tokio::time::sleep(WORK_EVERY).await;
                if let Err(e) = worker.round().await {
                    troubles.lock().expect("lock").push(e.to_string());
                }
            }
        });
        let core = Core::new(self.env.clone(), open_reader(&self.env.data_dir).expect("a reader"), deps, None);
        self.watch.begin(self.mono);
        let heart = Heartbeat::new(writer.clone(), run, self.env.clock.clone());
        (Daemon { core, writer, dead, run, clock, base, began, heart }, thread)
    }

    async fn stop(&mut self, daemon: &Daemon) {
        daemon.core.stop(EndReason::Shutdown).await;
        let (run, at) = (daemon.run, daemon.clock.now());
        daemon.writer.call(move |db| daemon_runs::end(db, run, at)).await.expect("written");
        self.mono = daemon.mono();
    }

    /// The next thing that is due at `now`.
    fn due(&mut self, now: i64) -> Option<Act> {
        while let Some(at) = self.ends.iter().position(|(at, _)| *at <= now) {
            let (_, end) = self.ends.remove(at);
            self.end(end);
        }
        let (at, act) = *self.script.acts.get(self.next_act)?;
        if at > now {
            return None;
        }
        self.next_act += 1;
        Some(act)
    }

    fn end(&mut self, end: End) {
        match end {
            End::Fault(hall, fault) if self.world.fault(hall).1 == Some(fault) => self.world.set(hall, None),
            End::Fault(..) => {}
            End::Disk => {
                self.full.store(false, Ordering::SeqCst);
                if let Some(last) = self.full_times.last_mut() {
                    last.1 = last.1.max(self.mono);
                }
            }
            End::Lock => {
                if let Some(lock) = self.locked.take() {
                    lock.execute_batch("ROLLBACK").expect("released");
                    self.holds.store(true, Ordering::SeqCst);
                }
            }
        }
    }

    async fn act(&mut self, act: Act, clock: &TestClock) {
        match act {
            Act::Fault(hall, fault, ms) => {
                self.world.set(hall, Some(fault));
                self.ends.push((self.mono + ms, End::Fault(hall, fault)));
            }
            Act::Step(ms) => self.step(clock, ms),
            Act::Suspend(ms) => {
                clock.sleep(ms);
                self.offset += ms;
                self.world.clock_is(self.mono, self.offset);
                self.watch.shaken(self.mono);
                (0..3).for_each(|hall| self.world.set(hall, Some(Fault::Eof)));
            }
            Act::Import(change) => {
                self.end(End::Lock);
                self.calendar.change(change);
                self.import().await;
            }
            Act::DiskFull(ms) => {
                self.full.store(true, Ordering::SeqCst);
                self.full_times.push((self.mono, self.mono + ms));
                self.ends.push((self.mono + ms, End::Disk));
            }
            Act::Lock(ms) if self.locked.is_none() => {
                let other = open_writer(&self.env.data_dir).expect("a catalog");
                other.execute_batch("BEGIN IMMEDIATE").expect("locked");
                self.locked = Some(other);
                self.holds.store(false, Ordering::SeqCst);
                self.ends.push((self.mono + ms, End::Lock));
            }
            Act::Lock(_) | Act::Kill(..) | Act::Restart(_) => {}
        }
    }

    fn step(&mut self, clock: &TestClock, ms: i64) {
        self.set_back |= ms < 0;
        clock.step(ms);
        self.offset += ms;
        self.world.clock_is(self.mono, self.offset);
        self.watch.shaken(self.mono);
    }

    /// Imports the calendar as it is by now.
    async fn import(&mut self) {
        let [source, halls, xml] = self.calendar.write(&self.inputs);
        let request = ImportRequest {
            source: source.to_string_lossy().into_owned(),
            halls: Some(halls),
            schedule_xml: Some(xml.to_string_lossy().into_owned()),
            force: true,
            ..ImportRequest::default()
        };
        import(&self.env, &mut self.db, &request).await.expect("imported");
        let again = import(&self.env, &mut self.db, &request).await.expect("imported");
        assert_eq!((again.added, again.changed, again.removed), (0, 0, 0), "the same import twice changed something");
        self.watch.shaken(self.mono);
        self.until = self.until.max(self.calendar.extent().end.plus(2 * MINUTE));
    }

    /// Waits, without simulated time passing, until the catalog has everything it was told.
    fn settle(&self, writer: &Writer) {
        if self.holds.load(Ordering::SeqCst) {
            wait(writer.send(|_| Ok(()))).expect("written");
        }
    }

    fn check(&mut self, tapes: &[streamrip::app::daemon::TapeView]) {
        checks::every_tick(self, tapes);
        if self.mono - self.watch.reported >= self.report_every && self.locked.is_none() {
            self.watch.reported = self.mono;
            checks::reports(self);
        }
    }
}

impl Daemon {
    fn mono(&self) -> i64 {
        self.base + i64::try_from(self.began.elapsed().as_millis()).expect("fits")
    }

    fn at(&self, mono: i64) -> Instant {
        self.began + Duration::from_millis(u64::try_from(mono - self.base).unwrap_or_default())
    }
}

/// Waits for what another thread does without giving this one back to tokio, whose time therefore stands.
fn wait<T>(what: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut what = std::pin::pin!(what);
    loop {
        match what.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(done) => return done,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

/// A clock that stands.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub Ms);

impl Clock for Fixed {
    fn now(&self) -> Ms {
        self.0
    }
}

/// The journal, whose writing takes no simulated time, until it is dead.
#[derive(Debug)]
struct Sink {
    journal: CatalogSink,
    writer: Writer,
    dead: Arc<AtomicBool>,
    holds: Arc<AtomicBool>,
    unanswered: Mutex<Vec<oneshot::Sender<()>>>,
}

impl TapeSink for Sink {
    fn send(&self, event: TapeEvent) -> oneshot::Receiver<()> {
        if self.dead.load(Ordering::SeqCst) {
            let (never, answer) = oneshot::channel();
            self.unanswered.lock().expect("lock").push(never);
            return answer;
        }
        let answer = self.journal.send(event);
        if self.holds.load(Ordering::SeqCst) {
            // The job was queued behind it: no simulated time passes until both are written.
            let _ = wait(self.writer.send(|_| Ok(())));
        }
        answer
    }
}
