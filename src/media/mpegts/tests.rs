use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

/// Ten seconds from ffmpeg: a keyframe each second, with audio.
fn real(arguments: &[&str]) -> Vec<u8> {
    let picture = ["-f", "lavfi", "-i", "testsrc=s=160x90:r=25:d=10", "-f", "lavfi", "-i", "sine=d=10"];
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error"])
        .args(picture)
        .args(arguments)
        .args(["-g", "25", "-f", "mpegts", "pipe:1"])
        .stderr(Stdio::inherit())
        .output()
        .expect("ffmpeg runs");
    assert!(output.status.success());
    output.stdout
}

fn h264() -> Vec<u8> {
    real(&["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-c:a", "aac"])
}

fn scan(bytes: &[u8], step: usize) -> Scan {
    let mut scan = Scan::default();
    bytes.chunks(step).for_each(|chunk| scan.feed(chunk));
    scan
}

#[test]
fn cuts_lie_at_key_pictures_however_the_bytes_come() {
    let bytes = h264();
    let whole = scan(&bytes, bytes.len());
    assert_eq!(whole.streams().iter().map(|s| s.codec()).collect::<Vec<_>>(), ["H.264", "AAC"]);
    let seconds: Vec<_> = whole.cuts().iter().map(|c| (c.ticks - whole.cuts()[0].ticks) / TICKS).collect();
    assert_eq!(seconds, (0..10).collect::<Vec<i64>>());
    let hashes: std::collections::BTreeSet<_> = whole.cuts().iter().map(|c| c.hash).collect();
    assert_eq!(hashes.len(), 10, "each picture is another one");
    let length = (whole.end_ticks() - whole.cuts()[0].ticks) as f64 / TICKS as f64;
    assert!((9.9..10.1).contains(&length), "{length}");
    for step in [1, 187, 189, 5000] {
        let pieces = scan(&bytes, step);
        assert_eq!((pieces.cuts(), pieces.end_ticks()), (whole.cuts(), whole.end_ticks()), "{step}");
    }
    let video = real(&["-c:v", "mpeg2video", "-c:a", "mp2"]);
    assert_eq!(scan(&video, video.len()).cuts().len(), 10);
}

#[test]
fn every_packet_of_pictures_and_sound_is_in_exactly_one_piece() {
    let bytes = h264();
    let scan = scan(&bytes, bytes.len());
    let mut edges: Vec<u64> = scan.cuts().iter().map(|c| c.byte).collect();
    edges.push(bytes.len() as u64);
    let mut counted = vec![0; bytes.len() / PACKET];
    for pair in edges.windows(2) {
        let mut piece = TsSlice::new(&scan, pair[0], pair[1]);
        for (nth, packet) in bytes.chunks_exact(PACKET).enumerate() {
            let at = (nth * PACKET) as u64;
            if at >= pair[0] && !piece.is_over(at) && piece.has(at, packet) {
                counted[nth] += 1;
            }
        }
    }
    let first = usize::try_from(edges[0]).expect("small") / PACKET;
    assert!(first < 10, "{first}");
    let wrong: Vec<_> = counted.iter().enumerate().skip(first).filter(|(_, n)| **n != 1).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_wrap_is_no_jump_and_a_new_clock_is_one() {
    let wrapping = real(&["-c:v", "libx264", "-c:a", "aac", "-output_ts_offset", "95438"]);
    let scanned = scan(&wrapping, wrapping.len());
    assert!(scanned.cuts().iter().all(|c| c.jump.is_none()), "{:?}", scanned.cuts());
    let last = scanned.cuts().last().expect("cuts").ticks;
    assert!(last > WRAP, "it wraps: {last}");
    let mut twice = h264();
    twice.extend(real(&["-c:v", "libx264", "-c:a", "aac", "-output_ts_offset", "5000"]));
    let whole = scan(&twice, twice.len());
    let jumps: Vec<_> = whole.cuts().iter().filter_map(|c| c.jump).collect();
    let first = scan(&h264(), 1 << 20);
    assert_eq!(jumps, [first.end_ticks()], "it says where the clock before ended");
    // However far it was read, the end is one by the clock of the last cut.
    let mut scan = Scan::default();
    for bytes in twice.chunks(PACKET) {
        scan.feed(bytes);
        if let Some(last) = scan.cuts().last() {
            assert!((0..3 * TICKS).contains(&(scan.end_ticks() - last.ticks)), "{} {last:?}", scan.end_ticks());
        }
    }
}

#[test]
fn sound_alone_is_cut_too() {
    let sound = real(&["-vn", "-c:a", "aac"]);
    let scan = scan(&sound, sound.len());
    assert!(scan.cuts().len() > 10, "{}", scan.cuts().len());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..4000), step in 1_usize..400) {
        for at in (0..bytes.len()).step_by(PACKET) {
            bytes[at] = 0x47;
        }
        let scan = scan(&bytes, step);
        let mut piece = TsSlice::new(&scan, 0, bytes.len() as u64);
        for (nth, packet) in bytes.chunks(PACKET).enumerate() {
            piece.has((nth * PACKET) as u64, packet);
        }
    }
}
