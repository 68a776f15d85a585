//! Assemblies and pruning, as plans: nothing twice, nothing left out, no only copy given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use streamrip::app::assemble::{parts, plan_talk};
use streamrip::app::prune::{PruneRequest, prune};
use streamrip::app::report::{self, Selection, TalkView};
use streamrip::catalog::assemblies::{self, NewAssembly};
use streamrip::catalog::open_reader;
use streamrip::catalog::schedule::TalkFilter;
use streamrip::catalog::writer::Writer;
use streamrip::domain::ids::SegmentId;
use streamrip::domain::interval::IntervalSet;
use streamrip::domain::segment::{Segment, Verdict};
use streamrip::domain::time::Ms;
use streamrip::plan::assembly::AssemblyPlan;
use streamrip::plan::route::Route;
use streamrip::plan::wanted::forbidden_slots;

use crate::indexer;
use crate::sim::Sim;

/// A frame, by its container (0 or 1) and its number on the stream of the hall.
type Frame = (bool, i64);

/// Plans the assembly of each talk, takes it for made, and prunes.
pub fn plans(sim: &Sim) {
    let mut assembled: BTreeMap<i64, BTreeSet<Frame>> = BTreeMap::new();
    let views = report::select(&sim.db, &sim.env, &Selection::default()).expect("read");
    for view in views.iter().filter(|v| v.talk.is_on()) {
        let (_, plan) = plan_talk(&sim.db, &sim.env, view.talk.id).expect("planned");
        let (_, again) = plan_talk(&sim.db, &sim.env, view.talk.id).expect("planned");
        assert_eq!(plan.digest(), again.digest(), "two plans of talk {} differ", view.talk.id);
        let frames = carried_out(sim, view, &plan);
        if !sim.set_back {
            is_all_there(sim, view, &plan, &frames);
        }
        assembled.entry(view.hall.id.0).or_default().extend(&frames);
        if !plan.pieces.is_empty() {
            take_for_made(sim, view, &plan);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (writer, thread) =
        Writer::start(streamrip::catalog::open_writer(&sim.env.data_dir).expect("a catalog")).expect("a thread");
    let reader = Arc::new(Mutex::new(open_reader(&sim.env.data_dir).expect("a reader")));
    let kept_before = kept(sim, &views);
    let gone = runtime.block_on(prune(&sim.env, &reader, &writer, PruneRequest::default())).expect("pruned");
    let again = runtime.block_on(prune(&sim.env, &reader, &writer, PruneRequest::default())).expect("pruned");
    assert!(again.is_empty(), "a second prune found something to do: {again:?}");
    let gone: BTreeSet<SegmentId> = gone.iter().filter_map(|g| g.segment).collect();
    for ((hall, id), frames) in &kept_before {
        if !gone.contains(id) {
            continue;
        }
        let mut left: BTreeSet<Frame> = assembled.get(hall).cloned().unwrap_or_default();
        left.extend(
            kept_before.iter().filter(|((h, other), _)| h == hall && !gone.contains(other)).flat_map(|(_, f)| f),
        );
        let lost: Vec<_> = frames.difference(&left).collect();
        assert!(
            lost.is_empty(),
            "prune removed the only copy: segment {id} with frames {lost:?}\n{:#?}\n{:#?}",
            views.iter().find_map(|v| v.segments.iter().find(|s| s.id == *id)),
            views
                .iter()
                .filter(|v| v.segments.iter().any(|s| s.id == *id))
                .map(|v| (v.talk.id, v.window, plan_talk(&sim.db, &sim.env, v.talk.id).map(|(_, p)| p.describe())))
                .collect::<Vec<_>>()
        );
    }
    drop(writer);
    thread.join().expect("ended");
    crate::checks::files(sim);
}

/// The frames of a file, and whether it is in the other container.
fn read(sim: &Sim, segment: &Segment) -> Vec<Frame> {
    let bytes = std::fs::read(sim.env.data_dir.join(&segment.path)).unwrap_or_default();
    let other = bytes.starts_with(b"fLaC");
    indexer::frames(&bytes).into_iter().map(|(frame, _)| (other, frame)).collect()
}

/// What each segment of media holds of the windows of talks, by hall. What lies outside of them is taped
/// by the way, and nobody wants it.
fn kept(sim: &Sim, views: &[TalkView]) -> BTreeMap<(i64, SegmentId), BTreeSet<Frame>> {
    let mut out: BTreeMap<(i64, SegmentId), BTreeSet<Frame>> = BTreeMap::new();
    for view in views.iter().filter(|v| v.talk.is_on()) {
        for segment in view.segments.iter().filter(|s| s.verdict == Verdict::Media) {
            let inside = read(sim, segment)
                .into_iter()
                .filter(|f| wall_of(sim, segment, *f).is_some_and(|at| view.window.contains(at)));
            out.entry((segment.hall.0, segment.id)).or_default().extend(inside);
        }
    }
    out
}

/// When a frame was on the air, as the index says.
fn wall_of(sim: &Sim, segment: &Segment, frame: Frame) -> Option<Ms> {
    let media = frame.1 * sim.world.period_ms;
    let span = segment.spans.iter().find(|s| s.media_start_ms <= media && media < s.media_end_ms)?;
    Some(Ms(media + span.offset_ms))
}

/// The frames that come out of a plan: each once, and in order.
fn carried_out(sim: &Sim, view: &TalkView, plan: &AssemblyPlan) -> BTreeSet<Frame> {
    let period = sim.world.period_ms;
    let mut out: BTreeSet<Frame> = BTreeSet::new();
    let mut last = i64::MIN;
    for run in plan.pieces.chunk_by(|a, b| a.segment == b.segment) {
        let segment = view.segments.iter().find(|s| s.id == run[0].segment).expect("its segment");
        let mut route = Route::new(run);
        for (n, frame) in (0..).zip(read(sim, segment)) {
            let Some((_, at)) = route.takes(1, n, frame.1 * period, true) else { continue };
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
fn is_all_there(sim: &Sim, view: &TalkView, plan: &AssemblyPlan, used: &BTreeSet<Frame>) {
    let period = sim.world.period_ms;
    let Some(other) = used.iter().next().map(|(other, _)| *other) else { return };
    // A neighbour that is opted out takes its slot from the window; the longest part of the talk is made.
    let talks =
        streamrip::catalog::schedule::talks(&sim.db, TalkFilter { hall: Some(view.hall.id), ..TalkFilter::default() });
    let forbidden = forbidden_slots(&talks.expect("read"));
    let allowed = IntervalSet::from(view.window).subtract(&forbidden);
    let part = allowed.iter().max_by_key(|part| part.intersect(view.talk.slot).len_ms());
    let part = part.unwrap_or(view.talk.slot).padded(-2 * period, -2 * period);
    for segment in view.segments.iter().filter(|s| s.verdict == Verdict::Media) {
        for frame in read(sim, segment).into_iter().filter(|f| f.0 == other) {
            let Some(at) = wall_of(sim, segment, frame) else { continue };
            // What an edge cuts may lie on either side of it.
            let inside = part.contains(at);
            assert!(
                !inside || used.contains(&frame),
                "frame {frame:?} of segment {} at {at:?} is not in the assembly of talk {} {:?}: {plan:#?}",
                segment.id,
                view.talk.id,
                view.window
            );
        }
    }
}

/// As if the join had been made: a row, and something in its place.
fn take_for_made(sim: &Sim, view: &TalkView, plan: &AssemblyPlan) {
    let path = std::path::Path::new("talks").join(format!("{}.mka", view.talk.id));
    let file = sim.env.data_dir.join(&path);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    std::fs::write(&file, b"joined").expect("written");
    let new = NewAssembly {
        talk: view.talk.id,
        path,
        bytes: 6,
        sha256: [0; 32],
        duration_ms: plan.duration_ms,
        inputs: plan.digest(),
        parts: parts(plan),
    };
    assemblies::replace(&sim.db, &new, "replaced", sim.env.clock.now()).expect("written");
}
