//! A part number that runs out, as an operator and an app see it.

use serde_json::{Value, json};

use crate::process_support::{PART_NUMBER, Site, until};

#[test]
fn who_waits_for_stock_is_told_so_and_gets_the_key_when_there_is_some() {
    let mut site = Site::start();
    let stock = |site: &Site, left: u32| {
        let level = json!({ "part_number": PART_NUMBER, "available": left });
        site.hid.control("stock", &level);
    };
    stock(&site, 0);
    let ada = site.enroll("ada");
    site.credential(&ada);
    site.hid.redeem(&ada.identity);
    site.daemon().tells("hold.set");
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
