//! Five hundred streams at once: whether every byte arrives, and no stall is called that is none.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FallocateFlags, fallocate};
use sha2::{Digest, Sha256};
use streamrip_lab::schedule::in_seconds;
use streamrip_lab::{Daemon, Streamrip};

use crate::cost::{make_stream, real_time};
use crate::measure::{Figure, Reached, cpu_seconds, from_environment, memory_mib, seconds};
use crate::nginx::Nginx;
use crate::station::{self, Station};

const STREAMS: usize = 500;
const SECONDS: usize = 600;
/// How often the recordings are compared with what is sent, and the room given back.
const LOOK: Duration = Duration::from_secs(2);
const BLOCK: u64 = 4096;
/// Seconds after which what has not ended by itself never does.
const LATE: usize = 120;
/// A stream ends a second early, since nginx sends the first second at once; what is opened so many seconds before that
/// is a connection too many.
const NEAR_END: usize = 5;

pub fn figures() -> Vec<Figure> {
    let streams = from_environment("STREAMRIP_BENCH_MANY_STREAMS", STREAMS);
    let length = from_environment("STREAMRIP_BENCH_MANY_SECONDS", SECONDS);
    let what = format!("{streams} streams of 2 Mbit/s at once for {length} s, built-in HTTP");
    let (measured, reached) = match run(streams, length) {
        Ok(result) => (result.to_string(), Reached::of(result.is_sound(streams))),
        Err(words) => (format!("not measured: {words}"), Reached::Unasked),
    };
    let compared_with = "each file byte for byte with what nginx sent".to_owned();
    vec![Figure { what, measured, compared_with, limit: "no byte lost, no stall called", reached }]
}

#[derive(Debug, Default)]
struct Found {
    /// First segments that have all bytes, the right ones, and their SHA-256.
    whole: usize,
    /// Bytes that they lack, altogether.
    lost: u64,
    /// Bytes that are not what was sent.
    wrong: u64,
    /// Connections beyond one a stream, before the streams ended.
    again: i64,
    stalls: i64,
    cpu: f64,
    memory: f64,
    /// How long that was measured.
    took: Duration,
}

impl Found {
    fn is_sound(&self, streams: usize) -> bool {
        self.whole == streams && self.lost == 0 && self.wrong == 0 && self.again == 0 && self.stalls == 0
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} files whole with the right SHA-256; {} bytes lost, {} wrong; {} stalls called, {} connections too many; \
             {:.3} % of a core and {:.2} MiB a stream; {}",
            self.whole,
            self.lost,
            self.wrong,
            self.stalls,
            self.again,
            self.cpu,
            self.memory,
            seconds(self.took)
        )
    }
}

fn run(streams: usize, length: usize) -> Result<Found, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let sent = make_stream(folder.path(), length);
    let nginx = Nginx::start(folder.path(), &real_time());
    let start = in_seconds(15);
    let end = start + 2 * length as i64 * 1000 + 3_600_000;
    let halls =
        (0..streams).map(|n| (format!("Saal {n}"), vec![nginx.url(&format!("live.ts?{n}"))], start, end)).collect();
    let streamrip = Station { recorder: "http", hall: "", record: "", halls }.prepare()?;
    let mut daemon = station::run(&streamrip);
    let mut found = watch(&streamrip, &mut daemon, &sent, streams, length)?;
    // Time to close the segments.
    std::thread::sleep(Duration::from_secs(5));
    read_catalog(&streamrip, &mut found, &sent).map_err(|e| e.to_string())?;
    let near_end = start + (length.saturating_sub(NEAR_END) * 1000) as i64;
    found.again = connections_before(&streamrip, near_end).map_err(|e| e.to_string())? - streams as i64;
    let complaints = nginx.complaints();
    if !complaints.is_empty() {
        eprintln!("nginx: {complaints}");
    }
    Ok(found)
}

/// Compares what is recorded with what is sent until all streams have ended, each with its last byte.
fn watch(
    streamrip: &Streamrip,
    daemon: &mut Daemon,
    sent: &[u8],
    streams: usize,
    length: usize,
) -> Result<Found, String> {
    let began = Instant::now();
    let mut found = Found::default();
    let mut files: HashMap<PathBuf, (File, u64)> = HashMap::new();
    let mut first = None;
    loop {
        std::thread::sleep(LOOK);
        for (path, bytes) in station::segments(streamrip) {
            // Only the first segment of each: after its end a stream begins again.
            if !files.contains_key(&path) && files.len() < streams {
                let file = File::options().read(true).write(true).open(&path).map_err(|e| e.to_string())?;
                files.insert(path.clone(), (file, 0));
            }
            if let Some((file, seen)) = files.get_mut(&path) {
                found.wrong += compare(file, sent, *seen, bytes)?;
                *seen = bytes.max(*seen);
            }
        }
        if files.len() == streams && first.is_none() {
            first = Some((Instant::now(), cpu_seconds(daemon.id())));
        }
        found.memory = found.memory.max(memory_mib(daemon.id()) / streams as f64);
        let done = files.values().filter(|(_, seen)| *seen >= sent.len() as u64).count();
        let late = began.elapsed().as_secs() as usize > length + LATE;
        // The first one that is done is the end of what is measured.
        if let Some((at, before)) = first
            && found.took.is_zero()
            && (done > 0 || late)
        {
            found.took = at.elapsed();
            found.cpu = (cpu_seconds(daemon.id()) - before) * 100.0 / at.elapsed().as_secs_f64() / streams as f64;
        }
        if done == streams || late {
            return Ok(found);
        }
        if !daemon.is_running() {
            return Err(format!("the daemon ended: {}", daemon.said()));
        }
    }
}

/// What the catalog says of the first segment of each stream, and of stalls.
fn read_catalog(streamrip: &Streamrip, found: &mut Found, sent: &[u8]) -> rusqlite::Result<()> {
    let hash = Sha256::digest(sent);
    let db = open(streamrip)?;
    let mut query =
        db.prepare("SELECT bytes, sha256 FROM segment WHERE id IN (SELECT min(id) FROM segment GROUP BY hall_id)")?;
    let rows = query.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<Vec<u8>>>(1)?)))?;
    for row in rows {
        let (bytes, sha) = row?;
        found.lost += (sent.len() as u64).saturating_sub(bytes as u64);
        found.whole += usize::from(bytes as usize == sent.len() && sha.as_deref() == Some(hash.as_slice()));
    }
    found.stalls =
        db.query_row("SELECT count(*) FROM connection WHERE end_reason IN ('stalled', 'no-first-byte')", [], |row| {
            row.get(0)
        })?;
    Ok(())
}

fn connections_before(streamrip: &Streamrip, at_ms: i64) -> rusqlite::Result<i64> {
    open(streamrip)?.query_row("SELECT count(*) FROM connection WHERE opened_ms < ?1", [at_ms], |row| row.get(0))
}

fn open(streamrip: &Streamrip) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(streamrip.data_dir().join("catalog.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Bytes between `from` and `to` that are not what was sent. Their room is given back: nobody needs them any more, and
/// ten minutes of 500 streams are 75 GB.
fn compare(file: &File, sent: &[u8], from: u64, to: u64) -> Result<u64, String> {
    let mut wrong = 0;
    let mut buffer = vec![0; 1 << 20];
    let mut at = from;
    while at < to {
        let most = (to - at).min(buffer.len() as u64) as usize;
        let got = file.read_at(&mut buffer[..most], at).map_err(|e| e.to_string())?;
        if got == 0 {
            break;
        }
        let expected = sent.get(at as usize..).unwrap_or_default();
        let expected = &expected[..expected.len().min(got)];
        if buffer[..expected.len()] != *expected {
            wrong += expected.iter().zip(&buffer).filter(|(a, b)| a != b).count() as u64;
        }
        wrong += (got - expected.len()) as u64;
        at += got as u64;
    }
    // Whole blocks that are surely behind the writer.
    let (first, last) = (from / BLOCK * BLOCK, at / BLOCK * BLOCK);
    if last > first {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = fallocate(file, flags, first, last - first);
    }
    Ok(wrong)
}
