//! One connection: reads the playlist again and again and hands on each media segment once.

mod demuxed_audio;
mod segment_fetch;
mod variant_select;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::variant_select::{PlaylistState, Reload, SelectedMedia};
use super::client::{Body, FetchFailure, Requests};
use super::crypt::Cipher;
use super::feed::Item;
use super::resume_state::{ResumeState, StreamResume};
use crate::domain::hls::{InitSection, Key, MediaPlaylist, MediaSegment};
use crate::domain::segment::EndReason;
use crate::domain::time::Ms;
use crate::plan::hls::{self, ResumePoint, SegmentHistory, SegmentRef};
use crate::source::ffmpeg::FfmpegSource;
use crate::source::log::LineLog;
use crate::source::{OpenRequest, SourceEnd};

/// A media segment that failed so often is left out, if a later one can be had.
const MAX_ATTEMPTS: u32 = 4;

/// A segment that failed at least twice is skipped after this time, if a later one is available. It covers servers that
/// accept a request and send nothing; it must be shorter than the 30 s after which a tape ends a stalled HLS
/// connection, since a new connection starts counting again.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// So much time a later media segment has for its first byte, to show that it is not the server.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

/// While the server fails it is asked at least this often.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Shortest delay between two requests while the server fails.
const RETRY_MIN: Duration = Duration::from_millis(200);

/// So many of its first bytes say whether a media segment is packed audio.
const SNIFF_BYTES: usize = 3;

/// What was held is handed on in pieces of at least so many bytes: about what the network brings at once.
const HANDOFF_BYTES: usize = 64 << 10;

/// What of a stream it fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamPart {
    /// All of it: there is one playlist.
    All,
    /// The video, whose audio has another playlist.
    Video,
    /// The audio rendition (EXT-X-MEDIA) of a stream whose variants contain video only.
    Audio,
}

/// One connection.
pub struct PlaylistClient {
    ask: OpenRequest,
    /// A mere look at the stream: from its newest media segment on.
    pub look: bool,
    http: Requests,
    out: mpsc::Sender<Item>,
    log: Arc<dyn LineLog>,
    ffmpeg: FfmpegSource,
    resume: StreamResume,
    part_of_stream: StreamPart,
    /// The audio that it does without, and when it was asked for.
    without: Option<(Url, Instant)>,
    /// It has seen the end of its playlist: what it takes from now on is new.
    at_end: Arc<AtomicBool>,
    /// Its media segments have no clock but that of their first line, so that none of a file may be missing.
    packed: bool,
    /// It goes on with the rendition that was recorded a moment ago.
    goes_on: bool,
    /// Tells the memory that it lives.
    _lives: Arc<()>,
    variant: Arc<Mutex<String>>,
    began: Instant,
    /// The last key that was fetched.
    key: Option<(Url, [u8; 16])>,
    /// The media segment before, of this connection, and so of its file.
    before: Option<MediaSegment>,
    /// The start of an MP4 that the file has.
    map: Option<InitSection>,
    /// What is under way.
    progress: Option<SegmentProgress>,
    /// A later one, of which the begin was asked for.
    ahead: Option<Ahead>,
    /// What was passed of the playlist.
    history: SegmentHistory,
    /// Something was left out since the last one that was taken.
    has_hole: bool,
    /// The last news: a byte, or a media segment that came to be known.
    last_byte: Instant,
}

/// How much of a media segment was handed on.
struct SegmentProgress {
    of: SegmentRef,
    received: u64,
    /// Its first bytes.
    start: Vec<u8>,
    /// What came of it and waits for the rest.
    held: BytesMut,
    cipher: Option<Cipher>,
    since: Instant,
    failures: u32,
}

impl SegmentProgress {
    fn new(of: SegmentRef) -> Self {
        Self {
            of,
            received: 0,
            start: Vec::new(),
            held: BytesMut::new(),
            cipher: None,
            since: Instant::now(),
            failures: 0,
        }
    }
}

impl PlaylistClient {
    pub fn new(
        ask: OpenRequest,
        http: Requests,
        out: mpsc::Sender<Item>,
        log: Arc<dyn LineLog>,
        ffmpeg: FfmpegSource,
        resume: StreamResume,
        variant: Arc<Mutex<String>>,
    ) -> Self {
        let now = Instant::now();
        let (lives, goes_on) = resume.video.start_session();
        Self {
            ask,
            look: false,
            http,
            out,
            log,
            ffmpeg,
            resume,
            part_of_stream: StreamPart::All,
            without: None,
            at_end: Arc::default(),
            packed: false,
            goes_on,
            _lives: lives,
            variant,
            began: now,
            key: None,
            before: None,
            map: None,
            progress: None,
            ahead: None,
            history: SegmentHistory::default(),
            has_hole: false,
            last_byte: now,
        }
    }

    /// Resolves when nobody reads any more.
    pub fn gone(&self) -> impl Future<Output = ()> + use<> {
        let out = self.out.clone();
        async move { out.closed().await }
    }

    /// Fetches until there is a reason to stop, or until told so.
    pub async fn run(mut self, stop: &CancellationToken) -> SourceEnd {
        let end = self.fetch(stop).await.unwrap_or_else(SourceEnd::from);
        if let Some(detail) = &end.detail {
            self.say(detail);
        }
        end
    }

    async fn fetch(&mut self, stop: &CancellationToken) -> Result<SourceEnd, FetchFailure> {
        let found = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(SourceEnd::default()),
            found = self.select_media_again() => found?,
        };
        match found {
            SelectedMedia::Muxed(known) => tokio::select! {
                biased;
                () = stop.cancelled() => Ok(SourceEnd::default()),
                end = self.follow(known) => end,
            },
            SelectedMedia::Demuxed(video, audio) => self.mux_renditions(video, audio, stop).await,
        }
    }

    fn say(&self, text: &str) {
        let of = if self.part_of_stream == StreamPart::Audio { "its sound: " } else { "" };
        self.log.line(&format!("{} hls", self.ask.label), &format!("{of}{text}"));
    }

    fn now(&self) -> Ms {
        self.ask.now.plus(i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// What it has taken.
    fn resume_state(&self) -> &ResumeState {
        if self.part_of_stream == StreamPart::Audio { &self.resume.audio } else { &self.resume.video }
    }

    async fn follow(&mut self, mut known: PlaylistState) -> Result<SourceEnd, FetchFailure> {
        self.goes_on = true;
        // Signatures change, the path is the variant's.
        let variant = known.url.path().to_owned();
        self.history = self.resume_state().of(&variant).unwrap_or_default();
        *self.variant.lock().unwrap_or_else(PoisonError::into_inner) = variant;
        let mut trouble: Option<FetchFailure> = None;
        let mut point = self.first(&known.playlist);
        loop {
            let Some(segment) = known.playlist.segments.get(point.at).cloned() else {
                if known.playlist.ended {
                    return Ok(done("the stream has ended (EXT-X-ENDLIST)"));
                }
                if trouble.is_none() {
                    self.at_end.store(true, Ordering::Relaxed);
                }
                self.wait(&known, trouble.is_some()).await;
                if self.audio_is_back().await {
                    return Ok(done("the audio is available again: video and audio continue in a new file"));
                }
                trouble = match self.reload(&mut known).await {
                    Ok(Reload::Same) => {
                        point = self.history.locate(&known.playlist, self.now());
                        None
                    }
                    Ok(Reload::Replaced) => return Ok(other_playlist()),
                    Err(failure) => Some(failure),
                };
                self.give_up_after(&known, trouble.as_ref())?;
                continue;
            };
            if self.needs_new_file(&segment, point) {
                return Ok(done("the format changes: it continues in a new file"));
            }
            if point.reset {
                (self.progress, self.ahead) = (None, None);
            }
            if let Some(Key::Other(name)) = &segment.key {
                let detail = format!("the stream is encrypted by {name}, which is not supported");
                return Err(FetchFailure { reason: EndReason::SourceFailed, detail });
            }
            match self.fetch_segment(&segment, point.is_again(), known.dated).await {
                Ok(()) => {
                    self.note(point, &segment);
                    trouble = None;
                    known.news = true;
                    point = point.next();
                    if !segment.gap {
                        (self.before, self.has_hole) = (Some(segment), false);
                    }
                }
                Err(failure) => {
                    self.say(&format!("segment {}: {}", segment.sequence, failure.detail));
                    let refused = matches!(failure.reason, EndReason::PrivateAddress | EndReason::SourceFailed);
                    if refused && self.before.is_none() {
                        // Ours to refuse, and so it will be the next time.
                        return Err(failure);
                    }
                    if self.is_hopeless(&known.playlist, point.at).await {
                        self.say(&format!("segment {} is left out", segment.sequence));
                        self.leave_out(&segment, point.is_again()).await;
                        point = point.next();
                        continue;
                    }
                    self.give_up_after(&known, Some(&failure))?;
                    trouble = Some(failure);
                    sleep(self.retry_delay()).await;
                    match self.reload(&mut known).await {
                        Ok(Reload::Same) => point = self.locate_again(&known.playlist, point),
                        Ok(Reload::Replaced) => return Ok(other_playlist()),
                        Err(failure) => trouble = Some(failure),
                    }
                }
            }
        }
    }

    /// Where a connection begins in the first playlist that it reads.
    fn first(&mut self, playlist: &MediaPlaylist) -> ResumePoint {
        if self.look {
            let at = playlist.segments.len().saturating_sub(1);
            playlist.segments[..at].iter().for_each(|segment| self.history.pass(segment));
            return ResumePoint { at, ..ResumePoint::default() };
        }
        let (now, from, muxed) = (self.now(), self.ask.from, self.part_of_stream != StreamPart::All);
        hls::first_segment(playlist, &mut self.history, now, from, muxed)
    }

    /// Where to go on in a playlist that was read again because a segment could not be had. One that is taken once more
    /// is still to be taken.
    fn locate_again(&mut self, playlist: &MediaPlaylist, failed: ResumePoint) -> ResumePoint {
        let point = self.history.locate(playlist, self.now());
        match point.again {
            Some(again) if failed.is_again() => ResumePoint { at: again, ..point },
            _ => point,
        }
    }

    /// How long to wait before a segment that failed is asked for again: soon at first, since it may only be announced
    /// early, and every further time longer.
    fn retry_delay(&self) -> Duration {
        let failures = self.progress.as_ref().map_or(1, |progress| progress.failures);
        (RETRY_MIN * failures).min(RETRY_MAX)
    }

    /// What is worth a line about a media segment that was taken.
    fn note(&self, start: ResumePoint, segment: &MediaSegment) {
        if start.reset {
            self.say(&format!("the encoder began anew at segment {}", segment.sequence));
        } else if start.missed > 0 {
            self.say(&format!("{} segments before {} were no longer available", start.missed, segment.sequence));
        }
    }

    /// Until the playlist is worth another look.
    async fn wait(&self, known: &PlaylistState, trouble: bool) {
        let ms = hls::reload_after(&known.playlist, known.news);
        let usual = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        if trouble {
            sleep((usual / 2).clamp(RETRY_MIN, RETRY_MAX)).await;
        } else {
            sleep_until(known.at + usual).await;
        }
    }

    /// True where a media segment cannot stand in the file of those before.
    fn needs_new_file(&self, segment: &MediaSegment, point: ResumePoint) -> bool {
        let Some(before) = &self.before else { return false };
        let muxed = self.part_of_stream != StreamPart::All;
        let is_new_run = point.reset || point.missed > 0;
        hls::needs_new_file(before, segment, muxed)
            || self.is_torn_by(segment)
            // A restarted packager puts another start of MP4 under the name of the one that we have.
            || (segment.map.is_some() && is_new_run)
            // Whoever puts the two together goes by one clock.
            || (muxed && point.reset)
            || (muxed && self.packed && (is_new_run || self.has_hole))
    }

    /// The failure, where it has lasted too long. Audio is given up also where it just does not come: the video
    /// waits for it.
    fn give_up_after(&self, known: &PlaylistState, failure: Option<&FetchFailure>) -> Result<(), FetchFailure> {
        if self.part_of_stream == StreamPart::Audio {
            let patience = hls::audio_stall_limit_ms(&known.playlist);
            if self.last_byte.elapsed() < Duration::from_millis(patience.unsigned_abs()) {
                return Ok(());
            }
            self.resume.audio.give_up();
            let silent =
                || FetchFailure { reason: EndReason::Stalled, detail: "no new media segment for too long".to_owned() };
            return Err(failure.cloned().unwrap_or_else(silent));
        }
        let over = self.is_over(&known.playlist);
        failure.filter(|_| over).map_or(Ok(()), |failure| Err(failure.clone()))
    }

    fn is_over(&self, playlist: &MediaPlaylist) -> bool {
        let patience = hls::outage_limit_ms(playlist, self.ask.alone);
        self.last_byte.elapsed().as_millis() >= u128::from(patience.unsigned_abs())
    }

    /// True where the media segment under way is another one, and what was handed on of it ended inside an MP4
    /// fragment: nothing can be read behind that.
    fn is_torn_by(&self, segment: &MediaSegment) -> bool {
        let torn = self
            .progress
            .as_ref()
            .is_some_and(|progress| progress.received > 0 && !self.history.is_same(&progress.of, segment));
        torn && segment.map.is_some() && !self.holds(segment)
    }

    /// True where a media segment is handed on only when all of it is there: an MP4 fragment without its end makes
    /// ffmpeg fail, and what it has of the other half is lost with it.
    fn holds(&self, segment: &MediaSegment) -> bool {
        self.part_of_stream != StreamPart::All && segment.map.is_some()
    }

    /// True where a segment failed often enough and a later one can be had, so that it is not the server. What came of
    /// the later one is kept.
    async fn is_hopeless(&mut self, playlist: &MediaPlaylist, at: usize) -> bool {
        let Some(progress) = &self.progress else { return false };
        let is_behind = |ahead: &Ahead| {
            let at_of = |segment: &MediaSegment| self.history.is_same(&ahead.of, segment);
            playlist.segments.iter().rposition(at_of).is_some_and(|later| later > at)
        };
        // Several in a row are missing after some servers' restarts: each was asked for twice, and one is there.
        if self.ahead.as_ref().is_some_and(is_behind) && progress.failures > 1 {
            return true;
        }
        if !(progress.failures >= MAX_ATTEMPTS
            || (progress.failures > 1 && progress.since.elapsed() >= ATTEMPT_TIMEOUT))
        {
            return false;
        }
        let mut later = playlist.segments.iter().skip(at + 1).filter(|segment| !segment.gap);
        // The next one is of use at once. The newest, since those beside this one may be missing with it; but it may be
        // announced before it is there.
        for segment in [later.next(), later.next_back()].into_iter().flatten() {
            let begin = async {
                let mut body = self.http.segment(&segment.url, segment.range, 0).await?;
                Ok::<_, FetchFailure>((body.next().await?, body))
            };
            if let Ok(Ok((Some(first), body))) = timeout(PROBE_TIMEOUT, begin).await
                && (segment.key.is_some() || !is_text(&first))
            {
                self.ahead = Some(Ahead { of: SegmentRef::of(segment), first, body });
                return true;
            }
        }
        false
    }
}

/// The begin of a later segment, which was asked for to know whether it is there.
struct Ahead {
    of: SegmentRef,
    first: Bytes,
    body: Body,
}

fn other_playlist() -> SourceEnd {
    done("the stream has a new playlist: reconnecting")
}

/// True for the begin of HTML, XML or JSON, with which some servers answer in place of an error; no media begins so.
fn is_text(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start().first(), Some(b'<' | b'{'))
}

fn nobody_reads() -> FetchFailure {
    FetchFailure { reason: EndReason::SourceFailed, detail: "the recording has ended".to_owned() }
}

fn done(why: &str) -> SourceEnd {
    SourceEnd { reason: None, detail: Some(why.to_owned()) }
}

fn no_media(what: &str) -> FetchFailure {
    FetchFailure { reason: EndReason::NotMedia, detail: what.to_owned() }
}
