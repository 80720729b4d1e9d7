//! The receiver of HID's callbacks (origo-api.md 9.4): a request with the right secret wakes the pollers.
//!
//! Imports config, manager and telemetry. Promises: nothing that a request says is believed or kept, so whoever knows
//! the secret can have the feeds read a little earlier and no more; whoever does not is told nothing; neither makes
//! the log or the memory grow.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use crate::config::Callbacks;
use crate::emit;
use crate::manager::Manager;
use crate::telemetry::CALLBACK_REFUSED;

/// The largest body that is read.
const LARGEST_BODY: usize = 1024 * 1024;
/// How long a body may take.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// So many callbacks are taken in a second; hints beyond that would say nothing new.
const MOST_A_SECOND: u32 = 100;
/// Between two lines about what was refused.
const TOLD_APART: Duration = Duration::from_mins(1);
/// A batch of CloudEvents, as HID documents it; one of them, and JSON, in case it does otherwise.
const MEDIA_TYPES: [&str; 3] = [
    "application/cloudevents-batch+json",
    "application/cloudevents+json",
    "application/json",
];

/// Why a request wakes nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Refusal {
    Secret,
    Method,
    MediaType,
    Rate,
    Size,
    Slow,
    Broken,
}

impl Refusal {
    fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Method => "method",
            Self::MediaType => "media_type",
            Self::Rate => "rate",
            Self::Size => "size",
            Self::Slow => "slow",
            Self::Broken => "broken",
        }
    }

    /// A status and no more.
    fn answer(self) -> Response {
        let status = match self {
            Self::Secret => StatusCode::UNAUTHORIZED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Rate => StatusCode::TOO_MANY_REQUESTS,
            Self::Size => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        };
        let mut response = status.into_response();
        let headers = response.headers_mut();
        // What is left of the request is not read.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if self == Self::Method {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

/// Knows the secret, and whom to wake.
pub struct Receiver {
    header: HeaderName,
    /// SHA-256.
    secret: [u8; 32],
    managers: Vec<Arc<Manager>>,
    pace: Mutex<Pace>,
    refused: Mutex<Refused>,
}

/// Callbacks of the second that began then.
#[derive(Default)]
struct Pace(Option<(Instant, u32)>);

/// What was refused and not told yet.
#[derive(Default)]
struct Refused {
    counts: BTreeMap<Refusal, u64>,
    told: Option<Instant>,
}

impl Receiver {
    /// A receiver that wakes the pollers of all `managers`.
    #[must_use]
    pub fn new(settings: &Callbacks, managers: Vec<Arc<Manager>>) -> Self {
        Self {
            header: settings.header.clone(),
            secret: hash(settings.secret.expose_secret().as_bytes()),
            managers,
            pace: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// Logs what was refused since the last line, where that is long enough ago.
    pub fn tell(&self) {
        let Some(counts) = self.refused().take() else {
            return;
        };
        let total: u64 = counts.values().sum();
        let reasons = counts
            .iter()
            .map(|(refusal, count)| format!("{} {count}", refusal.name()));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        emit!(CALLBACK_REFUSED, count = total, reasons = %reasons;
            "refused at the receiver of callbacks: {reasons}");
    }

    /// Secret, verb, media type, rate, body: in this order, so that a stranger learns of none but the first.
    async fn admit(&self, request: Request) -> Result<(), Refusal> {
        if !self.knows(request.headers()) {
            return Err(Refusal::Secret);
        }
        if request.method() != Method::POST {
            return Err(Refusal::Method);
        }
        if !has_media_type(request.headers()) {
            return Err(Refusal::MediaType);
        }
        if !self.pace().admits(Instant::now()) {
            return Err(Refusal::Rate);
        }
        let body = swallow(request.into_body());
        let read = tokio::time::timeout(BODY_DEADLINE, body).await;
        read.map_err(|_| Refusal::Slow)?
    }

    /// Exactly one header of the name, with the secret.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let mut sent = headers.get_all(&self.header).iter();
        let (Some(value), None) = (sent.next(), sent.next()) else {
            return false;
        };
        verify_slices_are_equal(&hash(value.as_bytes()), &self.secret).is_ok()
    }

    fn refuse(&self, refusal: Refusal) {
        *self.refused().counts.entry(refusal).or_default() += 1;
        self.tell();
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    fn admits(&mut self, now: Instant) -> bool {
        let (begun, count) = match self.0 {
            Some((begun, count)) if now.duration_since(begun) < Duration::from_secs(1) => {
                (begun, count)
            }
            Some(_) | None => (now, 0),
        };
        self.0 = Some((begun, count.saturating_add(1)));
        count < MOST_A_SECOND
    }
}

impl Refused {
    /// The counts since the last time; `None`: there are none, or it is too soon.
    fn take(&mut self) -> Option<BTreeMap<Refusal, u64>> {
        let is_soon = self.told.is_some_and(|told| told.elapsed() < TOLD_APART);
        if is_soon || self.counts.is_empty() {
            return None;
        }
        self.told = Some(Instant::now());
        Some(std::mem::take(&mut self.counts))
    }
}

/// Every path takes callbacks: a proxy in front may put any before it.
pub fn router(receiver: Arc<Receiver>) -> Router {
    Router::new().fallback(take).with_state(receiver)
}

async fn take(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    match receiver.admit(request).await {
        Ok(()) => {
            for manager in &receiver.managers {
                manager.hint.notify_one();
            }
            StatusCode::OK.into_response()
        }
        Err(refusal) => {
            receiver.refuse(refusal);
            refusal.answer()
        }
    }
}

fn has_media_type(headers: &HeaderMap) -> bool {
    let sent = headers.get(header::CONTENT_TYPE);
    let sent = sent.and_then(|value| value.to_str().ok());
    let bare = sent.and_then(|sent| sent.split(';').next()).map(str::trim);
    bare.is_some_and(|bare| {
        MEDIA_TYPES
            .iter()
            .any(|known| bare.eq_ignore_ascii_case(known))
    })
}

/// Reads a body to its end and keeps nothing of it.
async fn swallow(body: Body) -> Result<(), Refusal> {
    let promised = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if promised > LARGEST_BODY {
        return Err(Refusal::Size);
    }
    let mut body = Limited::new(body, LARGEST_BODY);
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Refusal::Size
            } else {
                Refusal::Broken
            }
        })?;
    }
    Ok(())
}

fn hash(text: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text).as_ref());
    hash
}
