//! Parameter sets of one file for another of the same stream.
//!
//! Sizes and formats of video frames come with keyframes only. A file that has none (a server that cuts each connection
//! after half a second) has video frames of which nobody can make packets. Read behind the beginning of the last key
//! video frame before it, it is whole. Layout: ISO/IEC 13818-1, 2.4.3.6, and the codecs' own.

use super::{PACKET, PacketHeader, PacketSync, TICKS, TsStream, WRAP, map_pid, pts, streams};

/// What is lent is shown so long before the first video frame of the file that borrows, ticks, so that the two can be
/// told apart.
pub const BEFORE_TICKS: i64 = TICKS;

/// Parameter sets come first in a video frame; where there are none in so many of its packets, there are none.
const MOST_PACKETS: usize = 16;

/// Padding: what follows of the stream is of no video frame until the next one begins.
const PADDING: u8 = 0xbe;

/// The beginning of a keyframe, with the tables that say what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSets {
    pat: Vec<u8>,
    pmt: Vec<u8>,
    streams: Vec<TsStream>,
    lead: TsStream,
    /// Packets up to the first slice, which says which of the sets it is for, and the one after that.
    packets: Vec<Vec<u8>>,
}

impl ParameterSets {
    /// Those of the last keyframe in these bytes of a file; `None` where there are no video frames, or no keyframe with
    /// its sets.
    #[must_use]
    pub fn last(bytes: &[u8]) -> Option<Self> {
        let mut seen = TableScan::default();
        let mut found = None;
        // Of the video frame that is looked at: what begins it, and whether its sets and a slice were there.
        let mut gathered: Vec<Vec<u8>> = Vec::new();
        let mut sliced = false;
        seen.read(bytes, |seen, head, packet| {
            let Some(lead) = seen.lead().filter(|lead| lead.pid == head.pid) else { return };
            if std::mem::take(&mut sliced) {
                if !head.starts {
                    gathered.push(packet.to_vec());
                }
                let (packets, streams) = (std::mem::take(&mut gathered), seen.streams.clone());
                let tables = seen.pat.clone().zip(seen.pmt.clone());
                found = tables.map(|(pat, pmt)| Self { pat, pmt, streams, lead, packets }).or(found.take());
            }
            if head.starts {
                gathered = vec![packet.to_vec()];
            } else if gathered.is_empty() {
                return;
            } else {
                gathered.push(packet.to_vec());
            }
            let (sets, slice) = contents(lead.kind, &gathered);
            sliced = sets && slice;
            if !sliced && (slice || gathered.len() >= MOST_PACKETS) {
                gathered.clear();
            }
        });
        found
    }

    /// Bytes to read a file behind that begins with `bytes`: then it begins with a video frame that is none of its own,
    /// [`BEFORE_TICKS`] before its first one. `None` where it has no video frames of this stream, or is of another one.
    #[must_use]
    pub fn prefix_for(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (mut seen, mut first) = (TableScan::default(), None);
        seen.read(bytes, |_, head, packet| {
            if first.is_none() && head.pid == self.lead.pid && head.starts {
                first = decoded(head.payload(packet));
            }
        });
        // Tables of its own say what it is; they come several times a second, but it may be shorter.
        if seen.pmt.is_some() && seen.streams != self.streams {
            return None;
        }
        let at = (first? - BEFORE_TICKS).rem_euclid(WRAP);
        let mut out = [&self.pat[..], &self.pmt].concat();
        for (n, packet) in self.packets.iter().enumerate() {
            let mut packet = packet.clone();
            if n == 0 {
                set_time(&mut packet, at)?;
            }
            out.extend_from_slice(&packet);
        }
        // What the file begins with of a torn video frame shall not be taken for the rest of this one.
        let [high, low] = self.lead.pid.to_be_bytes();
        out.extend_from_slice(&[0x47, 0x40 | high, low, 0x10, 0, 0, 1, PADDING, 0, 0]);
        out.resize(out.len().next_multiple_of(PACKET), 0xff);
        Some(out)
    }
}

/// True where these bytes are surely of a programme without video frames, so that nothing can be lent.
#[must_use]
pub fn lacks_keyframe(bytes: &[u8]) -> bool {
    let mut seen = TableScan::default();
    seen.read(bytes, |_, _, _| ());
    seen.pmt.is_some() && seen.lead().is_none()
}

/// The tables, as far as they were seen.
#[derive(Default)]
struct TableScan {
    pat: Option<Vec<u8>>,
    pmt: Option<Vec<u8>>,
    map_pid: Option<u16>,
    streams: Vec<TsStream>,
}

impl TableScan {
    /// The stream of video frames.
    fn lead(&self) -> Option<TsStream> {
        self.streams.iter().copied().find(|s| s.is_video())
    }

    /// Reads packet after packet.
    fn read(&mut self, bytes: &[u8], mut take: impl FnMut(&Self, &PacketHeader, &[u8])) {
        let mut packets = PacketSync::default();
        let mut one = |packet: &[u8]| {
            let head = PacketHeader::of(packet);
            if head.pid == 0 && head.starts {
                if let Some(map_pid) = map_pid(head.payload(packet)) {
                    (self.map_pid, self.pat) = (Some(map_pid), Some(packet.to_vec()));
                }
            } else if Some(head.pid) == self.map_pid
                && head.starts
                && let Some(streams) = streams(head.payload(packet))
            {
                (self.streams, self.pmt) = (streams, Some(packet.to_vec()));
            }
            take(self, &head, packet);
        };
        packets.feed(bytes, |_, packet| one(packet));
        packets.finish(|_, packet| one(packet));
    }
}

/// Whether the packets of a video frame hold its parameter sets and the begin of a slice.
fn contents(kind: u8, packets: &[Vec<u8>]) -> (bool, bool) {
    let mut bytes = Vec::new();
    for packet in packets {
        bytes.extend_from_slice(PacketHeader::of(packet).payload(packet));
    }
    let body = bytes.get(8).and_then(|length| bytes.get(9 + usize::from(*length)..)).unwrap_or_default();
    let (mut sets, mut slice) = (false, false);
    for start in body.windows(4).filter(|w| w[..3] == [0, 0, 1]) {
        let (is_set, is_slice) = match kind {
            0x1b => (start[3] & 0x1f == 7, matches!(start[3] & 0x1f, 1 | 2 | 5)),
            0x24 => (start[3] >> 1 & 0x3f == 33, start[3] >> 1 & 0x3f < 32),
            0x01 | 0x02 => (start[3] == 0xb3, matches!(start[3], 0x01..=0xaf)),
            // MPEG-4 part 2: a video object layer, and a video frame of it.
            0x10 => (matches!(start[3], 0x20..=0x2f), start[3] == 0xb6),
            _ => (false, false),
        };
        sets |= is_set;
        slice |= is_slice;
    }
    (sets, slice)
}

/// When what begins here is decoded.
fn decoded(payload: &[u8]) -> Option<i64> {
    let shown = pts(payload)?;
    if payload[7] & 0x40 == 0 {
        return Some(shown);
    }
    let field = payload.get(14..19)?;
    let b = |at: usize| i64::from(field[at]);
    Some((b(0) >> 1 & 7) << 30 | b(1) << 22 | (b(2) >> 1) << 15 | b(3) << 7 | b(4) >> 1)
}

/// Sets when what begins in a packet is shown and decoded. `None` where it does not say that.
fn set_time(packet: &mut [u8], ticks: i64) -> Option<()> {
    let head = PacketHeader::of(packet);
    decoded(head.payload(packet))?;
    let payload = packet.get_mut(head.payload_at..)?;
    let fields: &[usize] = if payload[7] & 0x40 == 0 { &[9] } else { &[9, 14] };
    for at in fields {
        let field = payload.get_mut(*at..at + 5)?;
        // The upper four bits say which of the two it is; each part ends with a marker.
        field[0] = field[0] & 0xf0 | (ticks >> 29 & 0x0e) as u8 | 1;
        field[1] = (ticks >> 22 & 0xff) as u8;
        field[2] = (ticks >> 14 & 0xfe) as u8 | 1;
        field[3] = (ticks >> 7 & 0xff) as u8;
        field[4] = (ticks << 1 & 0xfe) as u8 | 1;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The head of a unit with both times, as it begins in a packet, and what follows.
    fn unit(pid: u16, times: bool, body: &[u8]) -> Vec<u8> {
        let [high, low] = pid.to_be_bytes();
        let mut out = vec![0x47, 0x40 | high, low, 0x10, 0, 0, 1, 0xe0, 0, 0, 0x80];
        out.extend_from_slice(if times { &[0xc0, 10, 0x31, 0, 1, 0, 1, 0x11, 0, 1, 0, 1] } else { &[0, 0] });
        out.extend_from_slice(body);
        out.resize(PACKET, 0xff);
        out
    }

    /// A section in a packet of its own; its checksum is not looked at.
    fn table(pid: u16, id: u8, body: &[u8]) -> Vec<u8> {
        let [high, low] = pid.to_be_bytes();
        let mut out = vec![0x47, 0x40 | high, low, 0x10, 0, id, 0xb0, body.len() as u8 + 4];
        out.extend_from_slice(body);
        out.resize(PACKET, 0xff);
        out
    }

    fn tables(kind: u8) -> Vec<u8> {
        let map = [0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0, kind, 0xe1, 0, 0xf0, 0];
        [table(0, 0, &[0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0]), table(0x1000, 2, &map)].concat()
    }

    const KEY: [u8; 12] = [0, 0, 1, 9, 0, 0, 1, 0x67, 0, 0, 1, 0x65];
    const OTHER: [u8; 4] = [0, 0, 1, 0x41];

    fn file(kind: u8, units: &[&[u8]]) -> Vec<u8> {
        tables(kind).into_iter().chain(units.iter().flat_map(|body| unit(0x100, true, body))).collect()
    }

    #[test]
    fn the_last_key_picture_lends_to_what_is_of_the_same_stream() {
        let donor = file(0x1b, &[&KEY, &OTHER, &KEY, &OTHER]);
        let params = ParameterSets::last(&donor).expect("a key picture");
        assert_eq!(params.packets.len(), 1, "the picture after it is none of it");
        let borrower = file(0x1b, &[&OTHER, &OTHER]);
        let prefix = params.prefix_for(&borrower).expect("lent");
        assert_eq!(prefix.len(), 4 * PACKET, "two tables, the picture, and the end of it");
        let first = PacketHeader::of(&prefix[2 * PACKET..]);
        let first = first.payload(&prefix[2 * PACKET..3 * PACKET]);
        assert_eq!((pts(first), decoded(first)), (Some(WRAP - BEFORE_TICKS), Some(WRAP - BEFORE_TICKS)));
        // Without tables of its own it is not known to be another.
        assert_eq!(params.prefix_for(&borrower[2 * PACKET..]), Some(prefix));
        assert_eq!(params.prefix_for(&file(0x24, &[&OTHER])), None);
        assert_eq!(params.prefix_for(&tables(0x1b)), None, "no pictures");
        assert_eq!(params.prefix_for(b"<html>"), None);
        let untimed: Vec<u8> = tables(0x1b).into_iter().chain(unit(0x100, false, &OTHER)).collect();
        assert_eq!(params.prefix_for(&untimed), None);
    }

    #[test]
    fn what_has_no_parameter_sets_lends_none() {
        for (kind, units) in [
            (0x1b, &[&OTHER[..], &OTHER][..]),
            // Without a slice they are not known to be a video frame's.
            (0x1b, &[&KEY[..8], &OTHER]),
            // Audio.
            (0x0f, &[&KEY, &KEY]),
            // Torn: more of the video frame may have been to come.
            (0x1b, &[&KEY]),
        ] {
            assert_eq!(ParameterSets::last(&file(kind, units)), None, "{kind} {units:?}");
        }
        assert!(lacks_keyframe(&file(0x0f, &[&KEY])) && !lacks_keyframe(&file(0x1b, &[&KEY])));
        assert!(!lacks_keyframe(b"nothing is known"));
    }

    proptest! {
        #[test]
        fn a_time_that_was_set_is_read(ticks in 0..WRAP) {
            let mut packet = unit(0x100, true, &KEY);
            prop_assert_eq!(set_time(&mut packet, ticks), Some(()));
            let payload = &packet[4..];
            prop_assert_eq!((pts(payload), decoded(payload)), (Some(ticks), Some(ticks)));
            prop_assert_eq!((payload[9] >> 4, payload[14] >> 4), (3, 1), "which is which");
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600), kind: u8) {
            let broken: Vec<u8> = tables(kind).into_iter().chain([0x47, 0x41, 0, 0x30]).chain(bytes.clone()).chain([0x47]).collect();
            for bytes in [&bytes, &broken] {
                let _ = ParameterSets::last(bytes);
                let _ = lacks_keyframe(bytes);
                let _ = ParameterSets::last(&file(0x1b, &[&KEY, &OTHER])).expect("params").prefix_for(bytes);
            }
        }
    }
}
