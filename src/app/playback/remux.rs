//! Watching what cannot be joined by bytes while it is recorded: WebM, Matroska, Ogg, ASF, FLV, MP4.
//!
//! Each segment goes through ffmpeg as it grows, which takes it apart and codes nothing anew; its packets go on as one
//! Matroska stream. MP3 and bare AAC need no ffmpeg: their bytes follow each other.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::Connection as Db;

use super::start_at::{StartAt, instant, newest_folder};
use super::wall_clock::{PtsClock, Visibility, VisibilityVerdict, estimate_start};
use crate::app::library::report::{self, TalkView};
use crate::app::playback::timeshift::{forbidden, near};
use crate::app::support::dir_watch::DirWatch;
use crate::app::support::env::Env;
use crate::app::support::failure::{Failure, Kind, Result};
use crate::app::support::tail_reader::TailReader;
use crate::catalog::{marks, open_reader, schedule};
use crate::domain::ids::SegmentId;
use crate::domain::media::TrackKind;
use crate::domain::segment::{Container, Mark, Segment};
use crate::domain::time::{Ms, SECOND};
use crate::media::CancellationToken;
use crate::media::demux::{Demux, Demuxed};
use crate::media::live_mux::LiveMux;
use crate::media::mux::Block;
use crate::plan::anchor::REPEAT_ARRIVAL_MS;
use crate::plan::splice::Splice;
use crate::plan::timeshift::{CONTINUATION_WAIT_MS, is_past};

/// A change that nobody tells of is noticed after this time.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The schedule is looked at so often for what must not be shown, milliseconds.
const SCHEDULE_INTERVAL_MS: i64 = 5 * SECOND;

/// Live is so far behind the newest, milliseconds.
const LIVE_MS: i64 = 8 * SECOND;

/// A server sends no more than this again, milliseconds.
const REPEAT_MS: i64 = 30 * SECOND;

/// So many of the last bytes are looked for where a connection begins, to go on after them.
const MATCH_BYTES: usize = 1024;

/// So many of the first bytes of a connection may be there already.
const MAX_REPEATED_BYTES: usize = 1 << 20;

/// Writes a talk's bytes until it is over.
///
/// # Errors
/// When the catalog cannot be read, ffmpeg is missing, or `out` fails.
pub fn remux(env: &Env, talk: i64, from: StartAt, out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
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
    let (mut done, mut wake): (Option<(Ms, SegmentId)>, _) = (None, DirWatch::default());
    loop {
        let view = report::by_id(&db, env, talk)?;
        if view.talk.opted_out {
            return Ok(());
        }
        let mut all = near(&db, &view)?;
        all.retain(|s| s.container != Container::MpegTs);
        let next = all.iter().find(|s| done.is_none_or(|done| (s.opened, s.id) > done));
        match next {
            Some(segment) => {
                done = Some((segment.opened, segment.id));
                if !remux.segment(&db, &view, segment, out)? {
                    return Ok(());
                }
            }
            None if is_past(all.iter().any(|s| s.closed.is_none()), view.window, env.clock.now()) => return Ok(()),
            None => {
                wake.wait(newest_folder(env, &all).as_deref(), POLL_INTERVAL);
            }
        }
    }
}

struct Remux {
    env: Env,
    from: StartAt,
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
        self.given.is_some_and(|given| given.since(wall) > REPEAT_MS)
    }

    /// Gives what a segment has for the talk; false when the talk is over.
    fn segment(
        &mut self,
        db: &Db,
        view: &TalkView,
        segment: &Segment,
        out: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        let starts = *self.begins.get_or_insert_with(|| match self.from {
            StartAt::Start => view.talk.slot.start,
            StartAt::Live => self.env.clock.now().minus(LIVE_MS),
            StartAt::At(time) => instant(time, view),
        });
        let mut when = Visibility {
            begins: starts,
            ends: view.window.end,
            forbidden: forbidden(db, view)?,
            looked: self.env.clock.now(),
            late_ms: segment.spans.first().map(|span| span.wall().start.since(segment.opened)),
        };
        let until = view.window.end.plus(CONTINUATION_WAIT_MS);
        match segment.container {
            Container::Mp3 | Container::Adts => {
                let file = TailReader::open(&self.env, segment, until)?;
                self.bytes((db, view), segment, file, &mut when, out)
            }
            _ => {
                when.late_ms = segment.spans.first().map(|_| 0);
                self.packets((db, view), segment, until, &mut when, out)
            }
        }
    }

    /// What must not be shown is asked for again while a long segment is played; false when the talk itself must not.
    fn look_again(&self, (db, view): (&Db, &TalkView), when: &mut Visibility) -> Result<bool> {
        let now = self.env.clock.now();
        if now.since(when.looked).abs() < SCHEDULE_INTERVAL_MS {
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
        until: Ms,
        when: &mut Visibility,
        out: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        let exact = when.forbidden.iter().next().is_some();
        let begins = estimate_start(&self.env, of.0, segment, exact)?;
        // What was given is left out the second time.
        for then in ["it is taken again", "the rest of it is not shown"] {
            let file = TailReader::open(&self.env, segment, until)?;
            match self.taken_apart(of, file, begins, when, out)? {
                PacketOutcome::Whole => return Ok(true),
                PacketOutcome::Enough => return Ok(false),
                PacketOutcome::Early(why) => tracing::warn!("{}: {why}; {then}", segment.path.display()),
            }
        }
        Ok(true)
    }

    fn taken_apart(
        &mut self,
        of: (&Db, &TalkView),
        mut file: TailReader,
        begins: Ms,
        when: &mut Visibility,
        out: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<PacketOutcome> {
        let cannot = |e| Failure::new(Kind::Failed, "ffmpeg cannot demultiplex a segment").because(e);
        let (mut demux, mut pipe) = Demux::fed(&file.path, &CancellationToken::new()).map_err(cannot)?;
        let stop = Arc::clone(&file.stop);
        let feeder = std::thread::Builder::new().name("feeder".to_owned()).spawn(move || {
            while let Ok(Some(block)) = file.next() {
                // A pipe that is closed: ffmpeg has ended, or is not wanted any more.
                if pipe.write_all(&block).is_err() {
                    return false;
                }
            }
            file.is_whole()
        });
        let feeder = feeder.map_err(|e| Failure::new(Kind::Failed, "cannot start a thread").because(e))?;
        self.splice.segment();
        let mut given = PtsClock::new(begins);
        let result = loop {
            match demux.next_packet() {
                Ok(Some(packet)) => {
                    let goes_on = match self.look_again(of, when) {
                        Ok(true) => self.packet(&demux, packet, &mut given, when, out),
                        ended => ended,
                    };
                    match goes_on {
                        Ok(true) => {}
                        Ok(false) => break Ok(PacketOutcome::Enough),
                        Err(e) => break Err(e),
                    }
                }
                Ok(None) => break Ok(PacketOutcome::Whole),
                Err(e) => break Ok(PacketOutcome::Early(e.to_string())),
            }
        };
        // It wakes within a second.
        stop.store(true, Ordering::Relaxed);
        let trouble = demux.trouble().map(str::to_owned);
        drop(demux);
        let fed = feeder.join().unwrap_or(false);
        result.map(|taken| match taken {
            // What can be seen of a torn or odd file has been seen, where ffmpeg took all of it.
            PacketOutcome::Whole if !fed => {
                PacketOutcome::Early(trouble.unwrap_or_else(|| "ffmpeg ended before the file did".to_owned()))
            }
            taken => taken,
        })
    }

    fn packet(
        &mut self,
        demux: &Demux,
        packet: Demuxed,
        given: &mut PtsClock,
        when: &Visibility,
        out: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        let tracks: Vec<_> = demux.entries().collect();
        let lead = (1..).zip(&tracks).find(|(_, t)| t.kind() == TrackKind::Video).map_or(1, |(n, _)| n);
        let leads = packet.packet.track == lead;
        let wall = given.wall(packet.packet.pts_ms, self.env.clock.now());
        if self.was_given(wall) {
            return Ok(true);
        }
        match when.judge(wall) {
            VisibilityVerdict::Shown => {}
            VisibilityVerdict::Early => return Ok(true),
            VisibilityVerdict::Forbidden => {
                self.splice.skip();
                return Ok(true);
            }
            VisibilityVerdict::Late => return Ok(false),
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
        mut file: TailReader,
        when: &mut Visibility,
        out: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        let mut at = 0_u64;
        let mut came: Vec<Mark> = Vec::new();
        // What a server sends again is passed over up to where it was before.
        let mut again = (!self.tail.is_empty()).then(|| (Vec::new(), segment.opened));
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
                VisibilityVerdict::Shown if self.was_given(wall) => continue,
                VisibilityVerdict::Shown => {}
                VisibilityVerdict::Early | VisibilityVerdict::Forbidden => continue,
                VisibilityVerdict::Late => return Ok(false),
            }
            let bytes = match &mut again {
                None => block,
                Some((first, by)) => {
                    first.extend_from_slice(&block);
                    *by = wall;
                    let found = find_last(first, &self.tail);
                    let may_come = !file.waited || self.env.clock.now().since(segment.opened) < REPEAT_ARRIVAL_MS;
                    if found.is_none() && first.len() < MAX_REPEATED_BYTES && may_come {
                        continue;
                    }
                    let rest = first.split_off(found.unwrap_or(0));
                    again = None;
                    rest
                }
            };
            self.give(&bytes, wall, out)?;
        }
        // It ended before it was known whether something comes again.
        if let Some((rest, wall)) = again.filter(|(rest, _)| !rest.is_empty()) {
            self.give(&rest, wall, out)?;
        }
        Ok(true)
    }

    /// Gives bytes that had come by `wall`, and remembers where it goes on.
    fn give(&mut self, bytes: &[u8], wall: Ms, out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        out(bytes)?;
        self.given = self.given.max(Some(wall));
        self.tail.extend_from_slice(bytes);
        self.tail.drain(..self.tail.len().saturating_sub(MATCH_BYTES));
        Ok(())
    }
}

/// What became of a segment that ffmpeg takes apart.
enum PacketOutcome {
    /// All of it, to its end.
    Whole,
    /// As much as is wanted: the talk is over.
    Enough,
    /// ffmpeg ended before the segment did, and why.
    Early(String),
}

/// Where the last occurrence of `what` ends.
fn find_last(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len().max(1)).rposition(|window| window == what).map(|at| at + what.len())
}

#[cfg(test)]
mod tests;
