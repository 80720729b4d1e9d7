//! `check --online`: what it asks HID, with a password and with a key, and what it says.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::certificates::rsa;
use crate::process_support::{ADAPTER, Simulator, Site};

fn check(site: &Site) -> Output {
    let file = site.file("config.toml");
    Command::new(ADAPTER)
        .args([
            "--config",
            file.to_str().unwrap(),
            "check",
            "--online",
            "--json",
        ])
        .env_clear()
        .output()
        .unwrap()
}

/// Each subject with what was found, or why not.
fn findings(output: &Output) -> Vec<(String, String)> {
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    findings
        .iter()
        .map(|finding| {
            let said = text(&finding["error"]).or_else(|| text(&finding["found"]));
            (text(&finding["subject"]).unwrap(), said.unwrap())
        })
        .collect()
}

fn said<'a>(findings: &'a [(String, String)], subject: &str) -> &'a str {
    let found = findings.iter().find(|(name, _)| name.ends_with(subject));
    &found
        .unwrap_or_else(|| panic!("no {subject} in {findings:?}"))
        .1
}

#[test]
fn hid_is_asked_once_for_everything_and_the_database_is_left_alone() {
    let mut site = Site::without_daemon();
    let output = check(&site);
    assert_eq!(output.status.code(), Some(0));
    let found = findings(&output);
    assert_eq!(said(&found, "store"), "not there yet; the daemon makes it");
    assert_eq!(said(&found, "token"), "logged in");
    assert_eq!(said(&found, "organization"), "answers");
    assert_eq!(said(&found, "part numbers"), "2 found");
    assert_eq!(said(&found, "events"), "0 in the last minute");
    let made = fs::read_dir(site.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let made: Vec<_> = made
        .filter(|name| name.to_string_lossy().contains(".db"))
        .collect();
    assert!(made.is_empty(), "{made:?}");
    assert_eq!(site.hid.requests("token", "200"), 1);

    site.start_daemon();
    let found = findings(&check(&site));
    assert_eq!(said(&found, "store"), "in use: a daemon runs");
    site.stop_daemon();
    assert_eq!(said(&findings(&check(&site)), "store"), "opens");
}

#[test]
fn a_wrong_password_is_tried_once_and_nothing_after_it() {
    let site = Site::without_daemon();
    fs::write(site.file("origo-secret"), "mistyped\n").unwrap();
    let output = check(&site);
    assert_eq!(output.status.code(), Some(69));
    let found = findings(&output);
    assert!(said(&found, "token").contains("401"), "{found:?}");
    assert_eq!(found.len(), 2, "store and token: {found:?}");
    let secrets = String::from_utf8_lossy(&output.stdout).contains("mistyped");
    assert!(!secrets);
}

#[test]
fn an_account_logs_in_with_its_key_as_well() {
    let (key, public) = rsa();
    let (stranger, _) = rsa();
    let mut site = Site::without_daemon();
    site.hid = Simulator::start_with(
        site.folder.path(),
        "127.0.0.1:0",
        &format!(
            "[[organizations]]\nid = \"7001234\"\nclient_id = \"7001234-OSRV900001\"\n\
             client_secret = \"not this way\"\npublic_key = \"\"\"\n{public}\"\"\"\n"
        ),
    );
    let path = site.file("origo-key.pem");
    let secret = site.file("origo-secret");
    fs::write(&path, &key).unwrap();
    let file = site.file("config.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace(
        &format!("client_secret_file = \"{}\"", secret.display()),
        &format!("private_key_file = \"{}\"", path.display()),
    );
    let base = text
        .lines()
        .find(|line| line.starts_with("token_url"))
        .unwrap();
    let old = base.split('"').nth(1).unwrap();
    let text = text.replace(old, &format!("http://{}", site.hid.address));
    assert!(text.contains("private_key_file"), "{text}");
    fs::write(&file, &text).unwrap();
    let output = check(&site);
    let found = findings(&output);
    assert_eq!(said(&found, "token"), "logged in");
    assert_eq!(said(&found, "part numbers"), "2 found");

    fs::write(&path, &stranger).unwrap();
    let found = findings(&check(&site));
    assert!(said(&found, "token").contains("401"), "{found:?}");
}
