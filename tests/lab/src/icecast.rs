//! A real Icecast.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tempfile::TempDir;

use crate::child::{OwnedChild, quiet};
use crate::encoder::{Encoder, Format};
use crate::wait_until;

/// An Icecast on a loopback port of its own. It ends on drop.
#[derive(Debug)]
pub struct Icecast {
    // The process first: it ends before its folder goes.
    server: OwnedChild,
    folder: TempDir,
    port: u16,
}

const PASSWORD: &str = "lab";

impl Icecast {
    /// Starts one that gives each new listener the last `burst_bytes` of a stream (0: nothing).
    ///
    /// # Panics
    /// With its log, where it does not come up.
    #[must_use]
    pub fn start(burst_bytes: u32) -> Self {
        // The free port that was found may be taken by the time Icecast asks for it.
        for _ in 0..5 {
            if let Some(icecast) = Self::try_start(burst_bytes) {
                return icecast;
            }
        }
        panic!("Icecast did not come up in five attempts; is icecast2 installed?");
    }

    fn try_start(burst_bytes: u32) -> Option<Self> {
        let port = free_port();
        let folder = tempfile::Builder::new().prefix("lab-icecast-").tempdir().expect("a folder for Icecast");
        // It refuses to run as root and changes to nobody, who must get at its logs.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("a folder's mode");
        let root = rustix::process::geteuid().is_root();
        let owner = if root { "<changeowner><user>nobody</user><group>nogroup</group></changeowner>" } else { "" };
        let config = format!(
            "<icecast>\n<hostname>127.0.0.1</hostname>\n\
             <limits><clients>500</clients><sources>50</sources><queue-size>4194304</queue-size>\
             <source-timeout>60</source-timeout><burst-on-connect>{}</burst-on-connect>\
             <burst-size>{burst_bytes}</burst-size></limits>\n\
             <authentication><source-password>{PASSWORD}</source-password><admin-user>admin</admin-user>\
             <admin-password>{PASSWORD}</admin-password></authentication>\n\
             <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>\n\
             <paths><logdir>{folder}</logdir><webroot>/usr/share/icecast2/web</webroot>\
             <adminroot>/usr/share/icecast2/admin</adminroot></paths>\n\
             <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>3</loglevel></logging>\n\
             <security><chroot>0</chroot>{owner}</security>\n</icecast>\n",
            u8::from(burst_bytes > 0),
            folder = folder.path().display(),
        );
        let file = folder.path().join("icecast.xml");
        fs::write(&file, config).expect("Icecast's configuration");
        let mut server = OwnedChild::spawn(quiet("icecast2").arg("-c").arg(&file), Duration::from_secs(5));
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            if server.status().is_some() {
                return None;
            }
            // Ours and no stranger's: it says so in its log.
            let log = fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
            if log.contains("server started") && connect(port).is_ok() {
                // Two that took the same port at once: one of them ends a moment later.
                std::thread::sleep(Duration::from_millis(200));
                return (server.status().is_none() && connect(port).is_ok()).then_some(Self { server, folder, port });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Address of a mount, which begins with `/`.
    #[must_use]
    pub fn url(&self, mount: &str) -> String {
        format!("http://127.0.0.1:{}{mount}", self.port)
    }

    /// The port on which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Gives it an encoder's stream under `mount`, and waits until listeners are served.
    ///
    /// # Panics
    /// Where Icecast does not take it.
    pub fn mount(&self, mount: &str, encoder: &Encoder) {
        encoder.feed(self.source(mount, encoder.format()));
        wait_until("Icecast to serve the mount", crate::PATIENCE, || self.answers(mount));
    }

    /// A connection on which a stream for `mount` may be written.
    ///
    /// # Panics
    /// Where Icecast does not take it.
    #[must_use]
    pub fn source(&self, mount: &str, format: Format) -> TcpStream {
        let mut source = None;
        // Its backlog may be full on a slow machine.
        wait_until("Icecast to listen", crate::PATIENCE, || {
            source = connect(self.port).ok();
            source.is_some()
        });
        let mut source = source.expect("waited for");
        let request = format!(
            "SOURCE {mount} HTTP/1.0\r\nAuthorization: Basic {}\r\nContent-Type: {}\r\n\r\n",
            base64(format!("source:{PASSWORD}").as_bytes()),
            format.kind(),
        );
        source.write_all(request.as_bytes()).expect("Icecast reads");
        let answer = read_head(&mut source);
        assert!(answer.contains(" 200 "), "Icecast refuses the source: {answer:?}\n{}", self.log());
        source
    }

    /// Its error log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }

    /// Ends it while listeners are connected.
    pub fn stop(&mut self) {
        self.server.end();
    }

    fn answers(&self, mount: &str) -> bool {
        let Ok(mut listener) = connect(self.port) else { return false };
        let request = format!("GET {mount} HTTP/1.0\r\nUser-Agent: lab\r\n\r\n");
        listener.write_all(request.as_bytes()).is_ok() && read_head(&mut listener).contains(" 200 ")
    }
}

/// A loopback port that was free a moment ago.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
    listener.local_addr().expect("its address").port()
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// The first line and headers of an answer; what came until then, where it ends early.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_usize, |word, i| word << 8 | usize::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            out.push(if i <= chunk.len() { char::from(DIGITS[word >> (18 - 6 * i) & 63]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_pads() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("source:lab", "c291cmNlOmxhYg==")]
        {
            assert_eq!(super::base64(plain.as_bytes()), coded);
        }
    }
}
