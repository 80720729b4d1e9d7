//! A part number that runs out, as an operator and an app see it.

use serde_json::{Value, json};

use crate::process_support::{PART_NUMBER, Site, until};
use crate::support::alerts::raises;

fn stock(site: &Site, left: u32) {
    let level = json!({ "part_number": PART_NUMBER, "available": left });
    site.hid.control("stock", &level);
}

#[test]
fn a_low_stock_is_told_once_and_who_buys_is_not_told_again() {
    let mut site = Site::without_daemon();
    stock(&site, 7);
    site.start_daemon();
    let low = site.daemon().tells("stock.low");
    assert_eq!(low["level"], "WARN");
    assert_eq!(low["manager.name"], "hq");
    assert_eq!(low["part_number"], PART_NUMBER);
    assert_eq!(low["stock.available"], 7);
    raises("OrigoStockLow", &low);
    let status = site.said(&["status"]);
    assert!(status.contains(PART_NUMBER), "{status}");
    let shown: Value = serde_json::from_str(&site.said(&["status", "--json"])).unwrap();
    let parts = shown["credential_managers"][0]["stock"]["part_numbers"].clone();
    let parts = parts.as_array().unwrap().iter();
    let low: Vec<_> = parts.filter(|part| part["low"] == true).collect();
    assert_eq!(low.len(), 1, "{shown}");
    assert_eq!(low[0]["available"], 7);
    // Another daemon knows that it was told.
    site.stop_daemon();
    site.start_daemon();
    until("a poll", || {
        (site.hid.requests("events_read", "200") > 2).then_some(())
    });
    assert_eq!(site.daemon().told("stock.low"), [json!(null); 0]);
}

#[test]
fn who_waits_for_stock_is_told_so_and_gets_the_key_when_there_is_some() {
    let mut site = Site::start();
    stock(&site, 0);
    let ada = site.enroll("ada");
    site.credential(&ada);
    site.hid.redeem(&ada.identity);
    raises("OrigoStockOut", &site.daemon().tells("hold.set"));
    let status: Value = serde_json::from_str(&site.said(&["status", "--json"])).unwrap();
    assert_eq!(status["holds"][0]["scope"], "part_number");
    assert_eq!(status["holds"][0]["part_number"], PART_NUMBER);
    assert_eq!(status["holds"][0]["reason"], "out_of_stock");
    let asked = json!({ "enrollment_automation_id": ada.automation });
    let held = until("held", || {
        let shown = site.call("/enrollment_automations/get", &asked);
        let adapter = shown["enrollment_automation"]["adapter"].clone();
        (adapter["state"] == "held").then_some(adapter)
    });
    assert_eq!(held["reason"], "out_of_stock");
    let why = site.said(&["why", &ada.identity]);
    assert!(why.contains("out_of_stock"), "{why}");

    stock(&site, 3);
    site.said(&["release", "hq"]);
    until("the key", || (site.hid.live().len() == 1).then_some(()));
    let asked = site.hid.requests("issue", "412") + site.hid.requests("issue", "400");
    assert!(asked <= 2, "{asked} issues were refused");
}
