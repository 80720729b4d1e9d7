//! What HID's own ledger says of the story. Nothing of ours is asked but when each phone was first seen.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::stage::PART_NUMBER;
use super::story::{Cast, count};
use crate::core::ids::{AcsSystemId, ContainerId, PhoneId};
use crate::simulator::{Effect, Hid, Service, Violation};

/// No more phones are shown one by one.
const ROWS: usize = 12;

/// What came of the story.
pub(super) struct Verdict {
    /// What must not be; empty where all is well.
    pub(super) wrong: Vec<String>,
    /// The timeline and the table, to be shown.
    pub(super) lines: Vec<String>,
}

/// When what happened to one phone, in milliseconds since the epoch.
#[derive(Clone, Copy, Default)]
struct Times {
    registered: Option<i64>,
    active: Option<i64>,
    /// By the daemon.
    seen: Option<i64>,
    accepted: Option<i64>,
    issued: Option<i64>,
    revoked: Option<i64>,
}

/// Judges the story that `hid` saw, which began at `began`.
pub(super) fn judge(hid: &Hid, cast: &Cast, manager: Uuid, began: i64) -> Verdict {
    let times = times(hid, cast, manager);
    let mut wrong = Vec::new();
    for violation in hid.violations() {
        wrong.push(format!("a violation in HID's ledger: {violation:?}"));
    }
    let mut live: BTreeMap<(u64, String), usize> = BTreeMap::new();
    for key in hid.live_credentials() {
        match key.container {
            Some(container) => *live.entry((container, key.part_number)).or_default() += 1,
            None => wrong.push(format!("credential {} is on no phone", key.credential)),
        }
    }
    let mut missing = 0;
    for phone in &cast.phones {
        let pair = (phone.container, PART_NUMBER.to_owned());
        let there = live.remove(&pair).unwrap_or(0);
        let wanted = usize::from(cast.withdrawn != Some(phone.person));
        missing += wanted.saturating_sub(there);
        if there != wanted {
            let owner = &cast.people[phone.person].name;
            wrong.push(format!(
                "phone {} of {owner} has {}, and should have {wanted}",
                phone.container,
                count(there, "live key")
            ));
        }
    }
    for (container, part_number) in live.keys() {
        wrong.push(format!(
            "phone {container} has a key of {part_number} that nobody asked for"
        ));
    }
    let duplicates = duplicates(hid);
    let mut lines = timeline(cast, &times, began);
    lines.extend(table(hid, cast, &times, duplicates, missing));
    Verdict { wrong, lines }
}

/// Pairs of phone and part number that ever had two live keys.
fn duplicates(hid: &Hid) -> usize {
    let pairs: BTreeSet<_> = hid
        .violations()
        .into_iter()
        .filter_map(|violation| match violation {
            Violation::Duplicate {
                container,
                part_number,
                ..
            } => Some((container, part_number)),
            Violation::WindowExceeded { .. }
            | Violation::NeverActive { .. }
            | Violation::NoApplicationId { .. } => None,
        })
        .collect();
    pairs.len()
}

fn times(hid: &Hid, cast: &Cast, manager: Uuid) -> BTreeMap<u64, Times> {
    let mut times: BTreeMap<u64, Times> = BTreeMap::new();
    let mut phone_of: BTreeMap<u64, u64> = BTreeMap::new();
    for entry in hid.ledger().entries() {
        let at = Some(entry.at);
        match &entry.effect {
            Effect::ContainerCreated { container, .. } => {
                times.entry(*container).or_default().registered = at;
            }
            Effect::ContainerActive { container } => {
                times.entry(*container).or_default().active = at;
            }
            Effect::CredentialAccepted {
                credential,
                container,
                ..
            } => {
                phone_of.insert(*credential, *container);
                times.entry(*container).or_default().accepted = at;
            }
            Effect::CredentialIssued { credential } => {
                if let Some(phone) = phone_of.get(credential) {
                    times.entry(*phone).or_default().issued = at;
                }
            }
            Effect::CredentialRevoked { credential } => {
                if let Some(phone) = phone_of.get(credential) {
                    times.entry(*phone).or_default().revoked = at;
                }
            }
            Effect::UserCreated { .. }
            | Effect::UserUpdated { .. }
            | Effect::UserDeleteInitiated { .. }
            | Effect::UserDeleted { .. }
            | Effect::InvitationCreated { .. }
            | Effect::InvitationMailed { .. }
            | Effect::InvitationAcknowledged { .. }
            | Effect::InvitationRefused { .. }
            | Effect::InvitationCancelInitiated { .. }
            | Effect::InvitationCancelled { .. }
            | Effect::InvitationExpired { .. }
            | Effect::ContainerDeleteInitiated { .. }
            | Effect::ContainerDeleted { .. }
            | Effect::CredentialReserved { .. }
            | Effect::CredentialReleased { .. }
            | Effect::CredentialIssueFailed { .. }
            | Effect::CredentialRevokeInitiated { .. }
            | Effect::EventDropped { .. } => {}
        }
    }
    for (container, times) in &mut times {
        // Ids are derived, so that HID's phone and the API's can be laid side by side.
        let id = ContainerId::parse(&container.to_string())
            .map(|container| PhoneId::of(AcsSystemId(manager), &container).to_string());
        let seen = cast
            .seen
            .iter()
            .find(|(phone, _)| Some(phone) == id.as_ref());
        times.seen = seen.map(|(_, at)| *at);
    }
    times
}

fn timeline(cast: &Cast, times: &BTreeMap<u64, Times>, began: i64) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        format!(
            "{:<20}{:>12}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "phone of", "registered", "active", "seen", "accepted", "on phone", "revoked"
        ),
    ];
    let cell = |at: Option<i64>| match at {
        Some(at) => seconds(at - began),
        None => "-".to_owned(),
    };
    for phone in cast.phones.iter().take(ROWS) {
        let times = times.get(&phone.container).copied().unwrap_or_default();
        let owner = &cast.people[phone.person].name;
        lines.push(format!(
            "{owner:<20}{:>12}{:>10}{:>10}{:>10}{:>10}{:>10}",
            cell(times.registered),
            cell(times.active),
            cell(times.seen),
            cell(times.accepted),
            cell(times.issued),
            cell(times.revoked)
        ));
    }
    if cast.phones.len() > ROWS {
        lines.push(format!("… and {} more", cast.phones.len() - ROWS));
    }
    lines
}

fn table(
    hid: &Hid,
    cast: &Cast,
    times: &BTreeMap<u64, Times>,
    duplicates: usize,
    missing: usize,
) -> Vec<String> {
    let calls = |service: Service| {
        let counts = hid.ledger().requests_by_class();
        let of_service = counts.iter().filter(|((of, _, _), _)| *of == service);
        of_service.map(|(_, count)| count).sum::<u64>()
    };
    let spans = |from: fn(&Times) -> Option<i64>| {
        let mut spans: Vec<i64> = times
            .values()
            .filter_map(|times| Some(times.accepted? - from(times)?))
            .collect();
        spans.sort_unstable();
        format!("{} / {}", percentile(&spans, 50), percentile(&spans, 99))
    };
    let keys = times
        .values()
        .filter(|times| times.issued.is_some())
        .count();
    let live = hid.live_credentials().len();
    let identities = calls(Service::MobileIdentities);
    let phones = u64::try_from(cast.phones.len()).unwrap_or(u64::MAX);
    let tenths = (identities * 10).checked_div(phones).unwrap_or(0);
    let rows = [
        ("identities", cast.people.len().to_string()),
        ("phones", phones.to_string()),
        ("keys issued", keys.to_string()),
        ("keys live at the end", live.to_string()),
        ("duplicates", duplicates.to_string()),
        ("missing", missing.to_string()),
        (
            "HID calls a phone",
            format!("{}.{}", tenths / 10, tenths % 10),
        ),
        (
            "HID calls",
            format!(
                "{identities} mobile identities, {} events, {} token",
                calls(Service::Events),
                calls(Service::Token)
            ),
        ),
        ("detected to issued, p50 / p99", spans(|times| times.seen)),
        (
            "active at HID to issued, p50 / p99",
            spans(|times| times.active),
        ),
    ];
    let mut lines = vec![String::new()];
    lines.extend(rows.map(|(name, value)| format!("{name:<36}{value}")));
    lines.push(String::new());
    lines.push(format!("{duplicates} duplicates, {missing} missing"));
    lines
}

/// The smallest value that at least so many in a hundred do not exceed.
fn percentile(sorted: &[i64], percent: usize) -> String {
    let rank = (sorted.len() * percent).div_ceil(100);
    match sorted.get(rank.saturating_sub(1)) {
        Some(ms) => seconds(*ms),
        None => "-".to_owned(),
    }
}

/// `1.25 s`.
fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:02} s", ms / 1000, ms % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<i64> = (1..=100).map(|n| n * 1000).collect();
        for (sorted, percent, expected) in [
            (&values[..], 50, "50.00 s"),
            (&values[..], 99, "99.00 s"),
            (&values[..1], 99, "1.00 s"),
            (&values[..3], 50, "2.00 s"),
            (&[], 50, "-"),
        ] {
            assert_eq!(percentile(sorted, percent), expected, "{percent}");
        }
        assert_eq!(seconds(-20), "-0.02 s");
    }
}
