//! A store that dies at a chosen verb: before its transaction, or after it and before anybody hears of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use origo_adapter::core::announce::EventType;
use origo_adapter::core::effect::Class;
use origo_adapter::core::ids::{AcsSystemId, IdentityId, Timestamp};
use origo_adapter::core::index::{Kind, Row};
use origo_adapter::store::sqlite::Sqlite;
use origo_adapter::store::{
    ClientSession, Commit, Counts, Delivery, DeliveryClaim, Due, DueQuery, Error, Event,
    EventQuery, Feed, Grant, JournalRow, ListQuery, Loaded, SessionChange, SessionQuery, Settled,
    Slot, Store, Verb, Webhook,
};
use uuid::Uuid;

/// Counts verbs down; at zero the process is dead.
#[derive(Clone, Default)]
pub(super) struct Fuse(Arc<State>);

struct State {
    left: AtomicI64,
    after: AtomicI64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            left: AtomicI64::new(i64::MAX),
            after: AtomicI64::new(0),
        }
    }
}

impl Fuse {
    /// The verb after `verbs` more dies: after its transaction where `after`, else before.
    pub(super) fn light(&self, verbs: i64, after: bool) {
        self.0.left.store(verbs, Ordering::Relaxed);
        self.0.after.store(i64::from(after), Ordering::Relaxed);
    }

    pub(super) fn mend(&self) {
        self.0.left.store(i64::MAX, Ordering::Relaxed);
    }

    pub(super) fn is_blown(&self) -> bool {
        self.0.left.load(Ordering::Relaxed) < 0
    }

    /// Whether this verb's transaction still happens, and whether its answer arrives.
    fn pass(&self) -> (bool, bool) {
        let left = self.0.left.fetch_sub(1, Ordering::Relaxed);
        match left {
            1.. => (true, true),
            0 => (self.0.after.load(Ordering::Relaxed) == 1, false),
            _ => (false, false),
        }
    }
}

pub(super) struct FusedStore {
    pub(super) store: Sqlite,
    pub(super) fuse: Fuse,
}

fn dead() -> Error {
    Error::Database("the process is dead".into())
}

macro_rules! fused {
    ($self:ident, $verb:expr) => {
        Box::pin(async move {
            let (happens, answers) = $self.fuse.pass();
            if !happens {
                return Err(dead());
            }
            let result = $verb.await;
            if answers { result } else { Err(dead()) }
        })
    };
}

impl Store for FusedStore {
    fn load(&self, id: IdentityId) -> Verb<'_, Option<Loaded>> {
        fused!(self, self.store.load(id))
    }
    fn commit(&self, commit: Commit) -> Verb<'_, ()> {
        fused!(self, self.store.commit(commit))
    }
    fn commit_all(&self, commits: Vec<Commit>) -> Verb<'_, ()> {
        fused!(self, self.store.commit_all(commits))
    }
    fn due(&self, query: DueQuery) -> Verb<'_, Vec<Due>> {
        fused!(self, self.store.due(query))
    }
    fn agenda(&self, manager: Option<AcsSystemId>) -> Verb<'_, BTreeMap<Class, Timestamp>> {
        fused!(self, self.store.agenda(manager))
    }
    fn find(&self, kind: Kind, id: String) -> Verb<'_, Option<IdentityId>> {
        fused!(self, self.store.find(kind, id))
    }
    fn list(&self, query: ListQuery) -> Verb<'_, Vec<(Row, Loaded)>> {
        fused!(self, self.store.list(query))
    }
    fn abandoned(&self, now: Timestamp) -> Verb<'_, Vec<IdentityId>> {
        fused!(self, self.store.abandoned(now))
    }
    fn take_slot(&self, slot: Slot, now: Timestamp) -> Verb<'_, Grant> {
        fused!(self, self.store.take_slot(slot, now))
    }
    fn answer_slot(&self, token: Uuid, frees_at: Timestamp) -> Verb<'_, ()> {
        fused!(self, self.store.answer_slot(token, frees_at))
    }
    fn load_feed(&self, manager: AcsSystemId) -> Verb<'_, Option<Feed>> {
        fused!(self, self.store.load_feed(manager))
    }
    fn save_feed(&self, manager: AcsSystemId, feed: Feed) -> Verb<'_, ()> {
        fused!(self, self.store.save_feed(manager, feed))
    }
    fn journal(&self, id: IdentityId) -> Verb<'_, Vec<JournalRow>> {
        fused!(self, self.store.journal(id))
    }
    fn events(&self, query: EventQuery) -> Verb<'_, Vec<Event>> {
        fused!(self, self.store.events(query))
    }
    fn prune(&self, before: Timestamp) -> Verb<'_, ()> {
        fused!(self, self.store.prune(before))
    }
    fn create_webhook(&self, webhook: Webhook, since: Timestamp) -> Verb<'_, Webhook> {
        fused!(self, self.store.create_webhook(webhook, since))
    }
    fn webhooks(&self) -> Verb<'_, Vec<Webhook>> {
        fused!(self, self.store.webhooks())
    }
    fn update_webhook(&self, id: Uuid, event_types: Option<BTreeSet<EventType>>) -> Verb<'_, ()> {
        fused!(self, self.store.update_webhook(id, event_types))
    }
    fn delete_webhook(&self, id: Uuid) -> Verb<'_, ()> {
        fused!(self, self.store.delete_webhook(id))
    }
    fn claim_deliveries(&self, claim: DeliveryClaim) -> Verb<'_, Vec<Delivery>> {
        fused!(self, self.store.claim_deliveries(claim))
    }
    fn next_delivery(&self, now: Timestamp) -> Verb<'_, Option<Timestamp>> {
        fused!(self, self.store.next_delivery(now))
    }
    fn settle_delivery(&self, settled: Settled) -> Verb<'_, ()> {
        fused!(self, self.store.settle_delivery(settled))
    }
    fn create_client_session(&self, session: ClientSession) -> Verb<'_, ClientSession> {
        fused!(self, self.store.create_client_session(session))
    }
    fn client_sessions(&self, query: SessionQuery) -> Verb<'_, Vec<ClientSession>> {
        fused!(self, self.store.client_sessions(query))
    }
    fn change_client_session(&self, id: Uuid, change: SessionChange) -> Verb<'_, ()> {
        fused!(self, self.store.change_client_session(id, change))
    }
    fn delete_client_session(&self, id: Uuid, now: Timestamp) -> Verb<'_, ()> {
        fused!(self, self.store.delete_client_session(id, now))
    }
    fn counts(&self) -> Verb<'_, Counts> {
        fused!(self, self.store.counts())
    }
    fn ping(&self) -> Verb<'_, ()> {
        fused!(self, self.store.ping())
    }
}
