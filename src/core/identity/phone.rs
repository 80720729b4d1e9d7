//! A phone with its keys, and what is unknown of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Drift, Trouble};
use crate::core::ids::{ContainerId, CredentialId, InvitationId, PartNumber, Timestamp};
use crate::core::observation::{ContainerStatus, CredentialStatus, Device, Rejection};

/// A phone: HID's credential container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phone {
    /// HID's id.
    pub container: ContainerId,
    /// As HID last said.
    pub status: ContainerStatus,
    /// What it is.
    pub device: Device,
    /// When we first knew of it.
    pub created_at: Timestamp,
    /// Which invitation it came of, where an event said so: that one is spent, whatever else we hear of it.
    #[serde(default)]
    pub invitation: Option<InvitationId>,
    /// An automation took it in.
    pub enrolled: bool,
    /// It turned up then and asks a running automation to take it in.
    #[serde(default)]
    pub knocked_at: Option<Timestamp>,
    /// What may already be on it is unknown: read it before the first issue (contract.md section 2, Adoption).
    pub read_first: bool,
    /// A read did not find it; the second in a row settles it.
    pub missing_since: Option<Timestamp>,
    /// It is gone for good.
    pub removed_at: Option<Timestamp>,
    /// An event or a refusal told of a change that only a read can explain.
    pub look: Option<Timestamp>,
    /// When it was last read.
    pub read_at: Option<Timestamp>,
    /// Failures of its reads.
    pub trouble: Trouble,
    /// Reads in a row that told nothing new.
    pub dull_reads: u32,
    /// It is to be deleted at HID, with all that it holds.
    #[serde(default)]
    pub removal: Option<Removal>,
    /// One a part number.
    pub keys: BTreeMap<PartNumber, Key>,
}

/// A phone's way out, asked for by the operator's software. Its end is the phone's `removed_at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// When it was asked for.
    pub since: Timestamp,
    /// When HID last accepted the deletion, or showed it under way.
    pub accepted_at: Option<Timestamp>,
    /// HID refused it: each key is revoked by itself meanwhile.
    pub refused: bool,
    /// Its own failures.
    pub trouble: Trouble,
}

/// The Mobile IDs of one part number on one phone. At most one is live, unless HID was late.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The credential that the children show.
    pub current: Option<CredentialId>,
    /// Everything of this pair that HID has shown us and that is not gone.
    pub held: BTreeMap<CredentialId, Held>,
    /// Issue calls without an answer.
    pub doubt: Doubt,
    /// Its own failures.
    pub trouble: Trouble,
    /// Refused for good.
    pub failed: Option<Rejection>,
    /// None left of the part number since then.
    pub out_of_stock_since: Option<Timestamp>,
    /// It was wanted once.
    pub used: bool,
    /// Somebody else revoked it.
    #[serde(default)]
    pub drift: Drift,
}

/// One of HID's credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// As HID last said, or as follows from what it accepted.
    pub status: CredentialStatus,
    /// A call of ours made it.
    pub ours: bool,
    /// Known once HID told.
    pub card_number: Option<String>,
    /// When we first knew of it.
    pub seen_at: Timestamp,
    /// A read did not show it; the second in a row settles it.
    pub missing_since: Option<Timestamp>,
    /// A revoke of it was sent, with whatever outcome: it will not be kept, even if it is wanted again.
    pub doomed: bool,
    /// When HID last accepted a revoke.
    pub revoked_at: Option<Timestamp>,
    /// Failures of its revoke.
    pub trouble: Trouble,
}

/// What is unknown about the issue calls of one pair (contract.md G1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// Calls without an answer whose credential was not seen: so many surplus ones are ours to revoke.
    pub unattributed: u32,
    /// What is still to be looked for.
    pub stage: DoubtStage,
}

/// Where the search for an unanswered call's effect stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DoubtStage {
    /// Nothing to look for.
    #[default]
    Settled,
    /// No call may be repeated.
    Open {
        /// When we gave up on the last call.
        gave_up_at: Timestamp,
        /// The first read since then that showed nothing new.
        blank_at: Option<Timestamp>,
    },
    /// The call was repeated; a late effect of the first would now be a surplus.
    Repeated {
        /// When.
        at: Timestamp,
        /// How many of the reads after it are done.
        checks: u8,
    },
}

impl Phone {
    /// Registered, and neither gone nor on its way out.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == ContainerStatus::Active
            && self.removed_at.is_none()
            && self.removal.is_none()
    }
}

impl Doubt {
    /// One call's effect was seen; with the last one nothing is left to look for.
    pub fn account_for_one(&mut self) {
        self.unattributed = self.unattributed.saturating_sub(1);
        if self.unattributed == 0 {
            self.stage = DoubtStage::Settled;
        }
    }
}

impl Key {
    /// HID has, or may have, something of this pair that is not gone.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.held.is_empty()
    }
}
