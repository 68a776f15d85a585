//! The clock of a programme: time stamps of 33 bits become a segment's own clock, which only rises, and pictures that were
//! sent without a time get one.

use std::collections::VecDeque;

use super::picture::CodedPicture;
use super::{TICKS, WRAP};

/// Decoding times that fall back by more than this are a clock that started anew, ticks.
const RESET: i64 = TICKS;

/// A step forward of more than this is looked at twice: it may be a damaged time.
const JUMP: i64 = 10 * TICKS;

/// Where a clock starts anew, what follows is put so far behind what was before, ticks: a reader that calls a pause of a
/// second a hole finds one.
const BETWEEN: i64 = 2 * TICKS;

/// A segment whose clock wraps within so many ticks after its begin counts from below zero, so that it agrees with the
/// segments behind the wrap.
const BEFORE_WRAP: i64 = 3600 * TICKS;

/// A stretch of bytes of one clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Byte at which it begins.
    pub byte: u64,
    /// Added to its time stamps, ticks.
    pub shift: i64,
    /// Its earliest media, in the segment's own clock.
    pub start: i64,
}

/// The clock of a programme.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    stretches: Vec<Stretch>,
    /// Latest end of media so far, in the segment's own clock.
    end: i64,
    /// A time stamp of any stream, unwrapped: others lie near it.
    near: Option<i64>,
}

/// What is known of the time stamps of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamTime {
    /// The last one, unwrapped.
    last: Option<i64>,
    /// In which stretch.
    stretch: usize,
}

/// What a time stamp is to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The clock goes on from the time before.
    On,
    /// It is far from the one before: a clock that was set, or a damaged time.
    Far,
}

impl Clock {
    /// The stretches so far.
    #[must_use]
    pub fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    fn unwrapped(near: i64, raw: i64) -> i64 {
        let step = (raw - near).rem_euclid(WRAP);
        near + if step >= WRAP / 2 { step - WRAP } else { step }
    }

    /// True where two times of 33 bits are those of neighbours.
    #[must_use]
    pub fn are_near(a: i64, b: i64) -> bool {
        (-RESET..=JUMP).contains(&(Self::unwrapped(a, b) - a))
    }

    /// Whether a decoding time of 33 bits goes on from the last one of its stream.
    #[must_use]
    pub fn step(&self, stream: &StreamTime, raw: i64) -> Step {
        match stream.last {
            Some(last) if !(-RESET..=JUMP).contains(&(Self::unwrapped(last, raw) - last)) => Step::Far,
            _ => Step::On,
        }
    }

    /// Places a unit of a stream: its decoding and presentation times of 33 bits become one presentation time in the
    /// segment's own clock. `byte`: where it begins.
    pub fn place(&mut self, stream: &mut StreamTime, byte: u64, dts: i64, pts: i64) -> i64 {
        let (last, is_first) = (stream.last.or(self.near), stream.last.is_none());
        let at = match last {
            Some(near) => Self::unwrapped(near, dts),
            None if dts > WRAP - BEFORE_WRAP => dts - WRAP,
            None => dts,
        };
        let shown = Self::unwrapped(at, pts);
        if is_first {
            // The first of a stream that begins late is of the clock that rules by then.
            stream.stretch = self.stretches.len().saturating_sub(1);
        }
        // Streams lie askew in a multiplex, so that the first of one may be earlier than others were.
        if last.is_some_and(|last| at < last - if is_first { JUMP } else { RESET }) {
            stream.stretch += 1;
        }
        stream.last = Some(at);
        self.near = Some(at);
        if stream.stretch >= self.stretches.len() {
            let shift = if self.stretches.is_empty() { 0 } else { self.end + BETWEEN - shown.min(at) };
            self.stretches.push(Stretch { byte, shift, start: shown + shift });
            stream.stretch = self.stretches.len() - 1;
        }
        let stretch = &mut self.stretches[stream.stretch];
        stretch.byte = stretch.byte.min(byte);
        let shown = shown + stretch.shift;
        stretch.start = stretch.start.min(shown);
        self.end = self.end.max(shown);
        shown
    }
}

/// No more pictures than this wait for a time.
const MOST_WAITING: usize = 600;

/// Frames that wait for a time hold no more bytes than this.
const MOST_WAITING_BYTES: usize = 16 << 20;

/// A picture's length where nothing is known of it, ticks: 25 a second.
const USUAL: i64 = TICKS / 25;

/// Gives pictures times that were sent without. Their order of output says where they belong between those that have a
/// time; counting them as they come would show them in the order in which they are decoded.
#[derive(Clone, Debug, Default)]
pub struct PictureTimes {
    /// The last picture that was sent with a time: its sequence, order and time.
    known: Option<(u64, i64, i64)>,
    /// Ticks of a step of the order, times 256.
    pace: Option<i64>,
    /// Smallest step of the order that was seen.
    order_step: i64,
    last_orders: VecDeque<(u64, i64)>,
    /// Latest presentation time so far.
    latest: Option<i64>,
    waiting: VecDeque<CodedPicture>,
    waiting_bytes: usize,
}

impl PictureTimes {
    /// Takes the next picture in decoding order. `pts`: its time in the segment's own clock, where it was sent with one;
    /// `frame_ticks`: the length of a picture, as the stream says. Pictures whose times are known now are handed over in
    /// decoding order.
    pub fn push(
        &mut self,
        picture: CodedPicture,
        pts: Option<i64>,
        frame_ticks: Option<i64>,
        mut take: impl FnMut(CodedPicture, i64),
    ) {
        self.learn_step(&picture);
        match pts {
            Some(pts) => {
                self.learn_pace(&picture, pts, frame_ticks);
                let before = self.known;
                if let Some(order) = picture.picture.order {
                    self.known = Some((picture.picture.sequence, order, pts));
                }
                self.settle(before, Some((&picture, pts)), frame_ticks, &mut take);
                self.latest = Some(self.latest.map_or(pts, |latest| latest.max(pts)));
                take(picture, pts);
            }
            None => {
                self.waiting_bytes += picture.payload.len();
                self.waiting.push_back(picture);
                let reachable = self.pace.is_some()
                    && self.waiting.iter().all(|p| {
                        self.known.is_some_and(|(seq, ..)| seq == p.picture.sequence && p.picture.order.is_some())
                    });
                if reachable || self.waiting.len() > MOST_WAITING || self.waiting_bytes > MOST_WAITING_BYTES {
                    self.settle(self.known, None, frame_ticks, &mut take);
                }
            }
        }
    }

    /// Nothing follows: the pictures that still wait.
    pub fn finish(&mut self, frame_ticks: Option<i64>, mut take: impl FnMut(CodedPicture, i64)) {
        self.settle(self.known, None, frame_ticks, &mut take);
        *self = Self::default();
    }

    fn learn_step(&mut self, picture: &CodedPicture) {
        let Some(order) = picture.picture.order else { return };
        let sequence = picture.picture.sequence;
        for (known, before) in &self.last_orders {
            let step = (order - before).abs();
            if *known == sequence && step > 0 && (self.order_step == 0 || step < self.order_step) {
                self.order_step = step;
            }
        }
        self.last_orders.push_back((sequence, order));
        if self.last_orders.len() > 16 {
            self.last_orders.pop_front();
        }
    }

    /// Two pictures with times show how long a step of the order is.
    fn learn_pace(&mut self, picture: &CodedPicture, pts: i64, frame_ticks: Option<i64>) {
        let (Some((sequence, before, at)), Some(order)) = (self.known, picture.picture.order) else { return };
        if sequence == picture.picture.sequence {
            let (steps, ticks) = (order - before, pts - at);
            if steps != 0 && (ticks > 0) == (steps > 0) && ticks.abs() < 60 * TICKS {
                self.pace = Some(ticks * 256 / steps);
            }
        } else if let (Some(last), true) = (
            self.waiting.iter().filter(|p| p.picture.sequence == sequence).filter_map(|p| p.picture.order).max(),
            self.pace.is_none(),
        ) {
            // The next sequence begins a step behind the last picture of this one, and counts from 0.
            let steps = last.max(before) - before + self.order_step.max(1) + order.max(0);
            let ticks = pts - at;
            if ticks > 0 && ticks < 60 * TICKS {
                self.pace = Some(ticks * 256 / steps);
            } else if let Some(frame) = frame_ticks {
                self.pace = Some(frame * 256 / self.order_step.max(1));
            }
        }
    }

    /// Hands over what waits, with times from the known pictures before and after it.
    fn settle(
        &mut self,
        before: Option<(u64, i64, i64)>,
        after: Option<(&CodedPicture, i64)>,
        frame_ticks: Option<i64>,
        take: &mut impl FnMut(CodedPicture, i64),
    ) {
        if self.waiting.is_empty() {
            return;
        }
        let frame = frame_ticks.unwrap_or(USUAL);
        let pace = self.pace.unwrap_or_else(|| frame * 256 / self.order_step.max(1));
        let after = after.and_then(|(p, pts)| Some((p.picture.sequence, p.picture.order?, pts)));
        // Sequences of which no picture has a time begin where the one before ends.
        let mut begun: Option<(u64, i64, i64)> = None;
        for picture in std::mem::take(&mut self.waiting) {
            let sequence = picture.picture.sequence;
            let from = |known: Option<(u64, i64, i64)>| known.filter(|(of, ..)| *of == sequence);
            let pts = match (from(after).or(from(before)).or(from(begun)), picture.picture.order) {
                (Some((_, order, pts)), Some(own)) => pts + (own - order) * pace / 256,
                (_, own) => {
                    let next = self.latest.map_or(0, |latest| latest + frame);
                    begun = own.map(|own| (sequence, own, next)).or(begun);
                    next
                }
            };
            self.latest = Some(self.latest.map_or(pts, |latest| latest.max(pts)));
            if self.known.is_none_or(|(of, ..)| of < sequence)
                && let Some(order) = picture.picture.order
            {
                self.known = Some((sequence, order, pts));
            }
            take(picture, pts);
        }
        self.waiting_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::mpegts::picture::{Picture, Stamp};

    fn picture(sequence: u64, order: i64) -> CodedPicture {
        CodedPicture {
            picture: Picture { sequence, order: Some(order), ..Picture::default() },
            stamp: Stamp::default(),
            payload: Vec::new(),
            format: None,
        }
    }

    /// Two groups of pictures I P B B P B B of 40 ms, in decoding order: sequence, order, time.
    fn pictures() -> Vec<(u64, i64, i64)> {
        let orders = [0, 6, 2, 4, 12, 8, 10];
        (0..2).flat_map(|n| orders.map(|o| (n, o, 5000 + n as i64 * 7 * 3600 + o * 1800))).collect()
    }

    fn times(has_time: impl Fn(usize) -> bool, frame_ticks: Option<i64>) -> Vec<i64> {
        let (mut times, mut out) = (PictureTimes::default(), Vec::new());
        for (n, (sequence, order, pts)) in pictures().into_iter().enumerate() {
            times.push(picture(sequence, order), has_time(n).then_some(pts), frame_ticks, |_, pts| out.push(pts));
        }
        times.finish(frame_ticks, |_, pts| out.push(pts));
        out
    }

    #[test]
    fn pictures_without_a_time_get_theirs_by_their_order() {
        let truth: Vec<i64> = pictures().iter().map(|p| p.2).collect();
        for missing in 0..14 {
            if missing != 0 {
                assert_eq!(times(|n| n != missing, None), truth, "{missing}");
            }
        }
        // Times with key pictures only; with every second picture.
        assert_eq!(times(|n| n % 7 == 0, None), truth);
        assert_eq!(times(|n| n % 7 == 0, Some(3600)), truth);
        assert_eq!(times(|n| n % 2 == 0, None), truth);
        // Only the very first.
        assert_eq!(times(|n| n == 0, Some(3600)), truth);
    }

    #[test]
    fn clocks_wrap_and_start_anew() {
        let (mut clock, mut video, mut audio) = (Clock::default(), StreamTime::default(), StreamTime::default());
        assert_eq!(clock.place(&mut video, 0, WRAP - 100, WRAP - 50), -50);
        assert_eq!(clock.place(&mut audio, 1, 10, 10), 10);
        assert_eq!(clock.place(&mut video, 2, 200, 250), 250);
        assert_eq!(clock.step(&video, 200 + 9 * TICKS), Step::On);
        assert_eq!(clock.step(&video, 200 + 11 * TICKS), Step::Far);
        assert_eq!(clock.place(&mut video, 3, 200 + 11 * TICKS, 200 + 11 * TICKS), 200 + 11 * TICKS);
        // The encoder begins anew; the audio's last packet of the old clock comes after that.
        assert_eq!(clock.step(&video, 500), Step::Far);
        let end = 200 + 11 * TICKS;
        assert_eq!(clock.place(&mut video, 4, 500, 600), end + BETWEEN + 100);
        assert_eq!(clock.place(&mut audio, 5, 100 + 11 * TICKS, 100 + 11 * TICKS), 100 + 11 * TICKS);
        assert_eq!(clock.place(&mut audio, 6, 450, 450), end + BETWEEN - 50);
        assert_eq!(clock.stretches().len(), 2);
        assert_eq!(clock.stretches()[1], Stretch { byte: 4, shift: end + BETWEEN - 500, start: end + BETWEEN - 50 });
    }
}
