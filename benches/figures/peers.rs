//! What people record with today: their commands, and the loops around them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// A loop starts its program at most this often: one that is refused at once would take the machine from the others.
const SHORTEST_TURN: Duration = Duration::from_millis(100);
const GRACE: Duration = Duration::from_secs(5);

/// A peer: what it is called here, and its command for an address and a file.
#[derive(Clone, Copy)]
pub struct Peer {
    pub name: &'static str,
    pub program: &'static str,
    arguments: &'static str,
}

/// No cache, so that all of it is in the file when the stream ends.
pub const MPLAYER: Peer = Peer {
    name: "mplayer in a loop",
    program: "mplayer",
    arguments: "-noconfig all -nolirc -noconsolecontrols -nocache -really-quiet -dumpstream -dumpfile FILE URL",
};

/// A stall is no byte in 5 s.
pub const CURL: Peer = Peer {
    name: "curl in a loop",
    program: "curl",
    arguments: "-sSfNL --speed-limit 1 --speed-time 5 --connect-timeout 5 -o FILE URL",
};

pub const WGET: Peer =
    Peer { name: "wget in a loop", program: "wget", arguments: "-q --tries=1 --timeout=5 -O FILE URL" };

/// Every option with which it connects again; 2 s is the longest wait that lets it try more than once in an outage
/// of 3 s. In a loop, since it gives up after that.
pub const FFMPEG: Peer = Peer {
    name: "ffmpeg with every reconnect option, in a loop",
    program: "ffmpeg",
    arguments: "-nostdin -v error -y -reconnect 1 -reconnect_at_eof 1 -reconnect_streamed 1 \
        -reconnect_on_network_error 1 -reconnect_on_http_error 4xx,5xx -reconnect_delay_max 2 -rw_timeout \
        5000000 -copyts -i URL -map 0 -c copy -copyinkf -f mpegts FILE",
};

pub const STREAMLINK: Peer = Peer {
    name: "streamlink in a loop",
    program: "streamlink",
    arguments: "--no-config --quiet --force --stream-timeout 5 --http-timeout 5 -o FILE httpstream://URL best",
};

pub const STREAMLINK_HLS: Peer = Peer {
    name: "streamlink in a loop",
    program: "streamlink",
    arguments: "--no-config --quiet --force -o FILE hls://URL best",
};

/// What the window still holds is taken when it begins.
pub const STREAMLINK_HLS_RESTART: Peer = Peer {
    name: "streamlink `--hls-live-restart` in a loop",
    program: "streamlink",
    arguments: "--no-config --quiet --force --hls-live-restart -o FILE hls://URL best",
};

pub const YT_DLP: Peer = Peer {
    name: "yt-dlp in a loop",
    program: "yt-dlp",
    arguments: "--ignore-config -q --no-warnings --no-part --no-cache-dir --downloader ffmpeg --hls-use-mpegts \
        --fixup never -o FILE URL",
};

pub const FFMPEG_HLS: Peer = Peer {
    name: "ffmpeg in a loop",
    program: "ffmpeg",
    arguments: "-nostdin -v error -y -i URL -map 0 -c copy -copyinkf -f mpegts FILE",
};

impl Peer {
    /// Where the program is; `None`: it is not installed. What comes from PyPI is in an environment below the target
    /// directory, see `.ci/install-deps`.
    pub fn path(&self) -> Option<PathBuf> {
        let own = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers/bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::iter::once(own)
            .chain(std::env::split_paths(&path))
            .map(|dir| dir.join(self.program))
            .find(|path| path.is_file())
    }

    /// What it says of itself.
    pub fn version(&self) -> String {
        let flag = if matches!(self.program, "ffmpeg" | "mplayer") { "-version" } else { "--version" };
        let output = self.path().and_then(|path| Command::new(path).arg(flag).stdin(Stdio::null()).output().ok());
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        // The first words are enough: what it is linked with does not matter here.
        let words: Vec<_> =
            text.split_whitespace().take_while(|word| !word.starts_with('(') && *word != "built").collect();
        match &words[..] {
            [] => "not installed".to_owned(),
            [number] => format!("{} {number}", self.program),
            [.., _] => words[..words.len().min(3)].join(" "),
        }
    }

    /// The command; it ends with the thread that starts it.
    fn command(&self, url: &str, file: &Path) -> Option<Command> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(self.path()?);
        for argument in self.arguments.split_whitespace() {
            command.arg(argument.replace("URL", url).replace("FILE", &file.to_string_lossy()));
        }
        let folder = file.parent()?;
        command
            .current_dir(folder)
            .env("HOME", folder)
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY")
            .process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Some(command)
    }

    /// Starts it once; `None`: it is not installed.
    pub fn start(&self, url: &str, file: &Path) -> Option<Running> {
        self.command(url, file)?.spawn().ok().map(Running)
    }

    /// Starts it, and again whenever it ends, with a file of its own each time: `1.ts`, `2.ts`, ... in `folder`.
    /// `None`: it is not installed.
    pub fn repeat(&self, url: &str, folder: &Path) -> Option<Loop> {
        self.path()?;
        fs::create_dir_all(folder).expect("a folder");
        let (peer, url, place) = (*self, url.to_owned(), folder.to_owned());
        let state = Arc::new(State::default());
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            for turn in 1.. {
                let began = Instant::now();
                let Some(mut command) = peer.command(&url, &place.join(format!("{turn}.ts"))) else { return };
                let Some(mut child) = shared.begin(&mut command) else { return };
                shared.end(&mut child);
                std::thread::sleep(SHORTEST_TURN.saturating_sub(began.elapsed()));
            }
        });
        Some(Loop { state, thread: Some(thread), folder: folder.to_owned() })
    }
}

/// A process group that ends with this.
pub struct Running(Child);

impl Running {
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not waited for yet, so the number cannot belong to a stranger.
        let _ = kill_process_group(pid(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    group: Mutex<Option<Pid>>,
}

impl State {
    fn begin(&self, command: &mut Command) -> Option<Child> {
        let mut group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stop.load(Ordering::SeqCst) {
            return None;
        }
        let child = command.spawn().expect("setpriv starts");
        *group = Some(pid(&child));
        Some(child)
    }

    /// Waits for its end. Its number is given back only when nobody can send it a signal any more.
    fn end(&self, child: &mut Child) {
        let _ = waitid(WaitId::Pid(pid(child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let mut group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        *group = None;
        let _ = child.wait();
    }

    fn signal(&self, signal: Signal) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(group) = *self.group.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = kill_process_group(group, signal);
        }
    }
}

/// A program in a loop.
pub struct Loop {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
    folder: PathBuf,
}

impl Loop {
    /// Ends it as Ctrl-C does, and returns its files in order.
    pub fn files(mut self) -> Vec<PathBuf> {
        self.end();
        let entries = fs::read_dir(&self.folder).expect("its folder").flatten();
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let turn: u32 = entry.path().file_stem()?.to_str()?.split('.').next()?.parse().ok()?;
                entry.file_type().ok()?.is_file().then(|| (turn, entry.path()))
            })
            .collect();
        files.sort();
        files.into_iter().map(|(_, path)| path).collect()
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.state.signal(Signal::INT);
        let began = Instant::now();
        while !thread.is_finished() && began.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.state.signal(Signal::KILL);
        let _ = thread.join();
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.end();
    }
}

fn pid(child: &Child) -> Pid {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a number")
}
