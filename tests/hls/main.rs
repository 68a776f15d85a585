//! HLS on tape: scripted streams whose every byte is known, and real ones from ffmpeg.

mod apart;
#[path = "../bench/mod.rs"]
mod bench;
mod channel;
mod lying;
mod real;
mod scripted;
mod trouble;
