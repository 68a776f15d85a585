//! Before the congress: does everything work, now?

mod forecast;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use forecast::Need;
pub use services::check_services;

use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::app::support::free_space;
use crate::app::support::humanize::{count, size};
use crate::catalog;
use crate::catalog::schedule::{Snapshot, TalkFilter, snapshot};
use crate::domain::hall::{Hall, Recorder, Stream};
use crate::domain::ids::HallId;
use crate::domain::interval::Interval;
use crate::domain::segment::Container;
use crate::domain::sniff::{self, Sniff};
use crate::domain::time::{HOUR, MINUTE, Ms, SECOND};
use crate::media::CancellationToken;
use crate::media::black_silence::{self, Sample};
use crate::plan::overlap::overlaps;
use crate::plan::wanted::wanted;
use crate::source::{SourceEnd, Sources, ssrf_guard};

/// How long each stream is listened to once it delivers.
const LISTEN: Duration = Duration::from_secs(5);

/// A tape that begins within this time might meet our own listening.
const SOON_MS: i64 = 30 * SECOND;

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Something will not be recorded.
    Problem,
}

impl Level {
    /// The word in tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the check passed.
    pub level: Level,
    /// What was looked at: `program`, `stream`, `hall`, `disk`, `overlap`, `clock`, `schedule`, `soon`,
    /// `mirror`, `forecast`, `refresh`, `notify`.
    pub kind: &'static str,
    /// What was checked, such as a hall's name or an address.
    pub what: String,
    /// What was found, and what to do.
    pub message: String,
}

/// What a stream delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct StreamTest {
    container: Option<Container>,
    bytes_per_second: u64,
    /// What its bytes show; `None`: it could not be looked at.
    sample: Option<Sample>,
}

impl StreamTest {
    /// `h264 and aac`.
    fn codecs(&self) -> String {
        let codecs = self.sample.iter().flat_map(|s| &s.tracks).map(|(_, codec)| codec.as_str());
        codecs.collect::<Vec<_>>().join(" and ")
    }
}

/// So much of a stream is looked at, bytes: five seconds of 12 Mbit/s.
const SAMPLE: usize = 8 << 20;

/// A talk that begins within this time is told. Milliseconds.
const NEXT_MS: i64 = HOUR;

/// Mirrors whose rates differ by more than this factor are not the same quality.
const UNLIKE: u64 = 2;

/// Looks at everything that the coming talks need, and tells each finding as soon as it is there.
/// `daemon`: one runs, or is about to. Streams that allow one connection and are being taped, or will be
/// in a moment, are then left alone.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn check(
    env: &Env,
    sources: &Sources,
    event: Option<&str>,
    daemon: bool,
    tell: mpsc::UnboundedSender<Finding>,
) -> Result<()> {
    let schedule = {
        let env = env.clone();
        let name = event.map(str::to_owned);
        tokio::task::spawn_blocking(move || read(&env, name.as_deref())).await.unwrap_or_else(|e| {
            Err(crate::app::support::failure::Failure::new(
                crate::app::support::failure::Kind::Failed,
                "a reader ended",
            )
            .because(e))
        })?
    };
    let tell = |level, kind, what: &str, message: String| {
        // Whoever asked may have gone away.
        let _ = tell.send(Finding { level, kind, what: what.to_owned(), message });
    };
    let now = env.clock.now();
    let plan = wanted(now, &schedule.events, &schedule.halls, &schedule.talks, &env.settings.record);
    let coming: Vec<_> = schedule.talks.iter().filter(|t| t.is_on() && t.slot.end > now).collect();

    for event in &schedule.events {
        let local = now.in_zone(event.zone).format("%A %Y-%m-%d %H:%M:%S");
        tell(Level::Good, "clock", &event.name, format!("it is {local} in {}", event.zone));
        if let Some(problem) = &event.refresh_problem {
            tell(Level::Warning, "schedule", &event.name, format!("the last refresh was not applied: {problem}"));
        }
    }
    for talk in coming.iter().filter(|t| t.slot.start > now && t.slot.start.since(now) <= NEXT_MS) {
        let hall = schedule.halls.iter().find(|h| h.id == talk.hall).map(|h| h.name.as_str()).unwrap_or_default();
        let minutes = talk.slot.start.since(now) / MINUTE;
        tell(Level::Good, "soon", hall, format!("{:?} begins in {minutes} min", talk.title));
    }
    if coming.is_empty() {
        tell(Level::Warning, "schedule", "talks", "no talk is to come: nothing will be recorded".to_owned());
    }
    let used: Vec<&Hall> = schedule.halls.iter().filter(|h| coming.iter().any(|t| t.hall == h.id)).collect();
    for hall in used.iter().filter(|h| h.streams.is_empty()) {
        let talks = coming.iter().filter(|t| t.hall == hall.id).count();
        let message =
            format!("no stream: {talks} talk(s) will be missed; set one with: streamrip halls set {:?} URL", hall.name);
        tell(Level::Problem, "hall", &hall.name, message);
    }
    let redundancy = |hall: &Hall| hall.redundancy.unwrap_or(env.settings.record.redundancy);
    for hall in used.iter().filter(|h| !h.streams.is_empty() && redundancy(h) as usize > h.streams.len()) {
        let message = format!(
            "redundancy is {}, and it has {} stream: there is no mirror to tape beside it",
            redundancy(hall),
            hall.streams.len()
        );
        tell(Level::Warning, "hall", &hall.name, message);
    }
    for (a, b) in overlaps(&coming) {
        let hall = used.iter().find(|h| h.id == a.hall).map(|h| h.name.as_str()).unwrap_or_default();
        let message = format!("{:?} and {:?} are at the same time; both get the shared minutes", a.title, b.title);
        tell(Level::Warning, "overlap", hall, message);
    }
    programs(env, &used, &tell).await;

    // Streams, all at once: a check of ten halls takes as long as the slowest.
    let mut listening = tokio::task::JoinSet::new();
    for hall in &used {
        for (nth, stream) in hall.streams.iter().enumerate() {
            let (hall, stream, sources, env) = ((*hall).clone(), stream.clone(), sources.clone(), env.clone());
            let soon = plan.tapes.iter().any(|t| t.hall == hall.id && t.window.start <= now.plus(SOON_MS));
            let taped = daemon && soon && hall.max_connections == 1;
            listening.spawn(async move {
                let heard = if taped { None } else { Some(listen(&env, &sources, &hall, &stream).await) };
                (hall, nth, stream, heard)
            });
        }
    }
    let mut rates: BTreeMap<_, u64> = BTreeMap::new();
    let mut mirrors: BTreeMap<HallId, BTreeMap<usize, StreamTest>> = BTreeMap::new();
    while let Some(Ok((hall, nth, stream, heard))) = listening.join_next().await {
        // Of a hall's mirrors each has its line, with the address in it.
        let (what, url) = (&hall.name, &stream.url);
        let bad = if nth == 0 { Level::Problem } else { Level::Warning };
        match heard {
            None => tell(Level::Good, "stream", what, format!("{url} is being recorded: not opened a second time")),
            Some(Ok(heard @ StreamTest { container: Some(container), bytes_per_second, .. })) => {
                let kbits = bytes_per_second * 8 / 1000;
                let codecs = heard.codecs();
                let of = if codecs.is_empty() { String::new() } else { format!(" of {codecs}") };
                tell(Level::Good, "stream", what, format!("{url} {}{of}, {kbits} kbit/s", container.as_str()));
                let sample = heard.sample.clone().unwrap_or_default();
                for (is, word) in [(sample.black, "its picture is black"), (sample.silent, "it is silent")] {
                    if is == Some(true) {
                        let seconds = LISTEN.as_secs();
                        let message = format!("{url} {word}, all {seconds} s of it: is that the right stream?");
                        tell(Level::Warning, "stream", what, message);
                    }
                }
                let rate = rates.entry(hall.id).or_default();
                *rate = (*rate).max(bytes_per_second);
                mirrors.entry(hall.id).or_default().insert(nth, heard);
            }
            Some(Ok(StreamTest { container: None, .. })) => {
                tell(Level::Warning, "stream", what, format!("{url} delivers something, but no media that is known"));
            }
            Some(Err(why)) => tell(bad, "stream", what, format!("{url} {why}")),
        }
    }

    for (hall, heard) in &mirrors {
        let name = schedule.halls.iter().find(|h| h.id == *hall).map(|h| h.name.as_str()).unwrap_or_default();
        for message in unlike(heard) {
            tell(Level::Warning, "mirror", name, message);
        }
    }

    let needs = forecast::needs(now, &plan, &used, &env.settings.record, &rates);
    for need in &needs {
        tell(Level::Good, "forecast", &need.hall, need.formula());
    }
    disk_space(env, &needs, &tell);
    Ok(())
}

/// What is wrong with mirrors that are not like the first one of them.
fn unlike(heard: &BTreeMap<usize, StreamTest>) -> Vec<String> {
    let mut all = heard.iter();
    let Some((_, first)) = all.next() else { return Vec::new() };
    let mut out = Vec::new();
    for (nth, other) in all {
        let number = nth + 1;
        if (first.container, first.codecs()) != (other.container, other.codecs()) {
            out.push(format!(
                "stream {number} is another format than the first: only one of the two goes into a talk's file"
            ));
        } else if first.bytes_per_second.max(other.bytes_per_second)
            > UNLIKE * first.bytes_per_second.min(other.bytes_per_second)
        {
            let kbits = |heard: &StreamTest| heard.bytes_per_second * 8 / 1000;
            let (a, b) = (kbits(first), kbits(other));
            out.push(format!(
                "stream {number} has another rate than the first ({b} and {a} kbit/s): is it the same quality?"
            ));
        }
    }
    out
}

/// Looks into the bytes of a sample. `None`: there is no ffmpeg, or no room for the file.
fn look_into(bytes: &[u8]) -> Option<Sample> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    struct Gone(std::path::PathBuf);
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
    let file = Gone(std::env::temp_dir().join(format!("streamrip-check-{}", uuid::Uuid::new_v4())));
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file.0).ok()?;
    out.write_all(bytes).ok()?;
    drop(out);
    match black_silence::look(&file.0, &CancellationToken::new()) {
        Ok(sample) => Some(sample),
        Err(e) => {
            tracing::debug!("a sample cannot be looked at: {e}");
            None
        }
    }
}

fn read(env: &Env, event: Option<&str>) -> Result<Snapshot> {
    let db = catalog::open_reader(&env.data_dir)?;
    let within = Some(Interval::new(env.clock.now().minus(24 * HOUR), Ms(i64::MAX)));
    let mut schedule = snapshot(&db, TalkFilter { within, ..TalkFilter::default() })?;
    if let Some(name) = event {
        let id = crate::app::library::report::find_event(&schedule.events, name)?;
        schedule.events.retain(|e| e.id == id);
        schedule.halls.retain(|h| h.event == id);
        schedule.talks.retain(|t| t.event == id);
    } else {
        // Events that are over need no check.
        let now = env.clock.now();
        let to_come: BTreeSet<_> = schedule.talks.iter().filter(|t| t.slot.end > now).map(|t| t.event).collect();
        if !to_come.is_empty() {
            schedule.events.retain(|e| to_come.contains(&e.id));
        }
    }
    Ok(schedule)
}

fn disk_space(env: &Env, needs: &[Need], tell: &impl Fn(Level, &'static str, &str, String)) {
    let Some(free) = free_space::free_bytes(&env.data_dir) else {
        let message = format!("the free space of {} cannot be told", env.data_dir.display());
        return tell(Level::Warning, "disk", "space", message);
    };
    let needed: u64 = needs.iter().map(Need::bytes).sum();
    let hours = needs.iter().map(|n| n.ms).sum::<i64>() as f64 / HOUR as f64;
    let without = match needs.iter().filter(|n| n.bytes_per_second.is_none()).count() {
        0 => String::new(),
        n => format!(", without {} whose rate could not be measured", count(n, "hall")),
    };
    let reserve = env.settings.disk.reserve_bytes;
    let usable = free.saturating_sub(reserve);
    let message = format!(
        "{} free in {}; {hours:.1} h to record need about {} (the forecasts together){without}; {} are kept in reserve",
        size(free),
        env.data_dir.display(),
        size(needed),
        size(reserve)
    );
    let level = if usable == 0 || needed > 2 * usable {
        Level::Problem
    } else if needed > usable {
        Level::Warning
    } else {
        Level::Good
    };
    tell(level, "disk", "space", message);
}

/// The programs that the halls' streams need, and what joining needs.
async fn programs(env: &Env, halls: &[&Hall], tell: &impl Fn(Level, &'static str, &str, String)) {
    let mut needed: BTreeMap<&str, &str> = BTreeMap::from([("ffmpeg", "joining"), ("ffprobe", "joining")]);
    // The built-in client can stand in for it.
    let mut can_do_without_mplayer = true;
    for hall in halls {
        for stream in &hall.streams {
            match recorder_of(env, hall, stream) {
                Recorder::Hls => None,
                Recorder::Ffmpeg => needed.insert("ffmpeg", "recording"),
                Recorder::Mplayer | Recorder::Auto => {
                    can_do_without_mplayer &= chosen_recorder(env, hall) == Recorder::Auto && stream.url.is_web();
                    needed.insert("mplayer", "recording")
                }
                Recorder::Http => None,
            };
        }
    }
    for (program, need) in needed {
        let argument = if program == "mplayer" { "-V" } else { "-version" };
        let asked = tokio::process::Command::new(program)
            .arg(argument)
            // As when it records: mplayer would make a configuration file for its user.
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output();
        match timeout(Duration::from_secs(10), asked).await {
            Ok(Ok(output)) => {
                let text = String::from_utf8_lossy(&output.stdout);
                let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or("no version").trim();
                tell(Level::Good, "program", program, first.chars().take(60).collect());
            }
            Ok(Err(e))
                if e.kind() == std::io::ErrorKind::NotFound && program == "mplayer" && can_do_without_mplayer =>
            {
                let message = "is not installed: the built-in client records in its place".to_owned();
                tell(Level::Good, "program", program, message);
            }
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => {
                let package = if program == "mplayer" { "mplayer" } else { "ffmpeg" };
                tell(
                    Level::Problem,
                    "program",
                    program,
                    format!("is missing and needed for {need}: apt install {package}"),
                );
            }
            Ok(Err(e)) => tell(Level::Problem, "program", program, format!("cannot be started: {e}")),
            Err(_) => tell(Level::Problem, "program", program, "does not answer within 10 s".to_owned()),
        }
    }
}

fn recorder_of(env: &Env, hall: &Hall, stream: &Stream) -> Recorder {
    chosen_recorder(env, hall).for_url(&stream.url)
}

/// What hall and settings say, which may be `Auto`.
fn chosen_recorder(env: &Env, hall: &Hall) -> Recorder {
    match hall.recorder.unwrap_or_default() {
        Recorder::Auto => env.settings.record.recorder,
        chosen => chosen,
    }
}

/// Opens a stream and listens for some seconds.
async fn listen(env: &Env, sources: &Sources, hall: &Hall, stream: &Stream) -> std::result::Result<StreamTest, String> {
    let why = |end: &SourceEnd| match (&end.reason, &end.detail) {
        (Some(reason), Some(detail)) => format!("{reason}: {detail}"),
        (Some(reason), None) => reason.to_string(),
        (None, Some(detail)) => detail.clone(),
        (None, None) => "it ended without a byte".to_owned(),
    };
    let source = sources.for_stream(chosen_recorder(env, hall), &stream.url).map_err(|e| why(&e))?;
    if !source.checks_addresses() {
        ssrf_guard::check(&stream.url).await.map_err(|e| why(&e))?;
    }
    let mut running = source.open(&stream.url, &format!("{} check", hall.name)).map_err(|e| why(&e))?;
    let patience = Duration::from_millis(env.settings.record.first_byte_timeout_ms.unsigned_abs());
    let (mut head, mut bytes, mut buffer) = (Vec::new(), 0_u64, vec![0; 64 * 1024]);
    let mut taken = Vec::new();
    let mut until = Instant::now() + patience;
    let mut first = None;
    while let Ok(Ok(n @ 1..)) = timeout_at(until, running.bytes.read(&mut buffer)).await {
        if first.is_none() {
            first = Some(Instant::now());
            until = Instant::now() + LISTEN;
        }
        bytes += n as u64;
        head.extend_from_slice(&buffer[..n.min(sniff::MAX.saturating_sub(head.len()))]);
        taken.extend_from_slice(&buffer[..n.min(SAMPLE.saturating_sub(taken.len()))]);
    }
    // Before its end is waited for, which may take longer than all of it.
    let took = first.map(|first| first.elapsed());
    running.stop.cancel();
    drop(running.bytes);
    let end =
        timeout(Duration::from_secs(8), running.ended).await.ok().and_then(std::result::Result::ok).unwrap_or_default();
    let Some(took) = took else {
        return Err(if end.reason.is_some() {
            why(&end)
        } else {
            format!("not a byte within {} s", patience.as_secs())
        });
    };
    match sniff::sniff(&head, true) {
        Sniff::NotMedia(what) => Err(what.to_string()),
        found => {
            let container = found.recognised();
            let sample = match container {
                Some(_) => tokio::task::spawn_blocking(move || look_into(&taken)).await.ok().flatten(),
                None => None,
            };
            let media_ms = sample.as_ref().map_or(0, |s| s.media_ms);
            Ok(StreamTest { container, bytes_per_second: rate(bytes, took, media_ms), sample })
        }
    }
}

/// Bytes a second of a stream that was listened to for so long and whose bytes hold so much media: a server may send the
/// last seconds, or a whole chunk of HLS, at once.
fn rate(bytes: u64, listened: Duration, media_ms: i64) -> u64 {
    /// More in a few seconds is no burst: the timestamps jump. Milliseconds.
    const MOST_MS: i64 = 120 * SECOND;
    let media = if media_ms <= MOST_MS { media_ms as f64 / 1000.0 } else { 0.0 };
    (bytes as f64 / listened.as_secs_f64().max(media).max(0.1)) as u64
}

#[cfg(test)]
mod tests;
