//! What lies on disk below a folder of the data directory.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The regular files below a folder, by their paths relative to the data directory.
#[derive(Debug, Default)]
pub(in crate::app) struct Tree {
    /// Paths of files.
    pub files: HashSet<String>,
    /// Folders that could not be read: what is in them is not known, which is not the same as gone.
    pub unread: Vec<PathBuf>,
    /// Files whose name is no text: none of ours, and no row can name them.
    pub odd: Vec<PathBuf>,
}

impl Tree {
    /// Walks `folder` of `data_dir`; a folder that is not there is empty. Links are not followed: they
    /// are not ours.
    pub fn read(data_dir: &Path, folder: &str) -> Self {
        let mut tree = Self::default();
        let mut todo = vec![PathBuf::from(folder)];
        while let Some(dir) = todo.pop() {
            let entries = match std::fs::read_dir(data_dir.join(&dir)) {
                Ok(entries) => entries,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => {
                    tracing::error!("{} cannot be read: {e}", dir.display());
                    tree.unread.push(dir);
                    continue;
                }
            };
            for entry in entries {
                let Ok((entry, kind)) = entry.and_then(|e| e.file_type().map(|kind| (e, kind))) else {
                    tree.unread.push(dir.clone());
                    break;
                };
                let path = dir.join(entry.file_name());
                if kind.is_dir() {
                    todo.push(path);
                } else if kind.is_file() {
                    match path.into_os_string().into_string() {
                        Ok(path) => drop(tree.files.insert(path)),
                        Err(path) => tree.odd.push(path.into()),
                    }
                }
            }
        }
        tree
    }

    /// True where the absence of this path from `files` means that there is no such file.
    pub fn knows(&self, path: &str) -> bool {
        !self.unread.iter().any(|dir| Path::new(path).starts_with(dir))
    }
}
