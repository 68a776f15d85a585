//! Dumps of live streams: a plain GET, with marks as a tape keeps them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use streamrip::domain::segment::Mark;
use streamrip::domain::time::Ms;
use streamrip_lab::now_ms;

/// One connection's bytes.
#[derive(Debug)]
pub struct Dump {
    pub bytes: Vec<u8>,
    pub marks: Vec<Mark>,
}

impl Dump {
    /// Bytes that were not taken but made, as if they had come at an even rate between these seconds.
    pub fn made(bytes: Vec<u8>, from: f64, to: f64) -> Self {
        let at = |s: f64| Ms(1_300_000_000_000 + (s * 1000.0) as i64);
        let steps = 20;
        let marks = (0..=steps)
            .map(|n| {
                let share = f64::from(n) / f64::from(steps);
                let offset = ((bytes.len() as f64 * share) as u64).max(1);
                Mark { at: at(from + (to - from) * share), offset }
            })
            .collect();
        Self { bytes, marks }
    }
}

/// Reads `http://host:port/path` for so long.
pub fn take(url: &str, length: Duration) -> Dump {
    let rest = url.strip_prefix("http://").expect("http");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").expect("sent");
    let began = Instant::now();
    let (mut bytes, mut marks, mut head): (Vec<u8>, Vec<Mark>, Option<usize>) = (Vec::new(), Vec::new(), None);
    let mut buffer = [0; 4096];
    while began.elapsed() < length {
        let n = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => continue,
            Err(e) => panic!("reading {url}: {e}"),
        };
        bytes.extend_from_slice(&buffer[..n]);
        if head.is_none()
            && let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n")
        {
            assert!(bytes.starts_with(b"HTTP/1.0 200") || bytes.starts_with(b"HTTP/1.1 200"), "refused");
            head = Some(at + 4);
        }
        let Some(head) = head else { continue };
        let offset = (bytes.len() - head) as u64;
        // About one a second, and the last byte.
        let now = Ms(now_ms());
        if offset > 0 {
            if marks.len() > 1 && now.since(marks[marks.len() - 2].at) < 900 {
                marks.pop();
            }
            marks.push(Mark { at: now, offset });
        }
    }
    let head = head.unwrap_or(bytes.len());
    Dump { bytes: bytes.split_off(head), marks }
}

/// Length of everything before the first data packet of an ASF file, and of each packet.
pub fn asf_layout(file: &[u8]) -> (usize, usize) {
    let le = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes")) as usize;
    let header = le(16);
    // The data object's own head is 50 bytes; the size of a packet stands in the File Properties Object.
    let properties: [u8; 16] =
        [0xa1, 0xdc, 0xab, 0x8c, 0x47, 0xa9, 0xcf, 0x11, 0x8e, 0xe4, 0, 0xc0, 0x0c, 0x20, 0x53, 0x65];
    let at = file.windows(16).position(|w| w == properties).expect("file properties");
    let packet = u32::from_le_bytes(file[at + 92..at + 96].try_into().expect("4 bytes")) as usize;
    (header + 50, packet)
}
