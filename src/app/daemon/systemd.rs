//! What a daemon tells systemd, where it was started by it (`Type=notify`): that it is ready, that it
//! works, that it stops. Everywhere else all of this does nothing.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A reconciliation older than this is none that works: ticks come every second, and the daemon's own
/// watchdog has had several tries by then.
const TOO_OLD: Duration = Duration::from_secs(15);

/// The line to systemd.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says. A socket that cannot be used is logged and done without.
    pub fn from_env() -> Self {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::new(var("NOTIFY_SOCKET"), var("WATCHDOG_USEC"), var("WATCHDOG_PID"))
    }

    fn new(socket: Option<OsString>, watchdog_usec: Option<OsString>, watchdog_pid: Option<OsString>) -> Self {
        let Some(name) = socket else { return Self::default() };
        let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
        // Meant for another process of the same unit otherwise.
        let ours = watchdog_pid.is_none_or(|pid| number(pid) == Some(u64::from(std::process::id())));
        let watchdog = watchdog_usec.and_then(number).filter(|usec| ours && *usec > 0).map(Duration::from_micros);
        match connect(&name) {
            Ok(socket) => Self { socket: Some(socket), watchdog },
            Err(e) => {
                tracing::warn!("cannot notify systemd: {}: {e}", name.display());
                Self::default()
            }
        }
    }

    fn send(&self, message: &str) {
        if let Some((socket, to)) = &self.socket
            && let Err(e) = socket.send_to_addr(message.as_bytes(), to)
        {
            tracing::debug!("systemd was not told {message:?}: {e}");
        }
    }

    /// The first reconciliation is over: what should run now is being started.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=recording what the schedule wants");
    }

    /// Told to stop; files are being closed.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=closing files");
    }

    /// Feeds the watchdog while the daemon reconciles, and only then. For ever; to be dropped when it ends.
    /// `age`: how long ago it reconciled.
    pub async fn feed(&self, age: impl Fn() -> Duration) {
        let Some(watchdog) = self.watchdog else { return std::future::pending().await };
        let mut starving = false;
        loop {
            let works = age() < TOO_OLD.min(watchdog);
            if works {
                self.send("WATCHDOG=1");
            } else if !starving {
                tracing::error!("the schedule has not been evaluated for too long: systemd will restart the daemon");
            }
            starving = !works;
            // Twice as often as is asked for, and never so seldom that the state above is an old one.
            tokio::time::sleep((watchdog / 2).min(TOO_OLD / 3)).await;
        }
    }
}

/// A path, or `@name` for a name that is no file.
fn connect(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor @name")),
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold us up.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 200];
        socket.set_nonblocking(true).expect("set");
        let n = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..n]).into_owned())
    }

    #[test]
    fn both_kinds_of_names_are_reached_and_none_is_fine() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("notify");
        let name = format!("streamrip-test-{}", uuid::Uuid::new_v4());
        let by_path = UnixDatagram::bind(&path).expect("bound");
        let abstract_name = SocketAddr::from_abstract_name(&name).expect("address");
        let by_name = UnixDatagram::bind_addr(&abstract_name).expect("bound");
        for (socket, text) in [(by_path, path.into_os_string()), (by_name, format!("@{name}").into())] {
            let notifier = Notifier::new(Some(text), None, None);
            notifier.ready();
            notifier.stopping();
            assert!(receive(&socket).is_some_and(|m| m.starts_with("READY=1\n")));
            assert!(receive(&socket).is_some_and(|m| m.starts_with("STOPPING=1\n")));
        }
        for silent in [None, Some("/nonexistent/socket".into()), Some("relative".into())] {
            Notifier::new(silent, None, None).ready();
        }
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let watchdog = |usec: &str, pid: Option<String>| {
            let socket = Some("/tmp/any".into());
            Notifier::new(socket, Some(usec.into()), pid.map(OsString::from)).watchdog
        };
        assert_eq!(watchdog("5000000", None), Some(Duration::from_secs(5)));
        assert_eq!(watchdog("5000000", Some(std::process::id().to_string())), Some(Duration::from_secs(5)));
        assert_eq!(watchdog("5000000", Some("1".to_owned())), None);
        assert_eq!(watchdog("0", None), None);
        assert_eq!(watchdog("soon", None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_only_while_the_daemon_reconciles() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        let notifier = Notifier::new(Some(path.into_os_string()), Some("60000000".into()), None);
        let (reconcile, last) = tokio::sync::watch::channel(tokio::time::Instant::now());
        let feeding = tokio::spawn(async move { notifier.feed(move || last.borrow().elapsed()).await });
        let meals = async |seconds: u64, reconciles: bool| {
            while receive(&socket).is_some() {}
            let mut meals = 0;
            for _ in 0..seconds {
                if reconciles {
                    reconcile.send_replace(tokio::time::Instant::now());
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                while receive(&socket).is_some() {
                    meals += 1;
                }
            }
            meals
        };
        assert!(meals(60, true).await >= 2);
        meals(20, false).await;
        assert_eq!(meals(600, false).await, 0, "nothing works, and the watchdog was fed");
        assert!(meals(60, true).await >= 2);
        feeding.abort();
    }
}
