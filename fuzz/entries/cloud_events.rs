//! The events feed, through the client into the core.
//!
//! The first byte picks a stage, the second how late the feed is. Then come the bodies of polls, parted by blank
//! lines.

use std::collections::BTreeSet;

use origo_adapter::core::identity::Identity;
use origo_adapter::core::index::{self, Kind, remote};
use origo_adapter::core::observation::{Event, Observation};
use origo_adapter::origo::{RawEvent, RawKind};
use serde_json::Value;

use super::hid::{self, Reply};
use super::stages::{STAGES, check_nothing_lost};
use super::{BETWEEN, block_on, pick};
use crate::support::scene::{Scene, check_round_trip, manager};

/// Plays `data` to the end.
pub(crate) fn run(data: &[u8]) {
    let [stage, late, rest @ ..] = data else {
        return;
    };
    let mut scene = pick(&STAGES, *stage)();
    let mut seen = BTreeSet::new();
    let rest = String::from_utf8_lossy(rest);
    for body in rest.split(BETWEEN).take(6) {
        scene.pass(u64::from(*late));
        for raw in poll(body) {
            if seen.insert(raw.id.clone()) {
                tell(&mut scene, &raw);
            }
        }
    }
}

/// What one poll understands of a body, in the order of the poller.
pub(crate) fn poll(body: &str) -> Vec<RawEvent> {
    let reply = Reply::Answer {
        status: 200,
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
    };
    let (client, _) = hid::client(reply, None);
    let Ok(mut events) = block_on(client.events(hid::NOW - 1, hid::NOW)) else {
        let said = serde_json::from_str::<Value>(body);
        assert!(!matches!(said, Ok(Value::Array(_))), "a list is not read");
        return Vec::new();
    };
    let left_out = usize::try_from(client.skipped()).expect("few");
    if let Ok(Value::Array(entries)) = serde_json::from_str(body) {
        assert_eq!(events.len() + left_out, entries.len(), "an entry is lost");
    }
    events.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
    for event in &events {
        assert!((1..=200).contains(&event.id.chars().count()));
        // An entry that names somebody is a reason to look; all others are for nobody.
        let named = event.user.is_some();
        assert!(
            event.happening().is_some() || !named || is_echo(event),
            "{event:?}"
        );
    }
    events
}

/// Our own creation, or a type that nobody knows.
fn is_echo(event: &RawEvent) -> bool {
    match &event.kind {
        RawKind::User { status } => status.trim().eq_ignore_ascii_case("USER_CREATED"),
        RawKind::Other { .. } => true,
        RawKind::Invitation { .. } | RawKind::Endpoint { .. } | RawKind::Credential { .. } => false,
    }
}

fn tell(scene: &mut Scene, raw: &RawEvent) {
    let Some(before) = scene.identity.clone() else {
        return;
    };
    let Some(what) = raw.happening().filter(|_| is_theirs(&before, raw)) else {
        return;
    };
    let event = Event {
        manager: manager(),
        time: raw.time.unwrap_or(scene.now),
        what,
    };
    // The scene holds each step against what is true of any: no key is owed twice, none in doubt.
    let started = scene.see(&Observation::Event(event));
    assert!(started.is_none(), "an event starts no call");
    let after = scene.identity.as_ref().expect("an event ends nobody");
    check_round_trip(after);
    check_hint(&before, after);
    check_nothing_lost(scene);
}

/// Whose the entry is, as the index has it.
fn is_theirs(identity: &Identity, raw: &RawEvent) -> bool {
    let names = [
        raw.user
            .as_ref()
            .map(|id| (Kind::HidUser, remote(manager(), id))),
        raw.container
            .as_ref()
            .map(|id| (Kind::HidContainer, remote(manager(), id))),
        raw.invitation
            .as_ref()
            .map(|id| (Kind::HidInvitation, remote(manager(), id))),
        raw.credential
            .as_ref()
            .map(|id| (Kind::HidCredential, remote(manager(), id))),
    ];
    let rows = index::rows(identity);
    let known = |kind, id: &str| rows.iter().any(|row| row.kind == kind && row.id == id);
    names
        .into_iter()
        .flatten()
        .any(|(kind, id)| known(kind, &id))
}

/// An event is a hint: it takes nothing away, makes nothing ours and changes no wish.
fn check_hint(before: &Identity, after: &Identity) {
    assert_eq!(before.profile, after.profile);
    assert_eq!(before.acs_users, after.acs_users);
    assert_eq!(before.in_flight, after.in_flight);
    assert_eq!(before.deleting_since, after.deleting_since);
    let parents = |identity: &Identity| -> Vec<_> { identity.parents.keys().copied().collect() };
    assert_eq!(parents(before), parents(after));
    for (manager, enrollment) in &before.enrollments {
        let now = &after.enrollments[manager];
        assert_eq!(enrollment.automation.is_some(), now.automation.is_some());
        assert_eq!(enrollment.user, now.user);
        let awaited = enrollment.invite.unattributed > 0;
        for (id, invitation) in &now.invitations {
            let ours = enrollment
                .invitations
                .get(id)
                .is_some_and(|known| known.ours);
            assert!(invitation.ours == ours || awaited, "{id} became ours");
        }
        assert!(
            enrollment
                .invitations
                .keys()
                .all(|id| now.invitations.contains_key(id))
        );
        for (id, phone) in &enrollment.phones {
            assert_eq!(now.phones[id].removed_at, phone.removed_at);
            for (part_number, key) in &phone.keys {
                let held = &now.phones[id].keys[part_number].held;
                assert!(key.held.keys().eq(held.keys()), "{:?} {held:?}", key.held);
                assert_eq!(key.doubt, now.phones[id].keys[part_number].doubt);
            }
        }
    }
}
