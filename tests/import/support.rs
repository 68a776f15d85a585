//! A catalog in a temporary directory, calendars made of a few words, and imports of them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use streamrip::app::schedule::import::{ImportReport, ImportRequest, import};
use streamrip::app::support::clock::TestClock;
use streamrip::app::support::env::Env;
use streamrip::app::support::failure::{Failure, Kind};
use streamrip::catalog;
use streamrip::domain::settings::Settings;
use streamrip::domain::time::Ms;

/// 2026-12-27 09:00 in Berlin: the congress has not begun.
pub const MORNING: Ms = Ms(1_798_358_400_000);

/// A catalog of its own, a folder for files, and a clock.
pub struct World {
    pub dir: tempfile::TempDir,
    pub env: Env,
    pub db: Connection,
    pub clock: TestClock,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let clock = TestClock::starting_at(MORNING);
        let env = Env {
            data_dir: dir.path().join("data"),
            settings: Settings::default(),
            clock: Arc::new(clock.clone()),
            engine: Arc::new(streamrip::media::engine::Ffmpeg),
        };
        let db = catalog::open_writer(&env.data_dir).expect("a catalog");
        Self { dir, env, db, clock }
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    }

    pub async fn try_import(&mut self, request: ImportRequest) -> Result<ImportReport, Failure> {
        import(&self.env, &mut self.db, &request).await
    }

    /// Imports a calendar as event `congress`.
    pub async fn import(&mut self, calendar: impl AsRef<[u8]>) -> ImportReport {
        let request = self.request(calendar);
        self.try_import(request).await.expect("imported")
    }

    pub fn request(&self, calendar: impl AsRef<[u8]>) -> ImportRequest {
        let source = self.file("congress.ics", calendar);
        ImportRequest { source: source.to_string_lossy().into_owned(), ..ImportRequest::default() }
    }

    /// The failure of an import, after which nothing may have changed.
    pub async fn refused(&mut self, request: ImportRequest) -> Failure {
        let before = self.dump();
        let writes = self.db.total_changes();
        let failure = self.try_import(request).await.expect_err("refused");
        assert_eq!(self.dump(), before, "a refused import changed the catalog: {failure}");
        assert_eq!(self.db.total_changes(), writes, "a refused import wrote: {failure}");
        failure
    }

    /// As [`World::refused`], by a calendar that is bad input.
    pub async fn bad_input(&mut self, calendar: impl AsRef<[u8]>) -> String {
        let request = self.request(calendar);
        let failure = self.refused(request).await;
        assert_eq!(failure.kind, Kind::BadInput, "{failure}");
        assert!(failure.hint.is_some(), "{failure}");
        failure.to_string()
    }

    /// `id hall start-end status title`, by start, hall and title; times in UTC.
    pub fn talks(&self) -> Vec<String> {
        let mut query = self
            .db
            .prepare(
                "SELECT talk.id, hall.name, strftime('%d %H:%M', start_ms / 1000, 'unixepoch'),
                        strftime('%H:%M', end_ms / 1000, 'unixepoch'), status, opted_out, title
                 FROM talk JOIN hall ON hall.id = hall_id ORDER BY start_ms, hall.name, title",
            )
            .expect("sql");
        let rows = query.query_map([], |r| {
            let out = if r.get::<_, bool>(5)? { " opted-out" } else { "" };
            Ok(format!(
                "{} {} {}-{} {}{out} {}",
                r.get::<_, i64>(0)?,
                r.get::<_, String>(1)?,
                r.get::<_, String>(2)?,
                r.get::<_, String>(3)?,
                r.get::<_, String>(4)?,
                r.get::<_, String>(6)?
            ))
        });
        rows.expect("talks").collect::<Result<_, _>>().expect("talks")
    }

    /// `hall: url, url` of streams in use.
    pub fn streams(&self) -> Vec<String> {
        let mut query = self
            .db
            .prepare(
                "SELECT name, coalesce((SELECT group_concat(url, ' ') FROM
                    (SELECT url FROM stream WHERE hall_id = hall.id AND removed_ms IS NULL ORDER BY priority)), '-')
                 FROM hall ORDER BY name",
            )
            .expect("sql");
        let rows = query.query_map([], |r| Ok(format!("{}: {}", r.get::<_, String>(0)?, r.get::<_, String>(1)?)));
        rows.expect("halls").collect::<Result<_, _>>().expect("halls")
    }

    pub fn number(&self, sql: &str) -> i64 {
        self.db.query_row(sql, [], |r| r.get(0)).expect(sql)
    }

    /// Everything in the catalog that an import may touch.
    pub fn dump(&self) -> String {
        let mut out = String::new();
        for table in ["event", "hall", "hall_alias", "stream", "talk", "import", "talk_change", "meta"] {
            let mut query = self.db.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).expect("sql");
            let columns = query.column_count();
            let mut rows = query.query([]).expect("rows");
            while let Some(row) = rows.next().expect("row") {
                let _ = write!(out, "{table}");
                for column in 0..columns {
                    let _ = write!(out, " {:?}", row.get_ref(column).expect("value"));
                }
                out.push('\n');
            }
        }
        out
    }
}

/// A talk as `uid|hall|start|minutes|title`; the start as `28 11:30`, December 2026 in Berlin. An empty
/// uid or hall is left out. `more` are further lines.
pub fn event(line: &str, more: &str) -> String {
    let parts: Vec<_> = line.splitn(5, '|').collect();
    let [uid, hall, start, minutes, title] = parts.as_slice() else { panic!("{line}") };
    let (day, time) = start.split_once(' ').expect("day and time");
    let mut out = format!(
        "BEGIN:VEVENT\nDTSTART;TZID=Europe/Berlin:202612{day}T{}00\nDURATION:PT{minutes}M\nSUMMARY:{title}\n",
        time.replace(':', "")
    );
    if !uid.is_empty() {
        let _ = writeln!(out, "UID:{uid}");
    }
    if !hall.is_empty() {
        let _ = writeln!(out, "LOCATION:{hall}");
    }
    out.push_str(more);
    out.push_str("END:VEVENT\n");
    out
}

/// A calendar of such talks, one a line.
pub fn calendar(lines: &str) -> String {
    let events: String = lines.lines().map(str::trim).filter(|l| !l.is_empty()).map(|l| event(l, "")).collect();
    wrap(&events)
}

pub fn wrap(events: &str) -> String {
    format!("BEGIN:VCALENDAR\nVERSION:2.0\n{events}END:VCALENDAR\n").replace('\n', "\r\n")
}

/// `added changed removed unchanged`.
pub fn counts(report: &ImportReport) -> [usize; 4] {
    assert_eq!(report.talks, report.added + report.changed + report.unchanged);
    [report.added, report.changed, report.removed, report.unchanged]
}

/// `kind title: before -> after` of each change.
pub fn changes(report: &ImportReport) -> Vec<String> {
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    let line = |c: &streamrip::app::schedule::import::ReportedChange| {
        format!("{} {}: {} -> {}", c.kind, c.title, text(&c.before), text(&c.after))
    };
    report.changes.iter().map(line).collect()
}

/// Kinds of warnings, in order, doubles left out.
pub fn warned(report: &ImportReport) -> Vec<&'static str> {
    let mut kinds: Vec<_> = report.warnings.iter().map(|w| w.kind.as_str()).collect();
    kinds.dedup();
    kinds
}
