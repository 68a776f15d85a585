//! What a stream's connections remember for the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::plan::hls::Taken;

/// A rendition that was recorded and fails is waited for so long before another one is taken: less than the
/// patience with a stream that is the only one (`plan::hls::patience`), more than an encoder needs to start anew.
pub const LOST_AFTER: Duration = Duration::from_secs(20);

/// What was recorded so long ago is of a talk before, and binds nobody to its rendition.
const RECENT: Duration = Duration::from_secs(60);

/// The last chunk that a tape has read whole, and of which rendition. Clones are the same memory.
#[derive(Clone, Debug, Default)]
pub struct Memo(Arc<Mutex<Memory>>);

/// Of a stream whose sound stands apart two are kept: each playlist has numbers of its own.
#[derive(Clone, Debug, Default)]
pub struct Memos {
    /// Of its picture, or of all of it.
    pub picture: Memo,
    /// Of its sound.
    pub sound: Memo,
}

impl Memos {
    /// Forgets: what was read may not have reached the disk.
    pub fn forget(&self) {
        self.picture.forget();
        self.sound.forget();
    }
}

#[derive(Debug, Default)]
struct Memory {
    last: Option<Last>,
    /// Since when the rendition of `last` cannot be had, and when that was seen last.
    missing: Option<(Instant, Instant)>,
    /// One more for each connection that lives.
    lives: Arc<()>,
}

#[derive(Debug)]
struct Last {
    variant: String,
    taken: Taken,
    at: Instant,
}

impl Memo {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was taken last of this variant; of another one, whose numbers may be others, nothing.
    #[must_use]
    pub fn of(&self, variant: &str) -> Option<Taken> {
        self.lock().last.as_ref().filter(|last| last.variant == variant).map(|last| last.taken.clone())
    }

    /// The variant of what was taken last.
    #[must_use]
    pub fn variant(&self) -> Option<String> {
        self.lock().last.as_ref().map(|last| last.variant.clone())
    }

    /// True where anything was taken.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.lock().last.is_some()
    }

    /// Remembers one.
    pub fn set(&self, variant: &str, taken: Taken) {
        self.lock().last = Some(Last { variant: variant.to_owned(), taken, at: Instant::now() });
    }

    /// Forgets: what was read may not have reached the disk.
    pub fn forget(&self) {
        self.lock().last = None;
    }

    /// A variant can be had.
    pub fn found(&self) {
        self.lock().missing = None;
    }

    /// To be asked each time the variant of what was taken last cannot be had: whether it is to be given up.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let (mut memory, now) = (self.lock(), Instant::now());
        // One that was missing for a moment long ago (another mirror stood in for it) has been missing for that long
        // only if somebody has looked.
        let since = memory.missing.filter(|(_, seen)| now - *seen < RECENT).map_or(now, |(since, _)| since);
        memory.missing = Some((since, now));
        now - since >= LOST_AFTER
    }

    /// It has been waited for long enough: the next one to ask gives it up.
    pub fn lose(&self) {
        let now = Instant::now();
        self.lock().missing = Some((now.checked_sub(LOST_AFTER).unwrap_or(now), now));
    }

    /// A connection begins, and lives as long as what is given back. True: it goes on with what one before
    /// it recorded a moment ago. (A second one beside one that lives is a handover: another file begins anyway.)
    #[must_use]
    pub fn begin(&self) -> (Arc<()>, bool) {
        let memory = self.lock();
        let goes_on = Arc::strong_count(&memory.lives) == 1;
        let recent = memory.last.as_ref().is_some_and(|last| last.at.elapsed() < RECENT);
        (Arc::clone(&memory.lives), goes_on && recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken() -> Taken {
        Taken { sequence: 1, name: "1.ts".to_owned(), made: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rendition_is_lost_when_it_has_failed_for_a_while() {
        let memo = Memo::default();
        assert!(!memo.is_lost());
        tokio::time::advance(LOST_AFTER - Duration::from_millis(1)).await;
        assert!(!memo.is_lost());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(memo.is_lost());
        memo.found();
        assert!(!memo.is_lost(), "it came back");
        tokio::time::advance(RECENT).await;
        assert!(!memo.is_lost(), "nobody has looked in between");
        memo.lose();
        assert!(memo.is_lost(), "waited for elsewhere");
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_follows_at_once_goes_on() {
        let memo = Memo::default();
        assert!(!memo.begin().1, "nothing was there");
        memo.set("/a", taken());
        let (life, goes_on) = memo.begin();
        assert!(goes_on && !memo.begin().1, "beside one that lives");
        drop(life);
        assert!(memo.begin().1);
        tokio::time::advance(RECENT).await;
        assert!(!memo.begin().1, "long ago");
        assert_eq!((memo.of("/a"), memo.of("/b"), memo.variant().as_deref()), (Some(taken()), None, Some("/a")));
    }
}
