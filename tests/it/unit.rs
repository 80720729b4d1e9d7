//! The systemd unit: what systemd itself says of its sandbox, and that it fits the configuration.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::tempdir;

use crate::support::machine::not_run;

const UNIT: &str = include_str!("../../systemd/origo-adapter.service");
const DROP_IN: &str = include_str!("../../systemd/hardened.conf");
const CREDENTIALS: &str = include_str!("../../systemd/credentials.conf");
const DEFAULTS: &str = include_str!("../../config/default.toml");
const EXAMPLE: &str = include_str!("../../config/example.toml");

/// Holds the unit with its drop-ins to an exposure, in tenths; the report is told where it is above.
fn exposure_is_at_most(tenths: u32, drop_ins: &[&str]) {
    let known = Command::new("systemd-analyze")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if known.is_err() {
        not_run("exposure of the unit", "systemd-analyze is not installed");
        return;
    }
    let folder = tempdir().unwrap();
    let unit = folder.path().join("origo-adapter.service");
    fs::write(&unit, UNIT).unwrap();
    let beside = folder.path().join("origo-adapter.service.d");
    fs::create_dir(&beside).unwrap();
    for (index, drop_in) in drop_ins.iter().enumerate() {
        fs::write(beside.join(format!("{index}.conf")), drop_in).unwrap();
    }
    let said = analyze(&unit, tenths);
    assert!(said.status.success(), "{}", text(&said.stdout));
    // A test of a threshold that nothing exceeds would pass whatever the unit says.
    let said = analyze(&unit, 1);
    assert!(!said.status.success(), "{}", text(&said.stdout));
}

fn analyze(unit: &Path, tenths: u32) -> std::process::Output {
    Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager"])
        .arg(format!("--threshold={tenths}"))
        .arg(unit)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_unit_is_exposed_by_1_1_at_most() {
    exposure_is_at_most(11, &[]);
}

#[test]
fn with_the_drop_in_it_is_exposed_by_0_9_at_most() {
    exposure_is_at_most(9, &[DROP_IN, CREDENTIALS]);
}

/// Every line that narrows the sandbox has its reason above it, or above the lines it stands with.
#[test]
fn every_setting_has_a_reason() {
    for (name, unit) in [("the unit", UNIT), ("the drop-in", DROP_IN)] {
        let mut reasoned = false;
        for line in unit.lines() {
            if line.is_empty() || line.starts_with('[') {
                reasoned = false;
            } else if line.starts_with('#') {
                reasoned = true;
            } else if !line.starts_with("Description=") && !line.starts_with("WantedBy=") {
                assert!(reasoned, "{name}: {line}");
            }
        }
    }
}

fn of_unit<'a>(unit: &'a str, key: &str) -> &'a str {
    unit.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("{key} is not set"))
}

fn seconds(text: &str) -> u32 {
    text.strip_suffix('s').unwrap().parse().unwrap()
}

#[test]
fn systemd_waits_longer_than_a_drain_takes() {
    let defaults: toml::Table = toml::from_str(DEFAULTS).unwrap();
    let drain = defaults["daemon"]["shutdown_timeout"].as_str().unwrap();
    assert!(seconds(of_unit(UNIT, "TimeoutStopSec")) > seconds(drain) + 5);
}

#[test]
fn the_secret_that_is_loaded_is_the_one_that_the_example_names() {
    let (name, file) = of_unit(UNIT, "LoadCredential").split_once(':').unwrap();
    assert_eq!(of_unit(UNIT, "AssertPathExists"), file);
    let seen = format!("\"/run/credentials/origo-adapter.service/{name}\"");
    assert!(EXAMPLE.contains(&seen), "{seen}");
}

#[test]
fn a_configuration_that_is_refused_is_not_tried_again() {
    assert_eq!(of_unit(UNIT, "RestartPreventExitStatus"), "78");
    assert!(!UNIT.contains("ExecStartPre="));
}
