//! The receiver of callbacks, and where it is registered.

use std::fs;

use secrecy::ExposeSecret as _;

use super::Site;

#[test]
fn a_receiver_is_there_once_it_has_an_address_and_a_secret() {
    let site = Site::new();
    assert!(site.load("", &[]).unwrap().callbacks.is_none());
    let header = "[callbacks]\nheader = \"X-Hid\"";
    assert!(site.load(header, &[]).unwrap().callbacks.is_none());
    let secret = site.secret();
    let text = format!(
        "[callbacks]\nlisten = \"[::1]:8471\"\nsecret_file = {:?}",
        secret.to_str().unwrap()
    );
    let config = site.load(&text, &[]).unwrap();
    assert!(!format!("{config:?}").contains(super::SECRET));
    let callbacks = config.callbacks.unwrap();
    assert_eq!(callbacks.listen.to_string(), "[::1]:8471");
    assert_eq!(callbacks.header, "x-origo-secret");
    assert_eq!(callbacks.secret.expose_secret(), super::SECRET);
}

#[test]
fn what_is_wrong_with_a_receiver_is_said_and_no_secret_with_it() {
    let site = Site::new();
    let path = site.0.path().join("callback-secret");
    let good = "correct horse battery";
    let listen = "listen = \"127.0.0.1:8471\"\n";
    let bad = "callbacks.secret_file: \"callback-secret\" must hold 16 to 256 printable characters (in config.toml)";
    for (held, text, wanted) in [
        (None, listen, "callbacks.secret_file: missing"),
        (Some(good), "", "callbacks.listen: missing"),
        (Some("fifteen letters"), listen, bad),
        (Some(&*"long".repeat(65)), listen, bad),
        (Some("a line\nand another line"), listen, bad),
        (Some(" blank at its very ends "), listen, bad),
        (
            Some(good),
            "listen = \"0.0.0.0:8471\"\nheader = \"content-type\"\n",
            "callbacks.header: must be the name of a header that is free, such as \"x-origo-secret\", not \"content-type\" (in config.toml)\n\
             callbacks.listen: must be a loopback address, behind a proxy that speaks HTTPS, not \"0.0.0.0:8471\" (in config.toml)",
        ),
        (
            None,
            "header = \"two words\"\nlistn = 1",
            "callbacks.header: must be the name of a header that is free, such as \"x-origo-secret\", not \"two words\" (in config.toml)\n\
             callbacks.listn: unknown key (in config.toml)",
        ),
    ] {
        let secret = held.map_or(String::new(), |held| {
            fs::write(&path, held).unwrap();
            format!("secret_file = {path:?}\n")
        });
        let text = format!(
            "[callbacks]\n{text}{}{secret}",
            if text.ends_with('\n') { "" } else { "\n" }
        );
        assert_eq!(site.complaints(&text, &[]), wanted, "{text}");
    }
}

#[test]
fn only_production_has_a_usual_place_for_registering() {
    let site = Site::new();
    let manager = site.manager();
    let callback = |more: &str| {
        let config = site.load(&format!("{manager}{more}"), &[]).unwrap();
        let url = config.credential_managers["hq"].callback_url.clone();
        url.map(String::from)
    };
    let usual = "https://callback.api.origo.hidglobal.com/";
    assert_eq!(callback("").as_deref(), Some(usual));
    let certification = "environment = \"certification\"\nevents_url = \"https://event.example\"\n";
    assert_eq!(callback(certification), None);
    let own = format!("{certification}callback_url = \"https://callback.example\"");
    assert_eq!(callback(&own).as_deref(), Some("https://callback.example/"));
    let said = site.complaints(
        &format!("{manager}callback_url = \"http://c.example\""),
        &[],
    );
    assert_eq!(
        said,
        "credential_managers.hq.callback_url: must begin with https:// unless the host is this machine, not \"http://c.example\" (in config.toml)"
    );
}
