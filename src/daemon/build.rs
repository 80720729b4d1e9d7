//! From the configuration to policy, client and managers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use crate::budget::{Budget, Ledger, Terms};
use crate::clock::Clock;
use crate::config::{self, Config, CredentialManager, Place, WindowKey};
use crate::core::Class;
use crate::core::ids::AcsSystemId;
use crate::core::policy::{DriftPolicy, ManagerPolicy, OverLimit, PhonePolicy, Policy, SameDevice};
use crate::core::window::READING_SHARE;
use crate::engine::Engine;
use crate::gate::{Forbidden, Gate};
use crate::manager::histogram::Histogram;
use crate::manager::{Echo, Manager, Polling, Progress, Reading, Shelf};
use crate::origo::{Client, HttpTransport, Login, Options, Places, Proxy, Settings, Signer};
use crate::store::postgres::APART;

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
            phones: phones(manager.phones),
            drift: if manager.repair_drift {
                DriftPolicy::Repair
            } else {
                DriftPolicy::Report
            },
        };
        (AcsSystemId(manager.acs_system_id), policy)
    });
    Policy {
        retry_schedule: issuance.retry_schedule.clone(),
        settle_delay: issuance.settle_delay,
        late_effect_bound: issuance.late_effect_bound,
        give_up_after: issuance.give_up_after,
        regressed_at: None,
        repairs_guard: {
            let guard = issuance.mass_change_guard;
            guard.issues.map(|issues| (issues, guard.per))
        },
        managers: managers.collect(),
        imports: config
            .access_systems
            .values()
            .filter_map(|system| {
                let import = system.import.as_ref()?;
                Some((AcsSystemId(system.acs_system_id), import.fields()))
            })
            .collect(),
    }
}

fn phones(settings: config::Phones) -> PhonePolicy {
    PhonePolicy {
        max_per_identity: settings.max_per_identity,
        over_limit: match settings.over_limit {
            config::OverLimit::Refuse => OverLimit::Refuse,
            config::OverLimit::RetireOldest => OverLimit::RetireOldest,
        },
        same_device: match settings.same_device {
            config::SameDevice::KeepAll => SameDevice::KeepAll,
            config::SameDevice::KeepNewest => SameDevice::KeepNewest,
        },
    }
}

/// A client for a configured credential manager.
pub(super) fn client(
    http: &config::Http,
    settings: &CredentialManager,
    clock: Arc<dyn Clock>,
    places: Arc<dyn Places>,
) -> anyhow::Result<Client> {
    let options = Options {
        request_timeout: settings.request_timeout,
        proxy: http.proxy.as_ref().map(|proxy| Proxy {
            url: proxy.url.clone(),
            credentials: proxy.credentials.clone(),
        }),
        ca_certificates: http.ca.clone(),
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
        login: login(&settings.login)?,
        token_url: settings.token_url.clone(),
        mobile_identities_url: settings.mobile_identities_url.clone(),
        events_url,
        callback_url: settings.callback_url.clone(),
        application_id: settings.application_id.clone(),
        application_version: settings.application_version.clone(),
        request_timeout: settings.request_timeout,
    };
    Ok(Client::new(settings, Arc::new(transport), places, now))
}

fn login(configured: &config::Login) -> anyhow::Result<Login> {
    Ok(match configured {
        config::Login::Secret(secret) => Login::Secret(secret.clone()),
        config::Login::Key {
            private_key,
            audience,
            assertion_type,
        } => {
            let pem = private_key.expose_secret().as_bytes();
            let signer = Signer::new(pem, audience.clone(), assertion_type.clone());
            Login::Key(signer.context("private_key_file")?)
        }
    })
}

pub(super) fn manager(
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
    let budget = |service: &str, url: &url::Url, window: config::Window| {
        let keys = window_keys(service, &settings.organization_id, url, windows.window_key);
        Budget::new(keys, terms(window, settings, config))
    };
    let ledger = Ledger {
        engine: Arc::clone(engine),
        token: Arc::new(budget("token", &settings.token_url, windows.token)),
        mobile_identities: Arc::new(
            budget(
                "mobile_identities",
                &settings.mobile_identities_url,
                windows.mobile_identities,
            )
            .capped(Class::Sweep, polling.sweep_share)
            .capped(Class::Wait, READING_SHARE),
        ),
        events: Arc::new(budget("events", events_url, windows.events)),
    };
    let token = Arc::clone(&ledger.token);
    let mobile_identities = Arc::clone(&ledger.mobile_identities);
    let events = Arc::clone(&ledger.events);
    Ok(Manager {
        id: AcsSystemId(settings.acs_system_id),
        name: name.to_owned(),
        client: client(
            &config.http,
            settings,
            Arc::clone(engine.clock()),
            Arc::new(ledger),
        )
        .with_context(|| format!("credential_managers.{name}"))?,
        request_timeout: settings.request_timeout,
        token,
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
        reading: Reading::default(),
        progress: Progress::default(),
        stock: Shelf::default(),
        adopt: tokio::sync::Notify::default(),
        hint: tokio::sync::Notify::default(),
        echo: Echo::default(),
        issue_waits: Histogram::default(),
    })
}

fn terms(window: config::Window, settings: &CredentialManager, config: &Config) -> Terms {
    Terms {
        requests: window.requests,
        per: window.per + common_time(config),
        share: window.share,
        unanswered: settings.request_timeout + config.issuance.late_effect_bound,
    }
}

/// What two daemons may disagree on.
fn common_time(config: &Config) -> Duration {
    match config.store.place {
        Place::Sqlite(_) => Duration::ZERO,
        Place::Postgres(_) => APART,
    }
}

/// Lets a manager's calls be counted by the windows of another configuration.
pub(super) fn renew_windows(manager: &Manager, settings: &CredentialManager, config: &Config) {
    let windows = &settings.windows;
    for (budget, window) in [
        (&manager.token, windows.token),
        (&manager.mobile_identities, windows.mobile_identities),
        (&manager.events, windows.events),
    ] {
        budget.renew(terms(window, settings, config));
    }
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

pub(super) fn longest_request(config: &Config) -> Duration {
    config
        .credential_managers
        .values()
        .map(|manager| manager.request_timeout)
        .max()
        .unwrap_or_default()
}
