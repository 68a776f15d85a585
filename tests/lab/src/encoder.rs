//! Live streams from a real encoder.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::child::{OwnedChild, quiet};
use crate::live::Live;

/// What the encoder makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// MPEG-TS with H.264 and AAC.
    MpegTs,
    /// WebM with VP8 and Vorbis. Its clients need the start of the stream: serve it through an Icecast.
    WebM,
    /// Ogg with Theora and Vorbis. As WebM.
    Ogg,
    /// Ogg with Vorbis only. As WebM.
    OggAudio,
    /// Ogg with Opus. As WebM.
    Opus,
    /// MP3.
    Mp3,
    /// Flash: H.264 and AAC. As WebM, and Icecast does not know it: for files only.
    Flv,
    /// MP4 in fragments: H.264 and AAC. As Flash.
    Mp4,
    /// WebM with VP9 and Opus. As WebM.
    Vp9,
    /// AAC without a container.
    Adts,
    /// Windows Media: WMV2 and WMA in ASF. As WebM, and Icecast does not know it: for files only.
    Asf,
}

impl Format {
    /// Its Content-Type.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::MpegTs => "video/mp2t",
            Self::WebM | Self::Vp9 => "video/webm",
            Self::Ogg => "video/ogg",
            Self::OggAudio | Self::Opus => "audio/ogg",
            Self::Mp3 => "audio/mpeg",
            Self::Flv => "video/x-flv",
            Self::Mp4 => "video/mp4",
            Self::Adts => "audio/aac",
            Self::Asf => "video/x-ms-asf",
        }
    }

    /// True where it has pictures.
    #[must_use]
    pub fn has_video(self) -> bool {
        !matches!(self, Self::OggAudio | Self::Opus | Self::Mp3 | Self::Adts)
    }

    /// Bytes at whose multiples a client may join.
    #[must_use]
    pub fn unit(self) -> u64 {
        if self == Self::MpegTs { 188 } else { 1 }
    }

    fn arguments(self) -> &'static str {
        // A keyframe a second, so that short recordings have some.
        match self {
            Self::MpegTs => {
                "-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -c:a aac -b:a 64k \
                 -f mpegts -muxdelay 0 -muxpreload 0 -flush_packets 1"
            }
            Self::WebM => {
                "-c:v libvpx -deadline realtime -cpu-used 8 -g 25 -c:a libvorbis -b:a 64k \
                 -f webm -cluster_time_limit 500 -live 1"
            }
            Self::Ogg => "-c:v libtheora -g 25 -c:a libvorbis -b:a 64k -f ogg -page_duration 200000",
            Self::OggAudio => "-c:a libvorbis -b:a 64k -f ogg -page_duration 200000",
            Self::Opus => "-c:a libopus -b:a 64k -f ogg -page_duration 200000",
            Self::Mp3 => "-c:a libmp3lame -b:a 64k -f mp3 -write_xing 0 -id3v2_version 0 -flush_packets 1",
            Self::Flv => "-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -c:a aac -b:a 64k -f flv",
            Self::Mp4 => {
                "-c:v libx264 -preset ultrafast -bf 2 -g 25 -c:a aac -b:a 64k \
                 -f mp4 -movflags empty_moov+default_base_moof+frag_keyframe"
            }
            Self::Vp9 => {
                "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -c:a libopus -b:a 64k \
                 -f webm -cluster_time_limit 500 -live 1"
            }
            Self::Adts => "-c:a aac -b:a 64k -f adts",
            Self::Asf => "-c:v wmv2 -g 25 -c:a wmav2 -b:a 64k -f asf -flush_packets 1",
        }
    }
}

/// What an encoder is to make: a picture that moves, with a clock burnt in, and a tone that beeps.
#[derive(Clone, Debug)]
pub struct Recipe {
    format: Format,
    label: Option<String>,
    video_kbit: u32,
    black: bool,
    silent: bool,
    seconds: Option<f64>,
    real_time: bool,
}

impl Recipe {
    /// An endless stream in real time, of about 0.3 Mbit/s where it has pictures.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, label: None, video_kbit: 250, black: false, silent: false, seconds: None, real_time: true }
    }

    /// Burns this text and the time of day into the picture (if ffmpeg can draw text here).
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        self.label = Some(label.chars().filter(|c| c.is_alphanumeric() || *c == ' ').collect());
        self
    }

    /// Rate of the pictures in kbit/s.
    #[must_use]
    pub fn video_kbit(mut self, kbit: u32) -> Self {
        self.video_kbit = kbit;
        self
    }

    /// A black picture: packets that look alike.
    #[must_use]
    pub fn black(mut self) -> Self {
        self.black = true;
        self
    }

    /// No sound in the sound: packets that are alike.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Ends after so many seconds of media.
    #[must_use]
    pub fn seconds(mut self, seconds: f64) -> Self {
        self.seconds = Some(seconds);
        self
    }

    /// As fast as it can.
    #[must_use]
    pub fn flat_out(mut self) -> Self {
        self.real_time = false;
        self
    }

    /// The ffmpeg that follows it, writing to standard output.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-threads", "1"]);
        let mut input = |source: String| {
            if self.real_time {
                ffmpeg.arg("-re");
            }
            ffmpeg.args(["-f", "lavfi", "-i", &source]);
        };
        if self.format.has_video() {
            input(if self.black {
                "color=black:size=320x180:rate=25".to_owned()
            } else {
                "testsrc2=size=320x180:rate=25".to_owned()
            });
        }
        input(if self.silent {
            "anullsrc=sample_rate=44100:channel_layout=mono".to_owned()
        } else {
            // A tone of its own for each moment, since equal sound makes equal packets.
            "aevalsrc=0.2*sin(2*PI*(330*t+40*sin(0.37*t)))+0.05*random(0):sample_rate=44100".to_owned()
        });
        if self.format.has_video() {
            if let Some(label) = self.label.as_ref().filter(|_| can_draw_text()) {
                let text = format!(
                    "drawtext=fontsize=18:fontcolor=white:box=1:boxcolor=black@0.7:x=10:y=h-30:text='{label}  %{{localtime}}'"
                );
                ffmpeg.args(["-vf", &text]);
            }
            let rate = format!("{}k", self.video_kbit);
            ffmpeg.args(["-pix_fmt", "yuv420p", "-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate]);
        }
        if let Some(seconds) = self.seconds {
            ffmpeg.args(["-t", &seconds.to_string()]);
        }
        ffmpeg.args(self.format.arguments().split_whitespace()).arg("pipe:1");
        ffmpeg.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ffmpeg
    }

    /// All bytes of it, made as fast as it goes.
    ///
    /// # Panics
    /// Where it has no end or ffmpeg fails.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        assert!(self.seconds.is_some(), "an endless stream has no last byte");
        let output = self.flat_out().command().output().expect("ffmpeg starts");
        assert!(output.status.success(), "ffmpeg failed: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Starts the encoder.
    #[must_use]
    pub fn start(&self) -> Encoder {
        Encoder::start(self)
    }
}

/// A running ffmpeg that makes a live stream. It ends on drop, and so does the stream.
#[derive(Debug)]
pub struct Encoder {
    ffmpeg: OwnedChild,
    live: Live,
    format: Format,
    complaints: Arc<Mutex<String>>,
}

impl Encoder {
    fn start(recipe: &Recipe) -> Self {
        let mut ffmpeg = OwnedChild::spawn(&mut recipe.command(), Duration::from_secs(2));
        let live = Live::new(recipe.format.unit());
        let mut out = ffmpeg.child().stdout.take().expect("its output is a pipe");
        let mut err = ffmpeg.child().stderr.take().expect("its errors are a pipe");
        let stream = live.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = out.read(&mut buffer) {
                stream.push(&buffer[..n]);
            }
            stream.finish();
        });
        let complaints = Arc::new(Mutex::new(String::new()));
        let heard = complaints.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = err.read(&mut buffer) {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        Self { ffmpeg, live, format: recipe.format, complaints }
    }

    /// What it has made so far.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Its format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Waits until it makes bytes (or has made all of them).
    ///
    /// # Panics
    /// With ffmpeg's words, where none come.
    #[must_use]
    pub fn ready(mut self) -> Self {
        let began = std::time::Instant::now();
        while self.live.is_empty() {
            let ended = self.ffmpeg.status().is_some() && self.live.has_ended();
            let words = self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone();
            assert!(!ended && began.elapsed() < crate::PATIENCE, "the encoder makes nothing: {words}");
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// Also sends the stream, from now on, to `sink` (an Icecast's source connection), in a thread of its own,
    /// until either ends. The sink gets the stream from its first byte.
    pub fn feed(&self, mut sink: impl Write + Send + 'static) {
        let live = self.live.clone();
        std::thread::spawn(move || {
            let mut at = 0;
            loop {
                let bytes = live.slice(at, at + 64 * 1024);
                at += bytes.len() as u64;
                if bytes.is_empty() {
                    if live.has_ended() && at >= live.len() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                } else if sink.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
    }

    /// Ends it: no more bytes, as if the speaker's laptop was unplugged.
    pub fn stop(&mut self) {
        self.ffmpeg.end();
    }
}

/// Whether this ffmpeg can draw text, which needs a font: Debian's brings one by its dependencies.
fn can_draw_text() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        quiet("ffmpeg")
            .args(["-f", "lavfi", "-i", "color=size=64x64:rate=1", "-vf", "drawtext=text=x", "-frames:v", "1"])
            .args(["-f", "null", "-"])
            .status()
            .is_ok_and(|status| status.success())
    })
}
