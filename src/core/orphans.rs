//! What hangs below our people at HID and is not ours: told, and removed only when somebody asks.
//!
//! A credential that a wanted key adopted is no orphan, and neither is one that a call of ours without an answer may
//! have made. What goes with its phone or its user needs no help.

use super::identity::{Enrollment, Held, Identity, Invitation, Key, Phone};
use super::ids::{
    AcsSystemId, CredentialId, InvitationId, OrphanId, PartNumber, PhoneId, Timestamp,
};
use super::observation::InvitationStatus;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan<'a> {
    /// Ours, and stable.
    pub id: OrphanId,
    /// At which credential manager.
    pub manager: AcsSystemId,
    /// What it is.
    pub what: What<'a>,
}

/// What an orphan is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A credential on a phone of ours.
    Credential {
        /// On which.
        phone: PhoneId,
        /// Of which part number.
        part_number: &'a PartNumber,
        /// HID's id.
        credential: &'a CredentialId,
        /// As HID last showed it.
        held: &'a Held,
    },
    /// An open invitation of a user of ours.
    Invitation {
        /// HID's id.
        invitation: &'a InvitationId,
        /// As HID last showed it.
        known: &'a Invitation,
    },
}

impl Orphan<'_> {
    /// When we first saw it.
    #[must_use]
    pub fn found_at(&self) -> Timestamp {
        match self.what {
            What::Credential { held, .. } => held.seen_at,
            What::Invitation { known, .. } => known.created_at,
        }
    }

    /// Somebody asked for its removal.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        match self.what {
            What::Credential { held, .. } => held.doomed,
            What::Invitation { known, .. } => known.cancel,
        }
    }
}

/// All of an identity's.
pub fn of(identity: &Identity) -> impl Iterator<Item = Orphan<'_>> {
    let enrollments = identity.enrollments.iter();
    enrollments.flat_map(|(manager, enrollment)| {
        credentials(*manager, enrollment).chain(invitations(*manager, enrollment))
    })
}

/// The one of this id.
#[must_use]
pub fn find(identity: &Identity, id: OrphanId) -> Option<Orphan<'_>> {
    of(identity).find(|orphan| orphan.id == id)
}

fn credentials(manager: AcsSystemId, enrollment: &Enrollment) -> impl Iterator<Item = Orphan<'_>> {
    let phones = enrollment.phones.iter();
    let phones = phones.filter(|(_, phone)| phone.removed_at.is_none() && phone.removal.is_none());
    let keys = phones.flat_map(|(id, phone): (&PhoneId, &Phone)| {
        let keys = phone.keys.iter();
        keys.map(move |(part_number, key)| (*id, part_number, key))
    });
    keys.flat_map(move |(phone, part_number, key)| {
        let held = key.held.iter();
        let orphans = held.filter(move |(id, held)| is_orphan(key, id, held));
        orphans.map(move |(credential, held)| Orphan {
            id: OrphanId::of_credential(manager, credential),
            manager,
            what: What::Credential {
                phone,
                part_number,
                credential,
                held,
            },
        })
    })
}

fn is_orphan(key: &Key, id: &CredentialId, held: &Held) -> bool {
    let goes_by_itself = held.status.is_revoke() && !held.doomed;
    !held.ours && key.current.as_ref() != Some(id) && !goes_by_itself
}

fn invitations(manager: AcsSystemId, enrollment: &Enrollment) -> impl Iterator<Item = Orphan<'_>> {
    let open = |invitation: &Invitation| {
        !invitation.ours && !invitation.closed && invitation.status == InvitationStatus::Pending
    };
    let invitations = enrollment.invitations.iter();
    invitations
        .filter(move |(_, known)| enrollment.user_id().is_some() && open(known))
        .map(move |(invitation, known)| Orphan {
            id: OrphanId::of_invitation(manager, invitation),
            manager,
            what: What::Invitation { invitation, known },
        })
}

/// Somebody wants it gone: what it was is decided afresh, for it may have become ours meanwhile.
pub(super) fn remove(identity: &mut Identity, id: OrphanId) {
    let Some(orphan) = find(identity, id) else {
        return;
    };
    let manager = orphan.manager;
    let place = match orphan.what {
        What::Credential {
            phone,
            part_number,
            credential,
            ..
        } => Ok((phone, part_number.clone(), credential.clone())),
        What::Invitation { invitation, .. } => Err(invitation.clone()),
    };
    let Some(enrollment) = identity.enrollments.get_mut(&manager) else {
        return;
    };
    match place {
        Ok((phone, part_number, credential)) => {
            let phone = enrollment.phones.get_mut(&phone);
            let key = phone.and_then(|phone| phone.keys.get_mut(&part_number));
            if let Some(held) = key.and_then(|key| key.held.get_mut(&credential)) {
                held.doomed = true;
            }
        }
        Err(invitation) => {
            if let Some(known) = enrollment.invitations.get_mut(&invitation) {
                known.cancel = true;
            }
        }
    }
}
