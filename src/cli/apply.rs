//! `apply FILE` and `plan FILE`: hand rows of people to the daemon (contract.md section 5).

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::remote::{Asked, Daemon, text};
use super::{FAILED, runtime, say};
use crate::core::ids::IdentityId;
use crate::rows::{self, Row};

/// Rows in a request: one answer in a while, and no request that is too large.
const BATCH: usize = 100;
/// Requests under way at once: what they write shares the disk's syncs.
const AT_ONCE: usize = 16;

#[derive(Args, Debug)]
pub(super) struct Apply {
    /// Rows of people: .csv, .json or .toml
    file: PathBuf,
    /// Withdraw what earlier files gave people and this one does not name
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    asked: Asked,
}

/// What is asked of the daemon.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Apply,
    Plan,
}

/// What became of all rows, or would.
#[derive(Default)]
struct Outcome {
    changed: u64,
    unchanged: u64,
    held: u64,
    /// By line.
    refused: Vec<(usize, String)>,
    calls: BTreeMap<String, u64>,
    /// By part number: at least, at most.
    keys: BTreeMap<String, (u64, u64)>,
    /// At most.
    licenses: u64,
    pruned: Value,
}

/// Exit code 1 where a row is refused; the others are applied.
pub(super) fn apply(
    config: Option<&Path>,
    options: &Apply,
    mode: Mode,
) -> anyhow::Result<ExitCode> {
    let path = &options.file;
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("reading {}", path.display()))?;
    let rows = rows::read(path, &text)?;
    let daemon = options.asked.daemon(config)?;
    let mut outcome = runtime(1)?.block_on(send(&daemon, rows, mode, options.prune))?;
    outcome.refused.sort();
    if options.asked.json() {
        say(&serde_json::to_string_pretty(&outcome.json(mode))?)?;
    } else {
        for line in outcome.lines(path, mode) {
            say(&line)?;
        }
    }
    Ok(if outcome.refused.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

impl Outcome {
    fn json(&self, mode: Mode) -> Value {
        let refused = self.refused.iter();
        let refused = refused.map(|(line, message)| json!({"line": line, "message": message}));
        let mut told = json!({
            "changed": self.changed,
            "unchanged": self.unchanged,
            "held": self.held,
            "refused": refused.collect::<Vec<_>>(),
            "pruned": self.pruned,
        });
        if mode == Mode::Plan {
            let keys = self.keys.iter();
            told["calls"] = json!(self.calls);
            told["licenses"] = json!({"at_least": 0, "at_most": self.licenses});
            told["keys"] = keys
                .map(|(part, (least, most))| {
                    json!({"part_number": part, "at_least": least, "at_most": most})
                })
                .collect();
        }
        told
    }

    fn lines(&self, path: &Path, mode: Mode) -> Vec<String> {
        let refused = self.refused.iter();
        let refused =
            refused.map(|(line, message)| format!("{}:{line}: {message}", path.display()));
        let mut lines: Vec<_> = refused.collect();
        let (changed, unchanged, count) = (self.changed, self.unchanged, self.refused.len());
        let will = if mode == Mode::Plan { "would be " } else { "" };
        lines.push(format!(
            "{changed} {will}changed, {unchanged} as they were, {count} refused"
        ));
        if self.held > 0 {
            lines.push(format!(
                "{} {will}held by the guard: `release` them, or put the file right",
                self.held
            ));
        }
        for (call, count) in &self.calls {
            lines.push(format!("{count} {call}"));
        }
        for (part, (least, most)) in &self.keys {
            lines.push(format!("{least} to {most} keys of {part}"));
        }
        if self.licenses > 0 {
            lines.push(format!(
                "0 to {} licences, where HID counts people",
                self.licenses
            ));
        }
        if let Some(credentials) = self.pruned["credentials"].as_u64() {
            let keys = &self.pruned["keys"];
            let held = if self.pruned["held"] == true {
                "; held by the guard: `release` them, or put the file right"
            } else {
                ""
            };
            lines.push(format!(
                "{credentials} credentials with {keys} keys {will}withdrawn{held}"
            ));
        }
        lines
    }

    fn add(&mut self, told: &Value, lines: &[usize]) {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        self.changed += number(&told["changed"]);
        self.unchanged += number(&told["unchanged"]);
        self.held += number(&told["held"]);
        self.licenses += number(&told["licenses"]["at_most"]);
        for refused in told["refused"].as_array().into_iter().flatten() {
            let row = usize::try_from(number(&refused["row"])).ok();
            let line = row
                .and_then(|row| lines.get(row))
                .copied()
                .unwrap_or_default();
            let message = refused["message"].as_str().unwrap_or_default();
            self.refused.push((line, message.to_owned()));
        }
        for (call, count) in told["calls"].as_object().into_iter().flatten() {
            *self.calls.entry(call.clone()).or_default() += number(count);
        }
        for keys in told["keys"].as_array().into_iter().flatten() {
            let part = keys["part_number"].as_str().unwrap_or_default();
            let sum = self.keys.entry(part.to_owned()).or_default();
            sum.0 += number(&keys["at_least"]);
            sum.1 += number(&keys["at_most"]);
        }
    }
}

async fn send(daemon: &Daemon, rows: Vec<Row>, mode: Mode, prune: bool) -> anyhow::Result<Outcome> {
    let bar = progress(rows.len());
    let (path, key) = match mode {
        Mode::Apply => ("/adapter/apply", "applied"),
        Mode::Plan => ("/adapter/plan", "planned"),
    };
    let file = Uuid::new_v4();
    let (mut outcome, mut batches) = (Outcome::default(), 1);
    let mut rows = neighbours(daemon, rows).await?.into_iter().peekable();
    let mut sent: JoinSet<anyhow::Result<(Vec<usize>, Value)>> = JoinSet::new();
    loop {
        while sent.len() < AT_ONCE && rows.peek().is_some() {
            let batch: Vec<Row> = rows.by_ref().take(BATCH).collect();
            let lines: Vec<usize> = batch.iter().map(|row| row.line).collect();
            let fields: Vec<_> = batch
                .into_iter()
                .map(|row| Value::Object(row.fields))
                .collect();
            let daemon = daemon.clone();
            batches += 1;
            sent.spawn(async move {
                let mut body = json!({ "rows": fields });
                if prune {
                    body["file"] = json!(file);
                }
                let mut answer = daemon.post(path, &body).await?;
                Ok((lines, answer[key].take()))
            });
        }
        let Some(done) = sent.join_next().await else {
            break;
        };
        let (lines, told) = done.context("sending rows")??;
        outcome.add(&told, &lines);
        bar.inc(u64::try_from(lines.len()).unwrap_or_default());
    }
    bar.finish_and_clear();
    if prune && outcome.refused.is_empty() {
        let body = json!({ "rows": [], "file": file, "prune": true, "batches": batches });
        outcome.pruned = daemon.post(path, &body).await?[key]["pruned"].take();
    } else if prune {
        eprintln!(
            "origo-adapter: nothing is pruned: rows are refused, and who is meant by them is unknown"
        );
    }
    Ok(outcome)
}

/// In the order of their people's ids: what lies side by side in the store's indexes is written with the same pages, which
/// saves a fifth of the time of a large file. The daemon does not care about the order.
async fn neighbours(daemon: &Daemon, mut rows: Vec<Row>) -> anyhow::Result<Vec<Row>> {
    if rows.len() > BATCH {
        let told = daemon.post("/workspaces/get", &json!({})).await?;
        let workspace = text(&told["workspace"]["workspace_id"]);
        let workspace = Uuid::parse_str(&workspace).context("the workspace's id")?;
        rows.sort_by_cached_key(|row| {
            let key = row.fields.get("user_identity_key").map(text);
            IdentityId::of_key(workspace, &key.unwrap_or_default())
        });
    }
    Ok(rows)
}

fn progress(rows: usize) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(rows).unwrap_or_default());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} rows, {eta} left") {
        bar.set_style(style);
    }
    bar
}
