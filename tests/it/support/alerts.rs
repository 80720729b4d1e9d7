//! The alerts of `monitoring/`, and which of them a line raises.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/monitoring/grep/alerts");

/// One row of `monitoring/grep/alerts`.
pub(crate) struct Alert {
    pub(crate) name: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) event: &'static str,
    pub(crate) pattern: &'static str,
}

/// Every one, in the order of the script.
pub(crate) fn alerts() -> Vec<Alert> {
    let script = include_str!("../../../monitoring/grep/alerts");
    let (_, table) = script.split_once("<<'END'\n").unwrap();
    let (table, _) = table.split_once("\nEND\n").unwrap();
    let rows = table.lines().map(|row| {
        let cells: Vec<_> = row.split('\t').collect();
        assert_eq!(cells.len(), 4, "{row}");
        Alert {
            name: cells[0],
            severity: cells[1],
            event: cells[2],
            pattern: cells[3],
        }
    });
    rows.collect()
}

/// This line of a daemon's log raises `name` and nothing else: as the daemon writes it, as the journal shows it, and as
/// it comes to Loki.
pub(crate) fn raises(name: &str, line: &Value) {
    let line = line.as_object().unwrap();
    for seen in [line.clone(), in_journal(line), in_loki(line)] {
        let seen = Value::Object(seen).to_string();
        assert_eq!(raised(&seen), BTreeSet::from([name.to_owned()]), "{seen}");
    }
}

/// The names of the alerts that a log raises, by the script itself.
pub(crate) fn raised(log: &str) -> BTreeSet<String> {
    let mut script = Command::new(SCRIPT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = script.stdin.take().unwrap();
    stdin.write_all(log.as_bytes()).unwrap();
    drop(stdin);
    let output = script.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<_> = text
        .lines()
        .map(|line| line.split('\t').next().unwrap().to_owned())
        .collect();
    assert_eq!(output.status.code(), Some(i32::from(!names.is_empty())));
    names
}

/// `journalctl -o json`: each value is text.
fn in_journal(line: &Map<String, Value>) -> Map<String, Value> {
    let fields = line.iter().map(|(name, value)| {
        let text = value.as_str().map_or(value.to_string(), str::to_owned);
        (name.replace('.', "_").to_uppercase(), Value::String(text))
    });
    fields.collect()
}

/// What `monitoring/vector/vector.toml` makes of it.
fn in_loki(line: &Map<String, Value>) -> Map<String, Value> {
    let fields = in_journal(line).into_iter();
    fields
        .map(|(name, value)| (name.to_lowercase(), value))
        .collect()
}
