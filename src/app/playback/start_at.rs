//! Where playback of a talk that is being recorded begins, as an instant.

use std::path::{Path, PathBuf};

use chrono::NaiveTime;

use crate::app::library::report::TalkView;
use crate::app::support::env::Env;
use crate::domain::segment::Segment;
use crate::domain::time::Ms;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the talk's slot.
    Start,
    /// At the newest.
    Live,
    /// At this time of day.
    At(NaiveTime),
}

/// The instant within the window, or the one nearest to it, at which clocks there show this time of day.
#[must_use]
pub fn instant(time: NaiveTime, view: &TalkView) -> Ms {
    let start = view.window.start.in_zone(view.event.zone).date_naive();
    let days = [start.pred_opt(), Some(start), start.succ_opt()];
    let instants = days.into_iter().flatten().filter_map(|day| {
        let local = day.and_time(time).and_local_timezone(view.event.zone).earliest()?;
        Some(Ms(local.timestamp_millis()))
    });
    let far = |at: &Ms| view.window.start.since(*at).max(at.since(view.window.end)).max(0);
    instants.min_by_key(far).unwrap_or(view.talk.slot.start)
}

/// Where the tape writes now, if it has begun to.
pub(super) fn newest_folder(env: &Env, segments: &[Segment]) -> Option<PathBuf> {
    let newest = segments.iter().max_by_key(|s| s.opened)?;
    env.data_dir.join(&newest.path).parent().map(Path::to_owned)
}
