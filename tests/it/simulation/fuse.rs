//! A store that dies at a chosen verb: before its transaction, or after it and before anybody hears of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use origo_adapter::core::announce::EventType;
use origo_adapter::core::effect::{Class, Lane};
use origo_adapter::core::hold::{HoldReason, HoldScope};
use origo_adapter::core::ids::{AcsSystemId, IdentityId, Timestamp};
use origo_adapter::core::index::{Kind, Row};
use origo_adapter::core::stock::Stock;
use origo_adapter::store::files::{Batch, File};
use origo_adapter::store::journal::Summed;
use origo_adapter::store::{
    ClientSession, Commit, Counts, Delivery, DeliveryClaim, Due, DueQuery, Error, Event,
    EventQuery, Feed, Grant, Head, JournalRow, ListQuery, Loaded, SessionChange, SessionQuery,
    Settled, Slot, StandingHold, Store, Verb, Webhook,
};
use uuid::Uuid;

use super::disk::Disk;

/// Counts the operations of the store; from the one it was lit for on, the process is dead.
#[derive(Clone, Default)]
pub(super) struct Fuse(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Operations so far, of all lives.
    passed: i64,
    /// At which operation it blows, and whether after its transaction.
    lit: Option<(i64, bool)>,
    blown: bool,
    /// Where the process died: before (`false`) or after (`true`) which operation.
    deaths: BTreeSet<(i64, bool)>,
    /// The slots that were last said to have had their answer.
    answered: Vec<Uuid>,
}

impl Fuse {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The operation after `operations` more dies: after its transaction where `after`, else before.
    pub(super) fn light(&self, operations: i64, after: bool) {
        let mut state = self.state();
        state.lit = Some((state.passed.saturating_add(operations), after));
    }

    /// It blows no more.
    pub(super) fn put_out(&self) {
        let mut state = self.state();
        state.lit = None;
        state.blown = false;
    }

    /// A new life begins; one that ended between two operations died after the last.
    pub(super) fn mend(&self) {
        let mut state = self.state();
        if !state.blown && state.passed > 0 {
            let last = (state.passed - 1, true);
            state.deaths.insert(last);
        }
        state.blown = false;
        state.lit = None;
    }

    pub(super) fn is_blown(&self) -> bool {
        self.state().blown
    }

    /// How many operations there were.
    pub(super) fn passed(&self) -> i64 {
        self.state().passed
    }

    /// At how many different points it died.
    pub(super) fn deaths(&self) -> usize {
        self.state().deaths.len()
    }

    /// Says so of these slots, each of which is said only once.
    fn answered(&self, slots: Vec<Uuid>) {
        let mut state = self.state();
        let again = slots.iter().find(|slot| state.answered.contains(slot));
        assert_eq!(again, None, "the store knows of this answer");
        state.answered = slots;
    }

    /// Whether this operation's transaction still happens, and whether its answer arrives.
    fn pass(&self) -> (bool, bool) {
        let mut state = self.state();
        if state.blown {
            return (false, false);
        }
        let number = state.passed;
        state.passed += 1;
        match state.lit.filter(|(at, _)| *at == number) {
            None => (true, true),
            Some(point) => {
                state.blown = true;
                state.deaths.insert(point);
                (point.1, false)
            }
        }
    }
}

pub(super) struct FusedStore {
    pub(super) store: Disk,
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
    fn abandoned(&self, now: Timestamp) -> Verb<'_, Vec<(IdentityId, Uuid)>> {
        fused!(self, self.store.abandoned(now))
    }
    fn take_slots(&self, slots: Vec<Slot>, answered: Vec<(Uuid, Timestamp)>) -> Verb<'_, Grant> {
        let told: Vec<Uuid> = answered.iter().map(|(token, _)| *token).collect();
        let taking = async move {
            let grant = self.store.take_slots(slots, answered).await?;
            if grant == Grant::Taken {
                self.fuse.answered(told);
            }
            Ok(grant)
        };
        fused!(self, taking)
    }
    fn window_epoch(&self, boot: Uuid, epoch: i64, now: Timestamp) -> Verb<'_, i64> {
        fused!(self, self.store.window_epoch(boot, epoch, now))
    }
    fn slots(&self, key: String, now: Timestamp) -> Verb<'_, Vec<Timestamp>> {
        fused!(self, self.store.slots(key, now))
    }
    fn seen_events(&self, manager: AcsSystemId, ids: Vec<String>) -> Verb<'_, BTreeSet<String>> {
        fused!(self, self.store.seen_events(manager, ids))
    }
    fn owed(&self, id: IdentityId) -> Verb<'_, BTreeMap<Lane, Timestamp>> {
        fused!(self, self.store.owed(id))
    }
    fn queue(
        &self,
        manager: AcsSystemId,
        now: Timestamp,
    ) -> Verb<'_, BTreeMap<Class, Vec<Timestamp>>> {
        fused!(self, self.store.queue(manager, now))
    }
    fn oldest_owed(&self, system: AcsSystemId, class: Class) -> Verb<'_, Option<Due>> {
        fused!(self, self.store.oldest_owed(system, class))
    }
    fn check(&self) -> Verb<'_, ()> {
        fused!(self, self.store.check())
    }
    fn load_stock(&self, manager: AcsSystemId) -> Verb<'_, Option<Stock>> {
        fused!(self, self.store.load_stock(manager))
    }
    fn save_stock(&self, manager: AcsSystemId, stock: Stock) -> Verb<'_, ()> {
        fused!(self, self.store.save_stock(manager, stock))
    }
    fn claim_reading(
        &self,
        manager: AcsSystemId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Verb<'_, bool> {
        fused!(self, self.store.claim_reading(manager, now, lease_until))
    }
    fn note_batch(&self, batch: Batch) -> Verb<'_, ()> {
        fused!(self, self.store.note_batch(batch))
    }
    fn load_file(&self, file: Uuid) -> Verb<'_, Option<File>> {
        fused!(self, self.store.load_file(file))
    }
    fn forget_file(&self, file: Uuid) -> Verb<'_, ()> {
        fused!(self, self.store.forget_file(file))
    }
    fn load_feed(&self, manager: AcsSystemId) -> Verb<'_, Option<Feed>> {
        fused!(self, self.store.load_feed(manager))
    }
    fn save_feed(
        &self,
        manager: AcsSystemId,
        feed: Feed,
        seen: Vec<(String, Timestamp)>,
        kept_since: Timestamp,
    ) -> Verb<'_, ()> {
        fused!(self, self.store.save_feed(manager, feed, seen, kept_since))
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
    fn hold(&self, hold: StandingHold) -> Verb<'_, ()> {
        fused!(self, self.store.hold(hold))
    }
    fn release(&self, scope: HoldScope, reasons: Vec<HoldReason>) -> Verb<'_, ()> {
        fused!(self, self.store.release(scope, reasons))
    }
    fn holds(&self) -> Verb<'_, Vec<StandingHold>> {
        fused!(self, self.store.holds())
    }
    fn head(&self) -> Verb<'_, Head> {
        fused!(self, self.store.head())
    }
    fn regress(&self, at: Option<Timestamp>, cause: String) -> Verb<'_, ()> {
        fused!(self, self.store.regress(at, cause))
    }
    fn heads(&self) -> Verb<'_, Summed> {
        fused!(self, self.store.heads())
    }
    fn counts(&self) -> Verb<'_, Counts> {
        fused!(self, self.store.counts())
    }
    fn ping(&self) -> Verb<'_, ()> {
        fused!(self, self.store.ping())
    }
}
