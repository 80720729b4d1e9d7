//! A database that is lost: what HID has is taken over, the same file is applied, and nothing is issued twice.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::process_support::{ACCESS_SYSTEM, Site, until};

/// People; more by `LOST_PEOPLE`.
fn people() -> usize {
    let set = crate::support::machine::asked("LOST_PEOPLE");
    set.map_or(60, |people| usize::try_from(people).unwrap())
}

fn all(site: &Site, path: &str, key: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let mut asked = json!({ "limit": 500 });
        if path.starts_with("/acs/credentials") {
            asked = json!({ "acs_system_id": ACCESS_SYSTEM, "limit": 500 });
        }
        if !cursor.is_null() {
            asked["page_cursor"] = cursor;
        }
        let page = site.call(path, &asked);
        all.extend(page[key].as_array().unwrap().clone());
        cursor = page["pagination"]["next_page_cursor"].clone();
        if cursor.is_null() {
            return all;
        }
    }
}

/// Every id that the app may know: of people, credentials and phones, by what it belongs to.
fn ids(site: &Site) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut ids = BTreeMap::new();
    for person in all(site, "/user_identities/list", "user_identities") {
        let key = text(&person["user_identity_key"]);
        ids.insert(format!("person {key}"), text(&person["user_identity_id"]));
    }
    for credential in all(site, "/acs/credentials/list", "acs_credentials") {
        let id = text(&credential["acs_credential_id"]);
        let user = text(&credential["acs_user_id"]);
        ids.insert(format!("credential {id}"), user);
    }
    ids
}

fn issued(site: &Site, people: usize) {
    until("all keys told", || {
        let all = all(site, "/acs/credentials/list", "acs_credentials");
        let children = all
            .iter()
            .filter(|one| !one["parent_acs_credential_id"].is_null());
        (children.filter(|one| one["is_issued"] == true).count() == people).then_some(())
    });
}

#[test]
fn a_lost_database_comes_back_without_an_issue_and_with_the_same_ids() {
    let people = people();
    let mut site = Site::without_daemon();
    let environment = "environment = \"simulator\"";
    let open = "{ requests = 100000, per = \"1s\" }";
    site.configure(
        environment,
        &format!("{environment}\nwindows = {{ mobile_identities = {open}, events = {open}, token = {open} }}"),
    );
    let wide = json!({ "requests": 100_000, "per_s": 1 });
    let windows = json!({ "mobile_identities": wide, "events": wide, "token": wide });
    site.hid.control("settings", &json!({ "windows": windows }));
    site.start_daemon();
    let file = site.file("people.csv");
    let mut text =
        "user_identity_key,full_name,email_address,access_system,card_format,facility_code\n"
            .to_owned();
    for n in 0..people {
        writeln!(
            text,
            "p{n},Ada Nr{n},ada{n}@tenant.example,hq_doors,rfid48,9"
        )
        .unwrap();
    }
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    site.said(&["apply", path]);
    for person in all(&site, "/user_identities/list", "user_identities") {
        site.hid
            .redeem(person["user_identity_id"].as_str().unwrap());
    }
    issued(&site, people);
    let known = ids(&site);
    let issues = site.hid.effects("credential_accepted");
    assert_eq!(site.hid.live().len(), people);

    site.stop_daemon();
    for entry in fs::read_dir(site.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("state.db") || name == "head" {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    site.start_daemon();
    let counted = site.said(&["adopt", "--dry-run"]);
    assert_eq!(
        counted,
        format!("hq: {people} users, {people} of them unknown here\n")
    );
    let begun = site.said(&["adopt"]);
    assert!(begun.starts_with("hq: begun"), "{begun}");
    let done = site.daemon().tells("adopt.done");
    assert_eq!(
        done["users"]["adopted"]
            .as_u64()
            .or(done["users.adopted"].as_u64()),
        Some(people as u64),
        "{done}"
    );
    site.said(&["apply", path]);
    issued(&site, people);
    assert_eq!(ids(&site), known, "every id is the same");
    assert_eq!(
        site.hid.effects("credential_accepted"),
        issues,
        "nothing was issued"
    );
    assert_eq!(site.hid.live().len(), people);
    site.assert_blameless();
}
