//! One message to one run of a program of the user's.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::{Sender, payload};
use crate::domain::message::Message;
use crate::domain::text::{one_line, shortened};

/// So much of what it complains about is kept, bytes.
const COMPLAINT: u64 = 2000;

/// Ours and not the program's: it must not speak to systemd in our name.
const OURS: [&str; 4] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "STREAMRIP_WEB_TOKEN"];

/// Kills a process group when it goes, so that nothing stays of a program that hangs, or of its children.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0.take() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Runs it with the message as JSON on its standard input and as variables in its environment; never through a shell.
/// What takes longer than `most` is killed, with its children.
pub(super) async fn run(words: &[String], message: &Message, sender: &Sender, most: Duration) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(payload::variables(message, sender))
        .env("STREAMRIP_DATA_DIR", &sender.data_dir)
        .current_dir(if sender.data_dir.is_dir() { sender.data_dir.as_path() } else { Path::new("/") })
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for name in OURS {
        command.env_remove(name);
    }
    let mut child = command.spawn().map_err(|e| format!("cannot start {program:?}: {e}"))?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut group = Group(pid);
    let line = format!("{}\n", payload::json(message, sender));
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let tell = async move {
        if let Some(mut stdin) = stdin {
            // A program that does not read it is fine.
            let _ = stdin.write_all(line.as_bytes()).await;
        }
    };
    let hear = async move {
        let mut heard = Vec::new();
        if let Some(stderr) = stderr {
            let mut stderr = stderr;
            let _ = (&mut stderr).take(COMPLAINT).read_to_end(&mut heard).await;
            // It must not be stopped by a full pipe.
            let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
        }
        heard
    };
    let ended = timeout(most, async {
        // What is in its background may hold the pipe for ever: not waited for.
        let (tell, mut hear) = (tokio::spawn(tell), tokio::spawn(hear));
        let status = child.wait().await;
        tell.abort();
        let heard = timeout(Duration::from_millis(200), &mut hear).await;
        hear.abort();
        (status, heard.ok().and_then(Result::ok).unwrap_or_default())
    });
    match ended.await {
        Err(_) => Err(format!("{program:?} was killed after {} s", most.as_secs())),
        Ok((Err(e), _)) => Err(format!("{program:?}: {e}")),
        Ok((Ok(status), heard)) => {
            // It is over: its number may be another's by now. What it left behind was meant to stay.
            group.0 = None;
            let words = shortened(&one_line(&String::from_utf8_lossy(&heard)), 300);
            if status.success() { Ok(()) } else { Err(format!("{program:?} failed, {status}: {words}")) }
        }
    }
}
