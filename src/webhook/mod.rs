//! Webhooks: tells those who asked of every event, at least once and signed (seam-api.md 6.2).
//!
//! Imports core, store, engine, clock and telemetry. Promises: a delivery is forgotten only once it was
//! taken, given up or disowned, so a crash costs a repetition with the same id; of each webhook one
//! delivery is under way, in the order of events, and no webhook waits for another; nothing is sent
//! to an address that is not public ([`target`]); no log line holds an address, a body or a secret.

pub mod sign;
pub mod target;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use self::target::{Failure, Sender};
use crate::clock::rfc3339;
use crate::core::Timestamp;
use crate::core::announce::EventType;
use crate::emit;
use crate::engine::Engine;
use crate::store::{Delivery, DeliveryClaim, Error, Event, Outcome, Settled};
use crate::telemetry::{WEBHOOK_DELIVERED, WEBHOOK_DISABLED, WEBHOOK_FAILED};

/// How long an event is kept.
pub const RETENTION: Duration = Duration::from_hours(30 * 24);
/// Waits after each failure in turn; then the event is given up for this webhook (seam-api.md 6.2).
pub const SCHEDULE: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(10),
];
/// A webhook that takes nothing for so long is disabled.
pub const DISABLED_AFTER: Duration = Duration::from_hours(5 * 24);
/// Longer than an attempt can take.
const LEASE: Duration = Duration::from_mins(1);

/// What is to be done now.
#[derive(Debug)]
pub enum Next {
    /// These, each by itself; not empty.
    Deliver(Vec<Delivery>),
    /// Nothing before then, a commit or the end of what is under way; `None`: nothing is owed.
    Wait(Option<Timestamp>),
}

/// Claims deliveries and carries them out.
pub struct Courier {
    engine: Arc<Engine>,
    workspace: Uuid,
    sender: Sender,
}

impl Courier {
    /// A courier of the events of a workspace.
    #[must_use]
    pub fn new(engine: Arc<Engine>, workspace: Uuid, sender: Sender) -> Self {
        Self {
            engine,
            workspace,
            sender,
        }
    }

    /// Claims what is due.
    pub async fn next(&self) -> Result<Next, Error> {
        let (store, now) = (self.engine.store(), self.engine.now());
        let due = store.next_delivery(now).await?;
        if due.is_none_or(|due| now < due) {
            return Ok(Next::Wait(due));
        }
        let claim = DeliveryClaim {
            token: Uuid::new_v4(),
            now,
            lease_until: now.plus(LEASE),
        };
        let claimed = store.claim_deliveries(claim).await?;
        Ok(if claimed.is_empty() {
            Next::Wait(None)
        } else {
            Next::Deliver(claimed)
        })
    }

    /// Tries once, and notes how that ended.
    pub async fn deliver(&self, delivery: &Delivery) -> Result<(), Error> {
        let attempt = self.attempt(delivery).await;
        let now = self.engine.now();
        let outcome = match attempt {
            Ok(()) => Outcome::Delivered,
            Err(_) => after_failure(delivery, now),
        };
        let settled = Settled {
            token: delivery.token,
            webhook: delivery.webhook.id,
            event: delivery.event.id,
            outcome,
            now,
        };
        self.engine.store().settle_delivery(settled).await?;
        log(delivery, attempt.err(), outcome);
        Ok(())
    }

    async fn attempt(&self, delivery: &Delivery) -> Result<(), Failure> {
        let body = Bytes::from(body(self.workspace, &delivery.event).to_string());
        let id = message_id(delivery.webhook.id, delivery.event.id);
        let seconds = self.engine.now().0.div_euclid(1000);
        let signature = sign::signature(&delivery.webhook.secret, &id, seconds, &body)
            .ok_or(Failure::Secret)?;
        let headers = [
            ("svix-id", id),
            ("svix-timestamp", seconds.to_string()),
            ("svix-signature", signature),
        ];
        self.sender
            .post(&delivery.webhook.url, &headers, body)
            .await
    }
}

fn after_failure(delivery: &Delivery, now: Timestamp) -> Outcome {
    let failing_for = delivery.failing_since.map(|since| now.since(since));
    if failing_for.is_some_and(|long| long >= DISABLED_AFTER) {
        return Outcome::Disabled;
    }
    let step = usize::try_from(delivery.failures).unwrap_or(usize::MAX);
    SCHEDULE
        .get(step)
        .map_or(Outcome::GivenUp, |wait| Outcome::Again(now.plus(*wait)))
}

fn log(delivery: &Delivery, failure: Option<Failure>, outcome: Outcome) {
    let (webhook, told) = (delivery.webhook.id, delivery.event.id);
    let attempt = delivery.failures + 1;
    let Some(failure) = failure else {
        emit!(WEBHOOK_DELIVERED, webhook.id = %webhook, webhook.event_id = %told, webhook.attempt = attempt;
            "webhook {webhook} took event {told}");
        return;
    };
    let next = match outcome {
        Outcome::Again(at) => rfc3339(at.0),
        Outcome::Delivered | Outcome::GivenUp | Outcome::Disabled => "never".to_owned(),
    };
    emit!(WEBHOOK_FAILED, webhook.id = %webhook, webhook.event_id = %told, webhook.attempt = attempt, reason = %failure, next_try_at = %next;
        "webhook {webhook} did not take event {told}: {failure}; next try: {next}");
    if outcome == Outcome::Disabled {
        emit!(WEBHOOK_DISABLED, webhook.id = %webhook;
            "webhook {webhook} took nothing for five days and is disabled");
    }
}

/// The same at every attempt, so that a receiver can tell a repetition.
#[must_use]
pub fn message_id(webhook: Uuid, event: Uuid) -> String {
    let id = Uuid::new_v5(&event, webhook.as_bytes());
    format!("msg_{}", id.simple())
}

/// The event as the API shows it and as webhooks get it: ids, no personal data.
#[must_use]
pub fn body(workspace: Uuid, event: &Event) -> Value {
    let told = &event.announcement;
    let mut shown = json!({
        "event_id": event.id,
        "event_type": told.event_type.name(),
        "workspace_id": workspace,
        "created_at": rfc3339(event.created_at.0),
        "occurred_at": rfc3339(told.occurred_at.0),
    });
    // Filters find a credential's event by its user as well; Seam's event does not name it.
    let acs_user = match told.event_type {
        EventType::AcsUserCreated | EventType::AcsUserDeleted => told.acs_user,
        EventType::CredentialIssued
        | EventType::CredentialReissued
        | EventType::CredentialInvalidated
        | EventType::CredentialDeleted
        | EventType::AcsSystemConnected
        | EventType::AcsSystemAdded
        | EventType::AcsSystemDisconnected
        | EventType::PhoneDeactivated
        | EventType::AutomationDeleted
        | EventType::ClientSessionDeleted => None,
    };
    let ids = [
        ("acs_credential_id", told.acs_credential),
        ("acs_user_id", acs_user.map(|id| id.0)),
        ("acs_system_id", told.acs_system.map(|id| id.0)),
        ("device_id", told.device.map(|id| id.0)),
        (
            "enrollment_automation_id",
            told.enrollment_automation.map(|id| id.0),
        ),
        ("client_session_id", told.client_session),
    ];
    for (name, id) in ids {
        if let Some(id) = id {
            shown[name] = json!(id);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::announce::Announcement;
    use crate::store::Webhook;

    fn delivery(failures: u32, failing_since: Option<i64>) -> Delivery {
        let announcement =
            Announcement::client_session_deleted(Uuid::from_u128(3), None, Timestamp(0));
        Delivery {
            token: Uuid::from_u128(9),
            webhook: Webhook {
                id: Uuid::from_u128(1),
                url: "https://example.com".to_owned(),
                event_types: None,
                secret: "whsec_AAAA".to_owned().into(),
                created_at: Timestamp(0),
                enabled: true,
            },
            event: Event {
                id: Uuid::from_u128(2),
                created_at: Timestamp(1),
                announcement,
            },
            failures,
            failing_since: failing_since.map(Timestamp),
        }
    }

    #[test]
    fn a_failure_is_followed_by_the_next_wait_and_at_last_by_none() {
        let now = Timestamp(1_000_000);
        let waits: Vec<_> = (0..10)
            .map(|failures| after_failure(&delivery(failures, None), now))
            .collect();
        let expected = SCHEDULE.map(|wait| Outcome::Again(now.plus(wait)));
        assert_eq!(waits[..8], expected);
        assert_eq!(waits[8..], [Outcome::GivenUp; 2]);
    }

    #[test]
    fn five_days_are_the_end() {
        let days = Timestamp(0).plus(DISABLED_AFTER);
        let before = Timestamp(days.0 - 1);
        assert_ne!(
            after_failure(&delivery(2, Some(0)), before),
            Outcome::Disabled
        );
        assert_eq!(
            after_failure(&delivery(2, Some(0)), days),
            Outcome::Disabled
        );
    }

    #[test]
    fn an_event_shows_the_ids_that_seam_gives_it() {
        let shown = body(Uuid::from_u128(7), &delivery(0, None).event);
        let fields: Vec<_> = shown
            .as_object()
            .into_iter()
            .flat_map(|o| o.keys())
            .collect();
        assert_eq!(
            fields,
            [
                "client_session_id",
                "created_at",
                "event_id",
                "event_type",
                "occurred_at",
                "workspace_id"
            ]
        );
    }
}
