//! The only writer of identities: load, [`step`], commit, again on conflict.
//!
//! Imports core, store, clock and telemetry. Promises: an observation is durable when `observe` and
//! its sisters return; one that changes nothing is not written; every state change is logged once,
//! after its commit.

mod guard;
mod holds;
mod regressed;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, watch};
use uuid::Uuid;

use crate::clock::Clock;
use crate::core::change::Change;
use crate::core::identity::{Identity, InFlight};
use crate::core::ids::{IdentityId, Timestamp};
use crate::core::observation::{Fault, Observation};
use crate::core::policy::Policy;
use crate::core::step::{Step, step};
use crate::core::wish::Wish;
use crate::core::{Lane, announce, drift, index};
use crate::emit;
use crate::store::{Claim, ClaimChange, Commit, Error, Loaded, NewEvent, Slot, Store};
use crate::telemetry::{
    CLAIM_LOST, CLAIM_RECOVERED, DRIFT_FOUND, IDENTITY_CHANGED, IDENTITY_IGNORED, KEY_STUCK,
};

/// Where all observations meet.
pub struct Engine {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    policy: Mutex<Arc<Policy>>,
    window_epoch: OnceCell<i64>,
    committed: watch::Sender<u64>,
}

/// Why a wish did not come to pass.
#[derive(Debug, thiserror::Error)]
pub enum WishError<E> {
    /// The caller's own check refused it.
    #[error("the wish is refused")]
    Refused(E),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Engine {
    /// An engine over a store that is open.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, policy: Policy) -> Self {
        let (committed, _) = watch::channel(0);
        Self {
            store,
            clock,
            policy: Mutex::new(Arc::new(policy)),
            window_epoch: OnceCell::new(),
            committed,
        }
    }

    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// The clock that everything here follows.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The wall clock's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock.now())
    }

    /// The time by which windows are counted: no clock that is set moves it, and a restart goes on with it.
    pub async fn window_now(&self) -> Result<Timestamp, Error> {
        let ask = async || {
            let now = self.now();
            let boottime = i64::try_from(self.clock.boottime().as_millis()).unwrap_or(i64::MAX);
            let epoch = now.0.saturating_sub(boottime);
            let boot = self.clock.boot_id();
            self.store.window_epoch(boot, epoch, now).await
        };
        self.window_epoch.get_or_try_init(ask).await?;
        Ok(self.window_time())
    }

    /// As [`Engine::window_now`], once that was asked: before, the wall clock's.
    #[must_use]
    pub fn window_time(&self) -> Timestamp {
        let boottime = i64::try_from(self.clock.boottime().as_millis()).unwrap_or(i64::MAX);
        let epoch = self.window_epoch.get();
        epoch.map_or(self.now(), |epoch| {
            Timestamp(boottime.saturating_add(*epoch))
        })
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another policy in force; what was found of the store itself stays.
    pub fn renew(&self, mut policy: Policy) {
        let mut now = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        policy.regressed_at = now.regressed_at;
        *now = Arc::new(policy);
    }

    /// Tells after each commit that something may have become due, whoever committed; how many were ours. Subscribe
    /// before looking.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    fn tell(&self) {
        let committed = |ours: &mut u64| *ours = ours.wrapping_add(1);
        self.committed.send_modify(committed);
    }

    /// Another daemon on the same store has committed.
    pub fn others_committed(&self) {
        self.committed.send_modify(|_| ());
    }

    /// Takes in what was seen of an identity; `None` where there is no such identity (any more).
    pub async fn observe(
        &self,
        id: IdentityId,
        seen: &Observation,
        cause: &str,
    ) -> Result<Option<Identity>, Error> {
        let stepped = self.apply(id, seen, cause, &|_| ClaimChange::Keep).await?;
        Ok(stepped.and_then(|stepped| stepped.identity))
    }

    /// Lets `decide` look at the identity as it is (`None`: there is none) and takes in the wishes
    /// that it returns, all or none; where it returns none, nothing is written. It may be asked again
    /// when somebody else commits meanwhile.
    /// Returns the identity as it is afterwards.
    pub async fn wish<E>(
        &self,
        id: IdentityId,
        cause: &str,
        decide: impl Fn(Option<&Identity>) -> Result<Vec<Wish>, E>,
    ) -> Result<Option<Identity>, WishError<E>> {
        let of_one = |known: &[Option<&Identity>]| {
            let wishes = decide(known.first().copied().flatten())?;
            Ok(vec![wishes])
        };
        let mut after = self.wish_all(&[id], cause, of_one).await?;
        Ok(after.pop().flatten())
    }

    /// As [`Engine::wish`] for several identities at once, in the order in which they are committed:
    /// what one releases another can take in only after it.
    pub async fn wish_all<E>(
        &self,
        ids: &[IdentityId],
        cause: &str,
        decide: impl Fn(&[Option<&Identity>]) -> Result<Vec<Vec<Wish>>, E>,
    ) -> Result<Vec<Option<Identity>>, WishError<E>> {
        loop {
            let now = self.now();
            let mut loaded = Vec::new();
            for id in ids {
                loaded.push(self.store.load(*id).await?);
            }
            let known = loaded.iter().map(|loaded| loaded.as_ref());
            let known = known.map(|loaded| loaded.map(|loaded| &loaded.identity));
            let wishes = decide(&known.collect::<Vec<_>>())
                .map_err(WishError::Refused)?
                .into_iter();
            let mut after = Vec::new();
            let mut steps = Vec::new();
            let wishes = wishes.chain(std::iter::repeat_with(Vec::new));
            for ((id, loaded), wishes) in ids.iter().zip(loaded).zip(wishes) {
                if wishes.is_empty() {
                    after.push(loaded.map(|loaded| loaded.identity));
                    continue;
                }
                let before = Before::of(loaded, *id, now);
                let stepped = self.wished(&before, wishes, now);
                after.push(stepped.identity.clone());
                steps.push((before, stepped, ClaimChange::Keep));
            }
            if steps.is_empty() {
                return Ok(after);
            }
            match self.commit_all(steps, cause, now).await {
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(after),
            }
        }
    }

    fn wished(&self, before: &Before, wishes: Vec<Wish>, now: Timestamp) -> Stepped {
        let mut after = Some(before.identity.clone());
        let mut changes = Vec::new();
        for wish in wishes {
            let Some(identity) = &after else { break };
            let step = step(&self.policy(), identity, &Observation::Wish(wish), now);
            changes.extend(step.changes);
            after = step.identity;
        }
        Stepped {
            identity: after,
            changes,
            started: None,
        }
    }

    /// Claims what `lane` owes and makes the `sent` mark. `None`: nothing is due there any more.
    pub async fn start(
        &self,
        id: IdentityId,
        lane: &Lane,
        claim: &Claim,
        slot: &Slot,
    ) -> Result<Option<InFlight>, Error> {
        let seen = Observation::Started(lane.clone());
        let claimed = |step: &Step| match step.started {
            Some(_) => ClaimChange::Take {
                claim: claim.clone(),
                slot: slot.clone(),
            },
            None => ClaimChange::Keep,
        };
        let stepped = self.apply(id, &seen, "worker", &claimed).await?;
        Ok(stepped.and_then(|stepped| stepped.started))
    }

    /// Takes in how a claimed call ended and gives the claim back. A claim that was lost meanwhile
    /// settles nothing, but the fact is kept.
    pub async fn finish(
        &self,
        id: IdentityId,
        seen: &Observation,
        claim: &Claim,
        frees_at: Option<Timestamp>,
    ) -> Result<Option<Identity>, Error> {
        let release = |_: &Step| ClaimChange::Release {
            token: claim.token,
            frees_at,
        };
        match self.apply(id, seen, "worker", &release).await {
            Err(Error::ClaimLost(_)) => {
                emit!(CLAIM_LOST, identity.id = %id; "the claim on identity {id} was taken over");
                self.observe(id, seen, "worker").await
            }
            other => Ok(other?.and_then(|stepped| stepped.identity)),
        }
    }

    /// Takes over a claim whose owner is dead or too late: its call may or may not have been sent. Whether it did: where
    /// another one holds the identity by now, somebody was quicker.
    pub async fn recover(&self, id: IdentityId, token: Uuid) -> Result<bool, Error> {
        loop {
            let found = self.store.load(id).await?;
            let is_held = |loaded: &Loaded| {
                loaded
                    .claim
                    .as_ref()
                    .is_some_and(|claim| claim.token == token)
            };
            let Some(loaded) = found.filter(is_held) else {
                return Ok(false);
            };
            let now = self.now();
            let before = Before::of(Some(loaded), id, now);
            let stepped = match before.identity.in_flight.clone() {
                Some(call) => {
                    let seen = Observation::Failed(call, Fault::Unanswered);
                    Stepped::from(step(&self.policy(), &before.identity, &seen, now))
                }
                None => Stepped {
                    identity: Some(before.identity.clone()),
                    changes: vec![],
                    started: None,
                },
            };
            match self
                .commit(before, stepped, ClaimChange::Abandon, "recovery", now)
                .await
            {
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    emit!(CLAIM_RECOVERED, identity.id = %id; "took over a call of identity {id} whose outcome is unknown");
                    return Ok(true);
                }
            }
        }
    }

    /// As [`Engine::observe`], of an identity that is made here where there is none.
    pub async fn meet(&self, id: IdentityId, seen: &Observation, cause: &str) -> Result<(), Error> {
        loop {
            let now = self.now();
            let before = Before::of(self.store.load(id).await?, id, now);
            let stepped = Stepped::from(step(&self.policy(), &before.identity, seen, now));
            match self
                .commit(before, stepped, ClaimChange::Keep, cause, now)
                .await
            {
                Err(Error::Conflict(_)) => {}
                other => return other,
            }
        }
    }

    async fn apply(
        &self,
        id: IdentityId,
        seen: &Observation,
        cause: &str,
        claim: &(dyn Fn(&Step) -> ClaimChange + Send + Sync),
    ) -> Result<Option<Stepped>, Error> {
        loop {
            let Some(loaded) = self.store.load(id).await? else {
                return Ok(None);
            };
            let now = self.now();
            let before = Before::of(Some(loaded), id, now);
            let step = step(&self.policy(), &before.identity, seen, now);
            let step = self.guarded(&before.identity, step, now).await?;
            let claim = claim(&step);
            // Asked for what is due: where nothing is, time alone has changed what is owed.
            let stale = matches!(seen, Observation::Woken | Observation::Started(_));
            let stepped = Stepped::from(step);
            let unchanged = stepped.identity.as_ref() == Some(&before.identity);
            if unchanged && claim == ClaimChange::Keep && !stale {
                emit!(IDENTITY_IGNORED, identity.id = %id, cause = %cause; "identity {id}: {cause} changes nothing");
                return Ok(Some(stepped));
            }
            let result = stepped.clone();
            match self.commit(before, stepped, claim, cause, now).await {
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(Some(result)),
            }
        }
    }

    async fn commit(
        &self,
        before: Before,
        after: Stepped,
        claim: ClaimChange,
        cause: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.commit_all(vec![(before, after, claim)], cause, now)
            .await
    }

    async fn commit_all(
        &self,
        steps: Vec<(Before, Stepped, ClaimChange)>,
        cause: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let policy = self.policy();
        let mut drifts = Vec::new();
        let mut commits = Vec::new();
        for (before, after, claim) in steps {
            if let Some(after) = &after.identity {
                let found = drift::found(&before.identity, after, now);
                drifts.extend(found.into_iter().map(|found| (after.id, found)));
            }
            commits.push(commit_of(&policy, &before, after, claim, cause, now));
        }
        let changes: Vec<(IdentityId, Vec<Change>)> = commits
            .iter()
            .map(|commit| (commit.id, commit.changes.clone()))
            .collect();
        self.store.commit_all(commits).await?;
        for (id, changes) in changes {
            for change in &changes {
                log(id, change, cause);
            }
        }
        for (
            id,
            drift::Found {
                what,
                entity,
                repaired,
            },
        ) in drifts
        {
            let how = if repaired {
                "it is being made again"
            } else {
                "it is left so"
            };
            emit!(DRIFT_FOUND, identity.id = %id, entity = %entity, drift.what = what, drift.repaired = repaired;
                "identity {id}: somebody else changed {entity} at HID ({what}); {how}");
        }
        self.tell();
        Ok(())
    }
}

fn commit_of(
    policy: &Policy,
    before: &Before,
    after: Stepped,
    claim: ClaimChange,
    cause: &str,
    now: Timestamp,
) -> Commit {
    let old_rows = if before.revision == 0 {
        std::collections::BTreeSet::new()
    } else {
        index::rows(&before.identity)
    };
    let new_rows = after.identity.as_ref().map(index::rows).unwrap_or_default();
    let owed = after
        .identity
        .as_ref()
        .map(|identity| crate::core::plan::owed(policy, identity, now));
    let mut changes = after.changes;
    if before.revision == 0 && after.identity.is_some() {
        let entity = format!("identity/{}", before.identity.id);
        let made = Change {
            entity,
            from: None,
            to: Some("present".to_owned()),
        };
        changes.insert(0, made);
    }
    let known = (before.revision > 0).then_some(&before.identity);
    let told = announce::announcements(known, after.identity.as_ref(), now);
    Commit {
        identity: after.identity,
        id: before.identity.id,
        expected: before.revision,
        owed: Some(owed.unwrap_or_default()),
        rows_removed: old_rows.difference(&new_rows).cloned().collect(),
        rows_added: new_rows.difference(&old_rows).cloned().collect(),
        changes,
        events: told.into_iter().map(NewEvent::of).collect(),
        cause: cause.to_owned(),
        claim,
        now,
    }
}

struct Before {
    identity: Identity,
    revision: u64,
}

impl Before {
    fn of(loaded: Option<Loaded>, id: IdentityId, now: Timestamp) -> Self {
        match loaded {
            Some(loaded) => Self {
                identity: loaded.identity,
                revision: loaded.revision,
            },
            None => Self {
                identity: Identity::new(id, now),
                revision: 0,
            },
        }
    }
}

#[derive(Clone)]
struct Stepped {
    identity: Option<Identity>,
    changes: Vec<Change>,
    started: Option<InFlight>,
}

impl From<Step> for Stepped {
    fn from(step: Step) -> Self {
        Self {
            identity: step.identity,
            changes: step.changes,
            started: step.started,
        }
    }
}

fn log(id: IdentityId, change: &Change, cause: &str) {
    let Change { entity, from, to } = change;
    let (from, to) = (
        from.as_deref().unwrap_or("none"),
        to.as_deref().unwrap_or("none"),
    );
    if to.starts_with("stuck") || to.starts_with("failed") {
        emit!(KEY_STUCK, identity.id = %id, entity = %entity, state.from = %from, state.to = %to;
            "identity {id}: {entity} needs a person: {to}");
    }
    emit!(IDENTITY_CHANGED, identity.id = %id, entity = %entity, state.from = %from, state.to = %to, cause = %cause;
        "identity {id}: {entity} went from {from} to {to}");
}
