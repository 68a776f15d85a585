//! Whether a file ends with a whole video frame, or in the middle of one.
//!
//! A video frame may have any length, and says none. But the packet after it begins something new, so its own last
//! packet is filled up with stuffing, unless it happens to fit (once in 184 times). Layout: ISO/IEC 13818-1,
//! 2.4.3.4 and 2.4.3.6.

use super::{PACKET, PacketHeader};

/// Which of its streams a file surely ends whole. Of several streams of one kind nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompleteTail {
    /// The last video frame is whole.
    pub pictures: bool,
    /// The last stretch of audio is whole.
    pub sound: bool,
}

/// What is known of one stream's last unit.
#[derive(Clone, Copy)]
struct Last {
    pid: u16,
    /// Of its head: 0xe0 to 0xef are video frames.
    stream_id: u8,
    /// How long it is to be; `None` where it does not say.
    length: Option<usize>,
    came: usize,
    stuffed: bool,
}

impl Last {
    fn is_whole(self) -> bool {
        self.length.map_or(self.stuffed, |length| self.came >= length)
    }
}

/// Looks at the last bytes of a file; they should be so many that each stream begins something in them.
#[must_use]
pub fn complete_tail(end: &[u8]) -> CompleteTail {
    let mut lasts: Vec<Last> = Vec::new();
    let mut at = 0;
    while let Some(packet) = end.get(at..at + PACKET) {
        // In step where the packet after agrees.
        if packet[0] != 0x47 || end.get(at + PACKET).is_some_and(|next| *next != 0x47) {
            at += 1;
            continue;
        }
        at += PACKET;
        let head = PacketHeader::of(packet);
        let payload = head.payload(packet);
        if head.starts {
            let known = lasts.iter().position(|l| l.pid == head.pid);
            if let [0, 0, 1, stream_id, high, low, ..] = *payload {
                let length = usize::from(high) << 8 | usize::from(low);
                let length = (length > 0).then_some(6 + length);
                let last = Last { pid: head.pid, stream_id, length, came: payload.len(), stuffed: is_stuffed(packet) };
                match known {
                    Some(n) => lasts[n] = last,
                    None => lasts.push(last),
                }
            } else if let Some(n) = known {
                lasts.swap_remove(n);
            }
        } else if let Some(last) = lasts.iter_mut().find(|l| l.pid == head.pid)
            && !payload.is_empty()
        {
            last.came += payload.len();
            last.stuffed = is_stuffed(packet);
        }
    }
    let is_whole = |of_kind: fn(u8) -> bool| {
        let mut of_kind = lasts.iter().filter(|l| of_kind(l.stream_id));
        of_kind.next().is_some_and(|only| only.is_whole()) && of_kind.next().is_none()
    };
    CompleteTail {
        pictures: is_whole(|id| (0xe0..=0xef).contains(&id)),
        // AC-3 is a private stream.
        sound: is_whole(|id| (0xc0..=0xdf).contains(&id) || id == 0xbd),
    }
}

/// True where the packet's adaptation field is longer than what is in it.
pub(super) fn is_stuffed(packet: &[u8]) -> bool {
    let byte = |at: usize| packet.get(at).copied().map_or(0, usize::from);
    if byte(3) & 0x20 == 0 {
        return false;
    }
    let (length, flags) = (byte(4), byte(5));
    if length == 0 {
        // One byte of stuffing is the length itself.
        return true;
    }
    let mut used = 1;
    for (flag, fixed) in [(0x10, 6), (0x08, 6), (0x04, 1)] {
        used += if flags & flag != 0 { fixed } else { 0 };
    }
    // Private data, and the extension: their lengths come first.
    for flag in [0x02, 0x01] {
        if flags & flag != 0 {
            used += 1 + byte(5 + used);
        }
    }
    length > used
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of a stream: what begins in it, or goes on; filled up to its length.
    fn packet(pid: u16, starts: bool, payload: &[u8]) -> Vec<u8> {
        let [high, low] = pid.to_be_bytes();
        let mut out = vec![0x47, high | if starts { 0x40 } else { 0 }, low, 0x10];
        if payload.len() < PACKET - 4 {
            out[3] |= 0x20;
            let length = PACKET - 5 - payload.len();
            out.push(length as u8);
            if length > 0 {
                out.push(0);
                out.resize(4 + 1 + length, 0xff);
            }
        }
        out.extend_from_slice(payload);
        assert_eq!(out.len(), PACKET);
        out
    }

    fn begin(stream_id: u8, length: u16, bytes: usize) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        let mut out = vec![0, 0, 1, stream_id, high, low, 0x80, 0, 0];
        out.resize(bytes, 7);
        out
    }

    #[test]
    fn a_picture_is_whole_where_its_last_packet_is_filled_up() {
        let starts = packet(256, true, &begin(0xe0, 0, 184));
        let goes_on = packet(256, false, &[7; 184]);
        let ends = |last: usize| packet(256, false, &vec![7; last]);
        let pictures = |parts: &[&[u8]]| complete_tail(&parts.concat()).pictures;
        assert!(pictures(&[&starts, &goes_on, &ends(100)]));
        assert!(pictures(&[&starts, &goes_on, &ends(183)]), "one byte is filled up");
        assert!(pictures(&[&starts, &goes_on, &ends(100), &[0x47; 90]]), "half a packet is not read");
        assert!(pictures(&[&[3; 77], &starts, &ends(5)]), "out of step at first");
        assert!(!pictures(&[&starts, &goes_on]), "it goes on, or fits: nobody knows");
        assert!(!pictures(&[&starts, &ends(100), &starts]));
        assert!(!pictures(&[&goes_on, &ends(100)]), "what it is was not seen");
        // A clock in the packet is no stuffing.
        let mut clocked = goes_on.clone();
        clocked[3] |= 0x20;
        (clocked[4], clocked[5]) = (7, 0x10);
        assert!(!pictures(&[&starts, &clocked]));
        clocked[4] = 8;
        assert!(pictures(&[&starts, &clocked]));
        // Two streams of video frames: which one is the track is not known.
        assert!(!pictures(&[&starts, &ends(9), &packet(300, true, &begin(0xe1, 0, 20))]));
    }

    #[test]
    fn sound_says_how_long_it_is() {
        let starts = packet(257, true, &begin(0xc0, 362, 184));
        let sound = |parts: &[&[u8]]| complete_tail(&parts.concat()).sound;
        assert!(sound(&[&starts, &packet(257, false, &[7; 184])]));
        assert!(!sound(&[&starts, &packet(257, false, &[7; 183])]));
        assert!(!sound(&[&starts]));
        assert_eq!(complete_tail(&[]), CompleteTail::default());
    }
}
