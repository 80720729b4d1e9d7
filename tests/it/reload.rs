//! SIGHUP: what a running daemon takes over, what waits, and what is refused.

use std::fs;
use std::os::unix::net::UnixDatagram;

use serde_json::json;

use crate::process_support::{ADAPTER, PATIENCE, Site, until};

/// The next line of an event after `seen` of them.
fn next(site: &mut Site, event: &str, seen: usize) -> serde_json::Value {
    until(event, || site.daemon().told(event).get(seen).cloned())
}

#[test]
fn a_reload_takes_over_what_it_can_and_names_what_waits() {
    let mut site = Site::start();
    let file = site.file("config.toml");
    let before = fs::read_to_string(&file).unwrap();

    // A second key, another share of the window, a louder log; and an interval that waits.
    let made = std::process::Command::new(ADAPTER)
        .args(["api-key", "new", "--name", "reader", "--scope", "read"])
        .output()
        .unwrap();
    let made = String::from_utf8(made.stdout).unwrap();
    let (reader, rest) = made.split_once('\n').unwrap();
    let hash = rest.lines().find(|line| line.starts_with("hash")).unwrap();
    let lines = format!(
        "{before}\n[api.keys.reader]\nscope = \"read\"\n{hash}\n\
         [credential_manager_defaults.windows]\nmobile_identities = {{ share = 0.5 }}\n\
         [credential_manager_defaults.phones]\nmax_per_identity = 7\n"
    );
    let lines = lines.replace("level = \"info\"", "level = \"debug\"");
    fs::write(&file, &lines).unwrap();
    let head = format!("authorization: Bearer {reader}\r\n");
    let ask = |site: &Site| site.send("GET", "/adapter/status", &head, b"").status;
    assert_eq!(ask(&site), 401, "not before the reload");
    site.daemon().signal("HUP");
    let told = next(&mut site, "config.reloaded", 0);
    let keys = told["config.keys"].as_str().unwrap().to_owned();
    assert!(keys.contains("api.keys.reader.hash"), "{keys}");
    assert!(
        keys.contains("credential_managers.hq.windows.mobile_identities.share"),
        "{keys}"
    );
    assert_eq!(site.daemon().told("config.later").len(), 0);
    assert_eq!(ask(&site), 200);
    let status = site.call("/adapter/status", &json!({}));
    let windows = &status["status"]["credential_managers"][0]["windows"];
    assert_eq!(windows["mobile_identities"]["limit"], 150, "{windows}");

    // What waits for a restart is named, and the rest counts.
    let waiting = lines.replace("share = 0.5", "share = 0.6")
        + "[credential_manager_defaults.polling]\noverlap = \"3m\"\n";
    fs::write(&file, waiting).unwrap();
    site.daemon().signal("HUP");
    next(&mut site, "config.reloaded", 1);
    let told = next(&mut site, "config.later", 0);
    assert_eq!(
        told["config.keys"],
        "credential_manager_defaults.polling.overlap, credential_managers.hq.polling.overlap"
    );
    let status = site.call("/adapter/status", &json!({}));
    let windows = &status["status"]["credential_managers"][0]["windows"];
    assert_eq!(windows["mobile_identities"]["limit"], 180, "{windows}");
    site.stop_daemon();
}

#[test]
fn a_bad_file_is_refused_and_the_old_one_stays() {
    let mut site = Site::start();
    let file = site.file("config.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        format!("{good}\n[api.keys.bad]\nscope = \"all\"\ncolour = 1\n"),
    )
    .unwrap();
    site.daemon().signal("HUP");
    next(&mut site, "config.refused", 2);
    let told = site.daemon().told("config.refused");
    let errors: Vec<_> = told
        .iter()
        .map(|line| line["error"].as_str().unwrap())
        .collect();
    assert!(
        errors[0].starts_with("api.keys.bad.colour: unknown key (in "),
        "{errors:?}"
    );
    assert!(
        errors[1].starts_with("api.keys.bad.hash: missing"),
        "{errors:?}"
    );
    assert!(
        errors[2].starts_with("api.keys.bad.scope: must be "),
        "{errors:?}"
    );
    site.call("/adapter/status", &json!({}));
    assert_eq!(site.daemon().told("config.reloaded").len(), 0);
    // And a good one afterwards is taken.
    fs::write(&file, good).unwrap();
    site.daemon().signal("HUP");
    let told = next(&mut site, "config.reloaded", 0);
    assert_eq!(told["config.keys"], "none");
    site.stop_daemon();
}

#[test]
fn people_are_read_again_at_a_reload() {
    let mut site = Site::without_daemon();
    let directory = site.file("people.d");
    fs::create_dir(&directory).unwrap();
    let file = site.file("config.toml");
    let text = fs::read_to_string(&file).unwrap();
    let line = format!("desired_state_dir = \"{}\"\n", directory.display());
    fs::write(&file, format!("{line}{text}")).unwrap();
    let rows = "user_identity_key,full_name,email_address,access_system,card_format,facility_code\n\
         ada,Ada Lovelace,ada@tenant.example,hq_doors,rfid48,9\n";
    fs::write(directory.join("all.csv"), rows).unwrap();
    site.start_daemon();
    next(&mut site, "people.applied", 0);
    // Somebody deletes her by hand: the files are as they were, and only a reload has them applied again.
    let listed = site.call("/user_identities/list", &json!({}));
    let id = listed["user_identities"][0]["user_identity_id"].clone();
    site.call(
        "/user_identities/delete",
        &json!({ "user_identity_id": id }),
    );
    site.daemon().signal("HUP");
    next(&mut site, "people.applied", 1);
    site.stop_daemon();
}

#[test]
fn systemd_is_told_when_a_reload_begins_and_when_it_is_done() {
    let mut site = Site::without_daemon();
    let path = site.file("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    site.start_daemon_below(&["/usr/bin/env", &variable]);
    let hear = || {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    while !hear().contains("READY=1") {}
    site.daemon().signal("HUP");
    let begun = std::iter::repeat_with(hear).find(|said| said.contains("RELOADING=1"));
    let begun = begun.unwrap();
    let stamp = begun
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(
        stamp.is_some_and(|stamp| stamp.parse::<u64>().is_ok()),
        "{begun}"
    );
    while !hear().contains("READY=1") {}
    // The line is written before that, and read by another thread.
    site.daemon().tells("config.reloaded");
    assert_eq!(site.daemon().told("config.reloaded").len(), 1);
    site.stop_daemon();
}
