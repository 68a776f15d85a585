//! Inputs that look nearly like real ones.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;

/// Longest input, bytes. What is larger is cut, at random.
const MAX: usize = 24 * 1024;

/// An input; prints as text.
#[derive(Clone)]
pub struct Input(pub Vec<u8>);

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One change.
#[derive(Clone, Debug)]
struct Edit {
    what: u8,
    at: Index,
    other: Index,
    byte: u8,
}

/// How to make an input: which sample, which piece of it, which changes.
#[derive(Clone, Debug)]
struct Recipe {
    sample: Index,
    from: Index,
    edits: Vec<Edit>,
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let edit = (0_u8..9, any::<Index>(), any::<Index>(), any::<u8>()).prop_map(|(what, at, other, byte)| Edit {
        what,
        at,
        other,
        byte,
    });
    (any::<Index>(), any::<Index>(), prop::collection::vec(edit, 0..24)).prop_map(|(sample, from, edits)| Recipe {
        sample,
        from,
        edits,
    })
}

/// Files to start from, and words that mean something in them.
pub struct Samples {
    files: Vec<Vec<u8>>,
    words: &'static [&'static [u8]],
}

impl Samples {
    /// Our own fixtures of these endings, and the files of the user's folder.
    pub fn of(endings: &[&str], words: &'static [&'static [u8]]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut paths = Vec::new();
        find(&root.join("tests/fixtures"), endings, &mut paths);
        find(&root.join("schedules"), endings, &mut paths);
        if let Some(folder) = std::env::var_os("STREAMRIP_TEST_DATA") {
            find(Path::new(&folder), endings, &mut paths);
        }
        assert!(!paths.is_empty());
        paths.sort();
        Self { files: paths.into_iter().map(|p| std::fs::read(p).expect("a sample")).collect(), words }
    }

    /// Bytes made by the test itself.
    pub fn new(files: Vec<Vec<u8>>, words: &'static [&'static [u8]]) -> Self {
        Self { files, words }
    }

    /// Mutations of them.
    pub fn mutated(&self) -> impl Strategy<Value = Input> + '_ {
        recipe().prop_map(|recipe| Input(self.make(&recipe)))
    }

    fn make(&self, recipe: &Recipe) -> Vec<u8> {
        let sample = recipe.sample.get(&self.files);
        let mut bytes = if sample.len() > MAX {
            // The head says what it is; what follows may come from anywhere.
            let from = recipe.from.index(sample.len() - MAX / 2);
            [&sample[..MAX / 8], &sample[from..from + MAX / 2]].concat()
        } else {
            sample.clone()
        };
        for edit in &recipe.edits {
            self.edit(&mut bytes, edit);
            bytes.truncate(MAX);
        }
        bytes
    }

    fn edit(&self, bytes: &mut Vec<u8>, edit: &Edit) {
        if bytes.is_empty() {
            bytes.push(edit.byte);
        }
        let (at, other) = (edit.at.index(bytes.len()), edit.other.index(bytes.len()));
        let (low, high) = (at.min(other), at.max(other));
        match edit.what {
            0 => bytes[at] = edit.byte,
            1 => bytes.insert(at, edit.byte),
            2 => bytes[at] ^= 1 << (edit.byte % 8),
            3 if !self.words.is_empty() => {
                let word = self.words[usize::from(edit.byte) % self.words.len()];
                bytes.splice(at..at, word.iter().copied());
            }
            4 => drop(bytes.drain(low..high.min(low + 200))),
            5 => {
                let piece = bytes[low..high.min(low + 2000)].to_vec();
                bytes.splice(at..at, piece);
            }
            6 => {
                // A piece many times over.
                let piece = bytes[low..high.min(low + 40)].to_vec();
                bytes.splice(at..at, piece.repeat(usize::from(edit.byte)));
            }
            7 => {
                let stranger = &self.files[usize::from(edit.byte) % self.files.len()];
                let from = edit.other.index(stranger.len().max(1)).min(stranger.len());
                bytes.splice(at..at, stranger[from..(from + 500).min(stranger.len())].iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
}

fn find(folder: &Path, endings: &[&str], out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of samples").flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, endings, out);
        } else if path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending)) {
            out.push(path);
        }
    }
}
