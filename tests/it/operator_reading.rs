//! What the operator reads: lists, one person, a journal; and an invitation for a further phone.

use std::collections::BTreeSet;
use std::process::Output;

use serde_json::{Value, json};

use crate::process_support::{PERSON_GONE, Site, until, until_within};

fn ask(site: &Site, arguments: &[&str]) -> Output {
    site.run(arguments)
}

fn said(site: &Site, arguments: &[&str]) -> String {
    site.said(arguments)
}

fn rows(site: &Site, arguments: &[&str]) -> Vec<Value> {
    let text = said(site, &[arguments, &["--json"]].concat());
    let rows: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    rows.as_array().unwrap().clone()
}

#[test]
fn a_person_is_listed_shown_told_of_and_invited() {
    let mut site = Site::start();
    for kind in ["identities", "automations", "phones", "credentials"] {
        assert_eq!(said(&site, &["list", kind]), "");
        assert_eq!(said(&site, &["list", kind, "--json"]), "[]\n");
    }
    let ada = site.enroll("Ada Okafor");
    let parent = site.credential(&ada);
    site.hid.redeem(&ada.identity);
    until("a key", || (site.issued(&ada).len() == 1).then_some(()));
    let grace = site.enroll("Grace Hopper");
    said(&site, &["hold", &grace.identity]);

    let people = said(&site, &["list", "identities"]);
    let expected = format!(
        "{}  held (operator)\n{}  present\n",
        grace.identity, ada.identity
    );
    assert_eq!(people, expected, "newest first");
    let held = rows(&site, &["list", "automations", "--state", "held"]);
    assert_eq!(held.len(), 1);
    assert_eq!(held[0]["id"], grace.automation.as_str());
    assert_eq!(held[0]["credential_manager"], "hq");
    let phones = said(&site, &["list", "phones"]);
    assert!(phones.contains("  active  hq  of "), "{phones}");
    let credentials = rows(&site, &["list", "credentials", "--state", "issued"]);
    assert_eq!(credentials.len(), 1);
    let child = credentials[0]["id"].as_str().unwrap();

    let phone = site.phones(&ada)[0]["device_id"]
        .as_str()
        .unwrap()
        .to_owned();
    for id in [
        &ada.identity,
        &ada.automation,
        &parent,
        child,
        &phone,
        &ada.acs_user,
    ] {
        let shown = said(&site, &["show", id]);
        assert!(
            shown.starts_with(&format!("Ada Okafor  {}\n", ada.identity)),
            "{shown}"
        );
        for part in [&ada.automation, &parent, child, &phone] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        let history = rows(&site, &["history", id]);
        let seqs: Vec<u64> = history
            .iter()
            .map(|row| row["seq"].as_u64().unwrap())
            .collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
        assert_eq!(history[0]["entity"], format!("identity/{}", ada.identity));
        assert_eq!(history[0]["cause"], "ops");
    }
    let history = said(&site, &["history", &ada.identity]);
    assert!(history.contains(&format!(
        "  identity/{}  none -> present  by ops\n",
        ada.identity
    )));
    assert!(!history.contains("Okafor"), "{history}");

    let first = said(&site, &["invite", &ada.identity]);
    assert!(
        first.starts_with("preparing: ") || first.starts_with("pending: "),
        "{first}"
    );
    until("a second code", || {
        said(&site, &["invite", &ada.automation])
            .starts_with("pending: ")
            .then_some(())
    });
    site.hid.redeem(&ada.identity);
    until("two keys", || (site.issued(&ada).len() == 2).then_some(()));

    assert_eq!(ask(&site, &["list", "doors"]).status.code(), Some(2));
    let nobody = "ffffffff-ffff-4fff-8fff-ffffffffffff";
    for command in ["show", "history", "invite"] {
        assert_eq!(
            ask(&site, &[command, nobody]).status.code(),
            Some(1),
            "{command}"
        );
    }
    // Who is gone is still told of.
    let asked = json!({ "user_identity_id": ada.identity });
    site.call("/user_identities/delete", &asked);
    until_within(PERSON_GONE, "the end of a person", || {
        (site.ask("/user_identities/get", &asked).status == 404).then_some(())
    });
    assert_eq!(ask(&site, &["show", &ada.identity]).status.code(), Some(1));
    let history = said(&site, &["history", &ada.identity]);
    assert!(
        history.lines().last().unwrap().contains(" -> none  by "),
        "{history}"
    );
    site.stop_daemon();
    site.assert_blameless();
}

#[test]
fn more_than_a_page_is_listed_whole_and_once() {
    let site = Site::start();
    let file = site.file("people.csv");
    let row = |n: usize| format!("p{n},Ada Nr{n},ada{n}@tenant.example,hq_doors,rfid48,9\n");
    let header =
        "user_identity_key,full_name,email_address,access_system,card_format,facility_code\n";
    let rows_of: String = (0..603).map(row).collect();
    std::fs::write(&file, format!("{header}{rows_of}")).unwrap();
    said(&site, &["hold", "--all"]);
    said(&site, &["apply", file.to_str().unwrap()]);
    let listed = rows(&site, &["list", "automations", "--state", "held"]);
    assert_eq!(listed.len(), 603);
    let ids: BTreeSet<&str> = listed
        .iter()
        .map(|row| row["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 603, "each once");
    assert_eq!(said(&site, &["list", "identities"]).lines().count(), 603);
    assert_eq!(
        said(&site, &["list", "identities", "--state", "deleting"]),
        ""
    );
}
