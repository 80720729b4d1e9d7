//! `backup`, `restore`, `migrate` and `copy`: the database as a whole.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::json;

use super::{load_store, runtime, say, unavailable};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{self, Place};
use crate::core::ids::Timestamp;
use crate::daemon;
use crate::store::journal::hex;
use crate::store::postgres;
use crate::store::sqlite::copies;

#[derive(Args, Debug)]
pub(super) struct Backup {
    /// The new file; it holds names and invitation codes, and is readable by its owner only
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Restore {
    /// A file made by `backup`
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Migrate {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Copy {
    /// An empty PostgreSQL database, as `store.url` would name it
    #[arg(long, value_name = "URL")]
    to: String,
    /// The file with its password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The daemon may run.
pub(super) fn backup(config: Option<&Path>, options: &Backup) -> anyhow::Result<ExitCode> {
    let (path, file) = (sqlite(config, "pg_dump writes a copy")?, &options.file);
    if file.exists() {
        bail!("{} exists, and is not written over", file.display());
    }
    let made = copies::backup(&path, file).map_err(anyhow::Error::from);
    made.map_err(unavailable)
        .with_context(|| format!("copying {} to {}", path.display(), file.display()))?;
    let bytes = file.metadata()?.len();
    tell(
        options.json,
        &json!({ "file": file, "bytes": bytes }),
        &format!(
            "{} holds all of {}: {bytes} bytes",
            file.display(),
            path.display()
        ),
    )
}

/// No daemon may run.
pub(super) fn restore(config: Option<&Path>, options: &Restore) -> anyhow::Result<ExitCode> {
    let (path, file) = (sqlite(config, "pg_restore puts one back")?, &options.file);
    let now = Timestamp(SystemClock.now());
    let kept = copies::restore(file, &path, now).map_err(anyhow::Error::from);
    let kept = kept.map_err(unavailable).with_context(|| {
        format!(
            "putting {} in the place of {}",
            file.display(),
            path.display()
        )
    })?;
    let mut lines = vec![format!(
        "{} is now what {} holds",
        path.display(),
        file.display()
    )];
    if let Some(kept) = &kept {
        lines.push(format!("what it replaced lies in {}", kept.display()));
    }
    lines.push(
        "the daemon will issue nothing to a phone before it has read it once; withdrawals go on"
            .into(),
    );
    let told = json!({ "file": path, "replaced": kept });
    tell(options.json, &told, &lines.join("\n"))
}

/// No daemon may run; it does the same when it starts.
pub(super) fn migrate(config: Option<&Path>, options: &Migrate) -> anyhow::Result<ExitCode> {
    let place = load_store(config)?.place;
    let migrated = match &place {
        Place::Sqlite(path) => copies::migrate(path),
        Place::Postgres(place) => {
            let settings = daemon::database(place);
            runtime(1)?.block_on(postgres::migrate(&settings))
        }
    };
    let migrated = migrated.map_err(anyhow::Error::from);
    let (before, after) = migrated
        .map_err(unavailable)
        .with_context(|| format!("migrating {place}"))?;
    let text = if before == after {
        format!("{place} has schema version {after} already")
    } else {
        format!("{place}: schema version {before} became {after}")
    };
    tell(options.json, &json!({ "from": before, "to": after }), &text)
}

/// No daemon may run, on either.
pub(super) fn copy(config: Option<&Path>, options: &Copy) -> anyhow::Result<ExitCode> {
    let path = match load_store(config)?.place {
        Place::Sqlite(path) => path,
        Place::Postgres(place) => bail!("{place} is PostgreSQL's already"),
    };
    let to = config::Postgres::of(&options.to, options.password_file.as_deref());
    let to = to.map_err(|wrong| anyhow!("--to: {wrong}"))?;
    let now = Timestamp(SystemClock.now());
    let database = daemon::database(&to);
    let copied = runtime(1)?.block_on(postgres::copy::copy(&path, &database, now));
    let copied = copied.map_err(anyhow::Error::from);
    let copied = copied
        .map_err(unavailable)
        .with_context(|| format!("copying {} to {to}", path.display()))?;
    let heads = hex(&copied.journal.hash);
    let text = format!(
        "{to} holds all of {path}: {} rows, each compared; heads {heads}\n\
         name it in store.url, and start; should a daemon be started on {path} again, it issues nothing to a phone before \
         it has read it once",
        copied.rows,
        path = path.display(),
    );
    let told =
        json!({ "rows": copied.rows, "identities": copied.journal.identities, "heads": heads });
    tell(options.json, &told, &text)
}

/// The file that is the database; of one on a server, what does the same there is told.
fn sqlite(config: Option<&Path>, instead: &str) -> anyhow::Result<PathBuf> {
    match load_store(config)?.place {
        Place::Sqlite(path) => Ok(path),
        Place::Postgres(place) => bail!(
            "{place} is PostgreSQL's, and copied by its own programs: {instead}, and the daemon notices one that is older \
             than what was done"
        ),
    }
}

fn tell(json: bool, value: &serde_json::Value, text: &str) -> anyhow::Result<ExitCode> {
    say(&if json {
        serde_json::to_string_pretty(value)?
    } else {
        text.to_owned()
    })?;
    Ok(ExitCode::SUCCESS)
}
