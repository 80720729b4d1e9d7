//! The configuration: what may be set, and the typed form in which each part gets its own.
//!
//! May use `core` and `telemetry`. Three layers are merged (`layers`): the compiled-in
//! `config/default.toml`, the file, the environment, which is read here and nowhere else.
//! The result is read key by key (`read`) and checked (`check`); every complaint is
//! reported at once, with its key and where it was set.

mod callbacks;
mod changed;
mod check;
mod duration;
mod import;
mod layers;
mod listen;
mod manager;
mod read;
mod store;
mod values;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;
use secrecy::SecretString;
use serde::Serialize;
use url::Url;
use uuid::Uuid;

pub use self::changed::{Changed, is_reloaded};
pub use self::listen::{Listen, Tls, UnixSocket};
pub use self::store::{Place, Postgres, PostgresTls, Store};
use crate::core::record::Field;
use crate::telemetry;
use crate::template::{Body, Format, Template};

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub workspace_id: Uuid,
    /// By configured name.
    pub credential_managers: BTreeMap<String, CredentialManager>,
    /// By configured name.
    pub access_systems: BTreeMap<String, AccessSystem>,
    /// Files of people that the daemon reads by itself.
    pub desired_state: Option<DesiredState>,
    pub issuance: Issuance,
    pub store: Store,
    pub api: Api,
    /// Absent: none are taken.
    pub callbacks: Option<Callbacks>,
    pub webhooks: Webhooks,
    pub http: Http,
    pub log: Log,
    pub daemon: Daemon,
    /// Every value as it was set.
    values: changed::Values,
}

/// One organization at HID Origo.
#[derive(Clone, Debug)]
pub struct CredentialManager {
    pub acs_system_id: Uuid,
    /// Digits.
    pub organization_id: String,
    pub environment: Environment,
    /// Bases of the services, with or without a closing slash; none follows from another.
    pub token_url: Url,
    pub mobile_identities_url: Url,
    /// Absent only where `polling.events` is off.
    pub events_url: Option<Url>,
    /// Where callbacks are registered; only the command line asks there.
    pub callback_url: Option<Url>,
    /// Where the simulator's control API is; without it there are no sandbox phones.
    pub control_url: Option<Url>,
    pub application_id: String,
    pub application_version: String,
    pub client_id: String,
    pub login: Login,
    pub request_timeout: Duration,
    pub default_part_number: Option<String>,
    pub adopt_users: AdoptUsers,
    pub windows: Windows,
    pub polling: Polling,
    pub invitations: Invitations,
    pub phones: Phones,
    /// Whether what somebody else takes away at HID is made again.
    pub repair_drift: bool,
    pub card_profiles: Vec<CardProfile>,
    pub part_numbers: Vec<PartNumber>,
}

/// How the system account proves who it is.
#[derive(Clone, Debug)]
pub enum Login {
    /// What `client_secret_file` holds, without its closing line end.
    Secret(SecretString),
    /// A signed assertion (`origo-api.md` 2.4).
    Key {
        /// An RSA key in PEM, PKCS#8, not encrypted.
        private_key: SecretString,
        /// Whom the assertion is for; absent: the token URL as it is called.
        audience: Option<String>,
        /// `client_assertion_type` where it is sent at all.
        assertion_type: Option<String>,
    },
}

/// Which of HID's installations an organization lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Production,
    Certification,
    Simulator,
}

/// Whose HID user may be taken over on an e-mail conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptUsers {
    /// One whose `externalId` is ours.
    Ours,
    /// One with the same e-mail address.
    ByEmail,
}

/// The rate windows of an organization's services.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Windows {
    pub mobile_identities: Window,
    pub events: Window,
    pub token: Window,
    pub window_key: WindowKey,
}

/// At most `requests` in any span of `per`, of which we use `share`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    pub requests: u32,
    pub per: Duration,
    /// Above 0, at most 1.
    pub share: f64,
}

/// What a window is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKey {
    Organization,
    Host,
    Both,
}

/// How phones are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Polling {
    /// Whether the events API is read; if not, waiting users are.
    pub events: bool,
    pub interval: Duration,
    /// How far each poll reaches back behind the last one.
    pub overlap: Duration,
    /// The sweep's part of the window, at most 1; 0: nobody is swept.
    pub sweep_share: f64,
}

/// How invitations reach people, and how often they are made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invitations {
    pub delivery: Delivery,
    pub renew: bool,
    pub max_renewals: u32,
}

/// Who hands out invitation codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// HID mails them.
    Email,
    /// The app fetches them.
    Api,
}

/// Which of a person's phones get keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phones {
    /// At least 1.
    pub max_per_identity: u32,
    pub over_limit: OverLimit,
    pub same_device: SameDevice,
}

/// What becomes of a phone beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    /// It waits until there is room.
    Refuse,
    /// The oldest one is deactivated.
    RetireOldest,
}

/// What becomes of the older of two phones of the same make and model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameDevice {
    /// It stays.
    KeepAll,
    /// It is deactivated.
    KeepNewest,
}

/// Which part number stands for which card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardProfile {
    pub card_format: String,
    pub facility_code: String,
    pub part_number: String,
}

/// A part number and the pool by which the API names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartNumber {
    pub part_number: String,
    pub acs_credential_pool_id: Uuid,
}

/// An access control system whose users carry keys.
#[derive(Clone, Debug)]
pub struct AccessSystem {
    pub acs_system_id: Uuid,
    /// The configured name of its default credential manager, which exists.
    pub credential_manager: String,
    /// How it is told of keys; without it a child counts as imported when its key is accepted.
    pub import: Option<Import>,
}

/// How an access system is told of keys.
#[derive(Clone, Debug)]
pub enum Import {
    /// One request a record.
    Http(HttpImport),
    /// Batches in a directory.
    Files(FilesImport),
}

/// An access system with an HTTP API.
#[derive(Clone, Debug)]
pub struct HttpImport {
    /// Has a place for `{child.id}`, and for nothing that may change.
    pub url: Template,
    pub method: &'static str,
    pub remove_method: &'static str,
    pub headers: Vec<(String, SecretString)>,
    pub body: Body,
    pub request_timeout: Duration,
    /// At most so many requests in any span of so long.
    pub window: (u32, Duration),
}

/// An access system that fetches files.
#[derive(Clone, Debug)]
pub struct FilesImport {
    /// Absolute, and there.
    pub directory: PathBuf,
    pub format: Format,
    /// Each once, `child.id` among them.
    pub fields: Vec<Field>,
    pub every: Duration,
}

/// A directory of desired-state files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredState {
    pub directory: PathBuf,
    /// What no file names any more is withdrawn.
    pub prune: bool,
}

/// How patiently keys are issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuance {
    /// Not empty; the last delay repeats.
    pub retry_schedule: Vec<Duration>,
    pub settle_delay: Duration,
    /// At least `settle_delay`.
    pub late_effect_bound: Duration,
    pub give_up_after: Duration,
    pub mass_change_guard: MassChangeGuard,
}

/// How much files may change at once before a person is asked; `None`: however much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MassChangeGuard {
    pub issues: Option<u32>,
    pub revokes: Option<u32>,
    pub per: Duration,
}

/// The HTTP API.
#[derive(Clone, Debug)]
pub struct Api {
    pub listen: Listen,
    /// By configured name.
    pub keys: BTreeMap<String, ApiKey>,
}

/// What a caller may do, known by the hash of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub scope: Scope,
    /// SHA-256 of the whole key text.
    pub hash: [u8; 32],
}

/// How far a key reaches; each scope includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Read,
    Invite,
    Write,
}

/// Where HID's callbacks are taken, and how they are known.
#[derive(Clone, Debug)]
pub struct Callbacks {
    /// A loopback address.
    pub listen: SocketAddr,
    /// In which HID sends the secret.
    pub header: HeaderName,
    /// What `secret_file` holds: 16 to 256 printable characters.
    pub secret: SecretString,
}

/// Who may be told of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Webhooks {
    /// Webhooks may lead to private addresses, and by plain HTTP.
    pub allow_private: bool,
}

/// How HID, access systems and webhooks are reached.
#[derive(Clone, Debug)]
pub struct Http {
    /// The way to HID; access systems and webhooks are called directly.
    pub proxy: Option<Proxy>,
    /// Certificates in PEM, at least one, that are trusted besides the system's.
    pub ca: Option<Vec<u8>>,
}

/// A proxy for outgoing HTTP.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Without user and password.
    pub url: Url,
    /// `user:password`.
    pub credentials: Option<SecretString>,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: telemetry::Format,
    pub level: tracing::Level,
    pub heartbeat: Duration,
}

/// The process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Daemon {
    pub shutdown_timeout: Duration,
}

/// One thing that is wrong, in one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Complaint {
    /// The dotted key; empty when the file as a whole cannot be read.
    pub key: String,
    /// The file or environment variable that set it, where known.
    pub origin: Option<String>,
    pub message: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            origin,
            message,
        } = self;
        let line = match origin {
            Some(origin) if key.is_empty() => format!("{origin}: {message}"),
            Some(origin) => format!("{key}: {message} (in {origin})"),
            None => format!("{key}: {message}"),
        };
        // A key in quotes may hold anything, line ends and a terminal's commands included.
        for c in line.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration; one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Not empty; sorted by key.
    pub complaints: Vec<Complaint>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, complaint) in self.complaints.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{complaint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Where systemd says that our files lie.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// Reads and checks the configuration: built-in defaults, then `path`, then the pairs of
/// `environment` that begin with `ORIGO_ADAPTER__`; systemd's `STATE_DIRECTORY` says where `head` lies.
pub fn load(
    path: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, Error> {
    let (of_systemd, ours): (Vec<_>, Vec<_>) =
        environment.partition(|(name, _)| name == STATE_DIRECTORY);
    let layers = layers::merge(path, ours.into_iter()).map_err(|complaint| Error {
        complaints: vec![complaint],
    })?;
    let mut config = check::check(&layers)?;
    // systemd names several with colons between.
    let directory = of_systemd
        .first()
        .and_then(|(_, names)| names.split(':').next());
    if let Some(directory) = directory.filter(|directory| !directory.is_empty())
        && !config.store.head_is_given
    {
        config.store.head = Path::new(directory).join("head");
    }
    Ok(config)
}

/// Reads where the truth is kept, and nothing else: what stands in other sections may be wrong, or its secrets out of
/// reach.
pub fn load_store(
    path: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Store, Error> {
    let ours = environment.filter(|(name, _)| name != STATE_DIRECTORY);
    let layers = layers::merge(path, ours).map_err(|complaint| Error {
        complaints: vec![complaint],
    })?;
    check::store_alone(&layers)
}

/// Reads where the API listens, and nothing else, as [`load_store`] does.
pub fn load_listen(
    path: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Listen, Error> {
    let ours = environment.filter(|(name, _)| name != STATE_DIRECTORY);
    let layers = layers::merge(path, ours).map_err(|complaint| Error {
        complaints: vec![complaint],
    })?;
    check::listen_alone(&layers)
}

/// Returns the part of the process's environment that is configuration.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .map(|(name, value)| {
            // Text that is no UTF-8 is shown as such by the complaint about its value.
            let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
            (lossy(name), lossy(value))
        })
        .filter(|(name, _)| name.starts_with(layers::PREFIX) || name == STATE_DIRECTORY)
}

/// What systemd says of the streams that it leads to its journal: `JOURNAL_STREAM`.
#[must_use]
pub fn journal_stream() -> Option<String> {
    std::env::vars_os()
        .find(|(name, _)| name == "JOURNAL_STREAM")
        .and_then(|(_, stream)| stream.into_string().ok())
}

/// Tells whether a site may give something this name.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !text.is_empty() && text.chars().all(plain)
}
