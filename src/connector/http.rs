//! One HTTP request a record: an idempotent PUT of what it says, a DELETE to remove it.
//!
//! Promises: no redirect is followed, nothing is retried here; what may have reached the access system counts as
//! unanswered; a system that refuses everybody is paused and probed, and no record's own schedule moves for it.

use std::time::Duration;

use ::http::{HeaderMap, Method, Request, StatusCode, header};
use bytes::Bytes;
use uuid::Uuid;

use super::{BATCH, Connector, Desk, Started};
use crate::budget::Budget;
use crate::core::ids::Timestamp;
use crate::core::record::{Act, Contents, Outcome};
use crate::emit;
use crate::gate::{Gate, Opened, Verdict};
use crate::origo::{Transport, TransportError, Trouble};
use crate::store::{Error, Grant};
use crate::telemetry::{CONNECTOR_PAUSED, CONNECTOR_RESUMED};
use crate::template::{Body, Template};

/// Beyond the request's own time, for making the mark and writing down the outcome.
const LEASE_SLACK: Duration = Duration::from_secs(30);

/// How an access system is told by HTTP.
pub struct Http {
    /// Where a record is, with places for ids.
    pub url: Template,
    /// Puts one; the same request twice must do no more than once.
    pub method: Method,
    /// Removes one.
    pub remove_method: Method,
    /// Sent with every request.
    pub headers: HeaderMap,
    /// What is put.
    pub body: Body,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// Requests so far in the system's own window.
    pub budget: Budget,
    /// Whether the system may be asked now.
    pub gate: Gate,
    /// Carries requests.
    pub transport: Box<dyn Transport>,
}

/// What there is to do.
#[derive(Debug)]
pub enum Next {
    /// A marked call, to be made now.
    Call(Started),
    /// Nothing before then, unless something is committed meanwhile; `None`: nothing is owed.
    Wait(Option<Timestamp>),
}

/// How one request ended.
struct Ended {
    outcome: Outcome,
    /// The whole system is at fault.
    trouble: Option<Trouble>,
    what: String,
}

impl Desk {
    /// Makes the mark of the next call, or says when to ask again.
    pub async fn next(&self, http: &Http) -> Result<Next, Error> {
        let engine = &self.engine;
        let at = engine.window_now().await?;
        let in_wall_time = |until: Timestamp| engine.now().plus(until.since(at));
        if let Some(until) = http.gate.closed_until(at) {
            return Ok(Next::Wait(Some(in_wall_time(until))));
        }
        let lease = http.request_timeout * 2 + LEASE_SLACK;
        for due in self.connector.due(engine, BATCH).await? {
            let token = Uuid::new_v4();
            let slot = http.budget.slot(token, None, at);
            if let Grant::NotBefore(free) =
                engine.store().take_slots(vec![slot], Vec::new()).await?
            {
                return Ok(Next::Wait(Some(in_wall_time(free))));
            }
            if let Some(started) = Connector::start(engine, &due, token, lease).await? {
                http.gate.pass(at, http.request_timeout * 2);
                return Ok(Next::Call(started));
            }
        }
        Ok(Next::Wait(self.connector.next_due(engine).await?))
    }

    /// Makes a marked call, once; how it ended is to be settled. It is not sent where its lease is short of time.
    pub async fn perform(&self, http: &Http, started: &Started) -> Outcome {
        if self.engine.clock().boottime() + http.request_timeout > started.lease_ends {
            return Outcome::Refused;
        }
        let ended = http.perform(&started.call.act).await;
        let (name, at) = (&self.connector.name, self.engine.window_time());
        match ended.trouble {
            Some(trouble) => {
                let condition = match http.gate.refused(trouble, None, at) {
                    Verdict::Paused(condition) => Some(condition.name()),
                    Verdict::Quarantined => Some("quarantined"),
                    Verdict::Unchanged => None,
                };
                if let Some(condition) = condition {
                    emit!(CONNECTOR_PAUSED, access_system.name = %name, condition = condition, error = %ended.what;
                        "access system {name} is {condition}: {}", ended.what);
                }
            }
            None => {
                if http.gate.succeeded() != Opened::Nothing {
                    emit!(CONNECTOR_RESUMED, access_system.name = %name; "access system {name} answers again");
                }
            }
        }
        ended.outcome
    }

    /// Takes in how a call ended; where that fails it may be repeated, however late it is.
    pub async fn settle(&self, started: &Started, outcome: Outcome) -> Result<(), Error> {
        self.connector.end(&self.engine, started, outcome).await
    }
}

impl Http {
    async fn perform(&self, act: &Act) -> Ended {
        let request = match act {
            Act::Put(contents) => {
                let body = self.body.fill(contents).to_string();
                self.request(self.method.clone(), contents, Bytes::from(body))
            }
            Act::Remove(contents) => {
                self.request(self.remove_method.clone(), contents, Bytes::new())
            }
        };
        let Some(request) = request else {
            return Ended {
                outcome: Outcome::Rejected,
                trouble: None,
                what: "the address is none".to_owned(),
            };
        };
        match self.transport.send(request).await {
            Ok(answer) => answered(answer.status(), act),
            Err(error) => failed(&error),
        }
    }

    fn request(&self, method: Method, contents: &Contents, body: Bytes) -> Option<Request<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.url.fill(contents))
            .body(body)
            .ok()?;
        request.headers_mut().clone_from(&self.headers);
        if !request.body().is_empty() {
            let json = header::HeaderValue::from_static("application/json");
            request
                .headers_mut()
                .entry(header::CONTENT_TYPE)
                .or_insert(json);
        }
        Some(request)
    }
}

fn answered(status: StatusCode, act: &Act) -> Ended {
    let gone = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    let (outcome, trouble) = match status {
        _ if status.is_success() => (Outcome::Done, None),
        _ if gone && matches!(act, Act::Remove(_)) => (Outcome::Done, None),
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            (Outcome::Refused, Some(Trouble::Unauthorized))
        }
        StatusCode::TOO_MANY_REQUESTS => (Outcome::Refused, Some(Trouble::Window)),
        StatusCode::REQUEST_TIMEOUT => (Outcome::Unanswered, Some(Trouble::TimedOut)),
        // It may have been carried out all the same.
        _ if status.is_server_error() => (Outcome::Unanswered, Some(Trouble::ServerError)),
        _ => (Outcome::Rejected, None),
    };
    Ended {
        outcome,
        trouble,
        what: format!("answered with {}", status.as_u16()),
    }
}

fn failed(error: &TransportError) -> Ended {
    let (outcome, trouble) = match error {
        TransportError::Unsent(_) => (Outcome::Refused, Trouble::Unreachable),
        TransportError::Unanswered(_) => (Outcome::Unanswered, Trouble::TimedOut),
        TransportError::Oversized(_) => (Outcome::Unanswered, Trouble::Oversized),
    };
    Ended {
        outcome,
        trouble: Some(trouble),
        what: error.to_string(),
    }
}
