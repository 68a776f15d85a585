//! Playlists that lie about everything but their names, read as a client reads them. Each segment carries its identity, so
//! that what stands twice and what was left out is known.

use std::collections::HashMap;

use fastrand::Rng;

use super::*;
use crate::plan::hls::reload_after;

/// Length of a segment, milliseconds.
const TARGET_MS: i64 = 2000;

/// How long a stream is read, milliseconds.
const LENGTH_MS: i64 = 160_000;

/// How segments are called.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Names {
    /// By a number that grows over restarts.
    Counted,
    /// Each life of the encoder has names of its own.
    OfLife,
    /// Each life begins with the same names.
    Again,
    /// One name, and the number in the query.
    Query,
    /// One name, and the number in the folder.
    Folder,
    /// A range of bytes of one file a life.
    Range,
    /// A signature that is another one with each reading.
    Signed,
    /// After some windows the names begin anew.
    Wrapped,
}

/// What EXT-X-MEDIA-SEQUENCE says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Numbers {
    Right,
    /// Missing, or always 0.
    Stuck,
    /// Half of what they should be.
    Slow,
    /// Larger than any number, as the reader has it.
    Overflowing,
    /// A restarted packager counts by its clock, and what it still lists anew.
    ByClock,
    /// Each node has numbers of its own.
    OfNode,
    Random,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Dates {
    None,
    Right,
    /// The nodes' clocks disagree by up to a second.
    OfNode,
    /// The packager's clock is set, for what it makes from then on.
    Stepped,
    /// The time of writing minus the window.
    OfWriting,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Turns {
    One,
    Alternating,
    Random,
    /// The second one from the middle on.
    Failover,
}

/// A segment as it was made.
#[derive(Clone, Debug)]
struct Made {
    id: usize,
    life: usize,
    /// In its life.
    number: usize,
    at_ms: i64,
    slate: bool,
}

#[derive(Debug)]
struct World {
    names: Names,
    numbers: Numbers,
    dates: Dates,
    turns: Turns,
    window: usize,
    /// How far the second node is behind, milliseconds.
    lag_ms: i64,
    /// A restarted packager goes on with the list it had.
    keeps_list: bool,
    step_ms: i64,
    disagree_ms: i64,
    /// What the playlist held from a time on, and how many segments had left it.
    lists: Vec<(i64, usize, Vec<Made>)>,
    restarts: usize,
}

impl World {
    fn new(rng: &mut Rng) -> Self {
        let names = [
            Names::Counted,
            Names::OfLife,
            Names::Again,
            Names::Query,
            Names::Folder,
            Names::Range,
            Names::Signed,
            Names::Wrapped,
        ][rng.usize(0..8)];
        let numbers = [
            Numbers::Right,
            Numbers::Right,
            Numbers::Stuck,
            Numbers::Slow,
            Numbers::Overflowing,
            Numbers::ByClock,
            Numbers::OfNode,
            Numbers::Random,
        ][rng.usize(0..8)];
        let dates =
            [Dates::None, Dates::None, Dates::Right, Dates::OfNode, Dates::Stepped, Dates::OfWriting][rng.usize(0..6)];
        let turns = [Turns::One, Turns::Alternating, Turns::Random, Turns::Failover][rng.usize(0..4)];
        let window = rng.usize(3..10);
        let keeps_list = numbers == Numbers::ByClock || (names != Names::Again && rng.bool());
        let mut world = Self {
            names,
            numbers,
            dates,
            turns,
            window,
            // One name at least is in both windows.
            lag_ms: rng.i64(0..(window as i64 - 1) * TARGET_MS),
            keeps_list,
            step_ms: [3_600_000, -3_600_000, 10_000, -10_000][rng.usize(0..4)],
            disagree_ms: rng.i64(-1000..=1000),
            lists: Vec::new(),
            restarts: 0,
        };
        world.live(rng);
        world
    }

    /// The encoder's story: it makes segments, stands still, begins anew.
    fn live(&mut self, rng: &mut Rng) {
        let (mut at, mut life, mut number, mut id, mut gone) = (0, 0, 0, 0, 0);
        let mut list: Vec<Made> = Vec::new();
        let (mut slate, mut slates) = (0_usize, 0);
        // A window that is full at the start, as that of a server which has run for long.
        let old = if rng.bool() { self.window + 3 } else { 0 };
        while at < LENGTH_MS {
            let calm = id > old + 2 * self.window;
            if calm && rng.u32(0..40) == 0 {
                at += rng.i64(4_000..30_000);
            }
            // An encoder that begins with the same names before they have left its window cannot be told from an old copy.
            // Nor one that begins with a slate which the last window has.
            let distinct = (self.names != Names::Again || number > 4 * self.window + 10)
                && slate == 0
                && !list.iter().any(|program_date_time| program_date_time.slate);
            if calm && distinct && rng.u32(0..25) == 0 {
                (life, number) = (life + 1, 0);
                self.restarts += 1;
                at += rng.i64(0..8_000);
                if !self.keeps_list {
                    (list, gone) = (Vec::new(), 0);
                }
            }
            // The same slate several times: only numbers tell how often.
            if slates == 0
                && calm
                && self.numbers == Numbers::Right
                && self.names == Names::Counted
                && self.restarts == 0
            {
                slate = if rng.u32(0..30) == 0 { rng.usize(2..12) } else { 0 };
                slates += slate;
            }
            at += if id < old { 0 } else { rng.i64(TARGET_MS - 100..TARGET_MS + 100) };
            let is_slate = slate > 0;
            slate = slate.saturating_sub(1);
            list.push(Made { id, life, number, at_ms: at, slate: is_slate });
            (id, number) = (id + 1, number + 1);
            if list.len() > self.window {
                list.remove(0);
                gone += 1;
            }
            self.lists.push((at, gone, list.clone()));
        }
    }

    fn node(&self, rng: &mut Rng, reading: usize, at: i64) -> usize {
        match self.turns {
            Turns::One => 0,
            Turns::Alternating => reading % 2,
            Turns::Random => rng.usize(0..2),
            Turns::Failover => usize::from(at > LENGTH_MS / 2),
        }
    }

    /// What a node answers at a time, and which segments that are.
    fn playlist(&self, rng: &mut Rng, node: usize, now: i64) -> (MediaPlaylist, Vec<usize>) {
        let at = if node == 1 { now - self.lag_ms } else { now };
        let nothing = (0, 0, Vec::new());
        let (written, gone, list) = self.lists.iter().rev().find(|(from, ..)| *from <= at).unwrap_or(&nothing);
        let signature = rng.u32(..);
        let base = match self.numbers {
            Numbers::Right => *gone as u64,
            Numbers::Stuck => 0,
            Numbers::Slow => *gone as u64 / 2,
            Numbers::Overflowing => u64::MAX,
            Numbers::ByClock => {
                *gone as u64
                    + list
                        .last()
                        .map_or(0, |last| if last.life > 0 { 1_700_000_000 + 100 * last.life as u64 } else { 0 })
            }
            Numbers::OfNode => *gone as u64 + 1000 * node as u64,
            Numbers::Random => rng.u64(0..1 << 40),
        };
        let segments = list.iter().enumerate().map(|(n, program_date_time)| {
            let made_at = match self.dates {
                Dates::None => None,
                Dates::Right => Some(program_date_time.at_ms),
                Dates::OfNode => Some(program_date_time.at_ms + self.disagree_ms * node as i64),
                Dates::Stepped => Some(
                    program_date_time.at_ms + if program_date_time.at_ms > LENGTH_MS / 3 { self.step_ms } else { 0 },
                ),
                Dates::OfWriting => Some(written - (list.len() - n) as i64 * TARGET_MS),
            };
            MediaSegment {
                sequence: base.saturating_add(n as u64),
                url: Url::parse(&format!("http://node{node}/live/{}", self.name(program_date_time, signature)))
                    .expect("an address"),
                range: (self.names == Names::Range)
                    .then_some(ByteRange { offset: program_date_time.number as u64 * 1000, length: 1000 }),
                duration_ms: TARGET_MS,
                program_date_time: made_at.map(|at| Ms(1_700_000_000_000 + at)),
                discontinuity: false,
                gap: false,
                map: None,
                key: None,
            }
        });
        let playlist = MediaPlaylist { target_ms: TARGET_MS, segments: segments.collect(), ended: false };
        (playlist, list.iter().map(|program_date_time| program_date_time.id).collect())
    }

    fn name(&self, program_date_time: &Made, signature: u32) -> String {
        if program_date_time.slate {
            return "slate.ts".to_owned();
        }
        match self.names {
            Names::Counted => format!("{}.ts", program_date_time.id),
            Names::OfLife => format!("{}_{}.ts", program_date_time.life, program_date_time.number),
            Names::Again => format!("{}.ts", program_date_time.number),
            Names::Query => format!("seg.ts?n={}&l={}", program_date_time.number, program_date_time.life),
            Names::Folder => format!("{}/{}/seg.ts", program_date_time.life, program_date_time.number),
            Names::Range => format!("all{}.ts", program_date_time.life),
            Names::Signed => format!("{signature}/{}.ts?token={signature}", program_date_time.id),
            Names::Wrapped => format!("{}.ts", program_date_time.id % (3 * self.window + 8)),
        }
    }
}

/// Reads a world to its end. The error says what stands twice or was left out.
fn read(seed: u64, mut log: Option<&mut String>) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let world = World::new(&mut rng);
    let mut history = SegmentHistory::default();
    let mut taken: Vec<usize> = Vec::new();
    // When each segment was listed first and last in what was read, but for those that a slow node lists first when newer
    // ones have been taken.
    let mut offered: HashMap<usize, (i64, i64)> = HashMap::new();
    let (mut now, mut reading) = (rng.i64(0..20_000), 0);
    let mut restarts: Vec<i64> = Vec::new();
    while now < LENGTH_MS {
        let node = world.node(&mut rng, reading, now);
        let (playlist, ids) = world.playlist(&mut rng, node, now);
        reading += 1;
        for id in &ids {
            if let Some(times) = offered.get_mut(id) {
                times.1 = now;
            } else if taken.iter().max().is_none_or(|newest| id > newest) {
                offered.insert(*id, (now, now));
            }
        }
        let start = history.locate(&playlist, Ms(now));
        if start.reset {
            restarts.push(now);
        }
        let news = start.at < ids.len();
        if let Some(log) = &mut log {
            let first = playlist.segments.first().map(|segment| (segment.url.as_str(), segment.sequence));
            log.push_str(&format!("{now} node {node} {ids:?} from {first:?}: {start:?}\n"));
        }
        for (segment, id) in playlist.segments.iter().zip(&ids).skip(start.at) {
            history.pass(segment);
            taken.push(*id);
        }
        now += reload_after(&playlist, news) + rng.i64(0..300);
        if world.names != Names::Again && rng.u32(0..40) == 0 {
            // Nothing can be had for a while. (Where names are used again, what comes then cannot be told from old copies.)
            now += rng.i64(0..6_000);
        }
    }
    let mut sorted = taken.clone();
    sorted.sort_unstable();
    let twice: Vec<usize> = sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    let left_out = |(id, (first, last)): (&usize, &(i64, i64))| {
        (last - first >= 2 * TARGET_MS && sorted.binary_search(id).is_err()).then_some(*id)
    };
    let mut left_out: Vec<usize> = offered.iter().filter_map(left_out).collect();
    left_out.sort_unstable();
    // A few targets lie between two that were believed.
    let hasty = restarts.windows(2).any(|pair| pair[1] - pair[0] < TARGET_MS / 2);
    let world_words = || {
        let World { names, numbers, dates, turns, window, lag_ms, keeps_list, restarts, .. } = &world;
        format!(
            "{names:?} {numbers:?} {dates:?} {turns:?} window {window} lag {lag_ms} keeps {keeps_list} restarts {restarts}"
        )
    };
    if twice.is_empty() && left_out.is_empty() && !hasty {
        return Ok(());
    }
    Err(format!("seed {seed}: twice {twice:?} left out {left_out:?} hasty {hasty}; {}", world_words()))
}

/// How many worlds are tried: `make playlists` tries more of them.
fn seeds() -> u64 {
    std::env::var("STREAMRIP_PLAYLIST_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000)
}

#[test]
fn each_segment_of_a_lying_playlist_is_taken_once() {
    // `STREAMRIP_PLAYLIST_SEED=7` tells the story of that seed.
    let one = std::env::var("STREAMRIP_PLAYLIST_SEED").ok().and_then(|n| n.parse().ok());
    let tried = one.map_or(0..seeds(), |seed: u64| seed..seed + 1);
    let bad: Vec<(u64, String)> = tried.filter_map(|seed| Some((seed, read(seed, None).err()?))).collect();
    let Some((first, _)) = bad.first() else { return };
    let mut log = String::new();
    let _ = read(*first, Some(&mut log));
    let brief: Vec<&str> = bad.iter().map(|(_, words)| words.as_str()).take(40).collect();
    panic!("{} seeds failed\n{}\n{log}", bad.len(), brief.join("\n"));
}
