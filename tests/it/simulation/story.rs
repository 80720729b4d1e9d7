//! What happens in a simulation, drawn from its seed, and what must be true of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use origo_adapter::core::identity::{Identity, Profile};
use origo_adapter::core::ids::{
    AcsSystemId, AcsUserId, AutomationId, ContainerId, IdentityId, ParentId, PartNumber, Personal,
    PhoneId, Timestamp,
};
use origo_adapter::core::wish::Wish;
use origo_adapter::simulator::{self, Device, DuplicateIssue, Fault, Faults, Violation};
use origo_adapter::store::{ClaimChange, Commit, Error, Feed, Store as _};
use origo_adapter::worker::{self, Next};
use origo_adapter::{core, engine};
use uuid::Uuid;

use super::world::{Daemon, Dice, MANAGER, World, policy};

const DOORS: AcsSystemId = AcsSystemId(Uuid::from_u128(0xd0));
const PEOPLE: u64 = 3;
/// Operations before the quiet period.
const LENGTH: u64 = 120;

/// A bug put in on purpose, to see whether it is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A call without an answer counts as not sent.
    BlindRetry,
    /// A new wish frees the identity for another call while one is under way.
    LiftedLease,
    /// The feed's cursor is saved before its events are observed.
    EarlyCursor,
}

/// What kind of stories are told.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) bug: Option<Bug>,
    /// No faults and no crashes.
    pub(super) clean: bool,
    /// Return what was done even where nothing failed.
    pub(super) trace: bool,
}

/// What the operator asked of one person; the story's own record, apart from the product's.
#[derive(Clone, Default)]
pub(super) struct Person {
    pub(super) parents: BTreeMap<ParentId, Asked>,
    /// Those that were to go.
    pub(super) gone: BTreeSet<ParentId>,
    pub(super) suspended: bool,
    /// Which of their names and addresses they go by.
    name: u64,
    /// Containers that were deactivated.
    deactivated: BTreeSet<u64>,
    deleted: bool,
    asked: bool,
}

/// A parent as asked for.
#[derive(Clone)]
pub(super) struct Asked {
    part_number: PartNumber,
    pub(super) ends_at: Option<Timestamp>,
}

pub(super) struct Story {
    pub(super) seed: u64,
    dice: Dice,
    pub(super) world: World,
    daemon: Daemon,
    pub(super) people: Vec<Person>,
    faults: Faults,
    log: String,
}

/// Tells the story of `seed`. `Ok`: what was done, where asked for; `Err`: what went wrong and what was done.
pub(super) fn run(seed: u64, rules: &Rules) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut story = Story::new(seed, rules);
    let outcome = runtime.block_on(story.tell());
    match outcome {
        Ok(()) if rules.trace => Ok(story.log),
        Ok(()) => Ok(String::new()),
        Err(wrong) => Err(format!("{wrong}\n{}", story.log)),
    }
}

/// Every kind of HID that the documents leave open and that matters here.
fn settings(dice: &mut Dice) -> simulator::Settings {
    let mut settings = simulator::Settings::default();
    if dice.one_in(2) {
        settings.duplicate_issue = DuplicateIssue::SecondCredential;
    }
    settings.extra_event_statuses = dice.one_in(2);
    settings.issue_initiated_events = dice.one_in(2);
    settings.issue_answers_list = dice.one_in(4);
    settings.event_order = if dice.one_in(2) {
        simulator::EventOrder::NewestLast
    } else {
        simulator::EventOrder::Shuffled
    };
    settings.invitation_id_in_events = match dice.roll(3) {
        0 => simulator::InvitationIdInEvents::Undefined,
        1 => simulator::InvitationIdInEvents::Absent,
        _ => simulator::InvitationIdInEvents::Present,
    };
    settings.revoked_visibility = match dice.roll(3) {
        0 => simulator::RevokedVisibility::Stays,
        1 => simulator::RevokedVisibility::GoneAtOnce,
        _ => simulator::RevokedVisibility::OneReadThenGone,
    };
    settings
}

/// Faults far above the `standard` mix, so that a short story meets several.
fn faults(dice: &mut Dice) -> Faults {
    let mut faults = Faults::none();
    for fault in [
        Fault::LostRequest,
        Fault::LostReply,
        Fault::Hang,
        Fault::HangWithEffect,
        Fault::Http500,
        Fault::Http500WithEffect,
        Fault::Http503,
        Fault::LateEffect,
        Fault::StaleRead,
        Fault::MalformedJson,
        Fault::TruncatedBody,
        Fault::UnknownEnum,
        Fault::Token401,
        Fault::Window403,
        Fault::AssignmentRace,
        Fault::EventDuplicated,
        Fault::EventReordered,
        Fault::EventMissing,
        Fault::EventLate,
    ] {
        let percent = [0, 0, 2, 5, 15][usize::try_from(dice.roll(5)).unwrap()];
        faults.set(fault, f64::from(percent) / 100.0);
    }
    faults
}

impl Story {
    fn new(seed: u64, rules: &Rules) -> Self {
        let mut dice = Dice::new(seed);
        let settings = settings(&mut dice);
        let mut faults = if rules.clean {
            Faults::none()
        } else {
            faults(&mut dice)
        };
        if rules.bug == Some(Bug::EarlyCursor) {
            faults.set(Fault::EventMissing, 0.0);
        }
        let mut world = World::new(seed, rules, settings);
        *world.hid.lock().unwrap().faults_mut() = faults.clone();
        let daemon = world.start();
        let people = (0..PEOPLE).map(|_| Person::default()).collect();
        Self {
            seed,
            dice,
            world,
            daemon,
            people,
            faults,
            log: String::new(),
        }
    }

    fn note(&mut self, what: &str) {
        let ms = self.world.now().0 - 1_772_323_200_000;
        writeln!(self.log, "{:>7}.{:03} {what}", ms / 1000, ms % 1000).unwrap();
    }

    async fn tell(&mut self) -> Result<(), String> {
        for _ in 0..LENGTH {
            self.act().await;
            self.check_always()?;
        }
        self.settle().await
    }

    async fn act(&mut self) {
        match self.dice.roll(100) {
            0..12 => self.wish().await,
            12..20 => self.register_a_phone(),
            20..45 => self.claim().await,
            45..70 => self.perform().await,
            70..80 => self.poll().await,
            80..83 if !self.world.rules.clean => self.light_the_fuse(),
            83..85 if !self.world.rules.clean => self.crash().await,
            85..86 => self.lose_a_phone(),
            86..88 => self.sit(300_000),
            _ => self.sit(20_000),
        }
    }

    /// Time passes, up to `most` milliseconds.
    fn sit(&mut self, most: u64) {
        let ms = self.dice.roll(most);
        self.world.clock.advance(i64::try_from(ms).unwrap());
    }

    fn light_the_fuse(&mut self) {
        let verbs = i64::try_from(self.dice.roll(6)).unwrap();
        let after = self.dice.one_in(2);
        self.world.fuse.light(verbs, after);
    }

    async fn crash(&mut self) {
        self.note("the daemon dies and starts again");
        self.daemon = self.world.start();
        worker::recover(&self.daemon.engine, self.world.now())
            .await
            .unwrap();
    }

    /// A failed verb is the death of the daemon.
    async fn survive<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                assert!(
                    self.world.fuse.is_blown(),
                    "seed {}: {error}: {error:?}\n{}",
                    self.seed,
                    self.log
                );
                self.crash().await;
                None
            }
        }
    }

    async fn claim(&mut self) {
        if self.daemon.jobs.len() >= 3 {
            return;
        }
        let next = self.daemon.worker.next().await;
        if let Some(Next::Job(job)) = self.survive(next).await {
            self.note(&format!("claimed: {:?} of {}", job.effect(), job.identity));
            self.daemon.jobs.push(job);
        }
    }

    async fn perform(&mut self) {
        let jobs = self.daemon.jobs.len() as u64;
        if jobs == 0 {
            return;
        }
        let chosen = usize::try_from(self.dice.roll(jobs)).unwrap();
        let job = self.daemon.jobs.swap_remove(chosen);
        self.note(&format!(
            "performs: {} of {}",
            job.effect().name(),
            job.identity
        ));
        let (engine, manager) = (self.daemon.engine.clone(), self.daemon.manager.clone());
        let done = worker::perform(&engine, &manager, job).await;
        self.survive(done).await;
    }

    async fn poll(&mut self) {
        if self.world.rules.bug == Some(Bug::EarlyCursor) {
            // The daemon saves where it will be, and dies before it gets there, now and then.
            let feed = Feed {
                cursor: self.world.now(),
                seen: Vec::new(),
            };
            self.world.store.save_feed(MANAGER, feed).await.unwrap();
            if self.dice.one_in(2) {
                return self.crash().await;
            }
        }
        let polled = self.daemon.poller.turn().await;
        if let Some(polled) = self.survive(polled).await {
            self.note(&format!("polled: {polled:?}"));
        }
    }

    async fn wish(&mut self) {
        let who = usize::try_from(self.dice.roll(PEOPLE)).unwrap();
        let id = identity(who);
        if self.people[who].deleted {
            return;
        }
        let Some((wishes, result)) = self.drawn(who) else {
            return;
        };
        self.note(&format!("wishes for {id}: {wishes:?}"));
        let done = self
            .daemon
            .engine
            .wish(id, "story", |_| Ok::<_, ()>(wishes.clone()))
            .await;
        let blown = self.world.fuse.is_blown();
        let accepted = match done {
            // Of a phone that nobody has told of yet nothing can be asked.
            Ok(_) => self.was_taken(id, &wishes).await,
            Err(engine::WishError::Store(error)) => {
                assert!(blown, "seed {}: {error}", self.seed);
                self.crash().await;
                // The app does not know; it looks.
                self.was_taken(id, &wishes).await
            }
            Err(engine::WishError::Refused(())) => unreachable!("nothing refuses"),
        };
        if !accepted {
            return;
        }
        self.people[who] = result;
        if self.world.rules.bug == Some(Bug::LiftedLease) {
            self.lift_the_lease(id).await;
        }
    }

    /// A wish of one person, and what the operator has asked of them once it is taken.
    fn drawn(&mut self, who: usize) -> Option<(Vec<Wish>, Person)> {
        let mut person = self.people[who].clone();
        let first = person.parents.keys().next().copied();
        // A bug is looked for in the plain stories that it was put in for.
        let kinds = if self.world.rules.bug.is_some() {
            10
        } else {
            15
        };
        let roll = self.dice.roll(kinds);
        let wishes = if !person.asked || (roll < 3 && person.parents.len() < 2) {
            let part = format!("MID-SUB-EXAMPLE_{}", 1 + self.dice.roll(2));
            let parent = ParentId(Uuid::from_u128(
                0xbeef_0000 + u128::from(self.dice.roll(u64::MAX)),
            ));
            let asked = Asked {
                part_number: PartNumber(part),
                ends_at: None,
            };
            person.asked = true;
            person.parents.insert(parent, asked.clone());
            asked_of(who, person.name, parent, asked.part_number)
        } else {
            match roll {
                0..6 => {
                    person.parents.remove(&first?);
                    person.gone.insert(first?);
                    vec![Wish::DeleteParent(first?)]
                }
                6..9 => vec![Wish::Invite {
                    manager: MANAGER,
                    installation: None,
                    resend: roll == 8,
                }],
                9 if kinds == 10 && !self.dice.one_in(4) => return None,
                9 if kinds == 10 || self.dice.one_in(4) => {
                    person.deleted = true;
                    let gone = std::mem::take(&mut person.parents);
                    person.gone.extend(gone.into_keys());
                    vec![Wish::DeleteIdentity]
                }
                9 | 10 => {
                    person.suspended = !person.suspended;
                    vec![Wish::Suspend {
                        id: acs_user(who),
                        suspended: person.suspended,
                    }]
                }
                11 | 12 => {
                    person.name = self.dice.roll(3);
                    vec![Wish::Identity(profile(who, person.name))]
                }
                13 => {
                    let phones = self.world.hid.lock().unwrap().active_containers();
                    let name = identity(who).to_string();
                    let phone = phones.iter().find(|phone| phone.user_external_id == name)?;
                    let container = ContainerId::parse(&phone.container.to_string()).unwrap();
                    person.deactivated.insert(phone.container);
                    vec![Wish::DeactivatePhone(PhoneId::of(MANAGER, &container))]
                }
                _ => {
                    let ends_at = match self.dice.roll(3) {
                        0 => None,
                        _ => Some(Timestamp(
                            self.world.now().0 + i64::try_from(self.dice.roll(900_000)).unwrap(),
                        )),
                    };
                    person.parents.get_mut(&first?)?.ends_at = ends_at;
                    vec![Wish::SetDates {
                        id: first?,
                        starts_at: None,
                        ends_at,
                    }]
                }
            }
        };
        Some((wishes, person))
    }

    /// Whether wishes were taken in, as the store shows it: all of them or none.
    async fn was_taken(&self, id: IdentityId, wishes: &[Wish]) -> bool {
        let loaded = self.world.store.load(id).await.unwrap();
        let Some(identity) = loaded.map(|loaded| loaded.identity) else {
            return wishes.contains(&Wish::DeleteIdentity);
        };
        let shows = |wish: &Wish| match wish {
            Wish::Parent { id, .. } => identity.parents.contains_key(id),
            Wish::DeleteParent(id) => {
                let parent = identity.parents.get(id);
                parent.is_none_or(|parent| parent.deleting_since.is_some())
            }
            Wish::DeleteIdentity => identity.deleting_since.is_some(),
            Wish::Suspend { id, suspended } => identity.acs_users[id].suspended == *suspended,
            Wish::Identity(profile) => identity.profile == *profile,
            Wish::DeactivatePhone(id) => {
                let known = identity.phone(*id);
                known.is_some_and(|(_, p)| p.removal.is_some() || p.removed_at.is_some())
            }
            Wish::SetDates { id, ends_at, .. } => {
                let parent = identity.parents.get(id);
                parent.is_some_and(|parent| parent.ends_at == *ends_at)
            }
            Wish::AcsUser { .. }
            | Wish::ChangeAcsUser { .. }
            | Wish::DeleteAcsUser(_)
            | Wish::ReleaseAcsUser(_)
            | Wish::ReleaseParent(_)
            | Wish::TakeIn { .. }
            | Wish::Launch { .. }
            | Wish::DeleteAutomation(_)
            | Wish::Assign(..)
            | Wish::DeleteChild(_)
            | Wish::Invite { .. } => true,
        };
        wishes.iter().all(shows)
    }

    async fn lift_the_lease(&self, id: IdentityId) {
        let Some(loaded) = self.world.store.load(id).await.unwrap() else {
            return;
        };
        let identity = Identity {
            in_flight: None,
            ..loaded.identity
        };
        let commit = Commit {
            id,
            expected: loaded.revision,
            owed: Some(core::plan::owed(&policy(), &identity, self.world.now())),
            identity: Some(identity),
            rows_removed: BTreeSet::new(),
            rows_added: BTreeSet::new(),
            changes: Vec::new(),
            events: Vec::new(),
            cause: "bug".to_owned(),
            claim: ClaimChange::Abandon,
            now: self.world.now(),
        };
        self.world.store.commit(commit).await.unwrap();
    }

    fn register_a_phone(&mut self) {
        let mut hid = self.world.hid.lock().unwrap();
        let pending = hid.pending_invitations();
        if pending.is_empty() {
            return;
        }
        let chosen = usize::try_from(self.dice.roll(pending.len() as u64)).unwrap();
        let redeemed = hid.redeem(self.world.now().0, &pending[chosen].code, Device::default());
        drop(hid);
        self.note(&format!(
            "a phone of {} registers: {redeemed:?}",
            pending[chosen].user_external_id
        ));
    }

    fn lose_a_phone(&mut self) {
        let mut hid = self.world.hid.lock().unwrap();
        let phones = hid.active_containers();
        if phones.is_empty() {
            return;
        }
        let chosen = usize::try_from(self.dice.roll(phones.len() as u64)).unwrap();
        hid.remove_phone(self.world.now().0, phones[chosen].container);
        drop(hid);
        self.note(&format!(
            "phone {} is reset by its owner",
            phones[chosen].container
        ));
    }

    /// Faults end, time goes on, and everything must come to its rest.
    async fn settle(&mut self) -> Result<(), String> {
        self.note("the quiet period begins");
        *self.world.hid.lock().unwrap().faults_mut() = Faults::none();
        self.world.fuse.mend();
        while !self.daemon.jobs.is_empty() {
            self.perform().await;
        }
        self.crash().await;
        let all_told = !self.world.rules.clean && !self.may_miss_events();
        if all_told || self.world.rules.clean {
            // Whatever the feed tells is acted on at once; what was in doubt takes its reads.
            self.rest(3 * 3600, 600).await?;
            self.check_settled()?;
        }
        // A phone that the feed never told of is found before its invitation's renewal, or by the sweep.
        self.rest(80 * 3600, 4 * 3600).await?;
        self.check_settled()?;
        self.check_told().await
    }

    fn may_miss_events(&self) -> bool {
        let rates = format!("{:?}", self.faults);
        !rates.contains("EventMissing: 0.0")
    }

    /// Lets the daemon work for so many seconds, polling every `interval` of them.
    async fn rest(&mut self, seconds: i64, interval: i64) -> Result<(), String> {
        let end = Timestamp(self.world.now().0 + seconds * 1000);
        let mut polled_at = Timestamp(0);
        let mut calls = 0;
        let mut idle = 0;
        while self.world.now() < end {
            idle += 1;
            if idle > 20_000 {
                return Err("it turns without an end".to_owned());
            }
            if self.world.now().0 - polled_at.0 >= interval * 1000 {
                polled_at = self.world.now();
                self.daemon.poller.turn().await.unwrap();
            }
            let woken = worker::wake(&self.daemon.engine).await.unwrap();
            match self.daemon.worker.next().await.unwrap() {
                Next::Job(job) => {
                    calls += 1;
                    if calls > 600 {
                        return Err(format!("it never comes to rest: {}", job.effect().name()));
                    }
                    self.note(&format!("calls: {:?} of {}", job.effect(), job.identity));
                    worker::perform(&self.daemon.engine, &self.daemon.manager, job)
                        .await
                        .unwrap();
                    self.check_always()?;
                }
                Next::Wait(until) => {
                    let poll = polled_at.0 + interval * 1000;
                    let next = [until, woken]
                        .into_iter()
                        .flatten()
                        .map(|t| t.0)
                        .chain([poll, end.0])
                        .min()
                        .unwrap();
                    let now = self.world.now().0;
                    self.world.clock.advance((next - now).max(1));
                }
            }
        }
        Ok(())
    }

    /// What must be true at every moment, by the simulator's own books.
    fn check_always(&self) -> Result<(), String> {
        let violations = self.world.hid.lock().unwrap().violations();
        if let Some(violation) = violations.first() {
            match violation {
                Violation::Duplicate { .. } => {
                    return Err(format!(
                        "two keys of one pair are live at once: {violation:?}"
                    ));
                }
                Violation::WindowExceeded { .. } => {
                    return Err(format!("a window is exceeded: {violation:?}"));
                }
                Violation::NeverActive { .. } | Violation::NoApplicationId { .. } => {
                    return Err(format!("{violation:?}"));
                }
            }
        }
        Ok(())
    }

    /// What must be true once everything has come to its rest.
    fn check_settled(&mut self) -> Result<(), String> {
        self.check_always()?;
        let now = self.world.now();
        let mut hid = self.world.hid.lock().unwrap();
        hid.advance(now.0);
        let mut live: BTreeMap<(String, u64, String), Vec<u64>> = BTreeMap::new();
        for key in hid.live_credentials() {
            let Some(container) = key.container else {
                continue;
            };
            live.entry((key.user_external_id, container, key.part_number))
                .or_default()
                .push(key.credential);
        }
        let mut wanted = BTreeSet::new();
        for phone in hid.active_containers() {
            let person = (0..self.people.len())
                .find(|who| identity(*who).to_string() == phone.user_external_id);
            let Some(who) = person else { continue };
            let person = &self.people[who];
            if person.deactivated.contains(&phone.container) {
                return Err(format!("phone {} was deactivated", phone.container));
            }
            let parents = person.parents.values().filter(|_| !person.suspended);
            for asked in parents.filter(|asked| asked.ends_at.is_none_or(|at| now < at)) {
                wanted.insert((
                    phone.user_external_id.clone(),
                    phone.container,
                    asked.part_number.0.clone(),
                ));
            }
        }
        for pair in &wanted {
            match live.get(pair).map_or(0, Vec::len) {
                1 => {}
                0 => return Err(format!("{pair:?} has no key")),
                _ => return Err(format!("{pair:?} has several keys that are live at once")),
            }
        }
        if let Some((pair, _)) = live.iter().find(|(pair, _)| !wanted.contains(*pair)) {
            return Err(format!("{pair:?} is live but was withdrawn"));
        }
        for (who, _) in self
            .people
            .iter()
            .enumerate()
            .filter(|(_, person)| person.deleted)
        {
            if hid
                .user_by_external_id(&identity(who).to_string())
                .is_some()
            {
                return Err(format!(
                    "{} was deleted, but its user is still there",
                    identity(who)
                ));
            }
        }
        Ok(())
    }
}

pub(super) fn identity(who: usize) -> IdentityId {
    IdentityId(Uuid::from_u128(0x1d00 + who as u128))
}

fn acs_user(who: usize) -> AcsUserId {
    AcsUserId(Uuid::from_u128(0xac00 + who as u128))
}

fn profile(who: usize, name: u64) -> Profile {
    let text = |text: String| Some(Personal(text));
    Profile {
        key: Some(format!("person-{who}")),
        full_name: text(format!(
            "Person Number{who}{}",
            "x".repeat(usize::try_from(name).unwrap())
        )),
        email_address: text(format!("person{who}.{}@tenant.example", name / 2)),
        phone_number: None,
    }
}

/// What an app asks for a person: all of it, each time; what is there already changes nothing.
fn asked_of(who: usize, name: u64, parent: ParentId, part_number: PartNumber) -> Vec<Wish> {
    let acs_user = acs_user(who);
    vec![
        Wish::Identity(profile(who, name)),
        Wish::AcsUser {
            id: acs_user,
            acs_system: DOORS,
            full_name: None,
            email_address: None,
            phone_number: None,
        },
        Wish::Launch {
            id: AutomationId(Uuid::from_u128(0xaa00 + who as u128)),
            manager: MANAGER,
            part_number: None,
        },
        Wish::Parent {
            id: parent,
            acs_user,
            manager: MANAGER,
            automation: AutomationId(Uuid::from_u128(0xaa00 + who as u128)),
            part_number,
            card_format: None,
            facility_code: None,
            allowed_acs_entrance_ids: vec![],
            starts_at: None,
            ends_at: None,
        },
    ]
}
