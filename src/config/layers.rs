//! The layers: built-in defaults ← file ← environment, and the defaults of managers ←
//! each manager. Knows for every key who set it.

use std::collections::BTreeMap;
use std::path::Path;

use config::{ConfigError, FileFormat, Format as _, Map, Source, Value, ValueKind};

use super::Complaint;

pub(super) const PREFIX: &str = "ORIGO_ADAPTER__";
const DEFAULTS: &str = include_str!("../../config/default.toml");
/// Where complaints about the compiled-in text are placed.
const BUILT_IN: &str = "the built-in defaults";
/// What the `config` crate says of a value out of the environment.
const ENVIRONMENT: &str = "the environment";
const MANAGERS: &str = "credential_managers";
const MANAGER_DEFAULTS: &str = "credential_manager_defaults";

/// What is said of a key that nobody knows.
pub(super) const UNKNOWN: &str = "unknown key";

/// What was set, merged.
pub(super) struct Layers {
    /// As it was set.
    plain: Value,
    /// With the defaults of managers under each manager.
    pub(super) merged: Value,
    /// Of keys that were left out, as they could not be merged under their own names.
    pub(super) odd: Vec<Complaint>,
}

/// Merges the layers; fails only where one cannot be read at all.
pub(super) fn merge(
    path: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Layers, Complaint> {
    let mut odd = Vec::new();
    let mut builder = config::Config::builder().add_source(Text::parse(BUILT_IN, DEFAULTS)?);
    if let Some(path) = path {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| unreadable(&name, format!("cannot be read: {error}")))?;
        let mut text = Text::parse(&name, &text)?;
        odd.extend(text.take_odd(&name));
        builder = builder.add_source(text);
    }
    // No guessing of types: `00123` stays text, and numbers are read where one is wanted.
    let (strays, mut plain): (Vec<_>, Vec<_>) = environment.partition(|(name, _)| is_path(name));
    odd.extend(strays.iter().filter_map(|(name, _)| stray(name)));
    // One by one, because the crate's own order varies; a table's own name after what is below it, so that it
    // is complained of.
    plain.sort_by(|a, b| b.cmp(a));
    for variable in plain {
        let variables = config::Environment::with_prefix(PREFIX.trim_end_matches('_'))
            .prefix_separator("__")
            .separator("__")
            .try_parsing(false)
            .source(Some([variable].into()));
        builder = builder.add_source(variables);
    }
    let plain = builder.build().map_err(|error| explain(&error))?.cache;
    let merged = under_each_manager(plain.clone());
    Ok(Layers { plain, merged, odd })
}

/// The crate takes such a key for a way into other tables, or for a place in a list that it makes as long.
fn is_path(key: &str) -> bool {
    key.contains(['.', '['])
}

/// The complaint about a variable of ours whose name is a path.
fn stray(name: &str) -> Option<Complaint> {
    let key = name.strip_prefix(PREFIX)?;
    Some(Complaint {
        key: key.to_lowercase().replace("__", "."),
        origin: Some(name.into()),
        message: UNKNOWN.into(),
    })
}

/// What a text in TOML says; the crate's own file source would also try its name with other endings.
#[derive(Clone, Debug)]
struct Text(Map<String, Value>);

impl Text {
    fn parse(name: &str, text: &str) -> Result<Self, Complaint> {
        let parsed = FileFormat::Toml.parse(Some(&name.to_owned()), text);
        parsed.map(Self).map_err(|cause| {
            let uri = Some(name.into());
            explain(&ConfigError::FileParse { uri, cause })
        })
    }

    /// Leaves out the keys that are paths, and complains of each.
    fn take_odd(&mut self, name: &str) -> Vec<Complaint> {
        let odd = entries(&self.0).into_keys().filter(|key| is_path(key));
        let odd: Vec<String> = odd.map(str::to_owned).collect();
        let complaint = |key: String| {
            self.0.remove(&key);
            Complaint {
                key: format!("\"{key}\""),
                origin: Some(name.into()),
                message: UNKNOWN.into(),
            }
        };
        odd.into_iter().map(complaint).collect()
    }
}

impl Source for Text {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

fn unreadable(name: &str, message: String) -> Complaint {
    Complaint {
        key: String::new(),
        origin: Some(name.into()),
        message,
    }
}

/// Turns a parser's drawing of several lines into one line: where, and what.
fn explain(error: &ConfigError) -> Complaint {
    if let ConfigError::FileParse { uri, cause } = error {
        let text = cause.to_string();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let first = lines.next().unwrap_or_default().trim();
        let message = match lines.next_back() {
            Some(last) => format!("{first}: {}", last.trim()),
            None => first.into(),
        };
        return unreadable(uri.as_deref().unwrap_or_default(), message);
    }
    unreadable("configuration", error.to_string())
}

fn under_each_manager(mut root: Value) -> Value {
    let ValueKind::Table(tables) = &mut root.kind else {
        return root;
    };
    let defaults = tables.get(MANAGER_DEFAULTS).cloned();
    if let (Some(defaults), Some(managers)) = (defaults, tables.get_mut(MANAGERS))
        && let ValueKind::Table(managers) = &mut managers.kind
    {
        for manager in managers.values_mut() {
            fill(manager, &defaults);
        }
    }
    root
}

/// Adds what `value` lacks, table by table; lists are taken whole.
fn fill(value: &mut Value, defaults: &Value) {
    if let (ValueKind::Table(own), ValueKind::Table(defaults)) = (&mut value.kind, &defaults.kind) {
        for (key, default) in defaults {
            match own.get_mut(key) {
                Some(own) => fill(own, default),
                None => {
                    own.insert(key.clone(), default.clone());
                }
            }
        }
    }
}

impl Layers {
    /// Returns the key under which the value at `key` of the merged tree was really set.
    pub(super) fn set_as(&self, key: &str) -> String {
        let Some(rest) = key
            .strip_prefix(MANAGERS)
            .and_then(|rest| rest.strip_prefix('.'))
            .and_then(|rest| rest.split_once('.'))
            .map(|(_, rest)| rest)
        else {
            return key.into();
        };
        let general = format!("{MANAGER_DEFAULTS}.{rest}");
        if find(&self.plain, key).is_none() && find(&self.plain, &general).is_some() {
            general
        } else {
            key.into()
        }
    }

    /// Returns the file or environment variable that set `key`, if one did.
    pub(super) fn origin(&self, key: &str) -> Option<String> {
        origin(key, find(&self.plain, key)?)
    }
}

/// A merged table has no origin of its own; the first of its values in the order of names
/// that a site has set speaks for it.
fn origin(key: &str, value: &Value) -> Option<String> {
    if let ValueKind::Table(table) = &value.kind {
        return entries(table)
            .into_iter()
            .find_map(|(name, value)| origin(&format!("{key}.{name}"), value));
    }
    match value.origin()? {
        BUILT_IN => None,
        ENVIRONMENT => Some(variable(key)),
        file => Some(file.into()),
    }
}

/// Returns what is in a table, in the order of names.
pub(super) fn entries(table: &Map<String, Value>) -> BTreeMap<&str, &Value> {
    let mut sorted = BTreeMap::new();
    for (name, value) in table {
        sorted.insert(name.as_str(), value);
    }
    sorted
}

/// Returns the environment variable that sets `key`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

fn find<'v>(root: &'v Value, key: &str) -> Option<&'v Value> {
    key.split('.').try_fold(root, |at, step| match &at.kind {
        ValueKind::Table(table) => table.get(step),
        ValueKind::Array(list) => list.get(step.parse::<usize>().ok()?),
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_)
        | ValueKind::String(_) => None,
    })
}
