//! Child processes that end with their owner.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A child process that is ended when this is dropped: TERM, after the grace KILL, and always waited for.
#[derive(Debug)]
pub struct OwnedChild {
    child: Child,
    grace: Duration,
}

impl OwnedChild {
    /// Starts `command`, with nothing on its standard input unless it says otherwise.
    ///
    /// # Panics
    /// With its name, where it cannot be started.
    #[must_use]
    pub fn spawn(command: &mut Command, grace: Duration) -> Self {
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {:?}: {e}", command.get_program()));
        Self { child, grace }
    }

    /// The process itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, if it still runs.
    pub fn signal(&mut self, signal: Signal) {
        if self.status().is_none()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            // A zombie at worst: it was not waited for yet, so the number cannot belong to a stranger.
            let _ = kill_process(pid, signal);
        }
    }

    /// How it ended; `None` while it runs.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it has ended, at most so long.
    pub fn wait(&mut self, most: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            let status = self.status();
            if status.is_some() || began.elapsed() > most {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// TERM, after the grace KILL, and waits.
    pub fn end(&mut self) {
        self.signal(Signal::TERM);
        if self.wait(self.grace).is_none() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        self.end();
    }
}

/// A command without input and output.
#[must_use]
pub fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
