//! From the merged tree to [`Config`]: one function per section, in the order of the types.

use std::collections::BTreeMap;
use std::time::Duration;

use config::Value;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::callbacks::callbacks;
use super::import::import;
use super::layers::Layers;
use super::listen::listen;
use super::manager::credential_manager;
use super::read::{Notes, Table};
use super::store::store;
use super::values::{
    SECOND, at_least, certificates, derive, directory, flag, hash, id, proxy_url, schedule, secret,
    text, whole, word,
};
use super::{
    AccessSystem, Api, ApiKey, Config, CredentialManager, Daemon, DesiredState, Error, Http,
    Issuance, Listen, Log, MassChangeGuard, Proxy, Scope, Store, Webhooks,
};
use crate::telemetry::Format;

/// The workspace of a site that names none; never changes, as every derived id hangs on it.
const WORKSPACE: Uuid = Uuid::from_u128(0x5a0f_6f8e_3c1d_4b7a_9e42_8d1c_60b3_f5a7);
const MS: Duration = Duration::from_millis(1);

/// Checks everything, and complains of everything.
pub(super) fn check(layers: &Layers) -> Result<Config, Error> {
    let notes = Notes::new(layers);
    let config = config(&notes, super::changed::values(&layers.merged));
    let complaints = notes.into_complaints();
    match config {
        Some(config) if complaints.is_empty() => Ok(config),
        _ => Err(Error { complaints }),
    }
}

/// Checks `store` alone.
pub(super) fn store_alone(layers: &Layers) -> Result<Store, Error> {
    let notes = Notes::new(layers);
    let store = store(notes.root().table("store"));
    alone(notes, "store.", store)
}

/// Checks where the API listens, alone.
pub(super) fn listen_alone(layers: &Layers) -> Result<Listen, Error> {
    let notes = Notes::new(layers);
    let listen = listen(&mut notes.root().table("api"));
    alone(notes, "api.", listen)
}

fn alone<T>(notes: Notes<'_>, section: &str, value: Option<T>) -> Result<T, Error> {
    let mut complaints = notes.into_complaints();
    complaints.retain(|complaint| complaint.key.starts_with(section));
    match value {
        Some(value) if complaints.is_empty() => Ok(value),
        _ => Err(Error { complaints }),
    }
}

fn config(notes: &Notes<'_>, values: super::changed::Values) -> Option<Config> {
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
    let directory = root.optional("desired_state_dir", directory);
    let prune = root.required("desired_state_prune", flag);
    let issuance = issuance(root.table("issuance"));
    let store = store(root.table("store"));
    let api = api(notes, root.table("api"));
    let callbacks = callbacks(root.table("callbacks"));
    let webhooks = webhooks(root.table("webhooks"));
    let http = http(root.table("http"));
    let log = log(root.table("log"));
    let daemon = daemon(root.table("daemon"));
    root.close();

    Some(Config {
        workspace_id,
        credential_managers: known(managers)?,
        access_systems: known(systems)?,
        desired_state: directory?
            .zip(prune)
            .map(|(directory, prune)| DesiredState { directory, prune }),
        issuance: issuance?,
        store: store?,
        api: api?,
        callbacks: callbacks?,
        webhooks: webhooks?,
        http: http?,
        log: log?,
        daemon: daemon?,
        values,
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

fn access_system(workspace_id: Uuid, name: &str, mut table: Table<'_>) -> Option<AccessSystem> {
    let acs_system_id = table.optional("acs_system_id", id);
    let credential_manager = table.required("credential_manager", text);
    let import = table.has("import").then(|| import(table.table("import")));
    table.close();
    let derived = derive(workspace_id, &format!("access_system/{name}"));
    Some(AccessSystem {
        acs_system_id: acs_system_id?.unwrap_or(derived),
        credential_manager: credential_manager?,
        import: match import {
            Some(import) => Some(import?),
            None => None,
        },
    })
}

fn issuance(mut table: Table<'_>) -> Option<Issuance> {
    let retry_schedule = table.required("retry_schedule", schedule);
    let settle_delay = table.required("settle_delay", at_least(MS));
    let late_effect_bound = table.required("late_effect_bound", at_least(MS));
    let give_up_after = table.required("give_up_after", at_least(MS));
    let mass_change_guard = mass_change_guard(table.table("mass_change_guard"));
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
        mass_change_guard: mass_change_guard?,
    })
}

fn mass_change_guard(mut table: Table<'_>) -> Option<MassChangeGuard> {
    let issues = table.required("issues", number_or_off);
    let revokes = table.required("revokes", number_or_off);
    let per = table.required("per", at_least(SECOND));
    table.close();
    Some(MassChangeGuard {
        issues: issues?,
        revokes: revokes?,
        per: per?,
    })
}

/// `None`: off.
fn number_or_off(value: &Value) -> Result<Option<u32>, String> {
    if text(value).is_ok_and(|text| text == "off") {
        return Ok(None);
    }
    let number = whole(0)(value).map_err(|message| format!("{message}, or \"off\""))?;
    Ok(Some(number))
}

fn api(notes: &Notes<'_>, mut table: Table<'_>) -> Option<Api> {
    let listen = listen(&mut table);
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

fn webhooks(mut table: Table<'_>) -> Option<Webhooks> {
    let allow_private = table.required("allow_private", flag);
    table.close();
    Some(Webhooks {
        allow_private: allow_private?,
    })
}

fn http(mut table: Table<'_>) -> Option<Http> {
    let url = table.optional("proxy", proxy_url);
    let credentials = table.optional("proxy_credentials_file", |value| {
        let credentials = secret(value)?;
        if credentials.expose_secret().contains(':') {
            Ok(credentials)
        } else {
            Err("must hold a user and a password with a colon between".into())
        }
    });
    let ca = table.optional("ca_file", certificates);
    if let (Some(None), Some(Some(_))) = (&url, &credentials) {
        table.complain("proxy", "missing: proxy_credentials_file needs it");
    }
    table.close();
    let credentials = credentials?;
    Some(Http {
        proxy: url?.map(|url| Proxy { url, credentials }),
        ca: ca?,
    })
}

fn log(mut table: Table<'_>) -> Option<Log> {
    let format = table.required(
        "format",
        word(&[
            ("auto", Format::Auto),
            ("journald", Format::Journald),
            ("json", Format::Json),
            ("text", Format::Text),
        ]),
    );
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
