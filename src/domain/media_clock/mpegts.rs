//! MPEG-TS (ISO 13818-1): the timestamps of PES headers.

use super::{Progress, Step, skip};

const PACKET: usize = 188;
const SYNC: u8 = 0x47;
/// From one packet to the next: plain, with a time before each (Blu-ray), with error correction behind each (DVB).
const DISTANCES: [usize; 3] = [PACKET, 192, MAX_DISTANCE];
const MAX_DISTANCE: usize = 204;
/// Packets of this PID are stuffing.
const NULL_PID: u16 = 0x1fff;
/// Ticks of 90 kHz before the clock begins anew.
const WRAP: i64 = 1 << 33;

#[derive(Clone, Debug, Default)]
pub(super) struct MpegTs {
    /// The newest timestamp of each PID without the wraps of the clock, in ticks.
    ticks: Vec<(u32, i64)>,
}

impl MpegTs {
    pub(super) fn step(&mut self, bytes: &[u8], progress: &mut Progress) -> Step {
        let follows = |distance: &usize| bytes.get(*distance) == Some(&SYNC);
        let Some(distance) = DISTANCES.into_iter().find(follows).filter(|_| bytes[0] == SYNC) else {
            if bytes[0] == SYNC && bytes.len() <= MAX_DISTANCE {
                return Step::More;
            }
            return skip(bytes.iter().skip(1).position(|byte| *byte == SYNC).map_or(bytes.len(), |at| at + 1));
        };
        let packet = &bytes[..PACKET];
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let begins = packet[1] & 0x40 != 0;
        let at = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
        let payload = packet.get(at..).filter(|_| packet[3] & 0x10 != 0).unwrap_or_default();
        match timestamp(payload).filter(|_| begins) {
            Some(ticks) => {
                let ticks = self.unwrapped(u32::from(pid), ticks);
                progress.at(u32::from(pid), ticks.saturating_mul(100) / 9);
            }
            None => progress.has_untimed |= pid != NULL_PID && payload.iter().any(|byte| *byte != 0),
        }
        skip(distance)
    }

    /// Goes on where the 33 bits begin anew.
    fn unwrapped(&mut self, pid: u32, ticks: i64) -> i64 {
        let Some((_, newest)) = self.ticks.iter_mut().find(|(known, _)| *known == pid) else {
            if self.ticks.len() >= super::MAX_TRACKS {
                self.ticks.remove(0);
            }
            self.ticks.push((pid, ticks));
            return ticks;
        };
        let step = (ticks - *newest).rem_euclid(WRAP);
        *newest += if step >= WRAP / 2 { step - WRAP } else { step };
        *newest
    }
}

/// The decoding timestamp of a PES header, or its presentation timestamp.
fn timestamp(payload: &[u8]) -> Option<i64> {
    let is_media = matches!(payload.get(3)?, 0xbd | 0xc0..=0xef | 0xfd);
    if !payload.starts_with(&[0, 0, 1]) || !is_media || payload.get(7)? & 0x80 == 0 {
        return None;
    }
    let at = if payload[7] & 0x40 != 0 { 14 } else { 9 };
    let field: [u8; 5] = payload.get(at..at + 5)?.try_into().ok()?;
    let [a, b, c, d, e] = field.map(i64::from);
    // Other data that looks like a PES header has not all the marker bits.
    let is_marked = (1..=3).contains(&(a >> 4)) && a & c & e & 1 == 1;
    is_marked.then_some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}
