//! The receiver of callbacks by itself: whom it wakes, whom it turns away, and how much that costs.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use futures_util::FutureExt as _;
use http::{Request, StatusCode};
use origo_adapter::callback::{Receiver, router};
use origo_adapter::clock::{Clock, SystemClock};
use origo_adapter::config::Callbacks;
use origo_adapter::engine::Engine;
use origo_adapter::manager::Manager;
use origo_adapter::store::sqlite::Sqlite;
use tower::ServiceExt as _;

use crate::support::manager::{NoWay, hq};
use crate::support::scene;

const SECRET: &str = "correct horse battery staple";
const BATCH: &str = "application/cloudevents-batch+json";
const MIB: usize = 1024 * 1024;

struct Rig {
    router: Router,
    managers: Vec<Arc<Manager>>,
}

impl Rig {
    fn new() -> Self {
        let store = Arc::new(Sqlite::in_memory().unwrap());
        let clock = Arc::new(SystemClock) as Arc<dyn Clock>;
        let engine = Arc::new(Engine::new(store, clock, scene::policy()));
        let one = || Arc::new(hq(scene::manager(), Arc::new(NoWay), &engine));
        let managers = vec![one(), one()];
        let settings = Callbacks {
            listen: "127.0.0.1:0".parse().unwrap(),
            header: http::HeaderName::from_static("x-origo-secret"),
            secret: SECRET.into(),
        };
        let receiver = Arc::new(Receiver::new(&settings, managers.clone()));
        Self {
            router: router(receiver),
            managers,
        }
    }

    /// The status, and whether everybody was woken; never somebody alone.
    async fn send(&self, request: Request<Body>) -> (u16, bool) {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let is_taken = status == StatusCode::OK;
        let closes = answer.headers().get("connection").is_some();
        assert_eq!(closes, !is_taken, "what is refused hangs up");
        let body = to_bytes(answer.into_body(), MIB).await.unwrap();
        assert_eq!(body.len(), 0, "{status} has nothing to say");
        let woken = self
            .managers
            .iter()
            .map(|manager| manager.hint.notified().now_or_never().is_some());
        let woken: Vec<bool> = woken.collect();
        assert_eq!(woken[0], woken[1]);
        (status.as_u16(), woken[0])
    }

    /// A callback as HID makes it, with what is changed about it.
    async fn callback(&self, body: impl Into<Body>, media_type: &str) -> (u16, bool) {
        let request = Request::post("/any/path")
            .header("x-origo-secret", SECRET)
            .header("content-type", media_type);
        self.send(request.body(body.into()).unwrap()).await
    }
}

#[tokio::test]
async fn a_callback_wakes_all_pollers_whatever_it_says() {
    let rig = Rig::new();
    for media_type in [
        BATCH,
        "application/cloudevents+json",
        "application/json; charset=UTF-8",
        "Application/CloudEvents-Batch+JSON",
    ] {
        for body in ["[]", r#"[{"id":"1"}]"#, "", "no JSON at all"] {
            let answer = rig.callback(body, media_type).await;
            assert_eq!(answer, (200, true), "{media_type} {body}");
        }
    }
    assert_eq!(rig.callback(vec![b' '; MIB], BATCH).await, (200, true));
}

#[tokio::test]
async fn who_does_not_know_the_secret_is_told_nothing_and_wakes_nobody() {
    let rig = Rig::new();
    let with = |name: &str, value: &str| {
        Request::post("/")
            .header("content-type", BATCH)
            .header(name, value)
    };
    let wrong = [
        Request::post("/").header("content-type", BATCH),
        with("x-origo-secret", ""),
        with("x-origo-secret", "correct horse battery stapl"),
        with("x-origo-secret", "correct horse battery staple2"),
        with("x-origo-secret", "Correct horse battery staple"),
        with("authorization", SECRET),
        with("x-origo-secret", SECRET).header("x-origo-secret", "another"),
        // What is wrong besides is not told.
        Request::get("/"),
        Request::post("/").header("content-length", 1024 * MIB),
        Request::post("/").header("content-type", "text/html"),
    ];
    for request in wrong {
        let request = request.body(Body::from("[]")).unwrap();
        let shown = format!("{request:?}");
        assert_eq!(rig.send(request).await, (401, false), "{shown}");
    }
}

#[tokio::test]
async fn what_is_no_callback_is_refused() {
    let rig = Rig::new();
    for method in ["GET", "HEAD", "PUT", "OPTIONS", "DELETE"] {
        let request = Request::builder()
            .method(method)
            .header("x-origo-secret", SECRET)
            .header("content-type", BATCH);
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(rig.send(request).await, (405, false), "{method}");
    }
    for media_type in ["text/plain", "", "application/x-www-form-urlencoded"] {
        let answer = rig.callback("[]", media_type).await;
        assert_eq!(answer, (415, false), "{media_type}");
    }
    assert_eq!(rig.callback(vec![b' '; MIB + 1], BATCH).await, (413, false));
    // The same where nobody says so before.
    let chunks = (0..=1024).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024]));
    let stream = Body::from_stream(futures_util::stream::iter(chunks));
    assert_eq!(rig.callback(stream, BATCH).await, (413, false));
    let torn = [Ok(vec![b'[']), Err(std::io::Error::other("torn"))];
    let stream = Body::from_stream(futures_util::stream::iter(torn));
    assert_eq!(rig.callback(stream, BATCH).await, (400, false));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_waited_for_ten_seconds() {
    let rig = Rig::new();
    let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let began = tokio::time::Instant::now();
    let answer = rig.callback(Body::from_stream(never), BATCH).await;
    assert_eq!(answer, (408, false));
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn more_than_a_hundred_in_a_second_are_too_many() {
    let rig = Rig::new();
    for _ in 0..2 {
        for _ in 0..100 {
            assert_eq!(rig.callback("[]", BATCH).await, (200, true));
        }
        for _ in 0..100 {
            assert_eq!(rig.callback("[]", BATCH).await, (429, false));
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}
