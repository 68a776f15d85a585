//! Use cases: one file each. They join the adapters and follow the plans; they print nothing.

pub mod check;
pub mod clock;
pub mod daemon;
pub mod disk;
pub mod env;
pub mod failure;
pub mod halls;
pub mod import;
pub mod index;
pub mod journal;
pub mod lock;
pub mod manual;
pub mod recover;
pub mod refresh;
pub mod report;

// STUBS
type Reader = std::sync::Arc<std::sync::Mutex<rusqlite::Connection>>;
use crate::catalog::writer::Writer;
pub mod assemble {
    use super::*;
    #[derive(Debug)]
    pub enum AssembleOutcome {
        Made { path: std::path::PathBuf },
        Nothing,
    }
    pub async fn assemble_talk(
        _: &env::Env,
        _: &Reader,
        _: &Writer,
        _: crate::domain::ids::TalkId,
        _force: bool,
        _: &mut (dyn FnMut(u64) + Send),
    ) -> failure::Result<AssembleOutcome> {
        Ok(AssembleOutcome::Nothing)
    }
    pub async fn assemble_now(_: &env::Env, _: crate::domain::ids::TalkId) -> failure::Result<AssembleOutcome> {
        Ok(AssembleOutcome::Nothing)
    }
    pub fn remove_half_made(_: &std::path::Path) {}
}
pub mod prune {
    use super::*;
    pub async fn prune(_: &env::Env, _: &Reader, _: &Writer, _dry: bool) -> failure::Result<()> {
        Ok(())
    }
}
