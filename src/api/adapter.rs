//! How things stand as a whole: `/adapter/status` (contract.md sections 3 and 6).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::{Api, Call, Reply, hold, show};
use crate::core::forecast::Forecast;
use crate::core::{Class, Timestamp};
use crate::manager::Manager;

/// What a manager's part of the status is made from.
pub(super) struct Standing {
    pub(super) manager: Arc<Manager>,
    pub(super) forecast: Arc<Forecast>,
    pub(super) services: Vec<Service>,
    /// Since when the oldest withdrawal is owed.
    oldest_withdrawal: Option<Timestamp>,
}

/// One service's window.
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) used: usize,
    pub(super) limit: u32,
    pub(super) share: f64,
    pub(super) condition: &'static str,
}

/// Of every manager that works on the store.
pub(super) async fn standings(api: &Api) -> Result<Vec<Standing>, Problem> {
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
        let oldest = api
            .engine
            .store()
            .oldest_owed(manager.id, Class::Withdrawal)
            .await?;
        standings.push(Standing {
            manager: Arc::clone(manager),
            forecast,
            services,
            oldest_withdrawal: oldest.map(|owed| owed.owed_since),
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
        let oldest = api.engine.store().oldest_owed(*id, Class::Removal).await?;
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
            "oldest_withdrawal_at": oldest.map(|owed| show::instant(owed.owed_since)),
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
            "oldest_withdrawal_at": self.oldest_withdrawal.map(show::instant),
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
