//! A stream whose every chunk is known.

use std::collections::HashMap;
use std::time::Duration;

use streamrip::domain::time::Ms;
use streamrip_lab::WebServer;

/// Bytes of a chunk of the scripted stream.
pub const CHUNK: usize = 100 * 188;

/// A live stream whose chunks come when the test says so: numbered MPEG-TS packets.
pub struct Channel {
    pub server: WebServer,
    /// How many chunks its playlist holds.
    pub window: u64,
    /// First and next number.
    pub numbers: std::ops::Range<u64>,
    /// Makes the chunks of another encoder different.
    pub life: u8,
    /// Put before the chunk of that number.
    pub tags: HashMap<u64, String>,
    /// When the chunk number 0 was made, where dates are told.
    pub dated_from: Option<Ms>,
    /// How long a chunk is said to be, milliseconds.
    pub chunk_ms: i64,
    /// What EXT-X-MEDIA-SEQUENCE says of the first chunk's number; `None`: the tag is missing.
    pub sequence: fn(u64) -> Option<u64>,
}

impl Channel {
    pub fn start(window: u64) -> Self {
        let server = WebServer::start();
        Self {
            server,
            window,
            numbers: 0..0,
            life: 0,
            tags: HashMap::new(),
            dated_from: None,
            chunk_ms: 200,
            sequence: Some,
        }
    }

    pub fn url(&self) -> String {
        self.server.url("/live/index.m3u8")
    }

    /// What chunk `number` holds.
    pub fn chunk(&self, number: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CHUNK);
        for n in 0..CHUNK / 188 {
            let mut packet = [0xee_u8; 188];
            packet[..4].copy_from_slice(&[0x47, 0x40, 0x11, 0x10]);
            packet[4..12].copy_from_slice(&number.to_be_bytes());
            packet[12] = self.life;
            packet[13] = n as u8;
            bytes.extend(packet);
        }
        bytes
    }

    /// What these chunks hold, one after the other.
    pub fn chunks(&self, numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
        numbers.into_iter().flat_map(|n| self.chunk(n)).collect()
    }

    /// So many new chunks. What left the window a while ago is no longer served.
    pub fn publish(&mut self, count: u64) {
        for _ in 0..count {
            let number = self.numbers.end;
            self.server.put(&format!("/live/{number}.ts"), self.chunk(number));
            self.numbers.end += 1;
        }
        while self.numbers.end - self.numbers.start > self.window {
            self.server.remove(&format!("/live/{}.ts", self.numbers.start));
            self.numbers.start += 1;
        }
        self.write("");
    }

    /// The playlist as it is now, with something at its end.
    pub fn write(&self, end: &str) {
        let seconds = self.chunk_ms as f64 / 1000.0;
        let mut text = format!("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{seconds}\n");
        if let Some(sequence) = (self.sequence)(self.numbers.start) {
            text.push_str(&format!("#EXT-X-MEDIA-SEQUENCE:{sequence}\n"));
        }
        for number in self.numbers.clone() {
            text.push_str(self.tags.get(&number).map_or("", |tags| tags));
            if let Some(from) = self.dated_from {
                let at = from.plus(number as i64 * self.chunk_ms).rfc3339(chrono_tz::Tz::UTC);
                text.push_str(&format!("#EXT-X-PROGRAM-DATE-TIME:{at}\n"));
            }
            text.push_str(&format!("#EXTINF:{seconds},\n{number}.ts\n"));
        }
        text.push_str(end);
        self.server.put("/live/index.m3u8", text);
    }

    /// A chunk every 200 ms for a while.
    pub async fn go_on(&mut self, count: u64) {
        for _ in 0..count {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.publish(1);
        }
    }
}

/// Panics with where two contents differ, rather than with all of them.
pub fn assert_same(got: &[u8], want: &[u8], what: &str) {
    let brief = |bytes: &[u8]| {
        let mut numbers: Vec<String> = Vec::new();
        for packet in bytes.chunks(188).filter(|p| p.len() == 188) {
            let number = u64::from_be_bytes(packet[4..12].try_into().expect("8 bytes"));
            let name = format!("{}/{number}", packet[12]);
            if numbers.last() != Some(&name) {
                numbers.push(name);
            }
        }
        numbers.join(" ")
    };
    assert!(got == want, "{what}: {} bytes [{}] instead of {} [{}]", got.len(), brief(got), want.len(), brief(want));
}
