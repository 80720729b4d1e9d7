//! Engine, worker and poller, each by itself: a clock that stands still, the simulator in place of a network.

mod calls;
mod drift;
mod engine;
mod feed;
mod hints;
mod holds;
mod late;
mod phones;
mod poller;
mod quarantine;
mod stock;
mod windows;
mod worker;

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use origo_adapter::clock::Clock;
use origo_adapter::core::ids::{
    AcsUserId, AutomationId, IdentityId, PartNumber, Personal, Timestamp,
};
use origo_adapter::core::wish::Wish;
use origo_adapter::core::{Effect, Policy};
use origo_adapter::engine::Engine;
use origo_adapter::manager::Manager;
use origo_adapter::origo::{Sending, Transport, TransportError};
use origo_adapter::simulator::{self, Class, Device, Fault, Hid, Reply};
use origo_adapter::store::Store;
use origo_adapter::store::sqlite::Sqlite;
use origo_adapter::worker::{Job, Next, Worker, perform};
use uuid::Uuid;

use crate::support::manager::{WINDOW, hq};
use crate::support::scene;

const START: i64 = scene::START.0;

/// What it tells since boot is right; the wall clock is as wrong as it was set.
#[derive(Default)]
struct HandClock {
    truth: AtomicI64,
    wrong: AtomicI64,
    /// So many milliseconds pass with each look at the time since boot.
    creeps: AtomicI64,
}

impl Clock for HandClock {
    fn boot_id(&self) -> Uuid {
        Uuid::nil()
    }

    fn now(&self) -> i64 {
        self.truth() + self.wrong.load(Ordering::SeqCst)
    }

    fn boottime(&self) -> Duration {
        let creeps = self.creeps.load(Ordering::SeqCst);
        let truth = self.truth.fetch_add(creeps, Ordering::SeqCst);
        Duration::from_millis(u64::try_from(truth - START).unwrap())
    }
}

impl HandClock {
    fn truth(&self) -> i64 {
        self.truth.load(Ordering::SeqCst)
    }
}

/// What becomes of a request, logins aside.
#[derive(Clone, Copy)]
enum Line {
    Good,
    /// Refused before anything was sent.
    Down,
    /// The first request is answered, the next is refused.
    GoodOnce,
    /// Sent, and no answer.
    Silent,
    /// Sent, and the answer takes for ever.
    Hanging,
    /// No login is let in.
    Locked,
    /// Whatever is to be deleted is in use.
    InUse,
}

struct Wire {
    hid: Mutex<Hid>,
    line: Mutex<Line>,
    clock: Arc<HandClock>,
    requests: AtomicUsize,
    /// The last one.
    asked: Mutex<http::Uri>,
    /// No larger answer is taken.
    largest: AtomicUsize,
}

impl Transport for Wire {
    fn send(&self, request: http::Request<Bytes>) -> Sending<'_> {
        let login = request.uri().path().contains("token");
        let line = *self.line.lock().unwrap();
        let before = self.requests.load(Ordering::SeqCst);
        if !login {
            self.requests.fetch_add(1, Ordering::SeqCst);
            request.uri().clone_into(&mut self.asked.lock().unwrap());
        }
        let broken = |error: fn(String) -> TransportError| -> Sending<'_> {
            Box::pin(async move { Err(error("broken".into())) })
        };
        match line {
            Line::GoodOnce if !login && before > 0 => return broken(TransportError::Unsent),
            Line::Down if !login => return broken(TransportError::Unsent),
            Line::Silent if !login => return broken(TransportError::Unanswered),
            Line::Hanging if !login => return Box::pin(std::future::pending()),
            Line::Locked if login => {
                let locked = http::Response::builder().status(401).body(Bytes::new());
                return Box::pin(async move { Ok(locked.unwrap()) });
            }
            Line::InUse if request.method() == http::Method::DELETE => {
                let in_use = http::Response::builder().status(409).body(Bytes::new());
                return Box::pin(async move { Ok(in_use.unwrap()) });
            }
            Line::InUse
            | Line::Locked
            | Line::Good
            | Line::GoodOnce
            | Line::Down
            | Line::Silent
            | Line::Hanging => {}
        }
        let largest = self.largest.load(Ordering::SeqCst);
        let reply = self.hid.lock().unwrap().handle(self.clock.truth(), request);
        Box::pin(async move {
            match reply {
                Reply::Answer(answer) if !login && answer.body().len() > largest => {
                    Err(TransportError::Oversized("too large".into()))
                }
                Reply::Answer(answer) => Ok(answer),
                Reply::Reset | Reply::Hang => Err(TransportError::Unanswered("reset".into())),
            }
        })
    }
}

struct Rig {
    clock: Arc<HandClock>,
    wire: Arc<Wire>,
    sqlite: Sqlite,
    engine: Arc<Engine>,
    manager: Arc<Manager>,
    worker: Worker,
}

impl Rig {
    /// With what `change` makes of the manager.
    fn new(change: impl FnOnce(&mut Manager)) -> Self {
        Self::with(simulator::Settings::default(), change)
    }

    /// At another kind of HID.
    fn with(settings: simulator::Settings, change: impl FnOnce(&mut Manager)) -> Self {
        Self::by(scene::policy(), settings, change)
    }

    /// By another policy.
    fn by(
        policy: Policy,
        settings: simulator::Settings,
        change: impl FnOnce(&mut Manager),
    ) -> Self {
        Self::on(Sqlite::in_memory().unwrap(), policy, settings, change)
    }

    /// On a store of the test's own.
    fn on(
        sqlite: Sqlite,
        policy: Policy,
        settings: simulator::Settings,
        change: impl FnOnce(&mut Manager),
    ) -> Self {
        let clock = Arc::new(HandClock {
            truth: AtomicI64::new(START),
            ..HandClock::default()
        });
        let wire = Arc::new(Wire {
            hid: Mutex::new(Hid::new(settings, 7)),
            line: Mutex::new(Line::Good),
            clock: Arc::clone(&clock),
            requests: AtomicUsize::new(0),
            asked: Mutex::default(),
            largest: AtomicUsize::new(usize::MAX),
        });
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let transport = Arc::clone(&wire) as Arc<dyn Transport>;
        let store = Arc::new(sqlite.clone());
        let engine = Arc::new(Engine::new(store, time, policy));
        let mut manager = hq(scene::manager(), transport, &engine);
        change(&mut manager);
        let manager = Arc::new(manager);
        let worker = Worker::new(Arc::clone(&engine), Arc::clone(&manager));
        Self {
            clock,
            wire,
            sqlite,
            engine,
            manager,
            worker,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock.now())
    }

    fn pass(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap();
        self.clock.truth.fetch_add(ms, Ordering::SeqCst);
    }

    /// Somebody sets our clock, which is so many milliseconds wrong from now on.
    fn set_the_clock(&self, wrong: i64) {
        self.clock.wrong.store(wrong, Ordering::SeqCst);
    }

    fn line(&self, line: Line) {
        *self.wire.line.lock().unwrap() = line;
    }

    /// The next creation of a user meets `fault`.
    fn breaks_next(&self, fault: Fault) {
        let mut hid = self.wire.hid.lock().unwrap();
        hid.faults_mut().next(Class::UserCreate, fault);
    }

    fn requests(&self) -> usize {
        self.wire.requests.load(Ordering::SeqCst)
    }

    fn store(&self) -> &dyn Store {
        self.engine.store()
    }

    async fn wish(&self, n: u8, wishes: &[Wish]) {
        let taken = self
            .engine
            .wish(person(n), "test", |_| Ok::<_, ()>(wishes.to_vec()));
        assert!(taken.await.is_ok());
    }

    /// Person `n`, listed and launched.
    async fn launch(&self, n: u8) {
        self.launch_at(n, &format!("ada{n}@example.com")).await;
    }

    async fn launch_at(&self, n: u8, address: &str) {
        let profile = origo_adapter::core::identity::Profile {
            key: Some(format!("person-{n}")),
            full_name: Some(Personal("Ada Okafor".into())),
            email_address: Some(Personal(address.to_owned())),
            phone_number: None,
        };
        let launch = Wish::Launch {
            id: automation(n),
            manager: scene::manager(),
            part_number: None,
        };
        let user = Wish::AcsUser {
            id: acs_user(n),
            acs_system: scene::doors(),
            full_name: None,
            email_address: None,
            phone_number: None,
        };
        self.wish(n, &[Wish::Identity(profile), user, launch]).await;
    }

    /// Parent `n` of a launched person.
    async fn parent(&self, of: u8, n: u8, part_number: u8) {
        let mut wish = scene::wish_parent(n, part_number);
        if let Wish::Parent {
            acs_user: user,
            part_number: asked,
            ..
        } = &mut wish
        {
            *user = acs_user(of);
            *asked = PartNumber(format!("MID-SUB-EXAMPLE_{part_number}"));
        }
        self.wish(of, &[wish]).await;
    }

    /// The oldest open invitation is redeemed; HID's id of the phone.
    fn redeem(&self) -> u64 {
        let mut hid = self.wire.hid.lock().unwrap();
        let code = hid.pending_invitations()[0].code.clone();
        let now = self.clock.truth();
        hid.redeem(now, &code, Device::default()).unwrap()
    }

    /// Launches person `n` with a parent, whose phone registers then; no poll has told of it.
    async fn register(&mut self, n: u8) {
        self.launch(n).await;
        self.parent(n, n, 1).await;
        assert_eq!(self.works().await, "create_user");
        self.redeem();
    }

    async fn job(&mut self) -> Job {
        match self.worker.next().await.unwrap() {
            Next::Job(job) => job,
            Next::Wait(until) => panic!("waits until {until:?}"),
        }
    }

    /// When to ask again; a job is not expected.
    async fn waits(&mut self) -> Option<Timestamp> {
        match self.worker.next().await.unwrap() {
            Next::Wait(until) => until,
            Next::Job(job) => panic!("{:?} is due", job.effect()),
        }
    }

    async fn perform(&self, job: Job) {
        let ended = perform(&self.engine, &self.manager, job).await;
        ended.settle(&self.engine).await.unwrap();
    }

    /// Performs what is due next; its name.
    async fn works(&mut self) -> &'static str {
        let job = self.job().await;
        let name = Effect::name(job.effect());
        self.perform(job).await;
        name
    }
}

fn person(n: u8) -> IdentityId {
    IdentityId(Uuid::from_u128(u128::from(n)))
}

fn acs_user(n: u8) -> AcsUserId {
    AcsUserId(Uuid::from_u128(0xAC00 + u128::from(n)))
}

fn automation(n: u8) -> AutomationId {
    AutomationId(Uuid::from_u128(0xA000 + u128::from(n)))
}
