//! `hold` and `release`: nothing new for one person, at one manager, or at all.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use super::remote::{Asked, text};
use super::{runtime, say};

#[derive(Args, Debug)]
pub(super) struct Hold {
    /// Any id of a person's, or a credential manager's name or id
    #[arg(value_name = "ID|CM", required_unless_present = "all")]
    target: Option<String>,
    /// Everything
    #[arg(long, conflicts_with = "target")]
    all: bool,
    #[command(flatten)]
    asked: Asked,
}

/// Prints what holds it from now on.
pub(super) fn hold(config: Option<&Path>, options: &Hold) -> anyhow::Result<ExitCode> {
    ask(config, options, "/adapter/hold", "not held")
}

/// Prints what still holds it.
pub(super) fn release(config: Option<&Path>, options: &Hold) -> anyhow::Result<ExitCode> {
    ask(config, options, "/adapter/release", "nothing holds it now")
}

fn ask(
    config: Option<&Path>,
    options: &Hold,
    path: &str,
    nothing: &str,
) -> anyhow::Result<ExitCode> {
    let asked = match &options.target {
        None => json!({ "all": true }),
        Some(id) if Uuid::try_parse(id).is_ok() => json!({ "id": id }),
        Some(name) => json!({ "credential_manager": name }),
    };
    let daemon = options.asked.daemon(config)?;
    let answer = runtime(1)?.block_on(daemon.post(path, &asked))?;
    let holds = &answer["holds"];
    say(&if options.asked.json() {
        serde_json::to_string_pretty(holds)?
    } else {
        let lines: Vec<String> = holds.as_array().into_iter().flatten().map(line).collect();
        if lines.is_empty() {
            nothing.to_owned()
        } else {
            lines.join("\n")
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A hold as an operator reads it.
pub(super) fn line(hold: &Value) -> String {
    let what = match hold["scope"].as_str() {
        Some("all") => "everything".to_owned(),
        Some("credential_manager") => text(&hold["credential_manager"]),
        Some("part_number") => format!(
            "{} of {}",
            text(&hold["part_number"]),
            text(&hold["credential_manager"])
        ),
        Some(_) | None => text(&hold["user_identity_id"]),
    };
    let by = hold["by"]
        .as_str()
        .map_or_else(String::new, |by| format!(" by {by}"));
    let (reason, since) = (text(&hold["reason"]), text(&hold["since"]));
    format!("{what} is held ({reason}){by} since {since}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_told_in_a_line() {
        let told = line(&json!({
            "scope": "credential_manager", "credential_manager": "hq", "reason": "operator", "since": "A", "by": "ops",
        }));
        assert_eq!(told, "hq is held (operator) by ops since A");
        let told = line(&json!({
            "scope": "part_number", "part_number": "MID-1", "credential_manager": "hq",
            "reason": "out_of_stock", "since": "A", "by": "HID",
        }));
        assert_eq!(told, "MID-1 of hq is held (out_of_stock) by HID since A");
        let told = line(&json!({"scope": "all", "reason": "guard", "since": "A", "by": null}));
        assert_eq!(told, "everything is held (guard) since A");
        let told = line(&json!({
            "scope": "user_identity", "user_identity_id": "I", "reason": "operator", "since": "A", "by": null,
        }));
        assert_eq!(told, "I is held (operator) since A");
    }
}
