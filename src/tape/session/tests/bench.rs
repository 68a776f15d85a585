//! Scripted sources, and a tape on them whose every byte is looked at.

use super::*;

/// 2010-12-27T11:00:00Z, noon in Berlin.
pub(super) const START: Ms = Ms(1_293_447_600_000);

/// One thing a scripted source does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Gives MPEG-TS, so many milliseconds long, 1880 bytes every 100 ms.
    Media(u64),
    /// Gives these bytes.
    Bytes(Vec<u8>),
    /// Gives nothing for so long.
    Silence(u64),
    /// Sends nothing for this time, milliseconds, and ignores the request to stop.
    Deaf(u64),
    /// Ends with this.
    End(SourceEnd),
    /// Cannot be started.
    Missing,
}

pub(super) const LONG: u64 = 100_000_000;

pub(super) fn eof() -> Step {
    End(SourceEnd::default())
}

pub(super) fn failed(reason: EndReason) -> Step {
    End(SourceEnd { reason: Some(reason), detail: Some("words".to_owned()) })
}

/// What one life of a scripted source gave.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) at: Instant,
    pub(super) bytes: Arc<Mutex<Vec<u8>>>,
}

#[derive(Debug, Default)]
pub(super) struct Fake {
    /// By last part of the address; the last script of a list is used again and again.
    pub(super) scripts: Mutex<HashMap<String, VecDeque<Vec<Step>>>>,
    pub(super) given: Mutex<Vec<Given>>,
    pub(super) open: Arc<AtomicU32>,
    pub(super) most_open: Arc<AtomicU32>,
}

pub(super) fn packets(life: u32, n: &mut u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..10 {
        let mut packet = [0xee_u8; 188];
        packet[..4].copy_from_slice(&[0x47, 0x40, 0x11, 0x10]);
        packet[4..8].copy_from_slice(&life.to_be_bytes());
        packet[8..12].copy_from_slice(&n.to_be_bytes());
        *n += 1;
        bytes.extend(packet);
    }
    bytes
}

impl Source for Fake {
    fn name(&self) -> &'static str {
        "mplayer"
    }

    fn open(&self, url: &StreamUrl, _label: &str) -> Result<Running, SourceEnd> {
        let name = url.path().trim_start_matches('/').to_owned();
        let script = {
            let mut scripts = self.scripts.lock().expect("lock");
            let scripts = scripts.get_mut(&name).expect("a script for it");
            if scripts.len() > 1 { scripts.pop_front() } else { scripts.front().cloned() }.expect("a script")
        };
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let life = {
            let mut given = self.given.lock().expect("lock");
            given.push(Given { at: Instant::now(), bytes: bytes.clone() });
            given.len() as u32
        };
        if matches!(script[0], Missing) {
            return Err(SourceEnd { reason: Some(EndReason::SourceMissing), detail: Some("apt".to_owned()) });
        }
        let (ours, mut theirs) = tokio::io::duplex(1 << 22);
        let (stop, kill, (tell, ended)) = (CancellationToken::new(), CancellationToken::new(), oneshot::channel());
        let stopped = stop.clone();
        let (open, most) = (self.open.clone(), self.most_open.clone());
        most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::spawn(async move {
            let mut n = 0;
            let mut give = async |what: Vec<u8>| {
                if theirs.write_all(&what).await.is_ok() {
                    bytes.lock().expect("lock").extend(what);
                }
            };
            let mut end = SourceEnd::default();
            for step in script {
                match step {
                    Media(ms) => {
                        for _ in 0..ms / 100 {
                            if stopped.is_cancelled() {
                                break;
                            }
                            give(packets(life, &mut n)).await;
                            tokio::select! {
                                () = tokio::time::sleep(Duration::from_millis(100)) => {}
                                () = stopped.cancelled() => {}
                            }
                        }
                    }
                    Bytes(what) => give(what).await,
                    Silence(ms) => tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(ms)) => {}
                        () = stopped.cancelled() => {}
                    },
                    Deaf(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                    End(said) => end = said,
                    Missing => {}
                }
                if stopped.is_cancelled() {
                    // What it still had in its buffer.
                    if n > 0 {
                        give(packets(life, &mut n)).await;
                    }
                    break;
                }
            }
            open.fetch_sub(1, Ordering::SeqCst);
            drop(theirs);
            let _ = tell.send(end);
        });
        Ok(Running { bytes: Box::pin(ours), stop, kill, ended, over: CancellationToken::new(), process: None })
    }
}

#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) events: Mutex<Vec<TapeEvent>>,
    /// Answers that are never given.
    pub(super) dead: Mutex<Option<Vec<oneshot::Sender<()>>>>,
}

impl TapeSink for Recorded {
    fn send(&self, event: TapeEvent) -> oneshot::Receiver<()> {
        self.events.lock().expect("lock").push(event);
        let (tell, answer) = oneshot::channel();
        match &mut *self.dead.lock().expect("lock") {
            Some(kept) => kept.push(tell),
            None => tell.send(()).expect("just made"),
        }
        answer
    }
}

pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) fake: Arc<Fake>,
    pub(super) sink: Arc<Recorded>,
    pub(super) clock: TestClock,
    pub(super) began: Instant,
}

impl Bench {
    pub(super) fn new(scripts: &[(&str, &[&[Step]])]) -> Self {
        let fake = Fake::default();
        for (url, lives) in scripts {
            fake.scripts
                .lock()
                .expect("lock")
                .insert((*url).to_owned(), lives.iter().map(|life| life.to_vec()).collect());
        }
        Self {
            dir: tempfile::tempdir().expect("dir"),
            fake: Arc::new(fake),
            sink: Arc::default(),
            clock: TestClock::starting_at(START),
            began: Instant::now(),
        }
    }

    pub(super) fn order(&self, urls: &[&str], seconds: i64) -> TapeOrder {
        TapeOrder {
            hall: HallId(1),
            hall_name: "Saal 1".to_owned(),
            event_slug: "27c3".to_owned(),
            hall_slug: "saal-1".to_owned(),
            zone: chrono_tz::Europe::Berlin,
            streams: urls
                .iter()
                .enumerate()
                .map(|(n, url)| Stream {
                    id: StreamId(n as i64 + 1),
                    url: StreamUrl::parse(&format!("http://h/{url}")).expect("valid"),
                })
                .collect(),
            recorder: Recorder::Auto,
            quality: Default::default(),
            from: START.minus(60_000),
            max_connections: 2,
            until: START.plus(seconds * 1000),
            boundaries: Vec::new(),
            handover_lead_ms: 3000,
        }
    }

    pub(super) fn deps(&self) -> TapeDeps {
        TapeDeps::new(
            Arc::new(self.clock.clone()),
            self.sink.clone(),
            Sources::of(vec![self.fake.clone()]),
            self.dir.path().to_owned(),
            Record::default(),
        )
    }

    pub(super) fn start(&self, order: TapeOrder) -> TapeHandle {
        start(order, self.deps())
    }

    pub(super) async fn at(&self, ms: u64) {
        tokio::time::sleep_until(self.began + Duration::from_millis(ms)).await;
    }

    pub(super) async fn run(&self, order: TapeOrder) {
        self.start(order).finished().await;
    }

    pub(super) fn events(&self) -> Vec<TapeEvent> {
        self.sink.events.lock().expect("lock").clone()
    }

    /// Per connection in order of opening: stream and end reason.
    pub(super) fn connections(&self) -> Vec<(i64, EndReason)> {
        let events = self.events();
        let opened = events.iter().filter_map(|e| match e {
            TapeEvent::ConnectionOpened { connection, stream, .. } => Some((*connection, stream.0)),
            _ => None,
        });
        opened
            .map(|(id, stream)| {
                let reasons: Vec<_> = events
                    .iter()
                    .filter_map(|e| match e {
                        TapeEvent::ConnectionClosed { connection, reason, .. } if *connection == id => Some(*reason),
                        _ => None,
                    })
                    .collect();
                assert_eq!(reasons.len(), 1, "closed once: {reasons:?}");
                (stream, reasons[0])
            })
            .collect()
    }

    /// When each source was opened, in milliseconds from the start.
    pub(super) fn opened_ms(&self) -> Vec<u128> {
        self.fake.given.lock().expect("lock").iter().map(|g| (g.at - self.began).as_millis()).collect()
    }

    /// Segments in order of opening, each checked against its file: path, bytes, closing event.
    pub(super) fn segments(&self) -> Vec<(PathBuf, Vec<u8>, TapeEvent)> {
        let events = self.events();
        let opened = events.iter().filter_map(|e| match e {
            TapeEvent::SegmentOpened { segment, path, at, .. } => Some((*segment, path.clone(), *at)),
            _ => None,
        });
        opened
            .map(|(id, path, opened_at)| {
                let closed: Vec<_> = events
                    .iter()
                    .filter(|e| matches!(e, TapeEvent::SegmentClosed { segment, .. } if *segment == id))
                    .collect();
                assert_eq!(closed.len(), 1, "closed once");
                let content = std::fs::read(self.dir.path().join(&path)).unwrap_or_default();
                let TapeEvent::SegmentClosed { bytes, sha256, .. } = closed[0] else { unreachable!() };
                assert_eq!(*bytes, content.len() as u64);
                assert_eq!(*sha256, <[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(&content)));
                check_marks(&marks_of(&events, id), *bytes, opened_at);
                (path, content, closed[0].clone())
            })
            .collect()
    }

    /// Every byte that was given is in exactly one segment, in order.
    pub(super) fn assert_nothing_lost(&self) {
        let mut files: Vec<_> = self.segments().into_iter().map(|(_, content, _)| content).collect();
        files.sort();
        let given = self.fake.given.lock().expect("lock");
        let mut given: Vec<_> = given.iter().map(|g| g.bytes.lock().expect("lock").clone()).collect();
        given.retain(|bytes| !bytes.is_empty());
        given.sort();
        let sizes = |all: &[Vec<u8>]| all.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(&files), sizes(&given));
        assert!(files == given, "other bytes than were given");
    }
}

pub(super) fn marks_of(events: &[TapeEvent], id: Uuid) -> Vec<Mark> {
    events
        .iter()
        .filter_map(|e| match e {
            TapeEvent::Progress { segment, marks, .. } | TapeEvent::SegmentClosed { segment, marks, .. }
                if *segment == id =>
            {
                Some(marks.clone())
            }
            _ => None,
        })
        .flatten()
        .collect()
}

/// First and last byte, and about one a second between.
pub(super) fn check_marks(marks: &[Mark], bytes: u64, opened_at: Ms) {
    if bytes == 0 {
        return;
    }
    assert_eq!(marks.first().map(|m| m.at), Some(opened_at));
    assert_eq!(marks.last().map(|m| m.offset), Some(bytes));
    assert!(marks.windows(2).all(|w| w[0].at <= w[1].at && w[0].offset < w[1].offset), "{marks:?}");
    assert!(marks.len() as i64 <= marks[marks.len() - 1].at.since(opened_at) / 1000 + 2, "{marks:?}");
}

pub(super) fn word(event: &TapeEvent) -> &'static str {
    match event {
        TapeEvent::ConnectionOpened { .. } => "opened",
        TapeEvent::FirstByte { .. } => "first",
        TapeEvent::SegmentOpened { .. } => "segment",
        TapeEvent::Progress { .. } => "progress",
        TapeEvent::SegmentClosed { .. } => "segment-closed",
        TapeEvent::ConnectionClosed { .. } => "closed",
        TapeEvent::FileDamaged { .. } => "file-damaged",
        TapeEvent::DiskFull { full: true, .. } => "full",
        TapeEvent::DiskFull { full: false, .. } => "free",
    }
}

pub(super) fn id_of(closed: &TapeEvent) -> Uuid {
    match closed {
        TapeEvent::SegmentClosed { segment, .. } => *segment,
        other => panic!("{other:?}"),
    }
}
