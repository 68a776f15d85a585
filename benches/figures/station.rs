//! streamrip as somebody uses it: halls, a schedule, `run`.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use streamrip_lab::schedule::{Talk, calendar};
use streamrip_lab::{Daemon, Streamrip};

/// What is to be recorded, and with what.
pub struct Station {
    pub recorder: &'static str,
    /// Further lines of each hall: `redundancy = 2`.
    pub hall: &'static str,
    /// Of `streamrip.toml`, section `[record]`.
    pub record: &'static str,
    /// Name of a hall, its streams, and when its talk begins and ends, in ms since the epoch (whole seconds).
    pub halls: Vec<(String, Vec<String>, i64, i64)>,
}

impl Station {
    /// A data directory with all of it. An error: what `import` says, for one where this streamrip does not know
    /// the recorder.
    pub fn prepare(&self) -> Result<Streamrip, String> {
        let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
        fs::create_dir_all(streamrip.data_dir()).expect("a data directory");
        let settings = format!(
            "[record]\n{}\n[assemble]\nsettle = \"1s\"\n[prune]\nmin_segment = \"0B\"\n[disk]\nreserve = \"100MiB\"\n",
            self.record
        );
        fs::write(streamrip.data_dir().join("streamrip.toml"), settings).expect("settings");
        let mut halls = "time_zone = \"UTC\"\npre_padding = \"0s\"\npost_padding = \"0s\"\n".to_owned();
        let mut talks = Vec::new();
        for (name, streams, start_ms, end_ms) in &self.halls {
            let (recorder, more) = (self.recorder, self.hall);
            write!(halls, "\n[[hall]]\nname = {name:?}\nstreams = {streams:?}\nrecorder = {recorder:?}\n{more}\n")
                .expect("a string takes it");
            talks.push(Talk::new(name, &format!("Talk in {name}"), *start_ms, (end_ms - start_ms) / 1000));
        }
        streamrip.write("bench.toml", halls);
        streamrip.write("bench.ics", calendar(&talks));
        let imported = streamrip.run(&["import", "bench.ics"]);
        if imported.code == Some(0) {
            Ok(streamrip)
        } else {
            Err(imported.stderr.lines().next().unwrap_or("import fails").to_owned())
        }
    }
}

/// `run`, without the look at each stream, which would connect to them as well.
pub fn run(streamrip: &Streamrip) -> Daemon {
    streamrip.spawn(&["run", "--no-check"])
}

/// `run` until all talks are joined.
pub fn run_until_done(streamrip: &Streamrip) -> Daemon {
    streamrip.spawn(&["run", "--no-check", "--until-done"])
}

/// The joined files, hall by hall.
pub fn joined(streamrip: &Streamrip) -> Vec<PathBuf> {
    let list = streamrip.run(&["list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list.stdout).unwrap_or_default();
    let talks = list.as_array().into_iter().flatten();
    talks.filter_map(|talk| talk["assembly"]["path"].as_str().map(|path| streamrip.data_dir().join(path))).collect()
}

/// The files of recorded segments so far, and how long each is.
pub fn segments(streamrip: &Streamrip) -> Vec<(PathBuf, u64)> {
    let mut folders = vec![streamrip.data_dir().join("segments")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => files.push((entry.path(), meta.len())),
                Err(_) => {}
            }
        }
    }
    files
}
