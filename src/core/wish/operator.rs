//! What an operator asks for by hand: try again, look again, take over, remove.

use serde::{Deserialize, Serialize};

use crate::core::drift;
use crate::core::identity::{
    CmUser, CmUserState, Enrollment, Identity, Key, Phone, Request, Trouble,
};
use crate::core::ids::{AcsSystemId, PartNumber, PhoneId, Timestamp};

/// What of a person is meant; what is `None` lets all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// At this credential manager alone.
    pub manager: Option<AcsSystemId>,
    /// On this phone alone.
    pub phone: Option<PhoneId>,
    /// Keys of this part number alone.
    pub part_number: Option<PartNumber>,
}

impl Target {
    /// What is at that manager is meant.
    #[must_use]
    pub fn has_manager(&self, manager: AcsSystemId) -> bool {
        self.manager.is_none_or(|asked| asked == manager)
    }

    /// What is on that phone is meant.
    #[must_use]
    pub fn has_phone(&self, phone: PhoneId) -> bool {
        self.phone.is_none_or(|asked| asked == phone)
    }

    /// That key is meant.
    #[must_use]
    pub fn has_key(&self, phone: PhoneId, part_number: &PartNumber) -> bool {
        self.has_phone(phone)
            && (self.part_number.as_ref()).is_none_or(|asked| asked == part_number)
    }

    /// The whole enrollment is meant, its user and invitations with it.
    fn is_whole(&self) -> bool {
        self.phone.is_none() && self.part_number.is_none()
    }

    fn enrollments<'a>(
        &'a self,
        identity: &'a mut Identity,
    ) -> impl Iterator<Item = &'a mut Enrollment> {
        let enrollments = identity.enrollments.iter_mut();
        enrollments
            .filter(|(manager, _)| self.has_manager(**manager))
            .map(|(_, enrollment)| enrollment)
    }
}

/// Everything that failed or waits for its own schedule is tried at once. What is unknown is looked for as ever.
pub(super) fn retry(identity: &mut Identity, target: &Target, now: Timestamp) {
    for enrollment in target.enrollments(identity) {
        retry_user(enrollment);
        if target.is_whole() {
            enrollment.invite.trouble.clear();
            for invitation in enrollment.invitations.values_mut() {
                invitation.trouble.clear();
            }
        }
        let phones = enrollment.phones.iter_mut();
        for (id, phone) in
            phones.filter(|(id, phone)| target.has_phone(**id) && phone.removed_at.is_none())
        {
            retry_phone(phone);
            let keys = phone.keys.iter_mut();
            for (_, key) in keys.filter(|(part_number, _)| target.has_key(*id, part_number)) {
                retry_key(key);
            }
        }
    }
    identity.request = Some(Request {
        what: "retry".to_owned(),
        at: now,
    });
}

/// Without its user nothing of a person goes on, so it is tried whatever is meant.
fn retry_user(enrollment: &mut Enrollment) {
    let user = &mut enrollment.user;
    match user.state {
        CmUserState::Refused(_) | CmUserState::Conflict { .. } => user.state = CmUserState::Absent,
        CmUserState::Gone => drift::make_user_again(enrollment),
        CmUserState::Absent
        | CmUserState::Unsure { .. }
        | CmUserState::Taken
        | CmUserState::Found { .. }
        | CmUserState::Present { .. }
        | CmUserState::Deleting { .. } => {}
    }
    let CmUser { told, trouble, .. } = &mut enrollment.user;
    trouble.clear();
    told.refused = None;
    // An update without an answer may still take effect: its pause is no schedule.
    if told.data.is_some() {
        told.trouble.clear();
    }
}

fn retry_phone(phone: &mut Phone) {
    phone.trouble.clear();
    if let Some(removal) = &mut phone.removal {
        removal.trouble.clear();
    }
}

fn retry_key(key: &mut Key) {
    key.failed = None;
    key.out_of_stock_since = None;
    key.trouble.clear();
    for held in key.held.values_mut() {
        held.trouble.clear();
    }
}

/// What HID holds is read now: of one phone, or of the user with all that hangs below.
pub(super) fn resync(identity: &mut Identity, target: &Target, now: Timestamp) {
    for enrollment in target.enrollments(identity) {
        if let Some(phone) = target.phone {
            let phone = enrollment.phones.get_mut(&phone);
            if let Some(phone) = phone.filter(|phone| phone.removed_at.is_none()) {
                phone.trouble = Trouble::default();
                phone.look = Some(now);
            }
            continue;
        }
        enrollment.user.trouble.clear();
        match &enrollment.user.state {
            CmUserState::Conflict { id } => {
                enrollment.user.state = CmUserState::Found { id: id.clone() };
            }
            CmUserState::Present { .. } => enrollment.look = Some(now),
            CmUserState::Absent
            | CmUserState::Unsure { .. }
            | CmUserState::Taken
            | CmUserState::Found { .. }
            | CmUserState::Refused(_)
            | CmUserState::Deleting { .. }
            | CmUserState::Gone => {}
        }
    }
    identity.request = Some(Request {
        what: "resync".to_owned(),
        at: now,
    });
}

/// The user whose e-mail address is in the way is this person's from now on: it is read, and then used.
pub(super) fn adopt_user(identity: &mut Identity, target: &Target, now: Timestamp) {
    let mut adopted = false;
    for enrollment in target.enrollments(identity) {
        if let CmUserState::Conflict { id } = &enrollment.user.state {
            enrollment.user.take_over = Some(id.clone());
            enrollment.user.state = CmUserState::Found { id: id.clone() };
            enrollment.user.trouble.clear();
            adopted = true;
        }
    }
    if adopted {
        identity.request = Some(Request {
            what: "adopt_user".to_owned(),
            at: now,
        });
    }
}
