//! Stands in for ffmpeg after the recording: looks at the packets themselves, and makes files that are a list
//! of the frames which a plan takes. How a file gets its name is the real thing.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use streamrip::domain::media::{MediaIndex, Packet, PacketWindow};
use streamrip::domain::segment::Mark;
use streamrip::domain::time::Ms;
use streamrip::media::engine::MediaEngine;
use streamrip::media::join::{JoinJob, Joined, publish};
use streamrip::media::unheld::Unheld;
use streamrip::media::{CancellationToken, MediaError, Result};
use streamrip::plan::edit_filter::EditFilter;
use streamrip::plan::presented::Presenter;

use crate::indexer;

/// A frame: twice the number of its hall's server, and one more in the other container; and its number on
/// that server's stream.
pub type Frame = (u8, i64);

/// The stand-in.
#[derive(Clone, Copy, Debug)]
pub struct SimStudio {
    pub period_ms: i64,
}

impl MediaEngine for SimStudio {
    fn index(&self, path: &Path, marks: &[Mark], _: &[PathBuf], _: &CancellationToken) -> Result<MediaIndex> {
        let bytes = read(path)?;
        Ok(indexer::index(&bytes, marks, marks.first().map_or(Ms(0), |m| m.at), self.period_ms))
    }

    fn windows(
        &self,
        path: &Path,
        _: &MediaIndex,
        stretches: &[(i64, i64)],
        _: &CancellationToken,
    ) -> Result<Vec<PacketWindow>> {
        let packets = indexer::packets(&read(path)?, self.period_ms);
        let windows = stretches.iter().map(|(from_ms, to_ms)| {
            let before = packets.iter().take_while(|p| p.pts_ms < *from_ms).count();
            let inside = packets[before..].iter().take_while(|p| p.pts_ms < *to_ms);
            PacketWindow {
                from_ms: *from_ms,
                to_ms: *to_ms,
                before: vec![before as u64],
                packets: inside.copied().collect(),
            }
        });
        Ok(windows.collect())
    }

    fn join(&self, job: &JoinJob, _: &mut dyn FnMut(u64), cancel: &CancellationToken) -> Result<Joined> {
        let mut presenter = Presenter::new(&job.plan);
        let ((), bytes, sha256) = publish(&job.target, cancel, |mut file, temp| {
            let at = |source| MediaError::File { path: temp.to_owned(), source };
            for run in job.plan.clips.chunk_by(|a, b| a.segment == b.segment) {
                let (path, index) = &job.sources[&run[0].segment];
                let frames = frames_of(&read(path)?);
                let known: u64 = index.tracks.iter().map(|t| t.packets).sum();
                if known != frames.len() as u64 {
                    return Err(MediaError::Stale {
                        path: path.clone(),
                        detail: "another number of frames".to_owned(),
                    });
                }
                let mut filter = EditFilter::new(run);
                for (n, frame) in (0..).zip(frames) {
                    let at_ms = frame.1 * self.period_ms;
                    if let Some((track, pts_ms)) = filter.apply(1, n, at_ms, true) {
                        let duration_ms = self.period_ms;
                        let packet = Packet { track, pts_ms, duration_ms, key: true, size: 1, hash: 0 };
                        presenter.add(run[0].segment, pts_ms - at_ms, packet);
                        let mut record = [0; 9];
                        record[0] = frame.0;
                        record[1..].copy_from_slice(&frame.1.to_be_bytes());
                        file.write_all(&record).map_err(at)?;
                    }
                }
            }
            Ok((file, ()))
        })?;
        let presented = presenter.finish();
        let duration_ms = job.plan.duration_ms;
        Ok(Joined { bytes, sha256, duration_ms, dropped: 0, presented, undecodable: Vec::new() })
    }

    fn unheld(&self, path: &Path, _: &MediaIndex, files: &[PathBuf], _: &CancellationToken) -> Result<Unheld> {
        let mut out = Unheld::default();
        let mut held: HashSet<Frame> = HashSet::new();
        for file in files {
            let bytes = read(file)?;
            held.extend(joined_frames(&bytes));
            out.files.push(Sha256::digest(&bytes).into());
        }
        let bytes = read(path)?;
        let packets = indexer::packets(&bytes, self.period_ms);
        let frames = frames_of(&bytes).into_iter().zip(packets);
        out.packets = frames.filter(|(frame, _)| !held.contains(frame)).map(|(_, packet)| packet).collect();
        Ok(out)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| MediaError::File { path: path.to_owned(), source })
}

/// The frames of a segment's file.
pub fn frames_of(bytes: &[u8]) -> Vec<Frame> {
    let tag = bytes.get(20).copied().unwrap_or_default() * 2 + u8::from(bytes.starts_with(b"fLaC"));
    indexer::frames(bytes).into_iter().map(|(frame, _)| (tag, frame)).collect()
}

/// The frames of a file that [`SimStudio`] made.
pub fn joined_frames(bytes: &[u8]) -> Vec<Frame> {
    let records = bytes.chunks_exact(9);
    records.map(|r| (r[0], i64::from_be_bytes(r[1..].try_into().expect("8 bytes")))).collect()
}
