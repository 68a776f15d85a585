//! Numbers and strangers' text, put in words for people: the same in the terminal and on the page.

/// Text of strangers made fit for one line of a terminal: no control characters, no direction marks that
/// would reorder what follows.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

/// A length of time in milliseconds: `0.4 s`, `12 s`, `5:07 min`, `1:02:03 h`.
#[must_use]
pub fn length(ms: i64) -> String {
    let seconds = ms / 1000;
    match seconds {
        ..10 => format!("{:.1} s", ms as f64 / 1000.0),
        10..120 => format!("{seconds} s"),
        120..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02} h", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

/// A size: `512 B`, `1.4 MB`, `12 GB` (decimal, as disks are sold and `df -H` counts).
#[must_use]
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.5 || unit == "TB" {
            return if unit == "B" || value >= 99.95 {
                format!("{value:.0} {unit}")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{bytes} B")
}

/// A share of 1 in percent, never rounded up to 100.
#[must_use]
pub fn percent(share: f64) -> String {
    if share >= 1.0 { "100 %".to_owned() } else { format!("{:.1} %", (share * 1000.0).floor() / 10.0) }
}

/// The time of day of an RFC 3339 instant, as it is written there.
#[must_use]
pub fn clock(instant: &str) -> &str {
    instant.get(11..19).unwrap_or(instant)
}

/// `1 talk`, `2 talks`.
#[must_use]
pub fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_sizes_and_shares_read_well() {
        let lengths = [(400, "0.4 s"), (12_000, "12 s"), (307_000, "5:07 min"), (3_723_000, "1:02:03 h")];
        for (ms, want) in lengths {
            assert_eq!(length(ms), want);
        }
        for (bytes, want) in [
            (512, "512 B"),
            (1_440_000, "1.4 MB"),
            (999_900, "1.0 MB"),
            (12_000_000_000, "12.0 GB"),
            (123_456_000, "123 MB"),
        ] {
            assert_eq!(size(bytes), want);
        }
        assert_eq!((clock("2010-12-27T20:30:05+01:00"), clock("soon")), ("20:30:05", "soon"));
        assert_eq!(percent(0.99999), "99.9 %");
        assert_eq!(percent(1.0), "100 %");
    }
}
