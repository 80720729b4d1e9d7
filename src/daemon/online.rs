//! `check --online`: asks what the daemon would ask, once.

use std::sync::Arc;

use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Place};
use crate::origo::Unlimited;
use crate::store::sqlite::Sqlite;
use crate::store::{self, Options, Threads, postgres};
use crate::telemetry;

use super::build::client;
use super::opened::settings as database;

/// One thing that `check --online` looked at.
#[derive(Debug, serde::Serialize)]
pub struct Finding {
    /// What was asked: the store, or a service of a credential manager.
    pub subject: String,
    /// What it said.
    pub found: String,
    /// Why it could not be asked.
    pub error: Option<String>,
}

/// Asks the database, and of each credential manager the token service, the organization, the part
/// numbers and the feed; each at most once, and nothing further where the login fails.
pub async fn check_online(config: &Config) -> Vec<Finding> {
    let finding = |subject: String, result: Result<String, String>| match result {
        Ok(found) => Finding {
            subject,
            found,
            error: None,
        },
        Err(error) => Finding {
            subject,
            found: String::new(),
            error: Some(error),
        },
    };
    let mut findings = vec![finding("store".into(), store(&config.store.place).await)];
    for (name, settings) in &config.credential_managers {
        let subject = |service: &str| format!("credential_managers.{name}: {service}");
        let client = match client(
            &config.http,
            settings,
            Arc::new(SystemClock),
            Arc::new(Unlimited),
        ) {
            Ok(client) => client,
            Err(error) => {
                findings.push(finding(subject("client"), Err(format!("{error:#}"))));
                continue;
            }
        };
        let token = client.token().await.map(|_| "logged in".to_owned());
        let logged_in = token.is_ok();
        findings.push(finding(
            subject("token"),
            token.map_err(|error| error.to_string()),
        ));
        if !logged_in {
            continue;
        }
        let organization = client.organization().await.map(|_| "answers".to_owned());
        findings.push(finding(
            subject("organization"),
            organization.map_err(|error| error.to_string()),
        ));
        let parts = client
            .part_numbers()
            .await
            .map(|parts| format!("{} found", parts.len()));
        findings.push(finding(
            subject("part numbers"),
            parts.map_err(|error| error.to_string()),
        ));
        if settings.polling.events {
            let now = SystemClock.now();
            let events = client
                .events(now - 60_000, now)
                .await
                .map(|events| format!("{} in the last minute", events.len()));
            findings.push(finding(
                subject("events"),
                events.map_err(|error| error.to_string()),
            ));
        }
    }
    findings
}

/// Makes no database where there is none: it would be this user's, and not the daemon's.
async fn store(place: &Place) -> Result<String, String> {
    let path = match place {
        Place::Sqlite(path) => path,
        Place::Postgres(place) => {
            let version = postgres::version(&database(place)).await;
            return match version {
                Ok(0) => Ok("answers, and is empty; the daemon makes its tables".to_owned()),
                Ok(_) => Ok("answers".to_owned()),
                Err(error) => Err(telemetry::chain(&error)),
            };
        }
    };
    if !path.exists() {
        let folder = path.parent().unwrap_or(path);
        return if folder.is_dir() {
            Ok("not there yet; the daemon makes it".to_owned())
        } else {
            Err(format!("{} is no directory", folder.display()))
        };
    }
    let threads = Threads::Caller;
    match Sqlite::open(path, Options { threads }) {
        Ok(_) => Ok("opens".to_owned()),
        Err(store::Error::InUse) => Ok("in use: a daemon runs".to_owned()),
        Err(error) => Err(telemetry::chain(&error)),
    }
}
