//! What `--version` says: enough for a report of a fault.

use std::sync::LazyLock;

use crate::domain::hall::Recorder;

/// The commit that the program is built from, with `-dirty` where its files were changed; empty: not known.
const COMMIT: &str = env!("STREAMRIP_COMMIT");

/// Version and commit in one line: `0.1.0 (commit 0123456789ab)`.
pub static SHORT: LazyLock<String> = LazyLock::new(|| short(COMMIT));

/// As [`SHORT`], with what it can record with, and how it was built.
pub static LONG: LazyLock<String> = LazyLock::new(|| {
    let recorders: Vec<String> = Recorder::ALL.iter().map(ToString::to_string).collect();
    let build = if cfg!(debug_assertions) { "for development" } else { "optimised" };
    format!(
        "{}\nrecorders: {} (mplayer and ffmpeg are programs of their own; streamrip check says whether they are there)\n\
         built: {build}, for {} on {}",
        *SHORT,
        recorders.join(", "),
        std::env::consts::ARCH,
        std::env::consts::OS,
    )
});

fn short(commit: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if commit.is_empty() { format!("{version} (unknown commit)") } else { format!("{version} (commit {commit})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_commit_is_said_to_be_unknown() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(short(""), format!("{version} (unknown commit)"));
        assert_eq!(short("0123456789ab-dirty"), format!("{version} (commit 0123456789ab-dirty)"));
        assert!(LONG.starts_with(&*SHORT) && LONG.contains("mplayer, ffmpeg, http, hls"), "{}", *LONG);
    }
}
