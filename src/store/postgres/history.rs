//! How far the database was seen to come: one that has not come so far is not used.
//!
//! A standby that takes over may lack the last transactions that were acknowledged. What was done on the strength of them
//! is not known there any more, so nothing may be asked of such a database, or done, before it is marked.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sqlx::{PgConnection, Row as _};
use tokio::sync::watch;

use crate::store::Error;

const PARTS: &str = "SELECT part, number FROM commits";

/// What this process knows of a database's history.
pub(super) struct History {
    /// The last number of each part whose commit was acknowledged.
    parts: Mutex<BTreeMap<i32, i64>>,
    went_back: watch::Sender<bool>,
}

impl History {
    pub(super) fn new() -> Self {
        Self {
            parts: Mutex::default(),
            went_back: watch::Sender::new(false),
        }
    }

    /// A commit was acknowledged.
    pub(super) fn note(&self, (part, number): (i32, i64)) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = parts.entry(part).or_default();
        *known = number.max(*known);
    }

    /// Before the first use of a connection: does the database behind it know all that was acknowledged?
    pub(super) async fn compare(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        // What is acknowledged from now on may not be in the answer.
        let known = self.known();
        let mut found = BTreeMap::new();
        for row in sqlx::query(PARTS).fetch_all(conn).await? {
            found.insert(row.try_get::<i32, _>(0)?, row.try_get::<i64, _>(1)?);
        }
        let is_whole = |(part, number): (i32, i64)| found.get(&part).is_some_and(|n| *n >= number);
        if known.into_iter().all(is_whole) {
            return Ok(());
        }
        self.went_back.send_replace(true);
        Err(sqlx::Error::Protocol(WENT_BACK.to_owned()))
    }

    fn known(&self) -> BTreeMap<i32, i64> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.clone()
    }

    /// Refuses everything once it was found to have gone back.
    pub(super) fn check(&self) -> Result<(), Error> {
        if *self.went_back.borrow() {
            return Err(Error::Database(WENT_BACK.into()));
        }
        Ok(())
    }

    /// Waits until it is found to have gone back.
    pub(super) async fn went_back(&self) {
        // The sender is here, so there is no other end of it.
        self.went_back.subscribe().wait_for(|went| *went).await.ok();
    }
}

const WENT_BACK: &str = "the database has lost transactions that it had acknowledged";
