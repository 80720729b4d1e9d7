//! What happens in a simulation, drawn from its seed.

use std::fmt::Write as _;

use origo_adapter::core::ids::Timestamp;
use origo_adapter::simulator::{Device, Fault, Faults};
use origo_adapter::store::{Error, Feed};
use origo_adapter::worker::{self, Next};

use super::frozen::{Frozen, Stillness};
use super::rules::{Bug, Rules, faults_of, settings};
use super::wishes::{Person, identity};
use super::world::{Daemon, MANAGER, START, World};
use crate::support::dice::Dice;

const PEOPLE: usize = 3;
/// Acts before the quiet period.
const LENGTH: usize = 120;
/// The configuration's default, in ms.
const POLLS_EVERY: i64 = 5_000;
const HOUR: i64 = 3_600_000;

pub(super) struct Story {
    pub(super) seed: u64,
    pub(super) dice: Dice,
    pub(super) world: World,
    /// The one whose turn it is.
    pub(super) daemon: Daemon,
    pub(super) other: Option<Daemon>,
    /// Calls that stand still.
    pub(super) frozen: Vec<Frozen>,
    pub(super) stood_still: Stillness,
    pub(super) people: Vec<Person>,
    faults: Faults,
    /// The dice of each act, as they were before it.
    acts: Vec<Dice>,
    /// Operations of the first start.
    opened: i64,
    struck: bool,
    log: String,
}

/// How a story ended that broke no guarantee.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// What was done, where asked for.
    pub(super) log: String,
    /// Operations of the store after the first start, reads included.
    pub(super) operations: i64,
    /// At how many different points the daemon died.
    pub(super) deaths: usize,
    /// Every fault that was to strike did.
    pub(super) struck: bool,
    /// For how long each surplus key was live, in ms.
    pub(super) surplus: Vec<i64>,
    pub(super) stood_still: Stillness,
}

/// How a story ended that broke a guarantee.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) wrong: String,
    pub(super) acts: Vec<Dice>,
    /// What was done, what the daemon believes, and what HID did, where asked for.
    pub(super) told: String,
}

/// Tells the story of `seed`.
pub(super) fn run(seed: u64, rules: &Rules) -> Result<Ending, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut story = runtime.block_on(Story::new(seed, rules));
    let Err(wrong) = runtime.block_on(story.tell()) else {
        return Ok(Ending {
            operations: story.world.fuse.passed() - story.opened,
            deaths: story.world.fuse.deaths(),
            struck: story.struck,
            surplus: story.surplus(),
            stood_still: story.stood_still,
            log: story.log,
        });
    };
    let beliefs = rules.trace.then(|| runtime.block_on(story.beliefs()));
    Err(Broken {
        wrong,
        acts: story.acts,
        told: story.log + &beliefs.unwrap_or_default(),
    })
}

impl Story {
    async fn new(seed: u64, rules: &Rules) -> Self {
        let mut dice = Dice::new(seed);
        let settings = settings(rules, &mut dice);
        let faults = faults_of(rules, &mut dice);
        let mut world = World::new(seed, rules, settings);
        *world.hid.lock().unwrap().faults_mut() = faults.clone();
        let daemon = world.start().await;
        let opened = world.fuse.passed();
        let other = if rules.two {
            Some(world.start_beside().await)
        } else {
            None
        };
        if let Some((operation, after)) = rules.crash_at {
            world.fuse.light(operation, after);
        }
        let alone = !rules.strikes.is_empty();
        let people = vec![Person::default(); if alone { 1 } else { PEOPLE }];
        Self {
            seed,
            dice,
            world,
            daemon,
            other,
            frozen: Vec::new(),
            stood_still: Stillness::default(),
            people,
            faults,
            acts: Vec::new(),
            opened,
            struck: false,
            log: String::new(),
        }
    }

    pub(super) fn note(&mut self, what: &str) {
        if !self.world.rules.trace {
            return;
        }
        let ms = self.world.clock.truth() - START;
        writeln!(self.log, "{:>7}.{:03} {what}", ms / 1000, ms % 1000).unwrap();
    }

    /// What the daemon believes of everybody.
    async fn beliefs(&self) -> String {
        let mut beliefs = String::new();
        for who in 0..self.people.len() {
            let loaded = self.world.store.load(identity(who)).await.unwrap();
            writeln!(beliefs, "{loaded:#?}").unwrap();
        }
        for entry in self.world.hid.lock().unwrap().ledger().entries() {
            let seconds = (entry.at - START) / 1000;
            writeln!(
                beliefs,
                "{seconds:>7} HID: {:?} {:?}",
                entry.cause, entry.effect
            )
            .unwrap();
        }
        beliefs
    }

    async fn tell(&mut self) -> Result<(), String> {
        let only = self.world.rules.only.clone();
        let length = self.world.rules.acts.unwrap_or(LENGTH);
        let acts = only.as_ref().map_or(length, |only| only.len());
        for act in 0..acts {
            if let Some(only) = &only {
                self.dice = only[act].clone();
            }
            self.acts.push(self.dice.clone());
            self.take_turns();
            self.thaw().await;
            if self.world.rules.deadly && self.dice.one_in(2) {
                self.light_the_fuse();
            }
            match self.world.rules.steady {
                Some(most) => self.live(most).await?,
                None => self.act().await,
            }
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
            88..90 if self.world.rules.clock_jumps => self.set_the_clock(),
            _ => self.sit(20_000),
        }
    }

    /// Something happens, and the daemon does all that is due for a while.
    async fn live(&mut self, most: u64) -> Result<(), String> {
        match self.dice.roll(20) {
            0..8 => self.wish().await,
            8..14 => self.register_a_phone(),
            14 => self.lose_a_phone(),
            _ => {}
        }
        if self.people.iter().filter(|person| !person.deleted).count() < PEOPLE {
            self.people.push(Person::default());
        }
        let ms = i64::try_from(self.dice.roll(most)).unwrap();
        self.rest(ms, POLLS_EVERY).await
    }

    /// Time passes, up to `most` milliseconds.
    fn sit(&mut self, most: u64) {
        let ms = self.dice.roll(most);
        self.world.clock.advance(i64::try_from(ms).unwrap());
    }

    /// Somebody sets our clock up to an hour wrong; HID's stays right.
    fn set_the_clock(&mut self) {
        let ms = i64::try_from(self.dice.roll(7_200_000)).unwrap() - 3_600_000;
        self.world.clock.set_wrong(ms);
        self.note(&format!("our clock is {ms} ms wrong"));
    }

    fn light_the_fuse(&mut self) {
        let operations = i64::try_from(self.dice.roll(6)).unwrap();
        let after = self.dice.one_in(2);
        self.world.fuse.light(operations, after);
    }

    pub(super) async fn crash(&mut self) {
        self.note("the daemon dies and starts again");
        if self.other.is_some() {
            self.die_alone().await;
            return;
        }
        self.frozen.clear();
        self.daemon = self.world.start().await;
        let now = self.daemon.engine.window_now().await.unwrap();
        let taken_over = worker::recover(&self.daemon.engine, now).await;
        taken_over.unwrap();
    }

    /// A failed verb is the death of the daemon.
    pub(super) async fn survive<T>(&mut self, result: Result<T, Error>) -> Option<T> {
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
        self.take_over().await;
        let next = self.daemon.worker.next().await;
        if let Some(Next::Job(job)) = self.survive(next).await {
            self.note(&format!("claimed: {:?} of {}", job.effect(), job.identity));
            self.daemon.jobs.push(job);
        }
    }

    pub(super) async fn perform(&mut self) {
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
        if self.freezes() {
            self.freeze(job).await;
            return;
        }
        let (engine, manager) = (self.daemon.engine.clone(), self.daemon.manager.clone());
        let ended = worker::perform(&engine, &manager, job).await;
        let done = ended.settle(&engine).await;
        self.survive(done).await;
    }

    async fn poll(&mut self) {
        if self.world.rules.bug == Some(Bug::EarlyCursor) {
            // The daemon saves where it will be, and dies before it gets there, now and then.
            let feed = Feed {
                cursor: self.world.now(),
                ..Feed::default()
            };
            let store = &self.world.store;
            let saved = store.save_feed(MANAGER, feed, Vec::new(), Timestamp(0));
            saved.await.unwrap();
            if self.dice.one_in(2) {
                return self.crash().await;
            }
        }
        let polled = self.daemon.poller.turn().await;
        if let Some(polled) = self.survive(polled).await {
            self.note(&format!("polled: {polled:?}"));
        }
    }

    fn register_a_phone(&mut self) {
        let mut hid = self.world.hid.lock().unwrap();
        let pending = hid.pending_invitations();
        if pending.is_empty() {
            return;
        }
        let chosen = usize::try_from(self.dice.roll(pending.len() as u64)).unwrap();
        let redeemed = hid.redeem(
            self.world.clock.truth(),
            &pending[chosen].code,
            Device::default(),
        );
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
        hid.remove_phone(self.world.clock.truth(), phones[chosen].container);
        drop(hid);
        self.note(&format!(
            "phone {} is reset by its owner",
            phones[chosen].container
        ));
    }

    /// Faults end, time goes on, and everything must come to its rest.
    async fn settle(&mut self) -> Result<(), String> {
        self.note("the quiet period begins");
        {
            let mut hid = self.world.hid.lock().unwrap();
            self.struck = hid.faults().pending() == 0;
            *hid.faults_mut() = Faults::none();
        }
        self.world.clock.set_wrong(0);
        if self.world.rules.crash_at.is_none() {
            self.world.fuse.put_out();
        }
        self.be_alone().await;
        while !self.daemon.jobs.is_empty() {
            self.perform().await;
        }
        if self.world.rules.crash_at.is_none() {
            self.crash().await;
        }
        if self.world.rules.late.is_some() {
            // What is still late comes while the feed is read as often as before.
            self.rest(HOUR / 2, POLLS_EVERY).await?;
        }
        if !self.may_miss_events() {
            // Whatever the feed tells is acted on at once; what was in doubt takes its reads.
            self.rest(3 * HOUR, HOUR / 6).await?;
            self.check_settled()?;
        }
        // A phone that the feed never told of is found before its invitation's renewal, or by the sweep.
        self.rest(80 * HOUR, 4 * HOUR).await?;
        self.check_settled()?;
        self.check_told().await
    }

    /// The feed may have kept something from us; then only reads in turn find it.
    fn may_miss_events(&self) -> bool {
        let missed = |(_, fault): &(_, Fault)| *fault == Fault::EventMissing;
        let rates = serde_json::to_value(&self.faults).unwrap();
        let rate = rates["rates"]["event_missing"].as_f64();
        self.world.rules.strikes.iter().any(missed) || rate.is_some_and(|rate| rate > 0.0)
    }

    /// Lets the daemon work for so many ms, polling every `interval` of them.
    async fn rest(&mut self, ms: i64, interval: i64) -> Result<(), String> {
        let end = Timestamp(self.world.now().0 + ms);
        let mut polled_at = Timestamp(0);
        let mut calls = 0;
        let mut turns = 0;
        while self.world.now() < end {
            turns += 1;
            if turns > 20_000 + ms / interval * 2 {
                return Err("it turns without an end".to_owned());
            }
            if self.world.now().0 - polled_at.0 >= interval {
                self.thaw().await;
                self.take_over().await;
                polled_at = self.world.now();
                let polled = self.daemon.poller.turn().await;
                self.survive(polled).await;
            }
            let woken = worker::wake(&self.daemon.engine).await;
            let Some(woken) = self.survive(woken).await else {
                continue;
            };
            let next = self.daemon.worker.next().await;
            match self.survive(next).await {
                None => {}
                Some(Next::Job(job)) => {
                    calls += 1;
                    if calls > 600 {
                        return Err(format!("it never comes to rest: {}", job.effect().name()));
                    }
                    self.note(&format!("claimed: {:?} of {}", job.effect(), job.identity));
                    self.daemon.jobs.push(job);
                    self.perform().await;
                    self.check_always()?;
                }
                Some(Next::Wait(until)) => {
                    let poll = polled_at.0 + interval;
                    let times = [until, woken].into_iter().flatten().map(|t| t.0);
                    let next = times.fold(poll.min(end.0), i64::min);
                    let now = self.world.now().0;
                    self.world.clock.advance((next - now).max(1));
                }
            }
        }
        Ok(())
    }
}
