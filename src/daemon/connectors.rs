//! The loops of access systems: one each that takes records.

use std::sync::Arc;

use anyhow::Context as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::loops::{STORE_PAUSE, TURN_BOUND, rest, store_failed};
use crate::budget::{Budget, Terms};
use crate::config::{self, Config};
use crate::connector::files::Files;
use crate::connector::http::{Http, Next};
use crate::connector::{Connector, Desk, Kind};
use crate::core::ids::AcsSystemId;
use crate::engine::Engine;
use crate::gate::Gate;
use crate::lifecycle::{Beat, Lifecycle};
use crate::origo::{HttpTransport, Options};

/// Requests under way at once for one access system.
const CONCURRENCY: usize = 8;

/// A desk for each access system that takes records.
pub(super) fn desks(engine: &Arc<Engine>, config: &Config) -> anyhow::Result<Vec<Desk>> {
    let mut desks = Vec::new();
    for (name, system) in &config.access_systems {
        let Some(import) = &system.import else {
            continue;
        };
        let connector = Connector {
            id: AcsSystemId(system.acs_system_id),
            name: name.clone(),
            kind: kind(name, import, &config.http)
                .with_context(|| format!("access_systems.{name}.import"))?,
        };
        desks.push(Desk {
            engine: Arc::clone(engine),
            connector: Arc::new(connector),
        });
    }
    Ok(desks)
}

/// Starts the loops.
pub(super) fn spawn(lifecycle: &Lifecycle, desks: Vec<Desk>) {
    for desk in desks {
        let name = format!("connector {}", desk.connector.name);
        let beat = lifecycle.beat(&name, TURN_BOUND);
        lifecycle.spawn(&name, work(desk, beat, lifecycle.soft()));
    }
}

fn kind(name: &str, import: &config::Import, http: &config::Http) -> anyhow::Result<Kind> {
    Ok(match import {
        config::Import::Http(import) => {
            let options = Options {
                request_timeout: import.request_timeout,
                proxy: None,
                ca_certificates: http.ca.clone(),
            };
            let transport = HttpTransport::new(&options).context("preparing the HTTP client")?;
            let mut headers = HeaderMap::new();
            for (name, value) in &import.headers {
                let name = HeaderName::try_from(name.as_str())?;
                let mut value = HeaderValue::try_from(value.expose_secret())?;
                value.set_sensitive(true);
                headers.append(name, value);
            }
            let keys = vec![format!("import/{name}")];
            let (requests, per) = import.window;
            Kind::Http(Arc::new(Http {
                url: import.url.clone(),
                method: import.method.parse()?,
                remove_method: import.remove_method.parse()?,
                headers,
                body: import.body.clone(),
                request_timeout: import.request_timeout,
                budget: Budget::new(
                    keys,
                    Terms {
                        requests,
                        per,
                        share: 1.0,
                        unanswered: import.request_timeout,
                    },
                ),
                gate: Gate::default(),
                transport: Box::new(transport),
            }))
        }
        config::Import::Files(import) => Kind::Files(Files {
            directory: import.directory.clone(),
            format: import.format,
            fields: import.fields.clone(),
            every: import.every,
        }),
    })
}

async fn work(desk: Desk, beat: Beat, soft: CancellationToken) {
    let mut commits = desk.engine.commits();
    let mut jobs = JoinSet::new();
    while !soft.is_cancelled() {
        beat.turn();
        commits.mark_unchanged();
        let (pace, turned) = match &desk.connector.kind {
            Kind::Http(http) => (None, turn(&desk, http, &mut jobs).await),
            Kind::Files(files) => (Some(files.every), desk.batch(files).await),
        };
        let until = turned.unwrap_or_else(|error| {
            store_failed(&error);
            Some(desk.engine.now().plus(STORE_PAUSE))
        });
        // Batches are few: what is committed meanwhile goes with the next.
        let heard = pace.is_none().then_some(&mut commits);
        let until = match pace {
            Some(every) => Some(until.map_or(desk.engine.now().plus(every), |until| {
                until.min(desk.engine.now().plus(every))
            })),
            None => until,
        };
        tokio::select! {
            () = rest(&desk.engine, until, heard, &beat, &soft) => {}
            Some(_) = jobs.join_next() => {}
        }
    }
    while jobs.join_next().await.is_some() {
        beat.turn();
    }
}

/// Starts what is due; returns when more will be.
async fn turn(
    desk: &Desk,
    http: &Arc<Http>,
    jobs: &mut JoinSet<()>,
) -> Result<Option<crate::core::Timestamp>, crate::store::Error> {
    while jobs.try_join_next().is_some() {}
    while jobs.len() < CONCURRENCY {
        match desk.next(http).await? {
            Next::Wait(until) => return Ok(until),
            Next::Call(started) => {
                let (desk, http) = (desk.clone(), Arc::clone(http));
                jobs.spawn(async move {
                    let outcome = desk.perform(&http, &started).await;
                    while let Err(error) = desk.settle(&started, outcome).await {
                        store_failed(&error);
                        tokio::time::sleep(STORE_PAUSE).await;
                    }
                });
            }
        }
    }
    Ok(None)
}
