//! What somebody does in HID's portal, and what the operator does about it: the daemon, the simulator, the commands.

use std::process::Output;

use serde_json::{Value, json};

use crate::process_support::{MANAGER, Person, Site, send, until};
use crate::support::alerts::raises;

const SIMULATOR: &str = "environment = \"simulator\"";
const USERS: &str = "/credential-management/customer/7001234/users";

fn site(policy: &str) -> Site {
    let mut site = Site::without_daemon();
    let drift = format!("{SIMULATOR}\ndrift = {{ policy = \"{policy}\" }}");
    site.configure(SIMULATOR, &drift);
    let told = json!({"extra_event_statuses": true});
    site.hid.control("settings", &told);
    site.start_daemon();
    site
}

/// One command with the site's key.
fn run(site: &Site, arguments: &[&str]) -> Output {
    site.run(arguments)
}

/// What it printed; it must have succeeded.
fn said(site: &Site, arguments: &[&str]) -> String {
    site.said(arguments)
}

fn said_json(site: &Site, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    serde_json::from_str(&said(site, &arguments)).unwrap()
}

/// HID's ids of the live keys.
fn keys(site: &Site) -> Vec<u64> {
    let state = site.hid.look("state");
    let live = state["live_credentials"].as_array().unwrap().clone();
    let live = live.iter().map(|key| key["credential"].as_u64().unwrap());
    live.collect()
}

/// Ada with a phone and her key; HID's id of it.
fn ada(site: &Site) -> (Person, u64) {
    let ada = site.enroll("Ada Okafor");
    site.credential(&ada);
    site.hid.redeem(&ada.identity);
    until("her key", || (site.issued(&ada).len() == 1).then_some(()));
    let key = keys(site)[0];
    (ada, key)
}

fn revoke(site: &Site, key: u64) {
    site.hid
        .control("portal/revoke", &json!({"credential_id": key}));
    until("its end", || (!keys(site).contains(&key)).then_some(()));
}

fn why(site: &Site, id: &str) -> String {
    let told = site.call("/adapter/why", &json!({"id": id}));
    told["why"]["text"].as_str().unwrap().to_owned()
}

#[test]
fn a_revoked_key_is_reported_and_comes_back_on_request() {
    let mut site = site("report");
    let (ada, key) = ada(&site);
    revoke(&site, key);
    let line = site.daemon().tells("drift.found");
    assert_eq!(line["drift.what"], "key_revoked");
    raises("OrigoDriftFound", &line);
    assert_eq!(line["identity.id"], json!(ada.identity));
    assert_eq!(line["drift.repaired"], false);
    let text = why(&site, &ada.automation);
    assert!(text.contains("(revoked_elsewhere)"), "{text}");
    assert_eq!(keys(&site), [0; 0]);
    let told = said(&site, &["retry", &ada.identity]);
    assert!(told.contains("The call issue ("), "{told}");
    until("the key", || (keys(&site).len() == 1).then_some(()));
    assert_eq!(site.daemon().told("drift.found").len(), 1);
    site.assert_blameless();
}

#[test]
fn a_revoked_key_and_a_deleted_user_are_repaired() {
    let mut site = site("repair");
    let (ada, key) = ada(&site);
    revoke(&site, key);
    let line = site.daemon().tells("drift.found");
    assert_eq!(line["drift.repaired"], true);
    until("another key", || (keys(&site).len() == 1).then_some(()));
    site.hid
        .control("portal/delete_user", &json!({"external_id": ada.identity}));
    until("its end", || keys(&site).is_empty().then_some(()));
    until("another user", || {
        // As long as HID is at it, a read shows that the user is there.
        let told = said_json(&site, &["resync", &ada.identity]);
        assert_eq!(told["user_identity_id"], json!(ada.identity));
        (site.hid.effects("user_created") == 2).then_some(())
    });
    site.hid.redeem(&ada.identity);
    until("her key", || (keys(&site).len() == 1).then_some(()));
    let what: Vec<_> = site.daemon().told("drift.found");
    let what: Vec<_> = what.iter().map(|line| line["drift.what"].clone()).collect();
    assert_eq!(what, ["key_revoked", "user_deleted"]);
    site.assert_blameless();
}

#[test]
fn an_orphan_is_listed_and_goes_on_request() {
    let site = site("report");
    let (ada, key) = ada(&site);
    assert_eq!(said(&site, &["list", "orphans"]), "none\n");
    let phone = site.hid.live()[0].0;
    let part = "MID-SUB-EXAMPLE_2";
    let made = json!({"container_id": phone, "part_number": part});
    let stranger = site.hid.control("portal/issue", &made)["credential_id"].clone();
    said(&site, &["resync", &ada.identity]);
    let orphan = until("the orphan", || {
        let listed = said_json(&site, &["list", "orphans"]);
        listed.as_array().unwrap().first().cloned()
    });
    assert_eq!(orphan["object_type"], "credential");
    assert_eq!(orphan["hid_id"], json!(stranger.to_string()));
    assert_eq!(orphan["part_number"], part);
    assert_eq!(orphan["is_being_removed"], false);
    let table = said(&site, &["list", "orphans"]);
    assert!(table.starts_with("ORPHAN  "), "{table}");
    let id = orphan["orphan_id"].as_str().unwrap();
    let told = said(&site, &["remove-orphan", id]);
    assert_eq!(told, format!("credential {stranger} is being removed\n"));
    until("its end", || (keys(&site) == [key]).then_some(()));
    until("none", || {
        said(&site, &["resync", &ada.identity]);
        (said(&site, &["list", "orphans"]) == "none\n").then_some(())
    });
    assert_eq!(run(&site, &["remove-orphan", id]).status.code(), Some(1));
    site.assert_blameless();
}

/// A user of HID's that another program made.
fn stranger(site: &Site, email: &str) {
    let form =
        "client_id=7001234-OSRV900001&client_secret=simulator-secret&grant_type=client_credentials";
    let path = "/authentication/customer/7001234/token";
    let token = send(&site.hid.address, "POST", path, "", form.as_bytes()).unwrap();
    let token = token.body["access_token"].as_str().unwrap().to_owned();
    let media = "application/vnd.assaabloy.ma.credential-management-2.2+json";
    let head = format!(
        "authorization: Bearer {token}\r\napplication-id: HID-EXAMPLE-ADAPTER\r\ncontent-type: {media}\r\n"
    );
    let mut user = crate::simulator_support::person("Grace");
    user["emails"] = json!([{ "value": email }]);
    let made = send(
        &site.hid.address,
        "POST",
        USERS,
        &head,
        user.to_string().as_bytes(),
    );
    assert_eq!(made.unwrap().status, 201);
}

#[test]
fn a_user_in_the_way_is_taken_over_on_request() {
    let site = site("report");
    stranger(&site, "ada.okafor@tenant.example");
    let ada = site.enroll("Ada Okafor");
    until("the conflict", || {
        why(&site, &ada.automation)
            .contains("(user_conflict)")
            .then_some(())
    });
    let told = said(&site, &["adopt-user", &ada.automation]);
    assert!(told.contains("read_user"), "{told}");
    site.credential(&ada);
    let code = site.invite(&ada);
    site.hid.control("redeem", &json!({"code": code}));
    until("her key", || (keys(&site).len() == 1).then_some(()));
    assert_eq!(site.hid.effects("user_created"), 1, "the stranger's");
    let again = run(&site, &["adopt-user", &ada.automation]);
    assert_eq!(again.status.code(), Some(1));
    let error = String::from_utf8(again.stderr).unwrap();
    assert!(error.contains("there is nothing to adopt"), "{error}");
    assert!(
        why(&site, &ada.identity).contains("with hq is"),
        "{MANAGER}"
    );
}
