//! Plain values that the operator sets; the core reads no configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ids::{AcsSystemId, Timestamp};
use super::record::Field;

/// What `step` needs to know of the configuration (contract.md section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Delays after an object's own failures; the last repeats. Never empty.
    pub retry_schedule: Vec<Duration>,
    /// Between giving up on a call and the first read, and between two reads that must agree.
    pub settle_delay: Duration,
    /// How long after we gave up on a call it may still take effect at HID.
    pub late_effect_bound: Duration,
    /// After so long without success an object counts as stuck; it is still retried.
    pub give_up_after: Duration,
    /// The store is older than what was done before then: who was not read since is done nothing new for.
    pub regressed_at: Option<Timestamp>,
    /// How many keys may be repaired in any span of so long before a person is asked; `None`: however many.
    pub repairs_guard: Option<(u32, Duration)>,
    /// One entry a configured credential manager. An enrollment whose manager is missing here owes nothing.
    pub managers: BTreeMap<AcsSystemId, ManagerPolicy>,
    /// The access systems that take records, and what those say.
    pub imports: BTreeMap<AcsSystemId, BTreeSet<Field>>,
}

impl Policy {
    /// How long after we gave up on a call a read is sure to show its effect: it may come as late as
    /// the bound, and a read soon after a write can be stale.
    #[must_use]
    pub fn shows_after(&self) -> Duration {
        self.late_effect_bound + self.settle_delay
    }
}

/// What differs between credential managers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerPolicy {
    /// HID mails the invitation code (`invitations.delivery = "email"`).
    pub email_invitations: bool,
    /// How often an expired invitation is renewed while no phone is enrolled; 0 where `renew = false`.
    pub max_renewals: u32,
    /// A user found by e-mail whose `externalId` is not ours is taken over (`adopt_users = "by_email"`).
    pub adopt_by_email: bool,
    /// The events feed is in use; when not, waiting users are read.
    pub events: bool,
    /// How far back each poll of the feed reaches; an older ACTIVE event makes us read the phone before its first issue.
    pub overlap: Duration,
    /// Which phones are taken in.
    pub phones: PhonePolicy,
    /// What becomes of what somebody else takes away.
    pub drift: DriftPolicy,
}

/// What becomes of what somebody else takes away at HID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftPolicy {
    /// It is told, and left so.
    #[default]
    Report,
    /// It is made again, once a day at most.
    Repair,
}

/// Which of a person's phones an automation takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhonePolicy {
    /// So many at a time.
    pub max_per_identity: u32,
    /// What becomes of one more.
    pub over_limit: OverLimit,
    /// What becomes of an older phone of the same make and model.
    pub same_device: SameDevice,
}

/// What becomes of a phone beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    /// It gets no key until there is room.
    Refuse,
    /// It is taken in, and the oldest is deactivated.
    RetireOldest,
}

/// What becomes of an older phone when a newer one of the same make and model is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameDevice {
    /// Both stay.
    KeepAll,
    /// The older one is deactivated.
    KeepNewest,
}

impl Default for PhonePolicy {
    /// The configuration's defaults.
    fn default() -> Self {
        Self {
            max_per_identity: 5,
            over_limit: OverLimit::Refuse,
            same_device: SameDevice::KeepAll,
        }
    }
}
