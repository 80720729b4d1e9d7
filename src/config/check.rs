//! From the merged tree to [`Config`]: one function per section, in the order of the types.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use config::Value;
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use super::layers::Layers;
use super::read::{
    LATER, Notes, Table, any_duration, at_least, base_url, digits, flag, id, schedule, share, text,
    whole, word,
};
use super::{
    AccessSystem, AdoptUsers, Api, ApiKey, CardProfile, Config, CredentialManager, Daemon,
    Delivery, Environment, Error, Invitations, Issuance, Log, PartNumber, Polling, Scope, Store,
    Window, WindowKey, Windows,
};
use crate::telemetry::Format;

/// The workspace of a site that names none; never changes, as every derived id hangs on it.
const WORKSPACE: Uuid = Uuid::from_u128(0x5a0f_6f8e_3c1d_4b7a_9e42_8d1c_60b3_f5a7);
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Checks everything, and complains of everything.
pub(super) fn check(layers: &Layers) -> Result<Config, Error> {
    let notes = Notes::new(layers);
    let config = config(&notes);
    let complaints = notes.into_complaints();
    match config {
        Some(config) if complaints.is_empty() => Ok(config),
        _ => Err(Error { complaints }),
    }
}

fn config(notes: &Notes<'_>) -> Option<Config> {
    let mut root = notes.root();
    let workspace = root.optional("workspace_id", id);
    // Derived ids need some workspace even while the configured one is being complained of.
    let workspace_id = workspace.flatten().unwrap_or(WORKSPACE);

    let defaults = root.table("credential_manager_defaults").partial();
    credential_manager(workspace_id, "", defaults);
    let managers = all(root.named("credential_managers"), |name, table| {
        credential_manager(workspace_id, name, table)
    });
    let systems = all(root.named("access_systems"), |name, table| {
        access_system(workspace_id, name, table)
    });
    check_references(notes, &managers, &systems);
    let issuance = issuance(root.table("issuance"));
    let store = store(root.table("store"));
    let api = api(notes, root.table("api"));
    let log = log(root.table("log"));
    let daemon = daemon(root.table("daemon"));
    root.close();

    Some(Config {
        workspace_id,
        credential_managers: known(managers)?,
        access_systems: known(systems)?,
        issuance: issuance?,
        store: store?,
        api: api?,
        log: log?,
        daemon: daemon?,
    })
}

/// By name; `None` for one that was complained of, so that its name is still known.
type ByName<T> = BTreeMap<String, Option<T>>;

fn all<'a, T>(
    tables: Vec<(String, Table<'a>)>,
    mut read: impl FnMut(&str, Table<'a>) -> Option<T>,
) -> ByName<T> {
    tables
        .into_iter()
        .map(|(name, table)| {
            let value = read(&name, table);
            (name, value)
        })
        .collect()
}

fn known<T>(values: ByName<T>) -> Option<BTreeMap<String, T>> {
    values
        .into_iter()
        .map(|(name, value)| Some((name, value?)))
        .collect()
}

/// What is seen only by looking at several sections at once.
fn check_references(
    notes: &Notes<'_>,
    managers: &ByName<CredentialManager>,
    systems: &ByName<AccessSystem>,
) {
    let mut ids = BTreeMap::new();
    let mut claim = |id: Uuid, key: String| {
        if let Some(other) = ids.get(&id) {
            notes.complain(&key, format!("{id} is taken by {other}"));
        } else {
            ids.insert(id, key);
        }
    };
    for (name, manager) in managers {
        let Some(manager) = manager else { continue };
        let key = format!("credential_managers.{name}");
        claim(manager.acs_system_id, format!("{key}.acs_system_id"));
        for (i, part) in manager.part_numbers.iter().enumerate() {
            claim(
                part.acs_credential_pool_id,
                format!("{key}.part_numbers.{i}.acs_credential_pool_id"),
            );
        }
    }
    for (name, system) in systems {
        let Some(system) = system else { continue };
        let key = format!("access_systems.{name}");
        claim(system.acs_system_id, format!("{key}.acs_system_id"));
        if !managers.contains_key(&system.credential_manager) {
            let manager = &system.credential_manager;
            notes.complain(
                &format!("{key}.credential_manager"),
                format!("there is no credential_managers.{manager}"),
            );
        }
    }
}

fn credential_manager(
    workspace_id: Uuid,
    name: &str,
    mut table: Table<'_>,
) -> Option<CredentialManager> {
    let acs_system_id = table.optional("acs_system_id", id);
    let organization_id = table.required("organization_id", digits);
    let environment = table.required(
        "environment",
        word(&[
            ("production", Environment::Production),
            ("certification", Environment::Certification),
            ("simulator", Environment::Simulator),
        ]),
    );
    let application_id = table.required("application_id", text);
    let application_version = table.required("application_version", text);
    let client_id = table.required("client_id", text);
    let client_secret = table.required("client_secret_file", secret);
    let request_timeout = table.required("request_timeout", at_least(SECOND));
    let default_part_number = table.optional("default_part_number", text);
    let adopt_users = table.required(
        "adopt_users",
        word(&[
            ("ours", AdoptUsers::Ours),
            ("by_email", AdoptUsers::ByEmail),
        ]),
    );
    let windows = windows(table.table("windows"));
    let polling = polling(table.table("polling"));
    let invitations = invitations(table.table("invitations"));

    let defaults = environment.map(Urls::of);
    let token_url = url(&mut table, "token_url", defaults.map(|urls| urls.token));
    let mobile_identities_url = url(
        &mut table,
        "mobile_identities_url",
        defaults.map(|urls| urls.mobile_identities),
    );
    let events_url = if polling.as_ref().is_some_and(|polling| !polling.events) {
        table.optional("events_url", base_url)
    } else {
        url(&mut table, "events_url", defaults.map(|urls| urls.events)).map(Some)
    };

    let acs_system_id = acs_system_id.map(|set| {
        set.unwrap_or_else(|| derive(workspace_id, &format!("credential_manager/{name}")))
    });
    let card_profiles = card_profiles(table.tables("card_profiles"));
    let part_numbers = part_numbers(acs_system_id, table.tables("part_numbers"));
    table.close();

    Some(CredentialManager {
        acs_system_id: acs_system_id?,
        organization_id: organization_id?,
        environment: environment?,
        token_url: token_url?,
        mobile_identities_url: mobile_identities_url?,
        events_url: events_url?,
        application_id: application_id?,
        application_version: application_version?,
        client_id: client_id?,
        client_secret: client_secret?,
        request_timeout: request_timeout?,
        default_part_number: default_part_number?,
        adopt_users: adopt_users?,
        windows: windows?,
        polling: polling?,
        invitations: invitations?,
        card_profiles: card_profiles?,
        part_numbers: part_numbers?,
    })
}

/// Where HID's services are when nothing else is said.
#[derive(Clone, Copy)]
struct Urls {
    token: Option<&'static str>,
    mobile_identities: Option<&'static str>,
    events: Option<&'static str>,
}

impl Urls {
    fn of(environment: Environment) -> Self {
        match environment {
            Environment::Production => Self {
                token: Some("https://api.origo.hidglobal.com"),
                mobile_identities: Some("https://ma.api.assaabloy.com/credential-management"),
                events: Some("https://event.api.origo.hidglobal.com"),
            },
            Environment::Certification => Self {
                token: Some("https://api.cert.origo.hidglobal.com"),
                mobile_identities: Some(
                    "https://cert.mi.api.origo.hidglobal.com/credential-management",
                ),
                // HID names none in public; whoever has an account is told.
                events: None,
            },
            Environment::Simulator => Self {
                token: None,
                mobile_identities: None,
                events: None,
            },
        }
    }
}

/// Reads a base that has a default in some environments: `default` is `None` while the
/// environment itself is being complained of.
fn url(table: &mut Table<'_>, key: &str, default: Option<Option<&str>>) -> Option<Url> {
    if let Some(url) = table.optional(key, base_url)? {
        return Some(url);
    }
    match default? {
        Some(default) => Some(Url::parse(default).expect("the built-in URLs are URLs")),
        None => {
            table.complain_missing(key, "missing: this environment has no default for it");
            None
        }
    }
}

fn windows(mut table: Table<'_>) -> Option<Windows> {
    let mut window = |key: &str| {
        let mut table = table.table(key);
        let requests = table.required("requests", whole(1));
        let per = table.required("per", at_least(SECOND));
        let share = table.required("share", share);
        table.close();
        Some(Window {
            requests: requests?,
            per: per?,
            share: share?,
        })
    };
    let mobile_identities = window("mobile_identities");
    let events = window("events");
    let token = window("token");
    let window_key = table.required(
        "window_key",
        word(&[
            ("organization", WindowKey::Organization),
            ("host", WindowKey::Host),
            ("both", WindowKey::Both),
        ]),
    );
    table.close();
    Some(Windows {
        mobile_identities: mobile_identities?,
        events: events?,
        token: token?,
        window_key: window_key?,
    })
}

fn polling(mut table: Table<'_>) -> Option<Polling> {
    let events = table.required("events", word(&[("on", true), ("off", false)]));
    let interval = table.required("interval", at_least(SECOND));
    let overlap = table.required("overlap", any_duration);
    let sweep_share = table.required("sweep_share", share);
    table.close();
    Some(Polling {
        events: events?,
        interval: interval?,
        overlap: overlap?,
        sweep_share: sweep_share?,
    })
}

fn invitations(mut table: Table<'_>) -> Option<Invitations> {
    let delivery = table.required(
        "delivery",
        word(&[("email", Delivery::Email), ("api", Delivery::Api)]),
    );
    let renew = table.required("renew", flag);
    let max_renewals = table.required("max_renewals", whole(0));
    table.close();
    Some(Invitations {
        delivery: delivery?,
        renew: renew?,
        max_renewals: max_renewals?,
    })
}

fn card_profiles(tables: Vec<Table<'_>>) -> Option<Vec<CardProfile>> {
    let mut seen = BTreeMap::new();
    let profiles: Vec<_> = tables
        .into_iter()
        .map(|mut table| {
            let card_format = table.required("card_format", text);
            let facility_code = table.required("facility_code", text);
            let part_number = table.required("part_number", text);
            if let (Some(format), Some(code)) = (&card_format, &facility_code) {
                let here = table.path_of("facility_code");
                if let Some(other) = seen.insert((format.clone(), code.clone()), here) {
                    // Exactly one profile must match a card, so twins match none.
                    table.complain(
                        "facility_code",
                        format!("the same card_format and facility_code as {other}"),
                    );
                }
            }
            table.close();
            Some(CardProfile {
                card_format: card_format?,
                facility_code: facility_code?,
                part_number: part_number?,
            })
        })
        .collect();
    profiles.into_iter().collect()
}

fn part_numbers(manager: Option<Uuid>, tables: Vec<Table<'_>>) -> Option<Vec<PartNumber>> {
    let mut seen = BTreeMap::new();
    let parts: Vec<_> = tables
        .into_iter()
        .map(|mut table| {
            let part_number = table.required("part_number", text);
            let pool = table.optional("acs_credential_pool_id", id);
            if let Some(part) = &part_number {
                let here = table.path_of("part_number");
                if let Some(other) = seen.insert(part.clone(), here) {
                    table.complain("part_number", format!("{part:?} is taken by {other}"));
                }
            }
            table.close();
            let part_number = part_number?;
            let derived = derive(manager?, &format!("credential_pool/{part_number}"));
            Some(PartNumber {
                acs_credential_pool_id: pool?.unwrap_or(derived),
                part_number,
            })
        })
        .collect();
    parts.into_iter().collect()
}

fn access_system(workspace_id: Uuid, name: &str, mut table: Table<'_>) -> Option<AccessSystem> {
    let acs_system_id = table.optional("acs_system_id", id);
    let credential_manager = table.required("credential_manager", text);
    table.close();
    let derived = derive(workspace_id, &format!("access_system/{name}"));
    Some(AccessSystem {
        acs_system_id: acs_system_id?.unwrap_or(derived),
        credential_manager: credential_manager?,
    })
}

fn issuance(mut table: Table<'_>) -> Option<Issuance> {
    let retry_schedule = table.required("retry_schedule", schedule);
    let settle_delay = table.required("settle_delay", at_least(MS));
    let late_effect_bound = table.required("late_effect_bound", at_least(MS));
    let give_up_after = table.required("give_up_after", at_least(MS));
    if let (Some(settle), Some(bound)) = (settle_delay, late_effect_bound)
        && settle > bound
    {
        table.complain("settle_delay", "must not exceed issuance.late_effect_bound");
    }
    if let (Some(bound), Some(give_up)) = (late_effect_bound, give_up_after)
        && give_up < bound
    {
        table.complain(
            "give_up_after",
            "must not be below issuance.late_effect_bound",
        );
    }
    table.close();
    Some(Issuance {
        retry_schedule: retry_schedule?,
        settle_delay: settle_delay?,
        late_effect_bound: late_effect_bound?,
        give_up_after: give_up_after?,
    })
}

fn store(mut table: Table<'_>) -> Option<Store> {
    let path = table.required("url", |value| {
        let url = text(value)?;
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            // The text is not repeated: such a URL may hold a password.
            return Err(format!("PostgreSQL: {LATER}"));
        }
        let path = url.strip_prefix("sqlite://").map(PathBuf::from);
        path.filter(|path| path.is_absolute() && path.file_name().is_some())
            .ok_or_else(|| "must be sqlite:// and the absolute path of a file".into())
    });
    table.close();
    Some(Store { path: path? })
}

fn api(notes: &Notes<'_>, mut table: Table<'_>) -> Option<Api> {
    let listen = table.required("listen", |value| {
        let text = text(value)?;
        if text.starts_with("unix:") {
            return Err(format!("a unix socket: {LATER}"));
        }
        let address: SocketAddr = text
            .parse()
            .map_err(|_| format!("must be an address and port, not {text:?}"))?;
        if address.ip().is_loopback() {
            Ok(address)
        } else {
            Err(format!("beyond loopback, {text:?}: {LATER}"))
        }
    });
    let keys = all(table.named("keys"), |_, mut table| {
        let scope = table.required(
            "scope",
            word(&[
                ("read", Scope::Read),
                ("invite", Scope::Invite),
                ("write", Scope::Write),
            ]),
        );
        let hash = table.required("hash", hash);
        table.close();
        Some(ApiKey {
            scope: scope?,
            hash: hash?,
        })
    });
    table.close();
    let mut seen = BTreeMap::new();
    for (name, key) in &keys {
        if let Some(other) = key.as_ref().and_then(|key| seen.insert(key.hash, name)) {
            notes.complain(
                &format!("api.keys.{name}.hash"),
                format!("the same key as api.keys.{other}"),
            );
        }
    }
    Some(Api {
        listen: listen?,
        keys: known(keys)?,
    })
}

fn log(mut table: Table<'_>) -> Option<Log> {
    let format = table.required("format", |value| {
        if text(value).is_ok_and(|text| text == "journald") {
            return Err(format!("\"journald\": {LATER}"));
        }
        word(&[
            ("auto", Format::Auto),
            ("json", Format::Json),
            ("text", Format::Text),
        ])(value)
    });
    let level = table.required(
        "level",
        word(&[
            ("error", tracing::Level::ERROR),
            ("warn", tracing::Level::WARN),
            ("info", tracing::Level::INFO),
            ("debug", tracing::Level::DEBUG),
            ("trace", tracing::Level::TRACE),
        ]),
    );
    let heartbeat = table.required("heartbeat", at_least(SECOND));
    table.close();
    Some(Log {
        format: format?,
        level: level?,
        heartbeat: heartbeat?,
    })
}

fn daemon(mut table: Table<'_>) -> Option<Daemon> {
    let shutdown_timeout = table.required("shutdown_timeout", at_least(MS));
    table.close();
    Some(Daemon {
        shutdown_timeout: shutdown_timeout?,
    })
}

fn derive(namespace: Uuid, name: &str) -> Uuid {
    Uuid::new_v5(&namespace, name.as_bytes())
}

/// Reads the file that a key names; no message ever holds what is in it.
fn secret(value: &Value) -> Result<SecretString, String> {
    let path = text(value)?;
    let secret = std::fs::read_to_string(&path).map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::InvalidData => "not UTF-8 text".into(),
            _ => error.to_string(),
        };
        format!("{path:?} cannot be read: {why}")
    })?;
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(format!("{path:?} is empty"));
    }
    Ok(SecretString::from(secret))
}

fn hash(value: &Value) -> Result<[u8; 32], String> {
    text(value)?
        .strip_prefix("sha256:")
        .and_then(unhex)
        .ok_or_else(|| "must be sha256: and 64 hexadecimal digits".into())
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}
