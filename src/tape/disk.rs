//! The file system, as far as a tape needs it. A trait, so that tests can fill the disk.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

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

    /// Looks whether the file is still there under its name with the `written` bytes that it was given. One whose name is
    /// gone is written out again, from what is open.
    ///
    /// # Errors
    /// When it cannot be looked at, or not be written out again.
    fn look(&mut self, _written: u64) -> io::Result<FileLoss> {
        Ok(FileLoss::None)
    }

    /// Size and SHA-256 of what the file holds now.
    ///
    /// # Errors
    /// When it cannot be read.
    fn content(&mut self) -> io::Result<(u64, Sha256)> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What somebody else did to a file that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileLoss {
    /// Nothing was done to it.
    None,
    /// It was deleted or moved away: it was written out again under its name, with all of its content.
    WrittenOutAgain,
    /// It was cut short, and has only so many bytes.
    Truncated(u64),
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
        let file = create_new(data_dir, path)?;
        Ok(Box::new(RealFile { file, data_dir: data_dir.to_owned(), path: path.to_owned() }))
    }
}

/// Makes a new file and makes sure of its name. It can be read too, for [`DiskFile::look`].
fn create_new(data_dir: &Path, path: &Path) -> io::Result<File> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let dir = make_dirs(data_dir, path.parent().unwrap_or(Path::new("")))?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&dir, name, flags, Mode::from_raw_mode(0o644))?;
    dir.sync_all()?;
    Ok(file.into())
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

struct RealFile {
    file: File,
    data_dir: PathBuf,
    path: PathBuf,
}

impl DiskFile for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn look(&mut self, written: u64) -> io::Result<FileLoss> {
        let open = self.file.metadata()?;
        if open.len() < written {
            return Ok(FileLoss::Truncated(open.len()));
        }
        match self.data_dir.join(&self.path).symlink_metadata() {
            Ok(named) if (named.dev(), named.ino()) == (open.dev(), open.ino()) => return Ok(FileLoss::None),
            // Another file has the name by now: that is somebody's.
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Err(e),
            Err(_) => {}
        }
        let mut fresh = create_new(&self.data_dir, &self.path)?;
        self.file.seek(SeekFrom::Start(0))?;
        let copied = io::copy(&mut self.file, &mut fresh).and_then(|_| fresh.sync_data());
        if let Err(e) = copied {
            // A part of it would be taken for all of it.
            let _ = std::fs::remove_file(self.data_dir.join(&self.path));
            self.file.seek(SeekFrom::End(0))?;
            return Err(e);
        }
        self.file = fresh;
        Ok(FileLoss::WrittenOutAgain)
    }

    fn content(&mut self) -> io::Result<(u64, Sha256)> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        let mut length = 0;
        self.file.seek(SeekFrom::Start(0))?;
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok((length, hash)),
                Ok(n) => {
                    hash.update(&buffer[..n]);
                    length += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
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
    fn a_file_that_is_deleted_or_moved_is_written_out_again_and_one_that_is_cut_is_noticed() {
        let dir = tempfile::tempdir().expect("dir");
        let path = Path::new("segments/27c3/saal-1/a.ts");
        let mut file = RealDisk.create(dir.path(), path).expect("made");
        let full = dir.path().join(path);
        file.write(b"first ").expect("written");
        assert_eq!(file.look(6).expect("looked"), FileLoss::None);
        let harms: [&dyn Fn(); 3] = [
            &|| std::fs::remove_file(&full).expect("deleted"),
            &|| std::fs::rename(&full, dir.path().join("elsewhere")).expect("moved"),
            &|| std::fs::remove_dir_all(dir.path().join("segments")).expect("deleted"),
        ];
        for (n, harm) in harms.iter().enumerate() {
            let written = 6 + 5 * n as u64;
            harm();
            assert_eq!(file.look(written).expect("looked"), FileLoss::WrittenOutAgain);
            file.write(b"more ").expect("written");
            assert_eq!(file.look(written + 5).expect("looked"), FileLoss::None);
        }
        assert_eq!(std::fs::read(&full).expect("there"), b"first more more more ");
        // Another file under its name is not touched.
        std::fs::remove_file(&full).expect("deleted");
        std::fs::write(&full, "a stranger").expect("written");
        assert!(file.look(21).is_err());
        assert_eq!(std::fs::read(&full).expect("there"), b"a stranger");
        std::fs::remove_file(&full).expect("deleted");
        assert_eq!(file.look(21).expect("looked"), FileLoss::WrittenOutAgain);
        std::fs::OpenOptions::new().write(true).open(&full).expect("opened").set_len(5).expect("cut");
        assert_eq!(file.look(21).expect("looked"), FileLoss::Truncated(5));
        let (bytes, hash) = file.content().expect("read");
        assert_eq!((bytes, hash.finalize()), (5, Sha256::digest(b"first")));
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
