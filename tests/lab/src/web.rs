//! A small web server for HLS: files from memory or from a folder that an encoder writes, with ranges, and
//! with trouble where a test asks for it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::now_ms;

/// A server on a loopback port of its own. It ends on drop.
#[derive(Debug)]
pub struct WebServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// This status.
    Status(u16),
    /// The head and so many bytes of the body come, then the connection is closed.
    Cut(usize),
    /// All of the body comes, with no length, and the connection is closed without a word that this was all.
    Unended,
    /// Nothing comes, and the connection stays open.
    Silence,
    /// So many bytes a second.
    Slow(usize),
    /// 302 to this address.
    Redirect(String),
    /// Another body with status 200.
    Body(Vec<u8>),
}

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Without query.
    pub path: String,
    /// First byte of the range that was asked for.
    pub range_from: Option<u64>,
    /// Its Authorization.
    pub authorization: Option<String>,
    /// Status of the answer.
    pub status: u16,
    /// When it came, in ms since the epoch.
    pub at_ms: i64,
}

#[derive(Debug, Default)]
struct Shared {
    files: Mutex<HashMap<String, Vec<u8>>>,
    folder: Mutex<Option<PathBuf>>,
    /// What the path contains, how often it still happens, what.
    trouble: Mutex<Vec<(String, usize, Trouble)>>,
    requests: Mutex<Vec<Request>>,
    over: AtomicBool,
}

impl WebServer {
    /// Listens on a free loopback port.
    ///
    /// # Panics
    /// Where that is not to be had.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let served = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if served.over.load(Ordering::Relaxed) {
                    return;
                }
                let served = served.clone();
                std::thread::spawn(move || serve(&served, stream));
            }
        });
        Self { address, shared }
    }

    /// Address of a path (which begins with `/`).
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Serves these bytes at a path from now on.
    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        lock(&self.shared.files).insert(path.to_owned(), bytes.into());
    }

    /// What is served at a path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Vec<u8>> {
        self.shared.find(path)
    }

    /// Forgets a path.
    pub fn remove(&self, path: &str) {
        lock(&self.shared.files).remove(path);
    }

    /// Serves the files of a folder too.
    pub fn folder(&self, folder: impl Into<PathBuf>) {
        *lock(&self.shared.folder) = Some(folder.into());
    }

    /// The next `times` requests whose path contains `part` meet this.
    pub fn trouble(&self, part: &str, times: usize, trouble: Trouble) {
        lock(&self.shared.trouble).push((part.to_owned(), times, trouble));
    }

    /// All is well from now on.
    pub fn mend(&self) {
        lock(&self.shared.trouble).clear();
    }

    /// Every request so far whose path contains `part`, in order.
    #[must_use]
    pub fn requests(&self, part: &str) -> Vec<Request> {
        lock(&self.shared.requests).iter().filter(|r| r.path.contains(part)).cloned().collect()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn find(&self, path: &str) -> Option<Vec<u8>> {
        if let Some(bytes) = lock(&self.files).get(path) {
            return Some(bytes.clone());
        }
        let folder = lock(&self.folder).clone()?;
        let name = path.trim_start_matches('/');
        (!name.contains("..")).then(|| std::fs::read(folder.join(name)).ok()).flatten()
    }

    fn next_trouble(&self, path: &str) -> Option<Trouble> {
        let mut all = lock(&self.trouble);
        let (_, times, trouble) = all.iter_mut().find(|(part, times, _)| *times > 0 && path.contains(part.as_str()))?;
        *times -= 1;
        Some(trouble.clone())
    }
}

/// A panic of one test thread must not hide behind a poisoned lock in another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the requests of one connection, until one of the two has enough. An error of it is its end.
fn serve(shared: &Shared, mut stream: TcpStream) {
    while let Some(head) = read_head(&mut stream) {
        let mut lines = head.lines();
        let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("/");
        let path = target.split('?').next().unwrap_or("/").to_owned();
        let header = |name: &str| {
            let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
            fields.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
        };
        let range = header("range").and_then(|r| {
            let (from, to) = r.strip_prefix("bytes=")?.split_once('-')?;
            Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()))
        });
        let trouble = shared.next_trouble(&path);
        let (mut status, mut body) = match (&trouble, shared.find(&path)) {
            (Some(Trouble::Status(status)), _) => (*status, b"<html>trouble</html>".to_vec()),
            (Some(Trouble::Redirect(_)), _) => (302, Vec::new()),
            (Some(Trouble::Body(body)), _) => (200, body.clone()),
            (_, Some(body)) => (200, body),
            (_, None) => (404, b"<html>not here</html>".to_vec()),
        };
        if let (200, Some((from, to))) = (status, range) {
            let end = to.map_or(body.len(), |to| to.saturating_add(1).min(body.len()));
            if from < end {
                (status, body) = (206, body[from..end].to_vec());
            } else {
                (status, body) = (416, Vec::new());
            }
        }
        lock(&shared.requests).push(Request {
            path,
            range_from: range.map(|(from, _)| from as u64),
            authorization: header("authorization"),
            status,
            at_ms: now_ms(),
        });
        let location = match &trouble {
            Some(Trouble::Redirect(to)) => format!("Location: {to}\r\n"),
            _ => String::new(),
        };
        let answer = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n{location}\r\n", body.len());
        let sent = match trouble {
            Some(Trouble::Silence) => {
                std::thread::sleep(Duration::from_secs(60));
                return;
            }
            Some(Trouble::Cut(bytes)) => {
                let _ = stream.write_all(answer.as_bytes());
                let _ = stream.write_all(&body[..bytes.min(body.len())]);
                return;
            }
            Some(Trouble::Unended) => {
                let head =
                    format!("HTTP/1.1 {status} Status\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
                let _ = stream.write_all(&[head.as_bytes(), &body, b"\r\n"].concat());
                return;
            }
            Some(Trouble::Slow(rate)) => stream.write_all(answer.as_bytes()).and_then(|()| {
                body.chunks((rate / 20).max(1)).try_for_each(|piece| {
                    std::thread::sleep(Duration::from_millis(50));
                    stream.write_all(piece)
                })
            }),
            _ => stream.write_all(&[answer.as_bytes(), &body].concat()),
        };
        if sent.is_err() {
            return;
        }
    }
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if head.len() > 16 * 1024 || stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}
