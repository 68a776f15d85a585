//! One elementary stream of a programme: its units become packets with times.

use super::audio_frames::{AudioFrame, AudioSplitter};
use super::pes::{PesReader, Unit};
use super::picture::{CodedPicture, Stamp};
use super::picture_splitter::PictureSplitter;
use super::psi::StreamInfo;
use super::timestamps::{Clock, PictureTimes, Step, StreamTime};

/// What a stream gives.
#[derive(Clone, Debug)]
pub enum Output {
    /// A picture and when it is shown, ticks of the segment's own clock.
    Picture(CodedPicture, i64),
    /// A frame of audio; its time is of the segment's own clock.
    Frame(AudioFrame),
}

/// A stream, as the programme's map names it.
#[derive(Debug)]
pub struct Elementary {
    /// What the map says.
    pub info: StreamInfo,
    pes: PesReader,
    time: StreamTime,
    /// A unit whose time is far from the one before: the next one tells whether it is damaged.
    doubtful: Option<Unit>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Video { splitter: Box<PictureSplitter>, times: PictureTimes },
    Audio(AudioSplitter),
}

impl Elementary {
    /// A stream of which nothing has come yet.
    #[must_use]
    pub fn new(info: StreamInfo) -> Self {
        let content = match PictureSplitter::new(info.codec) {
            Some(splitter) => Content::Video { splitter: Box::new(splitter), times: PictureTimes::default() },
            None => Content::Audio(AudioSplitter::new(info.codec)),
        };
        Self { info, pes: PesReader::default(), time: StreamTime::default(), doubtful: None, content }
    }

    /// Goes on where another stream ended, of which it is the successor on another PID.
    #[must_use]
    pub fn after(self, time: StreamTime) -> Self {
        Self { time, ..self }
    }

    /// What is known of its time stamps.
    #[must_use]
    pub fn time(&self) -> StreamTime {
        self.time
    }

    /// Takes the next packet of its PID, which begins at this byte of the file.
    pub fn packet(&mut self, clock: &mut Clock, byte: u64, packet: &[u8], out: &mut Vec<Output>) {
        let mut units = Vec::new();
        self.pes.push(byte, packet, |unit| units.push(unit));
        for unit in units {
            self.unit(clock, unit, out);
        }
    }

    /// Nothing follows: what is left. Returns whether the last packet is known to be whole.
    pub fn finish(&mut self, clock: &mut Clock, out: &mut Vec<Output>) -> bool {
        let last = self.pes.finish();
        let complete = last.as_ref().is_none_or(|unit| unit.complete);
        if let Some(unit) = last {
            self.unit(clock, unit, out);
        }
        if let Some(unit) = self.doubtful.take() {
            // Nothing came that agrees with its time.
            self.content(clock, Unit { pts: None, dts: None, ..unit }, out);
        }
        match &mut self.content {
            Content::Video { splitter, times } => {
                let mut pictures = Vec::new();
                splitter.finish(|picture| pictures.push(picture));
                let frame = splitter.frame_ticks();
                for picture in pictures {
                    let pts = shown(clock, &mut self.time, picture.stamp);
                    times.push(picture, pts, frame, |picture, pts| out.push(Output::Picture(picture, pts)));
                }
                times.finish(frame, |picture, pts| out.push(Output::Picture(picture, pts)));
                complete
            }
            // Frames say their own length.
            Content::Audio(splitter) => {
                splitter.finish(|frame| out.push(Output::Frame(frame)));
                true
            }
        }
    }

    /// Packets whose content was scrambled, and packets whose content was not.
    #[must_use]
    pub fn scrambled(&self) -> (u64, u64) {
        self.pes.scrambled()
    }

    fn unit(&mut self, clock: &mut Clock, unit: Unit, out: &mut Vec<Output>) {
        if let Some(doubtful) = self.doubtful.take() {
            let near = |a: Option<i64>, b: Option<i64>| a.zip(b).is_some_and(|(a, b)| Clock::are_near(a, b));
            let agrees = near(doubtful.decoded(), unit.decoded());
            let doubtful = if agrees { doubtful } else { Unit { pts: None, dts: None, ..doubtful } };
            self.content(clock, doubtful, out);
            if agrees {
                self.content(clock, unit, out);
                return;
            }
        }
        match unit.decoded() {
            Some(decoded) if clock.step(&self.time, decoded) == Step::Far => self.doubtful = Some(unit),
            _ => self.content(clock, unit, out),
        }
    }

    fn content(&mut self, clock: &mut Clock, unit: Unit, out: &mut Vec<Output>) {
        let stamp = Stamp { byte: unit.byte, pts: unit.pts, dts: unit.dts };
        let time = &mut self.time;
        match &mut self.content {
            Content::Video { splitter, times } => {
                let mut pictures = Vec::new();
                splitter.push(stamp, &unit.data, |picture| pictures.push(picture));
                let frame = splitter.frame_ticks();
                for picture in pictures {
                    let pts = shown(clock, time, picture.stamp);
                    times.push(picture, pts, frame, |picture, pts| out.push(Output::Picture(picture, pts)));
                }
            }
            Content::Audio(splitter) => {
                let pts = shown(clock, time, stamp);
                splitter.push(unit.byte, pts, &unit.data, |frame| out.push(Output::Frame(frame)));
            }
        }
    }
}

/// When something is shown that was sent with these times.
fn shown(clock: &mut Clock, time: &mut StreamTime, stamp: Stamp) -> Option<i64> {
    let pts = stamp.pts?;
    Some(clock.place(time, stamp.byte, stamp.dts.unwrap_or(pts), pts))
}
