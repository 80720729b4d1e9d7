//! Paths to endpoint classes. All services share one listener and are told apart by path.

use bytes::Bytes;
use http::{Method, Request, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::Refusal;

/// A service with a window of its own (`origo-api.md` 10.4). Callbacks count with events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    Token,
    MobileIdentities,
    Events,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Token,
    UserCreate,
    UserGet,
    UserList,
    UserSearch,
    UserUpdate,
    UserPatch,
    UserDelete,
    InvitationCreate,
    InvitationList,
    InvitationSearch,
    InvitationOfUser,
    InvitationGet,
    InvitationEmail,
    InvitationCancel,
    ContainerGet,
    ContainerList,
    ContainerDelete,
    CredentialList,
    Issue,
    CredentialGet,
    Revoke,
    PartNumberList,
    PartNumberGet,
    PartNumberSearch,
    Organization,
    SdkVersion,
    FilterCreate,
    FilterList,
    FilterGet,
    FilterDelete,
    EventsRead,
    CallbackCreate,
    CallbackList,
    CallbackDelete,
    /// A path or verb nobody knows.
    Unknown,
}

impl Class {
    /// Whether it changes nothing at HID.
    pub fn is_read(self) -> bool {
        match self {
            Self::UserGet
            | Self::UserList
            | Self::UserSearch
            | Self::InvitationList
            | Self::InvitationSearch
            | Self::InvitationOfUser
            | Self::InvitationGet
            | Self::ContainerGet
            | Self::ContainerList
            | Self::CredentialList
            | Self::CredentialGet
            | Self::PartNumberList
            | Self::PartNumberGet
            | Self::PartNumberSearch
            | Self::Organization
            | Self::SdkVersion
            | Self::FilterList
            | Self::FilterGet
            | Self::EventsRead
            | Self::CallbackList
            | Self::Unknown => true,
            Self::Token
            | Self::UserCreate
            | Self::UserUpdate
            | Self::UserPatch
            | Self::UserDelete
            | Self::InvitationCreate
            | Self::InvitationEmail
            | Self::InvitationCancel
            | Self::ContainerDelete
            | Self::Issue
            | Self::Revoke
            | Self::FilterCreate
            | Self::FilterDelete
            | Self::CallbackCreate
            | Self::CallbackDelete => false,
        }
    }
}

/// One request, reduced to what the model looks at.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) no: u64,
    pub(super) at: i64,
    /// It takes effect after its sender was cut off.
    pub(super) late: bool,
    pub(super) service: Service,
    pub(super) class: Class,
    pub(super) organization: String,
    /// First and second id in the path; empty where there is none.
    pub(super) id: String,
    pub(super) sub: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) host: String,
    pub(super) content_type: Option<String>,
    pub(super) bearer: Option<String>,
    pub(super) has_application_id: bool,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn read(no: u64, at: i64, request: Request<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        let header = |name: header::HeaderName| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(ToOwned::to_owned)
        };
        let route = route(&parts.method, parts.uri.path());
        Self {
            no,
            at,
            late: false,
            service: route.service,
            class: route.class,
            organization: route.organization,
            id: route.id,
            sub: route.sub,
            query: form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect(),
            host: header(header::HOST).unwrap_or_default(),
            content_type: header(header::CONTENT_TYPE),
            bearer: header(header::AUTHORIZATION)
                .and_then(|value| value.strip_prefix("Bearer ").map(ToOwned::to_owned)),
            has_application_id: parts.headers.contains_key("application-id"),
            body,
        }
    }

    /// The first id of the path. Ids are integers (3.2), so anything else is simply unknown.
    pub(super) fn number(&self) -> u64 {
        self.id.parse().unwrap_or(0)
    }

    pub(super) fn json(&self) -> Result<Value, Refusal> {
        serde_json::from_slice(&self.body).map_err(|_| Refusal {
            status: 400,
            scim_type: None,
            detail: "The request body is malformed.".to_owned(),
        })
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

struct Route {
    service: Service,
    class: Class,
    organization: String,
    id: String,
    sub: String,
}

fn route(method: &Method, path: &str) -> Route {
    let segments: Vec<&str> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let (service, organization, (class, id, sub)) = match segments.as_slice() {
        ["authentication", "customer", organization, "token"] if method == Method::POST => {
            (Service::Token, *organization, (Class::Token, "", ""))
        }
        ["credential-management", "customer", organization, rest @ ..] => (
            Service::MobileIdentities,
            *organization,
            mobile_identities(method.as_str(), rest),
        ),
        ["organization", organization, rest @ ..] => (
            Service::Events,
            *organization,
            events(method.as_str(), rest),
        ),
        _ => (Service::MobileIdentities, "", (Class::Unknown, "", "")),
    };
    Route {
        service,
        class,
        organization: organization.to_owned(),
        id: id.to_owned(),
        sub: sub.to_owned(),
    }
}

/// Sections 3 to 8 of `origo-api.md`.
fn mobile_identities<'a>(verb: &str, rest: &[&'a str]) -> (Class, &'a str, &'a str) {
    match (verb, rest) {
        ("GET", []) => (Class::Organization, "", ""),
        ("GET", ["sdk-version"]) => (Class::SdkVersion, "", ""),
        ("POST", ["users"]) => (Class::UserCreate, "", ""),
        ("GET", ["users"]) => (Class::UserList, "", ""),
        ("POST", ["users", ".search"]) => (Class::UserSearch, "", ""),
        ("GET", ["users", id]) => (Class::UserGet, *id, ""),
        ("PUT", ["users", id]) => (Class::UserUpdate, *id, ""),
        ("PATCH", ["users", id]) => (Class::UserPatch, *id, ""),
        ("DELETE", ["users", id]) => (Class::UserDelete, *id, ""),
        ("POST", ["users", id, "invitation"]) => (Class::InvitationCreate, *id, ""),
        ("GET", ["users", id, "invitation"]) => (Class::InvitationList, *id, ""),
        ("POST", ["users", id, "invitation", ".search"]) => (Class::InvitationSearch, *id, ""),
        ("GET", ["users", id, "invitation", sub]) => (Class::InvitationOfUser, *id, *sub),
        ("GET", ["users", id, "credential-container"]) => (Class::ContainerList, *id, ""),
        ("GET", ["invitation", id]) => (Class::InvitationGet, *id, ""),
        ("DELETE", ["invitation", id]) => (Class::InvitationCancel, *id, ""),
        ("POST", ["invitation", id, "email"]) => (Class::InvitationEmail, *id, ""),
        ("GET", ["credential-container", id]) => (Class::ContainerGet, *id, ""),
        ("DELETE", ["credential-container", id]) => (Class::ContainerDelete, *id, ""),
        ("GET", ["credential-container", id, "credential"]) => (Class::CredentialList, *id, ""),
        ("POST", ["credential-container", id, "credential"]) => (Class::Issue, *id, ""),
        ("GET", ["credential", id]) => (Class::CredentialGet, *id, ""),
        ("DELETE", ["credential", id]) => (Class::Revoke, *id, ""),
        ("GET", ["part-number"]) => (Class::PartNumberList, "", ""),
        ("POST", ["part-number", ".search"]) => (Class::PartNumberSearch, "", ""),
        ("GET", ["part-number", id]) => (Class::PartNumberGet, *id, ""),
        _ => (Class::Unknown, "", ""),
    }
}

/// Section 9 of `origo-api.md`.
fn events<'a>(verb: &str, rest: &[&'a str]) -> (Class, &'a str, &'a str) {
    match (verb, rest) {
        ("GET", ["events"]) => (Class::EventsRead, "", ""),
        ("POST", ["events", "filter"]) => (Class::FilterCreate, "", ""),
        ("GET", ["events", "filter"]) => (Class::FilterList, "", ""),
        ("GET", ["events", "filter", id]) => (Class::FilterGet, *id, ""),
        ("DELETE", ["events", "filter", id]) => (Class::FilterDelete, *id, ""),
        ("POST", ["callback"]) => (Class::CallbackCreate, "", ""),
        ("GET", ["callback"]) => (Class::CallbackList, "", ""),
        ("DELETE", ["callback", id]) => (Class::CallbackDelete, *id, ""),
        _ => (Class::Unknown, "", ""),
    }
}
