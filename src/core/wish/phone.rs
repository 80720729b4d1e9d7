//! Wishes about one phone.

use crate::core::identity::{Identity, Removal, Trouble};
use crate::core::ids::{PhoneId, Timestamp};

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
    phone.enrolled = false;
    phone.dull_reads = 0;
    phone.removal = Some(Removal {
        since: now,
        accepted_at: None,
        refused: false,
        trouble: Trouble::default(),
    });
    enrollment.invite.barred = true;
}
