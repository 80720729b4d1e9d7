//! How many phones a person may have, over HTTP: the daemon, the simulator, and an app that registers.

use serde_json::{Value, json};

use crate::process_support::{Person, Site, id, send, until};

const LIMIT: &str = "environment = \"simulator\"";

fn site(phones: &str) -> Site {
    let mut site = Site::without_daemon();
    site.configure(LIMIT, &format!("{LIMIT}\nphones = {{ {phones} }}"));
    site.start_daemon();
    site
}

/// A phone of this model registers by a code of its own; HID's id of it.
fn register(site: &Site, person: &Person, model: &str) -> u64 {
    let device = json!({"manufacturer": "Apple", "model": model});
    // The daemon may not have heard yet that the last code is spent.
    until("a code that is open", || {
        let asked = json!({"code": site.invite(person), "device": device}).to_string();
        let path = "/control/redeem";
        let made = send(&site.hid.address, "POST", path, "", asked.as_bytes())?;
        made.body["container_id"].as_u64()
    })
}

/// The automation's phones, once there are so many.
fn known(site: &Site, person: &Person, count: usize) -> Vec<Value> {
    let asked = json!({"enrollment_automation_id": person.automation});
    until("the phones", || {
        let shown = site.call("/enrollment_automations/get", &asked);
        let phones = shown["enrollment_automation"]["adapter"]["phones"].clone();
        let phones = phones.as_array().unwrap().clone();
        (phones.len() == count).then_some(phones)
    })
}

fn holders(site: &Site) -> Vec<u64> {
    site.hid
        .live()
        .into_iter()
        .map(|(phone, _)| phone)
        .collect()
}

#[test]
fn a_phone_too_many_is_shown_as_such_and_gets_its_key_when_another_goes() {
    let site = site("max_per_identity = 1");
    let ada = site.enroll("Ada Okafor");
    site.credential(&ada);
    let first = register(&site, &ada, "iPhone15,2");
    until("the first key", || {
        (holders(&site) == [first]).then_some(())
    });
    let second = register(&site, &ada, "iPhone15,3");
    let phones = known(&site, &ada, 2);
    let refused: Vec<_> = phones.iter().filter(|p| p["enrolled"] == false).collect();
    assert_eq!(refused.len(), 1, "{phones:?}");
    assert_eq!(refused[0]["reason"], "over_limit");
    assert_eq!(refused[0]["keys"], json!([]));
    let device = id(refused[0], "device_id");
    let shown = site.call("/phones/get", &json!({"device_id": device}));
    let warning = &shown["phone"]["warnings"][0];
    assert_eq!(warning["warning_code"], "over_phone_limit", "{shown}");
    let why = site.call("/adapter/why", &json!({"id": device}));
    let text = why["why"]["text"].as_str().unwrap();
    assert!(text.contains("(over_limit) since 20"), "{text}");
    assert!(text.contains(": 1 phones have them, and 1 may."), "{text}");
    assert_eq!(holders(&site), [first]);

    let lost = phones.iter().find(|p| p["enrolled"] == true).unwrap();
    site.call(
        "/phones/deactivate",
        &json!({"device_id": lost["device_id"]}),
    );
    until("the second key", || {
        (holders(&site) == [second]).then_some(())
    });
    let shown = site.call("/phones/get", &json!({"device_id": device}));
    assert_eq!(shown["phone"]["warnings"], json!([]));
    site.assert_blameless();
}

#[test]
fn the_oldest_phone_makes_room() {
    let site = site("max_per_identity = 1, over_limit = \"retire_oldest\"");
    let ada = site.enroll("Ada Okafor");
    site.credential(&ada);
    for model in ["iPhone15,2", "iPhone15,3", "iPhone15,2"] {
        let newest = register(&site, &ada, model);
        until("its key alone", || {
            (holders(&site) == [newest]).then_some(())
        });
    }
    until("one phone", || (site.phones(&ada).len() == 1).then_some(()));
    site.assert_blameless();
}

#[test]
fn a_new_phone_of_the_same_model_replaces_the_old_one() {
    let site = site("same_device = \"keep_newest\"");
    let ada = site.enroll("Ada Okafor");
    site.credential(&ada);
    let stays = register(&site, &ada, "iPhone15,3");
    register(&site, &ada, "iPhone15,2");
    until("two keys", || (holders(&site).len() == 2).then_some(()));
    let newest = register(&site, &ada, "iPhone15,2");
    until("the newest", || {
        (holders(&site) == [stays, newest]).then_some(())
    });
    site.assert_blameless();
}
