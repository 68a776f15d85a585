//! The file system, as far as a tape needs it. A trait, so that tests can fill the disk.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

/// Makes files below a data directory. All functions may block.
pub trait Disk: Send + Sync + fmt::Debug {
    /// True where there is something at `path` (relative to `data_dir`) already.
    fn exists(&self, data_dir: &Path, path: &Path) -> bool;

    /// Makes a new file at `path`, relative to `data_dir`, with the directories to it, and makes sure that
    /// its name survives a power cut.
    ///
    /// # Errors
    /// When it exists, leads out of the data directory, or cannot be made.
    fn create(&self, data_dir: &Path, path: &Path) -> io::Result<Box<dyn DiskFile>>;
}

/// A file that is being written.
pub trait DiskFile: Send {
    /// As [`io::Write::write`].
    ///
    /// # Errors
    /// When nothing could be written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// What was written is on the disk afterwards.
    ///
    /// # Errors
    /// When the disk says no.
    fn sync(&mut self) -> io::Result<()>;
}

/// The real one.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn exists(&self, data_dir: &Path, path: &Path) -> bool {
        data_dir.join(path).symlink_metadata().is_ok()
    }

    fn create(&self, data_dir: &Path, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if !path.components().all(|c| matches!(c, Component::Normal(_))) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path outside the data directory"));
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = make_dirs(data_dir, path.parent().unwrap_or(Path::new("")))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&dir, name, flags, Mode::from_raw_mode(0o644))?;
        dir.sync_all()?;
        Ok(Box::new(RealFile(file.into())))
    }
}

/// Opens the directory `path` below `data_dir`, and makes what is missing of it so that it survives a power
/// cut. No symbolic link is followed below the data directory: what is recorded stays inside it.
///
/// # Errors
/// When the data directory is gone (a disk that was not mounted is not made anew here), or a part of the
/// path is a link or no directory, or leads out, or cannot be made.
pub fn make_dirs(data_dir: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = File::from(rustix::fs::open(data_dir, flags, Mode::empty())?);
    for part in path.components() {
        let Component::Normal(name) = part else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path outside the data directory"));
        };
        match mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => dir.sync_all()?,
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        dir = match openat(&dir, name, flags | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(inner) => inner.into(),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                let what = format!("{} is a symbolic link or no directory", name.to_string_lossy());
                return Err(io::Error::new(io::ErrorKind::NotADirectory, what));
            }
            Err(e) => return Err(e.into()),
        };
    }
    Ok(dir)
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_once_inside_the_data_directory_and_nowhere_else() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("dir");
        let path = Path::new("segments/27c3/saal-1/a.ts");
        let mut file = RealDisk.create(dir.path(), path).expect("made");
        assert_eq!(file.write(b"media").expect("written"), 5);
        file.sync().expect("synced");
        assert_eq!(std::fs::read(dir.path().join(path)).expect("there"), b"media");
        let mode = dir.path().join(path).metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777 & !0o644, 0);
        assert!(RealDisk.exists(dir.path(), path));
        let again = RealDisk.create(dir.path(), path).err().expect("exists");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        std::os::unix::fs::symlink("/nonexistent", dir.path().join("link")).expect("link");
        assert!(RealDisk.exists(dir.path(), Path::new("link")));
        for bad in ["../x", "/tmp/x", "a/../../x", "link"] {
            assert!(RealDisk.create(dir.path(), Path::new(bad)).is_err(), "{bad}");
        }
        assert!(RealDisk.create(&dir.path().join("gone"), path).is_err());
    }

    #[test]
    fn no_link_is_followed_below_the_data_directory() {
        let (dir, outside) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        std::fs::create_dir(dir.path().join("segments")).expect("made");
        std::os::unix::fs::symlink(outside.path(), dir.path().join("segments/27c3")).expect("link");
        let refused = RealDisk.create(dir.path(), Path::new("segments/27c3/saal-1/a.ts")).err().expect("a link");
        assert!(refused.to_string().contains("27c3 is a symbolic link"), "{refused}");
        assert!(make_dirs(dir.path(), Path::new("segments/../..")).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).expect("there").count(), 0);
        // The data directory itself may be one: that is where the user wants it.
        let alias = outside.path().join("alias");
        std::os::unix::fs::symlink(dir.path(), &alias).expect("link");
        assert!(RealDisk.create(&alias, Path::new("segments/x/a.ts")).is_ok());
    }
}
