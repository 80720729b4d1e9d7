//! What fuzzing found and kept, `fuzz/corpus`, as plain tests: every file of every target is replayed.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

#[path = "../../fuzz/entries/mod.rs"]
mod entries;

/// The files of a target, in the order of names.
fn files(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let entries = fs::read_dir(folder.join(target)).expect("a corpus");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

fn replay(target: &str) {
    let (_, run) = entries::TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target");
    let files = files(target);
    let fails = |file: &&PathBuf| {
        let data = fs::read(file).expect("bytes");
        panic::catch_unwind(|| run(&data)).is_err()
    };
    let failing: Vec<&PathBuf> = files.iter().filter(fails).collect();
    assert!(failing.is_empty(), "{failing:#?}");
    assert!(!files.is_empty());
    println!("{target}: {} files", files.len());
}

#[test]
fn api() {
    replay("api");
}

#[test]
fn cloud_events() {
    replay("cloud_events");
}

#[test]
fn configuration() {
    replay("configuration");
}

#[test]
fn desired_state() {
    replay("desired_state");
}

#[test]
fn hid_answers() {
    replay("hid_answers");
}

#[test]
fn stored_rows() {
    replay("stored_rows");
}

/// Those in the corpus that a scene no longer makes as they are show that older rows are still read.
#[test]
fn every_stage_makes_sense_as_a_row() {
    for stage in entries::stages::STAGES {
        let mut row = b"a".to_vec();
        row.extend(serde_json::to_vec(stage().is()).expect("JSON"));
        entries::stored_rows::run(&row);
    }
}
