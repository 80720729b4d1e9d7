//! How every call goes: a token, one request, once more after a 401, and one error for all that can fail.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use http::{HeaderValue, Method};
use serde_json::Value;

use super::error::{Error, scrub};
use super::fault::{Operation, Outcome, Service};
use super::token::Token;
use super::transport::{BodyCeiling, TransportError};
use super::wire::{self, Reader};
use super::{Client, MaySend, Now, request};

/// Longest wait taken over from a `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// One request, but for its headers.
pub(super) struct Call<'a> {
    pub(super) operation: Operation,
    pub(super) method: Method,
    pub(super) url: url::Url,
    pub(super) body: Option<Vec<u8>>,
    /// Words that no error text may repeat.
    pub(super) personal: Vec<&'a str>,
}

impl Client {
    /// Sends `call` and reads the answer with `read`; an answer that `read` does not understand is an error.
    pub(super) async fn ask<T>(
        &self,
        call: Call<'_>,
        may_send: &MaySend<'_>,
        read: impl FnOnce(&mut Reader, &Value) -> Option<T>,
    ) -> Result<T, Error> {
        let operation = call.operation;
        let answer = self.exchange(call, may_send).await?;
        let body = if answer.status() == http::StatusCode::NO_CONTENT {
            Some(Value::Array(Vec::new()))
        } else {
            serde_json::from_slice(answer.body()).ok()
        };
        let mut reader = Reader::default();
        let seen = body.and_then(|body| read(&mut reader, &body));
        self.skip(reader.skipped);
        seen.ok_or_else(|| Error {
            status: Some(answer.status().as_u16()),
            request_id: request_id(answer.headers()),
            ..Error::new(
                operation,
                Outcome::Unintelligible,
                "the answer can't be understood",
            )
        })
    }

    /// Sends `call`; any 2xx will do.
    pub(super) async fn tell(&self, call: Call<'_>, may_send: &MaySend<'_>) -> Result<(), Error> {
        self.exchange(call, may_send).await.map(|_| ())
    }

    async fn exchange(
        &self,
        call: Call<'_>,
        may_send: &MaySend<'_>,
    ) -> Result<http::Response<Bytes>, Error> {
        let operation = call.operation;
        let mut is_replay = false;
        loop {
            let token = self.tokens.get().await?;
            let request = self.request(&call, &token).map_err(|error| {
                let error = TransportError::Unsent(format!("no such request: {error}"));
                Error::transport(operation, &error)
            })?;
            if !may_send() {
                return Err(Error::lease_over(operation));
            }
            let answer = self
                .transport
                .send(request)
                .await
                .map_err(|error| Error::transport(operation, &error))?;
            self.note_date(answer.headers());
            let code = answer.status().as_u16();
            if code < 500 && !matches!(code, 401 | 403 | 429) {
                self.tokens.accept(&token);
            }
            if answer.status().is_success() {
                return Ok(answer);
            }
            let detail = wire::refusal(answer.body());
            let error = refused(operation, &answer, &detail, &call.personal, &self.now);
            if code != 401 {
                return Err(error);
            }
            self.tokens.refuse(&token, &error).await;
            if is_replay || self.places.take(operation.service()).await.is_some() {
                return Err(error);
            }
            is_replay = true;
        }
    }

    fn request(&self, call: &Call<'_>, token: &Token) -> http::Result<http::Request<Bytes>> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose()))?;
        authorization.set_sensitive(true);
        let service = call.operation.service();
        let media_type = match service {
            Service::MobileIdentities => request::MEDIA_TYPE,
            Service::Events | Service::Token => "application/json",
        };
        let ceiling = match service {
            Service::Events => BodyCeiling::EVENTS,
            Service::MobileIdentities | Service::Token => BodyCeiling::DEFAULT,
        };
        let mut request = http::Request::builder()
            .method(call.method.clone())
            .uri(call.url.as_str())
            .header(AUTHORIZATION, authorization)
            .header("application-id", &self.settings.application_id)
            .header("application-version", &self.settings.application_version)
            .extension(call.operation)
            .extension(ceiling);
        if call.method == Method::GET {
            request = request.header(ACCEPT, media_type);
        }
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, media_type);
        }
        request.body(call.body.clone().unwrap_or_default().into())
    }

    fn note_date(&self, headers: &HeaderMap) {
        if let Some(date) = headers.get(DATE).and_then(http_date) {
            let skew = date.saturating_sub((self.now)());
            *self
                .skew
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(skew);
        }
    }
}

/// The error of an answer that is no 2xx.
pub(super) fn refused(
    operation: Operation,
    answer: &http::Response<Bytes>,
    detail: &str,
    personal: &[&str],
    now: &Now,
) -> Error {
    let code = answer.status().as_u16();
    Error {
        request_id: request_id(answer.headers()),
        detail: scrub(detail, personal),
        retry_after: retry_after(answer.headers(), now),
        ..Error::new(operation, Outcome::Status { code, detail }, "")
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = ["x-request-id", "x-requestid", "x-correlation-id"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())?;
    let kept: String = id.chars().filter(char::is_ascii_graphic).take(64).collect();
    (!kept.is_empty()).then_some(kept)
}

/// Seconds or a date.
fn retry_after(headers: &HeaderMap, now: &Now) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?;
    let seconds = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let wait = seconds.map(Duration::from_secs).or_else(|| {
        let millis = http_date(value)?.saturating_sub(now());
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
    })?;
    Some(wait.min(LONGEST_WAIT))
}

fn http_date(value: &HeaderValue) -> Option<i64> {
    let at = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(value.as_bytes())
        .ok()?;
    Some(at.as_millisecond())
}
