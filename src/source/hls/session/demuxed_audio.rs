//! Audio with a playlist of its own: two clients, each with its own numbers, and ffmpeg between them and the tape.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, copy};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::variant_select::PlaylistState;
use super::{FetchFailure, Item, PlaylistClient, StreamPart};
use crate::domain::hls::packed_audio_timestamp;
use crate::source::child::two_inputs::ChildInputs;
use crate::source::ffmpeg::FfmpegSource;
use crate::source::hls::feed::Feed;
use crate::source::hls::resume_state::{LOST_TIMEOUT, ResumeState};
use crate::source::{Hints, OpenRequest, Running, SourceEnd};

/// Pieces of one half that wait for the other one, some seconds of it: then the server holds them.
const QUEUE_ITEMS: usize = 512;

/// Where one half ends, the other one has so long to come to the same place.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(8);

/// How often it is looked whether it is near that.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Of a half so much is looked at before it is put together with the other one.
const PROBE_BYTES: usize = 16 * 1024;

/// With this the tag of packed audio begins.
const ID3_TAG: &[u8] = b"ID3";

type Following = Pin<Box<dyn Future<Output = Result<SourceEnd, FetchFailure>> + Send>>;

impl PlaylistClient {
    /// Both halves, put together. When one ends, or when told to stop, all that was fetched comes out first.
    pub(super) async fn mux_renditions(
        &mut self,
        video: PlaylistState,
        audio: PlaylistState,
        stop: &CancellationToken,
    ) -> Result<SourceEnd, FetchFailure> {
        if let Err(end) = self.ffmpeg.installed() {
            return Ok(end);
        }
        let (given, began) = (Arc::<AtomicU64>::default(), Instant::now());
        let (video_client, video_feed) = self.part_of_stream(StreamPart::Video, &given);
        let (audio_client, audio_feed) = self.part_of_stream(StreamPart::Audio, &given);
        let ends = [video_client.at_end.clone(), audio_client.at_end.clone()];
        let (ask, ffmpeg, out) = (self.ask.clone(), self.ffmpeg.clone(), self.out.clone());
        let mux = Mux { ask, ffmpeg, out, given: given.clone(), audio: self.resume.audio.clone() };
        let both_parts = both_parts(
            Box::pin(video_client.follow_part(video)),
            Box::pin(audio_client.follow_part(audio)),
            ends,
            stop,
        );
        let mux = mux.run(video_feed, audio_feed, stop);
        tokio::pin!(both_parts, mux);
        let (said, muxed) = tokio::select! {
            biased;
            said = &mut both_parts => (said, mux.await),
            // Before its inputs ended: whatever it says, that is its fault.
            muxed = &mut mux => (Ok(SourceEnd::default()), Err(muxed.unwrap_or_else(|end| end))),
        };
        match muxed {
            Ok(_) => said,
            Err(end) => {
                // Where it could make nothing at all of the two, though it had the time: the video by itself may do.
                let had_time = !stop.is_cancelled() || began.elapsed() >= LOST_TIMEOUT;
                if given.load(Ordering::Relaxed) == 0 && had_time {
                    self.resume.audio.give_up();
                }
                // Nobody knows what of it came out.
                self.resume.forget();
                said.and(Ok(end))
            }
        }
    }

    /// A client for one of the two playlists, and what it gives.
    fn part_of_stream(&self, part_of_stream: StreamPart, given: &Arc<AtomicU64>) -> (Self, Feed) {
        let (out, items) = mpsc::channel(QUEUE_ITEMS);
        let ask = OpenRequest { now: self.now(), ..self.ask.clone() };
        let (log, variant) = (self.log.clone(), Arc::default());
        // When its media was made is told of the video.
        let hints = if part_of_stream == StreamPart::Video { ask.hints.clone() } else { Hints::default() };
        let mut life =
            Self::new(ask, self.http.clone(), out, log, self.ffmpeg.clone(), self.resume.clone(), Arc::clone(&variant));
        (life.part_of_stream, life.look, life.goes_on) = (part_of_stream, self.look, true);
        let feed = Feed::new(items, hints, life.resume_state().clone(), variant).muxed(given);
        (life, feed)
    }

    /// Follows its playlist; its end of the feed goes with it.
    async fn follow_part(mut self, known: PlaylistState) -> Result<SourceEnd, FetchFailure> {
        let end = self.follow(known).await;
        if let (StreamPart::Audio, Ok(SourceEnd { detail: Some(detail), .. })) = (self.part_of_stream, &end) {
            self.say(detail);
        }
        end
    }
}

/// Lets both halves go on until one of them ends, and the other one come to the same place. What ends both is
/// mostly in both playlists, but their media segments do not end at the same time, and one may be far behind.
async fn both_parts(
    mut video: Following,
    mut audio: Following,
    at_end: [Arc<AtomicBool>; 2],
    stop: &CancellationToken,
) -> Result<SourceEnd, FetchFailure> {
    let [video_at_end, audio_at_end] = at_end;
    let (end, rest, near) = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(SourceEnd::default()),
        end = &mut video => (end?, audio, audio_at_end),
        end = &mut audio => (end?, video, video_at_end),
    };
    let late = async {
        while !near.load(Ordering::Relaxed) {
            sleep(POLL_INTERVAL).await;
        }
        sleep(CATCH_UP_TIMEOUT).await;
    };
    tokio::select! {
        _ = rest => {}
        () = late => {}
        () = stop.cancelled() => {}
    }
    Ok(end)
}

/// What puts the two together.
struct Mux {
    ask: OpenRequest,
    ffmpeg: FfmpegSource,
    out: mpsc::Sender<Item>,
    /// How many bytes the tape was given.
    given: Arc<AtomicU64>,
    audio: ResumeState,
}

impl Mux {
    /// Until both have ended and all of them was given. The error is an end before that.
    async fn run(self, mut video: Feed, mut audio: Feed, stop: &CancellationToken) -> Result<SourceEnd, SourceEnd> {
        let (video_feed, audio_feed) = tokio::join!(head(&mut video), head(&mut audio));
        if video_feed.is_empty() || audio_feed.is_empty() {
            // One of them has nothing. The other by itself is better than nothing, but not worth as much as both.
            self.give(AsyncReadExt::chain(&*video_feed, video)).await;
            self.give(AsyncReadExt::chain(&*audio_feed, audio)).await;
            return if stop.is_cancelled() { Err(SourceEnd::default()) } else { Ok(SourceEnd::default()) };
        }
        let (running, inputs) =
            self.ffmpeg.open_fed(&self.ask.url, packed_audio_timestamp(&audio_feed), &self.ask.label)?;
        let Running { bytes, ended, .. } = running;
        let ChildInputs { mut first, mut second } = inputs;
        // Each input ends with its feed. One that is not taken any more is seen at the other end.
        let video_client = async move {
            let _ = copy(&mut AsyncReadExt::chain(&*video_feed, video), &mut first).await;
        };
        let audio_client = async move {
            let _ = copy(&mut AsyncReadExt::chain(&*audio_feed, audio), &mut second).await;
        };
        let feeding = async {
            tokio::join!(video_client, audio_client);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = feeding => {}
            () = self.give_both(bytes) => {}
        }
        match ended.await.unwrap_or_default() {
            SourceEnd { reason: None, .. } => Ok(SourceEnd::default()),
            failed => Err(failed),
        }
    }

    /// Passes on the multiplexed stream of both renditions. Any output at all shows that the audio is readable.
    async fn give_both(&self, mut bytes: impl AsyncRead + Unpin) {
        let mut first = [0; 1024];
        if let Ok(n @ 1..) = bytes.read(&mut first).await {
            self.audio.found();
            self.give(AsyncReadExt::chain(&first[..n], bytes)).await;
        }
    }

    /// Hands on what comes, until it ends or nobody reads any more.
    async fn give(&self, mut bytes: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = bytes.read(&mut buffer).await {
            if self.out.send(Item::Bytes(Bytes::copy_from_slice(&buffer[..n]))).await.is_err() {
                return;
            }
            self.given.fetch_add(n as u64, Ordering::Relaxed);
        }
    }
}

/// The first bytes of a half, of packed audio at least the tag with its clock; none where it has none.
async fn head(part_of_stream: &mut Feed) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PROBE_BYTES);
    while bytes.len() < PROBE_BYTES {
        let more = PROBE_BYTES - bytes.len();
        if matches!(part_of_stream.read_buf(&mut (&mut bytes).limit(more)).await, Ok(0) | Err(_)) {
            break;
        }
        // As short as a tag's name it may still become one.
        let is_tag = bytes.len() < ID3_TAG.len() || is_packed(&bytes);
        if !is_tag || packed_audio_timestamp(&bytes).is_some() {
            break;
        }
    }
    bytes.freeze()
}

/// True for the first bytes of a media segment that has no clock inside, only one in a tag before it.
pub(super) fn is_packed(segment: &[u8]) -> bool {
    segment.starts_with(ID3_TAG)
}

#[cfg(test)]
mod tests {
    use super::super::ResumeState;
    use super::*;

    #[tokio::test]
    async fn the_head_of_packed_sound_has_its_whole_tag_however_it_comes() {
        let tag = b"ID3\x04\0\0\0\0\0\x3fPRIV\0\0\0\x35\0\0com.apple.streaming.transportStreamTimestamp\0".as_slice();
        let tag = [tag, &90_000_u64.to_be_bytes()].concat();
        for torn in [1, 3, 20, tag.len() - 1] {
            let (out, items) = mpsc::channel(8);
            let mut feed = Feed::new(items, Hints::default(), ResumeState::default(), Arc::default());
            let send = async {
                for piece in [&tag[..torn], &tag[torn..], b"more"] {
                    out.send(Item::Bytes(Bytes::copy_from_slice(piece))).await.expect("room");
                    tokio::task::yield_now().await;
                }
            };
            let (head, ()) = tokio::join!(head(&mut feed), send);
            assert_eq!(packed_audio_timestamp(&head), Some(1.0), "torn at {torn}");
        }
        for other in [b"\x47\x40".as_slice(), &[0xff; 20_000], b"ID", b""] {
            let (out, items) = mpsc::channel(8);
            let mut feed = Feed::new(items, Hints::default(), ResumeState::default(), Arc::default());
            out.send(Item::Bytes(Bytes::copy_from_slice(other))).await.expect("room");
            drop(out);
            assert_eq!(head(&mut feed).await, other[..other.len().min(PROBE_BYTES)]);
        }
    }
}
