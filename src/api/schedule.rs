//! When what is owed will be done: each manager's forecast, made anew at most once a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Api;
use super::problem::Problem;
use crate::core::forecast::{Forecast, Place};
use crate::core::hold::is_held_back;
use crate::core::identity::Identity;
use crate::core::ids::{AcsSystemId, Timestamp};
use crate::core::{Class, Lane, Owed, plan};
use crate::manager::Manager;

/// A forecast reads the whole queue; who asks more often gets the last one.
const MADE_EVERY: Duration = Duration::from_secs(1);

/// A forecast, and the boot time at which it was made.
type Made = (Duration, Arc<Forecast>);

/// What is known of every manager that works on the store.
pub(super) struct Schedule {
    pub(super) managers: Vec<Arc<Manager>>,
    made: Mutex<BTreeMap<AcsSystemId, Made>>,
}

/// The next call that brings a person on.
pub(super) struct NextCall {
    pub(super) lane: Lane,
    pub(super) effect: &'static str,
    pub(super) place: Place,
    /// When it is made, as things stand.
    pub(super) at: Timestamp,
}

impl Schedule {
    pub(super) fn new(managers: Vec<Arc<Manager>>) -> Self {
        Self {
            managers,
            made: Mutex::default(),
        }
    }

    /// `None`: this process does not work on that manager.
    pub(super) async fn forecast(
        &self,
        api: &Api,
        id: AcsSystemId,
    ) -> Result<Option<Arc<Forecast>>, Problem> {
        let Some(manager) = self.managers.iter().find(|manager| manager.id == id) else {
            return Ok(None);
        };
        let now = api.engine.clock().boottime();
        let known = |made: &Made| (now < made.0 + MADE_EVERY).then(|| Arc::clone(&made.1));
        let fresh = self.lock().get(&id).and_then(known);
        if fresh.is_some() {
            return Ok(fresh);
        }
        let forecast = Arc::new(manager.forecast(&api.engine).await?);
        self.lock().insert(id, (now, Arc::clone(&forecast)));
        Ok(Some(forecast))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<AcsSystemId, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first call to come that is owed with this manager and more than a look; where it is `held`, of those that go on.
    pub(super) async fn next(
        &self,
        api: &Api,
        (identity, manager, held): (&Identity, AcsSystemId, bool),
        now: Timestamp,
    ) -> Result<Option<NextCall>, Problem> {
        let policy = api.engine.policy();
        let mut owed = plan::owed(&policy, identity, now);
        owed.retain(|_, owed| owed.manager == Some(manager) && is_progress(owed.class));
        owed.retain(|_, owed| !(held && is_held_back(&owed.effect)));
        if owed.is_empty() {
            return Ok(None);
        }
        let Some(forecast) = self.forecast(api, manager).await? else {
            return Ok(None);
        };
        let since = api.engine.store().owed(identity.id).await?;
        let next = owed.into_iter().map(|(lane, owed)| {
            let since = since.get(&lane).copied().unwrap_or(now);
            next_call(&forecast, lane, &owed, since, now)
        });
        Ok(next.min_by_key(|next| next.at))
    }
}

fn is_progress(class: Class) -> bool {
    match class {
        Class::Withdrawal | Class::Issue | Class::Enroll => true,
        Class::Confirm
        | Class::Wait
        | Class::Sweep
        | Class::Removal
        | Class::Import
        | Class::Timer => false,
    }
}

/// When a call that is owed and in line `since` then will be made.
pub(super) fn next_call(
    forecast: &Forecast,
    lane: Lane,
    owed: &Owed,
    since: Timestamp,
    now: Timestamp,
) -> NextCall {
    let place = forecast.place(owed.class, since.max(owed.not_before), now);
    NextCall {
        lane,
        effect: owed.effect.name(),
        at: now.plus(place.wait),
        place,
    }
}
