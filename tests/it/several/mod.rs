//! Several daemons on one `PostgreSQL` database, as processes: any of them serves, reads and works, and any may die.

mod host;
pub(crate) mod link;
mod net;
mod round;

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use self::host::Host;
use crate::on_postgres::{Bed, bed};
use crate::process_support::{PART_NUMBER, Person, Process, Site, send, until, until_within};
use crate::support::cluster::Database;
use crate::support::machine::{asked, at_once, tell};

/// Longer than it takes until another daemon does what a dead one had begun: the lease of 39 s, 2 s and half a minute;
/// and until another one reads the feed: a minute, and two looks of 15 s.
const TAKEN_OVER: Duration = Duration::from_mins(4);

/// Much longer than it takes to be told, and much less than a minute.
const TOLD: Duration = Duration::from_secs(20);

/// In CI; more by environment.
const ROUNDS: u64 = 10;
const PEOPLE: u64 = 30;
/// Rounds at once: they wait more than they work.
const AT_ONCE: usize = 5;

struct Daemon {
    process: Process,
    api: String,
}

impl Daemon {
    fn start(site: &Site) -> Self {
        let arguments = site.arguments();
        let mut process = Process::start(&arguments.each_ref().map(String::as_str));
        let api = process.tells("daemon.ready")["address"].clone();
        let api = api.as_str().unwrap().to_owned();
        Self { process, api }
    }
}

impl Drop for Daemon {
    /// Of a test that failed it is to be seen what they did.
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}:\n{}", self.api, self.process.written().join("\n"));
        }
    }
}

/// So many daemons at work.
fn daemons(count: usize) -> Option<(Bed, Vec<Daemon>)> {
    let bed = bed()?;
    bed.join();
    let daemons = (0..count).map(|_| Daemon::start(&bed.site)).collect();
    Some((bed, daemons))
}

/// A phone redeems the person's code, once there is one.
fn redeem(site: &Site, person: &Person) {
    let asked = json!({ "external_id": person.identity }).to_string();
    until_within(TAKEN_OVER, "a code to redeem", || {
        let path = "/control/redeem";
        let answer = send(&site.hid.address, "POST", path, "", asked.as_bytes());
        answer?.body["container_id"].as_u64()
    });
}

fn polls(site: &Site) -> u64 {
    site.hid.requests("events_read", "200")
}

#[test]
fn one_of_them_reads_the_feed_and_another_one_after_it() {
    let Some((bed, mut daemons)) = daemons(3) else {
        return;
    };
    let site = &bed.site;
    let (begun, before) = (Instant::now(), polls(site));
    until("polls", || (polls(site) >= before + 10).then_some(()));
    // One a second; three daemons would have taken four.
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(7), "{took:?}");
    let last = daemons.pop().unwrap();
    for daemon in daemons {
        daemon.process.signal("KILL");
    }
    let before = polls(site);
    until_within(TAKEN_OVER, "the one that is left to read", || {
        (polls(site) >= before + 3).then_some(())
    });
    drop(last);
    site.assert_blameless();
}

/// One is killed, one stands still for longer than its leases last, each in the middle of something.
#[test]
fn each_phone_gets_one_key_whoever_dies_or_stands_still() {
    let Some((mut bed, mut daemons)) = daemons(3) else {
        return;
    };
    let site = &mut bed.site;
    let mut people: Vec<Person> = Vec::new();
    let names = [
        "Ada", "Bea", "Cleo", "Dora", "Eva", "Fay", "Gia", "Hana", "Ida",
    ];
    for (n, name) in names.into_iter().enumerate() {
        site.speak_to(&daemons[n % 3].api);
        let person = site.enroll(&format!("{name} Example"));
        site.speak_to(&daemons[(n + 1) % 3].api);
        site.credential(&person);
        people.push(person);
        if n == 3 {
            daemons.remove(0).process.signal("KILL");
            daemons.push(Daemon::start(site));
        }
    }
    let faults = json!({ "next": [{ "class": "issue", "fault": "hang_with_effect" }] });
    site.hid.control("faults", &faults);
    for person in &people {
        redeem(site, person);
    }
    daemons[0].process.signal("STOP");
    daemons[1].process.signal("KILL");
    site.speak_to(&daemons[2].api);
    for person in &people {
        until_within(TAKEN_OVER, "a key on each phone", || {
            (site.issued(person).len() == 1).then_some(())
        });
    }
    daemons[0].process.signal("CONT");
    // What it had begun it finds taken over; a call through it shows that it goes on.
    site.speak_to(&daemons[0].api);
    let late = site.enroll("Late Example");
    site.credential(&late);
    redeem(site, &late);
    until_within(TAKEN_OVER, "a key through the one that stood still", || {
        (site.issued(&late).len() == 1).then_some(())
    });
    let live = site.hid.live();
    assert_eq!(live.len(), people.len() + 1);
    assert!(live.iter().all(|(_, part)| part == PART_NUMBER));
    assert_eq!(site.hid.effects("credential_accepted"), people.len() + 1);
    assert_eq!(site.hid.effects("user_created"), people.len() + 1);
    site.assert_blameless();
}

/// Whoever took a wish in tells of it, and another daemon need not wait until it looks by itself, which is a minute after
/// it last did something.
#[test]
fn what_one_daemon_cannot_do_another_one_does_at_once() {
    let Some(database) = Database::empty() else {
        return;
    };
    let mut site = Site::without_daemon();
    site.give_up_soon();
    let mut cut_off = Host::new(&site, &database, "one");
    cut_off.hid.cut();
    cut_off.start();
    let _other = Host::new(&site, &database, "two").started();
    site.speak_to(&cut_off.api);
    for (n, name) in ["Ada", "Bea", "Cleo"].into_iter().enumerate() {
        site.enroll(&format!("{name} Example"));
        until_within(TOLD, "a user made by the other daemon", || {
            (site.hid.effects("user_created") == n + 1).then_some(())
        });
    }
    site.assert_blameless();
}

/// More: `ROUNDS=100 PEOPLE=500 cargo test --profile scale --test it several::many`; one: `ROUND_SEED=17`.
#[test]
fn many_people_through_three_daemons_that_suffer() {
    let people = usize::try_from(asked("PEOPLE").unwrap_or(PEOPLE)).unwrap();
    let seeds: Vec<u64> = match asked("ROUND_SEED") {
        Some(seed) => vec![seed],
        None => (0..asked("ROUNDS").unwrap_or(ROUNDS)).collect(),
    };
    let outcomes = at_once(AT_ONCE, &seeds, |seed| round::tell(*seed, people));
    let mut kills = 0;
    let mut wrong = String::new();
    for (seed, outcome) in seeds.iter().zip(outcomes) {
        match outcome {
            None => return,
            Some(Ok(of_this)) => kills += of_this,
            Some(Err(error)) => writeln!(wrong, "seed {seed}: {error}").unwrap(),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let rounds = seeds.len();
    tell(&format!(
        "rounds of three daemons: {rounds} of {people} people, {kills} kills"
    ));
}
