//! `hold` and `release`, asked of a running daemon.

use std::process::Output;

use serde_json::{Value, json};

use crate::process_support::{MANAGER, Site, until};

fn ask(site: &Site, arguments: &[&str]) -> Output {
    site.run(arguments)
}

fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn under_a_hold_nothing_is_made_and_after_it_everything() {
    let mut site = Site::start();
    for (target, told) in [
        ("hq", "hq is held (operator) by ops since "),
        ("--all", "everything is held (operator) by ops since "),
    ] {
        let held = said(&ask(&site, &["hold", target]));
        assert!(held.starts_with(told), "{held}");
    }
    assert_eq!(
        said(&ask(&site, &["release", "--all"])),
        "nothing holds it now\n"
    );
    let ada = site.enroll("Ada Okafor");
    site.credential(&ada);
    // The manager alone is held by now, across a crash as well.
    site.kill_daemon();
    site.start_daemon();
    let status = said(&ask(&site, &["status"]));
    assert!(
        status.contains("hq is held (operator) by ops since "),
        "{status}"
    );
    assert!(status.contains("enroll: 1 due, "), "{status}");
    assert!(status.contains("; held\n"), "{status}");
    until("a poll of the feed under the hold", || {
        (site.hid.requests("events_read", "200") > 2).then_some(())
    });
    assert_eq!(site.hid.effects("user_created"), 0);
    let released: Value =
        serde_json::from_str(&said(&ask(&site, &["release", MANAGER, "--json"]))).unwrap();
    assert_eq!(released, json!([]));
    site.hid.redeem(&ada.identity);
    until("a key", || (site.issued(&ada).len() == 1).then_some(()));

    let held = said(&ask(&site, &["hold", &ada.identity]));
    assert!(
        held.starts_with(&format!("{} is held (operator) since ", ada.identity)),
        "{held}"
    );
    let why = said(&ask(&site, &["why", &ada.automation]));
    assert!(why.contains("is held (operator) since "), "{why}");
    assert_eq!(
        said(&ask(&site, &["release", &ada.identity])),
        "nothing holds it now\n"
    );
    assert_eq!(ask(&site, &["hold"]).status.code(), Some(2));
    assert_eq!(ask(&site, &["hold", "nowhere"]).status.code(), Some(1));
    site.stop_and_keep();
    let lines = site.written();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("hold.released") && line.contains("ops"))
    );
    site.assert_blameless();
}
