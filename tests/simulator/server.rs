//! The stream servers of the simulation: one a hall, which remember what they gave to whom.
//!
//! A stream is a row of frames on a grid of time: frame `k` is sent at `k * period` of simulated time to all
//! who are connected, so that two connections get the same frames, as from a real live stream.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use streamrip::app::support::clock::{Clock, TestClock};
use streamrip::domain::segment::EndReason;
use streamrip::domain::stream_url::StreamUrl;
use streamrip::domain::time::Ms;
use streamrip::source::{Running, Source, SourceEnd};
use tokio::io::AsyncWriteExt;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::script::Fault;

/// Bytes of one packet; one real one a frame.
pub const PACKET: usize = 188;

/// How many packets without content come first: enough for the container to be recognised.
const PREFACE: u32 = 12;

/// Frames that come again after a reconnect.
const REPEATED: i64 = 10;

/// One life of a connection, as its server saw it.
#[derive(Clone, Debug, Default)]
pub struct Life {
    pub hall: usize,
    /// Simulated time of its opening, milliseconds, and of its end.
    pub opened: i64,
    pub ended: Option<i64>,
    /// Everything that was put into the pipe.
    pub given: Vec<u8>,
    /// Of which so much, by when: simulated time.
    pub progress: Vec<(i64, usize)>,
    /// Whole frames on the recorded stream: number, and the wall time that belongs to it.
    pub frames: Vec<(i64, Ms)>,
    /// The tape would not take what was left.
    pub cut_off: bool,
    /// The daemon was killed.
    pub killed: bool,
}

/// What the servers know.
#[derive(Debug, Default)]
pub struct Servers {
    lives: Vec<Life>,
    /// Of each hall: the numbers of those that are open, and when the last one ended that did.
    open: Vec<BTreeSet<usize>>,
    ended: Vec<Option<i64>>,
    /// Of each hall: how often it ended what flowed, and what it does now.
    faults: Vec<(u64, Option<Fault>)>,
    /// Wall time less simulated time, and since when.
    offsets: Vec<(i64, i64)>,
}

/// The servers, the same through all lives of the daemon.
#[derive(Clone, Debug)]
pub struct World {
    servers: Arc<Mutex<Servers>>,
    changed: watch::Sender<u64>,
    pub period_ms: i64,
    /// Where everything that is given is told as well.
    told: Option<std::path::PathBuf>,
}

impl World {
    pub fn new(halls: usize, period_ms: i64) -> Self {
        let servers = Servers {
            open: vec![BTreeSet::new(); halls],
            ended: vec![None; halls],
            faults: vec![(0, None); halls],
            ..Servers::default()
        };
        Self {
            servers: Arc::new(Mutex::new(servers)),
            changed: watch::Sender::new(0),
            period_ms,
            told: crate::cuts::given_to(),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().expect("lock")
    }

    /// A hall's server behaves so from now on.
    pub fn set(&self, hall: usize, fault: Option<Fault>) {
        {
            let entry = &mut self.lock().faults[hall];
            let ends = !matches!(fault, None | Some(Fault::Dns | Fault::Silence | Fault::Trickle));
            *entry = (entry.0 + u64::from(ends), fault.filter(|f| *f != Fault::Eof));
        }
        self.changed.send_modify(|n| *n += 1);
    }

    /// What a hall's server does.
    pub fn fault(&self, hall: usize) -> (u64, Option<Fault>) {
        self.lock().faults[hall]
    }

    /// The wall clock differs by so much from simulated time from now on.
    pub fn clock_is(&self, mono: i64, offset: i64) {
        self.lock().offsets.push((mono, offset));
    }

    /// All connections are gone: the daemon was killed.
    pub fn all_dead(&self, mono: i64) {
        let mut servers = self.lock();
        let open: Vec<usize> = servers.open.iter().flatten().copied().collect();
        for life in open {
            servers.end(life, mono).killed = true;
        }
    }
}

impl Servers {
    pub fn lives(&self) -> &[Life] {
        &self.lives
    }

    pub fn open(&self, hall: usize) -> usize {
        self.open[hall].len()
    }

    fn begin(&mut self, hall: usize, opened: i64) -> usize {
        self.lives.push(Life { hall, opened, ..Life::default() });
        self.open[hall].insert(self.lives.len() - 1);
        self.lives.len() - 1
    }

    fn end(&mut self, life: usize, now: i64) -> &mut Life {
        let hall = self.lives[life].hall;
        self.open[hall].remove(&life);
        self.ended[hall] = self.ended[hall].max(Some(now));
        self.lives[life].ended = Some(now);
        &mut self.lives[life]
    }

    /// When this hall was last connected to, or being connected to; `now` while it is.
    pub fn last_contact(&self, hall: usize, now: i64) -> Option<i64> {
        if self.open(hall) > 0 { Some(now) } else { self.ended[hall] }
    }
}

/// The way to the servers of one life of the daemon.
#[derive(Debug)]
pub struct Streams {
    pub world: World,
    pub clock: TestClock,
    /// Simulated time at the start of this runtime.
    pub base: i64,
    pub began: Instant,
}

/// One connection, on the server's side.
struct Serving {
    world: World,
    clock: TestClock,
    base: i64,
    began: Instant,
    hall: usize,
    life: usize,
    pipe: tokio::io::DuplexStream,
    /// Number of the next packet.
    seq: u32,
    /// What of a packet is still to be sent, and the frame that it completes.
    carry: (Vec<u8>, Option<i64>),
}

impl Source for Streams {
    fn name(&self) -> &'static str {
        "mplayer"
    }

    fn open(&self, url: &StreamUrl, _label: &str) -> Result<Running, SourceEnd> {
        let hall: usize = url.path().split('/').nth(1).and_then(|n| n.parse().ok()).expect("a hall's number");
        let (ours, pipe) = tokio::io::duplex(1 << 20);
        let (stop, kill, (tell, ended)) = (CancellationToken::new(), CancellationToken::new(), oneshot::channel());
        let mut serving = Serving {
            world: self.world.clone(),
            clock: self.clock.clone(),
            base: self.base,
            began: self.began,
            hall,
            life: 0,
            pipe,
            seq: 0,
            carry: (Vec::new(), None),
        };
        let opened = serving.mono();
        serving.life = self.world.lock().begin(hall, opened);
        let (stopped, killed) = (stop.clone(), kill.clone());
        tokio::spawn(async move {
            let said = tokio::select! {
                biased;
                () = killed.cancelled() => None,
                () = stopped.cancelled() => Some(SourceEnd::default()),
                said = serving.serve() => Some(said),
            };
            let now = serving.mono();
            // Who kills at once does not want the rest.
            serving.world.lock().end(serving.life, now).cut_off = said.is_none();
            if said.is_some() {
                serving.tell(now, serving.clock.now(), &[]);
            }
            drop(serving.pipe);
            let _ = tell.send(said.unwrap_or_default());
        });
        Ok(Running { bytes: Box::pin(ours), stop, kill, ended, over: CancellationToken::new(), process: None })
    }
}

impl Serving {
    fn mono(&self) -> i64 {
        self.base + i64::try_from(self.began.elapsed().as_millis()).expect("fits")
    }

    fn at(&self, mono: i64) -> Instant {
        self.began + Duration::from_millis(u64::try_from(mono - self.base).unwrap_or_default())
    }

    /// Serves until the server has enough.
    async fn serve(&mut self) -> SourceEnd {
        let (cuts, fault) = self.world.fault(self.hall);
        // The network takes its time.
        tokio::time::sleep(Duration::from_millis(40)).await;
        let failed = |reason| SourceEnd { reason: Some(reason), detail: Some("simulated".to_owned()) };
        let mut changes = self.world.changed.subscribe();
        match fault {
            Some(Fault::Refused) => return failed(EndReason::Refused),
            Some(Fault::Dns) => return failed(EndReason::Dns),
            Some(Fault::Http(status)) => return failed(EndReason::Http(status)),
            Some(Fault::Html) => {
                let page = format!("<!DOCTYPE html><html><body>life {} </body></html>", self.life);
                self.give(page.as_bytes(), None).await;
                return SourceEnd::default();
            }
            _ => {}
        }
        let period = self.world.period_ms;
        let mut frame = self.mono() / period;
        let mut waits_for_preface = true;
        if fault == Some(Fault::Repeat) {
            frame -= REPEATED;
        }
        loop {
            let (cuts_now, doing) = self.world.fault(self.hall);
            if cuts_now != cuts {
                return SourceEnd::default();
            }
            match doing {
                Some(Fault::Silence) => {
                    let _ = changes.changed().await;
                    frame = frame.max(self.mono() / period);
                    continue;
                }
                Some(Fault::Trickle) => {
                    tokio::select! {
                        _ = changes.changed() => {}
                        () = tokio::time::sleep(Duration::from_secs(1)) => {
                            if self.carry.0.is_empty() {
                                frame = frame.max(self.mono() / period);
                                self.carry = (self.packet(frame, fault), Some(frame));
                                frame += 1;
                            }
                            let byte = self.carry.0.remove(0);
                            let whole = if self.carry.0.is_empty() { self.carry.1.take() } else { None };
                            self.give(&[byte], whole).await;
                            waits_for_preface = false;
                        }
                    }
                    continue;
                }
                _ => {}
            }
            if !self.carry.0.is_empty() {
                let (rest, whole) = std::mem::take(&mut self.carry);
                self.give(&rest, whole).await;
            }
            if std::mem::take(&mut waits_for_preface) {
                let mut preface = Vec::new();
                for _ in 0..PREFACE {
                    preface.extend(self.packet(-1, fault));
                }
                self.give(&preface, None).await;
            }
            let due = self.at(frame * period);
            if due > Instant::now() {
                tokio::select! {
                    _ = changes.changed() => {}
                    () = tokio::time::sleep_until(due) => {}
                }
                continue;
            }
            let packet = self.packet(frame, fault);
            if !self.give(&packet, Some(frame)).await {
                // The tape has gone.
                return SourceEnd::default();
            }
            frame += 1;
        }
    }

    /// A transport stream packet that says which life, which packet of it, and which frame of the stream.
    fn packet(&mut self, frame: i64, fault: Option<Fault>) -> Vec<u8> {
        let mut packet = vec![0xee_u8; PACKET];
        packet[..4].copy_from_slice(&[0x47, 0x40, 0x11, 0x10]);
        if fault == Some(Fault::OtherContainer) {
            packet[..4].copy_from_slice(b"fLaC");
        }
        packet[4..8].copy_from_slice(&u32::try_from(self.life).expect("fits").to_be_bytes());
        packet[8..12].copy_from_slice(&self.seq.to_be_bytes());
        packet[12..20].copy_from_slice(&frame.to_be_bytes());
        packet[20] = u8::try_from(self.hall).expect("fits");
        self.seq += 1;
        packet
    }

    /// Tells who wants to know; no bytes: it ended, and was not killed.
    fn tell(&self, mono: i64, wall: Ms, bytes: &[u8]) {
        let Some(folder) = &self.world.told else { return };
        let record = [&mono.to_be_bytes()[..], &wall.0.to_be_bytes(), bytes].concat();
        let path = folder.join(self.life.to_string());
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a file");
        std::io::Write::write_all(&mut file, &record).expect("written");
    }

    /// Puts bytes into the pipe, and remembers it; `whole`: they complete this frame.
    async fn give(&mut self, bytes: &[u8], whole: Option<i64>) -> bool {
        if self.pipe.write_all(bytes).await.is_err() {
            return false;
        }
        let mono = self.mono();
        let wall = self.clock.now();
        self.tell(mono, wall, bytes);
        let mut servers = self.world.lock();
        let Servers { lives, offsets, .. } = &mut *servers;
        let life = &mut lives[self.life];
        life.given.extend_from_slice(bytes);
        life.progress.push((mono, life.given.len()));
        if let Some(frame) = whole.filter(|f| *f >= 0) {
            // By the clock of its own time, or of the connection's begin where it comes again: a frame that
            // is late does not belong to the hour to which the clock was set meanwhile.
            let due = frame * self.world.period_ms;
            let known = offsets.iter().rfind(|(since, _)| *since <= due.max(life.opened));
            life.frames.push((frame, Ms(due + known.map_or(wall.0 - mono, |(_, offset)| *offset))));
        }
        true
    }
}
