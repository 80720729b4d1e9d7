//! The only writer of identities: load, [`step`], commit, again on conflict.
//!
//! Imports core, store, clock and telemetry. Promises: an observation is durable when `observe` and
//! its sisters return; one that changes nothing is not written; every state change is logged once,
//! after its commit.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::core::identity::{Identity, InFlight};
use crate::core::ids::{IdentityId, Timestamp};
use crate::core::observation::{Fault, Observation};
use crate::core::policy::Policy;
use crate::core::state::Change;
use crate::core::step::{Step, step};
use crate::core::wish::Wish;
use crate::core::{Lane, announce, index, state};
use crate::emit;
use crate::store::{Claim, ClaimChange, Commit, Error, Loaded, NewEvent, Slot, Store};
use crate::telemetry::{CLAIM_LOST, CLAIM_RECOVERED, IDENTITY_CHANGED, KEY_STUCK};

/// Where all observations meet.
pub struct Engine {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    policy: Mutex<Arc<Policy>>,
    committed: watch::Sender<()>,
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
        let (committed, _) = watch::channel(());
        Self {
            store,
            clock,
            policy: Mutex::new(Arc::new(policy)),
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

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells after each commit that something may have become due. Subscribe before looking.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<()> {
        self.committed.subscribe()
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
        loop {
            let now = self.now();
            let loaded = self.store.load(id).await?;
            let wishes = decide(loaded.as_ref().map(|loaded| &loaded.identity))
                .map_err(WishError::Refused)?;
            if wishes.is_empty() {
                return Ok(loaded.map(|loaded| loaded.identity));
            }
            let before = Before::of(loaded, id, now);
            let mut after = Some(before.identity.clone());
            let mut changes = Vec::new();
            for wish in wishes {
                let Some(identity) = &after else { break };
                let step = step(&self.policy(), identity, &Observation::Wish(wish), now);
                changes.extend(step.changes);
                after = step.identity;
            }
            let stepped = Stepped {
                identity: after,
                changes,
                started: None,
            };
            match self
                .commit(&before, &stepped, ClaimChange::Keep, cause, now)
                .await
            {
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(stepped.identity),
            }
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

    /// Takes over a claim whose owner is dead or too late: its call may or may not have been sent.
    pub async fn recover(&self, id: IdentityId) -> Result<(), Error> {
        loop {
            let Some(loaded) = self.store.load(id).await? else {
                return Ok(());
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
                .commit(&before, &stepped, ClaimChange::Abandon, "recovery", now)
                .await
            {
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    emit!(CLAIM_RECOVERED, identity.id = %id; "took over a call of identity {id} whose outcome is unknown");
                    return Ok(());
                }
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
            let claim = claim(&step);
            // Asked for what is due: where nothing is, time alone has changed what is owed.
            let stale = matches!(seen, Observation::Woken | Observation::Started(_));
            let stepped = Stepped::from(step);
            let unchanged = stepped.identity.as_ref() == Some(&before.identity);
            if unchanged && claim == ClaimChange::Keep && !stale {
                return Ok(Some(stepped));
            }
            match self.commit(&before, &stepped, claim, cause, now).await {
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(Some(stepped)),
            }
        }
    }

    async fn commit(
        &self,
        before: &Before,
        after: &Stepped,
        claim: ClaimChange,
        cause: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let policy = self.policy();
        let old_rows = if before.revision == 0 {
            std::collections::BTreeSet::new()
        } else {
            index::rows(&before.identity)
        };
        let new_rows = after.identity.as_ref().map(index::rows).unwrap_or_default();
        let owed = after
            .identity
            .as_ref()
            .map(|identity| crate::core::plan::owed(&policy, identity, now));
        let mut changes = after.changes.clone();
        if before.revision == 0 && after.identity.is_some() {
            let entity = format!("identity/{}", before.identity.id);
            changes.insert(
                0,
                Change {
                    entity,
                    from: None,
                    to: Some("present".to_owned()),
                },
            );
        }
        let known = (before.revision > 0).then_some(&before.identity);
        let told = announce::announcements(known, after.identity.as_ref(), now);
        let events = told.into_iter().map(NewEvent::of).collect();
        self.store
            .commit(Commit {
                identity: after.identity.clone(),
                id: before.identity.id,
                expected: before.revision,
                owed: Some(owed.unwrap_or_default()),
                rows_removed: old_rows.difference(&new_rows).cloned().collect(),
                rows_added: new_rows.difference(&old_rows).cloned().collect(),
                changes: changes.clone(),
                events,
                cause: cause.to_owned(),
                claim,
                now,
            })
            .await?;
        for change in &changes {
            log(before.identity.id, change, cause);
        }
        self.committed.send_replace(());
        Ok(())
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
    let state::Change { entity, from, to } = change;
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
