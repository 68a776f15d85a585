//! A live stream that needs no encoder.

use std::time::Duration;

use crate::Live;

/// A live MPEG-TS of numbered packets, fed for as long as it is held.
#[derive(Debug)]
pub struct Feed {
    /// What was sent so far.
    pub live: Live,
    task: tokio::task::JoinHandle<()>,
}

impl Feed {
    /// About so many packets of 188 bytes every 50 ms: 14 are 0.4 Mbit/s.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(packets: u64) -> Self {
        let live = Live::new(188);
        let fed = live.clone();
        let task = tokio::spawn(async move {
            for batch in 0_u64.. {
                fed.push(&(0..packets).flat_map(|n| packet(batch * packets + n)).collect::<Vec<u8>>());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { live, task }
    }

    /// Where a recording begins and ends in the stream.
    ///
    /// # Panics
    /// Where it is no piece of it.
    pub fn place(&self, content: &[u8]) -> (u64, u64) {
        let stream = self.live.bytes();
        let number = u64::from_be_bytes(content[4..12].try_into().expect("8 bytes"));
        let from = usize::try_from(number * 188).expect("small");
        assert!(stream.get(from..from + content.len()) == Some(content), "not a piece of the stream");
        (from as u64, (from + content.len()) as u64)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One packet of MPEG-TS that has a number.
#[must_use]
pub fn packet(number: u64) -> [u8; 188] {
    let mut packet = [0xee_u8; 188];
    packet[..4].copy_from_slice(&[0x47, 0x40, 0x11, 0x10]);
    packet[4..12].copy_from_slice(&number.to_be_bytes());
    packet
}
