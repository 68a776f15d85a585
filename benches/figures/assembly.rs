//! Assembly of MPEG-TS into Matroska, against a plain copy and a hash of the same bytes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::params;
use sha2::{Digest, Sha256};
use streamrip::catalog::open_writer;
use streamrip_lab::{Format, Recipe, Streamrip};

use crate::measure::{Figure, Reached, median, seconds};

const RUNS: usize = 3;
/// Length of the talk.
const SECONDS: i64 = 900;
/// 2020-01-01 12:00 UTC.
const START_MS: i64 = 1_577_880_000_000;
/// Each segment but the last goes on into the next one for so long, as after a handover.
const OVERLAP_SECONDS: i64 = 2;

pub fn figures() -> Vec<Figure> {
    let streamrip = Streamrip::new(env!("CARGO_BIN_EXE_streamrip"));
    let media = Recipe::new(Format::MpegTs).video_kbit(1850).seconds(SECONDS as f64).bytes();
    let whole = streamrip.write("whole.ts", &media);
    record(&streamrip.data_dir(), &media);

    let copied = streamrip.folder().join("copy.mkv");
    let copy = median(
        RUNS,
        || (),
        |()| {
            run(Command::new("ffmpeg")
                .args(["-y", "-v", "error", "-i", &whole, "-map", "0", "-c", "copy"])
                .arg(&copied));
        },
    );
    let hash = median(RUNS, || (), |()| run(Command::new("sha256sum").arg(&copied)));
    // The first one also indexes the segments; the daemon does that when they close.
    let first = median(1, || (), |()| drop(streamrip.ok(&["assemble", "1"])));
    let again = median(RUNS, || (), |()| drop(streamrip.ok(&["assemble", "1", "--force"])));
    let size = media.len() as f64 / 1e6;
    let compared = format!("{} for `ffmpeg -c copy` and {} for `sha256sum`", seconds(copy), seconds(hash));
    let ratio = again.as_secs_f64() / (copy + hash).as_secs_f64();
    vec![
        Figure {
            what: format!("assembly of three MPEG-TS segments ({size:.0} MB, {SECONDS} s)"),
            measured: format!("{}: {ratio:.2} times", seconds(again)),
            compared_with: compared,
            limit: "1 times",
            reached: Reached::of(ratio <= 1.0),
        },
        Figure {
            what: "the same, segments not indexed before".to_owned(),
            measured: seconds(first),
            compared_with: "the line above".to_owned(),
            limit: "",
            reached: Reached::Unasked,
        },
    ]
}

/// Cuts the media into three segments with overlaps and enters them into a catalog.
fn record(data_dir: &Path, media: &[u8]) {
    let db = open_writer(data_dir).expect("a catalog");
    db.execute_batch(&format!(
        "INSERT INTO event (id, name, slug, time_zone) VALUES (1, 'bench', 'bench', 'UTC');
         INSERT INTO hall (id, event_id, name, slug) VALUES (1, 1, 'Saal 1', 'saal-1');
         INSERT INTO talk (id, event_id, hall_id, match_key, uid, title, start_ms, end_ms, known_since_ms)
           VALUES (1, 1, 1, 'uid:1', '1@bench', 'A talk', {START_MS}, {}, {START_MS});",
        START_MS + SECONDS * 1000
    ))
    .expect("a schedule");
    let folder = data_dir.join("segments/bench/saal-1/2020-01-01");
    fs::create_dir_all(&folder).expect("a folder");
    // The rate is constant enough to tell bytes from seconds; cuts fall between packets.
    let at = |second: i64| {
        media.len() * usize::try_from(second).expect("it fits") / usize::try_from(SECONDS).expect("it fits") / 188 * 188
    };
    for n in 0..3 {
        let (from, to) = (SECONDS / 3 * n, (SECONDS / 3 * (n + 1) + OVERLAP_SECONDS).min(SECONDS));
        let bytes = &media[at(from)..at(to)];
        let name = format!("saal-1_{n}.ts");
        fs::write(folder.join(&name), bytes).expect("a segment");
        let (start, end) = (START_MS + from * 1000, START_MS + to * 1000);
        db.execute(
            "INSERT INTO connection (id, uuid, hall_id, source, opened_ms, first_byte_ms, closed_ms, bytes, end_reason)
             VALUES (?1, printf('00000000-0000-7000-8000-c%011d', ?1), 1, 'mplayer', ?2, ?2, ?3, ?4, 'handover')",
            params![n + 1, start, end, bytes.len() as i64],
        )
        .expect("a connection");
        db.execute(
            "INSERT INTO segment (id, uuid, hall_id, connection_id, path, container, start_ms, end_ms, opened_ms, closed_ms,
               bytes, sha256, verdict, end_reason)
             VALUES (?1, printf('00000000-0000-7000-8000-a%011d', ?1), 1, ?1, 'segments/bench/saal-1/2020-01-01/' || ?5, 'mpegts', ?2, ?3, ?2, ?3, ?4, ?6,
               'unchecked', 'handover')",
            params![n + 1, start, end, bytes.len() as i64, name, Sha256::digest(bytes).as_slice()],
        )
        .expect("a segment");
    }
}

fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} fails");
}
