//! Deliveries to a real HTTP server, with a clock that stands still.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use origo_adapter::clock::Clock;
use origo_adapter::core::Timestamp;
use origo_adapter::core::ids::{AcsSystemId, AcsUserId, IdentityId};
use origo_adapter::core::wish::Wish;
use origo_adapter::engine::Engine;
use origo_adapter::store::sqlite::Sqlite;
use origo_adapter::store::{Delivery, EventQuery, Store as _, Webhook};
use origo_adapter::webhook::sign::new_secret;
use origo_adapter::webhook::target::{Failure, Sender};
use origo_adapter::webhook::{Courier, DISABLED_AFTER, Next, SCHEDULE, body};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::support::alerts::raises;
use crate::support::lines::Lines;
use crate::support::scene::{START, policy};

const WORKSPACE: Uuid = Uuid::from_u128(0x77);
const OK: &str = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
const FAILED: &str = "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

struct StoppedClock(AtomicI64);

impl Clock for StoppedClock {
    fn boot_id(&self) -> uuid::Uuid {
        uuid::Uuid::nil()
    }

    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn boottime(&self) -> Duration {
        Duration::ZERO
    }
}

/// What arrived: header lines in lower case, and the body.
#[derive(Clone, Debug)]
struct Arrived {
    head: String,
    body: String,
}

impl Arrived {
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{name} in {}", self.head))
    }
}

/// Answers from a script, and then with 204.
#[derive(Clone, Default)]
struct Receiver {
    script: Arc<Mutex<VecDeque<String>>>,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Receiver {
    async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver = self.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut text = Vec::new();
                let arrived = loop {
                    let mut part = [0; 4096];
                    let read = stream.read(&mut part).await.unwrap();
                    assert!(read > 0, "the request ended early");
                    text.extend_from_slice(&part[..read]);
                    let text = String::from_utf8(text.clone()).unwrap();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else {
                        continue;
                    };
                    let arrived = Arrived {
                        head: head.to_owned(),
                        body: body.to_owned(),
                    };
                    if arrived.header("content-length") == body.len().to_string() {
                        break arrived;
                    }
                };
                receiver.arrived.lock().unwrap().push(arrived);
                let answer = receiver.script.lock().unwrap().pop_front();
                let answer = answer.unwrap_or_else(|| OK.to_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        url
    }

    fn answers(&self, answers: &[&str]) {
        let answers = answers.iter().map(|answer| (*answer).to_owned());
        self.script.lock().unwrap().extend(answers);
    }

    fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut *self.arrived.lock().unwrap())
    }
}

struct World {
    store: Sqlite,
    clock: Arc<StoppedClock>,
    engine: Arc<Engine>,
    courier: Courier,
    receiver: Receiver,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(StoppedClock(AtomicI64::new(START.0)));
        Self::over(Sqlite::in_memory().unwrap(), clock, Receiver::default())
    }

    fn over(store: Sqlite, clock: Arc<StoppedClock>, receiver: Receiver) -> Self {
        let same = Arc::clone(&clock) as Arc<dyn Clock>;
        let engine = Arc::new(Engine::new(Arc::new(store.clone()), same, policy()));
        let sender = Sender::new(true, None).unwrap();
        Self {
            courier: Courier::new(Arc::clone(&engine), WORKSPACE, sender),
            store,
            clock,
            engine,
            receiver,
        }
    }

    /// The process is killed, and another begins.
    fn killed(self) -> Self {
        let store = self.store.reopened().unwrap();
        Self::over(store, self.clock, self.receiver)
    }

    fn wait_until(&self, at: Timestamp) {
        self.clock.0.store(at.0, Ordering::SeqCst);
    }

    async fn webhook(&self) -> Webhook {
        let webhook = Webhook {
            id: Uuid::new_v4(),
            url: self.receiver.listen().await,
            event_types: None,
            secret: new_secret().unwrap(),
            created_at: self.engine.now(),
            enabled: true,
        };
        self.store.create_webhook(webhook, START).await.unwrap()
    }

    /// Makes one event happen.
    async fn happen(&self, n: u128) {
        let wish = Wish::AcsUser {
            id: AcsUserId(Uuid::from_u128(n)),
            acs_system: AcsSystemId(Uuid::from_u128(0xD000 + n)),
            full_name: None,
            email_address: None,
            phone_number: None,
        };
        let id = IdentityId(Uuid::from_u128(1));
        let wish = |_: Option<&_>| Ok::<_, ()>(vec![wish.clone()]);
        assert!(self.engine.wish(id, "test", wish).await.is_ok());
    }

    async fn claim(&self) -> Vec<Delivery> {
        match self.courier.next().await.unwrap() {
            Next::Deliver(claimed) => claimed,
            Next::Wait(_) => Vec::new(),
        }
    }

    /// Delivers all that is due; when more will be.
    async fn turn(&self) -> Option<Timestamp> {
        loop {
            match self.courier.next().await.unwrap() {
                Next::Wait(until) => return until,
                Next::Deliver(claimed) => {
                    for delivery in claimed {
                        self.courier.deliver(&delivery).await.unwrap();
                    }
                }
            }
        }
    }

    async fn enabled(&self) -> bool {
        self.store.webhooks().await.unwrap()[0].enabled
    }
}

#[tokio::test]
async fn an_event_arrives_once_and_signed() {
    let world = World::new();
    let webhook = world.webhook().await;
    world.happen(1).await;
    world.happen(2).await;
    assert_eq!(world.turn().await, None);
    let arrived = world.receiver.take();
    let query = EventQuery {
        oldest_first: true,
        limit: 9,
        ..EventQuery::default()
    };
    let events = world.store.events(query).await.unwrap();
    let bodies: Vec<_> = events
        .iter()
        .map(|e| body(WORKSPACE, e).to_string())
        .collect();
    let got: Vec<_> = arrived.iter().map(|a| a.body.clone()).collect();
    assert_eq!(got, bodies, "in the order of events, the event itself");

    let request = &arrived[0];
    assert!(request.head.starts_with("POST /hook HTTP/1.1"));
    assert_eq!(request.header("content-type"), "application/json");
    let seconds = START.0 / 1000;
    assert_eq!(request.header("svix-timestamp"), seconds.to_string());
    let verifier = standardwebhooks::Webhook::new(webhook.secret.expose_secret()).unwrap();
    let id = request.header("svix-id");
    assert!(id.starts_with("msg_"), "{id}");
    let expected = verifier.sign(id, seconds, request.body.as_bytes()).unwrap();
    assert_eq!(request.header("svix-signature"), expected);
    assert_eq!(world.turn().await, None);
    assert!(world.receiver.take().is_empty());
}

#[tokio::test]
async fn failures_are_repeated_on_schedule_under_one_id() {
    let world = World::new();
    world.webhook().await;
    world.receiver.answers(&[FAILED; 8]);
    world.happen(1).await;
    // The first failure is repeated at once, within the same turn.
    for wait in &SCHEDULE[1..] {
        let until = world.turn().await.unwrap();
        assert_eq!(until, world.engine.now().plus(*wait));
        world.wait_until(until);
    }
    assert_eq!(world.turn().await, None);
    let arrived = world.receiver.take();
    assert_eq!(arrived.len(), 9);
    let mut ids: Vec<_> = arrived.iter().map(|a| a.header("svix-id")).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let mut times: Vec<_> = arrived.iter().map(|a| a.header("svix-timestamp")).collect();
    times.dedup();
    assert_eq!(times.len(), 8, "each signed anew");
    assert!(world.enabled().await);
}

#[tokio::test]
async fn an_event_is_given_up_after_the_schedule() {
    let world = World::new();
    world.webhook().await;
    world.receiver.answers(&[FAILED; 9]);
    world.happen(1).await;
    while let Some(until) = world.turn().await {
        world.wait_until(until);
    }
    assert_eq!(world.receiver.take().len(), 9);
    world.happen(2).await;
    assert_eq!(world.turn().await, None);
    assert_eq!(world.receiver.take().len(), 1, "the next one arrives");
}

#[tokio::test]
async fn five_days_without_a_success_disable() {
    let lines = Lines::listen();
    let world = World::new();
    let webhook = world.webhook().await;
    world.receiver.answers(&[FAILED; 200]);
    for day in 0..5 {
        world.wait_until(START.plus(Duration::from_hours(24 * day)));
        world.happen(u128::from(day)).await;
        world.turn().await;
        assert!(world.enabled().await, "day {day}");
    }
    world.wait_until(START.plus(DISABLED_AFTER));
    world.turn().await;
    assert!(!world.enabled().await);
    let told = lines.told("webhook.disabled");
    assert_eq!(told.len(), 1);
    raises("OrigoWebhookDisabled", &told[0]);
    world.receiver.take();
    world.happen(9).await;
    assert_eq!(world.turn().await, None);
    assert!(world.receiver.take().is_empty());

    world.receiver.script.lock().unwrap().clear();
    world.store.update_webhook(webhook.id, None).await.unwrap();
    world.happen(10).await;
    world.turn().await;
    assert_eq!(world.receiver.take().len(), 1, "an update enables it");
}

#[tokio::test]
async fn who_is_slow_holds_nobody_else() {
    let world = World::new();
    let slow = world.webhook().await;
    let quick = world.webhook().await;
    world.happen(1).await;
    world.happen(2).await;
    let claimed = world.claim().await;
    assert_eq!(claimed.len(), 2);
    for delivery in claimed.iter().filter(|d| d.webhook.id == quick.id) {
        world.courier.deliver(delivery).await.unwrap();
    }
    let next = world.claim().await;
    let whose: Vec<_> = next.iter().map(|d| d.webhook.id).collect();
    assert_eq!(whose, [quick.id], "the other is still busy");
    assert_ne!(slow.id, quick.id);
}

#[tokio::test]
async fn a_killed_process_repeats_under_the_same_id() {
    let world = World::new();
    world.webhook().await;
    world.happen(1).await;
    let claimed = world.claim().await;
    // It was sent, and nobody noted it.
    let sent = claimed[0].clone();
    drop(claimed);
    world.turn().await;
    assert!(world.receiver.take().is_empty(), "claimed");
    let world = world.killed();
    world.turn().await;
    let arrived = world.receiver.take();
    let id = origo_adapter::webhook::message_id(sent.webhook.id, sent.event.id);
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].header("svix-id"), id);
}

#[tokio::test]
async fn private_targets_are_refused_before_a_connection() {
    let receiver = Receiver::default();
    let url = receiver.listen().await.replace("http:", "https:");
    let by_name = url.replace("127.0.0.1", "localhost");
    let sender = Sender::new(false, None).unwrap();
    let post = async |url: &str| sender.post(url, &[], Bytes::new()).await;
    assert_eq!(post(&url).await, Err(Failure::Url));
    assert_eq!(post(&by_name).await, Err(Failure::Private));
    assert!(receiver.take().is_empty());
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let receiver = Receiver::default();
    let url = receiver.listen().await;
    receiver.answers(&[&format!(
        "HTTP/1.1 307 There\r\nlocation: {url}/there\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )]);
    let sender = Sender::new(true, None).unwrap();
    let posted = sender.post(&url, &[], Bytes::from_static(b"{}")).await;
    assert_eq!(posted, Err(Failure::Status(307)));
    assert_eq!(receiver.take().len(), 1);
}

#[tokio::test]
async fn nobody_there_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let sender = Sender::new(true, None).unwrap();
    let posted = sender.post(&url, &[], Bytes::new()).await;
    assert_eq!(posted, Err(Failure::Unreachable));
}
