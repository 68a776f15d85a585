//! Packets as a Matroska stream without an end, each written when it comes.

use std::io::{self, Write};

use super::ebml::{self, id};
use super::mux::{Block, ebml_head};
use super::track::TrackEntry;

/// A size that is not known.
const UNKNOWN: u64 = (1 << 56) - 1;

/// A cluster ends after this time, milliseconds: blocks name their time as 16 bits beside the cluster's.
const CLUSTER_MS: i64 = 5000;

/// Writes a stream. Its tracks are numbered from 1.
#[derive(Debug)]
pub struct LiveMux {
    formats: Vec<u64>,
    cluster_ms: Option<i64>,
}

impl LiveMux {
    /// Begins a stream with these tracks.
    ///
    /// # Errors
    /// What the writer says.
    pub fn begin(out: &mut dyn Write, tracks: &[&TrackEntry]) -> io::Result<Self> {
        let mut bytes = ebml_head();
        ebml::put_id(&mut bytes, id::SEGMENT);
        ebml::put_wide_size(&mut bytes, UNKNOWN);
        ebml::put_master(&mut bytes, id::INFO, |out| {
            let app = concat!("streamrip ", env!("CARGO_PKG_VERSION"));
            ebml::put_small_uint(out, id::TIMESTAMP_SCALE, 1_000_000);
            ebml::put(out, id::MUXING_APP, app.as_bytes());
            ebml::put(out, id::WRITING_APP, app.as_bytes());
        });
        ebml::put_master(&mut bytes, id::TRACKS, |out| {
            for (number, track) in (1..).zip(tracks) {
                track.write(out, number);
            }
        });
        out.write_all(&bytes)?;
        Ok(Self { formats: tracks.iter().map(|t| t.format_hash()).collect(), cluster_ms: None })
    }

    /// True where packets of these tracks may go on in this stream.
    #[must_use]
    pub fn fits(&self, tracks: &[&TrackEntry]) -> bool {
        tracks.iter().map(|t| t.format_hash()).eq(self.formats.iter().copied())
    }

    /// What is written next begins a cluster: the stream may be cut before it.
    pub fn cut(&mut self) {
        self.cluster_ms = None;
    }

    /// Writes a packet. `leads`: its track is the one that players seek by.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&mut self, out: &mut dyn Write, block: &Block, leads: bool) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(block.payload.len() + 32);
        let at = block.pts_ms.max(0);
        let start = match self.cluster_ms {
            Some(start) if (at - start).abs() < CLUSTER_MS && !(leads && block.key && at > start + 500) => start,
            _ => {
                ebml::put_id(&mut bytes, id::CLUSTER);
                ebml::put_wide_size(&mut bytes, UNKNOWN);
                ebml::put_small_uint(&mut bytes, id::TIMESTAMP, at.cast_unsigned());
                self.cluster_ms = Some(at);
                at
            }
        };
        let mut content = Vec::with_capacity(block.payload.len() + 4);
        ebml::put_size(&mut content, u64::from(block.track));
        content.extend_from_slice(&i16::try_from(at - start).unwrap_or_default().to_be_bytes());
        content.push(if block.key { 0x80 } else { 0 });
        content.extend_from_slice(&block.payload);
        ebml::put(&mut bytes, id::SIMPLE_BLOCK, &content);
        out.write_all(&bytes)
    }
}
