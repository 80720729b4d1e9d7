//! The handle for tests and demonstrations: `/control/…` plays the phone, the portal and bad luck. It obeys no
//! window and suffers no fault.

use bytes::Bytes;
use http::{Method, Response, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    faults::{Fault, Faults},
    hid::Hid,
    model::Device,
    routes::Class,
    settings::Settings,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redeem {
    code: Option<String>,
    external_id: Option<String>,
    email: Option<String>,
    /// One of the app: it keeps the container that it has with this person, and the code stays as it is.
    installation: Option<String>,
    #[serde(default)]
    device: Device,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Container {
    container_id: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Offline {
    container_id: u64,
    offline: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StockLevel {
    part_number: String,
    /// Absent or null: unlimited.
    available: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credential {
    credential_id: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issue {
    container_id: u64,
    #[serde(default)]
    part_number: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    user_id: Option<u64>,
    external_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scripted {
    class: Option<Class>,
    fault: Fault,
}

/// Answers one control request; `path` is what follows `/control/`. Bad input is a 400 with one clear message.
pub(super) fn handle(
    hid: &mut Hid,
    now: i64,
    method: &Method,
    path: &str,
    body: &Bytes,
) -> Response<Bytes> {
    hid.advance(now);
    let (status, answer) = match act(hid, now, method, path, body) {
        Ok(answer) => (200, answer),
        Err(message) => (400, json!({ "error": message })),
    };
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Bytes::from(answer.to_string()))
        .unwrap_or_default()
}

fn act(
    hid: &mut Hid,
    now: i64,
    method: &Method,
    path: &str,
    body: &Bytes,
) -> Result<Value, String> {
    match (method.as_str(), path) {
        ("POST", "redeem") => redeem(hid, now, read(body)?),
        ("POST", "remove_phone") => {
            let Container { container_id } = read(body)?;
            if hid.remove_phone(now, container_id) {
                Ok(done())
            } else {
                Err(unknown("container"))
            }
        }
        ("POST", "phone_offline") => {
            let Offline {
                container_id,
                offline,
            } = read(body)?;
            hid.set_phone_offline(now, container_id, offline);
            Ok(done())
        }
        ("POST", "stock") => {
            let StockLevel {
                part_number,
                available,
            } = read(body)?;
            if hid.set_stock(now, &part_number, available) {
                Ok(done())
            } else {
                Err(unknown("part number"))
            }
        }
        ("POST", "portal/revoke") => {
            let Credential { credential_id } = read(body)?;
            hid.portal_revoke(now, credential_id)
                .map_err(|error| error.to_string())?;
            Ok(done())
        }
        ("POST", "portal/issue") => {
            let Issue {
                container_id,
                part_number,
            } = read(body)?;
            let id = hid
                .portal_issue(now, container_id, &part_number)
                .map_err(|error| error.to_string())?;
            Ok(json!({ "credential_id": id }))
        }
        ("POST", "portal/delete_user") => delete_user(hid, now, &read(body)?),
        ("POST", "faults") => faults(hid, read(body)?),
        ("GET", "faults") => Ok(json!(hid.faults())),
        ("POST", "settings") => settings(hid, read(body)?),
        ("GET", "settings") => Ok(json!(hid.settings())),
        ("GET", "ledger") => Ok(ledger(hid)),
        ("GET", "violations") => Ok(json!(hid.violations())),
        ("GET", "callbacks") => Ok(json!(hid.deliveries())),
        ("GET", "invitations") => Ok(json!(hid.pending_invitations())),
        ("GET", "state") => Ok(json!({
            "now": hid.now(),
            "live_credentials": hid.live_credentials(),
            "active_containers": hid.active_containers(),
            "surplus_invitations": hid.surplus_invitations(),
            "scripted_faults": hid.faults().pending(),
            "requests": hid.ledger().requests().len(),
        })),
        _ => Err(format!("no such control: {method} {path}")),
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn done() -> Value {
    json!({ "ok": true })
}

fn unknown(what: &str) -> String {
    format!("no such {what}")
}

/// By e-mail address or external id: the newest pending code.
fn redeem(hid: &mut Hid, now: i64, wanted: Redeem) -> Result<Value, String> {
    let found = match (wanted.code, &wanted.external_id, &wanted.email) {
        (Some(code), None, None) => Some(code),
        (None, None, None) => return Err("give code, external_id or email".to_owned()),
        (Some(_), _, _) => return Err("give code or a person, not both".to_owned()),
        (None, external_id, email) => hid
            .pending_invitations()
            .into_iter()
            .rev()
            .find(|item| {
                external_id
                    .as_ref()
                    .is_none_or(|id| *id == item.user_external_id)
                    && email.as_ref().is_none_or(|email| *email == item.email)
            })
            .map(|item| item.code),
    };
    let code = found.ok_or_else(|| "this person has no pending invitation".to_owned())?;
    let installation = wanted.installation.as_deref();
    let known = installation.and_then(|name| hid.installed(&code, name));
    let container = match known {
        Some(container) => container,
        None => hid
            .redeem(now, &code, wanted.device)
            .map_err(|error| error.to_string())?,
    };
    hid.set_installation(container, installation);
    Ok(json!({ "container_id": container }))
}

fn delete_user(hid: &mut Hid, now: i64, wanted: &User) -> Result<Value, String> {
    let by_name = wanted
        .external_id
        .as_deref()
        .and_then(|name| hid.user_by_external_id(name));
    let user = wanted.user_id.or(by_name).ok_or_else(|| unknown("user"))?;
    hid.portal_delete_user(now, user)
        .map_err(|error| error.to_string())?;
    Ok(done())
}

/// `{"preset": "standard" | "none"}`, `{"next": […]}`, and `{name: probability}`, in this order.
fn faults(hid: &mut Hid, wanted: Value) -> Result<Value, String> {
    let Value::Object(wanted) = wanted else {
        return Err("give an object".to_owned());
    };
    let mut faults = match wanted.get("preset").map(Value::as_str) {
        None => hid.faults().clone(),
        Some(Some("standard")) => Faults::standard(),
        Some(Some("none")) => Faults::none(),
        Some(_) => return Err("preset is standard or none".to_owned()),
    };
    for (name, value) in wanted {
        let limit = || {
            value
                .as_u64()
                .ok_or_else(|| format!("{name} takes milliseconds"))
        };
        match name.as_str() {
            "preset" => {}
            "next" => {
                let list: Vec<Scripted> =
                    serde_json::from_value(value).map_err(|error| error.to_string())?;
                for Scripted { class, fault } in list {
                    match class {
                        Some(class) => faults.next(class, fault),
                        None => faults.next_any(fault),
                    }
                }
            }
            "late_by_max_ms" => faults.late_by_max_ms = limit()?,
            "stale_within_ms" => faults.stale_within_ms = limit()?,
            "event_late_by_max_ms" => faults.event_late_by_max_ms = limit()?,
            fault => {
                let known: Fault = serde_json::from_value(json!(fault))
                    .map_err(|_| format!("no such fault: {fault}"))?;
                let probability = value.as_f64().filter(|p| (0.0..=1.0).contains(p));
                let probability = probability
                    .ok_or_else(|| format!("{fault} takes a probability from 0 to 1"))?;
                faults.set(known, probability);
            }
        }
    }
    *hid.faults_mut() = faults;
    Ok(json!(hid.faults()))
}

/// Changes the settings named, and only those; inner tables merge too.
fn settings(hid: &mut Hid, changes: Value) -> Result<Value, String> {
    let mut all = json!(hid.settings());
    merge(&mut all, changes);
    let settings: Settings = serde_json::from_value(all).map_err(|error| error.to_string())?;
    hid.set_settings(settings);
    Ok(json!(hid.settings()))
}

fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(into.entry(name).or_insert(Value::Null), change);
            }
        }
        (into, changes) => *into = changes,
    }
}

fn ledger(hid: &Hid) -> Value {
    let counts: Vec<Value> = hid
        .ledger()
        .requests_by_class()
        .iter()
        .map(|((service, class, outcome), count)| {
            json!({ "service": service, "class": class, "outcome": outcome, "count": count })
        })
        .collect();
    json!({
        "effects": hid.ledger().entries(),
        "requests": hid.ledger().requests(),
        "requests_by_class": counts,
    })
}
