//! The journal as an auditor sees it: whole, tampered with, cut, and free of names.

use std::process::{Command, Output};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::process_support::{ADAPTER, PERSON_GONE, Site, until, until_within};

fn verify(site: &Site, arguments: &[&str]) -> Output {
    let config = site.file("config.toml");
    let mut command = Command::new(ADAPTER);
    command.args(["--config", config.to_str().unwrap(), "audit", "verify"]);
    command.args(arguments).env_clear().output().unwrap()
}

fn told(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Two people with a key each; returns the heads that the daemon told at its end.
fn lived(site: &mut Site) -> String {
    for name in ["Ada Okafor", "Grace Hopper"] {
        let person = site.enroll(name);
        site.credential(&person);
        site.hid.redeem(&person.identity);
        until("a key", || (site.issued(&person).len() == 1).then_some(()));
        if name == "Grace Hopper" {
            let asked = json!({ "user_identity_id": person.identity });
            site.call("/user_identities/delete", &asked);
            until_within(PERSON_GONE, "the end of a person", || {
                let answer = site.ask("/user_identities/get", &asked);
                (answer.status == 404).then_some(())
            });
        }
    }
    let running = verify(site, &["--json"]);
    assert_eq!(told(&running)["ok"], true, "while the daemon runs");
    site.stop_and_keep();
    let lines = site.written();
    let mut lines = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let stopped = lines.rfind(|line| line["event"] == "daemon.stopped");
    stopped.unwrap()["journal.heads"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn what_was_done_to_the_journal_is_found_and_a_person_can_be_erased() {
    let mut site = Site::start();
    let heads = lived(&mut site);
    let whole = verify(&site, &["--json", "--heads", &heads]);
    assert!(
        whole.status.success(),
        "{}",
        String::from_utf8_lossy(&whole.stdout)
    );
    assert_eq!(told(&whole)["heads"], heads.as_str());
    assert_eq!(
        told(&whole)["identities"],
        2,
        "who is gone is still told of"
    );

    let conn = Connection::open(site.file("state.db")).unwrap();
    let mut dump = conn
        .prepare("SELECT cause || ' ' || entity || ' ' || ifnull(from_state, '') || ' ' || ifnull(to_state, '') FROM journal")
        .unwrap();
    let rows = dump.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let journal: Vec<String> = rows.map(Result::unwrap).collect();
    assert!(journal.len() > 10, "{journal:?}");
    for personal in ["Ada", "Okafor", "Grace", "Hopper", "@", "tenant.example"] {
        let found = journal.iter().find(|row| row.contains(personal));
        assert_eq!(found, None, "{personal}");
    }
    drop(dump);

    // Somebody changes a row in the middle, and puts it back.
    let sql = "SELECT identity, count(*) FROM journal GROUP BY identity ORDER BY identity LIMIT 1";
    let (identity, rows): (uuid::Uuid, i64) = conn
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let change = |to: &str| {
        let sql = "UPDATE journal SET cause = ?1 WHERE identity = ?2 AND seq = 3";
        assert_eq!(
            conn.execute(sql, rusqlite::params![to, identity]).unwrap(),
            1
        );
    };
    let sql = "SELECT cause FROM journal WHERE identity = ?1 AND seq = 3";
    let cause: String = conn.query_row(sql, [identity], |row| row.get(0)).unwrap();
    change("nobody");
    let broken = verify(&site, &["--json"]);
    assert_eq!(broken.status.code(), Some(1));
    assert_eq!(
        told(&broken),
        json!({"ok": false, "identity": identity, "seq": 3})
    );
    let said = verify(&site, &[]);
    let said = String::from_utf8(said.stdout).unwrap();
    let expected = format!("the journal of identity {identity} was tampered with at row 3\n");
    assert_eq!(said, expected);
    change(&cause);
    assert!(verify(&site, &["--heads", &heads]).status.success());

    // A row out of the middle, and rows off the end.
    let sql = "DELETE FROM journal WHERE identity = ?1 AND seq >= ?2";
    conn.execute(sql, rusqlite::params![identity, rows])
        .unwrap();
    assert!(
        verify(&site, &[]).status.success(),
        "the chain alone cannot know"
    );
    let cut = verify(&site, &["--json", "--heads", &heads]);
    assert_eq!(cut.status.code(), Some(1), "but the heads do");
    assert_eq!(told(&cut)["ok"], false);
    let sql = "DELETE FROM journal WHERE identity = ?1 AND seq = 1";
    conn.execute(sql, [identity]).unwrap();
    let broken = verify(&site, &["--json"]);
    assert_eq!(told(&broken)["seq"], 1);
}
