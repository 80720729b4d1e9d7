//! Callbacks on a whole site: HID posts, the daemon polls at once although its interval is an hour, and the commands
//! that tell HID of us.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::process_support::{ADAPTER, Process, Site, send, until};

const SECRET: &str = "Zwetschgenkuchen-4711";

/// A site whose daemon reads the feed once an hour and nobody's record round and round, and takes callbacks.
fn site() -> Site {
    let site = Site::without_daemon();
    let secret = site.file("callback-secret");
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    site.configure("interval = \"1s\"", "interval = \"1h\"\nsweep_share = 0");
    let hid = &site.hid.address;
    site.configure(
        "control_url",
        &format!("callback_url = \"http://{hid}\"\ncontrol_url"),
    );
    site.configure(
        "[issuance]",
        &format!(
            "[callbacks]\nlisten = \"127.0.0.1:0\"\nsecret_file = {secret:?}\n[log]\nlevel = \"trace\"\n[issuance]"
        ),
    );
    site
}

/// One of the `callback` commands.
fn callback(site: &Site, arguments: &[&str]) -> Output {
    let file = site.file("config.toml");
    let mut command = Command::new(ADAPTER);
    command.env_clear().arg("callback").args(arguments);
    command.arg("--config").arg(file).output().unwrap()
}

fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn receiver(daemon: &mut Process) -> String {
    let line = daemon.tells("callback.listening");
    line["address"].as_str().unwrap().to_owned()
}

#[test]
fn a_phone_is_found_by_a_callback_although_the_feed_is_read_once_an_hour() {
    let mut site = site();
    site.start_daemon();
    let address = receiver(site.daemon());
    let deaf = site.enroll("Ada Deaf");
    site.credential(&deaf);
    site.hid.redeem(&deaf.identity);
    until("a phone at HID", || {
        let state = site.hid.look("state");
        (state["active_containers"].as_array()?.len() == 1).then_some(())
    });
    assert!(site.phones(&deaf).is_empty(), "nobody told of it");
    assert_eq!(site.hid.requests("events_read", "200"), 1, "at the start");

    let url = format!("http://{address}/hid");
    said(&callback(&site, &["register", "--url", &url]));
    let person = site.enroll("Ada Heard");
    site.credential(&person);
    site.hid.redeem(&person.identity);
    until("a key for each", || {
        let issued = site.issued(&person).len() + site.issued(&deaf).len();
        (issued == 2).then_some(())
    });
    let polls = site.hid.requests("events_read", "200");
    assert!((2..=9).contains(&polls), "{polls} polls");
    let told = site.hid.look("callbacks");
    let told = told.as_array().unwrap();
    assert!(!told.is_empty() && told.iter().all(|one| one["status"] == 200));
    let heeded = site.daemon().told("callback.heeded");
    assert_eq!(heeded[0]["manager.name"], "hq");
    assert_eq!(site.hid.live().len(), 2);
    site.assert_blameless();

    // Whoever forges one has nothing read, and the log tells of all of them in one line.
    let forged = |secret: &str| {
        let head = format!(
            "content-type: application/cloudevents-batch+json\r\nx-origo-secret: {secret}\r\n"
        );
        send(&address, "POST", "/hid", &head, b"[]").unwrap().status
    };
    let refused = site.daemon().told("callback.refused");
    assert!(refused.is_empty(), "{refused:?}");
    for _ in 0..40 {
        assert_eq!(forged("Zwetschgenkuchen-4712"), 401);
    }
    let refused = site.daemon().tells("callback.refused");
    assert_eq!(refused["reasons"], "secret 1", "the first, at once");
    assert_eq!(forged(SECRET), 200);
    site.stop_and_keep();
    let written = site.written();
    let told = written
        .iter()
        .filter(|line| line.contains("callback.refused"));
    assert_eq!(told.count(), 1);
    let leaks: Vec<_> = written
        .iter()
        .filter(|line| line.contains("Zwetschgenkuchen"))
        .collect();
    assert!(leaks.is_empty(), "{leaks:?}");
}

#[test]
fn a_slow_client_and_one_too_large_are_turned_away_and_the_next_is_served() {
    let mut site = site();
    site.start_daemon();
    let address = receiver(site.daemon());
    let head = |secret: &str| {
        format!("content-type: application/cloudevents-batch+json\r\nx-origo-secret: {secret}\r\n")
    };
    // Sixty that never finish their request.
    let slow: Vec<_> = (0..60)
        .map(|_| {
            use std::io::Write as _;
            let mut stream = std::net::TcpStream::connect(&address).unwrap();
            stream
                .write_all(b"POST /hid HTTP/1.1\r\nhost: a\r\n")
                .unwrap();
            stream
        })
        .collect();
    let large = vec![b' '; 1024 * 1024 + 1];
    let answer = send(&address, "POST", "/hid", &head(SECRET), &large).unwrap();
    assert_eq!(answer.status, 413);
    let answer = send(&address, "POST", "/hid", &head(SECRET), b"[]").unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, Value::Null);
    assert!(!answer.head.contains("seam"), "{}", answer.head);
    // It is no way into the API, whatever key is shown.
    let key = format!("{}{}", head("wrong"), site.head());
    for path in ["/healthz", "/user_identities/list", "/metrics"] {
        let answer = send(&address, "POST", path, &key, b"{}").unwrap();
        assert_eq!(answer.status, 401, "{path}");
    }
    drop(slow);
}

#[test]
fn a_callback_is_registered_listed_and_removed() {
    let site = site();
    let url = "http://127.0.0.1:8471/hid";
    let added = said(&callback(&site, &["register", "--url", url]));
    let id = added.trim().strip_prefix("hq: registered as ").unwrap();
    let again = said(&callback(&site, &["register", "--url", url]));
    assert_eq!(
        again,
        format!("hq: registered before as {id}; if header or secret changed, remove it first\n")
    );
    assert_eq!(site.hid.requests("callback_create", "201"), 1);

    let listed = said(&callback(&site, &["list", "--json"]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let filter = listed[0]["filter_id"].as_str().unwrap();
    let expected = json!([{
        "credential_manager": "hq", "id": id, "url": url, "filter_id": filter,
    }]);
    assert_eq!(listed, expected);
    let shown = said(&callback(&site, &["list", "--credential-manager", "hq"]));
    assert_eq!(shown, format!("{id}  hq  {url}  filter {filter}\n"));

    let other = "http://127.0.0.1:8471/other";
    let arguments = ["register", "--url", other, "--filter", filter];
    said(&callback(&site, &arguments));
    said(&callback(&site, &["remove", id]));
    said(&callback(&site, &["register", "--url", url]));
    assert_eq!(
        site.hid.requests("filter_create", "201"),
        1,
        "it is found again"
    );
    let listed = said(&callback(&site, &["list", "--json"]));
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), 2);

    let gone = callback(&site, &["remove", id]);
    assert_eq!(gone.status.code(), Some(1));
    let said = String::from_utf8(gone.stderr).unwrap();
    assert!(said.contains("credential_managers.hq"), "{said}");
    assert!(said.contains("answered with 404"), "{said}");
    site.assert_blameless();
}

#[test]
fn a_registration_that_cannot_be_says_whose_turn_it_is() {
    let site = site();
    let url = "http://127.0.0.1:8471/hid";
    let register = ["register", "--url", url];
    let fails = |arguments: &[&str], code: i32, wanted: &str| {
        let output = callback(&site, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(wanted), "{said}");
        assert!(!said.contains(SECRET), "{said}");
    };
    fails(&["register", "--url", "hid"], 1, "--url: Invalid url");
    fails(&["register", "--url", "ftp://a.example"], 1, "https://");
    fails(
        &["register", "--url", "https://me:x@a.example"],
        1,
        "user or password",
    );
    fails(&["remove", "../events/filter"], 2, "no id of HID's");
    fails(
        &["list", "--credential-manager", "hg"],
        1,
        "there is no credential_managers.hg",
    );
    let unknown = ["register", "--url", url, "--filter", "17"];
    fails(&unknown, 1, "404");

    // HID wants the other form of registration.
    let form = json!({ "callback_authentication": "api_key" });
    site.hid.control("settings", &form);
    fails(
        &register,
        1,
        "create_callback of events was answered with 400",
    );
    let form = json!({ "callback_authentication": "header_secret" });
    site.hid.control("settings", &form);

    let next = json!({ "next": [{ "class": "callback_list", "fault": "http_503" }] });
    site.hid.control("faults", &next);
    fails(&register, 69, "answered with 503");
    fs::write(site.file("origo-secret"), "another").unwrap();
    fails(&register, 77, "credential_managers.hq");
    fs::write(site.file("origo-secret"), "simulator-secret").unwrap();
    let hid = format!("callback_url = \"http://{}\"\n", site.hid.address);
    site.configure(&hid, "");
    fails(
        &register,
        78,
        "credential_managers.hq.callback_url: missing",
    );
    site.configure("control_url", &format!("{hid}control_url"));
    let secret = site.file("callback-secret");
    let own = format!("listen = \"127.0.0.1:0\"\nsecret_file = {secret:?}\n");
    site.configure(&own, "");
    fails(&register, 78, "callbacks.listen: missing");
}
