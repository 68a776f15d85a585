//! Looks at media and joins it: the two things for which ffmpeg is needed after the recording.

use std::fmt;
use std::path::{Path, PathBuf};

use super::join::{JoinJob, Joined};
use super::unheld::{Unheld, unheld};
use super::{CancellationToken, Result, index, join};
use crate::domain::media::{MediaIndex, PacketWindow};
use crate::domain::segment::Mark;

/// What makes indexes and assemblies. A trait, so that a simulation can do without ffmpeg. All functions
/// block.
pub trait MediaEngine: Send + Sync + fmt::Debug {
    /// What is in a segment's file; `marks` say when its bytes came, `donors` are earlier files of its stream, the
    /// last one first.
    ///
    /// # Errors
    /// As [`index::index`].
    fn index(&self, path: &Path, marks: &[Mark], donors: &[PathBuf], cancel: &CancellationToken) -> Result<MediaIndex>;

    /// Packets from the middle of a segment that was indexed.
    ///
    /// # Errors
    /// As [`index::windows`].
    fn windows(
        &self,
        path: &Path,
        index: &MediaIndex,
        stretches: &[(i64, i64)],
        cancel: &CancellationToken,
    ) -> Result<Vec<PacketWindow>>;

    /// Makes the file of a plan. `progress` is told how many milliseconds of it are written.
    ///
    /// # Errors
    /// As [`join::join`].
    fn join(&self, job: &JoinJob, progress: &mut dyn FnMut(u64), cancel: &CancellationToken) -> Result<Joined>;

    /// Which packets of a segment that was indexed stand in none of these joined files.
    ///
    /// # Errors
    /// As [`unheld`].
    fn unheld(&self, path: &Path, index: &MediaIndex, files: &[PathBuf], cancel: &CancellationToken) -> Result<Unheld>;
}

/// The real one, with ffmpeg.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ffmpeg;

impl MediaEngine for Ffmpeg {
    fn index(&self, path: &Path, marks: &[Mark], donors: &[PathBuf], cancel: &CancellationToken) -> Result<MediaIndex> {
        index::index(path, marks, donors, cancel)
    }

    fn windows(
        &self,
        path: &Path,
        index: &MediaIndex,
        stretches: &[(i64, i64)],
        cancel: &CancellationToken,
    ) -> Result<Vec<PacketWindow>> {
        index::windows(path, index, stretches, cancel)
    }

    fn join(&self, job: &JoinJob, progress: &mut dyn FnMut(u64), cancel: &CancellationToken) -> Result<Joined> {
        join::join(job, progress, cancel)
    }

    fn unheld(&self, path: &Path, index: &MediaIndex, files: &[PathBuf], cancel: &CancellationToken) -> Result<Unheld> {
        unheld(path, index, files, cancel)
    }
}
