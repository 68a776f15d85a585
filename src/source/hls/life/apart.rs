//! Sound with a playlist of its own.

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use super::{Failure, Item, Life};
use crate::domain::segment::EndReason;
use crate::domain::stream_url::StreamUrl;
use crate::source::SourceEnd;

impl Life {
    /// Sound with a playlist of its own: ffmpeg puts the two together. It knows nothing of going on where
    /// the last connection stopped.
    pub(super) async fn by_ffmpeg(&mut self, picture: &StreamUrl, sound: &StreamUrl) -> Result<SourceEnd, Failure> {
        self.say("its sound has a playlist of its own: recorded by ffmpeg");
        let mut running = match self.ffmpeg.open_both(picture, sound, &self.ask.label) {
            Ok(running) => running,
            Err(end) => return Ok(end),
        };
        let mut buffer = vec![0; 64 * 1024];
        let mut flowed = false;
        while let Ok(n @ 1..) = running.bytes.read(&mut buffer).await {
            self.send(Item::Bytes(Bytes::copy_from_slice(&buffer[..n]))).await?;
            flowed = true;
        }
        let mut end = running.ended.await.unwrap_or_default();
        if flowed {
            // Of a program's words only a failure of its own is sure: others may be about a try before.
            end.reason = end.reason.filter(|reason| *reason == EndReason::SourceFailed);
        }
        Ok(end)
    }
}
