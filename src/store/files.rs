//! Files of people that are being applied, batch by batch, through whichever daemon.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use crate::core::ids::{ParentId, Timestamp};

/// A file of which nothing was heard for so long is forgotten.
pub const FORGOTTEN: Duration = Duration::from_mins(10);
const ID: usize = 16;

/// Some rows of a file, applied.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Named by who sends it.
    pub file: Uuid,
    /// What its rows stand for.
    pub kept: Vec<ParentId>,
    /// How many of them were refused.
    pub refused: u32,
    /// When.
    pub now: Timestamp,
}

impl Batch {
    /// Files of which nothing was heard since then are forgotten.
    pub(super) fn old(&self) -> Timestamp {
        let forgotten = i64::try_from(FORGOTTEN.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.now.0.saturating_sub(forgotten))
    }

    /// What its rows stand for, as it is stored.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let ids = self.kept.iter().flat_map(|id| id.0.into_bytes());
        ids.collect()
    }
}

/// All of a file that was applied so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// What its rows stand for.
    pub kept: BTreeSet<ParentId>,
    /// How many were refused.
    pub refused: u64,
    /// How many batches it came in.
    pub batches: u64,
}

impl File {
    pub(super) fn add(&mut self, kept: &[u8], refused: u64) -> Result<(), &'static str> {
        let (ids, rest) = kept.as_chunks::<ID>();
        if !rest.is_empty() {
            return Err("not a list of ids");
        }
        let ids = ids.iter().map(|id| ParentId(Uuid::from_bytes(*id)));
        self.kept.extend(ids);
        self.refused += refused;
        self.batches += 1;
        Ok(())
    }
}
