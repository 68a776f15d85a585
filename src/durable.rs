//! Names of files that survive a power cut: a directory's entry is on the disk only once the directory is synced.

use std::fs::File;
use std::io;
use std::path::Path;

/// Syncs the entries of a folder. The empty path is the working directory.
///
/// # Errors
/// When the folder is not there, or the disk refuses.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

/// Syncs the folder that a path lies in.
///
/// # Errors
/// As [`sync_folder`].
pub fn sync_parent(path: &Path) -> io::Result<()> {
    sync_folder(path.parent().unwrap_or(path))
}

/// Syncs a file's bytes and its name.
///
/// # Errors
/// When the file is not there, or the disk refuses.
pub fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    sync_parent(path)
}

/// Gives a file another name, in place of a file of that name if there is one; the old name is gone then. The file's bytes
/// must be synced already.
///
/// # Errors
/// When the file is not there, the names are on different file systems, or the disk refuses.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_parent(to)?;
    if from.parent() == to.parent() { Ok(()) } else { sync_parent(from) }
}

/// Gives a file a second name. A second name that the file has already is no error.
///
/// # Errors
/// When the file is not there, another file has that name, or the disk refuses.
pub fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let id = |path: &Path| path.symlink_metadata().map(|m| (m.dev(), m.ino()));
    match std::fs::hard_link(from, to) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists || id(from)? != id(to)? => return Err(e),
        _ => {}
    }
    sync_parent(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_replaced_and_a_second_name_may_be_there_already() {
        let dir = tempfile::tempdir().expect("dir");
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a"), b"a").expect("written");
        std::fs::write(at("b"), b"b").expect("written");
        sync_file(&at("a")).expect("synced");
        assert!(hard_link(&at("a"), &at("b")).is_err(), "another file has that name");
        hard_link(&at("a"), &at("c")).expect("linked");
        hard_link(&at("a"), &at("c")).expect("it has that name already");
        rename(&at("a"), &at("b")).expect("renamed");
        assert_eq!(std::fs::read(at("b")).expect("there"), b"a");
        assert!(!at("a").exists());
        std::fs::create_dir(at("folder")).expect("made");
        rename(&at("b"), &at("folder/b")).expect("moved");
        assert!(rename(&at("b"), &at("d")).is_err() && sync_parent(&at("gone/x")).is_err());
        sync_folder(Path::new("")).expect("the working directory");
    }
}
