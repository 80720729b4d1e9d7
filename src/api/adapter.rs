//! How things stand as a whole: `/adapter/status` and `/metrics` (contract.md sections 3, 6 and 10).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::{Api, Call, Reply, hold, show};
use crate::core::forecast::Forecast;
use crate::core::{Class, Timestamp};
use crate::manager::Manager;

/// What a manager's part of the status is made from.
struct Standing {
    manager: Arc<Manager>,
    forecast: Arc<Forecast>,
    services: Vec<Service>,
}

/// One service's window.
struct Service {
    name: &'static str,
    used: usize,
    limit: u32,
    share: f64,
    condition: &'static str,
}

async fn standings(api: &Api) -> Result<Vec<Standing>, Problem> {
    let mut standings = Vec::new();
    let at = api.engine.window_now().await?;
    for manager in &api.schedule.managers {
        let Some(forecast) = api.schedule.forecast(api, manager.id).await? else {
            continue;
        };
        let mut services = Vec::new();
        for (name, budget, gate) in [
            (
                "mobile_identities",
                &manager.mobile_identities,
                &manager.gate,
            ),
            ("events", &manager.events, &manager.feed_gate),
        ] {
            let mut used = 0;
            for key in &budget.keys {
                let slots = api.engine.store().slots(key.clone(), at).await?;
                used = used.max(slots.len());
            }
            services.push(Service {
                name,
                used,
                limit: budget.limit(false, at),
                share: budget.share(at),
                condition: gate.condition().name(),
            });
        }
        standings.push(Standing {
            manager: Arc::clone(manager),
            forecast,
            services,
        });
    }
    Ok(standings)
}

pub(super) async fn status(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let counts = api.engine.store().counts().await?;
    let standings = standings(api).await?;
    let holds = hold::all(api).await?;
    let mut managers = Vec::new();
    for standing in &standings {
        let held = hold::whole(&holds, standing.manager.id).is_some();
        managers.push(standing.status(held, call.now));
    }
    Ok(Reply::one(json!({
        "at": show::instant(call.now),
        "identities": counts.identities,
        "calls_under_way": counts.claims,
        "owed": counts.owed,
        "holds": holds.iter().map(|hold| hold::shown(api, hold)).collect::<Vec<_>>(),
        "credential_managers": managers,
        "access_systems": access_systems(api, call).await?,
    })))
}

/// What is owed to each access system that takes records.
async fn access_systems(api: &Api, call: &Call) -> Result<Vec<Value>, Problem> {
    let policy = api.engine.policy();
    let mut told = Vec::new();
    for id in policy.imports.keys() {
        let queue = api.engine.store().queue(*id, call.now).await?;
        let entry = |class: Class| {
            let due = queue.get(&class).map_or(&[][..], Vec::as_slice);
            json!({
                "due": due.len(),
                "oldest_due_at": due.first().map(|due| show::instant(*due)),
            })
        };
        told.push(json!({
            "name": call.systems().get(*id).map(|system| system.name.clone()),
            "acs_system_id": id,
            "imports": entry(Class::Import),
            "removals": entry(Class::Removal),
        }));
    }
    Ok(told)
}

/// What is left of a manager's part numbers.
fn stock(manager: &Manager) -> Value {
    let stock = manager.stock.get();
    let parts = stock.parts.iter().map(|(number, part)| {
        json!({
            "part_number": number,
            "available": part.available(),
            "ends_at": part.ends_at().map(show::instant),
            "low": part.is_low(),
        })
    });
    json!({
        "read_at": stock.read_at.map(show::instant),
        "part_numbers": parts.collect::<Vec<_>>(),
        "licenses": stock.licenses,
    })
}

impl Standing {
    fn status(&self, held: bool, now: Timestamp) -> Value {
        let manager = &self.manager;
        let windows: Map<String, Value> = self.services.iter().map(Service::status).collect();
        // What is held goes when it is released.
        let waits = |class: Class| held && matches!(class, Class::Issue | Class::Enroll);
        let sent_by = |class: Class| {
            let at = now.plus(self.forecast.drained(class));
            (!waits(class)).then(|| show::instant(at))
        };
        let queue = self.forecast.queue.iter().map(|(class, due)| {
            let entry = json!({
                "due": due.len(),
                "oldest_due_at": due.first().map(|due| show::instant(*due)),
                "sent_by": sent_by(*class),
            });
            (class.name().to_owned(), entry)
        });
        let queue: Map<String, Value> = queue.filter(|(_, entry)| entry["due"] != 0).collect();
        json!({
            "name": manager.name,
            "acs_system_id": manager.id,
            "windows": windows,
            "queue": queue,
            "detection": self.detection(now),
            "stock": stock(manager),
        })
    }

    /// How new phones are found, and how soon.
    fn detection(&self, now: Timestamp) -> Value {
        let manager = &self.manager;
        let feed = manager.polling.map(|polling| {
            let (cursor, gaps) = manager.progress.get();
            json!({
                "cursor_at": show::instant(cursor),
                "cursor_age_s": now.since(cursor).as_secs(),
                "gaps": gaps,
                "deaf": manager.echo.is_deaf(),
                "interval_s": polling.interval.as_secs_f64(),
            })
        });
        let by = if manager.must_read_waiting() {
            "reading"
        } else {
            "events"
        };
        json!({
            "by": by,
            "feed": feed,
            "expected_latency": self.latency(),
        })
    }

    /// Within what time a phone is found after it registered.
    fn latency(&self) -> String {
        let manager = &self.manager;
        match manager.polling {
            Some(polling) if !manager.must_read_waiting() => {
                format!("{} s", polling.interval.as_secs_f64())
            }
            Some(_) | None => {
                let round = self.forecast.drained(Class::Wait).as_secs();
                format!(
                    "a tenth of the invitation's age, at least 15 s and at most 1 h, and then {round} s in the queue as it is now"
                )
            }
        }
    }
}

impl Service {
    fn status(&self) -> (String, Value) {
        let status = json!({
            "used": self.used,
            "limit": self.limit,
            "share": (self.share * 1000.0).round() / 1000.0,
            "condition": self.condition,
        });
        (self.name.to_owned(), status)
    }
}

/// The same figures for Prometheus (text format 0.0.4).
pub(super) async fn metrics(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let counts = api.engine.store().counts().await?;
    let mut page = Page::default();
    page.gauge(
        "identities",
        "Listed identities.",
        &[("", counts.identities)],
    );
    page.gauge(
        "calls_under_way",
        "Calls to HID that have no answer yet.",
        &[("", counts.claims)],
    );
    let standings = standings(api).await?;
    let mut queue = Vec::new();
    let mut used = Vec::new();
    let mut limit = Vec::new();
    let mut up = Vec::new();
    let mut age = Vec::new();
    let mut gaps = Vec::new();
    let mut left = Vec::new();
    for standing in &standings {
        let manager = format!("manager=\"{}\"", standing.manager.name);
        for (class, due) in &standing.forecast.queue {
            queue.push((
                format!("{manager},class=\"{}\"", class.name()),
                due.len() as u64,
            ));
        }
        for service in &standing.services {
            let labels = format!("{manager},service=\"{}\"", service.name);
            used.push((labels.clone(), service.used as u64));
            limit.push((labels.clone(), u64::from(service.limit)));
            up.push((labels, u64::from(service.condition == "ok")));
        }
        for (number, part) in standing.manager.stock.get().parts {
            let available = part.available().and_then(|left| u64::try_from(left).ok());
            let number = escaped(&number.0);
            let labels = format!("{manager},part_number=\"{number}\"");
            left.extend(available.map(|available| (labels, available)));
        }
        if standing.manager.polling.is_some() {
            let (cursor, lost) = standing.manager.progress.get();
            age.push((manager.clone(), call.now.since(cursor).as_secs()));
            gaps.push((manager, lost));
        }
    }
    page.gauge("queue_due", "Calls that are owed to HID and due.", &queue);
    page.gauge("window_used", "Places taken in HID's window.", &used);
    page.gauge(
        "window_limit",
        "Places that are ours, withdrawals aside.",
        &limit,
    );
    page.gauge(
        "stock_available",
        "Keys that HID has left of a part number.",
        &left,
    );
    page.gauge(
        "service_ok",
        "1: HID's service answers; 0: it is paused.",
        &up,
    );
    page.gauge(
        "feed_cursor_age_seconds",
        "Age of what the feed was read up to.",
        &age,
    );
    page.counter(
        "feed_gaps_total",
        "Moments of which the feed left out entries for good.",
        &gaps,
    );
    Ok(Reply::plain(page.0))
}

/// HID's own text in a label.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('\n', "\\n")
}

/// A page of metrics.
#[derive(Default)]
struct Page(String);

impl Page {
    fn gauge<L: AsRef<str>>(&mut self, name: &str, help: &str, samples: &[(L, u64)]) {
        self.family(name, "gauge", help, samples);
    }

    fn counter<L: AsRef<str>>(&mut self, name: &str, help: &str, samples: &[(L, u64)]) {
        self.family(name, "counter", help, samples);
    }

    fn family<L: AsRef<str>>(&mut self, name: &str, kind: &str, help: &str, samples: &[(L, u64)]) {
        let head =
            format!("# HELP origo_adapter_{name} {help}\n# TYPE origo_adapter_{name} {kind}\n");
        self.0.push_str(&head);
        self.0.extend(samples.iter().map(|(labels, value)| {
            let labels = labels.as_ref();
            if labels.is_empty() {
                format!("origo_adapter_{name} {value}\n")
            } else {
                format!("origo_adapter_{name}{{{labels}}} {value}\n")
            }
        }));
    }
}
