//! A round: many people wished for through three daemons while HID suffers faults and the daemons what hosts suffer. One is
//! killed again and again, one stands still beyond its leases, one is cut off, from the database and then from HID. At the
//! end each phone has one key, and HID holds nothing against anybody.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::host::Host;
use crate::kills::faults;
use crate::process_support::{PART_NUMBER, Process, Site, send};
use crate::support::cluster::Database;
use crate::support::dice::Dice;

/// Beyond the lease of a call with a request timeout of 2 s, 39 s.
const BEYOND_THE_LEASE: Duration = Duration::from_secs(45);
/// How long one is cut off.
const CUT: Duration = Duration::from_secs(12);
const LOOK: Duration = Duration::from_millis(200);
/// In which all must be settled after the last blow: a claim that died last, and what is read again and again after it.
const SETTLES_IN: Duration = Duration::from_mins(6);
const PER_S: u64 = 10;
/// All that is owed but the sweep, and when.
const OWED: &str = "\
    WITH clock AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now)
    SELECT format('%s of %s at %s s: %s, claimed %s s', class, identity, (not_before - now) / 1000, effect,
        (lease_until - now) / 1000)
    FROM effects JOIN identities ON id = identity, clock WHERE class <> 'sweep' ORDER BY not_before";
const STATES: &str = "\
    SELECT state FROM identities WHERE id IN (SELECT identity FROM effects WHERE class = 'issue')";
/// So many codes are tried at each look: asking for all would keep the machine busier than the daemons do.
const TRIED: usize = 25;

pub(super) struct Round {
    site: Site,
    hosts: Vec<Host>,
    people: usize,
    dice: Dice,
    identities: BTreeSet<String>,
    registered: BTreeSet<String>,
    kills: u64,
    database: Database,
}

/// Tells a round; how often daemons were killed, or what was wrong at its end.
pub(super) fn tell(seed: u64, people: usize) -> Option<Result<u64, String>> {
    let database = Database::empty()?;
    let mut round = Round::new(seed, people, database);
    Some(round.run())
}

impl Round {
    fn new(seed: u64, people: usize, database: Database) -> Self {
        let mut dice = Dice::new(seed);
        let site = Site::without_daemon();
        site.give_up_soon();
        // A person costs some eight calls; the window is to be short of them for a while.
        let requests = (people * 8).div_ceil(6).max(40);
        let file = site.file("config.toml");
        let window = format!("{{ requests = {requests}, per = \"{PER_S}s\", share = 0.95 }}");
        let windows = format!(
            "\n[credential_managers.hq.windows]\nmobile_identities = {window}\nevents = {window}\n"
        );
        let text = fs::read_to_string(&file).unwrap() + &windows;
        fs::write(&file, text).unwrap();
        let window = json!({ "requests": requests, "per_s": PER_S });
        let duplicates = ["refuse", "second_credential"][dice.pick(2)];
        let settings = json!({
            "windows": { "mobile_identities": window, "events": window },
            "duplicate_issue": duplicates,
            "extra_event_statuses": true,
        });
        site.hid.control("settings", &settings);
        site.hid.control("faults", &faults(seed, &mut dice));
        let hosts = ["one", "two", "three"].map(|name| Host::new(&site, &database, name).started());
        Self {
            site,
            hosts: hosts.into(),
            people,
            dice,
            identities: BTreeSet::new(),
            registered: BTreeSet::new(),
            kills: 0,
            database,
        }
    }

    fn run(&mut self) -> Result<u64, String> {
        let rows: Vec<Value> = (0..self.people).map(row).collect();
        for batch in rows.chunks(self.people.div_ceil(3)) {
            self.apply(batch);
        }
        self.hosts[1].signal("STOP");
        self.hosts[2].database.cut();
        self.kill_for(CUT);
        self.hosts[2].database.mend();
        self.hosts[2].hid.cut();
        self.kill_for(CUT);
        self.hosts[2].hid.mend();
        self.kill_for(BEYOND_THE_LEASE.saturating_sub(2 * CUT));
        self.hosts[1].signal("CONT");
        self.site
            .hid
            .control("faults", &json!({ "preset": "none" }));
        let looks = SETTLES_IN.as_millis() / LOOK.as_millis();
        let mut wrong = None;
        for _ in 0..looks {
            for host in &mut self.hosts {
                host.restart_where_ended();
            }
            self.register();
            wrong = self.wrong();
            if wrong.is_none() {
                return Ok(self.kills);
            }
            thread::sleep(LOOK);
        }
        let mut wrong = wrong.unwrap_or_default();
        for host in &self.hosts {
            let lines = host.process.as_ref().map(Process::written);
            let lines = lines.unwrap_or_default();
            let last = &lines[lines.len().saturating_sub(40)..];
            writeln!(wrong, "\n{}\n{}", host.file.display(), last.join("\n")).unwrap();
        }
        for row in [OWED, STATES].map(|sql| self.database.tells(sql)).concat() {
            writeln!(wrong, "{row}").unwrap();
        }
        Err(wrong)
    }

    /// Through whichever daemon answers, until one has.
    fn apply(&mut self, rows: &[Value]) {
        let body = json!({ "rows": rows });
        loop {
            let host = self.dice.pick(self.hosts.len());
            if let Some(answer) = self.ask(host, "/adapter/apply", &body) {
                assert_eq!(answer["applied"]["refused"], json!([]), "{answer}");
                return;
            }
        }
    }

    /// `None`: nobody answers there, or that it can't now.
    fn ask(&self, host: usize, path: &str, body: &Value) -> Option<Value> {
        let body = body.to_string();
        let api = &self.hosts[host].api;
        let answer = send(api, "POST", path, &self.site.head(), body.as_bytes())?;
        (answer.status == 200).then_some(answer.body)
    }

    /// The first daemon dies every few seconds, while phones register.
    fn kill_for(&mut self, long: Duration) {
        let mut left = long;
        while let Some(rest) = left.checked_sub(LOOK) {
            left = rest;
            thread::sleep(LOOK);
            self.register();
            if self.dice.one_in(20) {
                self.hosts[0].process.take().unwrap().kill();
                self.hosts[0].start();
                self.kills += 1;
            }
        }
    }

    /// Phones redeem what codes there are.
    fn register(&mut self) {
        if self.identities.len() < self.people {
            let listed = self.ask(0, "/user_identities/list", &json!({ "limit": 500 }));
            let listed = listed.unwrap_or_default();
            for one in listed["user_identities"].as_array().into_iter().flatten() {
                let id = one["user_identity_id"].as_str().unwrap();
                self.identities.insert(id.to_owned());
            }
        }
        let waiting: Vec<String> = self
            .identities
            .difference(&self.registered)
            .cloned()
            .collect();
        let first = self.dice.pick(waiting.len().max(1));
        let tried = waiting.len().min(TRIED);
        for id in waiting.into_iter().cycle().skip(first).take(tried) {
            let asked = json!({ "external_id": id }).to_string();
            let path = "/control/redeem";
            let address = &self.site.hid.address;
            let answer = send(address, "POST", path, "", asked.as_bytes());
            if answer.unwrap().body["container_id"].as_u64().is_some() {
                self.registered.insert(id);
            }
        }
    }

    /// What is not as it must be (yet).
    fn wrong(&self) -> Option<String> {
        let violations = self.site.hid.look("violations");
        if violations != json!([]) {
            return Some(format!("HID holds against us: {violations}"));
        }
        if self.registered.len() < self.people {
            let (registered, people) = (self.registered.len(), self.people);
            return Some(format!("{registered} of {people} have a phone"));
        }
        let live = self.site.hid.live();
        let phones: BTreeSet<u64> = live.iter().map(|(phone, _)| *phone).collect();
        let is_right = live.iter().all(|(_, part)| part == PART_NUMBER);
        if !is_right || live.len() != self.people || phones.len() != self.people {
            return Some(format!("live: {live:?}"));
        }
        let children = json!({ "is_multi_phone_sync_credential": false, "limit": 500 });
        let shown = self.ask(1, "/acs/credentials/list", &children);
        let shown = shown.unwrap_or_default();
        let children = shown["acs_credentials"].as_array();
        let issued = children.into_iter().flatten();
        let issued = issued.filter(|child| child["is_issued"] == true).count();
        (issued != self.people).then(|| format!("{issued} of {} are issued", self.people))
    }
}

fn row(n: usize) -> Value {
    json!({
        "user_identity_key": format!("p{n}"),
        "full_name": format!("Ada Nr{n}"),
        "email_address": format!("ada{n}@tenant.example"),
        "access_system": "hq_doors",
        "card_format": "rfid48",
        "facility_code": "9",
    })
}
