//! Looks at the data directory before anything is written into it: a symbolic link in there would lead what
//! is written, renamed and deleted to a place outside.

use std::path::{Path, PathBuf};

use crate::app::support::failure::{Failure, Kind, Result};

/// Folders of ours, and how many levels of folders each has.
const FOLDERS: [(&str, usize); 4] = [("segments", 3), ("talks", 1), ("quarantine", 0), ("log", 0)];

/// What may be a link: a file that is only read.
const MAY_BE_A_LINK: &str = "streamrip.toml";

/// Makes sure that no folder of ours, and no file that lies in the data directory itself, is a link.
///
/// # Errors
/// When one is. A data directory that is not there yet, or cannot be read, is for others to complain about.
pub fn check(data_dir: &Path) -> Result<()> {
    links(data_dir)
        .filter(|path| path.file_name().is_none_or(|n| n != MAY_BE_A_LINK))
        .try_for_each(|link| refuse(&link))?;
    for (folder, levels) in FOLDERS {
        below(&data_dir.join(folder), levels)?;
    }
    Ok(())
}

fn below(folder: &Path, levels: usize) -> Result<()> {
    if levels == 0 {
        return Ok(());
    }
    links(folder).try_for_each(|link| refuse(&link))?;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below(&entry.path(), levels - 1)?;
        }
    }
    Ok(())
}

fn links(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_symlink())).map(|e| e.path())
}

fn refuse(link: &Path) -> Result<()> {
    let to = std::fs::read_link(link).unwrap_or_default();
    Err(Failure::new(
        Kind::Failed,
        format!("{} is a symbolic link (to {}): nothing is written through it", link.display(), to.display()),
    )
    .hint("remove the link; to keep recordings on another disk, name it with --data-dir, or mount it there (mount --bind)"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_to_places_outside_are_found_and_settings_may_be_one() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(check(&dir.path().join("missing")).is_ok());
        std::fs::create_dir_all(dir.path().join("segments/27c3/saal-1")).expect("made");
        symlink("/etc/hostname", dir.path().join("streamrip.toml")).expect("link");
        assert!(check(dir.path()).is_ok());
        for link in ["talks", "daemon.lock", "segments/28c3", "segments/27c3/saal-2", "segments/27c3/saal-1/2010-12-27"]
        {
            let link = dir.path().join(link);
            symlink("/tmp", &link).expect("link");
            let refused = check(dir.path()).expect_err("a link").to_string();
            assert!(refused.contains(&link.display().to_string()), "{refused}");
            std::fs::remove_file(link).expect("removed");
        }
        assert!(check(dir.path()).is_ok());
    }
}
