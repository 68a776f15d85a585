//! What every use case needs.

use std::path::PathBuf;
use std::sync::Arc;

use crate::app::support::clock::{Clock, SystemClock};
use crate::domain::settings::Settings;
use crate::media::engine::{Ffmpeg, MediaEngine};

/// Where the data is, what is set, what time it is.
#[derive(Clone, Debug)]
pub struct Env {
    /// Absolute path of the data directory: `catalog.db`, `segments/`, `talks/`, `log/`.
    pub data_dir: PathBuf,
    /// Settings in force.
    pub settings: Settings,
    /// Source of wall-clock and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// What looks at media and joins it.
    pub engine: Arc<dyn MediaEngine>,
}

impl Env {
    /// With the system's clock and with ffmpeg.
    #[must_use]
    pub fn real(data_dir: PathBuf, settings: Settings) -> Self {
        Self { data_dir, settings, clock: Arc::new(SystemClock), engine: Arc::new(Ffmpeg) }
    }
}
