//! What a running daemon may take over of a configuration, and what waits for its next start.

use std::collections::{BTreeMap, BTreeSet};

use config::{Value, ValueKind};

use super::layers::entries;
use super::{Config, Listen};

/// Keys whose values a running daemon takes over; `*` stands for any one name, a closing `**` for all that is below.
const AT_ONCE: &[&str] = &[
    "api.keys.**",
    "api.tls_cert_file",
    "api.tls_key_file",
    "credential_manager_defaults.adopt_users",
    "credential_manager_defaults.default_part_number",
    "credential_manager_defaults.drift.**",
    "credential_manager_defaults.invitations.**",
    "credential_manager_defaults.phones.**",
    "credential_manager_defaults.windows.events.**",
    "credential_manager_defaults.windows.mobile_identities.**",
    "credential_manager_defaults.windows.token.**",
    "credential_managers.*.adopt_users",
    "credential_managers.*.card_profiles.**",
    "credential_managers.*.default_part_number",
    "credential_managers.*.drift.**",
    "credential_managers.*.invitations.**",
    "credential_managers.*.part_numbers.**",
    "credential_managers.*.phones.**",
    "credential_managers.*.windows.events.**",
    "credential_managers.*.windows.mobile_identities.**",
    "credential_managers.*.windows.token.**",
    "issuance.**",
    "log.level",
];

/// Every value that is set, by its dotted key, as text. Secrets are not among them: they stand in files.
pub(super) type Values = BTreeMap<String, String>;

pub(super) fn values(root: &Value) -> Values {
    let mut values = Values::new();
    walk(String::new(), root, &mut values);
    values
}

fn walk(key: String, value: &Value, values: &mut Values) {
    let below = |name: &str| {
        if key.is_empty() {
            name.to_owned()
        } else {
            format!("{key}.{name}")
        }
    };
    match &value.kind {
        ValueKind::Table(table) => {
            for (name, value) in entries(table) {
                walk(below(name), value, values);
            }
        }
        ValueKind::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                walk(below(&i.to_string()), item, values);
            }
        }
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_)
        | ValueKind::String(_) => {
            values.insert(key, value.kind.to_string());
        }
    }
}

/// The keys whose values differ between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// A running daemon has taken them over.
    pub at_once: BTreeSet<String>,
    /// They count from its next start on.
    pub at_restart: BTreeSet<String>,
}

impl Config {
    /// This configuration with everything of `wanted` that a running daemon takes over, and what was and was not.
    #[must_use]
    pub fn reloaded(&self, wanted: &Self) -> (Self, Changed) {
        let mut next = self.clone();
        next.issuance = wanted.issuance.clone();
        next.log.level = wanted.log.level;
        next.api.keys.clone_from(&wanted.api.keys);
        if let (Listen::Tcp(_, Some(tls)), Listen::Tcp(_, Some(new))) =
            (&mut next.api.listen, &wanted.api.listen)
        {
            *tls = new.clone();
        }
        for (name, manager) in &mut next.credential_managers {
            let Some(wanted) = wanted.credential_managers.get(name) else {
                continue;
            };
            let counted_by = manager.windows.window_key;
            manager.windows = wanted.windows;
            manager.windows.window_key = counted_by;
            manager.adopt_users = wanted.adopt_users;
            manager.invitations = wanted.invitations;
            manager.phones = wanted.phones;
            manager.repair_drift = wanted.repair_drift;
            manager.card_profiles.clone_from(&wanted.card_profiles);
            manager.part_numbers.clone_from(&wanted.part_numbers);
            manager
                .default_part_number
                .clone_from(&wanted.default_part_number);
        }
        let changed = differences(&self.values, &wanted.values, &self.credential_managers);
        for key in &changed.at_once {
            match wanted.values.get(key) {
                Some(value) => next.values.insert(key.clone(), value.clone()),
                None => next.values.remove(key),
            };
        }
        (next, changed)
    }
}

fn differences<T>(old: &Values, new: &Values, managers: &BTreeMap<String, T>) -> Changed {
    let mut changed = Changed::default();
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        if old.get(key) == new.get(key) {
            continue;
        }
        // A manager that is not there yet starts whole, or not at all.
        let unknown = key
            .strip_prefix("credential_managers.")
            .and_then(|rest| rest.split('.').next())
            .is_some_and(|name| !managers.contains_key(name));
        if !unknown && is_reloaded(key) {
            changed.at_once.insert(key.clone());
        } else {
            changed.at_restart.insert(key.clone());
        }
    }
    changed
}

/// Tells whether a running daemon takes over the value of a dotted key.
#[must_use]
pub fn is_reloaded(key: &str) -> bool {
    AT_ONCE.iter().any(|pattern| matches(pattern, key))
}

fn matches(pattern: &str, key: &str) -> bool {
    let mut names = key.split('.');
    for wanted in pattern.split('.') {
        if wanted == "**" {
            return names.next().is_some();
        }
        match names.next() {
            Some(name) if wanted == "*" || wanted == name => {}
            Some(_) | None => return false,
        }
    }
    names.next().is_none()
}
