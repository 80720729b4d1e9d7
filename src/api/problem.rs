//! What goes wrong, in Seam's envelope (seam-api.md 1.6): always JSON, never a chain of causes.
//!
//! Imports store. Promises: no message repeats what the caller sent (contract.md G7), and a failure
//! of ours is logged where it is answered, not shown.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error as _;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::core::index::Kind;
use crate::store;

/// An answer that is not what was asked for.
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// Stable, snake case.
    pub(super) kind: &'static str,
    /// For people.
    pub(super) message: Cow<'static, str>,
    /// What is wrong with which parameter.
    validation: Option<Value>,
    /// The `Allow` header of a 405.
    allow: Option<&'static [&'static str]>,
    /// For our log alone.
    pub(super) cause: Option<String>,
}

/// What is wrong with the parameters of one request, collected before it is refused.
#[derive(Default)]
pub(super) struct Faults {
    form: Vec<Cow<'static, str>>,
    by_param: BTreeMap<&'static str, Vec<Cow<'static, str>>>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            validation: None,
            allow: None,
            cause: None,
        }
    }

    /// 400 of a type of its own.
    pub(super) fn bad(kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, message)
    }

    /// 400 `invalid_input` about the request as a whole.
    pub(super) fn input(message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self {
            validation: Some(json!({ "_errors": [message] })),
            ..Self::bad("invalid_input", message)
        }
    }

    /// 400 `invalid_input` about one parameter.
    pub(super) fn param(name: &'static str, issue: impl Into<Cow<'static, str>>) -> Self {
        let mut faults = Faults::default();
        faults.add(name, issue);
        faults.into_problem()
    }

    /// 401: no key, or not one of ours.
    pub(super) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "send a valid API key as \"Authorization: Bearer seam_...\"",
        )
    }

    /// 401: a client session that is worth nothing.
    pub(super) fn session(kind: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, kind, message)
    }

    /// 401: a client session where none is let in.
    pub(super) fn session_refused() -> Self {
        Self::session(
            "client_session_token_used_for_api_key",
            "this needs an API key; a client session does not reach so far",
        )
    }

    /// 403: the key does not reach so far.
    pub(super) fn forbidden(needed: &'static str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "insufficient_scope",
            format!("this needs a key with scope {needed}"),
        )
    }

    /// 404 for what was looked up.
    pub(super) fn missing(kind: &'static str, what: &'static str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            kind,
            format!("there is no such {what}"),
        )
    }

    /// 404 for a path that is no route.
    pub(super) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such route")
    }

    /// 405 with the verbs that the route takes.
    pub(super) fn verb(verbs: &'static [&'static str]) -> Self {
        Self {
            allow: Some(verbs),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("this route takes {}", verbs.join(", ")),
            )
        }
    }

    /// 408: the body did not come in time.
    pub(super) fn slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "the request did not arrive in time",
        )
    }

    /// 409: it would be a second one.
    pub(super) fn conflict(kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, message)
    }

    /// 413: the body is larger than we read.
    pub(super) fn oversized(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            format!("the body is larger than {limit} bytes"),
        )
    }

    /// 503: try again.
    pub(super) fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service_unavailable",
            message,
        )
    }

    /// 500: a mistake of ours.
    pub(super) fn ours(cause: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_server_error",
                "something went wrong here; the log says what",
            )
        }
    }

    /// The body.
    pub(super) fn to_json(&self) -> Value {
        let mut error = Map::new();
        error.insert("type".to_owned(), json!(self.kind));
        error.insert("message".to_owned(), json!(self.message));
        if let Some(validation) = &self.validation {
            error.insert("validation_errors".to_owned(), validation.clone());
        }
        json!({ "error": error, "ok": false })
    }
}

impl Faults {
    /// Something is wrong with a parameter.
    pub(super) fn add(&mut self, name: &'static str, issue: impl Into<Cow<'static, str>>) {
        self.by_param.entry(name).or_default().push(issue.into());
    }

    /// Something is wrong with the parameters taken together.
    pub(super) fn add_form(&mut self, issue: impl Into<Cow<'static, str>>) {
        self.form.push(issue.into());
    }

    /// Nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.form.is_empty() && self.by_param.is_empty()
    }

    /// One `invalid_input` for all, with Seam's tree and wording.
    pub(super) fn into_problem(self) -> Problem {
        let mut said: Vec<String> = self.form.iter().map(ToString::to_string).collect();
        let mut tree = Map::new();
        tree.insert("_errors".to_owned(), json!(self.form));
        for (name, issues) in self.by_param {
            for issue in &issues {
                said.push(if issue == "Required" {
                    format!("{name} is required")
                } else {
                    format!("{issue} for \"{name}\"")
                });
            }
            tree.insert(name.to_owned(), json!({ "_errors": issues }));
        }
        let message = match said.as_slice() {
            [one] => one.clone(),
            several => format!("{} Input Errors: {}", several.len(), several.join(", ")),
        };
        Problem {
            validation: Some(Value::Object(tree)),
            ..Problem::bad("invalid_input", message)
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match &error {
            store::Error::Taken(kind) => taken(*kind),
            store::Error::Database(source) => Self {
                cause: Some(format!("{error}: {source}")),
                ..Self::unavailable("the database does not answer; try again")
            },
            store::Error::InUse | store::Error::Newer { .. } => Self {
                cause: Some(error.to_string()),
                ..Self::unavailable("the database does not answer; try again")
            },
            // Without its source, which may quote the row.
            store::Error::Corrupt { .. }
            | store::Error::Conflict(_)
            | store::Error::Claimed(_)
            | store::Error::Held(_)
            | store::Error::ClaimLost(_)
            | store::Error::WindowFull { .. } => Self::ours(match error.source() {
                Some(_) => format!("{error} (see store.failed)"),
                None => error.to_string(),
            }),
        }
    }
}

/// Names that Seam's notes give, and siblings of theirs (seam-api.md 10, row 9).
fn taken(kind: Kind) -> Problem {
    match kind {
        Kind::Identity | Kind::IdentityKey => Problem::conflict(
            "user_identity_key_conflict",
            "another user identity has this user_identity_key",
        ),
        Kind::IdentityEmail => Problem::conflict(
            "user_identity_email_or_phone_conflict",
            "another user identity has this email_address",
        ),
        Kind::IdentityPhoneNumber => Problem::conflict(
            "user_identity_email_or_phone_conflict",
            "another user identity has this phone_number",
        ),
        Kind::AcsUser
        | Kind::UnlinkedAcsUser
        | Kind::Automation
        | Kind::Parent
        | Kind::Child
        | Kind::Phone
        | Kind::Guarded
        | Kind::HidUser
        | Kind::HidInvitation
        | Kind::HidContainer
        | Kind::HidCredential
        | Kind::Orphan => Problem::ours(format!("two identities have one {}", kind.name())),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.to_json());
        let headers = response.headers_mut();
        if let Some(Ok(allow)) = self
            .allow
            .map(|verbs| HeaderValue::try_from(verbs.join(", ")))
        {
            headers.insert(header::ALLOW, allow);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A JSON answer.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Response {
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    (status, [(header::CONTENT_TYPE, json)], body.to_string()).into_response()
}
