//! Real mplayer and real ffmpeg, given playlists and redirects by a hostile server: nothing of this machine's
//! files comes out, and mplayer asks no other server.

use std::path::Path;
use std::sync::Arc;

use streamrip::domain::stream_url::StreamUrl;
use streamrip::source::ffmpeg::FfmpegSource;
use streamrip::source::mplayer::Mplayer;
use streamrip::source::{Running, Source};
use streamrip_lab::{Format, PATIENCE, Recipe};
use tokio::io::AsyncReadExt as _;

use crate::children::Lines;
use crate::server::Server;

/// What a source gives for an address, until it ends or some seconds of good bytes have come; and what it said.
async fn dumped(source: &dyn Source, url: &str, log: &Lines) -> Vec<u8> {
    let url = StreamUrl::parse(url).expect("allowed");
    let Running { mut bytes, stop, ended, .. } = source.open(&url, "test").expect("started");
    let mut got = Vec::new();
    let read = async { while got.len() < 1 << 20 && bytes.read_buf(&mut got).await.is_ok_and(|n| n > 0) {} };
    // A source that tries again and again is stopped.
    let _ = tokio::time::timeout(PATIENCE / 4, read).await;
    stop.cancel();
    let _ = tokio::time::timeout(PATIENCE, ended).await.unwrap_or_else(|_| panic!("it does not end: {log:?}"));
    got
}

fn ok(kind: &str) -> String {
    format!("200 OK\r\nContent-Type: {kind}")
}

/// A file of this machine that a source would gladly play.
fn secret(dir: &Path) -> (String, Vec<u8>) {
    let path = dir.join("secret.ts");
    let bytes = Recipe::new(Format::MpegTs).seconds(1.0).flat_out().bytes();
    std::fs::write(&path, &bytes).expect("written");
    (path.to_string_lossy().into_owned(), bytes)
}

/// Some bytes of it, from its middle.
fn holds(got: &[u8], secret: &[u8]) -> bool {
    let piece = &secret[188 * 20 + 4..188 * 20 + 60];
    got.windows(piece.len()).any(|w| w == piece)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mplayer_follows_no_playlist() {
    let dir = tempfile::tempdir().expect("dir");
    let (file, bytes) = secret(dir.path());
    let other = Server::start(vec![("/other", ok("video/mp2t"), bytes.clone())]);
    for url in [format!("file://{file}"), file.clone(), other.url("/other")] {
        let server = Server::start(vec![
            ("/a.m3u", ok("audio/x-mpegurl"), format!("#EXTM3U\n{url}\n").into_bytes()),
            ("/a.pls", ok("audio/x-scpls"), format!("[playlist]\nNumberOfEntries=1\nFile1={url}\n").into_bytes()),
            (
                "/a.asx",
                ok("video/x-ms-asf"),
                format!("<ASX version=\"3.0\"><Entry><Ref href=\"{url}\"/></Entry></ASX>").into_bytes(),
            ),
            ("/a.asf", ok("video/x-ms-asf"), format!("[Reference]\r\nRef1={url}\r\n").into_bytes()),
            (
                "/a.smil",
                ok("application/smil"),
                format!("<smil><body><video src=\"{url}\"/></body></smil>").into_bytes(),
            ),
            ("/a.ram", ok("audio/x-pn-realaudio"), format!("{url}\n").into_bytes()),
        ]);
        for path in ["/a.m3u", "/a.pls", "/a.asx", "/a.asf", "/a.smil", "/a.ram"] {
            let log = Arc::new(Lines::default());
            let got = dumped(&Mplayer::new(log.clone()), &server.url(path), &log).await;
            assert!(!holds(&got, &bytes), "{path} with {url}: {log:?}");
            assert!(server.asked().iter().any(|asked| asked == path), "{path} was not even opened: {log:?}");
        }
    }
    assert_eq!(other.asked(), [""; 0], "another server was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_does_not_lead_to_a_file() {
    let dir = tempfile::tempdir().expect("dir");
    let (file, bytes) = secret(dir.path());
    let to = |url: String| format!("302 Found\r\nLocation: {url}");
    let server = Server::start(vec![
        ("/file", to(format!("file://{file}")), Vec::new()),
        ("/plain", to(file.clone()), Vec::new()),
        ("/file.m3u8", to(format!("file://{file}")), Vec::new()),
    ]);
    for path in ["/file", "/plain", "/file.m3u8"] {
        let log = Arc::new(Lines::default());
        for source in [&Mplayer::new(log.clone()) as &dyn Source, &FfmpegSource::new(log.clone())] {
            let got = dumped(source, &server.url(path), &log).await;
            assert!(!holds(&got, &bytes), "{} at {path}: {log:?}", source.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_takes_nothing_but_the_network_from_a_playlist() {
    let dir = tempfile::tempdir().expect("dir");
    let (file, bytes) = secret(dir.path());
    let list = |body: String| {
        format!("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n{body}\n#EXT-X-ENDLIST\n")
            .into_bytes()
    };
    let kind = || ok("application/vnd.apple.mpegurl");
    let server = Server::start(vec![
        ("/file.m3u8", kind(), list(format!("#EXTINF:1,\nfile://{file}"))),
        ("/plain.m3u8", kind(), list(format!("#EXTINF:1,\n{file}"))),
        ("/concat.m3u8", kind(), list(format!("#EXTINF:1,\nconcat:{file}|{file}"))),
        ("/subfile.m3u8", kind(), list(format!("#EXTINF:1,\nsubfile,,start,0,end,99999,,:{file}"))),
        ("/crypto.m3u8", kind(), list(format!("#EXTINF:1,\ncrypto+file://{file}"))),
        ("/map.m3u8", kind(), list(format!("#EXT-X-MAP:URI=\"file://{file}\"\n#EXTINF:1,\nnone.ts"))),
        ("/master.m3u8", kind(), format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nfile://{file}\n").into_bytes()),
        ("/good.m3u8", kind(), list("#EXTINF:1,\ngood.ts".to_owned())),
        ("/good.ts", ok("video/mp2t"), bytes.clone()),
    ]);
    let log = Arc::new(Lines::default());
    let good = dumped(&FfmpegSource::new(log.clone()), &server.url("/good.m3u8"), &log).await;
    assert!(good.len() > 10_000, "the same segment from the network is taken: {} bytes, {log:?}", good.len());
    for path in
        ["/file.m3u8", "/plain.m3u8", "/concat.m3u8", "/subfile.m3u8", "/crypto.m3u8", "/map.m3u8", "/master.m3u8"]
    {
        let log = Arc::new(Lines::default());
        let got = dumped(&FfmpegSource::new(log.clone()), &server.url(path), &log).await;
        assert_eq!(got.len(), 0, "{path}: {log:?}");
    }
}
