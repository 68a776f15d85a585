//! Real HLS: ffmpeg writes it, nginx serves it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use streamrip::domain::hls::Quality;
use streamrip::domain::media::{MediaIndex, TrackKind};
use streamrip::domain::segment::EndReason;
use streamrip::domain::stream_request::StreamRequest;
use streamrip::media::{CancellationToken, index};
use streamrip::plan::cut::{CutEnd, CutStart};
use streamrip::plan::seam::{self, Method, SeamKind};
use streamrip_lab::child::OwnedChild;
use streamrip_lab::{Nginx, PATIENCE, Trouble, WebServer, eventually, wait_for_file};

use crate::bench::Bench;

/// ffmpeg that makes moving pictures and sound in chunks of a second. `more` is about HLS.
pub fn encoder(folder: &Path, real_time: bool, more: &str) -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y", "-threads", "1"]);
    for source in ["testsrc2=size=320x180:rate=25", "aevalsrc=0.2*sin(2*PI*330*t)+0.05*random(0):sample_rate=44100"] {
        if real_time {
            ffmpeg.arg("-re");
        }
        ffmpeg.args(["-f", "lavfi", "-i", source]);
    }
    ffmpeg.args("-pix_fmt yuv420p -c:v libx264 -preset ultrafast -tune zerolatency -g 25 -b:v 250k".split(' '));
    ffmpeg.args("-c:a aac -b:a 64k -f hls -hls_time 1".split(' ')).args(more.split(' '));
    ffmpeg.current_dir(folder).stdin(Stdio::null());
    ffmpeg
}

/// Files of a folder whose name begins so, by name, with their content.
pub fn files(folder: &Path, start: &str) -> Vec<(String, Vec<u8>)> {
    let names = std::fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> = names.map(|f| f.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with(start) && !name.ends_with(".tmp"));
    names.sort();
    names.into_iter().map(|name| (name.clone(), std::fs::read(folder.join(name)).expect("a file"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_behind_nginx_with_an_outage_a_missing_chunk_and_a_restart_is_recorded_chunk_for_chunk() {
    let (bench, nginx) = (Bench::new(), Nginx::start());
    let root = nginx.root();
    let live = |life: u32| {
        let more = format!(
            "-hls_list_size 8 -hls_flags program_date_time+temp_file -hls_segment_filename life{life}_%03d.ts index.m3u8"
        );
        OwnedChild::spawn(&mut encoder(&root, true, &more), Duration::from_secs(2))
    };
    let mut first = live(1);
    wait_for_file(&root.join("index.m3u8"));
    wait_for_file(&root.join("life1_003.ts"));
    let began = first_date(&root.join("index.m3u8"));
    let mut tape = bench.start(Bench::order(&nginx.url("/index.m3u8")));
    eventually("media", PATIENCE, || tape.status().bytes > 0).await;
    nginx.outage(true);
    let before = tape.status().bytes;
    tokio::time::sleep(Duration::from_secs(4)).await;
    // What was being sent when it began.
    let came = tape.status().bytes - before;
    let chunk = files(&root, "life1_").iter().map(|(_, chunk)| chunk.len() as u64).max().expect("a chunk");
    assert!(came <= chunk, "{came} bytes came while all was answered with 503; a chunk has {chunk}");
    nginx.outage(false);
    wait_for_file(&root.join("life1_010.ts"));
    // It dies, and says no word of an end.
    first.child().kill().expect("killed");
    first.child().wait().expect("waited for");
    let playlist = std::fs::read_to_string(root.join("index.m3u8")).expect("a playlist");
    let mut all = files(&root, "life1_");
    // It may have died between making the last one and telling of it.
    all.pop_if(|(name, _)| !playlist.contains(name.as_str()));
    let made = all.len();
    bench.bytes(&tape, all.iter().map(|(_, chunk)| chunk.len()).sum()).await;
    // What the restarted encoder makes begins with number 0 again; one of its chunks never gets to the server, which has
    // a folder of that name.
    std::fs::create_dir(root.join("life2_001.ts")).expect("a folder");
    let mut second = live(2);
    wait_for_file(&root.join("life2_006.ts"));
    second.end();
    std::fs::remove_dir(root.join("life2_001.ts")).expect("a folder that nobody needs any more");
    all.extend(files(&root, "life2_"));
    bench.bytes(&tape, all.iter().map(|(_, chunk)| chunk.len()).sum()).await;
    bench.stop(&mut tape).await;

    let segments = bench.segments();
    let words = format!("{:?} {:?}", bench.ends(), bench.lines());
    assert_eq!(segments.len(), 1, "{words}");
    let mut rest = segments[0].content.as_slice();
    assert!(made >= 10 && all.len() >= made + 6);
    for (name, chunk) in &all {
        assert!(rest.starts_with(chunk), "{name} is not the next one in the recording: {words}");
        rest = &rest[chunk.len()..];
    }
    assert!(rest.is_empty(), "{} bytes stand twice or are of nobody", rest.len());

    // Where it lies in wall time: as the encoder's dates have it, though the first chunks came late. (A hole of
    // one second, as the missing chunk leaves, is none yet.)
    let restarted = first_date(&root.join("index.m3u8"));
    let walls: Vec<i64> = indexed(&bench).spans.iter().map(|span| span.wall().start.0).collect();
    assert_eq!(walls.len(), 2, "{walls:?}");
    for (wall, made) in walls.iter().zip([began, restarted]) {
        assert!((wall - made).abs() < 300, "{} ms off", wall - made);
    }
}

/// When the first chunk of all was made, as the playlist says.
pub fn first_date(playlist: &Path) -> i64 {
    let playlist = std::fs::read_to_string(playlist).expect("a playlist");
    assert!(playlist.contains("#EXT-X-MEDIA-SEQUENCE:0\n"), "{playlist}");
    let date = playlist.lines().find_map(|l| l.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:")).expect("dates");
    chrono::DateTime::parse_from_str(date, "%Y-%m-%dT%H:%M:%S%.f%z").expect("a date").timestamp_millis()
}

fn indexed(bench: &Bench) -> MediaIndex {
    let segment = bench.segments().remove(0);
    index::index(&bench.dir.path().join(&segment.path), &segment.marks, &[], &CancellationToken::new())
        .expect("indexed")
}

fn count(index: &MediaIndex, kind: TrackKind) -> u64 {
    index.tracks.iter().filter(|t| t.kind == kind).map(|t| t.packets).sum()
}

/// Makes six seconds at once, which end, and tapes them.
async fn taped(more: &str, name: &str, prepare: impl Fn(&Path)) -> (Bench, Nginx, PathBuf) {
    let (bench, nginx) = (Bench::new(), Nginx::start());
    let root = nginx.root();
    prepare(&root);
    let made = encoder(&root, false, &format!("-hls_playlist_type vod {more}")).arg("-t").arg("6").arg(name).status();
    assert!(made.expect("ffmpeg").success());
    let mut tape = bench.start(Bench::order(&nginx.url(&format!("/{name}"))));
    eventually("its end", PATIENCE, || !bench.ends().is_empty()).await;
    bench.stop(&mut tape).await;
    let ends = bench.ends();
    assert_eq!(ends[0].0, EndReason::Eof, "{ends:?}");
    assert_eq!(bench.segments().len(), 1, "{ends:?} {:?}", bench.lines());
    (bench, nginx, root)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_mp4_fragments_are_recorded_after_their_start() {
    let (bench, _nginx, root) = taped("-hls_segment_type fmp4", "index.m3u8", |_| ()).await;
    let mut want = std::fs::read(root.join("init.mp4")).expect("a start");
    want.extend(files(&root, "index").into_iter().filter(|(n, _)| n.ends_with(".m4s")).flat_map(|(_, bytes)| bytes));
    assert!(bench.segments()[0].content == want);
    let found = indexed(&bench);
    assert_eq!(count(&found, TrackKind::Video), 150, "{:?}", found.problem);
    assert!((255..=262).contains(&count(&found, TrackKind::Audio)));
}

#[tokio::test(flavor = "multi_thread")]
async fn real_byte_ranges_and_real_encryption() {
    let (bench, _nginx, root) = taped("-hls_flags single_file", "index.m3u8", |_| ()).await;
    assert!(bench.segments()[0].content == std::fs::read(root.join("index.ts")).expect("one file"));

    let (bench, _nginx, _) = taped("-hls_key_info_file key.info", "index.m3u8", |root| {
        std::fs::write(root.join("key"), b"sixteen bytes ok").expect("written");
        std::fs::write(root.join("key.info"), "key\nkey\n").expect("written");
    })
    .await;
    let found = indexed(&bench);
    assert_eq!((count(&found, TrackKind::Video), found.problem.as_deref()), (150, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_stands_apart_is_joined_with_the_rendition_and_asked_for_in_the_way_that_was_asked_for() {
    let (bench, server, root) = (Bench::new(), WebServer::start(), tempfile::tempdir().expect("dir"));
    server.folder(root.path());
    let apart = ["-map", "0:v", "-map", "1:a", "-var_stream_map", "v:0,agroup:a a:0,agroup:a", "-t", "6", "%v.m3u8"];
    let made = encoder(root.path(), false, "-hls_playlist_type vod").args(apart).status();
    assert!(made.expect("ffmpeg").success());
    let master = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x\",DEFAULT=YES,URI=\"1.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=1280x720,AUDIO=\"a\"\nlarge.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=300000,RESOLUTION=320x180,AUDIO=\"a\"\n0.m3u8\n";
    server.put("/master.m3u8", master);
    let mut asked = StreamRequest::default();
    asked.add_header("Authorization", "Bearer s3cret").expect("fine");
    let mut order = Bench::order(&server.url("/master.m3u8"));
    order.streams[0].url = order.streams[0].url.clone().asked_with(asked);
    order.quality = Quality::Worst;
    let mut tape = bench.start(order);
    eventually("its end", PATIENCE, || !bench.ends().is_empty()).await;
    bench.stop(&mut tape).await;
    let words = format!("{:?} {:?}", bench.ends(), bench.lines());
    assert_eq!(bench.ends()[0].0, EndReason::Eof, "{words}");
    let found = indexed(&bench);
    assert_eq!(count(&found, TrackKind::Video), 150, "{words}");
    assert!((255..=262).contains(&count(&found, TrackKind::Audio)), "{words}");
    assert!(server.requests("large").is_empty(), "{words}");
    let all = server.requests("");
    assert!(all.len() > 12 && all.iter().all(|r| r.authorization.as_deref() == Some("Bearer s3cret")), "{all:?}");
    assert!(!words.contains("s3cret"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_connections_share_a_chunk_and_their_seam_is_found_by_its_packets() {
    let (bench, server, root) = (Bench::new(), WebServer::start(), tempfile::tempdir().expect("dir"));
    let root = root.path();
    server.folder(root);
    let made = encoder(root, false, "-hls_list_size 0").arg("-t").arg("6").arg("all.m3u8").status();
    assert!(made.expect("ffmpeg").success());
    let all = std::fs::read_to_string(root.join("all.m3u8")).expect("a playlist");
    // As long as it goes on it says no end; the second connection comes when there are two chunks more.
    let live = all.replace("#EXT-X-ENDLIST", "");
    let first_four = live.split_inclusive(".ts\n").take(4).collect::<String>();
    // A fifth one of which no more than an empty packet ever comes: who has that was told that the fourth is whole.
    let empty = [&[0x47, 0x1f, 0xff, 0x10], [0xff; 184].as_slice()].concat();
    server.put("/empty.ts", empty.repeat(2));
    server.trouble("empty", 1, Trouble::Cut(188));
    server.trouble("empty", usize::MAX, Trouble::Silence);
    for playlist in [first_four + "#EXTINF:1,\nempty.ts\n", live] {
        std::fs::write(root.join("index.m3u8"), playlist).expect("written");
        let taped = bench.segments().iter().map(|s| s.content.len()).sum::<usize>();
        let mut tape = bench.start(Bench::order(&server.url("/index.m3u8")));
        let (chunks, more) = if taped == 0 { (0..4, 188) } else { (3..6, 0) };
        let wanted: usize =
            chunks.map(|n| std::fs::metadata(root.join(format!("all{n}.ts"))).expect("a chunk").len() as usize).sum();
        bench.bytes(&tape, wanted + more).await;
        bench.stop(&mut tape).await;
    }
    let found: Vec<MediaIndex> = bench
        .segments()
        .iter()
        .map(|s| {
            index::index(&bench.dir.path().join(&s.path), &s.marks, &[], &CancellationToken::new()).expect("indexed")
        })
        .collect();
    assert_eq!(found.len(), 2);
    let seam = seam::find(&found[0], &found[1]);
    assert_eq!((seam.kind, seam.method, seam.missing_ms, seam.shift_ms), (SeamKind::Overlap, Method::Packets, 0, 0));
    assert!((900..1100).contains(&seam.shared_ms), "{seam:?}");
    // Of the pictures each stands in the joined file once: 100 of the first, and 75 less the 25 that both have.
    let pictures = seam.cuts.iter().find(|cut| cut.first_track == 1).expect("pictures");
    assert_eq!((pictures.to, pictures.from), (CutEnd::Packet(100), CutStart::Packet(25)), "{seam:?}");
}
