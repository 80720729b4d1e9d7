//! All that is durable, in verbs: each is one short transaction and hands none out.
//!
//! Imports core only. Promises: what a verb acknowledged is on disk; a stale revision is refused; `now`
//! is always bound, never asked of the database. [`sqlite`] and [`postgres`] are equals: nothing here names a dialect,
//! and what is not a question to a database is written once for both.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::core::announce::EventType;
use crate::core::change::Change;
use crate::core::effect::{Class, Lane, Owed};
use crate::core::hold::{HoldReason, HoldScope};
use crate::core::identity::Identity;
use crate::core::ids::{AcsSystemId, IdentityId, Timestamp};
use crate::core::index::{Kind, Row};
use crate::core::stock::Stock;

mod common;
pub mod files;
pub mod head;
pub mod journal;
mod outbox;
pub mod postgres;
mod session;
pub mod sqlite;
mod write;

pub use outbox::{Delivery, DeliveryClaim, Event, EventQuery, NewEvent, Outcome, Settled, Webhook};
pub use session::{ClientSession, SessionChange, SessionQuery};

/// How a store runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Where the work is done.
    pub threads: Threads,
}

/// Where a store's work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// Beside the caller: `SQLite` writes on one thread of its own, which puts all that wait into one transaction, and
    /// reads on tokio's blocking threads; `PostgreSQL` is asked on several connections at once. For the daemon. Not for
    /// a paused clock, which does not wait for it.
    #[default]
    Background,
    /// At once, while the thread that polls stands still: the order of things is the order of calls, and a paused
    /// clock stands still meanwhile. For simulations and for commands that do one thing.
    Caller,
}

/// What a verb returns.
pub type Verb<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// The durable state of a workspace. A verb whose future is dropped is carried out whole or not at all.
pub trait Store: Send + Sync {
    /// The identity as last committed.
    fn load(&self, id: IdentityId) -> Verb<'_, Option<Loaded>>;

    /// Identity, owed effects, index, journal, claim and window slots in one transaction, durable when this returns.
    /// What is looked at in turn, and refuses the whole: revision, claim, windows, index rows. Client sessions of
    /// an identity that is gone or being deleted end with it, and are told of.
    fn commit(&self, commit: Commit) -> Verb<'_, ()>;

    /// As [`Store::commit`] for several identities: in this order, all of them or none.
    fn commit_all(&self, commits: Vec<Commit>) -> Verb<'_, ()>;

    /// What is owed and due, who waits in line longest first; identities with a claim are left out, and so is what a
    /// hold keeps back ([`Store::hold`]).
    fn due(&self, query: DueQuery) -> Verb<'_, Vec<Due>>;

    /// When the next effect of each class will be due, claimed identities and what a hold keeps back
    /// left out; a class that owes nothing is missing.
    fn agenda(&self, manager: Option<AcsSystemId>) -> Verb<'_, BTreeMap<Class, Timestamp>>;

    /// Whose row this is.
    fn find(&self, kind: Kind, id: String) -> Verb<'_, Option<IdentityId>>;

    /// Rows with their identities, newest first, ties by id; after `query.after`.
    fn list(&self, query: ListQuery) -> Verb<'_, Vec<(Row, Loaded)>>;

    /// Claims, by whom they are on and their tokens, whose owner is dead or too late: all of them when the store is opened by its
    /// only user, else those past their lease.
    fn abandoned(&self, now: Timestamp) -> Verb<'_, Vec<(IdentityId, Uuid)>>;

    /// Takes all of `slots`, each a place in every one of its windows for a call that belongs to no identity, or none and
    /// says when the first that is refused may have one. Each of `answered`, an earlier slot whose call had its answer,
    /// counts until the time given from now on, unless the new ones are refused; a slot that no longer counts stays gone.
    fn take_slots(&self, slots: Vec<Slot>, answered: Vec<(Uuid, Timestamp)>) -> Verb<'_, Grant>;

    /// What is added to the time since boot to have the time by which windows are counted, in milliseconds. It is
    /// `epoch` where `boot` was never told before, and stays as it was then; a slot taken later than `now` by the time of
    /// an earlier boot counts from `now` on for as long as it would have then.
    fn window_epoch(&self, boot: Uuid, epoch: i64, now: Timestamp) -> Verb<'_, i64>;

    /// Until when each slot of a window counts, the first to be free first.
    fn slots(&self, key: String, now: Timestamp) -> Verb<'_, Vec<Timestamp>>;

    /// What is left of a manager's part numbers, as last saved.
    fn load_stock(&self, manager: AcsSystemId) -> Verb<'_, Option<Stock>>;

    /// Saves what is left of a manager's part numbers.
    fn save_stock(&self, manager: AcsSystemId, stock: Stock) -> Verb<'_, ()>;

    /// Has this daemon read a manager's feed and stock until `lease_until`, unless another one does at `now`; whether it
    /// does. A store of one daemon's has nobody else.
    fn claim_reading(
        &self,
        manager: AcsSystemId,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Verb<'_, bool>;

    /// Remembers a batch of a file, and forgets files of which nothing was heard for [`files::FORGOTTEN`].
    fn note_batch(&self, batch: files::Batch) -> Verb<'_, ()>;

    /// All that was noted of a file, whoever noted it.
    fn load_file(&self, file: Uuid) -> Verb<'_, Option<files::File>>;

    /// Forgets a file.
    fn forget_file(&self, file: Uuid) -> Verb<'_, ()>;

    /// Where a feed's reading stands.
    fn load_feed(&self, manager: AcsSystemId) -> Verb<'_, Option<Feed>>;

    /// Remembers it, with the events seen since (id and time), and forgets those seen that are older than `kept_since`.
    fn save_feed(
        &self,
        manager: AcsSystemId,
        feed: Feed,
        seen: Vec<(String, Timestamp)>,
        kept_since: Timestamp,
    ) -> Verb<'_, ()>;

    /// Which of these events were seen.
    fn seen_events(&self, manager: AcsSystemId, ids: Vec<String>) -> Verb<'_, BTreeSet<String>>;

    /// Since when what an identity owes and is due waits in line, or when it will be due.
    fn owed(&self, id: IdentityId) -> Verb<'_, BTreeMap<Lane, Timestamp>>;

    /// When all that a manager owes and is due was due, earliest first, by class; identities with a claim are left out.
    fn queue(
        &self,
        manager: AcsSystemId,
        now: Timestamp,
    ) -> Verb<'_, BTreeMap<Class, Vec<Timestamp>>>;

    /// What of a class has been owed longest to a credential manager or an access system: due, put off or under way.
    /// Told of withdrawals, removals and imports alone.
    fn oldest_owed(&self, system: AcsSystemId, class: Class) -> Verb<'_, Option<Due>>;

    /// Looks through the whole file for damage; may take minutes, and keeps nobody waiting.
    fn check(&self) -> Verb<'_, ()>;

    /// An identity's journal, oldest first.
    fn journal(&self, id: IdentityId) -> Verb<'_, Vec<JournalRow>>;

    /// The ends of all journals of one moment in one hash. Costs a seek for each identity that ever was.
    fn heads(&self) -> Verb<'_, journal::Summed>;

    /// Events, newest first unless asked otherwise.
    fn events(&self, query: EventQuery) -> Verb<'_, Vec<Event>>;

    /// Forgets events kept before then, with what they still owe, and client sessions that expired before then; some at a time.
    fn prune(&self, before: Timestamp) -> Verb<'_, ()>;

    /// Makes a webhook, or finds the enabled one that was made for the same address and types since `since`.
    fn create_webhook(&self, webhook: Webhook, since: Timestamp) -> Verb<'_, Webhook>;

    /// Every webhook, oldest first.
    fn webhooks(&self) -> Verb<'_, Vec<Webhook>>;

    /// Changes what a webhook is told of, and enables it again; `None`: of everything. An unknown one stays unknown.
    fn update_webhook(&self, id: Uuid, event_types: Option<BTreeSet<EventType>>) -> Verb<'_, ()>;

    /// Forgets a webhook with all that it is owed.
    fn delete_webhook(&self, id: Uuid) -> Verb<'_, ()>;

    /// Claims of every enabled webhook that has no delivery under way the one that has been due longest; ties in the order of events.
    fn claim_deliveries(&self, claim: DeliveryClaim) -> Verb<'_, Vec<Delivery>>;

    /// When something can be claimed next, by whom nothing is under way for.
    fn next_delivery(&self, now: Timestamp) -> Verb<'_, Option<Timestamp>>;

    /// Settles a claimed delivery; one whose claim was lost, or that is gone, changes nothing.
    fn settle_delivery(&self, settled: Settled) -> Verb<'_, ()>;

    /// Makes a client session, or finds the one of the same name that holds when it would be made.
    fn create_client_session(&self, session: ClientSession) -> Verb<'_, ClientSession>;

    /// Client sessions, newest first, ended ones included.
    fn client_sessions(&self, query: SessionQuery) -> Verb<'_, Vec<ClientSession>>;

    /// Grants or revokes a client session. An unknown one stays unknown.
    fn change_client_session(&self, id: Uuid, change: SessionChange) -> Verb<'_, ()>;

    /// Forgets a client session, and tells of it.
    fn delete_client_session(&self, id: Uuid, now: Timestamp) -> Verb<'_, ()>;

    /// Counts for heartbeat, status and metrics: owed effects by class, claims, and deliveries.
    fn counts(&self) -> Verb<'_, Counts>;

    /// Holds all of a scope, durable when this returns: from then on no claim is taken for what is held back there.
    /// One that stands already for the same reason stays as it is.
    fn hold(&self, hold: StandingHold) -> Verb<'_, ()>;

    /// Lets go of what is held in a scope for these reasons; all of it is in line as it was.
    fn release(&self, scope: HoldScope, reasons: Vec<HoldReason>) -> Verb<'_, ()>;

    /// Every hold but those on single identities, by scope and reason.
    fn holds(&self) -> Verb<'_, Vec<StandingHold>>;

    /// Which database this is, and how far it came.
    fn head(&self) -> Verb<'_, Head>;

    /// Marks the store as older than what was done before then, and holds everything as `state_regressed`; `None`: it
    /// has caught up.
    fn regress(&self, at: Option<Timestamp>, cause: String) -> Verb<'_, ()>;

    /// The database answers.
    fn ping(&self) -> Verb<'_, ()>;
}

/// An identity and how often it was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// As last committed.
    pub identity: Identity,
    /// Grows by one with each commit; starts at 1.
    pub revision: u64,
    /// The claim on it, if any.
    pub claim: Option<Claim>,
}

/// The right to carry out one call of an identity, for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Names the claim; a new one each time. Also names its window slots.
    pub token: Uuid,
    /// After that somebody else may take over: by the time of windows ([`Store::window_epoch`]), which no clock that is set moves.
    pub lease_until: Timestamp,
}

/// One identity's next state with all that goes with it.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The identity; `None` removes it with all that is owed and its index rows (its journal stays).
    pub identity: Option<Identity>,
    /// Which.
    pub id: IdentityId,
    /// The revision that it was computed from; 0 for a new one.
    pub expected: u64,
    /// All that is owed from now on; `None`: unchanged. What was due before it was owed waits in line since `now`, and
    /// keeps its place in the queue as long as the lane owes the same.
    pub owed: Option<BTreeMap<Lane, Owed>>,
    /// Index rows to take out.
    pub rows_removed: BTreeSet<Row>,
    /// Index rows to put in.
    pub rows_added: BTreeSet<Row>,
    /// What changed, for the journal.
    pub changes: Vec<Change>,
    /// What the outside is told, in this order: events with their deliveries.
    pub events: Vec<NewEvent>,
    /// Who caused it, for the journal: an observation's name or an API key's name; no personal data.
    pub cause: String,
    /// What happens to the claim.
    pub claim: ClaimChange,
    /// When.
    pub now: Timestamp,
}

/// What a commit does to the identity's claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimChange {
    /// Nothing.
    Keep,
    /// Takes it, with places in the windows; refused with [`Error::WindowFull`], where somebody has it with
    /// [`Error::Claimed`], and where a hold keeps the call back with [`Error::Held`].
    Take {
        /// The new claim.
        claim: Claim,
        /// The windows that the call counts in.
        slot: Slot,
    },
    /// Gives it back; refused with [`Error::ClaimLost`] unless `token` holds it. Its slots count until `frees_at` (`None`: not sent, they are given back).
    Release {
        /// Which.
        token: Uuid,
        /// When its places in the windows are free again.
        frees_at: Option<Timestamp>,
    },
    /// Drops a claim whose owner is dead or too late ([`Store::abandoned`] names them; the revision alone is checked); its slots go on counting as unanswered.
    Abandon,
}

/// Places in one or more windows (contract.md section 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Names the slot: the claim's token, or a fresh one. Never used twice.
    pub token: Uuid,
    /// Each must have room.
    pub windows: Vec<Window>,
    /// When, by the time of windows ([`Store::window_epoch`]); so are all times of slots.
    pub at: Timestamp,
    /// Until when it counts should no answer ever be noted.
    pub frees_at: Timestamp,
}

/// One window and how much of it this call may fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Service and organization, or service and host.
    pub key: String,
    /// Refused when so many slots count already; 0 is refused until the end of time.
    pub limit: u32,
}

/// Whether a slot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// It was.
    Taken,
    /// Not before then: the earliest time at which every window has room.
    NotBefore(Timestamp),
}

/// What is asked of the owed effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueQuery {
    /// Whose; `None` for the timer.
    pub manager: Option<AcsSystemId>,
    /// Which.
    pub class: Class,
    /// Due at or before.
    pub now: Timestamp,
    /// At most so many.
    pub limit: u32,
}

/// An owed effect that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Whose.
    pub identity: IdentityId,
    /// Where.
    pub lane: Lane,
    /// Since when it waits in line.
    pub since: Timestamp,
    /// When it was first owed, however often it was tried and put off since.
    pub owed_since: Timestamp,
}

/// What is asked of the index. Filters that are `None` let all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Any of these; none lets nothing pass.
    pub kinds: Vec<Kind>,
    /// Only these ids, where given.
    pub ids: Option<Vec<String>>,
    /// Only of this identity.
    pub identity: Option<IdentityId>,
    /// Only in this system.
    pub acs_system: Option<String>,
    /// Only of this ACS user.
    pub acs_user: Option<String>,
    /// Only below this parent.
    pub parent: Option<String>,
    /// Only those made before.
    pub created_before: Option<Timestamp>,
    /// Only those that come after this one in the list: `created_at` and `id` of the last row of the page before.
    pub after: Option<(Timestamp, String)>,
    /// At most so many.
    pub limit: u32,
}

/// A hold that is on more than one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingHold {
    /// What is held.
    pub scope: HoldScope,
    /// Why.
    pub reason: HoldReason,
    /// Since when.
    pub since: Timestamp,
    /// Who caused it: an API key's name, or what of ours.
    pub cause: String,
}

/// Which database it is, and how far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Random; a copy has the same.
    pub database: Uuid,
    /// How many transactions wrote to it, ever.
    pub commits: u64,
    /// When it was found older than what was done, until all was read again.
    pub regressed_at: Option<Timestamp>,
}

/// Where a feed's reading stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    /// All up to then was observed.
    pub cursor: Timestamp,
    /// So many entries were in an answer that turned out to be cut; `None`: none was seen.
    #[serde(default)]
    pub page: Option<usize>,
    /// How often entries were lost for good, as far as is known: a moment held more than an answer does.
    #[serde(default)]
    pub gaps: u64,
    /// It does not tell of what we create.
    #[serde(default)]
    pub deaf: bool,
}

/// One state change as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// Grows by one within the identity.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who caused it.
    pub cause: String,
    /// What changed.
    pub change: Change,
    /// Covers this row and the one before it; [`journal::verify_journal`] checks the whole.
    pub hash: journal::Hash,
}

/// Counts by class name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Listed identities.
    pub identities: u64,
    /// Owed effects by class name.
    pub owed: BTreeMap<String, u64>,
    /// Claims now held.
    pub claims: u64,
    /// What webhooks have yet to be told.
    pub deliveries: u64,
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else committed first: load and step again.
    #[error("identity {0} was changed meanwhile")]
    Conflict(IdentityId),
    /// Somebody else is carrying out a call of this identity.
    #[error("identity {0} has a call under way")]
    Claimed(IdentityId),
    /// The call is new, and nothing new is done there for now.
    #[error("what identity {0} is owed is held")]
    Held(IdentityId),
    /// The claim is no longer ours: its result is a fact, but settles nothing.
    #[error("the claim on identity {0} was taken over")]
    ClaimLost(IdentityId),
    /// A window has no room before then; of several, the one that has room last.
    #[error("the window {key} is full")]
    WindowFull {
        /// Which.
        key: String,
        /// Earliest time at which it has room.
        not_before: Timestamp,
    },
    /// Another identity has this id, key, e-mail address or phone number.
    #[error("another identity has this {}", .0.name())]
    Taken(Kind),
    /// Another daemon has the database open.
    #[error("database in use")]
    InUse,
    /// The file was written by a newer version.
    #[error("the database has schema version {found}, newer than {known}, the newest known here")]
    Newer {
        /// In the file.
        found: i64,
        /// Here.
        known: i64,
    },
    /// A row that makes no sense; never defaulted.
    #[error("row {key} of table {table} makes no sense")]
    Corrupt {
        /// Where.
        table: &'static str,
        /// Which.
        key: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database failed. Whether a write took effect is unknown: load, and see.
    #[error("the database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}
