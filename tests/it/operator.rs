//! The operator's commands, asked of a running daemon as on a site.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::process_support::{ADAPTER, Site, until};

/// One command with the site's key.
fn ask(site: &Site, arguments: &[&str]) -> Output {
    site.run(arguments)
}

fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn people_come_from_a_file_and_the_operator_sees_what_they_wait_for() {
    let site = Site::start();
    let file = site.file("people.csv");
    let header =
        "user_identity_key,full_name,email_address,access_system,card_format,facility_code";
    let good = |n: usize| format!("p{n},Ada Nr{n},ada{n}@tenant.example,hq_doors,rfid48,9");
    let rows: Vec<_> = (0..250).map(good).collect();
    fs::write(
        &file,
        format!("{header}\n{}\nbad,,nobody,hq_doors,,\n", rows.join("\n")),
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let applied = ask(&site, &["apply", path]);
    assert_eq!(applied.status.code(), Some(1), "a row is refused");
    let told = String::from_utf8(applied.stdout).unwrap();
    let expected = format!(
        "{path}:252: email_address: Invalid email\n250 changed, 0 as they were, 1 refused\n"
    );
    assert_eq!(told, expected);
    let again: Value =
        serde_json::from_slice(&ask(&site, &["apply", path, "--json"]).stdout).unwrap();
    assert_eq!(again["unchanged"], 250);
    assert_eq!(again["refused"][0]["line"], 252);

    let people = site.call("/user_identities/list", &json!({"limit": 1}));
    let person = people["user_identities"][0]["user_identity_id"]
        .as_str()
        .unwrap();
    let why = said(&ask(&site, &["why", person]));
    assert!(
        why.starts_with("The enrollment automation with hq is "),
        "{why}"
    );
    let status = said(&ask(&site, &["status"]));
    assert!(status.starts_with("250 identities, "), "{status}");
    assert!(
        status.contains("new phones are found by events, within "),
        "{status}"
    );
    until("everybody invited", || {
        let status: Value =
            serde_json::from_str(&said(&ask(&site, &["status", "--json"]))).unwrap();
        let queue = status["credential_managers"][0]["queue"]
            .as_object()
            .unwrap()
            .clone();
        queue.is_empty().then_some(())
    });
}

#[test]
fn who_may_not_ask_is_told_so() {
    let site = Site::start();
    // The whole of what `api-key new` prints may stand in the file.
    let file = site.file("key");
    fs::write(
        &file,
        format!("{}\n\n# lines for the configuration\n", site.key()),
    )
    .unwrap();
    let known = Command::new(ADAPTER)
        .args(["status", "--api", site.api()])
        .args(["--api-key-file", file.to_str().unwrap()])
        .env_remove("SEAM_API_KEY")
        .output();
    assert_eq!(known.unwrap().status.code(), Some(0));
    let mut command = Command::new(ADAPTER);
    let stranger = command
        .args(["status", "--api", site.api()])
        .env("SEAM_API_KEY", "seam_nobody");
    let stranger = stranger.output().unwrap();
    assert_eq!(stranger.status.code(), Some(77));
    let mut command = Command::new(ADAPTER);
    let nameless = command
        .args(["status", "--api", site.api()])
        .env_remove("SEAM_API_KEY");
    let nameless = nameless.output().unwrap();
    assert_eq!(nameless.status.code(), Some(1));
    let error = String::from_utf8(nameless.stderr).unwrap();
    assert!(error.contains("--api-key-file"), "{error}");
    let mut command = Command::new(ADAPTER);
    let nobody = command
        .args(["status", "--api", "127.0.0.1:1"])
        .env("SEAM_API_KEY", "seam_x");
    assert_eq!(nobody.output().unwrap().status.code(), Some(69));
}
