//! What must hold, at every instant and in the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use streamrip::app::daemon::TapeView;
use streamrip::app::library::report::{self, Selection};
use streamrip::catalog::schedule::{Snapshot, TalkFilter, schedule_version, snapshot};
use streamrip::domain::gap::GapCause;
use streamrip::domain::hall::Hall;
use streamrip::domain::ids::HallId;
use streamrip::domain::interval::{Interval, IntervalSet};
use streamrip::domain::talk::{TalkState, TalkStatus};
use streamrip::plan::wanted::window_of;

use crate::server::{Life, Servers};
use crate::sim::Sim;

/// A tape may take so long to begin after it became wanted: a tick, and the stop of the one before it.
const BEGIN_MS: i64 = 8000;

/// The longest backoff, with a tick.
const BACKOFF_MS: i64 = 31_500;

/// An opted-out talk's tape may take so long to end: a tick and a half.
const LEAVE_MS: i64 = 2500;

/// Two connections at once for longer than this are no handover (20 s), also where it follows a hedge (15 s) and the
/// late connection that this left (10 s).
const TWO_MS: i64 = 50_000;

/// A kill may cost what came in so many last milliseconds.
const KILL_COSTS_MS: i64 = 1000;

/// A disk that was full for longer than the buffer may cost more, until the connection is made anew.
const FULL_COSTS_MS: i64 = 45_000;

/// What is remembered from tick to tick.
pub struct Watch {
    schedule: Snapshot,
    wanted_since: Vec<Option<i64>>,
    forbidden_since: Vec<Option<i64>>,
    two_since: Vec<Option<i64>>,
    /// When the daemon began, or time or schedule were changed.
    shaken: i64,
    pub reported: i64,
}

impl Watch {
    pub fn new(halls: usize) -> Self {
        Self {
            schedule: Snapshot { version: -1, ..Snapshot::default() },
            wanted_since: vec![None; halls],
            forbidden_since: vec![None; halls],
            two_since: vec![None; halls],
            shaken: 0,
            reported: 0,
        }
    }

    /// A daemon begins.
    pub fn begin(&mut self, mono: i64) {
        let halls = self.two_since.len();
        self.two_since = vec![None; halls];
        self.wanted_since = vec![None; halls];
        self.shaken(mono);
    }

    /// What should be is another thing from now on.
    pub fn shaken(&mut self, mono: i64) {
        self.shaken = mono;
    }
}

/// The number of a hall's server.
fn server_of(hall: &Hall) -> Option<usize> {
    hall.streams.first()?.url.path().split('/').nth(1)?.parse().ok()
}

/// Checks what must hold at every instant.
pub fn every_tick(sim: &mut Sim, tapes: &[TapeView]) {
    let now = sim.env.clock.now();
    let mono = sim.mono;
    if schedule_version(&sim.db).expect("read") != sim.watch.schedule.version {
        sim.watch.schedule = snapshot(&sim.db, TalkFilter::default()).expect("read");
    }
    let watch = &mut sim.watch;
    let servers = sim.world.lock();
    for hall in &watch.schedule.halls {
        let Some(server) = server_of(hall) else { continue };
        let (mut wanted, mut forbidden) = (false, false);
        for talk in watch.schedule.talks.iter().filter(|t| t.hall == hall.id && t.status == TalkStatus::Scheduled) {
            let event = watch.schedule.events.iter().find(|e| e.id == talk.event);
            wanted |= talk.is_on() && window_of(talk, event, &sim.env.settings.record).contains(now);
            forbidden |= talk.opted_out && talk.slot.contains(now);
        }
        wanted &= !forbidden;
        let since = |known: &mut Option<i64>, is: bool| {
            *known = if is { Some(known.unwrap_or(mono)) } else { None };
            known.map_or(0, |at| mono - at.max(watch.shaken))
        };
        let open = servers.open(server);
        assert!(open <= 2, "{open} connections on {:?} at once", hall.name);
        let two = watch.two_since[server].map_or(0, |at| mono - at);
        watch.two_since[server] = (open == 2).then(|| watch.two_since[server].unwrap_or(mono));
        assert!(two <= TWO_MS, "two connections on {:?} for {two} ms", hall.name);
        if since(&mut watch.forbidden_since[server], forbidden) > LEAVE_MS {
            assert_eq!(open, 0, "{:?} is taped during a talk that is opted out", hall.name);
        }
        if since(&mut watch.wanted_since[server], wanted) > BEGIN_MS {
            assert!(tapes.iter().any(|t| t.hall.id == hall.id), "{:?} is wanted and not taped", hall.name);
            let begun = watch.wanted_since[server].unwrap_or(mono).max(watch.shaken);
            let quiet = mono - servers.last_contact(server, mono).unwrap_or(begun).max(begun);
            assert!(quiet <= BACKOFF_MS, "{:?} is wanted and was not asked for {quiet} ms", hall.name);
        }
    }
}

/// Checks what is said of each talk: every second of a past slot is covered or a gap with a cause, and
/// the state says what the intervals say.
pub fn reports(sim: &Sim) {
    let now = sim.env.clock.now();
    for view in report::select(&sim.db, &sim.env, &Selection::default()).expect("read") {
        let (slot, report) = (view.talk.slot, &view.report);
        let what = || format!("talk {} {:?} {slot:?} at {now:?}: {report:?}", view.talk.id, view.talk.title);
        let past = Interval::new(slot.start, slot.end.min(now));
        let gaps: IntervalSet = report.gaps.iter().map(|g| g.at).collect();
        assert_eq!(gaps.total_ms(), report.gaps.iter().map(|g| g.at.len_ms()).sum::<i64>(), "gaps overlap: {}", what());
        assert!(gaps.intersect(&report.covered).is_empty(), "covered and a gap: {}", what());
        let all = report.covered.union(&gaps);
        assert_eq!(
            all,
            if past.is_empty() { IntervalSet::new() } else { past.into() },
            "not all explained: {}",
            what()
        );
        assert_eq!(report.recorded_ms, report.covered.total_ms(), "{}", what());
        for gap in &report.gaps {
            let is_explained = gap.cause != GapCause::Unknown || gap.at.len_ms() <= 1000;
            assert!(is_explained, "a gap without cause, {:?}: {} {:#?}", gap, what(), view.connections);
        }
        let missing = gaps.total_ms();
        let tolerance = sim.env.settings.list.complete_tolerance_ms;
        let fits = match report.state {
            TalkState::Scheduled => now < view.window.start,
            TalkState::Recording => view.window.contains(now),
            TalkState::Complete => now >= view.window.end && missing <= tolerance,
            TalkState::Partial => now >= view.window.end && missing > tolerance && report.recorded_ms > 0,
            TalkState::Missed => now >= view.window.end && missing > tolerance && report.recorded_ms == 0,
            TalkState::Cancelled => view.talk.status == TalkStatus::Cancelled,
            TalkState::Removed => view.talk.status == TalkStatus::Removed,
            TalkState::OptedOut => view.talk.opted_out,
        };
        assert!(fits, "the state is another than the intervals say: {}", what());
    }
}

/// Checks that there is no file without a row and no row without a file. `is_pruned`: a prune has ended since
/// the last kill, which may have come between the row and the file of what is pruned.
pub fn files(sim: &Sim, is_pruned: bool) {
    let on_disk: BTreeSet<PathBuf> = files_below(&sim.env.data_dir, "segments").into_iter().collect();
    let mut query = sim.db.prepare("SELECT path, verdict FROM segment").expect("sql");
    let rows = query.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?))).expect("rows");
    let (mut known, mut pruned) = (BTreeSet::new(), BTreeSet::new());
    for row in rows {
        let (path, verdict) = row.expect("row");
        assert_ne!(verdict, "open", "{path} is open and nobody writes it");
        match verdict.as_str() {
            "lost" => {}
            "pruned" => drop(pruned.insert(PathBuf::from(path))),
            _ => drop(known.insert(PathBuf::from(path))),
        }
    }
    let strangers: Vec<_> = on_disk.difference(&known).filter(|p| is_pruned || !pruned.contains(*p)).collect();
    assert!(strangers.is_empty(), "files without a row: {strangers:?}");
    let lost: Vec<_> = known.difference(&on_disk).collect();
    assert!(lost.is_empty(), "rows without a file: {lost:?}");
}

/// All files in a folder of the data directory, relative to that.
pub fn files_below(data_dir: &Path, folder: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut todo = vec![data_dir.join(folder)];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                todo.push(entry.path());
            } else {
                out.push(entry.path().strip_prefix(data_dir).expect("below").to_owned());
            }
        }
    }
    out
}

/// The life that a file was written from, where its first bytes tell.
pub fn life_of(content: &[u8]) -> Option<usize> {
    if content.starts_with(b"<!DOCTYPE") {
        let text = String::from_utf8_lossy(content);
        return text.split("life ").nth(1)?.split(' ').next()?.parse().ok();
    }
    Some(u32::from_be_bytes(content.get(4..8)?.try_into().ok()?) as usize)
}

/// Checks that every byte which came is in exactly one file.
pub fn bytes(sim: &Sim) {
    let servers = sim.world.lock();
    let mut found: HashMap<usize, (PathBuf, usize)> = HashMap::new();
    let tombs = tombstones(sim);
    for path in files_below(&sim.env.data_dir, "segments") {
        let content = std::fs::read(sim.env.data_dir.join(&path)).expect("read");
        // What is shorter tells no life, and is compared by what it is a part of.
        let Some(number) = life_of(&content) else { continue };
        let life = &servers.lives()[number];
        assert!(
            life.given.starts_with(&content),
            "{} ({} bytes) is not what connection {number} gave ({} bytes)",
            path.display(),
            content.len(),
            life.given.len()
        );
        if let Some((other, _)) = found.insert(number, (path.clone(), content.len())) {
            panic!("{} and {} both hold what connection {number} gave", path.display(), other.display());
        }
    }
    for (number, life) in servers.lives().iter().enumerate() {
        let due = must_have(sim, life);
        let mut have = found.get(&number).map_or(0, |(_, n)| *n);
        if have < due {
            // Deleted since: its row still says what it was.
            let is = |(_, _, bytes, sha256, _): &&Tombstone| {
                life.given.get(..*bytes).is_some_and(|part| Sha256::digest(part).as_slice() == sha256)
            };
            have = have.max(tombs.iter().filter(is).map(|t| t.2).max().unwrap_or(0));
        }
        assert!(
            have >= due || due < 8,
            "connection {number} of hall {} (simulated time {} to {:?}) gave {} bytes, {due} of them must be on disk, and {have} are",
            life.hall,
            life.opened,
            life.ended,
            life.given.len()
        );
    }
}

/// What is left of a segment that was pruned: id, hall, size, SHA-256, reason.
pub type Tombstone = (i64, i64, usize, Vec<u8>, String);

/// All of them.
pub fn tombstones(sim: &Sim) -> Vec<Tombstone> {
    let sql = "SELECT id, hall_id, bytes, sha256, coalesce(verdict_reason, '') FROM segment WHERE verdict = 'pruned'";
    let mut query = sim.db.prepare(sql).expect("sql");
    let rows = query
        .query_map([], |r| {
            let bytes = usize::try_from(r.get::<_, i64>(2)?).expect("fits");
            Ok((r.get(0)?, r.get(1)?, bytes, r.get(3)?, r.get(4)?))
        })
        .expect("asked");
    rows.collect::<rusqlite::Result<_>>().expect("read")
}

/// The connection that gave bytes of this sum first.
pub fn life_with<'a>(servers: &'a Servers, bytes: usize, sha256: &[u8]) -> Option<&'a Life> {
    servers
        .lives()
        .iter()
        .find(|life| life.given.get(..bytes).is_some_and(|part| Sha256::digest(part).as_slice() == sha256))
}

/// So many of its bytes nothing may have cost.
fn must_have(sim: &Sim, life: &Life) -> usize {
    let ended = life.ended.unwrap_or(sim.mono);
    let disturbed = sim.full_times.iter().any(|(from, to)| life.opened < *to + FULL_COSTS_MS && ended > *from);
    if life.cut_off || disturbed {
        return 0;
    }
    // A connection that has just begun waits for its row before it makes its file, also where it ends meanwhile.
    if sim.deaths.iter().any(|death| (life.opened..life.opened + 5000).contains(death)) {
        return 0;
    }
    if !life.killed {
        return life.given.len();
    }
    let safe = life.progress.iter().rfind(|(at, _)| *at <= ended - KILL_COSTS_MS);
    safe.map_or(0, |(_, n)| *n)
}

/// Compares what is said to be covered with what the servers gave.
pub fn truth(sim: &Sim) {
    let period = sim.world.period_ms;
    let tolerance = 2 * period + 1500;
    let servers = sim.world.lock();
    let halls: BTreeMap<HallId, usize> =
        sim.watch.schedule.halls.iter().filter_map(|h| Some((h.id, server_of(h)?))).collect();
    let (mut may, mut must) = (vec![Vec::new(); 3], vec![Vec::new(); 3]);
    for life in servers.lives() {
        let safe = must_have(sim, life) / crate::server::PACKET;
        let total = life.given.len() / crate::server::PACKET;
        for (n, (_, wall)) in life.frames.iter().enumerate() {
            let at = Interval::new(*wall, wall.plus(period));
            may[life.hall].push(at);
            // The last frames are the ones that a kill costs.
            if life.frames.len() - n > total - safe {
                must[life.hall].push(at);
            }
        }
    }
    let may: Vec<IntervalSet> = may.into_iter().map(|all| all.into_iter().collect()).collect();
    let must: Vec<IntervalSet> = must.into_iter().map(|all| all.into_iter().collect()).collect();
    let views = report::select(&sim.db, &sim.env, &Selection::default()).expect("read");
    for view in &views {
        if view.talk.opted_out {
            continue;
        }
        // What was taped before a neighbour was opted out is not shown.
        let hidden: IntervalSet = views
            .iter()
            .filter(|v| v.hall.id == view.hall.id && v.talk.opted_out && v.talk.status == TalkStatus::Scheduled)
            .map(|v| v.talk.slot)
            .collect();
        let Some(hall) = halls.get(&view.hall.id) else { continue };
        let covered = &view.report.covered;
        let what = |holes: &IntervalSet| {
            let files = view.segments.iter().map(|s| (s.id, s.opened, s.at, s.verdict, s.bytes, &s.spans));
            let files: Vec<_> = files.collect();
            let gaps = &view.report.gaps;
            format!("talk {} {:?}: {holes:?}\ngaps {gaps:?}\nsegments {files:#?}", view.talk.id, view.talk.slot)
        };
        let long = |set: IntervalSet| set.iter().filter(|i| i.len_ms() > tolerance).collect::<IntervalSet>();
        // What was received and is in no file is said to be missing, with that cause; `plans` compares it with the file.
        let in_no_file = |cause| matches!(cause, GapCause::FormatChanged | GapCause::NotJoined | GapCause::Unreadable);
        let unused: IntervalSet =
            view.report.gaps.iter().filter(|gap| in_no_file(gap.cause)).map(|gap| gap.at).collect();
        let forgotten = long(must[*hall].clip(view.talk.slot).subtract(covered).subtract(&hidden).subtract(&unused));
        assert!(
            forgotten.is_empty(),
            "what was recorded is said to be missing: {}\n{:#?}",
            what(&forgotten),
            views.iter().filter(|v| v.hall.id == view.hall.id).map(|v| &v.talk).collect::<Vec<_>>()
        );
        let invented = long(covered.subtract(&may[*hall]));
        assert!(invented.is_empty(), "what was not recorded is said to be covered: {}", what(&invented));
    }
}
