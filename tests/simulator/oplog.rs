//! What a process did to its files, as strace saw it, and what would be on the disk if the power had failed
//! at any point in between.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// The system calls that change files, and those that make changes safe.
pub const CALLS: &str = "openat,open,creat,write,pwrite64,writev,pwritev,ftruncate,fsync,fdatasync,rename,renameat,\
                         renameat2,unlink,unlinkat,link,linkat,mkdir,mkdirat,rmdir";

/// One thing that was done. Files are known by numbers, as they keep their content under another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Create(String, usize),
    Mkdir(String),
    Write(usize, u64, Vec<u8>),
    Truncate(usize, u64),
    Rename(String, String),
    Link(String, String),
    Unlink(String),
    SyncFile(usize),
    SyncDir(String),
}

/// What is in a file system.
#[derive(Clone, Debug, Default)]
pub struct Image {
    names: BTreeMap<String, usize>,
    dirs: BTreeSet<String>,
    data: HashMap<usize, Vec<u8>>,
}

/// All that was done, and when it was safe.
#[derive(Debug)]
pub struct Log {
    pub ops: Vec<Op>,
    /// For each of `ops` the number of the one that made sure of it; `usize::MAX`: none did.
    safe: Vec<usize>,
    /// The name of each file when it was made.
    pub made_as: HashMap<usize, String>,
}

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of it is there: a kill.
    Kept,
    /// Nothing of it is.
    Lost,
    /// Names up to some instant, content here and there, by this seed.
    Mixed(u64),
}

impl Image {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create(path, id) => drop(self.names.insert(path.clone(), *id)),
            Op::Mkdir(path) => drop(self.dirs.insert(path.clone())),
            Op::Write(id, at, bytes) => {
                let at = usize::try_from(*at).expect("fits");
                let data = self.data.entry(*id).or_default();
                if data.len() < at + bytes.len() {
                    data.resize(at + bytes.len(), 0);
                }
                data[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Op::Truncate(id, len) => {
                self.data.entry(*id).or_default().resize(usize::try_from(*len).expect("fits"), 0);
            }
            Op::Rename(from, to) => {
                if let Some(id) = self.names.remove(from) {
                    self.names.insert(to.clone(), id);
                }
            }
            Op::Link(from, to) => {
                if let Some(id) = self.names.get(from).copied() {
                    self.names.insert(to.clone(), id);
                }
            }
            Op::Unlink(path) => {
                self.names.remove(path);
                self.dirs.remove(path);
            }
            Op::SyncFile(_) | Op::SyncDir(_) => {}
        }
    }

    /// Writes it out below a folder that is empty.
    pub fn write_to(&self, root: &Path) {
        let is_reached = |path: &str| {
            let mut parents = Path::new(path).ancestors().skip(1).filter(|p| !p.as_os_str().is_empty());
            parents.all(|p| self.dirs.contains(p.to_str().expect("text")))
        };
        for dir in self.dirs.iter().filter(|d| is_reached(d)) {
            std::fs::create_dir_all(root.join(dir)).expect("made");
        }
        for (name, id) in self.names.iter().filter(|(name, _)| is_reached(name)) {
            std::fs::write(root.join(name), self.data.get(id).map_or(&[][..], Vec::as_slice)).expect("written");
        }
    }
}

impl Log {
    /// Reads what strace wrote, as far as it is about files below `root`.
    pub fn read(text: &str, root: &Path) -> Self {
        let mut log = Self { ops: Vec::new(), safe: Vec::new(), made_as: HashMap::new() };
        let (mut now, mut begun) = (Image::default(), HashMap::new());
        let root = root.to_str().expect("text");
        let inside = |path: &str| {
            let inner = path.strip_prefix(root)?;
            if inner.is_empty() { Some(String::new()) } else { inner.strip_prefix('/').map(str::to_owned) }
        };
        for line in text.lines() {
            let Some((pid, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            let whole = if let Some(start) = call.strip_suffix("<unfinished ...>") {
                begun.insert(pid.to_owned(), start.to_owned());
                continue;
            } else if call.starts_with("<... ") {
                let rest = call.split_once("resumed>").map_or("", |(_, rest)| rest);
                begun.remove(pid).unwrap_or_default() + rest
            } else {
                call.to_owned()
            };
            let Some(call) = Call::parse(&whole) else { continue };
            for op in call.ops(&now, &inside) {
                now.apply(&op);
                if let Op::Create(name, id) = &op {
                    log.made_as.insert(*id, name.clone());
                }
                log.ops.push(op);
            }
        }
        log.find_safe();
        log
    }

    fn find_safe(&mut self) {
        let (mut files, mut dirs): (HashMap<usize, usize>, HashMap<String, usize>) = Default::default();
        self.safe = vec![usize::MAX; self.ops.len()];
        for (n, op) in self.ops.iter().enumerate().rev() {
            let dir = |path: &str| {
                let parent = Path::new(path).parent().and_then(Path::to_str).unwrap_or_default();
                dirs.get(parent).copied().unwrap_or(usize::MAX)
            };
            self.safe[n] = match op {
                Op::Create(path, _) | Op::Mkdir(path) | Op::Unlink(path) => dir(path),
                Op::Rename(from, to) => dir(from).max(dir(to)),
                Op::Link(_, to) => dir(to),
                Op::Write(id, ..) | Op::Truncate(id, _) => files.get(id).copied().unwrap_or(usize::MAX),
                Op::SyncFile(_) | Op::SyncDir(_) => n,
            };
            match op {
                Op::SyncFile(id) => drop(files.insert(*id, n)),
                Op::SyncDir(path) => drop(dirs.insert(path.clone(), n)),
                _ => {}
            }
        }
    }

    /// What is on the disk where the power fails before operation `at`.
    pub fn image(&self, at: usize, cut: Cut) -> Image {
        let mut rng = fastrand::Rng::with_seed(if let Cut::Mixed(seed) = cut { seed } else { 0 });
        let is_name = |op: &Op| !matches!(op, Op::Write(..) | Op::Truncate(..));
        let unsafe_names: Vec<usize> = (0..at).filter(|n| is_name(&self.ops[*n]) && self.safe[*n] >= at).collect();
        let names_until = if unsafe_names.is_empty() { at } else { unsafe_names[rng.usize(..unsafe_names.len())] };
        let mut image = Image::default();
        for (n, op) in self.ops[..at].iter().enumerate() {
            let is_there = self.safe[n] < at
                || match cut {
                    Cut::Kept => true,
                    Cut::Lost => false,
                    Cut::Mixed(_) if is_name(op) => n < names_until,
                    Cut::Mixed(_) => rng.bool(),
                };
            if is_there {
                image.apply(op);
            }
        }
        image
    }
}

/// One line of strace.
struct Call<'a> {
    name: &'a str,
    args: Vec<Arg>,
    numbers: Vec<u64>,
    flags: &'a str,
    result: Option<Arg>,
}

enum Arg {
    /// What a descriptor stands for.
    Fd(String),
    Text(Vec<u8>),
}

impl<'a> Call<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, rest) = line.split_once('(')?;
        let (inner, result) = rest.rsplit_once(") = ").or_else(|| {
            let (inner, result) = rest.rsplit_once(" = ")?;
            Some((inner.trim_end().strip_suffix(')')?, result))
        })?;
        if result.starts_with('-') {
            return None;
        }
        let (args, numbers) = tokens(inner);
        let flags = inner.split(", ").find(|a| a.starts_with("O_")).unwrap_or_default();
        let result = tokens(result).0.into_iter().next();
        Some(Self { name: name.trim(), args, numbers, flags, result })
    }

    fn text(&self, n: usize) -> Option<String> {
        let texts = self.args.iter().filter_map(|a| if let Arg::Text(t) = a { Some(t) } else { None });
        texts.into_iter().nth(n).map(|t| String::from_utf8_lossy(t).into_owned())
    }

    fn fd(&self, n: usize) -> Option<&str> {
        self.args.iter().filter_map(|a| if let Arg::Fd(p) = a { Some(p.as_str()) } else { None }).nth(n)
    }

    /// The `n`th path: absolute, or below the `n`th folder that is named.
    fn path(&self, n: usize) -> Option<String> {
        let text = self.text(n)?;
        if text.starts_with('/') { Some(text) } else { Some(format!("{}/{text}", self.fd(n)?)) }
    }

    fn ops(&self, now: &Image, inside: &dyn Fn(&str) -> Option<String>) -> Vec<Op> {
        self.try_ops(now, inside).unwrap_or_default()
    }

    fn try_ops(&self, now: &Image, inside: &dyn Fn(&str) -> Option<String>) -> Option<Vec<Op>> {
        let id_of = |path: &str| now.names.get(&inside(path)?).copied();
        Some(match self.name {
            "openat" | "open" | "creat" => {
                let Some(Arg::Fd(path)) = &self.result else { return None };
                let path = inside(path)?;
                match now.names.get(&path) {
                    None if self.flags.contains("O_CREAT") && !path.is_empty() => {
                        vec![Op::Create(path, next_id())]
                    }
                    Some(id) if self.flags.contains("O_TRUNC") => vec![Op::Truncate(*id, 0)],
                    _ => vec![],
                }
            }
            "write" | "pwrite64" => {
                let id = id_of(self.fd(0)?)?;
                let Arg::Text(bytes) = self.args.iter().find(|a| matches!(a, Arg::Text(_)))? else { return None };
                let at = match self.name {
                    "pwrite64" => *self.numbers.last()?,
                    // All that is written without a place is written at the end.
                    _ => now.data.get(&id).map_or(0, Vec::len) as u64,
                };
                vec![Op::Write(id, at, bytes.clone())]
            }
            "writev" | "pwritev" => {
                assert!(id_of(self.fd(0)?).is_none(), "a way of writing that this does not know");
                vec![]
            }
            "ftruncate" => vec![Op::Truncate(id_of(self.fd(0)?)?, *self.numbers.last()?)],
            "fsync" | "fdatasync" => {
                let path = self.fd(0)?;
                match id_of(path) {
                    Some(id) => vec![Op::SyncFile(id)],
                    None => vec![Op::SyncDir(inside(path)?)],
                }
            }
            "rename" | "renameat" | "renameat2" => {
                vec![Op::Rename(inside(&self.path(0)?)?, inside(&self.path(1)?)?)]
            }
            "link" | "linkat" => vec![Op::Link(inside(&self.path(0)?)?, inside(&self.path(1)?)?)],
            "unlink" | "unlinkat" | "rmdir" => vec![Op::Unlink(inside(&self.path(0)?)?)],
            "mkdir" | "mkdirat" => vec![Op::Mkdir(inside(&self.path(0)?)?)],
            _ => vec![],
        })
    }
}

/// Numbers that were not given before.
fn next_id() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Quoted bytes, what descriptors stand for, and plain numbers, in the order they stand. strace is told to
/// write every byte as `\xNN`, so that nothing in them looks like something else.
fn tokens(text: &str) -> (Vec<Arg>, Vec<u64>) {
    let (mut args, mut numbers) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find(['"', '<', ',']) {
        if let Ok(number) = rest[..at].trim().parse() {
            numbers.push(number);
        }
        let (close, kind) = match &rest[at..=at] {
            "\"" => ('"', true),
            "<" => ('>', false),
            _ => {
                rest = &rest[at + 1..];
                continue;
            }
        };
        let Some(len) = rest[at + 1..].find(close) else { break };
        let bytes = unescape(&rest[at + 1..at + 1 + len]);
        args.push(if kind { Arg::Text(bytes) } else { Arg::Fd(String::from_utf8_lossy(&bytes).into_owned()) });
        rest = &rest[at + 2 + len..];
    }
    if let Ok(number) = rest.trim().parse() {
        numbers.push(number);
    }
    (args, numbers)
}

fn unescape(text: &str) -> Vec<u8> {
    let mut pairs = text.split("\\x");
    let plain = pairs.next().unwrap_or_default().as_bytes().to_vec();
    let coded = pairs.filter_map(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok());
    plain.into_iter().chain(coded).collect()
}
