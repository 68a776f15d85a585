//! Bytes as packets, also where some of them are missing.

use super::PACKET;

/// First byte of a packet.
const SYNC: u8 = 0x47;

/// Cuts bytes into packets as they come. A packet is one where the next one begins right after it: what is inside a
/// packet may look like the first byte of one, and a packet of which bytes are missing is none.
#[derive(Clone, Debug, Default)]
pub struct PacketSync {
    /// What is no whole packet yet, or one after which nothing came yet.
    rest: Vec<u8>,
    /// Where `rest` begins in the file.
    at: u64,
}

impl PacketSync {
    /// Of a file from this byte on.
    #[must_use]
    pub fn from_byte(at: u64) -> Self {
        Self { rest: Vec::new(), at }
    }

    /// Takes the bytes that follow, and hands over each packet with the place of its first byte in the file.
    pub fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(u64, &[u8])) {
        self.rest.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(next) = self.rest.get(from + PACKET) {
            if self.rest[from] == SYNC && *next == SYNC {
                take(self.at + from as u64, &self.rest[from..from + PACKET]);
                from += PACKET;
            } else {
                from += 1;
            }
        }
        self.rest.drain(..from);
        self.at += from as u64;
    }

    /// Nothing follows: the last packet, if there is a whole one.
    pub fn finish(&mut self, take: impl FnOnce(u64, &[u8])) {
        if self.rest.len() == PACKET && self.rest[0] == SYNC {
            take(self.at, &self.rest);
        }
        self.at += self.rest.len() as u64;
        self.rest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_after_must_agree_however_the_bytes_come() {
        let packet = |fill: u8| [&[SYNC][..], &[fill; PACKET - 1]].concat();
        // Ten bytes are missing from the second packet, and its middle looks like a first byte.
        let mut torn = packet(2);
        torn[100] = SYNC;
        torn.truncate(PACKET - 10);
        let bytes = [packet(1), packet(1), torn, vec![0xff; 3], packet(3), packet(4)].concat();
        for step in [1, 7, PACKET, 4000] {
            let (mut packets, mut found) = (PacketSync::default(), Vec::new());
            for piece in bytes.chunks(step) {
                packets.feed(piece, |at, packet| found.push((at, packet[1])));
            }
            packets.finish(|at, packet| found.push((at, packet[1])));
            let third = 3 * PACKET as u64 - 7;
            // The second one of the first two is followed by the torn one, which begins well.
            assert_eq!(found, [(0, 1), (PACKET as u64, 1), (third, 3), (third + PACKET as u64, 4)], "{step}");
        }
    }
}
