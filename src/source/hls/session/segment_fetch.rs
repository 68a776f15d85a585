//! One media segment as it comes: continued where it broke, decrypted, handed on.

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Ahead, HANDOFF_BYTES, PlaylistClient, SNIFF_BYTES, SegmentProgress, StreamPart, demuxed_audio, is_text, no_media,
    nobody_reads,
};
use crate::domain::hls::{InitSection, Key, MediaSegment};
use crate::domain::segment::EndReason;
use crate::plan::hls::SegmentRef;
use crate::source::hls::client::{FetchFailure, MAX_SEGMENT_BYTES};
use crate::source::hls::crypt::Cipher;
use crate::source::hls::feed::Item;

impl PlaylistClient {
    /// Hands on a segment, or the rest of it. `again`: it was passed before.
    pub(super) async fn fetch_segment(
        &mut self,
        segment: &MediaSegment,
        again: bool,
        dated: bool,
    ) -> Result<(), FetchFailure> {
        if segment.gap {
            self.leave_out(segment, again).await;
            return Ok(());
        }
        if self.progress.as_ref().is_none_or(|progress| !self.history.is_same(&progress.of, segment)) {
            self.progress = Some(SegmentProgress::new(SegmentRef::of(segment)));
        }
        let done = self.body(segment).await;
        if let (Err(_), Some(progress)) = (&done, &mut self.progress) {
            progress.failures += 1;
        }
        done?;
        if !again {
            self.history.pass(segment);
        }
        let end_date_time = segment.end_date_time().filter(|_| dated);
        self.send(Item::Whole(Box::new(self.history.clone()), end_date_time)).await?;
        self.progress = None;
        Ok(())
    }

    /// Passes a segment that cannot be had. Packed audio carries no timestamps, so that its file ends here: what was
    /// passed is remembered in its turn, or the next connection would begin before the hole for ever.
    pub(super) async fn leave_out(&mut self, segment: &MediaSegment, again: bool) {
        if !again {
            self.history.pass(segment);
        }
        self.has_hole = true;
        if self.part_of_stream != StreamPart::All && self.packed {
            // Where nobody reads any more the next segment says so.
            let _ = self.out.send(Item::Whole(Box::new(self.history.clone()), None)).await;
        }
    }

    async fn body(&mut self, segment: &MediaSegment) -> Result<(), FetchFailure> {
        let is_held = self.progress.as_ref().is_some_and(|progress| !progress.held.is_empty());
        let had = |map: &InitSection| is_held || self.map.as_ref().is_some_and(|had| had.is(map));
        if let Some(map) = segment.map.as_ref().filter(|map| !had(map)) {
            let mut bytes = self.http.map(&map.url, map.range).await?;
            if let Some(mut cipher) = self.cipher(map.key.as_ref(), segment.sequence).await? {
                bytes = cipher.push(&bytes);
                bytes.extend(cipher.finish().unwrap_or_default());
            }
            self.hand_on(segment, bytes.into()).await?;
            if !self.holds(segment) {
                self.map = Some(map.clone());
            }
        }
        let received = self.progress.as_ref().map_or(0, |progress| progress.received);
        if received == 0 {
            let cipher = self.cipher(segment.key.as_ref(), segment.sequence).await?;
            if let Some(progress) = &mut self.progress {
                progress.cipher = cipher;
            }
        }
        let is_ahead = |ahead: &mut Ahead| received == 0 && self.history.is_same(&ahead.of, segment);
        let (mut begin, mut body) = match self.ahead.take_if(is_ahead) {
            Some(ahead) => (Some(ahead.first), Some(ahead.body)),
            None => match self.http.segment(&segment.url, segment.range, received).await {
                // There is nothing behind what came: only its end was not told.
                Err(e) if e.reason == EndReason::Http(416) && received > 0 && segment.range.is_none() => (None, None),
                body => (None, Some(body?)),
            },
        };
        while let Some(body) = &mut body {
            let piece = match begin.take() {
                Some(begin) => begin,
                None => match body.next().await? {
                    Some(piece) => piece,
                    None => break,
                },
            };
            let Some(progress) = &mut self.progress else { return Ok(()) };
            if progress.received == 0 && segment.key.is_none() && is_text(&piece) {
                return Err(no_media("the server sent a web page or JSON instead of a media segment"));
            }
            progress.received += piece.len() as u64;
            if progress.received > MAX_SEGMENT_BYTES {
                return Err(no_media("a media segment is too large"));
            }
            let bytes = match &mut progress.cipher {
                Some(cipher) => cipher.push(&piece).into(),
                None => piece,
            };
            // Its first pieces may be shorter than that.
            progress.start.extend(bytes.iter().take(SNIFF_BYTES - progress.start.len()));
            self.packed |= demuxed_audio::is_packed(&progress.start);
            self.hand_on(segment, bytes).await?;
        }
        let Some(progress) = &mut self.progress else { return Ok(()) };
        if progress.received == 0 || segment.range.is_some_and(|range| progress.received < range.length) {
            return Err(FetchFailure {
                reason: EndReason::Network,
                detail: "the media segment is cut short".to_owned(),
            });
        }
        if let Some(cipher) = progress.cipher.take() {
            match cipher.finish() {
                Some(rest) => self.hand_on(segment, rest.into()).await?,
                None => self
                    .say(&format!("segment {}: wrong padding after decryption; is the key right?", segment.sequence)),
            }
        }
        if self.holds(segment) {
            let held = self.progress.as_mut().map(|progress| progress.held.split().freeze()).unwrap_or_default();
            self.send_at_once(held).await?;
            self.map.clone_from(&segment.map);
        }
        Ok(())
    }

    /// Bytes of a media segment, or of its map: at once, or to those that wait for its end.
    async fn hand_on(&mut self, segment: &MediaSegment, bytes: Bytes) -> Result<(), FetchFailure> {
        match &mut self.progress {
            Some(progress) if self.part_of_stream != StreamPart::All && segment.map.is_some() => {
                progress.held.extend_from_slice(&bytes);
                self.last_byte = Instant::now();
                Ok(())
            }
            _ => self.send(Item::Bytes(bytes)).await,
        }
    }

    async fn cipher(&mut self, key: Option<&Key>, sequence: u64) -> Result<Option<Cipher>, FetchFailure> {
        let (url, iv) = match key {
            Some(Key::Aes128 { url, iv }) => (url, iv.unwrap_or_else(|| Cipher::iv_of(sequence))),
            None | Some(Key::Other(_)) => return Ok(None),
        };
        let key = match &self.key {
            Some((of, key)) if of == url => *key,
            _ => self.http.key(url).await?,
        };
        self.key = Some((url.clone(), key));
        Ok(Some(Cipher::new(key, iv)))
    }

    async fn send(&mut self, item: Item) -> Result<(), FetchFailure> {
        if matches!(&item, Item::Bytes(bytes) if bytes.is_empty()) {
            return Ok(());
        }
        let sent = self.out.send(item).await;
        self.last_byte = Instant::now();
        sent.map_err(|_| nobody_reads())
    }

    /// All of it or, where this is given up before there is room for all, nothing.
    async fn send_at_once(&mut self, bytes: Bytes) -> Result<(), FetchFailure> {
        let piece = bytes.len().div_ceil(self.out.max_capacity().div_ceil(2)).max(HANDOFF_BYTES);
        let room = self.out.reserve_many(bytes.len().div_ceil(piece)).await.map_err(|_| nobody_reads())?;
        for (n, room) in room.enumerate() {
            room.send(Item::Bytes(bytes.slice(n * piece..bytes.len().min((n + 1) * piece))));
        }
        self.last_byte = Instant::now();
        Ok(())
    }
}
