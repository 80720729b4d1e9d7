//! A configuration that keeps the daemon from starting, told in its log as well as on stderr.

use crate::config::{self, Config};
use crate::emit;
use crate::telemetry::{self, CONFIG_REFUSED, Format};

/// Passes on what was loaded. What is wrong with it is logged where the daemon starts, or where systemd checks before
/// it does; to a person stderr says enough.
pub(super) fn told(
    loaded: Result<Config, config::Error>,
    starts: bool,
) -> Result<Config, config::Error> {
    let stream = config::journal_stream();
    let Err(error) = &loaded else { return loaded };
    if !starts && !telemetry::leads_to_journal(stream.as_deref()) {
        return loaded;
    }
    // How it wants to log may be among what is wrong. A log that can't be started leaves stderr.
    if telemetry::init(Format::Auto, tracing::Level::INFO, stream.as_deref()).is_ok() {
        for complaint in &error.complaints {
            let key = &complaint.key;
            emit!(CONFIG_REFUSED, config.key = %key, error = %complaint; "{complaint}");
        }
    }
    loaded
}
