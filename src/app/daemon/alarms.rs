//! Calls people: what is seen of the recorder goes to the plan once a second, what the plan wants told goes to the
//! post, which never makes anybody wait.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::core::Core;
use super::status::trouble;
use super::worker::{JoinNotice, JoinedTalk};
use crate::app::library::report;
use crate::app::library::report::TalkView;
use crate::app::schedule::refresh::is_current;
use crate::app::support::blocking::read;
use crate::app::support::clock::Clock;
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::app::support::free_space;
use crate::app::support::humanize::percent;
use crate::catalog::daemon_runs::DaemonRun;
use crate::catalog::schedule_changes::{self, NewChange};
use crate::catalog::writer::{Health, Writer};
use crate::catalog::{assemblies, incidents, schedule};
use crate::domain::ids::{AssemblyId, TalkId};
use crate::domain::message::{Message, Phase, TalkNews, Topic};
use crate::domain::stream_url::redact_text;
use crate::domain::talk::TalkState;
use crate::domain::text::one_line;
use crate::domain::time::{Ms, SECOND};
use crate::notify::{Dispatcher, HookAccepted, InFlight, Sender};
use crate::plan::alarms::{AlarmFacts, Alarms, HallFact};
use crate::plan::wanted::window_of;
use crate::tape::TapeStatus;

/// So many changes of the schedule are told in words, the rest as a number.
const CHANGES: usize = 8;

/// The catalog is asked this often whether the refresh works.
const REFRESH_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// So many are read at once.
const MAX_ROWS: usize = 10_000;

/// What messages say of where they come from.
#[must_use]
pub fn sender(env: &Env) -> Sender {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Sender { host, data_dir: env.data_dir.clone() }
}

/// The post as it is set. Where it cannot be had, that is logged and done without: taping must not depend on it.
pub(super) fn post(
    env: &Env,
    age: impl Fn() -> Duration + Send + 'static,
    taken: mpsc::UnboundedSender<HookAccepted>,
) -> Dispatcher {
    Dispatcher::start(&env.settings.notify, &sender(env), age, taken).unwrap_or_else(|e| {
        tracing::error!("notifications are off, because their thread cannot be started: {e}");
        Dispatcher::default()
    })
}

/// Writes down which joined files the hook has taken, as long as anybody may tell.
pub(super) async fn note(writer: Writer, clock: Arc<dyn Clock>, mut taken: mpsc::UnboundedReceiver<HookAccepted>) {
    while let Some(file) = taken.recv().await {
        let (assembly, now) = (file.assembly, clock.now());
        if let Err(e) = writer.call(move |db| assemblies::told(db, assembly, now)).await {
            tracing::warn!(
                "cannot record that notify.on_talk_done accepted a file; it will be called again for it: {e}"
            );
        }
        drop(file);
    }
}

/// Tells that the daemon runs again, where one ran before.
pub(super) fn restarted(post: &Dispatcher, before: Option<DaemonRun>, recovered: Option<String>, now: Ms) {
    let Some(before) = before else { return };
    let last = before.stopped.unwrap_or(before.heartbeat);
    let how = if before.stopped.is_some() { "it was stopped" } else { "it was killed, crashed, or lost power" };
    let away = now.since(last).max(0) / SECOND;
    let recovered = recovered.map(|done| format!("; recovered: {done}")).unwrap_or_default();
    let text = format!("streamrip runs again after {away} s: {how}{recovered}");
    let message = Message::new(Topic::DaemonRestarted, Phase::News, text, now);
    post.send(&Message { since: last.min(now), ..message });
}

/// Tells what was done about a damaged catalog.
pub(super) fn rescued(post: &Dispatcher, what: &str, now: Ms) {
    post.send(&Message::new(Topic::CatalogDamaged, Phase::News, one_line(what), now));
}

/// Looks, and tells.
pub(super) struct AlarmTask {
    env: Env,
    core: Arc<Core>,
    reader: Arc<Mutex<Connection>>,
    post: Dispatcher,
    alarms: Alarms,
    started: Ms,
    /// Where the time begins that nobody sets.
    origin: Instant,
    /// Events that are refreshed, each with why that fails, and when the catalog was asked for it.
    refreshed: Vec<(String, Option<String>)>,
    asked: Option<Instant>,
    /// The schedule's version when its changes were told, and the number of the last of them.
    version: Option<i64>,
    last_change: i64,
    /// The last row of the catalog's troubles that was looked at; `None`: none yet, those of before are no news.
    last_trouble: Option<i64>,
    /// How the catalog's file is, and how often it had been written out again when that was told.
    catalog: Option<(watch::Receiver<Health>, u64)>,
    /// Joined files that the daemon before this one did not hand over.
    untold: Option<(Vec<(TalkId, AssemblyId)>, InFlight)>,
}

impl AlarmTask {
    /// `started`: when this daemon began; changes of the schedule after `last_change` are news.
    pub fn new(
        env: Env,
        core: Arc<Core>,
        reader: Arc<Mutex<Connection>>,
        post: Dispatcher,
        started: Ms,
        last_change: i64,
    ) -> Self {
        let (alarms, refreshed, origin) = (Alarms::default(), Vec::new(), Instant::now());
        let (asked, version, untold, catalog, last_trouble) = (None, None, None, None, None);
        Self {
            env,
            core,
            reader,
            post,
            alarms,
            started,
            origin,
            refreshed,
            asked,
            version,
            last_change,
            last_trouble,
            catalog,
            untold,
        }
    }

    /// Tells too when the catalog's file is damaged, or was written out again because it was gone.
    #[must_use]
    pub fn watching(mut self, health: watch::Receiver<Health>) -> Self {
        self.catalog = Some((health, 0));
        self
    }

    /// Hands these joined files over first: the daemon before this one did not come to it.
    #[must_use]
    pub fn handing_over(mut self, untold: Vec<(TalkId, AssemblyId)>) -> Self {
        self.untold = Some((untold, self.post.expect_file()));
        self
    }

    /// Looks once a second until the worker is gone, which sends `done`.
    pub async fn run(mut self, mut done: mpsc::UnboundedReceiver<JoinNotice>) {
        if let Some((untold, _under_way)) = self.untold.take() {
            for (talk, assembly) in untold {
                self.hand_over(talk, assembly).await;
            }
        }
        let mut look = tokio::time::interval(Duration::from_secs(1));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                talk = done.recv() => match talk {
                    Some((talk, _under_way)) => self.talk_done(talk).await,
                    None => return,
                },
                _ = look.tick() => {
                    let (now, facts) = (self.env.clock.now(), self.facts().await);
                    for message in self.alarms.evaluate(now, whole_ms(self.origin.elapsed()), &facts) {
                        self.post.send(&message);
                    }
                    self.catalog_written_out();
                    self.files_damaged().await;
                    if let Err(e) = self.schedule_changes().await {
                        tracing::debug!("cannot tell what changed in the schedule: {e}");
                    }
                }
            }
        }
    }

    /// Tells of files that somebody deleted, moved or cut while they were recorded.
    async fn files_damaged(&mut self) {
        let last = self.last_trouble;
        let found = read(&self.reader, move |db| match last {
            Some(last) => Ok(incidents::noted_after(db, incidents::FILE_DAMAGED, last)?),
            None => Ok(vec![(incidents::newest(db)?, String::new())]),
        });
        let Ok(found) = found.await else { return };
        for (row, message) in found {
            self.last_trouble = Some(row);
            if !message.is_empty() {
                let text = one_line(&message);
                self.post.send(&Message::new(Topic::FileDamaged, Phase::News, text, self.env.clock.now()));
            }
        }
    }

    /// Tells that the catalog's file was gone and is there again.
    fn catalog_written_out(&mut self) {
        let Some((health, told)) = &mut self.catalog else { return };
        let (times, what) = {
            let health = health.borrow();
            (health.written_out, health.what.clone())
        };
        if std::mem::replace(told, times) != times {
            rescued(&self.post, &what, self.env.clock.now());
        }
    }

    async fn facts(&mut self) -> AlarmFacts {
        let (wanted, schedule, tapes) = (self.core.wanted().await, self.core.schedule().await, self.core.tapes().await);
        let now = self.env.clock.now();
        let mut facts = AlarmFacts {
            disk_free: free_space::free_bytes(&self.env.data_dir),
            disk_warn: self.env.settings.disk.warn_bytes,
            disk_reserve: self.env.settings.disk.reserve_bytes,
            disk_full: tapes.iter().any(|t| t.status.disk_full),
            catalog: self.catalog.as_ref().and_then(|(health, _)| health.borrow().damage.clone()),
            ..AlarmFacts::default()
        };
        let record = &self.env.settings.record;
        for hall in &schedule.halls {
            let event = schedule.events.iter().find(|e| e.id == hall.event);
            // The plan wants no tape where there is nothing to tape; a person wants to know.
            let has_talk = || {
                schedule
                    .talks
                    .iter()
                    .any(|t| t.hall == hall.id && t.is_on() && window_of(t, event, record).contains(now))
            };
            let lacks_stream = hall.streams.is_empty() && has_talk();
            if !lacks_stream && !wanted.running_at(now).any(|tape| tape.hall == hall.id) {
                continue;
            }
            let status = tapes.iter().find(|t| t.hall.id == hall.id).map(|t| &t.status);
            facts.halls.push(HallFact {
                hall: hall.id,
                name: one_line(&hall.name),
                event: event.map(|e| one_line(&e.name)).unwrap_or_default(),
                silent_ms: status.and_then(TapeStatus::silence).map(whole_ms),
                trouble: if lacks_stream { Some("no stream".to_owned()) } else { status.and_then(trouble) },
            });
        }
        if self.asked.is_none_or(|at| at.elapsed() >= REFRESH_CHECK_INTERVAL) {
            match read(&self.reader, |db| Ok(schedule::events(db)?)).await {
                Ok(events) => {
                    let current = events.iter().filter(|e| is_current(e.id, &schedule.talks, now));
                    let problem = |why: &String| one_line(&redact_text(why));
                    self.refreshed =
                        current.map(|e| (one_line(&e.name), e.refresh_problem.as_ref().map(problem))).collect();
                }
                Err(e) => tracing::debug!("cannot tell whether the refresh works: {e}"),
            }
            self.asked = Some(Instant::now());
        }
        facts.refresh.clone_from(&self.refreshed);
        facts
    }

    async fn schedule_changes(&mut self) -> Result<()> {
        let version = self.core.schedule().await.version;
        if self.version == Some(version) {
            return Ok(());
        }
        let last = self.last_change;
        let changes = read(&self.reader, move |db| Ok(schedule_changes::after(db, last, MAX_ROWS)?)).await?;
        // Where there may be more the next look reads on.
        self.version = (changes.len() < MAX_ROWS).then_some(version);
        self.last_change = changes.last().map_or(last, |c| c.id);
        if let Some(text) = changes_in_words(&changes) {
            let message = Message::new(Topic::ScheduleChanged, Phase::News, text, self.env.clock.now());
            let event = changes.first().map(|c| c.event.clone());
            let event = event.filter(|event| changes.iter().all(|c| c.event == *event));
            self.post.send(&Message { event, ..message });
        }
        Ok(())
    }

    async fn talk_done(&self, done: JoinedTalk) {
        let env = self.env.clone();
        let view = match read(&self.reader, move |db| report::by_id(db, &env, done.talk.0)).await {
            Ok(view) => view,
            Err(e) => return tracing::warn!("talk {}: no notification is sent for its finished file: {e}", done.talk),
        };
        // A talk that was over before this daemon began was not missed by it.
        let missed = view.report.state == TalkState::Missed && view.window.end > self.started;
        if view.talk.opted_out || !(done.made || missed) {
            return;
        }
        self.post.send(&self.news(&view, done.made));
    }

    async fn hand_over(&self, talk: TalkId, assembly: AssemblyId) {
        let env = self.env.clone();
        match read(&self.reader, move |db| report::by_id(db, &env, talk.0)).await {
            // Since replaced by one that is handed over in its place, or not to be shown.
            Ok(view) if view.talk.opted_out || view.assembly.as_ref().is_none_or(|a| a.id != assembly) => {}
            Ok(view) => self.post.hand_over(&self.news(&view, true)),
            Err(e) => tracing::warn!("talk {talk}: its file goes to the hook at the next start: {e}"),
        }
    }

    /// What became of a talk, with its file if that is `made`.
    fn news(&self, view: &TalkView, made: bool) -> Message {
        let (title, hall) = (one_line(&view.talk.title), one_line(&view.hall.name));
        let state = view.report.state.to_string();
        let file = view.assembly.as_ref().filter(|_| made);
        let (assembly, path) = file.map(|a| (a.id, self.env.data_dir.join(&a.path))).unzip();
        let file = path.as_ref().map(|p| format!(": {}", p.display())).unwrap_or_default();
        let text = format!("{hall}: {title:?} is {state}, {} recorded{file}", percent(view.report.coverage));
        let message = Message::new(Topic::TalkDone, Phase::News, text, self.env.clock.now());
        let talk = TalkNews { id: view.talk.id, title, state, coverage: view.report.coverage, path, assembly };
        Message {
            since: view.talk.slot.start.min(message.at),
            event: Some(view.event.name.clone()),
            hall: Some(hall),
            talk: Some(talk),
            ..message
        }
    }
}

fn whole_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// What changed, in some lines; `None`: nothing that may be told.
fn changes_in_words(changes: &[NewChange]) -> Option<String> {
    let shown: Vec<_> = changes.iter().filter(|c| !c.opted_out).collect();
    if shown.is_empty() {
        return None;
    }
    let mut lines = vec![format!("the schedule changed in {} place(s)", shown.len())];
    lines.extend(
        shown.iter().take(CHANGES).map(|c| one_line(&format!("{}: {:?} {}", c.event, c.title, c.change.describe()))),
    );
    if shown.len() > CHANGES {
        lines.push(format!("and {} more", shown.len() - CHANGES));
    }
    Some(lines.join("\n"))
}
