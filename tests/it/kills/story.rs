//! One site, one seed: wishes, phones, faults, and strikes at the daemon.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use origo_adapter::core::ids::{AcsSystemId, ContainerId, PhoneId};
use serde_json::{Value, json};

use super::verdict::wrong;

use crate::process_support::{Answer, MANAGER, PART_NUMBER, Person, Process, Site, send};
use crate::support::dice::Dice;

/// What a facility code stands for; the configuration knows the first already.
pub(super) const PART_NUMBERS: [(&str, &str); 2] =
    [("9", PART_NUMBER), ("10", "MID-SUB-EXAMPLE_2")];
const PEOPLE: usize = 3;
const PHONES: usize = 3;
/// After so many looks without progress a strike comes all the same.
const LOOKS: u32 = 60;
const LOOK: Duration = Duration::from_millis(20);
/// In which all must be settled: a key on its way out is read again after 30 s, and 2 minutes after that.
const SETTLES_IN: Duration = Duration::from_secs(200);

/// What the daemon went through.
#[derive(Debug, Default)]
pub(super) struct Struck {
    kills: u64,
    freezes: u64,
    cut_answers: u64,
    wishes: u64,
}

/// A person, and what was acknowledged of their wishes.
pub(super) struct Somebody {
    pub(super) person: Person,
    /// Its deletion was asked for; `true`: and acknowledged.
    pub(super) gone: Option<bool>,
    pub(super) parents: BTreeMap<String, Parent>,
    /// Containers that redeemed a code.
    pub(super) phones: BTreeMap<u64, Phone>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    Wanted,
    /// Its deletion was asked for, and nobody answered.
    Doubtful,
    Deleted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phone {
    Registered,
    Doubtful,
    Deactivated,
}

/// A request, and whose.
struct Wish {
    of: usize,
    kind: Kind,
    path: &'static str,
    body: Value,
}

enum Kind {
    Parent,
    DeleteParent(String),
    Invite,
    Deactivate(u64),
    DeleteIdentity,
}

/// What befalls the daemon.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Kill,
    /// It stands still for a while, and then goes on or is killed.
    Freeze(Duration, bool),
    /// It stood still when the wish came, and lives for so long after.
    Breath(Duration),
}

pub(super) struct Story {
    site: Site,
    dice: Dice,
    people: Vec<Somebody>,
    struck: Struck,
    log: Vec<String>,
}

impl Story {
    /// Wishes and strikes by turns until so many kills are done; then everything settles.
    pub(super) fn tell(seed: u64, kills: u64) -> Result<Struck, String> {
        let mut story = Self::new(seed, "60, per = \"5s\"", 5, 60);
        while story.struck.kills < kills {
            for _ in 0..=story.dice.roll(3) {
                story.act();
            }
            story.strike();
        }
        story.settle()
    }

    /// The same with one strike: the process stands still for so long.
    pub(super) fn freeze(seed: u64, long: Duration) -> Result<Struck, String> {
        let mut story = Self::new(seed, "300, per = \"5m\"", 300, 300);
        for _ in 0..6 {
            story.act();
        }
        story.until_calls();
        story.stop_for(long);
        for _ in 0..3 {
            story.act();
        }
        story.settle()
    }

    /// The window of both services is HID's and ours: so many requests in so long.
    fn new(seed: u64, ours: &str, per_s: u64, requests: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut site = Site::without_daemon();
        site.give_up_soon();
        let (facility_code, part_number) = PART_NUMBERS[1];
        let windows = format!(
            "\n[[credential_managers.hq.card_profiles]]\n\
             card_format = \"rfid48\"\nfacility_code = \"{facility_code}\"\n\
             part_number = \"{part_number}\"\n\
             [credential_managers.hq.windows]\n\
             mobile_identities = {{ requests = {ours}, share = 0.95 }}\n\
             events = {{ requests = {ours}, share = 0.95 }}\n"
        );
        let file = site.file("config.toml");
        let text = fs::read_to_string(&file).unwrap() + &windows;
        fs::write(&file, text).unwrap();
        let window = json!({ "requests": requests, "per_s": per_s });
        let duplicates = ["refuse", "second_credential"][dice.pick(2)];
        let settings = json!({
            "windows": { "mobile_identities": window, "events": window },
            "duplicate_issue": duplicates,
            // Else nobody tells that a key is gone, and each story waits for the reads that find it.
            "extra_event_statuses": true,
        });
        site.hid.control("settings", &settings);
        site.hid.control("faults", &faults(seed, &mut dice));
        site.start_daemon();
        Self {
            site,
            dice,
            people: Vec::new(),
            struck: Struck::default(),
            log: vec![format!("duplicates: {duplicates}")],
        }
    }

    /// One wish that is answered, or a person, or phones.
    fn act(&mut self) {
        self.register();
        if self.people.len() < PEOPLE && (self.people.is_empty() || self.dice.one_in(3)) {
            let person = self.site.enroll(&format!("Guest No{}", self.people.len()));
            self.log.push(format!("enrolled {}", person.identity));
            self.people.push(Somebody {
                person,
                gone: None,
                parents: BTreeMap::new(),
                phones: BTreeMap::new(),
            });
            return;
        }
        if let Some(wish) = self.wish() {
            let answer = self.site.try_ask(wish.path, &wish.body);
            assert!(answer.is_some(), "nobody answers {}", wish.path);
            self.note(&wish, answer);
        }
    }

    /// Phones redeem what codes there are.
    fn register(&mut self) {
        for somebody in &mut self.people {
            if somebody.phones.len() >= PHONES || self.dice.one_in(3) {
                continue;
            }
            let asked = json!({ "external_id": somebody.person.identity }).to_string();
            let path = "/control/redeem";
            let answer = send(&self.site.hid.address, "POST", path, "", asked.as_bytes());
            if let Some(container) = answer.unwrap().body["container_id"].as_u64() {
                self.log.push(format!("phone {container} registers"));
                somebody.phones.insert(container, Phone::Registered);
            }
        }
    }

    fn wish(&mut self) -> Option<Wish> {
        let of = self.dice.pick(self.people.len());
        let roll = self.dice.roll(100);
        let choice = self.dice.roll(1000);
        let somebody = &mut self.people[of];
        if somebody.gone.is_some() {
            return None;
        }
        let person = &somebody.person;
        let automation = json!({ "enrollment_automation_id": person.automation });
        let (kind, path, body) = match roll {
            0..35 => {
                let facility_code = PART_NUMBERS[self.dice.pick(2)].0;
                let body = json!({
                    "acs_user_id": person.acs_user,
                    "is_multi_phone_sync_credential": true,
                    "card_format": "rfid48",
                    "facility_code": facility_code,
                    "access_method": "mobile_key",
                });
                (Kind::Parent, "/acs/credentials/create", body)
            }
            35..55 => {
                let parent = nth(&somebody.parents, &Parent::Wanted, choice)?;
                somebody.parents.insert(parent.clone(), Parent::Doubtful);
                let body = json!({ "acs_credential_id": parent });
                let path = "/acs/credentials/delete";
                (Kind::DeleteParent(parent), path, body)
            }
            55..85 => {
                let path = "/enrollment_automations/invitations/get_or_create";
                (Kind::Invite, path, automation)
            }
            85..96 => {
                let phone = nth(&somebody.phones, &Phone::Registered, choice)?;
                somebody.phones.insert(phone, Phone::Doubtful);
                let body = json!({ "device_id": device(phone) });
                (Kind::Deactivate(phone), "/phones/deactivate", body)
            }
            _ => {
                somebody.gone = Some(false);
                let body = json!({ "user_identity_id": person.identity });
                (Kind::DeleteIdentity, "/user_identities/delete", body)
            }
        };
        self.struck.wishes += 1;
        Some(Wish {
            of,
            kind,
            path,
            body,
        })
    }

    /// What was acknowledged must hold; of what was not answered nobody knows.
    fn note(&mut self, wish: &Wish, answer: Option<Answer>) {
        let status = answer.as_ref().map(|answer| answer.status);
        self.log
            .push(format!("{} {}: {status:?}", wish.path, wish.body));
        let Some(answer) = answer else {
            self.struck.cut_answers += 1;
            return;
        };
        let somebody = &mut self.people[wish.of];
        let done = answer.status == 200;
        match &wish.kind {
            Kind::Parent if done => {
                let id = answer.body["acs_credential"]["acs_credential_id"].as_str();
                somebody
                    .parents
                    .insert(id.unwrap().to_owned(), Parent::Wanted);
            }
            Kind::DeleteParent(parent) if done => {
                somebody.parents.insert(parent.clone(), Parent::Deleted);
            }
            Kind::Deactivate(phone) if answer.status < 500 => {
                // 404: the daemon has not heard of the phone yet.
                let state = if done {
                    Phone::Deactivated
                } else {
                    Phone::Registered
                };
                somebody.phones.insert(*phone, state);
            }
            Kind::DeleteIdentity if done => somebody.gone = Some(true),
            Kind::Invite if answer.status < 500 => {}
            Kind::Parent
            | Kind::DeleteParent(_)
            | Kind::Deactivate(_)
            | Kind::DeleteIdentity
            | Kind::Invite => {
                panic!(
                    "{} {}: {} {}",
                    wish.path, wish.body, answer.status, answer.body
                )
            }
        }
    }

    /// A wish is on its way while the blow falls.
    fn strike(&mut self) {
        let wish = self.wish();
        let blow = Blow::thrown(&mut self.dice);
        let answer = thread::scope(|scope| {
            let site = &self.site;
            let daemon = site.daemon.as_ref().unwrap();
            if let Blow::Breath(_) = blow {
                daemon.signal("STOP");
            }
            let asked = wish
                .as_ref()
                .map(|wish| scope.spawn(move || site.try_ask(wish.path, &wish.body)));
            if !matches!(blow, Blow::Breath(_)) {
                wait_for_calls(site, &mut self.dice);
            }
            // The moment is what the dice choose; nothing is waited for.
            thread::sleep(Duration::from_millis(self.dice.roll(60)));
            blow.fall(daemon);
            asked.and_then(|asked| asked.join().unwrap())
        });
        self.struck.freezes += u64::from(matches!(blow, Blow::Freeze(..)));
        if blow.kills() {
            self.struck.kills += 1;
            self.log
                .push(format!("{blow:?}, kill {}", self.struck.kills));
            self.site.kill_daemon();
            self.site.start_daemon();
        }
        if let Some(wish) = wish {
            self.note(&wish, answer);
        }
    }

    fn until_calls(&mut self) {
        wait_for_calls(&self.site, &mut self.dice);
    }

    fn stop_for(&mut self, long: Duration) {
        let daemon = self.site.daemon.as_ref().unwrap();
        daemon.signal("STOP");
        thread::sleep(long);
        daemon.signal("CONT");
        self.struck.freezes += 1;
    }

    /// Faults end, and all comes to what is wanted.
    fn settle(mut self) -> Result<Struck, String> {
        self.site
            .hid
            .control("faults", &json!({ "preset": "none" }));
        let looks = SETTLES_IN.as_millis() / LOOK.as_millis() / 5;
        for _ in 0..looks {
            if wrong(&self.site, &self.people).is_none() {
                self.site.stop_daemon();
                return Ok(self.struck);
            }
            thread::sleep(LOOK * 5);
        }
        let wrong = wrong(&self.site, &self.people).unwrap_or_default();
        let daemon = self.site.daemon.take().unwrap().written().join("\n");
        let folder = self.site.folder.keep();
        fs::write(folder.join("daemon.log"), daemon).unwrap();
        let kept = folder.display();
        let log = self.log.join("\n");
        Err(format!("{wrong}; the site is kept in {kept}\n{log}"))
    }
}

impl Blow {
    fn thrown(dice: &mut Dice) -> Self {
        match dice.roll(8) {
            0..3 => Self::Kill,
            3..5 => Self::Freeze(Duration::from_millis(dice.roll(500)), dice.one_in(2)),
            _ => Self::Breath(Duration::from_micros(dice.roll(6_000))),
        }
    }

    fn kills(self) -> bool {
        matches!(self, Self::Kill | Self::Breath(_) | Self::Freeze(_, true))
    }

    fn fall(self, daemon: &Process) {
        match self {
            Self::Kill => daemon.signal("KILL"),
            Self::Freeze(long, kills) => {
                daemon.signal("STOP");
                thread::sleep(long);
                daemon.signal(if kills { "KILL" } else { "CONT" });
            }
            Self::Breath(long) => {
                // One shell for both: starting another program would take longer than the breath.
                let (id, long) = (daemon.id(), long.as_secs_f64());
                let line = format!("kill -CONT {id}; sleep {long}; kill -KILL {id}");
                let done = Command::new("sh").args(["-c", &line]).status();
                assert!(done.unwrap().success());
            }
        }
    }
}

/// The standard mix for even seeds, far more for odd ones. Of the events none is missing: a phone of which
/// nobody tells is found within minutes, in virtual time (see `simulation`).
pub(crate) fn faults(seed: u64, dice: &mut Dice) -> Value {
    let mut faults = json!({
        "preset": "standard",
        "event_missing": 0.0,
        // Within `late_effect_bound` and `settle_delay`.
        "late_by_max_ms": 1000,
        "stale_within_ms": 300,
        "event_late_by_max_ms": 500,
    });
    if seed % 2 == 1 {
        let often = [
            "lost_request",
            "lost_reply",
            "hang",
            "hang_with_effect",
            "http_500",
            "http_500_with_effect",
            "http_503",
            "late_effect",
            "stale_read",
            "malformed_json",
            "truncated_body",
            "token_401",
            "assignment_race",
            "event_duplicated",
            "event_reordered",
            "event_late",
        ];
        for fault in often {
            faults[fault] = json!([0.0, 0.01, 0.03, 0.06][dice.pick(4)]);
        }
    }
    faults
}

/// Waits until HID has seen some more calls, or nothing happens.
fn wait_for_calls(site: &Site, dice: &mut Dice) {
    let seen = || site.hid.look("state")["requests"].as_u64().unwrap();
    let wanted = seen() + dice.roll(7);
    for _ in 0..LOOKS {
        if seen() >= wanted {
            return;
        }
        thread::sleep(LOOK);
    }
}

fn nth<K: Clone + Ord, V: PartialEq>(of: &BTreeMap<K, V>, wanted: &V, choice: u64) -> Option<K> {
    let fit: Vec<&K> = of
        .iter()
        .filter(|(_, v)| *v == wanted)
        .map(|(k, _)| k)
        .collect();
    let place = usize::try_from(choice).unwrap().checked_rem(fit.len())?;
    Some(fit[place].clone())
}

/// The id under which the API shows a container.
fn device(container: u64) -> String {
    let manager = AcsSystemId(MANAGER.parse().unwrap());
    let container = ContainerId::parse(&container.to_string()).unwrap();
    PhoneId::of(manager, &container).to_string()
}

impl Struck {
    pub(super) fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.freezes += other.freezes;
        self.cut_answers += other.cut_answers;
        self.wishes += other.wishes;
    }
}

impl fmt::Display for Struck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kills, freezes, wishes) = (self.kills, self.freezes, self.wishes);
        let cut = self.cut_answers;
        write!(
            f,
            "{kills} kills, {freezes} freezes, {wishes} wishes, {cut} of them without an answer"
        )
    }
}
