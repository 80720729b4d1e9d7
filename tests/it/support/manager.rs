//! A manager as the configuration's defaults make it, over a transport of the test's own.

use std::sync::Arc;
use std::time::Duration;

use origo_adapter::budget::{Budget, Ledger, Terms};
use origo_adapter::core::Class;
use origo_adapter::core::ids::AcsSystemId;
use origo_adapter::core::window::READING_SHARE;
use origo_adapter::engine::Engine;
use origo_adapter::gate::{Forbidden, Gate};
use origo_adapter::manager::histogram::Histogram;
use origo_adapter::manager::{Echo, Manager, Polling, Progress, Reading, Shelf};
use origo_adapter::origo::{Client, Sending, Settings, Transport};

pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// In which each service takes 300 requests.
pub(crate) const WINDOW: Duration = Duration::from_mins(5);
/// Where the paths of calls begin.
pub(crate) const MOBILE_IDENTITIES: &str = "/credential-management";

/// The simulator's first organization.
pub(crate) fn hq(id: AcsSystemId, transport: Arc<dyn Transport>, engine: &Arc<Engine>) -> Manager {
    let clock = Arc::clone(engine.clock());
    let url = |path: &str| format!("http://127.0.0.1:1{path}").parse().unwrap();
    let settings = Settings {
        organization_id: "7001234".to_owned(),
        client_id: "7001234-OSRV900001".to_owned(),
        login: origo_adapter::origo::Login::Secret("simulator-secret".to_owned().into()),
        token_url: url(""),
        mobile_identities_url: url(MOBILE_IDENTITIES),
        events_url: url(""),
        callback_url: None,
        application_id: "HID-EXAMPLE-ADAPTER".to_owned(),
        application_version: "1.0".to_owned(),
        request_timeout: REQUEST_TIMEOUT,
    };
    let ledger = Ledger {
        engine: Arc::clone(engine),
        token: budget("token", 50, 0.5),
        mobile_identities: budget("mobile_identities", 300, 0.95),
        events: budget("events", 300, 0.95),
    };
    let token = Arc::clone(&ledger.token);
    let mobile_identities = Arc::clone(&ledger.mobile_identities);
    let events = Arc::clone(&ledger.events);
    let now = Arc::new(move || clock.now());
    Manager {
        id,
        name: "hq".to_owned(),
        client: Client::new(settings, transport, Arc::new(ledger), now),
        request_timeout: REQUEST_TIMEOUT,
        token,
        mobile_identities,
        events,
        polling: Some(Polling {
            interval: Duration::from_secs(5),
            overlap: Duration::from_mins(2),
        }),
        sweep_share: 0.1,
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
    }
}

/// So many requests of the organization in each window, of which a share is ours.
pub(crate) fn budget(service: &str, requests: u32, share: f64) -> Arc<Budget> {
    let keys = vec![format!("{service}/organization/7001234")];
    let unanswered = REQUEST_TIMEOUT + Duration::from_mins(2);
    let terms = Terms {
        requests,
        per: WINDOW,
        share,
        unanswered,
    };
    let budget = Budget::new(keys, terms);
    let budget = budget.capped(Class::Sweep, 0.1);
    Arc::new(budget.capped(Class::Wait, READING_SHARE))
}

/// A network that nothing may be sent through.
pub(crate) struct NoWay;

impl Transport for NoWay {
    fn send(&self, request: http::Request<bytes::Bytes>) -> Sending<'_> {
        panic!("{} was called", request.uri().path())
    }
}
