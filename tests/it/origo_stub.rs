//! A transport that records requests and answers from a script, and a clock that stands still.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use origo_adapter::origo::{Client, Places, Sending, Service, Settings, Transport, TransportError};

pub(crate) const START: i64 = 1_772_359_200_000;
pub(crate) const SECRET: &str = "s3cret & sons";
pub(crate) const MEDIA_TYPE: &str = "application/vnd.assaabloy.ma.credential-management-2.2+json";

pub(crate) type Reply = Result<Response<Bytes>, TransportError>;

/// Token requests are answered from `logins`, and with `token-1`, `token-2`, … when that is empty; all others from `answers`.
#[derive(Default)]
pub(crate) struct Stub {
    logins: Mutex<VecDeque<Reply>>,
    answers: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<Request<Bytes>>>,
}

impl Stub {
    pub(crate) fn answer(&self, reply: Reply) {
        self.answers.lock().expect("no panic").push_back(reply);
    }

    /// In place of all answers still to come: these, without bodies.
    pub(crate) fn answers(&self, statuses: &[u16]) {
        let replies = statuses.iter().map(|status| json(*status, ""));
        *self.answers.lock().expect("no panic") = replies.collect();
    }

    pub(crate) fn log_in(&self, reply: Reply) {
        self.logins.lock().expect("no panic").push_back(reply);
    }

    /// Requests since the last look: to the token endpoint, and all others.
    pub(crate) fn take(&self) -> (Vec<Request<Bytes>>, Vec<Request<Bytes>>) {
        let seen = std::mem::take(&mut *self.seen.lock().expect("no panic"));
        seen.into_iter().partition(is_login)
    }

    fn reply(&self, request: &Request<Bytes>) -> Reply {
        let mut seen = self.seen.lock().expect("no panic");
        seen.push(copy(request));
        if is_login(request) {
            let number = seen.iter().filter(|request| is_login(request)).count();
            let scripted = self.logins.lock().expect("no panic").pop_front();
            scripted.unwrap_or_else(|| token(&format!("token-{number}"), 3600))
        } else {
            let scripted = self.answers.lock().expect("no panic").pop_front();
            scripted.unwrap_or_else(|| json(500, "{}"))
        }
    }
}

impl Transport for Stub {
    fn send(&self, request: Request<Bytes>) -> Sending<'_> {
        Box::pin(async move {
            // Lets others in, as a real wait would.
            tokio::task::yield_now().await;
            self.reply(&request)
        })
    }
}

/// A wall clock in the test's hand.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicI64>);

impl Hand {
    pub(crate) fn forward(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).expect("short");
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    pub(crate) fn back(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).expect("short");
        self.0.fetch_sub(millis, Ordering::SeqCst);
    }
}

pub(crate) fn settings(base: &str) -> Settings {
    let url = |path: &str| format!("{base}{path}").parse().expect("an address");
    Settings {
        organization_id: "7001234".into(),
        client_id: "7001234-OSRV900001".into(),
        login: origo_adapter::origo::Login::Secret(SECRET.to_owned().into()),
        token_url: url("/idp"),
        mobile_identities_url: url("/credential-management/"),
        events_url: url(""),
        callback_url: Some(url("")),
        application_id: "HID-EXAMPLE-ADAPTER".into(),
        application_version: "1.0".into(),
        request_timeout: Duration::from_secs(20),
    }
}

/// 25 logins in any five minutes, as a daemon has by its defaults; anything else at will.
struct Logins {
    now: Arc<AtomicI64>,
    taken: Mutex<Vec<i64>>,
}

impl Places for Logins {
    fn take(
        &self,
        service: Service,
    ) -> Pin<Box<dyn Future<Output = Option<Duration>> + Send + '_>> {
        let now = self.now.load(Ordering::SeqCst);
        let mut taken = self.taken.lock().unwrap();
        taken.retain(|at| now - at < 300_000);
        let is_full = service == Service::Token && taken.len() >= 25;
        let wait = is_full.then(|| taken[0] + 300_000 - now);
        if service == Service::Token && !is_full {
            taken.push(now);
        }
        let wait = wait.map(|ms| Duration::from_millis(ms.unsigned_abs()));
        Box::pin(std::future::ready(wait))
    }
}

pub(crate) fn client() -> (Arc<Stub>, Client, Hand) {
    let stub = Arc::new(Stub::default());
    let hand = Hand(Arc::new(AtomicI64::new(START)));
    let now = Arc::clone(&hand.0);
    let client = Client::new(
        settings("https://hid.example"),
        Arc::<Stub>::clone(&stub),
        Arc::new(Logins {
            now: Arc::clone(&now),
            taken: Mutex::default(),
        }),
        Arc::new(move || now.load(Ordering::SeqCst)),
    );
    (stub, client, hand)
}

#[expect(clippy::unnecessary_wraps, reason = "a reply like any other")]
pub(crate) fn json(status: u16, body: &str) -> Reply {
    Ok(Response::builder()
        .status(status)
        .header("content-type", "application/json; charset=UTF-8")
        .body(Bytes::from(body.to_owned()))
        .expect("a response"))
}

pub(crate) fn token(secret: &str, seconds: u64) -> Reply {
    json(
        200,
        &format!(
            r#"{{"access_token":"{secret}","id_token":"eyJx","token_type":"Bearer","expires_in":{seconds}}}"#
        ),
    )
}

pub(crate) fn header<'a>(request: &'a Request<Bytes>, name: &str) -> Option<&'a str> {
    request
        .headers()
        .get(name)
        .map(|value| value.to_str().expect("text"))
}

pub(crate) fn body(request: &Request<Bytes>) -> &str {
    std::str::from_utf8(request.body()).expect("text")
}

fn is_login(request: &Request<Bytes>) -> bool {
    request.uri().path().contains("/authentication/")
}

fn copy(request: &Request<Bytes>) -> Request<Bytes> {
    let mut copy = Request::new(request.body().clone());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    copy.headers_mut().clone_from(request.headers());
    copy
}
