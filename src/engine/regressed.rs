//! A store that went back: nothing new for anybody who was not read since.

use std::sync::{Arc, PoisonError};

use super::Engine;
use crate::core::ids::Timestamp;
use crate::emit;
use crate::store::Error;
use crate::telemetry::STORE_CAUGHT_UP;

impl Engine {
    /// Marks the store as older than what was done before `at`, durably, and waits for reads from now on.
    pub async fn regressed(&self, at: Timestamp, cause: &str) -> Result<(), Error> {
        self.store.regress(Some(at), cause.to_owned()).await?;
        self.read_again(at);
        Ok(())
    }

    /// Waits for reads from now on, as a mark in the store says.
    pub fn read_again(&self, since: Timestamp) {
        self.set_regressed(Some(since));
    }

    /// All was read again: the mark goes.
    pub async fn caught_up(&self, cause: &str) -> Result<(), Error> {
        self.store.regress(None, cause.to_owned()).await?;
        self.set_regressed(None);
        self.tell();
        emit!(STORE_CAUGHT_UP; "all that the store may have forgotten was read again");
        Ok(())
    }

    fn set_regressed(&self, at: Option<Timestamp>) {
        let mut policy = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut policy).regressed_at = at;
    }
}
