//! What the source programs said while a talk was recorded: the end of their log, read for one hall and time.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::SOURCE_LOG;
use crate::domain::interval::Interval;
use crate::domain::time::Ms;

/// Only the last so many bytes of the log are looked through: a page must not read 64 MiB.
const LOOK_BACK: u64 = 4 << 20;

/// The last `most` lines of a hall (`event/hall`, as slugs) within a stretch of time, oldest first: when, and what.
/// A log that is missing or cannot be read has no lines.
#[must_use]
pub fn lines(data_dir: &Path, hall: &str, within: Interval, most: usize) -> Vec<(Ms, String)> {
    let text = tail(&data_dir.join(SOURCE_LOG)).unwrap_or_default();
    let label = format!("[{hall} ");
    let mut found: Vec<_> = text
        .lines()
        .rev()
        .filter_map(|line| {
            let (at, rest) = line.split_once(' ')?;
            let rest = rest.strip_prefix(label.as_str())?;
            let at = Ms::from(chrono::DateTime::parse_from_rfc3339(at).ok()?.to_utc());
            within.contains(at).then(|| (at, format!("[{rest}")))
        })
        .take(most)
        .collect();
    found.reverse();
    found
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOOK_BACK)))?;
    let mut bytes = Vec::new();
    file.take(LOOK_BACK).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_of_this_hall_and_time() {
        let dir = tempfile::tempdir().expect("works");
        assert_eq!(lines(dir.path(), "a/saal-1", Interval::new(Ms(0), Ms(10_000)), 9), vec![]);
        std::fs::create_dir(dir.path().join("log")).expect("works");
        let log = "1970-01-01T00:00:01Z [a/saal-1 #1 mplayer] one\n\
                   1970-01-01T00:00:02.500Z [a/saal-10 #1 mplayer] another hall\n\
                   rubbish\n\
                   1970-01-01T00:00:03Z [a/saal-1 #1 mplayer] two\n\
                   1970-01-01T00:00:04Z [a/saal-1 #2 mplayer] three\n\
                   1970-01-01T00:00:11Z [a/saal-1 #2 mplayer] too late\n";
        std::fs::write(dir.path().join(SOURCE_LOG), log).expect("works");
        let found = lines(dir.path(), "a/saal-1", Interval::new(Ms(0), Ms(10_000)), 2);
        assert_eq!(found, vec![(Ms(3000), "[#1 mplayer] two".to_owned()), (Ms(4000), "[#2 mplayer] three".to_owned())]);
    }
}
