//! The way to the media playlist, and to its next reading.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use url::Url;

use super::{FetchFailure, PlaylistClient, RETRY_MAX, StreamPart, is_text, no_media};
use crate::domain::hls::{AnyPlaylist, MediaPlaylist, MediaSegment};
use crate::domain::segment::EndReason;
use crate::plan::hls::{self, VariantChoice};
use crate::source::hls::playlist;

/// A playlist in a playlist in a playlist is one too many.
const MAX_DEPTH: u32 = 2;

/// After so many refusals in a row the stream is asked for from its first address on.
const REFUSALS: u32 = 2;

/// Audio that is done without is asked for so often.
const AUDIO_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Time limit for one check whether the audio is back; the video waits for it.
const AUDIO_RETRY_TIMEOUT: Duration = Duration::from_secs(2);

/// The newest playlist.
pub(super) struct PlaylistState {
    pub(super) url: Url,
    pub(super) playlist: MediaPlaylist,
    pub(super) at: Instant,
    /// Its dates can be believed.
    pub(super) dated: bool,
    /// It had something new.
    pub(super) news: bool,
    /// So often in a row the server has not known its address, or no longer allowed it.
    refusals: u32,
}

/// What a stream's address led to.
pub(super) enum SelectedMedia {
    /// Its playlist.
    Muxed(PlaylistState),
    /// The playlists of its video and of its audio, which stand apart.
    Demuxed(PlaylistState, PlaylistState),
}

/// Another reading of the playlist.
pub(super) enum Reload {
    /// Of the same one.
    Same,
    /// The stream has another one now: a connection of its own begins there.
    Replaced,
}

impl PlaylistClient {
    /// Finds the media playlist.
    async fn select_media(&mut self, url: Url, depth: u32) -> Result<SelectedMedia, FetchFailure> {
        let at = Instant::now();
        let (bytes, found) = self.http.playlist(&url).await?;
        let master = match playlist::read(&bytes, &found) {
            Some(AnyPlaylist::Media(playlist)) => {
                return Ok(SelectedMedia::Muxed(self.known(url, playlist, at)));
            }
            Some(AnyPlaylist::Master(master)) if depth + 1 < MAX_DEPTH => master,
            Some(AnyPlaylist::Master(_)) => {
                return Err(no_media("a multivariant playlist inside a multivariant playlist"));
            }
            None => return Err(no_media("the server sent no HLS playlist")),
        };
        let mut choices: VecDeque<VariantChoice> = hls::rank_variants(&master, self.ask.quality).into();
        let had = self.resume.video.variant();
        let is_had = |choice: &VariantChoice| had.as_deref() == Some(choice.url.path());
        if self.goes_on
            && let Some(had) = choices.iter().position(is_had).and_then(|at| choices.remove(at))
        {
            choices.push_front(had);
        }
        let mut failed = no_media("the playlist has no variants");
        for choice in choices {
            let was_had = is_had(&choice);
            let found = match (Box::pin(self.select_media(choice.url, depth + 1)).await, choice.audio) {
                (Ok(SelectedMedia::Muxed(video)), Some(audio)) => self.with_audio(video, audio, depth).await,
                (found, _) => found,
            };
            match found {
                Ok(found) => {
                    self.resume.video.found();
                    return Ok(found);
                }
                Err(failure) => failed = failure,
            }
            // Another one in mid-talk is another format, which no file can have beside this one. One that was
            // never had may be announced before it is there.
            if was_had && !self.resume.video.is_lost() {
                return Err(failed);
            }
            self.say(&format!("a variant is unavailable: {}", failed.detail));
        }
        Err(failed)
    }

    /// Finds the playlist of the audio too. One that has been missing for a while is done without, and looked for
    /// now and then: the video must not be lost with it.
    async fn with_audio(
        &mut self,
        video: PlaylistState,
        audio: Url,
        depth: u32,
    ) -> Result<SelectedMedia, FetchFailure> {
        let failure = match Box::pin(self.select_media(audio.clone(), depth + 1)).await {
            Ok(SelectedMedia::Muxed(known)) => {
                let given_up = self.part_of_stream == StreamPart::All && self.resume.audio.given_up().is_some();
                let is_back = !given_up
                    || matches!(timeout(AUDIO_RETRY_TIMEOUT, self.brings_audio(&known.playlist)).await, Ok(true));
                if is_back {
                    return Ok(SelectedMedia::Demuxed(video, known));
                }
                FetchFailure {
                    reason: EndReason::Stalled,
                    detail: "it lists no new segment that can be fetched".to_owned(),
                }
            }
            Ok(SelectedMedia::Demuxed(..)) => no_media("the playlist of the audio rendition is no media playlist"),
            Err(failure) => failure,
        };
        if self.part_of_stream == StreamPart::Video {
            // Which has its own.
            return Ok(SelectedMedia::Muxed(video));
        }
        let ours_to_refuse = matches!(failure.reason, EndReason::PrivateAddress | EndReason::SourceFailed);
        if self.part_of_stream == StreamPart::Audio || ours_to_refuse {
            return Err(failure);
        }
        let missing_ms = i64::try_from(self.resume.audio.missing_for().as_millis()).unwrap_or(i64::MAX);
        if missing_ms < hls::audio_playlist_wait_ms(&video.playlist) {
            return Err(failure);
        }
        self.say(&format!("the audio is unavailable, recording video only: {}", failure.detail));
        self.without = Some((audio, Instant::now()));
        Ok(SelectedMedia::Muxed(video))
    }

    /// Whether the audio that it does without has come back.
    pub(super) async fn audio_is_back(&mut self) -> bool {
        let Some((audio, asked)) = &mut self.without else { return false };
        if asked.elapsed() < AUDIO_RETRY_INTERVAL {
            return false;
        }
        *asked = Instant::now();
        let audio = audio.clone();
        let back = async {
            let (bytes, found) = self.http.playlist(&audio).await.ok()?;
            match playlist::read(&bytes, &found)? {
                AnyPlaylist::Media(playlist) => Some(self.brings_audio(&playlist).await),
                AnyPlaylist::Master(_) => None,
            }
        };
        matches!(timeout(AUDIO_RETRY_TIMEOUT, back).await, Ok(Some(true)))
    }

    /// Whether audio that is done without can be had: not by its playlist, which an encoder that died leaves behind,
    /// and not by a media segment that begins and then stalls.
    async fn brings_audio(&self, playlist: &MediaPlaylist) -> bool {
        let given_up = self.resume.audio.given_up();
        let is_new = |segment: &&MediaSegment| given_up.as_ref().is_none_or(|given_up| given_up.ends_with(segment));
        // The newest one may be announced before it is there.
        for segment in playlist.segments.iter().rev().filter(|segment| !segment.gap).take_while(is_new).take(2) {
            if self.comes_whole(segment).await.unwrap_or(false) {
                return true;
            }
        }
        false
    }

    async fn comes_whole(&self, segment: &MediaSegment) -> Result<bool, FetchFailure> {
        let mut body = self.http.segment(&segment.url, segment.range, 0).await?;
        let mut comes = false;
        while let Some(piece) = body.next().await? {
            if !comes && segment.key.is_none() && is_text(&piece) {
                return Ok(false);
            }
            comes = true;
        }
        Ok(comes)
    }

    fn known(&self, url: Url, playlist: MediaPlaylist, at: Instant) -> PlaylistState {
        let dated = hls::dates_are_right(&playlist, self.now());
        PlaylistState { url, playlist, at, dated, news: false, refusals: 0 }
    }

    /// Reads the playlist again. Where its address is no longer good (a signature has run out, a restarted
    /// encoder has other names), it is looked for as at the start.
    pub(super) async fn reload(&mut self, known: &mut PlaylistState) -> Result<Reload, FetchFailure> {
        let at = Instant::now();
        if known.refusals >= REFUSALS {
            let newer = match (self.select_media(self.http.first()?, 0).await?, self.part_of_stream) {
                (SelectedMedia::Muxed(all), StreamPart::All | StreamPart::Video) => Some(all),
                (SelectedMedia::Demuxed(video, _), StreamPart::Video) => Some(video),
                (SelectedMedia::Demuxed(_, audio), StreamPart::Audio) => Some(audio),
                _ => None,
            };
            return Ok(match newer {
                Some(newer) if newer.url.path() == known.url.path() => {
                    *known = newer;
                    Reload::Same
                }
                _ => Reload::Replaced,
            });
        }
        let answer = self.http.playlist(&known.url).await;
        let refused = answer.as_ref().is_err_and(|e| matches!(e.reason, EndReason::Http(401 | 403 | 404 | 410)));
        known.refusals = if refused { known.refusals + 1 } else { 0 };
        let (bytes, found) = answer?;
        match playlist::read(&bytes, &found) {
            Some(AnyPlaylist::Media(playlist)) => {
                *known = self.known(known.url.clone(), playlist, at);
                Ok(Reload::Same)
            }
            _ => Err(no_media("the address no longer leads to a playlist")),
        }
    }

    /// As [`PlaylistClient::select_media`]. A stream that was there a moment ago, and is the only one, is asked for again at
    /// once and often: what leaves its window meanwhile is lost.
    pub(super) async fn select_media_again(&mut self) -> Result<SelectedMedia, FetchFailure> {
        loop {
            let failure = match self.select_media(self.http.first()?, 0).await {
                Ok(found) => return Ok(found),
                Err(failure) => failure,
            };
            if !self.ask.alone || !self.resume.video.is_known() || self.is_over(&MediaPlaylist::default()) {
                return Err(failure);
            }
            self.say(&failure.detail);
            sleep(RETRY_MAX).await;
        }
    }
}
