//! HLS on tape: scripted streams whose every byte is known, and real ones from ffmpeg.

mod bench;
mod real;
mod scripted;
mod trouble;
