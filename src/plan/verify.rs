//! Is a file what the catalog says? One claim against one look at the disk.

use std::fmt;

/// What the catalog says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It is there, closed and whole.
    There,
    /// It is being written.
    Open,
    /// It was there once and is gone.
    Lost,
    /// It was deleted on purpose.
    Deleted,
}

/// One row's word about its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whether it should be there.
    pub expected: Expected,
    /// Its size in bytes.
    pub bytes: u64,
    /// Of its content; `None`: not known.
    pub sha256: Option<[u8; 32]>,
}

/// What is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOnDisk {
    /// Size in bytes.
    pub bytes: u64,
    /// Of the content; `None`: it was not read.
    pub sha256: Option<[u8; 32]>,
}

/// What is wrong. The words are printed and stand in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// There should be a file and there is none.
    Missing,
    /// The file has another size than when it was closed.
    Size,
    /// The size is right and the content is not.
    Content,
    /// The catalog has no SHA-256 of a closed file.
    NoSha256,
    /// Nobody writes it, and its row says that it is being written.
    LeftOpen,
    /// The catalog calls it lost and it is there.
    Returned,
    /// The catalog calls it deleted and it is there.
    Undeleted,
    /// A file that no row names.
    Unknown,
    /// What a join or a merge that was killed left behind.
    HalfMade,
    /// A file or folder that cannot be read.
    Unreadable,
    /// A joined file does not parse to its end, or a track of it holds no media.
    NoMedia,
    /// A joined file presents less than the catalog says, or places of it cannot be decoded.
    Unsound,
    /// SQLite finds the database damaged.
    Database,
    /// A row refers to one that is not there.
    ForeignKey,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Size => "wrong-size",
            Self::Content => "wrong-content",
            Self::NoSha256 => "no-sha256",
            Self::LeftOpen => "left-open",
            Self::Returned => "returned",
            Self::Undeleted => "undeleted",
            Self::Unknown => "unknown-file",
            Self::HalfMade => "half-made",
            Self::Unreadable => "unreadable",
            Self::NoMedia => "no-media",
            Self::Unsound => "unsound",
            Self::Database => "database",
            Self::ForeignKey => "foreign-key",
        })
    }
}

/// True where the content of a file of this claim and size says more than its size: it is worth reading.
#[must_use]
pub fn worth_reading(claim: &Claim, bytes: u64) -> bool {
    claim.expected == Expected::There && claim.sha256.is_some() && claim.bytes == bytes
}

/// What is wrong with a file; `None`: it is as the catalog says, as far as was looked. `found` is `None`
/// where there is no file. `is_live`: a daemon runs, so an open file is somebody's.
#[must_use]
pub fn judge(claim: &Claim, found: Option<FileOnDisk>, is_live: bool) -> Option<Fault> {
    match (claim.expected, found) {
        (Expected::Open, _) => (!is_live).then_some(Fault::LeftOpen),
        (Expected::There, None) => Some(Fault::Missing),
        (Expected::Lost | Expected::Deleted, None) => None,
        (Expected::Lost, Some(_)) => Some(Fault::Returned),
        (Expected::Deleted, Some(_)) => Some(Fault::Undeleted),
        (Expected::There, Some(found)) => match (claim.sha256, found.sha256) {
            (None, _) => Some(Fault::NoSha256),
            _ if claim.bytes != found.bytes => Some(Fault::Size),
            (Some(said), Some(is)) if said != is => Some(Fault::Content),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_against_each_look() {
        let sum = |n| Some([n; 32]);
        let claim = |expected| Claim { expected, bytes: 5, sha256: sum(1) };
        let found = |bytes, sha256| Some(FileOnDisk { bytes, sha256 });
        let there = claim(Expected::There);
        for (claim, look, live, want) in [
            (there, found(5, sum(1)), false, None),
            (there, found(5, None), false, None),
            (there, None, false, Some(Fault::Missing)),
            (there, None, true, Some(Fault::Missing)),
            (there, found(4, None), false, Some(Fault::Size)),
            (there, found(5, sum(2)), false, Some(Fault::Content)),
            (Claim { sha256: None, ..there }, found(5, None), false, Some(Fault::NoSha256)),
            (Claim { sha256: None, ..there }, None, false, Some(Fault::Missing)),
            (claim(Expected::Open), found(9, None), true, None),
            (claim(Expected::Open), None, true, None),
            (claim(Expected::Open), found(9, None), false, Some(Fault::LeftOpen)),
            (claim(Expected::Lost), None, false, None),
            (claim(Expected::Lost), found(5, sum(1)), false, Some(Fault::Returned)),
            (claim(Expected::Deleted), None, false, None),
            (claim(Expected::Deleted), found(5, sum(1)), true, Some(Fault::Undeleted)),
        ] {
            assert_eq!(judge(&claim, look, live), want, "{claim:?} {look:?} {live}");
        }
    }

    #[test]
    fn a_file_of_the_wrong_size_is_not_read() {
        let there = Claim { expected: Expected::There, bytes: 5, sha256: Some([1; 32]) };
        assert!(worth_reading(&there, 5));
        assert!(!worth_reading(&there, 6));
        assert!(!worth_reading(&Claim { sha256: None, ..there }, 5));
        assert!(!worth_reading(&Claim { expected: Expected::Open, ..there }, 5));
    }
}
