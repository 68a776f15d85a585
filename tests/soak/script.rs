//! What goes wrong, and when: made from a seed.

use std::time::Duration;

use fastrand::Rng;
use streamrip_lab::{Act, Answer, End};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The server ends the stream.
    Fin,
    /// The server resets the connection.
    Rst,
    /// Nobody listens for a while.
    Refuse,
    /// The server is overloaded for a while.
    Busy,
    /// The stream is not there for a while.
    Missing,
    /// Connections stay and nothing comes.
    Silence,
    /// One byte a second comes.
    Trickle,
    /// A web page comes, with status 200.
    Html,
    /// The daemon is killed at once, and started again.
    Kill,
}

/// What a server does; a hall meets all of them before it meets one again.
pub const FAULTS: [Kind; 8] =
    [Kind::Fin, Kind::Rst, Kind::Refuse, Kind::Busy, Kind::Missing, Kind::Silence, Kind::Trickle, Kind::Html];

impl Kind {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::Refuse => "refuse",
            Self::Busy => "503",
            Self::Missing => "404",
            Self::Silence => "silence",
            Self::Trickle => "trickle",
            Self::Html => "html",
            Self::Kill => "kill -9",
        }
    }

    /// True where it happens at an instant: nothing is withheld.
    pub fn is_instant(self) -> bool {
        matches!(self, Self::Fin | Self::Rst | Self::Kill)
    }

    /// What begins it.
    pub fn begin(self) -> Vec<Act> {
        match self {
            Self::Fin => vec![Act::Cut(End::Fin)],
            Self::Rst => vec![Act::Cut(End::Rst)],
            // First for the next ones, then the open ones: nobody slips through.
            Self::Refuse => vec![Act::Refuse, Act::Cut(End::Fin)],
            Self::Busy => vec![Act::Always(Answer::Status(503)), Act::Cut(End::Rst)],
            Self::Missing => vec![Act::Always(Answer::Status(404)), Act::Cut(End::Fin)],
            Self::Html => vec![Act::Always(Answer::html()), Act::Cut(End::Fin)],
            Self::Silence => vec![Act::Silence],
            Self::Trickle => vec![Act::Trickle],
            Self::Kill => vec![],
        }
    }

    /// What ends it.
    pub fn end(self) -> Option<Act> {
        match self {
            Self::Fin | Self::Rst | Self::Kill => None,
            Self::Refuse => Some(Act::Accept),
            Self::Busy | Self::Missing | Self::Html => Some(Act::Always(Answer::stream())),
            Self::Silence | Self::Trickle => Some(Act::Resume),
        }
    }

    /// Causes of gaps that it explains. A gap that touches it may also have a cause of any fault: the first
    /// word of an outage is mostly `eof`.
    pub fn explains(self, cause: &str) -> bool {
        match self {
            Self::Fin => matches!(cause, "eof" | "connecting"),
            Self::Rst => matches!(cause, "eof" | "network" | "connecting"),
            Self::Refuse => matches!(cause, "eof" | "refused" | "connecting"),
            Self::Busy => matches!(cause, "eof" | "network" | "http-503" | "connecting"),
            Self::Missing => matches!(cause, "eof" | "http-404" | "connecting"),
            Self::Silence => matches!(cause, "stalled" | "no-first-byte" | "connecting" | "no-media"),
            Self::Trickle => matches!(cause, "stalled" | "no-first-byte" | "connecting" | "no-media" | "eof"),
            Self::Html => matches!(cause, "eof" | "not-media" | "connecting"),
            Self::Kill => matches!(cause, "daemon-not-running" | "crash" | "connecting"),
        }
    }
}

/// How a day goes.
#[derive(Clone, Debug)]
pub struct Script {
    /// Makes everything else.
    pub seed: u64,
    /// Length of each talk, whole seconds.
    pub talk_seconds: i64,
    /// How often the daemon is killed.
    pub kills: usize,
    /// Length of an outage, seconds.
    pub outage: (f64, f64),
    /// From the recovery of a hall to its next fault, seconds.
    pub peace: (f64, f64),
}

impl Script {
    /// The small one, which `make test` has time for.
    pub fn small(seed: u64) -> Self {
        Self { seed, talk_seconds: 15, kills: 4, outage: (2.0, 6.0), peace: (4.0, 9.0) }
    }

    /// One of so many minutes, with `kills` kills.
    pub fn of_minutes(seed: u64, minutes: i64, kills: usize) -> Self {
        Self { seed, talk_seconds: (minutes * 10).max(15), kills, outage: (1.0, 45.0), peace: (5.0, 60.0) }
    }

    /// The faults of one hall: seconds of peace before it, what, and how long. Endless.
    pub fn faults(&self, hall: u64) -> impl Iterator<Item = (Duration, Kind, Duration)> + use<> {
        let mut rng = Rng::with_seed(self.seed.wrapping_mul(31).wrapping_add(hall));
        let (peace, outage) = (self.peace, self.outage);
        let mut order: Vec<Kind> = Vec::new();
        std::iter::from_fn(move || {
            if order.is_empty() {
                order = FAULTS.to_vec();
                rng.shuffle(&mut order);
            }
            let kind = order.pop()?;
            let peace = spread(&mut rng, peace);
            let length = if kind.is_instant() { Duration::ZERO } else { spread(&mut rng, outage) };
            Some((peace, kind, length))
        })
    }

    /// When the daemon is killed, after the first talk's start: anywhere in the day, but for its last seconds.
    /// Every fourth is followed by another one while the daemon starts.
    pub fn killings(&self) -> Vec<Duration> {
        let mut rng = Rng::with_seed(self.seed.wrapping_mul(37).wrapping_add(5));
        let day = (6 * self.talk_seconds) as f64;
        let mut at: Vec<f64> = Vec::new();
        while at.len() < self.kills {
            if at.len() % 4 == 3 {
                let after = at[at.len() - 1] + 0.05 + 1.5 * rng.f64();
                at.push(after);
            } else {
                at.push(2.0 + (day - 14.0).max(1.0) * rng.f64());
            }
        }
        at.sort_by(f64::total_cmp);
        at.into_iter().map(Duration::from_secs_f64).collect()
    }
}

fn spread(rng: &mut Rng, (least, most): (f64, f64)) -> Duration {
    Duration::from_secs_f64(least + (most - least) * rng.f64())
}
