use super::*;
use crate::plan::media_fixtures::{Content, Dump, dump, original};

/// The two pieces of a stream beside a cut, less so many packets of the stream from the cut on.
fn pieces(all: &[Packet], cut: usize, lost: usize) -> (Dump, Dump) {
    (dump(all, 0, cut, false, 0, false), dump(all, cut + lost, all.len(), false, 0, false))
}

fn froms(seam: &Seam) -> Vec<CutStart> {
    seam.cuts.iter().map(|c| c.from).collect()
}

#[test]
fn wherever_a_stream_is_cut_the_next_packet_goes_on() {
    // Video frames are decoded in another order than shown, and audio runs ahead of them.
    for video in [true, false] {
        let all = original(40, Content::Unique, video);
        for cut in 1000..1100 {
            let (a, b) = pieces(&all, cut, 0);
            let seam = find(&a.index, &b.index);
            assert_eq!((seam.kind, seam.method, seam.missing_ms), (SeamKind::Overlap, Method::Clock, 0), "{cut}");
            assert_eq!((seam.shift_ms, seam.matched_packets, seam.shared_ms), (0, 0, 0), "{cut}");
            assert!(!seam.contained && seam.reaches_back_ms == 0, "{cut}");
            assert!(seam.cuts.iter().all(|c| (c.to, c.from) == (CutEnd::End, CutStart::Start)), "{cut}: {seam:?}");
        }
    }
}

#[test]
fn one_packet_less_is_a_gap_and_only_a_missing_picture_asks_for_a_key_picture() {
    let all = original(40, Content::Unique, true);
    let mut seen = [0, 0];
    for cut in 1000..1100 {
        let (a, b) = pieces(&all, cut, 1);
        let seam = find(&a.index, &b.index);
        let pictures = all[cut].track == 1;
        seen[usize::from(pictures)] += 1;
        assert_eq!(froms(&seam)[0] != CutStart::Start, pictures, "{cut}: {seam:?}");
        assert_eq!(froms(&seam)[1] == CutStart::Start, seam.kind == SeamKind::Gap, "{cut}: {seam:?}");
        if !pictures {
            assert_eq!((seam.kind, seam.method, seam.shift_ms), (SeamKind::Gap, Method::Clock, 0), "{cut}");
            assert!((20..28).contains(&seam.missing_ms), "{cut}: {seam:?}");
        }
    }
    assert!(seen[0] > 20 && seen[1] > 20, "{seen:?}");
}

#[test]
fn a_last_packet_that_may_be_torn_is_missing_unless_it_is_known_to_be_whole() {
    let all = original(40, Content::Unique, true);
    for whole in [false, true] {
        let (mut a, b) = pieces(&all, 1000, 0);
        a.index.ragged_end = true;
        a.index.tracks[1].adts = true;
        a.index.tracks[0].whole_end = whole;
        let seam = find(&a.index, &b.index);
        assert_eq!(seam.kind == SeamKind::Overlap && froms(&seam) == [CutStart::Start; 2], whole, "{seam:?}");
    }
}

#[test]
fn times_that_go_on_by_chance_are_no_proof() {
    let all = original(40, Content::Unique, true);
    let goes_on = |change: &dyn Fn(&mut Dump, &mut Dump), taped| {
        let (mut a, mut b) = pieces(&all, 1000, 0);
        change(&mut a, &mut b);
        froms(&find_seam(&a.index, &b.index, taped).seam).first() == Some(&CutStart::Start)
    };
    type Case<'a> = (&'a str, &'a dyn Fn(&mut Dump, &mut Dump));
    let cases: [Case<'_>; 4] = [
        ("another wall time", &|_, b| b.index.spans[0].offset_ms += CLOCK_MS + 1),
        ("no clock", &|a, b| [a, b].into_iter().for_each(|d| d.index.format = "mp3".to_owned())),
        ("the same time again", &|_, b| {
            let first = b.index.head.iter_mut().find(|p| p.track == 1).expect("pictures");
            first.pts_ms -= 40;
        }),
        ("unknown packet length", &|a, b| {
            a.index.tracks[0].packet_ms = 0;
            b.index.tracks[0].packet_ms = 0;
        }),
    ];
    assert!(goes_on(&|_, _| (), RecordingOrder::InTurn));
    for (what, change) in cases {
        assert!(!goes_on(change, RecordingOrder::InTurn), "{what}");
    }
    for taped in [RecordingOrder::FromAnother, RecordingOrder::Beside] {
        assert!(!goes_on(&|_, _| (), taped), "{taped:?}");
    }
}

#[test]
fn a_second_one_without_sound_lacks_something() {
    let all = original(40, Content::Unique, true);
    let (a, mut b) = pieces(&all, 1000, 0);
    b.index.tracks.truncate(1);
    b.index.head.retain(|p| p.track == 1);
    b.index.tail.retain(|p| p.track == 1);
    let seam = find(&a.index, &b.index);
    assert_eq!((seam.kind, froms(&seam)), (SeamKind::Gap, vec![CutStart::Start]));
}

#[test]
fn pictures_that_repeat_each_second_do_not_make_an_overlap_of_pieces_that_touch() {
    // Black: the same 25 video frames again and again, each but once in a piece.
    let mut all = original(40, Content::Unique, true);
    for (n, p) in all.iter_mut().filter(|p| p.track == 1).enumerate() {
        p.hash = n as u64 % 25;
    }
    for p in all.iter_mut().filter(|p| p.track == 2) {
        p.hash = 99;
    }
    let (a, b) = (dump(&all, 680, 760, false, 0, false), dump(&all, 760, 840, false, 0, false));
    let seam = find(&a.index, &b.index);
    assert_eq!((seam.method, seam.shift_ms, froms(&seam)), (Method::Clock, 0, vec![CutStart::Start; 2]));
}
