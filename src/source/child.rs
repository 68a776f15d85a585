//! One owner for each source program: start, read, stop, and always wait.
//!
//! The child writes media into its standard input, which is the write end of a pipe, and messages into
//! standard output and error, which are a second pipe. It leads a session of its own, and so a process group,
//! and has no terminal, not even one that it opens by name. Whatever it
//! does (ignores TERM, closes its pipe and lives on, forks and leaves), its end is seen and its bytes end.

pub(super) mod two_inputs;
mod without_tail;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, kill_process_group, prlimit};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use self::without_tail::WithoutTail;
use super::lines::{self, LineJudge};
use super::log::LineLog;
use super::{ProcessId, Running, SourceEnd};
use crate::domain::segment::EndReason;

/// From TERM to KILL.
pub const TERM_GRACE: Duration = Duration::from_secs(5);

/// How long the pipes are still read after the child has ended, where a grandchild holds them open.
const PIPE_GRACE: Duration = Duration::from_millis(500);

/// Size asked for the media pipe. The default of 64 KiB holds 0.26 s of 2 Mbit/s, too little for reading
/// ten times a second through a burst; 1 MiB is what an unprivileged process may have.
const PIPE_BYTES: usize = 1 << 20;

/// Files, sockets and pipes that a source may have open; mplayer has about ten, ffmpeg on HLS about twenty.
const MAX_OPEN_FILES: u64 = 256;

/// What to start.
pub(super) struct ChildCommand {
    /// Name to look up in `PATH`, or a path.
    pub program: PathBuf,
    /// Debian package that brings it.
    pub package: &'static str,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Whose lines they are, in the log.
    pub label: String,
    /// Where its lines go.
    pub log: Arc<dyn LineLog>,
    /// What its lines mean.
    pub judge: Box<dyn LineJudge>,
    /// So many of the last bytes that it gives after it was told to stop are not to be trusted.
    pub untrusted_tail: usize,
}

/// Starts a child. To be called from an async worker thread that lives as long as the program: the
/// parent-death signal follows the thread, so neither `spawn_blocking` nor `block_in_place` will do.
pub(super) fn start(job: ChildCommand) -> Result<Running, SourceEnd> {
    start_with(job, Pipes::of_media).map(|(running, ())| running)
}

/// The program's file, or the end of a connection that would need it.
pub(super) fn installed(program: &Path, package: &str) -> Result<PathBuf, SourceEnd> {
    find(program).ok_or_else(|| SourceEnd {
        reason: Some(EndReason::SourceMissing),
        detail: Some(format!("{} is not installed; to install it: apt install {package}", program.display())),
    })
}

fn start_with<T>(job: ChildCommand, pipes: fn() -> io::Result<(Pipes, T)>) -> Result<(Running, T), SourceEnd> {
    let program = installed(&job.program, job.package)?;
    let started = pipes().and_then(|(pipes, more)| Ok((spawn(&program, job, pipes)?, more)));
    started.map_err(|e| SourceEnd {
        reason: Some(EndReason::SourceMissing),
        detail: Some(format!("cannot start {}: {e}", program.display())),
    })
}

/// Media that a child gives.
type Media = Box<dyn AsyncRead + Send + Unpin>;

/// What is connected to a child.
struct Pipes {
    /// Our end of its media.
    bytes: Media,
    /// Its own end of that: its standard input.
    stdin: OwnedFd,
    /// Its standard output; `None`: its messages.
    stdout: Option<OwnedFd>,
}

impl Pipes {
    /// For a child that gets what it gives from elsewhere.
    fn of_media() -> io::Result<(Self, ())> {
        let (bytes, bytes_in) = io::pipe()?;
        // Fails where the user's pipes are many: then it is 64 KiB.
        let _ = rustix::pipe::fcntl_setpipe_size(&bytes, PIPE_BYTES);
        let bytes = Box::new(pipe::Receiver::from_owned_fd(OwnedFd::from(bytes))?);
        Ok((Self { bytes, stdin: bytes_in.into(), stdout: None }, ()))
    }
}

fn spawn(program: &Path, job: ChildCommand, pipes: Pipes) -> io::Result<Running> {
    let (messages, messages_in) = io::pipe()?;
    let stdout = match pipes.stdout {
        Some(fd) => Stdio::from(fd),
        None => Stdio::from(messages_in.try_clone()?),
    };
    let mut command = detached(program);
    command
        .args(&job.args)
        .env_clear()
        .env("PATH", search_path())
        // Nobody's configuration and caches; both programs are content without a home.
        .env("HOME", "/nonexistent")
        .env("LANG", "C")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(pipes.stdin)
        .stdout(stdout)
        .stderr(messages_in)
        // Only for the case that the runtime is torn down around us.
        .kill_on_drop(true);
    let child = command.spawn()?;
    // It holds our copies of the write ends.
    drop(command);
    let process = child.id().and_then(process_id);
    limit(child.id());
    let (stop, kill, closed) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let over = CancellationToken::new();
    let bytes = PipeBytes {
        pipe: pipes.bytes,
        closed: closed.clone(),
        closing: Box::pin(closed.clone().cancelled_owned()),
        allowance: PIPE_BYTES,
    };
    let bytes = WithoutTail::new(bytes, stop.clone(), job.untrusted_tail);
    let messages = pipe::Receiver::from_owned_fd(OwnedFd::from(messages))?;
    let (done, ended) = oneshot::channel();
    let owner =
        ChildTask { child, job, messages, stop: stop.clone(), kill: kill.clone(), exited: over.clone(), closed };
    tokio::spawn(owner.run(done));
    Ok(Running { bytes: Box::pin(bytes), stop, kill, ended, over, process })
}

/// The program, away from our terminal and dying with us.
///
/// Under `setpriv --pdeathsig TERM`: mplayer never sees that its reader died (it opens the pipe for reading
/// too), and would block for ever. Under `setsid`: a session of its own has no terminal, also for a program
/// that opens `/dev/tty` by name. Both end by becoming the next program, so the process is the one we
/// started: `setsid` forks only where it leads a group already, which is why it gets none from us.
fn detached(program: &Path) -> tokio::process::Command {
    static WARNED: AtomicBool = AtomicBool::new(false);
    let (setpriv, setsid) = (find(Path::new("setpriv")), find(Path::new("setsid")));
    if (setpriv.is_none() || setsid.is_none()) && !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "setpriv or setsid is not installed (package util-linux): should streamrip be killed, its source programs \
             may stay until the next start, and they can reach its terminal"
        );
    }
    let leads = setsid.is_some();
    let mut words: Vec<OsString> = Vec::new();
    if let Some(setpriv) = setpriv {
        words.extend([setpriv.into(), "--pdeathsig".into(), "TERM".into(), "--".into()]);
    }
    words.extend(setsid.map(OsString::from));
    words.push(program.into());
    let mut command = tokio::process::Command::new(&words[0]);
    command.args(&words[1..]);
    if !leads {
        command.process_group(0);
    }
    command
}

/// Signals the group that a child leads which was not yet waited for; in its first milliseconds, before it
/// leads one, the child itself.
fn signal_family(child: Pid, signal: Signal) {
    if kill_process_group(child, signal).is_err() {
        let _ = kill_process(child, signal);
    }
}

/// Limits of a source: a program that leaks descriptors must not take those of the whole machine, and one
/// that crashes once a second must not fill the disk with core files.
fn limit(pid: Option<u32>) {
    let Some(pid) = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) else { return };
    for (resource, most) in [(Resource::Nofile, MAX_OPEN_FILES), (Resource::Core, 0)] {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        // It has ended already, or may have less anyway.
        let _ = prlimit(Some(pid), resource, limit);
    }
}

fn search_path() -> OsString {
    std::env::var_os("PATH").filter(|p| !p.is_empty()).unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

/// The program's file: as it is where it names a directory, else the first executable in `PATH`.
pub(super) fn find(program: &Path) -> Option<PathBuf> {
    let usable = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(|p| usable(p));
    }
    // Relative entries would find programs of wherever we happen to be.
    std::env::split_paths(&search_path())
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(program))
        .find(|p| usable(p))
}

/// Pid with start time. `None` where it has ended already or there is no `/proc`.
fn process_id(pid: u32) -> Option<ProcessId> {
    start_ticks(pid).map(|start_ticks| ProcessId { pid, start_ticks })
}

/// When process `pid` was started, in clock ticks since boot (field 22 of `/proc/PID/stat`); `None` where
/// there is no such process.
#[must_use]
pub fn start_ticks(pid: u32) -> Option<u64> {
    state_and_start(pid).map(|(_, start)| start)
}

/// True while that very process runs. One that has ended and waits for its parent to ask for it does not:
/// where the first process of a container asks for nobody, it would wait for ever.
#[must_use]
pub fn is_running(process: ProcessId) -> bool {
    state_and_start(process.pid).is_some_and(|(state, start)| start == process.start_ticks && !"ZX".contains(&state))
}

/// Fields 3 and 22 of `/proc/PID/stat`.
fn state_and_start(pid: u32) -> Option<(String, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, field 2, may hold spaces and brackets: the rest begins behind its last bracket.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.to_owned();
    Some((state, fields.nth(18)?.parse().ok()?))
}

struct ChildTask {
    child: Child,
    job: ChildCommand,
    messages: pipe::Receiver,
    stop: CancellationToken,
    kill: CancellationToken,
    exited: CancellationToken,
    closed: CancellationToken,
}

impl ChildTask {
    async fn run(self, mut done: oneshot::Sender<SourceEnd>) {
        let Self { mut child, job, messages, stop, kill, exited, closed } = self;
        let hurry = CancellationToken::new();
        let mut reader = tokio::spawn(lines::read(
            messages,
            job.judge,
            job.log,
            job.label,
            stop.clone(),
            exited.clone(),
            hurry.clone(),
        ));
        // The leader's pid is the group's id as long as we have not waited for it.
        let group = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let signal = |signal| {
            if let Some(child) = group {
                signal_family(child, signal);
            }
        };
        let mut wanted = true;
        let status = tokio::select! {
            status = child.wait() => {
                wanted = false;
                status
            }
            () = kill.cancelled() => {
                signal(Signal::KILL);
                child.wait().await
            }
            // Nobody is left to hear of its end.
            () = done.closed() => {
                signal(Signal::KILL);
                child.wait().await
            }
            () = stop.cancelled() => {
                signal(Signal::TERM);
                tokio::select! {
                    status = child.wait() => status,
                    () = kill_after(&kill) => {
                        signal(Signal::KILL);
                        child.wait().await
                    }
                }
            }
        };
        // Grandchildren, if any: the group's id is free for others only when the last of them is gone. No such
        // group: all have ended, which is what is wanted.
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        exited.cancel();
        let judge = match tokio::time::timeout(PIPE_GRACE, &mut reader).await {
            Ok(judge) => judge,
            Err(_) => {
                hurry.cancel();
                reader.await
            }
        };
        let said = judge.map(|mut judge| judge.end()).unwrap_or_default();
        let _ = done.send(exit(said, status, wanted));
        tokio::time::sleep(PIPE_GRACE).await;
        closed.cancel();
    }
}

async fn kill_after(kill: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(TERM_GRACE) => {}
        () = kill.cancelled() => {}
    }
}

/// Puts together what the lines said and how the process ended.
fn exit(mut said: SourceEnd, status: io::Result<ExitStatus>, wanted: bool) -> SourceEnd {
    if wanted {
        return said;
    }
    let how = match status {
        Ok(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, Some(0)) => return said,
            (None, code) => {
                // A program that failed has mostly said why.
                said.reason.get_or_insert(EndReason::SourceFailed);
                said.detail.get_or_insert_with(|| format!("exit code {}", code.unwrap_or(-1)));
                return said;
            }
        },
        Err(e) => format!("could not be waited for: {e}"),
    };
    SourceEnd { reason: Some(EndReason::SourceFailed), detail: Some(how) }
}

/// The read end of the media pipe. Ends when all writers are gone, or when the child is and the rest of its
/// family holds the pipe open for longer than [`PIPE_GRACE`].
struct PipeBytes {
    pipe: Media,
    closed: CancellationToken,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    /// So many bytes may still be read after `closed`: what the pipe can hold.
    allowance: usize,
}

impl AsyncRead for PipeBytes {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let closed = this.closed.is_cancelled();
        if closed && this.allowance == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.pipe).poll_read(cx, buf) {
            Poll::Ready(result) => {
                if closed {
                    this.allowance = this.allowance.saturating_sub(buf.filled().len() - before);
                }
                Poll::Ready(result)
            }
            Poll::Pending if closed => Poll::Ready(Ok(())),
            Poll::Pending => match this.closing.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests;
