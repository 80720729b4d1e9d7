//! What is owed, computed afresh from the facts each time: nothing is ever queued, cancelled or reordered.

mod enroll;
mod phone;
pub mod regressed;

pub use enroll::{PHONE_DUE_AFTER, PHONE_GIVEN_UP_AFTER, SWEEP_AFTER};

use std::collections::BTreeMap;
use std::time::Duration;

use super::effect::{Class, Effect, Lane, NewUser, Owed};
use super::hold::is_held_back;
use super::identity::{CmUser, CmUserState, DoubtStage, Enrollment, Identity, Key, Parent, Phone};
use super::ids::{AcsSystemId, PartNumber, Personal, PhoneId, Timestamp};
use super::observation::InvitationStatus;
use super::policy::{ManagerPolicy, Policy};
use super::record;

/// When a key on its way out is looked at again, by dull reads so far.
const GONE_DUE: [Duration; 5] = [
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_hours(1),
    Duration::from_hours(6),
];

/// All that is owed now, at most one effect a lane.
#[must_use]
pub fn owed(policy: &Policy, identity: &Identity, now: Timestamp) -> BTreeMap<Lane, Owed> {
    let mut owed = BTreeMap::new();
    for (manager, enrollment) in &identity.enrollments {
        let Some(manager_policy) = policy.managers.get(manager) else {
            continue;
        };
        let mut planner = Planner {
            policy,
            manager_policy,
            identity,
            manager: *manager,
            enrollment,
            now,
            owed: &mut owed,
        };
        planner.user();
        planner.invitation();
        planner.reads();
        for (id, phone) in enrollment
            .phones
            .iter()
            .filter(|(_, phone)| phone.removed_at.is_none())
        {
            planner.phone(*id, phone);
            planner.removal(*id, phone);
            for (part_number, key) in &phone.keys {
                planner.key(*id, phone, part_number, key);
            }
        }
    }
    if identity.held.is_some() {
        owed.retain(|_, owed| !is_held_back(&owed.effect));
    }
    record::owe(policy, identity, now, &mut owed);
    if let Some(at) = next_boundary(identity, now) {
        owed.insert(
            Lane::Timer,
            Owed {
                effect: Effect::Wake,
                not_before: at,
                class: Class::Timer,
                manager: None,
            },
        );
    }
    owed
}

/// The child of `parent` on `phone` wants its key now.
#[must_use]
pub fn is_child_wanting(
    identity: &Identity,
    parent: &Parent,
    id: PhoneId,
    phone: &Phone,
    now: Timestamp,
) -> bool {
    let held_back = identity
        .acs_users
        .get(&parent.acs_user)
        .is_none_or(|user| user.suspended || user.deleting_since.is_some())
        || parent.unassigned;
    let in_dates =
        parent.starts_at.is_none_or(|at| at <= now) && parent.ends_at.is_none_or(|at| now < at);
    let child_stays = parent
        .children
        .get(&id)
        .is_some_and(|child| child.deleting_since.is_none());
    identity.deleting_since.is_none()
        && parent.deleting_since.is_none()
        && !held_back
        && in_dates
        && child_stays
        && phone.enrolled
        && phone.is_active()
}

/// A key is wanted while any child wants it (contract.md section 1).
#[must_use]
pub fn is_key_wanted(
    identity: &Identity,
    manager: AcsSystemId,
    (id, phone): (PhoneId, &Phone),
    part_number: &PartNumber,
    now: Timestamp,
) -> bool {
    let same = |parent: &&Parent| parent.manager == manager && parent.part_number == *part_number;
    identity
        .parents
        .values()
        .filter(same)
        .any(|parent| is_child_wanting(identity, parent, id, phone, now))
}

/// HID's user for this identity; `None` where data that HID requires are missing (contract.md section 6, HID's user).
#[must_use]
pub fn new_user(identity: &Identity) -> Option<NewUser> {
    let name = identity.profile.full_name.as_ref()?.0.trim();
    let email = identity
        .profile
        .email_address
        .as_ref()?
        .0
        .trim()
        .to_lowercase();
    let (given, family) = name
        .rsplit_once(char::is_whitespace)
        .unwrap_or((name, name));
    let fits = |part: &str| (2..=100).contains(&part.chars().count());
    let (given, family) = (given.trim(), family.trim());
    let (local, domain) = email.split_once('@')?;
    (fits(given) && fits(family) && !local.is_empty() && domain.contains('.')).then(|| NewUser {
        external_id: identity.id,
        given_name: Personal(given.to_owned()),
        family_name: Personal(family.to_owned()),
        email: Personal(email.clone()),
    })
}

/// HID was told another address than a create would tell it now, so it would not refuse that one.
#[must_use]
pub fn is_moved(user: &CmUser, data: Option<&NewUser>) -> bool {
    let told = user.told.data.as_ref();
    told.is_some_and(|told| data.map(|data| &data.email) != Some(&told.email))
}

/// The next moment at which a date changes what is wanted.
fn next_boundary(identity: &Identity, now: Timestamp) -> Option<Timestamp> {
    let parents = identity
        .parents
        .values()
        .filter(|parent| parent.deleting_since.is_none());
    parents
        .flat_map(|parent| [parent.starts_at, parent.ends_at])
        .flatten()
        .filter(|at| *at > now)
        .min()
}

struct Planner<'a> {
    policy: &'a Policy,
    manager_policy: &'a ManagerPolicy,
    identity: &'a Identity,
    manager: AcsSystemId,
    enrollment: &'a Enrollment,
    now: Timestamp,
    owed: &'a mut BTreeMap<Lane, Owed>,
}

impl Planner<'_> {
    fn owe(&mut self, lane: Lane, class: Class, not_before: Timestamp, effect: Effect) {
        self.owed.insert(
            lane,
            Owed {
                effect,
                not_before,
                class,
                manager: Some(self.manager),
            },
        );
    }

    /// The earlier of what the lane owes and this.
    fn owe_earlier(&mut self, lane: Lane, class: Class, not_before: Timestamp, effect: Effect) {
        if self
            .owed
            .get(&lane)
            .is_none_or(|owed| not_before < owed.not_before)
        {
            self.owe(lane, class, not_before, effect);
        }
    }
}

/// Nothing of ours is live or in doubt at HID, the user aside.
#[must_use]
pub fn is_withdrawn(enrollment: &Enrollment) -> bool {
    let phones = enrollment
        .phones
        .values()
        .filter(|phone| phone.removed_at.is_none());
    let mut keys = phones.flat_map(|phone| phone.keys.values());
    keys.all(is_key_withdrawn) && is_invitation_closed(enrollment)
}

/// Nothing of ours is live or in doubt for this pair.
#[must_use]
pub fn is_key_withdrawn(key: &Key) -> bool {
    let ours = key
        .held
        .iter()
        .any(|(id, held)| held.ours || key.current.as_ref() == Some(id));
    !ours && !matches!(key.doubt.stage, DoubtStage::Open { .. })
}

/// When a read tells what became of an unanswered create. While the automation runs, a second
/// invitation is cancelled as soon as it shows; after a stop or a deactivation a late
/// one would stay.
#[must_use]
pub fn invitation_told_at(policy: &Policy, enrollment: &Enrollment) -> Option<Timestamp> {
    let wait = if enrollment.is_running() && !enrollment.invite.barred {
        policy.settle_delay
    } else {
        policy.shows_after()
    };
    Some(enrollment.invite.unsure_since?.plus(wait))
}

/// No invitation of ours is open or in doubt. None outlives its user.
#[must_use]
pub fn is_invitation_closed(enrollment: &Enrollment) -> bool {
    let open = enrollment
        .invitations
        .values()
        .any(|i| i.ours && i.status == InvitationStatus::Pending);
    let has_user = match &enrollment.user.state {
        CmUserState::Unsure { .. }
        | CmUserState::Taken
        | CmUserState::Found { .. }
        | CmUserState::Present { .. }
        | CmUserState::Deleting { .. } => true,
        CmUserState::Absent
        | CmUserState::Conflict { .. }
        | CmUserState::Refused(_)
        | CmUserState::Gone => false,
    };
    !has_user || (!open && enrollment.invite.unsure_since.is_none())
}

fn step_of(schedule: &[Duration], index: u32) -> Duration {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    schedule
        .get(index)
        .or(schedule.last())
        .copied()
        .unwrap_or(Duration::from_mins(1))
}
