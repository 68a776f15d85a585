//! A child that gets its media from us: two streams in, one out.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net;

use tokio::net::unix::{OwnedWriteHalf, pipe};

use super::{ChildCommand, Pipes, Running, SourceEnd, start_with};

/// What a child reads. To drop one is its end.
#[derive(Debug)]
pub(in crate::source) struct ChildInputs {
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
pub(in crate::source) fn start(job: ChildCommand) -> Result<(Running, ChildInputs), SourceEnd> {
    start_with(job, pipes)
}

fn pipes() -> io::Result<(Pipes, ChildInputs)> {
    let (ours, theirs) = net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let (bytes, first) = tokio::net::UnixStream::from_std(ours)?.into_split();
    let (second_out, second) = io::pipe()?;
    let second = pipe::Sender::from_owned_fd(OwnedFd::from(second))?;
    let pipes = Pipes { bytes: Box::new(bytes), stdin: theirs.into(), stdout: Some(second_out.into()) };
    Ok((pipes, ChildInputs { first, second }))
}
