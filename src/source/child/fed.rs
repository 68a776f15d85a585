//! A child that gets its media from us: two streams in, one out.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;

use tokio::net::UnixStream;
use tokio::net::unix::{OwnedWriteHalf, pipe};

use super::{Job, Pipes, Running, SourceEnd, start_with};

/// What a child reads. To drop one is its end.
#[derive(Debug)]
pub(in crate::source) struct Inputs {
    /// Its standard input, into which it writes its media too.
    pub first: OwnedWriteHalf,
    /// Its standard output, from which it reads.
    pub second: pipe::Sender,
}

/// Starts a child, as [`super::start`] does, which reads two streams and writes one.
///
/// It needs four ends and has three without help (more would have to be made between fork and exec, or be
/// leaked into every child that is started at the same moment). So its standard input is a socket, which
/// carries both ways.
pub(in crate::source) fn start(job: Job) -> Result<(Running, Inputs), SourceEnd> {
    start_with(job, pipes)
}

fn pipes() -> io::Result<(Pipes, Inputs)> {
    let (ours, theirs) = Pair::pair()?;
    ours.set_nonblocking(true)?;
    let (bytes, first) = UnixStream::from_std(ours)?.into_split();
    let (second_out, second) = io::pipe()?;
    let second = pipe::Sender::from_owned_fd(OwnedFd::from(second))?;
    let pipes = Pipes { bytes: Box::new(bytes), stdin: theirs.into(), stdout: Some(second_out.into()) };
    Ok((pipes, Inputs { first, second }))
}
