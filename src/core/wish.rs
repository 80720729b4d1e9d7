//! What the operator's software asks for.

use serde::{Deserialize, Serialize};

mod hold;
mod operator;
mod people;
mod phone;
mod prune;

use super::hold::HoldReason;
pub use operator::Target;

use super::drift;
use super::identity::{AcsUser, Automation, CmUserState, Enrollment, Identity, Parent, Profile};
use super::ids::{
    AcsSystemId, AcsUserId, AutomationId, ChildId, OrphanId, ParentId, PartNumber, Personal,
    PhoneId, Timestamp,
};
use super::orphans;

/// One wish about one identity. Checked by the API before it gets here; in the core an odd one changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// There is a user identity.
    Identity(Profile),
    /// It has a record in a system. Also the first wish of an ACS user without an identity.
    AcsUser {
        /// Ours.
        id: AcsUserId,
        /// In which system.
        acs_system: AcsSystemId,
        /// As given.
        full_name: Option<Personal>,
        /// Lower-cased.
        email_address: Option<Personal>,
        /// E.164.
        phone_number: Option<Personal>,
    },
    /// An ACS user's own data are these from now on.
    ChangeAcsUser {
        /// Whose.
        id: AcsUserId,
        /// As given.
        full_name: Option<Personal>,
        /// Lower-cased.
        email_address: Option<Personal>,
        /// E.164.
        phone_number: Option<Personal>,
        /// As given.
        hid_acs_system_id: Option<uuid::Uuid>,
    },
    /// An ACS user is to hold no keys for a while, or may hold them again.
    Suspend {
        /// Whose.
        id: AcsUserId,
        /// Which of the two.
        suspended: bool,
    },
    /// An ACS user is to go, and its parents first.
    DeleteAcsUser(AcsUserId),
    /// An ACS user leaves with its parents, to be taken in by another identity in the same commit.
    ReleaseAcsUser(AcsUserId),
    /// A parent leaves by itself, likewise.
    ReleaseParent(ParentId),
    /// What another identity released belongs here from now on, but for the children.
    TakeIn {
        /// At most one a system.
        users: Vec<(AcsUserId, AcsUser)>,
        /// Of those users, or of such as are here.
        parents: Vec<(ParentId, Parent)>,
    },
    /// Phones are to be enrolled with a manager.
    Launch {
        /// The id of a new automation; an existing one keeps its own.
        id: AutomationId,
        /// With whom.
        manager: AcsSystemId,
        /// The pool's part number.
        part_number: Option<PartNumber>,
    },
    /// No more phones are to be enrolled; issued keys stay.
    DeleteAutomation(AutomationId),
    /// Every phone is to hold a key.
    Parent {
        /// Ours.
        id: ParentId,
        /// Who gets it.
        acs_user: AcsUserId,
        /// Who issues it.
        manager: AcsSystemId,
        /// The id of the automation that it implies where none is running.
        automation: AutomationId,
        /// What is issued.
        part_number: PartNumber,
        /// As given.
        card_format: Option<String>,
        /// As given.
        facility_code: Option<String>,
        /// Stored, not interpreted.
        allowed_acs_entrance_ids: Vec<uuid::Uuid>,
        /// Keys are issued from then.
        starts_at: Option<Timestamp>,
        /// Keys are revoked then.
        ends_at: Option<Timestamp>,
    },
    /// A parent's keys are held between other dates; outside of them none is.
    SetDates {
        /// Which.
        id: ParentId,
        /// Keys are issued from then; `None`: at once.
        starts_at: Option<Timestamp>,
        /// Keys are revoked then; `None`: never.
        ends_at: Option<Timestamp>,
    },
    /// A parent is this ACS user's from now on; `None`: nobody's, and no phone is to hold it.
    Assign(ParentId, Option<AcsUserId>),
    /// No phone is to hold this parent's keys.
    DeleteParent(ParentId),
    /// One phone is not to hold it.
    DeleteChild(ChildId),
    /// The person is to have an open invitation.
    Invite {
        /// With whom.
        manager: AcsSystemId,
        /// For which installation of the app.
        installation: Option<String>,
        /// Mail it (again).
        resend: bool,
    },
    /// A phone is to go, with all that it holds.
    DeactivatePhone(PhoneId),
    /// Nothing new is to be made or issued for a while.
    Hold(HoldReason),
    /// What was held may go on, and what was kept back is done.
    Release,
    /// Their file no longer names these parents; kept back where the guard says so.
    Prune {
        /// Which.
        parents: Vec<ParentId>,
        /// Until a person says so.
        held: bool,
    },
    /// Whatever failed, is stuck or waits for its own schedule is to be tried at once.
    Retry(Target),
    /// What HID holds is to be read now.
    Resync(Target),
    /// The user whose e-mail address is in the way is to be taken over.
    AdoptUser(Target),
    /// Something that is not ours is to go.
    RemoveOrphan(OrphanId),
    /// Nothing is wanted for this identity any more.
    DeleteIdentity,
}

/// Takes a wish in.
pub(super) fn take(identity: &mut Identity, wish: &Wish, now: Timestamp) {
    match wish {
        Wish::Identity(profile) => {
            identity.listed = true;
            if identity.profile != *profile {
                identity.profile = profile.clone();
                for enrollment in identity.enrollments.values_mut() {
                    try_user_again(enrollment);
                }
            }
        }
        Wish::AcsUser {
            id,
            acs_system,
            full_name,
            email_address,
            phone_number,
        } => {
            identity.acs_users.entry(*id).or_insert_with(|| AcsUser {
                acs_system: *acs_system,
                created_at: now,
                full_name: full_name.clone(),
                email_address: email_address.clone(),
                phone_number: phone_number.clone(),
                suspended: false,
                hid_acs_system_id: None,
                deleting_since: None,
            });
        }
        Wish::ChangeAcsUser { .. }
        | Wish::Suspend { .. }
        | Wish::DeleteAcsUser(_)
        | Wish::ReleaseAcsUser(_)
        | Wish::ReleaseParent(_)
        | Wish::TakeIn { .. }
        | Wish::SetDates { .. }
        | Wish::Assign(..) => people::take(identity, wish, now),
        Wish::DeactivatePhone(id) => phone::deactivate(identity, *id, now),
        Wish::Retry(target) => operator::retry(identity, target, now),
        Wish::Resync(target) => operator::resync(identity, target, now),
        Wish::AdoptUser(target) => operator::adopt_user(identity, target, now),
        Wish::RemoveOrphan(id) => orphans::remove(identity, *id),
        Wish::Launch {
            id,
            manager,
            part_number,
        } => launch(identity, *id, *manager, part_number.clone(), now),
        Wish::DeleteAutomation(id) => {
            let automations = identity
                .enrollments
                .values_mut()
                .filter_map(|e| e.automation.as_mut());
            for automation in automations.filter(|automation| automation.id == *id) {
                automation.stopping_since.get_or_insert(now);
            }
        }
        Wish::Parent { .. } => take_parent(identity, wish, now),
        Wish::DeleteParent(id) => {
            if let Some(parent) = identity.parents.get_mut(id) {
                parent.deleting_since.get_or_insert(now);
            }
        }
        Wish::DeleteChild(id) => {
            let children = identity
                .parents
                .values_mut()
                .flat_map(|parent| parent.children.values_mut());
            for child in children.filter(|child| child.id == *id) {
                child.deleting_since.get_or_insert(now);
            }
        }
        Wish::Invite {
            manager,
            installation,
            resend,
        } => invite(identity, *manager, installation.as_ref(), *resend),
        Wish::Hold(reason) => hold::hold(identity, *reason, now),
        Wish::Release => {
            identity.held = None;
            prune::carry_out(identity, now);
        }
        Wish::Prune { parents, held } => prune::prune(identity, parents, *held, now),
        Wish::DeleteIdentity => delete(identity, now),
    }
}

fn take_parent(identity: &mut Identity, wish: &Wish, now: Timestamp) {
    let Wish::Parent {
        id,
        manager,
        automation,
        ..
    } = wish
    else {
        return;
    };
    let Some(parent) = parent_of(identity, wish, now) else {
        return;
    };
    people::try_keys_again(identity, &parent.part_number);
    identity.parents.entry(*id).or_insert(parent);
    launch(identity, *automation, *manager, None, now);
}

fn launch(
    identity: &mut Identity,
    id: AutomationId,
    manager: AcsSystemId,
    part_number: Option<PartNumber>,
    now: Timestamp,
) {
    if !identity.listed || identity.deleting_since.is_some() {
        return;
    }
    let enrollment = identity.enrollments.entry(manager).or_default();
    try_user_again(enrollment);
    if enrollment.is_running() {
        return;
    }
    enrollment.automation = Some(Automation {
        id,
        created_at: now,
        part_number,
        stopping_since: None,
    });
    for phone in enrollment.phones.values_mut() {
        let knocks = !phone.enrolled && phone.removal.is_none() && phone.removed_at.is_none();
        phone.knocked_at = knocks.then_some(now);
    }
    for invitation in enrollment.invitations.values_mut() {
        invitation.cancel = false;
    }
    enrollment.invite.barred = false;
    enrollment.invite.renewals = 0;
    enrollment.invite.wanted = !enrollment.has_phone() && enrollment.open_invitation().is_none();
}

/// A new wish is a new try.
fn try_user_again(enrollment: &mut Enrollment) {
    match enrollment.user.state {
        CmUserState::Refused(_) | CmUserState::Conflict { .. } => {
            let user = std::mem::take(&mut enrollment.user);
            enrollment.user = user.start_over();
        }
        CmUserState::Gone => drift::make_user_again(enrollment),
        CmUserState::Absent
        | CmUserState::Unsure { .. }
        | CmUserState::Taken
        | CmUserState::Found { .. }
        | CmUserState::Present { .. }
        | CmUserState::Deleting { .. } => {}
    }
    enrollment.user.told.refused = None;
}

fn invite(
    identity: &mut Identity,
    manager: AcsSystemId,
    installation: Option<&String>,
    resend: bool,
) {
    let Some(enrollment) = identity
        .enrollments
        .get_mut(&manager)
        .filter(|e| e.is_running())
    else {
        return;
    };
    enrollment.invite.barred = false;
    if enrollment.open_invitation().is_some() {
        enrollment.invite.resend |= resend;
    } else if !enrollment.invite.wanted {
        enrollment.invite.wanted = true;
        enrollment.invite.installation = installation.cloned();
        enrollment.invite.renewals = 0;
    }
}

fn parent_of(identity: &Identity, wish: &Wish, now: Timestamp) -> Option<Parent> {
    let Wish::Parent {
        acs_user,
        manager,
        part_number,
        card_format,
        facility_code,
        allowed_acs_entrance_ids,
        starts_at,
        ends_at,
        ..
    } = wish
    else {
        return None;
    };
    let user = identity
        .acs_users
        .get(acs_user)
        .filter(|user| identity.deleting_since.is_none() && user.deleting_since.is_none())?;
    Some(Parent {
        acs_user: *acs_user,
        unassigned: false,
        acs_system: user.acs_system,
        manager: *manager,
        part_number: part_number.clone(),
        card_format: card_format.clone(),
        facility_code: facility_code.clone(),
        allowed_acs_entrance_ids: allowed_acs_entrance_ids.clone(),
        starts_at: *starts_at,
        ends_at: *ends_at,
        created_at: now,
        deleting_since: None,
        prune_held_since: None,
        children: std::collections::BTreeMap::new(),
    })
}

fn delete(identity: &mut Identity, now: Timestamp) {
    identity.deleting_since.get_or_insert(now);
    for parent in identity.parents.values_mut() {
        parent.deleting_since.get_or_insert(now);
    }
    for automation in identity
        .enrollments
        .values_mut()
        .filter_map(|e| e.automation.as_mut())
    {
        automation.stopping_since.get_or_insert(now);
    }
}
