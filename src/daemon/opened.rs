//! The store that the configuration names, opened.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::loops::store_failed;
use crate::config;
use crate::config::Place;
use crate::emit;
use crate::lifecycle;
use crate::retry::Waits;
use crate::store::postgres::{self, Client, Host, Postgres, Settings, Tls};
use crate::store::sqlite::Sqlite;
use crate::store::{Error, Options, Store};
use crate::telemetry::STORE_STANDBY;

/// A database that is away, or that somebody has alone, is looked for this often, at first and at last.
const SOON: Duration = Duration::from_millis(250);
const LATE: Duration = Duration::from_secs(10);
/// Each look may take so long, and systemd is to wait for it.
const LOOK: Duration = Duration::from_mins(1);

/// A store, and whether its last owner did not get to close it.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    /// One that may lose what it acknowledged, when its server's standby takes over.
    pub(super) postgres: Option<Postgres>,
    pub(super) crashed: bool,
}

/// Opens it for a daemon; waits for a database on a server that is away, or that somebody has alone.
pub(super) async fn open(place: &Place) -> anyhow::Result<Opened> {
    let opened = match place {
        Place::Sqlite(path) => Sqlite::open(path, Options::default()).map(|store| Opened {
            crashed: store.crashed(),
            postgres: None,
            store: Arc::new(store),
        }),
        Place::Postgres(place) => wait(&settings(place)).await.map(|store| Opened {
            crashed: false,
            postgres: Some(store.clone()),
            store: Arc::new(store),
        }),
    };
    opened.with_context(|| format!("opening the store {place}"))
}

/// Asks until there is an answer: whoever starts waits for a database that is away, or slow. Refused as `ask` is.
pub(super) async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut waits = Waits::new(SOON, LATE);
    loop {
        let answered = tokio::select! {
            answered = ask() => answered,
            never = still_asks() => match never {},
        };
        match answered {
            Err(error) if postgres::is_away(&error) => {
                lifecycle::starting("waiting for the database", LOOK);
                store_failed(&error);
            }
            answered => return answered,
        }
        tokio::time::sleep(waits.grow()).await;
    }
}

/// An answer may take long: that of a database whose schema is brought up to date first.
async fn still_asks() -> Infallible {
    loop {
        tokio::time::sleep(LOOK / 2).await;
        lifecycle::starting("waiting for the database", LOOK);
    }
}

async fn wait(settings: &Settings) -> Result<Postgres, Error> {
    let mut waits = Waits::new(SOON, LATE);
    let mut is_told = false;
    loop {
        match patiently(|| Postgres::join(settings)).await {
            Err(Error::InUse) => {
                lifecycle::starting("standing by: the database is copied to or migrated", LOOK);
                if !std::mem::replace(&mut is_told, true) {
                    emit!(STORE_STANDBY; "the database is copied to or migrated; the daemon stands by");
                }
            }
            opened => return opened,
        }
        tokio::time::sleep(waits.grow()).await;
    }
}

/// How a configured database is reached.
#[must_use]
pub fn settings(place: &config::Postgres) -> Settings {
    let host = if place.host.starts_with('/') {
        Host::Socket(place.host.clone().into(), place.port)
    } else {
        Host::Tcp(place.host.clone(), place.port)
    };
    let tls = place.tls.as_ref().map_or(Tls::Off, |tls| {
        let client = tls.client.clone();
        let client = client.map(|(certificate, key)| Client { certificate, key });
        match tls.roots.clone() {
            Some(roots) => Tls::Verified(roots, client),
            None => Tls::Unverified(client),
        }
    });
    Settings {
        host,
        user: place.user.clone(),
        password: place.password.clone(),
        database: place.database.clone(),
        tls,
    }
}
