//! The database as a file: copied, put back, and older than what was done. As processes, and counted at HID.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::process_support::{ADAPTER, Person, Site, until};
use crate::support::alerts::raises;

/// A command on the site's files.
fn carry_out(site: &Site, arguments: &[&str]) -> Output {
    let config = site.file("config.toml");
    let mut command = Command::new(ADAPTER);
    command.args(["--config", config.to_str().unwrap()]);
    command.args(arguments).env_clear().output().unwrap()
}

fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn holds(site: &Site) -> Value {
    site.call("/adapter/status", &json!({}))["status"]["holds"].clone()
}

fn state(site: &Site, person: &Person) -> Value {
    let asked = json!({ "enrollment_automation_id": person.automation });
    let shown = site.call("/enrollment_automations/get", &asked);
    shown["enrollment_automation"]["adapter"].clone()
}

/// Somebody with a key, whose phone the database of before knows nothing of.
fn lives_on(site: &Site, person: &Person) {
    site.hid.redeem(&person.identity);
    until("a key", || (site.issued(person).len() == 1).then_some(()));
}

/// After it went back: held, read, and no second key.
fn catches_up(site: &mut Site, person: &Person) {
    raises(
        "OrigoStoreRegressed",
        &site.daemon().tells("store.regressed"),
    );
    let first = holds(site);
    if first != json!([]) {
        assert_eq!(first[0]["reason"], "state_regressed");
        assert_eq!(first[0]["scope"], "all");
    }
    until("the key as it is", || {
        (site.issued(person).len() == 1).then_some(())
    });
    site.daemon().tells("store.caught_up");
    assert_eq!(holds(site), json!([]));
    assert_eq!(state(site, person)["state"], "enrolled");
    assert_eq!(site.hid.effects("credential_accepted"), 1, "one key ever");
    assert_eq!(site.hid.live().len(), 1);
    let calls = site.hid.identity_calls();
    let issues = calls.iter().filter(|(class, _)| class == "issue").count();
    assert_eq!(issues, 1, "no second call either: {calls:?}");
    site.assert_blameless();
}

#[test]
fn after_a_restore_nobody_gets_a_second_key() {
    let mut site = Site::start();
    let ada = site.enroll("Ada Okafor");
    site.credential(&ada);
    until("an invitation", || {
        (state(&site, &ada)["state"] == "waiting_for_phone").then_some(())
    });
    let copy = site.file("copy.db");
    let told = said(&carry_out(&site, &["backup", text(&copy)]));
    assert!(told.contains("copy.db holds all of "), "{told}");
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let again = carry_out(&site, &["backup", text(&copy)]);
    assert_eq!(again.status.code(), Some(1), "it is not written over");
    lives_on(&site, &ada);

    let running = carry_out(&site, &["restore", text(&copy)]);
    assert_eq!(running.status.code(), Some(69), "the daemon runs");
    site.stop_daemon();
    let before = fs::read(site.file("state.db")).unwrap();
    let nonsense = site.file("nonsense.db");
    fs::write(&nonsense, "no database").unwrap();
    let refused = carry_out(&site, &["restore", text(&nonsense)]);
    assert!(!refused.status.success());
    assert_eq!(
        fs::read(site.file("state.db")).unwrap(),
        before,
        "untouched"
    );

    // Not even the head is needed to see that it went back.
    fs::remove_file(site.file("state.db.head")).unwrap();
    let restored = said(&carry_out(&site, &["restore", text(&copy), "--json"]));
    let restored: Value = serde_json::from_str(&restored).unwrap();
    let replaced = restored["replaced"].as_str().unwrap();
    assert_eq!(
        fs::read(replaced).unwrap(),
        before,
        "what was replaced is kept"
    );
    site.start_daemon();
    catches_up(&mut site, &ada);
}

#[test]
fn an_older_copy_put_in_its_place_is_noticed_by_its_head() {
    let mut site = Site::start();
    let ada = site.enroll("Ada Okafor");
    site.credential(&ada);
    until("an invitation", || {
        (state(&site, &ada)["state"] == "waiting_for_phone").then_some(())
    });
    site.stop_daemon();
    let (database, older) = (site.file("state.db"), site.file("older.db"));
    fs::copy(&database, &older).unwrap();
    site.start_daemon();
    assert_eq!(holds(&site), json!([]), "its own head holds nobody");
    lives_on(&site, &ada);
    site.stop_daemon();
    fs::copy(&older, &database).unwrap();
    site.start_daemon();
    catches_up(&mut site, &ada);
    // The mark is gone for good.
    site.stop_daemon();
    site.start_daemon();
    assert_eq!(holds(&site), json!([]));
    assert_eq!(site.daemon().told("store.regressed"), Vec::<Value>::new());
}

#[test]
fn a_database_is_migrated_once() {
    let site = Site::without_daemon();
    let told = said(&carry_out(&site, &["migrate", "--json"]));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["from"], 0);
    let version = told["to"].as_i64().unwrap();
    let again = said(&carry_out(&site, &["migrate"]));
    assert!(again.ends_with(&format!("has schema version {version} already\n")));
}

/// What an operator does while the daemon is stopped, and with it systemd's copies of the secrets.
#[test]
fn a_restore_needs_no_secret_and_leaves_the_database_to_the_daemons_account() {
    let mut site = Site::start();
    site.enroll("Ada Okafor");
    site.stop_daemon();
    let copy = site.file("copy.db");
    fs::remove_file(site.file("origo-secret")).unwrap();
    said(&carry_out(&site, &["backup", text(&copy)]));
    said(&carry_out(&site, &["audit", "verify"]));
    said(&carry_out(&site, &["migrate"]));
    let key = site.file("key");
    fs::write(&key, "seam_x\n").unwrap();
    let asked = carry_out(&site, &["status", "--api-key-file", text(&key)]);
    assert_eq!(asked.status.code(), Some(69), "nobody is there");

    let file = site.file("state.db");
    let daemon = if nix::unistd::Uid::effective().is_root() {
        std::os::unix::fs::chown(&file, Some(65_534), Some(65_534)).unwrap();
        65_534
    } else {
        println!("!!!! NOT RUN: a database of another account: only root may give files away");
        nix::unistd::Uid::effective().as_raw()
    };
    said(&carry_out(&site, &["restore", text(&copy)]));
    for name in ["state.db", "state.db.lock"] {
        assert_eq!(site.file(name).metadata().unwrap().uid(), daemon, "{name}");
    }
}
