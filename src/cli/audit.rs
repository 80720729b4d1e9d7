//! `audit verify`: the journal as it lies in the database.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{FAILED, load_store, runtime, say, unavailable};
use crate::config::Place;
use crate::daemon;
use crate::store::journal::{Audit, hex};
use crate::store::postgres;
use crate::store::sqlite::audit;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check that nobody changed, put in or took out a row of the journal; the daemon may run
    Verify(Verify),
}

#[derive(Args, Debug)]
pub(super) struct Verify {
    /// The `journal.heads` of a heartbeat or of the daemon's end since which nothing was written: the ends must be the
    /// same, too
    #[arg(long, value_name = "HASH")]
    heads: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Exit code 1 where a row is not as it was written.
pub(super) fn verify(config: Option<&Path>, options: &Verify) -> anyhow::Result<ExitCode> {
    let place = load_store(config)?.place;
    let audit = match &place {
        Place::Sqlite(path) => audit::verify(path),
        Place::Postgres(place) => {
            let settings = daemon::database(place);
            runtime(1)?.block_on(postgres::audit::verify(&settings))
        }
    };
    let audit = audit.map_err(anyhow::Error::from);
    let audit = audit
        .map_err(unavailable)
        .with_context(|| format!("reading the journal of {place}"))?;
    let (ok, shown, told) = match audit {
        Audit::Broken(broken) => {
            let shown = json!({"ok": false, "identity": broken.identity, "seq": broken.seq});
            (false, shown, broken.to_string())
        }
        Audit::Whole { rows, heads } => {
            let found = hex(&heads.hash);
            let expected = options.heads.as_deref().unwrap_or(&found);
            let ok = found == expected;
            let shown =
                json!({"ok": ok, "rows": rows, "identities": heads.identities, "heads": found});
            let told = if ok {
                format!(
                    "{rows} rows of {} identities are as they were written; heads {found}",
                    heads.identities
                )
            } else {
                format!(
                    "rows are missing at the end of a journal, or were added: the heads are {found}"
                )
            };
            (ok, shown, told)
        }
    };
    say(&if options.json {
        serde_json::to_string_pretty(&shown)?
    } else {
        told
    })?;
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}
