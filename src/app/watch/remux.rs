//! Watching what cannot be joined by bytes while it is recorded: WebM, Matroska, Ogg, ASF, FLV, MP4.
//!
//! Each segment goes through ffmpeg as it grows, which takes it apart and codes nothing anew; its packets go on as one
//! Matroska stream. MP3 and bare AAC need no ffmpeg: their bytes follow each other.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::Connection as Db;

use super::{From, instant, newest_folder};
use crate::app::env::Env;
use crate::app::failure::{Failure, Kind, Result};
use crate::app::growing::{Growing, wait_for_change};
use crate::app::report::{self, TalkView};
use crate::app::timeshift::{forbidden, near};
use crate::catalog::{marks, open_reader, schedule};
use crate::domain::ids::SegmentId;
use crate::domain::interval::{Interval, IntervalSet};
use crate::domain::media::TrackKind;
use crate::domain::segment::{Container, Mark, Segment};
use crate::domain::time::{Ms, SECOND};
use crate::media::CancellationToken;
use crate::media::demux::{Demux, Demuxed};
use crate::media::live_mux::LiveMux;
use crate::media::mux::Block;
use crate::plan::splice::Splice;
use crate::plan::timeshift::WAIT_MS;

/// Another segment is looked for so often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The schedule is looked at so often for what must not be shown, milliseconds.
const LOOK_AT_SCHEDULE_MS: i64 = 5 * SECOND;

/// Live is so far behind the newest, milliseconds.
const LIVE_MS: i64 = 8 * SECOND;

/// A beginning may be so much earlier than asked for, milliseconds: it is a key picture's.
const KEY_MS: i64 = 3 * SECOND;

/// When media was made is known no better, while its segment is not looked into: a server sends the last seconds at once.
/// What must not be shown is not shown so long before and after.
const UNSURE_MS: i64 = 60 * SECOND;

/// A step of a segment's clock that is larger than this is another clock. Milliseconds.
const JUMP_MS: i64 = 10 * SECOND;

/// A server sends no more than this again, milliseconds.
const SENT_AGAIN_MS: i64 = 30 * SECOND;

/// So many of the last bytes are looked for where a connection begins, to go on after them.
const TAIL: usize = 1024;

/// Whatever a server sends again has come by this time after the first byte, milliseconds.
const BURST_MS: i64 = 4 * SECOND;

/// So many of the first bytes of a connection may be there already.
const AGAIN: usize = 1 << 20;

/// Writes a talk's bytes until it is over.
///
/// # Errors
/// When the catalog cannot be read, ffmpeg is missing, or `out` fails.
pub fn remux(env: &Env, talk: i64, from: From, out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let db = open_reader(&env.data_dir)?;
    let mut remux = Remux {
        begins: None,
        env: env.clone(),
        from,
        splice: Splice::default(),
        mux: None,
        tail: Vec::new(),
        given: None,
    };
    let mut done: Option<(Ms, SegmentId)> = None;
    loop {
        let view = report::by_id(&db, env, talk)?;
        if view.talk.opted_out {
            return Ok(());
        }
        let all = near(&db, &view)?;
        let next =
            all.iter().find(|s| s.container != Container::MpegTs && done.is_none_or(|done| (s.opened, s.id) > done));
        match next {
            Some(segment) => {
                done = Some((segment.opened, segment.id));
                if !remux.segment(&db, &view, segment, out)? {
                    return Ok(());
                }
            }
            None if env.clock.now() >= view.window.end && all.iter().all(|s| s.closed.is_some()) => return Ok(()),
            None => wait_for_change(newest_folder(env, &all).as_deref(), LOOK_AGAIN),
        }
    }
}

struct Remux {
    env: Env,
    from: From,
    /// Nothing is shown from before.
    begins: Option<Ms>,
    splice: Splice,
    mux: Option<LiveMux>,
    /// The last bytes given, of containers that are not taken apart.
    tail: Vec<u8>,
    /// Wall time of what was given last, by arrival.
    given: Option<Ms>,
}

impl Remux {
    /// True for what was made so long before the last that was given that no server sends it again: another connection
    /// was open at the same time.
    fn was_given(&self, wall: Ms) -> bool {
        self.given.is_some_and(|given| given.since(wall) > SENT_AGAIN_MS)
    }

    /// Gives what a segment has for the talk; false when the talk is over.
    fn segment(
        &mut self,
        db: &Db,
        view: &TalkView,
        segment: &Segment,
        out: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        let begins = *self.begins.get_or_insert_with(|| match self.from {
            From::Start => view.talk.slot.start,
            From::Live => self.env.clock.now().minus(LIVE_MS),
            From::At(time) => instant(time, view),
        });
        let mut when = When {
            begins,
            ends: view.window.end,
            forbidden: forbidden(db, view)?,
            looked: self.env.clock.now(),
            late_ms: segment.spans.first().map(|span| span.wall().start.since(segment.opened)),
        };
        let file = Growing::open(&self.env, segment, view.window.end.plus(WAIT_MS))?;
        match segment.container {
            Container::Mp3 | Container::Adts => self.bytes((db, view), segment, file, &mut when, out),
            _ => self.packets((db, view), segment, file, &mut when, out),
        }
    }

    /// What must not be shown is asked for again while a long segment is played; false when the talk itself must not.
    fn look_again(&self, (db, view): (&Db, &TalkView), when: &mut When) -> Result<bool> {
        let now = self.env.clock.now();
        if now.since(when.looked).abs() < LOOK_AT_SCHEDULE_MS {
            return Ok(true);
        }
        when.looked = now;
        when.forbidden = forbidden(db, view)?;
        Ok(schedule::talk(db, view.talk.id)?.is_some_and(|talk| !talk.opted_out))
    }

    fn packets(
        &mut self,
        of: (&Db, &TalkView),
        segment: &Segment,
        mut file: Growing,
        when: &mut When,
        out: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        let cannot = |e| Failure::new(Kind::Failed, "a segment cannot be taken apart").because(e);
        let (mut demux, mut pipe) = Demux::fed(&file.path, &CancellationToken::new()).map_err(cannot)?;
        let stop = Arc::clone(&file.stop);
        let feeder = std::thread::Builder::new().name("feeder".to_owned()).spawn(move || {
            while let Ok(Some(block)) = file.next() {
                // A pipe that is closed: ffmpeg has ended, or is not wanted any more.
                if pipe.write_all(&block).is_err() {
                    break;
                }
            }
        });
        let feeder = feeder.map_err(|e| Failure::new(Kind::Failed, "there is no thread to be had").because(e))?;
        self.splice.segment();
        let mut given = Given { clock: None, begins: segment.opened };
        let result = loop {
            match demux.next_packet() {
                Ok(Some(packet)) => {
                    let goes_on = match self.look_again(of, when) {
                        Ok(true) => self.packet(&demux, packet, &mut given, when, out),
                        ended => ended,
                    };
                    if !matches!(goes_on, Ok(true)) {
                        break goes_on;
                    }
                }
                Ok(None) => break Ok(true),
                // What can be seen of a torn or odd file has been seen.
                Err(e) => {
                    tracing::debug!("{}: {e}", segment.path.display());
                    break Ok(true);
                }
            }
        };
        // It wakes within a second.
        stop.store(true, Ordering::Relaxed);
        drop(demux);
        let _ = feeder.join();
        result
    }

    fn packet(
        &mut self,
        demux: &Demux,
        packet: Demuxed,
        given: &mut Given,
        when: &When,
        out: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        let tracks: Vec<_> = demux.entries().collect();
        let lead = (1..).zip(&tracks).find(|(_, t)| t.kind() == TrackKind::Video).map_or(1, |(n, _)| n);
        let leads = packet.packet.track == lead;
        let wall = given.wall(packet.packet.pts_ms);
        if self.was_given(wall) {
            return Ok(true);
        }
        match when.judge(wall) {
            Judgement::Shown => {}
            Judgement::Early => return Ok(true),
            Judgement::Forbidden => {
                self.splice.skip();
                return Ok(true);
            }
            Judgement::Late => return Ok(false),
        }
        let again = self.given.is_some_and(|given| given.since(wall) > SECOND);
        let Some(pts_ms) = self.splice.take(&packet.packet, leads, again) else { return Ok(true) };
        self.given = self.given.max(Some(wall));
        let mut bytes = Vec::new();
        let failed = |e: std::io::Error| Failure::new(Kind::Failed, "a stream cannot be written").because(e);
        let mux = match self.mux.as_mut().filter(|mux| mux.fits(&tracks)) {
            Some(mux) => mux,
            None => self.mux.insert(LiveMux::begin(&mut bytes, &tracks).map_err(failed)?),
        };
        let block = Block {
            track: packet.packet.track,
            pts_ms,
            duration_ms: packet.packet.duration_ms,
            key: packet.packet.key,
            discard_padding_ns: packet.discard_padding_ns,
            payload: packet.payload,
        };
        mux.write(&mut bytes, &block, leads).map_err(failed)?;
        out(&bytes).map(|()| true)
    }

    /// Bytes that need no taking apart: decoders find the next frame by themselves.
    fn bytes(
        &mut self,
        of: (&Db, &TalkView),
        segment: &Segment,
        mut file: Growing,
        when: &mut When,
        out: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        let mut at = 0_u64;
        let mut came: Vec<Mark> = Vec::new();
        // What a server sends again is passed over up to where it was before.
        let mut again = (!self.tail.is_empty()).then(Vec::new);
        while let Some(block) = file.next()? {
            at += block.len() as u64;
            if !self.look_again(of, when)? {
                return Ok(false);
            }
            if came.last().is_none_or(|mark| mark.offset < at) {
                came = marks::of_segment(of.0, segment.id)?;
            }
            let wall = came.iter().find(|mark| mark.offset >= at).map_or_else(|| self.env.clock.now(), |mark| mark.at);
            match when.judge(wall) {
                Judgement::Shown if self.was_given(wall) => continue,
                Judgement::Shown => {}
                Judgement::Early | Judgement::Forbidden => continue,
                Judgement::Late => return Ok(false),
            }
            let bytes = match &mut again {
                None => block,
                Some(first) => {
                    first.extend_from_slice(&block);
                    let found = find_last(first, &self.tail);
                    let may_come = !file.waited || self.env.clock.now().since(segment.opened) < BURST_MS;
                    if found.is_none() && first.len() < AGAIN && may_come {
                        continue;
                    }
                    let rest = first.split_off(found.unwrap_or(0));
                    again = None;
                    rest
                }
            };
            out(&bytes)?;
            self.given = self.given.max(Some(wall));
            self.tail.extend_from_slice(&bytes);
            self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        }
        if let Some(rest) = again.filter(|rest| !rest.is_empty()) {
            out(&rest)?;
        }
        Ok(true)
    }
}

/// Where the last occurrence of `what` ends.
fn find_last(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len().max(1)).rposition(|window| window == what).map(|at| at + what.len())
}

/// Wall time of a segment's packets.
struct Given {
    /// A time of the segment's clock and the wall's.
    clock: Option<(i64, Ms)>,
    begins: Ms,
}

impl Given {
    fn wall(&mut self, pts_ms: i64) -> Ms {
        let (last, wall) = self.clock.unwrap_or((pts_ms, self.begins));
        let step = pts_ms - last;
        // Where the clock was set, right after what was before.
        let wall = if step.abs() > JUMP_MS { wall } else { wall.plus(step) };
        self.clock = Some((pts_ms, wall));
        wall
    }
}

/// What of a segment is shown.
struct When {
    begins: Ms,
    ends: Ms,
    forbidden: IntervalSet,
    /// When that was asked for.
    looked: Ms,
    /// By so many milliseconds its media lies later than by arrival, where that is known.
    late_ms: Option<i64>,
}

enum Judgement {
    Early,
    Shown,
    Forbidden,
    Late,
}

impl When {
    fn judge(&self, wall: Ms) -> Judgement {
        let here = match self.late_ms {
            Some(late) => Interval::new(wall.plus(late.min(0)), wall.plus(late.max(0) + 1)),
            None => Interval::new(wall.minus(UNSURE_MS), wall.plus(1)),
        };
        if self.forbidden.iter().any(|slot| slot.overlaps(here)) {
            Judgement::Forbidden
        } else if wall >= self.ends {
            Judgement::Late
        } else if wall < self.begins.minus(KEY_MS) {
            Judgement::Early
        } else {
            Judgement::Shown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_come_again_are_found() {
        assert_eq!(find_last(b"abcabcx", b"abc"), Some(6));
        assert_eq!(find_last(b"abx", b"abc"), None);
        assert_eq!(find_last(b"a", b"abc"), None);
    }

    #[test]
    fn what_must_not_be_shown_is_not_shown_also_where_its_time_is_unsure() {
        let at = |second: i64| Ms(1_000_000_000).plus(second * SECOND);
        let when = |late_ms| When {
            begins: at(0),
            ends: at(1000),
            forbidden: Interval::new(at(100), at(200)).into(),
            looked: at(0),
            late_ms,
        };
        let shown =
            |when: When| -> Vec<i64> { (0..300).filter(|s| matches!(when.judge(at(*s)), Judgement::Shown)).collect() };
        assert_eq!(shown(when(None)), (0..100).chain(260..300).collect::<Vec<_>>());
        assert_eq!(shown(when(Some(-10 * SECOND))), (0..100).chain(210..300).collect::<Vec<_>>());
        assert!(matches!(when(None).judge(at(1000)), Judgement::Late));
        assert!(matches!(when(None).judge(at(-10)), Judgement::Early));
    }
}
