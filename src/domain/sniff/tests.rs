use proptest::prelude::*;

use super::*;

/// `n` frames of MP3, 128 kbit/s at 44.1 kHz.
fn mp3(n: usize) -> Vec<u8> {
    let mut frame = vec![0x55; 417];
    frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
    frame.repeat(n)
}

/// `n` frames of ADTS, 44.1 kHz, 300 bytes each (37 * 8 + 4).
fn adts(n: usize) -> Vec<u8> {
    let mut frame = vec![0x21; 300];
    frame[..7].copy_from_slice(&[0xff, 0xf1, 0x50, 0x80, 37, 0x9f, 0xfc]);
    frame.repeat(n)
}

fn ts(n: usize) -> Vec<u8> {
    let mut packet = [0xff; 188];
    packet[..4].copy_from_slice(&[0x47, 0x40, 0x11, 0x10]);
    packet.repeat(n)
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn ebml_of(doc_type: &str) -> Vec<u8> {
    let mut body = vec![0x42, 0x86, 0x81, 1, 0x42, 0xf2, 0x81, 4, 0x42, 0x82, 0x80 | doc_type.len() as u8];
    body.extend(doc_type.as_bytes());
    let mut all = vec![0x1a, 0x45, 0xdf, 0xa3, 0x80 | body.len() as u8];
    all.extend(body);
    all
}

fn id3(len: usize) -> Vec<u8> {
    let mut tag = b"ID3\x04\x00\x00".to_vec();
    tag.extend([0, 0, (len >> 7) as u8, (len & 0x7f) as u8]);
    tag.extend(vec![b'x'; len]);
    tag
}

#[test]
fn containers_are_known_by_their_content() {
    let asf = [0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, 0xa6, 0xd9, 0x00, 0xaa, 0x00, 0x62, 0xce, 0x6c, 0, 0];
    let table: Vec<(&str, Vec<u8>, Container)> = vec![
        ("ts", ts(6), Container::MpegTs),
        ("ts, short and whole", ts(2), Container::MpegTs),
        ("ts after junk", joined(&[&[1, 2, 0x47, 3, 0, 9], &ts(6)]), Container::MpegTs),
        ("ts in mid-packet", ts(7)[100..].to_vec(), Container::MpegTs),
        ("webm", ebml_of("webm"), Container::WebM),
        ("matroska", ebml_of("matroska"), Container::Matroska),
        ("ogg", b"OggS\0\x02\0\0".to_vec(), Container::Ogg),
        ("asf", asf.to_vec(), Container::Asf),
        ("flv", b"FLV\x01\x05\0\0\0\x09".to_vec(), Container::Flv),
        ("flac", b"fLaC\0\0\0\x22".to_vec(), Container::Flac),
        ("wav", b"RIFF\xee\xba\x06\0WAVEfmt ".to_vec(), Container::Wav),
        ("avi", b"RIFF\xee\xba\x06\0AVI LIST".to_vec(), Container::Unknown),
        ("mp4", b"\0\0\0\x24ftypisom".to_vec(), Container::Mp4),
        ("fmp4 in mid-stream", b"\0\0\0\x24moof\0\0".to_vec(), Container::Mp4),
        ("ps", joined(&[&[0, 0, 1, 0xba, 0x21, 0, 1, 0, 1], &[0; 20]]), Container::MpegPs),
        ("ps after junk", joined(&[&[9, 0, 7, 0, 0, 1, 0xba, 0x44, 0], &[0; 20]]), Container::MpegPs),
        ("mp3", mp3(5), Container::Mp3),
        ("mp3, short and whole", mp3(2), Container::Mp3),
        ("mp3 in mid-frame", mp3(6)[200..].to_vec(), Container::Mp3),
        ("mp3 behind a tag", joined(&[&id3(300), &mp3(5)]), Container::Mp3),
        ("a tag alone", id3(300), Container::Mp3),
        ("adts", adts(5), Container::Adts),
        ("adts in mid-frame", adts(6)[123..].to_vec(), Container::Adts),
        ("adts behind a tag", joined(&[&id3(63), &adts(5)]), Container::Adts),
        ("noise", (0..3000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect(), Container::Unknown),
    ];
    for (name, bytes, want) in table {
        assert_eq!(sniff(&bytes, true), Sniff::Media(want), "{name}");
    }
}

#[test]
fn media_is_recognised_long_before_its_end() {
    for (name, bytes, want) in [
        ("ts", ts(5), Container::MpegTs),
        ("mp3", mp3(4), Container::Mp3),
        ("mp3 in mid-frame", mp3(6)[200..].to_vec(), Container::Mp3),
        ("adts", adts(4), Container::Adts),
        ("webm", ebml_of("webm"), Container::WebM),
    ] {
        assert_eq!(sniff(&bytes, false), Sniff::Media(want), "{name}");
        assert_eq!(sniff(&bytes[..3], false), Sniff::NeedMore, "{name}");
    }
}

#[test]
fn what_is_no_media_is_named() {
    let asx = b"<ASX version=\"3.0\"><Entry><Ref href=\"mms://h/x\"/></Entry></ASX>\r\n";
    let table: Vec<(&[u8], NotMedia)> = vec![
        (b"", NotMedia::Empty),
        (b"<!DOCTYPE html><html><head>", NotMedia::Html),
        (b"\xef\xbb\xbf\n\n<HTML>", NotMedia::Html),
        (b"<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC><html>", NotMedia::Html),
        (asx, NotMedia::AsxRedirect),
        (b"[Reference]\r\nRef1=http://h/x?MSWMExt=.asf\r\n", NotMedia::AsxRedirect),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n", NotMedia::Playlist),
        (b"[playlist]\nFile1=http://h/x\n", NotMedia::Playlist),
        (b"http://h/x\nhttp://h/y\n", NotMedia::Playlist),
        (b"<?xml version=\"1.0\"?><error/>", NotMedia::Xml),
        (b"{\"error\":404}", NotMedia::Json),
        (b"Source not found\n", NotMedia::Text),
        ("Der Strom ist vor\u{fc}bergehend nicht verf\u{fc}gbar".as_bytes(), NotMedia::Text),
        (b"GIF89a", NotMedia::Picture),
    ];
    for (bytes, want) in table {
        assert_eq!(sniff(bytes, true), Sniff::NotMedia(want), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_few_words_before_the_media_do_not_make_it_text() {
    let preamble = b"--boundary\r\nContent-Type: application/octet-stream\r\n\r\n";
    assert_eq!(sniff(preamble, false), Sniff::NeedMore);
    assert_eq!(sniff(&joined(&[preamble, &ts(6)]), false), Sniff::Media(Container::MpegTs));
    assert_eq!(sniff(&b"word ".repeat(400), false), Sniff::NotMedia(NotMedia::Text));
}

/// Pieces that lead into every branch.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..600),
        Just(ts(3)),
        Just(mp3(2)),
        Just(adts(2)),
        Just(id3(100)),
        Just(ebml_of("webm")),
        Just(vec![0x1a, 0x45, 0xdf, 0xa3, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        Just(b"ID3\x04\x00\x10\x7f\x7f\x7f\x7f".to_vec()),
        Just(b"<?xml <!-- ".to_vec()),
        Just(vec![0x47; 400]),
        Just(vec![0xff; 400]),
        Just(vec![0; 70_000]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn sniffing_never_panics_and_decides_in_time(parts in prop::collection::vec(pieces(), 0..5), cut in any::<prop::sample::Index>()) {
        let bytes = parts.concat();
        let start = &bytes[..cut.index(bytes.len() + 1)];
        let _ = sniff(start, false);
        prop_assert_ne!(sniff(start, true), Sniff::NeedMore);
        let mut long = bytes;
        long.resize(MAX.max(long.len()), 0x1f);
        prop_assert_ne!(sniff(&long, false), Sniff::NeedMore);
    }
}
