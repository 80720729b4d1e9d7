//! `invite ID`: an open invitation for a further phone.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::remote::{Asked, text};
use super::{runtime, say};

#[derive(Args, Debug)]
pub(super) struct Invite {
    /// Of an automation; or any id of a person who has one automation only
    id: String,
    /// Have HID mail it, again where it did before
    #[arg(long)]
    resend: bool,
    #[command(flatten)]
    asked: Asked,
}

/// Prints the invitation: `preparing` until HID has made it.
pub(super) fn invite(config: Option<&Path>, options: &Invite) -> anyhow::Result<ExitCode> {
    let daemon = options.asked.daemon(config)?;
    let asked = json!({ "id": options.id, "resend": options.resend });
    let answer = runtime(1)?.block_on(daemon.post("/adapter/invite", &asked))?;
    let invitation = &answer["invitation"];
    say(&if options.asked.json() {
        serde_json::to_string_pretty(invitation)?
    } else {
        told(invitation)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn told(invitation: &Value) -> String {
    match invitation["invitation_code"].as_str() {
        Some(code) => format!(
            "{}: {code}, until {}",
            text(&invitation["status"]),
            text(&invitation["expires_at"])
        ),
        None => format!(
            "{}: ask again in a moment for its code",
            text(&invitation["status"])
        ),
    }
}
