//! Wishes about one phone.

use crate::core::identity::Identity;
use crate::core::ids::{PhoneId, Timestamp};
use crate::core::phones;

/// The phone goes, open invitations with it, and none is made until one is asked for
/// (contract.md section 6).
pub(super) fn deactivate(identity: &mut Identity, id: PhoneId, now: Timestamp) {
    let mut enrollments = identity.enrollments.values_mut();
    let Some(enrollment) = enrollments.find(|e| e.phones.contains_key(&id)) else {
        return;
    };
    let phone = enrollment.phones.get_mut(&id);
    let Some(phone) = phone.filter(|p| p.removed_at.is_none() && p.removal.is_none()) else {
        return;
    };
    phones::retire(phone, now);
    enrollment.invite.barred = true;
}
