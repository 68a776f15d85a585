//! A real nginx on a loopback port of its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use streamrip_lab::child::OwnedChild;
use streamrip_lab::{PATIENCE, wait_until};
use tempfile::TempDir;

/// It ends with this.
pub struct Nginx {
    _nginx: OwnedChild,
    port: u16,
    folder: TempDir,
}

impl Nginx {
    /// Serves `root`; `rules` are further lines of the server's section.
    pub fn start(root: &Path, rules: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let place = folder.path().display();
        // Its worker would give up root's rights, and with them the sight of the temporary folder.
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let config = format!(
            "{user} daemon off; worker_processes 1; worker_rlimit_nofile 8192; pid {place}/pid; error_log {place}/error.log;
             events {{ worker_connections 4096; }}
             http {{
               access_log off; sendfile on; tcp_nodelay on; send_timeout 600s;
               client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
               uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
               types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}
               server {{ listen 127.0.0.1:{port} backlog=4096; root {}; {rules} }}
             }}\n",
            root.display()
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).expect("its configuration");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(program()).arg("-c").arg(&file);
        command.arg("-e").arg(folder.path().join("error.log")).stdin(Stdio::null());
        let mut nginx = OwnedChild::spawn(&mut command, Duration::from_secs(5));
        wait_until("nginx", PATIENCE, || {
            assert!(nginx.status().is_none(), "nginx ended");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { _nginx: nginx, port, folder }
    }

    /// Address of a file.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// What it complained of.
    pub fn complaints(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }
}

/// Debian keeps it where an ordinary user's PATH does not look.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|dir: PathBuf| dir.join("nginx")).find(|path| path.is_file()).unwrap_or_else(|| "nginx".into())
}
