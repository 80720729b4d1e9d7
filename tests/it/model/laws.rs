//! What must hold in every state, and what must hold once all is quiet.

use origo_adapter::core::effect::{Effect, Lane};
use origo_adapter::core::identity::{CmUserState, Enrollment, Identity};
use origo_adapter::core::ids::{ContainerId, PartNumber, PhoneId};
use origo_adapter::core::observation::{CredentialStatus, InvitationStatus};
use origo_adapter::core::state;

use super::hid::{Phone, User};
use super::state::{State, person_id};
use crate::support::scene::{is_wanted, manager};

/// What every state keeps to.
pub(super) fn always(state: &State) -> Result<(), String> {
    for (_, phone) in state.hid.phones() {
        at_most_one(state, phone)?;
    }
    for person in 0..state.people.len() {
        if let Some(identity) = &state.people[person] {
            for (lane, owed) in state.owed(person) {
                nothing_unwanted(state, identity, lane, &owed.effect)?;
            }
        }
    }
    Ok(())
}

/// G1, and a little before it is too late: what lives of a pair and what may still come of calls, at most one.
fn at_most_one(state: &State, phone: &Phone) -> Result<(), String> {
    let under_way = |part: &PartNumber| {
        let calls = state.astray.iter().filter(|astray| astray.reply.is_none());
        let meant = |effect: &Effect| {
            matches!(effect, Effect::Issue { container, part_number }
                if *container == phone.id && part_number == part)
        };
        calls.filter(|astray| meant(&astray.call.effect)).count()
    };
    for key in &phone.keys {
        let live = phone.keys.iter().filter(|other| other.part == key.part);
        let live = live.count();
        if live > 1 {
            return Err(format!("two keys of {} on {}", key.part, phone.id));
        }
        let coming = if state.hid.refuses_duplicates {
            0
        } else {
            under_way(&key.part)
        };
        if live + coming > 1 {
            let (part, phone) = (&key.part, &phone.id);
            return Err(format!("a second key of {part} on {phone} may come"));
        }
    }
    Ok(())
}

/// Nothing is issued without a wish, nothing that is wanted and well is revoked, no phone that stays is deleted.
fn nothing_unwanted(
    state: &State,
    identity: &Identity,
    lane: &Lane,
    effect: &Effect,
) -> Result<(), String> {
    match (lane, effect) {
        (Lane::Key(phone, part), Effect::Issue { .. }) => {
            let key = &phone_of(identity, *phone).keys[part];
            if !is_wanted(identity, manager(), *phone, part, state.now) {
                return Err(format!("an issue of {part} is owed, and nobody wants it"));
            }
            if !key.held.is_empty() {
                return Err(format!("an issue of {part} is owed beside a key"));
            }
        }
        (Lane::Key(phone, part), Effect::Revoke { credential }) => {
            let key = &phone_of(identity, *phone).keys[part];
            let held = &key.held[credential];
            let well = held.status.is_issue() && !held.doomed;
            let kept = key.current.as_ref() == Some(credential);
            if well && kept && is_wanted(identity, manager(), *phone, part, state.now) {
                return Err(format!(
                    "a revoke of {credential} is owed, and it is wanted"
                ));
            }
        }
        (Lane::Removal(phone), _) if phone_of(identity, *phone).removal.is_none() => {
            return Err("a phone that stays is to be deleted".to_owned());
        }
        (_, Effect::DeleteUser { .. }) if identity.deleting_since.is_none() => {
            return Err("a user that stays is to be deleted".to_owned());
        }
        _ => {}
    }
    Ok(())
}

fn phone_of(identity: &Identity, id: PhoneId) -> &origo_adapter::core::identity::Phone {
    identity.phone(id).expect("a phone we know").1
}

/// G2 and G3: HID has what is wanted, and nothing else of ours.
pub(super) fn settled(state: &State) -> Result<(), String> {
    for (person, identity) in state.people.iter().enumerate() {
        let ours = |user: &&User| user.external_id == person_id(person).to_string();
        match identity {
            None if state.hid.users.iter().any(|user| ours(&user)) => {
                return Err(format!("a user of person {person} is left"));
            }
            Some(identity) if identity.deleting_since.is_some() => {
                return Err(format!("the deletion of person {person} never ends"));
            }
            None => {}
            Some(identity) => person_settled(state, identity)?,
        }
    }
    for (user, phone) in state.hid.phones() {
        let known = |identity: &Identity| {
            let id = PhoneId::of(manager(), &phone.id);
            identity.phone(id).is_some()
        };
        let owners = state.people.iter().flatten();
        let running = |identity: &Identity| {
            let mut enrollments = identity.enrollments.values();
            user.external_id == identity.id.to_string() && enrollments.any(Enrollment::is_running)
        };
        if owners.clone().any(running) && !owners.clone().any(known) {
            return Err(format!("phone {} was never found", phone.id));
        }
    }
    Ok(())
}

fn person_settled(state: &State, identity: &Identity) -> Result<(), String> {
    let Some(enrollment) = identity.enrollments.get(&manager()) else {
        return Ok(());
    };
    if enrollment.is_running() && enrollment.user_id().is_none() {
        let held = matches!(
            enrollment.user.state,
            CmUserState::Conflict { .. } | CmUserState::Refused(_)
        );
        let complete = origo_adapter::core::plan::new_user(identity).is_some();
        if complete && !held {
            return Err(format!("no user: {:?}", enrollment.user.state));
        }
    }
    for (id, phone) in &enrollment.phones {
        for part in phone.keys.keys() {
            key_settled(state, identity, (*id, &phone.container), part)?;
        }
        if phone.removal.is_some() && phone.removed_at.is_none() {
            return Err(format!("phone {} never goes", phone.container));
        }
    }
    for parent in identity.parents.values() {
        if parent.deleting_since.is_some() {
            return Err("the deletion of a parent never ends".to_owned());
        }
    }
    let hid_user = state.hid.users.iter();
    let mut hid_user = hid_user.filter(|user| enrollment.user_id() == Some(&user.id));
    let open = hid_user.next().map_or(0, |user| {
        let pending = |i: &&super::hid::Invitation| {
            let ours = enrollment.invitations.get(&i.id).is_none_or(|i| i.ours);
            ours && i.status == InvitationStatus::Pending
        };
        user.invitations.iter().filter(pending).count()
    });
    if open > usize::from(enrollment.is_running()) {
        return Err(format!("{open} invitations are open"));
    }
    Ok(())
}

fn key_settled(
    state: &State,
    identity: &Identity,
    (id, container): (PhoneId, &ContainerId),
    part: &PartNumber,
) -> Result<(), String> {
    let mut phones = state.hid.phones();
    let phone = phones.find(|(_, phone)| phone.id == *container);
    let on_it = phone.iter().flat_map(|(_, phone)| &phone.keys);
    let live: Vec<_> = on_it.filter(|key| key.part == *part).collect();
    let wanted = is_wanted(identity, manager(), id, part, state.now);
    let known = phone_of(identity, id);
    let waits = known.keys[part].out_of_stock_since.is_some() && state.hid.stock == 0;
    let issued = live
        .iter()
        .all(|key| key.status == CredentialStatus::Issued);
    if live.len() != usize::from(wanted && !waits) || !issued {
        let found: Vec<_> = live.iter().map(|key| (&key.id, &key.status)).collect();
        return Err(format!(
            "{part} on {container}: wanted {wanted}, there {found:?}"
        ));
    }
    let shown = state::key(identity, manager(), (id, known), part, state.now);
    if wanted && !waits && shown != state::KeyState::Issued {
        return Err(format!("{part} on {container} shows as {}", shown.name()));
    }
    Ok(())
}
