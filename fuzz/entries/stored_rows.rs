//! What stands in a row: an identity, what it owes, where a feed's reading stands.
//!
//! The first byte picks the table, the rest is the cell, written past the store. A cell makes sense or is
//! `Corrupt`; what makes sense is kept as it is, and can be lived with.

use std::collections::BTreeSet;
use std::error::Error as _;

use origo_adapter::core::effect::{Class, Effect, Lane};
use origo_adapter::core::identity::Identity;
use origo_adapter::core::ids::{AcsSystemId, HidUserId, IdentityId, Timestamp};
use origo_adapter::core::{Fault, Observation, announce, change, index, plan, step};
use origo_adapter::store::sqlite::{Options, Sqlite, Threads};
use origo_adapter::store::{ClaimChange, Commit, DueQuery, Error, Feed, Loaded, Store as _};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use uuid::Uuid;

use super::{block_on, pick};
use crate::support::scene::{START, Scene, check_round_trip, manager, policy};

const ID: IdentityId = IdentityId(Uuid::from_u128(1));

/// A store with one row of each kind, and a way past it.
struct Bed {
    store: Sqlite,
    raw: Connection,
    _folder: TempDir,
}

impl Bed {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("state.db");
        let threads = Threads::Caller;
        let store = Sqlite::open(&path, Options { threads }).expect("a store");
        let scene = Scene::with_parent();
        let mut owed = scene.owed.clone();
        owed.retain(|_, owed| owed.class == Class::Issue);
        let commit = Commit {
            owed: Some(owed),
            ..commit(scene.is(), 0)
        };
        block_on(store.commit(commit)).expect("kept");
        let feed = Feed::default();
        let saved = store.save_feed(manager(), feed, Vec::new(), Timestamp(0));
        block_on(saved).expect("kept");
        let raw = Connection::open(&path).expect("a way in");
        raw.pragma_update(None, "synchronous", "OFF").expect("set");
        Self {
            store,
            raw,
            _folder: folder,
        }
    }

    fn write(&self, sql: &str, cell: &[u8]) {
        let mut statement = self.raw.prepare_cached(sql).expect("SQL");
        statement.execute(params![cell]).expect("written");
    }
}

thread_local! {
    static BED: Bed = Bed::new();
}

fn commit(identity: &Identity, expected: u64) -> Commit {
    Commit {
        identity: Some(identity.clone()),
        id: ID,
        expected,
        owed: None,
        rows_removed: BTreeSet::new(),
        rows_added: BTreeSet::new(),
        changes: Vec::new(),
        events: Vec::new(),
        cause: "fuzz".into(),
        claim: ClaimChange::Keep,
        now: START,
    }
}

/// Puts `data` into a row and looks what the store makes of it.
pub(crate) fn run(data: &[u8]) {
    let Some((table, cell)) = data.split_first() else {
        return;
    };
    let tables: [fn(&Bed, &[u8]); 3] = [identity, owed, feed];
    BED.with(|bed| pick(&tables, *table)(bed, cell));
}

fn identity(bed: &Bed, cell: &[u8]) {
    bed.write("UPDATE identities SET state = CAST(?1 AS TEXT)", cell);
    let Some(Loaded {
        identity, revision, ..
    }) = sensible(block_on(bed.store.load(ID)), "identities")
    else {
        return;
    };
    let read = identity;
    block_on(bed.store.commit(commit(&read, revision))).expect("kept");
    let again = block_on(bed.store.load(ID)).expect("read").expect("there");
    assert_eq!(again.identity, read);
    assert_eq!(again.revision, revision + 1);
    live(&read);
}

/// What is done with any identity.
fn live(identity: &Identity) {
    check_round_trip(identity);
    let policy = policy();
    let mut now = START;
    let owed = plan::owed(&policy, identity, now);
    for (lane, owed) in &owed {
        assert!(owed.class != Class::Timer || *lane == Lane::Timer);
        check_ids(&owed.effect);
        now = now.max(owed.not_before);
        let seen = Observation::Started(lane.clone());
        let sent = step(&policy, identity, &seen, now);
        let (Some(call), Some(identity)) = (sent.started, sent.identity) else {
            continue;
        };
        assert_eq!(call.lane, *lane);
        for fault in [Fault::Unanswered, Fault::Refused, Fault::Gone] {
            let seen = Observation::Failed(call.clone(), fault);
            drop(step(&policy, &identity, &seen, now));
        }
    }
    drop(index::rows(identity));
    drop(change::changes(&policy, identity, None, START));
    drop(announce::announcements(Some(identity), None, START));
    let mut scene = Scene {
        identity: Some(identity.clone()),
        ..Scene::empty()
    };
    scene.wake();
    if let Some(identity) = &scene.identity {
        check_round_trip(identity);
    }
}

/// What is asked of HID names nothing that is unsafe in a path.
fn check_ids(effect: &Effect) {
    let named = match effect {
        Effect::ReadUser { user }
        | Effect::UpdateUser { user, .. }
        | Effect::DeleteUser { user }
        | Effect::CreateInvitation { user, .. } => user.as_str(),
        Effect::EmailInvitation { invitation } | Effect::CancelInvitation { invitation } => {
            invitation.as_str()
        }
        Effect::ReadPhone { container }
        | Effect::DeletePhone { container }
        | Effect::Issue { container, .. } => container.as_str(),
        Effect::Revoke { credential } => credential.as_str(),
        Effect::CreateUser { .. } | Effect::SearchUser { .. } | Effect::Wake => return,
    };
    assert!(HidUserId::parse(named).is_some(), "{named:?} in {effect:?}");
}

fn owed(bed: &Bed, cell: &[u8]) {
    let sql = "UPDATE effects SET lane = CAST(?1 AS TEXT)";
    bed.write(sql, cell);
    let query = DueQuery {
        manager: Some(manager()),
        class: Class::Issue,
        now: Timestamp(i64::MAX),
        limit: 9,
    };
    if let Some(due) = sensible(block_on(bed.store.due(query)).map(Some), "effects") {
        let [due] = due.as_slice() else {
            panic!("one row is not one lane: {due:?}");
        };
        assert_eq!(due.identity, ID);
        let text = serde_json::to_string(&due.lane).expect("JSON");
        let back: Lane = serde_json::from_str(&text).expect("and back");
        assert_eq!(back, due.lane);
    }
}

fn feed(bed: &Bed, cell: &[u8]) {
    bed.write("UPDATE feeds SET feed = CAST(?1 AS TEXT)", cell);
    let manager: AcsSystemId = manager();
    if let Some(feed) = sensible(block_on(bed.store.load_feed(manager)), "feeds") {
        let saved = (bed.store).save_feed(manager, feed.clone(), Vec::new(), Timestamp(0));
        block_on(saved).expect("kept");
        let again = block_on(bed.store.load_feed(manager)).expect("read");
        assert_eq!(again, Some(feed));
    }
}

/// What was read, or `None` where the store says that the row of `place` makes no sense, in words of its own.
fn sensible<T>(read: Result<Option<T>, Error>, place: &str) -> Option<T> {
    match read {
        Ok(read) => Some(read.expect("the row is there")),
        Err(error @ Error::Corrupt { table, .. }) => {
            assert_eq!(table, place);
            let source = error.source().expect("a cause").to_string();
            let known = [
                "unusable JSON: ",
                "the state is another identity's",
                "invalid utf-8",
                "incomplete utf-8",
                "Invalid",
            ];
            assert!(
                known.iter().any(|known| source.starts_with(known)),
                "{source}"
            );
            assert!(source.len() < 120, "{source}");
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}
