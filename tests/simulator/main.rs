//! The congress simulator: whole congresses in simulated time, each made from one number.
//!
//! Real are the planner, the daemon's core, the tapes, the catalog and the files; simulated are time, the
//! stream servers, the disk's free space and what ffmpeg would say of a file. `STREAMRIP_SIM_SEED=17` runs
//! one seed (and with `STREAMRIP_SIM_LOG=1` shows what the daemon says); `STREAMRIP_SIM_SEEDS=5000`
//! runs so many short days, `STREAMRIP_SIM_FROM=100` from this seed on.

#![allow(clippy::print_stdout, reason = "figures for people, with --nocapture")]

mod calendar;
mod checks;
mod cuts;
mod disk;
mod engine;
mod indexer;
mod oplog;
mod plans;
mod script;
mod server;
mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use calendar::Calendar;
use script::Script;
use sim::Sim;
use streamrip::domain::time::{HOUR, MINUTE, SECOND};

/// Seeds of short days in an ordinary test run.
const SEEDS: u64 = 120;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Shows what the daemon says, where that was asked for with STREAMRIP_SIM_LOG.
fn show_log() {
    if std::env::var_os("STREAMRIP_SIM_LOG").is_some() {
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).without_time().try_init();
    }
}

/// A short day of three halls, with more trouble than any congress had.
fn short_day(seed: u64) {
    fastrand::seed(seed);
    let mut rng = fastrand::Rng::with_seed(seed);
    let calendar = Calendar::short(&mut rng);
    let length = calendar.extent().len_ms();
    let acts = rng.usize(0..30);
    let period = rng.i64(1..3) * SECOND;
    let script = Script::new(&mut rng, acts, length, 3, calendar.talks.len());
    reproducible(seed, &script, || Sim::new(calendar, script.clone(), period, MINUTE).run());
}

/// Runs it, and says how to run it again where it fails.
fn reproducible(seed: u64, script: &Script, run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
        panic!(
            "seed {seed} failed: {why}\nits script:\n{script}again: STREAMRIP_SIM_SEED={seed} cargo test --test simulator"
        );
    }
}

#[test]
fn short_days_with_every_sort_of_trouble() {
    if let Some(seed) = number("STREAMRIP_SIM_SEED") {
        show_log();
        return short_day(seed);
    }
    let (from, seeds) = (number("STREAMRIP_SIM_FROM").unwrap_or(0), number("STREAMRIP_SIM_SEEDS").unwrap_or(SEEDS));
    let next = AtomicU64::new(from);
    let failed = Mutex::new(Vec::new());
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= from + seeds {
                        return;
                    }
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| short_day(seed))) {
                        failed.lock().expect("lock").push((seed, panic.downcast_ref::<String>().cloned()));
                    }
                }
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    println!("{seeds} seeds in {seconds:.1} s: {:.0} a minute", seeds as f64 * 60.0 / seconds);
    let mut failed = failed.into_inner().expect("lock");
    failed.sort();
    let seeds: Vec<_> = failed.iter().map(|(seed, _)| *seed).collect();
    let first = failed.first().and_then(|(_, why)| why.clone()).unwrap_or_default();
    assert!(failed.is_empty(), "{} seeds failed: {seeds:?}\n{first}", failed.len());
}

#[test]
fn the_whole_of_27c3() {
    let seed = number("STREAMRIP_SIM_SEED").unwrap_or(27);
    let mut rng = fastrand::Rng::with_seed(seed);
    fastrand::seed(seed);
    let calendar = Calendar::congress();
    assert_eq!(calendar.talks.len(), 72);
    let length = calendar.extent().len_ms();
    let script = Script::new(&mut rng, 150, length, 3, 72);
    reproducible(seed, &script, || Sim::new(calendar, script.clone(), 5 * SECOND, HOUR).run());
}
