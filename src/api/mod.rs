//! The HTTP API: Seam's routes and ours, answered from durable state and never waiting for HID; sandbox phones
//! alone wait, for its simulator.
//!
//! Imports config, core, engine, manager, sandbox, store, webhook, clock and telemetry. One list (`routes`) decides
//! routes, verbs, parameters, scopes, whether client sessions may use them, and response keys; a request
//! passes `keys`, `params` and one handler, whose `sight` ends where its caller's does.
//! Promises: what was acknowledged is on disk; every answer but metrics is JSON, and bears `seam-request-id`;
//! no log line holds a body, a query or a key (contract.md G5, G7).

mod about;
mod acs_systems;
mod adapter;
mod adopt;
mod apply;
mod automations;
mod client_sessions;
mod credentials;
mod events;
mod hold;
mod identities;
mod issue;
mod keys;
mod link;
mod listener;
mod metrics;
mod openapi;
mod openapi_schemas;
mod operate;
mod orphans;
mod page;
mod params;
mod phones;
mod problem;
mod prune;
mod reading;
mod routes;
mod sandbox_phones;
mod schedule;
mod serve;
mod show;
mod show_credential;
mod sight;
mod status;
mod systems;
mod users;
mod users_change;
mod webhooks;
mod why;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use uuid::Uuid;

use self::keys::{Caller, Keys};
pub use self::listener::{Certificate, Listener};
pub use self::openapi::render as openapi_document;
use self::params::Params;
use self::problem::{Problem, json_response};
use self::routes::{ALONE, ROUTES, Route};
use self::schedule::Schedule;
pub use self::serve::{Limits, serve, serve_with};
use self::sight::Sight;
use self::systems::Systems;
use crate::config::{Config, MassChangeGuard, Scope};
use crate::core::ids::Timestamp;
use crate::emit;
use crate::engine::Engine;
use crate::manager::Manager;
use crate::telemetry::{API_FAILED, API_REQUEST};

/// A request that comes again within this time makes nothing twice: SDKs repeat what had no answer.
const REPEATS_WITHIN: Duration = Duration::from_hours(24);
/// The largest body that is read (contract.md section 6).
const LARGEST_BODY: usize = 1024 * 1024;
/// How long a body may take (contract.md section 6).
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// Tells whether every loop of the daemon turns.
pub type Probe = Arc<dyn Fn() -> bool + Send + Sync>;

/// Everything that a request may need. Clones are handles on the same.
#[derive(Clone)]
pub struct Api {
    engine: Arc<Engine>,
    settings: Arc<Mutex<Arc<Settings>>>,
    probe: Probe,
    /// Boot time at which it was made.
    begun: Duration,
    schedule: Arc<Schedule>,
    /// Nobody's until a request is let in.
    sight: Sight,
}

/// What the configuration says to the API.
struct Settings {
    keys: Keys,
    systems: Systems,
    /// Webhooks may lead to private addresses.
    allow_private: bool,
    guard: MassChangeGuard,
}

impl Settings {
    fn of(config: &Config) -> Self {
        Self {
            keys: Keys::of(&config.api),
            systems: Systems::of(config),
            allow_private: config.webhooks.allow_private,
            guard: config.issuance.mass_change_guard,
        }
    }
}

impl Api {
    /// An API over an engine whose store is open, and the managers that work on it; `probe` is asked for `/readyz`.
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        config: &Config,
        managers: Vec<Arc<Manager>>,
        probe: Probe,
    ) -> Self {
        Self {
            begun: engine.clock().boottime(),
            engine,
            settings: Arc::new(Mutex::new(Arc::new(Settings::of(config)))),
            probe,
            schedule: Arc::new(Schedule::new(managers)),
            sight: Sight::Nobody,
        }
    }

    /// Takes new keys and systems for every request from now on.
    pub fn reload(&self, config: &Config) {
        let settings = Arc::new(Settings::of(config));
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request that was let in.
struct Call {
    /// The key's name, or which client session: the cause of what follows.
    caller: String,
    /// How far the key reaches; `None`: there is none.
    scope: Option<Scope>,
    /// The client session that calls.
    session: Option<Uuid>,
    verb: Method,
    params: Params,
    settings: Arc<Settings>,
    now: Timestamp,
    /// The path that was asked for, for the next page's.
    path: String,
}

impl Call {
    fn systems(&self) -> &Systems {
        &self.settings.systems
    }
}

/// What a handler answers; the route knows under which key.
struct Reply {
    value: Value,
    pagination: Option<Value>,
    /// What stands alone and is no JSON.
    plain: Option<String>,
}

impl Reply {
    fn one(value: Value) -> Self {
        Self {
            value,
            pagination: None,
            plain: None,
        }
    }

    fn plain(text: String) -> Self {
        Self {
            plain: Some(text),
            ..Self::void()
        }
    }

    fn list(values: Vec<Value>) -> Self {
        Self::one(Value::Array(values))
    }

    /// `{"ok": true}` and nothing else.
    fn void() -> Self {
        Self::one(Value::Null)
    }

    fn into_json(self, key: Option<&'static str>) -> Value {
        if key == Some(ALONE) {
            return self.value;
        }
        let mut body = Map::new();
        if let Some(key) = key {
            body.insert(key.to_owned(), self.value);
        }
        if let Some(pagination) = self.pagination {
            body.insert("pagination".to_owned(), pagination);
        }
        body.insert("ok".to_owned(), Value::Bool(true));
        Value::Object(body)
    }
}

/// Every route of the list, and JSON for all that is none.
pub fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        for path in route.paths {
            let handler = move |State(api): State<Arc<Api>>, request: Request| async move {
                answer(&api, Some(route), request).await
            };
            router = router.route(path, any(handler));
        }
    }
    let lost = |State(api): State<Arc<Api>>, request: Request| async move {
        answer(&api, None, request).await
    };
    router.fallback(lost).with_state(api)
}

async fn answer(api: &Api, route: Option<&'static Route>, request: Request) -> Response {
    let id = Uuid::new_v4();
    let begun = api.engine.clock().boottime();
    let path = route
        .and_then(|route| route.paths.first())
        .map_or("none", |path| *path);
    let result = match route {
        Some(route) => pass(api, route, request).await,
        None => Err(Problem::no_route()),
    };
    let mut response = match result {
        Ok(response) => response,
        Err(problem) => {
            if let Some(cause) = &problem.cause {
                emit!(API_FAILED, request.id = %id, http.route = path, error = %cause;
                    "request {id} to {path} failed: {cause}");
            }
            axum::response::IntoResponse::into_response(problem)
        }
    };
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert("seam-request-id", value);
    }
    let status = response.status().as_u16();
    let took = api.engine.clock().boottime().saturating_sub(begun);
    let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    emit!(API_REQUEST, request.id = %id, http.route = path, http.status = status, duration_ms = took;
        "request {id} to {path} answered with {status}");
    response
}

/// Verb, key, scope, parameters, handler: in that order, so that a stranger's body is never read.
async fn pass(api: &Api, route: &'static Route, request: Request) -> Result<Response, Problem> {
    let verb = request.method().as_str();
    if !route.verbs.takes(verb) {
        return Err(Problem::verb(route.verbs.names()));
    }
    let settings = api.settings();
    let caller = match route.scope {
        Some(needed) => {
            api.admit(&settings.keys, route, needed, request.headers())
                .await?
        }
        None => Caller::anybody(),
    };
    let api = Api {
        sight: caller.sight,
        ..api.clone()
    };
    let (head, body) = request.into_parts();
    let body = tokio::time::timeout(BODY_DEADLINE, read_body(body))
        .await
        .map_err(|_| Problem::slow())??;
    check_content_type(&head.headers, &body)?;
    let query = head.uri.query().unwrap_or_default();
    let call = Call {
        caller: caller.name,
        scope: caller.scope,
        session: caller.session,
        verb: head.method,
        params: Params::read(route.params, query, &body)?,
        settings,
        now: api.engine.now(),
        path: head.uri.path().to_owned(),
    };
    let mut reply = (route.run)(&api, &call).await?;
    if let Some(text) = reply.plain.take() {
        return Ok(axum::response::IntoResponse::into_response(text));
    }
    Ok(json_response(StatusCode::OK, &reply.into_json(route.key)))
}

async fn read_body(body: axum::body::Body) -> Result<Bytes, Problem> {
    match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::oversized(LARGEST_BODY)),
        Err(_) => Err(Problem::input("the body ended early")),
    }
}

/// Old SDKs send lists without parameters as an empty form (seam-api.md 1.3).
fn check_content_type(headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    if body.is_empty() {
        return Ok(());
    }
    let named = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    if named.is_some_and(|name| name.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    Err(Problem::bad(
        "invalid_content_type",
        "send the body as content-type application/json",
    ))
}
