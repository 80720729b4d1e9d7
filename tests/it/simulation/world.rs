//! One daemon, one HID, one clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use origo_adapter::clock::Clock;
use origo_adapter::core::ids::{AcsSystemId, Timestamp};
use origo_adapter::core::policy::{DriftPolicy, ManagerPolicy, PhonePolicy, Policy};
use origo_adapter::engine::Engine;
use origo_adapter::manager::Manager;
use origo_adapter::origo::{Sending, Transport, TransportError};
use origo_adapter::poller::Poller;
use origo_adapter::simulator::{self, Hid, Reply};
use origo_adapter::worker::{Job, Worker};
use uuid::Uuid;

use super::disk::Disk;
use super::fuse::{Fuse, FusedStore};
use super::rules::{Bug, Rules};
use crate::support::dice::Dice;
use crate::support::manager::{MOBILE_IDENTITIES, REQUEST_TIMEOUT, hq};

/// 2026-03-01T00:00:00Z.
pub(super) const START: i64 = 1_772_323_200_000;
pub(super) const MANAGER: AcsSystemId = AcsSystemId(Uuid::from_u128(0xc0));

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
    fn boot_id(&self) -> Uuid {
        Uuid::nil()
    }

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
    /// Where the next call to Mobile Identities stands still.
    freeze: Mutex<Option<Freeze>>,
}

/// Where a call stands still until it is polled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freeze {
    /// After the check of its lease.
    BeforeFirstByte,
    /// HID has done its part.
    BeforeAnswer,
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
        Box::pin(async move {
            // Others would wait for a login that stands still; in life it is one process that does.
            let is_call = request.uri().path().starts_with(MOBILE_IDENTITIES);
            let freeze = is_call
                .then(|| self.freeze.lock().unwrap().take())
                .flatten();
            if freeze == Some(Freeze::BeforeFirstByte) {
                tokio::task::yield_now().await;
            }
            let result = self.exchange(request);
            if freeze == Some(Freeze::BeforeAnswer) {
                tokio::task::yield_now().await;
            }
            result
        })
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
    pub(super) store: Disk,
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
            freeze: Mutex::new(None),
        });
        let store = Disk::new(rules.is_on_postgres());
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

    /// The next call stands still there.
    pub(super) fn freeze(&self, at: Freeze) {
        *self.wire.freeze.lock().unwrap() = Some(at);
    }

    /// No call stands still.
    pub(super) fn keep_going(&self) {
        *self.wire.freeze.lock().unwrap() = None;
    }

    /// The only daemon as it is after its start, nothing recovered yet: whoever had the store before is dead.
    pub(super) async fn start(&mut self) -> Daemon {
        self.store = self.store.reopened();
        self.fuse.mend();
        self.start_beside().await
    }

    /// One of several daemons; it knows nothing of the others but what they wrote down.
    pub(super) async fn start_beside(&self) -> Daemon {
        let store = FusedStore {
            store: self.store.clone(),
            fuse: self.fuse.clone(),
        };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let engine = Arc::new(Engine::new(Arc::new(store), clock, policy()));
        let manager = Arc::new(self.manager(&engine));
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

    fn manager(&self, engine: &Arc<Engine>) -> Manager {
        let transport = Arc::clone(&self.wire) as Arc<dyn Transport>;
        let mut manager = hq(MANAGER, transport, engine);
        if self.rules.late.is_some() {
            manager.sweep_share = 0.0;
        }
        manager
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
        phones: PhonePolicy::default(),
        drift: DriftPolicy::Report,
    };
    Policy {
        regressed_at: None,
        retry_schedule: [5, 30, 120, 600, 3600].map(seconds).to_vec(),
        settle_delay: seconds(30),
        late_effect_bound: seconds(120),
        give_up_after: seconds(24 * 3600),
        managers: BTreeMap::from([(MANAGER, manager)]),
        repairs_guard: None,
        imports: BTreeMap::new(),
    }
}
