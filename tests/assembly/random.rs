//! A known stream, cut into random pieces with overlaps, gaps and bursts, joined, and compared with the
//! original packet for packet. `STREAMRIP_JOIN_CASES=20` tries so many of each sort, `STREAMRIP_JOIN_SEED=7`
//! begins with this one.

use std::collections::HashMap;
use std::path::Path;

use streamrip::domain::segment::Mark;
use streamrip::domain::time::Ms;

use crate::judge::{Made, Probed, assemble, decodes_from, packets, run};
use crate::taking::{Dump, asf_layout};

/// Length of each original, seconds; black and silent from the 14th to the 26th.
const SECONDS: f64 = 40.0;

/// What a stream consists of, so that it is joined and left where a server does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Anywhere at multiples of so many bytes.
    Unit(usize),
    /// A head, then packets of equal size.
    Asf,
    /// A head, then clusters.
    WebM,
    /// Heads, then pages; each chain has its own.
    Ogg,
    /// A head, then fragments.
    Mp4,
}

struct Original {
    shape: Shape,
    /// The whole, or what follows each other after a restart.
    parts: Vec<Vec<u8>>,
    /// When the byte was made, milliseconds from the start; by place.
    times: Vec<(usize, i64)>,
    truth: [Vec<Probed>; 2],
    /// Its packets of the same content can be told apart by their times.
    one_clock: bool,
}

fn encode(file: &Path, plain: bool, seconds: f64, options: &str) {
    let (black, silent) = if plain {
        (String::new(), String::new())
    } else {
        (
            ",drawbox=enable='between(t,14,26)':color=black:t=fill".to_owned(),
            ",volume=enable='between(t,14,26)':volume=0".to_owned(),
        )
    };
    let pictures = format!("testsrc2=size=160x90:rate=25{black}");
    let sound = format!("aevalsrc=0.2*sin(2*PI*(330*t+40*sin(0.37*t)))+0.05*random(0):sample_rate=44100{silent}");
    let length = seconds.to_string();
    let mut args =
        vec!["-v", "error", "-y", "-f", "lavfi", "-i", &pictures, "-f", "lavfi", "-i", &sound, "-t", &length];
    args.extend(options.split_whitespace());
    args.push(file.to_str().expect("plain"));
    run("ffmpeg", &args);
}

impl Original {
    fn new(dir: &Path, extension: &str, shape: Shape, plain: bool, options: &[&str]) -> Self {
        let each = SECONDS / options.len() as f64;
        let (mut parts, mut times, mut truth) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
        let mut bytes = 0;
        for (n, options) in options.iter().enumerate() {
            let file = dir.join(format!("truth{n}.{extension}"));
            encode(&file, plain, each, options);
            let content = std::fs::read(&file).expect("there");
            times
                .extend(made_at(&file, (each * 1000.0) as i64 * n as i64).into_iter().map(|(at, ms)| (at + bytes, ms)));
            bytes += content.len();
            parts.push(content);
            for (all, list) in truth.iter_mut().zip(packets(&file)) {
                all.extend(list);
            }
        }
        times.sort_unstable();
        Self { shape, one_clock: parts.len() == 1 && !plain, parts, times, truth }
    }

    /// Where a server lets a client begin that asks at this second: the head it is given, and the place.
    fn join_at(&self, ms: i64) -> (Vec<u8>, usize) {
        let at = self.times[self.times.partition_point(|(_, made)| *made < ms).min(self.times.len() - 1)].0;
        let mut before = 0;
        let part = self.parts.iter().find(|p| {
            let inside = at < before + p.len();
            before += if inside { 0 } else { p.len() };
            inside
        });
        let part = part.expect("inside");
        let places = self.places(part);
        let head = places.first().copied().filter(|_| !matches!(self.shape, Shape::Unit(_)));
        let place = places[places.partition_point(|p| *p <= at - before).saturating_sub(1)];
        match head {
            Some(head) if place > head => (part[..head].to_vec(), before + place),
            Some(_) => (Vec::new(), before),
            None => (Vec::new(), before + place),
        }
    }

    /// Places where clients may begin.
    fn places(&self, part: &[u8]) -> Vec<usize> {
        let found = |what: &[u8], back: usize| -> Vec<usize> {
            (0..part.len().saturating_sub(what.len()))
                .filter(|at| part[*at..].starts_with(what))
                .map(|at| at - back)
                .collect()
        };
        match self.shape {
            Shape::Unit(unit) => (0..part.len()).step_by(unit).collect(),
            Shape::Asf => {
                let (head, packet) = asf_layout(part);
                (head..part.len()).step_by(packet).collect()
            }
            Shape::WebM => found(&[0x1f, 0x43, 0xb6, 0x75], 0),
            Shape::Mp4 => found(b"moof", 4),
            Shape::Ogg => {
                // Pages whose time is not 0: before them are the heads. Of several streams none has media at 0.
                let pages = found(b"OggS\0", 0);
                let first = pages.iter().position(|at| part[at + 6..at + 14].iter().any(|b| *b != 0)).expect("media");
                pages[first..].to_vec()
            }
        }
    }

    /// An instant not long after at which one connection may end and the next one begin with the very next packet,
    /// seconds.
    fn between_packets(&self, after: f64) -> f64 {
        let made = |n: usize| self.times[n].1;
        let alone = |n: &usize| made(n - 1) < made(*n) && made(*n) < made(n + 1);
        let from = self.times.partition_point(|(_, made)| *made < (after * 1000.0) as i64).max(1);
        let at = (from..self.times.len() - 1).find(alone).map_or(0, made);
        // No rounding makes another millisecond of it.
        (at as f64 + 0.5) / 1000.0
    }

    /// A connection from `from` to `to` seconds; the last `burst` seconds before come with its first byte.
    fn dump(&self, from: f64, to: f64, burst: f64) -> Dump {
        let ms = |s: f64| (s * 1000.0) as i64;
        let all = self.parts.concat();
        let (head, begin) = self.join_at(ms((from - burst).max(0.0)));
        let end_time = ms(to);
        let end = self.times.iter().rfind(|(_, made)| *made <= end_time).map_or(all.len(), |(at, _)| *at).max(begin);
        let end = if to >= SECONDS { all.len() } else { end };
        let start = Ms(1_300_000_000_000);
        let mut marks: Vec<Mark> = Vec::new();
        let mut now = ms(from);
        loop {
            let at = now.min(end_time);
            let came = self.times.partition_point(|(_, made)| *made <= at);
            let came = self.times.get(came).map_or(all.len(), |(at, _)| *at).clamp(begin, end);
            let offset = (head.len() + came - begin) as u64;
            if offset > 0 {
                marks.push(Mark { at: start.plus(at), offset });
            }
            if now >= end_time {
                break;
            }
            now += 500;
        }
        let mut bytes = head;
        bytes.extend_from_slice(&all[begin..end]);
        if let Some(last) = marks.last_mut() {
            last.offset = bytes.len() as u64;
        }
        Dump { bytes, marks }
    }
}

/// When each byte was made, as far as packets tell.
fn made_at(file: &Path, from_ms: i64) -> Vec<(usize, i64)> {
    let name = file.to_str().expect("plain");
    let (out, _) = run("ffprobe", &["-v", "quiet", "-show_entries", "packet=pts_time,pos", "-of", "csv=p=0", name]);
    let text = String::from_utf8(out).expect("text");
    let read = |line: &str| -> Option<(usize, f64)> {
        let mut fields = line.trim_end_matches(',').split(',');
        let (pts, pos) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((pos, pts))
    };
    let mut all: Vec<(usize, f64)> = text.lines().filter_map(read).collect();
    all.sort_by_key(|(at, _)| *at);
    let first = all.iter().map(|(_, at)| *at).fold(f64::MAX, f64::min);
    // In the order of bytes, time only rises.
    let mut so_far: i64 = 0;
    all.into_iter()
        .map(|(at, pts)| {
            so_far = so_far.max(((pts - first) * 1000.0) as i64);
            (at, from_ms + so_far)
        })
        .collect()
}

/// Each packet that is in any dump stands in the assembly once, in its order; nothing else does.
fn check(original: &Original, made: &Made, dumps: &[[Vec<Probed>; 2]], what: &str) {
    let ours = packets(&made.file);
    for kind in [0, 1] {
        let truth = &original.truth[kind];
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (n, p) in truth.iter().enumerate() {
            places.entry(&p.hash).or_default().push(n);
        }
        let mut held = vec![0_u32; truth.len()];
        let (mut lasts, mut firsts) = (Vec::new(), Vec::new());
        for dump in dumps {
            let known = dump[kind].iter().filter_map(|p| match places.get(p.hash.as_str()).map(Vec::as_slice) {
                Some([only]) => Some(*only),
                Some(several) if original.one_clock => {
                    let off = |n: &usize| (truth[*n].pts - p.pts).abs();
                    several.iter().copied().min_by(|a, b| off(a).total_cmp(&off(b))).filter(|n| off(n) < 0.012)
                }
                _ => None,
            });
            let known: Vec<usize> = known.collect();
            let Some((first, last)) = known.iter().min().zip(known.iter().max()) else { continue };
            // A dump has no holes; times at its start may be guesses.
            held[*first..=*last].iter_mut().for_each(|n| *n += 1);
            lasts.push(*last);
            firsts.push(*first);
        }
        // Two dumps that touch without a packet in common: nothing is missing. Where there is a clock, and the end
        // of a packet can be told, nothing may be lost; elsewhere no plan can know it.
        let touches = |last: &usize| held[*last] == 1 && firsts.contains(&(last + 1));
        if original.one_clock && original.shape == Shape::Unit(PACKET) {
            lasts.retain(|last| !touches(last));
        } else if lasts.iter().any(touches) {
            return;
        }
        // The last packet of a dump may be taken for a torn one, where no other has it.
        lasts.retain(|n| held[*n] == 1);
        lasts.sort_unstable();
        lasts.dedup();
        // Where times do not tell, only what stands once is compared.
        let counts = |p: &Probed| original.one_clock || places.get(p.hash.as_str()).is_some_and(|n| n.len() == 1);
        let mut want: Vec<(&str, Option<usize>)> = Vec::new();
        let mut keyed = kind == 1;
        for (n, p) in truth.iter().enumerate() {
            keyed = kind == 1 || (held[n] > 0 && (keyed || p.key));
            if held[n] > 0 && keyed && counts(p) {
                want.push((&p.hash, lasts.iter().position(|last| *last == n)));
            }
        }
        let got: Vec<&str> = ours[kind].iter().filter(|p| counts(p)).map(|p| p.hash.as_str()).collect();
        for p in &ours[kind] {
            assert!(places.contains_key(p.hash.as_str()), "{what}: a packet at {} that nobody made", p.pts);
        }
        assert!(lasts.len() < 16, "{what}: {} ends", lasts.len());
        let fits = (0..1_u32 << lasts.len()).any(|left_out| {
            let is_in = |last: &Option<usize>| last.is_none_or(|n| left_out >> n & 1 == 0);
            want.iter().filter(|(_, last)| is_in(last)).map(|(hash, _)| *hash).eq(got.iter().copied())
        });
        let seams: Vec<_> = made.plan.seams.iter().map(|(a, b, s)| format!("{a}|{b}: {s:?}")).collect();
        assert!(
            fits,
            "{what}: kind {kind}: {} packets, of which {} are the last of a dump, became {}:\n{}\n{}",
            want.len(),
            lasts.len(),
            got.len(),
            made.plan.describe().join("\n"),
            seams.join("\n")
        );
        for w in ours[kind].windows(2) {
            assert!(
                w[0].dts < w[1].dts || w[0].dts.is_nan() || w[1].dts.is_nan(),
                "{what}: times fall at {}",
                w[0].pts
            );
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn cases(extension: &'static str, shape: Shape, plain: bool, options: &[&str]) {
    let dir = tempfile::tempdir().expect("dir");
    let original = Original::new(dir.path(), extension, shape, plain, options);
    let first = number("STREAMRIP_JOIN_SEED", 1);
    for seed in first..first + number("STREAMRIP_JOIN_CASES", 1) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut visits, mut at, mut touches) = (Vec::new(), 0.0, false);
        while at < SECONDS - 4.0 {
            let mut to = (at + 3.0 + rng.f64() * 14.0).min(SECONDS);
            let burst = if rng.bool() && !touches { rng.f64() * 5.0 } else { 0.0 };
            touches = to < SECONDS - 1.0 && rng.u8(0..3) == 0;
            if touches {
                to = original.between_packets(to);
            }
            visits.push((at, to, burst));
            // A reconnect at once, a handover before the end, or a reconnect after it.
            at = match rng.bool() {
                _ if touches => to,
                true => to - 0.6 - rng.f64() * 2.0,
                false => to + 1.5 + rng.f64() * 4.0,
            };
        }
        let what = format!("{extension}, seed {seed}: {visits:.2?}");
        let case = dir.path().join(seed.to_string());
        std::fs::create_dir_all(&case).expect("made");
        let dumps: Vec<Dump> = visits.iter().map(|(from, to, burst)| original.dump(*from, *to, *burst)).collect();
        let made = assemble(&case, &dumps, extension);
        let held: Vec<_> = (0..dumps.len()).map(|n| packets(&case.join(format!("dump{n}.{extension}")))).collect();
        check(&original, &made, &held, &what);
    }
}

/// A stream whose server cuts the connection every few seconds, so that each begins with the next packet.
fn cut_again_and_again(options: &str) {
    let dir = tempfile::tempdir().expect("dir");
    let original = Original::new(dir.path(), "ts", Shape::Unit(PACKET), false, &[options]);
    let (mut dumps, mut at) = (Vec::new(), 0.0);
    while at < SECONDS - 4.0 {
        let to = if at > SECONDS - 7.0 { SECONDS } else { original.between_packets(at + 2.5) };
        dumps.push(original.dump(at, to, 0.0));
        at = to;
    }
    // Tables stand before the first packet.
    let bytes = original.times[0].0 + dumps.iter().map(|d| d.bytes.len()).sum::<usize>();
    assert_eq!(bytes, original.parts[0].len(), "they touch");
    let made = assemble(dir.path(), &dumps, "ts");
    let held: Vec<_> = (0..dumps.len()).map(|n| packets(&dir.path().join(format!("dump{n}.ts")))).collect();
    check(&original, &made, &held, "cut again and again");
    let plan = made.plan.describe().join("\n");
    assert!(made.plan.clips.len() == dumps.len() && made.plan.clips.iter().all(|p| p.before.is_none()), "{plan}");
    let ours = packets(&made.file);
    for kind in [0, 1] {
        // The very last one is not followed by anything that tells whether it is whole.
        assert!(ours[kind].len() + 1 >= original.truth[kind].len(), "{} of {plan}", ours[kind].len());
    }
    decodes_from(&made.file, streamrip_lab::Format::MpegTs, 0.0);
}

/// So long are the pieces of a stream whose server cuts the connection again and again, seconds.
const PIECE: f64 = 0.5;

/// Pieces that touch: from 5 s to 10 s short ones, of which few have a key picture. Of the first that begins after
/// `hole`, so many bytes are missing.
fn short_pieces(original: &Original, hole: Option<(f64, usize)>) -> Vec<Dump> {
    let bytes = &original.parts[0];
    let place = |seconds: f64| {
        let at = original.times.partition_point(|(_, made)| *made < (seconds * 1000.0) as i64);
        original.times.get(at).map_or(bytes.len(), |(byte, _)| *byte)
    };
    let cuts: Vec<f64> = (0..=10).map(|n| 5.0 + PIECE * f64::from(n)).chain([f64::INFINITY]).collect();
    let (mut dumps, mut from, mut before, mut hole) = (Vec::new(), 0, 0.0, hole);
    for cut in cuts {
        let to = place(cut);
        let missing = hole.take_if(|(after, _)| before > *after).map_or(0, |(_, bytes)| bytes);
        let from_byte = from + missing;
        let came = original.times.iter().filter(|(byte, _)| (from_byte + 1..to).contains(byte));
        let mark = |at: usize, ms: i64| Mark { at: Ms(1_300_000_000_000 + ms), offset: (at - from_byte) as u64 };
        let mut marks: Vec<Mark> = came.map(|(byte, ms)| mark(*byte, *ms)).collect();
        marks.push(mark(to, (cut.min(SECONDS) * 1000.0) as i64));
        dumps.push(Dump { bytes: bytes[from_byte..to].to_vec(), marks });
        (from, before) = (to, cut);
    }
    dumps
}

fn hashes(list: &[Probed]) -> Vec<&str> {
    list.iter().map(|p| p.hash.as_str()).collect()
}

#[test]
fn mpeg_ts_in_pieces_without_a_key_picture_that_touch() {
    // A key picture each second, in this order and in another one, and each four seconds.
    for options in [TS, TS_IN_ANOTHER_ORDER, &TS.replace("-g 25", "-g 100")] {
        let dir = tempfile::tempdir().expect("dir");
        let original = Original::new(dir.path(), "ts", Shape::Unit(PACKET), false, &[options]);
        let dumps = short_pieces(&original, None);
        let made = assemble(dir.path(), &dumps, "ts");
        let plan = made.plan.describe().join("\n");
        let without_key = made.indexes.iter().filter(|index| index.keys_ms.is_empty()).count();
        assert!(without_key >= 4, "{without_key} pieces without a key picture:\n{plan}");
        assert!(made.plan.clips.iter().all(|p| p.before.is_none()), "{plan}");
        let ours = packets(&made.file);
        for kind in [0, 1] {
            let (truth, ours) = (hashes(&original.truth[kind]), hashes(&ours[kind]));
            // The very last one is not followed by anything that tells whether it is whole.
            assert!(
                truth.starts_with(&ours) && ours.len() + 1 >= truth.len(),
                "{} of {}:\n{plan}",
                ours.len(),
                truth.len()
            );
        }
        decodes_from(&made.file, streamrip_lab::Format::MpegTs, 0.0);
    }
}

#[test]
fn mpeg_ts_in_pieces_between_which_some_pictures_are_missing() {
    let dir = tempfile::tempdir().expect("dir");
    // Key pictures at 4 and at 8 s; what is missing is missing soon after 5.5 s.
    let options = TS.replace("-g 25", "-g 100");
    let original = Original::new(dir.path(), "ts", Shape::Unit(PACKET), true, &[&options]);
    let made = assemble(dir.path(), &short_pieces(&original, Some((5.4, 15 * PACKET))), "ts");
    let plan = made.plan.describe().join("\n");
    let missing: Vec<i64> = made.plan.clips.iter().filter_map(|p| Some(p.before.as_ref()?.ms)).collect();
    assert!(matches!(missing[..], [20..=300]), "one gap:\n{plan}");
    let ours = packets(&made.file);
    let lost = [0, 1].map(|kind| {
        let (truth, ours) = (hashes(&original.truth[kind]), hashes(&ours[kind]));
        let before = truth.iter().zip(&ours).take_while(|(a, b)| a == b).count();
        let rest = &ours[before..];
        let goes_on = truth.iter().position(|hash| rest.first() == Some(hash)).expect("it goes on");
        assert!(truth[goes_on..].starts_with(rest) && goes_on + rest.len() + 1 >= truth.len(), "one hole:\n{plan}");
        before..goes_on
    });
    let [pictures, sound] = lost;
    let truth = &original.truth[0];
    // Pictures go on at the next key one, and not before it: they need what is missing.
    assert!(truth[pictures.end].key && (8.0..9.9).contains(&truth[pictures.end].pts), "{pictures:?}:\n{plan}");
    assert!((30..80).contains(&pictures.len()), "{pictures:?}:\n{plan}");
    // Nobody needs a key picture to hear: one unit of sound, of which bytes are missing, and no more.
    assert!(sound.len() <= 20, "{sound:?}:\n{plan}");
    // Sound and pictures are as far apart as they were.
    let apart = |lists: &[Vec<Probed>; 2], [picture, frame]: [usize; 2]| lists[0][picture].pts - lists[1][frame].pts;
    let ours_at = [pictures.start, sound.start];
    let drift = apart(&ours, ours_at) - apart(&original.truth, [pictures.end, sound.end]);
    assert!(drift.abs() < 0.05, "{drift} s askew:\n{plan}");
    decodes_from(&made.file, streamrip_lab::Format::MpegTs, 0.0);
}

/// Length of a packet of MPEG-TS.
const PACKET: usize = 188;

const TS: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -b:v 100k -c:a aac -b:a 64k -f mpegts";

#[test]
fn mpeg_ts() {
    cases("ts", Shape::Unit(PACKET), false, &[TS]);
}

/// As encoders make it that need not be quick.
const TS_IN_ANOTHER_ORDER: &str =
    "-c:v libx264 -preset veryfast -bf 3 -b_strategy 0 -g 25 -b:v 100k -c:a aac -b:a 64k -f mpegts";

#[test]
fn mpeg_ts_whose_pictures_are_decoded_in_another_order() {
    cases("ts", Shape::Unit(PACKET), false, &[TS_IN_ANOTHER_ORDER]);
}

#[test]
fn mpeg_ts_cut_again_and_again_without_a_packet_missing() {
    cut_again_and_again(TS);
    cut_again_and_again(TS_IN_ANOTHER_ORDER);
}

#[test]
fn mpeg_ts_whose_clock_wraps() {
    cases("ts", Shape::Unit(PACKET), true, &[&format!("{TS} -output_ts_offset 95420")]);
}

#[test]
fn mpeg_ts_of_an_encoder_that_restarts() {
    cases("ts", Shape::Unit(PACKET), true, &[TS, &format!("-vf negate -af volume=0.5 {TS}")]);
}

#[test]
fn mp3() {
    // Without a clock and with nothing but silence nobody can tell what is missing.
    cases("mp3", Shape::Unit(1), true, &["-vn -c:a libmp3lame -b:a 64k -f mp3 -write_xing 0 -id3v2_version 0"]);
}

#[test]
fn webm() {
    let options = "-c:v libvpx -deadline realtime -cpu-used 8 -g 25 -b:v 100k -c:a libvorbis -b:a 64k -f webm -cluster_time_limit 500 -live 1";
    cases("webm", Shape::WebM, false, &[options]);
}

#[test]
fn ogg() {
    cases("ogg", Shape::Ogg, false, &["-vn -c:a libvorbis -b:a 64k -f ogg -page_duration 200000"]);
}

#[test]
fn ogg_of_two_chains() {
    let options = "-vn -c:a libvorbis -b:a 64k -f ogg -page_duration 200000";
    cases("ogg", Shape::Ogg, true, &[options, &format!("-af volume=0.5 {options}")]);
}

#[test]
fn fragmented_mp4() {
    let options = "-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -b:v 100k -c:a aac -b:a 64k -f mp4 -movflags frag_keyframe+empty_moov+default_base_moof";
    cases("mp4", Shape::Mp4, false, &[options]);
}

#[test]
fn asf() {
    cases("asf", Shape::Asf, false, &["-c:v wmv2 -g 25 -b:v 150k -c:a wmav2 -b:a 64k -f asf"]);
}
