//! The keys of the halls file. The reader accepts these and no others; the reference page and the manual page
//! streamrip-halls(5) are generated from the same tables.

/// One key of the halls file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HallsKey {
    /// The key as it is written.
    pub name: &'static str,
    /// An example value, as TOML.
    pub example: &'static str,
    /// What it does, its limits and its default.
    pub help: &'static str,
}

const fn key(name: &'static str, example: &'static str, help: &'static str) -> HallsKey {
    HallsKey { name, example, help }
}

/// Keys at the top of the file.
pub const FILE_KEYS: [HallsKey; 6] = [
    key("time_zone", "\"Europe/Berlin\"", "IANA time zone of talks whose calendar names none. Default: UTC."),
    key("pre_padding", "\"5m\"", "Recorded before each slot, 24h at most. Default: the setting record.pre_padding."),
    key("post_padding", "\"15m\"", "Recorded after each slot, 24h at most. Default: the setting record.post_padding."),
    key(
        "allow_private_streams",
        "true",
        "Stream addresses that the schedule names may point to this machine or a private network. Default: false.",
    ),
    key(
        "hall_from",
        "\"CATEGORIES\"",
        "Where the hall of a talk stands that has no LOCATION: CATEGORIES (the one that is a hall's name, else the first), SUMMARY, DESCRIPTION or X-ALT-DESC (the name or alias of a hall in it). Default: nowhere.",
    ),
    key("hall", "[[hall]]", "One table for each hall, see below."),
];

/// Keys of a `[[hall]]` table.
pub const HALL_KEYS: [HallsKey; 7] = [
    key(
        "name",
        "\"Saal 1\"",
        "The hall as the schedule's LOCATION names it; upper and lower case and spacing do not matter. Required.",
    ),
    key("aliases", "[\"Saal1\", \"Hall One\"]", "Other names of the hall in schedules. Default: none."),
    key(
        "streams",
        "[\"https://cdn.example/saal1.m3u8\"]",
        "Stream addresses in order of preference: the first is recorded, the others are mirrors that are tried when it fails. An element is an address or a table, see below. Default: the addresses that the schedule names.",
    ),
    key(
        "recorder",
        "\"auto\"",
        "What receives the streams: auto, mplayer, ffmpeg, http or hls. Default: the setting record.recorder.",
    ),
    key(
        "quality",
        "\"best\"",
        "Variant of HLS streams: best, worst, audio, or a height such as 1080p (at most). Default: the setting record.quality.",
    ),
    key(
        "max_connections",
        "2",
        "How many connections the server allows at once, 1 to 64. With 1 there are no overlapping handovers and no second connection beside a silent one. Default: 2.",
    ),
    key(
        "redundancy",
        "1",
        "How many of the streams are recorded at the same time, 1 or 2. Default: the setting record.redundancy.",
    ),
];

/// Keys of a table in `streams`.
pub const STREAM_KEYS: [HallsKey; 3] = [
    key("url", "\"http://h.example/saal1\"", "The address. Required."),
    key("user_agent", "\"NSPlayer/7.0\"", "The User-Agent that the built-in client sends."),
    key(
        "headers",
        "{ X-Key = \"secret\" }",
        "Further request headers of the built-in client; sent only to the server of this address, never printed.",
    ),
];

/// The names of some keys.
pub(super) fn names(keys: &[HallsKey]) -> impl Iterator<Item = &'static str> {
    keys.iter().map(|key| key.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::halls_file::read;

    /// A file in which each key has its example value.
    fn example() -> String {
        let mut text = String::new();
        for key in FILE_KEYS.iter().filter(|key| key.name != "hall") {
            text += &format!("{} = {}\n", key.name, key.example);
        }
        text += "[[hall]]\n";
        for key in HALL_KEYS {
            text += &format!("{} = {}\n", key.name, key.example);
        }
        let stream: Vec<_> = STREAM_KEYS.iter().map(|key| format!("{} = {}", key.name, key.example)).collect();
        text + &format!("[[hall]]\nname = \"Saal 2\"\nstreams = [{{ {} }}]\n", stream.join(", "))
    }

    #[test]
    fn every_documented_key_is_accepted_with_its_example() {
        let file = read(&example()).expect("the documented example");
        assert_eq!(file.halls.len(), 2);
        assert!(file.allow_private_streams && file.halls[1].streams[0].request().user_agent().is_some());
    }
}
