//! `copy`: what a store tells that is kept in a file, the one tells that it was copied to; and what is refused.

use std::fmt::Debug;
use std::path::PathBuf;

use origo_adapter::core::announce::EventType;
use origo_adapter::core::hold::{HoldReason, HoldScope};
use origo_adapter::core::index::Kind;
use origo_adapter::store::postgres::Postgres;
use origo_adapter::store::postgres::copy::copy;
use origo_adapter::store::sqlite::Sqlite;
use origo_adapter::store::{
    Commit, DeliveryClaim, Error, Event, EventQuery, ListQuery, Options, SessionQuery, Store,
    Threads,
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::copies::damaged;
use super::edges::UNHURRIED;
use super::outbox::{event, telling, webhook};
use super::put;
use super::samples::{MANAGER, adding, at, change, commit, id, row, token};
use crate::support::cluster::Database;

const OPTIONS: Options = Options {
    threads: Threads::Caller,
};

/// A file, and the empty database that it is copied to.
struct Place {
    folder: TempDir,
    database: Database,
}

/// A store on the file.
struct Bed {
    store: Sqlite,
    place: Place,
}

fn place() -> Option<Place> {
    Some(Place {
        database: Database::empty()?,
        folder: TempDir::new().unwrap(),
    })
}

fn bed() -> Option<Bed> {
    let place = place()?;
    Some(Bed {
        store: place.open(),
        place,
    })
}

impl Place {
    fn file(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    fn open(&self) -> Sqlite {
        Sqlite::open(&self.file(), OPTIONS).unwrap()
    }

    async fn copy(&self) -> Result<usize, Error> {
        let copied = copy(&self.file(), &self.database.settings(), at(5)).await;
        copied.map(|copied| copied.rows)
    }

    async fn there(&self) -> Postgres {
        self.database.open(Threads::Background).await
    }

    /// Refused for this reason, and nothing is there.
    async fn is_refused(&self, why: &str) {
        let error = self.copy().await.unwrap_err();
        let mut told = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            told = format!("{told}: {source}");
        }
        assert!(told.contains(why), "{told}");
        assert_eq!(self.there().await.heads().await.unwrap().identities, 0);
        assert_eq!(self.open().holds().await.unwrap(), []);
    }
}

fn shown(what: impl Debug) -> String {
    format!("{what:?}")
}

/// All that a store of the suite's stories tells.
async fn told(store: &dyn Store) -> Vec<String> {
    let lists = [
        Kind::Identity,
        Kind::IdentityKey,
        Kind::IdentityEmail,
        Kind::IdentityPhoneNumber,
        Kind::AcsUser,
        Kind::Automation,
        Kind::Parent,
        Kind::Child,
        Kind::Phone,
        Kind::HidContainer,
    ];
    let listed = ListQuery {
        kinds: lists.to_vec(),
        limit: 1000,
        ..ListQuery::default()
    };
    let events = EventQuery {
        limit: 1000,
        ..EventQuery::default()
    };
    let mut told = vec![
        shown(store.head().await.unwrap()),
        shown(store.heads().await.unwrap()),
        shown(store.counts().await.unwrap()),
        shown(store.list(listed).await.unwrap()),
        shown(store.events(events).await.unwrap()),
        shown(store.webhooks().await.unwrap()),
        shown(
            store
                .client_sessions(SessionQuery::default())
                .await
                .unwrap(),
        ),
        shown(store.holds().await.unwrap()),
        shown(store.load_stock(MANAGER).await.unwrap()),
        shown(store.load_feed(MANAGER).await.unwrap()),
        shown(store.queue(MANAGER, at(10_000)).await.unwrap()),
        shown(store.next_delivery(at(10_000)).await.unwrap()),
    ];
    for window in ["w", "a", "b", "x"] {
        told.push(shown(store.slots(window.into(), at(0)).await.unwrap()));
    }
    for n in 1..10 {
        told.push(shown(store.load(id(n)).await.unwrap()));
        told.push(shown(store.owed(id(n)).await.unwrap()));
        told.push(shown(store.journal(id(n)).await.unwrap()));
    }
    told
}

/// After a story of the suite.
async fn tells_the_same(Bed { store, place }: Bed) {
    let expected = told(&store).await;
    drop(store);
    place.copy().await.unwrap();
    assert_eq!(told(&place.there().await).await, expected);
}

suite!(as_told, super::bed(), super::tells_the_same);

fn with_event(n: u128, commit: Commit) -> Commit {
    telling(commit, at(1), vec![event(n, EventType::PhoneDeactivated)])
}

/// Somebody with a journal, and an event that a webhook is owed.
async fn fill(store: &Sqlite) {
    store.create_webhook(webhook(1), at(0)).await.unwrap();
    let first = Commit {
        changes: vec![change("phone", None, Some("ready"))],
        ..adding(commit(1, 0), &[row(Kind::Phone, "x", at(0))])
    };
    put(store, with_event(1, first)).await;
}

async fn newest(store: &dyn Store) -> Event {
    let all = EventQuery {
        limit: 1,
        ..EventQuery::default()
    };
    store.events(all).await.unwrap().remove(0)
}

#[tokio::test]
async fn events_go_on_there_and_the_file_is_marked_as_older() {
    let Some(Bed { store, place }) = bed() else {
        return;
    };
    fill(&store).await;
    let last = newest(&store).await;
    drop(store);
    assert_eq!(place.copy().await.unwrap(), 6);

    let held = place.open().holds().await.unwrap();
    assert_eq!(held.len(), 1);
    let held = (&held[0].scope, held[0].reason);
    assert_eq!(held, (&HoldScope::All, HoldReason::StateRegressed));

    let store = place.there().await;
    assert_eq!(store.holds().await.unwrap(), []);
    put(&store, with_event(2, commit(1, 1))).await;
    let next = newest(&store).await;
    assert!(next.created_at > last.created_at && next.id != last.id);
    let claim = DeliveryClaim {
        token: token(1),
        lease_until: at(100),
        now: at(10),
    };
    assert_eq!(
        store.claim_deliveries(claim).await.unwrap()[0].event.id,
        last.id
    );
}

/// More than a write that meets what is there already is tried again.
#[tokio::test]
async fn numbers_of_events_go_on_after_those_that_were_copied() {
    let Some(Bed { store, place }) = bed() else {
        return;
    };
    let events = (1..=10).map(|n| event(n, EventType::PhoneDeactivated));
    let ten = telling(commit(1, 0), at(1), events.collect());
    put(&store, ten).await;
    drop(store);
    place.copy().await.unwrap();
    let store = place.there().await;
    put(&store, with_event(11, commit(1, 1))).await;
    assert_eq!(
        newest(&store).await.id,
        event(11, EventType::PhoneDeactivated).id
    );
}

/// Somebody's trigger there changes a single column of a single row.
#[tokio::test]
async fn a_copy_that_differs_from_the_file_is_undone() {
    let Some(Bed { store, place }) = bed() else {
        return;
    };
    for n in 1..=3 {
        let who = adding(commit(n, 0), &[row(Kind::Phone, &n.to_string(), at(0))]);
        put(&store, who).await;
    }
    drop(store);
    drop(place.there().await);
    place
        .database
        .raw(
            "CREATE FUNCTION changes() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN IF NEW.id = '3' THEN NEW.created_at = 1; END IF; RETURN NEW; END $$;
            CREATE TRIGGER changes BEFORE INSERT ON entities FOR EACH ROW EXECUTE FUNCTION changes()",
        )
        .await;
    place
        .is_refused("number 2 by kind, id of table entities makes no sense: differs after the copy")
        .await;
}

#[tokio::test]
async fn neither_may_be_at_work() {
    let Some(Bed { store, place }) = bed() else {
        return;
    };
    fill(&store).await;
    assert!(matches!(place.copy().await, Err(Error::InUse)));
    drop(store);
    let daemon = Postgres::join(&place.database.settings()).await.unwrap();
    assert!(matches!(place.copy().await, Err(Error::InUse)));
    drop(daemon);
}

#[tokio::test]
async fn nothing_is_added_to_what_is_there() {
    let Some(Bed { store, place }) = bed() else {
        return;
    };
    fill(&store).await;
    drop(store);
    place.copy().await.unwrap();
    let again = place.copy().await.unwrap_err();
    let why = std::error::Error::source(&again).unwrap().to_string();
    assert_eq!(
        why,
        "the database holds something already, in table identities"
    );
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made() {
    let Some(place) = place() else { return };
    assert!(place.copy().await.is_err());
    assert!(!place.file().exists());
}

#[tokio::test]
async fn what_cannot_be_kept_there_is_named() {
    let Some(Bed { store, place }) = bed() else {
        return;
    };
    fill(&store).await;
    put(
        &store,
        adding(commit(2, 0), &[row(Kind::IdentityKey, "a\0b", at(0))]),
    )
    .await;
    drop(store);
    let why = "row number 0 by kind, id of table entities makes no sense: PostgreSQL keeps no U+0000 in a text";
    place.is_refused(why).await;
}

#[tokio::test]
async fn a_journal_that_was_changed_is_not_copied() {
    let Some(Bed { store, place }) = bed() else {
        return;
    };
    fill(&store).await;
    drop(store);
    let file = Connection::open(place.file()).unwrap();
    assert_eq!(
        file.execute("UPDATE journal SET to_state = 'issued'", [])
            .unwrap(),
        1
    );
    drop(file);
    place.is_refused("was tampered with").await;
}

#[tokio::test]
async fn a_damaged_file_is_not_copied() {
    let Some(Bed { store, place }) = bed() else {
        return;
    };
    fill(&store).await;
    drop(store);
    damaged(place.file());
    let refused = place.copy().await;
    assert!(matches!(refused, Err(Error::Database(_))), "{refused:?}");
    assert_eq!(place.there().await.heads().await.unwrap().identities, 0);
}

#[tokio::test]
async fn a_copy_takes_its_time_and_counts_as_a_transaction_of_the_file() {
    let Some(Bed { store, place }) = bed() else {
        return;
    };
    fill(&store).await;
    let before = store.head().await.unwrap().commits;
    drop(store);
    drop(place.there().await);
    place.database.raw(UNHURRIED).await;
    let hurries = "CREATE FUNCTION hurries() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM unhurried(); RETURN NEW; END $$;
        CREATE TRIGGER hurries BEFORE INSERT ON identities FOR EACH ROW EXECUTE FUNCTION hurries()";
    place.database.raw(hurries).await;
    place.copy().await.unwrap();
    let store = place.there().await;
    assert!(
        store.commit(commit(2, 0)).await.is_err(),
        "others are in a hurry"
    );
    let head = place.open().head().await.unwrap();
    assert_eq!((head.commits, head.regressed_at), (before + 1, Some(at(5))));
}
