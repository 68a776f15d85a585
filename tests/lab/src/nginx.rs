//! A real nginx that serves a folder.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::child::{OwnedChild, quiet};
use crate::icecast::free_port;
use crate::{PATIENCE, get, wait_until};

/// An nginx on a loopback port of its own, and the folder that it serves. It ends on drop.
#[derive(Debug)]
pub struct Nginx {
    // The process first: it ends before its folder goes.
    server: OwnedChild,
    folder: TempDir,
    port: u16,
}

impl Nginx {
    /// Starts one.
    ///
    /// # Panics
    /// With its log, where it does not come up.
    #[must_use]
    pub fn start() -> Self {
        // The free port that was found may be taken by the time nginx asks for it.
        for _ in 0..5 {
            if let Some(nginx) = Self::try_start() {
                return nginx;
            }
        }
        panic!("nginx did not come up in five attempts; is it installed?");
    }

    fn try_start() -> Option<Self> {
        let port = free_port();
        let folder = tempfile::Builder::new().prefix("lab-nginx-").tempdir().expect("a folder for nginx");
        let at = folder.path().display();
        fs::create_dir(folder.path().join("www")).expect("a folder");
        // A worker of its own user could not read the folder.
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let config = format!(
            "daemon off; worker_processes 1; {user} pid {at}/pid; error_log {at}/error.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log {at}/access.log; client_body_temp_path {at}/t1; proxy_temp_path {at}/t2;\n\
             fastcgi_temp_path {at}/t3; uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;\n\
             server {{ listen 127.0.0.1:{port}; root {at}/www;\n\
             location / {{ add_header Cache-Control no-cache; if (-f {at}/outage) {{ return 503; }} }} }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).expect("its configuration");
        let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let mut command = quiet(program);
        command.arg("-c").arg(&file).arg("-p").arg(folder.path()).arg("-e").arg(folder.path().join("error.log"));
        let mut server = OwnedChild::spawn(&mut command, Duration::from_secs(5));
        let began = std::time::Instant::now();
        loop {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Self { server, folder, port });
            }
            if server.status().is_some() || began.elapsed() > Duration::from_secs(20) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The folder that it serves.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("www")
    }

    /// Address of a path (which begins with `/`).
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// While it is out of order everything is answered with 503. It is when this returns.
    ///
    /// # Panics
    /// Where its folder cannot be written, or it answers with something else.
    pub fn outage(&self, on: bool) {
        let flag = self.folder.path().join("outage");
        if on {
            fs::write(flag, b"").expect("a file");
            let address = SocketAddr::from(([127, 0, 0, 1], self.port));
            wait_until("the outage", PATIENCE, || get(address, "/", "").starts_with("HTTP/1.1 503"));
        } else {
            fs::remove_file(flag).expect("an outage");
        }
    }

    /// True while its process runs.
    pub fn runs(&mut self) -> bool {
        self.server.status().is_none()
    }

    /// The lines of its log whose path contains `part`.
    #[must_use]
    pub fn requests(&self, part: &str) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

/// Waits until a file is there and has something in it.
///
/// # Panics
/// Where it does not come.
pub fn wait_for_file(path: &Path) {
    wait_until("a file", PATIENCE, || fs::metadata(path).is_ok_and(|meta| meta.len() > 0));
}
