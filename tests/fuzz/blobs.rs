//! Bytes that should be media, or were written by us once: the sniffer, Matroska, and the catalog's own blobs.

use proptest::prelude::*;
use streamrip::catalog::{marks, media_index, open_in_memory};
use streamrip::domain::ids::SegmentId;
use streamrip::domain::sniff::{self, Sniff, sniff};
use streamrip::media::{adts, ebml, keyframe, track};

use crate::harness::{fuzz, measured};
use crate::mutation::{Input, Samples};

const WORDS: &[&[u8]] = &[
    &[0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, 0xa6, 0xd9, 0x00, 0xaa, 0x00, 0x62, 0xce, 0x6c],
    b"OggS",
    b"FLV\x01",
    b"ID3\x04\0\0\x7f\x7f\x7f\x7f",
    &[0x1a, 0x45, 0xdf, 0xa3],
    &[0, 0, 1, 0xba],
    &[0x47, 0x40, 0, 0x10],
    &[0xff, 0xfb, 0x90, 0x64],
    &[0xff, 0xf1, 0x50, 0x80],
    b"ftypisom",
    b"<!DOCTYPE html>",
    b"#EXTM3U\n",
    b"<ASX",
    b"{\"",
    &[0xff; 8],
    &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x08, 0xff, 0xff, 0xff, 0xf0],
];

fn media() -> Samples {
    let ts: Vec<u8> = (0..40_u8).flat_map(|n| [&[0x47, 0x40, 0x11, 0x10 | (n & 15)][..], &[n; 184]].concat()).collect();
    let mut mkv = Vec::new();
    for (id, content) in [(ebml::id::EBML, &[0x42, 0x82, 0x84, b'w', b'e', b'b', b'm'][..]), (ebml::id::VOID, &[0; 9])]
    {
        ebml_element(&mut mkv, id, content);
    }
    let entry =
        [&[0xd7, 0x81, 1, 0x83, 0x81, 1, 0x86, 0x85][..], b"V_VP8", &[0xe0, 0x86, 0xb0, 0x81, 9, 0xba, 0x81, 9]]
            .concat();
    let mut tracks = Vec::new();
    ebml_element(&mut tracks, ebml::id::TRACK_ENTRY, &entry);
    ebml_element(&mut mkv, ebml::id::TRACKS, &tracks);
    ebml_element(&mut mkv, ebml::id::SIMPLE_BLOCK, &[0x81, 0, 0, 0x80, 1, 2, 3]);
    let mp3 = [&[0xff, 0xfb, 0x90, 0x64][..], &[0; 413]].concat().repeat(5);
    let adts = [&[0xff, 0xf1, 0x50, 0x80, 0x02, 0x1f, 0xfc][..], &[7; 9]].concat().repeat(20);
    let html = b"\n<!DOCTYPE html>\n<html><head><title>404</title></head><body>Not found</body></html>\n".repeat(9);
    let own = [vec![5, 0x80, 0x80, 4, 1, 2, 3, 0xff, 0xff, 0x7f], vec![0; 40]].concat();
    Samples::new(vec![ts, mkv, mp3, adts, html, own, vec![0; 64], Vec::new()], WORDS)
}

fn ebml_element(out: &mut Vec<u8>, id: u32, content: &[u8]) {
    let id = id.to_be_bytes();
    out.extend(id.iter().skip_while(|b| **b == 0));
    out.push(0x80 | u8::try_from(content.len()).expect("short"));
    out.extend(content);
}

#[test]
fn the_sniffer_decides_and_never_changes_its_mind() {
    let samples = media();
    fuzz(&(samples.mutated(), any::<prop::sample::Index>()), |(Input(bytes), cut)| {
        let (whole, cost) = measured(|| sniff(&bytes, true));
        cost.is_within_bounds(bytes.len());
        assert!(whole != Sniff::NeedMore);
        assert!(bytes.len() < sniff::MAX || sniff(&bytes, false) != Sniff::NeedMore);
        let _ = sniff(&bytes[..cut.index(bytes.len() + 1)], false);
    });
}

#[test]
fn matroska_is_read_as_far_as_it_is_sound() {
    let samples = media();
    fuzz(&samples.mutated(), |input| {
        let bytes = input.0;
        let (_, cost) = measured(|| {
            let mut reader = ebml::Reader::new(bytes.as_slice());
            while let Ok(Some(element)) = reader.next_element() {
                let inside = matches!(element.id, ebml::id::SEGMENT | ebml::id::CLUSTER);
                match if inside { Ok(Vec::new()) } else { reader.content(element) } {
                    Ok(content) => {
                        for (_, child) in ebml::children(&content) {
                            let _ = track::TrackEntry::read(&child).codec();
                        }
                        let _ = (ebml::read_uint(&content), ebml::read_int(&content), ebml::read_float(&content));
                        let _ = (ebml::read_vint(&content), adts::AdtsHeader::read(&content));
                        if let Some(head) = keyframe::KeyframeProbe::of(&content) {
                            let _ = head.is_key(&content);
                        }
                    }
                    Err(_) => break,
                }
            }
            let mut reader = ebml::Reader::new(bytes.as_slice());
            while let Ok(Some(element)) = reader.next_element() {
                if reader.skip(element).is_err() {
                    break;
                }
            }
        });
        cost.is_within_bounds(bytes.len());
    });
}

/// A damaged catalog may hold anything: it is an error of that segment, not of the program.
#[test]
fn blobs_of_the_catalog() {
    let samples = media();
    let db = open_in_memory().expect("catalog");
    db.execute_batch("PRAGMA foreign_keys = off").expect("set");
    fuzz(&samples.mutated(), |input| {
        let bytes = input.0;
        db.execute("INSERT OR REPLACE INTO mark_chunk (segment_id, seq, marks) VALUES (1, 0, ?1)", [&bytes])
            .expect("row");
        db.execute("INSERT OR REPLACE INTO media_index (segment_id, format, data) VALUES (1, 1, ?1)", [&bytes])
            .expect("row");
        let (_, cost) = measured(|| marks::of_segment(&db, SegmentId(1)));
        cost.is_within_bounds(bytes.len());
        let (_, cost) = measured(|| media_index::of_segment(&db, SegmentId(1)));
        cost.is_within_bounds(bytes.len());
    });
}
