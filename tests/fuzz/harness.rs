//! Runs cases for a time, and measures what each costs.

use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::ALLOCATOR;

/// Each test runs for this long at least, where `STREAMRIP_FUZZ_SECONDS` says nothing. There are nine of them, one
/// after another.
const SECONDS: u64 = 4;

/// Cases between two looks at the clock, and on a slow machine the least.
const CASES: u32 = 50;

/// What something cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Time on the processor, by this thread: it does not depend on what else the machine does.
    pub cpu: Duration,
    /// Most memory that was allocated at once, beyond what was before, in bytes.
    pub memory: usize,
}

impl Cost {
    /// Not more than a second a megabyte (three, since tests are not optimised and machines differ) and twenty
    /// times the input; with room for what costs the same however small the input is.
    #[track_caller]
    pub fn is_within_bounds(self, input: usize) {
        let seconds = 1.0 + 3.0 * input as f64 / 1e6;
        assert!(self.cpu.as_secs_f64() <= seconds, "{self:?} for {input} bytes");
        assert!(self.memory <= 20 * input + (2 << 20), "{self:?} for {input} bytes");
    }
}

/// Memory is counted for the whole process: each test has this while it runs.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does it and says what it cost. To be called with [`alone`] held.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    ALLOCATOR.reset_peak_usage();
    let (before, began) = (ALLOCATOR.current_usage(), cpu_time());
    let result = work();
    let cost = Cost { cpu: cpu_time().saturating_sub(began), memory: ALLOCATOR.peak_usage().saturating_sub(before) };
    (result, cost)
}

/// Processor time of this thread; nothing where the system does not tell.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split_ascii_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

/// Lets `test` judge cases of `strategy`. A case that fails is made smaller and printed.
pub fn fuzz<S: Strategy<Value: Debug>>(strategy: &S, test: impl Fn(S::Value)) {
    let _alone = alone();
    let seconds = std::env::var("STREAMRIP_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(SECONDS);
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        let config = Config { cases: CASES, failure_persistence: None, max_shrink_time: 60_000, ..Config::default() };
        let done = TestRunner::new(config).run(strategy, |value| {
            test(value);
            Ok(())
        });
        if let Err(e) = done {
            panic!("{e}");
        }
        if Instant::now() >= end {
            return;
        }
    }
}
