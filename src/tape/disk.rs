//! The file system, as far as a tape needs it. A trait, so that tests can fill the disk.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};

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
        // A data directory that is gone (a disk that was not mounted) is not made anew here.
        let mut dir = data_dir.to_owned();
        for part in path.parent().into_iter().flat_map(Path::components) {
            let parent = dir.clone();
            dir.push(part);
            match DirBuilder::new().mode(0o755).create(&dir) {
                Ok(()) => File::open(parent)?.sync_all()?,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default())
            .open(data_dir.join(path))?;
        File::open(dir)?.sync_all()?;
        Ok(Box::new(RealFile(file)))
    }
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
}
