//! The journal as a place for lines: systemd's native protocol, in which each field of an event is a field.
//!
//! A field's name is upper-cased, and each `.` is a `_`: `identity.id` is `IDENTITY_ID`.

use std::io::{self, stdout};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use tracing_journald::{Layer, Priority, PriorityMappings};

/// What `journalctl -t` selects by.
const IDENTIFIER: &str = "origo-adapter";

/// A layer that writes there; fails where no journal listens.
pub(super) fn layer() -> io::Result<Layer> {
    let priorities = PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    };
    Ok(Layer::new()?
        .with_field_prefix(None)
        .with_syslog_identifier(IDENTIFIER.to_owned())
        .with_priority_mappings(priorities))
}

/// Lines go to the journal in this thread.
pub(super) fn is_used() -> bool {
    tracing::dispatcher::get_default(tracing::Dispatch::is::<Layer>)
}

/// Tells whether stdout is the stream that systemd named in `JOURNAL_STREAM`: device and inode. Somebody may have led
/// it elsewhere since.
pub(super) fn is_stdout(stream: &str) -> bool {
    let named = stream.split_once(':');
    let named = named.and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    named.is_some() && named == identity_of_stdout().ok()
}

fn identity_of_stdout() -> io::Result<(u64, u64)> {
    let stdout = stdout().as_fd().try_clone_to_owned()?;
    let metadata = std::fs::File::from(stdout).metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}
