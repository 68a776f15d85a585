//! Which segments of a live playlist are new to a client that reads it again and again.
//!
//! Servers lie about numbers and dates: EXT-X-MEDIA-SEQUENCE is missing, stands still, grows too slowly or is renumbered,
//! dates step with the packager's clock, and the nodes of a CDN answer by turns, one behind the other. Names are what a
//! server cannot get wrong, since it has to serve the files. So the names of the last window decide: a playlist that
//! holds one of them continues behind the newest of them. Numbers and dates only choose between several places that the
//! names allow (one slate listed eight times), and tell an old copy from a restart where no name is known.

use std::collections::VecDeque;
use std::sync::Arc;

use url::Url;

use super::ResumePoint;
use crate::domain::hls::{ByteRange, MediaPlaylist, MediaSegment};
use crate::domain::time::Ms;

/// Names that are remembered at most, of one encoder's life: a playlist of a whole day has thousands, of which the
/// newest suffice.
const MAX_NAMES: usize = 256;

/// Dates of one segment in two copies of a playlist differ by at most this: packagers round them, and two origins have
/// two clocks. Milliseconds.
const SAME_DATE_MS: i64 = 1500;

/// Target durations within which a playlist without a known name is not a second restart.
const RESTART_TARGETS: i64 = 3;

/// Target durations after which a life of the encoder that brings nothing new is taken to be over, so that an older one
/// that still brings something is followed again.
const DEAD_TARGETS: i64 = 3;

/// For how many target durations the names of an encoder's last life are remembered: caches hand its playlist out for
/// some seconds. For longer would be wrong where names go round.
const RETIRED_TARGETS: i64 = 10;

/// Numbers that run ahead by more than this do so because the packager began to count by its clock.
const MAX_MISSED: u64 = 10_000;

/// One segment, as far as it can be known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRef {
    url: Arc<Url>,
    range: Option<ByteRange>,
    /// Media sequence number.
    pub sequence: u64,
    /// EXT-X-PROGRAM-DATE-TIME.
    program_date_time: Option<Ms>,
}

impl SegmentRef {
    /// What identifies a segment of a playlist.
    #[must_use]
    pub fn of(segment: &MediaSegment) -> Self {
        Self {
            url: Arc::new(segment.url.clone()),
            range: segment.range,
            sequence: segment.sequence,
            program_date_time: segment.program_date_time,
        }
    }

    /// True where `segment` has the same name on the server: the last part of its path and where it begins if it is a part
    /// of a file. Hosts, folders and queries change with load balancers and signatures.
    #[must_use]
    pub fn has_name_of(&self, segment: &MediaSegment) -> bool {
        Naming::Tail.is_same(self, segment)
    }
}

/// Which part of an address tells the segments of a stream apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Naming {
    /// The last part of the path, and the first byte where it is a part of a file.
    #[default]
    Tail,
    /// The query too, since all have the same path.
    Query,
    /// The whole address, since all end alike.
    Address,
    /// Only their numbers: one address for all, or names that are made anew with each reading.
    Number,
}

impl Naming {
    fn is_same(self, a: &SegmentRef, b: &MediaSegment) -> bool {
        let offset = |range: Option<ByteRange>| range.map(|range| range.offset);
        let tails = || tail(&a.url) == tail(&b.url) && offset(a.range) == offset(b.range);
        match self {
            Self::Tail => tails(),
            Self::Query => tails() && a.url.query() == b.url.query(),
            Self::Address => tails() && a.url.path() == b.url.path() && a.url.query() == b.url.query(),
            Self::Number => a.sequence == b.sequence,
        }
    }

    /// What tells apart the segments of a playlist; `None` where one segment is all it has.
    fn of(segments: &[MediaSegment]) -> Option<Self> {
        let (first, rest) = segments.split_first()?;
        let first = SegmentRef::of(first);
        let all = |naming: Self| rest.iter().all(|segment| naming.is_same(&first, segment));
        (!rest.is_empty()).then(|| {
            [Self::Tail, Self::Query, Self::Address].into_iter().find(|naming| !all(*naming)).unwrap_or(Self::Number)
        })
    }
}

fn tail(url: &Url) -> &str {
    url.path().rsplit('/').next().unwrap_or_default()
}

/// What a client has passed of a live playlist: segments that it took, or left out for good. Clones are cheap enough to
/// be made with each segment.
#[derive(Clone, Debug, Default)]
pub struct SegmentHistory {
    /// The life of the encoder that is followed.
    current: EncoderRun,
    /// Lives before it, whose playlists a cache may still hand out, or that go on beside it.
    retired: Vec<(EncoderRun, Ms)>,
    naming: Naming,
    /// Names are made anew with each reading.
    is_volatile: bool,
    restarted_at: Option<Ms>,
    /// The last playlist that held no known name and was not believed.
    unknown: Vec<SegmentRef>,
    has_begun: bool,
}

/// What was read of one run of the encoder: from a restart to the next.
#[derive(Clone, Debug, Default)]
struct EncoderRun {
    /// Counts restarts.
    number: u32,
    /// Oldest first; the last `window` of them are the last window's.
    passed: VecDeque<SegmentRef>,
    /// Segments of the longest playlist so far.
    window: usize,
    /// Listed behind what was passed, when the playlist was read last.
    pending: Vec<SegmentRef>,
    /// When a playlist of this life was read last, and when one that had something new.
    seen_at: Ms,
    news_at: Ms,
    /// Its last playlist said that nothing follows.
    has_ended: bool,
    /// So many segments were taken of it after the next life had begun.
    late: usize,
}

/// Where a life's playlist goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    at: usize,
    /// Where the newest segment that was passed stands.
    again: Option<usize>,
    missed: u64,
}

impl SegmentHistory {
    /// The newest segment that was passed.
    #[must_use]
    pub fn last(&self) -> Option<&SegmentRef> {
        self.current.passed.back()
    }

    /// True where nothing was read yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        !self.has_begun
    }

    /// When a playlist had something new for the last time.
    #[must_use]
    pub fn news_at(&self) -> Ms {
        self.current.news_at
    }

    /// True where both are one segment in two readings of a playlist.
    #[must_use]
    pub fn is_same(&self, a: &SegmentRef, b: &MediaSegment) -> bool {
        self.naming.is_same(a, b) && (self.naming != Naming::Tail || self.is_unique(a) || a.sequence == b.sequence)
    }

    /// False where one name stands several times in the window, as that of a slate does.
    fn is_unique(&self, a: &SegmentRef) -> bool {
        let known = self.current.passed.iter().chain(&self.current.pending);
        known.filter(|known| tail(&known.url) == tail(&a.url)).map(|known| known.sequence).all(|n| n == a.sequence)
    }

    /// A segment was taken, or left out for good. To be called in the order of the playlist.
    pub fn pass(&mut self, segment: &MediaSegment) {
        self.has_begun = true;
        self.current.pass(SegmentRef::of(segment));
    }

    /// Where to go on in a playlist that was read at `now`. All of it is new to a history that is new.
    pub fn locate(&mut self, playlist: &MediaPlaylist, now: Ms) -> ResumePoint {
        let segments = &playlist.segments;
        let nothing = ResumePoint { at: segments.len(), ..ResumePoint::default() };
        if segments.is_empty() {
            return nothing;
        }
        let target_ms = playlist.target_ms.max(segments.iter().map(|segment| segment.duration_ms).max().unwrap_or(0));
        self.naming = self.naming_for(segments);
        self.retired.retain(|(_, since)| now.since(*since) < RETIRED_TARGETS * target_ms);
        if !self.has_begun {
            self.has_begun = true;
            self.current.read(segments, 0, now);
            self.current.has_ended = playlist.ended;
            return ResumePoint::default();
        }
        let place = self.current.place(segments, self.naming);
        // A clip that was shown before the talk had ended: what is not behind it begins anew, whatever its names.
        let begins_anew = self.current.has_ended && !playlist.ended && place.is_none_or(|place| place.again.is_none());
        if !begins_anew {
            if let Some(place) = place {
                self.unknown.clear();
                self.current.has_ended = playlist.ended;
                return self.current.go_on(place, segments, now);
            }
            if self.current.is_old_copy(segments, self.naming, now, target_ms) {
                return nothing;
            }
        }
        if let Some(start) = self.of_another_life(segments, now, target_ms) {
            return start;
        }
        self.of_no_known_life(playlist, now, target_ms).unwrap_or(nothing)
    }

    fn naming_for(&self, segments: &[MediaSegment]) -> Naming {
        if self.is_volatile {
            return Naming::Number;
        }
        // A window of a single segment, whose next one has the same name: the rest of the address may tell them apart.
        let of_two = || match (self.last(), segments) {
            (Some(last), [next]) if last.sequence.checked_add(1) == Some(next.sequence) => {
                let tells = |naming: &Naming| Naming::Tail.is_same(last, next) && !naming.is_same(last, next);
                [Naming::Query, Naming::Address].into_iter().find(tells).unwrap_or(self.naming)
            }
            _ => self.naming,
        };
        Naming::of(segments).unwrap_or_else(of_two)
    }

    /// A playlist of a life before or after the one that is followed. An older one is left where the newest goes on: but
    /// for its last window, which a slow copy may bring late.
    fn of_another_life(&mut self, segments: &[MediaSegment], now: Ms, target_ms: i64) -> Option<ResumePoint> {
        let naming = self.naming;
        let mut places = self.retired.iter().enumerate().rev();
        let (index, place) = places.find_map(|(n, (life, _))| Some((n, life.place(segments, naming)?)))?;
        self.retired[index].1 = now;
        let news = segments.len() - place.at;
        let newest = self.retired.iter().map(|(life, _)| life).chain([&self.current]).max_by_key(|life| life.number)?;
        let is_over = now.since(newest.news_at) >= DEAD_TARGETS * target_ms;
        let life = &self.retired[index].0;
        let is_newest = life.number == newest.number;
        if !is_newest && (news == 0 || !(is_over || life.late + news <= life.window)) {
            return Some(ResumePoint { at: segments.len(), ..ResumePoint::default() });
        }
        let (mut life, _) = self.retired.remove(index);
        if !is_newest && !is_over {
            life.late += news;
        }
        self.unknown.clear();
        let before = std::mem::replace(&mut self.current, life);
        self.retired.push((before, now));
        Some(ResumePoint { reset: true, ..self.current.go_on(place, segments, now) })
    }

    /// A playlist without a known name: the window went on while nobody looked, or the encoder began anew.
    fn of_no_known_life(&mut self, playlist: &MediaPlaylist, now: Ms, target_ms: i64) -> Option<ResumePoint> {
        let segments = &playlist.segments;
        let first = segments.first()?;
        let ahead = self.last().and_then(|last| first.sequence.checked_sub(last.sequence)?.checked_sub(1));
        if ahead == Some(0) {
            let place = Place { at: 0, again: None, missed: 0 };
            return Some(self.current.go_on(place, segments, now));
        }
        // More than real time allows: names that change with each reading, or two encoders by turns.
        let limit = (playlist.held_ms() / 2).min(RESTART_TARGETS * target_ms);
        let is_held = ahead.is_none() && self.restarted_at.is_some_and(|at| (0..limit).contains(&now.since(at)));
        if is_held {
            let is_other =
                |segment: &MediaSegment| self.unknown.iter().all(|other| !self.naming.is_same(other, segment));
            if !self.unknown.is_empty() && segments.iter().all(is_other) {
                let place = self.current.place(segments, Naming::Number)?;
                (self.naming, self.is_volatile) = (Naming::Number, true);
                return Some(self.current.go_on(place, segments, now));
            }
            self.unknown = segments.iter().rev().take(MAX_NAMES).map(SegmentRef::of).collect();
            return None;
        }
        self.unknown.clear();
        let missed = ahead.filter(|missed| *missed <= MAX_MISSED);
        let newest = self.retired.iter().map(|(life, _)| life.number).max().unwrap_or(0).max(self.current.number);
        let next = EncoderRun { number: newest + 1, ..EncoderRun::default() };
        let before = std::mem::replace(&mut self.current, next);
        self.retired.push((before, now));
        self.current.read(segments, 0, now);
        if missed.is_none() {
            self.restarted_at = Some(now);
        }
        Some(ResumePoint { at: 0, missed: missed.unwrap_or(0), reset: missed.is_none(), again: None })
    }
}

impl EncoderRun {
    fn pass(&mut self, taken: SegmentRef) {
        if let Some(at) = self.pending.iter().position(|pending| *pending == taken) {
            self.pending.drain(..=at);
        }
        self.passed.push_back(taken);
        if self.passed.len() > MAX_NAMES {
            self.passed.pop_front();
        }
    }

    /// A playlist of this life was read, and is new from `at` on.
    fn read(&mut self, segments: &[MediaSegment], at: usize, now: Ms) {
        self.window = self.window.max(segments.len());
        self.seen_at = now;
        if let Some(new) = segments.get(at..).filter(|new| !new.is_empty()) {
            self.news_at = now;
            let skip = new.len().saturating_sub(MAX_NAMES);
            self.pending = new.iter().skip(skip).map(SegmentRef::of).collect();
        }
    }

    fn go_on(&mut self, place: Place, segments: &[MediaSegment], now: Ms) -> ResumePoint {
        self.read(segments, place.at, now);
        ResumePoint { at: place.at, missed: place.missed, reset: false, again: place.again }
    }

    /// Where a playlist goes on; `None` where it holds no name of the last window.
    fn place(&self, segments: &[MediaSegment], naming: Naming) -> Option<Place> {
        let window: Vec<&SegmentRef> = self.passed.iter().skip(self.passed.len().saturating_sub(self.window)).collect();
        self.aligned(&window, segments, naming).or_else(|| self.of_pending(segments, naming))
    }

    /// The place at which the two windows agree best.
    fn aligned(&self, window: &[&SegmentRef], segments: &[MediaSegment], naming: Naming) -> Option<Place> {
        let (last, newest) = (window.len().checked_sub(1)?, segments.len().checked_sub(1)?);
        // How many agree, from segment `n` of the window and `i` of the playlist backwards; and how good that is.
        let rank = |n: usize, i: usize| {
            let run = (0..=n.min(i)).take_while(|back| naming.is_same(window[n - back], &segments[i - back])).count();
            let is_whole = run == n.min(i) + 1;
            (run > 0).then_some((is_whole, window[n].sequence == segments[i].sequence, run))
        };
        let ahead =
            (0..=newest).filter_map(|i| Some((rank(last, i)?, true, Place { at: i + 1, again: Some(i), missed: 0 })));
        // A copy that is behind ours ends with a segment that we have passed.
        let behind = (0..last).filter_map(|n| {
            let place = Place { at: segments.len(), again: None, missed: 0 };
            Some((rank(n, newest)?, false, place))
        });
        let best = ahead.chain(behind).max_by_key(|(rank, is_ahead, _)| (*rank, *is_ahead));
        // A slate that stands there several times agrees with itself at many places: then numbers that go on decide.
        if let Some(((_, same_numbers, _), _, Place { again: Some(again), .. })) = best {
            let stands_once = |segment: &MediaSegment| {
                let same = |other: &&MediaSegment| naming.is_same(&SegmentRef::of(segment), other);
                segments.iter().filter(same).count() == 1
            };
            let goes_on = segments.first().is_some_and(|first| first.sequence > window[last].sequence);
            if !same_numbers && goes_on && !stands_once(&segments[again]) {
                return None;
            }
        }
        let best = best.map(|(_, _, place)| place);
        // Segments that were passed are no longer there: deleted, or known to another node only.
        let newest_known = || {
            let is_known = |segment: &MediaSegment| window.iter().any(|known| naming.is_same(known, segment));
            let at = segments.iter().rposition(is_known)? + 1;
            Some(Place { at, again: None, missed: 0 })
        };
        best.or_else(newest_known)
    }

    /// Nothing that was passed is listed any more, but something that was listed behind it.
    fn of_pending(&self, segments: &[MediaSegment], naming: Naming) -> Option<Place> {
        let place_of =
            |segment: &MediaSegment| self.pending.iter().position(|pending| naming.is_same(pending, segment));
        let (at, missed) = segments.iter().enumerate().find_map(|(i, segment)| Some((i, place_of(segment)?)))?;
        Some(Place { at, again: None, missed: missed as u64 })
    }

    /// True for a copy so old that none of its names is in the last window. It must be what was passed, word for word,
    /// since an encoder that was restarted uses names again: with its dates, or where it has none with its numbers and
    /// while newer copies are at hand.
    fn is_old_copy(&self, segments: &[MediaSegment], naming: Naming, now: Ms, target_ms: i64) -> bool {
        let Some(first) = segments.first() else { return false };
        let is_ours = |from: usize| {
            let passed = self.passed.iter().skip(from);
            let pairs = || passed.clone().zip(segments);
            pairs().count() == segments.len()
                && pairs().all(|(passed, segment)| naming.is_same(passed, segment))
                && pairs().all(|(passed, segment)| match (passed.program_date_time, segment.program_date_time) {
                    (Some(a), Some(b)) => a.since(b).abs() <= SAME_DATE_MS,
                    _ => {
                        passed.sequence == segment.sequence
                            && segments.len() >= self.window
                            && now.since(self.seen_at) <= 2 * target_ms
                    }
                })
        };
        let begins = self.passed.iter().enumerate().filter(|(_, passed)| naming.is_same(passed, first));
        begins.map(|(n, _)| n).any(is_ours)
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
