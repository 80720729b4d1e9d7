//! What the audience sees: lines with the time beside them, and on a terminal what is being waited for.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock::{Clock as _, SystemClock};

/// Between two turns of the spinner.
const TURN: Duration = Duration::from_millis(100);

/// The audience's side.
pub(super) struct Show {
    began: Duration,
    bar: ProgressBar,
}

impl Show {
    /// Begins to count the time.
    pub(super) fn begin() -> Self {
        // Hidden by itself where stderr is no terminal.
        let bar = if io::stdout().is_terminal() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos}/{len}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TURN);
        Self {
            began: SystemClock.boottime(),
            bar,
        }
    }

    /// Since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        SystemClock.boottime().saturating_sub(self.began)
    }

    /// Something happened.
    pub(super) fn tell(&self, text: &str) -> io::Result<()> {
        let at = self.elapsed().as_secs_f64();
        self.say(&format!("{at:6.1} s  {text}"))
    }

    /// A line without a time.
    pub(super) fn say(&self, text: &str) -> io::Result<()> {
        self.bar.suspend(|| writeln!(io::stdout().lock(), "{text}"))
    }

    /// So many of so many are there.
    pub(super) fn progress(&self, what: &str, there: usize, wanted: usize) {
        self.bar.set_message(what.to_owned());
        self.bar
            .set_length(u64::try_from(wanted).unwrap_or(u64::MAX));
        self.bar
            .set_position(u64::try_from(there).unwrap_or(u64::MAX));
    }

    /// Nothing is being waited for any more.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
