//! Takes over what HID has and the store does not know: every active user of ours, with phones and keys
//! (contract.md G6).
//!
//! Imports core, store, origo, engine, budget, manager, clock and telemetry. Promises: while it goes on nothing new is made at
//! the manager; nothing is changed at HID; after a restart it goes on, and who was read is not read again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::core::Class;
use crate::core::hold::{HoldReason, HoldScope};
use crate::core::ids::{HidUserId, IdentityId, Timestamp};
use crate::core::index::{self, Kind};
use crate::core::observation::{Fault, Observation};
use crate::emit;
use crate::engine::Engine;
use crate::manager::Manager;
use crate::store::{Error, Grant};
use crate::telemetry::{ADOPT_FAILED, ADOPTED};

/// After a call that failed.
const PAUSE: Duration = Duration::from_secs(30);

/// Goes through the users of one credential manager.
pub struct Adopter {
    engine: Arc<Engine>,
    manager: Arc<Manager>,
    walk: Option<Walk>,
}

#[derive(Default)]
struct Walk {
    /// Where the next page begins; `None`: all pages are here.
    next_page: Option<u32>,
    left: VecDeque<HidUserId>,
    found: Found,
}

/// What was found so far, or at last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Active users at HID.
    pub users: u64,
    /// Of them, ours that the store did not know.
    pub adopted: u64,
    /// Of them, somebody else's.
    pub foreign: u64,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on at once.
    More,
    /// Not before then.
    NotBefore(Timestamp),
    /// Nothing, until somebody asks for it.
    Idle,
}

impl Adopter {
    /// Does nothing yet.
    #[must_use]
    pub fn new(engine: Arc<Engine>, manager: Arc<Manager>) -> Self {
        Self {
            engine,
            manager,
            walk: None,
        }
    }

    /// Since when everything of a manager is to be adopted.
    async fn asked(&self) -> Result<Option<Timestamp>, Error> {
        let scope = scope(&self.manager);
        let holds = self.engine.store().holds().await?;
        let mut asked = holds
            .iter()
            .filter(|hold| hold.scope == scope && hold.reason == HoldReason::Adopting);
        Ok(asked.next().map(|hold| hold.since))
    }

    /// At most one call.
    pub async fn turn(&mut self) -> Result<Next, Error> {
        let Some(since) = self.asked().await? else {
            self.walk = None;
            return Ok(Next::Idle);
        };
        let mut walk = self.walk.take().unwrap_or(Walk {
            next_page: Some(1),
            ..Walk::default()
        });
        let next = match (walk.next_page, walk.left.pop_front()) {
            (Some(start), unread) => {
                walk.left.extend(unread);
                self.page(&mut walk, start).await?
            }
            (None, Some(user)) => self.user(&mut walk, user, since).await?,
            (None, None) => {
                self.end(walk.found).await?;
                return Ok(Next::Idle);
            }
        };
        self.walk = Some(walk);
        Ok(next)
    }

    async fn page(&self, walk: &mut Walk, start: u32) -> Result<Next, Error> {
        if let Some(wait) = self.place().await? {
            return Ok(wait);
        }
        match self.manager.client.users(start).await {
            Ok(users) => {
                let count = u32::try_from(users.len()).unwrap_or(u32::MAX);
                walk.next_page = (count > 0).then(|| start.saturating_add(count));
                walk.left.extend(users);
                Ok(Next::More)
            }
            Err(error) => Ok(self.failed(&error.to_string())),
        }
    }

    async fn user(
        &self,
        walk: &mut Walk,
        user: HidUserId,
        since: Timestamp,
    ) -> Result<Next, Error> {
        if self.was_read(&user, since).await? {
            walk.found.users += 1;
            return Ok(Next::More);
        }
        if let Some(wait) = self.place().await? {
            walk.left.push_front(user);
            return Ok(wait);
        }
        let began = self.engine.now();
        let seen = match self.manager.client.user(&user).await {
            Ok(seen) => seen,
            Err(error) if error.fault == Fault::Gone => return Ok(Next::More),
            Err(error) => {
                walk.left.push_front(user);
                return Ok(self.failed(&error.to_string()));
            }
        };
        walk.found.users += 1;
        let ours = seen
            .external_id
            .as_deref()
            .and_then(|id| Uuid::try_parse(id).ok());
        let Some(id) = ours.map(IdentityId) else {
            walk.found.foreign += 1;
            return Ok(Next::More);
        };
        let known = self.engine.store().load(id).await?;
        let known = known.is_some_and(|loaded| {
            let enrollment = loaded.identity.enrollments.get(&self.manager.id);
            enrollment.is_some_and(|enrollment| enrollment.user_id().is_some())
        });
        walk.found.adopted += u64::from(!known);
        let seen = Observation::Adopted {
            manager: self.manager.id,
            user: seen,
            began,
        };
        self.engine.meet(id, &seen, "adopt").await?;
        Ok(Next::More)
    }

    /// It is known, and was read since this was asked for.
    async fn was_read(&self, user: &HidUserId, since: Timestamp) -> Result<bool, Error> {
        let id = index::remote(self.manager.id, user);
        let Some(owner) = self.engine.store().find(Kind::HidUser, id).await? else {
            return Ok(false);
        };
        let loaded = self.engine.store().load(owner).await?;
        let read_at =
            loaded.and_then(|loaded| loaded.identity.enrollments.get(&self.manager.id)?.read_at);
        Ok(read_at.is_some_and(|at| at >= since))
    }

    async fn place(&self) -> Result<Option<Next>, Error> {
        let at = self.engine.window_now().await?;
        let in_wall_time = |until: Timestamp| self.engine.now().plus(until.since(at));
        if let Some(until) = self.manager.gate.closed_until(at) {
            return Ok(Some(Next::NotBefore(in_wall_time(until))));
        }
        let budget = &self.manager.mobile_identities;
        let slot = budget.slot(Uuid::new_v4(), Some(Class::Confirm), at);
        Ok(
            match self
                .engine
                .store()
                .take_slots(vec![slot], Vec::new())
                .await?
            {
                Grant::Taken => None,
                Grant::NotBefore(free) => Some(Next::NotBefore(in_wall_time(free))),
            },
        )
    }

    fn failed(&self, error: &str) -> Next {
        let name = &self.manager.name;
        emit!(ADOPT_FAILED, manager.name = %name, error = %error; "taking over what {name} has waits: {error}");
        Next::NotBefore(self.engine.now().plus(PAUSE))
    }

    async fn end(&self, found: Found) -> Result<(), Error> {
        let (
            name,
            Found {
                users,
                adopted,
                foreign,
            },
        ) = (&self.manager.name, found);
        self.engine
            .let_go(scope(&self.manager), &[HoldReason::Adopting], "adopt")
            .await?;
        emit!(ADOPTED, manager.name = %name, users = users, users.adopted = adopted, users.foreign = foreign;
            "{name} has {users} users: {adopted} were unknown here and are taken over, {foreign} are somebody else's");
        Ok(())
    }
}

/// What is held while it goes on.
#[must_use]
pub fn scope(manager: &Manager) -> HoldScope {
    HoldScope::Manager(manager.id)
}

/// How many users HID has, and how many of them nobody here knows: one call for each 25 of them, and nothing is changed.
pub async fn count(engine: &Engine, manager: &Manager) -> Result<Found, crate::origo::Error> {
    let mut found = Found::default();
    let mut start = 1;
    loop {
        let users = manager.client.users(start).await?;
        if users.is_empty() {
            return Ok(found);
        }
        start += u32::try_from(users.len()).unwrap_or(u32::MAX / 2);
        for user in users {
            found.users += 1;
            let known = engine
                .store()
                .find(Kind::HidUser, index::remote(manager.id, &user));
            found.adopted += u64::from(known.await.is_ok_and(|owner| owner.is_none()));
        }
    }
}
