//! Packetised elementary streams: the units that a stream of MPEG-TS is sent in, with their times (ISO/IEC 13818-1,
//! 2.4.3.6).

use super::tail::is_stuffed;
use super::{PACKET, PacketHeader};

/// A unit is not gathered beyond this, bytes: a coded picture of this size does not exist.
const MAX_UNIT: usize = 32 << 20;

/// What came in one PES packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Byte of the file at which the packet with its head begins.
    pub byte: u64,
    /// Presentation time of what begins in it, 33 bits in ticks of 90 kHz.
    pub pts: Option<i64>,
    /// Decoding time, likewise.
    pub dts: Option<i64>,
    /// Its content.
    pub data: Vec<u8>,
    /// It is known to be there to its end.
    pub complete: bool,
}

impl Unit {
    /// When it is decoded, as far as it says.
    #[must_use]
    pub fn decoded(&self) -> Option<i64> {
        self.dts.or(self.pts)
    }
}

/// Puts the units of one PID together.
#[derive(Clone, Debug, Default)]
pub struct PesReader {
    building: Option<Building>,
    last_packet: Vec<u8>,
    /// Packets that were scrambled, and that were not.
    scrambled: u64,
    clear: u64,
}

#[derive(Clone, Debug)]
struct Building {
    byte: u64,
    bytes: Vec<u8>,
    /// How long it is to be with its head; `None`: it ends where the next one begins.
    length: Option<usize>,
    stuffed: bool,
}

impl PesReader {
    /// Takes the next packet of the PID, which begins at this byte of the file. Units that are over now are handed over.
    pub fn push(&mut self, byte: u64, packet: &[u8], mut take: impl FnMut(Unit)) {
        let head = PacketHeader::of(packet);
        let payload = head.payload(packet);
        if payload.is_empty() {
            return;
        }
        if packet.get(3).is_some_and(|flags| flags & 0xc0 != 0) {
            self.scrambled += 1;
            return;
        }
        self.clear += 1;
        // A packet may be sent twice.
        if self.last_packet == packet {
            return;
        }
        self.last_packet.clear();
        self.last_packet.extend_from_slice(packet);
        if head.starts {
            if let Some(unit) = self.building.take().and_then(|b| b.unit(false)) {
                take(unit);
            }
            let [0, 0, 1, stream_id, high, low, ..] = *payload else { return };
            // Maps, padding, and what has no head of the usual kind.
            if matches!(stream_id, 0xbc | 0xbe | 0xbf | 0xf0 | 0xf1 | 0xf2 | 0xf8 | 0xff) {
                return;
            }
            let length = usize::from(high) << 8 | usize::from(low);
            let length = (length > 0).then_some(6 + length);
            self.building = Some(Building { byte, bytes: payload.to_vec(), length, stuffed: is_stuffed(packet) });
        } else if let Some(building) = &mut self.building {
            if building.bytes.len() + PACKET > MAX_UNIT {
                self.building = None;
                return;
            }
            building.bytes.extend_from_slice(payload);
            building.stuffed = is_stuffed(packet);
        }
        if self.building.as_ref().is_some_and(|b| b.length.is_some_and(|length| b.bytes.len() >= length))
            && let Some(unit) = self.building.take().and_then(|b| b.unit(false))
        {
            take(unit);
        }
    }

    /// Nothing follows: the unit that was being put together.
    pub fn finish(&mut self) -> Option<Unit> {
        self.building.take().and_then(|b| b.unit(true))
    }

    /// Packets whose content was scrambled, and packets whose content was not.
    #[must_use]
    pub fn scrambled(&self) -> (u64, u64) {
        (self.scrambled, self.clear)
    }
}

impl Building {
    fn unit(self, at_end: bool) -> Option<Unit> {
        let Self { byte, mut bytes, length, stuffed } = self;
        let complete = match length {
            Some(length) => bytes.len() >= length,
            // What follows begins something new, so its last packet was filled up.
            None => !at_end || stuffed,
        };
        if let Some(length) = length {
            bytes.truncate(length);
        }
        let (flags, head) = (*bytes.get(7)?, 9 + usize::from(*bytes.get(8)?));
        let pts = (flags & 0x80 != 0).then(|| time(bytes.get(9..14)?)).flatten();
        let dts = (flags & 0x40 != 0).then(|| time(bytes.get(14..19)?)).flatten().filter(|_| pts.is_some());
        if head > bytes.len() {
            return None;
        }
        bytes.drain(..head);
        Some(Unit { byte, pts, dts, data: bytes, complete })
    }
}

/// A time stamp of 33 bits. `None`: its marker bits are wrong, so it is damaged.
fn time(field: &[u8]) -> Option<i64> {
    let [a, b, c, d, e] = *field else { return None };
    if a & 1 == 0 || c & 1 == 0 || e & 1 == 0 {
        return None;
    }
    let [a, b, c, d, e] = [a, b, c, d, e].map(i64::from);
    Some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(cc: u8, starts: bool, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0x47, 1 | if starts { 0x40 } else { 0 }, 0, 0x10 | cc];
        if payload.len() < PACKET - 4 {
            out[3] |= 0x20;
            let length = PACKET - 5 - payload.len();
            out.push(length as u8);
            if length > 0 {
                out.push(0);
                out.resize(5 + length, 0xff);
            }
        }
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn units_with_and_without_a_length_and_a_time() {
        let timed = [0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 3, 7, 7];
        let untimed = [0, 0, 1, 0xe0, 0, 5, 0x80, 0, 0, 8, 9];
        let mut reader = PesReader::default();
        let mut units = Vec::new();
        let all = [
            packet(0, true, &timed),
            packet(1, false, &[6; 184]),
            packet(1, false, &[6; 184]),
            packet(2, true, &untimed),
        ];
        for (n, packet) in (0..).zip(&all) {
            reader.push(n * 188, packet, |unit| units.push(unit));
        }
        assert_eq!(units.len(), 2, "the packet that was sent twice counts once");
        assert_eq!((units[0].pts, units[0].byte, units[0].data.len(), units[0].complete), (Some(1), 0, 186, true));
        assert_eq!((units[1].pts, units[1].byte, units[1].data.as_slice()), (None, 3 * 188, &[8, 9][..]));
        assert_eq!(reader.finish(), None);
        reader.push(0, &packet(3, true, &timed[..15]), |_| ());
        assert!(reader.finish().is_some_and(|unit| unit.complete));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..188), 0..20)) {
            let mut reader = PesReader::default();
            for packet in &packets {
                reader.push(0, packet, |_| ());
            }
            let _ = reader.finish();
        }
    }
}
