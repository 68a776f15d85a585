//! Pictures without a time: each is in the joined file, and shown when it is to be shown.

use streamrip_lab::truth::Numbered;

use super::joined::joined;
use super::ts;

const VIDEO: u16 = 0x100;
const SECONDS: u32 = 8;

/// H.264 with B frames that others refer to, and AAC.
fn stream(codec: &str) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("stream.ts");
    let audio = "-c:a aac -b:a 64k -f mpegts";
    Numbered::seconds(f64::from(SECONDS)).make(&file, &format!("{codec} {audio}"));
    ts::packets(&std::fs::read(&file).expect("there"))
}

const H264: &str =
    "-c:v libx264 -preset veryfast -x264-params keyint=50:bframes=7:b-pyramid=normal:b-adapt=0:scenecut=0:open-gop=1";

/// All frames are shown, each once and in order, at even times.
fn all_is_shown(packets: &[Vec<u8>], what: &str) {
    let dir = tempfile::tempdir().expect("dir");
    let made = joined(dir.path(), "ts", &[(packets.concat(), 0.0, f64::from(SECONDS))]);
    let shown = &made.shown;
    let frames = SECONDS * 25;
    // The last picture may be a torn one, nobody knows.
    assert!(shown.missing(0..frames - 1).is_empty(), "{what}: {:?}\n{}", shown.missing(0..frames), made.story());
    assert!(shown.repeated().is_empty() && shown.in_order(), "{what}: {:?}", shown.video);
    for frame in &shown.video[0] {
        let due = f64::from(frame.number.expect("whole")) / 25.0;
        assert!((frame.at - shown.video[0][0].at - due).abs() < 0.005, "{what}: {frame:?}\n{}", made.story());
    }
    assert!(shown.worst_skew() < 0.13, "{what}: {}", shown.worst_skew());
    assert_eq!(shown.unheard(0..SECONDS - 1), Vec::<u32>::new(), "{what}");
}

/// Those packets in which a picture begins that is no keyframe, by their number among all pictures.
fn each_picture(packets: &mut [Vec<u8>], mut edit: impl FnMut(usize, &mut Vec<u8>)) {
    let pictures = packets.iter_mut().filter(|p| ts::pid(p) == VIDEO && ts::starts(p));
    for (n, packet) in pictures.enumerate().filter(|(_, p)| !ts::random_access(p)) {
        edit(n, packet);
    }
}

#[test]
fn one_picture_without_a_time() {
    for n in [1, 60, 99, 120] {
        let mut packets = stream(H264);
        each_picture(&mut packets, |at, packet| {
            if at == n {
                ts::strip_times(packet);
            }
        });
        all_is_shown(&packets, &format!("picture {n}"));
    }
}

#[test]
fn times_with_keyframes_only() {
    for codec in [
        H264,
        "-c:v libx264 -preset veryfast -g 50 -bf 3",
        "-c:v libx264 -preset veryfast -g 50 -bf 0",
        "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=50:bframes=4:open-gop=1:pools=1",
        "-c:v mpeg2video -b:v 800k -g 15 -bf 2",
    ] {
        let mut packets = stream(codec);
        each_picture(&mut packets, |_, packet| ts::strip_times(packet));
        all_is_shown(&packets, codec);
    }
}

#[test]
fn two_pictures_in_one_unit() {
    for codec in [H264, "-c:v mpeg2video -b:v 800k -g 15 -bf 2"] {
        let mut packets = stream(codec);
        let has_clock = |p: &[u8]| p[3] & 0x20 != 0 && p[4] > 0 && p[5] & 0x10 != 0;
        each_picture(&mut packets, |n, packet| {
            if n % 2 == 1 && !has_clock(packet) {
                ts::merge_into_the_one_before(packet);
            } else {
                ts::without_length(packet);
            }
        });
        all_is_shown(&packets, codec);
    }
}

#[test]
fn one_lost_packet_costs_the_picture_that_it_was_of() {
    let all = stream(H264);
    let of_video: Vec<usize> = (0..all.len()).filter(|n| ts::pid(&all[*n]) == VIDEO).collect();
    // In the middle of pictures and where one begins.
    for share in [0.31, 0.47, 0.62] {
        let from = (of_video.len() as f64 * share) as usize;
        let begins = of_video[from..].iter().find(|n| ts::starts(&all[**n]) && !ts::random_access(&all[**n]));
        for lost in [of_video[from], *begins.expect("a picture")] {
            let dir = tempfile::tempdir().expect("dir");
            let mut packets = all.clone();
            packets.remove(lost);
            let made = joined(dir.path(), "ts", &[(packets.concat(), 0.0, f64::from(SECONDS))]);
            let missing: u32 = made.shown.missing(0..SECONDS * 25 - 1).iter().map(|r| r.end - r.start).sum();
            // What refers to a damaged picture is damaged too, until the next keyframe.
            assert!(missing <= 50, "{missing} missing: {:?}\n{}", made.shown.missing(0..200), made.story());
            let packets: usize = made.indexes[0].tracks.iter().take(1).map(|t| t.packets as usize).sum();
            assert!(packets >= 199, "{packets} pictures are in the index");
            // Each has the time that it would have had.
            let track = made.indexes[0].head.iter().filter(|p| p.track == 1);
            let mut times: Vec<i64> = track.map(|p| p.pts_ms).collect();
            times.sort_unstable();
            assert!(times.windows(2).all(|w| [40, 80].contains(&(w[1] - w[0]))), "{times:?}");
        }
    }
}

#[test]
fn a_damaged_time_moves_nothing() {
    let mut packets = stream(H264);
    each_picture(&mut packets, |at, packet| {
        if at == 70 {
            // Two of the upper bits of both times.
            let at = ts::payload_at(packet);
            packet[at + 10] ^= 0x30;
            packet[at + 15] ^= 0x30;
        }
    });
    all_is_shown(&packets, "a damaged time");
}
