//! Where a segment's packets begin and stop being used. Decided by plans, carried out by the join.

use std::fmt;

/// The first packet of a track that is used. Times are in the segment's own clock, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CutStart {
    /// All from the first on.
    Start,
    /// From the packet on that has so many of its track before it.
    Packet(u64),
    /// From the first key packet at or after this time on, and then only what is shown after it:
    /// video frames shown before it may need ones that are not there.
    Keyframe(i64),
    /// From the first packet at or after this time on.
    Time(i64),
    /// Nothing at all.
    Nothing,
}

/// The first packet of a track that is no longer used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CutEnd {
    /// All to the last.
    End,
    /// This one, by the number of packets of its track before it.
    Packet(u64),
    /// The first one, in decoding order, that is shown at or after this time.
    Time(i64),
}

impl fmt::Display for CutStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Packet(n) => write!(f, "packet {n}"),
            Self::Keyframe(i64::MIN) => f.write_str("first key picture"),
            Self::Keyframe(ms) => write!(f, "key picture at {ms} ms"),
            Self::Time(ms) => write!(f, "{ms} ms"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for CutEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("end"),
            Self::Packet(n) => write!(f, "packet {n}"),
            Self::Time(ms) => write!(f, "{ms} ms"),
        }
    }
}

/// Carries out a [`CutStart`] and a [`CutEnd`] on the packets of one track, in file order.
#[derive(Clone, Debug)]
pub struct Cutter {
    from: CutStart,
    to: CutEnd,
    /// Time of the key packet that began it.
    begun: Option<i64>,
    ended: bool,
}

impl Cutter {
    /// Nothing has passed yet.
    #[must_use]
    pub fn new(from: CutStart, to: CutEnd) -> Self {
        Self { from, to, begun: None, ended: false }
    }

    /// True where the packet is used. `ordinal` counts the packets of the track from 0.
    pub fn includes(&mut self, ordinal: u64, pts_ms: i64, key: bool) -> bool {
        if self.ended {
            return false;
        }
        let begins = match (self.from, self.begun) {
            (CutStart::Start, _) => true,
            (CutStart::Packet(n), _) => ordinal >= n,
            (CutStart::Keyframe(at), None) => {
                let begins = key && pts_ms >= at;
                if begins {
                    self.begun = Some(pts_ms);
                }
                begins
            }
            (CutStart::Keyframe(_), Some(first)) => pts_ms >= first,
            (CutStart::Time(at), _) => pts_ms >= at,
            (CutStart::Nothing, _) => false,
        };
        self.ended = match self.to {
            CutEnd::End => false,
            CutEnd::Packet(n) => ordinal >= n,
            // Before the begin a late time is no end: video frames before the first keyframe are anywhere.
            CutEnd::Time(at) => begins && pts_ms >= at,
        };
        begins && !self.ended
    }

    /// True where no further packet will be used.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended || self.from == CutStart::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_on_pictures_that_are_decoded_in_another_order_than_shown() {
        // (time, key): two groups of video frames, the second open: its key is followed by two shown before it.
        let packets = [
            (80, true),
            (40, false),
            (60, false),
            (140, false),
            (100, false),
            (120, false),
            (200, true),
            (160, false),
            (180, false),
            (260, false),
            (220, false),
            (240, false),
        ];
        let kept = |from, to| {
            let mut cutter = Cutter::new(from, to);
            let all = packets.iter().zip(0..).filter(|((pts, key), n)| cutter.includes(*n, *pts, *key));
            all.map(|((pts, _), _)| *pts).collect::<Vec<_>>()
        };
        assert_eq!(kept(CutStart::Keyframe(0), CutEnd::End), [80, 140, 100, 120, 200, 160, 180, 260, 220, 240]);
        assert_eq!(kept(CutStart::Keyframe(81), CutEnd::End), [200, 260, 220, 240]);
        assert_eq!(kept(CutStart::Packet(4), CutEnd::Packet(6)), [100, 120]);
        // 160 and 180 are shown before the end and need 200, which is not.
        assert_eq!(kept(CutStart::Start, CutEnd::Time(190)), [80, 40, 60, 140, 100, 120]);
        assert_eq!(kept(CutStart::Time(220), CutEnd::End), [260, 220, 240]);
        assert_eq!(kept(CutStart::Nothing, CutEnd::End), Vec::<i64>::new());
    }
}
