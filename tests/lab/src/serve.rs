//! One connection of the fault server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::fault::{Answer, End, Limit, Streaming};
use crate::now_ms;
use crate::server::{Admission, Body, Control, RouteState, Shared};

/// The most that is handed to the kernel at once.
const CHUNK: u64 = 16 * 1024;

/// Longest request that is read.
const MAX_REQUEST: usize = 16 * 1024;

/// Reads the request, answers it, and closes.
pub(crate) async fn connection(shared: Arc<Shared>, mut stream: TcpStream) {
    let Ok(Some(request)) = read_request(&mut stream).await else { return };
    let Some(route) = shared.route(&request.path) else {
        let _ = stream.write_all(&page(404)).await;
        return;
    };
    let Admission { number, answer, from, skipped_to } = route.admit(now_ms(), request.user_agent, request.head);
    let ended = {
        let (mut reader, mut writer) = stream.split();
        let mut talk =
            Conversation { route: &route, number, from, skipped_to, reader: &mut reader, writer: &mut writer };
        // An error of writing means that the client has left.
        talk.answer(answer).await.unwrap_or(None)
    };
    match ended {
        Some(End::Rst) => drop(stream.set_zero_linger()),
        Some(End::Fin) => drop(stream.shutdown().await),
        None => {}
    }
    drop(stream);
    route.note(number, |c| (c.closed_ms, c.cut) = (Some(now_ms()), ended));
}

struct Request {
    path: String,
    user_agent: String,
    head: String,
}

async fn read_request(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 || head.len() >= MAX_REQUEST {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("/");
    let path = target.split('?').next().unwrap_or("/").to_owned();
    let user_agent = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("user-agent"))
        .map_or_else(String::new, |(_, value)| value.trim().to_owned());
    Ok(Some(Request { path, user_agent, head }))
}

struct Conversation<'a, 's> {
    route: &'a RouteState,
    number: u64,
    from: u64,
    skipped_to: u64,
    reader: &'a mut ReadHalf<'s>,
    writer: &'a mut WriteHalf<'s>,
}

impl Conversation<'_, '_> {
    /// How the server ended it; `None` where the client left.
    async fn answer(&mut self, answer: Answer) -> io::Result<Option<End>> {
        match answer {
            Answer::HangUp(end) => return Ok(Some(end)),
            Answer::Silence => {}
            Answer::SilentBody => self.writer.write_all(&head(200, &self.route.kind)).await?,
            Answer::Status(status) => {
                self.writer.write_all(&page(status)).await?;
                return Ok(Some(End::Fin));
            }
            Answer::Body { kind, body } => {
                self.writer.write_all(&head(200, kind)).await?;
                self.writer.write_all(&body).await?;
                self.route.note(self.number, |c| c.sent = body.len() as u64);
                return Ok(Some(End::Fin));
            }
            Answer::Raw(bytes) => {
                self.writer.write_all(&bytes).await?;
                self.route.note(self.number, |c| c.sent = bytes.len() as u64);
                return Ok(Some(End::Fin));
            }
            Answer::Headed(head) => {
                self.writer.write_all(head.as_bytes()).await?;
                return self.stream(Streaming::default()).await;
            }
            Answer::Stream(how) if how.chunked => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
                    self.route.kind
                );
                self.writer.write_all(head.as_bytes()).await?;
                let ended = self.stream(how).await?;
                if ended == Some(End::Fin) && how.limit.is_some() {
                    self.writer.write_all(b"0\r\n\r\n").await?;
                }
                return Ok(ended);
            }
            Answer::Stream(how) => {
                self.writer.write_all(&head(200, &self.route.kind)).await?;
                return self.stream(how).await;
            }
        }
        self.wait_for_cut().await
    }

    /// Sends nothing until somebody ends it.
    async fn wait_for_cut(&mut self) -> io::Result<Option<End>> {
        let mut control = self.route.control.subscribe();
        tokio::select! {
            () = gone(self.reader) => Ok(None),
            cut = control.wait_for(|c| self.number < c.cut_before) => Ok(cut.ok().map(|c| c.cut_end)),
        }
    }

    async fn stream(&mut self, how: Streaming) -> io::Result<Option<End>> {
        let began = Instant::now();
        let (route, number) = (self.route, self.number);
        let mut at = Position::begin(&route.body, self.from, began);
        let mut control = route.control.subscribe();
        let mut sent = 0;
        loop {
            let Control { silent, silent_before, trickle, cut_before, cut_end, skip_to } =
                control.borrow_and_update().clone();
            let silent = silent || number < silent_before;
            if number < cut_before {
                return Ok(Some(cut_end));
            }
            if skip_to > self.skipped_to {
                self.skipped_to = skip_to;
                at.offset = at.offset.max(skip_to);
            }
            if number < self.route.abandoned_before.load(Ordering::SeqCst) {
                gone(self.reader).await;
                return Ok(None);
            }
            let (left, until, end) = match how.limit {
                Some((Limit::Bytes(bytes), end)) => (bytes - sent, None, end),
                Some((Limit::Time(time), end)) => (u64::MAX, Some(began + time), end),
                None => (u64::MAX, None, End::Fin),
            };
            if left == 0 {
                return Ok(Some(end));
            }
            let trickle = trickle || how.trickle;
            let not_before = began + how.first_byte_after;
            let send = async {
                sleep_until(not_before).await;
                if trickle {
                    sleep(Duration::from_secs(1)).await;
                }
                match at.next(if trickle { 1 } else { left.min(CHUNK) }).await {
                    Some(bytes) if how.chunked => {
                        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
                        self.writer.write_all(&chunk).await.map(|()| Some(bytes.len()))
                    }
                    // One write: where the select below drops it, nothing was sent.
                    Some(bytes) => self.writer.write(&bytes).await.map(Some),
                    None => Ok(None),
                }
            };
            tokio::select! {
                biased;
                changed = control.changed() => if changed.is_err() { return Ok(Some(End::Fin)) },
                () = gone(self.reader) => return Ok(None),
                () = at_time(until) => return Ok(Some(end)),
                written = send, if !silent => match written? {
                    Some(written) => {
                        let written = written as u64;
                        at.offset += written;
                        sent += written;
                        route.note(number, |c| c.sent = sent);
                    }
                    None => return Ok(Some(End::Fin)),
                },
            }
        }
    }
}

/// Where a client is in the body.
struct Position<'a> {
    body: &'a Body,
    offset: u64,
    began: Instant,
    length: Option<watch::Receiver<(u64, bool)>>,
}

impl<'a> Position<'a> {
    fn begin(body: &'a Body, offset: u64, began: Instant) -> Self {
        let length = match body {
            Body::Live(live) => Some(live.watch()),
            Body::File { .. } => None,
        };
        Self { body, offset, began, length }
    }

    /// The next bytes, at most `most`, as soon as there are any; `None` at the end.
    async fn next(&mut self, most: u64) -> Option<Vec<u8>> {
        match self.body {
            Body::Live(live) => {
                let offset = self.offset;
                let length = self.length.as_mut()?;
                let (there, _) = *length.wait_for(|(there, ended)| *there > offset || *ended).await.ok()?;
                (there > offset).then(|| live.slice(offset, offset + most))
            }
            Body::File { bytes, bytes_per_second } => {
                let offset = usize::try_from(self.offset).ok()?;
                let rest = bytes.get(offset..).filter(|rest| !rest.is_empty())?;
                // Paced by when the first of them is due.
                let due = self.offset as f64 / *bytes_per_second as f64;
                sleep_until(self.began + Duration::from_secs_f64(due)).await;
                let most = most.min((bytes_per_second / 20).max(1));
                Some(rest[..rest.len().min(usize::try_from(most).unwrap_or(usize::MAX))].to_vec())
            }
        }
    }
}

/// Resolves when the client has closed its side.
async fn gone(reader: &mut ReadHalf<'_>) {
    let mut buffer = [0; 512];
    while matches!(reader.read(&mut buffer).await, Ok(n) if n > 0) {}
}

async fn at_time(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn head(status: u16, kind: &str) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        403 => "Forbidden",
        404 => "Not Found",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    };
    format!(
        "HTTP/1.0 {status} {reason}\r\nContent-Type: {kind}\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

fn page(status: u16) -> Vec<u8> {
    let mut answer = head(status, "text/html");
    answer.extend_from_slice(format!("<html><body><h1>{status}</h1></body></html>\n").as_bytes());
    answer
}
