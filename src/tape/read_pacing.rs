//! How often a stream is read.

use std::time::Duration;

use crate::domain::time::Ms;

/// Between two reads. Reading each of mplayer's 4 KiB as it comes would cost sixty wake-ups a second and
/// stream; a pipe of 1 MiB holds 100 ms of 80 Mbit/s.
const READ_INTERVAL: Duration = Duration::from_millis(100);

/// Where more than this came at one turn the next one is earlier: what the kernel holds for a socket that has
/// just been opened is 64 KiB, and a server must never find that full.
const BUSY_READ_BYTES: usize = 32 * 1024;

/// Turns fall on multiples of this in wall time, those of all streams together: a machine that wakes up once for twenty
/// streams spends less on it than on all that they bring. Milliseconds.
const GRID_MS: i64 = 25;

/// The shortest time between two turns.
const MIN_READ_PAUSE: Duration = Duration::from_millis(5);

/// How long the next turn of reading may wait after one that gave so many bytes, and ended `now`.
pub(super) fn next_read_delay(bytes: usize, now: Ms) -> Duration {
    let busy = u32::try_from(bytes / BUSY_READ_BYTES).unwrap_or(u32::MAX).saturating_add(1);
    let most = READ_INTERVAL / busy;
    let late = ms(now.plus(i64::try_from(most.as_millis()).unwrap_or_default()).0.rem_euclid(GRID_MS));
    if most > ms(2 * GRID_MS) { most - late } else { most.max(MIN_READ_PAUSE) }
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_of_all_streams_fall_together_and_come_sooner_where_more_comes() {
        for (bytes, now, want) in [
            (25_000, 1_000, 100),
            (25_000, 1_001, 99),
            (25_000, 1_024, 76),
            (40_000, 1_000, 50),
            (140_000, 1_001, 20),
            (100_000_000, 1_001, 5),
            (1, -1, 76),
        ] {
            assert_eq!(next_read_delay(bytes, Ms(now)), Duration::from_millis(want), "{bytes} bytes at {now}");
        }
    }
}
