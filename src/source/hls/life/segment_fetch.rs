//! One chunk as it comes: continued where it broke, decrypted, handed on.

use bytes::Bytes;
use tokio::time::Instant;

use super::{Half, Life, PIECE, Part, START, apart, is_text, no_media, nobody_reads};
use crate::domain::hls::{InitSection, Key, MediaSegment};
use crate::domain::segment::EndReason;
use crate::plan::hls::SegmentRef;
use crate::source::hls::client::{Body, Failure, MAX_CHUNK};
use crate::source::hls::crypt::Cipher;
use crate::source::hls::feed::Item;

impl Life {
    /// Hands on a chunk, or the rest of it.
    pub(super) async fn take(&mut self, segment: &MediaSegment, dated: bool) -> Result<(), Failure> {
        let taken = SegmentRef::of(segment);
        if self.part.as_ref().is_none_or(|part| !part.of.is(segment)) {
            self.part = Some(Part::new(taken.clone()));
        }
        if !segment.gap {
            let done = self.body(segment).await;
            if let (Err(_), Some(part)) = (&done, &mut self.part) {
                part.failures += 1;
            }
            done?;
            let end_date_time = segment.end_date_time().filter(|_| dated);
            self.send(Item::Whole(taken, end_date_time)).await?;
        } else {
            self.skipped(&taken).await;
        }
        self.part = None;
        Ok(())
    }

    /// Where a file must have no hole the next connection, which the hole begins, begins behind it, or nobody would
    /// ever come past it. In its turn: what is on its way has still to be remembered before.
    pub(super) async fn skipped(&self, segment: &SegmentRef) {
        if self.half != Half::All && self.packed {
            // Where nobody reads any more the next chunk says so.
            let _ = self.out.send(Item::Whole(segment.clone(), None)).await;
        }
    }

    async fn body(&mut self, segment: &MediaSegment) -> Result<(), Failure> {
        let is_held = self.part.as_ref().is_some_and(|part| !part.held.is_empty());
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
        let received = self.part.as_ref().map_or(0, |part| part.received);
        if received == 0 {
            let cipher = self.cipher(segment.key.as_ref(), segment.sequence).await?;
            if let Some(part) = &mut self.part {
                part.cipher = cipher;
            }
        }
        let mut body: Option<Body> = match self.http.segment(&segment.url, segment.range, received).await {
            // There is nothing behind what came: only its end was not told.
            Err(e) if e.reason == EndReason::Http(416) && received > 0 && segment.range.is_none() => None,
            body => Some(body?),
        };
        while let Some(body) = &mut body
            && let Some(piece) = body.next().await?
        {
            let Some(part) = &mut self.part else { return Ok(()) };
            if part.received == 0 && segment.key.is_none() && is_text(&piece) {
                return Err(no_media("a web page or JSON came instead of a chunk"));
            }
            part.received += piece.len() as u64;
            if part.received > MAX_CHUNK {
                return Err(no_media("a chunk without end"));
            }
            let bytes = match &mut part.cipher {
                Some(cipher) => cipher.push(&piece).into(),
                None => piece,
            };
            // Its first pieces may be shorter than that.
            part.start.extend(bytes.iter().take(START - part.start.len()));
            self.packed |= apart::is_packed(&part.start);
            self.hand_on(segment, bytes).await?;
        }
        let Some(part) = &mut self.part else { return Ok(()) };
        if part.received == 0 || segment.range.is_some_and(|range| part.received < range.length) {
            return Err(Failure { reason: EndReason::Network, detail: "the chunk is cut short".to_owned() });
        }
        if let Some(cipher) = part.cipher.take() {
            match cipher.finish() {
                Some(rest) => self.hand_on(segment, rest.into()).await?,
                None => self.say(&format!("chunk {}: its padding is wrong; is it the right key?", segment.sequence)),
            }
        }
        if self.holds(segment) {
            let held = self.part.as_mut().map(|part| part.held.split().freeze()).unwrap_or_default();
            self.send_at_once(held).await?;
            self.map.clone_from(&segment.map);
        }
        Ok(())
    }

    /// Bytes of a chunk, or of its map: at once, or to those that wait for its end.
    async fn hand_on(&mut self, segment: &MediaSegment, bytes: Bytes) -> Result<(), Failure> {
        match &mut self.part {
            Some(part) if self.half != Half::All && segment.map.is_some() => {
                part.held.extend_from_slice(&bytes);
                self.last_byte = Instant::now();
                Ok(())
            }
            _ => self.send(Item::Bytes(bytes)).await,
        }
    }

    async fn cipher(&mut self, key: Option<&Key>, sequence: u64) -> Result<Option<Cipher>, Failure> {
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

    async fn send(&mut self, item: Item) -> Result<(), Failure> {
        if matches!(&item, Item::Bytes(bytes) if bytes.is_empty()) {
            return Ok(());
        }
        let sent = self.out.send(item).await;
        self.last_byte = Instant::now();
        sent.map_err(|_| nobody_reads())
    }

    /// All of it or, where this is given up before there is room for all, nothing.
    async fn send_at_once(&mut self, bytes: Bytes) -> Result<(), Failure> {
        let piece = bytes.len().div_ceil(self.out.max_capacity().div_ceil(2)).max(PIECE);
        let room = self.out.reserve_many(bytes.len().div_ceil(piece)).await.map_err(|_| nobody_reads())?;
        for (n, room) in room.enumerate() {
            room.send(Item::Bytes(bytes.slice(n * piece..bytes.len().min((n + 1) * piece))));
        }
        self.last_byte = Instant::now();
        Ok(())
    }
}
