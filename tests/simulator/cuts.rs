//! Power failures and kills at any file operation: a small day is lived through under strace, and its log is
//! cut where the machine might have stopped. What is on the disk then is recovered, and must be true.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use streamrip::app::library::assemble::{assemble_talk, no_progress, remove_half_made};
use streamrip::app::library::prune::{PruneRequest, prune};
use streamrip::app::library::recover::{Recovery, recover};
use streamrip::app::library::report::{self, Selection};
use streamrip::app::library::verify::{VerifyRequest, verify};
use streamrip::app::support::env::Env;
use streamrip::catalog::writer::Writer;
use streamrip::catalog::{open_reader, open_writer};
use streamrip::domain::settings::Settings;
use streamrip::domain::time::{MINUTE, Ms};
use streamrip::media::CancellationToken;
use streamrip::plan::verify::Fault as Wrong;

use crate::calendar::Calendar;
use crate::engine::SimStudio;
use crate::oplog::{CALLS, Cut, Log, Op};
use crate::script::{Act, Change, Fault, Script};
use crate::sim::{Fixed, Sim};

/// Where the day is lived through, for the process under strace.
pub const ROOT: &str = "STREAMRIP_CUT_ROOT";

/// So much of its last bytes a power failure may cost, milliseconds: ten seconds between two syncs, and what
/// waits for the next write.
const POWER_COSTS_MS: i64 = 11_000;

/// And a kill.
const KILL_COSTS_MS: i64 = 1000;

/// A connection that has just begun waits for its row before it makes its file. Milliseconds.
const ROW_MS: i64 = 3000;

const PERIOD_MS: i64 = 1000;

/// By this operation the catalog of the first version is on the disk.
const BORN: usize = 100;

/// A catalog of the first version with something in it: the day begins with its migration.
fn old_catalog(root: &Path) {
    let data = root.join("data");
    std::fs::create_dir(&data).expect("a folder");
    let mut db = rusqlite::Connection::open(data.join("catalog.db")).expect("a catalog");
    let tx = db.transaction().expect("begun");
    tx.execute_batch(include_str!("../../migrations/0001_initial.sql")).expect("the first schema");
    tx.execute_batch("INSERT INTO event (name, slug, time_zone) VALUES ('before', 'before', 'Europe/Berlin')")
        .expect("a row");
    tx.pragma_update(None, "user_version", 1).expect("its version");
    tx.commit().expect("written");
    for folder in [root, &data] {
        std::fs::File::open(folder).and_then(|f| f.sync_all()).expect("synced");
    }
}

/// The small day: everything that touches files happens in it.
pub fn live() {
    if let Some(root) = std::env::var_os(ROOT) {
        old_catalog(Path::new(&root));
    }
    fastrand::seed(1);
    let script = Script {
        acts: vec![
            (70_000, Act::Fault(0, Fault::Eof, 1000)),
            (90_000, Act::Fault(1, Fault::Html, 5000)),
            (120_000, Act::Kill(0, 3000)),
            (150_000, Act::Import(Change::OptOut(3))),
            (170_000, Act::Import(Change::Move(1, 1))),
            (260_000, Act::Restart(2000)),
            (330_000, Act::Import(Change::Move(0, 1))),
            (340_000, Act::Import(Change::OptOut(2))),
        ],
    };
    Sim::new(Calendar::tiny(), script, PERIOD_MS, 10 * MINUTE).run();
}

/// One record of what a server gave: simulated time, wall time, bytes so far.
type Given = Vec<(usize, i64, i64, usize)>;

#[test]
fn after_any_cut_the_catalog_is_true_about_the_files() {
    if std::env::var_os(ROOT).is_some() {
        return live();
    }
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let (root, trace) = (dir.path().join("day"), dir.path().join("trace"));
    std::fs::create_dir(&root).expect("made");
    let traced = Command::new("strace")
        .args(["-f", "-y", "-xx", "--seccomp-bpf", "-s", "1000000", "-e", &format!("trace={CALLS}"), "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "cuts::after_any_cut_the_catalog_is_true_about_the_files", "--nocapture"])
        .env(ROOT, &root)
        .output();
    let output = match traced {
        Ok(output) => output,
        Err(e) => return streamrip_lab::skipped(&format!("strace cannot be started: {e}")),
    };
    let text = std::fs::read_to_string(&trace).unwrap_or_default();
    if text.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        return streamrip_lab::not_allowed(&format!("strace may not trace here: {said}"));
    }
    assert!(output.status.success(), "the day itself failed: {}", String::from_utf8_lossy(&output.stderr));
    let log = Log::read(&text, &root);
    drop(text);
    let given = given(&log);
    let cuts = choose(&log);
    println!("{} file operations, {} cuts", log.ops.len(), cuts.len());
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get) {
            scope.spawn(|| {
                while let Some((at, cut)) = cuts.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let judged =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judge(&log, &given, *at, *cut)));
                    if let Err(why) = judged {
                        let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                        failed.lock().expect("lock").push((*at, *cut, why));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("lock");
    failed.sort_by_key(|f| f.0);
    let (at, cut, why) = failed.first().cloned().unwrap_or((0, Cut::Kept, String::new()));
    let around: Vec<String> = log.ops[at.saturating_sub(6)..(at + 2).min(log.ops.len())].iter().map(shown).collect();
    assert!(
        failed.is_empty(),
        "{} of {} cuts failed; the first before operation {at} ({cut:?}): {why}\naround it: {around:#?}",
        failed.len(),
        cuts.len()
    );
}

fn shown(op: &Op) -> String {
    match op {
        Op::Write(id, at, bytes) => format!("Write {id} at {at}: {} bytes", bytes.len()),
        op => format!("{op:?}"),
    }
}

/// Where to cut: around everything that gives or takes names and around the syncs of what is no database, and
/// at some other places; all of them with `STREAMRIP_CUTS=all`.
fn choose(log: &Log) -> Vec<(usize, Cut)> {
    let of_interest = |op: &Op| match op {
        Op::Rename(..) | Op::Link(..) | Op::Unlink(_) | Op::Create(..) | Op::Mkdir(_) | Op::SyncDir(_) => true,
        Op::SyncFile(id) => !log.made_as.get(id).is_some_and(|name| name.contains("catalog.db")),
        Op::Write(..) | Op::Truncate(..) => false,
    };
    let mut rng = fastrand::Rng::with_seed(7);
    let all = std::env::var("STREAMRIP_CUTS").is_ok_and(|v| v == "all");
    let mut cuts: Vec<usize> = Vec::new();
    for (n, op) in log.ops.iter().enumerate() {
        if all || of_interest(op) && rng.u32(..3) == 0 || rng.usize(..log.ops.len()) < 60 {
            cuts.extend([n, n + 1]);
        }
    }
    cuts.dedup();
    cuts.into_iter().flat_map(|at| [(at, Cut::Kept), (at, Cut::Lost), (at, Cut::Mixed(at as u64))]).collect()
}

/// What each connection was given, with the numbers of the operations after which it was.
fn given(log: &Log) -> BTreeMap<usize, Given> {
    let mut out: BTreeMap<usize, Given> = BTreeMap::new();
    for (n, op) in log.ops.iter().enumerate() {
        let Op::Write(id, _, bytes) = op else { continue };
        let Some(life) = log.made_as.get(id).and_then(|name| name.strip_prefix("given/")) else { continue };
        let number = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let list = out.entry(life.parse().expect("a number")).or_default();
        let before = list.last().map_or(0, |last| last.3);
        list.push((n, number(0), number(8), before + bytes.len() - 16));
    }
    out
}

fn judge(log: &Log, given: &BTreeMap<usize, Given>, at: usize, cut: Cut) {
    let last = given.values().flatten().filter(|g| g.0 < at).max_by_key(|g| g.1);
    let (mono, wall) = last.map_or((0, 0), |g| (g.1, g.2));
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    log.image(at, cut).write_to(dir.path());
    let env = Env {
        data_dir: dir.path().join("data"),
        settings: Settings::default(),
        clock: Arc::new(Fixed(Ms(wall))),
        engine: Arc::new(SimStudio { period_ms: PERIOD_MS }),
    };
    if !env.data_dir.exists() {
        assert!(at < BORN, "everything is gone");
        return;
    }
    let mut db = open_writer(&env.data_dir).expect("the catalog opens");
    // What was in it before the migration still is, once it was there at all.
    let before: i64 = db.query_row("SELECT count(*) FROM event WHERE name = 'before'", [], |r| r.get(0)).expect("read");
    assert!(before == 1 || at < BORN, "the migration lost a row");
    recover(&env, &mut db, &CancellationToken::new()).expect("recovered");
    assert_eq!(
        recover(&env, &mut db, &CancellationToken::new()).expect("recovered"),
        Recovery::default(),
        "a second recovery did something"
    );
    remove_half_made(&env.data_dir);
    // What is between two steps of a prune or a join is finished, or done again, by the next one.
    let aside = |path: &Path| path.file_name().is_some_and(|n| env.data_dir.join("quarantine").join(n).exists());
    let is_begun = |fault, path: &Path| match fault {
        Wrong::Undeleted => true,
        Wrong::Unknown => !path.starts_with("segments"),
        // Of an opted-out talk: first it is out of sight, then its row says so.
        Wrong::Missing => aside(path),
        _ => false,
    };
    is_sound(&env, "after the recovery", is_begun);
    nothing_more_is_lost(&env, &db, given, at, mono, cut);
    // And the day goes on from here: what was begun is done again.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (writer, thread) = Writer::start(db).expect("a thread");
    let reader = Arc::new(Mutex::new(open_reader(&env.data_dir).expect("a reader")));
    let views = report::select(&reader.lock().expect("lock"), &env, &Selection::default()).expect("read");
    for view in &views {
        let made = assemble_talk(&env, &reader, &writer, view.talk.id, false, no_progress());
        runtime.block_on(made).unwrap_or_else(|e| panic!("talk {} cannot be joined: {e}", view.talk.id));
    }
    for opted_out in [false, true] {
        let request = PruneRequest { dry_run: false, opted_out };
        runtime.block_on(prune(&env, &reader, &writer, request)).expect("pruned");
    }
    drop(writer);
    thread.join().expect("ended");
    is_sound(&env, "in the end", |_, _| false);
}

/// The catalog says of files what is true.
fn is_sound(env: &Env, when: &str, may: impl Fn(Wrong, &Path) -> bool) {
    let found = verify(env, VerifyRequest::default(), &mut |_, _| ()).expect("verified");
    let wrong: Vec<_> =
        found.problems.iter().filter(|p| !may(p.fault, p.path.as_deref().unwrap_or(Path::new("")))).collect();
    assert!(wrong.is_empty(), "{when}: {wrong:#?}");
}

/// What came long enough before the cut is there.
fn nothing_more_is_lost(
    env: &Env,
    db: &rusqlite::Connection,
    given: &BTreeMap<usize, Given>,
    at: usize,
    mono: i64,
    cut: Cut,
) {
    let mut have: BTreeMap<usize, usize> = BTreeMap::new();
    for path in crate::checks::files_below(&env.data_dir, "segments") {
        let content = std::fs::read(env.data_dir.join(&path)).expect("read");
        // What was lost of its beginning is zeros.
        let is_begun = content.first().is_some_and(|first| *first != 0);
        if let Some(life) = crate::checks::life_of(&content).filter(|_| is_begun) {
            have.insert(life, content.len());
        }
    }
    let pruned: Vec<usize> = db
        .prepare("SELECT bytes FROM segment WHERE verdict = 'pruned'")
        .and_then(|mut q| q.query_map([], |r| r.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>())
        .expect("read")
        .into_iter()
        .map(|n| usize::try_from(n).expect("fits"))
        .collect();
    let costs = if cut == Cut::Kept { KILL_COSTS_MS } else { POWER_COSTS_MS };
    for (life, list) in given {
        let first = list.first().map_or(i64::MAX, |g| g.1);
        if mono - first < costs + ROW_MS {
            continue;
        }
        // Where the daemon was killed on that day, the end of what it had then is gone.
        let end = list.last().map_or((0, 0), |g| (g.1, g.3));
        let is_killed = list.len() < 2 || list[list.len() - 2].3 != end.1;
        let until = (mono - costs).min(if is_killed { end.0 - KILL_COSTS_MS } else { i64::MAX });
        let due = list.iter().rfind(|g| g.0 < at && g.1 <= until).map_or(0, |g| g.3);
        let there = have.get(life).copied().unwrap_or(0);
        assert!(
            there >= due || pruned.iter().any(|n| (due..=end.1).contains(n)),
            "connection {life}: {due} bytes must be there by {mono}, and {there} are"
        );
    }
}

/// The folder into which the servers write what they give, where someone wants to know.
pub fn given_to() -> Option<PathBuf> {
    let root = std::env::var_os(ROOT)?;
    let folder = Path::new(&root).join("given");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder)
}
