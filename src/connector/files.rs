//! Batches of records in a directory, for whoever fetches them there.
//!
//! Promises: a batch appears whole or not at all, and what it says is never in another one, whatever crashes. The order
//! that makes it so: an empty hidden file of the batch's name; the marks of its records, which bear that name; the rows,
//! synced; the renaming; the outcomes. A mark whose hidden file is still there was not published, any other was.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Connector, Desk, Started};
use crate::core::Lane;
use crate::core::ids::Timestamp;
use crate::core::record::{Act, Contents, Field, Outcome};
use crate::emit;
use crate::store::{Due, Error};
use crate::telemetry::{self, BATCH_WRITTEN, CONNECTOR_PAUSED};
use crate::template::{Format, shown};

/// Rows in a batch at most, of each class.
const ROWS: u32 = 1000;
/// Longer than a batch takes to be written.
const LEASE: Duration = Duration::from_secs(30);
/// A directory that can't be written may be soon.
const PAUSE: Duration = Duration::from_secs(10);

/// How an access system is told by files.
#[derive(Clone, Debug)]
pub struct Files {
    /// Where they appear.
    pub directory: PathBuf,
    /// How rows are written.
    pub format: Format,
    /// What a row says, in this order.
    pub fields: Vec<Field>,
    /// Between two batches, so that they are few.
    pub every: Duration,
}

impl Desk {
    /// Writes one batch of what is due; returns when to ask again, unless something is committed meanwhile.
    pub async fn batch(&self, files: &Files) -> Result<Option<Timestamp>, Error> {
        let due = self.connector.due(&self.engine, ROWS).await?;
        let due = self.resolve(files, due).await?;
        if due.is_empty() {
            return self.connector.next_due(&self.engine).await;
        }
        // Its first bytes are the time that all daemons have in common, so names sort by age.
        let now = u64::try_from(self.engine.now().0).unwrap_or_default();
        let nanos = u32::try_from(now % 1000 * 1_000_000).unwrap_or_default();
        let token = Uuid::new_v7(uuid::Timestamp::from_unix(
            uuid::NoContext,
            now / 1000,
            nanos,
        ));
        if let Err(error) = off_thread(files, move |files| reserve(&files, token)).await {
            return Ok(Some(self.cannot_write(&error)));
        }
        let mut started = Vec::new();
        for due in &due {
            started.extend(Connector::start(&self.engine, due, token, LEASE).await?);
        }
        let rows = started.clone();
        let written = off_thread(files, move |files| publish(&files, token, &rows)).await;
        let outcome = match &written {
            Ok(()) => Outcome::Done,
            Err(_) => Outcome::Refused,
        };
        for started in &started {
            self.connector.end(&self.engine, started, outcome).await?;
        }
        if let Err(error) = written {
            let next = self.cannot_write(&error);
            // Only now: while a mark names it, it says that nothing was published.
            fs::remove_file(hidden(files, token)).ok();
            return Ok(Some(next));
        }
        let (name, rows) = (&self.connector.name, started.len());
        emit!(BATCH_WRITTEN, access_system.name = %name, batch.id = %token, batch.rows = rows;
            "batch {token} of {rows} rows for {name} written");
        Ok(Some(self.engine.now().plus(files.every)))
    }

    /// Settles what a former owner left under way; returns what remains due.
    async fn resolve(&self, files: &Files, due: Vec<Due>) -> Result<Vec<Due>, Error> {
        let mut remaining = Vec::new();
        let mut tokens = BTreeSet::new();
        for due in due {
            let Lane::Record(id) = due.lane else { continue };
            let loaded = self.engine.store().load(due.identity).await?;
            let call = loaded.as_ref().and_then(|loaded| {
                let (_, _, child) = loaded.identity.child(id)?;
                child.record.call.clone()
            });
            let Some(call) = call else {
                remaining.push(due);
                continue;
            };
            let unpublished = hidden(files, call.token).exists();
            let outcome = if unpublished {
                Outcome::Refused
            } else {
                Outcome::Done
            };
            tokens.insert(call.token);
            let started = Started {
                identity: due.identity,
                child: id,
                call,
                lease_ends: Duration::ZERO,
            };
            self.connector.end(&self.engine, &started, outcome).await?;
        }
        if tokens.is_empty() {
            sweep(files, self.engine.now());
        }
        Ok(remaining)
    }

    fn cannot_write(&self, error: &io::Error) -> Timestamp {
        let (name, error) = (&self.connector.name, telemetry::chain(error));
        emit!(CONNECTOR_PAUSED, access_system.name = %name, condition = "unwritable", error = %error;
            "access system {name}: its directory can't be written: {error}");
        self.engine.now().plus(PAUSE)
    }
}

/// A disk may hang for long.
async fn off_thread(
    files: &Files,
    work: impl FnOnce(Files) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let files = files.clone();
    let done = tokio::task::spawn_blocking(move || work(files)).await;
    done.map_err(io::Error::other)?
}

fn hidden(files: &Files, token: Uuid) -> PathBuf {
    files.directory.join(format!(".{token}.tmp"))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The empty hidden file: from now on a mark of this name is known to be unpublished.
fn reserve(files: &Files, token: Uuid) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o640);
    options.open(hidden(files, token))?.sync_all()?;
    sync_directory(&files.directory)
}

fn publish(files: &Files, token: Uuid, started: &[Started]) -> io::Result<()> {
    let hidden = hidden(files, token);
    if started.is_empty() {
        return fs::remove_file(hidden);
    }
    let mut file = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&hidden)?;
    file.write_all(&rows(files, started)?)?;
    file.sync_all()?;
    let name = format!("{token}.{}", files.format.extension());
    fs::rename(&hidden, files.directory.join(name))?;
    sync_directory(&files.directory)
}

fn rows(files: &Files, started: &[Started]) -> io::Result<Vec<u8>> {
    let rows = started.iter().map(|started| match &started.call.act {
        Act::Put(contents) => ("put", contents),
        Act::Remove(contents) => ("remove", contents),
    });
    match files.format {
        Format::Ndjson => {
            let mut text = Vec::new();
            for (act, contents) in rows {
                serde_json::to_writer(&mut text, &object(files, act, contents))?;
                text.push(b'\n');
            }
            Ok(text)
        }
        Format::Csv => {
            let mut text = csv::Writer::from_writer(Vec::new());
            let names = files.fields.iter().map(|field| field.name());
            text.write_record(std::iter::once("act").chain(names))?;
            for (act, contents) in rows {
                let fields = files.fields.iter();
                let fields = fields.map(|field| shown(*field, contents).unwrap_or_default());
                text.write_record(std::iter::once(act.to_owned()).chain(fields))?;
            }
            text.into_inner().map_err(csv::IntoInnerError::into_error)
        }
    }
}

fn object(files: &Files, act: &str, contents: &Contents) -> Map<String, Value> {
    let fields = files.fields.iter();
    let fields = fields.map(|field| {
        let value = shown(*field, contents).map_or(Value::Null, Value::String);
        (field.name().to_owned(), value)
    });
    let act = ("act".to_owned(), Value::from(act));
    std::iter::once(act).chain(fields).collect()
}

/// Hidden files that no mark names any more: marks end long before a day is over.
fn sweep(files: &Files, now: Timestamp) {
    let Ok(entries) = fs::read_dir(&files.directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let token = name
            .to_str()
            .and_then(|name| name.strip_prefix('.')?.strip_suffix(".tmp"));
        let Some(token) = token.and_then(|token| Uuid::try_parse(token).ok()) else {
            continue;
        };
        let made = token.get_timestamp().map_or(0, |made| made.to_unix().0);
        let made = Timestamp(i64::try_from(made).unwrap_or(0).saturating_mul(1000));
        if now.since(made) > Duration::from_hours(24) {
            fs::remove_file(entry.path()).ok();
        }
    }
}
