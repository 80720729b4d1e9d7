//! A person is held.

use crate::core::hold::{Hold, HoldReason};
use crate::core::identity::Identity;
use crate::core::ids::Timestamp;

/// Who is held already stays held for the first reason.
pub(super) fn hold(identity: &mut Identity, reason: HoldReason, now: Timestamp) {
    identity.held.get_or_insert(Hold { reason, since: now });
}
