//! `adopt`: asks the daemon to take over what HID has and it does not know.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::remote::{Asked, text};
use super::{runtime, say};

#[derive(Args, Debug)]
pub(super) struct Adopt {
    /// Only count: one call to HID for each 25 users
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asked: Asked,
}

pub(super) fn adopt(config: Option<&Path>, options: &Adopt) -> anyhow::Result<ExitCode> {
    let daemon = options.asked.daemon(config)?;
    let body = json!({ "dry_run": options.dry_run });
    let answer = runtime(1)?.block_on(daemon.post("/adapter/adopt", &body))?;
    let managers = &answer["adoptions"];
    if options.asked.json() {
        say(&serde_json::to_string_pretty(managers)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for manager in managers.as_array().into_iter().flatten() {
        say(&line(manager))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(manager: &Value) -> String {
    let name = text(&manager["credential_manager"]);
    if manager["begun"] == true {
        format!("{name}: begun; nothing new is made there until it is over: see `status`")
    } else {
        let (users, unknown) = (&manager["users"], &manager["unknown"]);
        format!("{name}: {users} users, {unknown} of them unknown here")
    }
}
