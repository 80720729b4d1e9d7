//! What a story is kept in.

use std::ops::Deref;
use std::sync::Arc;

use futures_util::FutureExt as _;
use origo_adapter::store::postgres::Postgres;
use origo_adapter::store::sqlite::Sqlite;
use origo_adapter::store::{Store, Threads};

use crate::support::cluster::Database;

/// One of the stores, on the thread that tells the story.
#[derive(Clone)]
pub(super) enum Disk {
    Sqlite(Sqlite),
    /// And the database that is gone with it.
    Postgres(Postgres, Arc<Database>),
}

impl Disk {
    pub(super) fn new(postgres: bool) -> Self {
        if !postgres {
            return Self::Sqlite(Sqlite::in_memory().unwrap());
        }
        let database = Database::new().expect("a cluster");
        let store = database.open(Threads::Caller).now_or_never();
        Self::Postgres(store.expect("opened at once"), Arc::new(database))
    }

    /// What the next daemon finds after this one's death.
    pub(super) fn reopened(&self) -> Self {
        match self {
            Self::Sqlite(store) => Self::Sqlite(store.reopened().unwrap()),
            Self::Postgres(store, database) => {
                Self::Postgres(store.reopened(), Arc::clone(database))
            }
        }
    }
}

impl Deref for Disk {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Sqlite(store) => store,
            Self::Postgres(store, _) => store,
        }
    }
}
