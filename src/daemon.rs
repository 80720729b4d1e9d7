//! The composition root: builds every part from the configuration, wires them, and lets them run.
//!
//! May use everything; no decision is made here. Start and recovery are the same: claims that the
//! former owner left are taken over before the first loop turns.

mod build;
mod callbacks;
mod connectors;
mod head;
pub mod late;
mod loops;
mod online;
mod opened;
mod people;
mod register;
mod reload;
mod several;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Notify;

pub use self::build::policy;
pub use self::loops::{poller, spawn_manager};
pub use self::online::{Finding, check_online};
use self::opened::patiently;
pub use self::opened::settings as database;
pub use self::register::{Added, Register};
pub use self::reload::Reader;
use crate::api::{self, Listener};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::emit;
use crate::engine::Engine;
use crate::lifecycle::{Lifecycle, Outcome, Signals};
use crate::manager::Manager;
use crate::poller::Poller;
use crate::stock::Keeper;
use crate::store::head::HeadFile;
use crate::store::journal;
use crate::store::postgres::Postgres;
use crate::telemetry::{self, DAEMON_READY, DAEMON_STARTING, DAEMON_STOPPED};

/// Runs the daemon until it is told to stop; `read` reads the configuration again.
pub async fn run(config: &Config, read: Reader, mut signals: Signals) -> anyhow::Result<Outcome> {
    let lifecycle = Lifecycle::new(config.daemon.shutdown_timeout);
    emit!(DAEMON_STARTING, version = env!("CARGO_PKG_VERSION"); "starting origo-adapter {}", env!("CARGO_PKG_VERSION"));
    // A database may be away for long.
    let started = tokio::select! {
        daemon = Daemon::start(config, &lifecycle, Arc::new(SystemClock)) => daemon,
        () = lifecycle.interrupted(&mut signals) => {
            let outcome = Outcome::Clean;
            emit!(DAEMON_STOPPED, outcome = ?outcome; "stopped before it was ready");
            return Ok(outcome);
        }
    };
    let daemon = started?;
    daemon.follow(config.clone(), &lifecycle, read);
    lifecycle.ready(&format!("serving on {}", daemon.address));
    emit!(DAEMON_READY, address = %daemon.address; "serving on {}", daemon.address);
    let outcome = lifecycle.run(signals).await;
    head::keep(&daemon.engine, &daemon.head).await;
    let heads = match daemon.engine.store().heads().await {
        Ok(heads) => journal::hex(&heads.hash),
        Err(error) => telemetry::chain(&error),
    };
    emit!(DAEMON_STOPPED, outcome = ?outcome, journal.heads = %heads; "stopped: {outcome:?}");
    Ok(outcome)
}

/// A daemon whose loops run.
pub struct Daemon {
    /// Where the API is served: an address and port, or `unix:` and a path.
    pub address: String,
    /// Where all observations meet.
    pub engine: Arc<Engine>,
    /// The credential managers, by name.
    pub managers: BTreeMap<String, Arc<Manager>>,
    head: HeadFile,
    api: Arc<api::Api>,
    certificate: api::Certificate,
    people: Arc<Notify>,
}

impl Daemon {
    /// Opens the store, takes over what a former owner left, binds the API and starts the loops. Dropped before it
    /// returns, it has started none.
    pub async fn start(
        config: &Config,
        lifecycle: &Lifecycle,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let place = &config.store.place;
        let opened = opened::open(place).await?;
        let (common, clock) = patiently(|| several::agree(opened.postgres.as_ref(), &clock))
            .await
            .with_context(|| format!("agreeing on the time with {place}"))?;
        let engine = Arc::new(Engine::new(opened.store, clock, policy(config)));
        let head = HeadFile::new(&config.store.head);
        // Before the first commit, which would move the head on.
        head::compare(&engine, &head)
            .await
            .with_context(|| format!("comparing {place} with {}", config.store.head.display()))?;
        let longest = build::longest_request(config);
        patiently(|| loops::recover(&engine, longest, Duration::ZERO))
            .await
            .with_context(|| format!("taking over what was under way in {place}"))?;

        let listen = &config.api.listen;
        let listener = Listener::bind(listen)
            .await
            .with_context(|| format!("listening on {listen} (api.listen)"))?;
        let address = listener
            .address()
            .context("reading the address of the API")?
            .map_or_else(|| listen.to_string(), |address| address.to_string());
        let certificate = listener.certificate();
        let callbacks = callbacks::bind(config.callbacks.as_ref()).await?;
        let connectors = connectors::desks(&engine, config)?;
        let courier = webhooks::courier(&engine, config)?;
        let mut stations = Vec::new();
        for (name, settings) in &config.credential_managers {
            let manager = Arc::new(build::manager(config, name, settings, &engine)?);
            stations.push(Station::of(&engine, manager, opened.postgres.is_some()).await?);
        }

        // From here on nothing is waited for, and nothing fails: whoever stops the start finds no loop under way. And before
        // the first call goes out, somebody watches that nothing of it is lost.
        let managers: Vec<_> = stations
            .iter()
            .map(|one| Arc::clone(&one.manager))
            .collect();
        head::spawn(lifecycle, &engine, &head);
        if let Some(database) = &opened.postgres {
            head::spawn_failover(lifecycle, &engine, database.clone());
            several::spawn_news(lifecycle, database, &engine, managers.clone());
            several::spawn_telling(lifecycle, database, &engine);
        }
        if let Some(common) = common {
            common.spawn(lifecycle);
        }
        connectors::spawn(lifecycle, connectors);
        webhooks::spawn(lifecycle, &engine, courier);
        for station in stations {
            station.spawn(lifecycle, &engine, opened.postgres.as_ref());
        }
        if opened.crashed {
            loops::spawn_check(lifecycle, &engine, place);
        }
        head::spawn_reading(lifecycle, &engine, managers.clone());
        loops::spawn_timer(lifecycle, &engine);
        loops::spawn_recovery(lifecycle, &engine, longest);
        if let Some(callbacks) = callbacks {
            callbacks.spawn(lifecycle, managers.clone());
        }
        loops::spawn_heartbeat(
            lifecycle,
            &engine,
            managers.clone(),
            late::sides(config),
            config.log.heartbeat,
        );
        let named = managers
            .iter()
            .map(|manager| (manager.name.clone(), Arc::clone(manager)));
        let named = named.collect();
        let api = spawn_api(lifecycle, &engine, config, managers, listener);
        let people = Arc::new(Notify::new());
        let directory = config.desired_state.as_ref();
        people::spawn(lifecycle, &api, Arc::clone(&people), directory);
        Ok(Self {
            address,
            engine,
            managers: named,
            head,
            api,
            certificate,
            people,
        })
    }

    /// Takes over at each SIGHUP what `read` finds, as far as a running daemon can.
    fn follow(&self, config: Config, lifecycle: &Lifecycle, read: Reader) {
        let following = reload::Following {
            engine: Arc::clone(&self.engine),
            api: Arc::clone(&self.api),
            managers: self.managers.clone(),
            certificate: self.certificate.clone(),
            people: Arc::clone(&self.people),
            config,
        };
        reload::spawn(lifecycle, following, read);
    }
}

/// A credential manager, and what goes on with it from where the store says.
struct Station {
    manager: Arc<Manager>,
    poller: Option<Poller>,
    keeper: Keeper,
}

impl Station {
    async fn of(
        engine: &Arc<Engine>,
        manager: Arc<Manager>,
        is_shared: bool,
    ) -> anyhow::Result<Self> {
        if is_shared {
            patiently(|| several::read(engine, &manager))
                .await
                .context("finding out who reads the events")?;
        }
        let poller = patiently(|| loops::poller(engine, &manager))
            .await
            .context("reading where the events were read up to")?;
        let keeper = patiently(|| Keeper::open(Arc::clone(engine), Arc::clone(&manager)))
            .await
            .context("reading what was left of part numbers")?;
        Ok(Self {
            manager,
            poller,
            keeper,
        })
    }

    fn spawn(self, lifecycle: &Lifecycle, engine: &Arc<Engine>, database: Option<&Postgres>) {
        let manager = &self.manager;
        if let Some(database) = database {
            several::read_in_turn(lifecycle, database, engine, manager);
        }
        loops::spawn_manager(lifecycle, engine, manager, self.poller);
        loops::spawn_stock(lifecycle, engine, manager, self.keeper);
        loops::spawn_adopter(lifecycle, engine, manager);
    }
}

fn spawn_api(
    lifecycle: &Lifecycle,
    engine: &Arc<Engine>,
    config: &Config,
    managers: Vec<Arc<Manager>>,
    listener: Listener,
) -> Arc<api::Api> {
    let stalled = lifecycle.clone();
    let ready = Arc::new(move || stalled.stalled().is_empty() && !stalled.draining());
    let api = Arc::new(api::Api::new(Arc::clone(engine), config, managers, ready));
    let soft = lifecycle.soft();
    let router = api::router(Arc::clone(&api));
    lifecycle.spawn("api", async move {
        api::serve(listener, router, soft).await;
    });
    api
}
