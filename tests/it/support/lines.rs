//! What is logged in a test's own thread while it looks on.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use serde_json::Value;
use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

/// Every line since it was made, as JSON.
pub(crate) struct Lines {
    page: Page,
    _listening: DefaultGuard,
}

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

/// With a single subscriber in the whole process, `tracing` asks only the thread that meets an event first whether
/// anybody listens; with two it asks both.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

impl Lines {
    /// Listens until it is dropped.
    pub(crate) fn listen() -> Self {
        LazyLock::force(&SECOND);
        let page = Page::default();
        let writer = page.clone();
        let lines = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone())
            .with_filter(LevelFilter::DEBUG);
        let subscriber = tracing_subscriber::registry().with(lines);
        Self {
            page,
            _listening: tracing::subscriber::set_default(subscriber),
        }
    }

    /// As written.
    pub(crate) fn written(&self) -> Vec<String> {
        let page = self.page.0.lock().unwrap();
        let text = std::str::from_utf8(&page).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The lines of one event.
    pub(crate) fn told(&self, event: &str) -> Vec<Value> {
        let lines = self.written();
        let lines = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &Value| line["event"] == event)
            .collect()
    }
}
