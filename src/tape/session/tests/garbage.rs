//! Streams whose bytes flow and whose media does not.

use super::*;

/// So many seconds of something a second.
fn every_second(what: &[u8], seconds: usize) -> Vec<Step> {
    (0..seconds).flat_map(|_| [Bytes(what.to_vec()), Silence(1000)]).collect()
}

/// One frame of MPEG-TS, a packet with a timestamp.
fn frame(ticks: u32) -> Vec<u8> {
    let mut packet = vec![0xff_u8; 188];
    packet[..4].copy_from_slice(&[0x47, 0x41, 0x00, 0x10]);
    let time = |n: u32| (ticks >> n) as u8;
    let head = [0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21 | (time(30) & 3) << 1, time(22), time(14) | 1, time(7)];
    packet[4..17].copy_from_slice(&head);
    packet[17] = time(0) << 1 | 1;
    packet
}

#[tokio::test(start_paused = true)]
async fn bytes_without_media_are_a_stall_and_the_next_mirror_is_asked_at_once() {
    let noise: Vec<u8> = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let again: Vec<u8> = (0..20).flat_map(|n| frame(n * 3600)).collect();
    for (what, bytes) in
        [("NULs", vec![0; 20_000]), ("noise", noise), ("a byte", vec![0x47]), ("the same frames again", again)]
    {
        let bad = every_second(&bytes, 100);
        let bench = Bench::new(&[("a", &[&bad]), ("b", &[&[Media(LONG)]])]);
        let mut tape = bench.start(bench.order(&["a", "b"], 60));
        bench.at(3_000).await;
        let silent = tape.status().silence().is_none_or(|silent| silent >= Duration::from_millis(1_500));
        assert!(silent, "{what}: no media has come for as long");
        tape.finished().await;
        let connections = bench.connections();
        assert_eq!(connections, [(1, EndReason::Stalled), (2, EndReason::WindowEnd)], "{what}");
        let opened = bench.opened_ms();
        // One that was good is hedged before its stall is called.
        assert!((3_000..13_500).contains(&opened[1]), "{what}: {opened:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_behind_nuls_or_noise_is_recorded() {
    let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    for (what, junk) in [("NULs", vec![0; 400_000]), ("noise", noise)] {
        let bench = Bench::new(&[("a", &[&[Bytes(junk.clone()), Media(LONG)]])]);
        let mut tape = bench.start(bench.order(&["a"], 60));
        tape.finished().await;
        assert_eq!(bench.connections(), [(1, EndReason::WindowEnd)], "{what}");
        let (_, content, closed) = bench.segments().remove(0);
        let TapeEvent::SegmentClosed { container, .. } = closed else { unreachable!() };
        assert_eq!(container, Container::MpegTs, "{what}");
        assert!(content.len() > 590 * 1880, "{what}");
        let begins = content.iter().position(|byte| *byte == 0x47).expect("a packet");
        assert!(what != "NULs" || begins == 0, "the file begins with the stream");
    }
}
