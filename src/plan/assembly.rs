//! What a talk's one file is made of: which packets of which segments, in which order, moved to where
//! in time. Pure: the join carries it out.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use chrono_tz::Tz;

use super::cut::{From, To};
use super::seam::{self, Method, Seam, SeamKind, begin_after_gap, whole_packets};
use crate::domain::gap::Gap;
use crate::domain::ids::SegmentId;
use crate::domain::interval::Interval;
use crate::domain::media::{MediaIndex, MediaSpan, TrackKind};
use crate::domain::segment::{Segment, Verdict};
use crate::domain::talk::Talk;
use crate::domain::time::{Ms, SECOND};

/// What a plan is made from.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The talk.
    pub talk: &'a Talk,
    /// Name of its event.
    pub event: &'a str,
    /// Name of its hall.
    pub hall: &'a str,
    /// What its start is printed in.
    pub zone: Tz,
    /// Its slot with padding.
    pub window: Interval,
    /// Segments of its hall that touch the window, with what is in them; `None`: not indexed.
    pub segments: Vec<(&'a Segment, Option<&'a MediaIndex>)>,
    /// What is missing of the slot, and why.
    pub gaps: &'a [Gap],
    /// Mark slot and gaps with chapters.
    pub chapters: bool,
}

/// One track of the assembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutTrack {
    /// Number, from 1.
    pub number: u32,
    /// Pictures or sound.
    pub kind: TrackKind,
    /// What all its packets have in common.
    pub format_hash: u64,
}

/// What is used of one track of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackPiece {
    /// Its number in the segment.
    pub track: u32,
    /// Its number in the assembly.
    pub out_track: u32,
    /// First packet used.
    pub from: From,
    /// First packet no longer used.
    pub to: To,
    /// Where the last one used ends in the assembly, milliseconds; `None` where none is used.
    pub out_end_ms: Option<i64>,
}

/// A stretch of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The segment.
    pub segment: SegmentId,
    /// Per track.
    pub tracks: Vec<TrackPiece>,
    /// Added to the segment's clock to get the assembly's, milliseconds.
    pub shift_ms: i64,
    /// Wall time = the segment's clock + this.
    pub offset_ms: i64,
    /// Where it begins in the assembly, milliseconds.
    pub out_start_ms: i64,
    /// Where it ends there.
    pub out_end_ms: i64,
    /// What is missing before it.
    pub before: Option<Missing>,
}

impl Piece {
    /// What part of wall time it holds.
    #[must_use]
    pub fn wall(&self) -> Interval {
        let to_wall = |out: i64| Ms(out - self.shift_ms + self.offset_ms);
        Interval::new(to_wall(self.out_start_ms), to_wall(self.out_end_ms))
    }
}

/// Media that nobody recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// How long, milliseconds; 0 where it is not known.
    pub ms: i64,
    /// Why, in the words of gap causes; `None` where it is not known.
    pub cause: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gap: {:.1} s missing", self.ms as f64 / 1000.0)?;
        match &self.cause {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

/// A segment that touches the window and is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which.
    pub segment: SegmentId,
    /// Why, for people.
    pub reason: String,
    /// It will never be of use here: its media stands in others, or it has none. Otherwise it is kept.
    pub redundant: bool,
}

/// A chapter mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chapter {
    /// Where in the assembly, milliseconds.
    pub at_ms: i64,
    /// Its name.
    pub title: String,
}

/// What to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssemblyPlan {
    /// Title of the file.
    pub title: String,
    /// Tracks.
    pub tracks: Vec<OutTrack>,
    /// A segment that has all the tracks: their heads are taken from it.
    pub template: Option<SegmentId>,
    /// In order. Empty: there is nothing to make a file of.
    pub pieces: Vec<Piece>,
    /// What was looked at and left out.
    pub rejected: Vec<Rejected>,
    /// How neighbours meet.
    pub seams: Vec<(SegmentId, SegmentId, Seam)>,
    /// In order.
    pub chapters: Vec<Chapter>,
    /// Names and values of tags.
    pub tags: Vec<(String, String)>,
    /// Start of what it holds, in wall time.
    pub starts: Option<Ms>,
    /// Expected length, milliseconds.
    pub duration_ms: i64,
}

impl AssemblyPlan {
    /// True where it has pictures.
    #[must_use]
    pub fn has_video(&self) -> bool {
        self.tracks.iter().any(|t| t.kind == TrackKind::Video)
    }

    /// Tells an unchanged plan: SHA-256 over everything that the file depends on.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        use sha2::Digest;
        /// Counts changes in how plans are carried out.
        const VERSION: u8 = 1;
        let mut hash = sha2::Sha256::new_with_prefix([VERSION]);
        for line in self.content() {
            hash.update(line);
            hash.update([0]);
        }
        for piece in &self.pieces {
            hash.update(piece.shift_ms.to_be_bytes());
        }
        hash.finalize().into()
    }

    /// The plan in lines of text, for people.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let mut lines = self.content();
        lines.extend(self.rejected.iter().map(|r| format!("not used: segment {}: {}", r.segment, r.reason)));
        lines
    }

    /// What the file depends on. Not what was left out: pruning that must not make it out of date.
    fn content(&self) -> Vec<String> {
        let mut lines = vec![format!("title: {}", self.title)];
        lines.extend(self.tags.iter().map(|(name, value)| format!("tag {name}: {value}")));
        let seconds = |ms: i64| format!("{:.3}", ms as f64 / 1000.0);
        for piece in &self.pieces {
            if let Some(missing) = &piece.before {
                lines.push(missing.to_string());
            }
            let cuts: Vec<_> =
                piece.tracks.iter().map(|t| format!("track {}: {} to {}", t.out_track, t.from, t.to)).collect();
            lines.push(format!(
                "{} to {}: segment {}, {}",
                seconds(piece.out_start_ms),
                seconds(piece.out_end_ms),
                piece.segment,
                cuts.join("; ")
            ));
        }
        lines.extend(self.chapters.iter().map(|c| format!("chapter {}: {}", seconds(c.at_ms), c.title)));
        lines
    }
}

/// Media missing for less than this is not worth a chapter, milliseconds.
const CHAPTER_GAP_MS: i64 = 200;

/// A second segment that reaches back before the first by more than this is taken first instead.
const REACH_BACK_MS: i64 = 100;

/// Plans the assembly of a talk.
#[must_use]
pub fn plan(inputs: &Inputs<'_>) -> AssemblyPlan {
    let mut rejected = Vec::new();
    let mut usable: Vec<Unit<'_>> = Vec::new();
    for (segment, index) in &inputs.segments {
        match (usable_index(segment, *index, inputs.window), index) {
            (Ok(()), Some(index)) => usable.push(Unit { id: segment.id, index, tracks: Vec::new() }),
            (Err((reason, redundant)), _) => rejected.push(Rejected { segment: segment.id, reason, redundant }),
            (Ok(()), None) => {}
        }
    }
    usable.sort_by_key(|u| (u.wall().start, u.wall().end, u.id));
    let tracks = main_format(&usable, inputs);
    usable.retain_mut(|unit| {
        unit.tracks = assign(unit.index, &tracks);
        let fits = !unit.tracks.is_empty()
            && (unit.tracks.len() == unit.index.tracks.len() || unit.tracks.len() == tracks.len());
        if !fits {
            let reason = format!("its format ({}) is not the one most of the talk has", formats(unit.index));
            rejected.push(Rejected { segment: unit.id, reason, redundant: false });
        }
        fits
    });
    let template = usable.iter().find(|u| u.tracks.len() == tracks.len()).map(|u| u.id);
    let mut builder =
        Builder { window: inputs.window, pieces: Vec::new(), rejected, seams: Vec::new(), gaps: inputs.gaps };
    builder.run(&usable);
    let Builder { pieces, rejected, seams, .. } = builder;
    let used: HashSet<u32> = pieces.iter().flat_map(|p| &p.tracks).map(|t| t.out_track).collect();
    let title = inputs.talk.title.clone();
    let mut plan = AssemblyPlan {
        tags: tags(inputs),
        chapters: Vec::new(),
        title,
        tracks: tracks.into_iter().filter(|t| used.contains(&t.number)).collect(),
        template,
        rejected,
        seams,
        starts: pieces.first().map(|p| p.wall().start),
        duration_ms: pieces.iter().map(|p| p.out_end_ms).max().unwrap_or_default(),
        pieces,
    };
    if inputs.chapters {
        plan.chapters = chapters(&plan.pieces, inputs);
    }
    plan
}

/// A segment that may be used.
struct Unit<'a> {
    id: SegmentId,
    index: &'a MediaIndex,
    /// Track in the segment, track in the assembly.
    tracks: Vec<(u32, u32)>,
}

impl Unit<'_> {
    fn wall(&self) -> Interval {
        let spans = &self.index.spans;
        let start = spans.iter().map(|s| s.wall().start).min().unwrap_or_default();
        Interval::new(start, spans.iter().map(|s| s.wall().end).max().unwrap_or(start))
    }
}

fn usable_index(segment: &Segment, index: Option<&MediaIndex>, window: Interval) -> Result<(), (String, bool)> {
    match segment.verdict {
        Verdict::Media => {}
        Verdict::NotMedia => {
            let why = segment.verdict_reason.as_deref().unwrap_or("no media in it");
            return Err((format!("not media: {why}"), true));
        }
        other => return Err((other.as_str().to_owned(), false)),
    }
    let Some(index) = index else { return Err(("not indexed".to_owned(), false)) };
    if index.spans.iter().any(|s| s.wall().overlaps(window)) {
        Ok(())
    } else {
        Err(("its media lies outside the talk's window".to_owned(), false))
    }
}

fn formats(index: &MediaIndex) -> String {
    index.tracks.iter().map(|t| format!("{} {:08x}", t.codec, t.format_hash >> 32)).collect::<Vec<_>>().join(" + ")
}

/// The tracks of the format that covers most of the slot, and of the window where that is equal.
fn main_format(units: &[Unit<'_>], inputs: &Inputs<'_>) -> Vec<OutTrack> {
    let mut totals: Vec<(Vec<OutTrack>, i64, i64)> = Vec::new();
    for unit in units {
        let tracks: Vec<_> = (1..)
            .zip(&unit.index.tracks)
            .map(|(number, t)| OutTrack { number, kind: t.kind, format_hash: t.format_hash })
            .collect();
        let shared = |with: Interval| unit.index.spans.iter().map(|s| s.wall().intersect(with).len_ms()).sum::<i64>();
        let (slot, window) = (shared(inputs.talk.slot), shared(inputs.window));
        match totals.iter_mut().find(|(known, ..)| *known == tracks) {
            Some(total) => (total.1, total.2) = (total.1 + slot, total.2 + window),
            None => totals.push((tracks, slot, window)),
        }
    }
    // The first of equals: the order of segments is fixed.
    let best = totals.iter().map(|(_, slot, window)| (*slot, *window)).max();
    totals.into_iter().find(|(_, slot, window)| Some((*slot, *window)) == best).map_or(Vec::new(), |(t, ..)| t)
}

fn assign(index: &MediaIndex, tracks: &[OutTrack]) -> Vec<(u32, u32)> {
    let mut left: Vec<&OutTrack> = tracks.iter().collect();
    index
        .tracks
        .iter()
        .filter_map(|t| {
            let at = left.iter().position(|o| o.kind == t.kind && o.format_hash == t.format_hash)?;
            Some((t.number, left.remove(at).number))
        })
        .collect()
}

struct Builder<'a> {
    window: Interval,
    pieces: Vec<Piece>,
    rejected: Vec<Rejected>,
    seams: Vec<(SegmentId, SegmentId, Seam)>,
    gaps: &'a [Gap],
}

impl Builder<'_> {
    fn run(&mut self, units: &[Unit<'_>]) {
        let mut queue: VecDeque<&Unit<'_>> = units.iter().collect();
        let mut turned: HashSet<(SegmentId, SegmentId)> = HashSet::new();
        while let Some(unit) = queue.pop_front() {
            let last = self.pieces.last().and_then(|p| units.iter().find(|u| u.id == p.segment));
            let Some(last) = last else {
                self.place_first(unit);
                continue;
            };
            let seam = seam::find(last.index, unit.index);
            if self.reaches_end(last) {
                let stands = stands_in(last, unit, &seam);
                self.reject(unit.id, format!("segment {} goes on to the end of the window", last.id), stands);
                continue;
            }
            if seam.reaches_back_ms > REACH_BACK_MS && turned.insert((last.id, unit.id)) && self.take_back(last.id) {
                // The other way round: the second one's burst began before the first one's did.
                queue.push_front(last);
                queue.push_front(unit);
                continue;
            }
            self.seams.push((last.id, unit.id, seam.clone()));
            if seam.contained {
                let stands = stands_in(last, unit, &seam);
                self.reject(unit.id, format!("all of it stands in segment {}", last.id), stands);
                continue;
            }
            self.follow(last, unit, &seam);
        }
        self.cut_end();
    }

    fn reject(&mut self, segment: SegmentId, reason: String, redundant: bool) {
        self.rejected.push(Rejected { segment, reason, redundant });
    }

    fn reaches_end(&self, unit: &Unit<'_>) -> bool {
        unit.index.spans.iter().any(|s| s.wall().end >= self.window.end)
    }

    /// Takes the pieces of the last segment away again, where it did not grow out of an overlap and
    /// begins where the segment does.
    fn take_back(&mut self, segment: SegmentId) -> bool {
        let at = self.pieces.iter().position(|p| p.segment == segment).unwrap_or_default();
        let whole = self.pieces.get(at).is_some_and(|p| {
            p.tracks.iter().all(|t| matches!(t.from, From::Start | From::Key(i64::MIN) | From::Nothing))
        });
        if whole {
            self.pieces.truncate(at);
            self.seams.retain(|(_, second, _)| *second != segment);
        }
        whole
    }

    /// The first segment: from the window's edge on, or from its own start where that comes later.
    fn place_first(&mut self, unit: &Unit<'_>) {
        let Some(first) = unit.index.spans.iter().position(|s| s.wall().end > self.window.start) else {
            self.reject(unit.id, "its media lies outside the talk's window".to_owned(), false);
            return;
        };
        let span = unit.index.spans[first];
        let edge = self.window.start.0.saturating_sub(span.offset_ms);
        let from_edge = edge > span.media_start_ms;
        let keys = keys_in(unit.index, span);
        // A cut falls on the last key picture at or before the edge.
        let key = keys.iter().copied().rfind(|k| *k <= edge).filter(|_| from_edge);
        let tracks: Vec<_> = unit
            .tracks
            .iter()
            .filter_map(|(track, out_track)| {
                let kind = unit.index.tracks.iter().find(|t| t.number == *track)?.kind;
                let from = match (from_edge || first > 0, key, kind) {
                    (true, Some(key), TrackKind::Video) => From::Key(key),
                    (true, None, TrackKind::Video) => From::Key(edge.max(span.media_start_ms)),
                    (true, key, _) => From::Time(key.unwrap_or(edge).max(span.media_start_ms)),
                    (false, _, TrackKind::Video) => From::Key(i64::MIN),
                    (false, ..) => From::Start,
                };
                Some(TrackPiece { track: *track, out_track: *out_track, from, to: To::End, out_end_ms: None })
            })
            .collect();
        let begin = tracks.iter().filter_map(|t| begin_ms(unit.index, t, span)).min().unwrap_or(span.media_start_ms);
        self.push(unit, first, tracks, -begin, None);
        self.further_spans(unit, first);
    }

    /// Adds a piece that lasts to the end of its span.
    fn push(
        &mut self,
        unit: &Unit<'_>,
        span: usize,
        mut tracks: Vec<TrackPiece>,
        shift_ms: i64,
        before: Option<Missing>,
    ) {
        let spans = &unit.index.spans;
        for t in &mut tracks {
            if let Some(known) = unit.index.tracks.iter().find(|known| known.number == t.track)
                && t.to == To::End
            {
                t.to = match spans.get(span + 1) {
                    Some(next) => To::Time(middle(spans[span], *next)),
                    None => whole_packets(unit.index, known),
                };
            }
        }
        let out_start_ms = tracks
            .iter()
            .filter_map(|t| begin_ms(unit.index, t, spans[span]))
            .min()
            .unwrap_or(spans[span].media_start_ms)
            + shift_ms;
        let mut piece = Piece {
            segment: unit.id,
            tracks,
            shift_ms,
            offset_ms: spans[span].offset_ms,
            out_start_ms,
            out_end_ms: out_start_ms,
            before,
        };
        settle(&mut piece, unit.index, spans[span]);
        self.pieces.push(piece);
    }

    /// The stretches of a segment after holes in its media.
    fn further_spans(&mut self, unit: &Unit<'_>, first: usize) {
        for n in first + 1..unit.index.spans.len() {
            let (before, span) = (unit.index.spans[n - 1], unit.index.spans[n]);
            if span.wall().start >= self.window.end {
                break;
            }
            let Some(last) = self.pieces.last() else { break };
            let at = middle(before, span);
            let tracks = last
                .tracks
                .iter()
                .map(|t| {
                    let video = unit.index.tracks.iter().any(|k| k.number == t.track && k.kind == TrackKind::Video);
                    TrackPiece { from: if video { From::Key(at) } else { From::Time(at) }, to: To::End, ..*t }
                })
                .collect();
            let shift = last.shift_ms - (span.media_start_ms - before.media_end_ms);
            let missing = self.missing(Interval::new(before.wall().end, span.wall().start), None);
            self.push(unit, n, tracks, shift, Some(missing));
        }
    }

    fn missing(&self, at: Interval, ms: Option<i64>) -> Missing {
        let cause = self
            .gaps
            .iter()
            .max_by_key(|g| g.at.intersect(at.padded(SECOND, SECOND)).len_ms())
            .filter(|g| g.at.overlaps(at.padded(SECOND, SECOND)))
            .map(|g| g.cause.to_string());
        Missing { ms: ms.unwrap_or(at.len_ms()), cause }
    }

    /// Adds a segment after the last one.
    fn follow(&mut self, last: &Unit<'_>, unit: &Unit<'_>, seam: &Seam) {
        let overlap = seam.kind == SeamKind::Overlap;
        let Some(&span) = unit.index.spans.first() else { return };
        if overlap {
            self.shorten_last(last, seam);
        }
        let Some(before) = self.pieces.last() else {
            // All of the last one lay before the window's begin: this one begins the assembly.
            self.place_first(unit);
            return;
        };
        let before_shift = before.shift_ms;
        let tracks: Vec<TrackPiece> = unit
            .tracks
            .iter()
            .filter_map(|(track, out_track)| {
                let known = unit.index.tracks.iter().find(|t| t.number == *track)?;
                let from = seam.cuts.iter().find(|c| c.second_track == *track).map(|c| c.from);
                Some(TrackPiece {
                    track: *track,
                    out_track: *out_track,
                    from: from.unwrap_or_else(|| begin_after_gap(known)),
                    to: To::End,
                    out_end_ms: None,
                })
            })
            .collect();
        let (shift, missing) = if overlap {
            (before_shift + seam.shift_ms, None)
        } else {
            let ends = self.ends();
            let begins: Vec<(u32, i64)> =
                tracks.iter().filter_map(|t| Some((t.out_track, begin_ms(unit.index, t, span)?))).collect();
            // As close as no track overlaps itself.
            let fit =
                begins.iter().filter_map(|(track, begin)| Some(ends.iter().find(|(t, _)| t == track)?.1 - begin)).max();
            let shift = fit.unwrap_or_else(|| {
                let end = ends.iter().map(|(_, end)| *end).max().unwrap_or_default();
                end - begins.iter().map(|(_, begin)| *begin).min().unwrap_or_default()
            });
            let wall = Interval::new(last.wall().end, unit.wall().start);
            (shift, Some(self.missing(wall, Some(seam.missing_ms))))
        };
        self.push(unit, 0, tracks, shift, missing);
        self.further_spans(unit, 0);
    }

    /// Ends the last piece where the seam says. Where nothing is left of it, it goes.
    fn shorten_last(&mut self, unit: &Unit<'_>, seam: &Seam) {
        let (Some(piece), Some(span)) = (self.pieces.last_mut(), unit.index.spans.last()) else { return };
        for cut in &seam.cuts {
            if let Some(t) = piece.tracks.iter_mut().find(|t| t.track == cut.first_track) {
                t.to = cut.to;
            }
        }
        settle(piece, unit.index, *span);
        let (empty, segment) = (piece.out_end_ms <= piece.out_start_ms, piece.segment);
        if empty && self.pieces.len() == 1 {
            self.pieces.clear();
            self.reject(segment, "what it has of the window stands in the next segment".to_owned(), true);
        }
    }

    /// Where each track ends by now, in the assembly's clock.
    fn ends(&self) -> Vec<(u32, i64)> {
        let mut out: Vec<(u32, i64)> = Vec::new();
        for piece in self.pieces.iter().rev() {
            for t in &piece.tracks {
                if let Some(end) = t.out_end_ms
                    && !out.iter().any(|(track, _)| *track == t.out_track)
                {
                    out.push((t.out_track, end));
                }
            }
        }
        out
    }

    /// Ends the assembly at the window's end.
    fn cut_end(&mut self) {
        let Some(at) = self.pieces.iter().position(|p| p.wall().end >= self.window.end) else { return };
        // What followed a gap does not stand in what was before it.
        let gone: Vec<(SegmentId, bool)> =
            self.pieces.drain(at + 1..).map(|p| (p.segment, p.before.is_none())).collect();
        let piece = &mut self.pieces[at];
        let to = self.window.end.0 - piece.offset_ms;
        let out_to = to + piece.shift_ms;
        for t in &mut piece.tracks {
            // A track that ends before keeps its own end: the last packet may be torn.
            if t.out_end_ms.is_some_and(|end| end > out_to) {
                (t.to, t.out_end_ms) = (To::Time(to), Some(out_to));
            }
        }
        piece.out_end_ms = out_to.clamp(piece.out_start_ms, piece.out_end_ms);
        for (segment, stands) in gone {
            if !self.pieces.iter().any(|p| p.segment == segment) && !self.rejected.iter().any(|r| r.segment == segment)
            {
                self.reject(segment, "what it has of the window stands in the segment before".to_owned(), stands);
            }
        }
    }
}

/// True where it is certain that what `last` and `unit` have of the same time is the same media: equal
/// packets say so, or equal clocks without a hole. Arrival times alone do not: where the wall clock was set
/// back, two hours of media have one hour of wall time.
fn stands_in(last: &Unit<'_>, unit: &Unit<'_>, seam: &Seam) -> bool {
    if !seam.contained && seam.kind != SeamKind::Overlap {
        return false;
    }
    match seam.method {
        Method::Packets => true,
        Method::Clock => {
            let end = last.index.spans.iter().map(|s| s.media_end_ms).max().unwrap_or(i64::MIN);
            unit.index.spans.iter().all(|s| {
                let upto = s.media_end_ms.min(end);
                last.index.spans.iter().any(|l| l.media_start_ms <= s.media_start_ms && upto <= l.media_end_ms)
            })
        }
        Method::Arrival | Method::None => false,
    }
}

fn middle(before: MediaSpan, after: MediaSpan) -> i64 {
    before.media_end_ms + (after.media_start_ms - before.media_end_ms) / 2
}

fn keys_in(index: &MediaIndex, span: MediaSpan) -> Vec<i64> {
    index.keys_ms.iter().copied().filter(|k| (span.media_start_ms..=span.media_end_ms).contains(k)).collect()
}

/// When the first used packet of a track is shown, in the segment's clock.
fn begin_ms(index: &MediaIndex, t: &TrackPiece, span: MediaSpan) -> Option<i64> {
    let mut head = index.head.iter().filter(|p| p.track == t.track);
    match t.from {
        From::Start => head.next().map(|p| p.pts_ms),
        From::Packet(n) => head.nth(usize::try_from(n).ok()?).map(|p| p.pts_ms).or(Some(span.media_start_ms)),
        From::Key(at) => {
            let first_track = index.tracks.first().is_some_and(|first| first.number == t.track);
            let key = index.keys_ms.iter().copied().find(|k| *k >= at).filter(|_| first_track);
            key.or_else(|| head.find(|p| p.key && p.pts_ms >= at).map(|p| p.pts_ms))
        }
        // The track may begin later than that, and after a hole in the media the span does: the cut itself
        // lies in the middle of the hole.
        From::Time(at) => {
            let at = at.max(span.media_start_ms);
            head.next().map(|p| p.pts_ms.max(at)).or(Some(at))
        }
        From::Nothing => None,
    }
}

/// Sets where the tracks of a piece, and with them the piece, end in the assembly's clock.
fn settle(piece: &mut Piece, index: &MediaIndex, span: MediaSpan) {
    for t in &mut piece.tracks {
        t.out_end_ms =
            if t.from == From::Nothing { None } else { track_end(index, t, span).map(|end| end + piece.shift_ms) };
    }
    piece.out_end_ms = piece.tracks.iter().filter_map(|t| t.out_end_ms).max().unwrap_or(piece.out_start_ms);
}

fn track_end(index: &MediaIndex, t: &TrackPiece, span: MediaSpan) -> Option<i64> {
    let known = index.tracks.iter().find(|k| k.number == t.track)?;
    let tail: Vec<_> = index.tail.iter().filter(|p| p.track == t.track).collect();
    let before = known.packets.saturating_sub(tail.len() as u64);
    let used = match t.to {
        To::End => tail.len(),
        To::Packet(n) => usize::try_from(n.saturating_sub(before)).unwrap_or(usize::MAX).min(tail.len()),
        To::Time(at) => return Some(at.min(span.media_end_ms)),
    };
    tail[..used].iter().map(|p| p.pts_ms + p.duration_ms).max().or(Some(span.media_end_ms).filter(|_| used > 0))
}

fn tags(inputs: &Inputs<'_>) -> Vec<(String, String)> {
    let mut tags = vec![("TITLE".to_owned(), inputs.talk.title.clone())];
    tags.extend(inputs.talk.speakers.iter().map(|s| ("ARTIST".to_owned(), s.clone())));
    tags.push(("RECORDING_LOCATION".to_owned(), inputs.hall.to_owned()));
    tags.push(("DATE_RECORDED".to_owned(), inputs.talk.slot.start.rfc3339(inputs.zone)));
    tags.push(("EVENT".to_owned(), inputs.event.to_owned()));
    tags
}

/// Slot and gaps, in order.
fn chapters(pieces: &[Piece], inputs: &Inputs<'_>) -> Vec<Chapter> {
    let Some(first) = pieces.first() else { return Vec::new() };
    let slot = inputs.talk.slot;
    let mut out = Vec::new();
    let place = |at: Ms| {
        let piece = pieces.iter().find(|p| p.wall().end > at)?;
        Some((at.0 - piece.offset_ms + piece.shift_ms).clamp(piece.out_start_ms, piece.out_end_ms))
    };
    let start = place(slot.start).unwrap_or(0);
    if start > SECOND {
        out.push(Chapter { at_ms: 0, title: "before the talk".to_owned() });
        out.push(Chapter { at_ms: start, title: inputs.talk.title.clone() });
    } else {
        out.push(Chapter { at_ms: 0, title: inputs.talk.title.clone() });
    }
    if first.wall().start > slot.start.plus(CHAPTER_GAP_MS) {
        // The beginning is missing; the first chapter says so.
        let missing = Interval::new(slot.start, first.wall().start);
        let cause = inputs.gaps.iter().find(|g| g.at.overlaps(missing)).map(|g| g.cause.to_string());
        out.push(Chapter { at_ms: 0, title: Missing { ms: missing.len_ms(), cause }.to_string() });
    }
    for piece in pieces {
        if let Some(missing) = piece.before.as_ref().filter(|m| m.ms >= CHAPTER_GAP_MS) {
            out.push(Chapter { at_ms: piece.out_start_ms, title: missing.to_string() });
        }
    }
    if let Some(end) = place(slot.end) {
        out.push(Chapter { at_ms: end, title: "after the talk".to_owned() });
    }
    out.sort_by_key(|c| c.at_ms);
    out
}

#[cfg(test)]
mod tests;
