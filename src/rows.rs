//! Files of people: CSV, JSON or TOML, each row with the line that it stands on (contract.md section 5).
//!
//! Imports nothing of ours. What a row says is checked where it is applied.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A row, and where it stands.
#[derive(Clone, Debug)]
pub struct Row {
    /// From 1.
    pub line: usize,
    /// What it says.
    pub fields: Map<String, Value>,
}

/// Reads a file by its name's ending; the error names it.
pub fn read(path: &Path, text: &str) -> anyhow::Result<Vec<Row>> {
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
