//! Calling people: a command, a webhook, a heartbeat. All of it from a thread of its own with a runtime of its own,
//! behind queues that never make the sender wait: a command that hangs and a server that never answers cost
//! nothing but messages.

mod in_flight;
pub mod kept;
mod payload;
mod program;
mod web;

use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;

pub use in_flight::InFlight;
pub use kept::Unsent;
pub use payload::json;

use crate::domain::ids::AssemblyId;
use crate::domain::message::{Message, Phase, Topic};
use crate::domain::settings::Notify;
use crate::domain::text::shortened;
use crate::domain::time::Ms;
use crate::plan::rate_limit::TokenBucket;
use in_flight::Count;
use kept::{Kept, KeptMessage};

/// So many messages wait for each way to people; more are dropped.
const QUEUE_LENGTH: usize = 256;

/// A command for a message that takes longer is killed.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// A command for a joined file that takes longer is killed: it may copy gigabytes.
const HOOK_TIMEOUT: Duration = Duration::from_secs(3600);

/// Between two heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(60);

/// A daemon that has not reconciled for so long does not work: ticks come every second.
const MAX_RECONCILE_AGE: Duration = Duration::from_secs(15);

/// Between two looks at whether everything is delivered.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// So many messages are put into one that stands for all.
const MAX_BATCH: usize = 50;

/// The settings that name the ways to people.
const COMMAND: &str = "notify.command";
const WEBHOOK: &str = "notify.webhook";

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
pub struct Dispatcher {
    /// The setting of each way, and its queue.
    channels: Vec<(&'static str, mpsc::Sender<Told>)>,
    /// Without a limit: each file it lacks has a row, of which there are as many as talks, and nothing gives it a
    /// file again before the next start.
    hook: Option<mpsc::UnboundedSender<Sent>>,
    /// Messages that are not delivered (or given up) yet.
    messages: Count,
    /// Copies of these messages on disk, sent after the next start.
    kept: Kept,
    /// Joined files that the hook has not taken (or given up) yet.
    files: Count,
}

/// A message in a queue.
type Sent = (Message, InFlight);

/// A message for people in a queue. It counts as not delivered until the rest is dropped.
type Told = (Message, (InFlight, KeptMessage));

/// The hook has taken a joined file. It counts as under way until this is dropped: after it was written down.
#[derive(Debug)]
pub struct HookAccepted {
    /// Assembly whose file the hook has accepted.
    pub assembly: AssemblyId,
    _under_way: InFlight,
}

/// What was not delivered when nobody waited any longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// Messages: they are lost.
    pub messages: usize,
    /// Joined files that the hook has not taken.
    pub files: usize,
}

impl Dispatcher {
    /// Starts the thread, where anything is set; without one, messages go nowhere. `age` says how long ago the daemon
    /// reconciled; `taken` hears of each joined file that the hook has taken. The thread ends when the process does.
    ///
    /// # Errors
    /// When cannot start a thread.
    pub fn start(
        settings: &Notify,
        sender: &Sender,
        age: impl Fn() -> Duration + Send + 'static,
        taken: mpsc::UnboundedSender<HookAccepted>,
    ) -> std::io::Result<Self> {
        let mut post = Self::default();
        let mut work: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
        if !settings.command.is_empty() {
            let (channel, queue) = mpsc::channel(QUEUE_LENGTH);
            post.channels.push((COMMAND, channel));
            let how = Channel::Command(settings.command.clone(), COMMAND_TIMEOUT);
            work.push(Box::pin(deliver(how, queue, sender.clone())));
        }
        if let Some(url) = &settings.webhook {
            let (channel, queue) = mpsc::channel(QUEUE_LENGTH);
            post.channels.push((WEBHOOK, channel));
            let how = Channel::Webhook(url.0.clone());
            work.push(Box::pin(deliver(how, queue, sender.clone())));
        }
        if !settings.on_talk_done.is_empty() {
            let (channel, queue) = mpsc::unbounded_channel();
            post.hook = Some(channel);
            let how = Channel::Command(settings.on_talk_done.clone(), HOOK_TIMEOUT);
            work.push(Box::pin(hand_over(how, queue, sender.clone(), taken)));
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
    pub fn has_channels(&self) -> bool {
        !self.channels.is_empty() || self.hook.is_some()
    }

    /// Something that may become a joined file to hand over: [`Self::files_taken`] waits for it too.
    #[must_use]
    pub fn expect_file(&self) -> InFlight {
        self.files.one_more()
    }

    /// Sends a message on all ways; a talk's file also to its hook. Waits for nothing.
    pub fn send(&self, message: &Message) {
        for (name, channel) in &self.channels {
            self.enqueue(name, channel, message);
        }
        self.hand_over(message);
    }

    fn enqueue(&self, name: &str, channel: &mpsc::Sender<Told>, message: &Message) {
        let told = (message.clone(), (self.messages.one_more(), self.kept.add(name, message)));
        if let Err(e) = channel.try_send(told) {
            let why = if matches!(e, TrySendError::Full(_)) { "too many wait" } else { "nobody sends any more" };
            tracing::warn!("message dropped, {why}: {}", message.text);
        }
    }

    /// Messages that are not delivered (or given up) yet.
    #[must_use]
    pub fn undelivered(&self) -> Vec<Unsent> {
        self.kept.all()
    }

    /// Sends what an earlier daemon did not deliver, each on its way; one for a way that is no longer set is left out.
    pub fn send_kept(&self, unsent: &[Unsent]) {
        for (name, message) in unsent {
            if let Some((name, channel)) = self.channels.iter().find(|(known, _)| known == name) {
                self.enqueue(name, channel, message);
            }
        }
    }

    /// Gives a talk's file to its hook, where there are both, and tells nobody else. Waits for nothing.
    pub fn hand_over(&self, message: &Message) {
        let has_file = message.topic == Topic::TalkDone && message.talk.as_ref().is_some_and(|t| t.path.is_some());
        if let Some(hook) = self.hook.as_ref().filter(|_| has_file)
            && hook.send((message.clone(), self.files.one_more())).is_err()
        {
            tracing::warn!(
                "the notification thread has ended; notify.on_talk_done is called at the next start: {}",
                message.text
            );
        }
    }

    /// Waits until the hook has taken (or given up) all files, however long it takes; without a hook not at all.
    pub async fn files_taken(&self) {
        while self.hook.is_some() && self.files.left() > 0 {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until everything is delivered or given up, at most `patience`, and says what is left.
    pub async fn flush(&self, patience: Duration) -> Undelivered {
        let until = Instant::now() + patience;
        loop {
            let files = if self.hook.is_some() { self.files.left() } else { 0 };
            let left = Undelivered { messages: self.messages.left(), files };
            if left == Undelivered::default() || Instant::now() >= until {
                return left;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

#[derive(Debug)]
enum Channel {
    Command(Vec<String>, Duration),
    Webhook(String),
}

impl Channel {
    async fn send(&self, message: &Message, sender: &Sender) -> Result<(), String> {
        match self {
            Self::Command(words, most) => program::run(words, message, sender, *most).await,
            Self::Webhook(url) => web::post(url, &json(message, sender)).await,
        }
    }

    /// Its setting.
    fn name(&self) -> &'static str {
        match self {
            Self::Command(..) => COMMAND,
            Self::Webhook(_) => WEBHOOK,
        }
    }
}

/// Delivers one after another; when there are too many, those that wait go as one.
async fn deliver(how: Channel, mut queue: mpsc::Receiver<Told>, sender: Sender) {
    let began = Instant::now();
    let now = || Ms(i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX));
    let mut pace = TokenBucket::new(now());
    while let Some((first, first_under_way)) = queue.recv().await {
        let (mut waiting, mut under_way) = (vec![first], vec![first_under_way]);
        let mut waited = false;
        while let wait @ 1.. = pace.take(now()) {
            waited = true;
            tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())).await;
        }
        while let Some((next, one_more)) = waited.then(|| queue.try_recv().ok()).flatten() {
            waiting.push(next);
            under_way.push(one_more);
        }
        let message = together(&waiting);
        if let Err(why) = how.send(&message, &sender).await {
            tracing::error!("{}: {why}; message not delivered: {}", how.name(), message.text);
        }
        drop(under_way);
    }
}

/// Hands joined files to the hook, one after another, and tells which it has taken.
async fn hand_over(
    how: Channel,
    mut queue: mpsc::UnboundedReceiver<Sent>,
    sender: Sender,
    taken: mpsc::UnboundedSender<HookAccepted>,
) {
    while let Some((message, under_way)) = queue.recv().await {
        match (how.send(&message, &sender).await, message.talk.as_ref().and_then(|talk| talk.assembly)) {
            (Ok(()), Some(assembly)) => drop(taken.send(HookAccepted { assembly, _under_way: under_way })),
            (Ok(()), None) => {}
            (Err(why), _) => {
                tracing::error!("notify.on_talk_done: {why}; tried again at the next start: {}", message.text);
            }
        }
    }
}

/// One message that stands for all of these (at least one).
fn together(all: &[Message]) -> Message {
    match all {
        [one] => one.clone(),
        _ => {
            let (newest, oldest) = (all.iter().map(|m| m.at).max(), all.iter().map(|m| m.since).min());
            let lines: Vec<_> = all.iter().take(MAX_BATCH).map(|m| m.text.as_str()).collect();
            let more = all.len().saturating_sub(MAX_BATCH);
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
        if age() < MAX_RECONCILE_AGE {
            match web::get(&url).await {
                Ok(()) => failed = false,
                Err(why) if !std::mem::replace(&mut failed, true) => {
                    tracing::warn!("notify.heartbeat: {why}; trying again each minute");
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(HEARTBEAT_INTERVAL).await;
    }
}

/// Sends one message on every way that is set, and says for each (by its setting) what came of it. The hook of joined
/// files is not among them: there is no file.
pub async fn try_all(settings: &Notify, sender: &Sender, message: &Message) -> Vec<(&'static str, Result<(), String>)> {
    let command = (!settings.command.is_empty()).then(|| Channel::Command(settings.command.clone(), COMMAND_TIMEOUT));
    let webhook = settings.webhook.as_ref().map(|url| Channel::Webhook(url.0.clone()));
    let mut out = Vec::new();
    for how in command.into_iter().chain(webhook) {
        let answer = match &how {
            // Without the tries that an alarm gets.
            Channel::Webhook(url) => web::once(url, &json(message, sender)).await.map_err(|e| e.why),
            Channel::Command(..) => how.send(message, sender).await,
        };
        out.push((how.name(), answer.map_err(|why| shortened(&why, 300))));
    }
    out
}

#[cfg(test)]
mod tests;
