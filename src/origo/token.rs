//! Logging in: one token for all calls, asked for by one task at a time (origo-api.md 2).
//!
//! The token is renewed early, given up when HID refuses it, and never shown. A refused login is
//! remembered, so that wrong credentials are never tried in a loop: too many failures can disable
//! the account (origo-api.md 2.2), and only 50 logins fit into five minutes (2.3).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use oauth2::basic::BasicClient;
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse,
    RequestTokenError, TokenResponse, TokenUrl,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::error::Error;
use super::fault::{Operation, Outcome, Service};
use super::login::Login;
use super::transport::{BodyCeiling, Transport, TransportError};
use super::{Now, Places, call, wire};
use crate::retry::Waits;

const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Where HID does not say how long a token lives.
const DEFAULT_LIFETIME: i64 = 300_000;
/// No token is believed for longer, whatever HID says.
const LONGEST_LIFETIME: i64 = 86_400_000;
/// Half of the token window (origo-api.md 2.3), spread evenly: a token is used at least as long, however short it claims to
/// live.
const SHORTEST_USE: i64 = 12_000;

/// The token at hand and the way to a new one.
pub(super) struct Tokens {
    transport: Arc<dyn Transport>,
    places: Arc<dyn Places>,
    now: Now,
    client_id: ClientId,
    login: Login,
    url: url::Url,
    state: Mutex<State>,
    /// The last token that HID took.
    accepted: AtomicU64,
}

struct State {
    serial: u64,
    held: Option<Token>,
    refused: Option<Refused>,
    /// Grows with failed logins.
    waits: Waits,
    /// Grows with fresh tokens that HID does not take.
    distrust: Waits,
    untaken: u32,
}

/// A token, opaque.
#[derive(Clone)]
pub(super) struct Token {
    serial: u64,
    secret: SecretString,
    obtained_at: i64,
    renew_at: i64,
    pub(super) expires_at: i64,
}

/// A failure that holds for a while.
struct Refused {
    at: i64,
    until: i64,
    error: Error,
}

impl Token {
    pub(super) fn expose(&self) -> &str {
        self.secret.expose_secret()
    }

    /// A clock that went back makes a token old, not young.
    fn is_fresh(&self, now: i64) -> bool {
        self.obtained_at <= now && now < self.renew_at
    }
}

impl Refused {
    fn holds(&self, now: i64) -> bool {
        self.at <= now && now < self.until
    }

    fn again(&self, now: i64) -> Error {
        let left = u64::try_from(self.until.saturating_sub(now)).unwrap_or(0);
        Error {
            retry_after: Some(Duration::from_millis(left)),
            ..self.error.clone()
        }
    }
}

impl Tokens {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        places: Arc<dyn Places>,
        now: Now,
        client_id: String,
        login: Login,
        url: url::Url,
    ) -> Self {
        Self {
            transport,
            places,
            now,
            client_id: ClientId::new(client_id),
            login,
            url,
            state: Mutex::new(State {
                serial: 0,
                held: None,
                refused: None,
                waits: Waits::new(FIRST_WAIT, LONGEST_WAIT),
                distrust: Waits::new(FIRST_WAIT, LONGEST_WAIT),
                untaken: 0,
            }),
            accepted: AtomicU64::new(0),
        }
    }

    /// The token at hand, or a new one. Whoever comes while one is being fetched waits for it; a token that is due for renewal but still valid bridges a failing login.
    pub(super) async fn get(&self) -> Result<Token, Error> {
        let mut state = self.state.lock().await;
        let now = (self.now)();
        if let Some(token) = state.held.as_ref().filter(|token| token.is_fresh(now)) {
            return Ok(token.clone());
        }
        if let Some(refused) = state.refused.as_ref().filter(|refused| refused.holds(now)) {
            let error = refused.again(now);
            return state.bridge(now).ok_or(error);
        }
        if let Some(wait) = self.places.take(Service::Token).await {
            let error = Error {
                retry_after: Some(wait),
                ..Error::new(
                    Operation::Token,
                    Outcome::Spent,
                    "our share of the token window is used up",
                )
            };
            return state.bridge(now).ok_or(error);
        }
        match self.log_in().await {
            Ok((secret, lifetime)) => {
                let now = (self.now)();
                state.serial += 1;
                let token = Token {
                    serial: state.serial,
                    secret,
                    obtained_at: now,
                    renew_at: now.saturating_add(usable_for(lifetime)),
                    expires_at: now.saturating_add(lifetime),
                };
                state.held = Some(token.clone());
                state.refused = None;
                state.waits.restart();
                Ok(token)
            }
            Err(error) => {
                let now = (self.now)();
                let asked = error.retry_after.unwrap_or_default();
                let wait = state.waits.grow().max(asked);
                let refused = Refused::new(now, wait, error);
                let error = refused.again(now);
                state.refused = Some(refused);
                state.bridge(now).ok_or(error)
            }
        }
    }

    /// HID does not take `token`. Tasks that fail with the same one cause one login; a second fresh token in a row that is not taken makes the next login wait.
    pub(super) async fn refuse(&self, token: &Token, error: &Error) {
        let mut state = self.state.lock().await;
        let is_current = state
            .held
            .as_ref()
            .is_some_and(|held| held.serial == token.serial);
        if !is_current {
            return;
        }
        state.held = None;
        if self.accepted.load(Ordering::Relaxed) == token.serial {
            state.untaken = 0;
            state.distrust.restart();
            return;
        }
        state.untaken += 1;
        if state.untaken > 1 {
            let wait = state.distrust.grow();
            state.refused = Some(Refused::new((self.now)(), wait, error.clone()));
        }
    }

    /// The next login does not wait for an earlier refusal's time to be over.
    pub(super) async fn forgive(&self) {
        self.state.lock().await.refused = None;
    }

    /// HID took `token`.
    pub(super) fn accept(&self, token: &Token) {
        self.accepted.fetch_max(token.serial, Ordering::Relaxed);
    }

    async fn log_in(&self) -> Result<(SecretString, i64), Error> {
        let adapter = Adapter {
            transport: &*self.transport,
            now: &self.now,
            nameless: matches!(self.login, Login::Key(_)),
        };
        let mut client = BasicClient::new(self.client_id.clone())
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(TokenUrl::from_url(self.url.clone()));
        let mut proof = Vec::new();
        match &self.login {
            Login::Secret(secret) => {
                client =
                    client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()));
            }
            Login::Key(signer) => {
                let fields = signer.fields(&self.client_id, self.url.as_str(), (self.now)());
                proof = fields.map_err(|error| {
                    Error::new(Operation::Token, Outcome::Unsent, &error.to_string())
                })?;
            }
        }
        let mut exchange = client.exchange_client_credentials();
        for (name, value) in proof {
            exchange = exchange.add_extra_param(name, value);
        }
        let answer = exchange.request_async(&adapter).await;
        // Nothing of the crate's own errors is shown: `Parse` holds the whole answer.
        let unintelligible = || {
            Error::new(
                Operation::Token,
                Outcome::Unintelligible,
                "the answer holds no token",
            )
        };
        let answer = answer.map_err(|error| match error {
            RequestTokenError::Request(Failed(error)) => *error,
            RequestTokenError::ServerResponse(_)
            | RequestTokenError::Parse(..)
            | RequestTokenError::Other(_) => unintelligible(),
        })?;
        let secret = answer.access_token().secret().clone();
        if secret.is_empty() || http::HeaderValue::from_str(&secret).is_err() {
            return Err(unintelligible());
        }
        let lifetime = answer.expires_in().map_or(DEFAULT_LIFETIME, |lifetime| {
            i64::try_from(lifetime.as_millis()).unwrap_or(LONGEST_LIFETIME)
        });
        Ok((secret.into(), lifetime.min(LONGEST_LIFETIME)))
    }
}

impl State {
    /// The old token, while it has not expired.
    fn bridge(&self, now: i64) -> Option<Token> {
        self.held
            .as_ref()
            .filter(|token| token.obtained_at <= now && now < token.expires_at)
            .cloned()
    }
}

impl Refused {
    fn new(at: i64, wait: Duration, error: Error) -> Self {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Self {
            at,
            until: at.saturating_add(wait),
            error,
        }
    }
}

/// 80 % of the lifetime, or all but its last minute if that is less; at least half of it, and never less than [`SHORTEST_USE`].
fn usable_for(lifetime: i64) -> i64 {
    (lifetime / 5 * 4)
        .min(lifetime - 60_000)
        .max(lifetime / 2)
        .max(SHORTEST_USE)
}

/// Lets the oauth2 crate speak through our transport. Answers everything but 200 itself, because the crate forgets status and `Retry-After` (dependencies.md 3.1).
struct Adapter<'a> {
    transport: &'a dyn Transport,
    now: &'a Now,
    /// The crate names the client in the body; an assertion does that itself, and HID's recipe has it alone (origo-api.md 2.4).
    nameless: bool,
}

/// An [`Error`] in a shape that the oauth2 crate hands through.
struct Failed(Box<Error>);

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failed {}

impl<'c> AsyncHttpClient<'c> for Adapter<'_> {
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Failed>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            self.exchange(request)
                .await
                .map_err(|e| Failed(Box::new(e)))
        })
    }
}

impl Adapter<'_> {
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, Error> {
        let mut request = request.map(|body| {
            if self.nameless {
                Bytes::from(without_client_id(&body))
            } else {
                Bytes::from(body)
            }
        });
        request.extensions_mut().insert(BodyCeiling::TOKEN);
        let answer = self
            .transport
            .send(request)
            .await
            .map_err(|error| Error::transport(Operation::Token, &error))?;
        if answer.status() != http::StatusCode::OK {
            let detail = wire::refusal(answer.body());
            return Err(call::refused(
                Operation::Token,
                &answer,
                &detail,
                &[],
                self.now,
            ));
        }
        if answer.body().len() > BodyCeiling::TOKEN.0 {
            let error = TransportError::Unanswered("the answer is too large".into());
            return Err(Error::transport(Operation::Token, &error));
        }
        // The crate checks the media type, of which the token does not depend.
        Ok(http::Response::new(answer.into_body().to_vec()))
    }
}

fn without_client_id(form: &[u8]) -> String {
    let fields = form_urlencoded::parse(form).filter(|(name, _)| name != "client_id");
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::usable_for;

    #[test]
    fn a_token_is_renewed_early_but_never_at_once() {
        for (lifetime, usable) in [
            (3_600, 2_880),
            (300, 240),
            (120, 60),
            (100, 50),
            (20, 12),
            (0, 12),
            (-5, 12),
        ] {
            assert_eq!(usable_for(lifetime * 1000), usable * 1000, "{lifetime}");
        }
    }
}
