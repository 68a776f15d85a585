//! Assemblies and pruning: nothing twice, nothing left out, no only copy given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use streamrip::app::library::assemble::{AssembleOutcome, assemble_talk, no_progress, plan_talk};
use streamrip::app::library::prune::{PruneRequest, prune};
use streamrip::app::library::report::{self, Selection, TalkView};
use streamrip::app::library::retention::retain;
use streamrip::app::support::clock::TestClock;
use streamrip::catalog::schedule::TalkFilter;
use streamrip::catalog::writer::Writer;
use streamrip::catalog::{assemblies, open_reader};
use streamrip::domain::ids::SegmentId;
use streamrip::domain::interval::IntervalSet;
use streamrip::domain::segment::{Segment, Verdict};
use streamrip::domain::talk::TalkStatus;
use streamrip::domain::time::{HOUR, Ms};
use streamrip::plan::assembly::EditList;
use streamrip::plan::edit_filter::EditFilter;
use streamrip::plan::wanted::forbidden_slots;

use crate::engine::{Frame, frames_of, joined_frames};
use crate::sim::Sim;

/// Joins each talk as the daemon would, judges the files, and prunes.
pub fn plans(sim: &Sim) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (writer, thread) =
        Writer::start(streamrip::catalog::open_writer(&sim.env.data_dir).expect("a catalog")).expect("a thread");
    let reader = Arc::new(Mutex::new(open_reader(&sim.env.data_dir).expect("a reader")));
    let join = |id| {
        let made = assemble_talk(&sim.env, &reader, &writer, id, false, no_progress());
        runtime.block_on(made).unwrap_or_else(|e| panic!("talk {id} cannot be joined: {e}"))
    };
    let views = report::select(&sim.db, &sim.env, &Selection::default()).expect("read");
    for id in views.iter().map(|v| v.talk.id) {
        join(id);
        // What the first one looked at, or took back from quarantine, put the talk on the list once more.
        join(id);
        let before = rows(sim);
        let again = join(id);
        assert!(!matches!(again, AssembleOutcome::Made { .. }), "joined twice: talk {id}: {again:?}");
        assert_eq!(before, rows(sim), "a second join of talk {id} changed something");
    }
    let views = report::select(&sim.db, &sim.env, &Selection::default()).expect("read");
    for view in &views {
        judge(sim, view);
    }
    opted_out_is_aside(&views);
    crate::checks::truth(sim);
    let pruned = |request| runtime.block_on(prune(&sim.env, &reader, &writer, request)).expect("pruned");
    for opted_out in [false, true] {
        pruned(PruneRequest { dry_run: false, opted_out });
        let before = rows(sim);
        let again = pruned(PruneRequest { dry_run: false, opted_out });
        assert!(again.is_empty(), "a second prune found something to do: {again:?}");
        assert_eq!(before, rows(sim), "a second prune changed something");
    }
    old_things_go(sim, &runtime, &reader, &writer);
    drop(writer);
    thread.join().expect("ended");
    crate::checks::files(sim, true);
    crate::checks::bytes(sim);
    only_copies(sim, &views);
}

/// Deletes each segment that all of its talks' files hold, as `prune.keep_segments` does: no talk is worse for it.
/// (What is deleted must stand in a file: [`only_copies`] looks.)
fn old_things_go(
    sim: &Sim,
    runtime: &tokio::runtime::Runtime,
    reader: &Arc<Mutex<rusqlite::Connection>>,
    writer: &Writer,
) {
    let mut env = sim.env.clone();
    env.settings.prune.keep_segments_ms = Some(0);
    env.clock = Arc::new(TestClock::starting_at(sim.env.clock.now().plus(HOUR)));
    let reports = || -> Vec<_> {
        let views = report::select(&sim.db, &sim.env, &Selection::default()).expect("read");
        views.into_iter().map(|v| (v.talk.id, v.report.covered, v.report.gaps, v.assembly.map(|a| a.sha256))).collect()
    };
    // What waits to be joined is joined first: only what retention does is judged here.
    for (id, ..) in reports() {
        let done = runtime.block_on(assemble_talk(&sim.env, reader, writer, id, false, no_progress()));
        done.unwrap_or_else(|e| panic!("talk {id} cannot be joined: {e}"));
    }
    for round in 0..3 {
        let before = reports();
        let gone = runtime.block_on(retain(&env, reader, writer, false)).expect("pruned");
        for (id, ..) in &before {
            let outcome = runtime.block_on(assemble_talk(&sim.env, reader, writer, *id, false, no_progress()));
            let outcome = outcome.unwrap_or_else(|e| panic!("talk {id} cannot be joined: {e}"));
            let is_new = matches!(outcome, AssembleOutcome::Made { .. });
            assert!(!is_new || gone.is_empty(), "talk {id} is made anew in round {round} after {gone:?} went");
        }
        assert_eq!(before, reports(), "in round {round}, after {gone:?} went");
    }
}

/// What the catalog says of files, and what is to be done.
fn rows(sim: &Sim) -> Vec<String> {
    let sql = "SELECT 'segment' || id || path || verdict || bytes FROM segment
         UNION ALL SELECT 'assembly' || id || path || hex(inputs) || coalesce(gone_reason, '') FROM assembly
         UNION ALL SELECT 'todo' || talk_id FROM assembly_todo ORDER BY 1";
    let mut query = sim.db.prepare(sql).expect("sql");
    let rows = query.query_map([], |r| r.get(0)).expect("asked");
    rows.collect::<rusqlite::Result<_>>().expect("read")
}

/// Judges the file of a talk by the plan that can be made now.
fn judge(sim: &Sim, view: &TalkView) {
    if !view.talk.is_on() {
        let is_shown = view.talk.opted_out && view.talk.status == TalkStatus::Scheduled && view.assembly.is_some();
        assert!(!is_shown, "talk {} is opted out and has a file", view.talk.id);
        return;
    }
    let (_, plan) = plan_talk(&sim.db, &sim.env, view.talk.id).expect("planned");
    let (_, again) = plan_talk(&sim.db, &sim.env, view.talk.id).expect("planned");
    assert_eq!(plan.digest(), again.digest(), "two plans of talk {} differ", view.talk.id);
    let frames = carried_out(sim, view, &plan);
    let Some(assembly) = &view.assembly else {
        assert!(plan.clips.is_empty(), "talk {} has no file, and could have: {plan:#?}", view.talk.id);
        return;
    };
    let file = std::fs::read(sim.env.data_dir.join(&assembly.path)).expect("the file of a talk");
    let joined = joined_frames(&file);
    let whole: BTreeSet<Frame> = joined.iter().copied().collect();
    // An older file stays where it has more than could be made now.
    let parts = assemblies::parts(&sim.db, assembly.id).expect("read");
    let used: BTreeSet<SegmentId> = parts.iter().filter(|p| p.place.is_some()).map(|p| p.segment).collect();
    let is_made_of_it = assembly.inputs == plan.digest() && assembly.duration_ms == plan.duration_ms;
    if is_made_of_it && used == plan.clips.iter().map(|p| p.segment).collect() {
        let (less, more) = (frames.difference(&whole), whole.difference(&frames));
        assert!(
            frames == whole,
            "talk {} is not what its plan says; only in the plan {:?}, only in the file {:?}: {:#?}",
            view.talk.id,
            less.collect::<Vec<_>>(),
            more.collect::<Vec<_>>(),
            plan.describe()
        );
        if !sim.set_back {
            is_all_there(sim, view, &plan, &whole);
        }
    }
    if !sim.set_back {
        says_what_it_shows(sim, view, &whole);
    }
    assert!(whole.len() == joined.len() || sim.set_back, "frames stand twice in {}", assembly.path.display());
}

/// What is said of a talk is the length of the distinct frames of its slot that its file has.
fn says_what_it_shows(sim: &Sim, view: &TalkView, file: &BTreeSet<Frame>) {
    let period = sim.world.period_ms;
    let servers = sim.world.lock();
    let mut walls: BTreeMap<(u8, i64), Ms> = BTreeMap::new();
    for life in servers.lives() {
        let hall = u8::try_from(life.hall).expect("a few halls");
        walls.extend(life.frames.iter().map(|(frame, wall)| ((hall, *frame), *wall)));
    }
    let in_slot = |frame: &&Frame| walls.get(&(frame.0 / 2, frame.1)).is_some_and(|at| view.talk.slot.contains(*at));
    let shown_ms = i64::try_from(file.iter().filter(in_slot).count()).expect("some") * period;
    let said_ms = view.report.recorded_ms;
    // Where segments lie on the wall is known to a second or so at each end of the slot.
    let tolerance = 2 * (2 * period + 1500);
    assert!(
        (said_ms - shown_ms).abs() <= tolerance,
        "talk {}: {said_ms} ms are said and {shown_ms} ms are shown: {:#?}",
        view.talk.id,
        view.report.gaps
    );
}

/// Segments that only talks need which are opted out must not be shown.
fn opted_out_is_aside(views: &[TalkView]) {
    for view in views.iter().filter(|v| v.talk.opted_out && v.talk.status == TalkStatus::Scheduled) {
        let hall = views.iter().filter(|v| v.hall.id == view.hall.id);
        let forbidden: IntervalSet = hall
            .clone()
            .filter(|v| v.talk.opted_out && v.talk.status == TalkStatus::Scheduled)
            .map(|v| v.talk.slot)
            .collect();
        let needed: IntervalSet =
            hall.filter(|v| !v.talk.opted_out).map(|v| v.window).collect::<IntervalSet>().subtract(&forbidden);
        for segment in &view.segments {
            let is_shown = matches!(segment.verdict, Verdict::Media | Verdict::Unchecked | Verdict::NotMedia);
            let is_in_slot = view.talk.slot.overlaps(segment.at);
            assert!(
                !(is_shown && is_in_slot && needed.clip(segment.at).is_empty()),
                "segment {} is of opted-out talk {} and not put aside: {segment:#?}",
                segment.id,
                view.talk.id
            );
        }
    }
}

/// What was deleted as a fragment must stand somewhere: in a file of a talk, or in another segment. What lies
/// in no window of a talk is taped by the way, and nobody wants it.
fn only_copies(sim: &Sim, views: &[TalkView]) {
    let mut left: BTreeSet<Frame> = BTreeSet::new();
    for path in crate::checks::files_below(&sim.env.data_dir, "segments") {
        left.extend(frames_of(&std::fs::read(sim.env.data_dir.join(path)).expect("read")));
    }
    for path in crate::checks::files_below(&sim.env.data_dir, "talks") {
        left.extend(joined_frames(&std::fs::read(sim.env.data_dir.join(path)).expect("read")));
    }
    let servers = sim.world.lock();
    for (id, hall, bytes, sha256, reason) in crate::checks::tombstones(sim) {
        if reason.contains("opted out") {
            continue;
        }
        let Some(life) = crate::checks::life_with(&servers, bytes, &sha256) else {
            panic!("pruned segment {id} is of no connection");
        };
        let given = &life.given[..bytes];
        let walls: BTreeMap<i64, Ms> = life.frames.iter().copied().collect();
        for frame in frames_of(given).into_iter().filter(|f| !left.contains(f)) {
            let Some(at) = walls.get(&frame.1) else { continue };
            // A neighbour that was opted out since took its slot with it, from all files.
            if views.iter().any(|v| v.hall.id.0 == hall && v.talk.opted_out && v.talk.slot.contains(*at)) {
                continue;
            }
            let inner = |v: &TalkView| v.window.padded(-2 * sim.world.period_ms, -2 * sim.world.period_ms);
            let wants = views.iter().find(|v| v.hall.id.0 == hall && v.talk.is_on() && inner(v).contains(*at));
            assert!(
                wants.is_none(),
                "prune removed the only copy: segment {id} ({reason}), frame {frame:?} at {at:?}: {:#?}",
                wants.map(|v| (
                    v.talk.id,
                    v.window,
                    plan_talk(&sim.db, &sim.env, v.talk.id).map(|(_, p)| p.describe())
                ))
            );
        }
    }
}

/// The frames of a segment's file.
fn read(sim: &Sim, segment: &Segment) -> Vec<Frame> {
    frames_of(&std::fs::read(sim.env.data_dir.join(&segment.path)).unwrap_or_default())
}

/// When a frame was on the air, as the index says.
fn wall_of(sim: &Sim, segment: &Segment, frame: Frame) -> Option<Ms> {
    let media = frame.1 * sim.world.period_ms;
    let span = segment.spans.iter().find(|s| s.media_start_ms <= media && media < s.media_end_ms)?;
    Some(Ms(media + span.offset_ms))
}

/// The frames that come out of a plan: each once, and in order.
fn carried_out(sim: &Sim, view: &TalkView, plan: &EditList) -> BTreeSet<Frame> {
    let period = sim.world.period_ms;
    let mut out: BTreeSet<Frame> = BTreeSet::new();
    let mut last = i64::MIN;
    for run in plan.clips.chunk_by(|a, b| a.segment == b.segment) {
        let segment = view.segments.iter().find(|s| s.id == run[0].segment).expect("its segment");
        let mut filter = EditFilter::new(run);
        for (n, frame) in (0..).zip(read(sim, segment)) {
            let Some((_, at)) = filter.apply(1, n, frame.1 * period, true) else { continue };
            assert!(at >= last, "time runs backwards at {at} in talk {}: {plan:#?}", view.talk.id);
            last = at + period;
            // Where an hour of wall time stands for two, two hours are mixed, and their handovers with them.
            let is_new = out.insert(frame);
            assert!(is_new || sim.set_back, "frame {frame:?} stands twice in talk {}: {plan:#?}", view.talk.id);
        }
    }
    assert!(last <= plan.duration_ms.max(0) + period, "longer than planned: {last} of {plan:#?}");
    out
}

/// Everything that was recorded inside the window, in the container that the plan chose, is used.
fn is_all_there(sim: &Sim, view: &TalkView, plan: &EditList, used: &BTreeSet<Frame>) {
    let period = sim.world.period_ms;
    let Some(other) = used.iter().next().map(|(other, _)| *other) else { return };
    // A neighbour that is opted out takes its slot from the window; the longest part of the talk is made.
    let talks =
        streamrip::catalog::schedule::talks(&sim.db, TalkFilter { hall: Some(view.hall.id), ..TalkFilter::default() });
    let forbidden = forbidden_slots(&talks.expect("read"));
    let allowed = IntervalSet::from(view.window).subtract(&forbidden);
    let part = allowed.iter().max_by_key(|part| part.intersect(view.talk.slot).len_ms());
    let part = part.unwrap_or(view.talk.slot).padded(-2 * period, -2 * period);
    let media: Vec<_> = view.segments.iter().filter(|s| s.verdict == Verdict::Media).collect();
    // What was on the air when the clock was set has two times, of which one may lie outside.
    let is_elsewhere =
        |frame: Frame| media.iter().filter_map(|s| wall_of(sim, s, frame)).any(|at| !view.window.contains(at));
    for segment in &media {
        for frame in read(sim, segment).into_iter().filter(|f| f.0 == other) {
            let Some(at) = wall_of(sim, segment, frame) else { continue };
            // What an edge cuts may lie on either side of it.
            let inside = part.contains(at);
            assert!(
                !inside || used.contains(&frame) || is_elsewhere(frame),
                "frame {frame:?} of segment {} at {at:?} is not in the assembly of talk {} {:?}: {plan:#?}",
                segment.id,
                view.talk.id,
                view.window
            );
        }
    }
}
