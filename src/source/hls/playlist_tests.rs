//! Playlists of encoders, packagers and vandals.

use proptest::prelude::*;

use super::*;

fn base() -> Url {
    Url::parse("http://me:s3cret@h/live/a/index.m3u8?t=1").expect("an address")
}

fn media(text: &str) -> MediaPlaylist {
    match read(text.as_bytes(), &base()) {
        Some(AnyPlaylist::Media(playlist)) => playlist,
        other => panic!("no media playlist: {other:?}"),
    }
}

const LIVE: &str = "\u{feff}#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:4.004
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-KEY:METHOD=AES-128,URI=\"key\",IV=0x000000000000000000000000000000FF
#EXT-X-PROGRAM-DATE-TIME:2010-12-27T20:00:00.500+0000
#EXTINF:4.004,Saal 1, the first, with commas
s7.ts
#EXTINF:3.5,
http://cdn.example/s8.ts?x=1
# a comment
#EXT-X-KEY:METHOD=NONE
#EXT-X-DISCONTINUITY
#EXT-X-GAP
#EXTINF:broken,
/s9.ts
";

#[test]
fn a_live_playlist_is_read() {
    let playlist = media(LIVE);
    let brief: Vec<_> = playlist
        .segments
        .iter()
        .map(|c| {
            (
                c.sequence,
                c.url.as_str(),
                c.duration_ms,
                c.program_date_time.map(|m| m.0),
                c.discontinuity,
                c.gap,
                c.key.is_some(),
            )
        })
        .collect();
    let program_date_time = 1_293_480_000_500;
    assert_eq!(
        brief,
        [
            (7, "http://me:s3cret@h/live/a/s7.ts", 4004, Some(program_date_time), false, false, true),
            (8, "http://cdn.example/s8.ts?x=1", 3500, Some(program_date_time + 4004), false, false, true),
            (9, "http://me:s3cret@h/s9.ts", 4004, None, true, true, false),
        ]
    );
    assert_eq!((playlist.target_ms, playlist.ended), (4004, false));
    let Some(Key::Aes128 { url, iv }) = &playlist.segments[0].key else { panic!("{:?}", playlist.segments[0].key) };
    assert_eq!((url.path(), iv.map(|iv| iv[15])), ("/live/a/key", Some(255)));
    assert!(media(&format!("{LIVE}#EXT-X-ENDLIST\r\n")).ended);
    assert_eq!(media(&LIVE.replace('\n', "\r\n")), playlist);
}

#[test]
fn a_date_counts_on_either_side_of_its_discontinuity_and_not_over_one() {
    const DATE: &str = "#EXT-X-PROGRAM-DATE-TIME:2010-12-27T20:00:00Z\n";
    let of_second = |tags: &str| {
        let text = format!("#EXTM3U\n{DATE}#EXTINF:2,\n1.ts\n{tags}#EXTINF:2,\n2.ts\n");
        media(&text).segments[1].program_date_time.map(|program_date_time| program_date_time.0 - 1_293_480_000_000)
    };
    let broken = "#EXT-X-DISCONTINUITY\n";
    assert_eq!((of_second(""), of_second(broken)), (Some(2000), None));
    assert_eq!((of_second(&format!("{DATE}{broken}")), of_second(&format!("{broken}{DATE}"))), (Some(0), Some(0)));
}

#[test]
fn ranges_and_maps_are_read() {
    let playlist = media(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"700@0\"\n\
         #EXTINF:2,\n#EXT-X-BYTERANGE:1000@700\nall.mp4\n#EXTINF:2,\n#EXT-X-BYTERANGE:500\nall.mp4\n\
         #EXT-X-MAP:URI=\"other.mp4\"\n#EXTINF:2,\nx.mp4\n",
    );
    let ranges: Vec<_> = playlist.segments.iter().map(|c| c.range.map(|r| (r.offset, r.length))).collect();
    assert_eq!(ranges, [Some((700, 1000)), Some((1700, 500)), None]);
    let maps: Vec<_> = playlist.segments.iter().map(|c| c.map.as_ref().map(|m| (m.url.path(), m.range))).collect();
    let first = Some(("/live/a/init.mp4", Some(ByteRange { offset: 0, length: 700 })));
    assert_eq!(maps, [first, first, Some(("/live/a/other.mp4", None))]);
    assert_eq!(playlist.segments[1].name(), "all.mp4@1700");
}

#[test]
fn two_starts_of_the_same_name_in_two_folders_are_two() {
    let starts = |second: &str| {
        let text = format!(
            "#EXTM3U\n#EXT-X-MAP:URI=\"1/init.mp4?t=1\"\n#EXTINF:2,\n1.m4s\n#EXT-X-MAP:URI=\"{second}\"\n#EXTINF:2,\n2.m4s\n"
        );
        let playlist = media(&text);
        crate::plan::hls::needs_new_file(&playlist.segments[0], &playlist.segments[1], false)
    };
    assert!(starts("2/init.mp4?t=1") && starts("1/other.mp4") && !starts("1/init.mp4?t=2"));
}

#[test]
fn a_master_playlist_is_read() {
    let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"Floor\",DEFAULT=YES,URI=\"floor.m3u8\"\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"b\",NAME=\"Inside\"\n\
        #EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"de\",URI=\"de.m3u8\"\n\
        #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"iframes.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=5000000,RESOLUTION=1920x1080,CODECS=\"avc1.640028,mp4a.40.2\",AUDIO=\"a\"\nhd/index.m3u8\n\
        #EXT-X-STREAM-INF:RESOLUTION=640x360\nhttps://h2/sd.m3u8\n";
    let Some(AnyPlaylist::Master(master)) = read(text.as_bytes(), &base()) else { panic!("no master playlist") };
    let variants: Vec<_> = master
        .variants
        .iter()
        .map(|v| (v.url.path(), v.bandwidth, v.lines, v.codecs.is_some(), v.audio_group.as_deref()))
        .collect();
    assert_eq!(
        variants,
        [("/live/a/hd/index.m3u8", 5_000_000, Some(1080), true, Some("a")), ("/sd.m3u8", 0, None, false, None)]
    );
    let audio_renditions: Vec<_> =
        master.audio_renditions.iter().map(|s| (s.group.as_str(), s.url.is_some(), s.default)).collect();
    assert_eq!(audio_renditions, [("a", true, true), ("b", false, false)]);
}

#[test]
fn other_encryptions_are_named_and_one_that_is_understood_is_kept() {
    let segment = |keys: &str| media(&format!("#EXTM3U\n{keys}#EXTINF:1,\nx.ts\n")).segments.remove(0).key;
    let sample = "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://x\",KEYFORMAT=\"com.apple.streamingkeydelivery\"\n";
    let plain = "#EXT-X-KEY:METHOD=AES-128,URI=\"key\"\n";
    assert_eq!(segment(sample), Some(Key::Other("SAMPLE-AES".to_owned())));
    assert!(matches!(segment(&format!("{plain}{sample}")), Some(Key::Aes128 { iv: None, .. })));
    assert!(matches!(segment(&format!("{sample}{plain}")), Some(Key::Aes128 { .. })));
    assert_eq!(segment(&format!("{plain}#EXT-X-KEY:METHOD=NONE\n")), None);
}

#[test]
fn what_is_no_playlist_is_none() {
    for text in ["", "<html>", "#EXTM3U\n", "#EXTM3U\nhttp://h/radio.mp3\n", "G\0@"] {
        assert_eq!(read(text.as_bytes(), &base()), None, "{text:?}");
    }
    let dates = ["2010-12-27T20:00:00Z", "2010-12-27T20:00:00.000", "2010-12-27T21:00:00.000+0100"];
    assert!(dates.iter().all(|text| date(text) == Some(Ms(1_293_480_000_000))));
    assert!(["", "yesterday", "2010-12-27"].iter().all(|text| date(text).is_none()));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..12),
        garbage in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        const WORDS: [&str; 12] = [
            "#EXTINF:1e308,", "#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n", "#EXT-X-BYTERANGE:18446744073709551615@1\n",
            "#EXT-X-TARGETDURATION:-1", "NaN", "\r", "\0", "#EXT", "\"", ",", "#EXT-X-KEY:METHOD=AES-128", "@",
        ];
        let mut text = LIVE.as_bytes().to_vec();
        for (at, to, what) in cuts {
            let at = at.index(text.len() + 1);
            match what % 3 {
                0 => drop(text.splice(at..at, WORDS[usize::from(what) % WORDS.len()].bytes())),
                1 => text.truncate(at.max(8)),
                _ => {
                    let to = to.index(text.len() + 1).clamp(at, (at + 9).min(text.len()));
                    drop(text.splice(at..to, garbage.iter().copied()));
                }
            }
        }
        let _ = read(&text, &base());
        let _ = read(&garbage, &base());
    }
}
