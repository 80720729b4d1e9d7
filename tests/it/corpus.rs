//! What fuzzing found and kept, `fuzz/corpus`, as plain tests: every file of every target is replayed.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use crate::support::scene::Scene;

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
    for file in &files {
        let data = fs::read(file).expect("bytes");
        let result = panic::catch_unwind(|| run(&data));
        assert!(result.is_ok(), "{} panics", file.display());
    }
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
fn hid_answers() {
    replay("hid_answers");
}

#[test]
fn stored_rows() {
    replay("stored_rows");
}

/// Writes the stored form of every stage into the corpus, where `WRITE_STAGES` asks for it.
#[test]
fn every_stage_makes_sense_as_a_row() {
    for (at, stage) in entries::stages::STAGES.iter().enumerate() {
        let scene: Scene = stage();
        let mut row = b"a".to_vec();
        row.extend(serde_json::to_vec(scene.is()).expect("JSON"));
        if std::env::var_os("WRITE_STAGES").is_some() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/stored_rows");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("stage_{at}")), &row).unwrap();
            for (lane_at, lane) in scene.owed.keys().enumerate() {
                let mut cell = b"b".to_vec();
                cell.extend(serde_json::to_vec(lane).unwrap());
                fs::write(folder.join(format!("lane_{at}_{lane_at}")), cell).unwrap();
            }
        }
        entries::stored_rows::run(&row);
    }
}
