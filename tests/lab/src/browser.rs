//! A real browser without a window, driven by the W3C WebDriver protocol over loopback.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::OwnedChild;
use crate::{PATIENCE, wait_until};

/// Nothing of the machine's own profile, nothing from the network: only the page.
const OPTIONS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
];

/// Chromium under chromedriver. Both end when this is dropped.
#[derive(Debug)]
pub struct Browser {
    driver: OwnedChild,
    address: SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one with a window of this size.
    ///
    /// # Panics
    /// Where chromedriver or Chromium cannot be started.
    #[must_use]
    pub fn start(width: u32, height: u32) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", free.port())).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = OwnedChild::spawn(&mut command, Duration::from_secs(10));
        wait_until("chromedriver to listen", PATIENCE, || TcpStream::connect(free).is_ok());
        let profile = tempfile::Builder::new().prefix("lab-browser-").tempdir().expect("a folder");
        let mut arguments: Vec<String> = OPTIONS.iter().map(|&option| option.to_owned()).collect();
        arguments.push(format!("--window-size={width},{height}"));
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let options = json!({ "args": arguments });
        let wanted =
            json!({ "capabilities": { "alwaysMatch": { "browserName": "chrome", "goog:chromeOptions": options } } });
        let mut browser = Self { driver, address: free, session: String::new(), _profile: profile };
        let value = browser.call("POST", "/session", &wanted);
        browser.session = value["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {value}")).to_owned();
        browser
    }

    /// Goes to an address and waits until the page is loaded.
    ///
    /// # Panics
    /// Where the browser fails.
    pub fn open(&mut self, url: &str) {
        let path = format!("/session/{}/url", self.session);
        self.call("POST", &path, &json!({ "url": url }));
    }

    /// What a piece of JavaScript returns.
    ///
    /// # Panics
    /// Where it throws.
    #[must_use]
    pub fn run(&mut self, script: &str) -> Value {
        let path = format!("/session/{}/execute/sync", self.session);
        self.call("POST", &path, &json!({ "script": script, "args": [] }))
    }

    /// What the browser complained of on the console since the last time: errors, refusals of the page's policy.
    ///
    /// # Panics
    /// Where the browser fails.
    #[must_use]
    pub fn complaints(&mut self) -> Vec<String> {
        let path = format!("/session/{}/se/log", self.session);
        let log = self.call("POST", &path, &json!({ "type": "browser" }));
        let lines = log.as_array().into_iter().flatten().filter(|line| line["level"] == "SEVERE");
        lines.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Writes what the window shows as PNG.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn screenshot(&mut self, file: &Path) {
        let path = format!("/session/{}/screenshot", self.session);
        let value = self.call("GET", &path, &Value::Null);
        std::fs::write(file, base64(value.as_str().unwrap_or_default())).expect("a picture");
    }

    fn call(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        let request = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let ask = || -> std::io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(PATIENCE * 2))?;
            stream.write_all(request.as_bytes())?;
            // It keeps the connection, whatever it is asked: the head says how long the answer is.
            let mut reader = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line)? > 2 {
                if let Some((_, value)) = line.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case("content-length"))
                {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let mut answer = vec![0; length];
            reader.read_exact(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().unwrap_or_else(|e| panic!("chromedriver, {method} {path}: {e}"));
        let text = String::from_utf8_lossy(&answer);
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{method} {path}: {e}: {text}"));
        assert!(value["value"]["error"].is_null(), "{method} {path}: {}", value["value"]);
        value["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            let path = format!("/session/{}", self.session);
            self.call("DELETE", &path, &Value::Null);
        }
        // chromedriver ends its browsers when it is told to end.
        self.driver.signal(rustix::process::Signal::TERM);
    }
}

/// The alphabet of RFC 4648; what is not of it is skipped.
fn base64(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut have) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have & 0xff) as u8);
        }
    }
    out
}
