//! `show ID` and `history ID`: one person, now and before.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::list;
use super::remote::{Asked, text};

#[derive(Args, Debug)]
pub(super) struct Show {
    /// Of an identity, automation, phone, credential or ACS user
    id: String,
    #[command(flatten)]
    asked: Asked,
}

/// Prints the person with all that is theirs.
pub(super) fn show(config: Option<&Path>, options: &Show) -> anyhow::Result<ExitCode> {
    let query = [("id", options.id.as_str())];
    options.asked.ask(config, "/adapter/show", &query, told)
}

/// Prints the person's journal, oldest first.
pub(super) fn history(config: Option<&Path>, options: &Show) -> anyhow::Result<ExitCode> {
    let query = [("id", options.id.as_str())];
    let asked = &options.asked;
    asked.page_through(config, ("/adapter/history", "history"), &query, entry)
}

fn told(shown: &Value) -> String {
    let person = &shown["user_identity"];
    let name = person["display_name"].as_str().unwrap_or("-");
    let mut lines = vec![format!("{name}  {}", text(&person["user_identity_id"]))];
    for row in shown["objects"].as_array().into_iter().flatten() {
        let kind = text(&row["object_type"]);
        lines.push(format!("  {kind}  {}", list::line(row)));
    }
    lines.join("\n")
}

fn entry(row: &Value) -> String {
    let state = |state: &Value| state.as_str().unwrap_or("none").to_owned();
    format!(
        "{}  {}  {} -> {}  by {}",
        text(&row["at"]),
        text(&row["entity"]),
        state(&row["from"]),
        state(&row["to"]),
        text(&row["cause"])
    )
}
