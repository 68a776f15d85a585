//! Does what the daemon depends on beside streams work: the refresh, and being called?

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Finding, Level};
use crate::app::daemon::sender;
use crate::app::library::report;
use crate::app::schedule::import::series_window;
use crate::app::schedule::refresh;
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::catalog;
use crate::domain::message::{Message, Phase, Topic};
use crate::notify;

/// Fetches each event's schedule as a refresh would, and sends a test message on every way that is set. Changes nothing.
///
/// # Errors
/// When the catalog cannot be read, or there is no such event.
pub async fn check_services(env: &Env, event: Option<&str>, tell: &mpsc::UnboundedSender<Finding>) -> Result<()> {
    let say = |level, kind, what: &str, message: String| {
        let _ = tell.send(Finding { level, kind, what: what.to_owned(), message });
    };
    let now = env.clock.now();
    let (remembered, asked) = {
        let db = catalog::open_reader(&env.data_dir)?;
        let events = catalog::schedule::events(&db)?;
        let asked = event.map(|name| report::find_event(&events, name)).transpose()?;
        (refresh::remembered(&db, now)?, asked)
    };
    let cache = Arc::default();
    for mut one in remembered {
        if asked.is_some_and(|id| id != one.id) {
            continue;
        }
        let name = one.name.clone();
        one.window = series_window(&env.settings, now);
        let fetched = refresh::fetch(one, &cache).await;
        for message in fetched.not_in_schedule_xml() {
            say(Level::Warning, "schedule-xml", &name, message.to_owned());
        }
        match fetched.problem() {
            None => say(Level::Good, "refresh", &name, "its schedule can be read again".to_owned()),
            Some(why) => say(Level::Warning, "refresh", &name, format!("its schedule cannot be read again: {why}")),
        }
    }
    let text = "This is a test: streamrip check asked for it. Nothing is wrong.";
    let message = Message::new(Topic::Test, Phase::News, text, now);
    let told = notify::try_all(&env.settings.notify, &sender(env), &message).await;
    if told.is_empty() {
        let nobody = "nobody is called when something goes wrong: set notify.command or notify.webhook";
        say(Level::Good, "notify", "messages", nobody.to_owned());
    }
    for (way, answer) in told {
        match answer {
            Ok(()) => say(Level::Good, "notify", way, "a test message was taken: did it arrive?".to_owned()),
            Err(why) => say(Level::Warning, "notify", way, format!("a test message was not taken: {why}")),
        }
    }
    Ok(())
}
