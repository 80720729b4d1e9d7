//! The composition root: builds every part from the configuration, wires them, and lets them run.
//!
//! May use everything; no decision is made here. Start and recovery are the same: claims that the
//! former owner left are taken over before the first loop turns.

mod webhooks;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::budget::{Budget, Ledger};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config, CredentialManager, WindowKey};
use crate::core::ids::AcsSystemId;
use crate::core::policy::{ManagerPolicy, Policy};
use crate::core::window::READING_SHARE;
use crate::core::{Class, Timestamp};
use crate::emit;
use crate::engine::Engine;
use crate::gate::{Forbidden, Gate};
use crate::lifecycle::{Beat, Lifecycle, Outcome, Signals};
use crate::manager::{Echo, Manager, Polling, Progress};
use crate::origo::{Client, HttpTransport, Options, Places, Settings, Unlimited};
use crate::poller::{Polled, Poller};
use crate::store::sqlite::{self, Sqlite};
use crate::store::{self, Store};
use crate::telemetry::{
    DAEMON_READY, DAEMON_STARTING, DAEMON_STOPPED, HEARTBEAT, STORE_DAMAGED, STORE_FAILED,
};
use crate::worker::{self, Job, Next, Worker};
use crate::{api, telemetry};

/// Calls under way at once for one manager; one identity never has more than one.
const CONCURRENCY: usize = 16;
/// No loop sleeps longer: so a stepped clock is noticed, and the watchdog sees it turn.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);
/// A loop that has not turned for so long hangs.
const TURN_BOUND: Duration = Duration::from_mins(1);
/// Abandoned claims are looked for this often.
const RECOVER_EVERY: Duration = Duration::from_secs(30);
/// Beyond its lease and a request's time, a claim's owner may still be writing (contract.md section 2, Leases).
const TAKEOVER_SLACK: Duration = Duration::from_secs(30);
/// After the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Runs the daemon until it is told to stop.
pub async fn run(config: &Config, signals: Signals) -> anyhow::Result<Outcome> {
    let lifecycle = Lifecycle::new(config.daemon.shutdown_timeout);
    emit!(DAEMON_STARTING, version = env!("CARGO_PKG_VERSION"); "starting origo-adapter {}", env!("CARGO_PKG_VERSION"));
    let daemon = Daemon::start(config, &lifecycle, Arc::new(SystemClock)).await?;
    lifecycle.ready(&format!("serving on {}", daemon.address));
    emit!(DAEMON_READY, address = %daemon.address; "serving on {}", daemon.address);
    let outcome = lifecycle.run(signals).await;
    emit!(DAEMON_STOPPED, outcome = ?outcome; "stopped: {outcome:?}");
    Ok(outcome)
}

/// A daemon whose loops run.
pub struct Daemon {
    /// Where the API is served.
    pub address: SocketAddr,
    /// Where all observations meet.
    pub engine: Arc<Engine>,
    /// The credential managers, by name.
    pub managers: BTreeMap<String, Arc<Manager>>,
}

impl Daemon {
    /// Opens the store, takes over what a former owner left, binds the API and starts the loops.
    pub async fn start(
        config: &Config,
        lifecycle: &Lifecycle,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let path = &config.store.path;
        let store = Sqlite::open(path, sqlite::Options::default())
            .with_context(|| format!("opening the store {}", path.display()))?;
        let crashed = store.crashed();
        let engine = Arc::new(Engine::new(
            Arc::new(store) as Arc<dyn Store>,
            clock,
            policy(config),
        ));
        worker::recover(&engine, engine.now())
            .await
            .with_context(|| format!("taking over what was under way in {}", path.display()))?;

        let listener = TcpListener::bind(config.api.listen)
            .await
            .with_context(|| format!("listening on {} (api.listen)", config.api.listen))?;
        let address = listener
            .local_addr()
            .context("reading the address of the API")?;
        let mut managers = BTreeMap::new();
        for (name, settings) in &config.credential_managers {
            let manager = Arc::new(manager(config, name, settings, &engine)?);
            spawn_manager(lifecycle, &engine, &manager)
                .await
                .context("reading where the events were read up to")?;
            managers.insert(name.clone(), manager);
        }
        if crashed {
            spawn_check(lifecycle, &engine, path);
        }
        spawn_timer(lifecycle, &engine);
        spawn_recovery(lifecycle, &engine, longest_request(config));
        webhooks::spawn(lifecycle, &engine, config)?;
        spawn_heartbeat(
            lifecycle,
            &engine,
            managers.values().cloned().collect(),
            config.log.heartbeat,
        );
        let working = managers.values().cloned().collect();
        spawn_api(lifecycle, &engine, config, working, listener);
        Ok(Self {
            address,
            engine,
            managers,
        })
    }
}

/// The policy that a configuration asks for.
#[must_use]
pub fn policy(config: &Config) -> Policy {
    let issuance = &config.issuance;
    let managers = config.credential_managers.values().map(|manager| {
        let invitations = &manager.invitations;
        let policy = ManagerPolicy {
            email_invitations: invitations.delivery == config::Delivery::Email,
            max_renewals: if invitations.renew {
                invitations.max_renewals
            } else {
                0
            },
            adopt_by_email: manager.adopt_users == config::AdoptUsers::ByEmail,
            events: manager.polling.events,
            overlap: manager.polling.overlap,
        };
        (AcsSystemId(manager.acs_system_id), policy)
    });
    Policy {
        retry_schedule: issuance.retry_schedule.clone(),
        settle_delay: issuance.settle_delay,
        late_effect_bound: issuance.late_effect_bound,
        give_up_after: issuance.give_up_after,
        managers: managers.collect(),
    }
}

/// A client for a configured credential manager.
pub fn client(
    settings: &CredentialManager,
    clock: Arc<dyn Clock>,
    places: Arc<dyn Places>,
) -> anyhow::Result<Client> {
    let options = Options {
        request_timeout: settings.request_timeout,
        proxy: None,
        ca_certificates: None,
    };
    let transport = HttpTransport::new(&options).context("preparing the HTTP client")?;
    let now = Arc::new(move || clock.now());
    let events_url = settings
        .events_url
        .clone()
        .unwrap_or_else(|| settings.mobile_identities_url.clone());
    let settings = Settings {
        organization_id: settings.organization_id.clone(),
        client_id: settings.client_id.clone(),
        client_secret: settings.client_secret.clone(),
        token_url: settings.token_url.clone(),
        mobile_identities_url: settings.mobile_identities_url.clone(),
        events_url,
        application_id: settings.application_id.clone(),
        application_version: settings.application_version.clone(),
        request_timeout: settings.request_timeout,
    };
    Ok(Client::new(settings, Arc::new(transport), places, now))
}

fn manager(
    config: &Config,
    name: &str,
    settings: &CredentialManager,
    engine: &Arc<Engine>,
) -> anyhow::Result<Manager> {
    let polling = &settings.polling;
    let windows = &settings.windows;
    let events_url = settings
        .events_url
        .as_ref()
        .unwrap_or(&settings.mobile_identities_url);
    let unanswered = settings.request_timeout + config.issuance.late_effect_bound;
    let budget = |service: &str, url: &url::Url, window: &config::Window| {
        let keys = window_keys(service, &settings.organization_id, url, windows.window_key);
        let (requests, per, share) = (window.requests, window.per, window.share);
        Budget::new(keys, requests, per, share, unanswered)
    };
    let ledger = Ledger {
        engine: Arc::clone(engine),
        token: Arc::new(budget("token", &settings.token_url, &windows.token)),
        mobile_identities: Arc::new(
            budget(
                "mobile_identities",
                &settings.mobile_identities_url,
                &windows.mobile_identities,
            )
            .capped(Class::Sweep, polling.sweep_share)
            .capped(Class::Wait, READING_SHARE),
        ),
        events: Arc::new(budget("events", events_url, &windows.events)),
    };
    let mobile_identities = Arc::clone(&ledger.mobile_identities);
    let events = Arc::clone(&ledger.events);
    Ok(Manager {
        id: AcsSystemId(settings.acs_system_id),
        name: name.to_owned(),
        client: client(settings, Arc::clone(engine.clock()), Arc::new(ledger))
            .with_context(|| format!("credential_managers.{name}"))?,
        request_timeout: settings.request_timeout,
        mobile_identities,
        events,
        polling: polling.events.then_some(Polling {
            interval: polling.interval,
            overlap: polling.overlap,
        }),
        sweep_share: polling.sweep_share,
        gate: Gate::default(),
        feed_gate: Gate::default(),
        forbidden: Forbidden::default(),
        progress: Progress::default(),
        echo: Echo::default(),
    })
}

/// A call counts per (organization, service) and per (host, service) (contract.md section 8).
fn window_keys(service: &str, organization: &str, url: &url::Url, by: WindowKey) -> Vec<String> {
    let organization = format!("{service}/organization/{organization}");
    let host = format!("{service}/host/{}", url.host_str().unwrap_or_default());
    match by {
        WindowKey::Organization => vec![organization],
        WindowKey::Host => vec![host],
        WindowKey::Both => vec![organization, host],
    }
}

fn longest_request(config: &Config) -> Duration {
    config
        .credential_managers
        .values()
        .map(|manager| manager.request_timeout)
        .max()
        .unwrap_or_default()
}

async fn spawn_manager(
    lifecycle: &Lifecycle,
    engine: &Arc<Engine>,
    manager: &Arc<Manager>,
) -> Result<(), store::Error> {
    if let Some(polling) = manager.polling {
        let poller = Poller::open(Arc::clone(engine), Arc::clone(manager), polling).await?;
        let name = format!("poller {}", manager.name);
        let beat = lifecycle.beat(&name, TURN_BOUND);
        lifecycle.spawn(
            &name,
            poll(
                poller,
                polling.interval,
                Arc::clone(engine),
                beat,
                lifecycle.soft(),
            ),
        );
    }
    let name = format!("worker {}", manager.name);
    let beat = lifecycle.beat(&name, TURN_BOUND);
    lifecycle.spawn(
        &name,
        work(
            Arc::clone(engine),
            Arc::clone(manager),
            beat,
            lifecycle.soft(),
        ),
    );
    Ok(())
}

/// Claims while it may, and lets what it claimed come to its end.
async fn work(engine: Arc<Engine>, manager: Arc<Manager>, beat: Beat, soft: CancellationToken) {
    let mut worker = Worker::new(Arc::clone(&engine), Arc::clone(&manager));
    let mut commits = engine.commits();
    let mut jobs = JoinSet::new();
    while !soft.is_cancelled() {
        beat.turn();
        while jobs.try_join_next().is_some() {}
        if jobs.len() >= CONCURRENCY {
            tokio::select! {
                _ = jobs.join_next() => {}
                () = tokio::time::sleep(LONGEST_SLEEP) => {}
            }
            continue;
        }
        commits.mark_unchanged();
        match worker.next().await {
            Ok(Next::Job(job)) => {
                let (engine, manager) = (Arc::clone(&engine), Arc::clone(&manager));
                jobs.spawn(async move { carry_out(&engine, &manager, job).await });
            }
            Ok(Next::Wait(until)) => rest(&engine, until, Some(&mut commits), &soft).await,
            Err(error) => {
                store_failed(&error);
                rest(&engine, Some(engine.now().plus(STORE_PAUSE)), None, &soft).await;
            }
        }
    }
    while jobs.join_next().await.is_some() {
        beat.turn();
    }
}

/// A store that cannot write may be able to soon; until then the outcome is kept here, for nobody else has it.
async fn carry_out(engine: &Engine, manager: &Manager, job: Job) {
    let ended = worker::perform(engine, manager, job).await;
    while let Err(error) = ended.settle(engine).await {
        store_failed(&error);
        if !matches!(error, store::Error::Database(_)) {
            return;
        }
        tokio::time::sleep(STORE_PAUSE).await;
    }
}

async fn poll(
    mut poller: Poller,
    interval: Duration,
    engine: Arc<Engine>,
    beat: Beat,
    soft: CancellationToken,
) {
    while !soft.is_cancelled() {
        let pause = match poller.turn().await {
            Ok(Polled::More(_)) => Duration::ZERO,
            Ok(Polled::Done(_) | Polled::Failed) => interval,
            Ok(Polled::NotBefore(at)) => at.since(engine.now()),
            Err(error) => {
                store_failed(&error);
                STORE_PAUSE
            }
        };
        sleep(pause, &beat, &soft).await;
    }
}

/// Looks for what a crash may have done to the file. A large one takes long, and nobody waits for it.
fn spawn_check(lifecycle: &Lifecycle, engine: &Arc<Engine>, path: &Path) {
    let (engine, soft, path) = (
        Arc::clone(engine),
        lifecycle.soft(),
        path.display().to_string(),
    );
    lifecycle.spawn("check of the store", async move {
        if let Err(error) = engine.store().check().await {
            let chain = telemetry::chain(&error);
            emit!(STORE_DAMAGED, store.path = %path, error = %chain; "{path}: {chain}");
            return;
        }
        soft.cancelled().await;
    });
}

fn spawn_timer(lifecycle: &Lifecycle, engine: &Arc<Engine>) {
    let (engine, soft) = (Arc::clone(engine), lifecycle.soft());
    let beat = lifecycle.beat("timer", TURN_BOUND);
    lifecycle.spawn("timer", async move {
        let mut commits = engine.commits();
        while !soft.is_cancelled() {
            beat.turn();
            commits.mark_unchanged();
            match worker::wake(&engine).await {
                Ok(next) => rest(&engine, next, Some(&mut commits), &soft).await,
                Err(error) => {
                    store_failed(&error);
                    rest(&engine, Some(engine.now().plus(STORE_PAUSE)), None, &soft).await;
                }
            }
        }
    });
}

fn spawn_recovery(lifecycle: &Lifecycle, engine: &Arc<Engine>, request: Duration) {
    let (engine, soft) = (Arc::clone(engine), lifecycle.soft());
    let beat = lifecycle.beat("recovery", TURN_BOUND + RECOVER_EVERY);
    let late = i64::try_from((request + TAKEOVER_SLACK).as_millis()).unwrap_or(i64::MAX);
    lifecycle.spawn("recovery", async move {
        while !soft.is_cancelled() {
            sleep(RECOVER_EVERY, &beat, &soft).await;
            let before = Timestamp(engine.now().0 - late);
            if let Err(error) = worker::recover(&engine, before).await {
                store_failed(&error);
            }
        }
    });
}

fn spawn_heartbeat(
    lifecycle: &Lifecycle,
    engine: &Arc<Engine>,
    managers: Vec<Arc<Manager>>,
    every: Duration,
) {
    let (engine, soft, status) = (Arc::clone(engine), lifecycle.soft(), lifecycle.clone());
    let beat = lifecycle.beat("heartbeat", TURN_BOUND);
    lifecycle.spawn("heartbeat", async move {
        loop {
            sleep(every, &beat, &soft).await;
            if soft.is_cancelled() {
                return;
            }
            let condition: Vec<String> = managers.iter().map(|manager| condition(manager)).collect();
            let condition = condition.join(", ");
            match engine.store().counts().await {
                Ok(counts) => {
                    status.status(&format!("{} identities; HID: {condition}", counts.identities));
                    emit!(HEARTBEAT, identities = counts.identities, claims = counts.claims, owed = ?counts.owed, hid = %condition;
                        "{} identities; HID: {condition}", counts.identities);
                }
                Err(error) => store_failed(&error),
            }
        }
    });
}

/// HID's condition as a manager's gates saw it last (contract.md section 6).
fn condition(manager: &Manager) -> String {
    let condition = if manager.echo.is_deaf() {
        "deaf"
    } else {
        manager.gate.condition().name()
    };
    format!(
        "{} {condition}, feed {}",
        manager.name,
        manager.feed_gate.condition().name()
    )
}

fn spawn_api(
    lifecycle: &Lifecycle,
    engine: &Arc<Engine>,
    config: &Config,
    managers: Vec<Arc<Manager>>,
    listener: TcpListener,
) {
    let stalled = lifecycle.clone();
    let ready = Arc::new(move || stalled.stalled().is_empty() && !stalled.draining());
    let api = Arc::new(api::Api::new(Arc::clone(engine), config, managers, ready));
    let soft = lifecycle.soft();
    lifecycle.spawn("api", async move {
        api::serve(listener, api::router(api), soft).await;
    });
}

/// Waits for so long, whatever becomes of the wall clock, or for the end.
async fn sleep(pause: Duration, beat: &Beat, soft: &CancellationToken) {
    let until = tokio::time::Instant::now() + pause;
    loop {
        beat.turn();
        let next = until.min(tokio::time::Instant::now() + LONGEST_SLEEP);
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = soft.cancelled() => return,
        }
        if next == until {
            return;
        }
    }
}

/// Waits for the time, for a commit where one matters, or for the end.
async fn rest(
    engine: &Engine,
    until: Option<Timestamp>,
    commits: Option<&mut watch::Receiver<()>>,
    soft: &CancellationToken,
) {
    let pause = until
        .map_or(LONGEST_SLEEP, |until| until.since(engine.now()))
        .min(LONGEST_SLEEP);
    let committed = async {
        match commits {
            Some(commits) => commits.changed().await.unwrap_or(()),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = committed => {}
        () = soft.cancelled() => {}
    }
}

fn store_failed(error: &store::Error) {
    let chain = telemetry::chain(error);
    emit!(STORE_FAILED, error = %chain; "the store failed: {chain}");
}

/// One thing that `check --online` looked at.
#[derive(Debug, serde::Serialize)]
pub struct Finding {
    /// What was asked: the store, or a service of a credential manager.
    pub subject: String,
    /// What it said.
    pub found: String,
    /// Why it could not be asked.
    pub error: Option<String>,
}

/// Asks the database, and of each credential manager the token service, the organization, the part
/// numbers and the feed; each at most once, and nothing further where the login fails.
pub async fn check_online(config: &Config) -> Vec<Finding> {
    let finding = |subject: String, result: Result<String, String>| match result {
        Ok(found) => Finding {
            subject,
            found,
            error: None,
        },
        Err(error) => Finding {
            subject,
            found: String::new(),
            error: Some(error),
        },
    };
    let opened = Sqlite::open(
        &config.store.path,
        sqlite::Options {
            threads: sqlite::Threads::Caller,
        },
    );
    let opened = opened
        .map(|_| "opens".to_owned())
        .map_err(|error| telemetry::chain(&error));
    let mut findings = vec![finding("store".into(), opened)];
    for (name, settings) in &config.credential_managers {
        let subject = |service: &str| format!("credential_managers.{name}: {service}");
        let client = match client(settings, Arc::new(SystemClock), Arc::new(Unlimited)) {
            Ok(client) => client,
            Err(error) => {
                findings.push(finding(subject("client"), Err(format!("{error:#}"))));
                continue;
            }
        };
        let token = client.token().await.map(|_| "logged in".to_owned());
        let logged_in = token.is_ok();
        findings.push(finding(
            subject("token"),
            token.map_err(|error| error.to_string()),
        ));
        if !logged_in {
            continue;
        }
        let organization = client.organization().await.map(|_| "answers".to_owned());
        findings.push(finding(
            subject("organization"),
            organization.map_err(|error| error.to_string()),
        ));
        let parts = client
            .part_numbers()
            .await
            .map(|parts| format!("{} found", parts.len()));
        findings.push(finding(
            subject("part numbers"),
            parts.map_err(|error| error.to_string()),
        ));
        if settings.polling.events {
            let now = SystemClock.now();
            let events = client
                .events(now - 60_000, now)
                .await
                .map(|events| format!("{} in the last minute", events.len()));
            findings.push(finding(
                subject("events"),
                events.map_err(|error| error.to_string()),
            ));
        }
    }
    findings
}
