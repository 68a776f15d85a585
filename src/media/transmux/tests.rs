use streamrip_lab::{Format, Recipe};

use super::*;

fn file(format: Format, seconds: f64) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("works");
    std::fs::write(file.path(), Recipe::new(format).seconds(seconds).bytes()).expect("works");
    file
}

fn opened(format: Format, bytes: u64) -> ProbedHead {
    let file = file(format, 4.0);
    let found = probe_head(file.path(), format == Format::Adts, bytes, &CancellationToken::new());
    found.expect("works").unwrap_or_else(|| panic!("{format:?}: nothing found"))
}

#[test]
fn what_browsers_play_is_known_by_its_first_seconds() {
    let webm = |codecs: &str| Ok(TargetFormat::WebM(format!("video/webm; codecs=\"{codecs}\"")));
    for (format, target_format) in [
        (Format::Flv, Ok(TargetFormat::MpegTs)),
        (Format::Mp4, Ok(TargetFormat::MpegTs)),
        (Format::Mp3, Ok(TargetFormat::MpegTs)),
        (Format::Adts, Ok(TargetFormat::MpegTs)),
        (Format::WebM, webm("vp8,vorbis")),
        (Format::Vp9, webm("vp9,opus")),
        (Format::Opus, webm("opus")),
        (Format::OggAudio, webm("vorbis")),
        (Format::Ogg, Err("browsers do not play Theora".to_owned())),
        (Format::Asf, Err("browsers do not play Windows Media, Flash or another old video".to_owned())),
    ] {
        let probe_head = opened(format, u64::MAX);
        assert_eq!(probe_head.target_format, target_format, "{format:?}");
        let length = probe_head.end_ms - probe_head.first_ms;
        assert!((3800..=4200).contains(&length), "{format:?}: {length} ms");
    }
}

#[test]
fn codecs_are_told_as_browsers_want_to_hear_them() {
    let track = |codec: &str, private: &'static [u8]| (codec.to_owned(), private);
    for (tracks, target_format) in [
        (
            vec![track("V_AV1", &[0x81, 0x08, 0x0c])],
            Ok(TargetFormat::WebM("video/webm; codecs=\"av01.0.08M.08\"".to_owned())),
        ),
        (
            vec![track("V_AV1", &[0x81, 0x2d, 0xc0])],
            Ok(TargetFormat::WebM("video/webm; codecs=\"av01.1.13H.10\"".to_owned())),
        ),
        (
            vec![track("V_MPEG4/ISO/AVC", &[]), track("A_VORBIS", &[])],
            Err("browsers do not play H.264 and VORBIS together".to_owned()),
        ),
        (
            vec![track("V_MPEG4/ISO/AVC", &[]), track("A_MPEG/L2", &[])],
            Err("browsers do not play MPEG audio layer 2".to_owned()),
        ),
    ] {
        assert_eq!(super::target_format(&tracks), target_format);
    }
}

#[test]
fn webm_is_cut_into_pieces_that_play_by_themselves() {
    for format in [Format::WebM, Format::Vp9, Format::OggAudio] {
        let file = file(format, 6.0);
        let path = file.path().to_owned();
        let (mut demux, mut pipe) = Demux::fed(&path, &CancellationToken::new()).expect("works");
        let feeder = std::thread::spawn(move || {
            io::copy(&mut std::fs::File::open(path).expect("works"), &mut pipe).expect("works");
        });
        let (mut webm, mut bytes) = (Webm::default(), Vec::new());
        while let Some(packet) = demux.next_packet().expect("works") {
            bytes.extend(webm.take(&demux, packet).expect("works"));
        }
        feeder.join().expect("works");
        assert_eq!(webm.written(), bytes.len() as u64);
        let cuts = webm.cuts();
        assert!(cuts.len() >= 6, "{format:?}: {cuts:?}");
        assert_eq!(cuts[0].byte, 0);
        let ends = cuts[1..].iter().map(|c| (c.byte, c.ticks)).chain([(webm.written(), webm.end_ticks())]);
        for (cut, (to, end)) in cuts.iter().zip(ends) {
            let piece =
                [webm.head(), &bytes[usize::try_from(cut.byte).expect("fits")..usize::try_from(to).expect("fits")]]
                    .concat();
            let (first, last) = decoded(&piece);
            let (first, last, at, end) = (first * 1000.0, last * 1000.0, cut.ticks as f64 / 90.0, end as f64 / 90.0);
            // Of audio the first block only leads in.
            let leads_in = if format.has_video() { 2.0 } else { 40.0 };
            assert!((first - at).abs() < leads_in, "{format:?}: begins at {first}, not {at}");
            assert!((last - end).abs() < 60.0, "{format:?}: ends at {last}, not {end}");
        }
    }
}

#[test]
fn media_ends_where_its_last_picture_ends_whatever_its_clock_shows() {
    let mut webm = Webm::default();
    let mut take = |pts_ms: i64, key: bool| {
        let packet = Packet { track: 1, pts_ms, duration_ms: 0, key, size: 1, hash: pts_ms.unsigned_abs() };
        let packet = Demuxed { packet, ordinal: 0, discard_padding_ns: None, payload: vec![0] };
        webm.packet(&[], true, packet).expect("works");
        let cuts = webm.cuts().iter().map(|cut| (cut.ticks / 90, cut.jump.map(|end| end / 90))).collect::<Vec<_>>();
        (cuts, webm.end_ticks() / 90)
    };
    // Nothing can be shown before the first keyframe.
    assert_eq!(take(99_960, false).0, []);
    for at in (100_000..102_000).step_by(40) {
        take(at, at % 1000 == 0);
    }
    assert_eq!(take(102_000, true), (vec![(100_000, None), (101_000, None), (102_000, None)], 102_040));
    // The clock is set back; video frames follow each other as before.
    assert_eq!(take(5000, true).0.last(), Some(&(5000, Some(102_040))));
    assert_eq!(take(5040, false).1, 5080);
    // And again, on a video frame at which nothing can begin: what follows belongs to what was before until one comes.
    assert_eq!(take(900_000, false).1, 5080);
    assert_eq!(
        take(900_040, true),
        (
            vec![(100_000, None), (101_000, None), (102_000, None), (5000, Some(102_040)), (900_040, Some(5080))],
            900_080
        )
    );
}

#[test]
fn a_clock_that_is_set_makes_no_media() {
    let mut times = Times::begin(0);
    for (pts_ms, duration_ms) in [(0, 40), (7_200_000, 40), (7_200_080, 40), (7_200_040, 40), (1000, 0)] {
        times.take(pts_ms, duration_ms);
    }
    assert_eq!((times.first_ms, times.length_ms), (0, 120));
}

/// Presentation times of the first and after the last frame that a decoder makes of the first stream, seconds.
fn decoded(piece: &[u8]) -> (f64, f64) {
    let file = tempfile::NamedTempFile::new().expect("works");
    std::fs::write(file.path(), piece).expect("works");
    let arguments = ["-v", "error", "-select_streams", "0", "-show_entries", "frame=pts_time", "-of", "csv=p=0"];
    let output = std::process::Command::new("ffprobe").args(arguments).arg(file.path()).output().expect("ffprobe runs");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let times: Vec<f64> = text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    let (first, last) = (times[0], times[times.len() - 1]);
    (first, last + (last - first) / (times.len() - 1) as f64)
}
