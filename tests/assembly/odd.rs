//! Recordings that are odd: clocks that start anew, wrap or count from zero, damaged bytes, pictures out of
//! order, nothing but silence.

use std::path::{Path, PathBuf};

use streamrip::domain::media::{MediaIndex, TrackKind};
use streamrip::media::CancellationToken;
use streamrip::media::index::index;
use streamrip::media::mpegts::Scan;
use streamrip_lab::{Format, Recipe};

use crate::judge::{Made, Probed, assemble, assemble_window, decodes, decodes_from, packets, places, run};
use crate::taking::Dump;

/// Runs ffmpeg on made-up pictures and sound of so many seconds.
fn encode(file: &Path, seconds: u32, options: &str) {
    let seconds = seconds.to_string();
    let mut args = vec!["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25"];
    args.extend([
        "-f",
        "lavfi",
        "-i",
        "aevalsrc=0.2*sin(2*PI*(330*t+40*sin(0.37*t)))+0.05*random(0):sample_rate=44100",
    ]);
    args.extend(["-t", &seconds]);
    args.extend(options.split_whitespace());
    args.push(file.to_str().expect("plain"));
    run("ffmpeg", &args);
}

/// Cuts a stream of so many seconds at bytes, as visits between these seconds would.
fn visits(bytes: &[u8], seconds: f64, unit: usize, visits: &[(f64, f64)]) -> Vec<Dump> {
    let at = |s: f64| ((bytes.len() as f64 * s / seconds) as usize).min(bytes.len()) / unit * unit;
    visits.iter().map(|(from, to)| Dump::made(bytes[at(*from)..at(*to)].to_vec(), *from, *to)).collect()
}

fn rises(made: &Made, list: &[Probed]) {
    // ffprobe computes decoding times, and for the very first packets it may not say any.
    let known: Vec<&Probed> = list.iter().filter(|p| !p.dts.is_nan()).collect();
    assert!(known.len() + 3 > list.len());
    for w in known.windows(2) {
        assert!(w[0].dts < w[1].dts, "times fall at {}: {}", w[0].pts, made.plan.describe().join("\n"));
    }
}

/// Every packet of the encoder between the first and the last one that is there, once.
fn whole(made: &Made, truth: &[Probed], list: &[Probed]) -> (usize, usize) {
    let got: Vec<usize> = places(truth, list).into_iter().map(|p| p.expect("one of the encoder's")).collect();
    for w in got.windows(2) {
        assert!(w[0] + 1 == w[1], "{} is followed by {}: {}", w[0], w[1], made.plan.describe().join("\n"));
    }
    rises(made, list);
    (got[0], got[got.len() - 1])
}

/// Nothing of the encoder's file is missing in the middle, and at most two packets a track at the end.
fn all_of_it(made: &Made, truth: &Path) {
    let (truth, ours) = (packets(truth), packets(&made.file));
    for kind in [0, 1] {
        whole(made, &truth[kind], &ours[kind]);
        assert!(ours[kind].len() + 2 >= truth[kind].len());
    }
    decodes(&made.file, Format::MpegTs);
}

#[test]
fn pictures_out_of_order_are_cut_where_they_can_be_decoded() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("truth.ts");
    // Open groups of pictures: some that follow a key picture are shown before it.
    encode(
        &file,
        30,
        "-c:v libx264 -preset veryfast -bf 3 -b_strategy 0 -g 40 -x264-params open-gop=1 -b:v 120k -c:a aac -b:a 64k -f mpegts",
    );
    let truth = packets(&file);
    let bytes = std::fs::read(&file).expect("there");
    let dumps = visits(&bytes, 30.0, 188, &[(0.0, 11.3), (9.1, 21.7), (19.0, 30.0)]);
    let made = assemble_window(dir.path(), &dumps, "ts", Some((3.3, 26.1)));
    let ours = packets(&made.file);
    // Pictures after the first one that are shown before it need what is not there.
    let first = places(&truth[0], &ours[0][..1])[0].expect("one of the encoder's");
    let (next, last) = whole(&made, &truth[0], &ours[0][1..]);
    assert!(truth[0][first].key, "begins with picture {first}");
    assert!(truth[0][first + 1..next].iter().all(|p| p.pts < truth[0][first].pts), "{first} then {next}");
    whole(&made, &truth[1], &ours[1]);
    // Not from the middle: ffmpeg complains when it is sent into an open group, in its own copies too.
    decodes_from(&made.file, Format::MpegTs, 0.0);
    // The last key picture at or before the begin; 40 pictures of 40 ms make a group.
    let start = truth[0][0].pts + 3.3;
    assert!((start - 1.9..start + 0.3).contains(&truth[0][first].pts), "begins at {}", truth[0][first].pts);
    assert!((truth[0][last].pts - (truth[0][0].pts + 26.1)).abs() < 0.5, "ends at {}", truth[0][last].pts);
    let sound: Vec<f64> = ours[1].iter().map(|p| p.pts).collect();
    assert!((sound[sound.len() - 1] - ours[0].iter().map(|p| p.pts).fold(0.0, f64::max)).abs() < 0.4);
}

#[test]
fn a_clock_that_starts_anew_inside_a_file_costs_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    let (one, two) = (dir.path().join("one.ts"), dir.path().join("two.ts"));
    let options = "-c:v libx264 -preset ultrafast -g 25 -b:v 100k -c:a aac -b:a 64k -f mpegts";
    encode(&one, 8, options);
    // The same encoder with other content, as after a restart.
    encode(&two, 10, &format!("-vf negate -af volume=0.5 {options}"));
    let mut bytes = std::fs::read(&one).expect("there");
    bytes.extend(std::fs::read(&two).expect("there"));
    let dumps = visits(&bytes, 18.0, 188, &[(0.0, 12.0), (10.0, 18.0)]);
    let made = assemble(dir.path(), &dumps, "ts");
    assert_eq!(made.indexes[0].clock_ranges.len(), 2, "{:?}", made.indexes[0].clock_ranges);
    let (a, b, ours) = (packets(&one), packets(&two), packets(&made.file));
    for kind in [0, 1] {
        let truth: Vec<Probed> = a[kind].iter().chain(&b[kind]).cloned().collect();
        let got: Vec<usize> =
            places(&truth, &ours[kind]).into_iter().map(|p| p.expect("one of the encoder's")).collect();
        assert!(got.windows(2).all(|w| w[0] < w[1]), "{}", made.plan.describe().join("\n"));
        // At the reset a torn packet may go.
        assert!(got.len() + 3 >= truth.len(), "{} of {} of kind {kind}", got.len(), truth.len());
        rises(&made, &ours[kind]);
    }
}

#[test]
fn a_new_chain_in_ogg_is_a_new_clock() {
    let dir = tempfile::tempdir().expect("dir");
    // Icecast's sources begin a new chain with each title; its comments differ, the format does not.
    let (one, two) = (dir.path().join("one.ogg"), dir.path().join("two.ogg"));
    encode(&one, 8, "-vn -c:a libvorbis -b:a 64k -metadata title=One -f ogg");
    encode(&two, 8, "-vn -af volume=0.5 -c:a libvorbis -b:a 64k -metadata title=Two -f ogg");
    let mut bytes = std::fs::read(&one).expect("there");
    bytes.extend(std::fs::read(&two).expect("there"));
    let made = assemble(dir.path(), &[Dump::made(bytes, 0.0, 16.0)], "ogg");
    assert_eq!(made.indexes[0].clock_ranges.len(), 2);
    let (a, b, ours) = (packets(&one), packets(&two), packets(&made.file));
    let truth: Vec<Probed> = a[1].iter().chain(&b[1]).cloned().collect();
    // By content: the first packets of both chains are alike.
    let hashes = |list: &[Probed]| list.iter().map(|p| p.hash.clone()).collect::<Vec<_>>();
    assert_eq!(hashes(&ours[1]), hashes(&truth));
    rises(&made, &ours[1]);
    decodes(&made.file, Format::OggAudio);
}

#[test]
fn the_clock_of_mpeg_ts_wraps_after_26_hours() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("truth.ts");
    encode(
        &file,
        20,
        "-c:v libx264 -preset ultrafast -g 25 -b:v 100k -c:a aac -b:a 64k -output_ts_offset 95433 -f mpegts",
    );
    let bytes = std::fs::read(&file).expect("there");
    // The second and third begin before and after the wrap.
    let dumps = visits(&bytes, 20.0, 188, &[(0.0, 9.5), (8.0, 15.0), (13.0, 20.0)]);
    let made = assemble(dir.path(), &dumps, "ts");
    all_of_it(&made, &file);
}

#[test]
fn aac_without_a_container_has_no_clock() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("truth.aac");
    encode(&file, 30, "-vn -c:a aac -b:a 64k -f adts");
    let bytes = std::fs::read(&file).expect("there");
    // Cut in the middle of frames.
    let dumps = visits(&bytes, 30.0, 1, &[(0.0, 8.0), (5.0, 14.0), (18.0, 25.0), (23.5, 30.0)]);
    let made = assemble(dir.path(), &dumps, "aac");
    let mkv = dir.path().join("truth.mkv");
    run("ffmpeg", &["-v", "error", "-i", file.to_str().expect("plain"), "-c", "copy", mkv.to_str().expect("plain")]);
    let (truth, ours) = (packets(&mkv), packets(&made.file));
    let got: Vec<usize> = places(&truth[1], &ours[1]).into_iter().map(|p| p.expect("one of the encoder's")).collect();
    assert!(got.windows(2).all(|w| w[0] < w[1]));
    assert_eq!(got.windows(2).filter(|w| w[0] + 1 < w[1]).count(), 1, "one gap: {}", made.plan.describe().join("\n"));
    let missing = truth[1].len() - got.len();
    assert!((165..182).contains(&missing), "{missing} of {} frames missing for 4 s", truth[1].len());
    decodes(&made.file, Format::MpegTs);
}

#[test]
fn connections_that_count_from_zero_share_packets_all_the_same() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("truth.flv");
    encode(&file, 24, "-c:v libx264 -preset ultrafast -g 25 -b:v 100k -c:a aac -b:a 64k -f flv");
    let name = file.to_str().expect("plain");
    let dumps: Vec<Dump> = [(0.0, 9.0), (7.0, 16.0), (14.5, 24.0)]
        .iter()
        .enumerate()
        .map(|(n, (from, to))| {
            let out = dir.path().join(format!("cut{n}.flv"));
            let (from_s, length) = (from.to_string(), (to - from).to_string());
            run(
                "ffmpeg",
                &["-v", "error", "-ss", &from_s, "-t", &length, "-i", name, "-c", "copy", out.to_str().expect("plain")],
            );
            Dump::made(std::fs::read(&out).expect("there"), *from, *to)
        })
        .collect();
    let made = assemble(dir.path(), &dumps, "flv");
    all_of_it(&made, &file);
}

#[test]
fn silence_and_black_repeat_packets_and_lose_none() {
    let dir = tempfile::tempdir().expect("dir");
    let bytes = Recipe::new(Format::MpegTs).black().silent().video_kbit(60).seconds(24.0).bytes();
    let file = dir.path().join("truth.ts");
    std::fs::write(&file, &bytes).expect("written");
    let truth = packets(&file);
    let dumps = visits(&bytes, 24.0, 188, &[(0.0, 10.0), (7.0, 17.0), (15.0, 24.0)]);
    let made = assemble(dir.path(), &dumps, "ts");
    let ours = packets(&made.file);
    for kind in [0, 1] {
        // Hashes say nothing here; numbers and times do.
        let plan = made.plan.describe().join("\n");
        assert!(
            truth[kind].len().abs_diff(ours[kind].len()) <= 1,
            "{} of {}:\n{plan}\n{:?}\n{:#?}",
            ours[kind].len(),
            truth[kind].len(),
            made.indexes.iter().map(|i| &i.tracks).collect::<Vec<_>>(),
            made.plan.seams
        );
        let shift = truth[kind][0].pts - ours[kind][0].pts;
        for (a, b) in truth[kind].iter().zip(&ours[kind]) {
            assert!((a.pts - b.pts - shift).abs() < 0.003, "{} became {}", a.pts, b.pts);
        }
    }
    assert!(made.plan.clips.iter().all(|p| p.before.is_none()));
}

#[test]
fn damaged_bytes_cost_what_is_damaged() {
    let dir = tempfile::tempdir().expect("dir");
    for (format, extension) in
        [(Format::MpegTs, "ts"), (Format::Mp3, "mp3"), (Format::WebM, "webm"), (Format::OggAudio, "ogg")]
    {
        let mut bytes = Recipe::new(format).video_kbit(100).seconds(12.0).bytes();
        let truth_file = dir.path().join(format!("truth.{extension}"));
        std::fs::write(&truth_file, &bytes).expect("written");
        let middle = bytes.len() / 2;
        for (n, byte) in bytes[middle..middle + 3000].iter_mut().enumerate() {
            *byte = (n * 97 % 251) as u8;
        }
        let made = assemble(dir.path(), &[Dump::made(bytes, 0.0, 12.0)], extension);
        let (truth, ours) = (packets(&truth_file), packets(&made.file));
        for kind in [0, 1] {
            let kept = places(&truth[kind], &ours[kind]).iter().flatten().count();
            assert!(
                kept * 100 >= truth[kind].len() * 80,
                "{extension}: {kept} of {} of kind {kind}",
                truth[kind].len()
            );
        }
        assert!(made.plan.tracks.iter().any(|t| t.kind == TrackKind::Audio));
    }
}

#[test]
fn a_file_that_grows_is_joined_as_it_was_indexed() {
    let dir = tempfile::tempdir().expect("dir");
    let bytes = Recipe::new(Format::MpegTs).video_kbit(100).seconds(40.0).bytes();
    let path = dir.path().join("dump0.ts");
    // A tape goes on writing while its segment is looked at.
    let (half, rest) = bytes.split_at(bytes.len() / 2 / 188 * 188);
    let rest = rest.to_vec();
    let growing = path.clone();
    let writer = std::thread::spawn(move || {
        let wait = || growing.metadata().is_ok_and(|m| m.len() > 0);
        streamrip_lab::wait_until("the file", streamrip_lab::PATIENCE, wait);
        let mut file = std::fs::OpenOptions::new().append(true).open(&growing).expect("opened");
        for chunk in rest.chunks(5000) {
            std::io::Write::write_all(&mut file, chunk).expect("written");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    });
    let made = assemble_window(dir.path(), &[Dump::made(half.to_vec(), 0.0, 20.0)], "ts", Some((4.0, 17.0)));
    writer.join().expect("written");
    let ours = packets(&made.file);
    assert!((300..380).contains(&ours[0].len()), "{} pictures of 13 s", ours[0].len());
    decodes(&made.file, Format::MpegTs);
}

#[test]
fn pictures_without_a_key_one_are_of_the_format_of_the_file_before() {
    let dir = tempfile::tempdir().expect("dir");
    let cancel = CancellationToken::new();
    let look = |path: &Path, donors: &[PathBuf]| index(path, &[], donors, &cancel).expect("indexed");
    let formats = |index: &MediaIndex| index.tracks.iter().map(|t| t.format_hash).collect::<Vec<_>>();
    // The last one is cut where its clock wraps.
    for options in [
        "-c:v libx264 -preset ultrafast -tune zerolatency",
        "-c:v libx264 -preset veryfast -bf 3 -x264-params slices=4",
        "-c:v libx265 -preset ultrafast -x265-params log-level=error",
        "-c:v mpeg2video -bf 2",
        "-c:v mpeg4",
        "-c:v libx264 -preset ultrafast -output_ts_offset 95440.3",
    ] {
        let file = dir.path().join("whole.ts");
        encode(&file, 6, &format!("{options} -g 50 -b:v 300k -c:a aac -b:a 64k -f mpegts"));
        let bytes = std::fs::read(&file).expect("there");
        let whole = look(&file, &[]);
        // Anywhere in the group of pictures from 2 to 4 s: packets of pictures are torn at both ends.
        let at = |second: f64| {
            let mut scan = Scan::default();
            scan.feed(&bytes);
            let [_, second_key, third_key, ..] = *scan.cuts() else { panic!("{options}: {:?}", scan.cuts()) };
            let [from, to] = [second_key, third_key].map(|cut| cut.byte as f64);
            (from + (to - from) * second / 2.0) as usize / 188 * 188
        };
        let [before, piece] = ["before.ts", "piece.ts"].map(|name| dir.path().join(name));
        std::fs::write(&before, &bytes[..at(0.6)]).expect("written");
        std::fs::write(&piece, &bytes[at(0.6)..at(1.6)]).expect("written");
        let found = look(&piece, &[dir.path().join("gone.ts"), piece.clone(), before.clone()]);
        assert_eq!(formats(&found), formats(&whole), "{options}: {found:?}");
        assert!(!found.prefix.is_empty() && found.prefix.len() < 4000 && found.keys_ms.is_empty(), "{options}");
        // Its packets are those of the whole, in their order, at their times.
        for track in [1, 2] {
            let of = |index: &MediaIndex| -> Vec<_> {
                index.head.iter().filter(|p| p.track == track).map(|p| (p.hash, p.size, p.pts_ms)).collect()
            };
            let (all, mut own) = (of(&whole), of(&found));
            // The last one is torn.
            own.pop();
            let begins = all.iter().position(|p| (p.0, p.1) == (own[0].0, own[0].1)).expect("one of the whole's");
            let shift = all[begins].2 - own[0].2;
            for (own, whole) in own.iter().zip(&all[begins..]) {
                assert_eq!((own.0, own.1), (whole.0, whole.1), "{options}, track {track}");
                // The frames of a torn unit of sound have guessed times.
                let most = if track == 1 { 0 } else { 25 };
                assert!((whole.2 - own.2 - shift).abs() <= most, "{options}, track {track}: {own:?} was {whole:?}");
            }
            assert!(
                own.len() >= 10 && (shift.abs() <= 25 || shift.abs().abs_diff((1 << 33) / 90) <= 25),
                "{options}: {shift}"
            );
        }
        // What begins with a key picture, and what nobody lends to, is as it was.
        assert!(look(&before, std::slice::from_ref(&file)).prefix.is_empty());
        assert!(look(&piece, &[]).tracks.iter().all(|t| t.kind == TrackKind::Audio), "{options}");
    }
}
