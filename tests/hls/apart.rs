//! Sound with a playlist of its own, as real encoders make it: both playlists are followed, and one file holds both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use streamrip::app::support::clock::SystemClock;
use streamrip::domain::clock::Clock as _;
use streamrip::domain::media::MediaIndex;
use streamrip::domain::segment::EndReason;
use streamrip::media::{CancellationToken, index};
use streamrip::plan::seam::{self, Method, SeamKind};
use streamrip_lab::child::OwnedChild;
use streamrip_lab::{PATIENCE, Trouble, WebServer, eventually, wait_for_file};
use tempfile::TempDir;

use crate::bench::Bench;
use crate::real::{encoder, files, first_date};

const MASTER: &str = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x\",DEFAULT=YES,URI=\"ears.m3u8\"\n\
    #EXT-X-STREAM-INF:BANDWIDTH=300000,RESOLUTION=320x180,AUDIO=\"a\"\neyes.m3u8\n";

/// A folder with a server.
fn place() -> (TempDir, WebServer) {
    let (dir, server) = (tempfile::tempdir().expect("dir"), WebServer::start());
    server.folder(dir.path());
    server.put("/master.m3u8", MASTER);
    (dir, server)
}

/// An encoder of two playlists: `eyes.m3u8` of the picture, `ears.m3u8` of the sound.
fn apart(folder: &Path, real_time: bool, more: &str) -> Command {
    let mut ffmpeg = encoder(folder, real_time, more);
    let map = ["-map", "0:v", "-map", "1:a", "-var_stream_map", "v:0,agroup:a,name:eyes a:0,agroup:a,name:ears"];
    ffmpeg.args(map).arg("%v.m3u8");
    ffmpeg
}

/// Six seconds at once, which end.
fn made(folder: &Path, more: &str) {
    let status = apart(folder, false, &format!("-hls_list_size 0 {more} -t 6")).status();
    assert!(status.expect("ffmpeg").success());
}

/// One packet: pictures or sound, hash of what it holds, and its time in ticks of 1/90000 s.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    kind: &'static str,
    hash: String,
    pts: i64,
}

/// What a file holds.
fn packets(bytes: &[u8]) -> Vec<Packet> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-copyts", "-i"]).arg(file.path());
    let out = ffmpeg.args("-map 0 -c copy -f framemd5 -".split(' ')).output().expect("ffmpeg").stdout;
    let text = String::from_utf8(out).expect("text");
    let video = text.lines().find_map(|line| line.strip_prefix("#media_type ")?.strip_suffix(": video"));
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let kind = if Some(fields[0]) == video { "video" } else { "audio" };
        Some(Packet { kind, pts: fields.get(2)?.parse().ok()?, hash: (*fields.get(5)?).to_owned() })
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(of_line).collect()
}

/// All that an encoder has made.
fn original(folder: &Path) -> Vec<Packet> {
    let all = |half| files(folder, half).into_iter().flat_map(|(_, bytes)| bytes).collect::<Vec<u8>>();
    [packets(&all("eyes_")), packets(&all("ears_"))].concat()
}

/// Each packet's time by its hash. Panics where one stands there twice.
fn times(packets: &[Packet], words: &str) -> BTreeMap<String, i64> {
    let times: BTreeMap<_, _> = packets.iter().map(|p| (p.hash.clone(), p.pts)).collect();
    assert_eq!(times.len(), packets.len(), "twice in one file: {words}");
    times
}

fn indexed(bench: &Bench) -> Vec<MediaIndex> {
    let segments = bench.segments().into_iter();
    let looked =
        segments.map(|s| index::index(&bench.dir.path().join(&s.path), &s.marks, &[], &CancellationToken::new()));
    looked.map(|found| found.expect("indexed")).collect()
}

/// That the files together hold all that was made, none anything twice, and that each goes on where the one before
/// it ends, by shared packets.
fn assert_whole(bench: &Bench, made: &[Packet]) {
    let words = format!("{:?} {:#?}", bench.ends(), bench.lines());
    let mut all = BTreeMap::new();
    for segment in bench.segments() {
        all.extend(times(&packets(&segment.content), &words));
    }
    let made = times(made, "the original");
    // Times of sound are rounded anew for each of its PES packets.
    let missing: Vec<_> =
        made.iter().filter(|(hash, pts)| all.get(*hash).is_none_or(|at| (at - **pts).abs() > 45)).collect();
    assert!(missing.is_empty() && all.len() == made.len(), "{} are not there: {missing:?} {words}", missing.len());
    let found = indexed(bench);
    for pair in found.windows(2) {
        let seam = seam::find(&pair[0], &pair[1]);
        let seen = (seam.kind, seam.method, seam.missing_ms, seam.shift_ms);
        assert_eq!(seen, (SeamKind::Overlap, Method::Packets, 0, 0), "{seam:?} {words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_start_outages_of_the_server_and_of_the_sound_alone_and_a_handover_cost_nothing() {
    let (bench, (dir, server)) = (Bench::new(), place());
    let root = dir.path();
    let more = "-hls_list_size 12 -hls_flags program_date_time+temp_file -hls_segment_filename %v_%03d.ts -t 60";
    let mut encoder = OwnedChild::spawn(&mut apart(root, true, more), Duration::from_secs(20));
    wait_for_file(&root.join("eyes_003.ts"));
    wait_for_file(&root.join("ears_003.ts"));
    let began = first_date(&root.join("eyes.m3u8"));
    // Late: its first chunks are some seconds old.
    let mut order = Bench::order(&server.url("/master.m3u8"));
    order.boundaries = vec![SystemClock.now().plus(12_000)];
    let mut tape = bench.start(order);
    eventually("media", PATIENCE, || tape.status().bytes > 0).await;
    server.trouble("", usize::MAX, Trouble::Status(503));
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.mend();
    wait_for_file(&root.join("eyes_009.ts"));
    server.trouble("ears", usize::MAX, Trouble::Status(404));
    tokio::time::sleep(Duration::from_secs(4)).await;
    server.mend();
    let ended = |why| bench.ends().iter().any(|(reason, _)| *reason == why);
    eventually("the handover", PATIENCE, || ended(EndReason::Handover)).await;
    encoder.end();
    eventually("the end", PATIENCE, || ended(EndReason::Eof)).await;
    bench.stop(&mut tape).await;
    assert!(
        server.requests("ears").iter().any(|r| r.status == 404) && server.requests("").iter().any(|r| r.status == 503)
    );
    assert_whole(&bench, &original(root));
    let wall = indexed(&bench)[0].spans[0].wall().start.0;
    assert!((wall - began).abs() < 500, "{} ms off", wall - began);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_goes_on_in_both_playlists_where_the_last_one_stopped() {
    let (bench, (dir, server)) = (Bench::new(), place());
    let root = dir.path();
    made(root, "-hls_segment_filename %v_%03d.ts");
    let lists = ["eyes.m3u8", "ears.m3u8"].map(|name| (root.join(name), std::fs::read_to_string(root.join(name))));
    for chunks in [4, 99] {
        for (path, list) in &lists {
            let list = list.as_ref().expect("a playlist").replace("#EXT-X-ENDLIST", "");
            std::fs::write(path, list.split_inclusive(".ts\n").take(chunks).collect::<String>()).expect("written");
        }
        let asked = server.requests("").len();
        let mut tape = bench.start(Bench::order(&server.url("/master.m3u8")));
        // Asked for again: all that there is was taken.
        let again = |name: &str| server.requests("").iter().skip(asked).filter(|r| r.path.contains(name)).count() > 2;
        eventually("all of it", PATIENCE, || again("eyes.m3u8") && again("ears.m3u8")).await;
        bench.stop(&mut tape).await;
    }
    assert_eq!(bench.segments().len(), 2);
    assert_eq!(server.requests("_000.ts").len(), 2, "once each");
    assert_eq!(server.requests("_003.ts").len(), 4, "the last one again");
    assert_whole(&bench, &original(root));
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_is_gone_for_long_costs_no_picture_and_comes_back() {
    let (bench, (dir, server)) = (Bench::new(), place());
    let root = dir.path();
    made(root, "-hls_segment_filename %v_%03d.ts");
    let ended = endless(root);
    // Its playlist tells of chunks that are not there, and then is gone too.
    server.trouble("ears_", usize::MAX, Trouble::Status(404));
    let mut tape = bench.start(Bench::order(&server.url("/master.m3u8")));
    eventually("the picture alone", PATIENCE, || bench.lines().iter().any(|l| l.contains("recording video only")))
        .await;
    server.trouble("ears.", usize::MAX, Trouble::Status(404));
    let asked = server.requests("ears.").len();
    eventually("a question", PATIENCE, || server.requests("ears.").len() > asked).await;
    server.mend();
    eventually("both", PATIENCE, || bench.lines().iter().any(|l| l.contains("is available again"))).await;
    for (path, list) in &ended {
        std::fs::write(path, list).expect("written");
    }
    eventually("the end", PATIENCE, || bench.ends().iter().any(|(_, words)| words.contains("has ended"))).await;
    bench.stop(&mut tape).await;
    let (segments, words) = (bench.segments(), format!("{:?} {:#?}", bench.ends(), bench.lines()));
    let first = packets(&segments[0].content);
    assert!(first.len() == 150 && first.iter().all(|p| p.kind == "video"), "{} {words}", first.len());
    let all: Vec<Packet> = segments.iter().flat_map(|s| packets(&s.content)).collect();
    let sound: Vec<Packet> = all.into_iter().filter(|p| p.kind == "audio").collect();
    assert!((255..=262).contains(&times(&sound, &words).len()), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_whose_playlist_stays_as_it_is_is_given_up_once_and_comes_back() {
    let (bench, (dir, server)) = (Bench::new(), place());
    let root = dir.path();
    made(root, "-hls_segment_filename %v_%03d.ts");
    let ended = endless(root);
    // Its encoder has died: all is there, but nothing new comes.
    let ears = root.join("ears.m3u8");
    let list = std::fs::read_to_string(&ears).expect("a playlist");
    std::fs::write(&ears, list.split_inclusive(".ts\n").take(3).collect::<String>()).expect("written");
    let mut tape = bench.start(Bench::order(&server.url("/master.m3u8")));
    eventually("the picture alone", PATIENCE, || bench.lines().iter().any(|l| l.contains("recording video only")))
        .await;
    let asked = server.requests("ears.").len();
    eventually("more questions", PATIENCE, || server.requests("ears.").len() > asked + 1).await;
    let files = bench.ends().len();
    std::fs::write(&ears, list.replace("#EXT-X-ENDLIST", "")).expect("written");
    eventually("both", PATIENCE, || bench.lines().iter().any(|l| l.contains("is available again"))).await;
    for (path, list) in &ended {
        std::fs::write(path, list).expect("written");
    }
    eventually("the end", PATIENCE, || bench.ends().iter().any(|(_, words)| words.contains("has ended"))).await;
    bench.stop(&mut tape).await;
    let words = format!("{files} {:?} {:#?}", bench.ends(), bench.lines());
    assert!(files == 1 && server.requests("ears_002").len() <= 2, "{words}");
    let first = packets(&bench.segments()[0].content);
    assert_eq!(first.iter().filter(|packet| packet.kind == "video").count(), 150, "{words}");
    let sound: BTreeMap<_, _> = bench
        .segments()
        .iter()
        .flat_map(|s| packets(&s.content))
        .collect::<Vec<_>>()
        .into_iter()
        .filter(|packet| packet.kind == "audio")
        .map(|packet| (packet.hash, packet.pts))
        .collect();
    assert!((255..=262).contains(&sound.len()), "{} {words}", sound.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_cannot_be_read_costs_no_picture() {
    // JSON in place of an error; chunks that end at once; one that begins and does not go on.
    for trouble in [Trouble::Body(b"{}".to_vec()), Trouble::Body(vec![0xff; 40]), Trouble::Cut(752)] {
        let (bench, (dir, server)) = (Bench::new(), place());
        let root = dir.path();
        made(root, "-hls_segment_filename %v_%03d.ts");
        server.trouble("ears_", usize::MAX, trouble.clone());
        let mut tape = bench.start(Bench::order(&server.url("/master.m3u8")));
        eventually("the end", PATIENCE, || bench.ends().iter().any(|(_, words)| words.contains("has ended"))).await;
        bench.stop(&mut tape).await;
        let words = format!("{trouble:?} {:?} {:#?}", bench.ends(), bench.lines());
        let files: Vec<_> = bench.segments().iter().map(|segment| packets(&segment.content)).collect();
        let pictures = |file: &Vec<Packet>| file.iter().filter(|packet| packet.kind == "video").count();
        assert!(files.iter().any(|file| pictures(file) == 150), "{words}");
    }
}

/// Takes the end out of both playlists, and gives back what they were.
fn endless(root: &Path) -> Vec<(PathBuf, String)> {
    let lists = ["eyes.m3u8", "ears.m3u8"].map(|name| root.join(name)).into_iter();
    let lists = lists.map(|path| (path.clone(), std::fs::read_to_string(path).expect("a playlist")));
    let lists: Vec<_> = lists.collect();
    for (path, list) in &lists {
        std::fs::write(path, list.replace("#EXT-X-ENDLIST", "")).expect("written");
    }
    lists
}

#[tokio::test(flavor = "multi_thread")]
async fn a_break_of_the_clock_begins_another_file_and_both_are_whole() {
    let (bench, (dir, server)) = (Bench::new(), place());
    let root = dir.path();
    let mut lists = [const { String::new() }; 2];
    for life in 0..2 {
        // The second one has another picture, so that its packets are known.
        made(root, &format!("-hls_segment_filename %v_{life}%03d.ts -b:v {0}k -b:a {0}k", 64 + 32 * life));
        for (list, name) in lists.iter_mut().zip(["eyes.m3u8", "ears.m3u8"]) {
            let new = std::fs::read_to_string(root.join(name)).expect("a playlist").replace("#EXT-X-ENDLIST", "");
            let chunks = new.find("#EXTINF").expect("chunks");
            list.push_str(if life == 0 { &new } else { "#EXT-X-DISCONTINUITY\n" });
            list.push_str(if life == 0 { "" } else { &new[chunks..] });
        }
    }
    for (list, name) in lists.iter().zip(["eyes.m3u8", "ears.m3u8"]) {
        std::fs::write(root.join(name), format!("{list}#EXT-X-ENDLIST\n")).expect("written");
    }
    let mut tape = bench.start(Bench::order(&server.url("/master.m3u8")));
    eventually("two ends", PATIENCE, || bench.ends().len() > 1).await;
    bench.stop(&mut tape).await;
    let made = original(root);
    let words = format!("{:?} {:#?}", bench.ends(), bench.lines());
    let (first, second) = (packets(&bench.segments()[0].content), packets(&bench.segments()[1].content));
    assert_eq!((first.len(), second.len()), (made.len() / 2, made.len() / 2), "{words}");
    let hashes = |packets: &[Packet]| {
        let mut hashes: Vec<_> = packets.iter().map(|p| p.hash.clone()).collect();
        hashes.sort();
        hashes
    };
    assert!(hashes(&[first.clone(), second.clone()].concat()) == hashes(&made), "{words}");
    times(&first, &words);
    times(&second, &words);
}

#[tokio::test(flavor = "multi_thread")]
async fn mp4_and_packed_sound_are_put_together_too() {
    for kind in ["mp4", "packed"] {
        let (bench, (dir, server)) = (Bench::new(), place());
        let root = dir.path();
        made(root, if kind == "mp4" { "-hls_segment_type fmp4" } else { "-hls_segment_filename %v_%03d.ts" });
        let made = original(root);
        if kind == "packed" {
            pack(root);
        }
        let mut tape = bench.start(Bench::order(&server.url("/master.m3u8")));
        eventually("its end", PATIENCE, || !bench.ends().is_empty()).await;
        bench.stop(&mut tape).await;
        let words = format!("{kind}: {:?} {:#?}", bench.ends(), bench.lines());
        assert_eq!((bench.ends()[0].0, bench.segments().len()), (EndReason::Eof, 1), "{words}");
        if kind == "packed" {
            assert_whole(&bench, &made);
        }
        let all = packets(&bench.segments()[0].content);
        let count = |kind: &str| all.iter().filter(|packet| packet.kind == kind).count();
        assert_eq!(count("video"), 150, "{words}");
        assert!((255..=262).contains(&count("audio")), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mp4_chunk_that_ends_in_its_middle_costs_nothing_that_came_before() {
    let (bench, (dir, server)) = (Bench::new(), place());
    let root = dir.path();
    made(root, "-hls_segment_type fmp4");
    endless(root);
    // Its first bytes come, the rest never.
    server.trouble("eyes5", 1, Trouble::Cut(3000));
    server.trouble("eyes5", usize::MAX, Trouble::Silence);
    let mut tape = bench.start(Bench::order(&server.url("/master.m3u8")));
    let again = || server.requests("eyes5").len() > 1 && server.requests("ears.m3u8").len() > 2;
    eventually("the torn chunk, and all of the sound", PATIENCE, again).await;
    bench.stop(&mut tape).await;
    let counted = |bench: &Bench, kind: &str| {
        let last = bench.segments().pop().expect("a file");
        packets(&last.content).iter().filter(|packet| packet.kind == kind).count()
    };
    let words = format!("{:?} {:#?}", bench.ends(), bench.lines());
    assert_eq!((bench.segments().len(), counted(&bench, "video")), (1, 125), "{words}");
    assert!((255..=262).contains(&counted(&bench, "audio")), "{words}");
    server.mend();
    let mut tape = bench.start(Bench::order(&server.url("/master.m3u8")));
    eventually("the rest", PATIENCE, || server.requests("eyes.m3u8").len() > 5).await;
    bench.stop(&mut tape).await;
    let words = format!("{:?} {:#?}", bench.ends(), bench.lines());
    assert_eq!(server.requests("eyes3.m4s").len(), 1, "it is known what was recorded: {words}");
    assert_eq!(
        (bench.segments().len(), counted(&bench, "video")),
        (2, 50),
        "the last one again, and the rest: {words}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_in_packed_sound_begins_one_new_file_behind_it() {
    let (bench, (dir, server)) = (Bench::new(), place());
    let root = dir.path();
    made(root, "-hls_segment_filename %v_%03d.ts");
    pack(root);
    let ears = root.join("ears.m3u8");
    let list = std::fs::read_to_string(&ears).expect("a playlist");
    std::fs::write(&ears, list.replace("ears_003.aac", "#EXT-X-GAP\nears_003.aac")).expect("written");
    let mut tape = bench.start(Bench::order(&server.url("/master.m3u8")));
    eventually("the end", PATIENCE, || bench.ends().iter().any(|(_, words)| words.contains("has ended"))).await;
    bench.stop(&mut tape).await;
    let words = format!("{:?} {:#?}", bench.ends(), bench.lines());
    assert_eq!(bench.segments().len(), 2, "{words}");
    assert_eq!(["ears_002", "ears_004"].map(|name| server.requests(name).len()), [1, 1], "{words}");
}

/// Makes packed audio of the chunks of the sound: AAC alone, with its time in a tag before it.
fn pack(root: &Path) {
    for (name, chunk) in files(root, "ears_") {
        let first = packets(&chunk).iter().map(|packet| packet.pts).min();
        let packed = root.join(&name).with_extension("aac");
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-i"]).arg(root.join(&name)).args(["-c", "copy", "-f", "adts"]).arg(&packed);
        assert!(ffmpeg.status().expect("ffmpeg").success());
        let owner = b"com.apple.streaming.transportStreamTimestamp\0";
        let tag = [b"ID3\x04\0\0\0\0\0\x3fPRIV\0\0\0\x35\0\0".as_slice(), owner, &first.expect("sound").to_be_bytes()];
        let bytes = [tag.concat(), std::fs::read(&packed).expect("made")].concat();
        std::fs::write(packed, bytes).expect("written");
    }
    let list = std::fs::read_to_string(root.join("ears.m3u8")).expect("a playlist");
    std::fs::write(root.join("ears.m3u8"), list.replace(".ts", ".aac")).expect("written");
}
