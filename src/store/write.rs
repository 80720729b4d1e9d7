//! A write as a value, for stores that queue or repeat it.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::files::Batch;
use super::{
    ClientSession, Commit, DeliveryClaim, Feed, SessionChange, Settled, Slot, StandingHold, Webhook,
};
use crate::core::announce::EventType;
use crate::core::hold::{HoldReason, HoldScope};
use crate::core::ids::{AcsSystemId, Timestamp};
use crate::core::stock::Stock;

/// One write of somebody's: the verb of the same name, without what it reads.
pub(super) enum Write {
    Commit {
        commits: Vec<Commit>,
    },
    TakeSlots {
        slots: Vec<Slot>,
        answered: Vec<(Uuid, Timestamp)>,
    },
    WindowEpoch {
        boot: Uuid,
        epoch: i64,
        now: Timestamp,
    },
    SaveFeed {
        manager: AcsSystemId,
        feed: Feed,
        seen: Vec<(String, Timestamp)>,
        kept_since: Timestamp,
    },
    Prune {
        before: Timestamp,
    },
    CreateWebhook {
        webhook: Webhook,
        since: Timestamp,
    },
    UpdateWebhook {
        id: Uuid,
        event_types: Option<BTreeSet<EventType>>,
    },
    DeleteWebhook {
        id: Uuid,
    },
    ClaimDeliveries {
        claim: DeliveryClaim,
    },
    SettleDelivery {
        settled: Settled,
    },
    CreateSession {
        session: ClientSession,
    },
    ChangeSession {
        id: Uuid,
        change: SessionChange,
    },
    DeleteSession {
        id: Uuid,
        now: Timestamp,
    },
    SaveStock {
        manager: AcsSystemId,
        stock: Stock,
    },
    NoteBatch {
        batch: Batch,
    },
    ForgetFile {
        file: Uuid,
    },
    Hold {
        hold: StandingHold,
    },
    Release {
        scope: HoldScope,
        reasons: Vec<HoldReason>,
    },
    Regress {
        at: Option<Timestamp>,
        cause: String,
    },
}
