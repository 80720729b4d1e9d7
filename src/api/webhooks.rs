//! `/webhooks`: who is told of events (seam-api.md 3.8, 6.2). Secrets are shown to write keys alone.

use std::collections::BTreeSet;

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::problem::Problem;
use super::{Api, Call, REPEATS_WITHIN, Reply};
use crate::config::Scope;
use crate::core::announce::EventType;
use crate::core::ids::Timestamp;
use crate::store::Webhook;
use crate::webhook::{sign, target};

/// Stands for every type.
const ALL: &str = "*";

pub(super) async fn create(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let url = call
        .params
        .text("url")
        .ok_or_else(|| Problem::param("url", "Required"))?;
    target::check_url(url, call.settings.allow_private)
        .map_err(|issue| Problem::param("url", issue))?;
    let webhook = Webhook {
        id: Uuid::new_v4(),
        url: url.to_owned(),
        event_types: event_types(call)?,
        secret: sign::new_secret().ok_or_else(|| Problem::ours("no randomness for a secret"))?,
        created_at: call.now,
        enabled: true,
    };
    let millis = i64::try_from(REPEATS_WITHIN.as_millis()).unwrap_or(i64::MAX);
    let since = Timestamp(call.now.0.saturating_sub(millis));
    let webhook = api.engine.store().create_webhook(webhook, since).await?;
    Ok(Reply::one(show(call, &webhook)))
}

pub(super) async fn get(api: &Api, call: &Call) -> Result<Reply, Problem> {
    Ok(Reply::one(show(call, &find(api, call).await?)))
}

pub(super) async fn list(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let webhooks = api.engine.store().webhooks().await?;
    let shown = webhooks.iter().map(|webhook| show(call, webhook));
    Ok(Reply::list(shown.collect()))
}

/// Also enables a webhook that was disabled.
pub(super) async fn update(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let webhook = find(api, call).await?;
    let event_types = event_types(call)?;
    let store = api.engine.store();
    store.update_webhook(webhook.id, event_types).await?;
    Ok(Reply::void())
}

pub(super) async fn delete(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let webhook = find(api, call).await?;
    api.engine.store().delete_webhook(webhook.id).await?;
    Ok(Reply::void())
}

/// To Seam the id is any text; what is none of ours is none.
async fn find(api: &Api, call: &Call) -> Result<Webhook, Problem> {
    let id = call.params.text("webhook_id").map(Uuid::try_parse);
    let webhooks = api.engine.store().webhooks().await?;
    webhooks
        .into_iter()
        .find(|webhook| id == Some(Ok(webhook.id)))
        .ok_or_else(|| Problem::missing("webhook_not_found", "webhook"))
}

/// `None`: all.
fn event_types(call: &Call) -> Result<Option<BTreeSet<EventType>>, Problem> {
    let Some(names) = call.params.texts("event_types") else {
        return Ok(None);
    };
    let refused = |message: String| Problem::bad("invalid_event_types", message);
    if names.is_empty() {
        return Err(refused("event_types names none".to_owned()));
    }
    let mut types = BTreeSet::new();
    for (i, name) in names.iter().enumerate() {
        if name == ALL {
            types.extend(EventType::ALL);
        } else if let Some(known) = EventType::parse(name) {
            types.insert(known);
        } else {
            let known: Vec<_> = EventType::ALL.iter().map(|known| known.name()).collect();
            return Err(refused(format!(
                "number {} of event_types is unknown; known are * and {}",
                i + 1,
                known.join(", ")
            )));
        }
    }
    Ok((!names.iter().any(|name| name == ALL)).then_some(types))
}

fn show(call: &Call, webhook: &Webhook) -> Value {
    let event_types: Vec<&str> = match &webhook.event_types {
        Some(types) => types.iter().map(|known| known.name()).collect(),
        None => vec![ALL],
    };
    let mut shown = json!({
        "webhook_id": webhook.id,
        "url": webhook.url,
        "event_types": event_types,
    });
    if call.scope >= Some(Scope::Write) {
        shown["secret"] = json!(webhook.secret.expose_secret());
    }
    shown
}
