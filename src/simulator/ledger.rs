//! The witness's own record of everything that took effect, and what it holds against the caller.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    model::{ContainerStatus, CredentialStatus},
    routes::{Class, Service},
};

/// Who brought an effect about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A request, by its number; `late`: it took effect after its sender was cut off.
    Request {
        no: u64,
        late: bool,
    },
    /// Somebody in HID's portal.
    Portal,
    Phone,
    /// Time, or HID's own background work.
    Clock,
}

/// Something that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    UserCreated {
        user: u64,
        external_id: String,
    },
    UserUpdated {
        user: u64,
    },
    UserDeleteInitiated {
        user: u64,
    },
    UserDeleted {
        user: u64,
    },
    InvitationCreated {
        invitation: u64,
        user: u64,
    },
    InvitationMailed {
        invitation: u64,
    },
    InvitationAcknowledged {
        invitation: u64,
    },
    InvitationRefused {
        invitation: u64,
    },
    InvitationCancelInitiated {
        invitation: u64,
    },
    InvitationCancelled {
        invitation: u64,
    },
    InvitationExpired {
        invitation: u64,
    },
    ContainerCreated {
        container: u64,
        user: u64,
    },
    ContainerActive {
        container: u64,
    },
    ContainerDeleteInitiated {
        container: u64,
    },
    ContainerDeleted {
        container: u64,
    },
    CredentialReserved {
        credential: u64,
        invitation: u64,
        part_number: String,
    },
    CredentialReleased {
        credential: u64,
    },
    /// Bound to a container: accepted by issue, or reserved before and now delivered.
    CredentialAccepted {
        credential: u64,
        container: u64,
        part_number: String,
    },
    CredentialIssued {
        credential: u64,
    },
    CredentialIssueFailed {
        credential: u64,
    },
    CredentialRevokeInitiated {
        credential: u64,
    },
    CredentialRevoked {
        credential: u64,
    },
    EventDropped {
        status: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub at: i64,
    pub cause: Cause,
    pub effect: Effect,
}

/// One HTTP request and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestRecord {
    pub no: u64,
    pub at: i64,
    pub service: Service,
    pub class: Class,
    /// The status answered, or the name of the fault that kept it from being answered.
    pub outcome: String,
}

/// Something a careful caller never brings about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Violation {
    /// V1: more than one live credential for one container and part number.
    Duplicate {
        at: i64,
        /// When it was over.
        until: Option<i64>,
        container: u64,
        part_number: String,
        credentials: Vec<u64>,
        /// One of them came from a request that took effect late.
        late_effect: bool,
    },
    /// V2: a request arrived at a full window.
    WindowExceeded {
        at: i64,
        no: u64,
        service: Service,
        key: String,
        late: bool,
    },
    /// V3: issue asked for on a container that never was ACTIVE.
    NeverActive {
        at: i64,
        no: u64,
        container: u64,
        status: ContainerStatus,
    },
    /// V4: a request without the `Application-ID` a client must always send (1.2).
    NoApplicationId { at: i64, no: u64, class: Class },
}

/// A credential that is live now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveCredential {
    pub organization: String,
    pub user: u64,
    pub user_external_id: String,
    /// Absent while reserved with an invitation.
    pub container: Option<u64>,
    pub container_status: Option<ContainerStatus>,
    pub part_number: String,
    pub card_number: u64,
    pub credential: u64,
    pub status: CredentialStatus,
}

/// A phone that can be issued to now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActiveContainer {
    pub organization: String,
    pub user: u64,
    pub user_external_id: String,
    pub container: u64,
    pub active_since: i64,
}

/// Append-only.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    requests: Vec<RequestRecord>,
    counts: BTreeMap<(Service, Class, String), u64>,
    pub(super) violations: Vec<Violation>,
}

impl Ledger {
    /// Everything that took effect, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Every HTTP request, oldest first. A late effect appears twice: when cut off and when it took effect.
    pub fn requests(&self) -> &[RequestRecord] {
        &self.requests
    }

    /// Requests by service, class and outcome.
    pub fn requests_by_class(&self) -> &BTreeMap<(Service, Class, String), u64> {
        &self.counts
    }

    /// How many requests of a class arrived or were cut off.
    pub fn count(&self, class: Class) -> u64 {
        self.counts
            .iter()
            .filter(|((_, counted, _), _)| *counted == class)
            .map(|(_, count)| count)
            .sum()
    }

    /// Requests that met a full window.
    pub fn window_refusals(&self) -> usize {
        self.violations
            .iter()
            .filter(|violation| matches!(violation, Violation::WindowExceeded { .. }))
            .count()
    }

    pub(super) fn note(&mut self, at: i64, cause: Cause, effect: Effect) {
        self.entries.push(Entry { at, cause, effect });
    }

    pub(super) fn request(&mut self, record: RequestRecord) {
        let key = (record.service, record.class, record.outcome.clone());
        *self.counts.entry(key).or_default() += 1;
        self.requests.push(record);
    }

    /// Opens or widens a duplicate (V1).
    pub(super) fn duplicate(
        &mut self,
        at: i64,
        container: u64,
        part_number: &str,
        live: Vec<u64>,
        late: bool,
    ) {
        for violation in &mut self.violations {
            if let Violation::Duplicate {
                until: None,
                container: c,
                part_number: p,
                credentials,
                late_effect,
                ..
            } = violation
                && *c == container
                && p == part_number
            {
                *credentials = live;
                *late_effect |= late;
                return;
            }
        }
        self.violations.push(Violation::Duplicate {
            at,
            until: None,
            container,
            part_number: part_number.to_owned(),
            credentials: live,
            late_effect: late,
        });
    }

    /// Closes the duplicate of this pair, if one is open.
    pub(super) fn duplicate_over(&mut self, at: i64, container: u64, part_number: &str) {
        for violation in &mut self.violations {
            if let Violation::Duplicate {
                until,
                container: c,
                part_number: p,
                ..
            } = violation
                && until.is_none()
                && *c == container
                && p == part_number
            {
                *until = Some(at);
            }
        }
    }
}
