//! An HTTP server for streams that misbehaves on command.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use crate::fault::{Act, Answer, End};
use crate::live::Live;
use crate::{PATIENCE, serve, wait_until};

/// A stream server on a loopback port of its own, with its own runtime in its own thread. It ends on drop.
#[derive(Debug)]
pub struct FaultServer {
    runtime: Option<Runtime>,
    shared: Arc<Shared>,
}

/// One path of a server: the handle by which a test reads its log and makes it fail. Clones are the same path.
#[derive(Clone, Debug)]
pub struct Route {
    shared: Arc<Shared>,
    state: Arc<RouteState>,
}

/// One connection that reached a route, as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLog {
    /// 1 is the route's first. (mplayer may make several for one start.)
    pub number: u64,
    /// When the request was read, in ms since the epoch.
    pub opened_ms: i64,
    /// When it ended; `None`: open.
    pub closed_ms: Option<i64>,
    /// Who ended it and how: `None` while open or where the client left.
    pub cut: Option<End>,
    /// Bytes of the body that the kernel took.
    pub sent: u64,
    /// Where the body began in the live stream (0 for files).
    pub from: u64,
    /// How it was answered.
    pub answer: Answer,
    /// The client's name for itself.
    pub user_agent: String,
    /// The whole head of its request.
    pub request: String,
}

/// What happens to a connection beyond the allowed number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It gets 503.
    Busy,
    /// It is served and the oldest one is cut.
    DropOldest,
}

#[derive(Debug)]
pub(crate) struct Shared {
    address: SocketAddr,
    handle: Handle,
    routes: Mutex<HashMap<String, Arc<RouteState>>>,
    /// Whether somebody should listen, and whether somebody does.
    wanted: watch::Sender<bool>,
    listening: watch::Sender<bool>,
}

#[derive(Debug)]
pub(crate) enum Body {
    Live(Live),
    File { bytes: Vec<u8>, bytes_per_second: u64 },
}

#[derive(Debug)]
pub(crate) struct RouteState {
    pub(crate) path: String,
    pub(crate) kind: String,
    pub(crate) body: Body,
    pub(crate) control: watch::Sender<Control>,
    /// Connections with a smaller number are abandoned.
    pub(crate) abandoned_before: AtomicU64,
    pub(crate) rules: Mutex<Rules>,
    pub(crate) log: Mutex<Vec<ConnectionLog>>,
}

/// What open connections obey.
#[derive(Clone, Debug, Default)]
pub(crate) struct Control {
    pub(crate) silent: bool,
    /// Connections with a smaller number are silent.
    pub(crate) silent_before: u64,
    pub(crate) trickle: bool,
    /// Connections with a smaller number end like this.
    pub(crate) cut_before: u64,
    pub(crate) cut_end: End,
    /// Connections go on here, where they are not as far yet.
    pub(crate) skip_to: u64,
}

/// What a new connection is given. All of it is settled when it enters the log, so that a test that sees it
/// there knows where it stands.
pub(crate) struct Admission {
    pub(crate) number: u64,
    pub(crate) answer: Answer,
    /// Where the body begins.
    pub(crate) from: u64,
    /// Skips up to here were before its time.
    pub(crate) skipped_to: u64,
}

/// What new connections meet.
#[derive(Debug)]
pub(crate) struct Rules {
    always: Answer,
    next: VecDeque<Answer>,
    burst: Duration,
    reconnect_burst: Option<Duration>,
    allowed: Option<(usize, Excess)>,
}

impl FaultServer {
    /// Listens on a free loopback port.
    ///
    /// # Panics
    /// Where that is not to be had.
    #[must_use]
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("fault-server")
            .enable_all()
            .build()
            .expect("a runtime for the server");
        let handle = runtime.handle().clone();
        let guard = handle.enter();
        let spare = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = spare.local_addr().expect("a bound socket has an address");
        drop(guard);
        let shared = Arc::new(Shared {
            address,
            handle: handle.clone(),
            routes: Mutex::default(),
            wanted: watch::channel(true).0,
            listening: watch::channel(false).0,
        });
        handle.spawn(listen(shared.clone(), spare));
        shared.await_listening(true);
        Self { runtime: Some(runtime), shared }
    }

    /// Serves a live stream at `path` (which begins with `/`) with this Content-Type.
    pub fn live(&self, path: &str, kind: &str, live: &Live) -> Route {
        self.add(path, kind, Body::Live(live.clone()))
    }

    /// Serves bytes at `path`, to each client from their start, at a steady rate.
    pub fn file(&self, path: &str, kind: &str, bytes: Vec<u8>, bytes_per_second: u64) -> Route {
        self.add(path, kind, Body::File { bytes, bytes_per_second })
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    fn add(&self, path: &str, kind: &str, body: Body) -> Route {
        let rules = Rules {
            always: Answer::stream(),
            next: VecDeque::new(),
            burst: Duration::ZERO,
            reconnect_burst: None,
            allowed: None,
        };
        let state = Arc::new(RouteState {
            path: path.to_owned(),
            kind: kind.to_owned(),
            body,
            control: watch::channel(Control::default()).0,
            abandoned_before: AtomicU64::new(0),
            rules: Mutex::new(rules),
            log: Mutex::default(),
        });
        lock(&self.shared.routes).insert(path.to_owned(), state.clone());
        Route { shared: self.shared.clone(), state }
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waited for: a test may drop the server inside a runtime of its own.
            runtime.shutdown_background();
        }
    }
}

impl Route {
    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{}", self.shared.address, self.state.path)
    }

    /// New clients of a live stream get its last `burst` first, as from an Icecast.
    #[must_use]
    pub fn burst(self, burst: Duration) -> Self {
        lock(&self.state.rules).burst = burst;
        self
    }

    /// All clients but the first get the last `burst` first: the same seconds come again after a reconnect.
    #[must_use]
    pub fn repeat_on_reconnect(self, burst: Duration) -> Self {
        lock(&self.state.rules).reconnect_burst = Some(burst);
        self
    }

    /// At most so many connections at once.
    #[must_use]
    pub fn allow(self, connections: usize, excess: Excess) -> Self {
        lock(&self.state.rules).allowed = Some((connections, excess));
        self
    }

    /// Makes something happen now. After `Refuse` and `Accept` it has happened.
    pub fn act(&self, act: Act) {
        let listening = match act {
            Act::Refuse => Some(false),
            Act::Accept => Some(true),
            _ => None,
        };
        self.apply(act);
        if let Some(listening) = listening {
            self.shared.await_listening(listening);
        }
    }

    /// Makes things happen by themselves, each so long after now.
    pub fn script(&self, acts: impl IntoIterator<Item = (Duration, Act)>) {
        let began = tokio::time::Instant::now();
        for (after, act) in acts {
            let route = self.clone();
            self.shared.handle.spawn(async move {
                tokio::time::sleep_until(began + after).await;
                route.apply(act);
            });
        }
    }

    /// Every connection so far, in order.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionLog> {
        lock(&self.state.log).clone()
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        lock(&self.state.log).iter().filter(|c| c.closed_ms.is_none()).count()
    }

    fn apply(&self, act: Act) {
        let control = &self.state.control;
        match act {
            Act::Cut(end) => {
                let next = lock(&self.state.log).len() as u64 + 1;
                control.send_modify(|c| (c.cut_before, c.cut_end) = (next, end));
            }
            Act::Abandon => {
                let next = lock(&self.state.log).len() as u64 + 1;
                self.state.abandoned_before.store(next, Ordering::SeqCst);
                // Wakes them.
                control.send_modify(|_| ());
            }
            Act::Silence => control.send_modify(|c| c.silent = true),
            Act::SilenceOpen => {
                let next = lock(&self.state.log).len() as u64 + 1;
                control.send_modify(|c| c.silent_before = next);
            }
            Act::Trickle => control.send_modify(|c| c.trickle = true),
            Act::Resume => control.send_modify(|c| (c.silent, c.silent_before, c.trickle) = (false, 0, false)),
            Act::SkipAhead => {
                if let Body::Live(live) = &self.state.body {
                    control.send_modify(|c| c.skip_to = live.join_at(Duration::ZERO));
                }
            }
            Act::Always(answer) => lock(&self.state.rules).always = answer,
            Act::Next(answers) => lock(&self.state.rules).next = answers.into(),
            Act::Refuse => drop(self.shared.wanted.send_replace(false)),
            Act::Accept => drop(self.shared.wanted.send_replace(true)),
        }
    }
}

impl Shared {
    pub(crate) fn route(&self, path: &str) -> Option<Arc<RouteState>> {
        lock(&self.routes).get(path).cloned()
    }

    fn await_listening(&self, listening: bool) {
        wait_until("the server to listen or to stop", PATIENCE, || *self.listening.borrow() == listening);
    }
}

impl RouteState {
    /// Enters a new connection into the log.
    pub(crate) fn admit(&self, opened_ms: i64, user_agent: String, request: String) -> Admission {
        let mut log = lock(&self.log);
        let mut rules = lock(&self.rules);
        let number = log.len() as u64 + 1;
        let mut answer = rules.next.pop_front().unwrap_or_else(|| rules.always.clone());
        let mut open = log.iter().filter(|c| c.closed_ms.is_none());
        match rules.allowed {
            Some((allowed, excess)) if open.clone().count() >= allowed => match excess {
                Excess::Busy => answer = Answer::Status(503),
                Excess::DropOldest => {
                    let oldest = open.next().map_or(0, |c| c.number);
                    self.control.send_modify(|c| (c.cut_before, c.cut_end) = (oldest + 1, End::Fin));
                }
            },
            _ => {}
        }
        let burst = if number > 1 { rules.reconnect_burst.unwrap_or(rules.burst) } else { rules.burst };
        let from = match (&self.body, &answer) {
            (Body::Live(live), Answer::Stream(how)) => live.join_at(how.burst.unwrap_or(burst)),
            (Body::Live(live), Answer::Headed(_)) => live.join_at(burst),
            _ => 0,
        };
        log.push(ConnectionLog {
            number,
            opened_ms,
            closed_ms: None,
            cut: None,
            sent: 0,
            from,
            answer: answer.clone(),
            user_agent,
            request,
        });
        Admission { number, answer, from, skipped_to: self.control.borrow().skip_to }
    }

    /// Changes the log of one connection.
    pub(crate) fn note(&self, number: u64, change: impl FnOnce(&mut ConnectionLog)) {
        let mut log = lock(&self.log);
        if let Some(entry) = usize::try_from(number - 1).ok().and_then(|i| log.get_mut(i)) {
            change(entry);
        }
    }
}

/// A panic of one test thread must not hide behind a poisoned lock in another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("SO_REUSEADDR");
    socket.set_reuseport(true).expect("SO_REUSEPORT");
    socket.bind(address).expect("a loopback port");
    socket
}

/// Accepts connections while that is wanted. While it is not, a bound socket that does not listen keeps the
/// port, so that clients are refused and no other program gets it.
async fn listen(shared: Arc<Shared>, mut spare: TcpSocket) {
    let mut wanted = shared.wanted.subscribe();
    loop {
        if wanted.wait_for(|wanted| *wanted).await.is_err() {
            return;
        }
        let listener: TcpListener = spare.listen(128).expect("a bound socket listens");
        spare = bind(shared.address);
        shared.listening.send_replace(true);
        loop {
            tokio::select! {
                changed = wanted.wait_for(|wanted| !*wanted) => match changed {
                    Ok(_) => break,
                    Err(_) => return,
                },
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    tokio::spawn(serve::connection(shared.clone(), stream));
                },
            }
        }
        drop(listener);
        shared.listening.send_replace(false);
    }
}
