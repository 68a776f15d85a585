//! Clocks and tables.

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// One line of the table.
pub struct Figure {
    pub what: String,
    pub measured: String,
    pub compared_with: String,
    pub limit: &'static str,
    pub reached: Reached,
}

/// Whether a limit was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    Yes,
    No,
    /// There is no limit, or nothing was measured.
    Unasked,
}

impl Reached {
    /// `Yes` or `No`.
    pub fn of(met: bool) -> Self {
        if met { Self::Yes } else { Self::No }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reached = match self.reached {
            Reached::Yes => "yes",
            Reached::No => "**no**",
            Reached::Unasked => "",
        };
        write!(f, "| {} | {} | {} | {} | {reached} |", self.what, self.measured, self.compared_with, self.limit)
    }
}

/// How often the long ones are run: three times, or as the environment says.
pub fn runs() -> usize {
    from_environment("STREAMRIP_BENCH_RUNS", 3)
}

/// A number of the environment, or the usual one.
pub fn from_environment(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(usual).max(1)
}

/// The median of `times` runs; `prepare` is not measured.
pub fn median<T>(times: usize, mut prepare: impl FnMut() -> T, mut run: impl FnMut(&mut T)) -> Duration {
    let mut all: Vec<_> = (0..times)
        .map(|_| {
            let mut prepared = prepare();
            let began = Instant::now();
            run(&mut prepared);
            began.elapsed()
        })
        .collect();
    all.sort_unstable();
    all[times / 2]
}

/// Seconds with three digits that count.
pub fn seconds(duration: Duration) -> String {
    let s = duration.as_secs_f64();
    if s < 1.0 { format!("{:.0} ms", s * 1000.0) } else { format!("{s:.2} s") }
}

/// CPU seconds (user and system) that a process has used itself, without its children. Rounded to
/// ticks of 10 ms, so measure over many seconds.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold spaces.
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    // USER_HZ, which is 100 on every Linux that Rust runs on.
    ticks / 100.0
}

/// The middle one of some numbers, with the least and the greatest: `7.1 (6.9-7.4)`.
pub fn spread(all: &[f64], digits: usize) -> String {
    let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
    for &one in all {
        (least, greatest) = (least.min(one), greatest.max(one));
    }
    format!("{:.digits$} ({least:.digits$}-{greatest:.digits$})", middle(all))
}

/// The median.
pub fn middle(all: &[f64]) -> f64 {
    let mut all = all.to_vec();
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The smallest of sorted numbers that at least this share (0 to 1) of them do not exceed.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// A process and all that descend from it.
pub fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        all.extend(children(pid));
        next += 1;
    }
    all
}

/// The memory of a process that is its own, with its share of what it shares (PSS), in MiB.
pub fn memory_mib(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Processes whose parent is `pid`.
pub fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut all: Vec<u32> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // A child is listed under the thread that started it.
    for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        all.extend(text.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// What this was measured on.
pub fn print_machine() {
    let first = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once([':', '=']).map_or("?", |(_, value)| value.trim().trim_matches('"')).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let output = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().map(|o| o.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).lines().next().unwrap_or("?").to_owned()
    };
    println!(
        "Machine: {}, {cores} cores, {}, Linux {}",
        first("/proc/cpuinfo", "model name"),
        first("/etc/os-release", "PRETTY_NAME"),
        output("uname", "-r")
    );
    println!("Date: {}; {}\n", output("date", "-I"), output(env!("CARGO_BIN_EXE_streamrip"), "--version"));
}
