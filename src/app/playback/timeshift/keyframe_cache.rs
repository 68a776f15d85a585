//! What was found in segments so far: each byte is looked at once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::transmux::{MAX_IDLE, TransmuxCache};
use crate::app::support::env::Env;
use crate::domain::ids::SegmentId;
use crate::domain::segment::Segment;
use crate::domain::time::Ms;
use crate::media::mpegts::Scan;

/// Segments whose cuts are remembered; of more, those that were looked at last. A cut takes 48 bytes, and one a second of
/// four days makes 17 MB.
const MAX_SEGMENTS: usize = 4096;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// The cuts of segments, as far as these have been written.
#[derive(Debug, Default)]
pub struct KeyframeCache {
    known: Mutex<ScanCache>,
    /// What is not MPEG-TS, made anew; `None`: it is passed over.
    pub(super) transmuxes: Option<TransmuxCache>,
}

/// What is known of a segment.
#[derive(Debug, Default)]
pub(super) struct ScannedSegment {
    /// Where it may be cut.
    pub scan: Scan,
    /// Wall time of its first cut, once that is decided.
    pub begin: Option<Ms>,
}

#[derive(Debug, Default)]
struct ScanCache {
    all: HashMap<SegmentId, (u64, Arc<Mutex<ScannedSegment>>)>,
    /// Counts looks, which tells the one that was longest ago.
    looks: u64,
}

impl ScanCache {
    fn of(&mut self, segment: SegmentId, remembered: usize) -> Arc<Mutex<ScannedSegment>> {
        self.looks += 1;
        if self.all.len() >= remembered
            && !self.all.contains_key(&segment)
            && let Some(oldest) = self.all.iter().min_by_key(|(_, (look, _))| *look).map(|(id, _)| *id)
        {
            self.all.remove(&oldest);
        }
        let (look, looked) = self.all.entry(segment).or_default();
        *look = self.looks;
        Arc::clone(looked)
    }
}

impl KeyframeCache {
    /// For browsers: other containers than MPEG-TS are made into what they play, while somebody watches.
    #[must_use]
    pub fn for_browsers() -> Self {
        Self { transmuxes: Some(TransmuxCache::default()), ..Self::default() }
    }

    /// Lets go what was made for those who have stopped watching. To be called every few seconds.
    pub fn tidy(&self, env: &Env) {
        if let Some(transmuxes) = &self.transmuxes {
            transmuxes.tidy(env, MAX_IDLE);
        }
    }

    /// Looks at a segment as far as it has been written. `None`: its file cannot be read; the gap and its cause are told
    /// elsewhere.
    pub(super) fn look<T>(
        &self,
        data_dir: &Path,
        segment: &Segment,
        then: impl FnOnce(&mut ScannedSegment) -> T,
    ) -> Option<T> {
        let looked = self.known.lock().unwrap_or_else(PoisonError::into_inner).of(segment.id, MAX_SEGMENTS);
        let mut looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
        go_on(&mut looked.scan, &data_dir.join(&segment.path)).ok()?;
        Some(then(&mut looked))
    }
}

fn go_on(scan: &mut Scan, path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() <= scan.taken() {
        return Ok(());
    }
    file.seek(SeekFrom::Start(scan.taken()))?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            n => scan.feed(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_at_longest_ago_is_forgotten_and_nothing_else() {
        let mut known = ScanCache::default();
        let kept: Vec<_> = (0..3).map(|n| known.of(SegmentId(n), 3)).collect();
        let _ = known.of(SegmentId(0), 3);
        let _ = known.of(SegmentId(9), 3);
        assert!(!known.all.contains_key(&SegmentId(1)));
        for n in [0, 2] {
            assert!(Arc::ptr_eq(&kept[n], &known.of(SegmentId(n as i64), 3)), "{n}");
        }
    }
}
