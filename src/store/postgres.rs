//! The store on a `PostgreSQL` database.
//!
//! Imports core and the store's own words. Promises: a write that was answered is on disk (`synchronous_commit = on`); a
//! verb whose future is dropped goes on to its end, as one transaction; what several daemons do at once is as if done one
//! after the other, by locks that each transaction takes (`locks`), and one that was in another's way is tried again. A claim is abandoned when its
//! lease is over: nobody knows which daemon is dead.

pub mod audit;
mod cells;
mod common_time;
pub mod copy;
mod feeds;
mod files;
mod group;
mod head;
mod history;
mod holds;
mod locks;
mod member;
mod news;
mod open;
mod outbox;
mod read;
mod readers;
mod sessions;
mod slots;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::mpsc::channel;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::{Connection as _, PgPool};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use uuid::Uuid;

pub use self::common_time::{APART, CommonTime, HostTime, Offsets};
use self::history::History;
pub use self::history::Over;
use self::member::{Lost, Member};
pub use self::news::{Listener, News};
pub use self::open::{Client, Host, Settings, Tls};
use super::common::{created_session, created_webhook};
use super::files::{Batch, File};
use super::journal::Summed;
use super::write::Write;
use super::{
    ClientSession, Commit, Counts, Delivery, DeliveryClaim, Due, DueQuery, Error, Event,
    EventQuery, Feed, Grant, Head, JournalRow, ListQuery, Loaded, Options, SessionChange,
    SessionQuery, Settled, Slot, StandingHold, Store, Threads, Verb, Webhook,
};
use crate::core::announce::EventType;
use crate::core::effect::{Class, Lane};
use crate::core::hold::{HoldReason, HoldScope};
use crate::core::ids::{AcsSystemId, IdentityId, Timestamp};
use crate::core::index::{Kind, Row};
use crate::core::stock::Stock;

/// A verb that takes longer has failed: the way to the database may be cut without a word.
const LONGEST: Duration = Duration::from_secs(20);
/// The same for one that reads everything.
const UNHURRIED: Duration = Duration::from_hours(1);

/// The store. Clones are handles on the same connections.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    pool: RwLock<Pool>,
    /// Where verbs run that their caller waits for without letting go of its thread.
    elsewhere: Option<Runtime>,
    /// What makes it one of the database's daemons; `None`: it is none.
    member: Option<Member>,
    /// Names the daemon.
    daemon: Uuid,
    history: Arc<History>,
    settings: Settings,
}

/// The connections, and since when they are these.
struct Pool {
    connections: PgPool,
    since: Instant,
}

impl Pool {
    fn of(connections: PgPool) -> RwLock<Self> {
        RwLock::new(Self {
            connections,
            since: Instant::now(),
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.elsewhere.take() {
            runtime.shutdown_background();
        }
    }
}

impl Postgres {
    /// Opens the database, and makes the schema where there is none. Refused with [`Error::Newer`] where a newer version
    /// wrote it.
    pub async fn open(settings: &Settings, options: Options) -> Result<Self, Error> {
        let history = Arc::new(History::new(false));
        let (pool, elsewhere) = match options.threads {
            Threads::Background => (open::pool(settings, None, &history).await?, None),
            Threads::Caller => {
                let runtime = Builder::new_multi_thread()
                    .worker_threads(1)
                    .thread_name("store")
                    .enable_all()
                    .build()
                    .map_err(|error| Error::Database(Box::new(error)))?;
                let (settings, history) = (settings.clone(), Arc::clone(&history));
                let pool = wait(&runtime, async move {
                    open::pool(&settings, Some(1), &history).await
                });
                match pool {
                    Ok(pool) => (pool, Some(runtime)),
                    Err(error) => {
                        runtime.shutdown_background();
                        return Err(error);
                    }
                }
            }
        };
        Ok(Self(Arc::new(Inner {
            pool: Pool::of(pool),
            elsewhere,
            member: None,
            daemon: Uuid::new_v4(),
            history,
            settings: settings.clone(),
        })))
    }

    /// The same for a daemon, with all its threads, one of several. Takes 20 seconds where another server took
    /// over. Refused with [`Error::InUse`] while somebody has the database alone.
    pub async fn join(settings: &Settings) -> Result<Self, Error> {
        let history = Arc::new(History::new(true));
        let member = Member::join(settings, &history).await?;
        Ok(Self(Arc::new(Inner {
            pool: Pool::of(open::pool(settings, None, &history).await?),
            elsewhere: None,
            member: Some(member),
            daemon: Uuid::new_v4(),
            history,
            settings: settings.clone(),
        })))
    }

    /// Waits until the database is not to be used any more. From then on every verb is refused.
    pub async fn over(&self) -> Over {
        self.0.history.over().await
    }

    /// Marks it as [`Store::regress`] does, for whoever opens it next.
    pub async fn mark_regressed(&self, at: Timestamp, cause: &str) -> Result<(), Error> {
        let marked = tokio::time::timeout(LONGEST, async {
            let mut conn = open::connect(&self.0.settings).await?;
            let mut transaction = conn.begin().await?;
            head::regress(&mut transaction, Some(at), cause).await?;
            head::count(&mut transaction).await?;
            Ok(transaction.commit().await?)
        });
        marked.await.unwrap_or_else(late)
    }

    /// Whether it still is what it was, and what other daemons found out about it. Refused where verbs are.
    async fn look(&self) -> Result<(), Error> {
        let (pool, history) = (self.pool(), Arc::clone(&self.0.history));
        let looked = self.ask(async move {
            let mut conn = pool.acquire().await?;
            Ok(history.compare(&mut conn).await?)
        });
        looked.await
    }

    /// The same database as the next daemon would find it after this one's death: its claims are there until their
    /// leases are over. For simulations.
    #[must_use]
    pub fn reopened(&self) -> Self {
        self.clone()
    }

    /// What is asked of the database, within the time that a verb has.
    fn ask<T, F>(&self, work: F) -> Verb<'_, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.ask_within(LONGEST, work)
    }

    /// It goes on to its end, though nobody may wait for it any more: a transaction that is dropped while it begins would
    /// be left open on a connection that others use.
    fn ask_within<T, F>(&self, limit: Duration, work: F) -> Verb<'_, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        Box::pin(async move {
            self.0.history.check()?;
            if let Some(member) = &self.0.member {
                member.check()?;
            }
            match &self.0.elsewhere {
                None => {
                    let result = match tokio::time::timeout(limit, tokio::spawn(work)).await {
                        Ok(Ok(result)) => result,
                        Ok(Err(error)) => Err(Error::Database(Box::new(error))),
                        Err(elapsed) => late(elapsed),
                    };
                    if result.as_ref().is_err_and(never_came) {
                        self.start_over();
                    }
                    result
                }
                Some(runtime) => wait(runtime, work),
            }
        })
    }

    fn pool(&self) -> PgPool {
        let pool = self.0.pool.read().unwrap_or_else(PoisonError::into_inner);
        pool.connections.clone()
    }

    /// Other connections from now on. A server that was lost without a word never ends the ones that wait for its answer,
    /// whoever has its address by now; those of one that is only slow end with what they are at.
    fn start_over(&self) {
        let mut pool = self.0.pool.write().unwrap_or_else(PoisonError::into_inner);
        if pool.since.elapsed() >= LONGEST {
            let (settings, history) = (&self.0.settings, &self.0.history);
            pool.since = Instant::now();
            let new = open::connections_to(settings, None, history);
            let old = std::mem::replace(&mut pool.connections, new);
            tokio::spawn(async move { old.close().await });
        }
    }

    fn write(&self, write: Write) -> Verb<'_, ()> {
        self.ask(group::carry_out(
            self.pool(),
            Arc::clone(&self.0.history),
            write,
        ))
    }
}

/// No answer, or no connection that somebody else had not waited on for too long.
fn never_came(error: &Error) -> bool {
    let Error::Database(source) = error else {
        return false;
    };
    let failed = source.downcast_ref().map(|Failed(error)| error);
    source.is::<Elapsed>() || matches!(failed, Some(sqlx::Error::PoolTimedOut))
}

fn late<T>(elapsed: Elapsed) -> Result<T, Error> {
    Err(Error::Database(Box::new(elapsed)))
}

/// Has it done on another thread, and this one wait.
fn wait<T, F>(runtime: &Runtime, work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let (answer, answered) = channel();
    runtime.spawn(async move {
        // Whoever is gone is not told.
        answer.send(work.await).ok();
    });
    answered
        .recv()
        .unwrap_or_else(|error| Err(Error::Database(Box::new(error))))
}

/// Brings the schema of the database up to date; returns its versions before and after. Refused with [`Error::InUse`]
/// while a daemon runs.
pub async fn migrate(settings: &Settings) -> Result<(i64, i64), Error> {
    let mut conn = open::connect(settings).await?;
    let mut transaction = conn.begin().await?;
    member::keep_off(&mut transaction).await?;
    let versions = open::migrate(&mut transaction).await?;
    transaction.commit().await?;
    Ok(versions)
}

/// The version of the database's schema; 0: it is empty. Refused where it is another program's or a newer version's.
pub async fn version(settings: &Settings) -> Result<i64, Error> {
    open::version(&mut open::connect(settings).await?).await
}

/// Nobody answers, or not in time, or says to come again: a database that is away or slow, and not one that refuses us.
#[must_use]
pub fn is_away(error: &Error) -> bool {
    /// It starts or stops, took too long, has no connection left, was lost on the way, or cannot be written to.
    const AWAY: [&str; 6] = ["57P", "57014", "55P03", "53", "08", "25006"];
    let Error::Database(source) = error else {
        return false;
    };
    if source.is::<Elapsed>() || source.is::<Lost>() {
        return true;
    }
    match source.downcast_ref().map(|Failed(error)| error) {
        Some(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) => true,
        Some(sqlx::Error::Database(refused)) => {
            let code = refused.code().unwrap_or_default();
            AWAY.iter().any(|class| code.starts_with(class))
        }
        Some(_) | None => false,
    }
}

/// What the database or the way to it said, in one text: the causes of these errors only say it again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(sqlx::Error);

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Box::new(Failed(error)))
    }
}

impl Store for Postgres {
    fn load(&self, id: IdentityId) -> Verb<'_, Option<Loaded>> {
        self.ask(read::load(self.pool(), id))
    }

    fn commit(&self, commit: Commit) -> Verb<'_, ()> {
        self.commit_all(vec![commit])
    }

    fn commit_all(&self, commits: Vec<Commit>) -> Verb<'_, ()> {
        self.write(Write::Commit { commits })
    }

    fn due(&self, query: DueQuery) -> Verb<'_, Vec<Due>> {
        self.ask(read::due(self.pool(), query))
    }

    fn agenda(&self, manager: Option<AcsSystemId>) -> Verb<'_, BTreeMap<Class, Timestamp>> {
        self.ask(read::agenda(self.pool(), manager))
    }

    fn find(&self, kind: Kind, id: String) -> Verb<'_, Option<IdentityId>> {
        self.ask(read::find(self.pool(), kind, id))
    }

    fn list(&self, query: ListQuery) -> Verb<'_, Vec<(Row, Loaded)>> {
        self.ask(read::list(self.pool(), query))
    }

    fn abandoned(&self, now: Timestamp) -> Verb<'_, Vec<(IdentityId, Uuid)>> {
        self.ask(read::abandoned(self.pool(), now))
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
            self.ask(slots::epoch(self.pool(), boot)).await
        })
    }

    fn slots(&self, key: String, now: Timestamp) -> Verb<'_, Vec<Timestamp>> {
        self.ask(slots::counting(self.pool(), key, now))
    }

    fn load_stock(&self, manager: AcsSystemId) -> Verb<'_, Option<Stock>> {
        self.ask(feeds::load_stock(self.pool(), manager))
    }

    fn save_stock(&self, manager: AcsSystemId, stock: Stock) -> Verb<'_, ()> {
        self.write(Write::SaveStock { manager, stock })
    }

    fn claim_reading(
        &self,
        manager: AcsSystemId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Verb<'_, bool> {
        let daemon = self.0.daemon;
        self.ask(readers::claim(
            self.pool(),
            manager,
            daemon,
            now,
            lease_until,
        ))
    }

    fn note_batch(&self, batch: Batch) -> Verb<'_, ()> {
        self.write(Write::NoteBatch { batch })
    }

    fn load_file(&self, file: Uuid) -> Verb<'_, Option<File>> {
        self.ask(files::load(self.pool(), file))
    }

    fn forget_file(&self, file: Uuid) -> Verb<'_, ()> {
        self.write(Write::ForgetFile { file })
    }

    fn load_feed(&self, manager: AcsSystemId) -> Verb<'_, Option<Feed>> {
        self.ask(feeds::load(self.pool(), manager))
    }

    fn save_feed(
        &self,
        manager: AcsSystemId,
        feed: Feed,
        seen: Vec<(String, Timestamp)>,
        kept_since: Timestamp,
    ) -> Verb<'_, ()> {
        self.write(Write::SaveFeed {
            manager,
            feed,
            seen,
            kept_since,
        })
    }

    fn seen_events(&self, manager: AcsSystemId, ids: Vec<String>) -> Verb<'_, BTreeSet<String>> {
        self.ask(feeds::seen(self.pool(), manager, ids))
    }

    fn owed(&self, id: IdentityId) -> Verb<'_, BTreeMap<Lane, Timestamp>> {
        self.ask(read::owed(self.pool(), id))
    }

    fn queue(
        &self,
        manager: AcsSystemId,
        now: Timestamp,
    ) -> Verb<'_, BTreeMap<Class, Vec<Timestamp>>> {
        self.ask(read::queue(self.pool(), manager, now))
    }

    fn oldest_owed(&self, system: AcsSystemId, class: Class) -> Verb<'_, Option<Due>> {
        self.ask(read::oldest_owed(self.pool(), system, class))
    }

    fn check(&self) -> Verb<'_, ()> {
        self.ask_within(UNHURRIED, audit::check(self.pool()))
    }

    fn heads(&self) -> Verb<'_, Summed> {
        self.ask_within(UNHURRIED, audit::heads(self.pool()))
    }

    fn journal(&self, id: IdentityId) -> Verb<'_, Vec<JournalRow>> {
        self.ask(read::journal(self.pool(), id))
    }

    fn events(&self, query: EventQuery) -> Verb<'_, Vec<Event>> {
        self.ask(outbox::events(self.pool(), query))
    }

    fn prune(&self, before: Timestamp) -> Verb<'_, ()> {
        self.write(Write::Prune { before })
    }

    fn create_webhook(&self, webhook: Webhook, since: Timestamp) -> Verb<'_, Webhook> {
        Box::pin(async move {
            let wanted = webhook.clone();
            self.write(Write::CreateWebhook { webhook, since }).await?;
            created_webhook(self, &wanted).await
        })
    }

    fn webhooks(&self) -> Verb<'_, Vec<Webhook>> {
        self.ask(outbox::webhooks(self.pool()))
    }

    fn update_webhook(&self, id: Uuid, event_types: Option<BTreeSet<EventType>>) -> Verb<'_, ()> {
        self.write(Write::UpdateWebhook { id, event_types })
    }

    fn delete_webhook(&self, id: Uuid) -> Verb<'_, ()> {
        self.write(Write::DeleteWebhook { id })
    }

    fn claim_deliveries(&self, claim: DeliveryClaim) -> Verb<'_, Vec<Delivery>> {
        Box::pin(async move {
            self.write(Write::ClaimDeliveries { claim }).await?;
            self.ask(outbox::claimed(self.pool(), claim.token)).await
        })
    }

    fn next_delivery(&self, now: Timestamp) -> Verb<'_, Option<Timestamp>> {
        self.ask(outbox::next(self.pool(), now))
    }

    fn settle_delivery(&self, settled: Settled) -> Verb<'_, ()> {
        self.write(Write::SettleDelivery { settled })
    }

    fn create_client_session(&self, session: ClientSession) -> Verb<'_, ClientSession> {
        Box::pin(async move {
            let wanted = session.clone();
            self.write(Write::CreateSession { session }).await?;
            created_session(self, &wanted).await
        })
    }

    fn client_sessions(&self, query: SessionQuery) -> Verb<'_, Vec<ClientSession>> {
        self.ask(sessions::sessions(self.pool(), query))
    }

    fn change_client_session(&self, id: Uuid, change: SessionChange) -> Verb<'_, ()> {
        self.write(Write::ChangeSession { id, change })
    }

    fn delete_client_session(&self, id: Uuid, now: Timestamp) -> Verb<'_, ()> {
        self.write(Write::DeleteSession { id, now })
    }

    fn hold(&self, hold: StandingHold) -> Verb<'_, ()> {
        self.write(Write::Hold { hold })
    }

    fn release(&self, scope: HoldScope, reasons: Vec<HoldReason>) -> Verb<'_, ()> {
        self.write(Write::Release { scope, reasons })
    }

    fn holds(&self) -> Verb<'_, Vec<StandingHold>> {
        self.ask(holds::all(self.pool()))
    }

    fn head(&self) -> Verb<'_, Head> {
        self.ask(head::get(self.pool()))
    }

    fn regress(&self, at: Option<Timestamp>, cause: String) -> Verb<'_, ()> {
        Box::pin(async move {
            // First known, then done: whoever finds the mark before that takes it for another daemon's.
            if let Some(at) = at {
                self.0.history.note_mark(Some(at.0));
            }
            self.write(Write::Regress { at, cause }).await?;
            self.0.history.note_mark(at.map(|at| at.0));
            Ok(())
        })
    }

    fn counts(&self) -> Verb<'_, Counts> {
        self.ask(read::counts(self.pool()))
    }

    fn ping(&self) -> Verb<'_, ()> {
        self.ask(read::ping(self.pool()))
    }
}
