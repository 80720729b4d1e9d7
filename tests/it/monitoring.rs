//! What `monitoring/` promises: every alert is raised by what it is about, by the same name everywhere, and every metric
//! that is asked for is there. Some alerts are tried where their trouble is made anyway; `raises` names them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use origo_adapter::lifecycle::Lifecycle;
use origo_adapter::telemetry::EVENTS;
use serde_json::{Value, json};

use crate::process_support::{ADAPTER, Site, until};
use crate::support::alerts::{alerts, raised, raises};
use crate::support::lines::Lines;

const PROMETHEUS: &str = include_str!("../../monitoring/prometheus/alerts.yml");
const LOKI: &str = include_str!("../../monitoring/loki/alerts.yml");
const DASHBOARD: &str = include_str!("../../monitoring/grafana/origo-adapter.json");
/// The one that no line raises: that there are none.
const ABSENT: &str = "OrigoAbsent";

/// The rules of a file by name: each with its lines.
fn rules(file: &'static str) -> BTreeMap<&'static str, Vec<&'static str>> {
    let rules = file.split("      - alert: ").skip(1).map(|rule| {
        let mut lines = rule.lines().map(str::trim);
        (lines.next().unwrap(), lines.collect())
    });
    rules.collect()
}

/// The value of a key of a rule.
fn value<'a>(rule: &[&'a str], key: &str) -> &'a str {
    let mut lines = rule.iter();
    let found = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {key} in {rule:?}"))
}

#[test]
fn one_alert_is_the_same_everywhere() {
    let (prometheus, loki) = (rules(PROMETHEUS), rules(LOKI));
    let mut names: BTreeSet<_> = alerts().iter().map(|alert| alert.name).collect();
    names.insert(ABSENT);
    assert_eq!(prometheus.keys().copied().collect::<BTreeSet<_>>(), names);
    assert_eq!(loki.keys().copied().collect::<BTreeSet<_>>(), names);
    for alert in alerts() {
        let asked = format!("|~ `(?i){}` [", alert.pattern);
        let expr = value(&loki[alert.name], "expr");
        assert!(expr.contains(&asked), "{}: {expr}", alert.name);
        for rule in [&prometheus[alert.name], &loki[alert.name]] {
            assert_eq!(value(rule, "severity"), alert.severity, "{}", alert.name);
            assert_eq!(value(rule, "event_id"), alert.event, "{}", alert.name);
        }
        let same = value(&prometheus[alert.name], "summary");
        assert_eq!(value(&loki[alert.name], "summary"), same);
        let event = EVENTS.iter().find(|event| event.id() == alert.event);
        let name = event.unwrap().name().replace('.', "\\.");
        let asked = format!("\"event\":\"{name}\"");
        assert!(alert.pattern.contains(&asked), "{}", alert.name);
    }
}

#[test]
fn every_alert_is_tried() {
    let mut sources = String::new();
    let mut left = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|end| end == "rs") {
            sources.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    sources.retain(|c| !c.is_whitespace());
    let tried = |name: &str| sources.contains(&format!("raises(\"{name}\","));
    let untried: Vec<_> = alerts()
        .into_iter()
        .filter(|alert| !tried(alert.name))
        .collect();
    let untried: Vec<_> = untried.iter().map(|alert| alert.name).collect();
    assert!(untried.is_empty(), "{untried:?}");
}

#[test]
fn every_error_of_a_running_daemon_is_somebodys_alert() {
    let table: String = alerts().iter().map(|alert| alert.event).collect();
    let errors = EVENTS
        .iter()
        .filter(|event| event.level() == tracing::Level::ERROR);
    let silent: Vec<_> = errors.filter(|event| !table.contains(event.id())).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn what_is_well_raises_nothing() {
    let mut site = Site::start();
    let ada = site.enroll("Ada Okafor");
    site.credential(&ada);
    site.hid.redeem(&ada.identity);
    until("a key", || (site.issued(&ada).len() == 1).then_some(()));
    let low = |line: &String| !line.contains("stock.low");
    site.stop_and_keep();
    let lines: Vec<_> = site.written().into_iter().filter(low).collect();
    assert!(lines.len() > 5);
    assert_eq!(raised(&lines.join("\n")), BTreeSet::new());
}

/// Every word in a text that begins like a metric of ours.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let starts = text
        .match_indices("origo_adapter_")
        .map(|(at, _)| &text[at..]);
    let words = starts.map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    });
    words.collect()
}

/// The lines of a page, each with its value in whole numbers, by name and labels.
fn samples(site: &Site) -> BTreeMap<String, u64> {
    let page = site.send("GET", "/metrics", &site.head(), b"");
    assert_eq!(page.status, 200);
    let lines = page.text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let (whole, _) = value.split_once('.').unwrap_or((value, ""));
        (name.to_owned(), whole.parse().unwrap())
    });
    samples.collect()
}

#[test]
fn every_metric_that_is_asked_for_is_there() {
    let mut site = Site::without_daemon();
    let manager = "credential_manager = \"hq\"";
    let import = "[access_systems.hq_doors.import]\nkind = \"files\"";
    let directory = site.file("records");
    fs::create_dir(&directory).unwrap();
    let directory = directory.display();
    site.configure(
        manager,
        &format!(
            "{manager}\n{import}\ndirectory = \"{directory}\"\nevery = \"1s\"\nformat = \"csv\""
        ),
    );
    site.start_daemon();
    site.said(&["hold", "hq"]);
    until("the stock", || {
        let samples = samples(&site);
        let mut names = samples.keys();
        names
            .any(|name| name.starts_with("origo_adapter_stock_available{"))
            .then_some(())
    });
    let page = site.send("GET", "/metrics", &site.head(), b"").text;
    let there = metrics_in(&page);
    assert!(there.len() > 30, "{there:?}");
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
    let tests = include_str!("../../monitoring/prometheus/alerts_test.yml");
    for (file, text) in [
        ("alerts.yml", PROMETHEUS),
        ("dashboard", DASHBOARD),
        ("tests", tests),
    ] {
        let asked = metrics_in(text);
        assert!(asked.len() > 8, "{file}");
        let missing: Vec<_> = asked.difference(&there).collect();
        assert!(missing.is_empty(), "{file} asks for {missing:?}");
    }
    // The events that rules name are those of the list.
    for (_, rest) in PROMETHEUS
        .match_indices("event=\"")
        .map(|(at, word)| (at, &PROMETHEUS[at + word.len()..]))
    {
        let (name, _) = rest.split_once('"').unwrap();
        assert!(EVENTS.iter().any(|event| event.name() == name), "{name}");
    }
    // Each family is explained once, and no sample stands twice.
    for name in there {
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        let family = family.filter(|family| page.contains(&format!("# TYPE {family} histogram")));
        let head = format!("# TYPE {} ", family.unwrap_or(name));
        assert_eq!(page.matches(&head).count(), 1, "{head}");
    }
    let lines: Vec<_> = page
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect();
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len());
}

#[test]
fn requests_are_counted_as_hid_counts_them() {
    let mut site = Site::start();
    let ada = site.enroll("Ada Okafor");
    let parent = site.credential(&ada);
    let code = [site.hid.redeem(&ada.identity)];
    until("a key", || (site.issued(&ada).len() == 1).then_some(()));
    site.call(
        "/acs/credentials/delete",
        &json!({ "acs_credential_id": parent }),
    );
    until("no key", || site.hid.live().is_empty().then_some(()));
    let samples = until("the end of calls", || {
        let samples = samples(&site);
        (samples["origo_adapter_calls_under_way"] == 0).then_some(samples)
    });
    let counted = |operation: &str, service: &str, outcome: &str| {
        let labels = format!(
            "manager=\"hq\",service=\"{service}\",operation=\"{operation}\",outcome=\"{outcome}\""
        );
        let sample = samples.get(&format!("origo_adapter_hid_requests_total{{{labels}}}"));
        sample.copied().unwrap_or_default()
    };
    assert_eq!(
        counted("issue", "mobile_identities", "200") + counted("issue", "mobile_identities", "201"),
        1
    );
    assert_eq!(counted("token", "token", "200"), 1);
    assert!(counted("events", "events", "200") >= 1);
    assert_eq!(
        samples["origo_adapter_issue_wait_seconds_count{manager=\"hq\"}"],
        1
    );
    assert_eq!(samples["origo_adapter_identities"], 1);
    assert_eq!(samples["origo_adapter_ready"], 1);
    assert_eq!(
        samples["origo_adapter_withdrawal_oldest_seconds{system=\"hq\"}"],
        0
    );
    let done = "origo_adapter_events_total{event=\"effect.done\",id=\"OA-4001\",level=\"debug\"}";
    assert!(samples[done] >= 3, "whatever the log's level");
    assert!(site.daemon().told("effect.done").is_empty());
    assert_eq!(code.len(), 1);
}

#[test]
fn a_key_that_hid_refuses_for_good_raises_two() {
    let mut site = Site::start();
    let next = json!({ "next": [{ "class": "issue", "fault": "not_compatible" }] });
    site.hid.control("faults", &next);
    let ada = site.enroll("Ada Okafor");
    site.credential(&ada);
    site.hid.redeem(&ada.identity);
    raises("OrigoCallRefused", &site.daemon().tells("effect.gave_up"));
    let stuck = site.daemon().tells("key.stuck");
    raises("OrigoKeyStuck", &stuck);
    assert_eq!(stuck["identity.id"], json!(ada.identity));
}

#[test]
fn a_window_that_is_full_by_somebody_else_raises() {
    let mut site = Site::start();
    let next = json!({ "next": [{ "class": "user_create", "fault": "window_403" }] });
    site.hid.control("faults", &next);
    site.enroll("Ada Okafor");
    raises("OrigoWindowRefused", &site.daemon().tells("window.lowered"));
}

#[test]
fn an_access_system_that_nobody_reaches_raises() {
    let mut site = Site::without_daemon();
    let manager = "credential_manager = \"hq\"";
    let import = "[access_systems.hq_doors.import]\nkind = \"http\"\n\
                  url = \"http://127.0.0.1:1/{child.id}\"\nbody = '{\"card\":\"{key.card_number}\"}'";
    site.configure(manager, &format!("{manager}\n{import}"));
    site.start_daemon();
    let ada = site.enroll("Ada Okafor");
    site.credential(&ada);
    site.hid.redeem(&ada.identity);
    raises(
        "OrigoAccessSystemDown",
        &site.daemon().tells("connector.paused"),
    );
    let oldest = "origo_adapter_records_oldest_seconds{system=\"hq_doors\",class=\"import\"}";
    until("its age", || (samples(&site)[oldest] >= 1).then_some(()));
    assert_eq!(samples(&site)["origo_adapter_owed{class=\"import\"}"], 1);
}

#[test]
fn a_wrong_configuration_raises() {
    let site = Site::without_daemon();
    site.configure("\"400ms\"", "\"soon\"");
    let output = Command::new(ADAPTER)
        .args(site.arguments())
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let lines = String::from_utf8(output.stdout).unwrap();
    let line: Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!(line["config.key"], "issuance.settle_delay");
    raises("OrigoConfigRefused", &line);
    // To a person at a terminal, or in a script, stderr says enough.
    let file = site.file("config.toml");
    let mut check = Command::new(ADAPTER);
    let check = check
        .args(["check", "--config", file.to_str().unwrap()])
        .env_clear();
    assert_eq!(check.output().unwrap().stdout, b"");
}

#[test]
fn a_damaged_file_raises() {
    const PAGE: usize = 4096;
    let mut site = Site::start();
    let header =
        "user_identity_key,full_name,email_address,access_system,card_format,facility_code";
    let rows = (0..200).map(|n| format!("p{n},Ada Nr{n},ada{n}@tenant.example,hq_doors,rfid48,9"));
    let file = site.file("people.csv");
    fs::write(
        &file,
        format!("{header}\n{}\n", rows.collect::<Vec<_>>().join("\n")),
    )
    .unwrap();
    site.said(&["apply", file.to_str().unwrap()]);
    site.stop_daemon();
    let database: PathBuf = site.file("state.db");
    let mut bytes = fs::read(&database).unwrap();
    // The journal's pages come last, and nobody reads them at the start.
    let damaged = (bytes.len() / PAGE - 2) * PAGE;
    bytes[damaged..damaged + PAGE].fill(0);
    fs::write(&database, bytes).unwrap();
    // As after a crash.
    fs::write(site.file("state.db-wal"), [0; 64]).unwrap();
    let arguments = site.arguments();
    let arguments = arguments.each_ref().map(String::as_str);
    let mut daemon = crate::process_support::Process::start(&arguments);
    raises("OrigoStoreDamaged", &daemon.tells("store.damaged"));
    assert_eq!(daemon.end().code(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_hangs_and_one_that_ends_raise() {
    let lines = Lines::listen();
    let life = Lifecycle::new(Duration::from_secs(5));
    let (_signal, signals) = origo_adapter::lifecycle::Signals::by_hand();
    let _beat = life.beat("worker", Duration::from_secs(2));
    let soft = life.soft();
    life.spawn("worker", async move { soft.cancelled().await });
    let stalled = life.clone();
    life.spawn("another", async move {
        while stalled.stalled().is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // The loops are looked at four times a minute.
        tokio::time::sleep(Duration::from_secs(20)).await;
    });
    life.run(signals).await;
    raises("OrigoLoopStalled", &lines.told("loop.stalled")[0]);
    raises("OrigoLoopDied", &lines.told("loop.died")[0]);
}
