//! The words of the outbox: events, webhooks, and the deliveries between them.
//!
//! An event and what it owes to webhooks are written by the commit that it tells of, so neither can
//! be lost without the other.

use std::collections::BTreeSet;

use secrecy::SecretString;
use uuid::Uuid;

use crate::core::announce::{Announcement, EventType};
use crate::core::ids::Timestamp;

/// An event on its way into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Its id from now on.
    pub id: Uuid,
    /// What it tells.
    pub announcement: Announcement,
}

impl NewEvent {
    /// Gives an announcement its id: one that grows with time, so that an index of them is written at its end alone.
    #[must_use]
    pub fn of(announcement: Announcement) -> Self {
        Self {
            id: Uuid::now_v7(),
            announcement,
        }
    }
}

/// An event as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: Uuid,
    /// Grows with every event, whatever the clock does: who has seen all up to one instant misses and
    /// repeats nothing by asking for what came after it.
    pub created_at: Timestamp,
    /// What it tells.
    pub announcement: Announcement,
}

/// What is asked of the events. Filters that are `None` let all pass; empty ones nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Only these events.
    pub ids: Option<BTreeSet<Uuid>>,
    /// Only of these types.
    pub types: Option<BTreeSet<EventType>>,
    /// Only those kept after.
    pub after: Option<Timestamp>,
    /// Only those kept before.
    pub before: Option<Timestamp>,
    /// Only of this parent or child.
    pub acs_credential: Option<Uuid>,
    /// Only of this ACS user.
    pub acs_user: Option<Uuid>,
    /// Only in these systems.
    pub acs_systems: Option<BTreeSet<Uuid>>,
    /// Only of this identity.
    pub user_identity: Option<Uuid>,
    /// Only of these phones.
    pub devices: Option<BTreeSet<Uuid>>,
    /// The oldest first, not the newest.
    pub oldest_first: bool,
    /// So many are passed over.
    pub offset: u32,
    /// At most so many.
    pub limit: u32,
}

/// Somebody who wants to be told.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Ours.
    pub id: Uuid,
    /// Where to; may hold the operator's own secrets, so it is never logged.
    pub url: String,
    /// Which events; `None`: all.
    pub event_types: Option<BTreeSet<EventType>>,
    /// What deliveries are signed with, as the API shows it.
    pub secret: SecretString,
    /// When it was made.
    pub created_at: Timestamp,
    /// It is told; `false` after days of failing.
    pub enabled: bool,
}

/// One attempt to tell one webhook of one event, claimed.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Names the claim.
    pub token: Uuid,
    /// Whom.
    pub webhook: Webhook,
    /// Of what.
    pub event: Event,
    /// How many attempts failed before.
    pub failures: u32,
    /// Since when this webhook has not taken anything.
    pub failing_since: Option<Timestamp>,
}

/// What is asked for when deliveries are claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryClaim {
    /// Names the claim; a new one each time.
    pub token: Uuid,
    /// Due at or before.
    pub now: Timestamp,
    /// After that they may be claimed again.
    pub lease_until: Timestamp,
}

/// How a claimed delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The claim; where it was lost nothing is changed.
    pub token: Uuid,
    /// Whom.
    pub webhook: Uuid,
    /// Of what.
    pub event: Uuid,
    /// What follows.
    pub outcome: Outcome,
    /// When.
    pub now: Timestamp,
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Delivered,
    /// Once more then.
    Again(Timestamp),
    /// Not again.
    GivenUp,
    /// Nor anything else: the webhook is disabled, and all that it was owed is dropped.
    Disabled,
}
