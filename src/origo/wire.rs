//! HID's answers, read tolerantly into the core's words.
//!
//! Ids are numbers or text, lists stand under a versioned URN or bare, any member may be missing or
//! null, unknown members are ignored and unknown statuses kept (origo-api.md 3.4, 6.2, 12.1). What
//! can't be tolerated is doubt about *which* object an answer is about: then there is no answer. An
//! entry of a list whose id can't be used is left out and counted, never the whole answer.

use serde_json::{Map, Value};

use crate::core::ids::{
    ContainerId, CredentialId, HidUserId, InvitationCode, InvitationId, PartNumber, Timestamp,
};
use crate::core::observation::{
    ContainerSeen, ContainerStatus, CredentialSeen, CredentialStatus, Device, InvitationSeen,
    InvitationStatus, UserSeen,
};

/// Longest text taken over from HID, in characters.
const LONGEST: usize = 200;

/// Reads answers and counts the entries it had to leave out.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Entries left out so far.
    pub(super) skipped: u64,
}

/// An organization (origo-api.md 8). Every member may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Organization {
    /// HID's id.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// `Perpetual`, or a kind of subscription.
    pub subscription_mode: Option<String>,
    /// Users counted by the licence.
    pub active_users: Option<i64>,
    /// All users; not in perpetual mode.
    pub total_users: Option<i64>,
    /// Codes not yet redeemed.
    pub pending_invitations: Option<i64>,
    /// Not in perpetual mode.
    pub licenses: Vec<License>,
}

/// A licence of a subscription (origo-api.md 8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct License {
    /// What it is for.
    pub part_number: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// How many are left.
    pub available: Option<i64>,
    /// How many are used.
    pub consumed: Option<i64>,
    /// `GOOD_STANDING`, `NEARING_LIMIT`, `FULL_USAGE`.
    pub license_state: Option<String>,
    /// `NORMAL`, `SUSPENDED`, …
    pub period_state: Option<String>,
}

/// A part number of the organization (origo-api.md 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartNumberSeen {
    /// HID's id, `{number}_{number}`.
    pub id: String,
    /// What is named when a key is issued.
    pub part_number: PartNumber,
    /// Its name.
    pub friendly_name: Option<String>,
    /// Advisory: another writer may take the last one.
    pub available: Option<i64>,
}

/// An event filter (origo-api.md 9.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// HID's id.
    pub id: String,
    /// What it lets pass.
    pub filter_set: Vec<String>,
}

impl Reader {
    /// The user `asked` for, or any where a new one was made (origo-api.md 3.3, 3.4).
    pub(super) fn user(&mut self, body: &Value, asked: Option<&HidUserId>) -> Option<UserSeen> {
        let user = only(body, "User")?;
        let seen = UserSeen {
            id: HidUserId::parse(&id(user)?)?,
            external_id: text(user, "externalId"),
            deleting: text(user, "status").is_some_and(|status| word(&status).contains("DELET")),
            invitations: self.list(user, "UserInvitation", |_, entry| invitation(entry)),
            containers: self.list(user, "CredentialContainer", Self::container),
        };
        asked.is_none_or(|asked| seen.id == *asked).then_some(seen)
    }

    /// The first hit's id, which only its location tells (origo-api.md 3.5). `None` where the answer can't be understood, `Some(None)` where nobody was found.
    #[expect(
        clippy::option_option,
        reason = "an answer that says nobody is not the lack of an answer"
    )]
    pub(super) fn found_user(&mut self, body: &Value) -> Option<Option<HidUserId>> {
        let total = number(body, "totalResults");
        let hits = match field(body, "Resources") {
            Some(Value::Array(hits)) => hits.as_slice(),
            Some(_) => return None,
            None => &[],
        };
        let ids = self.keep(hits, |_, hit| HidUserId::parse(&located(hit)?));
        match (ids.into_iter().next(), total) {
            (Some(first), _) => Some(Some(first)),
            (None, Some(0)) => Some(None),
            (None, None) if hits.is_empty() && field(body, "Resources").is_some() => Some(None),
            (None, _) => None,
        }
    }

    /// The phone `asked` for (origo-api.md 5).
    pub(super) fn only_container(
        &mut self,
        body: &Value,
        asked: &ContainerId,
    ) -> Option<ContainerSeen> {
        let seen = self.container(only(body, "CredentialContainer")?)?;
        (seen.id == *asked).then_some(seen)
    }

    /// The ids of a list of locations (origo-api.md 7).
    pub(super) fn locations(&mut self, body: &Value) -> Option<Vec<String>> {
        let entries = match field(body, "Resources") {
            Some(Value::Array(entries)) => entries.as_slice(),
            None if number(body, "totalResults") == Some(0) => &[],
            Some(_) | None => return None,
        };
        Some(self.keep(entries, |_, entry| located(entry)))
    }

    /// The organization (origo-api.md 8).
    pub(super) fn organization(&mut self, body: &Value) -> Option<Organization> {
        body.is_object().then(|| Organization {
            id: text(body, "id"),
            name: text(body, "name"),
            subscription_mode: text(body, "subscriptionMode"),
            active_users: number(body, "activeUsers"),
            total_users: number(body, "totalUsers"),
            pending_invitations: number(body, "pendingInvitations"),
            licenses: self.list(body, "LicenseInfo", |_, entry| {
                entry.is_object().then(|| License {
                    part_number: text(entry, "partNumber"),
                    name: text(entry, "name"),
                    available: number(entry, "availableQty"),
                    consumed: number(entry, "consumedQty"),
                    license_state: text(entry, "licenseState"),
                    period_state: text(entry, "periodState"),
                })
            }),
        })
    }

    /// All filters (origo-api.md 9.1).
    pub(super) fn filters(&mut self, body: &Value) -> Option<Vec<Filter>> {
        Some(self.keep(listed(body)?, |_, entry| filter(entry)))
    }

    fn container(&mut self, entry: &Value) -> Option<ContainerSeen> {
        Some(ContainerSeen {
            id: ContainerId::parse(&id(entry)?)?,
            status: container_status(&text(entry, "status").unwrap_or_default()),
            device: Device {
                manufacturer: text(entry, "manufacturer"),
                model: text(entry, "model"),
                os_version: text(entry, "osVersion"),
                application_version: text(entry, "applicationVersion"),
            },
            credentials: self.list(entry, "Credential", |_, entry| credential(entry)),
        })
    }

    fn list<T>(
        &mut self,
        object: &Value,
        name: &str,
        mut read: impl FnMut(&mut Self, &Value) -> Option<T>,
    ) -> Vec<T> {
        let mut kept = Vec::new();
        for member in under(object, name) {
            kept.extend(self.keep(items(member), &mut read));
        }
        kept
    }

    /// What `read` understands of `entries`; the rest is counted.
    pub(super) fn keep<T>(
        &mut self,
        entries: &[Value],
        mut read: impl FnMut(&mut Self, &Value) -> Option<T>,
    ) -> Vec<T> {
        let mut kept = Vec::new();
        for entry in entries {
            match read(self, entry) {
                Some(seen) => kept.push(seen),
                None => self.skipped += 1,
            }
        }
        kept
    }
}

/// The one invitation of the answer, bare or under its URN (origo-api.md 4.2).
pub(super) fn only_invitation(
    body: &Value,
    asked: Option<&InvitationId>,
) -> Option<InvitationSeen> {
    let seen = invitation(only(body, "UserInvitation")?)?;
    asked.is_none_or(|asked| seen.id == *asked).then_some(seen)
}

/// The one key of the answer, bare or under its URN (origo-api.md 6.2).
pub(super) fn only_credential(
    body: &Value,
    asked: Option<&CredentialId>,
) -> Option<CredentialSeen> {
    let seen = credential(only(body, "Credential")?)?;
    asked.is_none_or(|asked| seen.id == *asked).then_some(seen)
}

/// The key just issued: of `part_number`, where the answer names one.
pub(super) fn issued(body: &Value, part_number: &PartNumber) -> Option<CredentialSeen> {
    let seen = only_credential(body, None)?;
    let named = seen.part_number.as_ref();
    named
        .is_none_or(|named| named.0.eq_ignore_ascii_case(&part_number.0))
        .then_some(seen)
}

/// The one part number of the answer (origo-api.md 7).
pub(super) fn part_number(body: &Value) -> Option<PartNumberSeen> {
    let entry = only(body, "PartNumber")?;
    Some(PartNumberSeen {
        id: id(entry)?,
        part_number: PartNumber(text(entry, "partNumber")?),
        friendly_name: text(entry, "friendlyName"),
        available: number(entry, "availableQty"),
    })
}

fn invitation(entry: &Value) -> Option<InvitationSeen> {
    Some(InvitationSeen {
        id: InvitationId::parse(&id(entry)?)?,
        code: text(entry, "invitationCode")
            .filter(|code| code != "undefined")
            .map(InvitationCode),
        status: invitation_status(&text(entry, "status").unwrap_or_default()),
        expires_at: time(entry, "expirationDate"),
    })
}

/// A filter as created or listed (origo-api.md 9.1).
pub(super) fn filter(entry: &Value) -> Option<Filter> {
    let set = field(entry, "filterSet").and_then(Value::as_array);
    Some(Filter {
        id: text(entry, "filterId").or_else(|| text(entry, "id"))?,
        filter_set: set
            .map(|set| {
                set.iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default(),
    })
}

fn credential(entry: &Value) -> Option<CredentialSeen> {
    Some(CredentialSeen {
        id: CredentialId::parse(&id(entry)?)?,
        part_number: text(entry, "partNumber").map(PartNumber),
        card_number: text(entry, "cardNumber"),
        status: credential_status(&text(entry, "status").unwrap_or_default()),
    })
}

/// HID's words in a refusal; empty where it gives none (origo-api.md 10.1).
pub(super) fn refusal(body: &[u8]) -> String {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return String::new();
    };
    ["detail", "message", "error_description", "error"]
        .iter()
        .find_map(|name| field(&body, name)?.as_str())
        .unwrap_or_default()
        .to_owned()
}

/// origo-api.md 4.3, in REST or with the prefix of events.
pub(super) fn invitation_status(said: &str) -> InvitationStatus {
    match word(said).trim_start_matches("INVITATION_") {
        "PENDING" => InvitationStatus::Pending,
        "ACKNOWLEDGED" => InvitationStatus::Acknowledged,
        "EXPIRED" => InvitationStatus::Expired,
        "CANCEL_INITIATED" => InvitationStatus::CancelInitiated,
        "CANCELLED" | "CANCELED" => InvitationStatus::Cancelled,
        "NOT_SUPPORTED" => InvitationStatus::NotSupported,
        "NOT_ELIGIBLE" => InvitationStatus::NotEligible,
        _ => InvitationStatus::Unknown(short(said)),
    }
}

/// origo-api.md 5. Only `ACTIVE` is known for certain.
fn container_status(said: &str) -> ContainerStatus {
    match word(said).as_str() {
        "ACTIVE" => ContainerStatus::Active,
        "INITIALIZED" => ContainerStatus::Initialized,
        "DELETE_INITIATED" | "DELETING" | "DELETED" | "TERMINATED" => ContainerStatus::Deleting,
        _ => ContainerStatus::Unknown(short(said)),
    }
}

/// origo-api.md 6.4.
fn credential_status(said: &str) -> CredentialStatus {
    match word(said).as_str() {
        "ISSUE_INITIATED" => CredentialStatus::IssueInitiated,
        "ISSUING" => CredentialStatus::Issuing,
        "ISSUED" => CredentialStatus::Issued,
        "ISSUE_FAILED" => CredentialStatus::IssueFailed,
        "REVOKE_INITIATED" => CredentialStatus::RevokeInitiated,
        "REVOKING" => CredentialStatus::Revoking,
        "REVOKED" => CredentialStatus::Revoked,
        _ => CredentialStatus::Unknown(short(said)),
    }
}

/// A status for comparing.
pub(super) fn word(said: &str) -> String {
    said.trim().to_ascii_uppercase()
}

/// The member `name` in any case, unless null.
pub(super) fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let members = object.as_object()?;
    let found = members.get(name).or_else(|| alike(members, name));
    found.filter(|value| !value.is_null())
}

fn alike<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members
        .iter()
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

/// A text or number as text; nothing where it is empty.
pub(super) fn text(object: &Value, name: &str) -> Option<String> {
    let said = match field(object, name)? {
        Value::String(said) => short(said),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    (!said.is_empty()).then_some(said)
}

/// A time in ISO 8601; without a zone it is UTC (origo-api.md 3.5). Absent or broken: nothing.
pub(super) fn time(object: &Value, name: &str) -> Option<Timestamp> {
    let said = field(object, name)?.as_str()?;
    let at = said.parse::<jiff::Timestamp>().ok().or_else(|| {
        let civil = said.parse::<jiff::civil::DateTime>().ok()?;
        Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })?;
    Some(Timestamp(at.as_millisecond()))
}

/// The list an answer is, or the longest one within it.
pub(super) fn listed(body: &Value) -> Option<&[Value]> {
    match body {
        Value::Array(entries) => Some(entries),
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !name.to_ascii_lowercase().starts_with("error"))
            .filter_map(|(_, member)| member.as_array().map(Vec::as_slice))
            .max_by_key(|list| list.len()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn number(object: &Value, name: &str) -> Option<i64> {
    text(object, name)?.parse().ok()
}

fn short(said: &str) -> String {
    said.trim().chars().take(LONGEST).collect()
}

/// An object's id: a number or a text that is safe in a path.
fn id(object: &Value) -> Option<String> {
    text(object, "id").filter(|id| is_segment(id))
}

/// The last segment of `meta.location`, whose host may be any (origo-api.md 3.5); else a plain id.
fn located(entry: &Value) -> Option<String> {
    let location = field(entry, "meta").and_then(|meta| field(meta, "location"));
    let segment = location.and_then(Value::as_str).and_then(|location| {
        let path = location.split(['?', '#']).next().unwrap_or_default();
        path.trim_end_matches('/').rsplit('/').next()
    });
    segment
        .map(str::to_owned)
        .or_else(|| id(entry))
        .filter(|id| is_segment(id))
}

/// The same rule as for the core's ids of HID.
pub(super) fn is_segment(text: &str) -> bool {
    HidUserId::parse(text).is_some()
}

/// Members whose key is HID's URN of `name`, in any version.
fn under<'a>(object: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    object
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(move |(key, value)| {
            let (_, kind) = key.strip_prefix("urn:hid:scim:api:ma:")?.split_once(':')?;
            kind.eq_ignore_ascii_case(name).then_some(value)
        })
}

/// A list, or one object in place of a list of one.
fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(entries) => entries,
        Value::Null => &[],
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            std::slice::from_ref(value)
        }
    }
}

/// The object of an answer, where there is no doubt which: under the URN of `name`, in a list, or bare. A user that stands where something below it was expected is none.
fn only<'a>(body: &'a Value, name: &str) -> Option<&'a Value> {
    let mut found: Vec<&Value> = under(body, name).flat_map(items).collect();
    if found.is_empty() {
        found = items(field(body, "Resources").unwrap_or(body))
            .iter()
            .filter(|entry| name == "User" || field(entry, "emails").is_none())
            .collect();
    }
    match found.as_slice() {
        [one] => Some(one),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
