//! What counts as media, of each container.

use super::*;

/// A packet of MPEG-TS that begins a PES packet of a PID with a timestamp.
fn ts(pid: u16, ticks: i64) -> Vec<u8> {
    let mut packet = vec![0xff_u8; 188];
    packet[..4].copy_from_slice(&[0x47, 0x40 | (pid >> 8) as u8, pid as u8, 0x10]);
    let time = |n: i64| (ticks >> n) as u8;
    packet[4..18].copy_from_slice(&[
        0,
        0,
        1,
        0xe0,
        0,
        0,
        0x80,
        0x80,
        5,
        0x21 | (time(30) & 7) << 1,
        time(22),
        time(14) | 1,
        time(7),
        time(0) << 1 | 1,
    ]);
    packet
}

/// `push` with each stream cut into reads of odd lengths; what advanced.
fn feed(clock: &mut MediaClock, bytes: &[u8]) -> bool {
    bytes.chunks(61).map(|piece| clock.push(piece)).fold(false, |any, advanced| any | advanced)
}

#[test]
fn mpeg_ts_goes_by_its_timestamps_over_wraps_and_restarts() {
    let mut clock = MediaClock::new(Container::MpegTs);
    let near = (1_i64 << 33) - 90_000;
    for n in 0..100 {
        assert!(feed(&mut clock, &[ts(0x100, (near + n * 3600) % (1 << 33)), ts(0x101, n * 3600)].concat()), "{n}");
    }
    // The last packet waits for the next sync byte.
    assert_eq!(clock.media_ms(), 98 * 40 + 40);
    for n in 0..50 {
        feed(&mut clock, &ts(0x100, (1 << 32) + n * 3600));
    }
    assert!(clock.media_ms() > 99 * 40, "a restarted encoder goes on: {}", clock.media_ms());
}

#[test]
fn packets_with_a_time_before_or_error_correction_behind_them_count_too() {
    for (before, behind) in [(4, 0), (0, 16)] {
        let mut clock = MediaClock::new(Container::MpegTs);
        for n in 0..100 {
            feed(&mut clock, &[vec![9; before], ts(0x100, n * 3600), vec![9; behind]].concat());
        }
        assert_eq!(clock.media_ms(), 98 * 40, "{before} {behind}");
    }
}

#[test]
fn what_brings_nothing_new_is_no_media_whatever_its_bytes_do() {
    let mut clock = MediaClock::new(Container::MpegTs);
    feed(&mut clock, &[ts(0x100, 0), ts(0x100, 3600), ts(0x100, 7200)].concat());
    // The packet before is known to be one by the sync byte of this one.
    feed(&mut clock, &ts(0x100, 3600));
    for _ in 0..100 {
        assert!(!feed(&mut clock, &ts(0x100, 3600)), "one frame again and again");
    }
    assert!(!feed(&mut clock, &[0; 100_000]), "NULs");
    let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert!(!feed(&mut clock, &noise), "noise");
    assert!(!feed(&mut clock, b"<html>Sorry</html>"), "a page");
    assert!(!feed(&mut MediaClock::new(Container::Unknown), &noise), "noise from the start");
    let null: Vec<u8> = [&[0x47_u8, 0x1f, 0xff, 0x10][..], &[0xff; 184]].concat();
    assert!(!feed(&mut MediaClock::new(Container::MpegTs), &null.repeat(100)), "stuffing");
    // The stream goes on behind all that.
    assert!(feed(&mut clock, &[ts(0x100, 10_800), ts(0x100, 14_400)].concat()));
}

#[test]
fn media_is_found_behind_what_is_none() {
    let stream: Vec<u8> = (0..1000).flat_map(|n| ts(0x100, n * 3600)).collect();
    for junk in [vec![0_u8; 100_000], (0..70_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()] {
        let mut clock = MediaClock::new(Container::Unknown);
        assert!(!feed(&mut clock, &junk));
        assert!(feed(&mut clock, &stream));
        assert_eq!(clock.container(), Container::MpegTs);
        // What it looked through before it was found counts too.
        assert!(clock.media_ms() >= 30_000, "{}", clock.media_ms());
    }
}

#[test]
fn matroska_goes_by_its_blocks() {
    let mut clock = MediaClock::new(Container::WebM);
    let header = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff";
    assert!(!feed(&mut clock, header));
    for n in 0..10_u8 {
        let mut cluster = b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff\xe7\x82".to_vec();
        cluster.extend((u16::from(n) * 1000).to_be_bytes());
        for at in [0_u16, 40, 960] {
            cluster.extend(b"\xa3\x94\x81");
            cluster.extend(at.to_be_bytes());
            cluster.extend([0x80; 17]);
        }
        assert!(feed(&mut clock, &cluster), "{n}");
        // A cluster that is damaged.
        assert!(!feed(&mut clock, b"\0\0\0\0\0\0\0\0\0\0\0\0"));
    }
    assert_eq!(clock.media_ms(), 9_960);
}

#[test]
fn ogg_goes_by_granules() {
    let page = |flags: u8, granule: i64, body: &[u8]| {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend(granule.to_le_bytes());
        page.extend(7_u32.to_le_bytes());
        page.extend([0; 8]);
        page.push(1);
        page.push(body.len() as u8);
        page.extend(body);
        page
    };
    let mut clock = MediaClock::new(Container::Ogg);
    feed(&mut clock, &page(2, 0, b"OpusHead\x01\x02\0\0\0\0\0\0\0\0\0"));
    for n in 1..=50 {
        assert!(feed(&mut clock, &[page(0, n * 48_000, &[1; 200]), b"junk".to_vec(), vec![0; 40]].concat()), "{n}");
    }
    assert_eq!(clock.media_ms(), 49_000);
    // Each song has a stream of its own.
    for song in 8..60_u32 {
        let page = |flags, granule, body: &[u8]| {
            let mut page = page(flags, granule, body);
            page[14..18].copy_from_slice(&song.to_le_bytes());
            page
        };
        feed(&mut clock, &page(2, 0, b"OpusHead\x01\x02\0\0\0\0\0\0\0\0\0"));
        feed(&mut clock, &page(0, 48_000, &[1; 200]));
        assert!(feed(&mut clock, &page(0, 96_000, &[1; 200])), "{song}");
    }
}

#[test]
fn flv_goes_by_its_tags() {
    let mut clock = MediaClock::new(Container::Flv);
    feed(&mut clock, b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
    for n in 0..100_u32 {
        let ms = (n * 40).to_be_bytes();
        let mut tag = vec![9, 0, 0, 50, ms[1], ms[2], ms[3], ms[0], 0, 0, 0];
        tag.extend([0x17; 50]);
        tag.extend(61_u32.to_be_bytes());
        feed(&mut clock, &tag);
    }
    assert_eq!(clock.media_ms(), 99 * 40);
}

#[test]
fn frames_of_audio_are_counted() {
    // ADTS, 44.1 kHz, 100 bytes; MP3, 128 kbit/s, 44.1 kHz.
    let adts = [&[0xff_u8, 0xf1, 0x50, 0x80, 0x0c, 0x9f, 0xfc][..], &[0x11; 93]].concat();
    let mp3 = [&[0xff_u8, 0xfb, 0x90, 0x00][..], &[0x22; 413]].concat();
    for (container, frame, us) in [(Container::Adts, adts, 23_219), (Container::Mp3, mp3, 26_122)] {
        let mut clock = MediaClock::new(container);
        feed(&mut clock, &[vec![0; 5000], frame.repeat(101)].concat());
        // The first one begins the clock, and the last one waits for what follows.
        assert_eq!(clock.media_ms(), 99 * us / 1000, "{container:?}");
        assert!(!feed(&mut clock, &[0; 5000]), "{container:?}");
    }
}

#[test]
fn fragments_of_mp4_go_by_their_decode_times() {
    let boxed = |kind: &[u8; 4], body: &[u8]| [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat();
    let word = |n: u32| n.to_be_bytes().to_vec();
    let tkhd = boxed(b"tkhd", &[word(0), word(0), word(0), word(3), word(0)].concat());
    let mdhd = boxed(b"mdhd", &[word(0), word(0), word(0), word(12_800), word(0)].concat());
    let moov = boxed(b"moov", &boxed(b"trak", &[tkhd, boxed(b"mdia", &mdhd)].concat()));
    let mut clock = MediaClock::new(Container::Mp4);
    feed(&mut clock, &[boxed(b"ftyp", b"iso6"), moov].concat());
    for n in 0..10 {
        let tfhd = boxed(b"tfhd", &[word(0), word(3)].concat());
        let tfdt = boxed(b"tfdt", &[word(0), word(n * 25_600)].concat());
        let moof = boxed(b"moof", &boxed(b"traf", &[tfhd, tfdt].concat()));
        assert!(feed(&mut clock, &[moof, boxed(b"mdat", &[5; 3000])].concat()), "{n}");
    }
    assert_eq!(clock.media_ms(), 18_000);
    // A plain file says nothing of time until its end: all of it counts.
    let mut plain = MediaClock::new(Container::Mp4);
    feed(&mut plain, &boxed(b"ftyp", b"isom"));
    let mdat = boxed(b"mdat", &[5; 3000]);
    assert!(feed(&mut plain, &mdat[..100]) && feed(&mut plain, &mdat[100..]));
}

#[test]
fn any_bytes_are_taken() {
    let mut rng = fastrand::Rng::with_seed(1);
    let kinds = [
        Container::MpegTs,
        Container::WebM,
        Container::Ogg,
        Container::Asf,
        Container::Mp3,
        Container::Flv,
        Container::Mp4,
        Container::Unknown,
    ];
    let starts: [&[u8]; 8] =
        [b"\x47", b"\x1f\x43\xb6\x75", b"OggS", b"0", b"\xff\xfb", b"\x09\0\0", b"\0\0\x01\0moof", b"\xff\xf1"];
    for _ in 0..300 {
        for kind in kinds {
            let mut clock = MediaClock::new(kind);
            for _ in 0..rng.usize(1..6) {
                let mut bytes: Vec<u8> = starts[rng.usize(0..starts.len())].to_vec();
                let mask = if rng.bool() { 0xff } else { 0x0f };
                bytes.extend((0..rng.usize(0..700)).map(|_| rng.u8(..) & mask));
                clock.push(&bytes);
            }
            assert!(clock.media_ms() >= 0);
        }
    }
}
