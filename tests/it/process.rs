//! The binary as a site runs it: two processes, real sockets, real signals, `kill -9`.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process_support::{
    ADAPTER, MANAGER, PART_NUMBER, Person, Process, Simulator, Site, configure, id, until,
};
use crate::support::alerts::raises;

/// Waits until so many children are issued, and returns them.
fn issued(site: &Site, person: &Person, wanted: usize) -> Vec<Value> {
    until("keys on the phones", || {
        let issued = site.issued(person);
        (issued.len() == wanted).then_some(issued)
    })
}

fn call(class: &str, outcome: &str) -> (String, String) {
    (class.to_owned(), outcome.to_owned())
}

#[test]
fn the_calls_of_the_seeds_put_a_key_on_every_phone() {
    let mut site = Site::start();
    let person = site.enroll("Ada Example");
    let parent = site.credential(&person);
    let first = site.hid.redeem(&person.identity);
    let children = issued(&site, &person, 1);
    assert_eq!(children[0]["parent_acs_credential_id"], parent.as_str());
    assert_eq!(site.hid.live(), [(first, PART_NUMBER.to_owned())]);
    // Two calls for a first phone: the user with the invitation in it, and the key.
    assert_eq!(
        site.hid.identity_calls(),
        [call("user_create", "201"), call("issue", "200")]
    );

    let code = site.invite(&person);
    let second = site.hid.control("redeem", &json!({ "code": code }));
    let second = second["container_id"].as_u64().unwrap();
    issued(&site, &person, 2);
    let wanted = [first, second].map(|phone| (phone, PART_NUMBER.to_owned()));
    assert_eq!(site.hid.live(), wanted);
    assert_eq!(site.phones(&person).len(), 2);

    site.call(
        "/acs/credentials/delete",
        &json!({ "acs_credential_id": parent }),
    );
    until("the keys to be gone", || {
        site.hid.live().is_empty().then_some(())
    });
    site.assert_blameless();
    site.stop_daemon();
}

#[test]
fn the_first_signal_drains_and_the_second_cuts() {
    let mut site = Site::start();
    // Asks for a reload, which ends nothing.
    site.daemon().signal("HUP");
    assert_eq!(site.send("GET", "/readyz", "", b"").status, 200);
    site.daemon().signal("TERM");
    let mut daemon = site.daemon.take().unwrap();
    assert_eq!(daemon.end().code(), Some(0));
    assert_eq!(daemon.tells("daemon.stopped")["outcome"], "Clean");
    assert_eq!(daemon.told("daemon.draining").len(), 1);

    site.start_daemon();
    let hang = json!({ "next": [{ "class": "user_create", "fault": "hang" }] });
    site.hid.control("faults", &hang);
    let person = site.enroll("Ada Example");
    until("the call that hangs", || {
        (site.hid.requests("user_create", "hang") == 1).then_some(())
    });
    let mut daemon = site.daemon.take().unwrap();
    daemon.signal("TERM");
    daemon.tells("daemon.draining");
    daemon.signal("TERM");
    assert_eq!(daemon.end().code(), Some(1));
    assert_eq!(daemon.tells("daemon.stopped")["outcome"], "Cut");

    site.start_daemon();
    site.hid.redeem(&person.identity);
    assert_eq!(site.hid.effects("user_created"), 1);
    site.assert_blameless();
}

/// Where in a call `kill -9` strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Boundary {
    /// The claim is committed; not one byte was sent, because the login before it hangs.
    Claimed,
    /// The request arrived, took no effect and has no answer.
    Sent,
    /// The request took effect and has no answer.
    Applied,
    /// The request is cut off and takes effect later.
    Late,
    /// The answer is on its way, or here, or just committed.
    Answered,
}

impl Boundary {
    /// Prepares for the next call of `class`.
    fn arm(self, site: &mut Site, class: &str) {
        let fault = match self {
            Self::Claimed => {
                // A daemon that has just started has no token yet.
                site.stop_daemon();
                site.hid.control("faults", &json!({ "hang": 1.0 }));
                site.start_daemon();
                return;
            }
            Self::Answered => return,
            Self::Sent => "hang",
            Self::Applied => "hang_with_effect",
            Self::Late => "late_effect",
        };
        let faults =
            json!({ "late_by_max_ms": 1000, "next": [{ "class": class, "fault": fault }] });
        site.hid.control("faults", &faults);
    }

    /// How often a call of `class` came so far.
    fn reached(self, site: &Site, class: &str) -> u64 {
        let outcomes: &[&str] = match self {
            Self::Claimed => return claims(site),
            Self::Sent => &["hang"],
            Self::Applied => &["hang_with_effect"],
            Self::Late => &["late_effect"],
            Self::Answered => &["200", "201", "204"],
        };
        outcomes
            .iter()
            .map(|outcome| site.hid.requests(class, outcome))
            .sum()
    }

    /// Lets `act` owe a call of `class`, kills the daemon there, and starts it again.
    fn strike(self, site: &mut Site, class: &str, act: impl FnOnce(&Site)) {
        self.arm(site, class);
        let before = self.reached(site, class);
        act(site);
        until(&format!("{class} to be {self:?}"), || {
            (self.reached(site, class) > before).then_some(())
        });
        site.kill_daemon();
        if self == Self::Claimed {
            site.hid.control("faults", &json!({ "preset": "none" }));
        }
        site.start_daemon();
        // A call that was cut off, or cut us off, may have been settled before the end came.
        if matches!(self, Self::Claimed | Self::Sent | Self::Applied) {
            assert_eq!(site.daemon().told("claim.recovered").len(), 1, "{class}");
        }
    }
}

/// Claims in the database, seen the way an operator's `sqlite3` sees them.
fn claims(site: &Site) -> u64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(site.file("state.db"), flags).unwrap();
    let claims: i64 = database
        .query_row(
            "SELECT count(*) FROM identities WHERE claim_token IS NOT NULL",
            [],
            |row| row.get(0),
        )
        .unwrap();
    u64::try_from(claims).unwrap()
}

/// A whole life in which every kind of call is cut off at `boundary`; its outcome is that of an untroubled one.
fn a_life_with_cuts(boundary: Boundary) {
    let mut site = Site::start();
    let mut person = None;
    boundary.strike(&mut site, "user_create", |site| {
        person = Some(site.enroll("Ada Example"));
    });
    let person = person.unwrap();
    let first = site.hid.redeem(&person.identity);
    until("the phone", || {
        (site.phones(&person).len() == 1).then_some(())
    });
    assert_eq!(site.hid.effects("user_created"), 1);

    let mut parent = None;
    boundary.strike(&mut site, "issue", |site| {
        parent = Some(site.credential(&person));
    });
    let parent = parent.unwrap();
    let children = issued(&site, &person, 1);
    assert_eq!(children[0]["parent_acs_credential_id"], parent.as_str());
    assert_eq!(site.hid.live(), [(first, PART_NUMBER.to_owned())]);

    boundary.strike(&mut site, "invitation_create", |site| {
        let asked = json!({ "enrollment_automation_id": person.automation });
        let path = "/enrollment_automations/invitations/get_or_create";
        site.call(path, &asked);
    });
    let second = until("a code that can be redeemed", || {
        let code = json!({ "code": site.invite(&person) }).to_string();
        let path = "/control/redeem";
        let answer =
            crate::process_support::send(&site.hid.address, "POST", path, "", code.as_bytes());
        answer.unwrap().body["container_id"].as_u64()
    });
    issued(&site, &person, 2);
    let wanted = [first, second].map(|phone| (phone, PART_NUMBER.to_owned()));
    assert_eq!(site.hid.live(), wanted);
    until("codes left over to be cancelled", || {
        let left = &site.hid.look("state")["surplus_invitations"];
        (*left == json!([])).then_some(())
    });

    boundary.strike(&mut site, "revoke", |site| {
        site.call(
            "/acs/credentials/delete",
            &json!({ "acs_credential_id": parent }),
        );
    });
    until("the keys to be gone", || {
        site.hid.live().is_empty().then_some(())
    });
    // Each phone had one key in its life, and nobody else was made.
    assert_eq!(site.hid.effects("credential_accepted"), 2);
    assert_eq!(site.hid.effects("user_created"), 1);
    site.assert_blameless();
    site.stop_daemon();
}

#[test]
fn killed_between_claim_and_request_nothing_is_lost() {
    a_life_with_cuts(Boundary::Claimed);
}

#[test]
fn killed_after_a_request_without_effect_nothing_is_lost() {
    a_life_with_cuts(Boundary::Sent);
}

#[test]
fn killed_after_the_effect_nothing_is_done_twice() {
    a_life_with_cuts(Boundary::Applied);
}

#[test]
fn killed_before_a_late_effect_nothing_is_done_twice() {
    a_life_with_cuts(Boundary::Late);
}

#[test]
fn killed_around_the_commit_nothing_is_done_twice() {
    a_life_with_cuts(Boundary::Answered);
}

#[test]
fn a_second_daemon_is_kept_out() {
    let site = Site::start();
    let second = Command::new(ADAPTER)
        .args(site.arguments())
        .env_clear()
        .output();
    let second = second.unwrap();
    assert_eq!(second.status.code(), Some(69));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("database in use"), "{said}");
    assert!(said.contains("state.db"), "{said}");
    assert_eq!(site.send("GET", "/healthz", "", b"").status, 200);
}

#[test]
fn bad_configurations_are_78_and_name_the_key() {
    let site = Site::without_daemon();
    let file = site.file("config.toml");
    let good = fs::read_to_string(&file).unwrap();
    let secret = site.file("origo-secret").to_str().unwrap().to_owned();
    for (old, new, key) in [
        ("[issuance]", "[issuance]\nhurry = true", "issuance.hurry"),
        (
            "[issuance]",
            "[callbacks]\nheader = \"host\"\n[issuance]",
            "callbacks.header",
        ),
        ("\"400ms\"", "\"soon\"", "issuance.settle_delay"),
        (
            &secret,
            "/nowhere/secret",
            "credential_managers.hq.client_secret_file",
        ),
        ("\"127.0.0.1:0\"", "\"0.0.0.0:8470\"", "api.listen"),
        ("\"write\"", "\"all\"", "api.keys.ops.scope"),
        (
            "credential_manager = \"hq\"",
            "credential_manager = \"hg\"",
            "access_systems.hq_doors.credential_manager",
        ),
    ] {
        assert!(good.contains(old), "{old}");
        fs::write(&file, good.replace(old, new)).unwrap();
        let run = Command::new(ADAPTER)
            .args(site.arguments())
            .env_clear()
            .output();
        let run = run.unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(78), "{key}: {said}");
        assert!(
            said.starts_with(&format!("origo-adapter: {key}")),
            "{key}: {said}"
        );
        assert!(said.contains("config.toml"), "{key}: {said}");
        assert_eq!(said.lines().count(), 1, "{key}: {said}");
    }
}

#[test]
fn a_wrong_secret_pauses_and_loses_nothing() {
    let mut site = Site::without_daemon();
    fs::write(site.file("origo-secret"), "mistyped\n").unwrap();
    site.start_daemon();
    let person = site.enroll("Ada Example");
    site.credential(&person);
    let paused = site.daemon().tells("service.paused");
    assert_eq!(paused["condition"], "refused", "{paused}");
    assert!(!paused.to_string().contains("mistyped"));
    raises("OrigoServiceDown", &paused);
    assert_eq!(site.send("GET", "/healthz", "", b"").status, 200);
    assert_eq!(site.send("GET", "/readyz", "", b"").status, 200);
    until("a second try of the login", || {
        (site.hid.requests("token", "401") >= 2).then_some(())
    });
    assert!(
        site.hid.requests("token", "401") <= 3,
        "{}",
        site.hid.look("ledger")
    );

    // HID takes the secret after all.
    let organization =
        json!({ "id": "7001234", "client_id": "7001234-OSRV900001", "client_secret": "mistyped" });
    site.hid
        .control("settings", &json!({ "organizations": [organization] }));
    let phone = site.hid.redeem(&person.identity);
    issued(&site, &person, 1);
    assert_eq!(site.hid.live(), [(phone, PART_NUMBER.to_owned())]);
    assert!(!site.daemon().told("service.resumed").is_empty());
    assert!(site.hid.requests("token", "401") <= 6);
    site.assert_blameless();
}

#[test]
fn an_unreachable_hid_is_waited_for() {
    let folder = TempDir::new().unwrap();
    // Nobody listens there until the simulator does.
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap().to_string();
    drop(place);
    configure(folder.path(), &address);
    let file = folder.path().join("config.toml");
    let mut daemon = Process::start(&["run", "--config", file.to_str().unwrap()]);
    daemon.tells("daemon.ready");
    let paused = daemon.tells("service.paused");
    assert_eq!(paused["condition"], "unreachable", "{paused}");
    let hid = Simulator::start(folder.path(), &address);
    daemon.tells("service.resumed");
    assert!(hid.requests("events_read", "200") > 0);
    daemon.signal("INT");
    assert_eq!(daemon.end().code(), Some(0));
}

#[test]
fn bad_requests_are_answered_in_json() {
    let mut site = Site::start();
    let nobody = "5a0f6f8e-3c1d-4b7a-9e42-8d1c60b3f5a7";
    for (path, body, status, kind) in [
        (
            "/user_identities/get",
            json!({ "user_identity_id": nobody }),
            404,
            "user_identity_not_found",
        ),
        (
            "/user_identities/enrollment_automations/launch",
            json!({ "user_identity_id": nobody, "credential_manager_acs_system_id": MANAGER }),
            404,
            "user_identity_not_found",
        ),
        (
            "/acs/credentials/get",
            json!({ "acs_credential_id": nobody }),
            404,
            "acs_credential_not_found",
        ),
        (
            "/acs/credentials/delete",
            json!({ "acs_credential_id": nobody }),
            404,
            "acs_credential_not_found",
        ),
        (
            "/user_identities/get",
            json!({ "user_identity_id": "nobody" }),
            400,
            "invalid_input",
        ),
        ("/no/such/route", json!({}), 404, "not_found"),
    ] {
        let answer = site.ask(path, &body);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert_eq!(
            answer.body["error"]["type"], kind,
            "{path}: {}",
            answer.body
        );
        assert_eq!(answer.body["ok"], false);
        assert!(
            answer.head.contains("content-type: application/json"),
            "{}",
            answer.head
        );
        assert!(answer.head.contains("seam-request-id: "), "{}", answer.head);
    }
    let person = site.enroll("Ada Example");
    let head = site.head();
    let path = "/user_identities/create";
    let torn = site.send("POST", path, &head, b"{\"full_name\": ");
    assert_eq!(torn.status, 400, "{}", torn.body);
    assert!(torn.body["error"]["message"].is_string());
    let large = format!("{{\"full_name\": \"{}\"}}", "x".repeat(1024 * 1024));
    let large = site.send("POST", path, &head, large.as_bytes());
    assert_eq!(large.status, 413, "{}", large.body);
    assert_eq!(large.body["ok"], false);
    let stranger = site.send("POST", path, "authorization: Bearer seam_guess\r\n", b"{}");
    assert_eq!(stranger.status, 401, "{}", stranger.body);
    assert_eq!(site.send("GET", "/healthz", "", b"").status, 200);
    let listed = site.call("/user_identities/list", &json!({}));
    assert_eq!(listed["user_identities"].as_array().unwrap().len(), 1);
    assert_eq!(
        id(&listed["user_identities"][0], "user_identity_id"),
        person.identity
    );
    site.stop_daemon();
}

#[test]
fn the_walk_through_the_seeds_ends_well() {
    let walk = Command::new("scripts/walk").arg(ADAPTER).output().unwrap();
    let said = String::from_utf8_lossy(&walk.stdout).into_owned();
    let complained = String::from_utf8_lossy(&walk.stderr).into_owned();
    assert!(walk.status.success(), "{said}\n{complained}");
    assert!(said.trim_end().ends_with("OK"), "{said}");
}
