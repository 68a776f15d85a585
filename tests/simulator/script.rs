//! What happens in a simulated congress, and when: made from one number, printed when it fails.

use std::fmt;

/// What a hall's server does from some instant on, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Ends what flows; who connects again is served.
    Eof,
    /// Ends what flows and takes nobody.
    Refused,
    /// Ends what flows and answers with this status.
    Http(u16),
    /// Ends what flows and answers with a web page and status 200.
    Html,
    /// The name cannot be looked up; what flows goes on.
    Dns,
    /// Keeps connections and sends nothing.
    Silence,
    /// One byte a second.
    Trickle,
    /// Ends what flows; who connects gets the last ten frames again.
    Repeat,
    /// Ends what flows; who connects gets another container.
    OtherContainer,
}

/// What becomes of the schedule. Talks are named by their place in it, taken modulo their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another start, minutes later (negative: earlier).
    Move(usize, i64),
    /// The next hall.
    OtherHall(usize),
    /// Minutes more.
    Prolong(usize, i64),
    /// STATUS:CANCELLED, and back.
    Cancel(usize),
    /// Left out of the calendar, and back.
    Remove(usize),
    /// Must not be recorded, and back.
    OptOut(usize),
    /// A second talk at the same time in the same hall.
    Double(usize),
    /// The hall has another name.
    RenameHall(usize),
    /// All talks have new UIDs.
    NewUids,
    /// The same calendar again.
    Nothing,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A server misbehaves for so many milliseconds.
    Fault(usize, Fault, i64),
    /// The daemon is killed and started again so many milliseconds later. For the first number of
    /// milliseconds before it dies, nothing it tells the catalog is written any more.
    Kill(i64, i64),
    /// The daemon is stopped as it should be and started again so many milliseconds later.
    Restart(i64),
    /// The wall clock is set.
    Step(i64),
    /// The machine sleeps: the wall clock jumps, timers do not, connections are gone.
    Suspend(i64),
    /// Another schedule is imported.
    Import(Change),
    /// The disk takes nothing for so many milliseconds.
    DiskFull(i64),
    /// Another program writes to the catalog for so many milliseconds.
    Lock(i64),
}

/// When what happens, by milliseconds since the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    pub acts: Vec<(i64, Act)>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, act) in &self.acts {
            writeln!(f, "  {:>9.3} s  {act:?}", *at as f64 / 1000.0)?;
        }
        Ok(())
    }
}

impl Script {
    /// So many acts within so many milliseconds, for so many halls and talks.
    pub fn new(rng: &mut fastrand::Rng, acts: usize, length_ms: i64, halls: usize, talks: usize) -> Self {
        let mut out: Vec<(i64, Act)> = (0..acts).map(|_| (rng.i64(0..length_ms), act(rng, halls, talks))).collect();
        out.sort_by_key(|(at, _)| *at);
        // The wall clock is set at most twice: it would take long to get through the day otherwise.
        let mut steps = 0;
        out.retain(|(_, act)| {
            steps += usize::from(matches!(act, Act::Step(_) | Act::Suspend(_)));
            steps <= 2 || !matches!(act, Act::Step(_) | Act::Suspend(_))
        });
        Self { acts: out }
    }
}

fn act(rng: &mut fastrand::Rng, halls: usize, talks: usize) -> Act {
    match rng.u32(0..100) {
        0..50 => Act::Fault(rng.usize(0..halls), fault(rng), rng.i64(1..120) * 1000),
        50..62 => Act::Kill(if rng.bool() { 0 } else { rng.i64(0..4000) }, rng.i64(100..60_000)),
        62..66 => Act::Restart(rng.i64(100..30_000)),
        66..69 => Act::Step([-3_600_000, 3_600_000, 600_000, 7000][rng.usize(0..4)]),
        69..71 => Act::Suspend(20 * 60_000),
        71..92 => Act::Import(change(rng, halls, talks)),
        92..96 => Act::DiskFull(rng.i64(1..90) * 1000),
        _ => Act::Lock(rng.i64(1..11) * 1000),
    }
}

fn fault(rng: &mut fastrand::Rng) -> Fault {
    match rng.u32(0..11) {
        0 | 1 => Fault::Eof,
        2 => Fault::Refused,
        3 => Fault::Http(404),
        4 => Fault::Http(503),
        5 => Fault::Html,
        6 => Fault::Dns,
        7 => Fault::Silence,
        8 => Fault::Trickle,
        9 => Fault::Repeat,
        _ => Fault::OtherContainer,
    }
}

fn change(rng: &mut fastrand::Rng, halls: usize, talks: usize) -> Change {
    let talk = rng.usize(0..talks);
    match rng.u32(0..16) {
        0 | 1 => Change::Move(talk, rng.i64(1..20)),
        2 | 3 => Change::Move(talk, -rng.i64(1..20)),
        4 => Change::OtherHall(talk),
        5 | 6 => Change::Prolong(talk, rng.i64(1..10)),
        7 => Change::Cancel(talk),
        8 | 9 => Change::Remove(talk),
        10..13 => Change::OptOut(talk),
        13 => Change::Double(talk),
        14 => {
            if rng.bool() {
                Change::RenameHall(rng.usize(0..halls))
            } else {
                Change::NewUids
            }
        }
        _ => Change::Nothing,
    }
}
