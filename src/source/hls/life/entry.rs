//! The way to the media playlist, and to its next reading.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use url::Url;

use super::{Failure, Half, Life, RETRY_MAX, is_text, no_media};
use crate::domain::hls::{AnyPlaylist, MediaPlaylist, MediaSegment};
use crate::domain::segment::EndReason;
use crate::plan::hls::{self, VariantChoice};
use crate::source::hls::playlist;

/// A playlist in a playlist in a playlist is one too many.
const MAX_DEPTH: u32 = 2;

/// After so many refusals in a row the stream is asked for from its first address on.
const REFUSALS: u32 = 2;

/// Sound that is done without is asked for so often.
const ASK_FOR_SOUND_EVERY: Duration = Duration::from_secs(5);

/// And so long, in which the picture waits.
const ASK_FOR_SOUND_FOR: Duration = Duration::from_secs(2);

/// The newest playlist.
pub(super) struct Known {
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
pub(super) enum Found {
    /// Its playlist.
    Playlist(Known),
    /// The playlists of its picture and of its sound, which stand apart.
    Apart(Known, Known),
}

/// Another reading of the playlist.
pub(super) enum Again {
    /// Of the same one.
    Same,
    /// The stream has another one now: a connection of its own begins there.
    Other,
}

impl Life {
    /// Finds the media playlist.
    async fn enter(&mut self, url: Url, depth: u32) -> Result<Found, Failure> {
        let at = Instant::now();
        let (bytes, found) = self.http.playlist(&url).await?;
        let master = match playlist::read(&bytes, &found) {
            Some(AnyPlaylist::Media(playlist)) => return Ok(Found::Playlist(self.known(url, playlist, at))),
            Some(AnyPlaylist::Master(master)) if depth + 1 < MAX_DEPTH => master,
            Some(AnyPlaylist::Master(_)) => return Err(no_media("a playlist of playlists of playlists")),
            None => return Err(no_media("no HLS playlist came")),
        };
        let mut choices: VecDeque<VariantChoice> = hls::rank_variants(&master, self.ask.quality).into();
        let had = self.memos.picture.variant();
        let is_had = |choice: &VariantChoice| had.as_deref() == Some(choice.url.path());
        if self.goes_on
            && let Some(had) = choices.iter().position(is_had).and_then(|at| choices.remove(at))
        {
            choices.push_front(had);
        }
        let mut failed = no_media("the playlist has no variants");
        for choice in choices {
            let was_had = is_had(&choice);
            let found = match (Box::pin(self.enter(choice.url, depth + 1)).await, choice.sound) {
                (Ok(Found::Playlist(picture)), Some(sound)) => self.with_sound(picture, sound, depth).await,
                (found, _) => found,
            };
            match found {
                Ok(found) => {
                    self.memos.picture.found();
                    return Ok(found);
                }
                Err(failure) => failed = failure,
            }
            // Another one in mid-talk is another format, which no file can have beside this one. One that was
            // never had may be announced before it is there.
            if was_had && !self.memos.picture.is_lost() {
                return Err(failed);
            }
            self.say(&format!("a variant cannot be had: {}", failed.detail));
        }
        Err(failed)
    }

    /// Finds the playlist of the sound too. One that has been missing for a while is done without, and looked for
    /// now and then: the picture must not be lost with it.
    async fn with_sound(&mut self, picture: Known, sound: Url, depth: u32) -> Result<Found, Failure> {
        let failure = match Box::pin(self.enter(sound.clone(), depth + 1)).await {
            Ok(Found::Playlist(known)) => {
                let given_up = self.half == Half::All && self.memos.sound.given_up().is_some();
                let is_back = !given_up
                    || matches!(timeout(ASK_FOR_SOUND_FOR, self.brings_sound(&known.playlist)).await, Ok(true));
                if is_back {
                    return Ok(Found::Apart(picture, known));
                }
                Failure { reason: EndReason::Stalled, detail: "it brings nothing new that can be had".to_owned() }
            }
            Ok(Found::Apart(..)) => no_media("the playlist of its sound is none of chunks"),
            Err(failure) => failure,
        };
        if self.half == Half::Picture {
            // Which has its own.
            return Ok(Found::Playlist(picture));
        }
        let ours_to_refuse = matches!(failure.reason, EndReason::PrivateAddress | EndReason::SourceFailed);
        if self.half == Half::Sound || ours_to_refuse {
            return Err(failure);
        }
        let missing_ms = i64::try_from(self.memos.sound.missing_for().as_millis()).unwrap_or(i64::MAX);
        if missing_ms < hls::audio_playlist_wait_ms(&picture.playlist) {
            return Err(failure);
        }
        self.say(&format!("its sound cannot be had, the picture goes on without: {}", failure.detail));
        self.without = Some((sound, Instant::now()));
        Ok(Found::Playlist(picture))
    }

    /// Whether the sound that it does without has come back.
    pub(super) async fn sound_is_back(&mut self) -> bool {
        let Some((sound, asked)) = &mut self.without else { return false };
        if asked.elapsed() < ASK_FOR_SOUND_EVERY {
            return false;
        }
        *asked = Instant::now();
        let sound = sound.clone();
        let back = async {
            let (bytes, found) = self.http.playlist(&sound).await.ok()?;
            match playlist::read(&bytes, &found)? {
                AnyPlaylist::Media(playlist) => Some(self.brings_sound(&playlist).await),
                AnyPlaylist::Master(_) => None,
            }
        };
        matches!(timeout(ASK_FOR_SOUND_FOR, back).await, Ok(Some(true)))
    }

    /// Whether sound that is done without can be had: not by its playlist, which an encoder that died leaves behind, and
    /// not by a chunk that begins and then stalls.
    async fn brings_sound(&self, playlist: &MediaPlaylist) -> bool {
        let given_up = self.memos.sound.given_up();
        let is_new = |segment: &&MediaSegment| given_up.as_ref().is_none_or(|given_up| given_up.ends_with(segment));
        // The newest one may be announced before it is there.
        for segment in playlist.segments.iter().rev().filter(|segment| !segment.gap).take_while(is_new).take(2) {
            if self.comes_whole(segment).await.unwrap_or(false) {
                return true;
            }
        }
        false
    }

    async fn comes_whole(&self, segment: &MediaSegment) -> Result<bool, Failure> {
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

    fn known(&self, url: Url, playlist: MediaPlaylist, at: Instant) -> Known {
        let dated = hls::dates_are_right(&playlist, self.now());
        Known { url, playlist, at, dated, news: false, refusals: 0 }
    }

    /// Reads the playlist again. Where its address is no longer good (a signature has run out, a restarted
    /// encoder has other names), it is looked for as at the start.
    pub(super) async fn reload(&mut self, known: &mut Known) -> Result<Again, Failure> {
        let at = Instant::now();
        if known.refusals >= REFUSALS {
            let newer = match (self.enter(self.http.first()?, 0).await?, self.half) {
                (Found::Playlist(all), Half::All | Half::Picture) => Some(all),
                (Found::Apart(picture, _), Half::Picture) => Some(picture),
                (Found::Apart(_, sound), Half::Sound) => Some(sound),
                _ => None,
            };
            return Ok(match newer {
                Some(newer) if newer.url.path() == known.url.path() => {
                    *known = newer;
                    Again::Same
                }
                _ => Again::Other,
            });
        }
        let answer = self.http.playlist(&known.url).await;
        let refused = answer.as_ref().is_err_and(|e| matches!(e.reason, EndReason::Http(401 | 403 | 404 | 410)));
        known.refusals = if refused { known.refusals + 1 } else { 0 };
        let (bytes, found) = answer?;
        match playlist::read(&bytes, &found) {
            Some(AnyPlaylist::Media(playlist)) => {
                *known = self.known(known.url.clone(), playlist, at);
                Ok(Again::Same)
            }
            _ => Err(no_media("the playlist is none any more")),
        }
    }

    /// As [`Life::enter`]. A stream that was there a moment ago, and is the only one, is asked for again at
    /// once and often: what leaves its window meanwhile is lost.
    pub(super) async fn enter_again(&mut self) -> Result<Found, Failure> {
        loop {
            let failure = match self.enter(self.http.first()?, 0).await {
                Ok(found) => return Ok(found),
                Err(failure) => failure,
            };
            if !self.ask.alone || !self.memos.picture.is_known() || self.is_over(&MediaPlaylist::default()) {
                return Err(failure);
            }
            self.say(&failure.detail);
            sleep(RETRY_MAX).await;
        }
    }
}
