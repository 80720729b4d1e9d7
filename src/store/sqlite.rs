//! The store of one daemon: a `SQLite` file that nobody else has open.
//!
//! Imports core and the store's own words. Promises: a write that was answered has been through `fsync`
//! (write-ahead log, `synchronous=FULL`); a verb whose future is dropped is carried out whole or not at
//! all; a second daemon is kept out by a lock on `FILE.lock`, so that claims found at opening are known
//! to be a dead owner's.

pub mod audit;
mod cells;
pub mod copies;
mod feeds;
mod files;
mod group;
mod head;
mod holds;
mod open;
mod outbox;
mod read;
mod sessions;
mod slots;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use uuid::Uuid;

use self::group::{Order, Writer};
use self::open::Place;
use super::common::{created_session, created_webhook};
use super::files::{Batch, File};
use super::journal::Summed;
use super::write::Write;
use super::{
    ClientSession, Commit, Counts, Delivery, DeliveryClaim, Due, DueQuery, Error, Event,
    EventQuery, Feed, Grant, Head, JournalRow, ListQuery, Loaded, SessionChange, SessionQuery,
    Settled, Slot, StandingHold, Store, Verb, Webhook,
};
use crate::core::announce::EventType;
use crate::core::effect::{Class, Lane};
use crate::core::hold::{HoldReason, HoldScope};
use crate::core::ids::{AcsSystemId, IdentityId, Timestamp};
use crate::core::index::{Kind, Row};
use crate::core::stock::Stock;

pub use super::{Options, Threads};

/// Lists must not keep the queue's queries waiting.
const READERS: usize = 2;

/// The store. Clones are handles on the same database; with the last one dropped, the thread has ended
/// and the file is closed and free for the next.
#[derive(Clone)]
pub struct Sqlite {
    database: Arc<Database>,
    /// Number of the opening that this handle belongs to; its claims bear it.
    opening: i64,
}

struct Database {
    access: Access,
    transactions: Arc<AtomicU64>,
    /// Dropped last: nobody else gets in before the connections are closed.
    place: Option<Place>,
}

enum Access {
    Background {
        // Before the writer, so that the writer closes last and leaves no log behind.
        readers: Box<[Mutex<Connection>]>,
        next: AtomicUsize,
        writer: Writer,
    },
    Caller(Mutex<Connection>),
}

impl Sqlite {
    /// Opens the database at `path`, and makes it (mode 0600) where there is none; its directory must
    /// exist. Refused with [`Error::InUse`] while somebody else has it open, and with [`Error::Newer`]
    /// where a newer version wrote it.
    pub fn open(path: &Path, options: Options) -> Result<Self, Error> {
        let place = Place::take(path)?;
        let writer = place.writer()?;
        let opening = open::next_opening(&writer)?;
        let transactions = Arc::default();
        let access = match options.threads {
            Threads::Caller => Access::Caller(Mutex::new(writer)),
            Threads::Background => Access::Background {
                readers: (0..READERS)
                    .map(|_| place.reader().map(Mutex::new))
                    .collect::<Result<_, _>>()?,
                next: AtomicUsize::new(0),
                writer: Writer::spawn(writer, Arc::clone(&transactions))?,
            },
        };
        Ok(Self {
            database: Arc::new(Database {
                access,
                transactions,
                place: Some(place),
            }),
            opening,
        })
    }

    /// A database without a file, on the caller's thread; it lives as long as its handles.
    pub fn in_memory() -> Result<Self, Error> {
        let conn = open::in_memory()?;
        let opening = open::next_opening(&conn)?;
        Ok(Self {
            database: Arc::new(Database {
                access: Access::Caller(Mutex::new(conn)),
                transactions: Arc::default(),
                place: None,
            }),
            opening,
        })
    }

    /// The same database as the next daemon would find it after this one's death: all claims are a dead
    /// owner's. For simulations with [`Threads::Caller`]; the handles of the dead must be gone.
    pub fn reopened(&self) -> Result<Self, Error> {
        let opening = match &self.database.access {
            Access::Caller(conn) => open::next_opening(&lock(conn))?,
            Access::Background { .. } => {
                return Err(Error::Database(
                    "a store with threads is reopened by opening its file".into(),
                ));
            }
        };
        Ok(Self {
            database: Arc::clone(&self.database),
            opening,
        })
    }

    /// The last owner did not get to close the database: [`Store::check`] is due.
    pub fn crashed(&self) -> bool {
        let place = self.database.place.as_ref();
        place.is_some_and(|place| place.crashed)
    }

    /// How many transactions wrote since the database was opened; with many callers, fewer than commits.
    pub fn transactions(&self) -> u64 {
        self.database.transactions.load(Ordering::Relaxed)
    }

    async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        if let Access::Caller(conn) = &self.database.access {
            return work(&lock(conn));
        }
        let database = Arc::clone(&self.database);
        tokio::task::spawn_blocking(move || work(&database.reader()))
            .await
            .map_err(|error| Error::Database(Box::new(error)))?
    }

    /// What takes long, on a connection of its own: the readers have other work to do.
    async fn read_apart<T>(&self, work: fn(&Connection) -> Result<T, Error>) -> Result<T, Error>
    where
        T: Send + 'static,
    {
        let Some(place) = &self.database.place else {
            return self.read(work).await;
        };
        let conn = place.reader()?;
        match &self.database.access {
            Access::Caller(_) => work(&conn),
            Access::Background { .. } => tokio::task::spawn_blocking(move || work(&conn))
                .await
                .map_err(|error| Error::Database(Box::new(error)))?,
        }
    }

    async fn write(&self, write: Write) -> Result<(), Error> {
        let order = Order {
            write,
            opening: self.opening,
        };
        match &self.database.access {
            Access::Caller(conn) => {
                self.database.transactions.fetch_add(1, Ordering::Relaxed);
                let results = group::carry_out(&lock(conn), &[order]);
                results.into_iter().collect()
            }
            Access::Background { writer, .. } => writer
                .send(order)
                .await
                .unwrap_or_else(|error| Err(Error::Database(Box::new(error)))),
        }
    }
}

impl Database {
    fn reader(&self) -> MutexGuard<'_, Connection> {
        match &self.access {
            Access::Caller(conn) => lock(conn),
            Access::Background { readers, next, .. } => readers
                .iter()
                .find_map(|reader| reader.try_lock().ok())
                .unwrap_or_else(|| {
                    lock(&readers[next.fetch_add(1, Ordering::Relaxed) % readers.len()])
                }),
        }
    }
}

/// A panic elsewhere left no half transaction: it was undone on the way up.
fn lock(conn: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    conn.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

impl Store for Sqlite {
    fn load(&self, id: IdentityId) -> Verb<'_, Option<Loaded>> {
        Box::pin(self.read(move |conn| read::load(conn, id)))
    }

    fn commit(&self, commit: Commit) -> Verb<'_, ()> {
        self.commit_all(vec![commit])
    }

    fn commit_all(&self, commits: Vec<Commit>) -> Verb<'_, ()> {
        Box::pin(self.write(Write::Commit { commits }))
    }

    fn due(&self, query: DueQuery) -> Verb<'_, Vec<Due>> {
        Box::pin(self.read(move |conn| read::due(conn, query)))
    }

    fn agenda(&self, manager: Option<AcsSystemId>) -> Verb<'_, BTreeMap<Class, Timestamp>> {
        Box::pin(self.read(move |conn| read::agenda(conn, manager)))
    }

    fn find(&self, kind: Kind, id: String) -> Verb<'_, Option<IdentityId>> {
        Box::pin(self.read(move |conn| read::find(conn, kind, &id)))
    }

    fn list(&self, query: ListQuery) -> Verb<'_, Vec<(Row, Loaded)>> {
        Box::pin(self.read(move |conn| read::list(conn, &query)))
    }

    fn abandoned(&self, now: Timestamp) -> Verb<'_, Vec<(IdentityId, Uuid)>> {
        let opening = self.opening;
        Box::pin(self.read(move |conn| read::abandoned(conn, opening, now)))
    }

    fn take_slots(&self, slots: Vec<Slot>, answered: Vec<(Uuid, Timestamp)>) -> Verb<'_, Grant> {
        Box::pin(async move {
            match self.write(Write::TakeSlots { slots, answered }).await {
                Ok(()) => Ok(Grant::Taken),
                Err(Error::WindowFull { not_before, .. }) => Ok(Grant::NotBefore(not_before)),
                Err(error) => Err(error),
            }
        })
    }

    fn window_epoch(&self, boot: Uuid, epoch: i64, now: Timestamp) -> Verb<'_, i64> {
        Box::pin(async move {
            self.write(Write::WindowEpoch { boot, epoch, now }).await?;
            self.read(move |conn| slots::epoch(conn, boot)).await
        })
    }

    fn slots(&self, key: String, now: Timestamp) -> Verb<'_, Vec<Timestamp>> {
        Box::pin(self.read(move |conn| slots::counting(conn, &key, now)))
    }

    fn load_stock(&self, manager: AcsSystemId) -> Verb<'_, Option<Stock>> {
        Box::pin(self.read(move |conn| feeds::load_stock(conn, manager)))
    }

    fn save_stock(&self, manager: AcsSystemId, stock: Stock) -> Verb<'_, ()> {
        Box::pin(self.write(Write::SaveStock { manager, stock }))
    }

    fn claim_reading(&self, _: AcsSystemId, _: Timestamp, _: Timestamp) -> Verb<'_, bool> {
        Box::pin(async { Ok(true) })
    }

    fn note_batch(&self, batch: Batch) -> Verb<'_, ()> {
        Box::pin(self.write(Write::NoteBatch { batch }))
    }

    fn load_file(&self, file: Uuid) -> Verb<'_, Option<File>> {
        Box::pin(self.read(move |conn| files::load(conn, file)))
    }

    fn forget_file(&self, file: Uuid) -> Verb<'_, ()> {
        Box::pin(self.write(Write::ForgetFile { file }))
    }

    fn load_feed(&self, manager: AcsSystemId) -> Verb<'_, Option<Feed>> {
        Box::pin(self.read(move |conn| feeds::load(conn, manager)))
    }

    fn save_feed(
        &self,
        manager: AcsSystemId,
        feed: Feed,
        seen: Vec<(String, Timestamp)>,
        kept_since: Timestamp,
    ) -> Verb<'_, ()> {
        Box::pin(self.write(Write::SaveFeed {
            manager,
            feed,
            seen,
            kept_since,
        }))
    }

    fn seen_events(&self, manager: AcsSystemId, ids: Vec<String>) -> Verb<'_, BTreeSet<String>> {
        Box::pin(self.read(move |conn| feeds::seen(conn, manager, &ids)))
    }

    fn owed(&self, id: IdentityId) -> Verb<'_, BTreeMap<Lane, Timestamp>> {
        Box::pin(self.read(move |conn| read::owed(conn, id)))
    }

    fn queue(
        &self,
        manager: AcsSystemId,
        now: Timestamp,
    ) -> Verb<'_, BTreeMap<Class, Vec<Timestamp>>> {
        Box::pin(self.read(move |conn| read::queue(conn, manager, now)))
    }

    fn oldest_owed(&self, system: AcsSystemId, class: Class) -> Verb<'_, Option<Due>> {
        Box::pin(self.read(move |conn| read::oldest_owed(conn, system, class)))
    }

    fn check(&self) -> Verb<'_, ()> {
        Box::pin(self.read_apart(open::check))
    }

    fn heads(&self) -> Verb<'_, Summed> {
        Box::pin(self.read_apart(audit::heads_of))
    }

    fn journal(&self, id: IdentityId) -> Verb<'_, Vec<JournalRow>> {
        Box::pin(self.read(move |conn| read::journal(conn, id)))
    }

    fn events(&self, query: EventQuery) -> Verb<'_, Vec<Event>> {
        Box::pin(self.read(move |conn| outbox::events(conn, &query)))
    }

    fn prune(&self, before: Timestamp) -> Verb<'_, ()> {
        Box::pin(self.write(Write::Prune { before }))
    }

    fn create_webhook(&self, webhook: Webhook, since: Timestamp) -> Verb<'_, Webhook> {
        Box::pin(async move {
            let wanted = webhook.clone();
            self.write(Write::CreateWebhook { webhook, since }).await?;
            created_webhook(self, &wanted).await
        })
    }

    fn webhooks(&self) -> Verb<'_, Vec<Webhook>> {
        Box::pin(self.read(outbox::webhooks))
    }

    fn update_webhook(&self, id: Uuid, event_types: Option<BTreeSet<EventType>>) -> Verb<'_, ()> {
        Box::pin(self.write(Write::UpdateWebhook { id, event_types }))
    }

    fn delete_webhook(&self, id: Uuid) -> Verb<'_, ()> {
        Box::pin(self.write(Write::DeleteWebhook { id }))
    }

    fn claim_deliveries(&self, claim: DeliveryClaim) -> Verb<'_, Vec<Delivery>> {
        Box::pin(async move {
            self.write(Write::ClaimDeliveries { claim }).await?;
            self.read(move |conn| outbox::claimed(conn, claim.token))
                .await
        })
    }

    fn next_delivery(&self, now: Timestamp) -> Verb<'_, Option<Timestamp>> {
        let opening = self.opening;
        Box::pin(self.read(move |conn| outbox::next(conn, opening, now)))
    }

    fn settle_delivery(&self, settled: Settled) -> Verb<'_, ()> {
        Box::pin(self.write(Write::SettleDelivery { settled }))
    }

    fn create_client_session(&self, session: ClientSession) -> Verb<'_, ClientSession> {
        Box::pin(async move {
            let wanted = session.clone();
            self.write(Write::CreateSession { session }).await?;
            created_session(self, &wanted).await
        })
    }

    fn client_sessions(&self, query: SessionQuery) -> Verb<'_, Vec<ClientSession>> {
        Box::pin(self.read(move |conn| sessions::sessions(conn, &query)))
    }

    fn change_client_session(&self, id: Uuid, change: SessionChange) -> Verb<'_, ()> {
        Box::pin(self.write(Write::ChangeSession { id, change }))
    }

    fn delete_client_session(&self, id: Uuid, now: Timestamp) -> Verb<'_, ()> {
        Box::pin(self.write(Write::DeleteSession { id, now }))
    }

    fn hold(&self, hold: StandingHold) -> Verb<'_, ()> {
        Box::pin(self.write(Write::Hold { hold }))
    }

    fn release(&self, scope: HoldScope, reasons: Vec<HoldReason>) -> Verb<'_, ()> {
        Box::pin(self.write(Write::Release { scope, reasons }))
    }

    fn holds(&self) -> Verb<'_, Vec<StandingHold>> {
        Box::pin(self.read(holds::all))
    }

    fn head(&self) -> Verb<'_, Head> {
        Box::pin(self.read(head::get))
    }

    fn regress(&self, at: Option<Timestamp>, cause: String) -> Verb<'_, ()> {
        Box::pin(self.write(Write::Regress { at, cause }))
    }

    fn counts(&self) -> Verb<'_, Counts> {
        Box::pin(self.read(read::counts))
    }

    fn ping(&self) -> Verb<'_, ()> {
        Box::pin(self.read(read::ping))
    }
}
