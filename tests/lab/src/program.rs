//! The real program.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::child::OwnedChild;
use crate::wait_until;

/// `streamrip` with a data directory of its own, which goes when this is dropped.
#[derive(Debug)]
pub struct Streamrip {
    program: PathBuf,
    folder: TempDir,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
}

/// What a finished command said.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Streamrip {
    /// In a test: `Streamrip::new(env!("CARGO_BIN_EXE_streamrip"))`.
    ///
    /// # Panics
    /// Where no folder can be made.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let folder = tempfile::Builder::new().prefix("lab-streamrip-").tempdir().expect("a folder");
        Self { program: program.into(), folder, environment: Vec::new(), wrapper: Vec::new() }
    }

    /// Sets an environment variable of all later commands.
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Runs all later commands under another program: `faketime`, `strace`.
    pub fn under(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
    }

    /// The data directory (the program makes it).
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Leaves the folder behind when this is dropped, for a person to look at, and says where it is.
    pub fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    /// A folder for a test's own files, beside the data directory.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder and returns its path.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content).expect("a file of the test");
        path.to_string_lossy().into_owned()
    }

    /// The command, without waiting for it.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut words = self.wrapper.iter().map(PathBuf::from).chain([self.program.clone()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(arguments);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("STREAMRIP_DATA_DIR", self.data_dir()).env("HOME", self.folder.path());
        command.env_remove("XDG_DATA_HOME").env_remove("RUST_LOG").env("TZ", "UTC").env("COLUMNS", "80");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().expect("streamrip starts");
        Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed.
    ///
    /// # Panics
    /// With what it said, where it does not.
    pub fn ok(&self, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        assert_eq!(output.code, Some(0), "streamrip {arguments:?} failed: {output:?}");
        output
    }

    /// Runs a command that must succeed and reads its JSON.
    ///
    /// # Panics
    /// With what it said, where it fails or says no JSON.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ok(arguments);
        serde_json::from_str(&output.stdout)
            .unwrap_or_else(|e| panic!("streamrip {arguments:?} printed no JSON ({e}): {output:?}"))
    }

    /// Starts a command that goes on, such as `run`.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn spawn(&self, arguments: &[&str]) -> Daemon {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = OwnedChild::spawn(&mut command, Duration::from_secs(15));
        let said = Arc::new(Mutex::new(String::new()));
        let out = child.child().stdout.take().expect("its output is a pipe");
        let err = child.child().stderr.take().expect("its errors are a pipe");
        listen(out, said.clone());
        listen(err, said.clone());
        Daemon { child, said }
    }
}

/// A running `streamrip`. It gets TERM on drop.
#[derive(Debug)]
pub struct Daemon {
    child: OwnedChild,
    said: Arc<Mutex<String>>,
}

impl Daemon {
    /// Process id (of the wrapper, where there is one).
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it said so far, both streams, line by line.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has said this.
    ///
    /// # Panics
    /// With what it said instead.
    pub fn expect(&mut self, words: &str, most: Duration) {
        let began = std::time::Instant::now();
        while !self.said().contains(words) {
            let ended = self.child.status();
            assert!(
                ended.is_none() && began.elapsed() < most,
                "streamrip did not say {words:?} (ended: {ended:?}); it said:\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM.
    pub fn term(&mut self) {
        self.child.signal(Signal::TERM);
    }

    /// SIGINT, as of Ctrl-C.
    pub fn interrupt(&mut self) {
        self.child.signal(Signal::INT);
    }

    /// SIGKILL, and waits.
    pub fn kill(&mut self) {
        self.child.signal(Signal::KILL);
        wait_until("the killed daemon to end", crate::PATIENCE, || self.child.status().is_some());
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.status().is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// With what it said, where it does not end in time.
    pub fn wait(&mut self, most: Duration) -> ExitStatus {
        let status = self.child.wait(most);
        status.unwrap_or_else(|| panic!("streamrip still runs after {most:?}; it said:\n{}", self.said()))
    }
}

fn listen(pipe: impl Read + Send + 'static, said: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while let Ok(1..) = lines.read_until(b'\n', &mut line) {
            said.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}
