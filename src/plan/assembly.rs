//! What a talk's one file is made of: which packets of which segments, in which order, moved to where
//! in time. Pure: the join carries it out.

mod build;
mod clip_bounds;
mod holes;
mod labels;
mod tracks;

use std::collections::HashSet;
use std::fmt;

use chrono_tz::Tz;

use self::build::SourceSegment;
pub use self::labels::about;
use super::cut::{CutEnd, CutStart};
use super::seam::Seam;
use crate::domain::gap::{Gap, GapCause};
use crate::domain::ids::SegmentId;
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::media::{MediaIndex, TrackKind};
use crate::domain::segment::{Segment, Verdict};
use crate::domain::talk::Talk;
use crate::domain::time::Ms;

/// What a plan is made from.
#[derive(Clone, Debug)]
pub struct AssemblyInputs<'a> {
    /// The talk that is assembled.
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
    /// Video frames or audio.
    pub kind: TrackKind,
    /// What all its packets have in common.
    pub format_hash: u64,
}

/// What is used of one track of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackClip {
    /// Its number in the segment.
    pub track: u32,
    /// Its number in the assembly.
    pub out_track: u32,
    /// First packet used.
    pub from: CutStart,
    /// First packet no longer used.
    pub to: CutEnd,
    /// Where the last one used ends in the assembly, milliseconds; `None` where none is used.
    pub out_end_ms: Option<i64>,
}

/// A stretch of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// The segment.
    pub segment: SegmentId,
    /// What is used of each track.
    pub tracks: Vec<TrackClip>,
    /// Added to the segment's clock to get the assembly's, milliseconds.
    pub shift_ms: i64,
    /// Wall time = the segment's clock + this.
    pub offset_ms: i64,
    /// Where it begins in the assembly, milliseconds.
    pub out_start_ms: i64,
    /// From where on all of its tracks are there: video may have to wait for a keyframe.
    pub complete_from_ms: i64,
    /// Where it ends there.
    pub out_end_ms: i64,
    /// What is missing before it.
    pub before: Option<MissingMedia>,
}

impl Clip {
    /// What part of wall time it holds.
    #[must_use]
    pub fn wall(&self) -> Interval {
        let to_wall = |out: i64| Ms(out - self.shift_ms + self.offset_ms);
        Interval::new(to_wall(self.out_start_ms), to_wall(self.out_end_ms))
    }
}

/// Media that nobody recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingMedia {
    /// How long, milliseconds; 0 where it is not known.
    pub ms: i64,
    /// Why, in the words of gap causes; `None` where it is not known.
    pub cause: Option<String>,
}

impl fmt::Display for MissingMedia {
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
pub struct RejectedSegment {
    /// Segment that is not used.
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
    /// Title that players show.
    pub title: String,
}

/// What to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EditList {
    /// Title of the file.
    pub title: String,
    /// Tracks of the output file.
    pub tracks: Vec<OutTrack>,
    /// In order. Empty: there is nothing to make a file of.
    pub clips: Vec<Clip>,
    /// What was looked at and left out.
    pub rejected: Vec<RejectedSegment>,
    /// Segments that are used and have something that no track of the file holds, and what: they stay.
    pub kept: Vec<(SegmentId, String)>,
    /// How neighbours meet.
    pub seams: Vec<(SegmentId, SegmentId, Seam)>,
    /// Packets from the middle of segments that would show a seam better: segment, from, to, in its own clock.
    /// With them as windows of its index, the plan should be made anew.
    pub wanted: Vec<(SegmentId, i64, i64)>,
    /// Chapter marks in order of time.
    pub chapters: Vec<Chapter>,
    /// Names and values of tags.
    pub tags: Vec<(String, String)>,
    /// More tags: what the schedule tells of the talk. A file is not out of date where only these have changed.
    pub about: Vec<(String, String)>,
    /// Start of what it holds, in wall time.
    pub starts: Option<Ms>,
    /// Expected length, milliseconds.
    pub duration_ms: i64,
}

impl EditList {
    /// True where it has video frames.
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
        for clip in &self.clips {
            hash.update(clip.shift_ms.to_be_bytes());
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
        for clip in &self.clips {
            if let Some(missing) = &clip.before {
                lines.push(missing.to_string());
            }
            let cuts: Vec<_> =
                clip.tracks.iter().map(|t| format!("track {}: {} to {}", t.out_track, t.from, t.to)).collect();
            lines.push(format!(
                "{} to {}: segment {}, {}",
                seconds(clip.out_start_ms),
                seconds(clip.out_end_ms),
                clip.segment,
                cuts.join("; ")
            ));
        }
        lines.extend(self.chapters.iter().map(|c| format!("chapter {}: {}", seconds(c.at_ms), c.title)));
        lines
    }
}

/// Plans the assembly of a talk.
#[must_use]
pub fn plan(inputs: &AssemblyInputs<'_>) -> EditList {
    let mut rejected = Vec::new();
    let mut usable: Vec<SourceSegment<'_>> = Vec::new();
    for (segment, index) in &inputs.segments {
        match (usable_index(segment, *index, inputs.window), index) {
            (Ok(()), Some(index)) => usable.push(SourceSegment {
                id: segment.id,
                segment: segment.id,
                index,
                stream: segment.stream,
                came: Interval::new(segment.opened, segment.closed.unwrap_or(segment.at.end).max(segment.opened)),
                tracks: Vec::new(),
            }),
            (Err((reason, redundant)), _) => rejected.push(RejectedSegment { segment: segment.id, reason, redundant }),
            (Ok(()), None) => {}
        }
    }
    usable.sort_by_key(|u| (u.wall().start, u.wall().end, u.id));
    let tracks = tracks::choose(&usable, inputs.talk.slot, inputs.window);
    tracks::assign(&mut usable, &tracks);
    // What was received and no track of the file can hold.
    let mut foreign = IntervalSet::new();
    let mut kept: Vec<(SegmentId, String)> = Vec::new();
    usable.retain(|unit| {
        let unused = tracks::unused(unit.index, &unit.tracks);
        if !unused.is_empty() {
            foreign = foreign.union(&unused);
        }
        let fits = tracks::fits(unit, &tracks);
        if !fits {
            let reason = format!("its format ({}) is not the one most of the talk has", formats(unit.index));
            foreign = foreign.union(&unit.index.spans.iter().map(|s| s.wall()).collect());
            rejected.push(RejectedSegment { segment: unit.id, reason, redundant: false });
        } else if !unused.is_empty() {
            kept.push((unit.id, "a part of it is of another format, which this file cannot hold".to_owned()));
        } else if let Some(problem) = &unit.index.problem {
            kept.push((unit.id, format!("a part of it cannot be read: {problem}")));
        } else if !unit.index.left_out.is_empty() {
            kept.push((unit.id, format!("not in the file: {}", unit.index.left_out.join(", "))));
        }
        fits
    });
    let narrowed: Vec<Option<MediaIndex>> =
        usable.iter().map(|unit| tracks::narrowed(unit.index, &unit.tracks)).collect();
    for (unit, narrowed) in usable.iter_mut().zip(&narrowed) {
        unit.index = narrowed.as_ref().unwrap_or(unit.index);
    }
    usable.retain(|unit| {
        let is_in = unit.index.spans.iter().any(|s| s.wall().overlaps(inputs.window));
        if !is_in {
            let reason = "what it has of the window is of another format".to_owned();
            rejected.push(RejectedSegment { segment: unit.id, reason, redundant: false });
            kept.retain(|(segment, _)| *segment != unit.id);
        }
        is_in
    });
    usable.sort_by_key(|u| (u.wall().start, u.wall().end, u.id));
    let build::ClipList { clips, rejected, seams, wanted } = put_together(&usable, inputs, &rejected);
    let clips = with_format_changes(clips, &foreign);
    let used: HashSet<u32> = clips.iter().flat_map(|p| &p.tracks).map(|t| t.out_track).collect();
    let title = inputs.talk.title.clone();
    let mut plan = EditList {
        tags: labels::tags(inputs),
        about: Vec::new(),
        chapters: Vec::new(),
        title,
        tracks: tracks.into_iter().filter(|t| used.contains(&t.number)).collect(),
        kept,
        rejected,
        seams,
        wanted,
        starts: clips.first().map(|p| p.wall().start),
        duration_ms: clips.iter().map(|p| p.out_end_ms).max().unwrap_or_default(),
        clips,
    };
    if inputs.chapters {
        plan.chapters = labels::chapters(&plan.clips, inputs);
    }
    plan
}

/// Says of each gap in which something of another format was received that this is why.
fn with_format_changes(mut clips: Vec<Clip>, foreign: &IntervalSet) -> Vec<Clip> {
    let walls: Vec<Interval> = clips.iter().map(Clip::wall).collect();
    for (clip, walls) in clips.iter_mut().skip(1).zip(walls.windows(2)) {
        let gap = Interval::new(walls[0].end, walls[1].start);
        if let Some(missing) = &mut clip.before
            && foreign.clip(gap).total_ms() * 2 > gap.len_ms()
        {
            missing.cause = Some(GapCause::FormatChanged.to_string());
        }
    }
    clips
}

/// As [`build::build`], and where a segment has a hole that another one does not have, with that one's media.
fn put_together(
    units: &[SourceSegment<'_>],
    inputs: &AssemblyInputs<'_>,
    rejected: &[RejectedSegment],
) -> build::ClipList {
    let whole = build::build(units, inputs.window, inputs.gaps, rejected.to_vec());
    let holes = holes::fillable(units);
    if !holes::is_any_used(&whole.clips, &holes, units) {
        return whole;
    }
    match holes::build(units, &holes, inputs.window, inputs.gaps, rejected.to_vec()) {
        Err(mut wanted) => {
            wanted.extend(whole.wanted);
            build::ClipList { wanted, ..whole }
        }
        // With what it wants it may be better.
        Ok(filled)
            if !filled.wanted.is_empty() || holes::missing_ms(&filled.clips) < holes::missing_ms(&whole.clips) =>
        {
            filled
        }
        Ok(_) => whole,
    }
}

fn usable_index(segment: &Segment, index: Option<&MediaIndex>, window: Interval) -> Result<(), (String, bool)> {
    match segment.verdict {
        Verdict::Media => {}
        Verdict::NotMedia => {
            let why = segment.verdict_reason.as_deref().unwrap_or("no media in it");
            return Err((format!("not media: {why}"), true));
        }
        // It can make no other file any more.
        gone @ (Verdict::Pruned | Verdict::Lost) => return Err((gone.as_str().to_owned(), true)),
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

#[cfg(test)]
mod mirror_tests;
#[cfg(test)]
mod tests;
