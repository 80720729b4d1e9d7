//! A week of a large site, in virtual time: people arrive in bursts, their phones register when it pleases them,
//! some are lost and some people leave, a foreign client uses the same windows, and HID is away for half an hour.
//! What is checked is read from the simulator's own book.
//!
//! `WEEK_PEOPLE=50000 WEEK_DAYS=7 cargo test --profile scale a_week -- --nocapture`; also `WEEK_SEED` and
//! `WEEK_SWEEP`, the percentage of the calls that the sweep may use.

mod books;
mod line;
mod spans;
mod town;
mod waits;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use origo_adapter::clock::Clock;
use origo_adapter::core::effect::Class;
use origo_adapter::core::ids::Timestamp;
use origo_adapter::engine::Engine;
use origo_adapter::manager::Manager;
use origo_adapter::origo::Transport;
use origo_adapter::poller::{Polled, Poller};
use origo_adapter::simulator::Settings;
use origo_adapter::store::sqlite::{Options, Sqlite, Threads};
use origo_adapter::worker::{self, Next, Worker};

use super::disk::Disk;
use super::fuse::FusedStore;
use super::rules::Rules;
use super::world::{MANAGER, START, World, policy};
use crate::support::machine::{asked, tell};
use crate::support::manager::hq;
use books::{Books, ratio};
use line::Line;
use town::Town;
use waits::Waits;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// The configuration's default, as `support::manager` has it.
const INTERVAL: i64 = 5 * SECOND;
/// HID's windows: so many calls of Mobile Identities or events, so many tokens.
const WINDOW: i64 = 5 * MINUTE;
const PLACES: usize = 285;
const PLACES_OF_WITHDRAWALS: usize = 297;
const PLACES_OF_TOKENS: usize = 50;
/// The daemon starts at this hour of the first day.
const DAWN: i64 = 7 * HOUR;
/// Where files are quick; a database that is in memory alone gets slower the larger it is.
const SHARED_MEMORY: &str = "/dev/shm";
/// After the last day nothing happens for so long.
const QUIET: i64 = HOUR;

/// In CI; more by environment.
const PEOPLE: u64 = 700;
const DAYS: u64 = 1;

/// What the daemon was seen doing; the figures beside HID's book.
#[derive(Default)]
struct Seen {
    polls: usize,
    refused_polls: usize,
    /// Calls by lane and effect.
    calls: BTreeMap<(String, &'static str), usize>,
    /// Whether people or phones were waiting, at the beginning of each window's length.
    backlog: Vec<(i64, bool)>,
    took: Duration,
}

#[test]
fn a_week_exceeds_no_window_and_loses_nobody() {
    let people = usize::try_from(asked("WEEK_PEOPLE").unwrap_or(PEOPLE)).unwrap();
    let days = i64::try_from(asked("WEEK_DAYS").unwrap_or(DAYS)).unwrap();
    let seed = asked("WEEK_SEED").unwrap_or(1);
    let sweep = asked("WEEK_SWEEP").unwrap_or(10);
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    let mut week = runtime.block_on(Week::new(people, days, seed, sweep));
    runtime.block_on(week.pass(START + days * DAY + QUIET));
    tell(&format!(
        "week: {people} people, {days} days, seed {seed}, sweep {sweep} %"
    ));
    let complaints = week.verdict();
    let first = &complaints[..complaints.len().min(30)];
    assert!(
        complaints.is_empty(),
        "{} complaints, the first:\n{}",
        complaints.len(),
        first.join("\n")
    );
}

struct Week {
    world: World,
    line: Arc<Line>,
    town: Town,
    engine: Arc<Engine>,
    manager: Arc<Manager>,
    poller: Poller,
    worker: Worker,
    seen: Seen,
    /// Gone when this is.
    _folder: tempfile::TempDir,
}

impl Week {
    async fn new(people: usize, days: i64, seed: u64, sweep: u64) -> Self {
        let rules = Rules {
            clean: true,
            ..Rules::default()
        };
        let mut world = World::new(seed, &rules, Settings::default());
        let folder = tempfile::TempDir::with_prefix_in("week", SHARED_MEMORY).unwrap();
        let threads = Threads::Caller;
        let path = folder.path().join("state.db");
        world.store = Disk::Sqlite(Sqlite::open(&path, Options { threads }).unwrap());
        world.clock.advance(DAWN);
        let (hid, clock) = (Arc::clone(&world.hid), Arc::clone(&world.clock));
        let line = Arc::new(Line::new(hid, clock, seed));
        let store = FusedStore {
            store: world.store.clone(),
            fuse: world.fuse.clone(),
        };
        let clock: Arc<dyn Clock> = Arc::clone(&world.clock) as Arc<dyn Clock>;
        let engine = Arc::new(Engine::new(Arc::new(store), clock, policy()));
        let transport = Arc::clone(&line) as Arc<dyn Transport>;
        let mut manager = hq(MANAGER, transport, &engine);
        manager.sweep_share = f64::from(u32::try_from(sweep).unwrap()) / 100.0;
        let manager = Arc::new(manager);
        let polling = manager.polling.unwrap();
        let poller = Poller::open(Arc::clone(&engine), Arc::clone(&manager), polling);
        Self {
            town: Town::new(Arc::clone(&line), people, days, seed),
            poller: poller.await.unwrap(),
            worker: Worker::new(Arc::clone(&engine), Arc::clone(&manager)),
            world,
            line,
            engine,
            manager,
            seen: Seen::default(),
            _folder: folder,
        }
    }

    /// The daemon's loops, one step at a time; where nothing is to be done, time goes on to what is next.
    async fn pass(&mut self, end: i64) {
        let begun = stopwatch();
        let mut commits = self.engine.commits();
        let (mut poll_at, mut wake_at, mut work_at) = (START, START, START);
        loop {
            let now = self.world.clock.truth();
            if now >= end {
                break;
            }
            self.note_backlog(now).await;
            self.town.act(&self.engine, now).await;
            if now >= poll_at {
                poll_at = self.poll().await;
            }
            if commits.has_changed().unwrap() {
                commits.mark_unchanged();
                (wake_at, work_at) = (now, now);
            }
            if now >= wake_at {
                let next = worker::wake(&self.engine).await.unwrap();
                wake_at = next.map_or(i64::MAX, |at| at.0);
            }
            if now >= work_at {
                match self.worker.next().await.unwrap() {
                    Next::Job(job) => {
                        let kind = (kind(&job), job.effect().name());
                        *self.seen.calls.entry(kind).or_default() += 1;
                        let ended = worker::perform(&self.engine, &self.manager, job).await;
                        ended.settle(&self.engine).await.unwrap();
                        continue;
                    }
                    Next::Wait(until) => work_at = until.map_or(i64::MAX, |at| at.0),
                }
            }
            let now = self.world.clock.truth();
            let town = self.town.next().unwrap_or(end);
            let next = [poll_at, wake_at, work_at, town, end].into_iter().min();
            let idle = next.unwrap() - now;
            self.world.clock.advance(idle.max(1));
        }
        self.seen.took = begun.elapsed();
    }

    /// Returns when the next poll is due.
    async fn poll(&mut self) -> i64 {
        self.seen.polls += 1;
        match self.poller.turn().await.unwrap() {
            Polled::NotBefore(at) => at.0,
            Polled::More(_) => self.engine.now().0,
            Polled::Failed => {
                self.seen.refused_polls += 1;
                self.engine.now().0 + INTERVAL
            }
            Polled::Done(_) => self.engine.now().0 + INTERVAL,
        }
    }

    /// Says what happened, and returns what should not have.
    fn verdict(&self) -> Vec<String> {
        let books = Books::read(&self.line, &self.town);
        let mut complaints = books.windows();
        complaints.extend(Books::settled(&self.line, &self.town));
        let waits = Waits::of(&books, &self.line, &self.town, &self.seen.backlog);
        complaints.extend(waits.complaints());
        let (used, waiting) = books.use_in_backlog(&self.seen.backlog, &waits.hindered);
        if waiting >= 2 * HOUR && used < 0.97 {
            complaints.push(format!("only {used:.3} of the places were used"));
        }
        tell(&self.figures(&books));
        let minutes = waiting / MINUTE;
        tell(&format!(
            "week: use of our places in {minutes} minutes of backlog: {used:.3}"
        ));
        tell(&waits.figures());
        complaints
    }

    fn figures(&self, books: &Books) -> String {
        let mut text = String::new();
        let mut say = |what: String| writeln!(text, "week: {what}").unwrap();
        let calls = self.seen.calls.iter();
        let calls = calls.map(|((lane, effect), count)| format!("{lane}/{effect} {count}"));
        say(format!("calls: {}", calls.collect::<Vec<_>>().join(", ")));
        say(books.figures(&self.line, &self.town));
        let Seen {
            polls,
            refused_polls,
            took,
            ..
        } = &self.seen;
        let operations = self.world.fuse.passed();
        let (seconds, people) = (took.as_secs_f64(), self.town.people.len());
        let each = seconds * 1e3 * ratio(1, people);
        say(format!(
            "{polls} polls ({refused_polls} in vain), {operations} operations of the store, {seconds:.1} s, {each:.2} ms a person"
        ));
        text.trim_end().to_owned()
    }

    async fn note_backlog(&mut self, now: i64) {
        let last = self.seen.backlog.last().map_or(i64::MIN, |(at, _)| *at);
        if now / WINDOW <= last / WINDOW {
            return;
        }
        let agenda = self.world.store.agenda(Some(MANAGER)).await.unwrap();
        let waits = |class| agenda.get(&class).is_some_and(|at| *at <= Timestamp(now));
        let waiting = waits(Class::Issue) || waits(Class::Enroll);
        self.seen.backlog.push((now, waiting));
    }
}

/// Which lane a call is of, without its ids.
fn kind(job: &worker::Job) -> String {
    let lane = job.call.lane.to_string();
    lane.split('/').next().unwrap_or_default().to_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long the test took is no matter of the product"
)]
fn stopwatch() -> Instant {
    Instant::now()
}
