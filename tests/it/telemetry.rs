//! The list of events: explained in full, and the only thing that is ever logged.

use std::fs;
use std::path::{Path, PathBuf};

use origo_adapter::telemetry::EVENTS;

#[test]
fn the_document_lists_exactly_the_events() {
    let rows: Vec<Vec<&str>> = include_str!("../../docs/log-events.md")
        .lines()
        .filter(|line| line.starts_with("| OA-"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let documented: Vec<_> = rows
        .iter()
        .map(|row| format!("{} {} {}", row[0], row[1], row[2]))
        .collect();
    let listed: Vec<_> = EVENTS
        .iter()
        .map(|event| {
            let level = event.level().as_str().to_lowercase();
            format!("{} {} {level}", event.id(), event.name())
        })
        .collect();
    assert_eq!(documented, listed);
    for row in rows {
        assert_eq!(row.len(), 5, "{row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}

#[test]
fn whatever_is_on_the_list_is_written_somewhere() {
    let list = include_str!("../../src/telemetry.rs").lines();
    let list = list.filter_map(|line| line.trim().split_once(" = \"OA-"));
    let names: Vec<_> = list.map(|(name, _)| name).collect();
    assert_eq!(names.len(), EVENTS.len());
    let sources = sources(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let text: String = sources
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let written = |name: &&str| {
        let ends = [",", ";"].map(|end| format!("emit!({name}{end}"));
        ends.iter().any(|start| text.contains(start))
    };
    let (_, unwritten): (Vec<_>, Vec<_>) = names.into_iter().partition(written);
    assert!(unwritten.is_empty(), "{unwritten:?}");
}

#[test]
fn nothing_is_logged_beside_the_list() {
    let bare = [
        "trace!(", "debug!(", "info!(", "warn!(", "error!(", "event!(",
    ];
    let mut found = Vec::new();
    for file in sources(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        if file.ends_with("src/telemetry.rs") {
            continue;
        }
        for (i, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            if bare.iter().any(|bare| line.contains(bare)) {
                found.push(format!("{}:{}: {}", file.display(), i + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "use emit!:\n{}", found.join("\n"));
}

fn sources(folder: PathBuf) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
