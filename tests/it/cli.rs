//! The binary from outside: exit codes, and what goes to which stream.

use std::fs;

use assert_cmd::Command;
use tempfile::TempDir;

fn adapter() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_origo-adapter"));
    command.env_clear();
    command
}

#[test]
fn a_good_configuration_is_0() {
    adapter()
        .args(["--config", "config/default.toml", "check"])
        .assert()
        .code(0)
        .stdout("the configuration is good\n")
        .stderr("");
    adapter()
        .args(["check", "--json", "--config", "config/default.toml"])
        .assert()
        .code(0)
        .stdout("[]\n");
}

#[test]
fn a_bad_configuration_is_78_one_line_a_complaint() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, "workspace_id = 5\n[log]\ncolour = true\n").unwrap();
    let name = file.to_str().unwrap();
    adapter()
        .args(["--config", name, "check"])
        .env("ORIGO_ADAPTER__API__LISTEN", "everywhere")
        .assert()
        .code(78)
        .stdout("")
        .stderr(format!(
            "origo-adapter: api.listen: must be an address and port, not \"everywhere\" (in ORIGO_ADAPTER__API__LISTEN)\n\
             origo-adapter: log.colour: unknown key (in {name})\n\
             origo-adapter: workspace_id: must be a UUID, not 5 (in {name})\n"
        ));
    let output = adapter()
        .args(["--config", name, "check", "--json"])
        .assert()
        .code(78)
        .stderr("")
        .get_output()
        .stdout
        .clone();
    let complaints: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(
        complaints,
        serde_json::json!([
            {"key": "log.colour", "origin": name, "message": "unknown key"},
            {"key": "workspace_id", "origin": name, "message": "must be a UUID, not 5"},
        ])
    );
    adapter().args(["run", "--config", name]).assert().code(78);
}

#[test]
fn a_named_file_must_exist() {
    adapter()
        .args(["--config", "/nowhere/config.toml", "check"])
        .assert()
        .code(78)
        .stderr(
            "origo-adapter: /nowhere/config.toml: cannot be read: No such file or directory (os error 2)\n",
        );
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [
        &[][..],
        &["fly"],
        &["demo", "--speed", "0"],
        &["api-key", "new"],
        &["api-key", "new", "--name", "The Boss"],
        &["simulate", "--faults", "all"],
    ] {
        adapter().args(arguments).assert().code(2).stdout("");
    }
}

#[test]
fn a_new_key_comes_with_lines_that_let_it_in() {
    let output = adapter()
        .args(["api-key", "new", "--name", "ops", "--scope", "write"])
        .assert()
        .code(0)
        .stderr("")
        .get_output()
        .stdout
        .clone();
    let text = String::from_utf8(output).unwrap();
    let (key, lines) = text.split_once('\n').unwrap();
    assert!(key.starts_with("seam_"), "{key}");
    assert_eq!(key.len(), 37);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, lines).unwrap();
    let config = origo_adapter::config::load(Some(&file), std::iter::empty()).unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    assert_eq!(config.api.keys["ops"].hash, hash.as_ref());
}
