//! A store that answers nothing.

use origo_adapter::core::Timestamp;
use origo_adapter::core::announce::EventType;
use origo_adapter::core::effect::{Class, Lane};
use origo_adapter::core::hold::{HoldReason, HoldScope};
use origo_adapter::core::ids::{AcsSystemId, IdentityId};
use origo_adapter::core::index::{Kind, Row};
use origo_adapter::core::stock::Stock;
use origo_adapter::store::files::{Batch, File};
use origo_adapter::store::journal::Summed;
use origo_adapter::store::{
    ClientSession, Commit, Counts, Delivery, DeliveryClaim, Due, DueQuery, Error, Event,
    EventQuery, Feed, Grant, Head, JournalRow, ListQuery, Loaded, SessionChange, SessionQuery,
    Settled, Slot, StandingHold, Store, Verb, Webhook,
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub(crate) struct Broken;

fn gone<T: Send + 'static>() -> Verb<'static, T> {
    Box::pin(async { Err(Error::Database("disk I/O error".into())) })
}

impl Store for Broken {
    fn load(&self, _: IdentityId) -> Verb<'_, Option<Loaded>> {
        gone()
    }

    fn commit(&self, _: Commit) -> Verb<'_, ()> {
        gone()
    }

    fn commit_all(&self, _: Vec<Commit>) -> Verb<'_, ()> {
        gone()
    }

    fn due(&self, _: DueQuery) -> Verb<'_, Vec<Due>> {
        gone()
    }

    fn agenda(&self, _: Option<AcsSystemId>) -> Verb<'_, BTreeMap<Class, Timestamp>> {
        gone()
    }

    fn find(&self, _: Kind, _: String) -> Verb<'_, Option<IdentityId>> {
        gone()
    }

    fn list(&self, _: ListQuery) -> Verb<'_, Vec<(Row, Loaded)>> {
        gone()
    }

    fn abandoned(&self, _: Timestamp) -> Verb<'_, Vec<(IdentityId, Uuid)>> {
        gone()
    }

    fn take_slots(&self, _: Vec<Slot>, _: Vec<(Uuid, Timestamp)>) -> Verb<'_, Grant> {
        gone()
    }

    fn window_epoch(&self, _: Uuid, _: i64, _: Timestamp) -> Verb<'_, i64> {
        gone()
    }

    fn slots(&self, _: String, _: Timestamp) -> Verb<'_, Vec<Timestamp>> {
        gone()
    }

    fn load_stock(&self, _: AcsSystemId) -> Verb<'_, Option<Stock>> {
        gone()
    }

    fn save_stock(&self, _: AcsSystemId, _: Stock) -> Verb<'_, ()> {
        gone()
    }

    fn claim_reading(&self, _: AcsSystemId, _: Timestamp, _: Timestamp) -> Verb<'_, bool> {
        gone()
    }

    fn note_batch(&self, _: Batch) -> Verb<'_, ()> {
        gone()
    }

    fn load_file(&self, _: Uuid) -> Verb<'_, Option<File>> {
        gone()
    }

    fn forget_file(&self, _: Uuid) -> Verb<'_, ()> {
        gone()
    }

    fn load_feed(&self, _: AcsSystemId) -> Verb<'_, Option<Feed>> {
        gone()
    }

    fn save_feed(
        &self,
        _: AcsSystemId,
        _: Feed,
        _: Vec<(String, Timestamp)>,
        _: Timestamp,
    ) -> Verb<'_, ()> {
        gone()
    }

    fn seen_events(&self, _: AcsSystemId, _: Vec<String>) -> Verb<'_, BTreeSet<String>> {
        gone()
    }

    fn owed(&self, _: IdentityId) -> Verb<'_, BTreeMap<Lane, Timestamp>> {
        gone()
    }

    fn queue(&self, _: AcsSystemId, _: Timestamp) -> Verb<'_, BTreeMap<Class, Vec<Timestamp>>> {
        gone()
    }

    fn oldest_owed(&self, _: AcsSystemId, _: Class) -> Verb<'_, Option<Due>> {
        gone()
    }

    fn check(&self) -> Verb<'_, ()> {
        gone()
    }

    fn journal(&self, _: IdentityId) -> Verb<'_, Vec<JournalRow>> {
        gone()
    }

    fn events(&self, _: EventQuery) -> Verb<'_, Vec<Event>> {
        gone()
    }

    fn prune(&self, _: Timestamp) -> Verb<'_, ()> {
        gone()
    }

    fn create_webhook(&self, _: Webhook, _: Timestamp) -> Verb<'_, Webhook> {
        gone()
    }

    fn webhooks(&self) -> Verb<'_, Vec<Webhook>> {
        gone()
    }

    fn update_webhook(&self, _: Uuid, _: Option<BTreeSet<EventType>>) -> Verb<'_, ()> {
        gone()
    }

    fn delete_webhook(&self, _: Uuid) -> Verb<'_, ()> {
        gone()
    }

    fn claim_deliveries(&self, _: DeliveryClaim) -> Verb<'_, Vec<Delivery>> {
        gone()
    }

    fn next_delivery(&self, _: Timestamp) -> Verb<'_, Option<Timestamp>> {
        gone()
    }

    fn settle_delivery(&self, _: Settled) -> Verb<'_, ()> {
        gone()
    }

    fn create_client_session(&self, _: ClientSession) -> Verb<'_, ClientSession> {
        gone()
    }

    fn client_sessions(&self, _: SessionQuery) -> Verb<'_, Vec<ClientSession>> {
        gone()
    }

    fn change_client_session(&self, _: Uuid, _: SessionChange) -> Verb<'_, ()> {
        gone()
    }

    fn delete_client_session(&self, _: Uuid, _: Timestamp) -> Verb<'_, ()> {
        gone()
    }

    fn hold(&self, _: StandingHold) -> Verb<'_, ()> {
        gone()
    }

    fn release(&self, _: HoldScope, _: Vec<HoldReason>) -> Verb<'_, ()> {
        gone()
    }

    fn holds(&self) -> Verb<'_, Vec<StandingHold>> {
        gone()
    }

    fn head(&self) -> Verb<'_, Head> {
        gone()
    }

    fn regress(&self, _: Option<Timestamp>, _: String) -> Verb<'_, ()> {
        gone()
    }

    fn heads(&self) -> Verb<'_, Summed> {
        gone()
    }

    fn counts(&self) -> Verb<'_, Counts> {
        gone()
    }

    fn ping(&self) -> Verb<'_, ()> {
        gone()
    }
}
