//! What can go wrong, as values.

use std::time::Duration;

/// How a connection ends when the server ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Properly.
    #[default]
    Fin,
    /// With a reset, and what was not yet sent is lost.
    Rst,
}

/// When a server ends a stream by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After so many bytes of the body.
    Bytes(u64),
    /// So long after the head of the answer.
    Time(Duration),
}

/// How the stream is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streaming {
    /// A live stream's last so many seconds come first, as fast as the client takes them. `None`: as the route says.
    pub burst: Option<Duration>,
    /// The head is sent at once, the first byte of the body only after this time.
    pub first_byte_after: Duration,
    /// One byte a second, for ever.
    pub trickle: bool,
    /// In chunks, as HTTP/1.1 sends what has no length; ends with the last chunk where `limit` ends it properly.
    pub chunked: bool,
    /// Ends by itself.
    pub limit: Option<(Limit, End)>,
}

/// How a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200 and the stream.
    Stream(Streaming),
    /// This status with a short page.
    Status(u16),
    /// 200 with this type and body: a web page, a playlist, an ASX file.
    Body {
        /// Content-Type.
        kind: &'static str,
        /// Whole body.
        body: Vec<u8>,
    },
    /// The request is read, and nothing is ever answered.
    Silence,
    /// 200, and then nothing.
    SilentBody,
    /// Exactly these bytes, head and all, and then the end.
    Raw(Vec<u8>),
    /// This head, and then the stream.
    Headed(&'static str),
    /// The connection ends before an answer.
    HangUp(End),
}

impl Answer {
    /// The stream, without faults.
    #[must_use]
    pub fn stream() -> Self {
        Self::Stream(Streaming::default())
    }

    /// A web page with status 200, as of a captive portal or a moved stream.
    #[must_use]
    pub fn html() -> Self {
        let body = b"<!DOCTYPE html>\n<html><head><title>Moved</title></head><body><h1>The stream has moved</h1></body></html>\n";
        Self::Body { kind: "text/html; charset=utf-8", body: body.to_vec() }
    }

    /// An ASX redirect to `url`.
    #[must_use]
    pub fn asx(url: &str) -> Self {
        let body = format!("<asx version=\"3.0\">\r\n  <entry><ref href=\"{url}\"/></entry>\r\n</asx>\r\n");
        Self::Body { kind: "video/x-ms-asf", body: body.into_bytes() }
    }

    /// An M3U playlist with one entry.
    #[must_use]
    pub fn m3u(url: &str) -> Self {
        Self::Body { kind: "audio/x-mpegurl", body: format!("#EXTM3U\n#EXTINF:-1,Saal 1\n{url}\n").into_bytes() }
    }

    /// A redirect to `location`.
    #[must_use]
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::Raw(format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes())
    }

    /// The stream, cut by the server.
    #[must_use]
    pub fn cut(limit: Limit, end: End) -> Self {
        Self::Stream(Streaming { limit: Some((limit, end)), ..Streaming::default() })
    }
}

/// Something done to a route while the test runs. What is about "the open ones" leaves later connections alone.
#[derive(Clone, Debug)]
pub enum Act {
    /// Ends all open connections.
    Cut(End),
    /// Open connections get nothing more, not even an end, and nothing reaches them any more, as when a relay dies
    /// without a word. Later ones are served.
    Abandon,
    /// Sends nothing more, on open connections and on later ones (they get the head of the answer).
    Silence,
    /// Sends nothing more on open connections; later ones are served.
    SilenceOpen,
    /// One byte a second from now on, on open and later connections.
    Trickle,
    /// Undoes `Silence`, `SilenceOpen` and `Trickle`: what was held back is sent, as after a network stall.
    Resume,
    /// Open connections lose what they have not been sent yet and go on at the live edge: a hole inside a connection.
    SkipAhead,
    /// All requests from now on are answered like this.
    Always(Answer),
    /// The next requests are answered like this, one each; then as `Always` says.
    Next(Vec<Answer>),
    /// New connections are refused: nobody listens (for the whole server, not only this route).
    Refuse,
    /// Listens again.
    Accept,
}
