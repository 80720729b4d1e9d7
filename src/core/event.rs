//! What the events feed says. Events are hints: late, twice, out of order; none of them undoes a fact.

use super::effect::Effect;
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
    let in_flight = identity.in_flight.as_ref();
    let issuing = in_flight.and_then(|call| issued_on(&call.effect)).cloned();
    let inviting = is_making(identity, |effect| {
        matches!(
            effect,
            Effect::CreateUser { .. } | Effect::CreateInvitation { .. }
        )
    });
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
            if !inviting || enrollment.invitations.contains_key(invitation) {
                invitation_told(enrollment, invitation, status, now);
            }
        }
        Happening::KeyBegun {
            credential,
            container,
        } => {
            let is_echo = container.is_some() && *container == issuing;
            if !is_echo && !is_known(enrollment, credential) {
                look_at(enrollment, event, credential, container.as_ref(), now);
            }
        }
        Happening::KeyIssued {
            credential,
            container,
        } => {
            if !key_issued(enrollment, credential) {
                look_at(enrollment, event, credential, container.as_ref(), now);
            }
        }
        Happening::KeyOther {
            credential,
            container,
        } => look_at(enrollment, event, credential, container.as_ref(), now),
        Happening::UserOther => enrollment.look = Some(now),
    }
}

/// A call that makes such a thing is under way: its own answer will tell more than its echo.
fn is_making(identity: &Identity, what: impl Fn(&Effect) -> bool) -> bool {
    identity
        .in_flight
        .as_ref()
        .is_some_and(|call| what(&call.effect))
}

fn issued_on(effect: &Effect) -> Option<&ContainerId> {
    if let Effect::Issue { container, .. } = effect {
        Some(container)
    } else {
        None
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
    if let Some(phone) = enrollment.phones.get_mut(&id) {
        phone.invitation = phone.invitation.take().or(invitation.cloned());
        match phone.status {
            ContainerStatus::Initialized | ContainerStatus::Unknown(_) => {
                phone.status = ContainerStatus::Active;
            }
            ContainerStatus::Active => {}
            ContainerStatus::Deleting => phone.look = Some(now),
        }
        return;
    }
    seen::close_invitations(enrollment, invitation.filter(|_| ours));
    if !ours && enrollment.open_invitation().is_some() {
        // It may be the spent one, and its acknowledgement lost: a read shows it.
        enrollment.look = Some(now);
    }
    let overlap = policy
        .managers
        .get(&event.manager)
        .map_or(std::time::Duration::ZERO, |m| m.overlap);
    let adopted = matches!(
        enrollment.user.state,
        CmUserState::Present { adopted: true, .. }
    );
    let knocks = enrollment.is_running();
    let seen = ContainerSeen {
        id: container.clone(),
        status: ContainerStatus::Active,
        device: device.clone(),
        credentials: vec![],
    };
    let mut phone = seen::new_phone(&seen, knocks, now);
    phone.invitation = invitation.cloned();
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

/// It is known that HID makes it, or has.
fn is_known(enrollment: &Enrollment, id: &CredentialId) -> bool {
    let mut keys = enrollment
        .phones
        .values()
        .flat_map(|phone| phone.keys.values());
    let held = keys.find_map(|key| key.held.get(id));
    held.is_some_and(|held| held.status.is_issue())
}

/// `true` where the key was known.
fn key_issued(enrollment: &mut Enrollment, id: &CredentialId) -> bool {
    let mut keys = enrollment
        .phones
        .values_mut()
        .flat_map(|phone| phone.keys.values_mut());
    let Some(held) = keys.find_map(|key| key.held.get_mut(id)) else {
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
