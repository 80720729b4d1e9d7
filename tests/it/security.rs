//! The threat model names a test for what it claims; none of them may be gone.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests/it"] {
        sources(&root.join(folder), &mut files);
    }
    let text = include_str!("../../docs/security.md");
    let quoted = text.split('`').skip(1).step_by(2);
    let named: Vec<(&str, &str)> = quoted.filter_map(|name| name.split_once("::")).collect();
    assert!(named.len() > 30, "{named:?}");
    let gone: Vec<_> = named
        .iter()
        .filter(|(module, _)| *module != "module")
        .filter(|(module, name)| {
            let begins = format!("fn {name}(");
            !files
                .iter()
                .any(|(stem, text)| stem == module && text.contains(&begins))
        })
        .collect();
    assert!(gone.is_empty(), "no such tests: {gone:?}");
    for whole in ["corpus", "origo_http", "origo_token", "origo_client"] {
        assert!(files.iter().any(|(stem, _)| stem == whole), "{whole}");
    }
}

/// Name and text of every source below.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            found.push((stem, fs::read_to_string(&path).unwrap()));
        }
    }
}
