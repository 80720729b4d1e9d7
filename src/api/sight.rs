//! Whom a request may see: everybody with an API key, its own person alone with a client session.
//!
//! Promises: what a handler looks up, lists or changes by these functions is within the caller's sight;
//! the rest is as if it were not there. A route that client sessions may use has no other way to the store.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::problem::Problem;
use super::{Api, Call};
use crate::core::identity::Identity;
use crate::core::ids::{AcsSystemId, IdentityId};
use crate::core::index::{Kind, Row};
use crate::core::wish::Wish;
use crate::engine::WishError;
use crate::store::{Event, EventQuery, ListQuery, Loaded};

/// Whom a request may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// With an API key.
    Everybody,
    /// With a client session.
    Only(IdentityId),
    /// With a client session that acts as nobody, or without any key.
    Nobody,
}

impl Sight {
    fn sees(self, id: IdentityId) -> bool {
        match self {
            Self::Everybody => true,
            Self::Only(own) => own == id,
            Self::Nobody => false,
        }
    }

    /// To whom a list that asks for `asked` is to be limited; the outer `None`: nothing of it is in sight.
    #[expect(
        clippy::option_option,
        reason = "the inner one is the filter, where None lets all pass"
    )]
    fn narrow(self, asked: Option<IdentityId>) -> Option<Option<IdentityId>> {
        match self {
            Self::Everybody => Some(asked),
            Self::Only(own) => asked.is_none_or(|asked| asked == own).then_some(Some(own)),
            Self::Nobody => None,
        }
    }
}

impl Api {
    /// Whose this is.
    pub(super) async fn find(
        &self,
        kind: Kind,
        id: impl Display,
    ) -> Result<Option<IdentityId>, Problem> {
        let owner = self.engine.store().find(kind, id.to_string()).await?;
        Ok(owner.filter(|owner| self.sight.sees(*owner)))
    }

    /// The identity as last committed.
    pub(super) async fn load(&self, id: IdentityId) -> Result<Option<Identity>, Problem> {
        if !self.sight.sees(id) {
            return Ok(None);
        }
        let loaded = self.engine.store().load(id).await?;
        Ok(loaded.map(|loaded| loaded.identity))
    }

    /// The identity that has this.
    pub(super) async fn owner(
        &self,
        kind: Kind,
        id: impl Display,
    ) -> Result<Option<Identity>, Problem> {
        match self.find(kind, id).await? {
            Some(owner) => self.load(owner).await,
            None => Ok(None),
        }
    }

    /// Rows of the entity index with their identities.
    pub(super) async fn rows(&self, mut query: ListQuery) -> Result<Vec<(Row, Loaded)>, Problem> {
        let Some(identity) = self.sight.narrow(query.identity) else {
            return Ok(Vec::new());
        };
        query.identity = identity;
        Ok(self.engine.store().list(query).await?)
    }

    /// What was told.
    pub(super) async fn events(&self, mut query: EventQuery) -> Result<Vec<Event>, Problem> {
        let asked = query.user_identity.map(IdentityId);
        let Some(identity) = self.sight.narrow(asked) else {
            return Ok(Vec::new());
        };
        query.user_identity = identity.map(|id| id.0);
        Ok(self.engine.store().events(query).await?)
    }

    /// The systems in which somebody in sight has a record; `None`: all that are configured.
    pub(super) async fn systems_in_sight(&self) -> Result<Option<BTreeSet<AcsSystemId>>, Problem> {
        let own = match self.sight {
            Sight::Everybody => return Ok(None),
            Sight::Only(own) => self.load(own).await?,
            Sight::Nobody => None,
        };
        let users = own.iter().flat_map(|own| own.acs_users.values());
        Ok(Some(users.map(|user| user.acs_system).collect()))
    }

    /// Takes wishes in; the checks belong into `decide`, where they hold against everybody else's.
    pub(super) async fn wish(
        &self,
        id: IdentityId,
        call: &Call,
        decide: impl Fn(Option<&Identity>) -> Result<Vec<Wish>, Problem>,
    ) -> Result<Option<Identity>, Problem> {
        self.may_change(&[id])?;
        let wished = self.engine.wish(id, &call.caller, decide).await;
        wished.map_err(refusal)
    }

    /// As [`Api::wish`], for several identities in one transaction.
    pub(super) async fn wish_all(
        &self,
        ids: &[IdentityId],
        call: &Call,
        decide: impl Fn(&[Option<&Identity>]) -> Result<Vec<Vec<Wish>>, Problem>,
    ) -> Result<Vec<Option<Identity>>, Problem> {
        self.may_change(ids)?;
        let wished = self.engine.wish_all(ids, &call.caller, decide).await;
        wished.map_err(refusal)
    }

    /// Whoever was not found is not to be changed either.
    fn may_change(&self, ids: &[IdentityId]) -> Result<(), Problem> {
        if ids.iter().all(|id| self.sight.sees(*id)) {
            Ok(())
        } else {
            Err(Problem::session_refused())
        }
    }
}

fn refusal(error: WishError<Problem>) -> Problem {
    match error {
        WishError::Refused(problem) => problem,
        WishError::Store(error) => Problem::from(error),
    }
}
