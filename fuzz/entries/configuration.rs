//! A configuration: the text of the file and, below a line of its own, variables of the environment.
//!
//! `@secret` stands for the file with the secret. Texts that lead to other files are left alone: what they
//! hold is not the input's to decide.

use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use origo_adapter::config::{self, Config, Listen, Place};
use tempfile::TempDir;

const SECRET: &str = "Zwetschge-und-Quitte";
const VARIABLES: &str = "\n#### environment\n";

/// A folder with a secret and a configuration.
struct Site {
    _folder: TempDir,
    secret: String,
    file: PathBuf,
}

impl Site {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let secret = folder.path().join("secret");
        fs::write(&secret, format!("{SECRET}\n")).expect("written");
        Self {
            secret: secret.display().to_string(),
            file: folder.path().join("config.toml"),
            _folder: folder,
        }
    }

    /// Leads to no file but the secret.
    fn is_harmless(&self, text: &str) -> bool {
        text == self.secret || !(text.starts_with('/') || text.contains(".."))
    }

    fn is_harmless_value(&self, value: &toml::Value) -> bool {
        match value {
            toml::Value::String(text) => self.is_harmless(text),
            toml::Value::Array(values) => values.iter().all(|value| self.is_harmless_value(value)),
            toml::Value::Table(table) => table.values().all(|value| self.is_harmless_value(value)),
            toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_) => true,
        }
    }
}

thread_local! {
    static SITE: Site = Site::new();
}

/// Loads `data` as a configuration.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    SITE.with(|site| load(site, &text.replace("@secret", &site.secret)));
}

fn load(site: &Site, text: &str) {
    let (text, variables) = text.split_once(VARIABLES).unwrap_or((text, ""));
    let table = text.parse::<toml::Table>();
    let harmless = table
        .as_ref()
        .is_ok_and(|table| table.values().all(|value| site.is_harmless_value(value)));
    let variables: Vec<(String, String)> = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let harmless = harmless && variables.iter().all(|(_, value)| site.is_harmless(value));
    if table.is_ok() && !harmless {
        return;
    }
    fs::write(&site.file, text).expect("written");
    let loaded = config::load(Some(&site.file), variables.clone().into_iter());
    match &loaded {
        Ok(config) => {
            assert!(table.is_ok(), "what is no TOML was taken");
            check_secrecy(config);
            check(config);
            let again = config::load(Some(&site.file), variables.into_iter());
            let again = again.expect("the same is taken again");
            assert_eq!(format!("{config:?}"), format!("{again:?}"));
        }
        Err(error) => {
            check_secrecy(error);
            check_complaints(error);
            assert!(table.is_ok() || error.complaints.len() == 1, "{error}");
        }
    }
}

/// No text that could reach a log holds the secret (contract.md G7).
fn check_secrecy(shown: &impl Debug) {
    let shown = format!("{shown:?}");
    assert!(!shown.contains(SECRET), "{shown}");
}

/// At least one, sorted, none twice, each on one line.
fn check_complaints(error: &config::Error) {
    assert!(!error.complaints.is_empty());
    let pairs = error.complaints.windows(2);
    assert!(pairs.into_iter().all(|two| two[0] < two[1]), "{error:?}");
    for complaint in &error.complaints {
        let line = complaint.to_string();
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

/// What the types of the configuration promise.
fn check(config: &Config) {
    for (name, manager) in &config.credential_managers {
        assert!(config::is_name(name), "{name:?}");
        let digits = |c: char| c.is_ascii_digit();
        assert!(manager.organization_id.chars().all(digits));
        assert!(manager.request_timeout >= Duration::from_secs(1));
        assert!(manager.events_url.is_some() || !manager.polling.events);
        let urls = [&manager.token_url, &manager.mobile_identities_url];
        let more = manager.events_url.iter().chain(&manager.control_url);
        let more = more.chain(&manager.callback_url);
        for url in urls.into_iter().chain(more) {
            let local = matches!(url.host_str(), Some("localhost" | "[::1]"))
                || url.host_str().is_some_and(|host| host.starts_with("127."));
            assert!(url.scheme() == "https" || local, "{url}");
            assert!(
                url.username().is_empty() && url.password().is_none(),
                "{url}"
            );
        }
        let windows = &manager.windows;
        let shares = [&windows.mobile_identities, &windows.events, &windows.token];
        let shares = shares.map(|window| window.share);
        for share in shares.into_iter().chain([manager.polling.sweep_share]) {
            assert!(share > 0.0 && share <= 1.0, "{share}");
        }
    }
    for system in config.access_systems.values() {
        let manager = &system.credential_manager;
        assert!(config.credential_managers.contains_key(manager));
    }
    let issuance = &config.issuance;
    assert!(!issuance.retry_schedule.is_empty());
    assert!(issuance.retry_schedule.iter().all(|wait| !wait.is_zero()));
    assert!(issuance.late_effect_bound >= issuance.settle_delay);
    match &config.store.place {
        Place::Sqlite(path) => assert!(path.is_absolute()),
        Place::Postgres(place) => assert!(!place.user.is_empty() && !place.database.is_empty()),
    }
    assert!(config.store.head.is_absolute());
    if let Listen::Tcp(address, None) = &config.api.listen {
        assert!(address.ip().is_loopback());
    }
    assert!(config.api.keys.keys().all(|name| config::is_name(name)));
}
