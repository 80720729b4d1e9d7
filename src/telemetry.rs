//! Logs: the subscriber, and the closed list of events.
//!
//! Imports nothing of ours. One line is one event, written with [`emit!`](crate::emit); it
//! has a stable `event` and an `id` that is never used for anything else. The list is
//! explained in `docs/log-events.md`; a test holds the two together. How often each was
//! written is counted, whatever the level, for as long as the process lives.

mod journal;

use std::fs::File;
use std::io::{IsTerminal as _, stdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry};
use uuid::Uuid;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Journald under systemd, text on a terminal, else JSON.
    Auto,
    Journald,
    Json,
    Text,
}

/// Starts logging to stdout or the journal; fails if that was done before.
///
/// `level` is about our own lines: below `warn`, libraries print what we promised never to.
/// `stream` is what systemd says of stdout ([`leads_to_journal`]). Where no journal listens,
/// lines are JSON on stdout, and the first of them says so.
pub fn init(format: Format, level: Level, stream: Option<&str>) -> Result<(), TryInitError> {
    let to_journal = match format {
        Format::Auto => leads_to_journal(stream),
        Format::Journald => true,
        Format::Json | Format::Text => false,
    };
    let json = match format {
        Format::Auto => !stdout().is_terminal(),
        Format::Journald | Format::Json => true,
        Format::Text => false,
    };
    let (filter, handle) = reload::Layer::new(filter(level));
    let missing = match to_journal.then(journal::layer) {
        Some(Ok(layer)) => {
            let layer = layer.with_filter(filter);
            tracing_subscriber::registry().with(layer).try_init()?;
            FILTER.get_or_init(|| handle);
            return Ok(());
        }
        Some(Err(error)) => Some(error),
        None => None,
    };
    tracing_subscriber::registry()
        .with(lines(json, stdout).with_filter(filter))
        .try_init()?;
    FILTER.get_or_init(|| handle);
    if let Some(error) = missing {
        crate::emit!(LOG_ELSEWHERE, error = %error; "no journal listens, so lines are JSON on stdout: {error}");
    }
    Ok(())
}

/// What [`init`] lets through.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Logs another level from now on, where [`init`] started the log.
pub fn set_level(level: Level) {
    if let Some(handle) = FILTER.get() {
        // Fails only where the subscriber is gone, and then nothing is logged at all.
        handle.reload(filter(level)).ok();
    }
}

/// Tells whether what we say ends up in systemd's journal; `stream` is `JOURNAL_STREAM` of the environment.
#[must_use]
pub fn leads_to_journal(stream: Option<&str>) -> bool {
    stream.is_some_and(journal::is_stdout)
}

/// Starts logging to a file, as text; fails if logging was started before.
pub fn init_file(file: File, level: Level) -> Result<(), TryInitError> {
    tracing_subscriber::registry()
        .with(lines(false, Arc::new(file)).with_filter(filter(level)))
        .try_init()
}

fn lines<S, W>(json: bool, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(writer);
    if json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.boxed()
    }
}

fn filter(level: Level) -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN)
        // What its pool warns of, the verb that it happened to tells.
        .with_target("sqlx", LevelFilter::ERROR)
        .with_target("origo_adapter", level)
}

/// An entry of the list; only this module makes any.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    id: &'static str,
    name: &'static str,
    level: Level,
    index: usize,
}

/// From it and an event's `id` follows the event's message id, so that none is kept by hand.
const MESSAGE_IDS: Uuid = Uuid::from_u128(0x9dc6_3b0f_52a4_4be1_9c02_6f6f_7269_676f);

impl Event {
    /// Returns the number, `OA-1001`, which is never used again.
    pub const fn id(&self) -> &'static str {
        self.id
    }

    /// Returns the name, `poll.done`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the level, chosen by who must act.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Returns the name under which the journal's catalog explains it, the same for ever.
    #[must_use]
    pub fn message_id(&self) -> Uuid {
        Uuid::new_v5(&MESSAGE_IDS, self.id.as_bytes())
    }

    /// Returns how often it was written by this process, or would have been at the level `debug`.
    #[must_use]
    pub fn count(&self) -> u64 {
        COUNTS[self.index].load(Ordering::Relaxed)
    }

    /// For [`emit!`](crate::emit) alone: one more.
    #[doc(hidden)]
    pub fn note(&self) {
        COUNTS[self.index].fetch_add(1, Ordering::Relaxed);
    }

    /// For [`emit!`](crate::emit) alone: the message id, where the line goes to the journal.
    #[doc(hidden)]
    #[must_use]
    pub fn journal_id(&self) -> Option<String> {
        journal::is_used().then(|| self.message_id().simple().to_string())
    }
}

macro_rules! events {
    ($($constant:ident = $id:literal $name:literal $level:ident;)+) => {
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "named after the constants")]
        enum Index {
            $($constant),+
        }

        $(
            #[doc = concat!("`", $name, "`, see `docs/log-events.md`.")]
            pub const $constant: Event = Event {
                id: $id,
                name: $name,
                level: Level::$level,
                index: Index::$constant as usize,
            };
        )+

        /// Every event, in the order of ids.
        pub const EVENTS: &[Event] = &[$($constant),+];
    };
}

/// By the order of [`EVENTS`]; the process's, as the subscriber is.
static COUNTS: [AtomicU64; EVENTS.len()] = [const { AtomicU64::new(0) }; EVENTS.len()];

events! {
    DAEMON_STARTING = "OA-1001" "daemon.starting" INFO;
    DAEMON_READY = "OA-1002" "daemon.ready" INFO;
    DAEMON_DRAINING = "OA-1003" "daemon.draining" INFO;
    DAEMON_STOPPED = "OA-1004" "daemon.stopped" INFO;
    CONFIG_REFUSED = "OA-1005" "config.refused" ERROR;
    LOOP_DIED = "OA-1006" "loop.died" ERROR;
    LOOP_STALLED = "OA-1007" "loop.stalled" ERROR;
    HEARTBEAT = "OA-1008" "heartbeat" INFO;
    SIMULATOR_LISTENING = "OA-1009" "simulator.listening" INFO;
    HOLD_SET = "OA-1011" "hold.set" WARN;
    HOLD_RELEASED = "OA-1012" "hold.released" INFO;
    CONFIG_RELOADED = "OA-1013" "config.reloaded" INFO;
    CONFIG_LATER = "OA-1014" "config.later" WARN;
    LOG_ELSEWHERE = "OA-1021" "log.elsewhere" WARN;
    POLL_DONE = "OA-2001" "poll.done" DEBUG;
    POLL_FAILED = "OA-2002" "poll.failed" WARN;
    POLL_RECOVERED = "OA-2003" "poll.recovered" INFO;
    FEED_DEAF = "OA-2004" "feed.deaf" ERROR;
    FEED_HEARD = "OA-2005" "feed.heard" INFO;
    FEED_CUT = "OA-2006" "feed.cut" ERROR;
    CALLBACK_LISTENING = "OA-2007" "callback.listening" INFO;
    CALLBACK_HEEDED = "OA-2008" "callback.heeded" DEBUG;
    CALLBACK_REFUSED = "OA-2009" "callback.refused" WARN;
    IDENTITY_CHANGED = "OA-3001" "identity.changed" INFO;
    IDENTITY_IGNORED = "OA-3002" "identity.ignored" DEBUG;
    KEY_STUCK = "OA-3003" "key.stuck" ERROR;
    GUARD_HELD = "OA-3004" "guard.held" ERROR;
    PEOPLE_APPLIED = "OA-3005" "people.applied" INFO;
    PEOPLE_REFUSED = "OA-3006" "people.refused" WARN;
    DRIFT_FOUND = "OA-3007" "drift.found" WARN;
    WITHDRAWAL_LATE = "OA-3008" "withdrawal.late" ERROR;
    EFFECT_DONE = "OA-4001" "effect.done" DEBUG;
    EFFECT_RETRY = "OA-4002" "effect.retry" WARN;
    EFFECT_GAVE_UP = "OA-4003" "effect.gave_up" ERROR;
    SERVICE_PAUSED = "OA-4004" "service.paused" WARN;
    SERVICE_RESUMED = "OA-4005" "service.resumed" INFO;
    CLAIM_LOST = "OA-4006" "claim.lost" WARN;
    CLAIM_RECOVERED = "OA-4007" "claim.recovered" INFO;
    WINDOW_LOWERED = "OA-4008" "window.lowered" WARN;
    MANAGER_QUARANTINED = "OA-4011" "manager.quarantined" ERROR;
    MANAGER_TAKEN_BACK = "OA-4012" "manager.taken_back" INFO;
    RECORD_DONE = "OA-4101" "record.done" DEBUG;
    RECORD_REFUSED = "OA-4102" "record.refused" WARN;
    BATCH_WRITTEN = "OA-4103" "batch.written" INFO;
    CONNECTOR_PAUSED = "OA-4104" "connector.paused" WARN;
    CONNECTOR_RESUMED = "OA-4105" "connector.resumed" INFO;
    STOCK_LOW = "OA-4201" "stock.low" WARN;
    STOCK_UNREAD = "OA-4202" "stock.unread" WARN;
    STOCK_REPLENISHED = "OA-4203" "stock.replenished" INFO;
    ADOPTED = "OA-4301" "adopt.done" INFO;
    ADOPT_FAILED = "OA-4302" "adopt.waits" WARN;
    STORE_FAILED = "OA-5001" "store.failed" ERROR;
    STORE_DAMAGED = "OA-5002" "store.damaged" ERROR;
    STORE_STANDBY = "OA-5003" "store.standby" INFO;
    STORE_REGRESSED = "OA-5011" "store.regressed" ERROR;
    STORE_CAUGHT_UP = "OA-5012" "store.caught_up" INFO;
    HEAD_FAILED = "OA-5013" "head.failed" WARN;
    CLOCK_OFF = "OA-5014" "clock.off" WARN;
    API_REQUEST = "OA-6001" "api.request" DEBUG;
    API_FAILED = "OA-6002" "api.failed" ERROR;
    WEBHOOK_DELIVERED = "OA-7001" "webhook.delivered" DEBUG;
    WEBHOOK_FAILED = "OA-7002" "webhook.failed" WARN;
    WEBHOOK_DISABLED = "OA-7003" "webhook.disabled" ERROR;
}

/// An error with all that caused it, outermost first.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Writes one line: `emit!(POLL_DONE, feed.name = %name, calls = 3; "read {name}")`.
///
/// Fields are `dotted.key = value`, with `%` or `?` before the value for `Display` or
/// `Debug`, or a lone variable. A message follows the semicolon and is formatted like
/// [`format!`]. `event` and `id` are added, and `message_id` in the journal.
#[macro_export]
macro_rules! emit {
    ($event:path; $($message:tt)+) => {
        $crate::emit!(@ $event; []; $($message)+)
    };
    ($event:path, $($rest:tt)+) => {
        $crate::emit!(@ $event; [] $($rest)+)
    };
    (@ $event:path; [$($fields:tt)*]; $($message:tt)+) => {{
        $event.note();
        ::tracing::event!(
            $event.level(),
            event = $event.name(),
            id = $event.id(),
            message_id = $event.journal_id(),
            $($fields)*
            $($message)+
        )
    }};
    (@ $event:path; [$($fields:tt)*] , $($rest:tt)+) => {
        $crate::emit!(@ $event; [$($fields)*] $($rest)+)
    };
    (@ $event:path; [$($fields:tt)*] $($key:ident).+ = % $value:expr, $($rest:tt)+) => {
        $crate::emit!(@ $event; [$($fields)* $($key).+ = % $value,] $($rest)+)
    };
    (@ $event:path; [$($fields:tt)*] $($key:ident).+ = % $value:expr; $($rest:tt)+) => {
        $crate::emit!(@ $event; [$($fields)* $($key).+ = % $value,]; $($rest)+)
    };
    (@ $event:path; [$($fields:tt)*] $($key:ident).+ = ? $value:expr, $($rest:tt)+) => {
        $crate::emit!(@ $event; [$($fields)* $($key).+ = ? $value,] $($rest)+)
    };
    (@ $event:path; [$($fields:tt)*] $($key:ident).+ = ? $value:expr; $($rest:tt)+) => {
        $crate::emit!(@ $event; [$($fields)* $($key).+ = ? $value,]; $($rest)+)
    };
    (@ $event:path; [$($fields:tt)*] $($key:ident).+ = $value:expr, $($rest:tt)+) => {
        $crate::emit!(@ $event; [$($fields)* $($key).+ = $value,] $($rest)+)
    };
    (@ $event:path; [$($fields:tt)*] $($key:ident).+ = $value:expr; $($rest:tt)+) => {
        $crate::emit!(@ $event; [$($fields)* $($key).+ = $value,]; $($rest)+)
    };
    (@ $event:path; [$($fields:tt)*] $key:ident, $($rest:tt)+) => {
        $crate::emit!(@ $event; [$($fields)* $key = $key,] $($rest)+)
    };
    (@ $event:path; [$($fields:tt)*] $key:ident; $($rest:tt)+) => {
        $crate::emit!(@ $event; [$($fields)* $key = $key,]; $($rest)+)
    };
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn of(json: bool, level: Level, write: impl FnOnce()) -> Vec<String> {
            let page = Self::default();
            let writer = page.clone();
            let subscriber = tracing_subscriber::registry()
                .with(lines(json, move || writer.clone()).with_filter(filter(level)));
            tracing::subscriber::with_default(subscriber, write);
            let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    #[test]
    fn a_line_of_json_has_event_id_fields_and_message_on_top() {
        let name = "hq";
        let calls = 3;
        let delay: Option<u32> = None;
        let lines = Page::of(true, Level::DEBUG, || {
            emit!(POLL_DONE, feed.name = %name, feed.delay = ?delay, calls, found = calls - 1;
                "feed {name}: {} calls", calls);
            emit!(DAEMON_READY; "ready");
        });
        let first: Value = serde_json::from_str(&lines[0]).unwrap();
        for (key, value) in [
            ("level", "DEBUG".into()),
            ("event", "poll.done".into()),
            ("id", "OA-2001".into()),
            ("feed.name", "hq".into()),
            ("feed.delay", "None".into()),
            ("calls", 3.into()),
            ("found", 2.into()),
            ("message", "feed hq: 3 calls".into()),
        ] {
            let value: Value = value;
            assert_eq!(first[key], value, "{key} in {first}");
        }
        let second: Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!(second["id"], "OA-1002");
        assert_eq!(second["message"], "ready");
    }

    #[test]
    fn text_says_the_same() {
        let lines = Page::of(false, Level::INFO, || {
            emit!(FEED_HEARD, feed.name = "hq"; "feed hq is heard again");
        });
        let (_, said) = lines[0].split_once(": ").unwrap();
        assert_eq!(
            said,
            r#"feed hq is heard again event="feed.heard" id="OA-2005" feed.name="hq""#
        );
    }

    #[test]
    fn the_level_is_about_our_own_lines() {
        let lines = Page::of(true, Level::DEBUG, || {
            emit!(POLL_DONE; "shown");
            tracing::debug!(target: "hyper", "a header with a token in it");
            tracing::warn!(target: "hyper", "shown");
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        let lines = Page::of(true, Level::INFO, || emit!(POLL_DONE; "hidden"));
        assert!(lines.is_empty(), "{lines:?}");
    }

    #[test]
    fn ids_and_names_are_used_once() {
        let unique = |get: fn(&Event) -> &'static str| {
            let mut seen: Vec<_> = EVENTS.iter().map(get).collect();
            seen.sort_unstable();
            seen.dedup();
            seen.len()
        };
        assert_eq!(unique(Event::id), EVENTS.len());
        assert_eq!(unique(Event::name), EVENTS.len());
    }
}
