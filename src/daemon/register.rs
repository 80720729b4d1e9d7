//! `callback register | list | remove`: asks HID's callback service, besides a daemon or without one. As with
//! `check --online`, these few calls are counted in no window: what the daemon leaves of it has room for them.

use std::sync::Arc;

use crate::clock::SystemClock;
use crate::config::{Callbacks, CredentialManager, Http};
use crate::origo::{Callback, CallbackId, Client, Error, Unlimited};

use super::build::client;

/// What a filter of ours lets pass: that a phone registered, and that a key reached it. A filter takes these names as
/// far as anybody knows (origo-api.md 9.1).
const WANTED: [&str; 2] = ["ENDPOINT_ACTIVE", "CREDENTIAL_ISSUED"];

/// The callbacks of one credential manager.
pub struct Register(Client);

/// What became of a registration.
#[derive(Debug)]
pub enum Added {
    /// It is new; `None`: HID does not show it yet.
    Now(Option<CallbackId>),
    /// It was there.
    Before(CallbackId),
}

impl Register {
    /// Sends nothing yet.
    pub fn open(http: &Http, settings: &CredentialManager) -> anyhow::Result<Self> {
        client(http, settings, Arc::new(SystemClock), Arc::new(Unlimited)).map(Self)
    }

    /// All there are.
    pub async fn list(&self) -> Result<Vec<Callback>, Error> {
        self.0.callbacks().await
    }

    /// Has HID post to `url` what passes `filter`, or a filter of ours, which is made where there is none. Nothing is
    /// done where that address is known already: HID tells neither header nor secret, so they can't be compared.
    pub async fn add(
        &self,
        url: &str,
        filter: Option<&str>,
        callbacks: &Callbacks,
    ) -> Result<Added, Error> {
        if let Some(id) = self.find(url).await? {
            return Ok(Added::Before(id));
        }
        let filter = match filter {
            Some(filter) => filter.to_owned(),
            None => self.our_filter().await?,
        };
        let (header, secret) = (callbacks.header.as_str(), &callbacks.secret);
        self.0.create_callback(url, &filter, header, secret).await?;
        Ok(Added::Now(self.find(url).await?))
    }

    /// HID posts there no more.
    pub async fn remove(&self, id: &CallbackId) -> Result<(), Error> {
        self.0.delete_callback(id).await
    }

    async fn find(&self, url: &str) -> Result<Option<CallbackId>, Error> {
        let mut known = self.list().await?.into_iter();
        let same = known.find(|callback| callback.url.as_deref() == Some(url));
        Ok(same.map(|callback| callback.id))
    }

    async fn our_filter(&self) -> Result<String, Error> {
        let is_ours = |names: &[String]| {
            names.len() == WANTED.len() && WANTED.iter().all(|name| names.iter().any(|n| n == name))
        };
        let mut filters = self.0.filters().await?.into_iter();
        if let Some(filter) = filters.find(|filter| is_ours(&filter.filter_set)) {
            return Ok(filter.id);
        }
        Ok(self.0.create_filter(&WANTED).await?.id)
    }
}
