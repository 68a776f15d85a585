//! Packets from the middle of a segment: what its head and tail are at its ends.

use std::path::Path;

use super::MAX_EDGE_PACKETS;
use crate::domain::media::{MediaIndex, Packet, PacketWindow, Track};
use crate::media::demux::{Demux, Demuxed};
use crate::media::{CancellationToken, Result};

/// Reads packets from the middle of a segment that was indexed: those shown in each of the stretches
/// `[from, to)`, which are in its own clock, milliseconds. Reads no further than to the last of them.
///
/// # Errors
/// As [`super::index`], and when ffmpeg makes nothing of the file any more.
pub fn windows(
    path: &Path,
    index: &MediaIndex,
    stretches: &[(i64, i64)],
    cancel: &CancellationToken,
) -> Result<Vec<PacketWindow>> {
    let mut gathered: Vec<WindowBuilder> =
        stretches.iter().map(|(from, to)| WindowBuilder::new(*from, *to, index.tracks.len())).collect();
    let mut demux = Demux::reopen(path, index, cancel)?;
    while let Some(Demuxed { mut packet, ordinal, .. }) = demux.next_packet()? {
        let Some(known) = index.tracks.get(packet.track as usize - 1) else { continue };
        if packet.duration_ms == 0 {
            packet.duration_ms = known.packet_ms;
        }
        for window in &mut gathered {
            window.take(packet, ordinal);
        }
        if gathered.iter().all(WindowBuilder::is_full) {
            break;
        }
    }
    Ok(gathered.into_iter().map(|window| window.finish(&index.tracks)).collect())
}

/// A window while packets pass.
#[derive(Debug)]
struct WindowBuilder {
    window: PacketWindow,
    /// Of each track: how many packets lie before the window is known.
    begun: Vec<bool>,
    /// Of each track: it is past the window.
    past: Vec<bool>,
}

impl WindowBuilder {
    fn new(from_ms: i64, to_ms: i64, tracks: usize) -> Self {
        let window = PacketWindow { from_ms, to_ms, before: vec![0; tracks], packets: Vec::new() };
        Self { window, begun: vec![false; tracks], past: vec![false; tracks] }
    }

    fn take(&mut self, packet: Packet, ordinal: u64) {
        let track = packet.track as usize - 1;
        // A video frame may be shown after one that is decoded later: the first that is late ends it.
        let past = self.past[track] || packet.pts_ms >= self.window.to_ms;
        self.past[track] = past;
        if !past && !self.begun[track] && packet.pts_ms < self.window.from_ms {
            return;
        }
        // Also where the first packet that is not before the window is behind it: then none of this track is in it, and
        // a seam there goes on with that packet.
        if !std::mem::replace(&mut self.begun[track], true) {
            self.window.before[track] = ordinal;
        }
        if past {
            return;
        }
        if self.window.packets.len() < MAX_EDGE_PACKETS {
            self.window.packets.push(packet);
        } else {
            self.past[track] = true;
        }
    }

    fn is_full(&self) -> bool {
        self.past.iter().all(|past| *past)
    }

    fn finish(mut self, tracks: &[Track]) -> PacketWindow {
        for ((before, begun), track) in self.window.before.iter_mut().zip(&self.begun).zip(tracks) {
            if !begun {
                // The track ended before the window.
                *before = track.packets;
            }
        }
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::media::TrackKind;

    /// Audio at these times, video frames each 100 ms for 10 s, and a window from 4 to 6 s.
    fn gather(sound: &[i64]) -> PacketWindow {
        let packet = |track, pts_ms| Packet { track, pts_ms, duration_ms: 10, key: true, size: 1, hash: 0 };
        let mut packets: Vec<Packet> = (0..100).map(|n| packet(1, n * 100)).collect();
        packets.extend(sound.iter().map(|at| packet(2, *at)));
        packets.sort_by_key(|p| p.pts_ms);
        let tracks =
            [(1, TrackKind::Video, 100), (2, TrackKind::Audio, sound.len() as u64)].map(|(number, kind, packets)| {
                Track {
                    number,
                    kind,
                    codec: String::new(),
                    format_hash: 0,
                    stream: 0,
                    adts: false,
                    whole_end: true,
                    packet_ms: 100,
                    packets,
                    pid: 0,
                    language: String::new(),
                    entry: Vec::new(),
                    keys_ms: Vec::new(),
                }
            });
        let mut ordinals = [0, 0];
        let mut gathered = WindowBuilder::new(4000, 6000, 2);
        for packet in packets {
            let ordinal = &mut ordinals[packet.track as usize - 1];
            gathered.take(packet, *ordinal);
            *ordinal += 1;
            if gathered.is_full() {
                break;
            }
        }
        gathered.finish(&tracks)
    }

    #[test]
    fn what_lies_before_a_window_is_counted_also_for_a_track_that_has_nothing_in_it() {
        for (sound, before, inside) in [
            (vec![3000, 4500, 5500, 7000], 1, 2),
            // It pauses.
            (vec![1000, 2000, 3000, 7000, 8000], 3, 0),
            // It is over.
            (vec![1000, 2000], 2, 0),
            // It begins later.
            (vec![7000, 8000], 0, 0),
            (vec![], 0, 0),
        ] {
            let window = gather(&sound);
            assert_eq!(window.before, [40, before], "{sound:?}");
            let of = |track| window.packets.iter().filter(|p| p.track == track).count();
            assert_eq!((of(1), of(2)), (20, inside), "{sound:?}");
        }
    }
}
