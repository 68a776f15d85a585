//! What is taken of a playlist.

use super::*;
use crate::domain::hls::{AudioRendition, InitSection};

const NOW: Ms = Ms(1_293_447_600_000);

fn url(text: &str) -> Url {
    Url::parse("http://h/live/").and_then(|base| base.join(text)).expect("an address")
}

fn segment(sequence: u64) -> MediaSegment {
    MediaSegment {
        sequence,
        url: url(&format!("{sequence}.ts")),
        range: None,
        duration_ms: 4000,
        program_date_time: None,
        discontinuity: false,
        gap: false,
        map: None,
        key: None,
    }
}

fn window(sequences: std::ops::Range<u64>) -> MediaPlaylist {
    MediaPlaylist { target_ms: 4000, segments: sequences.map(segment).collect(), ended: false }
}

/// The newest media segment ended `behind` milliseconds before `NOW`.
fn dated(sequences: std::ops::Range<u64>, behind: i64) -> MediaPlaylist {
    let mut playlist = window(sequences);
    let mut at = NOW.minus(behind);
    for segment in playlist.segments.iter_mut().rev() {
        at = at.minus(segment.duration_ms);
        segment.program_date_time = Some(at);
    }
    playlist
}

/// What was passed of a window: all of it up to this number.
fn passed(playlist: &MediaPlaylist, last: u64) -> SegmentHistory {
    let mut history = SegmentHistory::default();
    history.locate(playlist, NOW.minus(1000));
    playlist.segments.iter().filter(|segment| segment.sequence <= last).for_each(|segment| history.pass(segment));
    history
}

#[test]
fn what_follows_a_segment() {
    let (at, missed, reset) = (
        |at: usize| ResumePoint { at, again: at.checked_sub(1), ..ResumePoint::default() },
        |missed| ResumePoint { missed, ..ResumePoint::default() },
        ResumePoint { reset: true, ..ResumePoint::default() },
    );
    for (what, playlist, last, want) in [
        ("the next one", window(10..15), 13, at(4)),
        ("nothing yet", window(10..15), 14, at(5)),
        ("the window went on exactly so far", window(10..15), 9, missed(0)),
        ("the window has passed three", window(10..15), 6, missed(3)),
        ("an old copy", window(7..12), 14, ResumePoint { at: 5, ..ResumePoint::default() }),
        ("an encoder that began anew", window(0..3), 14, reset),
        ("nothing in it", window(0..0), 14, ResumePoint::default()),
    ] {
        let before = window((last + 1_u64).saturating_sub(5)..last + 1);
        assert_eq!(passed(&before, last).locate(&playlist, NOW), want, "{what}");
    }
    // Other names under the same numbers, as after a restart that was not seen.
    let mut other = window(10..15);
    for segment in &mut other.segments {
        segment.url = url(&format!("b{}.ts", segment.sequence));
    }
    assert_eq!(passed(&window(8..13), 12).locate(&other, NOW), reset);
    // Another host and a signature say nothing.
    let mut signed = window(10..15);
    for segment in &mut signed.segments {
        segment.url =
            Url::parse(&format!("https://edge7/sig-{0}/{0}.ts?token=1", segment.sequence)).expect("an address");
    }
    assert_eq!(passed(&window(8..13), 12).locate(&signed, NOW), at(3));
}

#[test]
fn a_clip_that_had_ended_is_followed_by_a_stream_of_the_same_names() {
    let clip = MediaPlaylist { ended: true, ..window(0..5) };
    let mut history = passed(&clip, 4);
    assert_eq!(history.locate(&clip, NOW).at, 5);
    assert!(history.locate(&window(0..1), NOW).reset);
    history.pass(&segment(0));
    assert_eq!(history.locate(&window(0..2), NOW).at, 1);
    // An end that was told by mistake, while the window went on.
    let mut history = passed(&clip, 4);
    assert_eq!(history.locate(&window(2..7), NOW), ResumePoint { at: 3, again: Some(2), ..ResumePoint::default() });
}

#[test]
fn a_new_connection_takes_the_last_chunk_again_and_a_first_one_reaches_back() {
    let long_ago = NOW.minus(3_600_000);
    let at = |playlist: &MediaPlaylist, last: Option<u64>, from: Ms| {
        let before = |last: u64| passed(&window((last + 1).saturating_sub(5)..last + 1), last);
        first_segment(playlist, &mut last.map(before).unwrap_or_default(), NOW, from, false).at
    };
    let live = window(10..15);
    assert_eq!(at(&live, None, long_ago), 0, "all that the window holds");
    assert_eq!(at(&live, None, NOW.minus(9000)), 3, "two chunks of four seconds");
    assert_eq!(at(&live, None, NOW), 5, "nothing yet");
    assert_eq!(at(&live, Some(12), long_ago), 2, "the last one again");
    assert_eq!(at(&live, Some(14), long_ago), 4, "also where it is the newest");
    assert_eq!(at(&live, Some(5), long_ago), 0);
    assert_eq!(at(&live, Some(12), NOW.minus(4000)), 4, "but nothing from before");
    assert_eq!(at(&live, Some(500), long_ago), 0, "numbers that began anew");
    // What has ended: there is no clock to reach back by, and nothing is taken for ever.
    let ended = MediaPlaylist { ended: true, ..live };
    assert_eq!(at(&ended, None, NOW), 0);
    assert_eq!(at(&ended, Some(14), long_ago), 5);
    assert_eq!(at(&ended, Some(13), long_ago), 3);
    // Dates are better than guesses.
    assert_eq!(at(&dated(10..15, 30_000), None, NOW.minus(38_000)), 3);
    assert_eq!(at(&dated(10..15, 3_600_000), None, NOW.minus(9000)), 3, "a clock that is wrong by an hour");
}

#[test]
fn another_start_of_an_mp4_is_another_file() {
    let map = |name: &str| Some(InitSection { url: url(name), range: None, key: None });
    let mut live = window(10..14);
    for segment in &mut live.segments {
        segment.map = map(if segment.sequence < 12 { "a.mp4" } else { "b.mp4" });
    }
    let again =
        |playlist: &MediaPlaylist, last| first_segment(playlist, &mut passed(playlist, last), NOW, Ms(0), false).at;
    let anew = |playlist: &MediaPlaylist, at: usize, muxed| {
        needs_new_file(&playlist.segments[at - 1], &playlist.segments[at], muxed)
    };
    assert!(anew(&live, 2, false) && !anew(&live, 3, false));
    assert_eq!((again(&live, 11), again(&live, 12)), (2, 2), "no overlap over the change, or it would never be passed");
    live.segments[3].discontinuity = true;
    assert_eq!(again(&live, 12), 3);
    // An address that is signed anew each time is none of another start.
    for (segment, signed) in live.segments.iter_mut().zip(["a.mp4?t=1", "/x/a.mp4?t=2", "a.mp4", "init.mp4"]) {
        (segment.map, segment.discontinuity) = (map(signed), false);
    }
    let news: Vec<bool> = live.segments.windows(2).map(|w| needs_new_file(&w[0], &w[1], false)).collect();
    assert_eq!(news, [false, false, true]);
    let mut ts = window(10..14);
    ts.segments[3].discontinuity = true;
    assert_eq!((anew(&ts, 3, false), again(&ts, 12)), (false, 2));
    // Where it is put together with another playlist's it does, and so it is not taken again.
    let muxed = first_segment(&ts, &mut passed(&ts, 12), NOW, Ms(0), true).at;
    assert_eq!((anew(&ts, 3, true), anew(&ts, 2, true), muxed), (true, false, 3));
}

#[test]
fn playlists_are_read_again_in_time() {
    let with = |target_ms, last_ms| {
        let mut playlist = window(0..3);
        playlist.target_ms = target_ms;
        playlist.segments[2].duration_ms = last_ms;
        playlist
    };
    for (target, last, news, want) in [
        (4000, 4000, true, 4000),
        (4000, 4000, false, 2000),
        (4000, 1200, true, 1200),
        (0, 4000, true, 4000),
        (4000, 0, true, 4000),
        (0, 0, true, 6000),
        (60_000, 60_000, true, 6000),
        (1, 1, false, 200),
    ] {
        assert_eq!(reload_after(&with(target, last), news), want, "{target} {last} {news}");
    }
    assert_eq!(reload_after(&MediaPlaylist::default(), false), 3000);
}

#[test]
fn a_server_is_given_up_while_another_mirror_still_has_what_is_missing() {
    for (segments, alone, want) in
        [(3, true, 28_000), (500, true, 28_000), (2, false, 6000), (5, false, 10_000), (500, false, 28_000)]
    {
        assert_eq!(outage_limit_ms(&window(0..segments), alone), want, "{segments} {alone}");
    }
}

#[test]
fn the_picture_waits_for_its_sound_while_its_own_playlist_holds_it() {
    for (segments, ended, want) in [(1, false, 4000), (3, false, 6000), (500, false, 20_000), (1, true, 20_000)] {
        assert_eq!(audio_playlist_wait_ms(&MediaPlaylist { ended, ..window(0..segments) }), want, "{segments} {ended}");
    }
    for (target_ms, want) in [(0, 20_000), (6000, 20_000), (12_000, 24_000), (i64::MAX, 28_000)] {
        assert_eq!(audio_stall_limit_ms(&MediaPlaylist { target_ms, ..window(0..3) }), want, "{target_ms}");
    }
}

fn variant(name: &str, lines: Option<u32>, bandwidth: u64, codecs: Option<&str>, group: Option<&str>) -> Variant {
    Variant {
        url: url(name),
        bandwidth,
        lines,
        codecs: codecs.map(str::to_owned),
        audio_group: group.map(str::to_owned),
    }
}

fn names(choices: &[VariantChoice]) -> Vec<String> {
    let name = |url: &Url| url.path().trim_start_matches("/live/").to_owned();
    let both = |c: &VariantChoice| match &c.audio {
        Some(audio) => format!("{}+{}", name(&c.url), name(audio)),
        None => name(&c.url),
    };
    choices.iter().map(both).collect()
}

#[test]
fn variants_are_chosen_by_quality() {
    let master = MasterPlaylist {
        variants: vec![
            variant("sound", None, 64_000, Some("mp4a.40.2"), None),
            variant("360", Some(360), 800_000, Some("avc1.4d401e,mp4a.40.2"), None),
            variant("1080", Some(1080), 5_000_000, None, None),
            variant("720", Some(720), 2_500_000, None, None),
            variant("720b", Some(720), 1_500_000, None, None),
        ],
        audio_renditions: Vec::new(),
    };
    for (quality, want) in [
        (Quality::Best, vec!["1080", "720", "720b", "360"]),
        (Quality::Worst, vec!["360", "720b", "720", "1080"]),
        (Quality::Lines(1080), vec!["1080", "720", "720b", "360"]),
        (Quality::Lines(719), vec!["360", "720b", "720", "1080"]),
        (Quality::Lines(100), vec!["360", "720b", "720", "1080"]),
        (Quality::Audio, vec!["sound"]),
    ] {
        assert_eq!(names(&rank_variants(&master, quality)), want, "{quality}");
    }
    let only_sound = MasterPlaylist { variants: master.variants[..1].to_vec(), audio_renditions: Vec::new() };
    assert_eq!(names(&rank_variants(&only_sound, Quality::Best)), ["sound"]);
    let no_sound = MasterPlaylist { variants: master.variants[1..3].to_vec(), audio_renditions: Vec::new() };
    assert_eq!(names(&rank_variants(&no_sound, Quality::Audio)), ["360", "1080"]);
    assert!(rank_variants(&MasterPlaylist::default(), Quality::Best).is_empty());
}

#[test]
fn sound_that_stands_apart_is_named() {
    let audio = |group: &str, name: Option<&str>, default| AudioRendition {
        group: group.to_owned(),
        url: name.map(url),
        default,
    };
    let master = MasterPlaylist {
        variants: vec![
            variant("apart", Some(720), 2_000_000, Some("avc1.4d401e,mp4a.40.2"), Some("a")),
            variant("inside", Some(720), 1_000_000, Some("avc1.4d401e,mp4a.40.2"), Some("b")),
            variant("small", Some(360), 500_000, None, Some("c")),
        ],
        audio_renditions: vec![
            audio("a", Some("translation"), false),
            audio("a", Some("floor"), true),
            audio("b", None, true),
            audio("b", Some("translation"), false),
        ],
    };
    assert_eq!(names(&rank_variants(&master, Quality::Best)), ["inside", "apart+floor", "small"]);
    assert_eq!(names(&rank_variants(&master, Quality::Audio)), ["floor", "translation", "translation"]);
}
