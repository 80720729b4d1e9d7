//! Reads tables of the merged tree key by key. Nothing stops at the first complaint: a
//! value that cannot be used is `None` and its complaint is noted; what nobody has asked
//! for when a table is closed is an unknown key.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use config::{Value, ValueKind};
use url::Url;
use uuid::Uuid;

use super::layers::Layers;
use super::{Complaint, duration};

/// Keys that are promised, but not by this version; `*` stands for any name.
const NOT_YET: &[&str] = &[
    "access_systems.*.import",
    "api.socket_group",
    "api.socket_mode",
    "api.tls_cert_file",
    "api.tls_key_file",
    "callbacks",
    "credential_managers.*.audience",
    "credential_managers.*.callback_url",
    "credential_managers.*.client_assertion_type",
    "credential_managers.*.control_url",
    "credential_managers.*.drift",
    "credential_managers.*.phones",
    "credential_managers.*.private_key_file",
    "desired_state_dir",
    "http",
    "issuance.mass_change_guard",
    "webhooks",
];

/// What is said of a promised key or value.
pub(super) const LATER: &str = "not yet";

/// Collects complaints.
pub(super) struct Notes<'a> {
    layers: &'a Layers,
    complaints: RefCell<Vec<Complaint>>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(layers: &'a Layers) -> Self {
        Self {
            layers,
            complaints: RefCell::default(),
        }
    }

    /// Returns the whole tree as a table.
    pub(super) fn root(&self) -> Table<'_> {
        self.table_at(String::new(), Some(&self.layers.merged))
    }

    pub(super) fn complain(&self, key: &str, message: impl Into<String>) {
        let key = self.layers.set_as(key);
        self.complaints.borrow_mut().push(Complaint {
            origin: self.layers.origin(&key),
            key,
            message: message.into(),
        });
    }

    /// Returns every complaint once, in the order of keys.
    pub(super) fn into_complaints(self) -> Vec<Complaint> {
        let mut complaints = self.complaints.into_inner();
        complaints.sort();
        complaints.dedup();
        complaints
    }

    fn table_at<'t>(&'t self, path: String, value: Option<&'t Value>) -> Table<'t> {
        let mut table = Table {
            notes: self,
            path,
            left: BTreeMap::new(),
            partial: false,
        };
        match value.map(|value| &value.kind) {
            Some(ValueKind::Table(entries)) => {
                table.left = entries
                    .into_iter()
                    .map(|(key, value)| (key.as_str(), value))
                    .collect();
            }
            Some(_) => {
                table.partial = true;
                self.complain(
                    &table.path,
                    format!("must be a table, not {}", value.map_or("".into(), show)),
                );
            }
            None => {}
        }
        table
    }
}

/// A table, and which of its keys nobody has asked for so far.
pub(super) struct Table<'a> {
    notes: &'a Notes<'a>,
    path: String,
    left: BTreeMap<&'a str, &'a Value>,
    /// Whether missing keys are no news: they come from elsewhere, or the complaint about
    /// the whole table covers them.
    partial: bool,
}

impl<'a> Table<'a> {
    /// Lets missing keys be.
    pub(super) fn partial(mut self) -> Self {
        self.partial = true;
        self
    }

    /// Returns the dotted path of one of its keys.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.into()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub(super) fn complain(&self, key: &str, message: impl Into<String>) {
        self.notes.complain(&self.path_of(key), message);
    }

    /// Reads a value that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.optional(key, parse)?;
        if value.is_none() {
            self.complain_missing(key, "missing");
        }
        value
    }

    /// Complains of a missing value, unless that is no news.
    pub(super) fn complain_missing(&self, key: &str, message: &str) {
        if !self.partial {
            self.complain(key, message);
        }
    }

    /// Reads a value that may be absent: `Some(None)`.
    #[expect(
        clippy::option_option,
        reason = "the outer one says whether the value is usable, like everywhere here"
    )]
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let Some(value) = self.left.remove(key) else {
            return Some(None);
        };
        match parse(value) {
            Ok(value) => Some(Some(value)),
            Err(message) => {
                self.complain(key, message);
                None
            }
        }
    }

    /// Opens a table; an absent one is empty.
    pub(super) fn table(&mut self, key: &str) -> Table<'a> {
        let mut table = self
            .notes
            .table_at(self.path_of(key), self.left.remove(key));
        table.partial |= self.partial;
        table
    }

    /// Opens a table of tables that a site names itself.
    pub(super) fn named(&mut self, key: &str) -> Vec<(String, Table<'a>)> {
        let mut names = self.table(key);
        let keys: Vec<&str> = names.left.keys().copied().collect();
        keys.into_iter()
            .map(|name| {
                if !super::is_name(name) {
                    names.complain(name, "a name has lower-case letters, digits and _ only");
                }
                (name.into(), names.table(name))
            })
            .collect()
    }

    /// Opens a list of tables; an absent one is empty.
    pub(super) fn tables(&mut self, key: &str) -> Vec<Table<'a>> {
        let Some(value) = self.left.remove(key) else {
            return Vec::new();
        };
        let ValueKind::Array(items) = &value.kind else {
            self.complain(
                key,
                format!("must be a list of tables, not {}", show(value)),
            );
            return Vec::new();
        };
        let path = self.path_of(key);
        items
            .iter()
            .enumerate()
            .map(|(i, item)| self.notes.table_at(format!("{path}.{i}"), Some(item)))
            .collect()
    }

    /// Complains of every key that nobody has asked for.
    pub(super) fn close(self) {
        for key in self.left.keys() {
            let path = self.path_of(key);
            let known = NOT_YET.iter().any(|pattern| matches(pattern, &path));
            self.notes
                .complain(&path, if known { LATER } else { "unknown key" });
        }
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let path = path.replace("credential_manager_defaults.", "credential_managers.*.");
    pattern.split('.').count() == path.split('.').count()
        && pattern
            .split('.')
            .zip(path.split('.'))
            .all(|(want, have)| want == "*" || want == have)
}

/// Shows a value in a complaint.
fn show(value: &Value) -> String {
    match &value.kind {
        ValueKind::Nil => "nothing".into(),
        ValueKind::Boolean(flag) => flag.to_string(),
        ValueKind::I64(number) => number.to_string(),
        ValueKind::I128(number) => number.to_string(),
        ValueKind::U64(number) => number.to_string(),
        ValueKind::U128(number) => number.to_string(),
        ValueKind::Float(number) => number.to_string(),
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(_) => "a list".into(),
        ValueKind::Table(_) => "a table".into(),
    }
}

fn string(value: &Value) -> Option<&str> {
    if let ValueKind::String(text) = &value.kind {
        Some(text)
    } else {
        None
    }
}

/// Reads text that is not empty.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match string(value) {
        Some("") => Err("must not be empty".into()),
        Some(text) => Ok(text.into()),
        None => Err(format!("must be text in quotes, not {}", show(value))),
    }
}

/// Reads digits.
pub(super) fn digits(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text)
    } else {
        Err(format!("must be digits in quotes, not {text:?}"))
    }
}

/// Reads one of a few words.
pub(super) fn word<'a, T: Copy>(
    words: &'a [(&'a str, T)],
) -> impl FnOnce(&Value) -> Result<T, String> + use<'a, T> {
    move |value| {
        string(value)
            .and_then(|text| words.iter().find(|(word, _)| *word == text))
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| {
                let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                format!("must be {}, not {}", words.join(" or "), show(value))
            })
    }
}

/// Reads true or false.
pub(super) fn flag(value: &Value) -> Result<bool, String> {
    match &value.kind {
        ValueKind::Boolean(flag) => Some(*flag),
        ValueKind::String(text) => text.parse().ok(),
        ValueKind::Nil
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_)
        | ValueKind::Array(_)
        | ValueKind::Table(_) => None,
    }
    .ok_or_else(|| format!("must be true or false, not {}", show(value)))
}

/// Reads a whole number of at least `least`; as text where it comes from the environment.
pub(super) fn whole(least: u32) -> impl FnOnce(&Value) -> Result<u32, String> {
    move |value| {
        match &value.kind {
            ValueKind::I64(number) => u32::try_from(*number).ok(),
            ValueKind::String(text) => text.parse().ok(),
            ValueKind::Nil
            | ValueKind::Boolean(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_)
            | ValueKind::Array(_)
            | ValueKind::Table(_) => None,
        }
        .filter(|number| *number >= least)
        .ok_or_else(|| {
            format!(
                "must be a whole number from {least} to {}, not {}",
                u32::MAX,
                show(value)
            )
        })
    }
}

/// Reads a number above 0 and at most 1.
pub(super) fn share(value: &Value) -> Result<f64, String> {
    match &value.kind {
        ValueKind::Float(number) => Some(*number),
        ValueKind::I64(1) => Some(1.0),
        ValueKind::String(text) => text.parse().ok(),
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Array(_)
        | ValueKind::Table(_) => None,
    }
    .filter(|number| *number > 0.0 && *number <= 1.0)
    .ok_or_else(|| {
        format!(
            "must be a number above 0 and at most 1, not {}",
            show(value)
        )
    })
}

/// Reads a duration of at least `least`.
pub(super) fn at_least(least: Duration) -> impl FnOnce(&Value) -> Result<Duration, String> {
    move |value| {
        let duration = any_duration(value)?;
        if duration >= least {
            Ok(duration)
        } else {
            let least = duration::text(least);
            Err(format!("must be at least {least}, not {}", show(value)))
        }
    }
}

/// Reads a duration, nought included.
pub(super) fn any_duration(value: &Value) -> Result<Duration, String> {
    string(value).and_then(duration::parse).ok_or_else(|| {
        format!(
            "must be a duration such as \"30s\", \"5m\" or \"1h30m\", not {}",
            show(value)
        )
    })
}

/// Reads a list of durations above nought, at least one.
pub(super) fn schedule(value: &Value) -> Result<Vec<Duration>, String> {
    let ValueKind::Array(items) = &value.kind else {
        return Err(format!("must be a list of durations, not {}", show(value)));
    };
    if items.is_empty() {
        return Err("must not be empty".into());
    }
    items
        .iter()
        .map(|item| at_least(Duration::from_millis(1))(item))
        .collect()
}

/// Reads a UUID.
pub(super) fn id(value: &Value) -> Result<Uuid, String> {
    string(value)
        .and_then(|text| Uuid::try_parse(text).ok())
        .ok_or_else(|| format!("must be a UUID, not {}", show(value)))
}

/// Reads the base of a service.
pub(super) fn base_url(value: &Value) -> Result<Url, String> {
    let text = text(value)?;
    let url = Url::parse(&text).map_err(|error| format!("must be a whole URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("must begin with https://, not {text:?}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // The text is not repeated: it holds what should have been in a file.
        return Err("must not hold a user or password".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("must end with the path, not as {text:?}"));
    }
    if url.scheme() == "http" && !is_this_machine(&url) {
        return Err(format!(
            "must begin with https:// unless the host is this machine, not {text:?}"
        ));
    }
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
