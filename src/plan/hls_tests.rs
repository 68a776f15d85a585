//! What is taken of a playlist.

use proptest::prelude::*;

use super::*;
use crate::domain::hls::{Map, Sound};

const NOW: Ms = Ms(1_293_447_600_000);

fn url(text: &str) -> Url {
    Url::parse("http://h/live/").and_then(|base| base.join(text)).expect("an address")
}

fn chunk(sequence: u64) -> Chunk {
    Chunk {
        sequence,
        url: url(&format!("{sequence}.ts")),
        range: None,
        duration_ms: 4000,
        made: None,
        discontinuity: false,
        gap: false,
        map: None,
        key: None,
    }
}

fn window(sequences: std::ops::Range<u64>) -> Playlist {
    Playlist { target_ms: 4000, chunks: sequences.map(chunk).collect(), ended: false }
}

/// The newest chunk ended `behind` milliseconds before `NOW`.
fn dated(sequences: std::ops::Range<u64>, behind: i64) -> Playlist {
    let mut playlist = window(sequences);
    let mut at = NOW.minus(behind);
    for chunk in playlist.chunks.iter_mut().rev() {
        at = at.minus(chunk.duration_ms);
        chunk.made = Some(at);
    }
    playlist
}

fn taken(sequence: u64) -> Taken {
    Taken::of(&chunk(sequence))
}

#[test]
fn what_follows_a_chunk() {
    let (at, missed, reset) = (
        |at| Start { at, ..Start::default() },
        |missed| Start { missed, ..Start::default() },
        Start { reset: true, ..Start::default() },
    );
    for (what, playlist, last, want) in [
        ("the next one", window(10..15), 13, at(4)),
        ("nothing yet", window(10..15), 14, at(5)),
        ("the window went on exactly so far", window(10..15), 9, missed(0)),
        ("the window has passed three", window(10..15), 6, missed(3)),
        ("an old copy", window(7..12), 14, at(5)),
        ("an encoder that began anew", window(0..3), 14, reset),
        ("nothing in it", window(0..0), 14, at(0)),
    ] {
        assert_eq!(after(&playlist, &taken(last)), want, "{what}");
    }
    // The same number under another name, as after a restart that was not seen.
    let other = Taken { name: "other.ts".to_owned(), ..taken(12) };
    assert_eq!(after(&window(10..15), &other), reset);
    // Another host and a signature say nothing.
    let mut signed = window(10..15);
    for chunk in &mut signed.chunks {
        chunk.url = Url::parse(&format!("https://edge7/sig-{0}/{0}.ts?token=1", chunk.sequence)).expect("an address");
    }
    assert_eq!(after(&signed, &taken(12)), at(3));
}

#[test]
fn dates_tell_an_encoder_that_began_anew_from_an_old_copy() {
    let of = |playlist: &Playlist| Taken::of(playlist.chunks.last().expect("one"));
    let before = of(&dated(0..12, 60_000));
    assert!(after(&dated(0..3, 2000), &before).reset, "fallen back by many");
    assert!(after(&dated(7..10, 2000), &before).reset, "fallen back by two, and newer");
    assert!(after(&dated(7..13, 2000), &before).reset, "the same number, and newer");
    let mut old = dated(0..12, 60_000);
    old.chunks.truncate(5);
    assert_eq!(after(&old, &before), Start { at: 5, ..Start::default() }, "older by many");
}

#[test]
fn a_new_connection_takes_the_last_chunk_again_and_a_first_one_reaches_back() {
    let long_ago = NOW.minus(3_600_000);
    let at = |playlist: &Playlist, last: Option<u64>, from: Ms| {
        begin(playlist, last.map(taken).as_ref(), NOW, from, false).at
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
    let ended = Playlist { ended: true, ..live };
    assert_eq!(at(&ended, None, NOW), 0);
    assert_eq!(at(&ended, Some(14), long_ago), 5);
    assert_eq!(at(&ended, Some(13), long_ago), 3);
    // Dates are better than guesses.
    assert_eq!(at(&dated(10..15, 30_000), None, NOW.minus(38_000)), 3);
    assert_eq!(at(&dated(10..15, 3_600_000), None, NOW.minus(9000)), 3, "a clock that is wrong by an hour");
}

#[test]
fn another_start_of_an_mp4_is_another_file() {
    let map = |name: &str| Some(Map { url: url(name), range: None, key: None });
    let mut live = window(10..14);
    for chunk in &mut live.chunks {
        chunk.map = map(if chunk.sequence < 12 { "a.mp4" } else { "b.mp4" });
    }
    let again = |playlist: &Playlist, last| begin(playlist, Some(&taken(last)), NOW, Ms(0), false).at;
    let anew =
        |playlist: &Playlist, at: usize, muxed| needs_new_file(&playlist.chunks[at - 1], &playlist.chunks[at], muxed);
    assert!(anew(&live, 2, false) && !anew(&live, 3, false));
    assert_eq!((again(&live, 11), again(&live, 12)), (2, 2), "no overlap over the change, or it would never be passed");
    live.chunks[3].discontinuity = true;
    assert_eq!(again(&live, 12), 3);
    // An address that is signed anew each time is none of another start.
    for (chunk, signed) in live.chunks.iter_mut().zip(["a.mp4?t=1", "/x/a.mp4?t=2", "a.mp4", "init.mp4"]) {
        (chunk.map, chunk.discontinuity) = (map(signed), false);
    }
    let news: Vec<bool> = live.chunks.windows(2).map(|w| needs_new_file(&w[0], &w[1], false)).collect();
    assert_eq!(news, [false, false, true]);
    let mut ts = window(10..14);
    ts.chunks[3].discontinuity = true;
    assert_eq!((anew(&ts, 3, false), again(&ts, 12)), (false, 2));
    // Where it is put together with another playlist's it does, and so it is not taken again.
    let muxed = begin(&ts, Some(&taken(12)), NOW, Ms(0), true).at;
    assert_eq!((anew(&ts, 3, true), anew(&ts, 2, true), muxed), (true, false, 3));
}

#[test]
fn playlists_are_read_again_in_time() {
    let with = |target_ms, last_ms| {
        let mut playlist = window(0..3);
        playlist.target_ms = target_ms;
        playlist.chunks[2].duration_ms = last_ms;
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
    assert_eq!(reload_after(&Playlist::default(), false), 3000);
}

#[test]
fn a_server_is_given_up_while_another_mirror_still_has_what_is_missing() {
    for (chunks, alone, want) in
        [(3, true, 28_000), (500, true, 28_000), (2, false, 6000), (5, false, 10_000), (500, false, 28_000)]
    {
        assert_eq!(patience(&window(0..chunks), alone), want, "{chunks} {alone}");
    }
}

#[test]
fn the_picture_waits_for_its_sound_while_its_own_playlist_holds_it() {
    for (chunks, ended, want) in [(1, false, 4000), (3, false, 6000), (500, false, 20_000), (1, true, 20_000)] {
        assert_eq!(waits_for_sound(&Playlist { ended, ..window(0..chunks) }), want, "{chunks} {ended}");
    }
    for (target_ms, want) in [(0, 20_000), (6000, 20_000), (12_000, 24_000), (i64::MAX, 28_000)] {
        assert_eq!(patience_with_sound(&Playlist { target_ms, ..window(0..3) }), want, "{target_ms}");
    }
}

fn variant(name: &str, lines: Option<u32>, bandwidth: u64, codecs: Option<&str>, group: Option<&str>) -> Variant {
    Variant {
        url: url(name),
        bandwidth,
        lines,
        codecs: codecs.map(str::to_owned),
        sound_group: group.map(str::to_owned),
    }
}

fn names(choices: &[Choice]) -> Vec<String> {
    let name = |url: &Url| url.path().trim_start_matches("/live/").to_owned();
    let both = |c: &Choice| match &c.sound {
        Some(sound) => format!("{}+{}", name(&c.url), name(sound)),
        None => name(&c.url),
    };
    choices.iter().map(both).collect()
}

#[test]
fn variants_are_chosen_by_quality() {
    let master = Master {
        variants: vec![
            variant("sound", None, 64_000, Some("mp4a.40.2"), None),
            variant("360", Some(360), 800_000, Some("avc1.4d401e,mp4a.40.2"), None),
            variant("1080", Some(1080), 5_000_000, None, None),
            variant("720", Some(720), 2_500_000, None, None),
            variant("720b", Some(720), 1_500_000, None, None),
        ],
        sounds: Vec::new(),
    };
    for (quality, want) in [
        (Quality::Best, vec!["1080", "720", "720b", "360"]),
        (Quality::Worst, vec!["360", "720b", "720", "1080"]),
        (Quality::Lines(1080), vec!["1080", "720", "720b", "360"]),
        (Quality::Lines(719), vec!["360", "720b", "720", "1080"]),
        (Quality::Lines(100), vec!["360", "720b", "720", "1080"]),
        (Quality::Audio, vec!["sound"]),
    ] {
        assert_eq!(names(&choose(&master, quality)), want, "{quality}");
    }
    let only_sound = Master { variants: master.variants[..1].to_vec(), sounds: Vec::new() };
    assert_eq!(names(&choose(&only_sound, Quality::Best)), ["sound"]);
    let no_sound = Master { variants: master.variants[1..3].to_vec(), sounds: Vec::new() };
    assert_eq!(names(&choose(&no_sound, Quality::Audio)), ["360", "1080"]);
    assert!(choose(&Master::default(), Quality::Best).is_empty());
}

#[test]
fn sound_that_stands_apart_is_named() {
    let sound =
        |group: &str, name: Option<&str>, default| Sound { group: group.to_owned(), url: name.map(url), default };
    let master = Master {
        variants: vec![
            variant("apart", Some(720), 2_000_000, Some("avc1.4d401e,mp4a.40.2"), Some("a")),
            variant("inside", Some(720), 1_000_000, Some("avc1.4d401e,mp4a.40.2"), Some("b")),
            variant("small", Some(360), 500_000, None, Some("c")),
        ],
        sounds: vec![
            sound("a", Some("translation"), false),
            sound("a", Some("floor"), true),
            sound("b", None, true),
            sound("b", Some("translation"), false),
        ],
    };
    assert_eq!(names(&choose(&master, Quality::Best)), ["inside", "apart+floor", "small"]);
    assert_eq!(names(&choose(&master, Quality::Audio)), ["floor", "translation", "translation"]);
}

proptest! {
    /// A live window moves on while it is read at odd times; connections come and go. Nothing that was in a
    /// window when it was read is left out, and within a connection nothing is taken twice.
    #[test]
    fn nothing_is_left_out_and_nothing_taken_twice(
        steps in prop::collection::vec((0_u64..8, any::<bool>()), 1..60), size in 1_u64..9,
    ) {
        let (mut newest, mut last) = (size, None::<Taken>);
        let mut all: Vec<u64> = Vec::new();
        let mut missed = 0;
        for (step, reconnect) in steps {
            newest += step;
            let playlist = window(newest - size..newest);
            let start = match &last {
                Some(last) if !reconnect => after(&playlist, last),
                last => begin(&playlist, last.as_ref(), NOW, Ms(0), false),
            };
            prop_assert!(!start.reset);
            missed += start.missed;
            if reconnect && last.is_some() && start.missed == 0 && start.at < playlist.chunks.len() {
                let again = playlist.chunks[start.at].sequence;
                prop_assert!(all.last().is_none_or(|last| again == *last || again == last + 1));
                if all.last() == Some(&again) {
                    all.pop();
                }
            }
            all.extend(playlist.chunks[start.at..].iter().map(|c| c.sequence));
            last = playlist.chunks.last().map(Taken::of).or(last);
        }
        prop_assert!(all.windows(2).all(|w| w[0] < w[1]), "{:?}", all);
        let (first, last) = (all[0], all[all.len() - 1]);
        prop_assert_eq!(last, newest - 1);
        prop_assert_eq!(last - first + 1, all.len() as u64 + missed);
    }
}
