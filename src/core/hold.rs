//! Why nothing new is done: for one person, at one manager, or at all (contract.md section 7, `held`).

use serde::{Deserialize, Serialize};

use super::effect::Effect;
use super::identity::Identity;
use super::ids::{AcsSystemId, PartNumber, Timestamp};

/// Who or what holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HoldReason {
    /// A person said so.
    Operator,
    /// Files or drift would have changed too much at once.
    Guard,
    /// The manager refuses us for long.
    Quarantine,
    /// The store is older than what was done: what HID has is read first.
    StateRegressed,
    /// What HID has is being taken over.
    Adopting,
    /// HID says that none is left of a part number.
    OutOfStock,
    /// HID says that a part number is not the organization's.
    PartNumberRefused,
}

impl HoldReason {
    /// Every one, the one to be shown first where several hold.
    pub const ALL: [Self; 7] = [
        Self::Operator,
        Self::Guard,
        Self::Quarantine,
        Self::StateRegressed,
        Self::Adopting,
        Self::OutOfStock,
        Self::PartNumberRefused,
    ];

    /// Stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Guard => "guard",
            Self::Quarantine => "quarantine",
            Self::StateRegressed => "state_regressed",
            Self::Adopting => "adopting",
            Self::OutOfStock => "out_of_stock",
            Self::PartNumberRefused => "part_number_refused",
        }
    }

    /// Goes when a person says so; the others go when their cause has.
    #[must_use]
    pub fn is_releasable(self) -> bool {
        match self {
            Self::Operator
            | Self::Guard
            | Self::Quarantine
            | Self::OutOfStock
            | Self::PartNumberRefused => true,
            Self::StateRegressed | Self::Adopting => false,
        }
    }

    /// Keeps every new call at a manager from being claimed. A store that went back holds each person by itself, until
    /// that person was read ([`super::plan::regressed`]).
    #[must_use]
    pub fn stops_claims(self) -> bool {
        match self {
            Self::Operator
            | Self::Guard
            | Self::Quarantine
            | Self::Adopting
            | Self::OutOfStock
            | Self::PartNumberRefused => true,
            Self::StateRegressed => false,
        }
    }
}

/// A hold on one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// Since when.
    pub since: Timestamp,
}

/// What is held as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HoldScope {
    /// Everything.
    All,
    /// All that one credential manager would be asked for.
    Manager(AcsSystemId),
    /// The keys of one part number.
    Part(AcsSystemId, PartNumber),
}

impl HoldScope {
    /// All of this manager's is held by it.
    #[must_use]
    pub fn covers(&self, manager: AcsSystemId) -> bool {
        match self {
            Self::All => true,
            Self::Manager(held) => *held == manager,
            Self::Part(..) => false,
        }
    }
}

/// The call makes or changes something for somebody, so a hold keeps it back. Withdrawals and all that only reads go on.
#[must_use]
pub fn is_held_back(effect: &Effect) -> bool {
    match effect {
        Effect::CreateUser { .. }
        | Effect::UpdateUser { .. }
        | Effect::CreateInvitation { .. }
        | Effect::EmailInvitation { .. }
        | Effect::Issue { .. } => true,
        Effect::SearchUser { .. }
        | Effect::ReadUser { .. }
        | Effect::DeleteUser { .. }
        | Effect::CancelInvitation { .. }
        | Effect::ReadPhone { .. }
        | Effect::DeletePhone { .. }
        | Effect::Revoke { .. }
        | Effect::Wake => false,
    }
}

/// At which manager the call under way is one that a hold keeps back.
#[must_use]
pub fn held_back_at(identity: &Identity) -> Option<AcsSystemId> {
    let call = identity.in_flight.as_ref()?;
    if !is_held_back(&call.effect) {
        return None;
    }
    identity.manager_of(&call.lane)
}
