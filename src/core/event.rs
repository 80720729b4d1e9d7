//! What the events feed says. Events are hints: late, twice, out of order; none of them undoes a fact.

use super::effect::Lane;
use super::identity::{CmUserState, Enrollment, Identity};
use super::ids::{ContainerId, CredentialId, InvitationId, PhoneId, Timestamp};
use super::observation::{
    ContainerSeen, ContainerStatus, CredentialStatus, Device, Event, Happening, InvitationSeen,
    InvitationStatus,
};
use super::policy::Policy;
use super::seen;

/// The feed told `event`.
pub(super) fn told(policy: &Policy, identity: &mut Identity, event: &Event, now: Timestamp) {
    let issuing_to = issuing_to(identity);
    let Some(enrollment) = identity.enrollments.get_mut(&event.manager) else {
        return;
    };
    match &event.what {
        Happening::PhoneActive {
            container,
            invitation,
            device,
        } => {
            phone_active(
                policy,
                enrollment,
                event,
                container,
                invitation.as_ref(),
                device,
                now,
            );
        }
        Happening::PhoneOther { container } => {
            let id = PhoneId::of(event.manager, container);
            match enrollment.phones.get_mut(&id) {
                Some(phone) if phone.removed_at.is_none() => phone.look = Some(now),
                Some(_) => {}
                None => enrollment.look = Some(now),
            }
        }
        Happening::Invitation { invitation, status } => {
            invitation_told(enrollment, invitation, status, now);
        }
        Happening::KeyIssued {
            credential,
            container,
        } => {
            let issuing = issuing_to.is_some();
            if !key_issued(enrollment, credential) && !issuing {
                look_at(enrollment, event, credential, container.as_ref(), now);
            }
        }
        Happening::KeyOther {
            credential,
            container,
        } => {
            if issuing_to.is_none() {
                look_at(enrollment, event, credential, container.as_ref(), now);
            }
        }
        Happening::UserOther => enrollment.look = Some(now),
    }
}

/// The phone to which an issue is under way: its own answer will tell more than its echo.
fn issuing_to(identity: &Identity) -> Option<PhoneId> {
    match identity.in_flight.as_ref().map(|call| &call.lane)? {
        Lane::Key(phone, _) => Some(*phone),
        Lane::CmUser(_)
        | Lane::Invitation(_)
        | Lane::Read(_)
        | Lane::Wait(_)
        | Lane::Sweep(_)
        | Lane::Phone(_)
        | Lane::Timer => None,
    }
}

fn phone_active(
    policy: &Policy,
    enrollment: &mut Enrollment,
    event: &Event,
    container: &ContainerId,
    invitation: Option<&InvitationId>,
    device: &Device,
    now: Timestamp,
) {
    let id = PhoneId::of(event.manager, container);
    let ours = invitation
        .and_then(|id| enrollment.invitations.get(id))
        .is_some_and(|known| known.ours);
    seen::close_invitations(enrollment, invitation.filter(|_| ours));
    if let Some(phone) = enrollment.phones.get_mut(&id) {
        match phone.status {
            ContainerStatus::Initialized | ContainerStatus::Unknown(_) => {
                phone.status = ContainerStatus::Active;
            }
            ContainerStatus::Active => {}
            ContainerStatus::Deleting => phone.look = Some(now),
        }
        return;
    }
    let overlap = policy
        .managers
        .get(&event.manager)
        .map_or(std::time::Duration::ZERO, |m| m.overlap);
    let adopted = matches!(
        enrollment.user.state,
        CmUserState::Present { adopted: true, .. }
    );
    let enrolled = enrollment.is_running();
    let seen = ContainerSeen {
        id: container.clone(),
        status: ContainerStatus::Active,
        device: device.clone(),
        credentials: vec![],
    };
    let mut phone = seen::new_phone(&seen, enrolled, now);
    phone.read_first = adopted || !ours || now.since(event.time) > overlap;
    enrollment.phones.insert(id, phone);
}

fn invitation_told(
    enrollment: &mut Enrollment,
    id: &InvitationId,
    status: &InvitationStatus,
    now: Timestamp,
) {
    if let Some(invitation) = enrollment.invitations.get_mut(id) {
        seen::note_invitation_status(invitation, status, now);
    } else {
        let seen = InvitationSeen {
            id: id.clone(),
            code: None,
            status: status.clone(),
            expires_at: None,
        };
        let awaited = enrollment.invite.unattributed > 0;
        seen::note_invitation(enrollment, &seen, now);
        if awaited {
            // The code is known to reads only.
            enrollment.look = Some(now);
        }
    }
}

/// `true` where the key was known.
fn key_issued(enrollment: &mut Enrollment, id: &CredentialId) -> bool {
    let keys = enrollment
        .phones
        .values_mut()
        .flat_map(|phone| phone.keys.values_mut());
    let Some(held) = keys.filter_map(|key| key.held.get_mut(id)).next() else {
        return false;
    };
    if held.status.is_issue() {
        held.status = CredentialStatus::Issued;
    }
    true
}

fn look_at(
    enrollment: &mut Enrollment,
    event: &Event,
    credential: &CredentialId,
    container: Option<&ContainerId>,
    now: Timestamp,
) {
    let named = container.map(|container| PhoneId::of(event.manager, container));
    let phone = enrollment.phones.iter_mut().find(|(id, phone)| {
        Some(**id) == named
            || phone
                .keys
                .values()
                .any(|key| key.held.contains_key(credential))
    });
    match phone {
        Some((_, phone)) if phone.removed_at.is_none() => phone.look = Some(now),
        Some(_) => {}
        None => enrollment.look = Some(now),
    }
}
