//! A server that gives every path a fixed answer, and notes what was asked for.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub struct Server {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Path -> status and head lines (`200 OK\r\nContent-Type: x`), body. Anything else is 404.
    pub fn start(answers: Vec<(&'static str, String, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let answers: HashMap<_, _> = answers.into_iter().map(|(path, head, body)| (path, (head, body))).collect();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = asked.clone();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                let _ = answer(&peer, &answers, &log);
            }
        });
        Self { address, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("lock").clone()
    }
}

type Answers = HashMap<&'static str, (String, Vec<u8>)>;

fn answer(mut peer: &TcpStream, answers: &Answers, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(peer).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    while lines.next().is_some_and(|line| line.is_ok_and(|l| !l.is_empty())) {}
    log.lock().expect("lock").push(path.clone());
    let not_found = ("404 Not Found".to_owned(), Vec::new());
    let (head, body) = answers.get(path.as_str()).unwrap_or(&not_found);
    write!(peer, "HTTP/1.0 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    peer.write_all(body)
}
