//! The client of HID Origo: one [`Effect`] in, one [`Answer`] or [`Fault`](crate::core::Fault) out.
//!
//! It speaks the core's words on one side and HID's on the other, and keeps them apart: bodies go
//! out in `request`, answers are read in `wire`, the feed in `event`, the register of callbacks in
//! `callback`, failures get their meaning in `fault`, tokens come from `token`, bytes leave through
//! `transport`. It repeats nothing but one request after a 401, counts no window and keeps no state but the token.
//!
//! May import `crate::core`, `crate::clock`, `crate::retry` and `crate::telemetry` only.

mod call;
mod callback;
mod error;
mod event;
mod fault;
mod login;
mod request;
mod tally;
mod token;
mod transport;
mod wire;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use url::Url;

use self::call::Call;
use self::tally::Tally;
use self::token::Tokens;
use crate::core::effect::NewUser;
use crate::core::ids::{ContainerId, CredentialId, HidUserId, InvitationId};
use crate::core::observation::{CredentialSeen, InvitationSeen, UserSeen};
use crate::core::{Answer, Effect, Timestamp};

pub use self::callback::{Callback, CallbackId};
pub use self::error::Error;
pub use self::event::{RawEvent, RawKind};
pub use self::fault::{Operation, Outcome, Service, Trouble, of as fault_of};
pub use self::login::{Login, NoKey, Signer};
pub use self::tally::Requests;
pub use self::transport::{
    BodyCeiling, HttpTransport, Options, Proxy, Sending, Transport, TransportError,
};
pub use self::wire::{Filter, License, Organization, PartNumberSeen};

/// The wall clock, in milliseconds since the epoch.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Asked right before a request's first byte; `false` means the lease is over.
pub type MaySend<'a> = dyn Fn() -> bool + Send + Sync + 'a;

/// Asked before each request that its caller has no place for: a login, and the replay after a 401.
pub trait Places: Send + Sync {
    /// Takes a place in the service's windows. `Some`: there is none for so long, and nothing may be sent.
    fn take(&self, service: Service)
    -> Pin<Box<dyn Future<Output = Option<Duration>> + Send + '_>>;
}

/// There is always a place: for a few requests outside a daemon.
#[derive(Clone, Copy, Debug)]
pub struct Unlimited;

impl Places for Unlimited {
    fn take(&self, _: Service) -> Pin<Box<dyn Future<Output = Option<Duration>> + Send + '_>> {
        Box::pin(std::future::ready(None))
    }
}

/// One HID organization and how to log in. The base addresses are independent: none is derived from another (origo-api.md 1.1).
#[derive(Clone, Debug)]
pub struct Settings {
    /// The digits before the `-` of the system account's name.
    pub organization_id: String,
    /// The system account.
    pub client_id: String,
    /// How it proves who it is.
    pub login: Login,
    /// Base of the token endpoint, such as `https://api.origo.hidglobal.com`.
    pub token_url: Url,
    /// Base of Mobile Identities, such as `https://ma.api.assaabloy.com/credential-management`.
    pub mobile_identities_url: Url,
    /// Base of the feed, such as `https://event.api.origo.hidglobal.com`.
    pub events_url: Url,
    /// Base of the callback service, such as `https://callback.api.origo.hidglobal.com`; `None`: it is not asked.
    pub callback_url: Option<Url>,
    /// Given by HID to the partner.
    pub application_id: String,
    /// Our own.
    pub application_version: String,
    /// What the transport was built with; the lease must outlast it (contract.md section 2).
    pub request_timeout: Duration,
}

/// A client of one organization. Cheap to share; all tasks use one token.
pub struct Client {
    settings: Settings,
    transport: Arc<dyn Transport>,
    places: Arc<dyn Places>,
    now: Now,
    tokens: Tokens,
    skew: Mutex<Option<i64>>,
    skipped: AtomicU64,
    tally: Tally,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Sends nothing yet. `now` is the wall clock in milliseconds.
    #[must_use]
    pub fn new(
        settings: Settings,
        transport: Arc<dyn Transport>,
        places: Arc<dyn Places>,
        now: Now,
    ) -> Self {
        let tally = Tally::default();
        let transport = tally.over(transport);
        let token_url = below(
            &settings.token_url,
            &[
                "authentication",
                "customer",
                &settings.organization_id,
                "token",
            ],
        );
        let tokens = Tokens::new(
            Arc::clone(&transport),
            Arc::clone(&places),
            Arc::clone(&now),
            settings.client_id.clone(),
            settings.login.clone(),
            token_url,
        );
        Self {
            settings,
            transport,
            places,
            now,
            tokens,
            skew: Mutex::new(None),
            skipped: AtomicU64::new(0),
            tally,
        }
    }

    /// What the client was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Carries out one effect: exactly one Mobile Identities call (plus a token call when none is at hand, plus one replay after a 401).
    ///
    /// `may_send` is asked right before each Mobile Identities request's first byte; where it says
    /// `false` the lease is over, nothing is sent, and the fault is `Refused`. The first request's place in HID's
    /// windows is the caller's to take.
    pub async fn perform(&self, effect: &Effect, may_send: &MaySend<'_>) -> Result<Answer, Error> {
        match effect {
            Effect::CreateUser { user, invite } => {
                let body = request::create_user(user, *invite);
                let call = Call {
                    personal: personal(user),
                    ..self.post(Operation::CreateUser, &["users"], body)
                };
                self.ask(call, may_send, |reader, body| {
                    reader.user(body, None).map(Answer::UserCreated)
                })
                .await
            }
            Effect::SearchUser { by } => {
                let body = request::search_user(by);
                let call = self.post(Operation::SearchUser, &["users", ".search"], body);
                self.ask(call, may_send, |reader, body| {
                    reader.found_user(body).map(Answer::UserFound)
                })
                .await
            }
            Effect::ReadUser { user } => {
                let call = self.get(Operation::ReadUser, &["users", user.as_str()]);
                self.ask(call, may_send, |reader, body| {
                    reader.user(body, Some(user)).map(Answer::User)
                })
                .await
            }
            Effect::UpdateUser { user, data } => {
                self.update_user(user, data, may_send).await?;
                Ok(Answer::UserUpdated)
            }
            Effect::DeleteUser { user } => {
                let call = self.delete(Operation::DeleteUser, &["users", user.as_str()]);
                self.tell(call, may_send).await?;
                Ok(Answer::UserDeleted)
            }
            Effect::CreateInvitation { user, delivery } => {
                let path = ["users", user.as_str(), "invitation"];
                let body = request::create_invitation(*delivery);
                let call = self.post(Operation::CreateInvitation, &path, body);
                self.ask(call, may_send, |_, body| {
                    let seen = wire::only_invitation(body, None)?;
                    Some(Answer::InvitationCreated(seen))
                })
                .await
            }
            Effect::EmailInvitation { invitation } => {
                let path = ["invitation", invitation.as_str(), "email"];
                let call = self.call(Operation::EmailInvitation, Method::POST, &path);
                self.tell(call, may_send).await?;
                Ok(Answer::InvitationEmailed)
            }
            Effect::CancelInvitation { invitation } => {
                let path = ["invitation", invitation.as_str()];
                let call = self.delete(Operation::CancelInvitation, &path);
                self.tell(call, may_send).await?;
                Ok(Answer::InvitationCancelled)
            }
            Effect::ReadPhone { container } => {
                let path = ["credential-container", container.as_str()];
                let call = self.get(Operation::ReadPhone, &path);
                self.ask(call, may_send, |reader, body| {
                    reader.only_container(body, container).map(Answer::Phone)
                })
                .await
            }
            Effect::DeletePhone { container } => {
                self.delete_container(container, may_send).await?;
                Ok(Answer::PhoneDeleted)
            }
            Effect::Issue {
                container,
                part_number,
            } => {
                let path = ["credential-container", container.as_str(), "credential"];
                let call = self.post(Operation::Issue, &path, request::issue(part_number));
                self.ask(call, may_send, |_, body| {
                    wire::issued(body, part_number).map(Answer::Issued)
                })
                .await
            }
            Effect::Revoke { credential } => {
                let call = self.delete(Operation::Revoke, &["credential", credential.as_str()]);
                self.tell(call, may_send).await?;
                Ok(Answer::Revoked)
            }
            Effect::Wake => {
                let error = TransportError::Unsent("a timer is no call".into());
                Err(Error {
                    trouble: None,
                    ..Error::transport(Operation::Organization, &error)
                })
            }
        }
    }

    /// The feed between two moments, both in milliseconds, as HID orders it: unpaged and with no promise about the ends (origo-api.md 9.2).
    pub async fn events(&self, from: i64, to: i64) -> Result<Vec<RawEvent>, Error> {
        let mut call = self.events_call(Operation::Events, Method::GET, &["events"]);
        call.url
            .query_pairs_mut()
            .append_pair("dateFrom", &iso(from))
            .append_pair("dateTo", &iso(to));
        self.ask(call, &|| true, event::read).await
    }

    /// All event filters (origo-api.md 9.1).
    pub async fn filters(&self) -> Result<Vec<Filter>, Error> {
        let path = ["events", "filter"];
        let call = self.events_call(Operation::ListFilters, Method::GET, &path);
        self.ask(call, &|| true, wire::Reader::filters).await
    }

    /// Makes an event filter, which is not idempotent (origo-api.md 9.1).
    pub async fn create_filter(&self, statuses: &[&str]) -> Result<Filter, Error> {
        let call = Call {
            body: Some(request::create_filter(statuses)),
            ..self.events_call(Operation::CreateFilter, Method::POST, &["events", "filter"])
        };
        self.ask(call, &|| true, |_, body| wire::filter(body)).await
    }

    /// The organization: a cheap proof that credentials and Application-ID are good (origo-api.md 8).
    pub async fn organization(&self) -> Result<Organization, Error> {
        let call = self.get(Operation::Organization, &[]);
        self.ask(call, &|| true, wire::Reader::organization).await
    }

    /// HID's ids of a page of its active users, the first of them being the `start_index`th, from 1: one call. An empty
    /// page: there are no more.
    pub async fn users(&self, start_index: u32) -> Result<Vec<HidUserId>, Error> {
        let body = request::list_users(start_index);
        let call = self.post(Operation::SearchUser, &["users", ".search"], body);
        let ids = self.ask(call, &|| true, wire::Reader::locations).await?;
        Ok(ids.iter().filter_map(|id| HidUserId::parse(id)).collect())
    }

    /// One user with all that hangs below it: one call.
    pub async fn user(&self, id: &HidUserId) -> Result<UserSeen, Error> {
        let call = self.get(Operation::ReadUser, &["users", id.as_str()]);
        self.ask(call, &|| true, |reader, body| reader.user(body, Some(id)))
            .await
    }

    /// HID's ids of the organization's part numbers, at most 25: one call (origo-api.md 7).
    pub async fn part_number_ids(&self) -> Result<Vec<String>, Error> {
        let call = self.get(Operation::ListPartNumbers, &["part-number"]);
        let mut ids = self.ask(call, &|| true, wire::Reader::locations).await?;
        ids.truncate(25);
        Ok(ids)
    }

    /// One part number, by HID's id of it: one call.
    pub async fn part_number(&self, id: &str) -> Result<PartNumberSeen, Error> {
        let call = self.get(Operation::ReadPartNumber, &["part-number", id]);
        self.ask(call, &|| true, |_, body| wire::part_number(body))
            .await
    }

    /// The organization's part numbers, at most 25: one call for the list and one for each (origo-api.md 7).
    pub async fn part_numbers(&self) -> Result<Vec<PartNumberSeen>, Error> {
        let mut seen = Vec::new();
        for id in &self.part_number_ids().await? {
            seen.push(self.part_number(id).await?);
        }
        Ok(seen)
    }

    /// Replaces a user's data (origo-api.md 3.6).
    pub async fn update_user(
        &self,
        user: &HidUserId,
        new: &NewUser,
        may_send: &MaySend<'_>,
    ) -> Result<(), Error> {
        let call = Call {
            body: Some(request::update_user(new)),
            personal: personal(new),
            ..self.call(
                Operation::UpdateUser,
                Method::PUT,
                &["users", user.as_str()],
            )
        };
        self.tell(call, may_send).await
    }

    /// Deletes a phone with its keys (origo-api.md 5).
    pub async fn delete_container(
        &self,
        container: &ContainerId,
        may_send: &MaySend<'_>,
    ) -> Result<(), Error> {
        let path = ["credential-container", container.as_str()];
        self.tell(self.delete(Operation::DeletePhone, &path), may_send)
            .await
    }

    /// One key (origo-api.md 6.1).
    pub async fn get_credential(&self, credential: &CredentialId) -> Result<CredentialSeen, Error> {
        let path = ["credential", credential.as_str()];
        let call = self.get(Operation::ReadCredential, &path);
        self.ask(call, &|| true, |_, body| {
            wire::only_credential(body, Some(credential))
        })
        .await
    }

    /// One invitation (origo-api.md 4.1).
    pub async fn get_invitation(&self, invitation: &InvitationId) -> Result<InvitationSeen, Error> {
        let path = ["invitation", invitation.as_str()];
        let call = self.get(Operation::ReadInvitation, &path);
        self.ask(call, &|| true, |_, body| {
            wire::only_invitation(body, Some(invitation))
        })
        .await
    }

    /// A person says that HID may let us in again: the next login is tried at once.
    pub async fn forgive(&self) {
        self.tokens.forgive().await;
    }

    /// Logs in unless a token is at hand, and tells until when it lasts.
    pub async fn token(&self) -> Result<Timestamp, Error> {
        let token = self.tokens.get().await?;
        Ok(Timestamp(token.expires_at))
    }

    /// How far HID's last `Date` header was ahead of our clock, in milliseconds; its own precision is a second.
    #[must_use]
    pub fn clock_skew(&self) -> Option<i64> {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many entries of lists were left out so far because they could not be understood.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Every request so far, logins and replays included.
    #[must_use]
    pub fn requests(&self) -> Vec<Requests> {
        self.tally.requests()
    }

    fn skip(&self, entries: u64) {
        self.skipped.fetch_add(entries, Ordering::Relaxed);
    }

    fn get(&self, operation: Operation, path: &[&str]) -> Call<'static> {
        self.call(operation, Method::GET, path)
    }

    fn delete(&self, operation: Operation, path: &[&str]) -> Call<'static> {
        self.call(operation, Method::DELETE, path)
    }

    fn post(&self, operation: Operation, path: &[&str], body: Vec<u8>) -> Call<'static> {
        Call {
            body: Some(body),
            ..self.call(operation, Method::POST, path)
        }
    }

    fn call(&self, operation: Operation, method: Method, path: &[&str]) -> Call<'static> {
        let root = ["customer", &self.settings.organization_id];
        Call {
            operation,
            method,
            url: below(
                &self.settings.mobile_identities_url,
                &[&root, path].concat(),
            ),
            body: None,
            personal: Vec::new(),
        }
    }

    fn events_call(&self, operation: Operation, method: Method, path: &[&str]) -> Call<'static> {
        let root = ["organization", &self.settings.organization_id];
        Call {
            operation,
            method,
            url: below(&self.settings.events_url, &[&root, path].concat()),
            body: None,
            personal: Vec::new(),
        }
    }
}

/// `base` with `path` below it, whether or not it ends in a slash.
fn below(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

fn personal(user: &NewUser) -> Vec<&str> {
    vec![&user.given_name.0, &user.family_name.0, &user.email.0]
}

/// ISO 8601 in UTC with milliseconds (origo-api.md 9.2).
fn iso(millis: i64) -> String {
    let nearest = if millis < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    };
    format!(
        "{:.3}",
        jiff::Timestamp::from_millisecond(millis).unwrap_or(nearest)
    )
}
