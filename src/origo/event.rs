//! Entries of the events feed (origo-api.md 9.3).
//!
//! The type names only the resource; what happened is in `data.status`. Names differ from REST
//! (endpoint and container, mid and credential), ids are text there, and `undefined` means none.

use serde_json::Value;

use super::wire::{self, Reader, field, text, word};
use crate::core::ids::{ContainerId, CredentialId, HidUserId, InvitationId, Timestamp};
use crate::core::observation::{Device, Happening, InvitationStatus};

/// One entry of the feed, not yet resolved to an identity. Holds no code, name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEvent {
    /// `CloudEvents` `id`, by which repeats are known.
    pub id: String,
    /// `CloudEvents` `time`; absent where it can't be read.
    pub time: Option<Timestamp>,
    /// Whose.
    pub user: Option<HidUserId>,
    /// On which phone.
    pub container: Option<ContainerId>,
    /// By which invitation.
    pub invitation: Option<InvitationId>,
    /// Which key.
    pub credential: Option<CredentialId>,
    /// What is said.
    pub kind: RawKind,
}

/// What an entry is about, by the end of its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawKind {
    /// `mi.user`.
    User {
        /// HID's word, such as `USER_CREATED`.
        status: String,
    },
    /// `mi.invitation`.
    Invitation {
        /// As HID says.
        status: InvitationStatus,
    },
    /// `mi.endpoint`: a phone.
    Endpoint {
        /// HID's word, such as `ENDPOINT_ACTIVE`.
        status: String,
        /// What it is.
        device: Device,
    },
    /// `mi.credential`: a key.
    Credential {
        /// HID's word, such as `CREDENTIAL_ISSUED`.
        status: String,
    },
    /// A type we do not know.
    Other {
        /// HID's word.
        event_type: String,
    },
}

impl RawEvent {
    /// What it means to the core; `None` where nothing is to be done, as for the echo of our own `USER_CREATED`. An entry that does not name its object still tells that its user changed.
    #[must_use]
    pub fn happening(&self) -> Option<Happening> {
        let told = match &self.kind {
            RawKind::User { status } if word(status) == "USER_CREATED" => return None,
            RawKind::Other { .. } => return None,
            RawKind::User { .. } => None,
            RawKind::Invitation { status } => {
                self.invitation
                    .clone()
                    .map(|invitation| Happening::Invitation {
                        invitation,
                        status: status.clone(),
                    })
            }
            RawKind::Endpoint { status, device } => self.container.clone().map(|container| {
                if word(status) == "ENDPOINT_ACTIVE" {
                    Happening::PhoneActive {
                        container,
                        invitation: self.invitation.clone(),
                        device: device.clone(),
                    }
                } else {
                    Happening::PhoneOther { container }
                }
            }),
            RawKind::Credential { status } => self.credential.clone().map(|credential| {
                let container = self.container.clone();
                match word(status).as_str() {
                    "CREDENTIAL_ISSUE_INITIATED" | "CREDENTIAL_ISSUING" => Happening::KeyBegun {
                        credential,
                        container,
                    },
                    "CREDENTIAL_ISSUED" => Happening::KeyIssued {
                        credential,
                        container,
                    },
                    _ => Happening::KeyOther {
                        credential,
                        container,
                    },
                }
            }),
        };
        told.or_else(|| self.user.as_ref().map(|_| Happening::UserOther))
    }
}

/// An array of entries, or an object with one inside; broken entries are left out and counted.
pub(super) fn read(reader: &mut Reader, body: &Value) -> Option<Vec<RawEvent>> {
    Some(reader.keep(wire::listed(body)?, |_, entry| entry_of(entry)))
}

fn entry_of(entry: &Value) -> Option<RawEvent> {
    let data = field(entry, "data").filter(|data| data.is_object())?;
    let event_type = text(entry, "type")?;
    let status = text(data, "status").unwrap_or_default();
    let is = |kind: &str| event_type.to_ascii_lowercase().ends_with(kind);
    let kind = if is("mi.user") {
        RawKind::User { status }
    } else if is("mi.invitation") {
        RawKind::Invitation {
            status: wire::invitation_status(&status),
        }
    } else if is("mi.endpoint") {
        RawKind::Endpoint {
            status,
            device: Device {
                manufacturer: said(data, "endpointManufacturer"),
                model: said(data, "endpointModel"),
                os_version: said(data, "osVersion"),
                application_version: said(data, "applicationVersion"),
            },
        }
    } else if is("mi.credential") {
        RawKind::Credential { status }
    } else {
        RawKind::Other { event_type }
    };
    Some(RawEvent {
        id: text(entry, "id")?,
        time: wire::time(entry, "time"),
        user: said(data, "userId").and_then(|id| HidUserId::parse(&id)),
        container: said(data, "endpointId").and_then(|id| ContainerId::parse(&id)),
        invitation: said(data, "invitationId").and_then(|id| InvitationId::parse(&id)),
        credential: said(data, "mid").and_then(|id| CredentialId::parse(&id)),
        kind,
    })
}

/// A member's text, unless it is the literal `undefined` (origo-api.md 9.3).
fn said(data: &Value, name: &str) -> Option<String> {
    text(data, name).filter(|said| said != "undefined")
}
