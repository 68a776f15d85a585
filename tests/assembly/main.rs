//! Assemblies of real recordings, compared with the encoder's own packets: MPEG-TS over HTTP, MP3, Ogg,
//! Opus and WebM over a real Icecast, ASF from files made for it.
//!
//! ffmpeg's own muxer and ffprobe are the judges: what the encoder made, every dump and every assembly go
//! through them, and packets are known by the hash of their payload.

mod judge;
mod odd;
mod random;
mod taking;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use judge::{Case, check};
use streamrip_lab::{Encoder, FaultServer, Format, Icecast, Recipe};
use taking::{Dump, take};

/// Begin and end of connections, in seconds after the start. The first two hand over, then comes a gap, then
/// one inside another, then a reconnect that a burst may cover.
const VISITS: [(f64, f64); 5] = [(0.0, 4.5), (3.5, 7.0), (9.5, 13.5), (10.5, 12.0), (13.8, 16.5)];

fn encoder(format: Format) -> Encoder {
    Recipe::new(format).video_kbit(150).start().ready()
}

/// Takes all dumps as scheduled.
fn visit(url: &str, visits: &[(f64, f64)]) -> Vec<Dump> {
    let began = std::time::Instant::now();
    let threads: Vec<_> = visits
        .iter()
        .map(|(from, to)| {
            let (url, from, to) = (url.to_owned(), *from, *to);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs_f64(from).saturating_sub(began.elapsed()));
                take(&url, Duration::from_secs_f64(to - from))
            })
        })
        .collect();
    // Icecast begins Ogg at a page of its choice: a short visit may get nothing.
    threads.into_iter().map(|t| t.join().expect("a dump")).filter(|d| !d.bytes.is_empty()).collect()
}

fn over_icecast(format: Format, burst: u32) {
    // One after the other: the free port that one was promised must not be found free by the next.
    static STARTING: Mutex<()> = Mutex::new(());
    let icecast = {
        let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        Icecast::start(burst)
    };
    let encoder = encoder(format);
    icecast.mount("/live", &encoder);
    let dumps = visit(&icecast.url("/live"), &VISITS);
    let truth = encoder.live().bytes();
    drop(encoder);
    check(&Case { format, truth, dumps });
}

#[test]
fn mpeg_ts_over_http() {
    let server = FaultServer::start();
    let encoder = encoder(Format::MpegTs);
    let route = server.live("/live.ts", "video/mp2t", encoder.live()).burst(Duration::from_millis(1500));
    let dumps = visit(&route.url(), &VISITS);
    let truth = encoder.live().bytes();
    drop(encoder);
    check(&Case { format: Format::MpegTs, truth, dumps });
}

#[test]
fn mp3_over_icecast_with_a_burst() {
    over_icecast(Format::Mp3, 16 * 1024);
}

#[test]
fn mp3_over_icecast_without_a_burst() {
    over_icecast(Format::Mp3, 0);
}

#[test]
fn vorbis_over_icecast() {
    over_icecast(Format::OggAudio, 16 * 1024);
}

#[test]
fn opus_over_icecast() {
    over_icecast(Format::Opus, 16 * 1024);
}

#[test]
fn webm_over_icecast() {
    over_icecast(Format::WebM, 64 * 1024);
}

#[test]
fn asf_dumps() {
    // Windows Media servers are gone; what mplayer saved from them is the stream's header and then whole data
    // packets from somewhere on.
    let truth = Recipe::new(Format::Asf).video_kbit(150).seconds(20.0).bytes();
    let (header, packet) = taking::asf_layout(&truth);
    let packets = (truth.len() - header) / packet;
    let per_second = packets as f64 / 20.0;
    let dumps = VISITS
        .iter()
        .map(|(from, to)| {
            let at = |s: f64| header + packet * ((s * per_second) as usize).min(packets);
            let mut bytes = truth[..header].to_vec();
            bytes.extend_from_slice(&truth[at(*from)..at(*to)]);
            Dump::made(bytes, *from, *to)
        })
        .collect();
    check(&Case { format: Format::Asf, truth, dumps });
}
