//! What every use case needs.

use std::path::PathBuf;
use std::sync::Arc;

use super::clock::Clock;
use crate::domain::settings::Settings;

/// Where the data is, what is set, what time it is.
#[derive(Clone, Debug)]
pub struct Env {
    /// Absolute path of the data directory: `catalog.db`, `segments/`, `talks/`, `log/`.
    pub data_dir: PathBuf,
    /// In force.
    pub settings: Settings,
    /// Time.
    pub clock: Arc<dyn Clock>,
}
