//! What is the same in every store: texts of values, and all that is computed and not asked of a database.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::journal::{self, Hash};
use super::{ClientSession, Commit, Error, NewEvent, SessionQuery, Store, Webhook, Window};
use crate::core::announce::{Announcement, EventType};
use crate::core::effect::{Class, Lane, Owed};
use crate::core::hold::{HoldReason, HoldScope};
use crate::core::ids::{AcsSystemId, IdentityId, PartNumber, Timestamp};

/// JSON as stored. Equal values have equal texts.
pub(super) fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Database(Box::new(error)))
}

/// What such a text holds, or what is wrong with it, without a word of what it held.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    // serde_json's own words may quote the value, and so a name or a code (contract.md G7).
    serde_json::from_str(text).map_err(|error| {
        format!(
            "unusable JSON: {:?} error at column {}",
            error.classify(),
            error.column()
        )
    })
}

/// A number as a column holds it.
pub(super) fn signed(number: u64) -> Result<i64, Error> {
    i64::try_from(number).map_err(|error| Error::Database(Box::new(error)))
}

/// An effect as stored, without its lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) manager: Option<Uuid>,
    pub(super) class: String,
    pub(super) not_before: i64,
    pub(super) effect: String,
    pub(super) line: i64,
    pub(super) owed_since: i64,
}

/// How the rows of what an identity owes become others.
pub(super) struct Reordered {
    /// To be written, by lane.
    pub(super) changed: Vec<(String, Order)>,
    /// Lanes that owe nothing any more.
    pub(super) gone: Vec<String>,
}

/// Only what differs: most commits leave most lanes as they are.
pub(super) fn reordered(
    mut before: BTreeMap<String, Order>,
    owed: &BTreeMap<Lane, Owed>,
    now: Timestamp,
) -> Result<Reordered, Error> {
    let mut changed = Vec::new();
    for (lane, owed) in owed {
        let lane = json(lane)?;
        let known = before.remove(&lane);
        let effect = json(&owed.effect)?;
        let same = known.as_ref().filter(|known| known.effect == effect);
        let since = same.map_or(now.0, |known| known.line.min(now.0));
        let class = owed.class.name().to_owned();
        let owed_since = same.filter(|known| known.class == class);
        let owed_since = owed_since.map_or(now.0, |known| known.owed_since.min(now.0));
        let order = Order {
            manager: owed.manager.map(|manager| manager.0),
            class,
            owed_since,
            not_before: owed.not_before.0,
            effect,
            line: owed.not_before.0.max(since),
        };
        if known.as_ref() != Some(&order) {
            changed.push((lane, order));
        }
    }
    Ok(Reordered {
        changed,
        gone: before.into_keys().collect(),
    })
}

/// Number and hash of each row that a commit adds to a journal that ends so.
pub(super) fn chained((mut seq, mut hash): (u64, Hash), commit: &Commit) -> Vec<(u64, Hash)> {
    let rows = commit.changes.iter().map(|change| {
        seq += 1;
        hash = journal::hash(&hash, commit.id, seq, commit.now, &commit.cause, change);
        (seq, hash)
    });
    rows.collect()
}

/// What a hold keeps back of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stops {
    Nothing,
    /// The issues of some part numbers.
    Parts,
    /// The issues, and not the reads among them.
    Issues,
    All,
}

impl Stops {
    /// At most so much.
    pub(super) fn most(class: Class) -> Self {
        match class {
            Class::Issue => Self::Issues,
            Class::Enroll => Self::All,
            Class::Withdrawal
            | Class::Confirm
            | Class::Wait
            | Class::Sweep
            | Class::Removal
            | Class::Import
            | Class::Timer => Self::Nothing,
        }
    }

    /// Where all new calls are held, or the keys of some part numbers.
    pub(super) fn of(class: Class, held: bool, parts: bool) -> Self {
        match (Self::most(class), held, parts) {
            (most, true, _) => most,
            (Self::Issues, false, true) => Self::Parts,
            (_, false, _) => Self::Nothing,
        }
    }
}

/// A scope as stored: a manager's id, or empty for everything; a part number, or empty for all of them.
pub(super) fn scope_columns(scope: &HoldScope) -> (Vec<u8>, &str) {
    let id = |manager: &AcsSystemId| manager.0.as_bytes().to_vec();
    match scope {
        HoldScope::All => (Vec::new(), ""),
        HoldScope::Manager(manager) => (id(manager), ""),
        HoldScope::Part(manager, part) => (id(manager), &part.0),
    }
}

/// The scope that is stored so.
pub(super) fn scope(scope: &[u8], part: String) -> Result<HoldScope, uuid::Error> {
    if scope.is_empty() {
        return Ok(HoldScope::All);
    }
    let manager = AcsSystemId(Uuid::from_slice(scope)?);
    Ok(if part.is_empty() {
        HoldScope::Manager(manager)
    } else {
        HoldScope::Part(manager, PartNumber(part))
    })
}

/// The reason of this name.
pub(super) fn reason(name: &str) -> Result<HoldReason, &'static str> {
    let known = HoldReason::ALL
        .into_iter()
        .find(|known| known.name() == name);
    known.ok_or("no reason that is known")
}

/// Of the windows so far that have no room, and of this one, which has room last and when; `None`: all have now.
pub(super) fn fullest<'a>(
    full: Option<(&'a Window, Timestamp)>,
    window: &'a Window,
    not_before: Option<Timestamp>,
) -> Option<(&'a Window, Timestamp)> {
    let later = not_before.filter(|time| full.is_none_or(|(_, latest)| latest < *time));
    later.map(|time| (window, time)).or(full)
}

/// The refusal of what found this window full.
pub(super) fn refused(full: Option<(&Window, Timestamp)>) -> Result<(), Error> {
    match full {
        None => Ok(()),
        Some((window, not_before)) => Err(Error::WindowFull {
            key: window.key.clone(),
            not_before,
        }),
    }
}

/// How many slots too many count for one more to have room; `None`: it has.
pub(super) fn surplus(window: &Window, counting: i64) -> Option<i64> {
    let surplus = counting - i64::from(window.limit);
    (surplus >= 0).then_some(surplus)
}

/// In a webhook's list: all there are.
const EVERY: &str = "*";

/// What a webhook is told of, as stored.
pub(super) fn type_names(types: Option<&BTreeSet<EventType>>) -> Vec<&'static str> {
    match types {
        Some(types) => types.iter().map(|known| known.name()).collect(),
        None => vec![EVERY],
    }
}

/// The same back again.
pub(super) fn types(names: &[String]) -> Result<Option<BTreeSet<EventType>>, &'static str> {
    if names == [EVERY] {
        return Ok(None);
    }
    let types: Option<_> = names.iter().map(|name| EventType::parse(name)).collect();
    types.map(Some).ok_or("an unknown event type")
}

/// The webhook that was made or found for `wanted`.
pub(super) async fn created_webhook(store: &dyn Store, wanted: &Webhook) -> Result<Webhook, Error> {
    let known = store.webhooks().await?;
    let same = |known: &&Webhook| {
        known.enabled && known.url == wanted.url && known.event_types == wanted.event_types
    };
    let own = known.iter().find(|known| known.id == wanted.id);
    let found = own.or_else(|| known.iter().rev().find(same));
    found
        .cloned()
        .ok_or_else(|| Error::Database("the webhook is gone again".into()))
}

/// The client session that was made or found for `wanted`.
pub(super) async fn created_session(
    store: &dyn Store,
    wanted: &ClientSession,
) -> Result<ClientSession, Error> {
    let by_id = SessionQuery {
        id: Some(wanted.id),
        ..SessionQuery::default()
    };
    let mut known = store.client_sessions(by_id).await?;
    if known.is_empty() && wanted.key.is_some() {
        let by_key = SessionQuery {
            key: wanted.key.clone(),
            ..SessionQuery::default()
        };
        known = store.client_sessions(by_key).await?;
        known.retain(|known| known.holds(wanted.created_at));
    }
    known
        .pop()
        .ok_or_else(|| Error::Database("the client session is gone again".into()))
}

/// Client sessions of an identity that is gone or on its way out end.
pub(super) fn ends_sessions(commit: &Commit) -> bool {
    let identity = commit.identity.as_ref();
    identity.is_none_or(|identity| identity.deleting_since.is_some())
}

/// What is told of client sessions that are gone.
pub(super) fn sessions_gone(
    gone: impl IntoIterator<Item = (Uuid, Option<Uuid>)>,
    now: Timestamp,
) -> Vec<NewEvent> {
    let events = gone.into_iter().map(|(session, identity)| {
        let identity = identity.map(IdentityId);
        NewEvent::of(Announcement::client_session_deleted(session, identity, now))
    });
    events.collect()
}

/// What a client session's token is found by.
pub(super) fn token_hash(token: &SecretString) -> Vec<u8> {
    let hash = digest(&SHA256, token.expose_secret().as_bytes());
    hash.as_ref().to_vec()
}
