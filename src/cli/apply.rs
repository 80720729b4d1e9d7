//! `apply FILE`: reads rows of people from CSV, JSON or TOML and hands them to the daemon (contract.md section 5).

use std::io::{IsTerminal as _, stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::remote::{Asked, Daemon};
use super::{FAILED, runtime, say};

/// Rows in a request: one answer in a while, and no request that is too large.
const BATCH: usize = 100;
/// Requests under way at once: what they write shares the disk's syncs.
const AT_ONCE: usize = 16;

#[derive(Args, Debug)]
pub(super) struct Apply {
    /// Rows of people: .csv, .json or .toml
    file: PathBuf,
    #[command(flatten)]
    asked: Asked,
}

/// A row, and where it stands.
struct Row {
    line: usize,
    fields: Map<String, Value>,
}

/// What became of all rows.
#[derive(Default)]
struct Outcome {
    changed: u64,
    unchanged: u64,
    /// By line.
    refused: Vec<(usize, String)>,
}

/// Exit code 1 where a row is refused; the others are applied.
pub(super) fn apply(config: Option<&Path>, options: &Apply) -> anyhow::Result<ExitCode> {
    let path = &options.file;
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("reading {}", path.display()))?;
    let rows = read(path, &text)?;
    let daemon = options.asked.daemon(config)?;
    let mut outcome = runtime(1)?.block_on(send(&daemon, rows))?;
    outcome.refused.sort();
    if options.asked.json() {
        let refused = outcome.refused.iter();
        let refused = refused.map(|(line, message)| json!({"line": line, "message": message}));
        say(&serde_json::to_string_pretty(&json!({
            "changed": outcome.changed,
            "unchanged": outcome.unchanged,
            "refused": refused.collect::<Vec<_>>(),
        }))?)?;
    } else {
        for (line, message) in &outcome.refused {
            say(&format!("{}:{line}: {message}", path.display()))?;
        }
        let Outcome {
            changed,
            unchanged,
            refused,
        } = &outcome;
        let refused = refused.len();
        say(&format!(
            "{changed} changed, {unchanged} as they were, {refused} refused"
        ))?;
    }
    Ok(if outcome.refused.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

async fn send(daemon: &Daemon, rows: Vec<Row>) -> anyhow::Result<Outcome> {
    let bar = progress(rows.len());
    let mut outcome = Outcome::default();
    let mut rows = rows.into_iter().peekable();
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
            sent.spawn(async move {
                let body = json!({ "rows": fields });
                let mut answer = daemon.post("/adapter/apply", &body).await?;
                Ok((lines, answer["applied"].take()))
            });
        }
        let Some(done) = sent.join_next().await else {
            bar.finish_and_clear();
            return Ok(outcome);
        };
        let (lines, applied) = done.context("sending rows")??;
        outcome.changed += applied["changed"].as_u64().unwrap_or_default();
        outcome.unchanged += applied["unchanged"].as_u64().unwrap_or_default();
        for refused in applied["refused"].as_array().into_iter().flatten() {
            let row = refused["row"]
                .as_u64()
                .and_then(|row| usize::try_from(row).ok());
            let line = row
                .and_then(|row| lines.get(row))
                .copied()
                .unwrap_or_default();
            let message = refused["message"].as_str().unwrap_or_default();
            outcome.refused.push((line, message.to_owned()));
        }
        bar.inc(u64::try_from(lines.len()).unwrap_or_default());
    }
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

fn read(path: &Path, text: &str) -> anyhow::Result<Vec<Row>> {
    let kind = path
        .extension()
        .and_then(|kind| kind.to_str())
        .unwrap_or_default();
    let rows = match kind {
        "csv" => from_csv(text),
        "json" => from_json(text),
        "toml" => from_toml(text),
        _ => bail!("{} is no .csv, .json or .toml", path.display()),
    };
    rows.with_context(|| format!("understanding {}", path.display()))
}

/// The header names the columns; an empty cell is absent.
fn from_csv(text: &str) -> anyhow::Result<Vec<Row>> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader.headers()?.clone();
    let (mut rows, mut lines) = (Vec::new(), Lines::of(text));
    for record in reader.records() {
        let record = record?;
        // Where reading went on: empty lines come before the record.
        let begin = record.position().map_or(0, csv::Position::byte);
        let begin = usize::try_from(begin).unwrap_or_default();
        let rest = text.get(begin..).unwrap_or_default();
        let empty = rest.len() - rest.trim_start_matches(['\r', '\n']).len();
        let cells = header
            .iter()
            .zip(record.iter())
            .filter(|(_, cell)| !cell.is_empty());
        let fields = cells.map(|(name, cell)| (name.to_owned(), Value::from(cell)));
        rows.push(Row {
            line: lines.at(begin + empty),
            fields: fields.collect(),
        });
    }
    Ok(rows)
}

/// A list of objects.
fn from_json(text: &str) -> anyhow::Result<Vec<Row>> {
    let items: Vec<&RawValue> = serde_json::from_str(text)?;
    let begin = text.as_ptr().addr();
    let mut lines = Lines::of(text);
    let rows = items.into_iter().map(|item| {
        let item = item.get();
        let line = lines.at(item.as_ptr().addr() - begin);
        let fields = serde_json::from_str(item).with_context(|| format!("line {line}"))?;
        Ok(Row { line, fields })
    });
    rows.collect()
}

/// `[[rows]]` tables.
fn from_toml(text: &str) -> anyhow::Result<Vec<Row>> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        rows: Vec<toml::Spanned<Map<String, Value>>>,
    }
    let file: File = toml::from_str(text)?;
    let mut lines = Lines::of(text);
    let rows = file.rows.into_iter().map(|row| Row {
        line: lines.at(row.span().start),
        fields: row.into_inner(),
    });
    Ok(rows.collect())
}

/// Counts lines once, for offsets that only grow.
struct Lines<'a> {
    text: &'a str,
    counted: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text,
            counted: 0,
            line: 1,
        }
    }

    /// The line that the byte at `offset` is on.
    fn at(&mut self, offset: usize) -> usize {
        let between = self.text.get(self.counted..offset).unwrap_or_default();
        self.line += between.matches('\n').count();
        self.counted = self.counted.max(offset);
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_know_their_lines_in_every_form() {
        let csv = "user_identity_key,full_name,ends_at\nada,\"Ada\nOkafor\",\n\nbo, Bo Li ,2027-01-01T00:00:00Z\n";
        let json = "[\n {\"user_identity_key\": \"ada\"},\n\n {\"user_identity_key\": \"bo\"}]";
        let toml = "# people\n[[rows]]\nuser_identity_key = \"ada\"\n\n[[rows]]\nuser_identity_key = \"bo\"\n";
        for (name, text, lines) in [
            ("people.csv", csv, [2, 5]),
            ("people.json", json, [2, 4]),
            ("people.toml", toml, [2, 5]),
        ] {
            let rows = read(Path::new(name), text).unwrap();
            let found: Vec<_> = rows.iter().map(|row| row.line).collect();
            assert_eq!(found, lines, "{name}");
            assert_eq!(rows[0].fields["user_identity_key"], "ada");
        }
        let rows = read(Path::new("people.csv"), csv).unwrap();
        assert_eq!(rows[1].fields["full_name"], "Bo Li");
        assert!(!rows[0].fields.contains_key("ends_at"), "empty is absent");
    }

    #[test]
    fn a_file_that_can_not_be_read_is_named() {
        for (name, text) in [
            ("a.txt", ""),
            ("a.json", "{}"),
            ("a.toml", "x = 1"),
            ("a.csv", "a,b\n1\n"),
        ] {
            let error = read(Path::new(name), text).map(|_| ()).unwrap_err();
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
    }
}
