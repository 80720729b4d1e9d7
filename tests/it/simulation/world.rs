//! One daemon, one HID, one clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use origo_adapter::clock::Clock;
use origo_adapter::core::ids::{AcsSystemId, Timestamp};
use origo_adapter::core::policy::{ManagerPolicy, Policy};
use origo_adapter::engine::Engine;
use origo_adapter::gate::Gate;
use origo_adapter::manager::{Budget, Echo, Manager, Polling};
use origo_adapter::origo::{Client, Sending, Settings, Transport, TransportError};
use origo_adapter::poller::Poller;
use origo_adapter::simulator::{self, Hid, Reply};
use origo_adapter::store::sqlite::Sqlite;
use origo_adapter::worker::{Job, Worker};
use uuid::Uuid;

use super::fuse::{Fuse, FusedStore};
use super::rules::{Bug, Rules};
use crate::support::dice::Dice;

/// 2026-03-01T00:00:00Z.
pub(super) const START: i64 = 1_772_323_200_000;
pub(super) const MANAGER: AcsSystemId = AcsSystemId(Uuid::from_u128(0xc0));
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Time passes only when the story says so.
pub(super) struct TestClock {
    truth: AtomicI64,
    wrong: AtomicI64,
}

impl TestClock {
    pub(super) fn advance(&self, ms: i64) {
        self.truth.fetch_add(ms, Ordering::Relaxed);
    }

    /// By how much our clock differs from HID's from now on.
    pub(super) fn set_wrong(&self, ms: i64) {
        self.wrong.store(ms, Ordering::Relaxed);
    }

    /// HID's time, which is the true one.
    pub(super) fn truth(&self) -> i64 {
        self.truth.load(Ordering::Relaxed)
    }
}

impl Clock for TestClock {
    fn now(&self) -> i64 {
        self.truth() + self.wrong.load(Ordering::Relaxed)
    }

    fn boottime(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.truth() - START).unwrap())
    }
}

/// The simulator in place of a network.
struct Wire {
    hid: Arc<Mutex<Hid>>,
    clock: Arc<TestClock>,
    dice: Mutex<Dice>,
    refuse: bool,
    bug: Option<Bug>,
}

impl Wire {
    fn exchange(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let (refused, latency) = {
            let mut dice = self.dice.lock().unwrap();
            (self.refuse && dice.one_in(100), 5 + dice.roll(200))
        };
        if refused {
            return Err(TransportError::Unsent("connection refused".to_owned()));
        }
        let reply = self.hid.lock().unwrap().handle(self.clock.truth(), request);
        let unanswered = |why: &str| match self.bug {
            Some(Bug::BlindRetry) => TransportError::Unsent(why.to_owned()),
            Some(Bug::LiftedLease | Bug::EarlyCursor) | None => {
                TransportError::Unanswered(why.to_owned())
            }
        };
        match reply {
            Reply::Answer(response) => {
                self.clock.advance(i64::try_from(latency).unwrap());
                let promised = response.headers().get(http::header::CONTENT_LENGTH);
                let promised = promised
                    .and_then(|v| v.to_str().ok())
                    .and_then(|v| v.parse::<usize>().ok());
                if promised.is_some_and(|promised| promised > response.body().len()) {
                    return Err(unanswered("the body ended early"));
                }
                Ok(response)
            }
            Reply::Reset => {
                self.clock.advance(i64::try_from(latency).unwrap());
                Err(unanswered("connection reset"))
            }
            Reply::Hang => {
                self.clock
                    .advance(i64::try_from(REQUEST_TIMEOUT.as_millis()).unwrap());
                Err(unanswered("timed out"))
            }
        }
    }
}

impl Transport for Wire {
    fn send(&self, request: http::Request<Bytes>) -> Sending<'_> {
        Box::pin(async move { self.exchange(request) })
    }
}

/// What one life of the daemon holds in memory; a crash drops it.
pub(super) struct Daemon {
    pub(super) engine: Arc<Engine>,
    pub(super) manager: Arc<Manager>,
    pub(super) worker: Worker,
    pub(super) poller: Poller,
    /// Claimed, not yet performed.
    pub(super) jobs: Vec<Job>,
}

/// What outlives the daemon.
pub(super) struct World {
    pub(super) clock: Arc<TestClock>,
    pub(super) hid: Arc<Mutex<Hid>>,
    pub(super) store: Sqlite,
    pub(super) fuse: Fuse,
    pub(super) rules: Rules,
    wire: Arc<Wire>,
}

impl World {
    pub(super) fn new(seed: u64, rules: &Rules, settings: simulator::Settings) -> Self {
        let clock = Arc::new(TestClock {
            truth: AtomicI64::new(START),
            wrong: AtomicI64::new(0),
        });
        let hid = Arc::new(Mutex::new(Hid::new(settings, seed)));
        let wire = Arc::new(Wire {
            hid: Arc::clone(&hid),
            clock: Arc::clone(&clock),
            dice: Mutex::new(Dice::new(seed ^ 0xfeed)),
            refuse: !rules.clean,
            bug: rules.bug,
        });
        let store = Sqlite::in_memory().unwrap();
        Self {
            clock,
            hid,
            store,
            fuse: Fuse::default(),
            rules: rules.clone(),
            wire,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.clock.now())
    }

    /// A daemon as it is after its start, nothing recovered yet.
    pub(super) async fn start(&mut self) -> Daemon {
        self.store = self.store.reopened().unwrap();
        self.fuse.mend();
        let store = FusedStore {
            store: self.store.clone(),
            fuse: self.fuse.clone(),
        };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let engine = Arc::new(Engine::new(Arc::new(store), clock, policy()));
        let manager = Arc::new(self.manager());
        let polling = manager.polling.unwrap();
        let poller = Poller::open(Arc::clone(&engine), Arc::clone(&manager), polling);
        Daemon {
            worker: Worker::new(Arc::clone(&engine), Arc::clone(&manager)),
            poller: poller.await.unwrap(),
            engine,
            manager,
            jobs: Vec::new(),
        }
    }

    fn manager(&self) -> Manager {
        let url = |path: &str| url::Url::parse(&format!("http://127.0.0.1:1{path}")).unwrap();
        let settings = Settings {
            organization_id: "7001234".to_owned(),
            client_id: "7001234-OSRV900001".to_owned(),
            client_secret: "simulator-secret".to_owned().into(),
            token_url: url(""),
            mobile_identities_url: url("/credential-management"),
            events_url: url(""),
            application_id: "HID-EXAMPLE-ADAPTER".to_owned(),
            application_version: "1.0".to_owned(),
            request_timeout: REQUEST_TIMEOUT,
        };
        let clock = Arc::clone(&self.clock);
        let now = Arc::new(move || clock.now());
        let budget = |service: &str| Budget {
            keys: vec![format!("{service}/organization/7001234")],
            requests: 300,
            per: Duration::from_mins(5),
            share: 0.95,
        };
        Manager {
            id: MANAGER,
            name: "hq".to_owned(),
            client: Client::new(settings, Arc::clone(&self.wire) as Arc<dyn Transport>, now),
            request_timeout: REQUEST_TIMEOUT,
            late_effect_bound: policy().late_effect_bound,
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
}

/// The configuration's defaults.
pub(super) fn policy() -> Policy {
    let seconds = |s| Duration::from_secs(s);
    let manager = ManagerPolicy {
        email_invitations: true,
        max_renewals: 3,
        adopt_by_email: false,
        events: true,
        overlap: seconds(120),
    };
    Policy {
        retry_schedule: [5, 30, 120, 600, 3600].map(seconds).to_vec(),
        settle_delay: seconds(30),
        late_effect_bound: seconds(120),
        give_up_after: seconds(24 * 3600),
        managers: BTreeMap::from([(MANAGER, manager)]),
    }
}
