//! A manager as the configuration's defaults make it, over a transport of the test's own.

use std::sync::Arc;
use std::time::Duration;

use origo_adapter::clock::Clock;
use origo_adapter::core::ids::AcsSystemId;
use origo_adapter::gate::Gate;
use origo_adapter::manager::{Budget, Echo, Manager, Polling};
use origo_adapter::origo::{Client, Settings, Transport};

pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// In which each service takes 300 requests.
pub(crate) const WINDOW: Duration = Duration::from_mins(5);
/// Where the paths of calls begin.
pub(crate) const MOBILE_IDENTITIES: &str = "/credential-management";

/// The simulator's first organization.
pub(crate) fn hq(id: AcsSystemId, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Manager {
    let url = |path: &str| format!("http://127.0.0.1:1{path}").parse().unwrap();
    let settings = Settings {
        organization_id: "7001234".to_owned(),
        client_id: "7001234-OSRV900001".to_owned(),
        client_secret: "simulator-secret".to_owned().into(),
        token_url: url(""),
        mobile_identities_url: url(MOBILE_IDENTITIES),
        events_url: url(""),
        application_id: "HID-EXAMPLE-ADAPTER".to_owned(),
        application_version: "1.0".to_owned(),
        request_timeout: REQUEST_TIMEOUT,
    };
    let budget = |service: &str| Budget {
        keys: vec![format!("{service}/organization/7001234")],
        requests: 300,
        per: WINDOW,
        share: 0.95,
    };
    Manager {
        id,
        name: "hq".to_owned(),
        client: Client::new(settings, transport, Arc::new(move || clock.now())),
        request_timeout: REQUEST_TIMEOUT,
        late_effect_bound: Duration::from_mins(2),
        mobile_identities: budget("mobile_identities"),
        events: budget("events"),
        polling: Some(Polling {
            interval: Duration::from_secs(5),
            overlap: Duration::from_mins(2),
        }),
        sweep_share: 0.1,
        gate: Gate::default(),
        feed_gate: Gate::default(),
        echo: Echo::default(),
    }
}
