//! Several recorders side by side on the same stream, and what each one has of it in the end.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use streamrip_lab::{Daemon, Streamrip, now_ms};

use crate::frames::{self, Account, Offered};
use crate::measure::{middle, runs, spread};
use crate::peers::{Loop, Peer};
use crate::station::{self, Station};

/// Who takes part.
pub enum Who {
    Peer(Peer),
    Streamrip { name: &'static str, recorder: &'static str, mirrors: usize },
}

impl Who {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Peer(peer) => peer.name,
            Self::Streamrip { name, .. } => name,
        }
    }

    /// What it says of itself; of streamrip that is told above the table.
    pub fn version(&self) -> String {
        match self {
            Self::Peer(peer) => peer.version(),
            Self::Streamrip { .. } => String::new(),
        }
    }
}

/// One of them at work.
pub enum Recorder {
    Loop(Loop),
    Streamrip(Streamrip, Daemon),
    /// Why not.
    Absent(String),
}

impl Recorder {
    /// A peer in a loop, with its files in `folder`.
    pub fn repeat(peer: &Peer, url: &str, folder: &Path) -> Self {
        peer.repeat(url, folder).map_or_else(|| Self::Absent(format!("{} is not installed", peer.program)), Self::Loop)
    }

    /// streamrip with one talk, until it is joined.
    pub fn run(station: &Station) -> Self {
        match station.prepare() {
            Ok(streamrip) => {
                let daemon = station::run_until_done(&streamrip);
                Self::Streamrip(streamrip, daemon)
            }
            Err(words) => Self::Absent(words),
        }
    }

    /// Ends it.
    pub fn finish(self) -> Result<Recorded, String> {
        match self {
            Self::Absent(words) => Err(words),
            Self::Loop(peer) => Ok(Recorded { file: frames::of_all(&peer.files()), segments: None }),
            Self::Streamrip(streamrip, mut daemon) => {
                daemon.wait(Duration::from_secs(120));
                let files = station::joined(&streamrip);
                let file = files.first().ok_or_else(|| format!("no file was joined: {}", daemon.said()))?;
                let mut segments: Vec<_> = station::segments(&streamrip).into_iter().map(|(path, _)| path).collect();
                // Their names begin with their time.
                segments.sort();
                Ok(Recorded { file: frames::of(file), segments: Some(frames::of_all(&segments)) })
            }
        }
    }
}

/// The pictures that somebody has: of streamrip those of the joined file, and those of the segments it is made of.
pub struct Recorded {
    file: Vec<String>,
    segments: Option<Vec<String>>,
}

/// What somebody lost, and streamrip also before its segments were joined.
pub struct Outcome {
    account: Account,
    segments: Option<Account>,
}

impl Outcome {
    pub fn of(offered: &Offered, recorded: &Recorded) -> Self {
        let segments = recorded.segments.as_ref().map(|segments| frames::compare(offered, segments));
        Self { account: frames::compare(offered, &recorded.file), segments }
    }
}

/// All runs of one of them.
#[derive(Default)]
pub struct Results {
    /// Of the files of a peer, of streamrip's joined file.
    pub files: Accounts,
    /// Of streamrip's segments.
    pub segments: Option<Accounts>,
    /// Why there are none.
    reason: Option<String>,
}

/// One for each run.
#[derive(Default)]
pub struct Accounts(Vec<Account>);

impl Accounts {
    /// The medians hold these limits; `None` where nothing was measured.
    pub fn within(&self, most_lost: f64, most_twice: f64) -> Option<bool> {
        let [lost, _, twice] = self.columns();
        (!lost.is_empty()).then(|| middle(&lost) <= most_lost && middle(&twice) <= most_twice)
    }

    fn columns(&self) -> [Vec<f64>; 3] {
        let column = |of: fn(&Account) -> f64| self.0.iter().map(of).collect();
        [column(|account| account.lost), column(|account| account.spoilt), column(|account| account.twice)]
    }
}

impl fmt::Display for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [lost, spoilt, twice] = self.columns();
        write!(f, "{} s lost", spread(&lost, 2))?;
        if middle(&spoilt) > middle(&lost) {
            write!(f, ", {} s with what that spoils", spread(&spoilt, 2))?;
        }
        if twice.iter().any(|twice| *twice > 0.0) {
            write!(f, ", {} s twice", spread(&twice, 2))?;
        }
        Ok(())
    }
}

impl Results {
    /// Of some accounts, for the table.
    pub fn words(&self, accounts: &Accounts) -> String {
        match &self.reason {
            Some(reason) => format!("not measured: {reason}"),
            None => accounts.to_string(),
        }
    }
}

/// Runs them all several times, side by side each time. Where each lost what goes to standard error.
pub fn hold(who: &[Who], run: impl Fn(&[Who]) -> Vec<Result<Outcome, String>>) -> Vec<Results> {
    let mut all: Vec<Results> = who.iter().map(|_| Results::default()).collect();
    for _ in 0..runs() {
        for ((result, results), who) in run(who).into_iter().zip(&mut all).zip(who) {
            match result {
                Ok(outcome) => {
                    eprintln!("{}: {}", who.name(), outcome.account);
                    if let Some(segments) = &outcome.segments {
                        eprintln!("  its segments: {segments}");
                    }
                    results.files.0.push(outcome.account);
                    if let Some(segments) = outcome.segments {
                        results.segments.get_or_insert_default().0.push(segments);
                    }
                }
                Err(words) => {
                    eprintln!("{}: {words}", who.name());
                    results.reason = Some(words);
                }
            }
        }
    }
    all
}

/// The time from now to an instant, in ms since the epoch.
pub fn until(at_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(at_ms - now_ms()).unwrap_or(0))
}
