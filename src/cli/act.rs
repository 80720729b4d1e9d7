//! Commands that ask a running daemon to do something with one thing, and tell how it stands then.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::remote::{Asked, why};

/// Something of a person.
#[derive(Args, Debug)]
pub(super) struct Act {
    /// Of an identity, automation, phone, credential or ACS user
    id: String,
    #[command(flatten)]
    asked: Asked,
}

/// Something that is not ours.
#[derive(Args, Debug)]
pub(super) struct RemoveOrphan {
    /// As `list orphans` shows it
    id: String,
    #[command(flatten)]
    asked: Asked,
}

/// Asks for it, and tells what is waited for then.
pub(super) fn act(config: Option<&Path>, path: &str, act: &Act) -> anyhow::Result<ExitCode> {
    act.asked.order(config, path, &json!({ "id": act.id }), why)
}

/// Asks for the removal of one orphan.
pub(super) fn remove_orphan(
    config: Option<&Path>,
    asked: &RemoveOrphan,
) -> anyhow::Result<ExitCode> {
    let body = json!({ "orphan_id": asked.id });
    (asked.asked).order(config, "/adapter/orphans/remove", &body, removed)
}

fn removed(orphan: &Value) -> String {
    let text = |name| orphan[name].as_str().unwrap_or("-");
    format!(
        "{} {} is being removed",
        text("object_type"),
        text("hid_id")
    )
}
