//! Sandbox phones on a whole site: the daemon, and the simulator with its control API.

use serde_json::{Value, json};

use crate::process_support::{MANAGER, Person, Site, id, until};

fn phone(site: &Site, person: &Person, installation: Option<&str>) -> Value {
    let asked = json!({
        "user_identity_id": person.identity,
        "custom_sdk_installation_id": installation,
        "phone_metadata": { "operating_system": "ios" },
    });
    let made = site.call("/phones/simulate/create_sandbox_phone", &asked);
    made["phone"].clone()
}

#[test]
fn an_app_is_played_without_an_app() {
    let site = Site::start();
    let person = site.enroll("Ada Example");
    site.credential(&person);

    // Right after the launch: the daemon waits for HID's invitation.
    let one = phone(&site, &person, Some("one"));
    assert_eq!(one["device_type"], "ios_phone");
    assert_eq!(one["display_name"], "Apple iPhone 15");
    assert_eq!(
        site.phones(&person),
        std::slice::from_ref(&one),
        "it is known at once"
    );
    let again = phone(&site, &person, Some("one"));
    assert_eq!(id(&again, "device_id"), id(&one, "device_id"));
    assert_eq!(
        site.phones(&person).len(),
        1,
        "the same app, the same phone"
    );
    assert_eq!(site.hid.effects("invitation_created"), 1, "nothing twice");

    let two = phone(&site, &person, Some("two"));
    let three = phone(&site, &person, None);
    let four = phone(&site, &person, None);
    let phones = [&one, &two, &three, &four].map(|phone| id(phone, "device_id"));
    assert_eq!(site.phones(&person).len(), phones.len());
    until("a key on each", || {
        (site.issued(&person).len() == phones.len()).then_some(())
    });

    // A spent code finds the phone of its own installation, and none that is gone.
    let of = json!({ "device_id": phones[0] });
    site.call("/phones/deactivate", &of);
    until("three keys", || (site.hid.live().len() == 3).then_some(()));
    let anew = phone(&site, &person, Some("one"));
    assert!(!phones.contains(&id(&anew, "device_id")), "it is new");
    until("a key for it", || {
        (site.hid.live().len() == phones.len()).then_some(())
    });
    assert_eq!(
        id(&phone(&site, &person, Some("two")), "device_id"),
        phones[1]
    );
    site.assert_blameless();
}

#[test]
fn what_we_believe_of_a_code_may_be_old() {
    let site = Site::start();
    let person = site.enroll("Ada Example");
    // An app that is not ours to play redeems the code first.
    site.hid.redeem(&person.identity);
    let made = phone(&site, &person, Some("one"));
    until("both phones", || {
        (site.phones(&person).len() == 2).then_some(())
    });
    let known = site.phones(&person);
    assert!(
        known
            .iter()
            .any(|phone| phone["device_id"] == made["device_id"])
    );
    site.assert_blameless();
}

#[test]
fn there_are_many_at_once() {
    let site = Site::start();
    let person = site.enroll("Ada Example");
    let made: Vec<String> = std::thread::scope(|scope| {
        let apps = [0, 1, 2].map(|n| {
            let (site, person) = (&site, &person);
            scope.spawn(move || id(&phone(site, person, Some(&format!("app-{n}"))), "device_id"))
        });
        apps.map(|app| app.join().unwrap()).into()
    });
    let known = site.phones(&person);
    assert_eq!(known.len(), 3, "{made:?} of {MANAGER}");
    site.assert_blameless();
}
