//! Who we are to a server: the user and password of an address, or of a netrc file. Neither is ever printed.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use url::Url;

/// Longest netrc that is read, bytes.
const MAX: usize = 1 << 20;

/// A user and a password, as bytes: what stands in an address may be of any encoding.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(***)")
    }
}

impl Login {
    /// Of an address that has one.
    pub(super) fn of(url: &Url) -> Option<Self> {
        if url.username().is_empty() && url.password().is_none() {
            return None;
        }
        let plain = |text: &str| percent_decode(text);
        Some(Self { user: plain(url.username()), password: plain(url.password().unwrap_or_default()) })
    }

    /// The value of an `Authorization` header.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let pair = [self.user.as_slice(), b":", &self.password].concat();
        let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

/// Where the netrc is: what `NETRC` says, else `.netrc` in the home directory.
pub(super) fn netrc_path() -> Option<PathBuf> {
    match std::env::var_os("NETRC").filter(|path| !path.is_empty()) {
        Some(path) => Some(path.into()),
        None => std::env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(".netrc")),
    }
}

/// The login that a netrc file has for a host. Warns, once, where others may read the file.
pub(super) async fn of_netrc(path: &Path, host: &str) -> Option<Login> {
    static WARNED: AtomicBool = AtomicBool::new(false);
    let meta = tokio::fs::metadata(path).await.ok().filter(|meta| meta.is_file() && meta.len() <= MAX as u64)?;
    let bytes = tokio::fs::read(path).await.ok()?;
    let login = find(&String::from_utf8_lossy(&bytes), host)?;
    if meta.permissions().mode() & 0o077 != 0 && !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!("{} can be read by other users: chmod 600 {}", path.display(), path.display());
    }
    Some(login)
}

/// The first entry of exactly this host that has a login or a password. `default` is left out: addresses may
/// come from a schedule, and what is meant for nobody in particular is not for strangers.
fn find(text: &str, host: &str) -> Option<Login> {
    let mut words = Words { rest: text };
    let mut ours = false;
    let (mut user, mut password) = (None, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" | "default" => {
                if user.is_some() || password.is_some() {
                    break;
                }
                ours = word == "machine" && words.next().is_some_and(|name| name.eq_ignore_ascii_case(host));
            }
            "login" => user = words.next().filter(|_| ours).or(user),
            "password" => password = words.next().filter(|_| ours).or(password),
            "account" => drop(words.next()),
            // Up to an empty line.
            "macdef" => words.skip_macro(),
            _ => {}
        }
    }
    if user.is_none() && password.is_none() {
        return None;
    }
    let bytes = |text: Option<String>| text.unwrap_or_default().into_bytes();
    Some(Login { user: bytes(user), password: bytes(password) })
}

/// Words of a netrc: separated by white space, or in double quotes; `#` at the start of a word begins a comment.
struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    fn next(&mut self) -> Option<String> {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                break;
            }
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        }
        if self.rest.is_empty() {
            return None;
        }
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Some(word.to_owned());
        };
        let mut word = String::new();
        let mut chars = quoted.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => word.extend(chars.next()),
                c => word.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(word)
    }

    fn skip_macro(&mut self) {
        let end = self.rest.find("\n\n").map(|at| at + 2);
        let end = end.or_else(|| self.rest.find("\n\r\n").map(|at| at + 3)).unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn login(user: &str, password: &str) -> Login {
        Login { user: user.into(), password: password.into() }
    }

    #[test]
    fn a_netrc_gives_the_login_of_exactly_that_host() {
        let text = "# mine\nmachine a login me password s3cret\nmachine B\n\tlogin \"x y\"\n\tpassword \"q\\\"\"\n\
                    macdef init\nmachine h login no password no\n\nmachine h account z password only\n\
                    default login anonymous password x";
        for (host, want) in [
            ("a", Some(login("me", "s3cret"))),
            ("A", Some(login("me", "s3cret"))),
            ("b", Some(login("x y", "q\""))),
            ("h", Some(login("", "only"))),
            ("other", None),
            ("a.example", None),
        ] {
            assert_eq!(find(text, host).map(|l| (l.user, l.password)), want.map(|l| (l.user, l.password)), "{host}");
        }
        for odd in ["machine", "machine a", "machine a login", "machine a\nmacdef", "\"", "login x password y", "#"] {
            assert!(find(odd, "a").is_none_or(|l| l.password.is_empty()), "{odd}");
        }
    }

    #[test]
    fn an_address_gives_its_own_and_nothing_prints_it() {
        let url = Url::parse("http://me:p%40ss%zz@h/x").expect("valid");
        let login = Login::of(&url).expect("one");
        assert_eq!((login.user.as_slice(), login.password.as_slice()), (b"me".as_slice(), b"p@ss%zz".as_slice()));
        assert!(!format!("{login:?} {:?}", login.basic()).contains("p@ss"));
        assert!(!format!("{:?}", login.basic()).contains(&STANDARD.encode("me:p@ss%zz")));
        assert!(Login::of(&Url::parse("http://h/x").expect("valid")).is_none());
        let aladdin = Login::of(&Url::parse("http://Aladdin:open%20sesame@h/").expect("valid")).expect("one");
        assert_eq!(aladdin.basic().expect("one").to_str().ok(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    }

    proptest! {
        #[test]
        fn any_netrc_is_read(text in "(machine|default|login|password|macdef|account|a| |\n|\"|#|\\\\|é){0,40}") {
            let _ = find(&text, "a");
        }
    }
}
