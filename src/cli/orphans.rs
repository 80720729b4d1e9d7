//! `list orphans`: what hangs below our people at HID and is not ours, as a table.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::remote::Asked;
use super::say;

/// Heading and field.
const COLUMNS: &[(&str, &str)] = &[
    ("ORPHAN", "orphan_id"),
    ("TYPE", "object_type"),
    ("HID ID", "hid_id"),
    ("STATUS", "status"),
    ("MANAGER", "credential_manager"),
    ("IDENTITY", "user_identity_id"),
    ("PHONE", "device_id"),
    ("PART NUMBER", "part_number"),
    ("FOUND", "found_at"),
    ("LEAVING", "is_being_removed"),
];

/// Prints every row.
pub(super) fn list(config: Option<&Path>, asked: &Asked) -> anyhow::Result<ExitCode> {
    let rows = asked.pages(config, "/adapter/orphans")?;
    say(&if asked.json() {
        serde_json::to_string_pretty(&rows)?
    } else {
        table(COLUMNS, &rows)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Columns as wide as their widest cell; nothing but a word where there are no rows.
fn table(columns: &[(&str, &str)], rows: &[Value]) -> String {
    if rows.is_empty() {
        return "none".to_owned();
    }
    let heading = columns.iter().map(|(heading, _)| (*heading).to_owned());
    let mut lines: Vec<Vec<String>> = vec![heading.collect()];
    lines.extend(rows.iter().map(|row| {
        let cells = columns.iter().map(|(_, field)| cell(&row[*field]));
        cells.collect()
    }));
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let lines = lines.iter().map(|line| {
        let cells = line.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let columns = [("ID", "id"), ("LEAVING", "leaving"), ("PHONE", "phone")];
        let rows = [
            json!({"id": "a", "leaving": true, "phone": null}),
            json!({"id": "longer", "leaving": false, "phone": 7}),
        ];
        let expected = "ID      LEAVING  PHONE\na       yes      -\nlonger  no       7";
        assert_eq!(table(&columns, &rows), expected);
        assert_eq!(table(&columns, &[]), "none");
    }
}
