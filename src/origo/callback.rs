//! The register of callbacks: whom HID tells of events, and with which secret (origo-api.md 9.4).
//!
//! Known are the verbs `POST` and `GET` and the body of registration; that one is removed by `DELETE` at its id is
//! what its neighbours do. Answers are read in any form that a list may have.

use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::call::Call;
use super::error::Error;
use super::fault::Operation;
use super::transport::TransportError;
use super::wire::{self, Reader};
use super::{Client, below, request};

/// HID's id of a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackId(String);

impl CallbackId {
    /// Takes what may stand in a path.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        wire::is_segment(text).then(|| Self(text.to_owned()))
    }

    /// As HID writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A registered callback. Its header and secret are never told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// HID's.
    pub id: CallbackId,
    /// Where HID posts.
    pub url: Option<String>,
    /// The filter that events must pass.
    pub filter: Option<String>,
}

impl Client {
    /// All callbacks of the organization: one call.
    pub async fn callbacks(&self) -> Result<Vec<Callback>, Error> {
        let call = self.callback_call(Operation::ListCallbacks, Method::GET, &[])?;
        self.ask(call, &|| true, read).await
    }

    /// Registers a callback, which is not idempotent: one call. What HID answers with is not known well enough to be
    /// read; [`Client::callbacks`] tells the id.
    pub async fn create_callback(
        &self,
        url: &str,
        filter: &str,
        header: &str,
        secret: &SecretString,
    ) -> Result<(), Error> {
        let secret = secret.expose_secret();
        let call = Call {
            body: Some(request::create_callback(url, filter, header, secret)),
            personal: vec![secret],
            ..self.callback_call(Operation::CreateCallback, Method::POST, &[])?
        };
        self.tell(call, &|| true).await
    }

    /// Removes a callback: one call.
    pub async fn delete_callback(&self, id: &CallbackId) -> Result<(), Error> {
        let path = [id.as_str()];
        let call = self.callback_call(Operation::DeleteCallback, Method::DELETE, &path)?;
        self.tell(call, &|| true).await
    }

    fn callback_call(
        &self,
        operation: Operation,
        method: Method,
        path: &[&str],
    ) -> Result<Call<'static>, Error> {
        let settings = self.settings();
        let base = settings.callback_url.as_ref().ok_or_else(|| {
            let error = TransportError::Unsent("the callback service has no address".into());
            Error::transport(operation, &error)
        })?;
        let root = ["organization", &settings.organization_id, "callback"];
        Ok(Call {
            operation,
            method,
            url: below(base, &[&root, path].concat()),
            body: None,
            personal: Vec::new(),
        })
    }
}

/// A list, or one callback in place of a list of one.
fn read(reader: &mut Reader, body: &Value) -> Option<Vec<Callback>> {
    match wire::listed(body) {
        Some(entries) => Some(reader.keep(entries, |_, entry| callback(entry))),
        None => callback(body).map(|only| vec![only]),
    }
}

fn callback(entry: &Value) -> Option<Callback> {
    let id = wire::text(entry, "callbackId").or_else(|| wire::text(entry, "id"))?;
    Some(Callback {
        id: CallbackId::parse(&id)?,
        // Whole, unlike what is only shown.
        url: wire::field(entry, "url")
            .and_then(Value::as_str)
            .map(str::to_owned),
        filter: wire::text(entry, "filterId"),
    })
}
