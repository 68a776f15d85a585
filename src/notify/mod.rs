//! Calling people: a command, a webhook, a heartbeat. All of it from a thread of its own with a runtime of its own,
//! behind queues that never make the sender wait: a command that hangs and a server that never answers cost
//! nothing but messages.

mod program;
mod shape;
mod web;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;

pub use shape::json;

use crate::domain::message::{Message, Phase, Topic};
use crate::domain::settings::Notify;
use crate::domain::text::shortened;
use crate::domain::time::Ms;
use crate::plan::pace::Pace;

/// So many messages wait for each way; more are counted and dropped.
const QUEUE: usize = 256;

/// A command for a message that takes longer is killed.
const COMMAND_TIME: Duration = Duration::from_secs(30);

/// A command for a joined file that takes longer is killed: it may copy gigabytes.
const HOOK_TIME: Duration = Duration::from_secs(3600);

/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// A daemon that has not reconciled for so long does not work: ticks come every second.
const WORKS: Duration = Duration::from_secs(15);

/// So many messages are put into one that stands for all.
const SEVERAL: usize = 50;

/// What is said about where the messages come from.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The machine's name.
    pub host: String,
    /// Absolute path of the data directory.
    pub data_dir: std::path::PathBuf,
}

/// The way to people. Cheap to clone; sending never waits.
#[derive(Clone, Debug, Default)]
pub struct Post {
    ways: Vec<mpsc::Sender<Message>>,
    hook: Option<mpsc::Sender<Message>>,
    /// Messages that are not delivered (or given up) yet.
    under_way: Arc<AtomicUsize>,
}

impl Post {
    /// Starts the thread, where anything is set; without one, messages go nowhere. `age` says how long ago the daemon
    /// reconciled. The thread ends when the process does.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(
        settings: &Notify,
        sender: &Sender,
        age: impl Fn() -> Duration + Send + 'static,
    ) -> std::io::Result<Self> {
        let mut post = Self::default();
        let mut work: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
        if !settings.command.is_empty() {
            let (way, queue) = mpsc::channel(QUEUE);
            post.ways.push(way);
            let how = How::Command(settings.command.clone(), COMMAND_TIME);
            work.push(Box::pin(deliver(how, queue, sender.clone(), true, Arc::clone(&post.under_way))));
        }
        if let Some(url) = &settings.webhook {
            let (way, queue) = mpsc::channel(QUEUE);
            post.ways.push(way);
            let how = How::Webhook(url.0.clone());
            work.push(Box::pin(deliver(how, queue, sender.clone(), true, Arc::clone(&post.under_way))));
        }
        if !settings.on_talk_done.is_empty() {
            let (way, queue) = mpsc::channel(QUEUE);
            post.hook = Some(way);
            let how = How::Command(settings.on_talk_done.clone(), HOOK_TIME);
            work.push(Box::pin(deliver(how, queue, sender.clone(), false, Arc::clone(&post.under_way))));
        }
        if let Some(url) = &settings.heartbeat {
            work.push(Box::pin(beat(url.0.clone(), age)));
        }
        if work.is_empty() {
            return Ok(post);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .thread_name("notify")
            .build()?;
        let run = move || {
            runtime.block_on(async move {
                let all: tokio::task::JoinSet<()> = work.into_iter().collect();
                all.join_all().await;
            });
        };
        std::thread::Builder::new().name("notify".to_owned()).spawn(run)?;
        Ok(post)
    }

    /// True where messages go somewhere.
    #[must_use]
    pub fn has_ways(&self) -> bool {
        !self.ways.is_empty() || self.hook.is_some()
    }

    /// Sends a message on all ways; a talk's file also to its hook. Waits for nothing.
    pub fn send(&self, message: &Message) {
        let has_file = message.topic == Topic::TalkDone && message.talk.as_ref().is_some_and(|t| t.path.is_some());
        for way in self.ways.iter().chain(self.hook.iter().filter(|_| has_file)) {
            self.under_way.fetch_add(1, Ordering::SeqCst);
            match way.try_send(message.clone()) {
                Ok(()) => {}
                Err(e) => {
                    self.under_way.fetch_sub(1, Ordering::SeqCst);
                    let why =
                        if matches!(e, TrySendError::Full(_)) { "too many wait" } else { "nobody sends any more" };
                    tracing::warn!("a message is not sent, {why}: {}", message.text);
                }
            }
        }
    }

    /// Waits until everything is delivered or given up, at most `patience`.
    pub async fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        while self.under_way.load(Ordering::SeqCst) > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[derive(Debug)]
enum How {
    Command(Vec<String>, Duration),
    Webhook(String),
}

impl How {
    async fn send(&self, message: &Message, sender: &Sender) -> Result<(), String> {
        match self {
            Self::Command(words, most) => program::run(words, message, sender, *most).await,
            Self::Webhook(url) => web::post(url, &json(message, sender)).await,
        }
    }

    /// Its setting.
    fn name(&self, paced: bool) -> &'static str {
        match self {
            Self::Command(..) if paced => "notify.command",
            Self::Command(..) => "notify.on_talk_done",
            Self::Webhook(_) => "notify.webhook",
        }
    }
}

/// Delivers one after another. `paced`: when there are too many, those that wait go as one.
async fn deliver(
    how: How,
    mut queue: mpsc::Receiver<Message>,
    sender: Sender,
    paced: bool,
    under_way: Arc<AtomicUsize>,
) {
    let began = Instant::now();
    let now = || Ms(i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX));
    let mut pace = Pace::new(now());
    while let Some(first) = queue.recv().await {
        let mut waiting = vec![first];
        if paced {
            let mut waited = false;
            while let wait @ 1.. = pace.take(now()) {
                waited = true;
                tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
            }
            while let Some(next) = waited.then(|| queue.try_recv().ok()).flatten() {
                waiting.push(next);
            }
        }
        let message = together(&waiting);
        if let Err(why) = how.send(&message, &sender).await {
            tracing::error!("{}: {why}; not told: {}", how.name(paced), message.text);
        }
        under_way.fetch_sub(waiting.len(), Ordering::SeqCst);
    }
}

/// One message that stands for all of these (at least one).
fn together(all: &[Message]) -> Message {
    match all {
        [one] => one.clone(),
        _ => {
            let (newest, oldest) = (all.iter().map(|m| m.at).max(), all.iter().map(|m| m.since).min());
            let lines: Vec<_> = all.iter().take(SEVERAL).map(|m| m.text.as_str()).collect();
            let more = all.len().saturating_sub(SEVERAL);
            let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
            let text = format!("{} messages:\n{}{more}", all.len(), lines.join("\n"));
            let mut message = Message::new(Topic::Several, Phase::News, text, newest.unwrap_or(Ms(0)));
            message.since = oldest.unwrap_or(message.at);
            message
        }
    }
}

/// Fetches the heartbeat's address each minute while the daemon works, for ever.
async fn beat(url: String, age: impl Fn() -> Duration) {
    let mut failed = false;
    loop {
        if age() < WORKS {
            match web::get(&url).await {
                Ok(()) => failed = false,
                Err(why) if !std::mem::replace(&mut failed, true) => {
                    tracing::warn!("notify.heartbeat: {why}; trying again each minute");
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}

/// Sends one message on every way that is set, and says for each (by its setting) what came of it. The hook of joined
/// files is not among them: there is no file.
pub async fn try_all(settings: &Notify, sender: &Sender, message: &Message) -> Vec<(&'static str, Result<(), String>)> {
    let command = (!settings.command.is_empty()).then(|| How::Command(settings.command.clone(), COMMAND_TIME));
    let webhook = settings.webhook.as_ref().map(|url| How::Webhook(url.0.clone()));
    let mut out = Vec::new();
    for how in command.into_iter().chain(webhook) {
        let answer = match &how {
            // Without the tries that an alarm gets.
            How::Webhook(url) => web::once(url, &json(message, sender)).await.map_err(|e| e.why),
            How::Command(..) => how.send(message, sender).await,
        };
        out.push((how.name(true), answer.map_err(|why| shortened(&why, 300))));
    }
    out
}

#[cfg(test)]
mod tests;
