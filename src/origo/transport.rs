//! The border to the network: one request out, one whole answer back.
//!
//! [`Transport`] is where tests put a simulator; [`HttpTransport`] is the real thing. It promises to
//! say honestly whether a request can have reached the server, because an issue in doubt must never
//! be repeated (contract.md G1): it follows no redirect, retries nothing and reads no proxy from the
//! environment. Error texts hold neither addresses nor bodies.

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use secrecy::{ExposeSecret as _, SecretString};

/// What [`Transport::send`] returns.
pub type Sending<'a> =
    Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, TransportError>> + Send + 'a>>;

/// Carries one HTTP request. The only place where bytes leave the process; tests and simulations put the simulator here.
pub trait Transport: Send + Sync {
    /// Sends `request` once and returns the whole answer, whatever its status.
    fn send(&self, request: http::Request<Bytes>) -> Sending<'_>;
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Not one byte of the request reached the server (refused, DNS, TLS, connect time-out): no effect.
    #[error("the request was not sent: {0}")]
    Unsent(String),
    /// Sent or maybe sent; no whole answer.
    #[error("the request has no whole answer: {0}")]
    Unanswered(String),
    /// Sent, and the answer is larger than the request's [`BodyCeiling`].
    #[error("the request has an answer that is too large: {0}")]
    Oversized(String),
}

/// The largest answer a request accepts, set in its extensions; [`BodyCeiling::DEFAULT`] where it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyCeiling(pub usize);

impl BodyCeiling {
    /// For a token (dependencies.md 3.1).
    pub const TOKEN: Self = Self(64 * 1024);
    /// For one object or one page of 25.
    pub const DEFAULT: Self = Self(1024 * 1024);
    /// For an unpaged list of events (origo-api.md 9.2).
    pub const EVENTS: Self = Self(4 * 1024 * 1024);
}

/// How to reach HID.
#[derive(Clone, Debug)]
pub struct Options {
    /// From the first byte sent to the last byte received, connecting included.
    pub request_timeout: Duration,
    /// All requests go through it where given; never taken from the environment.
    pub proxy: Option<Proxy>,
    /// PEM certificates trusted besides the system's.
    pub ca_certificates: Option<Vec<u8>>,
}

/// A proxy, and how to get past it.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Without user and password.
    pub url: url::Url,
    /// `user:password`.
    pub credentials: Option<SecretString>,
}

/// Real HTTP, over a pool of connections.
pub struct HttpTransport {
    client: reqwest::Client,
}

impl HttpTransport {
    /// Opens nothing yet; fails on a proxy or certificate that can't be used.
    pub fn new(options: &Options) -> Result<Self, TransportError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where the HTTP client is built, with time-outs and without redirects or retries"
        )]
        let mut builder = reqwest::Client::builder();
        builder = builder
            // Half of the whole, so that it fires first: a connect time-out is known to have no effect.
            .connect_timeout((options.request_timeout / 2).min(Duration::from_secs(10)))
            .timeout(options.request_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            // A timed-out HTTP/2 connection stays in the pool and takes all later requests with it.
            .http1_only()
            // Servers drop idle connections after about a minute; a call caught by that is a call in doubt.
            .pool_idle_timeout(Duration::from_secs(20))
            .user_agent(concat!("origo-adapter/", env!("CARGO_PKG_VERSION")));
        if let Some(proxy) = &options.proxy {
            let mut way = reqwest::Proxy::all(proxy.url.as_str()).map_err(unsent)?;
            let credentials = proxy.credentials.as_ref();
            let pair = credentials.and_then(|text| text.expose_secret().split_once(':'));
            if let Some((user, password)) = pair {
                way = way.basic_auth(user, password);
            }
            builder = builder.proxy(way);
        }
        if let Some(pem) = &options.ca_certificates {
            let bundle = reqwest::Certificate::from_pem_bundle(pem).map_err(unsent)?;
            builder = builder.tls_certs_merge(bundle);
        }
        Ok(Self {
            client: builder.build().map_err(unsent)?,
        })
    }

    async fn exchange(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let ceiling = request
            .extensions()
            .get::<BodyCeiling>()
            .copied()
            .unwrap_or(BodyCeiling::DEFAULT)
            .0;
        let request = reqwest::Request::try_from(request).map_err(unsent)?;
        let mut answer = self.client.execute(request).await.map_err(classify)?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(unanswered)? {
            if body.len() + chunk.len() > ceiling {
                return Err(TransportError::Oversized(format!(
                    "the answer is larger than {ceiling} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        response
            .body(body.freeze())
            .map_err(|error| TransportError::Unanswered(error.to_string()))
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: http::Request<Bytes>) -> Sending<'_> {
        Box::pin(self.exchange(request))
    }
}

/// Only what fails before a connection stands is certain to have sent nothing.
fn classify(error: reqwest::Error) -> TransportError {
    if error.is_connect() || error.is_builder() {
        unsent(error)
    } else {
        unanswered(error)
    }
}

fn unsent(error: reqwest::Error) -> TransportError {
    TransportError::Unsent(describe(error))
}

fn unanswered(error: reqwest::Error) -> TransportError {
    TransportError::Unanswered(describe(error))
}

/// The chain of causes without the address, which may hold ids.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
