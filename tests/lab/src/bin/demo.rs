//! The demo: a small congress on this machine, recorded by the real program.
//!
//! Three halls stream a test picture with a clock; the second one's server fails twice. Six talks begin in
//! a few seconds. The commands that a person would type are shown and run.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};
use streamrip_lab::{Act, Answer, Encoder, End, FaultServer, Format, Recipe, Route, now_ms};

/// From the import to the first talk: the daemon first opens each stream for some seconds.
const LEAD_SECONDS: i64 = 14;

/// The defaults wait for the worst of a real congress; a demo of a minute must not.
const SETTINGS: &str = "\
[record]
stall_timeout = \"4s\"

[assemble]
settle = \"2s\"

[list]
complete_tolerance = \"1s\"

[disk]
reserve = \"200MiB\"
";

fn main() -> ExitCode {
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            eprintln!("demo: {complaint}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<(), String> {
    let began = Instant::now();
    let stage = Stage::set()?;
    let halls: Vec<Hall> = ["Saal 1", "Saal 2", "Saal 3"].map(Hall::open).into();
    println!(
        "A small congress is on air in {} halls; the server of {} is going to fail twice.",
        halls.len(),
        halls[1].name
    );

    let start = in_seconds(LEAD_SECONDS);
    let talks = programme(start);
    stage.write("congress.ics", &calendar(&talks))?;
    let urls: Vec<[String; 1]> = halls.iter().map(|hall| [hall.route.url()]).collect();
    let lines: Vec<_> = halls.iter().zip(&urls).map(|(hall, url)| (hall.name, url.as_slice(), 2)).collect();
    stage.write("congress.toml", &halls_file(3, 3, &lines))?;

    println!("\n$ cd {}", stage.folder.display());
    println!("$ export STREAMRIP_DATA_DIR=data");
    stage.expect(&["import", "congress.ics"], &[0])?;
    trouble(&halls[1].route, start, &talks);
    let ticker = Ticker::start(began, start, &halls);
    // 4: everything that could be recorded is; something is missing, as was to be expected.
    let recorded = stage.expect(&["run", "--until-done"], &[0, 4]);
    ticker.stop();
    recorded?;
    stage.expect(&["list"], &[0])?;
    stage.expect(&["list", "--gaps", "--hall", halls[1].name], &[0])?;

    let files = stage.verify(talks.len(), halls[1].name)?;
    println!("\nOne file for each talk:");
    for file in &files {
        println!("  {}", file.display());
    }
    println!("\nWatch one:  mplayer {0}\n       or:  ffplay {0}", files[0].display());
    println!("Ask more:   {} --data-dir {} show 1", stage.program.display(), stage.data_dir().display());
    println!("\nThe demo took {} s.", began.elapsed().as_secs());
    Ok(())
}

/// One hall on air.
struct Hall {
    name: &'static str,
    route: Route,
    _server: FaultServer,
    _encoder: Encoder,
}

impl Hall {
    fn open(name: &'static str) -> Self {
        let encoder = Recipe::new(Format::MpegTs).label(name).start().ready();
        let server = FaultServer::start();
        let path = format!("/{}.ts", name.replace(' ', "").to_lowercase());
        let route = server.live(&path, Format::MpegTs.kind(), encoder.live());
        Self { name, route, _server: server, _encoder: encoder }
    }
}

/// Two talks in each hall, one right after the other.
fn programme(start: i64) -> Vec<Talk> {
    let rows = [
        ("Saal 1", "We come in peace", 0, 22),
        ("Saal 1", "Reverse engineering a lift", 22, 23),
        ("Saal 2", "Lightning talks", 0, 24),
        ("Saal 2", "Radio in the garden shed", 24, 23),
        ("Saal 3", "Copyright enforcement versus freedoms", 2, 20),
        ("Saal 3", "Closing, and who cleans up", 22, 25),
    ];
    rows.map(|(hall, title, after, seconds)| Talk::new(hall, title, start + after * 1000, seconds)).into()
}

/// What happens to the second hall: an end with an overloaded server behind it, later a silence.
fn trouble(route: &Route, start: i64, talks: &[Talk]) {
    let until = |at_ms: i64| Duration::from_millis(u64::try_from(at_ms - now_ms()).unwrap_or(0));
    let second = talks[3].start_ms;
    route.script([
        (until(start + 6_000), Act::Always(Answer::Status(503))),
        (until(start + 6_000), Act::Cut(End::Fin)),
        (until(start + 12_000), Act::Always(Answer::stream())),
        (until(second + 8_000), Act::Silence),
        (until(second + 16_000), Act::Resume),
    ]);
}

/// Folder and program.
struct Stage {
    program: PathBuf,
    folder: PathBuf,
}

impl Stage {
    fn set() -> Result<Self, String> {
        let me = std::env::current_exe().map_err(|e| format!("where am I? {e}"))?;
        let built = me.parent().ok_or("the demo has no folder")?;
        let program = built.join("streamrip");
        if !program.is_file() {
            return Err(format!("{} is missing: run `make demo`, which builds it", program.display()));
        }
        let folder = built.parent().ok_or("the build has no folder")?.join("demo");
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("cannot remove the last demo in {}: {e}", folder.display()));
            }
            _ => {}
        }
        let stage = Self { program: from_here(&program), folder: from_here(&folder) };
        fs::create_dir_all(stage.data_dir()).map_err(|e| format!("{}: {e}", folder.display()))?;
        stage.write("data/streamrip.toml", SETTINGS)?;
        Ok(stage)
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn write(&self, name: &str, content: &str) -> Result<(), String> {
        let path = self.folder.join(name);
        fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // Should the demo be killed, the daemon must not record on alone.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(absolute(&self.program)).args(arguments);
        command.current_dir(&self.folder).env("STREAMRIP_DATA_DIR", "data").stdin(Stdio::null());
        command
    }

    /// Shows a command and runs it; its exit code must be one of `codes`.
    fn expect(&self, arguments: &[&str], codes: &[i32]) -> Result<(), String> {
        let shown: Vec<_> =
            arguments.iter().map(|a| if a.contains(' ') { format!("\"{a}\"") } else { (*a).to_owned() }).collect();
        println!("\n$ streamrip {}", shown.join(" "));
        let status = self.command(arguments).status().map_err(|e| format!("streamrip does not start: {e}"))?;
        match status.code() {
            Some(code) if codes.contains(&code) => Ok(()),
            _ => Err(format!("streamrip {} ended with {status}", shown.join(" "))),
        }
    }

    /// The files of the talks; a demo that recorded less than it should says so.
    fn verify(&self, talks: usize, flaky: &str) -> Result<Vec<PathBuf>, String> {
        let output =
            self.command(&["list", "--json"]).output().map_err(|e| format!("streamrip does not start: {e}"))?;
        let list: Value = serde_json::from_slice(&output.stdout).map_err(|e| format!("list --json: {e}"))?;
        let list = list.as_array().or_else(|| list["talks"].as_array()).ok_or("list --json has no talks")?;
        if list.len() != talks {
            return Err(format!("{} talks are listed, {talks} were given", list.len()));
        }
        let mut files = Vec::new();
        for talk in list {
            let path = talk["assembly"]["path"].as_str().ok_or_else(|| format!("{} has no file", talk["title"]))?;
            let path = self.data_dir().join(path);
            if !path.is_file() {
                return Err(format!("{} is missing", path.display()));
            }
            if talk["hall"] != flaky && talk["state"] != "complete" {
                return Err(format!("{} is {}, though its hall never failed", talk["title"], talk["state"]));
            }
            files.push(path);
        }
        Ok(files)
    }
}

/// Tells every two seconds what goes on, where the daemon's own progress display cannot be seen, and when
/// the second hall fails.
struct Ticker {
    stop: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Ticker {
    fn start(began: Instant, start: i64, halls: &[Hall]) -> Self {
        let (stop, stopped) = mpsc::channel();
        let quiet = std::io::stderr().is_terminal();
        let routes: Vec<_> = halls.iter().map(|hall| (hall.name, hall.route.clone())).collect();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_secs(2)) == Err(mpsc::RecvTimeoutError::Timeout) {
                if quiet {
                    continue;
                }
                let sent: Vec<_> = routes
                    .iter()
                    .map(|(name, route)| {
                        let bytes: u64 = route.connections().iter().map(|c| c.sent).sum();
                        format!("{name}: {} kB on {} connection(s)", bytes / 1000, route.open())
                    })
                    .collect();
                let to_go = (start - now_ms() + 999) / 1000;
                let when = if to_go > 0 { format!("first talk in {to_go} s") } else { "on air".to_owned() };
                println!("  demo {:>3} s, {when}; {}", began.elapsed().as_secs(), sent.join(", "));
            }
        });
        Self { stop, thread }
    }

    fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The path as seen from here, which is shorter to read and to type.
fn from_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}
