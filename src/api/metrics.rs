//! The figures of `/adapter/status`, and counts of what happened, for Prometheus: text format 0.0.4
//! (contract.md section 10). No label holds anything of a person.

use std::fmt::Display;

use super::adapter::{Standing, standings};
use super::problem::Problem;
use super::{Api, Call, Reply};
use crate::core::hold::HoldScope;
use crate::core::ids::AcsSystemId;
use crate::core::{Class, Timestamp};
use crate::manager::histogram::{BOUNDS, Counted};
use crate::manager::{Condition, Manager};
use crate::telemetry::EVENTS;

/// Answers with everything at once.
pub(super) async fn metrics(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let mut page = Page::default();
    process(&mut page, api);
    store(&mut page, api, call).await?;
    let standings = standings(api).await?;
    queues(&mut page, &standings, call.now);
    services(&mut page, &standings);
    feeds(&mut page, &standings, call.now);
    stock(&mut page, &standings, call.now);
    requests(&mut page, &standings);
    systems(&mut page, api, call, &standings).await?;
    Ok(Reply::plain(page.0))
}

fn process(page: &mut Page, api: &Api) {
    let version = labels(&[("version", env!("CARGO_PKG_VERSION"))]);
    page.gauge("build_info", "What runs here.", &[(version, 1)]);
    let uptime = api.engine.clock().boottime().saturating_sub(api.begun);
    let uptime = [("", uptime.as_secs())];
    page.gauge("uptime_seconds", "Since the daemon's start.", &uptime);
    let ready = [("", u8::from((api.probe)()))];
    page.gauge("ready", "1: every loop turns, and nothing drains.", &ready);
    let events = EVENTS.iter().map(|event| {
        let level = event.level().as_str().to_lowercase();
        let names = [
            ("event", event.name()),
            ("id", event.id()),
            ("level", &level),
        ];
        (labels(&names), event.count())
    });
    page.counter(
        "events_total",
        "How often each event of docs/log-events.md happened, whatever log.level lets through.",
        &events.collect::<Vec<_>>(),
    );
}

async fn store(page: &mut Page, api: &Api, call: &Call) -> Result<(), Problem> {
    let counts = api.engine.store().counts().await?;
    let identities = [("", counts.identities)];
    page.gauge("identities", "Listed identities.", &identities);
    let claims = [("", counts.claims)];
    let help = "Calls to HID that have no answer yet.";
    page.gauge("calls_under_way", help, &claims);
    let owed = Class::ALL.iter().map(|class| {
        let count = counts.owed.get(class.name()).copied();
        (
            labels(&[("class", class.name())]),
            count.unwrap_or_default(),
        )
    });
    page.gauge(
        "owed",
        "What is owed to HID and access systems, due or not.",
        &owed.collect::<Vec<_>>(),
    );
    let pending = [("", counts.deliveries)];
    let help = "Events that webhooks have yet to take.";
    page.gauge("webhook_deliveries_pending", help, &pending);
    let webhooks = api.engine.store().webhooks().await?;
    let disabled = webhooks.iter().filter(|webhook| !webhook.enabled).count();
    let help = "Webhooks that get nothing, having taken nothing for days.";
    page.gauge("webhooks_disabled", help, &[("", disabled)]);
    let holds = api.engine.store().holds().await?;
    let holds = holds.iter().map(|hold| {
        let name = |id: &AcsSystemId| {
            let known = call.systems().get(*id);
            known.map_or_else(|| id.to_string(), |system| system.name.clone())
        };
        let (manager, part) = match &hold.scope {
            HoldScope::All => (String::new(), String::new()),
            HoldScope::Manager(id) => (name(id), String::new()),
            HoldScope::Part(id, part) => (name(id), part.0.clone()),
        };
        let names = [
            ("manager", manager.as_str()),
            ("part_number", &part),
            ("reason", hold.reason.name()),
        ];
        (labels(&names), 1)
    });
    page.gauge(
        "hold",
        "Nothing new is made or issued there; an empty manager is all of them.",
        &holds.collect::<Vec<_>>(),
    );
    Ok(())
}

fn queues(page: &mut Page, standings: &[Standing], now: Timestamp) {
    let mut due = Vec::new();
    let mut oldest = Vec::new();
    for standing in standings {
        for (class, waiting) in &standing.forecast.queue {
            let labels = labels(&[("manager", &standing.manager.name), ("class", class.name())]);
            due.push((labels.clone(), waiting.len()));
            let since = waiting
                .first()
                .map_or(0, |first| now.since(*first).as_secs());
            oldest.push((labels, since));
        }
    }
    page.gauge("queue_due", "Calls that are owed to HID and due.", &due);
    page.gauge(
        "queue_oldest_seconds",
        "How long the oldest of them is due; 0 where there is none.",
        &oldest,
    );
    let waits = standings.iter().map(|standing| {
        let manager = &standing.manager;
        (
            labels(&[("manager", &manager.name)]),
            manager.issue_waits.counted(),
        )
    });
    page.histogram(
        "issue_wait_seconds",
        "From when a key was owed to a phone until HID took its issue.",
        &waits.collect::<Vec<_>>(),
    );
}

fn services(page: &mut Page, standings: &[Standing]) {
    let mut used = Vec::new();
    let mut limit = Vec::new();
    let mut share = Vec::new();
    let mut up = Vec::new();
    let mut conditions = Vec::new();
    let mut quarantined = Vec::new();
    for standing in standings {
        let manager = standing.manager.name.as_str();
        for service in &standing.services {
            let names = [("manager", manager), ("service", service.name)];
            used.push((labels(&names), service.used));
            limit.push((labels(&names), service.limit));
            share.push((labels(&names), service.share));
            let is = |condition: &str| u8::from(service.condition == condition);
            up.push((labels(&names), is(Condition::Ok.name())));
            for condition in Condition::ALL.map(Condition::name) {
                let names = [names[0], names[1], ("condition", condition)];
                conditions.push((labels(&names), is(condition)));
            }
        }
        let since = standing.manager.quarantined_at();
        quarantined.push((labels(&[("manager", manager)]), u8::from(since.is_some())));
    }
    page.gauge("window_used", "Places taken in HID's window.", &used);
    let help = "Places that are ours, withdrawals aside.";
    page.gauge("window_limit", help, &limit);
    page.gauge("window_share", "What part of the window is ours.", &share);
    let help = "1: HID's service answers; 0: it is paused.";
    page.gauge("service_ok", help, &up);
    let help = "1: so it was when it was asked last.";
    page.gauge("service_condition", help, &conditions);
    page.gauge(
        "manager_quarantined",
        "1: it has refused our credentials for long, and is asked every 15 minutes.",
        &quarantined,
    );
}

fn feeds(page: &mut Page, standings: &[Standing], now: Timestamp) {
    let mut age = Vec::new();
    let mut gaps = Vec::new();
    let mut deaf = Vec::new();
    for standing in standings {
        let manager: &Manager = &standing.manager;
        if manager.polling.is_some() {
            let labels = labels(&[("manager", &manager.name)]);
            let (cursor, lost) = manager.progress.get();
            age.push((labels.clone(), now.since(cursor).as_secs()));
            gaps.push((labels.clone(), lost));
            deaf.push((labels, u8::from(manager.echo.is_deaf())));
        }
    }
    let help = "Age of what the feed was read up to.";
    page.gauge("feed_cursor_age_seconds", help, &age);
    let help = "Moments of which the feed left out entries for good.";
    page.counter("feed_gaps_total", help, &gaps);
    let help = "1: the feed does not tell of what we do.";
    page.gauge("feed_deaf", help, &deaf);
}

fn stock(page: &mut Page, standings: &[Standing], now: Timestamp) {
    let mut available = Vec::new();
    let mut low = Vec::new();
    let mut ends = Vec::new();
    let mut age = Vec::new();
    for standing in standings {
        let manager = standing.manager.name.as_str();
        let stock = standing.manager.stock.get();
        let read = stock.read_at.map(|at| now.since(at).as_secs());
        age.extend(read.map(|read| (labels(&[("manager", manager)]), read)));
        for (number, part) in &stock.parts {
            let labels = labels(&[("manager", manager), ("part_number", &number.0)]);
            let left = part.available();
            available.extend(left.map(|left| (labels.clone(), left)));
            low.push((labels.clone(), u8::from(part.is_low())));
            ends.extend(part.ends_at().map(|at| (labels, at.0 / 1000)));
        }
    }
    let help = "Keys that HID has left of a part number.";
    page.gauge("stock_available", help, &available);
    let help = "1: few are left, or they end within two weeks.";
    page.gauge("stock_low", help, &low);
    let help = "When the last one is used if it goes on as in the last days, in Unix time.";
    page.gauge("stock_ends_timestamp_seconds", help, &ends);
    let help = "Age of what is known of the stock.";
    page.gauge("stock_age_seconds", help, &age);
}

fn requests(page: &mut Page, standings: &[Standing]) {
    let mut requests = Vec::new();
    for standing in standings {
        for made in standing.manager.client.requests() {
            let names = [
                ("manager", standing.manager.name.as_str()),
                ("service", made.operation.service().name()),
                ("operation", made.operation.name()),
                ("outcome", &made.outcome),
            ];
            requests.push((labels(&names), made.count));
        }
    }
    page.counter(
        "hid_requests_total",
        "Requests to HID, by HTTP's status or how they ended without one.",
        &requests,
    );
}

/// Withdrawals of every side, and what access systems are owed.
async fn systems(
    page: &mut Page,
    api: &Api,
    call: &Call,
    standings: &[Standing],
) -> Result<(), Problem> {
    let store = api.engine.store();
    let age = async |system: AcsSystemId, class: Class| {
        let oldest = store.oldest_owed(system, class).await?;
        let age = oldest.map_or(0, |owed| call.now.since(owed.owed_since).as_secs());
        Ok::<_, Problem>(age)
    };
    let mut withdrawals = Vec::new();
    let mut due = Vec::new();
    let mut oldest = Vec::new();
    for standing in standings {
        let manager = &standing.manager;
        let age = age(manager.id, Class::Withdrawal).await?;
        withdrawals.push((labels(&[("system", &manager.name)]), age));
    }
    for id in api.engine.policy().imports.keys() {
        let system = call.systems().get(*id);
        let name = system.map_or_else(|| id.to_string(), |system| system.name.clone());
        let queue = store.queue(*id, call.now).await?;
        for class in [Class::Import, Class::Removal] {
            let waiting = queue.get(&class).map_or(0, Vec::len);
            let age = age(*id, class).await?;
            let names = [("system", name.as_str()), ("class", class.name())];
            due.push((labels(&names), waiting));
            oldest.push((labels(&names), age));
            if class == Class::Removal {
                withdrawals.push((labels(&names[..1]), age));
            }
        }
    }
    page.gauge(
        "withdrawal_oldest_seconds",
        "How long the oldest withdrawal is owed, due or put off; 0 where there is none.",
        &withdrawals,
    );
    let help = "Records that are owed to an access system and due.";
    page.gauge("records_due", help, &due);
    let help = "How long the oldest record is owed, due or put off; 0 where there is none.";
    page.gauge("records_oldest_seconds", help, &oldest);
    Ok(())
}

/// `{name="value",…}`.
fn labels(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    pairs.collect::<Vec<_>>().join(",")
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
    fn gauge<L: AsRef<str>, V: Display>(&mut self, name: &str, help: &str, samples: &[(L, V)]) {
        self.head(name, "gauge", help);
        for (labels, value) in samples {
            self.sample(name, labels.as_ref(), value);
        }
    }

    fn counter<L: AsRef<str>, V: Display>(&mut self, name: &str, help: &str, samples: &[(L, V)]) {
        self.head(name, "counter", help);
        for (labels, value) in samples {
            self.sample(name, labels.as_ref(), value);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, samples: &[(String, Counted)]) {
        self.head(name, "histogram", help);
        for (labels, counted) in samples {
            let bucket = format!("{name}_bucket");
            for (bound, count) in BOUNDS.iter().zip(&counted.within) {
                self.sample(&bucket, &format!("{labels},le=\"{bound}\""), count);
            }
            self.sample(&bucket, &format!("{labels},le=\"+Inf\""), &counted.count);
            self.sample(&format!("{name}_sum"), labels, &counted.sum.as_secs_f64());
            self.sample(&format!("{name}_count"), labels, &counted.count);
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let head =
            format!("# HELP origo_adapter_{name} {help}\n# TYPE origo_adapter_{name} {kind}\n");
        self.0.push_str(&head);
    }

    fn sample(&mut self, name: &str, labels: &str, value: &dyn Display) {
        let line = if labels.is_empty() {
            format!("origo_adapter_{name} {value}\n")
        } else {
            format!("origo_adapter_{name}{{{labels}}} {value}\n")
        };
        self.0.push_str(&line);
    }
}
