//! What a stream's connections remember for the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::hls::MediaSegment;
use crate::plan::hls::{SegmentHistory, SegmentRef};

/// A rendition that was recorded and fails is waited for so long before another one is taken: less than the
/// patience with a stream that is the only one (`plan::hls::outage_limit_ms`), more than an encoder needs to start anew.
pub const LOST_TIMEOUT: Duration = Duration::from_secs(20);

/// What was recorded so long ago is of a talk before, and binds nobody to its rendition.
const RESUME_WINDOW: Duration = Duration::from_secs(60);

/// What was given up is not tried again before so long has passed; each further time twice as long, up to six times.
const RETRY_DELAY: Duration = Duration::from_secs(5);
const MAX_DOUBLINGS: u32 = 6;

/// The last media segment that a tape has read whole, and of which rendition. Clones are the same memory.
#[derive(Clone, Debug, Default)]
pub struct ResumeState(Arc<Mutex<SavedState>>);

/// Of a stream whose audio stands apart two are kept: each playlist has numbers of its own.
#[derive(Clone, Debug, Default)]
pub struct StreamResume {
    /// Of its video, or of all of it.
    pub video: ResumeState,
    /// Of its audio.
    pub audio: ResumeState,
}

impl StreamResume {
    /// Forgets: what was read may not have reached the disk.
    pub fn forget(&self) {
        self.video.forget();
        self.audio.forget();
    }
}

#[derive(Debug, Default)]
struct SavedState {
    last: Option<Last>,
    /// Since when the rendition of `last` cannot be had, and when that was seen last.
    missing: Option<(Instant, Instant)>,
    /// It was given up, and nothing good has come since.
    given_up: Option<AbandonedRendition>,
    /// One more for each connection that lives.
    lives: Arc<()>,
}

#[derive(Debug)]
struct Last {
    variant: String,
    history: SegmentHistory,
    at: Instant,
}

/// What was given up though the server has it: it brought nothing, or nothing that could be read.
#[derive(Clone, Debug)]
pub struct AbandonedRendition {
    /// What was taken of it last.
    last: Option<SegmentRef>,
    at: Instant,
    /// Number of times in a row that it was given up.
    times: u32,
}

impl AbandonedRendition {
    /// Whether a media segment, if it can be had, is a reason to try again.
    #[must_use]
    pub fn ends_with(&self, segment: &MediaSegment) -> bool {
        let wait = RETRY_DELAY * (1 << self.times.saturating_sub(1).min(MAX_DOUBLINGS));
        self.at.elapsed() >= wait && !self.last.as_ref().is_some_and(|last| last.has_name_of(segment))
    }
}

impl ResumeState {
    fn lock(&self) -> MutexGuard<'_, SavedState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was taken last of this variant; of another one, whose numbers may be others, nothing.
    #[must_use]
    pub fn of(&self, variant: &str) -> Option<SegmentHistory> {
        self.lock().last.as_ref().filter(|last| last.variant == variant).map(|last| last.history.clone())
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
    pub fn set(&self, variant: &str, history: SegmentHistory) {
        self.lock().last = Some(Last { variant: variant.to_owned(), history, at: Instant::now() });
    }

    /// Forgets: what was read may not have reached the disk.
    pub fn forget(&self) {
        self.lock().last = None;
    }

    /// A variant can be had.
    pub fn found(&self) {
        let mut memory = self.lock();
        (memory.missing, memory.given_up) = (None, None);
    }

    /// To be asked each time the variant of what was taken last cannot be had: whether it is to be given up.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.missing_for() >= LOST_TIMEOUT
    }

    /// How long the rendition of the last segment has been unavailable. To be called each time it is; the first call
    /// starts the clock.
    #[must_use]
    pub fn missing_for(&self) -> Duration {
        let (mut memory, now) = (self.lock(), Instant::now());
        // One that was missing for a moment long ago (another mirror stood in for it) has been missing for that long
        // only if somebody has looked.
        let since =
            memory.missing.filter(|(_, video_feed)| now - *video_feed < RESUME_WINDOW).map_or(now, |(since, _)| since);
        memory.missing = Some((since, now));
        now - since
    }

    /// It has been waited for long enough: the next one to ask gives it up, also where its playlist can be had.
    pub fn give_up(&self) {
        let (mut memory, now) = (self.lock(), Instant::now());
        let times = memory.given_up.as_ref().map_or(0, |before| before.times) + 1;
        memory.given_up = Some(AbandonedRendition {
            last: memory.last.as_ref().and_then(|last| last.history.last().cloned()),
            at: now,
            times,
        });
        memory.missing = Some((now.checked_sub(LOST_TIMEOUT).unwrap_or(now), now));
    }

    /// Whether it was given up. To be asked now and then: what nobody has asked about for long is tried anew.
    #[must_use]
    pub fn given_up(&self) -> Option<AbandonedRendition> {
        let (mut memory, now) = (self.lock(), Instant::now());
        match &mut memory.missing {
            Some((_, video_feed)) if now - *video_feed < RESUME_WINDOW => *video_feed = now,
            _ => memory.given_up = None,
        }
        memory.given_up.clone()
    }

    /// A connection begins, and lives as long as what is given back. True: it goes on with what one before
    /// it recorded a moment ago. (A second one beside one that lives is a handover: another file begins anyway.)
    #[must_use]
    pub fn start_session(&self) -> (Arc<()>, bool) {
        let memory = self.lock();
        let goes_on = Arc::strong_count(&memory.lives) == 1;
        let recent = memory.last.as_ref().is_some_and(|last| last.at.elapsed() < RESUME_WINDOW);
        (Arc::clone(&memory.lives), goes_on && recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(sequence: u64) -> SegmentHistory {
        let mut history = SegmentHistory::default();
        history.pass(&segment(sequence));
        history
    }

    fn segment(sequence: u64) -> MediaSegment {
        MediaSegment {
            sequence,
            url: format!("http://h/{sequence}.ts").parse().expect("an address"),
            range: None,
            duration_ms: 1_000,
            program_date_time: None,
            discontinuity: false,
            gap: false,
            key: None,
            map: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rendition_is_lost_when_it_has_failed_for_a_while() {
        let resume_state = ResumeState::default();
        assert!(!resume_state.is_lost());
        tokio::time::advance(LOST_TIMEOUT - Duration::from_millis(1)).await;
        assert!(!resume_state.is_lost());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(resume_state.is_lost());
        resume_state.found();
        assert!(!resume_state.is_lost(), "it came back");
        tokio::time::advance(RESUME_WINDOW).await;
        assert!(!resume_state.is_lost(), "nobody has looked in between");
        resume_state.give_up();
        assert!(resume_state.is_lost(), "waited for elsewhere");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_given_up_is_tried_again_with_something_new_and_ever_more_seldom() {
        let resume_state = ResumeState::default();
        resume_state.set("/a", passed(1));
        assert!(resume_state.given_up().is_none());
        for wait in [5, 10, 20] {
            resume_state.give_up();
            let ends_with = |segment| resume_state.given_up().expect("given up").ends_with(&segment);
            tokio::time::advance(Duration::from_secs(wait) - Duration::from_millis(1)).await;
            assert!(!ends_with(segment(2)), "too soon");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(ends_with(segment(2)) && !ends_with(segment(1)), "that is old");
        }
        tokio::time::advance(RESUME_WINDOW).await;
        assert!(resume_state.given_up().is_none(), "long ago");
        resume_state.give_up();
        resume_state.found();
        assert!(resume_state.given_up().is_none(), "it came back");
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_follows_at_once_goes_on() {
        let resume_state = ResumeState::default();
        assert!(!resume_state.start_session().1, "nothing was there");
        resume_state.set("/a", passed(1));
        let (life, goes_on) = resume_state.start_session();
        assert!(goes_on && !resume_state.start_session().1, "beside one that lives");
        drop(life);
        assert!(resume_state.start_session().1);
        tokio::time::advance(RESUME_WINDOW).await;
        assert!(!resume_state.start_session().1, "long ago");
        let last = |variant| resume_state.of(variant).and_then(|history| history.last().map(|last| last.sequence));
        assert_eq!((last("/a"), last("/b"), resume_state.variant().as_deref()), (Some(1), None, Some("/a")));
    }
}
