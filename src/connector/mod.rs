//! Tells an access system of keys: puts and removes the records that the core owes it.
//!
//! Imports core, store, origo's transport, engine, budget, gate, template, clock and telemetry. Promises: a record's mark is
//! durable before its call or its batch goes out; one call of a record at a time; removals go first; nothing of this
//! waits for HID, or HID for it; no log line holds what a record says.

pub mod files;
pub mod http;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use self::files::Files;
use self::http::Http;
use crate::core::ids::{AcsSystemId, ChildId, IdentityId, Timestamp};
use crate::core::observation::Observation;
use crate::core::record::{Act, Call, Outcome};
use crate::core::{Class, Lane};
use crate::emit;
use crate::engine::Engine;
use crate::store::{Due, DueQuery, Error};
use crate::telemetry::{RECORD_DONE, RECORD_REFUSED};

/// How many due records are fetched at once.
const BATCH: u32 = 64;

/// Access systems are told in this order.
const CLASSES: [Class; 2] = [Class::Removal, Class::Import];

/// One access system that takes records.
pub struct Connector {
    /// Ours.
    pub id: AcsSystemId,
    /// As configured; for logs.
    pub name: String,
    /// How it takes them.
    pub kind: Kind,
}

/// How an access system takes records.
pub enum Kind {
    /// One request a record.
    Http(Arc<Http>),
    /// Batches in a directory.
    Files(Files),
}

/// A record whose mark is made.
#[derive(Clone, Debug)]
pub struct Started {
    identity: IdentityId,
    child: ChildId,
    call: Call,
    /// Boot time at which its lease ends.
    lease_ends: Duration,
}

impl Connector {
    /// What is due, removals first, at most so many of each class.
    async fn due(&self, engine: &Engine, limit: u32) -> Result<Vec<Due>, Error> {
        let mut all = Vec::new();
        for class in CLASSES {
            let query = DueQuery {
                manager: Some(self.id),
                class,
                now: engine.now(),
                limit,
            };
            all.extend(engine.store().due(query).await?);
        }
        Ok(all)
    }

    /// When there will be something to do; `None`: nothing is owed.
    async fn next_due(&self, engine: &Engine) -> Result<Option<Timestamp>, Error> {
        let agenda = engine.store().agenda(Some(self.id)).await?;
        Ok(agenda.into_values().min())
    }

    /// Makes the mark of a due record; `None`: it is not due any more.
    async fn start(
        engine: &Engine,
        due: &Due,
        token: Uuid,
        lease: Duration,
    ) -> Result<Option<Started>, Error> {
        let Lane::Record(child) = due.lane else {
            return Ok(None);
        };
        // First: what is written down ends no sooner than what is kept to.
        let lease_ends = engine.clock().boottime() + lease;
        let seen = Observation::RecordStarted {
            child,
            until: engine.now().plus(lease),
            token,
        };
        let identity = engine.observe(due.identity, &seen, "connector").await?;
        let call = identity.and_then(|identity| {
            let (_, _, child) = identity.child(child)?;
            child.record.call.clone().filter(|call| call.token == token)
        });
        Ok(call.map(|call| Started {
            identity: due.identity,
            child,
            call,
            lease_ends,
        }))
    }

    /// Takes in how a call ended.
    async fn end(&self, engine: &Engine, started: &Started, outcome: Outcome) -> Result<(), Error> {
        let seen = Observation::RecordEnded(started.child, started.call.number, outcome);
        engine.observe(started.identity, &seen, "connector").await?;
        let act = match started.call.act {
            Act::Put(_) => "put",
            Act::Remove(_) => "remove",
        };
        let (system, identity, child) = (&self.name, started.identity, started.child);
        if outcome == Outcome::Done {
            emit!(RECORD_DONE, access_system.name = %system, identity.id = %identity, child.id = %child, record.act = act;
                "{act} of record {child} in {system} done");
        } else {
            emit!(RECORD_REFUSED, access_system.name = %system, identity.id = %identity, child.id = %child, record.act = act, outcome = ?outcome;
                "{act} of record {child} in {system} did not succeed");
        }
        Ok(())
    }
}

/// A connector and the engine it works for.
#[derive(Clone)]
pub struct Desk {
    /// Where observations go.
    pub engine: Arc<Engine>,
    /// For which access system.
    pub connector: Arc<Connector>,
}
