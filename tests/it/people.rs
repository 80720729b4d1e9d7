//! Files of people as an operator has them: planned, applied, pruned within what the guard lets through, and read from
//! a directory.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::process_support::{ACCESS_SYSTEM, Site, until};
use crate::support::alerts::raises;

const HEADER: &str =
    "user_identity_key,full_name,email_address,access_system,card_format,facility_code\n";

/// A file of these people.
fn write(path: &Path, people: impl IntoIterator<Item = usize>) {
    let mut text = HEADER.to_owned();
    for n in people {
        writeln!(
            text,
            "p{n},Ada Nr{n},ada{n}@tenant.example,hq_doors,rfid48,9"
        )
        .unwrap();
    }
    fs::write(path, text).unwrap();
}

fn ask(site: &Site, arguments: &[&str]) -> Value {
    let told = site.said(&[arguments, &["--json"]].concat());
    serde_json::from_str(&told).unwrap()
}

fn parents(site: &Site) -> usize {
    let asked = json!({ "acs_system_id": ACCESS_SYSTEM, "is_multi_phone_sync_credential": true });
    let listed = site.call("/acs/credentials/list", &asked);
    listed["acs_credentials"].as_array().unwrap().len()
}

/// Everybody of the file has a phone and a key.
fn equip(site: &Site, people: usize) {
    let listed = site.call("/user_identities/list", &json!({}));
    for person in listed["user_identities"].as_array().unwrap() {
        site.hid
            .redeem(person["user_identity_id"].as_str().unwrap());
    }
    until("all keys", || {
        (site.hid.live().len() == people).then_some(())
    });
}

/// Calls that made or changed users and invitations.
fn calls(site: &Site) -> usize {
    let classes = [
        "user_create",
        "user_update",
        "invitation_create",
        "invitation_email",
    ];
    let calls = site.hid.identity_calls();
    calls
        .iter()
        .filter(|(class, _)| classes.contains(&class.as_str()))
        .count()
}

#[test]
fn apply_makes_exactly_the_calls_that_plan_printed() {
    let site = Site::start();
    let file = site.file("people.csv");
    let path = file.to_str().unwrap();
    write(&file, 0..30);
    let plan = ask(&site, &["plan", path]);
    assert_eq!(plan["changed"], 30);
    assert_eq!(plan["calls"], json!({ "create_user": 30 }));
    let part = "MID-SUB-EXAMPLE_1";
    let first_phones = json!([{ "part_number": part, "at_least": 0, "at_most": 30 }]);
    assert_eq!(plan["keys"], first_phones);
    assert_eq!(plan["licenses"], json!({ "at_least": 0, "at_most": 30 }));
    assert_eq!(calls(&site), 0, "a plan calls nobody");
    assert_eq!(parents(&site), 0, "and changes nothing");
    ask(&site, &["apply", path]);
    until("the planned calls", || (calls(&site) >= 30).then_some(()));
    assert_eq!(calls(&site), 30);
    assert_eq!(ask(&site, &["plan", path])["unchanged"], 30);

    // A second card for those who are there, another name for one, one new.
    let mut text = fs::read_to_string(&file)
        .unwrap()
        .replace("Ada Nr7,", "Grace Nr7,");
    writeln!(text, "p30,Ada Nr30,ada30@tenant.example,hq_doors,rfid48,9").unwrap();
    fs::write(&file, text).unwrap();
    let plan = ask(&site, &["plan", path]);
    assert_eq!(plan["calls"], json!({ "create_user": 1, "update_user": 1 }));
    ask(&site, &["apply", path]);
    until("the planned calls", || (calls(&site) >= 32).then_some(()));
    assert_eq!(calls(&site), 32);
}

#[test]
fn what_a_file_no_longer_names_is_withdrawn_and_nothing_else() {
    let site = Site::start();
    let file = site.file("people.csv");
    let path = file.to_str().unwrap();
    write(&file, 0..4);
    ask(&site, &["apply", path]);
    // Given by the app, not by a file.
    let other = site.enroll("eve");
    site.credential(&other);
    equip(&site, 5);

    write(&file, 1..4);
    assert_eq!(
        ask(&site, &["apply", path])["pruned"],
        Value::Null,
        "not asked for"
    );
    let plan = ask(&site, &["plan", path, "--prune"]);
    let pruned = json!({ "credentials": 1, "keys": 1, "held": false });
    assert_eq!(plan["pruned"], pruned);
    assert_eq!(site.hid.live().len(), 5);
    assert_eq!(ask(&site, &["apply", path, "--prune"])["pruned"], pruned);
    until("one key less", || {
        (site.hid.live().len() == 4).then_some(())
    });
    until("one parent less", || (parents(&site) == 4).then_some(()));

    // A row that is wrong may mean anybody.
    fs::write(&file, format!("{HEADER}p1,Ada,nobody,hq_doors,,\n")).unwrap();
    let refused = site.run(&["apply", path, "--prune"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("nothing is pruned")
    );
    assert_eq!(parents(&site), 4);
}

#[test]
fn the_guard_holds_a_file_that_would_revoke_too_much_until_somebody_releases_it() {
    let mut site = Site::without_daemon();
    let issuance = "[issuance]";
    let guard = "mass_change_guard = { issues = 2, revokes = 2, per = \"1h\" }";
    site.configure(issuance, &format!("{issuance}\n{guard}"));
    site.start_daemon();
    let file = site.file("people.csv");
    let path = file.to_str().unwrap();
    write(&file, 0..4);
    ask(&site, &["apply", path]);
    equip(&site, 4);

    write(&file, 0..1);
    let told = ask(&site, &["apply", path, "--prune"]);
    assert_eq!(
        told["pruned"],
        json!({ "credentials": 3, "keys": 3, "held": true })
    );
    raises("OrigoGuardHeld", &site.daemon().tells("guard.held"));
    let held = site.daemon().told("identity.changed").into_iter();
    let held = held
        .filter(|line| line["state"]["to"] == "held: guard" || line["state.to"] == "held: guard");
    assert!(held.count() >= 3);
    assert_eq!(site.hid.live().len(), 4, "none was revoked");
    ask(&site, &["release", "--all"]);
    until("three keys less", || {
        (site.hid.live().len() == 1).then_some(())
    });

    until("three parents less", || (parents(&site) == 1).then_some(()));

    // Keys again for three people who have phones: more than two issues at once.
    write(&file, 0..4);
    assert_eq!(ask(&site, &["apply", path])["held"], 1);
    until("two keys more", || {
        (site.hid.live().len() == 3).then_some(())
    });
    ask(&site, &["release", "--all"]);
    until("the last key", || {
        (site.hid.live().len() == 4).then_some(())
    });
}

#[test]
fn the_directory_is_read_at_start_and_on_change() {
    let mut site = Site::without_daemon();
    let folder = site.file("people.d");
    fs::create_dir(&folder).unwrap();
    let workspace = "workspace_id =";
    let directory = format!(
        "desired_state_dir = \"{}\"\ndesired_state_prune = true\n{workspace}",
        folder.display()
    );
    site.configure(workspace, &directory);
    write(&folder.join("a.csv"), 0..2);
    write(&folder.join("b.csv"), 2..3);
    fs::write(folder.join(".c.csv.tmp"), "half").unwrap();
    site.start_daemon();
    let line = site.daemon().tells("people.applied");
    assert_eq!(parents(&site), 3, "{line}");
    fs::remove_file(folder.join("b.csv")).unwrap();
    write(&folder.join("a.csv"), 0..1);
    until("two fewer", || (parents(&site) == 1).then_some(()));
    fs::write(
        folder.join("z.csv"),
        format!("{HEADER}p9,Ada,nobody,hq_doors,,\n"),
    )
    .unwrap();
    let refused = site.daemon().tells("people.refused").to_string();
    assert!(
        refused.contains("z.csv") && refused.contains("Invalid email"),
        "{refused}"
    );
    assert!(
        !refused.contains("nobody"),
        "what the row says is nobody's business"
    );
    assert_eq!(parents(&site), 1, "nothing is pruned while a row is wrong");
}
