//! How soon: the first byte on disk after a window opens, and the next connection after one ends.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use streamrip_lab::schedule::in_seconds;
use streamrip_lab::{FaultServer, Format, Recipe};

use crate::measure::{Figure, Reached, percentile, spread};
use crate::station::{self, Station};

/// Windows that open, a second apart.
const WINDOWS: i64 = 20;
const BYTES_PER_SECOND: u64 = 250_000;
/// The server ends each connection after so many pieces, so far apart: 0.3 s.
const PIECES: usize = 15;
const PIECE_EVERY: Duration = Duration::from_millis(20);
const PIECE: usize = 5_000;
/// Connections that are not counted: the first ones start the daemon and its tape.
const WARM_UP: usize = 3;
const RECONNECTS: usize = 200;
/// After so many short connections comes one that lasts so much longer: a server that cuts without end is asked ever
/// more seldom, since each connection makes a file.
const SHORT_ONES: usize = 30;
const LONG_PIECES: usize = 600;
const PATIENCE: Duration = Duration::from_secs(200);

pub fn first_byte() -> Vec<Figure> {
    let one = |name: &str, recorder| {
        let measured = match open_windows(recorder) {
            Ok(all) => format!("{} ms", spread(&all, 0)),
            Err(words) => format!("not measured: {words}"),
        };
        Figure {
            what: format!("window's opening to the first byte on disk, {WINDOWS} windows: streamrip, {name}"),
            measured,
            compared_with: String::new(),
            limit: "",
            reached: Reached::Unasked,
        }
    };
    vec![one("mplayer", "mplayer"), one("built-in HTTP", "http")]
}

/// Milliseconds of each.
fn open_windows(recorder: &'static str) -> Result<Vec<f64>, String> {
    let media = Recipe::new(Format::MpegTs).video_kbit(1850).seconds(60.0).bytes();
    let server = FaultServer::start();
    let first = in_seconds(10);
    let mut halls = Vec::new();
    let mut due: HashMap<String, i64> = HashMap::new();
    for n in 0..WINDOWS {
        let route = server.file(&format!("/{n}.ts"), "video/mp2t", media.clone(), BYTES_PER_SECOND);
        let start = first + n * 1000;
        halls.push((format!("Saal {n}"), vec![route.url()], start, first + 60_000));
        due.insert(format!("saal-{n}"), start);
    }
    let streamrip = Station { recorder, hall: "", record: "", halls }.prepare()?;
    let daemon = station::run(&streamrip);
    let began = Instant::now();
    let mut took = Vec::new();
    while !due.is_empty() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
        for (path, bytes) in station::segments(&streamrip) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0;
            if let Some(start) = hall_of(&path).filter(|_| bytes > 0).and_then(|hall| due.remove(&hall)) {
                took.push(now - start as f64);
            }
        }
    }
    if due.is_empty() { Ok(took) } else { Err(format!("{} windows got nothing: {}", due.len(), daemon.said())) }
}

/// `segments/<event>/<hall>/<day>/<file>`.
fn hall_of(path: &Path) -> Option<String> {
    Some(path.parent()?.parent()?.file_name()?.to_str()?.to_owned())
}

pub fn reconnect() -> Vec<Figure> {
    let one = |name: &str, recorder, limit: Option<f64>| {
        let (measured, reached) = match reconnects(recorder) {
            Ok(mut all) => {
                all.sort_unstable_by(f64::total_cmp);
                let (p50, p99) = (percentile(&all, 0.5), percentile(&all, 0.99));
                let reached = limit.map_or(Reached::Unasked, |most| Reached::of(p99 <= most));
                (format!("p50 {p50:.2} ms, p99 {p99:.2} ms ({} times)", all.len()), reached)
            }
            Err(words) => (format!("not measured: {words}"), Reached::Unasked),
        };
        Figure {
            what: format!("server's FIN every 0.3 s to the next connection's first byte: streamrip, {name}"),
            measured,
            compared_with: String::new(),
            limit: if limit.is_some() { "10 ms" } else { "" },
            reached,
        }
    };
    vec![one("mplayer", "mplayer", None), one("built-in HTTP", "http", Some(10.0))]
}

/// Milliseconds from each end to the first byte of the next connection, as the server sees it.
fn reconnects(recorder: &'static str) -> Result<Vec<f64>, String> {
    let media = Recipe::new(Format::MpegTs).video_kbit(1850).seconds(10.0).bytes();
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let took = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let (all, ended) = (took.clone(), stop.clone());
    let server = std::thread::spawn(move || serve(&listener, &media, &all, &ended));
    let start = in_seconds(8);
    let halls = vec![("Saal 1".to_owned(), vec![format!("http://{address}/live.ts")], start, start + 3_600_000)];
    let prepared = Station { recorder, hall: "", record: "", halls }.prepare();
    let result = prepared.map(|streamrip| {
        let daemon = station::run(&streamrip);
        let began = Instant::now();
        let count = || took.lock().unwrap_or_else(PoisonError::into_inner).len();
        while count() < WARM_UP + RECONNECTS && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(daemon);
        took.lock().unwrap_or_else(PoisonError::into_inner).iter().skip(WARM_UP).copied().collect::<Vec<f64>>()
    });
    stop.store(true, Ordering::SeqCst);
    // Wakes it.
    drop(TcpStream::connect(address));
    let _ = server.join();
    result.and_then(|all| if all.is_empty() { Err("it never connected again".to_owned()) } else { Ok(all) })
}

fn serve(listener: &TcpListener, media: &[u8], took: &Mutex<Vec<f64>>, stop: &AtomicBool) {
    let (mut at, mut number) = (0, 0);
    let mut ended: Option<Instant> = None;
    while !stop.load(Ordering::SeqCst) {
        let Ok((mut client, _)) = listener.accept() else { continue };
        // A client that leaves early, as mplayer does with its first request, was no connection.
        let pieces = if number % (SHORT_ONES + 1) == SHORT_ONES { LONG_PIECES } else { PIECES };
        let Ok(first) = send(&mut client, media, &mut at, pieces) else { continue };
        number += 1;
        if let Some(ended) = ended {
            let mut took = took.lock().unwrap_or_else(PoisonError::into_inner);
            took.push((first - ended).as_secs_f64() * 1000.0);
        }
        ended = Some(Instant::now());
        let _ = client.shutdown(Shutdown::Write);
    }
}

/// A stretch of the stream; when its first byte went.
fn send(client: &mut TcpStream, media: &[u8], at: &mut usize, pieces: usize) -> io::Result<Instant> {
    client.set_nodelay(true)?;
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    client.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n")?;
    let mut first = None;
    for _ in 0..pieces {
        if *at + PIECE > media.len() {
            *at = 0;
        }
        client.write_all(&media[*at..*at + PIECE])?;
        first.get_or_insert_with(Instant::now);
        *at += PIECE / 188 * 188;
        std::thread::sleep(PIECE_EVERY);
    }
    first.ok_or_else(|| io::Error::other("nothing was sent"))
}
