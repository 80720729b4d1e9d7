//! Carries out what is owed: pick, claim, perform, observe. One worker a credential manager.
//!
//! Imports core, store, origo, engine, manager. Promises: the `sent` mark and the places in HID's
//! windows are durable before a call's first byte; a call whose lease is short of time is not sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::budget::Budget;
use crate::core::effect::{Class, Effect, Lane};
use crate::core::hold::{HoldReason, HoldScope};
use crate::core::identity::InFlight;
use crate::core::ids::{IdentityId, Timestamp};
use crate::core::observation::{Answer, Event, Fault, Happening, Observation, Rejection};
use crate::core::window::Turns;
use crate::emit;
use crate::engine::Engine;
use crate::gate::{Condition, Gate, Opened, Verdict};
use crate::manager::{Echo, Manager};
use crate::origo::{self, Service, Trouble};
use crate::store::{self, Claim, Due, DueQuery, Error};
use crate::telemetry::{
    EFFECT_DONE, EFFECT_GAVE_UP, EFFECT_RETRY, MANAGER_QUARANTINED, MANAGER_TAKEN_BACK,
    SERVICE_PAUSED, SERVICE_RESUMED, WINDOW_LOWERED,
};

/// So much of the lease must be left before the first byte, beyond the request's own time (contract.md section 2, Leases).
const LEASE_RESERVE: Duration = Duration::from_secs(5);
/// Beyond request and reserve, for claiming, logging in and one replay after a 401.
const LEASE_SLACK: Duration = Duration::from_secs(30);
/// What took longer to be written down may be older than what the feed told meanwhile, of users and keys that nobody knew:
/// their user is read. Never more than half of what polls reach back, who look so much later at what named nobody.
const WRITTEN_DOWN_IN: Duration = Duration::from_secs(10);
/// How many due effects of a class are fetched at once; each is checked again when it is claimed.
const BATCH: u32 = 64;

/// Picks what goes next.
pub struct Worker {
    engine: Arc<Engine>,
    manager: Arc<Manager>,
    turns: Turns,
    fetched: BTreeMap<Class, VecDeque<Due>>,
    /// The shared part of a window is full until then, by the time of windows; the reserve may not be.
    full_until: Timestamp,
    /// So is what a class may use of it.
    capped_until: BTreeMap<Class, Timestamp>,
}

/// What there is to do.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made and taken apart at once")]
pub enum Next {
    /// A claimed call, to be performed now.
    Job(Job),
    /// Nothing before that time, unless something is committed meanwhile; `None`: nothing at all.
    Wait(Option<Timestamp>),
}

/// A claimed call.
#[derive(Debug)]
pub struct Job {
    /// Whose.
    pub identity: IdentityId,
    /// Which.
    pub call: InFlight,
    claim: Claim,
    /// When it was first owed.
    owed_since: Timestamp,
    /// Boot time at which the lease ends.
    lease_ends: Duration,
    /// Until when it counts in HID's windows, if it stays without an answer.
    unanswered_until: Timestamp,
}

impl Worker {
    /// A worker with nothing fetched yet.
    #[must_use]
    pub fn new(engine: Arc<Engine>, manager: Arc<Manager>) -> Self {
        Self {
            engine,
            manager,
            turns: Turns::default(),
            fetched: BTreeMap::new(),
            full_until: Timestamp(0),
            capped_until: BTreeMap::new(),
        }
    }

    /// Claims the next call, or says when to ask again.
    pub async fn next(&mut self) -> Result<Next, Error> {
        loop {
            let now = self.engine.now();
            let at = self.engine.window_now().await?;
            if let Some(until) = self.manager.gate.closed_until(at) {
                return Ok(Next::Wait(Some(now.plus(until.since(at)))));
            }
            let agenda = self.agenda(at).await?;
            let waiting = self.fetch(&agenda, now).await?;
            let Some(class) = self.turns.next(&waiting, self.manager.sweep_share) else {
                let full = self.full(at).map(|until| now.plus(until.since(at)));
                return Ok(Next::Wait(agenda.into_values().chain(full).min()));
            };
            let Some(due) = self.fetched.get_mut(&class).and_then(VecDeque::pop_front) else {
                continue;
            };
            match self.claim(&due, class).await {
                Ok(Some(job)) => {
                    self.turns.spend(class, &waiting, self.manager.sweep_share);
                    return Ok(Next::Job(job));
                }
                // Done, withdrawn or claimed by somebody else meanwhile.
                Ok(None) | Err(Error::Claimed(_)) => {}
                // It was fetched before the hold; what is fetched now knows of it.
                Err(Error::Held(_)) => {
                    self.fetched.remove(&class);
                }
                Err(Error::WindowFull { not_before, .. }) if class == Class::Withdrawal => {
                    let wait = not_before.since(self.engine.window_time());
                    return Ok(Next::Wait(Some(now.plus(wait))));
                }
                Err(Error::WindowFull { key, not_before }) => {
                    self.refused_by(class, &key, not_before);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn refused_by(&mut self, class: Class, key: &str, not_before: Timestamp) {
        let at = self.engine.window_time();
        let cap = self.manager.mobile_identities.cap(class, at);
        if cap.is_some_and(|window| window.key == key) {
            self.capped_until.insert(class, not_before);
            self.fetched.remove(&class);
        } else {
            self.full_until = not_before;
            self.fetched.clear();
        }
    }

    /// The first moment after `at` at which a window that was full has room, by the time of windows. As of the same
    /// moment as the agenda: between two looks at the clock the window might become free, and nobody would wait for it.
    fn full(&self, at: Timestamp) -> Option<Timestamp> {
        let all = self.capped_until.values().chain([&self.full_until]);
        all.filter(|until| **until > at).min().copied()
    }

    /// When each class that may go has something due next.
    async fn agenda(&mut self, at: Timestamp) -> Result<BTreeMap<Class, Timestamp>, Error> {
        let full = at < self.full_until;
        let capped = |class: &Class| {
            self.capped_until
                .get(class)
                .is_some_and(|until| at < *until)
        };
        let waits = self.manager.must_read_waiting();
        let sweeps = self.manager.sweep_share > 0.0;
        let mut agenda = self.engine.store().agenda(Some(self.manager.id)).await?;
        agenda.retain(|class, _| {
            (!full || *class == Class::Withdrawal)
                && (waits || *class != Class::Wait)
                && (sweeps || *class != Class::Sweep)
                && !capped(class)
        });
        Ok(agenda)
    }

    /// Fetches what is due and returns the classes that have something.
    async fn fetch(
        &mut self,
        agenda: &BTreeMap<Class, Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<Class>, Error> {
        let mut waiting = Vec::new();
        for (class, _) in agenda.iter().filter(|(_, next)| **next <= now) {
            let fetched = self.fetched.entry(*class).or_default();
            if fetched.is_empty() {
                let query = DueQuery {
                    manager: Some(self.manager.id),
                    class: *class,
                    now,
                    limit: BATCH,
                };
                fetched.extend(self.engine.store().due(query).await?);
            }
            if !fetched.is_empty() {
                waiting.push(*class);
            }
        }
        Ok(waiting)
    }

    async fn claim(&self, due: &Due, class: Class) -> Result<Option<Job>, Error> {
        let manager = &self.manager;
        let lease = manager.request_timeout * 2 + LEASE_RESERVE + LEASE_SLACK;
        // In this order: what is written down ends no sooner than what is kept to.
        let lease_ends = self.engine.clock().boottime() + lease;
        let at = self.engine.window_now().await?;
        let claim = Claim {
            token: Uuid::new_v4(),
            lease_until: at.plus(lease),
        };
        let budget = &manager.mobile_identities;
        let slot = budget.slot(claim.token, Some(class), at);
        let started = self
            .engine
            .start(due.identity, &due.lane, &claim, &slot)
            .await?;
        if started.is_some() {
            // Not asked before: only a call that goes out may be the one that probes.
            let probe_bound = manager.request_timeout * 2;
            let _: Option<Timestamp> = manager.gate.pass(at, probe_bound);
        }
        Ok(started.map(|call| Job {
            identity: due.identity,
            call,
            claim,
            owed_since: due.owed_since,
            lease_ends,
            unanswered_until: slot.frees_at,
        }))
    }
}

/// How a claimed call ended, not written down yet.
#[derive(Debug)]
#[must_use = "an outcome that is not settled is found out again only after the lease"]
pub struct Ended {
    identity: IdentityId,
    seen: Observation,
    claim: Claim,
    frees_at: Option<Timestamp>,
    /// Nothing more of this is to be issued for now.
    hold: Option<(HoldScope, HoldReason)>,
    /// HID's user is read once more, should this be written down at this boot time or later.
    look: Option<(Duration, Event)>,
    is_written: OnceCell<()>,
}

/// Performs a claimed call.
pub async fn perform(engine: &Engine, manager: &Manager, job: Job) -> Ended {
    let clock = engine.clock();
    let needed = manager.request_timeout + LEASE_RESERVE;
    // Each time that it says yes, one request goes out: the call, and its replay after a 401.
    let sent = AtomicU32::new(0);
    let may_send = || {
        let in_time = clock.boottime() + needed <= job.lease_ends;
        sent.fetch_add(u32::from(in_time), Ordering::Relaxed);
        in_time
    };
    let outcome = manager.client.perform(&job.call.effect, &may_send).await;
    let now = engine.now();
    let sent = sent.into_inner();
    let look = look_if_late(manager, &job.call.lane, clock.boottime(), now);
    let mut hold = None;
    let (seen, frees_at) = match outcome {
        Ok(answer) => {
            succeeded(manager, &job, &answer, now);
            let frees_at = Some(answered_until(engine, manager));
            (Observation::Answered(job.call, answer), frees_at)
        }
        Err(mut error) => {
            if error.status == Some(403) && manager.forbidden.refused(job.identity, &job.call.lane)
            {
                (error.fault, error.trouble) = (Fault::Busy, None);
            }
            failed(engine, manager, &job, &error);
            let frees_at = frees_at(engine, manager, &job, &error, sent);
            hold = part_held(manager, &job.call.effect, error.fault);
            (Observation::Failed(job.call, error.fault), frees_at)
        }
    };
    Ended {
        identity: job.identity,
        seen,
        claim: job.claim,
        frees_at,
        hold,
        look,
        is_written: OnceCell::new(),
    }
}

/// Only what tells of users and keys that nobody knew before, and where a feed tells of them as well.
fn look_if_late(
    manager: &Manager,
    lane: &Lane,
    at: Duration,
    time: Timestamp,
) -> Option<(Duration, Event)> {
    let polling = manager
        .polling
        .filter(|_| matches!(lane, Lane::CmUser(_) | Lane::Key(..)))?;
    let look = Event {
        manager: manager.id,
        time,
        what: Happening::UserOther,
    };
    Some((at + WRITTEN_DOWN_IN.min(polling.overlap / 2), look))
}

impl Ended {
    /// Takes in how the call ended and gives the claim back. Should the store fail, ask again: what it has done
    /// already is not done twice.
    pub async fn settle(&self, engine: &Engine) -> Result<(), Error> {
        self.is_written
            .get_or_try_init(|| self.write(engine))
            .await?;
        if let Some((late, look)) = &self.look
            && engine.clock().boottime() >= *late
        {
            let look = Observation::Event(look.clone());
            engine.observe(self.identity, &look, "worker").await?;
        }
        Ok(())
    }

    async fn write(&self, engine: &Engine) -> Result<(), Error> {
        if let Some((scope, reason)) = &self.hold {
            engine.hold(scope.clone(), *reason, "HID").await?;
        }
        let finished = engine.finish(self.identity, &self.seen, &self.claim, self.frees_at);
        finished.await?;
        Ok(())
    }
}

/// What one key is refused for that concerns its part number, all others of it are spared.
fn part_held(manager: &Manager, effect: &Effect, fault: Fault) -> Option<(HoldScope, HoldReason)> {
    let Effect::Issue { part_number, .. } = effect else {
        return None;
    };
    let reason = match fault {
        Fault::OutOfStock => HoldReason::OutOfStock,
        Fault::Rejected(Rejection::PartNumber) => HoldReason::PartNumberRefused,
        Fault::Rejected(_)
        | Fault::Refused
        | Fault::Unanswered
        | Fault::Gone
        | Fault::Conflict
        | Fault::Already
        | Fault::WrongState
        | Fault::Busy => return None,
    };
    Some((HoldScope::Part(manager.id, part_number.clone()), reason))
}

fn succeeded(manager: &Manager, job: &Job, answer: &Answer, now: Timestamp) {
    let effect = job.call.effect.name();
    resumed(manager, &manager.gate, "mobile_identities");
    manager.forbidden.succeeded(job.identity, &job.call.lane);
    expect_echo(&manager.echo, answer, now);
    if let Answer::Issued(_) = answer {
        manager.issue_waits.note(now.since(job.owed_since));
    }
    let duration_ms = now.since(job.call.started_at).as_millis();
    emit!(EFFECT_DONE, identity.id = %job.identity, effect.kind = effect, effect.lane = %job.call.lane,
        call = job.call.call.0, duration_ms = %duration_ms;
        "{effect} of identity {} done", job.identity);
}

/// What was created must appear in the feed.
fn expect_echo(echo: &Echo, answer: &Answer, now: Timestamp) {
    match answer {
        Answer::UserCreated(user) => echo.expect(format!("user/{}", user.id), now),
        Answer::InvitationCreated(invitation) => {
            echo.expect(format!("invitation/{}", invitation.id), now);
        }
        Answer::UserFound(_)
        | Answer::User(_)
        | Answer::UserUpdated
        | Answer::UserDeleted
        | Answer::InvitationEmailed
        | Answer::InvitationCancelled
        | Answer::Phone(_)
        | Answer::PhoneDeleted
        | Answer::Issued(_)
        | Answer::Revoked => {}
    }
}

fn failed(engine: &Engine, manager: &Manager, job: &Job, error: &origo::Error) {
    let effect = job.call.effect.name();
    match error.trouble {
        Some(Trouble::LeaseOver) => manager.gate.unused(engine.window_time()),
        Some(trouble) => {
            let service = Paused {
                gate: &manager.gate,
                budget: &manager.mobile_identities,
                name: "mobile_identities",
            };
            paused(engine, manager, &service, trouble, error);
        }
        // The service answered; only the object is concerned.
        None => resumed(manager, &manager.gate, "mobile_identities"),
    }
    if job.call.effect.is_refused_for_good(error.fault) {
        emit!(EFFECT_GAVE_UP, identity.id = %job.identity, effect.kind = effect, effect.lane = %job.call.lane,
            call = job.call.call.0, fault = ?error.fault, http.status = ?error.status, error = %error;
            "{effect} of identity {} is refused for good: {error}", job.identity);
        return;
    }
    emit!(EFFECT_RETRY, identity.id = %job.identity, effect.kind = effect, effect.lane = %job.call.lane,
        call = job.call.call.0, fault = ?error.fault, http.status = ?error.status, error = %error;
        "{effect} of identity {} did not succeed: {error}", job.identity);
}

/// Closes a gate where the refusals call for it, and says so once.
pub(crate) fn paused(
    engine: &Engine,
    manager: &Manager,
    service: &Paused<'_>,
    trouble: Trouble,
    error: &origo::Error,
) {
    let verdict = service
        .gate
        .refused(trouble, error.retry_after, engine.window_time());
    let condition = match verdict {
        Verdict::Unchanged => return,
        Verdict::Quarantined => return quarantined(manager, service, error),
        Verdict::Paused(condition) => condition,
    };
    let name = service.name;
    emit!(SERVICE_PAUSED, manager.name = %manager.name, service = name, condition = condition.name(), error = %error;
        "{name} of {} is {}: {error}", manager.name, condition.name());
    // Ours never fill it, by their own count.
    let is_full = condition == Condition::Throttled && error.status.is_some();
    if is_full && error.service.name() == name {
        let share = service.budget.lower(engine.window_time());
        emit!(WINDOW_LOWERED, manager.name = %manager.name, service = name, window.share = share;
            "somebody else uses the window of {name} of {} too: our share is {share:.2} for an hour", manager.name);
    }
}

/// Says it once a manager: both of its services are refused for the same reason.
fn quarantined(manager: &Manager, service: &Paused<'_>, error: &origo::Error) {
    let gates = [&manager.gate, &manager.feed_gate];
    let known = gates
        .iter()
        .filter(|gate| gate.quarantined_at().is_some())
        .count();
    if known > 1 {
        return;
    }
    let name = service.name;
    emit!(MANAGER_QUARANTINED, manager.name = %manager.name, service = name, error = %error;
        "{} refuses us for half an hour, and is asked every 15 minutes from now on: {error}", manager.name);
}

/// A service that refused.
pub(crate) struct Paused<'a> {
    pub(crate) gate: &'a Gate,
    pub(crate) budget: &'a Budget,
    pub(crate) name: &'static str,
}

/// Opens a gate, and says so where it was closed.
pub(crate) fn resumed(manager: &Manager, gate: &Gate, service: &str) {
    match gate.succeeded() {
        Opened::Nothing => {}
        Opened::FromPause => {
            emit!(SERVICE_RESUMED, manager.name = %manager.name, service = service;
                "{service} of {} answers again", manager.name);
        }
        Opened::FromQuarantine => {
            for other in [&manager.gate, &manager.feed_gate] {
                other.end_quarantine();
            }
            emit!(MANAGER_TAKEN_BACK, manager.name = %manager.name, service = service;
                "{} takes our calls again", manager.name);
        }
    }
}

/// Until when a call that was answered just now counts in HID's windows.
fn answered_until(engine: &Engine, manager: &Manager) -> Timestamp {
    engine.window_time().plus(manager.mobile_identities.per())
}

/// How long the call counts in HID's windows; `None`: it did not reach HID.
fn frees_at(
    engine: &Engine,
    manager: &Manager,
    job: &Job,
    error: &origo::Error,
    sent: u32,
) -> Option<Timestamp> {
    let unanswered = error.service == Service::MobileIdentities && error.status.is_none();
    match error.trouble {
        _ if sent == 0 => None,
        // The connection was refused; after a 401 it was the replay's, which has a place of its own.
        Some(Trouble::Unreachable) if unanswered && sent == 1 => None,
        _ if unanswered => Some(job.unanswered_until),
        _ => Some(answered_until(engine, manager)),
    }
}

/// Takes over every claim whose owner is dead, or whose lease was over at `before`, by the time of windows; returns how many.
pub async fn recover(engine: &Engine, before: Timestamp) -> Result<usize, store::Error> {
    let abandoned = engine.store().abandoned(before).await?;
    let mut taken_over = 0;
    for (identity, token) in abandoned {
        taken_over += usize::from(engine.recover(identity, token).await?);
    }
    Ok(taken_over)
}

/// Lets time pass for every identity whose timer is due; returns when the next is.
pub async fn wake(engine: &Engine) -> Result<Option<Timestamp>, store::Error> {
    loop {
        let query = DueQuery {
            manager: None,
            class: Class::Timer,
            now: engine.now(),
            limit: BATCH,
        };
        let due = engine.store().due(query).await?;
        if due.is_empty() {
            return Ok(engine.store().agenda(None).await?.remove(&Class::Timer));
        }
        for due in due {
            engine
                .observe(due.identity, &Observation::Woken, "timer")
                .await?;
        }
    }
}

impl Job {
    /// What it will do, for logs and tests.
    #[must_use]
    pub fn effect(&self) -> &Effect {
        &self.call.effect
    }
}
