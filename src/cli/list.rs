//! `list KIND`: everything of a kind, page by page as it comes.

use std::fmt::{self, Display};
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::orphans;
use super::remote::{Asked, text};

#[derive(Args, Debug)]
pub(super) struct List {
    /// What to list
    #[arg(value_enum)]
    kind: Kind,
    /// Only what is in this state
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// People
    Identities,
    /// Enrollment automations
    Automations,
    /// Phones that are not gone
    Phones,
    /// Credentials: parents, and one child a phone
    Credentials,
    /// What hangs below our people at HID and is not ours
    Orphans,
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identities => "identities",
            Self::Automations => "automations",
            Self::Phones => "phones",
            Self::Credentials => "credentials",
            Self::Orphans => "orphans",
        })
    }
}

/// Prints every row, newest first.
pub(super) fn list(config: Option<&Path>, options: &List) -> anyhow::Result<ExitCode> {
    if let Kind::Orphans = options.kind {
        return orphans::list(config, &options.asked);
    }
    let kind = options.kind.to_string();
    let mut query = vec![("kind", kind.as_str())];
    query.extend(options.state.as_deref().map(|state| ("state", state)));
    let asked = &options.asked;
    asked.page_through(config, ("/adapter/list", "objects"), &query, line)
}

/// A row as an operator reads it.
pub(super) fn line(row: &Value) -> String {
    let kind = row["object_type"].as_str();
    let reason = row["reason"].as_str();
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    let mut parts = vec![text(&row["id"]), text(&row["state"]) + &reason];
    if let Some(kind @ ("parent" | "child")) = kind {
        parts.push(kind.to_owned());
    }
    let manager = row["credential_manager"].as_str();
    parts.extend(manager.map(str::to_owned));
    if kind != Some("identity") {
        parts.push(format!("of {}", text(&row["user_identity_id"])));
    }
    parts.join("  ")
}
