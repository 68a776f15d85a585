//! A compressed congress day on real parts: three halls of six talks each, a server that misbehaves by a seeded script,
//! and a daemon that is killed at once, again and again, and started again. At its end every second that was
//! offered must be in the file of its talk, but for what the faults cost, which is measured and printed.
//!
//! `make test` runs a day of a minute and a half; `make soak` one of an hour. `SOAK_MINUTES`, `SOAK_KILLS` and
//! `SOAK_SEED` change it; `SOAK_PROGRAM` is another build of streamrip; with `SOAK_KEEP=1` the data directory stays.

#![allow(clippy::print_stdout, reason = "the table is what people run it for")]

mod account;
mod script;
mod truth;
mod watch;

use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use account::{Event, Incident};
use script::{Kind, Script};
use serde_json::Value;
use streamrip_lab::schedule::{Talk, calendar, halls_file, in_seconds};
use streamrip_lab::{Daemon, Encoder, FaultServer, Format, PATIENCE, Recipe, Route, Streamrip, now_ms, wait_until};
use truth::Packet;
use watch::Watch;

/// As in a real congress, but for what is waited for.
const SETTINGS: &str = "\
[record]
stall_timeout = \"4s\"
first_byte_timeout = \"5s\"
[assemble]
settle = \"2s\"
[prune]
min_segment = \"64KiB\"
[disk]
reserve = \"100MiB\"
";

/// Before and after each talk: the windows of neighbours overlap by twice this.
const PADDING: i64 = 3;

const TALKS: i64 = 6;

/// From the import to the first talk.
const LEAD: i64 = 6;

/// What may be lost without a fault, seconds a hall: nothing, but for some packets of a very busy machine.
const STRAY_BOUND: f64 = 0.3;

struct Hall {
    name: &'static str,
    encoder: Encoder,
    route: Route,
    server: FaultServer,
    events: Mutex<Vec<Event>>,
}

impl Hall {
    fn open(name: &'static str) -> Self {
        let encoder = Recipe::new(Format::MpegTs).video_kbit(100).start().ready();
        let server = FaultServer::start();
        let path = format!("/{}.ts", name.replace(' ', "").to_lowercase());
        let route = server.live(&path, Format::MpegTs.kind(), encoder.live());
        Self { name, encoder, route, server, events: Mutex::default() }
    }

    fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True where some connection is being sent something.
    fn is_received(&self) -> bool {
        let sent = || -> Vec<(u64, u64)> {
            let open = self.route.connections().into_iter().filter(|c| c.closed_ms.is_none());
            open.map(|c| (c.number, c.sent)).collect()
        };
        let before = sent();
        sleep(Duration::from_millis(700));
        sent().iter().any(|(number, now)| before.iter().any(|(n, then)| n == number && then < now))
    }

    /// Misbehaves until `end_ms`, each time only after the hall has recovered.
    fn misbehave(&self, script: &Script, nth: u64, end_ms: i64) {
        for (peace, kind, length) in script.faults(nth) {
            let waiting = Instant::now();
            let patience = PATIENCE + Duration::from_secs(60);
            while !self.is_received() && now_ms() < end_ms && waiting.elapsed() < patience {}
            sleep_until(end_ms.min(now_ms() + millis(peace)));
            if now_ms() + millis(length) >= end_ms {
                return;
            }
            let begin = now_ms();
            kind.begin().into_iter().for_each(|act| self.route.act(act));
            sleep(length);
            kind.end().into_iter().for_each(|act| self.route.act(act));
            let event = Event { kind, begin, end: now_ms() };
            self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn sleep_until(at_ms: i64) {
    if let Ok(left) = u64::try_from(at_ms - now_ms()) {
        sleep(Duration::from_millis(left));
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn a_compressed_congress_day_loses_no_more_than_its_faults_cost() {
    let script = match number("SOAK_MINUTES") {
        Some(minutes) => {
            let seed = number("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..100_000));
            let kills = number("SOAK_KILLS").unwrap_or((minutes / 2).max(3));
            let minutes = i64::try_from(minutes).expect("some minutes");
            Script::of_minutes(seed, minutes, usize::try_from(kills).expect("some kills"))
        }
        None => Script::small(number("SOAK_SEED").unwrap_or(27)),
    };
    let seed = script.seed;
    println!("SOAK_SEED={seed}: {script:?}");
    let program = std::env::var_os("SOAK_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_streamrip").into());
    let mut streamrip = Streamrip::new(program);
    if std::env::var_os("SOAK_KEEP").is_some() {
        println!("kept: {}", streamrip.keep().display());
    }
    let halls = ["Saal 1", "Saal 2", "Saal 3"].map(Hall::open);
    std::fs::create_dir_all(streamrip.data_dir()).expect("a data directory");
    std::fs::write(streamrip.data_dir().join("streamrip.toml"), SETTINGS).expect("settings");
    let urls = [0, 1, 2].map(|n: usize| [halls[n].route.url()]);
    let rows: Vec<_> = halls.iter().zip(&urls).map(|(hall, url)| (hall.name, url.as_slice(), 2)).collect();
    streamrip.write("congress.toml", halls_file(PADDING, PADDING, &rows));
    let start = in_seconds(LEAD);
    let talks: Vec<Talk> = halls
        .iter()
        .flat_map(|hall| (0..TALKS).map(move |n| (hall.name, n)))
        .map(|(hall, n)| {
            let begin = start + n * script.talk_seconds * 1000;
            Talk::new(hall, &format!("{hall} talk {}", n + 1), begin, script.talk_seconds)
        })
        .collect();
    let calendar = streamrip.write("congress.ics", calendar(&talks));
    streamrip.ok(&["import", &calendar]);
    let end = start + TALKS * script.talk_seconds * 1000;

    let mut words: Vec<(String, usize)> = halls.iter().map(|h| (h.server.address().to_string(), 3)).collect();
    words.push((streamrip.data_dir().display().to_string(), usize::MAX));
    let watch = Watch::start(words);
    let (kills, said) = live(&streamrip, &script, &halls, &watch, (start, end));
    let mut complaints = Vec::new();
    let left = Instant::now();
    while !watch.left().is_empty() && left.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(100));
    }
    complaints.extend(watch.left().into_iter().map(|left| format!("left behind: {left}")));
    complaints.extend(watch.end());

    let verified = streamrip.run(&["verify", "--json"]);
    if verified.code != Some(0) {
        complaints.push(format!("verify: {verified:?}"));
    }
    let list = streamrip.json(&["list", "--json"]);
    let list = list.as_array().expect("talks");
    assert_eq!(list.len(), talks.len());
    let mut all = Vec::new();
    for hall in &halls {
        let events = hall.events().into_iter().chain(kills.iter().copied()).collect();
        let incidents = judge(&streamrip, hall, events, end + PADDING * 1000, list, &mut complaints);
        for incident in &incidents {
            println!("{}: {}", hall.name, incident.describe(start));
        }
        all.extend(incidents);
    }
    let starts: Vec<f64> = kills.iter().map(|kill| (kill.end - kill.begin) as f64 / 1000.0).collect();
    let slowest = starts.iter().copied().fold(0.0, f64::max);
    println!(
        "\n{}\n{} kills, the process was gone and started again after at most {slowest:.2} s",
        account::table(&all),
        kills.len()
    );
    if !complaints.is_empty() {
        println!("\n{}", said.join("\n--- killed ---\n"));
        panic!("SOAK_SEED={seed}:\n{}", complaints.join("\n"));
    }
}

/// The day itself. Gives back the kills, and what the daemons said.
fn live(
    streamrip: &Streamrip,
    script: &Script,
    halls: &[Hall],
    watch: &Watch,
    day: (i64, i64),
) -> (Vec<Event>, Vec<String>) {
    let (start, end) = day;
    let spawn = || -> Daemon {
        let daemon = streamrip.spawn(&["run", "--until-done", "--no-check"]);
        watch.daemon(daemon.id());
        daemon
    };
    let (mut kills, mut said) = (Vec::new(), Vec::new());
    let mut daemon = spawn();
    std::thread::scope(|scope| {
        for (nth, hall) in (0..).zip(halls) {
            // The last seconds are for the last recovery.
            scope.spawn(move || {
                sleep_until(start);
                hall.misbehave(script, nth, end - 8000);
            });
        }
        for at in script.killings() {
            sleep_until(start + millis(at));
            let begin = now_ms();
            daemon.kill();
            said.push(daemon.said());
            daemon = spawn();
            kills.push(Event { kind: Kind::Kill, begin, end: now_ms() });
        }
    });
    sleep_until(end);
    let status = daemon.wait(Duration::from_secs(180));
    watch.daemon(0);
    said.push(daemon.said());
    assert!(matches!(status.code(), Some(0 | 4)), "{status}: {}", daemon.said());
    wait_until("the last connections to end", PATIENCE, || halls.iter().all(|hall| hall.route.open() == 0));
    (kills, said)
}

/// Compares what a hall offered with the files of its talks, and those with what the list says.
fn judge(
    streamrip: &Streamrip,
    hall: &Hall,
    events: Vec<Event>,
    end: i64,
    list: &[Value],
    complaints: &mut Vec<String>,
) -> Vec<Incident> {
    let connections = hall.route.connections();
    let mut incidents = account::incidents(events, &connections, end);
    let folder = streamrip.folder().join(hall.name);
    std::fs::create_dir_all(&folder).expect("a folder");
    let stream = truth::of_stream(hall.encoder.live(), &folder);
    let talks: Vec<&Value> = list.iter().filter(|talk| talk["hall"] == hall.name).collect();
    let mut lost: [Vec<&Packet>; 2] = [Vec::new(), Vec::new()];
    for talk in talks {
        let (from, to) = (instant(&talk["start"]), instant(&talk["end"]));
        let Some(path) = talk["assembly"]["path"].as_str() else {
            complaints.push(format!("no file: {talk}"));
            continue;
        };
        let file = truth::of_file(&streamrip.data_dir().join(path));
        for track in [0, 1] {
            let (present, wrong) = truth::compare(&stream[track], &file[track]);
            if wrong > 0 {
                complaints.push(format!("{wrong} packets of {path} are not the stream's, or twice there"));
            }
            let slot = || stream[track].iter().zip(&present).filter(|(p, _)| from <= p.at && p.at < to);
            let missing = slot().filter(|(_, present)| !**present).map(|(packet, _)| packet);
            lost[track].extend(missing.filter(|p| !account::is_withheld(&incidents, p.came)));
            if track == 1 {
                let recorded: f64 = slot().filter(|(_, present)| **present).map(|(packet, _)| packet.seconds).sum();
                check_list(talk, recorded, &incidents, complaints);
            }
        }
    }
    for track in [0, 1] {
        let stray = account::blame(&mut incidents, track, &lost[track], &connections);
        println!("{}: {stray:.2} s of track {track} lost without a fault", hall.name);
        if stray > STRAY_BOUND {
            complaints.push(format!("{}: {stray:.2} s of track {track} were lost without a fault", hall.name));
        }
    }
    complaints.extend(account::complaints(hall.name, &incidents));
    incidents
}

/// What the list says of a talk agrees with its packets, and each gap has a cause that really was.
fn check_list(talk: &Value, by_packets: f64, incidents: &[Incident], complaints: &mut Vec<String>) {
    let title = &talk["title"];
    let seconds = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let gaps = talk["gaps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let slot = (instant(&talk["end"]) - instant(&talk["start"])) as f64 / 1000.0;
    let recorded = seconds(&talk["recorded_seconds"]);
    let missing: f64 = gaps.iter().map(|gap| seconds(&gap["seconds"])).sum();
    let mut wrong = |what: String| complaints.push(format!("{title}: {what}"));
    println!("{title}: {recorded:.2} s listed, {by_packets:.2} s by packets, {} gaps", gaps.len());
    if (recorded + missing - slot).abs() > 0.1 {
        wrong(format!("{recorded} s recorded and {missing} s missing of {slot} s"));
    }
    if (recorded - by_packets).abs() > 1.0 + 0.7 * gaps.len() as f64 {
        wrong(format!("listed are {recorded} s, there are {by_packets:.2} s"));
    }
    for gap in gaps {
        let (from, to) = (instant(&gap["start"]), instant(&gap["end"]));
        let cause = gap["cause"].as_str().unwrap_or_default();
        // What is promised: a gap of more than a second has its cause. Shorter ones are the edges of packets.
        let counts = seconds(&gap["seconds"]) > 1.0;
        if counts && !incidents.iter().any(|i| i.explains((from, to), cause)) {
            wrong(format!("nothing explains {gap}"));
        }
    }
}

fn instant(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_default();
    chrono::DateTime::parse_from_rfc3339(text).unwrap_or_else(|e| panic!("{value}: {e}")).timestamp_millis()
}
