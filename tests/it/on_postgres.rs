//! The binary on a `PostgreSQL` database: `kill -9`, and a database that is away or went back.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::doors::{Doors, http, takes_records};
use crate::process_support::{ADAPTER, LOOK, PART_NUMBER, Process, Site, until, until_within};
use crate::support::cluster::Database;
use crate::support::machine::at_once;

/// Longer than it takes until a dead daemon's call of two seconds is taken over: its lease of 39 s, and half a minute more.
const LEASE: Duration = Duration::from_mins(3);

/// A site whose daemon is to work on a database of a cluster; the way there is a link, so that it can be cut.
pub(crate) struct Bed {
    pub(crate) site: Site,
    pub(crate) database: Database,
}

pub(crate) fn bed() -> Option<Bed> {
    let database = Database::empty()?;
    let site = Site::without_daemon();
    site.give_up_soon();
    let url = url(&database, &site.file("db"));
    keeps_all_in(&site, &url);
    Some(Bed { site, database })
}

fn url(database: &Database, folder: &Path) -> String {
    let (name, port) = (&database.name, database.cluster().port());
    let folder = folder.display();
    format!("postgres:///{name}?user=postgres&host={folder}&port={port}")
}

/// From its next start on.
fn keeps_all_in(site: &Site, url: &str) {
    let sqlite = format!("sqlite://{}", site.file("state.db").display());
    let head = site.file("head");
    let head = format!("{url}\"\nhead_file = \"{}", head.display());
    site.configure(&sqlite, &head);
}

impl Bed {
    pub(crate) fn join(&self) {
        symlink(self.database.cluster().folder(), self.site.file("db")).unwrap();
    }

    /// The database is away, for those who are connected as well.
    fn cut(&self) {
        self.cutting()();
    }

    /// What cuts it.
    fn cutting(&self) -> impl FnOnce() + use<> {
        let (link, cluster) = (self.site.file("db"), self.database.cluster());
        let name = self.database.name.clone();
        move || {
            fs::remove_file(link).unwrap();
            cluster.admin(&format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            ));
        }
    }

    fn is_ready(&self) -> bool {
        self.site.send("GET", "/readyz", "", b"").status == 200
    }
}

#[test]
fn killed_in_the_middle_of_an_issue_nothing_is_lost_or_done_twice() {
    let Some(mut bed) = bed() else { return };
    bed.join();
    let site = &mut bed.site;
    site.start_daemon();
    let person = site.enroll("Ada Example");
    let phone = site.hid.redeem(&person.identity);
    until("the phone", || {
        (site.phones(&person).len() == 1).then_some(())
    });
    let faults = json!({ "next": [{ "class": "issue", "fault": "hang_with_effect" }] });
    site.hid.control("faults", &faults);
    let parent = site.credential(&person);
    until("the issue to be there without an answer", || {
        (site.hid.requests("issue", "hang_with_effect") > 0).then_some(())
    });
    site.kill_daemon();
    site.start_daemon();
    // The claim is taken over when its lease is over.
    let children = until_within(LEASE, "a key on the phone", || {
        let issued = site.issued(&person);
        (issued.len() == 1).then_some(issued)
    });
    assert_eq!(children[0]["parent_acs_credential_id"], parent.as_str());
    assert_eq!(site.hid.live(), [(phone, PART_NUMBER.to_owned())]);
    assert_eq!(site.hid.effects("credential_accepted"), 1);
    assert_eq!(site.hid.effects("user_created"), 1);
    site.assert_blameless();
    site.stop_daemon();
    let verified = Command::new(ADAPTER)
        .args(["--config", site.file("config.toml").to_str().unwrap()])
        .args(["audit", "verify"])
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{said}");
    assert!(said.contains("are as they were written"), "{said}");
}

#[test]
fn a_database_that_is_away_is_waited_for_and_found_again() {
    let Some(mut bed) = bed() else { return };
    let arguments = bed.site.arguments();
    let mut early = Process::start(&arguments.each_ref().map(String::as_str));
    early.tells("store.failed");
    early.signal("TERM");
    assert_eq!(early.end().code(), Some(0), "it can be stopped meanwhile");
    assert!(early.told("daemon.ready").is_empty());

    bed.join();
    bed.site.start_daemon();
    let person = bed.site.enroll("Ada Example");
    assert!(bed.is_ready());
    bed.cut();
    until("not to be ready", || (!bed.is_ready()).then_some(()));
    let path = "/user_identities/get";
    let asked = json!({ "user_identity_id": person.identity });
    let refused = bed.site.ask(path, &asked);
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(
        refused.body["error"]["type"].is_string(),
        "{}",
        refused.text
    );
    bed.join();
    // The lock's own connection is looked at every two seconds; when its loss is found, all is refused for a moment more.
    let mut calm = Duration::ZERO;
    until("to be ready again, and to stay so", || {
        calm = if bed.is_ready() {
            calm + LOOK
        } else {
            Duration::ZERO
        };
        (calm >= Duration::from_secs(4)).then_some(())
    });
    assert_eq!(bed.site.ask(path, &asked).status, 200);
    bed.site.hid.redeem(&person.identity);
    bed.site.credential(&person);
    until("a key on the phone", || {
        (bed.site.issued(&person).len() == 1).then_some(())
    });
    bed.site.assert_blameless();
    bed.site.stop_daemon();
}

/// Whatever it is that the start has to look at first.
#[test]
fn a_database_that_is_slow_is_waited_for() {
    let waits = |table: &&str| {
        let Some(bed) = bed() else { return };
        bed.join();
        let arguments = bed.site.arguments();
        let start = || Process::start(&arguments.each_ref().map(String::as_str));
        let mut first = start();
        first.tells("daemon.ready");
        first.signal("TERM");
        first.end();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut held = runtime.block_on(bed.database.connect());
        let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        runtime.block_on(held.execute(AssertSqlSafe(lock))).unwrap();
        let (mut slow, mut stopped) = (start(), start());
        for waiting in [&mut slow, &mut stopped] {
            waiting.tells("store.failed");
            assert!(waiting.told("daemon.ready").is_empty(), "{table}");
        }
        stopped.signal("TERM");
        assert_eq!(stopped.end().code(), Some(0), "it can be stopped meanwhile");
        runtime.block_on(held.close()).unwrap();
        slow.tells("daemon.ready");
    };
    let tables = [
        "origo_adapter",
        "head",
        "members",
        "identities",
        "readers",
        "feeds",
        "stock",
    ];
    at_once(tables.len(), &tables, waits);
}

#[test]
fn copies_are_left_to_the_database_and_its_schema_while_a_daemon_runs() {
    let Some(mut bed) = bed() else { return };
    bed.join();
    bed.site.start_daemon();
    let file = bed.site.file("config.toml").to_str().unwrap().to_owned();
    let say = |arguments: &[&str]| {
        let output = Command::new(ADAPTER)
            .args(["--config", &file])
            .args(arguments)
            .env_clear()
            .output();
        let output = output.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = say(&["migrate"]);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("database in use"), "{said}");
    let (code, said) = say(&["backup", "copy"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("pg_dump"), "{said}");
    let (_, said) = say(&["check", "--online"]);
    assert!(said.contains("store: answers"), "{said}");
    assert_eq!(bed.site.send("GET", "/healthz", "", b"").status, 200);
    bed.site.kill_daemon();
    let (code, said) = say(&["migrate"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("has schema version 4 already"), "{said}");
}

/// A standby takes over that lacks what came last: a wish, a call and its key.
#[test]
fn after_a_failover_that_lost_an_issue_nobody_gets_a_second_key() {
    let Some(mut bed) = bed() else { return };
    bed.join();
    bed.site.start_daemon();
    let person = bed.site.enroll("Ada Example");
    let phone = bed.site.hid.redeem(&person.identity);
    until("the phone", || {
        (bed.site.phones(&person).len() == 1).then_some(())
    });
    bed.site.stop_daemon();
    let standby = bed.database.copy();
    bed.site.start_daemon();
    bed.site.credential(&person);
    until("a key on the phone", || {
        (bed.site.issued(&person).len() == 1).then_some(())
    });

    bed.cut();
    bed.database.taken_over_by(standby);
    bed.join();
    bed.site.daemon().tells("store.regressed");
    assert_eq!(bed.site.daemon().end().code(), Some(1), "to begin anew");
    bed.site.start_daemon();
    assert_eq!(bed.site.issued(&person), [] as [serde_json::Value; 0]);
    let parent = bed.site.credential(&person);
    let children = until("the key to be known again", || {
        let issued = bed.site.issued(&person);
        (issued.len() == 1).then_some(issued)
    });
    assert_eq!(children[0]["parent_acs_credential_id"], parent.as_str());
    assert_eq!(bed.site.hid.live(), [(phone, PART_NUMBER.to_owned())]);
    assert_eq!(bed.site.hid.effects("credential_accepted"), 1);
    bed.site.assert_blameless();
    bed.site.stop_daemon();
}

#[test]
fn a_site_that_moves_from_a_file_goes_on_where_it_was() {
    let Some(database) = Database::empty() else {
        return;
    };
    let mut site = Site::without_daemon();
    site.start_daemon();
    let person = site.enroll("Ada Example");
    site.hid.redeem(&person.identity);
    site.credential(&person);
    let keys = |site: &Site, count: usize| {
        until("keys on the phones", || {
            (site.issued(&person).len() == count).then_some(())
        });
    };
    keys(&site, 1);
    site.stop_daemon();

    let url = url(&database, database.cluster().folder());
    let carry_out = |to: &str| {
        Command::new(ADAPTER)
            .args(["--config", site.file("config.toml").to_str().unwrap()])
            .args(["copy", "--to", to])
            .env_clear()
            .output()
            .unwrap()
    };
    let refused = carry_out("sqlite:///tmp/other.db");
    assert_eq!(refused.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(errors.contains("--to: must be postgres://"), "{errors}");
    let copied = carry_out(&url);
    let errors = String::from_utf8_lossy(&copied.stderr);
    assert!(copied.status.success(), "{errors}");
    let said = String::from_utf8_lossy(&copied.stdout);
    assert!(said.contains("each compared"), "{said}");

    keeps_all_in(&site, &url);
    site.start_daemon();
    keys(&site, 1);
    let code = site.invite(&person);
    site.hid.control("redeem", &json!({ "code": code }));
    keys(&site, 2);
    assert_eq!(site.hid.effects("credential_accepted"), 2);
    assert_eq!(site.hid.effects("user_created"), 1);
    site.assert_blameless();
    site.stop_daemon();
}

/// By the time that it can be written down, another daemon may have taken it over, and removed what was put.
#[test]
fn a_record_is_put_once_however_long_that_cannot_be_written_down() {
    let Some(mut bed) = bed() else { return };
    bed.join();
    let (doors, address) = Doors::open();
    let headers = bed.site.file("headers");
    fs::write(&headers, "X-Doors-Key: open-sesame\n").unwrap();
    takes_records(&bed.site, &http(&headers, &address));
    bed.site.start_daemon();
    let person = bed.site.enroll("Ada Example");
    bed.site.hid.redeem(&person.identity);
    doors.meanwhile(bed.cutting());
    bed.site.credential(&person);
    until("a record", || (doors.requests().len() == 1).then_some(()));
    until("it to be noted again and again", || {
        (bed.site.daemon().told("store.failed").len() >= 30).then_some(())
    });
    bed.join();
    until("it to be noted", || {
        let asked = json!({ "id": person.identity });
        let why = bed.site.ask("/adapter/why", &asked);
        (why.status == 200 && !why.text.contains("The record")).then_some(())
    });
    assert_eq!(doors.requests().len(), 1);
}
