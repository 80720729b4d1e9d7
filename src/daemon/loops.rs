//! The loops: each asks for what is due, does it, and rests until something may be.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::late::{self, Side};
use crate::adopt::{self, Adopter};
use crate::config::Place;
use crate::core::Timestamp;
use crate::core::hold::HoldScope;
use crate::emit;
use crate::engine::Engine;
use crate::lifecycle::{self, Beat, Lifecycle};
use crate::manager::Manager;
use crate::poller::{Polled, Poller};
use crate::stock::Keeper;
use crate::store::journal::{self, Summed};
use crate::store::{self, Counts};
use crate::telemetry::{self, CALLBACK_HEEDED, HEARTBEAT, STORE_DAMAGED, STORE_FAILED};
use crate::worker::{self, Job, Next, Worker};

/// Calls under way at once for one manager; one identity never has more than one.
const CONCURRENCY: usize = 16;
/// Who waits for commits looks into the store so often without one.
const LONGEST_REST: Duration = Duration::from_mins(1);
/// A paused feed's gate is looked at this often.
const LOOK_AT_GATE: Duration = Duration::from_secs(5);
/// Polls that hints ask for begin at least so far apart, however many hints come.
const HINTS_APART: Duration = Duration::from_secs(2);
/// A loop that has not turned for so long hangs.
pub(super) const TURN_BOUND: Duration = Duration::from_mins(1);
/// Beyond its lease and a request's time, a claim's owner may still be writing (contract.md section 2, Leases).
const TAKEOVER_SLACK: Duration = Duration::from_secs(30);
/// How often claims are looked at that are about to be over.
const LOOK_AT_LEASE: Duration = Duration::from_secs(1);
/// After the store failed.
pub(super) const STORE_PAUSE: Duration = Duration::from_secs(1);

/// What reads a manager's feed, and knows from where; `None`: its feed is off.
pub async fn poller(
    engine: &Arc<Engine>,
    manager: &Arc<Manager>,
) -> Result<Option<Poller>, store::Error> {
    match manager.polling {
        None => Ok(None),
        Some(polling) => Poller::open(Arc::clone(engine), Arc::clone(manager), polling)
            .await
            .map(Some),
    }
}

/// Starts a manager's poller and worker.
pub fn spawn_manager(
    lifecycle: &Lifecycle,
    engine: &Arc<Engine>,
    manager: &Arc<Manager>,
    poller: Option<Poller>,
) {
    if let Some((poller, polling)) = poller.zip(manager.polling) {
        let name = format!("poller {}", manager.name);
        let beat = lifecycle.beat(&name, TURN_BOUND);
        lifecycle.spawn(
            &name,
            poll(
                poller,
                polling.interval,
                Arc::clone(engine),
                Arc::clone(manager),
                beat,
                lifecycle.soft(),
            ),
        );
    }
    let name = format!("worker {}", manager.name);
    let beat = lifecycle.beat(&name, TURN_BOUND);
    lifecycle.spawn(
        &name,
        work(
            Arc::clone(engine),
            Arc::clone(manager),
            beat,
            lifecycle.soft(),
        ),
    );
}

/// Takes over what HID has, when it is asked for, and goes on with it after a restart.
pub(super) fn spawn_adopter(lifecycle: &Lifecycle, engine: &Arc<Engine>, manager: &Arc<Manager>) {
    let mut adopter = Adopter::new(Arc::clone(engine), Arc::clone(manager));
    let name = format!("adopter {}", manager.name);
    let (engine, manager, soft) = (Arc::clone(engine), Arc::clone(manager), lifecycle.soft());
    let beat = lifecycle.beat(&name, TURN_BOUND);
    lifecycle.spawn(&name, async move {
        while !soft.is_cancelled() {
            beat.turn();
            if wait_to_read(&engine, &manager, &beat, &soft).await {
                adopter = Adopter::new(Arc::clone(&engine), Arc::clone(&manager));
                continue;
            }
            let until = match adopter.turn().await {
                Ok(adopt::Next::More) => continue,
                Ok(adopt::Next::NotBefore(until)) => Some(until),
                Ok(adopt::Next::Idle) => None,
                Err(error) => {
                    store_failed(&error);
                    Some(engine.now().plus(STORE_PAUSE))
                }
            };
            tokio::select! {
                () = rest(&engine, until, None, &beat, &soft) => {}
                () = manager.adopt.notified() => {}
            }
        }
    });
}

/// Looks after the stock; a part number that ran out is noticed within one sleep.
pub(super) fn spawn_stock(
    lifecycle: &Lifecycle,
    engine: &Arc<Engine>,
    manager: &Arc<Manager>,
    mut keeper: Keeper,
) {
    let name = format!("stock {}", manager.name);
    let (engine, manager, soft) = (Arc::clone(engine), Arc::clone(manager), lifecycle.soft());
    let beat = lifecycle.beat(&name, TURN_BOUND);
    lifecycle.spawn(&name, async move {
        let mut is_stale = false;
        while !soft.is_cancelled() {
            beat.turn();
            if wait_to_read(&engine, &manager, &beat, &soft).await {
                is_stale = true;
                continue;
            }
            let turned = async {
                if is_stale {
                    keeper.go_on().await?;
                }
                keeper.turn().await
            };
            let turned = turned.await;
            is_stale &= turned.is_err();
            let next = turned.unwrap_or_else(|error| {
                store_failed(&error);
                engine.now().plus(STORE_PAUSE)
            });
            rest(&engine, Some(next), None, &beat, &soft).await;
        }
    });
}

/// Claims while it may, and lets what it claimed come to its end.
async fn work(engine: Arc<Engine>, manager: Arc<Manager>, beat: Beat, soft: CancellationToken) {
    let mut worker = Worker::new(Arc::clone(&engine), Arc::clone(&manager));
    let mut commits = engine.commits();
    let mut jobs = JoinSet::new();
    while !soft.is_cancelled() {
        beat.turn();
        while jobs.try_join_next().is_some() {}
        if jobs.len() >= CONCURRENCY {
            tokio::select! {
                _ = jobs.join_next() => {}
                () = look(&beat) => {}
            }
            continue;
        }
        commits.mark_unchanged();
        match worker.next().await {
            Ok(Next::Job(job)) => {
                let (engine, manager) = (Arc::clone(&engine), Arc::clone(&manager));
                jobs.spawn(async move { carry_out(&engine, &manager, job).await });
            }
            Ok(Next::Wait(until)) => {
                rest(&engine, until, Some(&mut commits), &beat, &soft).await;
            }
            Err(error) => {
                store_failed(&error);
                sleep(STORE_PAUSE, &beat, &soft).await;
            }
        }
    }
    while jobs.join_next().await.is_some() {
        beat.turn();
    }
}

/// A store that cannot write may be able to soon; until then the outcome is kept here, for nobody else has it.
async fn carry_out(engine: &Engine, manager: &Manager, job: Job) {
    let ended = worker::perform(engine, manager, job).await;
    while let Err(error) = ended.settle(engine).await {
        store_failed(&error);
        if !matches!(error, store::Error::Database(_)) {
            return;
        }
        tokio::time::sleep(STORE_PAUSE).await;
    }
}

async fn poll(
    mut poller: Poller,
    interval: Duration,
    engine: Arc<Engine>,
    manager: Arc<Manager>,
    beat: Beat,
    soft: CancellationToken,
) {
    let (mut why, mut heeded) = (Why::Interval, None);
    let mut is_stale = false;
    while !soft.is_cancelled() {
        if wait_to_read(&engine, &manager, &beat, &soft).await {
            is_stale = true;
            continue;
        }
        let begun = Instant::now();
        let turn = async {
            if is_stale {
                poller.go_on().await?;
            }
            poller.turn().await
        };
        let turn = turn.await;
        is_stale &= turn.is_err();
        let next = if why == Why::Hint && matches!(turn, Ok(Polled::Done(0))) {
            manager.hint.notify_one();
            Why::Again
        } else {
            Why::Hint
        };
        let pause = match turn {
            Ok(Polled::More(_)) => Duration::ZERO,
            Ok(Polled::Done(_)) => interval.saturating_sub(begun.elapsed()),
            // The gate says how often it is tried, and the interval may be long.
            Ok(Polled::Failed) => interval.min(LOOK_AT_GATE).saturating_sub(begun.elapsed()),
            // Somebody may open the gate before.
            Ok(Polled::NotBefore(at)) => at.since(engine.now()).min(LOOK_AT_GATE),
            Err(error) => {
                store_failed(&error);
                STORE_PAUSE
            }
        };
        why = tokio::select! {
            biased;
            () = sleep(pause, &beat, &soft) => Why::Interval,
            () = hinted(&manager, heeded), if !pause.is_zero() => {
                heeded = Some(Instant::now());
                let name = &manager.name;
                emit!(CALLBACK_HEEDED, manager.name = %name; "a callback has the feed of {name} read now");
                next
            }
        };
    }
}

/// Waits while another daemon reads the manager's feed and stock; whether it did, and what is remembered of them is old.
async fn wait_to_read(
    engine: &Engine,
    manager: &Manager,
    beat: &Beat,
    soft: &CancellationToken,
) -> bool {
    let mut waited = false;
    while !soft.is_cancelled() && !manager.reading.is_ours(engine.clock().boottime()) {
        waited = true;
        beat.turn();
        tokio::select! {
            () = look(beat) => {}
            () = soft.cancelled() => {}
        }
    }
    waited
}

/// Why a feed is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It is time.
    Interval,
    /// Somebody says that there is something new.
    Hint,
    /// There was nothing: HID's clock may be a little ahead of ours, or its feed behind its callbacks.
    Again,
}

/// Waits for a hint, and for the time that must lie between two of them that are heeded.
async fn hinted(manager: &Manager, heeded: Option<Instant>) {
    manager.hint.notified().await;
    if let Some(heeded) = heeded {
        tokio::time::sleep_until(heeded + HINTS_APART).await;
    }
}

/// Looks for what a crash may have done to the file. A large one takes long, and nobody waits for it.
pub(super) fn spawn_check(lifecycle: &Lifecycle, engine: &Arc<Engine>, place: &Place) {
    let (engine, soft, path) = (Arc::clone(engine), lifecycle.soft(), place.to_string());
    lifecycle.spawn("check of the store", async move {
        if let Err(error) = engine.store().check().await {
            let chain = telemetry::chain(&error);
            emit!(STORE_DAMAGED, store.path = %path, error = %chain; "{path}: {chain}");
            return;
        }
        soft.cancelled().await;
    });
}

pub(super) fn spawn_timer(lifecycle: &Lifecycle, engine: &Arc<Engine>) {
    let (engine, soft) = (Arc::clone(engine), lifecycle.soft());
    let beat = lifecycle.beat("timer", TURN_BOUND);
    lifecycle.spawn("timer", async move {
        let mut commits = engine.commits();
        while !soft.is_cancelled() {
            beat.turn();
            commits.mark_unchanged();
            match worker::wake(&engine).await {
                Ok(next) => {
                    rest(&engine, next, Some(&mut commits), &beat, &soft).await;
                }
                Err(error) => {
                    store_failed(&error);
                    sleep(STORE_PAUSE, &beat, &soft).await;
                }
            }
        }
    });
}

/// Takes over the claims of owners who are dead, or so late that nothing of theirs is on its way any more. Whether there
/// are claims that will be so within `soon`.
pub(super) async fn recover(
    engine: &Engine,
    request: Duration,
    soon: Duration,
) -> Result<bool, store::Error> {
    let late = i64::try_from((request + TAKEOVER_SLACK).as_millis()).unwrap_or(i64::MAX);
    let over = |at: Timestamp| Timestamp(at.0.saturating_sub(late));
    let now = engine.window_now().await?;
    worker::recover(engine, over(now)).await?;
    let nearly = engine.store().abandoned(over(now.plus(soon))).await?;
    Ok(!nearly.is_empty())
}

/// What a dead daemon held is taken over within [`LOOK_AT_LEASE`] of when it may be; while nobody is late, one look with
/// all others is enough.
pub(super) fn spawn_recovery(lifecycle: &Lifecycle, engine: &Arc<Engine>, request: Duration) {
    let (engine, soft) = (Arc::clone(engine), lifecycle.soft());
    let beat = lifecycle.beat("recovery", TURN_BOUND);
    lifecycle.spawn("recovery", async move {
        let mut is_near = false;
        while !soft.is_cancelled() {
            beat.turn();
            if is_near {
                sleep(LOOK_AT_LEASE, &beat, &soft).await;
            } else {
                tokio::select! {
                    () = look(&beat) => {}
                    () = soft.cancelled() => return,
                }
            }
            match recover(&engine, request, lifecycle::LOOK).await {
                Ok(found) => is_near = found,
                Err(error) => store_failed(&error),
            }
        }
    });
}

pub(super) fn spawn_heartbeat(
    lifecycle: &Lifecycle,
    engine: &Arc<Engine>,
    managers: Vec<Arc<Manager>>,
    sides: Vec<Side>,
    every: Duration,
) {
    let (engine, soft, status) = (Arc::clone(engine), lifecycle.soft(), lifecycle.clone());
    let beat = lifecycle.beat("heartbeat", TURN_BOUND);
    lifecycle.spawn("heartbeat", async move {
        let mut anchor = Anchor::default();
        loop {
            sleep_with_others(every, &beat, &soft).await;
            if soft.is_cancelled() {
                return;
            }
            let condition: Vec<String> = managers.iter().map(|manager| condition(manager)).collect();
            let condition = condition.join(", ");
            match standing(&engine, &mut anchor).await {
                Ok((counts, held, heads)) => {
                    status.status(&format!("{} identities; HID: {condition}{held}", counts.identities));
                    emit!(HEARTBEAT, identities = counts.identities, claims = counts.claims, owed = ?counts.owed, hid = %condition, held = %held,
                        journal.identities = heads.identities, journal.heads = %journal::hex(&heads.hash);
                        "{} identities; HID: {condition}{held}", counts.identities);
                }
                Err(error) => store_failed(&error),
            }
            if let Err(error) = late::tell(&engine, &sides).await {
                store_failed(&error);
            }
            origo_adapter_heap::give_back();
        }
    });
}

/// What is counted, and what is held as a whole.
async fn standing(
    engine: &Engine,
    anchor: &mut Anchor,
) -> Result<(Counts, String, Summed), store::Error> {
    let heads = anchor.heads(engine).await?;
    let counts = engine.store().counts().await?;
    let holds = engine.store().holds().await?;
    let holds = holds.iter().map(|hold| match &hold.scope {
        HoldScope::All => format!("; everything is held: {}", hold.reason.name()),
        HoldScope::Manager(manager) => format!("; {manager} is held: {}", hold.reason.name()),
        HoldScope::Part(_, part) => format!("; {part} is held: {}", hold.reason.name()),
    });
    Ok((counts, holds.collect(), heads))
}

/// The hash over the ends of all journals, which the log keeps outside the store. It costs a seek for each identity that
/// ever was, so it is made anew only where something was committed, and never takes more than a hundredth of the time:
/// a line may tell an older one again. The daemon's last line always tells the last.
#[derive(Default)]
struct Anchor {
    known: Option<(u64, Summed)>,
    not_before: Option<Instant>,
}

impl Anchor {
    async fn heads(&mut self, engine: &Engine) -> Result<Summed, store::Error> {
        let commits = engine.store().head().await?.commits;
        let begun = Instant::now();
        let early = self.not_before.is_some_and(|at| begun < at);
        match self.known {
            Some((known, heads)) if early || known == commits => Ok(heads),
            Some(_) | None => {
                let heads = engine.store().heads().await?;
                self.known = Some((commits, heads));
                self.not_before = Some(begun + begun.elapsed() * 100);
                Ok(heads)
            }
        }
    }
}

/// HID's condition as a manager's gates saw it last (contract.md section 6).
fn condition(manager: &Manager) -> String {
    let condition = if manager.echo.is_deaf() {
        "deaf"
    } else {
        manager.gate.condition().name()
    };
    let quarantine = if manager.quarantined_at().is_some() {
        ", in quarantine"
    } else {
        ""
    };
    format!(
        "{} {condition}, feed {}{quarantine}",
        manager.name,
        manager.feed_gate.condition().name()
    )
}

/// Waits for so long, whatever becomes of the wall clock, or for the end.
pub(super) async fn sleep(pause: Duration, beat: &Beat, soft: &CancellationToken) {
    sleep_until(Instant::now() + pause, beat, soft).await;
}

/// As [`sleep`], where it is long for about so long: what nobody waits for is done where all look up anyway.
pub(super) async fn sleep_with_others(pause: Duration, beat: &Beat, soft: &CancellationToken) {
    let until = Instant::now() + pause;
    let until = if pause < LONGEST_REST {
        until
    } else {
        beat.nearest_look(until)
    };
    sleep_until(until, beat, soft).await;
}

async fn sleep_until(until: Instant, beat: &Beat, soft: &CancellationToken) {
    loop {
        beat.turn();
        let next = until.min(beat.next_look());
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = soft.cancelled() => return,
        }
        if next == until {
            return;
        }
    }
}

/// Waits for the next moment at which all look up.
pub(super) async fn look(beat: &Beat) {
    tokio::time::sleep_until(beat.next_look()).await;
}

/// Waits for the time, for a commit where one matters, or for the end; who does not hear of commits, for the next look.
/// A clock that is set is noticed at a look.
pub(super) async fn rest(
    engine: &Engine,
    until: Option<Timestamp>,
    mut commits: Option<&mut watch::Receiver<u64>>,
    beat: &Beat,
    soft: &CancellationToken,
) {
    let longest = match commits {
        Some(_) => beat.nearest_look(Instant::now() + LONGEST_REST),
        None => beat.next_look(),
    };
    loop {
        beat.turn();
        let mut next = longest.min(beat.next_look());
        let pause = until.map(|until| until.since(engine.now()));
        let due = pause.map(|pause| Instant::now() + pause);
        if let Some(due) = due {
            next = next.min(due);
        }
        let committed = async {
            match &mut commits {
                Some(commits) => commits.changed().await.unwrap_or(()),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = committed => return,
            () = soft.cancelled() => return,
        }
        if next == longest || due == Some(next) {
            return;
        }
    }
}

pub(super) fn store_failed(error: &store::Error) {
    let chain = telemetry::chain(error);
    emit!(STORE_FAILED, error = %chain; "the store failed: {chain}");
}
